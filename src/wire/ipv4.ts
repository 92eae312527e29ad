/**
 * IPv4 header with options.
 *
 *     0    1    2         4         6         8    9    10        12        16        20
 *     +v|ihl-tos+- totlen +-- id ---+ fragOff +ttl-+prot+- check -+-- src --+-- dst --+-- options ...
 *     fragOff = CE (0x8000) | DF (0x4000) | MF (0x2000) | offset in 8-byte units (13 bits)
 *
 * Linux: ip_rcv_core's first checks (version, ihl) decide null here; its checks of the checksum and the total length are
 * the caller's, who has the whole packet. Options are kept as raw bytes, `walkIpv4Options` cuts them as
 * __ip_options_compile does. NOT here: what options mean (net/ipv4/ip_options.c).
 * Sources: RFC 791 3.1, include/uapi/linux/ip.h, include/net/ip.h (IP_CE, IP_DF, IP_MF, IP_OFFSET).
 */
import { internetChecksum } from './checksum.ts'
import { bytesOf, fits, putBytes } from './view.ts'

/** Offset of version and header length. */
export const IPV4_VIHL = 0
/** Offset of the type of service. */
export const IPV4_TOS = 1
/** Offset of the total length. */
export const IPV4_TOTLEN = 2
/** Offset of the identification. */
export const IPV4_ID = 4
/** Offset of flags and fragment offset. */
export const IPV4_FRAGOFF = 6
/** Offset of the time to live. */
export const IPV4_TTL = 8
/** Offset of the protocol. */
export const IPV4_PROTOCOL = 9
/** Offset of the header checksum. */
export const IPV4_CHECK = 10
/** Offset of the source address. */
export const IPV4_SRC = 12
/** Offset of the destination address. */
export const IPV4_DST = 16
/** Bytes without options. */
export const IPV4_HEADER_BYTES = 20

/** `IP_CE`, the reserved bit. */
export const IP_CE = 0x8000
/** `IP_DF`. */
export const IP_DF = 0x4000
/** `IP_MF`. */
export const IP_MF = 0x2000
/** `IP_OFFSET`: mask of the fragment offset, in 8-byte units. */
export const IP_OFFSET = 0x1fff

/** Protocol number of ICMP. */
export const IPPROTO_ICMP = 1
/** Protocol number of IPv4 in IP. */
export const IPPROTO_IPIP = 4
/** Protocol number of TCP. */
export const IPPROTO_TCP = 6
/** Protocol number of UDP. */
export const IPPROTO_UDP = 17
/** Protocol number of IPv6 in IP. */
export const IPPROTO_IPV6 = 41
/** Protocol number of GRE. */
export const IPPROTO_GRE = 47
/** Protocol number of ICMPv6. */
export const IPPROTO_ICMPV6 = 58
/** Protocol number of SCTP. */
export const IPPROTO_SCTP = 132

/** The fields of an IPv4 header. */
export interface Ipv4Fields {
  readonly tos: number
  readonly totalLength: number
  readonly id: number
  /** The 16-bit word with IP_CE, IP_DF, IP_MF and IP_OFFSET. */
  readonly fragOff: number
  readonly ttl: number
  readonly protocol: number
  readonly checksum: number
  readonly src: number
  readonly dst: number
  /** Raw options; `emitIpv4` pads them with zeros to a multiple of four. */
  readonly options: Uint8Array
}

/** One option: its type byte and its data, without type and length. */
export interface Ipv4Option {
  readonly type: number
  readonly data: Uint8Array
}

/** Bytes that the header takes with its options. */
export function ipv4HeaderBytes(fields: Ipv4Fields): number {
  return IPV4_HEADER_BYTES + ((fields.options.length + 3) & ~3)
}

/** Byte offset of a fragment's data in its datagram. */
export function fragmentOffsetBytes(fragOff: number): number {
  return (fragOff & IP_OFFSET) << 3
}

/** Reads an IPv4 header; null when short, not version 4, or ihl below 5 or beyond the bytes at hand. */
export function parseIpv4(view: DataView, off: number, len: number): Ipv4Fields | null {
  if (!fits(view, off, len, IPV4_HEADER_BYTES)) return null
  const vihl = view.getUint8(off + IPV4_VIHL)
  const headerBytes = (vihl & 15) << 2
  if (vihl >> 4 !== 4 || headerBytes < IPV4_HEADER_BYTES || !fits(view, off, len, headerBytes)) return null
  return {
    tos: view.getUint8(off + IPV4_TOS),
    totalLength: view.getUint16(off + IPV4_TOTLEN),
    id: view.getUint16(off + IPV4_ID),
    fragOff: view.getUint16(off + IPV4_FRAGOFF),
    ttl: view.getUint8(off + IPV4_TTL),
    protocol: view.getUint8(off + IPV4_PROTOCOL),
    checksum: view.getUint16(off + IPV4_CHECK),
    src: view.getInt32(off + IPV4_SRC),
    dst: view.getInt32(off + IPV4_DST),
    options: bytesOf(view, off + IPV4_HEADER_BYTES, headerBytes - IPV4_HEADER_BYTES).slice(),
  }
}

/** Writes an IPv4 header with `fields.checksum` as it is: see `fillIpv4Checksum`. Options are at most 40 bytes. */
export function emitIpv4(fields: Ipv4Fields, view: DataView, off: number): number {
  const headerBytes = ipv4HeaderBytes(fields)
  view.setUint8(off + IPV4_VIHL, 0x40 | (headerBytes >> 2))
  view.setUint8(off + IPV4_TOS, fields.tos)
  view.setUint16(off + IPV4_TOTLEN, fields.totalLength)
  view.setUint16(off + IPV4_ID, fields.id)
  view.setUint16(off + IPV4_FRAGOFF, fields.fragOff)
  view.setUint8(off + IPV4_TTL, fields.ttl)
  view.setUint8(off + IPV4_PROTOCOL, fields.protocol)
  view.setUint16(off + IPV4_CHECK, fields.checksum)
  view.setInt32(off + IPV4_SRC, fields.src)
  view.setInt32(off + IPV4_DST, fields.dst)
  bytesOf(view, off + IPV4_HEADER_BYTES, headerBytes - IPV4_HEADER_BYTES).fill(0)
  putBytes(view, off + IPV4_HEADER_BYTES, fields.options)
  return headerBytes
}

/** `ip_send_check`: computes and writes the header checksum. */
export function fillIpv4Checksum(view: DataView, off: number): void {
  const headerBytes = (view.getUint8(off + IPV4_VIHL) & 15) << 2
  view.setUint16(off + IPV4_CHECK, 0)
  view.setUint16(off + IPV4_CHECK, internetChecksum(view, off, headerBytes))
}

/** Cuts options into type and data, up to the end-of-list option; null when a length is impossible. */
export function walkIpv4Options(options: Uint8Array): Ipv4Option[] | null {
  const out: Ipv4Option[] = []
  let at = 0
  while (at < options.length) {
    const type = options[at]!
    if (type === 0) break
    if (type === 1) {
      out.push({ type, data: new Uint8Array(0) })
      at++
      continue
    }
    const size = options[at + 1] ?? 0
    if (size < 2 || at + size > options.length) return null
    out.push({ type, data: options.slice(at + 2, at + size) })
    at += size
  }
  return out
}
