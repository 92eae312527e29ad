/**
 * The delegate: the reference plugins bridge and host-local, as flannel's CNI plugin calls them for a pod.
 *
 * Real thing: containernetworking/plugins plugins/main/bridge/bridge.go (cmdAdd), pkg/ip/ipmasq_linux.go; verbs stand in
 * its order: bridge, veth pair, attach and hairpin, addresses and routes in the pod, gateway on the bridge, its MAC set to
 * itself, ip_forward, masquerading. The routes are those of the result: first host-local's (FLANNEL_NETWORK, by the
 * range's gateway), then the default route of isDefaultGateway. MACs of pods are random (0a:58 went with v0.7).
 * Not modelled: the nftables backend of ipMasq, IPv6, vlan, macspoofchk.
 */
import { formatIpv4, parseCidr } from '../../addr/index.ts'
import type { NodeModel, PodModel } from '../../kubernetes/types.ts'
import { containerId, pluginChain, stableMac } from '../hash.ts'
import type { CniVerb, NetnsName } from '../verb.ts'
import type { DelegateConfig } from './cni-conf.ts'

/** The delegate's configuration on one node. */
export interface BridgeConfig extends DelegateConfig {
  readonly mtu: number
  /** FLANNEL_NETWORK */
  readonly network: string
  /** The bridge plugin masquerades: flanneld does not. */
  readonly ipMasq: boolean
}

function subnetOf(node: NodeModel): { gateway: string; broadcast: string; prefix: number } {
  const { ip, prefixLength } = parseCidr(node.podCidr)!
  const host = prefixLength === 0 ? -1 : ~(-1 << (32 - prefixLength))
  return {
    gateway: formatIpv4((ip as number) + 1),
    broadcast: formatIpv4((ip as number) | host),
    prefix: prefixLength,
  }
}

/** setupBridge of the node's first pod. */
export function* bridgeVerbs(node: NodeModel, c: BridgeConfig): Generator<CniVerb> {
  const netns: NetnsName = `node:${node.name}`
  const origin = node.source
  // The kernel draws the MAC and the plugin writes it back once there is a gateway: it stays when ports come and go.
  const link = { type: 'bridge', name: c.bridge, mac: stableMac(`${c.bridge} ${node.name}`), mtu: c.mtu } as const
  yield { verb: 'link-add', netns, origin, link }
  yield { verb: 'link-set', netns, origin, dev: c.bridge, up: true }
}

/** ensureAddr and enableIPForward: what the first pod's ADD does behind the pod's own interface. */
export function* gatewayVerbs(node: NodeModel, c: BridgeConfig): Generator<CniVerb> {
  const netns: NetnsName = `node:${node.name}`
  const origin = node.source
  const { gateway, broadcast, prefix } = subnetOf(node)
  yield { verb: 'addr-add', netns, origin, dev: c.bridge, address: `${gateway}/${prefix}`, broadcast }
  yield { verb: 'sysctl', netns, origin, key: 'net.ipv4.ip_forward', value: '1' }
}

/** One pod: its veth pair, addresses and routes. */
export function* podVerbs(node: NodeModel, pod: PodModel, host: string, c: BridgeConfig): Generator<CniVerb> {
  const nodeNs: NetnsName = `node:${node.name}`
  const netns: NetnsName = `pod:${pod.namespace}/${pod.name}`
  const origin = pod.source
  const { gateway, broadcast, prefix } = subnetOf(node)
  const link = { type: 'veth', name: host, mtu: c.mtu, peer: { netns, name: 'eth0' } } as const
  yield { verb: 'link-add', netns: nodeNs, origin, link }
  yield { verb: 'link-set', netns: nodeNs, origin, dev: host, up: true }
  yield { verb: 'link-set', netns: nodeNs, origin, dev: host, master: c.bridge, hairpin: c.hairpinMode }
  yield { verb: 'sysctl', netns, origin, key: 'net.ipv4.conf.eth0.arp_notify', value: '1' }
  yield { verb: 'addr-add', netns, origin, dev: 'eth0', address: `${pod.ip}/${prefix}`, broadcast }
  yield { verb: 'link-set', netns, origin, dev: 'eth0', up: true }
  yield { verb: 'route-add', netns, origin, dst: c.network, dev: 'eth0', via: gateway }
  if (c.isDefaultGateway) yield { verb: 'route-add', netns, origin, dst: 'default', dev: 'eth0', via: gateway }
}

/** SetupIPMasq, when flanneld runs without --ip-masq. */
export function* ipMasqVerbs(node: NodeModel, pod: PodModel, c: BridgeConfig): Generator<CniVerb> {
  if (!c.ipMasq) return
  const netns: NetnsName = `node:${node.name}`
  const origin = pod.source
  const id = containerId(pod)
  const chain = pluginChain('CNI-', c.name, id)
  const note = ['-m', 'comment', '--comment', `name: "${c.name}" id: "${id}"`]
  const rule = (...args: string[]): CniVerb => ({
    verb: 'iptables',
    netns,
    origin,
    ensure: 'append',
    args: ['-t', 'nat', ...args],
  })
  yield { verb: 'iptables-chain', netns, origin, table: 'nat', chain }
  yield rule(chain, '-d', node.podCidr, ...note, '-j', 'ACCEPT')
  yield rule(chain, '!', '-d', '224.0.0.0/4', ...note, '-j', 'MASQUERADE')
  yield rule('POSTROUTING', '-s', pod.ip, ...note, '-j', chain)
}
