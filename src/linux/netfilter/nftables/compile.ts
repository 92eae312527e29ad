/**
 * Compiles a chain's rules to one flat program.
 *
 * Linux: nf_tables_commit_chain_prepare lays a chain's rules out in one blob; src/netlink_linearize.c of nft chooses the
 * expressions. Values of up to 32 bits are one register; a key of several fields is consecutive registers, as sets hold
 * it. What podwalk does not model compiles to UNMODELLED with its name: a packet that meets it ends there.
 */
import type { Expr, MatchStmt, NatStmt, Stmt } from './ast.ts'
import { type BoundSet, typeOf, typesOf } from './evaluate.ts'
import * as O from './ops.ts'
import { EXTHDRS } from './options.ts'
import { rejectKind, rejectKind6 } from './reject-kinds.ts'
import { VERDICT_CODES } from './set-build.ts'
import type { NftChain, NftObject, NftRule, NftSet } from './state.ts'
import { putName, putWords, wordsOf } from './values.ts'

/** A compiled chain. */
export interface ChainProgram {
  readonly code: Int32Array
  readonly rules: readonly NftRule[]
  readonly sets: readonly NftSet[]
  readonly states: readonly unknown[]
  readonly names: readonly string[]
  /** Statements of dynamic sets' elements. */
  readonly templates: readonly (readonly Stmt[])[]
}

/** `numgen inc` */
export interface NumgenState {
  value: number
}

/** Counters of `numgen inc` outlive a recompilation of their chain, as in the kernel. */
const numgens = new WeakMap<Expr, NumgenState>()

function numgenOf(e: Expr & { k: 'numgen' }): NumgenState {
  let s = numgens.get(e)
  if (s === undefined) {
    s = { value: e.mod - 1 }
    numgens.set(e, s)
  }
  return s
}

/** Compiles the chain, or gives the program that it has. */
export function programOf(chain: NftChain): ChainProgram {
  chain.program ??= new Compiler(chain).run()
  return chain.program
}

const scratch = new Int32Array(64)

const NAT_KINDS = { snat: 0, dnat: 1, masquerade: 2, redirect: 3 } as const
const NAT_FLAG_BITS: Readonly<Record<string, number>> = { random: 4, persistent: 8, 'fully-random': 16 }
const CMP: Readonly<Record<string, number>> = { '': 0, '==': 0, '!=': 1, '<': 2, '<=': 3, '>': 4, '>=': 5 }

class Compiler {
  private readonly chain: NftChain
  private readonly code: number[] = []
  private readonly sets: NftSet[] = []
  private readonly states: unknown[] = []
  private readonly names: string[] = []
  private readonly templates: (readonly Stmt[])[] = []
  private reg = 0

  constructor(chain: NftChain) {
    this.chain = chain
  }

  run(): ChainProgram {
    this.chain.rules.forEach((rule, i) => {
      const at = this.code.length
      this.emit(O.OP_RULE, i, 0)
      rule.stmts.forEach((s, n) => {
        this.reg = 0
        this.stmt(s, rule.states[n])
      })
      this.code[at + 2] = this.code.length
    })
    this.emit(O.OP_END)
    return {
      code: Int32Array.from(this.code),
      rules: this.chain.rules,
      sets: this.sets,
      states: this.states,
      names: this.names,
      templates: this.templates,
    }
  }

  private emit(...words: number[]): void {
    for (const w of words) this.code.push(w)
  }

  private unmodelled(name: string): void {
    this.emit(O.OP_UNMODELLED, this.names.length)
    this.names.push(`nft ${name}`)
  }

  private set(s: NftSet): number {
    const i = this.sets.indexOf(s)
    if (i >= 0) return i
    this.sets.push(s)
    return this.sets.length - 1
  }

  private state(s: unknown): number {
    this.states.push(s)
    return this.states.length - 1
  }

  /** Registers for the fields of `e`. */
  private take(e: Expr): number {
    const at = this.reg
    for (const f of typesOf(e)) this.reg += wordsOf(f.t, f.len)
    return at
  }

