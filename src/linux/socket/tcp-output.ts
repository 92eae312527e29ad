/**
 * TCP output: building segments, choosing the window, sending what may be sent.
 *
 * Linux: net/ipv4/tcp_output.c (__tcp_transmit_skb, tcp_write_xmit, __tcp_select_window, tcp_sync_mss, tcp_send_fin,
 * tcp_send_active_reset). A burst of segments leaves as one GSO packet would: no receive work runs between them, PSH is
 * on the last. Netfilter counts them one by one, where Linux counts the unsegmented packet on OUTPUT.
 * Not modelled: pacing, TSO deferral, small queues, autocorking, MTU probing, ECN, urgent data, retransmit collapsing.
 */
import { M_DATA, M_DEV, M_MARK, M_SK, M_TH, M_TRUESIZE, META_SHIFT } from '../../packet/layout.ts'
import { freeSkb } from '../core/skb.ts'
import { EAGAIN, EHOSTUNREACH, ENOBUFS } from '../errno.ts'
import { ipQueueXmit } from '../ip/output.ts'
import { Flowi6 } from '../ipv6/flow6.ts'
import { AF_INET6 } from '../ipv6/in6.ts'
import { ip6Xmit, txhash6 } from '../ipv6/output.ts'
import { ip6DstLookup, rt6Check } from '../ipv6/route.ts'
import type { Rt6 } from '../ipv6/rt6.ts'
import { R_UNMODELLED } from '../reasons.ts'
import { Flowi4 } from '../route/flow.ts'
import { dstCheck, ipRouteOutput } from '../route/route.ts'
import type { Rtable } from '../route/rtable.ts'
import { transportChecksum, transportChecksum6 } from './checksum.ts'
import { IPPROTO_TCP } from './sock.ts'
import {
  before,
  ICSK_TIME_LOSS_PROBE,
  TCP_ATO_MIN_MS,
  TCP_HEADER_BYTES,
  TCP_MAX_WSCALE,
  TCP_MSS_DEFAULT,
  TCP_PINGPONG_THRESH,
  TCPHDR_ACK,
  TCPHDR_FIN,
  TCPHDR_PSH,
  TCPHDR_RST,
  TCPHDR_SYN,
  TCPOLEN_TSTAMP_ALIGNED,
} from './tcp-const.ts'
import { type SynOptions, synOptionBytes, writeSynOptions } from './tcp-options.ts'
import {
  EVER_RETRANS,
  SACKED_ACKED,
  SACKED_LOST,
  SACKED_RETRANS,
  SEG_BURST,
  SEG_END,
  SEG_FLAGS,
  SEG_SACKED,
  SEG_SEQ,
  SEG_TX_US,
} from './tcp-queue.ts'
import { kmallocSize, SKB_SMALL_TRUESIZE, type TcpSock } from './tcp-sock.ts'
import { armProbe0, clearDelack, rearmRto, scheduleLossProbe } from './tcp-timer.ts'

const fl = new Flowi4()
const fl6 = new Flowi6()
const synOptions: SynOptions = { mss: 0, sack: false, ts: false, tsval: 0, tsecr: 0, wscale: false, wscaleValue: 0 }

/** The flow of the socket's packets, in a shared scratch instance. */
export function tcpFlow(sk: TcpSock): Flowi4 {
  fl.reset()
  fl.daddr = sk.daddr
  fl.saddr = sk.saddr
  fl.mark = sk.mark
  fl.tos = sk.tos
  fl.proto = IPPROTO_TCP
  fl.sport = sk.sport
  fl.dport = sk.dport
  return fl
}

/** The flow of an IPv6 socket's packets, in a shared scratch instance. */
export function tcpFlow6(sk: TcpSock): Flowi6 {
  fl6.reset()
  fl6.daddr = sk.daddr
  fl6.saddr = sk.saddr
  fl6.oif = sk.boundDev
  fl6.mark = sk.mark
  fl6.tclass = sk.tos
  fl6.proto = IPPROTO_TCP
  fl6.sport = sk.sport
  fl6.dport = sk.dport
  return fl6
}

