/**
 * Routing of packets that this host sends.
 *
 * Linux: net/ipv4/route.c (ip_route_output_key_hash_rcu, __mkroute_output, rt_set_nexthop, rt_cache_route),
 * net/ipv4/fib_semantics.c (fib_select_path, fib_result_prefsrc). Not modelled: multicast membership beyond 224.0.0.1,
 * fib_select_default, l3mdev, xfrm.
 */
import { IFF_LOOPBACK, IFF_UP, type NetDevice, RT_SCOPE_HOST, RT_SCOPE_LINK } from '../device/device.ts'
import { inetSelectAddr } from '../device/inet.ts'
import { EINVAL, ENETUNREACH } from '../errno.ts'
import type { Netns } from '../netns.ts'
import { findException, rtBindException } from './exception.ts'
import type { FibNhException } from './fib-nh.ts'
import { FibResult } from './fib-table.ts'
import type { Flowi4 } from './flow.ts'
import { fibSelectMultipath, multipathHashFlow } from './multipath.ts'
import { Rtable } from './rtable.ts'
import {
  DST_IN_LOCAL_DELIVER,
  DST_OUT_IP_MC_OUTPUT,
  DST_OUT_IP_OUTPUT,
  FLOWI_FLAG_ANYSRC,
  RTCF_BROADCAST,
  RTCF_LOCAL,
  RTCF_MULTICAST,
  RTN_BROADCAST,
  RTN_LOCAL,
  RTN_MULTICAST,
  RTN_UNICAST,
} from './rtn.ts'

/** INADDR_LOOPBACK */
const INADDR_LOOPBACK = 0x7f000001
/** INADDR_BROADCAST */
const INADDR_BROADCAST = -1
/** INADDR_ALLHOSTS_GROUP */
export const INADDR_ALLHOSTS_GROUP = 0xe0000001 | 0
/** IPPROTO_IGMP */
const IPPROTO_IGMP = 2

const res = new FibResult()
let lastErrno = 0

/** The negative errno of the last ipRouteOutput that gave null. */
export function routeErrno(): number {
  return lastErrno
}

function fail(errno: number): null {
  lastErrno = errno
  return null
}

/** rt_cache_valid */
export function rtCacheValid(ns: Netns, rt: Rtable | null): boolean {
  return rt !== null && rt.obsolete === 0 && rt.genid === ns.fib.genid
}

/** fib_result_prefsrc: the source address that the route prefers. */
export function fibResultPrefsrc(ns: Netns, r: FibResult): number {
  const route = r.route!
  if (route.prefsrc !== 0) return route.prefsrc
  const nh = r.nh!
  if (nh.saddrGenid !== ns.fib.addrGenid) {
    nh.saddr = inetSelectAddr(ns, nh.dev, nh.hasGateway ? nh.gateway : 0, route.scope)
    nh.saddrGenid = ns.fib.addrGenid
  }
  return nh.saddr
}

/** fib_select_path */
export function fibSelectPath(ns: Netns, r: FibResult, fl: Flowi4): void {
  if (fl.oif < 0 && r.route!.nexthops.length > 1) {
    fibSelectMultipath(r, multipathHashFlow(ns.fib.multipathKey, ns.sysctl.fib_multipath_hash_policy, fl), fl.saddr)
  }
  if (fl.saddr === 0) fl.saddr = fibResultPrefsrc(ns, r)
}

/** __ip_dev_find: the device that has the address, or holds a local route that covers it; null when none. */
export function ipDevFind(ns: Netns, ip: number): NetDevice | null {
  return ns.fib.ifaddrDev(ip) ?? ns.fib.localDev(ip)
}

/** flowi4_update_output, then ip_route_output_key again with what the first time filled in. */
export function ipRouteOutputAgain(ns: Netns, fl: Flowi4): Rtable | null {
  fl.oif = -1
  return ipRouteOutput(ns, fl)
}

/**
 * ip_route_output_key: fills fl.saddr and fl.daddr, and fl.oif where Linux does (local and group destinations).
 * @returns null with the reason in routeErrno()
 */
