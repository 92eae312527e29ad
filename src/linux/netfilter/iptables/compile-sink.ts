/**
 * Where an extension puts what it compiles to: a kind and integer arguments in one flat array, objects beside it.
 *
 * A match is laid out as [kind, words to the next match, arguments ...]; a target as [kind, arguments ...]. Objects that
 * keep state (recent lists, sets, limits) stand in `refs`, arguments hold their index.
 */

import type { In6Table } from '../../ipv6/in6.ts'
import type { IpSet } from '../ipset/set.ts'
import type { IptFamily, IpValue } from './ip-values.ts'
import { RateLimit } from './limit.ts'
import type { RecentTable } from './recent.ts'

/** Collects the words of a table. */
export class CompileSink {
  readonly words: number[] = []
  readonly recents: RecentTable[] = []
  readonly names: string[] = []
  readonly limits: RateLimit[] = []
  readonly sets: IpSet[] = []
  /** Interface patterns, by text. */
  readonly interfaces: string[] = []
  readonly table: string
  readonly family: IptFamily
  private readonly in6: In6Table
  private readonly interfaceIndex = new Map<string, number>()
  private readonly lookupSet: (name: string) => IpSet | null
  private readonly lookupRecent: (name: string, mask: IpValue, hitCount: number) => RecentTable

  constructor(
    table: string,
    family: IptFamily,
    in6: In6Table,
    lookupSet: (name: string) => IpSet | null,
    lookupRecent: (name: string, mask: IpValue, hitCount: number) => RecentTable,
  ) {
    this.table = table
    this.family = family
    this.in6 = in6
    this.lookupSet = lookupSet
    this.lookupRecent = lookupRecent
  }

  /** Emits a match or target: its kind, then arguments. */
  emit(kind: number, ...args: number[]): void {
    this.words.push(kind, args.length + 2)
    for (const a of args) this.words.push(a | 0)
  }

  /** An address as the data path has it: the number of IPv4, the id of IPv6. */
  ip(ip: IpValue): number {
    return typeof ip === 'number' ? ip : this.in6.intern(...ip)
  }

  /** Index of an interface pattern (`eth0`, `cali+`), -1 for any. */
  interfacePattern(text: string): number {
    if (text === '' || text === '+') return -1
    let i = this.interfaceIndex.get(text)
    if (i === undefined) {
      i = this.interfaces.length
      this.interfaces.push(text)
      this.interfaceIndex.set(text, i)
    }
    return i
  }

  /** Index of a name that traces show (UNMODELLED). */
  name(text: string): number {
    return this.names.push(text) - 1
  }

  /** Index of an ipset; -1 when it is gone. */
  set(name: string): number {
    const set = this.lookupSet(name)
    return set === null ? -1 : this.sets.push(set) - 1
  }

  /** Index of a new token bucket of the limit match. */
  limit(avg: number, burst: number): number {
    return this.limits.push(new RateLimit(avg, burst)) - 1
  }

  /** Index of a recent list, created when it is new. */
  recent(name: string, mask: IpValue, hitCount: number): number {
    return this.recents.push(this.lookupRecent(name, mask, hitCount)) - 1
  }
}
