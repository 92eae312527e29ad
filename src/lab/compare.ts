/**
 * Comparing two recordings: the kernel's (expected) and ours (got).
 *
 * Same decision as the recorder's diff_results: frames per interface (the first difference of each), the global order of
 * events when all frames are equal, the results of the steps, the state at the end. Kernel release, raw frames and
 * volatile marks do not count.
 */
import { describeFrame } from '../wire/describe.ts'
import type { LabLinkType, LabResult } from './scenario.ts'

/** One difference between two recordings. */
export interface LabDifference {
  readonly kind: 'frames' | 'order' | 'ops' | 'state'
  /** `ns/dev`, the state query, or empty. */
  readonly place: string
  /** What differs, one line. */
  readonly message: string
  /** Decoded sides, where there is something to show. */
  readonly expected?: string
  readonly got?: string
}

/** All differences, empty when the recordings are equal. */
export function checkLab(got: LabResult, expected: LabResult): LabDifference[] {
  const out: LabDifference[] = []
  for (const iface of [...new Set([...Object.keys(expected.ifaces), ...Object.keys(got.ifaces)])].sort()) {
    compareFrames(iface, expected, got, out)
  }
  if (out.length === 0) compareOrder(expected, got, out)
  compareOps(expected, got, out)
  for (const query of Object.keys(expected.state)) compareState(query, expected, got, out)
  return out
}

/** The differences as text, expected and got below each other. */
export function formatDifferences(differences: readonly LabDifference[]): string {
  const lines: string[] = []
  for (const d of differences) {
    lines.push(d.place === '' ? d.message : `${d.place}: ${d.message}`)
    if (d.expected !== undefined) lines.push(...prefixed('  expected ', d.expected))
    if (d.got !== undefined) lines.push(...prefixed('  got      ', d.got))
  }
  return lines.join('\n')
}

function prefixed(prefix: string, text: string): string[] {
  return text.split('\n').map((line) => prefix + line)
}

function stepOf(r: LabResult, iface: string, index: number): string {
  const event = r.events.find((e) => e[1] === iface && e[3] === index)
  return event === undefined ? '' : `step ${event[0]} ${event[2]} `
}

function showFrame(r: LabResult, iface: string, index: number): string {
  const hex = r.ifaces[iface]?.[index]
  if (hex === undefined) return 'nothing'
  const link: LabLinkType = r.link_types[iface] ?? 'ether'
  return `${stepOf(r, iface, index)}${describeFrame(Buffer.from(hex, 'hex'), link)}\n${hex}`
}

function compareFrames(iface: string, expected: LabResult, got: LabResult, out: LabDifference[]): void {
  const x = expected.ifaces[iface] ?? []
  const y = got.ifaces[iface] ?? []
  let i = 0
  while (i < x.length && i < y.length && x[i] === y[i]) i++
  if (i === x.length && i === y.length) return
  const parts: string[] = []
  if (x.length !== y.length) parts.push(`expected ${x.length} frames, got ${y.length}`)
  parts.push(`frame ${i} differs`)
  if (i < x.length && i < y.length) {
    const a = Buffer.from(x[i]!, 'hex')
    const b = Buffer.from(y[i]!, 'hex')
    const offsets: number[] = []
    for (let k = 0; k < Math.min(a.length, b.length) && offsets.length < 12; k++) if (a[k] !== b[k]) offsets.push(k)
    parts.push(`lengths ${a.length} and ${b.length}, bytes differ at ${offsets.join(',') || 'the end'}`)
  }
  out.push({
    kind: 'frames',
    place: iface,
    message: parts.join('; '),
    expected: showFrame(expected, iface, i),
    got: showFrame(got, iface, i),
  })
}

function compareOrder(expected: LabResult, got: LabResult, out: LabDifference[]): void {
  const text = (r: LabResult, i: number): string => {
    const e = r.events[i]
    return e === undefined ? 'nothing' : `${e[0]} ${e[1]} ${e[2]}`
  }
  for (let i = 0; i < Math.max(expected.events.length, got.events.length); i++) {
    const a = text(expected, i)
    const b = text(got, i)
    if (a === b) continue
    const window = (r: LabResult): string => {
      const lines: string[] = []
      for (let k = Math.max(0, i - 1); k < i + 4; k++) lines.push(text(r, k))
      return lines.join(' | ')
    }
    out.push({
      kind: 'order',
      place: '',
      message: `global event order differs at event ${i} (step, interface, direction)`,
      expected: window(expected),
      got: window(got),
    })
    return
  }
}

function compareOps(expected: LabResult, got: LabResult, out: LabDifference[]): void {
  const steps = new Set([...expected.ops, ...got.ops].map((o) => o.step))
  for (const step of [...steps].sort((a, b) => a - b)) {
    const a = canonical(expected.ops.filter((o) => o.step === step))
    const b = canonical(got.ops.filter((o) => o.step === step))
    if (a !== b)
      out.push({ kind: 'ops', place: `step ${step}`, message: 'the result of the step differs', expected: a, got: b })
  }
}

/** Counters of /proc/net/snmp and netstat that meant something else before Linux 6.7. */
export const OLD_KERNEL_COUNTERS: readonly string[] = ['Ip.OutRequests', 'Ip.OutTransmits', 'IpExt.OutOctets']

/**
 * Before Linux 6.7 a forwarded packet also counted in Ip.OutRequests, twice in IpExt.OutOctets, and there was no
 * Ip.OutTransmits (commit b4a11b2033b7): recordings of such kernels (User-Mode Linux 6.1) say nothing about these three.
 */
function countsForwardedAsSent(kernel: string): boolean {
  const [major, minor] = kernel.split('.').map(Number)
  return major !== undefined && minor !== undefined && (major < 6 || (major === 6 && minor < 7))
}

function withoutSent(state: LabResult['state'][string] | undefined): unknown {
  return Object.fromEntries(Object.entries(state ?? {}).filter(([name]) => !OLD_KERNEL_COUNTERS.includes(name)))
}

function compareState(query: string, expected: LabResult, got: LabResult, out: LabDifference[]): void {
  const old = query.endsWith(':snmp') && countsForwardedAsSent(expected.kernel)
  const a = old ? withoutSent(expected.state[query]) : expected.state[query]
  const b = old ? withoutSent(got.state[query]) : got.state[query]
  if (canonical(a) === canonical(b)) return
  const x = stateLines(a)
  const y = stateLines(b)
  const only = (p: readonly string[], q: readonly string[]): string => p.filter((l) => !q.includes(l)).join('\n')
  const missing = only(x, y)
  const extra = only(y, x)
  out.push({
    kind: 'state',
    place: query,
    message: missing === '' && extra === '' ? 'same lines in another order or number' : 'the state differs',
    expected: missing === '' && extra === '' ? x.join('\n') : missing,
    got: missing === '' && extra === '' ? y.join('\n') : extra,
  })
}

function stateLines(v: unknown): string[] {
  if (Array.isArray(v)) return v.map(String)
  if (typeof v === 'object' && v !== null) return Object.entries(v).map(([k, n]) => `${k} ${String(n)}`)
  return v === undefined ? [] : [String(v)]
}

/** JSON with sorted keys, so that equal values give equal text. */
function canonical(v: unknown): string {
  return JSON.stringify(v, (_key, value: unknown) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
  })
}
