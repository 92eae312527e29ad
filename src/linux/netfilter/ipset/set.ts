/**
 * One IP set: its elements in flat arrays, found by hash; most specific network first.
 *
 * Linux: net/netfilter/ipset/ip_set_hash_gen.h, ip_set_bitmap_gen.h, ip_set_list_set.c. An element is four words
 * (addresses, ports, prefix lengths; IPv6 addresses are their ids of World.in6); bitmaps and hashes are the same table here. Elements are listed in order of
 * insertion (bitmaps: by value), where the kernel's hash order is by a random key.
 *
 * Not modelled: skbinfo values, forceadd's eviction, the resize that grows hashsize, sizes in memory.
 */
import type { In6Table } from '../../ipv6/in6.ts'
import type { SetType } from './types.ts'

/** Words of an element's key: first address, port (proto << 16 | port) or mark or interface, second address, prefix lengths. */
export const KEY_WORDS = 4
/** Flags of an element. */
export const ELEM_NOMATCH = 1
export const ELEM_PHYSDEV = 2

/** Options given at creation. */
export interface SetOptions {
  hashsize: number
  maxelem: number
  netmask: number
  markmask: number
  /** Default timeout in seconds, -1 when elements never expire. */
  timeout: number
  counters: boolean
  comment: boolean
  skbinfo: boolean
  bucketsize: number
  initval: number
  /** bitmap: first and last value; list:set: size. */
  rangeFrom: number
  rangeTo: number
  size: number
}

/** A set. */
export class IpSet {
  name: string
  readonly type: SetType
  readonly options: SetOptions
  /** The addresses of family inet6; null for inet, and for sets without addresses. */
  readonly in6: In6Table | null
  /** Members of a list:set. */
  members: { set: IpSet; comment: string; untilNs: number }[] = []
  /** Interface names that elements of hash:net,iface use, by the number in their key. */
  readonly ifaces: string[] = []
  keys = new Int32Array(16 * KEY_WORDS)
  flags: number[] = []
  untilNs: number[] = []
  packets: number[] = []
  bytes: number[] = []
  comments: string[] = []
  /** Elements of each prefix length: index cidr * 33 + second cidr. */
  private readonly lengthCount = new Map<number, number>()
  /** Prefix length pairs in use, the most specific first. */
  lengths: number[] = []
  private used = 0
  private table = new Int32Array(32).fill(-1)
  private live = 0

  constructor(name: string, type: SetType, options: SetOptions, in6: In6Table | null = null) {
    this.name = name
    this.type = type
    this.options = options
    this.in6 = in6
  }

  /** HOST_MASK: bits of an address. */
  get bits(): number {
    return this.in6 === null ? 32 : 128
  }

  /** An address with its host bits cleared. */
  network(ip: number, length: number): number {
    return this.in6 === null ? ip & cidrMask(length) : this.in6.prefix(ip, length)
  }

  /** The same for a lookup: -1, which no element has, for an IPv6 network that nobody ever named. */
  findNetwork(ip: number, length: number): number {
    return this.in6 === null ? ip & cidrMask(length) : this.in6.findPrefix(ip, length)
  }

  /** Dimensions of src/dst flags. */
  get dimensions(): number {
    return this.type.dimensions
  }

  /** Number of elements, expired ones not counted. */
  count(nowNs: number): number {
    return this.type.kind === 'list' ? this.listMembers(nowNs).length : this.rows(nowNs).length
  }

  /** Members of a list:set whose time is not over. */
  listMembers(nowNs: number): IpSet['members'] {
    return this.members.filter((m) => m.untilNs > nowNs)
  }

  /** Rows of the elements whose time is not over. */
  rows(nowNs: number): number[] {
    const out: number[] = []
    for (let i = 0; i < this.used; i++) if (this.untilNs[i]! > nowNs) out.push(i)
    if (this.type.kind === 'bitmap') out.sort((a, b) => (this.keys[a * 4]! >>> 0) - (this.keys[b * 4]! >>> 0))
    return out
  }

