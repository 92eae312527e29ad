/**
 * The normaliser: rewrites only the fields that a kernel draws at random, the same way on both sides of a comparison.
 *
 * Per interface, in order of first appearance:
 *   IPv4 ID      not 0 and not the ID of an injected frame -> 0xF001, 0xF002, ... one per (src, dst, protocol, ID) as they
 *                stand in that header, inner headers before outer ones
 *   IPv6         identifications of fragment headers that no injected frame has -> 0xF0000001, ... one per (src, dst, it)
 *   norm.tcp     sequence numbers per flow direction: the ISN -> 0x10000000 * n in order of the SYNs seen
 *   norm.vxsport source port of VXLAN's outer UDP -> 0xE001, ... per port
 *   norm.ports   [lo, hi]: ports in that range and ICMP echo ids, unless in known_ports -> 0xD001, ... per port
 * A checksum that was right is made right again, a wrong one stays as it is.
 *
 * Port of class Norm of the kernel lab's recorder (linux/recorder.py); both must stay equal step for step.
 */
import type { LabLinkType, LabNormSpec, LabScenario, LabVolatileField } from './scenario.ts'

/** A normalised frame and the fields that were rewritten in it. */
export interface NormalisedFrame {
  readonly bytes: Uint8Array
  readonly touched: readonly LabVolatileField[]
}

/** IPv4 IDs of the frames that the scenario injects, inner headers too: they are never rewritten. */
export function fixedIds(scenario: LabScenario): ReadonlySet<number> {
  const out = new Set<number>()
  const walk = (b: Uint8Array, o: number): void => {
    if (b.length - o < 20 || b[o]! >> 4 !== 4) return
    out.add(get16(b, o + 4))
    const hl = (b[o]! & 15) * 4
    const proto = b[o + 9]
    if (proto === 4) walk(b, o + hl)
    else if (proto === 1) walk(b, o + hl + 8)
    else if (proto === 17) walk(b, o + hl + 8 + 8 + 14)
  }
  for (const step of scenario.steps) {
    if (step.op !== 'frame' || step.hex === undefined) continue
    const b = Buffer.from(step.hex, 'hex')
    if (b.length > 13 && get16(b, 12) === 0x0800) walk(b, 14)
    else if (b.length > 53 && get16(b, 12) === 0x86dd) fragmentIds(b, 14, out)
  }
  out.delete(0)
  return out
}

/** Identifications of the fragment headers of an IPv6 packet at `o`. */
function fragmentIds(b: Uint8Array, o: number, out: Set<number>): void {
  let proto = b[o + 6]!
  let p = o + 40
  while (isExtension(proto) && p + 8 <= b.length) {
    const step = extensionBytes(b, p, proto)
    if (proto === 44) out.add(get32(b, p + 4))
    proto = b[p]!
    p += step
  }
}

function isExtension(proto: number): boolean {
  return proto === 0 || proto === 43 || proto === 44 || proto === 51 || proto === 60
}

function extensionBytes(b: Uint8Array, p: number, proto: number): number {
  if (proto === 44) return 8
  return proto === 51 ? (b[p + 1]! + 2) * 4 : (b[p + 1]! + 1) * 8
}

/** RFC 1071 over `b[from..to)`, then over `tail` when given (a pseudo header; even length). */
function csum(b: Uint8Array, from: number, to: number, pseudo?: Uint8Array): number {
  let sum = 0
  if (pseudo !== undefined) for (let i = 0; i < pseudo.length; i += 2) sum += get16(pseudo, i)
  let i = from
  for (; i + 1 < to; i += 2) sum += get16(b, i)
  if (i < to) sum += b[i]! << 8
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000)
  return ~sum & 0xffff
}

function get16(b: Uint8Array, o: number): number {
  return (b[o]! << 8) | b[o + 1]!
}

function put16(b: Uint8Array, o: number, v: number): void {
  b[o] = v >> 8
  b[o + 1] = v & 255
}