/** inet6_csk_route_socket */
function tcpRoute6(sk: TcpSock): Rt6 | null {
  const kept = sk.rt as Rt6 | null
  if (kept !== null && rt6Check(sk.ns, kept, sk.daddr)) return kept
  const rt = ip6DstLookup(sk.ns, tcpFlow6(sk))
  sk.rt = rt.error !== 0 ? null : rt
  return rt.error !== 0 ? null : rt
}

/** __sk_dst_check, else a new lookup (inet_sk_rebuild_header). Null when there is no route. */
export function tcpRoute(sk: TcpSock): Rtable | Rt6 | null {
  if (sk.family === AF_INET6) return tcpRoute6(sk)
  if (sk.rt !== null && dstCheck(sk.ns, sk.rt as Rtable)) return sk.rt
  sk.rt = ipRouteOutput(sk.ns, tcpFlow(sk))
  return sk.rt
}

/** ip_dont_fragment */
export function ipDontFragment(pmtudisc: number, rt: Rtable | Rt6): boolean {
  return pmtudisc === 2 || (pmtudisc === 1 && !rt.locked)
}

/** Timestamp clock: milliseconds plus the socket's random offset. */
export function tcpTimestamp(sk: TcpSock): number {
  return (sk.nowMs() + sk.tsoffset) | 0
}

/** SelectInitialWindow result of the last tcpSelectInitialWindow. */
export const initialWindow = { rcvWnd: 0, clamp: 0, wscale: 0 }

/** tcp_select_initial_window: fills `initialWindow`. `clamp` 0 = none. */
export function tcpSelectInitialWindow(
  fullSpace: number,
  mss: number,
  clamp: number,
  wscaleOk: boolean,
  rmemMax: number,
): void {
  const max = 65535 * 2 ** TCP_MAX_WSCALE
  const windowClamp = clamp === 0 ? max : clamp
  let space = Math.min(windowClamp, Math.max(fullSpace, 0))
  if (space > mss) space -= space % mss
  initialWindow.rcvWnd = space
  let wscale = 0
  if (wscaleOk) {
    // net.core.rmem_max does not exceed the default tcp_rmem[2]
    const s = Math.min(Math.max(space, rmemMax, 212992), windowClamp)
    wscale = Math.min(Math.max(31 - Math.clz32(s) - 15, 0), TCP_MAX_WSCALE)
  }
  initialWindow.wscale = wscale
  initialWindow.clamp = Math.min(65535 * 2 ** wscale, windowClamp)
}

function align(n: number, shift: number): number {
  const unit = 1 << shift
  return Math.ceil(n / unit) * unit
}

/** __tcp_select_window */
export function tcpSelectWindowRaw(sk: TcpSock): number {
  let mss = sk.rcvMss
  let free = sk.space()
  const allowed = sk.fullSpace()
  const full = Math.min(sk.windowClamp, allowed)
  if (mss > full) {
    mss = full
    if (mss <= 0) return 0
  }
  if (free < full >> 1) {
    sk.ackQuick = 0
    free -= free % (1 << sk.rcvWscale)
    if (free < allowed >> 4 || free < mss) return 0
  }
  if (free > sk.rcvSsthresh) free = sk.rcvSsthresh
  if (sk.rcvWscale !== 0) return align(free, sk.rcvWscale)
  let window = sk.rcvWnd
  if (window <= free - mss || window > free) window = free - (free % mss)
  else if (mss === full && free > window + (full >> 1)) window = free
  return window
}

/** tcp_select_window: the value for the header, and what was offered remembered. */
function tcpSelectWindow(sk: TcpSock): number {
  const cur = sk.receiveWindow()
  let win = tcpSelectWindowRaw(sk)
  if (win < cur) win = align(cur, sk.rcvWscale)
  sk.rcvWnd = win
  sk.rcvWup = sk.rcvNxt
  win = Math.min(win, 65535 * 2 ** sk.rcvWscale)
  return win >>> sk.rcvWscale
}

