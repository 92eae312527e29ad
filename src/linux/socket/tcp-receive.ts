/**
 * TCP's receive side: queueing data, growing the window, deciding when to acknowledge.
 *
 * Linux: tcp_data_queue, tcp_data_queue_ofo, tcp_event_data_recv, tcp_grow_window, tcp_measure_rcv_mss, tcp_fin,
 * __tcp_ack_snd_check, tcp_rcv_space_adjust (net/ipv4/tcp_input.c), tcp_set_window_clamp (net/ipv4/tcp.c). Memory is
 * accounted as Linux's sk_buffs cost (truesize), because the advertised window follows from it. Not modelled: memory
 * pressure, queue collapsing, ACK compression timer (every out-of-order segment is answered), ECN.
 */
import { M_TRUESIZE, META_SHIFT } from '../../packet/layout.ts'
import {
  after,
  before,
  ICSK_ACK_NOW,
  ICSK_ACK_PUSHED,
  ICSK_ACK_PUSHED2,
  ICSK_ACK_SCHED,
  TCP_ATO_MIN_MS,
  TCP_CLOSE_WAIT,
  TCP_CLOSING,
  TCP_ESTABLISHED,
  TCP_FIN_WAIT1,
  TCP_FIN_WAIT2,
  TCP_HEADER_BYTES,
  TCP_LAST_ACK,
  TCP_MAX_QUICKACKS,
  TCP_MIN_MSS,
  TCP_MSS_DEFAULT,
  TCP_PINGPONG_THRESH,
  TCP_SYN_RECV,
  TCP_TIME_WAIT,
  TCPHDR_FIN,
  TCPHDR_PSH,
  TCPHDR_SYN,
  TCPHDR_URG,
} from './tcp-const.ts'
import { tcpTimeWait } from './tcp-mini.ts'
import { inPingpongMode, tcpSelectWindowRaw, tcpSendAck } from './tcp-output.ts'
import { kmallocSize, type RcvChunk, type TcpSock } from './tcp-sock.ts'
import { tcpSetState } from './tcp-state.ts'
import { tcpSendDelayedAck } from './tcp-timer.ts'
import { frameTruesize } from './udp-sock.ts'

/** A received segment: header fields in host form, and where its data stands. One scratch instance is reused. */
export interface Segment {
  slot: number
  seq: number
  /** seq plus data plus SYN plus FIN */
  end: number
  ack: number
  window: number
  flags: number
  /** Absolute offset of the data. */
  data: number
  /** Bytes of data. */
  len: number
  /** Bytes of the TCP header. */
  headerLen: number
}

/** inet_csk_schedule_ack */
export function scheduleAck(sk: TcpSock): void {
  sk.ackPending |= ICSK_ACK_SCHED
}

function incrQuickack(sk: TcpSock, max: number): void {
  let q = Math.floor(sk.rcvWnd / (2 * sk.rcvMss))
  if (q === 0) q = 2
  q = Math.min(q, max)
  if (q > sk.ackQuick) sk.ackQuick = q
}

/** tcp_enter_quickack_mode */
export function enterQuickackMode(sk: TcpSock): void {
  incrQuickack(sk, TCP_MAX_QUICKACKS)
  sk.pingpong = 0
  sk.ato = TCP_ATO_MIN_MS
}

/** tcp_initialize_rcv_mss */
export function initializeRcvMss(sk: TcpSock): void {
  let hint = Math.min(sk.advmss, sk.mssCache)
  hint = Math.min(hint, sk.rcvWnd >>> 1, TCP_MSS_DEFAULT)
  sk.rcvMss = Math.max(hint, TCP_MIN_MSS)
}

