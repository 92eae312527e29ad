/**
 * CoreDNS in its pods: what listens behind the kube-dns Service.
 *
 * Every endpoint of kube-system/kube-dns (or coredns) answers DNS on the port that its slice names, over UDP and TCP, with
 * its own CoreDNS. A question whose answer is not modelled gets none, and its name goes to `unmodelled`, so that whoever
 * asked can say so instead of reporting a timeout. Not modelled: work and memory of the server, its connections upstream.
 */
import { CoreDns } from '../kubernetes/coredns/server.ts'
import { clusterDnsService } from '../kubernetes/pod-files.ts'
import { keyOf } from '../kubernetes/services.ts'
import type { ClusterModel, Protocol } from '../kubernetes/types.ts'
import type { Netns } from '../linux/netns.ts'
import { serveTcp, serveUdp } from '../linux/socket/apps.ts'
import { parseDns } from '../wire/dns.ts'
import { servedKey } from './servers.ts'

/**
 * Opens the servers.
 * @param unmodelled receives what they cannot answer
 * @returns the ports that they hold, as servedKey writes them
 */
export function startDnsServers(
  model: ClusterModel,
  pods: ReadonlyMap<string, Netns>,
  unmodelled: string[],
): Set<string> {
  const held = new Set<string>()
  const service = clusterDnsService(model)
  if (service === undefined) return held
  for (const { object: slice, service: key } of model.endpointSlices) {
    if (key !== keyOf(service)) continue
    for (const endpoint of slice.endpoints) {
      const pod = model.pods.find((p) => endpoint.addresses.includes(p.ip))
      const ns = pod === undefined ? undefined : pods.get(`${pod.namespace}/${pod.name}`)
      if (pod === undefined || ns === undefined) continue
      let server: CoreDns | null = null
      const answer = (bytes: Uint8Array, transport: 'udp' | 'tcp'): Uint8Array | null => {
        const query = parseDns(bytes)
        if (query === null || query.isResponse) return null
        server ??= new CoreDns(model, (n) => ns.world.random.below(n), [pod.ip])
        const reply = server.answer(query, transport)
        if (reply.unmodelled === undefined) return reply.bytes
        unmodelled.push(reply.unmodelled)
        return null
      }
      for (const port of slice.ports ?? []) {
        if (!isDnsPort(service.spec.ports ?? [], port.name ?? '')) continue
        open(ns, port.protocol ?? 'TCP', port.port ?? 0, answer)
        held.add(servedKey(ns, port.protocol ?? 'TCP', port.port ?? 0))
      }
    }
  }
  return held
}

const DNS_PORT = 53

function isDnsPort(ports: readonly { name?: string; port: number }[], name: string): boolean {
  return ports.some((p) => (p.name ?? '') === name && p.port === DNS_PORT)
}

function open(
  ns: Netns,
  protocol: Protocol,
  port: number,
  answer: (bytes: Uint8Array, transport: 'udp' | 'tcp') => Uint8Array | null,
): void {
  if (protocol === 'UDP') serveUdp(ns, 0, port, { respond: (d) => answer(d, 'udp') })
  if (protocol !== 'TCP') return
  serveTcp(ns, 0, port, {
    respond: (d) => {
      // RFC 1035 section 4.2.2: two octets of length in front
      const out = d.length < 2 ? null : answer(d.subarray(2), 'tcp')
      if (out === null) return null
      const framed = new Uint8Array(out.length + 2)
      framed.set([out.length >> 8, out.length & 255])
      framed.set(out, 2)
      return framed
    },
  })
}
