import type { NetDevice } from '../device/device.ts'
import type { Netns } from '../netns.ts'
import type { World } from '../world.ts'
import type { Flowi4 } from './flow.ts'
import type { Rtable } from './rtable.ts'
export { Flowi4 } from './flow.ts'
export { Rtable } from './rtable.ts'
/** ip_route_input_noref. @returns 0 (arena.dst[slot] set) or an R_* reason */
export function ipRouteInput(_w: World, _ns: Netns, _slot: number, _dst: number, _src: number, _tos: number, _dev: NetDevice): number {
  return 0
}
/** ip_route_output_key: fills fl.saddr/daddr; null with w-independent errno in `routeErrno()`. */
export function ipRouteOutput(_ns: Netns, _fl: Flowi4): Rtable | null {
  return null
}
/** The negative errno of the last ipRouteOutput that gave null. */
export function routeErrno(): number {
  return 0
}
/** inet_addr_type: RTN_* of an address in the local table. */
export function inetAddrType(_ns: Netns, _ip: number): number {
  return 0
}
/** inet_dev_addr_type: only routes of that device count. */
export function inetAddrTypeDev(_ns: Netns, _dev: NetDevice | null, _ip: number): number {
  return 0
}
/** inet_addr_type_dev_table */
export function inetAddrTypeDevTable(_ns: Netns, _dev: NetDevice | null, _ip: number): number {
  return 0
}
/** fib_validate_source: <0 refused (errno), 0 ok, 1 ok and the sender is on the same link. */
export function fibValidateSource(_w: World, _ns: Netns, _slot: number, _src: number, _dst: number, _tos: number, _oif: number, _dev: NetDevice): number {
  return 0
}
/** dst_mtu of a decision for one destination: exceptions are part of the Rtable. */
export function dstMtu(rt: Rtable): number {
  return rt.mtu()
}
/** ip_rt_update_pmtu / __ip_rt_update_pmtu for the flow. */
export function ipRtUpdatePmtu(_ns: Netns, _rt: Rtable, _fl: Flowi4, _mtu: number): void {}
/** ipv4_update_pmtu: a packet's quoted header says that `mtu` was too much. proto etc. from the flow. */
export function ipv4UpdatePmtu(_w: World, _ns: Netns, _slot: number, _mtu: number, _oif: number, _proto: number): void {}
/** ipv4_redirect */
export function ipv4Redirect(_w: World, _ns: Netns, _slot: number, _oif: number, _proto: number): void {}
/** ipv4_link_failure: the neighbour did not answer; sends ICMP host unreachable and forgets what was cached. */
export function ipv4LinkFailure(_w: World, _slot: number): void {}
/** ip_route_me_harder (netfilter). addrType RTN_UNSPEC = ask. @returns 0 or a negative errno */
export function ipRouteMeHarder(_w: World, _ns: Netns, _slot: number, _addrType: number): number {
  return 0
}
/** dst_check: false when the cached decision must be looked up again. */
export function dstCheck(_ns: Netns, _rt: Rtable): boolean {
  return true
}
