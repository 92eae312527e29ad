/**
 * TCP tracking: state, timeouts, and what may pass.
 *
 * Linux 6.18: nf_conntrack_tcp_packet, tcp_new, tcp_error, nf_tcp_handle_invalid
 * (net/netfilter/nf_conntrack_proto_tcp.c). Mid-stream pickup (tcp_loose) takes the window from the packet and is liberal.
 * Not modelled: SYNPROXY, per-connection timeout policies.
 */
import { M_DATA, M_LEN, META_SHIFT } from '../../../packet/layout.ts'
import type { NetSysctl } from '../../sysctl.ts'
import type { World } from '../../world.ts'
import { nfIpChecksumOk } from './checksum.ts'
import {
  CTI_CHECKSUM,
  CTI_SHORT,
  CTI_TCP_CHALLENGE_ACK,
  CTI_TCP_FLAGS,
  CTI_TCP_IGNORED,
  CTI_TCP_NEW,
  CTI_TCP_RST,
  CTI_TCP_STATE,
  CTI_TRUNCATED,
  traceInvalid,
} from './invalid.ts'
import {
  C_ACCT,
  C_PROTO,
  C_STATUS,
  C_TCP_LAST_ACK,
  C_TCP_LAST_DIR,
  C_TCP_LAST_END,
  C_TCP_LAST_FLAGS,
  C_TCP_LAST_INDEX,
  C_TCP_LAST_SEQ,
  C_TCP_LAST_WIN,
  C_TCP_LAST_WSCALE,
  C_TCP_RETRANS,
  C_TCP_SEEN,
  C_TCP_STATE,
  C_WORDS,
  ctinfo2dir,
  IP_CT_DIR_ORIGINAL,
  IP_CT_DIR_REPLY,
  IPPROTO_TCP,
  IPS_ASSURED,
  IPS_CONFIRMED,
  IPS_FIXED_TIMEOUT,
  IPS_SEEN_REPLY,
  NF_ACCEPT,
  NF_DROP,
  NF_INET_PRE_ROUTING,
  NF_REPEAT,
  S_END,
  S_FLAGS,
  S_MAXACK,
  S_MAXEND,
  S_MAXWIN,
  S_SCALE,
  SEEN_WORDS,
} from './layout.ts'
import { acctPacket, killConntrack } from './lifetime.ts'
import type { Conntrack } from './table.ts'
import {
  isClosing,
  nextTcpState,
  TCP_ACK_SET,
  TCP_CONNTRACK_CLOSE,
  TCP_CONNTRACK_CLOSE_WAIT,
  TCP_CONNTRACK_ESTABLISHED,
  TCP_CONNTRACK_FIN_WAIT,
  TCP_CONNTRACK_IGNORE,
  TCP_CONNTRACK_LAST_ACK,
  TCP_CONNTRACK_MAX,
  TCP_CONNTRACK_NONE,
  TCP_CONNTRACK_SYN_RECV,
  TCP_CONNTRACK_SYN_SENT,
  TCP_CONNTRACK_SYN_SENT2,
  TCP_CONNTRACK_TIME_WAIT,
  TCP_FIN_SET,
  TCP_INVALID_FLAGS,
  TCP_NONE_SET,
  TCP_RST_SET,
  TCP_SYN_SET,
  TCP_SYNACK_SET,
  tcpPacketKind,
} from './tcp-states.ts'
import {
  before,
  NFCT_TCP_IGNORE,
  NFCT_TCP_INVALID,
  segmentEnd,
  TCP_EXP_CHALLENGE_ACK,
  TCP_FLAG_BE_LIBERAL,
  TCP_FLAG_CLOSE_INIT,
  TCP_FLAG_DATA_UNACKNOWLEDGED,
  TCP_FLAG_MAXACK_SET,
  TCP_FLAG_SACK_PERM,
  TCP_FLAG_WINDOW_SCALE,
  TCP_SIMULTANEOUS_OPEN,
  tcpInWindow,
  tcpOptions,
  tcpWindowDetail,
} from './tcp-window.ts'

