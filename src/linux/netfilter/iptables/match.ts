/**
 * Matches on a packet: one integer switch over compiled kinds.
 *
 * Linux: net/netfilter/xt_{tcpudp,sctp,multiport,conntrack,mark,connmark,addrtype,statistic,recent,limit,length,dscp,hl,
 * mac,pkttype,iprange,physdev,set,tcpmss,ecn}.c, net/ipv4/netfilter/ip_tables.c (icmp_match). Nothing is allocated.
 */
import {
  ETH_HLEN,
  M_CT,
  M_CTINFO,
  M_DATA,
  M_DEV,
  M_MAC,
  M_MARK,
  M_NFB_IN,
  M_NFB_OUT,
  M_NFB_STATE,
  M_PKTTYPE,
  M_SK,
  META_SHIFT,
  NFB_PRESENT,
  PACKET_BROADCAST,
  PACKET_LOOPBACK,
  PACKET_MULTICAST,
} from '../../../packet/layout.ts'
import { DEV_LOOPBACK } from '../../device/device.ts'
import type { Netns } from '../../netns.ts'
import { inetAddrTypeDev } from '../../route/route.ts'
import type { World } from '../../world.ts'
import { IP_CT_IS_REPLY, IPS_DST_NAT, IPS_SRC_NAT } from '../conntrack/layout.ts'
import { ipSetTestPacket } from '../ipset/kernel.ts'
import { evalState, jiffies } from './eval-state.ts'
import * as K from './kinds.ts'
import {
  CT_STATE_DNAT,
  CT_STATE_SNAT,
  XT_CT_DIRECTION,
  XT_CT_EXPIRES,
  XT_CT_ORIGSRC,
  XT_CT_ORIGSRC_PORT,
  XT_CT_PROTO,
  XT_CT_STATE,
  XT_CT_STATUS,
} from './match-conntrack.ts'
import { matchIpvs } from './match-ipvs.ts'
import { PHYSDEV_BRIDGED, PHYSDEV_IN, PHYSDEV_ISIN, PHYSDEV_ISOUT, PHYSDEV_OUT } from './match-packet.ts'
import { matchRpfilter } from './match-rpfilter.ts'
import { inRange, isOfIpv6, maskedEqual6, matchPacket6 } from './match6.ts'
import type { IptProgram } from './program.ts'
import { ctStateBit } from './quick-rule.ts'
import { recentMatch } from './recent-match.ts'

