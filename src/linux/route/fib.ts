/**
 * The routing state of a namespace: tables, policy rules, and the routes that addresses and devices bring with them.
 *
 * Linux: net/ipv4/fib_frontend.c (fib_add_ifaddr, fib_del_ifaddr, fib_inetaddr_event, fib_netdev_event),
 * net/ipv4/fib_semantics.c (fib_sync_down_dev, fib_sync_up, fib_sync_down_addr), net/ipv4/fib_rules.c (__fib_lookup),
 * net/core/fib_rules.c. While only the three default rules exist, local and main are searched as one table, as Linux does.
 * Not modelled: choice among several equal default routes by neighbour state (fib_select_default), realms, fib notifiers.
 */
import { IFF_LOOPBACK, IFF_UP, type Ifaddr, type NetDevice, RT_SCOPE_HOST, RT_SCOPE_LINK } from '../device/device.ts'
import { EACCES, EAGAIN, EEXIST, EHOSTUNREACH, EINVAL, ENETUNREACH, ENOENT, ESRCH } from '../errno.ts'
import type { Netns } from '../netns.ts'
import { fibCreateInfo, matchesDelete, sameInfo } from './fib-create.ts'
import type { FibRoute, RouteSpec } from './fib-route.ts'
import { FibResult, FibTable, prefixMask } from './fib-table.ts'
import { Flowi4 } from './flow.ts'
import { InputCache } from './input-cache.ts'
import { fibRebalance } from './multipath.ts'
import { ipRouteOutput } from './output-route.ts'
import { InetPeers } from './peer.ts'
import type { Rtable } from './rtable.ts'
import {
  RT_TABLE_DEFAULT,
  RT_TABLE_LOCAL,
  RT_TABLE_MAIN,
  RTN_BROADCAST,
  RTN_LOCAL,
  RTN_MULTICAST,
  RTN_UNICAST,
  RTNH_F_DEAD,
  RTNH_F_LINKDOWN,
  RTPROT_KERNEL,
} from './rtn.ts'
import {
  FibRule,
  FR_ACT_BLACKHOLE,
  FR_ACT_GOTO,
  FR_ACT_NOP,
  FR_ACT_PROHIBIT,
  FR_ACT_TO_TBL,
  FR_ACT_UNREACHABLE,
  type RuleSpec,
  sameRule,
} from './rule.ts'

/** How addRoute treats an existing route (NLM_F_* of RTM_NEWROUTE, by the verbs of ip route). */
export type RouteMode = 'add' | 'append' | 'prepend' | 'replace' | 'change'

/** Calls fn for each route of each table. */
type RouteVisitor = (route: FibRoute, table: FibTable) => void

/** The routing state of a namespace. */
export class Fib {
  readonly ns: Netns
  /** `rt_genid`: cached decisions of an older generation are void. */
  genid = 0
  /** Decisions for received packets that are valid in this generation. */
  readonly inputCache = new InputCache()
  /** `fnhe_genid`: learned exceptions of an older generation are void. */
  fnheGenid = 0
  /** `dev_addr_genid`: preferred sources kept in nexthops of an older generation are void. */
  addrGenid = 0
  /** Rules in order of preference. */
  readonly rules: FibRule[] = []
  /** `fib_has_custom_rules` */
  hasCustomRules = false
  /** `fib_has_custom_local_routes` */
  hasCustomLocalRoutes = false
  /** Rules look at ports: input lookups must read them (fib4_rules_early_flow_dissect). */
  needsPorts = false
  readonly peers = new InetPeers()
  /** Key of the multipath hash, from the world's seed. */
  readonly multipathKey: number
  /** Devices whose NETDEV_UP was seen: a later call of devUp is a change of carrier. */
  private readonly upDevs = new Set<NetDevice>()
  private readonly tables = new Map<number, FibTable>()
  private readonly local = new FibTable(RT_TABLE_LOCAL)
  private readonly main = new FibTable(RT_TABLE_MAIN)
  private deflt: FibTable | null = null
  private readonly scratch = new FibResult()
  private readonly flow = new Flowi4()
  private readonly outFlow = new Flowi4()

