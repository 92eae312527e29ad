/**
 * TCP over IPv4: receiving segments, finding their socket, answers without a socket, ICMP errors.
 *
 * Linux: net/ipv4/tcp_ipv4.c (tcp_v4_rcv, tcp_v4_do_rcv, tcp_v4_send_reset, tcp_v4_send_ack, tcp_v4_err,
 * tcp_v4_mtu_reduced). Not modelled: MD5/AO, TTL security, early demux (the result is the same), socket filters.
 */
import { M_DATA, M_DEV, M_LEN, M_MARK, M_NH, M_PKTTYPE, META_SHIFT, PACKET_HOST } from '../../packet/layout.ts'
import { consumeSkb, freeSkb } from '../core/skb.ts'
import { EHOSTUNREACH, EMSGSIZE } from '../errno.ts'
import { EchoedOptions } from '../ip/echoed-options.ts'
import { ipOptionsEcho } from '../ip/options.ts'
import { IpMessage, ipMakeAndSend } from '../ip/output.ts'
import { rt6UpdatePmtu } from '../ipv6/exception.ts'
import { AF_INET, AF_INET6 } from '../ipv6/in6.ts'
import type { Rt6 } from '../ipv6/rt6.ts'
import { nfResetCt } from '../netfilter/conntrack/core.ts'
import type { Netns } from '../netns.ts'
import {
  R_CONSUMED,
  R_L4_CSUM,
  R_L4_HDR,
  R_NO_SOCKET,
  R_OTHERHOST,
  R_TCP_RESET,
  R_TCP_STATE,
  R_UNMODELLED,
} from '../reasons.ts'
import { Flowi4 } from '../route/flow.ts'
import { ipRouteOutput, ipRtUpdatePmtu, ipv4Redirect } from '../route/route.ts'
import type { Rtable } from '../route/rtable.ts'
import { RTN_LOCAL } from '../route/rtn.ts'
import { T_SOCK } from '../trace.ts'
import type { World } from '../world.ts'
import { transportChecksum } from './checksum.ts'
import {
  EPROTO,
  ICMP_DEST_UNREACH,
  ICMP_ERRNO,
  ICMP_FRAG_NEEDED,
  ICMP_HOST_UNREACH,
  ICMP_NET_UNREACH,
  ICMP_PARAMETERPROB,
  ICMP_REDIRECT,
  ICMP_TIME_EXCEEDED,
  icmpHeader,
  NR_ICMP_UNREACH,
  quotedIp,
} from './icmp-errors.ts'
import { IPPROTO_TCP } from './sock.ts'
import { simpleRetransmit } from './tcp-ack.ts'
import {
  after,
  before,
  TCP_CLOSE,
  TCP_ESTABLISHED,
  TCP_HEADER_BYTES,
  TCP_LISTEN,
  TCP_SYN_RECV,
  TCP_SYN_SENT,
  TCPHDR_ACK,
  TCPHDR_FIN,
  TCPHDR_RST,
  TCPHDR_SYN,
} from './tcp-const.ts'
import { RX_OK, RX_RESET, tcpRcvEstablished, tcpRcvStateProcess } from './tcp-input.ts'
import { tcpV6SendResponse } from './tcp-ipv6.ts'
import { listenRcv, listenUnmodelled, requestRcv } from './tcp-listen.ts'
import { TCP_TW_ACK, TCP_TW_RST, TCP_TW_SYN, type TimewaitSock, timewaitStateProcess } from './tcp-mini.ts'
import { parseTcpOptions } from './tcp-options.ts'
import { ipDontFragment, tcpCurrentMss, tcpFlow, tcpRoute, tcpSyncMss } from './tcp-output.ts'
import type { Segment } from './tcp-receive.ts'
import type { TcpSock } from './tcp-sock.ts'
import {
  doneWithError,
  isRequest,
  isTimewait,
  lookupEstablished,
  lookupListener,
  lookupListener6,
  rxContext,
} from './tcp-state.ts'

const fl = new Flowi4()
const reply = new IpMessage()
const echoed = new EchoedOptions()
const replyBytes = new Uint8Array(64)
const replyView = new DataView(replyBytes.buffer)

/** Reads the header at M_DATA into `s`; the slot's M_DATA stays. */
function readSegment(w: World, slot: number, s: Segment): void {
  const a = w.arena
  const m = slot << META_SHIFT
  const th = a.meta[m + M_DATA]!
  const v = a.view
  const head = (v.getUint8(th + 12) >> 4) << 2
  s.slot = slot
  s.seq = v.getInt32(th + 4)
  s.ack = v.getInt32(th + 8)
  s.flags = v.getUint8(th + 13)
  s.window = v.getUint16(th + 14)
  s.headerLen = head
  s.data = th + head
  s.len = a.meta[m + M_LEN]! - head
  s.end = (s.seq + s.len + ((s.flags & TCPHDR_SYN) >> 1) + (s.flags & TCPHDR_FIN)) | 0
}

