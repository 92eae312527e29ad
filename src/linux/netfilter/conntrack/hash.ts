/**
 * The memory behind conntrack: rows, the free list, the tuple hash table and nat_bysource.
 *
 * Linux: nf_conntrack_hash, nf_conntrack_cachep, nf_nat_bysource. Only mechanics here; time, status and statistics belong
 * to core.ts. References found in the table are `id << 1 | direction`, 0 when there is none (ids start at 1).
 * NOT here: chains (open addressing), RCU, the random seed of the kernel's hash (the order of slots is not observable).
 */
import {
  ACCT_WORDS,
  C_ACCT,
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

/**
 * hash_conntrack_raw: 32 bits over namespace and tuple. The five products do not wait for each other (a multilinear hash),
 * two rounds spread the sum over all bits.
 */
export function hashTuple(net: number, src: number, dst: number, ports: number, proto: number): number {
  let h =
    (Math.imul(src, 0x85ebca6b) +
      Math.imul(dst, 0xc2b2ae35) +
      Math.imul(ports, 0x27d4eb2f) +
      Math.imul((net << 8) + proto, 0x9e3779b1)) |
    0
  h = Math.imul(h ^ (h >>> 16), 0x2c1b3c6d)
  h = Math.imul(h ^ (h >>> 13), 0x297a2d39)
  return h ^ (h >>> 15)
}

/** Rows, hash table and free list. */
export class ConntrackHash {
  /** C_WORDS int32 per entry. Replaced when it grows: do not keep it across `alloc`. */
  rows = new Int32Array(FIRST_ROWS * C_WORDS)
  /** `ct->timeout`: virtual ns of expiry once confirmed, a duration before. */
  timeout = new Float64Array(FIRST_ROWS)
  /** `ct->proto.udp.stream_ts` (ns), or the GRE stream timeout. */
  streamTs = new Float64Array(FIRST_ROWS)
  /** ACCT_WORDS per entry; null until a namespace counts (nf_conntrack_acct). */
  acct: Float64Array | null = null
  /** One past the highest id ever used. */
  top = 1
  /** Tuples in the table. */
  used = 0
  /** log2 of the number of slots. */
  bits = 10
  /** Two words per slot: hash, reference (0 = empty). */
  private slots = new Int32Array(2 << 10)
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
    const rows = this.rows
    // a loop: a call of fill costs more than these few words
    for (let i = id * C_WORDS, end = i + C_WORDS; i < end; i++) rows[i] = 0
    this.timeout[id] = 0
    this.streamTs[id] = 0
    return id
  }

  /** nf_ct_acct_ext_add: the entry counts from now on. */
  countEntry(id: number): void {
    this.acct ??= new Float64Array(this.timeout.length * ACCT_WORDS)
    this.acct.fill(0, id * ACCT_WORDS, (id + 1) * ACCT_WORDS)
    this.rows[id * C_WORDS + C_ACCT] = 1
  }

  /** Gives the row back; it must not be listed anywhere. */
  free(id: number): void {
    this.rows[id * C_WORDS + C_USE] = 0
    this.rows[id * C_WORDS + C_NET] = -1
    this.freeIds[this.freeTop++] = id
  }

  /** ____nf_conntrack_find without the look at the clock. */
  find(hash: number, net: number, src: number, dst: number, ports: number, proto: number): number {
    const { slots, rows } = this
    const mask = slots.length - 1
    let i = (hash >>> (32 - this.bits)) << 1
    for (;;) {
      const ref = slots[i + 1]!
      if (ref === 0) return 0
      if (slots[i] === hash) {
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
      i = (i + 2) & mask
    }
  }

  /** hash_conntrack_raw of the tuple that an entry has in direction `dir`. */
  hashOf(id: number, dir: number): number {
    const e = id * C_WORDS
    const t = e + dir * C_TUPLE_WORDS
    const rows = this.rows
    return hashTuple(rows[e + C_NET]!, rows[t + C_SRC]!, rows[t + C_DST]!, rows[t + C_PORTS]!, rows[e + C_PROTO]!)
  }

  /**
   * __nf_conntrack_hash_insert for one direction; the tuple must not be in the table.
   * @param hash what hashOf says
   */
  insert(id: number, dir: number, hash = this.hashOf(id, dir)): void {
    if ((this.used + 1) * 2 > 1 << this.bits) this.growSlots()
    const e = id * C_WORDS
    const rows = this.rows
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
    const slots = this.slots
    const mask = slots.length - 1
    const shift = 32 - this.bits
    const ref = (id << 1) | dir
    let i = (this.rows[e + (dir === 0 ? C_HASH : C_REPLY_HASH)]! >>> shift) << 1
    while (slots[i + 1] !== ref) i = (i + 2) & mask
    // backward shift: pull up every later slot of the run whose home is not after the hole
    let j = i
    for (;;) {
      j = (j + 2) & mask
      if (slots[j + 1] === 0) break
      const home = (slots[j]! >>> shift) << 1
      if (((j - home) & mask) >= ((j - i) & mask)) {
        slots[i] = slots[j]!
        slots[i + 1] = slots[j + 1]!
        i = j
      }
    }
    slots[i + 1] = 0
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
      const at = (i & mask) << 1
      const ref = this.slots[at + 1]!
      if (ref === 0) {
        if (i >= end) break
        continue
      }
      const h = this.slots[at]! >>> 0
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
    const slots = this.slots
    const mask = slots.length - 1
    let i = (hash >>> (32 - this.bits)) << 1
    while (slots[i + 1] !== 0) i = (i + 2) & mask
    slots[i] = hash
    slots[i + 1] = ref
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
    if (this.acct !== null) {
      const acct = new Float64Array(n * ACCT_WORDS)
      acct.set(this.acct)
      this.acct = acct
    }
    const freeIds = new Int32Array(n)
    freeIds.set(this.freeIds)
    this.freeIds = freeIds
  }

  private growSlots(): void {
    const old = this.slots
    this.bits++
    this.slots = new Int32Array(2 << this.bits)
    for (let i = 0; i < old.length; i += 2) if (old[i + 1] !== 0) this.place(old[i]!, old[i + 1]!)
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
