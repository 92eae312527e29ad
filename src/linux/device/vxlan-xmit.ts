/**
 * Frames that a VXLAN device sends.
 *
 * Linux: drivers/net/vxlan/vxlan_core.c (vxlan_xmit, vxlan_xmit_one, encap_bypass_if_local, vxlan_encap_bypass,
 * vxlan_build_skb), net/ipv4/udp_tunnel_core.c (udp_tunnel_dst_lookup, udp_tunnel_xmit_skb). The inner frame is not
 * copied: UDP and VXLAN headers are pushed into its headroom. Several destinations get clones, the first one the frame
 * itself, last.
 */
import {
  ETH_HLEN,
  ETH_P_8021AD,
  ETH_P_8021Q,
  ETH_P_IP,
  ETH_P_IPV6,
  M_DATA,
  M_DEV,
  M_LEN,
  M_MAC,
  M_MARK,
  M_NH,
  M_PKTTYPE,
  M_PROTO,
  M_TH,
  META_SHIFT,
  PACKET_HOST,
} from '../../packet/layout.ts'
import { netifRx } from '../core/dev.ts'
import { cloneSkb, freeSkb } from '../core/skb.ts'
import { Flowi6 } from '../ipv6/flow6.ts'
import { ip6DstLookup, rt6Check } from '../ipv6/route.ts'
import type { Rt6 } from '../ipv6/rt6.ts'
import {
  R_DEV_DOWN,
  R_INVALID_TX,
  R_LOOP,
  R_NO_TX_TARGET,
  R_NOMEM,
  R_TUNNEL_NO_ROUTE,
  R_VXLAN_VNI,
} from '../reasons.ts'
import { dstCheck, Flowi4, ipRouteOutput, type Rtable, routeErrno } from '../route/route.ts'
import { RTCF_BROADCAST, RTCF_MULTICAST } from '../route/rtn.ts'
import { transportChecksum, transportChecksum6 } from '../socket/checksum.ts'
import { T_TUNNEL_ENCAP } from '../trace.ts'
import type { World } from '../world.ts'
import type { NetDevice } from './device.ts'
import {
  ecnEncapsulate,
  innerProtocol,
  ip6tunnelXmit,
  ipTunnelGetDsfield,
  ipTunnelGetTtl,
  iptunnelXmit,
  iptunnelXmitStats,
  PMTU_REPLY,
  skbTunnelCheckPmtu,
} from './tunnel.ts'
import { skbGetHash, udpFlowSrcPort } from './tunnel-hash.ts'
import {
  VXLAN_DF_INHERIT,
  VXLAN_DF_SET,
  VXLAN_HEADROOM,
  VXLAN_TOS_INHERIT,
  VXLAN6_HEADROOM,
  type VxlanDev,
  vxlanPriv,
} from './vxlan.ts'
import type { VxlanRdst } from './vxlan-fdb.ts'
import { vxlanSnoop } from './vxlan-rcv.ts'

const IP_DF = 0x4000
const IPPROTO_UDP = 17
const UDP_AND_VXLAN_BYTES = 16
const INADDR_LOOPBACK = 0x7f000001
/** VXLAN_HF_VNI in the first word. */
const VXLAN_HF_VNI = 0x08000000
/** Outer IPv4, UDP, VXLAN and the underlay's link header. */
const PUSHED_BYTES = 20 + UDP_AND_VXLAN_BYTES + ETH_HLEN

const flow = new Flowi4()
const flow6 = new Flowi6()

/** vxlan_xmit: M_DATA at the Ethernet header of a frame for the overlay. Takes the slot. */
export function vxlanXmit(w: World, slot: number, dev: NetDevice): void {
  const a = w.arena
  const m = slot << META_SHIFT
  const vxlan = vxlanPriv(dev)
  const eth = a.meta[m + M_DATA]!
  if (a.meta[m + M_LEN]! < ETH_HLEN) {
    dev.txDropped++
    freeSkb(w, slot, R_INVALID_TX)
    return
  }
  if (vxlan.cfg.external) {
    // nothing that is modelled attaches tunnel metadata (SKB_DROP_REASON_TUNNEL_TXINFO)
    dev.txDropped++
    freeSkb(w, slot, R_NO_TX_TARGET, 0, dev)
    return
  }
  const f = vxlan.fdb.find(a.view.getUint16(eth), a.view.getInt32(eth + 2)) ?? vxlan.fdb.find(0, 0)
  if (f === undefined) {
    dev.txDropped++
    freeSkb(w, slot, R_NO_TX_TARGET, 0, dev)
    return
  }
  f.usedNs = w.nowNs
  if (w.recorder !== null) w.recorder.sentBehind(f, vxlan.fdb)
  const remotes = f.remotes
  for (let i = 1; i < remotes.length; i++) {
    const copy = cloneSkb(w, slot)
    if (copy >= 0) vxlanXmitOne(w, copy, dev, vxlan, remotes[i]!)
  }
  vxlanXmitOne(w, slot, dev, vxlan, remotes[0]!)
}

