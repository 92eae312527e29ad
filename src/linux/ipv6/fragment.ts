/**
 * IPv6 fragmentation: by the sender only, and by who put a datagram together (conntrack).
 *
 * Linux: net/ipv6/ip6_output.c (ip6_fragment, ip6_frag_next, ip6_find_1stfragopt), net/ipv6/output_core.c
 * (ipv6_select_ident: a hash of the addresses with a random part; here the next random number). A datagram keeps the cuts
 * it came with when every piece still fits. Sources: RFC 8200 4.5. Not modelled: GSO, IPV6_MTU (frag_size) of sockets.
 */
import { HEADROOM_BYTES } from '../../packet/arena.ts'
import {
  M_CT,
  M_CTINFO,
  M_DATA,
  M_DEV,
  M_FLAGS,
  M_FRAG_MAX,
  M_ID,
  M_IIF,
  M_LEN,
  M_MARK,
  M_NFB_DADDR,
  M_NFB_IN,
  M_NFB_OUT,
  M_NFB_STATE,
  M_NH,
  M_PARENT,
  M_PKTTYPE,
  M_PRIORITY,
  M_PROTO,
  M_REALDEV,
  M_SK,
  M_TH,
  META_SHIFT,
  SKB_CSUM_OK,
  SKB_IGNORE_DF,
} from '../../packet/layout.ts'
import { consumeSkb, freeSkb } from '../core/skb.ts'
import { EMSGSIZE, ENOBUFS } from '../errno.ts'
import { nfConntrackHold } from '../netfilter/conntrack/core.ts'
import type { Netns } from '../netns.ts'
import { R_FRAG_NEEDED, R_MTU, R_NOMEM } from '../reasons.ts'
import { T_CHILD, T_IP_FRAGMENT } from '../trace.ts'
import type { World } from '../world.ts'
import { NEXTHDR_DEST, NEXTHDR_FRAGMENT, NEXTHDR_HOP, NEXTHDR_ROUTING } from './exthdrs-core.ts'
import { icmpv6Send } from './icmp.ts'
import { ip6FinishOutput2 } from './output.ts'

const ICMPV6_PKT_TOOBIG = 2
const IPV6_MIN_MTU = 1280
const FRAG_BYTES = 8

/** Metadata that a fragment has from its datagram (ip6_copy_metadata). */
const COPIED = [
  M_DEV,
  M_IIF,
  M_MARK,
  M_CT,
  M_CTINFO,
  M_PKTTYPE,
  M_PROTO,
  M_PRIORITY,
  M_SK,
  M_NFB_IN,
  M_NFB_OUT,
  M_NFB_STATE,
  M_NFB_DADDR,
  M_REALDEV,
]

/** Where fragments go instead of ip6_finish_output2 (bridge). Takes the slot. */
export type Fragment6Output = (w: World, slot: number) => number

/** Offset from the IPv6 header of the byte that names the header behind the unfragmentable part. */
let prevhdr = 6

/** ip6_find_1stfragopt: length of the unfragmentable part, -1 when the chain is broken. */
function unfragmentable(w: World, slot: number): number {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = meta[m + M_NH]!
  const length = meta[m + M_DATA]! + meta[m + M_LEN]! - nh
  let offset = 40
  let foundRouting = false
  prevhdr = 6
  while (offset <= length) {
    const nexthdr = v.getUint8(nh + prevhdr)
    if (nexthdr === NEXTHDR_ROUTING) foundRouting = true
    else if (nexthdr === NEXTHDR_DEST) {
      if (foundRouting) return offset
    } else if (nexthdr !== NEXTHDR_HOP) return offset
    if (offset + 8 > length) return -1
    prevhdr = offset
    offset += (v.getUint8(nh + offset + 1) + 1) << 3
  }
  return -1
}

/**
 * ip6_fragment: cuts the datagram at M_NH and passes each piece to `output` (ip6_finish_output2 when null). Takes the slot.
 * @returns 0 or a negative errno (-EMSGSIZE: nobody may cut it, the sender was told)
 */
