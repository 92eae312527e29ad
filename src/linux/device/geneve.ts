/**
 * Geneve devices over IPv4.
 *
 * Linux: drivers/net/geneve.c (geneve_xmit_skb, geneve_udp_encap_recv, geneve_rx, geneve_configure, geneve_link_config).
 * RFC 8926. A device has one remote and takes packets of its VNI from there only; the UDP source port is the flow hash.
 * In external mode a device takes every VNI; what it is given to send is dropped, since nothing that podwalk models
 * attaches tunnel metadata (encap routes and tc tunnel_key are refused by name).
 * Not modelled: IPv6 underlays, options, innerprotoinherit, remotes that are host names.
 */
import {
  ETH_HLEN,
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
import { ethTypeTrans, netifRx } from '../core/dev.ts'
import { freeSkb } from '../core/skb.ts'
import { EADDRINUSE, EBUSY, EEXIST } from '../errno.ts'
import type { Netns } from '../netns.ts'
import {
  R_DEV_DOWN,
  R_INVALID_TX,
  R_LOOP,
  R_NO_TX_TARGET,
  R_NOMEM,
  R_TUNNEL_ECN,
  R_TUNNEL_NO_ROUTE,
  R_VXLAN_HDR,
  R_VXLAN_LOCAL_MAC,
  R_VXLAN_VNI,
} from '../reasons.ts'
import { dstCheck, Flowi4, ipRouteOutput, type Rtable, routeErrno } from '../route/route.ts'
import { transportChecksum } from '../socket/checksum.ts'
import { T_TUNNEL_DECAP, T_TUNNEL_ENCAP } from '../trace.ts'
import type { World } from '../world.ts'
import { DEV_GENEVE, type NetDevice } from './device.ts'
import { randomMac, registerNetdevice } from './register.ts'
import {
  ecnEncapsulate,
  innerProtocol,
  ipEcnDecapsulate,
  ipTunnelGetDsfield,
  ipTunnelGetTtl,
  iptunnelPullScrub,
  iptunnelXmit,
  iptunnelXmitStats,
  PMTU_REPLY,
  skbTunnelCheckPmtu,
} from './tunnel.ts'
import { skbGetHash, udpFlowSrcPort } from './tunnel-hash.ts'
import { vlanInetPrepare } from './vxlan-xmit.ts'

/** GENEVE_UDP_PORT */
export const GENEVE_PORT = 6081
/** GENEVE_IPV4_HLEN */
const GENEVE_HEADROOM = 50
/** UDP and the header without options. */
const GENEVE_BASE_HLEN = 16
const PUSHED_BYTES = 20 + GENEVE_BASE_HLEN + ETH_HLEN
const ETH_P_TEB = 0x6558
const IP_DF = 0x4000
const IPPROTO_UDP = 17
const GENEVE_CRITICAL = 0x40
/** `dev->max_mtu` less what the outer headers take */
const GENEVE_MAX_MTU = 65485
const GENEVE_EXTERNAL_MTU = 65465

/** What `ip link add ... type geneve` sets: struct geneve_config. */
export interface GeneveConfig {
  vni: number
  remote: number
  dstport: number
  ttl: number
  ttlInherit: boolean
  /** 1: inherit */
  tos: number
  /** GENEVE_DF_*: 0 unset, 1 set, 2 inherit */
  df: number
  udpcsum: boolean
  /** collect_md */
  external: boolean
}

/** The private part of a Geneve device: struct geneve_dev. */
export class GeneveDev {
  readonly dev: NetDevice
  readonly net: Netns
  readonly cfg: GeneveConfig
  cacheRt: Rtable | null = null
  cacheSaddr = 0

  constructor(dev: NetDevice, cfg: GeneveConfig) {
    this.dev = dev
    this.net = dev.ns
    this.cfg = cfg
  }
}

const flow = new Flowi4()

/** The Geneve part of a device of kind DEV_GENEVE. */
export function genevePriv(dev: NetDevice): GeneveDev {
  return dev.priv as GeneveDev
}

/** The driver's defaults. */
export function geneveDefaults(): GeneveConfig {
  const ends = { vni: -1, remote: 0, dstport: GENEVE_PORT }
  return { ...ends, ttl: 0, ttlInherit: false, tos: 0, df: 0, udpcsum: false, external: false }
}

/**
 * ip link add NAME type geneve. @returns the device; -EBUSY when VNI and remote are taken on the port, -EEXIST when an
 * external device stands on it
 */
export function createGeneve(
  ns: Netns,
  name: string,
  cfg: GeneveConfig,
  mac: { hi: number; lo: number } | null = null,
  mtu: number | null = null,
): NetDevice | number {
  for (const t of ns.geneves) {
    if (t.cfg.dstport !== cfg.dstport) continue
    if (t.cfg.vni === cfg.vni && t.cfg.remote === cfg.remote && !t.cfg.external && !cfg.external) return EBUSY
    if (t.cfg.external || cfg.external) return EEXIST
  }
  const dev = registerNetdevice(ns, name, DEV_GENEVE, mac ?? randomMac(ns), mtu ?? guessMtu(ns, cfg))
  const priv = new GeneveDev(dev, cfg)
  dev.priv = priv
  ns.geneves.push(priv)
  return dev
}

/** geneve_link_config: what the route to the remote leaves. */
function guessMtu(ns: Netns, cfg: GeneveConfig): number {
  if (cfg.external) return GENEVE_EXTERNAL_MTU
  const fl = flow.reset()
  fl.daddr = cfg.remote
  const rt = ipRouteOutput(ns, fl)
  return rt === null ? 1500 : rt.dev.mtu - GENEVE_HEADROOM
}

/** Largest MTU that the device takes. */
export function geneveMaxMtu(dev: NetDevice): number {
  return genevePriv(dev).cfg.external ? GENEVE_EXTERNAL_MTU : GENEVE_MAX_MTU
}

/** geneve_dellink */
export function geneveUninit(dev: NetDevice): void {
  const priv = genevePriv(dev)
  priv.net.geneves.splice(priv.net.geneves.indexOf(priv), 1)
}

/** geneve_open: the port's socket. @returns 0 or -EADDRINUSE */
export function geneveOpen(dev: NetDevice): number {
  const { cfg, net } = genevePriv(dev)
  const users = net.genevePorts.get(cfg.dstport) ?? 0
  if (users === 0 && (net.sockets.udp.has(cfg.dstport) || net.vxlanSocks.has(cfg.dstport))) return EADDRINUSE
  net.genevePorts.set(cfg.dstport, users + 1)
  return 0
}

/** geneve_stop */
export function geneveStop(dev: NetDevice): void {
  const { cfg, net } = genevePriv(dev)
  const users = (net.genevePorts.get(cfg.dstport) ?? 1) - 1
  if (users === 0) net.genevePorts.delete(cfg.dstport)
  else net.genevePorts.set(cfg.dstport, users)
}

function txError(w: World, slot: number, dev: NetDevice, reason: number, detail: number): void {
  dev.txErrors++
  freeSkb(w, slot, reason, detail, dev)
}

function dstLookup(w: World, slot: number, g: GeneveDev, tos: number, sport: number, useCache: boolean): Rtable | null {
  if (useCache && g.cacheRt !== null && dstCheck(g.net, g.cacheRt)) {
    flow.saddr = g.cacheSaddr
    return g.cacheRt
  }
  const fl = flow.reset()
  fl.mark = w.arena.meta[(slot << META_SHIFT) + M_MARK]!
  fl.proto = IPPROTO_UDP
  fl.daddr = g.cfg.remote
  fl.dport = g.cfg.dstport
  fl.sport = sport
  fl.tos = tos & 0xfc
  const rt = ipRouteOutput(g.net, fl)
  if (rt !== null && useCache && rt.dev !== g.dev) {
    g.cacheRt = rt
    g.cacheSaddr = fl.saddr
  }
  return rt
}

/** geneve_xmit: M_DATA at the Ethernet header of a frame for the overlay. Takes the slot. */
export function geneveXmit(w: World, slot: number, dev: NetDevice): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const g = genevePriv(dev)
  const cfg = g.cfg
  const ns = g.net
  if (cfg.external) {
    txError(w, slot, dev, R_NO_TX_TARGET, 0)
    return
  }
  const eth = meta[m + M_DATA]!
  if (meta[m + M_LEN]! < ETH_HLEN || !vlanInetPrepare(w, slot)) {
    txError(w, slot, dev, R_INVALID_TX, 0)
    return
  }
  const proto = innerProtocol(w, eth, eth + meta[m + M_LEN]!)
  const inner = ipTunnelGetDsfield(w, slot, proto)
  const tos = cfg.tos === 1 ? inner : cfg.tos
  const sport = udpFlowSrcPort(skbGetHash(w, slot), 1, 65535)
  const rt = dstLookup(w, slot, g, tos, sport, cfg.tos !== 1 && meta[m + M_MARK] === 0)
  if (rt === null || rt.dev === dev) {
    txError(w, slot, dev, rt === null ? R_TUNNEL_NO_ROUTE : R_LOOP, routeErrno())
    return
  }
  const saddr = flow.saddr
  if (skbTunnelCheckPmtu(w, slot, rt, GENEVE_HEADROOM, dev.port !== null) === PMTU_REPLY) {
    dev.txErrors++
    receiveOwn(w, slot, dev)
    return
  }
  let ttl = cfg.ttlInherit ? ipTunnelGetTtl(w, slot, proto) : cfg.ttl
  if (ttl === 0) ttl = ns.sysctl.ip_default_ttl
  let df = cfg.df === 1 ? IP_DF : 0
  if (cfg.df === 2) {
    const type = a.view.getUint16(eth + 12)
    if (type === ETH_P_IPV6) df = IP_DF
    else if (type === ETH_P_IP) df = a.view.getUint16(meta[m + M_NH]! + 6) & IP_DF
  }
  if (a.headroom(slot) < PUSHED_BYTES && !a.resize(slot, meta[m + M_LEN]!)) {
    txError(w, slot, dev, R_NOMEM, 0)
    return
  }
  const innerLen = meta[m + M_LEN]! - (meta[m + M_NH]! - meta[m + M_DATA]!)
  pushHeaders(w, slot, cfg, sport, saddr)
  if (w.tracer !== null) w.tracer.step(T_TUNNEL_ENCAP, slot, ns, dev, saddr, cfg.remote, cfg.vni, null)
  const outer = ecnEncapsulate(tos, inner)
  const err = iptunnelXmit(w, ns, slot, rt, saddr, cfg.remote, IPPROTO_UDP, outer, ttl, df, ns !== dev.ns)
  iptunnelXmitStats(dev, err === 0 ? innerLen : 0)
}

