/**
 * The control interface: services and real servers are made, changed and removed.
 *
 * Linux: ip_vs_genl_set_cmd, ip_vs_add_service, ip_vs_edit_service, ip_vs_add_dest, ip_vs_edit_dest, ip_vs_del_dest,
 * ip_vs_flush, ip_vs_zero_service, ip_vs_register_hooks (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_core.c). Every function
 * gives 0 or the negative errno that ipvsadm turns into its message.
 */
import { EEXIST, EINVAL, ENOENT, ERANGE, ESRCH } from '../errno.ts'
import {
  NF_INET_FORWARD,
  NF_INET_LOCAL_IN,
  NF_INET_LOCAL_OUT,
  NFH_IPVS_FORWARD_ICMP,
  NFH_IPVS_FORWARD_REPLY,
  NFH_IPVS_LOCAL_IN_REPLY,
  NFH_IPVS_LOCAL_IN_REQUEST,
  NFH_IPVS_LOCAL_OUT_REPLY,
  NFH_IPVS_LOCAL_OUT_REQUEST,
} from '../netfilter/hooks.ts'
import { JIFFY_NS } from '../route/peer.ts'
import { inetAddrType } from '../route/route.ts'
import { RTN_LOCAL, RTN_UNICAST } from '../route/rtn.ts'
import {
  IP_VS_CONN_F_FWD_MASK,
  IP_VS_CONN_F_INACTIVE,
  IP_VS_CONN_F_MASQ,
  IP_VS_CONN_F_NOOUTPUT,
  IP_VS_CONN_F_TUNNEL_TYPE_GUE,
  IP_VS_DEST_F_AVAILABLE,
  IP_VS_DEST_F_OVERLOAD,
  SECOND_NS,
} from './flags.ts'
import type { IpVs } from './ipvs.ts'
import { IP_VS_TCP_S_ESTABLISHED, IP_VS_TCP_S_FIN_WAIT } from './proto-states.ts'
import { schedulerByName } from './scheduler.ts'
import { type DestSpec, IpVsDest, IpVsService, type ServiceId } from './service.ts'
import { trashPut, trashTake } from './trash.ts'

/** What `-A` and `-E` say about a service. */
export interface ServiceSpec extends ServiceId {
  readonly scheduler: string
  readonly flags: number
  /** Seconds. */
  readonly timeout: number
  readonly netmask: number
}

/** [hook point, kind] of the six hooks. */
const HOOKS = [
  [NF_INET_LOCAL_IN, NFH_IPVS_LOCAL_IN_REPLY],
  [NF_INET_LOCAL_IN, NFH_IPVS_LOCAL_IN_REQUEST],
  [NF_INET_LOCAL_OUT, NFH_IPVS_LOCAL_OUT_REPLY],
  [NF_INET_LOCAL_OUT, NFH_IPVS_LOCAL_OUT_REQUEST],
  [NF_INET_FORWARD, NFH_IPVS_FORWARD_ICMP],
  [NF_INET_FORWARD, NFH_IPVS_FORWARD_REPLY],
] as const

/** ip_vs_add_service */
export function addService(ipvs: IpVs, spec: ServiceSpec): number {
  if (ipvs.exact(spec) !== null) return EEXIST
  const scheduler = schedulerByName(spec.scheduler)
  if (scheduler === null && spec.scheduler !== 'none') return ENOENT
  if (ipvs.services.length === 0) for (const [hook, kind] of HOOKS) ipvs.ns.nf.register(hook, kind)
  const svc = new IpVsService(spec, ipvs.w.nowNs)
  svc.flags = spec.flags
  svc.timeout = spec.timeout
  svc.netmask = spec.netmask
  svc.scheduler = spec.scheduler
  scheduler?.init?.(svc, ipvs)
  ipvs.hash(svc)
  ipvs.enabled = true
  return 0
}

/** ip_vs_edit_service */
export function editService(ipvs: IpVs, spec: ServiceSpec): number {
  const svc = ipvs.exact(spec)
  if (svc === null) return ESRCH
  const scheduler = schedulerByName(spec.scheduler)
  if (scheduler === null && spec.scheduler !== 'none') return ENOENT
  svc.flags = spec.flags
  svc.timeout = spec.timeout
  svc.netmask = spec.netmask
  if (svc.scheduler !== spec.scheduler) {
    schedulerByName(svc.scheduler)?.done?.(svc, ipvs)
    svc.schedData = null
    svc.scheduler = spec.scheduler
    scheduler?.init?.(svc, ipvs)
  }
  return 0
}

/** ip_vs_del_service: its connections live on. */
export function delService(ipvs: IpVs, id: ServiceId): number {
  const svc = ipvs.exact(id)
  if (svc === null) return ESRCH
  ipvs.unhash(svc)
  if (ipvs.services.length === 0) for (const [hook, kind] of HOOKS) ipvs.ns.nf.unregister(hook, kind)
  schedulerByName(svc.scheduler)?.done?.(svc, ipvs)
  while (svc.head !== null) removeDest(ipvs, svc, svc.head)
  return 0
}

