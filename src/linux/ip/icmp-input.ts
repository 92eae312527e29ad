/**
 * ICMP input: echo and timestamp replies, errors to the sockets they concern, redirects.
 *
 * Linux: net/ipv4/icmp.c (icmp_rcv, icmp_echo, icmp_timestamp, icmp_unreach, icmp_redirect, icmp_socket_deliver,
 * icmp_reply). Not modelled: extended echo (answered only with icmp_echo_enable_probe), ping sockets
 * (net.ipv4.ping_group_range is empty by default).
 */
import { M_DATA, M_DEV, M_LEN, M_MARK, M_NH, M_TH, META_SHIFT } from '../../packet/layout.ts'
import { internetChecksum } from '../../wire/checksum.ts'
import { consumeSkb, freeSkb } from '../core/skb.ts'
import { greErr } from '../device/gre.ts'
import { ipipErr } from '../device/ipip.ts'
import type { Netns } from '../netns.ts'
import { R_ECHO_IGNORED, R_L4_CSUM, R_L4_HDR, R_NO_SOCKET } from '../reasons.ts'
import { ipv4Redirect, ipv4UpdatePmtu } from '../route/exception.ts'
import { Flowi4 } from '../route/flow.ts'
import { ipRouteOutput } from '../route/output-route.ts'
import type { Rtable } from '../route/rtable.ts'
import { RT_TABLE_LOCAL, RTCF_BROADCAST, RTCF_MULTICAST, RTN_BROADCAST } from '../route/rtn.ts'
import { rawErr, tcpV4Err, udpErr } from '../socket/table.ts'
import { T_ICMP_SEND } from '../trace.ts'
import type { World } from '../world.ts'
import { EchoedOptions } from './echoed-options.ts'
import { icmpGlobalAllow, icmpPush, icmpXrlimAllow } from './icmp.ts'
import { icmpBuffer, icmpView } from './icmp-buffer.ts'
import { icmpInCount, NR_ICMP_TYPES } from './icmp-stats.ts'
import { fibComputeSpecDst, inetCurrentTimestamp, ipOptionsEcho } from './options.ts'

const IPPROTO_IPIP = 4
const IPPROTO_GRE = 47
const IPPROTO_RAW = 255
const ICMP_ECHOREPLY = 0
const ICMP_DEST_UNREACH = 3
const ICMP_SOURCE_QUENCH = 4
const ICMP_REDIRECT = 5
const ICMP_ECHO = 8
const ICMP_TIME_EXCEEDED = 11
const ICMP_PARAMETERPROB = 12
const ICMP_TIMESTAMP = 13
const ICMP_TIMESTAMPREPLY = 14
const ICMP_ADDRESS = 17
const ICMP_ADDRESSREPLY = 18
const ICMP_FRAG_NEEDED = 4
const NR_ICMP_UNREACH = 15
const ICMP_EXC_FRAGTIME = 1
const IPPROTO_ICMP = 1
const IPPROTO_TCP = 6
const IPPROTO_UDP = 17

const flow = new Flowi4()
const echoed = new EchoedOptions()

/** icmp_rcv: M_DATA at the ICMP header. Takes the slot. */
export function icmpRcv(w: World, ns: Netns, slot: number): void {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const v = w.arena.view
  const at = meta[m + M_DATA]!
  const len = meta[m + M_LEN]!
  ns.count('Icmp.InMsgs')
  if (internetChecksum(v, at, len) !== 0) {
    ns.count('Icmp.InCsumErrors')
    inputError(w, ns, slot, R_L4_CSUM)
    return
  }
  if (len < 8) {
    inputError(w, ns, slot, R_L4_HDR)
    return
  }
  const type = v.getUint8(at)
  icmpInCount(ns, type)
  if (type > NR_ICMP_TYPES) {
    if (type === 42 || type === 43) freeSkb(w, slot, R_NO_SOCKET, type)
    else inputError(w, ns, slot, R_L4_HDR)
    return
  }
  const rt = w.arena.dst[slot] as Rtable
  if ((rt.flags & (RTCF_BROADCAST | RTCF_MULTICAST)) !== 0) {
    const asks = type === ICMP_ECHO || type === ICMP_TIMESTAMP
    if (asks ? ns.sysctl.icmp_echo_ignore_broadcasts !== 0 : type !== ICMP_ADDRESS && type !== ICMP_ADDRESSREPLY) {
      inputError(w, ns, slot, R_ECHO_IGNORED)
      return
    }
  }
  switch (type) {
    case ICMP_ECHO:
      if (ns.sysctl.icmp_echo_ignore_all !== 0) {
        freeSkb(w, slot, R_ECHO_IGNORED)
        return
      }
      icmpEcho(w, ns, slot)
      consumeSkb(w, slot)
      return
    case ICMP_TIMESTAMP:
      if (len < 12) {
        inputError(w, ns, slot, R_L4_HDR)
        return
      }
      icmpTimestamp(w, ns, slot)
      consumeSkb(w, slot)
      return
    case ICMP_DEST_UNREACH:
    case ICMP_SOURCE_QUENCH:
    case ICMP_TIME_EXCEEDED:
    case ICMP_PARAMETERPROB:
      icmpUnreach(w, ns, slot, type)
      return
    case ICMP_REDIRECT:
      icmpRedirect(w, ns, slot)
      return
    case ICMP_ECHOREPLY:
      // ping_rcv: no ping socket; raw sockets have had their copy before
      consumeSkb(w, slot)
      return
    default:
      // icmp_discard
      consumeSkb(w, slot)
  }
}

