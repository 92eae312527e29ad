/**
 * Routing of received packets, with the checks of their source.
 *
 * Linux: net/ipv4/route.c (ip_route_input_slow, ip_mkroute_input, __mkroute_input, ip_route_input_mc),
 * net/ipv4/fib_frontend.c (fib_validate_source). Not modelled: multicast routing, bc_forwarding, realms, l3mdev, tunnels'
 * keys, martian logging (log_martians).
 */
import { ETH_P_IP, M_FLAGS, M_MARK, M_NH, M_PROTO, META_SHIFT, SKB_DOREDIRECT } from '../../packet/layout.ts'
import { type NetDevice, RT_SCOPE_HOST } from '../device/device.ts'
import { inetAddrOnlink } from '../device/inet.ts'
import { EHOSTUNREACH } from '../errno.ts'
import type { Netns } from '../netns.ts'
import { R_MARTIAN_DEST, R_MARTIAN_SOURCE, R_MULTICAST, R_RPFILTER } from '../reasons.ts'
import { T_FIB_INPUT, T_RPFILTER } from '../trace.ts'
import type { World } from '../world.ts'
import { findException } from './exception.ts'
import type { FibRoute } from './fib-route.ts'
import { FIB_LOOKUP_IGNORE_LINKSTATE, FibResult } from './fib-table.ts'
import { Flowi4 } from './flow.ts'
import { fibSelectMultipath, multipathHashSkb } from './multipath.ts'
import { INADDR_ALLHOSTS_GROUP, rtCacheValid, rtSetNexthop } from './output-route.ts'
import { Rtable } from './rtable.ts'
import {
  DST_IN_ERROR,
  DST_IN_FORWARD,
  DST_IN_LOCAL_DELIVER,
  DST_OUT_IP_OUTPUT,
  INET_DSCP_MASK,
  RTCF_BROADCAST,
  RTCF_LOCAL,
  RTCF_MULTICAST,
  RTN_BROADCAST,
  RTN_LOCAL,
  RTN_MULTICAST,
  RTN_UNICAST,
  RTN_UNREACHABLE,
} from './rtn.ts'

const IPPROTO_IGMP = 2

const flow = new Flowi4()
const srcFlow = new Flowi4()
const res = new FibResult()
const srcRes = new FibResult()
/** R_* of the last fibValidateSource that refused. */
let refusal = 0

/**
 * ip_route_input_noref: decides what happens to a received packet; arena.dst[slot] holds the decision.
 * @returns 0, or the R_* reason for which the packet is dropped (it stays the caller's)
 */
export function ipRouteInput(
  w: World,
  ns: Netns,
  slot: number,
  daddr: number,
  saddr: number,
  tos: number,
  dev: NetDevice,
): number {
  if (daddr >>> 28 === 14) return routeInputMc(w, ns, slot, daddr, saddr, tos, dev)
  const dscp = tos & INET_DSCP_MASK
  const m = slot << META_SHIFT
  const ip = w.arena.meta[m + M_PROTO] === ETH_P_IP
  const mark = w.arena.meta[m + M_MARK]!
  if (ip && w.tracer === null) {
    const known = ns.fib.inputCache.find(ns.fib.genid, daddr, saddr, dscp, dev.id, mark)
    if (known !== null) {
      w.arena.dst[slot] = known
      return 0
    }
  }
  const reason = routeInputSlow(w, ns, slot, daddr, saddr, dscp, dev)
  if (reason === 0 && ip && (w.arena.meta[m + M_FLAGS]! & SKB_DOREDIRECT) === 0 && !ns.fib.needsPorts) {
    const rt = w.arena.dst[slot] as Rtable
    // only what hangs on the nexthop itself: no exception, no choice between nexthops
    const nh = rt.nh
    if (
      nh !== null &&
      nh.rthInput === rt &&
      nh.exceptions === null &&
      rt.route !== null &&
      rt.route.nexthops.length === 1
    ) {
      ns.fib.inputCache.store(ns.fib.genid, daddr, saddr, dscp, dev.id, mark, rt)
    }
  }
  if (reason === 0 && w.tracer !== null) {
    const rt = w.arena.dst[slot] as Rtable
    w.tracer.step(T_FIB_INPUT, slot, ns, rt.dev, rt.type, rt.hasGateway ? rt.gateway : 0, rt.table, rt.route)
  }
  return reason
}

