/**
 * From loaded objects to the cluster: the order of the control plane.
 *
 * Validation, inference of settings, nodes with addresses and pod CIDRs, pods of the controllers, the scheduler, pod
 * addresses (host-local per node, or Calico's blocks, in the order in which the pods were made), Services, EndpointSlices.
 * Nothing stops at the first problem: what is broken is reported and left out, the rest is built.
 *
 * Not modelled: IPv6, dual stack; IPAM other than host-local and calico-ipam.
 * Sources: see the files of each step.
 */
import { formatCidr, nthIpv4, parseIpv4Cidr } from '../addr/cidr.ts'
import { formatIpv4, parseIpv4 } from '../addr/ipv4.ts'
import { parseIpv6 } from '../addr/ipv6.ts'
import type { Diagnostic, SourcePosition } from '../diagnostics/diagnostic.ts'
import { Diagnostics, formatPosition, NO_POSITION } from '../diagnostics/diagnostic.ts'
import { CalicoAddresses } from './calico/addresses.ts'
import type { ResolvedSpec } from './cluster-spec.ts'
import { resolveSpec } from './cluster-spec.ts'
import type { PodDraft } from './controllers.ts'
import { makePods } from './controllers.ts'
import { buildEndpointSlices } from './endpoint-slices.ts'
import { HostLocalRange, type IpamResult } from './host-local.ts'
import type { Inferred } from './infer.ts'
import { inferSettings } from './infer.ts'
import { ROUTING_KINDS } from './kinds.ts'
import type { Loaded } from './load.ts'
import { buildLoadBalancers } from './load-balancer/build.ts'
import { nearest } from './names.ts'
import { buildNodes, checkNetworks, draftNodes, settleNetworks } from './nodes.ts'
import { POLICY_KINDS } from './policy-kinds.ts'
import { Scheduler } from './scheduler/scheduler.ts'
import { buildServices } from './services.ts'
import type {
  ClusterConfig,
  ClusterModel,
  ClusterOverrides,
  InferredFact,
  KubernetesObject,
  LoadedObject,
  NodeModel,
  PendingPod,
  PodModel,
  PodPort,
  PodSpec,
  Sourced,
  StringMap,
} from './types.ts'
import type { ValidObjects } from './validate.ts'
import { validateObjects } from './validate.ts'

/** The cluster, everything that was found on the way, and what was inferred. */
export interface BuiltCluster {
  readonly model: ClusterModel
  /** Sorted by place; those of loading included. */
  readonly diagnostics: readonly Diagnostic[]
  /** For stderr: one line each. */
  readonly inferred: readonly InferredFact[]
}

/** Builds the cluster from loaded objects; `overrides` are the command line's. */
export function buildClusterModel(loaded: Loaded, overrides: ClusterOverrides = {}): BuiltCluster {
  const diagnostics = new Diagnostics()
  diagnostics.addAll(loaded.diagnostics)
  const valid = validateObjects(loaded.objects, diagnostics)
  const inferred = inferSettings(valid, diagnostics)
  const spec = resolveSpec(valid.of('podwalk.dev/v1alpha1/Cluster'), inferred, overrides, diagnostics)
  const drafts = draftNodes(spec, valid.of('v1/Node'), inferred)
  settleNetworks(spec, drafts, inferred)
  settleServiceNetwork(spec, valid, inferred)
  checkNetworks(spec, diagnostics)
  const nodes = buildNodes(drafts, spec, diagnostics)
  const namespaces = buildNamespaces(loaded.objects, valid)
  const podDrafts = makePods(loaded.objects, valid, nodes)
  const placed = placePods(podDrafts, nodes, namespaces, diagnostics)
  const calico = spec.cni.name === 'calico' ? calicoAddresses(spec, valid, namespaces, nodes, diagnostics) : null
  const addressed = addressPods(placed, calico ?? new HostLocalAddresses(nodes, diagnostics), diagnostics)
  const services = buildServices(valid.of('v1/Service'), spec, diagnostics)
  const slices = valid.of('discovery.k8s.io/v1/EndpointSlice')
  const endpoints = valid.of('v1/Endpoints')
  const endpointSlices = buildEndpointSlices({ services, pods: addressed.pods, nodes, slices, endpoints }, diagnostics)
  const otherPolicies = [...POLICY_KINDS.keys()].flatMap((kind) => valid.of(kind))
  const bgpAdvertisements = valid.of('metallb.io/v1beta1/BGPAdvertisement')
  const loadBalancer = buildLoadBalancers(
    services,
    {
      pools: valid.of('metallb.io/v1beta1/IPAddressPool'),
      l2: valid.of('metallb.io/v1beta1/L2Advertisement'),
      bgp: bgpAdvertisements,
      nodes,
      namespaces,
    },
    spec.loadBalancer,
    inferred.facts,
    diagnostics,
  )
  const model: ClusterModel = {
    config: configOf(spec),
    namespaces,
    nodes,
    pods: addressed.pods,
    pendingPods: [...placed.pending, ...addressed.pending],
    services,
    endpointSlices,
    loadBalancer,
    networkPolicies: valid.of('networking.k8s.io/v1/NetworkPolicy').map(sourced),
    policyObjects: [...valid.of('networking.k8s.io/v1/NetworkPolicy'), ...otherPolicies].map(sourced),
    otherObjects: [
      ...valid.of('v1/ConfigMap'),
      ...ROUTING_KINDS.flatMap((kind) => valid.of(kind)),
      ...otherPolicies,
      ...bgpAdvertisements,
      ...valid.of('metallb.io/v1beta2/BGPPeer'),
      ...valid.others,
    ],
    ...(calico !== null && { calico: calico.addressing() }),
  }
  return { model, diagnostics: diagnostics.sorted(), inferred: inferred.facts }
}

