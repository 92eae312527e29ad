/**
 * One TCP connection of a client: connect, send, read until enough or the end, close.
 *
 * What curl, nc and the resolver's fallback need: when it was connected, what came, which errno ended it. Virtual time
 * runs inside.
 */
import { EAGAIN, EINPROGRESS } from '../linux/errno.ts'
import type { Netns } from '../linux/netns.ts'
import { close, tcpConnect, tcpRecv, tcpSend, tcpStatus } from '../linux/socket/api.ts'
import { TCP_CLOSE, TCP_SYN_SENT } from '../linux/socket/tcp-const.ts'
import { waitFor } from './wait.ts'

/** How it went. */
export interface TcpExchange {
  readonly connected: boolean
  /** 0, or the negative errno of connect or of the connection. */
  readonly errno: number
  readonly data: Uint8Array
  /** The peer closed. */
  readonly isEnd: boolean
  /** Local port; 0 when there was no socket. */
  readonly sport: number
  readonly isTimeout: boolean
}

/** Options of an exchange. */
export interface TcpExchangeOptions {
  /** Time for the handshake alone, ns. */
  readonly connectNs?: number
  readonly sport?: number
}

/** Connects, sends `request`, reads until `isEnough`, the end or the time is up. */
export function tcpExchange(
  ns: Netns,
  ip: number,
  port: number,
  request: Uint8Array,
  timeoutNs: number,
  isEnough: (data: Uint8Array) => boolean,
  o: TcpExchangeOptions = {},
): TcpExchange {
  const w = ns.world
  const start = w.nowNs
  const bind = o.sport === undefined ? {} : { bind: { ip: 0, port: o.sport } }
  const c = tcpConnect(ns, { ip, port }, bind)
  const empty = new Uint8Array(0)
  if (typeof c === 'number')
    return { connected: false, errno: c, data: empty, isEnd: false, sport: 0, isTimeout: false }
  const { sk } = c
  const sport = sk.sport
  const done = (connected: boolean, errno: number, data: Uint8Array, isEnd = false, isTimeout = false): TcpExchange => {
    close(sk)
    w.softirq()
    return { connected, errno, data, isEnd, sport, isTimeout }
  }
  if (c.errno !== 0 && c.errno !== EINPROGRESS) return done(false, c.errno, empty)
  const connectUntil = start + Math.min(timeoutNs, o.connectNs ?? timeoutNs)
  if (!waitFor(w, connectUntil, () => sk.state !== TCP_SYN_SENT)) return done(false, 0, empty, false, true)
  if (sk.state === TCP_CLOSE) return done(false, tcpStatus(sk), empty)
  let out = request
  let data: Uint8Array = empty
  let errno = 0
  let isEnd = false
  const isOver = waitFor(w, start + timeoutNs, () => {
    while (out.length > 0) {
      const n = tcpSend(sk, out)
      if (n === EAGAIN) break
      if (n < 0) {
        errno = n
        return true
      }
      out = out.subarray(n)
    }
    for (;;) {
      const d = tcpRecv(sk)
      if (d === EAGAIN) return isEnough(data)
      if (typeof d === 'number') {
        errno = d
        return true
      }
      if (d.length === 0) {
        isEnd = true
        return true
      }
      data = concat(data, d)
      if (isEnough(data)) return true
    }
  })
  return done(true, errno, data, isEnd, !isOver)
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length)
  out.set(a)
  out.set(b, a.length)
  return out
}
