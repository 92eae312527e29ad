/**
 * Flannel's backends: how a packet for a pod of another node gets there.
 *
 * Real thing: pkg/backend/vxlan/{vxlan,device,vxlan_network}.go, pkg/backend/hostgw/hostgw.go, pkg/backend/ipip/ipip.go.
 * vxlan: one device flannel.<VNI> with the first address of the node's subnet as /32; per other node a permanent
 * neighbour, a permanent fdb entry and an onlink route, in this order; with DirectRouting a plain route where the other
 * node is on link. host-gw: a plain route. ipip: a device without remote and an onlink route to the other node.
 * Not modelled: host-gw's and ipip's check of their routes every ten seconds.
 */
import { formatIpv4, parseCidr } from '../../addr/index.ts'
import type { NodeModel } from '../../kubernetes/types.ts'
import { stableMac } from '../hash.ts'
import { isOnLink } from '../on-link.ts'
import type { CniVerb, NetnsName } from '../verb.ts'
import type { BackendConfig } from './config.ts'

const EXT_IFACE = 'eth0'
const IPIP_DEVICE = 'flannel.ipip'
const ANNOTATION = 'flannel.alpha.coreos.com/'
/** Bytes that a backend puts in front of a packet. */
const OVERHEAD = { vxlan: 50, 'host-gw': 0, ipip: 20 } as const

/** FLANNEL_MTU of /run/flannel/subnet.env: of the backend's device and of the pods. */
export function flannelMtu(b: BackendConfig): number {
  return b.extMtu - OVERHEAD[b.type]
}

/** The address under which the other nodes reach this one. */
export function publicIp(node: NodeModel): string {
  return node.annotations[`${ANNOTATION}public-ip-overwrite`] ?? node.internalIp
}

/** MAC of a node's VTEP: of its annotation when there is one (flannel takes it again after a restart). */
export function vtepMac(node: NodeModel, vni: number): string {
  try {
    const data = JSON.parse(node.annotations[`${ANNOTATION}backend-data`] ?? 'null') as {
      VNI?: number
      VtepMAC?: string
    } | null
    if (data?.VNI === vni && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(data.VtepMAC ?? '')) return data.VtepMAC!
  } catch {
    // An annotation that is not JSON: flannel draws a new MAC.
  }
  return stableMac(`flannel vtep ${vni} ${node.name}`)
}

function subnetIp(node: NodeModel): string {
  return formatIpv4(parseCidr(node.podCidr)!.ip as number)
}

/** RegisterNetwork: the device of the backend. */
export function* deviceVerbs(node: NodeModel, b: BackendConfig): Generator<CniVerb> {
  if (b.type === 'host-gw') return
  const netns: NetnsName = `node:${node.name}`
  const origin = node.source
  const name = deviceName(b)
  const mtu = flannelMtu(b)
  const local = node.internalIp
  if (b.type === 'vxlan') {
    const port = b.port === 0 ? {} : { dstport: b.port }
    const mac = vtepMac(node, b.vni)
    const link = {
      type: 'vxlan',
      name,
      mac,
      mtu,
      vni: b.vni,
      local,
      dev: EXT_IFACE,
      learning: b.learning,
      ...port,
    } as const
    yield { verb: 'link-add', netns, origin, link }
  } else {
    yield { verb: 'link-add', netns, origin, link: { type: 'ipip', name, mtu, local, pmtudisc: false } }
  }
  yield { verb: 'addr-add', netns, origin, dev: name, address: `${subnetIp(node)}/32` }
  yield { verb: 'link-set', netns, origin, dev: name, up: true }
}

function deviceName(b: BackendConfig): string {
  return b.type === 'vxlan' ? `flannel.${b.vni}` : IPIP_DEVICE
}

/** What a subnet event (EventAdded) of another node brings. */
export function* peerVerbs(node: NodeModel, other: NodeModel, b: BackendConfig): Generator<CniVerb> {
  const netns: NetnsName = `node:${node.name}`
  const origin = other.source
  const dst = other.podCidr
  const peer = publicIp(other)
  if (b.type === 'host-gw' && !isOnLink(node, peer)) return
  const isDirect = b.type === 'host-gw' || (b.directRouting && isOnLink(node, peer))
  if (isDirect) {
    yield { verb: 'route-add', netns, origin, dst, dev: EXT_IFACE, via: peer, onlink: b.type === 'ipip' }
    return
  }
  const dev = deviceName(b)
  if (b.type === 'vxlan') {
    const mac = vtepMac(other, b.vni)
    yield { verb: 'neigh-replace', netns, origin, dev, ip: subnetIp(other), mac }
    yield { verb: 'fdb-replace', netns, origin, dev, mac, dst: peer }
    yield { verb: 'route-add', netns, origin, dst, dev, via: subnetIp(other), onlink: true }
  } else yield { verb: 'route-add', netns, origin, dst, dev, via: peer, onlink: true }
}
