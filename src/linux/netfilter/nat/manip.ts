/**
 * NAT's rewriting of headers: addresses, ports, ICMP ids, with incremental checksums.
 *
 * Linux: net/netfilter/nf_nat_proto.c (l4proto_manip_pkt, nf_nat_ipv4_manip_pkt, nf_nat_manip_pkt,
 * nf_nat_icmp_reply_translation). Only TCP with its whole header, UDP with a checksum, and ICMP queries have a transport
 * checksum updated; quoted TCP headers of 8 bytes keep theirs.
 */
import { M_CT, M_DATA, M_LEN, META_SHIFT } from '../../../packet/layout.ts'
import { CSUM_MANGLED_0, foldChecksum, internetChecksum } from '../../../wire/checksum.ts'
import type { World } from '../../world.ts'
import { nfIpChecksumOk } from '../conntrack/checksum.ts'
import {
  C_DST,
  C_PORTS,
  C_PROTO,
  C_SRC,
  C_STATUS,
  C_TUPLE_WORDS,
  C_WORDS,
  CT_V6,
  IP_CT_DIR_ORIGINAL,
  IPPROTO_DCCP,
  IPPROTO_ICMP,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
  IPS_NAT_DONE_MASK,
  IPS_NAT_MASK,
} from '../conntrack/layout.ts'
import type { Conntrack } from '../conntrack/table.ts'
import { ipv6ManipPkt } from './manip6.ts'
import { NF_NAT_MANIP_SRC } from './range.ts'
import { natStatusBit } from './status-bit.ts'

const ICMP_REDIRECT = 5

/** inet_proto_csum_replace2 */
function csumReplace2(check: number, from: number, to: number): number {
  return foldChecksum(0xffff + (~check & 0xffff) + (~from & 0xffff) + to)
}

/** nf_nat_manip_pkt: makes the packet look like the answer to the other direction. False: it is too short. */
export function natManipPkt(w: World, ct: Conntrack, slot: number, id: number, mtype: number, dir: number): boolean {
  const rows = ct.hash.rows
  const e = id * C_WORDS
  const other = dir === IP_CT_DIR_ORIGINAL ? e + C_TUPLE_WORDS : e
  const { meta, view } = w.arena
  const m = slot << META_SHIFT
  const nh = meta[m + M_DATA]!
  if ((rows[e + C_PROTO]! & CT_V6) !== 0)
    return ipv6ManipPkt(
      w,
      nh,
      nh + meta[m + M_LEN]!,
      rows,
      other,
      rows[e + C_PROTO]!,
      mtype,
      mtype === NF_NAT_MANIP_SRC,
    )
  return ipv4ManipPkt(
    view,
    nh,
    nh + meta[m + M_LEN]!,
    rows,
    other,
    rows[e + C_PROTO]!,
    mtype,
    mtype === NF_NAT_MANIP_SRC,
  )
}

/**
 * nf_nat_ipv4_manip_pkt with l4proto_manip_pkt: rewrites the source (`mtype` SRC) or the destination of the IPv4 packet
 * at `ip` (the whole packet or one quoted in ICMP).
 * @param t start of the tuple in `rows` that has the new address, its port (or ICMP id), in its destination half when
 * `fromDst`, else in its source half
 */
