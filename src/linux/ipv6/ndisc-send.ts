/**
 * Neighbour Discovery: what this host says.
 *
 * Linux: net/ipv6/ndisc.c (ndisc_constructor, ndisc_solicit, ndisc_send_ns, ndisc_send_na, ndisc_send_rs,
 * ndisc_send_redirect, ndisc_send_skb). Messages pass LOCAL_OUT and POST_ROUTING as any packet of this host.
 * Sources: RFC 4861 4 and 7, RFC 7527.
 *
 *     NS, NA: ICMPv6 header with R S O flags (8) | target (16) | options: type, length in 8 bytes, link-layer address
 */
import { HEADROOM_BYTES } from '../../packet/arena.ts'
import {
  ETH_P_IPV6,
  M_DATA,
  M_DEV,
  M_FLAGS,
  M_LEN,
  M_NH,
  M_PKTTYPE,
  M_PROTO,
  M_TH,
  META_SHIFT,
  PACKET_HOST,
  SKB_CSUM_OK,
} from '../../packet/layout.ts'
import { foldChecksum, sumWords } from '../../wire/checksum.ts'
import { IFF_LOOPBACK, IFF_NOARP, IFF_POINTOPOINT, type NetDevice } from '../device/device.ts'
import { type Neighbour, NUD_NOARP, NUD_VALID } from '../neighbour/neighbour.ts'
import { NF_ACCEPT, NF_INET_LOCAL_OUT, nfHook6 } from '../netfilter/hooks.ts'
import { HZ, inetPeerXrlimAllow, jiffiesAt } from '../route/peer.ts'
import { T_NDISC } from '../trace.ts'
import type { World } from '../world.ts'
import { ipv6DevGetSaddr, ipv6GetIfaddr, ipv6GetLladdr } from './addrconf.ts'
import { IPPROTO_ICMPV6 } from './exthdrs-core.ts'
import { RTF_GATEWAY } from './fib6-route.ts'
import { Flowi6 } from './flow6.ts'
import { IFA_F_OPTIMISTIC, IFA_F_TENTATIVE } from './inet6-dev.ts'
import { ipv6DevMcDec, ipv6DevMcInc } from './mcast.ts'
import { dst6Output } from './output.ts'
import { icmp6DstAlloc, ip6RouteOutput } from './route.ts'

export const NDISC_ROUTER_SOLICITATION = 133
export const NDISC_ROUTER_ADVERTISEMENT = 134
export const NDISC_NEIGHBOUR_SOLICITATION = 135
export const NDISC_NEIGHBOUR_ADVERTISEMENT = 136
export const NDISC_REDIRECT = 137
export const ND_OPT_SOURCE_LL_ADDR = 1
export const ND_OPT_TARGET_LL_ADDR = 2
export const ND_OPT_REDIRECT_HDR = 4
export const ND_OPT_NONCE = 14
/** Bytes of a link-layer address option of Ethernet, and of a nonce option. */
const OPT_BYTES = 8
const IPV6_MIN_MTU = 1280

const flow = new Flowi6()

/** ndisc_constructor: what kind of address this is decides whether anybody is asked. */
export function ndiscConstructor(n: Neighbour): void {
  const dev = n.dev
  if (!dev.ether) {
    n.state = NUD_NOARP
    return
  }
  const in6 = dev.ns.world.in6
  if (in6.isMulticast(n.ip)) {
    n.state = NUD_NOARP
    n.macHi = 0x3333
    n.macLo = in6.word(n.ip, 3)
  } else if ((dev.flags & (IFF_NOARP | IFF_LOOPBACK)) !== 0) {
    n.state = NUD_NOARP
    n.macHi = dev.macHi
    n.macLo = dev.macLo
  } else if ((dev.flags & IFF_POINTOPOINT) !== 0) {
    n.state = NUD_NOARP
    n.macHi = 0xffff
    n.macLo = -1
  }
}

