/**
 * Builds frames for tests as one would say them:
 *
 *     pkt().eth({ src: '02:00:00:00:00:01', dst: '02:00:00:00:00:02' })
 *       .ip({ src: '10.244.1.7', dst: '10.96.0.10', ttl: 63 }).udp(40000, 53).payload('hello').bytes()
 *     pkt().ip({ ... }).tcp(40000, 80, { flags: 'S', seq: 1, options: [{ kind: 'mss', mssBytes: 1460 }] }).hex()
 *     pkt().eth(...).ip({ ... }).udp(1, 4789).vxlan(42).eth(...).ip({ ... }).icmpEcho({ id: 1, seq: 1 }).bytes()
 *
 * Headers are written from the inside out: lengths, protocol numbers, EtherTypes and checksums follow from what is
 * inside unless they are given. Without eth() the frame starts at its IP header.
 */
import { parseIpv4 as ipOfText } from '../../src/addr/ipv4.ts'
import { parseIpv6 as ip6OfText } from '../../src/addr/ipv6.ts'
import { type Mac, parseMac } from '../../src/addr/mac.ts'
import { ARP_HEADER_BYTES, ARPHRD_ETHER, ARPOP_REPLY, ARPOP_REQUEST, emitArp } from '../../src/wire/arp.ts'
import { pseudoSumV4, pseudoSumV6 } from '../../src/wire/checksum.ts'
import {
  ETHERTYPE_8021Q,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  emitEthernet,
} from '../../src/wire/ethernet.ts'
import { emitIcmp, fillIcmpChecksum, ICMP_ECHO, ICMP_ECHOREPLY, ICMP_HEADER_BYTES } from '../../src/wire/icmp.ts'
import { emitIcmpv6, fillIcmpv6Checksum, ICMPV6_HEADER_BYTES } from '../../src/wire/icmpv6.ts'
import * as ip4 from '../../src/wire/ipv4.ts'
import { emitIpv6, IPV6_HEADER_BYTES } from '../../src/wire/ipv6.ts'
import { emitTcp, fillTcpChecksum, TCP_FLAG_LETTERS, TCP_HEADER_BYTES } from '../../src/wire/tcp.ts'
import { packTcpOptions, type TcpOption } from '../../src/wire/tcp-options.ts'
import { emitUdp, fillUdpChecksum, UDP_HEADER_BYTES } from '../../src/wire/udp.ts'
import { viewOf } from '../../src/wire/view.ts'
import { emitVxlan, VXLAN_FLAG_VNI, VXLAN_HEADER_BYTES } from '../../src/wire/vxlan.ts'

/** Ethernet header; `vlan` adds one 802.1Q tag. */
export interface EthOptions {
  src: string
  dst: string
  etherType?: number
  vlan?: number
}

/** IPv4 header. Defaults: TTL 64, everything else 0, protocol, length and checksum from what is inside. */
export interface IpOptions {
  src: string
  dst: string
  ttl?: number
  tos?: number
  id?: number
  df?: boolean
  mf?: boolean
  /** Multiple of 8. */
  fragmentOffsetBytes?: number
  protocol?: number
  totalLength?: number
  checksum?: number
  options?: Uint8Array
}

/** IPv6 header. Defaults: hop limit 64. */
export interface Ip6Options {
  src: string
  dst: string
  hopLimit?: number
  trafficClass?: number
  flowLabel?: number
  nextHeader?: number
  payloadLength?: number
}

/** TCP header beyond the ports. Defaults: flags 'A', seq 0, ack 0, window 64240, no options. */
export interface TcpOptions {
  /** Letters out of FSRPAUECN. */
  flags?: string
  seq?: number
  ack?: number
  window?: number
  urgent?: number
  checksum?: number
  options?: readonly TcpOption[]
}

/** UDP header beyond the ports. `checksum: 0` sends none. */
export interface UdpOptions {
  length?: number
  checksum?: number
}

/** ICMP message; `rest` is bytes 4 to 7. */
export interface IcmpOptions {
  type: number
  code?: number
  rest?: number
  checksum?: number
}

/** ARP message. Addresses default to zero. */
export interface ArpOptions {
  op: 'request' | 'reply' | number
  sha: string
  spa: string
  tha?: string
  tpa: string
}

/** What the layer around asks of the layer inside. */
interface Around {
  readonly pseudoSum: (protocol: number, len: number) => number
}

/** What the layer inside says to the one around it. */
interface Built {
  readonly bytes: Uint8Array
  readonly protocol: number
  readonly etherType: number
}

type LayerBuilder = (inner: Built, around: Around) => Built

const NO_PSEUDO: Around = { pseudoSum: () => 0 }

/** Starts a packet. */
export function pkt(): PacketBuilder {
  return new PacketBuilder([])
}

/** A packet in the making; every method gives a new builder, so prefixes can be shared. */
export class PacketBuilder {
  private readonly layers: readonly LayerBuilder[]

  constructor(layers: readonly LayerBuilder[]) {
    this.layers = layers
  }