/** A segment of its own for each nesting of receive work: a backlog may be run inside a softirq's send. */
const segments: Segment[] = []
let depth = 0

function takeSegment(): Segment {
  let s = segments[depth]
  if (s === undefined) {
    s = { slot: -1, seq: 0, end: 0, ack: 0, window: 0, flags: 0, data: 0, len: 0, headerLen: 0 }
    segments.push(s)
  }
  depth++
  return s
}

/** tcp_v4_rcv: M_DATA at the TCP header. Takes the slot. */
export function tcpV4Rcv(w: World, ns: Netns, slot: number): void {
  const a = w.arena
  const m = slot << META_SHIFT
  const th = a.meta[m + M_DATA]!
  const nh = a.meta[m + M_NH]!
  const len = a.meta[m + M_LEN]!
  const v = a.view
  if (a.meta[m + M_PKTTYPE] !== PACKET_HOST) {
    freeSkb(w, slot, R_OTHERHOST)
    return
  }
  const head = len >= TCP_HEADER_BYTES ? (v.getUint8(th + 12) >> 4) << 2 : 0
  if (head < TCP_HEADER_BYTES || head > len) {
    freeSkb(w, slot, R_L4_HDR, head)
    return
  }
  const saddr = v.getInt32(nh + 12)
  const daddr = v.getInt32(nh + 16)
  if (transportChecksum(a.bytes, th, len, saddr, daddr, IPPROTO_TCP) !== 0) {
    ns.count('Tcp.InCsumErrors')
    freeSkb(w, slot, R_L4_CSUM)
    return
  }
  tcpRcv(w, ns, slot, head, saddr, daddr, AF_INET)
}

/**
 * What tcp_v4_rcv and tcp_v6_rcv share: finds the socket and hands the segment over. M_DATA at the TCP header, whose
 * length is `head`; addresses as the family has them. Takes the slot.
 */
export function tcpRcv(
  w: World,
  ns: Netns,
  slot: number,
  head: number,
  saddr: number,
  daddr: number,
  family: number,
): void {
  const m = slot << META_SHIFT
  const th = w.arena.meta[m + M_DATA]!
  const v = w.arena.view
  const sport = v.getUint16(th)
  const dport = v.getUint16(th + 2)
  const e = lookupEstablished(ns, daddr, dport, saddr, sport, family)
  if (e !== null && !isTimewait(e)) nfResetCt(w, slot)
  if (e !== null && !isRequest(e) && !isTimewait(e)) {
    if (e.owned) {
      e.backlog.push(slot)
      return
    }
    tcpV4DoRcv(w, ns, e, slot)
    return
  }
  const s = takeSegment()
  const outer = rxContext.slot
  rxContext.slot = slot
  readSegment(w, slot, s)
  parseTcpOptions(w, th + TCP_HEADER_BYTES, th + head, (s.flags & TCPHDR_SYN) !== 0)
  let reason: number
  if (e !== null) {
    if (isRequest(e)) reason = requestRcv(w, ns, e, s)
    else reason = timewaitRcv(w, ns, e, s, saddr, daddr, sport, dport, family)
  } else {
    const listener = findListener(w, ns, slot, daddr, dport, family)
    if (listener !== null) {
      nfResetCt(w, slot)
      if (w.tracer !== null) w.tracer.step(T_SOCK, slot, ns, null, listener.id, IPPROTO_TCP, dport, listener)
      reason = listenRcv(w, ns, listener, s, saddr, daddr, sport, dport, family)
    } else {
      tcpV4SendReset(w, ns, s)
      reason = R_NO_SOCKET
    }
  }
  rxContext.slot = outer
  depth--
  if (reason === RX_OK) consumeSkb(w, slot)
  else freeSkb(w, slot, reason, dport, reason === R_UNMODELLED ? listenUnmodelled.name : null)
}

function findListener(w: World, ns: Netns, slot: number, daddr: number, dport: number, family: number): TcpSock | null {
  if (family === AF_INET) return lookupListener(ns, daddr, dport)
  return lookupListener6(ns, daddr, dport, w.arena.meta[(slot << META_SHIFT) + M_DEV]!)
}

function timewaitRcv(
  w: World,
  ns: Netns,
  tw: TimewaitSock,
  s: Segment,
  saddr: number,
  daddr: number,
  sport: number,
  dport: number,
  family: number,
): number {
  switch (timewaitStateProcess(tw, s)) {
    case TCP_TW_SYN: {
      const listener = findListener(w, ns, s.slot, daddr, dport, family)
      if (listener !== null) {
        tw.kill()
        return listenRcv(w, ns, listener, s, saddr, daddr, sport, dport, family)
      }
      sendTimewaitAck(w, ns, tw)
      return R_TCP_STATE
    }
    case TCP_TW_ACK:
      sendTimewaitAck(w, ns, tw)
      return RX_OK
    case TCP_TW_RST:
      tcpV4SendReset(w, ns, s)
      tw.kill()
      return R_TCP_RESET
    default:
      return RX_OK
  }
}

