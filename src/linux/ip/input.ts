/**
 * IPv4 input: checks, PRE_ROUTING, routing, local delivery.
 *
 * Linux: net/ipv4/ip_input.c (ip_rcv, ip_rcv_core, ip_rcv_finish, ip_local_deliver, ip_protocol_deliver_rcu),
 * net/bridge/br_netfilter_hooks.c (br_validate_ipv4). Not modelled: early demux (nobody sees it), GRO lists, router alert
 * chains of raw sockets, IGMP (a multicast router's business), AH/ESP/SCTP sockets.
 */
import {
  ETH_P_IP,
  M_DATA,
  M_DEV,
  M_FLAGS,
  M_FRAG_MAX,
  M_IIF,
  M_LEN,
  M_NH,
  M_OPTLEN,
  M_PKTTYPE,
  M_TH,
  META_SHIFT,
  PACKET_BROADCAST,
  PACKET_MULTICAST,
  PACKET_OTHERHOST,
  SKB_CSUM_OK,
  SKB_IPVS_PROPERTY,
} from '../../packet/layout.ts'
import { ipFastCsum } from '../../wire/checksum.ts'
import { consumeSkb, freeSkb } from '../core/skb.ts'
import type { NetDevice } from '../device/device.ts'
import { greRcv } from '../device/gre.ts'
import { ipipRcv } from '../device/ipip.ts'
import { NF_ACCEPT, NF_INET_LOCAL_IN, NF_INET_PRE_ROUTING, nfHook } from '../netfilter/hooks.ts'
import type { Netns } from '../netns.ts'
import {
  R_IP_CSUM,
  R_IP_HDR,
  R_IP_OPTIONS,
  R_NO_PROTO,
  R_OTHERHOST,
  R_PKT_TRUNC,
  R_RPFILTER,
  R_UNICAST_IN_L2_MULTICAST,
  R_UNMODELLED,
} from '../reasons.ts'
import { ipRouteInput } from '../route/input-route.ts'
import type { Rtable } from '../route/rtable.ts'
import { DST_IN_ERROR, DST_IN_FORWARD, DST_IN_LOCAL_DELIVER, RTN_BROADCAST, RTN_MULTICAST } from '../route/rtn.ts'
import { rawLocalDeliver, tcpV4Rcv, udpRcv } from '../socket/table.ts'
import { T_IP_LOCAL } from '../trace.ts'
import type { World } from '../world.ts'
import { ipError } from './error.ts'
import { ipForward } from './forward.ts'
import { IP_DEFRAG_LOCAL_DELIVER, ipDefrag } from './fragment-queue.ts'
import { icmpRcv, icmpSend } from './icmp.ts'
import { countPackets, MIB_IN_DELIVERS, MIB_IN_NOECT, MIB_IN_OCTETS, MIB_IN_RECEIVES } from './mib.ts'
import { ipOptionsCompile, ipOptionsRcvSrr, optionsOf } from './options.ts'

const ICMP_DEST_UNREACH = 3
const ICMP_PROT_UNREACH = 2
const IPPROTO_ICMP = 1
const IPPROTO_IGMP = 2
const IPPROTO_IPIP = 4
const IPPROTO_GRE = 47
const IPPROTO_TCP = 6
const IPPROTO_UDP = 17

/** ip_rcv: M_DATA at the IP header, M_DEV the incoming device. Takes the slot. */
export function ipRcv(w: World, slot: number): void {
  const dev = w.devices[w.arena.meta[(slot << META_SHIFT) + M_DEV]!]!
  const ns = dev.ns
  if (!ipRcvCore(w, ns, slot)) return
  if (nfHook(w, ns, NF_INET_PRE_ROUTING, slot, dev, null) !== NF_ACCEPT) return
  ipRcvFinish(w, ns, slot)
}

