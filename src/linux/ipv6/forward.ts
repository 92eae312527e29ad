/**
 * IPv6 forwarding.
 *
 * Linux: net/ipv6/ip6_output.c (ip6_forward, ip6_forward_proxy_check's link-local rule, ip6_pkt_too_big). Not modelled: xfrm policies,
 * router alert chains of raw sockets, offload marks.
 */
import {
  M_DEV,
  M_FLAGS,
  M_FRAG_MAX,
  M_IIF,
  M_LEN,
  M_NH,
  M_PKTTYPE,
  M_SK,
  META_SHIFT,
  PACKET_HOST,
  SKB_FORWARDED,
  SKB_IGNORE_DF,
} from '../../packet/layout.ts'
import { freeSkb } from '../core/skb.ts'
import type { NetDevice } from '../device/device.ts'
import { NF_ACCEPT, NF_INET_FORWARD, nfHook6 } from '../netfilter/hooks.ts'
import type { Netns } from '../netns.ts'
import {
  R_FRAG_NEEDED,
  R_IP6_ADDRESS,
  R_NEIGH_FAILED,
  R_NOT_FORWARDING,
  R_TTL,
  R_UNICAST_IN_L2_MULTICAST,
} from '../reasons.ts'
import { HZ, inetPeerXrlimAllow, jiffiesAt } from '../route/peer.ts'
import { T_IP_FORWARD } from '../trace.ts'
import type { World } from '../world.ts'
import { SKB6_SRCRT } from './exthdrs.ts'
import { icmpv6Send } from './icmp.ts'
import { IPV6_ADDR_LINKLOCAL, IPV6_ADDR_LOOPBACK, IPV6_ADDR_MULTICAST } from './in6.ts'
import { ndiscSendRedirect } from './ndisc-send.ts'
import { dst6Output } from './output.ts'
import type { Rt6 } from './rt6.ts'

const ICMPV6_DEST_UNREACH = 1
const ICMPV6_PKT_TOOBIG = 2
const ICMPV6_TIME_EXCEED = 3
const ICMPV6_NOT_NEIGHBOUR = 2
const IPV6_MIN_MTU = 1280

/** ip6_pkt_too_big */
function pktTooBig(w: World, m: number, mtu: number): boolean {
  const meta = w.arena.meta
  if (meta[m + M_LEN]! <= mtu) return false
  // ipv6 conntrack defrag sets max_frag_size + ignore_df
  if (meta[m + M_FRAG_MAX] !== 0 && meta[m + M_FRAG_MAX]! > mtu) return true
  return (meta[m + M_FLAGS]! & SKB_IGNORE_DF) === 0
}

/** ip6_forward: takes the slot. */
export function ip6Forward(w: World, ns: Netns, slot: number): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const v = a.view
  const nh = meta[m + M_NH]!
  const dev = w.devices[meta[m + M_DEV]!] as NetDevice
  if (ns.sysctl.ipv6.all.forwarding === 0 && (dev.in6 === null || dev.in6.conf.force_forwarding === 0)) {
    ns.count('Ip6.InAddrErrors')
    freeSkb(w, slot, R_NOT_FORWARDING)
    return
  }
  if (meta[m + M_PKTTYPE] !== PACKET_HOST || meta[m + M_SK] !== 0) {
    freeSkb(w, slot, R_UNICAST_IN_L2_MULTICAST)
    return
  }
  const hops = v.getUint8(nh + 7)
  if (hops <= 1) {
    icmpv6Send(w, slot, ICMPV6_TIME_EXCEED, 0, 0)
    ns.count('Ip6.InHdrErrors')
    freeSkb(w, slot, R_TTL)
    return
  }
  const proxies = ns.sysctl.ipv6.all.proxy_ndp !== 0 || (dev.in6 !== null && dev.in6.conf.proxy_ndp !== 0)
  if (proxies && ns.nd.isProxied(dev, w.in6.read(v, nh + 24))) {
    // unicast neighbour discovery to a proxied address is forwarded as anything else: seen on Linux 6.18
    if ((w.in6.type(w.in6.read(v, nh + 24)) & IPV6_ADDR_LINKLOCAL) !== 0) {
      // dst_link_failure
      icmpv6Send(w, slot, ICMPV6_DEST_UNREACH, 3, 0)
      freeSkb(w, slot, R_NEIGH_FAILED)
      return
    }
  }
  const rt = a.dst[slot] as Rt6
  if (meta[m + M_IIF] === rt.dev.id && (meta[m + M_FLAGS]! & SKB6_SRCRT) === 0) {
    const daddr = w.in6.read(v, nh + 24)
    const now = jiffiesAt(w.nowNs)
    if (inetPeerXrlimAllow(ns.fib6.peers.get(daddr, now), now, HZ)) ndiscSendRedirect(w, slot, rt.nexthop(daddr))
  } else if (!sourceFits(w, ns, slot, nh)) return
  const mtu = Math.max(rt.mtuMaybeForward(true), IPV6_MIN_MTU)
  if (pktTooBig(w, m, mtu)) {
    meta[m + M_DEV] = rt.dev.id
    ns.count('Ip6.InTooBigErrors')
    icmpv6Send(w, slot, ICMPV6_PKT_TOOBIG, 0, mtu)
    freeSkb(w, slot, R_FRAG_NEEDED, mtu)
    return
  }
  v.setUint8(nh + 7, hops - 1)
  meta[m + M_FLAGS] = meta[m + M_FLAGS]! | SKB_FORWARDED
  if (w.tracer !== null) w.tracer.step(T_IP_FORWARD, slot, ns, rt.dev, hops - 1, 0, 0, null)
  if (nfHook6(w, ns, NF_INET_FORWARD, slot, dev, rt.dev) !== NF_ACCEPT) return
  ns.count('Ip6.OutForwDatagrams')
  dst6Output(w, ns, slot)
}

/** What ip6_forward asks of the source of a packet that changes links. @returns false when the packet is gone */
function sourceFits(w: World, ns: Netns, slot: number, nh: number): boolean {
  const type = w.in6.type(w.in6.read(w.arena.view, nh + 8)) & 0xffff
  if (type === 0 || (type & (IPV6_ADDR_MULTICAST | IPV6_ADDR_LOOPBACK)) !== 0) {
    ns.count('Ip6.InAddrErrors')
    freeSkb(w, slot, R_IP6_ADDRESS)
    return false
  }
  if ((type & IPV6_ADDR_LINKLOCAL) !== 0) {
    icmpv6Send(w, slot, ICMPV6_DEST_UNREACH, ICMPV6_NOT_NEIGHBOUR, 0)
    ns.count('Ip6.InAddrErrors')
    freeSkb(w, slot, R_IP6_ADDRESS)
    return false
  }
  return true
}
