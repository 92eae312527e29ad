/**
 * The IP counters that the hot path writes, by number: struct ipstats_mib.
 *
 * Linux: include/uapi/linux/snmp.h, net/ipv4/proc.c. A `Map` by name costs 40 ns per event, a typed array one; names are
 * put back when somebody reads (`Netns.snmp`). Rarer counters (errors, ICMP, UDP) go by name.
 */
import type { Netns } from '../netns.ts'

/** Index in Netns.mib. */
export const MIB_IN_RECEIVES = 0
export const MIB_IN_OCTETS = 1
/** + ECN bits: not ECT, ECT(1), ECT(0), CE */
export const MIB_IN_NOECT = 2
export const MIB_IN_DELIVERS = 6
export const MIB_FORW_DATAGRAMS = 7
export const MIB_OUT_REQUESTS = 8
export const MIB_OUT_TRANSMITS = 9
export const MIB_OUT_OCTETS = 10
/** Datagrams that a tunnel takes; those that a socket reads are counted by name. */
export const MIB_UDP_IN_DATAGRAMS = 11

/** Names as /proc/net/snmp and /proc/net/netstat have them. */
export const MIB_NAMES: readonly string[] = [
  'Ip.InReceives',
  'IpExt.InOctets',
  'IpExt.InNoECTPkts',
  'IpExt.InECT1Pkts',
  'IpExt.InECT0Pkts',
  'IpExt.InCEPkts',
  'Ip.InDelivers',
  'Ip.ForwDatagrams',
  'Ip.OutRequests',
  'Ip.OutTransmits',
  'IpExt.OutOctets',
  'Udp.InDatagrams',
]

/** Counters and bytes of packets to or from groups and broadcast addresses (IP_UPD_PO_STATS). */
export function countPackets(ns: Netns, direction: 'In' | 'Out', kind: 'Mcast' | 'Bcast', bytes: number): void {
  ns.count(`IpExt.${direction}${kind}Pkts`)
  ns.count(`IpExt.${direction}${kind}Octets`, bytes)
}
