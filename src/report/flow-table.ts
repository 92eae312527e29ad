/**
 * The packets of a conversation as a table (`--flow`): who sent what, and where each packet ended.
 */
import type { Trace, TracePacket } from '../query/trace-types.ts'
import { flowText, readFrame } from './flow.ts'
import { cut, cutMiddle, markOf, type Paint, roleOf } from './paint.ts'

const MAX_PLACE_COLUMNS = 16

/** Lines of the table, with a heading and the outcome of the connection. */
export function flowTable(trace: Trace, columns: number, paint: Paint): string[] {
  const lines = [paint('strong', 'packets'), '']
  const names = trace.packets.map(
    (p) => [placeName(trace, p.from), p.to === null ? '-' : placeName(trace, p.to)] as const,
  )
  const numberColumns = Math.max(1, String(trace.packets.length).length)
  const width = (list: readonly string[]): number =>
    Math.min(MAX_PLACE_COLUMNS, Math.max(1, ...list.map((n) => n.length)))
  const fromColumns = width(names.map(([from]) => from))
  const toColumns = width(names.map(([, to]) => to))
  const lead = 2 + numberColumns + 2 + fromColumns + 4 + toColumns + 2
  for (const [i, packet] of trace.packets.entries()) {
    const [from, to] = names[i]!
    const n = String(packet.n).padStart(numberColumns)
    const mark = paint(roleOf(packet.verdict), markOf(packet.verdict))
    const head = `  ${paint('dim', n)}  ${cutMiddle(from, fromColumns).padEnd(fromColumns)} -> `
    lines.push(
      `${head}${cutMiddle(to, toColumns).padEnd(toColumns)}  ${mark} ${cut(fate(trace, packet), columns - lead - 2)}`,
    )
  }
  lines.push('')
  const { flow } = trace
  if (flow === null) lines.push(`${paint('bad', '✗')} no connection`)
  else {
    const mark = flow.established ? paint('good', '✓') : paint('bad', '✗')
    const state = flow.established ? 'connection established' : 'connection not established'
    const data = `${flow.requestBytes} bytes sent, ${flow.responseBytes} bytes received`
    lines.push(`${mark} ${state}, ${data}, ${flow.closed ? 'closed' : 'not closed'}`)
  }
  return lines
}

/** The two ends are the client and the server; what stands between them goes by its own name. */
function placeName(trace: Trace, netns: string): string {
  const { src } = trace.question
  if (netns === `${src.kind}:${src.name}`) return 'client'
  const { delivered } = trace
  if (delivered !== null && netns === (delivered.pod === null ? `node:${delivered.node}` : `pod:${delivered.pod}`))
    return 'server'
  return netns.slice(netns.lastIndexOf(netns.startsWith('pod:') ? '/' : ':') + 1)
}

function fate(trace: Trace, packet: TracePacket): string {
  const frame = trace.frames.find((f) => f.packet === packet.n)
  let text = packet.summary
  if (frame !== undefined) {
    const { flow, what } = readFrame(trace, frame)
    text = flow === null ? what : `${what}  ${flowText(flow)}`
  }
  return packet.verdict === 'DELIVERED' ? text : `${packet.verdict} ${text}`
}
