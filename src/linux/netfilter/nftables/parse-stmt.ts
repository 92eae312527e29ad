/**
 * Statements of nft's grammar.
 *
 * nft: src/parser_bison.y (1.0.6): stmt and what it leads to.
 */
import { type Expr, type LogStmt, NAT_FLAGS, NftError, type Stmt, span } from './ast.ts'
import type { Cursor } from './cursor.ts'
import { isVerdict, parseConcat, parseExpr, parseRhs, parseRhsItem, parseSetOrRef, parseVerdict } from './parse-expr.ts'

const TIME_UNITS = ['second', 'minute', 'hour', 'day', 'week']
const BYTE_UNITS: Readonly<Record<string, number>> = { bytes: 1, kbytes: 1024, mbytes: 1024 * 1024 }
const LOG_LEVELS = ['emerg', 'alert', 'crit', 'err', 'warn', 'notice', 'info', 'debug', 'audit']

/** The statements of a rule up to its end or its comment. */
export function parseStmts(c: Cursor): { stmts: Stmt[]; comment: string | null } {
  const stmts: Stmt[] = []
  if (c.atEnd || c.isWord('comment')) c.unexpected()
  while (!c.atEnd && !c.isWord('comment')) stmts.push(parseStmt(c))
  let comment: string | null = null
  if (c.word('comment')) comment = c.name().text
  return { stmts, comment }
}

/** counter, limit, quota, ct count: what elements may carry. */
export function parseElementStmt(c: Cursor): Stmt {
  if (c.isWord('ct')) return parseConnlimit(c)
  return parseStmt(c)
}

/** One statement. */
export function parseStmt(c: Cursor): Stmt {
  const t = c.peek()
  if (t.kind === 'string') {
    if (isVerdict(c)) {
      const e = parseVerdict(c)
      return { k: 'verdict', e, loc: e.loc }
    }
    switch (t.text) {
      case 'counter':
        return parseCounter(c)
      case 'limit':
        return parseLimit(c)
      case 'quota':
        return parseQuota(c)
      case 'log':
        return parseLog(c)
      case 'reject':
        return parseReject(c)
      case 'dnat':
      case 'snat':
      case 'masquerade':
      case 'redirect':
        return parseNat(c)
      case 'notrack':
        c.next()
        return { k: 'notrack', text: 'notrack', loc: t.loc }
      case 'queue':
        return parseQueue(c)
      case 'synproxy':
        return parseWords(c, 'synproxy')
      case 'add':
      case 'update':
      case 'delete':
        if (c.isSym('@', 1)) return parseSetStmt(c)
        break
      case 'set':
        return parseOldSetStmt(c)
      case 'dup':
      case 'fwd':
        return parseDup(c)
      case 'flow': {
        c.next()
        if (!c.word('add') && !c.word('offload')) c.unexpected()
        c.needSym('@')
        const name = c.name()
        return { k: 'flow', name: name.text, loc: span(t.loc, name.loc) }
      }
      case 'ct':
        if (c.isWord('count', 1)) return parseConnlimit(c)
        if (c.isWord('helper', 1) && c.isWord('set', 2)) return parseObjref(c, 'ct helper', 3)
        if (c.isWord('timeout', 1) && c.isWord('set', 2)) return parseObjref(c, 'ct timeout', 3)
        if (c.isWord('expectation', 1) && c.isWord('set', 2)) return parseObjref(c, 'ct expectation', 3)
        break
      default:
        break
    }
  }
  return parseMatch(c)
}

function parseObjref(c: Cursor, type: string, words: number): Stmt {
  const head = c.peek()
  for (let i = 0; i < words; i++) c.next()
  const name = parseExpr(c)
  return { k: 'objref', type, name, loc: span(head.loc, name.loc) }
}

