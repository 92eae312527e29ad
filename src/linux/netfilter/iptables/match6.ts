/**
 * Matches on an IPv6 packet: what only ip6tables has, and what reads the IPv6 header where IPv4's reads its own.
 *
 * Linux: net/ipv6/netfilter/ip6t_{eui64,ipv6header,frag,hbh,rt,rpfilter}.c, ip6_tables.c (icmp6_match), the IPv6 halves of
 * net/netfilter/xt_{addrtype,dscp,hl,iprange,length,pkttype,recent,ecn}.c. Nothing is allocated.
 */
import {
  ETH_HLEN,
  M_DATA,
  M_LEN,
  M_MAC,
  M_MARK,
  M_PKTTYPE,
  M_SK,
  META_SHIFT,
  PACKET_LOOPBACK,
  PACKET_MULTICAST,
} from '../../../packet/layout.ts'
import { DEV_LOOPBACK, type NetDevice } from '../../device/device.ts'
import { ipv6GetIfaddr } from '../../ipv6/addrconf.ts'
import { exthdr, ipv6FindHdr, NEXTHDR_FRAGMENT, NEXTHDR_ROUTING } from '../../ipv6/exthdrs-core.ts'
import { RTF_ANYCAST, RTF_LOCAL, RTF_REJECT } from '../../ipv6/fib6-route.ts'
import { Flowi6 } from '../../ipv6/flow6.ts'
import { IPV6_ADDR_ANY, IPV6_ADDR_LINKLOCAL, IPV6_ADDR_MULTICAST, IPV6_ADDR_UNICAST } from '../../ipv6/in6.ts'
import { ip6RouteLookupFlags, ip6RouteOutput, RT6_LOOKUP_F_HAS_SADDR, RT6_LOOKUP_F_IFACE } from '../../ipv6/route.ts'
import type { Netns } from '../../netns.ts'
import { RTN_ANYCAST, RTN_LOCAL, RTN_UNICAST, RTN_UNREACHABLE } from '../../route/rtn.ts'
import type { World } from '../../world.ts'
import { evalState, jiffies } from './eval-state.ts'
import * as K from './kinds.ts'
import { RPFILTER_ACCEPT_LOCAL, RPFILTER_INVERT, RPFILTER_LOOSE, RPFILTER_VALIDMARK } from './match-rpfilter.ts'
import type { IptProgram } from './program.ts'
import { recentMatch } from './recent-match.ts'

const ENOENT = -2
const flow = new Flowi6()

/** A number within bounds. */
export function inRange(lo: number, hi: number, v: number): boolean {
  return v >= lo && v <= hi
}

/** Whether a compiled match reads the IP header, so that IPv6 packets need another reading. */
export function isOfIpv6(kind: number): boolean {
  switch (kind) {
    case K.MATCH_ADDR6:
    case K.MATCH_ICMP6:
    case K.MATCH_HL:
    case K.MATCH_EUI64:
    case K.MATCH_IPV6HEADER:
    case K.MATCH_FRAG6:
    case K.MATCH_OPTS6:
    case K.MATCH_RT6:
    case K.MATCH_IPRANGE6:
    case K.MATCH_ADDRTYPE:
    case K.MATCH_RECENT:
    case K.MATCH_LENGTH:
    case K.MATCH_TOS:
    case K.MATCH_PKTTYPE:
    case K.MATCH_RPFILTER:
    case K.MATCH_ECN:
    case K.MATCH_IPVS:
      return true
    default:
      return false
  }
}

