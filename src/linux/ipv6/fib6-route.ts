/**
 * An IPv6 route in a table: struct fib6_info with its nexthops.
 *
 * Linux: include/net/ip6_fib.h, include/net/ip6_route.h. A multipath route is one Fib6Route with several nexthops here,
 * a ring of siblings in Linux. Not modelled: source-specific routes (`from`), nexthop objects, encapsulation, expiry of
 * routes from router advertisements.
 */
import type { NetDevice } from '../device/device.ts'
import type { Rt6 } from './rt6.ts'

export const RT6_TABLE_MAIN = 254
export const RT6_TABLE_LOCAL = 255
/** IP6_RT_PRIO_USER, IP6_RT_PRIO_ADDRCONF: metrics when none is given. */
export const IP6_RT_PRIO_USER = 1024
export const IP6_RT_PRIO_ADDRCONF = 256

/** RTF_*, include/uapi/linux/ipv6_route.h, include/uapi/linux/route.h. */
export const RTF_UP = 0x0001
export const RTF_GATEWAY = 0x0002
export const RTF_DYNAMIC = 0x0010
export const RTF_REJECT = 0x0200
export const RTF_MODIFIED = 0x0020
export const RTF_CACHE = 0x01000000
export const RTF_NONEXTHOP = 0x00200000
export const RTF_LOCAL = -0x80000000
export const RTF_ANYCAST = 0x00100000

/** What was learned about one destination behind a nexthop: rt6_exception. */
export interface Rt6Exception {
  readonly rt: Rt6
}

/** A nexthop as `ip -6 route` gives it. */
export interface Nexthop6Spec {
  readonly dev?: NetDevice | undefined
  /** In6Table id, absent when on link. */
  readonly via?: number | undefined
  readonly weight?: number | undefined
  readonly onlink?: boolean | undefined
}

/** One nexthop: struct fib6_nh. */
export class Fib6Nh {
  readonly dev: NetDevice | null
  /** In6Table id, 0 when on link. */
  readonly gateway: number
  readonly weight: number
  /** RTNH_F_* */
  flags: number
  /** `fib_nh_upper_bound` */
  upperBound = -1
  /** `rt6i_pcpu` and the generation that it is good for. */
  rt: Rt6 | null = null
  rtGenid = -1
  /** `rt6i_exception_bucket` by destination. */
  exceptions: Map<number, Rt6> | null = null
  route!: Fib6Route

  constructor(dev: NetDevice | null, gateway: number, weight: number, flags: number) {
    this.dev = dev
    this.gateway = gateway
    this.weight = weight
    this.flags = flags
  }
}

/** A route as netlink would carry it (struct fib6_config). */
export interface Route6Spec {
  readonly dst: number
  readonly prefixLength: number
  /** RTN_*; unicast by default */
  readonly type?: number | undefined
  readonly table?: number | undefined
  /** 1024 by default */
  readonly metric?: number | undefined
  /** RTPROT_*; boot by default */
  readonly protocol?: number | undefined
  readonly prefsrc?: number | undefined
  readonly mtu?: number | undefined
  readonly mtuLocked?: boolean | undefined
  readonly advmss?: number | undefined
  readonly hoplimit?: number | undefined
  readonly nexthops?: readonly Nexthop6Spec[] | undefined
}

/** A route. */
export class Fib6Route {
  readonly table: number
  readonly dst: number
  readonly prefixLength: number
  readonly type: number
  readonly metric: number
  readonly protocol: number
  readonly prefsrc: number
  readonly mtu: number
  readonly mtuLocked: boolean
  readonly advmss: number
  readonly hoplimit: number
  /** RTF_* */
  readonly flags: number
  nexthops: Fib6Nh[]

  constructor(spec: Route6Spec, table: number, flags: number, nexthops: Fib6Nh[]) {
    this.table = table
    this.dst = spec.dst
    this.prefixLength = spec.prefixLength
    this.type = spec.type ?? 1
    this.metric = spec.metric ?? IP6_RT_PRIO_USER
    this.protocol = spec.protocol ?? 3
    this.prefsrc = spec.prefsrc ?? 0
    this.mtu = spec.mtu ?? 0
    this.mtuLocked = spec.mtuLocked ?? false
    this.advmss = spec.advmss ?? 0
    this.hoplimit = spec.hoplimit ?? 0
    this.flags = flags
    this.nexthops = nexthops
    for (const nh of nexthops) nh.route = this
  }
}
