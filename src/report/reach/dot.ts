/**
 * Reach as a Graphviz graph: a box per namespace, an edge per pair.
 */
import type { Reach } from '../../query/reach-types.ts'
import { reachLines } from './lines.ts'

/** The connections as a digraph. */
export function reachDot(reach: Reach): string {
  const lines = reachLines(reach)
  const names = [...new Set(lines.flatMap((l) => [l.src, l.dst]))].sort()
  const groups = new Map<string, string[]>()
  for (const name of names) {
    const slash = name.startsWith('ip:') ? -1 : name.indexOf('/')
    const namespace = slash < 0 ? '' : name.slice(0, slash)
    groups.set(namespace, [...(groups.get(namespace) ?? []), name])
  }
  const out = ['digraph reach {', '  rankdir=LR', '  node [shape=box, fontname="sans-serif"]']
  for (const [namespace, members] of groups) {
    if (namespace === '') {
      for (const name of members) out.push(`  ${quote(name)} [shape=ellipse, label=${quote(name.replace(/^ip:/, ''))}]`)
      continue
    }
    out.push(`  subgraph ${quote(`cluster_${namespace}`)} {`, `    label=${quote(namespace)}`)
    for (const name of members) out.push(`    ${quote(name)} [label=${quote(name.slice(namespace.length + 1))}]`)
    out.push('  }')
  }
  for (const l of lines) out.push(`  ${quote(l.src)} -> ${quote(l.dst)} [label=${quote(l.ports)}]`)
  out.push('}')
  return `${out.join('\n')}\n`
}

function quote(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}
