/**
 * The cluster as data: what the manifests, the defaults, the controllers, the scheduler and the IPAM make of it.
 *
 * Everything here is plain data (no methods beside `positionOf` of a loaded object), so that drivers, kube-proxy modes
 * and reports can read it and print it. Addresses are text here: they become words where the simulated kernel takes
 * them. Service and EndpointSlice have exactly the shape of the Kubernetes JSON, so that a kube-proxy mode can be fed
 * with recorded objects as well.
 *
 * Not modelled: IPv6 and dual-stack clusters (named in a warning), status beyond what the network reads.
 * Sources: k8s.io/api/core/v1, discovery/v1, networking/v1, apps/v1 and batch/v1 types.go.
 */
import type { Ipv4Cidr } from '../addr/cidr.ts'
import type { SourcePosition } from '../diagnostics/diagnostic.ts'
import type { CalicoAddressing } from './calico/ipam.ts'
import type { LoadBalancerModel } from './load-balancer/types.ts'

/** Labels or annotations. */
export type StringMap = Readonly<Record<string, string>>

/** `metadata` of any object, as far as podwalk reads it. */
export interface ObjectMeta {
  name: string
  namespace?: string
  uid?: string
  labels?: StringMap
  annotations?: StringMap
  [field: string]: unknown
}

/** Any Kubernetes object as JSON. */
export interface KubernetesObject {
  apiVersion: string
  kind: string
  metadata: ObjectMeta
  [field: string]: unknown
}

/** A path inside an object: `['spec', 'ports', 0, 'port']`. */
export type FieldPath = readonly (string | number)[]

/** One object of the input with its place. */
export interface LoadedObject<T extends KubernetesObject = KubernetesObject> {
  /** The object as it was written, aliases resolved. */
  readonly object: T
  /** Where the object begins. */
  readonly source: SourcePosition
  /** Where a field inside it is; for a missing field, its nearest parent. Parsed on demand, so ask only when reporting. */
  positionOf(path: FieldPath): SourcePosition
}

/** An object of the model (defaults filled in) with the place of what it came from. */
export interface Sourced<T> {
  readonly object: T
  readonly source: SourcePosition
  /** Where a field is; absent for objects that podwalk made (the `kubernetes` Service). */
  readonly positionOf?: (path: FieldPath) => SourcePosition
}

/** TCP, UDP or SCTP. */
export type Protocol = 'TCP' | 'UDP' | 'SCTP'

/** `IntOrString`. */
export type IntOrString = number | string

// ---------------------------------------------------------------- core/v1 Service

/** core/v1 ServicePort. */
export interface ServicePort {
  name?: string
  protocol: Protocol
  appProtocol?: string
  port: number
  targetPort: IntOrString
  nodePort?: number
}

/** core/v1 LoadBalancerIngress. */
export interface LoadBalancerIngress {
  ip?: string
  hostname?: string
  ipMode?: 'VIP' | 'Proxy'
  ports?: unknown[]
}

/** core/v1 ServiceSpec after defaulting and allocation. */
export interface ServiceSpec {
  type: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName'
  /** Absent for ExternalName without one; `None` is headless. */
  clusterIP?: string
  clusterIPs?: string[]
  ipFamilies?: ('IPv4' | 'IPv6')[]
  ipFamilyPolicy?: 'SingleStack' | 'PreferDualStack' | 'RequireDualStack'
  ports?: ServicePort[]
  selector?: StringMap
  externalIPs?: string[]
  externalName?: string
  externalTrafficPolicy?: 'Cluster' | 'Local'
  internalTrafficPolicy?: 'Cluster' | 'Local'
  trafficDistribution?: string
  healthCheckNodePort?: number
  publishNotReadyAddresses?: boolean
  sessionAffinity: 'None' | 'ClientIP'
  sessionAffinityConfig?: { clientIP?: { timeoutSeconds?: number } }
  allocateLoadBalancerNodePorts?: boolean
  loadBalancerIP?: string
  loadBalancerClass?: string
  loadBalancerSourceRanges?: string[]
  [field: string]: unknown
}

