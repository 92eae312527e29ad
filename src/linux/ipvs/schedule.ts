/**
 * Scheduling: what becomes of a packet that starts a connection.
 *
 * Linux: ip_vs_schedule, ip_vs_sched_persist, ip_vs_leave (net/netfilter/ipvs/ip_vs_core.c), tcp_conn_schedule,
 * udp_conn_schedule, sctp_conn_schedule (ip_vs_proto_*.c). Not modelled: persistence engines.
 */
import { M_DEV, M_MARK, META_SHIFT } from '../../packet/layout.ts'
import { IFF_LOOPBACK } from '../device/device.ts'
import { icmpSend } from '../ip/icmp.ts'
import { NF_ACCEPT, NF_DROP, NF_INET_LOCAL_OUT } from '../netfilter/hooks.ts'
import { R_IPVS_DROP_PACKET, R_IPVS_NO_DEST, R_L4_HDR } from '../reasons.ts'
import { inetAddrType } from '../route/route.ts'
import { RTN_UNICAST } from '../route/rtn.ts'
import { T_IPVS_SCHED } from '../trace.ts'
import { checkTemplate, connNew, connPut, controlAdd } from './conn.ts'
import { K_DADDR, K_DPORT, K_WORDS } from './conn-table.ts'
import {
  FTPDATA,
  FTPPORT,
  IP_VS_CONN_F_BYPASS,
  IP_VS_CONN_F_ONE_PACKET,
  IP_VS_CONN_F_TEMPLATE,
  IP_VS_DIR_INPUT,
  IP_VS_SVC_F_ONEPACKET,
  IP_VS_SVC_F_PERSISTENT,
  IPPROTO_IP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  SECOND_NS,
} from './flags.ts'
import type { IpVsIphdr } from './iphdr.ts'
import type { IpVs } from './ipvs.ts'
import { setState } from './proto.ts'
import { schedulerByName } from './scheduler.ts'
import type { IpVsDest, IpVsService } from './service.ts'
import { connXmit } from './xmit.ts'

const ICMP_DEST_UNREACH = 3
const ICMP_PORT_UNREACH = 3
const TCP_SYN = 2
const TCP_RST = 4
const SCTP_CID_INIT = 1
const SCTP_CID_ABORT = 6

/** What `tryToSchedule` gives instead of a connection: the verdict that ends the hook, negated and less one. */
function verdict(v: number): number {
  return -1 - v
}

/** The verdict in a negative result of `tryToSchedule`. */
export function scheduleVerdict(result: number): number {
  return -1 - result
}

/** ip_vs_try_to_schedule: a new connection's id, or a verdict (see scheduleVerdict). */
export function tryToSchedule(ipvs: IpVs, slot: number, hook: number, iph: IpVsIphdr): number {
  const w = ipvs.w
  const wanted = startsConnection(ipvs, w.arena.view, iph)
  if (wanted < 0) {
    w.dropReason = R_L4_HDR
    return verdict(NF_DROP)
  }
  if (wanted === 0) return verdict(NF_ACCEPT)
  const mark = w.arena.meta[(slot << META_SHIFT) + M_MARK]!
  const svc = ipvs.find(mark, iph.protocol, iph.vaddr, iph.vport)
  if (svc === null) return verdict(NF_ACCEPT)
  if (ipvs.toDrop()) {
    w.dropReason = R_IPVS_DROP_PACKET
    return verdict(NF_DROP)
  }
  return schedule(ipvs, svc, slot, hook, iph)
}

/** The protocols' conn_schedule up to the service: 1 look for one, 0 let the packet pass, -1 it is cut short. */
function startsConnection(ipvs: IpVs, view: DataView, iph: IpVsIphdr): number {
  if (iph.icmp) return iph.hasPorts ? 1 : -1
  const { th, end } = iph
  if (iph.protocol === IPPROTO_TCP) {
    if (th + 20 > end) return -1
    const flags = view.getUint8(th + 13)
    if ((flags & TCP_RST) !== 0) return 0
    return (flags & TCP_SYN) !== 0 || ipvs.ns.sysctl.vs_sloppy_tcp !== 0 ? 1 : 0
  }
  if (iph.protocol === IPPROTO_UDP) return th + 8 > end ? -1 : 1
  if (th + 16 > end) return -1
  const chunk = view.getUint8(th + 12)
  if (chunk === SCTP_CID_ABORT) return 0
  return chunk === SCTP_CID_INIT || ipvs.ns.sysctl.vs_sloppy_sctp !== 0 ? 1 : 0
}

/** ip_vs_schedule */
function schedule(ipvs: IpVs, svc: IpVsService, slot: number, hook: number, iph: IpVsIphdr): number {
  const { caddr, cport, vaddr, vport } = iph
  // an FTP server's data connection is not ours to balance
  if (cport === FTPDATA) return verdict(NF_ACCEPT)
  const dev = ipvs.w.devices[ipvs.w.arena.meta[(slot << META_SHIFT) + M_DEV]!] ?? null
  if (hook === NF_INET_LOCAL_OUT || dev === null || (dev.flags & IFF_LOOPBACK) !== 0) {
    // the reply of a real server on this host
    if (ipvs.conns.inGet(iph.protocol, vaddr, vport, caddr, cport) !== 0) return verdict(NF_ACCEPT)
  }
  const onePacket = (svc.flags & IP_VS_SVC_F_ONEPACKET) !== 0 && iph.protocol === IPPROTO_UDP
  const flags = onePacket ? IP_VS_CONN_F_ONE_PACKET : 0
  if ((svc.flags & IP_VS_SVC_F_PERSISTENT) !== 0) return schedulePersistent(ipvs, svc, slot, iph, flags)
  if (svc.fwmark === 0 && vport !== svc.port) return leave(ipvs, svc, slot, iph)
  const dest = schedulerByName(svc.scheduler)?.schedule(svc, iph, ipvs) ?? null
  if (dest === null) return leave(ipvs, svc, slot, iph)
  const id = newConn(ipvs, slot, iph, dest, dest.port !== 0 ? dest.port : vport, flags)
  countConn(ipvs, svc, dest)
  return id
}