export function ip6Fragment(w: World, ns: Netns, slot: number, mtuIn: number, output: Fragment6Output | null): number {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const v = a.view
  const nh = meta[m + M_NH]!
  let mtu = mtuIn
  const hlen = unfragmentable(w, slot)
  const fragMax = meta[m + M_FRAG_MAX]!
  const ignoreDf = (meta[m + M_FLAGS]! & SKB_IGNORE_DF) !== 0
  if (hlen < 0) {
    freeSkb(w, slot, R_MTU)
    return EMSGSIZE
  }
  const nextAt = prevhdr
  if ((!ignoreDf && meta[m + M_LEN]! > mtu) || (fragMax !== 0 && fragMax > mtu)) return tooBig(w, ns, slot, mtu)
  if (fragMax !== 0) mtu = Math.max(fragMax, IPV6_MIN_MTU)
  if (mtu < hlen + FRAG_BYTES + 8) return tooBig(w, ns, slot, mtu)
  const room = mtu - hlen - FRAG_BYTES
  const total = meta[m + M_DATA]! + meta[m + M_LEN]! - nh - hlen
  const ident = w.random.u32()
  const cuts = ns.frags.takeGeometry(slot, meta[m + M_ID]!)
  const keep = cuts !== null && cutsFit(cuts, room, total)
  const nexthdr = v.getUint8(nh + nextAt)
  const dev = w.devices[meta[m + M_DEV]!] ?? null
  if (w.tracer !== null) {
    const n = keep ? cuts.length : Math.max(1, Math.ceil(total / (room & ~7)))
    w.tracer.step(T_IP_FRAGMENT, slot, ns, dev, n, mtu, 0, null)
  }
  let done = 0
  let pieces = 0
  while (done < total) {
    let len = keep ? cuts[pieces]! : Math.min(total - done, room)
    if (!keep && len < total - done) len &= ~7
    const piece = len <= 0 ? -1 : a.alloc(hlen + FRAG_BYTES + len, HEADROOM_BYTES)
    if (piece < 0) {
      ns.count('Ip6.FragFails')
      freeSkb(w, slot, R_NOMEM)
      return ENOBUFS
    }
    copyMetadata(w, slot, piece)
    const p = piece << META_SHIFT
    const to = meta[p + M_DATA]!
    meta[p + M_NH] = to
    meta[p + M_TH] = to + hlen
    a.bytes.copyWithin(to, nh, nh + hlen)
    v.setUint8(to + nextAt, NEXTHDR_FRAGMENT)
    v.setUint8(to + hlen, nexthdr)
    v.setUint8(to + hlen + 1, 0)
    v.setUint16(to + hlen + 2, done | (done + len < total ? 1 : 0))
    v.setUint32(to + hlen + 4, ident)
    a.bytes.copyWithin(to + hlen + FRAG_BYTES, nh + hlen + done, nh + hlen + done + len)
    v.setUint16(to + 4, hlen - 40 + FRAG_BYTES + len)
    done += len
    pieces++
    if (w.tracer !== null) w.tracer.step(T_CHILD, slot, ns, dev, meta[p + M_ID]!, 1, 0, null)
    const err = output === null ? ip6FinishOutput2(w, ns, piece) : output(w, piece)
    if (err !== 0) {
      ns.count('Ip6.FragFails')
      freeSkb(w, slot, R_MTU)
      return err
    }
    ns.count('Ip6.FragCreates')
  }
  ns.count('Ip6.FragOKs')
  consumeSkb(w, slot)
  return 0
}

function tooBig(w: World, ns: Netns, slot: number, mtu: number): number {
  ns.count('Ip6.FragFails')
  icmpv6Send(w, slot, ICMPV6_PKT_TOOBIG, 0, mtu)
  freeSkb(w, slot, R_FRAG_NEEDED, mtu)
  return EMSGSIZE
}

/** The geometry checks of ip6_fragment's frag_list path. */
function cutsFit(cuts: readonly number[], room: number, total: number): boolean {
  let sum = 0
  for (let i = 0; i < cuts.length; i++) {
    if (cuts[i]! > room || (i < cuts.length - 1 && (cuts[i]! & 7) !== 0)) return false
    sum += cuts[i]!
  }
  return sum === total
}

function copyMetadata(w: World, from: number, to: number): void {
  const meta = w.arena.meta
  const m = from << META_SHIFT
  const p = to << META_SHIFT
  for (let i = 0; i < COPIED.length; i++) meta[p + COPIED[i]!] = meta[m + COPIED[i]!]!
  meta[p + M_FLAGS] = meta[m + M_FLAGS]! & ~SKB_CSUM_OK
  meta[p + M_PARENT] = meta[m + M_ID]!
  w.arena.dst[to] = w.arena.dst[from]!
  if (meta[m + M_CT] !== 0) nfConntrackHold(w, to)
}