function inputError(w: World, ns: Netns, slot: number, reason: number): void {
  ns.count('Icmp.InErrors')
  freeSkb(w, slot, reason)
}

/** icmp_echo: M_DATA at the ICMP header of the request. */
function icmpEcho(w: World, ns: Netns, slot: number): void {
  const m = slot << META_SHIFT
  const at = w.arena.meta[m + M_DATA]!
  const len = w.arena.meta[m + M_LEN]!
  icmpBuffer.set(w.arena.bytes.subarray(at, at + len))
  icmpBuffer[0] = ICMP_ECHOREPLY
  icmpReply(w, ns, slot, ICMP_ECHOREPLY, len)
}

/** icmp_timestamp: the receive and transmit times are the same. */
function icmpTimestamp(w: World, ns: Netns, slot: number): void {
  const at = w.arena.meta[(slot << META_SHIFT) + M_DATA]!
  icmpBuffer.set(w.arena.bytes.subarray(at, at + 12))
  icmpBuffer[0] = ICMP_TIMESTAMPREPLY
  icmpBuffer[1] = 0
  const now = inetCurrentTimestamp(w)
  icmpView.setUint32(12, now)
  icmpView.setUint32(16, now)
  icmpReply(w, ns, slot, ICMP_TIMESTAMPREPLY, 20)
}

/** icmp_reply: icmpBuffer holds the answer to the request in `slot`. */
function icmpReply(w: World, ns: Netns, slot: number, type: number, len: number): void {
  const m = slot << META_SHIFT
  const v = w.arena.view
  const nh = w.arena.meta[m + M_NH]!
  if (!ipOptionsEcho(w, ns, slot, echoed)) return
  const allowed = icmpGlobalAllow(ns, type, 0)
  if (allowed === 0 || ns.icmpLimits.sending) return
  const tos = v.getUint8(nh + 1)
  const fl = flow.reset()
  const saddr = fibComputeSpecDst(w, ns, slot)
  fl.daddr = echoed.srr !== 0 ? echoed.faddr : v.getInt32(nh + 12)
  fl.saddr = saddr
  fl.mark = ns.sysctl.fwmark_reflect !== 0 ? w.arena.meta[m + M_MARK]! : 0
  fl.tos = tos & 0xfc
  fl.proto = IPPROTO_ICMP
  const mark = fl.mark
  const rt = ipRouteOutput(ns, fl)
  if (rt === null || (allowed === 2 && !icmpXrlimAllow(w, ns, rt, fl.daddr))) return
  if (w.tracer !== null) {
    w.tracer.step(T_ICMP_SEND, slot, ns, w.devices[w.arena.meta[m + M_DEV]!] ?? null, type, 0, 0, null)
  }
  icmpView.setUint16(2, 0)
  icmpPush(w, ns, rt, fl, tos, mark, len, echoed, -1)
}

/** Moves M_DATA behind the ICMP header: to the quoted IP header. */
function pullIcmp(w: World, slot: number): number {
  const iph = w.arena.pull(slot, 8)
  return iph
}

