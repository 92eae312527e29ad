/**
 * TCP timers: retransmission, loss probe, window probe, delayed ACK.
 *
 * Linux: net/ipv4/tcp_timer.c, tcp_schedule_loss_probe and tcp_send_loss_probe (net/ipv4/tcp_output.c), tcp_rearm_rto
 * (net/ipv4/tcp_input.c). Timers are exact here, where Linux rounds to jiffies. Keepalive is off, as by default.
 */
import { ETIMEDOUT } from '../errno.ts'
import { enterLoss } from './tcp-ack.ts'
import {
  before,
  ICSK_ACK_SCHED,
  ICSK_ACK_TIMER,
  ICSK_TIME_LOSS_PROBE,
  ICSK_TIME_NONE,
  ICSK_TIME_PROBE0,
  ICSK_TIME_RETRANS,
  TCP_ATO_MIN_MS,
  TCP_CA_OPEN,
  TCP_CLOSE,
  TCP_DELACK_MAX_MS,
  TCP_DELACK_MIN_MS,
  TCP_FIN_WAIT2,
  TCP_LISTEN,
  TCP_RTO_MAX_MS,
  TCP_RTO_MIN_MS,
  TCP_SYN_RECV,
  TCP_SYN_SENT,
  TCP_TIMEOUT_MIN_MS,
} from './tcp-const.ts'
import {
  inPingpongMode,
  tcpCurrentMss,
  tcpRetransmit,
  tcpSendAck,
  tcpSendActiveReset,
  tcpTransmit,
  tcpWriteXmit,
  tcpXmitProbe,
} from './tcp-output.ts'
import { SEG_END, SEG_FLAGS, SEG_SEQ, SEG_TX_US } from './tcp-queue.ts'
import { type TcpSock, tcpTimerWork } from './tcp-sock.ts'
import { doneWithError, tcpDone } from './tcp-state.ts'

/** net.ipv4.tcp_syn_linear_timeouts: SYN retransmissions before the interval starts to double. */
const SYN_LINEAR_TIMEOUTS = 4
/** TCP_RESOURCE_PROBE_INTERVAL */
const RESOURCE_PROBE_MS = 500
/** tcp_orphan_retries when the setting is 0. */
const ORPHAN_RETRIES = 8

function arm(sk: TcpSock, what: number, ms: number): void {
  const w = sk.ns.world
  sk.icskPending = what
  w.timers.arm(sk.writeTimer, w.nowNs + ms * 1e6)
}

/** Stops the retransmission timer. */
export function clearWriteTimer(sk: TcpSock): void {
  sk.icskPending = ICSK_TIME_NONE
  if (sk.writeTimer.armed) sk.ns.world.timers.cancel(sk.writeTimer)
}

/** inet_csk_clear_xmit_timer(ICSK_TIME_DACK) */
export function clearDelack(sk: TcpSock): void {
  sk.ackPending = 0
  if (sk.delackTimer.armed) sk.ns.world.timers.cancel(sk.delackTimer)
}

/** tcp_rto_delta_us in milliseconds: until the first unacknowledged segment times out. */
function rtoDeltaMs(sk: TcpSock): number {
  const elapsedUs = (sk.nowUs() - sk.segs.get(0, SEG_TX_US)) & 0x7fffffff
  return sk.rtoMs - elapsedUs / 1000
}

/** tcp_rearm_rto */
export function rearmRto(sk: TcpSock): void {
  if (sk.packetsOut === 0) {
    clearWriteTimer(sk)
    return
  }
  let ms = sk.rtoMs
  if (sk.icskPending === ICSK_TIME_LOSS_PROBE) ms = Math.max(rtoDeltaMs(sk), 0.001)
  arm(sk, ICSK_TIME_RETRANS, Math.min(ms, TCP_RTO_MAX_MS))
}

/** tcp_schedule_loss_probe. @returns false when a retransmission timer must be used instead */
export function scheduleLossProbe(sk: TcpSock, advancing: boolean): boolean {
  if (sk.packetsOut === 0 || !sk.sackOk || sk.caState !== TCP_CA_OPEN) return false
  if (sk.state === TCP_SYN_SENT || sk.state === TCP_SYN_RECV) return false
  let ms: number
  if (sk.srttUs > 0) {
    ms = (sk.srttUs >> 2) / 1000
    ms += sk.packetsOut === 1 ? TCP_RTO_MIN_MS : TCP_TIMEOUT_MIN_MS
  } else ms = 1000
  const rto = advancing ? sk.rtoMs : rtoDeltaMs(sk)
  if (rto > 0) ms = Math.min(ms, rto)
  arm(sk, ICSK_TIME_LOSS_PROBE, ms)
  return true
}