/** Does the compiled match at word `at` match the packet? May set evalState.hotdrop. */
export function matchPacket(w: World, ns: Netns, p: IptProgram, at: number, slot: number): boolean {
  const words = p.words
  const s = evalState
  const view = w.arena.view
  const a = at + 2
  // most of what a Kubernetes node asks of an established packet
  if (words[at] === K.MATCH_CONNTRACK) return matchConntrack(w, ns, words, a, slot)
  if (s.family === 6 && isOfIpv6(words[at]!)) return matchPacket6(w, ns, p, at, slot)
  switch (words[at]) {
    case K.MATCH_TCP:
      return matchTcp(w, words, a)
    case K.MATCH_UDP:
    case K.MATCH_SCTP:
      if (s.fragOff !== 0) return false
      if (s.end - s.th < (words[at] === K.MATCH_UDP ? 8 : 12)) {
        s.hotdrop = true
        return false
      }
      return (
        inRange(words[a]!, words[a + 1]!, view.getUint16(s.th)) !== ((words[a + 4]! & 1) !== 0) &&
        inRange(words[a + 2]!, words[a + 3]!, view.getUint16(s.th + 2)) !== ((words[a + 4]! & 2) !== 0)
      )
    case K.MATCH_ICMP: {
      if (s.fragOff !== 0) return false
      if (s.end - s.th < 8) {
        s.hotdrop = true
        return false
      }
      const type = words[a]!
      const hit =
        type === 0xff ||
        (type === view.getUint8(s.th) && inRange(words[a + 1]!, words[a + 2]!, view.getUint8(s.th + 1)))
      return hit !== (words[a + 3] === 1)
    }
    case K.MATCH_MARK: {
      const mark = w.arena.meta[(slot << META_SHIFT) + M_MARK]!
      return ((mark & words[a + 1]!) === words[a]!) !== (words[a + 2] === 1)
    }
    case K.MATCH_CONNMARK: {
      const id = w.arena.meta[(slot << META_SHIFT) + M_CT]!
      if (id === 0 || ns.ct === null) return false
      return ((ns.ct.mark(id) & words[a + 1]!) === words[a]!) !== (words[a + 2] === 1)
    }
    case K.MATCH_MULTIPORT:
      return matchMultiport(w, words, a)
    case K.MATCH_ADDRTYPE: {
      const flags = words[a + 2]!
      const dev = (flags & 4) !== 0 ? s.inDev : (flags & 8) !== 0 ? s.outDev : null
      const source = words[a]!
      const dest = words[a + 1]!
      if (source !== 0) {
        const hit = (source & (1 << inetAddrTypeDev(ns, dev, view.getInt32(s.nh + 12)))) !== 0
        if (hit === ((flags & 1) !== 0)) return false
      }
      if (dest !== 0) {
        const hit = (dest & (1 << inetAddrTypeDev(ns, dev, view.getInt32(s.nh + 16)))) !== 0
        if (hit === ((flags & 2) !== 0)) return false
      }
      return true
    }
    case K.MATCH_STATISTIC_RANDOM:
      w.impure = true
      return (w.random.u32() & 0x7fffffff) < words[a]! >>> 0 !== (words[a + 1] === 1)
    case K.MATCH_STATISTIC_NTH: {
      w.impure = true
      const next = words[a + 1] === words[a] ? 0 : words[a + 1]! + 1
      words[a + 1] = next
      return (next === 0) !== (words[a + 2] === 1)
    }
    case K.MATCH_RECENT:
      w.impure = true
      return matchRecent(w, p, a, slot)
    case K.MATCH_SET: {
      w.impure = true
      const set = words[a]! < 0 ? null : p.sets[words[a]!]!
      if (set === null) return false
      const flags = words[a + 3]!
      const hit = ipSetTestPacket(w, set, slot, s.nh, words[a + 1]!, words[a + 2]!, flags, s.inDev, s.outDev)
      return hit !== ((flags & 1) !== 0)
    }
    case K.MATCH_PHYSDEV:
      return matchPhysdev(w, p, a, slot)
    case K.MATCH_LIMIT: {
      w.impure = true
      const limit = p.limits[words[a]!]!
      return limit.take(jiffies(w.nowNs))
    }
    case K.MATCH_LENGTH:
      w.impure = true
      return inRange(words[a]!, words[a + 1]!, view.getUint16(s.nh + 2)) !== (words[a + 2] === 1)
    case K.MATCH_TOS:
      return ((view.getUint8(s.nh + 1) & words[a + 1]!) === words[a]!) !== (words[a + 2] === 1)
    case K.MATCH_TTL: {
      const ttl = view.getUint8(s.nh + 8)
      const want = words[a + 1]!
      const mode = words[a]!
      return mode === 0 ? ttl === want : mode === 1 ? ttl !== want : mode === 2 ? ttl < want : ttl > want
    }
    case K.MATCH_MAC: {
      const m = slot << META_SHIFT
      const mac = w.arena.meta[m + M_MAC]!
      const dev = w.devices[w.arena.meta[m + M_DEV]!]
      // the device type of lo is not ARPHRD_ETHER
      if (
        dev == null ||
        !dev.ether ||
        dev.kind === DEV_LOOPBACK ||
        mac < 0 ||
        mac + ETH_HLEN > w.arena.meta[m + M_DATA]!
      )
        return false
      const hit = view.getUint16(mac + 6) === words[a] && view.getInt32(mac + 8) === words[a + 1]
      return hit !== (words[a + 2] === 1)
    }
    case K.MATCH_PKTTYPE: {
      let type = w.arena.meta[(slot << META_SHIFT) + M_PKTTYPE]!
      if (type === PACKET_LOOPBACK) type = view.getUint8(s.nh + 16) >>> 4 === 14 ? PACKET_MULTICAST : PACKET_BROADCAST
      return (type === words[a]) !== (words[a + 1] === 1)
    }
    case K.MATCH_IPRANGE: {
      const flags = words[a]!
      if ((flags & 1) !== 0) {
        const ip = view.getUint32(s.nh + 12)
        if ((ip >= words[a + 1]! >>> 0 && ip <= words[a + 2]! >>> 0) === ((flags & 4) !== 0)) return false
      }
      if ((flags & 2) !== 0) {
        const ip = view.getUint32(s.nh + 16)
        if ((ip >= words[a + 3]! >>> 0 && ip <= words[a + 4]! >>> 0) === ((flags & 8) !== 0)) return false
      }
      return true
    }
    case K.MATCH_IPVS:
      w.impure = true
      return matchIpvs(w, ns, slot, words, a)
    case K.MATCH_RPFILTER:
      return matchRpfilter(w, ns, slot, words[a]!)
    case K.MATCH_TCPMSS:
      w.impure = true
      return matchTcpmss(w, words, a)
    case K.MATCH_ECN:
      return matchEcn(w, words, a)
    default:
      s.hotdrop = true
      s.unmodelled = p.names[words[a]!] ?? 'match'
      return false
  }
}

