/**
 * Gives a rule's statements their types, and adds the protocol matches that they depend on.
 *
 * nft: src/evaluate.c, src/payload.c (payload_gen_dependency), src/netlink_linearize.c (bit operations with constants become
 * one mask and xor) (1.0.6). The result is what the kernel is told; display.ts turns it into what nft prints.
 */
import type { Netns } from '../../netns.ts'
import { type Elem, type Expr, type Loc, type MatchStmt, NftError, NO_LOC, type SetRefExpr, type Stmt } from './ast.ts'
import { foldBinop } from './binop.ts'
import * as D from './datatypes.ts'
import { CT_KEYS, META_KEYS } from './keys.ts'
import * as P from './protocols.ts'
import { makeAnonymousSet } from './set-build.ts'
import type { FieldType, NftSet, NftTable, NftTables } from './state.ts'
import { parseSymbol, value } from './values.ts'

/** A reference to a set that exists. */
export interface BoundSet extends SetRefExpr {
  readonly set: NftSet
}

/** What evaluation of one rule knows. */
export class EvalContext {
  readonly tables: NftTables
  readonly ns: Netns
  readonly table: NftTable
  readonly family: string
  /** Network protocol known so far: ip, ip6, arp, or empty. */
  nh: string
  /** Transport protocol known so far, empty when none. */
  th = ''
  /** What named it. */
  thLoc: Loc | null = null
  icmpType: readonly number[] | null = null
  readonly out: Stmt[] = []
  /** Anonymous sets made on the way. */
  readonly sets: NftSet[] = []
  terminal: Loc | null = null

  constructor(tables: NftTables, table: NftTable) {
    this.tables = tables
    this.ns = tables.ns
    this.table = table
    this.family = table.family
    this.nh = ['ip', 'ip6', 'arp'].includes(table.family) ? table.family : ''
  }
}

/** Types of an expression's fields. */
export function typesOf(e: Expr): FieldType[] {
  switch (e.k) {
    case 'concat':
      return e.items.flatMap(typesOf)
    case 'map': {
      const data = (e.data as BoundSet).set?.data
      return data === undefined ? [] : [...data]
    }
    default:
      return [typeOf(e)]
  }
}

/** Type of one expression. */
export function typeOf(e: Expr): FieldType {
  switch (e.k) {
    case 'val':
      return { t: e.t, len: e.len }
    case 'prefix':
      return typeOf(e.e)
    case 'range':
      return typeOf(e.lo)
    case 'payload':
      return { t: e.field === null ? { ...D.T_XINTEGER, size: e.len } : e.field.type, len: e.len }
    case 'meta':
      return { t: META_KEYS[e.key]!, len: META_KEYS[e.key]!.size }
    case 'ct': {
      const t = e.port === true ? D.T_SERVICE : CT_KEYS[e.proto === undefined ? e.key : `${e.proto} ${e.key}`]!
      return { t, len: t.size }
    }
    case 'fib': {
      const t =
        e.present === true
          ? D.T_BOOLEAN
          : e.result === 'oif'
            ? D.T_IFINDEX
            : e.result === 'oifname'
              ? D.T_IFNAME
              : D.T_FIB_ADDR
      return { t, len: t.size }
    }
    case 'rt':
    case 'socket':
    case 'osf':
    case 'exthdr':
    case 'tcpopt':
    case 'ipopt':
      return { t: e.t, len: e.len }
    case 'numgen':
    case 'hash':
      return { t: D.integerType(32, true), len: 32 }
    case 'binop':
      return typeOf(e.l)
    case 'setref': {
      const set = (e as BoundSet).set
      return set === undefined ? { t: D.T_INVALID, len: 0 } : set.key[0]!
    }
    case 'map':
      return typesOf(e)[0] ?? { t: D.T_VERDICT, len: 0 }
    case 'verdict':
      return { t: D.T_VERDICT, len: 0 }
    default:
      return { t: D.T_INVALID, len: 0 }
  }
}

