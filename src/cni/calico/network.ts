/**
 * What Calico puts on a node beside rules: tunnels, routes to the other nodes' blocks, pods.
 *
 * Real thing: cni-plugin/pkg/dataplane/linux (DoNetworking), felix/dataplane/linux/{vxlan_mgr,ipip_mgr,noencap_mgr,
 * endpoint_mgr}.go, felix/routetable. A pod has an address of /32 and a default route by 169.254.1.1, for which the host
 * answers by proxy ARP on its side of the veth (ee:ee:ee:ee:ee:ee, no address). Routes of VXLAN pools are Felix's (tunnel
 * routes proto boot, same-subnet routes and blackholes proto 80), those of other pools BIRD's (bgp.ts).
 */
import { createHash } from 'node:crypto'
import { formatCidr, formatIpv4, parseIpv4Cidr } from '../../addr/index.ts'
import type { CalicoAddressing, CalicoBlock } from '../../kubernetes/calico/ipam.ts'
import type { ClusterModel, NodeModel } from '../../kubernetes/types.ts'
import { isOnLink } from '../on-link.ts'
import type { CniVerb, NetnsName } from '../verb.ts'
import type { CalicoConfig } from './config.ts'
import type { WorkloadEndpoint } from './endpoints.ts'
import { UPLINK } from './felix.ts'
import type { FelixConfig } from './felix-config.ts'

/** VXLAN device. */
export const VXLAN_DEVICE = 'vxlan.calico'
/** IPIP device: the module's own. */
export const IPIP_DEVICE = 'tunl0'
const GATEWAY = '169.254.1.1'
const HOST_MAC = 'ee:ee:ee:ee:ee:ee'
/** RTPROT_BIRD */
const PROTO_BIRD = 12
/** DefaultRouteProto of Felix. */
const PROTO_FELIX = 80
/** Metric of routes that BIRD programs since v3.32. */
const BIRD_METRIC = 1024

/** VTEP MAC: 66 and the first five bytes of the SHA-1 of the node's name. */
export function vtepMac(node: NodeModel): string {
  const given =
    node.annotations['projectcalico.org/VXLANTunnelMACAddr'] ??
    node.annotations['projectcalico.org/IPv4VXLANTunnelMACAddr']
  if (given !== undefined) return given
  const digest = createHash('sha1').update(node.name).digest('hex')
  return ['66', ...digest.slice(0, 10).match(/../g)!].join(':')
}

/** Devices of a node, sysctls. */
export function* deviceVerbs(
  node: NodeModel,
  addressing: CalicoAddressing,
  c: CalicoConfig,
  felix: FelixConfig,
): Generator<CniVerb> {
  const netns: NetnsName = `node:${node.name}`
  const origin = node.source
  yield { verb: 'sysctl', netns, origin, key: 'net.ipv4.ip_forward', value: '1' }
  const ipip = addressing.tunnels.ipip.get(node.name)
  if (c.ipip) {
    yield { verb: 'modprobe', netns, origin, module: 'ipip' }
    yield { verb: 'link-set', netns, origin, dev: IPIP_DEVICE, mtu: c.ipipMtu }
    yield { verb: 'link-set', netns, origin, dev: IPIP_DEVICE, up: true }
    if (ipip !== undefined) yield { verb: 'addr-add', netns, origin, dev: IPIP_DEVICE, address: `${ipip}/32` }
  }
  const vxlan = addressing.tunnels.vxlan.get(node.name)
  if (!c.vxlan || vxlan === undefined) return
  const link = {
    ...({ type: 'vxlan', name: VXLAN_DEVICE, mac: vtepMac(node), mtu: c.vxlanMtu, vni: felix.vxlanVni } as const),
    ...{ dstport: felix.vxlanPort, local: node.internalIp, dev: UPLINK, learning: false },
  }
  yield { verb: 'link-add', netns, origin, link }
  yield { verb: 'addr-add', netns, origin, dev: VXLAN_DEVICE, address: `${vxlan}/32` }
  yield { verb: 'link-set', netns, origin, dev: VXLAN_DEVICE, up: true }
}

/** A route of the node to other nodes' addresses: what Felix programs itself. */
export function* felixRoutes(
  model: ClusterModel,
  node: NodeModel,
  c: CalicoConfig,
  nodes: ReadonlyMap<string, NodeModel>,
): Generator<CniVerb> {
  const netns: NetnsName = `node:${node.name}`
  const { blocks, borrowed, tunnels } = model.calico!
  if (c.vxlan) {
    for (const other of model.nodes) {
      const vtep = tunnels.vxlan.get(other.name)
      if (other === node || vtep === undefined) continue
      const mac = vtepMac(other)
      const at = { netns, origin: other.source, dev: VXLAN_DEVICE }
      yield { verb: 'neigh-replace', ...at, ip: vtep, mac }
      yield { verb: 'fdb-replace', ...at, mac, dst: other.internalIp }
    }
  }
  const isFelixs = (b: CalicoBlock): boolean =>
    b.pool.vxlan !== 'Never' || (b.pool.ipip !== 'Never' && c.version.felixProgramsIpip)
  const route = function* (dst: string, owner: NodeModel, b: CalicoBlock): Generator<CniVerb> {
    const at = { verb: 'route-add', netns, origin: owner.source, dst } as const
    const isVxlan = b.pool.vxlan !== 'Never'
    const mode = isVxlan ? b.pool.vxlan : b.pool.ipip
    if (mode === 'CrossSubnet' && isOnLink(node, owner.internalIp)) {
      yield { ...at, via: owner.internalIp, dev: UPLINK, protocol: PROTO_FELIX, onlink: true }
    } else if (isVxlan) {
      const vtep = tunnels.vxlan.get(owner.name)
      if (vtep === undefined) return
      const mtu = c.version.minor >= 33 ? { mtu: c.vxlanMtu } : {}
      if (dst === `${vtep}/32`) yield { ...at, dev: VXLAN_DEVICE, scope: 'link' }
      else yield { ...at, via: vtep, dev: VXLAN_DEVICE, onlink: true, ...mtu }
    } else {
      yield { ...at, via: owner.internalIp, dev: IPIP_DEVICE, protocol: PROTO_FELIX, onlink: true, mtu: c.ipipMtu }
    }
  }
  for (const b of blocks) {
    if (!isFelixs(b)) continue
    const owner = nodes.get(b.node)
    if (owner === undefined) continue
    const dst = formatCidr(b.cidr)
    if (owner === node) {
      if (b.cidr.prefixLength < 32) {
        yield { verb: 'route-add', netns, origin: node.source, dst, type: 'blackhole', protocol: PROTO_FELIX }
      }
    } else yield* route(dst, owner, b)
  }
  for (const a of borrowed) {
    const owner = nodes.get(a.node)
    if (!isFelixs(a.block) || owner === undefined || owner === node) continue
    yield* route(`${formatIpv4(a.ip)}/32`, owner, a.block)
  }
}

