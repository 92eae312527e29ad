/**
 * The sets of a namespace, by name.
 *
 * Linux: net/netfilter/ipset/ip_set_core.c. A set is in use while a rule or a list:set names it; swap exchanges the
 * contents under the names, so rules keep the name's slot.
 */
import type { Netns } from '../../netns.ts'
import type { IpSet } from './set.ts'

/** All sets of a namespace. */
export class IpSetRegistry {
  readonly ns: Netns
  /** In order of creation. */
  readonly sets = new Map<string, IpSet>()

  constructor(ns: Netns) {
    this.ns = ns
  }

  /** The set of that name. */
  get(name: string): IpSet | null {
    return this.sets.get(name) ?? null
  }

  /** Its dimensions, 0 when there is no such set. */
  dimensions(name: string): number {
    return this.get(name)?.dimensions ?? 0
  }

  /** Family of its addresses; 0 for lists, ports and MACs, or when there is no such set. */
  family(name: string): 0 | 4 | 6 {
    const set = this.get(name)
    const first = set?.type.parts[0]
    if (set === null || (first !== 'ip' && first !== 'net')) return 0
    return set.in6 === null ? 4 : 6
  }

  /** Rules and lists that use the set. */
  references(set: IpSet): number {
    let n = 0
    for (const other of this.sets.values()) n += other.members.filter((m) => m.set === set).length
    for (const table of [...this.ns.nf.tables.list, ...this.ns.nf6.tables.list]) {
      for (const chain of table.chains.values()) {
        for (const rule of chain.rules) {
          for (const m of rule.spec.matches) {
            if (m.ext.name === 'set' && (m.data as { name: string }).name === set.name) n++
          }
          if (rule.spec.target?.ext.name === 'SET') {
            const d = rule.spec.target.data as { add: string; del: string; map: string }
            for (const name of [d.add, d.del, d.map]) if (name === set.name) n++
          }
        }
      }
    }
    return n
  }

  /** ip_set_swap: the two names change their sets. */
  swap(a: IpSet, b: IpSet): void {
    const nameA = a.name
    a.name = b.name
    b.name = nameA
    const sets = [...this.sets.values()].map((s) => (s === a ? b : s === b ? a : s))
    this.sets.clear()
    for (const s of sets) this.sets.set(s.name, s)
    for (const list of sets) {
      for (const m of list.members) m.set = m.set === a ? b : m.set === b ? a : m.set
    }
    for (const table of [...this.ns.nf.tables.list, ...this.ns.nf6.tables.list]) table.rebindSets(a, b)
  }
}
