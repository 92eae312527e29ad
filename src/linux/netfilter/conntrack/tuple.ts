/**
 * Tuples: what identifies one direction of a connection.
 *
 * Linux: nf_ct_get_tuple, nf_ct_invert_tuple, ipv4_get_l4proto, nf_ct_get_tuplepr (net/netfilter/nf_conntrack_core.c),
 * icmp_pkt_to_tuple and its table of inverse types (nf_conntrack_proto_icmp.c), their twins of IPv6
 * (nf_conntrack_proto_icmpv6.c). A tuple is four words; IPv6 addresses are ids and `proto` carries CT_V6; `ports` is
 * source << 16 | destination, for ICMP id << 16 | type << 8 | code, 0 for protocols without ports.
 * Not modelled: GRE version 1 keys (PPTP); version 0 is tracked by addresses, as in Linux.
 */
import { exthdr, ipv6SkipExthdr } from '../../ipv6/exthdrs-core.ts'
import type { In6Table } from '../../ipv6/in6.ts'
import {
  C_DST,
  C_PORTS,
  C_PROTO,
  C_SRC,
  C_TUPLE_WORDS,
  C_WORDS,
  CT_ICMPV6,
  CT_V6,
  IPPROTO_DCCP,
  IPPROTO_ICMP,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
} from './layout.ts'

/** struct nf_conntrack_tuple; instances are scratch, none is made per packet. */
export class Tuple {
  src = 0
  dst = 0
  ports = 0
  proto = 0

  /** Copies all words of `t`. */
  copy(t: Tuple): void {
    this.src = t.src
    this.dst = t.dst
    this.ports = t.ports
    this.proto = t.proto
  }

  /** Reads the tuple of direction `dir` out of an entry's row. */
  load(rows: Int32Array, id: number, dir: number): void {
    const e = id * C_WORDS
    const t = e + dir * C_TUPLE_WORDS
    this.src = rows[t + C_SRC]!
    this.dst = rows[t + C_DST]!
    this.ports = rows[t + C_PORTS]!
    this.proto = rows[e + C_PROTO]!
  }

  /** nf_ct_tuple_equal */
  equals(t: Tuple): boolean {
    return this.src === t.src && this.dst === t.dst && this.ports === t.ports && this.proto === t.proto
  }
}

/** True for the protocols whose tuples carry ports. */
export function hasPorts(proto: number): boolean {
  const p = proto & 0xff
  return p === IPPROTO_TCP || p === IPPROTO_UDP || p === IPPROTO_SCTP || p === IPPROTO_DCCP || p === IPPROTO_UDPLITE
}

/** ICMP of IPv4, or ICMPv6 over IPv6: the tuple has an id, a type and a code. */
export function isIcmpTuple(proto: number): boolean {
  return proto === IPPROTO_ICMP || proto === CT_ICMPV6
}

/** Bytes of the transport header that make a protocol's tuple: 8 ICMP, 4 ports, 0 addresses only. */
export function tupleKeyBytes(proto: number): number {
  if (proto === IPPROTO_TCP || proto === IPPROTO_UDP) return 4
  if (isIcmpTuple(proto)) return 8
  return hasPorts(proto) ? 4 : 0
}

/** Inverse ICMP types plus one by type; 0 where there is none (echo, timestamp, info, address mask). */
const ICMP_INVERSE = Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 15, 14, 17, 16, 19, 18)

/** nf_ct_invert_tuple: `out` becomes the tuple of an answer to `t`. False for an ICMP type that has no answer. */
export function invertTuple(out: Tuple, t: Tuple): boolean {
  const { src, dst, ports, proto } = t
  out.src = dst
  out.dst = src
  out.proto = proto
  if (proto === IPPROTO_ICMP) {
    const type = (ports >>> 8) & 0xff
    const inverse = type < ICMP_INVERSE.length ? ICMP_INVERSE[type]! : 0
    if (inverse === 0) return false
    out.ports = (ports & 0xffff00ff) | ((inverse - 1) << 8)
    return true
  }
  if (proto === CT_ICMPV6) {
    const inverse = icmpv6Inverse((ports >>> 8) & 0xff)
    if (inverse === 0) return false
    out.ports = (ports & 0xffff00ff) | (inverse << 8)
    return true
  }
  out.ports = (ports << 16) | (ports >>> 16)
  return true
}

/** nf_conntrack_invert_icmpv6_tuple: echo and node information; 0 for a type without an answer. */
function icmpv6Inverse(type: number): number {
  if (type === 128) return 129
  if (type === 129) return 128
  if (type === 139) return 140
  return type === 140 ? 139 : 0
}

/**
 * ipv4_get_l4proto: bytes from the IPv4 header at `off` to the transport header, -1 when the packet is a later fragment or
 * its header does not fit before `end`.
 */
export function getL4Offset(view: DataView, off: number, end: number): number {
  if (off + 20 > end) return -1
  if ((view.getUint16(off + 6) & 0x1fff) !== 0) return -1
  const hl = (view.getUint8(off) & 15) << 2
  return off + hl > end ? -1 : hl
}

/** nf_ct_get_tuple: reads the tuple of the IPv4 packet at `off`; false when the transport header is cut short. */
export function getTuple(view: DataView, off: number, l4: number, end: number, proto: number, out: Tuple): boolean {
  out.src = view.getInt32(off + 12)
  out.dst = view.getInt32(off + 16)
  out.proto = proto
  const key = tupleKeyBytes(proto)
  if (l4 + key > end) return false
  out.ports = key === 4 ? view.getInt32(l4) : key === 0 ? 0 : (view.getUint16(l4 + 4) << 16) | view.getUint16(l4)
  return true
}

/** nf_ct_get_tuplepr: the tuple of the packet quoted at `off`. */
export function getTuplePr(view: DataView, off: number, end: number, out: Tuple): boolean {
  const hl = getL4Offset(view, off, end)
  if (hl <= 0) return false
  return getTuple(view, off, off + hl, end, view.getUint8(off + 9), out)
}

/** nf_ct_get_tuple over IPv6: `proto` is the upper protocol, `l4` its header. */
export function getTuple6(
  view: DataView,
  in6: In6Table,
  off: number,
  l4: number,
  end: number,
  proto: number,
  out: Tuple,
): boolean {
  out.proto = CT_V6 | proto
  const key = tupleKeyBytes(out.proto)
  if (l4 + key > end) return false
  out.src = in6.read(view, off + 8)
  out.dst = in6.read(view, off + 24)
  out.ports = key === 4 ? view.getInt32(l4) : key === 0 ? 0 : (view.getUint16(l4 + 4) << 16) | view.getUint16(l4)
  return true
}

/** nf_ct_get_tuplepr over IPv6, with ipv6_get_l4proto: the tuple of the packet quoted at `off`. */
export function getTuplePr6(view: DataView, in6: In6Table, off: number, end: number, out: Tuple): boolean {
  if (off + 40 > end) return false
  const l4 = ipv6SkipExthdr(view, off + 40, end, view.getUint8(off + 6))
  if (l4 < 0 || (exthdr.fragOff & ~7) !== 0) return false
  return getTuple6(view, in6, off, l4, end, exthdr.nexthdr, out)
}
