/**
 * The neighbour table and its state machine.
 *
 * Linux: net/core/neighbour.c (__neigh_event_send, neigh_timer_handler, neigh_update, neigh_resolve_output). One table per
 * namespace and family: arp_tbl and nd_tbl differ in how they ask (arp.ts, ipv6/ndisc-send.ts) and in what a new entry is
 * (arp_constructor, ndisc_constructor). An IPv6 entry's `ip` is its In6Table id. Garbage collection by thresholds (gc_thresh) is not modelled: entries stay until they are removed.
 */

import type { PacketArena } from '../../packet/arena.ts'
import {
  ETH_HLEN,
  ETH_P_IP,
  ETH_P_IPV6,
  M_DATA,
  M_DEV,
  M_LEN,
  M_MAC,
  M_NEXT,
  M_PROTO,
  META_SHIFT,
} from '../../packet/layout.ts'
import { devQueueXmit } from '../core/dev.ts'
import { freeSkb } from '../core/skb.ts'
import { IFF_LOOPBACK, IFF_NOARP, IFF_POINTOPOINT, type NetDevice } from '../device/device.ts'
import { EINVAL, EPERM } from '../errno.ts'
import { ipv4LinkFailure } from '../ip/icmp.ts'
import { ip6LinkFailure } from '../ipv6/icmp.ts'
import { AF_INET, AF_INET6 } from '../ipv6/in6.ts'
import { ndiscConstructor, ndiscSolicit } from '../ipv6/ndisc-send.ts'
import type { Netns } from '../netns.ts'
import { R_NEIGH_DEAD, R_NEIGH_FAILED, R_NEIGH_QUEUEFULL } from '../reasons.ts'
import { inetAddrType } from '../route/route.ts'
import { RTN_BROADCAST, RTN_MULTICAST } from '../route/rtn.ts'
import type { NeighParms } from '../sysctl.ts'
import { Timer } from '../timers.ts'
import { T_NEIGH, T_NEIGH_QUEUE, T_NEIGH6 } from '../trace.ts'
import type { World } from '../world.ts'
import { arpSolicit } from './arp.ts'

/** Neighbour states, include/uapi/linux/neighbour.h. */
export const NUD_NONE = 0x00
export const NUD_INCOMPLETE = 0x01
export const NUD_REACHABLE = 0x02
export const NUD_STALE = 0x04
export const NUD_DELAY = 0x08
export const NUD_PROBE = 0x10
export const NUD_FAILED = 0x20
export const NUD_NOARP = 0x40
export const NUD_PERMANENT = 0x80
export const NUD_CONNECTED = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE
export const NUD_IN_TIMER = NUD_INCOMPLETE | NUD_REACHABLE | NUD_DELAY | NUD_PROBE
export const NUD_VALID = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY

/** neigh_update flags. */
export const NEIGH_UPDATE_F_OVERRIDE = 1
export const NEIGH_UPDATE_F_WEAK_OVERRIDE = 2
export const NEIGH_UPDATE_F_ADMIN = 0x80000000 | 0

const MS = 1_000_000
const SECOND = 1_000_000_000
/** max(RETRANS_TIME, HZ/100): a timer is never closer than this. */
const MIN_TIMER_NS = 10 * MS
/** Entries kept in front of the maps; a power of two. */
const RECENT = 64
/** One jiffy at HZ=1000. */
const JIFFY_NS = MS
/** What an skb costs beside its bytes: struct sk_buff and skb_shared_info (SKB_TRUESIZE). */
const SKB_OVERHEAD_BYTES = 768

/** An entry: struct neighbour. */
export class Neighbour {
  readonly ip: number
  readonly dev: NetDevice
  readonly table: NeighTable
  readonly parms: NeighParms
  /** Ethertype of what is sent to it. */
  readonly ethertype: number
  state = NUD_NONE
  macHi = 0
  macLo = 0
  confirmedNs = 0
  updatedNs = 0
  usedNs = 0
  probes = 0
  dead = false
  /** The header cache is filled (`hh.hh_len`): packets go by neigh_hh_output. */
  hh = false
  /** Queue of packets that wait for the address. */
  queueHead = -1
  queueTail = -1
  queueBytes = 0
  /** `ip neigh ... proto`, extern_learn: printed only. */
  externLearn = false
  /** NTF_ROUTER: the neighbour says that it is a router (IPv6). */
  isRouter = false
  readonly timer: Timer