/** tcp_mtu_to_mss */
function tcpMtuToMss(sk: TcpSock, pmtu: number): number {
  let mss = pmtu - (sk.family === AF_INET6 ? 40 : 20) - TCP_HEADER_BYTES
  if (mss > sk.mssClamp) mss = sk.mssClamp
  if (mss < sk.ns.sysctl.tcp_min_snd_mss) mss = sk.ns.sysctl.tcp_min_snd_mss
  return mss - (sk.tcpHeaderLen - TCP_HEADER_BYTES)
}

/** tcp_bound_to_half_wnd */
function boundToHalfWnd(sk: TcpSock, size: number): number {
  const cutoff = sk.maxWindow > TCP_MSS_DEFAULT ? sk.maxWindow >>> 1 : sk.maxWindow
  return cutoff !== 0 && size > cutoff ? Math.max(cutoff, 68 - sk.tcpHeaderLen) : size
}

/** tcp_sync_mss */
export function tcpSyncMss(sk: TcpSock, pmtu: number): number {
  const mss = boundToHalfWnd(sk, tcpMtuToMss(sk, pmtu))
  sk.pmtuCookie = pmtu
  sk.mssCache = mss
  return mss
}

/** Bytes of options that a segment with ACK carries now: timestamps and SACK blocks. */
function establishedOptionBytes(sk: TcpSock): number {
  let n = sk.tstampOk ? TCPOLEN_TSTAMP_ALIGNED : 0
  const blocks = sk.sackBlocks.length / 2 + (sk.dsack ? 1 : 0)
  if (blocks > 0) {
    const max = (40 - n - 4) >> 3
    n += 4 + 8 * Math.min(blocks, max)
  }
  return n
}

/** tcp_current_mss */
export function tcpCurrentMss(sk: TcpSock): number {
  let mss = sk.mssCache
  if (sk.rt !== null) {
    const mtu = sk.rt.mtu()
    if (mtu !== sk.pmtuCookie) mss = tcpSyncMss(sk, mtu)
  }
  return mss - (establishedOptionBytes(sk) + TCP_HEADER_BYTES - sk.tcpHeaderLen)
}

/**
 * __tcp_transmit_skb: one segment of `len` bytes from sequence number `seq`. SYN segments carry the SYN options.
 * @param gso whether the segment is part of a larger unsegmented packet (memory accounting at the receiver)
 * @returns 0 or a negative errno
 */