  constructor(ns: Netns) {
    this.ns = ns
    this.multipathKey = ns.world.random.u32() | 0
    this.tables.set(RT_TABLE_LOCAL, this.local)
    this.tables.set(RT_TABLE_MAIN, this.main)
    this.rules.push(
      new FibRule({ table: RT_TABLE_LOCAL, protocol: RTPROT_KERNEL }, 0),
      new FibRule({ table: RT_TABLE_MAIN, protocol: RTPROT_KERNEL }, 32766),
      new FibRule({ table: RT_TABLE_DEFAULT, protocol: RTPROT_KERNEL }, 32767),
    )
  }

  /** fib_get_table */
  table(id: number): FibTable | null {
    return this.tables.get(id === 0 ? RT_TABLE_MAIN : id) ?? null
  }

  /** Ids of tables that hold routes or did once. */
  tableIds(): number[] {
    return [...this.tables.keys()].sort((a, b) => a - b)
  }

  /** Routes of a table in the order that `ip route show` prints them. */
  routes(table: number): FibRoute[] {
    return this.table(table)?.all() ?? []
  }

  /** fib_lookup: 0 with `res` filled, or a negative errno (ENETUNREACH when nothing matches). */
  lookup(fl: Flowi4, res: FibResult, flags: number): number {
    res.route = null
    res.nh = null
    if (!this.hasCustomRules) {
      let err = this.main.lookup(fl, res, flags, this.local)
      if (err === 0) return 0
      if (this.deflt !== null) err = this.deflt.lookup(fl, res, flags, null)
      return err === EAGAIN ? ENETUNREACH : err
    }
    return this.ruleLookup(fl, res, flags)
  }

  /** fib_rules_lookup with fib4_rule_action and fib4_rule_suppress. */
  private ruleLookup(fl: Flowi4, res: FibResult, flags: number): number {
    const rules = this.rules
    for (let i = 0; i < rules.length; i++) {
      const rule = rules[i]!
      if (!rule.matches(this.ns, fl)) continue
      switch (rule.action) {
        case FR_ACT_TO_TBL: {
          const table = this.tables.get(rule.table)
          if (table === undefined) continue
          const err = table.lookup(fl, res, flags, null)
          if (err === EAGAIN) continue
          if (err === 0 && rule.suppressPrefixlength >= 0 && res.prefixLength <= rule.suppressPrefixlength) continue
          return err
        }
        case FR_ACT_GOTO: {
          const target = this.gotoTarget(rule)
          if (target >= 0) i = target - 1
          continue
        }
        case FR_ACT_NOP:
          continue
        case FR_ACT_UNREACHABLE:
          return ENETUNREACH
        case FR_ACT_PROHIBIT:
          return EACCES
        case FR_ACT_BLACKHOLE:
          return EINVAL
        default:
          return EHOSTUNREACH
      }
    }
    return ENETUNREACH
  }

  private gotoTarget(rule: FibRule): number {
    for (let i = 0; i < this.rules.length; i++) {
      if (this.rules[i]!.pref === rule.target) return i
    }
    return -1
  }

  /** ip_route_output(net, daddr, saddr): the decision for a packet of this host, null when there is none. */
  routeOutputTo(daddr: number, saddr: number): Rtable | null {
    const fl = this.outFlow.reset()
    fl.daddr = daddr
    fl.saddr = saddr
    return ipRouteOutput(this.ns, fl)
  }

  /** RTM_NEWROUTE. @returns 0 or a negative errno */
  addRoute(spec: RouteSpec, mode: RouteMode = 'add'): number {
    const id = spec.table === undefined || spec.table === 0 ? RT_TABLE_MAIN : spec.table
    const made = fibCreateInfo(this, spec, id)
    if (typeof made === 'number') return made
    const table = this.tables.get(id) ?? this.newTable(id)
    const err = insertRoute(table, made, mode)
    if (err !== 0) return err
    if (id === RT_TABLE_LOCAL && made.type === RTN_LOCAL && made.protocol !== RTPROT_KERNEL) {
      this.hasCustomLocalRoutes = true
    }
    this.flushCache()
    return 0
  }

  /** RTM_DELROUTE: the first route that fits; absent fields of `spec` match everything. */
  delRoute(spec: RouteSpec): number {
    const table = this.table(spec.table ?? 0)
    if (table === null) return ESRCH
    for (const r of table.chain(spec.dst, spec.prefixLength) ?? []) {
      if (r.tos !== (spec.tos ?? 0) || !matchesDelete(r, spec)) continue
      table.remove(r)
      this.flushCache()
      return 0
    }
    return ESRCH
  }

  /** Removes exactly this route (`ip route flush`). */
  removeRoute(route: FibRoute): void {
    this.table(route.table)?.remove(route)
    this.flushCache()
  }

