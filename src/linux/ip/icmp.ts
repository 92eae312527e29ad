/**
 * ICMP: errors about packets, and their limits.
 *
 * Linux: net/ipv4/icmp.c (__icmp_send, icmpv4_global_allow, icmpv4_xrlim_allow, icmp_route_lookup, icmp_push_reply),
 * net/ipv4/route.c (ipv4_link_failure). Receiving is in icmp-input.ts.
 * Not modelled: extended echo (PROBE), the second lookup of icmp_route_lookup (only xfrm uses its result), RFC 4884
 * extensions (icmp_errors_extension_mask).
 * Sources: RFC 792, RFC 1122 3.2.2, RFC 1812 4.3.
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
import { IFF_LOOPBACK, RT_SCOPE_LINK } from '../device/device.ts'
import { inetSelectAddr } from '../device/inet.ts'
import { nfCtAttach } from '../netfilter/conntrack/core.ts'
import type { Netns } from '../netns.ts'
import { Flowi4 } from '../route/flow.ts'
import { ipRouteOutput } from '../route/output-route.ts'
import { HZ, inetPeerXrlimAllow, jiffiesAt, msToJiffies } from '../route/peer.ts'
import type { Rtable } from '../route/rtable.ts'
import { RTCF_BROADCAST, RTCF_MULTICAST } from '../route/rtn.ts'
import { T_CHILD, T_ICMP_SEND } from '../trace.ts'
import type { World } from '../world.ts'
import { EchoedOptions } from './echoed-options.ts'
import { icmpBuffer, icmpView } from './icmp-buffer.ts'
import { icmpIsError, NR_ICMP_TYPES } from './icmp-stats.ts'
import { IP_PMTUDISC_DONT, IpMessage } from './message.ts'
import { ipOptionsCompile, ipOptionsEcho } from './options.ts'
import { ipLocalOut, ipMakeSkb } from './output.ts'

export { icmpRcv } from './icmp-input.ts'

const ICMP_DEST_UNREACH = 3
const ICMP_HOST_UNREACH = 1
const ICMP_FRAG_NEEDED = 4
const IPPROTO_ICMP = 1
const IPTOS_RT_MASK = 0x1e
const IPTOS_PREC_INTERNETCONTROL = 0xc0
const ICMP_HEADER_BYTES = 8
const ICMP_MAX_BYTES = 576
/** INADDR_DUMMY (192.0.0.8): the source of errors of a host without an address. */
const INADDR_DUMMY = 0xc0000008 | 0

/** Rate limits of a namespace's ICMP: icmp_global_credit and its stamp. */
export class IcmpLimits {
  readonly ns: Netns
  private credit = 0
  private stamp = 0
  /** Set while an ICMP message is on its way out: an error about it is not sent (icmp_xmit_lock). */
  sending = false

  constructor(ns: Netns) {
    this.ns = ns
  }

  /** icmp_global_allow */
  globalAllow(): boolean {
    if (this.credit > 0) return true
    const now = jiffiesAt(this.ns.world.nowNs)
    const delta = Math.min(now - this.stamp, HZ)
    if (delta < HZ / 50) return false
    const incr = Math.floor((this.ns.sysctl.icmp_msgs_per_sec * delta) / HZ)
    if (incr === 0) return false
    this.stamp = now
    this.credit = Math.min(this.credit + incr, this.ns.sysctl.icmp_msgs_burst)
    return true
  }

  /** icmp_global_consume: one credit on average, so that nobody can count them from outside. */
  globalConsume(): void {
    this.credit -= this.ns.world.random.below(3)
  }
}

/** icmpv4_mask_allow: types that no limit applies to. */
function maskAllow(ns: Netns, type: number, code: number): boolean {
  if (type > NR_ICMP_TYPES) return true
  if (type === ICMP_DEST_UNREACH && code === ICMP_FRAG_NEEDED) return true
  return ((1 << type) & ns.sysctl.icmp_ratemask) === 0
}

