/**
 * TCP tracking: is the segment in the window?
 *
 * Linux 6.18: tcp_in_window, tcp_options, tcp_sack, tcp_init_sender, segment_seq_plus_len
 * (net/netfilter/nf_conntrack_proto_tcp.c), after van Rooij's "Real Stateful TCP Packet Filtering in IP Filter":
 *   I seq <= sender.maxend   II end >= sender.end - receiver.maxwin   III sack <= receiver.end
 *   IV sack >= receiver.end - max(sender.maxwin, 66000)
 * Sequence numbers are int32 words compared modulo 2^32. Not modelled: sequence offsets of NAT helpers.
 */
import type { NetSysctl } from '../../sysctl.ts'
import {
  CTI_NONE,
  CTI_TCP_ACK_OVER,
  CTI_TCP_ACK_UNDER,
  CTI_TCP_OVERSHOT,
  CTI_TCP_SEQ_OVER,
  CTI_TCP_SEQ_UNDER,
} from './invalid.ts'
import {
  C_TCP_LAST_ACK,
  C_TCP_LAST_DIR,
  C_TCP_LAST_END,
  C_TCP_LAST_SEQ,
  C_TCP_LAST_WIN,
  C_TCP_RETRANS,
  C_TCP_SEEN,
  C_TCP_STATE,
  IP_CT_DIR_REPLY,
  S_END,
  S_FLAGS,
  S_MAXACK,
  S_MAXEND,
  S_MAXWIN,
  S_SCALE,
  SEEN_WORDS,
} from './layout.ts'
import {
  TCP_ACK_SET,
  TCP_CONNTRACK_ESTABLISHED,
  TCP_CONNTRACK_SYN_RECV,
  TCP_CONNTRACK_SYN_SENT,
  TCPHDR_ACK,
  TCPHDR_FIN,
  TCPHDR_RST,
  TCPHDR_SYN,
} from './tcp-states.ts'

/** IP_CT_TCP_FLAG_* of struct ip_ct_tcp_state. */
export const TCP_FLAG_WINDOW_SCALE = 0x01
export const TCP_FLAG_SACK_PERM = 0x02
export const TCP_FLAG_CLOSE_INIT = 0x04
export const TCP_FLAG_BE_LIBERAL = 0x08
export const TCP_FLAG_DATA_UNACKNOWLEDGED = 0x10
export const TCP_FLAG_MAXACK_SET = 0x20
export const TCP_EXP_CHALLENGE_ACK = 0x40
export const TCP_SIMULTANEOUS_OPEN = 0x80

/** enum nf_ct_tcp_action */
export const NFCT_TCP_IGNORE = 0
export const NFCT_TCP_INVALID = 1
export const NFCT_TCP_ACCEPT = 2

const MAXACKWINCONST = 66000
const TCP_MAX_WSCALE = 14

/** What the last tcpInWindow that did not accept found wrong (CTI_*), for the trace. */
export const tcpWindowDetail = { code: CTI_NONE }

/** before(): a < b modulo 2^32. */
export function before(a: number, b: number): boolean {
  return ((a - b) | 0) < 0
}

/** after(): a > b modulo 2^32. */
export function after(a: number, b: number): boolean {
  return ((b - a) | 0) < 0
}

/** segment_seq_plus_len: sequence number behind the segment; `len` = bytes from the TCP header to the packet's end. */
export function segmentEnd(seq: number, len: number, doffBytes: number, flags: number): number {
  return (seq + len - doffBytes + ((flags & TCPHDR_SYN) !== 0 ? 1 : 0) + ((flags & TCPHDR_FIN) !== 0 ? 1 : 0)) | 0
}

