/**
 * IPv6 reassembly, for this host and for conntrack.
 *
 * Linux: net/ipv6/reassembly.c (ipv6_frag_rcv, ip6_frag_queue, ip6_frag_reasm), include/net/ipv6_frag.h
 * (ip6frag_expire_frag_queue, ipv6frag_thdr_truncated), net/ipv6/netfilter/nf_conntrack_reasm.c (nf_ct_frag6_gather),
 * net/ipv4/inet_fragment.c (inet_frag_queue_insert). Overlapping fragments end their datagram (RFC 5722), an exact
 * duplicate is dropped alone. Memory is counted as for IPv4. Not modelled: VRF, quick eviction of idle queues.
 */
import type { PacketArena } from '../../packet/arena.ts'
import {
  M_DATA,
  M_DEV,
  M_FLAGS,
  M_FRAG_MAX,
  M_ID,
  M_LEN,
  M_NH,
  M_OPTLEN,
  M_TH,
  META_SHIFT,
  SKB_CSUM_OK,
  SKB_IGNORE_DF,
} from '../../packet/layout.ts'
import { consumeSkb, freeSkb } from '../core/skb.ts'
import { EINPROGRESS, EINVAL, ENOMEM } from '../errno.ts'
import type { Netns } from '../netns.ts'
import { R_FRAG_BAD, R_FRAG_TIMEOUT, R_NOMEM } from '../reasons.ts'
import { Timer } from '../timers.ts'
import { T_IP_REASM } from '../trace.ts'
import type { World } from '../world.ts'
import { SKB6_FRAGMENTED } from './exthdrs.ts'
import {
  exthdr,
  IPPROTO_ICMPV6,
  ipv6ExtHdr,
  ipv6SkipExthdr,
  NEXTHDR_AUTH,
  NEXTHDR_FRAGMENT,
  NEXTHDR_TCP,
  NEXTHDR_UDP,
} from './exthdrs-core.ts'
import { icmpv6ParamProb, icmpv6Send } from './icmp.ts'
import { needsScopeId } from './saddr.ts'

/** enum ip6_defrag_users: queues of different users are apart. */
export const IP6_DEFRAG_LOCAL_DELIVER = 0
export const IP6_DEFRAG_CONNTRACK_IN = 1
export const IP6_DEFRAG_CONNTRACK_OUT = 65537
export const IP6_DEFRAG_CONNTRACK_BRIDGE_IN = 131073

const IPV6_MAXPLEN = 65535
const ICMPV6_TIME_EXCEED = 3
const ICMPV6_EXC_FRAGTIME = 1
const ICMPV6_HDR_FIELD = 0
const ICMPV6_HDR_INCOMP = 3
const FRAG_BYTES = 8
const EPROTO = -71
/** What the kernel counts per fragment beside its bytes. */
const SKB_OVERHEAD_BYTES = 768
/** ip_frag_ecn_table by the OR of (1 << ecn): -1 is an invalid mix. */
const ECN_TABLE: readonly number[] = [0, 0, 0, -1, 0, -1, 0, -1, 3, -1, 3, -1, 3, -1, 3, -1]

/** One datagram that is being put together: struct frag_queue. */
class FragQueue6 {
  readonly key: string
  readonly ns: Netns
  readonly user: number
  /** Fragments by offset; `payload` is the absolute position of their data. */
  readonly pieces: { slot: number; offset: number; length: number; payload: number }[] = []
  meat = 0
  len = 0
  lastIn = false
  firstIn = false
  memory = 0
  ecn = 0
  maxSize = 0
  /** `nhoffset`: where the first fragment names its fragment header. */
  nhoff = 6
  iif = -1
  readonly timer: Timer

  constructor(ns: Netns, key: string, user: number, onExpire: (q: FragQueue6) => void) {
    this.ns = ns
    this.key = key
    this.user = user
    this.timer = new Timer(() => onExpire(this))
  }
}

/** The fragment queues of a namespace. */
export class FragQueues6 {
  readonly ns: Netns
  readonly queues = new Map<string, FragQueue6>()
  /** Bytes held, against ip6frag_high_thresh. */
  memory = 0

  constructor(ns: Netns) {
    this.ns = ns
  }
}

