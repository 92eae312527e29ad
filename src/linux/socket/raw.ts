/**
 * Raw IP sockets: what ping(8) uses.
 *
 * Linux: net/ipv4/raw.c (raw_sendmsg, raw_v4_input, raw_icmp_error, raw_err). Not modelled: IP_HDRINCL, SOCK_DGRAM ping
 * sockets (net/ipv4/ping.c), IP options set by the socket.
 */
import { M_DATA, M_LEN, M_NH, META_SHIFT } from '../../packet/layout.ts'
import { EACCES, EADDRNOTAVAIL, EAGAIN, EHOSTUNREACH, EMSGSIZE, ENOBUFS } from '../errno.ts'
import { IpMessage, ipAppendRefuses, ipMakeAndSend } from '../ip/output.ts'
import { AF_INET6 } from '../ipv6/in6.ts'
import type { Netns } from '../netns.ts'
import { Flowi4 } from '../route/flow.ts'
import { ipRouteOutput, ipv4Redirect, ipv4UpdatePmtu, routeErrno } from '../route/route.ts'
import { RTCF_BROADCAST, RTN_MULTICAST } from '../route/rtn.ts'
import { T_SOCK } from '../trace.ts'
import type { World } from '../world.ts'
import {
  EPROTO,
  ICMP_DEST_UNREACH,
  ICMP_ERRNO,
  ICMP_FATAL,
  ICMP_FRAG_NEEDED,
  ICMP_PARAMETERPROB,
  ICMP_REDIRECT,
  ICMP_SOURCE_QUENCH,
  icmpHeader,
  NR_ICMP_UNREACH,
  quotedIp,
} from './icmp-errors.ts'
import { InetSock, IPPROTO_ICMP } from './sock.ts'
import { inetAddrValidOrNonlocal } from './udp.ts'
import { frameTruesize, RMEM_DEFAULT } from './udp-sock.ts'

/** What a raw socket received: the packet from its IP header on. */
export interface RawPacket {
  readonly from: number
  readonly packet: Uint8Array
  /** Hop limit of an IPv6 packet, whose header is not part of `packet` (IPV6_RECVHOPLIMIT); 0 for IPv4. */
  readonly hoplimit: number
  /** Virtual arrival time. */
  readonly atNs: number
  readonly truesize: number
}

/** A raw socket of one protocol. */
export class RawSock extends InetSock {
  /** ICMP_FILTER: bit set = type not delivered. */
  icmpFilter = 0
  /** ICMP6_FILTER: bit set = type not delivered, null for none. */
  icmp6Filter: Int32Array | null = null
  readonly queue: RawPacket[] = []
  rmem = 0
  rcvbuf = RMEM_DEFAULT

  /** icmpv6_filter: whether the socket does not want messages of this type. */
  icmp6Blocks(type: number): boolean {
    return this.icmp6Filter !== null && ((this.icmp6Filter[type >> 5]! >>> (type & 31)) & 1) !== 0
  }
}

const fl = new Flowi4()
const message = new IpMessage()
message.csumNone = true

/** raw_bind: fixes the source address. @returns 0 or -EADDRNOTAVAIL */
export function rawBind(sk: RawSock, ip: number): number {
  if (!inetAddrValidOrNonlocal(sk.ns, ip)) return EADDRNOTAVAIL
  sk.rcvSaddr = ip
  sk.saddr = ip
  return 0
}

/** raw_sendmsg: `data` is the transport header and payload as it goes on the wire. @returns bytes or a negative errno */
export function rawSendmsg(sk: RawSock, data: Uint8Array, dst: number): number {
  const ns = sk.ns
  if (data.length > 0xffff) return EMSGSIZE
  fl.reset()
  fl.daddr = dst
  fl.saddr = sk.saddr
  fl.mark = sk.mark
  fl.tos = sk.tos
  fl.proto = sk.protocol
  const rt = ipRouteOutput(ns, fl)
  if (rt === null) return routeErrno()
  if ((rt.flags & RTCF_BROADCAST) !== 0 && !sk.broadcast) return EACCES
  const refused = ipAppendRefuses(rt, sk.pmtudisc, 0, data.length)
  if (refused !== 0) return refused
  const e = sk.takeError()
  if (e < 0) {
    ns.count('Ip.OutDiscards')
    return e
  }
  message.rt = rt
  message.fl = fl
  message.proto = sk.protocol
  message.tos = sk.tos
  // IP_MULTICAST_TTL, which nobody sets here
  message.ttl = rt.type === RTN_MULTICAST ? 1 : Math.max(sk.ttl, 0)
  message.pmtudisc = sk.pmtudisc
  message.bytes = data
  message.length = data.length
  message.sk = sk.id
  message.mark = sk.mark
  message.priority = 0
  message.connected = sk.daddr !== 0
  message.options = null
  const r = ipMakeAndSend(ns.world, ns, message)
  return r < 0 && (r !== ENOBUFS || sk.recvErr) ? r : data.length
}

