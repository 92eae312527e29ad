/**
 * Protocol headers as nft names them: where a field stands and what type it has.
 *
 * nft: src/proto.c (1.0.6). Offsets and lengths are bits from the start of the header.
 */
import * as D from './datatypes.ts'

/** enum proto_bases */
export const BASE_LL = 0
export const BASE_NETWORK = 1
export const BASE_TRANSPORT = 2

/** struct proto_hdr_template */
export interface Field {
  readonly name: string
  readonly type: D.DataType
  readonly offset: number
  readonly len: number
}

/** struct proto_desc */
export interface Proto {
  readonly name: string
  readonly base: number
  /** Value of `meta l4proto` (transport), of `meta nfproto` (network). */
  readonly number: number
  /** Ethertype of a network protocol. */
  readonly ether: number
  readonly fields: readonly Field[]
}

const PROTOS = new Map<string, Proto>()

type Row = readonly [string, D.DataType | null, number, number]

function proto(name: string, base: number, number: number, ether: number, rows: readonly Row[]): Proto {
  const fields = rows.map(([field, t, offset, len]) => ({ name: field, type: t ?? D.integerType(len), offset, len }))
  const p = { name, base, number, ether, fields }
  PROTOS.set(name, p)
  return p
}

export const P_ETHER = proto('ether', BASE_LL, 0, 0, [
  ['daddr', D.T_ETHERADDR, 0, 48],
  ['saddr', D.T_ETHERADDR, 48, 48],
  ['type', D.T_ETHERTYPE, 96, 16],
])
export const P_VLAN = proto('vlan', BASE_LL, 0, 0x8100, [
  ['pcp', null, 112, 3],
  ['dei', null, 115, 1],
  ['cfi', null, 115, 1],
  ['id', null, 116, 12],
  ['type', D.T_ETHERTYPE, 128, 16],
])
export const P_ARP = proto('arp', BASE_NETWORK, 0, 0x806, [
  ['htype', null, 0, 16],
  ['ptype', D.T_ETHERTYPE, 16, 16],
  ['hlen', null, 32, 8],
  ['plen', null, 40, 8],
  ['operation', D.T_ARPOP, 48, 16],
  ['saddr ether', D.T_ETHERADDR, 64, 48],
  ['saddr ip', D.T_IPV4, 112, 32],
  ['daddr ether', D.T_ETHERADDR, 144, 48],
  ['daddr ip', D.T_IPV4, 192, 32],
])
export const P_IP = proto('ip', BASE_NETWORK, 2, 0x800, [
  ['version', null, 0, 4],
  ['hdrlength', null, 4, 4],
  ['dscp', D.T_DSCP, 8, 6],
  ['ecn', D.T_ECN, 14, 2],
  ['length', null, 16, 16],
  ['id', null, 32, 16],
  ['frag-off', null, 48, 16],
  ['ttl', null, 64, 8],
  ['protocol', D.T_INET_PROTO, 72, 8],
  ['checksum', null, 80, 16],
  ['saddr', D.T_IPV4, 96, 32],
  ['daddr', D.T_IPV4, 128, 32],
])
export const P_IP6 = proto('ip6', BASE_NETWORK, 10, 0x86dd, [
  ['version', null, 0, 4],
  ['dscp', D.T_DSCP, 4, 6],
  ['ecn', D.T_ECN, 10, 2],
  ['flowlabel', null, 12, 20],
  ['length', null, 32, 16],
  ['nexthdr', D.T_INET_PROTO, 48, 8],
  ['hoplimit', null, 56, 8],
  ['saddr', D.T_IPV6, 64, 128],
  ['daddr', D.T_IPV6, 192, 128],
])
export const P_TCP = proto('tcp', BASE_TRANSPORT, 6, 0, [
  ['sport', D.T_SERVICE, 0, 16],
  ['dport', D.T_SERVICE, 16, 16],
  ['sequence', null, 32, 32],
  ['ackseq', null, 64, 32],
  ['doff', null, 96, 4],
  ['reserved', null, 100, 4],
  ['flags', D.T_TCPFLAG, 104, 8],
  ['window', null, 112, 16],
  ['checksum', null, 128, 16],
  ['urgptr', null, 144, 16],
])
export const P_UDP = proto('udp', BASE_TRANSPORT, 17, 0, [
  ['sport', D.T_SERVICE, 0, 16],
  ['dport', D.T_SERVICE, 16, 16],
  ['length', null, 32, 16],
  ['checksum', null, 48, 16],
])
export const P_UDPLITE = proto('udplite', BASE_TRANSPORT, 136, 0, [
  ['sport', D.T_SERVICE, 0, 16],
  ['dport', D.T_SERVICE, 16, 16],
  ['csumcov', null, 32, 16],
  ['checksum', null, 48, 16],
])
export const P_SCTP = proto('sctp', BASE_TRANSPORT, 132, 0, [
  ['sport', D.T_SERVICE, 0, 16],
  ['dport', D.T_SERVICE, 16, 16],
  ['vtag', null, 32, 32],
  ['checksum', null, 64, 32],
])
export const P_DCCP = proto('dccp', BASE_TRANSPORT, 33, 0, [
  ['sport', D.T_SERVICE, 0, 16],
  ['dport', D.T_SERVICE, 16, 16],
])
export const P_AH = proto('ah', BASE_TRANSPORT, 51, 0, [
  ['nexthdr', D.T_INET_PROTO, 0, 8],
  ['hdrlength', null, 8, 8],
  ['reserved', null, 16, 16],
  ['spi', null, 32, 32],
  ['sequence', null, 64, 32],
])
export const P_ESP = proto('esp', BASE_TRANSPORT, 50, 0, [
  ['spi', null, 0, 32],
  ['sequence', null, 32, 32],
])
export const P_COMP = proto('comp', BASE_TRANSPORT, 108, 0, [
  ['nexthdr', D.T_INET_PROTO, 0, 8],
  ['flags', null, 8, 8],
  ['cpi', null, 16, 16],
])
export const P_ICMP = proto('icmp', BASE_TRANSPORT, 1, 0, [
  ['type', D.T_ICMP_TYPE, 0, 8],
  ['code', D.T_ICMP_CODE, 8, 8],
  ['checksum', null, 16, 16],
  ['id', null, 32, 16],
  ['sequence', null, 48, 16],
  ['gateway', null, 32, 32],
  ['mtu', null, 48, 16],
])
export const P_ICMPV6 = proto('icmpv6', BASE_TRANSPORT, 58, 0, [
  ['type', D.T_ICMPV6_TYPE, 0, 8],
  ['code', D.T_ICMPV6_CODE, 8, 8],
  ['checksum', null, 16, 16],
  ['parameter-problem', null, 32, 32],
  ['mtu', null, 32, 32],
  ['id', null, 32, 16],
  ['sequence', null, 48, 16],
  ['max-delay', null, 32, 16],
])
export const P_IGMP = proto('igmp', BASE_TRANSPORT, 2, 0, [
  ['type', D.T_IGMP_TYPE, 0, 8],
  ['mrt', null, 8, 8],
  ['checksum', null, 16, 16],
  ['group', D.T_IPV4, 32, 32],
])
/** Any transport protocol with ports. */
export const P_TH = proto('th', BASE_TRANSPORT, -1, 0, [
  ['sport', D.T_SERVICE, 0, 16],
  ['dport', D.T_SERVICE, 16, 16],
])

/** The protocol of a keyword. */
export function protoByName(name: string): Proto | undefined {
  return PROTOS.get(name)
}

/** The transport protocol of a number. */
export function transportProto(number: number): Proto | undefined {
  for (const p of PROTOS.values()) if (p.base === BASE_TRANSPORT && p.number === number) return p
  return undefined
}

/** The network protocol of an ethertype. */
export function networkProto(ether: number): Proto | undefined {
  for (const p of PROTOS.values()) if (p.base === BASE_NETWORK && p.ether === ether) return p
  return undefined
}

/** ICMP types that a field exists in, by `protocol field` (proto.c icmp_dep): the match that nft adds before it. */
export const ICMP_FIELD_TYPES: Readonly<Record<string, readonly number[]>> = {
  'icmp id': [0, 8],
  'icmp sequence': [0, 8],
  'icmp gateway': [5],
  'icmp mtu': [3],
  'icmpv6 id': [128, 129],
  'icmpv6 sequence': [128, 129],
  'icmpv6 mtu': [2],
  'icmpv6 parameter-problem': [4],
  'icmpv6 max-delay': [130],
}
