/**
 * IPv4 output: from a header to the neighbour, and datagrams of this host from bytes to packets.
 *
 * Linux: net/ipv4/ip_output.c (__ip_local_out, ip_output, ip_finish_output, ip_finish_output2, __ip_queue_xmit,
 * ip_build_and_send_pkt, __ip_append_data, __ip_make_skb), include/net/ip.h (ip_select_ident_segs).
 * Not modelled: GSO, BPF egress programs, xfrm, corking (a message is one datagram), IP_MULTICAST_LOOP off.
 */

import { HEADROOM_BYTES } from '../../packet/arena.ts'
import {
  ETH_P_IP,
  M_DATA,
  M_DEV,
  M_FLAGS,
  M_FRAG_MAX,
  M_HASH,
  M_ID,
  M_LEN,
  M_MAC,
  M_MARK,
  M_NH,
  M_PKTTYPE,
  M_PRIORITY,
  M_PROTO,
  M_SK,
  M_TH,
  META_SHIFT,
  PACKET_LOOPBACK,
  SKB_CSUM_OK,
  SKB_FORWARDED,
  SKB_IGNORE_DF,
  SKB_REROUTED,
} from '../../packet/layout.ts'
import { netifRx } from '../core/dev.ts'
import { cloneSkb, freeSkb } from '../core/skb.ts'
import { EMSGSIZE, ENETUNREACH, ENOBUFS, EPERM, netXmitErrno } from '../errno.ts'
import { neighOutput } from '../neighbour/neighbour.ts'
import { NF_ACCEPT, NF_DROP, NF_INET_LOCAL_OUT, NF_INET_POST_ROUTING, nfHook } from '../netfilter/hooks.ts'
import type { Netns } from '../netns.ts'
import { R_UNMODELLED } from '../reasons.ts'
import { traceOutput } from '../route/route.ts'
import type { Rtable } from '../route/rtable.ts'
import { DST_OUT_IP_MC_OUTPUT, DST_OUT_IP_OUTPUT, RTN_BROADCAST, RTN_MULTICAST } from '../route/rtn.ts'
import { T_IP_OUTPUT } from '../trace.ts'
import type { World } from '../world.ts'
import { ipFragment } from './fragment.ts'
import { icmpIsError, icmpOutCount } from './icmp-stats.ts'
import { IP_PMTUDISC_DO, IP_PMTUDISC_OMIT, IP_PMTUDISC_PROBE, IP_PMTUDISC_WANT, type IpMessage } from './message.ts'
import { countPackets, MIB_OUT_OCTETS, MIB_OUT_REQUESTS, MIB_OUT_TRANSMITS } from './mib.ts'
import { ipOptionsBuild, ipSendCheck } from './options.ts'

export {
  IP_PMTUDISC_DO,
  IP_PMTUDISC_DONT,
  IP_PMTUDISC_INTERFACE,
  IP_PMTUDISC_OMIT,
  IP_PMTUDISC_PROBE,
  IP_PMTUDISC_WANT,
  IpMessage,
} from './message.ts'

/** M_FLAGS, this layer's own: the socket does not want the learned path MTU (ip_sk_use_pmtu is false). */
const SKB_PMTU_PROBE = 1 << 15

const IP_DF = 0x4000
const IPV4_MIN_MTU = 68
const IPPROTO_ICMP = 1

/** ip_sk_use_pmtu */
function usesPmtu(pmtudisc: number): boolean {
  return pmtudisc < IP_PMTUDISC_PROBE
}

/** ip_sk_ignore_df */
function ignoresDf(pmtudisc: number): boolean {
  return pmtudisc < IP_PMTUDISC_DO || pmtudisc === IP_PMTUDISC_OMIT
}

/** ip_dont_fragment */
export function ipDontFragment(pmtudisc: number, rt: Rtable): boolean {
  return pmtudisc === IP_PMTUDISC_DO || (pmtudisc === IP_PMTUDISC_WANT && !rt.locked)
}

/**
 * ip_select_ident_segs: the ID of a new header. 0 when nobody may fragment the packet and no connection counts IDs;
 * else the next of a sequence that starts at a random place (Linux: per destination or per socket, also random).
 */
export function ipSelectIdent(ns: Netns, df: boolean, connected: boolean, ignoreDf = false): number {
  if (!connected && df && !ignoreDf) return 0
  return ns.frags.nextIdent()
}

/**
 * skb_set_hash_from_sk: the hash that the sending socket drew (sk_txhash). Here it follows from the connection, in one
 * direction only, so that both ends and a half-open request agree with themselves.
 */
