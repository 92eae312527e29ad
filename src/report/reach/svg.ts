/**
 * Reach as an SVG matrix: rows reach columns; a filled square is all ports, a ring some; the text of a cell is its ports.
 *
 * Shapes and letters carry the meaning, colour only helps; text is selectable; light and dark follow the viewer's setting.
 */
import type { Reach } from '../../query/reach-types.ts'
import { reachLines } from './lines.ts'

const CELL = 22
const CHARACTER = 7
const MARGIN = 12

/** Text for XML. */
export function xml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}

const STYLE = `<style>
svg { --ink: #1f2328; --line: #d0d7de; --all: #1a7f37; --some: #9a6700; background: #fff }
@media (prefers-color-scheme: dark) { svg { --ink: #e6edf3; --line: #3d444d; --all: #3fb950; --some: #d29922; background: #0d1117 } }
text { font: 12px ui-monospace, monospace; fill: var(--ink) }
.grid { stroke: var(--line); fill: none } .all { fill: var(--all) } .some { fill: none; stroke: var(--some); stroke-width: 3 }
</style>`

/** The connections as a picture. */
export function reachSvg(reach: Reach): string {
  const lines = reachLines(reach)
  const names = [...new Set(lines.flatMap((l) => [l.src, l.dst]))].sort()
  const index = new Map(names.map((n, i) => [n, i]))
  const label = Math.max(0, ...names.map((n) => n.length)) * CHARACTER + MARGIN
  const size = label + names.length * CELL + MARGIN
  const at = (i: number): number => label + i * CELL
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size} ${size}" width="${size}" height="${size}" role="img">`,
    `<title>Reach: rows reach columns</title>`,
    STYLE,
  ]
  for (const [i, name] of names.entries()) {
    const middle = at(i) + CELL / 2 + 4
    parts.push(
      `<text x="${label - 6}" y="${middle}" text-anchor="end">${xml(name)}</text>`,
      `<text x="${middle}" y="${label - 6}" transform="rotate(-90 ${middle} ${label - 6})">${xml(name)}</text>`,
    )
  }
  for (let i = 0; i <= names.length; i++) {
    const end = at(names.length)
    parts.push(`<path class="grid" d="M${label} ${at(i)}H${end}M${at(i)} ${label}V${end}"/>`)
  }
  for (const l of lines) {
    const x = at(index.get(l.dst)!)
    const y = at(index.get(l.src)!)
    const shape =
      l.ports === 'all' && !l.isPartial
        ? `<rect class="all" x="${x + 4}" y="${y + 4}" width="${CELL - 8}" height="${CELL - 8}"/>`
        : `<circle class="some" cx="${x + CELL / 2}" cy="${y + CELL / 2}" r="${CELL / 2 - 6}"/>`
    const remark = l.isPartial ? ' (some pods)' : ''
    parts.push(`<g>${shape}<title>${xml(`${l.src} → ${l.dst}: ${l.ports}${remark}`)}</title></g>`)
  }
  parts.push('</svg>')
  return `${parts.join('\n')}\n`
}
