/**
 * Which endpoints a service port uses on this node.
 *
 * Ready endpoints, filtered by topology hints, or, when none is ready, those that terminate and still serve. Local
 * policies take this node's endpoints by the same rule and without hints.
 *
 * Modelled as of the newest kube-proxy read: hints alone decide, spec.trafficDistribution is not looked at.
 * Not modelled: kube-proxy before 1.31, which needs the topology-mode annotation.
 *
 * Source: pkg/proxy/topology.go (CategorizeEndpoints, topologyModeFromHints).
 */
import { isLocalEndpoint, type ServiceEndpoint } from './endpoint.ts'
import { compareText, type ServicePort, usesClusterEndpoints, usesLocalEndpoints } from './service-port.ts'
import type { ProxyConfig, ProxyNode } from './types.ts'

const LABEL_ZONE = 'topology.kubernetes.io/zone'

/** The endpoints of one service port, by use. */
export interface CategorizedEndpoints {
  /** For traffic with the Cluster policy. */
  readonly cluster: readonly ServiceEndpoint[]
  /** For traffic with the Local policy. */
  readonly local: readonly ServiceEndpoint[]
  /** The union of both: the endpoints this node can send to. */
  readonly reachable: readonly ServiceEndpoint[]
  /** True when any node has a usable endpoint. */
  readonly hasAny: boolean
}

/** Sorts out the endpoints of `port` as kube-proxy on `node` does. */
export function categorizeEndpoints(
  all: readonly ServiceEndpoint[],
  port: ServicePort,
  node: ProxyNode,
  config: ProxyConfig,
): CategorizedEndpoints {
  const usesCluster = usesClusterEndpoints(port)
  const usesLocal = usesLocalEndpoints(port)
  const cluster = usesCluster ? clusterEndpoints(all, node, config) : []
  if (!usesLocal) return { cluster, local: [], reachable: cluster, hasAny: cluster.length > 0 }
  const usable = all.filter((endpoint) => endpoint.isReady || isServingTerminating(endpoint))
  const onNode = usable.filter((endpoint) => isLocalEndpoint(endpoint, node.name))
  const localReady = onNode.filter((endpoint) => endpoint.isReady)
  const local = localReady.length > 0 ? localReady : onNode
  const hasAny = cluster.length > 0 || usable.length > 0
  return { cluster, local, reachable: usesCluster ? union(cluster, local) : local, hasAny }
}

function clusterEndpoints(all: readonly ServiceEndpoint[], node: ProxyNode, config: ProxyConfig): ServiceEndpoint[] {
  const ready = all.filter((endpoint) => endpoint.isReady)
  if (ready.length === 0) return all.filter(isServingTerminating)
  const wanted = topologyFilter(ready, node, config)
  return ready.filter(wanted)
}

/** The hints count only when every ready endpoint has some and one is for us: otherwise a node could be left bare. */
function topologyFilter(
  ready: readonly ServiceEndpoint[],
  node: ProxyNode,
  config: ProxyConfig,
): (endpoint: ServiceEndpoint) => boolean {
  const zone = node.zone ?? node.labels?.[LABEL_ZONE] ?? ''
  const isForNode = (endpoint: ServiceEndpoint) => endpoint.nodeHints.includes(node.name)
  const isForZone = (endpoint: ServiceEndpoint) => zone !== '' && endpoint.zoneHints.includes(zone)
  if (config.preferSameTrafficDistribution ?? true) {
    if (ready.every((endpoint) => endpoint.nodeHints.length > 0) && ready.some(isForNode)) return isForNode
  }
  if (ready.every((endpoint) => endpoint.zoneHints.length > 0) && ready.some(isForZone)) return isForZone
  return () => true
}

function isServingTerminating(endpoint: ServiceEndpoint): boolean {
  return endpoint.isServing && endpoint.isTerminating
}

function union(a: readonly ServiceEndpoint[], b: readonly ServiceEndpoint[]): ServiceEndpoint[] {
  const byTarget = new Map([...a, ...b].map((endpoint) => [endpoint.target, endpoint]))
  return [...byTarget.values()].sort((x, y) => compareText(x.target, y.target))
}
