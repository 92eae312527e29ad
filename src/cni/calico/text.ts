/**
 * How Felix writes chains: its long-form rules, the hash in each rule's comment, names that must fit.
 *
 * Real thing: felix/iptables/{table,rendering,match_builder,actions}.go, felix/hashutils/length_limit.go. A rule's hash
 * covers the chain's name and every rule before it, so one tag proves the whole text above it. Rules that Felix inserts
 * into the kernel's chains are hashed as a chain of their own; appended ones under `<chain>*appends*`.
 */
import { createHash } from 'node:crypto'

/** A rule: match and action in iptables' long options, as Felix renders them. */
export interface FelixRule {
  readonly match?: string
  /** Empty: a rule that only counts (an empty policy). */
  readonly action: string
  readonly comments?: readonly string[]
  /** What caused it, for traces. */
  readonly origin?: unknown
}

/** A chain. */
export interface FelixChain {
  readonly name: string
  readonly rules: readonly FelixRule[]
}

/** A table as Felix wants it. */
export interface FelixTable {
  readonly name: 'raw' | 'mangle' | 'nat' | 'filter'
  readonly chains: readonly FelixChain[]
  /** Rules at the head of the kernel's chains. */
  readonly inserts: readonly FelixChain[]
  /** Rules at their end. */
  readonly appends: readonly FelixChain[]
}

/** iptables allows 28 characters in a chain's name. */
export const MAX_CHAIN_NAME = 28
/** An ip set's name has at most 31. */
const MAX_SET_NAME = 31
const TAG_CHARACTERS = 16
const MAX_COMMENT = 256

/** GetLengthLimitedID: prefix and name, or prefix, `_` and a hash when that does not fit. */
export function limitedId(prefix: string, name: string, max = MAX_CHAIN_NAME): string {
  const suffix = name === '' ? '_' : name
  const length = prefix.length + suffix.length
  if (length > max || (length === max && suffix.startsWith('_'))) {
    return `${prefix}_${createHash('sha256').update(suffix).digest('base64url')}`.slice(0, max)
  }
  return prefix + suffix
}

/** NameForMainIPSet. */
export function ipSetName(id: string): string {
  return `cali40${id}`.slice(0, MAX_SET_NAME)
}

/** Several match fragments as one, empty ones left out. */
export function all(...fragments: readonly string[]): string {
  return fragments.filter((f) => f !== '').join(' ')
}

function body(rule: FelixRule): string {
  const comments = (rule.comments ?? []).map((c) => `-m comment --comment "${clean(c)}"`)
  return all(...comments, rule.match ?? '', rule.action)
}

function clean(comment: string): string {
  return comment.replace(/[^\w @%+=:,./-]/g, '_').slice(0, MAX_COMMENT)
}

/** RuleHashes: one tag per rule. */
export function ruleTags(chain: string, rules: readonly FelixRule[]): string[] {
  let hash = createHash('sha224').update(chain).digest()
  return rules.map((rule) => {
    hash = createHash('sha224')
      .update(hash)
      .update(`-A ${chain} HASH ${body(rule)}`)
      .digest()
    return hash.toString('base64url').slice(0, TAG_CHARACTERS)
  })
}

/** The rules of a chain as Felix gives them to iptables-restore, behind `-A CHAIN `. */
export function renderRules(chain: string, rules: readonly FelixRule[]): string[] {
  const tags = ruleTags(chain, rules)
  return rules.map((rule, i) => all(`-m comment --comment "cali:${tags[i]}"`, body(rule)))
}

/** Chains that are reached from the inserted and appended rules: Felix programs no others. */
export function referencedChains(table: FelixTable): FelixChain[] {
  const byName = new Map(table.chains.map((c) => [c.name, c]))
  const seen = new Set<string>()
  const queue: readonly FelixRule[][] = [...table.inserts, ...table.appends].map((c) => [...c.rules])
  const visit = (rules: readonly FelixRule[]): void => {
    for (const rule of rules) {
      const target = /--(?:jump|goto) (\S+)/.exec(rule.action)?.[1]
      if (target === undefined || seen.has(target)) continue
      const chain = byName.get(target)
      if (chain === undefined) continue
      seen.add(target)
      visit(chain.rules)
    }
  }
  for (const rules of queue) visit(rules)
  return table.chains.filter((c) => seen.has(c.name))
}

/** Text for iptables-restore --noflush, and the cause of each line's rule. */
export function restoreTables(tables: readonly FelixTable[]): { text: string; origins: Map<number, unknown> } {
  const lines: string[] = []
  const origins = new Map<number, unknown>()
  for (const table of tables) {
    lines.push(`*${table.name}`)
    const chains = referencedChains(table)
    for (const chain of chains) lines.push(`:${chain.name} - -`)
    for (const chain of chains) {
      renderRules(chain.name, chain.rules).forEach((text, i) => {
        lines.push(`-A ${chain.name} ${text}`)
        if (chain.rules[i]!.origin !== undefined) origins.set(lines.length, chain.rules[i]!.origin)
      })
    }
    for (const chain of table.inserts) {
      const rendered = renderRules(chain.name, chain.rules)
      for (const text of rendered.reverse()) lines.push(`-I ${chain.name} ${text}`)
    }
    for (const chain of table.appends) {
      const rendered = renderRules(`${chain.name}*appends*`, chain.rules)
      for (const text of rendered) lines.push(`-A ${chain.name} ${text}`)
    }
    lines.push('COMMIT')
  }
  return { text: `${lines.join('\n')}\n`, origins }
}