/** ip_rcv_core: the checks. @returns false when the packet was dropped */
function ipRcvCore(w: World, ns: Netns, slot: number): boolean {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  if (meta[m + M_PKTTYPE] === PACKET_OTHERHOST) {
    freeSkb(w, slot, R_OTHERHOST)
    return false
  }
  const mib = ns.mib
  const skbLen = meta[m + M_LEN]!
  mib[MIB_IN_RECEIVES]!++
  mib[MIB_IN_OCTETS]! += skbLen
  const nh = meta[m + M_DATA]!
  const v = w.arena.view
  if (skbLen < 20) return headerError(w, ns, slot, R_PKT_TRUNC)
  const first = v.getUint16(nh)
  const ihl = (first >> 6) & 0x3c
  if (first >> 12 !== 4 || ihl < 20) return headerError(w, ns, slot, R_IP_HDR)
  mib[MIB_IN_NOECT + (first & 3)]!++
  if (skbLen < ihl) return headerError(w, ns, slot, R_PKT_TRUNC)
  if (ipFastCsum(v, nh, ihl) !== 0) {
    ns.count('IpExt.InCsumErrors')
    return headerError(w, ns, slot, R_IP_CSUM)
  }
  const len = v.getUint16(nh + 2)
  if (skbLen < len) {
    ns.count('IpExt.InTruncatedPkts')
    freeSkb(w, slot, R_PKT_TRUNC)
    return false
  }
  if (len < ihl) return headerError(w, ns, slot, R_IP_HDR)
  if (len < skbLen) meta[m + M_LEN] = len
  meta[m + M_NH] = nh
  meta[m + M_TH] = nh + ihl
  // memset(IPCB(skb), 0, ...)
  meta[m + M_FLAGS] = meta[m + M_FLAGS]! & (SKB_CSUM_OK | SKB_IPVS_PROPERTY)
  meta[m + M_FRAG_MAX] = 0
  meta[m + M_OPTLEN] = 0
  return true
}

function headerError(w: World, ns: Netns, slot: number, reason: number): boolean {
  ns.count('Ip.InHdrErrors')
  freeSkb(w, slot, reason)
  return false
}

/** br_validate_ipv4: ip_rcv_core's checks for a bridged packet; it is not freed, only judged. */
export function brValidateIpv4(w: World, ns: Netns, slot: number): boolean {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = meta[m + M_NH]!
  const have = meta[m + M_LEN]! - (nh - meta[m + M_DATA]!)
  if (have < 20) {
    ns.count('Ip.InHdrErrors')
    return false
  }
  const first = v.getUint16(nh)
  const ihl = (first >> 6) & 0x3c
  if (first >> 12 !== 4 || ihl < 20 || have < ihl) {
    ns.count('Ip.InHdrErrors')
    return false
  }
  if (ipFastCsum(v, nh, ihl) !== 0) {
    ns.count('IpExt.InCsumErrors')
    ns.count('Ip.InHdrErrors')
    return false
  }
  const len = v.getUint16(nh + 2)
  if (have < len) {
    ns.count('IpExt.InTruncatedPkts')
    return false
  }
  if (len < ihl) {
    ns.count('Ip.InHdrErrors')
    return false
  }
  if (len < have) meta[m + M_LEN] = nh - meta[m + M_DATA]! + len
  meta[m + M_TH] = nh + ihl
  meta[m + M_FLAGS] = meta[m + M_FLAGS]! & (SKB_CSUM_OK | SKB_IPVS_PROPERTY)
  meta[m + M_FRAG_MAX] = 0
  meta[m + M_OPTLEN] = 0
  return true
}

/** ip_rcv_finish: routes the packet (unless arena.dst is set) and passes it on. Takes the slot. */
export function ipRcvFinish(w: World, ns: Netns, slot: number): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const v = a.view
  const nh = meta[m + M_NH]!
  const dev = w.devices[meta[m + M_DEV]!]!
  if (a.dst[slot] === null) {
    const reason = ipRouteInput(w, ns, slot, v.getInt32(nh + 16), v.getInt32(nh + 12), v.getUint8(nh + 1), dev)
    if (reason !== 0) {
      if (reason === R_RPFILTER) ns.count('TcpExt.IPReversePathFilter')
      freeSkb(w, slot, reason, v.getInt32(nh + 12))
      return
    }
  }
  if ((v.getUint8(nh) & 15) > 5 && !ipRcvOptions(w, ns, slot, dev)) return
  const rt = a.dst[slot] as Rtable
  if (rt.type === RTN_MULTICAST) countPackets(ns, 'In', 'Mcast', meta[m + M_LEN]!)
  else if (rt.type === RTN_BROADCAST) countPackets(ns, 'In', 'Bcast', meta[m + M_LEN]!)
  else {
    const type = meta[m + M_PKTTYPE]
    if (
      (type === PACKET_BROADCAST || type === PACKET_MULTICAST) &&
      (dev.conf.drop_unicast_in_l2_multicast !== 0 || ns.sysctl.all.drop_unicast_in_l2_multicast !== 0)
    ) {
      freeSkb(w, slot, R_UNICAST_IN_L2_MULTICAST)
      return
    }
  }
  dstInput(w, ns, slot)
}

/** ip_rcv_options. @returns false when the packet was dropped */
function ipRcvOptions(w: World, ns: Netns, slot: number, dev: NetDevice): boolean {
  if (ipOptionsCompile(w, slot) !== 0) {
    ns.count('Ip.InHdrErrors')
    freeSkb(w, slot, R_IP_OPTIONS)
    return false
  }
  if (optionsOf(w, slot).srr === 0) return true
  const allowed = dev.conf.accept_source_route !== 0 && ns.sysctl.all.accept_source_route !== 0
  if (allowed && ipOptionsRcvSrr(w, ns, slot, dev)) return true
  freeSkb(w, slot, R_IP_OPTIONS)
  return false
}

