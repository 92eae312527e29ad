/**
 * The evaluator: one index of a cluster's policies, asked about pairs, pods and everything at once.
 *
 *     const engine = new PolicyEngine(policyInputOf(model))
 *     engine.isAllowed(flow)                    // point query
 *     engine.connectionPorts(src, dst)          // all ports between two parties
 *     engine.explain(flow)                      // every policy and rule that was looked at (explain.ts)
 *
 * Policies that select a class of pods are kept as ranges of one flat array, in the order of evaluation; a point query walks
 * them and checks rules on the two parties directly. All pairs are computed in matrix.ts from the same lists.
 */
import { allBlocks, ClassIndex } from './classes.ts'
import { arrangeTiers, type CompiledPolicies, comparePolicies, compileObject } from './compile.ts'
import { allowedPorts, decide, type Exemption, exemptionOf, type PlacedPolicy } from './evaluate.ts'
import { externalParty, type PolicyInput, type PolicyPod } from './input.ts'
import { networkSets } from './kinds/calico.ts'
import type { Flow } from './match.ts'
import { DEFAULT_OPTIONS, type Direction, type Party, type Policy, type PolicyOptions, type Tier } from './model.ts'
import { ALL_PORTS, intersectPorts, type PolicyProtocol, type PortSet, portNumberOf } from './port-set.ts'
import { type Address, type AddressRanges, type Family, parseAddress } from './ranges.ts'

/** The source port of a connection when nothing says which: what Linux would take, an ephemeral one. */
export const EPHEMERAL_PORT = 40_000

/** What one engine takes over from another. */
interface EngineParts {
  readonly policies?: readonly Policy[]
  readonly arranged?: CompiledPolicies
  readonly classes?: ClassIndex
  readonly selections?: Selections
  readonly lists?: Lists
  readonly overrides?: Overrides
  readonly names?: PodNames
}

type Lists = Readonly<Record<Direction, (readonly PlacedPolicy[] | undefined)[]>>
type Overrides = Readonly<Record<Direction, ReadonlyMap<number, readonly PlacedPolicy[]>>>

/** The placed policies, and which of them select each class. */
interface Selections extends Readonly<Record<Direction, Selection>> {
  readonly placed: readonly PlacedPolicy[]
}

/** Policies in the order of evaluation, by class, for one direction. */
interface Selection {
  /** Start of each class's range in `items`; one more than there are classes. */
  readonly starts: Int32Array
  /** Index of each policy among the placed ones. */
  readonly items: Int32Array
}

/** The answer about one flow. */
export interface FlowVerdict {
  readonly allowed: boolean
  readonly exemption: Exemption | null
  readonly egress: boolean
  readonly ingress: boolean
}

const NO_POLICIES: readonly PlacedPolicy[] = []

/** Pods by name and by address, made when first asked for. */
class PodNames {
  private readonly input: PolicyInput
  private names: Map<string, PolicyPod> | null = null
  private addresses: Map<number | bigint, PolicyPod> | null = null

  constructor(input: PolicyInput) {
    this.input = input
  }

  get byName(): ReadonlyMap<string, PolicyPod> {
    this.names ??= new Map(this.input.pods.map((p) => [p.name, p]))
    return this.names
  }

  get byAddress(): ReadonlyMap<number | bigint, PolicyPod> {
    if (this.addresses === null) {
      this.addresses = new Map()
      for (const pod of this.input.pods) {
        if (!pod.hostNetwork) for (const a of pod.addresses) this.addresses.set(a.value, pod)
      }
    }
    return this.addresses
  }
}

/** An indexed cluster. Immutable: an edit gives another engine that shares what has not changed. */
export class PolicyEngine {
  readonly input: PolicyInput
  readonly options: PolicyOptions
  readonly policies: readonly Policy[]
  readonly tiers: readonly Tier[]
  /** Looked at, not enforced. */
  readonly staged: readonly Policy[]
  readonly classes: ClassIndex
  private readonly selections: Selections
  private readonly names: PodNames
  private readonly lists: Lists
  /** Lists of classes that an edit changed, over those of `selections`. */
  private readonly overrides: Overrides

  constructor(input: PolicyInput, options: Partial<PolicyOptions> = {}, parts: EngineParts = {}) {
    this.input = input
    this.options = { ...DEFAULT_OPTIONS, ...options }
    if (parts.policies === undefined) {
      const sets = networkSets(input)
      this.policies = input.objects.flatMap((o) => compileObject(o, input, sets))
    } else this.policies = parts.policies
    const { tiers, staged } = parts.arranged ?? arrangeTiers(this.policies, input)
    this.tiers = tiers
    this.staged = staged
    this.classes = parts.classes ?? new ClassIndex(input, this.policies, this.options)
    this.selections = parts.selections ?? selectSubjects(tiers, this.classes)
    const { count } = this.classes
    this.lists = parts.lists ?? { ingress: new Array(count), egress: new Array(count) }
    this.overrides = parts.overrides ?? { ingress: new Map(), egress: new Map() }
    this.names = parts.names ?? new PodNames(input)
  }

