/**
 * IPv6 addresses at the edges: text to four words and back.
 *
 * An address is four signed int32 in network byte order, as the kernel's s6_addr32 read big-endian. Parsing and
 * validation are ip-num's (zone indexes are refused: they name an interface, not an address); printing is RFC 5952:
 * lower case, no leading zeros, the longest run of two or more zero groups as `::`, the first of equals, and IPv4-mapped
 * addresses with a dotted tail.
 *
 * Sources: RFC 4291 section 2.2, RFC 5952 section 4 and 5.
 */
import { IPv6 } from 'ip-num'
import { formatIpv4, parseIpv4 } from './ipv4.ts'

/** An IPv6 address as four signed words, most significant first. */
export type Ipv6Words = readonly [number, number, number, number]

const SHAPE = /^[0-9a-fA-F:]{2,39}$/

/** The address as four words, or null when the text is not an IPv6 address. */
export function parseIpv6(text: string): Ipv6Words | null {
  let groups = text
  const dot = text.indexOf('.')
  if (dot > 0) {
    const tail = text.lastIndexOf(':') + 1
    const ip = parseIpv4(text.slice(tail))
    if (tail === 0 || ip === null) return null
    groups = `${text.slice(0, tail)}${(ip >>> 16).toString(16)}:${(ip & 0xffff).toString(16)}`
  }
  if (!SHAPE.test(groups) || !hasPlausibleGroups(groups)) return null
  try {
    const value = new IPv6(groups).value
    return [word(value, 96n), word(value, 64n), word(value, 32n), word(value, 0n)]
  } catch {
    // ip-num's constructor is its validator: it throws for what is not an address.
    return null
  }
}

/** RFC 5952 text of four words. */
export function formatIpv6(words: Ipv6Words): string {
  if (words[0] === 0 && words[1] === 0 && words[2] === 0xffff) return `::ffff:${formatIpv4(words[3])}`
  const groups: number[] = []
  for (const w of words) groups.push(w >>> 16, w & 0xffff)
  let bestStart = -1
  let bestLength = 1
  for (let i = 0; i < 8; i++) {
    let run = 0
    while (i + run < 8 && groups[i + run] === 0) run++
    if (run > bestLength) {
      bestStart = i
      bestLength = run
    }
    if (run > 0) i += run - 1
  }
  const hex = groups.map((g) => g.toString(16))
  if (bestStart < 0) return hex.join(':')
  return `${hex.slice(0, bestStart).join(':')}::${hex.slice(bestStart + bestLength).join(':')}`
}

function word(value: bigint, shift: bigint): number {
  return Number((value >> shift) & 0xffffffffn) | 0
}

/** Group lengths and counts: ip-num accepts a `::` that stands for nothing. */
function hasPlausibleGroups(text: string): boolean {
  const parts = text.split('::')
  if (parts.length > 2) return false
  const groups = parts.flatMap((p) => (p === '' ? [] : p.split(':')))
  if (groups.some((g) => g.length === 0 || g.length > 4)) return false
  return parts.length === 2 ? groups.length <= 7 : groups.length === 8
}
