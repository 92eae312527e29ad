/**
 * NAT's choice of address and port: get_unique_tuple.
 *
 * Linux 6.18: get_unique_tuple, find_appropriate_src, find_best_ips_proto, nf_nat_l4proto_unique_tuple,
 * nf_nat_used_tuple, nf_nat_used_tuple_new, nf_nat_used_tuple_harder (net/netfilter/nf_nat_core.c); jhash2
 * (include/linux/jhash.h). A port that is free is kept; else the search starts at a random offset (for DNAT at the range's
 * start) and tries 128, 64, 32, 16, 8 ports. A TCP mapping in TIME_WAIT may be taken over near the end of a round.
 * Not modelled: zones, GRE keys, offloaded entries.
 */
import { jhashBytes } from '../../jhash.ts'
import {
  C_BYSRC_NEXT,
  C_NET,
  C_PORTS,
  C_PROTO,
  C_SRC,
  C_STATUS,
  C_TCP_SEEN,
  C_TCP_STATE,
  C_WORDS,
  CT_V6,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPS_DYING,
  IPS_FIXED_TIMEOUT,
  IPS_NAT_MASK,
  IPS_SEQ_ADJUST,
  IPS_SRC_NAT,
  S_END,
} from '../conntrack/layout.ts'
import { killConntrack, nfConntrackFind, tupleTaken } from '../conntrack/lifetime.ts'
import type { Conntrack } from '../conntrack/table.ts'
import { TCP_CONNTRACK_SYN_SENT, TCP_CONNTRACK_TIME_WAIT } from '../conntrack/tcp-states.ts'
import { hasPorts, invertTuple, isIcmpTuple, Tuple } from '../conntrack/tuple.ts'
import {
  type NatRange,
  NF_NAT_MANIP_DST,
  NF_NAT_MANIP_SRC,
  NF_NAT_RANGE_MAP_IPS,
  NF_NAT_RANGE_PERSISTENT,
  NF_NAT_RANGE_PROTO_OFFSET,
  NF_NAT_RANGE_PROTO_RANDOM_ALL,
  NF_NAT_RANGE_PROTO_SPECIFIED,
} from './range.ts'
import { bestIp6, inRange6 } from './range6.ts'

const NF_NAT_MAX_ATTEMPTS = 128
const NF_NAT_HARDER_THRESH = NF_NAT_MAX_ATTEMPTS / 4

const reply = new Tuple()
const other = new Tuple()
const mine = new Tuple()

/** get_unique_tuple: `out` becomes `orig` mapped into the range, unique if that can be had. */
export function getUniqueTuple(
  ct: Conntrack,
  out: Tuple,
  orig: Tuple,
  range: NatRange,
  id: number,
  maniptype: number,
): void {
  const random = (range.flags & NF_NAT_RANGE_PROTO_RANDOM_ALL) !== 0
  if (maniptype === NF_NAT_MANIP_SRC && !random) {
    if (inRange(ct, orig, range)) {
      if (!usedTupleNew(ct, orig, id)) {
        out.copy(orig)
        return
      }
    } else if (findAppropriateSrc(ct, orig, out, range) && !usedTuple(ct, out, id)) return
  }
  out.copy(orig)
  findBestIpsProto(ct, out, range, maniptype)
  if (!random) {
    if ((range.flags & NF_NAT_RANGE_PROTO_SPECIFIED) !== 0) {
      if (
        (range.flags & NF_NAT_RANGE_PROTO_OFFSET) === 0 &&
        l4protoInRange(out, maniptype, range) &&
        (range.minPort === range.maxPort || !usedTuple(ct, out, id))
      )
        return
    } else if (!usedTuple(ct, out, id)) return
  }
  l4protoUniqueTuple(ct, out, range, maniptype, id)
}

/** nf_nat_used_tuple: would answers to `t` already belong to another entry? */
function usedTuple(ct: Conntrack, t: Tuple, id: number): boolean {
  invertTuple(reply, t)
  return tupleTaken(ct, reply, id)
}

