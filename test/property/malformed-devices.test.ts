/**
 * Mutated frames through VLAN, macvlan, ipvlan, GRE, Geneve, tc and ebtables: every frame has a fate. Nothing throws, and
 * once the labs are quiet no packet is left in the arena.
 */
import { describe, expect, it } from '@jest/globals'
import { buildLab } from '../../src/lab/build.ts'
import { injectFrame } from '../../src/linux/core/dev.ts'
import type { NetDevice } from '../../src/linux/device/device.ts'
import { Random } from '../../src/linux/random.ts'
import { execTool } from '../../src/linux/tools/exec.ts'
import { labGolden, labNames, labScenario } from '../support/lab.ts'

const FRAMES = 3000
const GROUPS = /^(vlan|brvlan|macvlan|ipvlan|gre|gretap|geneve|tunnel|tc|eb)-/
const MINUTE_NS = 60_000_000_000

describe('mutated frames through devices and hooks', () => {
  it.each(labNames().filter((name) => GROUPS.test(name)))('%s', (name) => {
    const scenario = labScenario(name)
    const w = buildLab(scenario)
    for (const step of scenario.steps) {
      // what the scenario configures on its way, without taking links down
      if (step.op !== 'cmd' || step.argv?.includes('down') === true) continue
      execTool(w.netnsByName.get(step.ns ?? '')!, step.argv ?? [], step.stdin)
    }
    const seeds = Object.values(labGolden(name).ifaces)
      .flat()
      .map((hex) => Buffer.from(hex, 'hex'))
      .filter((b) => b.length >= 14)
    const devices = w.devices.filter((d): d is NetDevice => d !== null && d.name !== 'lo')
    const random = new Random(7)
    const below = (n: number): number => random.u32() % n
    for (let i = 0; i < FRAMES; i++) {
      const frame = Buffer.from(seeds[below(seeds.length)]!)
      for (let k = below(4); k > 0; k--) frame[below(frame.length)] = below(256)
      const length = below(6) === 0 ? 1 + below(frame.length) : frame.length
      injectFrame(w, devices[below(devices.length)]!, frame.subarray(0, length))
      if (i % 50 === 0) w.runUntil(w.nowNs + MINUTE_NS / 600)
    }
    w.runUntil(w.nowNs + MINUTE_NS)
    expect(w.arena.inUse).toBe(0)
  })
})
