/**
 * Reach as text: a table of pairs, then probes, exposure, differences of the engines and what the CNI ignores.
 */
import type { Reach } from '../../query/reach-types.ts'
import type { Paint } from '../paint.ts'
import { textTable } from '../table.ts'
import { count, reachLines } from './lines.ts'

/** The document as text. */
export function reachText(reach: Reach, paint: Paint): string {
  const lines = reachLines(reach)
  const rows = lines.map((l) => [l.src, l.dst, l.isPartial ? `${l.ports} (some pods)` : l.ports])
  const parts = [
    lines.length === 0
      ? 'Nothing reaches anything: every connection is denied.\n'
      : `${textTable(['FROM', 'TO', 'PORTS'], rows, paint)}${count(lines.length, 'pair')} connected; what is not listed is denied.\n`,
  ]
  for (const p of reach.probes ?? []) {
    parts.push(`${p.protocol}/${p.port}: ${count(p.allowed.length, 'pair')} allowed, ${p.denied.length} denied\n`)
    for (const [src, dst] of p.allowed) parts.push(`  ${paint('good', '✓')} ${src} -> ${dst}\n`)
    for (const [src, dst] of p.denied) parts.push(`  ${paint('bad', '✗')} ${src} -> ${dst}\n`)
  }
  if (reach.exposure !== undefined) {
    const rows = reach.exposure.map((e) => [
      e.workload,
      e.direction === 'ingress' ? 'from' : 'to',
      e.peer,
      `${e.protocol} ${e.ports}`,
    ])
    parts.push(
      '\nOpen to pods that are not in the manifests:\n',
      textTable(['WORKLOAD', '', 'PEER', 'PORTS'], rows, paint),
    )
  }
  if (reach.differences !== undefined) {
    parts.push(
      reach.differences.length === 0
        ? '\nPolicies and packets agree.\n'
        : `\n${count(reach.differences.length, 'difference')} between policies and packets:\n`,
      ...reach.differences.map(
        (d) =>
          `  ${paint('warn', '!')} ${d.src} -> ${d.dst} ${d.protocol}/${d.port}: policy ${d.policy}, packets ${d.packets}\n    ${d.text} [${d.cause}]\n`,
      ),
    )
  }
  const { ignored, cni, enforces } = reach.enforcement
  if (ignored.length > 0) {
    const why = enforces ? 'does not read' : 'enforces no policy; it ignores'
    parts.push(
      `\n${paint('warn', '!')} ${cni} ${why} ${ignored.slice(0, 5).join(', ')}${ignored.length > 5 ? ` and ${ignored.length - 5} more` : ''}\n`,
    )
  }
  for (const note of reach.notes) parts.push(`note: ${note}\n`)
  return parts.join('')
}