/** matchPacket for the kinds of isOfIpv6. */
export function matchPacket6(w: World, ns: Netns, p: IptProgram, at: number, slot: number): boolean {
  const words = p.words
  const s = evalState
  const { view, meta } = w.arena
  const a = at + 2
  const m = slot << META_SHIFT
  switch (words[at]) {
    case K.MATCH_ADDR6: {
      const inv = words[a]!
      return (
        headerMatches(view, s.nh + 8, words, a + 1) !== ((inv & 1) !== 0) &&
        headerMatches(view, s.nh + 24, words, a + 9) !== ((inv & 2) !== 0)
      )
    }
    case K.MATCH_ICMP6: {
      if (s.fragOff !== 0) return false
      if (s.end - s.th < 8) {
        s.hotdrop = true
        return false
      }
      const hit = words[a] === view.getUint8(s.th) && inRange(words[a + 1]!, words[a + 2]!, view.getUint8(s.th + 1))
      return hit !== (words[a + 3] === 1)
    }
    case K.MATCH_HL: {
      const hl = view.getUint8(s.nh + 7)
      const want = words[a + 1]!
      const mode = words[a]!
      return mode === 0 ? hl === want : mode === 1 ? hl !== want : mode === 2 ? hl < want : hl > want
    }
    case K.MATCH_EUI64:
      return matchEui64(view, meta[m + M_MAC]!, meta[m + M_DATA]!)
    case K.MATCH_IPV6HEADER:
      return matchIpv6header(view, meta[m + M_DATA]! + meta[m + M_LEN]!, words, a)
    case K.MATCH_FRAG6:
      return matchFrag(w, slot, words, a)
    case K.MATCH_OPTS6: {
      const found = findHeader(w, slot, words[a]!)
      if (found < 0) return false
      const length = (view.getUint8(found + 1) + 1) << 3
      if (s.end - found < length) {
        s.hotdrop = true
        return false
      }
      return words[a + 1] === 0 || (length === words[a + 2]) !== (words[a + 3] === 1)
    }
    case K.MATCH_RT6:
      return matchRt(w, slot, words, a)
    case K.MATCH_IPRANGE6: {
      const flags = words[a]!
      if ((flags & 1) !== 0 && within(view, s.nh + 8, words, a + 1) === ((flags & 4) !== 0)) return false
      return !((flags & 2) !== 0 && within(view, s.nh + 24, words, a + 9) === ((flags & 8) !== 0))
    }
    case K.MATCH_ADDRTYPE:
      return matchAddrtype(w, ns, words, a)
    case K.MATCH_RECENT: {
      let hops = view.getUint8(s.nh + 7)
      if (s.outDev !== null && meta[m + M_SK] === 0) hops++
      const table = p.recents[words[a]!]!
      const ip = w.in6.read(view, s.nh + (words[a + 5] === 1 ? 24 : 8))
      const key = typeof table.mask === 'number' ? ip : maskAddress(w, ip, table.mask)
      return recentMatch(table, words, a, key, hops, jiffies(w.nowNs))
    }
    case K.MATCH_LENGTH:
      // length_mt6: the payload length, jumbograms aside
      return inRange(words[a]!, words[a + 1]!, view.getUint16(s.nh + 4) + 40) !== (words[a + 2] === 1)
    case K.MATCH_TOS:
      return ((dsfield(view, s.nh) & words[a + 1]!) === words[a]!) !== (words[a + 2] === 1)
    case K.MATCH_PKTTYPE: {
      const type = meta[m + M_PKTTYPE] === PACKET_LOOPBACK ? PACKET_MULTICAST : meta[m + M_PKTTYPE]!
      return (type === words[a]) !== (words[a + 1] === 1)
    }
    case K.MATCH_RPFILTER:
      return matchRpfilter6(w, ns, slot, words[a]!)
    case K.MATCH_ECN:
      return matchEcn6(w, words, a)
    default:
      s.hotdrop = true
      s.unmodelled = 'match ipvs over IPv6'
      return false
  }
}

/** ipv6_get_dsfield */
export function dsfield(view: DataView, nh: number): number {
  return (view.getUint16(nh) >>> 4) & 0xff
}

/** ipv6_masked_addr_cmp over an address in a header. */
function headerMatches(view: DataView, off: number, words: Int32Array, a: number): boolean {
  for (let i = 0; i < 4; i++) if ((view.getInt32(off + 4 * i) & words[a + 4 + i]!) !== words[a + i]) return false
  return true
}

