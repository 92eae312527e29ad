/**
 * Sets of classes, in the form that fits the size of the cluster.
 *
 * Up to DENSE_LIMIT classes a set is a bit per class in 32-bit words: intersection of 10,000 classes is 313 operations.
 * Above, sets are sorted lists of the classes that are in it, or of those that are not: in a large cluster of small
 * namespaces a policy's peers are a handful of classes, and "everyone" is an empty list of exceptions.
 */

/** A set of classes. Made and combined by one ClassSets only. */
export type ClassSet = Uint32Array | ListSet

/** A sorted list: the members, or with `isComplement` the classes that are no members. */
export interface ListSet {
  readonly ids: readonly number[]
  readonly isComplement: boolean
}

/** Largest number of classes for which sets are bits. */
export const DENSE_LIMIT = 16_384

/** Operations on the sets of a cluster of `size` classes. */
export interface ClassSets {
  readonly size: number
  none(): ClassSet
  all(): ClassSet
  /** @param ids ascending */
  of(ids: readonly number[]): ClassSet
  /** The union of lists that share no class. */
  ofAll(lists: readonly (readonly number[])[]): ClassSet
  and(a: ClassSet, b: ClassSet): ClassSet
  or(a: ClassSet, b: ClassSet): ClassSet
  /** Members of `a` that are not in `b`. */
  minus(a: ClassSet, b: ClassSet): ClassSet
  has(set: ClassSet, id: number): boolean
  isEmpty(set: ClassSet): boolean
  count(set: ClassSet): number
  /** Calls with each member, ascending. */
  each(set: ClassSet, visit: (id: number) => void): void
}

/** The operations for a number of classes. */
export function classSets(size: number, dense = size <= DENSE_LIMIT): ClassSets {
  return dense ? bitSets(size) : listSets(size)
}

function popcount(word: number): number {
  let v = word - ((word >>> 1) & 0x55555555)
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333)
  return Math.imul((v + (v >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}

function bitSets(size: number): ClassSets {
  const words = (size + 31) >> 5
  const tail = size & 31
  const everything = new Uint32Array(words).fill(0xffffffff)
  if (tail !== 0 && words > 0) everything[words - 1] = (2 ** tail - 1) >>> 0
  const nothing = new Uint32Array(words)
  const combine =
    (op: (a: number, b: number) => number) =>
    (x: ClassSet, y: ClassSet): ClassSet => {
      const [a, b] = [x as Uint32Array, y as Uint32Array]
      const out = new Uint32Array(words)
      for (let i = 0; i < words; i++) out[i] = op(a[i]!, b[i]!)
      return out
    }
  return {
    size,
    none: () => nothing,
    all: () => everything,
    of: (ids) => {
      const out = new Uint32Array(words)
      for (const id of ids) out[id >> 5]! |= 1 << (id & 31)
      return out
    },
    ofAll: (lists) => {
      const out = new Uint32Array(words)
      for (const ids of lists) for (const id of ids) out[id >> 5]! |= 1 << (id & 31)
      return out
    },
    and: (x, y) => {
      const [a, b] = [x as Uint32Array, y as Uint32Array]
      if (a === everything) return b
      if (b === everything) return a
      const out = new Uint32Array(words)
      for (let i = 0; i < words; i++) out[i] = a[i]! & b[i]!
      return out
    },
    or: combine((a, b) => a | b),
    minus: combine((a, b) => a & ~b),
    has: (set, id) => (((set as Uint32Array)[id >> 5]! >>> (id & 31)) & 1) !== 0,
    isEmpty: (x) => {
      const set = x as Uint32Array
      for (let i = 0; i < words; i++) if (set[i] !== 0) return false
      return true
    },
    count: (x) => {
      const set = x as Uint32Array
      let n = 0
      for (let i = 0; i < words; i++) n += popcount(set[i]!)
      return n
    },
    each: (x, visit) => {
      const set = x as Uint32Array
      for (let i = 0; i < words; i++) {
        let word = set[i]!
        while (word !== 0) {
          const bit = 31 - Math.clz32(word & -word)
          visit((i << 5) + bit)
          word &= word - 1
        }
      }
    },
  }
}

const NO_IDS: readonly number[] = []

function listSets(size: number): ClassSets {
  const list = (ids: readonly number[], isComplement = false): ListSet => ({ ids, isComplement })
  const nothing = list(NO_IDS)
  const everything = list(NO_IDS, true)
  const not = (s: ListSet): ListSet => list(s.ids, !s.isComplement)
  const and = (a: ListSet, b: ListSet): ListSet => {
    if (a.isComplement && b.isComplement) return list(unionIds(a.ids, b.ids), true)
    if (a.isComplement) return list(differenceIds(b.ids, a.ids))
    if (b.isComplement) return list(differenceIds(a.ids, b.ids))
    return list(intersectIds(a.ids, b.ids))
  }
  return {
    size,
    none: () => nothing,
    all: () => everything,
    of: (ids) => list(ids),
    ofAll: (lists) => list(lists.length === 1 ? lists[0]! : lists.flat().sort((a, b) => a - b)),
    and: (a, b) => and(a as ListSet, b as ListSet),
    or: (a, b) => not(and(not(a as ListSet), not(b as ListSet))),
    minus: (a, b) => and(a as ListSet, not(b as ListSet)),
    has: (set, id) => hasId((set as ListSet).ids, id) !== (set as ListSet).isComplement,
    isEmpty: (x) => {
      const set = x as ListSet
      return set.ids.length === (set.isComplement ? size : 0)
    },
    count: (x) => {
      const set = x as ListSet
      return set.isComplement ? size - set.ids.length : set.ids.length
    },
    each: (x, visit) => {
      const set = x as ListSet
      if (!set.isComplement) {
        for (const id of set.ids) visit(id)
        return
      }
      let next = 0
      for (let id = 0; id < size; id++) {
        if (set.ids[next] === id) next++
        else visit(id)
      }
    },
  }
}

function hasId(ids: readonly number[], id: number): boolean {
  let low = 0
  let high = ids.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (ids[middle]! < id) low = middle + 1
    else high = middle
  }
  return low < ids.length && ids[low] === id
}

type Ids = readonly number[]

function unionIds(a: Ids, b: Ids): Ids {
  if (a.length === 0) return b
  if (b.length === 0) return a
  const out: number[] = []
  let i = 0
  let j = 0
  while (i < a.length || j < b.length) {
    const x = i < a.length ? a[i]! : Number.POSITIVE_INFINITY
    const y = j < b.length ? b[j]! : Number.POSITIVE_INFINITY
    out.push(x < y ? x : y)
    if (x <= y) i++
    if (y <= x) j++
  }
  return out
}

function intersectIds(a: Ids, b: Ids): Ids {
  const [few, many] = a.length <= b.length ? [a, b] : [b, a]
  return few.filter((id) => hasId(many, id))
}

function differenceIds(a: Ids, b: Ids): Ids {
  return b.length === 0 ? a : a.filter((id) => !hasId(b, id))
}