export function tcpTransmit(sk: TcpSock, seq: number, len: number, flags: number, gso: boolean): number {
  const ns = sk.ns
  const w = ns.world
  const rt = tcpRoute(sk)
  if (rt === null) return EHOSTUNREACH
  const syn = (flags & TCPHDR_SYN) !== 0
  let optBytes: number
  if (syn) {
    fillSynOptions(sk, rt, flags)
    optBytes = synOptionBytes(synOptions)
  } else optBytes = establishedOptionBytes(sk)
  const head = TCP_HEADER_BYTES + optBytes
  const slot = w.arena.alloc(head + len)
  if (slot < 0) return ENOBUFS
  const a = w.arena
  const m = slot << META_SHIFT
  const th = a.meta[m + M_DATA]!
  const v = a.view
  const window = syn ? Math.min(sk.rcvWnd, 65535) : tcpSelectWindow(sk)
  v.setUint16(th, sk.sport)
  v.setUint16(th + 2, sk.dport)
  v.setInt32(th + 4, seq)
  v.setInt32(th + 8, (flags & TCPHDR_ACK) !== 0 ? sk.rcvNxt : 0)
  v.setUint8(th + 12, head << 2)
  v.setUint8(th + 13, flags)
  v.setUint16(th + 14, window)
  v.setInt32(th + 16, 0)
  if (syn) writeSynOptions(w, th + TCP_HEADER_BYTES, synOptions)
  else if (optBytes !== 0) writeEstablishedOptions(sk, th + TCP_HEADER_BYTES)
  if (len > 0) sk.sndBuf.get(seq, a.bytes, th + head, len)
  const six = sk.family === AF_INET6
  const check = six
    ? transportChecksum6(w, a.bytes, th, head + len, sk.saddr, sk.daddr, IPPROTO_TCP)
    : transportChecksum(a.bytes, th, head + len, sk.saddr, sk.daddr, IPPROTO_TCP)
  v.setUint16(th + 16, check)
  a.meta[m + M_TH] = th
  a.meta[m + M_DEV] = rt.dev.id
  a.meta[m + M_MARK] = sk.mark
  a.meta[m + M_SK] = sk.id
  a.meta[m + M_TRUESIZE] = gso ? 256 + kmallocSize(576 + len) : SKB_SMALL_TRUESIZE + len
  a.dst[slot] = rt
  if ((flags & TCPHDR_ACK) !== 0) eventAckSent(sk)
  if (len > 0) eventDataSent(sk)
  if (flags === TCPHDR_SYN && ns.sysctl.tcp_ecn !== 0 && ns.sysctl.tcp_ecn !== 2) {
    // tcp_ecn_send_syn would set ECE and CWR
    freeSkb(w, slot, R_UNMODELLED, 0, `sysctl net.ipv4.tcp_ecn=${ns.sysctl.tcp_ecn}`)
    return 0
  }
  if (six) {
    const hash = txhash6(w, sk.saddr, sk.daddr, v.getInt32(th))
    return ip6Xmit(w, ns, slot, tcpFlow6(sk), IPPROTO_TCP, sk.tos, sk.ttl, sk.id, hash)
  }
  return ipQueueXmit(
    w,
    ns,
    slot,
    sk.saddr,
    sk.daddr,
    IPPROTO_TCP,
    sk.tos,
    sk.effectiveTtl(),
    ipDontFragment(sk.pmtudisc, rt),
    sk.id,
  )
}

/** tcp_syn_options, and tcp_synack_options for a simultaneous open. */
function fillSynOptions(sk: TcpSock, rt: Rtable | Rt6, flags: number): void {
  const s = sk.ns.sysctl
  const o = synOptions
  const passive = (flags & TCPHDR_ACK) !== 0
  // tcp_advertise_mss
  const metric = rt.advmss()
  if (metric < sk.advmss) sk.advmss = metric
  o.mss = sk.advmss
  o.ts = passive ? sk.tstampOk : s.tcp_timestamps !== 0
  o.tsval = tcpTimestamp(sk)
  o.tsecr = sk.tsRecent
  o.sack = passive ? sk.sackOk : s.tcp_sack !== 0
  o.wscale = passive ? sk.wscaleOk : s.tcp_window_scaling !== 0
  o.wscaleValue = sk.rcvWscale
}

/** tcp_options_write for a segment of an established connection. */
function writeEstablishedOptions(sk: TcpSock, at: number): void {
  const v = sk.ns.world.arena.view
  let p = at
  let used = 0
  if (sk.tstampOk) {
    v.setInt32(p, 0x0101080a)
    v.setInt32(p + 4, tcpTimestamp(sk))
    v.setInt32(p + 8, sk.tsRecent)
    p += TCPOLEN_TSTAMP_ALIGNED
    used = TCPOLEN_TSTAMP_ALIGNED
  }
  let blocks = sk.sackBlocks.length / 2 + (sk.dsack ? 1 : 0)
  if (blocks === 0) return
  blocks = Math.min(blocks, (40 - used - 4) >> 3)
  v.setInt32(p, 0x01010500 | (2 + 8 * blocks))
  p += 4
  if (sk.dsack) {
    v.setInt32(p, sk.dsackStart)
    v.setInt32(p + 4, sk.dsackEnd)
    p += 8
    blocks--
    sk.dsack = false
  }
  for (let i = 0; i < blocks; i++) {
    v.setInt32(p, sk.sackBlocks[2 * i]!)
    v.setInt32(p + 4, sk.sackBlocks[2 * i + 1]!)
    p += 8
  }
}