function sourced(loaded: LoadedObject): Sourced<KubernetesObject> {
  return { object: loaded.object, source: loaded.source, positionOf: (path) => loaded.positionOf(path) }
}

function configOf(spec: ResolvedSpec): ClusterConfig {
  return {
    name: spec.name,
    clusterCidr: formatCidr(spec.clusterCidr),
    nodeCidrMaskSize: spec.nodeCidrMaskSize,
    serviceCidr: formatCidr(spec.serviceCidr),
    nodeCidr: formatCidr(spec.nodeCidr),
    underlay: spec.underlay,
    mtu: spec.mtu,
    nodePortRange: spec.nodePortRange,
    cni: spec.cni,
    proxy: spec.proxy,
    dnsDomain: spec.dnsDomain,
    upstreamDns: spec.upstreamDns,
    seed: spec.seed,
    ...(spec.events.length > 0 && { events: spec.events }),
  }
}

/** A dump of a live cluster holds `default/kubernetes`, whose address is the first of the service network. */
function settleServiceNetwork(spec: ResolvedSpec, valid: ValidObjects, inferred: Inferred): void {
  if (spec.isGiven('serviceCIDR') || inferred.serviceCidr !== undefined) return
  const kubernetes = valid
    .of('v1/Service')
    .find(({ object: { metadata } }) => metadata.namespace === 'default' && metadata.name === 'kubernetes')
  const clusterIp = parseIpv4(String((kubernetes?.object.spec as { clusterIP?: string } | undefined)?.clusterIP))
  if (kubernetes === undefined || clusterIp === null || clusterIp === nthIpv4(spec.serviceCidr, 1)) return
  const cidr = parseIpv4Cidr(`${formatIpv4((clusterIp - 1) | 0)}/16`)!
  if ((cidr.ip & 0xffff) !== 0) return
  spec.serviceCidr = cidr
  const source = kubernetes.source
  const text = `inferred service CIDR ${formatCidr(cidr)} from ${source.file}:${source.line}`
  inferred.facts.push({ subject: 'serviceCidr', text, source })
}

