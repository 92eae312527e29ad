/**
 * Names for numbers in iproute2's output and input: tables, protocols, DS fields, states.
 *
 * Source: /etc/iproute2/{rt_tables,rt_protos,rt_dsfield} of iproute2 6.1, lib/rt_names.c. Files that a host adds
 * (rt_tables.d) are not modelled.
 */
import { parseNumber } from './ip-args.ts'

const TABLES = new Map([
  ['unspec', 0],
  ['default', 253],
  ['main', 254],
  ['local', 255],
])
const PROTOCOLS = new Map([
  ['unspec', 0],
  ['redirect', 1],
  ['kernel', 2],
  ['boot', 3],
  ['static', 4],
  ['gated', 8],
  ['ra', 9],
  ['mrt', 10],
  ['zebra', 11],
  ['bird', 12],
  ['dnrouted', 13],
  ['xorp', 14],
  ['ntk', 15],
  ['dhcp', 16],
  ['keepalived', 18],
  ['babel', 42],
  ['openr', 99],
  ['bgp', 186],
  ['isis', 187],
  ['ospf', 188],
  ['rip', 189],
  ['eigrp', 192],
])
const DSFIELDS = new Map([
  ['default', 0x00],
  ['CS1', 0x20],
  ['CS2', 0x40],
  ['CS3', 0x60],
  ['CS4', 0x80],
  ['CS5', 0xa0],
  ['CS6', 0xc0],
  ['CS7', 0xe0],
  ['AF11', 0x28],
  ['AF12', 0x30],
  ['AF13', 0x38],
  ['AF21', 0x48],
  ['AF22', 0x50],
  ['AF23', 0x58],
  ['AF31', 0x68],
  ['AF32', 0x70],
  ['AF33', 0x78],
  ['AF41', 0x88],
  ['AF42', 0x90],
  ['AF43', 0x98],
  ['EF', 0xb8],
])
const IP_PROTOCOLS = new Map([
  ['icmp', 1],
  ['igmp', 2],
  ['ipip', 4],
  ['tcp', 6],
  ['udp', 17],
  ['gre', 47],
  ['esp', 50],
  ['ah', 51],
  ['sctp', 132],
  ['udplite', 136],
])

function nameOf(names: ReadonlyMap<string, number>, n: number): string | null {
  for (const [name, value] of names) if (value === n) return name
  return null
}

function numberOf(names: ReadonlyMap<string, number>, word: string, max: number): number {
  const n = names.get(word) ?? parseNumber(word)
  return n > max ? -1 : n
}

/** rtnl_rttable_n2a */
export function tableName(id: number): string {
  return nameOf(TABLES, id) ?? String(id)
}

/** rtnl_rttable_a2n; -1 when there is no such table name. */
export function tableNumber(word: string): number {
  return numberOf(TABLES, word, 0xffffffff)
}

/** rtnl_rtprot_n2a */
export function protocolName(n: number): string {
  return nameOf(PROTOCOLS, n) ?? String(n)
}

/** rtnl_rtprot_a2n; -1 when unknown. */
export function protocolNumber(word: string): number {
  return numberOf(PROTOCOLS, word, 255)
}

/** rtnl_dsfield_n2a */
export function dsfieldName(n: number): string {
  return nameOf(DSFIELDS, n) ?? `0x${n.toString(16).padStart(2, '0')}`
}

/** rtnl_dsfield_a2n: names, or hex without prefix as iproute2 reads it; -1 when unknown. */
export function dsfieldNumber(word: string): number {
  const n = DSFIELDS.get(word) ?? (/^(0x)?[0-9a-fA-F]{1,2}$/.test(word) ? Number.parseInt(word, 16) : -1)
  return n > 255 ? -1 : n
}

/** inet_proto_n2a */
export function ipProtocolName(n: number): string {
  return nameOf(IP_PROTOCOLS, n) ?? `ipproto-${n}`
}

/** inet_proto_a2n; -1 when unknown. */
export function ipProtocolNumber(word: string): number {
  return numberOf(IP_PROTOCOLS, word, 255)
}