/** ipv6frag_thdr_truncated: a first fragment that does not hold all headers up to the transport's. */
function headersCut(w: World, _slot: number, start: number, end: number, nexthdr: number): boolean {
  const v = w.arena.view
  const at = ipv6SkipExthdr(v, start, end, nexthdr)
  if (at < 0 || (exthdr.fragOff & ~7) !== 0) return false
  if (exthdr.nexthdr === NEXTHDR_TCP) return at + 20 > end
  if (exthdr.nexthdr === NEXTHDR_UDP) return at + 8 > end
  if (exthdr.nexthdr === IPPROTO_ICMPV6) return at + 8 > end
  return at + 1 > end
}

/** ipv6_frag_rcv: M_TH at the fragment header. @returns 1 go on with the datagram, 0 or -1 the packet is gone */
export function ipv6FragRcv(w: World, ns: Netns, slot: number): number {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = meta[m + M_NH]!
  const th = meta[m + M_TH]!
  const end = meta[m + M_DATA]! + meta[m + M_LEN]!
  if ((meta[m + M_FLAGS]! & SKB6_FRAGMENTED) !== 0 || v.getUint16(nh + 4) === 0 || th + FRAG_BYTES > end) {
    ns.count('Ip6.InHdrErrors')
    icmpv6ParamProb(w, slot, ICMPV6_HDR_FIELD, th - nh, R_FRAG_BAD)
    return -1
  }
  if ((v.getUint16(th + 2) & 0xfff9) === 0) {
    // an atomic fragment
    meta[m + M_TH] = th + FRAG_BYTES
    meta[m + M_OPTLEN] = th - nh
    meta[m + M_FLAGS] = meta[m + M_FLAGS]! | SKB6_FRAGMENTED
    meta[m + M_FRAG_MAX] = v.getUint16(nh + 4) + 40
    return 1
  }
  if (headersCut(w, slot, nh + 40, end, v.getUint8(nh + 6))) {
    ns.count('Ip6.InHdrErrors')
    icmpv6ParamProb(w, slot, ICMPV6_HDR_INCOMP, 0, R_FRAG_BAD)
    return -1
  }
  const q = findQueue(w, ns, slot, th, IP6_DEFRAG_LOCAL_DELIVER)
  if (q === null) {
    ns.count('Ip6.ReasmFails')
    freeSkb(w, slot, R_NOMEM)
    return -1
  }
  const err = queue(w, ns, q, slot, th, meta[m + M_OPTLEN]!)
  if (err === 0) return 1
  if (err === EPROTO) {
    ns.count('Ip6.InHdrErrors')
    icmpv6ParamProb(w, slot, ICMPV6_HDR_FIELD, problem, R_FRAG_BAD)
  } else if (err !== EINPROGRESS) freeSkb(w, slot, R_FRAG_BAD)
  return -1
}

/**
 * nf_ct_frag6_gather: M_DATA at the IPv6 header.
 * @returns 0: the packet goes on (put together, or no fragment at all); -EINPROGRESS: it waits, the slot is taken; another
 *   errno: it is bad, the slot stays the caller's
 */
export function nfCtFrag6Gather(w: World, ns: Netns, slot: number, user: number): number {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = meta[m + M_NH]!
  const end = meta[m + M_DATA]! + meta[m + M_LEN]!
  if (v.getUint16(nh + 4) === 0) return 0
  if (!findPrevFhdr(w, nh, end)) return 0
  const at = found.fhdr
  const nhoff = found.prev
  if (headersCut(w, slot, at, end, NEXTHDR_FRAGMENT)) return 0
  if (at + FRAG_BYTES > end) return ENOMEM
  const q = findQueue(w, ns, slot, at, user)
  if (q === null) return ENOMEM
  const err = queue(w, ns, q, slot, at, nhoff)
  if (err === EPROTO) return 0
  return err
}

const found = { fhdr: 0, prev: 6 }

/** find_prev_fhdr: the last fragment header of the chain. */
function findPrevFhdr(w: World, nh: number, end: number): boolean {
  const v = w.arena.view
  let nexthdr = v.getUint8(nh + 6)
  let prev = 6
  let start = nh + 40
  while (nexthdr !== NEXTHDR_FRAGMENT) {
    if (!ipv6ExtHdr(nexthdr) || nexthdr === 59 || start + 2 > end) return false
    const len = nexthdr === NEXTHDR_AUTH ? (v.getUint8(start + 1) + 2) << 2 : (v.getUint8(start + 1) + 1) << 3
    prev = start - nh
    nexthdr = v.getUint8(start)
    start += len
  }
  found.prev = prev
  found.fhdr = start
  return start < end
}

