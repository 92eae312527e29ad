/**
 * Classes of pods: pods that no policy can tell apart.
 *
 * A class is a namespace, a set of labels, named ports, a ServiceAccount, and the set of policy blocks that the pod's
 * addresses are in. Selectors are answered from an index: classes by namespace, namespaces by label, classes by label and
 * value; the most selective part of a conjunction gives the candidates, the whole condition is then checked on each.
 */

import type { StringMap } from '../kubernetes/types.ts'
import { AddressAtoms } from './atoms.ts'
import type { Expr } from './expr.ts'
import { matches } from './expr.ts'
import type { PolicyInput, PolicyPod } from './input.ts'
import { alternativeHolds } from './match.ts'
import type { Alternative, Condition, Policy, PolicyOptions } from './model.ts'
import { META_NAMESPACE } from './model.ts'
import type { AddressRanges, Family } from './ranges.ts'

/** Every block of addresses that can tell two pods apart. */
function podBlocks(policies: readonly Policy[]): AddressRanges[] {
  const found = new Set<AddressRanges>()
  const add = (a: Alternative | null): void => {
    for (const c of a?.conditions ?? []) {
      if (c.t === 'nets' && c.pods !== 'never') found.add(c.ranges)
      else if (c.t === 'labels' && c.sets !== null) found.add(c.sets)
    }
  }
  eachAlternative(policies, add)
  return [...found]
}

/** Every block of addresses that policies name. */
export function allBlocks(policies: readonly Policy[]): AddressRanges[] {
  const found = new Set<AddressRanges>()
  eachAlternative(policies, (a) => {
    for (const c of a?.conditions ?? []) {
      if (c.t === 'nets') found.add(c.ranges)
      else if (c.t === 'labels' && c.sets !== null) found.add(c.sets)
    }
  })
  return [...found]
}

function eachAlternative(policies: readonly Policy[], visit: (a: Alternative | null) => void): void {
  for (const p of policies) {
    if (!p.hasBlocks) continue
    for (const way of [p.ingress, p.egress]) {
      for (const rule of way?.rules ?? []) {
        visit(rule.self)
        for (const a of rule.peers ?? []) visit(a)
      }
    }
  }
}

/** The classes of a cluster and their index. */
export class ClassIndex {
  /** One pod of each class. */
  readonly representatives: readonly PolicyPod[]
  /** Number of pods of each class. */
  readonly sizes: Int32Array
  /** Class of each pod, in the order of the input. */
  readonly classOfPod: Int32Array
  private readonly options: PolicyOptions
  private readonly namespaces: ReadonlyMap<string, StringMap>
  private readonly byNamespace = new Map<string, number[]>()
  private readonly byLabel = new Map<string, number[]>()
  private readonly byAddressSet = new Map<string, number[]>()
  private readonly onHost: number[] = []
  private readonly all: readonly number[]
  private readonly atoms: AddressAtoms
  private addresses: AddressTable | null = null
  private readonly answers = new Map<string, readonly number[]>()

  constructor(input: PolicyInput, policies: readonly Policy[], options: PolicyOptions) {
    this.options = options
    this.namespaces = input.namespaces
    this.atoms = new AddressAtoms(podBlocks(policies))
    const representatives: PolicyPod[] = []
    const sizes: number[] = []
    const numbers = new Map<string, number>()
    const keys = new KeyMaker(this.atoms)
    this.classOfPod = new Int32Array(input.pods.length)
    for (const [i, pod] of input.pods.entries()) {
      const key = keys.of(pod)
      let number = numbers.get(key)
      if (number === undefined) {
        number = representatives.length
        numbers.set(key, number)
        representatives.push(pod)
        sizes.push(0)
        this.file(number, pod)
      }
      sizes[number]!++
      this.classOfPod[i] = number
    }
    this.representatives = representatives
    this.sizes = Int32Array.from(sizes)
    this.all = Array.from({ length: representatives.length }, (_, i) => i)
  }

  /** Number of classes. */
  get count(): number {
    return this.representatives.length
  }

