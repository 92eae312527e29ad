/**
 * The legacy tables of a namespace: chains of rules, edited as a whole and swapped in.
 *
 * Linux: net/ipv4/netfilter/ip_tables.c, net/ipv6/netfilter/ip6_tables.c (do_replace: a new ruleset is checked, then replaces
 * the old one), iptable_*.c, ip6table_*.c
 * (which hooks a table registers when it is first used). nat brings conntrack and the NAT hooks with it.
 *
 * Not modelled: unregistering hooks when the last rule that needed them is gone (Linux puts conntrack back).
 */
import type { Netns } from '../../netns.ts'
import { nfConntrackGet } from '../conntrack/table.ts'
import { NFH_FILTER, NFH_MANGLE, NFH_RAW, NFH_SECURITY, type NfState } from '../hooks.ts'
import { IpSetRegistry } from '../ipset/registry.ts'
import type { IpSet } from '../ipset/set.ts'
import { nfNatRegister } from '../nat/core.ts'
import { checkRuleset } from './check.ts'
import type { IptFamily, IpValue } from './ip-values.ts'
import { compileTable, type IptProgram } from './program.ts'
import { RecentTable, recentStampMask } from './recent.ts'
import type { IptRule } from './types.ts'

/** Chain names by hook number. */
export const HOOK_CHAINS: readonly string[] = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING']

/** Hooks of each table, in the order its chains are printed. */
export const TABLE_HOOKS: Readonly<Record<string, readonly number[]>> = {
  raw: [0, 3],
  mangle: [0, 1, 2, 3, 4],
  nat: [0, 1, 3, 4],
  filter: [1, 2, 3],
  security: [1, 2, 3],
}

/** A chain: built-in (with a hook and a policy) or user-defined. */
export class IptChain {
  readonly table: string
  readonly name: string
  /** Hook number, -1 for a user-defined chain. */
  readonly hook: number
  /** ACCEPT or DROP; `-` for a user-defined chain. */
  policy: string
  /** Counters of the policy. */
  pcnt = 0
  bcnt = 0
  rules: IptRule[] = []

  constructor(table: string, name: string, hook: number, policy: string) {
    this.table = table
    this.name = name
    this.hook = hook
    this.policy = policy
  }

  /** A chain that can be edited without changing this one. */
  clone(name = this.name): IptChain {
    const copy = new IptChain(this.table, name, this.hook, this.policy)
    copy.pcnt = this.pcnt
    copy.bcnt = this.bcnt
    copy.rules = this.rules.slice()
    return copy
  }
}

/** One table. */
export class IptTable {
  readonly name: string
  readonly owner: IptTables
  /** Built-in chains in hook order, then user chains by name. */
  chains: Map<string, IptChain>
  private compiled: IptProgram | null = null

  constructor(name: string, owner: IptTables) {
    this.name = name
    this.owner = owner
    this.chains = new Map()
    for (const hook of TABLE_HOOKS[name]!) {
      const chain = HOOK_CHAINS[hook]!
      this.chains.set(chain, new IptChain(name, chain, hook, 'ACCEPT'))
    }
  }

  /** The compiled ruleset, made when a packet first needs it. */
  get program(): IptProgram {
    if (this.compiled === null) this.compiled = this.compile()
    return this.compiled
  }

  private compile(): IptProgram {
    if (this.name !== 'mangle') return compileTable(this, new Float64Array(10))
    const nf = this.owner.nf
    const program = compileTable(this, nf.idleMangleCounters)
    nf.idleMangle = program.idleHooks
    return program
  }

  /** Writes the counters of the compiled ruleset back into rules and chains. */
  syncCounters(): void {
    this.compiled?.storeCounters()
  }

  /** The chains as a draft: chains are shared until `editChain` replaces them. */
  draft(): Map<string, IptChain> {
    this.syncCounters()
    return new Map(this.chains)
  }

  /** do_replace: takes a checked draft. State of matches (nth, limit) starts anew, as in the kernel. */
  replace(chains: Map<string, IptChain>): void {
    const builtin = [...chains.values()].filter((c) => c.hook >= 0)
    const user = [...chains.values()].filter((c) => c.hook < 0)
    user.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
    this.chains = new Map([...builtin, ...user].map((c) => [c.name, c]))
    this.compiled = null
    if (this.name === 'mangle') this.owner.nf.idleMangle = 0
    this.owner.changed(this)
  }

  /** Zeroes counters of rules: -Z. */
  zero(chain: IptChain | null, ruleNumber: number): void {
    this.syncCounters()
    for (const c of chain === null ? this.chains.values() : [chain]) {
      if (ruleNumber === 0) c.pcnt = c.bcnt = 0
      c.rules.forEach((rule, i) => {
        if (ruleNumber === 0 || i === ruleNumber - 1) rule.pcnt = rule.bcnt = 0
      })
    }
    this.compiled?.loadCounters()
  }

