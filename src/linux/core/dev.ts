/**
 * Frames between devices and protocols: receive, transmit, taps.
 *
 * Linux: net/core/dev.c (netif_rx, __netif_receive_skb_core, dev_queue_xmit), net/ethernet/eth.c (eth_type_trans),
 * net/packet/af_packet.c (packet_snd for injected frames). Not modelled: queueing disciplines and their timing, GRO, RPS,
 * VLAN devices (a tagged frame is bridged; a host drops it, a priority tag of VLAN 0 is taken off as skb_vlan_untag does).
 */
import {
  ETH_HLEN,
  ETH_P_8021Q,
  ETH_P_ARP,
  ETH_P_IP,
  ETH_P_IPV6,
  M_DATA,
  M_DEV,
  M_IIF,
  M_LEN,
  M_MAC,
  M_NH,
  M_PKTTYPE,
  M_PROTO,
  M_TH,
  META_SHIFT,
  PACKET_BROADCAST,
  PACKET_HOST,
  PACKET_LOOPBACK,
  PACKET_MULTICAST,
  PACKET_OTHERHOST,
  PACKET_OUTGOING,
} from '../../packet/layout.ts'
import { brDevXmit, brHandleFrame } from '../bridge/input.ts'
import {
  DEV_BRIDGE,
  DEV_DUMMY,
  DEV_IPIP,
  DEV_LOOPBACK,
  DEV_NIC,
  DEV_VETH,
  DEV_VXLAN,
  IFF_UP,
  type NetDevice,
} from '../device/device.ts'
import { ipipXmit } from '../device/ipip.ts'
import { loopbackXmit } from '../device/loopback.ts'
import { vethXmit } from '../device/veth.ts'
import { vxlanXmit } from '../device/vxlan-xmit.ts'
import { EINVAL, EMSGSIZE, ENETDOWN, ENOBUFS, netXmitErrno } from '../errno.ts'
import { ipRcv } from '../ip/input.ts'
import { arpRcv } from '../neighbour/arp.ts'
import { R_DEV_DOWN, R_LOOP, R_NO_CARRIER, R_OTHERHOST, R_UNHANDLED_PROTO, R_UNMODELLED } from '../reasons.ts'
import { T_RX, T_TX } from '../trace.ts'
import type { World } from '../world.ts'
import { consumeSkb, freeSkb } from './skb.ts'

/** Bytes of an 802.1Q tag. */
const VLAN_HLEN = 4
/** Stacked devices that may transmit inside each other before it is called a dead loop. */
const XMIT_RECURSION_LIMIT = 8

/**
 * eth_type_trans: M_DATA stands at the Ethernet header; sets M_MAC, M_PROTO and M_PKTTYPE for a frame received by `dev`
 * and moves M_DATA behind the header.
 */
export function ethTypeTrans(w: World, slot: number, dev: NetDevice): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const eth = meta[m + M_DATA]!
  meta[m + M_DEV] = dev.id
  meta[m + M_MAC] = eth
  meta[m + M_DATA] = eth + ETH_HLEN
  meta[m + M_LEN] = meta[m + M_LEN]! - ETH_HLEN
  meta[m + M_NH] = eth + ETH_HLEN
  const v = a.view
  const hi = v.getUint16(eth)
  const lo = v.getInt32(eth + 2)
  if (hi === dev.macHi && lo === dev.macLo) meta[m + M_PKTTYPE] = PACKET_HOST
  else if ((hi & 0x0100) !== 0) meta[m + M_PKTTYPE] = hi === 0xffff && lo === -1 ? PACKET_BROADCAST : PACKET_MULTICAST
  else meta[m + M_PKTTYPE] = PACKET_OTHERHOST
  const proto = v.getUint16(eth + 12)
  meta[m + M_PROTO] = proto >= 0x600 ? proto : 0x0004
}

/** netif_rx: a frame whose eth_type_trans is done joins the backlog. */
export function netifRx(w: World, slot: number): void {
  w.enqueueBacklog(slot)
}

/** process_backlog for one packet. */
export function processBacklogSlot(w: World, slot: number): void {
  netifReceiveSkb(w, slot)
}

