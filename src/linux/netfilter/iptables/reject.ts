/**
 * REJECT: drops the packet and answers, with an ICMP error or a TCP reset.
 *
 * Linux: net/ipv4/netfilter/ipt_REJECT.c, nf_reject_ipv4.c (nf_send_unreach, nf_send_reset). No answer to fragments, to a
 * reset, to a wrong checksum. The reset goes out by the reply's route, or, when the packet came through a bridge, by the
 * bridge port with the addresses of the original frame swapped.
 * Not modelled: nf_ct_set_closing (the shortened timeout of a connection that was reset by a rule).
 */
import {
  ETH_P_IP,
  M_CT,
  M_DATA,
  M_DEV,
  M_FLAGS,
  M_ID,
  M_MAC,
  M_MARK,
  M_NFB_IN,
  M_NFB_STATE,
  M_NH,
  M_PROTO,
  M_TH,
  META_SHIFT,
  NFB_PRESENT,
  SKB_CSUM_OK,
  SKB_CSUM_VALID,
} from '../../../packet/layout.ts'
import { internetChecksum, pseudoSumV4 } from '../../../wire/checksum.ts'
import { devQueueXmit } from '../../core/dev.ts'
import { freeSkb } from '../../core/skb.ts'
import { icmpSend } from '../../ip/icmp.ts'
import { ipLocalOut } from '../../ip/output.ts'
import type { Netns } from '../../netns.ts'
import { R_NF_REJECT, R_NO_ROUTE } from '../../reasons.ts'
import { ipRouteMeHarder } from '../../route/route.ts'
import type { Rtable } from '../../route/rtable.ts'
import { RTCF_BROADCAST, RTCF_MULTICAST, RTN_UNSPEC } from '../../route/rtn.ts'
import { T_CHILD } from '../../trace.ts'
import type { World } from '../../world.ts'
import { nfIpChecksumOk } from '../conntrack/checksum.ts'
import { nfCtAttach } from '../conntrack/core.ts'
import { nfConntrackTcpSetClosing } from '../conntrack/tcp.ts'
import { evalState } from './eval-state.ts'
import { REJECT_TCP_RESET } from './targets-other.ts'

const NF_DROP = 0
const ICMP_DEST_UNREACH = 3
/** ICMP code by REJECT_* kind. */
const CODES = new Int32Array([0, 1, 2, 3, -1, 9, 10, -1, 13])
const TCP_RST = 4
const TCP_ACK = 16
const RESET_BYTES = 40

/** reject_tg: always NF_DROP. */
export function rejectPacket(w: World, ns: Netns, slot: number, kind: number): number {
  if (kind === REJECT_TCP_RESET) sendReset(w, ns, slot)
  else sendUnreach(w, slot, CODES[kind]!)
  w.dropReason = R_NF_REJECT
  return NF_DROP
}

/** nf_send_unreach */
function sendUnreach(w: World, slot: number, code: number): void {
  const s = evalState
  if (s.fragOff !== 0) return
  const valid = (w.arena.meta[(slot << META_SHIFT) + M_FLAGS]! & SKB_CSUM_VALID) !== 0
  if (!valid && verifiesChecksum(w, s.proto, s.th, s.end) && !nfIpChecksumOk(w.arena, slot, s.th, s.proto)) return
  icmpSend(w, slot, ICMP_DEST_UNREACH, code, 0)
}

/** nf_reject_verify_csum, and what nf_ip_checksum lets pass. */
export function verifiesChecksum(w: World, proto: number, th: number, end: number): boolean {
  switch (proto) {
    case 33:
    case 47:
    case 50:
    case 51:
    case 132:
    case 136:
      return false
    case 17:
      return end - th < 8 || w.arena.view.getUint16(th + 6) !== 0
    default:
      return true
  }
}

