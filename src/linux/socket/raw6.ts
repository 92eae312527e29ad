/**
 * Raw IPv6 sockets: what ping(8) uses for ICMPv6.
 *
 * Linux: net/ipv6/raw.c (rawv6_sendmsg, rawv6_bind, ipv6_raw_deliver, rawv6_err). The kernel fills in the checksum of
 * ICMPv6. Not modelled: IPV6_HDRINCL, IPV6_CHECKSUM of other protocols, extension headers set by the socket.
 */
import { M_DATA, M_DEV, M_LEN, M_NH, META_SHIFT } from '../../packet/layout.ts'
import { EADDRNOTAVAIL, EINVAL, EMSGSIZE, ENOBUFS } from '../errno.ts'
import { IPPROTO_ICMPV6 } from '../ipv6/exthdrs-core.ts'
import { Flowi6 } from '../ipv6/flow6.ts'
import { Ip6Message } from '../ipv6/message6.ts'
import { ip6AppendRefuses, ip6MakeAndSend } from '../ipv6/output.ts'
import { ip6DstLookup } from '../ipv6/route.ts'
import { needsScopeId } from '../ipv6/saddr.ts'
import type { Netns } from '../netns.ts'
import { T_SOCK } from '../trace.ts'
import type { World } from '../world.ts'
import { transportChecksum6 } from './checksum.ts'
import { converted, ICMPV6_PKT_TOOBIG, icmpv6ErrConvert, NDISC_REDIRECT } from './icmp6-errors.ts'
import type { RawSock } from './raw.ts'
import { frameTruesize } from './udp-sock.ts'
import { bindable6 } from './udp6.ts'

const fl = new Flowi6()
const message = new Ip6Message()

/** rawv6_bind. @returns 0, -EADDRNOTAVAIL or -EINVAL (a link-local address without its device) */
export function raw6Bind(sk: RawSock, addr: number, dev = -1): number {
  if (needsScopeId(sk.ns.world.in6, addr)) {
    if (dev < 0) return EINVAL
    sk.boundDev = dev
  }
  if (!bindable6(sk.ns, addr, dev)) return EADDRNOTAVAIL
  sk.rcvSaddr = addr
  sk.saddr = sk.ns.world.in6.isMulticast(addr) ? 0 : addr
  return 0
}

/**
 * rawv6_sendmsg: `data` is the transport header and payload; the checksum of ICMPv6 is filled in, in `data` itself.
 * @param dev scope of a link-local destination, -1 none
 * @returns bytes or a negative errno
 */
export function raw6Sendmsg(sk: RawSock, data: Uint8Array, dst: number, dev = -1): number {
  const ns = sk.ns
  const w = ns.world
  if (data.length > 0xffff) return EMSGSIZE
  fl.reset()
  fl.daddr = dst === 0 ? w.in6.intern(0, 0, 0, 1) : dst
  fl.saddr = sk.saddr
  fl.mark = sk.mark
  fl.tclass = sk.tos
  fl.proto = sk.protocol
  fl.oif = sk.boundDev >= 0 ? sk.boundDev : needsScopeId(w.in6, dst) || w.in6.isMulticast(dst) ? dev : -1
  if (sk.protocol === IPPROTO_ICMPV6 && data.length >= 2) {
    fl.icmpType = data[0]!
    fl.icmpCode = data[1]!
  }
  const rt = ip6DstLookup(ns, fl)
  if (rt.error !== 0) return rt.error
  message.rt = rt
  message.fl = fl
  message.proto = sk.protocol
  message.tclass = sk.tos
  message.hoplimit = w.in6.isMulticast(fl.daddr) ? 1 : sk.ttl
  message.pmtudisc = sk.pmtudisc
  message.bytes = data
  message.length = data.length
  message.sk = sk.id
  message.mark = sk.mark
  message.csumNone = sk.protocol !== IPPROTO_ICMPV6
  const refused = ip6AppendRefuses(message)
  if (refused !== 0) return refused
  const e = sk.takeError()
  if (e < 0) return e
  if (sk.protocol === IPPROTO_ICMPV6) {
    // rawv6_push_pending_frames
    if (data.length < 4) return EINVAL
    data[2] = 0
    data[3] = 0
    const check = transportChecksum6(w, data, 0, data.length, fl.saddr, fl.daddr, IPPROTO_ICMPV6)
    data[2] = check >> 8
    data[3] = check & 0xff
  }
  const r = ip6MakeAndSend(w, ns, message)
  return r < 0 && (r !== ENOBUFS || sk.recvErr) ? r : data.length
}

function matches(sk: RawSock, raddr: number, laddr: number, dev: number): boolean {
  if (sk.boundDev >= 0 && sk.boundDev !== dev) return false
  return (sk.daddr === 0 || sk.daddr === raddr) && (sk.rcvSaddr === 0 || sk.rcvSaddr === laddr)
}

/**
 * raw6_local_deliver: gives copies to raw sockets; M_DATA at the transport header, the slot is not taken.
 * @returns whether a socket of this protocol matched
 */
export function raw6LocalDeliver(w: World, ns: Netns, slot: number, proto: number): boolean {
  const list = ns.sockets.raw6.get(proto)
  if (list === undefined || list.length === 0) return false
  const a = w.arena
  const m = slot << META_SHIFT
  const nh = a.meta[m + M_NH]!
  const th = a.meta[m + M_DATA]!
  const end = th + a.meta[m + M_LEN]!
  const saddr = w.in6.read(a.view, nh + 8)
  const daddr = w.in6.read(a.view, nh + 24)
  let delivered = false
  for (const sk of list) {
    if (!matches(sk, saddr, daddr, a.meta[m + M_DEV]!)) continue
    delivered = true
    if (proto === IPPROTO_ICMPV6) {
      const type = a.bytes[th]!
      if (end - th < 8 || sk.icmp6Blocks(type)) continue
    }
    if (sk.rmem > sk.rcvbuf) continue
    const truesize = frameTruesize(end - nh)
    sk.rmem += truesize
    if (w.tracer !== null) w.tracer.step(T_SOCK, slot, ns, null, sk.id, proto, 0, sk)
    sk.queue.push({ from: saddr, packet: a.bytes.slice(th, end), hoplimit: a.bytes[nh + 7]!, atNs: w.nowNs, truesize })
    sk.wakeUp()
  }
  return delivered
}

/** rawv6_err: an ICMPv6 error about a packet of a raw socket; the slot is not taken. */
export function raw6Err(
  w: World,
  ns: Netns,
  slot: number,
  proto: number,
  type: number,
  code: number,
  _info: number,
  inner: number,
): void {
  const list = ns.sockets.raw6.get(proto)
  if (list === undefined) return
  const v = w.arena.view
  const saddr = w.in6.read(v, inner + 8)
  const daddr = w.in6.read(v, inner + 24)
  const dev = w.arena.meta[(slot << META_SHIFT) + M_DEV]!
  for (const sk of list) {
    if (!matches(sk, daddr, saddr, dev) || (!sk.recvErr && sk.daddr === 0) || type === NDISC_REDIRECT) continue
    icmpv6ErrConvert(type, code)
    const hard = type === ICMPV6_PKT_TOOBIG ? sk.pmtudisc === 2 : converted.hard
    if (!sk.recvErr && !hard) continue
    sk.err = converted.err
    sk.wakeUp()
  }
}
