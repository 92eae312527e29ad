/**
 * IPv6 route lookups: for received packets, for packets of this host, and what netfilter asks.
 *
 * Linux: net/ipv6/route.c (ip6_pol_route, fib6_table_lookup, rt6_select, rt6_score_route, fib6_select_path,
 * ip6_route_input, ip6_route_output_flags, ip6_create_rt_rcu, icmp6_dst_alloc), net/ipv6/fib6_rules.c
 * (fib6_rule_lookup, fib6_rule_action), net/ipv6/ip6_output.c (ip6_dst_lookup_tail), net/ipv6/netfilter.c
 * (ip6_route_me_harder). Not modelled: router preferences, rt6_probe of routers that do not answer, source-specific
 * routes, multipath hash policies 2 and 3.
 */
import { M_DEV, M_MARK, M_NH, META_SHIFT } from '../../packet/layout.ts'
import type { NetDevice } from '../device/device.ts'
import { EACCES, EAGAIN, EHOSTUNREACH, EINVAL, ENETUNREACH } from '../errno.ts'
import { NUD_FAILED, NUD_VALID } from '../neighbour/neighbour.ts'
import type { Netns } from '../netns.ts'
import { flowHash } from '../route/multipath.ts'
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
} from '../route/rtn.ts'
import { FR_ACT_BLACKHOLE, FR_ACT_GOTO, FR_ACT_NOP, FR_ACT_PROHIBIT, FR_ACT_UNREACHABLE } from '../route/rule.ts'
import { T_FIB6_INPUT, T_FIB6_OUTPUT } from '../trace.ts'
import type { World } from '../world.ts'
import { ipv6ChkAcastAddr, ipv6ChkAddr } from './addrconf.ts'
import {
  type Fib6Nh,
  type Fib6Route,
  RTF_ANYCAST,
  RTF_CACHE,
  RTF_GATEWAY,
  RTF_LOCAL,
  RTF_NONEXTHOP,
  RTF_REJECT,
  RTF_UP,
} from './fib6-route.ts'
import type { Fib6Table } from './fib6-table.ts'
import { Flowi6 } from './flow6.ts'
import { IPV6_ADDR_LINKLOCAL, IPV6_ADDR_LOOPBACK, IPV6_ADDR_MULTICAST } from './in6.ts'
import {
  DST6_IN_DISCARD,
  DST6_IN_FORWARD,
  DST6_IN_LOCAL,
  DST6_IN_MC,
  DST6_IN_PKT_DISCARD,
  DST6_IN_PROHIBIT,
  DST6_OUT_DISCARD,
  DST6_OUT_PKT_DISCARD,
  DST6_OUT_PROHIBIT,
  Rt6,
} from './rt6.ts'
import { ipv6DevGetSaddr } from './saddr.ts'

export { Flowi6 } from './flow6.ts'
export { Rt6 } from './rt6.ts'

/** RT6_LOOKUP_F_* */
export const RT6_LOOKUP_F_IFACE = 0x01
export const RT6_LOOKUP_F_REACHABLE = 0x02
export const RT6_LOOKUP_F_HAS_SADDR = 0x04
export const RT6_LOOKUP_F_IGNORE_LINKSTATE = 0x40

/** rt6_score_route answers below 0: cannot be used; a router that does not answer. */
const FAIL_HARD = -3
const FAIL_PROBE = -2

/** What a table lookup found; one instance, valid until the next lookup. */
const result: { route: Fib6Route | null; nh: Fib6Nh | null } = { route: null, nh: null }
const flow = new Flowi6()

/** rt6_need_strict: addresses that mean something on one link only. */
export function rt6NeedStrict(w: World, daddr: number): boolean {
  return (w.in6.type(daddr) & (IPV6_ADDR_MULTICAST | IPV6_ADDR_LINKLOCAL | IPV6_ADDR_LOOPBACK)) !== 0
}

/** rt6_score_route */
function score(ns: Netns, route: Fib6Route, nh: Fib6Nh, oif: number, strict: number): number {
  const fits = oif < 0 || (nh.dev !== null && nh.dev.id === oif)
  if (!fits && (strict & RT6_LOOKUP_F_IFACE) !== 0) return FAIL_HARD
  if (
    (strict & RT6_LOOKUP_F_REACHABLE) !== 0 &&
    (route.flags & RTF_NONEXTHOP) === 0 &&
    nh.gateway !== 0 &&
    nh.dev !== null
  ) {
    const n = ns.nd.lookup(nh.dev, nh.gateway)
    if (n !== undefined && (n.state & NUD_VALID) === 0 && (n.state & NUD_FAILED) !== 0) return FAIL_PROBE
  }
  return fits ? 10 : 8
}

