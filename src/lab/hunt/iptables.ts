/**
 * iptables texts: random tables out of the matches and targets that podwalk models, and the shapes that drivers write
 * (kube-proxy's services, kubenet's masquerade, Felix' policy chains with marks and sets) over the lab's addresses.
 *
 * Chains of our own know from which hooks they can be reached, so that every match is legal there. Not generated:
 * randomness (statistic random, --random, --random-fully, port ranges that the kernel starts at a random place), limits
 * that refill within a lab, LOG (it writes to the kernel's log).
 */
import type { Draft } from './draft.ts'
import { kubeProxy } from './iptables-kube.ts'
import { randomTable } from './iptables-random.ts'

/** Adds rules to the namespaces that should have them. */
export function buildIptables(d: Draft): void {
  const wanted = d.about('nat', 'filter', 'ipset', 'bnf', 'policy', 'tcp') ? 85 : 30
  const targets = [...d.routers]
  if (targets.length === 0 || d.dice.chance(20)) targets.push(...d.bridges.keys())
  for (const ns of d.netns) if (!targets.includes(ns) && d.dice.chance(12)) targets.push(ns)
  for (const ns of new Set(targets)) {
    if (!d.dice.chance(wanted)) continue
    const parts: string[] = []
    const kube = d.about('nat') ? d.dice.chance(45) : d.dice.chance(12)
    if (kube) parts.push(kubeProxy(d, ns))
    const tables = ['filter', 'nat', 'mangle', 'raw'].filter((t) => {
      if (kube && (t === 'nat' || t === 'filter')) return false
      return d.dice.chance(
        t === 'nat'
          ? d.about('nat')
            ? 85
            : 35
          : t === 'filter'
            ? d.about('filter')
              ? 90
              : 50
            : d.about('policy', 'filter', 'tcp')
              ? 35
              : 15,
      )
    })
    for (const t of tables) parts.push(randomTable(d, ns, t))
    if (parts.length > 0) d.iptables[ns] = parts.join('')
  }
}