/** ip_vs_flush */
export function flushServices(ipvs: IpVs): number {
  while (ipvs.services.length > 0) delService(ipvs, ipvs.services[0]!)
  return 0
}

/** ip_vs_zero_service, ip_vs_zero_all when `id` is null. */
export function zeroStats(ipvs: IpVs, id: ServiceId | null): number {
  const now = ipvs.w.nowNs
  const one = id === null ? null : ipvs.exact(id)
  if (id !== null && one === null) return ESRCH
  for (const svc of one === null ? ipvs.services : [one]) {
    svc.stats.reset(now)
    for (let d = svc.head; d !== null; d = d.next) d.stats.reset(now)
  }
  if (one === null) ipvs.totalStats.reset(now)
  return 0
}

/** ip_vs_set_timeout: seconds, 0 leaves a timeout as it is. */
export function setTimeouts(ipvs: IpVs, tcp: number, tcpFin: number, udp: number): number {
  const t = ipvs.timeouts
  if (tcp !== 0) t.tcp[IP_VS_TCP_S_ESTABLISHED] = tcp * SECOND_NS
  if (tcpFin !== 0) t.tcp[IP_VS_TCP_S_FIN_WAIT] = tcpFin * SECOND_NS
  if (udp !== 0) t.udp = udp * SECOND_NS
  return 0
}

function checkDest(spec: DestSpec): number {
  if (spec.weight < 0 || spec.lowerThreshold > spec.upperThreshold) return ERANGE
  return spec.tunType === IP_VS_CONN_F_TUNNEL_TYPE_GUE && spec.tunPort === 0 ? EINVAL : 0
}

/** ip_vs_add_dest */
export function addDest(ipvs: IpVs, id: ServiceId, spec: DestSpec): number {
  const svc = ipvs.exact(id)
  if (svc === null) return ESRCH
  const bad = checkDest(spec)
  if (bad !== 0) return bad
  if (svc.findDest(spec.addr, spec.port) !== null) return EEXIST
  let d = trashTake(ipvs, svc, spec.addr, spec.port)
  if (d === null) {
    const type = inetAddrType(ipvs.ns, spec.addr)
    if (type !== RTN_LOCAL && type !== RTN_UNICAST) return EINVAL
    d = new IpVsDest(svc, spec.addr, spec.port, ipvs.w.nowNs)
  }
  d.lastWeight = spec.weight
  updateDest(ipvs, svc, d, spec)
  svc.addDest(d)
  schedulerByName(svc.scheduler)?.addDest?.(svc, d)
  return 0
}

/** ip_vs_edit_dest */
export function editDest(ipvs: IpVs, id: ServiceId, spec: DestSpec): number {
  const svc = ipvs.exact(id)
  if (svc === null) return ESRCH
  const bad = checkDest(spec)
  if (bad !== 0) return bad
  const d = svc.findDest(spec.addr, spec.port)
  if (d === null) return ENOENT
  if (spec.weight !== 0) d.lastWeight = spec.weight
  updateDest(ipvs, svc, d, spec)
  schedulerByName(svc.scheduler)?.updDest?.(svc, d)
  return 0
}

/** ip_vs_del_dest */
export function delDest(ipvs: IpVs, id: ServiceId, addr: number, port: number): number {
  const svc = ipvs.exact(id)
  if (svc === null) return ESRCH
  const d = svc.findDest(addr, port)
  if (d === null) return ENOENT
  removeDest(ipvs, svc, d)
  return 0
}

/** __ip_vs_update_dest */
function updateDest(ipvs: IpVs, svc: IpVsService, d: IpVsDest, spec: DestSpec): void {
  d.weight = spec.weight
  d.tunType = spec.tunType
  d.tunPort = spec.tunPort
  d.tunFlags = spec.tunFlags
  const method = spec.fwdMethod & IP_VS_CONN_F_FWD_MASK
  d.connFlags = method | IP_VS_CONN_F_INACTIVE | (method === IP_VS_CONN_F_MASQ ? 0 : IP_VS_CONN_F_NOOUTPUT)
  if (d.svc !== svc) {
    d.stats.reset(ipvs.w.nowNs)
    d.svc = svc
  }
  d.flags |= IP_VS_DEST_F_AVAILABLE
  if (spec.upperThreshold === 0 || spec.upperThreshold > d.upperThreshold) d.flags &= ~IP_VS_DEST_F_OVERLOAD
  d.upperThreshold = spec.upperThreshold
  d.lowerThreshold = spec.lowerThreshold
  d.rt = null
}

/** __ip_vs_unlink_dest with __ip_vs_del_dest; the scheduler of a service that goes too is done already. */
function removeDest(ipvs: IpVs, svc: IpVsService, d: IpVsDest): void {
  d.flags &= ~IP_VS_DEST_F_AVAILABLE
  svc.unlinkDest(d)
  if (ipvs.exact(svc) === svc) schedulerByName(svc.scheduler)?.delDest?.(svc, d)
  trashPut(ipvs, d)
  if (ipvs.ns.sysctl.vs_expire_nodest_conn !== 0) ipvs.w.timers.arm(ipvs.nodestTimer, ipvs.w.nowNs + JIFFY_NS)
}