/** find_match: whether the nexthop may be used at all. */
function usable(nh: Fib6Nh, strict: number): boolean {
  if ((nh.flags & RTNH_F_DEAD) !== 0) return false
  if ((nh.flags & RTNH_F_LINKDOWN) === 0 || (strict & RT6_LOOKUP_F_IGNORE_LINKSTATE) !== 0) return true
  return nh.dev === null || nh.dev.in6 === null || nh.dev.in6.conf.ignore_routes_with_linkdown === 0
}

/** rt6_select: the best route of a node; a later metric only when none of the earlier ones can be used. */
function select(ns: Netns, node: readonly Fib6Route[], oif: number, strict: number): boolean {
  let best = -1
  let metric = -1
  result.route = null
  result.nh = null
  for (let i = 0; i < node.length; i++) {
    const r = node[i]!
    if (r.metric !== metric && result.route !== null) break
    metric = r.metric
    for (let k = 0; k < r.nexthops.length; k++) {
      const nh = r.nexthops[k]!
      if (!usable(nh, strict)) continue
      const s = score(ns, r, nh, oif, strict)
      if (s > best) {
        best = s
        result.route = r
        result.nh = nh
      }
    }
  }
  return result.route !== null
}

function lookupOnce(ns: Netns, table: Fib6Table, fl: Flowi6, oif: number, strict: number): boolean {
  const in6 = ns.world.in6
  const lengths = table.lengths
  for (let i = 0; i < lengths.length; i++) {
    const plen = lengths[i]!
    const key = plen === 128 ? fl.daddr : in6.findPrefix(fl.daddr, plen)
    if (key < 0) continue
    const node = table.levels[plen]!.get(key)
    if (node !== undefined && select(ns, node, oif, strict)) return true
  }
  return false
}

/** fib6_table_lookup. @returns the scratch result, null when nothing fits */
export function fib6TableLookup(
  ns: Netns,
  table: Fib6Table,
  fl: Flowi6,
  oif: number,
  strict: number,
): { route: Fib6Route | null; nh: Fib6Nh | null } | null {
  if (lookupOnce(ns, table, fl, oif, strict)) return result
  if ((strict & RT6_LOOKUP_F_REACHABLE) === 0) return null
  return lookupOnce(ns, table, fl, oif, strict & ~RT6_LOOKUP_F_REACHABLE) ? result : null
}

/** rt6_multipath_hash of a flow. */
function multipathHash(ns: Netns, fl: Flowi6): number {
  const in6 = ns.world.in6
  const fold = (id: number) =>
    in6.word(id, 0) ^ Math.imul(in6.word(id, 1), 3) ^ Math.imul(in6.word(id, 2), 5) ^ in6.word(id, 3)
  let rest = fl.flowlabel ^ Math.imul(fl.proto, 0x01000193)
  if (ns.sysctl.ipv6.fib_multipath_hash_policy === 1)
    rest = ((fl.sport << 16) | fl.dport) ^ Math.imul(fl.proto, 0x01000193)
  return flowHash(ns.fib6.multipathKey, fold(fl.saddr), fold(fl.daddr), rest)
}

/** fib6_select_path: the nexthop of a multipath route that the flow's hash names. */
function selectPath(ns: Netns, fl: Flowi6, oif: number, strict: number): void {
  const route = result.route!
  if (route.nexthops.length < 2) return
  const hash = fl.mpHash !== 0 ? fl.mpHash : multipathHash(ns, fl)
  for (const nh of route.nexthops) {
    if (hash > nh.upperBound || nh.upperBound === -1) continue
    if (score(ns, route, nh, oif, strict) < 0) break
    result.nh = nh
    return
  }
}

/** ip6_rt_type_to_error */
function typeError(type: number): number {
  switch (type) {
    case RTN_BLACKHOLE:
      return EINVAL
    case RTN_PROHIBIT:
      return EACCES
    case RTN_THROW:
      return EAGAIN
    case RTN_UNREACHABLE:
      return EHOSTUNREACH
    default:
      return 0
  }
}

