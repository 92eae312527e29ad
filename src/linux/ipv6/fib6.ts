/**
 * The IPv6 routing state of a namespace: tables, rules, and the routes that addresses and devices bring.
 *
 * Linux: net/ipv6/route.c (ip6_route_add, ip6_route_del, fib6_nh_init, ip6_validate_gw, fib6_ifdown, fib6_ifup,
 * rt6_mtu_change), net/ipv6/ip6_fib.c (fib6_add, fib6_add_rt2node), net/ipv6/fib6_rules.c, addrconf_f6i_alloc.
 * Lookups are in route.ts. Not modelled: nexthop objects, `from` prefixes, route expiry, prefix routes' lifetimes.
 */
import { IFF_UP, type NetDevice } from '../device/device.ts'
import { EACCES, EEXIST, EHOSTUNREACH, EINVAL, ENETDOWN, ENODEV, ENOENT, ESRCH } from '../errno.ts'
import type { Netns } from '../netns.ts'
import { InetPeers } from '../route/peer.ts'
import {
  RTN_ANYCAST,
  RTN_BLACKHOLE,
  RTN_LOCAL,
  RTN_MULTICAST,
  RTN_PROHIBIT,
  RTN_THROW,
  RTN_UNICAST,
  RTN_UNREACHABLE,
  RTNH_F_DEAD,
  RTNH_F_LINKDOWN,
  RTNH_F_ONLINK,
  RTPROT_KERNEL,
} from '../route/rtn.ts'
import { ipv6ChkAddr } from './addrconf.ts'
import {
  Fib6Nh,
  Fib6Route,
  IP6_RT_PRIO_ADDRCONF,
  type Nexthop6Spec,
  type Route6Spec,
  RT6_TABLE_LOCAL,
  RT6_TABLE_MAIN,
  RTF_ANYCAST,
  RTF_GATEWAY,
  RTF_LOCAL,
  RTF_NONEXTHOP,
  RTF_REJECT,
  RTF_UP,
} from './fib6-route.ts'
import { Fib6Table, type Route6Mode } from './fib6-table.ts'
import { Flowi6 } from './flow6.ts'
import { IPV6_ADDR_LINKLOCAL, IPV6_ADDR_UNICAST } from './in6.ts'
import { fib6TableLookup } from './route.ts'
import { Fib6Rule, type Rule6Spec } from './rule6.ts'

/** IPv6's own of the multipath key, so that both families do not choose alike. */
const KEY6 = 0x6c078965
const gatewayFlow = new Flowi6()

/** The routing state. */
export class Fib6 {
  readonly ns: Netns
  /** Decisions of an older generation are void. */
  genid = 0
  readonly rules: Fib6Rule[]
  /** `fib6_has_custom_rules` */
  hasCustomRules = false
  readonly peers = new InetPeers()
  readonly multipathKey: number
  private readonly tables = new Map<number, Fib6Table>()
  readonly local: Fib6Table
  readonly main: Fib6Table

  constructor(ns: Netns) {
    this.ns = ns
    this.multipathKey = ns.fib.multipathKey ^ KEY6
    this.local = new Fib6Table(RT6_TABLE_LOCAL, ns.world.in6)
    this.main = new Fib6Table(RT6_TABLE_MAIN, ns.world.in6)
    this.tables.set(RT6_TABLE_LOCAL, this.local)
    this.tables.set(RT6_TABLE_MAIN, this.main)
    this.rules = [
      new Fib6Rule(ns, { table: RT6_TABLE_LOCAL, protocol: RTPROT_KERNEL }, 0),
      new Fib6Rule(ns, { table: RT6_TABLE_MAIN, protocol: RTPROT_KERNEL }, 32766),
    ]
  }

  /** fib6_get_table */
  table(id: number): Fib6Table | null {
    return this.tables.get(id === 0 ? RT6_TABLE_MAIN : id) ?? null
  }

  /** Ids of tables, in rising order. */
  tableIds(): number[] {
    return [...this.tables.keys()].sort((a, b) => a - b)
  }

  private newTable(id: number): Fib6Table {
    let t = this.tables.get(id)
    if (t === undefined) {
      t = new Fib6Table(id, this.ns.world.in6)
      this.tables.set(id, t)
    }
    return t
  }

  /** Makes every kept decision void. */
  flushCache(): void {
    this.genid++
  }

