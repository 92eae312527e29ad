/**
 * UDP tracking.
 *
 * Linux: nf_conntrack_udp_packet, udp_error (net/netfilter/nf_conntrack_proto_udp.c). A flow seen both ways is kept for
 * nf_conntrack_udp_timeout; still active two seconds after it began it is a stream: ASSURED, kept for
 * nf_conntrack_udp_timeout_stream.
 */
import { M_DATA, M_LEN, META_SHIFT } from '../../../packet/layout.ts'
import type { World } from '../../world.ts'
import { nfIpChecksumOk } from './checksum.ts'
import { CTI_CHECKSUM, CTI_NONE, CTI_SHORT, CTI_TRUNCATED, traceInvalid } from './invalid.ts'
import {
  C_STATUS,
  C_WORDS,
  IPPROTO_UDP,
  IPS_ASSURED,
  IPS_CONFIRMED,
  IPS_NAT_CLASH,
  IPS_SEEN_REPLY,
  NF_ACCEPT,
  NF_INET_PRE_ROUTING,
} from './layout.ts'
import { refreshConntrack } from './lifetime.ts'
import type { Conntrack } from './table.ts'

const STREAM_AFTER_NS = 2e9

/** nf_conntrack_udp_packet: NF_ACCEPT, or -NF_ACCEPT for an INVALID packet. */
export function udpPacket(w: World, ct: Conntrack, hook: number, slot: number, id: number, l4: number): number {
  const error = udpError(w, ct, hook, slot, l4)
  if (error !== CTI_NONE) {
    traceInvalid(w, ct.ns, slot, 0, error)
    return -NF_ACCEPT
  }
  udpSeen(w, ct, slot, id)
  return NF_ACCEPT
}

/** The part of nf_conntrack_udp_packet behind the checks: what a good datagram does to its entry. */
export function udpSeen(w: World, ct: Conntrack, slot: number, id: number): void {
  const h = ct.hash
  const s = id * C_WORDS + C_STATUS
  const status = h.rows[s]!
  const sysctl = ct.ns.sysctl
  if ((status & IPS_CONFIRMED) === 0) h.streamTs[id] = w.nowNs + STREAM_AFTER_NS
  if ((status & IPS_SEEN_REPLY) === 0) {
    refreshConntrack(w, ct, slot, id, sysctl.nf_conntrack_udp_timeout * 1e9)
    return
  }
  const isStream = w.nowNs > h.streamTs[id]!
  refreshConntrack(
    w,
    ct,
    slot,
    id,
    (isStream ? sysctl.nf_conntrack_udp_timeout_stream : sysctl.nf_conntrack_udp_timeout) * 1e9,
  )
  if (isStream && (status & IPS_NAT_CLASH) === 0) h.rows[s] = status | IPS_ASSURED
}

/** udp_error: CTI_NONE when the header is well-formed and, on PRE_ROUTING, the checksum right. */
function udpError(w: World, ct: Conntrack, hook: number, slot: number, l4: number): number {
  const { meta, view } = w.arena
  const m = slot << META_SHIFT
  const have = meta[m + M_DATA]! + meta[m + M_LEN]! - l4
  if (have < 8) return CTI_SHORT
  const len = view.getUint16(l4 + 4)
  if (len > have || len < 8) return CTI_TRUNCATED
  if (view.getUint16(l4 + 6) === 0) return CTI_NONE
  if (hook === NF_INET_PRE_ROUTING && ct.ns.sysctl.nf_conntrack_checksum !== 0) {
    if (!nfIpChecksumOk(w.arena, slot, l4, IPPROTO_UDP)) return CTI_CHECKSUM
  }
  return CTI_NONE
}
