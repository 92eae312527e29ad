/**
 * Reach as one HTML page: the matrix, a table that a word filters, what the CNI ignores and where the engines differ.
 *
 * A single file that asks nothing of the network; `/` goes to the filter; light and dark.
 */
import type { Reach } from '../../query/reach-types.ts'
import { count, reachLines } from './lines.ts'
import { reachSvg, xml } from './svg.ts'

const STYLE = `:root { color-scheme: light dark; font: 15px system-ui, sans-serif }
body { margin: 2rem; max-width: 80rem } table { border-collapse: collapse } td, th { padding: .2rem .8rem; text-align: left; border-bottom: 1px solid #8884 }
td { font-family: ui-monospace, monospace; font-size: 13px } .picture { overflow: auto } input { font: inherit; padding: .3rem; width: 24rem }`

const SCRIPT = `const q = document.getElementById('q'), rows = [...document.querySelectorAll('#connections tr')]
q.addEventListener('input', () => { const w = q.value.toLowerCase(); for (const r of rows) r.hidden = !r.textContent.toLowerCase().includes(w) })
addEventListener('keydown', (e) => { if (e.key === '/' && document.activeElement !== q) { e.preventDefault(); q.focus() } })`

/** The document as a page. */
export function reachHtml(reach: Reach): string {
  const lines = reachLines(reach)
  const rows = lines.map(
    (l) =>
      `<tr><td>${xml(l.src)}</td><td>${xml(l.dst)}</td><td>${xml(l.ports)}${l.isPartial ? ' (some pods)' : ''}</td></tr>`,
  )
  const differences = (reach.differences ?? []).map(
    (d) =>
      `<tr><td>${xml(d.src)}</td><td>${xml(d.dst)}</td><td>${d.protocol}/${d.port}</td><td>${d.policy}</td><td>${xml(d.packets)}</td><td>${xml(`${d.text} [${d.cause}]`)}</td></tr>`,
  )
  const { cni, ignored } = reach.enforcement
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>podwalk reach</title><style>${STYLE}</style></head>
<body><h1>Who can talk to whom</h1>
<p>${count(lines.length, 'pair')} connected (by ${reach.by}, engine ${reach.engine}); what is not listed is denied.</p>
${ignored.length === 0 ? '' : `<p>⚠ ${xml(cni)} does not enforce: ${xml(ignored.join(', '))}</p>`}
<div class="picture">${reachSvg(reach)}</div>
<h2>Connections</h2><p><label>Filter (/) <input id="q" type="search"></label></p>
<table><thead><tr><th>from</th><th>to</th><th>ports</th></tr></thead><tbody id="connections">
${rows.join('\n')}
</tbody></table>
${differences.length === 0 ? '' : `<h2>Policies and packets differ</h2><table><tbody>\n${differences.join('\n')}\n</tbody></table>`}
<script>${SCRIPT}</script></body></html>
`
}
