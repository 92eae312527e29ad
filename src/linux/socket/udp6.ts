/**
 * UDP over IPv6: bind, connect, send, receive, ICMPv6 errors.
 *
 * Linux: net/ipv6/udp.c (udpv6_sendmsg, __udp6_lib_rcv, __udp6_lib_lookup, udpv6_err), net/ipv6/datagram.c
 * (__ip6_datagram_connect). A socket of AF_INET6 is a UdpSock with In6Table ids as addresses; one bound to :: without
 * IPV6_V6ONLY takes IPv4 datagrams too. Not modelled: what udp.ts does not model, IPv4-mapped binds, flow labels of
 * sockets, ancillary data.
 */
import { M_DATA, M_DEV, M_LEN, M_NH, META_SHIFT } from '../../packet/layout.ts'
import { consumeSkb, freeSkb } from '../core/skb.ts'
import { vxlanErrLookup, vxlanRcv } from '../device/vxlan-rcv.ts'
import { EADDRINUSE, EADDRNOTAVAIL, EDESTADDRREQ, EINVAL, EMSGSIZE, ENOBUFS } from '../errno.ts'
import { ipv6ChkAddr } from '../ipv6/addrconf.ts'
import { ip6Redirect, ip6UpdatePmtu } from '../ipv6/exception.ts'
import { Flowi6 } from '../ipv6/flow6.ts'
import { icmpv6Send } from '../ipv6/icmp.ts'
import { AF_INET6 } from '../ipv6/in6.ts'
import { Ip6Message } from '../ipv6/message6.ts'
import { ip6AppendRefuses, ip6MakeAndSend } from '../ipv6/output.ts'
import { ip6DstLookup } from '../ipv6/route.ts'
import type { Rt6 } from '../ipv6/rt6.ts'
import { needsScopeId } from '../ipv6/saddr.ts'
import { nfResetCt } from '../netfilter/conntrack/core.ts'
import type { Netns } from '../netns.ts'
import { R_L4_CSUM, R_L4_HDR, R_NO_SOCKET, R_SOCKET_FILTER } from '../reasons.ts'
import { T_SOCK } from '../trace.ts'
import type { World } from '../world.ts'
import { transportChecksum6 } from './checksum.ts'
import { converted, ICMPV6_PKT_TOOBIG, icmpv6ErrConvert, NDISC_REDIRECT } from './icmp6-errors.ts'
import { IPPROTO_UDP } from './sock.ts'
import { UDP_HEADER_BYTES, udpSendmsg } from './udp.ts'
import { frameTruesize, type UdpSock } from './udp-sock.ts'

const UDP_MAX_PAYLOAD = 65527
const ICMPV6_DEST_UNREACH = 1
const ICMPV6_PORT_UNREACH = 4

const fl = new Flowi6()
const message = new Ip6Message()
const scratch = new Uint8Array(65536)
const scratchView = new DataView(scratch.buffer)

/** Whether an address may be bound: an address of this host, or a group. */
export function bindable6(ns: Netns, addr: number, dev: number): boolean {
  if (addr === 0 || ns.sysctl.ipv6.ip_nonlocal_bind !== 0 || ns.world.in6.isMulticast(addr)) return true
  return ipv6ChkAddr(ns, addr, dev < 0 ? null : (ns.world.devices[dev] ?? null))
}

/** inet6_bind. @param dev scope of a link-local address, -1 none. @returns 0 or a negative errno */
export function udp6Bind(sk: UdpSock, addr: number, port: number, dev = -1): number {
  const ns = sk.ns
  const w = ns.world
  if (needsScopeId(w.in6, addr) && dev < 0) return EINVAL
  if (!bindable6(ns, addr, dev)) return EADDRNOTAVAIL
  let p = port
  if (p === 0) {
    const lo = ns.sysctl.ip_local_port_range_min
    const count = ns.sysctl.ip_local_port_range_max - lo + 1
    const start = w.random.u32() % count
    for (let i = 0; i < count && p === 0; i++) {
      const q = lo + ((start + i) % count)
      if (!inUse6(sk, addr, q)) p = q
    }
    if (p === 0) return EADDRINUSE
  } else if (inUse6(sk, addr, p)) return EADDRINUSE
  if (dev >= 0 && needsScopeId(w.in6, addr)) sk.boundDev = dev
  sk.rcvSaddr = addr
  sk.saddr = w.in6.isMulticast(addr) ? 0 : addr
  sk.sport = p
  const list = ns.sockets.udp.get(p)
  if (list === undefined) ns.sockets.udp.set(p, [sk])
  else list.unshift(sk)
  return 0
}

