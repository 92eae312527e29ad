/**
 * VXLAN header; an Ethernet frame follows.
 *
 *     0    1              4              7    8
 *     +flag+- reserved ---+---- VNI -----+rsvd+ inner Ethernet frame
 *     flag 0x08: VNI is valid. Group Policy (VXLAN_GBP) keeps its flags and id in the first reserved bytes.
 *
 * Linux: vxlan_rcv wants the flag, vxlan_build_skb writes it (drivers/net/vxlan/vxlan_core.c). Port 4789 is IANA's, 8472
 * the kernel's default (flannel keeps it). NOT here: VXLAN-GPE's next protocol, remote checksum offload.
 * Sources: RFC 7348 5.
 */
import { fits } from './view.ts'

/** Offset of the flags. */
export const VXLAN_FLAGS = 0
/** Offset of the reserved 24 bits. */
export const VXLAN_RESERVED24 = 1
/** Offset of the VNI (24 bits). */
export const VXLAN_VNI = 4
/** Offset of the reserved last byte. */
export const VXLAN_RESERVED8 = 7
/** Bytes of the header. */
export const VXLAN_HEADER_BYTES = 8
/** Flag: the VNI is valid. */
export const VXLAN_FLAG_VNI = 0x08
/** IANA's port. */
export const VXLAN_PORT = 4789
/** The Linux driver's default port. */
export const VXLAN_PORT_LINUX = 8472

/** The fields of a VXLAN header. */
export interface VxlanFields {
  readonly flags: number
  readonly reserved24: number
  readonly vni: number
  readonly reserved8: number
}

/** Reads the header; null when short. */
export function parseVxlan(view: DataView, off: number, len: number): VxlanFields | null {
  if (!fits(view, off, len, VXLAN_HEADER_BYTES)) return null
  const first = view.getUint32(off + VXLAN_FLAGS)
  const second = view.getUint32(off + VXLAN_VNI)
  return { flags: first >>> 24, reserved24: first & 0xffffff, vni: second >>> 8, reserved8: second & 0xff }
}

/** Writes the header. */
export function emitVxlan(fields: VxlanFields, view: DataView, off: number): number {
  view.setUint32(off + VXLAN_FLAGS, ((fields.flags << 24) | fields.reserved24) >>> 0)
  view.setUint32(off + VXLAN_VNI, ((fields.vni << 8) | fields.reserved8) >>> 0)
  return VXLAN_HEADER_BYTES
}
