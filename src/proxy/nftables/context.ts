/**
 * What every rule of one sync of nftables mode depends on, and the plan of one service port with its names.
 *
 * Source: pkg/proxy/nftables/proxier.go (NewProxier, syncProxyRules).
 */
import { familyOf, type Prefix, parseIp, parsePrefix } from '../addresses.ts'
import { type LocalDetector, localDetector } from '../detector.ts'
import type { ServiceEndpoint } from '../endpoint.ts'
import { type NodePortAddresses, nodePortAddresses, PRIMARY } from '../node-port-addresses.ts'
import type { ServicePort } from '../service-port.ts'
import { type TrafficPlan, trafficPlan } from '../traffic.ts'
import type { IpFamily, ProxyInput } from '../types.ts'
import { type EndpointNames, endpointNames, type ServicePortChains, servicePortChains } from './names.ts'

/** The settings of one sync of one family. */
export interface NftContext {
  readonly input: ProxyInput
  readonly detector: LocalDetector | null
  readonly nodePorts: NodePortAddresses
  /** The node's primary address of the family. */
  readonly nodeIp: Prefix | null
  /** Service CIDRs of the family, comma separated; empty when none is known. */
  readonly serviceCidrs: string
}

/** One endpoint with its names. */
export interface NamedEndpoint extends EndpointNames {
  readonly endpoint: ServiceEndpoint
}

/** The plan of one service port with the chains it is laid out in. */
export interface NftPlan {
  readonly traffic: TrafficPlan
  readonly chains: ServicePortChains
  readonly cluster: readonly NamedEndpoint[]
  readonly local: readonly NamedEndpoint[]
  readonly reachable: readonly NamedEndpoint[]
  /** What the ClusterIP leads to. */
  readonly internalChain: string
  /** What external traffic leads to in the end. */
  readonly externalPolicyChain: string
  readonly usesFirewall: boolean
}

/** The context of one sync. */
export function nftContext(input: ProxyInput, family: IpFamily): NftContext {
  const { config, node } = input
  const ips = node.ips.map(parseIp).filter((ip) => ip !== null)
  const cidrs = (config.serviceCidr ?? '').split(',').map((text) => text.trim())
  const ofFamily = cidrs.filter((text) => {
    const prefix = parsePrefix(text)
    return prefix !== null && familyOf(prefix) === family
  })
  return {
    input,
    detector: localDetector(config, node, family),
    nodePorts: nodePortAddresses(config, node, family, [PRIMARY]),
    nodeIp: ips.find((ip) => familyOf(ip) === family) ?? null,
    serviceCidrs: ofFamily.join(','),
  }
}

/** The plan of one service port. */
export function nftPlan(context: NftContext, port: ServicePort, all: readonly ServiceEndpoint[]): NftPlan {
  const traffic = trafficPlan(context.input, port, all)
  const chains = servicePortChains(port)
  const withNames = (endpoints: readonly ServiceEndpoint[]): NamedEndpoint[] =>
    endpoints.map((endpoint) => namedEndpoint(port, endpoint))
  return {
    traffic,
    chains,
    cluster: withNames(traffic.cluster),
    local: withNames(traffic.local),
    reachable: withNames(traffic.reachable),
    internalChain: port.internalPolicyLocal ? chains.local : chains.cluster,
    externalPolicyChain: port.externalPolicyLocal ? chains.local : chains.cluster,
    usesFirewall: port.loadBalancerVips.length > 0 && port.sourceRanges.length > 0,
  }
}

/** An endpoint belongs to one service port, and its names cost a hash. */
const endpointsSeen = new WeakMap<ServiceEndpoint, NamedEndpoint>()

function namedEndpoint(port: ServicePort, endpoint: ServiceEndpoint): NamedEndpoint {
  const seen = endpointsSeen.get(endpoint)
  if (seen !== undefined) return seen
  const named = { endpoint, ...endpointNames(port, endpoint) }
  endpointsSeen.set(endpoint, named)
  return named
}
