/**
 * A set's elements as nft lists them.
 *
 * nft: src/netlink.c (netlink_list_setelems), src/intervals.c, src/segtree.c (interval_map_decompose), src/mergesort.c: keys
 * are sorted by their number; concatenations by their bytes read as one little-endian number; ranges that are a prefix of an
 * address are printed as one. Concatenations with ranges keep the kernel's order, the order of insertion.
 */
import type { Netns } from '../../netns.ts'
import { type Expr, NO_LOC, type Stmt } from './ast.ts'
import { STORE_CONCAT, STORE_HASH } from './set-store.ts'
import type { FieldType, NftSet } from './state.ts'
import { fromWords, wordsOf } from './values.ts'

/** One element. */
export interface ElemView {
  readonly key: Expr
  /** Data expression, or the name of an object. */
  readonly data: Expr | string | null
  readonly comment: string | null
  /** The element's own timeout, null when it has the set's. */
  readonly timeoutMs: number | null
  readonly expiresMs: number | null
  readonly stmts: readonly Stmt[]
  readonly states: readonly unknown[]
}

const VERDICTS: Readonly<Record<number, string>> = {
  0: 'drop',
  1: 'accept',
  [-1]: 'continue',
  [-3]: 'jump',
  [-4]: 'goto',
  [-5]: 'return',
}

/** All living elements, in nft's order. */
export function elementsOf(ns: Netns, set: NftSet): ElemView[] {
  const s = set.store
  const now = ns.world.nowNs
  const rows = s.rows(now)
  const views = rows.map((row) => ({ row, key: keyOf(set, row) }))
  if (s.mode !== STORE_CONCAT) {
    const last = views.at(-1)?.row === s.defaultRow ? views.pop() : undefined
    const order = new Map(views.map((v) => [v, sortKey(v.key, s.mode === STORE_HASH)]))
    views.sort((a, b) => {
      const d = order.get(a)! - order.get(b)!
      return d < 0n ? -1 : d > 0n ? 1 : 0
    })
    if (last !== undefined) views.push(last)
  }
  return views.map(({ row, key }) => {
    const extra = (s.extra[row] ?? null) as { comment?: string; states?: unknown[]; stmts?: readonly Stmt[] } | null
    const timeout = s.timeout[row]!
    const expires = s.expires[row]!
    return {
      key,
      data: dataOf(ns, set, row),
      comment: extra?.comment ?? null,
      timeoutMs: timeout >= 0 ? timeout : null,
      expiresMs: expires === Infinity ? null : Math.max(0, Math.floor((expires - now) / 1e6)),
      stmts: extra?.stmts ?? [],
      states: extra?.states ?? [],
    }
  })
}

/** What expr_msort_cmp compares. */
function sortKey(e: Expr, exact: boolean): bigint {
  switch (e.k) {
    case 'val':
      if (e.t.format !== 'string') return e.v
      // names of ranges are compared from their first letter on
      return littleEndian(exact ? bytesOf(e) : bytesOf({ ...e, s: (e.s ?? '').replace('*', '') }).reverse())
    case 'prefix':
      return sortKey(e.e, exact)
    case 'range':
      return sortKey(e.lo, exact)
    case 'concat':
      return littleEndian(e.items.flatMap((i) => (i.k === 'val' ? bytesOf(i) : [])))
    default:
      return 0n
  }
}

function littleEndian(bytes: readonly number[]): bigint {
  let v = 0n
  for (let i = bytes.length - 1; i >= 0; i--) v = (v << 8n) | BigInt(bytes[i]!)
  return v
}

/** The bytes of a value as the register has them. */
function bytesOf(e: Expr & { k: 'val' }): number[] {
  if (e.t.format === 'string') return [...(e.s ?? '').padEnd(16, '\0')].map((c) => c.charCodeAt(0) & 0xff)
  const n = Math.max(1, Math.ceil(e.len / 8))
  const out: number[] = []
  for (let i = n - 1; i >= 0; i--) out.push(Number((e.v >> BigInt(8 * i)) & 0xffn))
  return e.t.hostOrder ? out.reverse() : out
}

function keyOf(set: NftSet, row: number): Expr {
  const s = set.store
  if (row === s.defaultRow) return { k: 'sym', text: '*', quoted: false, num: false, loc: NO_LOC }
  const items: Expr[] = []
  let at = row * s.words
  for (const f of set.key) {
    items.push(fieldOf(f, s.lo, s.mode === STORE_HASH ? s.lo : s.hi, at, at, set.key.length > 1))
    at += wordsOf(f.t, f.len)
  }
  return items.length === 1 ? items[0]! : { k: 'concat', items, loc: NO_LOC }
}

/** One field: a value, a prefix, or a range. */
function fieldOf(f: FieldType, lo: Int32Array, hi: Int32Array, a: number, b: number, inConcat: boolean): Expr {
  const l = fromWords(f.t, f.len, lo, a, NO_LOC)
  const h = fromWords(f.t, f.len, hi, b, NO_LOC)
  if (f.t.format === 'string') {
    return l.s === h.s ? l : { ...l, s: `${l.s}*` }
  }
  if (l.v === h.v) return l
  const size = h.v - l.v + 1n
  const prefixed = f.t.format === 'ipv4' || f.t.format === 'ipv6' || f.t.format === 'mark' || inConcat
  if (
    prefixed &&
    (size & (size - 1n)) === 0n &&
    l.v % size === 0n &&
    (inConcat ? f.t.format === 'ipv4' || f.t.format === 'ipv6' : true)
  ) {
    let bits = 0
    for (let n = size; n > 1n; n >>= 1n) bits++
    return { k: 'prefix', e: l, len: f.len - bits, loc: NO_LOC }
  }
  return { k: 'range', lo: l, hi: h, loc: NO_LOC }
}

function dataOf(ns: Netns, set: NftSet, row: number): Expr | string | null {
  if (!set.isMap) return null
  const s = set.store
  const at = row * s.dataWords
  if (set.isVerdictMap) {
    const chain = ns.nft!.chains[s.data[at + 1]!]
    const kind = VERDICTS[s.data[at]!]!
    return { k: 'verdict', kind, chain: kind === 'jump' || kind === 'goto' ? (chain?.name ?? '') : '', loc: NO_LOC }
  }
  if (set.objType !== '') {
    for (const o of set.table.objects.values()) if (o.handle === s.data[at]) return o.name
    return ''
  }
  const half = s.dataWords / 2
  const items: Expr[] = []
  let o = 0
  for (const f of set.data) {
    items.push(fieldOf(f, s.data, s.data, at + o, at + half + o, false))
    o += wordsOf(f.t, f.len)
  }
  return items.length === 1 ? items[0]! : { k: 'concat', items, loc: NO_LOC }
}
