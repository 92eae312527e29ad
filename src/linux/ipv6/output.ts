/**
 * IPv6 output: from a header to the neighbour, and datagrams of this host from bytes to packets.
 *
 * Linux: net/ipv6/output_core.c (__ip6_local_out), net/ipv6/ip6_output.c (ip6_output, ip6_finish_output,
 * ip6_finish_output2, ip6_xmit, __ip6_append_data, __ip6_make_skb). Not modelled: GSO, xfrm, BPF egress, corking,
 * extension headers set by sockets, multicast routing. Flow labels drawn from the socket's hash (auto_flowlabels) come
 * from the same stand-in hash as IPv4's.
 */
import { HEADROOM_BYTES } from '../../packet/arena.ts'
import {
  ETH_P_IPV6,
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
import { IFF_LOOPBACK } from '../device/device.ts'
import { EACCES, EMSGSIZE, ENETUNREACH, ENOBUFS, EPERM, netXmitErrno } from '../errno.ts'
import { neighOutput6 } from '../neighbour/neighbour.ts'
import { NF_ACCEPT, NF_DROP, NF_INET_LOCAL_OUT, NF_INET_POST_ROUTING, nfHook6 } from '../netfilter/hooks.ts'
import type { Netns } from '../netns.ts'
import { R_IP6_ADDRESS, R_NO_ROUTE, R_ROUTE_BLACKHOLE, R_ROUTE_PROHIBIT } from '../reasons.ts'
import { T_IP_OUTPUT } from '../trace.ts'
import type { World } from '../world.ts'
import type { Flowi6 } from './flow6.ts'
import { ip6Fragment } from './fragment.ts'
import { ip6PktDrop, ipv6ChkMcastAddr } from './input.ts'
import { IPV6_PMTUDISC_DO, IPV6_PMTUDISC_OMIT, IPV6_PMTUDISC_PROBE, type Ip6Message } from './message6.ts'
import { traceOutput6 } from './route.ts'
import { DST6_OUT_DISCARD, DST6_OUT_IP6, DST6_OUT_PROHIBIT, type Rt6 } from './rt6.ts'

/** M_FLAGS, this layer's own: the socket does not want the learned path MTU. */
const SKB6_PMTU_PROBE = 1 << 27
const IPV6_MIN_MTU = 1280
const IPV6_MAXPLEN = 65535
const IP6_FRAG_BYTES = 8

/** ip6_local_out: header complete but for the payload length; arena.dst is set. Takes the slot. @returns 0 or an errno */
export function ip6LocalOut(w: World, ns: Netns, slot: number): number {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const nh = meta[m + M_NH]!
  const payload = meta[m + M_LEN]! - 40
  a.view.setUint16(nh + 4, payload > IPV6_MAXPLEN ? 0 : payload)
  meta[m + M_PROTO] = ETH_P_IPV6
  const rt = a.dst[slot] as Rt6
  if (meta[m + M_DEV]! < 0) meta[m + M_DEV] = rt.dev.id
  ns.count('Ip6.OutRequests')
  if (w.tracer !== null) traceOutput6(w, ns, slot, rt)
  w.dropErrno = 0
  const verdict = nfHook6(w, ns, NF_INET_LOCAL_OUT, slot, null, rt.dev)
  if (verdict !== NF_ACCEPT) return verdict !== NF_DROP ? 0 : w.dropErrno !== 0 ? w.dropErrno : EPERM
  return dst6Output(w, ns, slot)
}

/** dst_output: the function that the decision names. Takes the slot. @returns 0 or an errno */
export function dst6Output(w: World, ns: Netns, slot: number): number {
  const rt = w.arena.dst[slot] as Rt6
  if (rt.output === DST6_OUT_IP6) return ip6Output(w, ns, slot)
  if (rt.output === DST6_OUT_DISCARD) {
    freeSkb(w, slot, R_ROUTE_BLACKHOLE, rt.error, rt.route)
    return 0
  }
  const prohibit = rt.output === DST6_OUT_PROHIBIT
  w.arena.meta[(slot << META_SHIFT) + M_DEV] = rt.dev.id
  ip6PktDrop(w, ns, slot, prohibit ? 1 : 0, prohibit ? R_ROUTE_PROHIBIT : R_NO_ROUTE)
  return prohibit ? EACCES : ENETUNREACH
}

/** ip6_output. Takes the slot. @returns 0 or an errno */
export function ip6Output(w: World, ns: Netns, slot: number): number {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const rt = a.dst[slot] as Rt6
  const dev = rt.dev
  const indev = meta[m + M_DEV]! < 0 ? null : (w.devices[meta[m + M_DEV]!] ?? null)
  meta[m + M_PROTO] = ETH_P_IPV6
  meta[m + M_DEV] = dev.id
  if (dev.in6 === null || dev.in6.conf.disable_ipv6 !== 0) {
    freeSkb(w, slot, R_NO_ROUTE)
    return 0
  }
  if (w.tracer !== null) w.tracer.step(T_IP_OUTPUT, slot, ns, dev, meta[m + M_LEN]!, 0, 0, null)
  if ((meta[m + M_FLAGS]! & SKB_REROUTED) === 0) {
    const verdict = nfHook6(w, ns, NF_INET_POST_ROUTING, slot, indev, dev)
    if (verdict !== NF_ACCEPT) return verdict === NF_DROP ? EPERM : 0
  }
  return ip6FinishOutput(w, ns, slot)
}

/** ip6_skb_dst_mtu */
export function ip6SkbDstMtu(w: World, slot: number): number {
  const flags = w.arena.meta[(slot << META_SHIFT) + M_FLAGS]!
  const rt = w.arena.dst[slot] as Rt6
  if ((flags & SKB6_PMTU_PROBE) !== 0) return rt.dev.mtu
  return rt.mtuMaybeForward((flags & SKB_FORWARDED) !== 0)
}

/** ip6_finish_output: after POST_ROUTING; fragments what is too large. Takes the slot. @returns 0 or an errno */
export function ip6FinishOutput(w: World, ns: Netns, slot: number): number {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const mtu = ip6SkbDstMtu(w, slot)
  const fragMax = meta[m + M_FRAG_MAX]!
  if (meta[m + M_LEN]! > mtu || (fragMax !== 0 && meta[m + M_LEN]! > fragMax)) {
    return ip6Fragment(w, ns, slot, mtu, null)
  }
  return ip6FinishOutput2(w, ns, slot)
}

/** ip6_finish_output2: to the neighbour; multicast comes back to this host first. Takes the slot. @returns 0 or an errno */
export function ip6FinishOutput2(w: World, ns: Netns, slot: number): number {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const rt = a.dst[slot] as Rt6
  const dev = rt.dev
  const nh = meta[m + M_NH]!
  const v = a.view
  const daddr = w.in6.read(v, nh + 24)
  if (w.in6.isMulticast(daddr)) {
    // sk_mc_loop: packets of this host; the kernel's own sockets have loopback off
    if ((dev.flags & IFF_LOOPBACK) === 0 && meta[m + M_SK] !== 0 && ipv6ChkMcastAddr(w, dev, daddr)) {
      loopBack(w, ns, slot)
      // interface-local scope never leaves
      if (v.getUint8(nh + 7) === 0) {
        freeSkb(w, slot, R_IP6_ADDRESS)
        return 0
      }
    }
    if ((v.getUint8(nh + 25) & 15) <= 1 && (dev.flags & IFF_LOOPBACK) === 0) {
      freeSkb(w, slot, R_IP6_ADDRESS)
      return 0
    }
  }
  return neighOutput6(w, ns, slot, dev, rt.nexthop(daddr))
}

/** dev_loopback_xmit of a multicast packet of this host, after its own POST_ROUTING. */
function loopBack(w: World, ns: Netns, slot: number): void {
  const copy = cloneSkb(w, slot)
  if (copy < 0) return
  const meta = w.arena.meta
  const c = copy << META_SHIFT
  const dev = w.devices[meta[c + M_DEV]!] ?? null
  if (nfHook6(w, ns, NF_INET_POST_ROUTING, copy, null, dev) !== NF_ACCEPT) return
  meta[c + M_MAC] = meta[c + M_NH]!
  meta[c + M_PKTTYPE] = PACKET_LOOPBACK
  w.arena.dst[copy] = null
  netifRx(w, copy)
  // netif_rx from process context: handled at once
  w.softirq()
}

/** The hash that the sending socket drew (sk_txhash), from the connection as in ip/output.ts. */
export function txhash6(w: World, saddr: number, daddr: number, ports: number): number {
  let h = Math.imul(w.hashKey ^ w.in6.word(saddr, 3) ^ Math.imul(w.in6.word(saddr, 1), 31), 0x9e3779b1)
  h = Math.imul(h ^ (h >>> 15) ^ w.in6.word(daddr, 3) ^ Math.imul(w.in6.word(daddr, 1), 31), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13) ^ ports, 0xc2b2ae35)
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
  h ^= h >>> 16
  return h === 0 ? 1 : h
}

