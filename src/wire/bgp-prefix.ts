/**
 * NLRI: prefixes as length and as many bytes as it takes, with a path id in front when ADD-PATH is on.
 *
 *     [path id (4)] length in bits (1) | prefix (0..4 or 0..16)
 *
 * Bits behind the prefix length mean nothing (RFC 4271 4.3) and are cleared.
 * Sources: RFC 4271 4.3, RFC 4760 5, RFC 7911 3.
 */
import { formatIpv4, parseIpv4 } from '../addr/ipv4.ts'
import { formatIpv6, parseIpv6 } from '../addr/ipv6.ts'
import type { BgpAddressFamily, Nlri } from './bgp-types.ts'

/** Text of a prefix whose bits stand at `off`; `off` + bytes must be in the view. */
function prefixText(view: DataView, off: number, bits: number, family: BgpAddressFamily): string {
  const bytes = (bits + 7) >> 3
  if (family === 'ipv4') {
    let ip = 0
    for (let i = 0; i < bytes; i++) ip |= view.getUint8(off + i) << (24 - 8 * i)
    if (bits < 32) ip &= bits === 0 ? 0 : -1 << (32 - bits)
    return `${formatIpv4(ip)}/${bits}`
  }
  const words: [number, number, number, number] = [0, 0, 0, 0]
  for (let i = 0; i < bytes; i++) words[i >> 2]! |= view.getUint8(off + i) << (24 - 8 * (i & 3))
  for (let w = 0; w < 4; w++) {
    const keep = bits - 32 * w
    if (keep <= 0) words[w] = 0
    else if (keep < 32) words[w]! &= -1 << (32 - keep)
  }
  return `${formatIpv6(words)}/${bits}`
}

/**
 * Reads NLRI up to `end`.
 * @returns the list, or null when a length is impossible or bytes are missing
 */
export function parseNlri(
  view: DataView,
  from: number,
  end: number,
  family: BgpAddressFamily,
  addPath: boolean,
): Nlri[] | null {
  const max = family === 'ipv4' ? 32 : 128
  const list: Nlri[] = []
  let off = from
  while (off < end) {
    let pathId = 0
    if (addPath) {
      if (off + 5 > end) return null
      pathId = view.getUint32(off)
      off += 4
    }
    const bits = view.getUint8(off++)
    const bytes = (bits + 7) >> 3
    if (bits > max || off + bytes > end) return null
    const prefix = prefixText(view, off, bits, family)
    list.push(addPath ? { prefix, pathId } : { prefix })
    off += bytes
  }
  return list
}

/** Bytes that one NLRI takes at most. */
export const NLRI_MAX_BYTES = 21

/** Writes one NLRI at `off`. @returns the offset behind it, or -1 when the prefix is not one of the family */
export function emitNlri(n: Nlri, out: Uint8Array, off: number, family: BgpAddressFamily, addPath: boolean): number {
  const slash = n.prefix.indexOf('/')
  const bits = Number(n.prefix.slice(slash + 1))
  const text = n.prefix.slice(0, slash)
  let at = off
  if (addPath) {
    const id = n.pathId ?? 0
    out[at++] = id >>> 24
    out[at++] = (id >>> 16) & 255
    out[at++] = (id >>> 8) & 255
    out[at++] = id & 255
  }
  out[at++] = bits
  const bytes = (bits + 7) >> 3
  if (family === 'ipv4') {
    const ip = parseIpv4(text)
    if (ip === null || bits > 32) return -1
    for (let i = 0; i < bytes; i++) out[at++] = (ip >>> (24 - 8 * i)) & 255
    return at
  }
  const words = parseIpv6(text)
  if (words === null || bits > 128) return -1
  for (let i = 0; i < bytes; i++) out[at++] = (words[i >> 2]! >>> (24 - 8 * (i & 3))) & 255
  return at
}

/** Whether a prefix is of IPv4 or IPv6. */
export function familyOf(prefix: string): BgpAddressFamily {
  return prefix.includes(':') ? 'ipv6' : 'ipv4'
}