function hidden(l: Expr, r: Expr, loc: Loc): MatchStmt {
  return { k: 'match', op: '', l, r, loc }
}

/** Two protocols that exclude each other. */
export function conflict(loc: Loc, a: string, b: string): never {
  throw new NftError(loc, `conflicting protocols specified: ${a} vs. ${b}`)
}

/** payload_gen_dependency for network headers. */
export function needNetwork(x: EvalContext, proto: string, loc: Loc): void {
  if (proto === '') return
  if (x.nh === proto) return
  if (x.nh !== '') conflict(loc, x.nh, proto)
  const p = P.protoByName(proto)!
  if (x.family === 'inet') {
    const l: Expr = { k: 'meta', key: 'nfproto', loc: NO_LOC }
    if (p.number === 0) conflict(loc, 'inet', proto)
    x.out.push(hidden(l, value(D.T_NFPROTO, 8, BigInt(p.number), NO_LOC), NO_LOC))
  } else {
    const l: Expr = { k: 'meta', key: 'protocol', loc: NO_LOC }
    x.out.push(hidden(l, value(D.T_ETHERTYPE, 16, BigInt(p.ether), NO_LOC), NO_LOC))
  }
  x.nh = proto
}

/** payload_gen_dependency for transport headers. */
export function needTransport(x: EvalContext, p: P.Proto, loc: Loc): void {
  if (p.name === 'th' || x.th === p.name) return
  if (x.th !== '') conflict(loc, x.th, p.name)
  const l: Expr = { k: 'meta', key: 'l4proto', loc: NO_LOC }
  x.out.push(hidden(l, value(D.T_INET_PROTO, 8, BigInt(p.number), NO_LOC), NO_LOC))
  x.th = p.name
  x.thLoc = loc
}

function needIcmpType(x: EvalContext, p: P.Proto, f: P.Field): void {
  const types = P.ICMP_FIELD_TYPES[`${p.name} ${f.name}`]
  if (types === undefined) return
  if (x.icmpType?.every((t) => types.includes(t))) return
  const field = p.fields[0]!
  const l: Expr = { k: 'payload', base: p.base, proto: p, field, offset: 0, len: 8, loc: NO_LOC }
  const elems: Elem[] = types.map((t) => ({ key: value(field.type, 8, BigInt(t), NO_LOC), stmts: [], loc: NO_LOC }))
  const r: Expr =
    types.length === 1 ? elems[0]!.key : makeAnonymousSet(x, [{ t: field.type, len: 8 }], [], false, elems, NO_LOC)
  x.out.push(hidden(l, r, NO_LOC))
  x.icmpType = types
}

