/**
 * Fragmentation.
 *
 * Linux: net/ipv4/ip_output.c (ip_fragment, ip_do_fragment, ip_frag_next, ip_fraglist_prepare). A datagram that this host
 * put together keeps the cuts it came with when every piece still fits (Linux: skb frag_list), else it is cut anew.
 * Not modelled: GSO segments, delivery times.
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
  M_OPTLEN,
  M_PARENT,
  M_PKTTYPE,
  M_PRIORITY,
  M_PROTO,
  M_REALDEV,
  M_SK,
  M_TH,
  META_SHIFT,
  SKB_CSUM_OK,
  SKB_FRAG_PMTU,
  SKB_IGNORE_DF,
} from '../../packet/layout.ts'
import { consumeSkb, freeSkb } from '../core/skb.ts'
import { EMSGSIZE, ENOBUFS } from '../errno.ts'
import { nfConntrackHold } from '../netfilter/conntrack/core.ts'
import type { Netns } from '../netns.ts'
import { R_FRAG_NEEDED, R_MTU, R_NOMEM } from '../reasons.ts'
import { T_CHILD, T_IP_FRAGMENT } from '../trace.ts'
import type { World } from '../world.ts'
import { icmpSend } from './icmp.ts'
import { ipOptionsFragment, ipSendCheck } from './options.ts'
import { ipFinishOutput2 } from './output.ts'

const ICMP_DEST_UNREACH = 3
const ICMP_FRAG_NEEDED = 4
const IP_DF = 0x4000
const IP_MF = 0x2000
const IP_OFFSET = 0x1fff

/** Metadata that a fragment has from its datagram (ip_copy_metadata). */
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

/** Where fragments go instead of ip_finish_output2: br_nf_push_frag_xmit. Takes the slot. */
export type FragmentOutput = (w: World, slot: number) => number

/** ip_fragment: refuses (ICMP fragmentation needed, EMSGSIZE) when DF forbids it. Takes the slot. */
export function ipFragment(w: World, ns: Netns, slot: number, mtu: number): number {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  if ((w.arena.view.getUint16(meta[m + M_NH]! + 6) & IP_DF) !== 0) {
    if ((meta[m + M_FLAGS]! & SKB_IGNORE_DF) === 0 || meta[m + M_FRAG_MAX]! > mtu) {
      ns.count('Ip.FragFails')
      icmpSend(w, slot, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, mtu)
      freeSkb(w, slot, R_FRAG_NEEDED, mtu)
      return EMSGSIZE
    }
  }
  return ipDoFragment(w, ns, slot, mtu)
}

/**
 * ip_do_fragment: cuts the datagram at M_NH into pieces of at most `mtu` bytes (or of the largest fragment that it was
 * put together from) and passes each to `output` (ip_finish_output2 when null). Takes the slot.
 */
export function ipDoFragment(
  w: World,
  ns: Netns,
  slot: number,
  mtu: number,
  output: FragmentOutput | null = null,
): number {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const v = a.view
  const nh = meta[m + M_NH]!
  const hlen = (v.getUint8(nh) & 15) << 2
  const fragMax = meta[m + M_FRAG_MAX]!
  if (fragMax !== 0 && fragMax < mtu) mtu = fragMax
  const room = mtu - hlen
  const total = meta[m + M_LEN]! - (nh - meta[m + M_DATA]!) - hlen
  const fragOff = v.getUint16(nh + 6)
  const cuts = ns.frags.takeGeometry(slot, meta[m + M_ID]!)
  const keep = cuts !== null && (fragOff & (IP_MF | IP_OFFSET)) === 0 && cutsFit(cuts, room, total)
  const start = (fragOff & IP_OFFSET) << 3
  const wasMore = (fragOff & IP_MF) !== 0
  const df = !keep && (meta[m + M_FLAGS]! & SKB_FRAG_PMTU) !== 0
  let done = 0
  let pieces = 0
  if (w.tracer !== null) {
    const dev = w.devices[meta[m + M_DEV]!] ?? null
    const n = keep ? cuts.length : Math.max(1, Math.ceil(total / (room & ~7)))
    w.tracer.step(T_IP_FRAGMENT, slot, ns, dev, n, mtu, 0, null)
  }
  while (done < total) {
    let len = keep ? cuts[pieces]! : Math.min(total - done, room)
    if (!keep && len < total - done) len &= ~7
    const piece = a.alloc(hlen + len, HEADROOM_BYTES)
    if (piece < 0 || len <= 0) {
      if (piece >= 0) a.free(piece)
      ns.count('Ip.FragFails')
      freeSkb(w, slot, R_NOMEM)
      return ENOBUFS
    }
    copyMetadata(w, slot, piece)
    const p = piece << META_SHIFT
    const to = meta[p + M_DATA]!
    meta[p + M_NH] = to
    meta[p + M_TH] = to + hlen
    a.bytes.copyWithin(to, nh, nh + hlen)
    a.bytes.copyWithin(to + hlen, nh + hlen + done, nh + hlen + done + len)
    let off = (start + done) >> 3
    if (df) off |= IP_DF
    if (done + len < total || wasMore) off |= IP_MF
    v.setUint16(to + 2, hlen + len)
    v.setUint16(to + 6, off)
    // The datagram's own header keeps its options; later fragments keep only those that are to be copied.
    // br_netfilter's packets have no compiled options (IPCB), theirs stay.
    if (done > 0 && hlen > 20 && output === null) ipOptionsFragment(v, to)
    ipSendCheck(v, to)
    done += len
    pieces++
    if (w.tracer !== null) {
      const dev = w.devices[meta[m + M_DEV]!] ?? null
      w.tracer.step(T_CHILD, slot, ns, dev, meta[p + M_ID]!, 1, 0, null)
    }
    const err = output === null ? ipFinishOutput2(w, ns, piece) : output(w, piece)
    if (err !== 0) {
      ns.count('Ip.FragFails')
      freeSkb(w, slot, R_MTU)
      return err
    }
    ns.count('Ip.FragCreates')
  }
  ns.count('Ip.FragOKs')
  consumeSkb(w, slot)
  return 0
}

/** The geometry checks of ip_do_fragment's frag_list path. */
function cutsFit(cuts: readonly number[], room: number, total: number): boolean {
  let sum = 0
  for (let i = 0; i < cuts.length; i++) {
    if (cuts[i]! > room || (i < cuts.length - 1 && (cuts[i]! & 7) !== 0)) return false
    sum += cuts[i]!
  }
  return sum === total
}

/** ip_copy_metadata */
function copyMetadata(w: World, from: number, to: number): void {
  const meta = w.arena.meta
  const m = from << META_SHIFT
  const p = to << META_SHIFT
  for (let i = 0; i < COPIED.length; i++) meta[p + COPIED[i]!] = meta[m + COPIED[i]!]!
  // a piece has no whole transport checksum (CHECKSUM_NONE); put together again, it is verified
  meta[p + M_FLAGS] = meta[m + M_FLAGS]! & ~SKB_CSUM_OK
  meta[p + M_OPTLEN] = meta[m + M_OPTLEN]!
  meta[p + M_PARENT] = meta[m + M_ID]!
  w.arena.dst[to] = w.arena.dst[from]!
  if (meta[m + M_CT] !== 0) nfConntrackHold(w, to)
}
