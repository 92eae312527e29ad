/**
 * What the tunnels have in common: TOS, TTL and ECN of the outer header, path MTU, the outer header itself.
 *
 * Linux: net/ipv4/ip_tunnel_core.c (iptunnel_xmit, skb_tunnel_check_pmtu, iptunnel_pmtud_check_icmp,
 * iptunnel_pmtud_build_icmp and their v6 twins), include/net/ip_tunnels.h (ip_tunnel_get_dsfield, ip_tunnel_get_ttl, ip_tunnel_ecn_encap),
 * include/net/inet_ecn.h (INET_ECN_encapsulate, __INET_ECN_decapsulate), include/net/ip6_tunnel.h (ip6tunnel_xmit). RFC 6040.
 * Not modelled: offloads, metadata (collect_md) tunnels.
 */
import {
  ETH_HLEN,
  ETH_P_8021AD,
  ETH_P_8021Q,
  ETH_P_IP,
  ETH_P_IPV6,
  M_CT,
  M_DATA,
  M_DEV,
  M_FLAGS,
  M_FRAG_MAX,
  M_HASH,
  M_LEN,
  M_MAC,
  M_MARK,
  M_NH,
  M_OPTLEN,
  M_PROTO,
  M_SK,
  M_TH,
  META_SHIFT,
  SKB_CSUM_OK,
} from '../../packet/layout.ts'
import { internetChecksum } from '../../wire/checksum.ts'
import { icmpIsError } from '../ip/icmp-stats.ts'
import { ipSendCheck } from '../ip/options.ts'
import { ipLocalOut } from '../ip/output.ts'
import { rt6UpdatePmtu } from '../ipv6/exception.ts'
import { exthdr, IPPROTO_ICMPV6, ipv6SkipExthdr } from '../ipv6/exthdrs-core.ts'
import type { Flowi6 } from '../ipv6/flow6.ts'
import { ip6PushOut } from '../ipv6/output.ts'
import { Rt6 } from '../ipv6/rt6.ts'
import type { Netns } from '../netns.ts'
import { Flowi4, ipRtUpdatePmtu, type Rtable } from '../route/route.ts'
import { transportChecksum6 } from '../socket/checksum.ts'
import type { World } from '../world.ts'
import type { NetDevice } from './device.ts'
import { skbScrubPacket } from './veth.ts'

const ECN_MASK = 3
const ECN_ECT_1 = 1
const ECN_ECT_0 = 2
const ECN_CE = 3
const IP_DF = 0x4000
const IPPROTO_ICMP = 1
const ICMP_BYTES = 8
const ICMP_MAX_BYTES = 576
const IPV6_MIN_MTU = 1280
const NDISC_REDIRECT = 137

/** skb_protocol(skb, true): the protocol behind VLAN tags of the frame that starts at `eth` and ends at `end`. */
export function innerProtocol(w: World, eth: number, end: number): number {
  const v = w.arena.view
  let off = eth + 12
  while (off + 2 <= end) {
    const proto = v.getUint16(off)
    if (proto !== ETH_P_8021Q && proto !== ETH_P_8021AD) return proto
    off += 4
  }
  return 0
}

/** ip_tunnel_get_dsfield: TOS of the inner packet at M_NH, 0 when it is not IP. */
export function ipTunnelGetDsfield(w: World, slot: number, proto: number): number {
  const nh = w.arena.meta[(slot << META_SHIFT) + M_NH]!
  if (proto === ETH_P_IP) return w.arena.view.getUint8(nh + 1)
  if (proto === ETH_P_IPV6) return (w.arena.view.getUint16(nh) >> 4) & 0xff
  return 0
}

/** ip_tunnel_get_ttl */
export function ipTunnelGetTtl(w: World, slot: number, proto: number): number {
  const nh = w.arena.meta[(slot << META_SHIFT) + M_NH]!
  if (proto === ETH_P_IP) return w.arena.view.getUint8(nh + 8)
  return proto === ETH_P_IPV6 ? w.arena.view.getUint8(nh + 7) : 0
}

/** INET_ECN_encapsulate: DSCP of the tunnel, ECN of the inner packet; an inner CE leaves as ECT(0). */
export function ecnEncapsulate(outer: number, inner: number): number {
  const ecn = inner & ECN_MASK
  return (outer & ~ECN_MASK) | (ecn === ECN_CE ? ECN_ECT_0 : ecn)
}

/**
 * IP_ECN_decapsulate: what the outer header says about congestion goes into the inner packet at `nh` of `proto`.
 * @returns false when the packet must be dropped (outer CE about an inner packet that knows no ECN)
 */
