/**
 * The Internet checksum with the pseudo header, over packet memory.
 *
 * Linux: csum_tcpudp_nofold, csum_partial. RFC 1071.
 */
import type { World } from '../world.ts'

/** Sum of 16-bit big-endian words, odd last byte padded with zero; not folded. */
export function csumPartial(bytes: Uint8Array, from: number, len: number, sum: number): number {
  const end = from + (len & ~1)
  let s = sum
  for (let i = from; i < end; i += 2) s += (bytes[i]! << 8) | bytes[i + 1]!
  if ((len & 1) !== 0) s += bytes[end]! << 8
  return s
}

/** csum_fold: the 16-bit complement. */
export function csumFold(sum: number): number {
  let s = sum
  while (s > 0xffff) s = (s & 0xffff) + Math.floor(s / 0x10000)
  return ~s & 0xffff
}

/** csum_tcpudp_magic over `len` bytes at `from`: 0 when a received packet is right. */
export function transportChecksum(
  bytes: Uint8Array,
  from: number,
  len: number,
  saddr: number,
  daddr: number,
  proto: number,
): number {
  const pseudo = (saddr >>> 16) + (saddr & 0xffff) + (daddr >>> 16) + (daddr & 0xffff) + proto + len
  return csumFold(csumPartial(bytes, from, len, pseudo))
}

/** csum_ipv6_magic over `len` bytes at `from`; addresses are In6Table ids. 0 when a received packet is right. */
export function transportChecksum6(
  w: World,
  bytes: Uint8Array,
  from: number,
  len: number,
  saddr: number,
  daddr: number,
  proto: number,
): number {
  return csumFold(csumPartial(bytes, from, len, w.in6.pseudoSum(saddr, daddr, proto, len)))
}
