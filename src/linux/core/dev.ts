/**
 * Frames between devices and protocols: receive, transmit, taps.
 *
 * Linux: net/core/dev.c (netif_rx, __netif_receive_skb_core, dev_queue_xmit), net/ethernet/eth.c (eth_type_trans),
 * net/packet/af_packet.c (packet_snd for injected frames), net/8021q/vlan_core.c (vlan tags). A VLAN tag stands beside the
 * frame (PacketArena.vlan) as in an skb; a device without tag offload gets it pushed into the frame (validate_xmit_vlan).
 * Not modelled: queueing disciplines and their timing, GRO, RPS.
 */
import {
  ETH_HLEN,
  ETH_P_8021AD,
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
  VLAN_HLEN,
  VLAN_TAG_PRESENT,
  VLAN_VID_MASK,
} from '../../packet/layout.ts'
import { brDevXmit, brHandleFrame } from '../bridge/input.ts'
import {
  DEV_BRIDGE,
  DEV_DUMMY,
  DEV_GENEVE,
  DEV_GRE,
  DEV_GRETAP,
  DEV_IPIP,
  DEV_IPVLAN,
  DEV_LOOPBACK,
  DEV_MACVLAN,
  DEV_NIC,
  DEV_VETH,
  DEV_VLAN,
  DEV_VXLAN,
  DEV_WIREGUARD,
  IFF_UP,
  type NetDevice,
  RX_IPVLAN,
  RX_MACVLAN,
  RX_NFT,
  RX_PACKET,
  RX_TC,
  RX_VLAN,
  TX_NFT,
  TX_TC,
} from '../device/device.ts'
import { geneveXmit } from '../device/geneve.ts'
import { greXmit } from '../device/gre.ts'
import { ipipXmit } from '../device/ipip.ts'
import { ipvlanHandleFrame, ipvlanXmit } from '../device/ipvlan.ts'
import { loopbackXmit } from '../device/loopback.ts'
import { macvlanHandleFrame, macvlanXmit } from '../device/macvlan.ts'
import { vethXmit } from '../device/veth.ts'
import { skbVlanUntag, vlanDoReceive, vlanHardHeader, vlanPushInside, vlanXmit } from '../device/vlan.ts'
import { vxlanXmit } from '../device/vxlan-xmit.ts'
import { EINVAL, EMSGSIZE, ENETDOWN, ENOBUFS, NET_XMIT_DROP, netXmitErrno } from '../errno.ts'
import { ipRcv } from '../ip/input.ts'
import { ipv6Rcv } from '../ipv6/input.ts'
import { arpRcv } from '../neighbour/arp.ts'
import { nfEgress, nfIngress } from '../netfilter/nftables/link-chains.ts'
import { R_DEV_DOWN, R_LOOP, R_NO_CARRIER, R_UNHANDLED_PROTO, R_UNMODELLED } from '../reasons.ts'
import { packetRcv } from '../socket/packet.ts'
import { tcEgress, tcIngress } from '../tc/classify.ts'
import { T_RX, T_TX } from '../trace.ts'
import type { World } from '../world.ts'
import { consumeSkb, freeSkb } from './skb.ts'

/** Kinds whose receive counter counts the inner packet only. */
const TUNNEL_COUNTS = new Uint8Array(16)
for (const kind of [DEV_VXLAN, DEV_IPIP, DEV_GRE, DEV_GENEVE, DEV_WIREGUARD]) TUNNEL_COUNTS[kind] = 1
/** Kinds that take a VLAN tag beside the frame (NETIF_F_HW_VLAN_CTAG_TX, _STAG_TX). */
const VLAN_OFFLOAD = new Uint8Array(16)
for (const kind of [DEV_VETH, DEV_NIC, DEV_BRIDGE]) VLAN_OFFLOAD[kind] = 1
/** Kinds that transmit through others. */
const STACKED = new Uint8Array(16)
for (const kind of [DEV_BRIDGE, DEV_VXLAN, DEV_IPIP, DEV_VLAN, DEV_MACVLAN, DEV_IPVLAN, DEV_GRE, DEV_GRETAP]) {
  STACKED[kind] = 1
}
STACKED[DEV_GENEVE] = 1
STACKED[DEV_WIREGUARD] = 1
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
  const proto = meta[m + M_PROTO]!
  const tagged = proto === ETH_P_8021Q || proto === ETH_P_8021AD
  if (tagged && meta[m + M_LEN]! < VLAN_HLEN + 2 && (w.arena.vlan[slot]! & VLAN_TAG_PRESENT) === 0) {
    // skb_vlan_untag comes before the taps: a tag must have a type behind it; with one beside already, it looks no further
    freeSkb(w, slot, R_UNHANDLED_PROTO, proto)
    return
  }
  dev.rxPackets++
  // tunnels count the inner packet
  dev.rxBytes += meta[m + M_LEN]! + (TUNNEL_COUNTS[dev.kind] === 1 ? 0 : ETH_HLEN)
  receiveCore(w, slot, dev)
}

