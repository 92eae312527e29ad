/**
 * One IPv6 routing table: routes by prefix, the longest first.
 *
 * Linux: net/ipv6/ip6_fib.c (fib6_add_rt2node, fib6_node_lookup, fib6_walk). Linux has a radix tree; here every prefix
 * length has a map from the masked address to the routes of that node, in order of metric. A lookup visits the lengths in
 * use from the longest, which is also the way of fib6_backtrack when a node's routes do not fit.
 */
import { EEXIST } from '../errno.ts'
import type { Fib6Nh, Fib6Route } from './fib6-route.ts'
import type { In6Table } from './in6.ts'

/** How a route meets those that are there. */
export type Route6Mode = 'add' | 'append' | 'replace' | 'change' | 'prepend' | 'kernel'

/** A table. */
export class Fib6Table {
  readonly id: number
  private readonly in6: In6Table
  /** Prefix lengths in use, longest first. */
  lengths: number[] = []
  readonly levels: (Map<number, Fib6Route[]> | undefined)[] = []

  constructor(id: number, in6: In6Table) {
    this.id = id
    this.in6 = in6
  }

  /** The routes of a node, undefined when there is none. */
  node(dst: number, prefixLength: number): Fib6Route[] | undefined {
    return this.levels[prefixLength]?.get(dst)
  }

  /** Puts a route behind those of the same metric. */
  insert(route: Fib6Route): void {
    let level = this.levels[route.prefixLength]
    if (level === undefined) {
      level = new Map()
      this.levels[route.prefixLength] = level
    }
    if (level.size === 0) {
      this.lengths.push(route.prefixLength)
      this.lengths.sort((a, b) => b - a)
    }
    const list = level.get(route.dst)
    if (list === undefined) {
      level.set(route.dst, [route])
      return
    }
    let at = 0
    while (at < list.length && list[at]!.metric <= route.metric) at++
    list.splice(at, 0, route)
  }

  /** Takes a route out. */
  remove(route: Fib6Route): void {
    const level = this.levels[route.prefixLength]
    const list = level?.get(route.dst)
    if (level === undefined || list === undefined) return
    const i = list.indexOf(route)
    if (i >= 0) list.splice(i, 1)
    if (list.length > 0) return
    level.delete(route.dst)
    if (level.size === 0) this.lengths = this.lengths.filter((l) => l !== route.prefixLength)
  }

  /** rt6_duplicate_nexthop over the node: -EEXIST when an equal route is there, else 0. */
  duplicate(route: Fib6Route): number {
    for (const r of this.node(route.dst, route.prefixLength) ?? []) {
      if (r.metric !== route.metric) continue
      for (const nh of route.nexthops) if (r.nexthops.some((o) => sameNh(o, nh))) return EEXIST
    }
    return 0
  }

  /** All routes in the order of fib6_walk: more specific ones before what contains them, else by address. */
  all(): Fib6Route[] {
    const out: Fib6Route[] = []
    for (const level of this.levels) if (level !== undefined) for (const list of level.values()) out.push(...list)
    const rank = new Map(out.map((r, i) => [r, i]))
    return out.sort((a, b) => this.compare(a, b) || rank.get(a)! - rank.get(b)!)
  }

  private compare(a: Fib6Route, b: Fib6Route): number {
    const common = this.in6.commonPrefix(a.dst, b.dst)
    const least = Math.min(a.prefixLength, b.prefixLength)
    if (common >= least) return b.prefixLength - a.prefixLength
    const word = common >> 5
    return this.in6.word(a.dst, word) >>> 0 < this.in6.word(b.dst, word) >>> 0 ? -1 : 1
  }
}

function sameNh(a: Fib6Nh, b: Fib6Nh): boolean {
  return a.dev === b.dev && a.gateway === b.gateway
}
