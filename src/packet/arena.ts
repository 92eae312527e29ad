/**
 * The packet arena: every packet's bytes and metadata live in memory that is allocated once.
 *
 * Linux: alloc_skb, kfree_skb, skb_push, skb_pull, skb_clone + skb_copy (a clone here always copies: a shared buffer's
 * side effects are not modelled). A slot is an integer. Two sizes of memory: SMALL_BYTES for frames up to the usual MTU,
 * LARGE_BYTES for reassembled datagrams and jumbo frames. A full arena gives -1, the caller drops with reason NOMEM.
 *
 * The Ethernet frame starts at an offset of 2 modulo 4 (NET_IP_ALIGN), so IP headers are word aligned.
 * `dst` holds the routing decision (struct dst_entry) by reference, in an array of its own.
 */
import {
  ETH_HLEN,
  ETH_P_8021AD,
  ETH_P_8021Q,
  M_BASE,
  M_CAP,
  M_CT,
  M_CTINFO,
  M_DATA,
  M_DEV,
  M_FLAGS,
  M_FRAG_MAX,
  M_HASH,
  M_ID,
  M_IIF,
  M_LEN,
  M_MAC,
  M_MARK,
  M_NEXT,
  M_NFB_DADDR,
  M_NFB_IN,
  M_NFB_OUT,
  M_NFB_SMAC_HI,
  M_NFB_SMAC_LO,
  M_NFB_STATE,
  M_NH,
  M_OPTLEN,
  M_PARENT,
  M_PKTTYPE,
  M_PRIORITY,
  M_PROTO,
  M_REALDEV,
  M_SK,
  M_TH,
  M_TRUESIZE,
  M_TSTAMP_US,
  META_SHIFT,
  META_WORDS,
  VLAN_HLEN,
  VLAN_TAG_8021AD,
  VLAN_TAG_PRESENT,
} from './layout.ts'

/** Bytes of a small slot's memory. */
export const SMALL_BYTES = 2048
/** Bytes of a large slot's memory: a 65,535-byte datagram with its headers. */
export const LARGE_BYTES = 66 * 1024
/** Free bytes in front of a new frame: room for two tunnels' headers. */
export const HEADROOM_BYTES = 130

/** What the arena keeps by reference per slot: set by routing (`Rtable`), opaque here. */
export type DstRef = object | null

/** All packet memory of one world. */
export class PacketArena {
  /** Raw memory of all slots. */
  readonly bytes: Uint8Array
  /** The same memory, for big-endian header access. */
  readonly view: DataView
  /** Metadata rows, META_WORDS int32 per slot. */
  readonly meta: Int32Array
  /** `skb->_skb_refdst` per slot. */
  readonly dst: DstRef[]
  /** `skb->vlan_tci`, `vlan_proto` per slot: VLAN_TAG_PRESENT and its neighbours in layout.ts, 0 without a tag. */
  readonly vlan: Int32Array
  /** Slots in use. */
  inUse = 0
  private readonly slots: number
  private readonly freeSlots: Int32Array
  private freeTop: number
  private readonly smallFree: Int32Array
  private smallTop: number
  private readonly largeFree: Int32Array
  private largeTop: number
  private nextId = 1

  /**
   * @param small number of SMALL_BYTES buffers
   * @param large number of LARGE_BYTES buffers
   */
  constructor(small = 2048, large = 48) {
    this.slots = small + large
    const total = small * SMALL_BYTES + large * LARGE_BYTES
    const buffer = new ArrayBuffer(total)
    this.bytes = new Uint8Array(buffer)
    this.view = new DataView(buffer)
    this.meta = new Int32Array(this.slots * META_WORDS)
    this.dst = new Array<DstRef>(this.slots).fill(null)
    this.vlan = new Int32Array(this.slots)
    this.freeSlots = new Int32Array(this.slots)
    for (let i = 0; i < this.slots; i++) this.freeSlots[i] = this.slots - 1 - i
    this.freeTop = this.slots
    this.smallFree = new Int32Array(small)
    for (let i = 0; i < small; i++) this.smallFree[i] = (small - 1 - i) * SMALL_BYTES
    this.smallTop = small
    this.largeFree = new Int32Array(large)
    for (let i = 0; i < large; i++) this.largeFree[i] = small * SMALL_BYTES + (large - 1 - i) * LARGE_BYTES
    this.largeTop = large
  }

