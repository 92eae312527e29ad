/**
 * BGP-4: messages in a stream of bytes.
 *
 *     0            16       18     19
 *     marker (ff)  | length | type | body
 *
 * Decoding never throws: what ends a session comes back as the NOTIFICATION to send. Faults of attributes that a session
 * survives are listed in the UPDATE (RFC 7606). NOT here: BGP over anything but unicast IPv4 and IPv6.
 * Sources: RFC 4271 4 and 6, RFC 2918, RFC 7313, RFC 8654.
 */
import {
  AFI_IPV4,
  BGP_HEADER_BYTES,
  BGP_MAX_BYTES,
  BGP_MAX_EXTENDED_BYTES,
  ERR_HEADER,
  ERR_ROUTE_REFRESH,
  MSG_KEEPALIVE,
  MSG_NOTIFICATION,
  MSG_OPEN,
  MSG_ROUTE_REFRESH,
  MSG_UPDATE,
  uint16Bytes,
} from './bgp-const.ts'
import { emitOpen, parseOpen } from './bgp-open.ts'
import type { BgpMessage, BgpProtocolError, CodecContext } from './bgp-types.ts'
import { emitUpdate, parseUpdate } from './bgp-update.ts'
import { bytesOf, viewOf } from './view.ts'

export * from './bgp-const.ts'
export * from './bgp-types.ts'

const MARKER_BYTES = 16
/** Shortest length by message type. */
const MIN_BYTES = [19, 29, 23, 21, 19, 23]

function error(code: number, subcode: number, data: Uint8Array = new Uint8Array(0)): BgpProtocolError {
  return { type: 'ERROR', code, subcode, data }
}

/** Checks a header: the message's length, or what is wrong with it. 19 bytes must be there. */
export function messageLength(view: DataView, off: number, ctx: CodecContext): number | BgpProtocolError {
  for (let i = 0; i < MARKER_BYTES; i += 4) if (view.getInt32(off + i) !== -1) return error(ERR_HEADER, 1)
  const length = view.getUint16(off + 16)
  const type = view.getUint8(off + 18)
  // RFC 8654 4: OPEN and KEEPALIVE keep the old limit
  const isLong = ctx.extendedMessage && type !== MSG_OPEN && type !== MSG_KEEPALIVE
  if (length < BGP_HEADER_BYTES || length > (isLong ? BGP_MAX_EXTENDED_BYTES : BGP_MAX_BYTES)) {
    return error(ERR_HEADER, 2, uint16Bytes(length))
  }
  const min = MIN_BYTES[type]
  if (min === undefined || type === 0) return error(ERR_HEADER, 3, Uint8Array.of(type))
  if (type === MSG_ROUTE_REFRESH) return length
  if (length < min || (type === MSG_KEEPALIVE && length !== min)) return error(ERR_HEADER, 2, uint16Bytes(length))
  return length
}

/** Reads one whole message of `length` bytes at `off` (messageLength said so). */
export function decodeMessage(
  view: DataView,
  off: number,
  length: number,
  ctx: CodecContext,
): BgpMessage | BgpProtocolError {
  const body = off + BGP_HEADER_BYTES
  const end = off + length
  switch (view.getUint8(off + 18)) {
    case MSG_OPEN:
      return parseOpen(view, body, end)
    case MSG_UPDATE:
      return parseUpdate(view, body, end, ctx)
    case MSG_NOTIFICATION:
      return {
        type: 'NOTIFICATION',
        code: view.getUint8(body),
        subcode: view.getUint8(body + 1),
        data: bytesOf(view, body + 2, end - body - 2).slice(),
      }
    case MSG_KEEPALIVE:
      return { type: 'KEEPALIVE' }
    default:
      // RFC 7313 5: a wrong length has an error of its own
      if (length !== BGP_HEADER_BYTES + 4) {
        return error(ERR_ROUTE_REFRESH, 1, bytesOf(view, off, Math.min(length, view.byteLength - off)).slice())
      }
      return {
        type: 'ROUTE-REFRESH',
        afi: view.getUint16(body),
        subtype: view.getUint8(body + 2),
        safi: view.getUint8(body + 3),
      }
  }
}

const TYPES = {
  OPEN: MSG_OPEN,
  UPDATE: MSG_UPDATE,
  NOTIFICATION: MSG_NOTIFICATION,
  KEEPALIVE: MSG_KEEPALIVE,
  'ROUTE-REFRESH': MSG_ROUTE_REFRESH,
} as const

function bodyOf(m: BgpMessage, ctx: CodecContext): Uint8Array {
  switch (m.type) {
    case 'OPEN':
      return emitOpen(m)
    case 'UPDATE':
      return emitUpdate(m, ctx)
    case 'NOTIFICATION':
      return Uint8Array.of(m.code, m.subcode, ...m.data)
    case 'KEEPALIVE':
      return new Uint8Array(0)
    case 'ROUTE-REFRESH':
      return Uint8Array.of(m.afi >>> 8, m.afi & 255, m.subtype, m.safi)
  }
}

/**
 * A message as bytes.
 * @throws Error when it does not fit into one message: the caller splits its lists (nlriPerUpdate)
 */
export function encodeMessage(m: BgpMessage, ctx: CodecContext): Uint8Array {
  const body = bodyOf(m, ctx)
  const length = BGP_HEADER_BYTES + body.length
  const max = ctx.extendedMessage ? BGP_MAX_EXTENDED_BYTES : BGP_MAX_BYTES
  if (length > max) throw new Error(`a ${m.type} of ${length} bytes does not fit into ${max}`)
  const out = new Uint8Array(length)
  out.fill(0xff, 0, MARKER_BYTES)
  out[16] = length >>> 8
  out[17] = length & 255
  out[18] = TYPES[m.type]
  out.set(body, BGP_HEADER_BYTES)
  return out
}

/** Cuts a stream of bytes into messages; the context may change between two (after the OPENs). */
export class BgpStream {
  private buffer = new Uint8Array(0)

  /** Adds what was received. */
  push(bytes: Uint8Array): void {
    if (this.buffer.length === 0) {
      this.buffer = bytes.slice()
      return
    }
    const joined = new Uint8Array(this.buffer.length + bytes.length)
    joined.set(this.buffer)
    joined.set(bytes, this.buffer.length)
    this.buffer = joined
  }

  /** The next message, an error, or null when more bytes are needed. */
  next(ctx: CodecContext): BgpMessage | BgpProtocolError | null {
    if (this.buffer.length < BGP_HEADER_BYTES) return null
    const view = viewOf(this.buffer)
    const length = messageLength(view, 0, ctx)
    if (typeof length !== 'number') return length
    if (this.buffer.length < length) return null
    const message = decodeMessage(view, 0, length, ctx)
    this.buffer = this.buffer.subarray(length)
    return message
  }
}

/** AFI of a family. */
export function afiOf(family: 'ipv4' | 'ipv6'): number {
  return family === 'ipv4' ? AFI_IPV4 : AFI_IPV4 + 1
}
