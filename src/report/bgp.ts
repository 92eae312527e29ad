/**
 * BGP state as text: sessions, then routes, as `birdc show protocols` and `show route` would be read side by side.
 */
import type { BgpState } from '../bgp/state.ts'
import type { Paint } from './paint.ts'

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((r) => r[i]!.length)))
  return rows.map((r) =>
    r
      .map((cell, i) => (i === r.length - 1 ? cell : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd(),
  )
}

/** Sessions and routes of one speaker. */
export function bgpText(state: BgpState, paint: Paint): string {
  const lines = [`AS ${state.asn}, router id ${state.routerId}`, '']
  const sessions = state.sessions.map((s) => [
    ...[s.neighbor, String(s.asn), s.state, `${s.uptimeS}s`, String(s.prefixes), s.lastError],
  ])
  const [head, ...rest] = columns([['NEIGHBOR', 'AS', 'STATE', 'UP', 'PREFIXES', 'LAST ERROR'], ...sessions])
  lines.push(paint('dim', head!))
  rest.forEach((line, i) => {
    const isUp = state.sessions[i]!.state === 'Established'
    lines.push(line.replace(state.sessions[i]!.state, (word) => paint(isUp ? 'good' : 'bad', word)))
  })
  lines.push('')
  const rib = state.rib.map((r) => [
    ...[
      `${r.best ? '*' : ' '}${r.stale ? 's' : ' '} ${r.prefix}`,
      r.nextHop ?? 'own',
      r.from ?? '-',
      String(r.localPref),
    ],
    ...[r.med === null ? '-' : String(r.med), [...r.asPath, r.origin === 'incomplete' ? '?' : r.origin[0]!].join(' ')],
  ])
  const [ribHead, ...ribRest] = columns([['   PREFIX', 'NEXT HOP', 'FROM', 'PREF', 'MED', 'PATH'], ...rib])
  lines.push(paint('dim', ribHead!), ...ribRest, '')
  return lines.join('\n')
}
