/**
 * UDP: bind, connect, send, receive, ICMP errors.
 *
 * Linux: net/ipv4/udp.c (udp_sendmsg, __udp4_lib_rcv, __udp4_lib_lookup, udp_err, udp_lib_get_port). The checksum is
 * checked on arrival (Linux may leave it to recvmsg: what a reader sees is the same). Not modelled: UDP-Lite, corking,
 * GSO/GRO segments, encapsulation sockets (VXLAN has its own device), multicast group membership, SO_REUSEPORT.
 */
import { M_DATA, M_LEN, M_NH, META_SHIFT } from '../../packet/layout.ts'
import { consumeSkb, freeSkb } from '../core/skb.ts'
import { RT_SCOPE_UNIVERSE } from '../device/device.ts'
import { geneveErrLookup, geneveRcv } from '../device/geneve.ts'
import { vxlanErrLookup, vxlanRcv } from '../device/vxlan-rcv.ts'
import {
  EACCES,
  EADDRINUSE,
  EADDRNOTAVAIL,
  EAGAIN,
  EDESTADDRREQ,
  EHOSTUNREACH,
  EINVAL,
  EMSGSIZE,
  ENETUNREACH,
  ENOBUFS,
} from '../errno.ts'
import { icmpSend } from '../ip/icmp.ts'
import { MIB_UDP_IN_DATAGRAMS } from '../ip/mib.ts'
import { IpMessage, ipAppendRefuses, ipMakeAndSend } from '../ip/output.ts'
import { AF_INET, AF_INET6 } from '../ipv6/in6.ts'
import { nfResetCt } from '../netfilter/conntrack/core.ts'
import type { Netns } from '../netns.ts'
import { R_L4_CSUM, R_L4_HDR, R_NO_SOCKET, R_SOCKET_FILTER } from '../reasons.ts'
import { Flowi4 } from '../route/flow.ts'
import {
  dstCheck,
  inetAddrType,
  ipRouteOutput,
  ipRouteOutputAgain,
  ipv4Redirect,
  ipv4UpdatePmtu,
  routeErrno,
} from '../route/route.ts'
import type { Rtable } from '../route/rtable.ts'
import { RTCF_BROADCAST, RTCF_MULTICAST, RTN_BROADCAST, RTN_LOCAL, RTN_MULTICAST } from '../route/rtn.ts'
import { T_SOCK } from '../trace.ts'
import type { World } from '../world.ts'
import { transportChecksum } from './checksum.ts'
import {
  EPROTO,
  ICMP_DEST_UNREACH,
  ICMP_ERRNO,
  ICMP_FATAL,
  ICMP_FRAG_NEEDED,
  ICMP_PARAMETERPROB,
  ICMP_PORT_UNREACH,
  ICMP_REDIRECT,
  ICMP_SOURCE_QUENCH,
  icmpHeader,
  NR_ICMP_UNREACH,
  quotedIp,
} from './icmp-errors.ts'
import { IPPROTO_UDP } from './sock.ts'
import { type Datagram, frameTruesize, type UdpSock } from './udp-sock.ts'

/** Bytes of a UDP header. */
export const UDP_HEADER_BYTES = 8
/** Largest UDP payload over IPv4. */
const UDP_MAX_PAYLOAD = 65507
/** CHECKSUM_BREAK: larger packets are checked late. */
const CHECKSUM_BREAK = 76

const fl = new Flowi4()
const message = new IpMessage()
const scratch = new Uint8Array(65536)
const scratchView = new DataView(scratch.buffer)

/**
 * Whether `ip` may be bound: inet_bind's check of the address type.
 */
export function inetAddrValidOrNonlocal(ns: Netns, ip: number): boolean {
  if (ip === 0 || ns.sysctl.ip_nonlocal_bind !== 0) return true
  const type = inetAddrType(ns, ip)
  return type === RTN_LOCAL || type === RTN_MULTICAST || type === RTN_BROADCAST
}