  /** Ethernet. */
  eth(o: EthOptions): PacketBuilder {
    return this.with((inner) => {
      const tags = o.vlan === undefined ? [] : [{ tpid: ETHERTYPE_8021Q, pcp: 0, dei: false, vid: o.vlan }]
      const fields = { src: mac(o.src), dst: mac(o.dst), tags, etherType: o.etherType ?? inner.etherType }
      const [bytes] = framed(14 + 4 * tags.length, inner.bytes, (view) => emitEthernet(fields, view, 0))
      return { bytes, protocol: 143, etherType: 0x6558 }
    })
  }

  /** ARP. */
  arp(o: ArpOptions): PacketBuilder {
    return this.with((inner) => {
      const op = o.op === 'request' ? ARPOP_REQUEST : o.op === 'reply' ? ARPOP_REPLY : o.op
      const { sha, spa, tha = '00:00:00:00:00:00', tpa } = o
      const fields = {
        htype: ARPHRD_ETHER,
        ptype: ETHERTYPE_IPV4,
        op,
        sha: mac(sha),
        spa: ip(spa),
        tha: mac(tha),
        tpa: ip(tpa),
      }
      const [bytes] = framed(ARP_HEADER_BYTES, inner.bytes, (view) => emitArp(fields, view, 0))
      return { bytes, protocol: 0, etherType: ETHERTYPE_ARP }
    })
  }

  /** IPv4. */
  ip(o: IpOptions): PacketBuilder {
    const [src, dst] = [ip(o.src), ip(o.dst)]
    const around: Around = { pseudoSum: (protocol, len) => pseudoSumV4(src, dst, protocol, len) }
    return this.with((inner) => {
      const options = o.options ?? new Uint8Array(0)
      const headerBytes = ip4.IPV4_HEADER_BYTES + ((options.length + 3) & ~3)
      const fragOff = (o.df ? ip4.IP_DF : 0) | (o.mf ? ip4.IP_MF : 0) | ((o.fragmentOffsetBytes ?? 0) >> 3)
      const { tos = 0, id = 0, ttl = 64, protocol = inner.protocol, checksum = 0 } = o
      const totalLength = o.totalLength ?? headerBytes + inner.bytes.length
      const fields = { tos, totalLength, id, fragOff, ttl, protocol, checksum, src, dst, options }
      const [bytes, view] = framed(headerBytes, inner.bytes, (v) => ip4.emitIpv4(fields, v, 0))
      if (o.checksum === undefined) ip4.fillIpv4Checksum(view, 0)
      return { bytes, protocol: ip4.IPPROTO_IPIP, etherType: ETHERTYPE_IPV4 }
    }, around)
  }

  /** IPv6. */
  ip6(o: Ip6Options): PacketBuilder {
    const [src, dst] = [ip6(o.src), ip6(o.dst)]
    const around: Around = { pseudoSum: (protocol, len) => pseudoSumV6(src, dst, protocol, len) }
    return this.with((inner) => {
      const { hopLimit = 64, trafficClass = 0, flowLabel = 0, nextHeader = inner.protocol } = o
      const payloadLength = o.payloadLength ?? inner.bytes.length
      const fields = { trafficClass, flowLabel, payloadLength, nextHeader, hopLimit, src, dst }
      const [bytes] = framed(IPV6_HEADER_BYTES, inner.bytes, (view) => emitIpv6(fields, view, 0))
      return { bytes, protocol: ip4.IPPROTO_IPV6, etherType: ETHERTYPE_IPV6 }
    }, around)
  }

  /** UDP. */
  udp(sport: number, dport: number, o: UdpOptions = {}): PacketBuilder {
    return this.with((inner, around) => {
      const length = o.length ?? UDP_HEADER_BYTES + inner.bytes.length
      const fields = { sport, dport, length, checksum: o.checksum ?? 0 }
      const [bytes, view] = framed(UDP_HEADER_BYTES, inner.bytes, (v) => emitUdp(fields, v, 0))
      const pseudoSum = around.pseudoSum(ip4.IPPROTO_UDP, bytes.length)
      if (o.checksum === undefined) fillUdpChecksum(view, 0, bytes.length, pseudoSum)
      return { bytes, protocol: ip4.IPPROTO_UDP, etherType: 0 }
    })
  }

  /** TCP. */
  tcp(sport: number, dport: number, o: TcpOptions = {}): PacketBuilder {
    return this.with((inner, around) => {
      const options = packTcpOptions(o.options ?? [])
      const { seq = 0, ack = 0, window = 64240, urgent = 0, checksum = 0 } = o
      const fields = { sport, dport, seq, ack, flags: flagBits(o.flags ?? 'A'), window, checksum, urgent, options }
      const [bytes, view] = framed(TCP_HEADER_BYTES + options.length, inner.bytes, (v) => emitTcp(fields, v, 0))
      const pseudoSum = around.pseudoSum(ip4.IPPROTO_TCP, bytes.length)
      if (o.checksum === undefined) fillTcpChecksum(view, 0, bytes.length, pseudoSum)
      return { bytes, protocol: ip4.IPPROTO_TCP, etherType: 0 }
    })
  }

