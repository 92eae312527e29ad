/**
 * ICMPv6: the 4-byte header with the 4 bytes that follow it in every message, names and checksum.
 *
 *     0    1    2         4                   8
 *     +type+code+- check -+-- rest (4) -------+ payload
 *     rest: echo  id (2) | sequence (2)    packet too big  MTU (4)    parameter problem  pointer (4)
 *           neighbour advertisement  R S O flags (3 bits)    neighbour/router messages: see ndp.ts
 *
 * Linux: icmpv6_rcv, icmp6_send; the checksum covers the IPv6 pseudo header. NOT here: RFC 4884 extension objects, MLDv2
 * records, node information queries.
 * Sources: RFC 4443, RFC 4861 4, RFC 3810, include/uapi/linux/icmpv6.h.
 */
import { internetChecksum } from './checksum.ts'
import { fits } from './view.ts'

/** Offset of the type. */
export const ICMPV6_TYPE = 0
/** Offset of the code. */
export const ICMPV6_CODE = 1
/** Offset of the checksum. */
export const ICMPV6_CHECK = 2
/** Offset of the word whose meaning depends on the type. */
export const ICMPV6_REST = 4
/** Bytes of the header with `rest`. */
export const ICMPV6_HEADER_BYTES = 8

/** Type: dest unreachable. */
export const ICMPV6_DEST_UNREACH = 1
/** Type: packet too big. */
export const ICMPV6_PKT_TOOBIG = 2
/** Type: time exceeded. */
export const ICMPV6_TIME_EXCEED = 3
/** Type: parameter problem. */
export const ICMPV6_PARAMPROB = 4
/** Type: echo request. */
export const ICMPV6_ECHO_REQUEST = 128
/** Type: echo reply. */
export const ICMPV6_ECHO_REPLY = 129
/** Type: router solicitation. */
export const NDISC_ROUTER_SOLICITATION = 133
/** Type: router advertisement. */
export const NDISC_ROUTER_ADVERTISEMENT = 134
/** Type: neighbour solicitation. */
export const NDISC_NEIGHBOUR_SOLICITATION = 135
/** Type: neighbour advertisement. */
export const NDISC_NEIGHBOUR_ADVERTISEMENT = 136
/** Type: redirect. */
export const NDISC_REDIRECT = 137

const TYPE_NAMES: Readonly<Record<number, string>> = {
  [ICMPV6_DEST_UNREACH]: 'destination unreachable',
  [ICMPV6_PKT_TOOBIG]: 'packet too big',
  [ICMPV6_TIME_EXCEED]: 'time exceeded',
  [ICMPV6_PARAMPROB]: 'parameter problem',
  [ICMPV6_ECHO_REQUEST]: 'echo request',
  [ICMPV6_ECHO_REPLY]: 'echo reply',
  130: 'multicast listener query',
  131: 'multicast listener report',
  132: 'multicast listener done',
  [NDISC_ROUTER_SOLICITATION]: 'router solicitation',
  [NDISC_ROUTER_ADVERTISEMENT]: 'router advertisement',
  [NDISC_NEIGHBOUR_SOLICITATION]: 'neighbour solicitation',
  [NDISC_NEIGHBOUR_ADVERTISEMENT]: 'neighbour advertisement',
  [NDISC_REDIRECT]: 'redirect',
  143: 'multicast listener report v2',
  160: 'extended echo request',
  161: 'extended echo reply',
}

/** Per `type << 8 | code`, RFC 4443 words. */
const CODE_NAMES: Readonly<Record<number, string>> = {
  256: 'no route',
  257: 'administratively prohibited',
  258: 'beyond scope of source address',
  259: 'address unreachable',
  260: 'port unreachable',
  261: 'source address failed policy',
  262: 'reject route',
  768: 'hop limit exceeded in transit',
  769: 'fragment reassembly time exceeded',
  1024: 'erroneous header field',
  1025: 'unrecognized next header',
  1026: 'unrecognized option',
}

/** The fields of an ICMPv6 header. */
export interface Icmpv6Fields {
  readonly type: number
  readonly code: number
  readonly checksum: number
  /** Bytes 4 to 7 as one unsigned word; its meaning depends on the type. */
  readonly rest: number
}

/** Reads the header; null when short. */
export function parseIcmpv6(view: DataView, off: number, len: number): Icmpv6Fields | null {
  if (!fits(view, off, len, ICMPV6_HEADER_BYTES)) return null
  return {
    type: view.getUint8(off + ICMPV6_TYPE),
    code: view.getUint8(off + ICMPV6_CODE),
    checksum: view.getUint16(off + ICMPV6_CHECK),
    rest: view.getUint32(off + ICMPV6_REST),
  }
}

/** Writes the header with `fields.checksum` as it is: see `fillIcmpv6Checksum`. */
export function emitIcmpv6(fields: Icmpv6Fields, view: DataView, off: number): number {
  view.setUint8(off + ICMPV6_TYPE, fields.type)
  view.setUint8(off + ICMPV6_CODE, fields.code)
  view.setUint16(off + ICMPV6_CHECK, fields.checksum)
  view.setUint32(off + ICMPV6_REST, fields.rest)
  return ICMPV6_HEADER_BYTES
}

/** Computes and writes the checksum over the message of `len` bytes and the pseudo header's sum. */
export function fillIcmpv6Checksum(view: DataView, off: number, len: number, pseudoSum: number): void {
  view.setUint16(off + ICMPV6_CHECK, 0)
  view.setUint16(off + ICMPV6_CHECK, internetChecksum(view, off, len, pseudoSum))
}

/** Whether the message carries the packet that caused it (types below 128, RFC 4443 2.1). */
export function isIcmpv6Error(type: number): boolean {
  return type >= ICMPV6_DEST_UNREACH && type <= ICMPV6_PARAMPROB
}

/** `port unreachable`, `neighbour solicitation`, ...: the message in words. */
export function icmpv6Name(type: number, code: number): string {
  return CODE_NAMES[(type << 8) | code] ?? TYPE_NAMES[type] ?? `type ${type} code ${code}`
}
