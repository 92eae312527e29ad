/**
 * The scheduler: kube-scheduler's default profile, deterministic.
 *
 * Filters in the order of the real plugins, so that a pod that fits nowhere gets the real words (`0/3 nodes are
 * available: 1 node(s) had untolerated taint {..}, 2 Insufficient cpu.`): NodeUnschedulable, NodeName, TaintToleration,
 * NodeAffinity, NodePorts, NodeResourcesFit, PodTopologySpread, InterPodAffinity. Scores: least allocated, spreading over
 * nodes and zones, preferred affinities, PreferNoSchedule taints. In large clusters only as many feasible nodes are
 * scored as the real one looks for (numFeasibleNodesToFind), starting where the last pod stopped. Where the real one
 * draws among equals, the first node in order wins.
 *
 * A node whose allocatable does not name a resource has no limit of it (the real one would have none of it).
 * Not modelled: preemption, priorities, volumes, balanced allocation, image locality, scheduling gates, other profiles.
 * Sources: k8s.io/kubernetes/pkg/scheduler/schedule_one.go, framework/plugins/*, framework/types.go (FitError).
 */
import type { PodDraft } from '../controllers.ts'
import { canonicalJson } from '../hash.ts'
import type { NodeModel, PodSpec, StringMap, Taint, TopologySpreadConstraint } from '../types.ts'
import type { Requirements } from './requirements.ts'
import { matchesNodeAffinity, matchesNodeTerm, requirementsOf, untoleratedTaint } from './requirements.ts'
import type { Term } from './topology.ts'
import { domainOf, increment, selects, Terms } from './topology.ts'

/** The node of a pod, or why it has none. */
export type Placement =
  | { readonly node: NodeModel; readonly message?: never }
  | { readonly node?: never; readonly message: string }

/** A node with what is on it. */
interface NodeState {
  readonly node: NodeModel
  readonly used: Map<string, number>
  pods: number
  scoreCpu: number
  scoreMemory: number
  readonly hostPorts: Map<string, string[]>
}

interface WeightedTerm {
  readonly term: Term
  /** Negative for anti-affinity. */
  readonly weight: number
}

interface Spread {
  readonly term: Term
  readonly constraint: TopologySpreadConstraint
  readonly selectsSelf: boolean
  /** Domains of the nodes that count. */
  readonly domains: ReadonlySet<string>
  /** The fewest matching pods in any of them, as of `generation`. */
  smallest: number
  generation: number
}

/** By node index; shared by all templates that ask the same of nodes. */
type StaticReasons = (string | null | undefined)[]

/** Pods of the same owner per node and zone, for default spreading. */
interface Siblings {
  readonly perNode: Map<number, number>
  readonly perZone: Map<string, number>
}

/** What is the same for all pods of one template. */
interface Profile {
  readonly requirements: Requirements
  readonly affinity: readonly Term[]
  readonly antiAffinity: readonly Term[]
  readonly preferred: readonly WeightedTerm[]
  readonly spreads: readonly Spread[]
  /** Terms that select these pods. */
  readonly selecting: readonly Term[]
  readonly selfAffine: boolean
  /** Static reason against each node, null when there is none; filled as nodes are looked at. */
  staticReasons: StaticReasons | null
  readonly siblings: Siblings
}

const NOMINAL_MILLI_CPU = 16_000
const NOMINAL_MEMORY_BYTES = 64 * 1024 ** 3

/** Places pods one after the other. */
export class Scheduler {
  private readonly states: NodeState[]
  private readonly byName = new Map<string, NodeState>()
  private readonly terms: Terms
  private readonly siblings = new Map<string, Siblings>()
  private readonly staticReasons = new Map<string, StaticReasons>()
  private readonly profilesBySpec = new Map<PodSpec, { labels: StringMap; profile: Profile }>()
  private readonly hasZones: boolean
  private readonly hasSoftTaints: boolean
  /** Scores of the feasible nodes, and the values of one plugin: reused, since this is the scheduler's inner loop. */
  private readonly total: Float64Array
  private readonly values: Float64Array
  private nextStart = 0
  private placed = 0