/** __netif_receive_skb_core: taps, rx_handler (bridge port), protocol handlers. */
export function netifReceiveSkb(w: World, slot: number): void {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  // null: deleted while the packet waited
  const dev = w.devices[meta[m + M_DEV]!] as NetDevice | null
  if (dev === null || (dev.flags & IFF_UP) === 0) {
    freeSkb(w, slot, R_DEV_DOWN)
    return
  }
  if (meta[m + M_PROTO] === ETH_P_8021Q && meta[m + M_LEN]! < VLAN_HLEN + 2) {
    // skb_vlan_untag comes before the taps: a tag must have a type behind it
    freeSkb(w, slot, R_UNHANDLED_PROTO, ETH_P_8021Q)
    return
  }
  meta[m + M_NH] = meta[m + M_DATA]!
  meta[m + M_TH] = meta[m + M_DATA]!
  meta[m + M_IIF] = dev.id
  dev.rxPackets++
  // tunnels count the inner packet
  dev.rxBytes += meta[m + M_LEN]! + (dev.kind === DEV_VXLAN || dev.kind === DEV_IPIP ? 0 : ETH_HLEN)
  // packet sockets do not see looped back copies (tpacket_rcv: PACKET_LOOPBACK), bridges pass them
  const looped = meta[m + M_PKTTYPE] === PACKET_LOOPBACK
  if (dev.kind !== DEV_LOOPBACK && !looped) w.frameCount++
  if (w.tap !== null && !looped) w.tap.frame(0, slot, dev)
  if (w.tracer !== null)
    w.tracer.step(T_RX, slot, dev.ns, dev, meta[m + M_DATA]! + meta[m + M_LEN]! - meta[m + M_MAC]!, 0, 0, null)
  if (dev.port !== null && !looped && brHandleFrame(w, slot, dev.port)) return
  deliverSkb(w, slot, dev)
}

/** deliver_skb to the protocol of M_PROTO. */
function deliverSkb(w: World, slot: number, dev: NetDevice): void {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const proto = meta[m + M_PROTO]!
  if (proto === ETH_P_IP) ipRcv(w, slot)
  else if (proto === ETH_P_ARP) arpRcv(w, slot)
  else if (proto === ETH_P_8021Q) vlanUntag(w, slot, dev)
  else if (proto === ETH_P_IPV6 && dev.ns.sysctl.ipv6_disable === 0) freeSkb(w, slot, R_UNMODELLED, 0, 'IPv6 input')
  else freeSkb(w, slot, R_UNHANDLED_PROTO, proto)
}

/** skb_vlan_untag without a VLAN device: a tag with an id makes the frame another host's, VLAN 0 is plain. */
function vlanUntag(w: World, slot: number, dev: NetDevice): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const data = meta[m + M_DATA]!
  if (meta[m + M_LEN]! < VLAN_HLEN || (a.view.getUint16(data) & 0xfff) !== 0) {
    freeSkb(w, slot, R_OTHERHOST)
    return
  }
  const mac = meta[m + M_MAC]!
  const proto = a.view.getUint16(data + 2)
  a.bytes.copyWithin(mac + VLAN_HLEN, mac, mac + 12)
  meta[m + M_MAC] = mac + VLAN_HLEN
  a.pull(slot, VLAN_HLEN)
  meta[m + M_NH] = meta[m + M_DATA]!
  meta[m + M_TH] = meta[m + M_DATA]!
  meta[m + M_PROTO] = proto >= 0x600 ? proto : 0x0004
  deliverSkb(w, slot, dev)
}

/**
 * dev_queue_xmit: M_DEV is the output device, M_DATA stands at the link header. Taps see the frame, the device gets it;
 * in process context the backlog then runs (local_bh_enable).
 * @returns 0, NET_XMIT_DROP or -ENETDOWN; a queue without a device behind it (no carrier) answers congestion, which is 0
 */