/** ip6_make_flowlabel: 20 bits, from the hash when auto_flowlabels says so and the sender has one. */
export function ip6MakeFlowlabel(ns: Netns, hash: number, flowlabel: number): number {
  if (flowlabel !== 0 || hash === 0 || ns.sysctl.ipv6.auto_flowlabels === 0) return flowlabel
  return ((hash << 16) | (hash >>> 16)) & 0xfffff
}

/** What ip6_append_data refuses. @returns 0 or an errno */
export function ip6AppendRefuses(msg: Ip6Message): number {
  const mtu = messageMtu(msg)
  if (mtu < IPV6_MIN_MTU) return EMSGSIZE
  // __ip6_append_data: with DONTFRAG what does not fit is refused
  const most = ignoresDf(msg.pmtudisc) && !msg.dontfrag ? 40 + IPV6_MAXPLEN : mtu
  return 40 + msg.length > most ? EMSGSIZE : 0
}

function usesPmtu(pmtudisc: number): boolean {
  return pmtudisc < IPV6_PMTUDISC_PROBE
}

function ignoresDf(pmtudisc: number): boolean {
  return pmtudisc < IPV6_PMTUDISC_DO || pmtudisc === IPV6_PMTUDISC_OMIT
}

function messageMtu(msg: Ip6Message): number {
  return usesPmtu(msg.pmtudisc) ? msg.rt.mtu() : msg.rt.dev.mtu
}

