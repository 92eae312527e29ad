/**
 * GRE tunnels: `gre` carries IP packets, `gretap` Ethernet frames.
 *
 * Linux: net/ipv4/ip_gre.c (ipgre_xmit, gre_tap_xmit, __gre_xmit, __ipgre_rcv, ipgre_err), net/ipv4/gre_demux.c
 * (gre_parse_header, gre_build_header), net/ipv4/ip_tunnel.c (ip_tunnel_xmit, ip_tunnel_rcv, ip_tunnel_lookup).
 * RFC 2784, RFC 2890. Keys, checksums and sequence numbers in either direction, ttl, tos, pmtudisc, ignore-df.
 * Not modelled: sending without remote (NBMA, the verdict is UNMODELLED), multicast remotes, external mode, FOU and GUE,
 * fwmark, ERSPAN, the fallback devices gre0, gretap0 and erspan0 (as with net.core.fb_tunnels_only_for_init_net=2).
 */
import {
  ETH_HLEN,
  ETH_P_IP,
  ETH_P_IPV6,
  M_DATA,
  M_DEV,
  M_LEN,
  M_MAC,
  M_NH,
  M_PKTTYPE,
  M_PROTO,
  M_TH,
  META_SHIFT,
  PACKET_HOST,
} from '../../packet/layout.ts'
import { internetChecksum } from '../../wire/checksum.ts'
import { ethTypeTrans, netifRx } from '../core/dev.ts'
import { freeSkb } from '../core/skb.ts'
import { EEXIST, EINVAL } from '../errno.ts'
import { icmpSend, ipv4LinkFailure } from '../ip/icmp.ts'
import type { Netns } from '../netns.ts'
import {
  R_DEV_DOWN,
  R_FRAG_NEEDED,
  R_INVALID_TX,
  R_L4_CSUM,
  R_LOOP,
  R_NOMEM,
  R_PKT_TRUNC,
  R_TUNNEL_ECN,
  R_TUNNEL_NO_ROUTE,
  R_TUNNEL_SEQ,
  R_TUNNEL_UNKNOWN,
  R_UNMODELLED,
} from '../reasons.ts'
import {
  dstCheck,
  Flowi4,
  ipRouteOutput,
  ipv4Redirect,
  ipv4UpdatePmtu,
  type Rtable,
  routeErrno,
} from '../route/route.ts'
import { T_TUNNEL_DECAP, T_TUNNEL_ENCAP } from '../trace.ts'
import type { World } from '../world.ts'
import { DEV_GRE, DEV_GRETAP, IFF_POINTOPOINT, type NetDevice } from './device.ts'
import { icmpNdoSend } from './ipip.ts'
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
  skbDstUpdatePmtu,
} from './tunnel.ts'

const IPPROTO_GRE = 47
const ETH_P_TEB = 0x6558
const ETH_P_WCCP = 0x883e
const IP_DF = 0x4000
const IPV4_BYTES = 20
const IP_MAX_MTU = 65535
const IPV4_MIN_MTU = 68
/** What gre_rcv of the demultiplexer wants to see. */
const GRE_LEAST_BYTES = 12
/** TUNNEL_CSUM, TUNNEL_KEY, TUNNEL_SEQ as they stand in the header's first word */
export const GRE_CSUM = 0x8000
export const GRE_KEY = 0x2000
export const GRE_SEQ = 0x1000
const GRE_VERSION_OR_ROUTING = 0x4007
const ERR_TIMEO_NS = 30_000_000_000
const ICMP_DEST_UNREACH = 3
const ICMP_PORT_UNREACH = 3
const ICMP_FRAG_NEEDED = 4
const ICMP_SR_FAILED = 5
const ICMP_REDIRECT = 5
const ICMP_TIME_EXCEEDED = 11

/** What `ip link add ... type gre` sets: struct ip_tunnel_parm. */
export interface GreConfig {
  /** 0: any */
  local: number
  /** 0: any */
  remote: number
  link: NetDevice | null
  /** 0: inherit */
  ttl: number
  /** 1: inherit */
  tos: number
  pmtudisc: boolean
  ignoreDf: boolean
  /** GRE_* bits of received and of sent packets */
  iflags: number
  oflags: number
  ikey: number
  okey: number
}

/** The private part of a GRE device: struct ip_tunnel. */
export class GreTunnel {
  readonly dev: NetDevice
  readonly net: Netns
  readonly cfg: GreConfig
  iseq = 0
  oseq = 0
  cacheRt: Rtable | null = null
  cacheSaddr = 0
  errCount = 0
  errNs = 0