/** tcp_init_buffer_space */
export function initBufferSpace(sk: TcpSock): void {
  const maxwin = sk.fullSpace()
  if (sk.windowClamp >= maxwin) sk.windowClamp = Math.max(maxwin, Math.min(4 * sk.advmss, maxwin))
  // room for one segment is kept back (tcp_app_win)
  if (sk.windowClamp > 2 * sk.advmss && sk.windowClamp + sk.advmss > maxwin) {
    sk.windowClamp = Math.max(2 * sk.advmss, maxwin - sk.advmss)
  }
  sk.rcvSsthresh = Math.min(sk.rcvSsthresh, sk.windowClamp)
  sk.rcvqSpace = Math.min(sk.rcvSsthresh, sk.rcvWnd, 10 * sk.advmss)
  sk.rcvqSeq = sk.copiedSeq
  sk.rcvqTimeUs = sk.nowUs()
}

/** tcp_set_window_clamp */
function setWindowClamp(sk: TcpSock, val: number): void {
  const old = sk.windowClamp
  const next = Math.max(1152, val)
  if (next === old) return
  sk.windowClamp = next
  if (next < old) sk.rcvSsthresh = Math.min(sk.rcvSsthresh, next)
  else sk.rcvSsthresh = Math.max(Math.min(sk.rcvWnd, next), sk.rcvSsthresh)
}

/** tcp_measure_rcv_mss */
function measureRcvMss(sk: TcpSock, s: Segment, truesize: number): void {
  const lss = sk.lastSegSize
  sk.lastSegSize = 0
  let len = s.len
  if (len >= sk.rcvMss) {
    if (len !== sk.rcvMss) {
      const ratio = Math.max(Math.floor((len * 256) / truesize), 1) & 255
      if (ratio !== sk.scalingRatio) {
        sk.scalingRatio = ratio
        setWindowClamp(sk, sk.winFromSpace(sk.rcvbuf))
        if (sk.windowClamp < sk.rcvqSpace) sk.rcvqSpace = sk.windowClamp
      }
    }
    sk.rcvMss = Math.min(len, sk.advmss)
    if ((s.flags & TCPHDR_PSH) !== 0) sk.ackPending |= ICSK_ACK_PUSHED
    return
  }
  len += s.headerLen
  if (
    len >= TCP_MSS_DEFAULT + TCP_HEADER_BYTES ||
    (len >= TCP_MIN_MSS + TCP_HEADER_BYTES && (s.flags & (TCPHDR_FIN | TCPHDR_URG | TCPHDR_SYN | TCPHDR_PSH)) === 0)
  ) {
    len -= sk.tcpHeaderLen
    sk.lastSegSize = len
    if (len === lss) {
      sk.rcvMss = len
      return
    }
  }
  if ((sk.ackPending & ICSK_ACK_PUSHED) !== 0) sk.ackPending |= ICSK_ACK_PUSHED2
  sk.ackPending |= ICSK_ACK_PUSHED
}

/** tcp_grow_window with __tcp_grow_window */
function growWindow(sk: TcpSock, len: number, truesize: number): void {
  const room = Math.min(sk.windowClamp, sk.space()) - sk.rcvSsthresh
  if (room <= 0) return
  let incr = 0
  if (sk.winFromSpace(truesize) <= len) incr = 2 * sk.advmss
  else {
    let t = sk.winFromSpace(truesize) >> 1
    let window = sk.winFromSpace(sk.ns.sysctl.tcp_rmem_max) >> 1
    while (sk.rcvSsthresh <= window) {
      if (t <= len) {
        incr = 2 * sk.rcvMss
        break
      }
      t >>= 1
      window >>= 1
    }
  }
  if (incr === 0) return
  incr = Math.max(incr, 2 * len)
  sk.rcvSsthresh += Math.min(room, incr)
  sk.ackQuick |= 1
}

/** tcp_rcv_rtt_measure: a window's worth of data took this long. */
function rcvRttMeasure(sk: TcpSock): void {
  const now = sk.nowUs()
  if (sk.rcvRttTimeUs !== 0) {
    if (before(sk.rcvNxt, sk.rcvRttSeq)) return
    const sample = Math.max((now - sk.rcvRttTimeUs) & 0x7fffffff, 1) << 3
    if (sk.rcvRttUs === 0 || sample < sk.rcvRttUs) sk.rcvRttUs = sample
  }
  sk.rcvRttSeq = (sk.rcvNxt + sk.rcvWnd) | 0
  sk.rcvRttTimeUs = Math.max(now, 1)
}

