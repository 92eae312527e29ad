/**
 * Conntrack entries as conntrack(8) prints them.
 *
 * libnetfilter_conntrack: src/conntrack/snprintf_default.c, tuple printing in snprintf.c; kernel: ctnetlink_dump_table.
 * `use` counts the packets in flight that hold the entry, and the table, as the kernel's reference count does.
 */
import { formatIpv4 } from '../../../addr/ipv4.ts'
import { inetNtop6 } from '../iptables/ip-values.ts'
import {
  ACCT_WORDS,
  C_ACCT,
  C_USE,
  C_WORDS,
  IPPROTO_DCCP,
  IPPROTO_GRE,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
  IPS_ASSURED,
  IPS_SEEN_REPLY,
} from './layout.ts'
import type { Conntrack } from './table.ts'
import { TCP_CONNTRACK_NAMES } from './tcp-states.ts'

/** Names of proto2str. */
export const CONNTRACK_PROTO_NAMES: ReadonlyMap<number, string> = new Map([
  [IPPROTO_TCP, 'tcp'],
  [IPPROTO_UDP, 'udp'],
  [IPPROTO_UDPLITE, 'udplite'],
  [IPPROTO_ICMP, 'icmp'],
  [IPPROTO_ICMPV6, 'icmpv6'],
  [IPPROTO_SCTP, 'sctp'],
  [IPPROTO_GRE, 'gre'],
  [IPPROTO_DCCP, 'dccp'],
])

/** What `-o` asks for. */
export interface ConntrackOutput {
  /** `-o id` */
  readonly id?: boolean
  /** `-o extended` */
  readonly extended?: boolean
}

function tupleText(ct: Conntrack, id: number, dir: number): string {
  const proto = ct.proto(id)
  const in6 = ct.ns.world.in6
  const one = (a: number): string => (ct.isIpv6(id) ? inetNtop6(in6.wordsOf(a)) : formatIpv4(a))
  const addresses = `src=${one(ct.src(id, dir))} dst=${one(ct.dst(id, dir))}`
  const sport = ct.sport(id, dir)
  const dport = ct.dport(id, dir)
  switch (proto) {
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
      return `${addresses} type=${dport >>> 8} code=${dport & 0xff} id=${sport}`
    case IPPROTO_GRE:
      return `${addresses} srckey=0x${sport.toString(16)} dstkey=0x${dport.toString(16)}`
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
    case IPPROTO_SCTP:
    case IPPROTO_DCCP:
      return `${addresses} sport=${sport} dport=${dport}`
    default:
      return addresses
  }
}

function countersText(ct: Conntrack, id: number, dir: number): string {
  const acct = ct.hash.acct
  if (acct === null || ct.hash.rows[id * C_WORDS + C_ACCT] === 0) return ''
  const at = id * ACCT_WORDS + 2 * dir
  return ` packets=${acct[at]!} bytes=${acct[at + 1]!}`
}

/** One line of `conntrack -L`, without a newline. */
export function conntrackLine(ct: Conntrack, id: number, output: ConntrackOutput = {}): string {
  const proto = ct.proto(id)
  const status = ct.status(id)
  const words: string[] = []
  if (output.extended === true) words.push(ct.isIpv6(id) ? 'ipv6     10' : 'ipv4     2')
  words.push(`${(CONNTRACK_PROTO_NAMES.get(proto) ?? 'unknown').padEnd(8)} ${proto}`)
  words.push(String(Math.floor(ct.expiresNs(id) / 1e9)))
  if (proto === IPPROTO_TCP) words.push(TCP_CONNTRACK_NAMES[ct.tcpState(id)]!)
  words.push(tupleText(ct, id, 0) + countersText(ct, id, 0))
  if ((status & IPS_SEEN_REPLY) === 0) words.push('[UNREPLIED]')
  words.push(tupleText(ct, id, 1) + countersText(ct, id, 1))
  if ((status & IPS_ASSURED) !== 0) words.push('[ASSURED]')
  words.push(`mark=${ct.mark(id) >>> 0}`, `use=${ct.hash.rows[id * C_WORDS + C_USE]!}`)
  if (output.id === true) words.push(`id=${id}`)
  return words.join(' ')
}