  /** ip6_route_add, ip6_route_multipath_add. @returns 0 or a negative errno */
  addRoute(spec: Route6Spec, mode: Route6Mode): number {
    const type = spec.type ?? RTN_UNICAST
    const table = this.newTable(spec.table === undefined || spec.table === 0 ? RT6_TABLE_MAIN : spec.table)
    const list = spec.nexthops ?? []
    const nexthops: Fib6Nh[] = []
    let flags = RTF_UP
    if (type === RTN_BLACKHOLE || type === RTN_UNREACHABLE || type === RTN_PROHIBIT || type === RTN_THROW) {
      flags |= RTF_REJECT | RTF_NONEXTHOP
      nexthops.push(new Fib6Nh(this.ns.lo, 0, 1, 0))
    } else {
      if (list.length === 0) return ENODEV
      for (const n of list) {
        const nh = this.nexthop(spec, type, n)
        if (typeof nh === 'number') return nh
        nexthops.push(nh)
        if (nh.gateway !== 0) flags |= RTF_GATEWAY
      }
    }
    if (type === RTN_LOCAL) flags |= RTF_LOCAL
    else if (type === RTN_ANYCAST) flags |= RTF_ANYCAST
    if (spec.prefsrc !== undefined && spec.prefsrc !== 0 && !ipv6ChkAddr(this.ns, spec.prefsrc, null)) return EINVAL
    const route = new Fib6Route(spec, table.id, flags, nexthops)
    const err = this.insert(table, route, mode)
    if (err === 0) this.flushCache()
    return err
  }

  /** fib6_add_rt2node */
  private insert(table: Fib6Table, route: Fib6Route, mode: Route6Mode): number {
    const same = (table.node(route.dst, route.prefixLength) ?? []).filter((r) => r.metric === route.metric)
    if (same.length > 0) {
      if (mode === 'add') return EEXIST
      if (mode === 'replace' || mode === 'change') {
        // fib6_add: the first route of that metric goes; with a gateway, its siblings too
        const old = same[0]!
        table.insert(route)
        table.remove(old)
        for (const r of same.slice(1)) if (isEcmp(old) && isEcmp(r)) table.remove(r)
        rebalance(route)
        return 0
      }
      if (table.duplicate(route) !== 0) return EEXIST
      const sibling = same.find(isEcmp)
      if (isEcmp(route) && sibling !== undefined) {
        for (const nh of route.nexthops) nh.route = sibling
        sibling.nexthops.push(...route.nexthops)
        rebalance(sibling)
        return 0
      }
    } else if (mode === 'change') return ENOENT
    table.insert(route)
    rebalance(route)
    return 0
  }

  /** fib6_nh_init with ip6_validate_gw. */
  private nexthop(spec: Route6Spec, type: number, n: Nexthop6Spec): Fib6Nh | number {
    const in6 = this.ns.world.in6
    let dev = n.dev ?? null
    const via = n.via ?? 0
    if (via !== 0) {
      const kind = in6.type(via) & 0xffff
      if (ipv6ChkAddr(this.ns, via, (kind & IPV6_ADDR_LINKLOCAL) !== 0 ? dev : null)) return EINVAL
      if (kind !== (IPV6_ADDR_LINKLOCAL | IPV6_ADDR_UNICAST)) {
        if ((kind & IPV6_ADDR_UNICAST) === 0) return EINVAL
        if (n.onlink !== true) {
          const found = this.gatewayDev(via, dev, spec.table ?? RT6_TABLE_MAIN)
          if (typeof found === 'number') return found
          dev = found
        }
      } else if (dev === null) return EINVAL
    }
    if (dev === null) return ENODEV
    if (type === RTN_UNICAST || via !== 0) {
      if (dev.in6 === null) return ENODEV
      if (dev.in6.conf.disable_ipv6 !== 0) return EACCES
      if ((dev.flags & IFF_UP) === 0) return ENETDOWN
    }
    let flags = n.onlink === true ? RTNH_F_ONLINK : 0
    if (type === RTN_UNICAST && !dev.carrier) flags |= RTNH_F_LINKDOWN
    return new Fib6Nh(dev, via, n.weight ?? 1, flags)
  }

  /** ip6_route_check_nh: the device behind which a gateway stands; it must be on link. */
  private gatewayDev(via: number, dev: NetDevice | null, table: number): NetDevice | number {
    const fl = gatewayFlow.reset()
    fl.daddr = via
    fl.oif = dev === null ? -1 : dev.id
    for (const id of table === RT6_TABLE_MAIN || table === 0 ? [RT6_TABLE_MAIN] : [table, RT6_TABLE_MAIN]) {
      const t = this.table(id)
      if (t === null) continue
      const res = fib6TableLookup(this.ns, t, fl, fl.oif, dev === null ? 0 : 1)
      if (res === null || res.nh === null) continue
      if (res.route!.prefixLength === 0 || (res.route!.flags & RTF_REJECT) !== 0) continue
      if (res.nh.gateway !== 0) return EHOSTUNREACH
      if (dev !== null && res.nh.dev !== dev) continue
      return res.nh.dev!
    }
    return EHOSTUNREACH
  }

