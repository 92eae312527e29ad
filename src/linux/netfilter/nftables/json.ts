/**
 * nft -j: the libnftables JSON schema.
 *
 * nft: src/json.c (1.0.6), libnftables-json(5).
 */
import type { Netns } from '../../netns.ts'
import type { Expr, LimitStmt, NatStmt, Stmt } from './ast.ts'
import { displayStmts } from './display.ts'
import type { BoundSet } from './evaluate.ts'
import { dataNames } from './list.ts'
import { bitNames, byteUnit, Printer, rejectType } from './print.ts'
import { type ElemView, elementsOf } from './set-view.ts'
import {
  CounterState,
  type NftChain,
  type NftObject,
  type NftRule,
  type NftSet,
  type NftTable,
  QuotaState,
  SET_CONSTANT,
  SET_INTERVAL,
  SET_TIMEOUT,
} from './state.ts'
import { formatValue } from './values.ts'

/** What JSON.stringify takes. */
export type Json = null | string | number | boolean | Json[] | { [key: string]: Json }

/** JSON of one namespace. */
export class JsonWriter {
  private readonly ns: Netns
  private readonly p: Printer
  /** -s: no counters, no expiry. */
  private readonly stateless: boolean

  constructor(ns: Netns, o: { readonly stateless: boolean; readonly terse: boolean }) {
    this.ns = ns
    this.stateless = o.stateless
    this.p = new Printer(ns, { stateless: o.stateless, handles: false, terse: o.terse })
  }

  table(t: NftTable): Json {
    // nft 1.0.6 prints the table's name for its flags
    const flags: { [key: string]: Json } = t.flags.length === 0 ? {} : { flags: t.name }
    return { table: { family: t.family, name: t.name, handle: t.handle, ...flags } }
  }

  chain(c: NftChain): Json {
    const b = c.spec.base
    const base: { [key: string]: Json } =
      b === undefined ? {} : { type: b.type, hook: b.hook, prio: c.priority, policy: c.policy }
    return { chain: { family: c.table.family, table: c.table.name, name: c.name, handle: c.handle, ...base } }
  }

  rule(r: NftRule): Json {
    const t = r.owner.table
    const comment: { [key: string]: Json } = r.comment === null ? {} : { comment: r.comment }
    const expr = displayStmts(t.family, r.stmts).map((s) => this.stmtOf(r, s))
    return { rule: { family: t.family, table: t.name, chain: r.chain, handle: r.handle, ...comment, expr } }
  }

  private stmtOf(r: NftRule, s: Stmt): Json {
    const i = r.stmts.indexOf(s)
    return this.stmtWithState(s, i < 0 ? null : r.states[i])
  }

  private stmtWithState(s: Stmt, state: unknown): Json {
    if (s.k === 'counter') {
      if (this.stateless) return { counter: null }
      const c = state instanceof CounterState ? state : new CounterState(s.packets, s.bytes)
      return { counter: { packets: c.packets, bytes: c.bytes } }
    }
    if (s.k === 'quota') {
      const used = state instanceof QuotaState ? state.consumed : s.used
      const [val, val_unit] = byteUnit(s.bytes)
      const o: { [key: string]: Json } = { val, val_unit }
      if (s.over) o.inv = true
      if (used > 0) {
        const [u, uu] = byteUnit(used)
        o.used = u
        o.used_unit = uu
      }
      return { quota: o }
    }
    return this.stmt(s)
  }

