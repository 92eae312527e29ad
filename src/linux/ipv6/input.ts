/**
 * IPv6 input: checks, PRE_ROUTING, routing, the chain of extension headers, delivery.
 *
 * Linux: net/ipv6/ip6_input.c (ipv6_rcv, ip6_rcv_core, ip6_rcv_finish, ip6_input, ip6_mc_input,
 * ip6_protocol_deliver_rcu), net/bridge/br_netfilter_ipv6.c (br_validate_ipv6), net/ipv6/route.c (ip6_pkt_drop).
 * Not modelled: multicast routing, xfrm, early demux, IPv6-in-IPv6 and IPv4-in-IPv6 tunnels.
 */
import {
  M_DATA,
  M_DEV,
  M_FLAGS,
  M_FRAG_MAX,
  M_LEN,
  M_NH,
  M_OPTLEN,
  M_PKTTYPE,
  M_TH,
  META_SHIFT,
  PACKET_BROADCAST,
  PACKET_LOOPBACK,
  PACKET_MULTICAST,
  PACKET_OTHERHOST,
  SKB_CSUM_OK,
} from '../../packet/layout.ts'
import { consumeSkb, freeSkb } from '../core/skb.ts'
import { IFF_LOOPBACK, type NetDevice } from '../device/device.ts'
import { EHOSTUNREACH } from '../errno.ts'
import { NF_ACCEPT, NF_INET_LOCAL_IN, NF_INET_PRE_ROUTING, nfHook6 } from '../netfilter/hooks.ts'
import type { Netns } from '../netns.ts'
import {
  R_IP_HDR,
  R_IP6_ADDRESS,
  R_MULTICAST,
  R_NO_PROTO,
  R_NO_ROUTE,
  R_OTHERHOST,
  R_PKT_TRUNC,
  R_ROUTE_BLACKHOLE,
  R_ROUTE_PROHIBIT,
  R_ROUTE_UNREACHABLE,
  R_UNHANDLED_PROTO,
  R_UNICAST_IN_L2_MULTICAST,
  R_UNMODELLED,
} from '../reasons.ts'
import { raw6LocalDeliver } from '../socket/raw6.ts'
import { tcpV6Rcv } from '../socket/tcp-ipv6.ts'
import { udpV6Rcv } from '../socket/udp6.ts'
import { T_IP_LOCAL } from '../trace.ts'
import type { World } from '../world.ts'
import { ipv6DestoptRcv, ipv6ParseHopopts, ipv6RthdrRcv } from './exthdrs.ts'
import {
  IPPROTO_ICMPV6,
  NEXTHDR_DEST,
  NEXTHDR_FRAGMENT,
  NEXTHDR_HOP,
  NEXTHDR_NONE,
  NEXTHDR_ROUTING,
} from './exthdrs-core.ts'
import { ip6Forward } from './forward.ts'
import { icmpv6Send } from './icmp.ts'
import { icmpv6Rcv } from './icmp-input.ts'
import { ipv6FragRcv } from './reassembly.ts'
import { ip6RouteInput } from './route.ts'
import {
  DST6_IN_DISCARD,
  DST6_IN_FORWARD,
  DST6_IN_LOCAL,
  DST6_IN_MC,
  DST6_IN_PKT_DISCARD,
  DST6_IN_PROHIBIT,
  type Rt6,
} from './rt6.ts'

const IPPROTO_TCP = 6
const IPPROTO_UDP = 17
const ICMPV6_DEST_UNREACH = 1
const ICMPV6_PARAMPROB = 4
const ICMPV6_NOROUTE = 0
const ICMPV6_ADM_PROHIBITED = 1
const ICMPV6_UNK_NEXTHDR = 1
const FLAGS_KEPT = SKB_CSUM_OK

/** ipv6_rcv: M_DATA at the IPv6 header, M_DEV the incoming device. Takes the slot. */
export function ipv6Rcv(w: World, slot: number): void {
  const dev = w.devices[w.arena.meta[(slot << META_SHIFT) + M_DEV]!]!
  const ns = dev.ns
  if (!rcvCore(w, ns, slot, dev)) return
  if (nfHook6(w, ns, NF_INET_PRE_ROUTING, slot, dev, null) !== NF_ACCEPT) return
  ip6RcvFinish(w, ns, slot)
}

function headerError(w: World, ns: Netns, slot: number, reason: number): boolean {
  ns.count('Ip6.InHdrErrors')
  freeSkb(w, slot, reason)
  return false
}

