/**
 * TCP's passive side: SYN to a listener, the open request, the child socket.
 *
 * Linux: tcp_conn_request (net/ipv4/tcp_input.c), tcp_v4_syn_recv_sock, tcp_v4_send_synack (net/ipv4/tcp_ipv4.c),
 * tcp_openreq_init_rwin, tcp_make_synack (net/ipv4/tcp_output.c), tcp_create_openreq_child. Not modelled: SYN cookies (a
 * full queue is named UNMODELLED), Fast Open, deferred accept.
 */
import { M_DATA, M_DEV, M_MARK, M_OPTLEN, M_TH, META_SHIFT } from '../../packet/layout.ts'
import { ipBuildAndSendPkt } from '../ip/output.ts'
import { Flowi6 } from '../ipv6/flow6.ts'
import { AF_INET, AF_INET6 } from '../ipv6/in6.ts'
import { ip6Xmit, txhash6 } from '../ipv6/output.ts'
import { ip6DstLookup } from '../ipv6/route.ts'
import type { Rt6 } from '../ipv6/rt6.ts'
import { needsScopeId } from '../ipv6/saddr.ts'
import type { Netns } from '../netns.ts'
import { R_NO_SOCKET, R_TCP_RESET, R_TCP_STATE, R_UNMODELLED } from '../reasons.ts'
import { Flowi4 } from '../route/flow.ts'
import { ipRouteOutput } from '../route/route.ts'
import type { Rtable } from '../route/rtable.ts'
import { RTCF_BROADCAST, RTCF_MULTICAST } from '../route/rtn.ts'
import type { World } from '../world.ts'
import { transportChecksum, transportChecksum6 } from './checksum.ts'
import { IPPROTO_TCP } from './sock.ts'
import {
  TCP_HEADER_BYTES,
  TCP_MSS_DEFAULT,
  TCP_SYN_RECV,
  TCP6_MSS_DEFAULT,
  TCPHDR_ACK,
  TCPHDR_FIN,
  TCPHDR_RST,
  TCPHDR_SYN,
  TCPOLEN_TSTAMP_ALIGNED,
} from './tcp-const.ts'
import { RX_OK, RX_RESET, tcpRcvStateProcess } from './tcp-input.ts'
import { tcpV4SendAck, tcpV4SendReset } from './tcp-ipv4.ts'
import { checkReq, REQ_ACK, REQ_CHILD, REQ_LISTENER, REQ_RESET, REQ_SYNACK, RequestSock } from './tcp-mini.ts'
import { rxOpt, type SynOptions, synOptionBytes, writeSynOptions } from './tcp-options.ts'
import { initialWindow, ipDontFragment, tcpSelectInitialWindow, tcpSyncMss } from './tcp-output.ts'
import { initializeRcvMss, type Segment } from './tcp-receive.ts'
import { TcpSock } from './tcp-sock.ts'
import { hashEstablished, holdPort } from './tcp-state.ts'

const fl = new Flowi4()
const fl6 = new Flowi6()
const synack: SynOptions = { mss: 0, sack: false, ts: false, tsval: 0, tsecr: 0, wscale: false, wscaleValue: 0 }

/** A segment for a listening socket: tcp_rcv_state_process in LISTEN. @returns RX_OK or a reason */
export function listenRcv(
  w: World,
  ns: Netns,
  sk: TcpSock,
  s: Segment,
  saddr: number,
  daddr: number,
  sport: number,
  dport: number,
  family = AF_INET,
): number {
  const f = s.flags
  if ((f & TCPHDR_RST) !== 0) return R_TCP_STATE
  if ((f & TCPHDR_ACK) !== 0) {
    tcpV4SendReset(w, ns, s)
    return R_NO_SOCKET
  }
  if ((f & TCPHDR_SYN) === 0 || (f & TCPHDR_FIN) !== 0) return R_TCP_STATE
  return connRequest(w, ns, sk, s, saddr, daddr, sport, dport, family)
}

/** Name of what the last segment with R_UNMODELLED met. */
export const listenUnmodelled = { name: '' }