/** expr_evaluate of something that reads the packet. */
export function evalLeft(x: EvalContext, e: Expr): Expr {
  switch (e.k) {
    case 'payload':
      return evalPayload(x, e)
    case 'meta':
      if (e.key === 'nfproto' && x.family !== 'inet') {
        throw new NftError(e.loc, 'meta nfproto is only useful in the inet family')
      }
      return e
    case 'ct': {
      if (e.key === 'saddr' || e.key === 'daddr') {
        if (x.nh === '') throw new NftError(e.loc, "Can't parse symbolic invalid expressions")
        return { ...e, proto: x.nh }
      }
      if (e.key.startsWith('ip ') || e.key.startsWith('ip6 ')) {
        const nh = e.key.split(' ')[0]!
        if (x.nh !== '' && x.nh !== nh) conflict(e.loc, x.nh, nh)
        if (x.family === 'inet') needNetwork(x, nh, e.loc)
      }
      if ((e.key === 'proto-src' || e.key === 'proto-dst') && x.th !== '') return { ...e, port: true }
      return e
    }
    case 'rt':
      if (e.key === 'nexthop') {
        if (x.nh === '') throw new NftError(e.loc, "Can't parse symbolic invalid expressions")
        return { ...e, key: `${x.nh} nexthop`, t: x.nh === 'ip' ? D.T_IPV4 : D.T_IPV6, len: x.nh === 'ip' ? 32 : 128 }
      }
      return e
    case 'tcpopt':
      needTransport(x, P.P_TCP, e.loc)
      return e
    case 'ipopt':
      needNetwork(x, 'ip', e.loc)
      return e
    case 'exthdr':
      if (x.family === 'ip') throw new NftError(e.loc, 'cannot use exthdr with ip')
      needNetwork(x, 'ip6', e.loc)
      return e
    case 'concat': {
      const items = e.items.map((i) => evalLeft(x, i))
      for (const [n, i] of items.entries()) {
        const t = typeOf(i).t
        if (t === D.T_INVALID || typeOf(i).len === 0) {
          throw new NftError(
            e.items[n]!.loc,
            `can not use variable sized data types (${t.name}) in concat expressions`,
            [e.loc],
          )
        }
      }
      return { ...e, items }
    }
    case 'binop': {
      const l = evalLeft(x, e.l)
      const f = typeOf(l)
      const shift = e.op === '<<' || e.op === '>>'
      const constant = shift ? { t: D.integerType(32, true), len: 32 } : f
      const r = readsPacket(e.r) ? evalLeft(x, e.r) : evalValue(x, e.r, constant)
      return foldBinop({ ...e, l, r }, f)
    }
    case 'hash':
      return e.e === null ? e : { ...e, e: evalLeft(x, e.e) }
    case 'map':
      return evalMap(x, e.key, e.data, null, e.loc)
    case 'numgen':
      if (e.mod === 0) throw new NftError(e.loc, 'Could not process rule: Numerical result out of range')
      return e
    default:
      return e
  }
}

/** True for expressions that read the packet. */
export function readsPacket(e: Expr): boolean {
  switch (e.k) {
    case 'payload':
    case 'meta':
    case 'ct':
    case 'fib':
    case 'rt':
    case 'socket':
    case 'osf':
    case 'exthdr':
    case 'tcpopt':
    case 'ipopt':
    case 'numgen':
    case 'hash':
    case 'map':
      return true
    case 'binop':
      return readsPacket(e.l) || readsPacket(e.r)
    case 'concat':
      return e.items.some(readsPacket)
    default:
      return false
  }
}

function evalPayload(x: EvalContext, e: Expr & { k: 'payload' }): Expr {
  const p = e.proto
  if (p === null || e.field === null) return rawPayload(x, e)
  if (p.base === P.BASE_NETWORK) {
    if (p.name === 'arp' && x.nh !== '' && x.nh !== 'arp') conflict(e.loc, x.nh, 'arp')
    needNetwork(x, p.name, e.loc)
  } else if (p.base === P.BASE_TRANSPORT) {
    needTransport(x, p, e.loc)
    if (p.name === 'icmp' || p.name === 'icmpv6') needIcmpType(x, p, e.field)
    if (p.name === 'th' && x.th !== '') {
      const known = P.protoByName(x.th)!
      const field = known.fields.find((f) => f.offset === e.offset && f.len === e.len)
      if (field !== undefined) return { ...e, proto: known, field }
    }
  } else if (p.name === 'vlan' || (p.name === 'ether' && x.family !== 'bridge' && x.family !== 'netdev')) {
    if (p.name === 'ether')
      x.out.push(hidden({ k: 'meta', key: 'iiftype', loc: NO_LOC }, value(D.T_ARPHRD, 16, 1n, NO_LOC), NO_LOC))
    if (p.name === 'vlan') needVlan(x)
  }
  return e
}

