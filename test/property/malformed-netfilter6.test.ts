import { describe, expect, it } from '@jest/globals'
import { buildLab } from '../../src/lab/build.ts'
import { LabOps } from '../../src/lab/ops.ts'
import { injectFrame } from '../../src/linux/core/dev.ts'
import { DEV_LOOPBACK, type NetDevice } from '../../src/linux/device/device.ts'
import { Random } from '../../src/linux/random.ts'
import { R_UNMODELLED, REASONS } from '../../src/linux/reasons.ts'
import { execTool } from '../../src/linux/tools/exec.ts'
import { T_END } from '../../src/linux/trace.ts'
import { M_ID, META_SHIFT } from '../../src/packet/layout.ts'
import { labGolden, labScenario } from '../support/lab.ts'
import { mutateIpv6 } from '../support/mutate-ipv6.ts'

/** Frames in a normal run; FRAMES=1000000 for the long one. */
const FRAMES = Number(process.env.FRAMES ?? 15_000)
const SEED = Number(process.env.SEED ?? 13)
const SECOND = 1e9

/** Recordings with rules of every kind: ip6tables, NAT66, sets, nftables in five families, bridges. */
const WORLDS = [
  ...[
    'n6-filter',
    'n6-header-matches',
    'n6-mangle',
    'n6-reject',
    'n6-masq',
    'n6-dnat',
    'n6-felix',
    'n6-ipset',
    'n6-raw',
  ],
  ...['n6-kp-clusterip', 'n6-rpfilter', 'n6-nft-filter', 'n6-nft-inet-nat', 'n6-nft-mangle', 'n6-nft-fib', 'n6-nft-kp'],
  ...['n6-br-nf', 'nft-bridge-family', 'nft-bridge-policy', 'nft-netdev', 'nft-inet-ingress', 'nft-arp-family'],
]

function framesOf(name: string): Uint8Array[] {
  const golden = labGolden(name)
  return Object.entries(golden.ifaces).flatMap(([iface, frames]) =>
    golden.link_types[iface] === 'ether' ? frames.map((hex) => Uint8Array.from(Buffer.from(hex, 'hex'))) : [],
  )
}

describe('malformed frames through IPv6 netfilter', () => {
  const ends = new Map<number, number>()
  const unmodelled = new Set<unknown>()

  it.each(WORLDS)(
    `%s: every frame has a fate, nothing leaks (${FRAMES} frames in all, seed ${SEED})`,
    (name) => {
      const scenario = labScenario(name)
      const w = buildLab(scenario)
      const ops = new LabOps(w, scenario)
      for (const step of scenario.steps) if (step.op === 'cmd' || step.op === 'ip6tables') ops.run(step)
      const frames = framesOf(name)
      const devices = w.devices.filter((d): d is NetDevice => d !== null && d.kind !== DEV_LOOPBACK && d.up)
      w.runUntil(w.nowNs + 120 * SECOND)
      const before = w.arena.inUse
      const open = new Set<number>()
      w.tracer = {
        wantMisses: true,
        step(point, slot, _ns, _dev, a, _b, _c, ref) {
          const id = slot < 0 ? 0 : w.arena.meta[(slot << META_SHIFT) + M_ID]!
          if (point !== T_END) {
            if (id !== 0) open.add(id)
            return
          }
          open.delete(id)
          ends.set(a, (ends.get(a) ?? 0) + 1)
          if (a === R_UNMODELLED) unmodelled.add(ref)
        },
      }
      const r = new Random(SEED)
      for (let i = 0; i < FRAMES / WORLDS.length; i++) {
        injectFrame(w, devices[r.below(devices.length)]!, mutateIpv6(r, frames[r.below(frames.length)]!))
        if (i % 32 === 0) w.runUntil(w.nowNs + 1e6)
        if (i % 1024 === 0) w.runUntil(w.nowNs + 70 * SECOND)
      }
      // every queue gives up in time: neighbours after 3 s, reassembly after 60 s
      w.runUntil(w.nowNs + 1200 * SECOND)
      expect([...open]).toEqual([])
      expect(w.arena.inUse).toBe(before)
      // connections time out, and both tools still print what is left
      w.tracer = null
      w.runUntil(w.nowNs + 6 * 24 * 3600 * SECOND)
      for (const ns of w.namespaces) {
        const list = execTool(ns, ['conntrack', '-L'])
        expect([list.status, list.stdout]).toEqual([0, ''])
        expect(execTool(ns, ['ip6tables-save', '-c']).status).toBe(0)
        expect(execTool(ns, ['nft', 'list', 'ruleset']).status).toBe(0)
      }
    },
    600_000,
  )

  it('reaches deep, and names what it does not model', () => {
    for (const code of ends.keys()) expect(REASONS[code]).toBeDefined()
    expect(ends.size).toBeGreaterThan(15)
    for (const name of unmodelled) expect(name).toEqual(expect.any(String))
  })
})
