/**
 * MAC addresses at the edges: text to two words and back.
 *
 * A MAC is `hi` (its first 16 bits, unsigned) and `lo` (its last 32 bits, signed), the shape the packet arena reads.
 * Text is six colon-separated hex octets, as the iproute2 tools print and take it; dashes are accepted.
 *
 * Sources: IEEE 802 section 8, iproute2 lib/ll_addr.c.
 */

/** A MAC address as two words. */
export interface Mac {
  /** Octets 0 and 1. */
  readonly hi: number
  /** Octets 2 to 5 as a signed int32. */
  readonly lo: number
}

const SHAPE = /^[0-9a-f]{1,2}([:-][0-9a-f]{1,2}){5}$/i

/** The address as two words, or null when the text is not a MAC address. */
export function parseMac(text: string): Mac | null {
  if (!SHAPE.test(text)) return null
  const o = text.split(/[:-]/).map((part) => Number.parseInt(part, 16))
  return { hi: (o[0]! << 8) | o[1]!, lo: (o[2]! << 24) | (o[3]! << 16) | (o[4]! << 8) | o[5]! }
}

/** `0a:58:0a:f4:01:02` from its words. */
export function formatMac(mac: Mac): string {
  const hex = (mac.hi & 0xffff).toString(16).padStart(4, '0') + (mac.lo >>> 0).toString(16).padStart(8, '0')
  return hex.replace(/..(?=.)/g, '$&:')
}

/** The group bit of the first octet: multicast and broadcast. */
export function isGroupMac(mac: Mac): boolean {
  return (mac.hi & 0x0100) !== 0
}