export function ipRouteOutput(ns: Netns, fl: Flowi4): Rtable | null {
  fl.iif = ns.lo.id
  let devOut: NetDevice | null = null
  let origOif = fl.oif
  res.route = null
  res.nh = null
  res.type = RTN_UNICAST
  res.prefixLength = 0
  const daddr = fl.daddr
  const multicast = daddr >>> 28 === 14
  if (fl.saddr !== 0) {
    if (fl.saddr >>> 28 === 14 || fl.saddr === INADDR_BROADCAST) return fail(EINVAL)
    if (fl.oif < 0 && (multicast || daddr === INADDR_BROADCAST)) {
      devOut = ipDevFind(ns, fl.saddr)
      if (devOut === null) return fail(ENETUNREACH)
      fl.oif = devOut.id
      return mkrouteOutput(ns, fl, origOif, devOut, 0)
    }
    if ((fl.flags & FLOWI_FLAG_ANYSRC) === 0 && ipDevFind(ns, fl.saddr) === null) return fail(ENETUNREACH)
  }
  if (fl.oif >= 0) {
    devOut = ns.world.devices[fl.oif] ?? null
    if (devOut === null || devOut.ns !== ns || (devOut.flags & IFF_UP) === 0) return fail(ENETUNREACH)
    if (daddr >>> 8 === 0xe00000 || daddr === INADDR_BROADCAST || fl.proto === IPPROTO_IGMP) {
      if (fl.saddr === 0) fl.saddr = inetSelectAddr(ns, devOut, 0, RT_SCOPE_LINK)
      return mkrouteOutput(ns, fl, origOif, devOut, 0)
    }
    if (fl.saddr === 0) {
      if (multicast) fl.saddr = inetSelectAddr(ns, devOut, 0, fl.scope)
      else if (daddr === 0) fl.saddr = inetSelectAddr(ns, devOut, 0, RT_SCOPE_HOST)
    }
  }
  if (daddr === 0) {
    fl.daddr = fl.saddr
    if (fl.daddr === 0) {
      fl.daddr = INADDR_LOOPBACK
      fl.saddr = INADDR_LOOPBACK
    }
    fl.oif = ns.lo.id
    res.type = RTN_LOCAL
    return mkrouteOutput(ns, fl, origOif, ns.lo, RTCF_LOCAL)
  }
  const err = ns.fib.lookup(fl, res, 0)
  if (err !== 0) {
    if (fl.oif < 0) return fail(err)
    // The routing tables are wrong: assume that the destination is on link.
    res.route = null
    res.nh = null
    if (fl.saddr === 0) fl.saddr = inetSelectAddr(ns, devOut, 0, RT_SCOPE_LINK)
    res.type = RTN_UNICAST
    return mkrouteOutput(ns, fl, origOif, devOut!, 0)
  }
  if (res.type === RTN_LOCAL) {
    if (fl.saddr === 0) fl.saddr = res.route!.prefsrc !== 0 ? res.route!.prefsrc : fl.daddr
    origOif = res.nh!.dev!.id
    fl.oif = ns.lo.id
    return mkrouteOutput(ns, fl, origOif, ns.lo, RTCF_LOCAL)
  }
  fibSelectPath(ns, res, fl)
  return mkrouteOutput(ns, fl, origOif, res.nh!.dev!, 0)
}

/** __mkroute_output */
function mkrouteOutput(ns: Netns, fl: Flowi4, origOif: number, dev: NetDevice, flags: number): Rtable | null {
  const loopback = (dev.flags & IFF_LOOPBACK) !== 0
  if (fl.saddr >>> 24 === 127 && !loopback && !dev.routeLocalnet()) return fail(EINVAL)
  let type = res.type
  let useFi = res.route !== null
  if (fl.daddr === INADDR_BROADCAST) {
    type = RTN_BROADCAST
    useFi = false
  } else if (fl.daddr >>> 28 === 14) type = RTN_MULTICAST
  else if (fl.daddr >>> 24 === 0) return fail(EINVAL)
  if (loopback) flags |= RTCF_LOCAL
  let doCache = true
  if (type === RTN_BROADCAST) flags |= RTCF_BROADCAST | RTCF_LOCAL
  else if (type === RTN_MULTICAST) {
    flags |= RTCF_MULTICAST
    if (fl.daddr === INADDR_ALLHOSTS_GROUP) {
      flags |= RTCF_LOCAL
      doCache = false
    }
    if (useFi && res.prefixLength < 4) useFi = false
  } else if (type === RTN_LOCAL && origOif >= 0 && origOif !== dev.id) doCache = false
  if (!useFi) doCache = false
  let fnhe: FibNhException | null = null
  const nh = useFi ? res.nh! : null
  if (nh !== null) {
    fnhe = findException(ns, nh, fl.daddr)
    if (doCache) {
      const cached = fnhe !== null ? fnhe.rthOutput : nh.rthOutput
      if (rtCacheValid(ns, cached)) return cached
    }
  }
  const rt = new Rtable(type, flags, dev, ns.fib.genid, false)
  rt.output = DST_OUT_IP_OUTPUT
  if ((flags & RTCF_LOCAL) !== 0) rt.input = DST_IN_LOCAL_DELIVER
  rt.iif = origOif
  if ((flags & (RTCF_BROADCAST | RTCF_MULTICAST)) !== 0 && (flags & RTCF_LOCAL) !== 0 && !loopback) {
    rt.output = DST_OUT_IP_MC_OUTPUT
  }
  if (nh !== null) rtSetNexthop(ns, rt, fl.daddr, res, fnhe, doCache)
  return rt
}

/** rt_set_nexthop: gateway, metrics and cache place of a new decision. */
export function rtSetNexthop(
  ns: Netns,
  rt: Rtable,
  daddr: number,
  r: FibResult,
  fnhe: FibNhException | null,
  doCache: boolean,
): void {
  const nh = r.nh!
  const route = r.route!
  rt.nh = nh
  rt.route = route
  rt.table = route.table
  if (nh.hasGateway && nh.scope === RT_SCOPE_LINK) {
    rt.usesGateway = true
    rt.hasGateway = true
    rt.gateway = nh.gateway
  }
  rt.mtuMetric = route.mtu
  rt.mtuMetricLocked = route.mtuLocked
  rt.advmssMetric = route.advmss
  if (fnhe !== null) rtBindException(ns, rt, fnhe, doCache)
  else if (doCache) {
    if (rt.isInput) nh.rthInput = rt
    else nh.rthOutput = rt
    return
  }
  if (!doCache && !rt.hasGateway) {
    rt.hasGateway = true
    rt.gateway = daddr
  }
}