  constructor(table: NeighTable, ip: number, dev: NetDevice) {
    this.ip = ip
    this.dev = dev
    this.table = table
    this.parms = table.family === AF_INET6 && dev.in6 !== null ? dev.in6.ndParms : dev.neighParms
    this.ethertype = table.family === AF_INET6 ? ETH_P_IPV6 : ETH_P_IP
    this.timer = new Timer(() => neighTimerHandler(table, this))
  }
}

/** A table of a namespace: struct neigh_table arp_tbl or nd_tbl, seen from one namespace. */
export class NeighTable {
  readonly ns: Netns
  /** AF_INET or AF_INET6 */
  readonly family: number
  private readonly byDev: (Map<number, Neighbour> | undefined)[] = []
  /** Proxy entries (`ip neigh add proxy`): ip to devices. */
  readonly proxies: { ip: number; dev: NetDevice }[] = []

  /** Entries looked up last: in front of the maps, 40 ns become 5 (bench: walk). */
  private readonly recent: (Neighbour | null)[] = new Array<Neighbour | null>(RECENT).fill(null)

  constructor(ns: Netns, family = AF_INET) {
    this.ns = ns
    this.family = family
  }

  /** neigh_lookup */
  lookup(dev: NetDevice, ip: number): Neighbour | undefined {
    const i = (ip ^ (ip >>> 8) ^ dev.id) & (RECENT - 1)
    const known = this.recent[i]!
    if (known !== null && known.ip === ip && known.dev === dev && !known.dead) return known
    const n = this.byDev[dev.id]?.get(ip)
    if (n !== undefined) this.recent[i] = n
    return n
  }

  /** neigh_create: a new entry, set up by arp_constructor or ndisc_constructor. */
  create(dev: NetDevice, ip: number): Neighbour {
    const n = new Neighbour(this, ip, dev)
    let map = this.byDev[dev.id]
    if (map === undefined) {
      map = new Map()
      this.byDev[dev.id] = map
    }
    map.set(ip, n)
    n.updatedNs = this.ns.world.nowNs
    n.usedNs = n.updatedNs
    // neigh_alloc: confirmed lies in the past, so that a fresh entry is not taken for reachable
    n.confirmedNs = n.updatedNs - reachableTimeNs(dev, n.parms) * 2
    if (this.family === AF_INET6) ndiscConstructor(n)
    else arpConstructor(this.ns, n)
    return n
  }

  /** pneigh_lookup */
  isProxied(dev: NetDevice, ip: number): boolean {
    return this.proxies.some((p) => p.ip === ip && p.dev === dev)
  }

  /** All entries of all devices, in order of creation per device. */
  list(): Neighbour[] {
    const out: Neighbour[] = []
    for (const map of this.byDev) if (map !== undefined) out.push(...map.values())
    return out
  }

  /** neigh_flush_one / neigh_del: the entry goes, waiting packets are dropped. */
  remove(n: Neighbour): void {
    this.byDev[n.dev.id]?.delete(n.ip)
    n.dead = true
    this.ns.world.timers.cancel(n.timer)
    purgeQueue(this.ns.world, n, R_NEIGH_DEAD)
  }

  /** neigh_flush_dev: all entries of a device; permanent ones stay when `skipPerm`. */
  flushDev(dev: NetDevice, skipPerm = false): void {
    for (const n of [...(this.byDev[dev.id]?.values() ?? [])]) {
      if (skipPerm && (n.state & NUD_PERMANENT) !== 0) continue
      this.remove(n)
    }
  }
}

/** arp_constructor: what kind of address this is decides whether ARP is asked at all. */
function arpConstructor(ns: Netns, n: Neighbour): void {
  const dev = n.dev
  if (!dev.ether) {
    n.state = NUD_NOARP
    return
  }
  const type = inetAddrType(ns, n.ip)
  if (type === RTN_MULTICAST) {
    n.state = NUD_NOARP
    n.macHi = 0x0100
    n.macLo = 0x5e000000 | (n.ip & 0x7fffff)
  } else if ((dev.flags & (IFF_NOARP | IFF_LOOPBACK)) !== 0) {
    n.state = NUD_NOARP
    n.macHi = dev.macHi
    n.macLo = dev.macLo
  } else if (type === RTN_BROADCAST || (dev.flags & IFF_POINTOPOINT) !== 0) {
    n.state = NUD_NOARP
    n.macHi = 0xffff
    n.macLo = -1
  }
}

