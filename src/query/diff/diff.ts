/**
 * The diff query: both sets are asked who can talk to whom, and what differs is laid at the door of what was changed.
 *
 * Workloads are compared by name. A port counts as open when some pod of the one reaches some pod of the other on it. A
 * change that by itself, applied to the old policies over the new pods, gives the new answer is named as the cause; when the
 * old policies give the new answer already, the pods or their labels are.
 */
import type { ClusterModel, KubernetesObject, Protocol, Sourced } from '../../kubernetes/types.ts'
import { AddressAtoms } from '../../policy/atoms.ts'
import { allBlocks } from '../../policy/classes.ts'
import type { PolicyEngine } from '../../policy/engine.ts'
import { externalParty } from '../../policy/input.ts'
import type { Party, Policy } from '../../policy/model.ts'
import { NO_PORTS, type PortSet, portRange, portsText, subtractPorts, unionPorts } from '../../policy/port-set.ts'
import { type AddressRanges, rangesText, unionRanges } from '../../policy/ranges.ts'
import { enforcementOf } from '../enforcement.ts'
import { partyName } from '../reach.ts'
import type { ReachBy } from '../reach-types.ts'
import { API_VERSION } from '../trace-types.ts'
import type { Diff, DiffConnection, DiffObject } from './diff-types.ts'

/** One set of manifests. */
export interface DiffSide {
  /** What the user called it. */
  readonly name: string
  readonly engine: PolicyEngine
  readonly model: ClusterModel
}

const PROTOCOLS: readonly Protocol[] = ['TCP', 'UDP', 'SCTP']

/** A pair of ends with its ports on both sides, and parties of the new side to ask about it. */
interface Pair {
  readonly src: string
  readonly dst: string
  before: PortSet
  after: PortSet
  sample: readonly [Party, Party] | null
}

/** Compares two sets. */
export function diffQuery(old: DiffSide, now: DiffSide, by: ReachBy): Diff {
  const pairs = new Map<string, Pair>()
  addPods(pairs, old.engine, by, 'before')
  addPods(pairs, now.engine, by, 'after')
  const outside = outsidePairs(old.engine, now.engine, by)
  const policies = changedObjects(old.engine, now.engine)
  const cause = new Attribution(old.engine, now.engine, policies)
  const names = (side: DiffSide): Set<string> => new Set(side.engine.input.pods.map((p) => partyName(p, by)))
  const [had, has] = [names(old), names(now)]
  const ends = {
    added: [...has].filter((n) => !had.has(n)).sort(),
    removed: [...had].filter((n) => !has.has(n)).sort(),
  }
  const added: DiffConnection[] = []
  const removed: DiffConnection[] = []
  for (const pair of [...pairs.values(), ...outside]) {
    for (const [list, more, less] of [
      [added, pair.after, pair.before],
      [removed, pair.before, pair.after],
    ] as const) {
      const ports = subtractPorts(more, less)
      for (const protocol of PROTOCOLS) {
        const text = portsText(ports, protocol)
        if (text === '') continue
        const { src, dst } = pair
        const fresh = [src, dst].filter((n) => (list === added ? ends.added : ends.removed).includes(n))
        const because =
          fresh.length > 0
            ? fresh.map((n) => `${n} is ${list === added ? 'new' : 'gone'}`)
            : cause.of(pair, protocol, ports, list === added)
        list.push({ src, dst, protocol, ports: text, because })
      }
    }
  }
  return {
    apiVersion: API_VERSION,
    kind: 'Diff',
    by,
    old: old.name,
    new: now.name,
    added: added.sort(byEnds),
    removed: removed.sort(byEnds),
    policies: policies.map((p) => p.told),
    ends,
    notes: [...new Set([old, now].flatMap(notEnforced))],
  }
}

/** What the comparison of semantics does not say: that the CNI of a side ignores policies. */
function notEnforced(side: DiffSide): string[] {
  const { cni, ignored } = enforcementOf(side.engine, side.model)
  if (ignored.length === 0) return []
  const many = ignored.length === 1 ? 'this policy' : `these ${ignored.length} policies`
  return [
    `${side.name}: ${cni} does not enforce ${many}: ${ignored.slice(0, 3).join(', ')}${ignored.length > 3 ? ', ...' : ''}`,
  ]
}

