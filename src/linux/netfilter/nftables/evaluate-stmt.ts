/**
 * Statements of a rule: types given, dependencies added, order checked.
 *
 * nft: src/evaluate.c (stmt_evaluate and what it calls), 1.0.6. Expressions are in evaluate.ts.
 */
import { type Expr, type Loc, type MatchStmt, type NatStmt, NftError, type RejectStmt, type Stmt, span } from './ast.ts'
import * as D from './datatypes.ts'
import {
  compatible,
  type EvalContext,
  evalLeft,
  evalMap,
  evalRight,
  evalValue,
  needNetwork,
  needTransport,
  readsPacket,
  typeName,
  typeOf,
  typesOf,
} from './evaluate.ts'
import * as P from './protocols.ts'
import type { FieldType } from './state.ts'

/** Notes what a match says about the protocols that follow. */
function learn(x: EvalContext, s: MatchStmt): void {
  if ((s.op !== '' && s.op !== '==') || s.r.k !== 'val') {
    if (s.l.k === 'payload' && s.l.field?.name === 'type' && s.r.k === 'setref') x.icmpType = null
    return
  }
  const n = Number(s.r.v)
  const l = s.l
  if (
    (l.k === 'meta' && l.key === 'l4proto') ||
    (l.k === 'payload' && (l.field?.name === 'protocol' || l.field?.name === 'nexthdr'))
  ) {
    const p = P.transportProto(n)
    if (p !== undefined && x.th === '') {
      x.th = p.name
      x.thLoc = l.loc
    }
  } else if (l.k === 'meta' && l.key === 'nfproto') {
    if (x.nh === '') x.nh = n === 2 ? 'ip' : n === 10 ? 'ip6' : ''
  } else if (
    (l.k === 'meta' && l.key === 'protocol') ||
    (l.k === 'payload' && l.proto?.base === P.BASE_LL && l.field?.name === 'type')
  ) {
    const p = P.networkProto(n)
    if (p !== undefined && x.nh === '') x.nh = p.name
  } else if (l.k === 'payload' && l.field?.name === 'type' && (l.proto === P.P_ICMP || l.proto === P.P_ICMPV6))
    x.icmpType = [n]
}

/** stmt_evaluate_expr: a comparison. */
function evalMatch(x: EvalContext, s: MatchStmt): void {
  let l = evalLeft(x, s.l)
  if (l.k === 'meta' && l.key === 'secmark')
    throw new NftError(s.r.loc, 'Cannot be used with right hand side constant value', [l.loc])
  if (l.k === 'fib' && s.r.k === 'sym' && (s.r.text === 'exists' || s.r.text === 'missing')) l = { ...l, present: true }
  const r = evalRight(x, l, s.r, s)
  let op = s.op
  const f = typeOf(l)
  if (s.r.k === 'set' && op === '==') op = ''
  // an operator that was written out counts only for flags, where the implicit one means `any of`
  if (op === '==' && !(f.t.bitmask && r.k === 'val' && l.k !== 'binop') && r.k !== 'flagcmp') op = ''
  const m: MatchStmt = { ...s, op, l, r }
  x.out.push(m)
  learn(x, m)
}

