/**
 * br_netfilter: IP netfilter hooks for bridged frames (net.bridge.bridge-nf-call-iptables=1, -call-ip6tables=1).
 *
 * Linux: net/bridge/br_netfilter_hooks.c. This is what makes a Service work between two pods on one bridge: a frame whose
 * destination DNAT changed is re-addressed to the new neighbour's MAC and bridged on with its source MAC kept. Not
 * modelled: VLAN encapsulated IP with bridge-nf-filter-vlan-tagged=1 (UNMODELLED) and PPPoE, call_arptables.
 * What differs in IPv6 before the bridging decision is in br-netfilter6.ts.
 */
import {
  ETH_HLEN,
  ETH_P_IP,
  ETH_P_IPV6,
  M_CT,
  M_CTINFO,
  M_DATA,
  M_DEV,
  M_FLAGS,
  M_FRAG_MAX,
  M_LEN,
  M_MAC,
  M_NFB_DADDR,
  M_NFB_IN,
  M_NFB_OUT,
  M_NFB_SMAC_HI,
  M_NFB_SMAC_LO,
  M_NFB_STATE,
  M_NH,
  M_PKTTYPE,
  M_PROTO,
  M_TH,
  META_SHIFT,
  NFB_BRIDGED_DNAT,
  NFB_IN_PREROUTING,
  NFB_OTHERHOST,
  NFB_PRESENT,
  PACKET_HOST,
  PACKET_OTHERHOST,
  SKB_IGNORE_DF,
  VLAN_TAG_PRESENT,
} from '../../packet/layout.ts'
import { freeSkb } from '../core/skb.ts'
import type { NetDevice } from '../device/device.ts'
import { ipDoFragment } from '../ip/fragment.ts'
import { brValidateIpv4 } from '../ip/input.ts'
import { ip6Fragment } from '../ipv6/fragment.ts'
import type { Rt6 } from '../ipv6/rt6.ts'
import { type Neighbour, NUD_CONNECTED, neighLookupOrCreate, neighOutputFn } from '../neighbour/neighbour.ts'
import { nfConntrackConfirm, nfConntrackPut } from '../netfilter/conntrack/core.ts'
import {
  NF_ACCEPT,
  NF_DROP,
  NF_INET_FORWARD,
  NF_INET_POST_ROUTING,
  NF_INET_PRE_ROUTING,
  nfHook,
  nfHook6,
} from '../netfilter/hooks.ts'
import type { Netns } from '../netns.ts'
import { R_CT_CLASH, R_IP_HDR, R_MTU, R_UNMODELLED } from '../reasons.ts'
import { fakeRtable, ipRouteInput, type Rtable } from '../route/route.ts'
import { T_BR_NETFILTER } from '../trace.ts'
import type { World } from '../world.ts'
import { brNfPreRouting6 } from './br-netfilter6.ts'
import type { BridgePort } from './bridge.ts'
import { brDevQueuePushXmit } from './forward.ts'
import { brHandleFrameFinish, brPreRoutingRest } from './input.ts'

const IP_DF = 0x4000

/** Whether the IPv4 hooks see bridged frames: the namespace's sysctl or the bridge's own flag. */
function callIptables(port: BridgePort): boolean {
  return port.bridge.nfCallIptables || port.dev.ns.sysctl.bridge_nf_call_iptables !== 0
}

export function toHost(w: World, slot: number): void {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  if (meta[m + M_PKTTYPE] !== PACKET_OTHERHOST) return
  meta[m + M_PKTTYPE] = PACKET_HOST
  meta[m + M_NFB_STATE] = meta[m + M_NFB_STATE]! | NFB_OTHERHOST
}

export function restoreOtherhost(w: World, slot: number): void {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  if ((meta[m + M_NFB_STATE]! & NFB_OTHERHOST) === 0) return
  meta[m + M_PKTTYPE] = PACKET_OTHERHOST
  meta[m + M_NFB_STATE] = meta[m + M_NFB_STATE]! & ~NFB_OTHERHOST
}

/**
 * br_nf_pre_routing and br_nf_pre_routing_finish.
 * @returns true when the packet was taken (bridged on, routed, dropped), false when bridging just goes on
 */
