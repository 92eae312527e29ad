/**
 * The routing interface that the rest of the kernel uses.
 *
 * Linux: include/net/route.h, net/ipv4/route.c (dst_check, ip_rt_send_redirect, ip_error is in ip/error.ts),
 * net/ipv4/netfilter.c (ip_route_me_harder), net/bridge/br_nf_core.c (fake_rtable).
 */
import { M_MARK, M_NH, META_SHIFT } from '../../packet/layout.ts'
import type { NetDevice } from '../device/device.ts'
import { ENETUNREACH } from '../errno.ts'
import type { Netns } from '../netns.ts'
import { T_FIB_OUTPUT } from '../trace.ts'
import type { World } from '../world.ts'
import { Flowi4 } from './flow.ts'
import { ipRouteOutput, routeErrno, rtCacheValid } from './output-route.ts'
import { Rtable } from './rtable.ts'
import { FLOWI_FLAG_ANYSRC, RT_TABLE_LOCAL, RTN_LOCAL, RTN_UNICAST, RTN_UNSPEC } from './rtn.ts'

export { ipv4LinkFailure } from '../ip/icmp.ts'
export { ipRtUpdatePmtu, ipv4Redirect, ipv4UpdatePmtu } from './exception.ts'
export { Flowi4 } from './flow.ts'
export { fibValidateSource, ipRouteInput } from './input-route.ts'
export { ipDevFind, ipRouteOutput, ipRouteOutputAgain, routeErrno } from './output-route.ts'
export { Rtable } from './rtable.ts'
export * from './rtn.ts'

const flow = new Flowi4()

/** inet_addr_type: RTN_* of an address by the local table. */
export function inetAddrType(ns: Netns, ip: number): number {
  return ns.fib.addrType(ip, null, RT_TABLE_LOCAL)
}

/** inet_dev_addr_type: as inetAddrType, but a route by another device does not count (unicast then). */
export function inetAddrTypeDev(ns: Netns, dev: NetDevice | null, ip: number): number {
  return ns.fib.addrType(ip, dev, RT_TABLE_LOCAL)
}

/** inet_addr_type_dev_table: the table of the device's VRF, which is the local table without one. */
export function inetAddrTypeDevTable(ns: Netns, _dev: NetDevice | null, ip: number): number {
  return ns.fib.addrType(ip, null, RT_TABLE_LOCAL)
}

/** dst_mtu: what fits, learned path MTU included. */
export function dstMtu(rt: Rtable): number {
  return rt.mtu()
}

/** ipv4_dst_check: false when a decision that was kept must be made again. */
export function dstCheck(ns: Netns, rt: Rtable): boolean {
  return rtCacheValid(ns, rt)
}

/** T_FIB_OUTPUT for a packet that got its decision. */
export function traceOutput(w: World, ns: Netns, slot: number, rt: Rtable): void {
  w.tracer!.step(T_FIB_OUTPUT, slot, ns, rt.dev, rt.type, rt.hasGateway ? rt.gateway : 0, rt.table, rt.route)
}

/**
 * ip_route_me_harder: a new decision for a locally made packet whose addresses, mark or TOS netfilter changed.
 * @param addrType RTN_* of the source when the caller knows it, RTN_UNSPEC to ask
 * @returns 0 or a negative errno
 */
export function ipRouteMeHarder(w: World, ns: Netns, slot: number, addrType: number): number {
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = w.arena.meta[m + M_NH]!
  const fl = flow.reset()
  const saddr = v.getInt32(nh + 12)
  const type = addrType === RTN_UNSPEC ? inetAddrType(ns, saddr) : addrType
  if (type === RTN_LOCAL || type === RTN_UNICAST) {
    fl.flags = FLOWI_FLAG_ANYSRC
    fl.saddr = saddr
  }
  fl.daddr = v.getInt32(nh + 16)
  fl.tos = v.getUint8(nh + 1) & 0xfc
  fl.mark = w.arena.meta[m + M_MARK]!
  if (ns.fib.needsPorts) {
    fl.proto = v.getUint8(nh + 9)
    const th = nh + ((v.getUint8(nh) & 15) << 2)
    if (fl.proto === 6 || fl.proto === 17 || fl.proto === 132) {
      fl.sport = v.getUint16(th)
      fl.dport = v.getUint16(th + 2)
    }
  }
  const rt = ipRouteOutput(ns, fl)
  if (rt === null) return routeErrno() || ENETUNREACH
  w.arena.dst[slot] = rt
  if (w.tracer !== null) traceOutput(w, ns, slot, rt)
  return rt.error
}

/** bridge_parent_rtable: the stand-in decision that a bridged packet carries through the IPv4 hooks. */
export function fakeRtable(bridge: NetDevice): Rtable {
  const br = bridge.bridge!
  if (br.fakeRtable === null) br.fakeRtable = new Rtable(RTN_UNSPEC, 0, bridge, -1, false)
  return br.fakeRtable
}