  /** RTM_NEWRULE. @returns 0 or a negative errno */
  addRule(spec: RuleSpec): number {
    const action = spec.action ?? FR_ACT_TO_TBL
    if (action === FR_ACT_GOTO && (spec.target === undefined || spec.target <= (spec.pref ?? 0))) return EINVAL
    if (spec.pref !== undefined && this.rules.some((r) => r.pref === spec.pref && sameRule(r, spec, true)))
      return EEXIST
    // fib_default_rule_pref: one below the second rule of the list
    const second = this.rules[1]
    const pref = spec.pref ?? (second !== undefined && second.pref > 0 ? second.pref - 1 : 0)
    const rule = new FibRule(
      action === FR_ACT_TO_TBL && (spec.table === undefined || spec.table === 0)
        ? { ...spec, table: RT_TABLE_MAIN }
        : spec,
      pref,
    )
    let at = this.rules.length
    while (at > 0 && this.rules[at - 1]!.pref > pref) at--
    this.rules.splice(at, 0, rule)
    this.hasCustomRules = true
    this.rulesChanged()
    return 0
  }

  /** RTM_DELRULE */
  delRule(spec: RuleSpec): number {
    const i = this.rules.findIndex((r) => sameRule(r, spec, false))
    if (i < 0) return ENOENT
    this.rules.splice(i, 1)
    this.hasCustomRules = true
    this.rulesChanged()
    return 0
  }

  private rulesChanged(): void {
    this.needsPorts = this.rules.some((r) => r.needsPorts)
    this.flushCache()
  }

  /** inet_addr_type_table */
  addrTypeIn(table: number, ip: number): number {
    return this.addrType(ip, null, table)
  }

  /** inet_dev_addr_type for the local table: only a route by `dev` makes the address what it is. */
  addrTypeDev(dev: NetDevice | null, ip: number): number {
    return this.addrType(ip, dev, RT_TABLE_LOCAL)
  }

  /** __inet_dev_addr_type */
  addrType(ip: number, dev: NetDevice | null, tableId: number): number {
    if (ip >>> 24 === 0 || ip === -1) return RTN_BROADCAST
    if (ip >>> 28 === 14) return RTN_MULTICAST
    const table = this.tables.get(tableId)
    if (table === undefined) return RTN_BROADCAST
    const fl = this.flow.reset()
    fl.daddr = ip
    const res = this.scratch
    // without rules of one's own the two are one trie, where the local table's routes come first
    const merged = table === this.local && !this.hasCustomRules
    if ((merged ? this.main.lookup(fl, res, 0, table) : table.lookup(fl, res, 0, null)) !== 0) {
      return RTN_UNICAST
    }
    if (dev === null || dev === res.nh?.dev) return res.type
    return RTN_UNICAST
  }

  /** The device of a local route to `ip` in the local table, null when it is not local. */
  localDev(ip: number): NetDevice | null {
    const fl = this.flow.reset()
    fl.daddr = ip
    const res = this.scratch
    if (this.local.lookup(fl, res, 0, null) !== 0 || res.type !== RTN_LOCAL) return null
    return res.nh!.dev
  }

  /** inet_lookup_ifaddr_rcu: the device that has this very address, by the local route that it brought; null when none. */
  ifaddrDev(ip: number): NetDevice | null {
    const chain = this.local.chain(ip, 32)
    if (chain === undefined) return null
    for (let i = 0; i < chain.length; i++) {
      const r = chain[i]!
      if (r.type === RTN_LOCAL && r.protocol === RTPROT_KERNEL) return r.nexthops[0]!.dev
    }
    return null
  }

  /** fib_add_ifaddr: routes of a new address, which is in dev.addrs already. */
  addIfaddr(dev: NetDevice, ifa: Ifaddr): void {
    this.addrGenid++
    this.flushCache()
    const primary = ifa.secondary ? findPrimary(dev, ifa) : ifa
    const src = primary?.ip ?? ifa.ip
    if (ifa.ip !== 0 && ifa.ip >>> 28 !== 14) this.magic(dev, RTN_LOCAL, ifa.ip, 32, src, 'add')
    if ((dev.flags & IFF_UP) === 0) return
    if (ifa.broadcast !== 0 && ifa.broadcast !== -1) this.magic(dev, RTN_BROADCAST, ifa.broadcast, 32, src, 'add')
    const net = ifa.peer & prefixMask(ifa.prefixLength)
    if (net >>> 24 === 0 || ifa.secondary || (net === ifa.ip && ifa.prefixLength >= 32)) return
    if (!ifa.noprefixroute) {
      const type = (dev.flags & IFF_LOOPBACK) !== 0 ? RTN_LOCAL : RTN_UNICAST
      this.magic(dev, type, net, ifa.prefixLength, src, 'add')
    }
    if (ifa.prefixLength < 31) {
      this.magic(dev, RTN_BROADCAST, net | ~prefixMask(ifa.prefixLength), 32, src, 'add')
    }
  }

