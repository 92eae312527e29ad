/**
 * What one service port asks of IPVS mode: virtual servers, addresses on kube-ipvs0, entries of the ipsets.
 *
 * ClusterIP, external and load-balancer IPs get a virtual server each at the service port, every node address one at the
 * NodePort. A Local policy without local endpoints falls back to all endpoints, where the other modes drop. A Service
 * without endpoints has virtual servers without real ones.
 *
 * Source: pkg/proxy/ipvs/proxier.go (syncProxyRules, syncEndpoint).
 */
import { type Prefix, prefixContains } from '../addresses.ts'
import { isLocalEndpoint, type ServiceEndpoint } from '../endpoint.ts'
import { type ServicePort, serviceOrigin } from '../service-port.ts'
import { categorizeEndpoints } from '../topology.ts'
import type { ProxyInput, RuleOrigin } from '../types.ts'
import { ensureServer, type ServerSync, serverKey, type VirtualServer } from './servers.ts'
import type { SetName } from './sets.ts'

/** What the service ports of one sync add up to. */
export interface IpvsCollection {
  readonly input: ProxyInput
  readonly family: string
  readonly scheduler: string
  readonly nodeIp: Prefix | null
  /** Addresses on other interfaces than kube-ipvs0. */
  readonly nodeAddresses: ReadonlySet<string>
  /** Addresses that take NodePorts. */
  readonly nodePortIps: readonly string[]
  readonly sets: Map<SetName, Set<string>>
  readonly servers: ServerSync
  /** Addresses for kube-ipvs0, in the order they were asked for. */
  readonly bound: Set<string>
  /** Load-balancer addresses nodes may not use: `-s ip -m ipvs ...` rules. */
  readonly refusedToNode: { readonly ip: string; readonly protocol: string; readonly port: number }[]
  readonly lookups: Map<string, RuleOrigin>
}

/** Adds what one service port asks for. */
export function collectPort(into: IpvsCollection, port: ServicePort, all: readonly ServiceEndpoint[]): void {
  const { node, config } = into.input
  const { cluster, local } = categorizeEndpoints(all, port, node, config)
  const targetsOf = (isLocal: boolean): string[] =>
    (isLocal && local.length > 0 ? local : cluster).map((endpoint) => endpoint.target)
  for (const endpoint of all) {
    if (!isLocalEndpoint(endpoint, node.name)) continue
    const { ip, port: at } = endpoint
    add(into, 'KUBE-LOOP-BACK', `${ip},${port.protocol}:${at},${ip}`, null)
  }
  const clusterOrigin = serviceOrigin(port, ['spec', 'clusterIP'])
  add(into, 'KUBE-CLUSTER-IP', entryOf(port, port.clusterIp), clusterOrigin)
  serve(into, port, port.clusterIp, port.port, targetsOf(port.internalPolicyLocal), clusterOrigin, true)
  const external = targetsOf(port.externalPolicyLocal)
  for (const { text, index } of port.externalIps) {
    const origin = serviceOrigin(port, ['spec', 'externalIPs', index])
    const set = port.externalPolicyLocal ? 'KUBE-EXTERNAL-IP-LOCAL' : 'KUBE-EXTERNAL-IP'
    add(into, set, entryOf(port, text), origin)
    serve(into, port, text, port.port, external, origin, !into.nodeAddresses.has(text))
  }
  for (const { text, index } of port.loadBalancerVips) {
    const origin = serviceOrigin(port, ['status', 'loadBalancer', 'ingress', index, 'ip'])
    collectVip(into, port, text, origin)
    serve(into, port, text, port.port, external, origin, !into.nodeAddresses.has(text))
  }
  // A NodePort that no address takes ends the port's work before its health check, as in kube-proxy.
  if (port.nodePort !== 0 && into.nodePortIps.length === 0) return
  if (port.nodePort !== 0) collectNodePort(into, port, external)
  if (port.healthCheckNodePort !== 0) {
    const origin = serviceOrigin(port, ['spec', 'healthCheckNodePort'])
    add(into, 'KUBE-HEALTH-CHECK-NODE-PORT', String(port.healthCheckNodePort), origin)
  }
}

