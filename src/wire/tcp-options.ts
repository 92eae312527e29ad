/**
 * TCP options: MSS, window scale, SACK permitted, SACK, timestamps, NOP, end of list; others by number.
 *
 *     kind (1)                                end of list (0), NOP (1)
 *     kind (1) | length (1) | data (length-2)  all others
 *
 * Linux: tcp_parse_options: stops silently at a bad length; here the rest is kept as one `malformed` option, so that what
 * was read can be written back byte for byte. Everything behind an end of list is its padding.
 * Sources: RFC 9293 3.1, RFC 7323, RFC 2018, include/net/tcp.h (TCPOPT_*).
 */
import { bytesOf, putBytes, viewOf } from './view.ts'

/** Option kind: end of list. */
export const TCPOPT_EOL = 0
/** Option kind: no operation. */
export const TCPOPT_NOP = 1
/** Option kind: maximum segment size. */
export const TCPOPT_MSS = 2
/** Option kind: window scale. */
export const TCPOPT_WINDOW = 3
/** Option kind: SACK permitted. */
export const TCPOPT_SACK_PERM = 4
/** Option kind: SACK. */
export const TCPOPT_SACK = 5
/** Option kind: timestamps. */
export const TCPOPT_TIMESTAMP = 8

/** One TCP option. */
export type TcpOption =
  | { readonly kind: 'nop' }
  | { readonly kind: 'eol'; readonly padding: Uint8Array }
  | { readonly kind: 'mss'; readonly mssBytes: number }
  | { readonly kind: 'wscale'; readonly shift: number }
  | { readonly kind: 'sackOK' }
  | { readonly kind: 'sack'; readonly blocks: readonly (readonly [number, number])[] }
  | { readonly kind: 'timestamps'; readonly value: number; readonly echo: number }
  | { readonly kind: 'unknown'; readonly number: number; readonly data: Uint8Array }
  | { readonly kind: 'malformed'; readonly data: Uint8Array }

/** Reads `len` bytes of options at `off`; never null, what cannot be cut becomes `malformed`. */
export function parseTcpOptions(view: DataView, off: number, len: number): TcpOption[] {
  const bytes = bytesOf(view, off, len)
  const out: TcpOption[] = []
  let at = 0
  while (at < bytes.length) {
    const number = bytes[at]!
    if (number === TCPOPT_EOL) {
      out.push({ kind: 'eol', padding: bytes.slice(at + 1) })
      break
    }
    if (number === TCPOPT_NOP) {
      out.push({ kind: 'nop' })
      at++
      continue
    }
    const size = bytes[at + 1] ?? 0
    if (size < 2 || at + size > bytes.length) {
      out.push({ kind: 'malformed', data: bytes.slice(at) })
      break
    }
    out.push(readOption(number, bytes.slice(at + 2, at + size)))
    at += size
  }
  return out
}

/** Writes options without padding; the length. */
export function emitTcpOptions(options: readonly TcpOption[], view: DataView, off: number): number {
  let at = off
  for (const option of options) at += emitOption(option, view, at)
  return at - off
}

/** Bytes that `emitTcpOptions` will write. */
export function tcpOptionsBytes(options: readonly TcpOption[]): number {
  return options.reduce((sum, option) => sum + optionBytes(option), 0)
}

/** Options as raw bytes padded with end-of-list to a multiple of four, as `TcpFields.options` wants them. */
export function packTcpOptions(options: readonly TcpOption[]): Uint8Array {
  const bytes = new Uint8Array((tcpOptionsBytes(options) + 3) & ~3)
  emitTcpOptions(options, viewOf(bytes), 0)
  return bytes
}

function readOption(number: number, data: Uint8Array): TcpOption {
  const view = viewOf(data)
  const size = data.length
  if (number === TCPOPT_MSS && size === 2) return { kind: 'mss', mssBytes: view.getUint16(0) }
  if (number === TCPOPT_WINDOW && size === 1) return { kind: 'wscale', shift: view.getUint8(0) }
  if (number === TCPOPT_SACK_PERM && size === 0) return { kind: 'sackOK' }
  if (number === TCPOPT_TIMESTAMP && size === 8) {
    return { kind: 'timestamps', value: view.getUint32(0), echo: view.getUint32(4) }
  }
  if (number === TCPOPT_SACK && size > 0 && size % 8 === 0) {
    const blocks: [number, number][] = []
    for (let i = 0; i < size; i += 8) blocks.push([view.getUint32(i), view.getUint32(i + 4)])
    return { kind: 'sack', blocks }
  }
  return { kind: 'unknown', number, data }
}

function optionBytes(option: TcpOption): number {
  switch (option.kind) {
    case 'nop':
      return 1
    case 'eol':
      return 1 + option.padding.length
    case 'mss':
      return 4
    case 'wscale':
      return 3
    case 'sackOK':
      return 2
    case 'sack':
      return 2 + 8 * option.blocks.length
    case 'timestamps':
      return 10
    case 'unknown':
      return 2 + option.data.length
    case 'malformed':
      return option.data.length
  }
}

function emitOption(option: TcpOption, view: DataView, at: number): number {
  const size = optionBytes(option)
  const head = (number: number): void => {
    view.setUint8(at, number)
    view.setUint8(at + 1, size)
  }
  switch (option.kind) {
    case 'nop':
      view.setUint8(at, TCPOPT_NOP)
      break
    case 'eol':
      view.setUint8(at, TCPOPT_EOL)
      putBytes(view, at + 1, option.padding)
      break
    case 'mss':
      head(TCPOPT_MSS)
      view.setUint16(at + 2, option.mssBytes)
      break
    case 'wscale':
      head(TCPOPT_WINDOW)
      view.setUint8(at + 2, option.shift)
      break
    case 'sackOK':
      head(TCPOPT_SACK_PERM)
      break
    case 'sack':
      head(TCPOPT_SACK)
      for (const [i, [start, end]] of option.blocks.entries()) {
        view.setUint32(at + 2 + 8 * i, start)
        view.setUint32(at + 6 + 8 * i, end)
      }
      break
    case 'timestamps':
      head(TCPOPT_TIMESTAMP)
      view.setUint32(at + 2, option.value)
      view.setUint32(at + 6, option.echo)
      break
    case 'unknown':
      head(option.number)
      putBytes(view, at + 2, option.data)
      break
    case 'malformed':
      putBytes(view, at, option.data)
      break
  }
  return size
}
