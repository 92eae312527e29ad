/**
 * ICMPv6 input: echo replies, errors to the sockets they concern, neighbour discovery.
 *
 * Linux: net/ipv6/icmp.c (icmpv6_rcv, icmpv6_echo_reply, icmpv6_notify, icmpv6_err_convert). Not modelled: MLD queries
 * (a multicast router's business), node information, extended echo, ping sockets.
 */
import { M_DATA, M_DEV, M_LEN, M_MARK, M_NH, M_PKTTYPE, META_SHIFT, PACKET_HOST } from '../../packet/layout.ts'
import { internetChecksum } from '../../wire/checksum.ts'
import { consumeSkb, freeSkb } from '../core/skb.ts'
import type { Netns } from '../netns.ts'
import { R_ECHO_IGNORED, R_L4_CSUM, R_L4_HDR, R_UNMODELLED } from '../reasons.ts'
import { raw6Err } from '../socket/raw6.ts'
import { tcpV6Err } from '../socket/tcp-ipv6.ts'
import { udpV6Err } from '../socket/udp6.ts'
import { T_ICMP6_SEND } from '../trace.ts'
import type { World } from '../world.ts'
import { ip6Redirect, ip6UpdatePmtu } from './exception.ts'
import { exthdr, IPPROTO_ICMPV6, ipv6ExtHdr, ipv6SkipExthdr } from './exthdrs-core.ts'
import { Flowi6 } from './flow6.ts'
import {
  ICMPV6_PKT_TOOBIG,
  icmp6Buffer,
  icmp6Iif,
  icmp6View,
  icmpv6GlobalAllow,
  icmpv6Push,
  icmpv6XrlimAllow,
} from './icmp.ts'
import { ndiscRcv } from './ndisc-input.ts'
import { ip6DstLookup } from './route.ts'
import type { Rt6 } from './rt6.ts'

const ECHO_REQUEST = 128
const ECHO_REPLY = 129
const MLD_QUERY = 130
const NDISC_ROUTER_SOLICITATION = 133
const NDISC_REDIRECT = 137
const IPPROTO_TCP = 6
const IPPROTO_UDP = 17

const flow = new Flowi6()

/** icmpv6_rcv: M_DATA at the ICMPv6 header. Takes the slot. */
export function icmpv6Rcv(w: World, ns: Netns, slot: number): void {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const at = meta[m + M_DATA]!
  const len = meta[m + M_LEN]!
  const nh = meta[m + M_NH]!
  ns.count('Icmp6.InMsgs')
  const saddr = w.in6.read(v, nh + 8)
  const daddr = w.in6.read(v, nh + 24)
  if (internetChecksum(v, at, len, w.in6.pseudoSum(saddr, daddr, IPPROTO_ICMPV6, len)) !== 0) {
    ns.count('Icmp6.InCsumErrors')
    inputError(w, ns, slot, R_L4_CSUM)
    return
  }
  if (len < 8) {
    inputError(w, ns, slot, R_L4_HDR)
    return
  }
  const type = v.getUint8(at)
  if (type === ECHO_REQUEST) {
    if (ns.sysctl.ipv6.icmp_echo_ignore_all !== 0) freeSkb(w, slot, R_ECHO_IGNORED)
    else if (echoReply(w, ns, slot, saddr, daddr)) consumeSkb(w, slot)
    else freeSkb(w, slot, R_ECHO_IGNORED)
  } else if (type >= 1 && type <= 4) {
    notify(w, ns, slot, type, v.getUint8(at + 1), v.getUint32(at + 4), at + 8)
    consumeSkb(w, slot)
  } else if (type >= NDISC_ROUTER_SOLICITATION && type <= NDISC_REDIRECT) ndiscRcv(w, ns, slot)
  else if (type === MLD_QUERY) freeSkb(w, slot, R_UNMODELLED, type, 'MLD query')
  // raw sockets have had echo replies; reports are a router's; unknown informational messages go to nobody
  else if (type >= 128) consumeSkb(w, slot)
  else {
    // an unknown error goes to the upper layer (RFC 4443 2.4 a)
    notify(w, ns, slot, type, v.getUint8(at + 1), v.getUint32(at + 4), at + 8)
    consumeSkb(w, slot)
  }
}

function inputError(w: World, ns: Netns, slot: number, reason: number): void {
  ns.count('Icmp6.InErrors')
  freeSkb(w, slot, reason)
}

