/**
 * The normaliser: rewrites only the fields that a kernel draws at random, the same way on both sides of a comparison.
 *
 * Per interface, in order of first appearance:
 *   IPv4 ID      not 0 and not the ID of an injected frame -> 0xF001, 0xF002, ... one per (src, dst, protocol, ID) as they
 *                stand in that header, inner headers before outer ones
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
  }
  out.delete(0)
  return out
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
    } else if (b.length >= 20) this.ip(b, 0, b.length)
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
    sip: number,
    dip: number,
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

  private sequence(b: Uint8Array, p: number, full: boolean, sip: number, dip: number): void {
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