/** udp_lib_lport_inuse with inet_rcv_saddr_equal of both families. */
function inUse6(sk: UdpSock, addr: number, port: number): boolean {
  if (sk.ns.vxlanSocks6.has(port) || (!sk.v6only && addr === 0 && sk.ns.vxlanSocks.has(port))) return true
  for (const o of sk.ns.sockets.udp.get(port) ?? []) {
    if (o === sk || (o.reuseAddr && sk.reuseAddr)) continue
    if (o.family === AF_INET6 ? o.rcvSaddr === addr || o.rcvSaddr === 0 || addr === 0 : addr === 0 && !sk.v6only) {
      return true
    }
  }
  return false
}

function route(sk: UdpSock, addr: number, port: number, dev: number): Rt6 {
  const w = sk.ns.world
  fl.reset()
  fl.daddr = addr === 0 ? w.in6.intern(0, 0, 0, 1) : addr
  fl.saddr = sk.saddr
  fl.mark = sk.mark
  fl.tclass = sk.tos
  fl.proto = IPPROTO_UDP
  fl.sport = sk.sport
  fl.dport = port
  fl.oif = sk.boundDev >= 0 ? sk.boundDev : needsScopeId(w.in6, addr) || w.in6.isMulticast(addr) ? dev : -1
  return ip6DstLookup(sk.ns, fl)
}

/** __ip6_datagram_connect. @returns 0 or a negative errno */
export function udp6Connect(sk: UdpSock, addr: number, port: number, dev = -1): number {
  const w = sk.ns.world
  if (needsScopeId(w.in6, addr)) {
    if (dev < 0 && sk.boundDev < 0) return EINVAL
    if (sk.boundDev < 0) sk.boundDev = dev
  }
  if (sk.sport === 0) {
    const e = udp6Bind(sk, 0, 0)
    if (e < 0) return e
  }
  const rt = route(sk, addr, port, dev)
  if (rt.error !== 0) return rt.error
  if (sk.saddr === 0) sk.saddr = fl.saddr
  if (sk.rcvSaddr === 0) sk.rcvSaddr = fl.saddr
  sk.daddr = fl.daddr
  sk.dport = port
  return 0
}

/**
 * udpv6_sendmsg: sends `data` to `addr:port`, or to the connected peer when `addr` is null.
 * @returns bytes sent or a negative errno
 */
export function udp6Sendmsg(sk: UdpSock, data: Uint8Array, addr: number | null, port: number, dev = -1): number {
  const ns = sk.ns
  const w = ns.world
  if (addr !== null && w.in6.word(addr, 2) === 0xffff && w.in6.word(addr, 0) === 0 && w.in6.word(addr, 1) === 0) {
    // an IPv4-mapped address: udp_sendmsg does it
    return udpSendmsg(sk, data, w.in6.word(addr, 3), port)
  }
  if (addr === null && sk.daddr === 0) return EDESTADDRREQ
  if (addr !== null && port === 0) return EINVAL
  if (data.length > UDP_MAX_PAYLOAD) return EMSGSIZE
  if (sk.sport === 0) {
    const e = udp6Bind(sk, 0, 0)
    if (e < 0) return e
  }
  const dport = addr === null ? sk.dport : port
  const to = addr === null ? sk.daddr : addr
  const rt = route(sk, to, dport, dev)
  if (rt.error !== 0) return rt.error
  const length = UDP_HEADER_BYTES + data.length
  message.rt = rt
  message.fl = fl
  message.proto = IPPROTO_UDP
  message.tclass = sk.tos
  message.hoplimit = w.in6.isMulticast(fl.daddr) ? 1 : sk.ttl
  message.pmtudisc = sk.pmtudisc
  message.bytes = scratch
  message.length = length
  message.sk = sk.id
  message.mark = sk.mark
  message.txhash = sk.daddr !== 0
  const refused = ip6AppendRefuses(message)
  if (refused !== 0) return refused
  const e = sk.takeError()
  if (e < 0) return e
  scratchView.setUint16(0, sk.sport)
  scratchView.setUint16(2, dport)
  scratchView.setUint16(4, length)
  scratchView.setUint16(6, 0)
  scratch.set(data, UDP_HEADER_BYTES)
  const check = transportChecksum6(w, scratch, 0, length, fl.saddr, fl.daddr, IPPROTO_UDP)
  scratchView.setUint16(6, check === 0 ? 0xffff : check)
  const r = ip6MakeAndSend(w, ns, message)
  if (r === ENOBUFS && !sk.recvErr) return data.length
  return r < 0 ? r : data.length
}