function ipv4ManipPkt(
  view: DataView,
  ip: number,
  end: number,
  rows: Int32Array,
  t: number,
  proto: number,
  mtype: number,
  fromDst: boolean,
): boolean {
  if (ip + 20 > end) return false
  const l4 = ip + ((view.getUint8(ip) & 15) << 2)
  const isSrc = mtype === NF_NAT_MANIP_SRC
  const off = ip + (isSrc ? 12 : 16)
  const from = view.getInt32(off)
  const to = fromDst ? rows[t + C_DST]! : rows[t + C_SRC]!
  const ports = rows[t + C_PORTS]!
  const port = fromDst ? ports & 0xffff : ports >>> 16
  // what an address adds to a sum that it is part of, on top of 0xffff: the one's complement sum never becomes +0
  const delta = 0xffff + (~from & 0xffff) + (~from >>> 16) + (to & 0xffff) + (to >>> 16)
  switch (proto) {
    case IPPROTO_TCP: {
      if (l4 + 8 > end) return false
      const at = isSrc ? l4 : l4 + 2
      const old = view.getUint16(at)
      view.setUint16(at, port)
      if (l4 + 20 <= end)
        view.setUint16(l4 + 16, foldChecksum((~view.getUint16(l4 + 16) & 0xffff) + delta + (~old & 0xffff) + port))
      break
    }
    case IPPROTO_UDP: {
      if (l4 + 8 > end) return false
      const at = isSrc ? l4 : l4 + 2
      const old = view.getUint16(at)
      view.setUint16(at, port)
      const had = view.getUint16(l4 + 6)
      if (had !== 0) {
        const check = foldChecksum((~had & 0xffff) + delta + (~old & 0xffff) + port)
        view.setUint16(l4 + 6, check === 0 ? CSUM_MANGLED_0 : check)
      }
      break
    }
    case IPPROTO_ICMP: {
      if (l4 + 8 > end) return false
      const type = view.getUint8(l4)
      if (type !== 0 && type !== 8 && (type < 13 || type > 18)) break
      const id = ports >>> 16
      view.setUint16(l4 + 2, csumReplace2(view.getUint16(l4 + 2), view.getUint16(l4 + 4), id))
      view.setUint16(l4 + 4, id)
      break
    }
    case IPPROTO_SCTP:
    case IPPROTO_DCCP:
    case IPPROTO_UDPLITE:
      throw new Error(`NAT of protocol ${proto} must have ended as UNMODELLED before`)
    default:
      break
  }
  view.setUint16(ip + 10, foldChecksum((~view.getUint16(ip + 10) & 0xffff) + delta))
  view.setInt32(off, to)
  return true
}

/**
 * nf_nat_icmp_reply_translation: an ICMP error of a translated connection: the quoted packet is translated the other way,
 * then the outer header. False: drop it.
 */
export function natIcmpReplyTranslation(w: World, ct: Conntrack, slot: number, dir: number, manip: number): boolean {
  const { meta, view } = w.arena
  const m = slot << META_SHIFT
  const id = meta[m + M_CT]!
  const nh = meta[m + M_DATA]!
  const end = nh + meta[m + M_LEN]!
  const icmp = nh + ((view.getUint8(nh) & 15) << 2)
  if (icmp + 28 > end) return false
  if (!nfIpChecksumOk(w.arena, slot, icmp, IPPROTO_ICMP)) return false
  const rows = ct.hash.rows
  const status = rows[id * C_WORDS + C_STATUS]!
  if (view.getUint8(icmp) === ICMP_REDIRECT) {
    if ((status & IPS_NAT_DONE_MASK) !== IPS_NAT_DONE_MASK) return false
    if ((status & IPS_NAT_MASK) !== 0) return false
  }
  if ((status & natStatusBit(manip, dir)) === 0) return true
  const e = id * C_WORDS
  const other = dir === IP_CT_DIR_ORIGINAL ? e + C_TUPLE_WORDS : e
  // the quoted packet went the other way: it has what the other direction's tuple says, at the same end
  if (!ipv4ManipPkt(view, icmp + 8, end, rows, other, rows[e + C_PROTO]!, 1 - manip, manip === NF_NAT_MANIP_SRC))
    return false
  view.setUint16(icmp + 2, 0)
  view.setUint16(icmp + 2, internetChecksum(view, icmp, end - icmp))
  return ipv4ManipPkt(view, nh, end, rows, other, IPPROTO_ICMP, manip, manip === NF_NAT_MANIP_SRC)
}
