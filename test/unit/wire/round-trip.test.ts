/**
 * Properties that every codec of src/wire has: what is emitted parses to the same fields and takes the bytes that it
 * says; mutated and short input gives null or fields, and never throws.
 */
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type { Ipv6Words } from '../../../src/addr/ipv6.ts'
import type { Mac } from '../../../src/addr/mac.ts'
import * as arp from '../../../src/wire/arp.ts'
import { describeFrame } from '../../../src/wire/describe.ts'
import { dissectFrame } from '../../../src/wire/dissect.ts'
import * as eth from '../../../src/wire/ethernet.ts'
import * as geneve from '../../../src/wire/geneve.ts'
import * as gre from '../../../src/wire/gre.ts'
import * as icmp from '../../../src/wire/icmp.ts'
import * as icmpv6 from '../../../src/wire/icmpv6.ts'
import * as ipip from '../../../src/wire/ipip.ts'
import * as ipv4 from '../../../src/wire/ipv4.ts'
import * as ipv6 from '../../../src/wire/ipv6.ts'
import * as ndp from '../../../src/wire/ndp.ts'
import * as sctp from '../../../src/wire/sctp.ts'
import * as tcp from '../../../src/wire/tcp.ts'
import * as opts from '../../../src/wire/tcp-options.ts'
import * as udp from '../../../src/wire/udp.ts'
import { viewOf } from '../../../src/wire/view.ts'
import * as vxlan from '../../../src/wire/vxlan.ts'

const u = (bits: number) => fc.integer({ min: 0, max: 2 ** bits - 1 })
const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
const mac: fc.Arbitrary<Mac> = fc.record({ hi: u(16), lo: int32 })
const ip6: fc.Arbitrary<Ipv6Words> = fc.tuple(int32, int32, int32, int32)
const raw = (maxLength: number) => fc.uint8Array({ maxLength })
const words = (max: number) =>
  fc.integer({ min: 0, max }).chain((n) => fc.uint8Array({ minLength: 4 * n, maxLength: 4 * n }))
const notTag = u(16).filter((t) => t !== 0x8100 && t !== 0x88a8)
const tag = fc.record({ tpid: fc.constantFrom(0x8100, 0x88a8), pcp: u(3), dei: fc.boolean(), vid: u(12) })
const ipv4Fields = fc.record({
  tos: u(8),
  totalLength: u(16),
  id: u(16),
  fragOff: u(16),
  ttl: u(8),
  protocol: u(8),
  checksum: u(16),
  src: int32,
  dst: int32,
  options: words(10),
})
const icmpFields = fc.record({ type: u(8), code: u(8), checksum: u(16), rest: u(32) })

interface Codec<T> {
  fields: fc.Arbitrary<T>
  headerBytes: (fields: T) => number
  parse: (view: DataView, off: number, len: number) => T | null
  emit: (fields: T, view: DataView, off: number) => number
}
const codec = <T>(
  fields: fc.Arbitrary<T>,
  headerBytes: ((fields: T) => number) | number,
  parse: Codec<T>['parse'],
  emit: Codec<T>['emit'],
): Codec<unknown> =>
  ({
    fields,
    headerBytes: typeof headerBytes === 'number' ? () => headerBytes : headerBytes,
    parse,
    emit,
  }) as Codec<unknown>

