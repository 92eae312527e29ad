/**
 * The scheduler registry: which real server a new connection gets.
 *
 * Linux: struct ip_vs_scheduler and its modules net/netfilter/ipvs/ip_vs_{rr,wrr,lc,wlc,sed,nq,fo,ovf,sh,dh,mh,lblc,lblcr,
 * twos}.c. A scheduler is looked up by name when a service is made; its functions run in process context except
 * `schedule`. `none` schedules nothing.
 */

import type { IpVsIphdr } from './iphdr.ts'
import type { IpVs } from './ipvs.ts'
import { dhScheduler, type HashBuckets, shScheduler } from './sched-hash.ts'
import { fo, lc, nq, ovf, rrScheduler, sed, twos, wlc } from './sched-list.ts'
import { type LocalityTable, lblcrScheduler, lblcScheduler } from './sched-locality.ts'
import { type MaglevTable, mhScheduler } from './sched-mh.ts'
import { type WrrMark, wrrScheduler } from './sched-wrr.ts'
import type { IpVsDest, IpVsService } from './service.ts'

/** What a scheduler keeps per service: a place in the list (rr), or a structure of its own. */
export type SchedulerData = IpVsDest | WrrMark | HashBuckets | MaglevTable | LocalityTable | null

/** A scheduling algorithm. */
export interface Scheduler {
  readonly name: string
  /** init_service: a service starts to use it; its real servers are there already when it is changed. */
  init?(svc: IpVsService, ipvs: IpVs): void
  /** done_service */
  done?(svc: IpVsService, ipvs: IpVs): void
  /** add_dest: the real server is in the list. */
  addDest?(svc: IpVsService, d: IpVsDest): void
  /** del_dest: it is out of the list, `d.prev` is still its predecessor. */
  delDest?(svc: IpVsService, d: IpVsDest): void
  /** upd_dest */
  updDest?(svc: IpVsService, d: IpVsDest): void
  /** The real server for the packet, null when none is available. */
  schedule(svc: IpVsService, iph: IpVsIphdr, ipvs: IpVs): IpVsDest | null
}

const BY_NAME = new Map<string, Scheduler>(
  [
    rrScheduler,
    wrrScheduler,
    { name: 'lc', schedule: lc },
    { name: 'wlc', schedule: wlc },
    { name: 'sed', schedule: sed },
    { name: 'nq', schedule: nq },
    { name: 'fo', schedule: fo },
    { name: 'ovf', schedule: ovf },
    { name: 'twos', schedule: twos },
    shScheduler,
    dhScheduler,
    mhScheduler,
    lblcScheduler,
    lblcrScheduler,
  ].map((s: Scheduler) => [s.name, s]),
)

/** ip_vs_scheduler_get: null for a name that is not known. */
export function schedulerByName(name: string): Scheduler | null {
  return BY_NAME.get(name) ?? null
}
