/**
 * Datagrams that a VXLAN socket receives, and ICMP errors about those it sent.
 *
 * Linux: drivers/net/vxlan/vxlan_core.c (vxlan_rcv, vxlan_set_mac, vxlan_snoop, vxlan_ecn_decapsulate, vxlan_err_lookup).
 * The inner frame waits for its own turn in the backlog (gro_cells_receive with GRO off is netif_rx). Any VTEP may send:
 * with learning a MAC moves to the VTEP it was last seen behind, unless its entry is static.
 * Not modelled: log messages, GRO.
 */
import { ETH_HLEN, ETH_P_IP, ETH_P_IPV6, M_DATA, M_LEN, M_NH, M_PROTO, META_SHIFT } from '../../packet/layout.ts'
import { ethTypeTrans, netifRx } from '../core/dev.ts'
import { freeSkb } from '../core/skb.ts'
import type { Netns } from '../netns.ts'
import {
  R_DEV_DOWN,
  R_INVALID_TX,
  R_MARTIAN_SOURCE,
  R_TUNNEL_ECN,
  R_VXLAN_ENTRY_EXISTS,
  R_VXLAN_HDR,
  R_VXLAN_LOCAL_MAC,
  R_VXLAN_VNI,
} from '../reasons.ts'
import { T_TUNNEL_DECAP } from '../trace.ts'
import type { World } from '../world.ts'
import { innerProtocol, ipEcnDecapsulate, iptunnelPullScrub } from './tunnel.ts'
import type { VxlanDev, VxlanSock } from './vxlan.ts'
import { FDB_NUD_NOARP, FDB_NUD_PERMANENT, FDB_NUD_REACHABLE, VxlanRdst } from './vxlan-fdb.ts'

/** UDP and VXLAN headers. */
const VXLAN_HLEN = 16
const VXLAN_HF_VNI = 0x08000000

/** vxlan_rcv: M_DATA at the UDP header, its checksum right, M_NH at the outer IP header. Takes the slot. */
export function vxlanRcv(w: World, ns: Netns, slot: number, sock: VxlanSock): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const v = a.view
  const uh = meta[m + M_DATA]!
  if (meta[m + M_LEN]! < VXLAN_HLEN) {
    freeSkb(w, slot, R_VXLAN_HDR)
    return
  }
  const flags = v.getInt32(uh + 8)
  const field = v.getInt32(uh + 12)
  if ((flags & VXLAN_HF_VNI) === 0) {
    freeSkb(w, slot, R_VXLAN_HDR, flags)
    return
  }
  const vxlan = sock.external ?? sock.devs.get(field >>> 8)
  if (vxlan === undefined) {
    freeSkb(w, slot, R_VXLAN_VNI, field >>> 8)
    return
  }
  const dev = vxlan.dev
  if (flags !== VXLAN_HF_VNI || (field & 0xff) !== 0) {
    dev.rxErrors++
    freeSkb(w, slot, R_VXLAN_HDR, flags)
    return
  }
  const outer = meta[m + M_NH]!
  const six = v.getUint8(outer) >> 4 === 6
  const saddr = six ? w.in6.read(v, outer + 8) : v.getInt32(outer + 12)
  const outerTos = six ? (v.getUint16(outer) >> 4) & 0xff : v.getUint8(outer + 1)
  if (meta[m + M_LEN]! < VXLAN_HLEN + ETH_HLEN) {
    freeSkb(w, slot, R_VXLAN_HDR)
    return
  }
  if (w.tracer !== null) {
    const daddr = six ? w.in6.read(v, outer + 24) : v.getInt32(outer + 16)
    w.tracer.step(T_TUNNEL_DECAP, slot, ns, dev, saddr, daddr, vxlan.cfg.vni, vxlan)
  }
  a.pull(slot, VXLAN_HLEN)
  iptunnelPullScrub(w, slot, vxlan.net !== dev.ns)
  const eth = meta[m + M_DATA]!
  ethTypeTrans(w, slot, dev)
  const hi = v.getUint16(eth + 6)
  const lo = v.getInt32(eth + 8)
  if (hi === dev.macHi && lo === dev.macLo) {
    freeSkb(w, slot, R_VXLAN_LOCAL_MAC)
    return
  }
  if (vxlan.cfg.learning) {
    const reason = vxlanSnoop(w, vxlan, saddr, hi, lo)
    if (reason !== 0) {
      freeSkb(w, slot, reason, saddr)
      return
    }
  }
  // pskb_inet_may_pull asks for the header of the first protocol; the ECN code looks behind VLAN tags, but takes the
  // header to stand right behind the MAC addresses: for a tagged frame with outer CE it reads the tag
  const proto = meta[m + M_PROTO]!
  const room = proto === ETH_P_IP ? 20 : proto === ETH_P_IPV6 ? 40 : 0
  if (meta[m + M_LEN]! < room) {
    dev.rxErrors++
    freeSkb(w, slot, R_INVALID_TX)
    return
  }
  const nh = meta[m + M_NH]!
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

/** vxlan_snoop: the MAC is behind VTEP `saddr`. @returns 0, or the reason to drop the frame */
export function vxlanSnoop(w: World, vxlan: VxlanDev, saddr: number, hi: number, lo: number): number {
  if ((hi & 0x0100) !== 0 || (hi === 0 && lo === 0)) return R_MARTIAN_SOURCE
  const f = vxlan.fdb.find(hi, lo)
  if (f !== undefined) {
    f.updatedNs = w.nowNs
    if (w.recorder !== null) w.recorder.learntBehind(f, vxlan.fdb)
    const rd = f.remotes[0]!
    if (rd.remote === saddr && rd.via === null) return 0
    if ((f.state & (FDB_NUD_PERMANENT | FDB_NUD_NOARP)) !== 0) return R_VXLAN_ENTRY_EXISTS
    // the cached route stays: Linux does not reset it either
    rd.remote = saddr
    vxlan.fdb.gen++
    return 0
  }
  if (!vxlan.dev.up) return 0
  const rd = new VxlanRdst(saddr, vxlan.cfg.dstport, vxlan.cfg.vni, null)
  vxlan.fdb.update(hi, lo, rd, FDB_NUD_REACHABLE, false, 'add', w.nowNs)
  vxlan.armAgeing()
  return 0
}

/**
 * vxlan_err_lookup: whether the UDP datagram quoted at `uh` (with `len` bytes) is one of ours.
 */
export function vxlanErrLookup(w: World, ns: Netns, uh: number, len: number, six = false): boolean {
  const v = w.arena.view
  const sock = (six ? ns.vxlanSocks6 : ns.vxlanSocks).get(v.getUint16(uh + 2))
  if (sock === undefined || len < VXLAN_HLEN || (v.getInt32(uh + 8) & VXLAN_HF_VNI) === 0) return false
  return sock.devs.has(v.getInt32(uh + 12) >>> 8)
}