/** tcp_set_xmit_timer */
export function setXmitTimer(sk: TcpSock): void {
  if (!scheduleLossProbe(sk, true)) rearmRto(sk)
}

/** tcp_check_probe_timer */
export function armProbe0(sk: TcpSock): void {
  if (sk.packetsOut === 0 && sk.icskPending === ICSK_TIME_NONE)
    arm(sk, ICSK_TIME_PROBE0, Math.max(sk.rtoMs, TCP_RTO_MIN_MS))
}

/** tcp_send_delayed_ack */
export function tcpSendDelayedAck(sk: TcpSock): void {
  const w = sk.ns.world
  let ato = sk.ato
  if (ato > TCP_DELACK_MIN_MS) {
    let max = 500
    if (inPingpongMode(sk) || (sk.ackPending & 4) !== 0) max = TCP_DELACK_MAX_MS
    if (sk.srttUs > 0) {
      const rtt = Math.max((sk.srttUs >> 3) / 1000, TCP_DELACK_MIN_MS)
      if (rtt < max) max = rtt
    }
    ato = Math.min(ato, max)
  }
  ato = Math.min(ato, TCP_DELACK_MAX_MS)
  let at = w.nowNs + ato * 1e6
  if ((sk.ackPending & ICSK_ACK_TIMER) !== 0) {
    if (sk.delackTimer.atNs <= w.nowNs + (ato / 4) * 1e6) {
      tcpSendAck(sk)
      return
    }
    if (at >= sk.delackTimer.atNs) at = sk.delackTimer.atNs
  }
  sk.ackPending |= ICSK_ACK_SCHED | ICSK_ACK_TIMER
  w.timers.arm(sk.delackTimer, at)
}

/** tcp_delack_timer_handler */
function delackTimer(sk: TcpSock): void {
  if (sk.state === TCP_CLOSE || sk.state === TCP_LISTEN || (sk.ackPending & ICSK_ACK_TIMER) === 0) return
  sk.ackPending &= ~ICSK_ACK_TIMER
  if ((sk.ackPending & ICSK_ACK_SCHED) === 0) return
  if (!inPingpongMode(sk)) sk.ato = Math.min(sk.ato * 2, sk.rtoMs)
  else {
    sk.pingpong = 0
    sk.ato = TCP_ATO_MIN_MS
  }
  tcpSendAck(sk)
}

/** tcp_write_timer_handler */
function writeTimer(sk: TcpSock): void {
  if (sk.state === TCP_CLOSE || sk.state === TCP_LISTEN) return
  const what = sk.icskPending
  if (what === ICSK_TIME_LOSS_PROBE) sendLossProbe(sk)
  else if (what === ICSK_TIME_RETRANS) {
    sk.icskPending = ICSK_TIME_NONE
    retransmitTimer(sk)
  } else if (what === ICSK_TIME_PROBE0) {
    sk.icskPending = ICSK_TIME_NONE
    probeTimer(sk)
  } else if (sk.state === TCP_FIN_WAIT2 && sk.dead) tcpDone(sk)
}

/** tcp_send_loss_probe */
function sendLossProbe(sk: TcpSock): void {
  const q = sk.segs
  if (sk.tlpHighSeq === 0 && sk.packetsOut > 0) {
    const mss = tcpCurrentMss(sk)
    let sent = false
    if (q.sent < q.count && before(q.get(q.sent, SEG_SEQ), sk.wndEnd())) {
      const prior = sk.packetsOut
      tcpWriteXmit(sk, mss, true, 2)
      sent = sk.packetsOut > prior
    } else {
      sent = tcpRetransmit(sk, q.sent - 1) === 0
    }
    if (sent) {
      sk.tlpHighSeq = sk.sndNxt
      sk.icskPending = ICSK_TIME_NONE
    }
  }
  rearmRto(sk)
}

