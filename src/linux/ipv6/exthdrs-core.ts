/**
 * Walking extension headers: where the upper-layer header is.
 *
 * Linux: net/ipv6/exthdrs_core.c (ipv6_ext_hdr, ipv6_skip_exthdr, ipv6_find_hdr). Results that are more than one number
 * stand in `exthdr`, valid until the next walk. ESP ends a walk as an upper protocol. Sources: RFC 8200 4.
 */
import { M_DATA, M_LEN, M_NH, META_SHIFT } from '../../packet/layout.ts'
import { EINVAL } from '../errno.ts'
import type { World } from '../world.ts'

/** Next header values, include/net/ipv6.h. */
export const NEXTHDR_HOP = 0
export const NEXTHDR_IPV4 = 4
export const NEXTHDR_TCP = 6
export const NEXTHDR_UDP = 17
export const NEXTHDR_IPV6 = 41
export const NEXTHDR_ROUTING = 43
export const NEXTHDR_FRAGMENT = 44
export const NEXTHDR_ESP = 50
export const NEXTHDR_AUTH = 51
export const NEXTHDR_ICMP = 58
export const NEXTHDR_NONE = 59
export const NEXTHDR_DEST = 60
export const NEXTHDR_MOBILITY = 135
export const IPPROTO_ICMPV6 = 58

/** ipv6_find_hdr flags. */
export const IP6_FH_F_FRAG = 1
export const IP6_FH_F_AUTH = 2
export const IP6_FH_F_SKIP_RH = 4

/** -ENOENT and -EBADMSG of ipv6_find_hdr. */
const ENOENT = -2
const EBADMSG = -74

/** What the last walk found. */
export const exthdr = {
  /** Protocol of the upper header (ipv6_skip_exthdr). */
  nexthdr: 0,
  /** Fragment offset with its low bits cleared; with ipv6FindHdr: offset in bytes; 0 when not a later fragment. */
  fragOff: 0,
  /** Absolute offset of the header that ipv6FindHdr found. */
  offset: 0,
  /** IP6_FH_F_* that ipv6FindHdr met. */
  flags: 0,
}

/** ipv6_ext_hdr: hop-by-hop, routing, fragment, authentication, none, destination options. */
export function ipv6ExtHdr(nexthdr: number): boolean {
  return (
    nexthdr === NEXTHDR_HOP ||
    nexthdr === NEXTHDR_ROUTING ||
    nexthdr === NEXTHDR_FRAGMENT ||
    nexthdr === NEXTHDR_AUTH ||
    nexthdr === NEXTHDR_NONE ||
    nexthdr === NEXTHDR_DEST
  )
}

/**
 * ipv6_skip_exthdr: walks from `start` (the first header behind the fixed one, of kind `nexthdr`) to the upper header.
 * @param end first byte behind the packet
 * @returns its absolute offset, -1 when the chain is cut short or ends with "no next header"
 */
export function ipv6SkipExthdr(view: DataView, start: number, end: number, nexthdr: number): number {
  exthdr.fragOff = 0
  exthdr.nexthdr = nexthdr
  while (ipv6ExtHdr(nexthdr)) {
    if (nexthdr === NEXTHDR_NONE) return -1
    if (start + 2 > end) return -1
    let len: number
    if (nexthdr === NEXTHDR_FRAGMENT) {
      if (start + 4 > end) return -1
      const fragOff = view.getUint16(start + 2)
      exthdr.fragOff = fragOff
      if ((fragOff & ~7) !== 0) break
      len = 8
    } else if (nexthdr === NEXTHDR_AUTH) len = (view.getUint8(start + 1) + 2) << 2
    else len = (view.getUint8(start + 1) + 1) << 3
    nexthdr = view.getUint8(start)
    exthdr.nexthdr = nexthdr
    start += len
  }
  return start
}

/**
 * ipv6_find_hdr: the header of kind `target` (-1: the upper one) of the packet at M_NH.
 * @param flags IP6_FH_F_AUTH stops at an authentication header, IP6_FH_F_SKIP_RH skips routing headers with no segments left
 * @returns the header's kind, or -ENOENT, -EBADMSG, -EINVAL; `exthdr.offset`, `exthdr.fragOff`, `exthdr.flags` are set
 */
export function ipv6FindHdr(w: World, slot: number, target: number, flags: number): number {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const nh = meta[m + M_NH]!
  const end = meta[m + M_DATA]! + meta[m + M_LEN]!
  const v = w.arena.view
  exthdr.fragOff = 0
  exthdr.flags = 0
  if (nh + 40 > end) return EBADMSG
  let nexthdr = v.getUint8(nh + 6)
  let start = nh + 40
  for (;;) {
    const found0 = nexthdr === target
    if (!ipv6ExtHdr(nexthdr) || nexthdr === NEXTHDR_NONE) {
      if (target < 0 || found0) break
      exthdr.offset = start
      return ENOENT
    }
    if (start + 2 > end) return EBADMSG
    let found = found0
    let len: number
    if (nexthdr === NEXTHDR_ROUTING) {
      if (start + 4 > end) return EBADMSG
      if ((flags & IP6_FH_F_SKIP_RH) !== 0 && v.getUint8(start + 3) === 0) found = false
    }
    if (nexthdr === NEXTHDR_FRAGMENT) {
      exthdr.flags |= IP6_FH_F_FRAG
      if (start + 4 > end) return EBADMSG
      const fragOff = v.getUint16(start + 2) & ~7
      if (fragOff !== 0) {
        const next = v.getUint8(start)
        if (target < 0 && (!ipv6ExtHdr(next) || next === NEXTHDR_NONE)) {
          exthdr.fragOff = fragOff
          exthdr.offset = start
          return next
        }
        if (!found) return ENOENT
        exthdr.fragOff = fragOff
        break
      }
      len = 8
    } else if (nexthdr === NEXTHDR_AUTH) {
      exthdr.flags |= IP6_FH_F_AUTH
      if ((flags & IP6_FH_F_AUTH) !== 0 && target < 0) break
      len = (v.getUint8(start + 1) + 2) << 2
    } else len = (v.getUint8(start + 1) + 1) << 3
    if (found) break
    nexthdr = v.getUint8(start)
    start += len
    if (start > end + 0xffff) return EINVAL
  }
  exthdr.offset = start
  return nexthdr
}
