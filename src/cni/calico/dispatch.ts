/**
 * Which chain a packet of an interface goes to: a shallow tree over the interfaces' names.
 *
 * Real thing: felix/rules/dispatch.go. Names are sorted; those that share the character behind the common prefix share a
 * child chain, reached by a wildcard and a goto; what no rule takes meets the end rules, in the child chain too.
 */
import { goTo } from './static-chains.ts'
import type { FelixChain, FelixRule } from './text.ts'
import { limitedId } from './text.ts'

function commonPrefix(names: readonly string[]): string {
  const first = names[0] ?? ''
  const last = names.at(-1) ?? ''
  let n = 0
  while (n < first.length && first[n] === last[n]) n++
  return first.slice(0, n)
}

/** Names in groups by the character behind their common prefix. */
function divide(names: readonly string[]): { prefix: string; groups: Map<string, string[]> } {
  const sorted = [...new Set(names)].sort()
  const prefix = commonPrefix(sorted)
  const groups = new Map<string, string[]>()
  for (const name of sorted) {
    const key = name.slice(0, prefix.length + 1)
    groups.set(key, [...(groups.get(key) ?? []), name])
  }
  return { prefix, groups }
}

/**
 * The chains of one direction.
 * @param option `--in-interface` or `--out-interface`
 * @param endpointPrefix of the chains that the interfaces' packets go to
 */
export function dispatchChains(
  chain: string,
  names: readonly string[],
  option: string,
  endpointPrefix: string,
  endRules: readonly FelixRule[],
): FelixChain[] {
  const { prefix, groups } = divide(names)
  const out: FelixChain[] = []
  const root: FelixRule[] = []
  const endpoint = (name: string): FelixRule => ({
    match: `${option} ${name}`,
    action: goTo(limitedId(endpointPrefix, name)),
  })
  for (const [key, members] of groups) {
    if (members.length === 1) {
      root.push(endpoint(members[0]!))
      continue
    }
    const child = `${chain}-${key.slice(prefix.length)}`
    root.push({ match: `${option} ${key}+`, action: goTo(child) })
    out.push({ name: child, rules: [...members.map(endpoint), ...endRules] })
  }
  return [...out, { name: chain, rules: [...root, ...endRules] }]
}
