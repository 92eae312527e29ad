/**
 * Assertions against policies: does each hold, for every pair of pods that it speaks of.
 *
 * An assertion cannot be green by accident: one that selects nothing fails (`empty`), one without a pair to ask about is
 * `vacuous`, one that holds only if the CNI enforced what it ignores is `unenforced`; all three count as failed. Pairs of
 * pods that no policy tells apart are asked once. Rules that decided in some assertion are covered; the others are listed.
 */

import { pathText } from '../../kubernetes/schema.ts'
import type { ClusterModel } from '../../kubernetes/types.ts'
import type { PolicyEngine } from '../../policy/engine.ts'
import { type Explanation, explainFlow, type PolicyPlace } from '../../policy/explain.ts'
import type { Party } from '../../policy/model.ts'
import { intersectPorts, type PolicyProtocol, portRange, portsText, subtractPorts } from '../../policy/port-set.ts'
import { enforcementOf, isEnforced } from '../enforcement.ts'
import { partyName } from '../reach.ts'
import { API_VERSION } from '../trace-types.ts'
import { type Assertion, type EndSpec, endText, type PortSpec } from './assertion-file.ts'
import type { AssertionFailure, AssertionResult, AssertionStatus, Check } from './check-types.ts'
import { outside, type ResolvedEnd, resolveEnd } from './ends.ts'

/** Failing pairs that are told of one assertion. */
const MAX_FAILURES = 10
/** Pairs of one assertion that are explained for the coverage of rules. */
const MAX_EXPLAINED = 500

/** One question: a pair and a port. */
interface Probe {
  readonly src: Party
  readonly dst: Party
  readonly protocol: PolicyProtocol
  readonly port: number
  /** All ports that have the other answer, when no single one was asked for. */
  readonly shown?: string
}

/** Checks all assertions. @param namespace of names that do not say theirs */
export function checkAssertions(
  engine: PolicyEngine,
  model: ClusterModel,
  assertions: readonly Assertion[],
  namespace: string,
): Check {
  const cni = model.config.cni.name
  const enforced = engine.policies.filter((p) => isEnforced(p, cni))
  const onTheWire = enforced.length === engine.policies.length ? engine : engine.withPolicies(enforced)
  const covered = new Map<string, PolicyPlace>()
  const results = assertions.map((a) => checkOne({ engine, onTheWire, model, namespace, covered }, a))
  const rules = rulesOf(engine)
  const failed = results.filter((r) => r.status !== 'pass').length
  return {
    apiVersion: API_VERSION,
    kind: 'Check',
    options: engine.options,
    assertions: results,
    coverage: {
      rules: rules.length,
      covered: rules.filter((r) => covered.has(placeKey(r))).length,
      uncovered: rules.filter((r) => !covered.has(placeKey(r))),
    },
    enforcement: enforcementOf(engine, model),
    summary: { assertions: results.length, passed: results.length - failed, failed },
  }
}

interface Context {
  readonly engine: PolicyEngine
  /** The same with the policies that the CNI enforces. */
  readonly onTheWire: PolicyEngine
  readonly model: ClusterModel
  readonly namespace: string
  readonly covered: Map<string, PolicyPlace>
}

