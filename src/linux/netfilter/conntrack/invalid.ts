/**
 * Why conntrack calls a packet INVALID: the texts that the kernel logs with nf_conntrack_log_invalid.
 *
 * Linux: nf_l4proto_log_invalid and its callers. The number travels in T_CT_INVALID (detail), the text as its reference.
 */
import { M_DEV, META_SHIFT } from '../../../packet/layout.ts'
import type { Netns } from '../../netns.ts'
import { T_CT_INVALID } from '../../trace.ts'
import type { World } from '../../world.ts'

export const CTI_NONE = 0
export const CTI_UNTRACKED = 1
export const CTI_SHORT = 2
export const CTI_CHECKSUM = 3
export const CTI_TRUNCATED = 4
export const CTI_TCP_FLAGS = 5
export const CTI_TCP_NEW = 6
export const CTI_TCP_STATE = 7
export const CTI_TCP_IGNORED = 8
export const CTI_TCP_RST = 9
export const CTI_TCP_CHALLENGE_ACK = 10
export const CTI_TCP_SEQ_OVER = 11
export const CTI_TCP_ACK_OVER = 12
export const CTI_TCP_SEQ_UNDER = 13
export const CTI_TCP_ACK_UNDER = 14
export const CTI_TCP_OVERSHOT = 15
export const CTI_ICMP_TYPE = 16
export const CTI_ICMP_NEW = 17
export const CTI_ICMP_INNER = 18
export const CTI_ICMP_UNKNOWN = 19
export const CTI_ICMP_DADDR = 20
export const CTI_HEADER = 21
export const CTI_ICMP_NO_INVERSE = 22

/** Sentence per code. */
export const CT_INVALID_TEXT: readonly string[] = [
  '',
  'not tracked (NOTRACK)',
  'short packet',
  'bad checksum',
  'truncated/malformed packet',
  'invalid tcp flag combination',
  'invalid new tcp connection (only a SYN or, with tcp_loose, an ACK starts one)',
  'tcp packet does not fit the state of the connection',
  'tcp packet ignored: it passes without changing the connection',
  'invalid rst',
  'challenge-ack ignored',
  'SEQ is over upper bound (over the window of the receiver)',
  'ACK is over upper bound (ACKed data not seen yet)',
  'SEQ is under lower bound (already ACKed data retransmitted)',
  'ignored ACK under lower bound (possible overly delayed)',
  'more bytes than expected by the receive window',
  'invalid icmp type',
  'this icmp type cannot start a connection',
  'the quoted packet cannot be read',
  'the icmp error quotes no known connection',
  'outer daddr != inner',
  'bogus IP header',
  'this icmp type has no answer and belongs to no connection',
]

/** Tells the tracer why a packet is INVALID, UNTRACKED, or passes unheeded. */
export function traceInvalid(w: World, ns: Netns, slot: number, ctinfo: number, detail: number): void {
  if (w.tracer === null) return
  const dev = w.devices[w.arena.meta[(slot << META_SHIFT) + M_DEV]!] ?? null
  w.tracer.step(T_CT_INVALID, slot, ns, dev, ctinfo, detail, 0, CT_INVALID_TEXT[detail])
}
