/**
 * IP in IP tunnels.
 *
 * Linux: net/ipv4/ipip.c (ipip_tunnel_xmit, ipip_tunnel_rcv, ipip_err), net/ipv4/ip_tunnel.c (ip_tunnel_newlink,
 * ip_tunnel_bind_dev, ip_tunnel_lookup, ip_tunnel_xmit, tnl_update_pmtu, ip_tunnel_rcv), net/ipv4/tunnel4.c. RFC 2003.
 * Loading the module makes `tunl0` in every namespace: it takes what no other tunnel takes once it is up. A tunnel without
 * remote sends to the next hop of the inner route.
 * Not modelled: MPLS payload, encapsulation in UDP (FOU, GUE), metadata (external) mode, ignore-df, fwmark, 6rd.
 */
import {
  ETH_P_IP,
  M_CT,
  M_CTINFO,
  M_DATA,
  M_DEV,
  M_LEN,
  M_MAC,
  M_NH,
  M_PKTTYPE,
  M_PROTO,
  META_SHIFT,
  PACKET_HOST,
} from '../../packet/layout.ts'
import { netifRx } from '../core/dev.ts'
import { freeSkb } from '../core/skb.ts'
import { EEXIST, EINVAL } from '../errno.ts'
import { icmpSend, ipv4LinkFailure } from '../ip/icmp.ts'
import { ctinfo2dir } from '../netfilter/conntrack/layout.ts'
import type { Netns } from '../netns.ts'
import {
  R_DEV_DOWN,
  R_FRAG_NEEDED,
  R_INVALID_TX,
  R_LOOP,
  R_NOMEM,
  R_PKT_TRUNC,
  R_TUNNEL_ECN,
  R_TUNNEL_NO_ROUTE,
  R_TUNNEL_UNKNOWN,
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
import { DEV_IPIP, IFF_POINTOPOINT, type NetDevice } from './device.ts'
import { registerNetdevice } from './register.ts'
import {
  ecnEncapsulate,
  ipEcnDecapsulate,
  iptunnelPullScrub,
  iptunnelXmit,
  iptunnelXmitStats,
  skbDstUpdatePmtu,
} from './tunnel.ts'

const IPPROTO_IPIP = 4
/** IPS_SRC_NAT | IPS_DST_NAT */
const IPS_NAT_MASK = 0x30
const IP_DF = 0x4000
const IPV4_BYTES = 20
/** Outer header and the underlay's link header. */
const PUSHED_BYTES = IPV4_BYTES + 14
const ETH_DATA_LEN = 1500
const IPV4_MIN_MTU = 68
const IPIP_MAX_MTU = 65535 - IPV4_BYTES
const ICMP_DEST_UNREACH = 3
const ICMP_PORT_UNREACH = 3
const ICMP_FRAG_NEEDED = 4
const ICMP_SR_FAILED = 5
const ICMP_REDIRECT = 5
const ICMP_TIME_EXCEEDED = 11
/** IPTUNNEL_ERR_TIMEO */
const ERR_TIMEO_NS = 30_000_000_000

/** What `ip link add ... type ipip` sets: struct ip_tunnel_parm. */
export interface IpipConfig {
  /** 0: any */
  local: number
  /** 0: the next hop of the inner route */
  remote: number
  /** `parms.link` */
  link: NetDevice | null
  /** 0: inherit */
  ttl: number
  /** 1: inherit */
  tos: number
  pmtudisc: boolean
}

/** The private part of an IPIP device: struct ip_tunnel. */
export class IpTunnel {
  readonly dev: NetDevice
  /** `tunnel->net` */
  readonly net: Netns
  readonly cfg: IpipConfig
  /** True for tunl0. */
  readonly fallback: boolean
  /** dst_cache of a tunnel with a remote. */
  cacheRt: Rtable | null = null
  cacheSaddr = 0
  /** ICMP errors that came back and nobody was told about yet. */
  errCount = 0
  errNs = 0

  constructor(dev: NetDevice, cfg: IpipConfig, fallback: boolean) {
    this.dev = dev
    this.net = dev.ns
    this.cfg = cfg
    this.fallback = fallback
  }
}

/** The tunnel of a device of kind DEV_IPIP. */
export function ipTunnelPriv(dev: NetDevice): IpTunnel {
  return dev.priv as IpTunnel
}

/** The driver's defaults. */
export function ipipDefaults(): IpipConfig {
  return { local: 0, remote: 0, link: null, ttl: 0, tos: 0, pmtudisc: true }
}

const NO_MAC = { hi: 0, lo: 0 }
const flow = new Flowi4()

/** modprobe ipip: from now on every namespace, new ones too, has tunl0. */
export function loadIpip(w: World): void {
  if (w.ipipLoaded) return
  w.ipipLoaded = true
  for (const ns of w.namespaces) ipipInitNet(ns)
}

/** ip_tunnel_init_net: makes tunl0. */
export function ipipInitNet(ns: Netns): void {
  if (ns.devices.has('tunl0')) return
  const dev = registerNetdevice(ns, 'tunl0', DEV_IPIP, NO_MAC, ETH_DATA_LEN - IPV4_BYTES)
  const tunnel = new IpTunnel(dev, { ...ipipDefaults(), pmtudisc: false }, true)
  dev.priv = tunnel
  ns.ipTunnels.push(tunnel)
}

/** ip link add NAME type ipip. @returns the device, or -EEXIST when a tunnel with these ends is there */
export function createIpip(ns: Netns, name: string, cfg: IpipConfig, mtu: number | null = null): NetDevice | number {
  loadIpip(ns.world)
  const same = (t: IpTunnel): boolean =>
    t.cfg.local === cfg.local && t.cfg.remote === cfg.remote && t.cfg.link === cfg.link
  if (ns.ipTunnels.some(same)) return EEXIST
  const guess = bindDev(ns, cfg)
  const dev = registerNetdevice(ns, name, DEV_IPIP, NO_MAC, guess)
  if (mtu !== null) dev.mtu = Math.min(Math.max(mtu, IPV4_MIN_MTU), IPIP_MAX_MTU)
  if (cfg.remote !== 0) dev.flags |= IFF_POINTOPOINT
  const tunnel = new IpTunnel(dev, cfg, false)
  dev.priv = tunnel
  ns.ipTunnels.push(tunnel)
  return dev
}

/** ip_tunnel_bind_dev: the MTU that the underlay suggests. */
function bindDev(ns: Netns, cfg: IpipConfig): number {
  let lower: NetDevice | null = null
  if (cfg.remote !== 0) lower = route(ns, cfg, cfg.remote, cfg.tos & ~1, 0)?.dev ?? null
  lower ??= cfg.link
  return Math.max((lower === null ? ETH_DATA_LEN : Math.min(lower.mtu, 65535)) - IPV4_BYTES, IPV4_MIN_MTU)
}

/** ip_tunnel_init_flow and the lookup; the source address is in `flow.saddr`. */
function route(ns: Netns, cfg: IpipConfig, dst: number, tos: number, mark: number): Rtable | null {
  const fl = flow.reset()
  fl.daddr = dst
  fl.saddr = cfg.local
  fl.oif = cfg.link === null ? -1 : cfg.link.id
  fl.tos = tos & 0xfc
  fl.proto = IPPROTO_IPIP
  fl.mark = mark
  return ipRouteOutput(ns, fl)
}

/** ip_tunnel_change_mtu (strict). @returns 0 or -EINVAL */
export function ipipChangeMtu(mtu: number): number {
  return mtu < IPV4_MIN_MTU || mtu > IPIP_MAX_MTU ? EINVAL : 0
}

/** ip_tunnel_dellink */
export function ipipUninit(dev: NetDevice): void {
  const list = ipTunnelPriv(dev).net.ipTunnels
  const i = list.indexOf(ipTunnelPriv(dev))
  if (i >= 0) list.splice(i, 1)
}

/** ip_tunnel_lookup: for outer addresses, most exact first; tunl0 last. `link` is the device id it came by. */
export function ipTunnelLookup(ns: Netns, link: number, remote: number, local: number): IpTunnel | null {
  const list = ns.ipTunnels
  let cand: IpTunnel | null = null
  for (let pass = 0; pass < 4; pass++) {
    // hlist_add_head: the newest first
    for (let i = list.length - 1; i >= 0; i--) {
      const t = list[i]!
      const c = t.cfg
      if (t.fallback || !t.dev.up || !fits(c, pass, remote, local)) continue
      if ((c.link === null ? -1 : c.link.id) === link) return t
      if (pass === 0 || cand === null) cand = t
    }
  }
  if (cand !== null) return cand
  for (let i = 0; i < list.length; i++) if (list[i]!.fallback && list[i]!.dev.up) return list[i]!
  return null
}

function fits(c: IpipConfig, pass: number, remote: number, local: number): boolean {
  if (pass === 0) return c.local === local && c.remote === remote
  if (pass === 1) return c.remote === remote && c.local === 0
  if (pass === 2) return (c.local === local && c.remote === 0) || (c.remote === local && local >>> 28 === 14)
  return c.local === 0 && c.remote === 0
}

function txError(w: World, slot: number, dev: NetDevice, reason: number, detail: number): void {
  dev.txErrors++
  freeSkb(w, slot, reason, detail, dev)
}

/** ipip_tunnel_xmit with ip_tunnel_xmit: M_DATA at the inner IP header. Takes the slot. */
export function ipipXmit(w: World, slot: number, dev: NetDevice): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const v = a.view
  const tunnel = ipTunnelPriv(dev)
  const cfg = tunnel.cfg
  const nh = meta[m + M_DATA]!
  if (meta[m + M_PROTO] !== ETH_P_IP || meta[m + M_LEN]! < IPV4_BYTES) {
    txError(w, slot, dev, R_INVALID_TX, 0)
    return
  }
  meta[m + M_NH] = nh
  const innerRt = a.dst[slot] as Rtable | null
  let dst = cfg.remote
  const connected = dst !== 0
  if (!connected) {
    if (innerRt === null) {
      txError(w, slot, dev, R_TUNNEL_NO_ROUTE, 0)
      return
    }
    dst = innerRt.nexthop(v.getInt32(nh + 16))
  }
  const inner = v.getUint8(nh + 1)
  const inherits = (cfg.tos & 1) !== 0
  const tos = inherits ? inner : cfg.tos
  const rt = xmitRoute(tunnel, dst, tos, connected && !inherits)
  if (rt === null) {
    txError(w, slot, dev, R_TUNNEL_NO_ROUTE, routeErrno())
    return
  }
  const saddr = flow.saddr
  if (rt.dev === dev) {
    txError(w, slot, dev, R_LOOP, 0)
    return
  }
  const df = (cfg.pmtudisc ? IP_DF : 0) | (v.getUint16(nh + 6) & IP_DF)
  if (!tnlUpdatePmtu(w, slot, dev, rt, df)) {
    txError(w, slot, dev, R_FRAG_NEEDED, rt.mtu() - IPV4_BYTES)
    return
  }
  if (tunnel.errCount > 0) {
    if (w.nowNs < tunnel.errNs + ERR_TIMEO_NS) {
      tunnel.errCount--
      ipv4LinkFailure(w, slot)
    } else tunnel.errCount = 0
  }
  const ttl = cfg.ttl === 0 ? v.getUint8(nh + 8) : cfg.ttl
  const len = meta[m + M_LEN]!
  if (a.headroom(slot) < PUSHED_BYTES && !a.resize(slot, len)) {
    dev.txDropped++
    freeSkb(w, slot, R_NOMEM)
    return
  }
  const ns = tunnel.net
  if (w.tracer !== null) w.tracer.step(T_TUNNEL_ENCAP, slot, ns, dev, saddr, dst, 0, null)
  const outer = ecnEncapsulate(tos, inner)
  const err = iptunnelXmit(w, ns, slot, rt, saddr, dst, IPPROTO_IPIP, outer, ttl, df, ns !== dev.ns)
  iptunnelXmitStats(dev, err === 0 ? len : 0)
}

