/**
 * SCTP common header and the framing of its chunks.
 *
 *     0         2         4              8              12
 *     +- sport -+- dport -+---- vtag ----+--- CRC32c ---+ chunks
 *     chunk: type (1) | flags (1) | length with these 4 bytes (2) | value, padded to 4
 *
 * Linux: sctp_sm_lookup_event works on what is in chunks; conntrack and kube-proxy read ports and chunk types, which is
 * what is here. NOT here: parameters inside chunks.
 * Sources: RFC 9260 3, include/linux/sctp.h.
 */
import { crc32c } from './crc32c.ts'
import { bytesOf, fits, putBytes } from './view.ts'

/** Offset of the source port. */
export const SCTP_SPORT = 0
/** Offset of the destination port. */
export const SCTP_DPORT = 2
/** Offset of the verification tag. */
export const SCTP_VTAG = 4
/** Offset of the CRC32c. */
export const SCTP_CHECK = 8
/** Bytes of the common header. */
export const SCTP_HEADER_BYTES = 12
/** Bytes of a chunk's header. */
export const SCTP_CHUNK_HEADER_BYTES = 4

const CHUNK_NAMES: Readonly<Record<number, string>> = {
  0: 'DATA',
  1: 'INIT',
  2: 'INIT_ACK',
  3: 'SACK',
  4: 'HEARTBEAT',
  5: 'HEARTBEAT_ACK',
  6: 'ABORT',
  7: 'SHUTDOWN',
  8: 'SHUTDOWN_ACK',
  9: 'ERROR',
  10: 'COOKIE_ECHO',
  11: 'COOKIE_ACK',
  12: 'ECNE',
  13: 'CWR',
  14: 'SHUTDOWN_COMPLETE',
}

/** The fields of the common header. */
export interface SctpFields {
  readonly sport: number
  readonly dport: number
  readonly vtag: number
  /** The CRC32c value (on the wire least significant byte first). */
  readonly checksum: number
}

/** One chunk, value without padding. */
export interface SctpChunk {
  readonly type: number
  readonly flags: number
  readonly value: Uint8Array
}

/** Reads the common header; null when short. */
export function parseSctp(view: DataView, off: number, len: number): SctpFields | null {
  if (!fits(view, off, len, SCTP_HEADER_BYTES)) return null
  return {
    sport: view.getUint16(off + SCTP_SPORT),
    dport: view.getUint16(off + SCTP_DPORT),
    vtag: view.getUint32(off + SCTP_VTAG),
    checksum: view.getUint32(off + SCTP_CHECK, true),
  }
}

/** Writes the common header with `fields.checksum` as it is: see `fillSctpChecksum`. */
export function emitSctp(fields: SctpFields, view: DataView, off: number): number {
  view.setUint16(off + SCTP_SPORT, fields.sport)
  view.setUint16(off + SCTP_DPORT, fields.dport)
  view.setUint32(off + SCTP_VTAG, fields.vtag)
  view.setUint32(off + SCTP_CHECK, fields.checksum, true)
  return SCTP_HEADER_BYTES
}

/** `sctp_compute_cksum`: the CRC32c of a packet of `len` bytes with its checksum field taken as zero. */
export function sctpChecksum(view: DataView, off: number, len: number): number {
  return crc32c(view, off, len, off + SCTP_CHECK)
}

/** Computes and writes the checksum. */
export function fillSctpChecksum(view: DataView, off: number, len: number): void {
  view.setUint32(off + SCTP_CHECK, sctpChecksum(view, off, len), true)
}

/** Cuts the chunks behind the common header; null when a length is impossible. The last chunk may lack its padding. */
export function parseSctpChunks(view: DataView, off: number, len: number): SctpChunk[] | null {
  const out: SctpChunk[] = []
  const end = Math.min(off + len, view.byteLength)
  let at = off
  while (at < end) {
    if (end - at < SCTP_CHUNK_HEADER_BYTES) return null
    const size = view.getUint16(at + 2)
    if (size < SCTP_CHUNK_HEADER_BYTES || at + size > end) return null
    const value = bytesOf(view, at + SCTP_CHUNK_HEADER_BYTES, size - SCTP_CHUNK_HEADER_BYTES).slice()
    out.push({ type: view.getUint8(at), flags: view.getUint8(at + 1), value })
    at += (size + 3) & ~3
  }
  return out
}

/** Writes chunks, each padded with zeros to a multiple of four; the length. */
export function emitSctpChunks(chunks: readonly SctpChunk[], view: DataView, off: number): number {
  let at = off
  for (const chunk of chunks) {
    const size = SCTP_CHUNK_HEADER_BYTES + chunk.value.length
    bytesOf(view, at, (size + 3) & ~3).fill(0)
    view.setUint8(at, chunk.type)
    view.setUint8(at + 1, chunk.flags)
    view.setUint16(at + 2, size)
    putBytes(view, at + SCTP_CHUNK_HEADER_BYTES, chunk.value)
    at += (size + 3) & ~3
  }
  return at - off
}

/** `INIT`, `COOKIE_ECHO`, ...: the chunk type in RFC words. */
export function sctpChunkName(type: number): string {
  return CHUNK_NAMES[type] ?? `chunk ${type}`
}
