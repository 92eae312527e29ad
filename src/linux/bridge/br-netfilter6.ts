/**
 * br_netfilter over IPv6 before the bridging decision: PRE_ROUTING for bridged frames, and DNAT on the bridge.
 *
 * Linux: net/bridge/br_netfilter_ipv6.c (br_nf_pre_routing_ipv6, br_nf_pre_routing_finish_ipv6, br_validate_ipv6),
 * net/netfilter/utils.c (nf_ip6_check_hbh_len). Jumbograms are dropped: no frame of ours is that large.
 */
import {
  ETH_P_IPV6,
  M_DATA,
  M_DEV,
  M_LEN,
  M_MAC,
  M_NFB_DADDR,
  M_NFB_IN,
  M_NFB_OUT,
  M_NFB_STATE,
  M_NH,
  M_PKTTYPE,
  M_PROTO,
  M_TH,
  META_SHIFT,
  NFB_IN_PREROUTING,
  NFB_PRESENT,
  PACKET_HOST,
} from '../../packet/layout.ts'
import { freeSkb } from '../core/skb.ts'
import { brValidateIpv6 } from '../ipv6/input.ts'
import { fakeRt6, ip6RouteInput } from '../ipv6/route.ts'
import type { Rt6 } from '../ipv6/rt6.ts'
import { NF_ACCEPT, NF_INET_PRE_ROUTING, nfHook6 } from '../netfilter/hooks.ts'
import { R_IP_HDR, R_NO_ROUTE } from '../reasons.ts'
import { T_BR_NETFILTER } from '../trace.ts'
import type { World } from '../world.ts'
import { finishBridge, restoreOtherhost, toHost } from './br-netfilter.ts'
import type { BridgePort } from './bridge.ts'
import { brPreRoutingRest } from './input.ts'

const IPV6_TLV_JUMBO = 194

/** nf_ip6_check_hbh_len: the options of a hop-by-hop header are whole, and none says that the packet is a jumbogram. */
function hopByHopOk(w: World, slot: number): boolean {
  const { meta, view } = w.arena
  const m = slot << META_SHIFT
  let off = meta[m + M_NH]! + 40
  const end = meta[m + M_DATA]! + meta[m + M_LEN]!
  if (off + 8 > end) return false
  let len = (view.getUint8(off + 1) + 1) << 3
  if (off + len > end) return false
  off += 2
  len -= 2
  while (len > 0) {
    const type = view.getUint8(off)
    if (type === 0) {
      off++
      len--
      continue
    }
    if (len < 2) return false
    const size = view.getUint8(off + 1) + 2
    if (size > len || type === IPV6_TLV_JUMBO) return false
    off += size
    len -= size
  }
  return len === 0
}

/** br_nf_pre_routing_ipv6. @returns true when the packet was taken, false when bridging just goes on */
export function brNfPreRouting6(w: World, slot: number, port: BridgePort): boolean {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const ns = port.dev.ns
  if (!port.bridge.nfCallIp6tables && ns.sysctl.bridge_nf_call_ip6tables === 0) return false
  const brDev = port.bridge.dev
  const nh = meta[m + M_NH]!
  const hop = meta[m + M_LEN]! >= 40 && a.view.getUint8(nh) >>> 4 === 6 && a.view.getUint8(nh + 6) === 0
  if ((hop && !hopByHopOk(w, slot)) || !brValidateIpv6(w, ns, slot)) {
    freeSkb(w, slot, R_IP_HDR)
    return true
  }
  meta[m + M_NFB_STATE] = NFB_PRESENT | NFB_IN_PREROUTING
  toHost(w, slot)
  meta[m + M_NFB_IN] = port.dev.id
  meta[m + M_NFB_OUT] = -1
  meta[m + M_NFB_DADDR] = w.in6.read(a.view, nh + 24)
  meta[m + M_PROTO] = ETH_P_IPV6
  meta[m + M_TH] = nh + 40
  meta[m + M_DEV] = brDev.id
  if (w.tracer !== null) w.tracer.step(T_BR_NETFILTER, slot, ns, brDev, NF_INET_PRE_ROUTING, 0, 0, null)
  if (nfHook6(w, ns, NF_INET_PRE_ROUTING, slot, brDev, null) !== NF_ACCEPT) return true
  restoreOtherhost(w, slot)
  meta[m + M_NFB_STATE] = meta[m + M_NFB_STATE]! & ~NFB_IN_PREROUTING
  const daddr = w.in6.read(a.view, meta[m + M_NH]! + 24)
  if (daddr !== meta[m + M_NFB_DADDR]) {
    if (finishDnat6(w, slot, port, daddr)) return true
  } else a.dst[slot] = fakeRt6(brDev)
  meta[m + M_DEV] = port.dev.id
  brPreRoutingRest(w, slot, port)
  return true
}

/** The daddr-was-changed half of br_nf_pre_routing_finish_ipv6. @returns true when the packet was taken */
function finishDnat6(w: World, slot: number, port: BridgePort, daddr: number): boolean {
  const a = w.arena
  const m = slot << META_SHIFT
  const brDev = port.bridge.dev
  ip6RouteInput(w, brDev.ns, slot)
  const rt = a.dst[slot] as Rt6
  if (rt.error !== 0) {
    freeSkb(w, slot, R_NO_ROUTE)
    return true
  }
  if (rt.dev === brDev) {
    const next = rt.nexthop(daddr)
    const nd = brDev.ns.nd
    finishBridge(w, slot, port, nd.lookup(brDev, next) ?? nd.create(brDev, next))
    return true
  }
  const mac = a.meta[m + M_MAC]!
  a.view.setUint16(mac, brDev.macHi)
  a.view.setInt32(mac + 2, brDev.macLo)
  a.meta[m + M_PKTTYPE] = PACKET_HOST
  return false
}