/** udp_lib_get_port: binds to `port`, 0 picks a free one. @returns 0, -EADDRINUSE or -EADDRNOTAVAIL */
export function udpBind(sk: UdpSock, ip: number, port: number): number {
  const ns = sk.ns
  if (!inetAddrValidOrNonlocal(ns, ip)) return EADDRNOTAVAIL
  let p = port
  if (p === 0) {
    const lo = ns.sysctl.ip_local_port_range_min
    const count = ns.sysctl.ip_local_port_range_max - lo + 1
    const start = ns.world.random.u32() % count
    for (let i = 0; i < count; i++) {
      const q = lo + ((start + i) % count)
      if (!inUse(sk, ip, q)) {
        p = q
        break
      }
    }
    if (p === 0) return EADDRINUSE
  } else if (inUse(sk, ip, p)) return EADDRINUSE
  sk.rcvSaddr = ip
  const type = ip === 0 ? RTN_LOCAL : inetAddrType(ns, ip)
  sk.saddr = type === RTN_MULTICAST || type === RTN_BROADCAST ? 0 : ip
  sk.sport = p
  const list = ns.sockets.udp.get(p)
  if (list === undefined) ns.sockets.udp.set(p, [sk])
  else list.unshift(sk)
  return 0
}

/** udp_lib_lport_inuse with inet_rcv_saddr_equal. */
function inUse(sk: UdpSock, ip: number, port: number): boolean {
  if (sk.ns.vxlanSocks.has(port) || sk.ns.genevePorts.has(port)) return true
  const list = sk.ns.sockets.udp.get(port)
  if (list === undefined) return false
  for (const o of list) {
    if (o.family === AF_INET6 && (o.v6only || o.rcvSaddr !== 0)) continue
    if (o !== sk && !(o.reuseAddr && sk.reuseAddr) && (o.rcvSaddr === ip || o.rcvSaddr === 0 || ip === 0)) return true
  }
  return false
}

/** No route for what a process sends: counted when the network is unreachable. @returns the errno */
export function noRoute(ns: Netns): number {
  const e = routeErrno()
  if (e === ENETUNREACH) ns.count('Ip.OutNoRoutes')
  return e
}

/** __ip4_datagram_connect: fixes the peer and the source address. @returns 0 or a negative errno */
export function udpConnect(sk: UdpSock, ip: number, port: number): number {
  let rt = route(sk, ip, port)
  // ip_route_connect: once more with the source address that was found
  if (rt !== null && (ip === 0 || sk.saddr === 0)) rt = ipRouteOutputAgain(sk.ns, fl)
  if (rt === null) return noRoute(sk.ns)
  if ((rt.flags & RTCF_BROADCAST) !== 0 && !sk.broadcast) return EACCES
  if (sk.sport === 0) {
    const e = udpBind(sk, 0, 0)
    if (e < 0) return e
  }
  if (sk.saddr === 0) sk.saddr = fl.saddr
  if (sk.rcvSaddr === 0) sk.rcvSaddr = fl.saddr
  sk.daddr = fl.daddr
  sk.dport = port
  sk.rt = rt
  return 0
}

function route(sk: UdpSock, ip: number, port: number): Rtable | null {
  fl.reset()
  fl.daddr = ip
  fl.saddr = sk.saddr
  fl.mark = sk.mark
  fl.tos = sk.tos
  fl.proto = IPPROTO_UDP
  fl.scope = RT_SCOPE_UNIVERSE
  fl.sport = sk.sport
  fl.dport = port
  return ipRouteOutput(sk.ns, fl)
}

/**
 * udp_sendmsg: sends `data` to `ip:port`, or to the connected peer when `ip` is null.
 * @returns bytes sent or a negative errno
 */
