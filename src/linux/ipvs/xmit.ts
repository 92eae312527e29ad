/**
 * Sending requests to the real server: masquerading, direct routing, local node, bypass; tunnels are in xmit-tunnel.ts.
 *
 * Linux: ip_vs_nat_xmit, ip_vs_dr_xmit, ip_vs_null_xmit, ip_vs_bypass_xmit, ip_vs_icmp_xmit, ip_vs_nat_icmp,
 * ip_vs_nat_send_or_cont, ip_vs_send_or_cont (net/netfilter/ipvs/ip_vs_xmit.c, ip_vs_core.c). What leaves goes through
 * LOCAL_OUT and POST_ROUTING as if made here. Quoted transport checksums in ICMP errors are not corrected, as in Linux.
 */
import { M_DEV, M_FLAGS, M_LEN, M_NH, META_SHIFT, SKB_IGNORE_DF, SKB_IPVS_PROPERTY } from '../../packet/layout.ts'
import { internetChecksum } from '../../wire/checksum.ts'
import { freeSkb } from '../core/skb.ts'
import { ipSendCheck } from '../ip/options.ts'
import { dstOutput } from '../ip/output.ts'
import { NF_ACCEPT, NF_INET_FORWARD, NF_INET_LOCAL_OUT, NF_STOLEN, nfHook } from '../netfilter/hooks.ts'
import { R_IPVS_BOUNDARY, R_L4_HDR, R_NONE } from '../reasons.ts'
import type { Rtable } from '../route/rtable.ts'
import { T_IPVS_XMIT } from '../trace.ts'
import { K_DADDR, K_DPORT, K_FLAGS, K_VADDR, K_VPORT, K_WORDS } from './conn-table.ts'
import {
  IP_VS_CONN_F_BYPASS,
  IP_VS_CONN_F_DROUTE,
  IP_VS_CONN_F_FWD_MASK,
  IP_VS_CONN_F_MASQ,
  IP_VS_CONN_F_NFCT,
  IP_VS_CONN_F_TUNNEL,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
} from './flags.ts'
import type { IpVsIphdr } from './iphdr.ts'
import type { IpVs } from './ipvs.ts'
import { notrack, updateConntrack } from './nfct.ts'
import { getOutRoute, RT_MODE_KNOWN_NH, RT_MODE_LOCAL, RT_MODE_NON_LOCAL, RT_MODE_RDR } from './out-route.ts'
import { dnatHandler } from './proto.ts'
import { tunnelXmit } from './xmit-tunnel.ts'

/** `cp->packet_xmit`: NF_ACCEPT when the packet goes on to this host, NF_STOLEN when it is gone. */
export function connXmit(ipvs: IpVs, slot: number, id: number, iph: IpVsIphdr): number {
  const w = ipvs.w
  const e = id * K_WORDS
  const rows = ipvs.conns.rows
  const method = rows[e + K_FLAGS]! & IP_VS_CONN_F_FWD_MASK
  if (w.tracer !== null) {
    const dev = w.devices[w.arena.meta[(slot << META_SHIFT) + M_DEV]!] ?? null
    w.tracer.step(
      T_IPVS_XMIT,
      slot,
      ipvs.ns,
      dev,
      method,
      rows[e + K_DADDR]!,
      rows[e + K_DPORT]!,
      ipvs.conns.dest[id] ?? null,
    )
  }
  switch (method) {
    case IP_VS_CONN_F_MASQ:
      return natXmit(ipvs, slot, id, iph)
    case IP_VS_CONN_F_TUNNEL:
      return tunnelXmit(ipvs, slot, id, iph)
    case IP_VS_CONN_F_DROUTE:
      return plainXmit(ipvs, slot, id, iph, RT_MODE_LOCAL | RT_MODE_NON_LOCAL | RT_MODE_KNOWN_NH)
    case IP_VS_CONN_F_BYPASS:
      return plainXmit(ipvs, slot, id, iph, RT_MODE_NON_LOCAL)
    default:
      return sendOrContinue(ipvs, slot, id, true)
  }
}

/** The end of a packet that cannot be sent; w.dropReason names the cause. */
export function txError(ipvs: IpVs, slot: number): number {
  const w = ipvs.w
  const reason = w.dropReason
  w.dropReason = R_NONE
  freeSkb(w, slot, reason === R_NONE ? R_IPVS_BOUNDARY : reason)
  return NF_STOLEN
}

/** NF_HOOK(LOCAL_OUT, ..., dst_output): the packet as if made here. */
function localOut(ipvs: IpVs, slot: number): number {
  const rt = ipvs.w.arena.dst[slot] as Rtable
  if (nfHook(ipvs.w, ipvs.ns, NF_INET_LOCAL_OUT, slot, null, rt.dev) === NF_ACCEPT) dstOutput(ipvs.w, ipvs.ns, slot)
  return NF_STOLEN
}

function setProperty(ipvs: IpVs, slot: number): void {
  const f = (slot << META_SHIFT) + M_FLAGS
  ipvs.w.arena.meta[f] = ipvs.w.arena.meta[f]! | SKB_IPVS_PROPERTY
}

/** ip_vs_send_or_cont */
export function sendOrContinue(ipvs: IpVs, slot: number, id: number, local: boolean): number {
  setProperty(ipvs, slot)
  if ((ipvs.conns.rows[id * K_WORDS + K_FLAGS]! & IP_VS_CONN_F_NFCT) === 0) notrack(ipvs, slot)
  return local ? NF_ACCEPT : localOut(ipvs, slot)
}

