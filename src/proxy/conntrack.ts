/**
 * UDP conntrack clean-up: which entries a sync deletes because they lead to an endpoint that serves no more.
 *
 * A UDP client that keeps its port keeps its conntrack entry, and with it the old endpoint. After a sync that changed the
 * endpoints of a Service with a UDP port, kube-proxy (1.33 and later) looks through the table: an entry to a UDP service
 * address and port, or to a UDP NodePort, whose replies come from no serving endpoint of it, is deleted. Services without
 * any serving endpoint are left out; policies, topology and readiness play no part; TCP and SCTP are never touched.
 *
 * Not modelled: kube-proxy before 1.33, which deletes by event, and SCTP entries too.
 *
 * Source: pkg/proxy/conntrack/cleanup.go (CleanStaleEntries), endpointschangetracker.go (EndpointsMap.Update).
 */
import { joinHostPort } from './addresses.ts'
import type { ObjectState } from './changes.ts'
import { endpointKey } from './endpoint.ts'
import type { ServicePort } from './service-port.ts'
import type { IpFamily } from './types.ts'

/** Addresses of serving endpoints by what clients ask for. */
export interface UdpServing {
  readonly family: IpFamily
  /** By `ip:port` of ClusterIP, load-balancer IP and external IP. */
  readonly byAddress: ReadonlyMap<string, ReadonlySet<string>>
  readonly byNodePort: ReadonlyMap<number, ReadonlySet<string>>
}

/** What entries are judged by after a sync, or null when no endpoint of a Service with a UDP port changed. */
export function udpCleanup(family: IpFamily, before: ObjectState | undefined, now: ObjectState): UdpServing | null {
  return hasUdpChange(before, now) ? udpServing(family, now) : null
}

/** True when the entry is stale: it leads to something else than a serving endpoint. */
export function isStaleUdpEntry(serving: UdpServing, dst: string, dport: number, replySource: string): boolean {
  const byAddress = serving.byAddress.get(joinHostPort(dst, dport))
  const byNodePort = serving.byNodePort.get(dport)
  return byAddress?.has(replySource) === false || byNodePort?.has(replySource) === false
}

function hasUdpChange(before: ObjectState | undefined, now: ObjectState): boolean {
  const services = udpServices([...(before?.ports ?? []), ...now.ports])
  const then = targetsByService(before, services)
  for (const [service, targets] of targetsByService(now, services)) {
    if (then.get(service) !== targets) return true
    then.delete(service)
  }
  return then.size > 0
}

function udpServices(ports: readonly ServicePort[]): Set<string> {
  return new Set(ports.filter((port) => port.protocol === 'udp').map((port) => port.serviceName))
}

/** Endpoints of every Service of `services` that has some, as text to compare. */
function targetsByService(state: ObjectState | undefined, services: ReadonlySet<string>): Map<string, string> {
  const out = new Map<string, string>()
  for (const port of state?.ports ?? []) {
    if (!services.has(port.serviceName)) continue
    const endpoints = state?.endpoints.get(endpointKey(port)) ?? []
    if (endpoints.length === 0) continue
    const text = endpoints.map((e) => `${e.target} ${e.isReady} ${e.isServing} ${e.isTerminating}`).join()
    out.set(port.serviceName, `${out.get(port.serviceName) ?? ''}${port.protocol} ${text};`)
  }
  return out
}

function udpServing(family: IpFamily, { ports, endpoints }: ObjectState): UdpServing {
  const byAddress = new Map<string, ReadonlySet<string>>()
  const byNodePort = new Map<number, ReadonlySet<string>>()
  for (const port of ports) {
    if (port.protocol !== 'udp') continue
    const serving = (endpoints.get(endpointKey(port)) ?? []).filter((endpoint) => endpoint.isServing)
    if (serving.length === 0) continue
    const ips = new Set(serving.map((endpoint) => endpoint.ip))
    const addresses = [port.clusterIp, ...[...port.loadBalancerVips, ...port.externalIps].map(({ text }) => text)]
    for (const ip of addresses) byAddress.set(joinHostPort(ip, port.port), ips)
    if (port.nodePort !== 0) byNodePort.set(port.nodePort, ips)
  }
  return { family, byAddress, byNodePort }
}
