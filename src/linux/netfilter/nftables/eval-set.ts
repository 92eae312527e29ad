/**
 * Sets that packets change, and the state that elements carry.
 *
 * Linux: net/netfilter/nft_dynset.c, nft_rhash_update (nft_set_hash.c), nft_set_elem_update_expr (nf_tables.h).
 */
import type { World } from '../../world.ts'
import type { Stmt } from './ast.ts'
import type { ChainProgram } from './compile.ts'
import { regs } from './registers.ts'
import { elementStates } from './set-build.ts'
import { CounterState, LimitState, type NftSet, QuotaState } from './state.ts'

const OP_UPDATE = 1
const OP_DELETE = 2

interface ElemState {
  states?: unknown[]
  stmts?: readonly Stmt[]
}

/** nft_set_elem_update_expr: false breaks the rule. */
export function updateElement(w: World, set: NftSet, row: number, lenBytes: number): boolean {
  const extra = set.store.extra[row] as ElemState | null
  const states = extra?.states
  if (states === undefined) return true
  for (let i = 0; i < states.length; i++) {
    const s = states[i]
    if (s instanceof CounterState) {
      s.packets++
      s.bytes += lenBytes
    } else if (s instanceof LimitState) {
      if (!s.pass(w.nowNs, lenBytes)) return false
    } else if (s instanceof QuotaState) {
      const spec = extra!.stmts![i]!
      s.consumed += lenBytes
      if (spec.k === 'quota' && s.consumed >= spec.bytes !== spec.over) return false
    }
  }
  return true
}

/** nft_dynset_eval: false breaks the rule. */
export function dynset(w: World, p: ChainProgram, code: Int32Array, pc: number, lenBytes: number): boolean {
  const op = code[pc + 1]
  const set = p.sets[code[pc + 2]!]!
  const store = set.store
  const key = code[pc + 3]!
  let row = store.lookup(regs, key, w.nowNs)
  if (op === OP_DELETE) {
    if (row >= 0) store.remove(row)
    return true
  }
  const timeoutMs = code[pc + 4] !== 0 ? code[pc + 4]! : set.timeoutMs
  if (row >= 0) {
    if (op === OP_UPDATE && timeoutMs !== 0) store.expires[row] = w.nowNs + timeoutMs * 1e6
    return updateElement(w, set, row, lenBytes)
  }
  row = store.lookup(regs, key, -Infinity)
  if (row >= 0) store.remove(row)
  if (set.size !== 0 && store.count >= set.size) {
    store.purge(w.nowNs)
    if (store.count >= set.size) return false
  }
  row = store.add(regs, regs, key)
  if (timeoutMs !== 0) store.expires[row] = w.nowNs + timeoutMs * 1e6
  if (code[pc + 4] !== 0 && code[pc + 4] !== set.timeoutMs) store.timeout[row] = code[pc + 4]!
  const data = code[pc + 5]!
  if (data >= 0) {
    const half = store.dataWords / 2
    for (let i = 0; i < half; i++) {
      store.data[row * store.dataWords + i] = regs[data + i]!
      store.data[row * store.dataWords + half + i] = regs[data + i]!
    }
  }
  const stmts = p.templates[code[pc + 6]!]!
  if (stmts.length > 0) {
    store.extra[row] = { states: elementStates(stmts, w.nowNs), stmts } as { states?: unknown[] }
    return updateElement(w, set, row, lenBytes)
  }
  return true
}
