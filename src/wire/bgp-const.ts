/**
 * Numbers of BGP: message types, error codes, attribute types, capability codes, with the names that daemons print.
 *
 * Sources: IANA "BGP Parameters"; RFC 4271 4.5, 4486, 6608, 7313, 8203, 9003.
 */

/** Bytes of the header. */
export const BGP_HEADER_BYTES = 19
/** Longest message without RFC 8654. */
export const BGP_MAX_BYTES = 4096
/** Longest message with it. */
export const BGP_MAX_EXTENDED_BYTES = 65_535
/** TCP port. */
export const BGP_PORT = 179
/** RFC 6793: stands for an AS that needs four bytes. */
export const AS_TRANS = 23456

/** Message types. */
export const MSG_OPEN = 1
/** UPDATE */
export const MSG_UPDATE = 2
/** NOTIFICATION */
export const MSG_NOTIFICATION = 3
/** KEEPALIVE */
export const MSG_KEEPALIVE = 4
/** ROUTE-REFRESH */
export const MSG_ROUTE_REFRESH = 5

/** Error codes. */
export const ERR_HEADER = 1
/** OPEN Message Error */
export const ERR_OPEN = 2
/** UPDATE Message Error */
export const ERR_UPDATE = 3
/** Hold Timer Expired */
export const ERR_HOLD_TIMER = 4
/** Finite State Machine Error */
export const ERR_FSM = 5
/** Cease */
export const ERR_CEASE = 6
/** ROUTE-REFRESH Message Error (RFC 7313) */
export const ERR_ROUTE_REFRESH = 7

/** Cease: Administrative Shutdown. */
export const CEASE_SHUTDOWN = 2
/** Cease: Peer De-configured. */
export const CEASE_DECONFIGURED = 3
/** Cease: Administrative Reset. */
export const CEASE_RESET = 4
/** Cease: Connection Rejected. */
export const CEASE_REJECTED = 5
/** Cease: Connection Collision Resolution. */
export const CEASE_COLLISION = 7

/** Path attribute types. */
export const ATTR_ORIGIN = 1
/** AS_PATH */
export const ATTR_AS_PATH = 2
/** NEXT_HOP */
export const ATTR_NEXT_HOP = 3
/** MULTI_EXIT_DISC */
export const ATTR_MED = 4
/** LOCAL_PREF */
export const ATTR_LOCAL_PREF = 5
/** ATOMIC_AGGREGATE */
export const ATTR_ATOMIC_AGGREGATE = 6
/** AGGREGATOR */
export const ATTR_AGGREGATOR = 7
/** COMMUNITIES */
export const ATTR_COMMUNITIES = 8
/** ORIGINATOR_ID */
export const ATTR_ORIGINATOR_ID = 9
/** CLUSTER_LIST */
export const ATTR_CLUSTER_LIST = 10
/** MP_REACH_NLRI */
export const ATTR_MP_REACH = 14
/** MP_UNREACH_NLRI */
export const ATTR_MP_UNREACH = 15
/** EXTENDED COMMUNITIES */
export const ATTR_EXT_COMMUNITIES = 16
/** AS4_PATH */
export const ATTR_AS4_PATH = 17
/** AS4_AGGREGATOR */
export const ATTR_AS4_AGGREGATOR = 18
/** LARGE_COMMUNITY */
export const ATTR_LARGE_COMMUNITIES = 32

/** Attribute flags. */
export const FLAG_OPTIONAL = 0x80
/** Passed on by who does not know the attribute. */
export const FLAG_TRANSITIVE = 0x40
/** Somebody on the path did not know it. */
export const FLAG_PARTIAL = 0x20
/** The length has two bytes. */
export const FLAG_EXTENDED = 0x10

/** Well-known communities (RFC 1997). */
export const COMMUNITY_NO_EXPORT = 0xffffff01
/** Not to any peer. */
export const COMMUNITY_NO_ADVERTISE = 0xffffff02
/** Not to eBGP peers, confederation members included. */
export const COMMUNITY_NO_EXPORT_SUBCONFED = 0xffffff03

/** AFI/SAFI of the families that are understood. */
export const AFI_IPV4 = 1
/** IPv6 */
export const AFI_IPV6 = 2
/** Unicast */
export const SAFI_UNICAST = 1

const CODES: { readonly [code: number]: readonly [string, { readonly [subcode: number]: string }] } = {
  1: ['Message Header Error', { 1: 'Connection Not Synchronized', 2: 'Bad Message Length', 3: 'Bad Message Type' }],
  2: [
    'OPEN Message Error',
    {
      1: 'Unsupported Version Number',
      2: 'Bad Peer AS',
      3: 'Bad BGP Identifier',
      4: 'Unsupported Optional Parameter',
      6: 'Unacceptable Hold Time',
      7: 'Unsupported Capability',
    },
  ],
  3: [
    'UPDATE Message Error',
    {
      1: 'Malformed Attribute List',
      2: 'Unrecognized Well-known Attribute',
      3: 'Missing Well-known Attribute',
      4: 'Attribute Flags Error',
      5: 'Attribute Length Error',
      6: 'Invalid ORIGIN Attribute',
      8: 'Invalid NEXT_HOP Attribute',
      9: 'Optional Attribute Error',
      10: 'Invalid Network Field',
      11: 'Malformed AS_PATH',
    },
  ],
  4: ['Hold Timer Expired', {}],
  5: [
    'Finite State Machine Error',
    {
      1: 'Receive Unexpected Message in OpenSent State',
      2: 'Receive Unexpected Message in OpenConfirm State',
      3: 'Receive Unexpected Message in Established State',
    },
  ],
  6: [
    'Cease',
    {
      1: 'Maximum Number of Prefixes Reached',
      2: 'Administrative Shutdown',
      3: 'Peer De-configured',
      4: 'Administrative Reset',
      5: 'Connection Rejected',
      6: 'Other Configuration Change',
      7: 'Connection Collision Resolution',
      8: 'Out of Resources',
      9: 'Hard Reset',
      10: 'BFD Down',
    },
  ],
  7: ['ROUTE-REFRESH Message Error', { 1: 'Invalid Message Length' }],
}

/** `Cease, Administrative Shutdown` of a code and subcode. */
export function notificationName(code: number, subcode: number): string {
  const row = CODES[code]
  if (row === undefined) return `Unknown error ${code}/${subcode}`
  const sub = row[1][subcode]
  if (sub !== undefined) return `${row[0]}, ${sub}`
  return subcode === 0 ? row[0] : `${row[0]}, subcode ${subcode}`
}

/** The length of a prefix's text: 26 of `10.244.1.0/26`. */
export function prefixLengthOf(prefix: string): number {
  return Number(prefix.slice(prefix.indexOf('/') + 1))
}

/** `2: 2 bytes` of a number as NOTIFICATION data. */
export function uint16Bytes(value: number): Uint8Array {
  return Uint8Array.of((value >>> 8) & 255, value & 255)
}

/** Four bytes of a number. */
export function uint32Bytes(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255)
}
