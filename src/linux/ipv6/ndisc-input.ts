/**
 * Neighbour Discovery: what this host hears.
 *
 * Linux: net/ipv6/ndisc.c (ndisc_rcv, ndisc_recv_ns, ndisc_recv_na, ndisc_recv_rs, ndisc_redirect_rcv,
 * ndisc_parse_options). Sources: RFC 4861 7, RFC 4862 5.4.3, RFC 4389 (proxy), RFC 9131. Not modelled: router
 * advertisements that would be accepted (UNMODELLED), 802.15.4 options, NDISC user options, proxy_qlen.
 */
import {
  M_DATA,
  M_DEV,
  M_FLAGS,
  M_LEN,
  M_NH,
  M_PKTTYPE,
  M_TH,
  META_SHIFT,
  PACKET_HOST,
  PACKET_LOOPBACK,
} from '../../packet/layout.ts'
import { consumeSkb, freeSkb } from '../core/skb.ts'
import type { NetDevice } from '../device/device.ts'
import {
  NEIGH_UPDATE_F_OVERRIDE,
  NEIGH_UPDATE_F_WEAK_OVERRIDE,
  type Neighbour,
  NUD_FAILED,
  NUD_REACHABLE,
  NUD_STALE,
  neighUpdate,
} from '../neighbour/neighbour.ts'
import type { Netns } from '../netns.ts'
import { R_NDISC_BAD, R_NDISC_IGNORED, R_UNMODELLED } from '../reasons.ts'
import { Timer } from '../timers.ts'
import { T_NDISC } from '../trace.ts'
import type { World } from '../world.ts'
import { ipv6ChkAcastAddr, ipv6GetIfaddr } from './addrconf.ts'
import { acceptsRa, addrconfDadFailure } from './dad.ts'
import { ip6RedirectNoHeader, redirectMessage } from './exception.ts'
import { SKB6_FRAGMENTED } from './exthdrs.ts'
import { notify } from './icmp-input.ts'
import { IPV6_ADDR_LINKLOCAL } from './in6.ts'
import { IFA_F_OPTIMISTIC, IFA_F_TENTATIVE } from './inet6-dev.ts'
import {
  ND_OPT_NONCE,
  ND_OPT_REDIRECT_HDR,
  ND_OPT_SOURCE_LL_ADDR,
  ND_OPT_TARGET_LL_ADDR,
  NDISC_NEIGHBOUR_ADVERTISEMENT,
  NDISC_NEIGHBOUR_SOLICITATION,
  NDISC_REDIRECT,
  NDISC_ROUTER_SOLICITATION,
  ndiscSendNa,
} from './ndisc-send.ts'

/** USER_HZ tick in ns. */
const TICK_NS = 10_000_000

/** Options of the message in hand: absolute offsets, 0 when absent. */
const opts = { source: 0, target: 0, nonce: 0, redirected: 0 }

/** ndisc_parse_options. @returns false when an option is malformed */
function parseOptions(v: DataView, start: number, end: number): boolean {
  opts.source = 0
  opts.target = 0
  opts.nonce = 0
  opts.redirected = 0
  let at = start
  while (at < end) {
    if (at + 2 > end) return false
    const len = v.getUint8(at + 1) << 3
    if (len === 0 || at + len > end) return false
    const type = v.getUint8(at)
    if (type === ND_OPT_SOURCE_LL_ADDR && opts.source === 0) opts.source = at
    else if (type === ND_OPT_TARGET_LL_ADDR && opts.target === 0) opts.target = at
    else if (type === ND_OPT_NONCE && opts.nonce === 0) opts.nonce = at
    else if (type === ND_OPT_REDIRECT_HDR && opts.redirected === 0) opts.redirected = at
    at += len
  }
  return true
}