/** tcp_event_data_recv */
function eventDataRecv(sk: TcpSock, s: Segment, truesize: number): void {
  scheduleAck(sk)
  measureRcvMss(sk, s, truesize)
  rcvRttMeasure(sk)
  const now = sk.nowMs()
  if (sk.ato === 0) {
    incrQuickack(sk, TCP_MAX_QUICKACKS)
    sk.ato = TCP_ATO_MIN_MS
  } else {
    const m = now - sk.lrcvtime
    if (m <= TCP_ATO_MIN_MS / 2) sk.ato = (sk.ato >> 1) + TCP_ATO_MIN_MS / 2
    else if (m < sk.ato) sk.ato = Math.min((sk.ato >> 1) + m, sk.rtoMs)
    else if (m > sk.rtoMs) incrQuickack(sk, TCP_MAX_QUICKACKS)
  }
  sk.lrcvtime = now
  if (s.len >= 128) growWindow(sk, s.len, truesize)
}

/** The memory that the segment's sk_buff costs: as its sender made it, or as a frame of that length from outside. */
function segmentTruesize(sk: TcpSock, s: Segment): number {
  const t = sk.ns.world.arena.meta[(s.slot << META_SHIFT) + M_TRUESIZE]!
  return t !== 0 ? t : frameTruesize(s.len + s.headerLen)
}

/** skb_tailroom of such a buffer. */
function segmentTailroom(len: number): number {
  return kmallocSize(704 + len) - 576 - len
}

/** tcp_queue_rcv: in-order data joins the receive queue, behind the last buffer when it fits there. */
function queueRcv(sk: TcpSock, seq: number, end: number, truesize: number): void {
  const q = sk.rcvQueue
  const n = (end - seq) | 0
  const tail = q.length > 0 ? q[q.length - 1]! : null
  if (tail !== null && n <= tail.tailroom) {
    tail.end = end
    tail.tailroom -= n
  } else {
    q.push({ seq, end, truesize, tailroom: segmentTailroom(n) })
    sk.rmem += truesize
  }
}

/** tcp_data_queue: takes data and FIN of an acceptable segment. */
export function tcpDataQueue(sk: TcpSock, s: Segment): void {
  if (s.seq === s.end) return
  sk.dsack = false
  if (s.seq === sk.rcvNxt || (before(s.seq, sk.rcvNxt) && after(s.end, sk.rcvNxt))) {
    if (s.seq !== sk.rcvNxt) setDsack(sk, s.seq, sk.rcvNxt)
    if (sk.receiveWindow() === 0 && !(s.len === 0 && (s.flags & TCPHDR_FIN) !== 0)) {
      outOfWindow(sk)
      return
    }
    queueInOrder(sk, s)
    return
  }
  if (!after(s.end, sk.rcvNxt)) {
    setDsack(sk, s.seq, s.end)
    outOfWindow(sk)
    return
  }
  if (!before(s.seq, (sk.rcvNxt + sk.receiveWindow()) | 0)) {
    outOfWindow(sk)
    return
  }
  dataQueueOfo(sk, s)
}

function outOfWindow(sk: TcpSock): void {
  enterQuickackMode(sk)
  scheduleAck(sk)
}