/** tcp_v4_do_rcv for a connected socket that no process holds. Takes the slot. */
export function tcpV4DoRcv(w: World, ns: Netns, sk: TcpSock, slot: number): void {
  const s = takeSegment()
  const outer = rxContext.slot
  rxContext.slot = slot
  readSegment(w, slot, s)
  const th = s.data - s.headerLen
  parseTcpOptions(w, th + TCP_HEADER_BYTES, s.data, (s.flags & TCPHDR_SYN) !== 0)
  if (w.tracer !== null) w.tracer.step(T_SOCK, slot, ns, null, sk.id, IPPROTO_TCP, sk.sport, sk)
  let reason = sk.state === TCP_ESTABLISHED ? tcpRcvEstablished(sk, s) : tcpRcvStateProcess(sk, s)
  if (reason === RX_RESET) {
    tcpV4SendReset(w, ns, s)
    reason = R_TCP_STATE
  }
  rxContext.slot = outer
  depth--
  if (reason === RX_OK || reason === R_TCP_RESET) freeSkb(w, slot, R_CONSUMED)
  else freeSkb(w, slot, reason, sk.sport)
}

/** tcp_v4_send_reset: the answer to a segment that fits nothing. The slot is not taken. */
export function tcpV4SendReset(w: World, ns: Netns, s: Segment): void {
  if ((s.flags & TCPHDR_RST) !== 0) return
  const rt = w.arena.dst[s.slot] as Rtable | Rt6 | null
  if (rt !== null && rt.type !== RTN_LOCAL) return
  const hasAck = (s.flags & TCPHDR_ACK) !== 0
  replyView.setInt32(4, hasAck ? s.ack : 0)
  replyView.setInt32(8, hasAck ? 0 : s.end)
  sendUnicastReply(w, ns, s.slot, hasAck ? TCPHDR_RST : TCPHDR_RST | TCPHDR_ACK, 0, TCP_HEADER_BYTES, -1)
}

/**
 * tcp_v4_send_ack for a socket without a full one (TIME_WAIT, open request): answers the segment in `slot`.
 * @param ts timestamp to send with `tsRecent`, null for none
 */
export function tcpV4SendAck(
  w: World,
  ns: Netns,
  slot: number,
  seq: number,
  ack: number,
  window: number,
  tos: number,
  ts: { val: number; ecr: number } | null,
): void {
  replyView.setInt32(4, seq)
  replyView.setInt32(8, ack)
  let len = TCP_HEADER_BYTES
  if (ts !== null) {
    replyView.setInt32(20, 0x0101080a)
    replyView.setInt32(24, ts.val)
    replyView.setInt32(28, ts.ecr)
    len += 12
  }
  sendUnicastReply(w, ns, slot, TCPHDR_ACK, window, len, tos)
}

function sendTimewaitAck(w: World, ns: Netns, tw: TimewaitSock): void {
  const ts = tw.tstampOk ? { val: (Math.floor(w.nowNs / 1e6) + tw.tsoffset) | 0, ecr: tw.tsRecent } : null
  tcpV4SendAck(w, ns, rxContext.slot, tw.sndNxt, tw.rcvNxt, tw.rcvWnd >>> tw.rcvWscale, tw.tos, ts)
}