  set(s: NftSet): Json {
    const o: { [key: string]: Json } = { family: s.table.family, name: s.name, table: s.table.name }
    const names = s.key.map((f) => f.t.name)
    o.type = names.length === 1 ? names[0]! : names
    o.handle = s.handle
    if (s.comment !== null) o.comment = s.comment
    if (s.isMap) o.map = dataNames(s)
    if ((s.flags & SET_CONSTANT) === 0) {
      if (s.policy === 'memory') o.policy = 'memory'
      if (s.size > 0) o.size = s.size
    }
    const flags: string[] = []
    if ((s.flags & SET_CONSTANT) !== 0) flags.push('constant')
    if ((s.flags & SET_INTERVAL) !== 0) flags.push('interval')
    if ((s.flags & SET_TIMEOUT) !== 0) flags.push('timeout')
    if (flags.length > 0) o.flags = flags
    if (s.timeoutMs > 0) o.timeout = Math.floor(s.timeoutMs / 1000)
    if (s.gcIntervalMs > 0) o['gc-interval'] = Math.floor(s.gcIntervalMs / 1000)
    const elems = elementsOf(this.ns, s).map((v) => this.elem(v))
    if (elems.length > 0) o.elem = elems
    if (s.stmts.length > 0) o.stmt = s.stmts.map((i) => (i.k === 'counter' ? { counter: null } : this.stmt(i)))
    return { [s.isMap ? 'map' : 'set']: o }
  }

  private elem(v: ElemView): Json {
    let key = this.expr(v.key)
    const extra: { [key: string]: Json } = {}
    if (v.timeoutMs !== null) extra.timeout = Math.floor(v.timeoutMs / 1000)
    if (v.expiresMs !== null && !this.stateless) extra.expires = Math.floor(v.expiresMs / 1000)
    if (v.comment !== null) extra.comment = v.comment
    v.stmts.forEach((s, i) => {
      const j = this.stmtWithState(s, v.states[i])
      if (j !== null && typeof j === 'object' && !Array.isArray(j)) Object.assign(extra, j)
    })
    if (Object.keys(extra).length > 0) key = { elem: { val: key, ...extra } }
    if (v.data === null) return key
    return [key, typeof v.data === 'string' ? v.data : this.expr(v.data)]
  }

  object(o: NftObject): Json {
    const head: { [key: string]: Json } = {
      family: o.table.family,
      name: o.name,
      table: o.table.name,
      handle: o.handle,
    }
    if (o.spec.comment !== undefined) head.comment = o.spec.comment
    const s = o.spec.stmt
    if (o.state instanceof CounterState) {
      if (!this.stateless) Object.assign(head, { packets: o.state.packets, bytes: o.state.bytes })
    } else if (s?.k === 'quota') {
      Object.assign(head, { bytes: s.bytes, used: o.state instanceof QuotaState ? o.state.consumed : 0, inv: s.over })
    } else if (s?.k === 'limit') Object.assign(head, objectLimit(s))
    else Object.assign(head, objectLines(o))
    return { [o.type]: head }
  }

  /** A statement. */
  stmt(s: Stmt): Json {
    switch (s.k) {
      case 'match':
        return { match: this.match(s) }
      case 'objref':
        return {
          [s.type]: s.name.k === 'sym' ? s.name.text : this.expr(s.name),
        }
      case 'limit':
        return { limit: limitJson(s) }
      case 'log': {
        const o: { [key: string]: Json } = {}
        if (s.prefix !== undefined) o.prefix = s.prefix
        if (s.group !== undefined) o.group = s.group
        if (s.snaplen !== undefined) o.snaplen = s.snaplen
        if (s.queueThreshold !== undefined) o['queue-threshold'] = s.queueThreshold
        if (s.group === undefined && s.level !== undefined && s.level !== 'warn') o.level = s.level
        if (s.flags.includes('all')) o.flags = 'all'
        else if (s.flags.length > 0) {
          const names = s.flags.map((f) => ({ 'tcp sequence': 'tcp sequence', 'tcp options': 'tcp options' })[f] ?? f)
          o.flags = names.length === 1 ? names[0]! : names
        }
        return { log: Object.keys(o).length === 0 ? null : o }
      }
      case 'verdict':
        return s.e.k === 'map' ? { vmap: { key: this.expr(s.e.key), data: this.expr(s.e.data) } } : this.expr(s.e)
      case 'nat':
        return this.nat(s)
      case 'reject': {
        if (s.type === 'tcp') return { reject: { type: 'tcp reset' } }
        const name = rejectType(s.type).symbols.find(([, n]) => n === s.code)?.[0]
        return { reject: { type: s.type, expr: name ?? s.code } }
      }
      case 'assign':
        return { mangle: { key: this.expr(s.target), value: this.expr(s.value) } }
      case 'set': {
        const key = this.expr(s.key)
        const elem: Json = s.timeout === undefined ? key : { elem: { val: key, timeout: Math.floor(s.timeout / 1000) } }
        if (s.data !== undefined) return this.p.stmt(s)
        const stmts = s.stmts.map((i) => (i.k === 'counter' ? { counter: null } : this.stmt(i)))
        return { set: { op: s.op, elem, set: `@${s.set}`, ...(stmts.length > 0 ? { stmt: stmts } : {}) } }
      }
      case 'connlimit':
        return { 'ct count': { val: s.count, ...(s.over ? { inv: true } : {}) } }
      case 'notrack':
        return { notrack: null }
      case 'dup':
      case 'fwd': {
        const to = this.expr(s.to)
        if (s.k === 'fwd') return { fwd: { dev: to } }
        return { dup: { addr: to, ...(s.dev === undefined ? {} : { dev: this.expr(s.dev) }) } }
      }
      default:
        return this.stmtWithState(s, null)
    }
  }

