/**
 * IPv6 fixed header and the walk over its extension headers.
 *
 *     0                   4         6    7    8              24             40
 *     +ver|class|flowlabel+ paylen -+next+hop-+--- src (16) -+--- dst (16) -+
 *     extension: next (1) | length in 8-byte units, first 8 not counted (1) | ...   fragment header: always 8 bytes,
 *     authentication header: length in 4-byte units, first 8 bytes not counted
 *
 * Linux: ip6_rcv_core (version, payload length), ipv6_skip_exthdr (which headers are skipped: hop-by-hop, routing,
 * fragment, authentication, destination options; a later fragment ends the walk). NOT here: jumbograms, what the options
 * say, ESP (ends the walk as an upper protocol).
 * Sources: RFC 8200 3 and 4, RFC 4302 2.2, net/ipv6/exthdrs_core.c.
 */
import type { Ipv6Words } from '../addr/ipv6.ts'
import { readIpv6, writeIpv6 } from './address.ts'
import { fits } from './view.ts'

/** Offset of version, traffic class and flow label. */
export const IPV6_VCF = 0
/** Offset of the payload length. */
export const IPV6_PAYLEN = 4
/** Offset of the next header. */
export const IPV6_NEXT = 6
/** Offset of the hop limit. */
export const IPV6_HOPLIMIT = 7
/** Offset of the source address. */
export const IPV6_SRC = 8
/** Offset of the destination address. */
export const IPV6_DST = 24
/** Bytes of the fixed header. */
export const IPV6_HEADER_BYTES = 40
/** Bytes of the fragment header. */
export const IPV6_FRAGMENT_BYTES = 8

/** Next header: hop-by-hop options. */
export const NEXTHDR_HOP = 0
/** Next header: routing. */
export const NEXTHDR_ROUTING = 43
/** Next header: fragment. */
export const NEXTHDR_FRAGMENT = 44
/** Next header: authentication header. */
export const NEXTHDR_AUTH = 51
/** Next header: nothing follows. */
export const NEXTHDR_NONE = 59
/** Next header: destination options. */
export const NEXTHDR_DEST = 60

/** The fields of the fixed header. */
export interface Ipv6Fields {
  readonly trafficClass: number
  readonly flowLabel: number
  readonly payloadLength: number
  readonly nextHeader: number
  readonly hopLimit: number
  readonly src: Ipv6Words
  readonly dst: Ipv6Words
}

/** The fields of a fragment header. */
export interface Ipv6Fragment {
  readonly offsetBytes: number
  readonly more: boolean
  readonly id: number
}

/** Where the extension headers end. */
export interface Ipv6Walk {
  /** Extension headers met, in order. */
  readonly extensions: readonly { readonly type: number; readonly off: number; readonly bytes: number }[]
  /** The last fragment header met. */
  readonly fragment: Ipv6Fragment | null
  /** Protocol at `off`: an upper protocol, NEXTHDR_NONE, or one of the extensions when it is cut short. */
  readonly protocol: number
  /** Offset of what follows the last extension header. */
  readonly off: number
  /** Whether an announced extension header does not fit. */
  readonly truncated: boolean
}

/** Reads the fixed header; null when short or not version 6. */
export function parseIpv6(view: DataView, off: number, len: number): Ipv6Fields | null {
  if (!fits(view, off, len, IPV6_HEADER_BYTES)) return null
  const vcf = view.getUint32(off + IPV6_VCF)
  if (vcf >>> 28 !== 6) return null
  return {
    trafficClass: (vcf >>> 20) & 0xff,
    flowLabel: vcf & 0xfffff,
    payloadLength: view.getUint16(off + IPV6_PAYLEN),
    nextHeader: view.getUint8(off + IPV6_NEXT),
    hopLimit: view.getUint8(off + IPV6_HOPLIMIT),
    src: readIpv6(view, off + IPV6_SRC),
    dst: readIpv6(view, off + IPV6_DST),
  }
}

/** Writes the fixed header. */
export function emitIpv6(fields: Ipv6Fields, view: DataView, off: number): number {
  view.setUint32(off + IPV6_VCF, ((6 << 28) | (fields.trafficClass << 20) | fields.flowLabel) >>> 0)
  view.setUint16(off + IPV6_PAYLEN, fields.payloadLength)
  view.setUint8(off + IPV6_NEXT, fields.nextHeader)
  view.setUint8(off + IPV6_HOPLIMIT, fields.hopLimit)
  writeIpv6(view, off + IPV6_SRC, fields.src)
  writeIpv6(view, off + IPV6_DST, fields.dst)
  return IPV6_HEADER_BYTES
}

/** Whether `ipv6_ext_hdr` counts the protocol as an extension header that has a successor. */
export function isIpv6Extension(protocol: number): boolean {
  return (
    protocol === NEXTHDR_HOP ||
    protocol === NEXTHDR_ROUTING ||
    protocol === NEXTHDR_FRAGMENT ||
    protocol === NEXTHDR_AUTH ||
    protocol === NEXTHDR_DEST
  )
}

/** Walks the extension headers from `off` (behind the fixed header), `len` bytes at most. */
export function walkIpv6Extensions(view: DataView, off: number, len: number, nextHeader: number): Ipv6Walk {
  const extensions: { type: number; off: number; bytes: number }[] = []
  const end = Math.min(off + len, view.byteLength)
  let protocol = nextHeader
  let fragment: Ipv6Fragment | null = null
  while (isIpv6Extension(protocol)) {
    if (end - off < 8) return { extensions, fragment, protocol, off, truncated: true }
    const units = view.getUint8(off + 1)
    const bytes =
      protocol === NEXTHDR_FRAGMENT
        ? IPV6_FRAGMENT_BYTES
        : protocol === NEXTHDR_AUTH
          ? (units + 2) << 2
          : (units + 1) << 3
    if (end - off < bytes) return { extensions, fragment, protocol, off, truncated: true }
    extensions.push({ type: protocol, off, bytes })
    if (protocol === NEXTHDR_FRAGMENT) fragment = readFragment(view, off)
    protocol = view.getUint8(off)
    off += bytes
    if (fragment !== null && fragment.offsetBytes > 0) break
  }
  return { extensions, fragment, protocol, off, truncated: false }
}

/** Writes a fragment header. */
export function emitIpv6Fragment(fragment: Ipv6Fragment, nextHeader: number, view: DataView, off: number): number {
  view.setUint8(off, nextHeader)
  view.setUint8(off + 1, 0)
  view.setUint16(off + 2, fragment.offsetBytes | (fragment.more ? 1 : 0))
  view.setUint32(off + 4, fragment.id)
  return IPV6_FRAGMENT_BYTES
}

function readFragment(view: DataView, off: number): Ipv6Fragment {
  const word = view.getUint16(off + 2)
  return { offsetBytes: word & 0xfff8, more: (word & 1) !== 0, id: view.getUint32(off + 4) }
}
