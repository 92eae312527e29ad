/**
 * A Trace as a Mermaid flowchart, as GitHub renders it in a Markdown code block: one box per host, its devices inside,
 * the request as arrows in the order of the walk, the reply dotted.
 *
 * Arrows carry the number of the hop at which the packet leaves and its addresses where they changed. What decides
 * (rules that jump to a verdict, translations, the end) stands in the box of the host as one node.
 */
import type { Trace, TraceHop } from '../query/trace-types.ts'
import { type Flow, flowText, readFrame } from './flow.ts'
import { hostTitle } from './text.ts'

/** The chart; ends with a newline. */
export function traceMermaid(trace: Trace): string {
  const chart = new Chart(trace)
  chart.walk(trace.walk, '-->')
  chart.end(trace)
  chart.walk(trace.reply, '-.->')
  return chart.text()
}

/** Points at which a packet is somewhere else than before; the others decide about a device that is not reached yet. */
const MOVES: ReadonlySet<string> = new Set(['tx', 'rx', 'bridge', 'local-in', 'flood', 'nat', 'end'])

interface Stop {
  readonly id: string
  readonly label: string
}

class Chart {
  private readonly trace: Trace
  private readonly hosts = new Map<
    string,
    { readonly id: string; readonly title: string; readonly stops: Map<string, Stop> }
  >()
  private readonly edges: string[] = []
  private readonly classes: string[] = []
  private last: Stop | null = null

  constructor(trace: Trace) {
    this.trace = trace
  }

  /** Adds the arrows of one direction. */
  walk(hops: readonly TraceHop[], arrow: string): void {
    let previous: Stop | null = null
    let shown: string | null = null
    let flow: Flow | null = null
    let leftAt = 1
    for (const hop of hops) {
      if (hop.frame !== null) {
        const frame = this.trace.frames[hop.frame]
        if (frame !== undefined) flow = readFrame(this.trace, frame).flow ?? flow
      }
      if (!MOVES.has(hop.point) || (hop.device === null && hop.point !== 'nat')) continue
      const stop: Stop | null = hop.point === 'nat' ? this.nat(hop) : this.device(hop)
      if (stop === null || stop === previous) {
        leftAt = hop.n
        continue
      }
      if (previous !== null) {
        const text = flow === null ? null : flowText(flow)
        const label = text === null || text === shown ? String(leftAt) : `${leftAt}: ${text}`
        if (text !== null) shown = text
        this.edges.push(`  ${previous.id} ${arrow}|${quote(label)}| ${stop.id}`)
      }
      previous = stop
      leftAt = hop.n
    }
    this.last = previous
  }

  /** The verdict, behind the last device of the request. */
  end(trace: Trace): void {
    const isGood = trace.verdict === 'DELIVERED'
    const label = isGood
      ? '✓ DELIVERED'
      : `${trace.verdict === 'UNMODELLED' ? '?' : '✗'} ${trace.verdict}: ${trace.reason.text}`
    this.edges.push(`  ${this.last === null ? 'start' : this.last.id} --> verdict(${quote(label)})`)
    if (this.last === null) this.classes.unshift(`  start(${quote(trace.question.src.name)})`)
    this.classes.push(`  class verdict ${isGood ? 'good' : 'bad'}`)
  }

  text(): string {
    const lines = ['flowchart LR']
    for (const host of this.hosts.values()) {
      lines.push(`  subgraph ${host.id}[${quote(host.title)}]`)
      for (const stop of host.stops.values()) lines.push(`    ${stop.id}${stop.label}`)
      lines.push('  end')
    }
    lines.push(...this.edges)
    lines.push('  classDef good fill:#d8f5d8,stroke:#1a7f37,color:#0b3d1a')
    lines.push('  classDef bad fill:#ffe0e0,stroke:#cf222e,color:#5c0b12')
    lines.push(...this.classes)
    return `${lines.join('\n')}\n`
  }

  private host(hop: TraceHop): { readonly id: string; readonly title: string; readonly stops: Map<string, Stop> } {
    let host = this.hosts.get(hop.netns)
    if (host === undefined) {
      host = { id: `h${this.hosts.size + 1}`, title: hostTitle(hop), stops: new Map() }
      this.hosts.set(hop.netns, host)
    }
    return host
  }

  private device(hop: TraceHop): Stop {
    const host = this.host(hop)
    const key = hop.device ?? ''
    let stop = host.stops.get(key)
    if (stop === undefined) {
      stop = { id: `${host.id}d${host.stops.size + 1}`, label: `[${quote(key)}]` }
      host.stops.set(key, stop)
    }
    return stop
  }

  private nat(hop: TraceHop): Stop {
    const host = this.host(hop)
    const { manip, ip, port } = hop.detail
    const text = typeof ip === 'string' ? `${manip === 'source' ? 'SNAT' : 'DNAT'} ${ip}:${String(port)}` : hop.action
    const key = `nat ${text}`
    let stop = host.stops.get(key)
    if (stop === undefined) {
      stop = { id: `${host.id}d${host.stops.size + 1}`, label: `{{${quote(text)}}}` }
      host.stops.set(key, stop)
    }
    return stop
  }
}

/** A label in quotes; characters that Mermaid or HTML would read are written as entity codes. */
function quote(text: string): string {
  return `"${text.replaceAll(/[#"<>&;]/g, (c) => `#${c.charCodeAt(0)};`)}"`
}
