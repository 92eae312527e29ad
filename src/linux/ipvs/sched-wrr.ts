/**
 * Weighted round robin.
 *
 * Linux: net/netfilter/ipvs/ip_vs_wrr.c. Rounds with a falling bar `cw`: a real server is taken when its weight reaches
 * the bar; at the end of the list the bar falls by the greatest common divisor of the weights.
 */
import type { Scheduler } from './scheduler.ts'
import type { IpVsDest, IpVsService } from './service.ts'

/** struct ip_vs_wrr_mark */
export class WrrMark {
  /** The current real server, null for the list's head. */
  cl: IpVsDest | null = null
  /** The current weight. */
  cw = 0
  /** The maximum weight, less di - 1. */
  mw = 0
  /** The decrement. */
  di = 1
}

/** Greatest common divisor. */
export function gcd(a: number, b: number): number {
  while (b !== 0) {
    const t = a % b
    a = b
    b = t
  }
  return a
}

function gcdWeight(svc: IpVsService): number {
  let g = 0
  for (let d = svc.head; d !== null; d = d.next) if (d.weight > 0) g = gcd(d.weight, g)
  return g === 0 ? 1 : g
}

function maxWeight(svc: IpVsService): number {
  let max = 0
  for (let d = svc.head; d !== null; d = d.next) if (d.weight > max) max = d.weight
  return max
}

function changed(svc: IpVsService): void {
  const mark = svc.schedData as WrrMark
  mark.cl = null
  mark.di = gcdWeight(svc)
  mark.mw = maxWeight(svc) - (mark.di - 1)
  if (mark.cw > mark.mw || mark.mw === 0) mark.cw = mark.mw
  else if (mark.di > 1) mark.cw = Math.floor(mark.cw / mark.di) * mark.di + 1
}

export const wrrScheduler: Scheduler = {
  name: 'wrr',
  init(svc) {
    const mark = new WrrMark()
    mark.di = gcdWeight(svc)
    mark.mw = maxWeight(svc) - (mark.di - 1)
    mark.cw = mark.mw
    svc.schedData = mark
  },
  addDest: changed,
  delDest: changed,
  updDest: changed,
  schedule(svc) {
    const mark = svc.schedData as WrrMark
    if (mark.mw === 0) return null
    const last = mark.cl
    let d = last
    let stop: IpVsDest | null = null
    let lastPass = false
    let restarted = false
    for (;;) {
      for (d = d === null ? svc.head : d.next; d !== null; d = d.next) {
        if (!d.overloaded && d.weight >= mark.cw) {
          mark.cl = d
          return d
        }
        if (d === stop) {
          mark.cl = d
          return null
        }
      }
      mark.cw -= mark.di
      if (mark.cw <= 0) {
        mark.cw = mark.mw
        // all were looked at with the lowest bar, from the head on
        if (lastPass || last === null) {
          mark.cl = null
          return null
        }
        restarted = true
      }
      lastPass = lastPass || mark.cw <= mark.di
      if (lastPass && restarted && last !== null) stop = last
    }
  },
}
