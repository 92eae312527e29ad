/**
 * REJECT over IPv6: drops the packet and answers, with an ICMPv6 error or a TCP reset.
 *
 * Linux: net/ipv6/netfilter/ip6t_REJECT.c, nf_reject_ipv6.c (nf_send_unreach6, nf_send_reset6). No answer to later
 * fragments, to a reset, to a wrong checksum. A packet that came through a bridge is answered by the port it came in by.
 */
import {
  ETH_P_IPV6,
  M_CT,
  M_DATA,
  M_DEV,
  M_FLAGS,
  M_ID,
  M_LEN,
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
import { foldChecksum } from '../../../wire/checksum.ts'
import { devQueueXmit } from '../../core/dev.ts'
import { freeSkb } from '../../core/skb.ts'
import { exthdr, ipv6SkipExthdr } from '../../ipv6/exthdrs-core.ts'
import { Flowi6 } from '../../ipv6/flow6.ts'
import { icmpv6Send } from '../../ipv6/icmp.ts'
import { IPV6_ADDR_UNICAST } from '../../ipv6/in6.ts'
import { ip6LocalOut } from '../../ipv6/output.ts'
import { ip6RouteInput, ip6RouteOutput } from '../../ipv6/route.ts'
import type { Netns } from '../../netns.ts'
import { R_NF_REJECT, R_NO_ROUTE } from '../../reasons.ts'
import { T_CHILD } from '../../trace.ts'
import type { World } from '../../world.ts'
import { nfIpChecksumOk, swappedSum } from '../conntrack/checksum.ts'
import { nfCtAttach } from '../conntrack/core.ts'
import { nfConntrackTcpSetClosing } from '../conntrack/tcp.ts'
import { evalState } from './eval-state.ts'
import { verifiesChecksum } from './reject.ts'
import { REJECT6_POLICY_FAIL, REJECT6_REJECT_ROUTE, REJECT6_TCP_RESET } from './targets-ipv6.ts'

const NF_DROP = 0
const ICMPV6_DEST_UNREACH = 1
const ICMPV6_POLICY_FAIL = 5
const ICMPV6_REJECT_ROUTE = 6
const TCP_RST = 4
const TCP_ACK = 16
const RESET_BYTES = 60
const NF_INET_PRE_ROUTING = 0
const flow = new Flowi6()

/** reject_tg6: always NF_DROP. @param kind REJECT6_* */
export function rejectPacket6(w: World, ns: Netns, slot: number, kind: number): number {
  if (kind === REJECT6_TCP_RESET) sendReset6(w, ns, slot)
  else {
    const code =
      kind === REJECT6_POLICY_FAIL ? ICMPV6_POLICY_FAIL : kind === REJECT6_REJECT_ROUTE ? ICMPV6_REJECT_ROUTE : kind
    sendUnreach6(w, ns, slot, code)
  }
  w.dropReason = R_NF_REJECT
  return NF_DROP
}

/** nf_send_unreach6 */
function sendUnreach6(w: World, ns: Netns, slot: number, code: number): void {
  if (!checksumOk(w, slot)) return
  // a packet that was not routed yet gets its route for the answer
  if (evalState.hook === NF_INET_PRE_ROUTING && w.arena.dst[slot] === null) ip6RouteInput(w, ns, slot)
  icmpv6Send(w, slot, ICMPV6_DEST_UNREACH, code, 0)
}

/** reject6_csum_ok */
function checksumOk(w: World, slot: number): boolean {
  const { meta, view } = w.arena
  const m = slot << META_SHIFT
  const nh = evalState.nh
  const end = meta[m + M_DATA]! + meta[m + M_LEN]!
  if ((meta[m + M_FLAGS]! & SKB_CSUM_VALID) !== 0) return true
  const th = ipv6SkipExthdr(view, nh + 40, end, view.getUint8(nh + 6))
  if (th < 0 || th >= end || (exthdr.fragOff & ~7) !== 0) return false
  const proto = exthdr.nexthdr
  return !verifiesChecksum(w, proto, th, end) || nfIpChecksumOk(w.arena, slot, th, proto)
}

/** nf_send_reset6 */
function sendReset6(w: World, ns: Netns, slot: number): void {
  const { arena, in6 } = w
  const { view, meta } = arena
  const o = slot << META_SHIFT
  const nh = evalState.nh
  const end = meta[o + M_DATA]! + meta[o + M_LEN]!
  const saddr = in6.read(view, nh + 8)
  const daddr = in6.read(view, nh + 24)
  if ((in6.type(saddr) & IPV6_ADDR_UNICAST) === 0 || (in6.type(daddr) & IPV6_ADDR_UNICAST) === 0) return
  const th = ipv6SkipExthdr(view, nh + 40, end, view.getUint8(nh + 6))
  if (th < 0 || exthdr.nexthdr !== 6 || end - th < 20) return
  const flags = view.getUint8(th + 13)
  if ((flags & TCP_RST) !== 0 || !nfIpChecksumOk(arena, slot, th, 6)) return
  flow.reset()
  flow.proto = 6
  flow.saddr = daddr
  flow.daddr = saddr
  flow.sport = view.getUint16(th + 2)
  flow.dport = view.getUint16(th)
  flow.mark = ns.sysctl.ipv6.fwmark_reflect !== 0 ? meta[o + M_MARK]! : 0
  const rt = ip6RouteOutput(ns, flow)
  if (rt.error !== 0) return
  const reset = arena.alloc(RESET_BYTES)
  if (reset < 0) return
  const n = reset << META_SHIFT
  const ip = meta[n + M_DATA]!
  meta[n + M_NH] = ip
  meta[n + M_TH] = ip + 40
  meta[n + M_PROTO] = ETH_P_IPV6
  meta[n + M_DEV] = rt.dev.id
  meta[n + M_MARK] = flow.mark
  meta[n + M_FLAGS] = SKB_CSUM_OK
  arena.dst[reset] = rt
  writeReset6(w, ip, saddr, daddr, th, end - th, flags, rt.hoplimit())
  if (w.tracer !== null)
    w.tracer.step(T_CHILD, slot, ns, evalState.inDev ?? evalState.outDev, meta[n + M_ID]!, 0, 0, null)
  nfCtAttach(w, ns, reset, slot)
  if (meta[o + M_CT] !== 0 && ns.ct !== null) nfConntrackTcpSetClosing(ns.ct, meta[o + M_CT]!)
  if ((meta[o + M_NFB_STATE]! & NFB_PRESENT) !== 0) bridgeReset6(w, slot, reset)
  else ip6LocalOut(w, ns, reset)
}

/** nf_reject_ip6hdr_put and nf_reject_ip6_tcphdr_put; `saddr` and `daddr` are those of the packet that is refused. */
function writeReset6(
  w: World,
  ip: number,
  saddr: number,
  daddr: number,
  th: number,
  tcpLen: number,
  flags: number,
  hopLimit: number,
): void {
  const view = w.arena.view
  view.setInt32(ip, 0x60000000)
  view.setUint16(ip + 4, 20)
  view.setUint8(ip + 6, 6)
  view.setUint8(ip + 7, hopLimit)
  w.in6.write(view, ip + 8, daddr)
  w.in6.write(view, ip + 24, saddr)
  const tcp = ip + 40
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
  view.setUint16(tcp + 16, foldChecksum(w.in6.pseudoSum(daddr, saddr, 6, 20) + swappedSum(view, tcp, 20)))
}

/** The bridge case: out by the port that the packet came in by, source and destination MAC swapped. */
function bridgeReset6(w: World, slot: number, reset: number): void {
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
  arena.view.setUint16(eth + 12, ETH_P_IPV6)
  meta[n + M_DEV] = port
  devQueueXmit(w, reset)
}