/** core/v1 Service. */
export interface Service extends KubernetesObject {
  apiVersion: 'v1'
  kind: 'Service'
  metadata: ObjectMeta & { namespace: string }
  spec: ServiceSpec
  status?: { loadBalancer?: { ingress?: LoadBalancerIngress[] }; [field: string]: unknown }
}

// ---------------------------------------------------------------- discovery.k8s.io/v1 EndpointSlice

/** discovery/v1 EndpointConditions. */
export interface EndpointConditions {
  ready?: boolean
  serving?: boolean
  terminating?: boolean
}

/** core/v1 ObjectReference. */
export interface ObjectReference {
  kind?: string
  namespace?: string
  name?: string
  uid?: string
}

/** discovery/v1 Endpoint. */
export interface Endpoint {
  addresses: string[]
  conditions?: EndpointConditions
  hostname?: string
  nodeName?: string
  zone?: string
  targetRef?: ObjectReference
  hints?: { forZones?: { name: string }[]; forNodes?: { name: string }[] }
}

/** discovery/v1 EndpointPort. */
export interface EndpointPort {
  name?: string
  protocol?: Protocol
  port?: number
  appProtocol?: string
}

/** discovery/v1 EndpointSlice. */
export interface EndpointSlice extends KubernetesObject {
  apiVersion: 'discovery.k8s.io/v1'
  kind: 'EndpointSlice'
  metadata: ObjectMeta & { namespace: string }
  addressType: 'IPv4' | 'IPv6' | 'FQDN'
  endpoints: Endpoint[]
  ports?: EndpointPort[]
}

// ---------------------------------------------------------------- core/v1 Pod

/** core/v1 ContainerPort after defaulting. */
export interface ContainerPort {
  name?: string
  containerPort: number
  protocol?: Protocol
  hostPort?: number
  hostIP?: string
}

/** core/v1 Toleration. */
export interface Toleration {
  key?: string
  operator?: string
  value?: string
  effect?: string
  tolerationSeconds?: number
}

/** core/v1 Taint. */
export interface Taint {
  key: string
  value?: string
  effect: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute'
}

/** core/v1 Container, as far as podwalk reads it. */
export interface Container {
  name: string
  image?: string
  ports?: ContainerPort[]
  resources?: { requests?: Record<string, string | number>; limits?: Record<string, string | number> }
  restartPolicy?: string
  [field: string]: unknown
}

/** metav1 LabelSelectorRequirement and core/v1 NodeSelectorRequirement. */
export interface SelectorRequirement {
  key: string
  operator: string
  values?: string[]
}

/** metav1 LabelSelector. */
export interface LabelSelector {
  matchLabels?: StringMap
  matchExpressions?: SelectorRequirement[]
}

/** core/v1 NodeSelectorTerm. */
export interface NodeSelectorTerm {
  matchExpressions?: SelectorRequirement[]
  matchFields?: SelectorRequirement[]
}

/** core/v1 PodAffinityTerm. */
export interface PodAffinityTerm {
  labelSelector?: LabelSelector
  namespaces?: string[]
  namespaceSelector?: LabelSelector
  topologyKey: string
  matchLabelKeys?: string[]
  mismatchLabelKeys?: string[]
}

/** core/v1 Affinity. */
export interface Affinity {
  nodeAffinity?: {
    requiredDuringSchedulingIgnoredDuringExecution?: { nodeSelectorTerms: NodeSelectorTerm[] }
    preferredDuringSchedulingIgnoredDuringExecution?: { weight: number; preference: NodeSelectorTerm }[]
  }
  podAffinity?: PodAffinity
  podAntiAffinity?: PodAffinity
}

/** core/v1 PodAffinity and PodAntiAffinity. */
export interface PodAffinity {
  requiredDuringSchedulingIgnoredDuringExecution?: PodAffinityTerm[]
  preferredDuringSchedulingIgnoredDuringExecution?: { weight: number; podAffinityTerm: PodAffinityTerm }[]
}

/** core/v1 TopologySpreadConstraint. */
export interface TopologySpreadConstraint {
  maxSkew: number
  topologyKey: string
  whenUnsatisfiable: 'DoNotSchedule' | 'ScheduleAnyway'
  labelSelector?: LabelSelector
  minDomains?: number
  matchLabelKeys?: string[]
  nodeAffinityPolicy?: string
  nodeTaintsPolicy?: string
}

