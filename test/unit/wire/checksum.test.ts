/** The Internet checksum against a slow twin, and incremental updates against recomputing. */
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import * as csum from '../../../src/wire/checksum.ts'
import { crc32c } from '../../../src/wire/crc32c.ts'
import { viewOf } from '../../../src/wire/view.ts'

/** RFC 1071 in BigInt arithmetic: the sum modulo 65535, with 0 only for all-zero data. */
function slowChecksum(bytes: Uint8Array): number {
  let sum = 0n
  for (const [i, b] of bytes.entries()) sum += BigInt(b) << (i % 2 === 0 ? 8n : 0n)
  const folded = sum === 0n ? 0n : ((sum - 1n) % 65535n) + 1n
  return Number(~folded & 0xffffn)
}

describe('internetChecksum', () => {
  it('is RFC 1071’s on its own example', () => {
    const bytes = Uint8Array.from([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])
    expect(csum.foldSum(csum.sumWords(viewOf(bytes), 0, 8))).toBe(0xddf2)
    expect(csum.internetChecksum(viewOf(bytes), 0, 8)).toBe(0x220d)
  })

  it('equals the slow twin on any bytes, odd lengths too', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(csum.internetChecksum(viewOf(bytes), 0, bytes.length)).toBe(slowChecksum(bytes))
      }),
    )
  })

  it('does not overflow on 65,535 bytes of 0xff', () => {
    const bytes = new Uint8Array(65_535).fill(0xff)
    expect(csum.internetChecksum(viewOf(bytes), 0, bytes.length)).toBe(slowChecksum(bytes))
  })

  it('chains through the seed: an even prefix and the rest give the whole', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 2, maxLength: 100 }), fc.nat(49), (bytes, half) => {
        const cut = Math.min(half * 2, bytes.length & ~1)
        const seed = csum.sumWords(viewOf(bytes), 0, cut)
        expect(csum.internetChecksum(viewOf(bytes), cut, bytes.length - cut, seed)).toBe(slowChecksum(bytes))
      }),
    )
  })
})

describe('pseudo headers', () => {
  it('sum as their bytes do (IPv4)', () => {
    const bytes = Uint8Array.from([10, 244, 1, 7, 192, 168, 0, 10, 0, 17, 0x12, 0x34])
    expect(csum.foldChecksum(csum.pseudoSumV4(0x0af40107, 0xc0a8000a | 0, 17, 0x1234))).toBe(slowChecksum(bytes))
  })

  it('sum as their bytes do (IPv6)', () => {
    const src = [0x20010db8, -1, 0, 1] as const
    const dst = [0xfe800000 | 0, 0, 0x02420aff, 0x80000001 | 0] as const
    const bytes = new Uint8Array(40)
    const view = viewOf(bytes)
    for (let i = 0; i < 4; i++) {
      view.setInt32(4 * i, src[i]!)
      view.setInt32(16 + 4 * i, dst[i]!)
    }
    view.setUint32(32, 70_000)
    view.setUint32(36, 58)
    expect(csum.foldChecksum(csum.pseudoSumV6(src, dst, 58, 70_000))).toBe(slowChecksum(bytes))
  })
})

describe('incremental updates', () => {
  const data = fc.uint8Array({ minLength: 20, maxLength: 40 }).map((b) => b.slice(0, b.length & ~3))

  it('csumReplace2 gives what recomputing gives, unless all data becomes zero', () => {
    fc.assert(
      fc.property(data, fc.nat(0xffff), (bytes, to) => {
        const view = viewOf(bytes)
        const before = csum.internetChecksum(view, 0, bytes.length)
        const from = view.getUint16(6)
        view.setUint16(6, to)
        fc.pre(bytes.some((b) => b !== 0))
        expect(csum.csumReplace2(before, from, to)).toBe(csum.internetChecksum(view, 0, bytes.length))
      }),
    )
  })

  it('csumReplace4 gives what recomputing gives, unless all data becomes zero', () => {
    fc.assert(
      fc.property(data, fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), (bytes, to) => {
        const view = viewOf(bytes)
        const before = csum.internetChecksum(view, 0, bytes.length)
        const from = view.getInt32(12)
        view.setInt32(12, to)
        fc.pre(bytes.some((b) => b !== 0))
        expect(csum.csumReplace4(before, from, to)).toBe(csum.internetChecksum(view, 0, bytes.length))
      }),
    )
  })

  it('tell 0x0000 and 0xffff apart as the kernel does: only csum_replace2 can give 0xffff', () => {
    expect(csum.csumReplace2(0xffff, 0xffff, 0)).toBe(0xffff)
    expect(csum.csumReplace4(0xffff, -1, 0)).toBe(0)
  })

  it('is RFC 1624’s example: 0xDD2F with 0x5555 becoming 0x3285 gives 0x0000', () => {
    expect(csum.csumReplace2(0xdd2f, 0x5555, 0x3285)).toBe(0x0000)
  })
})

describe('crc32c', () => {
  it('is 0xE3069283 for "123456789" (the check value of CRC-32C)', () => {
    expect(crc32c(viewOf(new TextEncoder().encode('123456789')), 0, 9)).toBe(0xe3069283)
  })

  it('gives RFC 3720 B.4’s values for 32 bytes of zero and of ones', () => {
    expect(crc32c(viewOf(new Uint8Array(32)), 0, 32)).toBe(0x8a9136aa)
    expect(crc32c(viewOf(new Uint8Array(32).fill(0xff)), 0, 32)).toBe(0x62a8ab43)
  })
})
