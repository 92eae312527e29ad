/**
 * TCP tracking: states, packet kinds and the transition table.
 *
 * Linux 6.18: tcp_conntracks[2][6][TCP_CONNTRACK_MAX], get_conntrack_index, tcp_valid_flags
 * (net/netfilter/nf_conntrack_proto_tcp.c), include/uapi/linux/netfilter/nf_conntrack_tcp.h.
 */

export const TCP_CONNTRACK_NONE = 0
export const TCP_CONNTRACK_SYN_SENT = 1
export const TCP_CONNTRACK_SYN_RECV = 2
export const TCP_CONNTRACK_ESTABLISHED = 3
export const TCP_CONNTRACK_FIN_WAIT = 4
export const TCP_CONNTRACK_CLOSE_WAIT = 5
export const TCP_CONNTRACK_LAST_ACK = 6
export const TCP_CONNTRACK_TIME_WAIT = 7
export const TCP_CONNTRACK_CLOSE = 8
export const TCP_CONNTRACK_SYN_SENT2 = 9
/** The packet is INVALID. */
export const TCP_CONNTRACK_MAX = 10
/** The packet passes, the state stays. */
export const TCP_CONNTRACK_IGNORE = 11

/** Names as conntrack(8) prints them, by state. */
export const TCP_CONNTRACK_NAMES: readonly string[] = [
  'NONE',
  'SYN_SENT',
  'SYN_RECV',
  'ESTABLISHED',
  'FIN_WAIT',
  'CLOSE_WAIT',
  'LAST_ACK',
  'TIME_WAIT',
  'CLOSE',
  'SYN_SENT2',
]

/** enum tcp_bit_set: what kind of packet the flags make. */
export const TCP_SYN_SET = 0
export const TCP_SYNACK_SET = 1
export const TCP_FIN_SET = 2
export const TCP_ACK_SET = 3
export const TCP_RST_SET = 4
export const TCP_NONE_SET = 5

/** Flag bits of byte 13. */
export const TCPHDR_FIN = 0x01
export const TCPHDR_SYN = 0x02
export const TCPHDR_RST = 0x04
export const TCPHDR_ACK = 0x10
export const TCPHDR_URG = 0x20

/** get_conntrack_index */
function conntrackIndex(flags: number): number {
  if ((flags & TCPHDR_RST) !== 0) return TCP_RST_SET
  if ((flags & TCPHDR_SYN) !== 0) return (flags & TCPHDR_ACK) !== 0 ? TCP_SYNACK_SET : TCP_SYN_SET
  if ((flags & TCPHDR_FIN) !== 0) return TCP_FIN_SET
  if ((flags & TCPHDR_ACK) !== 0) return TCP_ACK_SET
  return TCP_NONE_SET
}

/** tcp_valid_flags: combinations that may occur, PSH, ECE and CWR apart. */
function validTcpFlags(flags: number): boolean {
  const FS = TCPHDR_FIN
  const S = TCPHDR_SYN
  const R = TCPHDR_RST
  const A = TCPHDR_ACK
  const U = TCPHDR_URG
  switch (flags & (FS | S | R | A | U)) {
    case S:
    case S | U:
    case S | A:
    case R:
    case R | A:
    case FS | A:
    case FS | A | U:
    case A:
    case A | U:
      return true
    default:
      return false
  }
}

/** What tcpPacketKind answers for a combination that may not occur. */
export const TCP_INVALID_FLAGS = 255

const KINDS = Uint8Array.from({ length: 256 }, (_, f) => (validTcpFlags(f) ? conntrackIndex(f) : TCP_INVALID_FLAGS))

/** get_conntrack_index of a segment's flags (0 to 255), TCP_INVALID_FLAGS when tcp_valid_flags refuses them. */
export function tcpPacketKind(flags: number): number {
  return KINDS[flags]!
}

const sSS = TCP_CONNTRACK_SYN_SENT
const sSR = TCP_CONNTRACK_SYN_RECV
const sES = TCP_CONNTRACK_ESTABLISHED
const sFW = TCP_CONNTRACK_FIN_WAIT
const sCW = TCP_CONNTRACK_CLOSE_WAIT
const sLA = TCP_CONNTRACK_LAST_ACK
const sTW = TCP_CONNTRACK_TIME_WAIT
const sCL = TCP_CONNTRACK_CLOSE
const sS2 = TCP_CONNTRACK_SYN_SENT2
const sIV = TCP_CONNTRACK_MAX
const sIG = TCP_CONNTRACK_IGNORE

/** `tcp_conntracks[direction][kind][state]`, flattened: ((direction * 6) + kind) * 10 + state. */
// biome-ignore format: a table, columns sNO sSS sSR sES sFW sCW sLA sTW sCL sS2
export const TCP_CONNTRACKS = Uint8Array.of(
  // original direction
  /* syn    */ sSS, sSS, sIG, sIG, sIG, sIG, sIG, sSS, sSS, sS2,
  /* synack */ sIV, sIV, sSR, sIV, sIV, sIV, sIV, sIV, sIV, sSR,
  /* fin    */ sIV, sIV, sFW, sFW, sLA, sLA, sLA, sTW, sCL, sIV,
  /* ack    */ sES, sIV, sES, sES, sCW, sCW, sTW, sTW, sCL, sIV,
  /* rst    */ sIV, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL,
  /* none   */ sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV,
  // reply direction
  /* syn    */ sIV, sS2, sIV, sIV, sIV, sIV, sIV, sSS, sIV, sS2,
  /* synack */ sIV, sSR, sIG, sIG, sIG, sIG, sIG, sIG, sIG, sSR,
  /* fin    */ sIV, sIV, sFW, sFW, sLA, sLA, sLA, sTW, sCL, sIV,
  /* ack    */ sIV, sIG, sSR, sES, sCW, sCW, sTW, sTW, sCL, sIG,
  /* rst    */ sIV, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL,
  /* none   */ sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV,
)

/** Where the table leads from `state` by a packet of kind `index` in direction `dir`. */
export function nextTcpState(dir: number, index: number, state: number): number {
  return TCP_CONNTRACKS[(dir * 6 + index) * 10 + state]!
}

/** tcp_can_early_drop: the connection is closing. */
export function isClosing(state: number): boolean {
  return state >= TCP_CONNTRACK_FIN_WAIT && state <= TCP_CONNTRACK_CLOSE
}