function evalNat(x: EvalContext, s: NatStmt): Stmt {
  if (s.family !== '' && x.family !== 'inet' && s.family !== x.family) {
    throw new NftError(
      s.head,
      `conflicting protocols specified: ${x.family} vs. ${s.family}. You must specify ip or ip6 family in nat statement`,
    )
  }
  let family = s.family
  if (family === '') family = x.family === 'inet' ? (s.addr === undefined ? '' : x.nh) : x.family
  if (s.addr !== undefined && family === '' && x.family === 'inet') {
    throw new NftError(s.head, 'ip or ip6 must be specified with address for inet tables.')
  }
  let addr = s.addr
  const t = family === 'ip6' ? D.T_IPV6 : D.T_IPV4
  let explicit = s.family !== '' || (x.family === 'inet' && s.addr !== undefined)
  const typeFlag = s.typeFlag
  if (addr !== undefined) {
    if (addr.k === 'map') {
      const concat = addr.data.k === 'set' && addr.data.elems.some((e) => e.data?.k === 'concat')
      const want = concat
        ? [
            { t, len: t.size },
            { t: D.T_SERVICE, len: 16 },
          ]
        : [{ t, len: t.size }]
      addr = evalMap(x, addr.key, addr.data, want, addr.loc)
      if (typesOf(addr).length > 1) explicit = true
    } else addr = readsPacket(addr) ? evalLeft(x, addr) : evalValue(x, addr, { t, len: t.size })
    addr = asPrefix(addr, t.size)
  }
  let port = s.port
  if (port !== undefined) {
    if (x.th === '' && !knowsTransport(x)) {
      throw new NftError(port.loc, 'transport protocol mapping is only valid after transport protocol match', [
        s.kind === 'masquerade' || s.kind === 'redirect' ? s.head : s.head,
      ])
    }
    if (port.k === 'map') port = evalMap(x, port.key, port.data, [{ t: D.T_SERVICE, len: 16 }], port.loc)
    else port = readsPacket(port) ? evalLeft(x, port) : evalValue(x, port, { t: D.T_SERVICE, len: 16 })
  }
  const { addr: _a, port: _p, ...rest } = s
  return {
    ...rest,
    family: explicit && addr !== undefined ? family : '',
    typeFlag,
    ...(addr === undefined ? {} : { addr }),
    ...(port === undefined ? {} : { port }),
  }
}

/** range_expr_reduce: a range of addresses that is a prefix. */
function asPrefix(e: Expr, len: number): Expr {
  if (e.k !== 'range' || e.lo.k !== 'val' || e.hi.k !== 'val') return e
  const size = e.hi.v - e.lo.v + 1n
  if ((size & (size - 1n)) !== 0n || e.lo.v % size !== 0n) return e
  return { k: 'prefix', e: e.lo, len: len - (size.toString(2).length - 1), loc: e.loc }
}

/** A set of transport protocols was matched: good enough for a port. */
function knowsTransport(x: EvalContext): boolean {
  return x.out.some(
    (s) =>
      s.k === 'match' &&
      ((s.l.k === 'meta' && s.l.key === 'l4proto') ||
        (s.l.k === 'payload' && (s.l.field?.name === 'protocol' || s.l.field?.name === 'nexthdr'))),
  )
}

/** The word `reject`. */
function rejectHead(s: RejectStmt): Loc {
  return { ...s.loc, last: s.loc.first + 'reject'.length - 1 }
}

function evalReject(x: EvalContext, s: RejectStmt): Stmt {
  let type = s.type
  let code = 0
  if (type === 'tcp') {
    if (x.th !== '' && x.th !== 'tcp') {
      throw new NftError(
        rejectHead(s),
        'you cannot use tcp reset with this protocol',
        x.thLoc === null ? [] : [x.thLoc],
      )
    }
    if (x.th === '') needTransport(x, P.P_TCP, s.loc)
    return { k: 'reject', type, code, loc: s.loc }
  }
  if (type === '') {
    type = x.nh === 'ip' ? 'icmp' : x.nh === 'ip6' ? 'icmpv6' : 'icmpx'
    code = type === 'icmp' ? 3 : type === 'icmpv6' ? 4 : 1
    return { k: 'reject', type, code, loc: s.loc }
  }
  const t = type === 'icmp' ? D.T_ICMP_CODE : type === 'icmpv6' ? D.T_ICMPV6_CODE : D.T_ICMPX_CODE
  const nh = type === 'icmp' ? 'ip' : 'ip6'
  if (type !== 'icmpx') {
    if (x.nh !== '' && x.nh !== nh) {
      throw new NftError(s.codeExpr?.loc ?? s.loc, 'conflicting protocols specified: ip vs ip6', [rejectHead(s)])
    }
    if (x.nh === '') needNetwork(x, nh, s.loc)
  } else if (x.family === 'ip' || x.family === 'ip6') {
    throw new NftError(s.codeExpr?.loc ?? s.loc, 'abstracted ICMP unreachable not supported', [rejectHead(s)])
  }
  const e = evalValue(x, s.codeExpr!, { t, len: 8 })
  if (e.k === 'val') code = Number(e.v)
  return { k: 'reject', type, code, loc: s.loc }
}

/** All statements of a rule. */
export function evalStmts(x: EvalContext, stmts: readonly Stmt[]): void {
  for (const s of stmts) {
    if (x.terminal !== null) {
      throw new NftError(s.loc, 'Statement after terminal statement has no effect', [x.terminal])
    }
    evalStmt(x, s)
  }
}

