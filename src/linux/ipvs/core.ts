/**
 * The netfilter hooks of IPVS: requests in, replies out.
 *
 * Linux: ip_vs_in_hook, ip_vs_out_hook, ip_vs_forward_icmp, handle_response (net/netfilter/ipvs/ip_vs_core.c). Requests are
 * caught in LOCAL_IN (the service's address is local here) after the filter rules, and in LOCAL_OUT for clients on this
 * host; replies in FORWARD, LOCAL_IN and LOCAL_OUT. A packet that IPVS has handled is marked and left alone by the later
 * hooks (skb->ipvs_property). ICMP errors are in icmp.ts.
 */
import {
  M_DEV,
  M_FLAGS,
  M_LEN,
  M_NH,
  M_PKTTYPE,
  META_SHIFT,
  PACKET_HOST,
  SKB_IPVS_PROPERTY,
} from '../../packet/layout.ts'
import { ipDefrag } from '../ip/fragment-queue.ts'
import { icmpSend } from '../ip/icmp.ts'
import { ipSendCheck } from '../ip/options.ts'
import {
  NF_ACCEPT,
  NF_DROP,
  NF_INET_FORWARD,
  NF_INET_LOCAL_IN,
  NF_INET_LOCAL_OUT,
  NF_STOLEN,
} from '../netfilter/hooks.ts'
import type { Netns } from '../netns.ts'
import { R_IPVS_DEST_GONE, R_IPVS_NO_CONN, R_IPVS_OLD_CONNTRACK, R_L4_HDR, R_NO_ROUTE } from '../reasons.ts'
import { ipRouteMeHarder } from '../route/route.ts'
import type { Rtable } from '../route/rtable.ts'
import { RTN_LOCAL } from '../route/rtn.ts'
import { T_IPVS_XMIT } from '../trace.ts'
import type { World } from '../world.ts'
import { connExpireNow, connPut } from './conn.ts'
import {
  K_CONTROL,
  K_FLAGS,
  K_IN_PKTS,
  K_N_CONTROL,
  K_PROTO,
  K_STATE,
  K_VADDR,
  K_VPORT,
  K_WORDS,
} from './conn-table.ts'
import {
  IP_VS_CONN_F_FWD_MASK,
  IP_VS_CONN_F_MASQ,
  IP_VS_CONN_F_NFCT,
  IP_VS_CONN_F_NOOUTPUT,
  IP_VS_CONN_F_ONE_PACKET,
  IP_VS_DIR_INPUT,
  IP_VS_DIR_OUTPUT,
  IPPROTO_ICMP,
  IPPROTO_SCTP,
  IPPROTO_TCP,
} from './flags.ts'
import { ipVsInIcmp, ipVsOutIcmp, NOT_RELATED } from './icmp.ts'
import { IpVsIphdr } from './iphdr.ts'
import type { IpVs } from './ipvs.ts'
import { notrack, updateConntrack, usesOldConntrack } from './nfct.ts'
import { isBalanced, setState, snatHandler } from './proto.ts'
import { IP_VS_SCTP_S_CLOSED, IP_VS_TCP_S_CLOSE, IP_VS_TCP_S_FIN_WAIT, IP_VS_TCP_S_TIME_WAIT } from './proto-states.ts'
import { scheduleVerdict, tryToSchedule } from './schedule.ts'
import { connXmit } from './xmit.ts'

/** enum ip_defrag_users of IPVS. */
const IP_DEFRAG_VS_IN = 196610
const IP_DEFRAG_VS_OUT = 196611
const IP_DEFRAG_VS_FWD = 196612

const IPPROTO_TCP_SYN = 2
const IPPROTO_TCP_RST = 4
const SCTP_CID_INIT = 1
const SCTP_CID_ABORT = 6
const ICMP_DEST_UNREACH = 3
const ICMP_PORT_UNREACH = 3

/** What T_IPVS_XMIT says of a reply that got the service's address. */
const IPVS_REPLY = 8

const iphIn = new IpVsIphdr()
const iphOut = new IpVsIphdr()