function unmodelled(name: string): number {
  listenUnmodelled.name = name
  return R_UNMODELLED
}

/** ECE and CWR of a SYN that asks for ECN. */
const TCPHDR_ECN = 0xc0

/** tcp_conn_request */
function connRequest(
  w: World,
  ns: Netns,
  sk: TcpSock,
  s: Segment,
  saddr: number,
  daddr: number,
  sport: number,
  dport: number,
  family: number,
): number {
  const six = family === AF_INET6
  const in_ = w.arena.dst[s.slot] as Rtable | null
  if (!six && in_ !== null && (in_.flags & (RTCF_BROADCAST | RTCF_MULTICAST)) !== 0) return R_TCP_STATE
  // the connection would answer with the options turned round (tcp_v4_save_options)
  if (!six && w.arena.meta[(s.slot << META_SHIFT) + M_OPTLEN] !== 0) return unmodelled('IP options on a SYN')
  // tcp_ecn_create_request: the answer would agree to ECN
  if ((s.flags & TCPHDR_ECN) === TCPHDR_ECN && ns.sysctl.tcp_ecn !== 0) return unmodelled('TCP ECN')
  if (sk.acceptQueue.length > sk.maxAckBacklog) {
    ns.count('TcpExt.ListenOverflows')
    return R_TCP_STATE
  }
  // a full queue makes Linux send SYN cookies
  if (sk.requests.size >= Math.max(sk.maxAckBacklog, 1)) return unmodelled('SYN cookies: the listen queue is full')
  const rt = six
    ? requestRoute6(w, ns, sk, s.slot, saddr, daddr, sport, dport)
    : requestRoute(ns, sk, saddr, daddr, sport, dport)
  if (rt === null) {
    ns.count('Ip.OutNoRoutes')
    return R_TCP_STATE
  }
  const req = new RequestSock(
    sk,
    rt,
    family,
    { laddr: daddr, lport: dport, faddr: saddr, fport: sport },
    s.seq,
    sk.mark,
    requestTimer,
  )
  const c = ns.sysctl
  const clamp = six ? TCP6_MSS_DEFAULT : TCP_MSS_DEFAULT
  req.mss = rxOpt.mss !== 0 ? rxOpt.mss : clamp
  req.tstampOk = rxOpt.sawTstamp && c.tcp_timestamps !== 0
  req.tsRecent = rxOpt.sawTstamp ? rxOpt.tsval : 0
  req.sackOk = rxOpt.sackPermitted && c.tcp_sack !== 0
  req.wscaleOk = rxOpt.hasWscale && c.tcp_window_scaling !== 0
  req.sndWscale = req.wscaleOk ? rxOpt.wscale : 0
  req.advmss = rt.advmss()
  const mss = req.advmss - (req.tstampOk ? TCPOLEN_TSTAMP_ALIGNED : 0)
  tcpSelectInitialWindow(sk.fullSpace(), mss, 0, req.wscaleOk, c.tcp_rmem_max)
  req.rcvWnd = initialWindow.rcvWnd
  req.windowClamp = initialWindow.clamp
  req.rcvWscale = initialWindow.wscale
  sk.requests.add(req)
  hashEstablished(ns, req)
  req.sentUs = sk.nowUs()
  req.arm()
  sendSynack(w, req)
  return RX_OK
}

/** inet_csk_route_req */
function requestRoute(
  ns: Netns,
  sk: TcpSock,
  saddr: number,
  daddr: number,
  sport: number,
  dport: number,
): Rtable | null {
  fl.reset()
  fl.daddr = saddr
  fl.saddr = daddr
  fl.mark = sk.mark
  fl.tos = sk.family === AF_INET6 ? 0 : sk.tos
  fl.proto = IPPROTO_TCP
  fl.sport = dport
  fl.dport = sport
  return ipRouteOutput(ns, fl)
}