function checkOne(c: Context, a: Assertion): AssertionResult {
  const base = { name: a.name, kind: a.kind, ...a.at }
  const done = (
    status: AssertionStatus,
    text: string,
    pairs = 0,
    failures: AssertionFailure[] = [],
  ): AssertionResult => ({
    ...base,
    status,
    text,
    pairs,
    failures: failures.slice(0, MAX_FAILURES),
    moreFailures: Math.max(0, failures.length - MAX_FAILURES),
  })
  if (a.kind === 'defaultDeny') return checkDefaultDeny(c, a, done)
  const specs: readonly EndSpec[] = a.kind === 'isolated' ? a.ends : [a.from, a.to]
  const ends = specs.map((e) => resolveEnd(c.engine, c.model, e, c.namespace))
  for (const [i, end] of ends.entries()) {
    if (end.parties.length > 0) continue
    const why = end.problem === null ? 'selects nothing' : end.problem.message
    return done('empty', `${endText(specs[i]!)}: ${why}`)
  }
  const foreign = a.kind === 'isolated' ? undefined : a.ports.find((p) => !isPortOf(ends[1]!, p))
  if (foreign !== undefined) {
    const port = `${foreign.protocol}${foreign.port === null ? '' : `/${foreign.port}`}`
    return done('empty', `${endText(specs[1]!)}: has no port ${port}; leave ports out or name its port or targetPort`)
  }
  if (a.kind === 'allow') return judge(c, done, allowProbes(c.engine, ends[0]!, ends[1]!, a.ports), true)
  if (a.kind === 'deny') return judge(c, done, denyProbes(c.engine, ends[0]!, ends[1]!, a.ports), false)
  if (a.kind === 'isolated') {
    const probes: Probe[] = []
    for (const from of ends) for (const to of ends) if (from !== to) probes.push(...denyProbes(c.engine, from, to, []))
    return judge(c, done, probes, false)
  }
  return judge(c, done, denyProbes(c.engine, everyoneBut(c.engine, ends[0]!), ends[1]!, a.ports), false)
}

type Done = (status: AssertionStatus, text: string, pairs?: number, failures?: AssertionFailure[]) => AssertionResult

/**
 * Everybody that an end does not name: pods, and the world outside. Host-network pods are nodes to policies, which let a
 * node reach its own pods whatever they say, so they are left out unless they count as pods.
 */
function everyoneBut(engine: PolicyEngine, end: ResolvedEnd): ResolvedEnd {
  const named = new Set(end.parties.map((p) => p.name))
  const isAsked = (p: Party): boolean =>
    !named.has(p.name) && (!p.hostNetwork || engine.options.hostNetwork === 'as-pod')
  const parties = [...engine.input.pods, ...outside(engine)].filter(isAsked)
  return { ...end, parties, targets: null, port: null }
}

/** One pair for all pods that no policy tells apart. */
function distinctPairs(engine: PolicyEngine, from: ResolvedEnd, to: ResolvedEnd): [Party, Party][] {
  const pairs: [Party, Party][] = []
  const seen = new Set<string>()
  const keyOf = (p: Party): string => {
    const number = engine.classOf(p)
    return number < 0 || p.hostNetwork ? p.name : String(number)
  }
  for (const src of from.parties) {
    for (const dst of to.parties) {
      if (src === dst || (src.kind === 'external' && dst.kind === 'external')) continue
      if (engine.familyOf(src, dst) === null) continue
      const targets = to.targets === null ? '' : JSON.stringify(to.targets.get(dst.name) ?? [])
      const own = src.node !== '' && src.node === dst.node && (src.hostNetwork || dst.hostNetwork) ? 'own' : ''
      // declared ports decide what an assertion without ports asks
      const ports = dst.ports.map((p) => `${p.protocol}${p.port}`).join()
      const key = `${keyOf(src)} ${keyOf(dst)} ${targets} ${own} ${ports}`
      if (seen.has(key)) continue
      seen.add(key)
      pairs.push([src, dst])
    }
  }
  return pairs
}

/** Whether an asked port is one of a Service, as its own port or a targetPort; of other ends every port is. */
function isPortOf(to: ResolvedEnd, asked: PortSpec): boolean {
  if (to.targets === null) return true
  return [...to.targets.values()].flat().some((t) => meets(to, t, asked))
}

function meets(to: ResolvedEnd, target: { protocol: string; port: number }, asked: PortSpec): boolean {
  if (asked.protocol !== target.protocol) return false
  return asked.port === null || asked.port === to.port || asked.port === target.port
}

