/**
 * Extension headers of received packets: hop-by-hop and destination options, routing headers.
 *
 * Linux: net/ipv6/exthdrs.c (ip6_parse_tlv, ip6_tlvopt_unknown, ipv6_parse_hopopts, ipv6_destopt_rcv, ipv6_rthdr_rcv).
 * Not modelled: Mobile IPv6 (home address option, type 2 routing headers are refused as on a kernel without it), segment
 * routing and RPL (refused, as seg6_enabled and rpl_seg_enabled are 0), IOAM and CALIPSO options (unknown here).
 * Sources: RFC 8200 4.2 to 4.6, RFC 2711, RFC 2675, RFC 4942 2.1.9.5, RFC 5095.
 */
import {
  M_DATA,
  M_FLAGS,
  M_LEN,
  M_NH,
  M_OPTLEN,
  M_PKTTYPE,
  M_TH,
  META_SHIFT,
  PACKET_HOST,
} from '../../packet/layout.ts'
import { freeSkb } from '../core/skb.ts'
import type { Netns } from '../netns.ts'
import { R_IP_HDR, R_IP6_EXTHDR } from '../reasons.ts'
import { T_EXTHDR } from '../trace.ts'
import type { World } from '../world.ts'
import { icmpv6ParamProb } from './icmp.ts'

/** M_FLAGS: IP6SKB_ROUTERALERT. */
export const SKB6_ROUTERALERT = 1 << 24
/** M_FLAGS: IP6SKB_FRAGMENTED: put together, or an atomic fragment. */
export const SKB6_FRAGMENTED = 1 << 25
/** M_FLAGS: `IP6CB(skb)->srcrt` is set. */
export const SKB6_SRCRT = 1 << 26

const IPV6_TLV_PAD1 = 0
const IPV6_TLV_PADN = 1
const IPV6_TLV_ROUTERALERT = 5
const IPV6_TLV_JUMBO = 194
const ICMPV6_HDR_FIELD = 0
const ICMPV6_UNK_OPTION = 2
const MAX_PADDING = 7
const SRCRT_TYPE_3 = 3
const SRCRT_TYPE_4 = 4

function drop(w: World, slot: number): boolean {
  freeSkb(w, slot, R_IP6_EXTHDR)
  return false
}

/** ipv6_parse_hopopts: M_TH at the hop-by-hop header. @returns false when the packet is gone */
export function ipv6ParseHopopts(w: World, ns: Netns, slot: number): boolean {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const th = meta[m + M_TH]!
  const end = meta[m + M_DATA]! + meta[m + M_LEN]!
  if (th + 8 > end) return drop(w, slot)
  const len = (w.arena.view.getUint8(th + 1) + 1) << 3
  if (th + len > end || len > ns.sysctl.ipv6.max_hbh_length) return drop(w, slot)
  trace(w, ns, slot, 0)
  if (!parseTlv(w, ns, slot, true, ns.sysctl.ipv6.max_hbh_opts_number)) return false
  meta[m + M_TH] = th + len
  meta[m + M_OPTLEN] = 40
  return true
}

function trace(w: World, ns: Netns, slot: number, nexthdr: number): void {
  if (w.tracer === null) return
  const m = slot << META_SHIFT
  const at = w.arena.meta[m + M_TH]! - w.arena.meta[m + M_NH]!
  w.tracer.step(T_EXTHDR, slot, ns, null, nexthdr, at, 0, null)
}

/** ipv6_destopt_rcv. @returns 1 to go on with the next header, -1 when the packet is gone */
export function ipv6DestoptRcv(w: World, ns: Netns, slot: number): number {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const th = meta[m + M_TH]!
  const end = meta[m + M_DATA]! + meta[m + M_LEN]!
  const len = th + 8 > end ? 0 : (w.arena.view.getUint8(th + 1) + 1) << 3
  if (len === 0 || th + len > end || len > ns.sysctl.ipv6.max_dst_opts_length) {
    drop(w, slot)
    return -1
  }
  trace(w, ns, slot, 60)
  if (!parseTlv(w, ns, slot, false, ns.sysctl.ipv6.max_dst_opts_number)) return -1
  meta[m + M_OPTLEN] = th - meta[m + M_NH]!
  meta[m + M_TH] = th + len
  return 1
}

