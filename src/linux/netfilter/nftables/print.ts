/**
 * nft's text of expressions and statements.
 *
 * nft: the print functions of src/{expression,statement,payload,meta,ct,fib,numgen,hash,exthdr}.c (1.0.6).
 */
import type { Netns } from '../../netns.ts'
import type { Expr, LimitStmt, LogStmt, NatStmt, RejectStmt, Stmt } from './ast.ts'
import * as D from './datatypes.ts'
import { type BoundSet, typeOf } from './evaluate.ts'
import { META_BARE } from './keys.ts'
import { type ElemView, elementsOf } from './set-view.ts'
import { CounterState, QuotaState } from './state.ts'
import { formatDuration, formatValue } from './values.ts'

/** What a listing shows. */
export interface PrintOptions {
  readonly stateless: boolean
  readonly handles: boolean
  /** -t: no elements. */
  readonly terse: boolean
}

/** Prints for one namespace. */
export class Printer {
  readonly ns: Netns
  readonly o: PrintOptions

  constructor(ns: Netns, o: PrintOptions) {
    this.ns = ns
    this.o = o
  }

  /** An expression. */
  expr(e: Expr): string {
    switch (e.k) {
      case 'val':
        return this.value(e)
      case 'prefix':
        return `${this.expr(e.e)}/${e.len}`
      case 'range':
        return `${this.expr(e.lo)}-${this.expr(e.hi)}`
      case 'payload':
        if (e.proto === null || e.field === null) return `@${['ll', 'nh', 'th'][e.base]},${e.offset},${e.len}`
        return `${e.proto.name} ${e.field.name}`
      case 'meta':
        return META_BARE.has(e.key) ? e.key : `meta ${e.key}`
      case 'ct':
        return `ct ${e.dir === '' || e.key === 'protocol' ? '' : `${e.dir} `}${e.proto === undefined ? '' : `${e.proto} `}${e.key}`
      case 'fib':
        return `fib ${e.flags.join(' . ')} ${e.result}`
      case 'rt':
        return `rt ${e.key}`
      case 'socket':
        return `socket ${e.key}`
      case 'osf':
        return 'osf name'
      case 'exthdr':
        return e.field === '' ? `exthdr ${e.key}` : `${e.key} ${e.field}`
      case 'tcpopt':
        return e.field === '' ? `tcp option ${e.key}` : `tcp option ${e.key} ${e.field}`
      case 'ipopt':
        return e.field === '' ? `ip option ${e.key}` : `ip option ${e.key} ${e.field}`
      case 'numgen':
        return `numgen ${e.random ? 'random' : 'inc'} mod ${e.mod}${e.offset === 0 ? '' : ` offset ${e.offset}`}`
      case 'hash': {
        const head = e.e === null ? 'symhash' : `jhash ${this.expr(e.e)}`
        const seed = e.seed === null ? '' : ` seed 0x${e.seed.toString(16)}`
        return `${head} mod ${e.mod}${seed}${e.offset === 0 ? '' : ` offset ${e.offset}`}`
      }
      case 'binop': {
        // associativity is printed, precedence is not bracketed where it is natural
        return `${this.operand(e.l)} ${e.op} ${this.operand(e.r)}`
      }
      case 'concat':
        return e.items.map((i) => this.expr(i)).join(' . ')
      case 'list':
        return e.items.map((i) => this.expr(i)).join(',')
      case 'setref': {
        const set = (e as BoundSet).set
        if (set === undefined || !set.anonymous) return `@${e.name}`
        return `{ ${elementsOf(this.ns, set)
          .map((v) => this.elem(v))
          .join(', ')} }`
      }
      case 'map':
        return `${this.expr(e.key)} map ${this.expr(e.data)}`
      case 'sym':
        return e.text
      case 'verdict':
        return e.chain === '' ? e.kind : `${e.kind} ${e.chain}`
      case 'flagcmp':
        return `${this.flags(e.value)} / ${this.flags(e.mask)}`
      default:
        return ''
    }
  }

  private operand(e: Expr): string {
    return this.expr(e)
  }

  private value(e: Expr & { k: 'val' }): string {
    if (e.t.bitmask && e.t.format !== 'ctlabel') return this.bits(e, ',')
    return formatValue(this.ns, e)
  }

