import { describe, expect, it } from '@jest/globals'
import { checkLab, formatDifferences } from '../../../src/lab/compare.ts'
import type { LabResult } from '../../../src/lab/scenario.ts'
import { showLab } from '../../../src/lab/show.ts'
import { labGolden, labNames } from '../../support/lab.ts'

const golden = labGolden('nat-masq')

function changed(change: Partial<LabResult>): LabResult {
  return { ...golden, ...change }
}

describe('checkLab', () => {
  it.each(labNames())('finds %s equal to itself', (name) => {
    expect(checkLab(labGolden(name), labGolden(name))).toEqual([])
  })

  it('shows the first differing frame of an interface, decoded, with its step', () => {
    const frames = [...(golden.ifaces['h1/eth0'] ?? [])]
    frames[1] = `${frames[1]?.slice(0, -2)}00`
    const [d, ...rest] = checkLab(changed({ ifaces: { ...golden.ifaces, 'h1/eth0': frames } }), golden)
    expect(rest).toEqual([])
    expect(d).toMatchObject({ kind: 'frames', place: 'h1/eth0' })
    expect(d?.message).toMatch(/^frame 1 differs; lengths \d+ and \d+, bytes differ at \d+$/)
    expect(d?.expected).toMatch(/^step 1 rx .*UDP 53>40000/)
  })

  it('says that frames are missing', () => {
    const [d] = checkLab(changed({ ifaces: { ...golden.ifaces, 'h1/eth0': [] } }), golden)
    expect(d?.message).toBe('expected 4 frames, got 0; frame 0 differs')
    expect(d?.got).toBe('nothing')
  })

  it('looks at the order of events when all frames are equal', () => {
    const events = [...golden.events]
    ;[events[0], events[1]] = [events[1]!, events[0]!]
    expect(checkLab(changed({ events }), golden).map((d) => d.kind)).toEqual(['order'])
  })

  it('compares op results whatever the order of their fields', () => {
    const a = changed({ ops: [{ step: 0, op: 'udp_recv', from: ['10.0.0.1', 5], data: '00' }] })
    const same = changed({ ops: [{ data: '00', from: ['10.0.0.1', 5], op: 'udp_recv', step: 0 }] })
    const other = changed({ ops: [{ step: 0, op: 'udp_recv', errno: 'EAGAIN' }] })
    expect(checkLab(same, a)).toEqual([])
    expect(checkLab(other, a)).toMatchObject([{ kind: 'ops', place: 'step 0' }])
  })

  it('prints the state lines that only one side has', () => {
    const differences = checkLab(changed({ state: { ...golden.state, 'r:conntrack': ['udp 17 x'] } }), golden)
    const text = formatDifferences(differences)
    expect(text).toMatch(/^r:conntrack: the state differs\n {2}expected udp/)
    expect(text).toMatch(/\n {2}got {6}udp 17 x$/)
  })

  it('does not look at the kernel release, raw frames and volatile marks', () => {
    expect(checkLab(changed({ kernel: 'x', raw: { a: ['00'] }, volatile: [] }), golden)).toEqual([])
  })
})

describe('showLab', () => {
  it('prints one line per event, then results and state', () => {
    const lines = showLab(golden).split('\n')
    expect(lines[0]).toMatch(/^# nat-masq /)
    expect(lines[1]).toMatch(/^ {2}0 h1\/eth0 +tx .*IP 10\.1\.0\.2>10\.2\.0\.2 .*UDP 40000>53/)
    expect(lines.filter((l) => /^ {1,2}\d/.test(l))).toHaveLength(golden.events.length)
    expect(lines).toContain('   state r:conntrack')
  })
})