/** inet6_csk_route_req: a link-local peer is answered by the device that it came by. */
function requestRoute6(
  w: World,
  ns: Netns,
  sk: TcpSock,
  slot: number,
  saddr: number,
  daddr: number,
  sport: number,
  dport: number,
): Rt6 | null {
  fl6.reset()
  fl6.daddr = saddr
  fl6.saddr = daddr
  fl6.mark = sk.mark
  fl6.tclass = sk.tos
  fl6.proto = IPPROTO_TCP
  fl6.sport = dport
  fl6.dport = sport
  fl6.oif = needsScopeId(w.in6, saddr) ? w.arena.meta[(slot << META_SHIFT) + M_DEV]! : sk.boundDev
  const rt = ip6DstLookup(ns, fl6)
  return rt.error === 0 ? rt : null
}

/** tcp_make_synack and ip_build_and_send_pkt, ip6_xmit */
function sendSynack(w: World, req: RequestSock): void {
  const ns = req.ns
  const sk = req.listener
  synack.mss = req.advmss
  synack.sack = req.sackOk
  synack.ts = req.tstampOk
  synack.tsval = (Math.floor(w.nowNs / 1e6) + req.tsoffset) | 0
  synack.tsecr = req.tsRecent
  synack.wscale = req.wscaleOk
  synack.wscaleValue = req.rcvWscale
  const head = TCP_HEADER_BYTES + synOptionBytes(synack)
  const a = w.arena
  const slot = a.alloc(head)
  if (slot < 0) return
  const m = slot << META_SHIFT
  const th = a.meta[m + M_DATA]!
  const v = a.view
  v.setUint16(th, req.sport)
  v.setUint16(th + 2, req.dport)
  v.setInt32(th + 4, req.sntIsn)
  v.setInt32(th + 8, (req.rcvIsn + 1) | 0)
  v.setUint8(th + 12, head << 2)
  v.setUint8(th + 13, TCPHDR_SYN | TCPHDR_ACK)
  v.setUint16(th + 14, Math.min(req.rcvWnd, 65535))
  v.setInt32(th + 16, 0)
  writeSynOptions(w, th + TCP_HEADER_BYTES, synack)
  const six = req.family === AF_INET6
  const check = six
    ? transportChecksum6(w, a.bytes, th, head, req.rcvSaddr, req.daddr, IPPROTO_TCP)
    : transportChecksum(a.bytes, th, head, req.rcvSaddr, req.daddr, IPPROTO_TCP)
  v.setUint16(th + 16, check)
  a.meta[m + M_TH] = th
  a.meta[m + M_DEV] = req.rt.dev.id
  a.meta[m + M_MARK] = req.mark
  a.dst[slot] = req.rt
  if (six) {
    fl6.reset()
    fl6.saddr = req.rcvSaddr
    fl6.daddr = req.daddr
    const hash = txhash6(w, req.rcvSaddr, req.daddr, v.getInt32(th))
    ip6Xmit(w, ns, slot, fl6, IPPROTO_TCP, sk.tos, sk.ttl, sk.id, hash)
    return
  }
  const df = ipDontFragment(sk.pmtudisc, req.rt)
  const tos = sk.family === AF_INET6 ? 0 : sk.tos
  const ttl = sk.family === AF_INET6 ? ns.sysctl.ip_default_ttl : sk.effectiveTtl()
  ipBuildAndSendPkt(w, ns, slot, req.rcvSaddr, req.daddr, IPPROTO_TCP, tos, ttl, df, sk.id)
}

/** reqsk_timer_handler: SYN/ACK again, at most tcp_synack_retries times. */
function requestTimer(req: RequestSock): void {
  if (req.numTimeout >= req.ns.sysctl.tcp_synack_retries) {
    req.drop()
    return
  }
  req.numTimeout++
  req.numRetrans++
  req.arm()
  sendSynack(req.ns.world, req)
}

