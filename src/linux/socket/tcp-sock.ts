/**
 * A TCP socket: struct tcp_sock with inet_connection_sock.
 *
 * Linux: include/linux/tcp.h, include/net/inet_connection_sock.h, tcp_init_sock (net/ipv4/tcp.c). Field names are Linux's.
 * Sequence numbers are int32. Times are milliseconds of virtual time; where Linux counts jiffies, a jiffy is 1 ms here.
 */
import { AF_INET } from '../ipv6/in6.ts'
import type { Rt6 } from '../ipv6/rt6.ts'
import type { Netns } from '../netns.ts'
import type { Rtable } from '../route/rtable.ts'
import { Timer } from '../timers.ts'
import { InetSock, IPPROTO_TCP } from './sock.ts'
import {
  TCP_CA_OPEN,
  TCP_CLOSE,
  TCP_HEADER_BYTES,
  TCP_INIT_CWND,
  TCP_MSS_DEFAULT,
  TCP_TIMEOUT_INIT_MS,
} from './tcp-const.ts'
import type { RequestSock } from './tcp-mini.ts'
import { SegQueue, SeqRing } from './tcp-queue.ts'

/** A piece of received data as accounted in memory: one sk_buff of the receive queue. */
export interface RcvChunk {
  seq: number
  end: number
  truesize: number
  /** skb_tailroom: a following small segment may be put behind it. */
  tailroom: number
}

/** The work that a socket's timers do, set by tcp-timer.ts: keeps the class free of import cycles. */
export interface TcpTimerWork {
  write(sk: TcpSock): void
  delack(sk: TcpSock): void
}

/** Handlers of all TCP timers. */
export const tcpTimerWork: { current: TcpTimerWork | null } = { current: null }

/** A TCP socket, listening or connected. */
export class TcpSock extends InetSock {
  state = TCP_CLOSE
  /** sock_owned_by_user: a process is in a call; packets wait in the backlog. */
  owned = false
  /** `sk_backlog`: slots. */
  readonly backlog: number[] = []
  /** Deferred work for release_sock: MTU from an ICMP error (0 none), and an ACK. */
  deferredMtu = 0
  ackDeferred = false
  /** SOCK_DEAD: the process closed it (orphan). */
  dead = false
  rcvShutdown = false
  sendShutdown = false
  /** SOCK_DONE: a FIN was received. */
  done = false
  /** TCP_NODELAY */
  nodelay = false
  rt: Rtable | Rt6 | null = null
  /** A connection of IPv4 that an IPv6 listener accepted: its addresses read as ::ffff:a.b.c.d. */
  mapped = false

  // listening
  maxAckBacklog = 0
  readonly acceptQueue: TcpSock[] = []
  /** Open requests (icsk_accept_queue.qlen). */
  readonly requests = new Set<RequestSock>()
  listener: TcpSock | null = null

  // sending
  iss = 0
  sndUna = 0
  sndNxt = 0
  writeSeq = 0
  sndWnd = 0
  maxWindow = 0
  sndWl1 = 0
  sndSml = 0
  pushedSeq = 0
  readonly segs = new SegQueue()
  readonly sndBuf = new SeqRing()
  sndbufBytes: number
  wmemQueued = 0
  mssCache = TCP_MSS_DEFAULT
  /** `rx_opt.mss_clamp`: what the peer announced. */
  mssClamp = TCP_MSS_DEFAULT
  advmss = TCP_MSS_DEFAULT
  pmtuCookie = 0
  tcpHeaderLen = TCP_HEADER_BYTES

  // options agreed
  sackOk = false
  tstampOk = false
  wscaleOk = false
  sndWscale = 0
  rcvWscale = 0
  tsRecent = 0
  tsRecentValid = false
  rcvTsval = 0
  rcvTsecr = 0
  sawTstamp = false
  tsoffset: number