/** __netif_receive_skb_core from `another_round` on: the packet has been counted by `dev`, which has it now. */
export function receiveCore(w: World, slot: number, dev: NetDevice): void {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const proto = meta[m + M_PROTO]!
  if ((proto === ETH_P_8021Q || proto === ETH_P_8021AD) && !skbVlanUntag(w, slot)) {
    freeSkb(w, slot, R_UNHANDLED_PROTO, proto)
    return
  }
  meta[m + M_NH] = meta[m + M_DATA]!
  meta[m + M_TH] = meta[m + M_DATA]!
  meta[m + M_IIF] = dev.id
  // packet sockets do not see looped back copies (tpacket_rcv: PACKET_LOOPBACK), bridges pass them
  const looped = meta[m + M_PKTTYPE] === PACKET_LOOPBACK
  if (dev.kind !== DEV_LOOPBACK && !looped) w.frameCount++
  if (w.tap !== null && !looped) w.tap.frame(0, slot, dev)
  if (w.tracer !== null)
    w.tracer.step(T_RX, slot, dev.ns, dev, meta[m + M_DATA]! + meta[m + M_LEN]! - meta[m + M_MAC]!, 0, 0, null)
  if (dev.hooks !== 0 && receiveHooks(w, slot, dev)) return
  if (dev.port !== null && !looped && brHandleFrame(w, slot, dev.port)) return
  if (w.arena.vlan[slot] !== 0 && vlanLeftOver(w, slot, dev)) return
  deliverSkb(w, slot)
}

/** What stands between the taps and the protocols on few devices. @returns true when the packet was taken */
function receiveHooks(w: World, slot: number, dev: NetDevice): boolean {
  const hooks = dev.hooks
  if ((hooks & RX_PACKET) !== 0) packetRcv(w, slot, dev)
  if ((hooks & RX_TC) !== 0 && tcIngress(w, slot, dev, dev.tc!)) return true
  if ((hooks & RX_NFT) !== 0 && nfIngress(w, slot, dev)) return true
  if ((hooks & RX_VLAN) !== 0 && (w.arena.vlan[slot]! & VLAN_TAG_PRESENT) !== 0 && vlanDoReceive(w, slot, dev))
    return true
  if ((hooks & (RX_MACVLAN | RX_IPVLAN)) === 0) return false
  // packets of dev_loopback_xmit have no link header
  if (w.arena.meta[(slot << META_SHIFT) + M_PKTTYPE] === PACKET_LOOPBACK) return false
  return (hooks & RX_MACVLAN) !== 0 ? macvlanHandleFrame(w, slot, dev) : ipvlanHandleFrame(w, slot, dev)
}

/** A tag for which there is no VLAN device: with an id the frame is another host's, VLAN 0 is plain. */
function vlanLeftOver(w: World, slot: number, dev: NetDevice): boolean {
  const a = w.arena
  const m = slot << META_SHIFT
  while ((a.vlan[slot]! & VLAN_TAG_PRESENT) !== 0) {
    const vid = a.vlan[slot]! & VLAN_VID_MASK
    const proto = a.meta[m + M_PROTO]!
    a.vlan[slot] = 0
    if (vid !== 0) a.meta[m + M_PKTTYPE] = PACKET_OTHERHOST
    else if (proto === ETH_P_8021Q || proto === ETH_P_8021AD) {
      if (!skbVlanUntag(w, slot)) {
        freeSkb(w, slot, R_UNHANDLED_PROTO, proto)
        return true
      }
      if ((dev.hooks & RX_VLAN) !== 0 && vlanDoReceive(w, slot, dev)) return true
    }
  }
  a.vlan[slot] = 0
  return false
}

