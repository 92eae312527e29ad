/**
 * The memory behind conntrack: rows, the free list, the tuple hash table and nat_bysource.
 *
 * Linux: nf_conntrack_hash, nf_conntrack_cachep, nf_nat_bysource. Only mechanics here; time, status and statistics belong
 * to core.ts. References found in the table are `id << 1 | direction`, 0 when there is none (ids start at 1).
 * NOT here: chains (open addressing), RCU, the random seed of the kernel's hash (the order of slots is not observable).
 */
import {
  C_BYSRC_NEXT,
  C_BYSRC_PREV,
  C_DST,
  C_HASH,
  C_LISTED,
  C_NET,
  C_PORTS,
  C_PROTO,
  C_REPLY_HASH,
  C_SRC,
  C_TUPLE_WORDS,
  C_USE,
  C_WORDS,
  LISTED_BYSOURCE,
  LISTED_ORIGINAL,
  LISTED_REPLY,
} from './layout.ts'

const FIRST_ROWS = 256

/** hash_conntrack_raw: 32 bits over namespace and tuple. */
export function hashTuple(net: number, src: number, dst: number, ports: number, proto: number): number {
  let h = Math.imul(src ^ Math.imul(net + 1, 0x9e3779b1), 0x85ebca6b)
  h = Math.imul((h ^ (h >>> 15)) + dst, 0xc2b2ae35)
  h = Math.imul((h ^ (h >>> 13)) + ports, 0x27d4eb2f)
  h = Math.imul((h ^ (h >>> 16)) + proto, 0x165667b1)
  h ^= h >>> 15
  h = Math.imul(h, 0x2c1b3c6d)
  return h ^ (h >>> 13)
}

/** Rows, hash table and free list. */
export class ConntrackHash {
  /** C_WORDS int32 per entry. Replaced when it grows: do not keep it across `alloc`. */
  rows = new Int32Array(FIRST_ROWS * C_WORDS)
  /** `ct->timeout`: virtual ns of expiry once confirmed, a duration before. */
  timeout = new Float64Array(FIRST_ROWS)
  /** `ct->proto.udp.stream_ts` (ns), or the GRE stream timeout. */
  streamTs = new Float64Array(FIRST_ROWS)
  /** One past the highest id ever used. */
  top = 1
  /** Tuples in the table. */
  used = 0
  /** log2 of the number of slots. */
  bits = 10
  private slotRef = new Int32Array(1 << 10)
  private slotHash = new Int32Array(1 << 10)
  private freeIds = new Int32Array(FIRST_ROWS)
  private freeTop = 0
  private bysourceBits = 8
  private bysource = new Int32Array(1 << 8)
  private bysourceCount = 0

  /** A zeroed row. Its C_USE is the caller's to set. */
  alloc(): number {
    let id: number
    if (this.freeTop > 0) id = this.freeIds[--this.freeTop]!
    else {
      id = this.top++
      if (id >= this.timeout.length) this.growRows()
    }
    const e = id * C_WORDS
    this.rows.fill(0, e, e + C_WORDS)
    this.timeout[id] = 0
    this.streamTs[id] = 0
    return id
  }

  /** Gives the row back; it must not be listed anywhere. */
  free(id: number): void {
    this.rows[id * C_WORDS + C_USE] = 0
    this.rows[id * C_WORDS + C_NET] = -1
    this.freeIds[this.freeTop++] = id
  }

  /** ____nf_conntrack_find without the look at the clock. */
  find(hash: number, net: number, src: number, dst: number, ports: number, proto: number): number {
    const mask = (1 << this.bits) - 1
    const { slotRef, slotHash, rows } = this
    let i = hash >>> (32 - this.bits)
    for (;;) {
      const ref = slotRef[i]!
      if (ref === 0) return 0
      if (slotHash[i] === hash) {
        const e = (ref >>> 1) * C_WORDS
        const t = e + (ref & 1) * C_TUPLE_WORDS
        if (
          rows[t + C_SRC] === src &&
          rows[t + C_DST] === dst &&
          rows[t + C_PORTS] === ports &&
          rows[e + C_PROTO] === proto &&
          rows[e + C_NET] === net
        )
          return ref
      }
      i = (i + 1) & mask
    }
  }

  /** __nf_conntrack_hash_insert for one direction; the tuple must not be in the table. */
  insert(id: number, dir: number): void {
    if ((this.used + 1) * 2 > 1 << this.bits) this.growSlots()
    const e = id * C_WORDS
    const t = e + dir * C_TUPLE_WORDS
    const rows = this.rows
    const hash = hashTuple(rows[e + C_NET]!, rows[t + C_SRC]!, rows[t + C_DST]!, rows[t + C_PORTS]!, rows[e + C_PROTO]!)
    rows[e + (dir === 0 ? C_HASH : C_REPLY_HASH)] = hash
    rows[e + C_LISTED] = rows[e + C_LISTED]! | (dir === 0 ? LISTED_ORIGINAL : LISTED_REPLY)
    this.place(hash, (id << 1) | dir)
    this.used++
  }