/** ip6_rcv_core. @returns false when the packet was dropped */
function rcvCore(w: World, ns: Netns, slot: number, dev: NetDevice): boolean {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  if (meta[m + M_PKTTYPE] === PACKET_OTHERHOST) {
    freeSkb(w, slot, R_OTHERHOST)
    return false
  }
  ns.count('Ip6.InReceives')
  if (dev.in6 === null || dev.in6.conf.disable_ipv6 !== 0) {
    freeSkb(w, slot, R_UNHANDLED_PROTO, 0x86dd)
    return false
  }
  meta[m + M_FLAGS] = meta[m + M_FLAGS]! & FLAGS_KEPT
  meta[m + M_FRAG_MAX] = 0
  const nh = meta[m + M_DATA]!
  const v = w.arena.view
  if (meta[m + M_LEN]! < 40) return headerError(w, ns, slot, R_PKT_TRUNC)
  if (v.getUint8(nh) >> 4 !== 6) return headerError(w, ns, slot, R_IP_HDR)
  if (!addressesFit(w, slot, dev, nh)) return headerError(w, ns, slot, R_IP6_ADDRESS)
  const mcast = v.getUint8(nh + 24) === 0xff
  const type = meta[m + M_PKTTYPE]!
  if (
    !mcast &&
    (type === PACKET_BROADCAST || type === PACKET_MULTICAST) &&
    (dev.in6.conf.drop_unicast_in_l2_multicast !== 0 || ns.sysctl.ipv6.all.drop_unicast_in_l2_multicast !== 0)
  ) {
    return headerError(w, ns, slot, R_UNICAST_IN_L2_MULTICAST)
  }
  meta[m + M_NH] = nh
  meta[m + M_TH] = nh + 40
  meta[m + M_OPTLEN] = 6
  const payload = v.getUint16(nh + 4)
  const nexthdr = v.getUint8(nh + 6)
  if (payload !== 0 || nexthdr !== NEXTHDR_HOP) {
    if (payload + 40 > meta[m + M_LEN]!) {
      ns.count('Ip6.InTruncatedPkts')
      freeSkb(w, slot, R_PKT_TRUNC)
      return false
    }
    meta[m + M_LEN] = payload + 40
  }
  if (nexthdr === NEXTHDR_HOP && !ipv6ParseHopopts(w, ns, slot)) {
    ns.count('Ip6.InHdrErrors')
    return false
  }
  return true
}

/** The address rules of ip6_rcv_core: loopback, interface-local and reserved scopes, multicast sources. */
function addressesFit(w: World, slot: number, dev: NetDevice, nh: number): boolean {
  const v = w.arena.view
  const lo = (dev.flags & IFF_LOOPBACK) !== 0
  const first = v.getUint8(nh + 24)
  if (!lo && (isLoopback(v, nh + 8) || isLoopback(v, nh + 24))) return false
  if (first === 0xff) {
    const scope = v.getUint8(nh + 25) & 15
    const looped = w.arena.meta[(slot << META_SHIFT) + M_PKTTYPE] === PACKET_LOOPBACK
    if (scope === 0 || (scope === 1 && !looped && !lo)) return false
  }
  return v.getUint8(nh + 8) !== 0xff
}

function isLoopback(v: DataView, at: number): boolean {
  return v.getInt32(at + 12) === 1 && v.getInt32(at) === 0 && v.getInt32(at + 4) === 0 && v.getInt32(at + 8) === 0
}

/** br_validate_ipv6: the checks for a bridged packet; it is not freed, only judged. */
export function brValidateIpv6(w: World, ns: Netns, slot: number): boolean {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = meta[m + M_NH]!
  const data = meta[m + M_DATA]!
  const have = data + meta[m + M_LEN]! - nh
  if (have < 40 || v.getUint8(nh) >> 4 !== 6) {
    ns.count('Ip6.InHdrErrors')
    return false
  }
  const payload = v.getUint16(nh + 4)
  if (payload + 40 > have) {
    ns.count('Ip6.InTruncatedPkts')
    return false
  }
  meta[m + M_LEN] = nh - data + payload + 40
  meta[m + M_TH] = nh + 40
  meta[m + M_FLAGS] = meta[m + M_FLAGS]! & FLAGS_KEPT
  meta[m + M_FRAG_MAX] = 0
  meta[m + M_OPTLEN] = 6
  return true
}

/** ip6_rcv_finish: routes the packet (unless arena.dst is set) and passes it on. Takes the slot. */
export function ip6RcvFinish(w: World, ns: Netns, slot: number): void {
  if (w.arena.dst[slot] === null) ip6RouteInput(w, ns, slot)
  dst6Input(w, ns, slot)
}

/** dst_input: the function that the decision names. Takes the slot. */
export function dst6Input(w: World, ns: Netns, slot: number): void {
  const rt = w.arena.dst[slot] as Rt6
  switch (rt.input) {
    case DST6_IN_LOCAL:
      ip6Input(w, ns, slot)
      return
    case DST6_IN_FORWARD:
      ip6Forward(w, ns, slot)
      return
    case DST6_IN_MC:
      ip6McInput(w, ns, slot)
      return
    case DST6_IN_DISCARD:
      freeSkb(w, slot, R_ROUTE_BLACKHOLE, rt.error, rt.route)
      return
    case DST6_IN_PKT_DISCARD:
      ip6PktDrop(w, ns, slot, ICMPV6_NOROUTE, rt.error === EHOSTUNREACH ? R_ROUTE_UNREACHABLE : R_NO_ROUTE)
      return
    case DST6_IN_PROHIBIT:
      ip6PktDrop(w, ns, slot, ICMPV6_ADM_PROHIBITED, R_ROUTE_PROHIBIT)
      return
    default:
      freeSkb(w, slot, R_UNMODELLED, 0, 'an IPv6 packet routed without an input function')
  }
}