/** neigh_rand_reach_time: drawn once per device in [base/2, 3/2 base). */
const reachTimes = new WeakMap<NeighParms, { base: number; ns: number }>()
function reachableTimeNs(dev: NetDevice, parms: NeighParms): number {
  const base = parms.base_reachable_time_ms
  const known = reachTimes.get(parms)
  if (known !== undefined && known.base === base) return known.ns
  const ms = base === 0 ? 0 : dev.ns.world.random.below(base) + (base >> 1)
  reachTimes.set(parms, { base, ns: ms * MS })
  return ms * MS
}

/**
 * ip6_finish_output2 / neigh_output: as neighOutput for IPv6; `nexthop` is an In6Table id.
 * @returns 0, or what the transmit answered
 */
export function neighOutput6(w: World, ns: Netns, slot: number, dev: NetDevice, nexthop: number): number {
  const n = ns.nd.lookup(dev, nexthop) ?? ns.nd.create(dev, nexthop)
  if (w.tracer !== null) w.tracer.step(T_NEIGH6, slot, ns, dev, nexthop, n.state, 0, n)
  if (!dev.ether) {
    w.arena.meta[(slot << META_SHIFT) + M_DEV] = dev.id
    return devQueueXmit(w, slot)
  }
  if ((n.state & NUD_CONNECTED) !== 0 && n.hh) {
    pushEthHeader(w.arena, slot, n)
    return devQueueXmit(w, slot)
  }
  return neighOutputFn(w, slot, n)
}

/** __neigh_lookup(create=1) */
export function neighLookupOrCreate(ns: Netns, dev: NetDevice, ip: number): Neighbour {
  return ns.neigh.lookup(dev, ip) ?? ns.neigh.create(dev, ip)
}

/**
 * ip_finish_output2 / neigh_output: finds the neighbour of `nexthop` on `dev` and sends. M_DATA stands at the IP header;
 * waits in the neighbour's queue while the address is not known. @returns 0, or what the transmit answered
 */
export function neighOutput(w: World, ns: Netns, slot: number, dev: NetDevice, nexthop: number): number {
  // __ipv4_neigh_lookup_noref: one entry stands for everything behind lo or a point-to-point link
  if ((dev.flags & (IFF_LOOPBACK | IFF_POINTOPOINT)) !== 0) nexthop = 0
  const n = ns.neigh.lookup(dev, nexthop) ?? ns.neigh.create(dev, nexthop)
  if (w.tracer !== null) w.tracer.step(T_NEIGH, slot, ns, dev, nexthop, n.state, 0, n)
  if (w.recorder !== null) w.recorder.neighbour(n)
  if (!dev.ether) {
    // neigh_direct_output: no link header
    w.arena.meta[(slot << META_SHIFT) + M_DEV] = dev.id
    return devQueueXmit(w, slot)
  }
  if ((n.state & NUD_CONNECTED) !== 0 && n.hh) {
    pushEthHeader(w.arena, slot, n)
    return devQueueXmit(w, slot)
  }
  return neighOutputFn(w, slot, n)
}

/** `neigh->output`: neigh_resolve_output for Ethernet. @returns 0, or what the transmit answered */
export function neighOutputFn(w: World, slot: number, n: Neighbour): number {
  if (!neighEventSend(w, n, slot)) return 0
  n.hh = true
  pushEthHeader(w.arena, slot, n)
  return devQueueXmit(w, slot)
}

/** dev_hard_header of Ethernet from the neighbour's address. */
function pushEthHeader(a: PacketArena, slot: number, n: Neighbour): void {
  const meta = a.meta
  const m = slot << META_SHIFT
  const dev = n.dev
  const eth = meta[m + M_DATA]! - ETH_HLEN
  meta[m + M_DATA] = eth
  meta[m + M_LEN] = meta[m + M_LEN]! + ETH_HLEN
  meta[m + M_MAC] = eth
  meta[m + M_DEV] = dev.id
  const proto = n.ethertype
  meta[m + M_PROTO] = proto
  const v = a.view
  v.setUint16(eth, n.macHi)
  v.setInt32(eth + 2, n.macLo)
  v.setUint16(eth + 6, dev.macHi)
  v.setInt32(eth + 8, dev.macLo)
  v.setUint16(eth + 12, proto)
}

/**
 * neigh_event_send: notes the use, starts resolution when needed.
 * @returns true when the packet may go now; false when it was queued or dropped (slot -1: nothing to queue)
 */