function newConn(ipvs: IpVs, slot: number, iph: IpVsIphdr, dest: IpVsDest, dport: number, flags: number): number {
  const w = ipvs.w
  const m = slot << META_SHIFT
  const mark = w.arena.meta[m + M_MARK]!
  const { caddr, cport, vaddr, vport } = iph
  const id = connNew(ipvs, iph.protocol, caddr, cport, vaddr, vport, dest.addr, dport, flags, dest, mark)
  if (w.tracer !== null) {
    const rows = ipvs.conns.rows
    const dev = w.devices[w.arena.meta[m + M_DEV]!] ?? null
    w.tracer.step(
      T_IPVS_SCHED,
      slot,
      ipvs.ns,
      dev,
      id,
      rows[id * K_WORDS + K_DADDR]!,
      rows[id * K_WORDS + K_DPORT]!,
      dest,
    )
  }
  return id
}

/** ip_vs_conn_stats */
function countConn(ipvs: IpVs, svc: IpVsService, dest: IpVsDest): void {
  const now = ipvs.w.nowNs
  dest.stats.conn(now)
  svc.stats.conn(now)
  ipvs.totalStats.conn(now)
}

/** ip_vs_sched_persist: the client's template decides; without a usable one the scheduler does, and it is remembered. */
function schedulePersistent(ipvs: IpVs, svc: IpVsService, slot: number, iph: IpVsIphdr, flags: number): number {
  const { caddr, vport } = iph
  const client = caddr & svc.netmask
  const ownPort = vport === svc.port
  const byMark = !ownPort && svc.fwmark !== 0
  const proto = byMark ? IPPROTO_IP : iph.protocol
  const vaddr = byMark ? svc.fwmark | 0 : iph.vaddr
  const tport = ownPort && svc.port !== FTPPORT ? vport : 0
  let template = ipvs.conns.templateGet(proto, client, vaddr, tport)
  let dest: IpVsDest
  if (template !== 0 && checkTemplate(ipvs, template)) dest = ipvs.conns.dest[template]!
  else {
    const chosen = schedulerByName(svc.scheduler)?.schedule(svc, iph, ipvs) ?? null
    if (chosen === null) return leave(ipvs, svc, slot, iph)
    dest = chosen
    const mark = ipvs.w.arena.meta[(slot << META_SHIFT) + M_MARK]!
    const dport = ownPort && svc.port !== FTPPORT ? dest.port : 0
    template = connNew(ipvs, proto, client, 0, vaddr, tport, dest.addr, dport, IP_VS_CONN_F_TEMPLATE, dest, mark)
    ipvs.conns.timeout[template] = svc.timeout * SECOND_NS
  }
  const id = newConn(ipvs, slot, iph, dest, ownPort && dest.port !== 0 ? dest.port : vport, flags)
  controlAdd(ipvs, id, template)
  connPut(ipvs, template)
  countConn(ipvs, svc, dest)
  return id
}

/** ip_vs_leave: there is a service but no real server: bypass, pass, or tell the client. */
function leave(ipvs: IpVs, svc: IpVsService, slot: number, iph: IpVsIphdr): number {
  const w = ipvs.w
  if (!iph.hasPorts) return verdict(NF_DROP)
  if (
    ipvs.ns.sysctl.vs_cache_bypass !== 0 &&
    svc.fwmark !== 0 &&
    !iph.inverse &&
    !iph.icmp &&
    inetAddrType(ipvs.ns, iph.daddr) === RTN_UNICAST
  )
    return bypass(ipvs, svc, slot, iph)
  if (svc.port === FTPPORT && iph.vport !== FTPPORT) return verdict(NF_ACCEPT)
  w.dropReason = R_IPVS_NO_DEST
  if (iph.icmp) return verdict(NF_DROP)
  icmpSend(w, slot, ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, 0)
  w.dropReason = R_IPVS_NO_DEST
  return verdict(NF_DROP)
}

/** A cache-bypass connection: the packet goes to its own destination. */
function bypass(ipvs: IpVs, svc: IpVsService, slot: number, iph: IpVsIphdr): number {
  const w = ipvs.w
  const onePacket = (svc.flags & IP_VS_SVC_F_ONEPACKET) !== 0 && iph.protocol === IPPROTO_UDP
  const flags = IP_VS_CONN_F_BYPASS | (onePacket ? IP_VS_CONN_F_ONE_PACKET : 0)
  const mark = w.arena.meta[(slot << META_SHIFT) + M_MARK]!
  const id = connNew(ipvs, iph.protocol, iph.saddr, iph.sport, iph.daddr, iph.dport, 0, 0, flags, null, mark)
  setState(ipvs, id, IP_VS_DIR_INPUT, w.arena.view, iph)
  if (!onePacket) connPut(ipvs, id)
  const ret = connXmit(ipvs, slot, id, iph)
  if (onePacket) connPut(ipvs, id)
  return verdict(ret)
}
