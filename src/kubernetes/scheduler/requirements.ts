/**
 * What a pod asks of a node, worked out once per pod spec (all pods of a template share the spec).
 *
 * Requests: the sum over containers, or the largest init container if that is more (restartable init containers count
 * with the sum), plus overhead. For scoring, a container without requests counts as 100m cpu and 200 MB, as in kube-scheduler.
 *
 * Not modelled: pod-level resources, volumes, resource claims, priorities and preemption.
 * Sources: k8s.io/component-helpers/resource/helpers.go (PodRequests), pkg/scheduler/util/pod_resources.go,
 * k8s.io/component-helpers/scheduling/corev1/nodeaffinity, k8s.io/api/core/v1/toleration.go (ToleratesTaint).
 */
import { parseQuantity } from '../names.ts'
import { matchesMap, matchesRequirement } from '../selector.ts'
import type { Container, NodeModel, NodeSelectorTerm, PodSpec, Taint, Toleration } from '../types.ts'

/** Requested amounts; cpu in millicores. */
export type Amounts = ReadonlyMap<string, number>

/** A host port as `protocol/port`, with the address it is bound to. */
export interface HostPort {
  readonly key: string
  readonly ip: string
}

/** What the scheduler reads of one pod spec. */
export interface Requirements {
  readonly amounts: Amounts
  /** Millicores for scoring. */
  readonly scoreCpu: number
  /** Bytes for scoring. */
  readonly scoreMemory: number
  readonly hostPorts: readonly HostPort[]
}

const DEFAULT_MILLI_CPU = 100
const DEFAULT_MEMORY_BYTES = 200 * 1024 * 1024

/** Works out the requirements of a spec. */
export function requirementsOf(spec: PodSpec): Requirements {
  const amounts = new Map<string, number>()
  let scoreCpu = 0
  let scoreMemory = 0
  const running = [...spec.containers, ...(spec.initContainers ?? []).filter((c) => c.restartPolicy === 'Always')]
  for (const container of running) {
    for (const [resource, amount] of requestsOf(container)) amounts.set(resource, (amounts.get(resource) ?? 0) + amount)
    const requests = container.resources?.requests
    scoreCpu += requests?.cpu === undefined ? DEFAULT_MILLI_CPU : amountOf('cpu', requests.cpu)
    scoreMemory += requests?.memory === undefined ? DEFAULT_MEMORY_BYTES : amountOf('memory', requests.memory)
  }
  for (const container of spec.initContainers ?? []) {
    for (const [resource, amount] of requestsOf(container)) {
      amounts.set(resource, Math.max(amounts.get(resource) ?? 0, amount))
    }
  }
  for (const [resource, amount] of Object.entries(spec.overhead ?? {})) {
    amounts.set(resource, (amounts.get(resource) ?? 0) + amountOf(resource, amount))
  }
  const hostPorts: HostPort[] = []
  for (const container of running) {
    for (const port of container.ports ?? []) {
      if (!port.hostPort) continue
      hostPorts.push({ key: `${port.protocol ?? 'TCP'}/${port.hostPort}`, ip: port.hostIP || '0.0.0.0' })
    }
  }
  return { amounts, scoreCpu, scoreMemory, hostPorts }
}

function requestsOf(container: Container): [string, number][] {
  return Object.entries(container.resources?.requests ?? {}).map(([name, text]) => [name, amountOf(name, text)])
}

function amountOf(resource: string, text: string | number): number {
  const value = parseQuantity(text) ?? 0
  return resource === 'cpu' ? Math.ceil(value * 1000 - 1e-6) : value
}

/** True when the node satisfies nodeSelector and required node affinity. */
export function matchesNodeAffinity(spec: PodSpec, node: NodeModel): boolean {
  if (spec.nodeSelector && !matchesMap(spec.nodeSelector, node.labels)) return false
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution
  return !required || required.nodeSelectorTerms.some((term) => matchesNodeTerm(term, node))
}

/** True when the node satisfies every requirement of the term; an empty term matches no node. */
export function matchesNodeTerm(term: NodeSelectorTerm, node: NodeModel): boolean {
  const expressions = term.matchExpressions ?? []
  const fields = term.matchFields ?? []
  if (expressions.length + fields.length === 0) return false
  return (
    expressions.every((r) => matchesRequirement(r, node.labels)) &&
    fields.every((r) => matchesRequirement(r, { 'metadata.name': node.name }))
  )
}

/** The first taint of the given effects that no toleration covers. */
export function untoleratedTaint(
  taints: readonly Taint[],
  tolerations: readonly Toleration[],
  effects: readonly string[],
): Taint | undefined {
  return taints.find((taint) => effects.includes(taint.effect) && !tolerations.some((t) => tolerates(t, taint)))
}

function tolerates(toleration: Toleration, taint: Taint): boolean {
  if (toleration.effect && toleration.effect !== taint.effect) return false
  if (toleration.key && toleration.key !== taint.key) return false
  const operator = toleration.operator || 'Equal'
  if (operator === 'Exists') return true
  return operator === 'Equal' && !!toleration.key && (toleration.value ?? '') === (taint.value ?? '')
}
