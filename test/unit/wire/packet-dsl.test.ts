/** The test builder and checker against each other and against the real kernel's bytes; and what describeFrame says. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { describeFrame } from '../../../src/wire/describe.ts'
import { dissectFrame } from '../../../src/wire/dissect.ts'
import { emitGeneve } from '../../../src/wire/geneve.ts'
import { emitGre } from '../../../src/wire/gre.ts'
import { emitNdp, ndpLinkAddrOption } from '../../../src/wire/ndp.ts'
import { emitSctp, emitSctpChunks, fillSctpChecksum } from '../../../src/wire/sctp.ts'
import { parseTcpOptions } from '../../../src/wire/tcp-options.ts'
import { viewOf } from '../../../src/wire/view.ts'
import { pkt } from '../../support/packet-builder.ts'
import { expectPacket } from '../../support/packet-checker.ts'

const A = '02:00:00:00:01:01'
const B = '02:00:00:00:01:02'
const eth = { src: A, dst: B }
const v4 = { src: '10.1.0.2', dst: '10.2.0.2' }
const v6 = { src: 'fd00::1', dst: 'fd00::2' }

/** The frame built again from its fields; null when it is not a plain, whole, right ICMP echo, UDP, TCP or ARP frame. */
function rebuilt(bytes: Uint8Array): string | null {
  const [link, net, transport, ...rest] = dissectFrame(bytes, 'ether')
  if (link?.layer !== 'ethernet') return null
  const base = pkt().eth({ src: link.src, dst: link.dst })
  if (net?.layer === 'arp' && bytes.length === 42) return base.arp(net).hex()
  if (net?.layer !== 'ipv4' || net.headerBytes !== 20 || !net.checksumOk || net.totalLength + 14 !== bytes.length)
    return null
  if (transport === undefined || !('checksumOk' in transport) || transport.checksumOk === false || rest.length > 1)
    return null
  const { src, dst, ttl, tos, id, df, mf } = net
  const ip = base.ip({ src, dst, ttl, tos, id, df, mf })
  const tail = bytes.subarray(transport.offset + transport.headerBytes)
  const noChecksum = transport.checksumOk === null ? { checksum: transport.checksum } : {}
  if (transport.layer === 'udp')
    return ip
      .udp(transport.sport, transport.dport, { length: transport.length, ...noChecksum })
      .payload(tail)
      .hex()
  if (transport.layer === 'icmp' && transport.id !== undefined && !mf) {
    const { type, code } = transport
    return ip
      .icmp({ type, code, rest: ((transport.id << 16) | (transport.seq ?? 0)) >>> 0 })
      .payload(tail)
      .hex()
  }
  if (transport.layer !== 'tcp' || transport.flags.length === 0) return null
  const { sport, dport, seq, ack, flags, window, urgent } = transport
  const options = parseTcpOptions(viewOf(bytes), transport.offset + 20, transport.headerBytes - 20)
  return ip
    .tcp(sport, dport, { seq, ack, flags, window, urgent, options, ...noChecksum })
    .payload(tail)
    .hex()
}

describe('pkt', () => {
  it('makes the very bytes that the kernel put on the wire, from what they say', () => {
    const file = readFileSync(new URL('./fixtures/kernel-frames.tsv', import.meta.url), 'utf8')
    let made = 0
    for (const line of file.trimEnd().split('\n')) {
      const [, link, hex] = line.split('\t') as [string, string, string]
      const bytes = Uint8Array.from(Buffer.from(hex, 'hex'))
      const ours = link === 'ether' ? rebuilt(bytes) : null
      if (ours === null) continue
      made++
      expect(ours).toBe(hex)
    }
    expect(made).toBeGreaterThan(150)
  })

  it('shares a prefix between packets', () => {
    const base = pkt().eth(eth).ip(v4)
    expectPacket(base.udp(1, 2).payload('a').bytes()).ip({ protocol: 17 }).udp({ sport: 1, dport: 2 }).payload('a')
    expectPacket(base.tcp(3, 4, { flags: 'SA' }).bytes())
      .ip({ protocol: 6 })
      .tcp({ flags: 'SA' })
      .payload('')
  })

  it('refuses what is no address', () => {
    expect(() => pkt().ip({ src: '10.0.0', dst: '10.0.0.1' })).toThrow('expected an IPv4 address, got 10.0.0')
    expect(() => pkt().tcp(1, 2, { flags: 'X' }).bytes()).toThrow('tcp flags')
  })
})