/** ndisc_rcv: M_DATA at the ICMPv6 header, checksum verified. Takes the slot. */
export function ndiscRcv(w: World, ns: Netns, slot: number): void {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = meta[m + M_NH]!
  const th = meta[m + M_DATA]!
  const dev = w.devices[meta[m + M_DEV]!]!
  const fragmented = (meta[m + M_FLAGS]! & SKB6_FRAGMENTED) !== 0
  const suppress = dev.in6 === null || dev.in6.conf.suppress_frag_ndisc !== 0
  if ((fragmented && suppress) || v.getUint8(nh + 7) !== 255 || v.getUint8(th + 1) !== 0) {
    freeSkb(w, slot, R_NDISC_BAD)
    return
  }
  meta[m + M_TH] = th
  const type = v.getUint8(th)
  const end = th + meta[m + M_LEN]!
  if (w.tracer !== null) {
    w.tracer.step(T_NDISC, slot, ns, dev, type, end - th >= 24 && type >= 135 ? w.in6.read(v, th + 8) : 0, 0, null)
  }
  let reason: number
  if (type === NDISC_NEIGHBOUR_SOLICITATION) reason = recvNs(w, ns, slot, dev, nh, th, end)
  else if (type === NDISC_NEIGHBOUR_ADVERTISEMENT) reason = recvNa(w, ns, slot, dev, nh, th, end)
  else if (type === NDISC_ROUTER_SOLICITATION) reason = recvRs(w, ns, dev, nh, th, end)
  else if (type === NDISC_REDIRECT) reason = recvRedirect(w, ns, slot, dev, nh, th, end)
  else reason = recvRa(w, dev, nh, th, end)
  if (reason === 0) consumeSkb(w, slot)
  else freeSkb(w, slot, reason, type, reason === R_UNMODELLED ? 'router advertisement' : null)
}

/** A link-layer address option must be 8 bytes long for Ethernet (ndisc_opt_addr_data). */
function addrData(v: DataView, at: number): boolean {
  return v.getUint8(at + 1) === 1
}

/** ndisc_update: a new address for the neighbour, when the option at `at` (0: none) gives one. */
function update(w: World, n: Neighbour, at: number, state: number, flags: number): void {
  const v = w.arena.view
  neighUpdate(w, n, at === 0 ? null : { hi: v.getUint16(at + 2), lo: v.getInt32(at + 4) }, state, flags)
}

/** ndisc_recv_ns. @returns 0 or a reason */
function recvNs(w: World, ns: Netns, slot: number, dev: NetDevice, nh: number, th: number, end: number): number {
  const v = w.arena.view
  const in6 = w.in6
  if (end - th < 24) return R_NDISC_BAD
  const saddr = in6.read(v, nh + 8)
  const daddr = in6.read(v, nh + 24)
  const target = in6.read(v, th + 8)
  if (in6.isMulticast(target)) return R_NDISC_BAD
  const dad = saddr === 0
  if (dad && !isSolicitedNode(w, daddr)) return R_NDISC_BAD
  if (!parseOptions(v, th + 24, end)) return R_NDISC_BAD
  if (opts.source !== 0 && (!addrData(v, opts.source) || dad)) return R_NDISC_BAD
  const inc = in6.isMulticast(daddr)
  let router = dev.in6 !== null && dev.in6.conf.forwarding !== 0
  const ifp = ipv6GetIfaddr(dev, target)
  if (ifp !== null) {
    if ((ifp.flags & (IFA_F_TENTATIVE | IFA_F_OPTIMISTIC)) !== 0) {
      if (dad) {
        if (opts.nonce !== 0 && v.getUint8(opts.nonce + 1) === 1 && ifp.dadNonce === nonceAt(v, opts.nonce)) {
          return R_NDISC_IGNORED
        }
        addrconfDadFailure(ifp)
        return 0
      }
      if ((ifp.flags & IFA_F_OPTIMISTIC) === 0) return R_NDISC_IGNORED
    }
  } else {
    const idev = dev.in6!
    const acast = ipv6ChkAcastAddr(ns, dev, target)
    const proxies = idev.conf.forwarding !== 0 && (idev.conf.proxy_ndp !== 0 || ns.sysctl.ipv6.all.proxy_ndp !== 0)
    if (!acast && !(proxies && ns.nd.isProxied(dev, target))) return R_NDISC_IGNORED
    if (!acast) router = false
    const delay = idev.ndParms.proxy_delay
    if (w.arena.meta[(slot << META_SHIFT) + M_PKTTYPE] !== PACKET_HOST && inc && delay !== 0) {
      // pneigh_enqueue: answered later, as if it came again
      const source = opts.source
      const hi = source === 0 ? 0 : v.getUint16(source + 2)
      const lo = source === 0 ? 0 : v.getInt32(source + 4)
      const t = new Timer(() => {
        if (dad) {
          ndiscSendNa(w, dev, in6.intern(0xff020000 | 0, 0, 0, 1), target, router, false, false, true)
          return
        }
        const n = source !== 0 ? (ns.nd.lookup(dev, saddr) ?? ns.nd.create(dev, saddr)) : ns.nd.lookup(dev, saddr)
        if (n === undefined) return
        const flags = NEIGH_UPDATE_F_WEAK_OVERRIDE | NEIGH_UPDATE_F_OVERRIDE
        neighUpdate(w, n, source === 0 ? null : { hi, lo }, NUD_STALE, flags)
        ndiscSendNa(w, dev, saddr, target, router, true, false, true)
      })
      w.timers.arm(t, w.nowNs + w.random.below(delay * TICK_NS))
      return 0
    }
  }
  if (dad) {
    ndiscSendNa(w, dev, in6.intern(0xff020000 | 0, 0, 0, 1), target, router, false, ifp !== null, true)
    return 0
  }
  let n = ns.nd.lookup(dev, saddr)
  if (n === undefined && (!inc || opts.source !== 0 || !dev.ether)) n = ns.nd.create(dev, saddr)
  if (n !== undefined) update(w, n, opts.source, NUD_STALE, NEIGH_UPDATE_F_WEAK_OVERRIDE | NEIGH_UPDATE_F_OVERRIDE)
  if (n !== undefined || !dev.ether) ndiscSendNa(w, dev, saddr, target, router, true, ifp !== null && inc, inc)
  return 0
}