/** What is asked of a pair: the ports given, the targetPorts of a Service, what the pod declares, or null for all. */
function portsOf(to: ResolvedEnd, dst: Party, ports: readonly PortSpec[]): readonly PortSpec[] | null {
  const targets = to.targets?.get(dst.name)
  if (targets !== undefined) {
    const wanted = ports.length === 0 ? targets : targets.filter((t) => ports.some((p) => meets(to, t, p)))
    return wanted.map((t) => ({ protocol: t.protocol, port: t.port }))
  }
  if (ports.length > 0) return ports
  return to.port === null ? null : [{ protocol: 'TCP', port: to.port }]
}

function allowProbes(engine: PolicyEngine, from: ResolvedEnd, to: ResolvedEnd, ports: readonly PortSpec[]): Probe[] {
  return distinctPairs(engine, from, to).flatMap(([src, dst]) => {
    const declared = dst.ports.map((p) => ({ protocol: p.protocol, port: p.port }))
    const asked = portsOf(to, dst, ports) ?? (declared.length > 0 ? declared : WHOLE)
    return asked.flatMap((p) => probesOf(engine, src, dst, p, true))
  })
}

function denyProbes(engine: PolicyEngine, from: ResolvedEnd, to: ResolvedEnd, ports: readonly PortSpec[]): Probe[] {
  return distinctPairs(engine, from, to).flatMap(([src, dst]) =>
    (portsOf(to, dst, ports) ?? WHOLE).flatMap((p) => probesOf(engine, src, dst, p, false)),
  )
}

/** Every port of every transport. */
const WHOLE: readonly PortSpec[] = [
  { protocol: 'TCP', port: null },
  { protocol: 'UDP', port: null },
  { protocol: 'SCTP', port: null },
]

/**
 * The probe of a port; for all ports of a protocol the first that breaks the expectation, or else the first one.
 * @param expected whether the assertion wants the connection
 */
function probesOf(engine: PolicyEngine, src: Party, dst: Party, spec: PortSpec, expected: boolean): Probe[] {
  const family = engine.familyOf(src, dst)
  const protocol: PolicyProtocol = spec.protocol === 'ICMP' && family === 6 ? 'ICMPv6' : spec.protocol
  if (spec.port !== null || spec.protocol === 'ICMP') {
    const echo = protocol === 'ICMPv6' ? 128 : 8
    return [{ src, dst, protocol, port: spec.port ?? echo }]
  }
  const allowed = engine.connectionPorts(src, dst)
  const all = portRange(protocol, 1, 65535)
  const wrong = expected ? subtractPorts(all, allowed) : intersectPorts(all, allowed)
  if (wrong.length === 0) return [{ src, dst, protocol, port: 1 }]
  const shown = `${spec.protocol} ${portsText(wrong, spec.protocol)}`
  return [{ src, dst, protocol, port: wrong[0]! - all[0]! + 1, shown }]
}

function judge(c: Context, done: Done, probes: readonly Probe[], expected: boolean): AssertionResult {
  if (probes.length === 0)
    return done('vacuous', 'there is no pair to ask about: it would hold whatever the policies say')
  const failures: AssertionFailure[] = []
  let unenforced: Probe | null = null
  for (const [i, p] of probes.entries()) {
    const flow = c.engine.flow(p.src, p.dst, p.protocol, p.port)
    const allowed = c.engine.isAllowed(flow)
    const explanation = i < MAX_EXPLAINED || allowed !== expected ? explainFlow(c.engine, flow) : null
    if (explanation !== null) note(c.covered, explanation)
    if (allowed !== expected) failures.push(failureOf(p, explanation!))
    else if (!expected && unenforced === null && c.onTheWire !== c.engine && c.onTheWire.isAllowed(flow)) unenforced = p
  }
  const many = `${probes.length} ${probes.length === 1 ? 'question' : 'questions'}`
  if (failures.length > 0)
    return done('fail', `${failures.length} of ${many} have the other answer`, probes.length, failures)
  if (unenforced !== null) {
    const { src, dst } = unenforced
    return done(
      'unenforced',
      `the policies say so, but ${c.model.config.cni.name} does not enforce them: ${src.name} reaches ${dst.name}`,
      probes.length,
    )
  }
  return done('pass', many, probes.length)
}

