/**
 * TCP's system calls: bind, listen, connect, accept, send, receive, shutdown, close.
 *
 * Linux: net/ipv4/tcp.c, net/ipv4/af_inet.c, net/ipv4/inet_connection_sock.c, tcp_v4_connect (net/ipv4/tcp_ipv4.c),
 * tcp_connect (net/ipv4/tcp_output.c). Every call holds the socket (lock_sock): packets that arrive meanwhile wait in the
 * backlog and are handled when it is released. All calls are non-blocking. Not modelled: SO_LINGER, MSG_* flags,
 * SO_RCVBUF/SO_SNDBUF, keepalive, TCP_CORK, Fast Open.
 */
import {
  EADDRINUSE,
  EADDRNOTAVAIL,
  EAGAIN,
  EALREADY,
  ECONNRESET,
  EINPROGRESS,
  EINVAL,
  EISCONN,
  ENETUNREACH,
  ENOTCONN,
  EPIPE,
} from '../errno.ts'
import { AF_INET6 } from '../ipv6/in6.ts'
import { ip6DstLookup } from '../ipv6/route.ts'
import type { Rt6 } from '../ipv6/rt6.ts'
import { needsScopeId } from '../ipv6/saddr.ts'
import type { Netns } from '../netns.ts'
import { ipRouteOutput, ipRouteOutputAgain } from '../route/route.ts'
import type { Rtable } from '../route/rtable.ts'
import { RTCF_BROADCAST, RTCF_MULTICAST } from '../route/rtn.ts'
import {
  after,
  ICSK_ACK_PUSHED,
  ICSK_ACK_PUSHED2,
  ICSK_ACK_SCHED,
  TCP_CLOSE,
  TCP_CLOSE_WAIT,
  TCP_ESTABLISHED,
  TCP_FIN_WAIT1,
  TCP_FIN_WAIT2,
  TCP_HEADER_BYTES,
  TCP_LAST_ACK,
  TCP_LISTEN,
  TCP_MSS_DEFAULT,
  TCP_SYN_RECV,
  TCP_SYN_SENT,
  TCP_TIMEOUT_INIT_MS,
  TCP6_MSS_DEFAULT,
  TCPHDR_ACK,
  TCPHDR_PSH,
  TCPHDR_SYN,
  TCPOLEN_TSTAMP_ALIGNED,
} from './tcp-const.ts'
import { tcpV4DoRcv, tcpV4MtuReduced } from './tcp-ipv4.ts'
import { tcpTimeWait } from './tcp-mini.ts'
import {
  initialWindow,
  inPingpongMode,
  tcpCurrentMss,
  tcpFlow,
  tcpFlow6,
  tcpPushPending,
  tcpSelectInitialWindow,
  tcpSelectWindowRaw,
  tcpSendAck,
  tcpSendActiveReset,
  tcpSendFin,
  tcpSyncMss,
  tcpTransmit,
  tcpWriteXmit,
} from './tcp-output.ts'
import { SEG_END, SEG_FLAGS, SEG_SEQ, SEG_TX_US } from './tcp-queue.ts'
import { initializeRcvMss, rcvSpaceAdjust } from './tcp-receive.ts'
import { TcpSock } from './tcp-sock.ts'
import {
  bindConflict,
  destroySock,
  doneWithError,
  hashEstablished,
  hashListen,
  holdPort,
  lookupEstablished,
  overlaps,
  tcpDone,
  tcpSetState,
  unhashEstablished,
} from './tcp-state.ts'
import { armFinWait2, rearmRto } from './tcp-timer.ts'
import { inetAddrValidOrNonlocal, noRoute } from './udp.ts'

/** GSO: largest packet before segmentation. */
const GSO_MAX_SIZE = 65536 - 257

/** socket(AF_INET, SOCK_STREAM) */
export function tcpSocket(ns: Netns): TcpSock {
  const sk = new TcpSock(ns)
  ns.sockets.byId.push(sk)
  return sk
}

/** lock_sock */
function lockSock(sk: TcpSock): void {
  sk.owned = true
}

/** __release_sock: the backlog, with the socket still held. */
function runBacklog(sk: TcpSock): void {
  const w = sk.ns.world
  for (let i = 0; i < sk.backlog.length; i++) tcpV4DoRcv(w, sk.ns, sk, sk.backlog[i]!)
  sk.backlog.length = 0
}

