/**
 * MASQUERADE: source NAT to the outgoing device's address.
 *
 * Linux: nf_nat_masquerade_ipv4, masq_device_event, masq_inet_event (net/netfilter/nf_nat_masquerade.c). The address is
 * the device's primary one for the next hop (inet_select_addr), not the route's preferred source. When the device goes
 * down, or loses the address, the connections end.
 */
import { M_CT, M_CTINFO, M_DATA, META_SHIFT } from '../../../packet/layout.ts'
import { type NetDevice, RT_SCOPE_UNIVERSE } from '../../device/device.ts'
import { inetSelectAddr } from '../../device/inet.ts'
import { ipv6DevGetSaddr } from '../../ipv6/saddr.ts'
import type { Netns } from '../../netns.ts'
import { R_NAT_NO_TUPLE } from '../../reasons.ts'
import type { Rtable } from '../../route/rtable.ts'
import type { World } from '../../world.ts'
import {
  C_MASQ_INDEX,
  C_REPLY_DST,
  C_SRC,
  C_WORDS,
  IP_CT_NEW,
  IP_CT_RELATED,
  IP_CT_RELATED_REPLY,
  NF_ACCEPT,
  NF_DROP,
} from '../conntrack/layout.ts'
import { iterateCleanup } from '../conntrack/lifetime.ts'
import { NatRange, NF_NAT_MANIP_SRC, NF_NAT_RANGE_MAP_IPS } from './range.ts'
import { nfNatSetupInfo } from './setup.ts'

const masqRange = new NatRange()

/** nf_nat_masquerade_ipv4: the MASQUERADE target; flags and ports come from `range`. */
export function nfNatMasqueradeIpv4(w: World, ns: Netns, slot: number, range: NatRange, outDev: NetDevice): number {
  const { meta, view } = w.arena
  const m = slot << META_SHIFT
  const id = meta[m + M_CT]!
  const ctinfo = meta[m + M_CTINFO]!
  if (id === 0 || ns.ct === null) return NF_ACCEPT
  if (ctinfo !== IP_CT_NEW && ctinfo !== IP_CT_RELATED && ctinfo !== IP_CT_RELATED_REPLY) return NF_ACCEPT
  const e = id * C_WORDS
  if (ns.ct.hash.rows[e + C_SRC] === 0) return NF_ACCEPT
  const rt = w.arena.dst[slot] as Rtable | null
  const nexthop = rt?.hasGateway ? rt.gateway : view.getInt32(meta[m + M_DATA]! + 16)
  const newsrc = inetSelectAddr(ns, outDev, nexthop, RT_SCOPE_UNIVERSE)
  if (newsrc === 0) {
    w.dropReason = R_NAT_NO_TUPLE
    return NF_DROP
  }
  ns.ct.hash.rows[e + C_MASQ_INDEX] = outDev.ifindex
  masqRange.flags = range.flags | NF_NAT_RANGE_MAP_IPS
  masqRange.minIp = newsrc
  masqRange.maxIp = newsrc
  masqRange.minPort = range.minPort
  masqRange.maxPort = range.maxPort
  masqRange.basePort = range.basePort
  return nfNatSetupInfo(w, ns, id, slot, masqRange, NF_NAT_MANIP_SRC)
}

/** masq_device_event(NETDEV_DOWN): ends the connections masqueraded behind the device. */
export function nfNatMasqDeviceEvent(ns: Netns, dev: NetDevice): void {
  const ct = ns.ct
  if (ct === null) return
  iterateCleanup(ct, (id) => ct.hash.rows[id * C_WORDS + C_MASQ_INDEX] === dev.ifindex)
}

/** masq_inet_event(NETDEV_DOWN): the address `ip` left the device: ends the connections that use it. */
export function nfNatMasqInetEvent(ns: Netns, dev: NetDevice, ip: number): void {
  const ct = ns.ct
  if (ct === null) return
  iterateCleanup(ct, (id) => {
    const e = id * C_WORDS
    if (ct.hash.rows[e + C_MASQ_INDEX] !== dev.ifindex || ct.isIpv6(id)) return false
    return ct.hash.rows[e + C_REPLY_DST] === ip
  })
}

/** nf_nat_masquerade_ipv6: flags and ports come from `range`. */
export function nfNatMasqueradeIpv6(w: World, ns: Netns, slot: number, range: NatRange, outDev: NetDevice): number {
  const { meta, view } = w.arena
  const m = slot << META_SHIFT
  const id = meta[m + M_CT]!
  const ctinfo = meta[m + M_CTINFO]!
  if (id === 0 || ns.ct === null) return NF_ACCEPT
  if (ctinfo !== IP_CT_NEW && ctinfo !== IP_CT_RELATED && ctinfo !== IP_CT_RELATED_REPLY) return NF_ACCEPT
  const newsrc = ipv6DevGetSaddr(ns, outDev, w.in6.read(view, meta[m + M_DATA]! + 24), 0)
  if (newsrc === 0) {
    w.dropReason = R_NAT_NO_TUPLE
    return NF_DROP
  }
  ns.ct.hash.rows[id * C_WORDS + C_MASQ_INDEX] = outDev.ifindex
  masqRange.flags = range.flags | NF_NAT_RANGE_MAP_IPS
  masqRange.minIp = newsrc
  masqRange.maxIp = newsrc
  masqRange.minPort = range.minPort
  masqRange.maxPort = range.maxPort
  masqRange.basePort = range.basePort
  return nfNatSetupInfo(w, ns, id, slot, masqRange, NF_NAT_MANIP_SRC)
}

/** masq_inet6_event(NETDEV_DOWN): the IPv6 address `addr` (an In6Table id) left the device: ends what it stood for. */
export function nfNatMasqInet6Event(ns: Netns, dev: NetDevice, addr: number): void {
  const ct = ns.ct
  if (ct === null) return
  iterateCleanup(ct, (id) => {
    const e = id * C_WORDS
    if (ct.hash.rows[e + C_MASQ_INDEX] !== dev.ifindex || !ct.isIpv6(id)) return false
    return ct.hash.rows[e + C_REPLY_DST] === addr
  })
}