/** ip6_create_rt_rcu with ip6_rt_init_dst. */
function createRt(ns: Netns, route: Fib6Route, nh: Fib6Nh, gateway: number): Rt6 {
  const own = (route.flags & (RTF_LOCAL | RTF_ANYCAST)) !== 0
  const dev = own ? ns.lo : (nh.dev ?? ns.lo)
  const flags = route.flags & ~RTF_GATEWAY
  const rt = new Rt6(route.type, dev, nh.dev ?? ns.lo, gateway !== 0 ? flags | RTF_GATEWAY : flags, gateway, nh, route)
  rt.plen = route.prefixLength
  if ((route.flags & RTF_REJECT) !== 0) {
    rt.error = typeError(route.type)
    if (route.type === RTN_BLACKHOLE) {
      rt.input = DST6_IN_DISCARD
      rt.output = DST6_OUT_DISCARD
    } else if (route.type === RTN_PROHIBIT) {
      rt.input = DST6_IN_PROHIBIT
      rt.output = DST6_OUT_PROHIBIT
    } else {
      rt.input = DST6_IN_PKT_DISCARD
      rt.output = DST6_OUT_PKT_DISCARD
    }
  } else if (route.type === RTN_LOCAL || route.type === RTN_ANYCAST) rt.input = DST6_IN_LOCAL
  else if (route.type === RTN_MULTICAST) rt.input = DST6_IN_MC
  else rt.input = DST6_IN_FORWARD
  return rt
}

/** ip6_create_rt_rcu for an exception: a decision about one destination. */
export function cloneRt(ns: Netns, from: Rt6, gateway: number): Rt6 {
  const rt = createRt(ns, from.route!, from.nh!, gateway)
  rt.flags |= RTF_CACHE
  rt.plen = 128
  return rt
}

/** The namespace's entries of a lookup that found nothing. */
function specialRt(ns: Netns, type: number): Rt6 {
  const rt = new Rt6(type, ns.lo, ns.lo, RTF_UP | RTF_REJECT | RTF_NONEXTHOP, 0, null, null)
  if (type === RTN_BLACKHOLE) {
    rt.error = EINVAL
    rt.input = DST6_IN_DISCARD
    rt.output = DST6_OUT_DISCARD
  } else if (type === RTN_PROHIBIT) {
    rt.error = EACCES
    rt.input = DST6_IN_PROHIBIT
    rt.output = DST6_OUT_PROHIBIT
  } else {
    rt.error = ENETUNREACH
    rt.input = DST6_IN_PKT_DISCARD
    rt.output = DST6_OUT_PKT_DISCARD
  }
  return rt
}

const specials = new WeakMap<Netns, Map<number, Rt6>>()

function special(ns: Netns, type: number): Rt6 {
  let map = specials.get(ns)
  if (map === undefined) {
    map = new Map()
    specials.set(ns, map)
  }
  let rt = map.get(type)
  if (rt === undefined) {
    rt = specialRt(ns, type)
    map.set(type, rt)
  }
  return rt
}

/** ip6_pol_route. @returns the decision, null when the table has none */
function polRoute(ns: Netns, table: Fib6Table, fl: Flowi6, oif: number, flags: number): Rt6 | null {
  let strict = flags & (RT6_LOOKUP_F_IFACE | RT6_LOOKUP_F_IGNORE_LINKSTATE)
  if (ns.sysctl.ipv6.all.forwarding === 0) strict |= RT6_LOOKUP_F_REACHABLE
  if (fib6TableLookup(ns, table, fl, oif, strict) === null) return null
  selectPath(ns, fl, oif, strict)
  const route = result.route!
  const nh = result.nh!
  const learned = nh.exceptions?.get(fl.daddr)
  if (learned !== undefined) {
    if (learned.expiresNs === 0 || learned.expiresNs > ns.world.nowNs) return learned
    nh.exceptions!.delete(fl.daddr)
  }
  if (nh.rt !== null && nh.rtGenid === ns.fib6.genid) return nh.rt
  const rt = createRt(ns, route, nh, nh.gateway)
  rt.genid = ns.fib6.genid
  nh.rt = rt
  nh.rtGenid = ns.fib6.genid
  return rt
}

