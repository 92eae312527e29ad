/**
 * Networks in CIDR form, IPv4 and IPv6.
 *
 * A Cidr keeps the address as written (`10.244.1.5/24` is an interface address) and its prefix length; `networkOf` clears
 * the host bits. Text goes through ip-num's prefix validator and through our strict address parsers, because netmask's
 * parser alone is lenient (it accepts octal octets and three-part addresses); netmask then gives the first and last host
 * and the size, with its special cases for /31 and /32.
 *
 * Sources: RFC 4632 section 3.1, RFC 3021 (/31), RFC 4291 section 2.3.
 */
import { IPv4Prefix, IPv6Prefix } from 'ip-num'
import { Netmask } from 'netmask'
import { formatIpv4, ipv4Mask, parseIpv4 } from './ipv4.ts'
import type { Ipv6Words } from './ipv6.ts'
import { formatIpv6, parseIpv6 } from './ipv6.ts'

/** An IPv4 network or interface address. */
export interface Ipv4Cidr {
  readonly family: 4
  readonly ip: number
  readonly prefixLength: number
}

/** An IPv6 network or interface address. */
export interface Ipv6Cidr {
  readonly family: 6
  readonly ip: Ipv6Words
  readonly prefixLength: number
}

/** A network or interface address of either family. */
export type Cidr = Ipv4Cidr | Ipv6Cidr

/** A CIDR of either family, or null when the text is not one. A bare address is not a CIDR. */
export function parseCidr(text: string): Cidr | null {
  const slash = text.indexOf('/')
  if (slash < 0) return null
  const lengthText = text.slice(slash + 1)
  if (!/^(0|[1-9][0-9]{0,2})$/.test(lengthText)) return null
  const prefixLength = Number(lengthText)
  const addressText = text.slice(0, slash)
  const ip4 = parseIpv4(addressText)
  if (ip4 !== null) return isPrefix(4, prefixLength) ? { family: 4, ip: ip4, prefixLength } : null
  const ip6 = parseIpv6(addressText)
  if (ip6 !== null) return isPrefix(6, prefixLength) ? { family: 6, ip: ip6, prefixLength } : null
  return null
}

/** An IPv4 CIDR, or null for anything else. */
export function parseIpv4Cidr(text: string): Ipv4Cidr | null {
  const cidr = parseCidr(text)
  return cidr !== null && cidr.family === 4 ? cidr : null
}

/** `10.244.0.0/16`, with the address as it is kept. */
export function formatCidr(cidr: Cidr): string {
  return `${cidr.family === 4 ? formatIpv4(cidr.ip) : formatIpv6(cidr.ip)}/${cidr.prefixLength}`
}

/** The same network with its host bits cleared. */
export function networkOf(cidr: Ipv4Cidr): Ipv4Cidr
export function networkOf(cidr: Ipv6Cidr): Ipv6Cidr
export function networkOf(cidr: Cidr): Cidr
export function networkOf(cidr: Cidr): Cidr {
  if (cidr.family === 4) return { ...cidr, ip: cidr.ip & ipv4Mask(cidr.prefixLength) }
  const m = ipv6Mask(cidr.prefixLength)
  const w = cidr.ip
  return { ...cidr, ip: [w[0] & m[0], w[1] & m[1], w[2] & m[2], w[3] & m[3]] }
}

/** True when no host bit is set: `10.0.0.0/8` but not `10.0.0.1/8`. */
export function isNetwork(cidr: Cidr): boolean {
  return formatCidr(networkOf(cidr)) === formatCidr(cidr)
}

/** True when the IPv4 address is in the network. */
export function cidrContainsIpv4(cidr: Ipv4Cidr, ip: number): boolean {
  return ((cidr.ip ^ ip) & ipv4Mask(cidr.prefixLength)) === 0
}

/** True when every address of `inner` is in `outer`. */
export function cidrContains(outer: Cidr, inner: Cidr): boolean {
  return inner.prefixLength >= outer.prefixLength && cidrsOverlap(outer, inner)
}

/** True when the networks share an address. */
export function cidrsOverlap(a: Cidr, b: Cidr): boolean {
  const shorter = Math.min(a.prefixLength, b.prefixLength)
  if (a.family === 4 && b.family === 4) return ((a.ip ^ b.ip) & ipv4Mask(shorter)) === 0
  if (a.family === 6 && b.family === 6) {
    const m = ipv6Mask(shorter)
    return a.ip.every((w, i) => ((w ^ b.ip[i]!) & m[i]!) === 0)
  }
  return false
}

/** Number of addresses of an IPv4 network, network and broadcast address included. */
export function ipv4CidrSize(cidr: Ipv4Cidr): number {
  return 2 ** (32 - cidr.prefixLength)
}

/** The n-th address of an IPv4 network (0 is the network address), or null when it has fewer. */
export function nthIpv4(cidr: Ipv4Cidr, n: number): number | null {
  if (n < 0 || n >= ipv4CidrSize(cidr)) return null
  return ((cidr.ip & ipv4Mask(cidr.prefixLength)) + n) | 0
}

/** Position of an address in an IPv4 network: the inverse of `nthIpv4`; meaningless outside of it. */
export function indexInIpv4Cidr(cidr: Ipv4Cidr, ip: number): number {
  return (ip - (cidr.ip & ipv4Mask(cidr.prefixLength))) >>> 0
}

/** The last address: the directed broadcast address of networks that have one. */
export function lastIpv4(cidr: Ipv4Cidr): number {
  return cidr.ip | ~ipv4Mask(cidr.prefixLength)
}

/** First and last address a host may have; /31 and /32 have no network and broadcast address. */
export function usableIpv4Range(cidr: Ipv4Cidr): { readonly first: number; readonly last: number } {
  const block = new Netmask(formatCidr(networkOf(cidr)))
  const first = parseIpv4(block.first)
  const last = parseIpv4(block.last)
  if (first === null || last === null) throw new Error(`netmask gave ${block.first}-${block.last} for ${block}`)
  return { first, last }
}

/** The n-th subnet of the given prefix length inside a network, or null when there are fewer. */
export function nthSubnet(cidr: Ipv4Cidr, prefixLength: number, n: number): Ipv4Cidr | null {
  if (prefixLength < cidr.prefixLength || n < 0 || n >= 2 ** (prefixLength - cidr.prefixLength)) return null
  const ip = ((cidr.ip & ipv4Mask(cidr.prefixLength)) + n * 2 ** (32 - prefixLength)) | 0
  return { family: 4, ip, prefixLength }
}

/** The mask words of an IPv6 prefix length. */
export function ipv6Mask(prefixLength: number): Ipv6Words {
  const part = (bits: number): number => (bits >= 32 ? -1 : bits <= 0 ? 0 : -1 << (32 - bits))
  return [part(prefixLength), part(prefixLength - 32), part(prefixLength - 64), part(prefixLength - 96)]
}

function isPrefix(family: 4 | 6, prefixLength: number): boolean {
  try {
    if (family === 4) IPv4Prefix.fromNumber(BigInt(prefixLength))
    else IPv6Prefix.fromNumber(BigInt(prefixLength))
    return true
  } catch {
    // ip-num's constructor is its validator: it throws for lengths that the family does not have.
    return false
  }
}
