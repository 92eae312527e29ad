/**
 * Ties the rules that stand in a node's tables to the objects that caused them.
 *
 * kube-proxy's program says, per table and chain, what caused each of its rules in order. In its own chains these are all
 * rules; nothing else writes there.
 */
import type { Netns } from '../linux/netns.ts'
import { originKey } from '../proxy/origin-key.ts'
import type { RuleOrigins } from '../proxy/types.ts'

/** Sets the origin of every iptables and nftables rule that the program knows. */
export function attachOrigins(ns: Netns, origins: RuleOrigins): void {
  for (const table of ns.nft?.tables ?? []) {
    for (const chain of table.chains.values()) {
      const known = origins.get(originKey(table.family === 'ip6' ? 'IPv6' : 'IPv4', table.name, chain.name))
      if (known === undefined) continue
      chain.rules.forEach((rule, i) => {
        if (known[i] != null) rule.origin = known[i]
      })
    }
  }
  for (const table of ns.nf.tables.list) {
    for (const chain of table.chains.values()) {
      const known = origins.get(originKey('IPv4', table.name as 'nat', chain.name))
      if (known === undefined) continue
      chain.rules.forEach((rule, i) => {
        if (known[i] != null) rule.origin = known[i]
      })
    }
  }
}