  constructor(dev: NetDevice, cfg: GreConfig) {
    this.dev = dev
    this.net = dev.ns
    this.cfg = cfg
  }
}

const flow = new Flowi4()

/** The tunnel of a device of kind DEV_GRE or DEV_GRETAP. */
export function greTunnel(dev: NetDevice): GreTunnel {
  return dev.priv as GreTunnel
}

/** The driver's defaults. */
export function greDefaults(): GreConfig {
  const flags = { iflags: 0, oflags: 0, ikey: 0, okey: 0 }
  return { local: 0, remote: 0, link: null, ttl: 0, tos: 0, pmtudisc: true, ignoreDf: false, ...flags }
}

/** gre_calc_hlen */
function headerBytes(flags: number): number {
  return 4 + ((flags & GRE_CSUM) !== 0 ? 4 : 0) + ((flags & GRE_KEY) !== 0 ? 4 : 0) + ((flags & GRE_SEQ) !== 0 ? 4 : 0)
}

/** ip link add NAME type gre or gretap. @returns the device, or -EEXIST when a tunnel with these ends and key is there */
export function createGre(
  ns: Netns,
  name: string,
  tap: boolean,
  cfg: GreConfig,
  mac: { hi: number; lo: number } | null = null,
  mtu: number | null = null,
): NetDevice | number {
  const kind = tap ? DEV_GRETAP : DEV_GRE
  const same = (t: GreTunnel): boolean =>
    t.dev.kind === kind &&
    t.cfg.local === cfg.local &&
    t.cfg.remote === cfg.remote &&
    t.cfg.link === cfg.link &&
    (t.cfg.iflags & GRE_KEY) === (cfg.iflags & GRE_KEY) &&
    t.cfg.ikey === cfg.ikey
  if (ns.greTunnels.some(same)) return EEXIST
  ns.world.greLoaded = true
  let lower: NetDevice | null = null
  if (cfg.remote !== 0) lower = route(ns, cfg, cfg.remote, cfg.tos & ~1)?.dev ?? null
  lower ??= cfg.link
  const outer = IPV4_BYTES + headerBytes(cfg.oflags) + (tap ? ETH_HLEN : 0)
  const guess = Math.max((lower === null ? 1500 : Math.min(lower.mtu, IP_MAX_MTU)) - outer, IPV4_MIN_MTU)
  const dev = registerNetdevice(ns, name, kind, tap ? (mac ?? randomMac(ns)) : { hi: 0, lo: 0 }, mtu ?? guess)
  if (!tap && cfg.remote !== 0) dev.flags |= IFF_POINTOPOINT
  const tunnel = new GreTunnel(dev, cfg)
  dev.priv = tunnel
  ns.greTunnels.push(tunnel)
  return dev
}

/** ip_tunnel_change_mtu. @returns 0 or -EINVAL */
export function greChangeMtu(dev: NetDevice, mtu: number): number {
  const tap = dev.kind === DEV_GRETAP
  const outer = IPV4_BYTES + headerBytes(greTunnel(dev).cfg.oflags) + (tap ? ETH_HLEN : 0)
  return mtu < IPV4_MIN_MTU || mtu > IP_MAX_MTU - outer ? EINVAL : 0
}

/** ip_tunnel_dellink */
export function greUninit(dev: NetDevice): void {
  const t = greTunnel(dev)
  const i = t.net.greTunnels.indexOf(t)
  if (i >= 0) t.net.greTunnels.splice(i, 1)
}

function route(ns: Netns, cfg: GreConfig, dst: number, tos: number): Rtable | null {
  const fl = flow.reset()
  fl.daddr = dst
  fl.saddr = cfg.local
  fl.oif = cfg.link === null ? -1 : cfg.link.id
  fl.tos = tos & 0xfc
  fl.proto = IPPROTO_GRE
  return ipRouteOutput(ns, fl)
}

/** ip_tunnel_lookup with ip_tunnel_key_match: most exact first. */
function lookup(
  ns: Netns,
  tap: boolean,
  link: number,
  flags: number,
  key: number,
  remote: number,
  local: number,
): GreTunnel | null {
  const list = ns.greTunnels
  let cand: GreTunnel | null = null
  for (let pass = 0; pass < 4; pass++) {
    for (let i = list.length - 1; i >= 0; i--) {
      const t = list[i]!
      const c = t.cfg
      if ((t.dev.kind === DEV_GRETAP) !== tap || !t.dev.up) continue
      if ((c.iflags & GRE_KEY) !== (flags & GRE_KEY)) continue
      if ((flags & GRE_KEY) !== 0 && c.ikey !== key) continue
      if (!fits(c, pass, remote, local)) continue
      if ((c.link === null ? -1 : c.link.id) === link) return t
      if (pass === 0 || cand === null) cand = t
    }
  }
  return cand
}

