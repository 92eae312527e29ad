/**
 * The plan of one service port on one node: its endpoints by use, and which kinds of traffic have somewhere to go.
 *
 * iptables and nftables mode lay the same plan out as chains. Traffic to the ClusterIP is internal; NodePort,
 * load-balancer and external IPs are external. Without any endpoint both are refused; when only this node's are missing
 * and the policy is Local, that kind of traffic is dropped.
 *
 * Source: pkg/proxy/iptables/proxier.go and pkg/proxy/nftables/proxier.go (syncProxyRules, before rules are written).
 */
import type { ServiceEndpoint } from './endpoint.ts'
import { isExternallyAccessible, type ServicePort, usesClusterEndpoints, usesLocalEndpoints } from './service-port.ts'
import { categorizeEndpoints } from './topology.ts'
import type { ProxyConfig, ProxyInput } from './types.ts'

const DEFAULT_MASQUERADE_BIT = 14

/** Where the traffic of one service port can go. */
export interface TrafficPlan {
  readonly port: ServicePort
  readonly cluster: readonly ServiceEndpoint[]
  readonly local: readonly ServiceEndpoint[]
  readonly reachable: readonly ServiceEndpoint[]
  /** Some node has a usable endpoint. */
  readonly hasAny: boolean
  readonly hasInternal: boolean
  readonly hasExternal: boolean
  /** The chain over all endpoints is needed. */
  readonly usesCluster: boolean
  /** The chain over this node's endpoints is needed. */
  readonly usesLocal: boolean
  /** The chain for external destinations is needed: also without external endpoints, for the short-circuits. */
  readonly usesExternal: boolean
}

/** The plan of one service port. */
export function trafficPlan(
  { node, config }: ProxyInput,
  port: ServicePort,
  all: readonly ServiceEndpoint[],
): TrafficPlan {
  const { cluster, local, reachable, hasAny } = categorizeEndpoints(all, port, node, config)
  const hasLocal = local.length > 0
  return {
    port,
    cluster,
    local,
    reachable,
    hasAny,
    hasInternal: hasAny && (!port.internalPolicyLocal || hasLocal),
    hasExternal: hasAny && (!port.externalPolicyLocal || hasLocal),
    usesCluster: usesClusterEndpoints(port) && cluster.length > 0,
    usesLocal: usesLocalEndpoints(port) && hasLocal,
    usesExternal: hasAny && isExternallyAccessible(port),
  }
}

/** The masquerade mark as Go's `%#08x` prints it. */
export function masqueradeMark(config: ProxyConfig): string {
  return `0x${(2 ** (config.masqueradeBit ?? DEFAULT_MASQUERADE_BIT)).toString(16).padStart(8, '0')}`
}
