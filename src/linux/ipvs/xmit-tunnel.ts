/**
 * Tunnels to the real server: IPIP, GUE, GRE.
 *
 * Linux: ip_vs_tunnel_xmit, ip_vs_prepare_tunneled_skb, ipvs_gue_encap, ipvs_gre_encap (net/netfilter/ipvs/ip_vs_xmit.c),
 * gre_build_header, udp_flow_src_port. The outer header takes TTL, TOS and (with pmtu_disc) DF of the inner one; no tunnel
 * device is involved. GUE's source port is a flow hash in the range of local ports; the kernel seeds its hash at boot.
 * Not modelled: remote checksum offload (it only shows on packets without a complete checksum: there are none here).
 */
import {
  M_FLAGS,
  M_LEN,
  M_MAC,
  M_NH,
  M_OPTLEN,
  M_TH,
  META_SHIFT,
  SKB_IGNORE_DF,
  SKB_IPVS_PROPERTY,
} from '../../packet/layout.ts'
import { CSUM_MANGLED_0, internetChecksum, pseudoSumV4 } from '../../wire/checksum.ts'
import { freeSkb } from '../core/skb.ts'
import { ipSendCheck } from '../ip/options.ts'
import { ipLocalOut, ipSelectIdent } from '../ip/output.ts'
import { nfConntrackConfirm, nfResetCt } from '../netfilter/conntrack/core.ts'
import { NF_ACCEPT, NF_DROP, NF_STOLEN } from '../netfilter/hooks.ts'
import { R_CT_CLASH, R_NOMEM } from '../reasons.ts'
import { K_DADDR, K_FLAGS, K_WORDS } from './conn-table.ts'
import {
  IP_VS_CONN_F_NFCT,
  IP_VS_CONN_F_TUNNEL_TYPE_GRE,
  IP_VS_CONN_F_TUNNEL_TYPE_GUE,
  IP_VS_TUNNEL_ENCAP_FLAG_CSUM,
  IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM,
  IPPROTO_GRE,
  IPPROTO_IPIP,
  IPPROTO_UDP,
} from './flags.ts'
import type { IpVsIphdr } from './iphdr.ts'
import type { IpVs } from './ipvs.ts'
import {
  getOutRoute,
  outRouteSaddr,
  RT_MODE_LOCAL,
  RT_MODE_NON_LOCAL,
  RT_MODE_TUNNEL,
  tunnelHeaderBytes,
} from './out-route.ts'
import type { IpVsDest } from './service.ts'
import { sendOrContinue, txError } from './xmit.ts'

const IP_DF = 0x4000
const GRE_CSUM = 0x8000
const ETH_P_IP = 0x0800

