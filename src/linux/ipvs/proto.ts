/**
 * What IPVS does per transport protocol: state transitions, and translation of ports with the checksum.
 *
 * Linux: set_tcp_state, tcp_snat_handler, tcp_dnat_handler, tcp_fast_csum_update and their likes in
 * net/netfilter/ipvs/ip_vs_proto_{tcp,udp,sctp}.c. Checksums are updated, not made anew; a UDP datagram without a checksum
 * gets one. Not modelled: application helpers, AH and ESP.
 */
import { CSUM_MANGLED_0, foldChecksum, internetChecksum, pseudoSumV4 } from '../../wire/checksum.ts'
import { crc32c } from '../../wire/crc32c.ts'
import { K_CADDR, K_CONTROL, K_DADDR, K_DPORT, K_FLAGS, K_STATE, K_VADDR, K_VPORT, K_WORDS } from './conn-table.ts'
import {
  IP_VS_CONN_F_INACTIVE,
  IP_VS_CONN_F_NOOUTPUT,
  IP_VS_CONN_F_TEMPLATE,
  IP_VS_CTPL_S_ASSURED,
  IP_VS_DIR_INPUT_ONLY,
  IP_VS_DIR_OUTPUT,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
} from './flags.ts'
import type { IpVsIphdr } from './iphdr.ts'
import type { IpVs } from './ipvs.ts'
import {
  IP_VS_SCTP_S_ESTABLISHED,
  IP_VS_TCP_S_ESTABLISHED,
  SCTP_COLUMNS,
  SCTP_EVENT_OF_CHUNK,
  SCTP_EVENTS,
  SCTP_STATES,
  TCP_COLUMNS,
  TCP_STATES,
  TCP_STATES_DOS,
  tcpStateActive,
} from './proto-states.ts'

const TCP_FIN = 1
const TCP_SYN = 2
const TCP_RST = 4
const TCP_ACK = 16
const SCTP_CID_ABORT = 6
const SCTP_CID_COOKIE_ECHO = 10
const SCTP_CID_COOKIE_ACK = 11

/** ip_vs_proto_data_get: a protocol that IPVS balances. */
export function isBalanced(proto: number): boolean {
  return proto === IPPROTO_TCP || proto === IPPROTO_UDP || proto === IPPROTO_SCTP
}

/** ip_vs_set_state: the packet's effect on the connection's state, timeout and its real server's counters. */
export function setState(ipvs: IpVs, id: number, direction: number, view: DataView, iph: IpVsIphdr): void {
  switch (iph.protocol) {
    case IPPROTO_TCP:
      if (iph.th + 20 <= iph.end) setTcpState(ipvs, id, direction, view.getUint8(iph.th + 13))
      return
    case IPPROTO_UDP:
      ipvs.conns.timeout[id] = ipvs.timeouts.udp
      if (direction === IP_VS_DIR_OUTPUT) controlAssureTemplate(ipvs, id)
      return
    default:
      setSctpState(ipvs, id, direction, view, iph)
  }
}

/** ip_vs_control_assure_ct */
function controlAssureTemplate(ipvs: IpVs, id: number): void {
  const rows = ipvs.conns.rows
  const ct = rows[id * K_WORDS + K_CONTROL]!
  if (ct === 0 || (rows[ct * K_WORDS + K_FLAGS]! & IP_VS_CONN_F_TEMPLATE) === 0) return
  rows[ct * K_WORDS + K_STATE] = rows[ct * K_WORDS + K_STATE]! | IP_VS_CTPL_S_ASSURED
}

/** Which row of a state table a packet goes by; an outgoing packet ends INPUT-ONLY. */
function effectiveDirection(rows: Int32Array, e: number, direction: number): number {
  if ((rows[e + K_FLAGS]! & IP_VS_CONN_F_NOOUTPUT) === 0) return direction
  if (direction !== IP_VS_DIR_OUTPUT) return IP_VS_DIR_INPUT_ONLY
  rows[e + K_FLAGS] = rows[e + K_FLAGS]! & ~IP_VS_CONN_F_NOOUTPUT
  return direction
}

/** Moves the connection between its real server's two counters. */
function setActive(ipvs: IpVs, id: number, active: boolean): void {
  const rows = ipvs.conns.rows
  const f = id * K_WORDS + K_FLAGS
  const dest = ipvs.conns.dest[id] ?? null
  const inactive = (rows[f]! & IP_VS_CONN_F_INACTIVE) !== 0
  if (dest === null || inactive === !active) return
  dest.activeConns += active ? 1 : -1
  dest.inactConns += active ? -1 : 1
  rows[f] = active ? rows[f]! & ~IP_VS_CONN_F_INACTIVE : rows[f]! | IP_VS_CONN_F_INACTIVE
}

