/**
 * Reassembly.
 *
 * Linux: net/ipv4/ip_fragment.c (ip_defrag, ip_frag_queue, ip_frag_reasm, ip_expire), net/ipv4/inet_fragment.c
 * (inet_frag_queue_insert). Rules since 2018: a fragment that overlaps another kills the whole queue, an exact duplicate
 * is dropped alone. A datagram put together keeps the sizes of its pieces, for ip_do_fragment. Memory is counted as bytes
 * of the fragments plus the cost of a socket buffer each.
 * Not modelled: VRF and per-CPU details, quick early drop of ICMP about local broadcast.
 */

import type { PacketArena } from '../../packet/arena.ts'
import {
  M_DATA,
  M_DEV,
  M_FLAGS,
  M_FRAG_MAX,
  M_ID,
  M_LEN,
  M_MAC,
  M_MARK,
  M_NEXT,
  M_NFB_IN,
  M_NFB_STATE,
  M_NH,
  M_PKTTYPE,
  M_PRIORITY,
  M_TH,
  META_SHIFT,
  PACKET_HOST,
  SKB_FRAG_PMTU,
} from '../../packet/layout.ts'
import { consumeSkb, freeSkb } from '../core/skb.ts'
import { EINPROGRESS, EINVAL, ENOMEM } from '../errno.ts'
import type { Netns } from '../netns.ts'
import { R_FRAG_BAD, R_FRAG_TIMEOUT, R_FRAG_TOO_FAR, R_NOMEM } from '../reasons.ts'
import { ipRouteInput } from '../route/input-route.ts'
import type { Rtable } from '../route/rtable.ts'
import { DST_IN_LOCAL_DELIVER } from '../route/rtn.ts'
import { Timer } from '../timers.ts'
import { T_IP_REASM } from '../trace.ts'
import type { World } from '../world.ts'
import { icmpSend } from './icmp.ts'
import { copyOptions, ipSendCheck } from './options.ts'

/** enum ip_defrag_users: who asks; queues of different users are apart. */
export const IP_DEFRAG_LOCAL_DELIVER = 0
export const IP_DEFRAG_CALL_RA_CHAIN = 1
export const IP_DEFRAG_CONNTRACK_IN = 2
export const IP_DEFRAG_CONNTRACK_OUT = 65538
export const IP_DEFRAG_CONNTRACK_BRIDGE_IN = 131074

const IP_DF = 0x4000
const IP_MF = 0x2000
const IP_OFFSET = 0x1fff
const ICMP_TIME_EXCEEDED = 11
const ICMP_EXC_FRAGTIME = 1
const IP_MAX_DATAGRAM = 65535
/** What the kernel counts per fragment beside its bytes (truesize of an sk_buff with its shared info). */
const SKB_OVERHEAD_BYTES = 768

/**
 * ip_frag_ecn_table: the ECN bits of a datagram by the OR of (1 << ecn) of its fragments: bit 0 not-ECT, 1 ECT(1),
 * 2 ECT(0), 3 CE. -1: the mix is invalid.
 */
const ECN_TABLE: readonly number[] = [0, 0, 0, -1, 0, -1, 0, -1, 3, -1, 3, -1, 3, -1, 3, -1]

/** One datagram that is being put together: struct ipq. */
class FragQueue {
  readonly key: string
  readonly ns: Netns
  readonly user: number
  /** Fragments by offset. */
  readonly pieces: { slot: number; offset: number; length: number }[] = []
  /** Stretches of fragments that came in order (rb_fragments), and the one that ends last. */
  runs: { start: number; end: number }[] = []
  tailRun: { start: number; end: number } | null = null
  /** Bytes of payload received, duplicates not counted. */
  meat = 0
  /** End of the datagram, 0 while the last fragment is missing. */
  len = 0
  lastIn = false
  complete = false
  memory = 0
  ecn = 0
  maxSize = 0
  maxDfSize = 0
  /** Device id of the last fragment. */
  iif = -1
  /** `qp->rid` and the namespace's running number per peer, for ipfrag_max_dist. */
  rid = 0
  readonly timer: Timer

  constructor(ns: Netns, key: string, user: number, onExpire: (q: FragQueue) => void) {
    this.ns = ns
    this.key = key
    this.user = user
    this.timer = new Timer(() => onExpire(this))
  }
}

