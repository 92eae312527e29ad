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

/** What the system knows of pods: one object for each namespace and ServiceAccount. */
class MetaLabels {
  private readonly known = new Map<string, StringMap>()

  of(namespace: string, serviceAccount: string): StringMap {
    const key = `${namespace}/${serviceAccount}`
    let labels = this.known.get(key)
    if (labels === undefined) {
      labels = { [META_NAMESPACE]: namespace, [META_SERVICE_ACCOUNT]: serviceAccount }
      this.known.set(key, labels)
    }
    return labels
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
function podParty(pod: PodModel, index: number, labels: Party['labels'], isReported: boolean): PolicyPod {
  // what the cluster reports is what its policies see, even outside of the CIDRs that podwalk would allocate from
  const texts = isReported && !pod.hostNetwork && pod.statusIps.length > 0 ? pod.statusIps : [pod.ip]
  const addresses = texts.map(parseAddress).filter((a) => a !== null)
  return {
    kind: 'pod',
    index,
    name: `${pod.namespace}/${pod.name}`,
    namespace: pod.namespace,
    podName: pod.name,
    workload: pod.owner === undefined ? `Pod/${pod.name}` : `${pod.owner.workloadKind}/${pod.owner.workloadName}`,
    node: pod.node,
    hostNetwork: pod.hostNetwork,
    ports: namedPorts(pod),
    addresses,
    v4: addresses.find((a) => a.family === 4) ?? null,
    v6: addresses.find((a) => a.family === 6) ?? null,
    labels,
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
    index: -1,
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
    index: -1,
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

/**
 * The parties and policies of a cluster.
 * @param addresses `reported`: what `status.podIPs` says counts before what podwalk allocated; `built`: what the pods of the
 *   running world have, for a comparison with its packets
 */
export function policyInputOf(model: ClusterModel, addresses: 'reported' | 'built' = 'reported'): PolicyInput {
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
  const meta = new MetaLabels()
  const pods = model.pods.map((pod, i) => {
    const serviceAccount = (pod.spec.serviceAccountName as string | undefined) ?? 'default'
    const ownNode = nodeLabels.get(pod.node) ?? NO_LABELS.node
    const labels = {
      pod: pod.labels,
      namespace: namespaces.get(pod.namespace) ?? NO_LABELS.namespace,
      serviceaccount: serviceAccounts.get(`${pod.namespace}/${serviceAccount}`) ?? NO_LABELS.serviceaccount,
      node: pod.hostNetwork ? ownNode : NO_LABELS.node,
      meta: meta.of(pod.namespace, serviceAccount),
    }
    return podParty(pod, i, labels, addresses === 'reported')
  })
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
