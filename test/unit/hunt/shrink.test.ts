/**
 * Shrinking against judges whose smallest scenario is known.
 */
import { describe, expect, it } from '@jest/globals'
import type { LabDifference } from '../../../src/lab/compare.ts'
import { labSeed } from '../../../src/lab/hunt/dice.ts'
import { generateLab } from '../../../src/lab/hunt/generate.ts'
import { kindOf, shrink } from '../../../src/lab/hunt/shrink.ts'
import type { LabScenario } from '../../../src/lab/scenario.ts'
import { parseScenario } from '../../../src/lab/validate.ts'

const FRAMES: LabDifference = { kind: 'frames', place: 'h1/eth0', message: '' }
const OPS: LabDifference = { kind: 'ops', place: 'step 1', message: '' }

const LAB: LabScenario = {
  name: 'x',
  netns: ['a', 'b', 'c'],
  links: [
    { type: 'veth', a: ['a', 'eth0', '02:00:00:00:00:01'], b: ['b', 'eth0', '02:00:00:00:00:02'] },
    { type: 'veth', a: ['b', 'eth1', '02:00:00:00:00:03'], b: ['c', 'eth0', '02:00:00:00:00:04'] },
  ],
  addrs: [
    { ns: 'a', dev: 'eth0', addr: '10.0.0.1/24' },
    { ns: 'c', dev: 'eth0', addr: '10.0.1.1/24' },
  ],
  sysctl: { a: { 'net.ipv4.ip_forward': 1 }, b: { 'net.ipv4.conf.eth1.rp_filter': 1, 'net.ipv4.ip_forward': 1 } },
  iptables: { b: '*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\n-A INPUT -j ACCEPT\nCOMMIT\n*raw\nCOMMIT\n' },
  steps: [
    { op: 'udp_open', ns: 'a', id: 'u', bind: ['', 5] },
    { op: 'udp_send', id: 'u', to: ['10.0.0.2', 9], len: 4 },
    { op: 'frame', ns: 'b', dev: 'eth1', hex: '00' },
    { op: 'ping', ns: 'c', dst: '10.0.0.1', icmp_id: 1, seq: 1 },
  ],
  state: [{ ns: 'a', kind: 'neigh' }],
}

describe('shrink', () => {
  it('keeps only what the difference needs', async () => {
    const needs = (s: LabScenario): boolean =>
      s.steps.some((x) => x.op === 'udp_send') &&
      s.steps.some((x) => x.op === 'udp_open') &&
      s.sysctl?.b?.['net.ipv4.ip_forward'] === 1 &&
      (s.iptables?.b ?? '').includes('-j DROP')
    const small = await shrink(LAB, 'frames', async (s) => (needs(s) ? [FRAMES] : []))
    expect(small.netns).toEqual(['a', 'b'])
    expect(small.links).toHaveLength(1)
    expect(small.steps.map((s) => s.op)).toEqual(['udp_open', 'udp_send'])
    expect(small.sysctl).toEqual({ b: { 'net.ipv4.ip_forward': 1 } })
    expect(small.iptables!.b).toBe('*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\nCOMMIT\n')
    expect(small.state).toBeUndefined()
    expect(small.addrs).toBeUndefined()
  })

  it('does not trade the difference for one of another kind, nor for a lab that cannot run', async () => {
    const small = await shrink(LAB, 'frames', async (s) => {
      if (s.netns.length < 3) return null
      return s.steps.length === 4 ? [FRAMES] : [OPS]
    })
    expect(small.steps).toEqual(LAB.steps)
    expect(small.netns).toEqual(LAB.netns)
  })

  it('stops after its number of tries', async () => {
    let n = 0
    const judge = async (): Promise<LabDifference[]> => {
      n++
      return [FRAMES]
    }
    await shrink(LAB, 'frames', judge, 5)
    expect(n).toBeLessThanOrEqual(5)
  })

  it('leaves generated labs valid whatever it takes away', async () => {
    for (let i = 0; i < 15; i++) {
      let n = 0
      const lab = generateLab(labSeed(3, i))
      await shrink(lab, 'frames', async (s) => {
        expect(parseScenario(JSON.stringify(s), 'x').diagnostics.map((d) => d.message)).toEqual([])
        return n++ % 3 === 0 ? [FRAMES] : []
      })
      expect(n).toBeGreaterThan(10)
    }
  })
})

describe('kindOf', () => {
  it('tells state questions apart by what is asked, not by namespace', () => {
    expect(kindOf([])).toBe('')
    expect(kindOf([FRAMES, OPS])).toBe('frames')
    expect(kindOf([{ kind: 'state', place: 'r1:snmp', message: '' }])).toBe('state snmp')
  })
})