/** ip_route_input_mc: only the all-hosts group is joined by every host. */
function routeInputMc(
  w: World,
  ns: Netns,
  slot: number,
  daddr: number,
  saddr: number,
  tos: number,
  dev: NetDevice,
): number {
  w.arena.dst[slot] = null
  if (daddr !== INADDR_ALLHOSTS_GROUP) return R_MULTICAST
  const m = slot << META_SHIFT
  if (saddr >>> 28 === 14 || saddr === -1 || w.arena.meta[m + M_PROTO] !== ETH_P_IP) return R_MARTIAN_SOURCE
  if (saddr >>> 24 === 127 && !dev.routeLocalnet()) return R_MARTIAN_SOURCE
  if (saddr >>> 24 === 0) {
    const proto = w.arena.view.getUint8(w.arena.meta[m + M_NH]! + 9)
    if (daddr >>> 8 !== 0xe00000 && proto !== IPPROTO_IGMP) return R_MARTIAN_SOURCE
  } else if (fibValidateSource(w, ns, slot, saddr, 0, tos & INET_DSCP_MASK, -1, dev) < 0) return refusal
  const rt = new Rtable(RTN_MULTICAST, RTCF_MULTICAST | RTCF_LOCAL, ns.lo, ns.fib.genid, true)
  rt.input = DST_IN_LOCAL_DELIVER
  w.arena.dst[slot] = rt
  return 0
}

function routeInputSlow(
  w: World,
  ns: Netns,
  slot: number,
  daddr: number,
  saddr: number,
  dscp: number,
  dev: NetDevice,
): number {
  const a = w.arena
  const m = slot << META_SHIFT
  a.dst[slot] = null
  if (saddr >>> 28 === 14 || saddr === -1) return R_MARTIAN_SOURCE
  res.route = null
  res.nh = null
  if (daddr === -1 || (saddr === 0 && daddr === 0)) return broadcastInput(w, ns, slot, saddr, dscp, dev)
  if (saddr >>> 24 === 0) return R_MARTIAN_SOURCE
  if (daddr >>> 24 === 0) return R_MARTIAN_DEST
  if (daddr >>> 24 === 127) {
    if (!dev.routeLocalnet()) return R_MARTIAN_DEST
  } else if (saddr >>> 24 === 127 && !dev.routeLocalnet()) return R_MARTIAN_SOURCE
  const fl = flow
  fl.oif = -1
  fl.iif = dev.id
  fl.mark = a.meta[m + M_MARK]!
  fl.tos = dscp
  fl.scope = 0
  fl.flags = 0
  fl.daddr = daddr
  fl.saddr = saddr
  readPorts(w, ns, slot, fl)
  const forward = dev.conf.forwarding !== 0
  const err = ns.fib.lookup(fl, res, 0)
  if (err !== 0) {
    const route = res.route as FibRoute | null
    const rt = errorRoute(ns, forward ? err : EHOSTUNREACH)
    rt.route = route
    rt.table = route === null ? 0 : route.table
    a.dst[slot] = rt
    return 0
  }
  if (res.type === RTN_BROADCAST) return broadcastInput(w, ns, slot, saddr, dscp, dev)
  if (res.type === RTN_LOCAL) {
    if (fibValidateSource(w, ns, slot, saddr, daddr, dscp, -1, dev) < 0) return refusal
    return localInput(w, ns, slot, 0)
  }
  if (!forward) {
    a.dst[slot] = errorRoute(ns, EHOSTUNREACH)
    return 0
  }
  if (res.type !== RTN_UNICAST) return R_MARTIAN_DEST
  if (res.route!.nexthops.length > 1) {
    fibSelectMultipath(res, multipathHashSkb(w, ns.fib.multipathKey, ns.sysctl.fib_multipath_hash_policy, slot, fl), 0)
  }
  return mkrouteInput(w, ns, slot, daddr, saddr, dscp, dev)
}