/** Six words for the options of a SYN that passes unheeded. */
const seenScratch = new Int32Array(SEEN_WORDS)

/** tcp_timeouts[state] in seconds, from the namespace's settings. */
function stateTimeout(s: NetSysctl, state: number): number {
  if (state === TCP_CONNTRACK_ESTABLISHED) return s.nf_conntrack_tcp_timeout_established
  switch (state) {
    case TCP_CONNTRACK_SYN_SENT:
    case TCP_CONNTRACK_SYN_SENT2:
    case TCP_CONNTRACK_NONE:
      return s.nf_conntrack_tcp_timeout_syn_sent
    case TCP_CONNTRACK_SYN_RECV:
      return s.nf_conntrack_tcp_timeout_syn_recv
    case TCP_CONNTRACK_FIN_WAIT:
      return s.nf_conntrack_tcp_timeout_fin_wait
    case TCP_CONNTRACK_CLOSE_WAIT:
      return s.nf_conntrack_tcp_timeout_close_wait
    case TCP_CONNTRACK_LAST_ACK:
      return s.nf_conntrack_tcp_timeout_last_ack
    case TCP_CONNTRACK_TIME_WAIT:
      return s.nf_conntrack_tcp_timeout_time_wait
    default:
      return s.nf_conntrack_tcp_timeout_close
  }
}

