/**
 * A nexthop of a route and what is cached or learned about it: struct fib_nh (fib_nh_common), struct fib_nh_exception.
 *
 * Linux: include/net/ip_fib.h, net/ipv4/route.c (update_or_create_fnhe). Exceptions are kept per destination in a map
 * (Linux: a hash of 2048 buckets with 5 entries each, so old ones may be lost earlier there).
 * Not modelled: lwtunnel encapsulation, nexthop objects (`ip nexthop`), IPv6 gateways.
 */
import type { NetDevice } from '../device/device.ts'
import type { FibRoute } from './fib-route.ts'
import type { Rtable } from './rtable.ts'

/** What was learned about one destination behind a nexthop. */
export class FibNhException {
  readonly daddr: number
  /** `fnhe_genid` */
  genid = 0
  /** Gateway learned by a redirect, 0 when none. */
  gateway = 0
  /** Learned path MTU, 0 when none. */
  pmtu = 0
  mtuLocked = false
  expiresNs = 0
  rthInput: Rtable | null = null
  rthOutput: Rtable | null = null

  constructor(daddr: number) {
    this.daddr = daddr
  }
}

/** One nexthop of a route. */
export class FibNh {
  readonly dev: NetDevice | null
  readonly gateway: number
  readonly hasGateway: boolean
  readonly weight: number
  /** RTNH_F_* */
  flags: number
  /** `nhc_scope` */
  scope = 0
  /** `fib_nh_upper_bound`: last hash value of this nexthop, -1 when it takes no flow. */
  upperBound = -1
  /** `nh_saddr` and the generation it was chosen in (fib_info_update_nhc_saddr). */
  saddr = 0
  saddrGenid = -1
  /** `nhc_rth_input`, `nhc_pcpu_rth_output` */
  rthInput: Rtable | null = null
  rthOutput: Rtable | null = null
  /** `nhc_exceptions` by destination. */
  exceptions: Map<number, FibNhException> | null = null
  /** The route that it belongs to. */
  route!: FibRoute

  constructor(dev: NetDevice | null, gateway: number, hasGateway: boolean, weight: number, flags: number) {
    this.dev = dev
    this.gateway = gateway
    this.hasGateway = hasGateway
    this.weight = weight
    this.flags = flags
  }
}