function setTxhash(w: World, slot: number, saddr: number, daddr: number, ports: number): void {
  let h = Math.imul(w.hashKey ^ saddr, 0x9e3779b1)
  h = Math.imul(h ^ (h >>> 15) ^ daddr, 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13) ^ ports, 0xc2b2ae35)
  // a second round: the source port stands in the upper half, and udp_flow_src_port takes its bits from the lower one
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
  h ^= h >>> 16
  w.arena.meta[(slot << META_SHIFT) + M_HASH] = h === 0 ? 1 : h
}

/** ip_select_ttl */
export function ipSelectTtl(ns: Netns, rt: Rtable): number {
  return rt.type === RTN_MULTICAST ? 1 : ns.sysctl.ip_default_ttl
}

/** ip_local_out: header complete but for length and checksum; arena.dst is set. Takes the slot. @returns 0 or an errno */
export function ipLocalOut(w: World, ns: Netns, slot: number): number {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const nh = meta[m + M_NH]!
  ns.mib[MIB_OUT_REQUESTS]!++
  a.view.setUint16(nh + 2, meta[m + M_LEN]!)
  ipSendCheck(a.view, nh)
  meta[m + M_PROTO] = ETH_P_IP
  const rt = a.dst[slot] as Rtable
  if (w.tracer !== null) traceOutput(w, ns, slot, rt)
  w.dropErrno = 0
  const verdict = nfHook(w, ns, NF_INET_LOCAL_OUT, slot, null, rt.dev)
  if (verdict !== NF_ACCEPT) return verdict !== NF_DROP ? 0 : w.dropErrno !== 0 ? w.dropErrno : EPERM
  return dstOutput(w, ns, slot)
}

/** dst_output: the function that the decision names. Takes the slot. @returns 0 or an errno */
export function dstOutput(w: World, ns: Netns, slot: number): number {
  const rt = w.arena.dst[slot] as Rtable
  switch (rt.output) {
    case DST_OUT_IP_OUTPUT:
      return ipOutput(w, ns, slot)
    case DST_OUT_IP_MC_OUTPUT:
      return ipMcOutput(w, ns, slot, rt)
    default:
      freeSkb(w, slot, R_UNMODELLED, 0, 'a packet routed without an output function')
      return ENETUNREACH
  }
}

/**
 * ip_mc_output: a copy of what is broadcast, or sent to a group that this host is in (all hosts), comes back to it
 * (dev_loopback_xmit) after its own POST_ROUTING. Takes the slot. @returns 0 or an errno
 */
function ipMcOutput(w: World, ns: Netns, slot: number, rt: Rtable): number {
  // the output function is only this one when the host hears it itself (RTCF_LOCAL): its broadcasts, and 224.0.0.1
  const copy = cloneSkb(w, slot)
  if (copy >= 0) {
    const meta = w.arena.meta
    const c = copy << META_SHIFT
    meta[c + M_DEV] = rt.dev.id
    meta[c + M_PROTO] = ETH_P_IP
    if (nfHook(w, ns, NF_INET_POST_ROUTING, copy, null, rt.dev) === NF_ACCEPT) {
      meta[c + M_MAC] = meta[c + M_NH]!
      meta[c + M_PKTTYPE] = PACKET_LOOPBACK
      netifRx(w, copy)
    }
  }
  return ipOutput(w, ns, slot)
}

/** ip_output. Takes the slot. @returns 0 or an errno */
export function ipOutput(w: World, ns: Netns, slot: number): number {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const rt = a.dst[slot] as Rtable
  const indev = meta[m + M_DEV]! < 0 ? null : (w.devices[meta[m + M_DEV]!] ?? null)
  meta[m + M_DEV] = rt.dev.id
  meta[m + M_PROTO] = ETH_P_IP
  if (w.tracer !== null) w.tracer.step(T_IP_OUTPUT, slot, ns, rt.dev, meta[m + M_LEN]!, 0, 0, null)
  if ((meta[m + M_FLAGS]! & SKB_REROUTED) === 0) {
    const verdict = nfHook(w, ns, NF_INET_POST_ROUTING, slot, indev, rt.dev)
    if (verdict !== NF_ACCEPT) return verdict === NF_DROP ? EPERM : 0
  }
  return ipFinishOutput(w, ns, slot)
}

/** ip_skb_dst_mtu */
export function ipSkbDstMtu(w: World, slot: number): number {
  const flags = w.arena.meta[(slot << META_SHIFT) + M_FLAGS]!
  const rt = w.arena.dst[slot] as Rtable
  if ((flags & SKB_PMTU_PROBE) !== 0) return rt.dev.mtu
  return rt.mtuMaybeForward((flags & SKB_FORWARDED) !== 0)
}