/** deliver_skb to the protocol of M_PROTO. */
function deliverSkb(w: World, slot: number): void {
  const proto = w.arena.meta[(slot << META_SHIFT) + M_PROTO]!
  if (proto === ETH_P_IP) ipRcv(w, slot)
  else if (proto === ETH_P_ARP) arpRcv(w, slot)
  else if (proto === ETH_P_IPV6) ipv6Rcv(w, slot)
  else freeSkb(w, slot, R_UNHANDLED_PROTO, proto)
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
  if ((dev.hooks & TX_NFT) !== 0) {
    meta[m + M_MAC] = meta[m + M_DATA]!
    if (nfEgress(w, slot, dev)) {
      w.softirq()
      return NET_XMIT_DROP
    }
  }
  if ((dev.hooks & TX_TC) !== 0) {
    meta[m + M_MAC] = meta[m + M_DATA]!
    const rc = tcEgress(w, slot, dev, dev.tc!)
    if (rc >= 0) {
      w.softirq()
      return rc
    }
  }
  if (!dev.carrier && kind !== DEV_LOOPBACK && kind !== DEV_DUMMY) {
    // linkwatch has put noop_qdisc there (dev_deactivate): dropped before any tap
    dev.txDropped++
    freeSkb(w, slot, R_NO_CARRIER)
    return 0
  }
  if (w.flows !== null && (kind === DEV_VETH || kind === DEV_NIC) && w.idle && w.flows.transmit(w, slot, dev)) return 0
  if (kind !== DEV_LOOPBACK) w.frameCount++
  if (w.arena.vlan[slot] !== 0 && VLAN_OFFLOAD[kind] === 0) vlanPushInside(w, slot)
  if (kind === DEV_VLAN) vlanHardHeader(w, slot, dev)
  meta[m + M_MAC] = meta[m + M_DATA]!
  if (w.tap !== null) w.tap.frame(1, slot, dev)
  if (w.tracer !== null) w.tracer.step(T_TX, slot, dev.ns, dev, meta[m + M_LEN]!, 0, 0, null)
  if (kind === DEV_VETH || kind === DEV_NIC) {
    const rc = vethXmit(w, slot, dev)
    w.softirq()
    if (w.recorder !== null && !w.inSoftirq) w.flows!.recorded()
    return rc
  }
  if (STACKED[kind] === 1) {
    return stackedXmit(w, slot, dev, kind)
  }
  dev.txPackets++
  dev.txBytes += meta[m + M_LEN]!
  if (kind === DEV_LOOPBACK) loopbackXmit(w, slot, dev)
  else if (kind === DEV_DUMMY) consumeSkb(w, slot)
  else freeSkb(w, slot, R_UNMODELLED, kind, 'device kind')
  w.softirq()
  return 0
}

/** dev_hard_start_xmit of a device that transmits through others. @returns what its ndo_start_xmit does */
function stackedXmit(w: World, slot: number, dev: NetDevice, kind: number): number {
  if (w.xmitRecursion > XMIT_RECURSION_LIMIT) {
    freeSkb(w, slot, R_LOOP, 0, dev)
    return ENETDOWN
  }
  let rc = 0
  // rcu_read_lock_bh of __dev_queue_xmit: what the lower devices' transmits set off waits for the outermost one
  const wasSoftirq = w.inSoftirq
  w.inSoftirq = true
  w.xmitRecursion++
  if (kind === DEV_BRIDGE) {
    dev.txPackets++
    dev.txBytes += w.arena.meta[(slot << META_SHIFT) + M_LEN]!
    brDevXmit(w, slot, dev)
  } else if (kind === DEV_VXLAN) vxlanXmit(w, slot, dev)
  else if (kind === DEV_IPIP) ipipXmit(w, slot, dev)
  else if (kind === DEV_GRE || kind === DEV_GRETAP) greXmit(w, slot, dev)
  else if (kind === DEV_GENEVE) geneveXmit(w, slot, dev)
  else if (kind === DEV_VLAN) rc = vlanXmit(w, slot, dev)
  else if (kind === DEV_MACVLAN) rc = macvlanXmit(w, slot, dev)
  else if (kind === DEV_IPVLAN) rc = ipvlanXmit(w, slot, dev)
  else freeSkb(w, slot, R_UNMODELLED, kind, 'device kind')
  w.xmitRecursion--
  w.inSoftirq = wasSoftirq
  w.softirq()
  return rc
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
  // ipvlan_header_ops has no parse_protocol: nobody knows what the frame carries
  w.arena.meta[m + M_PROTO] = dev.kind === DEV_IPVLAN ? 0 : (frame[12]! << 8) | frame[13]!
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