  /** Row of the exact key, -1 when there is none or its time is over. */
  find(a: number, b: number, c: number, d: number, nowNs: number): number {
    const mask = this.table.length - 1
    let slot = hash4(a, b, c, d) & mask
    for (;;) {
      const row = this.table[slot]!
      if (row === -1) return -1
      if (row >= 0) {
        const k = row * KEY_WORDS
        const keys = this.keys
        if (keys[k] === a && keys[k + 1] === b && keys[k + 2] === c && keys[k + 3] === d) {
          return this.untilNs[row]! > nowNs ? row : -1
        }
      }
      slot = (slot + 1) & mask
    }
  }

  /** Row for the key, made when it is new; -1 when the set is full. */
  insert(a: number, b: number, c: number, d: number, nowNs: number): number {
    const old = this.find(a, b, c, d, nowNs)
    if (old >= 0) return old
    this.expire(nowNs)
    if (this.live >= this.options.maxelem) return -1
    if (this.used * KEY_WORDS === this.keys.length) {
      const grown = new Int32Array(this.keys.length * 2)
      grown.set(this.keys)
      this.keys = grown
    }
    const row = this.used++
    this.live++
    this.keys.set([a, b, c, d], row * KEY_WORDS)
    this.flags[row] = 0
    this.untilNs[row] = Infinity
    this.packets[row] = 0
    this.bytes[row] = 0
    this.comments[row] = ''
    this.countLength(d, 1)
    if (2 * this.used > this.table.length) this.rehash()
    else this.link(row)
    return row
  }

  /** Removes a row; later rows move up, so that order is kept. */
  removeRow(row: number): void {
    this.countLength(this.keys[row * KEY_WORDS + 3]!, -1)
    this.keys.copyWithin(row * KEY_WORDS, (row + 1) * KEY_WORDS, this.used * KEY_WORDS)
    for (const list of [this.flags, this.untilNs, this.packets, this.bytes]) list.splice(row, 1)
    this.comments.splice(row, 1)
    this.used--
    this.live--
    this.rehash()
  }

  /** Forgets all elements. */
  flush(): void {
    this.members = []
    this.used = 0
    this.live = 0
    for (const list of [this.flags, this.untilNs, this.packets, this.bytes]) list.length = 0
    this.comments.length = 0
    this.lengthCount.clear()
    this.lengths = []
    this.table = new Int32Array(32).fill(-1)
  }

  /** Number of an interface name in keys; a new one is remembered when `create`, else -1. */
  iface(name: string, create: boolean): number {
    const i = this.ifaces.indexOf(name)
    return i >= 0 || !create ? i : this.ifaces.push(name) - 1
  }

  private expire(nowNs: number): void {
    if (this.options.timeout < 0) return
    for (let row = this.used - 1; row >= 0; row--) if (this.untilNs[row]! <= nowNs) this.removeRow(row)
  }

  private link(row: number): void {
    const k = row * KEY_WORDS
    const mask = this.table.length - 1
    let slot = hash4(this.keys[k]!, this.keys[k + 1]!, this.keys[k + 2]!, this.keys[k + 3]!) & mask
    while (this.table[slot] !== -1) slot = (slot + 1) & mask
    this.table[slot] = row
  }

  private rehash(): void {
    let size = 32
    while (size < 4 * this.used) size *= 2
    this.table = new Int32Array(size).fill(-1)
    for (let row = 0; row < this.used; row++) this.link(row)
  }

  private countLength(d: number, step: number): void {
    const n = (this.lengthCount.get(d) ?? 0) + step
    if (n > 0) this.lengthCount.set(d, n)
    else this.lengthCount.delete(d)
    const first = (v: number): number => v & 0xff
    const second = (v: number): number => (v >>> 8) & 0xff
    this.lengths = [...this.lengthCount.keys()].sort((x, y) => first(y) - first(x) || second(y) - second(x))
  }
}

function hash4(a: number, b: number, c: number, d: number): number {
  let h = Math.imul(a ^ Math.imul(b, 0x9e3779b1), 0x85ebca6b)
  h = Math.imul((h ^ (h >>> 15) ^ c) + Math.imul(d, 0x27d4eb2f), 0xc2b2ae35)
  return (h ^ (h >>> 13)) >>> 0
}

/** The netmask word of a prefix length. */
export function cidrMask(length: number): number {
  return length === 0 ? 0 : -1 << (32 - length)
}