/** ip6_parse_tlv: options of the header at M_TH. @returns false when the packet is gone */
function parseTlv(w: World, ns: Netns, slot: number, hopbyhop: boolean, maxCount: number): boolean {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const th = meta[m + M_TH]!
  let len = (v.getUint8(th + 1) + 1) << 3
  let off = th + 2
  len -= 2
  let count = 0
  let padding = 0
  const refuse = maxCount < 0
  const most = Math.abs(maxCount)
  while (len > 0) {
    const type = v.getUint8(off)
    if (type === IPV6_TLV_PAD1) {
      if (++padding > MAX_PADDING) return drop(w, slot)
      off++
      len--
      continue
    }
    if (len < 2) return drop(w, slot)
    const optlen = v.getUint8(off + 1) + 2
    if (optlen > len) return drop(w, slot)
    if (type === IPV6_TLV_PADN) {
      padding += optlen
      if (padding > MAX_PADDING) return drop(w, slot)
      for (let i = 2; i < optlen; i++) if (v.getUint8(off + i) !== 0) return drop(w, slot)
    } else {
      if (++count > most) return drop(w, slot)
      if (hopbyhop && type === IPV6_TLV_ROUTERALERT) {
        if (optlen !== 4) return drop(w, slot)
        meta[m + M_FLAGS] = meta[m + M_FLAGS]! | SKB6_ROUTERALERT
      } else if (hopbyhop && type === IPV6_TLV_JUMBO) {
        if (!jumbo(w, ns, slot, off)) return false
      } else if (!unknownOption(w, slot, off, type, refuse)) return false
      padding = 0
    }
    off += optlen
    len -= optlen
  }
  return true
}

/** ip6_tlvopt_unknown: the two upper bits of the type say what to do. @returns false when the packet is gone */
function unknownOption(w: World, slot: number, off: number, type: number, refuse: boolean): boolean {
  const m = slot << META_SHIFT
  const nh = w.arena.meta[m + M_NH]!
  const action = type >> 6
  if (action === 0) return refuse ? drop(w, slot) : true
  if (action === 1) return drop(w, slot)
  if (action === 3 && w.arena.view.getUint8(nh + 24) === 0xff) return drop(w, slot)
  icmpv6ParamProb(w, slot, ICMPV6_UNK_OPTION, off - nh, R_IP6_EXTHDR)
  return false
}

/** ipv6_hop_jumbo: payloads above 65,535 bytes do not exist here; what claims one is refused. */
function jumbo(w: World, ns: Netns, slot: number, off: number): boolean {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = meta[m + M_NH]!
  if (v.getUint8(off + 1) !== 4 || ((off - nh) & 3) !== 2) {
    ns.count('Ip6.InHdrErrors')
    return drop(w, slot)
  }
  const length = v.getUint32(off + 2)
  if (length <= 0xffff || v.getUint16(nh + 4) !== 0) {
    ns.count('Ip6.InHdrErrors')
    icmpv6ParamProb(w, slot, ICMPV6_HDR_FIELD, (length <= 0xffff ? off + 2 : off) - nh, R_IP6_EXTHDR)
    return false
  }
  ns.count('Ip6.InTruncatedPkts')
  return drop(w, slot)
}

/** ipv6_rthdr_rcv: M_TH at the routing header. @returns 1 to go on with the next header, -1 when the packet is gone */
export function ipv6RthdrRcv(w: World, ns: Netns, slot: number): number {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = meta[m + M_NH]!
  const th = meta[m + M_TH]!
  const end = meta[m + M_DATA]! + meta[m + M_LEN]!
  const len = th + 8 > end ? 0 : (v.getUint8(th + 1) + 1) << 3
  if (len === 0 || th + len > end) {
    ns.count('Ip6.InHdrErrors')
    freeSkb(w, slot, R_IP6_EXTHDR)
    return -1
  }
  if (v.getUint8(nh + 24) === 0xff || meta[m + M_PKTTYPE] !== PACKET_HOST) {
    ns.count('Ip6.InAddrErrors')
    freeSkb(w, slot, R_IP_HDR)
    return -1
  }
  trace(w, ns, slot, 43)
  const type = v.getUint8(th + 2)
  if (type === SRCRT_TYPE_4 || type === SRCRT_TYPE_3) {
    freeSkb(w, slot, R_IP6_EXTHDR)
    return -1
  }
  if (v.getUint8(th + 3) === 0) {
    meta[m + M_FLAGS] = meta[m + M_FLAGS]! | SKB6_SRCRT
    meta[m + M_TH] = th + len
    meta[m + M_OPTLEN] = th - nh
    return 1
  }
  ns.count('Ip6.InHdrErrors')
  // points at the routing type
  icmpv6ParamProb(w, slot, ICMPV6_HDR_FIELD, th + 2 - nh, R_IP6_EXTHDR)
  return -1
}