  private stmt(s: Stmt, state: unknown): void {
    switch (s.k) {
      case 'match':
        this.match(s)
        return
      case 'counter':
        this.emit(O.OP_COUNTER, this.state(state))
        return
      case 'limit':
        this.emit(O.OP_LIMIT, this.state(state))
        return
      case 'quota':
        this.emit(O.OP_QUOTA, this.state(state), s.bytes, s.over ? 1 : 0)
        return
      case 'log':
        this.emit(O.OP_LOG)
        return
      case 'notrack':
        this.emit(O.OP_NOTRACK)
        return
      case 'verdict':
        this.verdict(s.e)
        return
      case 'nat':
        this.nat(s)
        return
      case 'reject':
        this.emit(O.OP_REJECT, rejectKind(s.type, s.code), rejectKind6(s.type, s.code))
        return
      case 'assign':
        this.assign(s.target, s.value)
        return
      case 'set':
        this.dynset(s)
        return
      case 'objref':
        this.objref(s.type, s.name)
        return
      case 'connlimit':
        this.unmodelled('ct count')
        return
      default:
        this.unmodelled(s.k)
        return
    }
  }

  private verdict(e: Expr): void {
    if (e.k === 'map') {
      const at = this.load(e.key)
      if (at >= 0) this.emit(O.OP_VMAP, this.set((e.data as BoundSet).set), at)
      return
    }
    if (e.k !== 'verdict') return
    const target = e.chain === '' ? undefined : this.chain.table.chains.get(e.chain)
    this.emit(O.OP_VERDICT, VERDICT_CODES[e.kind]!, target?.id ?? -1)
  }

  /** Loads an expression into new registers. @returns the first, -1 when the program ends there */
  private load(e: Expr): number {
    const at = this.take(e)
    return this.loadTo(e, at) ? at : -1
  }

  private loadTo(e: Expr, at: number): boolean {
    switch (e.k) {
      case 'concat': {
        let r = at
        for (const i of e.items) {
          if (!this.loadTo(i, r)) return false
          for (const f of typesOf(i)) r += wordsOf(f.t, f.len)
        }
        return true
      }
      case 'payload':
        this.payload(e.base, e.offset, e.len, at)
        return true
      case 'meta': {
        const key = O.META_NUMBERS[e.key]
        if (key === undefined) {
          this.unmodelled(`meta ${e.key}`)
          return false
        }
        this.emit(O.OP_META, at, key)
        return true
      }
      case 'ct': {
        const key = O.CT_NUMBERS[e.proto === undefined ? e.key : `${e.proto} ${e.key}`]
        if (key === undefined) {
          this.unmodelled(`ct ${e.key}`)
          return false
        }
        // counters without a direction are those of both
        this.emit(O.OP_CT, at, key, e.dir === 'reply' ? 1 : e.dir === undefined ? 2 : 0)
        return true
      }
      case 'fib': {
        let flags = e.present === true ? O.FIB_PRESENT : 0
        for (const f of e.flags) {
          flags |=
            f === 'saddr'
              ? O.FIB_SADDR
              : f === 'daddr'
                ? O.FIB_DADDR
                : f === 'mark'
                  ? O.FIB_MARK
                  : f === 'iif'
                    ? O.FIB_IIF
                    : O.FIB_OIF
        }
        const result =
          e.result === 'oif' ? O.FIB_RESULT_OIF : e.result === 'oifname' ? O.FIB_RESULT_OIFNAME : O.FIB_RESULT_TYPE
        this.emit(O.OP_FIB, at, result, flags)
        return true
      }
      case 'numgen':
        this.emit(O.OP_NUMGEN, at, this.state(numgenOf(e)), e.mod, e.offset, e.random ? 1 : 0)
        return true
      case 'hash':
        return this.hash(e.e, e.seed ?? 0, e.mod, e.offset, at)
      case 'binop':
        return this.binop(e, at)
      case 'map': {
        const key = this.load(e.key)
        if (key < 0) return false
        const set = (e.data as BoundSet).set
        const dst = this.reg
        this.reg += set.store.dataWords
        this.emit(O.OP_MAP, this.set(set), key, dst)
        const half = set.store.dataWords / 2
        for (let i = 0; i < half; i++) this.emit(O.OP_BITOP, at + i, 3, dst + i)
        return true
      }
      case 'val': {
        putWords(e, scratch, 0)
        const n = wordsOf(e.t, e.len)
        for (let i = 0; i < n; i++) this.emit(O.OP_IMM, at + i, scratch[i]!)
        return true
      }
      case 'exthdr':
        return this.exthdr(e.key, e.field, at)
      case 'ipopt':
      case 'tcpopt':
      case 'rt':
      case 'socket':
      case 'osf':
        this.unmodelled(e.k === 'tcpopt' ? 'tcp option' : e.k === 'ipopt' ? 'ip option' : `${e.k} ${e.key}`)
        return false
      default:
        this.unmodelled(e.k)
        return false
    }
  }