/** nf_conntrack_tcp_packet: NF_ACCEPT; -NF_ACCEPT = INVALID; -NF_REPEAT = the entry is gone, look up again. */
export function tcpPacket(
  w: World,
  ct: Conntrack,
  hook: number,
  slot: number,
  id: number,
  ctinfo: number,
  th: number,
): number {
  const { meta, view } = w.arena
  const m = slot << META_SHIFT
  const pktEnd = meta[m + M_DATA]! + meta[m + M_LEN]!
  const sysctl = ct.ns.sysctl
  // tcp_error
  const have = pktEnd - th
  if (have < 20) return invalid(w, ct, slot, CTI_SHORT)
  // data offset, flags, window
  const word = view.getInt32(th + 12)
  const doffBytes = (word >>> 28) << 2
  if (doffBytes < 20 || have < doffBytes) return invalid(w, ct, slot, CTI_TRUNCATED)
  if (
    hook === NF_INET_PRE_ROUTING &&
    sysctl.nf_conntrack_checksum !== 0 &&
    !nfIpChecksumOk(w.arena, slot, th, IPPROTO_TCP)
  )
    return invalid(w, ct, slot, CTI_CHECKSUM)
  const index = tcpPacketKind((word >>> 16) & 0xff)
  if (index === TCP_INVALID_FLAGS) return invalid(w, ct, slot, CTI_TCP_FLAGS)
  const rows = ct.hash.rows
  const e = id * C_WORDS
  if ((rows[e + C_STATUS]! & IPS_CONFIRMED) === 0 && !tcpNew(rows, e, index, view, th, pktEnd, sysctl))
    return invalid(w, ct, slot, CTI_TCP_NEW)

  const dir = ctinfo2dir(ctinfo)
  let oldState = rows[e + C_TCP_STATE]!
  let newState = nextTcpState(dir, index, oldState)
  let checkWindow = true

  switch (newState) {
    case TCP_CONNTRACK_SYN_SENT:
    case TCP_CONNTRACK_IGNORE: {
      if (newState === TCP_CONNTRACK_SYN_SENT) {
        if (oldState < TCP_CONNTRACK_TIME_WAIT) break
        const closeInit =
          (rows[e + C_TCP_SEEN + S_FLAGS]! | rows[e + C_TCP_SEEN + SEEN_WORDS + S_FLAGS]!) & TCP_FLAG_CLOSE_INIT
        if (closeInit !== 0 || (rows[e + C_TCP_LAST_DIR] === dir && rows[e + C_TCP_LAST_INDEX] === TCP_RST_SET)) {
          // a closed or aborted connection is opened again
          return killConntrack(ct, id) ? -NF_REPEAT : NF_DROP
        }
      }
      const lastSeen = e + C_TCP_SEEN + rows[e + C_TCP_LAST_DIR]! * SEEN_WORDS
      if (
        index === TCP_SYNACK_SET &&
        rows[e + C_TCP_LAST_INDEX] === TCP_SYN_SET &&
        rows[e + C_TCP_LAST_DIR] !== dir &&
        view.getInt32(th + 8) === rows[e + C_TCP_LAST_END]
      ) {
        // it answers a SYN that passed unheeded: both ends are in sync, now so is the entry
        oldState = TCP_CONNTRACK_SYN_SENT
        newState = TCP_CONNTRACK_SYN_RECV
        rows[lastSeen + S_END] = rows[e + C_TCP_LAST_END]!
        rows[lastSeen + S_MAXEND] = rows[e + C_TCP_LAST_END]!
        rows[lastSeen + S_MAXWIN] = rows[e + C_TCP_LAST_WIN] === 0 ? 1 : rows[e + C_TCP_LAST_WIN]!
        rows[lastSeen + S_SCALE] = rows[e + C_TCP_LAST_WSCALE]!
        rows[e + C_TCP_LAST_FLAGS] = rows[e + C_TCP_LAST_FLAGS]! & ~TCP_EXP_CHALLENGE_ACK
        rows[lastSeen + S_FLAGS] = rows[e + C_TCP_LAST_FLAGS]!
        const mine = e + C_TCP_SEEN + dir * SEEN_WORDS
        const liberal = rows[mine + S_FLAGS]! & TCP_FLAG_BE_LIBERAL
        rows.fill(0, mine, mine + SEEN_WORDS)
        rows[mine + S_FLAGS] = liberal
        break
      }
      noteIgnored(rows, e, view, th, pktEnd, dir, index, oldState)
      traceInvalid(w, ct.ns, slot, ctinfo, CTI_TCP_IGNORED)
      return NF_ACCEPT
    }
    case TCP_CONNTRACK_MAX:
      return invalid(w, ct, slot, CTI_TCP_STATE)
    case TCP_CONNTRACK_TIME_WAIT:
      if (
        oldState === TCP_CONNTRACK_LAST_ACK &&
        index === TCP_ACK_SET &&
        rows[e + C_TCP_LAST_DIR] !== dir &&
        rows[e + C_TCP_LAST_INDEX] === TCP_SYN_SET &&
        (rows[e + C_TCP_LAST_FLAGS]! & TCP_EXP_CHALLENGE_ACK) !== 0
      ) {
        rows[e + C_TCP_LAST_FLAGS] = rows[e + C_TCP_LAST_FLAGS]! & ~TCP_EXP_CHALLENGE_ACK
        traceInvalid(w, ct.ns, slot, ctinfo, CTI_TCP_CHALLENGE_ACK)
        return NF_ACCEPT
      }
      break
    case TCP_CONNTRACK_SYN_SENT2:
      rows[e + C_TCP_LAST_FLAGS] = rows[e + C_TCP_LAST_FLAGS]! | TCP_SIMULTANEOUS_OPEN
      break
    case TCP_CONNTRACK_SYN_RECV:
      if (
        dir === IP_CT_DIR_REPLY &&
        index === TCP_ACK_SET &&
        (rows[e + C_TCP_LAST_FLAGS]! & TCP_SIMULTANEOUS_OPEN) !== 0
      )
        newState = TCP_CONNTRACK_ESTABLISHED
      break
    case TCP_CONNTRACK_CLOSE: {
      if (index !== TCP_RST_SET) break
      const judged = judgeRst(rows, e, dir, view.getInt32(th + 4), view.getInt32(th + 8), oldState, sysctl)
      if (judged === RST_INVALID) return invalid(w, ct, slot, CTI_TCP_RST)
      if (judged === RST_SKIP_WINDOW) checkWindow = false
      else if (judged === RST_KEEP_STATE) newState = oldState
      else if (judged === RST_KEEP_STATE_SKIP_WINDOW) {
        newState = oldState
        checkWindow = false
      }
      break
    }
    default:
      break
  }

  if (checkWindow) {
    const action = tcpInWindow(rows, e, dir, index, view, th, pktEnd, word, sysctl)
    if (action === NFCT_TCP_IGNORE) {
      traceInvalid(w, ct.ns, slot, ctinfo, tcpWindowDetail.code)
      return NF_ACCEPT
    }
    if (action === NFCT_TCP_INVALID) {
      handleInvalid(ct, id, dir, index)
      return invalid(w, ct, slot, tcpWindowDetail.code)
    }
  }

  rows[e + C_TCP_LAST_INDEX] = index
  rows[e + C_TCP_LAST_DIR] = dir
  rows[e + C_TCP_STATE] = newState
  if (oldState !== newState && newState === TCP_CONNTRACK_FIN_WAIT) {
    const f = e + C_TCP_SEEN + dir * SEEN_WORDS + S_FLAGS
    rows[f] = rows[f]! | TCP_FLAG_CLOSE_INIT
  }
  let timeout = pickTimeout(rows, e, index, newState, sysctl)
  const status = rows[e + C_STATUS]!
  if ((status & IPS_SEEN_REPLY) === 0) {
    if (index === TCP_RST_SET) {
      // the only reply is a RST: there is no connection
      killConntrack(ct, id)
      return NF_ACCEPT
    }
    // a repeated SYN must not keep the entry alive
    if (index === TCP_SYN_SET && oldState === TCP_CONNTRACK_SYN_SENT) return NF_ACCEPT
    if (newState === TCP_CONNTRACK_ESTABLISHED)
      timeout = Math.min(timeout, sysctl.nf_conntrack_tcp_timeout_unacknowledged)
  } else if (
    (status & IPS_ASSURED) === 0 &&
    (oldState === TCP_CONNTRACK_SYN_RECV || oldState === TCP_CONNTRACK_ESTABLISHED) &&
    newState === TCP_CONNTRACK_ESTABLISHED
  )
    rows[e + C_STATUS] = status | IPS_ASSURED
  // __nf_ct_refresh_acct
  if (ct.hash.acct !== null) acctPacket(w, ct, slot, id)
  if ((status & IPS_FIXED_TIMEOUT) === 0)
    ct.hash.timeout[id] = (status & IPS_CONFIRMED) !== 0 ? timeout * 1e9 + w.nowNs : timeout * 1e9
  return NF_ACCEPT
}

