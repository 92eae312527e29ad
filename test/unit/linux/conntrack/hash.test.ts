/** The tuple table against an obvious twin: a Map from text to entry. */
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { ConntrackHash, hashTuple } from '../../../../src/linux/netfilter/conntrack/hash.ts'
import {
  C_BYSRC_NEXT,
  C_DST,
  C_NET,
  C_PORTS,
  C_PROTO,
  C_REPLY_DST,
  C_REPLY_PORTS,
  C_REPLY_SRC,
  C_SRC,
  C_WORDS,
} from '../../../../src/linux/netfilter/conntrack/layout.ts'

interface Entry {
  readonly net: number
  readonly src: number
  readonly dst: number
  readonly ports: number
  readonly proto: number
}

const key = (e: Entry): string => `${e.net}/${e.src}/${e.dst}/${e.ports}/${e.proto}`
const reverse = (e: Entry): Entry => ({ ...e, src: e.dst, dst: e.src, ports: (e.ports << 16) | (e.ports >>> 16) })

/** A small universe, so that tuples repeat and slots collide. */
const entry = fc.record({
  net: fc.integer({ min: 0, max: 2 }),
  src: fc.integer({ min: -3, max: 3 }),
  dst: fc.integer({ min: -3, max: 3 }),
  ports: fc.constantFrom(0x00010002, 0x00020001, 0x00030004, -1),
  proto: fc.constantFrom(6, 17),
})
const command = fc.oneof(
  { weight: 3, arbitrary: fc.record({ op: fc.constant('add' as const), e: entry }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('remove' as const), e: entry }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('find' as const), e: entry }) },
)

function add(h: ConntrackHash, e: Entry): number {
  const id = h.alloc()
  const row = id * C_WORDS
  const r = reverse(e)
  h.rows[row + C_NET] = e.net
  h.rows[row + C_PROTO] = e.proto
  h.rows[row + C_SRC] = e.src
  h.rows[row + C_DST] = e.dst
  h.rows[row + C_PORTS] = e.ports
  h.rows[row + C_REPLY_SRC] = r.src
  h.rows[row + C_REPLY_DST] = r.dst
  h.rows[row + C_REPLY_PORTS] = r.ports
  return id
}

const find = (h: ConntrackHash, e: Entry): number =>
  h.find(hashTuple(e.net, e.src, e.dst, e.ports, e.proto), e.net, e.src, e.dst, e.ports, e.proto)

describe('ConntrackHash', () => {
  it('finds what a Map finds, through any sequence of additions and removals', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 300 }), (commands) => {
        const h = new ConntrackHash()
        const twin = new Map<string, number>()
        for (const { op, e } of commands) {
          const r = reverse(e)
          if (op === 'add' && !twin.has(key(e)) && !twin.has(key(r)) && key(e) !== key(r)) {
            const id = add(h, e)
            h.insert(id, 0)
            h.insert(id, 1)
            twin.set(key(e), id << 1)
            twin.set(key(r), (id << 1) | 1)
          } else if (op === 'remove' && twin.has(key(e))) {
            const id = twin.get(key(e))! >> 1
            h.remove(id, 0)
            h.remove(id, 1)
            h.free(id)
            for (const [k, ref] of twin) if (ref >> 1 === id) twin.delete(k)
          }
          expect(find(h, e)).toBe(twin.get(key(e)) ?? 0)
          expect(find(h, r)).toBe(twin.get(key(r)) ?? 0)
          expect(h.used).toBe(twin.size)
        }
      }),
      { numRuns: 200 },
    )
  })

  it('keeps every tuple findable while it grows to 20,000 entries and shrinks to none', () => {
    const h = new ConntrackHash()
    const make = (i: number): Entry => ({ net: i % 5, src: i, dst: -i - 1, ports: (i << 16) | 53, proto: 17 })
    const ids: number[] = []
    for (let i = 0; i < 20000; i++) {
      ids.push(add(h, make(i)))
      h.insert(ids[i]!, 0)
      h.insert(ids[i]!, 1)
    }
    for (let i = 0; i < 20000; i++) expect(find(h, make(i))).toBe(ids[i]! << 1)
    for (let i = 0; i < 20000; i += 2) {
      h.remove(ids[i]!, 0)
      h.remove(ids[i]!, 1)
    }
    for (let i = 0; i < 20000; i++) expect(find(h, make(i))).toBe(i % 2 === 0 ? 0 : ids[i]! << 1)
    for (let i = 1; i < 20000; i += 2) {
      h.remove(ids[i]!, 0)
      h.remove(ids[i]!, 1)
    }
    expect(h.used).toBe(0)
  })

  it('collects exactly the references of a hash range, wrap-around included', () => {
    const h = new ConntrackHash()
    const all: { hash: number; ref: number }[] = []
    for (let i = 0; i < 400; i++) {
      const e: Entry = { net: 0, src: i * 7, dst: i, ports: i, proto: 6 }
      const id = add(h, e)
      h.insert(id, 0)
      all.push({ hash: hashTuple(e.net, e.src, e.dst, e.ports, e.proto) >>> 0, ref: id << 1 })
    }
    const out = new Int32Array(1024)
    for (let b = 0; b < 16; b++) {
      const first = b * 0x10000000
      const last = first + 0x0fffffff
      const n = h.collectRange(first, last, out)
      const want = all.filter((x) => x.hash >= first && x.hash <= last).map((x) => x.ref)
      expect([...out.subarray(0, n)].sort()).toEqual(want.sort())
    }
  })

  it('keeps the newest entry of a source first in nat_bysource, over growth and removal', () => {
    const h = new ConntrackHash()
    const ids: number[] = []
    for (let i = 0; i < 1000; i++) {
      const id = add(h, { net: 0, src: i % 3, dst: i, ports: (9 << 16) | i, proto: 17 })
      h.addBysource(id)
      ids.push(id)
    }
    for (let i = 0; i < 1000; i += 5) h.removeBysource(ids[i]!)
    for (let s = 0; s < 3; s++) {
      const chain: number[] = []
      for (let id = h.bysourceHead(0, s, 9, 17); id !== 0; id = h.rows[id * C_WORDS + C_BYSRC_NEXT]!) {
        if (h.rows[id * C_WORDS + C_SRC] === s) chain.push(id)
      }
      expect(chain).toEqual(ids.filter((_, i) => i % 3 === s && i % 5 !== 0).reverse())
    }
  })
})
