/**
 * Making a route from what ip(8) asks: fib_create_info with its checks and errnos.
 *
 * Linux: net/ipv4/fib_semantics.c (fib_create_info, fib_check_nh, fib_valid_prefsrc, fib_find_info, fib_nh_match). The
 * scope that ip(8) would send when none is given is chosen here (iproute2 ip/iproute.c).
 * Not modelled: nexthop objects, encapsulation, metrics other than mtu and advmss, IPv6 gateways.
 */
import {
  IFF_UP,
  type NetDevice,
  RT_SCOPE_HOST,
  RT_SCOPE_LINK,
  RT_SCOPE_NOWHERE,
  RT_SCOPE_UNIVERSE,
} from '../device/device.ts'
import { EINVAL, ENETDOWN, ENODEV } from '../errno.ts'
import type { Fib } from './fib.ts'
import { FibNh } from './fib-nh.ts'
import { FibRoute, type NexthopSpec, type RouteSpec } from './fib-route.ts'
import { FIB_LOOKUP_IGNORE_LINKSTATE, FibResult, prefixMask, typeError } from './fib-table.ts'
import { Flowi4 } from './flow.ts'
import { fibRebalance } from './multipath.ts'
import {
  RT_TABLE_LOCAL,
  RT_TABLE_MAIN,
  RTN_ANYCAST,
  RTN_BROADCAST,
  RTN_LOCAL,
  RTN_MULTICAST,
  RTN_UNICAST,
  RTNH_F_LINKDOWN,
  RTNH_F_ONLINK,
} from './rtn.ts'

/** The scope that ip(8) sends for a route when the user gives none. */
export function defaultScope(type: number, nexthops: readonly NexthopSpec[]): number {
  if (type === RTN_LOCAL) return RT_SCOPE_HOST
  if (type === RTN_BROADCAST || type === RTN_MULTICAST || type === RTN_ANYCAST) return RT_SCOPE_LINK
  if (type === RTN_UNICAST && nexthops.length === 1 && nexthops[0]!.via === undefined) return RT_SCOPE_LINK
  return RT_SCOPE_UNIVERSE
}

/** fib_props[type].scope */
function propsScope(type: number): number {
  if (type === RTN_LOCAL) return RT_SCOPE_HOST
  return type === RTN_BROADCAST || type === RTN_ANYCAST ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE
}

const scratch = new FibResult()
const flow = new Flowi4()

/** fib_create_info. @returns the route, or a negative errno */
export function fibCreateInfo(fib: Fib, spec: RouteSpec, table: number): FibRoute | number {
  const type = spec.type ?? RTN_UNICAST
  const given = spec.nexthops ?? []
  const scope = spec.scope ?? defaultScope(type, given)
  if (type < RTN_UNICAST || type > 9) return EINVAL
  if (propsScope(type) > scope) return EINVAL
  if ((spec.dst & ~prefixMask(spec.prefixLength)) !== 0) return EINVAL
  if (typeError(type) !== 0) {
    if (given.length > 0) return EINVAL
    return new FibRoute(spec, table, scope, [])
  }
  if (given.length === 0) return ENODEV
  if (scope > RT_SCOPE_HOST) return EINVAL
  const nhs: FibNh[] = []
  if (scope === RT_SCOPE_HOST) {
    if (given.length !== 1 || given[0]!.via !== undefined) return EINVAL
    const dev = given[0]!.dev
    if (dev === undefined) return ENODEV
    const nh = new FibNh(dev, 0, false, 1, 0)
    nh.scope = RT_SCOPE_NOWHERE
    nhs.push(nh)
  } else {
    for (const g of given) {
      const nh = fibCheckNh(fib, g, table, scope)
      if (typeof nh === 'number') return nh
      nhs.push(nh)
    }
  }
  if ((spec.prefsrc ?? 0) !== 0 && !validPrefsrc(fib, spec, type, table)) return EINVAL
  const route = new FibRoute({ ...spec, type }, table, scope, nhs)
  if (nhs.every((nh) => (nh.flags & RTNH_F_LINKDOWN) !== 0)) route.flags |= RTNH_F_LINKDOWN
  fibRebalance(route)
  return route
}