/** ip_vs_in_hook: LOCAL_IN and LOCAL_OUT. */
export function ipVsIn(w: World, ns: Netns, hook: number, slot: number): number {
  const ipvs = ns.ipvs
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  if (ipvs === null || (meta[m + M_FLAGS]! & SKB_IPVS_PROPERTY) !== 0) return NF_ACCEPT
  if ((meta[m + M_PKTTYPE] !== PACKET_HOST && hook !== NF_INET_LOCAL_OUT) || w.arena.dst[slot] === null)
    return NF_ACCEPT
  if (!ipvs.enabled || ns.sysctl.vs_backup_only !== 0) return NF_ACCEPT
  const nh = meta[m + M_NH]!
  const iph = iphIn
  iph.fill(w.arena.view, nh, nh + meta[m + M_LEN]!, false, false)
  if (iph.protocol === IPPROTO_ICMP) {
    const verdict = ipVsInIcmp(ipvs, slot, hook)
    if (verdict !== NOT_RELATED) return verdict
  }
  if (!isBalanced(iph.protocol)) {
    if (ns.sysctl.vs_ignore_tunneled !== 0) meta[m + M_FLAGS] = meta[m + M_FLAGS]! | SKB_IPVS_PROPERTY
    return NF_ACCEPT
  }
  let id = iph.hasPorts ? ipvs.conns.inGet(iph.protocol, iph.saddr, iph.sport, iph.daddr, iph.dport) : 0
  if (id !== 0 && isNewConn(w.arena.view, iph)) {
    id = reuse(ipvs, slot, id)
    if (id < 0) return NF_DROP
  }
  if (id !== 0) {
    const dest = ipvs.conns.dest[id] ?? null
    if (dest !== null && !dest.available) {
      if (ns.sysctl.vs_expire_nodest_conn === 0) {
        w.dropReason = R_IPVS_DEST_GONE
        return NF_DROP
      }
      const old = usesOldConntrack(ipvs, slot, id)
      if (!old) forgetConntrack(ipvs, id)
      connExpireNow(ipvs, id)
      if (old) {
        w.dropReason = R_IPVS_OLD_CONNTRACK
        return NF_DROP
      }
      id = 0
    }
  }
  if (id === 0) {
    id = tryToSchedule(ipvs, slot, hook, iph)
    if (id < 0) return scheduleVerdict(id)
  }
  countIn(ipvs, slot, id)
  setState(ipvs, id, IP_VS_DIR_INPUT, w.arena.view, iph)
  const rows = ipvs.conns.rows
  const onePacket = (rows[id * K_WORDS + K_FLAGS]! & IP_VS_CONN_F_ONE_PACKET) !== 0
  if (onePacket) {
    const control = rows[id * K_WORDS + K_CONTROL]!
    if (control !== 0) rows[control * K_WORDS + K_IN_PKTS] = rows[control * K_WORDS + K_IN_PKTS]! + 1
  } else {
    rows[id * K_WORDS + K_IN_PKTS] = rows[id * K_WORDS + K_IN_PKTS]! + 1
    // before the packet is sent: what it sets off on this machine comes back before connXmit does
    connPut(ipvs, id)
  }
  const ret = connXmit(ipvs, slot, id, iph)
  if (onePacket) connPut(ipvs, id)
  return ret
}

/** is_new_conn: a packet that opens a connection. */
function isNewConn(view: DataView, iph: IpVsIphdr): boolean {
  if (iph.protocol === IPPROTO_TCP)
    return iph.th + 20 <= iph.end && (view.getUint8(iph.th + 13) & IPPROTO_TCP_SYN) !== 0
  return iph.protocol === IPPROTO_SCTP && iph.th + 16 <= iph.end && view.getUint8(iph.th + 12) === SCTP_CID_INIT
}

/** is_new_conn_expected: the old connection is over, a new one with the same ends is to be expected. */
function isNewConnExpected(rows: Int32Array, e: number, mode: number): boolean {
  if (rows[e + K_CONTROL] !== 0) return false
  const state = rows[e + K_STATE]!
  if (rows[e + K_PROTO] === IPPROTO_SCTP) return state === IP_VS_SCTP_S_CLOSED
  if (state === IP_VS_TCP_S_TIME_WAIT || state === IP_VS_TCP_S_CLOSE) return true
  return (mode & 2) !== 0 && state === IP_VS_TCP_S_FIN_WAIT && (rows[e + K_FLAGS]! & IP_VS_CONN_F_NOOUTPUT) !== 0
}