/** A comparison, `vmap`, or `x set y`. */
function parseMatch(c: Cursor): Stmt {
  const start = c.peek()
  const l = parseConcat(c)
  if (c.isWord('vmap')) {
    c.next()
    const data = parseSetOrRef(c)
    const e = { k: 'map' as const, key: l, data, loc: span(l.loc, data.loc) }
    return { k: 'verdict', e, loc: e.loc }
  }
  if (c.isWord('set') && ['meta', 'ct', 'payload', 'tcpopt', 'exthdr', 'ipopt'].includes(l.k)) {
    c.next()
    const value = parseAssigned(c)
    return { k: 'assign', target: l, value, loc: span(l.loc, value.loc) }
  }
  let op: '' | '==' | '!=' | '<' | '>' | '<=' | '>=' | '!' = ''
  const t = c.peek()
  if (t.kind === 'sym' && ['==', '!=', '<', '>', '<=', '>=', '!'].includes(t.text)) {
    op = t.text as typeof op
    c.next()
  } else if (t.kind === 'string') {
    const word = ({ eq: '==', ne: '!=', lt: '<', gt: '>', le: '<=', ge: '>=' } as const)[t.text as 'eq']
    if (word !== undefined) {
      op = word
      c.next()
    }
  }
  if (l.k === 'sym') return c.unexpected()
  if (c.atEnd) c.unexpected()
  const r = parseRhs(c)
  if (c.isSym('/') && (r.k === 'sym' || r.k === 'list')) {
    c.next()
    const mask = parseRhs(c)
    const e: Expr = { k: 'flagcmp', value: r, mask, loc: span(r.loc, mask.loc) }
    return { k: 'match', op: op === '' ? '==' : op, l, r: e, loc: span(start.loc, mask.loc) }
  }
  return { k: 'match', op, l, r, loc: span(start.loc, r.loc) }
}

/** The value of `x set`: an expression that may read the packet, a map, or values with commas. */
function parseAssigned(c: Cursor): Expr {
  const e = parseExpr(c)
  if (e.k !== 'sym' || !c.isSym(',')) return e
  const items: Expr[] = [e]
  while (c.sym(',')) items.push(parseRhsItem(c))
  return { k: 'list', items, loc: span(e.loc, items.at(-1)!.loc) }
}

function parseCounter(c: Cursor): Stmt {
  const head = c.next()
  if (c.word('name')) {
    const name = parseExpr(c)
    return { k: 'objref', type: 'counter', name, loc: span(head.loc, name.loc) }
  }
  let packets = 0
  let bytes = 0
  if (c.word('packets')) {
    packets = c.number()
    c.needWord('bytes')
    bytes = c.number()
  }
  return { k: 'counter', packets, bytes, loc: span(head.loc, c.lastLoc) }
}

/** limit_bytes and the burst of packets. */
function amount(c: Cursor): { n: number; bytes: boolean; per: string } {
  const n = c.number('number')
  const unit = c.peek()
  if (unit.kind === 'string' && BYTE_UNITS[unit.text] !== undefined) {
    c.next()
    return { n: n * BYTE_UNITS[unit.text]!, bytes: true, per: '' }
  }
  // the scanner takes `mbytes/second` for one word
  const [bytes, per] = unit.kind === 'string' ? unit.text.split('/') : []
  if (per !== undefined && BYTE_UNITS[bytes!] !== undefined && TIME_UNITS.includes(per)) {
    c.next()
    return { n: n * BYTE_UNITS[bytes!]!, bytes: true, per }
  }
  c.word('packets')
  return { n, bytes: false, per: '' }
}

function parseLimit(c: Cursor): Stmt {
  const head = c.next()
  if (c.word('name')) {
    const name = parseExpr(c)
    return { k: 'objref', type: 'limit', name, loc: span(head.loc, name.loc) }
  }
  c.needWord('rate')
  return limitBody(c, head.loc)
}

/** What follows `limit rate`, or `rate` in a limit object. */
export function limitBody(c: Cursor, head: { line: number; first: number; last: number }): Stmt {
  const over = c.word('over')
  if (!over) c.word('until')
  const rate = amount(c)
  let per = rate.per
  if (per === '') {
    c.needSym('/')
    const unit = c.peek()
    if (unit.kind !== 'string' || !TIME_UNITS.includes(unit.text)) c.unexpected()
    per = c.next().text
  }
  let burst = rate.bytes ? 0 : 5
  if (c.word('burst')) burst = amount(c).n
  return { k: 'limit', rate: rate.n, per, burst, bytes: rate.bytes, over, loc: span(head, c.lastLoc) }
}

function parseQuota(c: Cursor): Stmt {
  const head = c.next()
  if (c.word('name')) {
    const name = parseExpr(c)
    return { k: 'objref', type: 'quota', name, loc: span(head.loc, name.loc) }
  }
  return quotaBody(c, head.loc)
}

