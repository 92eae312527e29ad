/**
 * A Trace as text: what `podwalk trace` prints.
 *
 *     TCP shop/web-0 -> svc/shop/api:80                   kubenet, kube-proxy iptables
 *
 *     pod shop/web-0 on n1
 *       1  eth0          tx         10.244.1.2:40000 > 10.96.0.10:80  SYN
 *     node n1
 *       2  veth2f3a      rx         ...
 *     ✓ DELIVERED to shop/api-0 on n2 ...
 *
 * A pure function of the document, at most 80 columns, one line per hop, grouped by host; numbers are the hops' own, those
 * that say nothing (a policy that accepts) are left out. Rules that did not match are shown when the document holds them
 * (-v). `wide` is in wide.ts.
 */
import type { Trace, TraceHop } from '../query/trace-types.ts'
import { endText, type Flow } from './flow.ts'
import { flowTable } from './flow-table.ts'
import { HopWriter, telling } from './hop-text.ts'
import { httpLines } from './http-text.ts'
import { cut, cutMiddle, markOf, type Paint, plain, roleOf, wrap } from './paint.ts'
import { resolutionLines } from './resolution-text.ts'

/** How text is written. */
export interface TextOptions {
  readonly columns?: number
  readonly paint?: Paint
  /** Lines below a hop: what `wide` adds. */
  readonly below?: (hop: TraceHop, trace: Trace) => readonly string[]
}

const DEFAULT_COLUMNS = 80
const MAX_DEVICE_COLUMNS = 15
const POINT_COLUMNS = 10
const LABEL_COLUMNS = 14

/** The whole report; ends with a newline. */
export function traceText(trace: Trace, options: TextOptions = {}): string {
  const columns = options.columns ?? DEFAULT_COLUMNS
  const paint = options.paint ?? plain
  const lines = [...heading(trace, columns, paint), '']
  const { resolution } = trace
  if (resolution !== undefined) {
    lines.push(...resolutionLines(resolution, columns, paint), '')
    for (const hops of [resolution.walk, resolution.reply]) {
      if (hops.length > 0) lines.push(...walkLines(trace, hops, null, columns, paint, options.below), '')
    }
    if (resolution.walk.length > 0) lines.push(paint('strong', 'connection'), '')
  }
  lines.push(...walkLines(trace, trace.walk, requestFlow(trace), columns, paint, options.below))
  if (trace.walk.length > 0) lines.push('')
  lines.push(...verdictLines(trace, columns, paint))
  if (trace.reply.length > 0) {
    lines.push('', paint('strong', 'reply'), '')
    lines.push(...walkLines(trace, trace.reply, replyFlow(trace), columns, paint, options.below), '')
  }
  if (trace.replyVerdict !== null) {
    const { verdict, text } = trace.replyVerdict
    lines.push(...labelled(paint(roleOf(verdict), `${markOf(verdict)} reply ${verdict}`), text, columns))
  }
  lines.push(...onwardLines(trace, columns, paint, options.below))
  if (trace.http !== undefined) lines.push('', ...httpLines(trace.http, columns, paint))
  if (trace.question.flow) lines.push('', ...flowTable(trace, columns, paint))
  if (trace.notes.length > 0) lines.push('')
  for (const note of trace.notes)
    lines.push(...wrap(note, columns - 6).map((l, i) => (i === 0 ? `note: ${l}` : `      ${l}`)))
  return `${lines.map((l) => l.trimEnd()).join('\n')}\n`
}

/** The connections that proxies on the way opened. */
function onwardLines(trace: Trace, columns: number, paint: Paint, below: TextOptions['below']): string[] {
  const lines: string[] = []
  for (const leg of trace.onward ?? []) {
    lines.push('', paint('strong', cut(`connection of ${hostTitle({ node: null, netns: leg.from })}`, columns)), '')
    lines.push(...walkLines(trace, leg.walk, null, columns, paint, below), '')
    const mark = paint(roleOf(leg.verdict), `${markOf(leg.verdict)} ${leg.verdict}`)
    const d = leg.delivered
    if (d === null) lines.push(...labelled(mark, leg.reason.text, columns))
    else {
      lines.push(
        `${mark}${cut(` to ${d.pod ?? endText(d.dst, 0)}${d.node === null ? '' : ` on ${d.node}`}`, columns - 12)}`,
      )
      lines.push(...labelled('  it sees', `${endText(d.src, d.sport)} > ${endText(d.dst, d.dport)}`, columns))
    }
    if (leg.replyVerdict === null) continue
    const { verdict, text } = leg.replyVerdict
    lines.push(...labelled(paint(roleOf(verdict), `${markOf(verdict)} reply ${verdict}`), text, columns))
  }
  return lines
}

function heading(trace: Trace, columns: number, paint: Paint): string[] {
  const { question: q } = trace
  const setting = `${q.cni}, ${q.proxyMode === 'none' ? 'no kube-proxy' : `kube-proxy ${q.proxyMode}`}`
  const title = `${q.protocol} ${q.src.name} -> ${q.dst.asked}`
  const lines: string[] = []
  if (title.length + 2 + setting.length <= columns) {
    lines.push(
      `${paint('strong', title)}${' '.repeat(columns - title.length - setting.length)}${paint('dim', setting)}`,
    )
  } else lines.push(paint('strong', cutMiddle(title, columns)), paint('dim', `  ${setting}`))
  for (const [word, end] of [
    ['from', q.src],
    ['to', q.dst],
  ] as const) {
    const where = end.node === undefined ? '' : ` on ${end.node}`
    lines.push(cut(`  ${word.padEnd(5)}${end.kind} ${end.name}  ${end.ip}${where}`, columns))
  }
  return lines
}

