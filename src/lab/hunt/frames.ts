/**
 * Frames of the hunter: valid ones from headers, and the same with something wrong.
 *
 * Written byte by byte on purpose: a mutator that shares the simulator's encoders could not produce what they refuse.
 */
import { internetChecksum, pseudoSumV4 } from '../../wire/checksum.ts'
import type { Dice } from './dice.ts'

/** An IPv4 header to be; `bad` fields override what would be right. */
export interface IpSpec {
  readonly src: number
  readonly dst: number
  readonly proto: number
  readonly ttl?: number
  readonly tos?: number
  readonly id?: number
  readonly fragOff?: number
  readonly options?: Uint8Array
}

/** Joins byte strings. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts)
}

/** Payload bytes that differ from place to place. */
export function pattern(len: number): Uint8Array {
  return Uint8Array.from({ length: len }, (_, i) => (i * 13 + 5) & 255)
}

function view(b: Uint8Array): DataView {
  return new DataView(b.buffer, b.byteOffset, b.byteLength)
}

/** An IPv4 packet. */
export function ipv4(o: IpSpec, payload: Uint8Array): Uint8Array {
  const options = o.options ?? new Uint8Array(0)
  const hl = 20 + ((options.length + 3) & ~3)
  const b = new Uint8Array(hl + payload.length)
  const v = view(b)
  b[0] = 0x40 | (hl >> 2)
  b[1] = o.tos ?? 0
  v.setUint16(2, b.length)
  v.setUint16(4, o.id ?? 0)
  v.setUint16(6, o.fragOff ?? 0)
  b[8] = o.ttl ?? 64
  b[9] = o.proto
  v.setInt32(12, o.src)
  v.setInt32(16, o.dst)
  b.set(options, 20)
  v.setUint16(10, internetChecksum(v, 0, hl))
  b.set(payload, hl)
  return b
}

/** Makes the header checksum right again after a change. */
export function fixIpChecksum(packet: Uint8Array): void {
  const v = view(packet)
  const hl = Math.min((packet[0]! & 15) * 4, packet.length)
  if (hl < 20) return
  v.setUint16(10, 0)
  v.setUint16(10, internetChecksum(v, 0, hl))
}

/** A UDP datagram with its checksum (none when `none`). */
export function udp(
  src: number,
  dst: number,
  sport: number,
  dport: number,
  data: Uint8Array,
  none = false,
): Uint8Array {
  const b = new Uint8Array(8 + data.length)
  const v = view(b)
  v.setUint16(0, sport)
  v.setUint16(2, dport)
  v.setUint16(4, b.length)
  b.set(data, 8)
  if (!none) v.setUint16(6, internetChecksum(v, 0, b.length, pseudoSumV4(src, dst, 17, b.length)) || 0xffff)
  return b
}

/** TCP header fields. */
export interface TcpSpec {
  readonly sport: number
  readonly dport: number
  readonly seq: number
  readonly ack: number
  /** CWR ECE URG ACK PSH RST SYN FIN, from the high bit. */
  readonly flags: number
  readonly window?: number
  readonly urgent?: number
  readonly options?: Uint8Array
}

/** A TCP segment with its checksum. */
export function tcp(src: number, dst: number, o: TcpSpec, data: Uint8Array): Uint8Array {
  const options = o.options ?? new Uint8Array(0)
  const hl = 20 + ((options.length + 3) & ~3)
  const b = new Uint8Array(hl + data.length)
  const v = view(b)
  v.setUint16(0, o.sport)
  v.setUint16(2, o.dport)
  v.setUint32(4, o.seq >>> 0)
  v.setUint32(8, o.ack >>> 0)
  b[12] = (hl >> 2) << 4
  b[13] = o.flags
  v.setUint16(14, o.window ?? 64240)
  v.setUint16(18, o.urgent ?? 0)
  b.set(options, 20)
  b.set(data, hl)
  v.setUint16(16, internetChecksum(v, 0, b.length, pseudoSumV4(src, dst, 6, b.length)))
  return b
}

/** An ICMP message with its checksum. */
export function icmp(type: number, code: number, rest: number, data: Uint8Array): Uint8Array {
  const b = new Uint8Array(8 + data.length)
  const v = view(b)
  b[0] = type
  b[1] = code
  v.setInt32(4, rest | 0)
  b.set(data, 8)
  v.setUint16(2, internetChecksum(v, 0, b.length))
  return b
}

/** Six bytes of a MAC text. */
export function macBytes(mac: string): Uint8Array {
  return Uint8Array.from(mac.split(':'), (x) => Number.parseInt(x, 16))
}

/** An Ethernet frame; `vlans` from the outside in. */
export function ether(
  dst: string,
  src: string,
  type: number,
  payload: Uint8Array,
  vlans: readonly number[] = [],
): Uint8Array {
  const h = new Uint8Array(14 + 4 * vlans.length)
  h.set(macBytes(dst), 0)
  h.set(macBytes(src), 6)
  const v = view(h)
  vlans.forEach((tci, i) => {
    v.setUint16(12 + 4 * i, 0x8100)
    v.setUint16(14 + 4 * i, tci)
  })
  v.setUint16(12 + 4 * vlans.length, type)
  return concat(h, payload)
}

/** ARP message fields. */
export interface ArpSpec {
  readonly op: number
  readonly sha: string
  readonly spa: number
  readonly tha: string
  readonly tpa: number
}

