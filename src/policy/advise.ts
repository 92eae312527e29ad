/**
 * Suggested policies: the least that lets given flows through.
 *
 * For every workload that a flow touches one NetworkPolicy: it selects the labels that all of the workload's pods have and no
 * other pod of the namespace (hashes of controllers left out), isolates it in the directions of its flows, and allows each
 * peer its ports. Egress also opens DNS, without which names stop resolving. Peers outside the cluster are /32 or /128 blocks.
 * The suggestion is checked: with it, every flow must still be allowed (`missing` says which are not, and lists none).
 */
import { NO_POSITION } from '../diagnostics/diagnostic.ts'
import type { KubernetesObject, StringMap } from '../kubernetes/types.ts'
import type { PolicyEngine } from './engine.ts'
import type { PolicyPod } from './input.ts'
import { compileNetworkPolicy } from './kinds/network-policy.ts'
import type { Party } from './model.ts'
import { formatAddress } from './ranges.ts'

/** A connection that must work. */
export interface AdvisedFlow {
  readonly src: Party
  readonly dst: Party
  readonly protocol: 'TCP' | 'UDP' | 'SCTP'
  readonly port: number
}

/** The suggestion. */
export interface Advice {
  /** NetworkPolicies, sorted by namespace and name. */
  readonly policies: readonly KubernetesObject[]
  /** Flows that even with the suggestion are denied: other policies deny them. */
  readonly missing: readonly AdvisedFlow[]
  /** Workloads that cannot be told from another by labels; their policies select that one as well. */
  readonly ambiguous: readonly string[]
}

/** Labels that controllers give and that change with every roll-out. */
const CONTROLLER_LABELS = new Set([
  ...['pod-template-hash', 'controller-revision-hash', 'pod-template-generation', 'statefulset.kubernetes.io/pod-name'],
  ...['apps.kubernetes.io/pod-index', 'controller-uid', 'batch.kubernetes.io/controller-uid', 'job-name'],
])

type Fields = Record<string, unknown>

/** A workload with its flows. */
interface Draft {
  readonly pod: PolicyPod
  readonly ingress: AdvisedFlow[]
  readonly egress: AdvisedFlow[]
}

/** Suggests policies for flows. */
export function advise(engine: PolicyEngine, flows: readonly AdvisedFlow[]): Advice {
  const ambiguous = new Set<string>()
  const drafts = new Map<string, Draft>()
  const draft = (pod: PolicyPod): Draft => {
    const key = `${pod.namespace}/${pod.workload}`
    let found = drafts.get(key)
    if (found === undefined) {
      found = { pod, ingress: [], egress: [] }
      drafts.set(key, found)
    }
    return found
  }
  for (const flow of flows) {
    if (isPod(flow.dst)) draft(flow.dst).ingress.push(flow)
    if (isPod(flow.src)) draft(flow.src).egress.push(flow)
  }
  const selector = (pod: PolicyPod): Fields => ({ matchLabels: workloadLabels(engine, pod, ambiguous) })
  const peer = (of: Party, namespace: string): Fields => {
    if (!isPod(of)) return { ipBlock: { cidr: `${formatAddress(of.addresses[0]!)}/${of.v4 === null ? 128 : 32}` } }
    if (of.namespace === namespace) return { podSelector: selector(of) }
    return {
      namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': of.namespace } },
      podSelector: selector(of),
    }
  }
  const policies = [...drafts.values()].map(({ pod, ingress, egress }): KubernetesObject => {
    const rules = (list: readonly AdvisedFlow[], way: 'ingress' | 'egress'): Fields[] => {
      const byPeer = new Map<string, { peer: Fields; ports: Map<string, Fields> }>()
      for (const f of list) {
        const of = peer(way === 'ingress' ? f.src : f.dst, pod.namespace)
        const key = JSON.stringify(of)
        const entry = byPeer.get(key) ?? { peer: of, ports: new Map<string, Fields>() }
        entry.ports.set(`${f.protocol}/${f.port}`, { protocol: f.protocol, port: f.port })
        byPeer.set(key, entry)
      }
      const side = way === 'ingress' ? 'from' : 'to'
      return [...byPeer.entries()]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([, e]) => ({
          [side]: [e.peer],
          ports: [...e.ports.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, p]) => p),
        }))
    }
    const dns = {
      to: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'kube-system' } } }],
      ports: [
        { protocol: 'UDP', port: 53 },
        { protocol: 'TCP', port: 53 },
      ],
    }
    const types = [...(ingress.length > 0 ? ['Ingress'] : []), ...(egress.length > 0 ? ['Egress'] : [])]
    return {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: `allow-${pod.workload.split('/')[1]}`, namespace: pod.namespace },
      spec: {
        podSelector: selector(pod),
        policyTypes: types,
        ...(ingress.length > 0 && { ingress: rules(ingress, 'ingress') }),
        ...(egress.length > 0 && { egress: [...rules(egress, 'egress'), dns] }),
      },
    }
  })
  policies.sort((a, b) => (key(a) < key(b) ? -1 : 1))
  const compiled = policies.map((object) => compileNetworkPolicy({ object, source: NO_POSITION }))
  const after = engine.withPolicies([...engine.policies, ...compiled])
  const missing = flows.filter((f) => !after.isAllowed(after.flow(f.src, f.dst, f.protocol, f.port)))
  return { policies, missing, ambiguous: [...ambiguous].sort() }
}

function key(o: KubernetesObject): string {
  return `${o.metadata.namespace}/${o.metadata.name}`
}

function isPod(party: Party): party is PolicyPod {
  return party.kind === 'pod' && !party.hostNetwork
}

/** The labels that all pods of the workload have, and none of the others of the namespace has all of. */
function workloadLabels(engine: PolicyEngine, pod: PolicyPod, ambiguous: Set<string>): StringMap {
  const inNamespace = engine.input.pods.filter((p) => p.namespace === pod.namespace)
  const own = inNamespace.filter((p) => p.workload === pod.workload)
  const common = Object.entries(pod.labels.pod).filter(
    ([k, v]) => !CONTROLLER_LABELS.has(k) && own.every((p) => p.labels.pod[k] === v),
  )
  const others = inNamespace.filter((p) => p.workload !== pod.workload && !p.hostNetwork)
  if (others.some((p) => common.every(([k, v]) => p.labels.pod[k] === v)))
    ambiguous.add(`${pod.namespace}/${pod.workload}`)
  return Object.fromEntries(common)
}