  /** Flags by name, joined. */
  bits(e: Expr & { k: 'val' }, join: string): string {
    const names = bitNames(e.t, e.v)
    return names === null ? formatValue(this.ns, e) : names.join(join)
  }

  private flags(e: Expr): string {
    return e.k === 'val' ? this.bits(e, ',') : this.expr(e)
  }

  /** An element with what it carries. */
  elem(v: ElemView): string {
    let out = this.expr(v.key)
    for (const [i, s] of v.stmts.entries()) out += ` ${this.stmtWithState(s, v.states[i])}`
    if (v.timeoutMs !== null) out += ` timeout ${formatDuration(v.timeoutMs)}`
    if (!this.o.stateless && v.expiresMs !== null) out += ` expires ${formatDuration(v.expiresMs)}`
    if (v.comment !== null) out += ` comment "${v.comment}"`
    if (v.data !== null) out += ` : ${typeof v.data === 'string' ? `"${v.data}"` : this.expr(v.data)}`
    return out
  }

  /** A statement whose counter stands in `state`. */
  stmtWithState(s: Stmt, state: unknown): string {
    if (s.k === 'counter')
      return this.counter(state instanceof CounterState ? state : new CounterState(s.packets, s.bytes))
    if (s.k === 'quota') return this.quota(s.bytes, s.over, state instanceof QuotaState ? state.consumed : s.used)
    return this.stmt(s)
  }

  counter(s: CounterState): string {
    return this.o.stateless ? 'counter' : `counter packets ${s.packets} bytes ${s.bytes}`
  }

  quota(bytes: number, over: boolean, used: number): string {
    const [n, unit] = byteUnit(bytes)
    const [u, uunit] = byteUnit(used)
    return `quota ${over ? 'over ' : ''}${n} ${unit}${used > 0 && !this.o.stateless ? ` used ${u} ${uunit}` : ''}`
  }

  /** A statement. */
  stmt(s: Stmt): string {
    switch (s.k) {
      case 'match':
        return this.match(s)
      case 'counter':
        return this.counter(new CounterState(s.packets, s.bytes))
      case 'objref':
        return this.objref(s.type, s.name)
      case 'limit':
        return limitText(s)
      case 'quota':
        return this.quota(s.bytes, s.over, s.used)
      case 'log':
        return logText(s)
      case 'verdict':
        return s.e.k === 'map' ? `${this.expr(s.e.key)} vmap ${this.expr(s.e.data)}` : this.expr(s.e)
      case 'nat':
        return this.nat(s)
      case 'reject':
        return rejectText(s)
      case 'assign':
        return `${this.expr(s.target)} set ${this.expr(s.value)}`
      case 'set': {
        const timeout = s.timeout === undefined ? '' : ` timeout ${formatDuration(s.timeout)}`
        const stmts = s.stmts.map((i) => ` ${i.k === 'counter' ? 'counter' : this.stmt(i)}`).join('')
        const data = s.data === undefined ? '' : ` : ${this.expr(s.data)}`
        return `${s.op} @${s.set} { ${this.expr(s.key)}${timeout}${stmts}${data} }`
      }
      case 'connlimit':
        return `ct count ${s.over ? 'over ' : ''}${s.count}`
      case 'dup':
      case 'fwd':
        return `${s.k} to ${this.expr(s.to)}${s.dev === undefined ? '' : ` device ${this.expr(s.dev)}`}`
      case 'flow':
        return `flow add @${s.name}`
      default:
        return s.text
    }
  }

  private objref(type: string, name: Expr): string {
    const text = name.k === 'sym' ? `"${name.text}"` : this.expr(name)
    return type.startsWith('ct ')
      ? `${type} set ${text}`
      : type === 'synproxy'
        ? `synproxy name ${text}`
        : `${type} name ${text}`
  }

  private match(s: Stmt & { k: 'match' }): string {
    const f = typeOf(s.l)
    const left = this.expr(s.l)
    if (s.r.k === 'flagcmp') return `${left} ${s.op === '!=' ? '!= ' : ''}${this.expr(s.r)}`
    let right = this.expr(s.r)
    if (s.r.k === 'val' && f.t.bitmask) {
      const single = (bitNames(f.t, s.r.v)?.length ?? 0) === 1
      if (s.op === '!=') right = this.bits(s.r, ' | ')
      else if (s.op === '==' && !single) right = `0x${s.r.v.toString(16)}`
    }
    const showEq = s.l.k === 'binop' || (s.op === '==' && f.t.bitmask)
    const op =
      s.op === '' ? (showEq && s.r.k !== 'setref' ? '== ' : '') : s.op === '==' ? (showEq ? '== ' : '') : `${s.op} `
    return `${left} ${op}${right}`
  }

