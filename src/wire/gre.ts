/**
 * GRE header (version 0) with optional checksum, key and sequence number.
 *
 *     0         2         4          ...
 *     +C.KS.ver-+- proto -+ checksum (2), reserved1 (2) if C | key (4) if K | sequence (4) if S | payload
 *
 * Linux: gre_parse_header (net/ipv4/gre_demux.c) refuses other versions and the routing bit, as here.
 * NOT here: version 1 (PPTP), ERSPAN.
 * Sources: RFC 2784, RFC 2890.
 */
import { fits } from './view.ts'

/** Offset of flags and version. */
export const GRE_FLAGS = 0
/** Offset of the protocol type. */
export const GRE_PROTOCOL = 2
/** Bytes without optional fields. */
export const GRE_HEADER_BYTES = 4

const GRE_CSUM = 0x8000
const GRE_ROUTING = 0x4000
const GRE_KEY = 0x2000
const GRE_SEQ = 0x1000
const GRE_VERSION = 0x0007

/** The fields of a GRE header; an optional one that is absent is null. */
export interface GreFields {
  readonly protocol: number
  readonly checksum: number | null
  readonly key: number | null
  readonly seq: number | null
}

/** Bytes that the header takes with its optional fields. */
export function greHeaderBytes(fields: GreFields): number {
  const present = [fields.checksum, fields.key, fields.seq].filter((f) => f !== null).length
  return GRE_HEADER_BYTES + 4 * present
}

/** Reads the header; null when short, not version 0, or with source routing. */
export function parseGre(view: DataView, off: number, len: number): GreFields | null {
  if (!fits(view, off, len, GRE_HEADER_BYTES)) return null
  const flags = view.getUint16(off + GRE_FLAGS)
  if (flags & (GRE_VERSION | GRE_ROUTING)) return null
  const words = (flags & GRE_CSUM ? 1 : 0) + (flags & GRE_KEY ? 1 : 0) + (flags & GRE_SEQ ? 1 : 0)
  if (!fits(view, off, len, GRE_HEADER_BYTES + 4 * words)) return null
  let at = off + GRE_HEADER_BYTES
  const word = (flag: number): number | null => {
    if (!(flags & flag)) return null
    at += 4
    return view.getUint32(at - 4)
  }
  const checksum = word(GRE_CSUM)
  const key = word(GRE_KEY)
  const seq = word(GRE_SEQ)
  return {
    protocol: view.getUint16(off + GRE_PROTOCOL),
    checksum: checksum === null ? null : checksum >>> 16,
    key,
    seq,
  }
}

/** Writes the header with `fields.checksum` as it is; the checksum covers header and payload. */
export function emitGre(fields: GreFields, view: DataView, off: number): number {
  const flags =
    (fields.checksum === null ? 0 : GRE_CSUM) |
    (fields.key === null ? 0 : GRE_KEY) |
    (fields.seq === null ? 0 : GRE_SEQ)
  view.setUint16(off + GRE_FLAGS, flags)
  view.setUint16(off + GRE_PROTOCOL, fields.protocol)
  let at = off + GRE_HEADER_BYTES
  const words = [fields.checksum === null ? null : fields.checksum * 0x10000, fields.key, fields.seq]
  for (const word of words) {
    if (word === null) continue
    view.setUint32(at, word)
    at += 4
  }
  return at - off
}