function queueInOrder(sk: TcpSock, s: Segment): void {
  const truesize = segmentTruesize(sk, s)
  const dataEnd = (s.seq + s.len) | 0
  if (s.len > 0) {
    // tcp_try_rmem_schedule: no memory for it
    if (sk.rmem > sk.rcvbuf && sk.rcvQueue.length > 0 && sk.rmem + truesize > 2 * sk.rcvbuf) {
      sk.ackPending |= ICSK_ACK_NOW | ICSK_ACK_SCHED
      return
    }
    const skip = (sk.rcvNxt - s.seq) | 0
    sk.rcvBuf.reserve(sk.copiedSeq, highestSeq(sk), dataEnd)
    sk.rcvBuf.put(sk.rcvNxt, sk.ns.world.arena.bytes, s.data + skip, s.len - skip)
    queueRcv(sk, sk.rcvNxt, dataEnd, truesize)
    sk.rcvNxt = dataEnd
    eventDataRecv(sk, s, truesize)
  }
  if ((s.flags & TCPHDR_FIN) !== 0) {
    // tcp_queue_rcv: behind unread data it costs nothing (tcp_try_coalesce)
    if (s.len === 0 && sk.rcvQueue.length === 0) {
      sk.finTruesize = truesize
      sk.rmem += truesize
    }
    sk.rcvNxt = s.end
    tcpFin(sk)
  }
  if (sk.ofo.length > 0) {
    ofoQueue(sk)
    if (sk.ofo.length === 0) sk.ackPending |= ICSK_ACK_NOW
  }
  if (sk.sackBlocks.length > 0) sackRemove(sk)
  if (!sk.dead) sk.wakeUp()
}

function highestSeq(sk: TcpSock): number {
  let h = sk.rcvNxt
  for (const c of sk.ofo) if (after(c.end, h)) h = c.end
  return h
}

/** tcp_data_queue_ofo: out-of-order data is kept and reported by SACK. */
function dataQueueOfo(sk: TcpSock, s: Segment): void {
  scheduleAck(sk)
  const truesize = segmentTruesize(sk, s)
  const dataEnd = (s.seq + s.len) | 0
  let i = 0
  while (i < sk.ofo.length && before(sk.ofo[i]!.seq, s.seq)) i++
  const prev = i > 0 ? sk.ofo[i - 1]! : null
  if (
    (prev !== null && !after(s.end, prev.end)) ||
    (i < sk.ofo.length && sk.ofo[i]!.seq === s.seq && !after(s.end, sk.ofo[i]!.end))
  ) {
    setDsack(sk, s.seq, s.end)
    return
  }
  if (s.len > 0) {
    sk.rcvBuf.reserve(sk.copiedSeq, highestSeq(sk), dataEnd)
    sk.rcvBuf.put(s.seq, sk.ns.world.arena.bytes, s.data, s.len)
  }
  const chunk: OfoChunk = {
    seq: s.seq,
    end: s.end,
    truesize,
    tailroom: segmentTailroom(s.len),
    fin: (s.flags & TCPHDR_FIN) !== 0,
  }
  sk.ofo.splice(i, 0, chunk)
  sk.rmem += truesize
  while (i + 1 < sk.ofo.length && !after(sk.ofo[i + 1]!.end, s.end)) {
    sk.rmem -= sk.ofo[i + 1]!.truesize
    sk.ofo.splice(i + 1, 1)
  }
  if (sk.sackOk) {
    sackNewOfo(sk, s.seq, s.end)
    growWindow(sk, s.len, truesize)
  }
}

interface OfoChunk extends RcvChunk {
  fin?: boolean
}

/** tcp_ofo_queue: moves what is in order now. */
function ofoQueue(sk: TcpSock): void {
  while (sk.ofo.length > 0) {
    const c = sk.ofo[0]! as OfoChunk
    if (after(c.seq, sk.rcvNxt)) return
    sk.ofo.shift()
    sk.rmem -= c.truesize
    if (!after(c.end, sk.rcvNxt)) continue
    const fin = c.fin === true
    const dataEnd = fin ? (c.end - 1) | 0 : c.end
    if (after(dataEnd, sk.rcvNxt)) queueRcv(sk, sk.rcvNxt, dataEnd, c.truesize)
    sk.rcvNxt = c.end
    if (fin) tcpFin(sk)
  }
}

/** tcp_sack_new_ofo_skb: the newest block first, grown or merged. */
function sackNewOfo(sk: TcpSock, seq: number, end: number): void {
  const b = sk.sackBlocks
  let start = seq
  let stop = end
  for (let i = 0; i < b.length; i += 2) {
    if (after(b[i]!, stop) || before(b[i + 1]!, start)) continue
    if (before(b[i]!, start)) start = b[i]!
    if (after(b[i + 1]!, stop)) stop = b[i + 1]!
    b.splice(i, 2)
    i -= 2
  }
  b.unshift(start, stop)
  if (b.length > 8) b.length = 8
}