/** __udp6_lib_lookup: the socket for a packet from `saddr:sport` to `daddr:dport` that came by device `dev`. */
export function udp6LibLookup(
  ns: Netns,
  saddr: number,
  sport: number,
  daddr: number,
  dport: number,
  dev: number,
): UdpSock | null {
  const list = ns.sockets.udp.get(dport)
  if (list === undefined) return null
  return lookup2(list, daddr, saddr, sport, dev) ?? lookup2(list, 0, saddr, sport, dev)
}

function lookup2(list: readonly UdpSock[], bound: number, saddr: number, sport: number, dev: number): UdpSock | null {
  let best: UdpSock | null = null
  let badness = -1
  for (let i = 0; i < list.length; i++) {
    const sk = list[i]!
    if (sk.family !== AF_INET6 || sk.rcvSaddr !== bound) continue
    if (sk.boundDev >= 0 && sk.boundDev !== dev) continue
    let score = sk.boundDev >= 0 ? 1 : 0
    if (sk.daddr !== 0) {
      if (sk.daddr !== saddr || sk.dport !== sport) continue
      score += 2
    }
    if (score > badness) {
      badness = score
      best = sk
    }
  }
  return best
}

/** __udp6_lib_rcv: M_DATA at the UDP header. Takes the slot. */
export function udpV6Rcv(w: World, ns: Netns, slot: number): void {
  const a = w.arena
  const m = slot << META_SHIFT
  const th = a.meta[m + M_DATA]!
  const nh = a.meta[m + M_NH]!
  const len = a.meta[m + M_LEN]!
  const v = a.view
  let ulen = len >= UDP_HEADER_BYTES ? v.getUint16(th + 4) : 0
  if (len >= UDP_HEADER_BYTES && ulen === 0) ulen = len
  if (ulen < UDP_HEADER_BYTES || ulen > len) {
    ns.count('Udp6.InErrors')
    freeSkb(w, slot, R_L4_HDR, ulen)
    return
  }
  a.trim(slot, ulen)
  const saddr = w.in6.read(v, nh + 8)
  const daddr = w.in6.read(v, nh + 24)
  // without a checksum nobody takes it (RFC 8200 8.1); sockets with UDP_NO_CHECK6_RX are not modelled
  const noCheck = v.getUint16(th + 6) === 0
  if (noCheck || transportChecksum6(w, a.bytes, th, ulen, saddr, daddr, IPPROTO_UDP) !== 0) {
    ns.count('Udp6.InCsumErrors')
    ns.count('Udp6.InErrors')
    freeSkb(w, slot, R_L4_CSUM)
    return
  }
  const sport = v.getUint16(th)
  const dport = v.getUint16(th + 2)
  const tunnel = ns.vxlanSocks6.get(dport)
  if (tunnel !== undefined) {
    nfResetCt(w, slot)
    vxlanRcv(w, ns, slot, tunnel)
    return
  }
  const dev = a.meta[m + M_DEV]!
  if (w.in6.isMulticast(daddr)) {
    mcastDeliver(w, ns, slot, saddr, sport, daddr, dport, th, ulen)
    return
  }
  const sk = udp6LibLookup(ns, saddr, sport, daddr, dport, dev)
  nfResetCt(w, slot)
  if (sk === null) {
    ns.count('Udp6.NoPorts')
    icmpv6Send(w, slot, ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH, 0)
    freeSkb(w, slot, R_NO_SOCKET, dport)
    return
  }
  if (queueRcv(w, ns, sk, slot, saddr, sport, th, ulen)) consumeSkb(w, slot)
  else freeSkb(w, slot, R_SOCKET_FILTER, sk.id)
}

