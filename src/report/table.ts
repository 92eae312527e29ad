/**
 * Tables as kubectl prints them: upper-case headings, columns padded, three spaces between.
 */
import type { Paint } from './paint.ts'

/** Lines of a table; `headings` name the columns. Ends with a newline. */
export function textTable(headings: readonly string[], rows: readonly (readonly string[])[], paint: Paint): string {
  const widths = headings.map((h, c) => Math.max(h.length, ...rows.map((r) => (r[c] ?? '').length)))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, c) => cell.padEnd(widths[c]!))
      .join('   ')
      .trimEnd()
  const lines = [paint('strong', line(headings)), ...rows.map((r) => line(r.map((c) => (c === '' ? '-' : c))))]
  return `${lines.join('\n')}\n`
}