export function neighEventSend(w: World, n: Neighbour, slot: number): boolean {
  const now = w.nowNs
  n.usedNs = now
  if ((n.state & (NUD_CONNECTED | NUD_DELAY | NUD_PROBE)) !== 0) return true
  const parms = n.parms
  let probe = false
  if ((n.state & (NUD_STALE | NUD_INCOMPLETE)) === 0) {
    if (parms.mcast_solicit + parms.app_solicit === 0) {
      n.state = NUD_FAILED
      n.updatedNs = now
      if (slot >= 0) freeSkb(w, slot, R_NEIGH_FAILED, n.ip)
      return false
    }
    n.probes = parms.ucast_solicit
    n.state = NUD_INCOMPLETE
    n.updatedNs = now
    w.timers.arm(n.timer, now + Math.max(parms.retrans_time_ms * MS, MIN_TIMER_NS))
    probe = true
  } else if ((n.state & NUD_STALE) !== 0) {
    n.state = NUD_DELAY
    n.updatedNs = now
    w.timers.arm(n.timer, now + parms.delay_first_probe_time * SECOND)
    return true
  }
  if (slot >= 0) enqueue(w, n, slot)
  if (probe) neighProbe(w, n)
  return false
}

function truesize(w: World, slot: number): number {
  // kmalloc rounds the data area up to a power of two of at least 512 bytes
  let size = 512
  const need = w.arena.meta[(slot << META_SHIFT) + M_LEN]! + 64
  while (size < need) size *= 2
  return size + SKB_OVERHEAD_BYTES - 512
}

function enqueue(w: World, n: Neighbour, slot: number): void {
  const meta = w.arena.meta
  const size = truesize(w, slot)
  while (n.queueHead >= 0 && n.queueBytes + size > n.parms.unres_qlen_bytes) {
    const old = dequeue(w, n)
    freeSkb(w, old, R_NEIGH_QUEUEFULL, n.ip)
  }
  const m = slot << META_SHIFT
  meta[m + M_NEXT] = -1
  meta[m + M_DEV] = n.dev.id
  if (n.queueTail >= 0) meta[(n.queueTail << META_SHIFT) + M_NEXT] = slot
  else n.queueHead = slot
  n.queueTail = slot
  n.queueBytes += size
  if (w.tracer !== null) w.tracer.step(T_NEIGH_QUEUE, slot, n.dev.ns, n.dev, n.ip, n.state, 0, n)
}

function dequeue(w: World, n: Neighbour): number {
  const slot = n.queueHead
  if (slot < 0) return -1
  const m = slot << META_SHIFT
  n.queueHead = w.arena.meta[m + M_NEXT]!
  if (n.queueHead < 0) n.queueTail = -1
  n.queueBytes = Math.max(0, n.queueBytes - truesize(w, slot))
  w.arena.meta[m + M_NEXT] = -1
  return slot
}

function purgeQueue(w: World, n: Neighbour, reason: number): void {
  for (let s = dequeue(w, n); s >= 0; s = dequeue(w, n)) freeSkb(w, s, reason, n.ip)
  n.queueBytes = 0
}

/** neigh_probe: asks once more; the newest waiting packet gives the source address. */
function neighProbe(w: World, n: Neighbour): void {
  n.probes++
  if (n.table.family === AF_INET6) ndiscSolicit(w, n, n.queueTail, n.probes - 1)
  else arpSolicit(w, n, n.queueTail, n.probes - 1)
}

function maxProbes(n: Neighbour): number {
  const p = n.parms
  return p.ucast_solicit + p.app_solicit + ((n.state & NUD_PROBE) !== 0 ? p.mcast_resolicit : p.mcast_solicit)
}

/** neigh_timer_handler */
function neighTimerHandler(table: NeighTable, n: Neighbour): void {
  const w = table.ns.world
  const now = w.nowNs
  const parms = n.parms
  const delay = parms.delay_first_probe_time * SECOND
  if ((n.state & NUD_IN_TIMER) === 0 || n.dead) return
  let next: number
  if ((n.state & NUD_REACHABLE) !== 0) {
    const reach = reachableTimeNs(n.dev, n.parms)
    if (now <= n.confirmedNs + reach) next = n.confirmedNs + reach
    else if (now <= n.usedNs + delay) {
      n.state = NUD_DELAY
      n.updatedNs = now
      next = now + delay
    } else {
      n.state = NUD_STALE
      n.updatedNs = now
      return
    }
  } else if ((n.state & NUD_DELAY) !== 0) {
    if (now <= n.confirmedNs + delay) {
      n.state = NUD_REACHABLE
      n.updatedNs = now
      next = n.confirmedNs + reachableTimeNs(n.dev, n.parms)
    } else {
      n.state = NUD_PROBE
      n.updatedNs = now
      n.probes = 0
      next = now + Math.max(parms.retrans_time_ms * MS, MIN_TIMER_NS)
    }
  } else next = now + Math.max(parms.retrans_time_ms * MS, MIN_TIMER_NS)
  if ((n.state & (NUD_INCOMPLETE | NUD_PROBE)) !== 0 && n.probes >= maxProbes(n)) {
    n.state = NUD_FAILED
    n.updatedNs = now
    neighInvalidate(w, n)
    return
  }
  w.timers.arm(n.timer, Math.max(next, now + MIN_TIMER_NS))
  if ((n.state & (NUD_INCOMPLETE | NUD_PROBE)) !== 0) neighProbe(w, n)
}

