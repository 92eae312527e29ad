/**
 * Sockets for people: what a process does, as plain calls that give values or negative errnos.
 *
 * Linux: socket(2), bind(2), connect(2), send(2), recv(2), raw(7), udp(7), tcp(7). All sockets are non-blocking. Options
 * are those of the kernel-lab scenarios: SO_REUSEADDR on bound sockets, TCP_NODELAY on connections.
 */
import { EADDRNOTAVAIL } from '../errno.ts'
import type { Netns } from '../netns.ts'
import { type RawPacket, RawSock, rawBind, rawClose, rawRecvmsg, rawSendmsg } from './raw.ts'
import { IPPROTO_ICMP } from './sock.ts'
import * as tcp from './tcp.ts'
import type { TcpSock } from './tcp-sock.ts'
import { udpBind, udpClose, udpConnect, udpRecvmsg, udpSendmsg } from './udp.ts'
import { type Datagram, UdpSock } from './udp-sock.ts'

/** An IPv4 address and a port. */
export interface SockAddr {
  /** signed int32, 0 = any */
  readonly ip: number
  readonly port: number
}

/** Options that any socket may be opened with. */
export interface SocketOptions {
  /** IP_MTU_DISCOVER: 0 DONT, 1 WANT (default), 2 DO, 3 PROBE, 4 INTERFACE, 5 OMIT */
  readonly pmtudisc?: number
  readonly tos?: number
  readonly ttl?: number
  readonly mark?: number
  /** IP_RECVERR */
  readonly recvErr?: boolean
}

/** Options of udpOpen. */
export interface UdpOptions extends SocketOptions {
  readonly bind?: SockAddr
  readonly connect?: SockAddr
  /** SO_BROADCAST */
  readonly broadcast?: boolean
  /** SO_REUSEADDR, default true */
  readonly reuseAddr?: boolean
}

function applyOptions(sk: UdpSock | RawSock | TcpSock, o: SocketOptions): void {
  if (o.pmtudisc !== undefined) sk.pmtudisc = o.pmtudisc
  if (o.tos !== undefined) sk.tos = o.tos
  if (o.ttl !== undefined) sk.ttl = o.ttl
  if (o.mark !== undefined) sk.mark = o.mark
  if (o.recvErr !== undefined) sk.recvErr = o.recvErr
}

/** Opens, binds and connects a UDP socket. @returns the socket or a negative errno */
export function udpOpen(ns: Netns, o: UdpOptions = {}): UdpSock | number {
  const sk = new UdpSock(ns)
  ns.sockets.byId.push(sk)
  applyOptions(sk, o)
  sk.broadcast = o.broadcast === true
  sk.reuseAddr = o.reuseAddr !== false
  let e = 0
  if (o.bind !== undefined) e = udpBind(sk, o.bind.ip, o.bind.port)
  if (e === 0 && o.connect !== undefined) e = udpConnect(sk, o.connect.ip, o.connect.port)
  if (e < 0) {
    udpClose(sk)
    return e
  }
  return sk
}

/** sendto(2) or send(2) on a UDP socket. @returns bytes sent or a negative errno */
export function udpSend(sk: UdpSock, data: Uint8Array, to?: SockAddr): number {
  return to === undefined ? udpSendmsg(sk, data, null, 0) : udpSendmsg(sk, data, to.ip, to.port)
}

/** recvfrom(2) on a UDP socket. @returns the datagram or a negative errno (-EAGAIN: none waits) */
export function udpRecv(sk: UdpSock): Datagram | number {
  return udpRecvmsg(sk)
}

/** Options of rawOpen. */
export interface RawOptions extends SocketOptions {
  /** Source address to bind. */
  readonly bind?: number
  /** ICMP_FILTER; 0xffffffff delivers nothing. */
  readonly icmpFilter?: number
}

/** Opens a raw socket; protocol 1 is what ping(8) uses. @returns the socket or a negative errno */
export function rawOpen(ns: Netns, protocol: number, o: RawOptions = {}): RawSock | number {
  if (o.bind !== undefined && o.bind !== 0 && !bindable(ns, o.bind)) return EADDRNOTAVAIL
  const sk = new RawSock(ns, protocol)
  ns.sockets.byId.push(sk)
  applyOptions(sk, o)
  sk.icmpFilter = o.icmpFilter ?? 0
  if (o.bind !== undefined) rawBind(sk, o.bind)
  const list = ns.sockets.raw.get(protocol)
  if (list === undefined) ns.sockets.raw.set(protocol, [sk])
  else list.push(sk)
  return sk
}

function bindable(ns: Netns, ip: number): boolean {
  const probe = new RawSock(ns, 0)
  return rawBind(probe, ip) === 0
}

/** sendto(2) on a raw socket: `data` from the transport header on. @returns bytes sent or a negative errno */
export function rawSend(sk: RawSock, data: Uint8Array, dst: number): number {
  return rawSendmsg(sk, data, dst)
}

