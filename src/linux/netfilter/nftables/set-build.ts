/**
 * Sets from their specification, and elements into them.
 *
 * nft: src/evaluate.c (set_evaluate, expr_evaluate_set), src/intervals.c (set_automerge, set_overlap). Kernel:
 * nft_add_set_elem, nft_setelem_parse_data (net/netfilter/nf_tables_api.c). An anonymous set of ranges joins ranges that
 * overlap or touch; a named one only with auto-merge.
 */

import type { Stmt } from './ast.ts'
import { type Elem, type Expr, type Loc, NftError, type SetSpec } from './ast.ts'
import * as D from './datatypes.ts'
import { type BoundSet, type EvalContext, evalKey, evalLeft, evalValue, typesOf } from './evaluate.ts'
import { SetStore, STORE_CONCAT, STORE_HASH, STORE_INTERVAL } from './set-store.ts'
import {
  CounterState,
  type FieldType,
  LimitState,
  NftSet,
  type NftTables,
  QuotaState,
  SET_CONSTANT,
  SET_DYNAMIC,
  SET_INTERVAL,
  SET_TIMEOUT,
} from './state.ts'
import { putWords, wordsOf } from './values.ts'

/** Errors of the kernel, as strerror(3) says them. */
export const KERNEL = {
  EEXIST: 'Could not process rule: File exists',
  ENOENT: 'Could not process rule: No such file or directory',
  EBUSY: 'Could not process rule: Device or resource busy',
  EINVAL: 'Could not process rule: Invalid argument',
  EOPNOTSUPP: 'Could not process rule: Operation not supported',
  ELOOP: 'Could not process rule: Too many levels of symbolic links',
  EMLINK: 'Could not process rule: Too many links',
  ENFILE: 'Could not process rule: Too many open files in system',
  EPERM: 'Could not process rule: Operation not permitted',
} as const

/** Codes of verdicts in a verdict map's data words and in compiled programs. */
export const VERDICT_CODES: Readonly<Record<string, number>> = {
  drop: 0,
  accept: 1,
  continue: -1,
  jump: -3,
  goto: -4,
  return: -5,
}

function storeOf(
  key: readonly FieldType[],
  data: readonly FieldType[],
  verdict: boolean,
  obj: boolean,
  interval: boolean,
): SetStore {
  const words = key.map((f) => wordsOf(f.t, f.len))
  const dataWords = verdict ? 2 : obj ? 1 : data.reduce((n, f) => n + wordsOf(f.t, f.len), 0)
  const mode = !interval ? STORE_HASH : key.length === 1 ? STORE_INTERVAL : STORE_CONCAT
  // data of maps may be a prefix or a range: low and high end
  return new SetStore(mode, words, verdict || obj ? dataWords : dataWords * 2)
}

function isRange(e: Expr): boolean {
  if (e.k === 'concat') return e.items.some(isRange)
  if (e.k === 'range' || e.k === 'prefix') return true
  return e.k === 'val' && e.s?.endsWith('*') === true
}

/** The anonymous set of a rule. */
export function makeAnonymousSet(
  x: EvalContext,
  key: readonly FieldType[],
  data: readonly FieldType[],
  isMap: boolean,
  elems: readonly Elem[],
  loc: Loc,
): BoundSet {
  const keys = elems.map((e) => evalKey(x, e.key, key))
  const isVerdictMap = isMap && elems.some((e) => e.data?.k === 'verdict')
  let dataTypes = data
  if (isMap && !isVerdictMap && data.length === 0) throw new NftError(loc, 'Unexpected map')
  if (isVerdictMap) dataTypes = []
  const interval = keys.some(isRange)
  const table = x.table
  const handle = ++table.nextHandle
  const set = new NftSet({
    table,
    name: `__${isMap ? 'map' : 'set'}${table.nextAnonymous++}`,
    handle,
    anonymous: true,
    isMap,
    key,
    data: dataTypes,
    isVerdictMap,
    objType: '',
    flags: SET_CONSTANT | (interval ? SET_INTERVAL : 0),
    timeoutMs: 0,
    gcIntervalMs: 0,
    size: 0,
    policy: '',
    autoMerge: interval && !isMap && key.length === 1,
    comment: null,
    stmts: [],
    typeofKey: null,
    typeofData: null,
    store: storeOf(key, dataTypes, isVerdictMap, false, interval),
  })
  addElements(x, set, elems)
  x.sets.push(set)
  return { k: 'setref', name: set.name, set, loc } as BoundSet
}

