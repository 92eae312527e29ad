/**
 * Expressions of nft's grammar.
 *
 * nft: src/parser_bison.y (1.0.6): primary_expr, rhs_expr, concat_expr, map_expr, set_expr, set_elem_expr. A word is read
 * as a symbol unless a field of that protocol follows it.
 */
import {
  type Elem,
  type Expr,
  type Loc,
  NftError,
  type SetExpr,
  type SetRefExpr,
  span,
  type VerdictExpr,
} from './ast.ts'
import type { Cursor } from './cursor.ts'
import * as D from './datatypes.ts'
import { CT_KEYS, META_KEY_LIST, META_KEYS, RT_KEYS, SOCKET_KEYS } from './keys.ts'
import { EXTHDRS, IP_OPTIONS, type OptionField, TCP_OPTIONS } from './options.ts'
import { parseElementStmt } from './parse-stmt.ts'
import { BASE_LL, BASE_NETWORK, BASE_TRANSPORT, type Field, type Proto, protoByName } from './protocols.ts'

/** Meta keys that may stand without `meta`. */
const BARE_META = new Set(
  'mark iif iifname iiftype oif oifname oiftype skuid skgid nftrace rtclassid ibrname obrname pkttype cpu iifgroup oifgroup cgroup'.split(
    ' ',
  ),
)
const VERDICTS = new Set(['accept', 'drop', 'continue', 'return', 'jump', 'goto', 'queue'])
const BINOPS: Readonly<Record<string, '&' | '|' | '^' | '<<' | '>>'>> = {
  '&': '&',
  and: '&',
  '|': '|',
  or: '|',
  '^': '^',
  xor: '^',
  '<<': '<<',
  lshift: '<<',
  '>>': '>>',
  rshift: '>>',
}
const PRECEDENCE: Readonly<Record<string, number>> = { '|': 1, '^': 2, '&': 3, '<<': 4, '>>': 4 }

/** A whole left side: concatenations, bit operations, then `map`. */
export function parseExpr(c: Cursor): Expr {
  const key = parseConcat(c)
  if (!c.isWord('map')) return key
  c.next()
  const data = parseSetOrRef(c)
  return { k: 'map', key, data, loc: span(key.loc, data.loc) }
}

/** `expr . expr` */
export function parseConcat(c: Cursor): Expr {
  const first = parseBinop(c, 1, false)
  if (!c.isSym('.')) return first
  const items = [first]
  while (c.sym('.')) items.push(parseBinop(c, 1, false))
  return { k: 'concat', items, loc: span(first.loc, items.at(-1)!.loc) }
}

/** Bit operations by precedence. */
export function parseBinop(c: Cursor, level: number, rhs: boolean): Expr {
  let l = parsePrimary(c, rhs)
  for (;;) {
    const t = c.peek()
    const op = t.kind === 'sym' || t.kind === 'string' ? BINOPS[t.text] : undefined
    if (op === undefined || PRECEDENCE[op]! < level) return l
    c.next()
    const r = parseBinop(c, PRECEDENCE[op]! + 1, rhs)
    l = { k: 'binop', op, l, r, loc: span(l.loc, r.loc) }
  }
}

/** `{ ... }` or `@name` */
export function parseSetOrRef(c: Cursor): SetExpr | SetRefExpr {
  if (c.isSym('{')) return parseSetLiteral(c)
  const at = c.needSym('@')
  const name = c.name()
  return { k: 'setref', name: name.text, loc: span(at.loc, name.loc) }
}

/** The elements between braces. */
export function parseSetLiteral(c: Cursor): SetExpr {
  const open = c.needSym('{')
  const elems: Elem[] = []
  c.skipNewlines()
  if (c.isSym('}')) c.unexpected()
  while (!c.isSym('}')) {
    elems.push(parseElem(c))
    c.skipNewlines()
    if (!c.sym(',')) break
    c.skipNewlines()
  }
  const close = c.needSym('}')
  return { k: 'set', elems, loc: span(open.loc, close.loc) }
}

