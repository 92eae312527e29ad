/**
 * The trash of removed real servers.
 *
 * Linux: ip_vs_trash_get_dest, ip_vs_dest_trash_expire (net/netfilter/ipvs/ip_vs_ctl.c). A real server that connections
 * still hold lives on without a service; adding the same one again takes it back with its counters. Once nothing has held
 * it for two minutes it is forgotten.
 */
import { SECOND_NS } from './flags.ts'
import type { IpVs } from './ipvs.ts'
import type { IpVsDest, IpVsService } from './service.ts'

/** IP_VS_DEST_TRASH_PERIOD */
const TRASH_PERIOD_NS = 120 * SECOND_NS

/** Puts a removed real server into the trash. */
export function trashPut(ipvs: IpVs, d: IpVsDest): void {
  if (ipvs.trash.length === 0) ipvs.w.timers.arm(ipvs.trashTimer, ipvs.w.nowNs + TRASH_PERIOD_NS / 2)
  d.idleStartNs = -1
  ipvs.trash.unshift(d)
}

/** ip_vs_trash_get_dest: the same real server of the same service, out of the trash; null when it is not there. */
export function trashTake(ipvs: IpVs, svc: IpVsService, addr: number, port: number): IpVsDest | null {
  const i = ipvs.trash.findIndex(
    (d) =>
      d.addr === addr &&
      d.port === port &&
      d.svc.fwmark === svc.fwmark &&
      d.svc.protocol === svc.protocol &&
      (svc.fwmark !== 0 || (d.svc.addr === svc.addr && d.svc.port === svc.port)),
  )
  return i < 0 ? null : ipvs.trash.splice(i, 1)[0]!
}

/** ip_vs_dest_trash_expire */
export function trashExpire(ipvs: IpVs): void {
  const now = ipvs.w.nowNs
  for (let i = ipvs.trash.length - 1; i >= 0; i--) {
    const d = ipvs.trash[i]!
    if (d.refs > 0) continue
    if (d.idleStartNs < 0) d.idleStartNs = now
    else if (now >= d.idleStartNs + TRASH_PERIOD_NS) ipvs.trash.splice(i, 1)
  }
  if (ipvs.trash.length > 0) ipvs.w.timers.arm(ipvs.trashTimer, now + TRASH_PERIOD_NS / 2)
}
