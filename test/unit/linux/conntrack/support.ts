/**
 * A namespace with conntrack and NAT hooks, and packets walked through the netfilter part of a router by hand.
 *
 * Only conntrack, NAT and confirm run: routing and devices have their own suites. `forward` is what a forwarded packet
 * meets, `deliver` what one to this host meets.
 */

import { parseIpv4 } from '../../../../src/addr/ipv4.ts'
import { freeSkb } from '../../../../src/linux/core/skb.ts'
import { nfConntrackConfirm, nfConntrackIn } from '../../../../src/linux/netfilter/conntrack/core.ts'
import { conntrackLine } from '../../../../src/linux/netfilter/conntrack/print.ts'
import { type Conntrack, nfConntrackGet } from '../../../../src/linux/netfilter/conntrack/table.ts'
import { type NatRange, nfNatInet, nfNatSetupInfo } from '../../../../src/linux/netfilter/nat/core.ts'
import type { Netns } from '../../../../src/linux/netns.ts'
import { R_CONSUMED } from '../../../../src/linux/reasons.ts'
import { World } from '../../../../src/linux/world.ts'
import { M_CT, M_CTINFO, M_DATA, M_LEN, META_SHIFT } from '../../../../src/packet/layout.ts'
import { internetChecksum, pseudoSumV4 } from '../../../../src/wire/checksum.ts'

export const PRE_ROUTING = 0
export const LOCAL_IN = 1
export const LOCAL_OUT = 3
export const POST_ROUTING = 4
export const DROP = 0
export const ACCEPT = 1

/** An address text as int32. */
export function ip(text: string): number {
  const v = parseIpv4(text)
  if (v === null) throw new Error(`bad address ${text}`)
  return v
}

/** Flags of a TCP header by letters: F S R P A U. */
export function tcpFlags(letters: string): number {
  let bits = 0
  for (const c of letters) bits |= 1 << 'FSRPAU'.indexOf(c)
  return bits
}

/** What a segment carries. */
export interface Segment {
  readonly flags: string
  readonly seq?: number
  readonly ack?: number
  readonly win?: number
  readonly len?: number
  /** Raw TCP options, a multiple of four bytes. */
  readonly options?: readonly number[]
}

function ipv4(src: string, dst: string, proto: number, payload: Uint8Array): Uint8Array {
  const b = new Uint8Array(20 + payload.length)
  const v = new DataView(b.buffer)
  b[0] = 0x45
  v.setUint16(2, b.length)
  v.setUint16(4, 0x1234)
  v.setUint16(6, 0x4000)
  b[8] = 64
  b[9] = proto
  v.setInt32(12, ip(src))
  v.setInt32(16, ip(dst))
  v.setUint16(10, internetChecksum(v, 0, 20))
  b.set(payload, 20)
  return b
}

function withChecksum(packet: Uint8Array, proto: number, at: number): Uint8Array {
  const v = new DataView(packet.buffer)
  const len = packet.length - 20
  const seed = proto === 1 ? 0 : pseudoSumV4(v.getInt32(12), v.getInt32(16), proto, len)
  v.setUint16(20 + at, internetChecksum(v, 20, len, seed))
  return packet
}

/** An IPv4 TCP segment. */
export function tcp(src: string, sport: number, dst: string, dport: number, s: Segment): Uint8Array {
  const options = s.options ?? []
  const p = new Uint8Array(20 + options.length + (s.len ?? 0))
  const v = new DataView(p.buffer)
  v.setUint16(0, sport)
  v.setUint16(2, dport)
  v.setInt32(4, s.seq ?? 0)
  v.setInt32(8, s.ack ?? 0)
  p[12] = ((20 + options.length) >> 2) << 4
  p[13] = tcpFlags(s.flags)
  v.setUint16(14, s.win ?? 64240)
  p.set(options, 20)
  return withChecksum(ipv4(src, dst, 6, p), 6, 16)
}

/** An IPv4 UDP datagram with four bytes of payload. */
export function udp(src: string, sport: number, dst: string, dport: number, checksum = true): Uint8Array {
  const p = Uint8Array.of(0, 0, 0, 0, 0, 12, 0, 0, 1, 2, 3, 4)
  const v = new DataView(p.buffer)
  v.setUint16(0, sport)
  v.setUint16(2, dport)
  const packet = ipv4(src, dst, 17, p)
  return checksum ? withChecksum(packet, 17, 6) : packet
}