function nonceAt(v: DataView, at: number): number {
  return v.getUint16(at + 2) * 2 ** 32 + v.getUint32(at + 4)
}

/** ipv6_addr_is_solict_mult */
function isSolicitedNode(w: World, addr: number): boolean {
  const in6 = w.in6
  return (
    in6.word(addr, 0) === (0xff020000 | 0) &&
    in6.word(addr, 1) === 0 &&
    in6.word(addr, 2) === 1 &&
    in6.word(addr, 3) >>> 24 === 0xff
  )
}

/** ndisc_recv_na. @returns 0 or a reason */
function recvNa(w: World, ns: Netns, slot: number, dev: NetDevice, nh: number, th: number, end: number): number {
  const v = w.arena.view
  const in6 = w.in6
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  if (end - th < 24) return R_NDISC_BAD
  const target = in6.read(v, th + 8)
  const word = v.getUint8(th + 4)
  const solicited = (word & 0x40) !== 0
  if (in6.isMulticast(target) || (solicited && v.getUint8(nh + 24) === 0xff)) return R_NDISC_BAD
  const idev = dev.in6!
  if (!solicited && (idev.conf.drop_unsolicited_na !== 0 || ns.sysctl.ipv6.all.drop_unsolicited_na !== 0)) {
    return R_NDISC_IGNORED
  }
  if (!parseOptions(v, th + 24, end)) return R_NDISC_BAD
  if (opts.target !== 0 && !addrData(v, opts.target)) return R_NDISC_BAD
  const ifp = ipv6GetIfaddr(dev, target)
  if (ifp !== null) {
    if (meta[m + M_PKTTYPE] !== PACKET_LOOPBACK && (ifp.flags & IFA_F_TENTATIVE) !== 0) {
      addrconfDadFailure(ifp)
      return 0
    }
    return R_NDISC_IGNORED
  }
  let n = ns.nd.lookup(dev, target)
  let state = solicited ? NUD_REACHABLE : NUD_STALE
  if (n === undefined && opts.target !== 0 && idev.conf.forwarding !== 0 && acceptUntracked(w, ns, dev, nh)) {
    n = ns.nd.create(dev, target)
    state = NUD_STALE
  }
  if (n === undefined || (n.state & NUD_FAILED) !== 0) return n === undefined ? R_NDISC_IGNORED : 0
  const ownMac =
    opts.target !== 0 && v.getUint16(opts.target + 2) === dev.macHi && v.getInt32(opts.target + 4) === dev.macLo
  if (ownMac && idev.conf.forwarding !== 0 && ns.nd.isProxied(dev, target)) return 0
  const override = (word & 0x20) !== 0
  update(w, n, opts.target, state, NEIGH_UPDATE_F_WEAK_OVERRIDE | (override ? NEIGH_UPDATE_F_OVERRIDE : 0))
  n.isRouter = (word & 0x80) !== 0
  return 0
}