/** tcp_event_ack_sent */
function eventAckSent(sk: TcpSock): void {
  if (sk.ackQuick > 0) {
    const pkts = (sk.ackPending & 1) !== 0 ? 1 : 0
    if (pkts >= sk.ackQuick) {
      sk.ackQuick = 0
      sk.ato = TCP_ATO_MIN_MS
    } else sk.ackQuick -= pkts
  }
  clearDelack(sk)
}

/** tcp_event_data_sent */
function eventDataSent(sk: TcpSock): void {
  const now = sk.nowMs()
  sk.lsndtime = now
  if (now - sk.lrcvtime < sk.ato && sk.pingpong < 255) sk.pingpong++
}

/** inet_csk_in_pingpong_mode */
export function inPingpongMode(sk: TcpSock): boolean {
  return sk.pingpong >= TCP_PINGPONG_THRESH
}

/** tcp_send_ack */
export function tcpSendAck(sk: TcpSock): void {
  tcpTransmit(sk, acceptableSeq(sk), 0, TCPHDR_ACK, false)
}

/** tcp_acceptable_seq */
function acceptableSeq(sk: TcpSock): number {
  const end = sk.wndEnd()
  if (!before(end, sk.sndNxt) || (sk.wscaleOk && ((sk.sndNxt - end) | 0) < 1 << sk.sndWscale)) return sk.sndNxt
  return end
}

/** tcp_send_active_reset */
export function tcpSendActiveReset(sk: TcpSock): void {
  tcpTransmit(sk, acceptableSeq(sk), 0, TCPHDR_ACK | TCPHDR_RST, false)
}

/** tcp_nagle_test: whether a segment of `len` bytes may go out now. */
function nagleTest(sk: TcpSock, len: number, mss: number, flags: number, push: boolean): boolean {
  if (push || sk.nodelay || (flags & TCPHDR_FIN) !== 0 || len >= mss) return true
  const minshall = ((sk.sndSml - sk.sndUna) | 0) > 0 && !before(sk.sndNxt, sk.sndSml)
  return !(sk.packetsOut > 0 && minshall)
}

/**
 * tcp_write_xmit: sends what window, congestion window and Nagle allow.
 * @param pushOne 0 all, 1 one packet, 2 one packet whatever the congestion window says (loss probe)
 * @returns true when something waits and nothing is in flight (a probe timer is needed)
 */
export function tcpWriteXmit(sk: TcpSock, mss: number, push: boolean, pushOne: number): boolean {
  const q = sk.segs
  let sentPkts = 0
  while (q.sent < q.count) {
    const i = q.sent
    const seq = q.get(i, SEG_SEQ)
    let end = q.get(i, SEG_END)
    let quota = Math.min(Math.max(sk.sndCwnd >> 1, 1), sk.sndCwnd - sk.inFlight())
    if (quota <= 0) {
      if (pushOne !== 2) break
      quota = 1
    }
    const flags = q.get(i, SEG_FLAGS)
    const fin = flags & TCPHDR_FIN
    const len = ((end - seq) | 0) - fin
    const window = (sk.wndEnd() - seq) | 0
    if (window < Math.min(len, mss) || (len === 0 && window < 0)) break
    const last = i === q.count - 1
    if (len <= mss && !nagleTest(sk, len, mss, flags, push || !last)) break
    // tcp_mss_split_point
    let limit = mss
    if (len > mss) {
      const max = mss * quota
      const needed = Math.min(len, window)
      if (max <= needed) limit = max
      else {
        const partial = needed % mss
        const nagle = partial !== 0 && !sk.nodelay && !push && sk.packetsOut > 0 && (flags & TCPHDR_FIN) === 0
        limit = nagle ? needed - partial : needed
      }
    }
    if (len > limit) {
      q.split(i, (seq + limit) | 0)
      end = (seq + limit) | 0
    }
    const n = transmitBurst(sk, i, mss)
    if (n === 0) break
    sentPkts += n
    if (pushOne !== 0) break
  }
  if (sentPkts > 0) {
    if (pushOne !== 2) scheduleLossProbe(sk, false)
    return false
  }
  return sk.packetsOut === 0 && q.sent < q.count
}

