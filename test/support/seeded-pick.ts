/**
 * Choices from a seed: uniform, where fast-check's own prefer small numbers (mulberry32).
 */
import type { Pick } from './policy-generator.ts'

/** The choices of a seed. */
export function seededPick(seed: number): Pick {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return (t ^ (t >>> 14)) >>> 0
  }
  return { int: (n) => next() % n }
}