  /** ip6_route_del: the first route that fits. @returns 0 or -ESRCH */
  delRoute(spec: Route6Spec): number {
    const table = this.table(spec.table ?? RT6_TABLE_MAIN)
    if (table === null) return ESRCH
    for (const r of table.node(spec.dst, spec.prefixLength) ?? []) {
      if (spec.metric !== undefined && spec.metric !== 0 && r.metric !== spec.metric) continue
      if (spec.protocol !== undefined && spec.protocol !== 0 && r.protocol !== spec.protocol) continue
      const wanted = spec.nexthops ?? []
      const left = wanted.length === 0 ? [] : r.nexthops.filter((nh) => !wanted.some((n) => fits(nh, n)))
      if (wanted.length > 0 && left.length === r.nexthops.length) continue
      if (left.length === 0) table.remove(r)
      else {
        r.nexthops = left
        rebalance(r)
      }
      this.flushCache()
      return 0
    }
    return ESRCH
  }

  /** Takes out exactly this route (flush). */
  remove(route: Fib6Route): void {
    this.table(route.table)?.remove(route)
    this.flushCache()
  }

  /** addrconf_f6i_alloc: the route that makes an address local, or anycast. */
  addLocal(dev: NetDevice, addr: number, anycast: boolean): void {
    const type = anycast ? RTN_ANYCAST : RTN_LOCAL
    const spec = { dst: addr, prefixLength: 128, type, metric: 0, protocol: RTPROT_KERNEL }
    const flags = RTF_UP | RTF_NONEXTHOP | (anycast ? RTF_ANYCAST : RTF_LOCAL)
    this.local.insert(new Fib6Route(spec, RT6_TABLE_LOCAL, flags, [new Fib6Nh(dev, 0, 1, 0)]))
    this.flushCache()
  }

  /** ip6_del_rt of such a route. */
  delLocal(dev: NetDevice, addr: number, anycast: boolean): void {
    const type = anycast ? RTN_ANYCAST : RTN_LOCAL
    for (const r of this.local.node(addr, 128) ?? []) {
      if (r.type !== type || r.nexthops[0]!.dev !== dev) continue
      this.local.remove(r)
      break
    }
    this.flushCache()
  }

  /** addrconf_add_mroute: multicast ff00::/8 of a device. */
  addMulticast(dev: NetDevice): void {
    const dst = this.ns.world.in6.intern(0xff000000 | 0, 0, 0, 0)
    for (const r of this.local.node(dst, 8) ?? []) if (r.nexthops[0]!.dev === dev) return
    const spec = { dst, prefixLength: 8, type: RTN_MULTICAST, metric: IP6_RT_PRIO_ADDRCONF, protocol: RTPROT_KERNEL }
    const flags = dev.carrier ? 0 : RTNH_F_LINKDOWN
    this.local.insert(new Fib6Route(spec, RT6_TABLE_LOCAL, RTF_UP, [new Fib6Nh(dev, 0, 1, flags)]))
    this.flushCache()
  }

  /** cleanup_prefix_route: the kernel's route of a prefix on a device. */
  delPrefixRoute(dev: NetDevice, dst: number, prefixLength: number): void {
    for (const r of this.main.node(dst, prefixLength) ?? []) {
      if (r.protocol !== RTPROT_KERNEL || r.nexthops[0]!.dev !== dev || (r.flags & RTF_GATEWAY) !== 0) continue
      this.main.remove(r)
      break
    }
    this.flushCache()
  }

  /** rt6_disable_ip: the device went down; nexthops behind it go, and routes without any left. */
  devDown(dev: NetDevice): void {
    for (const t of this.tables.values()) {
      for (const r of t.all()) {
        // local and anycast routes go with their addresses
        if ((r.flags & (RTF_LOCAL | RTF_ANYCAST)) !== 0 && r.protocol === RTPROT_KERNEL) continue
        if (!r.nexthops.some((nh) => nh.dev === dev)) continue
        if (r.nexthops.every((nh) => nh.dev === dev || (nh.flags & RTNH_F_DEAD) !== 0)) {
          if ((r.flags & RTF_REJECT) === 0) t.remove(r)
          continue
        }
        // fib6_ifdown(NETDEV_DOWN) of a multipath route marks the nexthop
        for (const nh of r.nexthops) if (nh.dev === dev) nh.flags |= RTNH_F_DEAD | RTNH_F_LINKDOWN
        rebalance(r)
      }
    }
    this.flushCache()
  }

  /** fib6_ifdown(NETDEV_CHANGE): carrier lost. */
  linkDown(dev: NetDevice): void {
    this.eachNh(dev, (nh, r) => {
      if ((r.flags & (RTF_LOCAL | RTF_ANYCAST)) !== 0) return
      nh.flags |= RTNH_F_LINKDOWN
    })
  }

