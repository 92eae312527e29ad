/**
 * The connection table: entries in typed arrays, found by the client's address and port, with their timers.
 *
 * Linux: net/netfilter/ipvs/ip_vs_conn.c (ip_vs_conn_tab, ip_vs_conn_hash, __ip_vs_conn_in_get, ip_vs_ct_in_get,
 * ip_vs_conn_out_get). New entries stand at the head of their chain: of two that fit, the newer one is found, also for
 * replies. All timers of the table hang on one timer of the world: a heap of wake-up times, where moving a timer later
 * (every packet does) only writes the new time, and the wake-up puts the entry back.
 * NOT here: the random seed of the hash (the order of buckets is not promised), connections of other address families.
 */
import type { Netns } from '../netns.ts'
import { Timer } from '../timers.ts'
import {
  IP_VS_CONN_F_FWD_MASK,
  IP_VS_CONN_F_HASHED,
  IP_VS_CONN_F_MASQ,
  IP_VS_CONN_F_ONE_PACKET,
  IP_VS_CONN_F_TEMPLATE,
  IP_VS_CONN_TAB_SIZE,
} from './flags.ts'
import type { IpVsDest } from './service.ts'

/** Words of a row. */
export const K_WORDS = 20
/** log2-free: rows are `id * K_WORDS`. */
export const K_CADDR = 0
export const K_VADDR = 1
export const K_DADDR = 2
export const K_CPORT = 3
export const K_VPORT = 4
export const K_DPORT = 5
export const K_PROTO = 6
/** IP_VS_CONN_F_* */
export const K_FLAGS = 7
export const K_STATE = 8
/** Id of the controlling connection (the template), 0 when none. */
export const K_CONTROL = 9
/** Connections that this one controls. */
export const K_N_CONTROL = 10
export const K_IN_PKTS = 11
/** Firewall mark of the first packet. */
export const K_FWMARK = 12
const K_NEXT = 13
const K_PREV = 14
const K_BUCKET = 15
/** Position in the heap plus one, 0 when no timer is pending. */
const K_HEAP = 16
/** 1 while the row is in use. */
const K_USED = 17
/** Rises with each creation: the order of a listing. */
const K_SERIAL = 18

const FIRST_ROWS = 64

function hashKey(proto: number, addr: number, port: number): number {
  let h = Math.imul(addr ^ Math.imul(port + 1, 0x9e3779b1), 0x85ebca6b)
  h = Math.imul((h ^ (h >>> 15)) + proto, 0xc2b2ae35)
  return (h ^ (h >>> 13)) & (IP_VS_CONN_TAB_SIZE - 1)
}

/** All connections of a namespace. */
export class IpVsConnTable {
  /** K_WORDS int32 per connection. Replaced when it grows: do not keep it across `alloc`. */
  rows = new Int32Array(FIRST_ROWS * K_WORDS)
  /** `cp->timeout` in ns. */
  timeout = new Float64Array(FIRST_ROWS)
  /** `cp->timer.expires` in ns. */
  expires = new Float64Array(FIRST_ROWS)
  /** `cp->dest` */
  readonly dest: (IpVsDest | null)[] = []
  /** One past the highest id ever used; ids start at 1. */
  top = 1
  /** Connections that exist. */
  count = 0
  private readonly ns: Netns
  private wake = new Float64Array(FIRST_ROWS)
  private readonly heads = new Int32Array(IP_VS_CONN_TAB_SIZE)
  private freeIds = new Int32Array(FIRST_ROWS)
  private freeTop = 0
  private heap = new Int32Array(FIRST_ROWS)
  private heapSize = 0
  private serial = 0
  private readonly timer: Timer
  private readonly onExpire: (id: number) => void

  /** @param onExpire ip_vs_conn_expire: the timer of `id` ran out and is no longer pending */
  constructor(ns: Netns, onExpire: (id: number) => void) {
    this.ns = ns
    this.onExpire = onExpire
    this.timer = new Timer(() => this.fire())
  }