/** ipv6_masked_addr_cmp over an id: 4 words of the address, 4 of the mask. */
export function maskedEqual6(w: World, id: number, words: Int32Array, a: number): boolean {
  const table = w.in6.words
  for (let i = 0; i < 4; i++) if ((table[id * 4 + i]! & words[a + 4 + i]!) !== words[a + i]) return false
  return true
}

function maskAddress(w: World, id: number, mask: readonly [number, number, number, number]): number {
  const t = w.in6.words
  const at = id * 4
  return w.in6.intern(t[at]! & mask[0], t[at + 1]! & mask[1], t[at + 2]! & mask[2], t[at + 3]! & mask[3])
}

/** iprange_ipv6_lt and its opposite. */
function within(view: DataView, off: number, words: Int32Array, a: number): boolean {
  return compareAddress(view, off, words, a) >= 0 && compareAddress(view, off, words, a + 4) <= 0
}

function compareAddress(view: DataView, off: number, words: Int32Array, a: number): number {
  for (let i = 0; i < 4; i++) {
    const d = view.getUint32(off + 4 * i) - (words[a + i]! >>> 0)
    if (d !== 0) return d
  }
  return 0
}

/** ipv6_find_hdr as the header matches call it: its offset, -1 when it is not there; a bad chain is dropped. */
function findHeader(w: World, slot: number, target: number): number {
  const found = ipv6FindHdr(w, slot, target, 0)
  if (found >= 0) {
    if (exthdr.offset + 2 <= evalState.end) return exthdr.offset
    evalState.hotdrop = true
    return -1
  }
  if (found !== ENOENT) evalState.hotdrop = true
  return -1
}

/** eui64_mt6 */
function matchEui64(view: DataView, mac: number, data: number): boolean {
  const s = evalState
  if (mac < 0 || mac + ETH_HLEN > data) {
    if (s.fragOff !== 0) s.hotdrop = true
    return false
  }
  if (view.getUint16(mac + 12) !== 0x86dd || view.getUint8(s.nh) >>> 4 !== 6) return false
  const at = s.nh + 16
  return (
    view.getUint8(at) === (view.getUint8(mac + 6) ^ 2) &&
    view.getUint16(at + 1) === view.getUint16(mac + 7) &&
    view.getUint16(at + 3) === 0xfffe &&
    view.getUint8(at + 5) === view.getUint8(mac + 9) &&
    view.getUint16(at + 6) === view.getUint16(mac + 10)
  )
}

/** MASK_* of ip6t_ipv6header.c by next header, 0 for what ends the chain. */
function headerBit(nexthdr: number): number {
  switch (nexthdr) {
    case 0:
      return 0x80
    case 60:
      return 0x40
    case 43:
      return 0x20
    case 44:
      return 0x10
    case 51:
      return 0x08
    default:
      return 0
  }
}

/** ipv6header_mt6 */
function matchIpv6header(view: DataView, end: number, words: Int32Array, a: number): boolean {
  let nexthdr = view.getUint8(evalState.nh + 6)
  let at = evalState.nh + 40
  let seen = 0
  for (;;) {
    if (nexthdr === 59) {
      seen |= 0x02
      break
    }
    if (nexthdr === 50) {
      if (end - at < 2) return false
      seen |= 0x04
      break
    }
    const bit = headerBit(nexthdr)
    if (bit === 0) break
    if (end - at < 2) return false
    const length =
      nexthdr === 44 ? 8 : nexthdr === 51 ? (view.getUint8(at + 1) + 2) << 2 : (view.getUint8(at + 1) + 1) << 3
    seen |= bit
    nexthdr = view.getUint8(at)
    at += length
    if (at > end) break
  }
  if (nexthdr !== 59 && nexthdr !== 50) seen |= 0x01
  const want = words[a]!
  const inv = words[a + 1] === 1
  if (words[a + 2] === 1) return ((seen ^ want ^ (inv ? 0xff : 0)) & want) === 0
  return (seen === want) !== inv
}