function fieldTypes(x: EvalContext, spec: SetSpec): { key: FieldType[]; data: FieldType[]; verdict: boolean } {
  let key: FieldType[] = []
  if (spec.key !== undefined) key = spec.key.map((w) => named(w.name, w.loc))
  else if (spec.typeofKey !== undefined) key = typesOf(evalLeft(x, spec.typeofKey))
  let verdict = false
  let data: FieldType[] = []
  if (spec.data !== undefined) {
    verdict = spec.data[0]?.name === 'verdict'
    if (!verdict) data = spec.data.map((w) => named(w.name, w.loc))
  } else if (spec.typeofData !== undefined) {
    verdict = spec.typeofData === 'verdict'
    if (typeof spec.typeofData !== 'string') data = typesOf(evalLeft(x, spec.typeofData))
  }
  return { key, data, verdict }
}

function named(name: string, loc: Loc): FieldType {
  const t = D.typeByName(name)
  if (t === undefined) throw new NftError(loc, `unknown datatype ${name}`)
  return { t, len: t.size }
}

/** A named set. */
export function makeSet(x: EvalContext, name: string, spec: SetSpec, loc: Loc): NftSet {
  const { key, data, verdict } = fieldTypes(x, spec)
  if (key.length === 0) throw new NftError(loc, 'set definition does not specify key')
  if (spec.isMap && data.length === 0 && !verdict && spec.objType === undefined) {
    throw new NftError(loc, 'map definition does not specify mapping data type')
  }
  for (const f of key) {
    if (f.len === 0)
      throw new NftError(
        loc,
        `unqualified type ${f.t.name} specified in set definition. Try "typeof expression" instead of "type datatype".`,
      )
  }
  let flags = 0
  for (const f of spec.flags) {
    flags |=
      f === 'constant'
        ? SET_CONSTANT
        : f === 'interval'
          ? SET_INTERVAL
          : f === 'timeout'
            ? SET_TIMEOUT
            : f === 'dynamic'
              ? SET_DYNAMIC
              : 0
  }
  if (spec.timeout !== undefined || spec.gcInterval !== undefined) flags |= SET_TIMEOUT
  const size = spec.size ?? 0
  const handle = ++x.table.nextHandle
  return new NftSet({
    table: x.table,
    name,
    handle,
    anonymous: false,
    isMap: spec.isMap,
    key,
    data,
    isVerdictMap: verdict,
    objType: spec.objType ?? '',
    flags,
    timeoutMs: spec.timeout ?? 0,
    gcIntervalMs: spec.gcInterval ?? 0,
    size,
    policy: spec.policy ?? '',
    autoMerge: spec.autoMerge,
    comment: spec.comment ?? null,
    stmts: spec.stmts,
    typeofKey: spec.typeofKey ?? null,
    typeofData: spec.typeofData ?? null,
    store: storeOf(key, data, verdict, spec.objType !== undefined, (flags & SET_INTERVAL) !== 0),
  })
}

/** State of the statements that an element carries. */
export function elementStates(stmts: readonly Stmt[], nowNs: number): unknown[] {
  return stmts.map((s) => {
    switch (s.k) {
      case 'counter':
        return new CounterState(s.packets, s.bytes)
      case 'limit':
        return new LimitState(s, nowNs)
      case 'quota':
        return new QuotaState(s.used)
      default:
        return null
    }
  })
}

const MAX_WORDS = 64

/** Ends of a key. */
export function keyRange(e: Expr, key: readonly FieldType[], lo: Int32Array, hi: Int32Array): void {
  const items = e.k === 'concat' ? e.items : [e]
  let at = 0
  items.forEach((i, n) => {
    const f = key[n]!
    ends(i, f, lo, hi, at)
    at += wordsOf(f.t, f.len)
  })
}

function ends(e: Expr, f: FieldType, lo: Int32Array, hi: Int32Array, at: number): void {
  if (e.k === 'range' && e.lo.k === 'val' && e.hi.k === 'val') {
    putWords(e.lo, lo, at)
    putWords(e.hi, hi, at)
  } else if (e.k === 'prefix' && e.e.k === 'val') {
    putWords(e.e, lo, at)
    putWords({ ...e.e, v: e.e.v | ((1n << BigInt(f.len - e.len)) - 1n) }, hi, at)
  } else if (e.k === 'val' && e.s?.endsWith('*') === true) {
    putWords({ ...e, s: e.s.slice(0, -1) }, lo, at)
    putWords({ ...e, s: e.s.slice(0, -1).padEnd(16, '\u00ff') }, hi, at)
  } else if (e.k === 'val') {
    putWords(e, lo, at)
    putWords(e, hi, at)
  }
}

/** Adds elements in order; an element that is there already is left as it is. */
export function addElements(x: EvalContext, set: NftSet, elems: readonly Elem[], create = false): void {
  const fresh = new Set<number>()
  for (const e of elems) addElement(x, set, e, create, fresh)
}

