/**
 * nf_ip_checksum: whether a packet's transport checksum is right, as conntrack and ICMP translation ask it.
 *
 * Linux: net/netfilter/utils.c (nf_ip_checksum, nf_ip6_checksum). Over the bytes that the packet really has (skb->len), so a UDP length
 * that differs from the IP payload counts as wrong. Packets that this stack made itself (SKB_CSUM_OK) are taken as right
 * (CHECKSUM_UNNECESSARY). Words are added as the machine has them, in little-endian order, and the sum is swapped at the
 * end (RFC 1071, 2 (B)): half the work of asking for big-endian words.
 */
import type { PacketArena } from '../../../packet/arena.ts'
import {
  M_DATA,
  M_FLAGS,
  M_LEN,
  META_SHIFT,
  SKB_CSUM_OK,
  SKB_CSUM_VALID,
  SKB_FORWARDED,
} from '../../../packet/layout.ts'
import { foldChecksum, pseudoSumV4 } from '../../../wire/checksum.ts'
import { IPPROTO_TCP, IPPROTO_UDP } from './layout.ts'

/** True when the checksum of the transport part at absolute offset `l4` is right. */
export function nfIpChecksumOk(arena: PacketArena, slot: number, l4: number, proto: number): boolean {
  const m = slot << META_SHIFT
  const meta = arena.meta
  const nh = meta[m + M_DATA]!
  // with options (source routing) the pseudo header may not have the address that it was made with
  if ((meta[m + M_FLAGS]! & SKB_CSUM_OK) !== 0 && l4 - nh === 20) return true
  // CHECKSUM_COMPLETE of an earlier look serves until ip_forward throws it away
  if ((meta[m + M_FLAGS]! & (SKB_CSUM_VALID | SKB_FORWARDED)) === SKB_CSUM_VALID) return true
  const len = nh + meta[m + M_LEN]! - l4
  const view = arena.view
  if (view.getUint8(nh) >>> 4 === 6) return nfIp6ChecksumOk(arena, slot, nh, l4, proto, len)
  const seed =
    proto === IPPROTO_TCP || proto === IPPROTO_UDP
      ? pseudoSumV4(view.getInt32(nh + 12), view.getInt32(nh + 16), proto, len)
      : 0
  // with options the IP header's own sum may be wrong by now (ip_options_compile writes, ip_forward mends it later)
  const from = l4 - nh === 20 ? l4 : nh
  const sum = seed + swappedSum(view, from, len + l4 - from)
  // the kernel sums from the IP header on, which is all ones: nothing but zero bytes behind it is right as well
  const ok = sum === 0 || foldChecksum(sum) === 0
  if (ok) meta[m + M_FLAGS] = meta[m + M_FLAGS]! | SKB_CSUM_VALID
  return ok
}

/** nf_ip6_checksum: every protocol has a pseudo header, ICMPv6 too. */
function nfIp6ChecksumOk(
  arena: PacketArena,
  slot: number,
  nh: number,
  l4: number,
  proto: number,
  len: number,
): boolean {
  const m = slot << META_SHIFT
  const { meta, view } = arena
  if ((meta[m + M_FLAGS]! & SKB_CSUM_OK) !== 0 && l4 - nh === 40) return true
  if (len < 0) return false
  const sum = swappedSum(view, nh + 8, 32) + proto + (len >>> 16) + (len & 0xffff) + swappedSum(view, l4, len)
  const ok = foldChecksum(sum) === 0
  if (ok) meta[m + M_FLAGS] = meta[m + M_FLAGS]! | SKB_CSUM_VALID
  return ok
}

/**
 * The sum of `len` <= 65,535 bytes at `off`, folded to 16 bits, in network order. Both halves together stay below 2^32.
 */
export function swappedSum(view: DataView, off: number, len: number): number {
  let low = 0
  let high = 0
  let i = off
  for (const end = off + (len & ~15); i < end; i += 16) {
    const a = view.getInt32(i, true)
    const b = view.getInt32(i + 4, true)
    const c = view.getInt32(i + 8, true)
    const d = view.getInt32(i + 12, true)
    low += (a & 0xffff) + (b & 0xffff) + (c & 0xffff) + (d & 0xffff)
    high += (a >>> 16) + (b >>> 16) + (c >>> 16) + (d >>> 16)
  }
  for (const end = off + (len & ~1); i < end; i += 2) low += view.getUint16(i, true)
  if ((len & 1) !== 0) low += view.getUint8(i)
  let sum = low + high
  sum = (sum & 0xffff) + (sum >>> 16)
  sum = (sum & 0xffff) + (sum >>> 16)
  return ((sum & 0xff) << 8) | (sum >>> 8)
}
