/** The forwarding database against a Map. */
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { Fdb, type FdbEntry } from '../../../src/linux/bridge/fdb.ts'

function entry(hi: number, lo: number): FdbEntry {
  const flags = { isLocal: false, isStatic: false, addedByUser: false }
  return { macHi: hi, macLo: lo, vid: 0, port: null, ...flags, updatedNs: 0, usedNs: 0, createdNs: 0 }
}

describe('Fdb', () => {
  it('finds, inserts and removes like a Map keyed by MAC, and lists in order of creation', () => {
    const mac = fc.tuple(fc.constantFrom(0, 1, 0x0200, 0xffff), fc.integer({ min: -40, max: 40 }))
    const op = fc.tuple(fc.constantFrom('add', 'add', 'remove', 'removeIf'), mac)
    fc.assert(
      fc.property(fc.array(op, { maxLength: 250 }), (ops) => {
        const fdb = new Fdb()
        const twin = new Map<string, FdbEntry>()
        for (const [kind, [hi, lo]] of ops) {
          const key = `${hi}/${lo}`
          const e = twin.get(key)
          expect(fdb.find(hi, lo)).toBe(e)
          if (kind === 'add' && e === undefined) {
            const made = entry(hi, lo)
            fdb.insert(made)
            twin.set(key, made)
          } else if (kind === 'remove' && e !== undefined) {
            fdb.remove(e)
            twin.delete(key)
          } else if (kind === 'removeIf') {
            fdb.removeIf((x) => x.macLo === lo)
            for (const [k, x] of twin) if (x.macLo === lo) twin.delete(k)
          }
          expect(fdb.entries()).toEqual([...twin.values()])
        }
        for (const e of twin.values()) expect(fdb.find(e.macHi, e.macLo)).toBe(e)
      }),
      { numRuns: 200 },
    )
  })

  it('ignores the removal of an entry that is not there', () => {
    const fdb = new Fdb()
    fdb.insert(entry(2, 3))
    fdb.remove(entry(2, 3))
    expect(fdb.find(2, 3)).toBeDefined()
  })
})
