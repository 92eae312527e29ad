/**
 * The life of a connection: made, bound to its real server, expired.
 *
 * Linux: ip_vs_conn_new, ip_vs_bind_dest, ip_vs_unbind_dest, ip_vs_conn_put, ip_vs_conn_expire, ip_vs_conn_expire_now,
 * ip_vs_check_template, ip_vs_expire_nodest_conn_flush (net/netfilter/ipvs/ip_vs_conn.c).
 */
import { JIFFY_NS } from '../route/peer.ts'
import {
  K_CADDR,
  K_CONTROL,
  K_CPORT,
  K_DADDR,
  K_DPORT,
  K_FLAGS,
  K_FWMARK,
  K_N_CONTROL,
  K_PROTO,
  K_STATE,
  K_VADDR,
  K_VPORT,
  K_WORDS,
} from './conn-table.ts'
import {
  IP_VS_CONN_F_INACTIVE,
  IP_VS_CONN_F_NFCT,
  IP_VS_CONN_F_ONE_PACKET,
  IP_VS_CONN_F_TEMPLATE,
  IP_VS_CTPL_S_ASSURED,
  IP_VS_DEST_F_OVERLOAD,
  SECOND_NS,
} from './flags.ts'
import type { IpVs } from './ipvs.ts'
import { dropConntrack } from './nfct.ts'
import type { IpVsDest } from './service.ts'

/** What a connection that controls others, or is in use, waits for before it tries again to expire. */
const EXPIRE_LATER_NS = 60 * SECOND_NS
const INVALID_PORT = 0xffff

/** ip_vs_conn_new. Its timer is not pending yet: connPut starts it. */
export function connNew(
  ipvs: IpVs,
  proto: number,
  caddr: number,
  cport: number,
  vaddr: number,
  vport: number,
  daddr: number,
  dport: number,
  flags: number,
  dest: IpVsDest | null,
  fwmark: number,
): number {
  const conns = ipvs.conns
  const id = conns.alloc()
  const rows = conns.rows
  const e = id * K_WORDS
  rows[e + K_PROTO] = proto
  rows[e + K_CADDR] = caddr
  rows[e + K_CPORT] = cport
  rows[e + K_VADDR] = vaddr
  rows[e + K_VPORT] = vport
  rows[e + K_DADDR] = daddr
  rows[e + K_DPORT] = dport
  rows[e + K_FLAGS] = flags
  rows[e + K_FWMARK] = fwmark
  if (dest !== null) bindDest(ipvs, id, dest)
  conns.timeout[id] = 3 * SECOND_NS
  if (ipvs.ns.sysctl.vs_conntrack !== 0) rows[e + K_FLAGS] = rows[e + K_FLAGS]! | IP_VS_CONN_F_NFCT
  conns.hash(id)
  return id
}

/** ip_vs_bind_dest */
function bindDest(ipvs: IpVs, id: number, dest: IpVsDest): void {
  const rows = ipvs.conns.rows
  const f = id * K_WORDS + K_FLAGS
  const flags = rows[f]! | dest.connFlags
  rows[f] = flags
  ipvs.conns.dest[id] = dest
  dest.refs++
  if ((flags & IP_VS_CONN_F_TEMPLATE) !== 0) dest.persistConns++
  else if ((flags & IP_VS_CONN_F_INACTIVE) !== 0) dest.inactConns++
  else dest.activeConns++
  if (dest.upperThreshold !== 0 && dest.activeConns + dest.inactConns >= dest.upperThreshold) {
    dest.flags |= IP_VS_DEST_F_OVERLOAD
  }
}

/** ip_vs_unbind_dest */
function unbindDest(ipvs: IpVs, id: number): void {
  const dest = ipvs.conns.dest[id] ?? null
  if (dest === null) return
  const flags = ipvs.conns.rows[id * K_WORDS + K_FLAGS]!
  if ((flags & IP_VS_CONN_F_TEMPLATE) !== 0) dest.persistConns--
  else if ((flags & IP_VS_CONN_F_INACTIVE) !== 0) dest.inactConns--
  else dest.activeConns--
  const total = dest.activeConns + dest.inactConns
  if (dest.lowerThreshold !== 0) {
    if (total < dest.lowerThreshold) dest.flags &= ~IP_VS_DEST_F_OVERLOAD
  } else if (dest.upperThreshold !== 0) {
    if (total * 4 < dest.upperThreshold * 3) dest.flags &= ~IP_VS_DEST_F_OVERLOAD
  } else dest.flags &= ~IP_VS_DEST_F_OVERLOAD
  dest.refs--
  ipvs.conns.dest[id] = null
}

