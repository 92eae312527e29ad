/**
 * ARP for IPv4 over Ethernet.
 *
 *     0        2        4   5   6        8              14         18             24         28
 *     +- htype +- ptype +hln+pln+-- op --+--- sha (6) --+- spa (4) +--- tha (6) --+- tpa (4) +
 *
 * Linux: arp_rcv, arp_create (net/ipv4/arp.c). `htype` and `ptype` are kept as they are, because arp_process judges
 * them. NOT here: other address lengths (hln != 6 or pln != 4 gives null), RARP's operations beyond their number.
 * Sources: RFC 826, RFC 5227, include/uapi/linux/if_arp.h.
 */
import type { Mac } from '../addr/mac.ts'
import { readMac, writeMac } from './address.ts'
import { fits } from './view.ts'

/** Offset of the hardware type. */
export const ARP_HTYPE = 0
/** Offset of the protocol type. */
export const ARP_PTYPE = 2
/** Offset of the hardware address length. */
export const ARP_HLN = 4
/** Offset of the protocol address length. */
export const ARP_PLN = 5
/** Offset of the operation. */
export const ARP_OP = 6
/** Offset of the sender hardware address. */
export const ARP_SHA = 8
/** Offset of the sender protocol address. */
export const ARP_SPA = 14
/** Offset of the target hardware address. */
export const ARP_THA = 18
/** Offset of the target protocol address. */
export const ARP_TPA = 24
/** Bytes of an Ethernet/IPv4 ARP message. */
export const ARP_HEADER_BYTES = 28

/** `ARPHRD_ETHER`. */
export const ARPHRD_ETHER = 1
/** `ARPOP_REQUEST`. */
export const ARPOP_REQUEST = 1
/** `ARPOP_REPLY`. */
export const ARPOP_REPLY = 2

/** The fields of an ARP message. */
export interface ArpFields {
  readonly htype: number
  readonly ptype: number
  readonly op: number
  readonly sha: Mac
  readonly spa: number
  readonly tha: Mac
  readonly tpa: number
}

/** Reads an ARP message; null when short or not of 6-byte hardware and 4-byte protocol addresses. */
export function parseArp(view: DataView, off: number, len: number): ArpFields | null {
  if (!fits(view, off, len, ARP_HEADER_BYTES)) return null
  if (view.getUint8(off + ARP_HLN) !== 6 || view.getUint8(off + ARP_PLN) !== 4) return null
  return {
    htype: view.getUint16(off + ARP_HTYPE),
    ptype: view.getUint16(off + ARP_PTYPE),
    op: view.getUint16(off + ARP_OP),
    sha: readMac(view, off + ARP_SHA),
    spa: view.getInt32(off + ARP_SPA),
    tha: readMac(view, off + ARP_THA),
    tpa: view.getInt32(off + ARP_TPA),
  }
}

/** Writes an ARP message. */
export function emitArp(fields: ArpFields, view: DataView, off: number): number {
  view.setUint16(off + ARP_HTYPE, fields.htype)
  view.setUint16(off + ARP_PTYPE, fields.ptype)
  view.setUint8(off + ARP_HLN, 6)
  view.setUint8(off + ARP_PLN, 4)
  view.setUint16(off + ARP_OP, fields.op)
  writeMac(view, off + ARP_SHA, fields.sha)
  view.setInt32(off + ARP_SPA, fields.spa)
  writeMac(view, off + ARP_THA, fields.tha)
  view.setInt32(off + ARP_TPA, fields.tpa)
  return ARP_HEADER_BYTES
}
