/**
 * Kinds of reject, as the shared sender of answers numbers them.
 *
 * Linux: nft_reject_icmp_code (net/netfilter/nft_reject.c) turns icmpx codes into ICMP codes; the answers are those of
 * iptables' REJECT (nf_reject_ipv4.c).
 */
import {
  REJECT_ADMIN_PROHIBITED,
  REJECT_HOST_PROHIBITED,
  REJECT_HOST_UNREACHABLE,
  REJECT_NET_PROHIBITED,
  REJECT_NET_UNREACHABLE,
  REJECT_PORT_UNREACHABLE,
  REJECT_PROT_UNREACHABLE,
  REJECT_TCP_RESET,
} from '../iptables/targets-other.ts'

const ICMP: Readonly<Record<number, number>> = {
  0: REJECT_NET_UNREACHABLE,
  1: REJECT_HOST_UNREACHABLE,
  2: REJECT_PROT_UNREACHABLE,
  3: REJECT_PORT_UNREACHABLE,
  9: REJECT_NET_PROHIBITED,
  10: REJECT_HOST_PROHIBITED,
  13: REJECT_ADMIN_PROHIBITED,
}
/** enum nft_reject_inet_code */
const ICMPX: readonly number[] = [
  REJECT_NET_UNREACHABLE,
  REJECT_PORT_UNREACHABLE,
  REJECT_HOST_UNREACHABLE,
  REJECT_ADMIN_PROHIBITED,
]

/** The kind of a reject statement over IPv4; -1 for ICMPv6, which an IPv4 packet never gets. */
export function rejectKind(type: string, code: number): number {
  if (type === 'tcp') return REJECT_TCP_RESET
  if (type === 'icmpx') return ICMPX[code] ?? -1
  return type === 'icmp' ? (ICMP[code] ?? -1) : -1
}
