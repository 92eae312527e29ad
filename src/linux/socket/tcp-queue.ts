/**
 * TCP's two byte queues: what waits to be sent or acknowledged, and what was received.
 *
 * Linux: sk_write_queue, tcp_rtx_queue, sk_receive_queue, out_of_order_queue (lists of sk_buff). Here bytes live in one ring
 * per direction, addressed by sequence number, and segment boundaries in rows of int32: no object per segment.
 */

/** Words of a segment row. */
const SEG_WORDS = 6
/** First sequence number. */
export const SEG_SEQ = 0
/** Sequence number after the last. */
export const SEG_END = 1
/** TCPHDR_* flags to send. */
export const SEG_FLAGS = 2
/** TCPCB_* bits. */
export const SEG_SACKED = 3
/** Time of last transmission in microseconds (modulo 2^31). */
export const SEG_TX_US = 4
/** Segments that left as one GSO packet have the same number: Linux keeps them in one sk_buff. */
export const SEG_BURST = 5

/** TCPCB_SACKED_ACKED */
export const SACKED_ACKED = 1
/** TCPCB_SACKED_RETRANS */
export const SACKED_RETRANS = 2
/** TCPCB_LOST */
export const SACKED_LOST = 4
/** TCPCB_EVER_RETRANS */
export const EVER_RETRANS = 8

/** Bytes addressed by sequence number, in a ring that grows. */
export class SeqRing {
  private buf: Uint8Array

  constructor(size = 4096) {
    this.buf = new Uint8Array(size)
  }

  /** Makes room for the bytes from `from` on to `end`; those before `used` are kept. */
  reserve(from: number, used: number, end: number): void {
    const need = (end - from) >>> 0
    let size = this.buf.length
    if (need <= size) return
    while (size < need) size *= 2
    const old = this.buf
    const next = new Uint8Array(size)
    const n = (used - from) >>> 0
    for (let i = 0; i < n; i++) next[(from + i) & (size - 1)] = old[(from + i) & (old.length - 1)]!
    this.buf = next
  }

  /** Stores `len` bytes of `src` from `off` at sequence number `seq`. */
  put(seq: number, src: Uint8Array, off: number, len: number): void {
    const mask = this.buf.length - 1
    const b = this.buf
    for (let i = 0; i < len; i++) b[(seq + i) & mask] = src[off + i]!
  }

  /** Copies `len` bytes at sequence number `seq` to `dst`. */
  get(seq: number, dst: Uint8Array, off: number, len: number): void {
    const mask = this.buf.length - 1
    const b = this.buf
    for (let i = 0; i < len; i++) dst[off + i] = b[(seq + i) & mask]!
  }
}

/** Segments in sequence order: sent ones first (`sent` of them), then the write queue. */
export class SegQueue {
  private rows = new Int32Array(16 * SEG_WORDS)
  private head = 0
  /** Rows in use. */
  count = 0
  /** Rows that were sent at least once: the retransmit queue. */
  sent = 0

  /** A field of row `i`. */
  get(i: number, field: number): number {
    return this.rows[(this.head + i) * SEG_WORDS + field]!
  }

  /** Sets a field of row `i`. */
  set(i: number, field: number, value: number): void {
    this.rows[(this.head + i) * SEG_WORDS + field] = value
  }

  /** Adds a row at the end. */
  push(seq: number, end: number, flags: number): void {
    this.makeRoom()
    const o = (this.head + this.count) * SEG_WORDS
    this.rows.fill(0, o, o + SEG_WORDS)
    this.rows[o + SEG_SEQ] = seq
    this.rows[o + SEG_END] = end
    this.rows[o + SEG_FLAGS] = flags
    this.count++
  }

  /** Takes the first row off. */
  shift(): void {
    this.head++
    this.count--
    if (this.sent > 0) this.sent--
    if (this.count === 0) this.head = 0
  }

  /** tcp_fragment: row `i` ends at `seq`, a new row after it has the rest. FIN and PSH go with the rest. */
  split(i: number, seq: number): void {
    this.makeRoom()
    const o = (this.head + i) * SEG_WORDS
    const end = (this.head + this.count) * SEG_WORDS
    this.rows.copyWithin(o + 2 * SEG_WORDS, o + SEG_WORDS, end)
    this.rows.copyWithin(o + SEG_WORDS, o, o + SEG_WORDS)
    const flags = this.rows[o + SEG_FLAGS]!
    this.rows[o + SEG_FLAGS] = flags & ~9
    this.rows[o + SEG_END] = seq
    this.rows[o + SEG_WORDS + SEG_SEQ] = seq
    this.count++
    if (i < this.sent) this.sent++
  }

  /** Takes row `i` of the retransmit queue out. */
  remove(i: number): void {
    const o = (this.head + i) * SEG_WORDS
    this.rows.copyWithin(o, o + SEG_WORDS, (this.head + this.count) * SEG_WORDS)
    this.count--
    this.sent--
  }

  /** Forgets everything. */
  clear(): void {
    this.head = 0
    this.count = 0
    this.sent = 0
  }

  private makeRoom(): void {
    if ((this.head + this.count + 1) * SEG_WORDS <= this.rows.length) return
    if (this.head > this.count) {
      this.rows.copyWithin(0, this.head * SEG_WORDS, (this.head + this.count) * SEG_WORDS)
      this.head = 0
      return
    }
    const next = new Int32Array(this.rows.length * 2)
    next.set(this.rows.subarray(this.head * SEG_WORDS, (this.head + this.count) * SEG_WORDS))
    this.rows = next
    this.head = 0
  }
}