function get32(b: Uint8Array, o: number): number {
  return ((b[o]! << 24) | (b[o + 1]! << 16) | (b[o + 2]! << 8) | b[o + 3]!) >>> 0
}

function put32(b: Uint8Array, o: number, v: number): void {
  put16(b, o, v >>> 16)
  put16(b, o + 2, v & 0xffff)
}

/** The 16 bytes of an IPv6 address as text. */
function hex(b: Uint8Array, o: number): string {
  return Buffer.from(b.subarray(o, o + 16)).toString('hex')
}

interface IsnEntry {
  readonly isn: number
  readonly base: number
}

/** The normaliser of one interface. */
export class Norm {
  private readonly spec: LabNormSpec
  private readonly fixed: ReadonlySet<number>
  private readonly ids = new Map<string, number>()
  private readonly isn = new Map<string, IsnEntry>()
  private readonly isnByPeer = new Map<string, IsnEntry>()
  private readonly vxlanPorts = new Map<number, number>()
  private readonly ports = new Map<number, number>()
  private readonly fragmentIds = new Map<string, number>()
  private touched: LabVolatileField[] = []

  constructor(spec: LabNormSpec, fixed: ReadonlySet<number>) {
    this.spec = spec
    this.fixed = fixed
  }

  /** The next frame of the interface; `raw` is left alone. */
  frame(raw: Uint8Array, link: LabLinkType): NormalisedFrame {
    this.touched = []
    const b = raw.slice()
    if (link === 'ether') {
      let o = 12
      while (o + 24 <= b.length && (get16(b, o) === 0x8100 || get16(b, o) === 0x88a8)) o += 4
      if (o + 22 <= b.length && get16(b, o) === 0x0800) this.ip(b, o + 2, b.length)
      else if (o + 42 <= b.length && get16(b, o) === 0x86dd) this.ip6(b, o + 2, b.length)
    } else if (b.length >= 40 && b[0]! >> 4 === 6) this.ip6(b, 0, b.length)
    else if (b.length >= 20) this.ip(b, 0, b.length)
    return { bytes: b, touched: this.touched }
  }

  private ip(b: Uint8Array, o: number, end: number): void {
    if (end - o < 20 || b[o]! >> 4 !== 4) return
    const hl = (b[o]! & 15) * 4
    if (hl < 20 || o + hl > end) return
    const tot = get16(b, o + 2)
    const whole = o + tot <= end
    const e = tot >= hl ? Math.min(end, o + tot) : end
    const headerOk = csum(b, o, o + hl) === 0
    const ident = get16(b, o + 4)
    const fo = get16(b, o + 6)
    const proto = b[o + 9]!
    const p = o + hl
    const first = (fo & 0x1fff) === 0
    const complete = first && (fo & 0x2000) === 0 && whole
    const pseudo = new Uint8Array(12)
    pseudo.set(b.subarray(o + 12, o + 20))
    pseudo[9] = proto
    put16(pseudo, 10, e - p)
    if (first) {
      if (proto === 1 && e - p >= 8) this.icmp(b, p, e, complete)
      else if (proto === 17 && e - p >= 8) this.udp(b, p, e, pseudo, complete)
      else if (proto === 6 && e - p >= 8) this.tcp(b, p, e, pseudo, complete, get32(b, o + 12), get32(b, o + 16))
      else if (proto === 4) this.ip(b, p, e)
      else if (proto === 47 && e - p >= 4) this.gre(b, p, e, whole)
    }
    if (ident !== 0 && !this.fixed.has(ident)) {
      const key = `${get32(b, o + 12)} ${get32(b, o + 16)} ${proto} ${ident}`
      put16(b, o + 4, numbered(this.ids, key, 0xf001))
      this.touched.push([o + 4, 2, 'ip.id'])
    }
    if (headerOk) {
      put16(b, o + 10, 0)
      put16(b, o + 10, csum(b, o, o + hl))
    }
  }