export function udpSendmsg(sk: UdpSock, data: Uint8Array, ip: number | null, port: number): number {
  const ns = sk.ns
  if (data.length > UDP_MAX_PAYLOAD) return EMSGSIZE
  if (ip === null && !sk.connected) return EDESTADDRREQ
  if (ip !== null && port === 0) return EINVAL
  if (sk.sport === 0) {
    const e = udpBind(sk, 0, 0)
    if (e < 0) return e
  }
  const toPeer = ip === null
  let rt = toPeer && sk.rt !== null && dstCheck(ns, sk.rt) ? sk.rt : null
  const dport = toPeer ? sk.dport : port
  if (rt === null) {
    rt = route(sk, toPeer ? sk.daddr : ip, dport)
    if (rt === null) return noRoute(sk.ns)
    if (toPeer) sk.rt = rt
  } else {
    fl.reset()
    fl.daddr = sk.daddr
    fl.saddr = sk.saddr
    fl.mark = sk.mark
    fl.tos = sk.tos
    fl.proto = IPPROTO_UDP
    fl.sport = sk.sport
    fl.dport = dport
  }
  if ((rt.flags & RTCF_BROADCAST) !== 0 && !sk.broadcast) return EACCES
  const refused = ipAppendRefuses(rt, sk.pmtudisc, 0, UDP_HEADER_BYTES + data.length)
  if (refused !== 0) return refused
  // sock_alloc_send_skb reports what an earlier packet of this socket met
  const e = sk.takeError()
  if (e < 0) {
    ns.count('Ip.OutDiscards')
    return e
  }
  const length = UDP_HEADER_BYTES + data.length
  scratchView.setUint16(0, sk.sport)
  scratchView.setUint16(2, dport)
  scratchView.setUint16(4, length)
  scratchView.setUint16(6, 0)
  scratch.set(data, UDP_HEADER_BYTES)
  const check = transportChecksum(scratch, 0, length, fl.saddr, fl.daddr, IPPROTO_UDP)
  scratchView.setUint16(6, check === 0 ? 0xffff : check)
  message.rt = rt
  message.fl = fl
  message.proto = IPPROTO_UDP
  message.tos = sk.tos
  message.ttl = rt.type === RTN_MULTICAST ? 1 : Math.max(sk.ttl, 0)
  message.pmtudisc = sk.pmtudisc
  message.bytes = scratch
  message.length = length
  message.sk = sk.id
  message.mark = sk.mark
  message.priority = 0
  message.connected = sk.connected
  message.options = null
  const r = ipMakeAndSend(ns.world, ns, message)
  if (r === ENOBUFS && !sk.recvErr) {
    // udp_send_skb: what a device dropped is no error of the sender's
    ns.count('Udp.SndbufErrors')
    return data.length
  }
  if (r === 0) ns.count('Udp.OutDatagrams')
  return r < 0 ? r : data.length
}

/** udp_recvmsg: the next datagram, a pending error, or -EAGAIN. */
export function udpRecvmsg(sk: UdpSock): Datagram | number {
  const e = sk.takeError()
  if (e < 0) return e
  let d = sk.queue.shift()
  // udp_recvmsg: a datagram whose checksum was not looked at before is judged now
  while (d?.damaged === true) {
    sk.rmem -= d.truesize
    sk.ns.count('Udp.InCsumErrors')
    sk.ns.count('Udp.InErrors')
    d = sk.queue.shift()
  }
  if (d === undefined) return EAGAIN
  sk.rmem -= d.truesize
  // udp_recvmsg counts, not the arrival
  sk.ns.count('Udp.InDatagrams')
  return d
}

/** udp_lib_close */
export function udpClose(sk: UdpSock): void {
  sk.closed = true
  sk.cancelWakeUp()
  const list = sk.ns.sockets.udp.get(sk.sport)
  if (list !== undefined) {
    const i = list.indexOf(sk)
    if (i >= 0) list.splice(i, 1)
    if (list.length === 0) sk.ns.sockets.udp.delete(sk.sport)
  }
  sk.ns.sockets.byId[sk.id] = undefined
}

/** udp4_lib_lookup2 over the sockets bound to `bound`: the best score, the newest of equals. */
function lookup2(list: readonly UdpSock[], bound: number, saddr: number, sport: number): UdpSock | null {
  let best: UdpSock | null = null
  let badness = 0
  for (let i = 0; i < list.length; i++) {
    const sk = list[i]!
    if (sk.rcvSaddr !== bound) continue
    let score = 2
    if (sk.family === AF_INET6) {
      // a dual-stack socket bound to :: takes IPv4 too, after those of IPv4
      if (bound !== 0 || sk.v6only || sk.daddr !== 0) continue
      score = 1
    }
    if (sk.daddr !== 0) {
      if (sk.daddr !== saddr || sk.dport !== sport) continue
      score += 8
    }
    if (score > badness) {
      badness = score
      best = sk
    }
  }
  return best
}