/** fib6_rule_lookup */
function ruleLookup(ns: Netns, fl: Flowi6, oif: number, flags: number): Rt6 {
  const fib = ns.fib6
  if (!fib.hasCustomRules) {
    let rt = polRoute(ns, fib.local, fl, oif, flags)
    if (rt !== null && rt.error !== EAGAIN) return rt
    rt = polRoute(ns, fib.main, fl, oif, flags)
    return rt !== null && rt.error !== EAGAIN ? rt : special(ns, RTN_UNREACHABLE)
  }
  const rules = fib.rules
  for (let i = 0; i < rules.length; i++) {
    const r = rules[i]!
    if (!r.matches(ns, fl)) continue
    const base = r.base
    switch (base.action) {
      case FR_ACT_GOTO: {
        const at = rules.findIndex((o) => o.pref >= base.target)
        if (at > i) i = at - 1
        continue
      }
      case FR_ACT_NOP:
        continue
      case FR_ACT_UNREACHABLE:
        return special(ns, RTN_UNREACHABLE)
      case FR_ACT_PROHIBIT:
        return special(ns, RTN_PROHIBIT)
      case FR_ACT_BLACKHOLE:
        return special(ns, RTN_BLACKHOLE)
      default: {
        const table = fib.table(base.table)
        const rt = table === null ? null : polRoute(ns, table, fl, oif, flags)
        if (rt === null || rt.error === EAGAIN) continue
        // fib6_rule_suppress
        if (base.suppressPrefixlength >= 0 && rt.plen <= base.suppressPrefixlength) continue
        return rt
      }
    }
  }
  return special(ns, RTN_UNREACHABLE)
}

/** ip6_route_lookup with RT6_LOOKUP_F_*: as rpfilter and fib expressions ask; `fl.oif` is the device that counts. */
export function ip6RouteLookupFlags(ns: Netns, fl: Flowi6, flags: number): Rt6 {
  return ruleLookup(ns, fl, fl.oif, flags)
}

/** ip6_route_input: sets arena.dst of a received packet; refusals are decisions too. */
export function ip6RouteInput(w: World, ns: Netns, slot: number): void {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = meta[m + M_NH]!
  const fl = flow.reset()
  fl.iif = meta[m + M_DEV]!
  fl.daddr = w.in6.read(v, nh + 24)
  fl.saddr = w.in6.read(v, nh + 8)
  const vcf = v.getInt32(nh)
  fl.flowlabel = vcf & 0xfffff
  fl.tclass = (vcf >>> 20) & 0xff
  fl.mark = meta[m + M_MARK]!
  fl.proto = v.getUint8(nh + 6)
  const flags = RT6_LOOKUP_F_HAS_SADDR | (rt6NeedStrict(w, fl.daddr) ? RT6_LOOKUP_F_IFACE : 0)
  const rt = ruleLookup(ns, fl, fl.iif, flags)
  w.arena.dst[slot] = rt
  if (w.tracer !== null) {
    w.tracer.step(T_FIB6_INPUT, slot, ns, rt.dev, rt.type, rt.gateway, rt.route?.table ?? 0, rt.route)
  }
}

/** ip6_route_output_flags: the decision for a packet of this host; check `error`. */
export function ip6RouteOutput(ns: Netns, fl: Flowi6): Rt6 {
  let flags = 0
  const anySrc = fl.saddr === 0
  if (rt6NeedStrict(ns.world, fl.daddr) || (fl.oif >= 0 && anySrc)) flags |= RT6_LOOKUP_F_IFACE
  if (!anySrc) flags |= RT6_LOOKUP_F_HAS_SADDR
  return ruleLookup(ns, fl, fl.oif, flags)
}

/** ip6_route_get_saddr: the source that a decision names. @returns 0 when there is none */
export function ip6RouteGetSaddr(ns: Netns, rt: Rt6, daddr: number): number {
  if (rt.route !== null && rt.route.prefsrc !== 0) return rt.route.prefsrc
  return ipv6DevGetSaddr(ns, rt.idev, daddr, 0)
}

/** ip6_dst_lookup_tail: decision and source address (`fl.saddr`) for a packet of this host; check `error`. */
export function ip6DstLookup(ns: Netns, fl: Flowi6): Rt6 {
  if (fl.saddr !== 0) return ip6RouteOutput(ns, fl)
  let rt = ip6RouteOutput(ns, fl)
  const saddr = rt.route === null ? 0 : ip6RouteGetSaddr(ns, rt, fl.daddr)
  if (saddr === 0) {
    if (rt.error === 0) return noSource(ns)
    return rt
  }
  fl.saddr = saddr
  // an erroneous first answer is forgotten: the lookup with the source takes over
  if (rt.error !== 0) rt = ip6RouteOutput(ns, fl)
  return rt
}