/**
 * Sends queue row `i` (the first unsent) cut into segments of `mss`, as GSO does: one burst. Then tcp_event_new_data_sent.
 * @returns segments sent
 */
function transmitBurst(sk: TcpSock, i: number, mss: number): number {
  const q = sk.segs
  const w = sk.ns.world
  const prior = sk.packetsOut
  const gso = ((q.get(i, SEG_END) - q.get(i, SEG_SEQ)) | 0) - (q.get(i, SEG_FLAGS) & TCPHDR_FIN) > mss
  if (gso) q.set(i, SEG_FLAGS, q.get(i, SEG_FLAGS) | TCPHDR_PSH)
  q.set(i, SEG_BURST, ++sk.bursts)
  const was = w.inSoftirq
  // the pieces of one GSO packet pass the device in one go; the softirq runs behind the last
  if (gso) w.inSoftirq = true
  let n = 0
  let at = i
  for (;;) {
    const seq = q.get(at, SEG_SEQ)
    let end = q.get(at, SEG_END)
    let more = false
    if (((end - seq) | 0) - (q.get(at, SEG_FLAGS) & TCPHDR_FIN) > mss) {
      q.split(at, (seq + mss) | 0)
      end = (seq + mss) | 0
      more = true
    }
    const flags = q.get(at, SEG_FLAGS)
    q.set(at, SEG_TX_US, sk.nowUs())
    q.sent++
    n++
    sk.packetsOut++
    sk.sndNxt = end
    if (((end - seq) | 0) < mss) sk.sndSml = end
    if (n === 1 && (prior === 0 || sk.icskPending === ICSK_TIME_LOSS_PROBE)) rearmRto(sk)
    // a failure is local congestion or no route: the retransmission timer cares
    tcpTransmit(sk, seq, ((end - seq) | 0) - (flags & TCPHDR_FIN), flags, gso)
    if (!more) break
    at++
  }
  if (gso) {
    w.inSoftirq = was
    w.softirq()
  }
  return n
}

/** __tcp_push_pending_frames */
export function tcpPushPending(sk: TcpSock, push: boolean): void {
  if (sk.segs.sent < sk.segs.count && tcpWriteXmit(sk, tcpCurrentMss(sk), push, 0)) armProbe0(sk)
}

/** tcp_send_fin */
export function tcpSendFin(sk: TcpSock): void {
  const q = sk.segs
  if (q.sent < q.count) {
    const i = q.count - 1
    q.set(i, SEG_FLAGS, q.get(i, SEG_FLAGS) | TCPHDR_FIN)
    q.set(i, SEG_END, (q.get(i, SEG_END) + 1) | 0)
  } else q.push(sk.writeSeq, (sk.writeSeq + 1) | 0, TCPHDR_ACK | TCPHDR_FIN)
  sk.writeSeq = (sk.writeSeq + 1) | 0
  tcpPushPending(sk, true)
}

/**
 * __tcp_retransmit_skb of queue row `i`: at most `segs` segments of the current MSS, as one burst.
 * @returns 0, or non-zero when nothing was sent
 */