/** core/v1 PodSpec, as far as podwalk reads it. */
export interface PodSpec {
  containers: Container[]
  initContainers?: Container[]
  nodeName?: string
  nodeSelector?: StringMap
  affinity?: Affinity
  tolerations?: Toleration[]
  topologySpreadConstraints?: TopologySpreadConstraint[]
  hostNetwork?: boolean
  hostname?: string
  subdomain?: string
  dnsPolicy?: string
  dnsConfig?: { nameservers?: string[]; searches?: string[]; options?: { name?: string; value?: string }[] }
  hostAliases?: { ip: string; hostnames?: string[] }[]
  restartPolicy?: string
  overhead?: Record<string, string | number>
  [field: string]: unknown
}

/** metadata and spec of the pods that a controller makes. */
export interface PodTemplate {
  metadata?: Partial<ObjectMeta>
  spec: PodSpec
}

// ---------------------------------------------------------------- the model

/** What owns a pod: its direct controller and the workload a user wrote. */
export interface PodOwner {
  /** The direct controller: ReplicaSet, StatefulSet, DaemonSet, Job. */
  readonly kind: string
  readonly name: string
  /** The object in the manifest: Deployment for a Deployment's ReplicaSet, CronJob for its Job. */
  readonly workloadKind: string
  readonly workloadName: string
}

/** A port that a pod's containers declare. */
export interface PodPort {
  readonly name?: string
  readonly port: number
  readonly protocol: Protocol
  readonly hostPort?: number
  readonly hostIP?: string
}

/** A node of the cluster. */
export interface NodeModel {
  readonly name: string
  /** 0, 1, 2 ... in the order of the input. */
  readonly index: number
  /** The node's address on the underlay. */
  readonly internalIp: string
  /** Prefix length of the underlay network. */
  readonly internalPrefixLength: number
  /** Rack of the underlay that it stands in. */
  readonly rack?: string
  /** `spec.podCIDR`. */
  readonly podCidr: string
  readonly podCidrs: readonly string[]
  readonly labels: StringMap
  readonly annotations: StringMap
  readonly taints: readonly Taint[]
  readonly zone?: string
  readonly unschedulable: boolean
  readonly ready: boolean
  readonly isControlPlane: boolean
  /** `status.allocatable`: cpu in millicores, memory and ephemeral-storage in bytes, the rest in units. */
  readonly allocatable: Readonly<Record<string, number>>
  readonly source: SourcePosition
}

/** A pod that has a node and an address. */
export interface PodModel {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  /** Node name. */
  readonly node: string
  /** `status.podIP`: the node's InternalIP for a host-network pod. */
  readonly ip: string
  /** Addresses of `status.podIPs` as the input gave them, of both families; what policies see. Empty when there are none. */
  readonly statusIps: readonly string[]
  readonly hostNetwork: boolean
  readonly labels: StringMap
  readonly annotations: StringMap
  readonly ports: readonly PodPort[]
  readonly ready: boolean
  /** `metadata.deletionTimestamp` is set. */
  readonly terminating: boolean
  readonly owner?: PodOwner
  readonly spec: PodSpec
  readonly source: SourcePosition
}

/** A pod without a node or without an address, and why. */
export interface PendingPod {
  readonly namespace: string
  readonly name: string
  readonly labels: StringMap
  readonly owner?: PodOwner
  /** Set when it has a node but no address. */
  readonly node?: string
  /** The scheduler's or the IPAM plugin's words. */
  readonly message: string
  readonly source: SourcePosition
}

/** An EndpointSlice with the Service that it belongs to. */
export interface EndpointSliceModel extends Sourced<EndpointSlice> {
  /** `namespace/name` of the Service, when there is one. */
  readonly service?: string
}

/** A name and free options: of the CNI driver or of the kube-proxy mode. */
export interface CniConfig {
  /** `kubenet`, `flannel`, `calico`, `cilium` ... */
  readonly name: string
  readonly options: Readonly<Record<string, unknown>>
}