/**
 * ndisc_solicit: one solicitation for the neighbour.
 * @param slot a waiting packet whose source may be used, -1 when none
 * @param probes solicitations sent so far
 */
export function ndiscSolicit(w: World, n: Neighbour, slot: number, probes: number): void {
  const dev = n.dev
  let saddr = 0
  if (slot >= 0) {
    const ip = w.in6.read(w.arena.view, w.arena.meta[(slot << META_SHIFT) + M_NH]! + 8)
    if (isOwnOn(dev, ip)) saddr = ip
  }
  const left = probes - n.parms.ucast_solicit
  if (saddr === 0) saddr = ipv6GetLladdr(dev, IFA_F_TENTATIVE | IFA_F_OPTIMISTIC)
  if (saddr === 0) return
  if (left < 0) ndiscSendNs(w, dev, n.ip, (n.state & NUD_VALID) !== 0 ? n.ip : n.ip, saddr, 0)
  else if (left >= n.parms.app_solicit) ndiscSendNs(w, dev, n.ip, w.in6.solicitedNode(n.ip), saddr, 0)
}

/** ipv6_chk_addr_and_flags with strict device check. */
function isOwnOn(dev: NetDevice, addr: number): boolean {
  const ifp = ipv6GetIfaddr(dev, addr)
  return ifp !== null && (ifp.flags & (IFA_F_TENTATIVE | IFA_F_OPTIMISTIC)) === 0
}

/** A slot for an ICMPv6 message of `length` bytes from `saddr` to `daddr`, hop limit 255; the message is not written. */
function newMessage(w: World, dev: NetDevice, saddr: number, daddr: number, length: number): number {
  const a = w.arena
  const slot = a.alloc(40 + length, HEADROOM_BYTES)
  if (slot < 0) return -1
  const m = slot << META_SHIFT
  const v = a.view
  const nh = a.meta[m + M_DATA]!
  const tclass = dev.in6 === null ? 0 : dev.in6.conf.ndisc_tclass & 0xff
  v.setInt32(nh, 0x60000000 | (tclass << 20))
  v.setUint16(nh + 4, length)
  v.setUint8(nh + 6, IPPROTO_ICMPV6)
  v.setUint8(nh + 7, 255)
  w.in6.write(v, nh + 8, saddr)
  w.in6.write(v, nh + 24, daddr)
  a.meta[m + M_NH] = nh
  a.meta[m + M_TH] = nh + 40
  a.meta[m + M_DEV] = dev.id
  a.meta[m + M_FLAGS] = SKB_CSUM_OK
  return slot
}

/** Writes the header with target, and the checksum once the options stand. */
function head(w: World, slot: number, type: number, rest: number, target: number): number {
  const at = w.arena.meta[(slot << META_SHIFT) + M_TH]!
  const v = w.arena.view
  v.setUint8(at, type)
  v.setUint8(at + 1, 0)
  v.setUint16(at + 2, 0)
  v.setInt32(at + 4, rest)
  w.in6.write(v, at + 8, target)
  return at + 24
}

/** ndisc_fill_addr_option */
function linkAddr(w: World, at: number, type: number, dev: NetDevice): void {
  const v = w.arena.view
  v.setUint8(at, type)
  v.setUint8(at + 1, 1)
  v.setUint16(at + 2, dev.macHi)
  v.setInt32(at + 4, dev.macLo)
}

/** ndisc_send_skb: checksum, then out. */
function send(w: World, slot: number, dev: NetDevice, saddr: number, daddr: number): void {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const th = meta[m + M_TH]!
  const v = w.arena.view
  const length = meta[m + M_DATA]! + meta[m + M_LEN]! - th
  const sum = sumWords(v, th, length, w.in6.pseudoSum(saddr, daddr, IPPROTO_ICMPV6, length))
  v.setUint16(th + 2, foldChecksum(sum))
  if (w.tracer !== null) {
    const type = v.getUint8(th)
    w.tracer.step(T_NDISC, slot, dev.ns, dev, type, type >= 135 ? w.in6.read(v, th + 8) : 0, 1, null)
  }
  ndiscXmit(w, slot, dev, daddr)
}

