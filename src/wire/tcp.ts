/**
 * TCP header; its options are raw bytes here and have their codec in tcp-options.ts.
 *
 *     0         2         4              8              12        14        16        18        20
 *     +- sport -+- dport -+---- seq -----+---- ack -----+ off|flg +- window +- check -+- urgent +- options ...
 *     off|flg = data offset in words (4 bits) | reserved (3) | AE CWR ECE URG ACK PSH RST SYN FIN
 *
 * Linux: tcp_v4_rcv's first checks (doff < 5, header beyond the segment) decide null here.
 * Sources: RFC 9293 3.1, RFC 3168, RFC 9768 (AE), include/uapi/linux/tcp.h.
 */
import { internetChecksum } from './checksum.ts'
import { bytesOf, fits, putBytes } from './view.ts'

/** Offset of the source port. */
export const TCP_SPORT = 0
/** Offset of the destination port. */
export const TCP_DPORT = 2
/** Offset of the sequence number. */
export const TCP_SEQ = 4
/** Offset of the acknowledgment number. */
export const TCP_ACK_SEQ = 8
/** Offset of data offset and flags. */
export const TCP_DOFF = 12
/** Offset of the lower eight flags. */
export const TCP_FLAGS = 13
/** Offset of the window. */
export const TCP_WINDOW = 14
/** Offset of the checksum. */
export const TCP_CHECK = 16
/** Offset of the urgent pointer. */
export const TCP_URGENT = 18
/** Bytes without options. */
export const TCP_HEADER_BYTES = 20

/** Flag FIN. */
export const TCPHDR_FIN = 0x01
/** Flag SYN. */
export const TCPHDR_SYN = 0x02
/** Flag RST. */
export const TCPHDR_RST = 0x04
/** Flag PSH. */
export const TCPHDR_PSH = 0x08
/** Flag ACK. */
export const TCPHDR_ACK = 0x10
/** Flag URG. */
export const TCPHDR_URG = 0x20
/** Flag ECE. */
export const TCPHDR_ECE = 0x40
/** Flag CWR. */
export const TCPHDR_CWR = 0x80
/** Flag AE. */
export const TCPHDR_AE = 0x100

/** Letters of the flags, lowest bit first, as tcpdump and the kernel lab write them. */
export const TCP_FLAG_LETTERS = 'FSRPAUECN'

/** The fields of a TCP header. */
export interface TcpFields {
  readonly sport: number
  readonly dport: number
  /** Unsigned. */
  readonly seq: number
  /** Unsigned. */
  readonly ack: number
  /** TCPHDR_* bits, with the three reserved bits above them. */
  readonly flags: number
  readonly window: number
  readonly checksum: number
  readonly urgent: number
  /** Raw options; `emitTcp` pads them with zeros to a multiple of four. */
  readonly options: Uint8Array
}

/** Bytes that the header takes with its options. */
export function tcpHeaderBytes(fields: TcpFields): number {
  return TCP_HEADER_BYTES + ((fields.options.length + 3) & ~3)
}

/** Reads a TCP header; null when short, or the data offset below 5 or beyond the bytes at hand. */
export function parseTcp(view: DataView, off: number, len: number): TcpFields | null {
  if (!fits(view, off, len, TCP_HEADER_BYTES)) return null
  const word = view.getUint16(off + TCP_DOFF)
  const headerBytes = (word >> 12) << 2
  if (headerBytes < TCP_HEADER_BYTES || !fits(view, off, len, headerBytes)) return null
  return {
    sport: view.getUint16(off + TCP_SPORT),
    dport: view.getUint16(off + TCP_DPORT),
    seq: view.getUint32(off + TCP_SEQ),
    ack: view.getUint32(off + TCP_ACK_SEQ),
    flags: word & 0xfff,
    window: view.getUint16(off + TCP_WINDOW),
    checksum: view.getUint16(off + TCP_CHECK),
    urgent: view.getUint16(off + TCP_URGENT),
    options: bytesOf(view, off + TCP_HEADER_BYTES, headerBytes - TCP_HEADER_BYTES).slice(),
  }
}

/** Writes a TCP header with `fields.checksum` as it is: see `fillTcpChecksum`. Options are at most 40 bytes. */
export function emitTcp(fields: TcpFields, view: DataView, off: number): number {
  const headerBytes = tcpHeaderBytes(fields)
  view.setUint16(off + TCP_SPORT, fields.sport)
  view.setUint16(off + TCP_DPORT, fields.dport)
  view.setUint32(off + TCP_SEQ, fields.seq)
  view.setUint32(off + TCP_ACK_SEQ, fields.ack)
  view.setUint16(off + TCP_DOFF, ((headerBytes >> 2) << 12) | fields.flags)
  view.setUint16(off + TCP_WINDOW, fields.window)
  view.setUint16(off + TCP_CHECK, fields.checksum)
  view.setUint16(off + TCP_URGENT, fields.urgent)
  bytesOf(view, off + TCP_HEADER_BYTES, headerBytes - TCP_HEADER_BYTES).fill(0)
  putBytes(view, off + TCP_HEADER_BYTES, fields.options)
  return headerBytes
}

/** Computes and writes the checksum over the segment of `len` bytes and the pseudo header's sum. */
export function fillTcpChecksum(view: DataView, off: number, len: number, pseudoSum: number): void {
  view.setUint16(off + TCP_CHECK, 0)
  view.setUint16(off + TCP_CHECK, internetChecksum(view, off, len, pseudoSum))
}

/** `SA`, `FA`, ...: the flags as letters, lowest bit first. */
export function tcpFlagLetters(flags: number): string {
  return [...TCP_FLAG_LETTERS].filter((_, bit) => (flags >> bit) & 1).join('')
}