/** A segment for an open request. @returns RX_OK or a reason */
export function requestRcv(w: World, ns: Netns, req: RequestSock, s: Segment): number {
  switch (checkReq(req, s)) {
    case REQ_SYNACK:
      req.numRetrans++
      sendSynack(w, req)
      return RX_OK
    case REQ_LISTENER:
      tcpV4SendReset(w, ns, s)
      return R_TCP_STATE
    case REQ_ACK: {
      const ts = req.tstampOk ? { val: (Math.floor(w.nowNs / 1e6) + req.tsoffset) | 0, ecr: req.tsRecent } : null
      const window = req.rcvWnd >>> req.rcvWscale
      tcpV4SendAck(w, ns, s.slot, (req.sntIsn + 1) | 0, (req.rcvIsn + 1) | 0, window, req.listener.tos, ts)
      return R_TCP_STATE
    }
    case REQ_RESET:
      if ((s.flags & TCPHDR_RST) === 0) tcpV4SendReset(w, ns, s)
      req.drop()
      return (s.flags & TCPHDR_RST) === 0 ? R_TCP_STATE : R_TCP_RESET
    case REQ_CHILD:
      return synRecvSock(w, ns, req, s)
    default:
      return R_TCP_STATE
  }
}

/** tcp_v4_syn_recv_sock, inet_csk_complete_hashdance and tcp_child_process */
function synRecvSock(w: World, ns: Netns, req: RequestSock, s: Segment): number {
  const l = req.listener
  if (l.acceptQueue.length > l.maxAckBacklog) {
    ns.count('TcpExt.ListenOverflows')
    if (ns.sysctl.tcp_abort_on_overflow !== 0) {
      tcpV4SendReset(w, ns, s)
      req.drop()
    }
    return R_TCP_STATE
  }
  const sk = new TcpSock(ns, req.family)
  ns.sockets.byId.push(sk)
  sk.mapped = l.family !== req.family
  sk.v6only = l.v6only
  if (req.family === AF_INET6 && needsScopeId(w.in6, req.daddr)) sk.boundDev = req.rt.dev.id
  sk.listener = l
  sk.rcvSaddr = req.rcvSaddr
  sk.saddr = req.rcvSaddr
  sk.sport = req.sport
  sk.daddr = req.daddr
  sk.dport = req.dport
  sk.pmtudisc = l.pmtudisc
  sk.tos = sk.mapped ? 0 : l.tos
  sk.ttl = sk.mapped ? -1 : l.ttl
  sk.mark = req.mark
  sk.reuseAddr = l.reuseAddr
  sk.nodelay = l.nodelay
  sk.rt = req.rt
  sk.state = TCP_SYN_RECV
  sk.rcvNxt = (req.rcvIsn + 1) | 0
  sk.rcvWup = sk.rcvNxt
  sk.copiedSeq = sk.rcvNxt
  sk.iss = req.sntIsn
  const next = (req.sntIsn + 1) | 0
  sk.sndUna = next
  sk.sndNxt = next
  sk.sndSml = next
  sk.writeSeq = next
  sk.pushedSeq = next
  sk.sndWl1 = s.seq
  sk.sackOk = req.sackOk
  sk.wscaleOk = req.wscaleOk
  sk.sndWscale = req.sndWscale
  sk.rcvWscale = req.wscaleOk ? req.rcvWscale : 0
  sk.windowClamp = req.wscaleOk ? req.windowClamp : Math.min(req.windowClamp, 65535)
  sk.rcvSsthresh = req.rcvWnd
  sk.rcvWnd = req.rcvWnd
  sk.sndWnd = s.window * 2 ** sk.sndWscale
  sk.maxWindow = sk.sndWnd
  sk.tstampOk = req.tstampOk
  if (req.tstampOk) {
    sk.tsRecent = req.tsRecent
    sk.tsRecentValid = true
    sk.tcpHeaderLen = TCP_HEADER_BYTES + TCPOLEN_TSTAMP_ALIGNED
  }
  sk.adoptTsoffset(req.tsoffset)
  sk.mssClamp = req.mss
  sk.synackSentUs = req.numRetrans === 0 ? req.sentUs : -1
  tcpSyncMss(sk, req.rt.mtu())
  sk.advmss = req.rt.advmss()
  initializeRcvMss(sk)
  req.drop()
  hashEstablished(ns, sk)
  holdPort(ns, sk)
  l.acceptQueue.push(sk)
  const r = tcpRcvStateProcess(sk, s)
  l.wakeUp()
  if (r !== RX_RESET) return r
  tcpV4SendReset(w, ns, s)
  return R_TCP_STATE
}