/** Declared namespaces, and those that only objects name; each has the label that the API server sets. */
function buildNamespaces(
  objects: readonly LoadedObject[],
  valid: ValidObjects,
): { name: string; labels: StringMap; source: SourcePosition }[] {
  const namespaces = new Map<string, { name: string; labels: StringMap; source: SourcePosition }>()
  const add = (name: string, labels: StringMap, source: SourcePosition): void => {
    namespaces.set(name, { name, labels: { 'kubernetes.io/metadata.name': name, ...labels }, source })
  }
  for (const { object, source } of valid.of('v1/Namespace'))
    add(object.metadata.name, object.metadata.labels ?? {}, source)
  for (const name of ['default', 'kube-system']) if (!namespaces.has(name)) add(name, {}, NO_POSITION)
  for (const { object, source } of objects) {
    const name = object.metadata.namespace
    if (typeof name === 'string' && name !== '' && !namespaces.has(name)) add(name, {}, source)
  }
  return [...namespaces.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

interface PlacedPod {
  readonly pod: PodDraft
  readonly node: NodeModel
}

function placePods(
  pods: readonly PodDraft[],
  nodes: readonly NodeModel[],
  namespaces: readonly { name: string; labels: StringMap }[],
  diagnostics: Diagnostics,
): { placed: PlacedPod[]; pending: PendingPod[] } {
  const byName = new Map(nodes.map((node) => [node.name, node]))
  const scheduler = new Scheduler(nodes, new Map(namespaces.map((n) => [n.name, n.labels])))
  scheduler.prepare(pods)
  const placed: PlacedPod[] = []
  const pending: PendingPod[] = []
  const reported = new Set<string>()
  for (const pod of pods) {
    const { nodeName } = pod.spec
    if (nodeName) {
      const node = byName.get(nodeName)
      if (node !== undefined) {
        scheduler.bind(pod, node)
        placed.push({ pod, node })
        continue
      }
      const meant =
        nearest(nodeName, byName.keys(), 1)[0] ??
        nodes
          .map((n) => n.name)
          .slice(0, 5)
          .join(', ')
      const message = `expected a node of the cluster, found "${nodeName}"`
      diagnostics.error('unknown-node', pod.positionOf(['spec', 'nodeName']), message, {
        path: 'spec.nodeName',
        hint: `nodes of the cluster: ${meant}`,
      })
      pending.push(pendingPod(pod, message))
      continue
    }
    const placement = scheduler.schedule(pod)
    if (placement.node !== undefined) {
      placed.push({ pod, node: placement.node })
      continue
    }
    // A DaemonSet runs where it can: a node that it does not tolerate is no fault of the manifest.
    if (
      pod.pinnedNode !== undefined &&
      !placement.message.includes('Insufficient') &&
      !placement.message.includes('Too many')
    )
      continue
    pending.push(pendingPod(pod, placement.message))
    const who = pod.owner
      ? `${pod.owner.workloadKind} ${pod.namespace}/${pod.owner.workloadName}`
      : `pod ${pod.namespace}/${pod.name}`
    const key = `${who} ${placement.message}`
    if (reported.has(key)) continue
    reported.add(key)
    diagnostics.error('unschedulable', pod.positionOf(['spec']), `${who}: cannot be scheduled: ${placement.message}`)
  }
  return { placed, pending }
}

function pendingPod(pod: PodDraft, message: string, node?: NodeModel): PendingPod {
  return {
    namespace: pod.namespace,
    name: pod.name,
    labels: pod.labels,
    ...(pod.owner !== undefined && { owner: pod.owner }),
    ...(node !== undefined && { node: node.name }),
    message,
    source: pod.source,
  }
}

/** What gives pods their addresses. */
interface Ipam {
  reserve(node: NodeModel, ip: number, id: string): IpamResult
  allocate(node: NodeModel, pod: PodDraft): IpamResult
  /** What to do about a node that has no more. */
  readonly hint: string
  /** Where addresses of a node's pods come from. */
  home(node: NodeModel): string
}

/** host-local: a range per node. */
class HostLocalAddresses implements Ipam {
  readonly hint = 'a smaller nodeCIDRMaskSize gives each node more addresses'
  private readonly ranges = new Map<string, HostLocalRange>()

  constructor(nodes: readonly NodeModel[], diagnostics: Diagnostics) {
    for (const node of nodes) {
      const cidr = parseIpv4Cidr(node.podCidr)!
      const invalid = HostLocalRange.invalidRange(cidr)
      if (invalid !== null) diagnostics.error('bad-cidr', node.source, `node ${node.name}: ${invalid}`)
      this.ranges.set(node.name, new HostLocalRange(cidr))
    }
  }

  reserve(node: NodeModel, ip: number, id: string): IpamResult {
    return this.ranges.get(node.name)!.reserve(ip, id)
  }

  allocate(node: NodeModel, pod: PodDraft): IpamResult {
    return this.ranges.get(node.name)!.allocate(`${pod.namespace}/${pod.name}`)
  }

  home(node: NodeModel): string {
    return `node ${node.name}'s podCIDR ${node.podCidr}`
  }
}

/** calico-ipam: blocks of the pools. */
function calicoAddresses(
  spec: ResolvedSpec,
  valid: ValidObjects,
  namespaces: readonly { name: string; labels: StringMap }[],
  nodes: readonly NodeModel[],
  diagnostics: Diagnostics,
): Ipam & CalicoAddresses {
  const annotations = new Map(
    valid.of('v1/Namespace').map(({ object: { metadata } }) => [metadata.name, metadata.annotations ?? {}]),
  )
  const known = new Map(
    namespaces.map((n) => [n.name, { labels: n.labels, annotations: annotations.get(n.name) ?? {} }]),
  )
  return new CalicoAddresses(nodes, known, valid.others, spec.cni.options, spec.clusterCidr, diagnostics)
}

function addressPods(
  { placed }: { placed: readonly PlacedPod[] },
  ipam: Ipam,
  diagnostics: Diagnostics,
): { pods: PodModel[]; pending: PendingPod[] } {
  const given = reserveGiven(placed, ipam, diagnostics)
  const pods: PodModel[] = []
  const pending: PendingPod[] = []
  const exhausted = new Set<string>()
  const portsOfSpec = new Map<PodSpec, readonly PodPort[]>()
  for (const { pod, node } of placed) {
    let ip = given.get(pod)
    if (pod.spec.hostNetwork === true) ip = node.internalIp
    else if (ip === undefined) {
      const result = ipam.allocate(node, pod)
      if (result.error !== undefined) {
        pending.push(pendingPod(pod, result.error, node))
        if (!exhausted.has(node.name)) {
          const who = `pod ${pod.namespace}/${pod.name} on node ${node.name}`
          diagnostics.error('exhausted-cidr', pod.source, `${who}: ${result.error}`, { hint: ipam.hint })
        }
        exhausted.add(node.name)
        continue
      }
      ip = formatIpv4(result.ip)
    }
    let ports = portsOfSpec.get(pod.spec)
    if (ports === undefined) {
      ports = portsOf(pod.spec)
      portsOfSpec.set(pod.spec, ports)
    }
    pods.push({
      namespace: pod.namespace,
      name: pod.name,
      uid: pod.uid,
      node: node.name,
      ip,
      statusIps: pod.statusIps,
      hostNetwork: pod.spec.hostNetwork === true,
      labels: pod.labels,
      annotations: pod.annotations,
      ports,
      ready: pod.ready && node.ready,
      terminating: pod.terminating,
      ...(pod.owner !== undefined && { owner: pod.owner }),
      spec: pod.spec,
      source: pod.source,
    })
  }
  return { pods, pending }
}

/** Reserves the addresses that pods already have, so that the new ones get others. */
function reserveGiven(placed: readonly PlacedPod[], ipam: Ipam, diagnostics: Diagnostics): Map<PodDraft, string> {
  const given = new Map<PodDraft, string>()
  const owners = new Map<number, PodDraft>()
  for (const { pod, node } of placed) {
    if (pod.givenIp === undefined || pod.givenIp === '' || pod.spec.hostNetwork === true) continue
    const at = (): SourcePosition => pod.positionOf(['status', 'podIP'])
    const path = { path: 'status.podIP' }
    const ip = parseIpv4(pod.givenIp)
    if (ip === null && parseIpv6(pod.givenIp) !== null) continue
    if (ip === null) {
      diagnostics.error('bad-address', at(), `expected an IPv4 address, found "${pod.givenIp}"`, path)
      continue
    }
    const owner = owners.get(ip)
    if (owner !== undefined) {
      const message = `expected an address of its own, found ${pod.givenIp} of pod ${owner.namespace}/${owner.name}`
      diagnostics.error('duplicate-address', at(), message, {
        ...path,
        hint: `the other is at ${formatPosition(owner.source)}`,
      })
      continue
    }
    const result = ipam.reserve(node, ip, `${pod.namespace}/${pod.name}`)
    if (result.error !== undefined) {
      const message = `${pod.givenIp} is not an address of ${ipam.home(node)}: another is allocated`
      diagnostics.warning('pod-ip-outside', at(), message, path)
      continue
    }
    owners.set(ip, pod)
    given.set(pod, pod.givenIp)
  }
  return given
}

function portsOf(spec: PodSpec): PodPort[] {
  const sidecars = (spec.initContainers ?? []).filter((c) => c.restartPolicy === 'Always')
  return [...spec.containers, ...sidecars].flatMap((container) =>
    (container.ports ?? []).map((port) => ({
      ...(port.name && { name: port.name }),
      port: port.containerPort,
      protocol: port.protocol ?? 'TCP',
      ...(port.hostPort && { hostPort: port.hostPort }),
      ...(port.hostIP && { hostIP: port.hostIP }),
    })),
  )
}