export function brNfPreRouting(w: World, slot: number, port: BridgePort): boolean {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const ns = port.dev.ns
  const proto = meta[m + M_PROTO]!
  if ((a.vlan[slot]! & VLAN_TAG_PRESENT) !== 0) {
    // IS_IP is false, is_vlan_ip is true when the sysctl is on
    if (ns.sysctl.bridge_nf_filter_vlan_tagged === 0 || (proto !== ETH_P_IP && proto !== ETH_P_IPV6)) return false
    freeSkb(w, slot, R_UNMODELLED, 0, 'sysctl net.bridge.bridge-nf-filter-vlan-tagged=1')
    return true
  }
  if (proto === ETH_P_IPV6) return brNfPreRouting6(w, slot, port)
  if (proto !== ETH_P_IP || !callIptables(port)) return false
  const brDev = port.bridge.dev
  if (!brValidateIpv4(w, ns, slot)) {
    freeSkb(w, slot, R_IP_HDR)
    return true
  }
  meta[m + M_NFB_STATE] = NFB_PRESENT | NFB_IN_PREROUTING
  toHost(w, slot)
  meta[m + M_NFB_IN] = port.dev.id
  meta[m + M_NFB_OUT] = -1
  const nh = meta[m + M_NH]!
  const daddr = a.view.getInt32(nh + 16)
  meta[m + M_NFB_DADDR] = daddr
  meta[m + M_TH] = nh + (a.view.getUint8(nh) & 15) * 4
  meta[m + M_DEV] = brDev.id
  if (w.tracer !== null) w.tracer.step(T_BR_NETFILTER, slot, ns, brDev, NF_INET_PRE_ROUTING, 0, 0, null)
  if (nfHook(w, ns, NF_INET_PRE_ROUTING, slot, brDev, null) !== NF_ACCEPT) return true
  restoreOtherhost(w, slot)
  meta[m + M_NFB_STATE] = meta[m + M_NFB_STATE]! & ~NFB_IN_PREROUTING
  if (a.view.getInt32(meta[m + M_NH]! + 16) !== meta[m + M_NFB_DADDR]) {
    if (finishDnat(w, slot, port)) return true
  } else a.dst[slot] = fakeRtable(brDev)
  meta[m + M_DEV] = port.dev.id
  brPreRoutingRest(w, slot, port)
  return true
}

/** The daddr-was-changed half of br_nf_pre_routing_finish. @returns true when the packet was taken */
function finishDnat(w: World, slot: number, port: BridgePort): boolean {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const brDev = port.bridge.dev
  const ns = brDev.ns
  const nh = meta[m + M_NH]!
  const saddr = a.view.getInt32(nh + 12)
  const daddr = a.view.getInt32(nh + 16)
  const tos = a.view.getUint8(nh + 1)
  const reason = ipRouteInput(w, ns, slot, daddr, saddr, tos, brDev)
  if (reason !== 0) {
    // Linux asks ip_route_output once more after -EHOSTUNREACH; input routing has not returned that since it answers
    // with an error route instead (ip_route_input_slow, no_route), and martian destinations have no way out either
    freeSkb(w, slot, reason, daddr)
    return true
  }
  const rt = a.dst[slot] as Rtable
  if (rt.dev === brDev) {
    bridgedDnat(w, slot, port, rt, daddr)
    return true
  }
  const mac = meta[m + M_MAC]!
  a.view.setUint16(mac, brDev.macHi)
  a.view.setInt32(mac + 2, brDev.macLo)
  meta[m + M_PKTTYPE] = PACKET_HOST
  return false
}

/**
 * br_nf_pre_routing_finish_bridge: with a connected neighbour whose header is cached only the destination MAC changes and
 * bridging goes on; else the neighbour's output function runs on the bridge device and comes back by the slow path.
 */
function bridgedDnat(w: World, slot: number, port: BridgePort, rt: Rtable, daddr: number): void {
  const brDev = port.bridge.dev
  finishBridge(w, slot, port, neighLookupOrCreate(brDev.ns, brDev, rt.hasGateway ? rt.gateway : daddr))
}

