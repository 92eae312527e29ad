/**
 * hostPort on kubenet: the kubelet's hostport manager, not the portmap plugin.
 *
 * Real thing: pkg/kubelet/dockershim/network/hostport (today in cri-dockerd): chain KUBE-HOSTPORTS reached from PREROUTING
 * and OUTPUT behind kube-proxy's jumps, one chain KUBE-HP-<hash> per pod port, prepended. The kubelet itself makes
 * KUBE-MARK-MASQ. The hash is over the sandbox id; here over the pod's uid, so that the same manifests give the same
 * name. The listening socket that the kubelet holds on the port is not modelled: packets are translated before it.
 */
import { chainHash } from '../../kubernetes/chain-hash.ts'
import type { NodeModel, PodModel, PodPort } from '../../kubernetes/types.ts'
import type { CniVerb, NetnsName } from '../verb.ts'

const HOSTPORTS = 'KUBE-HOSTPORTS'
const MARK_MASQ = 'KUBE-MARK-MASQ'

type Rule = readonly string[]

function nat(
  netns: NetnsName,
  origin: NodeModel['source'],
  ensure: 'append' | 'prepend',
  chain: string,
  rule: Rule,
): CniVerb {
  return { verb: 'iptables', netns, origin, ensure, args: ['-t', 'nat', chain, ...rule] }
}

function comment(text: string): Rule {
  return ['-m', 'comment', '--comment', text]
}

/** What the first pod with a hostPort brings to its node. */
export function* hostportNodeVerbs(node: NodeModel, bridge: string): Generator<CniVerb> {
  const netns: NetnsName = `node:${node.name}`
  const origin = node.source
  yield { verb: 'iptables-chain', netns, origin, table: 'nat', chain: MARK_MASQ }
  yield nat(netns, origin, 'append', MARK_MASQ, ['-j', 'MARK', '--or-mark', '0x00004000'])
  yield { verb: 'iptables-chain', netns, origin, table: 'nat', chain: HOSTPORTS }
  const portals = [...comment('kube hostport portals'), '-m', 'addrtype', '--dst-type', 'LOCAL', '-j', HOSTPORTS]
  yield nat(netns, origin, 'append', 'PREROUTING', portals)
  yield nat(netns, origin, 'append', 'OUTPUT', portals)
  yield nat(netns, origin, 'append', 'POSTROUTING', [
    ...['-s', '127.0.0.0/8', '-o', bridge],
    ...comment('SNAT for localhost access to hostports'),
    ...['-j', 'MASQUERADE'],
  ])
}

/** The chain and the jump of one hostPort. */
function* portVerbs(netns: NetnsName, pod: PodModel, port: PodPort): Generator<CniVerb> {
  const protocol = port.protocol.toLowerCase()
  const chain = `KUBE-HP-${chainHash(`${pod.uid}${port.hostPort}${port.protocol}`)}`
  const note = comment(`${pod.name}_${pod.namespace} hostport ${port.hostPort}`)
  const match = ['-m', protocol, '-p', protocol]
  const anyHost = port.hostIP === undefined || port.hostIP === '' || port.hostIP === '0.0.0.0'
  yield { verb: 'iptables-chain', netns, origin: pod.source, table: 'nat', chain }
  yield nat(netns, pod.source, 'prepend', HOSTPORTS, [...note, ...match, '--dport', String(port.hostPort), '-j', chain])
  yield nat(netns, pod.source, 'append', chain, [...note, '-s', pod.ip, '-j', MARK_MASQ])
  yield nat(netns, pod.source, 'append', chain, [
    ...note,
    ...match,
    ...(anyHost ? [] : ['-d', port.hostIP!]),
    ...['-j', 'DNAT', '--to-destination', `${pod.ip}:${port.port}`],
  ])
}

/** All hostPorts of a pod, TCP and UDP; SCTP is left out and named by the driver. */
export function* hostportPodVerbs(node: NodeModel, pod: PodModel): Generator<CniVerb> {
  for (const port of hostPorts(pod)) if (port.protocol !== 'SCTP') yield* portVerbs(`node:${node.name}`, pod, port)
}

/** Ports of the pod that ask for a port of the node. */
export function hostPorts(pod: PodModel): PodPort[] {
  return pod.ports.filter((p) => p.hostPort !== undefined && p.hostPort !== 0)
}
