/**
 * TCP acknowledgement processing: what an ACK removes, measures, opens and repairs.
 *
 * Linux: tcp_ack, tcp_clean_rtx_queue, tcp_sacktag_write_queue, tcp_fastretrans_alert, tcp_rtt_estimator, tcp_enter_loss
 * (net/ipv4/tcp_input.c). Congestion control is NewReno (tcp_reno_cong_avoid) with SACK; Linux's default module (cubic)
 * grows the window differently in congestion avoidance. Loss is three duplicate ACKs or SACKed segments (the base of
 * RACK without reordering). Not modelled: RACK's reordering timer, F-RTO, undo, PRR (the window is halved at once), ECN.
 */
import {
  after,
  before,
  ICSK_TIME_PROBE0,
  TCP_CA_LOSS,
  TCP_CA_OPEN,
  TCP_CA_RECOVERY,
  TCP_FASTRETRANS_THRESH,
  TCP_RTO_MAX_MS,
  TCP_RTO_MIN_MS,
  TCP_SYN_RECV,
  TCPHDR_FIN,
  TCPHDR_SYN,
} from './tcp-const.ts'
import { rxOpt } from './tcp-options.ts'
import { tcpRetransmit, tcpSendAck } from './tcp-output.ts'
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
import { kmallocSize, type TcpSock } from './tcp-sock.ts'
import { armProbe0, clearWriteTimer, rearmRto, setXmitTimer } from './tcp-timer.ts'

/** What tcp_ack needs of the segment. */
export interface AckSegment {
  seq: number
  end: number
  ack: number
  window: number
  /** TCPHDR_* */
  flags: number
}

/** tcp_rtt_estimator */
function rttEstimator(sk: TcpSock, mrttUs: number): void {
  let m = mrttUs
  let srtt = sk.srttUs
  const min = TCP_RTO_MIN_MS * 1000
  if (srtt !== 0) {
    m -= srtt >> 3
    srtt += m
    if (m < 0) {
      m = -m
      m -= sk.mdevUs >> 2
      if (m > 0) m >>= 3
    } else m -= sk.mdevUs >> 2
    sk.mdevUs += m
    if (sk.mdevUs > sk.mdevMaxUs) {
      sk.mdevMaxUs = sk.mdevUs
      if (sk.mdevMaxUs > sk.rttvarUs) sk.rttvarUs = sk.mdevMaxUs
    }
    if (after(sk.sndUna, sk.rttSeq)) {
      if (sk.mdevMaxUs < sk.rttvarUs) sk.rttvarUs -= (sk.rttvarUs - sk.mdevMaxUs) >> 2
      sk.rttSeq = sk.sndNxt
      sk.mdevMaxUs = min
    }
  } else {
    srtt = m << 3
    sk.mdevUs = m << 1
    sk.rttvarUs = Math.max(sk.mdevUs, min)
    sk.mdevMaxUs = sk.rttvarUs
    sk.rttSeq = sk.sndNxt
  }
  sk.srttUs = Math.max(1, srtt)
}

/** tcp_ack_update_rtt: takes a sample and sets the timeout from it. */
export function ackUpdateRtt(sk: TcpSock, rttUs: number): void {
  rttEstimator(sk, rttUs)
  sk.rtoMs = Math.min(Math.ceil(((sk.srttUs >> 3) + sk.rttvarUs) / 1000), TCP_RTO_MAX_MS)
  sk.backoff = 0
}

/** tcp_ack_update_window. @returns whether the ACK moved or opened the window */
function updateWindow(sk: TcpSock, s: AckSegment): boolean {
  const win = (s.flags & TCPHDR_SYN) !== 0 ? s.window : s.window * 2 ** sk.sndWscale
  if (after(s.ack, sk.sndUna) || after(s.seq, sk.sndWl1) || (s.seq === sk.sndWl1 && (win > sk.sndWnd || win === 0))) {
    sk.sndWl1 = s.seq
    if (sk.sndWnd !== win) {
      sk.sndWnd = win
      if (win > sk.maxWindow) sk.maxWindow = win
      sk.sndUna = s.ack
      return true
    }
    sk.sndUna = s.ack
    return true
  }
  sk.sndUna = s.ack
  return false
}

/** tcp_sndbuf_expand */
export function tcpSndbufExpand(sk: TcpSock): void {
  const per = kmallocSize(Math.max(sk.mssClamp, sk.mssCache) + 256 + 320) + 256
  const want = 2 * Math.max(10, sk.sndCwnd, 4) * per
  if (sk.sndbufBytes < want) sk.sndbufBytes = Math.min(want, sk.ns.sysctl.tcp_wmem_max)
}

