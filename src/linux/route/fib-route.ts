/**
 * A route in a table: struct fib_alias with its fib_info.
 *
 * Linux: net/ipv4/fib_lookup.h, include/net/ip_fib.h. Linux shares a fib_info between equal routes; here every route has
 * its own, which nobody can see from outside.
 */
import type { NetDevice } from '../device/device.ts'
import type { FibNh } from './fib-nh.ts'

/** A nexthop as `ip route` gives it. */
export interface NexthopSpec {
  readonly dev?: NetDevice | undefined
  /** Gateway, int32; absent when on link. */
  readonly via?: number | undefined
  /** As `ip route` counts: 1 is the default. */
  readonly weight?: number | undefined
  readonly onlink?: boolean | undefined
}

/** A route as netlink would carry it (struct fib_config). */
export interface RouteSpec {
  readonly dst: number
  readonly prefixLength: number
  readonly tos?: number | undefined
  /** RTN_*; unicast by default */
  readonly type?: number | undefined
  /** Main by default */
  readonly table?: number | undefined
  /** Priority; 0 by default */
  readonly metric?: number | undefined
  /** Absent: as ip(8) chooses it (host for local, link for broadcast and on-link, else universe). */
  readonly scope?: number | undefined
  /** RTPROT_*; boot by default, as ip(8) */
  readonly protocol?: number | undefined
  readonly prefsrc?: number | undefined
  readonly mtu?: number | undefined
  readonly mtuLocked?: boolean | undefined
  readonly advmss?: number | undefined
  /** Absent or empty for types without a nexthop. */
  readonly nexthops?: readonly NexthopSpec[] | undefined
}

/** A route. */
export class FibRoute {
  readonly table: number
  readonly dst: number
  readonly prefixLength: number
  readonly tos: number
  readonly type: number
  readonly scope: number
  readonly protocol: number
  readonly prefsrc: number
  readonly metric: number
  readonly mtu: number
  readonly mtuLocked: boolean
  readonly advmss: number
  readonly nexthops: readonly FibNh[]
  /** RTNH_F_DEAD / RTNH_F_LINKDOWN of the whole route. */
  flags = 0

  constructor(spec: RouteSpec, table: number, scope: number, nexthops: readonly FibNh[]) {
    this.table = table
    this.dst = spec.dst
    this.prefixLength = spec.prefixLength
    this.tos = spec.tos ?? 0
    this.type = spec.type ?? 1
    this.scope = scope
    this.protocol = spec.protocol ?? 3
    this.prefsrc = spec.prefsrc ?? 0
    this.metric = spec.metric ?? 0
    this.mtu = spec.mtu ?? 0
    this.mtuLocked = spec.mtuLocked ?? false
    this.advmss = spec.advmss ?? 0
    this.nexthops = nexthops
    for (const nh of nexthops) nh.route = this
  }
}