/** A SYN on the known connection `id`: that connection, 0 to schedule anew, -1 to drop (w.dropReason is set). */
function reuse(ipvs: IpVs, slot: number, id: number): number {
  const rows = ipvs.conns.rows
  const e = id * K_WORDS
  const mode = ipvs.ns.sysctl.vs_conn_reuse_mode
  const dest = ipvs.conns.dest[id] ?? null
  let old: boolean
  if (ipvs.ns.sysctl.vs_expire_nodest_conn !== 0 && dest !== null && dest.weight === 0) {
    old = usesOldConntrack(ipvs, slot, id)
  } else if (mode !== 0 && isNewConnExpected(rows, e, mode)) {
    old = usesOldConntrack(ipvs, slot, id)
    if (rows[e + K_N_CONTROL] !== 0 && old) return id
  } else return id
  if (!old) forgetConntrack(ipvs, id)
  if (rows[e + K_N_CONTROL] === 0) connExpireNow(ipvs, id)
  if (!old) return 0
  ipvs.w.dropReason = R_IPVS_OLD_CONNTRACK
  return -1
}

/** The connection leaves its conntrack entry alone when it expires: a newer connection uses it. */
function forgetConntrack(ipvs: IpVs, id: number): void {
  const f = id * K_WORDS + K_FLAGS
  ipvs.conns.rows[f] = ipvs.conns.rows[f]! & ~IP_VS_CONN_F_NFCT
}

/** ip_vs_in_stats */
export function countIn(ipvs: IpVs, slot: number, id: number): void {
  const dest = ipvs.conns.dest[id] ?? null
  if (dest === null || !dest.available) return
  const bytes = ipvs.w.arena.meta[(slot << META_SHIFT) + M_LEN]!
  const now = ipvs.w.nowNs
  dest.stats.input(now, bytes)
  dest.svc.stats.input(now, bytes)
  ipvs.totalStats.input(now, bytes)
}

/** ip_vs_out_stats */
export function countOut(ipvs: IpVs, slot: number, id: number): void {
  const dest = ipvs.conns.dest[id] ?? null
  if (dest === null || !dest.available) return
  const bytes = ipvs.w.arena.meta[(slot << META_SHIFT) + M_LEN]!
  const now = ipvs.w.nowNs
  dest.stats.output(now, bytes)
  dest.svc.stats.output(now, bytes)
  ipvs.totalStats.output(now, bytes)
}

/** ip_vs_forward_icmp: ICMP errors towards addresses that are not of this host. */
export function ipVsForwardIcmp(w: World, ns: Netns, hook: number, slot: number): number {
  const ipvs = ns.ipvs
  if (ipvs === null || !ipvs.enabled || ns.sysctl.vs_backup_only !== 0) return NF_ACCEPT
  if (w.arena.view.getUint8(w.arena.meta[(slot << META_SHIFT) + M_NH]! + 9) !== IPPROTO_ICMP) return NF_ACCEPT
  const verdict = ipVsInIcmp(ipvs, slot, hook)
  return verdict === NOT_RELATED ? NF_ACCEPT : verdict
}

/** ip_vs_defrag_user */
function defragUser(hook: number): number {
  return hook === NF_INET_LOCAL_IN ? IP_DEFRAG_VS_IN : hook === NF_INET_FORWARD ? IP_DEFRAG_VS_FWD : IP_DEFRAG_VS_OUT
}

/** ip_vs_gather_frags: false when the slot is gone. */
export function gatherFragments(ipvs: IpVs, slot: number, hook: number): boolean {
  const { w, ns } = ipvs
  if (ipDefrag(w, ns, slot, defragUser(hook)) !== 0) return false
  ipSendCheck(w.arena.view, w.arena.meta[(slot << META_SHIFT) + M_NH]!)
  return true
}

/** ip_is_fragment */
export function isFragment(view: DataView, nh: number): boolean {
  return (view.getUint16(nh + 6) & 0x3fff) !== 0
}