  /**
   * Takes a slot for `len` bytes with `headroom` bytes in front. Metadata is cleared, bytes are NOT.
   * @returns the slot, or -1 when the arena is full or `len` too large
   */
  alloc(len: number, headroom = HEADROOM_BYTES): number {
    const need = len + headroom
    let base: number
    let cap: number
    if (this.freeTop === 0) return -1
    if (need <= SMALL_BYTES && this.smallTop > 0) {
      base = this.smallFree[--this.smallTop]!
      cap = SMALL_BYTES
    } else if (need <= LARGE_BYTES && this.largeTop > 0) {
      base = this.largeFree[--this.largeTop]!
      cap = LARGE_BYTES
    } else return -1
    const slot = this.freeSlots[--this.freeTop]!
    this.inUse++
    const m = slot << META_SHIFT
    const meta = this.meta
    const data = base + headroom
    // every column by hand: a call of fill costs more than all of them
    meta[m + M_BASE] = base
    meta[m + M_CAP] = cap
    meta[m + M_DATA] = data
    meta[m + M_LEN] = len
    meta[m + M_MAC] = -1
    meta[m + M_NH] = data
    meta[m + M_TH] = data
    meta[m + M_PROTO] = 0
    meta[m + M_DEV] = -1
    meta[m + M_IIF] = -1
    meta[m + M_MARK] = 0
    meta[m + M_CT] = 0
    meta[m + M_CTINFO] = 0
    meta[m + M_PKTTYPE] = 0
    meta[m + M_FLAGS] = 0
    meta[m + M_FRAG_MAX] = 0
    meta[m + M_NFB_IN] = -1
    meta[m + M_NFB_OUT] = -1
    meta[m + M_NFB_STATE] = 0
    meta[m + M_NFB_DADDR] = 0
    meta[m + M_ID] = this.nextId++
    meta[m + M_PARENT] = 0
    meta[m + M_SK] = 0
    meta[m + M_NEXT] = -1
    meta[m + M_HASH] = 0
    meta[m + M_OPTLEN] = 0
    meta[m + M_REALDEV] = -1
    meta[m + M_NFB_SMAC_HI] = 0
    meta[m + M_NFB_SMAC_LO] = 0
    meta[m + M_PRIORITY] = 0
    meta[m + M_TSTAMP_US] = 0
    meta[m + M_TRUESIZE] = 0
    this.vlan[slot] = 0
    return slot
  }

  /** Gives the slot back (kfree_skb without a reason: use `freeSkb` of linux/core/dev.ts so that traces see it). */
  free(slot: number): void {
    const m = slot << META_SHIFT
    const base = this.meta[m + M_BASE]!
    const cap = this.meta[m + M_CAP]!
    if (cap === 0) throw new Error(`packet slot ${slot} freed twice`)
    if (cap === SMALL_BYTES) this.smallFree[this.smallTop++] = base
    else this.largeFree[this.largeTop++] = base
    this.meta[m + M_CAP] = 0
    this.dst[slot] = null
    this.freeSlots[this.freeTop++] = slot
    this.inUse--
  }

  /** skb_copy: a new slot with the same bytes, metadata and route, its own id, M_PARENT set. -1 when full. */
  clone(slot: number): number {
    const m = slot << META_SHIFT
    const meta = this.meta
    const head = meta[m + M_DATA]! - meta[m + M_BASE]!
    const n = this.alloc(meta[m + M_LEN]!, head)
    if (n < 0) return -1
    const d = n << META_SHIFT
    const base = meta[d + M_BASE]!
    const cap = meta[d + M_CAP]!
    const id = meta[d + M_ID]!
    const shift = base - meta[m + M_BASE]!
    for (let i = 0; i < META_WORDS; i++) meta[d + i] = meta[m + i]!
    meta[d + M_BASE] = base
    meta[d + M_CAP] = cap
    meta[d + M_ID] = id
    meta[d + M_PARENT] = meta[m + M_ID]!
    meta[d + M_DATA] = meta[m + M_DATA]! + shift
    meta[d + M_NH] = meta[m + M_NH]! + shift
    meta[d + M_TH] = meta[m + M_TH]! + shift
    meta[d + M_NEXT] = -1
    let from = meta[m + M_DATA]!
    const mac = meta[m + M_MAC]!
    if (mac >= 0) {
      meta[d + M_MAC] = mac + shift
      if (mac < from) from = mac
    }
    const end = meta[m + M_DATA]! + meta[m + M_LEN]!
    this.bytes.copyWithin(from + shift, from, end)
    this.dst[n] = this.dst[slot]!
    this.vlan[n] = this.vlan[slot]!
    return n
  }

