/**
 * Header arithmetic: the incremental checksum of a hop, fragments that come together again, which IDs are 0.
 */
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { ipDecreaseTtl } from '../../../../src/linux/ip/forward.ts'
import { ipDoFragment } from '../../../../src/linux/ip/fragment.ts'
import { IP_DEFRAG_CONNTRACK_IN, IP_DEFRAG_LOCAL_DELIVER, ipDefrag } from '../../../../src/linux/ip/fragment-queue.ts'
import { ipSendCheck } from '../../../../src/linux/ip/options.ts'
import { ipSelectIdent } from '../../../../src/linux/ip/output.ts'
import { World } from '../../../../src/linux/world.ts'
import { M_DATA, M_DEV, M_LEN, M_NH, META_SHIFT } from '../../../../src/packet/layout.ts'
import { internetChecksum } from '../../../../src/wire/checksum.ts'

/** A slot with a datagram of `length` payload bytes. */
function datagram(w: World, length: number, id: number, tos: number): number {
  const slot = w.arena.alloc(20 + length)
  const m = slot << META_SHIFT
  const nh = w.arena.meta[m + M_DATA]!
  const v = w.arena.view
  w.arena.meta[m + M_NH] = nh
  w.arena.meta[m + M_DEV] = w.namespaces[0]!.lo.id
  v.setUint32(nh, 0x45000000 | (tos << 16) | (20 + length))
  v.setUint32(nh + 4, id << 16)
  v.setUint32(nh + 8, 0x40110000)
  v.setInt32(nh + 12, 0x0a000001)
  v.setInt32(nh + 16, 0x0a000002)
  ipSendCheck(v, nh)
  for (let i = 0; i < length; i++) v.setUint8(nh + 20 + i, (i * 7 + id) & 255)
  return slot
}

function bytesOf(w: World, slot: number): Uint8Array {
  const m = slot << META_SHIFT
  const nh = w.arena.meta[m + M_NH]!
  return w.arena.bytes.slice(nh, w.arena.meta[m + M_DATA]! + w.arena.meta[m + M_LEN]!)
}

/** An output function that keeps the pieces. */
function keep(pieces: number[]): (w: unknown, piece: number) => number {
  return (_w, piece) => {
    pieces.push(piece)
    return 0
  }
}

describe('ip_decrease_ttl', () => {
  it('leaves the header with a right checksum, whatever it was', () => {
    const bytes = new Uint8Array(20)
    const v = new DataView(bytes.buffer)
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), fc.integer({ min: 2, max: 255 }), (header, ttl) => {
        bytes.set(header)
        bytes[0] = 0x45
        bytes[8] = ttl
        ipSendCheck(v, 0)
        expect(ipDecreaseTtl(v, 0)).toBe(ttl - 1)
        expect(internetChecksum(v, 0, 20)).toBe(0)
      }),
    )
  })
})

describe('fragments', () => {
  it('come together to the bytes that were cut, in any order, and leave nothing behind', () => {
    const sizes = fc.tuple(fc.integer({ min: 1, max: 6000 }), fc.integer({ min: 68, max: 1500 }), fc.integer())
    fc.assert(
      fc.property(sizes, ([length, mtu, order]) => {
        const w = new World()
        const ns = w.addNetns('h')
        const slot = datagram(w, length, 77, 0)
        const whole = bytesOf(w, slot)
        const pieces: number[] = []
        expect(ipDoFragment(w, ns, slot, mtu, keep(pieces))).toBe(0)
        for (const p of pieces) {
          expect(bytesOf(w, p).length).toBeLessThanOrEqual(mtu)
          expect(internetChecksum(w.arena.view, w.arena.meta[(p << META_SHIFT) + M_NH]!, 20)).toBe(0)
        }
        if (pieces.length > 1) {
          pieces.sort((a, b) => Math.imul(a, order | 1) - Math.imul(b, order | 1))
          const results = pieces.map((p) => ipDefrag(w, ns, p, IP_DEFRAG_LOCAL_DELIVER))
          expect(results.filter((r) => r === 0)).toHaveLength(1)
          expect(results.at(-1)).toBe(0)
          expect(bytesOf(w, pieces.at(-1)!)).toEqual(whole)
          expect(ns.frags.memory).toBe(0)
        }
        w.arena.free(pieces.at(-1)!)
        expect(w.arena.inUse).toBe(0)
      }),
      { numRuns: 60 },
    )
  })

  it('keep their cuts through conntrack when they still fit, and are cut anew when they do not', () => {
    const w = new World()
    const ns = w.addNetns('h')
    const cut = (slot: number, mtu: number): number[] => {
      const pieces: number[] = []
      ipDoFragment(w, ns, slot, mtu, keep(pieces))
      return pieces
    }
    const lengths = (mtu: number): number[] => {
      const pieces = cut(datagram(w, 1000, 5, 0), 420)
      for (const p of pieces) ipDefrag(w, ns, p, IP_DEFRAG_CONNTRACK_IN)
      return cut(pieces.at(-1)!, mtu).map((p) => bytesOf(w, p).length)
    }
    expect(lengths(1500)).toEqual([420, 420, 220])
    expect(lengths(300)).toEqual([300, 300, 300, 180])
  })

  it('give up after ipfrag_time and return the memory', () => {
    const w = new World()
    const ns = w.addNetns('h')
    const pieces: number[] = []
    ipDoFragment(w, ns, datagram(w, 1000, 5, 0), 420, keep(pieces))
    expect(ipDefrag(w, ns, pieces[1]!, IP_DEFRAG_LOCAL_DELIVER)).toBe(-115)
    w.arena.free(pieces[0]!)
    w.arena.free(pieces[2]!)
    w.runUntil(29.9e9)
    expect(ns.frags.queues.size).toBe(1)
    w.runUntil(30e9)
    expect(ns.frags.queues.size).toBe(0)
    expect(w.arena.inUse).toBe(0)
    expect(ns.snmp.get('Ip.ReasmTimeout')).toBe(1)
  })
})

describe('ip_select_ident', () => {
  it('is 0 only where nobody may fragment and no connection counts', () => {
    const ns = new World().addNetns('h')
    expect(ipSelectIdent(ns, true, false)).toBe(0)
    const ids = [ipSelectIdent(ns, true, true), ipSelectIdent(ns, false, false), ipSelectIdent(ns, true, false, true)]
    expect(new Set(ids).size).toBe(3)
    expect(ids).not.toContain(0)
  })
})
