/**
 * Reach as a matrix: sources down, destinations across, numbered; a cell is the kind of connection.
 */
import type { Reach } from '../../query/reach-types.ts'
import type { Paint } from '../paint.ts'
import { reachLines } from './lines.ts'

/** The document as a matrix with a legend: `+` all ports, a letter for a set of ports, `.` nothing. */
export function reachMatrix(reach: Reach, paint: Paint): string {
  const lines = reachLines(reach)
  const names = [...new Set(lines.flatMap((l) => [l.src, l.dst]))].sort()
  const letters = new Map<string, string>()
  const letterOf = (ports: string): string => {
    if (ports === 'all') return '+'
    let letter = letters.get(ports)
    if (letter === undefined) {
      const n = letters.size
      letter = n < 26 ? String.fromCharCode(97 + n) : n < 52 ? String.fromCharCode(65 + n - 26) : '?'
      letters.set(ports, letter)
    }
    return letter
  }
  const cells = new Map(lines.map((l) => [`${l.src} ${l.dst}`, letterOf(l.ports)]))
  const width = String(names.length).length
  const nameWidth = Math.max(0, ...names.map((n) => n.length))
  const number = (i: number): string => String(i + 1).padStart(width)
  const head = `${' '.repeat(width + 1 + nameWidth)} ${names.map((_, i) => number(i)).join(' ')}`
  const rows = names.map((src, i) => {
    const marks = names.map((dst) => (src === dst ? ' ' : (cells.get(`${src} ${dst}`) ?? '.')).padStart(width))
    return `${number(i)} ${src.padEnd(nameWidth)} ${marks.join(' ')}`.trimEnd()
  })
  const legend = ['+ all ports', ...[...letters].map(([ports, letter]) => `${letter} ${ports}`), '. denied']
  return `${[paint('strong', head), ...rows, '', 'rows reach columns:', ...legend.map((l) => `  ${l}`)].join('\n')}\n`
}