/** ip_finish_output: after POST_ROUTING; fragments what is too large. Takes the slot. @returns 0 or an errno */
export function ipFinishOutput(w: World, ns: Netns, slot: number): number {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const mtu = ipSkbDstMtu(w, slot)
  if (meta[m + M_LEN]! > mtu || meta[m + M_FRAG_MAX] !== 0) return ipFragment(w, ns, slot, mtu)
  return ipFinishOutput2(w, ns, slot)
}

/** ip_finish_output2: to the neighbour. Takes the slot. @returns 0, an errno or NET_XMIT_DROP */
export function ipFinishOutput2(w: World, ns: Netns, slot: number): number {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const rt = a.dst[slot] as Rtable
  ns.mib[MIB_OUT_TRANSMITS]!++
  ns.mib[MIB_OUT_OCTETS]! += meta[m + M_LEN]!
  if (rt.type === RTN_MULTICAST) countPackets(ns, 'Out', 'Mcast', meta[m + M_LEN]!)
  else if (rt.type === RTN_BROADCAST) countPackets(ns, 'Out', 'Bcast', meta[m + M_LEN]!)
  const daddr = a.view.getInt32(meta[m + M_NH]! + 16)
  return neighOutput(w, ns, slot, rt.dev, rt.hasGateway ? rt.gateway : daddr)
}

/** Pushes a 20-byte header in front of M_DATA; length and checksum are ip_local_out's. */
function pushHeader(
  w: World,
  slot: number,
  saddr: number,
  daddr: number,
  proto: number,
  tos: number,
  ttl: number,
  fragOff: number,
  id: number,
): void {
  const a = w.arena
  const m = slot << META_SHIFT
  a.meta[m + M_TH] = a.meta[m + M_DATA]!
  // TCP made these bytes
  a.meta[m + M_FLAGS] = a.meta[m + M_FLAGS]! | SKB_CSUM_OK
  const nh = a.push(slot, 20)
  a.meta[m + M_NH] = nh
  const v = a.view
  v.setUint16(nh, 0x4500 | tos)
  v.setUint16(nh + 4, id)
  v.setUint16(nh + 6, fragOff)
  v.setUint8(nh + 8, ttl)
  v.setUint8(nh + 9, proto)
  v.setInt32(nh + 12, saddr)
  v.setInt32(nh + 16, daddr)
}

/**
 * __ip_queue_xmit (TCP): M_DATA at the transport header, arena.dst and M_MARK set. Pushes the header and sends.
 * @param ttl 0 for the default
 * @returns 0 or an errno
 */
export function ipQueueXmit(
  w: World,
  ns: Netns,
  slot: number,
  saddr: number,
  daddr: number,
  proto: number,
  tos: number,
  ttl: number,
  df: boolean,
  sk: number,
): number {
  const m = slot << META_SHIFT
  const rt = w.arena.dst[slot] as Rtable
  w.arena.meta[m + M_SK] = sk
  setTxhash(w, slot, saddr, daddr, w.arena.view.getInt32(w.arena.meta[m + M_DATA]!))
  const id = ipSelectIdent(ns, df, true)
  pushHeader(w, slot, saddr, daddr, proto, tos, ttl === 0 ? ipSelectTtl(ns, rt) : ttl, df ? IP_DF : 0, id)
  return ipLocalOut(w, ns, slot)
}

/** ip_build_and_send_pkt, ip_send_unicast_reply (SYN/ACK, RST, ACK without a socket): ID 0 with DF. */
export function ipBuildAndSendPkt(
  w: World,
  ns: Netns,
  slot: number,
  saddr: number,
  daddr: number,
  proto: number,
  tos: number,
  ttl: number,
  df: boolean,
  sk: number,
): number {
  const m = slot << META_SHIFT
  const rt = w.arena.dst[slot] as Rtable
  w.arena.meta[m + M_SK] = sk
  setTxhash(w, slot, saddr, daddr, w.arena.view.getInt32(w.arena.meta[m + M_DATA]!))
  // small packets (a SYN/ACK) are never fragmented and get no ID
  if (w.arena.meta[m + M_LEN]! + 20 <= IPV4_MIN_MTU) df = true
  const id = df ? 0 : ns.frags.nextIdent()
  pushHeader(w, slot, saddr, daddr, proto, tos, ttl === 0 ? ipSelectTtl(ns, rt) : ttl, df ? IP_DF : 0, id)
  return ipLocalOut(w, ns, slot)
}

