/**
 * ICMP errors about balanced connections, in both directions.
 *
 * Linux: ip_vs_in_icmp, ip_vs_out_icmp, handle_response_icmp, ipvs_udp_decap, ipvs_gre_decap
 * (net/netfilter/ipvs/ip_vs_core.c). An error of a router on the real server's side reaches the client as the service's;
 * one of the client's side reaches the real server; one about a tunnel to a real server is turned into an error about the
 * client's packet.
 */
import { M_DATA, M_LEN, M_NH, META_SHIFT } from '../../packet/layout.ts'
import { internetChecksum } from '../../wire/checksum.ts'
import { consumeSkb } from '../core/skb.ts'
import { icmpSend } from '../ip/icmp.ts'
import { NF_ACCEPT, NF_DROP, NF_STOLEN } from '../netfilter/hooks.ts'
import { R_L4_CSUM, R_NO_ROUTE, R_PKT_TRUNC } from '../reasons.ts'
import { ipv4UpdatePmtu } from '../route/exception.ts'
import type { Rtable } from '../route/rtable.ts'
import { connPut } from './conn.ts'
import { K_FLAGS, K_IN_PKTS, K_WORDS } from './conn-table.ts'
import { countIn, countOut, gatherFragments, isFragment, markResponse, routeReply } from './core.ts'
import {
  IP_VS_CONN_F_FWD_MASK,
  IP_VS_CONN_F_MASQ,
  IP_VS_CONN_F_ONE_PACKET,
  IP_VS_CONN_F_TUNNEL_TYPE_GRE,
  IP_VS_CONN_F_TUNNEL_TYPE_GUE,
  IP_VS_CONN_F_TUNNEL_TYPE_IPIP,
  IPPROTO_GRE,
  IPPROTO_IPIP,
  IPPROTO_UDP,
} from './flags.ts'
import { IpVsIphdr } from './iphdr.ts'
import type { IpVs } from './ipvs.ts'
import { isBalanced } from './proto.ts'
import { scheduleVerdict, tryToSchedule } from './schedule.ts'
import { icmpXmit, natIcmp } from './xmit.ts'

/** `*related = 0`: the message is not an error that IPVS looks at; the caller goes on. */
export const NOT_RELATED = -1

const ICMP_DEST_UNREACH = 3
const ICMP_SOURCE_QUENCH = 4
const ICMP_TIME_EXCEEDED = 11
const ICMP_FRAG_NEEDED = 4
const IP_OFFSET = 0x1fff
const IP_DF = 0x4000
const GRE_CSUM = 0x8000
const ETH_P_IP = 0x0800

const ciph = new IpVsIphdr()

/** Reads the ICMP header: offset of the quoted header, NOT_RELATED, or a verdict below -1 (-2 accept, -3 drop, -4 stolen). */
function quotedOffset(ipvs: IpVs, slot: number, hook: number): number {
  const { meta, view } = ipvs.w.arena
  const m = slot << META_SHIFT
  let nh = meta[m + M_NH]!
  if (isFragment(view, nh)) {
    if (!gatherFragments(ipvs, slot, hook)) return -4
    nh = meta[m + M_NH]!
  }
  const end = nh + meta[m + M_LEN]!
  const icmp = nh + ((view.getUint8(nh) & 15) << 2)
  if (icmp + 8 > end) {
    ipvs.w.dropReason = R_PKT_TRUNC
    return -3
  }
  const type = view.getUint8(icmp)
  if (type !== ICMP_DEST_UNREACH && type !== ICMP_SOURCE_QUENCH && type !== ICMP_TIME_EXCEEDED) return NOT_RELATED
  return icmp + 28 > end ? -2 : icmp + 8
}

function verdictOf(offset: number): number {
  return offset === NOT_RELATED ? NOT_RELATED : offset === -2 ? NF_ACCEPT : offset === -3 ? NF_DROP : NF_STOLEN
}

