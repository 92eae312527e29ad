/**
 * Sets against their slow twin: a list that is searched from the front.
 */
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import {
  SetStore,
  STORE_CONCAT,
  STORE_HASH,
  STORE_INTERVAL,
} from '../../../../src/linux/netfilter/nftables/set-store.ts'

interface Twin {
  lo: number[]
  hi: number[]
  expires: number
  row: number
}

/** unsigned order over the words of a field */
function within(key: readonly number[], lo: readonly number[], hi: readonly number[]): boolean {
  const order = (a: readonly number[], b: readonly number[]): number => {
    for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return (a[i]! >>> 0) - (b[i]! >>> 0)
    return 0
  }
  return order(key, lo) >= 0 && order(key, hi) <= 0
}

function twinLookup(list: readonly Twin[], key: readonly number[], fields: readonly number[], now: number): number {
  for (const e of list) {
    let at = 0
    let all = e.expires > now
    for (const n of fields) {
      all &&= within(key.slice(at, at + n), e.lo.slice(at, at + n), e.hi.slice(at, at + n))
      at += n
    }
    if (all) return e.row
  }
  return -1
}

// few values, so that keys meet; the ends of the number line too
const word = fc.constantFrom(0, 1, 2, 3, 5, 8, 0x7fffffff, -0x80000000, -2, -1)
const step = fc.record({
  kind: fc.constantFrom('add', 'add', 'add', 'remove', 'expire', 'look', 'look', 'look'),
  a: fc.array(word, { minLength: 4, maxLength: 4 }),
  b: fc.array(word, { minLength: 4, maxLength: 4 }),
  pick: fc.nat(50),
})

const SHAPES: readonly (readonly [string, number, readonly number[]])[] = [
  ['exact keys of one word', STORE_HASH, [1]],
  ['exact keys of three fields', STORE_HASH, [1, 1, 2]],
  ['ranges of one word', STORE_INTERVAL, [1]],
  ['ranges of four words', STORE_INTERVAL, [4]],
  ['concatenated ranges', STORE_CONCAT, [1, 1, 2]],
  ['concatenated ranges of two fields', STORE_CONCAT, [2, 2]],
]

describe('a set finds what its slow twin finds', () => {
  it.each(SHAPES)('%s', (_name, mode, fields) => {
    const words = fields.reduce((a, b) => a + b, 0)
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const store = new SetStore(mode, fields, 1)
        let list: Twin[] = []
        for (const s of steps) {
          const lo: number[] = []
          const hi: number[] = []
          let at = 0
          for (const n of fields) {
            const x = s.a.slice(at, at + n)
            const y = mode === STORE_HASH ? x : s.b.slice(at, at + n)
            const up = within(y, x, y)
            lo.push(...(up ? x : y))
            hi.push(...(up ? y : x))
            at += n
          }
          const l = Int32Array.from(lo)
          const h = Int32Array.from(hi)
          if (s.kind === 'add') {
            store.purge(0)
            list = list.filter((e) => e.expires > 0)
            if (store.find(l, h, 0) >= 0) continue
            if (mode === STORE_INTERVAL && store.overlap(l, h, 0) >= 0) continue
            list.push({ lo, hi, expires: Infinity, row: store.add(l, h, 0) })
          } else if (s.kind === 'remove' && list.length > 0) {
            const [gone] = list.splice(s.pick % list.length, 1)
            store.remove(gone!.row)
          } else if (s.kind === 'expire' && list.length > 0) {
            const e = list[s.pick % list.length]!
            e.expires = -1
            store.expires[e.row] = -1
          } else if (s.kind === 'look') {
            const key = s.a.slice(0, words)
            expect(store.lookup(Int32Array.from([7, ...key]), 1, 0)).toBe(twinLookup(list, key, fields, 0))
            list = list.filter((e) => {
              if (e.expires > 0) return true
              store.remove(e.row)
              return false
            })
          }
        }
        expect(store.rows(0).length).toBe(list.filter((e) => e.expires > 0).length)
      }),
      { numRuns: 300 },
    )
  })

  it('falls back to the catch-all element, and no more once it is gone', () => {
    const store = new SetStore(STORE_HASH, [1], 1)
    const row = store.add(Int32Array.of(5), Int32Array.of(5), 0)
    const other = store.addDefault()
    expect(store.lookup(Int32Array.of(5), 0, 0)).toBe(row)
    expect(store.lookup(Int32Array.of(6), 0, 0)).toBe(other)
    for (let i = 100; i < 200; i++) store.add(Int32Array.of(i), Int32Array.of(i), 0)
    expect(store.lookup(Int32Array.of(6), 0, 0)).toBe(other)
    store.remove(other)
    expect(store.lookup(Int32Array.of(6), 0, 0)).toBe(-1)
  })
})