/** retransmits_timed_out with the model of exponential backoff. */
function timedOut(sk: TcpSock, boundary: number, baseMs: number): boolean {
  if (sk.retransStampMs === 0) return false
  const thresh = Math.floor(Math.log2(TCP_RTO_MAX_MS / baseMs))
  const limit =
    boundary <= thresh
      ? (2 ** (boundary + 1) - 1) * baseMs
      : (2 ** (thresh + 1) - 1) * baseMs + (boundary - thresh) * TCP_RTO_MAX_MS
  return sk.nowMs() - sk.retransStampMs >= limit
}

/** tcp_retransmit_timer */
function retransmitTimer(sk: TcpSock): void {
  if (sk.packetsOut === 0) return
  sk.tlpHighSeq = 0
  const s = sk.ns.sysctl
  const opening = sk.state === TCP_SYN_SENT || sk.state === TCP_SYN_RECV
  let expired: boolean
  if (opening) expired = sk.retransmits >= s.tcp_syn_retries + (sk.state === TCP_SYN_SENT ? SYN_LINEAR_TIMEOUTS : 0)
  else expired = timedOut(sk, sk.dead ? ORPHAN_RETRIES : s.tcp_retries2, TCP_RTO_MIN_MS)
  if (expired) {
    if (sk.dead) {
      tcpDone(sk)
      return
    }
    doneWithError(sk, sk.errSoft !== 0 ? sk.errSoft : ETIMEDOUT)
    return
  }
  if (!opening) enterLoss(sk)
  sk.retransmits++
  if (tcpRetransmit(sk, 0) > 0) {
    arm(sk, ICSK_TIME_RETRANS, RESOURCE_PROBE_MS)
    return
  }
  if (sk.state !== TCP_SYN_SENT || sk.retransmits > SYN_LINEAR_TIMEOUTS) {
    sk.backoff++
    sk.rtoMs = Math.min(sk.rtoMs * 2, TCP_RTO_MAX_MS)
  }
  arm(sk, ICSK_TIME_RETRANS, sk.rtoMs)
}

/** tcp_probe_timer with tcp_write_wakeup */
function probeTimer(sk: TcpSock): void {
  const q = sk.segs
  if (sk.packetsOut !== 0 || q.sent >= q.count) {
    sk.probesOut = 0
    return
  }
  if (sk.probesOut >= sk.ns.sysctl.tcp_retries2) {
    if (sk.dead) tcpSendActiveReset(sk)
    doneWithError(sk, sk.errSoft !== 0 ? sk.errSoft : ETIMEDOUT)
    return
  }
  const seq = q.get(q.sent, SEG_SEQ)
  if (before(seq, sk.wndEnd())) {
    // a partly open window: send what fits
    const room = (sk.wndEnd() - seq) | 0
    const len = Math.min(room, tcpCurrentMss(sk))
    if (((q.get(q.sent, SEG_END) - seq) | 0) > len) q.split(q.sent, (seq + len) | 0)
    const i = q.sent
    const flags = q.get(i, SEG_FLAGS) | 8
    q.set(i, SEG_FLAGS, flags)
    q.set(i, SEG_TX_US, sk.nowUs())
    q.sent++
    sk.packetsOut++
    sk.sndNxt = q.get(i, SEG_END)
    tcpTransmit(sk, seq, ((q.get(i, SEG_END) - seq) | 0) - (flags & 1), flags, false)
    rearmRto(sk)
    return
  }
  tcpXmitProbe(sk)
  sk.probesOut++
  if (sk.backoff < sk.ns.sysctl.tcp_retries2) sk.backoff++
  arm(sk, ICSK_TIME_PROBE0, Math.min(Math.max(sk.rtoMs, TCP_RTO_MIN_MS) * 2 ** sk.backoff, TCP_RTO_MAX_MS))
}

/** Arms the timer that ends an orphan in FIN_WAIT2 (tcp_reset_keepalive_timer). */
export function armFinWait2(sk: TcpSock, ms: number): void {
  const w = sk.ns.world
  sk.icskPending = ICSK_TIME_NONE
  w.timers.arm(sk.writeTimer, w.nowNs + ms * 1e6)
}

tcpTimerWork.current = { write: writeTimer, delack: delackTimer }