/** tcp_clean_rtx_queue: takes acknowledged segments off. @returns segments acknowledged */
function cleanRtxQueue(sk: TcpSock): number {
  const q = sk.segs
  let acked = 0
  let rttUs = -1
  while (q.sent > 0) {
    const end = q.get(0, SEG_END)
    const flags = q.get(0, SEG_FLAGS)
    const sacked = q.get(0, SEG_SACKED)
    if (after(end, sk.sndUna)) {
      const seq = q.get(0, SEG_SEQ)
      // tcp_tso_acked: part of a segment
      if (before(seq, sk.sndUna) && (flags & TCPHDR_SYN) === 0) {
        const n = (sk.sndUna - seq) | 0
        sk.wmemQueued -= n
        q.set(0, SEG_SEQ, sk.sndUna)
      }
      break
    }
    acked++
    if ((sacked & EVER_RETRANS) === 0) {
      // the earliest sent of those acknowledged gives the sample
      if (rttUs < 0 && (sacked & SACKED_ACKED) === 0) rttUs = (sk.nowUs() - q.get(0, SEG_TX_US)) & 0x7fffffff
    }
    if ((sacked & SACKED_RETRANS) !== 0) sk.retransOut--
    if ((sacked & SACKED_ACKED) !== 0) sk.sackedOut--
    else if (!sk.sackOk && sk.sackedOut > 0) sk.sackedOut--
    if ((sacked & SACKED_LOST) !== 0) sk.lostOut--
    sk.packetsOut--
    sk.wmemQueued -= ((end - q.get(0, SEG_SEQ)) | 0) - (flags & TCPHDR_FIN) - ((flags & TCPHDR_SYN) >> 1)
    if ((flags & TCPHDR_SYN) !== 0) sk.retransStampMs = 0
    q.shift()
  }
  if (acked > 0) {
    if (rttUs < 0 && sk.tstampOk && rxOpt.sawTstamp && rxOpt.tsecr !== 0) {
      const ms = (sk.nowMs() + sk.tsoffset - rxOpt.tsecr) | 0
      if (ms >= 0) rttUs = Math.max(ms, 1) * 1000
    }
    if (rttUs >= 0) ackUpdateRtt(sk, rttUs)
  }
  return acked
}

/** tcp_sacktag_write_queue: marks what the peer holds. @returns whether something new was reported */
function sacktagWriteQueue(sk: TcpSock, priorUna: number): boolean {
  const q = sk.segs
  const v = sk.ns.world.arena.view
  let fresh = false
  for (let b = 0; b < rxOpt.sackBlocks; b++) {
    const start = v.getInt32(rxOpt.sackAt + 8 * b)
    const end = v.getInt32(rxOpt.sackAt + 8 * b + 4)
    // tcp_is_sackblock_valid; a block below snd_una is a D-SACK
    if (!before(start, end) || after(end, sk.sndNxt) || before(start, priorUna)) continue
    for (let i = 0; i < q.sent; i++) {
      const seq = q.get(i, SEG_SEQ)
      if (!before(seq, end)) break
      if (before(seq, start) || after(q.get(i, SEG_END), end)) continue
      const s = q.get(i, SEG_SACKED)
      if ((s & SACKED_ACKED) !== 0) continue
      let t = s | SACKED_ACKED
      if ((s & SACKED_LOST) !== 0) sk.lostOut--
      if ((s & SACKED_RETRANS) !== 0) sk.retransOut--
      t &= ~(SACKED_LOST | SACKED_RETRANS)
      q.set(i, SEG_SACKED, t)
      sk.sackedOut++
      fresh = true
    }
  }
  return fresh
}

function markLost(sk: TcpSock, i: number): void {
  const q = sk.segs
  const s = q.get(i, SEG_SACKED)
  if ((s & (SACKED_LOST | SACKED_ACKED)) !== 0) return
  q.set(i, SEG_SACKED, s | SACKED_LOST)
  sk.lostOut++
}

/** tcp_update_scoreboard: everything below the highest SACKed segment that was not sent again is lost. */
function updateScoreboard(sk: TcpSock): void {
  const q = sk.segs
  if (!sk.sackOk) {
    markLost(sk, 0)
    return
  }
  let highest = -1
  for (let i = q.sent - 1; i >= 0; i--) {
    if ((q.get(i, SEG_SACKED) & SACKED_ACKED) !== 0) {
      highest = i
      break
    }
  }
  for (let i = 0; i < highest; i++) if ((q.get(i, SEG_SACKED) & SACKED_RETRANS) === 0) markLost(sk, i)
}