/** icmp6_dst_alloc, LOCAL_OUT and dst_output: a packet that needs no route. Takes the slot. */
export function ndiscXmit(w: World, slot: number, dev: NetDevice, daddr: number): void {
  const ns = dev.ns
  const m = slot << META_SHIFT
  w.arena.meta[m + M_PROTO] = ETH_P_IPV6
  w.arena.meta[m + M_PKTTYPE] = PACKET_HOST
  w.arena.dst[slot] = icmp6DstAlloc(dev, daddr)
  if (nfHook6(w, ns, NF_INET_LOCAL_OUT, slot, null, dev) !== NF_ACCEPT) return
  dst6Output(w, ns, slot)
}

/**
 * ndisc_send_ns
 * @param saddr 0 asks from :: (duplicate address detection): no link-layer address goes with it
 * @param nonce RFC 7527, 0 none
 */
export function ndiscSendNs(
  w: World,
  dev: NetDevice,
  target: number,
  daddr: number,
  saddr: number,
  nonce: number,
): void {
  const inc = saddr !== 0 && dev.ether
  const slot = newMessage(w, dev, saddr, daddr, 24 + (inc ? OPT_BYTES : 0) + (nonce !== 0 ? OPT_BYTES : 0))
  if (slot < 0) return
  let at = head(w, slot, NDISC_NEIGHBOUR_SOLICITATION, 0, target)
  if (inc) {
    linkAddr(w, at, ND_OPT_SOURCE_LL_ADDR, dev)
    at += OPT_BYTES
  }
  if (nonce !== 0) {
    const v = w.arena.view
    v.setUint8(at, ND_OPT_NONCE)
    v.setUint8(at + 1, 1)
    v.setUint16(at + 2, Math.floor(nonce / 2 ** 32))
    v.setUint32(at + 4, nonce % 2 ** 32)
  }
  send(w, slot, dev, saddr, daddr)
}

/** ndisc_send_na */
export function ndiscSendNa(
  w: World,
  dev: NetDevice,
  daddr: number,
  solicited: number,
  router: boolean,
  isSolicited: boolean,
  override: boolean,
  incOpt: boolean,
): void {
  const ns = dev.ns
  let saddr = solicited
  let inc = incOpt
  let over = override
  const ifp = ipv6GetIfaddr(dev, solicited)
  if (ifp !== null) {
    if ((ifp.flags & IFA_F_OPTIMISTIC) !== 0) over = false
    if (ifp.idev.conf.force_tllao !== 0) inc = true
  } else {
    saddr = ipv6DevGetSaddr(ns, dev, daddr, 0)
    if (saddr === 0) return
  }
  if (!dev.ether) inc = false
  const slot = newMessage(w, dev, saddr, daddr, 24 + (inc ? OPT_BYTES : 0))
  if (slot < 0) return
  const flags = (router ? 0x80000000 : 0) | (isSolicited ? 0x40000000 : 0) | (over ? 0x20000000 : 0)
  const at = head(w, slot, NDISC_NEIGHBOUR_ADVERTISEMENT, flags, solicited)
  if (inc) linkAddr(w, at, ND_OPT_TARGET_LL_ADDR, dev)
  send(w, slot, dev, saddr, daddr)
}

/** ndisc_send_unsol_na: one advertisement per address (ndisc_notify, NETDEV_NOTIFY_PEERS). */
export function ndiscSendUnsolNa(w: World, dev: NetDevice): void {
  if (dev.in6 === null) return
  const all = w.in6.intern(0xff020000 | 0, 0, 0, 1)
  for (const ifp of [...dev.in6.addrs].reverse()) {
    if ((ifp.flags & IFA_F_TENTATIVE) !== 0 && (ifp.flags & IFA_F_OPTIMISTIC) === 0) continue
    ndiscSendNa(w, dev, all, ifp.addr, dev.in6.conf.forwarding !== 0, false, true, true)
  }
}