  /** fib_del_ifaddr: the address is no longer in dev.addrs. */
  delIfaddr(dev: NetDevice, ifa: Ifaddr): void {
    this.addrGenid++
    const net = ifa.peer & prefixMask(ifa.prefixLength)
    const rest = dev.addrs.filter((a) => a !== ifa)
    const still = (ip: number): boolean => rest.some((a) => broadcastsOf(a).includes(ip))
    if (!ifa.secondary && !(net === ifa.ip && ifa.prefixLength >= 32)) {
      const type = (dev.flags & IFF_LOOPBACK) !== 0 ? RTN_LOCAL : RTN_UNICAST
      this.magic(dev, type, net, ifa.prefixLength, ifa.ip, 'del')
    }
    for (const b of broadcastsOf(ifa)) if (!still(b)) this.magic(dev, RTN_BROADCAST, b, 32, ifa.ip, 'del')
    if (!rest.some((a) => a.ip === ifa.ip)) {
      this.magic(dev, RTN_LOCAL, ifa.ip, 32, ifa.ip, 'del')
      if (this.addrTypeIn(RT_TABLE_LOCAL, ifa.ip) !== RTN_LOCAL) this.dropByPrefsrc(ifa.ip)
    }
    // the last address: IP is disabled on the device (fib_inetaddr_event, fib_disable_ip)
    if (rest.length === 0) this.syncDown(dev, true)
    this.flushCache()
  }

  /** fib_magic: a kernel route of an address. */
  private magic(
    dev: NetDevice,
    type: number,
    dst: number,
    prefixLength: number,
    src: number,
    verb: 'add' | 'del',
  ): void {
    const table = type === RTN_UNICAST ? RT_TABLE_MAIN : RT_TABLE_LOCAL
    const spec: RouteSpec = {
      dst,
      prefixLength,
      type,
      table,
      protocol: RTPROT_KERNEL,
      scope: type === RTN_LOCAL ? RT_SCOPE_HOST : RT_SCOPE_LINK,
      // a secondary's local route prefers its primary, which may be gone already when it is deleted
      prefsrc: verb === 'del' && type === RTN_LOCAL ? undefined : src,
      nexthops: [{ dev }],
    }
    if (verb === 'add') this.addRoute(spec, 'append')
    else this.delRoute(spec)
  }

  /** fib_sync_down_addr: routes that prefer a source which is gone are dropped. */
  private dropByPrefsrc(ip: number): void {
    this.each((route, table) => {
      if (route.prefsrc === ip) table.remove(route)
    })
  }

  /**
   * NETDEV_UP: the routes of all addresses come back, dead nexthops live again (fib_sync_up). Called for a carrier that
   * came back too (NETDEV_CHANGE): then only RTNH_F_LINKDOWN is taken back.
   */
  devUp(dev: NetDevice): void {
    if (!this.upDevs.has(dev)) {
      this.upDevs.add(dev)
      for (const ifa of dev.addrs) this.addIfaddr(dev, ifa)
      this.each((route) => {
        if (route.nexthops.length < 2) return
        for (const nh of route.nexthops) if (nh.dev === dev) nh.flags &= ~RTNH_F_DEAD
        if (route.nexthops.some((nh) => (nh.flags & RTNH_F_DEAD) === 0)) route.flags &= ~RTNH_F_DEAD
        fibRebalance(route)
      })
    }
    if (dev.carrier) this.markCarrier(dev, false)
    this.flushCache()
  }

  /**
   * NETDEV_DOWN: routes over the device go, except those of the local table that addresses hold (fib_disable_ip).
   * carrierOnly (NETDEV_CHANGE without carrier): nexthops are only marked RTNH_F_LINKDOWN.
   */
  devDown(dev: NetDevice, carrierOnly: boolean): void {
    if (carrierOnly) this.markCarrier(dev, true)
    else {
      this.upDevs.delete(dev)
      this.syncDown(dev, false)
    }
    this.flushCache()
  }