/** fq_find */
function findQueue(w: World, ns: Netns, slot: number, fhdr: number, user: number): FragQueue6 | null {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = meta[m + M_NH]!
  const saddr = w.in6.read(v, nh + 8)
  const daddr = w.in6.read(v, nh + 24)
  const iif = needsScopeId(w.in6, daddr) || w.in6.isMulticast(daddr) ? meta[m + M_DEV]! : -1
  const key = `${user} ${v.getUint32(fhdr + 4)} ${saddr} ${daddr} ${iif}`
  const table = ns.frags6
  let q = table.queues.get(key)
  if (q !== undefined) return q
  if (ns.sysctl.ipv6.ip6frag_high_thresh === 0 || table.memory > ns.sysctl.ipv6.ip6frag_high_thresh) return null
  q = new FragQueue6(ns, key, user, (dead) => expire(w, dead))
  table.queues.set(key, q)
  w.timers.arm(q.timer, w.nowNs + ns.sysctl.ipv6.ip6frag_time * 1e9)
  return q
}

/** Where icmpv6_param_prob points for -EPROTO. */
let problem = 0

/**
 * ip6_frag_queue: takes the slot unless it refuses it.
 * @returns 0: `slot` is the whole datagram; -EINPROGRESS: it waits or was dropped, the slot is taken; -EPROTO: the sender
 *   is to be told (`problem`); another errno: bad, the slot stays the caller's
 */
function queue(w: World, ns: Netns, q: FragQueue6, slot: number, fhdr: number, nhoff: number): number {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = meta[m + M_NH]!
  const word = v.getUint16(fhdr + 2)
  const offset = word & 0xfff8
  const more = (word & 1) !== 0
  const end = offset + v.getUint16(nh + 4) - (fhdr + FRAG_BYTES - nh - 40)
  if (end > IPV6_MAXPLEN) {
    problem = fhdr + 2 - nh
    return EPROTO
  }
  if (!more) {
    if (end < q.len || (q.lastIn && end !== q.len)) return discard(w, ns, q)
    q.lastIn = true
    q.len = end
  } else {
    if ((end & 7) !== 0) {
      problem = 4
      return EPROTO
    }
    if (end > q.len) {
      if (q.lastIn) return discard(w, ns, q)
      q.len = end
    }
  }
  if (end === offset) return discard(w, ns, q)
  const payload = fhdr + FRAG_BYTES
  const length = end - offset
  const at = place(q, offset, end)
  if (at === DUPLICATE) {
    freeSkb(w, slot, R_FRAG_BAD)
    return EINPROGRESS
  }
  if (at < 0) return discard(w, ns, q)
  q.pieces.splice(at, 0, { slot, offset, length, payload })
  q.iif = meta[m + M_DEV]!
  q.meat += length
  q.ecn |= 1 << ((v.getUint16(nh) >> 4) & 3)
  const cost = meta[m + M_LEN]! + SKB_OVERHEAD_BYTES
  q.memory += cost
  ns.frags6.memory += cost
  const size = payload + length - nh
  if (size > q.maxSize) q.maxSize = size
  if (offset === 0) {
    q.nhoff = nhoff
    q.firstIn = true
  }
  if (!q.firstIn || !q.lastIn || q.meat !== q.len) {
    w.arena.dst[slot] = null
    return EINPROGRESS
  }
  return reassemble(w, ns, q, slot)
}

const DUPLICATE = -2

/** inet_frag_queue_insert: where the piece goes; DUPLICATE when an equal stretch is there, -1 when it overlaps. */
function place(q: FragQueue6, offset: number, end: number): number {
  for (let i = 0; i < q.pieces.length; i++) {
    const p = q.pieces[i]!
    const pEnd = p.offset + p.length
    if (end <= p.offset) return i
    if (offset >= pEnd) continue
    return offset >= p.offset && end <= pEnd ? DUPLICATE : -1
  }
  return q.pieces.length
}

