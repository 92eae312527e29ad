import { describe, expect, it } from '@jest/globals'
import { buildLab } from '../../src/lab/build.ts'
import { LabOps } from '../../src/lab/ops.ts'
import { injectFrame } from '../../src/linux/core/dev.ts'
import { DEV_LOOPBACK, type NetDevice } from '../../src/linux/device/device.ts'
import { Random } from '../../src/linux/random.ts'
import { REASONS } from '../../src/linux/reasons.ts'
import { T_END } from '../../src/linux/trace.ts'
import { labGolden, labNames, labScenario } from '../support/lab.ts'
import { mutateIpv6 } from '../support/mutate-ipv6.ts'

/** Frames in a normal run; FRAMES=1000000 for the long one. */
const FRAMES = Number(process.env.FRAMES ?? 20_000)
const SEED = Number(process.env.SEED ?? 11)
const SECOND = 1e9

/** Every frame that the real kernel sent in the IPv6 recordings. */
function corpus(): Uint8Array[] {
  const out: Uint8Array[] = []
  for (const name of labNames().filter((n) => n.startsWith('v6-'))) {
    const golden = labGolden(name)
    for (const [iface, frames] of Object.entries(golden.ifaces)) {
      if (golden.link_types[iface] !== 'ether') continue
      for (const hex of frames) out.push(Uint8Array.from(Buffer.from(hex, 'hex')))
    }
  }
  return out
}

describe('malformed IPv6 frames', () => {
  it(`never crash, hang or leak: ${FRAMES} mutated frames into routers and hosts, seed ${SEED}`, () => {
    const frames = corpus()
    expect(frames.length).toBeGreaterThan(1000)
    const r = new Random(SEED)
    const ends = new Map<number, number>()
    for (const name of ['v6-udp', 'v6-tcp', 'v6-bridge', 'v6-proxy-ndp', 'v6-redirect']) {
      const scenario = labScenario(name)
      const w = buildLab(scenario)
      const ops = new LabOps(w, scenario)
      for (const step of scenario.steps) if (/_open$|_listen$/.test(step.op)) ops.run(step)
      const devices = w.devices.filter((d): d is NetDevice => d !== null && d.kind !== DEV_LOOPBACK && d.up)
      w.runUntil(w.nowNs + 120 * SECOND)
      const before = w.arena.inUse
      w.tracer = {
        wantMisses: false,
        step(point, _slot, _ns, _dev, a) {
          if (point === T_END) ends.set(a, (ends.get(a) ?? 0) + 1)
        },
      }
      let sent = 0
      for (let i = 0; i < FRAMES / 5; i++) {
        const f = mutateIpv6(r, frames[r.below(frames.length)]!)
        if (injectFrame(w, devices[r.below(devices.length)]!, f) > 0) sent++
        if (i % 64 === 0) w.runUntil(w.nowNs + 1e6)
        if (i % 2048 === 0) w.runUntil(w.nowNs + 70 * SECOND)
      }
      // every queue gives up in time: neighbours after 3 s, reassembly after 60 s, TCP after its retries
      w.runUntil(w.nowNs + 1200 * SECOND)
      w.tracer = null
      expect(sent).toBeGreaterThan((FRAMES / 5) * 0.8)
      expect(w.arena.inUse).toBe(before)
    }
    for (const code of ends.keys()) expect(REASONS[code]).toBeDefined()
    // mutation must reach deep: headers, extension headers, NDISC, reassembly, routing and sockets
    expect(ends.size).toBeGreaterThan(15)
  }, 120_000)
})