/** __udp6_lib_mcast_deliver */
function mcastDeliver(
  w: World,
  ns: Netns,
  slot: number,
  saddr: number,
  sport: number,
  daddr: number,
  dport: number,
  th: number,
  ulen: number,
): void {
  let taken = false
  for (const sk of ns.sockets.udp.get(dport) ?? []) {
    if (sk.family !== AF_INET6) continue
    if (sk.daddr !== 0 && (sk.daddr !== saddr || sk.dport !== sport)) continue
    if (sk.rcvSaddr !== 0 && sk.rcvSaddr !== daddr) continue
    if (queueRcv(w, ns, sk, slot, saddr, sport, th, ulen)) taken = true
  }
  if (taken) consumeSkb(w, slot)
  else freeSkb(w, slot, R_NO_SOCKET, dport)
}

/** udpv6_queue_rcv_skb. @returns false when the queue is full */
function queueRcv(
  w: World,
  ns: Netns,
  sk: UdpSock,
  slot: number,
  saddr: number,
  sport: number,
  th: number,
  ulen: number,
): boolean {
  const truesize = frameTruesize(ulen)
  if (sk.rmem > sk.rcvbuf) {
    ns.count('Udp6.RcvbufErrors')
    return false
  }
  if (w.tracer !== null) w.tracer.step(T_SOCK, slot, ns, null, sk.id, IPPROTO_UDP, sk.sport, sk)
  sk.rmem += truesize
  sk.queue.push({
    from: saddr,
    port: sport,
    family: AF_INET6,
    damaged: false,
    scopeDev: needsScopeId(w.in6, saddr) ? w.arena.meta[(slot << META_SHIFT) + M_DEV]! : -1,
    data: w.arena.bytes.slice(th + UDP_HEADER_BYTES, th + ulen),
    truesize,
  })
  sk.wakeUp()
  return true
}

/** udpv6_err: an ICMPv6 error about a datagram of ours, quoted at `inner`, its UDP header at `uh`; the slot is not taken. */
export function udpV6Err(
  w: World,
  ns: Netns,
  slot: number,
  type: number,
  code: number,
  info: number,
  inner: number,
  uh: number,
): void {
  const v = w.arena.view
  const dev = w.arena.meta[(slot << META_SHIFT) + M_DEV]!
  const saddr = w.in6.read(v, inner + 8)
  const daddr = w.in6.read(v, inner + 24)
  const sk = udp6LibLookup(ns, daddr, v.getUint16(uh + 2), saddr, v.getUint16(uh), dev)
  if (sk === null) {
    const a = w.arena.meta
    const quoted = a[(slot << META_SHIFT) + M_DATA]! + a[(slot << META_SHIFT) + M_LEN]! - uh
    if (!vxlanErrLookup(w, ns, uh, quoted, true)) ns.count('Icmp6.InErrors')
    else if (type === ICMPV6_PKT_TOOBIG) ip6UpdatePmtu(w, ns, inner, info, dev, 0)
    else if (type === NDISC_REDIRECT) ip6Redirect(w, ns, slot, inner, dev)
    return
  }
  icmpv6ErrConvert(type, code)
  let hard = converted.hard
  if (type === ICMPV6_PKT_TOOBIG) {
    if (sk.pmtudisc === 4) return
    ip6UpdatePmtu(w, ns, inner, info, dev, sk.mark)
    if (sk.pmtudisc !== 0) hard = true
  }
  if (type === NDISC_REDIRECT) {
    ip6Redirect(w, ns, slot, inner, dev)
    return
  }
  if (!sk.recvErr && (!hard || sk.daddr === 0)) return
  sk.err = converted.err
  sk.wakeUp()
}