export function ipEcnDecapsulate(w: World, outer: number, proto: number, nh: number): boolean {
  const v = w.arena.view
  let inner: number
  if (proto === ETH_P_IP) inner = v.getUint8(nh + 1)
  else if (proto === ETH_P_IPV6) inner = (v.getUint16(nh) >> 4) & 0xff
  else return true
  if ((outer & ECN_MASK) === ECN_ECT_1 && (inner & ECN_MASK) === ECN_ECT_0) {
    // INET_ECN_set_ect1: RFC 6040 wants ECT(1) to come through
    if (proto === ETH_P_IP) {
      const sum = v.getUint16(nh + 10) + 1
      v.setUint16(nh + 10, (sum & 0xffff) + (sum >>> 16))
      v.setUint8(nh + 1, inner ^ ECN_MASK)
    } else v.setUint16(nh, v.getUint16(nh) ^ (ECN_MASK << 4))
    return true
  }
  if ((outer & ECN_MASK) !== ECN_CE) return true
  if ((inner & ECN_MASK) === 0) return false
  if ((inner & ECN_MASK) === ECN_CE) return true
  if (proto === ETH_P_IP) {
    // IP_ECN_set_ce: the checksum follows the change, a wrong one stays wrong
    const addend = 0xfffb + ((inner + 1) & ECN_MASK)
    const sum = v.getUint16(nh + 10) + addend
    v.setUint16(nh + 10, (sum & 0xffff) + (sum >>> 16))
    v.setUint8(nh + 1, inner | ECN_CE)
  } else v.setUint16(nh, v.getUint16(nh) | (ECN_CE << 4))
  return true
}

const flow = new Flowi4()

/** skb_dst_update_pmtu_no_confirm: the inner packet's route learns what fits through the tunnel. */
export function skbDstUpdatePmtu(w: World, slot: number, mtu: number): void {
  const a = w.arena
  const m = slot << META_SHIFT
  const rt = a.dst[slot] as Rtable | Rt6 | null
  if (rt === null) return
  const nh = a.meta[m + M_NH]!
  const v = a.view
  if (v.getUint8(nh) >> 4 === 6 && rt instanceof Rt6) rt6UpdatePmtu(rt.dev.ns, rt, w.in6.read(v, nh + 24), mtu)
  if (v.getUint8(nh) >> 4 !== 4 || rt instanceof Rt6) return
  const fl = flow.reset()
  fl.daddr = v.getInt32(nh + 16)
  fl.saddr = v.getInt32(nh + 12)
  fl.oif = a.meta[m + M_DEV]!
  fl.tos = v.getUint8(nh + 1) & 0xfc
  fl.proto = v.getUint8(nh + 9)
  fl.mark = a.meta[m + M_MARK]!
  ipRtUpdatePmtu(rt.dev.ns, rt, fl, mtu)
}

/** skb_tunnel_check_pmtu: nothing to say, the packet was turned into an ICMP error for its sender. */
export const PMTU_FITS = 0
export const PMTU_REPLY = 1

/**
 * skb_tunnel_check_pmtu: tells the inner packet's route when it is larger than `encap` takes with `headroom` more bytes,
 * and (`reply`: the tunnel is a bridge port, its sender is beyond the bridge) makes the frame an ICMP error to the sender.
 */
export function skbTunnelCheckPmtu(
  w: World,
  slot: number,
  encap: Rtable | Rt6,
  headroom: number,
  reply: boolean,
): number {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const mtu = encap.mtu() - headroom
  if (meta[m + M_LEN]! - (meta[m + M_NH]! - meta[m + M_DATA]!) <= mtu) return PMTU_FITS
  skbDstUpdatePmtu(w, slot, mtu)
  if (!reply) return PMTU_FITS
  if (meta[m + M_PROTO] === ETH_P_IPV6) return pmtudCheckIcmpv6(w, slot, mtu) ? PMTU_REPLY : PMTU_FITS
  if (meta[m + M_PROTO] !== ETH_P_IP) return PMTU_FITS
  return pmtudCheckIcmp(w, slot, mtu) ? PMTU_REPLY : PMTU_FITS
}

/** ipv4_is_multicast or ipv4_is_lbcast */
function isGroup(ip: number): boolean {
  return ip >>> 28 === 14 || ip === -1
}

