/**
 * Ranges of IPv6 addresses: whether one lies in it, and which one a connection gets.
 *
 * Linux: nf_nat_inet_in_range, find_best_ips_proto (net/netfilter/nf_nat_core.c). The choice is word by word: a hash of
 * source and destination scaled into the distance of the words, into all 32 bits once a word is below the range's end.
 */

import type { In6Table } from '../../ipv6/in6.ts'
import { jhashBytes } from '../../jhash.ts'
import type { Tuple } from '../conntrack/tuple.ts'
import { type NatRange, NF_NAT_RANGE_PERSISTENT } from './range.ts'

/** ipv6_addr_cmp of two ids. */
function compare(in6: In6Table, a: number, b: number): number {
  for (let i = 0; i < 4; i++) {
    const d = (in6.word(a, i) >>> 0) - (in6.word(b, i) >>> 0)
    if (d !== 0) return d
  }
  return 0
}

/** nf_nat_inet_in_range */
export function inRange6(in6: In6Table, ip: number, range: NatRange): boolean {
  if (range.minIp === range.maxIp) return ip === range.minIp
  return compare(in6, ip, range.minIp) >= 0 && compare(in6, ip, range.maxIp) <= 0
}

/** The bytes of a big-endian word as a little-endian machine reads them. */
function swap(x: number): number {
  return ((x & 0xff) << 24) | ((x & 0xff00) << 8) | ((x >>> 8) & 0xff00) | (x >>> 24)
}

const key = new DataView(new ArrayBuffer(24))

/** find_best_ips_proto for a range of more than one address: the id of the choice. */
export function bestIp6(in6: In6Table, t: Tuple, range: NatRange): number {
  const persistent = (range.flags & NF_NAT_RANGE_PERSISTENT) !== 0
  for (let i = 0; i < 4; i++) key.setInt32(4 * i, in6.word(t.src, i))
  let j = jhashBytes(key, 16, persistent ? 0 : swap(in6.word(t.dst, 3))) >>> 0
  let full = false
  const chosen: [number, number, number, number] = [0, 0, 0, 0]
  for (let i = 0; i < 4; i++) {
    const low = full ? 0 : in6.word(range.minIp, i) >>> 0
    const dist = full ? 0xffffffff : ((in6.word(range.maxIp, i) >>> 0) - low + 1) >>> 0
    chosen[i] = (low + Math.floor((j * dist) / 4294967296)) | 0
    if (chosen[i] !== in6.word(range.maxIp, i)) full = true
    if (!persistent) j = (j ^ swap(in6.word(t.dst, i))) >>> 0
  }
  return in6.intern(...chosen)
}