  private nat(s: NatStmt): string {
    let out = s.kind as string
    if (s.addr !== undefined || s.port !== undefined) {
      if (s.family !== '') out += ` ${s.family}`
      if (s.typeFlag !== '') out += ` ${s.typeFlag}`
      out += ' to'
    }
    if (s.addr !== undefined) {
      const v6 = typeOf(s.addr).t === D.T_IPV6 && s.port !== undefined
      if (!v6) out += ` ${this.expr(s.addr)}`
      else if (s.addr.k === 'range') out += ` [${this.expr(s.addr.lo)}]-[${this.expr(s.addr.hi)}]`
      else out += ` [${this.expr(s.addr)}]`
    }
    if (s.port !== undefined) out += `${s.addr === undefined ? ' ' : ''}:${this.expr(s.port)}`
    if (s.flags.length > 0) out += ` ${s.flags.join(',')}`
    return out
  }
}

/** Names of the bits of a flags type, from the lowest on; null when one has no name. */
export function bitNames(t: D.DataType, v: bigint): string[] | null {
  if (v === 0n) return null
  const out: string[] = []
  for (let bit = 1n; bit <= v; bit <<= 1n) {
    if ((v & bit) === 0n) continue
    const row = t.symbols.find(([, n]) => BigInt(n) === bit)
    if (row === undefined) return null
    out.push(row[0])
  }
  return out
}

/** get_rate, get_unit */
export function byteUnit(bytes: number): [number, string] {
  if (bytes === 0) return [0, 'bytes']
  if (bytes % 1048576 === 0) return [bytes / 1048576, 'mbytes']
  if (bytes % 1024 === 0) return [bytes / 1024, 'kbytes']
  return [bytes, 'bytes']
}

/** limit rate ... */
export function limitText(s: LimitStmt): string {
  const over = s.over ? 'over ' : ''
  if (!s.bytes) {
    const burst = s.burst === 5 || s.burst === 0 ? '' : ` burst ${s.burst} packets`
    return `limit rate ${over}${s.rate}/${s.per}${burst}`
  }
  const [n, unit] = byteUnit(s.rate)
  const [b, bunit] = byteUnit(s.burst)
  return `limit rate ${over}${n} ${unit}/${s.per}${s.burst === 0 ? '' : ` burst ${b} ${bunit}`}`
}

function logText(s: LogStmt): string {
  let out = 'log'
  if (s.prefix !== undefined) out += ` prefix "${s.prefix}"`
  if (s.group !== undefined) out += ` group ${s.group}`
  if (s.snaplen !== undefined) out += ` snaplen ${s.snaplen}`
  if (s.queueThreshold !== undefined) out += ` queue-threshold ${s.queueThreshold}`
  if (s.group === undefined && s.level !== undefined && s.level !== 'warn') out += ` level ${s.level}`
  if (s.flags.includes('all')) return `${out} flags all`
  const tcp = s.flags.filter((f) => f.startsWith('tcp ')).map((f) => f.slice(4))
  if (tcp.length > 0) out += ` flags tcp ${tcp.join(',')}`
  for (const f of ['ip options', 'skuid', 'ether']) if (s.flags.includes(f)) out += ` flags ${f}`
  return out
}

const REJECT_DEFAULT: Readonly<Record<string, number>> = { icmp: 3, icmpv6: 4, icmpx: 1 }

/** The type whose symbols name a reject's code. */
export function rejectType(type: string): D.DataType {
  return type === 'icmp' ? D.T_ICMP_CODE : type === 'icmpv6' ? D.T_ICMPV6_CODE : D.T_ICMPX_CODE
}

function rejectText(s: RejectStmt & { familyNamed?: boolean }): string {
  if (s.type === 'tcp') return 'reject with tcp reset'
  if (s.code === REJECT_DEFAULT[s.type] && s.familyNamed !== true) return 'reject'
  const name = rejectType(s.type).symbols.find(([, n]) => n === s.code)?.[0] ?? `${s.code}`
  return `reject with ${s.type} ${name}`
}