  private file(number: number, pod: PolicyPod): void {
    push(this.byNamespace, pod.namespace, number)
    for (const a of pod.addresses) push(this.byAddressSet, `${a.family}:${this.atoms.setOf(a)}`, number)
    if (pod.hostNetwork) this.onHost.push(number)
    for (const key in pod.labels.pod) push(this.byLabel, `${key}\0${pod.labels.pod[key]}`, number)
  }

  /** True when new blocks would split a class: an index with them is then made anew. */
  isSplitBy(blocks: readonly AddressRanges[], pods: readonly PolicyPod[]): boolean {
    this.addresses ??= new AddressTable(pods, this.classOfPod)
    return blocks.some((block) => this.addresses!.splits(block))
  }

  /** Classes whose pods satisfy the alternative, ascending. @param within the only namespace to look in, or null */
  select(alternative: Alternative, within: string | null = null, family: Family | null = null): readonly number[] {
    const { conditions } = alternative
    // answers about one namespace are as many as its policies and cheap to find: not kept
    const isKept = within === null && conditions.every((c) => c.t === 'labels' && !c.negate && c.sets === null)
    const key = isKept ? selectionKey(conditions) : ''
    const known = isKept ? this.answers.get(key) : undefined
    if (known !== undefined) return known
    const candidates = this.candidates(conditions, within, family)
    const found: number[] = []
    for (const number of candidates) {
      const pod = this.representatives[number]!
      const of = family ?? (pod.v4 !== null ? 4 : 6)
      if (alternativeHolds(alternative, pod, pod, of, this.options)) found.push(number)
    }
    if (isKept) this.answers.set(key, found)
    return found
  }

  private candidates(conditions: readonly Condition[], within: string | null, family: Family | null): Iterable<number> {
    let best: Iterable<number> & { readonly length: number } = this.all
    const consider = (list: readonly number[]): void => {
      if (list.length < best.length) best = list
    }
    if (within !== null) return this.byNamespace.get(within) ?? []
    for (const c of conditions) {
      if (c.t === 'never') return []
      if (c.t === 'nodes') consider(this.onHost)
      if (c.t === 'nets' && !c.negate) {
        if (c.pods === 'never') return []
        const families = family === null ? ([4, 6] as const) : [family]
        const sets = families.flatMap((f) => [...this.atoms.setsIn(c.ranges, f)].map((n) => `${f}:${n}`))
        consider(merged(sets.map((key) => this.byAddressSet.get(key) ?? [])))
      }
      if (c.t !== 'labels' || c.negate || c.sets !== null) continue
      for (const part of c.expr.op === 'and' ? c.expr.of : [c.expr]) {
        const list = this.listOf(part)
        if (list !== null) consider(list)
      }
    }
    return best
  }

  /** Classes that may satisfy a simple expression, ascending, or null when the index does not know. */
  private listOf(expr: Expr): readonly number[] | null {
    if (expr.op === 'false') return []
    if (expr.op === 'in' && expr.scope === 'pod') {
      if (expr.values.length === 1) return this.byLabel.get(`${expr.key}\0${expr.values[0]}`) ?? []
      return merged(expr.values.map((v) => this.byLabel.get(`${expr.key}\0${v}`) ?? []))
    }
    if (expr.op === 'in' && expr.scope === 'meta' && expr.key === META_NAMESPACE) {
      return merged(expr.values.map((v) => this.byNamespace.get(v) ?? []))
    }
    if (expr.op === 'in' && expr.scope === 'namespace')
      return merged(this.namespacesWith(expr).map((n) => this.byNamespace.get(n) ?? []))
    return null
  }

  private readonly namespaceAnswers = new Map<string, string[]>()

  private namespacesWith(expr: Expr): string[] {
    const key = JSON.stringify(expr)
    let found = this.namespaceAnswers.get(key)
    if (found === undefined) {
      const empty: StringMap = {}
      found = []
      for (const [name, labels] of this.namespaces) {
        const scopes = { pod: empty, namespace: labels, serviceaccount: empty, node: empty, meta: empty }
        if (matches(expr, { labels: scopes })) found.push(name)
      }
      this.namespaceAnswers.set(key, found)
    }
    return found
  }
}

