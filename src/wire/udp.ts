/**
 * UDP header.
 *
 *     0         2         4         6         8
 *     +- sport -+- dport -+- len ---+- check -+ payload
 *
 * Linux: __udp4_lib_rcv judges `len` against the packet (ulen < 8 or > skb->len is dropped), not this parser. A checksum
 * of zero means none over IPv4, and is forbidden over IPv6 except in tunnels (RFC 6935). NOT here: UDP-Lite.
 * Sources: RFC 768, include/uapi/linux/udp.h.
 */
import { CSUM_MANGLED_0, internetChecksum } from './checksum.ts'
import { fits } from './view.ts'

/** Offset of the source port. */
export const UDP_SPORT = 0
/** Offset of the destination port. */
export const UDP_DPORT = 2
/** Offset of the length. */
export const UDP_LEN = 4
/** Offset of the checksum. */
export const UDP_CHECK = 6
/** Bytes of the header. */
export const UDP_HEADER_BYTES = 8

/** The fields of a UDP header. */
export interface UdpFields {
  readonly sport: number
  readonly dport: number
  /** Header and payload. */
  readonly length: number
  readonly checksum: number
}

/** Reads the header; null when short. */
export function parseUdp(view: DataView, off: number, len: number): UdpFields | null {
  if (!fits(view, off, len, UDP_HEADER_BYTES)) return null
  return {
    sport: view.getUint16(off + UDP_SPORT),
    dport: view.getUint16(off + UDP_DPORT),
    length: view.getUint16(off + UDP_LEN),
    checksum: view.getUint16(off + UDP_CHECK),
  }
}

/** Writes the header with `fields.checksum` as it is: see `fillUdpChecksum`. */
export function emitUdp(fields: UdpFields, view: DataView, off: number): number {
  view.setUint16(off + UDP_SPORT, fields.sport)
  view.setUint16(off + UDP_DPORT, fields.dport)
  view.setUint16(off + UDP_LEN, fields.length)
  view.setUint16(off + UDP_CHECK, fields.checksum)
  return UDP_HEADER_BYTES
}

/** `udp_set_csum`: computes and writes the checksum over `len` bytes and the pseudo header's sum; never zero. */
export function fillUdpChecksum(view: DataView, off: number, len: number, pseudoSum: number): void {
  view.setUint16(off + UDP_CHECK, 0)
  view.setUint16(off + UDP_CHECK, internetChecksum(view, off, len, pseudoSum) || CSUM_MANGLED_0)
}