function byEnds(a: DiffConnection, b: DiffConnection): number {
  return compare(a.src, b.src) || compare(a.dst, b.dst) || compare(a.protocol, b.protocol)
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** All pairs of ends, by pods that stand for all that no policy tells apart. */
function addPods(pairs: Map<string, Pair>, engine: PolicyEngine, by: ReachBy, side: 'before' | 'after'): void {
  const pods = byName(engine, by)
  for (const [from, sources] of pods) {
    for (const [to, destinations] of pods) {
      for (const src of sources) {
        for (const dst of destinations) {
          if (src === dst) continue
          const pair = pairOf(pairs, from, to)
          pair[side] = unionPorts(pair[side], engine.connectionPorts(src, dst))
          if (side === 'after') pair.sample ??= [src, dst]
        }
      }
    }
  }
}

function pairOf(pairs: Map<string, Pair>, src: string, dst: string): Pair {
  const key = `${src} ${dst}`
  let pair = pairs.get(key)
  if (pair === undefined) {
    pair = { src, dst, before: NO_PORTS, after: NO_PORTS, sample: null }
    pairs.set(key, pair)
  }
  return pair
}

/** Pods and the world: over ranges that neither side's policies tell apart, those with one answer put together. */
function outsidePairs(old: PolicyEngine, now: PolicyEngine, by: ReachBy): Pair[] {
  const families = new Set([...old.input.pods, ...now.input.pods].flatMap((p) => p.addresses.map((a) => a.family)))
  const atoms = new AddressAtoms([...allBlocks(old.policies), ...allBlocks(now.policies)])
    .all()
    .filter((a) => families.has(a.family))
  const grouped = new Map<string, Pair & { ranges: AddressRanges[] }>()
  const ask = (engine: PolicyEngine, pods: readonly Party[], outside: Party, isOut: boolean): PortSet =>
    pods.reduce<PortSet>(
      (all, pod) =>
        unionPorts(all, isOut ? engine.connectionPorts(pod, outside) : engine.connectionPorts(outside, pod)),
      NO_PORTS,
    )
  const [before, after] = [byName(old, by), byName(now, by)]
  for (const name of new Set([...before.keys(), ...after.keys()])) {
    for (const atom of atoms) {
      const outside = externalParty(atom.representative)
      for (const isOut of [true, false]) {
        const b = ask(old, before.get(name) ?? [], outside, isOut)
        const pods = after.get(name) ?? []
        const a = ask(now, pods, outside, isOut)
        if (subtractPorts(a, b).length === 0 && subtractPorts(b, a).length === 0) continue
        const key = `${name} ${isOut} ${b.join()} ${a.join()}`
        let group = grouped.get(key)
        if (group === undefined) {
          const sample =
            pods[0] === undefined ? null : isOut ? ([pods[0], outside] as const) : ([outside, pods[0]] as const)
          group = { src: isOut ? name : '', dst: isOut ? '' : name, before: b, after: a, sample, ranges: [] }
          grouped.set(key, group)
        }
        group.ranges.push(atom.ranges)
      }
    }
  }
  return [...grouped.values()].flatMap((g) =>
    rangesText(unionRanges(g.ranges)).map((text) => ({
      ...g,
      src: g.src === '' ? `ip:${text}` : g.src,
      dst: g.dst === '' ? `ip:${text}` : g.dst,
    })),
  )
}

/**
 * Two pods of each class of every workload: a workload also talks to itself. Host-network pods stand for themselves, since
 * the node that they are on has a say.
 */
function byName(engine: PolicyEngine, by: ReachBy): Map<string, Party[]> {
  const found = new Map<string, Party[]>()
  const seen = new Map<string, number>()
  for (const pod of engine.input.pods) {
    const name = partyName(pod, by)
    const key = `${name} ${pod.hostNetwork ? pod.name : engine.classOf(pod)}`
    const count = seen.get(key) ?? 0
    if (count === 2) continue
    seen.set(key, count + 1)
    const list = found.get(name)
    if (list === undefined) found.set(name, [pod])
    else list.push(pod)
  }
  return found
}

interface ChangedObject {
  readonly key: string
  readonly told: DiffObject
}

function objectKey(o: KubernetesObject): string {
  return `${o.apiVersion.split('/')[0]} ${o.kind} ${o.metadata.namespace ?? 'default'}/${o.metadata.name}`
}

/** The key of the object that a policy was compiled from. */
function policyKey(p: Policy): string {
  return `${p.apiVersion.split('/')[0]} ${p.kind} ${p.namespace === '' ? 'default' : p.namespace}/${p.name}`
}

/** Policy objects (and what they refer to: network sets, tiers) that differ. */
function changedObjects(old: PolicyEngine, now: PolicyEngine): ChangedObject[] {
  const before = new Map(old.input.objects.map((o) => [objectKey(o.object), o]))
  const after = new Map(now.input.objects.map((o) => [objectKey(o.object), o]))
  const told = (
    change: DiffObject['change'],
    key: string,
    { object, source }: Sourced<KubernetesObject>,
  ): ChangedObject => {
    const namespace = object.metadata.namespace === undefined ? '' : `${object.metadata.namespace}/`
    const title = `${object.kind} ${namespace}${object.metadata.name}`
    return { key, told: { change, object: title, file: source.file, line: source.line } }
  }
  const found: ChangedObject[] = []
  for (const [key, o] of before) {
    const same = after.get(key)
    if (same === undefined) found.push(told('removed', key, o))
    else if (meaning(same.object) !== meaning(o.object)) found.push(told('changed', key, same))
  }
  for (const [key, o] of after) if (!before.has(key)) found.push(told('added', key, o))
  return found.sort((a, b) => compare(a.told.object, b.told.object))
}

/** What of an object has a say: everything but what the API server writes. */
function meaning(o: KubernetesObject): string {
  const { metadata, status: _status, ...rest } = o as KubernetesObject & { status?: unknown }
  return JSON.stringify({ ...rest, labels: metadata.labels ?? {} }, sorted)
}

/** JSON.stringify replacer: objects with their keys in order. */
function sorted(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => compare(a, b)))
}