function parseElem(c: Cursor): Elem {
  const star = c.peek()
  const key: Expr =
    c.sym('*') || c.word('*') ? { k: 'sym', text: '*', quoted: false, num: false, loc: star.loc } : parseRhsConcat(c)
  let comment: string | undefined
  let timeout: number | undefined
  let expires: number | undefined
  const stmts = []
  for (;;) {
    if (c.word('comment')) comment = c.name().text
    else if (c.word('timeout')) timeout = c.duration()
    else if (c.word('expires')) expires = c.duration()
    else if (c.isWord('counter') || c.isWord('limit') || c.isWord('quota') || (c.isWord('ct') && c.isWord('count', 1)))
      stmts.push(parseElementStmt(c))
    else break
  }
  c.skipNewlines()
  let data: Expr | undefined
  if (c.sym(':')) {
    c.skipNewlines()
    data = parseElemData(c)
  }
  // comments and timeouts may stand behind the data too
  for (;;) {
    if (c.word('comment')) comment = c.name().text
    else if (c.word('timeout')) timeout = c.duration()
    else if (c.word('expires')) expires = c.duration()
    else break
  }
  return {
    key,
    stmts,
    loc: span(key.loc, c.lastLoc),
    ...(data === undefined ? {} : { data }),
    ...(comment === undefined ? {} : { comment }),
    ...(timeout === undefined ? {} : { timeout }),
    ...(expires === undefined ? {} : { expires }),
  }
}

function parseElemData(c: Cursor): Expr {
  const t = c.peek()
  if (t.kind === 'string' && VERDICTS.has(t.text)) return parseVerdict(c)
  return parseRhsConcat(c)
}

/** accept, drop, continue, return, jump X, goto X */
export function parseVerdict(c: Cursor): VerdictExpr {
  const t = c.next()
  if (t.text !== 'jump' && t.text !== 'goto') return { k: 'verdict', kind: t.text, chain: '', loc: t.loc }
  const name = c.name()
  return { k: 'verdict', kind: t.text, chain: name.text, loc: span(t.loc, name.loc) }
}

/** True when the next token begins a verdict. */
export function isVerdict(c: Cursor): boolean {
  return c.peek().kind === 'string' && VERDICTS.has(c.peek().text) && !c.isWord('queue')
}

/** Right side of a concatenation. */
export function parseRhsConcat(c: Cursor): Expr {
  const first = parseRhsItem(c)
  if (!c.isSym('.')) return first
  const items = [first]
  while (c.sym('.')) {
    c.skipNewlines()
    items.push(parseRhsItem(c))
  }
  return { k: 'concat', items, loc: span(first.loc, items.at(-1)!.loc) }
}

/** A value, `a-b`, `a/len`, or bit operations over values. */
export function parseRhsItem(c: Cursor): Expr {
  const e = parseBinop(c, 1, true)
  if (c.isSym('-')) {
    c.next()
    const hi = parseBinop(c, 1, true)
    return { k: 'range', lo: e, hi, loc: span(e.loc, hi.loc) }
  }
  if (c.isSym('/') && c.peek(1).kind === 'number') {
    c.next()
    const len = c.number()
    return { k: 'prefix', e, len, loc: span(e.loc, c.lastLoc) }
  }
  return e
}

/** What stands right of an operator: a set, a set's name, values with commas. */
export function parseRhs(c: Cursor): Expr {
  if (c.isSym('{') || c.isSym('@')) {
    if (c.isSym('{') || !['ll', 'nh', 'th', 'ih'].includes(c.peek(1).text)) return parseSetOrRef(c)
  }
  const first = parseRhsConcat(c)
  if (!c.isSym(',')) return first
  const items = [first]
  while (c.sym(',')) items.push(parseRhsItem(c))
  return { k: 'list', items, loc: span(first.loc, items.at(-1)!.loc) }
}

function symbol(c: Cursor): Expr {
  const t = c.next()
  return { k: 'sym', text: t.text, quoted: t.kind === 'quoted', num: t.kind === 'number', loc: t.loc }
}

function parsePrimary(c: Cursor, rhs: boolean): Expr {
  const t = c.peek()
  if (t.kind === 'sym') {
    if (t.text === '(') {
      c.next()
      const e = parseBinop(c, 1, rhs)
      c.needSym(')', "')'")
      return { ...e, loc: span(t.loc, c.lastLoc) }
    }
    if (t.text === '@') return parseRaw(c)
    if (t.text === '[' || t.text === ':') c.unexpected()
    return c.unexpected()
  }
  if (t.kind === 'quoted' || t.kind === 'number') return symbol(c)
  if (t.kind !== 'string') return c.unexpected()
  const special = parseKeyword(c, rhs)
  return special ?? symbol(c)
}

