/**
 * Why a flow is allowed or denied: every policy that selects either end, every rule with its place, what each rule that did
 * not match wanted, and for an implicit deny the rule that came nearest and the fields that would have to change.
 *
 * The result is plain data: texts, numbers and places. The verdict is the evaluator's own (evaluate.ts): a test asks both.
 */
import type { SourcePosition } from '../diagnostics/diagnostic.ts'
import { pathText } from '../kubernetes/schema.ts'
import type { PolicyEngine } from './engine.ts'
import { type Exemption, exemptionOf, type PlacedPolicy } from './evaluate.ts'
import { type Expr, exprText, failingParts } from './expr.ts'
import {
  addressOf,
  alternativeHolds,
  conditionHolds,
  type Flow,
  isEndpoint,
  resolvePorts,
  ruleMatches,
} from './match.ts'
import type {
  Action,
  Alternative,
  Condition,
  Direction,
  Party,
  Policy,
  PolicyOptions,
  PortMatch,
  Rule,
} from './model.ts'
import { policyTitle } from './model.ts'
import { portsContain, portsText, portText } from './port-set.ts'
import { formatAddress, rangesContain } from './ranges.ts'

/** Something in a policy, with its place in the input. */
export interface PolicyPlace {
  readonly kind: string
  readonly namespace: string
  readonly name: string
  /** `spec.ingress[0]`; empty for the policy itself. */
  readonly field: string
  readonly file: string
  readonly line: number
  readonly col: number
}

/** One thing that kept a rule from matching. */
export interface Miss {
  /** The field that would have to change: `spec.ingress[0].ports`. */
  readonly field: string
  readonly file: string
  readonly line: number
  readonly expected: string
  readonly found: string
}

/** What became of a rule. */
export interface RuleTrace {
  readonly at: PolicyPlace
  readonly action: Action
  readonly outcome: 'matched' | 'not matched' | 'not reached'
  /** Why it did not match, of its peer that came nearest. */
  readonly misses: readonly Miss[]
  /** A layer 7 proxy has the last word. */
  readonly l7: boolean
}

/** A policy that selects the pod. */
export interface PolicyTrace {
  readonly at: PolicyPlace
  readonly isolates: boolean
  readonly rules: readonly RuleTrace[]
}

/** What became of a tier. */
export interface TierTrace {
  readonly name: string
  readonly outcome: 'allowed' | 'denied' | 'denied by default' | 'passed' | 'no match' | 'not reached'
  readonly policies: readonly PolicyTrace[]
}

/** Why a side decided as it did. */
export type SideCause =
  /** The end is no pod that policies select: an address, a node, a host-network pod. */
  | 'not policed'
  /** No policy selects the pod in this direction. */
  | 'no policy selects it'
  /** A rule matched. */
  | 'rule'
  /** Policies isolate the pod, and no rule matched. */
  | 'isolated'
  /** Policies select the pod, none matched and none isolates. */
  | 'no rule matches'

/** One direction. */
export interface SideExplanation {
  readonly direction: Direction
  /** The end whose policies these are. */
  readonly party: string
  readonly allowed: boolean
  readonly cause: SideCause
  readonly decidedBy: PolicyPlace | null
  readonly tiers: readonly TierTrace[]
  readonly nearestMiss: { readonly at: PolicyPlace; readonly misses: readonly Miss[] } | null
}

/** The whole answer. */
export interface Explanation {
  readonly src: string
  readonly dst: string
  readonly port: string
  readonly allowed: boolean
  readonly exemption: Exemption | null
  readonly egress: SideExplanation
  readonly ingress: SideExplanation
}

/** Explains one flow. */
export function explainFlow(engine: PolicyEngine, flow: Flow): Explanation {
  const exemption = exemptionOf(flow.src, flow.dst, engine.options)
  const egress = explainSide(engine, flow, 'egress')
  const ingress = explainSide(engine, flow, 'ingress')
  return {
    src: flow.src.name,
    dst: flow.dst.name,
    port: portText(flow.port),
    allowed: exemption !== null || (egress.allowed && ingress.allowed),
    exemption,
    egress,
    ingress,
  }
}

/** The place of a policy or of a field in it. */
export function placeOf(policy: Policy, path: readonly (string | number)[] = []): PolicyPlace {
  const at: SourcePosition = path.length === 0 ? policy.source : policy.positionOf(path)
  const { kind, namespace, name } = policy
  return { kind, namespace, name, field: pathText(path), file: at.file, line: at.line, col: at.col }
}

interface SideState {
  decision: boolean | null
  decidedBy: PolicyPlace | null
}