  /** nft_exthdr over IPv6: a field of an extension header, or whether there is one. */
  private exthdr(name: string, fieldName: string, at: number): boolean {
    const header = EXTHDRS[name]
    const field = fieldName === '' ? undefined : header?.fields[fieldName]
    if (header === undefined || (fieldName !== '' && field === undefined)) {
      this.unmodelled(`exthdr ${name}`)
      return false
    }
    if (field === undefined) {
      this.emit(O.OP_EXTHDR_PRESENT, at, header.number)
      return true
    }
    const bytes = ((field.offset & 7) + field.len + 7) >>> 3
    const shift = bytes * 8 - (field.offset & 7) - field.len
    const mask = field.len === 32 ? -1 : (1 << field.len) - 1
    this.emit(O.OP_EXTHDR, at, header.number, field.offset >>> 3, bytes, shift, mask)
    return true
  }

  /** A header field of any alignment. */
  private payload(base: number, offset: number, len: number, at: number): void {
    const first = offset >>> 3
    const bytes = ((offset & 7) + len + 7) >>> 3
    if (bytes > 4) {
      this.emit(O.OP_LOADN, at, base, first, bytes, Math.ceil(len / 32))
      return
    }
    const shift = bytes * 8 - (offset & 7) - len
    const mask = len === 32 ? -1 : (1 << len) - 1
    this.emit(O.OP_LOAD, at, base, first, bytes, shift, mask)
  }

  private hash(e: Expr | null, seed: number, mod: number, offset: number, at: number): boolean {
    if (e === null) {
      this.emit(O.OP_SYMHASH, at, mod, offset)
      return true
    }
    const src = this.load(e)
    if (src < 0) return false
    const fields = typesOf(e)
    this.emit(O.OP_JHASH, at, src, seed | 0, mod, offset, fields.length)
    for (const f of fields) this.emit(Math.ceil(f.len / 8) || 16, f.t.hostOrder && f.t.format !== 'string' ? 1 : 0)
    return true
  }

  private binop(e: Expr & { k: 'binop' }, at: number): boolean {
    if (!this.loadTo(e.l, at)) return false
    if (e.r.k === 'val') {
      const v = Number(e.r.v & 0xffffffffn) | 0
      switch (e.op) {
        case '&':
          this.wide(e, at, (i, w) => this.emit(O.OP_BITWISE, i, w, 0))
          return true
        case '|':
          this.wide(e, at, (i, w) => this.emit(O.OP_BITWISE, i, ~w, w))
          return true
        case '^':
          this.wide(e, at, (i, w) => this.emit(O.OP_BITWISE, i, -1, w))
          return true
        default:
          this.emit(O.OP_SHIFT, at, e.op === '<<' ? 1 : 0, v)
          return true
      }
    }
    const other = this.load(e.r)
    if (other < 0) return false
    this.emit(O.OP_BITOP, at, e.op === '&' ? 0 : e.op === '|' ? 1 : 2, other)
    return true
  }

