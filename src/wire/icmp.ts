/**
 * ICMP for IPv4: the 8-byte header of every message that Linux sends or understands, timestamps, and names.
 *
 *     0    1    2         4                   8
 *     +type+code+- check -+-- rest (4) -------+ payload
 *     rest: echo, timestamp  id (2) | sequence (2)          redirect  gateway (4)
 *           frag. needed     0 (2) | next-hop MTU (2)        parameter problem  pointer (1) | 0 (3)
 *
 * Linux: icmp_send builds 3, 5, 11, 12 with the offending packet behind the header; icmp_echo, icmp_timestamp answer 8 and
 * 13 (and 42, extended echo). NOT here: RFC 4884 extension objects, the data of extended echo.
 * Sources: RFC 792, RFC 1191, RFC 1812 5.2.7, include/uapi/linux/icmp.h.
 */
import { internetChecksum } from './checksum.ts'
import { fits } from './view.ts'

/** Offset of the type. */
export const ICMP_TYPE = 0
/** Offset of the code. */
export const ICMP_CODE = 1
/** Offset of the checksum. */
export const ICMP_CHECK = 2
/** Offset of the word whose meaning depends on the type. */
export const ICMP_REST = 4
/** Bytes of the header. */
export const ICMP_HEADER_BYTES = 8
/** Bytes of a timestamp message: the header and three 32-bit times. */
export const ICMP_TIMESTAMP_BYTES = 20

/** Type: echo reply. */
export const ICMP_ECHOREPLY = 0
/** Type: dest unreachable. */
export const ICMP_DEST_UNREACH = 3
/** Type: source quench. */
export const ICMP_SOURCE_QUENCH = 4
/** Type: redirect. */
export const ICMP_REDIRECT = 5
/** Type: echo. */
export const ICMP_ECHO = 8
/** Type: time exceeded. */
export const ICMP_TIME_EXCEEDED = 11
/** Type: parameter problem. */
export const ICMP_PARAMETERPROB = 12
/** Type: timestamp. */
export const ICMP_TIMESTAMP = 13
/** Type: timestamp reply. */
export const ICMP_TIMESTAMPREPLY = 14
/** Code of ICMP_DEST_UNREACH that carries an MTU. */
export const ICMP_FRAG_NEEDED = 4

const TYPE_NAMES: Readonly<Record<number, string>> = {
  [ICMP_ECHOREPLY]: 'echo reply',
  [ICMP_DEST_UNREACH]: 'destination unreachable',
  [ICMP_SOURCE_QUENCH]: 'source quench',
  [ICMP_REDIRECT]: 'redirect',
  [ICMP_ECHO]: 'echo request',
  9: 'router advertisement',
  10: 'router solicitation',
  [ICMP_TIME_EXCEEDED]: 'time exceeded',
  [ICMP_PARAMETERPROB]: 'parameter problem',
  [ICMP_TIMESTAMP]: 'timestamp request',
  [ICMP_TIMESTAMPREPLY]: 'timestamp reply',
  15: 'information request',
  16: 'information reply',
  17: 'address mask request',
  18: 'address mask reply',
  42: 'extended echo request',
  43: 'extended echo reply',
}

/** Sentences per `type << 8 | code` of the messages whose code says more, RFC 1812 words. */
const CODE_NAMES: Readonly<Record<number, string>> = {
  768: 'net unreachable',
  769: 'host unreachable',
  770: 'protocol unreachable',
  771: 'port unreachable',
  772: 'fragmentation needed',
  773: 'source route failed',
  774: 'net unknown',
  775: 'host unknown',
  776: 'host isolated',
  777: 'net prohibited',
  778: 'host prohibited',
  779: 'net unreachable for TOS',
  780: 'host unreachable for TOS',
  781: 'administratively prohibited',
  782: 'host precedence violation',
  783: 'precedence cutoff',
  1280: 'redirect for net',
  1281: 'redirect for host',
  1282: 'redirect for TOS and net',
  1283: 'redirect for TOS and host',
  2816: 'TTL exceeded in transit',
  2817: 'fragment reassembly time exceeded',
}

/** The fields of an ICMP header. */
export interface IcmpFields {
  readonly type: number
  readonly code: number
  readonly checksum: number
  /** Bytes 4 to 7 as one unsigned word; its meaning depends on the type. */
  readonly rest: number
}

/** The three times of ICMP_TIMESTAMP and ICMP_TIMESTAMPREPLY, milliseconds since midnight UT. */
export interface IcmpTimestamps {
  readonly originate: number
  readonly receive: number
  readonly transmit: number
}

/** Reads the header; null when short. */
export function parseIcmp(view: DataView, off: number, len: number): IcmpFields | null {
  if (!fits(view, off, len, ICMP_HEADER_BYTES)) return null
  return {
    type: view.getUint8(off + ICMP_TYPE),
    code: view.getUint8(off + ICMP_CODE),
    checksum: view.getUint16(off + ICMP_CHECK),
    rest: view.getUint32(off + ICMP_REST),
  }
}

/** Writes the header with `fields.checksum` as it is: see `fillIcmpChecksum`. */
export function emitIcmp(fields: IcmpFields, view: DataView, off: number): number {
  view.setUint8(off + ICMP_TYPE, fields.type)
  view.setUint8(off + ICMP_CODE, fields.code)
  view.setUint16(off + ICMP_CHECK, fields.checksum)
  view.setUint32(off + ICMP_REST, fields.rest)
  return ICMP_HEADER_BYTES
}

/** Computes and writes the checksum over the whole message of `len` bytes. */
export function fillIcmpChecksum(view: DataView, off: number, len: number): void {
  view.setUint16(off + ICMP_CHECK, 0)
  view.setUint16(off + ICMP_CHECK, internetChecksum(view, off, len))
}

/** Reads the times behind a timestamp message's header at `off`; null when short. */
export function parseIcmpTimestamps(view: DataView, off: number, len: number): IcmpTimestamps | null {
  if (!fits(view, off, len, ICMP_TIMESTAMP_BYTES)) return null
  return { originate: view.getUint32(off + 8), receive: view.getUint32(off + 12), transmit: view.getUint32(off + 16) }
}

/** Writes the times behind a timestamp message's header at `off`; the whole message's length. */
export function emitIcmpTimestamps(times: IcmpTimestamps, view: DataView, off: number): number {
  view.setUint32(off + 8, times.originate)
  view.setUint32(off + 12, times.receive)
  view.setUint32(off + 16, times.transmit)
  return ICMP_TIMESTAMP_BYTES
}

/** `icmp_pointers[type].error`: whether the message carries the packet that caused it. */
export function isIcmpError(type: number): boolean {
  return (
    type === ICMP_DEST_UNREACH ||
    type === ICMP_SOURCE_QUENCH ||
    type === ICMP_REDIRECT ||
    type === ICMP_TIME_EXCEEDED ||
    type === ICMP_PARAMETERPROB
  )
}

/** Whether `rest` is an identifier and a sequence number. */
export function isIcmpQuery(type: number): boolean {
  return type === ICMP_ECHO || type === ICMP_ECHOREPLY || (type >= ICMP_TIMESTAMP && type <= 18)
}

/** `port unreachable`, `echo request`, ...: the message in words. */
export function icmpName(type: number, code: number): string {
  return CODE_NAMES[(type << 8) | code] ?? TYPE_NAMES[type] ?? `type ${type} code ${code}`
}