/** ip_vs_tunnel_xmit */
export function tunnelXmit(ipvs: IpVs, slot: number, id: number, iph: IpVsIphdr): number {
  const { w, ns } = ipvs
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const dest = ipvs.conns.dest[id] ?? null
  if (dest === null) return txError(ipvs, slot)
  const daddr = ipvs.conns.rows[id * K_WORDS + K_DADDR]!
  const local = getOutRoute(ipvs, slot, dest, daddr, RT_MODE_LOCAL | RT_MODE_NON_LOCAL | RT_MODE_TUNNEL, iph)
  if (local < 0) return txError(ipvs, slot)
  if (local > 0) return sendOrContinue(ipvs, slot, id, true)
  const saddr = outRouteSaddr()
  const v = a.view
  const inner = meta[m + M_NH]!
  const tos = v.getUint8(inner + 1)
  const ttl = v.getUint8(inner + 8)
  const df = ns.sysctl.vs_pmtu_disc !== 0 && (v.getUint16(inner + 6) & IP_DF) !== 0
  ipSendCheck(v, inner)
  const room = 20 + tunnelHeaderBytes(dest)
  if (a.headroom(slot) < room + 32 && !a.resize(slot, meta[m + M_LEN]!)) {
    freeSkb(w, slot, R_NOMEM)
    return NF_STOLEN
  }
  const protocol = pushEncap(ipvs, slot, dest, saddr, daddr, iph)
  const nh = a.push(slot, 20)
  meta[m + M_TH] = nh + 20
  meta[m + M_NH] = nh
  meta[m + M_MAC] = -1
  meta[m + M_OPTLEN] = 0
  const ignoreDf = (meta[m + M_FLAGS]! & SKB_IGNORE_DF) !== 0
  v.setUint16(nh, 0x4500 | tos)
  v.setUint16(nh + 4, ipSelectIdent(ns, df, false, ignoreDf))
  v.setUint16(nh + 6, df ? IP_DF : 0)
  v.setUint8(nh + 8, ttl)
  v.setUint8(nh + 9, protocol)
  v.setInt32(nh + 12, saddr)
  v.setInt32(nh + 16, daddr)
  meta[m + M_FLAGS] = meta[m + M_FLAGS]! | SKB_IGNORE_DF | SKB_IPVS_PROPERTY
  // ip_vs_tunnel_xmit_prepare: the inner packet's connection is confirmed here, the outer one is another
  if ((ipvs.conns.rows[id * K_WORDS + K_FLAGS]! & IP_VS_CONN_F_NFCT) !== 0) {
    const verdict = nfConntrackConfirm(w, ns, slot)
    if (verdict === NF_DROP) {
      w.dropReason = w.dropReason || R_CT_CLASH
      return txError(ipvs, slot)
    }
    if (verdict !== NF_ACCEPT) return NF_STOLEN
  }
  nfResetCt(w, slot)
  ipLocalOut(w, ns, slot)
  return NF_STOLEN
}

/** Pushes what stands between the two IPv4 headers. @returns the outer header's protocol */
function pushEncap(ipvs: IpVs, slot: number, dest: IpVsDest, saddr: number, daddr: number, iph: IpVsIphdr): number {
  const a = ipvs.w.arena
  const v = a.view
  const m = slot << META_SHIFT
  const csum = (dest.tunFlags & (IP_VS_TUNNEL_ENCAP_FLAG_CSUM | IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM)) !== 0
  if (dest.tunType === IP_VS_CONN_F_TUNNEL_TYPE_GUE) {
    const sport = flowSourcePort(ipvs, iph)
    const udp = a.push(slot, 12)
    const length = a.meta[m + M_LEN]!
    v.setUint16(udp, sport)
    v.setUint16(udp + 2, dest.tunPort)
    v.setUint16(udp + 4, length)
    v.setUint16(udp + 6, 0)
    v.setUint32(udp + 8, IPPROTO_IPIP << 16)
    if (csum) {
      const check = internetChecksum(v, udp, length, pseudoSumV4(saddr, daddr, IPPROTO_UDP, length))
      v.setUint16(udp + 6, check === 0 ? CSUM_MANGLED_0 : check)
    }
    return IPPROTO_UDP
  }
  if (dest.tunType === IP_VS_CONN_F_TUNNEL_TYPE_GRE) {
    const withCsum = (dest.tunFlags & IP_VS_TUNNEL_ENCAP_FLAG_CSUM) !== 0
    const gre = a.push(slot, withCsum ? 8 : 4)
    v.setUint16(gre, withCsum ? GRE_CSUM : 0)
    v.setUint16(gre + 2, ETH_P_IP)
    if (withCsum) {
      v.setUint32(gre + 4, 0)
      v.setUint16(gre + 4, internetChecksum(v, gre, a.meta[m + M_LEN]!))
    }
    return IPPROTO_GRE
  }
  return IPPROTO_IPIP
}

/** udp_flow_src_port over the inner flow. */
function flowSourcePort(ipvs: IpVs, iph: IpVsIphdr): number {
  const min = ipvs.ns.sysctl.ip_local_port_range_min
  const max = ipvs.ns.sysctl.ip_local_port_range_max
  let h = Math.imul(iph.saddr ^ iph.daddr, 0x9e3779b1) ^ Math.imul(iph.sport + iph.dport, 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 15) ^ iph.protocol, 0xc2b2ae35)
  h ^= h << 16
  return Math.floor(((h >>> 0) * (max - min)) / 4294967296) + min
}
