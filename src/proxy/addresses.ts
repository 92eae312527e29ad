/**
 * Addresses and prefixes as kube-proxy reads and prints them.
 *
 * kube-proxy parses with Go's pre-1.17 rules (k8s.io/utils/net ParseIPSloppy, ParseCIDRSloppy: leading zeros of an
 * IPv4 octet are decimal; surrounding spaces are cut, an IPv4-mapped IPv6 address is an IPv4 address) and prints with
 * net.IP.String (RFC 5952). Text that is no address is ignored, as kube-proxy logs and ignores it.
 */
import {
  type Cidr,
  cidrContains,
  formatCidr,
  formatIpv4,
  formatIpv6,
  isIpv4Loopback,
  networkOf,
  parseCidr,
  parseIpv4,
  parseIpv6,
} from '../addr/index.ts'
import type { IpFamily } from './types.ts'

/** A prefix with its host bits cleared; an address is the prefix of full length. */
export type Prefix = Cidr

const LOOPBACK_V6 = '::1'

/** Parses an address, or null when it is not one. */
export function parseIp(text: string): Prefix | null {
  const strict = parseIpv4(text)
  if (strict !== null) return { family: 4, ip: strict, prefixLength: 32 }
  const plain = withoutLeadingZeros(text.trim())
  const ip4 = parseIpv4(plain)
  if (ip4 !== null) return { family: 4, ip: ip4, prefixLength: 32 }
  const ip6 = parseIpv6(plain)
  if (ip6 === null) return null
  const isMapped = ip6[0] === 0 && ip6[1] === 0 && ip6[2] === 0xffff
  return isMapped ? { family: 4, ip: ip6[3], prefixLength: 32 } : { family: 6, ip: ip6, prefixLength: 128 }
}

/** Parses `address/length` and clears the host bits, or null when it is not a prefix. */
export function parsePrefix(text: string): Prefix | null {
  const [address = '', length = '', ...rest] = text.trim().split('/')
  if (rest.length > 0 || !/^\d{1,3}$/.test(length)) return null
  const cidr = parseCidr(`${withoutLeadingZeros(address)}/${Number(length)}`)
  return cidr === null ? null : networkOf(cidr)
}

/** Canonical text of an address. */
export function formatIp(ip: Prefix): string {
  return ip.family === 4 ? formatIpv4(ip.ip) : formatIpv6(ip.ip)
}

/** Canonical text of a prefix. */
export function formatPrefix(prefix: Prefix): string {
  return formatCidr(prefix)
}

/** True when the prefix holds the address; families never mix. */
export function prefixContains(prefix: Prefix, ip: Prefix): boolean {
  return prefix.family === ip.family && cidrContains(prefix, ip)
}

/** The family of an address or prefix. */
export function familyOf(prefix: Prefix): IpFamily {
  return prefix.family === 4 ? 'IPv4' : 'IPv6'
}

/** True for addresses of 127.0.0.0/8 and for ::1. */
export function isLoopback(ip: Prefix): boolean {
  return ip.family === 4 ? isIpv4Loopback(ip.ip) : formatIpv6(ip.ip) === LOOPBACK_V6
}

/** The addresses of one family among `texts`, canonical, in their order; the rest is left out. */
export function ipsOfFamily(texts: readonly string[], family: IpFamily): string[] {
  const ips = texts.map(parseIp).filter((ip) => ip !== null)
  return ips.filter((ip) => familyOf(ip) === family).map(formatIp)
}

/** `ip:port`, with brackets around an IPv6 address, as Go's net.JoinHostPort. */
export function joinHostPort(ip: string, port: number): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`
}

/** Dotted octets without their leading zeros; text without dots as it is. */
function withoutLeadingZeros(text: string): string {
  return text.includes('.') ? text.replace(/(^|[.:])0+(?=\d+(?:\.|$))/g, '$1') : text
}