/** discard_fq: the whole datagram goes. @returns -EINVAL: the slot stays the caller's */
function discard(w: World, ns: Netns, q: FragQueue6): number {
  ns.count('Ip6.ReasmFails')
  kill(w, q)
  for (const p of q.pieces) freeSkb(w, p.slot, R_FRAG_BAD)
  q.pieces.length = 0
  return EINVAL
}

function kill(w: World, q: FragQueue6): void {
  w.timers.cancel(q.timer)
  q.ns.frags6.queues.delete(q.key)
  q.ns.frags6.memory -= q.memory
  q.memory = 0
}

/** ip6_frag_reasm: the datagram takes over the slot of the fragment that completed it. */
function reassemble(w: World, ns: Netns, q: FragQueue6, slot: number): number {
  const a: PacketArena = w.arena
  const meta = a.meta
  const v = a.view
  const m = slot << META_SHIFT
  const head = q.pieces[0]!
  const h = head.slot << META_SHIFT
  const nh = meta[h + M_NH]!
  // headers in front of the fragment header
  const hlen = head.payload - FRAG_BYTES - nh
  const ecn = ECN_TABLE[q.ecn]!
  const total = hlen + q.len
  if (ecn < 0 || total - 40 > IPV6_MAXPLEN) {
    q.pieces.splice(
      q.pieces.findIndex((p) => p.slot === slot),
      1,
    )
    return discard(w, ns, q)
  }
  const whole = a.alloc(total)
  if (whole < 0) {
    q.pieces.splice(
      q.pieces.findIndex((p) => p.slot === slot),
      1,
    )
    return discard(w, ns, q)
  }
  const n = whole << META_SHIFT
  const to = meta[n + M_DATA]!
  a.bytes.copyWithin(to, nh, nh + hlen)
  const cuts: number[] = []
  for (const p of q.pieces) {
    a.bytes.copyWithin(to + hlen + p.offset, p.payload, p.payload + p.length)
    cuts.push(p.length)
  }
  v.setUint8(to + q.nhoff, v.getUint8(head.payload - FRAG_BYTES))
  v.setUint16(to + 4, total - 40)
  if (ecn !== 0) v.setUint8(to + 1, (v.getUint8(to + 1) & 0xcf) | (ecn << 4))
  kill(w, q)
  for (const p of q.pieces) if (p.slot !== slot) consumeSkb(w, p.slot)
  q.pieces.length = 0
  takeOver(w, slot, whole, to, total)
  const local = q.user === IP6_DEFRAG_LOCAL_DELIVER
  const from = meta[m + M_DATA]!
  meta[m + M_NH] = from
  meta[m + M_TH] = from + hlen
  meta[m + M_OPTLEN] = q.nhoff
  meta[m + M_FRAG_MAX] = q.maxSize
  meta[m + M_FLAGS] = (meta[m + M_FLAGS]! & ~SKB_CSUM_OK) | SKB6_FRAGMENTED | (local ? 0 : SKB_IGNORE_DF)
  if (!local && cuts.length > 1) ns.frags.setGeometry(slot, meta[m + M_ID]!, cuts)
  ns.count('Ip6.ReasmOKs')
  if (w.tracer !== null) {
    w.tracer.step(T_IP_REASM, slot, ns, w.devices[meta[m + M_DEV]!] ?? null, total, q.maxSize, 0, null)
  }
  return 0
}

/** Gives `slot` the bytes of `whole`, whose number goes back. */
function takeOver(w: World, slot: number, whole: number, from: number, total: number): void {
  const a = w.arena
  const m = slot << META_SHIFT
  a.meta[m + M_LEN] = 0
  a.resize(slot, total)
  const to = a.meta[m + M_DATA]!
  a.bytes.copyWithin(to, from, from + total)
  a.meta[m + M_LEN] = total
  a.free(whole)
}

/** ip6frag_expire_frag_queue */
function expire(w: World, q: FragQueue6): void {
  const ns = q.ns
  ns.count('Ip6.ReasmFails')
  ns.count('Ip6.ReasmTimeout')
  kill(w, q)
  const head = q.pieces[0]
  const dev = w.devices[q.iif] ?? null
  if (head !== undefined && q.firstIn && dev !== null) {
    icmpv6Send(w, head.slot, ICMPV6_TIME_EXCEED, ICMPV6_EXC_FRAGTIME, 0)
  }
  for (const p of q.pieces) freeSkb(w, p.slot, R_FRAG_TIMEOUT)
  q.pieces.length = 0
}