/** frag_mt6 */
function matchFrag(w: World, slot: number, words: Int32Array, a: number): boolean {
  const at = findHeader(w, slot, NEXTHDR_FRAGMENT)
  if (at < 0) return false
  if (at + 8 > evalState.end) {
    evalState.hotdrop = true
    return false
  }
  const view = w.arena.view
  const flags = words[a + 3]!
  const id = view.getUint32(at + 4)
  if (inRange(words[a]! >>> 0, words[a + 1]! >>> 0, id) === (words[a + 2] === 1)) return false
  const off = view.getUint16(at + 2)
  if ((flags & 4) !== 0 && (view.getUint8(at + 1) !== 0 || (off & 6) !== 0)) return false
  if ((flags & 8) !== 0 && (off & ~7) !== 0) return false
  if ((flags & 16) !== 0 && (off & 1) === 0) return false
  return !((flags & 32) !== 0 && (off & 1) !== 0)
}

/** rt_mt6 without addresses. */
function matchRt(w: World, slot: number, words: Int32Array, a: number): boolean {
  const at = findHeader(w, slot, NEXTHDR_ROUTING)
  if (at < 0) return false
  const view = w.arena.view
  const length = (view.getUint8(at + 1) + 1) << 3
  if (evalState.end - at < length) {
    evalState.hotdrop = true
    return false
  }
  const inv = words[a + 4]!
  if (inRange(words[a + 1]! >>> 0, words[a + 2]! >>> 0, view.getUint8(at + 3)) === ((inv & 2) !== 0)) return false
  if (words[a + 3]! >= 0 && (length === words[a + 3]) === ((inv & 4) !== 0)) return false
  return !(words[a]! >= 0 && (view.getUint8(at + 2) === words[a]) === ((inv & 1) !== 0))
}

/** addrtype_mt_v1 over IPv6. */
function matchAddrtype(w: World, ns: Netns, words: Int32Array, a: number): boolean {
  const s = evalState
  const view = w.arena.view
  const flags = words[a + 2]!
  const dev = (flags & 4) !== 0 ? s.inDev : (flags & 8) !== 0 ? s.outDev : null
  if (words[a] !== 0) {
    if (typeMatches(w, ns, dev, w.in6.read(view, s.nh + 8), words[a]!) === ((flags & 1) !== 0)) return false
  }
  if (words[a + 1] !== 0) {
    if (typeMatches(w, ns, dev, w.in6.read(view, s.nh + 24), words[a + 1]!) === ((flags & 2) !== 0)) return false
  }
  return true
}

const LOOKED_UP = (1 << RTN_LOCAL) | (1 << RTN_ANYCAST) | (1 << RTN_UNREACHABLE)
const XT_ADDRTYPE_MULTICAST = 1 << 5

/** match_type6 */
function typeMatches(w: World, ns: Netns, dev: NetDevice | null, addr: number, mask: number): boolean {
  const type = w.in6.type(addr)
  if ((mask & XT_ADDRTYPE_MULTICAST) !== 0 && (type & IPV6_ADDR_MULTICAST) === 0) return false
  if ((mask & (1 << RTN_UNICAST)) !== 0 && (type & IPV6_ADDR_UNICAST) === 0) return false
  if ((mask & 1) !== 0 && (type & 0xffff) !== IPV6_ADDR_ANY) return false
  if ((mask & LOOKED_UP) === 0) return true
  return (mask & lookupTypes(ns, dev, addr, mask)) !== 0
}

const IFA_F_OPTIMISTIC = 0x04
const IFA_F_TENTATIVE = 0x40

/** ipv6_chk_addr(strict): the address is one of this device's and may be used. */
export function strictlyLocal(dev: NetDevice, addr: number): boolean {
  const ifa = ipv6GetIfaddr(dev, addr)
  return ifa !== null && (ifa.flags & (IFA_F_TENTATIVE | IFA_F_OPTIMISTIC)) !== IFA_F_TENTATIVE
}