  /** One operation per word of a constant as wide as the left side. */
  private wide(e: Expr & { k: 'binop' }, at: number, f: (reg: number, word: number) => void): void {
    const left = typeOf(e.l)
    const n = wordsOf(left.t, left.len)
    putWords({ ...(e.r as Expr & { k: 'val' }), len: left.len }, scratch, 0)
    for (let i = 0; i < n; i++) f(at + i, scratch[i]!)
  }

  private match(s: MatchStmt): void {
    const { l, r } = s
    const neg = s.op === '!=' ? 1 : 0
    const at = this.load(l)
    if (at < 0) return
    const f = typeOf(l)
    switch (r.k) {
      case 'setref':
        this.emit(O.OP_LOOKUP, this.set((r as BoundSet).set), at, neg)
        return
      case 'range': {
        const n = wordsOf(f.t, f.len)
        this.emit(O.OP_RANGE, at, neg, n)
        this.constant(r.lo)
        this.constant(r.hi)
        return
      }
      case 'prefix': {
        const n = wordsOf(f.t, f.len)
        const base = r.e as Expr & { k: 'val' }
        const host = (1n << BigInt(f.len - r.len)) - 1n
        this.emit(O.OP_RANGE, at, neg, n)
        this.constant(base)
        this.constant({ ...base, v: base.v | host })
        return
      }
      case 'flagcmp': {
        const mask = Number((r.mask as Expr & { k: 'val' }).v) | 0
        this.emit(O.OP_BITWISE, at, mask, 0)
        this.emit(O.OP_CMP, at, neg === 1 ? O.CMP_NEQ : O.CMP_EQ, Number((r.value as Expr & { k: 'val' }).v) | 0)
        return
      }
      case 'concat': {
        let reg = at
        r.items.forEach((item, i) => {
          const t = typesOf(l)[i]!
          this.emit(O.OP_CMPN, reg, neg, wordsOf(t.t, t.len))
          this.constant(item)
          reg += wordsOf(t.t, t.len)
        })
        return
      }
      case 'val':
        break
      default:
        this.unmodelled('comparison')
        return
    }
    if (f.t.format === 'string' && r.s?.endsWith('*') === true) {
      const prefix = r.s.slice(0, -1)
      putName(prefix, scratch, 0)
      this.emit(O.OP_NAME, at, neg, prefix.length, scratch[0]!, scratch[1]!, scratch[2]!, scratch[3]!)
      return
    }
    if (f.t.bitmask && l.k !== 'binop' && (s.op === '' || s.op === '!')) {
      this.emit(O.OP_ANY, at, Number(r.v & 0xffffffffn) | 0, s.op === '!' ? 1 : 0)
      return
    }
    const n = wordsOf(f.t, f.len)
    if (n === 1) {
      this.emit(O.OP_CMP, at, CMP[s.op]!, Number(r.v & 0xffffffffn) | 0)
      return
    }
    this.emit(O.OP_CMPN, at, CMP[s.op]!, n)
    this.constant(r)
  }

  private constant(e: Expr): void {
    if (e.k !== 'val') return
    putWords(e, scratch, 0)
    const n = wordsOf(e.t, e.len)
    for (let i = 0; i < n; i++) this.emit(scratch[i]!)
  }

  private nat(s: NatStmt): void {
    let flags = 0
    for (const f of s.flags) flags |= NAT_FLAG_BITS[f]!
    const named = s.family !== '' ? s.family : this.chain.table.family
    const family = named === 'ip' ? 4 : named === 'ip6' ? 6 : 0
    const width = family === 6 ? 4 : 1
    if (s.typeFlag === 'prefix') {
      this.unmodelled('nat prefix map')
      return
    }
    let a = -1
    let b = -1
    let p = -1
    let q = -1
    if (s.addr !== undefined) {
      const found = this.ends(s.addr)
      if (found === null) return
      ;[a, b] = found
      // a map may give address and port at once
      if (s.addr.k === 'map' && typesOf(s.addr).length === 2) {
        p = a + width
        q = b + width
      }
    }
    if (s.port !== undefined) {
      const found = this.ends(s.port)
      if (found === null) return
      ;[p, q] = found
    }
    this.emit(O.OP_NAT, NAT_KINDS[s.kind], flags, a, b, p, q, family)
  }

