/**
 * Sets of addresses: sorted, disjoint ranges of both families.
 *
 * An IPv4 address is a number from 0 to 2^32 - 1, an IPv6 address a bigint: they are compared here, at the edge, never on
 * the packet path. A block of one family never contains an address of the other (networking/v1 IPBlock).
 */
import { parseCidr } from '../addr/cidr.ts'
import { formatIpv4, parseIpv4 } from '../addr/ipv4.ts'
import { formatIpv6, type Ipv6Words, parseIpv6 } from '../addr/ipv6.ts'

/** IP version. */
export type Family = 4 | 6

/** An address of one family. */
export type Address = { readonly family: 4; readonly value: number } | { readonly family: 6; readonly value: bigint }

/** Ranges as flat pairs first, last, first, last ... */
export interface AddressRanges {
  readonly v4: readonly number[]
  readonly v6: readonly bigint[]
}

/** No address. */
export const NO_ADDRESSES: AddressRanges = { v4: [], v6: [] }
/** Every address of both families. */
export const ALL_ADDRESSES: AddressRanges = { v4: [0, 0xffffffff], v6: [0n, (1n << 128n) - 1n] }

/** An address from its text, or null. */
export function parseAddress(text: string): Address | null {
  const v4 = parseIpv4(text)
  if (v4 !== null) return { family: 4, value: v4 >>> 0 }
  const v6 = parseIpv6(text)
  return v6 === null ? null : { family: 6, value: wordsToBigint(v6) }
}

/** The text of an address. */
export function formatAddress(address: Address): string {
  if (address.family === 4) return formatIpv4(address.value | 0)
  const word = (shift: bigint): number => Number((address.value >> shift) & 0xffffffffn) | 0
  return formatIpv6([word(96n), word(64n), word(32n), word(0n)])
}

function wordsToBigint(words: Ipv6Words): bigint {
  let value = 0n
  for (const w of words) value = (value << 32n) | BigInt(w >>> 0)
  return value
}

/** The addresses of a CIDR or of a single address, without the exceptions; null when the text is neither. */
export function cidrRanges(text: string, except: readonly string[] = []): AddressRanges | null {
  const whole = oneCidr(text)
  if (whole === null) return null
  let ranges = whole
  for (const part of except) {
    const cut = oneCidr(part)
    if (cut !== null) ranges = subtractRanges(ranges, cut)
  }
  return ranges
}

function oneCidr(text: string): AddressRanges | null {
  const cidr = parseCidr(text)
  if (cidr === null) {
    const address = parseAddress(text)
    if (address === null) return null
    return address.family === 4
      ? { v4: [address.value, address.value], v6: [] }
      : { v4: [], v6: [address.value, address.value] }
  }
  if (cidr.family === 4) {
    const size = 2 ** (32 - cidr.prefixLength)
    const first = Math.floor((cidr.ip >>> 0) / size) * size
    return { v4: [first, first + size - 1], v6: [] }
  }
  const bits = BigInt(128 - cidr.prefixLength)
  const first = (wordsToBigint(cidr.ip) >> bits) << bits
  return { v4: [], v6: [first, first + (1n << bits) - 1n] }
}

/** Addresses that are in one of the sets. */
export function unionRanges(sets: readonly AddressRanges[]): AddressRanges {
  if (sets.length === 1) return sets[0]!
  return {
    v4: merge(
      sets.map((s) => s.v4),
      1,
    ),
    v6: merge(
      sets.map((s) => s.v6),
      1n,
    ),
  }
}

function merge<T extends number | bigint>(lists: readonly (readonly T[])[], one: T): T[] {
  const pairs: [T, T][] = []
  for (const list of lists) for (let i = 0; i < list.length; i += 2) pairs.push([list[i]!, list[i + 1]!])
  pairs.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0))
  const out: T[] = []
  for (const [first, last] of pairs) {
    const end = out[out.length - 1]
    if (end !== undefined && first <= (((end as number) + (one as number)) as T)) {
      if (last > end) out[out.length - 1] = last
    } else out.push(first, last)
  }
  return out
}

/** Addresses of `a` that are not in `b`. */
export function subtractRanges(a: AddressRanges, b: AddressRanges): AddressRanges {
  return { v4: subtract(a.v4, b.v4, 1), v6: subtract(a.v6, b.v6, 1n) }
}

function subtract<T extends number | bigint>(a: readonly T[], b: readonly T[], one: T): T[] {
  const out: T[] = []
  for (let i = 0; i < a.length; i += 2) {
    let first = a[i]!
    const last = a[i + 1]!
    let isOpen = true
    for (let j = 0; j < b.length && isOpen; j += 2) {
      const from = b[j]!
      const to = b[j + 1]!
      if (to < first || from > last) continue
      if (from > first) out.push(first, ((from as number) - (one as number)) as T)
      if (to >= last) isOpen = false
      else first = ((to as number) + (one as number)) as T
    }
    if (isOpen) out.push(first, last)
  }
  return out
}

/** Addresses that are in both sets. */
export function intersectRanges(a: AddressRanges, b: AddressRanges): AddressRanges {
  return subtractRanges(a, subtractRanges(ALL_ADDRESSES, b))
}

/** True when the address is in the set. */
export function rangesContain(ranges: AddressRanges, address: Address): boolean {
  return address.family === 4 ? contains(ranges.v4, address.value) : contains(ranges.v6, address.value)
}

function contains<T extends number | bigint>(list: readonly T[], value: T): boolean {
  let low = 0
  let high = list.length >> 1
  while (low < high) {
    const middle = (low + high) >> 1
    if (list[2 * middle + 1]! < value) low = middle + 1
    else high = middle
  }
  return low < list.length >> 1 && list[2 * low]! <= value
}

/** `0.0.0.0-9.255.255.255`, one text per range. */
export function rangesText(ranges: AddressRanges): string[] {
  const out: string[] = []
  for (let i = 0; i < ranges.v4.length; i += 2) {
    out.push(rangeText({ family: 4, value: ranges.v4[i]! }, { family: 4, value: ranges.v4[i + 1]! }))
  }
  for (let i = 0; i < ranges.v6.length; i += 2) {
    out.push(rangeText({ family: 6, value: ranges.v6[i]! }, { family: 6, value: ranges.v6[i + 1]! }))
  }
  return out
}

function rangeText(first: Address, last: Address): string {
  const from = formatAddress(first)
  const to = formatAddress(last)
  return from === to ? from : `${from}-${to}`
}