  constructor(nodes: readonly NodeModel[], namespaceLabels: ReadonlyMap<string, StringMap>) {
    this.states = nodes.map((node) => ({
      node,
      used: new Map(),
      pods: 0,
      scoreCpu: 0,
      scoreMemory: 0,
      hostPorts: new Map(),
    }))
    for (const state of this.states) this.byName.set(state.node.name, state)
    this.terms = new Terms(namespaceLabels)
    this.hasZones = nodes.some((node) => node.zone !== undefined)
    this.hasSoftTaints = nodes.some((node) => node.taints.some((taint) => taint.effect === 'PreferNoSchedule'))
    this.total = new Float64Array(nodes.length)
    this.values = new Float64Array(nodes.length)
  }

  /** Makes the terms of all pods known; to be called once, before anything is placed. */
  prepare(pods: readonly PodDraft[]): void {
    for (const pod of pods) {
      const affinity = pod.spec.affinity
      for (const list of [affinity?.podAffinity, affinity?.podAntiAffinity]) {
        for (const term of list?.requiredDuringSchedulingIgnoredDuringExecution ?? []) this.terms.ofAffinity(term, pod)
        for (const { podAffinityTerm } of list?.preferredDuringSchedulingIgnoredDuringExecution ?? []) {
          this.terms.ofAffinity(podAffinityTerm, pod)
        }
      }
      for (const c of pod.spec.topologySpreadConstraints ?? []) {
        this.terms.ofSpread(c.labelSelector, c.matchLabelKeys, c.topologyKey, pod)
      }
    }
  }

  /** Counts a pod on a node that it was given by name, without any filter, as the kubelet takes it. */
  bind(pod: PodDraft, node: NodeModel): void {
    this.place(this.profileOf(pod), this.byName.get(node.name)!)
  }

  /** Finds the node of a pod and places it there. */
  schedule(pod: PodDraft): Placement {
    const profile = this.profileOf(pod)
    if (pod.pinnedNode !== undefined) {
      const state = this.byName.get(pod.pinnedNode)!
      const reasons = this.filter(pod, profile, state)
      if (reasons === null) return this.place(profile, state)
      return { message: fitError(1, new Map(reasons.map((reason) => [reason, 1]))) }
    }
    const count = this.states.length
    const wanted = feasibleNodesToFind(count)
    const feasible: NodeState[] = []
    const rejected = new Map<string, number>()
    let looked = 0
    for (; looked < count && feasible.length < wanted; looked++) {
      const state = this.states[(this.nextStart + looked) % count]!
      const reasons = this.filter(pod, profile, state)
      if (reasons === null) feasible.push(state)
      else for (const reason of reasons) increment(rejected, reason)
    }
    this.nextStart = count === 0 ? 0 : (this.nextStart + looked) % count
    if (feasible.length === 0) return { message: fitError(count, rejected) }
    return this.place(profile, this.best(pod, profile, feasible))
  }

