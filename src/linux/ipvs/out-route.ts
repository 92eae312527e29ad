/**
 * The way to the real server: route, TTL and MTU of a request.
 *
 * Linux: __ip_vs_get_out_rt, do_output_route4, crosses_local_route_boundary, decrement_ttl, ensure_mtu_is_adequate
 * (net/netfilter/ipvs/ip_vs_xmit.c). A real server keeps its decision until it is no longer valid. Direct routing sends to
 * the real server itself whatever the packet's destination (FLOWI_FLAG_KNOWN_NH): its decision has the real server as
 * gateway.
 */
import { M_LEN, M_SK, META_SHIFT } from '../../packet/layout.ts'
import { ipDecreaseTtl } from '../ip/forward.ts'
import { icmpSend, ipv4LinkFailure } from '../ip/icmp.ts'
import { R_FRAG_NEEDED, R_IPVS_BOUNDARY, R_NO_ROUTE, R_TTL } from '../reasons.ts'
import { ipRtUpdatePmtu } from '../route/exception.ts'
import { Flowi4 } from '../route/flow.ts'
import { ipRouteOutput, rtCacheValid } from '../route/output-route.ts'
import { Rtable } from '../route/rtable.ts'
import { IP_VS_CONN_F_TUNNEL_TYPE_GRE, IP_VS_CONN_F_TUNNEL_TYPE_GUE, IP_VS_TUNNEL_ENCAP_FLAG_CSUM } from './flags.ts'
import type { IpVsIphdr } from './iphdr.ts'
import type { IpVs } from './ipvs.ts'
import type { IpVsDest } from './service.ts'

/** IP_VS_RT_MODE_* */
export const RT_MODE_LOCAL = 1
export const RT_MODE_NON_LOCAL = 2
export const RT_MODE_RDR = 4
export const RT_MODE_KNOWN_NH = 16
export const RT_MODE_TUNNEL = 32

const ICMP_DEST_UNREACH = 3
const ICMP_FRAG_NEEDED = 4
const ICMP_TIME_EXCEEDED = 11
const IP_DF = 0x4000
const IPV4_MIN_MTU = 68

const flow = new Flowi4()
const pmtuFlow = new Flowi4()
let outSaddr = 0

/** Source address of the last decision, for tunnels. */
export function outRouteSaddr(): number {
  return outSaddr
}

/** Bytes that a tunnel puts between the outer and the inner IPv4 header. */
export function tunnelHeaderBytes(dest: IpVsDest): number {
  if (dest.tunType === IP_VS_CONN_F_TUNNEL_TYPE_GUE) return 12
  if (dest.tunType !== IP_VS_CONN_F_TUNNEL_TYPE_GRE) return 0
  return (dest.tunFlags & IP_VS_TUNNEL_ENCAP_FLAG_CSUM) !== 0 ? 8 : 4
}

/** The decision of a real server, made when there is none or it is stale; null without a route. */
function destRoute(ipvs: IpVs, dest: IpVsDest, mode: number): Rtable | null {
  if (dest.rt !== null && rtCacheValid(ipvs.ns, dest.rtBase)) return dest.rt
  const fl = flow.reset()
  fl.daddr = dest.addr
  const base = ipRouteOutput(ipvs.ns, fl)
  dest.rtSaddr = fl.saddr
  dest.rtBase = base
  dest.rt = base === null || (mode & RT_MODE_KNOWN_NH) === 0 || base.hasGateway ? base : viaDest(base, dest.addr)
  return dest.rt
}

/** The decision `base` with the real server as the next hop. */
function viaDest(base: Rtable, gateway: number): Rtable {
  const rt = new Rtable(base.type, base.flags, base.dev, base.genid, base.isInput)
  rt.input = base.input
  rt.output = base.output
  rt.iif = base.iif
  rt.hasGateway = true
  rt.gateway = gateway
  rt.pmtu = base.pmtu
  rt.mtuLocked = base.mtuLocked
  rt.expiresNs = base.expiresNs
  rt.mtuMetric = base.mtuMetric
  rt.mtuMetricLocked = base.mtuMetricLocked
  rt.nh = base.nh
  rt.route = base.route
  rt.table = base.table
  return rt
}

/**
 * __ip_vs_get_out_rt: gives the packet its new decision (not when the real server is this host).
 * @param dest null for a bypass connection, which goes to `daddr`
 * @returns 1 local, 0 not, -1 refused: w.dropReason says why, the slot stays the caller's
 */
export function getOutRoute(
  ipvs: IpVs,
  slot: number,
  dest: IpVsDest | null,
  daddr: number,
  mode: number,
  iph: IpVsIphdr,
): number {
  const { w, ns } = ipvs
  const a = w.arena
  const m = slot << META_SHIFT
  const nh = iph.icmp ? iph.outerNh : iph.nh
  let rt: Rtable | null
  if (dest !== null) {
    rt = destRoute(ipvs, dest, mode)
    outSaddr = dest.rtSaddr
  } else {
    const fl = flow.reset()
    fl.daddr = daddr
    rt = ipRouteOutput(ns, fl)
    outSaddr = fl.saddr
  }
  if (rt === null) {
    ipv4LinkFailure(w, slot)
    w.dropReason = R_NO_ROUTE
    return -1
  }
  const local = rt.isLocal
  const old = a.dst[slot] as Rtable
  const sourceIsLoopback = a.view.getUint8(nh + 12) === 127
  if (
    local
      ? (mode & RT_MODE_LOCAL) === 0 || ((mode & RT_MODE_RDR) === 0 && !old.isLocal)
      : (mode & RT_MODE_NON_LOCAL) === 0 || sourceIsLoopback
  ) {
    w.dropReason = R_IPVS_BOUNDARY
    return -1
  }
  if (local) return 1
  if (a.view.getUint8(nh + 8) <= 1) {
    ns.count('Ip.InHdrErrors')
    icmpSend(w, slot, ICMP_TIME_EXCEEDED, 0, 0)
    w.dropReason = R_TTL
    return -1
  }
  ipDecreaseTtl(a.view, nh)
  let mtu = rt.mtu()
  if ((mode & RT_MODE_TUNNEL) !== 0) {
    mtu -= 20 + tunnelHeaderBytes(dest!)
    if (mtu < IPV4_MIN_MTU) {
      w.dropReason = R_FRAG_NEEDED
      return -1
    }
    if (a.meta[m + M_SK] !== 0 && !old.isInput) updatePmtu(ipvs, old, nh, mtu)
  }
  const tunnelIgnoresDf = (mode & RT_MODE_TUNNEL) !== 0 && ns.sysctl.vs_pmtu_disc === 0
  if (!tunnelIgnoresDf && (a.view.getUint16(nh + 6) & IP_DF) !== 0 && a.meta[m + M_LEN]! > mtu && !iph.icmp) {
    icmpSend(w, slot, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, mtu)
    w.dropReason = R_FRAG_NEEDED
    return -1
  }
  a.dst[slot] = rt
  return 0
}

/** maybe_update_pmtu: a socket of this host learns what its tunnel takes. */
function updatePmtu(ipvs: IpVs, rt: Rtable, nh: number, mtu: number): void {
  const v = ipvs.w.arena.view
  const fl = pmtuFlow.reset()
  fl.saddr = v.getInt32(nh + 12)
  fl.daddr = v.getInt32(nh + 16)
  fl.proto = v.getUint8(nh + 9)
  ipRtUpdatePmtu(ipvs.ns, rt, fl, mtu)
}