/** The fragment queues of a namespace: struct fqdir; also the counter of IP IDs. */
export class FragQueues {
  readonly ns: Netns
  readonly queues = new Map<string, FragQueue>()
  /** Bytes held, against ipfrag_high_thresh. */
  memory = 0
  private ident = -1
  /** IP IDs given out. */
  idents = 0
  /** Sizes of the pieces of datagrams put together here, by slot; valid while the slot holds packet `id`. */
  private readonly geometry = new Map<number, { readonly id: number; readonly cuts: readonly number[] }>()
  private readonly peerRids = new Map<number, number>()

  constructor(ns: Netns) {
    this.ns = ns
  }

  /** The next IP ID of a sequence with a random start; never 0. */
  nextIdent(): number {
    if (this.ident < 0) this.ident = this.ns.world.random.below(65536)
    this.ident = (this.ident + 1) & 0xffff
    if (this.ident === 0) this.ident = 1
    this.idents++
    return this.ident
  }

  /** Notes how a datagram was cut. */
  setGeometry(slot: number, id: number, cuts: readonly number[]): void {
    this.geometry.set(slot, { id, cuts })
  }

  /** How the datagram in this slot was cut when it came, null when it was whole; forgets it. */
  takeGeometry(slot: number, id: number): readonly number[] | null {
    if (this.geometry.size === 0) return null
    const g = this.geometry.get(slot)
    if (g === undefined) return null
    this.geometry.delete(slot)
    return g.id === id ? g.cuts : null
  }

  /** Counts a fragment of this source; the number tells how many came since (peer->rid). */
  nextRid(saddr: number): number {
    const rid = ((this.peerRids.get(saddr) ?? 0) + 1) | 0
    this.peerRids.set(saddr, rid)
    return rid
  }
}

/**
 * ip_defrag: takes a fragment.
 * @returns 0: the slot now holds the whole datagram. EINPROGRESS: the slot was taken and kept. Another errno: it was freed
 */
export function ipDefrag(w: World, ns: Netns, slot: number, user: number): number {
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = w.arena.meta[m + M_NH]!
  ns.count('Ip.ReasmReqds')
  const q = ipFind(w, ns, nh, user, v)
  if (q === null) {
    ns.count('Ip.ReasmFails')
    freeSkb(w, slot, R_NOMEM)
    return ENOMEM
  }
  return queueFragment(w, ns, q, slot)
}

/** ip_find */
function ipFind(w: World, ns: Netns, nh: number, user: number, v: DataView): FragQueue | null {
  const key = `${v.getInt32(nh + 12)},${v.getInt32(nh + 16)},${v.getUint16(nh + 4)},${v.getUint8(nh + 9)},${user}`
  const known = ns.frags.queues.get(key)
  if (known !== undefined) return known
  const high = ns.sysctl.ipfrag_high_thresh
  if (high === 0 || ns.frags.memory > high) return null
  const q = new FragQueue(ns, key, user, (old) => ipExpire(w, old))
  ns.frags.queues.set(key, q)
  w.timers.arm(q.timer, w.nowNs + ns.sysctl.ipfrag_time * 1e9)
  return q
}

/** inet_frag_kill: the queue takes nothing more. */
function kill(w: World, q: FragQueue): void {
  w.timers.cancel(q.timer)
  q.complete = true
  q.ns.frags.queues.delete(q.key)
}

function release(w: World, q: FragQueue, reason: number): number {
  const n = q.pieces.length
  for (const p of q.pieces) freeSkb(w, p.slot, reason)
  q.pieces.length = 0
  q.runs = []
  q.tailRun = null
  q.ns.frags.memory -= q.memory
  q.memory = 0
  return n
}

/** ip_frag_too_far with ip_frag_reinit: too many fragments of the same sender came since; the queue starts anew. */
function tooFar(w: World, q: FragQueue, saddr: number): boolean {
  const max = q.ns.sysctl.ipfrag_max_dist
  if (max === 0) return false
  const start = q.rid
  q.rid = q.ns.frags.nextRid(saddr)
  if (q.pieces.length === 0 || q.rid - start <= max) return false
  q.ns.count('Ip.ReasmFails')
  w.timers.arm(q.timer, w.nowNs + q.ns.sysctl.ipfrag_time * 1e9)
  release(w, q, R_FRAG_TOO_FAR)
  q.lastIn = false
  q.len = 0
  q.meat = 0
  q.ecn = 0
  q.maxSize = 0
  q.maxDfSize = 0
  return true
}