const RST_CHECK_WINDOW = 0
const RST_SKIP_WINDOW = 1
const RST_INVALID = 2
const RST_KEEP_STATE = 3
const RST_KEEP_STATE_SKIP_WINDOW = 4

/** The TCP_CONNTRACK_CLOSE case of nf_conntrack_tcp_packet: whether a RST is believed. */
function judgeRst(
  rows: Int32Array,
  e: number,
  dir: number,
  seq: number,
  ackSeq: number,
  oldState: number,
  sysctl: NetSysctl,
): number {
  if (isClosing(oldState)) return RST_SKIP_WINDOW
  const status = rows[e + C_STATUS]!
  const lastIndex = rows[e + C_TCP_LAST_INDEX]!
  const lastDir = rows[e + C_TCP_LAST_DIR]!
  const other = e + C_TCP_SEEN + (1 - dir) * SEEN_WORDS
  let keep = false
  if ((rows[other + S_FLAGS]! & TCP_FLAG_MAXACK_SET) !== 0 && lastIndex !== TCP_SYN_SET) {
    const established = oldState === TCP_CONNTRACK_ESTABLISHED && (status & IPS_ASSURED) !== 0
    if (seq === 0 && !established) return RST_CHECK_WINDOW
    const maxack = rows[other + S_MAXACK]!
    if (before(seq, maxack) && sysctl.nf_conntrack_tcp_ignore_invalid_rst === 0) return RST_INVALID
    if (!established || seq === maxack) return RST_CHECK_WINDOW
    // part of a train: data, then the RST right behind it
    if (lastIndex === TCP_ACK_SET && lastDir === dir && seq === rows[e + C_TCP_LAST_END]) return RST_CHECK_WINDOW
    // not exactly in sequence: the receiver may answer with a challenge ACK, the connection lives on
    keep = true
  }
  const answersIgnored =
    ((status & IPS_SEEN_REPLY) !== 0 && lastIndex === TCP_SYN_SET && lastDir !== dir) ||
    ((status & IPS_ASSURED) === 0 && lastIndex === TCP_ACK_SET)
  let skip = answersIgnored && ackSeq === rows[e + C_TCP_LAST_END]
  if (
    oldState === TCP_CONNTRACK_SYN_SENT &&
    lastIndex === TCP_ACK_SET &&
    lastDir === IP_CT_DIR_REPLY &&
    seq === rows[e + C_TCP_LAST_ACK]
  )
    skip = true
  if (keep) return skip ? RST_KEEP_STATE_SKIP_WINDOW : RST_KEEP_STATE
  return skip ? RST_SKIP_WINDOW : RST_CHECK_WINDOW
}

