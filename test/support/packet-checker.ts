/**
 * Checks frames in tests as one would say them; a failure shows the whole packet:
 *
 *     expectPacket(bytes).eth({ dst: '02:00:00:00:00:02' }).ip({ dst: '10.244.2.5', ttl: 62 }).udp({ dport: 53 }).payload('hello')
 *
 *     Error: ip.dst: expected 10.244.2.5, got 10.96.0.10
 *       in 02:..>02:.. IP 10.244.1.7>10.96.0.10 ttl63 id0000 len33 UDP 40000>53 len13
 *
 * Each call consumes the next layer of its kind, which must come next (tags and payload aside). Checksums of every layer
 * that is passed must be good; `goodChecksums: false` in the options allows bad ones.
 */
import { describeFrame } from '../../src/wire/describe.ts'
import { dissectFrame, type LinkKind } from '../../src/wire/dissect.ts'
import type { Layer } from '../../src/wire/layers.ts'

type LayerOf<K extends Layer['layer'], L extends Layer = Layer> = L extends Layer
  ? K extends L['layer']
    ? L
    : never
  : never
/** Expected values of some fields of a layer. */
export type Expected<K extends Layer['layer']> = Partial<Omit<LayerOf<K>, 'layer'>>

/** How to read the frame. */
export interface CheckOptions {
  /** 'ip' for frames that start at an IP header; by default decided by the bytes. */
  link?: LinkKind
  goodChecksums?: boolean
}

/** Starts to check a frame. */
export function expectPacket(bytes: Uint8Array, options: CheckOptions = {}): PacketChecker {
  return new PacketChecker(bytes, options.link ?? guessLink(bytes), options.goodChecksums ?? true)
}

/** Walks through a frame's layers; throws at the first difference. */
export class PacketChecker {
  private readonly frame: Uint8Array
  private readonly link: LinkKind
  private readonly goodChecksums: boolean
  private readonly layers: Layer[]
  private at = 0

  constructor(frame: Uint8Array, link: LinkKind, goodChecksums: boolean) {
    this.frame = frame
    this.link = link
    this.goodChecksums = goodChecksums
    this.layers = dissectFrame(frame, link)
  }

  /** Ethernet. */
  eth(expected: Expected<'ethernet'> = {}): this {
    return this.layer('ethernet', 'eth', expected)
  }

  /** An 802.1Q tag. */
  vlan(expected: Expected<'vlan'> = {}): this {
    return this.layer('vlan', 'vlan', expected)
  }

  /** ARP. */
  arp(expected: Expected<'arp'> = {}): this {
    return this.layer('arp', 'arp', expected)
  }

  /** IPv4. */
  ip(expected: Expected<'ipv4'> = {}): this {
    return this.layer('ipv4', 'ip', expected)
  }

  /** IPv6. */
  ip6(expected: Expected<'ipv6'> = {}): this {
    return this.layer('ipv6', 'ip6', expected)
  }

  /** ICMP. */
  icmp(expected: Expected<'icmp'> = {}): this {
    return this.layer('icmp', 'icmp', expected)
  }

  /** ICMPv6. */
  icmp6(expected: Expected<'icmpv6'> = {}): this {
    return this.layer('icmpv6', 'icmp6', expected)
  }

  /** UDP. */
  udp(expected: Expected<'udp'> = {}): this {
    return this.layer('udp', 'udp', expected)
  }

  /** TCP. */
  tcp(expected: Expected<'tcp'> = {}): this {
    return this.layer('tcp', 'tcp', expected)
  }

  /** SCTP. */
  sctp(expected: Expected<'sctp'> = {}): this {
    return this.layer('sctp', 'sctp', expected)
  }

  /** VXLAN. */
  vxlan(expected: Expected<'vxlan'> = {}): this {
    return this.layer('vxlan', 'vxlan', expected)
  }

  /** The bytes behind the last header, as text or bytes; '' for none. */
  payload(expected: string | Uint8Array): this {
    const layer = this.layers[this.at]
    const got =
      layer?.layer === 'payload' ? this.frame.subarray(layer.offset, layer.offset + layer.bytes) : new Uint8Array(0)
    if (layer !== undefined && layer.layer !== 'payload') this.fail(`expected payload, got ${layer.layer}`)
    const want = typeof expected === 'string' ? new TextEncoder().encode(expected) : expected
    if (!Buffer.from(got).equals(Buffer.from(want))) this.fail(`payload: expected ${show(want)}, got ${show(got)}`)
    if (layer !== undefined) this.at++
    return this
  }

  private layer<K extends Layer['layer']>(kind: K, name: string, expected: Expected<K>): this {
    if (kind !== 'vlan') while (this.layers[this.at]?.layer === 'vlan') this.at++
    if (this.at === 0 && kind !== 'ethernet' && this.layers[0]?.layer === 'ethernet') this.at = 1
    const layer = this.layers[this.at]
    if (layer?.layer !== kind) this.fail(`expected ${name}, got ${layer?.layer ?? 'the end of the packet'}`)
    const values = layer as unknown as Record<string, unknown>
    for (const [field, want] of Object.entries(expected)) {
      const got = values[field]
      if (JSON.stringify(got) !== JSON.stringify(want))
        this.fail(`${name}.${field}: expected ${text(want)}, got ${text(got)}`)
    }
    if (this.goodChecksums && values.checksumOk === false)
      this.fail(`${name}.checksum: expected a good one, got ${text(values.checksum)}`)
    this.at++
    return this
  }

  private fail(what: string): never {
    throw new Error(`${what}\n  in ${describeFrame(this.frame, this.link)}`)
  }
}

/** IP when the length that an IP header would announce is the frame's own, else Ethernet. */
function guessLink(bytes: Uint8Array): LinkKind {
  const word = (at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
  const first = bytes[0] ?? 0
  if (first >= 0x45 && first <= 0x4f && word(2) === bytes.length) return 'ip'
  return first >> 4 === 6 && word(4) + 40 === bytes.length ? 'ip' : 'ether'
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing')
}

function show(bytes: Uint8Array): string {
  const printable = bytes.every((b) => b >= 32 && b < 127)
  return printable ? JSON.stringify(Buffer.from(bytes).toString()) : `0x${Buffer.from(bytes).toString('hex')}`
}
