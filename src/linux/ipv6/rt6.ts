/**
 * A routing decision of IPv6: struct rt6_info with its dst_entry.
 *
 * Linux: include/net/ip6_fib.h, net/ipv6/route.c (ip6_mtu, ip6_default_advmss, ip6_rt_init_dst). One per nexthop, kept
 * while the tables stay as they are, and one per exception (learned MTU, redirect).
 */
import type { NetDevice } from '../device/device.ts'
import { type Fib6Nh, type Fib6Route, RTF_ANYCAST, RTF_GATEWAY, RTF_LOCAL } from './fib6-route.ts'

/** Rt6.input */
export const DST6_IN_NONE = 0
export const DST6_IN_FORWARD = 1
export const DST6_IN_LOCAL = 2
export const DST6_IN_MC = 3
export const DST6_IN_DISCARD = 4
export const DST6_IN_PKT_DISCARD = 5
export const DST6_IN_PROHIBIT = 6
/** Rt6.output */
export const DST6_OUT_IP6 = 1
export const DST6_OUT_DISCARD = 2
export const DST6_OUT_PKT_DISCARD = 3
export const DST6_OUT_PROHIBIT = 4

/** IP6_MAX_MTU: 0xfff8 more than a payload may have. */
export const IP6_MAX_MTU = 65535 + 40

/** A routing decision. */
export class Rt6 {
  /** RTN_* */
  readonly type: number
  /** `dst.dev`: the device to send by; lo for local addresses. */
  readonly dev: NetDevice
  /** `rt6i_idev->dev`: the device that the address or route belongs to. */
  readonly idev: NetDevice
  /** RTF_* */
  flags: number
  /** In6Table id, 0 when on link. */
  readonly gateway: number
  input = DST6_IN_NONE
  output = DST6_OUT_IP6
  /** Negative errno, 0 when usable. */
  error = 0
  /** Learned MTU (RTAX_MTU of an exception), 0 when none. */
  pmtu = 0
  /** `dst.expires` in ns, 0 never. */
  expiresNs = 0
  /** Prefix length that this stands for. */
  plen = 0
  /** Generation that it is good for. */
  genid = 0
  readonly nh: Fib6Nh | null
  readonly route: Fib6Route | null

  constructor(
    type: number,
    dev: NetDevice,
    idev: NetDevice,
    flags: number,
    gateway: number,
    nh: Fib6Nh | null,
    route: Fib6Route | null,
  ) {
    this.type = type
    this.dev = dev
    this.idev = idev
    this.flags = flags
    this.gateway = gateway
    this.nh = nh
    this.route = route
  }

  /** RTF_LOCAL */
  get isLocal(): boolean {
    return (this.flags & RTF_LOCAL) !== 0
  }

  /** RTF_ANYCAST */
  get isAnycast(): boolean {
    return (this.flags & RTF_ANYCAST) !== 0
  }

  /** Whether a router stands between: `rt6_nexthop` is the gateway. */
  get hasGateway(): boolean {
    return (this.flags & RTF_GATEWAY) !== 0
  }

  /** rt6_nexthop: the neighbour's address for a packet to `daddr`. */
  nexthop(daddr: number): number {
    if ((this.flags & RTF_GATEWAY) !== 0) return this.gateway
    // a decision of icmp6_dst_alloc carries the destination
    return this.gateway !== 0 ? this.gateway : daddr
  }

  /** ip6_mtu: what fits for packets of this host. */
  mtu(): number {
    return this.mtuMaybeForward(false)
  }

  /** ip6_dst_mtu_maybe_forward: a router believes the device only, unless the route's MTU is locked. */
  mtuMaybeForward(forwarding: boolean): number {
    const route = this.route
    if (!forwarding || route?.mtuLocked === true) {
      if (this.pmtu !== 0 && (this.expiresNs === 0 || this.dev.ns.world.nowNs < this.expiresNs)) {
        return Math.min(this.pmtu, IP6_MAX_MTU)
      }
      if (route !== null && route.mtu !== 0) return Math.min(route.mtu, IP6_MAX_MTU)
    }
    const idev = this.dev.in6
    return Math.min(idev === null ? 1280 : idev.conf.mtu, IP6_MAX_MTU)
  }

  /** ip6_default_advmss, or RTAX_ADVMSS. */
  advmss(): number {
    if (this.route !== null && this.route.advmss !== 0) return this.route.advmss
    const mss = Math.max(this.mtu() - 60, this.dev.ns.sysctl.ipv6.route_min_adv_mss)
    // IPV6_MAXPLEN itself stands for "any"
    return mss > 65535 - 20 ? 65535 : mss
  }

  /** ip6_dst_hoplimit */
  hoplimit(): number {
    if (this.route !== null && this.route.hoplimit !== 0) return this.route.hoplimit
    const idev = this.dev.in6
    return idev === null ? this.dev.ns.sysctl.ipv6.all.hop_limit : idev.conf.hop_limit
  }

  /** ip_mtu_locked's IPv6 twin. */
  get locked(): boolean {
    return this.route?.mtuLocked === true
  }
}