/** tcp_options: window scale and SACK-permitted of the header at `th` into the six words at `s` of `rows`. */
export function tcpOptions(rows: Int32Array, s: number, view: DataView, th: number, doffBytes: number): void {
  let length = doffBytes - 20
  if (length === 0) return
  let p = th + 20
  rows[s + S_SCALE] = 0
  rows[s + S_FLAGS] = rows[s + S_FLAGS]! & TCP_FLAG_BE_LIBERAL
  while (length > 0) {
    const kind = view.getUint8(p)
    if (kind === 0) return
    if (kind === 1) {
      p++
      length--
      continue
    }
    if (length < 2) return
    const size = view.getUint8(p + 1)
    if (size < 2 || size > length) return
    if (kind === 4 && size === 2) rows[s + S_FLAGS] = rows[s + S_FLAGS]! | TCP_FLAG_SACK_PERM
    else if (kind === 3 && size === 3) {
      rows[s + S_SCALE] = Math.min(view.getUint8(p + 2), TCP_MAX_WSCALE)
      rows[s + S_FLAGS] = rows[s + S_FLAGS]! | TCP_FLAG_WINDOW_SCALE
    }
    p += size
    length -= size
  }
}

/** tcp_sack: the highest right edge of the SACK blocks, at least `ack`. */
function tcpSack(view: DataView, th: number, doffBytes: number, ack: number): number {
  let length = doffBytes - 20
  if (length === 0) return ack
  let p = th + 20
  let sack = ack
  if (length === 12 && view.getUint32(p) === 0x0101080a) return sack
  while (length > 0) {
    const kind = view.getUint8(p)
    if (kind === 0) return sack
    if (kind === 1) {
      p++
      length--
      continue
    }
    if (length < 2) return sack
    const size = view.getUint8(p + 1)
    if (size < 2 || size > length) return sack
    if (kind === 5 && size >= 10 && (size - 2) % 8 === 0) {
      for (let i = 0; i < size - 2; i += 8) {
        const edge = view.getInt32(p + 2 + i + 4)
        if (after(edge, sack)) sack = edge
      }
      return sack
    }
    p += size
    length -= size
  }
  return sack
}

/** tcp_init_sender: starts a direction from its SYN or SYN/ACK. */
function initSender(
  rows: Int32Array,
  sender: number,
  receiver: number,
  view: DataView,
  th: number,
  doffBytes: number,
  end: number,
  win: number,
  dir: number,
): void {
  rows[sender + S_END] = end
  rows[sender + S_MAXEND] = end
  rows[sender + S_MAXWIN] = win === 0 ? 1 : win
  tcpOptions(rows, sender, view, th, doffBytes)
  if (dir === IP_CT_DIR_REPLY && (rows[sender + S_FLAGS]! & rows[receiver + S_FLAGS]! & TCP_FLAG_WINDOW_SCALE) === 0) {
    rows[sender + S_SCALE] = 0
    rows[receiver + S_SCALE] = 0
  }
}

/** nf_tcp_log_invalid: liberal directions accept what the window refuses. */
function refuse(rows: Int32Array, sender: number, sysctl: NetSysctl, action: number, detail: number): number {
  if ((rows[sender + S_FLAGS]! & TCP_FLAG_BE_LIBERAL) !== 0 || sysctl.nf_conntrack_tcp_be_liberal !== 0)
    return NFCT_TCP_ACCEPT
  tcpWindowDetail.code = detail
  return action
}

/**
 * tcp_in_window: judges the segment at `th` (its packet ends at `pktEnd`) and learns from it.
 * @param e start of the entry's row; @param word third word of the TCP header: offset, flags, window
 */