/** __udp4_lib_lookup: the socket for a packet from `saddr:sport` to `daddr:dport`, null when none. */
export function udp4LibLookup(ns: Netns, saddr: number, sport: number, daddr: number, dport: number): UdpSock | null {
  const list = ns.sockets.udp.get(dport)
  if (list === undefined) return null
  return lookup2(list, daddr, saddr, sport) ?? lookup2(list, 0, saddr, sport)
}

/** __udp4_lib_rcv: M_DATA at the UDP header. Takes the slot. */
export function udpRcv(w: World, ns: Netns, slot: number): void {
  const a = w.arena
  const m = slot << META_SHIFT
  const th = a.meta[m + M_DATA]!
  const nh = a.meta[m + M_NH]!
  const len = a.meta[m + M_LEN]!
  const v = a.view
  const ulen = len >= UDP_HEADER_BYTES ? v.getUint16(th + 4) : 0
  if (ulen < UDP_HEADER_BYTES || ulen > len) {
    ns.count('Udp.InErrors')
    freeSkb(w, slot, R_L4_HDR, ulen)
    return
  }
  a.trim(slot, ulen)
  const saddr = v.getInt32(nh + 12)
  const daddr = v.getInt32(nh + 16)
  const check = v.getUint16(th + 6)
  const rt = a.dst[slot] as Rtable | null
  const mcast = rt !== null && (rt.flags & (RTCF_BROADCAST | RTCF_MULTICAST)) !== 0
  const summed = ns.ct !== null && ns.sysctl.nf_conntrack_checksum !== 0
  if (mcast && !summed && ulen > CHECKSUM_BREAK && !ns.sockets.udp.has(v.getUint16(th + 2))) {
    // the checksum of a large datagram is not looked at before a socket wants it, unless conntrack has done so
    ns.count('Udp.IgnoredMulti')
    freeSkb(w, slot, R_NO_SOCKET, v.getUint16(th + 2))
    return
  }
  const damaged = check !== 0 && transportChecksum(a.bytes, th, ulen, saddr, daddr, IPPROTO_UDP) !== 0
  if (damaged && !mcast && !summed && ulen > CHECKSUM_BREAK && !ns.vxlanSocks.has(v.getUint16(th + 2))) {
    const late = udp4LibLookup(ns, saddr, v.getUint16(th), daddr, v.getUint16(th + 2))
    if (late !== null) {
      // the reader finds out: until then it takes its place in the queue
      nfResetCt(w, slot)
      queueRcv(w, ns, late, slot, saddr, v.getUint16(th), th, ulen, true)
      freeSkb(w, slot, R_L4_CSUM)
      return
    }
  }
  if (damaged) {
    ns.count('Udp.InCsumErrors')
    ns.count('Udp.InErrors')
    freeSkb(w, slot, R_L4_CSUM)
    return
  }
  const sport = v.getUint16(th)
  const dport = v.getUint16(th + 2)
  const tunnel = ns.vxlanSocks.get(dport)
  if (tunnel !== undefined) {
    // encap_rcv takes the datagram whatever becomes of it
    ns.mib[MIB_UDP_IN_DATAGRAMS]!++
    nfResetCt(w, slot)
    vxlanRcv(w, ns, slot, tunnel)
    return
  }
  if (ns.genevePorts.has(dport)) {
    ns.count('Udp.InDatagrams')
    nfResetCt(w, slot)
    geneveRcv(w, ns, slot)
    return
  }
  if (mcast) {
    mcastDeliver(w, ns, slot, saddr, sport, daddr, dport, th, ulen)
    return
  }
  const sk = udp4LibLookup(ns, saddr, sport, daddr, dport)
  if (sk === null) {
    ns.count('Udp.NoPorts')
    nfResetCt(w, slot)
    icmpSend(w, slot, ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, 0)
    freeSkb(w, slot, R_NO_SOCKET, dport)
    return
  }
  nfResetCt(w, slot)
  if (queueRcv(w, ns, sk, slot, saddr, sport, th, ulen)) consumeSkb(w, slot)
  else freeSkb(w, slot, R_SOCKET_FILTER, sk.id)
}