/**
 * ip_append_data with ip_push_pending_frames: one datagram of this host, made into a packet that ip_finish_output cuts
 * when it is larger than the path allows.
 * @returns 0 or a negative errno (EMSGSIZE by the rules of IP_MTU_DISCOVER)
 */
export function ipMakeAndSend(w: World, ns: Netns, msg: IpMessage): number {
  const slot = ipMakeSkb(w, ns, msg)
  if (slot < 0) return slot
  // ip_send_skb
  const err = netXmitErrno(ipLocalOut(w, ns, slot))
  if (err !== 0) ns.count('Ip.OutDiscards')
  return err
}

/** What ip_setup_cork and __ip_append_data refuse before they look at the socket's pending error. @returns 0 or an errno */
export function ipAppendRefuses(rt: Rtable, pmtudisc: number, optlen: number, length: number): number {
  const mtu = usesPmtu(pmtudisc) ? rt.mtu() : rt.dev.mtu
  if (mtu < IPV4_MIN_MTU) return ENETUNREACH
  return length > (ignoresDf(pmtudisc) ? 0xffff : mtu) - 20 - optlen ? EMSGSIZE : 0
}

/** ip_make_skb: the packet that ipMakeAndSend sends. @returns the slot, or a negative errno */
export function ipMakeSkb(w: World, ns: Netns, msg: IpMessage): number {
  const a = w.arena
  const rt = msg.rt
  const optlen = msg.options === null ? 0 : msg.options.optlen
  const header = 20 + optlen
  const mtu = usesPmtu(msg.pmtudisc) ? rt.mtu() : rt.dev.mtu
  const refused = ipAppendRefuses(rt, msg.pmtudisc, optlen, msg.length)
  if (refused !== 0) return refused
  const ignoreDf = ignoresDf(msg.pmtudisc)
  const total = header + msg.length
  const slot = a.alloc(total, HEADROOM_BYTES)
  if (slot < 0) return ENOBUFS
  const m = slot << META_SHIFT
  const meta = a.meta
  const nh = meta[m + M_DATA]!
  meta[m + M_NH] = nh
  meta[m + M_TH] = nh + header
  a.bytes.set(msg.length === msg.bytes.length ? msg.bytes : msg.bytes.subarray(0, msg.length), nh + header)
  let df = msg.pmtudisc === IP_PMTUDISC_DO || msg.pmtudisc === IP_PMTUDISC_PROBE
  if (!df && total <= rt.mtu()) df = ipDontFragment(msg.pmtudisc, rt)
  const v = a.view
  v.setUint16(nh, ((0x40 | (header >> 2)) << 8) | (msg.tos & 0xff))
  v.setUint16(nh + 4, ipSelectIdent(ns, df, msg.connected, ignoreDf))
  v.setUint16(nh + 6, df ? IP_DF : 0)
  v.setUint8(nh + 8, msg.ttl === 0 ? ipSelectTtl(ns, rt) : msg.ttl)
  v.setUint8(nh + 9, msg.proto)
  v.setInt32(nh + 12, msg.fl.saddr)
  v.setInt32(nh + 16, msg.fl.daddr)
  if (msg.options !== null && optlen > 0) ipOptionsBuild(w, slot, nh, msg.options)
  const csum = msg.csumNone ? 0 : SKB_CSUM_OK
  meta[m + M_FLAGS] = csum | (ignoreDf ? SKB_IGNORE_DF : 0) | (usesPmtu(msg.pmtudisc) ? 0 : SKB_PMTU_PROBE)
  meta[m + M_MARK] = msg.mark
  meta[m + M_PRIORITY] = msg.priority
  meta[m + M_SK] = msg.sk
  if (msg.connected || msg.txhash) setTxhash(w, slot, msg.fl.saddr, msg.fl.daddr, v.getInt32(nh + header))
  a.dst[slot] = rt
  // __ip_make_skb counts the type of the flow, which answers of the kernel's own leave 0
  if (msg.proto === IPPROTO_ICMP) {
    const type = v.getUint8(nh + header)
    icmpOutCount(ns, msg.sk === 0 && !icmpIsError(type) ? 0 : type)
  }
  if (total > mtu) ns.frags.setGeometry(slot, meta[m + M_ID]!, appendCuts(msg.length, mtu - header))
  return slot
}

/** __ip_append_data cuts for the path it knows; a packet routed anew (DNAT in OUTPUT) keeps the pieces if they fit. */
function appendCuts(length: number, room: number): number[] {
  const cuts: number[] = []
  let left = length
  for (; left > room; left -= room & ~7) cuts.push(room & ~7)
  cuts.push(left)
  return cuts
}
