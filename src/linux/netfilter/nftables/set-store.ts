/**
 * The elements of a set: found by key in one step.
 *
 * Linux: net/netfilter/nft_set_hash.c (rhashtable), nft_set_rbtree.c (intervals), nft_set_pipapo.c (concatenations with
 * intervals). Here: keys are rows of int32 words; exact sets are an open addressing table, intervals a sorted list that is
 * searched by halving, concatenated intervals one bitmap of elements per elementary interval of each field, joined with
 * AND: the lowest element number wins, as pipapo's first match does. An element past its time is not found and is removed
 * when met. The indexes of intervals are built when a packet first asks after a change.
 */

/** What an element carries beside its key and data; null when it carries nothing. */
export interface ElemExtra {
  comment?: string
  /** Counters and limits of this element, in the order of the set's statements. */
  states?: unknown[]
}

const NEVER = Infinity
/** Exact keys. */
export const STORE_HASH = 0
/** One field, ranges. */
export const STORE_INTERVAL = 1
/** Several fields, ranges. */
export const STORE_CONCAT = 2

/** Elements in rows. */
export class SetStore {
  readonly mode: number
  /** Words of a key. */
  readonly words: number
  /** First word of each field, and the end. */
  readonly fieldStart: readonly number[]
  readonly dataWords: number
  /** Rows: key (low end), high end for intervals, data. */
  lo: Int32Array
  hi: Int32Array
  data: Int32Array
  /** End of life in ns, Infinity when none. */
  expires: Float64Array
  /** The element's own timeout in ms, -1 when it follows the set. */
  timeout: Float64Array
  extra: (ElemExtra | null)[] = []
  alive: Uint8Array
  /** Elements in use. */
  count = 0
  /** Row of the catch-all element `*`, -1 when there is none. */
  defaultRow = -1
  /** Rows ever used. */
  top = 0
  private readonly free: number[] = []
  private slots: Int32Array
  private mask: number
  private used = 0
  private dirty = true
  private order = new Int32Array(0)
  private readonly bounds: Int32Array[] = []
  private readonly bitmaps: Uint32Array[] = []
  private bitWords = 0
  private readonly rowsByOrder: number[] = []

  /** @param fieldWords words of each field of the key */
  constructor(mode: number, fieldWords: readonly number[], dataWords: number) {
    this.mode = mode
    this.words = fieldWords.reduce((a, b) => a + b, 0)
    const start = [0]
    for (const n of fieldWords) start.push(start.at(-1)! + n)
    this.fieldStart = start
    this.dataWords = dataWords
    const n = 8
    this.lo = new Int32Array(n * this.words)
    this.hi = new Int32Array(mode === STORE_HASH ? 0 : n * this.words)
    this.data = new Int32Array(n * dataWords)
    this.expires = new Float64Array(n).fill(NEVER)
    this.timeout = new Float64Array(n).fill(-1)
    this.alive = new Uint8Array(n)
    this.slots = new Int32Array(16).fill(-1)
    this.mask = 15
  }

  /** The row whose key matches the words at `at`, -1 when there is none that lives at `nowNs`. */
  lookup(key: Int32Array, at: number, nowNs: number): number {
    let row: number
    if (this.mode === STORE_HASH) row = this.findExact(key, at)
    else {
      if (this.dirty) this.rebuild()
      row = this.mode === STORE_INTERVAL ? this.findInterval(key, at) : this.findConcat(key, at, nowNs)
    }
    if (row >= 0 && this.expires[row]! <= nowNs) row = -1
    return row >= 0 ? row : this.defaultRow
  }