  // receiving
  rcvNxt = 0
  copiedSeq = 0
  rcvWup = 0
  rcvWnd = 0
  windowClamp = 0
  rcvSsthresh = 0
  rcvbuf: number
  /** TCP_RMEM_TO_WIN_SCALE fraction of 256. */
  scalingRatio = 128
  rmem = 0
  /** Part of `rmem`: the buffer of a FIN without data, which stands in the receive queue until it is read. */
  finTruesize = 0
  readonly rcvBuf = new SeqRing()
  readonly rcvQueue: RcvChunk[] = []
  readonly ofo: RcvChunk[] = []
  /** Blocks to report, most recent first: [start, end] pairs. */
  readonly sackBlocks: number[] = []
  dsack = false
  dsackStart = 0
  dsackEnd = 0
  rcvqSpace = 0
  rcvqSeq = 0
  rcvqTimeUs = 0
  rcvRttUs = 0
  rcvRttSeq = 0
  rcvRttTimeUs = 0

  // acknowledging
  ackPending = 0
  ackQuick = 0
  pingpong = 0
  ato = 0
  lrcvtime = 0
  lsndtime = 0
  rcvMss = TCP_MSS_DEFAULT
  lastSegSize = 0

  // loss recovery and congestion
  srttUs = 0
  mdevUs = 0
  mdevMaxUs = 0
  rttvarUs = 0
  rttSeq = 0
  rtoMs = TCP_TIMEOUT_INIT_MS
  retransmits = 0
  totalRetrans = 0
  /** Numbers the GSO packets sent (SEG_BURST). */
  bursts = 0
  backoff = 0
  probesOut = 0
  sndCwnd = TCP_INIT_CWND
  sndSsthresh = 0x7fffffff
  cwndCnt = 0
  caState = TCP_CA_OPEN
  highSeq = 0
  /** When the SYN/ACK went out, -1 when it was sent more than once. */
  synackSentUs = -1
  packetsOut = 0
  sackedOut = 0
  lostOut = 0
  retransOut = 0
  tlpHighSeq = 0
  retransStampMs = 0
  icskPending = 0

  readonly writeTimer: Timer
  readonly delackTimer: Timer

  constructor(ns: Netns, family = AF_INET) {
    super(ns, IPPROTO_TCP, family)
    this.rcvbuf = ns.sysctl.tcp_rmem_default
    this.sndbufBytes = ns.sysctl.tcp_wmem_default
    this.tsoffset = ns.world.random.u32() | 0
    this.writeTimer = new Timer(() => tcpTimerWork.current!.write(this))
    this.delackTimer = new Timer(() => tcpTimerWork.current!.delack(this))
  }

  /** Called when sending may go on; null when nobody waits. */
  onWritable: (() => void) | null = null

  /** A child goes on with the timestamp offset of its SYN/ACK. */
  adoptTsoffset(offset: number): void {
    this.tsoffset = offset
  }

  /** tcp_check_space: wakes a process that waits to write. */
  wakeUpWriter(): void {
    if (this.onWritable !== null) this.wakeUp()
  }

  /** tcp_jiffies32 in milliseconds. */
  nowMs(): number {
    return Math.floor(this.ns.world.nowNs / 1e6)
  }

  /** tcp_mstamp in microseconds, modulo 2^31. */
  nowUs(): number {
    return Math.floor(this.ns.world.nowNs / 1e3) & 0x7fffffff
  }

  /** tcp_packets_in_flight */
  inFlight(): number {
    return this.packetsOut - (this.sackedOut + this.lostOut) + this.retransOut
  }

  /** tcp_wnd_end */
  wndEnd(): number {
    return (this.sndUna + this.sndWnd) | 0
  }

  /** tcp_receive_window */
  receiveWindow(): number {
    const win = (this.rcvWup + this.rcvWnd - this.rcvNxt) | 0
    return Math.max(win, 0)
  }

  /** tcp_win_from_space */
  winFromSpace(space: number): number {
    return Math.floor((space * this.scalingRatio) / 256)
  }

  /** tcp_space */
  space(): number {
    return this.winFromSpace(this.rcvbuf - this.rmem)
  }

  /** tcp_full_space */
  fullSpace(): number {
    return this.winFromSpace(this.rcvbuf)
  }
}

/** truesize of a small header-only skb that the sender adds data to: sk_buff, shared info and head. */
export const SKB_SMALL_TRUESIZE = 832

/** The head's memory for `len` data bytes, as kmalloc rounds it. */
export function kmallocSize(len: number): number {
  let size = 1024
  while (size < len) size *= 2
  return size
}
