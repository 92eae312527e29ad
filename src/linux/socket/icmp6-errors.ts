/**
 * ICMPv6 errors as socket errors.
 *
 * Linux: net/ipv6/icmp.c (icmpv6_err_convert, tab_unreach).
 */
import { EACCES, ECONNREFUSED, EHOSTUNREACH, EMSGSIZE, ENETUNREACH } from '../errno.ts'
import { EPROTO } from './icmp-errors.ts'

export const ICMPV6_DEST_UNREACH = 1
export const ICMPV6_PKT_TOOBIG = 2
export const ICMPV6_TIME_EXCEED = 3
export const ICMPV6_PARAMPROB = 4
export const NDISC_REDIRECT = 137

/** The errno and whether it is hard, of the last conversion. */
export const converted = { err: EPROTO, hard: false }

const UNREACH: readonly (readonly [number, boolean])[] = [
  [ENETUNREACH, false],
  [EACCES, true],
  [EHOSTUNREACH, false],
  [EHOSTUNREACH, false],
  [ECONNREFUSED, true],
  [EACCES, true],
  [EACCES, true],
]

/** icmpv6_err_convert: the answer stands in `converted`. */
export function icmpv6ErrConvert(type: number, code: number): void {
  converted.err = EPROTO
  converted.hard = false
  if (type === ICMPV6_DEST_UNREACH) {
    converted.hard = true
    const row = UNREACH[code]
    if (row !== undefined) {
      converted.err = row[0]
      converted.hard = row[1]
    }
  } else if (type === ICMPV6_PKT_TOOBIG) converted.err = EMSGSIZE
  else if (type === ICMPV6_PARAMPROB) converted.hard = true
  else if (type === ICMPV6_TIME_EXCEED) converted.err = EHOSTUNREACH
}