  /** The pod `namespace/name`, or undefined. */
  pod(name: string): PolicyPod | undefined {
    return this.names.byName.get(name)
  }

  /** Whoever has the address: a pod, a node, or a machine outside. Null when the text is no address. */
  partyAt(text: string): Party | null {
    const address = parseAddress(text)
    return address === null ? null : this.partyOf(address)
  }

  /** Whoever has the address. */
  partyOf(address: Address): Party {
    const pod = this.names.byAddress.get(address.value)
    if (pod !== undefined) return pod
    const node = this.input.nodes.find((n) => n.addresses.some((a) => a.value === address.value))
    return node ?? externalParty(address)
  }

  /** Class of a pod of this cluster, or -1. */
  classOf(party: Party): number {
    const { index } = party
    return index >= 0 && this.input.pods[index] === party ? this.classes.classOfPod[index]! : -1
  }

  /** The policies that select a class in a direction, in the order of evaluation. */
  policiesOfClass(number: number, direction: Direction): readonly PlacedPolicy[] {
    const override = this.overrides[direction].get(number)
    if (override !== undefined) return override
    const { starts, items } = this.selections[direction]
    const start = starts[number]!
    const end = starts[number + 1]!
    if (start === end) return NO_POLICIES
    const cached = this.lists[direction][number]
    if (cached !== undefined) return cached
    const list: PlacedPolicy[] = []
    for (let i = start; i < end; i++) list.push(this.selections.placed[items[i]!]!)
    this.lists[direction][number] = list
    return list
  }

  /** The policies that select a party in a direction: none for what is no pod of this cluster. */
  policiesOf(party: Party, direction: Direction): readonly PlacedPolicy[] {
    const number = this.classOf(party)
    return number < 0 ? NO_POLICIES : this.policiesOfClass(number, direction)
  }

  /** The family that two parties speak: IPv4 when both have it, else IPv6, or null when they share none. */
  familyOf(src: Party, dst: Party): Family | null {
    if (src.v4 !== null && dst.v4 !== null) return 4
    return src.v6 !== null && dst.v6 !== null ? 6 : null
  }

  /** A flow between two parties. @param port for ICMP the type */
  flow(
    src: Party,
    dst: Party,
    protocol: PolicyProtocol,
    port: number,
    others: { readonly sourcePort?: number; readonly family?: Family } = {},
  ): Flow {
    return {
      src,
      dst,
      family: others.family ?? this.familyOf(src, dst) ?? 4,
      port: portNumberOf(protocol, port),
      sourcePort: portNumberOf(protocol, others.sourcePort ?? EPHEMERAL_PORT),
    }
  }

  /** Whether a flow gets through: out of the source and into the destination. */
  isAllowed(flow: Flow): boolean {
    const { src, dst } = flow
    if (exemptionOf(src, dst, this.options) !== null) return true
    const from = this.classOf(src)
    if (from >= 0 && !decide(this.policiesOfClass(from, 'egress'), 'egress', flow, this.options)) return false
    const to = this.classOf(dst)
    return to < 0 || decide(this.policiesOfClass(to, 'ingress'), 'ingress', flow, this.options)
  }

  /** Both directions of a flow by themselves. */
  verdict(flow: Flow): FlowVerdict {
    const exemption = exemptionOf(flow.src, flow.dst, this.options)
    if (exemption !== null) return { allowed: true, exemption, egress: true, ingress: true }
    const egress = decide(this.policiesOf(flow.src, 'egress'), 'egress', flow, this.options)
    const ingress = decide(this.policiesOf(flow.dst, 'ingress'), 'ingress', flow, this.options)
    return { allowed: egress && ingress, exemption, egress, ingress }
  }

  /** All ports that get through between two parties; empty when they share no family. */
  connectionPorts(src: Party, dst: Party, family: Family | null = this.familyOf(src, dst)): PortSet {
    if (family === null) return []
    if (exemptionOf(src, dst, this.options) !== null) return ALL_PORTS
    const out = this.sidePorts(src, dst, 'egress', family)
    return out.length === 0 ? out : intersectPorts(out, this.sidePorts(src, dst, 'ingress', family))
  }

  /** All ports that one side's policies let through. */
  sidePorts(src: Party, dst: Party, direction: Direction, family: Family): PortSet {
    const policies = this.policiesOf(direction === 'ingress' ? dst : src, direction)
    if (policies.length === 0) return ALL_PORTS
    return allowedPorts(policies, direction, src, dst, family, EPHEMERAL_PORT, this.options)
  }

