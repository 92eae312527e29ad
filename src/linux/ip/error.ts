/**
 * What a router tells about packets that it cannot route or would send elsewhere: ip_error, ip_rt_send_redirect.
 *
 * Linux: net/ipv4/route.c. Both have limits of their own per source (struct inet_peer), apart from icmp_ratelimit.
 */
import { M_DEV, M_NH, META_SHIFT } from '../../packet/layout.ts'
import { freeSkb } from '../core/skb.ts'
import { EACCES, EHOSTUNREACH, EINVAL, ENETUNREACH } from '../errno.ts'
import type { Netns } from '../netns.ts'
import { R_NO_ROUTE, R_NOT_FORWARDING, R_ROUTE_BLACKHOLE, R_ROUTE_PROHIBIT, R_ROUTE_UNREACHABLE } from '../reasons.ts'
import { jiffiesAt, msToJiffies } from '../route/peer.ts'
import type { Rtable } from '../route/rtable.ts'
import type { World } from '../world.ts'
import { icmpSend } from './icmp.ts'

const ICMP_DEST_UNREACH = 3
const ICMP_REDIRECT = 5
const ICMP_NET_UNREACH = 0
const ICMP_HOST_UNREACH = 1
const ICMP_PKT_FILTERED = 13
const ICMP_REDIR_HOST = 1

/** ip_error: input of a packet without a usable route. Takes the slot. */
export function ipError(w: World, ns: Netns, slot: number): void {
  const m = slot << META_SHIFT
  const rt = w.arena.dst[slot] as Rtable
  const dev = w.devices[w.arena.meta[m + M_DEV]!]!
  if (dev.conf.forwarding === 0) {
    if (rt.error === EHOSTUNREACH) ns.count('Ip.InAddrErrors')
    else if (rt.error === ENETUNREACH) ns.count('IpExt.InNoRoutes')
    freeSkb(w, slot, R_NOT_FORWARDING, rt.error)
    return
  }
  let code: number
  let reason: number
  switch (rt.error) {
    case EHOSTUNREACH:
      code = ICMP_HOST_UNREACH
      reason = R_ROUTE_UNREACHABLE
      break
    case ENETUNREACH:
      code = ICMP_NET_UNREACH
      reason = R_NO_ROUTE
      ns.count('IpExt.InNoRoutes')
      break
    case EACCES:
      code = ICMP_PKT_FILTERED
      reason = R_ROUTE_PROHIBIT
      break
    default:
      freeSkb(w, slot, rt.error === EINVAL ? R_ROUTE_BLACKHOLE : R_NO_ROUTE, rt.error, rt.route)
      return
  }
  const now = jiffiesAt(w.nowNs)
  const peer = ns.fib.peers.get(w.arena.view.getInt32(w.arena.meta[m + M_NH]! + 12), now)
  const cost = msToJiffies(ns.sysctl.error_cost_ms)
  peer.rateTokens = Math.min(peer.rateTokens + now - peer.rateLast, msToJiffies(ns.sysctl.error_burst_ms))
  peer.rateLast = now
  if (peer.rateTokens >= cost) {
    peer.rateTokens -= cost
    icmpSend(w, slot, ICMP_DEST_UNREACH, code, 0)
  }
  freeSkb(w, slot, reason, rt.error, rt.route)
}

/** ip_rt_send_redirect: tells the sender the better next hop; the slot stays the caller's. */
export function ipRtSendRedirect(w: World, ns: Netns, slot: number): void {
  w.impure = true
  const nh = w.arena.meta[(slot << META_SHIFT) + M_NH]!
  const rt = w.arena.dst[slot] as Rtable
  if (rt.dev.conf.send_redirects === 0 && ns.sysctl.all.send_redirects === 0) return
  const v = w.arena.view
  const now = jiffiesAt(w.nowNs)
  const peer = ns.fib.peers.get(v.getInt32(nh + 12), now)
  const load = msToJiffies(ns.sysctl.redirect_load_ms)
  const number = ns.sysctl.redirect_number
  if (now > peer.rateLast + load * 2 ** (number + 1)) {
    peer.rateTokens = 0
    peer.nRedirects = 0
  }
  if (peer.nRedirects >= number) {
    peer.rateLast = now
    return
  }
  if (peer.nRedirects === 0 || now > peer.rateLast + load * 2 ** peer.nRedirects) {
    icmpSend(w, slot, ICMP_REDIRECT, ICMP_REDIR_HOST, rt.nexthop(v.getInt32(nh + 16)))
    peer.rateLast = now
    peer.nRedirects++
  }
}