/** icmp_unreach: an error about a packet of this host. */
function icmpUnreach(w: World, ns: Netns, slot: number, type: number): void {
  const m = slot << META_SHIFT
  const v = w.arena.view
  const icmph = w.arena.meta[m + M_DATA]!
  const iph = pullIcmp(w, slot)
  if (w.arena.meta[m + M_LEN]! < 20 || (v.getUint8(iph) & 15) < 5) {
    inputError(w, ns, slot, R_L4_HDR)
    return
  }
  const code = v.getUint8(icmph + 1)
  let info = 0
  if (type === ICMP_DEST_UNREACH) {
    if ((code & 15) === ICMP_FRAG_NEEDED) {
      const mode = ns.sysctl.ip_no_pmtu_disc
      const tagged = v.getUint8(iph + 9) === IPPROTO_TCP
      if (mode === 2 || (mode === 3 && !tagged)) {
        consumeSkb(w, slot)
        return
      }
      if (mode === 0 || mode === 3) info = v.getUint16(icmph + 6)
    }
    if (code > NR_ICMP_UNREACH) {
      consumeSkb(w, slot)
      return
    }
  } else if (type === ICMP_PARAMETERPROB) info = v.getUint8(icmph + 4)
  else if (type === ICMP_TIME_EXCEEDED && code === ICMP_EXC_FRAGTIME) {
    consumeSkb(w, slot)
    return
  }
  if (
    ns.sysctl.icmp_ignore_bogus_error_responses === 0 &&
    ns.fib.addrTypeIn(RT_TABLE_LOCAL, v.getInt32(iph + 16)) === RTN_BROADCAST
  ) {
    consumeSkb(w, slot)
    return
  }
  icmpSocketDeliver(w, ns, slot, info)
  consumeSkb(w, slot)
}

/** icmp_redirect */
function icmpRedirect(w: World, ns: Netns, slot: number): void {
  const m = slot << META_SHIFT
  const iph = pullIcmp(w, slot)
  if (w.arena.meta[m + M_LEN]! < 20 || (w.arena.view.getUint8(iph) & 15) < 5) {
    inputError(w, ns, slot, R_L4_HDR)
    return
  }
  icmpSocketDeliver(w, ns, slot, w.arena.view.getInt32(iph - 4))
  consumeSkb(w, slot)
}

/** icmp_socket_deliver: M_DATA at the quoted IP header, M_TH at the ICMP header. */
function icmpSocketDeliver(w: World, ns: Netns, slot: number, info: number): void {
  const m = slot << META_SHIFT
  const v = w.arena.view
  const iph = w.arena.meta[m + M_DATA]!
  const ihl = (v.getUint8(iph) & 15) << 2
  // sockets of IPPROTO_RAW receive nothing
  if (w.arena.meta[m + M_LEN]! < ihl + 8 || v.getUint8(iph + 9) === IPPROTO_RAW) {
    ns.count('Icmp.InErrors')
    return
  }
  rawErr(w, ns, slot, info)
  switch (v.getUint8(iph + 9)) {
    case IPPROTO_TCP:
      tcpV4Err(w, ns, slot, info)
      return
    case IPPROTO_UDP:
      udpErr(w, ns, slot, info)
      return
    case IPPROTO_IPIP: {
      const icmp = w.arena.meta[m + M_TH]!
      if (w.ipipLoaded) ipipErr(w, ns, slot, v.getUint8(icmp), v.getUint8(icmp + 1), info)
      return
    }
    case IPPROTO_GRE: {
      const icmp = w.arena.meta[m + M_TH]!
      const left = w.arena.meta[m + M_DATA]! + w.arena.meta[m + M_LEN]! - iph - ihl
      if (w.greLoaded) greErr(w, ns, slot, v.getUint8(icmp), v.getUint8(icmp + 1), info, left)
      return
    }
    case IPPROTO_ICMP:
      icmpErr(w, ns, slot, info, iph + ihl)
      return
    default:
      return
  }
}

/** icmp_err: an error about an ICMP message of this host; only echo replies are the kernel's own. */
function icmpErr(w: World, ns: Netns, slot: number, info: number, inner: number): void {
  const v = w.arena.view
  if (v.getUint8(inner) !== ICMP_ECHOREPLY) return
  const icmph = w.arena.meta[(slot << META_SHIFT) + M_DATA]! - 8
  const type = v.getUint8(icmph)
  if (type === ICMP_DEST_UNREACH && v.getUint8(icmph + 1) === ICMP_FRAG_NEEDED) {
    ipv4UpdatePmtu(w, ns, slot, info, -1, IPPROTO_ICMP)
  } else if (type === ICMP_REDIRECT) ipv4Redirect(w, ns, slot, -1, IPPROTO_ICMP)
}