/** release_sock: the backlog, then what was put off (tcp_release_cb). */
function releaseSock(sk: TcpSock): void {
  runBacklog(sk)
  if (sk.deferredMtu !== 0) {
    const mtu = sk.deferredMtu
    sk.deferredMtu = 0
    tcpV4MtuReduced(sk, mtu)
  }
  if (sk.ackDeferred) {
    sk.ackDeferred = false
    if (sk.state !== TCP_CLOSE && (sk.ackPending & ICSK_ACK_SCHED) !== 0) tcpSendAck(sk)
  }
  sk.owned = false
  // packets that the deferred work brought back
  if (sk.backlog.length > 0) {
    lockSock(sk)
    releaseSock(sk)
  }
}

/** inet_bind with inet_csk_get_port; port 0 picks a free one. @returns 0 or a negative errno */
export function tcpBind(sk: TcpSock, ip: number, port: number): number {
  if (sk.state !== TCP_CLOSE || sk.sport !== 0) return EINVAL
  return inetAddrValidOrNonlocal(sk.ns, ip) ? tcpBindPort(sk, ip, port) : EADDRNOTAVAIL
}

/** inet_csk_get_port for a checked address of the socket's family. @returns 0 or -EADDRINUSE */
export function tcpBindPort(sk: TcpSock, ip: number, port: number): number {
  const ns = sk.ns
  let p = port
  if (p === 0) {
    const lo = ns.sysctl.ip_local_port_range_min
    const count = ns.sysctl.ip_local_port_range_max - lo + 1
    const start = ns.world.random.u32() % count
    for (let i = 0; i < count && p === 0; i++) {
      const q = lo + ((start + i) % count)
      if (!bindConflict(sk, ip, q)) p = q
    }
    if (p === 0) return EADDRINUSE
  } else if (bindConflict(sk, ip, p)) return EADDRINUSE
  sk.rcvSaddr = ip
  sk.saddr = ip
  sk.sport = p
  holdPort(ns, sk)
  return 0
}

/** inet_listen. @returns 0 or a negative errno */
export function tcpListen(sk: TcpSock, backlog: number): number {
  if (sk.state === TCP_LISTEN) {
    sk.maxAckBacklog = backlog
    return 0
  }
  if (sk.state !== TCP_CLOSE) return EINVAL
  if (sk.sport === 0) {
    const e = tcpBindPort(sk, 0, 0)
    if (e < 0) return e
  }
  // a second listener on the address conflicts although both allow reuse
  for (const o of sk.ns.sockets.tcpListen.get(sk.sport) ?? []) {
    if (overlaps(sk, sk.rcvSaddr, o)) return EADDRINUSE
  }
  sk.maxAckBacklog = Math.min(backlog, 4096)
  tcpSetState(sk, TCP_LISTEN)
  hashListen(sk)
  return 0
}

/**
 * inet_stream_connect with tcp_v4_connect: sends the SYN.
 * @returns -EINPROGRESS when it is on its way, else a negative errno
 */
export function tcpConnect(sk: TcpSock, ip: number, port: number): number {
  const ns = sk.ns
  if (sk.state === TCP_SYN_SENT || sk.state === TCP_SYN_RECV) return EALREADY
  if (sk.state !== TCP_CLOSE || sk.daddr !== 0) return EISCONN
  lockSock(sk)
  const r = sk.family === AF_INET6 ? tcpV6Connect(sk, ns, ip, port) : tcpV4Connect(sk, ns, ip, port)
  releaseSock(sk)
  return r
}

function tcpV4Connect(sk: TcpSock, ns: Netns, ip: number, port: number): number {
  const flow = tcpFlow(sk)
  flow.daddr = ip
  flow.dport = port
  const bound = flow.saddr !== 0
  let rt = ipRouteOutput(ns, flow)
  // ip_route_connect: once more with the source address that was found
  if (rt !== null && (ip === 0 || !bound)) rt = ipRouteOutputAgain(ns, flow)
  if (rt === null) return noRoute(ns)
  if ((rt.flags & (RTCF_BROADCAST | RTCF_MULTICAST)) !== 0) return ENETUNREACH
  return startConnect(sk, rt, flow.saddr, flow.daddr, port)
}

/** tcp_v6_connect. A link-local peer needs `sk.boundDev`. */
function tcpV6Connect(sk: TcpSock, ns: Netns, ip: number, port: number): number {
  const in6 = ns.world.in6
  const to = ip === 0 ? in6.intern(0, 0, 0, 1) : ip
  if (in6.isMulticast(to)) return ENETUNREACH
  if (needsScopeId(in6, to) && sk.boundDev < 0) return EINVAL
  const flow = tcpFlow6(sk)
  flow.daddr = to
  flow.dport = port
  const rt = ip6DstLookup(ns, flow)
  if (rt.error !== 0) return rt.error
  return startConnect(sk, rt, flow.saddr, to, port)
}

