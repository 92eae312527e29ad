/**
 * Reach as CSV (RFC 4180): one line per connection.
 */
import type { Reach } from '../../query/reach-types.ts'

function cell(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** The connections as CSV with a heading. */
export function reachCsv(reach: Reach): string {
  const rows = reach.connections.map((c) => [c.src, c.dst, c.protocol, c.ports, c.partial === true ? 'partial' : 'all'])
  return [['src', 'dst', 'protocol', 'ports', 'pods'], ...rows].map((r) => `${r.map(cell).join(',')}\n`).join('')
}