/** fib4_rules_early_flow_dissect: fills protocol and ports when some rule asks for them. */
function readPorts(w: World, ns: Netns, slot: number, fl: Flowi4): void {
  fl.proto = 0
  fl.sport = 0
  fl.dport = 0
  if (!ns.fib.needsPorts) return
  const m = slot << META_SHIFT
  if (w.arena.meta[m + M_PROTO] !== ETH_P_IP) return
  const v = w.arena.view
  const nh = w.arena.meta[m + M_NH]!
  fl.proto = v.getUint8(nh + 9)
  // no ports of any fragment, not even of the first one (no FLOW_DISSECTOR_F_PARSE_1ST_FRAG)
  if ((v.getUint16(nh + 6) & 0x3fff) !== 0) return
  if (fl.proto !== 6 && fl.proto !== 17 && fl.proto !== 132) return
  const th = nh + ((v.getUint8(nh) & 15) << 2)
  fl.sport = v.getUint16(th)
  fl.dport = v.getUint16(th + 2)
}

function errorRoute(ns: Netns, errno: number): Rtable {
  const rt = new Rtable(RTN_UNREACHABLE, 0, ns.lo, ns.fib.genid, true)
  rt.input = DST_IN_ERROR
  rt.error = errno
  return rt
}

function broadcastInput(w: World, ns: Netns, slot: number, saddr: number, dscp: number, dev: NetDevice): number {
  if (w.arena.meta[(slot << META_SHIFT) + M_PROTO] !== ETH_P_IP) return R_MARTIAN_DEST
  const route = res.route
  const nh = res.nh
  if (saddr >>> 24 !== 0 && fibValidateSource(w, ns, slot, saddr, 0, dscp, -1, dev) < 0) return refusal
  res.route = route
  res.nh = nh
  res.type = RTN_BROADCAST
  return localInput(w, ns, slot, RTCF_BROADCAST)
}

function localInput(w: World, ns: Netns, slot: number, flags: number): number {
  const nh = res.route === null ? null : res.nh
  if (nh !== null && rtCacheValid(ns, nh.rthInput)) {
    w.arena.dst[slot] = nh.rthInput
    return 0
  }
  const rt = new Rtable(res.type, flags | RTCF_LOCAL, ns.lo, ns.fib.genid, true)
  rt.input = DST_IN_LOCAL_DELIVER
  if (nh !== null) {
    rt.nh = nh
    rt.route = res.route
    rt.table = res.route!.table
    nh.rthInput = rt
  }
  w.arena.dst[slot] = rt
  return 0
}

/** __mkroute_input */
function mkrouteInput(
  w: World,
  ns: Netns,
  slot: number,
  daddr: number,
  saddr: number,
  dscp: number,
  dev: NetDevice,
): number {
  const a = w.arena
  const m = slot << META_SHIFT
  const nh = res.nh!
  const out = nh.dev!
  const onlink = fibValidateSource(w, ns, slot, saddr, daddr, dscp, out.id, dev)
  if (onlink < 0) return refusal
  const isIp = a.meta[m + M_PROTO] === ETH_P_IP
  if (out === dev) {
    const all = ns.sysctl.all
    if (isIp) {
      if (onlink === 1 && (dev.conf.send_redirects !== 0 || all.send_redirects !== 0)) {
        const shared = out.conf.shared_media !== 0 || all.shared_media !== 0
        if (shared || inetAddrOnlink(out, saddr, nh.hasGateway ? nh.gateway : 0)) {
          a.meta[m + M_FLAGS] = a.meta[m + M_FLAGS]! | SKB_DOREDIRECT
        }
      }
    } else if (dev.conf.proxy_arp_pvlan === 0 && all.proxy_arp_pvlan === 0) return R_MARTIAN_DEST
  }
  const fnhe = findException(ns, nh, daddr)
  const cached = fnhe !== null ? fnhe.rthInput : nh.rthInput
  if (rtCacheValid(ns, cached)) {
    a.dst[slot] = cached
    return 0
  }
  const rt = new Rtable(res.type, 0, out, ns.fib.genid, true)
  rt.input = DST_IN_FORWARD
  rt.output = DST_OUT_IP_OUTPUT
  rtSetNexthop(ns, rt, daddr, res, fnhe, true)
  a.dst[slot] = rt
  return 0
}

