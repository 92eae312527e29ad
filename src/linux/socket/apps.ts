/**
 * Small applications on sockets: servers that answer, and a client that plays one whole TCP connection.
 *
 * A process that waits for a socket runs after the softirq that woke it, in process context, at the same virtual time
 * (no scheduling delay is modelled). `podwalk trace --flow` plays handshake, request, response and close with these.
 */
import { EAGAIN, EINPROGRESS } from '../errno.ts'
import type { Netns } from '../netns.ts'
import type { World } from '../world.ts'
import {
  close,
  type SockAddr,
  tcpAccept,
  tcpConnect,
  tcpListen,
  tcpRecv,
  tcpSend,
  tcpStatus,
  udpOpen,
  udpRecv,
  udpSend,
} from './api.ts'
import { TCP_CLOSE, TCP_ESTABLISHED, TCP_SYN_RECV, TCP_SYN_SENT } from './tcp-const.ts'
import type { TcpSock } from './tcp-sock.ts'
import type { UdpSock } from './udp-sock.ts'

/** What a server does with data. */
export interface ServeOptions {
  /** Bytes to answer with, null for none. Default: echo. */
  readonly respond?: (data: Uint8Array) => Uint8Array | null
  /** Closes after the first response, as HTTP/1.0 does; a function decides by the request. */
  readonly closeAfterResponse?: boolean | ((data: Uint8Array) => boolean)
}

/** A TCP server: accepts, answers each piece of data, closes when the peer has closed. @returns listener or errno */
export function serveTcp(ns: Netns, ip: number, port: number, o: ServeOptions = {}): TcpSock | number {
  const l = tcpListen(ns, { ip, port }, 128)
  if (typeof l === 'number') return l
  const respond = o.respond ?? ((d: Uint8Array) => d)
  l.onReadable = () => {
    for (;;) {
      const c = tcpAccept(l)
      if (typeof c === 'number') return
      serveConnection(c, respond, o.closeAfterResponse ?? false)
    }
  }
  return l
}

/** Reads and answers on one connection until it ends. */
function serveConnection(
  c: TcpSock,
  respond: (d: Uint8Array) => Uint8Array | null,
  closing: boolean | ((d: Uint8Array) => boolean),
): void {
  let pending: Uint8Array | null = null
  let once = false
  let finished = false
  const run = (): void => {
    for (;;) {
      if (pending !== null) {
        const n = tcpSend(c, pending)
        if (n === EAGAIN) return
        if (n < 0) {
          close(c)
          return
        }
        pending = n < pending.length ? pending.subarray(n) : null
        if (pending !== null) return
        if (once) finished = true
      }
      if (finished) {
        close(c)
        return
      }
      const d = tcpRecv(c)
      if (d === EAGAIN) return
      if (typeof d === 'number' || d.length === 0) {
        close(c)
        return
      }
      pending = respond(d)
      once = typeof closing === 'boolean' ? closing : closing(d)
    }
  }
  c.onReadable = run
  c.onWritable = run
  run()
}

/** A UDP server: answers each datagram. @returns the socket or a negative errno */
export function serveUdp(ns: Netns, ip: number, port: number, o: ServeOptions = {}): UdpSock | number {
  const sk = udpOpen(ns, { bind: { ip, port } })
  if (typeof sk === 'number') return sk
  const respond = o.respond ?? ((d: Uint8Array) => d)
  sk.onReadable = () => {
    for (;;) {
      const d = udpRecv(sk)
      if (typeof d === 'number') {
        if (d === EAGAIN) return
        continue
      }
      const answer = respond(d.data)
      if (answer !== null) udpSend(sk, answer, { ip: d.from, port: d.port })
    }
  }
  return sk
}

/** How a TCP session ended. */
export interface SessionResult {
  /** 0, or the negative errno that ended it. */
  readonly errno: number
  /** Whether the handshake was completed. */
  readonly connected: boolean
  readonly response: Uint8Array
}

/** A client's session. */
export interface SessionOptions {
  /** 0 to let the route choose */
  readonly src?: number
  /** 0 to let the kernel choose */
  readonly sport?: number
  readonly dst: number
  readonly dport: number
  readonly request: Uint8Array
  /** Bytes of response to wait for; default: until something came. */
  readonly responseBytes?: number
  readonly onDone?: (r: SessionResult) => void
}

/** A session under way: `result` is null until it ended. */
export interface Session {
  readonly sk: TcpSock | null
  result: SessionResult | null
}

/**
 * Connects, sends the request, waits for the response, closes. Let virtual time run (`world.runUntilQuiet`) to play it.
 */
export function tcpClientSession(ns: Netns, o: SessionOptions): Session {
  const chunks: Uint8Array[] = []
  let received = 0
  let sent = 0
  let connected = false
  const want = o.responseBytes ?? 1
  const finish = (session: Session, errno: number): void => {
    if (session.result !== null) return
    const response = new Uint8Array(received)
    let at = 0
    for (const c of chunks) {
      response.set(c, at)
      at += c.length
    }
    session.result = { errno, connected, response }
    if (session.sk !== null) close(session.sk)
    o.onDone?.(session.result)
  }
  const bind: SockAddr | undefined =
    o.src === undefined && o.sport === undefined ? undefined : { ip: o.src ?? 0, port: o.sport ?? 0 }
  const c = tcpConnect(ns, { ip: o.dst, port: o.dport }, bind === undefined ? {} : { bind })
  if (typeof c === 'number') {
    const failed: Session = { sk: null, result: null }
    finish(failed, c)
    return failed
  }
  const sk = c.sk
  const session: Session = { sk, result: null }
  const run = (): void => {
    if (session.result !== null) return
    if (sk.state === TCP_SYN_SENT || sk.state === TCP_SYN_RECV) return
    if (sk.state === TCP_CLOSE) {
      finish(session, tcpStatus(sk))
      return
    }
    if (sk.state === TCP_ESTABLISHED) connected = true
    while (sent < o.request.length) {
      const n = tcpSend(sk, sent === 0 ? o.request : o.request.subarray(sent))
      if (n === EAGAIN) break
      if (n < 0) {
        finish(session, n)
        return
      }
      sent += n
    }
    for (;;) {
      const d = tcpRecv(sk)
      if (d === EAGAIN) return
      if (typeof d === 'number' || d.length === 0) {
        finish(session, typeof d === 'number' ? d : 0)
        return
      }
      chunks.push(d)
      received += d.length
      if (received >= want) {
        finish(session, 0)
        return
      }
    }
  }
  sk.onReadable = run
  sk.onWritable = run
  if (c.errno !== EINPROGRESS) finish(session, c.errno)
  else run()
  return session
}

/** Lets virtual time run until the session ended, at most `maxMs`. @returns its result, null when it did not end */
export function runSession(w: World, session: Session, maxMs: number): SessionResult | null {
  const end = w.nowNs + maxMs * 1e6
  w.softirq()
  while (session.result === null) {
    const next = w.timers.nextNs()
    if (next > end) break
    w.runUntil(next)
  }
  return session.result
}
