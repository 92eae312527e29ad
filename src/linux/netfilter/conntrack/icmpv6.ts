/**
 * ICMPv6 tracking: echo requests are connections, errors belong to what they quote, neighbour discovery is untracked.
 *
 * Linux: nf_conntrack_icmpv6_packet, nf_conntrack_icmpv6_error (net/netfilter/nf_conntrack_proto_icmpv6.c),
 * nf_conntrack_inet_error (nf_conntrack_proto_icmp.c).
 */
import { M_CT, M_CTINFO, M_DATA, M_LEN, META_SHIFT } from '../../../packet/layout.ts'
import type { World } from '../../world.ts'
import { nfIpChecksumOk } from './checksum.ts'
import {
  CTI_CHECKSUM,
  CTI_ICMP_DADDR,
  CTI_ICMP_INNER,
  CTI_ICMP_NEW,
  CTI_ICMP_UNKNOWN,
  CTI_SHORT,
  CTI_UNTRACKED,
  traceInvalid,
} from './invalid.ts'
import {
  C_DST,
  C_PORTS,
  C_STATUS,
  C_TUPLE_WORDS,
  C_USE,
  C_WORDS,
  IP_CT_IS_REPLY,
  IP_CT_RELATED,
  IP_CT_UNTRACKED,
  IPPROTO_ICMPV6,
  IPS_CONFIRMED,
  NF_ACCEPT,
  NF_INET_PRE_ROUTING,
} from './layout.ts'
import { nfConntrackFind, refreshConntrack } from './lifetime.ts'
import type { Conntrack } from './table.ts'
import { getTuplePr6, invertTuple, Tuple } from './tuple.ts'

const ECHO_REQUEST = 128
const NI_QUERY = 139
/** First type that is not an error. */
const INFORMATIONAL = 128
const inner = new Tuple()

/** noct_valid_new: MLD (130 to 132, 143) and neighbour discovery (133 to 136). */
function isNeverTracked(type: number): boolean {
  return (type >= 130 && type <= 136) || type === 143
}

/** nf_conntrack_icmpv6_packet */
export function icmpv6Packet(w: World, ct: Conntrack, slot: number, id: number): number {
  const e = id * C_WORDS
  const rows = ct.hash.rows
  if ((rows[e + C_STATUS]! & IPS_CONFIRMED) === 0) {
    const type = (rows[e + C_PORTS]! >>> 8) & 0xff
    if (type !== ECHO_REQUEST && type !== NI_QUERY) {
      traceInvalid(w, ct.ns, slot, 0, CTI_ICMP_NEW)
      return -NF_ACCEPT
    }
  }
  refreshConntrack(w, ct, slot, id, ct.ns.sysctl.nf_conntrack_icmpv6_timeout * 1e9)
  return NF_ACCEPT
}

/**
 * nf_conntrack_icmpv6_error: NF_ACCEPT to go on (M_CT set for an error, M_CTINFO untracked for neighbour discovery),
 * -NF_ACCEPT when the packet is INVALID.
 */
export function icmpv6Error(w: World, ct: Conntrack, hook: number, slot: number, l4: number): number {
  const { meta, view } = w.arena
  const m = slot << META_SHIFT
  const nh = meta[m + M_DATA]!
  const end = nh + meta[m + M_LEN]!
  if (l4 + 8 > end) return invalid(w, ct, slot, CTI_SHORT)
  if (
    hook === NF_INET_PRE_ROUTING &&
    ct.ns.sysctl.nf_conntrack_checksum !== 0 &&
    !nfIpChecksumOk(w.arena, slot, l4, IPPROTO_ICMPV6)
  )
    return invalid(w, ct, slot, CTI_CHECKSUM)
  const type = view.getUint8(l4)
  if (isNeverTracked(type)) {
    meta[m + M_CTINFO] = IP_CT_UNTRACKED
    traceInvalid(w, ct.ns, slot, IP_CT_UNTRACKED, CTI_UNTRACKED)
    return NF_ACCEPT
  }
  if (type >= INFORMATIONAL) return NF_ACCEPT
  const in6 = w.in6
  if (!getTuplePr6(view, in6, l4 + 8, end, inner)) return invalid(w, ct, slot, CTI_ICMP_INNER)
  if (!invertTuple(inner, inner)) return invalid(w, ct, slot, CTI_ICMP_INNER)
  const ref = nfConntrackFind(ct, inner)
  if (ref === 0) return invalid(w, ct, slot, CTI_ICMP_UNKNOWN)
  const id = ref >>> 1
  const dir = ref & 1
  const rows = ct.hash.rows
  const e = id * C_WORDS
  // a quoted packet of the connection must have gone back to whom the error is sent
  if (rows[e + dir * C_TUPLE_WORDS + C_DST] !== in6.read(view, nh + 24)) return invalid(w, ct, slot, CTI_ICMP_DADDR)
  rows[e + C_USE] = rows[e + C_USE]! + 1
  meta[m + M_CT] = id
  meta[m + M_CTINFO] = IP_CT_RELATED + (dir === 1 ? IP_CT_IS_REPLY : 0)
  return NF_ACCEPT
}

function invalid(w: World, ct: Conntrack, slot: number, detail: number): number {
  traceInvalid(w, ct.ns, slot, 0, detail)
  return -NF_ACCEPT
}
