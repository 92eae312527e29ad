/**
 * ICMPv6 errors about packets, and their limits.
 *
 * Linux: net/ipv6/icmp.c (icmp6_send, icmpv6_xrlim_allow, icmpv6_global_allow, is_ineligible, icmpv6_route_lookup,
 * icmpv6_push_pending_frames, icmpv6_param_prob_reason), net/ipv6/route.c (ip6_link_failure). Receiving is in
 * icmp-input.ts. Not modelled: RFC 4884 extensions, home address options, the second lookup of icmpv6_route_lookup (xfrm).
 * Sources: RFC 4443 2.4.
 */
import {
  M_CT,
  M_DATA,
  M_DEV,
  M_ID,
  M_IIF,
  M_LEN,
  M_MARK,
  M_NH,
  M_PARENT,
  M_PKTTYPE,
  META_SHIFT,
  PACKET_HOST,
} from '../../packet/layout.ts'
import { foldChecksum, sumWords } from '../../wire/checksum.ts'
import { freeSkb } from '../core/skb.ts'
import { IFF_LOOPBACK } from '../device/device.ts'
import { nfCtAttach } from '../netfilter/conntrack/core.ts'
import type { Netns } from '../netns.ts'
import { inetPeerXrlimAllow, jiffiesAt, msToJiffies } from '../route/peer.ts'
import { T_CHILD, T_ICMP6_SEND } from '../trace.ts'
import type { World } from '../world.ts'
import { ipv6ChkAcastAddr, ipv6ChkAddr } from './addrconf.ts'
import { exthdr, IPPROTO_ICMPV6, ipv6SkipExthdr } from './exthdrs-core.ts'
import { Flowi6 } from './flow6.ts'
import { IPV6_ADDR_MULTICAST } from './in6.ts'
import { Ip6Message } from './message6.ts'
import { ip6LocalOut, ip6MakeSkb } from './output.ts'
import { ip6DstLookup, ip6RouteOutput } from './route.ts'
import type { Rt6 } from './rt6.ts'
import { needsScopeId } from './saddr.ts'

export const ICMPV6_DEST_UNREACH = 1
export const ICMPV6_PKT_TOOBIG = 2
export const ICMPV6_TIME_EXCEED = 3
export const ICMPV6_PARAMPROB = 4
export const ICMPV6_ADDR_UNREACH = 3
export const ICMPV6_PORT_UNREACH = 4
const ICMPV6_UNK_OPTION = 2
const ICMPV6_INFOMSG_MASK = 0x80
const HEADER_BYTES = 8
const IPV6_MIN_MTU = 1280

/** Room for any ICMPv6 message that the kernel makes: echo replies of 65,535 bytes. */
export const icmp6Buffer = new Uint8Array(65536)
/** The same bytes. */
export const icmp6View = new DataView(icmp6Buffer.buffer)

const flow = new Flowi6()
const limitFlow = new Flowi6()
const message = new Ip6Message()

/** icmpv6_global_allow. @returns 0 refused, 1 allowed without limits, 2 allowed and the peer's limit applies */
export function icmpv6GlobalAllow(ns: Netns, type: number): number {
  if (((ns.sysctl.ipv6.icmpRatemask[type >> 5]! >>> (type & 31)) & 1) === 0) return 1
  if (ns.icmpLimits.globalAllow()) return 2
  ns.count('Icmp6.OutRateLimitHost')
  return 0
}

/** icmpv6_xrlim_allow: the limit per destination. */
export function icmpv6XrlimAllow(w: World, ns: Netns, fl: Flowi6): boolean {
  const f = limitFlow.reset()
  f.daddr = fl.daddr
  f.saddr = fl.saddr
  f.oif = fl.oif
  f.mark = fl.mark
  f.proto = IPPROTO_ICMPV6
  const rt = ip6RouteOutput(ns, f)
  let ok = true
  if (rt.error !== 0) ok = false
  else if ((rt.dev.flags & IFF_LOOPBACK) === 0) {
    const now = jiffiesAt(w.nowNs)
    ok = inetPeerXrlimAllow(ns.fib6.peers.get(fl.daddr, now), now, msToJiffies(ns.sysctl.ipv6.icmp_ratelimit))
  }
  if (ok) ns.icmpLimits.globalConsume()
  return ok
}

/** is_ineligible: the packet at M_NH is itself an ICMPv6 error. */
function ineligible(w: World, nh: number, end: number): boolean {
  const v = w.arena.view
  if (nh + 40 > end) return true
  const at = ipv6SkipExthdr(v, nh + 40, end, v.getUint8(nh + 6))
  if (at < 0 || exthdr.nexthdr !== IPPROTO_ICMPV6) return false
  if (at >= end) return exthdr.fragOff === 0
  return (v.getUint8(at) & ICMPV6_INFOMSG_MASK) === 0
}

/** opt_unrec: the option that could not be understood wants an answer even to multicast. */
function optUnrec(w: World, nh: number, end: number, info: number): boolean {
  const at = nh + info
  return at < end && (w.arena.view.getUint8(at) & 0xc0) === 0x80
}

/** icmpv6_param_prob_reason: tells, and ends the packet. */
export function icmpv6ParamProb(w: World, slot: number, code: number, pointer: number, reason: number): void {
  icmpv6Send(w, slot, ICMPV6_PARAMPROB, code, pointer)
  freeSkb(w, slot, reason)
}

/**
 * icmpv6_send: an error about `slotIn`, which stays the caller's.
 * @param info the word behind the checksum: MTU, pointer, else 0
 */
