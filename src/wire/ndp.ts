/**
 * Neighbour Discovery bodies: what follows the ICMPv6 header's `rest` in types 133 to 137, and their options.
 *
 *     0                   8                   24
 *     +- ICMPv6 header ---+-- target (16) ----+ options        neighbour solicitation, advertisement
 *     +- ICMPv6 header ---+ options                            router solicitation
 *     +- ICMPv6 header ---+ reachable (4) | retrans (4) | options   router advertisement
 *     +- ICMPv6 header ---+-- target (16) ----+-- dst (16) ---+ options       redirect
 *     option: type (1) | length in 8-byte units (1) | data
 *
 * Linux: ndisc_recv_ns, ndisc_parse_options (net/ipv6/ndisc.c): a zero length ends parsing as an error.
 * NOT here: what prefix information, MTU, RDNSS say (data stays raw), SEND.
 * Sources: RFC 4861 4.
 */
import type { Ipv6Words } from '../addr/ipv6.ts'
import type { Mac } from '../addr/mac.ts'
import { readIpv6, readMac, writeIpv6, writeMac } from './address.ts'
import {
  ICMPV6_HEADER_BYTES,
  NDISC_NEIGHBOUR_ADVERTISEMENT,
  NDISC_NEIGHBOUR_SOLICITATION,
  NDISC_REDIRECT,
  NDISC_ROUTER_ADVERTISEMENT,
  NDISC_ROUTER_SOLICITATION,
} from './icmpv6.ts'
import { bytesOf, fits, putBytes, viewOf } from './view.ts'

/** Offset of the target from the ICMPv6 header's start. */
export const NDP_TARGET = 8
/** Bytes of a neighbour solicitation or advertisement without options, ICMPv6 header included. */
export const NDP_HEADER_BYTES = 24

/** Option: source link-layer address. */
export const ND_OPT_SOURCE_LL_ADDR = 1
/** Option: target link-layer address. */
export const ND_OPT_TARGET_LL_ADDR = 2
/** Neighbour advertisement flag, in `rest`: router. */
export const NA_ROUTER = 0x80000000
/** Neighbour advertisement flag, in `rest`: solicited. */
export const NA_SOLICITED = 0x40000000
/** Neighbour advertisement flag, in `rest`: override. */
export const NA_OVERRIDE = 0x20000000

/** One option, data without type and length. */
export interface NdpOption {
  readonly type: number
  readonly data: Uint8Array
}

/** The body of a Neighbour Discovery message. */
export interface NdpFields {
  /** Target of NS, NA and redirect; null in router messages. */
  readonly target: Ipv6Words | null
  /** Destination of a redirect, else null. */
  readonly dst: Ipv6Words | null
  /** Reachable time and retransmission timer of a router advertisement in ms, else null. */
  readonly timersMs: readonly [number, number] | null
  /** Options; data is padded to 8n - 2 bytes when written. */
  readonly options: readonly NdpOption[]
}

/** Reads the body of the message whose ICMPv6 header is at `off`; null when short, no NDP type, or a bad option. */
export function parseNdp(view: DataView, off: number, len: number): NdpFields | null {
  if (!fits(view, off, len, ICMPV6_HEADER_BYTES)) return null
  const type = view.getUint8(off)
  const start = bodyBytes(type)
  if (start < 0 || !fits(view, off, len, start)) return null
  const options = parseNdpOptions(bytesOf(view, off + start, len - start))
  if (options === null) return null
  const hasTarget = type >= NDISC_NEIGHBOUR_SOLICITATION
  return {
    target: hasTarget ? readIpv6(view, off + NDP_TARGET) : null,
    dst: type === NDISC_REDIRECT ? readIpv6(view, off + 24) : null,
    timersMs: type === NDISC_ROUTER_ADVERTISEMENT ? [view.getUint32(off + 8), view.getUint32(off + 12)] : null,
    options,
  }
}

/** Writes the body behind an ICMPv6 header at `off`; the length of the whole message. */
export function emitNdp(fields: NdpFields, view: DataView, off: number): number {
  let at = ICMPV6_HEADER_BYTES
  if (fields.target !== null) {
    writeIpv6(view, off + at, fields.target)
    at += 16
  }
  if (fields.dst !== null) {
    writeIpv6(view, off + at, fields.dst)
    at += 16
  }
  if (fields.timersMs !== null) {
    view.setUint32(off + at, fields.timersMs[0])
    view.setUint32(off + at + 4, fields.timersMs[1])
    at += 8
  }
  for (const option of fields.options) {
    const units = (option.data.length + 2 + 7) >> 3
    bytesOf(view, off + at, units << 3).fill(0)
    view.setUint8(off + at, option.type)
    view.setUint8(off + at + 1, units)
    putBytes(view, off + at + 2, option.data)
    at += units << 3
  }
  return at
}

/** The link-layer address option of a type, null when there is none. */
export function ndpLinkAddr(fields: NdpFields, type: number): Mac | null {
  const option = fields.options.find((o) => o.type === type && o.data.length >= 6)
  return option === undefined ? null : readMac(viewOf(option.data), 0)
}

/** A link-layer address option. */
export function ndpLinkAddrOption(type: number, mac: Mac): NdpOption {
  const data = new Uint8Array(6)
  writeMac(viewOf(data), 0, mac)
  return { type, data }
}

function bodyBytes(type: number): number {
  if (type === NDISC_ROUTER_SOLICITATION) return 8
  if (type === NDISC_ROUTER_ADVERTISEMENT) return 16
  if (type === NDISC_NEIGHBOUR_SOLICITATION || type === NDISC_NEIGHBOUR_ADVERTISEMENT) return NDP_HEADER_BYTES
  return type === NDISC_REDIRECT ? 40 : -1
}

function parseNdpOptions(bytes: Uint8Array): NdpOption[] | null {
  const out: NdpOption[] = []
  let at = 0
  while (at < bytes.length) {
    const size = (bytes[at + 1] ?? 0) << 3
    if (size === 0 || at + size > bytes.length) return null
    out.push({ type: bytes[at]!, data: bytes.slice(at + 2, at + size) })
    at += size
  }
  return out
}
