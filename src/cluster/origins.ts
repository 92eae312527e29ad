/**
 * Ties the rules that stand in a node's tables to the objects that caused them.
 *
 * kube-proxy's program says, per table and chain, what caused each of its rules in order. In its own chains these are all
 * rules; nothing else writes there.
 */
import type { Netns } from '../linux/netns.ts'
import { originKey } from '../proxy/origin-key.ts'
import type { IpFamily, RuleOrigins } from '../proxy/types.ts'

/** Sets the origin of every iptables, ip6tables and nftables rule that the program knows. */
export function attachOrigins(ns: Netns, origins: RuleOrigins): void {
  for (const table of ns.nft?.tables ?? []) {
    attach(table.family === 'ip6' ? 'IPv6' : 'IPv4', table.name, table.chains.values(), origins)
  }
  for (const table of ns.nf.tables.list) attach('IPv4', table.name, table.chains.values(), origins)
  for (const table of ns.nf6.tables.list) attach('IPv6', table.name, table.chains.values(), origins)
}

interface RuledChain {
  readonly name: string
  readonly rules: readonly { origin: unknown }[]
}

function attach(family: IpFamily, table: string, chains: Iterable<RuledChain>, origins: RuleOrigins): void {
  for (const chain of chains) {
    const known = origins.get(originKey(family, table, chain.name))
    chain.rules.forEach((rule, i) => {
      if (known?.[i] != null) rule.origin = known[i]
    })
  }
}