/**
 * fib_validate_source: may a packet with this source come in by `dev`?
 * @param oif device id that it will leave by, -1 when it is for this host
 * @returns negative when refused, 1 when the sender is on the link itself, else 0
 */
export function fibValidateSource(
  w: World,
  ns: Netns,
  slot: number,
  saddr: number,
  daddr: number,
  dscp: number,
  oif: number,
  dev: NetDevice,
): number {
  const rpf = dev.rpFilter()
  const all = ns.sysctl.all
  if (rpf === 0 && (dev.id !== oif || (dev.conf.send_redirects === 0 && all.send_redirects === 0))) {
    if (dev.conf.accept_local !== 0 || all.accept_local !== 0) return 0
    if (!ns.fib.hasCustomLocalRoutes && !ns.fib.hasCustomRules) {
      if (ns.fib.ifaddrDev(saddr) === null) return 0
      refusal = R_MARTIAN_SOURCE
      return -1
    }
  }
  const r = validateSource(w, ns, slot, saddr, daddr, dscp, oif, dev, rpf)
  if (w.tracer !== null && rpf !== 0) w.tracer.step(T_RPFILTER, slot, ns, dev, r < 0 ? 0 : 1, rpf, saddr, srcRes.route)
  return r
}

/** __fib_validate_source */
function validateSource(
  w: World,
  ns: Netns,
  slot: number,
  saddr: number,
  daddr: number,
  dscp: number,
  oif: number,
  dev: NetDevice,
  rpf: number,
): number {
  const fl = srcFlow
  fl.oif = -1
  fl.iif = oif < 0 ? ns.lo.id : oif
  fl.daddr = saddr
  fl.saddr = daddr
  fl.tos = dscp
  fl.scope = 0
  fl.flags = 0
  const vmark = dev.conf.src_valid_mark !== 0 || ns.sysctl.all.src_valid_mark !== 0
  fl.mark = vmark ? w.arena.meta[(slot << META_SHIFT) + M_MARK]! : 0
  readPorts(w, ns, slot, fl)
  const sport = fl.sport
  fl.sport = fl.dport
  fl.dport = sport
  refusal = R_RPFILTER
  if (ns.fib.lookup(fl, srcRes, 0) !== 0) return rpf !== 0 ? -1 : 0
  if (srcRes.type !== RTN_UNICAST) {
    const acceptLocal = dev.conf.accept_local !== 0 || ns.sysctl.all.accept_local !== 0
    if (srcRes.type !== RTN_LOCAL || !acceptLocal) {
      refusal = R_MARTIAN_SOURCE
      return -1
    }
  }
  if (usesDev(srcRes, dev) || (srcRes.type === RTN_LOCAL && dev === ns.lo)) {
    return srcRes.nh!.scope >= RT_SCOPE_HOST ? 1 : 0
  }
  if (dev.addrs.length === 0) return rpf !== 0 ? -1 : 0
  if (rpf === 1) return -1
  fl.oif = dev.id
  if (ns.fib.lookup(fl, srcRes, FIB_LOOKUP_IGNORE_LINKSTATE) !== 0 || srcRes.type !== RTN_UNICAST) return 0
  return srcRes.nh!.scope >= RT_SCOPE_HOST ? 1 : 0
}

/** fib_info_nh_uses_dev */
function usesDev(r: FibResult, dev: NetDevice): boolean {
  const nhs = r.route!.nexthops
  for (let i = 0; i < nhs.length; i++) if (nhs[i]!.dev === dev) return true
  return false
}
