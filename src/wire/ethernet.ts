/**
 * Ethernet II header with any stack of 802.1Q and 802.1ad tags.
 *
 *     0                   6                  12        14
 *     +---- dst (6) ------+---- src (6) -----+-- type -+   untagged
 *     +---- dst (6) ------+---- src (6) -----+-- TPID -+-- TCI --+-- type -+   one tag, 4 more bytes each
 *     TCI = PCP (3 bits) | DEI (1) | VID (12)
 *
 * Linux: eth_type_trans, vlan_get_protocol (tags 0x8100 and 0x88a8). An 802.3 length stays in `etherType` (< 0x0600).
 * NOT here: LLC/SNAP, the frame check sequence (no Linux tap shows it).
 * Sources: IEEE 802.3, IEEE 802.1Q 9.6, include/uapi/linux/if_ether.h.
 */
import type { Mac } from '../addr/mac.ts'
import { readMac, writeMac } from './address.ts'
import { fits } from './view.ts'

/** Offset of the destination. */
export const ETH_DST = 0
/** Offset of the source. */
export const ETH_SRC = 6
/** Offset of the EtherType, or of the first tag's TPID. */
export const ETH_TYPE = 12
/** Bytes without tags. */
export const ETHERNET_HEADER_BYTES = 14
/** Bytes of one tag. */
export const VLAN_TAG_BYTES = 4

/** EtherType of IPv4. */
export const ETHERTYPE_IPV4 = 0x0800
/** EtherType of ARP. */
export const ETHERTYPE_ARP = 0x0806
/** EtherType of Transparent Ethernet Bridging (Geneve and GRE payloads). */
export const ETHERTYPE_TEB = 0x6558
/** TPID of an 802.1Q tag. */
export const ETHERTYPE_8021Q = 0x8100
/** EtherType of IPv6. */
export const ETHERTYPE_IPV6 = 0x86dd
/** TPID of an 802.1ad service tag. */
export const ETHERTYPE_8021AD = 0x88a8

/** One 802.1Q or 802.1ad tag. */
export interface VlanTag {
  readonly tpid: number
  readonly pcp: number
  readonly dei: boolean
  readonly vid: number
}

/** The fields of an Ethernet header. */
export interface EthernetFields {
  readonly dst: Mac
  readonly src: Mac
  readonly tags: readonly VlanTag[]
  /** EtherType after all tags; an 802.3 length when below 0x0600. */
  readonly etherType: number
}

/** Bytes that the header takes with its tags. */
export function ethernetHeaderBytes(fields: EthernetFields): number {
  return ETHERNET_HEADER_BYTES + VLAN_TAG_BYTES * fields.tags.length
}

/** Reads an Ethernet header; null when it, or a tag it announces, is cut short. */
export function parseEthernet(view: DataView, off: number, len: number): EthernetFields | null {
  if (!fits(view, off, len, ETHERNET_HEADER_BYTES)) return null
  const tags: VlanTag[] = []
  let at = ETH_TYPE
  let etherType = view.getUint16(off + at)
  while (etherType === ETHERTYPE_8021Q || etherType === ETHERTYPE_8021AD) {
    if (!fits(view, off, len, at + 2 + VLAN_TAG_BYTES)) return null
    const tci = view.getUint16(off + at + 2)
    tags.push({ tpid: etherType, pcp: tci >> 13, dei: (tci & 0x1000) !== 0, vid: tci & 0xfff })
    at += VLAN_TAG_BYTES
    etherType = view.getUint16(off + at)
  }
  return { dst: readMac(view, off + ETH_DST), src: readMac(view, off + ETH_SRC), tags, etherType }
}

/** Writes an Ethernet header. */
export function emitEthernet(fields: EthernetFields, view: DataView, off: number): number {
  writeMac(view, off + ETH_DST, fields.dst)
  writeMac(view, off + ETH_SRC, fields.src)
  let at = ETH_TYPE
  for (const tag of fields.tags) {
    view.setUint16(off + at, tag.tpid)
    view.setUint16(off + at + 2, (tag.pcp << 13) | (tag.dei ? 0x1000 : 0) | tag.vid)
    at += VLAN_TAG_BYTES
  }
  view.setUint16(off + at, fields.etherType)
  return at + 2
}