  private match(s: Stmt & { k: 'match' }): Json {
    let left = this.expr(s.l)
    if (s.r.k === 'flagcmp') {
      left = { '&': [left, this.expr(s.r.mask)] }
      return { op: s.op === '!=' ? '!=' : '==', left, right: this.expr(s.r.value) }
    }
    let op: string = s.op === '' ? '==' : s.op
    let right = this.expr(s.r)
    if (s.r.k === 'val' && s.r.t.bitmask && s.l.k !== 'binop') {
      if (s.op === '') op = 'in'
      const names = bitNames(s.r.t, s.r.v)
      if (s.op === '==' && names !== null && names.length > 1) right = Number(s.r.v)
      if (s.op === '!=' && names !== null && names.length > 1) right = { '|': names }
    }
    return { op, left, right }
  }

  private nat(s: NatStmt): Json {
    const o: { [key: string]: Json } = {}
    if (s.family !== '') o.family = s.family
    if (s.addr !== undefined) o.addr = this.expr(s.addr)
    if (s.port !== undefined) o.port = this.expr(s.port)
    const flags = s.flags.slice()
    if (s.typeFlag === 'prefix') flags.push('netmap')
    if (flags.length > 0) o.flags = flags.length === 1 ? flags[0]! : flags
    if (s.typeFlag !== '') o.type_flags = s.typeFlag
    return { [s.kind]: Object.keys(o).length === 0 ? null : o }
  }

  /** An expression. */
  expr(e: Expr): Json {
    switch (e.k) {
      case 'val':
        return this.value(e)
      case 'prefix':
        return { prefix: { addr: this.expr(e.e), len: e.len } }
      case 'range':
        return { range: [this.expr(e.lo), this.expr(e.hi)] }
      case 'payload':
        if (e.proto === null || e.field === null) {
          return { payload: { base: ['ll', 'nh', 'th'][e.base]!, offset: e.offset, len: e.len } }
        }
        return { payload: { protocol: e.proto.name, field: e.field.name } }
      case 'meta':
        return { meta: { key: e.key } }
      case 'ct':
        return { ct: { key: e.key, ...(e.dir === '' || e.key === 'protocol' ? {} : { dir: e.dir }) } }
      case 'fib':
        return { fib: { result: e.result, flags: e.flags.length === 1 ? [...e.flags] : [...e.flags] } }
      case 'rt':
        return {
          rt: { key: e.key.replace(/^ip6? /, ''), ...(/^ip6? /.test(e.key) ? { family: e.key.split(' ')[0]! } : {}) },
        }
      case 'socket':
        return { socket: { key: e.key } }
      case 'osf':
        return { osf: { key: 'name' } }
      case 'exthdr':
        return { exthdr: { name: e.key, ...(e.field === '' ? {} : { field: e.field }) } }
      case 'tcpopt':
        return { 'tcp option': { name: e.key, ...(e.field === '' ? {} : { field: e.field }) } }
      case 'ipopt':
        return { 'ip option': { name: e.key, ...(e.field === '' ? {} : { field: e.field }) } }
      case 'numgen':
        return { numgen: { mode: e.random ? 'random' : 'inc', mod: e.mod, offset: e.offset } }
      case 'hash': {
        const o: { [key: string]: Json } = { mod: e.mod }
        if (e.seed !== null) o.seed = e.seed
        if (e.offset !== 0) o.offset = e.offset
        if (e.e === null) return { symhash: o }
        o.expr = this.expr(e.e)
        return { jhash: o }
      }
      case 'binop':
        return { [e.op]: [this.expr(e.l), this.expr(e.r)] }
      case 'concat':
        return { concat: e.items.map((i) => this.expr(i)) }
      case 'setref': {
        const set = (e as BoundSet).set
        if (set === undefined || !set.anonymous) return `@${e.name}`
        return { set: elementsOf(this.ns, set).map((v) => this.elem(v)) }
      }
      case 'map':
        return { map: { key: this.expr(e.key), data: this.expr(e.data) } }
      case 'sym':
        return e.text
      case 'verdict':
        return { [e.kind]: e.chain === '' ? null : { target: e.chain } }
      default:
        return null
    }
  }

