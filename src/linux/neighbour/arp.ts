/**
 * ARP: asking, answering, learning.
 *
 * Linux: net/ipv4/arp.c (arp_solicit, arp_rcv, arp_process, arp_create); RFC 826, RFC 5227 for probes. Not modelled:
 * proxy_qlen (the delayed answers of a proxy are not limited), arptables, ARP over anything but Ethernet.
 *
 *    0               2               4       5       6               8              14        18             24        28
 *    | hw type 1     | proto 0x0800  | hlen 6| plen 4| op 1/2        | sender MAC   | sender IP | target MAC | target IP |
 */
import {
  ETH_HLEN,
  ETH_P_ARP,
  M_DATA,
  M_DEV,
  M_LEN,
  M_NH,
  M_PKTTYPE,
  M_PROTO,
  META_SHIFT,
  PACKET_HOST,
  PACKET_LOOPBACK,
  PACKET_OTHERHOST,
} from '../../packet/layout.ts'
import { devQueueXmit } from '../core/dev.ts'
import { consumeSkb, freeSkb } from '../core/skb.ts'
import { IFF_NOARP, type NetDevice, RT_SCOPE_HOST, RT_SCOPE_LINK } from '../device/device.ts'
import { inetAddrOnlink, inetConfirmAddr, inetSelectAddr } from '../device/inet.ts'
import { NF_ARP_IN, NF_ARP_OUT, nfArp } from '../netfilter/nftables/link-chains.ts'
import type { Netns } from '../netns.ts'
import { R_ARP_IGNORED, R_OTHERHOST, R_PKT_TRUNC } from '../reasons.ts'
import { inetAddrTypeDevTable, ipRouteInput, type Rtable } from '../route/route.ts'
import { RTN_LOCAL, RTN_UNICAST } from '../route/rtn.ts'
import { Timer } from '../timers.ts'
import { T_ARP } from '../trace.ts'
import type { World } from '../world.ts'
import {
  NEIGH_UPDATE_F_OVERRIDE,
  type Neighbour,
  NUD_REACHABLE,
  NUD_STALE,
  NUD_VALID,
  neighLookupOrCreate,
  neighUpdate,
} from './neighbour.ts'

/** Bytes of an ARP packet for IPv4 over Ethernet. */
const ARP_BYTES = 28
export const ARPOP_REQUEST = 1
export const ARPOP_REPLY = 2
/** USER_HZ tick in ns: proxy_delay and locktime are given in it. */
const TICK_NS = 10_000_000

/**
 * arp_send_dst: one ARP packet out of `dev`.
 * @param dstHi destination MAC of the frame; @param thaHi target hardware address in the packet
 */
export function arpSend(
  w: World,
  op: number,
  dev: NetDevice,
  sip: number,
  tip: number,
  dstHi: number,
  dstLo: number,
  thaHi: number,
  thaLo: number,
  srcHi = dev.macHi,
  srcLo = dev.macLo,
): void {
  if ((dev.flags & IFF_NOARP) !== 0 || !dev.ether) return
  const a = w.arena
  const slot = a.alloc(ETH_HLEN + ARP_BYTES)
  if (slot < 0) return
  const m = slot << META_SHIFT
  const v = a.view
  const p = a.meta[m + M_DATA]!
  v.setUint16(p, dstHi)
  v.setInt32(p + 2, dstLo)
  v.setUint16(p + 6, srcHi)
  v.setInt32(p + 8, srcLo)
  v.setUint16(p + 12, ETH_P_ARP)
  const b = p + ETH_HLEN
  v.setUint16(b, 1)
  v.setUint16(b + 2, 0x0800)
  v.setUint8(b + 4, 6)
  v.setUint8(b + 5, 4)
  v.setUint16(b + 6, op)
  v.setUint16(b + 8, srcHi)
  v.setInt32(b + 10, srcLo)
  v.setInt32(b + 14, sip)
  v.setUint16(b + 18, thaHi)
  v.setInt32(b + 20, thaLo)
  v.setInt32(b + 24, tip)
  a.meta[m + M_DEV] = dev.id
  a.meta[m + M_NH] = b
  a.meta[m + M_PROTO] = ETH_P_ARP
  if (dev.ns.nft?.link != null && nfArp(w, dev.ns, NF_ARP_OUT, slot, dev)) return
  devQueueXmit(w, slot)
}

/** inetdev_send_gratuitous_arp: one request per address, sender and target the same. */
export function arpGratuitous(w: World, dev: NetDevice): void {
  for (const ifa of dev.addrs) arpSend(w, ARPOP_REQUEST, dev, ifa.ip, ifa.ip, 0xffff, -1, 0, 0)
}

/**
 * arp_solicit: one request for the neighbour.
 * @param slot a waiting packet whose source may be used, -1 when none
 * @param probes requests sent so far
 */
