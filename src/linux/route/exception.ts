/**
 * What is learned about single destinations: path MTU and redirects, kept as nexthop exceptions.
 *
 * Linux: net/ipv4/route.c (find_exception, update_or_create_fnhe, fill_route_from_fnhe, rt_bind_exception,
 * __ip_rt_update_pmtu, ipv4_update_pmtu, __ip_do_redirect). Not modelled: the bound on the number of exceptions.
 */
import { M_DATA, M_DEV, M_MARK, M_NH, M_TH, META_SHIFT } from '../../packet/layout.ts'
import { inetAddrOnlink } from '../device/inet.ts'
import { NUD_VALID, neighEventSend, neighLookupOrCreate } from '../neighbour/neighbour.ts'
import type { Netns } from '../netns.ts'
import type { World } from '../world.ts'
import { type FibNh, FibNhException } from './fib-nh.ts'
import { FibResult } from './fib-table.ts'
import { Flowi4 } from './flow.ts'
import { fibSelectPath, ipRouteOutput } from './output-route.ts'
import type { Rtable } from './rtable.ts'
import { INET_DSCP_MASK, RTN_UNICAST } from './rtn.ts'

/** DST_OBSOLETE_KILL */
const DST_OBSOLETE_KILL = -1
const SECOND_NS = 1e9
/** ip_rt_gc_timeout: how long a redirect is believed. */
const REDIRECT_NS = 300 * SECOND_NS

const res = new FibResult()
const flow = new Flowi4()

/** find_exception: what is known about `daddr` behind this nexthop; an expired entry is forgotten. */
export function findException(ns: Netns, nh: FibNh, daddr: number): FibNhException | null {
  if (nh.exceptions === null) return null
  const fnhe = nh.exceptions.get(daddr)
  if (fnhe === undefined) return null
  if (fnhe.expiresNs !== 0 && ns.world.nowNs > fnhe.expiresNs) {
    flushRoutes(fnhe)
    nh.exceptions.delete(daddr)
    return null
  }
  return fnhe
}

/** fill_route_from_fnhe */
export function fillRouteFromFnhe(rt: Rtable, fnhe: FibNhException): void {
  rt.pmtu = fnhe.pmtu
  rt.mtuLocked = fnhe.mtuLocked
  rt.expiresNs = fnhe.expiresNs
  if (fnhe.gateway !== 0) {
    rt.usesGateway = true
    rt.hasGateway = true
    rt.gateway = fnhe.gateway
  }
}

/** rt_bind_exception: gives the decision what was learned, and keeps it with the exception. */
export function rtBindException(ns: Netns, rt: Rtable, fnhe: FibNhException, doCache: boolean): void {
  if (fnhe.genid !== ns.fib.fnheGenid) {
    fnhe.genid = ns.fib.fnheGenid
    fnhe.gateway = 0
    fnhe.pmtu = 0
    fnhe.expiresNs = 0
    fnhe.mtuLocked = false
    flushRoutes(fnhe)
  }
  fillRouteFromFnhe(rt, fnhe)
  rt.fnhe = fnhe
  if (!rt.hasGateway) {
    rt.hasGateway = true
    rt.gateway = fnhe.daddr
  }
  if (!doCache) return
  if (rt.isInput) fnhe.rthInput = rt
  else fnhe.rthOutput = rt
}

function flushRoutes(fnhe: FibNhException): void {
  if (fnhe.rthInput !== null) fnhe.rthInput.obsolete = DST_OBSOLETE_KILL
  if (fnhe.rthOutput !== null) fnhe.rthOutput.obsolete = DST_OBSOLETE_KILL
  fnhe.rthInput = null
  fnhe.rthOutput = null
}

/** update_or_create_fnhe */
export function updateOrCreateFnhe(
  ns: Netns,
  nh: FibNh,
  daddr: number,
  gateway: number,
  pmtu: number,
  lock: boolean,
  expiresNs: number,
): void {
  nh.exceptions ??= new Map()
  ns.gen++
  let fnhe = nh.exceptions.get(daddr)
  if (fnhe !== undefined) {
    fnhe.genid = ns.fib.fnheGenid
    if (gateway !== 0) fnhe.gateway = gateway
    if (pmtu !== 0) {
      fnhe.pmtu = pmtu
      fnhe.mtuLocked = lock
    }
    fnhe.expiresNs = expiresNs
    if (fnhe.rthInput !== null) fillRouteFromFnhe(fnhe.rthInput, fnhe)
    if (fnhe.rthOutput !== null) fillRouteFromFnhe(fnhe.rthOutput, fnhe)
    return
  }
  fnhe = new FibNhException(daddr)
  fnhe.genid = ns.fib.fnheGenid
  fnhe.gateway = gateway
  fnhe.pmtu = pmtu
  fnhe.mtuLocked = lock
  fnhe.expiresNs = expiresNs
  nh.exceptions.set(daddr, fnhe)
  // Whoever holds the nexthop's cached decisions must look again whether the exception is for him.
  if (nh.rthInput !== null) nh.rthInput.obsolete = DST_OBSOLETE_KILL
  if (nh.rthOutput !== null) nh.rthOutput.obsolete = DST_OBSOLETE_KILL
}

