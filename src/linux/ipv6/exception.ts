/**
 * What is learned about single destinations: path MTU and better first hops.
 *
 * Linux: net/ipv6/route.c (__ip6_rt_update_pmtu, rt6_do_update_pmtu, ip6_update_pmtu, rt6_do_redirect, rt6_insert_exception,
 * rt6_find_cached_rt). An exception is a decision of its own, kept at the nexthop by destination. Not modelled: limits of
 * the exception table, exceptions by source (subtrees).
 * Sources: RFC 8201, RFC 4861 8.
 */
import { M_DEV, M_NH, META_SHIFT } from '../../packet/layout.ts'
import {
  NEIGH_UPDATE_F_OVERRIDE,
  NEIGH_UPDATE_F_WEAK_OVERRIDE,
  NUD_STALE,
  neighUpdate,
} from '../neighbour/neighbour.ts'
import type { Netns } from '../netns.ts'
import type { World } from '../world.ts'
import { RTF_DYNAMIC, RTF_GATEWAY, RTF_LOCAL, RTF_MODIFIED } from './fib6-route.ts'
import { Flowi6 } from './flow6.ts'
import { cloneRt, ip6RouteLookupFlags, ip6RouteOutput, RT6_LOOKUP_F_IFACE } from './route.ts'
import type { Rt6 } from './rt6.ts'
import { needsScopeId } from './saddr.ts'

const IPV6_MIN_MTU = 1280
const SECOND = 1_000_000_000
const flow = new Flowi6()

/**
 * __ip6_rt_update_pmtu for a decision that a socket or tunnel holds.
 * @param daddr the destination that the exception is about
 */
export function rt6UpdatePmtu(ns: Netns, rt: Rt6, daddr: number, mtu: number): void {
  if ((rt.flags & RTF_LOCAL) !== 0 || rt.nh === null || rt.route === null || rt.route.mtuLocked) return
  const now = ns.world.nowNs
  if (mtu < IPV6_MIN_MTU || mtu >= rt.mtu()) return
  const nh = rt.nh
  const known = nh.exceptions?.get(daddr)
  const x = known ?? cloneRt(ns, rt, rt.hasGateway ? rt.gateway : 0)
  x.flags |= RTF_MODIFIED
  x.pmtu = mtu
  x.expiresNs = now + ns.sysctl.ipv6.route_mtu_expires * SECOND
  if (known === undefined) {
    nh.exceptions ??= new Map()
    nh.exceptions.set(daddr, x)
    ns.fib6.flushCache()
  }
}

/** ip6_update_pmtu: by the quoted header at `inner` of an ICMPv6 error that came in by device `dev`. */
export function ip6UpdatePmtu(w: World, ns: Netns, inner: number, mtu: number, dev: number, mark: number): void {
  const v = w.arena.view
  const fl = flow.reset()
  fl.daddr = w.in6.read(v, inner + 24)
  fl.saddr = w.in6.read(v, inner + 8)
  fl.mark = mark
  fl.flowlabel = v.getInt32(inner) & 0xfffff
  if (needsScopeId(w.in6, fl.daddr)) fl.oif = dev
  const rt = ip6RouteOutput(ns, fl)
  if (rt.error === 0) rt6UpdatePmtu(ns, rt, fl.daddr, mtu)
}

/**
 * ip6_redirect with rt6_do_redirect: the redirect in `slot` (M_TH at the ICMPv6 header) about the quoted packet at `inner`.
 */
export function ip6Redirect(w: World, ns: Netns, slot: number, inner: number, devId: number): void {
  const v = w.arena.view
  redirect(w, ns, slot, w.in6.read(v, inner + 24), w.in6.read(v, inner + 8), devId)
}

/** ip6_redirect_no_header: only the redirect itself says what it is about. */
export function ip6RedirectNoHeader(w: World, ns: Netns, slot: number, devId: number, th: number): void {
  const v = w.arena.view
  const nh = w.arena.meta[(slot << META_SHIFT) + M_NH]!
  redirect(w, ns, slot, w.in6.read(v, th + 24), w.in6.read(v, nh + 24), devId)
}

/** What ndisc-input.ts found in the redirect that is being handled. */
export const redirectMessage = { target: 0, dest: 0, gateway: 0, macHi: 0, macLo: 0, hasMac: false }

function redirect(w: World, ns: Netns, slot: number, daddr: number, saddr: number, devId: number): void {
  const dev = w.devices[devId] ?? null
  const r = redirectMessage
  if (dev === null || dev.in6 === null) return
  if (dev.in6.conf.forwarding !== 0 || dev.in6.conf.accept_redirects === 0) return
  // the packet's first hop must be who sends the redirect
  const fl = flow.reset()
  fl.daddr = daddr
  fl.saddr = saddr
  fl.oif = devId
  const rt = ip6RouteLookupFlags(ns, fl, RT6_LOOKUP_F_IFACE)
  if (rt.error !== 0 || rt.nh === null || (rt.flags & RTF_GATEWAY) === 0 || rt.gateway !== r.gateway) return
  if (w.arena.meta[(slot << META_SHIFT) + M_DEV] !== devId) return
  const n = ns.nd.lookup(dev, r.target) ?? ns.nd.create(dev, r.target)
  const mac = r.hasMac ? { hi: r.macHi, lo: r.macLo } : null
  const onLink = r.target === r.dest
  neighUpdate(w, n, mac, NUD_STALE, NEIGH_UPDATE_F_WEAK_OVERRIDE | NEIGH_UPDATE_F_OVERRIDE)
  if (!onLink) n.isRouter = true
  const x = cloneRt(ns, rt, r.target)
  x.flags |= RTF_DYNAMIC | RTF_GATEWAY
  if (onLink) x.flags &= ~RTF_GATEWAY
  rt.nh.exceptions ??= new Map()
  rt.nh.exceptions.set(r.dest, x)
  ns.fib6.flushCache()
}