export function arpSolicit(w: World, n: Neighbour, slot: number, probes: number): void {
  const dev = n.dev
  const ns = dev.ns
  let saddr = 0
  const announce = Math.max(dev.conf.arp_announce, ns.sysctl.all.arp_announce)
  if (slot >= 0 && announce !== 2) {
    const ip = w.arena.view.getInt32(w.arena.meta[(slot << META_SHIFT) + M_NH]! + 12)
    if (inetAddrTypeDevTable(ns, dev, ip) === RTN_LOCAL && (announce !== 1 || inetAddrOnlink(dev, n.ip, ip))) saddr = ip
  }
  if (saddr === 0) saddr = inetSelectAddr(ns, dev, n.ip, RT_SCOPE_LINK)
  const left = probes - dev.neighParms.ucast_solicit
  if (left < 0) {
    if ((n.state & NUD_VALID) !== 0) arpSend(w, ARPOP_REQUEST, dev, saddr, n.ip, n.macHi, n.macLo, 0, 0)
    else arpSend(w, ARPOP_REQUEST, dev, saddr, n.ip, 0xffff, -1, 0, 0)
  } else if (left >= dev.neighParms.app_solicit) arpSend(w, ARPOP_REQUEST, dev, saddr, n.ip, 0xffff, -1, 0, 0)
}

/** arp_rcv: M_DATA stands at the ARP header. */
export function arpRcv(w: World, slot: number): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const dev = w.devices[meta[m + M_DEV]!]!
  const type = meta[m + M_PKTTYPE]
  if ((dev.flags & IFF_NOARP) !== 0 || type === PACKET_OTHERHOST || type === PACKET_LOOPBACK) {
    freeSkb(w, slot, R_OTHERHOST)
    return
  }
  const p = meta[m + M_DATA]!
  const v = a.view
  if (meta[m + M_LEN]! < ARP_BYTES || v.getUint8(p + 4) !== 6 || v.getUint8(p + 5) !== 4) {
    freeSkb(w, slot, R_PKT_TRUNC)
    return
  }
  if (dev.ns.nft?.link != null && nfArp(w, dev.ns, NF_ARP_IN, slot, dev)) return
  if (arpProcess(w, dev.ns, slot, dev)) consumeSkb(w, slot)
  else freeSkb(w, slot, R_ARP_IGNORED)
}

function isMulticast(ip: number): boolean {
  return (ip & 0xf0000000) === (0xe0000000 | 0)
}

function isLoopback(ip: number): boolean {
  return ip >>> 24 === 127
}

/** arp_process. @returns whether the packet had an effect */
function arpProcess(w: World, ns: Netns, slot: number, dev: NetDevice): boolean {
  const a = w.arena
  const v = a.view
  const m = slot << META_SHIFT
  const p = a.meta[m + M_DATA]!
  const op = v.getUint16(p + 6)
  const hw = v.getUint16(p)
  if (!dev.up || (hw !== 1 && hw !== 6) || v.getUint16(p + 2) !== 0x0800) return false
  if (op !== ARPOP_REPLY && op !== ARPOP_REQUEST) return false
  const shaHi = v.getUint16(p + 8)
  const shaLo = v.getInt32(p + 10)
  const sip = v.getInt32(p + 14)
  const thaHi = v.getUint16(p + 18)
  const thaLo = v.getInt32(p + 20)
  const tip = v.getInt32(p + 24)
  if (w.tracer !== null) w.tracer.step(T_ARP, slot, ns, dev, op, sip, tip, null)
  if (isMulticast(tip) || (!dev.routeLocalnet() && isLoopback(tip))) return false
  if (sip === tip && (dev.conf.drop_gratuitous_arp !== 0 || ns.sysctl.all.drop_gratuitous_arp !== 0)) return false
  if (sip === 0) {
    // RFC 5227 probe
    if (op === ARPOP_REQUEST && inetAddrTypeDevTable(ns, dev, tip) === RTN_LOCAL && !arpIgnore(ns, dev, sip, tip)) {
      arpSend(w, ARPOP_REPLY, dev, tip, sip, shaHi, shaLo, shaHi, shaLo)
      return true
    }
    return false
  }
  if (op === ARPOP_REQUEST && ipRouteInput(w, ns, slot, tip, sip, 0, dev) === 0) {
    const rt = a.dst[slot] as Rtable
    a.dst[slot] = null
    if (rt.type === RTN_LOCAL) {
      if (arpIgnore(ns, dev, sip, tip)) return false
      if ((dev.conf.arp_filter !== 0 || ns.sysctl.all.arp_filter !== 0) && arpFilter(w, ns, slot, sip, tip, dev))
        return false
      neighEventNs(w, ns, dev, sip, shaHi, shaLo)
      arpSend(w, ARPOP_REPLY, dev, tip, sip, shaHi, shaLo, shaHi, shaLo)
      return true
    }
    if (
      dev.forwarding() &&
      rt.type === RTN_UNICAST &&
      (fwdProxy(ns, dev, rt) || fwdPvlan(ns, dev, rt, sip, tip) || (rt.dev !== dev && ns.neigh.isProxied(dev, tip)))
    ) {
      neighEventNs(w, ns, dev, sip, shaHi, shaLo)
      const delay = dev.neighParms.proxy_delay
      if (a.meta[m + M_PKTTYPE] === PACKET_HOST || delay === 0) {
        arpSend(w, ARPOP_REPLY, dev, tip, sip, shaHi, shaLo, shaHi, shaLo)
      } else {
        // pneigh_enqueue
        const t = new Timer(() => arpSend(w, ARPOP_REPLY, dev, tip, sip, shaHi, shaLo, shaHi, shaLo))
        w.timers.arm(t, w.nowNs + w.random.below(delay * TICK_NS))
      }
      return true
    }
  }
  return learn(w, ns, slot, dev, op, sip, tip, shaHi, shaLo, thaHi, thaLo)
}