/** ip_frag_queue */
function queueFragment(w: World, ns: Netns, q: FragQueue, slot: number): number {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = meta[m + M_NH]!
  const ihl = (v.getUint8(nh) & 15) << 2
  tooFar(w, q, v.getInt32(nh + 12))
  const fragOff = v.getUint16(nh + 6)
  const offset = (fragOff & IP_OFFSET) << 3
  const more = (fragOff & IP_MF) !== 0
  const size = meta[m + M_LEN]! - (nh - meta[m + M_DATA]!)
  let end = offset + size - ihl
  if (!more) {
    if (end < q.len || (q.lastIn && end !== q.len)) return discard(w, ns, q, slot)
    q.lastIn = true
    q.len = end
  } else {
    if ((end & 7) !== 0) end &= ~7
    if (end > q.len) {
      if (q.lastIn) return discard(w, ns, q, slot)
      q.len = end
    }
  }
  if (end === offset) return discard(w, ns, q, slot)
  const fits = insertRun(q, offset, end)
  if (fits === FRAG_DUP) return duplicate(w, slot)
  if (fits === FRAG_OVERLAP) {
    kill(w, q)
    ns.count('Ip.ReasmFails')
    ns.count('IpExt.ReasmOverlaps')
    release(w, q, R_FRAG_BAD)
    freeSkb(w, slot, R_FRAG_BAD)
    return EINVAL
  }
  let at = q.pieces.length
  while (at > 0 && q.pieces[at - 1]!.offset >= offset) at--
  q.pieces.splice(at, 0, { slot, offset, length: end - offset })
  meta[m + M_NEXT] = -1
  q.iif = meta[m + M_DEV]!
  q.meat += end - offset
  q.ecn |= 1 << (v.getUint8(nh + 1) & 3)
  const cost = size + SKB_OVERHEAD_BYTES
  q.memory += cost
  ns.frags.memory += cost
  const fragSize = end - offset + ihl
  if (fragSize > q.maxSize) q.maxSize = fragSize
  if ((fragOff & IP_DF) !== 0 && fragSize > q.maxDfSize) q.maxDfSize = fragSize
  if (q.pieces[0]!.offset === 0 && q.lastIn && q.meat === q.len) return reassemble(w, ns, q, slot)
  w.arena.dst[slot] = null
  return EINPROGRESS
}

const FRAG_OK = 0
const FRAG_DUP = 1
const FRAG_OVERLAP = 2

/**
 * inet_frag_queue_insert: fragments that come in order make one run; what lies inside a run is a duplicate, what only
 * touches one overlaps. One that fills a hole is a run of its own, also where it joins two.
 */
function insertRun(q: FragQueue, offset: number, end: number): number {
  const tail = q.tailRun
  if (tail === null || tail.end < end) {
    if (tail !== null && offset < tail.end) return FRAG_OVERLAP
    if (tail !== null && offset === tail.end) tail.end = end
    else {
      q.tailRun = { start: offset, end }
      q.runs.push(q.tailRun)
    }
    return FRAG_OK
  }
  for (const r of q.runs) {
    if (end <= r.start || offset >= r.end) continue
    return offset >= r.start && end <= r.end ? FRAG_DUP : FRAG_OVERLAP
  }
  q.runs.push({ start: offset, end })
  return FRAG_OK
}

function duplicate(w: World, slot: number): number {
  freeSkb(w, slot, R_FRAG_BAD)
  return EINVAL
}

function discard(w: World, ns: Netns, q: FragQueue, slot: number): number {
  kill(w, q)
  ns.count('Ip.ReasmFails')
  release(w, q, R_FRAG_BAD)
  freeSkb(w, slot, R_FRAG_BAD)
  return EINVAL
}