function fits(c: GreConfig, pass: number, remote: number, local: number): boolean {
  if (pass === 0) return c.local === local && c.remote === remote
  if (pass === 1) return c.remote === remote && c.local === 0
  if (pass === 2) return c.local === local && c.remote === 0
  return c.local === 0 && c.remote === 0
}

function txError(w: World, slot: number, dev: NetDevice, reason: number, detail: number): void {
  dev.txErrors++
  freeSkb(w, slot, reason, detail, dev)
}

/** gre_build_header in front of M_DATA. */
function buildHeader(w: World, slot: number, t: GreTunnel, proto: number): void {
  const a = w.arena
  const m = slot << META_SHIFT
  const { oflags, okey } = t.cfg
  const gre = a.push(slot, headerBytes(oflags))
  const v = a.view
  v.setUint16(gre, oflags)
  v.setUint16(gre + 2, proto)
  let at = gre + 4
  if ((oflags & GRE_CSUM) !== 0) {
    v.setInt32(at, 0)
    at += 4
  }
  if ((oflags & GRE_KEY) !== 0) {
    v.setInt32(at, okey)
    at += 4
  }
  if ((oflags & GRE_SEQ) !== 0) v.setInt32(at, t.oseq++ | 0)
  if ((oflags & GRE_CSUM) !== 0) v.setUint16(gre + 4, internetChecksum(v, gre, a.meta[m + M_LEN]!))
  a.meta[m + M_TH] = gre
}

/** ipgre_xmit, gre_tap_xmit and ip_tunnel_xmit: M_DATA at the inner packet or frame. Takes the slot. */
export function greXmit(w: World, slot: number, dev: NetDevice): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const v = a.view
  const t = greTunnel(dev)
  const cfg = t.cfg
  const tap = dev.kind === DEV_GRETAP
  const data = meta[m + M_DATA]!
  const len = meta[m + M_LEN]!
  const payload = tap ? innerProtocol(w, data, data + len) : meta[m + M_PROTO]!
  const nh = tap ? data + innerOffset(w, data, len) : data
  const room = payload === ETH_P_IP ? IPV4_BYTES : payload === ETH_P_IPV6 ? 40 : 0
  if (len - (nh - data) < room || (tap && len < ETH_HLEN)) {
    dev.txDropped++
    freeSkb(w, slot, R_INVALID_TX)
    return
  }
  meta[m + M_NH] = nh
  if (cfg.remote === 0) {
    freeSkb(w, slot, R_UNMODELLED, 0, 'GRE without remote')
    return
  }
  const inner = ipTunnelGetDsfield(w, slot, payload)
  const inherits = (cfg.tos & 1) !== 0
  const tos = inherits ? inner : cfg.tos
  const rt = xmitRoute(t, tos, !inherits)
  if (rt === null) {
    txError(w, slot, dev, R_TUNNEL_NO_ROUTE, routeErrno())
    return
  }
  const saddr = flow.saddr
  if (rt.dev === dev) {
    txError(w, slot, dev, R_LOOP, 0)
    return
  }
  const hlen = headerBytes(cfg.oflags)
  let df = cfg.pmtudisc ? IP_DF : 0
  if (payload === ETH_P_IP && !cfg.ignoreDf) df |= v.getUint16(nh + 6) & IP_DF
  if (!updatePmtu(w, slot, dev, rt, df, hlen, len - (tap ? ETH_HLEN : 0))) {
    txError(w, slot, dev, R_FRAG_NEEDED, rt.mtu() - IPV4_BYTES - hlen)
    return
  }
  if (t.errCount > 0) {
    if (w.nowNs < t.errNs + ERR_TIMEO_NS) {
      t.errCount--
      ipv4LinkFailure(w, slot)
    } else t.errCount = 0
  }
  const innerTtl = cfg.ttl === 0 ? ipTunnelGetTtl(w, slot, payload) : 0
  const known = payload === ETH_P_IP || payload === ETH_P_IPV6
  const ttl = cfg.ttl !== 0 ? cfg.ttl : known ? innerTtl : t.net.sysctl.ip_default_ttl
  if (a.headroom(slot) < IPV4_BYTES + hlen + ETH_HLEN && !a.resize(slot, len)) {
    dev.txDropped++
    freeSkb(w, slot, R_NOMEM)
    return
  }
  const innerLen = len - (nh - data)
  if (w.tracer !== null) w.tracer.step(T_TUNNEL_ENCAP, slot, t.net, dev, saddr, cfg.remote, cfg.okey, null)
  buildHeader(w, slot, t, tap ? ETH_P_TEB : payload)
  const outer = ecnEncapsulate(tos, inner)
  const err = iptunnelXmit(w, t.net, slot, rt, saddr, cfg.remote, IPPROTO_GRE, outer, ttl, df, t.net !== dev.ns)
  iptunnelXmitStats(dev, err === 0 ? innerLen : 0)
}