/**
 * The routes that BGP brings when every session is up: what BIRD of this node programs in the end.
 *
 * A node announces its blocks, and addresses that it has out of blocks of others.
 */
export function* birdRoutes(
  model: ClusterModel,
  node: NodeModel,
  c: CalicoConfig,
  nodes: ReadonlyMap<string, NodeModel>,
): Generator<CniVerb> {
  const netns: NetnsName = `node:${node.name}`
  const { blocks, borrowed } = model.calico!
  const metric = c.version.minor >= 32 ? { metric: BIRD_METRIC } : {}
  const isBirds = (b: CalicoBlock): boolean =>
    b.pool.vxlan === 'Never' && (b.pool.ipip === 'Never' || !c.version.felixProgramsIpip)
  const route = (dst: string, owner: NodeModel, b: CalicoBlock): CniVerb => {
    const isTunnelled = b.pool.ipip === 'Always' || (b.pool.ipip === 'CrossSubnet' && !isOnLink(node, owner.internalIp))
    const at = { verb: 'route-add', netns, origin: owner.source, dst, protocol: PROTO_BIRD, ...metric } as const
    if (isTunnelled) return { ...at, via: owner.internalIp, dev: IPIP_DEVICE, onlink: true }
    // across subnets the next hop is what leads to the node: the gateway
    return { ...at, via: isOnLink(node, owner.internalIp) ? owner.internalIp : gatewayOf(node), dev: UPLINK }
  }
  for (const b of blocks) {
    const owner = nodes.get(b.node)
    if (!isBirds(b) || owner === undefined) continue
    const dst = formatCidr(b.cidr)
    if (owner === node) {
      if (b.cidr.prefixLength < 32) {
        yield { verb: 'route-add', netns, origin: node.source, dst, type: 'blackhole', protocol: PROTO_BIRD }
      }
    } else if (!b.pool.disableBgpExport) yield route(dst, owner, b)
  }
  for (const a of borrowed) {
    const owner = nodes.get(a.node)
    if (!isBirds(a.block) || owner === undefined || owner === node || a.block.pool.disableBgpExport) continue
    yield route(`${formatIpv4(a.ip)}/32`, owner, a.block)
  }
}

/** The first address of the node's subnet: the underlay's router. */
function gatewayOf(node: NodeModel): string {
  const net = parseIpv4Cidr(`${node.internalIp}/${node.internalPrefixLength}`)!
  const mask = net.prefixLength === 0 ? 0 : -1 << (32 - net.prefixLength)
  return formatIpv4((net.ip & mask) + 1)
}

/** One pod's ADD, and what Felix makes of its interface. */
export function* podVerbs(w: WorkloadEndpoint, c: CalicoConfig): Generator<CniVerb> {
  const node: NetnsName = `node:${w.node}`
  const netns: NetnsName = `pod:${w.pod.namespace}/${w.pod.name}`
  const origin = w.pod.source
  const dev = w.interfaceName
  const hwAddr = w.pod.annotations['cni.projectcalico.org/hwAddr']
  const peer = { netns, name: 'eth0', ...(hwAddr !== undefined && { mac: hwAddr }) }
  yield { verb: 'link-add', netns: node, origin, link: { type: 'veth', name: dev, mac: HOST_MAC, mtu: c.podMtu, peer } }
  const conf = `net.ipv4.conf.${dev}`
  for (const [key, value] of [
    [`${conf}.route_localnet`, '1'],
    [`net.ipv4.neigh.${dev}.proxy_delay`, '0'],
    [`${conf}.proxy_arp`, '1'],
    [`${conf}.forwarding`, '1'],
    [`${conf}.rp_filter`, '1'],
  ] as const) {
    yield { verb: 'sysctl', netns: node, origin, key, value }
  }
  yield { verb: 'link-set', netns: node, origin, dev, up: true }
  yield { verb: 'link-set', netns, origin, dev: 'eth0', up: true }
  yield { verb: 'route-add', netns, origin, dst: `${GATEWAY}/32`, dev: 'eth0', scope: 'link' }
  yield { verb: 'route-add', netns, origin, dst: 'default', dev: 'eth0', via: GATEWAY }
  yield { verb: 'addr-add', netns, origin, dev: 'eth0', address: `${w.pod.ip}/32` }
  const metric = c.version.podRouteMetric
  const felixs = metric === 0 ? {} : { metric, protocol: PROTO_FELIX }
  yield { verb: 'route-add', netns: node, origin, dst: `${w.pod.ip}/32`, dev, scope: 'link', ...felixs }
}