  /** ipset swap: compiled rules follow the names, their counters and states stay. */
  rebindSets(a: IpSet, b: IpSet): void {
    const sets = this.compiled?.sets
    if (sets === undefined) return
    for (let i = 0; i < sets.length; i++) sets[i] = sets[i] === a ? b : sets[i] === b ? a : sets[i]!
  }
}

/** All legacy tables of a namespace, with what their rules share. */
export class IptTables {
  readonly ns: Netns
  readonly family: IptFamily
  raw: IptTable | null = null
  mangle: IptTable | null = null
  nat: IptTable | null = null
  filter: IptTable | null = null
  security: IptTable | null = null
  /** Tables, the one created last first: the order of iptables-save. */
  readonly list: IptTable[] = []
  readonly ipsets: IpSetRegistry
  private readonly recents = new Map<string, RecentTable>()

  constructor(ns: Netns, family: IptFamily) {
    this.ns = ns
    this.family = family
    // sets are of no family: both tables name the same ones
    this.ipsets = family === 6 ? ns.nf.tables.ipsets : new IpSetRegistry(ns)
  }

  /** Where its hooks hang. */
  get nf(): NfState {
    return this.family === 6 ? this.ns.nf6 : this.ns.nf
  }

  /** The table, created (with its hooks) when it is first asked for; null for an unknown name. */
  get(name: string): IptTable | null {
    const found = this.peek(name)
    if (found !== null || TABLE_HOOKS[name] === undefined) return found
    const table = new IptTable(name, this)
    this.list.unshift(table)
    const nf = this.nf
    const register = (kind: number): void => {
      for (const hook of TABLE_HOOKS[name]!) nf.register(hook, kind)
    }
    switch (name) {
      case 'raw':
        this.raw = table
        register(NFH_RAW)
        break
      case 'mangle':
        this.mangle = table
        register(NFH_MANGLE)
        break
      case 'nat':
        this.nat = table
        nfNatRegister(nf)
        nf.registerLegacyNat()
        break
      case 'filter':
        this.filter = table
        register(NFH_FILTER)
        break
      default:
        this.security = table
        register(NFH_SECURITY)
    }
    return table
  }

  /** The table when it exists already. */
  peek(name: string): IptTable | null {
    return this.list.find((t) => t.name === name) ?? null
  }

  /** Checks a draft as the kernel does at COMMIT; null when it may replace the table. */
  check(table: string, chains: ReadonlyMap<string, IptChain>): string | null {
    return checkRuleset(table, chains)
  }

  /** recent_table_lookup, or a new list. */
  recent(name: string, mask: IpValue, hitCount: number): RecentTable {
    const stampMask = recentStampMask(hitCount)
    let t = this.recents.get(name)
    if (t === undefined) {
      t = new RecentTable(name, mask, stampMask)
      this.recents.set(name, t)
    } else if (stampMask > t.stampMask) {
      t.entries.clear()
      t.stampMask = stampMask
    }
    return t
  }

  /** After a table was replaced: conntrack is needed or not, lists that no rule names any more are freed. */
  changed(table: IptTable): void {
    this.ns.gen++
    let conntrack = false
    for (const chain of table.chains.values()) {
      for (const rule of chain.rules) {
        if (rule.spec.matches.some((m) => CONNTRACK_USERS.has(m.ext.name))) conntrack = true
        if (rule.spec.target !== null && CONNTRACK_USERS.has(rule.spec.target.ext.name)) conntrack = true
      }
    }
    if (conntrack) nfConntrackGet(this.ns, this.family)
    if (this.recents.size > 0) this.reapRecents()
    this.reference(table)
  }

  private reference(table: IptTable): void {
    for (const chain of table.chains.values()) {
      for (const rule of chain.rules) {
        for (const m of rule.spec.matches) {
          if (m.ext.name !== 'recent') continue
          const d = m.data as { name: string; mask: IpValue; hitCount: number }
          this.recent(d.name, d.mask, d.hitCount)
        }
      }
    }
  }

  private reapRecents(): void {
    const used = new Set<string>()
    for (const table of this.list) {
      for (const chain of table.chains.values()) {
        for (const rule of chain.rules) {
          for (const m of rule.spec.matches) if (m.ext.name === 'recent') used.add((m.data as { name: string }).name)
        }
      }
    }
    for (const name of this.recents.keys()) if (!used.has(name)) this.recents.delete(name)
  }
}

const CONNTRACK_USERS: ReadonlySet<string> = new Set([
  'conntrack',
  'state',
  'connmark',
  'CONNMARK',
  'DNAT',
  'SNAT',
  'MASQUERADE',
  'REDIRECT',
  'NETMAP',
])

/** The legacy tables of a family. */
export function tablesOf(ns: Netns, family: IptFamily): IptTables {
  return family === 6 ? ns.nf6.tables : ns.nf.tables
}