  /** A zeroed row. */
  alloc(): number {
    let id: number
    if (this.freeTop > 0) id = this.freeIds[--this.freeTop]!
    else {
      id = this.top++
      if (id >= this.timeout.length) this.grow()
    }
    const e = id * K_WORDS
    this.rows.fill(0, e, e + K_WORDS)
    this.rows[e + K_USED] = 1
    this.rows[e + K_SERIAL] = ++this.serial
    this.dest[id] = null
    this.count++
    return id
  }

  /** kmem_cache_free: the entry must be unhashed and without a timer. */
  free(id: number): void {
    this.rows[id * K_WORDS + K_USED] = 0
    this.dest[id] = null
    this.freeIds[this.freeTop++] = id
    this.count--
  }

  /** ip_vs_conn_hash: a one-packet connection is never in the table. */
  hash(id: number): void {
    const rows = this.rows
    const e = id * K_WORDS
    if ((rows[e + K_FLAGS]! & (IP_VS_CONN_F_ONE_PACKET | IP_VS_CONN_F_HASHED)) !== 0) return
    const b = hashKey(rows[e + K_PROTO]!, rows[e + K_CADDR]!, rows[e + K_CPORT]!)
    const head = this.heads[b]!
    rows[e + K_BUCKET] = b
    rows[e + K_NEXT] = head
    rows[e + K_PREV] = 0
    if (head !== 0) rows[head * K_WORDS + K_PREV] = id
    this.heads[b] = id
    rows[e + K_FLAGS] = rows[e + K_FLAGS]! | IP_VS_CONN_F_HASHED
  }

  /** ip_vs_conn_unhash */
  unhash(id: number): boolean {
    const rows = this.rows
    const e = id * K_WORDS
    if ((rows[e + K_FLAGS]! & IP_VS_CONN_F_HASHED) === 0) return false
    rows[e + K_FLAGS] = rows[e + K_FLAGS]! & ~IP_VS_CONN_F_HASHED
    const next = rows[e + K_NEXT]!
    const prev = rows[e + K_PREV]!
    if (prev === 0) this.heads[rows[e + K_BUCKET]!] = next
    else rows[prev * K_WORDS + K_NEXT] = next
    if (next !== 0) rows[next * K_WORDS + K_PREV] = prev
    return true
  }

  /** ip_vs_conn_in_get: the connection of a request, 0 when none. Nothing is found for a client port of 0. */
  inGet(proto: number, caddr: number, cport: number, vaddr: number, vport: number): number {
    if (cport === 0) return 0
    const rows = this.rows
    for (let id = this.heads[hashKey(proto, caddr, cport)]!; id !== 0; id = rows[id * K_WORDS + K_NEXT]!) {
      const e = id * K_WORDS
      if (
        rows[e + K_CPORT] === cport &&
        rows[e + K_VPORT] === vport &&
        rows[e + K_CADDR] === caddr &&
        rows[e + K_VADDR] === vaddr &&
        rows[e + K_PROTO] === proto
      )
        return id
    }
    return 0
  }

  /** ip_vs_ct_in_get: the template of a client, 0 when none. */
  templateGet(proto: number, caddr: number, vaddr: number, vport: number): number {
    const rows = this.rows
    for (let id = this.heads[hashKey(proto, caddr, 0)]!; id !== 0; id = rows[id * K_WORDS + K_NEXT]!) {
      const e = id * K_WORDS
      if (
        rows[e + K_CPORT] === 0 &&
        rows[e + K_VPORT] === vport &&
        rows[e + K_CADDR] === caddr &&
        rows[e + K_VADDR] === vaddr &&
        rows[e + K_PROTO] === proto &&
        (rows[e + K_FLAGS]! & IP_VS_CONN_F_TEMPLATE) !== 0
      )
        return id
    }
    return 0
  }

  /** ip_vs_conn_out_get: the connection of a reply from the real server (`raddr`) to the client, 0 when none. */
  outGet(proto: number, raddr: number, rport: number, caddr: number, cport: number): number {
    const rows = this.rows
    for (let id = this.heads[hashKey(proto, caddr, cport)]!; id !== 0; id = rows[id * K_WORDS + K_NEXT]!) {
      const e = id * K_WORDS
      const masq = (rows[e + K_FLAGS]! & IP_VS_CONN_F_FWD_MASK) === IP_VS_CONN_F_MASQ
      if (
        rows[e + K_CPORT] === cport &&
        rows[e + (masq ? K_DPORT : K_VPORT)] === rport &&
        rows[e + K_CADDR] === caddr &&
        rows[e + (masq ? K_DADDR : K_VADDR)] === raddr &&
        rows[e + K_PROTO] === proto
      )
        return id
    }
    return 0
  }