function collectVip(into: IpvsCollection, port: ServicePort, vip: string, origin: RuleOrigin): void {
  const entry = entryOf(port, vip)
  add(into, 'KUBE-LOAD-BALANCER', entry, origin)
  if (port.externalPolicyLocal) add(into, 'KUBE-LOAD-BALANCER-LOCAL', entry, origin)
  if (port.sourceRanges.length === 0) return
  const ranges = serviceOrigin(port, ['spec', 'loadBalancerSourceRanges'])
  add(into, 'KUBE-LOAD-BALANCER-FW', entry, ranges)
  for (const { text } of port.sourceRanges) add(into, 'KUBE-LOAD-BALANCER-SOURCE-CIDR', `${entry},${text}`, ranges)
  const { nodeIp } = into
  if (nodeIp !== null && port.sourceRanges.some(({ prefix }) => prefixContains(prefix, nodeIp))) {
    add(into, 'KUBE-LOAD-BALANCER-SOURCE-IP', `${entry},${vip}`, ranges)
  } else {
    into.refusedToNode.push({ ip: vip, protocol: port.protocol, port: port.port })
  }
}

function collectNodePort(into: IpvsCollection, port: ServicePort, targets: readonly string[]): void {
  const origin = serviceOrigin(port, ['spec', 'ports', port.portIndex, 'nodePort'])
  const [sets, entries] = nodePortSets(port, into.nodePortIps)
  for (const set of sets) for (const entry of entries) add(into, set, entry, origin)
  for (const ip of into.nodePortIps) serve(into, port, ip, port.nodePort, targets, origin, false)
}

/** SCTP has no bitmap: its set holds every node address. */
function nodePortSets(port: ServicePort, ips: readonly string[]): [SetName[], string[]] {
  const { externalPolicyLocal: isLocal, nodePort } = port
  switch (port.protocol) {
    case 'tcp':
      return [['KUBE-NODE-PORT-TCP', ...(isLocal ? ['KUBE-NODE-PORT-LOCAL-TCP' as const] : [])], [String(nodePort)]]
    case 'udp':
      return [['KUBE-NODE-PORT-UDP', ...(isLocal ? ['KUBE-NODE-PORT-LOCAL-UDP' as const] : [])], [String(nodePort)]]
    default:
      return [
        ['KUBE-NODE-PORT-SCTP-HASH', ...(isLocal ? ['KUBE-NODE-PORT-LOCAL-SCTP-HASH' as const] : [])],
        ips.map((ip) => `${ip},sctp:${nodePort}`),
      ]
  }
}

function serve(
  into: IpvsCollection,
  port: ServicePort,
  address: string,
  at: number,
  targets: readonly string[],
  origin: RuleOrigin,
  isBound: boolean,
): void {
  const server: VirtualServer = {
    address,
    port: at,
    protocol: port.protocol,
    scheduler: into.scheduler,
    persistence: port.affinitySeconds,
  }
  remember(into, `ipvs ${serverKey(server)}`, origin)
  ensureServer(into.servers, server, targets)
  if (!isBound) return
  into.bound.add(address)
  remember(into, `KUBE-IPVS-IPS ${address}`, origin)
}

function add(into: IpvsCollection, set: SetName, entry: string, origin: RuleOrigin | null): void {
  into.sets.get(set)?.add(entry)
  if (origin !== null) remember(into, `${set} ${entry}`, origin)
}

function remember({ lookups, family }: IpvsCollection, key: string, origin: RuleOrigin): void {
  const name = `${family} ${key}`
  if (!lookups.has(name)) lookups.set(name, origin)
}

function entryOf(port: ServicePort, ip: string): string {
  return `${ip},${port.protocol}:${port.port}`
}
