/**
 * TCP's small sockets: open requests (SYN_RECV) and TIME_WAIT.
 *
 * Linux: net/ipv4/tcp_minisocks.c (tcp_check_req, tcp_create_openreq_child, tcp_time_wait, tcp_timewait_state_process),
 * inet_connection_sock.c (reqsk_timer_handler). Not modelled: Fast Open, tcp_tw_reuse, rfc1337, out-of-window rate limit.
 */
import type { Rt6 } from '../ipv6/rt6.ts'
import type { Netns } from '../netns.ts'
import type { Rtable } from '../route/rtable.ts'
import { Timer } from '../timers.ts'
import {
  after,
  before,
  TCP_FIN_WAIT2,
  TCP_NEW_SYN_RECV,
  TCP_RTO_MAX_MS,
  TCP_TIME_WAIT,
  TCP_TIMEOUT_INIT_MS,
  TCP_TIMEWAIT_LEN_MS,
  TCPHDR_ACK,
  TCPHDR_FIN,
  TCPHDR_RST,
  TCPHDR_SYN,
} from './tcp-const.ts'
import { rxOpt } from './tcp-options.ts'
import type { Segment } from './tcp-receive.ts'
import type { TcpSock } from './tcp-sock.ts'
import { hashEstablished, holdPort, releasePort, tcpDone, unhashEstablished } from './tcp-state.ts'

/** A half-open connection: struct tcp_request_sock. */
export class RequestSock {
  readonly state = TCP_NEW_SYN_RECV
  readonly ns: Netns
  readonly listener: TcpSock
  /** AF_INET or AF_INET6 */
  readonly family: number
  readonly rcvSaddr: number
  readonly sport: number
  readonly daddr: number
  readonly dport: number
  readonly rt: Rtable | Rt6
  readonly rcvIsn: number
  readonly sntIsn: number
  readonly mark: number
  mss = 536
  /** MSS that we announce. */
  advmss = 0
  rcvWnd = 0
  windowClamp = 0
  rcvWscale = 0
  sndWscale = 0
  wscaleOk = false
  sackOk = false
  tstampOk = false
  tsRecent = 0
  readonly tsoffset: number
  sentUs = 0
  /** SYN/ACK retransmissions. */
  numRetrans = 0
  numTimeout = 0
  readonly timer: Timer

  constructor(
    listener: TcpSock,
    rt: Rtable | Rt6,
    family: number,
    tuple: { laddr: number; lport: number; faddr: number; fport: number },
    rcvIsn: number,
    mark: number,
    onTimer: (req: RequestSock) => void,
  ) {
    const ns = listener.ns
    this.ns = ns
    this.listener = listener
    this.family = family
    this.rt = rt
    this.rcvSaddr = tuple.laddr
    this.sport = tuple.lport
    this.daddr = tuple.faddr
    this.dport = tuple.fport
    this.rcvIsn = rcvIsn
    this.mark = mark
    this.sntIsn = ns.world.random.u32() | 0
    this.tsoffset = ns.world.random.u32() | 0
    this.timer = new Timer(() => onTimer(this))
  }

  /** Arms the SYN/ACK timer: 1 s, doubled each time. */
  arm(): void {
    const w = this.ns.world
    const ms = Math.min(TCP_TIMEOUT_INIT_MS * 2 ** this.numTimeout, TCP_RTO_MAX_MS)
    w.timers.arm(this.timer, w.nowNs + ms * 1e6)
  }

  /** inet_csk_reqsk_queue_drop */
  drop(): void {
    if (this.timer.armed) this.ns.world.timers.cancel(this.timer)
    unhashEstablished(this.ns, this)
    this.listener.requests.delete(this)
  }
}

/** A connection in TIME_WAIT, or an orphan in FIN_WAIT2: struct tcp_timewait_sock. */
export class TimewaitSock {
  readonly state = TCP_TIME_WAIT
  readonly ns: Netns
  readonly family: number
  readonly rcvSaddr: number
  readonly sport: number
  readonly daddr: number
  readonly dport: number
  /** TCP_FIN_WAIT2 or TCP_TIME_WAIT */
  substate: number
  rcvNxt: number
  readonly sndNxt: number
  readonly rcvWnd: number
  readonly rcvWscale: number
  readonly tos: number
  readonly mark: number
  readonly tstampOk: boolean
  tsRecent: number
  readonly tsoffset: number
  readonly timer: Timer

  constructor(sk: TcpSock, substate: number) {
    this.ns = sk.ns
    this.family = sk.family
    this.rcvSaddr = sk.rcvSaddr
    this.sport = sk.sport
    this.daddr = sk.daddr
    this.dport = sk.dport
    this.substate = substate
    this.rcvNxt = sk.rcvNxt
    this.sndNxt = sk.sndNxt
    this.rcvWnd = sk.receiveWindow()
    this.rcvWscale = sk.rcvWscale
    this.tos = sk.tos
    this.mark = sk.mark
    this.tstampOk = sk.tstampOk
    this.tsRecent = sk.tsRecent
    this.tsoffset = sk.tsoffset
    this.timer = new Timer(() => this.kill())
  }