/** dst_input: the function that the decision names. Takes the slot. */
export function dstInput(w: World, ns: Netns, slot: number): void {
  switch ((w.arena.dst[slot] as Rtable).input) {
    case DST_IN_FORWARD:
      ipForward(w, ns, slot)
      return
    case DST_IN_LOCAL_DELIVER:
      ipLocalDeliver(w, ns, slot)
      return
    case DST_IN_ERROR:
      ipError(w, ns, slot)
      return
    default:
      freeSkb(w, slot, R_UNMODELLED, 0, 'a packet routed without an input function')
  }
}

/** ip_local_deliver: reassembly, LOCAL_IN, delivery. Takes the slot. */
export function ipLocalDeliver(w: World, ns: Netns, slot: number): void {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  if ((w.arena.view.getUint16(meta[m + M_NH]! + 6) & 0x3fff) !== 0) {
    if (ipDefrag(w, ns, slot, IP_DEFRAG_LOCAL_DELIVER) !== 0) return
  }
  const dev = w.devices[meta[m + M_DEV]!] ?? null
  if (nfHook(w, ns, NF_INET_LOCAL_IN, slot, dev, null) !== NF_ACCEPT) return
  // ip_local_deliver_finish
  const nh = meta[m + M_NH]!
  const v = w.arena.view
  const th = nh + ((v.getUint8(nh) & 15) << 2)
  meta[m + M_LEN] = meta[m + M_LEN]! - (th - meta[m + M_DATA]!)
  meta[m + M_DATA] = th
  meta[m + M_TH] = th
  ipProtocolDeliver(w, ns, slot, v.getUint8(nh + 9))
}

/** ip_protocol_deliver_rcu: M_DATA at the transport header. Takes the slot. */
export function ipProtocolDeliver(w: World, ns: Netns, slot: number, protocol: number): void {
  if (w.tracer !== null) {
    const dev = w.devices[w.arena.meta[(slot << META_SHIFT) + M_DEV]!] ?? null
    w.tracer.step(T_IP_LOCAL, slot, ns, dev, protocol, 0, 0, null)
  }
  const raw = rawLocalDeliver(w, ns, slot, protocol)
  switch (protocol) {
    case IPPROTO_TCP:
      ns.mib[MIB_IN_DELIVERS]!++
      tcpV4Rcv(w, ns, slot)
      return
    case IPPROTO_UDP:
      ns.mib[MIB_IN_DELIVERS]!++
      udpRcv(w, ns, slot)
      return
    case IPPROTO_ICMP:
      ns.mib[MIB_IN_DELIVERS]!++
      icmpRcv(w, ns, slot)
      return
    case IPPROTO_IGMP:
      ns.mib[MIB_IN_DELIVERS]!++
      freeSkb(w, slot, R_UNMODELLED, 0, 'IGMP')
      return
    case IPPROTO_GRE:
      if (w.greLoaded) {
        ns.mib[MIB_IN_DELIVERS]!++
        greRcv(w, ns, slot)
        return
      }
      noProtocol(w, ns, slot, protocol, raw)
      return
    case IPPROTO_IPIP:
      if (w.ipipLoaded) {
        ns.mib[MIB_IN_DELIVERS]!++
        ipipRcv(w, ns, slot)
        return
      }
      noProtocol(w, ns, slot, protocol, raw)
      return
    default:
      noProtocol(w, ns, slot, protocol, raw)
  }
}

/** The end of a packet of a protocol that nobody handles; `raw`: a raw socket has a copy. */
function noProtocol(w: World, ns: Netns, slot: number, protocol: number, raw: boolean): void {
  if (raw) {
    ns.mib[MIB_IN_DELIVERS]!++
    consumeSkb(w, slot)
    return
  }
  ns.count('Ip.InUnknownProtos')
  icmpSend(w, slot, ICMP_DEST_UNREACH, ICMP_PROT_UNREACH, 0)
  freeSkb(w, slot, R_NO_PROTO, protocol)
}

/** inet_iif: the device id that a packet counts as received by. */
export function inetIif(w: World, slot: number): number {
  const rt = w.arena.dst[slot] as Rtable | null
  return rt !== null && rt.iif >= 0 ? rt.iif : w.arena.meta[(slot << META_SHIFT) + M_IIF]!
}

/** True for an IPv4 packet: what M_PROTO says. */
export function isIpv4(protocol: number): boolean {
  return protocol === ETH_P_IP
}