/** neigh_invalidate: each waiting packet's sender learns that the host is unreachable (arp_error_report, ndisc_error_report). */
function neighInvalidate(w: World, n: Neighbour): void {
  // neigh->lock is held with bottom halves off, also for `ip neigh del`: all errors leave before one of them is received
  const wasSoftirq = w.inSoftirq
  w.inSoftirq = true
  while (n.state === NUD_FAILED) {
    const slot = dequeue(w, n)
    if (slot < 0) break
    if (n.table.family === AF_INET6) ip6LinkFailure(w, slot)
    else ipv4LinkFailure(w, slot)
    freeSkb(w, slot, R_NEIGH_FAILED, n.ip)
  }
  purgeQueue(w, n, R_NEIGH_FAILED)
  w.inSoftirq = wasSoftirq
  w.softirq()
}

/**
 * neigh_update: new link-layer address and state.
 * @param mac new address or null to keep the known one
 * @returns 0 or -EPERM (permanent entry, not by an administrator), -EINVAL (no address known)
 */
export function neighUpdate(
  w: World,
  n: Neighbour,
  mac: { hi: number; lo: number } | null,
  state: number,
  flags: number,
): number {
  const old = n.state
  const now = w.nowNs
  if (n.dead) return EPERM
  if ((flags & NEIGH_UPDATE_F_ADMIN) === 0 && (old & (NUD_NOARP | NUD_PERMANENT)) !== 0) return EPERM
  if ((state & NUD_VALID) === 0) {
    w.timers.cancel(n.timer)
    n.state = state
    if ((old & (NUD_INCOMPLETE | NUD_PROBE)) !== 0 && (state & NUD_FAILED) !== 0) neighInvalidate(w, n)
    return 0
  }
  let hi = n.macHi
  let lo = n.macLo
  if (mac !== null && n.dev.ether) {
    hi = mac.hi
    lo = mac.lo
  } else if ((old & NUD_VALID) === 0 && n.dev.ether) return EINVAL
  let next = state
  if ((next & NUD_CONNECTED) !== 0) n.confirmedNs = now
  let changed = (old & NUD_VALID) === 0 || hi !== n.macHi || lo !== n.macLo
  if ((old & NUD_VALID) !== 0) {
    if (changed && (flags & NEIGH_UPDATE_F_OVERRIDE) === 0) {
      if ((flags & NEIGH_UPDATE_F_WEAK_OVERRIDE) === 0 || (old & NUD_CONNECTED) === 0) return 0
      hi = n.macHi
      lo = n.macLo
      changed = false
      next = NUD_STALE
    } else if (!changed && next === NUD_STALE && (flags & NEIGH_UPDATE_F_ADMIN) === 0) next = old
  }
  if (next !== old || changed) n.updatedNs = now
  if (next !== old) {
    w.timers.cancel(n.timer)
    if ((next & NUD_PROBE) !== 0) n.probes = 0
    if ((next & NUD_IN_TIMER) !== 0) {
      w.timers.arm(
        n.timer,
        now + Math.max((next & NUD_REACHABLE) !== 0 ? reachableTimeNs(n.dev, n.parms) : 0, JIFFY_NS),
      )
    }
    n.state = next
  }
  if (changed) {
    n.macHi = hi
    n.macLo = lo
    if ((next & NUD_CONNECTED) === 0) n.confirmedNs = now - n.parms.base_reachable_time_ms * MS * 2
  }
  if (next !== old && (old & NUD_VALID) === 0) {
    while ((n.state & NUD_VALID) !== 0) {
      const slot = dequeue(w, n)
      if (slot < 0) break
      neighOutputFn(w, slot, n)
    }
    n.queueBytes = 0
  }
  return 0
}
