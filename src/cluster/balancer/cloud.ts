/**
 * A cloud's load balancer in front of the nodes.
 *
 * Passthrough (ipMode VIP): the fabric has a route to the address through every healthy node and chooses by the hash of
 * the 5-tuple; the node gets the packet with its addresses unchanged. Proxy: a machine of its own owns the address,
 * accepts the connection and opens another to the NodePort of a healthy node, in turn. Healthy is a ready node, and with
 * externalTrafficPolicy Local one whose kube-proxy answers 200 on the healthCheckNodePort.
 * Not modelled: the interval of health checks (a change counts at once), connection draining, PROXY protocol, UDP through
 * a proxy.
 */
import { parseIpv4 } from '../../addr/index.ts'
import { relay } from '../../apps/relay.ts'
import { listenStreams } from '../../apps/stream.ts'
import type { LoadBalancerAddress } from '../../kubernetes/load-balancer/types.ts'
import { keyOf } from '../../kubernetes/services.ts'
import type { ClusterModel, Service } from '../../kubernetes/types.ts'
import type { Netns } from '../../linux/netns.ts'
import { healthResponse } from '../../proxy/health.ts'
import type { NodeProxy } from '../node-proxy.ts'
import type { Underlay } from '../underlay.ts'
import { usableNodes } from './layer2.ts'

/** What the balancers need of a cluster. */
export interface CloudParts {
  readonly model: ClusterModel
  readonly underlay: Underlay
  readonly proxies: ReadonlyMap<string, NodeProxy>
  /** Called for a machine that a proxy runs on. */
  readonly onMachine: (ns: Netns, address: LoadBalancerAddress) => void
}

/** Sets up every cloud address. */
export function startCloudBalancers(parts: CloudParts): void {
  for (const address of parts.model.loadBalancer?.addresses ?? []) {
    if (address.by === 'passthrough') parts.underlay.routeToNodes(parseIpv4(address.ip)!, nodeIps(parts, address))
    else if (address.by === 'proxy') startProxy(parts, address)
  }
}

/** Nodes that pass the health check, in node order. */
export function healthyNodes(parts: Pick<CloudParts, 'model' | 'proxies'>, address: LoadBalancerAddress): string[] {
  const service = serviceOf(parts.model, address)
  const usable = new Set(usableNodes(parts.model, address.service, new Set()))
  const names = parts.model.nodes.map((n) => n.name).filter((n) => usable.has(n))
  const port = service?.spec.externalTrafficPolicy === 'Local' ? service.spec.healthCheckNodePort : undefined
  if (port === undefined) return names
  return names.filter((name) => {
    const proxy = parts.proxies.get(name)
    const check = proxy?.program?.health.find((h) => h.port === port)
    if (proxy === undefined || check === undefined) return false
    const answer = healthResponse(check, 'GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n', proxy.isHealthy, new Date(0))
    return answer.text.startsWith('HTTP/1.1 200')
  })
}

function nodeIps(parts: CloudParts, address: LoadBalancerAddress): number[] {
  const healthy = healthyNodes(parts, address)
  return parts.model.nodes.filter((n) => healthy.includes(n.name)).map((n) => parseIpv4(n.internalIp)!)
}

function serviceOf(model: ClusterModel, address: LoadBalancerAddress): Service | undefined {
  return model.services.find((s) => keyOf(s.object) === address.service)?.object
}

function startProxy(parts: CloudParts, address: LoadBalancerAddress): void {
  const service = serviceOf(parts.model, address)
  const known = parts.underlay.hostOf(address.ip)
  const ns = known ?? parts.underlay.addHost(address.ip)
  if (known === undefined) parts.onMachine(ns, address)
  let turn = 0
  for (const port of service?.spec.ports ?? []) {
    if (port.protocol !== 'TCP' || port.nodePort === undefined) continue
    const { nodePort } = port
    listenStreams(ns, port.port, (client) => {
      const ips = nodeIps(parts, address)
      if (ips.length === 0) client.end()
      else relay(ns, client, ips[turn++ % ips.length]!, nodePort)
    })
  }
}