  /** NETDEV_UNREGISTER: everything that names the device goes. */
  devUnregister(dev: NetDevice): void {
    this.upDevs.delete(dev)
    this.syncDown(dev, true)
    this.flushCache()
  }

  private markCarrier(dev: NetDevice, down: boolean): void {
    this.each((route) => {
      let hit = false
      for (const nh of route.nexthops) {
        if (nh.dev !== dev) continue
        hit = true
        nh.flags = down ? nh.flags | RTNH_F_LINKDOWN : nh.flags & ~RTNH_F_LINKDOWN
      }
      if (!hit) return
      if (route.nexthops.every((nh) => (nh.flags & RTNH_F_LINKDOWN) !== 0)) route.flags |= RTNH_F_LINKDOWN
      else route.flags &= ~RTNH_F_LINKDOWN
      fibRebalance(route)
    })
  }

  /** fib_sync_down_dev + fib_flush: routes with no living nexthop are deleted. */
  private syncDown(dev: NetDevice, all: boolean): void {
    this.each((route, table) => {
      const nhs = route.nexthops
      if (!nhs.some((nh) => nh.dev === dev)) return
      // A local route's nexthop has scope nowhere: it outlives the device's being down, not its removal.
      if (!all && route.scope === RT_SCOPE_HOST) return
      for (const nh of nhs) if (nh.dev === dev) nh.flags |= RTNH_F_DEAD
      if (nhs.every((nh) => (nh.flags & RTNH_F_DEAD) !== 0) || all) table.remove(route)
      else fibRebalance(route)
    })
  }

  /** rt_cache_flush: decisions are made anew. */
  flushCache(): void {
    this.genid++
    this.ns.gen++
  }

  /** net.ipv4.route.flush, which `ip route flush cache` writes: exceptions are forgotten too. */
  flushExceptions(): void {
    this.genid++
    this.ns.gen++
    this.fnheGenid++
  }

  private newTable(id: number): FibTable {
    const t = new FibTable(id)
    this.tables.set(id, t)
    if (id === RT_TABLE_DEFAULT) this.deflt = t
    return t
  }

  private each(visit: RouteVisitor): void {
    for (const table of this.tables.values()) for (const route of table.all()) visit(route, table)
  }
}

/** fib_table_insert's search for a place: by TOS (high first), metric (low first). */
function insertRoute(table: FibTable, route: FibRoute, mode: RouteMode): number {
  const chain = table.chain(route.dst, route.prefixLength) ?? []
  let at = 0
  while (at < chain.length) {
    const r = chain[at]!
    if (r.tos < route.tos || (r.tos === route.tos && r.metric >= route.metric)) break
    at++
  }
  const first = chain[at]
  if (first !== undefined && first.tos === route.tos && first.metric === route.metric) {
    if (mode === 'add') return EEXIST
    let end = at
    let match: FibRoute | null = null
    while (end < chain.length && chain[end]!.tos === route.tos && chain[end]!.metric === route.metric) {
      if (match === null && sameInfo(chain[end]!, route)) match = chain[end]!
      end++
    }
    if (mode === 'replace' || mode === 'change') {
      if (match !== null) return match === first ? 0 : EEXIST
      table.remove(first)
      table.insert(route, at)
      return 0
    }
    if (match !== null) return EEXIST
    if (mode === 'append') at = end
  } else if (mode === 'change') return ENOENT
  table.insert(route, at)
  return 0
}

/** inet_ifa_byprefix: the primary address of a secondary's subnet. */
function findPrimary(dev: NetDevice, ifa: Ifaddr): Ifaddr | undefined {
  const mask = prefixMask(ifa.prefixLength)
  return dev.addrs.find(
    (a) => !a.secondary && a.prefixLength === ifa.prefixLength && ((a.peer ^ ifa.peer) & mask) === 0,
  )
}

/** The broadcast addresses whose routes an address brings. */
function broadcastsOf(ifa: Ifaddr): number[] {
  const out: number[] = []
  if (ifa.broadcast !== 0 && ifa.broadcast !== -1) out.push(ifa.broadcast)
  const mask = prefixMask(ifa.prefixLength)
  if (!ifa.secondary && ifa.prefixLength < 31) out.push((ifa.peer & mask) | ~mask)
  return out
}
