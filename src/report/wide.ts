/**
 * `-o wide`: the same lines as text, not cut, and below each hop what it knows: the rule as the save tool prints it and
 * the manifest line that made it, conntrack and neighbour states, frame sizes and MAC addresses.
 */

import type { DecidedBy, Trace, TraceHop } from '../query/trace-types.ts'
import { dissectFrame } from '../wire/dissect.ts'
import type { Paint } from './paint.ts'
import { traceText } from './text.ts'

/** Wider than any line: nothing is cut. */
const UNLIMITED = 100_000

/** The wide report. */
export function traceWide(trace: Trace, paint: Paint): string {
  return traceText(trace, { columns: UNLIMITED, paint, below: detailLines })
    .split('\n')
    .map((line, i) => (i === 0 ? line.replace(/ {3,}/, '   ') : line))
    .join('\n')
}

function detailLines(hop: TraceHop, trace: Trace): string[] {
  const lines: string[] = []
  const { text, origin } = hop.detail
  if (hop.point === 'rule' && typeof text === 'string') lines.push(text)
  if (isOrigin(origin))
    lines.push(`from ${origin.kind} ${origin.namespace}/${origin.name} ${origin.rule}  ${origin.file}:${origin.line}`)
  const frame = hop.frame === null ? undefined : trace.frames[hop.frame]
  if (frame !== undefined) {
    const bytes = Buffer.from(frame.hex, 'hex')
    const layers = dissectFrame(
      bytes,
      trace.interfaces.find((i) => i.netns === frame.netns && i.device === frame.device)?.linkType ?? 'ether',
    )
    const words = [`frame ${hop.frame}`, `${bytes.length} bytes`]
    let isInner = false
    for (const l of layers) {
      if (l.layer === 'ethernet') words.push(`${l.src} > ${l.dst}`)
      if (l.layer !== 'ipv4') continue
      words.push(`${isInner ? 'inside: ' : ''}ttl ${l.ttl}`, `id ${l.id}`, ...(l.df ? ['DF'] : []))
      isInner = true
    }
    lines.push(`${words.join(', ')}, at ${frame.atNs} ns`)
  }
  if (hop.point === 'conntrack' && hop.detail.tuple !== undefined) lines.push(String(hop.detail.tuple))
  return lines
}

function isOrigin(value: unknown): value is DecidedBy {
  return typeof value === 'object' && value !== null && 'kind' in value && 'line' in value
}