  /** The engine with other policies over the same pods. */
  withPolicies(policies: readonly Policy[]): PolicyEngine {
    const blocks = newBlocks(this.policies, policies)
    const { input, options, names } = this
    if (blocks.length > 0 && this.classes.isSplitBy(blocks, input.pods)) {
      return new PolicyEngine(input, options, { policies, names })
    }
    return new PolicyEngine(input, options, { policies, names, classes: this.classes })
  }

  /**
   * The engine after a small edit, with the classes whose policies changed; null when the edit needs a new index: another
   * set of tiers, or a block that tells pods of one class apart.
   */
  edit(change: {
    readonly remove: readonly Policy[]
    readonly add: readonly Policy[]
  }): { readonly engine: PolicyEngine; readonly affected: Readonly<Record<Direction, readonly number[]>> } | null {
    const { add, remove } = change
    const tierOf = new Map(this.tiers.map((t, i) => [t.name, i]))
    const isPlain = [...add, ...remove].every((p) => !p.staged && tierOf.has(p.tier) && !MIXED.test(p.apiVersion))
    if (!isPlain || this.classes.isSplitBy(allBlocks(add), this.input.pods)) return null
    const removed = new Set(remove)
    const overrides = { ingress: new Map(this.overrides.ingress), egress: new Map(this.overrides.egress) }
    const affected: Record<Direction, number[]> = { ingress: [], egress: [] }
    for (const direction of ['ingress', 'egress'] as const) {
      const touched = new Set<number>()
      const added = new Map<number, PlacedPolicy[]>()
      for (const policy of [...remove, ...add]) {
        if (policy[direction] === null) continue
        const tier = tierOf.get(policy.tier)!
        const placed = { policy, tier, denies: this.tiers[tier]!.defaultAction === 'Deny' }
        for (const c of this.classes.select(policy.subject, policy.subjectNamespace)) {
          touched.add(c)
          if (!removed.has(policy)) added.set(c, [...(added.get(c) ?? []), placed])
        }
      }
      for (const c of touched) {
        const kept = this.policiesOfClass(c, direction).filter((p) => !removed.has(p.policy))
        const list = [...kept, ...(added.get(c) ?? [])]
        overrides[direction].set(
          c,
          list.sort((a, b) => a.tier - b.tier || comparePolicies(a.policy, b.policy)),
        )
      }
      affected[direction] = [...touched].sort((a, b) => a - b)
    }
    const tiers = this.tiers.map((t) => {
      if (![...add, ...remove].some((p) => p.tier === t.name)) return t
      const policies = [...t.policies.filter((p) => !removed.has(p)), ...add.filter((p) => p.tier === t.name)]
      return { ...t, policies: policies.sort(comparePolicies) }
    })
    const { classes, selections, lists, names, staged, input, options } = this
    const policies = [...this.policies.filter((p) => !removed.has(p)), ...add]
    const arranged = { tiers, staged }
    const parts: EngineParts = { policies, arranged, classes, selections, lists, overrides, names }
    return { engine: new PolicyEngine(input, options, parts), affected }
  }
}

/** Kinds of which the first or last in a cluster changes how the others are arranged (compile.ts). */
const MIXED = /projectcalico\.org|^cilium\.io/

/** For each class and direction, the placed policies that select it: pairs counted, then sorted by class. */
function selectSubjects(tiers: readonly Tier[], classes: ClassIndex): Selections {
  const { count } = classes
  const placed = tiers.flatMap((t, tier) =>
    t.policies.map((policy) => ({ policy, tier, denies: t.defaultAction === 'Deny' })),
  )
  const chosen = placed.map(({ policy }) => classes.select(policy.subject, policy.subjectNamespace))
  const build = (direction: Direction): Selection => {
    const starts = new Int32Array(count + 1)
    for (const [i, { policy }] of placed.entries()) {
      if (policy[direction] !== null) for (const c of chosen[i]!) starts[c + 1]!++
    }
    for (let c = 0; c < count; c++) starts[c + 1]! += starts[c]!
    const next = starts.slice()
    const items = new Int32Array(starts[count]!)
    for (const [i, { policy }] of placed.entries()) {
      if (policy[direction] !== null) for (const c of chosen[i]!) items[next[c]!++] = i
    }
    return { starts, items }
  }
  return { placed, ingress: build('ingress'), egress: build('egress') }
}

/** Blocks of the policies that were not there before. */
function newBlocks(before: readonly Policy[], after: readonly Policy[]): AddressRanges[] {
  const known = new Set(before)
  return allBlocks(after.filter((p) => !known.has(p)))
}
