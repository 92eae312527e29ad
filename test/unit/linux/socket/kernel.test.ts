/** Scenarios recorded on the real kernel (Linux 6.18) with the lab's recorder: the same calls give the same frames. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { checkLab, formatDifferences } from '../../../../src/lab/compare.ts'
import { runLab } from '../../../../src/lab/run.ts'
import type { LabResult } from '../../../../src/lab/scenario.ts'
import { parseScenario } from '../../../../src/lab/validate.ts'

const at = (name: string): string => new URL(`./fixtures/${name}`, import.meta.url).pathname

function both(name: string): { got: LabResult; golden: LabResult } {
  const file = at(`${name}.scenario.json`)
  const { scenario } = parseScenario(readFileSync(file, 'utf8'), file)
  if (scenario === null) throw new Error(`${name}: not a scenario`)
  return { got: runLab(scenario), golden: JSON.parse(readFileSync(at(`${name}.golden.json`), 'utf8')) as LabResult }
}

/**
 * A frame without what follows from the random initial sequence numbers: the checksum of a TCP header, SACK blocks, and
 * the checksum of the segment that an ICMP error quotes.
 */
function masked(hex: string): string {
  const b = Buffer.from(hex, 'hex')
  if (b.readUInt16BE(12) !== 0x0800) return hex
  const th = 14 + (b[14]! & 15) * 4
  if (b[23] === 6) {
    b.fill(0, th + 16, th + 18)
    const head = (b[th + 12]! >> 4) * 4
    for (let p = th + 20; p < th + head; p += b[p] === 1 ? 1 : b[p + 1]!)
      if (b[p] === 5) b.fill(0, p + 2, p + b[p + 1]!)
  } else if (b[23] === 1 && b[th] === 3) {
    b.fill(0, th + 2, th + 4)
    b.fill(0, th + 8 + 20 + 16, th + 8 + 20 + 18)
  }
  return b.toString('hex')
}

describe('sockets do on the wire what the real kernel did', () => {
  it.each(['errors-and-closes', 'retransmission'])('%s', (name) => {
    const { got, golden } = both(name)
    const d = checkLab(got, golden)
    if (d.length > 0) throw new Error(formatDifferences(d))
  })

  it('path-mtu: segments in flight are cut again when the path shrinks', () => {
    const { got, golden } = both('path-mtu')
    for (const [iface, frames] of Object.entries(golden.ifaces)) {
      expect(got.ifaces[iface]!.map(masked)).toEqual(frames.map(masked))
    }
    expect(got.ops).toEqual(golden.ops)
  })
})
