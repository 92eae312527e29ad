/** Random and mutated frames through VXLAN and IPIP in both directions: each ends somewhere, none is lost, none throws. */
import { expect, it } from '@jest/globals'
import { injectFrame } from '../../../../src/linux/core/dev.ts'
import { loadIpip } from '../../../../src/linux/device/ipip.ts'
import { Random } from '../../../../src/linux/random.ts'
import { internetChecksum } from '../../../../src/wire/checksum.ts'
import { frame, sh, udpPacket, Wire } from './support.ts'

const ROUNDS = 20_000

function world(): Wire {
  const t = new Wire()
  loadIpip(t.w)
  for (const [ns, n] of [
    [t.a, 1],
    [t.b, 2],
  ] as const) {
    const common = 'tos inherit ttl inherit df inherit'
    sh(ns, `ip link add vx0 address 02:00:00:00:00:1${n} type vxlan id 5 dstport 4789 remote 10.0.0.${3 - n} ${common}`)
    sh(ns, `ip link add t1 type ipip remote 10.0.0.${3 - n} tos inherit`)
    sh(ns, 'ip link add br0 type bridge')
    sh(ns, 'ip link set vx0 master br0')
    for (const dev of ['vx0', 't1', 'tunl0', 'br0']) sh(ns, `ip link set ${dev} up`)
    sh(ns, `ip addr add 10.1.0.${n}/24 dev br0`)
    sh(ns, `ip addr add 10.2.0.${n}/24 dev t1`)
  }
  // frames are looked at by length only here
  t.w.tap = null
  return t
}

it(`takes ${ROUNDS} frames of any kind and gives all memory back`, () => {
  const t = world()
  const r = new Random(11)
  const plain = frame(0x12, 0x21, 0x0800, udpPacket('10.1.0.7', '10.1.0.2', 1, 2))
  // a good frame of each tunnel as it comes in on a's wire
  const good: Uint8Array[] = []
  t.w.tap = { frame: (d, slot, dev) => void (d === 1 && dev.name === 'eth0' && good.push(t.w.arena.frameBytes(slot))) }
  injectFrame(t.w, t.dev(t.b, 'vx0'), plain)
  injectFrame(t.w, t.dev(t.b, 't1'), plain.subarray(14))
  t.w.tap = null
  expect(good.length).toBeGreaterThanOrEqual(2)
  const ways = [
    ['b', 'eth0', good],
    ['a', 'vx0', [plain]],
    ['a', 't1', [plain.subarray(14)]],
    ['a', 'br0', [plain]],
  ] as const
  let sent = 0
  t.ends.length = 0
  for (let i = 0; i < ROUNDS; i++) {
    const [host, name, seeds] = ways[r.below(ways.length)]!
    const seed = seeds[r.below(seeds.length)]!
    const bytes = seed.slice(0, r.below(8) === 0 ? r.below(seed.length) + 1 : seed.length)
    for (let n = r.below(4); n > 0; n--) bytes[r.below(bytes.length)] = r.below(256)
    const at = name === 't1' ? 0 : 14
    if (bytes.length >= at + 20 && r.below(2) === 0) {
      // the outer header passes its checksum, so that what is behind it gets looked at
      const v = new DataView(bytes.buffer)
      v.setUint16(at + 10, 0)
      v.setUint16(at + 10, internetChecksum(v, at, 20))
    }
    const rc = injectFrame(t.w, t.dev(host === 'a' ? t.a : t.b, name), bytes)
    if (rc > 0) sent++
    if (i % 64 === 0) t.w.runUntil(t.w.nowNs + 40_000_000_000)
  }
  t.w.runUntil(t.w.nowNs + 400_000_000_000)
  expect(t.w.arena.inUse).toBe(0)
  expect(sent).toBeGreaterThan(ROUNDS / 2)
  // some wait first, for fragments or a neighbour
  expect(t.ends.length).toBeGreaterThanOrEqual(sent)
  expect(t.w.xmitRecursion).toBe(0)
})