/** pndisc_constructor and pndisc_destructor: a proxied address is listened for. */
export function ndiscProxyListen(dev: NetDevice, addr: number, on: boolean): void {
  if (dev.in6 === null) return
  const group = dev.ns.world.in6.solicitedNode(addr)
  if (on) ipv6DevMcInc(dev.in6, group)
  else ipv6DevMcDec(dev.in6, group)
}

/** ndisc_send_rs */
export function ndiscSendRs(w: World, dev: NetDevice, saddr: number, daddr: number): void {
  const inc = dev.ether && saddr !== 0
  const slot = newMessage(w, dev, saddr, daddr, 8 + (inc ? OPT_BYTES : 0))
  if (slot < 0) return
  const th = w.arena.meta[(slot << META_SHIFT) + M_TH]!
  w.arena.view.setInt32(th, NDISC_ROUTER_SOLICITATION << 24)
  w.arena.view.setInt32(th + 4, 0)
  if (inc) linkAddr(w, th + 8, ND_OPT_SOURCE_LL_ADDR, dev)
  send(w, slot, dev, saddr, daddr)
}

/** ndisc_send_redirect: tells the sender of `slot`, which stays the caller's, the better first hop `target`. */
export function ndiscSendRedirect(w: World, slot: number, target: number): void {
  const a = w.arena
  const m = slot << META_SHIFT
  const dev = w.devices[a.meta[m + M_DEV]!]!
  const ns = dev.ns
  const nh = a.meta[m + M_NH]!
  const v = a.view
  const saddr = w.in6.read(v, nh + 8)
  const daddr = w.in6.read(v, nh + 24)
  const own = ipv6GetLladdr(dev, IFA_F_TENTATIVE)
  if (own === 0) return
  // the target of a redirect is a router's link-local address or the destination itself
  if (target !== daddr && (w.in6.type(target) & 0x23) !== 0x21) return
  const fl = flow.reset()
  fl.daddr = saddr
  fl.saddr = own
  fl.oif = dev.id
  fl.proto = IPPROTO_ICMPV6
  const rt = ip6RouteOutput(ns, fl)
  if (rt.error !== 0 || (rt.flags & RTF_GATEWAY) !== 0) return
  const now = jiffiesAt(w.nowNs)
  if (!inetPeerXrlimAllow(ns.fib6.peers.get(saddr, now), now, HZ)) return
  const n = ns.nd.lookup(dev, target)
  const known = n !== undefined && (n.state & NUD_VALID) !== 0 && dev.ether
  const quoted = a.meta[m + M_DATA]! + a.meta[m + M_LEN]! - nh
  // rd_len: what fits below the minimum MTU, in units of 8 bytes
  const room = IPV6_MIN_MTU - 40 - 40 - (known ? OPT_BYTES : 0)
  const rd = Math.min(room, quoted + 8) & ~7
  const out = newMessage(w, dev, own, saddr, 40 + (known ? OPT_BYTES : 0) + rd)
  if (out < 0) return
  let at = head(w, out, NDISC_REDIRECT, 0, target)
  w.in6.write(v, at, daddr)
  at += 16
  if (known) {
    v.setUint8(at, ND_OPT_TARGET_LL_ADDR)
    v.setUint8(at + 1, 1)
    v.setUint16(at + 2, n.macHi)
    v.setInt32(at + 4, n.macLo)
    at += OPT_BYTES
  }
  v.setUint8(at, ND_OPT_REDIRECT_HDR)
  v.setUint8(at + 1, rd >> 3)
  v.setUint16(at + 2, 0)
  v.setInt32(at + 4, 0)
  a.bytes.copyWithin(at + 8, nh, nh + rd - 8)
  send(w, out, dev, own, saddr)
}