function explainSide(engine: PolicyEngine, flow: Flow, direction: Direction): SideExplanation {
  const subject = direction === 'ingress' ? flow.dst : flow.src
  const policies = engine.policiesOf(subject, direction)
  const base = { direction, party: subject.name, decidedBy: null, nearestMiss: null }
  if (!isEndpoint(subject, true, engine.options)) return { ...base, allowed: true, cause: 'not policed', tiers: [] }
  if (policies.length === 0) return { ...base, allowed: true, cause: 'no policy selects it', tiers: [] }
  const state: SideState = { decision: null, decidedBy: null }
  const tiers: TierTrace[] = []
  for (let i = 0; i < policies.length; ) {
    const { tier } = policies[i]!
    const group: PlacedPolicy[] = []
    for (; i < policies.length && policies[i]!.tier === tier; i++) group.push(policies[i]!)
    tiers.push(explainTier(engine.tiers[tier]!.name, group, flow, direction, engine.options, state))
  }
  const isByRule = tiers.some((t) => t.outcome === 'allowed' || t.outcome === 'denied')
  const isIsolated = tiers.some((t) => t.outcome === 'denied by default')
  return {
    ...base,
    allowed: state.decision ?? true,
    cause: isByRule ? 'rule' : isIsolated ? 'isolated' : 'no rule matches',
    decidedBy: state.decidedBy,
    tiers,
    nearestMiss: isIsolated ? nearestMiss(tiers) : null,
  }
}

function explainTier(
  name: string,
  group: readonly PlacedPolicy[],
  flow: Flow,
  direction: Direction,
  options: PolicyOptions,
  state: SideState,
): TierTrace {
  if (state.decision !== null)
    return { name, outcome: 'not reached', policies: group.map((p) => untouched(p.policy, direction)) }
  let outcome: TierTrace['outcome'] | null = null
  const policies: PolicyTrace[] = []
  for (const { policy } of group) {
    const way = policy[direction]!
    const rules: RuleTrace[] = []
    for (const rule of way.rules) {
      if (outcome !== null) {
        rules.push(trace(policy, rule, 'not reached', []))
        continue
      }
      if (!ruleMatches(rule, direction, flow, options)) {
        rules.push(trace(policy, rule, 'not matched', missesOf(policy, rule, direction, flow, options)))
        continue
      }
      rules.push(trace(policy, rule, 'matched', []))
      if (rule.action === 'Log') continue
      outcome = rule.action === 'Allow' ? 'allowed' : rule.action === 'Deny' ? 'denied' : 'passed'
      if (outcome !== 'passed') {
        state.decision = outcome === 'allowed'
        state.decidedBy = placeOf(policy, rule.path)
      }
    }
    policies.push({ at: placeOf(policy), isolates: way.isolates, rules })
  }
  if (outcome === null) {
    const isolating = group.find((p) => p.denies && p.policy[direction]!.isolates)
    if (isolating !== undefined) {
      outcome = 'denied by default'
      state.decision = false
      state.decidedBy = placeOf(isolating.policy)
    } else outcome = 'no match'
  }
  return { name, outcome, policies }
}

function untouched(policy: Policy, direction: Direction): PolicyTrace {
  const way = policy[direction]!
  const rules = way.rules.map((rule) => trace(policy, rule, 'not reached', []))
  return { at: placeOf(policy), isolates: way.isolates, rules }
}

function trace(policy: Policy, rule: Rule, outcome: RuleTrace['outcome'], misses: readonly Miss[]): RuleTrace {
  return { at: placeOf(policy, rule.path), action: rule.action, outcome, misses, l7: rule.l7 }
}

/** The Allow rule with the fewest things to change. */
function nearestMiss(tiers: readonly TierTrace[]): SideExplanation['nearestMiss'] {
  let best: RuleTrace | null = null
  for (const tier of tiers) {
    for (const policy of tier.policies) {
      for (const rule of policy.rules) {
        if (rule.action !== 'Allow' || rule.outcome !== 'not matched') continue
        if (best === null || rule.misses.length < best.misses.length) best = rule
      }
    }
  }
  return best === null ? null : { at: best.at, misses: best.misses }
}

function missesOf(policy: Policy, rule: Rule, direction: Direction, flow: Flow, options: PolicyOptions): Miss[] {
  const miss = (path: readonly (string | number)[], expected: string, found: string): Miss => {
    const { field, file, line } = placeOf(policy, path)
    return { field, file, line, expected, found }
  }
  const misses: Miss[] = []
  const subject = direction === 'ingress' ? flow.dst : flow.src
  const peer = direction === 'ingress' ? flow.src : flow.dst
  if (rule.family !== null && rule.family !== flow.family) {
    misses.push(miss([...rule.path, 'ipVersion'], `IPv${rule.family}`, `IPv${flow.family}`))
  }
  if (rule.self !== null && !alternativeHolds(rule.self, subject, subject, flow.family, options)) {
    misses.push(...missesOfAlternative(rule.self, subject, subject, flow, options, miss))
  }
  const fits = rule.peers?.filter((a) => a.ports === null || portsContain(a.ports, flow.port)) ?? []
  if (rule.peers !== null && !fits.some((a) => alternativeHolds(a, peer, subject, flow.family, options))) {
    if (rule.peers.length === 0) misses.push(miss(rule.path, 'a peer', 'the rule names no peer: it matches nothing'))
    else misses.push(...nearestAlternative(rule.peers, peer, subject, flow, options, miss))
  }
  for (const [match, at, port] of [
    [rule.ports, flow.dst, flow.port],
    [rule.sourcePorts, flow.src, flow.sourcePort],
  ] as const) {
    if (match === null || portsContain(resolvePorts(match, at, options), port)) continue
    misses.push(miss(match.path, portMatchText(match, at, options), portText(port)))
  }
  return misses
}