/** geneve_build_skb and the UDP header. */
function pushHeaders(w: World, slot: number, cfg: GeneveConfig, sport: number, saddr: number): void {
  const a = w.arena
  const m = slot << META_SHIFT
  const uh = a.push(slot, GENEVE_BASE_HLEN)
  const len = a.meta[m + M_LEN]!
  const v = a.view
  v.setUint16(uh, sport)
  v.setUint16(uh + 2, cfg.dstport)
  v.setUint16(uh + 4, len)
  v.setUint16(uh + 6, 0)
  v.setUint16(uh + 8, 0)
  v.setUint16(uh + 10, ETH_P_TEB)
  v.setInt32(uh + 12, cfg.vni << 8)
  if (cfg.udpcsum) {
    const check = transportChecksum(a.bytes, uh, len, saddr, cfg.remote, IPPROTO_UDP)
    v.setUint16(uh + 6, check === 0 ? 0xffff : check)
  }
  a.meta[m + M_TH] = uh
}

/** The frame became an ICMP error for its sender, who is beyond the bridge: the device receives it. */
function receiveOwn(w: World, slot: number, dev: NetDevice): void {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  meta[m + M_MAC] = meta[m + M_DATA]!
  meta[m + M_DEV] = dev.id
  ethTypeTrans(w, slot, dev)
  meta[m + M_PKTTYPE] = PACKET_HOST
  // __netif_rx without dev_sw_netstats_rx_add: what netifReceiveSkb will count is taken off beforehand
  dev.rxPackets--
  dev.rxBytes -= meta[m + M_LEN]!
  netifRx(w, slot)
}