/** The underlay route, from the tunnel's cache when it has one remote. */
function xmitRoute(tunnel: IpTunnel, dst: number, tos: number, cached: boolean): Rtable | null {
  const ns = tunnel.net
  if (cached && tunnel.cacheRt !== null && dstCheck(ns, tunnel.cacheRt)) {
    flow.saddr = tunnel.cacheSaddr
    return tunnel.cacheRt
  }
  const rt = route(ns, tunnel.cfg, dst, tos, 0)
  if (rt !== null && cached) {
    tunnel.cacheRt = rt
    tunnel.cacheSaddr = flow.saddr
  }
  return rt
}

/** tnl_update_pmtu: the inner route learns what fits. @returns false when the packet is too big and its sender was told */
function tnlUpdatePmtu(w: World, slot: number, dev: NetDevice, rt: Rtable, df: number): boolean {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const innerRt = w.arena.dst[slot] as Rtable | null
  const mtu = df !== 0 ? rt.mtu() - IPV4_BYTES : innerRt === null ? dev.mtu : innerRt.mtu()
  if (innerRt !== null) skbDstUpdatePmtu(w, slot, mtu)
  if ((w.arena.view.getUint16(meta[m + M_NH]! + 6) & IP_DF) === 0 || mtu >= meta[m + M_LEN]!) return true
  icmpNdoSend(w, slot, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, mtu)
  return false
}