/** Where the inner packet starts in a frame, behind VLAN tags. */
function innerOffset(w: World, eth: number, len: number): number {
  let off = ETH_HLEN
  while (off + 4 <= len) {
    const type = w.arena.view.getUint16(eth + off - 2)
    if (type !== 0x8100 && type !== 0x88a8) break
    off += 4
  }
  return off
}

function xmitRoute(t: GreTunnel, tos: number, cached: boolean): Rtable | null {
  if (cached && t.cacheRt !== null && dstCheck(t.net, t.cacheRt)) {
    flow.saddr = t.cacheSaddr
    return t.cacheRt
  }
  const rt = route(t.net, t.cfg, t.cfg.remote, tos)
  if (rt !== null && cached) {
    t.cacheRt = rt
    t.cacheSaddr = flow.saddr
  }
  return rt
}

/** tnl_update_pmtu. @returns false when the packet of `size` bytes is too big and its sender was told */
function updatePmtu(
  w: World,
  slot: number,
  dev: NetDevice,
  rt: Rtable,
  df: number,
  hlen: number,
  size: number,
): boolean {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const innerRt = w.arena.dst[slot] as Rtable | null
  const link = dev.ether ? ETH_HLEN : 0
  const mtu = df !== 0 ? rt.mtu() - IPV4_BYTES - hlen - link : innerRt === null ? dev.mtu : innerRt.mtu()
  if (innerRt !== null) skbDstUpdatePmtu(w, slot, mtu)
  if (meta[m + M_PROTO] !== ETH_P_IP) return true
  if ((w.arena.view.getUint16(meta[m + M_NH]! + 6) & IP_DF) === 0 || mtu >= size) return true
  icmpNdoSend(w, slot, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, mtu)
  return false
}

/** gre_rcv of the demultiplexer and of ip_gre: M_DATA at the GRE header, M_NH at the outer IP header. Takes the slot. */
export function greRcv(w: World, ns: Netns, slot: number): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const v = a.view
  const gre = meta[m + M_DATA]!
  const len = meta[m + M_LEN]!
  const outer = meta[m + M_NH]!
  if (len < GRE_LEAST_BYTES) {
    freeSkb(w, slot, R_PKT_TRUNC)
    return
  }
  const flags = v.getUint16(gre)
  let hlen = headerBytes(flags)
  if ((flags & GRE_VERSION_OR_ROUTING) !== 0 || len < hlen) {
    freeSkb(w, slot, R_TUNNEL_UNKNOWN, flags)
    return
  }
  if ((flags & GRE_CSUM) !== 0 && internetChecksum(v, gre, len) !== 0) {
    freeSkb(w, slot, R_L4_CSUM)
    return
  }
  let proto = v.getUint16(gre + 2)
  let at = gre + 4 + ((flags & GRE_CSUM) !== 0 ? 4 : 0)
  let key = 0
  if ((flags & GRE_KEY) !== 0) {
    key = v.getInt32(at)
    at += 4
  }
  const seq = (flags & GRE_SEQ) !== 0 ? v.getInt32(at) : 0
  if (flags === 0 && proto === ETH_P_WCCP) {
    proto = ETH_P_IP
    if ((v.getUint8(gre + hlen) & 0xf0) !== 0x40) hlen += 4
  }
  const saddr = v.getInt32(outer + 12)
  const daddr = v.getInt32(outer + 16)
  const t = lookup(ns, proto === ETH_P_TEB, meta[m + M_DEV]!, flags, key, saddr, daddr)
  if (t === null) {
    icmpSend(w, slot, ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, 0)
    freeSkb(w, slot, R_TUNNEL_UNKNOWN, saddr)
    return
  }
  if (w.tracer !== null) w.tracer.step(T_TUNNEL_DECAP, slot, ns, t.dev, saddr, daddr, key, null)
  a.pull(slot, hlen)
  tunnelRcv(w, slot, t, flags, seq, v.getUint8(outer + 1), proto)
}

