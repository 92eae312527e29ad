/**
 * The processes in the pods, as far as the network sees them: something listens on the ports.
 *
 * A pod's containers listen on the ports that they declare and on those that EndpointSlices name for them (a Service's
 * numeric targetPort need not be declared). TCP servers answer a request with one HTTP response that names the pod and
 * close; UDP servers answer with their name, on port 53 with an empty DNS answer. What a process would do beyond that is not modelled.
 */
import { parseIpv4 } from '../addr/index.ts'
import { serveHttp } from '../apps/http-server.ts'
import type { ClusterModel, Protocol } from '../kubernetes/types.ts'
import type { Netns } from '../linux/netns.ts'
import { serveUdp } from '../linux/socket/apps.ts'

const encoder = new TextEncoder()
const DNS_PORT = 53
/** Ports that speak TLS by custom. */
const TLS_PORTS: ReadonlySet<number> = new Set([443, 6443, 8443, 9443, 10250])

/** Whether a port is TLS, by its number or its name. */
function isTlsPort(port: number, portName: string): boolean {
  return TLS_PORTS.has(port) || /https|tls|websecure/.test(portName)
}

/** The query as an answer without records (QR and RA set): what a DNS server says when it knows the name but no address. */
function dnsAnswer(query: Uint8Array): Uint8Array {
  const answer = query.slice()
  if (answer.length > 3) {
    answer[2] = answer[2]! | 0x80
    answer[3] = 0x80
  }
  return answer
}

/** Opens a server on a port of a namespace. @returns false when something listens there already */
export function serve(ns: Netns, protocol: Protocol, port: number, name: string, portName = ''): boolean {
  if (protocol === 'TCP') return serveHttp(ns, port, name, isTlsPort(port, portName))
  if (protocol === 'UDP') {
    const answer = encoder.encode(name)
    const respond = port === DNS_PORT ? dnsAnswer : (): Uint8Array => answer
    return typeof serveUdp(ns, 0, port, { respond }) !== 'number'
  }
  return false
}

/** Names a port of a namespace: `ID TCP 80`. */
export function servedKey(ns: Netns, protocol: Protocol, port: number): string {
  return `${ns.id} ${protocol} ${port}`
}

/** Opens every port that the cluster's objects say is served, but for those that another process holds already. */
export function serveDeclaredPorts(
  model: ClusterModel,
  pods: ReadonlyMap<string, Netns>,
  nodes: ReadonlyMap<string, Netns>,
  held: ReadonlySet<string> = new Set(),
): void {
  const seen = new Set<string>(held)
  const open = (ns: Netns | undefined, protocol: Protocol, port: number, name: string, portName = ''): void => {
    if (ns === undefined || port === 0) return
    const key = servedKey(ns, protocol, port)
    if (seen.has(key)) return
    seen.add(key)
    serve(ns, protocol, port, name, portName)
  }
  const byIp = new Map<number, { ns: Netns; name: string }>()
  for (const pod of model.pods) {
    const name = `${pod.namespace}/${pod.name}`
    const ns = pods.get(name)
    for (const p of pod.ports) open(ns, p.protocol, p.port, name, p.name)
    const ip = parseIpv4(pod.ip)
    if (ns !== undefined && ip !== null && !pod.hostNetwork) byIp.set(ip, { ns, name })
  }
  for (const node of model.nodes) {
    const ip = parseIpv4(node.internalIp)
    const ns = nodes.get(node.name)
    if (ip !== null && ns !== undefined) byIp.set(ip, { ns, name: `node/${node.name}` })
  }
  for (const { object: slice } of model.endpointSlices) {
    for (const e of slice.endpoints) {
      const owner = byIp.get(parseIpv4(e.addresses[0] ?? '') ?? 0)
      if (owner === undefined) continue
      for (const p of slice.ports ?? []) open(owner.ns, p.protocol ?? 'TCP', p.port ?? 0, owner.name, p.name)
    }
  }
}