/** What follows `quota`, or stands in a quota object. */
export function quotaBody(c: Cursor, head: { line: number; first: number; last: number }): Stmt {
  const over = c.word('over')
  if (!over) c.word('until')
  const bytes = amount(c).n
  const used = c.word('used') ? amount(c).n : 0
  return { k: 'quota', bytes, used, over, loc: span(head, c.lastLoc) }
}

function parseLog(c: Cursor): Stmt {
  const head = c.next()
  let s: LogStmt = { k: 'log', flags: [], loc: head.loc }
  for (;;) {
    if (c.word('prefix'))
      s = { ...s, prefix: c.name(true, 'string or quoted string or string with a trailing asterisk').text }
    else if (c.word('group')) s = { ...s, group: c.number() }
    else if (c.word('snaplen')) s = { ...s, snaplen: c.number() }
    else if (c.word('queue-threshold')) s = { ...s, queueThreshold: c.number() }
    else if (c.word('level')) {
      const t = c.name()
      if (!LOG_LEVELS.includes(t.text)) throw new NftError(t.loc, 'invalid log level')
      s = { ...s, level: t.text }
    } else if (c.word('flags')) s = { ...s, flags: [...s.flags, ...logFlags(c)] }
    else break
  }
  return { ...s, loc: span(head.loc, c.lastLoc) }
}

function logFlags(c: Cursor): string[] {
  const t = c.name()
  switch (t.text) {
    case 'tcp': {
      const out: string[] = []
      do {
        const w = c.name()
        if (w.text !== 'sequence' && w.text !== 'options') throw new NftError(w.loc, 'syntax error, unexpected string')
        out.push(`tcp ${w.text}`)
      } while (c.sym(','))
      return out
    }
    case 'ip':
      c.needWord('options')
      return ['ip options']
    case 'skuid':
    case 'ether':
    case 'all':
      return [t.text]
    default:
      throw new NftError(t.loc, 'syntax error, unexpected string')
  }
}

const REJECT_TYPES = ['icmp', 'icmpv6', 'icmpx']

function parseReject(c: Cursor): Stmt {
  const head = c.next()
  if (!c.word('with')) return { k: 'reject', type: '', code: -1, loc: head.loc }
  const t = c.peek()
  if (c.word('tcp')) {
    c.needWord('reset')
    return { k: 'reject', type: 'tcp', code: 0, loc: span(head.loc, c.lastLoc) }
  }
  if (t.kind !== 'string' || !REJECT_TYPES.includes(t.text)) c.unexpected('icmp or icmpv6 or tcp or icmpx')
  c.next()
  c.word('type')
  const codeExpr = parseExpr(c)
  return { k: 'reject', type: t.text, code: -1, codeExpr, loc: span(head.loc, codeExpr.loc) }
}

const NAT_FLAG_WORDS = new Set(NAT_FLAGS)

function natFlags(c: Cursor): string[] {
  const found = new Set<string>()
  while (c.peek().kind === 'string' && NAT_FLAG_WORDS.has(c.peek().text)) {
    found.add(c.next().text)
    if (!c.sym(',')) break
  }
  return NAT_FLAGS.filter((f) => found.has(f))
}

function parseNat(c: Cursor): Stmt {
  const head = c.next()
  const kind = head.text as 'dnat' | 'snat' | 'masquerade' | 'redirect'
  let family = ''
  let typeFlag = ''
  let addr: Expr | undefined
  let port: Expr | undefined
  if (kind === 'masquerade' || kind === 'redirect') {
    if (c.word('to')) {
      c.sym(':')
      port = natValue(c)
    }
  } else {
    if ((c.isWord('ip') || c.isWord('ip6')) && ['to', 'prefix', 'interval', 'addr'].includes(c.peek(1).text))
      family = c.next().text
    if (c.isWord('prefix') || c.isWord('interval')) typeFlag = c.next().text
    if (c.word('addr')) {
      c.needSym('.')
      c.needWord('port')
    }
    c.word('to')
    if (!c.isSym(':')) {
      if (c.isSym('[')) {
        // one token of nft's scanner: the brackets hold one address
        if (c.peek(2).text !== ']') c.unexpected()
        c.next()
        addr = natValue(c)
        c.needSym(']')
        if (c.sym('-')) {
          c.needSym('[')
          const hi = natValue(c)
          c.needSym(']')
          addr = { k: 'range', lo: addr, hi, loc: span(addr.loc, hi.loc) }
        }
      } else addr = natValue(c)
    }
    if (c.sym(':')) port = natValue(c)
  }
  const flags = natFlags(c)
  return {
    k: 'nat',
    kind,
    family,
    flags,
    typeFlag,
    head: head.loc,
    loc: span(head.loc, c.lastLoc),
    ...(addr === undefined ? {} : { addr }),
    ...(port === undefined ? {} : { port }),
  }
}