  /** ICMP; what is inside follows the 8-byte header, the quoted packet of an error too. */
  icmp(o: IcmpOptions): PacketBuilder {
    return this.with((inner) => {
      const fields = { type: o.type, code: o.code ?? 0, checksum: o.checksum ?? 0, rest: o.rest ?? 0 }
      const [bytes, view] = framed(ICMP_HEADER_BYTES, inner.bytes, (v) => emitIcmp(fields, v, 0))
      if (o.checksum === undefined) fillIcmpChecksum(view, 0, bytes.length)
      return { bytes, protocol: ip4.IPPROTO_ICMP, etherType: 0 }
    })
  }

  /** ICMP echo request, or its reply. */
  icmpEcho(o: { id?: number; seq?: number; reply?: boolean } = {}): PacketBuilder {
    const rest = (((o.id ?? 1) << 16) | (o.seq ?? 1)) >>> 0
    return this.icmp({ type: o.reply ? ICMP_ECHOREPLY : ICMP_ECHO, rest })
  }

  /** ICMPv6. */
  icmp6(o: IcmpOptions): PacketBuilder {
    return this.with((inner, around) => {
      const fields = { type: o.type, code: o.code ?? 0, checksum: o.checksum ?? 0, rest: o.rest ?? 0 }
      const [bytes, view] = framed(ICMPV6_HEADER_BYTES, inner.bytes, (v) => emitIcmpv6(fields, v, 0))
      const pseudoSum = around.pseudoSum(ip4.IPPROTO_ICMPV6, bytes.length)
      if (o.checksum === undefined) fillIcmpv6Checksum(view, 0, bytes.length, pseudoSum)
      return { bytes, protocol: ip4.IPPROTO_ICMPV6, etherType: 0 }
    })
  }

  /** VXLAN inside UDP; an Ethernet frame follows. */
  vxlan(vni: number): PacketBuilder {
    return this.with((inner) => {
      const fields = { flags: VXLAN_FLAG_VNI, reserved24: 0, vni, reserved8: 0 }
      const [bytes] = framed(VXLAN_HEADER_BYTES, inner.bytes, (view) => emitVxlan(fields, view, 0))
      return { bytes, protocol: 0, etherType: 0 }
    })
  }

  /** Plain bytes or text at the end. */
  payload(data: string | Uint8Array): PacketBuilder {
    const tail = typeof data === 'string' ? new TextEncoder().encode(data) : data
    return this.with((inner) => ({ ...inner, bytes: framed(tail.length, inner.bytes, (_, out) => out.set(tail))[0] }))
  }

  /** The frame. */
  bytes(): Uint8Array {
    const empty: Built = { bytes: new Uint8Array(0), protocol: 59, etherType: 0 }
    let around = NO_PSEUDO
    const outer = this.layers.map((layer) => {
      const mine = around
      around = (layer as LayerWithPseudo).around ?? around
      return { layer, around: mine }
    })
    return outer.reduceRight((inner, step) => step.layer(inner, step.around), empty).bytes
  }

  /** The frame in lower-case hex. */
  hex(): string {
    return Buffer.from(this.bytes()).toString('hex')
  }

  private with(layer: LayerBuilder, around?: Around): PacketBuilder {
    const step: LayerWithPseudo = (inner, outside) => layer(inner, outside)
    if (around !== undefined) step.around = around
    return new PacketBuilder([...this.layers, step])
  }
}

interface LayerWithPseudo extends LayerBuilder {
  around?: Around
}

/** A header of `headerBytes` written by `emit` in front of `inner`. */
function framed(
  headerBytes: number,
  inner: Uint8Array,
  emit: (view: DataView, bytes: Uint8Array) => unknown,
): [Uint8Array, DataView] {
  const bytes = new Uint8Array(headerBytes + inner.length)
  bytes.set(inner, headerBytes)
  const view = viewOf(bytes)
  emit(view, bytes)
  return [bytes, view]
}

function flagBits(letters: string): number {
  let bits = 0
  for (const letter of letters) {
    const bit = TCP_FLAG_LETTERS.indexOf(letter)
    if (bit < 0) throw new Error(`tcp flags: expected letters out of ${TCP_FLAG_LETTERS}, got ${letters}`)
    bits |= 1 << bit
  }
  return bits
}

function ip(text: string): number {
  return known(ipOfText(text), 'IPv4 address', text)
}

function ip6(text: string): readonly [number, number, number, number] {
  return known(ip6OfText(text), 'IPv6 address', text)
}

function mac(text: string): Mac {
  return known(parseMac(text), 'MAC address', text)
}

function known<T>(value: T | null, what: string, text: string): T {
  if (value === null) throw new Error(`packet builder: expected an ${what}, got ${text}`)
  return value
}