function addElement(x: EvalContext, set: NftSet, e: Elem, create: boolean, fresh: Set<number>): void {
  const tables = x.tables
  const store = set.store
  const nowNs = tables.ns.world.nowNs
  if ((set.flags & SET_TIMEOUT) !== 0 && store.mode !== STORE_HASH) store.purge(nowNs)
  const key = evalKey(x, e.key, set.key)
  if (isRange(key) && (set.flags & SET_INTERVAL) === 0) {
    throw new NftError(
      e.key.loc,
      "You must add 'flags interval' to your set declaration if you want to add prefix elements",
    )
  }
  const isDefault = key.k === 'sym'
  const lo = new Int32Array(MAX_WORDS)
  const hi = new Int32Array(MAX_WORDS)
  if (!isDefault) keyRange(key, set.key, lo, hi)
  const data = new Int32Array(Math.max(2, store.dataWords))
  if (set.isMap) putData(x, set, e, data)
  else if (e.data !== undefined) throw new NftError(e.key.loc, KERNEL.EINVAL)
  if ((e.timeout !== undefined || e.expires !== undefined) && (set.flags & SET_TIMEOUT) === 0)
    throw new NftError(e.key.loc, KERNEL.EINVAL)
  const old = isDefault ? store.defaultRow : store.find(lo, hi, nowNs)
  if (old >= 0) {
    if (create) throw new NftError(e.key.loc, KERNEL.EEXIST)
    if (set.isMap && !sameData(store, old, data)) throw new NftError(e.key.loc, KERNEL.EEXIST)
    return
  }
  if (!isDefault && store.mode !== STORE_HASH && !mergeOrRefuse(x, set, lo, hi, e, fresh)) return
  if (set.size !== 0 && !set.anonymous && store.count >= set.size && (set.flags & SET_INTERVAL) === 0) {
    throw new NftError(e.key.loc, KERNEL.ENFILE)
  }
  const row = insertRow(tables, set, isDefault ? null : lo, hi, data)
  fresh.add(row)
  const timeout = e.timeout ?? set.timeoutMs
  if (e.timeout !== undefined) store.timeout[row] = e.timeout
  if (timeout > 0) store.expires[row] = nowNs + (e.expires ?? timeout) * 1e6
  const stmts = e.stmts.length > 0 ? e.stmts : set.stmts
  if (e.comment !== undefined || stmts.length > 0) {
    store.extra[row] = {
      ...(e.comment === undefined ? {} : { comment: e.comment }),
      ...(stmts.length === 0 ? {} : { states: elementStates(stmts, nowNs), stmts }),
    } as { comment?: string; states?: unknown[] }
  }
}

/** Adds a row, and notes how to take it back. */
function insertRow(tables: NftTables, set: NftSet, lo: Int32Array | null, hi: Int32Array, data: Int32Array): number {
  const store = set.store
  const row = lo === null ? store.addDefault() : store.add(lo, hi, 0)
  for (let i = 0; i < store.dataWords; i++) store.data[row * store.dataWords + i] = data[i]!
  if (set.isVerdictMap) useChain(tables, data[0]!, data[1]!, 1)
  tables.onAbort(() => {
    const r = lo === null ? store.defaultRow : store.find(lo, hi, -Infinity)
    if (r >= 0) store.remove(r)
    if (set.isVerdictMap) useChain(tables, data[0]!, data[1]!, -1)
  })
  return row
}

function useChain(tables: NftTables, code: number, id: number, by: number): void {
  if (code === VERDICT_CODES.jump || code === VERDICT_CODES.goto) {
    const chain = tables.chains[id]
    if (chain != null) chain.uses += by
  }
}

function sameData(store: SetStore, row: number, data: Int32Array): boolean {
  for (let i = 0; i < store.dataWords; i++) if (store.data[row * store.dataWords + i] !== data[i]) return false
  return true
}

/**
 * Ranges that meet: joined in sets that merge, refused elsewhere.
 * @returns false when the element is covered already
 */
function mergeOrRefuse(
  x: EvalContext,
  set: NftSet,
  lo: Int32Array,
  hi: Int32Array,
  e: Elem,
  fresh: ReadonlySet<number>,
): boolean {
  const store = set.store
  const nowNs = x.ns.world.nowNs
  const tables = x.tables
  if (!set.autoMerge || set.isMap || set.key.length > 1) {
    if (set.key.length > 1) {
      // nft_pipapo_insert: refused when an older element holds the first or the last key
      if (store.holds(lo, nowNs) || store.holds(hi, nowNs)) throw new NftError(e.key.loc, KERNEL.EEXIST)
      return true
    }
    const met = store.overlap(lo, hi, nowNs)
    if (met < 0) return true
    throw new NftError(
      e.key.loc,
      fresh.has(met) ? 'conflicting intervals specified' : 'interval overlaps with an existing one',
    )
  }
  const below = lo.slice()
  const above = hi.slice()
  step(below, store.words, -1)
  step(above, store.words, 1)
  for (;;) {
    const met = store.overlap(below, above, nowNs)
    if (met < 0) return true
    const o = met * store.words
    const oldLo = store.lo.slice(o, o + store.words)
    const oldHi = store.hi.slice(o, o + store.words)
    store.remove(met)
    tables.onAbort(() => void store.add(oldLo, oldHi, 0))
    if (less(oldLo, lo, store.words)) lo.set(oldLo)
    if (less(hi, oldHi, store.words)) hi.set(oldHi)
    below.set(lo)
    above.set(hi)
    step(below, store.words, -1)
    step(above, store.words, 1)
  }
}