/** __ip_rt_update_pmtu: `mtu` is what a router said fits towards fl.daddr. */
export function ipRtUpdatePmtu(ns: Netns, rt: Rtable, fl: Flowi4, mtu: number): void {
  if (rt.locked) return
  const now = ns.world.nowNs
  const old = rt.mtu()
  if (old < mtu) return
  let lock = false
  if (mtu < ns.sysctl.min_pmtu) {
    lock = true
    mtu = Math.min(old, ns.sysctl.min_pmtu)
  }
  const expires = ns.sysctl.mtu_expires * SECOND_NS
  if (rt.pmtu === mtu && !lock && now < rt.expiresNs - expires / 2) return
  if (ns.fib.lookup(fl, res, 0) !== 0) return
  fibSelectPath(ns, res, fl)
  const nhs = res.route!.nexthops
  if (nhs.length > 1) {
    for (const nh of nhs) updateOrCreateFnhe(ns, nh, fl.daddr, 0, mtu, lock, now + expires)
  } else updateOrCreateFnhe(ns, res.nh!, fl.daddr, 0, mtu, lock, now + expires)
}

/** __build_flow_key from the IP header quoted at M_DATA, as if this host sent it. */
function quotedFlow(w: World, ns: Netns, slot: number, oif: number, proto: number): Flowi4 {
  const m = slot << META_SHIFT
  const iph = w.arena.meta[m + M_DATA]!
  const v = w.arena.view
  const fl = flow.reset()
  fl.daddr = v.getInt32(iph + 16)
  fl.saddr = v.getInt32(iph + 12)
  fl.oif = oif
  fl.tos = v.getUint8(iph + 1) & INET_DSCP_MASK
  fl.proto = proto
  fl.mark = ns.sysctl.fwmark_reflect !== 0 ? w.arena.meta[m + M_MARK]! : 0
  return fl
}

/** ipv4_update_pmtu: M_DATA at the quoted header of a packet of ours; oif a device id or -1. */
export function ipv4UpdatePmtu(w: World, ns: Netns, slot: number, mtu: number, oif: number, proto: number): void {
  const fl = quotedFlow(w, ns, slot, oif, proto)
  const rt = ipRouteOutput(ns, fl)
  if (rt !== null) ipRtUpdatePmtu(ns, rt, fl, mtu)
}

/** IN_DEV_RX_REDIRECTS */
function acceptsRedirects(ns: Netns, dev: { conf: { forwarding: number; accept_redirects: number } }): boolean {
  const all = ns.sysctl.all.accept_redirects !== 0
  const own = dev.conf.accept_redirects !== 0
  return dev.conf.forwarding !== 0 ? all && own : all || own
}

/** ipv4_redirect with __ip_do_redirect: M_DATA at the quoted header, M_TH at the ICMP header. */
export function ipv4Redirect(w: World, ns: Netns, slot: number, oif: number, proto: number): void {
  const m = slot << META_SHIFT
  const v = w.arena.view
  const icmph = w.arena.meta[m + M_TH]!
  const dev = w.devices[w.arena.meta[m + M_DEV]!]
  if (dev == null || (v.getUint8(icmph + 1) & 7) > 3) return
  const fl = quotedFlow(w, ns, slot, oif, proto)
  const rt = ipRouteOutput(ns, fl)
  if (rt === null) return
  const oldGw = v.getInt32(w.arena.meta[m + M_NH]! + 12)
  const newGw = v.getInt32(icmph + 4)
  if (!rt.hasGateway || rt.gateway !== oldGw) return
  if (newGw === oldGw || !acceptsRedirects(ns, dev) || newGw >>> 28 >= 14 || newGw >>> 24 === 0) return
  const all = ns.sysctl.all
  if (dev.conf.shared_media === 0 && all.shared_media === 0) {
    if (!inetAddrOnlink(dev, newGw, oldGw)) return
  } else if (ns.fib.addrTypeIn(255, newGw) !== RTN_UNICAST) return
  const n = neighLookupOrCreate(ns, rt.dev, newGw)
  if ((n.state & NUD_VALID) === 0) {
    neighEventSend(w, n, -1)
    return
  }
  if (ns.fib.lookup(fl, res, 0) !== 0) return
  fibSelectPath(ns, res, fl)
  updateOrCreateFnhe(ns, res.nh!, fl.daddr, newGw, 0, false, w.nowNs + REDIRECT_NS)
}
