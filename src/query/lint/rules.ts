/**
 * The findings about policies that lint knows, one function each.
 *
 * Each looks at the compiled policies (src/policy/model.ts), so that a finding holds for every kind that can say the same;
 * misread defaults are seen in the objects as they were written.
 */
import type { ClusterModel, FieldPath } from '../../kubernetes/types.ts'
import type { PolicyEngine } from '../../policy/engine.ts'
import { externalAtoms } from '../../policy/external.ts'
import { externalParty } from '../../policy/input.ts'
import type { Alternative, Direction, Party, Policy, PolicyDirection, Rule } from '../../policy/model.ts'
import { policyTitle } from '../../policy/model.ts'
import { type PortSet, portNumberOf, portsContain, samePorts } from '../../policy/port-set.ts'
import { rangesContain } from '../../policy/ranges.ts'
import { isEnforced } from '../enforcement.ts'
import type { LintFinding } from './lint-types.ts'

/** What a finding is told with; the place follows from policy and path. */
export interface LintContext {
  readonly engine: PolicyEngine
  readonly model: ClusterModel
  add(
    code: string,
    severity: LintFinding['severity'],
    policy: Policy,
    path: FieldPath,
    message: string,
    hint: string,
  ): void
  note(text: string): void
}

const DIRECTIONS: readonly Direction[] = ['ingress', 'egress']

function directionsOf(p: Policy): [Direction, PolicyDirection][] {
  return DIRECTIONS.flatMap((d) => (p[d] === null ? [] : [[d, p[d]] as [Direction, PolicyDirection]]))
}

function subjectClasses(c: LintContext, p: Policy): readonly number[] {
  return c.engine.classes.select(p.subject, p.subjectNamespace)
}

/** A policy whose selector matches no pod. */
export function selectsNothing(c: LintContext): void {
  for (const p of c.engine.policies) {
    if (subjectClasses(c, p).length > 0) continue
    c.add(
      'policy-selects-nothing',
      'warning',
      p,
      p.subject.path,
      'selects no pod',
      'compare the labels with `podwalk get pods -o wide`',
    )
  }
}

/** Only label conditions, none negated: whether pods match can be told from the pods that are there. */
function isLabels(a: Alternative): boolean {
  return a.conditions.length > 0 && a.conditions.every((x) => x.t === 'labels' && !x.negate && x.sets === null)
}

/** A peer that matches no pod, and a rule without any peer. */
export function peersSelectNothing(c: LintContext): void {
  for (const p of c.engine.policies) {
    for (const [direction, { rules }] of directionsOf(p)) {
      for (const rule of rules) {
        if (rule.peers !== null && rule.peers.length === 0) {
          c.add(
            'rule-matches-nothing',
            'warning',
            p,
            rule.path,
            `the ${direction} rule matches nothing`,
            'in Cilium an empty rule `{}` selects the pod and allows nothing',
          )
        }
        for (const peer of rule.peers ?? []) {
          if (!isLabels(peer) || c.engine.classes.select(peer).length > 0) continue
          c.add(
            'peer-selects-nothing',
            'warning',
            p,
            peer.path,
            'the peer selects no pod',
            'check the labels of pods and of namespaces; a podSelector alone means the policy’s own namespace',
          )
        }
      }
    }
  }
}

/** Pods that a rule leads to: those selected for ingress, its peers for egress. */
function destinations(c: LintContext, p: Policy, direction: Direction, rule: Rule): Party[] {
  const { representatives } = c.engine.classes
  const of = (classes: Iterable<number>): Party[] => [...classes].map((n) => representatives[n]!)
  if (direction === 'ingress') return of(subjectClasses(c, p))
  if (rule.peers === null) return [...representatives]
  return rule.peers.flatMap((peer) => of(c.engine.classes.select(peer)))
}

/** A named port that no pod there has. */
export function unknownPortNames(c: LintContext): void {
  for (const p of c.engine.policies) {
    for (const [direction, { rules }] of directionsOf(p)) {
      for (const rule of rules) {
        for (const name of rule.ports?.names ?? []) {
          const there = destinations(c, p, direction, rule)
          if (there.length === 0) continue
          const has = there.some((pod) =>
            pod.ports.some((x) => x.name === name.name && (name.protocol ?? x.protocol) === x.protocol),
          )
          if (has) continue
          const isOther = there.some((pod) => pod.ports.some((x) => x.name === name.name))
          const what = isOther ? `has port "${name.name}" for ${name.protocol}` : `has a port "${name.name}"`
          c.add(
            'unknown-port-name',
            'warning',
            p,
            name.path,
            `no pod that the rule leads to ${what}`,
            'names are those of containerPorts of the destination pod, with the same protocol',
          )
        }
      }
    }
  }
}