/** icmp_ndo_send: the error is about the packet as its sender sent it, before source NAT. */
export function icmpNdoSend(w: World, slot: number, type: number, code: number, info: number): void {
  const a = w.arena
  const m = slot << META_SHIFT
  const ct = a.meta[m + M_CT]!
  const table = w.devices[a.meta[m + M_DEV]!]?.ns.ct ?? null
  if (ct === 0 || table === null || (table.status(ct) & IPS_NAT_MASK) === 0) {
    icmpSend(w, slot, type, code, info)
    return
  }
  const at = a.meta[m + M_NH]! + 12
  const saddr = a.view.getInt32(at)
  a.view.setInt32(at, table.src(ct, ctinfo2dir(a.meta[m + M_CTINFO]!)))
  icmpSend(w, slot, type, code, info)
  a.view.setInt32(at, saddr)
}

/** tunnel4_rcv with ipip_tunnel_rcv and ip_tunnel_rcv: M_DATA behind the outer header, M_NH at it. Takes the slot. */
export function ipipRcv(w: World, ns: Netns, slot: number): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const v = a.view
  if (meta[m + M_LEN]! < IPV4_BYTES) {
    freeSkb(w, slot, R_PKT_TRUNC)
    return
  }
  const outer = meta[m + M_NH]!
  const saddr = v.getInt32(outer + 12)
  const daddr = v.getInt32(outer + 16)
  const tunnel = ipTunnelLookup(ns, meta[m + M_DEV]!, saddr, daddr)
  if (tunnel === null) {
    icmpSend(w, slot, ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, 0)
    freeSkb(w, slot, R_TUNNEL_UNKNOWN, saddr)
    return
  }
  const dev = tunnel.dev
  const outerTos = v.getUint8(outer + 1)
  if (w.tracer !== null) w.tracer.step(T_TUNNEL_DECAP, slot, ns, dev, saddr, daddr, 0, null)
  const nh = meta[m + M_DATA]!
  meta[m + M_NH] = nh
  meta[m + M_MAC] = nh
  meta[m + M_PROTO] = ETH_P_IP
  if (!ipEcnDecapsulate(w, outerTos, ETH_P_IP, nh)) {
    dev.rxErrors++
    freeSkb(w, slot, R_TUNNEL_ECN)
    return
  }
  iptunnelPullScrub(w, slot, tunnel.net !== dev.ns)
  meta[m + M_PKTTYPE] = PACKET_HOST
  meta[m + M_DEV] = dev.id
  if (!dev.up) {
    dev.rxDropped++
    freeSkb(w, slot, R_DEV_DOWN)
    return
  }
  netifRx(w, slot)
}

