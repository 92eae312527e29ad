/**
 * Bit operations with constants: what the kernel keeps of them, and how nft reads them back.
 *
 * nft: netlink_gen_bitwise (src/netlink_linearize.c), netlink_parse_bitwise_bool (src/netlink_delinearize.c): a chain of
 * and, or, xor becomes one mask and one xor value, and is printed from those.
 */
import type { BinopExpr, Expr } from './ast.ts'
import type { FieldType } from './state.ts'
import { value } from './values.ts'

/** Mask and xor of a chain of operations over one expression that reads the packet. */
export interface MaskXor {
  readonly e: Expr
  readonly mask: bigint
  readonly xor: bigint
}

/** The chain as mask and xor; null when it shifts or is no chain with constants. */
export function maskXor(e: Expr, len: number): MaskXor | null {
  const full = (1n << BigInt(len)) - 1n
  if (e.k !== 'binop') return { e, mask: full, xor: 0n }
  if (e.r.k !== 'val' || e.op === '<<' || e.op === '>>') return null
  const inner =
    e.l.k === 'binop' && e.l.op !== '<<' && e.l.op !== '>>' ? maskXor(e.l, len) : { e: e.l, mask: full, xor: 0n }
  if (inner === null) return null
  const v = e.r.v
  switch (e.op) {
    case '&':
      return { e: inner.e, mask: inner.mask & v, xor: inner.xor & v }
    case '|':
      return { e: inner.e, mask: inner.mask & ~v & full, xor: (inner.xor & ~v & full) | v }
    default:
      return { e: inner.e, mask: inner.mask, xor: inner.xor ^ v }
  }
}

/** The expression that nft prints for what the kernel keeps. */
export function foldBinop(e: BinopExpr, f: FieldType): Expr {
  const m = maskXor(e, f.len)
  if (m === null) return e
  const full = (1n << BigInt(f.len)) - 1n
  if (m.mask === full && m.xor === 0n) return e
  const o = ~m.mask & m.xor & full
  const x = m.xor & m.mask
  const mask = m.mask | o
  let out: Expr = m.e
  const wrap = (op: '&' | '|' | '^', v: bigint): void => {
    out = { k: 'binop', op, l: out, r: value(f.t, f.len, v, e.r.loc), loc: e.loc }
  }
  if (mask !== full) wrap('&', mask)
  if (x !== 0n) wrap('^', x)
  if (o !== 0n) wrap('|', o)
  return out
}