/** accept_untracked_na: RFC 9131. */
function acceptUntracked(w: World, ns: Netns, dev: NetDevice, nh: number): boolean {
  const mode = Math.max(dev.in6!.conf.accept_untracked_na, ns.sysctl.ipv6.all.accept_untracked_na)
  if (mode === 1) return true
  if (mode !== 2) return false
  const saddr = w.in6.read(w.arena.view, nh + 8)
  return dev.in6!.addrs.some((a) => w.in6.prefixEqual(a.addr, saddr, a.prefixLength))
}

/** ndisc_recv_rs: a router learns who asks. */
function recvRs(w: World, ns: Netns, dev: NetDevice, nh: number, th: number, end: number): number {
  const v = w.arena.view
  if (end - th < 8) return R_NDISC_BAD
  const saddr = w.in6.read(v, nh + 8)
  if (dev.in6 === null || dev.in6.conf.forwarding === 0 || saddr === 0) return R_NDISC_IGNORED
  if (!parseOptions(v, th + 8, end)) return R_NDISC_BAD
  if (opts.source !== 0 && !addrData(v, opts.source)) return R_NDISC_BAD
  const n = ns.nd.lookup(dev, saddr) ?? ns.nd.create(dev, saddr)
  update(w, n, opts.source, NUD_STALE, NEIGH_UPDATE_F_WEAK_OVERRIDE | NEIGH_UPDATE_F_OVERRIDE)
  n.isRouter = false
  return 0
}

/** ndisc_router_discovery: what would be accepted is not modelled. */
function recvRa(w: World, dev: NetDevice, nh: number, th: number, end: number): number {
  const v = w.arena.view
  if (end - th < 16) return R_NDISC_BAD
  if ((w.in6.type(w.in6.read(v, nh + 8)) & IPV6_ADDR_LINKLOCAL) === 0) return R_NDISC_BAD
  if (!parseOptions(v, th + 16, end)) return R_NDISC_BAD
  return dev.in6 !== null && acceptsRa(dev.in6) ? R_UNMODELLED : R_NDISC_IGNORED
}

/** ndisc_redirect_rcv with the checks of rt6_do_redirect on the message itself. */
function recvRedirect(w: World, ns: Netns, slot: number, dev: NetDevice, nh: number, th: number, end: number): number {
  const v = w.arena.view
  const in6 = w.in6
  const saddr = in6.read(v, nh + 8)
  if ((in6.type(saddr) & IPV6_ADDR_LINKLOCAL) === 0) return R_NDISC_BAD
  if (end - th < 40) return R_NDISC_BAD
  if (!parseOptions(v, th + 40, end)) return R_NDISC_BAD
  if (opts.target !== 0 && !addrData(v, opts.target)) return R_NDISC_BAD
  const target = in6.read(v, th + 8)
  const dest = in6.read(v, th + 24)
  if (in6.isMulticast(dest)) return R_NDISC_BAD
  if (target !== dest && (in6.type(target) & (IPV6_ADDR_LINKLOCAL | 1)) !== (IPV6_ADDR_LINKLOCAL | 1))
    return R_NDISC_BAD
  const r = redirectMessage
  r.target = target
  r.dest = dest
  r.gateway = saddr
  r.hasMac = opts.target !== 0
  if (r.hasMac) {
    r.macHi = v.getUint16(opts.target + 2)
    r.macLo = v.getInt32(opts.target + 4)
  }
  if (opts.redirected === 0) ip6RedirectNoHeader(w, ns, slot, dev.id, th)
  else notify(w, ns, slot, NDISC_REDIRECT, 0, 0, opts.redirected + 8)
  return 0
}
