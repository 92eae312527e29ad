/**
 * The routes of one speaker: for every prefix the paths that were learnt (Adj-RIB-In behind the import filter) and those
 * of its own, best first (Loc-RIB). BIRD's net->routes.
 *
 * A path is a row of five int32 in one array; paths of a prefix are a chained list. 20 bytes a path, 4 a prefix and no
 * object: 75 million paths (5,000 nodes with 3 reflectors) are 1.5 GB where objects would be ten times that.
 */
const NEXT = 0
const PEER = 1
const PATH_ID = 2
const ATTRIBUTES = 3
/** Arrival number << 1 | stale. */
const INFO = 4
const STRIDE = 5

/** Whether the path in row `a` is better than that in row `b`. */
export type BetterThan = (a: number, b: number) => boolean

/** The routes of one speaker. */
export class Rib {
  private rows = new Int32Array(16 * STRIDE)
  private heads = new Int32Array(16).fill(-1)
  private used = 0
  private free = -1
  private arrivals = 0
  /** Paths held. */
  count = 0
  /** Prefixes that have a path. */
  prefixCount = 0

  /** First row (the best after `settle`) of a prefix, -1 without one. */
  first(prefix: number): number {
    return prefix < this.heads.length ? this.heads[prefix]! : -1
  }

  /** The next row of the same prefix, -1 at the end. */
  next(row: number): number {
    return this.rows[row + NEXT]!
  }

  /** Index of the neighbour; 0 is the speaker itself. */
  peer(row: number): number {
    return this.rows[row + PEER]!
  }

  /** Path id as received, 0 without ADD-PATH. */
  pathId(row: number): number {
    return this.rows[row + PATH_ID]! >>> 0
  }

  /** Number of the attribute set. */
  attributes(row: number): number {
    return this.rows[row + ATTRIBUTES]!
  }

  /** Smaller is older. */
  arrival(row: number): number {
    return this.rows[row + INFO]! >> 1
  }

  /** Kept over a restart of the neighbour (RFC 4724), not confirmed yet. */
  isStale(row: number): boolean {
    return (this.rows[row + INFO]! & 1) !== 0
  }

  /** Bytes of the arrays. */
  get bytes(): number {
    return this.rows.byteLength + this.heads.byteLength
  }

  /** Highest prefix number that may have a path, exclusive. */
  get prefixEnd(): number {
    return this.heads.length
  }

  /** The row of a neighbour's path, -1 when there is none. */
  find(prefix: number, peer: number, pathId: number): number {
    for (let r = this.first(prefix); r >= 0; r = this.rows[r + NEXT]!) {
      if (this.rows[r + PEER] === peer && this.rows[r + PATH_ID] === (pathId | 0)) return r
    }
    return -1
  }

  /** Adds or replaces a path; a replaced one keeps its place and loses its staleness. @returns false when nothing changed */
  put(prefix: number, peer: number, pathId: number, attributes: number): boolean {
    const old = this.find(prefix, peer, pathId)
    if (old >= 0) {
      const { rows } = this
      const isSame = rows[old + ATTRIBUTES] === attributes
      const info = rows[old + INFO]!
      if (isSame && (info & 1) === 0) return false
      rows[old + ATTRIBUTES] = attributes
      rows[old + INFO] = isSame ? info & ~1 : ++this.arrivals << 1
      return true
    }
    if (prefix >= this.heads.length) this.growHeads(prefix)
    const row = this.take()
    const { rows } = this
    rows[row + PEER] = peer
    rows[row + PATH_ID] = pathId | 0
    rows[row + ATTRIBUTES] = attributes
    rows[row + INFO] = ++this.arrivals << 1
    rows[row + NEXT] = -1
    this.count++
    let last = this.heads[prefix]!
    if (last < 0) {
      this.heads[prefix] = row
      this.prefixCount++
      return true
    }
    while (rows[last + NEXT]! >= 0) last = rows[last + NEXT]!
    rows[last + NEXT] = row
    return true
  }

  /** Takes a path out. @returns whether there was one */
  remove(prefix: number, peer: number, pathId: number): boolean {
    let before = -1
    for (let r = this.first(prefix); r >= 0; r = this.rows[r + NEXT]!) {
      if (this.rows[r + PEER] === peer && this.rows[r + PATH_ID] === (pathId | 0)) {
        this.unlink(prefix, before, r)
        return true
      }
      before = r
    }
    return false
  }

  /** Takes all paths of a neighbour out, or its stale ones. `changed` hears of every prefix that lost one. */
  removePeer(
    peer: number,
    staleOnly: boolean,
    changed: (prefix: number) => void,
    wanted?: (prefix: number) => boolean,
  ): void {
    for (let p = 0; p < this.heads.length; p++) {
      if (wanted !== undefined && this.heads[p]! >= 0 && !wanted(p)) continue
      let before = -1
      let hit = false
      for (let r = this.heads[p]!; r >= 0; ) {
        const after = this.rows[r + NEXT]!
        if (this.rows[r + PEER] === peer && (!staleOnly || this.isStale(r))) {
          this.unlink(p, before, r)
          hit = true
        } else before = r
        r = after
      }
      if (hit) changed(p)
    }
  }

  /** Marks all paths of a neighbour as stale. */
  markStale(peer: number, wanted: (prefix: number) => boolean, changed: (prefix: number) => void): void {
    for (let p = 0; p < this.heads.length; p++) {
      if (this.heads[p]! < 0 || !wanted(p)) continue
      for (let r = this.heads[p]!; r >= 0; r = this.rows[r + NEXT]!) {
        if (this.rows[r + PEER] !== peer) continue
        this.rows[r + INFO] = this.rows[r + INFO]! | 1
        changed(p)
      }
    }
  }

  /** Puts the best path first. @returns its row, -1 when the prefix has none */
  settle(prefix: number, better: BetterThan): number {
    const head = this.first(prefix)
    if (head < 0) return -1
    const { rows } = this
    let best = head
    let beforeBest = -1
    let before = head
    for (let r = rows[head + NEXT]!; r >= 0; r = rows[r + NEXT]!) {
      if (better(r, best)) {
        best = r
        beforeBest = before
      }
      before = r
    }
    if (best !== head) {
      rows[beforeBest + NEXT] = rows[best + NEXT]!
      rows[best + NEXT] = head
      this.heads[prefix] = best
    }
    return best
  }

  private unlink(prefix: number, before: number, row: number): void {
    const after = this.rows[row + NEXT]!
    if (before < 0) this.heads[prefix] = after
    else this.rows[before + NEXT] = after
    if (this.heads[prefix]! < 0) this.prefixCount--
    this.rows[row + NEXT] = this.free
    this.free = row
    this.count--
  }

  private take(): number {
    if (this.free >= 0) {
      const row = this.free
      this.free = this.rows[row + NEXT]!
      return row
    }
    if ((this.used + 1) * STRIDE > this.rows.length) {
      const bigger = new Int32Array(Math.ceil((this.rows.length / STRIDE) * 1.5) * STRIDE)
      bigger.set(this.rows)
      this.rows = bigger
    }
    return this.used++ * STRIDE
  }

  private growHeads(prefix: number): void {
    const bigger = new Int32Array(Math.max(prefix + 1, Math.ceil(this.heads.length * 1.5))).fill(-1)
    bigger.set(this.heads)
    this.heads = bigger
  }
}