/** ip_vs_nat_send_or_cont */
function natSendOrContinue(ipvs: IpVs, slot: number, id: number, local: boolean): number {
  setProperty(ipvs, slot)
  if ((ipvs.conns.rows[id * K_WORDS + K_FLAGS]! & IP_VS_CONN_F_NFCT) === 0) notrack(ipvs, slot)
  else updateConntrack(ipvs, slot, id, true)
  return local ? NF_ACCEPT : localOut(ipvs, slot)
}

function setIgnoreDf(ipvs: IpVs, slot: number): void {
  const f = (slot << META_SHIFT) + M_FLAGS
  ipvs.w.arena.meta[f] = ipvs.w.arena.meta[f]! | SKB_IGNORE_DF
}

/** ip_vs_nat_xmit */
function natXmit(ipvs: IpVs, slot: number, id: number, iph: IpVsIphdr): number {
  const a = ipvs.w.arena
  const rows = ipvs.conns.rows
  const daddr = rows[id * K_WORDS + K_DADDR]!
  const wasInput = (a.dst[slot] as Rtable).isInput
  const dest = ipvs.conns.dest[id] ?? null
  const local = getOutRoute(ipvs, slot, dest, daddr, RT_MODE_LOCAL | RT_MODE_NON_LOCAL | RT_MODE_RDR, iph)
  if (local < 0 || (local > 0 && daddr >>> 24 === 127 && wasInput)) return txError(ipvs, slot)
  if (!dnatHandler(ipvs, id, a.view, iph)) {
    ipvs.w.dropReason = R_L4_HDR
    return txError(ipvs, slot)
  }
  a.view.setInt32(iph.nh + 16, daddr)
  ipSendCheck(a.view, iph.nh)
  setIgnoreDf(ipvs, slot)
  return natSendOrContinue(ipvs, slot, id, local > 0)
}

/** ip_vs_dr_xmit, ip_vs_bypass_xmit: the packet as it came, TTL aside. */
function plainXmit(ipvs: IpVs, slot: number, id: number, iph: IpVsIphdr, mode: number): number {
  const dest = ipvs.conns.dest[id] ?? null
  const local = getOutRoute(ipvs, slot, dest, iph.daddr, mode, iph)
  if (local < 0) return txError(ipvs, slot)
  if (local > 0) return sendOrContinue(ipvs, slot, id, true)
  ipSendCheck(ipvs.w.arena.view, ipvs.w.arena.meta[(slot << META_SHIFT) + M_NH]!)
  setIgnoreDf(ipvs, slot)
  return sendOrContinue(ipvs, slot, id, false)
}

/** ip_vs_icmp_xmit: an ICMP error of the client's side follows its connection; `ciph` is the quoted packet. */
export function icmpXmit(ipvs: IpVs, slot: number, id: number, hook: number, ciph: IpVsIphdr): number {
  const rows = ipvs.conns.rows
  const e = id * K_WORDS
  if ((rows[e + K_FLAGS]! & IP_VS_CONN_F_FWD_MASK) !== IP_VS_CONN_F_MASQ) return connXmit(ipvs, slot, id, ciph)
  const wasInput = (ipvs.w.arena.dst[slot] as Rtable).isInput
  const mode = hook !== NF_INET_FORWARD ? RT_MODE_LOCAL | RT_MODE_NON_LOCAL | RT_MODE_RDR : RT_MODE_NON_LOCAL
  const daddr = rows[e + K_DADDR]!
  const local = getOutRoute(ipvs, slot, ipvs.conns.dest[id] ?? null, daddr, mode, ciph)
  if (local < 0 || (local > 0 && daddr >>> 24 === 127 && wasInput)) return txError(ipvs, slot)
  natIcmp(ipvs, slot, id, ciph, false)
  setIgnoreDf(ipvs, slot)
  return natSendOrContinue(ipvs, slot, id, local > 0)
}

/** ip_vs_nat_icmp: outer address, quoted address and port. `inout`: towards the client. */
export function natIcmp(ipvs: IpVs, slot: number, id: number, ciph: IpVsIphdr, inout: boolean): void {
  const a = ipvs.w.arena
  const v = a.view
  const m = slot << META_SHIFT
  const nh = a.meta[m + M_NH]!
  const end = nh + a.meta[m + M_LEN]!
  const rows = ipvs.conns.rows
  const e = id * K_WORDS
  const addr = rows[e + (inout ? K_VADDR : K_DADDR)]!
  v.setInt32(nh + (inout ? 12 : 16), addr)
  ipSendCheck(v, nh)
  v.setInt32(ciph.nh + (inout ? 16 : 12), addr)
  ipSendCheck(v, ciph.nh)
  const proto = ciph.protocol
  if (proto === IPPROTO_TCP || proto === IPPROTO_UDP || proto === IPPROTO_SCTP) {
    v.setUint16(ciph.th + (inout ? 2 : 0), rows[e + (inout ? K_VPORT : K_DPORT)]!)
  }
  const icmp = nh + ((v.getUint8(nh) & 15) << 2)
  v.setUint16(icmp + 2, 0)
  v.setUint16(icmp + 2, internetChecksum(v, icmp, end - icmp))
}
