/**
 * A routing decision attached to a packet: struct rtable with its dst_entry.
 *
 * Linux: include/net/route.h, include/net/dst.h. Decisions are cached per nexthop (rt_cache_route): one for input, one
 * for output, valid while the namespace's generation (`rt_genid`) stays the same. Path-MTU and redirect exceptions have
 * decisions of their own. Input and output are integers (DST_IN_*, DST_OUT_*) dispatched by a switch.
 * Not modelled: lwtunnel states, xfrm bundles, metrics other than mtu and advmss.
 */
import type { NetDevice } from '../device/device.ts'
import type { FibNh, FibNhException } from './fib-nh.ts'
import type { FibRoute } from './fib-route.ts'

/** `IP_MAX_MTU` */
export const IP_MAX_MTU = 65535
/** `IPV4_MIN_MTU` */
export const IPV4_MIN_MTU = 68

/** A routing decision. */
export class Rtable {
  /** `rt_type`: RTN_* */
  readonly type: number
  /** `rt_flags`: RTCF_* */
  flags: number
  /** `dst.dev`: the device to send by; loopback for local input and errors. */
  readonly dev: NetDevice
  /** `rt_genid` at creation. */
  readonly genid: number
  /** `rt_is_input` */
  readonly isInput: boolean
  /** DST_IN_* */
  input = 0
  /** DST_OUT_* */
  output = 0
  /** `dst.error`: 0 or a negative errno. */
  error = 0
  /** Device id that the packet came in by, -1 for output. */
  iif = -1
  /** `rt_uses_gateway` */
  usesGateway = false
  /** `rt_gw_family` is set: `gateway` is the next hop. */
  hasGateway = false
  /** `rt_gw4` */
  gateway = 0
  /** `rt_pmtu`: learned path MTU, 0 when none. */
  pmtu = 0
  /** `rt_mtu_locked` */
  mtuLocked = false
  /** `dst.expires` in ns, 0 when never. */
  expiresNs = 0
  /** RTAX_MTU, 0 when not set. */
  mtuMetric = 0
  /** RTAX_LOCK bit of the mtu. */
  mtuMetricLocked = false
  /** RTAX_ADVMSS, 0 when not set. */
  advmssMetric = 0
  /** Set to -1 (DST_OBSOLETE_KILL) when the decision was replaced by an exception. */
  obsolete = 0
  /** Nexthop that this came from, null for errors without one. */
  nh: FibNh | null = null
  /** Exception that this is bound to. */
  fnhe: FibNhException | null = null
  /** The route, for traces; null when there is none. */
  route: FibRoute | null = null
  /** Table of the route, for traces. */
  table = 0

  constructor(type: number, flags: number, dev: NetDevice, genid: number, isInput: boolean) {
    this.type = type
    this.flags = flags
    this.dev = dev
    this.genid = genid
    this.isInput = isInput
  }

  /** RTCF_LOCAL: the packet is for this host. */
  get isLocal(): boolean {
    return this.flags < 0
  }

  /** ip_mtu_locked: path MTU discovery does not apply. */
  get locked(): boolean {
    return this.mtuLocked || this.mtuMetricLocked
  }

  /** rt_nexthop: the neighbour's address for a packet to `daddr`. */
  nexthop(daddr: number): number {
    return this.hasGateway ? this.gateway : daddr
  }

  /** ipv4_mtu: what fits for packets of this host, learned path MTU included. */
  mtu(): number {
    return this.mtuMaybeForward(false)
  }

  /** ip_dst_mtu_maybe_forward: a router does not believe learned path MTUs unless ip_forward_use_pmtu says so. */
  mtuMaybeForward(forwarding: boolean): number {
    if (this.pmtu !== 0) {
      const ns = this.dev.ns
      const believed = !forwarding || ns.sysctl.ip_forward_use_pmtu !== 0 || this.locked
      if (believed && ns.world.nowNs < this.expiresNs) return Math.min(this.pmtu, IP_MAX_MTU)
    }
    if (this.mtuMetric !== 0) return Math.min(this.mtuMetric, IP_MAX_MTU)
    const mtu = this.dev.mtu
    if (mtu > 576 && this.usesGateway && this.locked) return 576
    return Math.min(mtu, IP_MAX_MTU)
  }

  /** ipv4_default_advmss, or RTAX_ADVMSS when the route sets it. */
  advmss(): number {
    if (this.advmssMetric !== 0) return this.advmssMetric
    const advmss = Math.max(this.mtu() - 40, this.dev.ns.sysctl.min_adv_mss)
    return Math.min(advmss, IP_MAX_MTU - 40)
  }
}