/** Ports open to every address. */
export function openToWorld(c: LintContext): void {
  for (const p of c.engine.policies) {
    if (subjectClasses(c, p).length === 0) continue
    for (const rule of p.ingress?.rules ?? []) {
      if (rule.action !== 'Allow') continue
      const isOpen =
        rule.peers === null ||
        rule.peers.some(
          (peer) =>
            peer.conditions.length > 0 &&
            peer.conditions.every((x) => x.t === 'nets' && !x.negate && coversAll(x.ranges)),
        )
      if (!isOpen) continue
      const what = rule.ports === null ? 'every port' : 'its ports'
      c.add(
        'open-to-world',
        'warning',
        p,
        rule.path,
        `opens ${what} to every address, in the cluster and outside`,
        'name who may connect, or `check` with `only` that this is meant',
      )
    }
  }
}

function coversAll(ranges: { readonly v4: readonly number[] }): boolean {
  return ranges.v4.length === 2 && ranges.v4[0] === 0 && ranges.v4[1] === 0xffffffff
}

/** Pods whose egress is isolated and that reach no DNS server. */
export function isolatedWithoutDns(c: LintContext): void {
  const { engine } = c
  const servers = engine.input.pods.filter(
    (p) => p.labels.pod['k8s-app'] === 'kube-dns' || p.labels.pod['k8s-app'] === 'coredns',
  )
  const port = portNumberOf('UDP', 53)
  const told = new Set<Policy>()
  for (const [number, pod] of engine.classes.representatives.entries()) {
    if (pod.hostNetwork) continue
    const isolating = engine
      .policiesOfClass(number, 'egress')
      .filter((x) => x.denies && x.policy.egress?.isolates === true)
    if (isolating.length === 0) continue
    const family = pod.v4 !== null ? 4 : 6
    const anyone: readonly Party[] =
      servers.length > 0 ? servers : [...engine.classes.representatives, ...outsiders(engine)]
    if (anyone.some((to) => to !== pod && portsContain(engine.sidePorts(pod, to, 'egress', family), port))) continue
    const first = isolating[0]!.policy
    if (told.has(first)) continue
    told.add(first)
    const where = servers.length > 0 ? 'the cluster DNS' : 'anybody on port 53'
    c.add(
      'no-dns',
      'warning',
      first,
      ['spec'],
      `isolates ${pod.name}, whose egress does not reach ${where}`,
      'names will not resolve: allow UDP and TCP 53 to the DNS pods',
    )
  }
}

function outsiders(engine: PolicyEngine): Party[] {
  return externalAtoms(engine).map((a) => externalParty(a.representative))
}

/** Policies that the chosen CNI does not read. */
export function notEnforced(c: LintContext): void {
  const cni = c.model.config.cni.name
  for (const p of c.engine.policies) {
    if (p.staged || isEnforced(p, cni)) continue
    c.add(
      'not-enforced',
      'error',
      p,
      ['kind'],
      `${cni} does not enforce it: what it denies passes`,
      'choose a CNI that reads this kind, or leave the policy out',
    )
  }
}

/** Cluster policies of one tier and priority that select the same pods. */
export function equalPriorities(c: LintContext): void {
  for (const tier of c.engine.tiers) {
    const ordered = tier.policies.filter((p) => p.apiVersion.startsWith('policy.networking.k8s.io/'))
    for (const [i, p] of ordered.entries()) {
      for (const other of ordered.slice(i + 1)) {
        if (p.order !== other.order) break
        const mine = new Set(subjectClasses(c, p))
        if (![...subjectClasses(c, other)].some((n) => mine.has(n))) continue
        c.add(
          'equal-priority',
          'warning',
          other,
          ['spec', 'priority'],
          `has the priority of ${policyTitle(p)} and selects the same pods: which comes first is undefined`,
          'give each its own priority',
        )
      }
    }
  }
}