/** skb_vlan_inet_prepare: M_NH behind the VLAN tags. @returns false when the frame is too short for what it says */
export function vlanInetPrepare(w: World, slot: number): boolean {
  const a = w.arena
  const m = slot << META_SHIFT
  const eth = a.meta[m + M_DATA]!
  const len = a.meta[m + M_LEN]!
  let maclen = ETH_HLEN
  let type = a.meta[m + M_PROTO]!
  while (type === ETH_P_8021Q || type === ETH_P_8021AD) {
    if (maclen + 4 > len) return false
    type = a.view.getUint16(eth + maclen + 2)
    maclen += 4
  }
  const nhlen = type === ETH_P_IP ? 20 : type === ETH_P_IPV6 ? 40 : 0
  if (maclen + nhlen > len) return false
  a.meta[m + M_NH] = eth + maclen
  return true
}

function txError(w: World, slot: number, dev: NetDevice, reason: number, detail: number): void {
  dev.txErrors++
  freeSkb(w, slot, reason, detail, dev)
}

/** udp_tunnel_dst_lookup: the underlay route to `rd`; `rd.cacheSaddr` is the source that goes with it. */
function dstLookup(
  w: World,
  slot: number,
  vxlan: VxlanDev,
  rd: VxlanRdst,
  tos: number,
  sport: number,
  useCache: boolean,
): Rtable | null {
  const ns = vxlan.net
  if (useCache && rd.cacheRt !== null && dstCheck(ns, rd.cacheRt)) {
    flow.saddr = rd.cacheSaddr
    return rd.cacheRt
  }
  const fl = flow.reset()
  fl.mark = w.arena.meta[(slot << META_SHIFT) + M_MARK]!
  fl.proto = IPPROTO_UDP
  fl.oif = rd.via === null ? -1 : rd.via.id
  fl.daddr = rd.remote
  fl.saddr = vxlan.cfg.local
  fl.dport = rd.port
  fl.sport = sport
  fl.tos = tos & 0xfc
  const rt = ipRouteOutput(ns, fl)
  if (rt !== null && useCache && rt.dev !== vxlan.dev) {
    rd.cacheRt = rt
    rd.cacheSaddr = fl.saddr
  }
  return rt
}

/** udp_tunnel6_dst_lookup: the underlay route to `rd`; `flow6.saddr` is the source that goes with it. */
function dstLookup6(
  w: World,
  slot: number,
  vxlan: VxlanDev,
  rd: VxlanRdst,
  tos: number,
  sport: number,
  useCache: boolean,
): Rt6 | null {
  const ns = vxlan.net
  const fl = flow6.reset()
  fl.proto = IPPROTO_UDP
  fl.oif = rd.via === null ? -1 : rd.via.id
  fl.daddr = rd.remote
  fl.saddr = vxlan.cfg.local
  fl.mark = w.arena.meta[(slot << META_SHIFT) + M_MARK]!
  fl.tclass = tos
  fl.sport = sport
  fl.dport = rd.port
  if (useCache && rd.cacheRt6 !== null && rt6Check(ns, rd.cacheRt6, rd.remote)) {
    fl.saddr = rd.cacheSaddr
    return rd.cacheRt6
  }
  const rt = ip6DstLookup(ns, fl)
  if (rt.error !== 0) {
    errno6 = rt.error
    return null
  }
  if (useCache && rt.dev !== vxlan.dev) {
    rd.cacheRt6 = rt
    rd.cacheSaddr = fl.saddr
  }
  return rt
}

let errno6 = 0

