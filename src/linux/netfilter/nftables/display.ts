/**
 * A rule as nft shows it: matches that only say what a later one needs are left out again.
 *
 * nft: src/netlink_delinearize.c, src/payload.c (payload_dependency_store, payload_dependency_kill), 1.0.6. `meta l4proto`,
 * `ip protocol` and `meta nfproto` with one value wait as a dependency of the next header; the first expression that reads
 * that header takes them away. Flags with a mask become `flags value / mask`; a mask of leading ones a prefix.
 */
import type { Expr, MatchStmt, Stmt } from './ast.ts'
import * as P from './protocols.ts'

interface Deps {
  ll: number
  nh: number
  th: number
  icmp: number
}

/** The statements to print. */
export function displayStmts(family: string, stmts: readonly Stmt[]): Stmt[] {
  const out: (Stmt | null)[] = stmts.map(showOperator)
  const deps: Deps = { ll: -1, nh: -1, th: -1, icmp: -1 }
  out.forEach((s, i) => {
    if (s === null) return
    for (const e of exprsOf(s)) walk(e, (p) => kill(family, out, deps, p))
    if (s.k === 'reject') killForReject(family, out, deps, s.type)
    if (s.k === 'match') store(family, out, deps, s, i)
  })
  const kept: Stmt[] = []
  for (const s of out) {
    if (s === null) continue
    if (s.k === 'reject')
      kept.push(
        Object.assign({ ...s }, { familyNamed: family === 'inet' || family === 'bridge' ? s.type !== 'icmpx' : false }),
      )
    else if (s.k === 'assign') kept.push(s)
    else kept.push(s)
  }
  return kept
}

/** Every expression in a statement that reads the packet. */
function exprsOf(s: Stmt): Expr[] {
  switch (s.k) {
    case 'match':
      return [s.l]
    case 'verdict':
      return [s.e]
    case 'nat':
      return [s.addr, s.port].filter((e) => e !== undefined)
    case 'assign':
      return [s.target, s.value]
    case 'set':
      return s.data === undefined ? [s.key] : [s.key, s.data]
    case 'objref':
      return [s.name]
    case 'dup':
    case 'fwd':
      return [s.to]
    default:
      return []
  }
}

function walk(e: Expr, f: (e: Expr) => void): void {
  switch (e.k) {
    case 'concat':
      for (const i of e.items) walk(i, f)
      return
    case 'binop':
      walk(e.l, f)
      walk(e.r, f)
      return
    case 'map':
      walk(e.key, f)
      return
    case 'hash':
      if (e.e !== null) walk(e.e, f)
      return
    default:
      f(e)
  }
}

const MIXED = new Set(['inet', 'bridge', 'netdev'])

function take(out: (Stmt | null)[], deps: Deps, which: keyof Deps): void {
  if (deps[which] < 0) return
  out[deps[which]] = null
  deps[which] = -1
}

/** payload_dependency_kill */
function kill(family: string, out: (Stmt | null)[], deps: Deps, e: Expr): void {
  if (e.k === 'ct' && (e.key.startsWith('ip ') || e.key.startsWith('ip6 '))) take(out, deps, 'nh')
  if (e.k === 'tcpopt') take(out, deps, 'th')
  if (e.k === 'exthdr' || e.k === 'ipopt') take(out, deps, 'nh')
  if (e.k !== 'payload') return
  if (e.base === P.BASE_LL) {
    take(out, deps, 'll')
    if (e.proto === P.P_VLAN) take(out, deps, 'nh')
    return
  }
  if (e.base === P.BASE_NETWORK) {
    take(out, deps, 'nh')
    return
  }
  const dep = deps.th < 0 ? null : (out[deps.th] as MatchStmt)
  const keep = dep !== null && MIXED.has(family) && dep.l.k === 'payload'
  if (!keep) take(out, deps, 'th')
  if (e.proto === P.P_ICMP || e.proto === P.P_ICMPV6) {
    const types = e.field === null ? undefined : P.ICMP_FIELD_TYPES[`${e.proto.name} ${e.field.name}`]
    if (types?.length === 1 && deps.icmp >= 0) take(out, deps, 'icmp')
  }
}

function killForReject(family: string, out: (Stmt | null)[], deps: Deps, type: string): void {
  if ((family === 'ip' || family === 'ip6') && type === 'tcp') take(out, deps, 'th')
  if (MIXED.has(family) && (type === 'icmp' || type === 'icmpv6')) take(out, deps, 'nh')
}

/** payload_dependency_store */
function store(family: string, out: (Stmt | null)[], deps: Deps, s: MatchStmt, i: number): void {
  if (s.op !== '' || s.r.k !== 'val') return
  const l = s.l
  if (l.k === 'meta') {
    if (l.key === 'l4proto') deps.th = i
    else if (l.key === 'nfproto') deps.nh = i
    else if (l.key === 'protocol') {
      deps.nh = i
      if (family === 'ip' || family === 'ip6') out[i] = null
    } else if (l.key === 'iiftype' && s.r.v === 1n) deps.ll = i
    return
  }
  if (l.k !== 'payload' || l.field === null) return
  if (l.field.name === 'protocol' || (l.field.name === 'nexthdr' && l.proto === P.P_IP6)) deps.th = i
  else if (l.proto?.base === P.BASE_LL && l.field.name === 'type') deps.nh = i
  else if (l.field.name === 'type' && (l.proto === P.P_ICMP || l.proto === P.P_ICMPV6)) deps.icmp = i
}

/** relational_binop_postprocess */
function showOperator(s: Stmt): Stmt {
  if (s.k !== 'match' || s.l.k !== 'binop' || s.l.op !== '&' || s.l.r.k !== 'val' || s.r.k !== 'val') return s
  if (s.op !== '' && s.op !== '==' && s.op !== '!=') return s
  const mask = s.l.r
  const t = mask.t
  if (t.bitmask) {
    if (s.r.v === 0n) {
      return { ...s, op: s.op === '!=' ? '' : '!', l: s.l.l, r: mask }
    }
    const many = (mask.v & (mask.v - 1n)) !== 0n
    if (many)
      return { ...s, l: s.l.l, op: s.op === '!=' ? '!=' : '==', r: { k: 'flagcmp', value: s.r, mask, loc: s.loc } }
    return s
  }
  if (t.format === 'ipv4' || t.format === 'ipv6' || t.format === 'mark') {
    const len = t.size
    let ones = 0
    while (ones < len && ((mask.v >> BigInt(len - 1 - ones)) & 1n) === 1n) ones++
    if (mask.v === ((1n << BigInt(ones)) - 1n) << BigInt(len - ones) && ones > 0) {
      return { ...s, op: s.op === '!=' ? '!=' : '', l: s.l.l, r: { k: 'prefix', e: s.r, len: ones, loc: s.r.loc } }
    }
  }
  return s
}