function parseKeyword(c: Cursor, rhs: boolean): Expr | null {
  const t = c.peek()
  const p = protoByName(t.text)
  const follow = c.peek(1)
  if (p !== undefined) {
    const e = parsePayload(c, p, rhs)
    if (e !== null) return e
    return null
  }
  switch (t.text) {
    case 'meta':
      return parseMeta(c)
    case 'ct':
      return follow.kind === 'string' ? parseCt(c) : null
    case 'fib':
      return parseFib(c)
    case 'rt':
      return parseRt(c)
    case 'socket':
      return parseSocket(c)
    case 'osf':
      c.next()
      c.needWord('name')
      return { k: 'osf', key: 'name', field: '', t: D.T_STRING, len: 128, loc: span(t.loc, c.lastLoc) }
    case 'numgen':
      return parseNumgen(c)
    case 'jhash':
    case 'symhash':
      return parseHash(c)
    case 'exthdr': {
      c.next()
      const name = c.name(false)
      return { k: 'exthdr', key: name.text, field: '', t: D.T_BOOLEAN, len: 8, loc: span(t.loc, name.loc) }
    }
    case 'hbh':
    case 'frag':
    case 'dst':
    case 'mh':
      return follow.kind === 'string' ? parseExthdr(c) : null
    default:
      break
  }
  if (BARE_META.has(t.text) && !(rhs && t.text !== 'mark')) {
    c.next()
    return { k: 'meta', key: t.text, loc: t.loc }
  }
  return null
}

function parsePayload(c: Cursor, p: Proto, rhs: boolean): Expr | null {
  const head = c.peek()
  const follow = c.peek(1)
  if ((p.name === 'tcp' || p.name === 'ip') && follow.text === 'option' && follow.kind === 'string') {
    return parseOption(c, p.name)
  }
  if (follow.kind !== 'string') {
    if (rhs) return null
    c.next()
    return c.unexpected()
  }
  let name = follow.text
  let n = 2
  if (p.name === 'arp' && (name === 'saddr' || name === 'daddr')) {
    name = `${name} ${c.peek(2).text}`
    n = 3
  }
  // the grammar's word is not the one that is printed
  if (p.name === 'icmpv6' && name === 'parameter-problem') name = ''
  if (p.name === 'icmpv6' && name === 'param-problem') name = 'parameter-problem'
  const field = p.fields.find((f) => f.name === name)
  if (field === undefined) {
    if (rhs) return null
    c.next()
    return c.unexpected()
  }
  for (let i = 0; i < n; i++) c.next()
  return payloadOf(p, field, span(head.loc, c.lastLoc))
}

/** The expression of a header field. */
export function payloadOf(p: Proto, field: Field, loc: Loc): Expr {
  return { k: 'payload', base: p.base, proto: p, field, offset: field.offset, len: field.len, loc }
}

function parseRaw(c: Cursor): Expr {
  const at = c.next()
  const name = c.name(false)
  const base =
    name.text === 'll' ? BASE_LL : name.text === 'nh' ? BASE_NETWORK : name.text === 'th' ? BASE_TRANSPORT : -1
  if (base < 0) throw new NftError(name.loc, 'syntax error, unexpected string')
  c.needSym(',')
  const offset = c.number()
  c.needSym(',')
  const len = c.number()
  return { k: 'payload', base, proto: null, field: null, offset, len, loc: span(at.loc, c.lastLoc) }
}

function parseMeta(c: Cursor): Expr {
  const head = c.next()
  const key = c.name(false)
  const name = key.text === 'obriport' ? 'obrname' : key.text === 'ibriport' ? 'ibrname' : key.text
  if (META_KEYS[name] === undefined) {
    throw new NftError(span(head.loc, key.loc), `syntax error, unexpected ${key.text}, known keys are ${META_KEY_LIST}`)
  }
  return { k: 'meta', key: name, loc: span(head.loc, key.loc) }
}

function parseCt(c: Cursor): Expr {
  const head = c.next()
  let dir = ''
  if (c.isWord('original') || c.isWord('reply')) dir = c.next().text
  let key = c.name(false).text
  if ((key === 'ip' || key === 'ip6') && dir !== '') key = `${key} ${c.name(false).text}`
  if (CT_KEYS[key] === undefined) throw new NftError(c.lastLoc, 'syntax error, unexpected string')
  return { k: 'ct', key, dir, loc: span(head.loc, c.lastLoc) }
}