/** raw_recvmsg: the next packet, a pending error, or -EAGAIN. */
export function rawRecvmsg(sk: RawSock): RawPacket | number {
  const e = sk.takeError()
  if (e < 0) return e
  const p = sk.queue.shift()
  if (p === undefined) return EAGAIN
  sk.rmem -= p.truesize
  return p
}

/** raw_close */
export function rawClose(sk: RawSock): void {
  sk.closed = true
  sk.cancelWakeUp()
  const list = (sk.family === AF_INET6 ? sk.ns.sockets.raw6 : sk.ns.sockets.raw).get(sk.protocol)
  const i = list === undefined ? -1 : list.indexOf(sk)
  if (i >= 0) list!.splice(i, 1)
  sk.ns.sockets.byId[sk.id] = undefined
}

function rawMatch(sk: RawSock, raddr: number, laddr: number): boolean {
  return (sk.daddr === 0 || sk.daddr === raddr) && (sk.rcvSaddr === 0 || sk.rcvSaddr === laddr)
}

/**
 * raw_v4_input: gives copies to raw sockets; M_DATA at the transport header, the slot is not taken.
 * @returns whether a socket of this protocol matched (then no protocol-unreachable is sent)
 */
export function rawLocalDeliver(w: World, ns: Netns, slot: number, proto: number): boolean {
  const list = ns.sockets.raw.get(proto)
  if (list === undefined || list.length === 0) return false
  const a = w.arena
  const m = slot << META_SHIFT
  const nh = a.meta[m + M_NH]!
  const th = a.meta[m + M_DATA]!
  const end = th + a.meta[m + M_LEN]!
  const saddr = a.view.getInt32(nh + 12)
  const daddr = a.view.getInt32(nh + 16)
  let delivered = false
  for (const sk of list) {
    if (!rawMatch(sk, saddr, daddr)) continue
    delivered = true
    if (proto === IPPROTO_ICMP) {
      const type = a.bytes[th]!
      if (end - th < 8 || (type < 32 && ((sk.icmpFilter >>> type) & 1) !== 0)) continue
    }
    if (sk.rmem > sk.rcvbuf) continue
    const truesize = frameTruesize(end - nh)
    sk.rmem += truesize
    if (w.tracer !== null) w.tracer.step(T_SOCK, slot, ns, null, sk.id, proto, 0, sk)
    sk.queue.push({ from: saddr, packet: a.bytes.slice(nh, end), hoplimit: 0, atNs: w.nowNs, truesize })
    sk.wakeUp()
  }
  return delivered
}

/** raw_icmp_error: an ICMP error about a packet of a raw socket; the slot is not taken. */
export function rawErr(w: World, ns: Netns, slot: number, info: number): void {
  const ip = quotedIp(w, slot)
  const list = ns.sockets.raw.get(w.arena.bytes[ip + 9]!)
  if (list === undefined) return
  const icmp = icmpHeader(w, slot)
  const type = w.arena.bytes[icmp]!
  const code = w.arena.bytes[icmp + 1]!
  const saddr = w.arena.view.getInt32(ip + 12)
  const daddr = w.arena.view.getInt32(ip + 16)
  for (const sk of list) {
    if (rawMatch(sk, daddr, saddr)) rawSockErr(w, ns, sk, slot, type, code, info)
  }
}

function rawSockErr(w: World, ns: Netns, sk: RawSock, slot: number, type: number, code: number, info: number): void {
  if (type === ICMP_DEST_UNREACH && code === ICMP_FRAG_NEEDED) ipv4UpdatePmtu(w, ns, slot, info, -1, sk.protocol)
  else if (type === ICMP_REDIRECT) {
    ipv4Redirect(w, ns, slot, -1, sk.protocol)
    return
  }
  if (!sk.recvErr && sk.daddr === 0) return
  let err = EHOSTUNREACH
  let hard = false
  if (type === ICMP_SOURCE_QUENCH) return
  if (type === ICMP_PARAMETERPROB) {
    err = EPROTO
    hard = true
  } else if (type === ICMP_DEST_UNREACH) {
    if (code > NR_ICMP_UNREACH) return
    if (code === ICMP_FRAG_NEEDED) {
      hard = sk.pmtudisc !== 0
      err = EMSGSIZE
    } else {
      err = ICMP_ERRNO[code]!
      hard = ICMP_FATAL[code]!
    }
  }
  if (sk.recvErr || hard) {
    sk.err = err
    sk.wakeUp()
  }
}
