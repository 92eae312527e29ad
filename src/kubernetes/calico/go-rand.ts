/**
 * The random choice with which Calico's IPAM picks a host's first block: Go's math/rand and big.Int.Rand.
 *
 * Real thing: libcalico-go/lib/ipam/ipam_block_reader_writer.go (randomBlockGenerator) seeds math/rand with the FNV-1
 * hash of the host's name and asks big.Int.Rand for the index of the first block. The generator is Go's additive lagged
 * Fibonacci (src/math/rand/rng.go), which Go 1 keeps as it is. Only the first 273 outputs are made here (each reads words
 * of the state that no earlier output wrote): the chance that big.Int.Rand rejects more is 2^-136.
 */
import { RNG_COOKED_BASE64 } from './go-rand-table.ts'

const RNG_LENGTH = 607
const RNG_TAP = 273
const INT32_MAX = 0x7fffffff
const MASK64 = (1n << 64n) - 1n

/** Lower and upper halves of rngCooked. */
const cooked = new Int32Array(Uint8Array.from(atob(RNG_COOKED_BASE64), (c) => c.charCodeAt(0)).buffer as ArrayBuffer)

/** FNV-1 (not 1a), 32 bits, of the name's bytes. */
export function fnv1(text: string): number {
  let h = 0x811c9dc5
  for (const byte of new TextEncoder().encode(text)) h = Math.imul(h, 0x01000193) ^ byte
  return h >>> 0
}

/** seedrand: x[n+1] = 48271 x[n] mod (2^31 - 1), by Schrage's method. */
function seedrand(x: number): number {
  const hi = Math.trunc(x / 44488)
  const next = 48271 * (x % 44488) - 3399 * hi
  return next < 0 ? next + INT32_MAX : next
}

/** rand.New(rand.NewSource(seed)): the first outputs of Uint64. */
export class GoRand {
  private readonly low = new Uint32Array(RNG_LENGTH)
  private readonly high = new Uint32Array(RNG_LENGTH)
  private drawn = 0

  constructor(seed: number) {
    let x = seed % INT32_MAX
    if (x === 0) x = 89482311
    for (let i = 0; i < 20; i++) x = seedrand(x)
    for (let i = 0; i < RNG_LENGTH; i++) {
      x = seedrand(x)
      const a = x
      x = seedrand(x)
      const b = x
      x = seedrand(x)
      // int64(a) << 40 ^ int64(b) << 20 ^ int64(c), in halves
      this.low[i] = ((b << 20) ^ x ^ cooked[2 * i]!) >>> 0
      this.high[i] = ((a << 8) ^ (b >>> 12) ^ cooked[2 * i + 1]!) >>> 0
    }
  }

  /** Rand.Uint32: bits 31 to 62 of the next output. */
  uint32(): number {
    const feed = RNG_LENGTH - RNG_TAP - 1 - this.drawn
    const tap = RNG_LENGTH - 1 - this.drawn
    if (++this.drawn > RNG_TAP) throw new Error(`more than ${RNG_TAP} draws of one GoRand`)
    const low = this.low[feed]! + this.low[tap]!
    const high = (this.high[feed]! + this.high[tap]! + (low > 0xffffffff ? 1 : 0)) >>> 0
    return ((high << 1) | ((low >>> 0) >>> 31)) >>> 0
  }

  /** big.Int.Rand: a number below `limit`, which is at most 2^32. */
  below(limit: number): number {
    const bits = limit === 0 ? 0 : Math.floor(Math.log2(limit)) + 1
    const mask = (1n << BigInt(bits)) - 1n
    for (;;) {
      const low = BigInt(this.uint32())
      const word = (low | (BigInt(this.uint32()) << 32n)) & MASK64 & mask
      if (word < BigInt(limit)) return Number(word)
    }
  }
}

/** Index of the block that a host tries first among `blocks` blocks of a pool. */
export function firstBlockIndex(host: string, blocks: number): number {
  return new GoRand(fnv1(host)).below(blocks)
}
