/**
 * IP in IP: an IPv4 header whose payload is an IPv4 header, nothing between them.
 *
 *     0                        ihl * 4
 *     +-- outer IPv4, proto 4 --+-- inner IPv4 --+ inner payload
 *
 * Linux: ipip_rcv, ipip_tunnel_xmit (net/ipv4/ipip.c); Calico's IPIP mode. NOT here: IPv6 in IPv4 (sit, protocol 41),
 * which dissect.ts follows as an IPv6 layer; MPLS in IP.
 * Sources: RFC 2003 3.
 */
import { emitIpv4, IPPROTO_IPIP, IPV4_HEADER_BYTES, type Ipv4Fields, ipv4HeaderBytes, parseIpv4 } from './ipv4.ts'

/** Bytes that the tunnel adds when the outer header has no options. */
export const IPIP_HEADER_BYTES = IPV4_HEADER_BYTES

/** Both headers. */
export interface IpipFields {
  readonly outer: Ipv4Fields
  readonly inner: Ipv4Fields
}

/** Reads both headers; null when either is not there or the outer protocol is not 4. */
export function parseIpip(view: DataView, off: number, len: number): IpipFields | null {
  const outer = parseIpv4(view, off, len)
  if (outer === null || outer.protocol !== IPPROTO_IPIP) return null
  const headerBytes = ipv4HeaderBytes(outer)
  const inner = parseIpv4(view, off + headerBytes, len - headerBytes)
  return inner === null ? null : { outer, inner }
}

/** Writes both headers with their checksums as they are; the length of both. */
export function emitIpip(fields: IpipFields, view: DataView, off: number): number {
  const headerBytes = emitIpv4(fields.outer, view, off)
  return headerBytes + emitIpv4(fields.inner, view, off + headerBytes)
}