/** icmpv4_global_allow. @returns 0 refused, 1 allowed without limits, 2 allowed and the peer's limit applies */
export function icmpGlobalAllow(ns: Netns, type: number, code: number): number {
  if (maskAllow(ns, type, code)) return 1
  if (ns.icmpLimits.globalAllow()) return 2
  ns.count('Icmp.OutRateLimitGlobal')
  return 0
}

/** icmpv4_xrlim_allow: the limit per destination. */
export function icmpXrlimAllow(w: World, ns: Netns, rt: Rtable, daddr: number): boolean {
  let ok = true
  if ((rt.dev.flags & IFF_LOOPBACK) === 0) {
    const now = jiffiesAt(w.nowNs)
    ok = inetPeerXrlimAllow(ns.fib.peers.get(daddr, now), now, msToJiffies(ns.sysctl.icmp_ratelimit))
  }
  if (ok) ns.icmpLimits.globalConsume()
  else ns.count('Icmp.OutRateLimitHost')
  return ok
}

const flow = new Flowi4()
const message = new IpMessage()
const echoed = new EchoedOptions()

/**
 * icmp_send: an error about `slotIn`, which stays the caller's and must have its routing decision (arena.dst).
 * @param info the word behind the checksum: the MTU for fragmentation needed, the gateway of a redirect, else 0;
 *   for parameter problem the pointer in its upper byte
 */
export function icmpSend(w: World, slotIn: number, type: number, code: number, info: number): void {
  const a = w.arena
  const meta = a.meta
  const m = slotIn << META_SHIFT
  const rtIn = a.dst[slotIn] as Rtable | null
  if (rtIn === null) return
  const ns = rtIn.dev.ns
  const v = a.view
  const nh = meta[m + M_NH]!
  const end = meta[m + M_DATA]! + meta[m + M_LEN]!
  if (nh + 20 > end || meta[m + M_PKTTYPE] !== PACKET_HOST) return
  if ((rtIn.flags & (RTCF_BROADCAST | RTCF_MULTICAST)) !== 0) return
  if ((v.getUint16(nh + 6) & 0x1fff) !== 0) return
  if (icmpIsError(type) && v.getUint8(nh + 9) === IPPROTO_ICMP) {
    const inner = nh + ((v.getUint8(nh) & 15) << 2)
    if (inner >= end) return
    const innerType = v.getUint8(inner)
    if (innerType > NR_ICMP_TYPES || icmpIsError(innerType)) return
  }
  const devIn = meta[m + M_DEV]! < 0 ? null : (w.devices[meta[m + M_DEV]!] ?? null)
  let allowed = 1
  if (devIn === null || (devIn.flags & IFF_LOOPBACK) === 0) allowed = icmpGlobalAllow(ns, type, code)
  if (allowed === 0 || ns.icmpLimits.sending) return
  const iphSaddr = v.getInt32(nh + 12)
  let saddr = v.getInt32(nh + 16)
  if (!rtIn.isLocal) {
    saddr = 0
    if (rtIn.isInput && ns.sysctl.icmp_errors_use_inbound_ifaddr !== 0) {
      const dev = w.devices[rtIn.iif >= 0 ? rtIn.iif : meta[m + M_IIF]!]
      if (dev != null) saddr = inetSelectAddr(ns, dev, iphSaddr, RT_SCOPE_LINK)
    }
  }
  const tosIn = v.getUint8(nh + 1)
  const tos = icmpIsError(type) ? (tosIn & IPTOS_RT_MASK) | IPTOS_PREC_INTERNETCONTROL : tosIn
  const mark = ns.sysctl.fwmark_reflect !== 0 ? meta[m + M_MARK]! : 0
  if (!ipOptionsEcho(w, ns, slotIn, echoed)) return
  const fl = flow.reset()
  fl.daddr = echoed.srr !== 0 ? echoed.faddr : iphSaddr
  fl.saddr = saddr
  fl.mark = mark
  fl.tos = tos & 0xfc
  fl.proto = IPPROTO_ICMP
  const rt = ipRouteOutput(ns, fl)
  if (rt === null) return
  if (allowed === 2 && !icmpXrlimAllow(w, ns, rt, fl.daddr)) return
  const room = Math.min(rt.mtu(), ICMP_MAX_BYTES) - 20 - echoed.optlen - ICMP_HEADER_BYTES
  if (room <= 20) return
  const quoted = Math.min(end - nh, room)
  if (fl.saddr === 0) fl.saddr = INADDR_DUMMY
  icmpBuffer[0] = type
  icmpBuffer[1] = code
  icmpView.setUint16(2, 0)
  icmpView.setInt32(4, info)
  icmpBuffer.set(a.bytes.subarray(nh, nh + quoted), ICMP_HEADER_BYTES)
  if (w.tracer !== null) w.tracer.step(T_ICMP_SEND, slotIn, ns, devIn, type, code, info, null)
  icmpPush(w, ns, rt, fl, tos, mark, ICMP_HEADER_BYTES + quoted, echoed, slotIn)
}

