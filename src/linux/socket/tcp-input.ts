/**
 * TCP input: the state machine of a socket.
 *
 * Linux: tcp_rcv_established, tcp_rcv_state_process, tcp_validate_incoming, tcp_rcv_synsent_state_process
 * (net/ipv4/tcp_input.c). Header prediction is not modelled: the slow path gives the same result. Not modelled: urgent
 * data, Fast Open, defer accept, ECN negotiation, challenge ACK rate limit (a lab never reaches it).
 */
import { R_TCP_RESET, R_TCP_STATE } from '../reasons.ts'
import { ackUpdateRtt, sendChallengeAck, storeTsRecent, tcpAck, tcpSndbufExpand } from './tcp-ack.ts'
import {
  after,
  before,
  TCP_CLOSE,
  TCP_CLOSE_WAIT,
  TCP_CLOSING,
  TCP_ESTABLISHED,
  TCP_FIN_WAIT1,
  TCP_FIN_WAIT2,
  TCP_HEADER_BYTES,
  TCP_LAST_ACK,
  TCP_SYN_RECV,
  TCP_SYN_SENT,
  TCP_TIME_WAIT,
  TCP_TIMEOUT_FALLBACK_MS,
  TCP_TIMEWAIT_LEN_MS,
  TCPHDR_ACK,
  TCPHDR_FIN,
  TCPHDR_RST,
  TCPHDR_SYN,
  TCPOLEN_TSTAMP_ALIGNED,
} from './tcp-const.ts'
import { tcpTimeWait } from './tcp-mini.ts'
import { rxOpt } from './tcp-options.ts'
import { tcpPushPending, tcpSendAck, tcpSendFin, tcpSyncMss, tcpTransmit } from './tcp-output.ts'
import {
  ackSndCheck,
  enterQuickackMode,
  initBufferSpace,
  initializeRcvMss,
  type Segment,
  setDsack,
  tcpDataQueue,
} from './tcp-receive.ts'
import type { TcpSock } from './tcp-sock.ts'
import { tcpDone, tcpReset, tcpSetState } from './tcp-state.ts'
import { armFinWait2 } from './tcp-timer.ts'

/** What became of a segment: 0 taken, > 0 a reason to drop it, RX_RESET to answer with a reset. */
export const RX_OK = 0
/** The caller answers with a reset. */
export const RX_RESET = -1

/** tcp_send_dupack */
function sendDupack(sk: TcpSock, s: Segment): void {
  if (s.end !== s.seq && before(s.seq, sk.rcvNxt)) {
    enterQuickackMode(sk)
    if (sk.sackOk) setDsack(sk, s.seq, after(s.end, sk.rcvNxt) ? sk.rcvNxt : s.end)
  }
  tcpSendAck(sk)
}

/** tcp_sequence: whether the segment is within the window. */
function inSequence(sk: TcpSock, s: Segment): boolean {
  return !before(s.end, sk.rcvWup) && !after(s.seq, (sk.rcvNxt + sk.receiveWindow()) | 0)
}

/** tcp_validate_incoming. @returns true when the segment goes on */
function validateIncoming(sk: TcpSock, s: Segment): boolean {
  const rst = (s.flags & TCPHDR_RST) !== 0
  const syn = (s.flags & TCPHDR_SYN) !== 0
  if (sk.tstampOk && rxOpt.sawTstamp && sk.tsRecentValid && ((rxOpt.tsval - sk.tsRecent) | 0) < 0 && !rst) {
    if (syn) sendChallengeAck(sk)
    else sendDupack(sk, s)
    return false
  }
  if (!inSequence(sk, s)) {
    if (!rst) {
      if (syn) sendChallengeAck(sk)
      else sendDupack(sk, s)
    }
    return false
  }
  if (rst) {
    if (s.seq === sk.rcvNxt || (sk.sackBlocks.length > 0 && s.seq === sk.sackBlocks[1])) tcpReset(sk)
    else sendChallengeAck(sk)
    return false
  }
  if (syn) {
    sendChallengeAck(sk)
    return false
  }
  return true
}

/** tcp_rcv_established. @returns RX_OK or a reason */
export function tcpRcvEstablished(sk: TcpSock, s: Segment): number {
  if ((s.flags & (TCPHDR_ACK | TCPHDR_RST | TCPHDR_SYN)) === 0) return R_TCP_STATE
  if (!validateIncoming(sk, s)) return (s.flags & TCPHDR_RST) !== 0 ? R_TCP_RESET : R_TCP_STATE
  if (tcpAck(sk, s) < 0) return R_TCP_STATE
  tcpDataQueue(sk, s)
  dataSndCheck(sk)
  ackSndCheck(sk)
  return RX_OK
}

