/**
 * Reach as Markdown: a table for a pull request.
 */
import type { Reach } from '../../query/reach-types.ts'
import { reachLines } from './lines.ts'

/** The connections as a Markdown table. */
export function reachMarkdown(reach: Reach): string {
  const rows = reachLines(reach).map((l) => `| ${l.src} | ${l.dst} | ${l.ports}${l.isPartial ? ' (some pods)' : ''} |`)
  return `${['| from | to | ports |', '|---|---|---|', ...rows].join('\n')}\n`
}