/** ip6_make_skb: the packet of a message. @returns the slot, or a negative errno */
export function ip6MakeSkb(w: World, ns: Netns, msg: Ip6Message): number {
  const refused = ip6AppendRefuses(msg)
  if (refused !== 0) return refused
  const a = w.arena
  const total = 40 + msg.length
  const slot = a.alloc(total, HEADROOM_BYTES)
  if (slot < 0) return ENOBUFS
  const m = slot << META_SHIFT
  const meta = a.meta
  const v = a.view
  const nh = meta[m + M_DATA]!
  meta[m + M_NH] = nh
  meta[m + M_TH] = nh + 40
  a.bytes.set(msg.length === msg.bytes.length ? msg.bytes : msg.bytes.subarray(0, msg.length), nh + 40)
  const hash = msg.txhash ? txhash6(w, msg.fl.saddr, msg.fl.daddr, v.getInt32(nh + 40)) : 0
  meta[m + M_HASH] = hash
  const label = ip6MakeFlowlabel(ns, hash, msg.fl.flowlabel)
  writeHeader(
    w,
    nh,
    msg.proto,
    msg.tclass,
    label,
    msg.hoplimit < 0 ? ip6Hoplimit(w, msg.rt, msg.fl) : msg.hoplimit,
    msg.fl,
  )
  const csum = msg.csumNone ? 0 : SKB_CSUM_OK
  const df = ignoresDf(msg.pmtudisc) ? SKB_IGNORE_DF : 0
  meta[m + M_FLAGS] = csum | df | (usesPmtu(msg.pmtudisc) ? 0 : SKB6_PMTU_PROBE)
  meta[m + M_MARK] = msg.mark
  meta[m + M_PRIORITY] = msg.priority
  meta[m + M_SK] = msg.sk
  meta[m + M_DEV] = msg.rt.dev.id
  a.dst[slot] = msg.rt
  const mtu = messageMtu(msg)
  if (total > mtu) ns.frags.setGeometry(slot, meta[m + M_ID]!, appendCuts(msg.length, mtu - 40 - IP6_FRAG_BYTES))
  return slot
}