/** An address, a port, a range of them, or a map that gives them. */
function natValue(c: Cursor): Expr {
  const at = c.mark()
  const e = parseExpr(c)
  if (e.k !== 'sym') return e
  c.reset(at)
  return parseRhsItem(c)
}

function parseSetStmt(c: Cursor): Stmt {
  const op = c.next()
  const at = c.needSym('@')
  const name = c.name()
  c.needSym('{')
  const e = setElement(c)
  let data: Expr | undefined
  if (c.sym(':')) data = parseConcat(c)
  const close = c.needSym('}')
  return {
    k: 'set',
    op: op.text as 'add' | 'update' | 'delete',
    set: name.text,
    setLoc: span(at.loc, name.loc),
    ...e,
    ...(data === undefined ? {} : { data }),
    loc: span(op.loc, close.loc),
  }
}

function setElement(c: Cursor): { key: Expr; timeout?: number; stmts: Stmt[] } {
  const key = parseConcat(c)
  let timeout: number | undefined
  const stmts: Stmt[] = []
  for (;;) {
    if (c.word('timeout')) timeout = c.duration()
    else if (c.isWord('counter') || c.isWord('limit') || c.isWord('quota') || c.isWord('ct'))
      stmts.push(parseElementStmt(c))
    else break
  }
  return { key, stmts, ...(timeout === undefined ? {} : { timeout }) }
}

/** The older form: `set add KEY @set`. */
function parseOldSetStmt(c: Cursor): Stmt {
  const head = c.next()
  const op = c.name(false)
  if (!['add', 'update', 'delete'].includes(op.text)) throw new NftError(op.loc, 'syntax error, unexpected string')
  const e = setElement(c)
  const at = c.needSym('@')
  const name = c.name()
  return {
    k: 'set',
    op: op.text as 'add' | 'update' | 'delete',
    set: name.text,
    setLoc: span(at.loc, name.loc),
    ...e,
    loc: span(head.loc, name.loc),
  }
}

function parseConnlimit(c: Cursor): Stmt {
  const head = c.next()
  c.needWord('count')
  const over = c.word('over')
  const count = c.number()
  return { k: 'connlimit', count, over, loc: span(head.loc, c.lastLoc) }
}

function parseDup(c: Cursor): Stmt {
  const head = c.next()
  c.needWord('to')
  const to = parseExpr(c)
  let dev: Expr | undefined
  if (c.word('device')) dev = parseExpr(c)
  return { k: head.text as 'dup' | 'fwd', to, loc: span(head.loc, c.lastLoc), ...(dev === undefined ? {} : { dev }) }
}

/** `queue [num N[-M]] [bypass] [fanout]`, `queue flags F to N` */
function parseQueue(c: Cursor): Stmt {
  const head = c.next()
  let flags: string[] = []
  let to = ''
  const flagList = (): void => {
    do flags.push(c.name().text)
    while (c.sym(','))
  }
  const range = (): string => {
    const a = c.number()
    return c.sym('-') ? `${a}-${c.number()}` : `${a}`
  }
  if (c.word('flags')) flagList()
  if (c.word('to') || c.word('num')) to = range()
  if (c.isWord('bypass') || c.isWord('fanout')) flagList()
  flags = ['bypass', 'fanout'].filter((f) => flags.includes(f))
  const text = `queue${flags.length > 0 ? ` flags ${flags.join(',')}` : ''} to ${to === '' ? '0' : to}`
  return { k: 'queue', text, loc: span(head.loc, c.lastLoc) }
}

/** A statement that is held as its words. */
function parseWords(c: Cursor, k: 'synproxy'): Stmt {
  const head = c.next()
  const words = [head.text]
  while (!c.atEnd && ['mss', 'wscale', 'timestamp', 'sack-perm'].includes(c.peek().text)) {
    words.push(c.next().text)
    if (c.peek().kind === 'number') words.push(c.next().text)
  }
  return { k, text: words.join(' '), loc: span(head.loc, c.lastLoc) }
}
