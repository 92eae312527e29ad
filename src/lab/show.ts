/**
 * A recording as text: one line per event, then the results of the steps and the state.
 *
 * A pure function of the result; frames are decoded by wire/describe.ts.
 */
import { describeFrame } from '../wire/describe.ts'
import type { LabResult } from './scenario.ts'

/** The recording, decoded, one event a line. */
export function showLab(r: LabResult): string {
  const lines = [`# ${r.scenario} ${r.title} ${r.kernel}`]
  for (const [step, iface, direction, index] of r.events) {
    const hex = r.ifaces[iface]?.[index] ?? ''
    const text = describeFrame(Buffer.from(hex, 'hex'), r.link_types[iface] ?? 'ether')
    lines.push(`${String(step).padStart(3)} ${iface.padEnd(14)} ${direction} ${text}`)
  }
  for (const { step, op, ...fields } of r.ops) {
    const words = Object.entries(fields).map(([k, v]) => `${k}=${typeof v === 'string' ? v : JSON.stringify(v)}`)
    lines.push(`   op ${step} ${op} ${words.join(' ')}`)
  }
  for (const [query, answer] of Object.entries(r.state)) {
    lines.push(`   state ${query}`)
    if (Array.isArray(answer)) lines.push(...answer.map((l) => `       ${String(l)}`))
    else lines.push(...Object.entries(answer).map(([k, n]) => `       ${k} ${String(n)}`))
  }
  return `${lines.join('\n')}\n`
}