/** ip_frag_reasm: the last fragment's slot becomes the datagram (its metadata counts, as in Linux). */
function reassemble(w: World, ns: Netns, q: FragQueue, slot: number): number {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const v = a.view
  kill(w, q)
  const ecn = ECN_TABLE[q.ecn]!
  const head = q.pieces[0]!
  const hm = head.slot << META_SHIFT
  const hnh = meta[hm + M_NH]!
  const ihl = (v.getUint8(hnh) & 15) << 2
  const total = ihl + q.len
  if (ecn < 0 || total > IP_MAX_DATAGRAM) {
    ns.count('Ip.ReasmFails')
    release(w, q, R_FRAG_BAD)
    return EINVAL
  }
  const link = meta[hm + M_MAC]! >= 0 && meta[hm + M_MAC]! < hnh ? hnh - meta[hm + M_MAC]! : 0
  // The header is kept aside: the last fragment's slot gets the datagram's memory, and may be the head itself.
  const header = a.bytes.slice(hnh - link, hnh + ihl)
  if (!a.resize(slot, total + meta[m + M_NH]! - meta[m + M_DATA]!)) {
    ns.count('Ip.ReasmFails')
    release(w, q, R_NOMEM)
    return ENOMEM
  }
  const nh = meta[m + M_NH]!
  const cuts: number[] = []
  // Its own bytes first: they stand where the header and the first piece will go.
  for (const p of q.pieces) {
    cuts.push(p.length)
    if (p.slot === slot) copyPiece(a, nh + ihl, p)
  }
  for (const p of q.pieces) if (p.slot !== slot) copyPiece(a, nh + ihl, p)
  a.bytes.set(header, nh - link)
  if (head.slot !== slot) {
    // skb_morph: the first fragment's metadata counts
    meta[m + M_MARK] = meta[hm + M_MARK]!
    meta[m + M_PKTTYPE] = meta[hm + M_PKTTYPE]!
    meta[m + M_PRIORITY] = meta[hm + M_PRIORITY]!
    meta[m + M_NFB_STATE] = meta[hm + M_NFB_STATE]!
    meta[m + M_NFB_IN] = meta[hm + M_NFB_IN]!
    copyOptions(w, head.slot, slot)
  }
  for (const p of q.pieces) if (p.slot !== slot) consumeSkb(w, p.slot)
  q.pieces.length = 0
  ns.frags.memory -= q.memory
  meta[m + M_LEN] = total + nh - meta[m + M_DATA]!
  meta[m + M_TH] = nh + ihl
  meta[m + M_MAC] = link > 0 ? nh - link : -1
  v.setUint16(nh + 2, total)
  v.setUint8(nh + 1, v.getUint8(nh + 1) | ecn)
  meta[m + M_FRAG_MAX] = Math.max(q.maxDfSize, q.maxSize)
  if (q.maxDfSize === q.maxSize) {
    meta[m + M_FLAGS] = meta[m + M_FLAGS]! | SKB_FRAG_PMTU
    v.setUint16(nh + 6, IP_DF)
  } else v.setUint16(nh + 6, 0)
  ipSendCheck(v, nh)
  ns.count('Ip.ReasmOKs')
  // Queues of local delivery are coalesced into one buffer; the others keep the pieces' sizes.
  if (q.user !== IP_DEFRAG_LOCAL_DELIVER && cuts.length > 1) ns.frags.setGeometry(slot, meta[m + M_ID]!, cuts)
  if (w.tracer !== null) {
    w.tracer.step(T_IP_REASM, slot, ns, w.devices[meta[m + M_DEV]!] ?? null, total, q.maxSize, 0, null)
  }
  return 0
}

function copyPiece(a: PacketArena, to: number, p: { slot: number; offset: number; length: number }): void {
  const nh = a.meta[(p.slot << META_SHIFT) + M_NH]!
  const payload = nh + ((a.view.getUint8(nh) & 15) << 2)
  a.bytes.copyWithin(to + p.offset, payload, payload + p.length)
}

/** ip_expire: gives up; the sender hears of it when the first fragment is here and the datagram was for this host. */
function ipExpire(w: World, q: FragQueue): void {
  if (q.complete) return
  const ns = q.ns
  kill(w, q)
  ns.count('Ip.ReasmFails')
  ns.count('Ip.ReasmTimeout')
  const head = q.pieces[0]
  if (head !== undefined && head.offset === 0) {
    const m = head.slot << META_SHIFT
    const meta = w.arena.meta
    const v = w.arena.view
    const nh = meta[m + M_NH]!
    const dev = w.devices[q.iif]
    if (dev != null) {
      meta[m + M_DEV] = dev.id
      const err = ipRouteInput(w, ns, head.slot, v.getInt32(nh + 16), v.getInt32(nh + 12), v.getUint8(nh + 1), dev)
      const rt = w.arena.dst[head.slot] as Rtable | null
      // Only a host that is the end of the way answers (ip_expire: conntrack users stay silent otherwise).
      const local = rt !== null && rt.input === DST_IN_LOCAL_DELIVER && rt.isLocal
      if (err === 0 && (q.user === IP_DEFRAG_LOCAL_DELIVER || local) && meta[m + M_PKTTYPE] === PACKET_HOST) {
        icmpSend(w, head.slot, ICMP_TIME_EXCEEDED, ICMP_EXC_FRAGTIME, 0)
      }
    }
  }
  release(w, q, R_FRAG_TIMEOUT)
}
