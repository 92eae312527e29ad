import { describe, expect, it } from '@jest/globals'
import { buildLab } from '../../src/lab/build.ts'
import { LabOps } from '../../src/lab/ops.ts'
import { injectFrame } from '../../src/linux/core/dev.ts'
import { DEV_LOOPBACK, type NetDevice } from '../../src/linux/device/device.ts'
import { Random } from '../../src/linux/random.ts'
import { REASONS } from '../../src/linux/reasons.ts'
import { T_END } from '../../src/linux/trace.ts'
import { internetChecksum } from '../../src/wire/checksum.ts'
import { parseIpv6, walkIpv6Extensions } from '../../src/wire/ipv6.ts'
import { labGolden, labNames, labScenario } from '../support/lab.ts'

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

/** Edits, cuts, extensions, and headers put in front; half of the frames get a right checksum again. */
function mutate(r: Random, frame: Uint8Array): Uint8Array {
  let f: Uint8Array = frame.slice()
  for (let i = r.below(6); i > 0; i--) f[14 + r.below(Math.max(f.length - 14, 1))] = r.u32() & 255
  const how = r.below(10)
  if (how === 0) f = f.subarray(0, 14 + r.below(f.length - 13))
  else if (how === 1) f = Uint8Array.from([...f, ...Array.from({ length: r.below(64) }, () => r.u32() & 255)])
  else if (how === 2) for (let i = 14; i < f.length; i++) f[i] = r.u32() & 255
  else if (how === 3 && f.length > 54) {
    // an extension header of a random kind between the fixed header and the rest
    const kind = [0, 43, 44, 60, 51][r.below(5)]!
    const ext = Array.from({ length: 8 }, () => r.u32() & 255)
    ext[0] = f[20]!
    if (kind !== 44) ext[1] = r.below(2)
    f = Uint8Array.from([...f.subarray(0, 54), ...ext, ...f.subarray(54)])
    f[20] = kind
    new DataView(f.buffer).setUint16(18, f.length - 54)
  }
  if (r.below(2) === 0) mendChecksum(f)
  return f
}

function mendChecksum(f: Uint8Array): void {
  const view = new DataView(f.buffer, f.byteOffset, f.byteLength)
  const head = parseIpv6(view, 14, f.length - 14)
  if (head === null) return
  const walk = walkIpv6Extensions(view, 54, f.length - 54, head.nextHeader)
  const at = { 58: 2, 17: 6, 6: 16 }[walk.protocol]
  const len = 54 + head.payloadLength - walk.off
  if (at === undefined || len < at + 2 || walk.off + len > f.length) return
  let pseudo = walk.protocol + len
  for (let i = 22; i < 54; i += 2) pseudo += view.getUint16(i)
  view.setUint16(walk.off + at, 0)
  view.setUint16(walk.off + at, internetChecksum(view, walk.off, len, pseudo))
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
        const f = mutate(r, frames[r.below(frames.length)]!)
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
