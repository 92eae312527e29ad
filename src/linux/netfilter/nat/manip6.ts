/**
 * NAT's rewriting of IPv6 headers: addresses, ports, ICMPv6 ids. There is no header checksum; ICMPv6's covers the addresses.
 *
 * Linux: nf_nat_ipv6_manip_pkt, l4proto_manip_pkt, nf_csum_update, nf_nat_icmpv6_reply_translation
 * (net/netfilter/nf_nat_proto.c).
 */
import { M_CT, M_DATA, M_LEN, META_SHIFT } from '../../../packet/layout.ts'
import { CSUM_MANGLED_0, foldChecksum } from '../../../wire/checksum.ts'
import { exthdr, ipv6SkipExthdr } from '../../ipv6/exthdrs-core.ts'
import type { World } from '../../world.ts'
import { nfIpChecksumOk, swappedSum } from '../conntrack/checksum.ts'
import {
  C_DST,
  C_PORTS,
  C_PROTO,
  C_SRC,
  C_STATUS,
  C_TUPLE_WORDS,
  C_WORDS,
  CT_ICMPV6,
  IP_CT_DIR_ORIGINAL,
  IPPROTO_DCCP,
  IPPROTO_ICMPV6,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
  IPS_NAT_DONE_MASK,
  IPS_NAT_MASK,
} from '../conntrack/layout.ts'
import type { Conntrack } from '../conntrack/table.ts'
import { NF_NAT_MANIP_SRC } from './range.ts'
import { natStatusBit } from './status-bit.ts'

const NDISC_REDIRECT = 137
const ECHO_REQUEST = 128
const ECHO_REPLY = 129

/** What replacing the address at `off` by `to` adds to a one's complement sum. */
function addressDelta(w: World, off: number, to: number): number {
  const { view } = w.arena
  let delta = 0
  for (let i = 0; i < 4; i++) {
    const from = view.getInt32(off + 4 * i)
    const word = w.in6.word(to, i)
    delta += (~from & 0xffff) + (~from >>> 16) + (word & 0xffff) + (word >>> 16)
  }
  return delta
}

/**
 * nf_nat_ipv6_manip_pkt: rewrites the source (`mtype` SRC) or the destination of the IPv6 packet at `ip`, the whole packet
 * or one quoted in ICMPv6.
 * @param t start of the tuple in `rows` that has the new address, in its destination half when `fromDst`
 * @param proto of the tuple, with CT_V6
 * @returns false when the transport header is cut short
 */
export function ipv6ManipPkt(
  w: World,
  ip: number,
  end: number,
  rows: Int32Array,
  t: number,
  proto: number,
  mtype: number,
  fromDst: boolean,
): boolean {
  if (ip + 40 > end) return false
  const view = w.arena.view
  const isSrc = mtype === NF_NAT_MANIP_SRC
  const to = fromDst ? rows[t + C_DST]! : rows[t + C_SRC]!
  const ports = rows[t + C_PORTS]!
  const at = ip + (isSrc ? 8 : 24)
  const l4 = ipv6SkipExthdr(view, ip + 40, end, view.getUint8(ip + 6))
  if (l4 >= 0 && (exthdr.fragOff & ~7) === 0) {
    const port = fromDst ? ports & 0xffff : ports >>> 16
    if (!manipTransport(w, l4, end, proto, isSrc, port, ports >>> 16, at, to)) return false
  }
  w.in6.write(view, at, to)
  return true
}

/** l4proto_manip_pkt */
function manipTransport(
  w: World,
  l4: number,
  end: number,
  proto: number,
  isSrc: boolean,
  port: number,
  icmpId: number,
  address: number,
  to: number,
): boolean {
  const view = w.arena.view
  switch (proto & 0xff) {
    case IPPROTO_TCP:
    case IPPROTO_UDP: {
      if (l4 + 8 > end) return false
      const tcp = (proto & 0xff) === IPPROTO_TCP
      const portAt = isSrc ? l4 : l4 + 2
      const old = view.getUint16(portAt)
      view.setUint16(portAt, port)
      const checkAt = l4 + (tcp ? 16 : 6)
      if (tcp ? l4 + 20 > end : view.getUint16(checkAt) === 0) return true
      const sum = 0xffff + (~view.getUint16(checkAt) & 0xffff) + addressDelta(w, address, to) + (~old & 0xffff) + port
      const check = foldChecksum(sum)
      view.setUint16(checkAt, !tcp && check === 0 ? CSUM_MANGLED_0 : check)
      return true
    }
    case IPPROTO_ICMPV6: {
      if (l4 + 8 > end) return false
      const type = view.getUint8(l4)
      let sum = 0xffff + (~view.getUint16(l4 + 2) & 0xffff) + addressDelta(w, address, to)
      if (type === ECHO_REQUEST || type === ECHO_REPLY) {
        sum += (~view.getUint16(l4 + 4) & 0xffff) + icmpId
        view.setUint16(l4 + 4, icmpId)
      }
      view.setUint16(l4 + 2, foldChecksum(sum))
      return true
    }
    case IPPROTO_SCTP:
    case IPPROTO_DCCP:
    case IPPROTO_UDPLITE:
      throw new Error(`NAT of protocol ${proto} must have ended as UNMODELLED before`)
    default:
      return true
  }
}

/**
 * nf_nat_icmpv6_reply_translation: an ICMPv6 error of a translated connection; the quoted packet is translated the other
 * way, then the outer header. False: drop it.
 * @param icmp absolute offset of the ICMPv6 header
 */
export function natIcmpv6ReplyTranslation(
  w: World,
  ct: Conntrack,
  slot: number,
  icmp: number,
  dir: number,
  manip: number,
): boolean {
  const { meta, view } = w.arena
  const m = slot << META_SHIFT
  const id = meta[m + M_CT]!
  const nh = meta[m + M_DATA]!
  const end = nh + meta[m + M_LEN]!
  if (icmp + 48 > end) return false
  if (!nfIpChecksumOk(w.arena, slot, icmp, IPPROTO_ICMPV6)) return false
  const rows = ct.hash.rows
  const e = id * C_WORDS
  const status = rows[e + C_STATUS]!
  if (view.getUint8(icmp) === NDISC_REDIRECT) {
    if ((status & IPS_NAT_DONE_MASK) !== IPS_NAT_DONE_MASK) return false
    if ((status & IPS_NAT_MASK) !== 0) return false
  }
  if ((status & natStatusBit(manip, dir)) === 0) return true
  const other = dir === IP_CT_DIR_ORIGINAL ? e + C_TUPLE_WORDS : e
  const fromDst = manip === NF_NAT_MANIP_SRC
  if (!ipv6ManipPkt(w, icmp + 8, end, rows, other, rows[e + C_PROTO]!, 1 - manip, fromDst)) return false
  view.setUint16(icmp + 2, 0)
  const len = end - icmp
  const sum = swappedSum(view, nh + 8, 32) + IPPROTO_ICMPV6 + (len >>> 16) + (len & 0xffff)
  view.setUint16(icmp + 2, foldChecksum(sum + swappedSum(view, icmp, len)))
  return ipv6ManipPkt(w, nh, end, rows, other, CT_ICMPV6, manip, fromDst)
}