export function devQueueXmit(w: World, slot: number): number {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  // null: deleted while the packet waited
  const dev = w.devices[meta[m + M_DEV]!] as NetDevice | null
  if (dev === null || (dev.flags & IFF_UP) === 0) {
    freeSkb(w, slot, R_DEV_DOWN)
    return ENETDOWN
  }
  const kind = dev.kind
  if (!dev.carrier && kind !== DEV_LOOPBACK && kind !== DEV_DUMMY) {
    // linkwatch has put noop_qdisc there (dev_deactivate): dropped before any tap
    dev.txDropped++
    freeSkb(w, slot, R_NO_CARRIER)
    return 0
  }
  if (kind !== DEV_LOOPBACK) w.frameCount++
  meta[m + M_MAC] = meta[m + M_DATA]!
  if (w.tap !== null) w.tap.frame(1, slot, dev)
  if (w.tracer !== null) w.tracer.step(T_TX, slot, dev.ns, dev, meta[m + M_LEN]!, 0, 0, null)
  if (kind === DEV_VETH || kind === DEV_NIC) {
    const rc = vethXmit(w, slot, dev)
    w.softirq()
    return rc
  }
  if (kind === DEV_BRIDGE || kind === DEV_VXLAN || kind === DEV_IPIP) {
    stackedXmit(w, slot, dev, kind)
    return 0
  }
  dev.txPackets++
  dev.txBytes += meta[m + M_LEN]!
  if (kind === DEV_LOOPBACK) loopbackXmit(w, slot, dev)
  else if (kind === DEV_DUMMY) consumeSkb(w, slot)
  else freeSkb(w, slot, R_UNMODELLED, kind, 'device kind')
  w.softirq()
  return 0
}

/** dev_hard_start_xmit of a device that transmits through others: bridges and tunnels. */
function stackedXmit(w: World, slot: number, dev: NetDevice, kind: number): void {
  if (w.xmitRecursion > XMIT_RECURSION_LIMIT) {
    freeSkb(w, slot, R_LOOP, 0, dev)
    return
  }
  // rcu_read_lock_bh of __dev_queue_xmit: what the lower devices' transmits set off waits for the outermost one
  const wasSoftirq = w.inSoftirq
  w.inSoftirq = true
  w.xmitRecursion++
  if (kind === DEV_BRIDGE) {
    dev.txPackets++
    dev.txBytes += w.arena.meta[(slot << META_SHIFT) + M_LEN]!
    brDevXmit(w, slot, dev)
  } else if (kind === DEV_VXLAN) vxlanXmit(w, slot, dev)
  else ipipXmit(w, slot, dev)
  w.xmitRecursion--
  w.inSoftirq = wasSoftirq
  w.softirq()
}

/**
 * Sends `frame` out of `dev` as a packet socket bound to it does (packet_snd).
 * @returns bytes sent, or -EMSGSIZE, -ENETDOWN, -EINVAL, -ENOBUFS
 */
export function injectFrame(w: World, dev: NetDevice, frame: Uint8Array): number {
  if (!dev.up) return ENETDOWN
  if (!dev.ether) return injectPacket(w, dev, frame)
  if (frame.length < ETH_HLEN) return EINVAL
  const vlan = ((frame[12]! << 8) | frame[13]!) === ETH_P_8021Q
  if (frame.length > dev.mtu + ETH_HLEN + (vlan ? VLAN_HLEN : 0)) return EMSGSIZE
  const slot = w.arena.fromFrame(frame)
  if (slot < 0) return ENOBUFS
  const m = slot << META_SHIFT
  w.arena.meta[m + M_DEV] = dev.id
  w.arena.meta[m + M_PROTO] = (frame[12]! << 8) | frame[13]!
  w.arena.meta[m + M_PKTTYPE] = PACKET_OUTGOING
  return netXmitErrno(devQueueXmit(w, slot)) || frame.length
}

/** The same on a device without link header: the packet starts with its IP header, which names the protocol. */
function injectPacket(w: World, dev: NetDevice, packet: Uint8Array): number {
  if (packet.length === 0) return EINVAL
  if (packet.length > dev.mtu) return EMSGSIZE
  const slot = w.arena.fromFrame(packet)
  if (slot < 0) return ENOBUFS
  const m = slot << META_SHIFT
  // ip_tunnel_parse_protocol
  const version = packet[0]! >> 4
  w.arena.meta[m + M_DEV] = dev.id
  w.arena.meta[m + M_PROTO] = version === 4 ? ETH_P_IP : version === 6 ? ETH_P_IPV6 : 0
  w.arena.meta[m + M_PKTTYPE] = PACKET_OUTGOING
  return netXmitErrno(devQueueXmit(w, slot)) || packet.length
}
