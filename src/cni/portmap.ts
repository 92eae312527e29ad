/**
 * hostPort: the reference plugin portmap, behind flannel's or Calico's plugin in the chain.
 *
 * Real thing: containernetworking/plugins plugins/meta/portmap/{portmap,portmap_iptables,chain}.go. The chains
 * CNI-HOSTPORT-SETMARK, CNI-HOSTPORT-MASQ and CNI-HOSTPORT-DNAT come with a node's first hostPort; each pod has a chain
 * CNI-DN-<hash>. A client of the
 * pod's own subnet (Calico: the pod itself) and of 127.0.0.1 is masqueraded, which is what makes the hairpin work.
 * The jump of CNI-HOSTPORT-MASQ is put first in POSTROUTING; kube-proxy, synced behind the pods here, puts its own
 * before it, while on a node that already ran it comes behind; no packet tells the difference.
 * Not modelled: SCTP (the driver names the pod), the nftables backend, conditionsV4, conntrack entries of UDP that ADD
 * deletes (there are none when the cluster is built).
 */
import type { NodeModel, PodModel, PodPort } from '../kubernetes/types.ts'
import { containerId, pluginChain } from './hash.ts'
import type { CniVerb, NetnsName } from './verb.ts'

const DNAT = 'CNI-HOSTPORT-DNAT'
const SETMARK = 'CNI-HOSTPORT-SETMARK'
const MASQ = 'CNI-HOSTPORT-MASQ'
const MARK = '0x2000/0x2000'
/** Ports that one multiport match holds. */
const MULTIPORT_MAX = 15

function nat(netns: NetnsName, origin: NodeModel['source'], ensure: 'append' | 'prepend', args: string[]): CniVerb {
  return { verb: 'iptables', netns, origin, ensure, args: ['-t', 'nat', ...args] }
}

function comment(text: string): string[] {
  return ['-m', 'comment', '--comment', text]
}

/** What the first pod with a hostPort brings to its node; `dev` is the host's device towards the pods. */
export function* portmapNodeVerbs(node: NodeModel, dev: string): Generator<CniVerb> {
  const netns: NetnsName = `node:${node.name}`
  const origin = node.source
  const local = ['-m', 'addrtype', '--dst-type', 'LOCAL', '-j', DNAT]
  yield { verb: 'iptables-chain', netns, origin, table: 'nat', chain: SETMARK }
  const set = [...comment('CNI portfwd masquerade mark'), '-j', 'MARK', '--set-xmark', MARK]
  yield nat(netns, origin, 'append', [SETMARK, ...set])
  yield { verb: 'iptables-chain', netns, origin, table: 'nat', chain: MASQ }
  yield nat(netns, origin, 'append', [MASQ, '-m', 'mark', '--mark', MARK, '-j', 'MASQUERADE'])
  const jump = [...comment('CNI portfwd requiring masquerade'), '-j', MASQ]
  yield nat(netns, origin, 'prepend', ['POSTROUTING', ...jump])
  yield { verb: 'sysctl', netns, origin, key: `net.ipv4.conf.${dev}.route_localnet`, value: '1' }
  yield { verb: 'iptables-chain', netns, origin, table: 'nat', chain: DNAT }
  yield nat(netns, origin, 'append', ['PREROUTING', ...local])
  yield nat(netns, origin, 'append', ['OUTPUT', ...local])
}

/** The pod's chain and the jumps to it; `subnet` is the pod's address with its prefix length as the plugin before gave it. */
export function* portmapPodVerbs(node: NodeModel, pod: PodModel, network: string, subnet: string): Generator<CniVerb> {
  const netns: NetnsName = `node:${node.name}`
  const origin = pod.source
  const ports = hostPorts(pod).filter((p) => p.protocol !== 'SCTP')
  if (ports.length === 0) return
  const id = containerId(pod)
  const chain = pluginChain('CNI-DN-', network, id)
  yield { verb: 'iptables-chain', netns, origin, table: 'nat', chain }
  for (const p of ports) {
    const protocol = p.protocol.toLowerCase()
    const isAnyHost = p.hostIP === undefined || p.hostIP === '' || p.hostIP === '0.0.0.0'
    const match = [
      '-p',
      protocol,
      '-m',
      protocol,
      '--dport',
      String(p.hostPort),
      ...(isAnyHost ? [] : ['-d', p.hostIP!]),
    ]
    yield nat(netns, origin, 'append', [chain, '-s', subnet, ...match, '-j', SETMARK])
    yield nat(netns, origin, 'append', [chain, '-s', '127.0.0.1', ...match, '-j', SETMARK])
    yield nat(netns, origin, 'append', [chain, ...match, '-j', 'DNAT', '--to-destination', `${pod.ip}:${p.port}`])
  }
  const note = comment(`dnat name: "${network}" id: "${id}"`)
  for (const protocol of ['tcp', 'udp']) {
    const numbers = ports.filter((p) => p.protocol.toLowerCase() === protocol).map((p) => String(p.hostPort))
    for (let i = 0; i < numbers.length; i += MULTIPORT_MAX) {
      const list = ['-m', 'multiport', '--dports', numbers.slice(i, i + MULTIPORT_MAX).join(',')]
      yield nat(netns, origin, 'append', [DNAT, '-p', protocol, ...note, ...list, '-j', chain])
    }
  }
}

/** Ports of the pod that ask for a port of the node. */
export function hostPorts(pod: PodModel): PodPort[] {
  return pod.ports.filter((p) => p.hostPort !== undefined && p.hostPort !== 0)
}