type MakeMiss = (path: readonly (string | number)[], expected: string, found: string) => Miss

function nearestAlternative(
  alternatives: readonly Alternative[],
  peer: Party,
  subject: Party,
  flow: Flow,
  options: PolicyOptions,
  miss: MakeMiss,
): Miss[] {
  let best: Miss[] | null = null
  for (const a of alternatives) {
    const misses = missesOfAlternative(a, peer, subject, flow, options, miss)
    if (a.ports !== null && !portsContain(a.ports, flow.port)) {
      misses.push(miss(a.path, `a port of ${allPortsText(a.ports)}`, portText(flow.port)))
    }
    if (best === null || misses.length < best.length) best = misses
  }
  return best ?? []
}

function missesOfAlternative(
  a: Alternative,
  who: Party,
  subject: Party,
  flow: Flow,
  options: PolicyOptions,
  miss: MakeMiss,
): Miss[] {
  return a.conditions
    .filter((c) => !conditionHolds(c, who, subject, flow.family, options))
    .flatMap((c) => missesOfCondition(c, who, flow, options, miss))
}

function missesOfCondition(c: Condition, who: Party, flow: Flow, options: PolicyOptions, miss: MakeMiss): Miss[] {
  const address = addressOf(who, flow.family)
  switch (c.t) {
    case 'labels': {
      if (c.negate) return [miss(c.path, `not ${exprText(c.expr)}`, who.name)]
      if (!isEndpoint(who, c.hostNetworkAsPod, options))
        return [miss(c.path, `a pod with ${exprText(c.expr)}`, whatIs(who))]
      return failingParts(c.expr, who).map((part) => miss(c.path, exprText(part), foundLabel(part, who)))
    }
    case 'nets': {
      const isInside = address !== null && rangesContain(c.ranges, address)
      const found = address === null ? `no IPv${flow.family} address` : formatAddress(address)
      // the address is in the block and still does not count: it is a pod's
      const why = isInside && !c.negate ? `${found} of ${whatIs(who)}, which blocks do not match` : found
      return [miss(c.path, c.negate ? `not ${c.text}` : c.text, why)]
    }
    case 'nodes':
      return [miss(c.path, `a node with ${exprText(c.expr)}`, whatIs(who))]
    case 'entities':
      return [miss(c.path, c.names.join(' or '), whatIs(who))]
    case 'never':
      return [miss(c.path, 'a peer that can match', c.why)]
  }
}

function whatIs(who: Party): string {
  if (who.kind === 'external') return `address ${who.name}`
  if (who.kind === 'node') return `node ${who.name}`
  return who.hostNetwork ? `host-network pod ${who.name}` : `pod ${who.name}`
}

/** What a party has instead of what a simple expression wants. */
function foundLabel(expr: Expr, who: Party): string {
  if (expr.op === 'not') return foundLabel(expr.of, who)
  if (expr.op !== 'in' && expr.op !== 'has' && expr.op !== 'text') return who.name
  const labels = who.labels[expr.scope]
  const value = Object.hasOwn(labels, expr.key) ? labels[expr.key] : undefined
  return value === undefined ? `no ${expr.key}` : `${expr.key}=${value}`
}

function allPortsText(set: readonly number[]): string {
  const parts = (['TCP', 'UDP', 'SCTP'] as const).flatMap((protocol) => {
    const text = portsText(set, protocol)
    return text === '' ? [] : [`${protocol}/${text}`]
  })
  return parts.length === 0 ? 'no port' : parts.join(', ')
}

function portMatchText(match: PortMatch, at: Party, options: PolicyOptions): string {
  const set = allPortsText(resolvePorts(match, at, options))
  if (match.names.length === 0) return set
  const names = match.names.map((n) => n.name).join(', ')
  return `port ${names} (${set === 'no port' ? `${at.name} has none of that name and protocol` : set})`
}

/** `NetworkPolicy x/p spec.ingress[0] at p.yaml:12`. */
export function placeText(at: PolicyPlace): string {
  const title = policyTitle(at)
  const field = at.field === '' ? '' : ` ${at.field}`
  return at.file === '' ? `${title}${field}` : `${title}${field} at ${at.file}:${at.line}`
}