describe('expectPacket', () => {
  const bytes = pkt()
    .eth(eth)
    .ip({ ...v4, ttl: 63 })
    .udp(40000, 53)
    .payload('hello')
    .bytes()
  const line = `${A}>${B} IP 10.1.0.2>10.2.0.2 ttl63 id0000 len33 UDP 40000>53 len13`

  it('passes what is as said', () => {
    expectPacket(bytes).eth({ dst: B }).ip({ dst: '10.2.0.2', ttl: 63 }).udp({ dport: 53 }).payload('hello')
  })

  it.each([
    [
      'a field that differs',
      () => expectPacket(bytes).ip({ dst: '10.96.0.10' }),
      'ip.dst: expected 10.96.0.10, got 10.2.0.2',
    ],
    ['another layer', () => expectPacket(bytes).ip().tcp({ dport: 53 }), 'expected tcp, got udp'],
    [
      'another payload',
      () => expectPacket(bytes).ip().udp().payload('hullo'),
      'payload: expected "hullo", got "hello"',
    ],
    [
      'a missing layer',
      () => expectPacket(bytes).ip().udp().payload('hello').udp(),
      'expected udp, got the end of the packet',
    ],
  ])('fails on %s with the packet in words', (_what, check, message) => {
    expect(check).toThrow(`${message}\n  in ${line}`)
  })

  it('fails on a bad checksum, unless told otherwise', () => {
    const bad = pkt().eth(eth).ip(v4).udp(1, 2, { checksum: 0x1234 }).bytes()
    expect(() => expectPacket(bad).ip().udp()).toThrow('udp.checksum: expected a good one, got 4660')
    expectPacket(bad, { goodChecksums: false }).ip().udp()
    const badIp = pkt()
      .ip({ ...v4, checksum: 1 })
      .udp(1, 2)
      .bytes()
    expect(() => expectPacket(badIp).ip()).toThrow('ip.checksum')
  })
})