export function tcpInWindow(
  rows: Int32Array,
  e: number,
  dir: number,
  index: number,
  view: DataView,
  th: number,
  pktEnd: number,
  word: number,
  sysctl: NetSysctl,
): number {
  const sender = e + C_TCP_SEEN + dir * SEEN_WORDS
  const receiver = e + C_TCP_SEEN + (1 - dir) * SEEN_WORDS
  const flags = (word >>> 16) & 0xff
  const doffBytes = (word >>> 28) << 2
  const hasAck = (flags & TCPHDR_ACK) !== 0
  const isSyn = (flags & TCPHDR_SYN) !== 0
  let seq = view.getInt32(th + 4)
  let ack = view.getInt32(th + 8)
  let sack = ack
  const winRaw = word & 0xffff
  let win = winRaw
  let end = segmentEnd(seq, pktEnd - th, doffBytes, flags)
  if ((rows[receiver + S_FLAGS]! & TCP_FLAG_SACK_PERM) !== 0) sack = tcpSack(view, th, doffBytes, sack)

  const state = rows[e + C_TCP_STATE]!
  if (rows[sender + S_MAXWIN] === 0) {
    if (isSyn) {
      initSender(rows, sender, receiver, view, th, doffBytes, end, win, dir)
      if (!hasAck) return NFCT_TCP_ACCEPT
    } else {
      // the middle of a connection: its history is lost, take what the packet says
      rows[sender + S_END] = end
      const swin = win << rows[sender + S_SCALE]!
      rows[sender + S_MAXWIN] = swin === 0 ? 1 : swin
      rows[sender + S_MAXEND] = end + rows[sender + S_MAXWIN]!
      if (rows[receiver + S_MAXWIN] === 0) {
        rows[receiver + S_END] = sack
        rows[receiver + S_MAXEND] = sack
      } else if (sack === ((rows[receiver + S_END]! + 1) | 0)) {
        rows[receiver + S_END] = rows[receiver + S_END]! + 1
      }
    }
  } else if (
    isSyn &&
    after(end, rows[sender + S_END]!) &&
    (state === TCP_CONNTRACK_SYN_SENT || state === TCP_CONNTRACK_SYN_RECV)
  ) {
    initSender(rows, sender, receiver, view, th, doffBytes, end, win, dir)
    if (dir === IP_CT_DIR_REPLY && !hasAck) return NFCT_TCP_ACCEPT
  }

  if (!hasAck || ((flags & TCPHDR_RST) !== 0 && ack === 0)) {
    ack = rows[receiver + S_END]!
    sack = ack
  }
  if ((flags & TCPHDR_RST) !== 0 && seq === 0 && state === TCP_CONNTRACK_SYN_SENT) {
    seq = rows[sender + S_END]!
    end = seq
  }

  const senderMaxwin = rows[sender + S_MAXWIN]! >>> 0
  const receiverEnd = rows[receiver + S_END]!
  const ackFloor = (receiverEnd - Math.max(senderMaxwin, MAXACKWINCONST) - 1) | 0
  const receiverMaxwin = rows[receiver + S_MAXWIN]!
  if (!before(seq, rows[sender + S_MAXEND]! + 1)) {
    const overshot = (end - rows[sender + S_MAXEND]! + 1) >>> 0
    const inReceiveWindow = receiverMaxwin !== 0 && after(end, (rows[sender + S_END]! - receiverMaxwin - 1) | 0)
    if (
      inReceiveWindow &&
      after(sack, ackFloor) &&
      overshot <= receiverMaxwin >>> 0 &&
      before(sack, (receiverEnd + 1) | 0)
    ) {
      rows[sender + S_END] = end
      rows[sender + S_FLAGS] = rows[sender + S_FLAGS]! | TCP_FLAG_DATA_UNACKNOWLEDGED
      return refuse(rows, sender, sysctl, NFCT_TCP_IGNORE, CTI_TCP_OVERSHOT)
    }
    return refuse(rows, sender, sysctl, NFCT_TCP_INVALID, CTI_TCP_SEQ_OVER)
  }
  if (!before(sack, (receiverEnd + 1) | 0)) return refuse(rows, sender, sysctl, NFCT_TCP_INVALID, CTI_TCP_ACK_OVER)
  const senderEnd = rows[sender + S_END]!
  if (receiverMaxwin !== 0 && !after(end, (senderEnd - receiverMaxwin - 1) | 0))
    return refuse(rows, sender, sysctl, NFCT_TCP_IGNORE, CTI_TCP_SEQ_UNDER)
  if (!after(sack, ackFloor)) return refuse(rows, sender, sysctl, NFCT_TCP_IGNORE, CTI_TCP_ACK_UNDER)

  if (!isSyn) win = win << rows[sender + S_SCALE]!
  const swin = (win + ((sack - ack) | 0)) >>> 0
  if (senderMaxwin < swin) rows[sender + S_MAXWIN] = swin
  let senderFlags = rows[sender + S_FLAGS]!
  if (after(end, senderEnd)) {
    rows[sender + S_END] = end
    senderFlags |= TCP_FLAG_DATA_UNACKNOWLEDGED
  }
  if (hasAck) {
    if ((senderFlags & TCP_FLAG_MAXACK_SET) === 0) {
      rows[sender + S_MAXACK] = ack
      senderFlags |= TCP_FLAG_MAXACK_SET
    } else if (after(ack, rows[sender + S_MAXACK]!)) rows[sender + S_MAXACK] = ack
  }
  rows[sender + S_FLAGS] = senderFlags
  if (receiverMaxwin !== 0 && after(end, rows[sender + S_MAXEND]!))
    rows[receiver + S_MAXWIN] = receiverMaxwin + (end - rows[sender + S_MAXEND]!)
  if (after((sack + win) | 0, (rows[receiver + S_MAXEND]! - 1) | 0))
    rows[receiver + S_MAXEND] = sack + win + (win === 0 ? 1 : 0)
  if (ack === receiverEnd) rows[receiver + S_FLAGS] = rows[receiver + S_FLAGS]! & ~TCP_FLAG_DATA_UNACKNOWLEDGED

  if (index === TCP_ACK_SET) {
    if (
      rows[e + C_TCP_LAST_DIR] === dir &&
      rows[e + C_TCP_LAST_SEQ] === seq &&
      rows[e + C_TCP_LAST_ACK] === ack &&
      rows[e + C_TCP_LAST_END] === end &&
      rows[e + C_TCP_LAST_WIN] === winRaw
    ) {
      rows[e + C_TCP_RETRANS] = (rows[e + C_TCP_RETRANS]! + 1) & 0xff
    } else {
      rows[e + C_TCP_LAST_DIR] = dir
      rows[e + C_TCP_LAST_SEQ] = seq
      rows[e + C_TCP_LAST_ACK] = ack
      rows[e + C_TCP_LAST_END] = end
      rows[e + C_TCP_LAST_WIN] = winRaw
      rows[e + C_TCP_RETRANS] = 0
    }
  }
  return NFCT_TCP_ACCEPT
}

