/**
 * Address atoms: the address space cut at the boundaries of all blocks that policies name.
 *
 * Two addresses that are in the same blocks are the same to every policy. Each elementary interval gets the number of its
 * set of blocks, so that pods with addresses in the same blocks share a class, and what is outside the cluster is a few
 * atoms instead of 2^32 addresses. Sets of blocks are told apart by two independent 32-bit sums of their members, kept up
 * while the intervals are swept: exact comparison would cost their product.
 */
import type { Address, AddressRanges, Family } from './ranges.ts'

/** One set of addresses that no policy tells apart. */
export interface AddressAtom {
  readonly family: Family
  /** Flat pairs of first and last. */
  readonly ranges: AddressRanges
  /** The lowest of them. */
  readonly representative: Address
}

interface Line<T> {
  /** Starts of the elementary intervals, ascending; the first is 0. */
  readonly starts: readonly T[]
  /** Number of the set of blocks of each interval. */
  readonly sets: Int32Array
}

/** The atoms of some blocks. */
export class AddressAtoms {
  private readonly v4: Line<number>
  private readonly v6: Line<bigint>

  constructor(blocks: readonly AddressRanges[]) {
    this.v4 = sweep(
      blocks.map((b) => b.v4),
      0,
      1,
      0xffffffff,
    )
    this.v6 = sweep(
      blocks.map((b) => b.v6),
      0n,
      1n,
      (1n << 128n) - 1n,
    )
  }

  /** The number of the address's set of blocks; of one family only. */
  setOf(address: Address): number {
    return address.family === 4 ? find(this.v4, address.value) : find(this.v6, address.value)
  }

  /** Numbers of the sets that the addresses of some of the blocks are in; of one family only. */
  setsIn(ranges: AddressRanges, family: Family): Set<number> {
    return family === 4 ? inside(this.v4, ranges.v4) : inside(this.v6, ranges.v6)
  }

  /** All atoms, in address order of their first interval, IPv4 first. */
  all(): AddressAtom[] {
    const v4 = group(this.v4, 0xffffffff, 1)
    const v6 = group(this.v6, (1n << 128n) - 1n, 1n)
    return [
      ...v4.map((pairs) => ({
        family: 4 as const,
        ranges: { v4: pairs, v6: [] },
        representative: { family: 4 as const, value: pairs[0]! },
      })),
      ...v6.map((pairs) => ({
        family: 6 as const,
        ranges: { v4: [], v6: pairs },
        representative: { family: 6 as const, value: pairs[0]! },
      })),
    ]
  }
}

/** A well-mixed 32-bit number of a small one (the finalizer of MurmurHash3). */
function mix(n: number, seed: number): number {
  let h = Math.imul(n + 1, 0x9e3779b1) ^ seed
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

function sweep<T extends number | bigint>(lists: readonly (readonly T[])[], zero: T, one: T, last: T): Line<T> {
  const events: { at: T; block: number; opens: boolean }[] = []
  for (const [block, list] of lists.entries()) {
    for (let i = 0; i < list.length; i += 2) {
      events.push({ at: list[i]!, block, opens: true })
      if (list[i + 1]! < last)
        events.push({ at: ((list[i + 1]! as number) + (one as number)) as T, block, opens: false })
    }
  }
  events.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0))
  const numbers = new Map<string, number>()
  const starts: T[] = [zero]
  let low = 0
  let high = 0
  const sums: string[] = ['0 0']
  for (let i = 0; i < events.length; ) {
    const { at } = events[i]!
    for (; i < events.length && events[i]!.at === at; i++) {
      const { block, opens } = events[i]!
      const sign = opens ? 1 : -1
      low = (low + sign * mix(block, 0x1234567)) | 0
      high = (high + sign * mix(block, 0x7654321)) | 0
    }
    if (at !== starts[starts.length - 1]) {
      starts.push(at)
      sums.push('')
    }
    sums[sums.length - 1] = `${low} ${high}`
  }
  const sets = new Int32Array(starts.length)
  for (const [i, sum] of sums.entries()) {
    let number = numbers.get(sum)
    if (number === undefined) {
      number = numbers.size
      numbers.set(sum, number)
    }
    sets[i] = number
  }
  return { starts, sets }
}

function find<T extends number | bigint>(line: Line<T>, value: T): number {
  return line.sets[indexOf(line, value)]!
}

function indexOf<T extends number | bigint>(line: Line<T>, value: T): number {
  let low = 0
  let high = line.starts.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (line.starts[middle]! <= value) low = middle
    else high = middle - 1
  }
  return low
}

function inside<T extends number | bigint>(line: Line<T>, pairs: readonly T[]): Set<number> {
  const found = new Set<number>()
  for (let i = 0; i < pairs.length; i += 2) {
    for (let k = indexOf(line, pairs[i]!); k < line.starts.length && line.starts[k]! <= pairs[i + 1]!; k++) {
      found.add(line.sets[k]!)
    }
  }
  return found
}

function group<T extends number | bigint>(line: Line<T>, last: T, one: T): T[][] {
  const groups: T[][] = []
  for (let i = 0; i < line.starts.length; i++) {
    const set = line.sets[i]!
    const first = line.starts[i]!
    const end = i + 1 < line.starts.length ? (((line.starts[i + 1]! as number) - (one as number)) as T) : last
    const pairs = (groups[set] ??= [])
    const before = pairs.length - 1
    if (before > 0 && (((pairs[before]! as number) + (one as number)) as T) === first) pairs[before] = end
    else pairs.push(first, end)
  }
  return groups.filter((g) => g !== undefined)
}