/** ip6_sk_dst_hoplimit of a socket that set none: 1 for multicast. */
export function ip6Hoplimit(w: World, rt: Rt6, fl: Flowi6): number {
  return w.in6.isMulticast(fl.daddr) ? 1 : rt.hoplimit()
}

function writeHeader(
  w: World,
  nh: number,
  proto: number,
  tclass: number,
  label: number,
  hoplimit: number,
  fl: Flowi6,
): void {
  const v = w.arena.view
  v.setInt32(nh, 0x60000000 | ((tclass & 0xff) << 20) | label)
  v.setUint8(nh + 6, proto)
  v.setUint8(nh + 7, hoplimit)
  w.in6.write(v, nh + 8, fl.saddr)
  w.in6.write(v, nh + 24, fl.daddr)
}

/** __ip6_append_data cuts for the path it knows. */
function appendCuts(length: number, room: number): number[] {
  const cuts: number[] = []
  let left = length
  for (; left > room; left -= room & ~7) cuts.push(room & ~7)
  cuts.push(left)
  return cuts
}

/** ip6_append_data with ip6_push_pending_frames. @returns 0 or a negative errno */
export function ip6MakeAndSend(w: World, ns: Netns, msg: Ip6Message): number {
  const slot = ip6MakeSkb(w, ns, msg)
  if (slot < 0) return slot
  return netXmitErrno(ip6LocalOut(w, ns, slot))
}

/**
 * ip6_xmit (TCP): M_DATA at the transport header, arena.dst and M_MARK set. Pushes the header and sends.
 * @param hash the sender's txhash, 0 none
 * @returns 0 or an errno
 */
export function ip6Xmit(
  w: World,
  ns: Netns,
  slot: number,
  fl: Flowi6,
  proto: number,
  tclass: number,
  hoplimit: number,
  sk: number,
  hash: number,
): number {
  const a = w.arena
  const m = slot << META_SHIFT
  a.meta[m + M_TH] = a.meta[m + M_DATA]!
  a.meta[m + M_SK] = sk
  a.meta[m + M_HASH] = hash
  a.meta[m + M_FLAGS] = a.meta[m + M_FLAGS]! | SKB_CSUM_OK | SKB_IGNORE_DF
  const hops = hoplimit < 0 ? ip6Hoplimit(w, a.dst[slot] as Rt6, fl) : hoplimit
  return ip6PushOut(w, ns, slot, fl, proto, tclass, hops, ip6MakeFlowlabel(ns, hash, fl.flowlabel))
}

/** The header in front of M_DATA and out, for a slot with its route: the end of ip6_xmit and ip6tunnel_xmit. Takes the slot. */
export function ip6PushOut(
  w: World,
  ns: Netns,
  slot: number,
  fl: Flowi6,
  proto: number,
  tclass: number,
  hops: number,
  flowlabel: number,
): number {
  const a = w.arena
  const m = slot << META_SHIFT
  const nh = a.push(slot, 40)
  a.meta[m + M_NH] = nh
  a.meta[m + M_DEV] = (a.dst[slot] as Rt6).dev.id
  writeHeader(w, nh, proto, tclass, flowlabel, hops, fl)
  return ip6LocalOut(w, ns, slot)
}