/** ip_send_unicast_reply: addresses and ports of the packet in `slot`, turned round; `tos` -1 takes the packet's. */
function sendUnicastReply(
  w: World,
  ns: Netns,
  slot: number,
  flags: number,
  window: number,
  len: number,
  tos: number,
): void {
  const a = w.arena
  const m = slot << META_SHIFT
  const nh = a.meta[m + M_NH]!
  if (a.bytes[nh]! >> 4 === 6) {
    tcpV6SendResponse(w, ns, slot, replyBytes, flags, window, len, tos)
    return
  }
  const th = nh + ((a.bytes[nh]! & 15) << 2)
  const v = a.view
  const saddr = v.getInt32(nh + 16)
  const daddr = v.getInt32(nh + 12)
  const sport = v.getUint16(th + 2)
  const dport = v.getUint16(th)
  replyView.setUint16(0, sport)
  replyView.setUint16(2, dport)
  replyView.setUint8(12, len << 2)
  replyView.setUint8(13, flags)
  replyView.setUint16(14, window)
  replyView.setInt32(16, 0)
  replyView.setUint16(16, transportChecksum(replyBytes, 0, len, saddr, daddr, IPPROTO_TCP))
  const t = tos >= 0 ? tos : a.bytes[nh + 1]! & ~3
  if (!ipOptionsEcho(w, ns, slot, echoed)) return
  fl.reset()
  fl.daddr = echoed.srr !== 0 ? echoed.faddr : daddr
  fl.saddr = saddr
  fl.tos = t
  fl.proto = IPPROTO_TCP
  fl.sport = sport
  fl.dport = dport
  fl.mark = ns.sysctl.fwmark_reflect !== 0 ? a.meta[m + M_MARK]! : 0
  const rt = ipRouteOutput(ns, fl)
  if (rt === null) return
  reply.rt = rt
  reply.fl = fl
  reply.proto = IPPROTO_TCP
  reply.tos = t
  reply.ttl = 0
  reply.pmtudisc = 2
  reply.bytes = replyBytes
  reply.length = len
  reply.sk = 0
  reply.mark = fl.mark
  reply.priority = 0
  reply.connected = false
  // a reset's hash is the socket's only when there is one: resets are taken for those without
  reply.txhash = tos >= 0
  reply.options = echoed
  ipMakeAndSend(w, ns, reply)
}

/** tcp_v4_err: an ICMP error about a segment of ours; the slot is not taken. `info`: MTU for FRAG_NEEDED. */
export function tcpV4Err(w: World, ns: Netns, slot: number, info: number): void {
  const v = w.arena.view
  const icmp = icmpHeader(w, slot)
  const ip = quotedIp(w, slot)
  const th = ip + ((w.arena.bytes[ip]! & 15) << 2)
  const type = w.arena.bytes[icmp]!
  const code = w.arena.bytes[icmp + 1]!
  const sport = v.getUint16(th)
  const e = lookupEstablished(ns, v.getInt32(ip + 12), sport, v.getInt32(ip + 16), v.getUint16(th + 2))
  if (e === null) {
    ns.count('Icmp.InErrors')
    return
  }
  if (isTimewait(e)) return
  const seq = v.getInt32(th + 4)
  if (isRequest(e)) {
    // tcp_req_err: only hard errors end an open request
    const abort =
      type === ICMP_PARAMETERPROB ||
      type === ICMP_TIME_EXCEEDED ||
      (type === ICMP_DEST_UNREACH && (code === ICMP_NET_UNREACH || code === ICMP_HOST_UNREACH))
    if (seq === e.sntIsn && abort) e.drop()
    return
  }
  const sk = e
  if (sk.state === TCP_CLOSE) return
  if (before(seq, sk.sndUna) || after(seq, sk.sndNxt)) return
  let err: number
  if (type === ICMP_REDIRECT) {
    if (!sk.owned) ipv4Redirect(w, ns, slot, -1, IPPROTO_TCP)
    return
  }
  if (type === ICMP_PARAMETERPROB) err = EPROTO
  else if (type === ICMP_TIME_EXCEEDED) err = EHOSTUNREACH
  else if (type === ICMP_DEST_UNREACH) {
    if (code > NR_ICMP_UNREACH) return
    if (code === ICMP_FRAG_NEEDED) {
      if (sk.state === TCP_LISTEN) return
      if (sk.owned) sk.deferredMtu = info
      else tcpV4MtuReduced(sk, info)
      return
    }
    err = ICMP_ERRNO[code]!
  } else return
  if (sk.state === TCP_SYN_SENT || sk.state === TCP_SYN_RECV) {
    if (!sk.owned) doneWithError(sk, err)
    else sk.errSoft = err
    return
  }
  if (!sk.owned && sk.recvErr) {
    sk.err = err
    sk.wakeUp()
  } else sk.errSoft = err
}

/** tcp_v4_mtu_reduced: the path MTU shrank; smaller segments, and what was too large again. */
export function tcpV4MtuReduced(sk: TcpSock, mtu: number): void {
  if (sk.state === TCP_LISTEN || sk.state === TCP_CLOSE) return
  const prior = tcpRoute(sk)
  if (prior === null) return
  if (sk.family === AF_INET6) rt6UpdatePmtu(sk.ns, prior as Rt6, sk.daddr, mtu)
  else ipRtUpdatePmtu(sk.ns, prior as Rtable, tcpFlow(sk), mtu)
  const rt = tcpRoute(sk)
  if (rt === null) return
  const now = rt.mtu()
  if (sk.family === AF_INET && mtu < now && ipDontFragment(sk.pmtudisc, rt)) sk.errSoft = EMSGSIZE
  if (sk.pmtudisc !== 0 && sk.pmtudisc < 4 && sk.pmtuCookie > now) {
    tcpSyncMss(sk, now)
    simpleRetransmit(sk, tcpCurrentMss(sk))
  }
}
