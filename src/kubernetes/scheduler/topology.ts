/**
 * Counts of placed pods per topology domain, for pod affinity, anti-affinity and topology spread.
 *
 * Every distinct (namespaces, selector, topology key) of the cluster's pods is one term, registered before anything is
 * placed; a placed pod then adds to the terms that select it, found through an index on one label pair. So scheduling
 * costs per pod the terms that concern it, not all pods.
 *
 * Sources: k8s.io/kubernetes/pkg/scheduler/framework/plugins/{interpodaffinity,podtopologyspread}.
 */
import { canonicalJson } from '../hash.ts'
import { matchesSelector } from '../selector.ts'
import type { LabelSelector, NodeModel, PodAffinityTerm, StringMap } from '../types.ts'

/** A term and the number of matching pods per domain. */
export interface Term {
  readonly topologyKey: string
  readonly selector: LabelSelector | undefined
  /** Namespaces of the pods that it selects; null is all. */
  readonly namespaces: ReadonlySet<string> | null
  /** Matching pods by value of the topology key. */
  readonly matching: Map<string, number>
  /** Pods that themselves carry the term as required anti-affinity, by domain. */
  readonly holders: Map<string, number>
  total: number
}

/** A placed or incoming pod as the terms see it. */
export interface Subject {
  readonly namespace: string
  readonly labels: StringMap
}

/** All terms of the cluster. */
export class Terms {
  private readonly byKey = new Map<string, Term>()
  private readonly byPair = new Map<string, Term[]>()
  private readonly general: Term[] = []
  private readonly namespaceLabels: ReadonlyMap<string, StringMap>

  constructor(namespaceLabels: ReadonlyMap<string, StringMap>) {
    this.namespaceLabels = namespaceLabels
  }

  /** The term of a pod affinity or anti-affinity entry. */
  ofAffinity(term: PodAffinityTerm, pod: Subject): Term {
    const named = term.namespaces ?? []
    let namespaces: ReadonlySet<string> | null = new Set(named)
    if (term.namespaceSelector) {
      const isAll = canonicalJson(term.namespaceSelector) === '{}'
      const selected = [...this.namespaceLabels].filter(([, labels]) => matchesSelector(term.namespaceSelector, labels))
      namespaces = isAll ? null : new Set([...named, ...selected.map(([name]) => name)])
    } else if (named.length === 0) namespaces = new Set([pod.namespace])
    const selector = withKeys(term.labelSelector, pod.labels, term.matchLabelKeys, term.mismatchLabelKeys)
    return this.register(namespaces, selector, term.topologyKey)
  }

  /** The term of a topology spread constraint. */
  ofSpread(
    selector: LabelSelector | undefined,
    matchLabelKeys: string[] | undefined,
    topologyKey: string,
    pod: Subject,
  ): Term {
    return this.register(
      new Set([pod.namespace]),
      withKeys(selector, pod.labels, matchLabelKeys, undefined),
      topologyKey,
    )
  }

  /** The terms that select a pod. */
  selecting(pod: Subject): Term[] {
    const found: Term[] = []
    const test = (term: Term): void => {
      if (selects(term, pod)) found.push(term)
    }
    this.general.forEach(test)
    for (const key in pod.labels) this.byPair.get(`${key}=${pod.labels[key]}`)?.forEach(test)
    return found
  }

  private register(
    namespaces: ReadonlySet<string> | null,
    selector: LabelSelector | undefined,
    topologyKey: string,
  ): Term {
    const names = namespaces === null ? '*' : [...namespaces].sort().join(',')
    const key = `${names} ${topologyKey} ${canonicalJson(selector ?? null)}`
    let term = this.byKey.get(key)
    if (term === undefined) {
      term = { topologyKey, selector, namespaces, matching: new Map(), holders: new Map(), total: 0 }
      this.byKey.set(key, term)
      const pair = Object.entries(selector?.matchLabels ?? {})[0]
      if (pair === undefined) this.general.push(term)
      else {
        const pairKey = `${pair[0]}=${pair[1]}`
        const list = this.byPair.get(pairKey)
        if (list === undefined) this.byPair.set(pairKey, [term])
        else list.push(term)
      }
    }
    return term
  }
}

/** True when the term selects the pod. */
export function selects(term: Term, pod: Subject): boolean {
  if (term.namespaces !== null && !term.namespaces.has(pod.namespace)) return false
  return matchesSelector(term.selector, pod.labels)
}

/** The value of the term's topology key on a node. */
export function domainOf(term: Term, node: NodeModel): string | undefined {
  return node.labels[term.topologyKey]
}

/** Adds one to a count. */
export function increment(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

function withKeys(
  selector: LabelSelector | undefined,
  labels: StringMap,
  match: string[] | undefined,
  mismatch: string[] | undefined,
): LabelSelector | undefined {
  if (selector === undefined || (!match?.length && !mismatch?.length)) return selector
  const expressions = [...(selector.matchExpressions ?? [])]
  for (const key of match ?? []) {
    if (labels[key] !== undefined) expressions.push({ key, operator: 'In', values: [labels[key]] })
  }
  for (const key of mismatch ?? []) {
    if (labels[key] !== undefined) expressions.push({ key, operator: 'NotIn', values: [labels[key]] })
  }
  return { ...selector, matchExpressions: expressions }
}
