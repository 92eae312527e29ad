/**
 * Geneve header with options; `protocol` says what follows (an Ethernet frame: 0x6558).
 *
 *     0    1    2         4              7    8
 *     +v|ol+fl--+- proto -+---- VNI -----+rsvd+ options (ol * 4 bytes) | payload
 *     v: version (2 bits), ol: options length in words (6), fl: O (0x80, control) C (0x40, critical options)
 *     option: class (2) | type (1) | reserved, length in words (1) | data
 *
 * Linux: geneve_udp_encap_recv wants version 0 (drivers/net/geneve.c). NOT here: what options mean.
 * Sources: RFC 8926 3.4 and 3.5.
 */
import { bytesOf, fits, putBytes } from './view.ts'

/** Offset of version and options length. */
export const GENEVE_VER_OPTLEN = 0
/** Offset of the flags. */
export const GENEVE_FLAGS = 1
/** Offset of the protocol type. */
export const GENEVE_PROTOCOL = 2
/** Offset of the VNI (24 bits). */
export const GENEVE_VNI = 4
/** Offset of the reserved last byte. */
export const GENEVE_RESERVED8 = 7
/** Bytes without options. */
export const GENEVE_HEADER_BYTES = 8
/** Flag O: control packet. */
export const GENEVE_FLAG_OAM = 0x80
/** Flag C: critical options present. */
export const GENEVE_FLAG_CRITICAL = 0x40
/** IANA's port. */
export const GENEVE_PORT = 6081

/** The fields of a Geneve header. */
export interface GeneveFields {
  /** GENEVE_FLAG_* with the six reserved bits below them. */
  readonly flags: number
  readonly protocol: number
  readonly vni: number
  readonly reserved8: number
  /** Raw options, a multiple of four bytes, at most 252. */
  readonly options: Uint8Array
}

/** One option. */
export interface GeneveOption {
  readonly optionClass: number
  readonly type: number
  readonly data: Uint8Array
}

/** Reads the header; null when short, of another version, or its options are cut. */
export function parseGeneve(view: DataView, off: number, len: number): GeneveFields | null {
  if (!fits(view, off, len, GENEVE_HEADER_BYTES)) return null
  const first = view.getUint8(off + GENEVE_VER_OPTLEN)
  const optionBytes = (first & 0x3f) << 2
  if (first >> 6 !== 0 || !fits(view, off, len, GENEVE_HEADER_BYTES + optionBytes)) return null
  return {
    flags: view.getUint8(off + GENEVE_FLAGS),
    protocol: view.getUint16(off + GENEVE_PROTOCOL),
    vni: view.getUint32(off + GENEVE_VNI) >>> 8,
    reserved8: view.getUint8(off + GENEVE_RESERVED8),
    options: bytesOf(view, off + GENEVE_HEADER_BYTES, optionBytes).slice(),
  }
}

/** Writes the header with its options. */
export function emitGeneve(fields: GeneveFields, view: DataView, off: number): number {
  view.setUint8(off + GENEVE_VER_OPTLEN, fields.options.length >> 2)
  view.setUint8(off + GENEVE_FLAGS, fields.flags)
  view.setUint16(off + GENEVE_PROTOCOL, fields.protocol)
  view.setUint32(off + GENEVE_VNI, ((fields.vni << 8) | fields.reserved8) >>> 0)
  putBytes(view, off + GENEVE_HEADER_BYTES, fields.options)
  return GENEVE_HEADER_BYTES + fields.options.length
}

/** Cuts raw options; null when a length is impossible. */
export function walkGeneveOptions(options: Uint8Array): GeneveOption[] | null {
  const out: GeneveOption[] = []
  let at = 0
  while (at < options.length) {
    const size = 4 + (((options[at + 3] ?? 0) & 0x1f) << 2)
    if (at + size > options.length) return null
    const optionClass = (options[at]! << 8) | options[at + 1]!
    out.push({ optionClass, type: options[at + 2]!, data: options.slice(at + 4, at + size) })
    at += size
  }
  return out
}
