/**
 * Kinds of reject, as the shared sender of answers numbers them.
 *
 * Linux: nft_reject_icmp_code (net/netfilter/nft_reject.c) turns icmpx codes into ICMP codes; the answers are those of
 * iptables' REJECT (nf_reject_ipv4.c, nf_reject_ipv6.c).
 */

import {
  REJECT6_ADDR_UNREACH,
  REJECT6_ADM_PROHIBITED,
  REJECT6_NO_ROUTE,
  REJECT6_POLICY_FAIL,
  REJECT6_PORT_UNREACH,
  REJECT6_REJECT_ROUTE,
  REJECT6_TCP_RESET,
} from '../iptables/targets-ipv6.ts'
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

const ICMPV6: Readonly<Record<number, number>> = {
  0: REJECT6_NO_ROUTE,
  1: REJECT6_ADM_PROHIBITED,
  3: REJECT6_ADDR_UNREACH,
  4: REJECT6_PORT_UNREACH,
  5: REJECT6_POLICY_FAIL,
  6: REJECT6_REJECT_ROUTE,
}
/** nft_reject_icmpv6_code */
const ICMPX6: readonly number[] = [REJECT6_NO_ROUTE, REJECT6_PORT_UNREACH, REJECT6_ADDR_UNREACH, REJECT6_ADM_PROHIBITED]

/** The kind of a reject statement over IPv6; -1 for ICMP, which an IPv6 packet never gets. */
export function rejectKind6(type: string, code: number): number {
  if (type === 'tcp') return REJECT6_TCP_RESET
  if (type === 'icmpx') return ICMPX6[code] ?? -1
  return type === 'icmpv6' ? (ICMPV6[code] ?? -1) : -1
}