  /** rt6_sync_up: the device or its carrier came back. */
  syncUp(dev: NetDevice): void {
    this.eachNh(dev, (nh) => {
      nh.flags &= dev.carrier ? ~(RTNH_F_DEAD | RTNH_F_LINKDOWN) : ~RTNH_F_DEAD
    })
  }

  private eachNh(dev: NetDevice, fn: (nh: Fib6Nh, r: Fib6Route) => void): void {
    for (const t of this.tables.values()) {
      for (const r of t.all()) {
        let touched = false
        for (const nh of r.nexthops) {
          if (nh.dev !== dev) continue
          fn(nh, r)
          touched = true
        }
        if (touched) rebalance(r)
      }
    }
    this.flushCache()
  }

  /** rt6_mtu_change: exceptions that the new MTU makes pointless go. */
  mtuChanged(dev: NetDevice): void {
    this.eachNh(dev, (nh) => {
      if (nh.exceptions === null) return
      for (const [daddr, rt] of nh.exceptions) if (rt.pmtu >= dev.mtu) nh.exceptions.delete(daddr)
    })
  }

  /** fib_nl_newrule. @returns 0 or a negative errno */
  addRule(spec: Rule6Spec): number {
    if (spec.pref !== undefined && this.rules.some((r) => r.pref === spec.pref && sameRule6(this.ns, r, spec, true))) {
      return EEXIST
    }
    const second = this.rules[1]?.pref ?? 0
    const pref = spec.pref ?? (second > 0 ? second - 1 : 0)
    const rule = new Fib6Rule(this.ns, spec, pref)
    let at = 0
    while (at < this.rules.length && this.rules[at]!.pref <= pref) at++
    this.rules.splice(at, 0, rule)
    if (rule.base.table !== 0) this.newTable(rule.base.table)
    this.hasCustomRules = true
    this.flushCache()
    return 0
  }

  /** fib_nl_delrule. @returns 0 or -ENOENT */
  delRule(spec: Rule6Spec): number {
    const i = this.rules.findIndex((r) => sameRule6(this.ns, r, spec, false))
    if (i < 0) return ENOENT
    this.rules.splice(i, 1)
    this.hasCustomRules = true
    this.flushCache()
    return 0
  }
}

/** rt6_qualify_for_ecmp */
function isEcmp(r: Fib6Route): boolean {
  return (r.flags & RTF_GATEWAY) !== 0
}

function fits(nh: Fib6Nh, n: Nexthop6Spec): boolean {
  return (n.dev === undefined || nh.dev === n.dev) && (n.via === undefined || nh.gateway === n.via)
}

/** rt6_multipath_rebalance: spreads the 31-bit hash space over the nexthops that live. */
function rebalance(r: Fib6Route): void {
  if (r.nexthops.length < 2) return
  const lives = (nh: Fib6Nh): boolean => {
    if ((nh.flags & RTNH_F_DEAD) !== 0) return false
    return (nh.flags & RTNH_F_LINKDOWN) === 0 || nh.dev?.in6?.conf.ignore_routes_with_linkdown !== 1
  }
  let total = 0
  for (const nh of r.nexthops) if (lives(nh)) total += nh.weight
  let w = 0
  for (const nh of r.nexthops) {
    if (!lives(nh)) {
      nh.upperBound = -1
      continue
    }
    w += nh.weight
    nh.upperBound = Math.floor((w * 2147483648 + Math.floor(total / 2)) / total) - 1
  }
}

/** Whether `r` is the rule that `spec` names. */
function sameRule6(ns: Netns, r: Fib6Rule, spec: Rule6Spec, exact: boolean): boolean {
  const o = new Fib6Rule(ns, spec, spec.pref ?? r.pref)
  if (spec.pref !== undefined && r.pref !== spec.pref) return false
  const open = !exact
  const b = r.base
  const c = o.base
  return (
    (open && spec.action === undefined ? true : b.action === c.action) &&
    (open && spec.table === undefined ? true : b.table === c.table) &&
    (open && spec.iif === undefined ? true : b.iif === c.iif) &&
    (open && spec.oif === undefined ? true : b.oif === c.oif) &&
    (open && spec.fwmark === undefined ? true : b.fwmark === c.fwmark && b.fwmask === c.fwmask) &&
    (open && spec.from === undefined ? true : r.from === o.from && r.fromLength === o.fromLength) &&
    (open && spec.to === undefined ? true : r.to === o.to && r.toLength === o.toLength) &&
    (open && spec.tos === undefined ? true : b.tos === c.tos) &&
    (open && spec.ipproto === undefined ? true : b.ipproto === c.ipproto) &&
    (open && spec.suppressPrefixlength === undefined ? true : b.suppressPrefixlength === c.suppressPrefixlength) &&
    (open && spec.not === undefined ? true : r.not === o.not)
  )
}
