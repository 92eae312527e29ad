/** RFC 6040: ECN into the outer header and back, all sixteen pairs, checksums kept right and wrong ones kept wrong. */
import { describe, expect, it } from '@jest/globals'
import { ecnEncapsulate, ipEcnDecapsulate } from '../../../../src/linux/device/tunnel.ts'
import { World } from '../../../../src/linux/world.ts'
import { M_DATA, META_SHIFT } from '../../../../src/packet/layout.ts'
import { internetChecksum } from '../../../../src/wire/checksum.ts'
import { udpPacket } from './support.ts'

describe('INET_ECN_encapsulate', () => {
  it('keeps the DSCP of the tunnel, copies ECN, and lets CE leave as ECT(0)', () => {
    expect([0, 1, 2, 3].map((inner) => ecnEncapsulate(0xb9, 0xfc | inner))).toEqual([0xb8, 0xb9, 0xba, 0xba])
  })
})

/** Rows: outer; columns: inner. -1 is a drop. */
const EXPECTED = [
  [0, 1, 2, 3],
  [0, 1, 1, 3],
  [0, 1, 2, 3],
  [-1, 3, 3, 3],
]

describe('IP_ECN_decapsulate', () => {
  it.each([0, 1, 2, 3])('combines outer %d with every inner value', (outer) => {
    const w = new World()
    const got = [0, 1, 2, 3].map((inner) => {
      const slot = w.arena.fromFrame(udpPacket('10.1.0.1', '10.1.0.2', 1, 2, 0x60 | inner))
      const nh = w.arena.meta[(slot << META_SHIFT) + M_DATA]!
      const v = w.arena.view
      v.setUint16(nh + 10, internetChecksum(v, nh, 20))
      const ok = ipEcnDecapsulate(w, 0xb8 | outer, 0x0800, nh)
      if (ok) expect(internetChecksum(v, nh, 20)).toBe(0)
      return ok ? v.getUint8(nh + 1) - 0x60 : -1
    })
    expect(got).toEqual(EXPECTED[outer])
  })

  it('leaves a wrong checksum wrong', () => {
    const w = new World()
    const slot = w.arena.fromFrame(udpPacket('10.1.0.1', '10.1.0.2', 1, 2, 2))
    const nh = w.arena.meta[(slot << META_SHIFT) + M_DATA]!
    w.arena.view.setUint16(nh + 10, 0xbaad)
    expect(ipEcnDecapsulate(w, 3, 0x0800, nh)).toBe(true)
    expect(w.arena.view.getUint16(nh + 10)).toBe(0xbaac)
  })

  it('does not touch what is not IP', () => {
    const w = new World()
    const slot = w.arena.fromFrame(udpPacket('10.1.0.1', '10.1.0.2', 1, 2))
    const nh = w.arena.meta[(slot << META_SHIFT) + M_DATA]!
    expect(ipEcnDecapsulate(w, 3, 0x0806, nh)).toBe(true)
    expect(w.arena.view.getUint8(nh + 1)).toBe(0)
  })
})
