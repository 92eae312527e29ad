/**
 * Schedulers that walk the list of real servers: rr, lc, wlc, sed, nq, fo, ovf, twos.
 *
 * Linux: net/netfilter/ipvs/ip_vs_{rr,lc,wlc,sed,nq,fo,ovf,twos}.c. All skip real servers of weight 0 and above their
 * upper threshold; of equals the first in the list, the newest, wins. twos draws two at random and takes the less loaded.
 */
import type { IpVsIphdr } from './iphdr.ts'
import type { IpVs } from './ipvs.ts'
import type { Scheduler } from './scheduler.ts'
import type { IpVsDest, IpVsService } from './service.ts'

function usable(d: IpVsDest): boolean {
  return !d.overloaded && d.weight > 0
}

/** Round robin: on from the last one used (`schedData`, null is the list's head). */
export const rrScheduler: Scheduler = {
  name: 'rr',
  init(svc) {
    svc.schedData = null
  },
  delDest(svc, d) {
    if (svc.schedData === d) svc.schedData = d.prev
  },
  schedule(svc) {
    const last = svc.schedData as IpVsDest | null
    for (let d = last === null ? svc.head : last.next; d !== null; d = d.next) {
      if (usable(d)) {
        svc.schedData = d
        return d
      }
    }
    if (last === null) return null
    for (let d = svc.head; d !== null; d = d.next) {
      if (usable(d)) {
        svc.schedData = d
        return d
      }
      if (d === last) return null
    }
    return null
  },
}

/** Least connections, weights ignored but for 0. */
export function lc(svc: IpVsService): IpVsDest | null {
  let least: IpVsDest | null = null
  let load = 0
  for (let d = svc.head; d !== null; d = d.next) {
    if (!usable(d)) continue
    const overhead = d.overhead
    if (least === null || overhead < load) {
      least = d
      load = overhead
    }
  }
  return least
}

/** Weighted least connections; also the choice that lblc and lblcr fall back on. */
export function wlc(svc: IpVsService): IpVsDest | null {
  let least: IpVsDest | null = null
  let load = 0
  for (let d = svc.head; d !== null; d = d.next) {
    if (d.overloaded) continue
    const overhead = d.overhead
    if (least === null ? d.weight > 0 : load * d.weight > overhead * least.weight) {
      least = d
      load = overhead
    }
  }
  return least
}

/** Shortest expected delay: (active + 1) / weight. */
export function sed(svc: IpVsService): IpVsDest | null {
  let least: IpVsDest | null = null
  let load = 0
  for (let d = svc.head; d !== null; d = d.next) {
    if (d.overloaded) continue
    const overhead = d.activeConns + 1
    if (least === null ? d.weight > 0 : load * d.weight > overhead * least.weight) {
      least = d
      load = overhead
    }
  }
  return least
}

/** Never queue: the first without an active connection, else as sed. */
export function nq(svc: IpVsService): IpVsDest | null {
  let least: IpVsDest | null = null
  let load = 0
  for (let d = svc.head; d !== null; d = d.next) {
    if (!usable(d)) continue
    if (d.activeConns === 0) return d
    const overhead = d.activeConns + 1
    if (least === null || load * d.weight > overhead * least.weight) {
      least = d
      load = overhead
    }
  }
  return least
}

/** Failover: the highest weight. */
export function fo(svc: IpVsService): IpVsDest | null {
  let best: IpVsDest | null = null
  for (let d = svc.head; d !== null; d = d.next) {
    if (usable(d) && (best === null || d.weight > best.weight)) best = d
  }
  return best
}

/** Overflow: the highest weight that has not more active connections than its weight. */
export function ovf(svc: IpVsService): IpVsDest | null {
  let best: IpVsDest | null = null
  for (let d = svc.head; d !== null; d = d.next) {
    if (!usable(d) || d.activeConns > d.weight) continue
    if (best === null || d.weight > best.weight) best = d
  }
  return best
}

/** The power of two choices. */
export function twos(svc: IpVsService, _iph: IpVsIphdr, ipvs: IpVs): IpVsDest | null {
  let total = 0
  let first: IpVsDest | null = null
  for (let d = svc.head; d !== null; d = d.next) {
    if (!usable(d)) continue
    total += d.weight
    first = d
  }
  if (first === null) return null
  let left1 = ipvs.w.random.below(total + 1)
  let left2 = ipvs.w.random.below(total + 1)
  let found1: IpVsDest | null = null
  let found2: IpVsDest | null = null
  for (let d = svc.head; d !== null && (found1 === null || found2 === null); d = d.next) {
    if (!usable(d)) continue
    left1 -= d.weight
    left2 -= d.weight
    if (left1 <= 0 && found1 === null) found1 = d
    if (left2 <= 0 && found2 === null) found2 = d
  }
  if (found1 !== null) first = found1
  if (found2 !== null && found2.weight * first.overhead > first.weight * found2.overhead) return found2
  return first
}