  /** The row with exactly this key (and range end), -1 when there is none; expired rows are removed. */
  find(lo: Int32Array, hi: Int32Array, nowNs: number): number {
    let row = -1
    if (this.mode === STORE_HASH) row = this.findExact(lo, 0)
    else {
      for (let r = 0; r < this.top; r++) {
        if (
          this.alive[r] === 1 &&
          r !== this.defaultRow &&
          this.compare(this.lo, r, lo) === 0 &&
          this.compare(this.hi, r, hi) === 0
        ) {
          row = r
          break
        }
      }
    }
    if (row >= 0 && this.expires[row]! <= nowNs) {
      this.remove(row)
      return -1
    }
    return row
  }

  private compare(rows: Int32Array, row: number, key: Int32Array): number {
    const o = row * this.words
    for (let i = 0; i < this.words; i++) {
      const d = (rows[o + i]! >>> 0) - (key[i]! >>> 0)
      if (d !== 0) return d
    }
    return 0
  }

  /** First living row whose range meets [lo, hi] in every field, -1 when there is none. */
  overlap(lo: Int32Array, hi: Int32Array, nowNs: number): number {
    for (let r = 0; r < this.top; r++) {
      if (this.alive[r] !== 1 || r === this.defaultRow || this.expires[r]! <= nowNs) continue
      let meets = true
      for (let f = 0; f + 1 < this.fieldStart.length && meets; f++) {
        if (this.fieldCompare(this.lo, r, hi, f) > 0 || this.fieldCompare(this.hi, r, lo, f) < 0) meets = false
      }
      if (meets) return r
    }
    return -1
  }

  /** True when a living row's ranges hold the key in every field. */
  holds(key: Int32Array, nowNs: number): boolean {
    return this.overlap(key, key, nowNs) >= 0
  }

  private fieldCompare(rows: Int32Array, row: number, key: Int32Array, field: number): number {
    const o = row * this.words
    for (let i = this.fieldStart[field]!; i < this.fieldStart[field + 1]!; i++) {
      const d = (rows[o + i]! >>> 0) - (key[i]! >>> 0)
      if (d !== 0) return d
    }
    return 0
  }

  /** Adds an element. The caller has made sure that it is new. @returns its row */
  add(lo: Int32Array, hi: Int32Array, at: number): number {
    const row = this.take()
    const o = row * this.words
    for (let i = 0; i < this.words; i++) {
      this.lo[o + i] = lo[at + i]!
      if (this.mode !== STORE_HASH) this.hi[o + i] = hi[at + i]!
    }
    if (this.mode === STORE_HASH) {
      if ((this.used + 1) * 2 > this.slots.length) this.rehash(row)
      this.insertSlot(row)
    } else {
      this.dirty = true
      this.rowsByOrder.push(row)
    }
    return row
  }

  /** A free row, marked as used. */
  private take(): number {
    const row = this.free.pop() ?? this.top++
    if (row >= this.alive.length) this.grow()
    this.alive[row] = 1
    this.expires[row] = NEVER
    this.timeout[row] = -1
    this.extra[row] = null
    for (let i = 0; i < this.dataWords; i++) this.data[row * this.dataWords + i] = 0
    this.count++
    return row
  }

  /** Adds the element `*`, which is found where no other is. @returns its row */
  addDefault(): number {
    const row = this.take()
    this.defaultRow = row
    return row
  }

  /** Takes an element out. */
  remove(row: number): void {
    if (this.alive[row] !== 1) return
    this.alive[row] = 0
    this.count--
    this.free.push(row)
    if (row === this.defaultRow) {
      this.defaultRow = -1
      return
    }
    if (this.mode === STORE_HASH) this.removeSlot(row)
    else {
      this.dirty = true
      this.rowsByOrder.splice(this.rowsByOrder.indexOf(row), 1)
    }
  }

  /** Removes what is past its time: a dead range would hide a living one that overlaps it. */
  purge(nowNs: number): void {
    for (let r = 0; r < this.top; r++) if (this.alive[r] === 1 && this.expires[r]! <= nowNs) this.remove(r)
  }