function evalStmt(x: EvalContext, s: Stmt): void {
  switch (s.k) {
    case 'match':
      evalMatch(x, s)
      return
    case 'verdict': {
      if (s.e.k === 'map') {
        x.out.push({ ...s, e: evalMap(x, s.e.key, s.e.data, [], s.e.loc) as typeof s.e })
        return
      }
      needChain(x, s.e.chain, s.e.loc)
      if (s.e.kind !== 'continue') x.terminal = s.loc
      x.out.push(s)
      return
    }
    case 'nat':
      x.out.push(evalNat(x, s))
      x.terminal = s.loc
      return
    case 'reject': {
      x.out.push(evalReject(x, s))
      x.terminal = s.loc
      return
    }
    case 'objref': {
      const name = s.name
      if (name.k === 'map') {
        x.out.push({ ...s, name: evalMap(x, name.key, name.data, [], name.loc) })
        return
      }
      if (name.k !== 'sym') throw new NftError(name.loc, 'syntax error, unexpected string')
      if (!x.table.objects.has(`${s.type} ${name.text}`)) missing(name.loc)
      x.out.push(s)
      return
    }
    case 'assign':
      evalAssign(x, s.target, s.value, s.loc)
      return
    case 'set': {
      const set = x.table.sets.get(s.set)
      if (set === undefined) throw new NftError(s.setLoc, 'No such file or directory')
      const key = evalLeft(x, s.key)
      const types = typesOf(key)
      if (types.length !== set.key.length || !types.every((f, i) => compatible(f, set.key[i]!))) {
        throw new NftError(
          s.key.loc,
          `datatype mismatch: expected ${typeName(set.key)}, expression has type ${typeName(types)}`,
          [s.loc],
        )
      }
      const data =
        s.data === undefined
          ? undefined
          : readsPacket(s.data)
            ? evalLeft(x, s.data)
            : evalValue(x, s.data, set.data[0]!)
      x.out.push({ ...s, key, ...(data === undefined ? {} : { data }) })
      return
    }
    case 'dup':
    case 'fwd': {
      const isDev = s.k === 'fwd' || x.family === 'netdev'
      const f: FieldType = isDev
        ? { t: D.T_IFINDEX, len: 32 }
        : x.family === 'ip6'
          ? { t: D.T_IPV6, len: 128 }
          : { t: D.T_IPV4, len: 32 }
      const to = readsPacket(s.to) ? evalLeft(x, s.to) : evalValue(x, s.to, f)
      const dev = s.dev === undefined ? undefined : evalValue(x, s.dev, { t: D.T_IFINDEX, len: 32 })
      x.out.push({ ...s, to, ...(dev === undefined ? {} : { dev }) })
      if (s.k === 'fwd') x.terminal = s.loc
      return
    }
    case 'queue':
      x.out.push(s)
      x.terminal = s.loc
      return
    default:
      x.out.push(s)
  }
}

/** The chain of a jump must exist in the table. */
function needChain(x: EvalContext, name: string, loc: Loc): void {
  if (name === '' || x.table.chains.has(name)) return
  missing({ ...loc, first: loc.last - name.length + 1 })
}

/** What a rule names does not exist. */
function missing(loc: Loc): never {
  throw new NftError(loc, 'No such file or directory', [], true)
}

/** `x set y` */
function evalAssign(x: EvalContext, target: Expr, v: Expr, loc: Loc): void {
  const l = evalLeft(x, target)
  const f = typeOf(l)
  if (l.k === 'meta' && l.key === 'secmark' && !readsPacket(v))
    throw new NftError(v.loc, 'Cannot be used with right hand side constant value', [l.loc])
  let val: Expr
  if (v.k === 'map') val = evalMap(x, v.key, v.data, [f], v.loc)
  else if (readsPacket(v)) {
    val = evalLeft(x, v)
    const got = typeOf(val)
    if (got.t.name !== f.t.name && got.t.name !== 'integer' && f.t.name !== 'integer') {
      throw new NftError(val.loc, `datatype mismatch: expected ${f.t.desc}, expression has type ${got.t.desc}`, [
        span(target.loc, v.loc),
      ])
    }
  } else val = evalValue(x, v, f)
  x.out.push({ k: 'assign', target: l, value: val, loc })
}