  private profileOf(pod: PodDraft): Profile {
    const known = this.profilesBySpec.get(pod.spec)
    if (known !== undefined && known.labels === pod.labels) return known.profile
    const { spec } = pod
    const affinity = spec.affinity
    const required = (list: NonNullable<typeof affinity>['podAffinity']): Term[] =>
      (list?.requiredDuringSchedulingIgnoredDuringExecution ?? []).map((term) => this.terms.ofAffinity(term, pod))
    const preferred = (list: NonNullable<typeof affinity>['podAffinity'], sign: number): WeightedTerm[] =>
      (list?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(({ weight, podAffinityTerm }) => ({
        term: this.terms.ofAffinity(podAffinityTerm, pod),
        weight: sign * weight,
      }))
    const affine = required(affinity?.podAffinity)
    const profile: Profile = {
      requirements: requirementsOf(spec),
      affinity: affine,
      antiAffinity: required(affinity?.podAntiAffinity),
      preferred: [...preferred(affinity?.podAffinity, 1), ...preferred(affinity?.podAntiAffinity, -1)],
      spreads: (spec.topologySpreadConstraints ?? []).map((constraint) => {
        const term = this.terms.ofSpread(
          constraint.labelSelector,
          constraint.matchLabelKeys,
          constraint.topologyKey,
          pod,
        )
        const domains = this.eligibleDomains(spec, term, constraint)
        return { term, constraint, selectsSelf: selects(term, pod), domains, smallest: 0, generation: -1 }
      }),
      selecting: this.terms.selecting(pod),
      selfAffine: affine.every((term) => selects(term, pod)),
      staticReasons: null,
      siblings: this.siblingsOf(pod),
    }
    this.profilesBySpec.set(spec, { labels: pod.labels, profile })
    return profile
  }

  /** Pods of one owner spread together even where each has a spec of its own (StatefulSets). */
  private siblingsOf(pod: PodDraft): Siblings {
    if (pod.owner === undefined) return { perNode: new Map(), perZone: new Map() }
    const key = `${pod.namespace}/${pod.owner.kind}/${pod.owner.name}`
    let siblings = this.siblings.get(key)
    if (siblings === undefined) {
      siblings = { perNode: new Map(), perZone: new Map() }
      this.siblings.set(key, siblings)
    }
    return siblings
  }

  private staticReasonsOf(spec: PodSpec): StaticReasons {
    const key = canonicalJson([spec.tolerations, spec.nodeSelector, spec.affinity?.nodeAffinity])
    let reasons = this.staticReasons.get(key)
    if (reasons === undefined) {
      reasons = new Array<string | null | undefined>(this.states.length)
      this.staticReasons.set(key, reasons)
    }
    return reasons
  }

  /** Why the pod cannot run on the node; null when it can. */
  private filter(pod: PodDraft, profile: Profile, state: NodeState): readonly string[] | null {
    const { node } = state
    profile.staticReasons ??= this.staticReasonsOf(pod.spec)
    let fixed = profile.staticReasons[node.index]
    if (fixed === undefined) {
      fixed = staticReason(pod.spec, node)
      profile.staticReasons[node.index] = fixed
    }
    if (fixed !== null) return [fixed]
    if (hasPortConflict(profile.requirements, state)) {
      return ["node(s) didn't have free ports for the requested pod ports"]
    }
    const lacking = insufficient(profile.requirements, state)
    if (lacking.length > 0) return lacking
    return this.spreadReason(profile, node) ?? this.affinityReason(profile, node)
  }

  private spreadReason(profile: Profile, node: NodeModel): string[] | null {
    for (const spread of profile.spreads) {
      const { term, constraint, selectsSelf } = spread
      if (constraint.whenUnsatisfiable !== 'DoNotSchedule') continue
      const domain = domainOf(term, node)
      if (domain === undefined) {
        return ["node(s) didn't match pod topology spread constraints (missing required label)"]
      }
      const skew = (term.matching.get(domain) ?? 0) + (selectsSelf ? 1 : 0) - this.smallestDomain(spread)
      if (skew > constraint.maxSkew) return ["node(s) didn't match pod topology spread constraints"]
    }
    return null
  }

  /** The domains of the nodes that a spread constraint counts. */
  private eligibleDomains(spec: PodSpec, term: Term, constraint: TopologySpreadConstraint): ReadonlySet<string> {
    const domains = new Set<string>()
    for (const { node } of this.states) {
      const domain = domainOf(term, node)
      if (domain === undefined) continue
      if (constraint.nodeAffinityPolicy !== 'Ignore' && !matchesNodeAffinity(spec, node)) continue
      const isTainted = untoleratedTaint(node.taints, spec.tolerations ?? [], ['NoSchedule', 'NoExecute']) !== undefined
      if (constraint.nodeTaintsPolicy === 'Honor' && isTainted) continue
      domains.add(domain)
    }
    return domains
  }

  /** The fewest matching pods in any domain that the pod could use; counted once per placement. */
  private smallestDomain(spread: Spread): number {
    if (spread.generation === this.placed) return spread.smallest
    const { term, domains } = spread
    let smallest = domains.size < (spread.constraint.minDomains ?? 1) ? 0 : Number.MAX_SAFE_INTEGER
    for (const domain of domains) smallest = Math.min(smallest, term.matching.get(domain) ?? 0)
    spread.smallest = smallest
    spread.generation = this.placed
    return smallest
  }

  private affinityReason(profile: Profile, node: NodeModel): string[] | null {
    for (const term of profile.selecting) {
      const domain = domainOf(term, node)
      if (domain !== undefined && (term.holders.get(domain) ?? 0) > 0) {
        return ["node(s) didn't satisfy existing pods anti-affinity rules"]
      }
    }
    for (const term of profile.antiAffinity) {
      const domain = domainOf(term, node)
      if (domain !== undefined && (term.matching.get(domain) ?? 0) > 0) {
        return ["node(s) didn't match pod anti-affinity rules"]
      }
    }
    let isFirst = profile.selfAffine
    for (const term of profile.affinity) {
      if (domainOf(term, node) === undefined) return ["node(s) didn't match pod affinity rules"]
      if (term.total > 0) isFirst = false
    }
    // The first pod of a group that is affine to itself may start anywhere.
    if (isFirst) return null
    for (const term of profile.affinity) {
      if (!((term.matching.get(domainOf(term, node)!) ?? 0) > 0)) return ["node(s) didn't match pod affinity rules"]
    }
    return null
  }

  private best(pod: PodDraft, profile: Profile, feasible: readonly NodeState[]): NodeState {
    const count = feasible.length
    if (count === 1) return feasible[0]!
    const { total, values } = this
    for (let i = 0; i < count; i++) total[i] = leastAllocated(profile.requirements, feasible[i]!)
    for (let i = 0; i < count; i++) values[i] = this.spreadCost(profile, feasible[i]!.node)
    addNormalized(total, values, count, 2, true)
    const preference = pod.spec.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []
    if (preference.length > 0) {
      for (let i = 0; i < count; i++) {
        const { node } = feasible[i]!
        values[i] = preference.reduce((sum, p) => sum + (matchesNodeTerm(p.preference, node) ? p.weight : 0), 0)
      }
      addNormalized(total, values, count, 2, false)
    }
    if (profile.preferred.length > 0) {
      let least = 0
      for (let i = 0; i < count; i++) {
        const { node } = feasible[i]!
        values[i] = profile.preferred.reduce((sum, p) => sum + p.weight * matchingAt(p.term, node), 0)
        least = Math.min(least, values[i]!)
      }
      for (let i = 0; i < count; i++) values[i] = values[i]! - least
      addNormalized(total, values, count, 2, false)
    }
    if (this.hasSoftTaints) {
      const tolerations = pod.spec.tolerations ?? []
      for (let i = 0; i < count; i++) {
        const isAvoided = (taint: Taint): boolean =>
          untoleratedTaint([taint], tolerations, ['PreferNoSchedule']) !== undefined
        values[i] = feasible[i]!.node.taints.filter(isAvoided).length
      }
      addNormalized(total, values, count, 3, true)
    }
    let best = 0
    for (let i = 1; i < count; i++) {
      const difference = total[i]! - total[best]!
      if (difference > 0 || (difference === 0 && feasible[i]!.node.index < feasible[best]!.node.index)) best = i
    }
    return feasible[best]!
  }

  private spreadCost(profile: Profile, node: NodeModel): number {
    const { spreads, siblings } = profile
    if (spreads.length > 0) {
      let cost = 0
      for (const { term, constraint } of spreads) {
        if (constraint.whenUnsatisfiable === 'ScheduleAnyway') cost += matchingAt(term, node)
      }
      return cost
    }
    const zone = this.hasZones && node.zone !== undefined ? (siblings.perZone.get(node.zone) ?? 0) : 0
    return (siblings.perNode.get(node.index) ?? 0) + zone
  }

  private place(profile: Profile, state: NodeState): Placement {
    const { node } = state
    const { requirements } = profile
    for (const [resource, amount] of requirements.amounts)
      state.used.set(resource, (state.used.get(resource) ?? 0) + amount)
    state.pods++
    this.placed++
    state.scoreCpu += requirements.scoreCpu
    state.scoreMemory += requirements.scoreMemory
    for (const { key, ip } of requirements.hostPorts)
      state.hostPorts.set(key, [...(state.hostPorts.get(key) ?? []), ip])
    const { perNode, perZone } = profile.siblings
    perNode.set(node.index, (perNode.get(node.index) ?? 0) + 1)
    if (node.zone !== undefined) increment(perZone, node.zone)
    for (const term of profile.selecting) {
      term.total++
      const domain = domainOf(term, node)
      if (domain !== undefined) increment(term.matching, domain)
    }
    for (const term of profile.antiAffinity) {
      const domain = domainOf(term, node)
      if (domain !== undefined) increment(term.holders, domain)
    }
    return { node }
  }
}

/** numFeasibleNodesToFind: all up to 100 nodes, then 50 % falling to 5 %, but never below 100. */
export function feasibleNodesToFind(nodes: number): number {
  if (nodes < 100) return nodes
  const percent = Math.max(5, Math.trunc(50 - nodes / 125))
  return Math.max(100, Math.trunc((nodes * percent) / 100))
}

/** FitError.Error(): reasons with their counts, sorted as text. */
export function fitError(nodes: number, reasons: ReadonlyMap<string, number>): string {
  const parts = [...reasons].map(([reason, count]) => `${count} ${reason}`).sort()
  const head = `0/${nodes} nodes are available`
  return parts.length === 0 ? `${head}.` : `${head}: ${parts.join(', ')}.`
}

function staticReason(spec: PodSpec, node: NodeModel): string | null {
  const tolerations = spec.tolerations ?? []
  if (node.unschedulable) {
    const taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' } as const
    if (untoleratedTaint([taint], tolerations, ['NoSchedule'])) return 'node(s) were unschedulable'
  }
  const taint = untoleratedTaint(node.taints, tolerations, ['NoSchedule', 'NoExecute'])
  if (taint !== undefined) return `node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`
  return matchesNodeAffinity(spec, node) ? null : "node(s) didn't match Pod's node affinity/selector"
}

function hasPortConflict(requirements: Requirements, state: NodeState): boolean {
  return requirements.hostPorts.some(({ key, ip }) =>
    (state.hostPorts.get(key) ?? []).some((used) => used === ip || used === '0.0.0.0' || ip === '0.0.0.0'),
  )
}

function insufficient(requirements: Requirements, state: NodeState): string[] {
  const { allocatable } = state.node
  const lacking: string[] = []
  if (allocatable.pods !== undefined && state.pods + 1 > allocatable.pods) lacking.push('Too many pods')
  for (const [resource, amount] of requirements.amounts) {
    const limit = allocatable[resource]
    if (limit === undefined || amount === 0) continue
    if ((state.used.get(resource) ?? 0) + amount > limit) lacking.push(`Insufficient ${resource}`)
  }
  return lacking
}

function leastAllocated(requirements: Requirements, state: NodeState): number {
  const cpu = state.node.allocatable.cpu ?? NOMINAL_MILLI_CPU
  const memory = state.node.allocatable.memory ?? NOMINAL_MEMORY_BYTES
  const free = (limit: number, used: number): number =>
    limit === 0 || used > limit ? 0 : ((limit - used) * 100) / limit
  const cpuScore = free(cpu, state.scoreCpu + requirements.scoreCpu)
  return (cpuScore + free(memory, state.scoreMemory + requirements.scoreMemory)) / 2
}

/** Pods that the term selects in the node's domain. */
function matchingAt(term: Term, node: NodeModel): number {
  return term.matching.get(domainOf(term, node) ?? '') ?? 0
}

/** Adds `weight` times the first `count` values scaled to 0-100; with `isCost` the lowest value gets the most. */
function addNormalized(
  total: Float64Array,
  values: Float64Array,
  count: number,
  weight: number,
  isCost: boolean,
): void {
  let max = 0
  let min = Number.MAX_VALUE
  for (let i = 0; i < count; i++) {
    const value = values[i]!
    if (value > max) max = value
    if (value < min) min = value
  }
  // Nothing tells the nodes apart: all get the same, which changes no order.
  if (max === 0) return
  const scale = (weight * 100) / max
  if (isCost) for (let i = 0; i < count; i++) total[i] = total[i]! + scale * (max + min - values[i]!)
  else for (let i = 0; i < count; i++) total[i] = total[i]! + scale * values[i]!
}