  private value(e: Expr & { k: 'val' }): Json {
    const { t, v } = e
    switch (t.format) {
      case 'mark':
        return Number(v)
      case 'time':
        return Number(v / 1000n)
      case 'ctlabel':
        return Number(formatValue(this.ns, e))
      default:
        break
    }
    if (t.name === 'boolean') return v !== 0n
    if (t.bitmask) {
      const names = bitNames(t, v)
      if (names === null) return Number(v)
      return names.length === 1 ? names[0]! : names
    }
    const text = formatValue(this.ns, e)
    const bare = /^".*"$/.test(text) ? text.slice(1, -1) : text
    const text0 = t.format === 'string' || t.format === 'ifindex' || t.name === 'realm'
    if (/^(0x[0-9a-f]+|\d+)$/.test(bare) && !text0) return Number(bare)
    return bare
  }
}

function limitJson(s: LimitStmt): Json {
  const o: { [key: string]: Json } = {}
  if (!s.bytes) {
    o.rate = s.rate
    o.burst = s.burst
    o.per = s.per
    if (s.over) o.inv = true
    return o
  }
  const [rate, unit] = byteUnit(s.rate)
  const [burst, bunit] = byteUnit(s.burst)
  o.rate = rate
  o.burst = burst
  o.per = s.per
  if (s.over) o.inv = true
  o.rate_unit = unit
  o.burst_unit = bunit
  return o
}

function objectLimit(s: LimitStmt): { [key: string]: Json } {
  if (!s.bytes) return { rate: s.rate, per: s.per, burst: s.burst, ...(s.over ? { inv: true } : {}) }
  const [rate, unit] = byteUnit(s.rate)
  const [burst, bunit] = byteUnit(s.burst)
  return { rate, per: s.per, rate_unit: unit, burst, burst_unit: bunit, ...(s.over ? { inv: true } : {}) }
}

/** ct helper and ct timeout: their lines as fields. */
function objectLines(o: NftObject): { [key: string]: Json } {
  const out: { [key: string]: Json } = {}
  for (const line of o.spec.lines) {
    const helper = /^type "(.*)" protocol (\w+)$/.exec(line)
    const l3 = /^l3proto (\w+)$/.exec(line)
    const proto = /^protocol (\w+)$/.exec(line)
    const policy = /^policy = \{ (.*) \}$/.exec(line)
    if (helper !== null) Object.assign(out, { type: helper[1]!, protocol: helper[2]! })
    else if (l3 !== null) out.l3proto = l3[1]!
    else if (proto !== null) out.protocol = proto[1]!
    else if (policy !== null) {
      out.policy = Object.fromEntries(
        policy[1]!
          .split(',')
          .map((p) => p.split(':').map((w) => w.trim()))
          .map(([k, v]) => [k!, Number(v)]),
      )
    }
  }
  return out
}