/** ip_vs_out_hook: LOCAL_IN, LOCAL_OUT and FORWARD. */
export function ipVsOut(w: World, ns: Netns, hook: number, slot: number): number {
  const ipvs = ns.ipvs
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  if (ipvs === null || !ipvs.enabled || (meta[m + M_FLAGS]! & SKB_IPVS_PROPERTY) !== 0) return NF_ACCEPT
  if (w.arena.dst[slot] === null) return NF_ACCEPT
  const iph = iphOut
  let nh = meta[m + M_NH]!
  const protocol = w.arena.view.getUint8(nh + 9)
  if (protocol === IPPROTO_ICMP) {
    const verdict = ipVsOutIcmp(ipvs, slot, hook)
    if (verdict !== NOT_RELATED) return verdict
  }
  if (!isBalanced(protocol)) return NF_ACCEPT
  if (isFragment(w.arena.view, nh)) {
    if (!gatherFragments(ipvs, slot, hook)) return NF_STOLEN
    nh = meta[m + M_NH]!
  }
  iph.fill(w.arena.view, nh, nh + meta[m + M_LEN]!, false, false)
  if (!iph.hasPorts) return NF_ACCEPT
  const id = ipvs.conns.outGet(iph.protocol, iph.saddr, iph.sport, iph.daddr, iph.dport)
  if (id !== 0) return handleResponse(ipvs, slot, id, hook, iph)
  if (ns.sysctl.vs_nat_icmp_send === 0 || !ipvs.hasRealService(iph.protocol, iph.saddr, iph.sport)) return NF_ACCEPT
  if (isReset(w.arena.view, iph)) return NF_ACCEPT
  icmpSend(w, slot, ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, 0)
  w.dropReason = R_IPVS_NO_CONN
  return NF_DROP
}

/** is_tcp_reset, is_sctp_abort */
function isReset(view: DataView, iph: IpVsIphdr): boolean {
  if (iph.protocol === IPPROTO_TCP)
    return iph.th + 20 <= iph.end && (view.getUint8(iph.th + 13) & IPPROTO_TCP_RST) !== 0
  return iph.protocol === IPPROTO_SCTP && iph.th + 16 <= iph.end && view.getUint8(iph.th + 12) === SCTP_CID_ABORT
}

/** ip_vs_route_me_harder: replies to remote clients take the way of packets made here. False: no way. */
export function routeReply(ipvs: IpVs, slot: number, hook: number): boolean {
  if (ipvs.ns.sysctl.vs_snat_reroute === 0 || hook === NF_INET_LOCAL_IN) return true
  if ((ipvs.w.arena.dst[slot] as Rtable).isLocal) return true
  return ipRouteMeHarder(ipvs.w, ipvs.ns, slot, RTN_LOCAL) === 0
}

/** handle_response */
function handleResponse(ipvs: IpVs, slot: number, id: number, hook: number, iph: IpVsIphdr): number {
  const w = ipvs.w
  const a = w.arena
  const rows = ipvs.conns.rows
  const e = id * K_WORDS
  if ((rows[e + K_FLAGS]! & IP_VS_CONN_F_FWD_MASK) === IP_VS_CONN_F_MASQ) {
    if (!snatHandler(ipvs, id, a.view, iph)) {
      w.dropReason = R_L4_HDR
      return NF_DROP
    }
    a.view.setInt32(iph.nh + 12, rows[e + K_VADDR]!)
    ipSendCheck(a.view, iph.nh)
    if (!routeReply(ipvs, slot, hook)) {
      w.dropReason = R_NO_ROUTE
      return NF_DROP
    }
    if (w.tracer !== null) {
      const dev = w.devices[a.meta[(slot << META_SHIFT) + M_DEV]!] ?? null
      w.tracer.step(T_IPVS_XMIT, slot, ipvs.ns, dev, IPVS_REPLY, rows[e + K_VADDR]!, rows[e + K_VPORT]!, null)
    }
  }
  countOut(ipvs, slot, id)
  setState(ipvs, id, IP_VS_DIR_OUTPUT, a.view, iph)
  markResponse(ipvs, slot, id)
  connPut(ipvs, id)
  return NF_ACCEPT
}

/** The last steps of a reply: it is IPVS's, and untracked or tracked as the connection says. */
export function markResponse(ipvs: IpVs, slot: number, id: number): void {
  const f = (slot << META_SHIFT) + M_FLAGS
  ipvs.w.arena.meta[f] = ipvs.w.arena.meta[f]! | SKB_IPVS_PROPERTY
  if ((ipvs.conns.rows[id * K_WORDS + K_FLAGS]! & IP_VS_CONN_F_NFCT) === 0) notrack(ipvs, slot)
  else updateConntrack(ipvs, slot, id, false)
}
