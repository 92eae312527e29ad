/**
 * One direction of one flow through the tiers: the verdict, and the set of all ports that get through.
 *
 * Both walk the policies that select a pod in the order of evaluation (compile.ts). The list of policies is given, so that
 * the caller decides how they are found.
 *
 * Sources: see model.ts.
 */
import { alternativeHolds, type Flow, isEndpoint, resolvePorts, ruleMatches, sourceProtocols } from './match.ts'
import type { Direction, Party, Policy, PolicyOptions, Rule } from './model.ts'
import { ALL_PORTS, intersectPorts, NO_PORTS, type PortSet, subtractPorts, unionPorts } from './port-set.ts'
import type { Family } from './ranges.ts'

/** A policy in its place: policies of one direction of one pod come in the order of evaluation. */
export interface PlacedPolicy {
  readonly policy: Policy
  /** Index of the tier; equal for neighbours of one tier. */
  readonly tier: number
  /** Whether the tier's default action is Deny. */
  readonly denies: boolean
}

/** Why no policy is asked at all. */
export type Exemption = 'loopback' | 'own-node'

/** Traffic that no policy polices: a pod to itself, and a pod and its own node. */
export function exemptionOf(src: Party, dst: Party, options: PolicyOptions): Exemption | null {
  if (src.kind === 'pod' && dst.kind === 'pod' && src.name === dst.name) return 'loopback'
  if (options.nodeTraffic === 'subject' || src.node === '' || src.node !== dst.node) return null
  const isSrcPod = isEndpoint(src, true, options)
  const isDstPod = isEndpoint(dst, true, options)
  if (!isSrcPod && isDstPod) return 'own-node'
  return isSrcPod && !isDstPod && options.nodeTraffic === 'exempt' ? 'own-node' : null
}

/** True when the flow gets through the policies that select its end in this direction. */
export function decide(
  policies: readonly PlacedPolicy[],
  direction: Direction,
  flow: Flow,
  options: PolicyOptions,
): boolean {
  const count = policies.length
  let i = 0
  while (i < count) {
    const { tier, denies } = policies[i]!
    let isIsolated = false
    let isPassed = false
    for (; i < count && policies[i]!.tier === tier; i++) {
      if (isPassed) continue
      const way = policies[i]!.policy[direction]!
      if (way.isolates) isIsolated = true
      for (const rule of way.rules) {
        if (rule.action === 'Log' || !ruleMatches(rule, direction, flow, options)) continue
        if (rule.action === 'Allow') return true
        if (rule.action === 'Deny') return false
        isPassed = true
        break
      }
    }
    if (!isPassed && isIsolated && denies) return false
  }
  return true
}

/** Ports of a rule that match between two parties, empty when the peers do not. */
export function rulePorts(
  rule: Rule,
  direction: Direction,
  src: Party,
  dst: Party,
  family: Family,
  sourcePort: number,
  options: PolicyOptions,
): PortSet {
  if (rule.family !== null && rule.family !== family) return NO_PORTS
  const subject = direction === 'ingress' ? dst : src
  const peer = direction === 'ingress' ? src : dst
  if (rule.self !== null && !alternativeHolds(rule.self, subject, subject, family, options)) return NO_PORTS
  let ports = rule.ports === null ? ALL_PORTS : resolvePorts(rule.ports, dst, options)
  if (rule.sourcePorts !== null)
    ports = intersectPorts(ports, sourceProtocols(rule.sourcePorts, src, sourcePort, options))
  if (rule.peers === null) return ports
  let any = NO_PORTS
  for (const a of rule.peers) {
    if (!alternativeHolds(a, peer, subject, family, options)) continue
    if (a.ports === null) return ports
    any = unionPorts(any, a.ports)
  }
  ports = intersectPorts(ports, any)
  return ports
}

/** All ports that get through the policies of one direction between two parties. */
export function allowedPorts(
  policies: readonly PlacedPolicy[],
  direction: Direction,
  src: Party,
  dst: Party,
  family: Family,
  sourcePort: number,
  options: PolicyOptions,
): PortSet {
  let allowed = NO_PORTS
  let open = ALL_PORTS
  const count = policies.length
  let i = 0
  while (i < count && open.length > 0) {
    const { tier, denies } = policies[i]!
    let isIsolated = false
    let passed = NO_PORTS
    for (; i < count && policies[i]!.tier === tier; i++) {
      const way = policies[i]!.policy[direction]!
      if (way.isolates) isIsolated = true
      for (const rule of way.rules) {
        if (rule.action === 'Log' || open.length === 0) continue
        const matched = intersectPorts(open, rulePorts(rule, direction, src, dst, family, sourcePort, options))
        if (matched.length === 0) continue
        open = subtractPorts(open, matched)
        if (rule.action === 'Allow') allowed = unionPorts(allowed, matched)
        else if (rule.action === 'Pass') passed = unionPorts(passed, matched)
      }
    }
    open = isIsolated && denies ? passed : unionPorts(open, passed)
  }
  return unionPorts(allowed, open)
}