/** Addresses with which the request starts. */
function requestFlow(trace: Trace): Flow {
  const { src, dst, sport, dport, protocol } = trace.question
  // What ICMP has in the place of a port is the echo identifier.
  if (protocol === 'ICMP') return { src: src.ip, sport: 0, dst: dst.ip, dport: 0 }
  return { src: src.ip, sport, dst: dst.ip, dport }
}

/** Addresses with which the reply starts: the receiver's view, turned round. */
function replyFlow(trace: Trace): Flow | null {
  const d = trace.delivered
  if (d === null) return null
  if (trace.question.protocol === 'ICMP') return { src: d.dst, sport: 0, dst: d.src, dport: 0 }
  return { src: d.dst, sport: d.dport, dst: d.src, dport: d.sport }
}

function walkLines(
  trace: Trace,
  hops: readonly TraceHop[],
  start: Flow | null,
  columns: number,
  paint: Paint,
  below: TextOptions['below'],
): string[] {
  const lines: string[] = []
  const writer = new HopWriter(trace, start, paint, below === undefined)
  const widest = Math.max(4, ...hops.map((h) => h.device?.length ?? 0))
  const deviceColumns = Math.min(MAX_DEVICE_COLUMNS, widest)
  const numberColumns = Math.max(2, String(hops.at(-1)?.n ?? 0).length)
  let host: string | null = null
  for (const hop of below === undefined ? telling(hops) : hops) {
    if (hop.netns !== host) {
      host = hop.netns
      lines.push(paint('host', cut(hostTitle(hop), columns)))
    }
    const n = String(hop.n).padStart(numberColumns)
    const device = cut(hop.device ?? '', deviceColumns).padEnd(deviceColumns)
    const lead = `  ${n}  ${device}  ${hop.point.padEnd(POINT_COLUMNS)} `
    lines.push(
      `  ${paint('dim', n)}  ${device}  ${paint('dim', hop.point.padEnd(POINT_COLUMNS))} ${writer.line(hop, columns - lead.length)}`,
    )
    for (const extra of below?.(hop, trace) ?? []) lines.push(`${' '.repeat(lead.length)}${paint('dim', extra)}`)
  }
  return lines
}

/** `pod shop/web-0 on n1`, `node n1`, `underlay`, `host 192.0.2.7`. */
export function hostTitle(hop: { readonly node: string | null; readonly netns: string }): string {
  const at = hop.netns.indexOf(':')
  if (at < 0) return hop.netns
  const kind = hop.netns.slice(0, at)
  const name = hop.netns.slice(at + 1)
  return kind === 'pod' && hop.node !== null ? `pod ${name} on ${hop.node}` : `${kind} ${name}`
}

function verdictLines(trace: Trace, columns: number, paint: Paint): string[] {
  const { verdict, reason, delivered, decidedBy } = trace
  const mark = paint(roleOf(verdict), `${markOf(verdict)} ${verdict}`)
  const lines: string[] = []
  if (delivered !== null) {
    const who = delivered.pod ?? endText(delivered.dst, 0)
    const on = delivered.node === null ? '' : ` on ${delivered.node}`
    lines.push(`${mark}${cut(` to ${who}${on}`, columns - verdict.length - 2)}`)
    const hasPorts = trace.question.protocol !== 'ICMP'
    const from = endText(delivered.src, hasPorts ? delivered.sport : 0)
    const seen = `${from} > ${endText(delivered.dst, hasPorts ? delivered.dport : 0)}`
    lines.push(...labelled('  it sees', seen, columns))
  } else {
    lines.push(`${mark}${paint('dim', `  [${reason.code}]`)}`)
    const last = trace.walk.at(-1)
    if (last !== undefined) {
      const dev = last.device === null ? '' : ` ${last.device}`
      lines.push(...labelled('  where', `${hostTitle(last)}${dev}, hop ${last.n}`, columns))
    }
    lines.push(...labelled('  why', reason.text, columns))
  }
  if (decidedBy !== null) {
    const name = decidedBy.namespace === '' ? decidedBy.name : `${decidedBy.namespace}/${decidedBy.name}`
    const what = [decidedBy.kind, name, decidedBy.rule].filter((w) => w !== '').join(' ')
    const at = decidedBy.file === '' ? '' : `${decidedBy.file}:${decidedBy.line}`
    lines.push(...labelled('  decided by', at === '' ? what : `${what}, ${at}`, columns))
  }
  if (trace.nearestMiss !== null) lines.push(...labelled('  nearest miss', trace.nearestMiss, columns))
  if (delivered === null && reason.hint !== '') lines.push(...labelled('  hint', reason.hint, columns))
  return lines
}

/** A label and text that continues below itself. */
function labelled(label: string, text: string, columns: number): string[] {
  const indent = ' '.repeat(LABEL_COLUMNS + 2)
  // The escape sequences of a painted label take no column.
  const width = label.replace(/\x1b\[\d+m/g, '').length
  const gap = ' '.repeat(Math.max(2, indent.length - width))
  const first = wrap(text, columns - indent.length)
  if (first.length === 0) return [label]
  if (width + 2 > indent.length) {
    const rest = wrap(text, columns - width - 2)
    return rest.map((l, i) => (i === 0 ? `${label}  ${l}` : ' '.repeat(width + 2) + l))
  }
  return first.map((l, i) => (i === 0 ? label + gap + l : indent + l))
}