/** recvfrom(2) on a raw socket: the packet with its IP header, or a negative errno. */
export function rawRecv(sk: RawSock): RawPacket | number {
  return rawRecvmsg(sk)
}

/** An ICMP echo request with its checksum: header and `body`. */
export function icmpEcho(id: number, seq: number, body: Uint8Array): Uint8Array {
  const m = new Uint8Array(8 + body.length)
  const v = new DataView(m.buffer)
  m[0] = 8
  v.setUint16(4, id)
  v.setUint16(6, seq)
  m.set(body, 8)
  let sum = 0
  for (let i = 0; i < m.length; i += 2) sum += (m[i]! << 8) | (m[i + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  v.setUint16(2, ~sum & 0xffff)
  return m
}

/** Options of one rawPing. */
export interface PingOptions {
  readonly id: number
  readonly seq: number
  readonly body: Uint8Array
  readonly ttl?: number
  readonly tos?: number
}

/** Sends one echo request from a raw ICMP socket. @returns bytes sent or a negative errno */
export function rawPing(sk: RawSock, dst: number, o: PingOptions): number {
  sk.ttl = o.ttl ?? 64
  sk.tos = o.tos ?? 0
  return rawSendmsg(sk, icmpEcho(o.id, o.seq, o.body), dst)
}

/** A raw ICMP socket for rawPing that takes no answers in (ICMP_FILTER all), as the lab's. */
export function pingOpen(ns: Netns, o: SocketOptions & { readonly src?: number } = {}): RawSock | number {
  const { src, ...rest } = o
  return rawOpen(ns, IPPROTO_ICMP, { ...rest, icmpFilter: -1, ...(src === undefined ? {} : { bind: src }) })
}

/** Opens a listening socket (SO_REUSEADDR). @returns the socket or a negative errno */
export function tcpListen(ns: Netns, bind: SockAddr, backlog = 16, o: SocketOptions = {}): TcpSock | number {
  const sk = tcp.tcpSocket(ns)
  sk.reuseAddr = true
  applyOptions(sk, o)
  let e = tcp.tcpBind(sk, bind.ip, bind.port)
  if (e === 0) e = tcp.tcpListen(sk, backlog)
  if (e < 0) {
    tcp.tcpClose(sk)
    return e
  }
  return sk
}

/** Options of tcpConnect. */
export interface ConnectOptions extends SocketOptions {
  readonly bind?: SockAddr
  /** TCP_NODELAY, default true. */
  readonly nodelay?: boolean
  readonly onReadable?: () => void
}

/** A connecting socket, and what connect(2) said: -EINPROGRESS when the SYN is on its way. */
export interface Connecting {
  readonly sk: TcpSock
  readonly errno: number
}

/**
 * Opens a socket, binds it and sends the SYN (connect on a non-blocking socket).
 * @returns the socket with connect's errno, or bind's negative errno
 */
export function tcpConnect(ns: Netns, to: SockAddr, o: ConnectOptions = {}): Connecting | number {
  const sk = tcp.tcpSocket(ns)
  sk.reuseAddr = true
  sk.nodelay = o.nodelay !== false
  sk.onReadable = o.onReadable ?? null
  applyOptions(sk, o)
  if (o.bind !== undefined) {
    const e = tcp.tcpBind(sk, o.bind.ip, o.bind.port)
    if (e < 0) {
      tcp.tcpClose(sk)
      return e
    }
  }
  return { sk, errno: tcp.tcpConnect(sk, to.ip, to.port) }
}

/** SO_ERROR: 0 or a negative errno; a soft error (ICMP) counts as Linux counts it. */
export function tcpStatus(sk: TcpSock): number {
  return tcp.tcpSoError(sk)
}

/** accept(2), with TCP_NODELAY set on the connection. @returns the connection or a negative errno */
export function tcpAccept(sk: TcpSock): TcpSock | number {
  const c = tcp.tcpAccept(sk)
  if (typeof c !== 'number') c.nodelay = true
  return c
}

/** send(2). @returns bytes taken or a negative errno */
export function tcpSend(sk: TcpSock, data: Uint8Array): number {
  return tcp.tcpSendmsg(sk, data)
}

/** recv(2): an empty array at the end of the stream. @returns bytes or a negative errno */
export function tcpRecv(sk: TcpSock, max = 1 << 20): Uint8Array | number {
  return tcp.tcpRecvmsg(sk, max)
}

/** shutdown(2) with SHUT_WR. @returns 0 or a negative errno */
export function tcpShutdown(sk: TcpSock): number {
  return tcp.tcpShutdown(sk)
}

/** close(2) */
export function close(sk: UdpSock | RawSock | TcpSock): void {
  if (sk instanceof UdpSock) udpClose(sk)
  else if (sk instanceof RawSock) rawClose(sk)
  else tcp.tcpClose(sk)
}