/** ipip_err: an ICMP error about a packet that a tunnel sent; M_DATA at the quoted outer header. The slot is not taken. */
export function ipipErr(w: World, ns: Netns, slot: number, type: number, code: number, info: number): void {
  const m = slot << META_SHIFT
  const v = w.arena.view
  const iph = w.arena.meta[m + M_DATA]!
  const t = ipTunnelLookup(ns, w.arena.meta[m + M_DEV]!, v.getInt32(iph + 16), v.getInt32(iph + 12))
  if (t === null) return
  const oif = t.cfg.link === null ? -1 : t.cfg.link.id
  if (type === ICMP_DEST_UNREACH) {
    if (code === ICMP_SR_FAILED) return
    if (code === ICMP_FRAG_NEEDED) {
      ipv4UpdatePmtu(w, ns, slot, info, oif, IPPROTO_IPIP)
      return
    }
  } else if (type === ICMP_REDIRECT) {
    ipv4Redirect(w, ns, slot, oif, IPPROTO_IPIP)
    return
  } else if (type !== ICMP_TIME_EXCEEDED || code !== 0) return
  if (t.cfg.remote === 0 || (t.cfg.ttl === 0 && type === ICMP_TIME_EXCEEDED)) return
  t.errCount = w.nowNs < t.errNs + ERR_TIMEO_NS ? t.errCount + 1 : 1
  t.errNs = w.nowNs
}