/** iptunnel_pmtud_check_icmp */
function pmtudCheckIcmp(w: World, slot: number, mtu: number): boolean {
  const v = w.arena.view
  const nh = w.arena.meta[(slot << META_SHIFT) + M_NH]!
  if (mtu < ICMP_MAX_BYTES || v.getUint16(nh + 6) !== IP_DF) return false
  const saddr = v.getInt32(nh + 12)
  if (isGroup(v.getInt32(nh + 16)) || isGroup(saddr) || saddr >>> 24 === 0 || saddr >>> 24 === 127) return false
  if (v.getUint8(nh + 9) === IPPROTO_ICMP && icmpIsError(v.getUint8(nh + ((v.getUint8(nh) & 15) << 2)))) return false
  pmtudBuildIcmp(w, slot, mtu)
  return true
}

/** iptunnel_pmtud_build_icmp: the frame becomes fragmentation-needed from its destination to its source. */
function pmtudBuildIcmp(w: World, slot: number, mtu: number): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const v = a.view
  const eth = meta[m + M_DATA]!
  const dstHi = v.getUint16(eth)
  const dstLo = v.getInt32(eth + 2)
  const srcHi = v.getUint16(eth + 6)
  const srcLo = v.getInt32(eth + 8)
  const iph = eth + ETH_HLEN
  const ttl = v.getUint8(iph + 8)
  const saddr = v.getInt32(iph + 12)
  const daddr = v.getInt32(iph + 16)
  a.pull(slot, ETH_HLEN)
  a.trim(slot, ICMP_MAX_BYTES - 20 - ICMP_BYTES)
  if (a.headroom(slot) < 20 + ICMP_BYTES + ETH_HLEN) a.resize(slot, meta[m + M_LEN]!)
  const icmp = a.push(slot, ICMP_BYTES)
  v.setUint16(icmp, 0x0304)
  v.setUint16(icmp + 2, 0)
  v.setInt32(icmp + 4, mtu & 0xffff)
  v.setUint16(icmp + 2, internetChecksum(v, icmp, meta[m + M_LEN]!))
  meta[m + M_TH] = icmp
  const nh = a.push(slot, 20)
  v.setUint16(nh, 0x4500)
  v.setUint16(nh + 2, meta[m + M_LEN]!)
  v.setUint16(nh + 4, 0)
  v.setUint16(nh + 6, IP_DF)
  v.setUint8(nh + 8, ttl)
  v.setUint8(nh + 9, IPPROTO_ICMP)
  v.setInt32(nh + 12, daddr)
  v.setInt32(nh + 16, saddr)
  ipSendCheck(v, nh)
  meta[m + M_NH] = nh
  const back = a.push(slot, ETH_HLEN)
  meta[m + M_MAC] = back
  v.setUint16(back, srcHi)
  v.setInt32(back + 2, srcLo)
  v.setUint16(back + 6, dstHi)
  v.setInt32(back + 8, dstLo)
  v.setUint16(back + 12, ETH_P_IP)
}

/** iptunnel_pmtud_check_icmpv6 */
function pmtudCheckIcmpv6(w: World, slot: number, mtu: number): boolean {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = meta[m + M_NH]!
  const end = meta[m + M_DATA]! + meta[m + M_LEN]!
  const saddr = w.in6.read(v, nh + 8)
  // the kernel compares whole types: ::1 and groups of link or site are none of these
  const scope = v.getUint8(nh + 9) & 15
  const group = w.in6.isMulticast(saddr) && scope !== 2 && scope !== 5 && scope !== 1
  if (mtu < IPV6_MIN_MTU || saddr === 0 || group) return false
  // nor does it count the Ethernet header when it looks for extension headers
  const data = meta[m + M_DATA]!
  const at = ipv6SkipExthdr(v, data + 40, end, v.getUint8(nh + 6))
  if (at < 0 || (exthdr.fragOff & 0xfff8) !== 0) return false
  const th = nh + at - data
  if (exthdr.nexthdr === IPPROTO_ICMPV6 && (th >= end || v.getUint8(th) < 128 || v.getUint8(th) === NDISC_REDIRECT)) {
    return false
  }
  pmtudBuildIcmpv6(w, slot, mtu)
  return true
}