/** The ICMP checksum of the packet is right. */
function checksumOk(ipvs: IpVs, slot: number): boolean {
  const { meta, view } = ipvs.w.arena
  const m = slot << META_SHIFT
  const nh = meta[m + M_NH]!
  const icmp = nh + ((view.getUint8(nh) & 15) << 2)
  if (internetChecksum(view, icmp, nh + meta[m + M_LEN]! - icmp) === 0) return true
  ipvs.w.dropReason = R_L4_CSUM
  return false
}

/** ip_vs_out_icmp: from the real server's side to the client. */
export function ipVsOutIcmp(ipvs: IpVs, slot: number, hook: number): number {
  const { meta, view } = ipvs.w.arena
  const m = slot << META_SHIFT
  const quoted = quotedOffset(ipvs, slot, hook)
  if (quoted < 0) return verdictOf(quoted)
  const nh = meta[m + M_NH]!
  ciph.fill(view, quoted, nh + meta[m + M_LEN]!, true, true)
  ciph.outerNh = nh
  if (!isBalanced(ciph.protocol) || !ciph.hasPorts) return NF_ACCEPT
  const id = ipvs.conns.outGet(ciph.protocol, ciph.daddr, ciph.dport, ciph.saddr, ciph.sport)
  if (id === 0) return NF_ACCEPT
  if ((ipvs.conns.rows[id * K_WORDS + K_FLAGS]! & IP_VS_CONN_F_FWD_MASK) === IP_VS_CONN_F_MASQ) {
    if (!checksumOk(ipvs, slot)) return NF_DROP
    natIcmp(ipvs, slot, id, ciph, true)
    if (!routeReply(ipvs, slot, hook)) {
      ipvs.w.dropReason = R_NO_ROUTE
      return NF_DROP
    }
  }
  countOut(ipvs, slot, id)
  markResponse(ipvs, slot, id)
  return NF_ACCEPT
}

/**
 * Looks behind the header of a tunnel to one of our real servers.
 * @returns offset of the inner header; 0 when this is no tunnel; -1 when it is one that is not ours or cannot be read
 */
function innerOfTunnel(ipvs: IpVs, slot: number, quoted: number, end: number): number {
  const view = ipvs.w.arena.view
  const protocol = view.getUint8(quoted + 9)
  const local = (ipvs.w.arena.dst[slot] as Rtable).isLocal
  const later = (view.getUint16(quoted + 6) & IP_OFFSET) !== 0
  const raddr = view.getInt32(quoted + 16)
  const th = quoted + ((view.getUint8(quoted) & 15) << 2)
  if (protocol === IPPROTO_IPIP) {
    if (later || !local) return -1
    const dest = ipvs.findTunnel(raddr, 0)
    if (dest === null || dest.tunType !== IP_VS_CONN_F_TUNNEL_TYPE_IPIP || th + 20 > end) return -1
    return th
  }
  if ((protocol !== IPPROTO_UDP && protocol !== IPPROTO_GRE) || !local) return 0
  if (later) return -1
  const header = protocol === IPPROTO_UDP ? gueHeader(ipvs, th, end, raddr) : greHeader(ipvs, th, end, raddr)
  if (header === 0) return 0
  const inner = th + header
  return inner + 20 <= end && view.getUint8(inner) >> 4 === 4 && (view.getUint8(inner) & 15) >= 5 ? inner : -1
}

/** ipvs_udp_decap */
function gueHeader(ipvs: IpVs, th: number, end: number, raddr: number): number {
  const view = ipvs.w.arena.view
  if (th + 12 > end) return 0
  const dest = ipvs.findTunnel(raddr, view.getUint16(th + 2))
  if (dest === null || dest.tunType !== IP_VS_CONN_F_TUNNEL_TYPE_GUE) return 0
  const first = view.getUint8(th + 8)
  if (first >> 5 !== 0 || view.getUint8(th + 9) !== IPPROTO_IPIP) return 0
  return 12 + ((first & 31) << 2)
}