  /** Rows that live at `nowNs`: for intervals in the order of insertion. */
  rows(nowNs: number): number[] {
    const out: number[] = []
    if (this.mode !== STORE_HASH) {
      for (const r of this.rowsByOrder) if (this.expires[r]! > nowNs) out.push(r)
    } else {
      for (let r = 0; r < this.top; r++) {
        if (this.alive[r] === 1 && r !== this.defaultRow && this.expires[r]! > nowNs) out.push(r)
      }
    }
    if (this.defaultRow >= 0) out.push(this.defaultRow)
    return out
  }

  private grow(): void {
    const n = this.alive.length * 2
    const ints = (a: Int32Array, per: number): Int32Array => {
      const b = new Int32Array(n * per)
      b.set(a)
      return b
    }
    this.lo = ints(this.lo, this.words)
    if (this.mode !== STORE_HASH) this.hi = ints(this.hi, this.words)
    this.data = ints(this.data, this.dataWords)
    const expires = new Float64Array(n).fill(NEVER)
    expires.set(this.expires)
    this.expires = expires
    const timeout = new Float64Array(n).fill(-1)
    timeout.set(this.timeout)
    this.timeout = timeout
    const alive = new Uint8Array(n)
    alive.set(this.alive)
    this.alive = alive
  }

  // Exact keys: linear probing, backward-shift deletion.

  private hash(key: Int32Array, at: number): number {
    let h = 0x9e3779b9
    for (let i = 0; i < this.words; i++) {
      h = Math.imul(h ^ key[at + i]!, 0x85ebca6b)
      h ^= h >>> 13
    }
    h = Math.imul(h, 0xc2b2ae35)
    return h ^ (h >>> 16)
  }

  private findExact(key: Int32Array, at: number): number {
    const { slots, mask, words, lo } = this
    let i = this.hash(key, at) & mask
    for (;;) {
      const row = slots[i]!
      if (row < 0) return -1
      const o = row * words
      let w = 0
      while (w < words && lo[o + w] === key[at + w]) w++
      if (w === words) return row
      i = (i + 1) & mask
    }
  }

  private insertSlot(row: number): void {
    let i = this.hash(this.lo, row * this.words) & this.mask
    while (this.slots[i]! >= 0) i = (i + 1) & this.mask
    this.slots[i] = row
    this.used++
  }

  private removeSlot(row: number): void {
    const { slots, mask } = this
    let i = this.hash(this.lo, row * this.words) & mask
    while (slots[i] !== row) i = (i + 1) & mask
    this.used--
    let hole = i
    for (;;) {
      i = (i + 1) & mask
      const r = slots[i]!
      if (r < 0) break
      const home = this.hash(this.lo, r * this.words) & mask
      if (((i - home) & mask) >= ((i - hole) & mask)) {
        slots[hole] = r
        hole = i
      }
    }
    slots[hole] = -1
  }

  /** A table twice as large; `except` is listed by the caller. */
  private rehash(except: number): void {
    this.slots = new Int32Array(this.slots.length * 2).fill(-1)
    this.mask = this.slots.length - 1
    this.used = 0
    for (let r = 0; r < this.top; r++)
      if (this.alive[r] === 1 && r !== except && r !== this.defaultRow) this.insertSlot(r)
  }

  // Ranges.

  private rebuild(): void {
    this.dirty = false
    if (this.mode === STORE_INTERVAL) {
      const rows = this.rowsByOrder.slice()
      const { lo, words } = this
      rows.sort((a, b) => {
        for (let i = 0; i < words; i++) {
          const d = (lo[a * words + i]! >>> 0) - (lo[b * words + i]! >>> 0)
          if (d !== 0) return d
        }
        return 0
      })
      this.order = Int32Array.from(rows)
      return
    }
    const rows = this.rowsByOrder
    this.order = Int32Array.from(rows)
    this.bitWords = (rows.length + 31) >>> 5
    for (let f = 0; f + 1 < this.fieldStart.length; f++) this.rebuildField(f, rows)
  }