/** The "Update our ARP tables" half of arp_process. */
function learn(
  w: World,
  ns: Netns,
  slot: number,
  dev: NetDevice,
  op: number,
  sip: number,
  tip: number,
  shaHi: number,
  shaLo: number,
  thaHi: number,
  thaLo: number,
): boolean {
  let n = ns.neigh.lookup(dev, sip)
  const accept = arpAccept(ns, dev, sip)
  if (n === undefined && !accept) return false
  let garp = sip === tip && (op !== ARPOP_REPLY || (thaHi === shaHi && thaLo === shaLo))
  const unicast = inetAddrTypeDevTable(ns, dev, sip) === RTN_UNICAST
  if (garp && !unicast) garp = false
  if (n === undefined && accept && (garp || (op === ARPOP_REPLY && unicast))) n = neighLookupOrCreate(ns, dev, sip)
  if (n === undefined) return false
  const override = w.nowNs > n.updatedNs + dev.neighParms.locktime * TICK_NS || garp
  const host = w.arena.meta[(slot << META_SHIFT) + M_PKTTYPE] === PACKET_HOST
  const state = op === ARPOP_REPLY && host ? NUD_REACHABLE : NUD_STALE
  neighUpdate(w, n, { hi: shaHi, lo: shaLo }, state, override ? NEIGH_UPDATE_F_OVERRIDE : 0)
  return true
}

/** neigh_event_ns: the asker's address is learned. */
function neighEventNs(w: World, ns: Netns, dev: NetDevice, ip: number, hi: number, lo: number): void {
  neighUpdate(w, neighLookupOrCreate(ns, dev, ip), { hi, lo }, NUD_STALE, NEIGH_UPDATE_F_OVERRIDE)
}

function arpAccept(ns: Netns, dev: NetDevice, sip: number): boolean {
  const mode = Math.max(dev.conf.arp_accept, ns.sysctl.all.arp_accept)
  if (mode === 1) return true
  return mode === 2 && inetAddrOnlink(dev, sip, 0)
}

/** arp_ignore: whether this host keeps silent about `tip`. */
function arpIgnore(ns: Netns, dev: NetDevice, sip: number, tip: number): boolean {
  switch (Math.max(dev.conf.arp_ignore, ns.sysctl.all.arp_ignore)) {
    case 0:
      return false
    case 1:
      return !inetConfirmAddr(ns, dev, 0, tip, RT_SCOPE_HOST)
    case 2:
      return !inetConfirmAddr(ns, dev, sip, tip, RT_SCOPE_HOST)
    case 3:
      return !inetConfirmAddr(ns, null, 0, tip, RT_SCOPE_LINK)
    case 4:
    case 5:
    case 6:
    case 7:
      return false
    case 8:
      return true
    default:
      return false
  }
}

/** arp_filter: answer only when the way back to the asker leaves by this device. */
function arpFilter(w: World, ns: Netns, slot: number, sip: number, tip: number, dev: NetDevice): boolean {
  const rt = ns.fib.routeOutputTo(sip, tip)
  w.arena.dst[slot] = null
  return rt === null || rt.dev !== dev
}

function fwdProxy(ns: Netns, dev: NetDevice, rt: Rtable): boolean {
  if (rt.dev === dev) return false
  if (dev.conf.proxy_arp === 0 && ns.sysctl.all.proxy_arp === 0) return false
  const imi = dev.conf.medium_id
  if (imi === 0) return true
  if (imi === -1) return false
  const omi = rt.dev.conf.medium_id
  return omi !== imi && omi !== -1
}

function fwdPvlan(ns: Netns, dev: NetDevice, rt: Rtable, sip: number, tip: number): boolean {
  if (rt.dev !== dev || sip === tip) return false
  return dev.conf.proxy_arp_pvlan !== 0 || ns.sysctl.all.proxy_arp_pvlan !== 0
}
