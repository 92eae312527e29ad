/**
 * What the kernel refuses of chains and rules.
 *
 * Linux: nft_chain_parse_hook, nft_chain_validate (net/netfilter/nf_tables_api.c), the validate functions of the expressions
 * (nft_nat.c, nft_masq.c, nft_redir.c, nft_reject.c, nft_fib.c, nft_rt.c).
 */
import { type Expr, type HookSpec, type Loc, NftError, type Stmt } from './ast.ts'
import { KERNEL } from './set-build.ts'
import type { NftChain, NftTable, NftTables } from './state.ts'

const INET_HOOKS = ['prerouting', 'input', 'forward', 'output', 'postrouting']
const HOOKS: Readonly<Record<string, readonly string[]>> = {
  ip: INET_HOOKS,
  ip6: INET_HOOKS,
  inet: [...INET_HOOKS, 'ingress'],
  bridge: INET_HOOKS,
  arp: ['input', 'output'],
  netdev: ['ingress', 'egress'],
}
const NAT_HOOKS = ['prerouting', 'input', 'output', 'postrouting']

/** The hook and type of a new base chain. */
export function checkBaseChain(family: string, b: HookSpec, loc: Loc): void {
  if (!['filter', 'nat', 'route'].includes(b.type)) throw new NftError(b.typeLoc, 'unknown chain type')
  if (!HOOKS[family]!.includes(b.hook)) {
    const any = Object.values(HOOKS).some((h) => h.includes(b.hook))
    if (!any) throw new NftError(b.hookLoc, 'unknown chain hook')
    throw new NftError(b.hookLoc, `The ${family} family does not support this hook`)
  }
  const nat = ['ip', 'ip6', 'inet'].includes(family)
  if (b.type === 'nat' && (!nat || !NAT_HOOKS.includes(b.hook))) throw new NftError(loc, KERNEL.EOPNOTSUPP)
  if (b.type === 'route' && (!nat || b.hook !== 'output')) throw new NftError(loc, KERNEL.EOPNOTSUPP)
}

/** Where a statement may stand; null when anywhere. */
function allowedHooks(s: Stmt): { hooks: readonly string[]; type: string } | null {
  switch (s.k) {
    case 'nat':
      if (s.kind === 'dnat' || s.kind === 'redirect') return { hooks: ['prerouting', 'output'], type: 'nat' }
      if (s.kind === 'snat') return { hooks: ['postrouting', 'input'], type: 'nat' }
      return { hooks: ['postrouting'], type: 'nat' }
    case 'reject':
      return { hooks: ['input', 'forward', 'output', 'prerouting', 'ingress'], type: '' }
    case 'synproxy':
      return { hooks: ['input', 'forward'], type: '' }
    case 'match':
      return hooksOfExpr(s.l)
    case 'assign': {
      if (s.target.k === 'meta' && s.target.key === 'pkttype') return { hooks: ['prerouting', 'ingress'], type: '' }
      return hooksOfExpr(s.value)
    }
    default:
      return null
  }
}

function hooksOfExpr(e: Expr): { hooks: readonly string[]; type: string } | null {
  if (e.k === 'rt' && e.key === 'mtu') return { hooks: ['forward', 'output', 'postrouting'], type: '' }
  if (e.k === 'rt' && (e.key === 'nexthop' || e.key.endsWith('nexthop') || e.key === 'classid')) return null
  if (e.k === 'fib' && (e.result === 'oif' || e.result === 'oifname')) {
    return { hooks: ['prerouting', 'input', 'forward', 'ingress'], type: '' }
  }
  if (e.k === 'fib' && e.flags.includes('iif'))
    return { hooks: ['prerouting', 'input', 'forward', 'ingress'], type: '' }
  return null
}

/** Expression init and validate in the chain that the rule is added to. */
export function checkRule(chain: NftChain, stmts: readonly Stmt[], loc: Loc): void {
  for (const s of stmts) {
    if (s.k === 'flow') throw new NftError(s.loc, KERNEL.ENOENT)
    if (s.k === 'match' && s.l.k === 'meta' && s.l.key === 'nftrace') throw new NftError(s.l.loc, KERNEL.EOPNOTSUPP)
    if (s.k === 'match' && s.l.k === 'meta' && (s.l.key === 'ibrname' || s.l.key === 'obrname')) {
      throw new NftError(s.l.loc, KERNEL.EOPNOTSUPP)
    }
    if (s.k === 'set' && s.stmts.some((i) => i.k === 'connlimit')) throw new NftError(s.loc, KERNEL.EOPNOTSUPP)
    const b = chain.spec.base
    if (b === undefined) continue
    const a = allowedHooks(s)
    if (a === null) continue
    if (!a.hooks.includes(b.hook) || (a.type !== '' && a.type !== b.type)) throw new NftError(loc, KERNEL.EOPNOTSUPP)
  }
}

/** True when jumps lead in a circle, or deeper than NFT_JUMP_STACK_SIZE. */
export function checkLoops(tables: NftTables, t: NftTable): boolean {
  const depth = new Map<NftChain, number>()
  const walking = new Set<NftChain>()
  const visit = (chain: NftChain): number => {
    const known = depth.get(chain)
    if (known !== undefined) return known
    if (walking.has(chain)) return Number.POSITIVE_INFINITY
    walking.add(chain)
    let d = 0
    for (const next of targets(tables, chain)) d = Math.max(d, 1 + visit(next))
    walking.delete(chain)
    depth.set(chain, d)
    return d
  }
  // nft_table_validate starts at base chains: a circle that no packet can reach is allowed
  for (const chain of t.chains.values()) if (chain.spec.base !== undefined && visit(chain) >= 16) return true
  return false
}

function targets(tables: NftTables, chain: NftChain): NftChain[] {
  const out: NftChain[] = []
  for (const r of chain.rules) {
    for (const s of r.stmts) {
      if (s.k !== 'verdict') continue
      if (s.e.k === 'verdict') {
        const next = s.e.chain === '' ? undefined : chain.table.chains.get(s.e.chain)
        if (next !== undefined) out.push(next)
        continue
      }
      const set = (s.e.data as { set?: { store: { rows(now: number): number[]; data: Int32Array } } }).set
      if (set === undefined) continue
      for (const row of set.store.rows(-Infinity)) {
        const code = set.store.data[row * 2]!
        const next = code === -3 || code === -4 ? tables.chains[set.store.data[row * 2 + 1]!] : null
        if (next != null) out.push(next)
      }
    }
  }
  return out
}