/** What both families' connects share: the port, the hash, the SYN. */
function startConnect(sk: TcpSock, rt: Rtable | Rt6, saddr: number, daddr: number, port: number): number {
  const ns = sk.ns
  if (sk.sport === 0) {
    const p = pickPort(sk, saddr, daddr, port)
    if (p === 0) return EADDRNOTAVAIL
    sk.sport = p
    holdPort(ns, sk)
  } else {
    // __inet_check_established
    const other = lookupEstablished(ns, saddr, sk.sport, daddr, port, sk.family)
    if (other !== null) return EADDRNOTAVAIL
  }
  if (sk.saddr === 0) sk.saddr = saddr
  if (sk.rcvSaddr === 0) sk.rcvSaddr = saddr
  sk.daddr = daddr
  sk.dport = port
  sk.rt = rt
  tcpSetState(sk, TCP_SYN_SENT)
  hashEstablished(ns, sk)
  sk.writeSeq = ns.world.random.u32() | 0
  connectInit(sk)
  return EINPROGRESS
}

/** __inet_hash_connect: a port whose 4-tuple is free. */
function pickPort(sk: TcpSock, saddr: number, daddr: number, dport: number): number {
  const ns = sk.ns
  const lo = ns.sysctl.ip_local_port_range_min
  const count = ns.sysctl.ip_local_port_range_max - lo + 1
  const start = ns.world.random.u32() % count
  for (let i = 0; i < count; i++) {
    const p = lo + ((start + i) % count)
    if (lookupEstablished(ns, saddr, p, daddr, dport, sk.family) === null && !ns.sockets.tcpListen.has(p)) return p
  }
  return 0
}

/** tcp_connect_init and tcp_connect */
function connectInit(sk: TcpSock): void {
  const s = sk.ns.sysctl
  const rt = sk.rt!
  sk.tcpHeaderLen = TCP_HEADER_BYTES + (s.tcp_timestamps !== 0 ? TCPOLEN_TSTAMP_ALIGNED : 0)
  sk.mssClamp = sk.family === AF_INET6 ? TCP6_MSS_DEFAULT : TCP_MSS_DEFAULT
  sk.maxWindow = 0
  tcpSyncMss(sk, rt.mtu())
  sk.advmss = rt.advmss()
  initializeRcvMss(sk)
  tcpSelectInitialWindow(sk.fullSpace(), sk.advmss, 0, s.tcp_window_scaling !== 0, s.tcp_rmem_max)
  sk.rcvWnd = initialWindow.rcvWnd
  sk.windowClamp = initialWindow.clamp
  sk.rcvWscale = initialWindow.wscale
  sk.rcvSsthresh = sk.rcvWnd
  sk.sndWnd = 0
  sk.iss = sk.writeSeq
  sk.sndUna = sk.writeSeq
  sk.sndSml = sk.writeSeq
  sk.sndNxt = (sk.writeSeq + 1) | 0
  sk.rcvNxt = 0
  sk.rcvWup = 0
  sk.copiedSeq = 0
  sk.rtoMs = TCP_TIMEOUT_INIT_MS
  sk.retransmits = 0
  sk.writeSeq = sk.sndNxt
  sk.pushedSeq = sk.writeSeq
  const q = sk.segs
  q.push(sk.iss, sk.sndNxt, TCPHDR_SYN)
  q.sent = 1
  q.set(0, SEG_TX_US, sk.nowUs())
  sk.packetsOut = 1
  sk.retransStampMs = Math.max(1, sk.nowMs())
  rearmRto(sk)
  tcpTransmit(sk, sk.iss, 0, TCPHDR_SYN, false)
}

/** inet_csk_accept: the next connection, or -EAGAIN, -EINVAL. */
export function tcpAccept(sk: TcpSock): TcpSock | number {
  if (sk.state !== TCP_LISTEN) return EINVAL
  return sk.acceptQueue.shift() ?? EAGAIN
}

/** SO_ERROR: the waiting error, else the soft one; 0 none. */
export function tcpSoError(sk: TcpSock): number {
  const e = sk.takeError()
  if (e !== 0) return e
  const soft = sk.errSoft
  sk.errSoft = 0
  return soft
}