const codecs: Record<string, Codec<unknown>> = {
  ethernet: codec(
    fc.record({ dst: mac, src: mac, tags: fc.array(tag, { maxLength: 3 }), etherType: notTag }),
    eth.ethernetHeaderBytes,
    eth.parseEthernet,
    eth.emitEthernet,
  ),
  arp: codec(
    fc.record({ htype: u(16), ptype: u(16), op: u(16), sha: mac, spa: int32, tha: mac, tpa: int32 }),
    arp.ARP_HEADER_BYTES,
    arp.parseArp,
    arp.emitArp,
  ),
  ipv4: codec(ipv4Fields, ipv4.ipv4HeaderBytes, ipv4.parseIpv4, ipv4.emitIpv4),
  ipip: codec(
    fc.record({ outer: ipv4Fields.map((f) => ({ ...f, protocol: 4 })), inner: ipv4Fields }),
    (f) => ipv4.ipv4HeaderBytes(f.outer) + ipv4.ipv4HeaderBytes(f.inner),
    ipip.parseIpip,
    ipip.emitIpip,
  ),
  ipv6: codec(
    fc.record({
      trafficClass: u(8),
      flowLabel: u(20),
      payloadLength: u(16),
      nextHeader: u(8),
      hopLimit: u(8),
      src: ip6,
      dst: ip6,
    }),
    ipv6.IPV6_HEADER_BYTES,
    ipv6.parseIpv6,
    ipv6.emitIpv6,
  ),
  icmp: codec(icmpFields, icmp.ICMP_HEADER_BYTES, icmp.parseIcmp, icmp.emitIcmp),
  'icmp timestamps': codec(
    fc.record({ originate: u(32), receive: u(32), transmit: u(32) }),
    icmp.ICMP_TIMESTAMP_BYTES,
    icmp.parseIcmpTimestamps,
    icmp.emitIcmpTimestamps,
  ),
  icmpv6: codec(icmpFields, icmpv6.ICMPV6_HEADER_BYTES, icmpv6.parseIcmpv6, icmpv6.emitIcmpv6),
  udp: codec(
    fc.record({ sport: u(16), dport: u(16), length: u(16), checksum: u(16) }),
    udp.UDP_HEADER_BYTES,
    udp.parseUdp,
    udp.emitUdp,
  ),
  tcp: codec(
    fc.record({
      sport: u(16),
      dport: u(16),
      seq: u(32),
      ack: u(32),
      flags: u(12),
      window: u(16),
      checksum: u(16),
      urgent: u(16),
      options: words(10),
    }),
    tcp.tcpHeaderBytes,
    tcp.parseTcp,
    tcp.emitTcp,
  ),
  sctp: codec(
    fc.record({ sport: u(16), dport: u(16), vtag: u(32), checksum: u(32) }),
    sctp.SCTP_HEADER_BYTES,
    sctp.parseSctp,
    sctp.emitSctp,
  ),
  vxlan: codec(
    fc.record({ flags: u(8), reserved24: u(24), vni: u(24), reserved8: u(8) }),
    vxlan.VXLAN_HEADER_BYTES,
    vxlan.parseVxlan,
    vxlan.emitVxlan,
  ),
  geneve: codec(
    fc.record({ flags: u(8), protocol: u(16), vni: u(24), reserved8: u(8), options: words(63) }),
    (f) => geneve.GENEVE_HEADER_BYTES + f.options.length,
    geneve.parseGeneve,
    geneve.emitGeneve,
  ),
  gre: codec(
    fc.record({ protocol: u(16), checksum: fc.option(u(16)), key: fc.option(u(32)), seq: fc.option(u(32)) }),
    gre.greHeaderBytes,
    gre.parseGre,
    gre.emitGre,
  ),
}

describe.each(Object.entries(codecs))('%s', (_name, c) => {
  it('parses what it emits, at any offset, and needs exactly its header', () => {
    fc.assert(
      fc.property(c.fields, u(6), raw(20), (fields, off, tail) => {
        const size = c.headerBytes(fields)
        const bytes = new Uint8Array(off + size + tail.length).fill(0xa5)
        const view = viewOf(bytes)
        expect(c.emit(fields, view, off)).toBe(size)
        // Timestamps write only their own words behind a header, all others everything up to their size.
        expect([...bytes.subarray(0, off), ...bytes.subarray(off + size)].every((b) => b === 0xa5)).toBe(true)
        expect(c.parse(view, off, size + tail.length)).toEqual(fields)
        expect(c.parse(view, off, size)).toEqual(fields)
        for (let len = 0; len < size; len++) expect(c.parse(view, off, len)).toBeNull()
      }),
    )
  })

  it('does not read past the view when told a length that is not there', () => {
    fc.assert(
      fc.property(raw(70), u(7), u(16), (bytes, off, len) => {
        expect(() => c.parse(viewOf(bytes), off, len)).not.toThrow()
      }),
    )
  })
})

