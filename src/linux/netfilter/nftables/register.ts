/**
 * Base chains on their hooks.
 *
 * Linux: nf_tables_register_hook: filter and route chains hang on the hook points themselves; nat chains on the NAT hook,
 * which asks them in order of priority for a connection's first packet (nf_nat_register_fn). What needs conntrack turns it
 * on (nf_ct_netns_get in the init functions of ct, nat, masq, redir); it stays on, as iptables' does here.
 *
 * Not modelled: connection tracking in family bridge (nf_conntrack_bridge): a frame that the bridge takes ends as
 * UNMODELLED.
 */
import { nfConntrackGet } from '../conntrack/table.ts'
import type { NfState } from '../hooks.ts'
import { nfNatRegister } from '../nat/core.ts'
import type { Expr, Stmt } from './ast.ts'
import { LinkChains, markDevices, NF_ARP_IN, NF_ARP_OUT } from './link-chains.ts'
import type { NftChain, NftTables } from './state.ts'

/** Hook numbers by name. */
export const HOOK_NUMBERS: Readonly<Record<string, number>> = {
  prerouting: 0,
  input: 1,
  forward: 2,
  output: 3,
  postrouting: 4,
}

/** Families of packets that a table's chains see. */
function families(table: string): readonly (4 | 6)[] {
  if (table === 'inet') return [4, 6]
  return table === 'ip' ? [4] : table === 'ip6' ? [6] : []
}

/** Brings the hooks of a namespace in step with its tables. */
export function syncHooks(tables: NftTables): void {
  const wanted = { 4: new Set<number>(), 6: new Set<number>() }
  const link = new LinkChains()
  for (const t of tables.tables) {
    if (t.dormant) continue
    for (const chain of t.chains.values()) {
      const base = chain.spec.base
      if (base === undefined || (chain.rules.length === 0 && chain.policy === 'accept')) continue
      linkChain(link, t.family, base.hook, chain)
    }
    if (t.family === 'bridge' && [...t.chains.values()].some((c) => c.rules.some((r) => r.stmts.some(usesConntrack))))
      link.bridgeUnmodelled = 'nft ct in family bridge'
    for (const family of families(t.family)) {
      for (const chain of t.chains.values()) {
        const hook = HOOK_NUMBERS[chain.spec.base?.hook ?? '']
        if (hook !== undefined) wanted[family].add(chain.id)
        if (chain.rules.some((r) => r.stmts.some(usesConntrack))) nfConntrackGet(tables.ns, family)
      }
    }
  }
  tables.link = link.empty ? null : link
  tables.ns.gen++
  markDevices(tables)
  attach(tables, tables.ns.nf, wanted[4])
  attach(tables, tables.ns.nf6, wanted[6])
}

/** A base chain that hangs below the IP hooks. */
function linkChain(link: LinkChains, family: string, hook: string, chain: NftChain): void {
  if (hook === 'ingress') LinkChains.insert(link.ingress, chain)
  else if (hook === 'egress') LinkChains.insert(link.egress, chain)
  else if (family === 'bridge') LinkChains.insert(link.bridge[HOOK_NUMBERS[hook]!]!, chain)
  else if (family === 'arp') LinkChains.insert(link.arp[hook === 'input' ? NF_ARP_IN : NF_ARP_OUT]!, chain)
}

/** Makes `nf` hold the chains `wanted` and no other. */
function attach(tables: NftTables, nf: NfState, wanted: ReadonlySet<number>): void {
  for (const id of nf.nftChains()) if (!wanted.has(id)) nf.unregisterNft(id)
  for (const id of wanted) {
    const chain = tables.chains[id]!
    const base = chain.spec.base!
    if (base.type === 'nat') nfNatRegister(nf)
    nf.registerNft(HOOK_NUMBERS[base.hook]!, id, chain.priority, base.type === 'nat')
  }
}

function usesConntrack(s: Stmt): boolean {
  switch (s.k) {
    case 'nat':
    case 'connlimit':
      return true
    case 'objref':
      return s.type.startsWith('ct ')
    case 'match':
      return readsCt(s.l)
    case 'assign':
      return readsCt(s.target) || readsCt(s.value)
    case 'verdict':
      return readsCt(s.e)
    case 'set':
      return readsCt(s.key)
    default:
      return false
  }
}

function readsCt(e: Expr): boolean {
  switch (e.k) {
    case 'ct':
      return true
    case 'concat':
      return e.items.some(readsCt)
    case 'binop':
      return readsCt(e.l) || readsCt(e.r)
    case 'map':
      return readsCt(e.key)
    case 'hash':
      return e.e !== null && readsCt(e.e)
    default:
      return false
  }
}