/** Which change brought a difference about. */
class Attribution {
  private readonly now: PolicyEngine
  private readonly changes: readonly ChangedObject[]
  private readonly before: readonly Policy[]
  private readonly after: readonly Policy[]
  private readonly engines = new Map<string, PolicyEngine>()

  constructor(old: PolicyEngine, now: PolicyEngine, changes: readonly ChangedObject[]) {
    this.now = now
    this.changes = changes
    this.before = old.policies
    this.after = now.policies
  }

  /** Names of the changes that give the new answer by themselves; `isOpen` is that answer. */
  of(pair: Pair, protocol: Protocol, ports: PortSet, isOpen: boolean): string[] {
    if (pair.sample === null) return ['its pods are gone']
    const [src, dst] = pair.sample
    const inside = portsOfProtocol(ports, protocol)
    const answers = (engine: PolicyEngine): boolean => {
      const open = engine.connectionPorts(src, dst)
      const left = subtractPorts(inside, open)
      return isOpen ? left.length === 0 : subtractPorts(inside, left).length === 0
    }
    if (answers(this.engine('', []))) return ['the pods, their labels or their namespaces changed']
    const alone = this.changes.filter((c) => answers(this.engine(c.key, [c])))
    const named = alone.length > 0 ? alone : this.changes
    return named.map((c) => `${c.told.object} ${c.told.change} (${c.told.file}:${c.told.line})`)
  }

  /** The new pods under the old policies with some changes applied. */
  private engine(key: string, changes: readonly ChangedObject[]): PolicyEngine {
    let engine = this.engines.get(key)
    if (engine === undefined) {
      const keys = new Set(changes.map((c) => c.key))
      const isChanged = (p: Policy): boolean => keys.has(policyKey(p))
      const policies = [...this.before.filter((p) => !isChanged(p)), ...this.after.filter(isChanged)]
      engine = this.now.withPolicies(policies)
      this.engines.set(key, engine)
    }
    return engine
  }
}

function portsOfProtocol(ports: PortSet, protocol: Protocol): PortSet {
  const all = portRange(protocol, 1, 65535)
  return subtractPorts(all, subtractPorts(all, ports))
}
