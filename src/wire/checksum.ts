/**
 * The Internet checksum: sums over a DataView, pseudo headers, and incremental updates.
 *
 * Linux: csum_partial, csum_fold, csum_tcpudp_nofold, csum_ipv6_magic, csum_replace2, csum_replace4
 * (include/net/checksum.h). A *sum* is a plain number below 2^32, not yet complemented, so sums can be chained through
 * `seed`; a *checksum* is the 16-bit field as it stands in the header. Valid data sums, its checksum field included, to
 * 0xffff: `internetChecksum` over it is 0. Incremental updates are RFC 1624 eqn. 3, with 0x0000 and 0xffff told apart as
 * the kernel does; UDP's rule that 0 means "none" is the caller's (CSUM_MANGLED_0 in net/netfilter, udp_set_csum).
 *
 * Sources: RFC 1071, RFC 1624, RFC 768, RFC 8200 8.1. NOT here: hardware offload states (CHECKSUM_PARTIAL).
 */
import type { Ipv6Words } from '../addr/ipv6.ts'

/** `CSUM_MANGLED_0`: what a computed UDP checksum of zero is sent as. */
export const CSUM_MANGLED_0 = 0xffff

/** Sum of the 16-bit words of `len` bytes at `off`, an odd last byte padded with zero; `len` <= 65,535. */
export function sumWords(view: DataView, off: number, len: number, seed = 0): number {
  let sum = 0
  const end = off + (len & ~1)
  for (let i = off; i < end; i += 2) sum += view.getUint16(i)
  if (len & 1) sum += view.getUint8(end) << 8
  return foldSum(sum) + foldSum(seed)
}

/** Folds a sum into 16 bits with end-around carry. */
export function foldSum(sum: number): number {
  sum = (sum & 0xffff) + (sum >>> 16)
  sum = (sum & 0xffff) + (sum >>> 16)
  return sum & 0xffff
}

/** `csum_fold`: the checksum field for a sum. */
export function foldChecksum(sum: number): number {
  return ~foldSum(sum) & 0xffff
}

/** The checksum of `len` bytes with a seed (a pseudo header's sum); 0 over data that carries its right checksum. */
export function internetChecksum(view: DataView, off: number, len: number, seed = 0): number {
  return foldChecksum(sumWords(view, off, len, seed))
}

/** `ip_fast_csum`: the checksum over an IPv4 header of `ihl` bytes; 0 when it is right. */
export function ipFastCsum(view: DataView, off: number, ihl: number): number {
  const a = view.getInt32(off)
  const b = view.getInt32(off + 4)
  const c = view.getInt32(off + 8)
  const d = view.getInt32(off + 12)
  const e = view.getInt32(off + 16)
  let sum = (a >>> 16) + (a & 0xffff) + (b >>> 16) + (b & 0xffff) + (c >>> 16) + (c & 0xffff)
  sum += (d >>> 16) + (d & 0xffff) + (e >>> 16) + (e & 0xffff)
  if (ihl > 20) sum += sumWords(view, off + 20, ihl - 20)
  return foldChecksum(sum)
}

/** `csum_tcpudp_nofold`: sum of the IPv4 pseudo header. */
export function pseudoSumV4(src: number, dst: number, protocol: number, len: number): number {
  return (src >>> 16) + (src & 0xffff) + (dst >>> 16) + (dst & 0xffff) + protocol + len
}

/** `csum_ipv6_magic` before folding: sum of the IPv6 pseudo header. */
export function pseudoSumV6(src: Ipv6Words, dst: Ipv6Words, nextHeader: number, len: number): number {
  let sum = nextHeader + (len >>> 16) + (len & 0xffff)
  for (let i = 0; i < 4; i++) sum += (src[i]! >>> 16) + (src[i]! & 0xffff) + (dst[i]! >>> 16) + (dst[i]! & 0xffff)
  return sum
}

/** `csum_replace2`: the checksum after a 16-bit word changed from `from` to `to` (RFC 1624 eqn. 3). */
export function csumReplace2(check: number, from: number, to: number): number {
  return foldChecksum((~check & 0xffff) + (~from & 0xffff) + (to & 0xffff))
}

/**
 * `csum_replace4`: the checksum after a 32-bit word changed from `from` to `to`. The kernel starts from the 32-bit
 * complement of the field, whose upper half is all ones: the result is never 0xffff, unlike csum_replace2's.
 */
export function csumReplace4(check: number, from: number, to: number): number {
  const was = (~from & 0xffff) + (~from >>> 16)
  return foldChecksum(0xffff + (~check & 0xffff) + was + (to & 0xffff) + (to >>> 16))
}