/** An IPv4 ICMP query or answer with an id. */
export function icmp(src: string, dst: string, type: number, id: number): Uint8Array {
  const p = Uint8Array.of(type, 0, 0, 0, 0, 0, 0, 1, 0x61, 0x62)
  new DataView(p.buffer).setUint16(4, id)
  return withChecksum(ipv4(src, dst, 1, p), 1, 2)
}

/** An ICMP error that quotes the first `quoted` bytes of `inner`. */
export function icmpError(
  src: string,
  dst: string,
  type: number,
  code: number,
  inner: Uint8Array,
  quoted = 28,
): Uint8Array {
  const p = new Uint8Array(8 + Math.min(quoted, inner.length))
  p[0] = type
  p[1] = code
  p.set(inner.subarray(0, p.length - 8), 8)
  return withChecksum(ipv4(src, dst, 1, p), 1, 2)
}

/** A packet of a protocol without ports. */
export function rawIp(src: string, dst: string, proto: number): Uint8Array {
  return ipv4(src, dst, proto, new Uint8Array(8))
}

/** What became of a packet: verdict, ctinfo (null = no entry), entry id and the bytes that leave. */
export interface Outcome {
  readonly verdict: number
  readonly ctinfo: number | null
  readonly id: number
  readonly bytes: Uint8Array
}

/** A NAT rule to apply to a first packet. */
export interface Rule {
  readonly dnat?: NatRange
  readonly snat?: NatRange
}

/** One namespace with conntrack. */
export class Router {
  readonly w = new World({ seed: 7 })
  readonly ns: Netns = this.w.addNetns('r')
  readonly ct: Conntrack = nfConntrackGet(this.ns)

  /** A packet that is forwarded: conntrack, DNAT, SNAT, confirm. */
  forward(packet: Uint8Array, rule: Rule = {}): Outcome {
    return this.walk(packet, PRE_ROUTING, POST_ROUTING, rule)
  }

  /** A packet to this host. */
  deliver(packet: Uint8Array, rule: Rule = {}): Outcome {
    return this.walk(packet, PRE_ROUTING, LOCAL_IN, rule)
  }

  /** A packet of this host (routing is not asked: no destination NAT here). */
  send(packet: Uint8Array, rule: Rule = {}): Outcome {
    return this.walk(packet, LOCAL_OUT, POST_ROUTING, rule)
  }

  /** Puts the bytes into a slot, as a packet at its IP header. */
  slot(packet: Uint8Array): number {
    const slot = this.w.arena.alloc(packet.length)
    this.w.arena.bytes.set(packet, this.w.arena.meta[(slot << META_SHIFT) + M_DATA]!)
    return slot
  }

  /** Lets time pass. */
  wait(seconds: number): void {
    this.w.nowNs += seconds * 1e9
  }

  /** conntrack -L, sorted, without `use`. */
  list(): string[] {
    return this.ct
      .entries()
      .map((id) => conntrackLine(this.ct, id).replace(/ use=\d+/, ''))
      .sort()
  }

  private walk(packet: Uint8Array, first: number, last: number, rule: Rule): Outcome {
    const { w, ns } = this
    const slot = this.slot(packet)
    const m = slot << META_SHIFT
    const meta = w.arena.meta
    let verdict = nfConntrackIn(w, ns, first, slot)
    const id = meta[m + M_CT]!
    const ctinfo = id === 0 ? null : meta[m + M_CTINFO]!
    const isNew = ctinfo === 2
    if (verdict === ACCEPT && isNew && rule.dnat !== undefined) verdict = nfNatSetupInfo(w, ns, id, slot, rule.dnat, 1)
    if (verdict === ACCEPT) verdict = nfNatInet(w, ns, first, slot, null, null)
    if (verdict === ACCEPT && isNew && rule.snat !== undefined) verdict = nfNatSetupInfo(w, ns, id, slot, rule.snat, 0)
    if (verdict === ACCEPT) verdict = nfNatInet(w, ns, last, slot, null, null)
    if (verdict === ACCEPT) verdict = nfConntrackConfirm(w, ns, slot)
    const data = meta[m + M_DATA]!
    const bytes = w.arena.bytes.slice(data, data + meta[m + M_LEN]!)
    freeSkb(w, slot, R_CONSUMED)
    return { verdict, ctinfo, id, bytes }
  }
}