/** What is noted of a packet that passes without being believed. */
function noteIgnored(
  rows: Int32Array,
  e: number,
  view: DataView,
  th: number,
  pktEnd: number,
  dir: number,
  index: number,
  oldState: number,
): void {
  const flags = view.getUint8(th + 13)
  const doffBytes = (view.getUint8(th + 12) >>> 4) << 2
  const seq = view.getInt32(th + 4)
  rows[e + C_TCP_LAST_INDEX] = index
  rows[e + C_TCP_LAST_DIR] = dir
  rows[e + C_TCP_LAST_SEQ] = seq
  rows[e + C_TCP_LAST_END] = segmentEnd(seq, pktEnd - th, doffBytes, flags)
  rows[e + C_TCP_LAST_WIN] = view.getUint16(th + 14)
  if (index === TCP_SYN_SET && dir === IP_CT_DIR_ORIGINAL) {
    let lastFlags = 0
    rows[e + C_TCP_LAST_WSCALE] = 0
    seenScratch.fill(0)
    tcpOptions(seenScratch, 0, view, th, doffBytes)
    if ((seenScratch[S_FLAGS]! & TCP_FLAG_WINDOW_SCALE) !== 0) {
      lastFlags |= TCP_FLAG_WINDOW_SCALE
      rows[e + C_TCP_LAST_WSCALE] = seenScratch[S_SCALE]!
    }
    lastFlags |= seenScratch[S_FLAGS]! & TCP_FLAG_SACK_PERM
    if (oldState === TCP_CONNTRACK_LAST_ACK) lastFlags |= TCP_EXP_CHALLENGE_ACK
    rows[e + C_TCP_LAST_FLAGS] = lastFlags
  }
  if (oldState === TCP_CONNTRACK_SYN_SENT && index === TCP_ACK_SET && dir === IP_CT_DIR_REPLY)
    rows[e + C_TCP_LAST_ACK] = view.getInt32(th + 8)
}

/** Seconds that an accepted packet gives the entry. */
function pickTimeout(rows: Int32Array, e: number, index: number, state: number, s: NetSysctl): number {
  const normal = stateTimeout(s, state)
  if (rows[e + C_TCP_RETRANS]! >= s.nf_conntrack_tcp_max_retrans && normal > s.nf_conntrack_tcp_timeout_max_retrans)
    return s.nf_conntrack_tcp_timeout_max_retrans
  if (index === TCP_RST_SET) return s.nf_conntrack_tcp_timeout_close
  const both = rows[e + C_TCP_SEEN + S_FLAGS]! | rows[e + C_TCP_SEEN + SEEN_WORDS + S_FLAGS]!
  if ((both & TCP_FLAG_DATA_UNACKNOWLEDGED) !== 0 && normal > s.nf_conntrack_tcp_timeout_unacknowledged)
    return s.nf_conntrack_tcp_timeout_unacknowledged
  if (rows[e + C_TCP_LAST_WIN] === 0 && normal > s.nf_conntrack_tcp_timeout_max_retrans)
    return s.nf_conntrack_tcp_timeout_max_retrans
  return normal
}