/** __udp4_lib_mcast_deliver: every matching socket gets a copy. */
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
  const list = ns.sockets.udp.get(dport)
  let taken = false
  if (list !== undefined) {
    for (const sk of list) {
      if (sk.family === AF_INET6 && (sk.v6only || sk.rcvSaddr !== 0)) continue
      if (sk.daddr !== 0 && (sk.daddr !== saddr || sk.dport !== sport)) continue
      if (sk.rcvSaddr !== 0 && sk.rcvSaddr !== daddr) continue
      if (queueRcv(w, ns, sk, slot, saddr, sport, th, ulen)) taken = true
    }
  }
  if (taken) consumeSkb(w, slot)
  else {
    ns.count('Udp.IgnoredMulti')
    freeSkb(w, slot, R_NO_SOCKET, dport)
  }
}

/** udp_queue_rcv_skb: copies the payload to the socket. @returns false when the queue is full */
function queueRcv(
  w: World,
  ns: Netns,
  sk: UdpSock,
  slot: number,
  saddr: number,
  sport: number,
  th: number,
  ulen: number,
  damaged = false,
): boolean {
  const truesize = frameTruesize(ulen)
  if (sk.rmem > sk.rcvbuf) {
    ns.count('Udp.RcvbufErrors')
    ns.count('Udp.InErrors')
    return false
  }
  if (w.tracer !== null && !damaged) w.tracer.step(T_SOCK, slot, ns, null, sk.id, IPPROTO_UDP, sk.sport, sk)
  sk.rmem += truesize
  sk.queue.push({
    from: saddr,
    port: sport,
    family: AF_INET,
    scopeDev: -1,
    data: w.arena.bytes.slice(th + UDP_HEADER_BYTES, th + ulen),
    truesize,
    damaged,
  })
  sk.wakeUp()
  return true
}

/** udp_err: an ICMP error about a datagram of ours; the slot is not taken. `info`: MTU for FRAG_NEEDED. */
export function udpErr(w: World, ns: Netns, slot: number, info: number): void {
  const v = w.arena.view
  const icmp = icmpHeader(w, slot)
  const ip = quotedIp(w, slot)
  const uh = ip + ((w.arena.bytes[ip]! & 15) << 2)
  const type = w.arena.bytes[icmp]!
  const code = w.arena.bytes[icmp + 1]!
  const sk = udp4LibLookup(ns, v.getInt32(ip + 16), v.getUint16(uh + 2), v.getInt32(ip + 12), v.getUint16(uh))
  if (sk === null) {
    const quoted = w.arena.meta[(slot << META_SHIFT) + M_DATA]! + w.arena.meta[(slot << META_SHIFT) + M_LEN]! - uh
    const ours = vxlanErrLookup(w, ns, uh, quoted) || geneveErrLookup(w, ns, uh, quoted, v.getInt32(ip + 16))
    if (!ours) ns.count('Icmp.InErrors')
    else if (type === ICMP_REDIRECT) ipv4Redirect(w, ns, slot, -1, IPPROTO_UDP)
    else if (type === ICMP_DEST_UNREACH && code === ICMP_FRAG_NEEDED) {
      ipv4UpdatePmtu(w, ns, slot, info, -1, IPPROTO_UDP)
    }
    return
  }
  let err = EHOSTUNREACH
  let hard = false
  if (type === ICMP_SOURCE_QUENCH) return
  if (type === ICMP_REDIRECT) {
    ipv4Redirect(w, ns, slot, -1, IPPROTO_UDP)
    return
  }
  if (type === ICMP_PARAMETERPROB) {
    err = EPROTO
    hard = true
  } else if (type === ICMP_DEST_UNREACH) {
    if (code === ICMP_FRAG_NEEDED) {
      ipv4UpdatePmtu(w, ns, slot, info, -1, IPPROTO_UDP)
      if (sk.pmtudisc === 0) return
      err = EMSGSIZE
      hard = true
    } else if (code <= NR_ICMP_UNREACH) {
      err = ICMP_ERRNO[code]!
      hard = ICMP_FATAL[code]!
    }
  }
  if (!sk.recvErr && (!hard || !sk.connected)) return
  sk.err = err
  sk.wakeUp()
}