/**
 * Whether tcp_in_window would accept the segment without remark, with nothing learned: for a segment in the middle of an
 * established connection whose directions both are known. The judge of a replayed packet; tcpInWindow does the learning.
 */
export function tcpWouldPass(
  rows: Int32Array,
  e: number,
  dir: number,
  view: DataView,
  th: number,
  pktEnd: number,
): boolean {
  const sender = e + C_TCP_SEEN + dir * SEEN_WORDS
  const receiver = e + C_TCP_SEEN + (1 - dir) * SEEN_WORDS
  const senderMaxwin = rows[sender + S_MAXWIN]! >>> 0
  const receiverMaxwin = rows[receiver + S_MAXWIN]!
  if (rows[e + C_TCP_STATE] !== TCP_CONNTRACK_ESTABLISHED || senderMaxwin === 0 || receiverMaxwin === 0) return false
  const doffBytes = (view.getUint8(th + 12) >>> 4) << 2
  if (doffBytes < 20 || pktEnd - th < doffBytes) return false
  const seq = view.getInt32(th + 4)
  let sack = view.getInt32(th + 8)
  if ((rows[receiver + S_FLAGS]! & TCP_FLAG_SACK_PERM) !== 0) sack = tcpSack(view, th, doffBytes, sack)
  const end = segmentEnd(seq, pktEnd - th, doffBytes, TCPHDR_ACK)
  const receiverEnd = rows[receiver + S_END]!
  return (
    before(seq, rows[sender + S_MAXEND]! + 1) &&
    before(sack, (receiverEnd + 1) | 0) &&
    after(end, (rows[sender + S_END]! - receiverMaxwin - 1) | 0) &&
    after(sack, (receiverEnd - Math.max(senderMaxwin, MAXACKWINCONST) - 1) | 0)
  )
}