describe('options and chunks', () => {
  const tcpOption: fc.Arbitrary<opts.TcpOption> = fc.oneof(
    fc.constant({ kind: 'nop' } as const),
    fc.constant({ kind: 'sackOK' } as const),
    fc.record({ kind: fc.constant('mss' as const), mssBytes: u(16) }),
    fc.record({ kind: fc.constant('wscale' as const), shift: u(8) }),
    fc.record({ kind: fc.constant('timestamps' as const), value: u(32), echo: u(32) }),
    fc.record({
      kind: fc.constant('sack' as const),
      blocks: fc.array(fc.tuple(u(32), u(32)), { minLength: 1, maxLength: 4 }),
    }),
    fc.record({
      kind: fc.constant('unknown' as const),
      number: fc.integer({ min: 19, max: 255 }),
      data: raw(8),
    }),
  )

  it('TCP options parse to what was emitted', () => {
    fc.assert(
      fc.property(fc.array(tcpOption, { maxLength: 6 }), (options) => {
        const bytes = new Uint8Array(opts.tcpOptionsBytes(options))
        expect(opts.emitTcpOptions(options, viewOf(bytes), 0)).toBe(bytes.length)
        expect(opts.parseTcpOptions(viewOf(bytes), 0, bytes.length)).toEqual(options)
      }),
    )
  })

  it('any bytes parsed as TCP options are written back unchanged', () => {
    fc.assert(
      fc.property(raw(40), (bytes) => {
        const options = opts.parseTcpOptions(viewOf(bytes), 0, bytes.length)
        const out = new Uint8Array(opts.tcpOptionsBytes(options))
        opts.emitTcpOptions(options, viewOf(out), 0)
        expect(out).toEqual(bytes)
      }),
    )
  })

  it('SCTP chunks parse to what was emitted', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ type: u(8), flags: u(8), value: raw(30) }), { maxLength: 5 }), (chunks) => {
        const bytes = new Uint8Array(400)
        const size = sctp.emitSctpChunks(chunks, viewOf(bytes), 0)
        expect(sctp.parseSctpChunks(viewOf(bytes), 0, size)).toEqual(chunks)
      }),
    )
  })

  it('neighbour messages parse to what was emitted', () => {
    const option = fc.record({
      type: u(8),
      data: fc.constantFrom(6, 14, 30).chain((n) => fc.uint8Array({ minLength: n, maxLength: n })),
    })
    fc.assert(
      fc.property(fc.constantFrom(135, 136), ip6, fc.array(option, { maxLength: 3 }), (type, target, options) => {
        const bytes = new Uint8Array(200)
        bytes[0] = type
        const fields: ndp.NdpFields = { target, dst: null, timersMs: null, options }
        const size = ndp.emitNdp(fields, viewOf(bytes), 0)
        expect(ndp.parseNdp(viewOf(bytes), 0, size)).toEqual(fields)
      }),
    )
  })

  it('walks over options of any bytes never throw', () => {
    fc.assert(
      fc.property(raw(60), u(8), (bytes, next) => {
        const view = viewOf(bytes)
        ipv4.walkIpv4Options(bytes)
        geneve.walkGeneveOptions(bytes)
        sctp.parseSctpChunks(view, 0, bytes.length)
        const walk = ipv6.walkIpv6Extensions(view, 0, bytes.length, next)
        expect(walk.off).toBeLessThanOrEqual(bytes.length)
        for (const type of [133, 134, 135, 136, 137]) {
          const message = Uint8Array.from([type, ...bytes])
          ndp.parseNdp(viewOf(message), 0, message.length)
        }
      }),
    )
  })
})

describe('any bytes', () => {
  const start = fc.constantFrom(
    '',
    '0200000000020200000000010800',
    '02000000000202000000000186dd',
    '020000000002020000000001810000050800',
  )
  const ipStart = fc.constantFrom(
    '',
    '45000054000040004001',
    '450000540000400040110000',
    '4f0000540000400040040000',
    '6000000000140440',
    '60000000002c3a40',
  )

  it('can be described and dissected', () => {
    fc.assert(
      fc.property(
        start,
        ipStart,
        raw(120),
        fc.constantFrom('ether' as const, 'ip' as const),
        (head, ip, tail, link) => {
          const bytes = Uint8Array.from([...Buffer.from(head + ip, 'hex'), ...tail])
          expect(typeof describeFrame(bytes, link)).toBe('string')
          const layers = dissectFrame(bytes, link)
          expect(JSON.parse(JSON.stringify(layers))).toEqual(layers)
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('nested a thousand times do not overflow the stack', () => {
    const one = Buffer.from('4500ffff000000004004000001020304050607 08'.replace(' ', ''), 'hex')
    const bytes = Uint8Array.from(Buffer.concat(new Array<Buffer>(1000).fill(one)))
    expect(describeFrame(bytes, 'ip')).toContain('more bytes')
  })
})