  private gre(b: Uint8Array, p: number, e: number, whole: boolean): void {
    const flags = get16(b, p)
    const proto = get16(b, p + 2)
    const bits = (flags & 0x8000) >>> 15
    const h = p + 4 * (1 + bits + ((flags & 0x2000) >>> 13) + ((flags & 0x1000) >>> 12))
    const ok = whole && bits === 1 && csum(b, p, e) === 0
    if (proto === 0x0800) this.ip(b, h, e)
    else if (proto === 0x6558 && h + 14 <= e && get16(b, h + 12) === 0x0800) this.ip(b, h + 14, e)
    if (ok) {
      put16(b, p + 4, 0)
      put16(b, p + 4, csum(b, p, e))
    }
  }

  private ip6(b: Uint8Array, o: number, end: number): void {
    if (end - o < 40 || b[o]! >> 4 !== 6) return
    const plen = get16(b, o + 4)
    let complete = o + 40 + plen <= end
    const e = Math.min(end, o + 40 + plen)
    let proto = b[o + 6]!
    let p = o + 40
    const sip = hex(b, o + 8)
    const dip = hex(b, o + 24)
    while (isExtension(proto)) {
      if (p + 8 > e) return
      const step = extensionBytes(b, p, proto)
      if (proto === 44) {
        const fo = get16(b, p + 2)
        const ident = get32(b, p + 4)
        if (!this.fixed.has(ident)) {
          put32(b, p + 4, numbered(this.fragmentIds, `${sip} ${dip} ${ident}`, 0xf0000001))
          this.touched.push([p + 4, 4, 'ip6.fragid'])
        }
        if ((fo & 0xfff9) !== 0) complete = false
        if ((fo & 0xfff8) !== 0) return
      }
      proto = b[p]!
      p += step
    }
    if (e - p < 8) return
    const pseudo = new Uint8Array(40)
    pseudo.set(b.subarray(o + 8, o + 40))
    put32(pseudo, 32, e - p)
    pseudo[39] = proto
    if (proto === 58) this.icmp6(b, p, e, pseudo, complete)
    else if (proto === 17) this.udp(b, p, e, pseudo, complete)
    else if (proto === 6) this.tcp(b, p, e, pseudo, complete, sip, dip)
    else if (proto === 41) this.ip6(b, p, e)
    else if (proto === 4) this.ip(b, p, e)
  }

  private icmp6(b: Uint8Array, p: number, e: number, pseudo: Uint8Array, complete: boolean): void {
    const ok = complete && csum(b, p, e, pseudo) === 0
    const type = b[p]!
    if (type < 128) this.ip6(b, p + 8, e)
    else if (type === 128 || type === 129) this.port(b, p + 4, true)
    else if (type === 137) {
      for (let q = p + 40; q + 8 <= e && b[q + 1] !== 0; q += b[q + 1]! * 8) {
        if (b[q] === 4) this.ip6(b, q + 8, Math.min(e, q + b[q + 1]! * 8))
      }
    }
    if (ok) {
      put16(b, p + 2, 0)
      put16(b, p + 2, csum(b, p, e, pseudo))
    }
  }

  private icmp(b: Uint8Array, p: number, e: number, complete: boolean): void {
    const ok = complete && csum(b, p, e) === 0
    const type = b[p]!
    if (type === 3 || type === 4 || type === 5 || type === 11 || type === 12) this.ip(b, p + 8, e)
    else if (type === 0 || type === 8) this.port(b, p + 4, true)
    if (ok) {
      put16(b, p + 2, 0)
      put16(b, p + 2, csum(b, p, e))
    }
  }

  private port(b: Uint8Array, off: number, echoId: boolean): void {
    const range = this.spec.ports
    if (range === undefined) return
    const v = get16(b, off)
    if (!echoId && (v < range[0] || v > range[1])) return
    if (this.spec.known_ports?.includes(v) === true) return
    put16(b, off, numbered(this.ports, v, 0xd001))
    this.touched.push([off, 2, 'l4.port'])
  }

