/**
 * ICMP counters by message type, as /proc/net/snmp names them.
 *
 * Linux: net/ipv4/proc.c (icmpmibmap), net/ipv4/icmp.c (icmp_out_count, icmp_pointers).
 */
import type { Netns } from '../netns.ts'

/** NR_ICMP_TYPES */
export const NR_ICMP_TYPES = 18

const NAMES: readonly (string | undefined)[] = [
  'EchoReps',
  undefined,
  undefined,
  'DestUnreachs',
  'SrcQuenchs',
  'Redirects',
  undefined,
  undefined,
  'Echos',
  undefined,
  undefined,
  'TimeExcds',
  'ParmProbs',
  'Timestamps',
  'TimestampReps',
  undefined,
  undefined,
  'AddrMasks',
  'AddrMaskReps',
]
const IN = NAMES.map((n) => (n === undefined ? undefined : `Icmp.In${n}`))
const OUT = NAMES.map((n) => (n === undefined ? undefined : `Icmp.Out${n}`))

/** icmp_pointers[type].error: the message reports an error about another packet. */
export function icmpIsError(type: number): boolean {
  // icmp_pointers[].error: the types without a meaning count as errors too
  return (0x1efe & (1 << type)) !== 0 && type < 32
}

/** ICMPMSGIN_INC_STATS */
export function icmpInCount(ns: Netns, type: number): void {
  const name = IN[type]
  if (name !== undefined) ns.count(name)
}

/** icmp_out_count */
export function icmpOutCount(ns: Netns, type: number): void {
  ns.count('Icmp.OutMsgs')
  const name = OUT[type]
  if (name !== undefined) ns.count(name)
}
