/**
 * TCP socket states and tables: set_state, done, hashing, ports.
 *
 * Linux: tcp_set_state, tcp_done, tcp_reset (net/ipv4/tcp.c, tcp_input.c), inet_hash, inet_csk_get_port
 * (net/ipv4/inet_hashtables.c, inet_connection_sock.c). Not modelled: SO_REUSEPORT, tcp_tw_reuse, local port choice by
 * hash of the destination (a random start is used).
 */
import { ECONNREFUSED, ECONNRESET, EPIPE } from '../errno.ts'
import { AF_INET, AF_INET6 } from '../ipv6/in6.ts'
import type { Netns } from '../netns.ts'
import { T_TCP_STATE } from '../trace.ts'
import { type TcpEhashEntry, tcpEhashKey } from './table.ts'
import { TCP_CLOSE, TCP_CLOSE_WAIT, TCP_LISTEN, TCP_NEW_SYN_RECV, TCP_SYN_SENT, TCP_TIME_WAIT } from './tcp-const.ts'
import type { RequestSock, TimewaitSock } from './tcp-mini.ts'
import type { TcpSock } from './tcp-sock.ts'
import { clearDelack, clearWriteTimer } from './tcp-timer.ts'

/** The slot being received, for the trace point of a state change; -1 in process context and timers. */
export const rxContext = { slot: -1 }

/** tcp_set_state */
export function tcpSetState(sk: TcpSock, state: number): void {
  const old = sk.state
  if (old === state) return
  const w = sk.ns.world
  if (w.tracer !== null) w.tracer.step(T_TCP_STATE, rxContext.slot, sk.ns, null, sk.id, old, state, sk)
  sk.state = state
  if (state === TCP_CLOSE) {
    if (old === TCP_LISTEN) unhashListen(sk)
    else unhashEstablished(sk.ns, sk)
    if (sk.dead) releasePort(sk)
  }
}

/** inet_ehash_insert */
export function hashEstablished(ns: Netns, e: TcpEhashEntry): void {
  const key = tcpEhashKey(e.rcvSaddr, e.sport, e.daddr, e.dport)
  const table = ehash(ns, e.family)
  const list = table.get(key)
  if (list === undefined) table.set(key, [e])
  else list.unshift(e)
}

/** Takes an entry out of the established hash. */
export function unhashEstablished(ns: Netns, e: TcpEhashEntry): void {
  const key = tcpEhashKey(e.rcvSaddr, e.sport, e.daddr, e.dport)
  const table = ehash(ns, e.family)
  const list = table.get(key)
  const i = list === undefined ? -1 : list.indexOf(e)
  if (i < 0) return
  list!.splice(i, 1)
  if (list!.length === 0) table.delete(key)
}

/** The established hash of a family. */
function ehash(ns: Netns, family: number): Map<number, TcpEhashEntry[]> {
  return family === AF_INET ? ns.sockets.tcpEhash : ns.sockets.tcpEhash6
}

/** __inet_lookup_established, __inet6_lookup_established */
export function lookupEstablished(
  ns: Netns,
  laddr: number,
  lport: number,
  faddr: number,
  fport: number,
  family = AF_INET,
): TcpEhashEntry | null {
  const list = ehash(ns, family).get(tcpEhashKey(laddr, lport, faddr, fport))
  if (list === undefined) return null
  for (let i = 0; i < list.length; i++) {
    const e = list[i]!
    if (e.sport === lport && e.dport === fport && e.rcvSaddr === laddr && e.daddr === faddr) return e
  }
  return null
}

/** __inet_lookup_listener: the socket bound to the address, else the one bound to any. */
export function lookupListener(ns: Netns, daddr: number, dport: number): TcpSock | null {
  const list = ns.sockets.tcpListen.get(dport)
  if (list === undefined) return null
  let any: TcpSock | null = null
  for (let i = 0; i < list.length; i++) {
    const sk = list[i]!
    if (sk.family === AF_INET6) {
      // a dual-stack listener comes after those of IPv4
      if (!sk.v6only && sk.rcvSaddr === 0 && any === null) any = sk
      continue
    }
    if (sk.rcvSaddr === daddr) return sk
    if (sk.rcvSaddr === 0 && (any === null || any.family === AF_INET6)) any = sk
  }
  return any
}

