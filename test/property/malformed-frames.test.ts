import { describe, expect, it } from '@jest/globals'
import { buildCluster } from '../../src/cluster/build.ts'
import { TraceLog } from '../../src/engine/trace-log.ts'
import { injectFrame } from '../../src/linux/core/dev.ts'
import { DEV_LOOPBACK, type NetDevice } from '../../src/linux/device/device.ts'
import { Random } from '../../src/linux/random.ts'
import { REASONS } from '../../src/linux/reasons.ts'
import type { Tracer } from '../../src/linux/trace.ts'
import { T_END } from '../../src/linux/trace.ts'
import { traceInCluster } from '../../src/query/trace.ts'
import { clusterOf } from '../support/shop.ts'

/** Frames in a normal run; FRAMES=1000000 for the long one. */
const FRAMES = Number(process.env.FRAMES ?? 30_000)
const SEED = Number(process.env.SEED ?? 7)
const SECOND = 1e9

/** Real frames of every kind that the cluster makes. */
function corpus(cluster: ReturnType<typeof buildCluster>): Uint8Array[] {
  const frames: Uint8Array[] = []
  let sport = 41000
  for (const [dst, protocol, size] of [
    ['svc/far:80', 'TCP', undefined],
    ['svc/near:80', 'TCP', undefined],
    ['svc/nobody:80', 'TCP', undefined],
    ['svc/near:53', 'UDP', 64],
    ['svc/near:53', 'UDP', 4000],
    ['default/far', 'ICMP', 32],
    ['10.244.9.9:80', 'TCP', undefined],
  ] as const) {
    const { trace } = traceInCluster(cluster, {
      src: 'default/client',
      dst,
      namespace: 'default',
      protocol,
      sport: sport++,
      ...(size === undefined ? {} : { size }),
      flow: protocol === 'TCP',
      seed: 1,
      verbose: false,
    })
    for (const f of trace!.frames) frames.push(Uint8Array.from(Buffer.from(f.hex, 'hex')))
  }
  return frames
}

function mutate(r: Random, frame: Uint8Array): Uint8Array {
  let f: Uint8Array = frame.slice()
  const edits = r.below(6)
  for (let i = 0; i < edits; i++) f[r.below(f.length)] = r.u32() & 255
  const how = r.below(8)
  if (how === 0) f = f.subarray(0, 14 + r.below(f.length - 13))
  else if (how === 1) f = Uint8Array.from([...f, ...Array.from({ length: r.below(64) }, () => r.u32() & 255)])
  else if (how === 2) for (let i = 14; i < f.length; i++) f[i] = r.u32() & 255
  return f
}

describe('malformed frames', () => {
  it(`never crash, hang or leak: ${FRAMES} mutated frames into every device, seed ${SEED}`, () => {
    const cluster = buildCluster(clusterOf())
    const w = cluster.world
    const frames = corpus(cluster)
    const devices = w.devices.filter((d): d is NetDevice => d !== null && d.kind !== DEV_LOOPBACK && d.up)
    expect(frames.length).toBeGreaterThan(100)
    expect(devices.length).toBeGreaterThan(10)
    w.runUntil(w.nowNs + 120 * SECOND)
    const before = w.arena.inUse
    const ends = new Map<number, number>()
    const counter: Tracer = {
      wantMisses: false,
      step(point, _slot, _ns, _dev, a) {
        if (point === T_END) ends.set(a, (ends.get(a) ?? 0) + 1)
      },
    }
    w.tracer = counter
    const r = new Random(SEED)
    let sent = 0
    for (let i = 0; i < FRAMES; i++) {
      const f = mutate(r, frames[r.below(frames.length)]!)
      if (injectFrame(w, devices[r.below(devices.length)]!, f) > 0) sent++
      if (i % 64 === 0) w.runUntil(w.nowNs + 1e6)
      if (i % 4096 === 0) w.runUntil(w.nowNs + 40 * SECOND)
    }
    // every queue gives up in time: ARP after 3 s, reassembly after 30 s, TCP after its retries
    w.runUntil(w.nowNs + 1200 * SECOND)
    w.tracer = null
    expect(sent).toBeGreaterThan(FRAMES * 0.9)
    expect(w.arena.inUse).toBe(before)
    for (const code of ends.keys()) expect(REASONS[code]).toBeDefined()
    // mutation must reach deep: header, checksum, routing, netfilter and transport reasons all occur
    expect(ends.size).toBeGreaterThan(10)
  }, 120_000)

  it('gives every one of them a fate that a trace can name', () => {
    const cluster = buildCluster(clusterOf())
    const w = cluster.world
    const frames = corpus(cluster)
    const r = new Random(SEED + 1)
    const dev = cluster.pods.get('default/client')!.devices.get('eth0')!
    for (let i = 0; i < 300; i++) {
      const log = new TraceLog(w, { frames: true })
      w.tracer = log
      const sent = injectFrame(w, dev, mutate(r, frames[r.below(frames.length)]!))
      w.runUntil(w.nowNs + 1200 * SECOND)
      w.tracer = null
      if (sent <= 0) continue
      const ids = new Set<number>()
      const ended = new Set<number>()
      for (const s of log.steps()) {
        if (s.packet !== 0) ids.add(s.packet)
        if (s.point === T_END) ended.add(s.packet)
      }
      expect([...ids].filter((id) => !ended.has(id))).toEqual([])
    }
  }, 120_000)
})