  /** hlist_nulls_del_rcu for one direction; nothing happens when it is not in the table. */
  remove(id: number, dir: number): void {
    const e = id * C_WORDS
    const bit = dir === 0 ? LISTED_ORIGINAL : LISTED_REPLY
    if ((this.rows[e + C_LISTED]! & bit) === 0) return
    this.rows[e + C_LISTED] = this.rows[e + C_LISTED]! & ~bit
    const mask = (1 << this.bits) - 1
    const shift = 32 - this.bits
    const { slotRef, slotHash } = this
    const ref = (id << 1) | dir
    let i = this.rows[e + (dir === 0 ? C_HASH : C_REPLY_HASH)]! >>> shift
    while (slotRef[i] !== ref) i = (i + 1) & mask
    // backward shift: pull up every later slot of the run whose home is not after the hole
    let j = i
    for (;;) {
      j = (j + 1) & mask
      if (slotRef[j] === 0) break
      const home = slotHash[j]! >>> shift
      if (((j - home) & mask) >= ((j - i) & mask)) {
        slotRef[i] = slotRef[j]!
        slotHash[i] = slotHash[j]!
        i = j
      }
    }
    slotRef[i] = 0
    this.used--
  }

  /**
   * Writes the references whose hash lies in [firstHash, lastHash] (unsigned) to `out`, in slot order, as many as fit:
   * what stands in one bucket of Linux's table.
   * @returns how many
   */
  collectRange(firstHash: number, lastHash: number, out: Int32Array): number {
    const mask = (1 << this.bits) - 1
    const shift = 32 - this.bits
    const end = lastHash >>> shift
    let n = 0
    for (let i = firstHash >>> shift; i <= end + mask && n < out.length; i++) {
      const ref = this.slotRef[i & mask]!
      if (ref === 0) {
        if (i >= end) break
        continue
      }
      const h = this.slotHash[i & mask]! >>> 0
      if (h >= firstHash && h <= lastHash) out[n++] = ref
    }
    return n
  }

  /** hlist_add_head of nat_bysource under the original tuple's source. */
  addBysource(id: number): void {
    if (this.bysourceCount >= 1 << this.bysourceBits) this.growBysource()
    this.linkBysource(id)
    this.bysourceCount++
    const e = id * C_WORDS
    this.rows[e + C_LISTED] = this.rows[e + C_LISTED]! | LISTED_BYSOURCE
  }

  /** nf_nat_cleanup_conntrack: takes the entry out of nat_bysource. */
  removeBysource(id: number): void {
    const rows = this.rows
    const e = id * C_WORDS
    if ((rows[e + C_LISTED]! & LISTED_BYSOURCE) === 0) return
    rows[e + C_LISTED] = rows[e + C_LISTED]! & ~LISTED_BYSOURCE
    const next = rows[e + C_BYSRC_NEXT]!
    const prev = rows[e + C_BYSRC_PREV]!
    if (prev === 0) this.bysource[this.bysourceOf(id)] = next
    else rows[prev * C_WORDS + C_BYSRC_NEXT] = next
    if (next !== 0) rows[next * C_WORDS + C_BYSRC_PREV] = prev
    this.bysourceCount--
  }

  /** First entry of the nat_bysource chain for a source, 0 when empty; other sources may be in it. */
  bysourceHead(net: number, src: number, sport: number, proto: number): number {
    return this.bysource[hashTuple(net, src, 0, sport, proto) >>> (32 - this.bysourceBits)]!
  }

  private bysourceOf(id: number): number {
    const rows = this.rows
    const e = id * C_WORDS
    const h = hashTuple(rows[e + C_NET]!, rows[e + C_SRC]!, 0, rows[e + C_PORTS]! >>> 16, rows[e + C_PROTO]!)
    return h >>> (32 - this.bysourceBits)
  }

  private linkBysource(id: number): void {
    const rows = this.rows
    const b = this.bysourceOf(id)
    const head = this.bysource[b]!
    rows[id * C_WORDS + C_BYSRC_NEXT] = head
    rows[id * C_WORDS + C_BYSRC_PREV] = 0
    if (head !== 0) rows[head * C_WORDS + C_BYSRC_PREV] = id
    this.bysource[b] = id
  }

  private place(hash: number, ref: number): void {
    const mask = (1 << this.bits) - 1
    let i = hash >>> (32 - this.bits)
    while (this.slotRef[i] !== 0) i = (i + 1) & mask
    this.slotRef[i] = ref
    this.slotHash[i] = hash
  }

  private growRows(): void {
    const n = this.timeout.length * 2
    const rows = new Int32Array(n * C_WORDS)
    rows.set(this.rows)
    this.rows = rows
    const timeout = new Float64Array(n)
    timeout.set(this.timeout)
    this.timeout = timeout
    const streamTs = new Float64Array(n)
    streamTs.set(this.streamTs)
    this.streamTs = streamTs
    const freeIds = new Int32Array(n)
    freeIds.set(this.freeIds)
    this.freeIds = freeIds
  }

  private growSlots(): void {
    const refs = this.slotRef
    const hashes = this.slotHash
    this.bits++
    this.slotRef = new Int32Array(1 << this.bits)
    this.slotHash = new Int32Array(1 << this.bits)
    for (let i = 0; i < refs.length; i++) if (refs[i] !== 0) this.place(hashes[i]!, refs[i]!)
  }

  private growBysource(): void {
    const old = this.bysource
    this.bysourceBits++
    this.bysource = new Int32Array(1 << this.bysourceBits)
    for (let b = 0; b < old.length; b++) {
      // from the tail, so that adding at the head keeps the order of each chain
      let id = old[b]!
      if (id === 0) continue
      while (this.rows[id * C_WORDS + C_BYSRC_NEXT] !== 0) id = this.rows[id * C_WORDS + C_BYSRC_NEXT]!
      while (id !== 0) {
        const prev = this.rows[id * C_WORDS + C_BYSRC_PREV]!
        this.linkBysource(id)
        id = prev
      }
    }
  }
}