/**
 * icmp_push_reply: checksums `length` bytes of icmpBuffer and sends them.
 * @param about slot of the packet that an error is about (its conntrack entry is inherited), -1 for replies
 */
export function icmpPush(
  w: World,
  ns: Netns,
  rt: Rtable,
  fl: Flowi4,
  tos: number,
  mark: number,
  length: number,
  options: EchoedOptions,
  about: number,
): void {
  icmpView.setUint16(2, foldChecksum(sumWords(icmpView, 0, length)))
  const msg = message
  msg.rt = rt
  msg.fl = fl
  msg.proto = IPPROTO_ICMP
  msg.tos = tos
  msg.ttl = 0
  msg.pmtudisc = IP_PMTUDISC_DONT
  msg.bytes = icmpBuffer
  msg.length = length
  msg.mark = mark
  msg.options = options
  const slot = ipMakeSkb(w, ns, msg)
  if (slot < 0) {
    ns.count('Icmp.OutErrors')
    return
  }
  if (about >= 0) {
    const from = about << META_SHIFT
    if (w.tracer !== null) {
      const dev = w.arena.meta[from + M_DEV]! < 0 ? null : (w.devices[w.arena.meta[from + M_DEV]!] ?? null)
      w.tracer.step(T_CHILD, about, ns, dev, w.arena.meta[(slot << META_SHIFT) + M_ID]!, 0, 0, null)
    }
    w.arena.meta[(slot << META_SHIFT) + M_PARENT] = w.arena.meta[from + M_ID]!
    if (w.arena.meta[from + M_CT] !== 0) nfCtAttach(w, ns, slot, about)
  }
  // local_bh_disable + icmp_xmit_lock: what this packet sets off is handled after the lock is free.
  const wasSoftirq = w.inSoftirq
  w.inSoftirq = true
  ns.icmpLimits.sending = true
  if (ipLocalOut(w, ns, slot) !== 0) ns.count('Ip.OutDiscards')
  ns.icmpLimits.sending = false
  w.inSoftirq = wasSoftirq
  w.softirq()
}

/**
 * ipv4_link_failure: the next hop of a queued packet does not answer. Sends host unreachable; the slot stays the
 * caller's (arp_error_report frees it).
 */
export function ipv4LinkFailure(w: World, slot: number): void {
  const a = w.arena
  const m = slot << META_SHIFT
  const rt = a.dst[slot] as Rtable | null
  const nh = a.meta[m + M_NH]!
  const ihl = a.view.getUint8(nh) & 15
  if (a.view.getUint8(nh) >> 4 !== 4 || ihl < 5) return
  // ipv4_send_dest_unreach compiles the options again: IPCB may be somebody else's by now
  if (ihl > 5 && ipOptionsCompile(w, slot) !== 0) return
  icmpSend(w, slot, ICMP_DEST_UNREACH, ICMP_HOST_UNREACH, 0)
  if (rt !== null) rt.expiresNs = Math.min(rt.expiresNs === 0 ? w.nowNs : rt.expiresNs, w.nowNs)
}