/** ip_vs_conn_put: starts the timer anew; a one-packet connection ends here. */
export function connPut(ipvs: IpVs, id: number): void {
  const conns = ipvs.conns
  if ((conns.rows[id * K_WORDS + K_FLAGS]! & IP_VS_CONN_F_ONE_PACKET) !== 0 && !conns.timerPending(id))
    expireConn(ipvs, id)
  else conns.modTimer(id, ipvs.w.nowNs + conns.timeout[id]!)
}

/** ip_vs_control_add */
export function controlAdd(ipvs: IpVs, id: number, control: number): void {
  const rows = ipvs.conns.rows
  rows[id * K_WORDS + K_CONTROL] = control
  rows[control * K_WORDS + K_N_CONTROL] = rows[control * K_WORDS + K_N_CONTROL]! + 1
}

/** ip_vs_conn_expire: the timer of `id` is not pending. */
export function expireConn(ipvs: IpVs, id: number): void {
  const conns = ipvs.conns
  const rows = conns.rows
  const e = id * K_WORDS
  if (rows[e + K_N_CONTROL] !== 0) {
    conns.timeout[id] = EXPIRE_LATER_NS
    conns.modTimer(id, ipvs.w.nowNs + EXPIRE_LATER_NS)
    return
  }
  conns.unhash(id)
  conns.delTimer(id)
  const control = rows[e + K_CONTROL]!
  if (control !== 0) {
    const c = control * K_WORDS
    rows[e + K_CONTROL] = 0
    rows[c + K_N_CONTROL] = rows[c + K_N_CONTROL]! - 1
    const unused = rows[c + K_N_CONTROL] === 0
    const assured =
      (rows[c + K_FLAGS]! & IP_VS_CONN_F_TEMPLATE) !== 0 && (rows[c + K_STATE]! & IP_VS_CTPL_S_ASSURED) !== 0
    if (conns.timeout[id] === 0 && unused && !assured) connDel(ipvs, control)
  }
  if ((rows[e + K_FLAGS]! & (IP_VS_CONN_F_NFCT | IP_VS_CONN_F_ONE_PACKET)) === IP_VS_CONN_F_NFCT)
    dropConntrack(ipvs, id)
  unbindDest(ipvs, id)
  conns.free(id)
}

/** ip_vs_conn_del */
function connDel(ipvs: IpVs, id: number): void {
  const conns = ipvs.conns
  if (!conns.delTimer(id)) return
  if (conns.rows[id * K_WORDS + K_CONTROL] !== 0) conns.timeout[id] = 0
  expireConn(ipvs, id)
}

/** ip_vs_conn_expire_now: at the next tick. */
export function connExpireNow(ipvs: IpVs, id: number): void {
  const conns = ipvs.conns
  const soon = ipvs.w.nowNs + JIFFY_NS
  if (conns.timerPending(id) && conns.expires[id]! > soon) conns.modTimer(id, soon)
}

/** ip_vs_check_template: false for a template whose real server cannot be used; it is put out of the way. */
export function checkTemplate(ipvs: IpVs, ct: number): boolean {
  const dest = ipvs.conns.dest[ct] ?? null
  const quiescent = ipvs.ns.sysctl.vs_expire_quiescent_template !== 0 && dest !== null && dest.weight === 0
  if (dest?.available && !quiescent) return true
  const rows = ipvs.conns.rows
  const e = ct * K_WORDS
  if (rows[e + K_VPORT] !== INVALID_PORT && ipvs.conns.unhash(ct)) {
    rows[e + K_DPORT] = INVALID_PORT
    rows[e + K_VPORT] = INVALID_PORT
    rows[e + K_CPORT] = 0
    ipvs.conns.hash(ct)
  }
  return false
}

/** ip_vs_expire_nodest_conn_flush: ends the connections whose real server is gone. */
export function expireNodestConns(ipvs: IpVs): void {
  const conns = ipvs.conns
  for (const id of conns.entries()) {
    const dest = conns.dest[id] ?? null
    const rows = conns.rows
    if (dest === null || dest.available || rows[id * K_WORDS + K_N_CONTROL] !== 0) continue
    const control = rows[id * K_WORDS + K_CONTROL]!
    connDel(ipvs, id)
    if (control !== 0 && conns.rows[control * K_WORDS + K_N_CONTROL] === 0) connDel(ipvs, control)
  }
}