  /** Ids of the connections in the table, oldest first. */
  entries(): number[] {
    const out: number[] = []
    for (let id = 1; id < this.top; id++) {
      const e = id * K_WORDS
      if (this.rows[e + K_USED] === 1 && (this.rows[e + K_FLAGS]! & IP_VS_CONN_F_HASHED) !== 0) out.push(id)
    }
    return out.sort((a, b) => this.rows[a * K_WORDS + K_SERIAL]! - this.rows[b * K_WORDS + K_SERIAL]!)
  }

  /** timer_pending */
  timerPending(id: number): boolean {
    return this.rows[id * K_WORDS + K_HEAP] !== 0
  }

  /** mod_timer */
  modTimer(id: number, atNs: number): void {
    const e = id * K_WORDS
    this.expires[id] = atNs
    if (this.rows[e + K_HEAP] === 0) {
      this.wake[id] = atNs
      this.heap[this.heapSize] = id
      this.rows[e + K_HEAP] = ++this.heapSize
      this.up(this.heapSize - 1)
    } else if (atNs < this.wake[id]!) {
      this.wake[id] = atNs
      this.up(this.rows[e + K_HEAP]! - 1)
    } else return
    const first = this.wake[this.heap[0]!]!
    if (!this.timer.armed || first < this.timer.atNs) this.ns.world.timers.arm(this.timer, first)
  }

  /** del_timer: false when it was not pending. */
  delTimer(id: number): boolean {
    const at = this.rows[id * K_WORDS + K_HEAP]! - 1
    if (at < 0) return false
    this.rows[id * K_WORDS + K_HEAP] = 0
    const last = this.heap[--this.heapSize]!
    if (last !== id) {
      this.place(last, at)
      this.up(at)
      this.down(this.rows[last * K_WORDS + K_HEAP]! - 1)
    }
    return true
  }

  private fire(): void {
    const now = this.ns.world.nowNs
    while (this.heapSize > 0) {
      const id = this.heap[0]!
      if (this.wake[id]! > now) break
      if (this.expires[id]! > now) {
        this.wake[id] = this.expires[id]!
        this.down(0)
        continue
      }
      this.delTimer(id)
      this.onExpire(id)
    }
    if (this.heapSize > 0) this.ns.world.timers.arm(this.timer, this.wake[this.heap[0]!]!)
  }

  private place(id: number, at: number): void {
    this.heap[at] = id
    this.rows[id * K_WORDS + K_HEAP] = at + 1
  }

  private up(at: number): void {
    const id = this.heap[at]!
    const wake = this.wake[id]!
    while (at > 0) {
      const p = (at - 1) >> 1
      if (this.wake[this.heap[p]!]! <= wake) break
      this.place(this.heap[p]!, at)
      at = p
    }
    this.place(id, at)
  }

  private down(at: number): void {
    const id = this.heap[at]!
    const wake = this.wake[id]!
    for (;;) {
      let c = 2 * at + 1
      if (c >= this.heapSize) break
      if (c + 1 < this.heapSize && this.wake[this.heap[c + 1]!]! < this.wake[this.heap[c]!]!) c++
      if (this.wake[this.heap[c]!]! >= wake) break
      this.place(this.heap[c]!, at)
      at = c
    }
    this.place(id, at)
  }

  private grow(): void {
    const n = this.timeout.length * 2
    const rows = new Int32Array(n * K_WORDS)
    rows.set(this.rows)
    this.rows = rows
    const timeout = new Float64Array(n)
    timeout.set(this.timeout)
    this.timeout = timeout
    const expires = new Float64Array(n)
    expires.set(this.expires)
    this.expires = expires
    const wake = new Float64Array(n)
    wake.set(this.wake)
    this.wake = wake
    const freeIds = new Int32Array(n)
    freeIds.set(this.freeIds)
    this.freeIds = freeIds
    const heap = new Int32Array(n)
    heap.set(this.heap)
    this.heap = heap
  }
}
