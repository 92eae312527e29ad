/**
 * Locality-based schedulers: lblc remembers one real server per destination address, lblcr a set of them.
 *
 * Linux: net/netfilter/ipvs/ip_vs_{lblc,lblcr}.c. A remembered choice holds until it is overloaded (more active
 * connections than its weight while another has less than half of its own); new choices are wlc's. Once a minute entries
 * are collected: idle for six minutes when the table is full, idle past lblc_expiration every thirtieth time.
 */
import { Timer } from '../timers.ts'
import type { World } from '../world.ts'
import { SECOND_NS } from './flags.ts'
import type { IpVs } from './ipvs.ts'
import { wlc } from './sched-list.ts'
import type { Scheduler } from './scheduler.ts'
import type { IpVsDest, IpVsService } from './service.ts'

const TAB_SIZE = 1 << 10
const MAX_ENTRIES = TAB_SIZE * 16
const CHECK_INTERVAL_NS = 60 * SECOND_NS
const COUNT_FOR_FULL_EXPIRATION = 30
const ENTRY_TIMEOUT_NS = 6 * 60 * SECOND_NS

/** struct ip_vs_lblc_entry, struct ip_vs_lblcr_entry: the newest real server first. */
interface LocalityEntry {
  dests: IpVsDest[]
  lastUseNs: number
  lastModNs: number
}

/** The cache of a service. */
export class LocalityTable {
  readonly entries = new Map<number, LocalityEntry>()
  readonly timer: Timer
  counter = 1

  constructor(fire: () => void) {
    this.timer = new Timer(fire)
  }
}

function drop(table: LocalityTable, addr: number, e: LocalityEntry): void {
  for (const d of e.dests) d.refs--
  table.entries.delete(addr)
}

function checkExpire(table: LocalityTable, w: World, expirationNs: number): void {
  const full = table.counter % COUNT_FOR_FULL_EXPIRATION === 0
  if (full) {
    for (const [addr, e] of table.entries) if (w.nowNs - e.lastUseNs >= expirationNs) drop(table, addr, e)
    table.counter = 1
  } else if (table.entries.size <= MAX_ENTRIES) table.counter++
  else {
    let goal = Math.min(Math.floor(((table.entries.size - MAX_ENTRIES) * 4) / 3), MAX_ENTRIES / 2)
    for (const [addr, e] of table.entries) {
      if (goal <= 0) break
      if (w.nowNs - e.lastUseNs < ENTRY_TIMEOUT_NS) continue
      drop(table, addr, e)
      goal--
    }
  }
  w.timers.arm(table.timer, w.nowNs + CHECK_INTERVAL_NS)
}

function start(svc: IpVsService, ipvs: IpVs, expirationNs: (ipvs: IpVs) => number): void {
  const w = ipvs.w
  const table: LocalityTable = new LocalityTable(() => checkExpire(table, w, expirationNs(ipvs)))
  svc.schedData = table
  w.timers.arm(table.timer, w.nowNs + CHECK_INTERVAL_NS)
}

function stop(svc: IpVsService, ipvs: IpVs): void {
  const table = svc.schedData as LocalityTable
  ipvs.w.timers.cancel(table.timer)
  for (const [addr, e] of table.entries) drop(table, addr, e)
}

function lblcExpirationNs(ipvs: IpVs): number {
  return ipvs.ns.sysctl.vs_lblc_expiration * SECOND_NS
}

function lblcrExpirationNs(ipvs: IpVs): number {
  return ipvs.ns.sysctl.vs_lblcr_expiration * SECOND_NS
}

/** is_overloaded */
function isOverloaded(d: IpVsDest, svc: IpVsService): boolean {
  if (d.activeConns <= d.weight) return false
  for (let o = svc.head; o !== null; o = o.next) if (o.activeConns * 2 < o.weight) return true
  return false
}

function remember(table: LocalityTable, addr: number, d: IpVsDest, w: World): void {
  d.refs++
  table.entries.set(addr, { dests: [d], lastUseNs: w.nowNs, lastModNs: w.nowNs })
}

export const lblcScheduler: Scheduler = {
  name: 'lblc',
  init(svc, ipvs) {
    start(svc, ipvs, lblcExpirationNs)
  },
  done: stop,
  schedule(svc, iph, ipvs) {
    const w = ipvs.w
    const table = svc.schedData as LocalityTable
    const e = table.entries.get(iph.daddr)
    if (e !== undefined) {
      e.lastUseNs = w.nowNs
      const d = e.dests[0]!
      if (d.available && d.weight > 0 && !isOverloaded(d, svc)) return d
    }
    const d = wlc(svc)
    if (d === null || e?.dests[0] === d) return d
    if (e !== undefined) drop(table, iph.daddr, e)
    remember(table, iph.daddr, d, w)
    return d
  },
}

/** ip_vs_dest_set_min */
function setMin(dests: readonly IpVsDest[]): IpVsDest | null {
  let least: IpVsDest | null = null
  let load = 0
  for (let i = 0; i < dests.length; i++) {
    const d = dests[i]!
    if (d.overloaded || !d.available) continue
    const overhead = d.overhead
    if (least === null ? d.weight > 0 : load * d.weight > overhead * least.weight) {
      least = d
      load = overhead
    }
  }
  return least
}

/** ip_vs_dest_set_max */
function setMax(dests: readonly IpVsDest[]): IpVsDest | null {
  let most: IpVsDest | null = null
  let load = 0
  for (let i = 0; i < dests.length; i++) {
    const d = dests[i]!
    if (d.weight <= 0) continue
    const overhead = d.overhead
    if (most === null || load * d.weight < overhead * most.weight) {
      most = d
      load = overhead
    }
  }
  return most
}

export const lblcrScheduler: Scheduler = {
  name: 'lblcr',
  init(svc, ipvs) {
    start(svc, ipvs, lblcrExpirationNs)
  },
  done: stop,
  schedule(svc, iph, ipvs) {
    const w = ipvs.w
    const table = svc.schedData as LocalityTable
    const e = table.entries.get(iph.daddr)
    if (e === undefined) {
      const d = wlc(svc)
      if (d !== null) remember(table, iph.daddr, d, w)
      return d
    }
    e.lastUseNs = w.nowNs
    const cached = setMin(e.dests)
    if (e.dests.length > 1 && w.nowNs - e.lastModNs > lblcrExpirationNs(ipvs)) {
      const most = setMax(e.dests)
      if (most !== null) {
        e.dests.splice(e.dests.indexOf(most), 1)
        most.refs--
        e.lastModNs = w.nowNs
      }
    }
    if (cached !== null && !isOverloaded(cached, svc)) return cached
    const d = wlc(svc)
    if (d !== null && !e.dests.includes(d)) {
      e.dests.unshift(d)
      d.refs++
      e.lastModNs = w.nowNs
    }
    return d
  },
}