  /** Registers of the low and high end of an address or port. */
  private ends(e: Expr): [number, number] | null {
    const lo = this.reg
    if (e.k === 'range' || e.k === 'prefix') {
      const t = typeOf(e)
      const low = (e.k === 'range' ? e.lo : e.e) as Expr & { k: 'val' }
      const host = e.k === 'prefix' ? (1n << BigInt(t.len - e.len)) - 1n : 0n
      const high = e.k === 'range' ? e.hi : { ...low, v: low.v | host }
      const n = wordsOf(t.t, t.len)
      this.reg += 2 * n
      return this.loadTo(low, lo) && this.loadTo(high, lo + n) ? [lo, lo + n] : null
    }
    if (e.k === 'map') {
      const key = this.load(e.key)
      if (key < 0) return null
      const set = (e.data as BoundSet).set
      const dst = this.reg
      this.reg += set.store.dataWords
      this.emit(O.OP_MAP, this.set(set), key, dst)
      return [dst, dst + set.store.dataWords / 2]
    }
    const t = typeOf(e)
    this.reg += wordsOf(t.t, t.len)
    return this.loadTo(e, lo) ? [lo, lo] : null
  }

  private assign(target: Expr, v: Expr): void {
    const reg = this.load(v)
    if (reg < 0) return
    switch (target.k) {
      case 'meta': {
        const key = O.META_NUMBERS[target.key]!
        if (target.key !== 'mark' && target.key !== 'priority' && target.key !== 'nftrace') {
          this.unmodelled(`meta ${target.key} set`)
          return
        }
        this.emit(O.OP_META_SET, key, reg)
        return
      }
      case 'ct':
        if (target.key !== 'mark') {
          this.unmodelled(`ct ${target.key} set`)
          return
        }
        this.emit(O.OP_CT_SET, O.CT_NUMBERS[target.key]!, reg)
        return
      case 'payload': {
        const first = target.offset >>> 3
        const bytes = ((target.offset & 7) + target.len + 7) >>> 3
        if (bytes > 4 || target.base === 0) {
          this.unmodelled('payload set')
          return
        }
        const shift = bytes * 8 - (target.offset & 7) - target.len
        const mask = target.len === 32 ? -1 : (1 << target.len) - 1
        this.emit(O.OP_PAYLOAD_SET, target.base, first, bytes, shift, mask, reg)
        return
      }
      default:
        this.unmodelled(`${target.k} set`)
    }
  }

  private dynset(s: Stmt & { k: 'set' }): void {
    const set = this.chain.table.sets.get(s.set)
    if (set === undefined) return
    const key = this.load(s.key)
    if (key < 0) return
    const data = s.data === undefined ? -1 : this.load(s.data)
    if (s.stmts.some((x) => x.k === 'connlimit')) {
      this.unmodelled('ct count')
      return
    }
    const op = s.op === 'add' ? 0 : s.op === 'update' ? 1 : 2
    this.emit(O.OP_DYNSET, op, this.set(set), key, s.timeout ?? 0, data, this.templates.length)
    this.templates.push(s.stmts.length > 0 ? s.stmts : set.stmts)
  }

  private objref(type: string, name: Expr): void {
    if (name.k === 'map') {
      const key = this.load(name.key)
      if (key >= 0) this.emit(O.OP_OBJMAP, this.set((name.data as BoundSet).set), key)
      return
    }
    const object: NftObject | undefined =
      name.k === 'sym' ? this.chain.table.objects.get(`${type} ${name.text}`) : undefined
    if (object === undefined) return
    const s = object.spec.stmt
    if (type === 'counter') this.emit(O.OP_COUNTER, this.state(object.state))
    else if (type === 'limit' && object.state !== null) this.emit(O.OP_LIMIT, this.state(object.state))
    else if (type === 'quota' && s?.k === 'quota')
      this.emit(O.OP_QUOTA, this.state(object.state), s.bytes, s.over ? 1 : 0)
    else this.unmodelled(type)
  }
}