/** iptunnel_pmtud_build_icmpv6: the frame becomes packet-too-big from its destination to its source. */
function pmtudBuildIcmpv6(w: World, slot: number, mtu: number): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const eth = meta[m + M_DATA]!
  const head = a.bytes.slice(eth, eth + ETH_HLEN + 40)
  a.pull(slot, ETH_HLEN)
  a.trim(slot, IPV6_MIN_MTU - 40 - ICMP_BYTES)
  if (a.headroom(slot) < 40 + ICMP_BYTES + ETH_HLEN) a.resize(slot, meta[m + M_LEN]!)
  const v = a.view
  const icmp = a.push(slot, ICMP_BYTES)
  v.setInt32(icmp, 0x02000000)
  v.setInt32(icmp + 4, mtu)
  const len = meta[m + M_LEN]!
  meta[m + M_TH] = icmp
  const nh = a.push(slot, 40)
  v.setInt32(nh, 0x60000000)
  v.setUint16(nh + 4, len)
  v.setUint8(nh + 6, IPPROTO_ICMPV6)
  v.setUint8(nh + 7, head[ETH_HLEN + 7]!)
  a.bytes.set(head.subarray(ETH_HLEN + 24, ETH_HLEN + 40), nh + 8)
  a.bytes.set(head.subarray(ETH_HLEN + 8, ETH_HLEN + 24), nh + 24)
  const [saddr, daddr] = [w.in6.read(v, nh + 8), w.in6.read(v, nh + 24)]
  v.setUint16(icmp + 2, transportChecksum6(w, a.bytes, icmp, len, saddr, daddr, IPPROTO_ICMPV6))
  meta[m + M_NH] = nh
  const back = a.push(slot, ETH_HLEN)
  meta[m + M_MAC] = back
  a.bytes.set(head.subarray(6, 12), back)
  a.bytes.set(head.subarray(0, 6), back + 6)
  v.setUint16(back + 12, ETH_P_IPV6)
}

/**
 * iptunnel_xmit: pushes the outer IPv4 header in front of M_DATA and sends the packet in the underlay's namespace `ns`.
 * Takes the slot.
 * @param df IP_DF or 0
 * @returns 0 or an errno
 */
export function iptunnelXmit(
  w: World,
  ns: Netns,
  slot: number,
  rt: Rtable,
  saddr: number,
  daddr: number,
  proto: number,
  tos: number,
  ttl: number,
  df: number,
  xnet: boolean,
): number {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  skbScrubPacket(w, slot, xnet)
  meta[m + M_HASH] = 0
  meta[m + M_FLAGS] = SKB_CSUM_OK
  a.dst[slot] = rt
  const nh = a.push(slot, 20)
  meta[m + M_NH] = nh
  meta[m + M_TH] = nh + 20
  meta[m + M_MAC] = -1
  meta[m + M_DEV] = rt.dev.id
  const v = a.view
  v.setUint16(nh, 0x4500 | tos)
  v.setUint16(nh + 4, ns.frags.nextIdent())
  v.setUint16(nh + 6, rt.locked ? 0 : df)
  v.setUint16(nh + 8, (ttl << 8) | proto)
  v.setInt32(nh + 12, saddr)
  v.setInt32(nh + 16, daddr)
  return ipLocalOut(w, ns, slot)
}

/** udp_tunnel6_xmit_skb's second half and ip6tunnel_xmit: M_DATA at the UDP header. Takes the slot. @returns 0 or an errno */
export function ip6tunnelXmit(
  w: World,
  ns: Netns,
  slot: number,
  rt: Rt6,
  fl: Flowi6,
  tclass: number,
  hops: number,
  xnet: boolean,
): number {
  const a = w.arena
  const m = slot << META_SHIFT
  skbScrubPacket(w, slot, xnet)
  a.meta[m + M_MAC] = -1
  a.dst[slot] = rt
  a.meta[m + M_TH] = a.meta[m + M_DATA]!
  return ip6PushOut(w, ns, slot, fl, fl.proto, tclass, hops, 0)
}

/** iptunnel_xmit_stats: `bytes` of the inner packet when it left, 0 when it was dropped on the way. */
export function iptunnelXmitStats(dev: NetDevice, bytes: number): void {
  if (bytes > 0) {
    dev.txPackets++
    dev.txBytes += bytes
  } else dev.txDropped++
}

/** Clears what a decapsulated packet must not keep: __iptunnel_pull_header after the headers are gone. */
export function iptunnelPullScrub(w: World, slot: number, xnet: boolean): void {
  skbScrubPacket(w, slot, xnet)
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  // what was known of the outer checksum says nothing about the inner one
  meta[m + M_FLAGS] = 0
  meta[m + M_HASH] = 0
  meta[m + M_CT] = 0
  meta[m + M_OPTLEN] = 0
  meta[m + M_FRAG_MAX] = 0
  meta[m + M_SK] = 0
}
