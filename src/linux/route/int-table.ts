/**
 * A hash table from int32 to a reference, by open addressing: the per-prefix-length index of a routing table.
 *
 * A `Map` would box keys above 2^30 on every lookup; this one allocates nothing. Deletion shifts entries back, so no
 * tombstones gather.
 */

/** int32 -> T. */
export class IntTable<T> {
  size = 0
  private keys = new Int32Array(8)
  private values: (T | undefined)[] = new Array<T | undefined>(8).fill(undefined)
  private mask = 7

  /** The value of `key`, or undefined. */
  get(key: number): T | undefined {
    const { keys, values, mask } = this
    let i = slotOf(key) & mask
    for (;;) {
      const v = values[i]
      if (v === undefined || keys[i] === key) return v
      i = (i + 1) & mask
    }
  }

  /** Adds or replaces. */
  set(key: number, value: T): void {
    if ((this.size + 1) * 2 > this.mask + 1) this.grow()
    let i = slotOf(key) & this.mask
    while (this.values[i] !== undefined && this.keys[i] !== key) i = (i + 1) & this.mask
    if (this.values[i] === undefined) this.size++
    this.keys[i] = key
    this.values[i] = value
  }

  /** Removes `key` if it is there. */
  delete(key: number): void {
    const mask = this.mask
    let i = slotOf(key) & mask
    while (this.keys[i] !== key || this.values[i] === undefined) {
      if (this.values[i] === undefined) return
      i = (i + 1) & mask
    }
    this.size--
    let hole = i
    for (let j = (i + 1) & mask; this.values[j] !== undefined; j = (j + 1) & mask) {
      const home = slotOf(this.keys[j]!) & mask
      if (((j - home) & mask) >= ((j - hole) & mask)) {
        this.keys[hole] = this.keys[j]!
        this.values[hole] = this.values[j]
        hole = j
      }
    }
    this.values[hole] = undefined
  }

  /** All entries in no particular order. */
  forEach(visit: (value: T, key: number) => void): void {
    for (let i = 0; i <= this.mask; i++) {
      const v = this.values[i]
      if (v !== undefined) visit(v, this.keys[i]!)
    }
  }

  private grow(): void {
    const { keys, values } = this
    const n = (this.mask + 1) * 2
    this.keys = new Int32Array(n)
    this.values = new Array<T | undefined>(n).fill(undefined)
    this.mask = n - 1
    this.size = 0
    for (let i = 0; i < values.length; i++) if (values[i] !== undefined) this.set(keys[i]!, values[i]!)
  }
}

function slotOf(key: number): number {
  const h = Math.imul(key ^ (key >>> 15), 0x2c1b3c6d)
  return h ^ (h >>> 13)
}
