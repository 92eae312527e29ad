/**
 * IPv4 forwarding.
 *
 * Linux: net/ipv4/ip_forward.c. Not modelled: xfrm policies, offload forwarding marks, router alert chains.
 */
import {
  M_DEV,
  M_FLAGS,
  M_FRAG_MAX,
  M_LEN,
  M_NH,
  M_OPTLEN,
  M_PKTTYPE,
  M_PRIORITY,
  M_SK,
  META_SHIFT,
  PACKET_HOST,
  SKB_DOREDIRECT,
  SKB_FORWARDED,
  SKB_IGNORE_DF,
} from '../../packet/layout.ts'
import { freeSkb } from '../core/skb.ts'
import type { NetDevice } from '../device/device.ts'
import { NF_ACCEPT, NF_INET_FORWARD, nfHook } from '../netfilter/hooks.ts'
import type { Netns } from '../netns.ts'
import { R_FRAG_NEEDED, R_IP_OPTIONS, R_TTL, R_UNICAST_IN_L2_MULTICAST } from '../reasons.ts'
import type { Rtable } from '../route/rtable.ts'
import { T_IP_FORWARD } from '../trace.ts'
import type { World } from '../world.ts'
import { ipRtSendRedirect } from './error.ts'
import { icmpSend } from './icmp.ts'
import { MIB_FORW_DATAGRAMS } from './mib.ts'
import { ipForwardOptions, optionsOf } from './options.ts'
import { dstOutput } from './output.ts'

const ICMP_DEST_UNREACH = 3
const ICMP_TIME_EXCEEDED = 11
const ICMP_FRAG_NEEDED = 4
const ICMP_SR_FAILED = 5
const IP_DF = 0x4000

/** ip_tos2prio, include/net/route.h: `skb->priority` by the four TOS bits. */
const TOS2PRIO: readonly number[] = [0, 0, 0, 0, 2, 2, 2, 2, 6, 6, 6, 6, 4, 4, 4, 4]

/** ip_decrease_ttl: TTL - 1 and the checksum with it, exactly as the kernel adds it up. @returns the new TTL */
export function ipDecreaseTtl(view: DataView, nh: number): number {
  let check = view.getUint16(nh + 10) + 0x0100
  check += check >= 0xffff ? 1 : 0
  view.setUint16(nh + 10, check & 0xffff)
  const ttl = view.getUint8(nh + 8) - 1
  view.setUint8(nh + 8, ttl)
  return ttl
}

/** ip_exceeds_mtu */
function ipExceedsMtu(w: World, m: number, nh: number, mtu: number): boolean {
  const meta = w.arena.meta
  if (meta[m + M_LEN]! <= mtu) return false
  if ((w.arena.view.getUint16(nh + 6) & IP_DF) === 0) return false
  if (meta[m + M_FRAG_MAX]! > mtu) return true
  return (meta[m + M_FLAGS]! & SKB_IGNORE_DF) === 0
}

/** ip_forward: takes the slot. */
export function ipForward(w: World, ns: Netns, slot: number): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const v = a.view
  const nh = meta[m + M_NH]!
  if (meta[m + M_PKTTYPE] !== PACKET_HOST || meta[m + M_SK] !== 0) {
    freeSkb(w, slot, R_UNICAST_IN_L2_MULTICAST)
    return
  }
  if (v.getUint8(nh + 8) <= 1) {
    ns.count('Ip.InHdrErrors')
    icmpSend(w, slot, ICMP_TIME_EXCEEDED, 0, 0)
    freeSkb(w, slot, R_TTL)
    return
  }
  const rt = a.dst[slot] as Rtable
  const hasOptions = meta[m + M_OPTLEN] !== 0
  if (hasOptions && optionsOf(w, slot).isStrictRoute && rt.usesGateway) {
    icmpSend(w, slot, ICMP_DEST_UNREACH, ICMP_SR_FAILED, 0)
    freeSkb(w, slot, R_IP_OPTIONS)
    return
  }
  ns.mib[MIB_FORW_DATAGRAMS]!++
  meta[m + M_FLAGS] = meta[m + M_FLAGS]! | SKB_FORWARDED
  const mtu = rt.mtuMaybeForward(true)
  if (ipExceedsMtu(w, m, nh, mtu)) {
    ns.count('Ip.FragFails')
    icmpSend(w, slot, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, mtu)
    freeSkb(w, slot, R_FRAG_NEEDED, mtu)
    return
  }
  const ttl = ipDecreaseTtl(v, nh)
  if (w.tracer !== null) w.tracer.step(T_IP_FORWARD, slot, ns, rt.dev, ttl, 0, 0, null)
  if ((meta[m + M_FLAGS]! & SKB_DOREDIRECT) !== 0 && !(hasOptions && optionsOf(w, slot).srr !== 0)) {
    ipRtSendRedirect(w, ns, slot)
  }
  if (ns.sysctl.ip_forward_update_priority !== 0) {
    meta[m + M_PRIORITY] = TOS2PRIO[(v.getUint8(nh + 1) & 0x1e) >> 1]!
  }
  const inDev = w.devices[meta[m + M_DEV]!] as NetDevice | null
  if (nfHook(w, ns, NF_INET_FORWARD, slot, inDev, rt.dev) !== NF_ACCEPT) return
  // ip_forward_finish
  if (hasOptions) ipForwardOptions(w, ns, slot)
  dstOutput(w, ns, slot)
}
