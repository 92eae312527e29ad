/**
 * Hashing of the client (sh) or of the destination (dh) into 256 buckets.
 *
 * Linux: net/netfilter/ipvs/ip_vs_{sh,dh}.c, include/linux/hash.h (hash_32). sh gives a real server as many buckets in a
 * row as its weight; dh one at a time whatever the weight. Flags of sh: port (the client's port counts), fallback (an
 * unavailable real server is stepped over instead of refused).
 */
import { IP_VS_SVC_F_SCHED_FALLBACK, IP_VS_SVC_F_SCHED_PORT } from './flags.ts'
import type { Scheduler } from './scheduler.ts'
import type { IpVsDest, IpVsService } from './service.ts'

const TAB_BITS = 8
const TAB_SIZE = 1 << TAB_BITS
const GOLDEN_RATIO_32 = 0x61c88647

/** The bucket table of a service. */
export class HashBuckets {
  readonly dest = new Array<IpVsDest | null>(TAB_SIZE).fill(null)

  /** Fills the buckets from the list; `run` says how many a real server gets in a row. */
  assign(svc: IpVsService, run: (d: IpVsDest) => number): void {
    let d = svc.head
    let filled = 0
    for (let i = 0; i < TAB_SIZE; i++) {
      if (svc.head === null) {
        this.dest[i] = null
        continue
      }
      const current: IpVsDest = d ?? svc.head
      this.dest[i] = current
      d = current
      if (++filled >= run(current)) {
        d = current.next
        filled = 0
      }
    }
  }
}

/** hash_32 of 8 bits. */
function hash32(value: number): number {
  return Math.imul(value, GOLDEN_RATIO_32) >>> (32 - TAB_BITS)
}

function unavailable(d: IpVsDest): boolean {
  return d.weight <= 0 || d.overloaded
}

function shAssign(svc: IpVsService): void {
  ;(svc.schedData as HashBuckets).assign(svc, (d) => d.weight)
}

function dhAssign(svc: IpVsService): void {
  ;(svc.schedData as HashBuckets).assign(svc, () => 1)
}

export const shScheduler: Scheduler = {
  name: 'sh',
  init(svc) {
    svc.schedData = new HashBuckets()
    shAssign(svc)
  },
  addDest: shAssign,
  delDest: shAssign,
  updDest: shAssign,
  schedule(svc, iph) {
    const table = (svc.schedData as HashBuckets).dest
    const port = (svc.flags & IP_VS_SVC_F_SCHED_PORT) !== 0 ? iph.cport : 0
    const base = hash32((port + iph.caddr) | 0)
    const first = table[base] ?? null
    if (first === null || !unavailable(first)) return first
    if ((svc.flags & IP_VS_SVC_F_SCHED_FALLBACK) === 0) return null
    for (let offset = 0; offset < TAB_SIZE; offset++) {
      const d = table[(((offset + base) & (TAB_SIZE - 1)) + base) & (TAB_SIZE - 1)] ?? null
      if (d === null) return null
      if (!unavailable(d)) return d
    }
    return null
  },
}

export const dhScheduler: Scheduler = {
  name: 'dh',
  init(svc) {
    svc.schedData = new HashBuckets()
    dhAssign(svc)
  },
  addDest: dhAssign,
  delDest: dhAssign,
  schedule(svc, iph) {
    const d = (svc.schedData as HashBuckets).dest[hash32(iph.daddr)] ?? null
    return d === null || !d.available || unavailable(d) ? null : d
  },
}
