/**
 * ICMP tracking: queries are connections of their own, errors belong to the connection that they quote.
 *
 * Linux: nf_conntrack_icmp_packet, nf_conntrack_icmpv4_error, nf_conntrack_inet_error
 * (net/netfilter/nf_conntrack_proto_icmp.c).
 */
import { M_CT, M_CTINFO, M_DATA, M_LEN, META_SHIFT } from '../../../packet/layout.ts'
import type { World } from '../../world.ts'
import { nfIpChecksumOk } from './checksum.ts'
import {
  CTI_CHECKSUM,
  CTI_ICMP_DADDR,
  CTI_ICMP_INNER,
  CTI_ICMP_NEW,
  CTI_ICMP_TYPE,
  CTI_ICMP_UNKNOWN,
  CTI_SHORT,
  traceInvalid,
} from './invalid.ts'
import {
  C_DST,
  C_PORTS,
  C_TUPLE_WORDS,
  C_USE,
  C_WORDS,
  IP_CT_IS_REPLY,
  IP_CT_RELATED,
  IPPROTO_ICMP,
  NF_ACCEPT,
  NF_INET_PRE_ROUTING,
} from './layout.ts'
import { nfConntrackFind, refreshConntrack } from './lifetime.ts'
import type { Conntrack } from './table.ts'
import { getTuplePr, invertTuple, Tuple } from './tuple.ts'

const NR_ICMP_TYPES = 18
const inner = new Tuple()

/** icmp_is_err */
function isError(type: number): boolean {
  return type === 3 || type === 4 || type === 5 || type === 11 || type === 12
}

/** nf_conntrack_icmp_packet: only echo, timestamp, info and address requests start a connection. */
export function icmpPacket(w: World, ct: Conntrack, slot: number, id: number): number {
  const type = (ct.hash.rows[id * C_WORDS + C_PORTS]! >>> 8) & 0xff
  if (type !== 8 && type !== 13 && type !== 15 && type !== 17) {
    traceInvalid(w, ct.ns, slot, 0, CTI_ICMP_NEW)
    return -NF_ACCEPT
  }
  refreshConntrack(w, ct, slot, id, ct.ns.sysctl.nf_conntrack_icmp_timeout * 1e9)
  return NF_ACCEPT
}

/**
 * nf_conntrack_icmpv4_error: NF_ACCEPT to go on (with M_CT set to the related connection when the packet is an error),
 * -NF_ACCEPT when it is INVALID.
 */
export function icmpv4Error(w: World, ct: Conntrack, hook: number, slot: number, l4: number): number {
  const { meta, view } = w.arena
  const m = slot << META_SHIFT
  const nh = meta[m + M_DATA]!
  const end = nh + meta[m + M_LEN]!
  if (l4 + 8 > end) return invalid(w, ct, slot, CTI_SHORT)
  if (
    ct.ns.sysctl.nf_conntrack_checksum !== 0 &&
    hook === NF_INET_PRE_ROUTING &&
    !nfIpChecksumOk(w.arena, slot, l4, IPPROTO_ICMP)
  )
    return invalid(w, ct, slot, CTI_CHECKSUM)
  const type = view.getUint8(l4)
  if (type > NR_ICMP_TYPES) return invalid(w, ct, slot, CTI_ICMP_TYPE)
  if (!isError(type)) return NF_ACCEPT
  if (!getTuplePr(view, l4 + 8, end, inner)) return invalid(w, ct, slot, CTI_ICMP_INNER)
  if (!invertTuple(inner, inner)) return invalid(w, ct, slot, CTI_ICMP_INNER)
  const ref = nfConntrackFind(ct, inner)
  if (ref === 0) return invalid(w, ct, slot, CTI_ICMP_UNKNOWN)
  const id = ref >>> 1
  const dir = ref & 1
  const rows = ct.hash.rows
  const e = id * C_WORDS
  // a quoted packet of the connection must have gone back to whom the error is sent
  if (rows[e + dir * C_TUPLE_WORDS + C_DST] !== view.getInt32(nh + 16)) return invalid(w, ct, slot, CTI_ICMP_DADDR)
  rows[e + C_USE] = rows[e + C_USE]! + 1
  meta[m + M_CT] = id
  meta[m + M_CTINFO] = IP_CT_RELATED + (dir === 1 ? IP_CT_IS_REPLY : 0)
  return NF_ACCEPT
}

function invalid(w: World, ct: Conntrack, slot: number, detail: number): number {
  traceInvalid(w, ct.ns, slot, 0, detail)
  return -NF_ACCEPT
}
