/**
 * What a neighbour was told (Adj-RIB-Out), as little of it as withdrawals need: one bit per prefix, as BIRD's export map,
 * and with ADD-PATH the path ids of a prefix.
 */

/** What a neighbour was told. */
export class Exported {
  private bits = new Uint32Array(0)
  private readonly paths = new Map<number, Map<number, number>>()
  /** Prefixes told, without ADD-PATH. */
  count = 0

  has(prefix: number): boolean {
    const i = prefix >>> 5
    return i < this.bits.length && (this.bits[i]! & (1 << (prefix & 31))) !== 0
  }

  /** Notes that the prefix is told from now on, or not. */
  set(prefix: number, told: boolean): void {
    const i = prefix >>> 5
    if (i >= this.bits.length) {
      if (!told) return
      const bigger = new Uint32Array(Math.max(i + 1, Math.ceil(this.bits.length * 1.5), 4))
      bigger.set(this.bits)
      this.bits = bigger
    }
    const bit = 1 << (prefix & 31)
    if (((this.bits[i]! & bit) !== 0) === told) return
    this.count += told ? 1 : -1
    this.bits[i] = told ? this.bits[i]! | bit : this.bits[i]! & ~bit
  }

  /** With ADD-PATH: attribute set by path id; changed in place. */
  pathsOf(prefix: number): Map<number, number> {
    let m = this.paths.get(prefix)
    if (m === undefined) {
      m = new Map()
      this.paths.set(prefix, m)
    }
    return m
  }

  /** Prefixes with path ids. */
  pathPrefixes(): IterableIterator<[number, Map<number, number>]> {
    return this.paths.entries()
  }

  clear(): void {
    this.bits = new Uint32Array(0)
    this.paths.clear()
    this.count = 0
  }
}
