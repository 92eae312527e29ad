/**
 * ICMP errors as socket errors: icmp_err_convert, and where the quoted packet stands.
 *
 * Linux: net/ipv4/icmp.c (icmp_err_convert). The ICMP packet's slot has M_NH at the outer IP header; the ICMP header
 * follows it, then the quoted IP header.
 */
import { M_NH, META_SHIFT } from '../../packet/layout.ts'
import { ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH, EMSGSIZE, ENETUNREACH, EOPNOTSUPP } from '../errno.ts'
import type { World } from '../world.ts'

export const ICMP_DEST_UNREACH = 3
export const ICMP_SOURCE_QUENCH = 4
export const ICMP_REDIRECT = 5
export const ICMP_TIME_EXCEEDED = 11
export const ICMP_PARAMETERPROB = 12
export const ICMP_NET_UNREACH = 0
export const ICMP_HOST_UNREACH = 1
export const ICMP_PORT_UNREACH = 3
export const ICMP_FRAG_NEEDED = 4
/** Largest code of ICMP_DEST_UNREACH. */
export const NR_ICMP_UNREACH = 15

/** -EPROTO */
export const EPROTO = -71
/** -ENOPROTOOPT */
export const ENOPROTOOPT = -92
/** -ENONET */
export const ENONET = -64

/** `icmp_err_convert[code].errno` */
export const ICMP_ERRNO: readonly number[] = [
  ENETUNREACH,
  EHOSTUNREACH,
  ENOPROTOOPT,
  ECONNREFUSED,
  EMSGSIZE,
  EOPNOTSUPP,
  ENETUNREACH,
  EHOSTDOWN,
  ENONET,
  ENETUNREACH,
  EHOSTUNREACH,
  ENETUNREACH,
  EHOSTUNREACH,
  EHOSTUNREACH,
  EHOSTUNREACH,
  EHOSTUNREACH,
]
/** `icmp_err_convert[code].fatal` */
export const ICMP_FATAL: readonly boolean[] = [
  false,
  false,
  true,
  true,
  false,
  false,
  true,
  true,
  true,
  true,
  true,
  false,
  false,
  true,
  true,
  true,
]

/** Absolute offset of the ICMP header in the slot's bytes. */
export function icmpHeader(w: World, slot: number): number {
  const nh = w.arena.meta[(slot << META_SHIFT) + M_NH]!
  return nh + ((w.arena.bytes[nh]! & 15) << 2)
}

/** Absolute offset of the quoted IP header. */
export function quotedIp(w: World, slot: number): number {
  return icmpHeader(w, slot) + 8
}