/** How kube-proxy runs. */
export interface ProxyConfig {
  /** `iptables`, `nftables`, `ipvs` or `none`. */
  readonly mode: string
  /** Fields of KubeProxyConfiguration as they are written there, for example `nodePortAddresses`. */
  readonly options: Readonly<Record<string, unknown>>
}

/** A rack: a subnet of the node network behind a router of its own, which has the first address. */
export interface RackModel {
  readonly name: string
  readonly cidr: Ipv4Cidr
  /** The router speaks BGP with this AS. */
  readonly asn?: number
  readonly implementation: 'bird' | 'frr' | 'gobgp'
}

/** The network under the nodes; without racks one switch. */
export interface UnderlayModel {
  readonly racks: readonly RackModel[]
  /** The router between the racks speaks BGP with this AS. */
  readonly spineAsn?: number
}

/** Something that happens after the cluster has converged. */
export interface ClusterEvent {
  /** Seconds. */
  readonly atS: number
  readonly action:
    | 'link-down'
    | 'link-up'
    | 'node-down'
    | 'node-up'
    | 'bgp-kill'
    | 'bgp-stop'
    | 'bgp-start'
    | 'bgp-restart'
  /** Node name. */
  readonly node: string
}

/** Cluster-wide settings. */
export interface ClusterConfig {
  readonly name: string
  readonly clusterCidr: string
  /** Prefix length of a node's pod CIDR. */
  readonly nodeCidrMaskSize: number
  readonly serviceCidr: string
  /** The underlay network that the nodes' InternalIPs come from. */
  readonly nodeCidr: string
  readonly underlay: UnderlayModel
  /** MTU of the nodes' links in bytes. */
  readonly mtu: number
  readonly nodePortRange: readonly [number, number]
  readonly cni: CniConfig
  readonly proxy: ProxyConfig
  readonly dnsDomain: string
  /** Names outside of the cluster, as the user says the upstream DNS answers them (coredns/upstream.ts). */
  readonly upstreamDns?: StringMap
  readonly seed: number
  /** What happens after convergence, in the order of the file. */
  readonly events?: readonly ClusterEvent[]
}

/** One thing that was concluded from the manifests, with the line it was read from. */
export interface InferredFact {
  /** What was set: `cni`, `clusterCidr`, `proxy.mode`, `nodes` ... */
  readonly subject: string
  /** A sentence for stderr: `inferred cni flannel (vxlan) from kube-flannel.yml:123`. */
  readonly text: string
  readonly source: SourcePosition
}

/** The whole cluster. */
export interface ClusterModel {
  readonly config: ClusterConfig
  readonly namespaces: readonly { readonly name: string; readonly labels: StringMap; readonly source: SourcePosition }[]
  /** In node order. */
  readonly nodes: readonly NodeModel[]
  /** In the order in which they were created. */
  readonly pods: readonly PodModel[]
  readonly pendingPods: readonly PendingPod[]
  /** Sorted by namespace and name; defaulted, ClusterIPs and NodePorts allocated. */
  readonly services: readonly Sourced<Service>[]
  /** Sorted by namespace and name. */
  readonly endpointSlices: readonly EndpointSliceModel[]
  /** As written; not evaluated here. */
  readonly networkPolicies: readonly Sourced<KubernetesObject>[]
  /** Policies of every kind, network sets and tiers, valid, as written (src/policy evaluates them). */
  readonly policyObjects: readonly Sourced<KubernetesObject>[]
  /** Load balancer addresses and who answers for them; absent in a model that was made by hand. */
  readonly loadBalancer?: LoadBalancerModel
  /** Objects that podwalk loads but does not act on (ConfigMap, CRDs and their instances ...), for drivers to read. */
  readonly otherObjects: readonly LoadedObject[]
  /** Pools, blocks and tunnel addresses of calico-ipam, when Calico is the CNI. */
  readonly calico?: CalicoAddressing
}

/** Settings that the command line puts over the manifests. */
export interface ClusterOverrides {
  readonly cni?: string
  readonly proxyMode?: string
  /** Number of worker nodes when the input names none. */
  readonly nodes?: number
  readonly seed?: number
  /** `--set path=value`: paths into the Cluster object's `spec`. */
  readonly set?: readonly { readonly path: string; readonly value: unknown }[]
}