export function icmpv6Send(w: World, slotIn: number, type: number, code: number, info: number): void {
  const a = w.arena
  const meta = a.meta
  const m = slotIn << META_SHIFT
  const v = a.view
  const in6 = w.in6
  const dev = w.devices[meta[m + M_DEV]!] ?? null
  if (dev === null) return
  const ns = dev.ns
  const nh = meta[m + M_NH]!
  const end = meta[m + M_DATA]! + meta[m + M_LEN]!
  if (nh + 40 > end) return
  const daddr = in6.read(v, nh + 24)
  const peer = in6.read(v, nh + 8)
  let saddr = 0
  if (ipv6ChkAddr(ns, daddr, dev) || ipv6ChkAcastAddr(ns, dev, daddr)) saddr = daddr
  if (in6.isMulticast(daddr) || meta[m + M_PKTTYPE] !== PACKET_HOST) {
    const unknown = type === ICMPV6_PARAMPROB && code === ICMPV6_UNK_OPTION && optUnrec(w, nh, end, info)
    if (type !== ICMPV6_PKT_TOOBIG && !unknown) return
    saddr = 0
  }
  if (peer === 0 || (in6.type(peer) & IPV6_ADDR_MULTICAST) !== 0) return
  if (ineligible(w, nh, end)) return
  let allowed = 1
  if ((dev.flags & IFF_LOOPBACK) === 0) allowed = icmpv6GlobalAllow(ns, type)
  if (allowed === 0 || ns.icmpLimits.sending) return
  const fl = flow.reset()
  fl.daddr = peer
  fl.saddr = saddr
  fl.proto = IPPROTO_ICMPV6
  fl.icmpType = type
  fl.icmpCode = code
  fl.mark = ns.sysctl.ipv6.fwmark_reflect !== 0 ? meta[m + M_MARK]! : 0
  if (needsScopeId(in6, peer)) fl.oif = icmp6Iif(w, slotIn)
  if (allowed === 2 && !icmpv6XrlimAllow(w, ns, fl)) return
  const rt = ip6DstLookup(ns, fl)
  if (rt.error !== 0) return
  // icmpv6_route_lookup: nothing is said to an anycast address
  if (rt.isAnycast && ns.sysctl.ipv6.icmp_error_anycast_as_unicast === 0) return
  const quoted = Math.min(end - nh, IPV6_MIN_MTU - 40 - HEADER_BYTES)
  icmp6Buffer[0] = type
  icmp6Buffer[1] = code
  icmp6View.setUint16(2, 0)
  icmp6View.setInt32(4, info)
  icmp6Buffer.set(a.bytes.subarray(nh, nh + quoted), HEADER_BYTES)
  if (w.tracer !== null) w.tracer.step(T_ICMP6_SEND, slotIn, ns, dev, type, code, info, null)
  icmpv6Push(w, ns, rt, fl, 0, HEADER_BYTES + quoted, slotIn)
}

/** icmp6_iif: the device that a packet counts as received by; for looped ones the address's. */
export function icmp6Iif(w: World, slot: number): number {
  const m = slot << META_SHIFT
  const iif = w.arena.meta[m + M_DEV]!
  const dev = w.devices[iif] ?? null
  if (dev === null) return w.arena.meta[m + M_IIF]!
  if ((dev.flags & IFF_LOOPBACK) === 0) return iif
  const rt = w.arena.dst[slot] as Rt6 | null
  return rt === null ? iif : rt.idev.id
}

/**
 * ip6_append_data and icmpv6_push_pending_frames: checksums `length` bytes of icmp6Buffer and sends them.
 * @param about slot of the packet that an error is about (its conntrack entry is inherited), -1 for replies
 */
export function icmpv6Push(
  w: World,
  ns: Netns,
  rt: Rt6,
  fl: Flowi6,
  tclass: number,
  length: number,
  about: number,
): void {
  const sum = sumWords(icmp6View, 0, length, w.in6.pseudoSum(fl.saddr, fl.daddr, IPPROTO_ICMPV6, length))
  icmp6View.setUint16(2, foldChecksum(sum))
  const msg = message
  msg.rt = rt
  msg.fl = fl
  msg.proto = IPPROTO_ICMPV6
  msg.tclass = tclass
  msg.hoplimit = -1
  msg.bytes = icmp6Buffer
  msg.length = length
  msg.mark = fl.mark
  const slot = ip6MakeSkb(w, ns, msg)
  if (slot < 0) return
  if (about >= 0) {
    const from = about << META_SHIFT
    if (w.tracer !== null) {
      const dev = w.devices[w.arena.meta[from + M_DEV]!] ?? null
      w.tracer.step(T_CHILD, about, ns, dev, w.arena.meta[(slot << META_SHIFT) + M_ID]!, 0, 0, null)
    }
    w.arena.meta[(slot << META_SHIFT) + M_PARENT] = w.arena.meta[from + M_ID]!
    if (w.arena.meta[from + M_CT] !== 0) nfCtAttach(w, ns, slot, about)
  }
  // local_bh_disable + icmpv6_xmit_lock
  const wasSoftirq = w.inSoftirq
  w.inSoftirq = true
  ns.icmpLimits.sending = true
  ip6LocalOut(w, ns, slot)
  ns.icmpLimits.sending = false
  w.inSoftirq = wasSoftirq
  w.softirq()
}

/** ip6_link_failure: the next hop of a queued packet does not answer; the slot stays the caller's. */
export function ip6LinkFailure(w: World, slot: number): void {
  icmpv6Send(w, slot, ICMPV6_DEST_UNREACH, ICMPV6_ADDR_UNREACH, 0)
}
