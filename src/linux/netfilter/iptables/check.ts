/**
 * What the kernel checks before it takes a ruleset: tables and hooks of targets and matches, protocols, loops.
 *
 * Linux: net/netfilter/x_tables.c (xt_check_match, xt_check_target), net/ipv4/netfilter/ip_tables.c (mark_source_chains).
 * The caller prints `line N failed`, as iptables-restore does; the sentence here is for people.
 */
import type { IptChain } from './tables.ts'
import { INV_PROTO, type IptRule, type XtMatch } from './types.ts'

/** Why the kernel would refuse the ruleset; null when it takes it. */
export function checkRuleset(table: string, chains: ReadonlyMap<string, IptChain>): string | null {
  const hooks = new Map<string, number>()
  for (const chain of chains.values()) {
    if (chain.hook < 0) continue
    const error = markChain(chain, 1 << chain.hook, chains, hooks, [])
    if (error !== null) return error
  }
  for (const chain of chains.values()) {
    const mask = hooks.get(chain.name) ?? 0
    for (const rule of chain.rules) {
      const error = checkRule(table, rule, mask)
      if (error !== null) return `${rule.text}: ${error}`
    }
  }
  return null
}

function markChain(
  chain: IptChain,
  mask: number,
  chains: ReadonlyMap<string, IptChain>,
  hooks: Map<string, number>,
  stack: string[],
): string | null {
  if (stack.includes(chain.name)) return `chains form a loop: ${[...stack, chain.name].join(' -> ')}`
  const before = hooks.get(chain.name) ?? 0
  if ((before & mask) === mask) return null
  hooks.set(chain.name, before | mask)
  stack.push(chain.name)
  for (const rule of chain.rules) {
    if (rule.spec.jump === '' || rule.spec.target !== null) continue
    const next = chains.get(rule.spec.jump)
    if (next === undefined) continue
    if (next.hook >= 0) return `${rule.text}: jump to a built-in chain`
    const error = markChain(next, mask, chains, hooks, stack)
    if (error !== null) return error
  }
  stack.pop()
  return null
}

function checkRule(table: string, rule: IptRule, hooks: number): string | null {
  for (const m of rule.spec.matches) {
    const error = checkExtension(m.ext, table, rule, hooks, 'match') ?? m.ext.refuse?.(m.data, rule.spec) ?? null
    if (error !== null) return error
  }
  const target = rule.spec.target
  if (target === null) return null
  const error = checkExtension(target.ext, table, rule, hooks, 'target')
  return error ?? target.ext.refuse?.(target.data, rule.spec) ?? null
}

function checkExtension(ext: XtMatch, table: string, rule: IptRule, hooks: number, what: string): string | null {
  if (ext.tables !== undefined && !ext.tables.includes(table)) {
    return `${ext.name} ${what}: only valid in ${ext.tables.join(' or ')} table, not ${table}`
  }
  if (ext.hooks !== undefined && (hooks & ~ext.hooks) !== 0) {
    return `${ext.name} ${what}: used from hooks where it is not valid`
  }
  if (ext.needsProto !== undefined) {
    const { proto, inverted } = rule.spec
    if ((inverted & INV_PROTO) !== 0 || !ext.needsProto.includes(proto)) {
      return `${ext.name} ${what}: needs its protocol in the rule`
    }
  }
  return null
}