/** nf_send_reset */
function sendReset(w: World, ns: Netns, slot: number): void {
  const s = evalState
  const { arena } = w
  const { view, meta } = arena
  const { nh, th } = s
  if (s.fragOff !== 0 || s.proto !== 6 || s.end - th < 20) return
  const flags = view.getUint8(th + 13)
  if ((flags & TCP_RST) !== 0 || !nfIpChecksumOk(arena, slot, th, 6)) return
  const rt = arena.dst[slot] as Rtable | null
  if (rt === null || (rt.flags & (RTCF_BROADCAST | RTCF_MULTICAST)) !== 0) return
  const o = slot << META_SHIFT
  const reset = arena.alloc(RESET_BYTES)
  if (reset < 0) return
  const n = reset << META_SHIFT
  const ip = meta[n + M_DATA]!
  meta[n + M_NH] = ip
  meta[n + M_TH] = ip + 20
  meta[n + M_PROTO] = ETH_P_IP
  meta[n + M_DEV] = meta[o + M_DEV]!
  meta[n + M_MARK] = ns.sysctl.fwmark_reflect !== 0 ? meta[o + M_MARK]! : 0
  meta[n + M_FLAGS] = SKB_CSUM_OK
  arena.dst[reset] = rt
  writeReset(view, ip, nh, th, s.end - th, flags, ns.sysctl.ip_default_ttl)
  if (w.tracer !== null)
    w.tracer.step(T_CHILD, slot, ns, s.inDev ?? s.outDev, w.arena.meta[(reset << META_SHIFT) + M_ID]!, 0, 0, null)
  if (ipRouteMeHarder(w, ns, reset, RTN_UNSPEC) < 0) {
    freeSkb(w, reset, R_NO_ROUTE)
    return
  }
  nfCtAttach(w, ns, reset, slot)
  if (meta[o + M_CT] !== 0 && ns.ct !== null) nfConntrackTcpSetClosing(ns.ct, meta[o + M_CT]!)
  if ((meta[o + M_NFB_STATE]! & NFB_PRESENT) !== 0) bridgeReset(w, slot, reset)
  else ipLocalOut(w, ns, reset)
}

function writeReset(
  view: DataView,
  ip: number,
  nh: number,
  th: number,
  tcpLen: number,
  flags: number,
  ttl: number,
): void {
  view.setUint16(ip, 0x4500)
  view.setUint16(ip + 2, RESET_BYTES)
  view.setUint16(ip + 4, 0)
  view.setUint16(ip + 6, 0x4000)
  view.setUint8(ip + 8, ttl)
  view.setUint8(ip + 9, 6)
  view.setUint16(ip + 10, 0)
  view.setInt32(ip + 12, view.getInt32(nh + 16))
  view.setInt32(ip + 16, view.getInt32(nh + 12))
  view.setUint16(ip + 10, internetChecksum(view, ip, 20))
  const tcp = ip + 20
  view.setUint16(tcp, view.getUint16(th + 2))
  view.setUint16(tcp + 2, view.getUint16(th))
  let seq = 0
  let ack = 0
  let out = TCP_RST
  if ((flags & TCP_ACK) !== 0) seq = view.getInt32(th + 8)
  else {
    const payload = tcpLen - (view.getUint8(th + 12) >>> 4) * 4
    ack = (view.getInt32(th + 4) + ((flags >> 1) & 1) + (flags & 1) + payload) | 0
    out |= TCP_ACK
  }
  view.setInt32(tcp + 4, seq)
  view.setInt32(tcp + 8, ack)
  view.setUint16(tcp + 12, (5 << 12) | out)
  view.setUint16(tcp + 14, 0)
  view.setUint32(tcp + 16, 0)
  const sum = pseudoSumV4(view.getInt32(ip + 12), view.getInt32(ip + 16), 6, 20)
  view.setUint16(tcp + 16, internetChecksum(view, tcp, 20, sum))
}

/** The bridge case: out by the port that the packet came in by, source and destination MAC swapped. */
function bridgeReset(w: World, slot: number, reset: number): void {
  const { arena } = w
  const { meta, bytes } = arena
  const o = slot << META_SHIFT
  const n = reset << META_SHIFT
  const port = meta[o + M_NFB_IN]!
  const mac = meta[o + M_MAC]!
  if (port < 0 || mac < 0) {
    freeSkb(w, reset, R_NO_ROUTE)
    return
  }
  const eth = arena.push(reset, 14)
  meta[n + M_MAC] = eth
  bytes.copyWithin(eth, mac + 6, mac + 12)
  bytes.copyWithin(eth + 6, mac, mac + 6)
  arena.view.setUint16(eth + 12, ETH_P_IP)
  meta[n + M_DEV] = port
  devQueueXmit(w, reset)
}
