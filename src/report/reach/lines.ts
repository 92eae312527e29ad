/**
 * Connections as people read them: one line per pair, protocols together.
 */
import type { Reach } from '../../query/reach-types.ts'

/** A pair with all its ports. */
export interface ReachLine {
  readonly src: string
  readonly dst: string
  /** `TCP 80,443; UDP 53`, or `all`. */
  readonly ports: string
  readonly isPartial: boolean
}

/** One line per pair, in the order of the document. */
export function reachLines(reach: Reach): ReachLine[] {
  const byPair = new Map<string, { src: string; dst: string; parts: string[]; all: number; isPartial: boolean }>()
  for (const c of reach.connections) {
    const key = `${c.src} ${c.dst}`
    const entry = byPair.get(key) ?? { src: c.src, dst: c.dst, parts: [], all: 0, isPartial: false }
    if (c.ports === 'all') entry.all++
    entry.parts.push(c.ports === 'all' ? c.protocol : `${c.protocol} ${c.ports}`)
    entry.isPartial ||= c.partial === true
    byPair.set(key, entry)
  }
  return [...byPair.values()].map(({ src, dst, parts, all, isPartial }) => ({
    src,
    dst,
    ports: all === 3 ? 'all' : parts.join('; '),
    isPartial,
  }))
}

/** `1 pair`, `3 pairs`. */
export function count(n: number, word: string): string {
  return `${n} ${word}${n === 1 ? '' : 's'}`
}
