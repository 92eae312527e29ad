/**
 * The lists of the recent match: addresses with the times they were last seen.
 *
 * Linux: net/netfilter/xt_recent.c. One list per name and namespace, at most 100 addresses (ip_list_tot), the least
 * recently used one goes first; 32 time stamps per address (or the next power of two above --hitcount). Time is in
 * jiffies of 1 ms. /proc/net/xt_recent is not modelled.
 */

import type { IpValue } from './ip-values.ts'

const IP_LIST_TOT = 100

/** One address of a list: struct recent_entry. */
export class RecentEntry {
  readonly ip: number
  ttl: number
  readonly stamps: number[]
  /** Where the next stamp goes. */
  index = 1

  constructor(ip: number, ttl: number, nowJiffies: number) {
    this.ip = ip
    this.ttl = ttl
    this.stamps = [nowJiffies]
  }
}

/** recent_table: entries in order of use, oldest first (a Map keeps insertion order). */
export class RecentTable {
  readonly name: string
  readonly mask: IpValue
  stampMask: number
  readonly entries = new Map<number, RecentEntry>()

  constructor(name: string, mask: IpValue, stampMask: number) {
    this.name = name
    this.mask = mask
    this.stampMask = stampMask
  }

  /** recent_entry_lookup; ttl 0 matches any. */
  lookup(ip: number, ttl: number): RecentEntry | null {
    const e = this.entries.get(ip)
    return e !== undefined && (ttl === 0 || e.ttl === 0 || e.ttl === ttl) ? e : null
  }

  /** recent_entry_init */
  add(ip: number, ttl: number, nowJiffies: number): void {
    if (this.entries.size >= IP_LIST_TOT) {
      for (const oldest of this.entries.keys()) {
        this.entries.delete(oldest)
        break
      }
    }
    this.entries.set(ip, new RecentEntry(ip, ttl, nowJiffies))
  }

  /** recent_entry_update */
  update(e: RecentEntry, nowJiffies: number): void {
    e.index &= this.stampMask
    e.stamps[e.index++] = nowJiffies
    this.entries.delete(e.ip)
    this.entries.set(e.ip, e)
  }

  /** recent_entry_remove */
  remove(e: RecentEntry): void {
    this.entries.delete(e.ip)
  }

  /** recent_entry_reap: drops the least recently used entry when its newest stamp is older than `time`. */
  reap(time: number, working: RecentEntry, update: boolean): void {
    for (const e of this.entries.values()) {
      if (!(e === working && update) && time > e.stamps[e.index - 1]!) this.entries.delete(e.ip)
      return
    }
  }
}

/** nstamp_mask of recent_mt_check. */
export function recentStampMask(hitCount: number): number {
  let n = hitCount === 0 ? 32 : 1
  while (n < hitCount) n <<= 1
  return n - 1
}