function parseFib(c: Cursor): Expr {
  const head = c.next()
  const flags: string[] = []
  do {
    if (!['saddr', 'daddr', 'mark', 'iif', 'oif'].includes(c.peek().text)) c.unexpected()
    flags.push(c.next().text)
  } while (c.sym('.'))
  if (!['oif', 'oifname', 'type'].includes(c.peek().text)) c.unexpected('type or oif or oifname')
  const result = c.next()
  return { k: 'fib', flags, result: result.text, loc: span(head.loc, result.loc) }
}

function parseRt(c: Cursor): Expr {
  const head = c.next()
  let key = c.name(false).text
  if (key === 'ip' || key === 'ip6') key = `${key} ${c.name(false).text}`
  const t = RT_KEYS[key]
  if (t !== undefined) return { k: 'rt', key, field: '', t, len: t.size, loc: span(head.loc, c.lastLoc) }
  const field = EXTHDRS.rt?.fields[key]
  if (field === undefined) throw new NftError(c.lastLoc, 'syntax error, unexpected string')
  return optionExpr('exthdr', 'rt', key, field, span(head.loc, c.lastLoc))
}

function parseSocket(c: Cursor): Expr {
  const head = c.next()
  const key = c.name(false).text
  if (key === 'cgroupv2') {
    c.needWord('level')
    const level = c.number()
    return {
      k: 'socket',
      key: `cgroupv2 level ${level}`,
      field: '',
      t: D.T_CGROUPV2,
      len: 64,
      loc: span(head.loc, c.lastLoc),
    }
  }
  const t = SOCKET_KEYS[key]
  if (t === undefined) throw new NftError(c.lastLoc, 'syntax error, unexpected string')
  return { k: 'socket', key, field: '', t, len: Math.max(8, t.size), loc: span(head.loc, c.lastLoc) }
}

function optionExpr(k: 'exthdr' | 'tcpopt' | 'ipopt', key: string, name: string, field: OptionField, loc: Loc): Expr {
  return { k, key, field: name, t: field.type ?? D.integerType(field.len), len: field.len, loc }
}

function parseExthdr(c: Cursor): Expr | null {
  const head = c.peek()
  const field = EXTHDRS[head.text]?.fields[c.peek(1).text]
  if (field === undefined) return null
  c.next()
  const name = c.next().text
  return optionExpr('exthdr', head.text, name, field, span(head.loc, c.lastLoc))
}

function parseOption(c: Cursor, proto: string): Expr {
  const head = c.next()
  c.next()
  const table = proto === 'tcp' ? TCP_OPTIONS : IP_OPTIONS
  const k = proto === 'tcp' ? 'tcpopt' : 'ipopt'
  const name = c.name(false)
  const option = Object.entries(table).find(([n, o]) => n === name.text || o.aliases?.includes(name.text))
  if (option === undefined) throw new NftError(name.loc, 'syntax error, unexpected string')
  const field = c.peek().kind === 'string' ? option[1].fields[c.peek().text] : undefined
  if (field === undefined) {
    return { k, key: option[0], field: '', t: D.T_BOOLEAN, len: 8, loc: span(head.loc, c.lastLoc) }
  }
  const fieldName = c.next().text
  return optionExpr(k, option[0], fieldName, field, span(head.loc, c.lastLoc))
}

function parseNumgen(c: Cursor): Expr {
  const head = c.next()
  const mode = c.name(false)
  if (mode.text !== 'inc' && mode.text !== 'random')
    throw new NftError(mode.loc, 'syntax error, unexpected string, expecting random or inc')
  c.needWord('mod')
  const mod = c.number()
  const offset = c.word('offset') ? c.number() : 0
  return { k: 'numgen', random: mode.text === 'random', mod, offset, loc: span(head.loc, c.lastLoc) }
}

function parseHash(c: Cursor): Expr {
  const head = c.next()
  const e = head.text === 'jhash' ? parseConcat(c) : null
  c.needWord('mod')
  const mod = c.number()
  const seed = head.text === 'jhash' && c.word('seed') ? c.number() : null
  const offset = c.word('offset') ? c.number() : 0
  return { k: 'hash', e, mod, seed, offset, loc: span(head.loc, c.lastLoc) }
}