/** nf_tcp_handle_invalid: FIN or RST out of window from both ends shortens a long timeout. */
function handleInvalid(ct: Conntrack, id: number, dir: number, index: number): void {
  const rows = ct.hash.rows
  const e = id * C_WORDS
  const status = rows[e + C_STATUS]!
  if ((status & IPS_ASSURED) === 0 || (status & IPS_FIXED_TIMEOUT) !== 0) return
  if (index !== TCP_RST_SET && index !== TCP_FIN_SET) return
  const last = rows[e + C_TCP_LAST_INDEX]!
  if (rows[e + C_TCP_LAST_DIR] !== dir && (last === TCP_FIN_SET || last === TCP_RST_SET)) {
    const left = ct.expiresNs(id)
    const unack = ct.ns.sysctl.nf_conntrack_tcp_timeout_unacknowledged * 1e9
    if (left >= 120e9 && left > unack) ct.hash.timeout[id] = ct.ns.world.nowNs + unack
  } else {
    rows[e + C_TCP_LAST_INDEX] = index
    rows[e + C_TCP_LAST_DIR] = dir
  }
}

/** tcp_new: starts the entry from its first packet; false when that cannot begin or resume a connection. */
function tcpNew(
  rows: Int32Array,
  e: number,
  index: number,
  view: DataView,
  th: number,
  pktEnd: number,
  sysctl: NetSysctl,
): boolean {
  const flags = view.getUint8(th + 13)
  const doffBytes = (view.getUint8(th + 12) >>> 4) << 2
  const state = nextTcpState(IP_CT_DIR_ORIGINAL, index, TCP_CONNTRACK_NONE)
  if (state >= TCP_CONNTRACK_MAX) return false
  if (state !== TCP_CONNTRACK_SYN_SENT && sysctl.nf_conntrack_tcp_loose === 0) return false
  for (let i = e + C_TCP_STATE; i < e + C_ACCT; i++) rows[i] = 0
  const seen = e + C_TCP_SEEN
  const end = segmentEnd(view.getInt32(th + 4), pktEnd - th, doffBytes, flags)
  const win = view.getUint16(th + 14)
  const maxwin = win === 0 ? 1 : win
  rows[seen + S_END] = end
  rows[seen + S_MAXWIN] = maxwin
  if (state === TCP_CONNTRACK_SYN_SENT) {
    rows[seen + S_MAXEND] = end
    tcpOptions(rows, seen, view, th, doffBytes)
  } else {
    rows[seen + S_MAXEND] = end + maxwin
    rows[seen + S_FLAGS] = TCP_FLAG_SACK_PERM | TCP_FLAG_BE_LIBERAL
    rows[seen + SEEN_WORDS + S_FLAGS] = TCP_FLAG_SACK_PERM | TCP_FLAG_BE_LIBERAL
  }
  rows[e + C_TCP_LAST_INDEX] = TCP_NONE_SET
  return true
}

function invalid(w: World, ct: Conntrack, slot: number, detail: number): number {
  traceInvalid(w, ct.ns, slot, 0, detail)
  return -NF_ACCEPT
}

/** nf_conntrack_tcp_set_closing (nf_ct_set_closing of REJECT --reject-with tcp-reset): a listed connection is CLOSE now. */
export function nfConntrackTcpSetClosing(ct: Conntrack, id: number): void {
  const h = ct.hash
  const e = id * C_WORDS
  if ((h.rows[e + C_STATUS]! & IPS_CONFIRMED) === 0 || h.rows[e + C_PROTO] !== IPPROTO_TCP) return
  const old = h.rows[e + C_TCP_STATE]
  h.rows[e + C_TCP_STATE] = TCP_CONNTRACK_CLOSE
  if (old === TCP_CONNTRACK_CLOSE || (h.rows[e + C_STATUS]! & IPS_FIXED_TIMEOUT) !== 0) return
  h.timeout[id] = ct.ns.world.nowNs + ct.ns.sysctl.nf_conntrack_tcp_timeout_close * 1e9
}