/** The rest of br_nf_pre_routing_finish_bridge, for a neighbour of either family. */
export function finishBridge(w: World, slot: number, port: BridgePort, neigh: Neighbour): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const brDev = port.bridge.dev
  if (w.recorder !== null) w.recorder.neighbour(neigh)
  const mac = meta[m + M_MAC]!
  if ((neigh.state & NUD_CONNECTED) !== 0 && neigh.hh) {
    a.view.setUint16(mac, neigh.macHi)
    a.view.setInt32(mac + 2, neigh.macLo)
    meta[m + M_DEV] = port.dev.id
    brHandleFrameFinish(w, slot)
    return
  }
  meta[m + M_NFB_SMAC_HI] = a.view.getUint16(mac + 6)
  meta[m + M_NFB_SMAC_LO] = a.view.getInt32(mac + 8)
  meta[m + M_NFB_STATE] = meta[m + M_NFB_STATE]! | NFB_BRIDGED_DNAT
  meta[m + M_DEV] = brDev.id
  neighOutputFn(w, slot, neigh)
}

/** br_nf_pre_routing_finish_bridge_slow: called by br_dev_xmit, M_DATA at the Ethernet header. */
export function brNfPreRoutingFinishBridgeSlow(w: World, slot: number): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  meta[m + M_NFB_STATE] = meta[m + M_NFB_STATE]! & ~NFB_BRIDGED_DNAT
  const mac = meta[m + M_DATA]!
  meta[m + M_MAC] = mac
  a.pull(slot, ETH_HLEN)
  meta[m + M_NH] = mac + ETH_HLEN
  a.view.setUint16(mac + 6, meta[m + M_NFB_SMAC_HI]!)
  a.view.setInt32(mac + 8, meta[m + M_NFB_SMAC_LO]!)
  meta[m + M_DEV] = meta[m + M_NFB_IN]!
  meta[m + M_NFB_OUT] = -1
  brHandleFrameFinish(w, slot)
}

/** br_nf_forward: IPv4 FORWARD hooks between two ports. @returns true when the packet is gone */
export function brNfForward(w: World, slot: number, from: NetDevice, to: BridgePort): boolean {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  if ((meta[m + M_NFB_STATE]! & NFB_PRESENT) === 0) return false
  const ns = to.dev.ns
  const brDev = to.bridge.dev
  toHost(w, slot)
  meta[m + M_NFB_OUT] = to.dev.id
  if (w.tracer !== null) w.tracer.step(T_BR_NETFILTER, slot, ns, brDev, NF_INET_FORWARD, 0, 0, null)
  const inDev = from.port === null ? from : from.port.bridge.dev
  const hook = meta[m + M_PROTO] === ETH_P_IPV6 ? nfHook6 : nfHook
  if (hook(w, ns, NF_INET_FORWARD, slot, inDev, brDev) !== NF_ACCEPT) return true
  restoreOtherhost(w, slot)
  return false
}

/** br_nf_post_routing and br_nf_dev_queue_xmit. @returns true when the packet is gone */
export function brNfPostRouting(w: World, slot: number, to: BridgePort): boolean {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  // physoutdev is unset when the frame was routed on this host: POST_ROUTING ran in the IP stack already
  if ((meta[m + M_NFB_STATE]! & NFB_PRESENT) === 0 || meta[m + M_NFB_OUT] === -1) return false
  const ns = to.dev.ns
  const brDev = to.bridge.dev
  toHost(w, slot)
  if (w.tracer !== null) w.tracer.step(T_BR_NETFILTER, slot, ns, brDev, NF_INET_POST_ROUTING, 0, 0, null)
  const hook = meta[m + M_PROTO] === ETH_P_IPV6 ? nfHook6 : nfHook
  if (hook(w, ns, NF_INET_POST_ROUTING, slot, null, brDev) !== NF_ACCEPT) return true
  restoreOtherhost(w, slot)
  // what came in pieces leaves in pieces (nf_bridge->frag_max_size)
  const fragMax = meta[m + M_FRAG_MAX]!
  const mtu = fragMax !== 0 && fragMax < to.dev.mtu ? fragMax : to.dev.mtu
  if (meta[m + M_LEN]! > mtu) {
    if (meta[m + M_PROTO] === ETH_P_IPV6) refragment6(w, slot, to)
    else refragment(w, slot, to)
    return true
  }
  nfBridgeInfoFree(meta, m)
  return false
}