  /** Elementary intervals of one field: their first keys, sorted, and who covers each. */
  private rebuildField(f: number, rows: readonly number[]): void {
    const from = this.fieldStart[f]!
    const n = this.fieldStart[f + 1]! - from
    const points = new Map<string, number[]>()
    const put = (p: number[]): void => void points.set(p.join(), p)
    const next = (p: number[]): number[] | null => {
      const q = p.slice()
      for (let i = n - 1; i >= 0; i--) {
        q[i] = (q[i]! + 1) >>> 0
        if (q[i] !== 0) return q
      }
      return null
    }
    const read = (a: Int32Array, r: number): number[] => {
      const out: number[] = []
      for (let i = 0; i < n; i++) out.push(a[r * this.words + from + i]! >>> 0)
      return out
    }
    put(new Array<number>(n).fill(0))
    for (const r of rows) {
      put(read(this.lo, r))
      const after = next(read(this.hi, r))
      if (after !== null) put(after)
    }
    const sorted = [...points.values()].sort(lexical)
    this.bounds[f] = Int32Array.from(sorted.flat())
    const bits = new Uint32Array(sorted.length * this.bitWords)
    rows.forEach((r, k) => {
      const a = read(this.lo, r)
      const b = read(this.hi, r)
      for (let i = lowerBound(sorted, a); i < sorted.length && lexical(sorted[i]!, b) <= 0; i++) {
        bits[i * this.bitWords + (k >>> 5)]! |= 1 << (k & 31)
      }
    })
    this.bitmaps[f] = bits
  }

  private findInterval(key: Int32Array, at: number): number {
    const { order, lo, hi, words } = this
    let a = 0
    let b = order.length - 1
    while (a <= b) {
      const mid = (a + b) >>> 1
      const o = order[mid]! * words
      if (wordsCompare(key, at, lo, o, words) < 0) b = mid - 1
      else if (wordsCompare(key, at, hi, o, words) > 0) a = mid + 1
      else return order[mid]!
    }
    return -1
  }

  private findConcat(key: Int32Array, at: number, nowNs: number): number {
    const fields = this.fieldStart.length - 1
    const n = this.bitWords
    if (n === 0) return -1
    for (let f = 0; f < fields; f++) {
      const from = this.fieldStart[f]!
      const w = this.fieldStart[f + 1]! - from
      const bounds = this.bounds[f]!
      let a = 0
      let b = bounds.length / w - 1
      while (a < b) {
        const mid = (a + b + 1) >>> 1
        if (wordsCompare(key, at + from, bounds, mid * w, w) < 0) b = mid - 1
        else a = mid
      }
      position[f] = a * n
    }
    for (let i = 0; i < n; i++) {
      let bits = 0xffffffff | 0
      for (let f = 0; f < fields && bits !== 0; f++) bits &= this.bitmaps[f]![position[f]! + i]!
      while (bits !== 0) {
        const bit = 31 - Math.clz32(bits & -bits)
        const row = this.order[i * 32 + bit]!
        if (this.expires[row]! > nowNs) return row
        bits &= bits - 1
      }
    }
    return -1
  }
}

const position = new Int32Array(32)

function wordsCompare(a: Int32Array, ai: number, b: Int32Array, bi: number, n: number): number {
  for (let i = 0; i < n; i++) {
    const d = (a[ai + i]! >>> 0) - (b[bi + i]! >>> 0)
    if (d !== 0) return d
  }
  return 0
}

function lexical(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) {
    const d = a[i]! - b[i]!
    if (d !== 0) return d
  }
  return 0
}

function lowerBound(sorted: readonly number[][], key: readonly number[]): number {
  let a = 0
  let b = sorted.length
  while (a < b) {
    const mid = (a + b) >>> 1
    if (lexical(sorted[mid]!, key) < 0) a = mid + 1
    else b = mid
  }
  return a
}
