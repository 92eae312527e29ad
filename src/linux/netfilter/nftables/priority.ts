/**
 * Priorities of base chains by name.
 *
 * nft: std_prio_lookup, prio2str (src/rule.c), 1.0.6.
 */

const COMMON: readonly (readonly [string, number])[] = [
  ['raw', -300],
  ['mangle', -150],
  ['dstnat', -100],
  ['filter', 0],
  ['security', 50],
  ['srcnat', 100],
]
const BRIDGE: readonly (readonly [string, number])[] = [
  ['dstnat', -300],
  ['filter', -200],
  ['out', 100],
  ['srcnat', 300],
]

function names(family: string): readonly (readonly [string, number])[] {
  return family === 'bridge' ? BRIDGE : COMMON
}

/** std_prio_family_hook_compat */
function compatible(family: string, hook: string, name: string): boolean {
  if (name === 'dstnat') return family !== 'arp' && family !== 'netdev' && hook === 'prerouting'
  if (name === 'srcnat') return family !== 'arp' && family !== 'netdev' && hook === 'postrouting'
  if (name === 'out') return hook === 'output'
  if (family === 'arp' || family === 'netdev') return name === 'filter'
  return true
}

/** The number of a priority's name; null when the name does not fit here. */
export function priorityNumber(family: string, hook: string, name: string): number | null {
  const row = names(family).find(([n]) => n === name)
  return row === undefined || !compatible(family, hook, name) ? null : row[1]
}

/** A priority as nft lists it: within 10 of a name by that name. */
export function priorityText(family: string, hook: string, priority: number): string {
  for (const [name, n] of names(family)) {
    const offset = priority - n
    if (Math.abs(offset) > 10) continue
    if (!compatible(family, hook, name)) break
    if (offset === 0) return name
    return `${name} ${offset > 0 ? '+' : '-'} ${Math.abs(offset)}`
  }
  return `${priority}`
}