/** tcp_sendmsg. @returns bytes taken or a negative errno */
export function tcpSendmsg(sk: TcpSock, data: Uint8Array): number {
  if (sk.state !== TCP_ESTABLISHED && sk.state !== TCP_CLOSE_WAIT) {
    if (sk.err !== 0) return sk.takeError()
    return sk.state === TCP_SYN_SENT || sk.state === TCP_SYN_RECV ? EAGAIN : EPIPE
  }
  if (sk.err !== 0 || sk.sendShutdown) {
    const e = sk.takeError()
    return e !== 0 ? e : EPIPE
  }
  lockSock(sk)
  const n = queueData(sk, data)
  releaseSock(sk)
  return n
}

function queueData(sk: TcpSock, data: Uint8Array): number {
  const q = sk.segs
  let mss = tcpCurrentMss(sk)
  let copied = 0
  while (copied < data.length) {
    if (sk.state !== TCP_ESTABLISHED && sk.state !== TCP_CLOSE_WAIT) break
    if (sk.wmemQueued >= sk.sndbufBytes) break
    const half = sk.maxWindow > TCP_MSS_DEFAULT ? sk.maxWindow >>> 1 : sk.maxWindow
    const goal = Math.max(mss, Math.floor(Math.min(GSO_MAX_SIZE, Math.max(half, mss)) / mss) * mss)
    let tail = q.count - 1
    if (tail < q.sent || ((q.get(tail, SEG_END) - q.get(tail, SEG_SEQ)) | 0) >= goal) {
      q.push(sk.writeSeq, sk.writeSeq, TCPHDR_ACK)
      tail = q.count - 1
    }
    const room = goal - ((q.get(tail, SEG_END) - q.get(tail, SEG_SEQ)) | 0)
    const n = Math.min(room, data.length - copied)
    const end = (sk.writeSeq + n) | 0
    sk.sndBuf.reserve(sk.sndUna, sk.writeSeq, end)
    sk.sndBuf.put(sk.writeSeq, data, copied, n)
    q.set(tail, SEG_END, end)
    sk.writeSeq = end
    sk.wmemQueued += n
    copied += n
    if (n < room) continue
    // forced_push, else tcp_push_one when nothing waits before it
    if (after(sk.writeSeq, (sk.pushedSeq + (sk.maxWindow >>> 1)) | 0)) {
      markPush(sk)
      tcpPushPending(sk, true)
    } else if (tail === q.sent) tcpWriteXmit(sk, mss, true, 1)
    runBacklog(sk)
    mss = tcpCurrentMss(sk)
  }
  if (copied === 0) {
    if (sk.err !== 0) return sk.takeError()
    return data.length === 0 ? 0 : EAGAIN
  }
  if (q.sent < q.count) {
    markPush(sk)
    tcpPushPending(sk, false)
  }
  return copied
}

/** tcp_mark_push */
function markPush(sk: TcpSock): void {
  const q = sk.segs
  if (q.count > q.sent) q.set(q.count - 1, SEG_FLAGS, q.get(q.count - 1, SEG_FLAGS) | TCPHDR_PSH)
  sk.pushedSeq = sk.writeSeq
}

/** tcp_recvmsg: up to `max` bytes; an empty array at the end of the stream; or a negative errno. */
export function tcpRecvmsg(sk: TcpSock, max: number): Uint8Array | number {
  if (sk.state === TCP_LISTEN) return ENOTCONN
  lockSock(sk)
  const r = readData(sk, max)
  releaseSock(sk)
  return r
}

/** Bytes that can be read now. */
export function tcpReadable(sk: TcpSock): number {
  const q = sk.rcvQueue
  return q.length === 0 ? 0 : (q[q.length - 1]!.end - sk.copiedSeq) | 0
}

function readData(sk: TcpSock, max: number): Uint8Array | number {
  const n = Math.min(max, tcpReadable(sk))
  if (n === 0) {
    if (sk.done) return new Uint8Array(0)
    if (sk.err !== 0) return sk.takeError()
    if (sk.rcvShutdown) {
      eatFin(sk)
      return new Uint8Array(0)
    }
    return sk.state === TCP_CLOSE ? ENOTCONN : EAGAIN
  }
  const out = new Uint8Array(n)
  sk.rcvBuf.get(sk.copiedSeq, out, 0, n)
  sk.copiedSeq = (sk.copiedSeq + n) | 0
  rcvSpaceAdjust(sk)
  while (sk.rcvQueue.length > 0 && !after(sk.rcvQueue[0]!.end, sk.copiedSeq)) {
    sk.rmem -= sk.rcvQueue[0]!.truesize
    sk.rcvQueue.shift()
  }
  if (n < max) eatFin(sk)
  cleanupRbuf(sk, n)
  return out
}