/** tcp_mt */
function matchTcp(w: World, words: Int32Array, a: number): boolean {
  const s = evalState
  if (s.fragOff !== 0) {
    if (s.fragOff === 1) s.hotdrop = true
    return false
  }
  if (s.end - s.th < 20) {
    s.hotdrop = true
    return false
  }
  const view = w.arena.view
  const inv = words[a + 4]!
  if (inRange(words[a]!, words[a + 1]!, view.getUint16(s.th)) === ((inv & 1) !== 0)) return false
  if (inRange(words[a + 2]!, words[a + 3]!, view.getUint16(s.th + 2)) === ((inv & 2) !== 0)) return false
  if (((view.getUint8(s.th + 13) & words[a + 5]!) === words[a + 6]!) === ((inv & 4) !== 0)) return false
  const option = words[a + 7]!
  if (option === 0) return true
  w.impure = true
  if (view.getUint8(s.th + 12) >>> 4 < 5) {
    s.hotdrop = true
    return false
  }
  return findTcpOption(w, option) >= 0 !== ((inv & 8) !== 0)
}

/** Absolute offset of a TCP option, -1 when it is not there. */
export function findTcpOption(w: World, option: number): number {
  const s = evalState
  const view = w.arena.view
  const end = Math.min(s.th + (view.getUint8(s.th + 12) >>> 4) * 4, s.end)
  let i = s.th + 20
  while (i < end) {
    const kind = view.getUint8(i)
    if (kind === option) return i
    if (kind < 2) i++
    else i += i + 1 < end ? view.getUint8(i + 1) || 1 : 1
  }
  return -1
}

/** multiport_mt */
function matchMultiport(w: World, words: Int32Array, a: number): boolean {
  const s = evalState
  if (s.fragOff !== 0) return false
  if (s.end - s.th < 4) {
    s.hotdrop = true
    return false
  }
  const which = words[a]!
  const inv = words[a + 1] === 1
  const src = w.arena.view.getUint16(s.th)
  const dst = w.arena.view.getUint16(s.th + 2)
  const end = a + 3 + 2 * words[a + 2]!
  for (let i = a + 3; i < end; i += 2) {
    const lo = words[i]!
    const hi = words[i + 1]!
    if (((which & 1) !== 0 && inRange(lo, hi, src)) || ((which & 2) !== 0 && inRange(lo, hi, dst))) return !inv
  }
  return inv
}

/** conntrack_mt */
function matchConntrack(w: World, ns: Netns, words: Int32Array, a: number, slot: number): boolean {
  const m = slot << META_SHIFT
  const flags = words[a]!
  const inv = words[a + 1]!
  const id = w.arena.meta[m + M_CT]!
  const ctinfo = w.arena.meta[m + M_CTINFO]!
  const ct = ns.ct
  let bit = ctStateBit(id, ctinfo)
  const wanted = words[a + 2]!
  if (flags === XT_CT_STATE && (wanted & (CT_STATE_SNAT | CT_STATE_DNAT)) === 0) {
    return ((wanted & bit) !== 0) !== (inv !== 0)
  }
  const status = id !== 0 && ct !== null ? ct.status(id) : 0
  if ((flags & XT_CT_STATE) !== 0) {
    if ((status & IPS_SRC_NAT) !== 0) bit |= CT_STATE_SNAT
    if ((status & IPS_DST_NAT) !== 0) bit |= CT_STATE_DNAT
    if (((wanted & bit) !== 0) === ((inv & XT_CT_STATE) !== 0)) return false
  }
  if (id === 0 || ct === null) return (flags & XT_CT_STATE) !== 0
  if ((flags & ~(XT_CT_STATE | XT_CT_STATUS)) !== 0) {
    if ((flags & XT_CT_DIRECTION) !== 0) {
      const original = ctinfo < IP_CT_IS_REPLY
      if (original !== ((inv & XT_CT_DIRECTION) === 0)) return false
    }
    for (let i = 0; i < 4; i++) {
      const bitA = XT_CT_ORIGSRC << i
      if ((flags & bitA) !== 0) {
        const dir = i >> 1
        const ip = (i & 1) === 0 ? ct.src(id, dir) : ct.dst(id, dir)
        const hit =
          evalState.family === 6
            ? maskedEqual6(w, ip, words, a + 23 + 8 * i)
            : (ip & words[a + 6 + 2 * i]!) === words[a + 5 + 2 * i]!
        if (hit === ((inv & bitA) !== 0)) return false
      }
    }
    if ((flags & XT_CT_PROTO) !== 0 && (ct.proto(id) === words[a + 4]) === ((inv & XT_CT_PROTO) !== 0)) return false
    for (let i = 0; i < 4; i++) {
      const bitP = XT_CT_ORIGSRC_PORT << i
      if ((flags & bitP) !== 0) {
        const dir = i >> 1
        const port = (i & 1) === 0 ? ct.sport(id, dir) : ct.dport(id, dir)
        if (inRange(words[a + 13 + 2 * i]!, words[a + 14 + 2 * i]!, port) === ((inv & bitP) !== 0)) return false
      }
    }
  }
  if ((flags & XT_CT_STATUS) !== 0) {
    w.impure = true
    if (((words[a + 3]! & status) !== 0) === ((inv & XT_CT_STATUS) !== 0)) return false
  }
  if ((flags & XT_CT_EXPIRES) !== 0) {
    w.impure = true
    const left = Math.floor(ct.expiresNs(id) / 1e9)
    if (inRange(words[a + 21]! >>> 0, words[a + 22]! >>> 0, left) === ((inv & XT_CT_EXPIRES) !== 0)) return false
  }
  return true
}