/** ip_tunnel_rcv: M_DATA behind the GRE header. */
function tunnelRcv(
  w: World,
  slot: number,
  t: GreTunnel,
  flags: number,
  seq: number,
  outerTos: number,
  proto: number,
): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const dev = t.dev
  const iflags = t.cfg.iflags
  const tap = dev.kind === DEV_GRETAP
  if (((flags ^ iflags) & GRE_CSUM) !== 0) {
    dev.rxErrors++
    freeSkb(w, slot, R_L4_CSUM, 0, dev)
    return
  }
  if ((iflags & GRE_SEQ) !== 0) {
    if ((flags & GRE_SEQ) === 0 || (t.iseq !== 0 && ((seq - t.iseq) | 0) < 0)) {
      dev.rxErrors++
      freeSkb(w, slot, R_TUNNEL_SEQ, seq, dev)
      return
    }
    t.iseq = (seq + 1) | 0
  }
  const data = meta[m + M_DATA]!
  if (tap && meta[m + M_LEN]! < ETH_HLEN) {
    dev.rxErrors++
    freeSkb(w, slot, R_PKT_TRUNC, 0, dev)
    return
  }
  const nh = tap ? data + ETH_HLEN : data
  const inner = tap ? a.view.getUint16(data + 12) : proto
  const room = inner === ETH_P_IP ? IPV4_BYTES : inner === ETH_P_IPV6 ? 40 : 0
  if (meta[m + M_LEN]! - (nh - data) < room) {
    dev.rxErrors++
    freeSkb(w, slot, R_PKT_TRUNC, 0, dev)
    return
  }
  meta[m + M_NH] = nh
  meta[m + M_MAC] = data
  meta[m + M_PROTO] = proto
  if (!ipEcnDecapsulate(w, outerTos, inner, nh)) {
    dev.rxErrors++
    freeSkb(w, slot, R_TUNNEL_ECN)
    return
  }
  iptunnelPullScrub(w, slot, t.net !== dev.ns)
  if (tap) ethTypeTrans(w, slot, dev)
  else {
    meta[m + M_PKTTYPE] = PACKET_HOST
    meta[m + M_DEV] = dev.id
  }
  if (!dev.up) {
    dev.rxDropped++
    freeSkb(w, slot, R_DEV_DOWN)
    return
  }
  netifRx(w, slot)
}

/** gre_err: an ICMP error about a packet that a tunnel sent; M_DATA at the quoted outer header. The slot is not taken. */
export function greErr(
  w: World,
  ns: Netns,
  slot: number,
  type: number,
  code: number,
  info: number,
  quoted: number,
): void {
  const m = slot << META_SHIFT
  const v = w.arena.view
  const iph = w.arena.meta[m + M_DATA]!
  if (type === ICMP_DEST_UNREACH && code === ICMP_FRAG_NEEDED) {
    ipv4UpdatePmtu(w, ns, slot, info, w.arena.meta[m + M_DEV]!, IPPROTO_GRE)
    return
  }
  if (type === ICMP_REDIRECT) {
    ipv4Redirect(w, ns, slot, w.arena.meta[m + M_DEV]!, IPPROTO_GRE)
    return
  }
  if (type === ICMP_DEST_UNREACH) {
    if (code === ICMP_SR_FAILED || code === ICMP_PORT_UNREACH) return
  } else if (type !== ICMP_TIME_EXCEEDED || code !== 0) return
  const gre = iph + ((v.getUint8(iph) & 15) << 2)
  if (quoted < 4) return
  const flags = v.getUint16(gre)
  if (quoted < headerBytes(flags)) return
  const key = (flags & GRE_KEY) !== 0 ? v.getInt32(gre + 4 + ((flags & GRE_CSUM) !== 0 ? 4 : 0)) : 0
  const tap = v.getUint16(gre + 2) === ETH_P_TEB
  const dev = w.arena.meta[m + M_DEV]!
  const t = lookup(ns, tap, dev, flags, key, v.getInt32(iph + 16), v.getInt32(iph + 12))
  if (t === null || t.cfg.remote === 0 || (t.cfg.ttl === 0 && type === ICMP_TIME_EXCEEDED)) return
  t.errCount = w.nowNs < t.errNs + ERR_TIMEO_NS ? t.errCount + 1 : 1
  t.errNs = w.nowNs
}