/** An ARP message. */
export function arp(o: ArpSpec): Uint8Array {
  const b = new Uint8Array(28)
  const v = view(b)
  v.setUint16(0, 1)
  v.setUint16(2, 0x0800)
  b[4] = 6
  b[5] = 4
  v.setUint16(6, o.op)
  b.set(macBytes(o.sha), 8)
  v.setInt32(14, o.spa)
  b.set(macBytes(o.tha), 18)
  v.setInt32(24, o.tpa)
  return b
}

/** Cuts a packet into fragments of at most `bytes` of data (rounded to 8). */
export function fragments(packet: Uint8Array, bytes: number): Uint8Array[] {
  const hl = (packet[0]! & 15) * 4
  const step = Math.max(8, bytes & ~7)
  const out: Uint8Array[] = []
  for (let at = hl; at < packet.length; at += step) {
    const part = packet.slice(at, at + step)
    const f = concat(packet.slice(0, hl), part)
    const v = view(f)
    v.setUint16(2, f.length)
    v.setUint16(6, ((at - hl) >> 3) | (at + step < packet.length ? 0x2000 : 0))
    fixIpChecksum(f)
    out.push(f)
  }
  return out
}

/** Option bytes: record route, timestamps, router alert, padding, unknown, and broken ones. */
export function ipOptions(d: Dice, ips: readonly number[]): Uint8Array {
  const addr = (): number[] => {
    const ip = d.pick(ips)
    return [ip >>> 24, (ip >>> 16) & 255, (ip >>> 8) & 255, ip & 255]
  }
  const kind = d.below(13)
  switch (kind) {
    case 0:
      return Uint8Array.from([7, 7, 4, 0, 0, 0, 0])
    case 1:
      return Uint8Array.from([1, 7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0])
    case 2:
      return Uint8Array.from([7, 11, 8, ...addr(), 0, 0, 0, 0, 1])
    case 3:
      return Uint8Array.from([68, 8, d.pick([9, 9, 4]), d.pick([0, 0x10, 0xf1]), 0, 0, 0, 0])
    case 4:
      return Uint8Array.from([148, 4, 0, 0])
    case 5:
      return Uint8Array.from([131, 7, 4, ...addr(), 0])
    case 6:
      return Uint8Array.from([137, 7, 4, ...addr(), 0])
    case 7:
      return Uint8Array.from([7, 3, 4, 0])
    case 8:
      return Uint8Array.from([7, 7, 5, 0, 0, 0, 0, 0])
    case 9:
      return Uint8Array.from([d.pick([130, 133, 134, 30, 158, 200]), d.pick([2, 4, 11]), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    case 10:
      return Uint8Array.from([7, d.pick([0, 1, 39, 60]), 4, 0])
    case 11:
      return Uint8Array.from([1, 1, 1, 0])
    default:
      return Uint8Array.from([7, 7, 8, ...addr(), 0])
  }
}

/** TCP options as stacks send them, and broken ones. */
export function tcpOptions(d: Dice): Uint8Array {
  return d.pick([
    Uint8Array.from([2, 4, 5, 180]),
    Uint8Array.from([2, 4, 5, 180, 1, 3, 3, 7]),
    Uint8Array.from([2, 4, 35, 0, 4, 2, 1, 3, 3, 14]),
    Uint8Array.from([2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 1, 0, 0, 0, 0, 0, 1, 3, 3, 8]),
    Uint8Array.from([1, 1, 8, 10, 0, 0, 1, 5, 0, 0, 0, 9]),
    Uint8Array.from([1, 1, 5, 10, 0, 0, 0, 5, 0, 0, 0, 9]),
    Uint8Array.from([2, 3, 5, 0]),
    Uint8Array.from([2, 0, 5, 0]),
    Uint8Array.from([3, 3, 15, 0]),
    Uint8Array.from([30, 20, 1, 2, 3, 4]),
    Uint8Array.from([0, 2, 4, 5]),
  ])
}

/** The packet with one thing wrong; lengths of the frame may change. */
export function damageIp(d: Dice, packet: Uint8Array): Uint8Array {
  const b = Uint8Array.from(packet)
  const v = view(b)
  const hl = (b[0]! & 15) * 4
  const flip = (at: number): void => {
    if (at < b.length) b[at] = b[at]! ^ (1 << d.below(8))
  }
  switch (d.below(14)) {
    case 0:
      flip(10)
      return b
    case 1:
      flip(hl + d.below(Math.max(1, Math.min(20, b.length - hl))))
      return b
    case 2:
      v.setUint16(2, Math.max(0, b.length - d.between(1, 12)))
      break
    case 3:
      v.setUint16(2, b.length + d.between(1, 40))
      break
    case 4:
      b[0] = 0x40 | d.pick([0, 4, 6, 15])
      break
    case 5:
      b[0] = d.pick([0x65, 0x05, 0x55])
      break
    case 6:
      return b.slice(0, d.between(0, Math.min(b.length, hl + 8)))
    case 7:
      b[8] = d.pick([0, 1, 2])
      break
    case 8:
      v.setUint16(6, v.getUint16(6) ^ 0x8000)
      break
    case 9:
      b[9] = d.pick([89, 253, 254, 255, 0])
      break
    case 10:
      return concat(b, pattern(d.between(1, 30)))
    case 11:
      v.setUint16(6, d.pick([0x2000, 0x0001, 0x1fff, 0x2010, 0x6000]))
      break
    case 12:
      v.setInt32(12, d.pick([0, -1, 0x7f000001, 0xe0000001 | 0, v.getInt32(16)]))
      break
    default:
      flip(d.below(b.length))
      break
  }
  fixIpChecksum(b)
  return b
}