/** ip6_pkt_drop: tells the sender. Takes the slot. */
export function ip6PktDrop(w: World, ns: Netns, slot: number, code: number, reason: number): void {
  const rt = w.arena.dst[slot] as Rt6
  ns.count('Ip6.InNoRoutes')
  icmpv6Send(w, slot, ICMPV6_DEST_UNREACH, code, 0)
  freeSkb(w, slot, reason, rt.error, rt.route)
}

/** ip6_mc_input: for groups that the device is in. Takes the slot. */
function ip6McInput(w: World, ns: Netns, slot: number): void {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const dev = w.devices[meta[m + M_DEV]!]!
  if (!ipv6ChkMcastAddr(w, dev, w.in6.read(w.arena.view, meta[m + M_NH]! + 24))) {
    freeSkb(w, slot, R_MULTICAST)
    return
  }
  ip6Input(w, ns, slot)
}

/** ipv6_chk_mcast_addr without source filters. */
export function ipv6ChkMcastAddr(_w: World, dev: NetDevice, group: number): boolean {
  if (dev.in6 === null) return false
  const groups = dev.in6.groups
  for (let i = 0; i < groups.length; i++) if (groups[i]!.addr === group) return true
  return false
}

/** ip6_input: LOCAL_IN and delivery. Takes the slot. */
export function ip6Input(w: World, ns: Netns, slot: number): void {
  const dev = w.devices[w.arena.meta[(slot << META_SHIFT) + M_DEV]!] ?? null
  if (nfHook6(w, ns, NF_INET_LOCAL_IN, slot, dev, null) !== NF_ACCEPT) return
  ip6ProtocolDeliver(w, ns, slot)
}

/** ip6_protocol_deliver_rcu: header after header until one takes the packet. Takes the slot. */
export function ip6ProtocolDeliver(w: World, ns: Netns, slot: number): void {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  for (;;) {
    const th = meta[m + M_TH]!
    const nh = meta[m + M_NH]!
    const end = meta[m + M_DATA]! + meta[m + M_LEN]!
    if (th > end) {
      freeSkb(w, slot, R_PKT_TRUNC)
      return
    }
    // pskb_pull(skb, skb_transport_offset(skb))
    meta[m + M_DATA] = th
    meta[m + M_LEN] = end - th
    const nexthdr = v.getUint8(nh + meta[m + M_OPTLEN]!)
    const raw = raw6LocalDeliver(w, ns, slot, nexthdr)
    switch (nexthdr) {
      case NEXTHDR_FRAGMENT:
        if (ipv6FragRcv(w, ns, slot) <= 0) return
        continue
      case NEXTHDR_ROUTING:
        if (ipv6RthdrRcv(w, ns, slot) <= 0) return
        continue
      case NEXTHDR_DEST:
        if (ipv6DestoptRcv(w, ns, slot) <= 0) return
        continue
      case NEXTHDR_NONE:
        consumeSkb(w, slot)
        return
      case IPPROTO_TCP:
      case IPPROTO_UDP:
      case IPPROTO_ICMPV6:
        finalProtocol(w, ns, slot, nexthdr)
        return
      default:
        noProtocol(w, ns, slot, nexthdr, raw)
        return
    }
  }
}

function finalProtocol(w: World, ns: Netns, slot: number, nexthdr: number): void {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const dev = w.devices[meta[m + M_DEV]!] ?? null
  if (w.tracer !== null) w.tracer.step(T_IP_LOCAL, slot, ns, dev, nexthdr, 0, 0, null)
  const nh = meta[m + M_NH]!
  if (w.arena.view.getUint8(nh + 24) === 0xff && dev !== null) {
    if (!ipv6ChkMcastAddr(w, dev, w.in6.read(w.arena.view, nh + 24))) {
      freeSkb(w, slot, R_MULTICAST)
      return
    }
  }
  ns.count('Ip6.InDelivers')
  if (nexthdr === IPPROTO_ICMPV6) icmpv6Rcv(w, ns, slot)
  else if (nexthdr === IPPROTO_UDP) udpV6Rcv(w, ns, slot)
  else tcpV6Rcv(w, ns, slot)
}

/** The end of a packet of a protocol that nobody handles; `raw`: a raw socket has a copy. */
function noProtocol(w: World, ns: Netns, slot: number, nexthdr: number, raw: boolean): void {
  if (raw) {
    consumeSkb(w, slot)
    return
  }
  ns.count('Ip6.InUnknownProtos')
  icmpv6Send(w, slot, ICMPV6_PARAMPROB, ICMPV6_UNK_NEXTHDR, w.arena.meta[(slot << META_SHIFT) + M_OPTLEN]!)
  freeSkb(w, slot, R_NO_PROTO, nexthdr)
}