function lookup(ns: Netns, port: number, vni: number, saddr: number): GeneveDev | null {
  for (let i = 0; i < ns.geneves.length; i++) {
    const g = ns.geneves[i]!
    if (g.cfg.dstport !== port || !g.dev.up) continue
    if (g.cfg.external || (g.cfg.vni === vni && g.cfg.remote === saddr)) return g
  }
  return null
}

/** geneve_udp_encap_recv: M_DATA at the UDP header, its checksum right, M_NH at the outer IP header. Takes the slot. */
export function geneveRcv(w: World, ns: Netns, slot: number): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const v = a.view
  const uh = meta[m + M_DATA]!
  const len = meta[m + M_LEN]!
  if (len < GENEVE_BASE_HLEN || v.getUint8(uh + 8) >> 6 !== 0) {
    freeSkb(w, slot, R_VXLAN_HDR)
    return
  }
  const outer = meta[m + M_NH]!
  const saddr = v.getInt32(outer + 12)
  const vni = v.getInt32(uh + 12) >>> 8
  const g = lookup(ns, v.getUint16(uh + 2), vni, saddr)
  if (g === null) {
    freeSkb(w, slot, R_VXLAN_VNI, vni)
    return
  }
  const dev = g.dev
  const hlen = GENEVE_BASE_HLEN + (v.getUint8(uh + 8) & 0x3f) * 4
  if (v.getUint16(uh + 10) !== ETH_P_TEB || len < hlen + ETH_HLEN) {
    dev.rxDropped++
    freeSkb(w, slot, R_VXLAN_HDR)
    return
  }
  const critical = (v.getUint8(uh + 9) & GENEVE_CRITICAL) !== 0
  const outerTos = v.getUint8(outer + 1)
  if (w.tracer !== null) w.tracer.step(T_TUNNEL_DECAP, slot, ns, dev, saddr, v.getInt32(outer + 16), vni, null)
  a.pull(slot, hlen)
  iptunnelPullScrub(w, slot, g.net !== dev.ns)
  if (critical && !g.cfg.external) {
    dev.rxErrors++
    freeSkb(w, slot, R_VXLAN_HDR)
    return
  }
  receiveInner(w, slot, dev, outerTos)
}