/** tcp_sack_remove */
function sackRemove(sk: TcpSock): void {
  const b = sk.sackBlocks
  if (sk.ofo.length === 0) {
    b.length = 0
    return
  }
  for (let i = 0; i < b.length; i += 2) {
    if (before(sk.rcvNxt, b[i]!)) continue
    b.splice(i, 2)
    i -= 2
  }
}

/** tcp_dsack_set (net.ipv4.tcp_dsack is 1) */
export function setDsack(sk: TcpSock, seq: number, end: number): void {
  if (!sk.sackOk) return
  sk.dsack = true
  sk.dsackStart = seq
  sk.dsackEnd = end
}

/** tcp_fin: the peer will send no more. */
function tcpFin(sk: TcpSock): void {
  scheduleAck(sk)
  sk.rcvShutdown = true
  sk.done = true
  switch (sk.state) {
    case TCP_SYN_RECV:
    case TCP_ESTABLISHED:
      tcpSetState(sk, TCP_CLOSE_WAIT)
      sk.pingpong = TCP_PINGPONG_THRESH
      break
    case TCP_CLOSE_WAIT:
    case TCP_CLOSING:
    case TCP_LAST_ACK:
      break
    case TCP_FIN_WAIT1:
      tcpSendAck(sk)
      tcpSetState(sk, TCP_CLOSING)
      break
    case TCP_FIN_WAIT2:
      tcpSendAck(sk)
      tcpTimeWait(sk, TCP_TIME_WAIT, 0)
      break
  }
  for (const c of sk.ofo) sk.rmem -= c.truesize
  sk.ofo.length = 0
  sk.sackBlocks.length = 0
}

/** tcp_ack_snd_check: acknowledge now, later, or not yet. */
export function ackSndCheck(sk: TcpSock): void {
  if ((sk.ackPending & ICSK_ACK_SCHED) === 0) return
  const received = (sk.rcvNxt - sk.rcvWup) | 0
  const unread = (sk.rcvNxt - sk.copiedSeq) | 0
  if (
    (received > sk.rcvMss && (unread < 1 || tcpSelectWindowRaw(sk) >= sk.rcvWnd)) ||
    (sk.ackQuick > 0 && !inPingpongMode(sk)) ||
    (sk.ackPending & ICSK_ACK_NOW) !== 0
  ) {
    if (sk.owned) {
      sk.ackDeferred = true
      return
    }
    tcpSendAck(sk)
    return
  }
  if (sk.ofo.length === 0) {
    tcpSendDelayedAck(sk)
    return
  }
  tcpSendAck(sk)
}

/** tcp_rcv_space_adjust: the buffer follows what the process reads in a round trip. */
export function rcvSpaceAdjust(sk: TcpSock): void {
  const now = sk.nowUs()
  const time = (now - sk.rcvqTimeUs) & 0x7fffffff
  if (sk.rcvRttUs === 0 || time < sk.rcvRttUs >> 3) return
  const copied = (sk.copiedSeq - sk.rcvqSeq) | 0
  if (copied > sk.rcvqSpace) {
    let rcvwin = copied * 2 + 16 * sk.advmss
    rcvwin += 2 * Math.floor((rcvwin * (copied - sk.rcvqSpace)) / sk.rcvqSpace)
    const rcvbuf = Math.min(Math.floor((rcvwin * 256) / sk.scalingRatio), sk.ns.sysctl.tcp_rmem_max)
    if (rcvbuf > sk.rcvbuf) {
      sk.rcvbuf = rcvbuf
      setWindowClamp(sk, sk.winFromSpace(rcvbuf))
    }
    sk.rcvqSpace = copied
  }
  sk.rcvqSeq = sk.copiedSeq
  sk.rcvqTimeUs = now
}
