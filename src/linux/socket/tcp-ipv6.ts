/**
 * TCP over IPv6: receiving segments, answers without a socket, ICMPv6 errors. The machine itself is the one of IPv4; a
 * socket of AF_INET6 has In6Table ids for addresses.
 *
 * Linux: net/ipv6/tcp_ipv6.c (tcp_v6_rcv, tcp_v6_send_response, tcp_v6_err, tcp_v6_mtu_reduced). Not modelled: what
 * tcp-ipv4.ts does not model, flow labels of connections, reflected traffic classes.
 */
import { M_DATA, M_DEV, M_LEN, M_MARK, M_NH, M_PKTTYPE, M_TH, META_SHIFT, PACKET_HOST } from '../../packet/layout.ts'
import { freeSkb } from '../core/skb.ts'
import { ip6Redirect } from '../ipv6/exception.ts'
import { Flowi6 } from '../ipv6/flow6.ts'
import { AF_INET6 } from '../ipv6/in6.ts'
import { Ip6Message } from '../ipv6/message6.ts'
import { ip6MakeAndSend } from '../ipv6/output.ts'
import { ip6DstLookup } from '../ipv6/route.ts'
import { needsScopeId } from '../ipv6/saddr.ts'
import type { Netns } from '../netns.ts'
import { R_L4_CSUM, R_L4_HDR, R_OTHERHOST } from '../reasons.ts'
import type { World } from '../world.ts'
import { transportChecksum6 } from './checksum.ts'
import { converted, ICMPV6_PKT_TOOBIG, icmpv6ErrConvert, NDISC_REDIRECT } from './icmp6-errors.ts'
import { IPPROTO_TCP } from './sock.ts'
import { after, before, TCP_CLOSE, TCP_HEADER_BYTES, TCP_LISTEN, TCP_SYN_RECV, TCP_SYN_SENT } from './tcp-const.ts'
import { tcpRcv, tcpV4MtuReduced } from './tcp-ipv4.ts'
import { doneWithError, isRequest, isTimewait, lookupEstablished } from './tcp-state.ts'

const fl = new Flowi6()
const reply = new Ip6Message()

/** tcp_v6_rcv: M_DATA at the TCP header. Takes the slot. */
export function tcpV6Rcv(w: World, ns: Netns, slot: number): void {
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
  const saddr = w.in6.read(v, nh + 8)
  const daddr = w.in6.read(v, nh + 24)
  if (transportChecksum6(w, a.bytes, th, len, saddr, daddr, IPPROTO_TCP) !== 0) {
    ns.count('Tcp.InCsumErrors')
    freeSkb(w, slot, R_L4_CSUM)
    return
  }
  a.meta[m + M_TH] = th
  tcpRcv(w, ns, slot, head, saddr, daddr, AF_INET6)
}

/**
 * tcp_v6_send_response: addresses and ports of the packet in `slot`, turned round; sequence numbers and options already
 * stand in `bytes`.
 * @param tclass -1 takes the packet's
 */
export function tcpV6SendResponse(
  w: World,
  ns: Netns,
  slot: number,
  bytes: Uint8Array,
  flags: number,
  window: number,
  len: number,
  tclass: number,
): void {
  const a = w.arena
  const m = slot << META_SHIFT
  const nh = a.meta[m + M_NH]!
  const th = a.meta[m + M_TH]!
  const v = a.view
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  fl.reset()
  fl.daddr = w.in6.read(v, nh + 8)
  fl.saddr = w.in6.read(v, nh + 24)
  if (w.in6.isMulticast(fl.saddr)) return
  fl.proto = IPPROTO_TCP
  fl.sport = v.getUint16(th + 2)
  fl.dport = v.getUint16(th)
  fl.mark = ns.sysctl.ipv6.fwmark_reflect !== 0 ? a.meta[m + M_MARK]! : 0
  if (needsScopeId(w.in6, fl.daddr)) fl.oif = a.meta[m + M_DEV]!
  view.setUint16(0, fl.sport)
  view.setUint16(2, fl.dport)
  view.setUint8(12, len << 2)
  view.setUint8(13, flags)
  view.setUint16(14, window)
  view.setInt32(16, 0)
  view.setUint16(16, transportChecksum6(w, bytes, 0, len, fl.saddr, fl.daddr, IPPROTO_TCP))
  const rt = ip6DstLookup(ns, fl)
  if (rt.error !== 0) return
  const t = tclass >= 0 ? tclass : (v.getInt32(nh) >>> 20) & 0xff
  reply.rt = rt
  reply.fl = fl
  reply.proto = IPPROTO_TCP
  reply.tclass = t & ~3
  reply.hoplimit = -1
  reply.bytes = bytes
  reply.length = len
  reply.sk = 0
  reply.mark = fl.mark
  reply.txhash = tclass >= 0
  ip6MakeAndSend(w, ns, reply)
}

/** tcp_v6_err: an ICMPv6 error about a segment of ours, quoted at `inner`, its TCP header at `th`; the slot is not taken. */
export function tcpV6Err(
  w: World,
  ns: Netns,
  slot: number,
  type: number,
  code: number,
  info: number,
  inner: number,
  th: number,
): void {
  const v = w.arena.view
  const saddr = w.in6.read(v, inner + 8)
  const daddr = w.in6.read(v, inner + 24)
  const e = lookupEstablished(ns, saddr, v.getUint16(th), daddr, v.getUint16(th + 2), AF_INET6)
  if (e === null) {
    ns.count('Icmp6.InErrors')
    return
  }
  if (isTimewait(e)) return
  const seq = v.getInt32(th + 4)
  icmpv6ErrConvert(type, code)
  if (isRequest(e)) {
    if (seq === e.sntIsn && converted.hard) e.drop()
    return
  }
  const sk = e
  if (sk.state === TCP_CLOSE || before(seq, sk.sndUna) || after(seq, sk.sndNxt)) return
  if (type === NDISC_REDIRECT) {
    if (!sk.owned) ip6Redirect(w, ns, slot, inner, w.arena.meta[(slot << META_SHIFT) + M_DEV]!)
    return
  }
  if (type === ICMPV6_PKT_TOOBIG) {
    if (sk.state === TCP_LISTEN || sk.pmtudisc === 4) return
    if (sk.owned) sk.deferredMtu = info
    else tcpV4MtuReduced(sk, info)
    return
  }
  if (sk.state === TCP_SYN_SENT || sk.state === TCP_SYN_RECV) {
    if (!sk.owned) doneWithError(sk, converted.err)
    else sk.errSoft = converted.err
    return
  }
  if (!sk.owned && sk.recvErr) {
    sk.err = converted.err
    sk.wakeUp()
  } else sk.errSoft = converted.err
}