function needVlan(x: EvalContext): void {
  if (x.family !== 'bridge' && x.family !== 'netdev') {
    x.out.push(hidden({ k: 'meta', key: 'iiftype', loc: NO_LOC }, value(D.T_ARPHRD, 16, 1n, NO_LOC), NO_LOC))
  }
  const f = P.P_ETHER.fields[2]!
  const l: Expr = {
    k: 'payload',
    base: P.BASE_LL,
    proto: P.P_ETHER,
    field: f,
    offset: f.offset,
    len: f.len,
    loc: NO_LOC,
  }
  const r = value(D.T_ETHERTYPE, 16, 0x8100n, NO_LOC)
  if (!x.out.some((s) => s.k === 'match' && s.l.k === 'payload' && s.l.field === f)) x.out.push(hidden(l, r, NO_LOC))
}

/** payload_expr_expand: raw bytes that are one known field get its name. */
function rawPayload(x: EvalContext, e: Expr & { k: 'payload' }): Expr {
  const p =
    e.base === P.BASE_NETWORK
      ? P.protoByName(x.nh)
      : e.base === P.BASE_TRANSPORT
        ? (P.protoByName(x.th) ?? P.P_TH)
        : undefined
  const field = p?.fields.find((f) => f.offset === e.offset && f.len === e.len)
  return p === undefined || field === undefined ? e : { ...e, proto: p, field }
}

/** A constant of the given type: symbols, bit operations over them, ranges and prefixes. */
export function evalValue(x: EvalContext, e: Expr, f: FieldType): Expr {
  switch (e.k) {
    case 'sym':
      if (f.t === D.T_INVALID || (f.len === 0 && f.t.format !== 'string')) {
        throw new NftError(e.loc, `Can't parse symbolic ${f.t.name} expressions`)
      }
      if (f.t.format === 'string' && e.num) return { k: 'val', t: f.t, len: f.len, v: 0n, s: e.text, loc: e.loc }
      return parseSymbol(x.ns, e.text, e.num, f.t, f.len, e.loc)
    case 'prefix': {
      const base = evalValue(x, e.e, f)
      if (e.len > f.len) throw new NftError(e.loc, `Prefix length ${e.len} is invalid for type of ${f.len} bits width`)
      if (base.k !== 'val') return base
      const mask = ((1n << BigInt(e.len)) - 1n) << BigInt(f.len - e.len)
      const v = { ...base, v: base.v & mask, loc: e.loc }
      return e.len === f.len ? v : { ...e, e: v }
    }
    case 'range': {
      const lo = evalValue(x, e.lo, f)
      const hi = evalValue(x, e.hi, f)
      if (lo.k === 'val' && hi.k === 'val' && lo.v > hi.v) throw new NftError(e.loc, 'Range has zero or negative size')
      return { ...e, lo, hi }
    }
    case 'list': {
      if (!f.t.bitmask) throw new NftError(e.items[0]!.loc, `Basetype of type ${f.t.desc} is not bitmask`)
      let v = 0n
      for (const i of e.items) {
        const item = evalValue(x, i, f)
        if (item.k === 'val') v |= item.v
      }
      return value(f.t, f.len, v, e.loc)
    }
    case 'binop': {
      const l = evalValue(x, e.l, f)
      const r = evalValue(x, e.r, e.op === '<<' || e.op === '>>' ? { t: D.integerType(32), len: 32 } : f)
      if (l.k !== 'val' || r.k !== 'val') return e
      const full = (1n << BigInt(f.len)) - 1n
      const v =
        e.op === '&'
          ? l.v & r.v
          : e.op === '|'
            ? l.v | r.v
            : e.op === '^'
              ? l.v ^ r.v
              : e.op === '<<'
                ? (l.v << r.v) & full
                : l.v >> r.v
      return value(f.t, f.len, v, e.loc)
    }
    case 'val':
      return e
    default: {
      const t = typeOf(e).t
      throw new NftError(e.loc, `datatype mismatch, expected ${f.t.desc}, expression has type ${t.desc}`)
    }
  }
}