/** Addresses of all pods in order, with the class of each. */
class AddressTable {
  private readonly v4: readonly (readonly [number, number])[]
  private readonly v6: readonly (readonly [bigint, number])[]
  private readonly sizes = new Map<string, number>()

  constructor(pods: readonly PolicyPod[], classOfPod: Int32Array) {
    const v4: [number, number][] = []
    const v6: [bigint, number][] = []
    for (const [i, pod] of pods.entries()) {
      const number = classOfPod[i]!
      for (const a of pod.addresses) {
        if (a.family === 4) v4.push([a.value, number])
        else v6.push([a.value, number])
        const key = `${a.family} ${number}`
        this.sizes.set(key, (this.sizes.get(key) ?? 0) + 1)
      }
    }
    this.v4 = v4.sort((a, b) => a[0] - b[0])
    this.v6 = v6.sort((a, b) => (a[0] < b[0] ? -1 : 1))
  }

  /** True when the block holds some of a class's addresses and not all. */
  splits(block: AddressRanges): boolean {
    return this.splitsFamily(4, this.v4, block.v4) || this.splitsFamily(6, this.v6, block.v6)
  }

  private splitsFamily<T extends number | bigint>(
    family: Family,
    table: readonly (readonly [T, number])[],
    pairs: readonly T[],
  ): boolean {
    const counts = new Map<number, number>()
    for (let i = 0; i < pairs.length; i += 2) {
      let low = 0
      let high = table.length
      while (low < high) {
        const middle = (low + high) >> 1
        if (table[middle]![0] < pairs[i]!) low = middle + 1
        else high = middle
      }
      for (; low < table.length && table[low]![0] <= pairs[i + 1]!; low++) {
        const number = table[low]![1]
        counts.set(number, (counts.get(number) ?? 0) + 1)
      }
    }
    for (const [number, count] of counts) if (count < this.sizes.get(`${family} ${number}`)!) return true
    return false
  }
}

type LabelsCondition = Extract<Condition, { t: 'labels' }>

function selectionKey(conditions: readonly Condition[]): string {
  return JSON.stringify(conditions.map((c) => [(c as LabelsCondition).expr, (c as LabelsCondition).hostNetworkAsPod]))
}

function push(map: Map<string, number[]>, key: string, value: number): void {
  const list = map.get(key)
  if (list === undefined) map.set(key, [value])
  else list.push(value)
}

function merged(lists: readonly (readonly number[])[]): readonly number[] {
  if (lists.length === 1) return lists[0]!
  return [...new Set(lists.flat())].sort((a, b) => a - b)
}

/** What makes two pods one class, as text; parts that pods share are numbered once. */
class KeyMaker {
  private readonly atoms: AddressAtoms
  private readonly numbers = new Map<object, number>()
  private readonly texts = new Map<string, number>()

  constructor(atoms: AddressAtoms) {
    this.atoms = atoms
  }

  of(pod: PolicyPod): string {
    const account = pod.labels.meta.serviceaccount
    const host = pod.hostNetwork ? pod.node : ''
    let addresses = ''
    for (const a of pod.addresses) addresses += `${a.family}:${this.atoms.setOf(a)},`
    const labels = this.number(pod.labels.pod, () => JSON.stringify(Object.entries(pod.labels.pod).sort()))
    const ports = pod.ports.length === 0 ? 0 : this.number(pod.ports, () => JSON.stringify(pod.ports))
    return `${pod.namespace} ${labels} ${ports} ${account} ${host} ${addresses}`
  }

  private number(value: object, text: () => string): number {
    let number = this.numbers.get(value)
    if (number === undefined) {
      const key = text()
      number = this.texts.get(key)
      if (number === undefined) {
        number = this.texts.size + 1
        this.texts.set(key, number)
      }
      this.numbers.set(value, number)
    }
    return number
  }
}