/** ipvs_gre_decap */
function greHeader(ipvs: IpVs, th: number, end: number, raddr: number): number {
  const view = ipvs.w.arena.view
  if (th + 4 > end) return 0
  const dest = ipvs.findTunnel(raddr, 0)
  if (dest === null || dest.tunType !== IP_VS_CONN_F_TUNNEL_TYPE_GRE) return 0
  const flags = view.getUint16(th)
  if ((flags & ~GRE_CSUM) !== 0 || view.getUint16(th + 2) !== ETH_P_IP) return 0
  return flags !== 0 ? 8 : 4
}

/** ip_vs_in_icmp: from the client's side to the real server, also in FORWARD. */
export function ipVsInIcmp(ipvs: IpVs, slot: number, hook: number): number {
  const { meta, view } = ipvs.w.arena
  const m = slot << META_SHIFT
  let quoted = quotedOffset(ipvs, slot, hook)
  if (quoted < 0) return verdictOf(quoted)
  const nh = meta[m + M_NH]!
  const end = nh + meta[m + M_LEN]!
  const inner = innerOfTunnel(ipvs, slot, quoted, end)
  if (inner < 0) return NF_ACCEPT
  const outer = quoted
  if (inner > 0) quoted = inner
  const protocol = view.getUint8(quoted + 9)
  if (!isBalanced(protocol)) return NF_ACCEPT
  ciph.fill(view, quoted, end, inner === 0, true)
  ciph.outerNh = nh
  let id = 0
  if (ciph.hasPorts) id = ipvs.conns.inGet(protocol, ciph.caddr, ciph.cport, ciph.vaddr, ciph.vport)
  let created = false
  if (id === 0) {
    if (inner > 0 || ipvs.ns.sysctl.vs_schedule_icmp === 0) return NF_ACCEPT
    id = tryToSchedule(ipvs, slot, hook, ciph)
    if (id < 0) return scheduleVerdict(id)
    created = true
  }
  if (!checksumOk(ipvs, slot)) {
    if (created) connPut(ipvs, id)
    return NF_DROP
  }
  if (inner > 0) return tunnelError(ipvs, slot, id, outer, inner)
  countIn(ipvs, slot, id)
  const rows = ipvs.conns.rows
  rows[id * K_WORDS + K_IN_PKTS] = rows[id * K_WORDS + K_IN_PKTS]! + 1
  const onePacket = (rows[id * K_WORDS + K_FLAGS]! & IP_VS_CONN_F_ONE_PACKET) !== 0
  if (created && !onePacket) connPut(ipvs, id)
  const ret = icmpXmit(ipvs, slot, id, hook, ciph)
  if (created && onePacket) connPut(ipvs, id)
  return ret
}

/** An error about a tunnel packet of ours becomes an error about what was in it. */
function tunnelError(ipvs: IpVs, slot: number, id: number, outer: number, inner: number): number {
  const { w, ns } = ipvs
  const { meta, view } = w.arena
  const m = slot << META_SHIFT
  const icmp = outer - 8
  const type = view.getUint8(icmp)
  const code = view.getUint8(icmp + 1)
  let info = view.getInt32(icmp + 4)
  const end = meta[m + M_NH]! + meta[m + M_LEN]!
  meta[m + M_DATA] = outer
  meta[m + M_NH] = outer
  meta[m + M_LEN] = end - outer
  let answer = true
  if (type === ICMP_DEST_UNREACH && code === ICMP_FRAG_NEEDED) {
    let mtu = view.getUint16(icmp + 6)
    ipv4UpdatePmtu(w, ns, slot, mtu, -1, 0)
    if ((view.getUint16(inner + 6) & IP_DF) === 0) answer = false
    const rt = ipvs.conns.dest[id]?.rt ?? null
    if (rt !== null) mtu = rt.mtu()
    if (mtu > 88) mtu -= 20
    info = mtu
  }
  meta[m + M_DATA] = inner
  meta[m + M_NH] = inner
  meta[m + M_LEN] = end - inner
  if (answer) {
    icmpSend(w, slot, type, code, info)
    countOut(ipvs, slot, id)
  }
  consumeSkb(w, slot)
  return NF_STOLEN
}