/** tcp_data_snd_check: the ACK may have made room to send. */
function dataSndCheck(sk: TcpSock): void {
  const was = sk.wmemQueued
  tcpPushPending(sk, false)
  if (was < sk.sndbufBytes) sk.wakeUpWriter()
}

/** tcp_init_transfer */
export function tcpInitTransfer(sk: TcpSock): void {
  if (sk.rt !== null) tcpSyncMss(sk, sk.pmtuCookie)
  if (sk.totalRetrans > 1) sk.sndCwnd = 1
  // RFC 6298 5.7 (tcp_init_metrics): the handshake gave no sample
  if (sk.srttUs === 0) {
    sk.rttvarUs = TCP_TIMEOUT_FALLBACK_MS * 1000
    sk.mdevUs = sk.rttvarUs
    sk.mdevMaxUs = sk.rttvarUs
    sk.rtoMs = TCP_TIMEOUT_FALLBACK_MS
  }
  tcpSndbufExpand(sk)
  initBufferSpace(sk)
}

/** tcp_rcv_synsent_state_process */
function rcvSynsent(sk: TcpSock, s: Segment): number {
  const ack = (s.flags & TCPHDR_ACK) !== 0
  if (ack) {
    if (!after(s.ack, sk.sndUna) || after(s.ack, sk.sndNxt)) return RX_RESET
    if ((s.flags & TCPHDR_RST) !== 0) {
      tcpReset(sk)
      return R_TCP_RESET
    }
    if ((s.flags & TCPHDR_SYN) === 0) return R_TCP_STATE
    if (rxOpt.mss !== 0) sk.mssClamp = rxOpt.mss
    sk.sackOk = rxOpt.sackPermitted && sk.ns.sysctl.tcp_sack !== 0
    sk.wscaleOk = rxOpt.hasWscale && sk.ns.sysctl.tcp_window_scaling !== 0
    sk.sndWscale = sk.wscaleOk ? rxOpt.wscale : 0
    sk.sndWl1 = s.seq
    tcpAck(sk, s)
    sk.rcvNxt = (s.seq + 1) | 0
    sk.rcvWup = sk.rcvNxt
    sk.sndWnd = s.window
    sk.maxWindow = Math.max(sk.maxWindow, s.window)
    if (!sk.wscaleOk) {
      sk.rcvWscale = 0
      sk.windowClamp = Math.min(sk.windowClamp, 65535)
    }
    if (rxOpt.sawTstamp && sk.ns.sysctl.tcp_timestamps !== 0) {
      sk.tstampOk = true
      sk.tcpHeaderLen = TCP_HEADER_BYTES + TCPOLEN_TSTAMP_ALIGNED
      sk.advmss -= TCPOLEN_TSTAMP_ALIGNED
      storeTsRecent(sk)
    } else {
      sk.tstampOk = false
      sk.tcpHeaderLen = TCP_HEADER_BYTES
    }
    tcpSyncMss(sk, sk.pmtuCookie)
    initializeRcvMss(sk)
    sk.copiedSeq = sk.rcvNxt
    sk.rcvqSeq = sk.rcvNxt
    tcpSetState(sk, TCP_ESTABLISHED)
    tcpInitTransfer(sk)
    sk.lsndtime = sk.nowMs()
    sk.wakeUp()
    tcpSendAck(sk)
    dataSndCheck(sk)
    return RX_OK
  }
  if ((s.flags & TCPHDR_RST) !== 0 || (s.flags & TCPHDR_SYN) === 0) return R_TCP_STATE
  // simultaneous open
  if (rxOpt.mss !== 0) sk.mssClamp = rxOpt.mss
  sk.sackOk = rxOpt.sackPermitted && sk.ns.sysctl.tcp_sack !== 0
  sk.wscaleOk = rxOpt.hasWscale && sk.ns.sysctl.tcp_window_scaling !== 0
  sk.sndWscale = sk.wscaleOk ? rxOpt.wscale : 0
  tcpSetState(sk, TCP_SYN_RECV)
  if (rxOpt.sawTstamp && sk.ns.sysctl.tcp_timestamps !== 0) {
    sk.tstampOk = true
    storeTsRecent(sk)
    sk.tcpHeaderLen = TCP_HEADER_BYTES + TCPOLEN_TSTAMP_ALIGNED
  }
  sk.rcvNxt = (s.seq + 1) | 0
  sk.copiedSeq = sk.rcvNxt
  sk.rcvWup = sk.rcvNxt
  sk.sndWnd = s.window
  sk.sndWl1 = s.seq
  sk.maxWindow = s.window
  tcpSyncMss(sk, sk.pmtuCookie)
  initializeRcvMss(sk)
  const q = sk.segs
  q.set(0, 2, q.get(0, 2) | TCPHDR_ACK)
  tcpTransmit(sk, sk.iss, 0, TCPHDR_SYN | TCPHDR_ACK, false)
  return RX_OK
}