/** nf_bridge_info_free */
export function nfBridgeInfoFree(meta: Int32Array, m: number): void {
  meta[m + M_NFB_STATE] = 0
  meta[m + M_NFB_IN] = -1
  meta[m + M_NFB_OUT] = -1
}

/** br_nf_dev_queue_xmit over IPv6. */
function refragment6(w: World, slot: number, to: BridgePort): void {
  const a = w.arena
  const mac = a.meta[(slot << META_SHIFT) + M_MAC]!
  dstHi = a.view.getUint16(mac)
  dstLo = a.view.getInt32(mac + 2)
  srcHi = a.view.getUint16(mac + 6)
  srcLo = a.view.getInt32(mac + 8)
  const rt = a.dst[slot] as Rt6 | null
  ip6Fragment(w, to.dev.ns, slot, rt === null ? to.bridge.dev.mtu : rt.dev.mtu, pushFragXmit)
}

/**
 * br_nf_ip_fragment: what is too large for the port (a datagram that conntrack put together, or one from a port with a
 * larger MTU) leaves in pieces, each with its link header. With DF it is dropped and nobody is told.
 */
function refragment(w: World, slot: number, to: BridgePort): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const mtu = (a.dst[slot] as Rtable | null)?.mtu() ?? to.bridge.dev.mtu
  const df = (a.view.getUint16(meta[m + M_NH]! + 6) & IP_DF) !== 0 && (meta[m + M_FLAGS]! & SKB_IGNORE_DF) === 0
  if (df || meta[m + M_FRAG_MAX]! > mtu) {
    freeSkb(w, slot, R_MTU, to.dev.mtu)
    return
  }
  const mac = meta[m + M_MAC]!
  dstHi = a.view.getUint16(mac)
  dstLo = a.view.getInt32(mac + 2)
  srcHi = a.view.getUint16(mac + 6)
  srcLo = a.view.getInt32(mac + 8)
  ipDoFragment(w, to.dev.ns, slot, mtu, pushFragXmit)
}

// brnf_frag_data_storage (per CPU): the link header of the datagram that is being cut
let dstHi = 0
let dstLo = 0
let srcHi = 0
let srcLo = 0

/** br_nf_push_frag_xmit */
function pushFragXmit(w: World, piece: number): number {
  const meta = w.arena.meta
  const p = piece << META_SHIFT
  const eth = meta[p + M_DATA]! - ETH_HLEN
  const view = w.arena.view
  view.setUint16(eth, dstHi)
  view.setInt32(eth + 2, dstLo)
  view.setUint16(eth + 6, srcHi)
  view.setInt32(eth + 8, srcLo)
  view.setUint16(eth + 12, meta[p + M_PROTO]!)
  meta[p + M_MAC] = eth
  nfBridgeInfoFree(meta, p)
  // br_dev_queue_push_xmit does not say what became of the frame
  brDevQueuePushXmit(w, piece)
  return 0
}

/**
 * br_nf_local_in: a flooded frame of a new connection that goes up the stack is confirmed here, since its clones went
 * through the bridge's POST_ROUTING. @returns true when the packet is gone
 */
export function brNfLocalIn(w: World, ns: Netns, slot: number, promisc: boolean): boolean {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  if (meta[m + M_CT] === 0) return false
  if (promisc) {
    nfConntrackPut(w, slot)
    meta[m + M_CT] = 0
    meta[m + M_CTINFO] = 0
    return false
  }
  if (meta[m + M_PKTTYPE] === PACKET_HOST) return false
  const verdict = nfConntrackConfirm(w, ns, slot)
  if (verdict === NF_ACCEPT) return false
  if (verdict === NF_DROP) freeSkb(w, slot, R_CT_CLASH)
  return true
}