export function tcpRetransmit(sk: TcpSock, i: number, segs = 1): number {
  const q = sk.segs
  const w = sk.ns.world
  const start = q.get(i, SEG_SEQ)
  if (tcpRoute(sk) === null) return EHOSTUNREACH
  const mss = tcpCurrentMss(sk)
  const syn = (q.get(i, SEG_FLAGS) & TCPHDR_SYN) !== 0
  if (!syn && ((sk.wndEnd() - start) | 0) <= 0 && start !== sk.sndUna) return EAGAIN
  const window = (sk.wndEnd() - start) | 0
  if (!syn) retransTryCollapse(sk, i, window <= 0 ? mss : Math.min(window, mss))
  const total = rowBytes(sk, i)
  const gso = segs > 1 && total > mss
  const was = w.inSoftirq
  if (gso) w.inSoftirq = true
  let result = 0
  for (let n = 0, at = i; n < segs; n++, at++) {
    const more = rowBytes(sk, at) > mss
    if (more) splitSent(sk, at, mss)
    const last = !more || n === segs - 1
    let flags = q.get(at, SEG_FLAGS)
    if (gso && last) {
      flags |= TCPHDR_PSH
      q.set(at, SEG_FLAGS, flags)
    }
    q.set(at, SEG_TX_US, sk.nowUs())
    if ((q.get(at, SEG_SACKED) & SACKED_RETRANS) === 0) sk.retransOut++
    q.set(at, SEG_SACKED, q.get(at, SEG_SACKED) | SACKED_RETRANS | EVER_RETRANS)
    sk.totalRetrans++
    if (sk.retransStampMs === 0) sk.retransStampMs = Math.max(1, sk.nowMs())
    result = tcpTransmit(sk, q.get(at, SEG_SEQ), rowBytes(sk, at), flags, gso)
    if (last) break
  }
  if (gso) {
    w.inSoftirq = was
    w.softirq()
  }
  return result
}

/** Data bytes of queue row `i`. */
function rowBytes(sk: TcpSock, i: number): number {
  const flags = sk.segs.get(i, SEG_FLAGS)
  const len = (sk.segs.get(i, SEG_END) - sk.segs.get(i, SEG_SEQ)) | 0
  return len - (flags & TCPHDR_FIN) - ((flags & TCPHDR_SYN) >> 1)
}

/** tcp_retrans_try_collapse: small segments behind the one that is sent again join it while they fit into `space`. */
function retransTryCollapse(sk: TcpSock, i: number, space: number): void {
  const q = sk.segs
  let left = space - rowBytes(sk, i)
  if (left <= 0 || !canCollapse(sk, i)) return
  while (i + 1 < q.sent && canCollapse(sk, i + 1)) {
    const next = i + 1
    left -= rowBytes(sk, next)
    const end = q.get(next, SEG_END)
    if (left < 0 || ((sk.wndEnd() - end) | 0) < 0) return
    const sacked = q.get(next, SEG_SACKED)
    q.set(i, SEG_END, end)
    q.set(i, SEG_FLAGS, q.get(i, SEG_FLAGS) | q.get(next, SEG_FLAGS))
    q.set(i, SEG_SACKED, q.get(i, SEG_SACKED) | (sacked & EVER_RETRANS))
    sk.packetsOut--
    if ((sacked & SACKED_RETRANS) !== 0) sk.retransOut--
    if ((sacked & SACKED_LOST) !== 0) sk.lostOut--
    q.remove(next)
  }
}

/** tcp_can_collapse: not acknowledged by SACK, and a packet of its own. */
function canCollapse(sk: TcpSock, i: number): boolean {
  const q = sk.segs
  if ((q.get(i, SEG_SACKED) & SACKED_ACKED) !== 0) return false
  const burst = q.get(i, SEG_BURST)
  const shared = (k: number): boolean => k >= 0 && k < q.sent && burst !== 0 && q.get(k, SEG_BURST) === burst
  return !shared(i - 1) && !shared(i + 1)
}

/** tcp_fragment of a segment that was sent: the first `len` bytes become a segment of their own. */
function splitSent(sk: TcpSock, i: number, len: number): void {
  const q = sk.segs
  q.split(i, (q.get(i, SEG_SEQ) + len) | 0)
  sk.packetsOut++
  if ((q.get(i, SEG_SACKED) & SACKED_LOST) !== 0) sk.lostOut++
  if ((q.get(i, SEG_SACKED) & SACKED_RETRANS) !== 0) sk.retransOut++
}

/** tcp_xmit_probe_skb: an ACK with an old sequence number, to make the peer repeat its window. */
export function tcpXmitProbe(sk: TcpSock): void {
  tcpTransmit(sk, (sk.sndUna - 1) | 0, 0, TCPHDR_ACK, false)
}
