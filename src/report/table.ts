/**
 * Tables as kubectl prints them: upper-case headings, columns padded, three spaces between.
 */
import type { Cell, TableDocument } from '../query/tables.ts'
import type { Paint } from './paint.ts'

/** Columns of each table: those of text, and those that wide adds. */
const COLUMNS: { readonly [kind in TableDocument['kind']]: readonly [readonly string[], readonly string[]] } = {
  Nodes: [
    ['name', 'ready', 'role', 'internalIP', 'podCIDR', 'pods'],
    ['zone', 'source'],
  ],
  Pods: [
    ['namespace', 'name', 'ready', 'status', 'ip', 'node'],
    ['owner', 'ports', 'hostNetwork', 'source'],
  ],
  Services: [
    ['namespace', 'name', 'type', 'clusterIP', 'ports', 'endpoints'],
    ['notReady', 'source'],
  ],
  Links: [['netns', 'device', 'type', 'state', 'mtu', 'master', 'addresses'], ['mac']],
  Routes: [
    ['netns', 'dst', 'via', 'device', 'type'],
    ['src', 'protocol', 'metric'],
  ],
  Rules: [['netns', 'priority', 'from', 'to', 'fwmark', 'table'], []],
  Timeline: [['atS', 'netns', 'what', 'text'], []],
  BgpSessions: [
    ['netns', 'asn', 'neighbor', 'neighborASN', 'state', 'upS', 'prefixes', 'lastError'],
    ['holdS', 'capabilities'],
  ],
}

const MAX_LISTED = 3

/** A table document as text. */
export function documentTable(document: TableDocument, wide: boolean, paint: Paint): string {
  const [some, more] = COLUMNS[document.kind]
  const columns = wide ? [...some, ...more] : some
  const rows = document.items.map((item) => columns.map((c) => cellText(item[c] ?? null, wide)))
  return textTable(columns.map(heading), rows, paint)
}

function heading(column: string): string {
  return column.replaceAll(/([a-z])([A-Z])/g, '$1-$2').toUpperCase()
}

function cellText(cell: Cell, wide: boolean): string {
  if (cell === null) return ''
  if (typeof cell === 'boolean') return cell ? 'yes' : 'no'
  if (typeof cell === 'object') {
    const shown = wide ? cell : cell.slice(0, MAX_LISTED)
    return shown.join(',') + (shown.length < cell.length ? ` +${cell.length - shown.length}` : '')
  }
  return String(cell)
}

/** Lines of a table; `headings` name the columns. Ends with a newline. */
export function textTable(headings: readonly string[], rows: readonly (readonly string[])[], paint: Paint): string {
  const shown = rows.map((r) => r.map((cell) => (cell === '' ? '-' : cell)))
  const widths = headings.map((h, c) => shown.reduce((w, r) => Math.max(w, (r[c] ?? '').length), h.length))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, c) => cell.padEnd(widths[c]!))
      .join('   ')
      .trimEnd()
  return `${[paint('strong', line(headings)), ...shown.map(line)].join('\n')}\n`
}