/** A key of a set: one constant per field. */
export function evalKey(x: EvalContext, e: Expr, key: readonly FieldType[]): Expr {
  if (e.k === 'sym' && e.text === '*' && !e.quoted) return e
  if (key.length === 1) return evalValue(x, e.k === 'concat' ? e.items[0]! : e, key[0]!)
  const items = e.k === 'concat' ? e.items : [e]
  if (items.length !== key.length) {
    throw new NftError(e.loc, `invalid data type, expected concatenation of (${key.map((f) => f.t.desc).join(', ')})`)
  }
  return { k: 'concat', items: items.map((i, n) => evalValue(x, i, key[n]!)), loc: e.loc }
}

/** The right side of a comparison. */
export function evalRight(x: EvalContext, l: Expr, r: Expr, s: MatchStmt): Expr {
  const key = typesOf(l)
  switch (r.k) {
    case 'set': {
      const elems = r.elems
      if (elems.length === 1 && key.length === 1 && plain(elems[0]!) && s.op !== '!')
        return evalKey(x, elems[0]!.key, key)
      return makeAnonymousSet(x, key, [], false, elems, r.loc)
    }
    case 'setref': {
      const set = x.table.sets.get(r.name)
      if (set === undefined) throw new NftError(r.loc, 'No such file or directory')
      checkKey(l, key, set, r.loc)
      return { ...r, set } as BoundSet
    }
    case 'flagcmp': {
      return { ...r, value: evalValue(x, r.value, key[0]!), mask: evalValue(x, r.mask, key[0]!) }
    }
    default:
      if (l.k === 'concat' || r.k === 'concat') {
        throw new NftError(l.loc, 'Use concatenations with sets and maps, not singleton values', [r.loc])
      }
      if (readsPacket(r)) {
        throw new NftError(r.loc, 'Cannot be used with right hand side constant value')
      }
      return evalValue(x, r, key[0]!)
  }
}

function plain(e: Elem): boolean {
  return e.timeout === undefined && e.stmts.length === 0 && e.data === undefined
}

/** The key must have the set's type. */
function checkKey(l: Expr, key: readonly FieldType[], set: NftSet, loc: Loc): void {
  const same = key.length === set.key.length && key.every((f, i) => compatible(f, set.key[i]!))
  if (same) return
  throw new NftError(loc, `datatype mismatch, expected ${typeName(key)}, expression has type ${typeName(set.key)}`, [
    l.loc,
  ])
}

/** A key's type as errors name it. */
export function typeName(fields: readonly FieldType[]): string {
  return fields.length === 1 ? fields[0]!.t.desc : `concatenation of (${fields.map((f) => f.t.desc).join(', ')})`
}

/** True when a value of one type may be compared with the other's. */
export function compatible(a: FieldType, b: FieldType): boolean {
  return (
    a.t.name === b.t.name || (a.t.name === 'integer' && a.len === b.len) || (b.t.name === 'integer' && a.len === b.len)
  )
}

/** A map over a key: data of the named type, or a verdict map. */
export function evalMap(x: EvalContext, key: Expr, data: Expr, want: readonly FieldType[] | null, loc: Loc): Expr {
  const k = evalLeft(x, key)
  const types = typesOf(k)
  if (data.k === 'setref') {
    const set = x.table.sets.get(data.name)
    if (set === undefined) throw new NftError(data.loc, 'No such file or directory')
    if (!set.isMap) throw new NftError(data.loc, 'Expression is not a map')
    if (types.length !== set.key.length || !types.every((f, i) => compatible(f, set.key[i]!))) {
      throw new NftError(
        data.loc,
        `datatype mismatch, map expects ${typeName(set.key)}, mapping expression has type ${typeName(types)}`,
        [k.loc],
      )
    }
    return { k: 'map', key: k, data: { ...data, set } as BoundSet, loc }
  }
  if (data.k !== 'set') throw new NftError(data.loc, 'Expression is not a map')
  return { k: 'map', key: k, data: makeAnonymousSet(x, types, want ?? [], true, data.elems, data.loc), loc }
}
