/**
 * What policies are evaluated over: the parties of a cluster and its policy objects.
 *
 * Taken from the built cluster (addresses from the IPAM, pods of controllers, terminated pods left out), so that every
 * question sees the same pods. Every namespace has `kubernetes.io/metadata.name`, which the API server sets; ReplicaSet
 * pods carry the labels that their controller gives them.
 *
 * Sources: kubernetes pkg/registry/core/namespace/strategy.go (metadata.name label), api/core/v1.
 */
import type { ClusterModel, KubernetesObject, NodeModel, PodModel, Sourced, StringMap } from '../kubernetes/types.ts'
import { META_NAMESPACE, META_SERVICE_ACCOUNT, type NamedPort, NO_LABELS, type Party } from './model.ts'
import { type Address, formatAddress, parseAddress } from './ranges.ts'

/** A pod as policies see it. */
export interface PolicyPod extends Party {
  readonly kind: 'pod'
  /** `Deployment/web`, or `Pod/name` for a pod of its own. */
  readonly workload: string
  readonly podName: string
}

/** A Service as Calico's `services` and questions to a Service see it. */
export interface PolicyService {
  readonly namespace: string
  readonly name: string
  /** What its EndpointSlices hold. */
  readonly endpoints: readonly {
    readonly ip: string
    readonly protocol: 'TCP' | 'UDP' | 'SCTP'
    readonly port: number
  }[]
}

/** Everything that an evaluation needs. */
export interface PolicyInput {
  readonly namespaces: ReadonlyMap<string, StringMap>
  readonly pods: readonly PolicyPod[]
  readonly nodes: readonly Party[]
  readonly services: readonly PolicyService[]
  /** Objects of every policy kind, of NetworkSets and of Tiers, as loaded. */
  readonly objects: readonly Sourced<KubernetesObject>[]
}

/** The labels of a pod's namespace and what the system knows of it. */
function podLabels(
  pod: PodModel,
  namespace: StringMap,
  serviceAccounts: ReadonlyMap<string, StringMap>,
): Party['labels'] {
  const serviceAccount = (pod.spec.serviceAccountName as string | undefined) ?? 'default'
  return {
    pod: pod.labels,
    namespace,
    serviceaccount: serviceAccounts.get(`${pod.namespace}/${serviceAccount}`) ?? {},
    node: {},
    meta: { [META_NAMESPACE]: pod.namespace, [META_SERVICE_ACCOUNT]: serviceAccount },
  }
}

/** Splits addresses by family. */
export function byFamily(addresses: readonly Address[]): { v4: Address | null; v6: Address | null } {
  return {
    v4: addresses.find((a) => a.family === 4) ?? null,
    v6: addresses.find((a) => a.family === 6) ?? null,
  }
}

/** A pod of the cluster. */
function podParty(pod: PodModel, labels: Party['labels'], nodeLabels: StringMap): PolicyPod {
  // what the cluster reports is what its policies see, even outside of the CIDRs that podwalk would allocate from
  const texts = pod.hostNetwork || pod.statusIps.length === 0 ? [pod.ip] : pod.statusIps
  const addresses = texts.map(parseAddress).filter((a) => a !== null)
  return {
    kind: 'pod',
    name: `${pod.namespace}/${pod.name}`,
    namespace: pod.namespace,
    podName: pod.name,
    workload: pod.owner === undefined ? `Pod/${pod.name}` : `${pod.owner.workloadKind}/${pod.owner.workloadName}`,
    node: pod.node,
    hostNetwork: pod.hostNetwork,
    ports: namedPorts(pod),
    addresses,
    ...byFamily(addresses),
    labels: pod.hostNetwork ? { ...labels, node: nodeLabels } : labels,
  }
}

const NO_PORT_NAMES: readonly NamedPort[] = []

function namedPorts(pod: PodModel): readonly NamedPort[] {
  let found: NamedPort[] | null = null
  for (const p of pod.ports) {
    if (p.name === undefined) continue
    found ??= []
    found.push({ name: p.name, protocol: p.protocol, port: p.port })
  }
  return found ?? NO_PORT_NAMES
}

/** A node. */
function nodeParty(node: NodeModel): Party {
  const address = parseAddress(node.internalIp)
  const addresses = address === null ? [] : [address]
  return {
    kind: 'node',
    name: node.name,
    namespace: '',
    node: node.name,
    hostNetwork: true,
    ports: NO_PORT_NAMES,
    addresses,
    ...byFamily(addresses),
    labels: { ...NO_LABELS, node: node.labels },
  }
}

/** A machine that is neither pod nor node. */
export function externalParty(address: Address): Party {
  return {
    kind: 'external',
    name: formatAddress(address),
    namespace: '',
    node: '',
    hostNetwork: false,
    ports: NO_PORT_NAMES,
    addresses: [address],
    ...byFamily([address]),
    labels: NO_LABELS,
  }
}

/** The parties and policies of a cluster. */
export function policyInputOf(model: ClusterModel): PolicyInput {
  const namespaces = new Map(model.namespaces.map((n) => [n.name, n.labels]))
  const serviceAccounts = new Map<string, StringMap>()
  for (const { object } of model.otherObjects) {
    if (object.kind !== 'ServiceAccount') continue
    serviceAccounts.set(
      `${object.metadata.namespace ?? 'default'}/${object.metadata.name}`,
      object.metadata.labels ?? {},
    )
  }
  const nodeLabels = new Map(model.nodes.map((n) => [n.name, n.labels]))
  const pods = model.pods.map((pod) =>
    podParty(pod, podLabels(pod, namespaces.get(pod.namespace) ?? {}, serviceAccounts), nodeLabels.get(pod.node) ?? {}),
  )
  return {
    namespaces,
    pods,
    nodes: model.nodes.map(nodeParty),
    services: servicesOf(model),
    objects: model.policyObjects,
  }
}

function servicesOf(model: ClusterModel): PolicyService[] {
  const endpoints = new Map<string, PolicyService['endpoints'][number][]>()
  for (const slice of model.endpointSlices) {
    if (slice.service === undefined) continue
    let list = endpoints.get(slice.service)
    if (list === undefined) {
      list = []
      endpoints.set(slice.service, list)
    }
    for (const endpoint of slice.object.endpoints) {
      for (const ip of endpoint.addresses) {
        for (const port of slice.object.ports ?? []) {
          if (port.port !== undefined) list.push({ ip, protocol: port.protocol ?? 'TCP', port: port.port })
        }
      }
    }
  }
  return model.services.map(({ object }) => ({
    namespace: object.metadata.namespace,
    name: object.metadata.name,
    endpoints: endpoints.get(`${object.metadata.namespace}/${object.metadata.name}`) ?? [],
  }))
}
