/**
 * Restore text in the order kube-proxy's own tests compare it: chains KUBE-NODEPORTS and KUBE-SERVICES first, the rest
 * by name; rules by chain in that order, deletions last. Order inside a chain is kept.
 */
import type { NodeProgram } from '../../src/proxy/types.ts'

/** The restore texts of a program, joined. */
export function restoreTextOf(program: NodeProgram): string {
  return [...program.verbs].map((verb) => (verb.verb === 'iptables-restore' ? verb.text : '')).join('')
}

/** The text in canonical order, without a final newline. */
export function canonicalDump(text: string): string {
  const out: string[] = []
  for (const block of text.split(/^(?=\*)/m)) {
    const lines = block.trimEnd().split('\n')
    const chains = lines.filter((line) => line.startsWith(':')).sort((a, b) => compareChains(chainOf(a), chainOf(b)))
    const rules = lines.filter((line) => line.startsWith('-A'))
    const deletions = lines.filter((line) => line.startsWith('-X')).sort()
    out.push(lines[0] ?? '', ...chains)
    out.push(...rules.sort((a, b) => compareChains(chainOf(a), chainOf(b))), ...deletions, 'COMMIT')
  }
  return out.join('\n')
}

function chainOf(line: string): string {
  return (line.startsWith(':') ? line.slice(1).split(' ')[0] : line.split(' ')[1]) ?? ''
}

function compareChains(a: string, b: string): number {
  const rank = (chain: string): string =>
    chain === 'KUBE-NODEPORTS' ? '0' : chain === 'KUBE-SERVICES' ? '1' : `2${chain}`
  return rank(a) < rank(b) ? -1 : rank(a) > rank(b) ? 1 : 0
}