/** icmpv6_echo_reply. @returns false when the request is not answered */
function echoReply(w: World, ns: Netns, slot: number, saddr: number, daddr: number): boolean {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = meta[m + M_NH]!
  const at = meta[m + M_DATA]!
  const len = meta[m + M_LEN]!
  const rt = w.arena.dst[slot] as Rt6 | null
  if (w.in6.isMulticast(daddr) && ns.sysctl.ipv6.icmp_echo_ignore_multicast !== 0) return false
  const anycast = rt?.isAnycast === true
  if (anycast && ns.sysctl.ipv6.icmp_echo_ignore_anycast !== 0) return false
  const own = rt?.isLocal === true || (anycast && ns.sysctl.ipv6.anycast_src_echo_reply !== 0)
  const allowed = icmpv6GlobalAllow(ns, ECHO_REPLY)
  if (allowed === 0 || ns.icmpLimits.sending) return false
  const vcf = v.getInt32(nh)
  const fl = flow.reset()
  fl.proto = IPPROTO_ICMPV6
  fl.daddr = saddr
  fl.saddr = own ? daddr : 0
  fl.oif = icmp6Iif(w, slot)
  fl.icmpType = ECHO_REPLY
  fl.mark = ns.sysctl.ipv6.fwmark_reflect !== 0 ? meta[m + M_MARK]! : 0
  if ((ns.sysctl.ipv6.flowlabel_reflect & 4) !== 0) fl.flowlabel = vcf & 0xfffff
  const out = ip6DstLookup(ns, fl)
  if (out.error !== 0) return false
  if (allowed === 2 && !icmpv6XrlimAllow(w, ns, fl)) return false
  icmp6Buffer.set(w.arena.bytes.subarray(at, at + len))
  icmp6Buffer[0] = ECHO_REPLY
  icmp6View.setUint16(2, 0)
  if (w.tracer !== null) {
    w.tracer.step(T_ICMP6_SEND, slot, ns, w.devices[meta[m + M_DEV]!] ?? null, ECHO_REPLY, 0, 0, null)
  }
  icmpv6Push(w, ns, out, fl, (vcf >>> 20) & 0xff, len, -1)
  return true
}

/**
 * icmpv6_notify: an error about a packet of this host.
 * @param inner absolute offset of the quoted IPv6 header
 */
export function notify(
  w: World,
  ns: Netns,
  slot: number,
  type: number,
  code: number,
  info: number,
  inner: number,
): void {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const end = meta[m + M_DATA]! + meta[m + M_LEN]!
  if (meta[m + M_PKTTYPE] !== PACKET_HOST && type === ICMPV6_PKT_TOOBIG) return
  if (inner + 40 > end) {
    ns.count('Icmp6.InErrors')
    return
  }
  let nexthdr = v.getUint8(inner + 6)
  let th = inner + 40
  if (ipv6ExtHdr(nexthdr)) {
    th = ipv6SkipExthdr(v, th, end, nexthdr)
    if (th < 0 || (exthdr.fragOff & ~7) !== 0) {
      ns.count('Icmp6.InErrors')
      return
    }
    nexthdr = exthdr.nexthdr
  }
  // checkin header including 8 bytes of inner protocol header
  if (th + 8 > end) {
    ns.count('Icmp6.InErrors')
    return
  }
  if (nexthdr === IPPROTO_UDP) udpV6Err(w, ns, slot, type, code, info, inner, th)
  else if (nexthdr === IPPROTO_TCP) tcpV6Err(w, ns, slot, type, code, info, inner, th)
  else if (nexthdr === IPPROTO_ICMPV6) icmpErr(w, ns, slot, type, info, inner)
  raw6Err(w, ns, slot, nexthdr, type, code, info, inner)
}

/** icmpv6_err: about an ICMPv6 message of the kernel or of a socket: only the path matters. */
function icmpErr(w: World, ns: Netns, slot: number, type: number, info: number, inner: number): void {
  const dev = w.arena.meta[(slot << META_SHIFT) + M_DEV]!
  if (type === ICMPV6_PKT_TOOBIG) ip6UpdatePmtu(w, ns, inner, info, dev, 0)
  else if (type === NDISC_REDIRECT) ip6Redirect(w, ns, slot, inner, dev)
}
