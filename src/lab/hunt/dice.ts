/**
 * The hunter's dice: every choice of a generated lab comes from one seeded stream, so that a seed names a lab for good.
 *
 * Adding a draw anywhere changes the labs of all seeds; a found difference is therefore kept as a scenario, not as a seed.
 */
import { Random } from '../../linux/random.ts'

/** Seeded choices. */
export class Dice {
  private readonly random: Random

  constructor(seed: number) {
    this.random = new Random(seed)
  }

  /** An unsigned 32-bit integer. */
  u32(): number {
    return this.random.u32()
  }

  /** 0 <= n < bound. */
  below(bound: number): number {
    return this.random.below(bound)
  }

  /** lo <= n <= hi. */
  between(lo: number, hi: number): number {
    return lo + this.random.below(hi - lo + 1)
  }

  /** True in `percent` of 100 throws. */
  chance(percent: number): boolean {
    return this.random.below(100) < percent
  }

  /** One of a list. */
  pick<T>(list: readonly T[]): T {
    return list[this.random.below(list.length)]!
  }

  /** One of [weight, value] pairs; weights are positive integers or 0. */
  weighted<T>(pairs: readonly (readonly [number, T])[]): T {
    let n = this.random.below(pairs.reduce((sum, [w]) => sum + w, 0))
    for (const [w, value] of pairs) {
      if (n < w) return value
      n -= w
    }
    return pairs[0]![1]
  }

  /** A shuffled copy. */
  shuffle<T>(list: readonly T[]): T[] {
    const out = [...list]
    for (let i = out.length - 1; i > 0; i--) {
      const k = this.random.below(i + 1)
      ;[out[i], out[k]] = [out[k]!, out[i]!]
    }
    return out
  }

  /** `count` random bytes. */
  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.random.below(256))
  }
}

/** The seed of lab number `index` of a hunt (splitmix32 of both). */
export function labSeed(base: number, index: number): number {
  let z = (Math.imul(base | 0, 0x9e3779b9) + Math.imul(index + 1, 0x85ebca6b)) | 0
  z = Math.imul(z ^ (z >>> 16), 0x7feb352d)
  z = Math.imul(z ^ (z >>> 15), 0x846ca68b)
  return (z ^ (z >>> 16)) >>> 0
}