/** The IPv6 half of vxlan_xmit_one. Takes the slot. */
function xmitOne6(
  w: World,
  slot: number,
  dev: NetDevice,
  vxlan: VxlanDev,
  rd: VxlanRdst,
  sport: number,
  tos: number,
  inner: number,
  ttlIn: number,
): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const cfg = vxlan.cfg
  const ns = vxlan.net
  const rt = dstLookup6(w, slot, vxlan, rd, tos, sport, tos === 0 && meta[m + M_MARK] === 0)
  if (rt === null) {
    txError(w, slot, dev, R_TUNNEL_NO_ROUTE, errno6)
    return
  }
  if (rt.dev === dev) {
    txError(w, slot, dev, R_LOOP, 0)
    return
  }
  const saddr = flow6.saddr
  if (rt.isLocal && cfg.localbypass) {
    const to = ns.vxlanSocks6.get(rd.port)?.devs.get(rd.vni)
    if (to === undefined) txError(w, slot, dev, R_VXLAN_VNI, rd.vni)
    else vxlanEncapBypass(w, slot, vxlan, to, true)
    return
  }
  if (skbTunnelCheckPmtu(w, slot, rt, VXLAN6_HEADROOM, dev.port !== null) === PMTU_REPLY) {
    vxlanEncapBypass(w, slot, vxlan, vxlan, false)
    return
  }
  const tclass = ecnEncapsulate(tos, inner)
  const hops = ttlIn === 0 ? rt.hoplimit() : ttlIn
  if (a.headroom(slot) < PUSHED_BYTES + 20 && !a.resize(slot, meta[m + M_LEN]!)) {
    txError(w, slot, dev, R_NOMEM, 0)
    return
  }
  const innerLen = meta[m + M_LEN]! - (meta[m + M_NH]! - meta[m + M_DATA]!)
  const uh = pushVxlan(w, slot, sport, rd)
  const len = meta[m + M_LEN]!
  const check = transportChecksum6(w, a.bytes, uh, len, saddr, rd.remote, IPPROTO_UDP)
  a.view.setUint16(uh + 6, check === 0 ? 0xffff : check)
  if (w.tracer !== null) w.tracer.step(T_TUNNEL_ENCAP, slot, ns, dev, saddr, rd.remote, rd.vni, rd)
  flow6.saddr = saddr
  flow6.daddr = rd.remote
  const err = ip6tunnelXmit(w, ns, slot, rt, flow6, tclass, hops, ns !== dev.ns)
  iptunnelXmitStats(dev, err === 0 ? innerLen : 0)
}

/** vxlan_build_skb and udp_tunnel_xmit_skb's header: UDP without a checksum, then VXLAN. @returns its offset */
function pushVxlan(w: World, slot: number, sport: number, rd: VxlanRdst): number {
  const a = w.arena
  const m = slot << META_SHIFT
  const uh = a.push(slot, UDP_AND_VXLAN_BYTES)
  const v = a.view
  v.setUint16(uh, sport)
  v.setUint16(uh + 2, rd.port)
  v.setUint16(uh + 4, a.meta[m + M_LEN]!)
  v.setUint16(uh + 6, 0)
  v.setInt32(uh + 8, VXLAN_HF_VNI)
  v.setInt32(uh + 12, rd.vni << 8)
  a.meta[m + M_TH] = uh
  return uh
}