/** geneve_rx */
function receiveInner(w: World, slot: number, dev: NetDevice, outerTos: number): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const v = a.view
  const eth = meta[m + M_DATA]!
  ethTypeTrans(w, slot, dev)
  if (v.getUint16(eth + 6) === dev.macHi && v.getInt32(eth + 8) === dev.macLo) {
    dev.rxErrors++
    freeSkb(w, slot, R_VXLAN_LOCAL_MAC)
    return
  }
  const proto = meta[m + M_PROTO]!
  const room = proto === ETH_P_IP ? 20 : proto === ETH_P_IPV6 ? 40 : 0
  const nh = meta[m + M_NH]!
  if (meta[m + M_LEN]! < room) {
    dev.rxErrors++
    freeSkb(w, slot, R_INVALID_TX)
    return
  }
  if (!ipEcnDecapsulate(w, outerTos, innerProtocol(w, eth, nh + meta[m + M_LEN]!), nh)) {
    dev.rxErrors++
    freeSkb(w, slot, R_TUNNEL_ECN)
    return
  }
  if (!dev.up) {
    dev.rxDropped++
    freeSkb(w, slot, R_DEV_DOWN)
    return
  }
  netifRx(w, slot)
}

/** geneve_udp_encap_err_lookup: whether the datagram quoted at `uh` with `len` bytes is one of ours. */
export function geneveErrLookup(w: World, ns: Netns, uh: number, len: number, daddr: number): boolean {
  const v = w.arena.view
  if (len < GENEVE_BASE_HLEN || !ns.genevePorts.has(v.getUint16(uh + 2)) || v.getUint8(uh + 8) >> 6 !== 0) return false
  return lookup(ns, v.getUint16(uh + 2), v.getInt32(uh + 12) >>> 8, daddr) !== null
}