/** nf_nat_used_tuple_new: as above; two un-NATed UDP packets that crossed do not count as used. */
function usedTupleNew(ct: Conntrack, t: Tuple, id: number): boolean {
  if (!usedTuple(ct, t, id)) return false
  const usesNat = IPS_NAT_MASK | IPS_SEQ_ADJUST
  const rows = ct.hash.rows
  if ((t.proto & 0xff) !== IPPROTO_UDP) return true
  if ((rows[id * C_WORDS + C_STATUS]! & usesNat) !== 0) return true
  let ref = nfConntrackFind(ct, t)
  if (ref === 0) {
    invertTuple(reply, t)
    ref = nfConntrackFind(ct, reply)
    if (ref === 0) return false
  }
  const clash = ref >>> 1
  if ((rows[clash * C_WORDS + C_STATUS]! & usesNat) !== 0) return true
  other.load(rows, clash, 0)
  mine.load(rows, id, 1)
  return !other.equals(mine)
}

/** nf_nat_used_tuple_harder: near the end of a search, a TCP mapping in TIME_WAIT gives way to a newer SYN. */
function usedTupleHarder(ct: Conntrack, t: Tuple, id: number, attemptsLeft: number): boolean {
  invertTuple(reply, t)
  const rows = ct.hash.rows
  const e = id * C_WORDS
  if (
    attemptsLeft > NF_NAT_HARDER_THRESH ||
    (t.proto & 0xff) !== IPPROTO_TCP ||
    rows[e + C_TCP_STATE] !== TCP_CONNTRACK_SYN_SENT
  )
    return tupleTaken(ct, reply, id)
  const ref = nfConntrackFind(ct, reply)
  if (ref === 0) return false
  if ((ref & 1) === 0) return true
  const old = (ref >>> 1) * C_WORDS
  if (rows[old + C_TCP_STATE]! < TCP_CONNTRACK_TIME_WAIT) return true
  const status = rows[old + C_STATUS]!
  if ((status & (IPS_FIXED_TIMEOUT | IPS_DYING)) !== 0 || (status & IPS_SRC_NAT) === 0) return true
  if (((rows[e + C_TCP_SEEN + S_END]! - rows[old + C_TCP_SEEN + S_END]!) | 0) <= 0) return true
  return !killConntrack(ct, ref >>> 1)
}

/** nf_in_range: a source mapping to `t` would obey the range. */
function inRange(ct: Conntrack, t: Tuple, range: NatRange): boolean {
  if ((range.flags & NF_NAT_RANGE_MAP_IPS) !== 0) {
    const ip = t.src >>> 0
    if ((t.proto & CT_V6) !== 0) {
      if (!inRange6(ct.ns.world.in6, t.src, range)) return false
    } else if (ip < range.minIp >>> 0 || ip > range.maxIp >>> 0) return false
  }
  if ((range.flags & NF_NAT_RANGE_PROTO_SPECIFIED) === 0) return true
  return l4protoInRange(t, NF_NAT_MANIP_SRC, range)
}

/** l4proto_in_range: the port (or ICMP id) that would be changed lies in the range. */
function l4protoInRange(t: Tuple, maniptype: number, range: NatRange): boolean {
  let port: number
  if (isIcmpTuple(t.proto)) port = t.ports >>> 16
  else if (hasPorts(t.proto)) port = maniptype === NF_NAT_MANIP_SRC ? t.ports >>> 16 : t.ports & 0xffff
  else return true
  return port >= range.minPort && port <= range.maxPort
}

/** find_appropriate_src: the mapping that another connection of the same source has, when the range allows it. */
function findAppropriateSrc(ct: Conntrack, t: Tuple, result: Tuple, range: NatRange): boolean {
  const { hash, ns } = ct
  const rows = hash.rows
  for (
    let id = hash.bysourceHead(ns.id, t.src, t.ports >>> 16, t.proto);
    id !== 0;
    id = rows[id * C_WORDS + C_BYSRC_NEXT]!
  ) {
    const e = id * C_WORDS
    if (
      rows[e + C_PROTO] !== t.proto ||
      rows[e + C_SRC] !== t.src ||
      rows[e + C_PORTS]! >>> 16 !== t.ports >>> 16 ||
      rows[e + C_NET] !== ns.id
    )
      continue
    reply.load(rows, id, 1)
    invertTuple(result, reply)
    result.dst = t.dst
    result.ports = (result.ports & 0xffff0000) | (t.ports & 0xffff)
    if (inRange(ct, result, range)) return true
  }
  return false
}

