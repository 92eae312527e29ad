/**
 * The kernel under a speaker of the simulated network: routes go into the namespace's FIB, next hops are asked of it.
 *
 * BIRD's protocol kernel (sysdep/linux/netlink.c): RTM_NEWROUTE with NLM_F_REPLACE, `proto bird`, onlink for a tunnel
 * (Calico's krt_tunnel). A recursive next hop becomes the gateway of the route that resolves it. Not modelled: IPv6 routes,
 * BIRD's scan of the kernel's table, nexthop objects (FRR prints `nhid`).
 */
import { ipv4Mask, parseCidr, parseIpv4 } from '../addr/index.ts'
import { errnoName } from '../linux/errno.ts'
import type { Netns } from '../linux/netns.ts'
import type { NexthopSpec } from '../linux/route/fib-route.ts'
import { RT_TABLE_MAIN, RTN_BLACKHOLE, RTN_UNICAST, RTPROT_BGP, RTPROT_BIRD } from '../linux/route/rtn.ts'
import { simTransport, worldClock } from './sim-transport.ts'
import type { BgpHost, InstalledRoute, SpeakerEvent } from './speaker.ts'
import type { RouteStore } from './store.ts'

const RTPROT_ZEBRA = 11
const PROTOCOLS = { bird: RTPROT_BIRD, bgp: RTPROT_BGP, zebra: RTPROT_ZEBRA } as const
/** A next hop behind a gateway is further than one on link. */
const METRIC_BEHIND_GATEWAY = 1

/** The host of a speaker in a namespace. */
export class SimHost implements BgpHost {
  readonly clock: BgpHost['clock']
  readonly transport: BgpHost['transport']
  readonly store: RouteStore
  /** What the kernel refused, by prefix: the errno's name. */
  readonly refused = new Map<string, string>()
  /** Hears of every route that goes into the kernel (null: leaves it). */
  routeChanged: ((prefix: string, route: InstalledRoute | null) => void) | null = null
  private readonly ns: Netns
  private readonly installed = new Map<string, InstalledRoute>()
  /** Installed since the last start of the daemon. */
  private fresh = new Set<string>()
  private readonly listener: (e: SpeakerEvent) => void

  constructor(ns: Netns, store: RouteStore, listener: (e: SpeakerEvent) => void) {
    this.ns = ns
    this.store = store
    this.listener = listener
    this.clock = worldClock(ns.world)
    this.transport = simTransport(ns)
  }

  random(): number {
    return this.ns.world.random.u32() / 2 ** 32
  }

  event(e: SpeakerEvent): void {
    this.listener(e)
  }

  metric(nextHop: string): number {
    const ip = parseIpv4(nextHop)
    const rt = ip === null ? null : this.ns.fib.routeOutputTo(ip, 0)
    if (rt === null || (rt.type !== RTN_UNICAST && !rt.isLocal)) return Infinity
    return rt.hasGateway ? METRIC_BEHIND_GATEWAY : 0
  }

  sameSubnet(a: string, b: string): boolean {
    const [x, y] = [parseIpv4(a), parseIpv4(b)]
    if (x === null || y === null) return false
    for (const dev of this.ns.devices.values()) {
      for (const i of dev.addrs) {
        const mask = ipv4Mask(i.prefixLength)
        if (((i.ip ^ x) & mask) === 0 && ((i.ip ^ y) & mask) === 0) return true
      }
    }
    return false
  }

  install(prefix: string, route: InstalledRoute | null): void {
    const cidr = parseCidr(prefix)
    if (cidr === null || cidr.family !== 4) return
    const before = this.installed.get(prefix)
    const where = { dst: cidr.ip, prefixLength: cidr.prefixLength, table: RT_TABLE_MAIN }
    if (before !== undefined && (route === null || before.metric !== route.metric)) {
      this.ns.fib.delRoute({ ...where, metric: before.metric, protocol: PROTOCOLS[before.protocol] })
      this.installed.delete(prefix)
    }
    this.refused.delete(prefix)
    this.fresh.add(prefix)
    if (route === null) {
      if (before !== undefined) this.routeChanged?.(prefix, null)
      return
    }
    const nexthops = route.nextHops.flatMap((n) => this.nexthop(n) ?? [])
    if (!route.blackhole && nexthops.length === 0) {
      this.refused.set(prefix, 'next hop unreachable')
      this.install(prefix, null)
      return
    }
    const errno = this.ns.fib.addRoute(
      {
        ...where,
        type: route.blackhole ? RTN_BLACKHOLE : RTN_UNICAST,
        metric: route.metric,
        protocol: PROTOCOLS[route.protocol],
        ...(route.prefSrc === undefined ? {} : { prefsrc: parseIpv4(route.prefSrc) ?? 0 }),
        ...(route.blackhole ? {} : { nexthops }),
      },
      'replace',
    )
    if (errno < 0) this.refused.set(prefix, errnoName(errno))
    else {
      this.installed.set(prefix, route)
      if (before === undefined || JSON.stringify(before) !== JSON.stringify(route)) this.routeChanged?.(prefix, route)
    }
  }

  /**
   * The daemon starts again and finds its routes in the kernel. In graceful restart they stay until it has recovered, else
   * what its table does not have goes at once (krt_prune of the first scan).
   */
  restarted(inRecovery: boolean): void {
    this.fresh = new Set()
    if (!inRecovery) this.recovered()
  }

  recovered(): void {
    for (const prefix of [...this.installed.keys()]) if (!this.fresh.has(prefix)) this.install(prefix, null)
  }

  private nexthop(n: InstalledRoute['nextHops'][number]): NexthopSpec | null {
    const via = parseIpv4(n.address)
    if (via === null) return null
    if (n.tunnel !== undefined) {
      const dev = this.ns.devices.get(n.tunnel)
      return dev === undefined ? null : { dev, via, onlink: true }
    }
    const rt = this.ns.fib.routeOutputTo(via, 0)
    if (rt === null || rt.type !== RTN_UNICAST) return null
    return { dev: rt.dev, via: rt.hasGateway ? rt.gateway : via }
  }
}