/** tcp_xmit_retransmit_queue: sends lost segments again as far as the congestion window allows. */
export function xmitRetransmitQueue(sk: TcpSock): void {
  const q = sk.segs
  let sent = false
  for (let i = 0; i < q.sent && sk.inFlight() < sk.sndCwnd; i++) {
    const s = q.get(i, SEG_SACKED)
    if ((s & SACKED_LOST) === 0 || (s & (SACKED_ACKED | SACKED_RETRANS)) !== 0) continue
    if (tcpRetransmit(sk, i, sk.sndCwnd - sk.inFlight()) !== 0) return
    sent = true
    if (i === 0) rearmRto(sk)
  }
  if (sent && sk.icskPending === 0) rearmRto(sk)
}

function enterRecovery(sk: TcpSock): void {
  sk.highSeq = sk.sndNxt
  sk.sndSsthresh = Math.max(sk.sndCwnd >> 1, 2)
  sk.sndCwnd = sk.sndSsthresh
  sk.cwndCnt = 0
  sk.caState = TCP_CA_RECOVERY
}

/** tcp_enter_loss: the retransmission timer expired; all that is not SACKed counts as lost. */
export function enterLoss(sk: TcpSock): void {
  const q = sk.segs
  if (sk.caState !== TCP_CA_LOSS || !after(sk.highSeq, sk.sndUna)) {
    sk.sndSsthresh = Math.max(sk.sndCwnd >> 1, 2)
  }
  sk.retransOut = 0
  sk.lostOut = 0
  if (!sk.sackOk) sk.sackedOut = 0
  for (let i = 0; i < q.sent; i++) {
    const s = q.get(i, SEG_SACKED) & ~(SACKED_RETRANS | SACKED_LOST)
    q.set(i, SEG_SACKED, s)
    markLost(sk, i)
  }
  sk.sndCwnd = sk.inFlight() + 1
  sk.cwndCnt = 0
  sk.caState = TCP_CA_LOSS
  sk.highSeq = sk.sndNxt
}

/** Puts the segments of one GSO packet together again: what Linux still holds as one sk_buff. */
function mergeBursts(sk: TcpSock): void {
  const q = sk.segs
  for (let i = 0; i + 1 < q.sent; ) {
    const a = q.get(i, SEG_SACKED)
    const b = q.get(i + 1, SEG_SACKED)
    const burst = q.get(i, SEG_BURST)
    if (
      burst === 0 ||
      burst !== q.get(i + 1, SEG_BURST) ||
      ((a | b) & (SACKED_ACKED | SACKED_RETRANS | SACKED_LOST)) !== 0
    ) {
      i++
      continue
    }
    q.set(i, SEG_END, q.get(i + 1, SEG_END))
    q.set(i, SEG_FLAGS, q.get(i, SEG_FLAGS) | q.get(i + 1, SEG_FLAGS))
    q.remove(i + 1)
    sk.packetsOut--
  }
}

/** tcp_simple_retransmit: the path MTU shrank; segments that are too large go again. */
export function simpleRetransmit(sk: TcpSock, mss: number): void {
  const q = sk.segs
  mergeBursts(sk)
  let lost = false
  for (let i = 0; i < q.sent; i++) {
    if (((q.get(i, SEG_END) - q.get(i, SEG_SEQ)) | 0) - (q.get(i, SEG_FLAGS) & TCPHDR_FIN) <= mss) continue
    const s = q.get(i, SEG_SACKED)
    if ((s & SACKED_RETRANS) !== 0) {
      q.set(i, SEG_SACKED, s & ~SACKED_RETRANS)
      sk.retransOut--
    }
    markLost(sk, i)
    lost = true
  }
  if (!lost) return
  if (sk.caState !== TCP_CA_LOSS) {
    sk.highSeq = sk.sndNxt
    sk.sndSsthresh = Math.max(sk.sndCwnd >> 1, 2)
    sk.caState = TCP_CA_LOSS
  }
  xmitRetransmitQueue(sk)
}

/** tcp_reno_cong_avoid */
function congAvoid(sk: TcpSock, acked: number, wasLimited: boolean): void {
  if (!wasLimited) return
  let n = acked
  if (sk.sndCwnd < sk.sndSsthresh) {
    const cwnd = Math.min(sk.sndCwnd + n, sk.sndSsthresh)
    n -= cwnd - sk.sndCwnd
    sk.sndCwnd = cwnd
    if (n <= 0) return
  }
  sk.cwndCnt += n
  if (sk.cwndCnt >= sk.sndCwnd) {
    sk.cwndCnt -= sk.sndCwnd
    sk.sndCwnd++
  }
}