/** vxlan_xmit_one: encapsulates towards one destination. Takes the slot. */
function vxlanXmitOne(w: World, slot: number, dev: NetDevice, vxlan: VxlanDev, rd: VxlanRdst): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const cfg = vxlan.cfg
  if (rd.remote === 0 || !vlanInetPrepare(w, slot)) {
    dev.txDropped++
    freeSkb(w, slot, rd.remote === 0 ? R_NO_TX_TARGET : R_INVALID_TX, 0, dev)
    return
  }
  const sock = vxlan.sock
  if (sock === null) {
    txError(w, slot, dev, R_DEV_DOWN, 0)
    return
  }
  const eth = meta[m + M_DATA]!
  const proto = innerProtocol(w, eth, eth + meta[m + M_LEN]!)
  const inner = ipTunnelGetDsfield(w, slot, proto)
  let ttl = cfg.ttlInherit ? ipTunnelGetTtl(w, slot, proto) : cfg.ttl
  const group = cfg.six ? w.in6.isMulticast(rd.remote) : rd.remote >>> 28 === 14
  if (ttl === 0 && !cfg.ttlInherit && group) ttl = 1
  const tos = cfg.tos === VXLAN_TOS_INHERIT ? inner : cfg.tos
  const ns = vxlan.net
  const inRange = cfg.portMin < cfg.portMax
  const sport = udpFlowSrcPort(
    skbGetHash(w, slot),
    inRange ? cfg.portMin : ns.sysctl.ip_local_port_range_min,
    inRange ? cfg.portMax : ns.sysctl.ip_local_port_range_max,
  )
  if (cfg.six) {
    xmitOne6(w, slot, dev, vxlan, rd, sport, tos, inner, ttl)
    return
  }
  const rt = dstLookup(w, slot, vxlan, rd, tos, sport, tos === 0 && meta[m + M_MARK] === 0)
  if (rt === null) {
    txError(w, slot, dev, R_TUNNEL_NO_ROUTE, routeErrno())
    return
  }
  if (rt.dev === dev) {
    txError(w, slot, dev, R_LOOP, 0)
    return
  }
  const saddr = flow.saddr
  if (rt.isLocal && (rt.flags & (RTCF_BROADCAST | RTCF_MULTICAST)) === 0 && cfg.localbypass) {
    const to = ns.vxlanSocks.get(rd.port)?.devs.get(rd.vni)
    if (to === undefined) txError(w, slot, dev, R_VXLAN_VNI, rd.vni)
    else vxlanEncapBypass(w, slot, vxlan, to, true)
    return
  }
  let df = 0
  if (cfg.df === VXLAN_DF_SET) df = IP_DF
  else if (cfg.df === VXLAN_DF_INHERIT) {
    const type = a.view.getUint16(eth + 12)
    if (type === ETH_P_IPV6) df = IP_DF
    else if (type === ETH_P_IP) df = a.view.getUint16(meta[m + M_NH]! + 6) & IP_DF
  }
  if (skbTunnelCheckPmtu(w, slot, rt, VXLAN_HEADROOM, dev.port !== null) === PMTU_REPLY) {
    vxlanEncapBypass(w, slot, vxlan, vxlan, false)
    return
  }
  const outerTos = ecnEncapsulate(tos, inner)
  if (ttl === 0) ttl = ns.sysctl.ip_default_ttl
  if (a.headroom(slot) < PUSHED_BYTES && !a.resize(slot, meta[m + M_LEN]!)) {
    txError(w, slot, dev, R_NOMEM, 0)
    return
  }
  const innerLen = meta[m + M_LEN]! - (meta[m + M_NH]! - meta[m + M_DATA]!)
  const uh = pushVxlan(w, slot, sport, rd)
  const len = meta[m + M_LEN]!
  const v = a.view
  if (cfg.udpcsum) {
    const check = transportChecksum(a.bytes, uh, len, saddr, rd.remote, IPPROTO_UDP)
    v.setUint16(uh + 6, check === 0 ? 0xffff : check)
  }
  if (w.tracer !== null) w.tracer.step(T_TUNNEL_ENCAP, slot, ns, dev, saddr, rd.remote, rd.vni, rd)
  const err = iptunnelXmit(w, ns, slot, rt, saddr, rd.remote, IPPROTO_UDP, outerTos, ttl, df, ns !== dev.ns)
  iptunnelXmitStats(dev, err === 0 ? innerLen : 0)
}

/** vxlan_encap_bypass: the frame is received by a VXLAN device of this host without an outer header. Takes the slot. */
function vxlanEncapBypass(w: World, slot: number, from: VxlanDev, to: VxlanDev, snoop: boolean): void {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const dev = to.dev
  if (!dev.up) {
    dev.rxDropped++
    freeSkb(w, slot, R_DEV_DOWN)
    return
  }
  const eth = meta[m + M_DATA]!
  meta[m + M_MAC] = eth
  if (to.cfg.learning && snoop) {
    const v = w.arena.view
    vxlanSnoop(
      w,
      to,
      to.cfg.six ? w.in6.intern(0, 0, 0, 1) : INADDR_LOOPBACK,
      v.getUint16(eth + 6),
      v.getInt32(eth + 8),
    )
  }
  meta[m + M_PKTTYPE] = PACKET_HOST
  meta[m + M_DEV] = dev.id
  meta[m + M_PROTO] = w.arena.view.getUint16(eth + 12)
  w.arena.pull(slot, ETH_HLEN)
  from.dev.txPackets++
  from.dev.txBytes += meta[m + M_LEN]! + ETH_HLEN
  netifRx(w, slot)
}