  private udp(b: Uint8Array, p: number, e: number, pseudo: Uint8Array, complete: boolean): void {
    const ok = complete && get16(b, p + 6) !== 0 && csum(b, p, e, pseudo) === 0
    const dport = get16(b, p + 2)
    this.port(b, p, false)
    this.port(b, p + 2, false)
    const tunnel = dport === 4789 || dport === 8472 || dport === 6081
    if (tunnel && e - p >= 16 + 14) {
      if (this.spec.vxsport === true) {
        put16(b, p, numbered(this.vxlanPorts, get16(b, p), 0xe001))
        this.touched.push([p, 2, dport === 6081 ? 'geneve.sport' : 'vxlan.sport'])
      }
      if (get16(b, p + 16 + 12) === 0x0800) this.ip(b, p + 30, e)
      else if (get16(b, p + 16 + 12) === 0x86dd) this.ip6(b, p + 30, e)
    }
    if (ok) {
      put16(b, p + 6, 0)
      put16(b, p + 6, csum(b, p, e, pseudo) || 0xffff)
    }
  }

  private tcp(
    b: Uint8Array,
    p: number,
    e: number,
    pseudo: Uint8Array,
    complete: boolean,
    sip: number | string,
    dip: number | string,
  ): void {
    const full = e - p >= 20
    const ok = complete && full && csum(b, p, e, pseudo) === 0
    if (this.spec.tcp === true) this.sequence(b, p, full, sip, dip)
    this.port(b, p, false)
    this.port(b, p + 2, false)
    if (ok) {
      put16(b, p + 16, 0)
      put16(b, p + 16, csum(b, p, e, pseudo))
    }
  }

  private sequence(b: Uint8Array, p: number, full: boolean, sip: number | string, dip: number | string): void {
    const sp = get16(b, p)
    const dp = get16(b, p + 2)
    const seq = get32(b, p + 4)
    const key = `${sip} ${sp} ${dip} ${dp}`
    const replyKey = `${dip} ${dp} ${sip} ${sp}`
    const flags = full ? b[p + 13]! : 0
    if (full && (flags & 2) !== 0 && this.isn.get(key)?.isn !== seq) {
      const entry = { isn: seq, base: (0x10000000 * (this.isn.size + 1)) % 0x100000000 }
      this.isn.set(key, entry)
      this.isnByPeer.set(`${sip} ${sp}`, entry)
    }
    // NAT seen from one side only: fall back to the last ISN of that (address, port), whoever the peer is.
    const own = this.isnByPeer.get(`${sip} ${sp}`)
    if (!this.isn.has(key) && own !== undefined && (flags & 2) === 0) this.isn.set(key, own)
    const other = this.isnByPeer.get(`${dip} ${dp}`)
    if (!this.isn.has(replyKey) && other !== undefined) this.isn.set(replyKey, other)
    const mine = this.isn.get(key)
    if (mine !== undefined && !((flags & 4) !== 0 && seq === 0)) {
      put32(b, p + 4, (seq - mine.isn + mine.base) >>> 0)
      this.touched.push([p + 4, 4, 'tcp.seq'])
    }
    const theirs = this.isn.get(replyKey)
    if (full && (flags & 16) !== 0 && theirs !== undefined) {
      put32(b, p + 8, (get32(b, p + 8) - theirs.isn + theirs.base) >>> 0)
      this.touched.push([p + 8, 4, 'tcp.ack'])
    }
  }
}

/** The number that stands for `key`: the next free one from `first` on when it is new. */
function numbered<K>(map: Map<K, number>, key: K, first: number): number {
  let n = map.get(key)
  if (n === undefined) {
    n = first + map.size
    map.set(key, n)
  }
  return n
}
