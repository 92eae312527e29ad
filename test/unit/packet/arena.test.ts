/** The packet arena against a model: slots never share memory, metadata follows, nothing leaks. */
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { HEADROOM_BYTES, LARGE_BYTES, PacketArena, SMALL_BYTES } from '../../../src/packet/arena.ts'
import { M_DATA, M_ID, M_LEN, M_MAC, M_MARK, M_NH, M_PARENT, M_TH, META_SHIFT } from '../../../src/packet/layout.ts'

const at = (a: PacketArena, slot: number, column: number): number => a.meta[(slot << META_SHIFT) + column]!

function write(a: PacketArena, slot: number, seed: number): void {
  const data = at(a, slot, M_DATA)
  for (let i = 0; i < at(a, slot, M_LEN); i++) a.bytes[data + i] = (seed + i * 7) & 255
}

function holds(a: PacketArena, slot: number, seed: number, len: number): boolean {
  const data = at(a, slot, M_DATA)
  for (let i = 0; i < len; i++) if (a.bytes[data + i] !== ((seed + i * 7) & 255)) return false
  return at(a, slot, M_LEN) === len
}

describe('PacketArena', () => {
  it('starts frames at an offset of 2 modulo 4, so that IP headers are word aligned', () => {
    const a = new PacketArena(4, 2)
    for (const len of [60, 1514, 3000]) expect(at(a, a.alloc(len), M_DATA) % 4).toBe(2)
  })

  it('clears metadata of a slot that was used before and gives it a new id', () => {
    const a = new PacketArena(1, 0)
    const s = a.alloc(60)
    const id = at(a, s, M_ID)
    a.meta[(s << META_SHIFT) + M_MARK] = 77
    a.dst[s] = {}
    a.free(s)
    const t = a.alloc(40)
    expect(t).toBe(s)
    expect([at(a, t, M_MARK), at(a, t, M_LEN), a.dst[t]]).toEqual([0, 40, null])
    expect(at(a, t, M_ID)).not.toBe(id)
  })

  it('gives a large buffer when the small ones are used up, then -1', () => {
    const a = new PacketArena(1, 1)
    expect(a.alloc(100)).toBeGreaterThanOrEqual(0)
    expect(a.alloc(100)).toBeGreaterThanOrEqual(0)
    expect(a.alloc(100)).toBe(-1)
    expect(a.inUse).toBe(2)
  })

  it('refuses what fits no buffer without losing one', () => {
    const a = new PacketArena(1, 1)
    expect(a.alloc(LARGE_BYTES)).toBe(-1)
    expect(a.alloc(LARGE_BYTES - HEADROOM_BYTES)).toBeGreaterThanOrEqual(0)
    expect(a.alloc(SMALL_BYTES - HEADROOM_BYTES)).toBeGreaterThanOrEqual(0)
  })

  it('calls a second free of the same slot a bug', () => {
    const a = new PacketArena(2, 0)
    const s = a.alloc(10)
    a.free(s)
    expect(() => a.free(s)).toThrow('freed twice')
  })

  it('clones bytes from the link header on, with its own id and the parent noted', () => {
    const a = new PacketArena(4, 1)
    const s = a.fromFrame(Uint8Array.from({ length: 60 }, (_, i) => i))
    a.pull(s, 14)
    a.meta[(s << META_SHIFT) + M_MARK] = 5
    const route = {}
    a.dst[s] = route
    const c = a.clone(s)
    expect([...a.frameBytes(c)]).toEqual(Array.from({ length: 60 }, (_, i) => i))
    expect([at(a, c, M_MARK), at(a, c, M_PARENT), at(a, c, M_LEN)]).toEqual([5, at(a, s, M_ID), 46])
    expect(at(a, c, M_NH) - at(a, c, M_DATA)).toBe(at(a, s, M_NH) - at(a, s, M_DATA))
    expect(a.dst[c]).toBe(route)
    a.bytes[at(a, c, M_DATA)] = 99
    expect(a.bytes[at(a, s, M_DATA)]).toBe(14)
  })

  it('keeps the link header in front of the data when a packet gets more memory, even without headroom', () => {
    const a = new PacketArena(2, 1)
    const s = a.fromFrame(Uint8Array.from({ length: 60 }, (_, i) => i))
    a.pull(s, 14)
    const other = a.alloc(SMALL_BYTES - HEADROOM_BYTES)
    write(a, other, 3)
    expect(a.resize(s, 5000, 0)).toBe(true)
    expect([...a.frameBytes(s)]).toEqual(Array.from({ length: 60 }, (_, i) => i))
    expect([at(a, s, M_MAC) - at(a, s, M_DATA), at(a, s, M_TH) - at(a, s, M_DATA)]).toEqual([-14, 0])
    expect(holds(a, other, 3, SMALL_BYTES - HEADROOM_BYTES)).toBe(true)
    a.free(s)
    a.free(other)
    expect(a.inUse).toBe(0)
  })

  it('leaves a packet as it is when there is no memory for resize or clone', () => {
    const a = new PacketArena(1, 0)
    const s = a.alloc(50)
    write(a, s, 9)
    expect(a.resize(s, 4000)).toBe(false)
    expect(a.clone(s)).toBe(-1)
    expect(holds(a, s, 9, 50)).toBe(true)
  })

  it('trims only down', () => {
    const a = new PacketArena(1, 0)
    const s = a.alloc(50)
    a.trim(s, 60)
    expect(at(a, s, M_LEN)).toBe(50)
    a.trim(s, 20)
    expect(at(a, s, M_LEN)).toBe(20)
  })

  it('behaves like a list of byte arrays under any sequence of operations', () => {
    const op = fc.oneof(
      fc.record({ kind: fc.constant('alloc' as const), len: fc.integer({ min: 1, max: 4000 }) }),
      fc.record({ kind: fc.constantFrom('free' as const, 'clone' as const), pick: fc.nat() }),
      fc.record({ kind: fc.constant('resize' as const), pick: fc.nat(), len: fc.integer({ min: 1, max: 6000 }) }),
      fc.record({ kind: fc.constant('trim' as const), pick: fc.nat(), len: fc.integer({ min: 1, max: 4000 }) }),
    )
    fc.assert(
      fc.property(fc.array(op, { maxLength: 60 }), (ops) => {
        const a = new PacketArena(6, 3)
        const model: { slot: number; seed: number; len: number }[] = []
        let seed = 0
        for (const o of ops) {
          const m = 'pick' in o && model.length > 0 ? model[o.pick % model.length] : undefined
          if (o.kind === 'alloc') {
            const slot = a.alloc(o.len)
            if (slot >= 0) {
              model.push({ slot, seed: ++seed, len: o.len })
              write(a, slot, seed)
            } else expect(model.length).toBeGreaterThanOrEqual(3)
          } else if (m === undefined) continue
          else if (o.kind === 'free') {
            a.free(m.slot)
            model.splice(model.indexOf(m), 1)
          } else if (o.kind === 'clone') {
            const slot = a.clone(m.slot)
            if (slot >= 0) model.push({ ...m, slot })
          } else if (o.kind === 'trim') {
            a.trim(m.slot, o.len)
            m.len = Math.min(m.len, o.len)
          } else if (o.kind === 'resize' && o.len >= m.len) a.resize(m.slot, o.len)
          expect(a.inUse).toBe(model.length)
          expect(new Set(model.map((x) => x.slot)).size).toBe(model.length)
          for (const x of model) expect(holds(a, x.slot, x.seed, x.len)).toBe(true)
        }
      }),
      { numRuns: 300 },
    )
  })
})