/** key + by, held at the ends of the range. */
function step(key: Int32Array, words: number, by: number): void {
  const before = key.slice(0, words)
  for (let i = words - 1; i >= 0; i--) {
    const was = key[i]! >>> 0
    key[i] = (was + by) | 0
    if (by > 0 ? was !== 0xffffffff : was !== 0) return
  }
  key.set(before)
}

function less(a: Int32Array, b: Int32Array, words: number): boolean {
  for (let i = 0; i < words; i++) {
    const d = (a[i]! >>> 0) - (b[i]! >>> 0)
    if (d !== 0) return d < 0
  }
  return false
}

function putData(x: EvalContext, set: NftSet, e: Elem, out: Int32Array): void {
  if (e.data === undefined) throw new NftError(e.key.loc, KERNEL.EINVAL)
  if (set.isVerdictMap) {
    if (e.data.k !== 'verdict') throw new NftError(e.data.loc, 'syntax error, unexpected string')
    out[0] = VERDICT_CODES[e.data.kind]!
    if (e.data.chain !== '') {
      const chain = x.table.chains.get(e.data.chain)
      if (chain === undefined) throw new NftError(e.key.loc, KERNEL.ENOENT)
      out[1] = chain.id
    }
    return
  }
  if (set.objType !== '') {
    const name = e.data.k === 'sym' ? e.data.text : ''
    const list = [...x.table.objects.values()]
    const i = list.findIndex((o) => o.type === set.objType && o.name === name)
    if (i < 0) throw new NftError(e.key.loc, KERNEL.ENOENT)
    out[0] = list[i]!.handle
    return
  }
  const half = set.store.dataWords / 2
  const v = evalData(x, e.data, set.data)
  const lo = new Int32Array(MAX_WORDS)
  const hi = new Int32Array(MAX_WORDS)
  keyRange(v, set.data, lo, hi)
  for (let i = 0; i < half; i++) {
    out[i] = lo[i]!
    out[half + i] = hi[i]!
  }
}

function evalData(x: EvalContext, e: Expr, types: readonly FieldType[]): Expr {
  if (types.length === 1) return evalValue(x, e, types[0]!)
  return evalKey(x, e, types)
}

/** Takes elements out. */
export function deleteElements(x: EvalContext, set: NftSet, elems: readonly Elem[], missingOk: boolean): void {
  const lo = new Int32Array(MAX_WORDS)
  const hi = new Int32Array(MAX_WORDS)
  for (const e of elems) {
    lo.fill(0)
    hi.fill(0)
    const key = evalKey(x, e.key, set.key)
    if (key.k !== 'sym') keyRange(key, set.key, lo, hi)
    const row = key.k === 'sym' ? set.store.defaultRow : set.store.find(lo, hi, x.ns.world.nowNs)
    if (row < 0) {
      if (missingOk) continue
      throw new NftError(e.key.loc, KERNEL.ENOENT)
    }
    removeRow(x.tables, set, row)
  }
}

/** Takes a row out, and notes how to put it back. */
export function removeRow(tables: NftTables, set: NftSet, row: number): void {
  const s = set.store
  const lo = s.lo.slice(row * s.words, (row + 1) * s.words)
  const hi = s.mode === STORE_HASH ? lo : s.hi.slice(row * s.words, (row + 1) * s.words)
  const data = s.data.slice(row * s.dataWords, (row + 1) * s.dataWords)
  const expires = s.expires[row]!
  const timeout = s.timeout[row]!
  const extra = s.extra[row] ?? null
  const isDefault = row === s.defaultRow
  s.remove(row)
  if (set.isVerdictMap) useChain(tables, data[0]!, data[1]!, -1)
  tables.onAbort(() => {
    const r = isDefault ? s.addDefault() : s.add(lo, hi, 0)
    s.data.set(data, r * s.dataWords)
    s.expires[r] = expires
    s.timeout[r] = timeout
    s.extra[r] = extra
    if (set.isVerdictMap) useChain(tables, data[0]!, data[1]!, 1)
  })
}

/** Takes everything out. */
export function flushSet(tables: NftTables, set: NftSet): void {
  for (const row of set.store.rows(-Infinity)) removeRow(tables, set, row)
}
