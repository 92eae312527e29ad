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
  C_STATUS,
  C_WORDS,
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
import { invertTuple, Tuple } from '../conntrack/tuple.ts'
import { NF_NAT_MANIP_SRC } from './range.ts'
import { natStatusBit } from './status-bit.ts'

const ICMP_REDIRECT = 5
const target = new Tuple()

/** csum_replace4 as inet_proto_csum_replace4 does it: the one's complement sum never becomes +0. */
export function csumReplace4(check: number, from: number, to: number): number {
  return foldChecksum(
    0xffff + (~check & 0xffff) + (~from & 0xffff) + ((~from >>> 16) & 0xffff) + (to & 0xffff) + (to >>> 16),
  )
}

/** inet_proto_csum_replace2 */
export function csumReplace2(check: number, from: number, to: number): number {
  return foldChecksum(0xffff + (~check & 0xffff) + (~from & 0xffff) + to)
}

/** nf_nat_manip_pkt: makes the packet look like the answer to the other direction. False: it is too short. */
export function natManipPkt(w: World, ct: Conntrack, slot: number, id: number, mtype: number, dir: number): boolean {
  target.load(ct.hash.rows, id, 1 - dir)
  invertTuple(target, target)
  const m = slot << META_SHIFT
  const nh = w.arena.meta[m + M_DATA]!
  return ipv4ManipPkt(w.arena.view, nh, nh + w.arena.meta[m + M_LEN]!, target, mtype)
}

/** nf_nat_ipv4_manip_pkt: rewrites the IPv4 packet at `ip` (the whole packet or one quoted in ICMP). */
export function ipv4ManipPkt(view: DataView, ip: number, end: number, t: Tuple, mtype: number): boolean {
  if (ip + 20 > end) return false
  if (!l4protoManipPkt(view, ip, ip + ((view.getUint8(ip) & 15) << 2), end, t, mtype)) return false
  const off = ip + (mtype === NF_NAT_MANIP_SRC ? 12 : 16)
  const next = mtype === NF_NAT_MANIP_SRC ? t.src : t.dst
  view.setUint16(ip + 10, csumReplace4(view.getUint16(ip + 10), view.getInt32(off), next))
  view.setInt32(off, next)
  return true
}

/** l4proto_manip_pkt: ports and ids of the header at `l4`; the addresses at `ip` are still the old ones. */
function l4protoManipPkt(view: DataView, ip: number, l4: number, end: number, t: Tuple, mtype: number): boolean {
  switch (t.proto) {
    case IPPROTO_TCP: {
      if (l4 + 8 > end) return false
      const old = setPort(view, l4, t, mtype)
      if (l4 + 20 > end) return true
      const check = addressUpdate(view, ip, view.getUint16(l4 + 16), t, mtype)
      view.setUint16(l4 + 16, csumReplace2(check, old, newPort(t, mtype)))
      return true
    }
    case IPPROTO_UDP: {
      if (l4 + 8 > end) return false
      const old = setPort(view, l4, t, mtype)
      const had = view.getUint16(l4 + 6)
      if (had === 0) return true
      const check = csumReplace2(addressUpdate(view, ip, had, t, mtype), old, newPort(t, mtype))
      view.setUint16(l4 + 6, check === 0 ? CSUM_MANGLED_0 : check)
      return true
    }
    case IPPROTO_ICMP: {
      if (l4 + 8 > end) return false
      const type = view.getUint8(l4)
      if (type !== 0 && type !== 8 && (type < 13 || type > 18)) return true
      const id = t.ports >>> 16
      view.setUint16(l4 + 2, csumReplace2(view.getUint16(l4 + 2), view.getUint16(l4 + 4), id))
      view.setUint16(l4 + 4, id)
      return true
    }
    case IPPROTO_SCTP:
    case IPPROTO_DCCP:
    case IPPROTO_UDPLITE:
      throw new Error(`NAT of protocol ${t.proto} must have ended as UNMODELLED before`)
    default:
      return true
  }
}

function newPort(t: Tuple, mtype: number): number {
  return mtype === NF_NAT_MANIP_SRC ? t.ports >>> 16 : t.ports & 0xffff
}

/** Writes the port and returns the old one. */
function setPort(view: DataView, l4: number, t: Tuple, mtype: number): number {
  const off = l4 + (mtype === NF_NAT_MANIP_SRC ? 0 : 2)
  const old = view.getUint16(off)
  view.setUint16(off, newPort(t, mtype))
  return old
}

/** nf_nat_ipv4_csum_update: the transport checksum after the pseudo header's address changes. */
function addressUpdate(view: DataView, ip: number, check: number, t: Tuple, mtype: number): number {
  return mtype === NF_NAT_MANIP_SRC
    ? csumReplace4(check, view.getInt32(ip + 12), t.src)
    : csumReplace4(check, view.getInt32(ip + 16), t.dst)
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
  target.load(rows, id, 1 - dir)
  if (!ipv4ManipPkt(view, icmp + 8, end, target, 1 - manip)) return false
  view.setUint16(icmp + 2, 0)
  view.setUint16(icmp + 2, internetChecksum(view, icmp, end - icmp))
  target.load(rows, id, 1 - dir)
  invertTuple(target, target)
  target.proto = IPPROTO_ICMP
  return ipv4ManipPkt(view, nh, end, target, manip)
}