/** recent_mt over IPv4. */
function matchRecent(w: World, p: IptProgram, a: number, slot: number): boolean {
  const s = evalState
  const t = p.recents[p.words[a]!]!
  const view = w.arena.view
  let ttl = view.getUint8(s.nh + 8)
  // the TTL as it was before forwarding
  if (s.outDev !== null && w.arena.meta[(slot << META_SHIFT) + M_SK] === 0) ttl++
  const ip = view.getInt32(s.nh + (p.words[a + 5] === 1 ? 16 : 12)) & (t.mask as number)
  return recentMatch(t, p.words, a, ip, ttl, jiffies(w.nowNs))
}

/** physdev_mt */
function matchPhysdev(w: World, p: IptProgram, a: number, slot: number): boolean {
  const m = slot << META_SHIFT
  const ops = p.words[a + 2]!
  const inv = p.words[a + 3]!
  if ((w.arena.meta[m + M_NFB_STATE]! & NFB_PRESENT) === 0) return (ops & ~inv) === 0
  const inDev = w.devices[w.arena.meta[m + M_NFB_IN]!] ?? null
  const outDev = w.devices[w.arena.meta[m + M_NFB_OUT]!] ?? null
  if ((ops & PHYSDEV_BRIDGED) !== 0 && (outDev !== null) === ((inv & PHYSDEV_BRIDGED) !== 0)) return false
  if ((ops & PHYSDEV_ISIN) !== 0 && (inDev !== null) === ((inv & PHYSDEV_ISIN) !== 0)) return false
  if ((ops & PHYSDEV_ISOUT) !== 0 && (outDev !== null) === ((inv & PHYSDEV_ISOUT) !== 0)) return false
  if ((ops & PHYSDEV_IN) !== 0 && inDev !== null) {
    const pattern = p.words[a]!
    const hit = pattern < 0 || p.interfaceRow(inDev.id, inDev.name)[pattern] === 1
    if (hit === ((inv & PHYSDEV_IN) !== 0)) return false
  }
  if ((ops & PHYSDEV_OUT) === 0) return true
  if (outDev === null) return false
  const pattern = p.words[a + 1]!
  const hit = pattern < 0 || p.interfaceRow(outDev.id, outDev.name)[pattern] === 1
  return hit !== ((inv & PHYSDEV_OUT) !== 0)
}

/** tcpmss_mt */
function matchTcpmss(w: World, words: Int32Array, a: number): boolean {
  const s = evalState
  if (s.fragOff !== 0) return false
  if (s.end - s.th < 20 || w.arena.view.getUint8(s.th + 12) >>> 4 < 5) {
    s.hotdrop = true
    return false
  }
  const at = findTcpOption(w, 2)
  if (at < 0 || at + 4 > s.end || w.arena.view.getUint8(at + 1) !== 4) return words[a + 2] === 1
  return inRange(words[a]!, words[a + 1]!, w.arena.view.getUint16(at + 2)) !== (words[a + 2] === 1)
}

/** ecn_mt4 */
function matchEcn(w: World, words: Int32Array, a: number): boolean {
  const s = evalState
  const view = w.arena.view
  const ops = words[a]!
  const inv = words[a + 1]!
  if ((ops & 4) !== 0 && ((view.getUint8(s.nh + 1) & 3) === words[a + 2]) === ((inv & 4) !== 0)) return false
  if ((ops & 3) === 0) return true
  if (s.proto !== 6 || s.fragOff !== 0 || s.end - s.th < 20) return false
  const flags = view.getUint8(s.th + 13)
  if ((ops & 1) !== 0 && ((flags & 0x40) !== 0) === ((inv & 1) !== 0)) return false
  return !((ops & 2) !== 0 && ((flags & 0x80) !== 0) === ((inv & 2) !== 0))
}