/** inet6_lookup_listener for a packet that came by device `dev`. */
export function lookupListener6(ns: Netns, daddr: number, dport: number, dev: number): TcpSock | null {
  const list = ns.sockets.tcpListen.get(dport)
  if (list === undefined) return null
  let any: TcpSock | null = null
  for (let i = 0; i < list.length; i++) {
    const sk = list[i]!
    if (sk.family !== AF_INET6 || (sk.boundDev >= 0 && sk.boundDev !== dev)) continue
    if (sk.rcvSaddr === daddr) return sk
    if (sk.rcvSaddr === 0 && any === null) any = sk
  }
  return any
}

/** Puts a listening socket in its table. */
export function hashListen(sk: TcpSock): void {
  const t = sk.ns.sockets.tcpListen
  const list = t.get(sk.sport)
  if (list === undefined) t.set(sk.sport, [sk])
  else list.unshift(sk)
}

function unhashListen(sk: TcpSock): void {
  const list = sk.ns.sockets.tcpListen.get(sk.sport)
  const i = list === undefined ? -1 : list.indexOf(sk)
  if (i >= 0) list!.splice(i, 1)
  if (list !== undefined && list.length === 0) sk.ns.sockets.tcpListen.delete(sk.sport)
}

/** inet_csk_bind_conflict: whether `ip:port` is taken for `sk`. */
export function bindConflict(sk: TcpSock, ip: number, port: number): boolean {
  const owners = sk.ns.sockets.tcpBound.get(port)
  if (owners === undefined) return false
  for (const o of owners) {
    if (o === sk || !overlaps(sk, ip, o)) continue
    if (o.state === TCP_TIME_WAIT ? sk.reuseAddr : sk.reuseAddr && (o as TcpSock).reuseAddr && o.state !== TCP_LISTEN)
      continue
    return true
  }
  return false
}

/** inet_rcv_saddr_equal: whether the addresses of two sockets, of either family, meet. */
export function overlaps(sk: TcpSock, ip: number, o: TcpSock | TimewaitSock): boolean {
  if (sk.family === o.family) return o.rcvSaddr === ip || o.rcvSaddr === 0 || ip === 0
  if (sk.family === AF_INET6) return ip === 0 && !sk.v6only
  return o.rcvSaddr === 0 && o.state !== TCP_TIME_WAIT && !(o as TcpSock).v6only
}

/** inet_bind_hash */
export function holdPort(ns: Netns, e: TcpSock | TimewaitSock): void {
  const set = ns.sockets.tcpBound.get(e.sport)
  if (set === undefined) ns.sockets.tcpBound.set(e.sport, new Set([e]))
  else set.add(e)
}

/** __inet_put_port */
export function releasePort(e: TcpSock | TimewaitSock): void {
  const set = e.ns.sockets.tcpBound.get(e.sport)
  if (set === undefined) return
  set.delete(e)
  if (set.size === 0) e.ns.sockets.tcpBound.delete(e.sport)
}

/** inet_csk_destroy_sock */
export function destroySock(sk: TcpSock): void {
  clearWriteTimer(sk)
  clearDelack(sk)
  releasePort(sk)
  sk.closed = true
  sk.cancelWakeUp()
  sk.ns.sockets.byId[sk.id] = undefined
}

/** tcp_done: closes; an orphan goes away. */
export function tcpDone(sk: TcpSock): void {
  clearWriteTimer(sk)
  clearDelack(sk)
  tcpSetState(sk, TCP_CLOSE)
  sk.rcvShutdown = true
  sk.sendShutdown = true
  if (sk.dead) destroySock(sk)
  else sk.wakeUp()
}

/** tcp_done_with_error */
export function doneWithError(sk: TcpSock, err: number): void {
  sk.err = err
  sk.segs.clear()
  sk.packetsOut = 0
  tcpDone(sk)
}

/** tcp_reset: a valid RST came in. */
export function tcpReset(sk: TcpSock): void {
  if (sk.state === TCP_CLOSE) return
  let err = ECONNRESET
  if (sk.state === TCP_SYN_SENT) err = ECONNREFUSED
  else if (sk.state === TCP_CLOSE_WAIT) err = EPIPE
  doneWithError(sk, err)
}

/** Whether an entry of the established hash is a request. */
export function isRequest(e: TcpEhashEntry): e is RequestSock {
  return e.state === TCP_NEW_SYN_RECV
}

/** Whether an entry of the established hash is in TIME_WAIT (or FIN_WAIT2 without a socket). */
export function isTimewait(e: TcpEhashEntry): e is TimewaitSock {
  return e.state === TCP_TIME_WAIT
}