/** tcp_send_challenge_ack: the answer to what may be a forgery. */
export function sendChallengeAck(sk: TcpSock): void {
  tcpSendAck(sk)
}

/**
 * tcp_ack.
 * @returns 1 taken, 0 old, -1 acknowledges what was never sent
 */
export function tcpAck(sk: TcpSock, s: AckSegment): number {
  const priorUna = sk.sndUna
  if (before(s.ack, priorUna)) {
    if (before(s.ack, (priorUna - sk.maxWindow) | 0)) {
      sendChallengeAck(sk)
      return -1
    }
    if (sk.sackOk && rxOpt.sackBlocks > 0 && sacktagWriteQueue(sk, priorUna)) fastretransAlert(sk, 0, false, true)
    return 0
  }
  if (after(s.ack, sk.sndNxt)) return -1
  const advanced = after(s.ack, priorUna)
  if (advanced) sk.retransmits = 0
  if (sk.tstampOk && rxOpt.sawTstamp && !after(s.seq, sk.rcvWup)) storeTsRecent(sk)
  const priorPackets = sk.packetsOut
  const limited = sk.inFlight() >= sk.sndCwnd || (sk.sndCwnd < sk.sndSsthresh && 2 * sk.inFlight() > sk.sndCwnd)
  const data = s.seq !== s.end
  const priorWl = sk.sndWnd
  const windowMoved = updateWindow(sk, s)
  let sacked = false
  if (sk.sackOk && rxOpt.sackBlocks > 0) sacked = sacktagWriteQueue(sk, priorUna)
  sk.errSoft = 0
  sk.probesOut = 0
  if (priorPackets === 0) {
    ackProbe(sk)
    return 1
  }
  const acked = cleanRtxQueue(sk)
  if (sk.tlpHighSeq !== 0 && !before(s.ack, sk.tlpHighSeq)) {
    sk.tlpHighSeq = 0
  }
  const duplicate = !advanced && !data && priorWl === sk.sndWnd && sk.packetsOut > 0 && (s.flags & TCPHDR_FIN) === 0
  if (!sk.sackOk && duplicate) sk.sackedOut = Math.min(sk.sackedOut + 1, sk.packetsOut - sk.lostOut)
  if (sacked || duplicate || sk.caState !== TCP_CA_OPEN) fastretransAlert(sk, acked, advanced, sacked || duplicate)
  if (acked > 0 && sk.caState !== TCP_CA_RECOVERY) congAvoid(sk, acked, limited)
  if (acked > 0) {
    if (sk.caState === TCP_CA_OPEN) setXmitTimer(sk)
    else rearmRto(sk)
  } else if (windowMoved && sk.packetsOut === 0) rearmRto(sk)
  if (sk.caState !== TCP_CA_OPEN) xmitRetransmitQueue(sk)
  return 1
}

/** tcp_fastretrans_alert, reduced to Open, Recovery and Loss. */
function fastretransAlert(sk: TcpSock, acked: number, advanced: boolean, dubious: boolean): void {
  if (sk.caState !== TCP_CA_OPEN) {
    if (!before(sk.sndUna, sk.highSeq)) {
      sk.caState = TCP_CA_OPEN
      sk.retransStampMs = 0
      if (!sk.sackOk) sk.sackedOut = 0
      return
    }
    if (sk.caState === TCP_CA_RECOVERY && (advanced || dubious)) {
      if (sk.sackOk || advanced) updateScoreboard(sk)
      if (!sk.sackOk && acked > 0) sk.sackedOut = 0
    }
    return
  }
  if (sk.sackedOut >= TCP_FASTRETRANS_THRESH && sk.packetsOut > 0 && sk.state !== TCP_SYN_RECV) {
    enterRecovery(sk)
    updateScoreboard(sk)
  }
}

/** tcp_ack_probe: nothing is in flight; the window opened or a probe timer is needed. */
function ackProbe(sk: TcpSock): void {
  const q = sk.segs
  if (q.sent >= q.count) return
  const end = q.get(q.sent, SEG_END)
  if (!after(end, sk.wndEnd())) {
    sk.backoff = 0
    sk.probesOut = 0
    if (sk.icskPending === ICSK_TIME_PROBE0) clearWriteTimer(sk)
  } else armProbe0(sk)
}

/** tcp_store_ts_recent */
export function storeTsRecent(sk: TcpSock): void {
  sk.tsRecent = rxOpt.tsval
  sk.tsRecentValid = true
}
