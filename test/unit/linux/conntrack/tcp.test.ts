/**
 * TCP tracking against the real kernel: sequences of segments whose conntrack state, timeout and ctstate Linux 6.18
 * recorded (a router between two hosts, mangle FORWARD writing the ctstate into the TOS, conntrack -L after each; timeouts
 * that had lost a part of a second when they were read are rounded up).
 */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { conntrackLine } from '../../../../src/linux/netfilter/conntrack/print.ts'
import { Router, tcp } from './support.ts'

/** direction, flags, seq, ack, window, length, options in hex, ctstate, `timeout STATE [marks]` ('' = no entry) */
type Step = [0 | 1, string, number, number, number, number, string, string, string]
interface Recording {
  readonly kernel: string
  readonly cases: readonly { readonly name: string; readonly steps: readonly Step[] }[]
}

const recording = JSON.parse(
  readFileSync(new URL('./fixtures/tcp-linux-6.18.json', import.meta.url), 'utf8'),
) as Recording

const STATES: Readonly<Record<number, string>> = {
  0: 'ESTABLISHED',
  1: 'RELATED',
  2: 'NEW',
  3: 'ESTABLISHED',
  4: 'RELATED',
}

/** `timeout STATE [marks]` of the only entry. */
function summary(r: Router): string {
  const ids = r.ct.entries()
  expect(ids.length).toBeLessThanOrEqual(1)
  if (ids.length === 0) return ''
  const line = conntrackLine(r.ct, ids[0]!)
  const m = /^tcp {6}6 (\d+) (\w+) (.*)$/.exec(line)!
  return [m[1]!, m[2]!, ...(m[3]!.match(/\[\w+\]/g) ?? [])].join(' ')
}

describe(`TCP tracking as Linux ${recording.kernel}`, () => {
  for (const c of recording.cases) {
    it(c.name, () => {
      const r = new Router()
      const got: string[] = []
      const want: string[] = []
      c.steps.forEach(([dir, flags, seq, ack, win, len, options, state, entry], i) => {
        const segment = { flags, seq, ack, win, len, options: [...Buffer.from(options, 'hex')] }
        const packet =
          dir === 0 ? tcp('10.1.0.2', 40000, '10.2.0.2', 80, segment) : tcp('10.2.0.2', 80, '10.1.0.2', 40000, segment)
        const o = r.forward(packet)
        got.push(`${i} ${flags} ${o.ctinfo === null ? 'INVALID' : STATES[o.ctinfo]} ${summary(r)}`.trim())
        want.push(`${i} ${flags} ${state} ${entry}`.trim())
      })
      expect(got).toEqual(want)
    })
  }
})
