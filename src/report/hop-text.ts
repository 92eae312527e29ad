/**
 * One hop of a walk as one line.
 *
 * Frames are read again from their bytes, so what is printed is what a capture on that device shows; a translation is
 * printed with the address it replaced (`10.96.0.10:80 => 10.244.2.5:8080`). Everything else is the hop's own words,
 * without what the column before has said already.
 */
import type { Trace, TraceHop } from '../query/trace-types.ts'
import { endText, type Flow, flowText, readFrame } from './flow.ts'
import type { Paint } from './paint.ts'
import { cut } from './paint.ts'

/** Walks along the hops and remembers the addresses of the packet so far. */
export class HopWriter {
  private readonly trace: Trace
  private readonly paint: Paint
  private readonly isShort: boolean
  private flow: Flow | null

  constructor(trace: Trace, start: Flow | null, paint: Paint, isShort: boolean) {
    this.trace = trace
    this.flow = start
    this.paint = paint
    this.isShort = isShort
  }

  /** The words of a hop in at most `columns`. */
  line(hop: TraceHop, columns: number): string {
    const frame = hop.frame === null ? undefined : this.trace.frames[hop.frame]
    if (frame !== undefined && (hop.point === 'tx' || hop.point === 'rx')) {
      const { flow, what } = readFrame(this.trace, frame)
      if (flow === null) return cut(what, columns)
      this.flow = flow
      return cut(`${flowText(flow)}  ${what}`, columns)
    }
    if (hop.point === 'nat') return this.natLine(hop, columns)
    const text = cut(hopWords(hop, this.isShort), columns)
    return hop.point === 'end' ? this.paint('bad', text) : text
  }

  private natLine(hop: TraceHop, columns: number): string {
    const { manip, ip, port } = hop.detail
    if (this.flow === null || typeof ip !== 'string' || typeof port !== 'number')
      return cut(hopWords(hop, this.isShort), columns)
    const isSource = manip === 'source'
    const old = isSource ? this.flow.sport : this.flow.dport
    const before = endText(isSource ? this.flow.src : this.flow.dst, old)
    const now = old === 0 ? 0 : port
    this.flow = isSource ? { ...this.flow, src: ip, sport: now } : { ...this.flow, dst: ip, dport: now }
    return this.paint('address', cut(`${isSource ? 'src' : 'dst'} ${before} => ${endText(ip, now)}`, columns))
  }
}

/** The hop's words, without what the column of the point says already; `isShort` abbreviates generated chain names. */
export function hopWords(hop: TraceHop, isShort = false): string {
  if (hop.point === 'rule' && typeof hop.detail.chain === 'string') {
    const text = ruleWords(hop)
    return isShort ? shortChain(text) : text
  }
  const text = hop.action
  for (const prefix of REDUNDANT) if (text.startsWith(prefix)) return text.slice(prefix.length)
  return text
}

/** Starts of actions that only repeat the point's name. */
const REDUNDANT = ['route: ', 'conntrack: ', 'neighbour ', 'NAT: ', 'fdb: ', 'fdb ']

/** kube-proxy's chains end in a hash of 16 letters; four of them tell two apart, `wide` shows all. */
function shortChain(text: string): string {
  return text.replaceAll(/\b(KUBE-[A-Z]+-[A-Z2-7]{4})[A-Z2-7]{12}\b/g, '$1…')
}

/** `nat KUBE-SERVICES 4 → KUBE-SVC-ABCD…  shop/api:http cluster IP`: place, target and what the rule's author wrote. */
function ruleWords(hop: TraceHop): string {
  const { table, chain, rule, target, matched, text } = hop.detail
  const place = `${String(table)} ${String(chain)} ${String(rule)}`
  if (matched === false) return `${place} does not match`
  const comment = typeof text === 'string' ? / --comment (?:"([^"]*)"|(\S+))/.exec(text) : null
  // Only a comment that names an object says more than the chains do.
  const words = comment === null ? '' : (comment[1] ?? comment[2] ?? '')
  const said = words.includes('/') ? `  ${words}` : ''
  const action = String(target ?? '')
    .replace(' --to-destination ', ' ')
    .replace(' --reject-with ', ' ')
  return `${place} → ${action}${said}`
}

/**
 * The hops of a walk that say something: without the policies that accept and the jumps into chains in which nothing
 * matched. A walk that holds the rules that did not match (-v) is left whole.
 */
export function telling(hops: readonly TraceHop[]): readonly TraceHop[] {
  if (hops.some((h) => h.detail.matched === false)) return hops
  return hops.filter((hop, i) => {
    if (hop.point === 'policy') return hop.detail.verdict !== 'ACCEPT'
    const target = hop.detail.target
    if (hop.point !== 'rule' || typeof target !== 'string' || !/^[A-Za-z][\w-]*$/.test(target) || VERDICTS.has(target))
      return true
    const next = hops[i + 1]
    return next?.point === 'rule' ? next.detail.chain === target : next?.point !== 'policy'
  })
}

const VERDICTS: ReadonlySet<string> = new Set([
  'ACCEPT',
  'DROP',
  'RETURN',
  'REJECT',
  'MASQUERADE',
  'MARK',
  'CT',
  'NOTRACK',
])
