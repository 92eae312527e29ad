/**
 * One routing table: prefixes to lists of routes, and the longest-prefix lookup in it.
 *
 * Linux: net/ipv4/fib_trie.c (fib_table_lookup, fib_insert_alias, fib_find_alias). A level-compressed trie there, a hash
 * per prefix length here: the same answers. Routes of one prefix are ordered by TOS (high first) and metric (low first).
 * `mergeWith` gives the lookup that Linux does while no custom rules exist: the local table's routes stand in the main
 * table's trie, so the longest prefix of both wins and local comes first at equal length (fib_trie_unmerge).
 */

import { EACCES, EAGAIN, EHOSTUNREACH, EINVAL } from '../errno.ts'
import type { FibNh } from './fib-nh.ts'
import type { FibRoute } from './fib-route.ts'
import type { Flowi4 } from './flow.ts'
import { IntTable } from './int-table.ts'
import { RTN_BLACKHOLE, RTN_PROHIBIT, RTN_THROW, RTN_UNREACHABLE, RTNH_F_DEAD, RTNH_F_LINKDOWN } from './rtn.ts'

/** Answer of a lookup; reused by the caller. */
export class FibResult {
  route: FibRoute | null = null
  nh: FibNh | null = null
  type = 0
  scope = 0
  prefixLength = 0
  table = 0
}

/** FIB_LOOKUP_IGNORE_LINKSTATE */
export const FIB_LOOKUP_IGNORE_LINKSTATE = 2

/** inet_make_mask */
export function prefixMask(length: number): number {
  return length === 0 ? 0 : -1 << (32 - length)
}

/** fib_props[type].error: the errno that a route type stands for, 0 when packets may take it. */
export function typeError(type: number): number {
  if (type < RTN_BLACKHOLE) return 0
  if (type === RTN_BLACKHOLE) return EINVAL
  if (type === RTN_UNREACHABLE) return EHOSTUNREACH
  if (type === RTN_PROHIBIT) return EACCES
  if (type === RTN_THROW) return EAGAIN
  return EINVAL
}

/** One routing table. */
export class FibTable {
  readonly id: number
  /** Routes in it. */
  count = 0
  private readonly byLength: (IntTable<FibRoute[]> | null)[] = new Array<IntTable<FibRoute[]> | null>(33).fill(null)
  /** Lengths in use, longest first. */
  private lengths: number[] = []

  constructor(id: number) {
    this.id = id
  }

  /** Routes of exactly this prefix, in lookup order. */
  chain(dst: number, prefixLength: number): FibRoute[] | undefined {
    return this.byLength[prefixLength]?.get(dst & prefixMask(prefixLength))
  }

  /** fib_insert_alias: puts `route` at position `at` of its prefix's list. */
  insert(route: FibRoute, at: number): void {
    const length = route.prefixLength
    let t = this.byLength[length]
    if (t === null || t === undefined) {
      t = new IntTable<FibRoute[]>()
      this.byLength[length] = t
      this.relist()
    }
    const chain = t.get(route.dst)
    if (chain === undefined) t.set(route.dst, [route])
    else chain.splice(at, 0, route)
    this.count++
  }

  /** fib_remove_alias */
  remove(route: FibRoute): void {
    const t = this.byLength[route.prefixLength]
    const chain = t?.get(route.dst)
    const i = chain?.indexOf(route) ?? -1
    if (t === null || t === undefined || chain === undefined || i < 0) return
    chain.splice(i, 1)
    this.count--
    if (chain.length > 0) return
    t.delete(route.dst)
    if (t.size > 0) return
    this.byLength[route.prefixLength] = null
    this.relist()
  }

  /** Every route, by address, longer prefix last, then in lookup order: as the trie is dumped. */
  all(): FibRoute[] {
    const out: FibRoute[] = []
    for (const t of this.byLength) {
      t?.forEach((chain) => {
        out.push(...chain)
      })
    }
    return out.sort((x, y) => (x.dst >>> 0) - (y.dst >>> 0) || x.prefixLength - y.prefixLength)
  }

  /**
   * fib_table_lookup: 0 with `res` filled, or the errno of the route type, EAGAIN when nothing matches.
   * `local`, when given, is searched together with this table.
   */
  lookup(fl: Flowi4, res: FibResult, flags: number, local: FibTable | null): number {
    if (local === null) {
      for (let i = 0; i < this.lengths.length; i++) {
        const length = this.lengths[i]!
        const chain = this.byLength[length]!.get(fl.daddr & prefixMask(length))
        if (chain === undefined) continue
        const err = chooseInChain(chain, fl, res, flags)
        if (err <= 0) return err
      }
      return EAGAIN
    }
    let i = 0
    let j = 0
    const mine = this.lengths
    const theirs = local.lengths
    while (i < mine.length || j < theirs.length) {
      const a = i < mine.length ? mine[i]! : -1
      const b = j < theirs.length ? theirs[j]! : -1
      const takeLocal = b >= a
      const length = takeLocal ? b : a
      const table = takeLocal ? local : this
      if (takeLocal) j++
      else i++
      const chain = table.byLength[length]!.get(fl.daddr & prefixMask(length))
      if (chain === undefined) continue
      const err = chooseInChain(chain, fl, res, flags)
      if (err <= 0) return err
    }
    return EAGAIN
  }

  private relist(): void {
    this.lengths = []
    for (let length = 32; length >= 0; length--) if (this.byLength[length] !== null) this.lengths.push(length)
  }
}

/** 1 = none fits: go on with a shorter prefix. */
function chooseInChain(chain: readonly FibRoute[], fl: Flowi4, res: FibResult, flags: number): number {
  for (let i = 0; i < chain.length; i++) {
    const route = chain[i]!
    // fib_dscp_masked_match: the upper three bits (precedence) do not count
    if (route.tos !== 0 && route.tos !== (fl.tos & 0x1c)) continue
    if ((route.flags & RTNH_F_DEAD) !== 0) continue
    if (route.scope < fl.scope) continue
    const err = typeError(route.type)
    if (err !== 0) {
      res.route = route
      return err
    }
    const nhs = route.nexthops
    for (let n = 0; n < nhs.length; n++) {
      const nh = nhs[n]!
      if ((nh.flags & RTNH_F_DEAD) !== 0) continue
      if ((nh.flags & RTNH_F_LINKDOWN) !== 0 && (flags & FIB_LOOKUP_IGNORE_LINKSTATE) === 0 && ignoresLinkdown(nh)) {
        continue
      }
      if (fl.oif >= 0 && fl.oif !== nh.dev!.id) continue
      res.route = route
      res.nh = nh
      res.type = route.type
      res.scope = route.scope
      res.prefixLength = route.prefixLength
      res.table = route.table
      return 0
    }
  }
  return 1
}

/** IN_DEV_IGNORE_ROUTES_WITH_LINKDOWN (ORCONF) of the nexthop's device. */
export function ignoresLinkdown(nh: FibNh): boolean {
  const dev = nh.dev!
  return dev.conf.ignore_routes_with_linkdown !== 0 || dev.ns.sysctl.all.ignore_routes_with_linkdown !== 0
}
