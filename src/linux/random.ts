/**
 * The seeded source of everything that Linux takes from get_random_*(): ISNs, IP ids, NAT ports, statistic draws.
 *
 * xorshift128 (Marsaglia 2003), seeded by splitmix32. Deterministic: the same seed gives the same world. Not
 * cryptographic, and not meant to equal the kernel's stream (which nobody can predict).
 */

/** A 32-bit generator. */
export class Random {
  /** The newest word of the state: moves with every draw. */
  a: number
  private b: number
  private c: number
  private d: number

  /** @param seed any 32-bit integer */
  constructor(seed: number) {
    let s = seed | 0
    const next = (): number => {
      s = (s + 0x9e3779b9) | 0
      let z = s
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
      return (z ^ (z >>> 16)) | 0
    }
    this.a = next()
    this.b = next()
    this.c = next()
    this.d = next() | 1
  }

  /** get_random_u32: an unsigned 32-bit integer. */
  u32(): number {
    let t = this.d
    const s = this.a
    this.d = this.c
    this.c = this.b
    this.b = s
    t ^= t << 11
    t ^= t >>> 8
    this.a = t ^ s ^ (s >>> 19)
    return this.a >>> 0
  }

  /** get_random_u32_below: 0 <= n < bound. */
  below(bound: number): number {
    return Math.floor((this.u32() / 4294967296) * bound)
  }
}