function failureOf(p: Probe, e: Explanation): AssertionFailure {
  const side = e.allowed
    ? [e.ingress, e.egress].find((s) => s.cause === 'rule')
    : !e.egress.allowed
      ? e.egress
      : e.ingress
  const unselected = e.allowed && [e.ingress, e.egress].every((s) => s.cause !== 'rule')
  return {
    src: partyName(p.src, 'pod'),
    dst: partyName(p.dst, 'pod'),
    port: p.shown ?? e.port,
    allowed: e.allowed,
    because: unselected ? 'no policy selects it' : (side?.cause ?? 'exempt'),
    decidedBy: side?.decidedBy ?? null,
    nearestMiss: e.allowed ? null : (side?.nearestMiss?.at ?? null),
  }
}

function checkDefaultDeny(c: Context, a: Extract<Assertion, { kind: 'defaultDeny' }>, done: Done): AssertionResult {
  const end = resolveEnd(c.engine, c.model, a.pods, c.namespace)
  const pods = end.parties.filter((p) => p.kind === 'pod')
  if (pods.length === 0) return done('empty', `${endText(a.pods)}: ${end.problem?.message ?? 'selects no pod'}`)
  const failures: AssertionFailure[] = []
  let unenforced: Party | null = null
  let asked = 0
  for (const pod of pods) {
    if (pod.hostNetwork) continue
    for (const direction of a.directions) {
      asked++
      const isolates = (engine: PolicyEngine): boolean =>
        engine.policiesOf(pod, direction).some((p) => p.denies && p.policy[direction]?.isolates === true)
      if (!isolates(c.engine)) {
        const [src, dst] = direction === 'ingress' ? ['*', pod.name] : [pod.name, '*']
        failures.push({
          src,
          dst,
          port: 'all',
          allowed: true,
          because: `no policy isolates its ${direction}`,
          decidedBy: null,
          nearestMiss: null,
        })
      } else if (unenforced === null && c.onTheWire !== c.engine && !isolates(c.onTheWire)) unenforced = pod
    }
  }
  if (asked === 0) return done('vacuous', 'only host-network pods, which no policy isolates')
  if (failures.length > 0) return done('fail', `${failures.length} of ${asked} are not isolated`, asked, failures)
  if (unenforced !== null)
    return done('unenforced', `${c.model.config.cni.name} does not enforce what isolates ${unenforced.name}`, asked)
  return done('pass', `${asked} isolated`, asked)
}

function placeKey(p: PolicyPlace): string {
  return `${p.kind} ${p.namespace}/${p.name} ${p.field} ${p.file}:${p.line}`
}

/** Rules that matched in an explanation. */
function note(covered: Map<string, PolicyPlace>, e: Explanation): void {
  for (const side of [e.egress, e.ingress]) {
    for (const tier of side.tiers)
      for (const policy of tier.policies)
        for (const rule of policy.rules) if (rule.outcome === 'matched') covered.set(placeKey(rule.at), rule.at)
  }
}

/** Every rule of every policy that is enforced in the semantics. */
function rulesOf(engine: PolicyEngine): PolicyPlace[] {
  const places: PolicyPlace[] = []
  for (const tier of engine.tiers) {
    for (const p of tier.policies) {
      for (const direction of ['ingress', 'egress'] as const) {
        for (const rule of p[direction]?.rules ?? []) {
          const { kind, namespace, name } = p
          places.push({ kind, namespace, name, field: pathText(rule.path), ...p.positionOf(rule.path) })
        }
      }
    }
  }
  return places
}