  /**
   * pskb_expand_head: gives the slot memory for `len` bytes after `headroom`; the bytes in front of M_DATA from the link
   * header on, and those from M_DATA, are moved, positions kept relative to it. The slot keeps its number and id.
   * @returns false when no memory is left
   */
  resize(slot: number, len: number, headroom = HEADROOM_BYTES): boolean {
    const m = slot << META_SHIFT
    const meta = this.meta
    const from = meta[m + M_MAC]! >= 0 ? Math.min(meta[m + M_MAC]!, meta[m + M_DATA]!) : meta[m + M_DATA]!
    const n = this.alloc(len, Math.max(headroom, meta[m + M_DATA]! - from))
    if (n < 0) return false
    const d = n << META_SHIFT
    const oldBase = meta[m + M_BASE]!
    const oldCap = meta[m + M_CAP]!
    const shift = meta[d + M_DATA]! - meta[m + M_DATA]!
    const keep = Math.min(meta[m + M_LEN]!, len)
    this.bytes.copyWithin(from + shift, from, meta[m + M_DATA]! + keep)
    meta[m + M_BASE] = meta[d + M_BASE]!
    meta[m + M_CAP] = meta[d + M_CAP]!
    meta[d + M_BASE] = oldBase
    meta[d + M_CAP] = oldCap
    meta[m + M_DATA] = meta[m + M_DATA]! + shift
    meta[m + M_NH] = meta[m + M_NH]! + shift
    meta[m + M_TH] = meta[m + M_TH]! + shift
    if (meta[m + M_MAC]! >= 0) meta[m + M_MAC] = meta[m + M_MAC]! + shift
    this.free(n)
    return true
  }

  /** skb_push: moves M_DATA back by `n` bytes. The caller has left headroom (see `headroom`). */
  push(slot: number, n: number): number {
    const m = slot << META_SHIFT
    const data = this.meta[m + M_DATA]! - n
    this.meta[m + M_DATA] = data
    this.meta[m + M_LEN] = this.meta[m + M_LEN]! + n
    return data
  }

  /** skb_pull: moves M_DATA forward by `n` bytes. */
  pull(slot: number, n: number): number {
    const m = slot << META_SHIFT
    const data = this.meta[m + M_DATA]! + n
    this.meta[m + M_DATA] = data
    this.meta[m + M_LEN] = this.meta[m + M_LEN]! - n
    return data
  }

  /** pskb_trim: shortens the packet to `len` bytes from M_DATA. */
  trim(slot: number, len: number): void {
    const m = slot << META_SHIFT
    if (len < this.meta[m + M_LEN]!) this.meta[m + M_LEN] = len
  }

  /** skb_headroom in bytes. */
  headroom(slot: number): number {
    const m = slot << META_SHIFT
    return this.meta[m + M_DATA]! - this.meta[m + M_BASE]!
  }

  /** A new slot that holds `frame` as a received or injected Ethernet frame: M_DATA = M_MAC = start. -1 when full. */
  fromFrame(frame: Uint8Array): number {
    const slot = this.alloc(frame.length)
    if (slot < 0) return -1
    const m = slot << META_SHIFT
    const data = this.meta[m + M_DATA]!
    this.bytes.set(frame, data)
    this.meta[m + M_MAC] = data
    this.meta[m + M_NH] = data + ETH_HLEN
    this.meta[m + M_TH] = data + ETH_HLEN
    return slot
  }

  /**
   * A copy of the bytes from the MAC header (or M_DATA when there is none in front) to the end; a VLAN tag that stands
   * beside the frame is put back where it was on the wire, as packet sockets' readers do.
   */
  frameBytes(slot: number): Uint8Array {
    const m = slot << META_SHIFT
    const data = this.meta[m + M_DATA]!
    const mac = this.meta[m + M_MAC]!
    const start = mac >= 0 && mac < data ? mac : data
    const end = data + this.meta[m + M_LEN]!
    const tag = this.vlan[slot]!
    if ((tag & VLAN_TAG_PRESENT) === 0) return this.bytes.slice(start, end)
    const out = new Uint8Array(end - start + VLAN_HLEN)
    out.set(this.bytes.subarray(start, start + 12))
    const proto = (tag & VLAN_TAG_8021AD) !== 0 ? ETH_P_8021AD : ETH_P_8021Q
    out[12] = proto >> 8
    out[13] = proto & 255
    out[14] = (tag >> 8) & 255
    out[15] = tag & 255
    out.set(this.bytes.subarray(start + 12, end), 16)
    return out
  }
}
