/**
 * IPVS and connection tracking.
 *
 * Linux: net/netfilter/ipvs/ip_vs_nfct.c, ip_vs_notrack, ip_vs_conn_uses_old_conntrack (include/net/ip_vs.h). With
 * vs.conntrack=1 the packet keeps its entry and the reply tuple becomes the real server's, so that POSTROUTING may still
 * masquerade the connection; with 0 the packet leaves IPVS untracked.
 */
import { M_CT, M_CTINFO, META_SHIFT } from '../../packet/layout.ts'
import { nfConntrackPut } from '../netfilter/conntrack/core.ts'
import {
  C_PROTO,
  C_REPLY_DST,
  C_REPLY_PORTS,
  C_REPLY_SRC,
  C_STATUS,
  C_WORDS,
  ctinfo2dir,
  IP_CT_DIR_ORIGINAL,
  IP_CT_UNTRACKED,
  IPPROTO_ICMP,
  IPS_CONFIRMED,
  IPS_DYING,
} from '../netfilter/conntrack/layout.ts'
import { killConntrack, nfConntrackFind } from '../netfilter/conntrack/lifetime.ts'
import { Tuple } from '../netfilter/conntrack/tuple.ts'
import { K_CADDR, K_CPORT, K_DADDR, K_DPORT, K_FLAGS, K_PROTO, K_VADDR, K_VPORT, K_WORDS } from './conn-table.ts'
import { IP_VS_CONN_F_FWD_MASK, IP_VS_CONN_F_MASQ, IP_VS_CONN_F_NFCT } from './flags.ts'
import type { IpVs } from './ipvs.ts'

const tuple = new Tuple()

/** ip_vs_notrack: a packet that has an entry lets go of it and is untracked from here on. */
export function notrack(ipvs: IpVs, slot: number): void {
  const meta = ipvs.w.arena.meta
  const m = slot << META_SHIFT
  if (meta[m + M_CT] === 0) return
  nfConntrackPut(ipvs.w, slot)
  meta[m + M_CTINFO] = IP_CT_UNTRACKED
}

/**
 * ip_vs_update_conntrack: the entry of a connection's first packet expects answers from the real server (`outin`: a request
 * went to it), or to the service (a reply went out first).
 */
export function updateConntrack(ipvs: IpVs, slot: number, id: number, outin: boolean): void {
  const meta = ipvs.w.arena.meta
  const m = slot << META_SHIFT
  const ct = meta[m + M_CT]!
  if (ct === 0 || ipvs.w.conntrack === null) return
  const rows = ipvs.w.conntrack.rows
  const c = ct * C_WORDS
  if ((rows[c + C_STATUS]! & (IPS_CONFIRMED | IPS_DYING)) !== 0) return
  const conn = ipvs.conns.rows
  const e = id * K_WORDS
  if ((conn[e + K_FLAGS]! & IP_VS_CONN_F_FWD_MASK) !== IP_VS_CONN_F_MASQ) return
  if (ctinfo2dir(meta[m + M_CTINFO]!) !== IP_CT_DIR_ORIGINAL) return
  const ports = rows[c + C_REPLY_PORTS]!
  const hasPorts = rows[c + C_PROTO] !== IPPROTO_ICMP
  if (outin) {
    rows[c + C_REPLY_SRC] = conn[e + K_DADDR]!
    if (hasPorts) rows[c + C_REPLY_PORTS] = (conn[e + K_DPORT]! << 16) | (ports & 0xffff)
  } else {
    rows[c + C_REPLY_DST] = conn[e + K_VADDR]!
    if (hasPorts) rows[c + C_REPLY_PORTS] = (ports & 0xffff0000) | conn[e + K_VPORT]!
  }
}

/** ip_vs_conn_uses_old_conntrack: the packet belongs to the entry of an older connection with the same ends. */
export function usesOldConntrack(ipvs: IpVs, slot: number, id: number): boolean {
  if ((ipvs.conns.rows[id * K_WORDS + K_FLAGS]! & IP_VS_CONN_F_NFCT) === 0) return false
  const ct = ipvs.w.arena.meta[(slot << META_SHIFT) + M_CT]!
  return ct !== 0 && (ipvs.w.conntrack!.rows[ct * C_WORDS + C_STATUS]! & IPS_CONFIRMED) !== 0
}

/** ip_vs_conn_drop_conntrack: the entry of a connection that is over goes too. */
export function dropConntrack(ipvs: IpVs, id: number): void {
  const ct = ipvs.ns.ct
  const rows = ipvs.conns.rows
  const e = id * K_WORDS
  if (ct === null || rows[e + K_CPORT] === 0) return
  tuple.src = rows[e + K_CADDR]!
  tuple.dst = rows[e + K_VADDR]!
  tuple.ports = (rows[e + K_CPORT]! << 16) | rows[e + K_VPORT]!
  tuple.proto = rows[e + K_PROTO]!
  const ref = nfConntrackFind(ct, tuple)
  if (ref !== 0) killConntrack(ct, ref >>> 1)
}