/** Rules that can be left out without any difference. */
export function redundantRules(c: LintContext): void {
  const { engine } = c
  const rules = engine.policies.reduce((n, p) => n + (p.ingress?.rules.length ?? 0) + (p.egress?.rules.length ?? 0), 0)
  const { count, representatives } = engine.classes
  if (rules * count > MOST_WORK) {
    c.note(`redundant rules were not looked for: ${rules} rules over ${count} classes of pods`)
    return
  }
  const world = outsiders(engine)
  for (const p of engine.policies) {
    if (p.staged) continue
    const classes = subjectClasses(c, p)
    if (classes.length === 0) continue
    for (const [direction, side] of directionsOf(p)) {
      for (const rule of side.rules) {
        if (rule.action === 'Log' || rule.l7) continue
        const rest = side.rules.filter((r) => r !== rule)
        const without = { ...p, [direction]: { ...side, rules: rest } }
        const other = engine.withPolicies(engine.policies.map((x) => (x === p ? without : x)))
        const peers: readonly Party[] = [...representatives, ...world]
        const isSame = [...classes].every((n) => {
          const pod = representatives[n]!
          return peers.every((peer) =>
            samePorts(portsOf(engine, pod, peer, direction), portsOf(other, pod, peer, direction)),
          )
        })
        if (!isSame) continue
        c.add(
          'rule-redundant',
          'info',
          p,
          rule.path,
          'changes nothing: other rules already say the same, or nobody is meant by it',
          'leave it out, or look at what it was meant for',
        )
      }
    }
  }
}

/** Rules times classes above which redundant rules are not looked for: some seconds. */
const MOST_WORK = 200_000

function portsOf(engine: PolicyEngine, pod: Party, peer: Party, direction: Direction): PortSet {
  const [src, dst] = direction === 'ingress' ? [peer, pod] : [pod, peer]
  const family = engine.familyOf(src, dst)
  return family === null ? [] : engine.sidePorts(src, dst, direction, family)
}

/** Fields that do not do what they look like. */
export function misreadDefaults(c: LintContext): void {
  for (const p of c.engine.policies) {
    if (p.kind !== 'NetworkPolicy' || !p.apiVersion.startsWith('networking.k8s.io/')) continue
    const object = c.engine.input.objects.find(
      (o) => o.source.file === p.source.file && o.source.line === p.source.line && o.source.col === p.source.col,
    )
    const spec = (
      object?.object as { spec?: { policyTypes?: string[]; ingress?: unknown[]; egress?: unknown[] } } | undefined
    )?.spec
    if (spec === undefined) continue
    const types = spec.policyTypes ?? []
    if (types.length === 0 && Array.isArray(spec.egress) && spec.egress.length === 0)
      c.add(
        'egress-not-isolated',
        'warning',
        p,
        ['spec', 'egress'],
        '`egress: []` without policyTypes does not isolate egress',
        'add `policyTypes: [Ingress, Egress]`',
      )
    for (const direction of DIRECTIONS) {
      const type = direction === 'ingress' ? 'Ingress' : 'Egress'
      if (types.length > 0 && !types.includes(type) && (spec[direction]?.length ?? 0) > 0)
        c.add(
          'rules-ignored',
          'error',
          p,
          ['spec', direction],
          `the ${direction} rules are ignored: policyTypes does not name ${type}`,
          `add ${type} to policyTypes, or leave the rules out`,
        )
    }
  }
}

/** Blocks that hold addresses of pods. */
export function blocksOfPods(c: LintContext): void {
  for (const p of c.engine.policies) {
    for (const [, { rules }] of directionsOf(p)) {
      for (const rule of rules) {
        for (const peer of rule.peers ?? []) {
          for (const x of peer.conditions) {
            if (x.t !== 'nets' || x.negate) continue
            const inside = c.engine.input.pods.find((pod) => pod.addresses.some((a) => rangesContain(x.ranges, a)))
            if (inside === undefined || coversAll(x.ranges)) continue
            c.add(
              'block-of-pods',
              'info',
              p,
              x.path,
              `the block holds addresses of pods (${inside.name}): whether it means them depends on the CNI`,
              'select pods by labels; Cilium and others do not match pods by blocks',
            )
          }
        }
      }
    }
  }
}

/** Every rule, in the order in which findings of one place are told. */
export const LINT_RULES: readonly ((c: LintContext) => void)[] = [
  notEnforced,
  misreadDefaults,
  selectsNothing,
  peersSelectNothing,
  unknownPortNames,
  openToWorld,
  isolatedWithoutDns,
  equalPriorities,
  blocksOfPods,
  redundantRules,
]
