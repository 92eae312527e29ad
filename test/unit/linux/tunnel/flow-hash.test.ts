/** The flow hash behind UDP source ports: same for both directions, spread over the range, keyed by the world's seed. */
import { describe, expect, it } from '@jest/globals'
import { skbGetHash, udpFlowSrcPort } from '../../../../src/linux/device/tunnel-hash.ts'
import { World } from '../../../../src/linux/world.ts'
import { M_HASH, META_SHIFT } from '../../../../src/packet/layout.ts'
import { frame, udpPacket } from './support.ts'

function hashOf(bytes: Uint8Array, w = new World({ seed: 7 })): number {
  const slot = w.arena.fromFrame(bytes)
  const h = skbGetHash(w, slot)
  w.arena.free(slot)
  return h
}

const one = udpPacket('10.1.0.1', '10.1.0.2', 1000, 53)

describe('skb_get_hash', () => {
  it('gives both directions of a flow the same hash, whatever the MAC addresses', () => {
    const back = udpPacket('10.1.0.2', '10.1.0.1', 53, 1000)
    expect(hashOf(frame(2, 1, 0x800, one))).toBe(hashOf(frame(1, 2, 0x800, back)))
    expect(hashOf(frame(9, 1, 0x800, one))).toBe(hashOf(frame(2, 1, 0x800, one)))
  })

  it('tells ports, addresses, protocols and VLANs apart', () => {
    const tagged = new Uint8Array([0, 5, 8, 0, ...one])
    const all = [
      frame(2, 1, 0x800, one),
      frame(2, 1, 0x800, udpPacket('10.1.0.1', '10.1.0.2', 1001, 53)),
      frame(2, 1, 0x800, udpPacket('10.1.0.1', '10.1.0.3', 1000, 53)),
      frame(2, 1, 0x8100, tagged),
      frame(2, 1, 0x806, one),
    ].map((f) => hashOf(f))
    expect(new Set(all).size).toBe(all.length)
  })

  it('ignores the ports of every fragment, the first too, so that all pieces go one way', () => {
    const first = udpPacket('10.1.0.1', '10.1.0.2', 1000, 53, 0, 0x2000)
    const later = udpPacket('10.1.0.1', '10.1.0.2', 7777, 8888, 0, 0x0010)
    expect(hashOf(frame(2, 1, 0x800, first))).toBe(hashOf(frame(2, 1, 0x800, later)))
    expect(hashOf(frame(2, 1, 0x800, first))).not.toBe(hashOf(frame(2, 1, 0x800, one)))
  })

  it('keeps the hash that the sending socket gave', () => {
    const w = new World()
    const slot = w.arena.fromFrame(frame(2, 1, 0x800, one))
    w.arena.meta[(slot << META_SHIFT) + M_HASH] = -5
    expect(skbGetHash(w, slot)).toBe(0xfffffffb)
  })

  it('follows the seed of the world, or a seed of its own', () => {
    const f = frame(2, 1, 0x800, one)
    expect(hashOf(f, new World({ seed: 1 }))).toBe(hashOf(f, new World({ seed: 1 })))
    expect(hashOf(f, new World({ seed: 1 }))).not.toBe(hashOf(f, new World({ seed: 2 })))
    expect(hashOf(f, new World({ seed: 1, hashSeed: 9 }))).toBe(hashOf(f, new World({ seed: 2, hashSeed: 9 })))
  })

  it('reads no byte behind a short frame', () => {
    for (let n = 14; n < 50; n++) expect(hashOf(frame(2, 1, 0x800, one).subarray(0, n))).toBeGreaterThan(0)
  })
})

describe('udp_flow_src_port', () => {
  it('stays in the range, upper end left out, and reaches all of it', () => {
    const ports = new Set<number>()
    for (let i = 0; i < 4000; i++) ports.add(udpFlowSrcPort(Math.imul(i, 0x9e3779b1) >>> 0, 50000, 50010))
    expect([...ports].sort()).toEqual(Array.from({ length: 10 }, (_, i) => 50000 + i))
  })
})