/** find_best_ips_proto: picks the address by a hash of source and destination. */
function findBestIpsProto(ct: Conntrack, t: Tuple, range: NatRange, maniptype: number): void {
  if ((range.flags & NF_NAT_RANGE_MAP_IPS) === 0) return
  let ip = range.minIp
  if (range.minIp !== range.maxIp && (t.proto & CT_V6) !== 0) ip = bestIp6(ct.ns.world.in6, t, range)
  else if (range.minIp !== range.maxIp) {
    const persistent = (range.flags & NF_NAT_RANGE_PERSISTENT) !== 0
    const j = jhashAddress(swap32(t.src), persistent ? 0 : swap32(t.dst))
    const dist = (range.maxIp >>> 0) - (range.minIp >>> 0) + 1
    ip = (range.minIp + Math.floor((j * dist) / 4294967296)) | 0
  }
  if (maniptype === NF_NAT_MANIP_SRC) t.src = ip
  else t.dst = ip
}

/** nf_nat_l4proto_unique_tuple: searches a free port (ICMP: id); leaves the last one tried when there is none. */
function l4protoUniqueTuple(ct: Conntrack, t: Tuple, range: NatRange, maniptype: number, id: number): void {
  const specified = (range.flags & NF_NAT_RANGE_PROTO_SPECIFIED) !== 0
  const high = isIcmpTuple(t.proto) || maniptype === NF_NAT_MANIP_SRC
  const key = high ? t.ports >>> 16 : t.ports & 0xffff
  let min: number
  let size: number
  if (isIcmpTuple(t.proto)) {
    min = specified ? range.minPort : 0
    size = specified ? range.maxPort - range.minPort + 1 : 65536
  } else if (!hasPorts(t.proto)) return
  else if (specified) {
    min = Math.min(range.minPort, range.maxPort)
    size = Math.max(range.minPort, range.maxPort) - min + 1
  } else if (maniptype === NF_NAT_MANIP_DST) return
  else if (key < 512) {
    min = 1
    size = 511
  } else if (key < 1024) {
    min = 600
    size = 1023 - 600 + 1
  } else {
    min = 1024
    size = 65535 - 1024 + 1
  }
  const random = ct.ns.world.random
  let off = 0
  if ((range.flags & NF_NAT_RANGE_PROTO_OFFSET) !== 0) off = (key - range.basePort) & 0xffff
  else if ((range.flags & NF_NAT_RANGE_PROTO_RANDOM_ALL) !== 0 || maniptype !== NF_NAT_MANIP_DST)
    off = random.u32() & 0xffff
  for (let attempts = Math.min(size, NF_NAT_MAX_ATTEMPTS); ; ) {
    for (let i = 0; i < attempts; i++, off = (off + 1) & 0xffff) {
      const port = (min + (off % size)) & 0xffff
      t.ports = high ? (port << 16) | (t.ports & 0xffff) : (t.ports & 0xffff0000) | port
      if (!usedTupleHarder(ct, t, id, attempts - i)) return
    }
    if (attempts >= size || attempts < 16) return
    attempts >>>= 1
    off = random.u32() & 0xffff
  }
}

/** The bytes of a big-endian word as a little-endian machine reads them: what jhash2 is given. */
export function swap32(x: number): number {
  return ((x & 0xff) << 24) | ((x & 0xff00) << 8) | ((x >>> 8) & 0xff00) | (x >>> 24)
}

/** union nf_inet_addr of an IPv4 address, padded to what jhash reads. */
const inetAddr = new DataView(new ArrayBuffer(24))

/** jhash2 over an IPv4 address in union nf_inet_addr: four words, the last three 0. */
function jhashAddress(ip: number, initval: number): number {
  inetAddr.setInt32(0, ip, true)
  return jhashBytes(inetAddr, 16, initval) >>> 0
}