/** match_lookup_rt6: bits of RTN_LOCAL, RTN_ANYCAST and RTN_UNREACHABLE. */
function lookupTypes(ns: Netns, dev: NetDevice | null, addr: number, mask: number): number {
  let types = 0
  if (dev !== null && (mask & (1 << RTN_LOCAL)) !== 0 && strictlyLocal(dev, addr)) types = 1 << RTN_LOCAL
  flow.reset()
  flow.daddr = addr
  if (dev !== null) flow.oif = dev.id
  const rt = ip6RouteOutput(ns, flow)
  if (rt.error !== 0) return 1 << RTN_UNREACHABLE
  if ((rt.flags & RTF_REJECT) !== 0) types = 1 << RTN_UNREACHABLE
  if (dev === null && rt.isLocal) types |= 1 << RTN_LOCAL
  return rt.isAnycast ? types | (1 << RTN_ANYCAST) : types
}

/** rpfilter_mt of IPv6. */
function matchRpfilter6(w: World, ns: Netns, slot: number, flags: number): boolean {
  const dev = evalState.inDev
  const invert = (flags & RPFILTER_INVERT) !== 0
  const m = slot << META_SHIFT
  if (dev === null || w.arena.meta[m + M_PKTTYPE] === PACKET_LOOPBACK || dev.kind === DEV_LOOPBACK) return !invert
  const saddr = w.in6.read(w.arena.view, evalState.nh + 8)
  // not routable: the forward path will drop it
  if (saddr === 0) return !invert
  return reverse6(w, ns, slot, dev, saddr, flags) !== invert
}

/** rpfilter_lookup_reverse6 */
function reverse6(w: World, ns: Netns, slot: number, dev: NetDevice, saddr: number, flags: number): boolean {
  const { nh } = evalState
  const view = w.arena.view
  const daddr = w.in6.read(view, nh + 24)
  flow.reset()
  flow.iif = ns.lo.id
  flow.daddr = saddr
  flow.flowlabel = view.getInt32(nh) & 0xfffff
  flow.tclass = dsfield(view, nh)
  flow.proto = view.getUint8(nh + 6)
  let lookup = 0
  if ((w.in6.type(daddr) & IPV6_ADDR_UNICAST) !== 0) {
    flow.saddr = daddr
    lookup |= RT6_LOOKUP_F_HAS_SADDR
  }
  if ((flags & RPFILTER_VALIDMARK) !== 0) flow.mark = w.arena.meta[(slot << META_SHIFT) + M_MARK]!
  if ((w.in6.type(saddr) & IPV6_ADDR_LINKLOCAL) !== 0) {
    lookup |= RT6_LOOKUP_F_IFACE
    flow.oif = dev.id
  } else if ((flags & RPFILTER_LOOSE) === 0) flow.oif = dev.id
  const rt = ip6RouteLookupFlags(ns, flow, lookup)
  if (rt.error !== 0 || (rt.flags & (RTF_REJECT | RTF_ANYCAST)) !== 0) return false
  if ((rt.flags & RTF_LOCAL) !== 0) return (flags & RPFILTER_ACCEPT_LOCAL) !== 0
  return rt.idev === dev || (flags & RPFILTER_LOOSE) !== 0
}

/** ecn_mt6 */
function matchEcn6(w: World, words: Int32Array, a: number): boolean {
  const s = evalState
  const view = w.arena.view
  const ops = words[a]!
  const inv = words[a + 1]!
  if ((ops & 4) !== 0 && ((dsfield(view, s.nh) & 3) === words[a + 2]) === ((inv & 4) !== 0)) return false
  if ((ops & 3) === 0) return true
  if (s.proto !== 6 || s.fragOff !== 0 || s.end - s.th < 20) return false
  const flags = view.getUint8(s.th + 13)
  if ((ops & 1) !== 0 && ((flags & 0x40) !== 0) === ((inv & 1) !== 0)) return false
  return !((ops & 2) !== 0 && ((flags & 0x80) !== 0) === ((inv & 2) !== 0))
}