describe('describeFrame', () => {
  const ip = pkt().ip(v4)

  it('shows TCP options, flags and payload length', () => {
    const options = [
      { kind: 'mss', mssBytes: 1460 },
      { kind: 'sackOK' },
      { kind: 'timestamps', value: 5, echo: 0 },
      { kind: 'nop' },
      { kind: 'wscale', shift: 7 },
    ] as const
    expect(describeFrame(ip.tcp(40000, 80, { flags: 'S', seq: 255, options }).bytes(), 'ip')).toBe(
      'IP 10.1.0.2>10.2.0.2 ttl64 id0000 len60 TCP 40000>80 S seqff ack0 win64240 +0 <mss 1460,sackOK,TS val 5 ecr 0,nop,wscale 7>',
    )
  })

  it('shows the packet that an ICMP error quotes, and what its code means', () => {
    const quoted = pkt()
      .ip({ ...v4, ttl: 1 })
      .udp(5, 6)
      .bytes()
    const error = pkt()
      .ip({ src: '10.1.0.1', dst: '10.1.0.2', tos: 0xc0 })
      .icmp({ type: 3, code: 4, rest: 1400 })
      .payload(quoted)
    expect(describeFrame(error.bytes(), 'ip')).toBe(
      'IP 10.1.0.1>10.1.0.2 ttl64 id0000 len56 tosc0 ICMP 3/4 fragmentation needed mtu1400 {IP 10.1.0.2>10.2.0.2 ttl1 id0000 len28 UDP 5>6 len8}',
    )
  })

  it('shows ports of a TCP header that an ICMP error cut to 8 bytes', () => {
    const quoted = pkt().ip(v4).tcp(7, 8).bytes().subarray(0, 28)
    const error = pkt().ip(v4).icmp({ type: 11 }).payload(quoted).bytes()
    expect(describeFrame(error, 'ip')).toContain(
      'ICMP 11/0 TTL exceeded in transit {IP 10.1.0.2>10.2.0.2 ttl64 id0000 len40 TCP 7>8 (short)}',
    )
  })

  it('follows VXLAN with a VLAN tag inside, and IPIP', () => {
    const inner = pkt()
      .eth({ ...eth, vlan: 5 })
      .ip(v4)
      .icmpEcho()
      .bytes()
    const outer = pkt().eth(eth).ip(v4).udp(1, 8472, { checksum: 0 }).vxlan(42).payload(inner)
    expect(describeFrame(outer.bytes(), 'ether')).toBe(
      `${A}>${B} IP 10.1.0.2>10.2.0.2 ttl64 id0000 len82 UDP 1>8472 len62 csum0 VXLAN vni42 fl08 {${A}>${B} vlan 5 IP 10.1.0.2>10.2.0.2 ttl64 id0000 len28 ICMP 8/0 echo request id1 seq1}`,
    )
    expect(describeFrame(ip.ip(v4).icmpEcho().bytes(), 'ip')).toMatch(
      /^IP 10\.1\.0\.2>10\.2\.0\.2 ttl64 id0000 len48 IPIP \{IP .*seq1\}$/,
    )
    expect(describeFrame(ip.ip6(v6).icmp6({ type: 128 }).bytes(), 'ip')).toContain(
      'SIT {IP6 fd00::1>fd00::2 hlim64 len8 ICMP6 128/0',
    )
  })

  it('shows neighbour discovery', () => {
    const body = new Uint8Array(40)
    const target = [0xfe800000 | 0, 0, 0, 1] as const
    const options = [ndpLinkAddrOption(2, { hi: 0x0200, lo: 0x0101 })]
    const size = emitNdp({ target, dst: null, timersMs: null, options }, viewOf(body), 0)
    const na = pkt()
      .eth(eth)
      .ip6({ ...v6, hopLimit: 255 })
      .icmp6({ type: 136, rest: 0x60000000 })
      .payload(body.subarray(8, size))
    expect(describeFrame(na.bytes(), 'ether')).toBe(
      `${A}>${B} IP6 fd00::1>fd00::2 hlim255 len32 ICMP6 136/0 neighbour advertisement fe80::1 SO tlla 02:00:00:00:01:01`,
    )
    expectPacket(na.bytes()).ip6({ hopLimit: 255 }).icmp6({ target: 'fe80::1', naFlags: 'SO', checksumOk: true })
  })

  it('shows SCTP chunks and judges the CRC', () => {
    const bytes = new Uint8Array(60)
    const view = viewOf(bytes)
    const head = emitSctp({ sport: 1, dport: 2, vtag: 0xabc, checksum: 0 }, view, 0)
    const chunks = [
      { type: 10, flags: 0, value: new Uint8Array(5) },
      { type: 0, flags: 3, value: new Uint8Array(13) },
    ]
    const size = head + emitSctpChunks(chunks, view, head)
    fillSctpChecksum(view, 0, size)
    const good = pkt()
      .ip({ ...v4, protocol: 132 })
      .payload(bytes.subarray(0, size))
      .bytes()
    expect(describeFrame(good, 'ip')).toMatch(/SCTP 1>2 vtagabc COOKIE_ECHO,DATA$/)
    good[good.length - 4]! ^= 1
    expect(describeFrame(good, 'ip')).toMatch(/bad-csum$/)
  })

  it('shows Geneve and GRE', () => {
    const inner = pkt().eth(eth).ip(v4).icmpEcho().bytes()
    const geneve = new Uint8Array(12)
    emitGeneve({ flags: 0, protocol: 0x6558, vni: 9, reserved8: 0, options: new Uint8Array(4) }, viewOf(geneve), 0)
    const frame = ip
      .udp(1, 6081)
      .payload(Uint8Array.from([...geneve, ...inner]))
      .bytes()
    expect(describeFrame(frame, 'ip')).toContain(`GENEVE vni9 type 6558 opts4 {${A}>${B} IP 10.1.0.2`)
    const gre = new Uint8Array(8)
    emitGre({ protocol: 0x0800, checksum: null, key: 77, seq: null }, viewOf(gre), 0)
    const inIp = pkt().ip(v4).icmpEcho().bytes()
    const greFrame = pkt()
      .ip({ ...v4, protocol: 47 })
      .payload(Uint8Array.from([...gre, ...inIp]))
    expect(describeFrame(greFrame.bytes(), 'ip')).toContain('GRE type 0800 key77 {IP 10.1.0.2>10.2.0.2')
  })

  it('shows fragments, IPv6 fragments, ARP, unknown types and cut headers', () => {
    const say = (hexOrBytes: Uint8Array, link: 'ether' | 'ip' = 'ip'): string => describeFrame(hexOrBytes, link)
    expect(
      say(
        pkt()
          .ip({ ...v4, fragmentOffsetBytes: 1480, mf: true, protocol: 17 })
          .payload('xx')
          .bytes(),
      ),
    ).toBe('IP 10.1.0.2>10.2.0.2 ttl64 id0000 len22 MF+1480 frag')
    const fragment = Uint8Array.from([17, 0, 0x05, 0xa9, 0, 0, 0, 7, 1, 2, 3, 4])
    expect(
      say(
        pkt()
          .ip6({ ...v6, nextHeader: 44 })
          .payload(fragment)
          .bytes(),
      ),
    ).toBe('IP6 fd00::1>fd00::2 hlim64 len12 ext44 frag7+1448MF frag')
    const arp = pkt()
      .eth({ src: A, dst: 'ff:ff:ff:ff:ff:ff' })
      .arp({ op: 'request', sha: A, spa: '10.1.0.2', tpa: '10.1.0.1' })
    expect(say(arp.bytes(), 'ether')).toBe(
      `${A}>ff:ff:ff:ff:ff:ff ARP req 10.1.0.2(${A}) -> 10.1.0.1(00:00:00:00:00:00)`,
    )
    expect(
      say(
        pkt()
          .eth({ ...eth, etherType: 0x88cc, vlan: 3 })
          .payload('lldp')
          .bytes(),
        'ether',
      ),
    ).toBe(`${A}>${B} vlan 3 type 88cc len 22`)
    expect(
      say(
        pkt()
          .ip({ ...v4, protocol: 89 })
          .payload('ospf')
          .bytes(),
      ),
    ).toContain('proto 89')
    expect(say(pkt().ip(v4).udp(1, 2).bytes().subarray(0, 24))).toContain('UDP 1>2 (short)')
    expect(say(new Uint8Array(0), 'ether')).toBe('ETHER (short)')
  })

  it('gives a layer per header with offsets', () => {
    const frame = pkt()
      .eth({ ...eth, vlan: 7 })
      .ip(v4)
      .udp(1, 2)
      .payload('abc')
      .bytes()
    expect(dissectFrame(frame, 'ether').map((l) => [l.layer, l.offset, l.headerBytes])).toEqual([
      ['ethernet', 0, 14],
      ['vlan', 12, 4],
      ['ipv4', 18, 20],
      ['udp', 38, 8],
      ['payload', 46, 0],
    ])
  })
})
