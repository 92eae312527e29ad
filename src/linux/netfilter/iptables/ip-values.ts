/**
 * Addresses in rules of either family: a number for IPv4, four words for IPv6.
 *
 * iptables: libxtables/xtables.c (xtables_ip6parse_multiple, xtables_ip6mask_to_cidr, xtables_ip6mask_to_numeric); text of
 * addresses is inet_ntop's (glibc), which prints `::a.b.c.d` for what has 96 leading zeros.
 */
import { formatIpv4 } from '../../../addr/ipv4.ts'
import { formatIpv6, type Ipv6Words, parseIpv6 } from '../../../addr/ipv6.ts'
import { IptTextError } from './types.ts'
import { host, hostMask, maskLength, maskSuffix, strtoui } from './values.ts'

/** Families of tables. */
export type IptFamily = 4 | 6

/** An address or a mask. */
export type IpValue = number | Ipv6Words

/** `::` */
export const ANY6: Ipv6Words = [0, 0, 0, 0]
/** All ones. */
export const ONES6: Ipv6Words = [-1, -1, -1, -1]

/** The address 0 of a family. */
export function anyIp(family: IptFamily): IpValue {
  return family === 6 ? ANY6 : 0
}

/** The mask of one host. */
export function hostBits(family: IptFamily): IpValue {
  return family === 6 ? ONES6 : -1
}

/** inet_ntop(AF_INET6) of glibc. */
export function inetNtop6(w: Ipv6Words): string {
  if (w[0] === 0 && w[1] === 0 && w[2] === 0 && w[3] >>> 16 !== 0) return `::${formatIpv4(w[3])}`
  return formatIpv6(w)
}

/** inet_ntop of either family. */
export function formatIp(ip: IpValue): string {
  return typeof ip === 'number' ? formatIpv4(ip) : inetNtop6(ip)
}

/** Prefix length of a mask, -1 when it has holes. */
export function prefixLengthOf(mask: IpValue): number {
  if (typeof mask === 'number') return maskLength(mask)
  let length = 0
  for (let i = 0; i < 4; i++) {
    const n = maskLength(mask[i]!)
    if (n < 0 || (n > 0 && length < 32 * i)) return -1
    length += n
  }
  return length
}

/** The mask of a prefix length. */
export function mask6(length: number): Ipv6Words {
  const word = (i: number): number => {
    const bits = length - 32 * i
    return bits >= 32 ? -1 : bits <= 0 ? 0 : -1 << (32 - bits)
  }
  return [word(0), word(1), word(2), word(3)]
}

/** xtables_ip(6)mask_to_numeric: empty for a host, `/64`, or `/ffff::ffff`. */
export function maskText(mask: IpValue): string {
  if (typeof mask === 'number') return maskSuffix(mask)
  const length = prefixLengthOf(mask)
  return length === 128 ? '' : `/${length >= 0 ? length : inetNtop6(mask)}`
}

/** True when two values are the same. */
export function sameIp(a: IpValue, b: IpValue): boolean {
  if (typeof a === 'number' || typeof b === 'number') return a === b
  return a.every((w, i) => w === b[i])
}

function and(a: Ipv6Words, m: Ipv6Words): Ipv6Words {
  return [a[0] & m[0], a[1] & m[1], a[2] & m[2], a[3] & m[3]]
}

/** An address with optional mask as -s and -d take it, host bits cleared. */
export function hostMaskOf(family: IptFamily, text: string): [IpValue, IpValue] {
  if (family === 4) return hostMask(text)
  const slash = text.indexOf('/')
  const name = slash < 0 ? text : text.slice(0, slash)
  const maskWord = slash < 0 ? null : text.slice(slash + 1)
  let mask: Ipv6Words = ONES6
  if (maskWord !== null) {
    const bits = strtoui(maskWord, 128)
    const words = parseIpv6(maskWord) ?? (bits === null ? null : mask6(bits))
    if (words === null) throw new IptTextError(`invalid mask \`${maskWord}' specified`)
    mask = words
  }
  // with a mask of nothing the name does not matter: `any/0`
  const ip = sameIp(mask, ANY6) ? ANY6 : parseIpv6(name)
  if (ip === null) throw new IptTextError(`host/network \`${name}' not found`)
  return [and(ip, mask), mask]
}

/** XTTYPE_HOSTMASK: an address with optional mask as options of extensions take it. */
export function optionHostMask(family: IptFamily, text: string): [IpValue, IpValue] {
  const name = text.split('/')[0] ?? ''
  if (family === 6 && parseIpv6(name) === null && /^[\d.]+$/.test(name))
    throw new IptTextError('getaddrinfo: Address family for hostname not supported\n')
  return hostMaskOf(family, text)
}

/** XTTYPE_HOST: an address without mask. */
export function optionHost(family: IptFamily, text: string): IpValue {
  if (family === 4) return host(text)
  const words = parseIpv6(text)
  if (words === null) throw new IptTextError('getaddrinfo: Address family for hostname not supported\n')
  return words
}