function setTcpState(ipvs: IpVs, id: number, direction: number, flags: number): void {
  const conns = ipvs.conns
  const rows = conns.rows
  const e = id * K_WORDS
  const dir = effectiveDirection(rows, e, direction)
  const event =
    (flags & TCP_RST) !== 0
      ? 3
      : (flags & TCP_SYN) !== 0
        ? 0
        : (flags & TCP_FIN) !== 0
          ? 1
          : (flags & TCP_ACK) !== 0
            ? 2
            : -1
  const states = ipvs.ns.sysctl.vs_secure_tcp === 3 ? TCP_STATES_DOS : TCP_STATES
  const old = rows[e + K_STATE]!
  const next = event < 0 ? 6 : states[(dir * 4 + event) * TCP_COLUMNS + old]!
  if (next !== old) {
    setActive(ipvs, id, tcpStateActive(next))
    if (next === IP_VS_TCP_S_ESTABLISHED) controlAssureTemplate(ipvs, id)
    rows[e + K_STATE] = next
  }
  conns.timeout[id] = ipvs.timeouts.tcp[next]!
}

function setSctpState(ipvs: IpVs, id: number, direction: number, view: DataView, iph: IpVsIphdr): void {
  const conns = ipvs.conns
  const rows = conns.rows
  const e = id * K_WORDS
  const chunk = iph.th + 12
  if (chunk + 4 > iph.end) return
  let type = view.getUint8(chunk)
  if (type === SCTP_CID_COOKIE_ECHO || type === SCTP_CID_COOKIE_ACK) {
    const length = view.getUint16(chunk + 2)
    const second = chunk + ((length + 3) & ~3)
    if (length >= 4 && second + 4 <= iph.end && view.getUint8(second) === SCTP_CID_ABORT) type = SCTP_CID_ABORT
  }
  const event = type < SCTP_EVENT_OF_CHUNK.length ? SCTP_EVENT_OF_CHUNK[type]! : 0
  const dir = effectiveDirection(rows, e, direction)
  const old = rows[e + K_STATE]!
  const next = SCTP_STATES[(dir * SCTP_EVENTS + event) * SCTP_COLUMNS + old]!
  if (next !== old) {
    setActive(ipvs, id, next === IP_VS_SCTP_S_ESTABLISHED)
    if (next === IP_VS_SCTP_S_ESTABLISHED) controlAssureTemplate(ipvs, id)
    rows[e + K_STATE] = next
  }
  conns.timeout[id] = ipvs.timeouts.sctp[next]!
}

/** The checksum after an address and a port changed; the kernel's 32-bit complement keeps it from becoming 0xffff. */
function fastUpdate(check: number, oldIp: number, newIp: number, oldPort: number, newPort: number): number {
  return foldChecksum(
    0xffff +
      (~check & 0xffff) +
      (~oldPort & 0xffff) +
      newPort +
      (~oldIp & 0xffff) +
      ((~oldIp >>> 16) & 0xffff) +
      (newIp & 0xffff) +
      (newIp >>> 16),
  )
}

/** dnat_handler: the destination port becomes the real server's. The addresses are still the old ones. */
export function dnatHandler(ipvs: IpVs, id: number, view: DataView, iph: IpVsIphdr): boolean {
  const rows = ipvs.conns.rows
  const e = id * K_WORDS
  const vaddr = rows[e + K_VADDR]!
  const daddr = rows[e + K_DADDR]!
  const vport = rows[e + K_VPORT]!
  const dport = rows[e + K_DPORT]!
  return manipPort(view, iph, iph.th + 2, rows[e + K_CADDR]!, daddr, vaddr, daddr, vport, dport)
}

/** snat_handler: the source port becomes the service's. */
export function snatHandler(ipvs: IpVs, id: number, view: DataView, iph: IpVsIphdr): boolean {
  const rows = ipvs.conns.rows
  const e = id * K_WORDS
  const vaddr = rows[e + K_VADDR]!
  const daddr = rows[e + K_DADDR]!
  const vport = rows[e + K_VPORT]!
  const dport = rows[e + K_DPORT]!
  return manipPort(view, iph, iph.th, vaddr, rows[e + K_CADDR]!, daddr, vaddr, dport, vport)
}

/**
 * Writes `newPort` at `portAt` and brings the checksum along.
 * @param src source of the packet once it is translated, with `dst` for checksums made anew
 */
function manipPort(
  view: DataView,
  iph: IpVsIphdr,
  portAt: number,
  src: number,
  dst: number,
  oldIp: number,
  newIp: number,
  oldPort: number,
  newPort: number,
): boolean {
  const { th, end } = iph
  switch (iph.protocol) {
    case IPPROTO_TCP:
      if (th + 20 > end) return false
      view.setUint16(portAt, newPort)
      view.setUint16(th + 16, fastUpdate(view.getUint16(th + 16), oldIp, newIp, oldPort, newPort))
      return true
    case IPPROTO_UDP: {
      if (th + 8 > end) return false
      view.setUint16(portAt, newPort)
      const had = view.getUint16(th + 6)
      const check =
        had !== 0
          ? fastUpdate(had, oldIp, newIp, oldPort, newPort)
          : internetChecksum(view, th, end - th, pseudoSumV4(src, dst, IPPROTO_UDP, end - th))
      view.setUint16(th + 6, check === 0 ? CSUM_MANGLED_0 : check)
      return true
    }
    default:
      if (th + 12 > end) return false
      // the checksum of SCTP does not cover addresses
      if (view.getUint16(portAt) === newPort) return true
      view.setUint16(portAt, newPort)
      view.setUint32(th + 8, crc32c(view, th, end - th, th + 8), true)
      return true
  }
}