/** found_fin_ok of tcp_recvmsg_locked: the end of the stream is read, its buffer goes. */
function eatFin(sk: TcpSock): void {
  sk.rmem -= sk.finTruesize
  sk.finTruesize = 0
}

/** __tcp_cleanup_rbuf: an ACK when reading made a difference. */
function cleanupRbuf(sk: TcpSock, copied: number): void {
  let now = false
  if ((sk.ackPending & ICSK_ACK_SCHED) !== 0) {
    const pushed = (sk.ackPending & ICSK_ACK_PUSHED) !== 0 && !inPingpongMode(sk)
    now =
      ((sk.rcvNxt - sk.rcvWup) | 0) > sk.rcvMss ||
      (copied > 0 && ((sk.ackPending & ICSK_ACK_PUSHED2) !== 0 || pushed) && sk.rmem === 0)
  }
  if (copied > 0 && !now && !sk.rcvShutdown) {
    const window = sk.receiveWindow()
    if (2 * window <= sk.windowClamp) {
      const next = tcpSelectWindowRaw(sk)
      if (next !== 0 && next >= 2 * window) now = true
    }
  }
  if (now) tcpSendAck(sk)
}

/** tcp_close_state. @returns whether a FIN is due */
function closeState(sk: TcpSock): boolean {
  switch (sk.state) {
    case TCP_ESTABLISHED:
    case TCP_SYN_RECV:
      tcpSetState(sk, TCP_FIN_WAIT1)
      return true
    case TCP_CLOSE_WAIT:
      tcpSetState(sk, TCP_LAST_ACK)
      return true
    case TCP_SYN_SENT:
      tcpSetState(sk, TCP_CLOSE)
      return false
    default:
      return false
  }
}

/** shutdown(SHUT_WR). @returns 0 or -ENOTCONN */
export function tcpShutdown(sk: TcpSock): number {
  if (sk.state === TCP_CLOSE) return ENOTCONN
  if (sk.state === TCP_LISTEN) return 0
  if (sk.state === TCP_SYN_SENT) {
    // inet_shutdown gives up the attempt by tcp_disconnect
    doneWithError(sk, ECONNRESET)
    sk.rcvShutdown = false
    sk.sendShutdown = false
    return 0
  }
  lockSock(sk)
  sk.sendShutdown = true
  if ((sk.state === TCP_ESTABLISHED || sk.state === TCP_CLOSE_WAIT) && closeState(sk)) tcpSendFin(sk)
  releaseSock(sk)
  return 0
}

/** tcp_close */
export function tcpClose(sk: TcpSock): void {
  if (sk.dead) return
  lockSock(sk)
  sk.onReadable = null
  sk.onWritable = null
  sk.cancelWakeUp()
  sk.rcvShutdown = true
  sk.sendShutdown = true
  if (sk.state === TCP_LISTEN) listenStop(sk)
  else if (sk.state !== TCP_CLOSE) {
    const unread = tcpReadable(sk) > 0
    sk.rcvQueue.length = 0
    sk.rmem = 0
    sk.finTruesize = 0
    if (unread) {
      // the connection is gone before the reset leaves, as in __tcp_close
      tcpSetState(sk, TCP_CLOSE)
      tcpSendActiveReset(sk)
    } else if (closeState(sk)) tcpSendFin(sk)
  }
  sk.dead = true
  runBacklog(sk)
  if (sk.state === TCP_FIN_WAIT2) {
    const ms = sk.ns.sysctl.tcp_fin_timeout * 1000
    if (ms > 60_000) armFinWait2(sk, ms - 60_000)
    else tcpTimeWait(sk, TCP_FIN_WAIT2, ms)
  } else if (sk.state === TCP_CLOSE && !sk.closed) destroySock(sk)
  releaseSock(sk)
}

/** inet_csk_listen_stop: connections that nobody accepted are reset, open requests forgotten. */
function listenStop(sk: TcpSock): void {
  tcpSetState(sk, TCP_CLOSE)
  for (const req of [...sk.requests]) req.drop()
  for (const child of sk.acceptQueue.splice(0)) {
    child.owned = true
    if (child.state !== TCP_CLOSE) tcpSendActiveReset(child)
    child.dead = true
    runBacklog(child)
    child.owned = false
    if (child.state !== TCP_CLOSE) {
      unhashEstablished(child.ns, child)
      tcpDone(child)
    } else if (!child.closed) destroySock(child)
  }
}
