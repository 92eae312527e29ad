/**
 * What every rule of one sync depends on, and the plan of one service port: which chains it has and where they lead.
 *
 * Source: pkg/proxy/iptables/proxier.go (syncProxyRules, the part before rules are written).
 */
import { familyOf, type Prefix, parseIp } from '../addresses.ts'
import { type LocalDetector, localDetector } from '../detector.ts'
import { type EndpointMap, endpointKey, type ServiceEndpoint } from '../endpoint.ts'
import { type NodePortAddresses, nodePortAddresses } from '../node-port-addresses.ts'
import type { ServicePort } from '../service-port.ts'
import { masqueradeMark, trafficPlan } from '../traffic.ts'
import type { IpFamily, ProxyInput } from '../types.ts'
import { endpointChain, type ServiceChains, serviceChains } from './names.ts'
import { type TableBuffer, tableBuffer } from './restore-buffer.ts'

/** nfacct counter of packets dropped as INVALID. */
export const NFACCT_INVALID_DROPPED = 'ct_state_invalid_dropped_pkts'
/** nfacct counter of packets to NodePorts on 127.0.0.0/8. */
export const NFACCT_LOCALHOST_NODE_PORTS = 'localhost_nps_accepted_pkts'

/** Above this many endpoints kube-proxy drops comments: "large cluster mode". */
const LARGE_CLUSTER_ENDPOINTS = 1000

/** The settings and buffers of one sync of one family. */
export interface SyncContext {
  readonly family: IpFamily
  readonly input: ProxyInput
  /** The masquerade mark as Go's `%#08x`. */
  readonly mark: string
  readonly detector: LocalDetector | null
  readonly nodePorts: NodePortAddresses
  /** The node's primary address of the family. */
  readonly nodeIp: Prefix | null
  readonly counters: ReadonlySet<string>
  readonly isLargeCluster: boolean
  readonly filter: TableBuffer
  readonly nat: TableBuffer
}

/** One endpoint with its chain. */
export interface PlannedEndpoint {
  readonly endpoint: ServiceEndpoint
  readonly chain: string
}

/** Where the traffic of one service port goes. */
export interface ServicePlan {
  readonly port: ServicePort
  readonly chains: ServiceChains
  readonly cluster: readonly PlannedEndpoint[]
  readonly local: readonly PlannedEndpoint[]
  readonly reachable: readonly PlannedEndpoint[]
  readonly hasAny: boolean
  readonly hasInternal: boolean
  readonly hasExternal: boolean
  /** SVC or SVL: what the ClusterIP leads to. */
  readonly internalChain: string
  /** SVC or SVL: what EXT leads to in the end. */
  readonly externalPolicyChain: string
  readonly usesSvc: boolean
  readonly usesSvl: boolean
  readonly usesExt: boolean
  readonly usesFw: boolean
}

/** The context of one sync. */
export function syncContext(
  input: ProxyInput,
  family: IpFamily,
  ports: readonly ServicePort[],
  endpoints: EndpointMap,
): SyncContext {
  const { config, node } = input
  const ips = node.ips.map(parseIp).filter((ip) => ip !== null)
  let total = 0
  for (const port of ports) total += endpoints.get(endpointKey(port))?.length ?? 0
  return {
    family,
    input,
    mark: masqueradeMark(config),
    detector: localDetector(config, node, family),
    nodePorts: nodePortAddresses(config, node, family),
    nodeIp: ips.find((ip) => familyOf(ip) === family) ?? null,
    counters: new Set(config.nfacctCounters ?? []),
    isLargeCluster: total > LARGE_CLUSTER_ENDPOINTS,
    filter: tableBuffer('filter'),
    nat: tableBuffer('nat'),
  }
}

/** The plan of one service port. */
export function planService(context: SyncContext, port: ServicePort, all: readonly ServiceEndpoint[]): ServicePlan {
  const traffic = trafficPlan(context.input, port, all)
  const { hasAny } = traffic
  const chains = serviceChains(port.name, port.protocol)
  const planned = (endpoints: readonly ServiceEndpoint[]): PlannedEndpoint[] =>
    endpoints.map((endpoint) => plannedEndpoint(port, endpoint))
  return {
    port,
    chains,
    cluster: planned(traffic.cluster),
    local: planned(traffic.local),
    reachable: planned(traffic.reachable),
    hasAny,
    hasInternal: traffic.hasInternal,
    hasExternal: traffic.hasExternal,
    internalChain: port.internalPolicyLocal ? chains.svl : chains.svc,
    externalPolicyChain: port.externalPolicyLocal ? chains.svl : chains.svc,
    usesSvc: traffic.usesCluster,
    usesSvl: traffic.usesLocal,
    usesExt: traffic.usesExternal,
    usesFw: hasAny && port.loadBalancerVips.length > 0 && port.sourceRanges.length > 0,
  }
}

/** An endpoint belongs to one service port, and its chain's name costs a hash. */
const endpointsSeen = new WeakMap<ServiceEndpoint, PlannedEndpoint>()

function plannedEndpoint(port: ServicePort, endpoint: ServiceEndpoint): PlannedEndpoint {
  const seen = endpointsSeen.get(endpoint)
  if (seen !== undefined) return seen
  const planned = { endpoint, chain: endpointChain(port.name, port.protocol, endpoint.target) }
  endpointsSeen.set(endpoint, planned)
  return planned
}

/** `-m comment --comment text`, quoted when iptables-restore needs it. */
export function comment(text: string): string {
  return `-m comment --comment ${text.includes(' ') ? `"${text}"` : text}`
}