/** -EADDRNOTAVAIL of ip6_route_get_saddr, as a decision. */
function noSource(ns: Netns): Rt6 {
  const rt = specialRt(ns, RTN_UNREACHABLE)
  rt.error = EADDRNOTAVAIL
  return rt
}
const EADDRNOTAVAIL = -99

/** ip6_dst_check: false when a decision that was kept must be made again. */
export function rt6Check(ns: Netns, rt: Rt6, daddr: number): boolean {
  const nh = rt.nh
  if (nh === null) return false
  const learned = nh.exceptions?.get(daddr)
  if (learned !== undefined) return learned === rt && (rt.expiresNs === 0 || rt.expiresNs > ns.world.nowNs)
  return nh.rt === rt && nh.rtGenid === ns.fib6.genid
}

const mcDecisions = new WeakMap<NetDevice, Rt6>()

/** icmp6_dst_alloc: a decision without a lookup, straight to `daddr` on the device. */
export function icmp6DstAlloc(dev: NetDevice, daddr: number): Rt6 {
  const known = mcDecisions.get(dev)
  if (known !== undefined && known.gateway === daddr) return known
  const rt = new Rt6(RTN_UNICAST, dev, dev, RTF_UP, daddr, null, null)
  mcDecisions.set(dev, rt)
  return rt
}

const fakes = new WeakMap<NetDevice, Rt6>()

/** The stand-in decision that a bridged packet carries through the IPv6 hooks (fake_rtable). */
export function fakeRt6(dev: NetDevice): Rt6 {
  let rt = fakes.get(dev)
  if (rt === undefined) {
    rt = new Rt6(0, dev, dev, 0, 0, null, null)
    fakes.set(dev, rt)
  }
  return rt
}

/** T_FIB6_OUTPUT for a packet that got its decision. */
export function traceOutput6(w: World, ns: Netns, slot: number, rt: Rt6): void {
  w.tracer!.step(T_FIB6_OUTPUT, slot, ns, rt.dev, rt.type, rt.gateway, rt.route?.table ?? 0, rt.route)
}

/**
 * ip6_route_me_harder: a new decision for a locally made packet whose addresses or mark netfilter changed.
 * @returns 0 or a negative errno
 */
export function ip6RouteMeHarder(w: World, ns: Netns, slot: number): number {
  const m = slot << META_SHIFT
  const meta = w.arena.meta
  const v = w.arena.view
  const nh = meta[m + M_NH]!
  const fl = flow.reset()
  fl.daddr = w.in6.read(v, nh + 24)
  fl.saddr = w.in6.read(v, nh + 8)
  const old = w.arena.dst[slot] as Rt6 | null
  const strict = (w.in6.type(fl.daddr) & (IPV6_ADDR_MULTICAST | IPV6_ADDR_LINKLOCAL)) !== 0
  if (strict && old !== null) fl.oif = old.dev.id
  fl.mark = meta[m + M_MARK]!
  fl.proto = v.getUint8(nh + 6)
  fl.flowlabel = v.getInt32(nh) & 0xfffff
  const rt = ip6RouteOutput(ns, fl)
  if (rt.error !== 0) return rt.error
  w.arena.dst[slot] = rt
  if (w.tracer !== null) traceOutput6(w, ns, slot, rt)
  return 0
}

/** What kind of address this is to the host: RTN_LOCAL, RTN_ANYCAST, RTN_MULTICAST, or what its route says (addrtype). */
export function ip6AddrType(ns: Netns, addr: number, dev: NetDevice | null): number {
  const in6 = ns.world.in6
  if (in6.isMulticast(addr)) return RTN_MULTICAST
  if (ipv6ChkAddr(ns, addr, dev)) return RTN_LOCAL
  if (ipv6ChkAcastAddr(ns, dev, addr)) return RTN_ANYCAST
  const fl = flow.reset()
  fl.daddr = addr
  if (dev !== null) fl.oif = dev.id
  const rt = ip6RouteLookupFlags(ns, fl, dev === null ? 0 : RT6_LOOKUP_F_IFACE)
  if ((rt.flags & RTF_REJECT) !== 0) return RTN_UNREACHABLE
  if (rt.isLocal) return RTN_LOCAL
  return rt.isAnycast ? RTN_ANYCAST : RTN_UNICAST
}
