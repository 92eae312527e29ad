/**
 * Addresses in packets: reading and writing them in a DataView.
 *
 * An IPv4 address is one int32 (its big-endian value, so 192.0.2.1 is negative) and needs no helper, an IPv6 address is
 * four of them, a MAC the upper 16 bits and the lower 32 bits (as int32): the types and the text forms are src/addr's.
 */
import { parseIpv4 as parseIpv4Text } from '../addr/ipv4.ts'
import { type Ipv6Words, parseIpv6 as parseIpv6Text } from '../addr/ipv6.ts'
import type { Mac } from '../addr/mac.ts'
import { viewOf } from './view.ts'

/** Bytes of a MAC address. */
export const MAC_BYTES = 6
/** Bytes of an IPv6 address. */
export const IPV6_ADDR_BYTES = 16

/** Reads six bytes. */
export function readMac(view: DataView, off: number): Mac {
  return { hi: view.getUint16(off), lo: view.getInt32(off + 2) }
}

/** Writes six bytes. */
export function writeMac(view: DataView, off: number, mac: Mac): void {
  view.setUint16(off, mac.hi)
  view.setInt32(off + 2, mac.lo)
}

/** Reads sixteen bytes. */
export function readIpv6(view: DataView, off: number): Ipv6Words {
  return [view.getInt32(off), view.getInt32(off + 4), view.getInt32(off + 8), view.getInt32(off + 12)]
}

/** Writes sixteen bytes. */
export function writeIpv6(view: DataView, off: number, ip: Ipv6Words): void {
  for (let i = 0; i < 4; i++) view.setInt32(off + 4 * i, ip[i]!)
}

/** The 4 or 16 bytes of an address given as text, null when it is none. */
export function ipTextToBytes(text: string): Uint8Array | null {
  const ip4 = parseIpv4Text(text)
  if (ip4 !== null) {
    const bytes = new Uint8Array(4)
    viewOf(bytes).setInt32(0, ip4)
    return bytes
  }
  const ip6 = parseIpv6Text(text)
  if (ip6 === null) return null
  const bytes = new Uint8Array(IPV6_ADDR_BYTES)
  writeIpv6(viewOf(bytes), 0, ip6)
  return bytes
}