  /** inet_twsk_reschedule */
  schedule(ms: number): void {
    const w = this.ns.world
    w.timers.arm(this.timer, w.nowNs + ms * 1e6)
  }

  /** inet_twsk_kill */
  kill(): void {
    if (this.timer.armed) this.ns.world.timers.cancel(this.timer)
    unhashEstablished(this.ns, this)
    releasePort(this)
  }
}

/** tcp_time_wait: a small socket takes over, the large one is done. */
export function tcpTimeWait(sk: TcpSock, state: number, timeoMs: number): void {
  const tw = new TimewaitSock(sk, state)
  const rto = sk.rtoMs * 3.5
  const ms = state === TCP_TIME_WAIT ? TCP_TIMEWAIT_LEN_MS : Math.max(timeoMs, rto)
  tcpDone(sk)
  unhashEstablished(sk.ns, sk)
  hashEstablished(sk.ns, tw)
  holdPort(sk.ns, tw)
  tw.schedule(ms)
}

/** Answers of timewaitStateProcess. */
export const TCP_TW_SUCCESS = 0
export const TCP_TW_RST = 1
export const TCP_TW_ACK = 2
export const TCP_TW_SYN = 3

function tcpInWindow(seq: number, end: number, sWin: number, eWin: number): boolean {
  if (seq === sWin) return true
  if (after(end, sWin) && before(seq, eWin)) return true
  return seq === eWin && seq === end
}

/** tcp_timewait_state_process */
export function timewaitStateProcess(tw: TimewaitSock, s: Segment): number {
  const f = s.flags
  const rst = (f & TCPHDR_RST) !== 0
  const syn = (f & TCPHDR_SYN) !== 0
  const ack = (f & TCPHDR_ACK) !== 0
  const paws = tw.tstampOk && rxOpt.sawTstamp && ((rxOpt.tsval - tw.tsRecent) | 0) < 0
  if (tw.substate === TCP_FIN_WAIT2) {
    if (paws || !tcpInWindow(s.seq, s.end, tw.rcvNxt, (tw.rcvNxt + tw.rcvWnd) | 0)) return TCP_TW_ACK
    if (rst) {
      tw.kill()
      return TCP_TW_SUCCESS
    }
    if (syn && !before(s.seq, tw.rcvNxt)) return TCP_TW_RST
    if (!ack || !after(s.end, tw.rcvNxt) || s.end === s.seq) return TCP_TW_SUCCESS
    if ((f & TCPHDR_FIN) === 0 || s.end !== ((tw.rcvNxt + 1) | 0)) return TCP_TW_RST
    tw.substate = TCP_TIME_WAIT
    tw.rcvNxt = s.end
    if (rxOpt.sawTstamp) tw.tsRecent = rxOpt.tsval
    tw.schedule(TCP_TIMEWAIT_LEN_MS)
    return TCP_TW_ACK
  }
  if (!paws && s.seq === tw.rcvNxt && (s.seq === s.end || rst)) {
    if (rst) tw.kill()
    else tw.schedule(TCP_TIMEWAIT_LEN_MS)
    return TCP_TW_SUCCESS
  }
  if (syn && !rst && !ack && !paws && after(s.seq, tw.rcvNxt)) return TCP_TW_SYN
  if (!rst) {
    if (paws || ack) tw.schedule(TCP_TIMEWAIT_LEN_MS)
    return TCP_TW_ACK
  }
  return TCP_TW_SUCCESS
}

/** Answers of checkReq. */
export const REQ_DROP = 0
export const REQ_RESET = 1
export const REQ_SYNACK = 2
export const REQ_ACK = 3
export const REQ_CHILD = 4
/** The ACK acknowledges something else: the listener answers with a reset. */
export const REQ_LISTENER = 5

/** The decisions of tcp_check_req; the caller acts on them. */
export function checkReq(req: RequestSock, s: Segment): number {
  const flg = s.flags & (TCPHDR_RST | TCPHDR_SYN | TCPHDR_ACK)
  const paws = req.tstampOk && rxOpt.sawTstamp && ((rxOpt.tsval - req.tsRecent) | 0) < 0
  if (s.seq === req.rcvIsn && flg === TCPHDR_SYN && !paws) return REQ_SYNACK
  if ((flg & TCPHDR_ACK) !== 0 && s.ack !== ((req.sntIsn + 1) | 0)) return REQ_LISTENER
  const nxt = (req.rcvIsn + 1) | 0
  if (paws || !tcpInWindow(s.seq, s.end, nxt, (nxt + req.rcvWnd) | 0)) {
    return (flg & TCPHDR_RST) === 0 ? REQ_ACK : REQ_DROP
  }
  let f = flg
  if (s.seq === req.rcvIsn) f &= ~TCPHDR_SYN
  if ((f & (TCPHDR_RST | TCPHDR_SYN)) !== 0) return REQ_RESET
  if ((f & TCPHDR_ACK) === 0) return REQ_DROP
  return REQ_CHILD
}