/** tcp_rcv_state_process: every state but ESTABLISHED, LISTEN and TIME_WAIT. */
export function tcpRcvStateProcess(sk: TcpSock, s: Segment): number {
  if (sk.state === TCP_CLOSE) return R_TCP_STATE
  if (sk.state === TCP_SYN_SENT) return rcvSynsent(sk, s)
  if ((s.flags & (TCPHDR_ACK | TCPHDR_RST | TCPHDR_SYN)) === 0) return R_TCP_STATE
  if (!validateIncoming(sk, s)) return (s.flags & TCPHDR_RST) !== 0 ? R_TCP_RESET : R_TCP_STATE
  const acceptable = tcpAck(sk, s)
  if (acceptable <= 0) {
    if (sk.state === TCP_SYN_RECV) return RX_RESET
    if (acceptable < 0) {
      sendChallengeAck(sk)
      return R_TCP_STATE
    }
  }
  switch (sk.state) {
    case TCP_SYN_RECV:
      synRecvEstablished(sk, s)
      break
    case TCP_FIN_WAIT1: {
      if (sk.sndUna !== sk.writeSeq) break
      tcpSetState(sk, TCP_FIN_WAIT2)
      sk.sendShutdown = true
      if (!sk.dead) {
        sk.wakeUp()
        break
      }
      const fin = (s.flags & TCPHDR_FIN) !== 0
      if (s.end !== s.seq && after((s.end - (fin ? 1 : 0)) | 0, sk.rcvNxt)) {
        tcpDone(sk)
        return RX_RESET
      }
      const ms = sk.ns.sysctl.tcp_fin_timeout * 1000
      if (ms > TCP_TIMEWAIT_LEN_MS) armFinWait2(sk, ms - TCP_TIMEWAIT_LEN_MS)
      else if (fin || sk.owned) armFinWait2(sk, ms)
      else {
        tcpTimeWait(sk, TCP_FIN_WAIT2, ms)
        return RX_OK
      }
      break
    }
    case TCP_CLOSING:
      if (sk.sndUna === sk.writeSeq) {
        tcpTimeWait(sk, TCP_TIME_WAIT, 0)
        return RX_OK
      }
      break
    case TCP_LAST_ACK:
      if (sk.sndUna === sk.writeSeq) {
        tcpDone(sk)
        return RX_OK
      }
      break
  }
  return stateData(sk, s)
}

/** Step 7 of tcp_rcv_state_process: the segment's text. */
function stateData(sk: TcpSock, s: Segment): number {
  const fin = (s.flags & TCPHDR_FIN) !== 0 ? 1 : 0
  const newData = s.end !== s.seq && after((s.end - fin) | 0, sk.rcvNxt)
  switch (sk.state) {
    case TCP_CLOSE_WAIT:
    case TCP_CLOSING:
    case TCP_LAST_ACK:
      if (!before(s.seq, sk.rcvNxt)) break
      if (sk.rcvShutdown && newData) {
        tcpReset(sk)
        return RX_RESET
      }
      tcpDataQueue(sk, s)
      break
    case TCP_FIN_WAIT1:
    case TCP_FIN_WAIT2:
      if (sk.rcvShutdown && newData) {
        tcpReset(sk)
        return RX_RESET
      }
      tcpDataQueue(sk, s)
      break
    case TCP_ESTABLISHED:
      tcpDataQueue(sk, s)
      break
  }
  if (sk.state !== TCP_CLOSE) {
    dataSndCheck(sk)
    ackSndCheck(sk)
  }
  return RX_OK
}

/** The third packet of the handshake: TCP_SYN_RECV of tcp_rcv_state_process. */
function synRecvEstablished(sk: TcpSock, s: Segment): void {
  sk.retransStampMs = 0
  if (sk.srttUs === 0 && sk.synackSentUs >= 0) ackUpdateRtt(sk, (sk.nowUs() - sk.synackSentUs) & 0x7fffffff)
  tcpInitTransfer(sk)
  sk.copiedSeq = sk.rcvNxt
  sk.rcvqSeq = sk.rcvNxt
  tcpSetState(sk, TCP_ESTABLISHED)
  sk.sndUna = s.ack
  sk.sndWnd = s.window * 2 ** sk.sndWscale
  sk.maxWindow = Math.max(sk.maxWindow, sk.sndWnd)
  sk.sndWl1 = s.seq
  if (sk.tstampOk) sk.advmss -= TCPOLEN_TSTAMP_ALIGNED
  sk.lsndtime = sk.nowMs()
  initializeRcvMss(sk)
  sk.wakeUp()
  if (sk.sendShutdown) tcpSendFin(sk)
}