function fibCheckNh(fib: Fib, g: NexthopSpec, table: number, scope: number): FibNh | number {
  const weight = g.weight ?? 1
  const flags = g.onlink === true ? RTNH_F_ONLINK : 0
  if (g.via === undefined || g.via === 0) {
    if (flags !== 0) return EINVAL
    if (g.dev === undefined) return ENODEV
    if ((g.dev.flags & IFF_UP) === 0) return ENETDOWN
    return made(g.dev, 0, false, weight, flags, RT_SCOPE_HOST)
  }
  if (flags !== 0) {
    if (scope >= RT_SCOPE_LINK) return EINVAL
    if (g.dev === undefined) return ENODEV
    if ((g.dev.flags & IFF_UP) === 0) return ENETDOWN
    if (fib.addrTypeDev(g.dev, g.via) !== RTN_UNICAST) return EINVAL
    return made(g.dev, g.via, true, weight, flags, RT_SCOPE_LINK)
  }
  flow.reset()
  flow.daddr = g.via
  flow.scope = Math.max(scope + 1, RT_SCOPE_LINK)
  flow.oif = g.dev?.id ?? -1
  flow.iif = fib.ns.lo.id
  const own = table !== 0 && table !== RT_TABLE_MAIN ? fib.table(table) : null
  let err = own === null ? -1 : own.lookup(flow, scratch, FIB_LOOKUP_IGNORE_LINKSTATE, null)
  if (err !== 0) err = fib.lookup(flow, scratch, FIB_LOOKUP_IGNORE_LINKSTATE)
  if (err !== 0) return err
  if (scratch.type !== RTN_UNICAST && scratch.type !== RTN_LOCAL) return EINVAL
  const dev = scratch.nh!.dev!
  if ((dev.flags & IFF_UP) === 0) return ENETDOWN
  return made(dev, g.via, true, weight, flags, scratch.scope)
}

function made(dev: NetDevice, gw: number, hasGw: boolean, weight: number, flags: number, scope: number): FibNh {
  const nh = new FibNh(dev, gw, hasGw, weight, dev.carrier ? flags : flags | RTNH_F_LINKDOWN)
  nh.scope = scope
  return nh
}

/** fib_valid_prefsrc: the preferred source must be an address of this host. */
function validPrefsrc(fib: Fib, spec: RouteSpec, type: number, table: number): boolean {
  const src = spec.prefsrc!
  if (type === RTN_LOCAL && spec.dst !== 0 && src === spec.dst) return true
  const id = table === RT_TABLE_MAIN ? RT_TABLE_LOCAL : table
  if (fib.addrTypeIn(id, src) === RTN_LOCAL) return true
  return id !== RT_TABLE_LOCAL && fib.addrTypeIn(RT_TABLE_LOCAL, src) === RTN_LOCAL
}

/** Two routes whose fib_info and type would be shared: an exact duplicate. */
export function sameInfo(a: FibRoute, b: FibRoute): boolean {
  if (
    a.type !== b.type ||
    a.scope !== b.scope ||
    a.protocol !== b.protocol ||
    a.prefsrc !== b.prefsrc ||
    a.metric !== b.metric ||
    a.mtu !== b.mtu ||
    a.mtuLocked !== b.mtuLocked ||
    a.advmss !== b.advmss ||
    a.nexthops.length !== b.nexthops.length
  ) {
    return false
  }
  return a.nexthops.every((x, i) => {
    const y = b.nexthops[i]!
    return (
      x.dev === y.dev &&
      x.hasGateway === y.hasGateway &&
      x.gateway === y.gateway &&
      x.weight === y.weight &&
      (x.flags & RTNH_F_ONLINK) === (y.flags & RTNH_F_ONLINK)
    )
  })
}

/** fib_table_delete's test: absent fields of `spec` match everything. */
export function matchesDelete(route: FibRoute, spec: RouteSpec): boolean {
  if (spec.type !== undefined && spec.type !== route.type) return false
  if (spec.scope !== undefined && spec.scope !== RT_SCOPE_NOWHERE && spec.scope !== route.scope) return false
  if (spec.prefsrc !== undefined && spec.prefsrc !== 0 && spec.prefsrc !== route.prefsrc) return false
  if (spec.protocol !== undefined && spec.protocol !== 0 && spec.protocol !== route.protocol) return false
  if (spec.metric !== undefined && spec.metric !== 0 && spec.metric !== route.metric) return false
  if (spec.mtu !== undefined && spec.mtu !== route.mtu) return false
  const nhs = spec.nexthops ?? []
  if (nhs.length === 0) return true
  if (nhs.length > 1 && nhs.length !== route.nexthops.length) return false
  return nhs.every((g, i) => {
    const nh = route.nexthops[i]
    if (nh === undefined) return false
    if (g.dev !== undefined && g.dev !== nh.dev) return false
    return g.via === undefined || (nh.hasGateway && g.via === nh.gateway)
  })
}
