/**
 * What tshark makes of our pcapng files, and of the frames that dissectFrame reads.
 *
 * The capture holds frames recorded on the real kernel and packets of the protocols that the recordings lack. tshark
 * must find no malformed packet where we made it, agree on every checksum, and show names, directions and comments.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { dissectFrame, type LinkKind } from '../../src/wire/dissect.ts'
import { emitGeneve } from '../../src/wire/geneve.ts'
import { emitGre } from '../../src/wire/gre.ts'
import type { Layer } from '../../src/wire/layers.ts'
import { emitNdp, ndpLinkAddrOption } from '../../src/wire/ndp.ts'
import { LINKTYPE_ETHERNET, LINKTYPE_RAW, type PcapngPacket, writePcapng } from '../../src/wire/pcapng.ts'
import { emitSctp, emitSctpChunks, fillSctpChecksum } from '../../src/wire/sctp.ts'
import { viewOf } from '../../src/wire/view.ts'
import { describeKernel, runCommand } from '../support/kernel.ts'
import { pkt } from '../support/packet-builder.ts'

const CHECKS = ['ip', 'tcp', 'udp'].flatMap((p) => ['-o', `${p}.check_checksum:TRUE`])
// tshark knows port 4789 only, checks SCTP only when told how, and must judge each frame by itself.
const DECODE = [
  '-d',
  'udp.port==8472,vxlan',
  '-o',
  'sctp.checksum:CRC 32c',
  '-o',
  'ip.defragment:FALSE',
  '-o',
  'ipv6.defragment:FALSE',
]

const TRANSPORTS = ['tcp', 'udp', 'icmp', 'icmpv6', 'sctp']
const WRONG = ['_ws.malformed', '_ws.expert.severity == error', 'ip.checksum.status == Bad']
  .concat(TRANSPORTS.map((p) => `${p}.checksum.status == Bad`))
  .join(' || ')

interface Recorded {
  link: LinkKind
  bytes: Uint8Array
}

const recorded: Recorded[] = readFileSync(new URL('../unit/wire/fixtures/kernel-frames.tsv', import.meta.url), 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => line.split('\t') as [string, LinkKind, string])
  // tshark reads on behind a wrong version or header length, we stop as the kernel does.
  .filter(([scenario, link, hex]) => {
    const layers = dissectFrame(Buffer.from(hex, 'hex'), link)
    return !(scenario === 'fwd-badpkt' && layers.some((l) => l.layer === 'broken'))
  })
  .map(([, link, hex]) => {
    return { link, bytes: Uint8Array.from(Buffer.from(hex, 'hex')) }
  })

const ETH = { src: '02:00:00:00:01:01', dst: '02:00:00:00:01:02' }
const V4 = { src: '10.244.1.7', dst: '10.96.0.10' }
const V6 = { src: 'fd00::7', dst: 'fd00::a' }

/** Good packets of every protocol that we write. */
function ownPackets(): Uint8Array[] {
  const sctp = new Uint8Array(12 + 32)
  emitSctp({ sport: 5000, dport: 5001, vtag: 0, checksum: 0 }, viewOf(sctp), 0)
  const init = new Uint8Array(16)
  init.set([0, 0, 0, 9, 0, 0, 0xff, 0xff, 0, 1, 0, 1, 0, 0, 0, 1])
  const size = 12 + emitSctpChunks([{ type: 1, flags: 0, value: init }], viewOf(sctp), 12)
  fillSctpChecksum(viewOf(sctp), 0, size)
  const ns = new Uint8Array(40)
  const options = [ndpLinkAddrOption(1, { hi: 0x0200, lo: 0x0101 })]
  const nsSize = emitNdp({ target: [0xfd000000 | 0, 0, 0, 10], dst: null, timersMs: null, options }, viewOf(ns), 0)
  const tcp = { flags: 'S', seq: 1, options: [{ kind: 'mss', mssBytes: 1460 }, { kind: 'sackOK' }] } as const
  const quoted = pkt()
    .ip({ ...V4, ttl: 1 })
    .udp(40000, 33434)
    .payload('x')
    .bytes()
  const inner = pkt().eth(ETH).ip(V4).tcp(40000, 80, tcp).bytes()
  const geneve = new Uint8Array(16)
  const option = Uint8Array.of(0xff, 0xff, 1, 1, 1, 2, 3, 4)
  emitGeneve({ flags: 0, protocol: 0x6558, vni: 77, reserved8: 0, options: option }, viewOf(geneve), 0)
  const gre = new Uint8Array(12)
  emitGre({ protocol: 0x0800, checksum: null, key: 5, seq: 6 }, viewOf(gre), 0)
  const innerIp = pkt().ip(V4).icmpEcho().payload('in gre').bytes()
  return [
    pkt().eth(ETH).arp({ op: 'request', sha: ETH.src, spa: V4.src, tpa: V4.dst }),
    pkt().eth(ETH).ip(V4).udp(40000, 40001).payload('odd'),
    pkt()
      .eth({ ...ETH, vlan: 12 })
      .ip({ ...V4, df: true, id: 7 })
      .tcp(40000, 80, tcp),
    pkt().eth(ETH).ip(V4).icmpEcho({ id: 3, seq: 9 }).payload('ping'),
    pkt().eth(ETH).ip(V4).icmp({ type: 11 }).payload(quoted),
    pkt().eth(ETH).ip(V4).udp(50000, 8472, { checksum: 0 }).vxlan(42).payload(inner),
    pkt().eth(ETH).ip(V4).ip(V4).udp(40000, 40001).payload('in ip'),
    pkt().eth(ETH).ip6(V6).tcp(40000, 80, tcp),
    pkt().eth(ETH).ip6(V6).udp(40000, 40001).payload('six'),
    pkt().eth(ETH).ip6(V6).icmp6({ type: 128, rest: 0x00010002 }).payload('ping'),
    pkt()
      .eth(ETH)
      .ip6({ ...V6, hopLimit: 255 })
      .icmp6({ type: 135 })
      .payload(ns.subarray(8, nsSize)),
    pkt()
      .eth(ETH)
      .ip({ ...V4, protocol: 132 })
      .payload(sctp.subarray(0, size)),
    pkt()
      .eth(ETH)
      .ip(V4)
      .udp(50000, 6081)
      .payload(Uint8Array.from([...geneve, ...inner])),
    pkt()
      .eth(ETH)
      .ip({ ...V4, protocol: 47 })
      .payload(Uint8Array.from([...gre, ...innerIp])),
  ].map((builder) => builder.bytes())
}

/** Values of a field per layer that has it, in the order of the layers. */
function valuesOf(layers: readonly Layer[], read: (layer: Layer) => string | null): string {
  return layers
    .map(read)
    .filter((value) => value !== null)
    .join(',')
}

describeKernel('tshark reads our pcapng', ['tshark', 'capinfos'], () => {
  const dir = mkdtempSync(join(tmpdir(), 'podwalk-pcapng-'))
  const own = ownPackets()
  afterAll(() => rmSync(dir, { recursive: true, force: true }))

  function tshark(file: string, args: string[]): string[] {
    const done = runCommand(['tshark', '-r', join(dir, file), '-n', ...CHECKS, ...DECODE, ...args])
    if (done.status !== 0) throw new Error(`tshark: ${done.stderr}`)
    return done.stdout.split('\n').slice(0, -1)
  }
  const fields = (file: string, names: string[], args: string[] = []): string[][] =>
    tshark(file, ['-T', 'fields', ...names.flatMap((n) => ['-e', n]), ...args]).map((line) => line.split('\t'))

  describe('packets that we build', () => {
    beforeAll(() => {
      const packets = own.map((bytes, i): PcapngPacket => {
        const comment = `hop ${i}: → KUBE-SVC-${'X'.repeat(i)}`
        return { interfaceId: i % 2, atNs: i * 1_000_000_007, bytes, direction: i % 2 === 0 ? 'rx' : 'tx', comment }
      })
      const interfaces = [
        { name: 'n1/root/cni0', description: 'node n1, bridge', linkType: LINKTYPE_ETHERNET },
        { name: 'n1/web-7d4/eth0', description: 'pod shop/web-7d4', linkType: LINKTYPE_ETHERNET },
        { name: 'n1/root/tunl0', description: 'IPIP', linkType: LINKTYPE_RAW },
      ]
      const raw = pkt().ip(V4).udp(1234, 40001).payload('raw').bytes()
      const rawPacket: PcapngPacket = { interfaceId: 2, atNs: 2 ** 45, bytes: raw, direction: 'tx' }
      const names = [
        { ip: V4.dst, name: 'svc.shop.api' },
        { ip: V6.dst, name: 'svc.shop.api6' },
      ]
      const capture = { interfaces, packets: [...packets, rawPacket], names, comment: 'walk of one packet' }
      writeFileSync(join(dir, 'own.pcapng'), writePcapng(capture))
    })

    it('have nothing malformed, no bad checksum and no error mark', () => {
      expect(tshark('own.pcapng', ['-Y', WRONG])).toEqual([])
      const good = TRANSPORTS.map((p) => `${p}.checksum.status == Good`).join(' || ')
      // All but ARP, and the one on the raw IP link.
      expect(tshark('own.pcapng', ['-Y', good])).toHaveLength(own.length)
    })

    it('would be caught with a bad checksum', () => {
      const bytes = [
        pkt()
          .eth(ETH)
          .ip({ ...V4, checksum: 1 })
          .udp(1, 2),
        pkt().eth(ETH).ip(V4).udp(1, 2, { checksum: 1 }),
        pkt().eth(ETH).ip6(V6).tcp(1, 2, { checksum: 1 }),
        pkt().eth(ETH).ip(V4).icmp({ type: 8, checksum: 1 }),
        pkt()
          .eth(ETH)
          .ip({ ...V4, protocol: 132 })
          .payload(new Uint8Array(16)),
      ].map((builder) => builder.bytes())
      const interfaces = [{ name: 'e', description: '', linkType: LINKTYPE_ETHERNET }]
      const packets = bytes.map((b, i): PcapngPacket => ({ interfaceId: 0, atNs: i, bytes: b, direction: 'rx' }))
      writeFileSync(join(dir, 'bad.pcapng'), writePcapng({ interfaces, packets, names: [] }))
      expect(tshark('bad.pcapng', ['-Y', WRONG])).toHaveLength(bytes.length)
    })

    it('keep interface, description, time, direction and comment', () => {
      const rows = fields('own.pcapng', [
        'frame.interface_name',
        'frame.interface_description',
        'frame.time_epoch',
        'frame.packet_flags_direction',
        'frame.comment',
      ])
      expect(rows.slice(0, 2)).toEqual([
        ['n1/root/cni0', 'node n1, bridge', '0.000000000', '0x00000001', 'hop 0: → KUBE-SVC-'],
        ['n1/web-7d4/eth0', 'pod shop/web-7d4', '1.000000007', '0x00000002', 'hop 1: → KUBE-SVC-X'],
      ])
      expect(rows.at(-1)).toEqual(['n1/root/tunl0', 'IPIP', '35184.372088832', '0x00000002', ''])
      expect(rows).toHaveLength(own.length + 1)
    })

    it('are what dissectFrame says they are: tags, IPv6, neighbour discovery, SCTP, tunnels', () => {
      const names = [
        'vlan.id',
        'ipv6.src',
        'ipv6.hlim',
        'icmpv6.type',
        'icmpv6.nd.ns.target_address',
        'sctp.dstport',
        'vxlan.vni',
        'geneve.vni',
        'gre.key',
        'gre.sequence_number',
        'tcp.options.mss_val',
      ]
      const read: ((l: Layer) => string | number | null | undefined)[] = [
        (l) => (l.layer === 'vlan' ? l.vid : null),
        (l) => (l.layer === 'ipv6' ? l.src : null),
        (l) => (l.layer === 'ipv6' ? l.hopLimit : null),
        (l) => (l.layer === 'icmpv6' ? l.type : null),
        (l) => (l.layer === 'icmpv6' ? l.target : null),
        (l) => (l.layer === 'sctp' ? l.dport : null),
        (l) => (l.layer === 'vxlan' ? l.vni : null),
        (l) => (l.layer === 'geneve' ? `0x${l.vni.toString(16).padStart(6, '0')}` : null),
        (l) => (l.layer === 'gre' ? `0x${(l.key ?? 0).toString(16).padStart(8, '0')}` : null),
        (l) => (l.layer === 'gre' ? l.seq : null),
        (l) => (l.layer === 'tcp' ? l.options.find((o) => o.startsWith('mss'))?.slice(4) : null),
      ]
      const ours = own.map((bytes) => {
        const layers = dissectFrame(bytes, 'ether')
        return read.map((f) => valuesOf(layers, (l) => f(l)?.toString() ?? null))
      })
      expect(fields('own.pcapng', names).slice(0, own.length)).toEqual(ours)
    })

    it('show the names of addresses', () => {
      const rows = fields('own.pcapng', ['ip.dst_host', 'ipv6.dst_host'], ['-N', 'n'])
      expect(rows[1]).toEqual(['svc.shop.api', ''])
      expect(rows[8]).toEqual(['', 'svc.shop.api6'])
    })

    it('go through capinfos: section comment and encapsulations', () => {
      const report = runCommand(['capinfos', join(dir, 'own.pcapng')])
      expect(report.status).toBe(0)
      expect(report.stdout).toContain('walk of one packet')
      expect(report.stdout).toContain('Time precision = nanoseconds')
    })
  })

  describe('frames recorded on the real kernel', () => {
    beforeAll(() => {
      const packets = recorded.map((frame, i): PcapngPacket => {
        return { interfaceId: frame.link === 'ether' ? 0 : 1, atNs: i, bytes: frame.bytes, direction: 'rx' }
      })
      const interfaces = [
        { name: 'ether', description: '', linkType: LINKTYPE_ETHERNET },
        { name: 'ip', description: '', linkType: LINKTYPE_RAW },
      ]
      writeFileSync(join(dir, 'recorded.pcapng'), writePcapng({ interfaces, packets, names: [] }))
    })

    it('are read by dissectFrame as by tshark: addresses, TTL, ports, sequence numbers, checksums', () => {
      const names = [
        'eth.src',
        'arp.src.proto_ipv4',
        'ip.src',
        'ip.dst',
        'ip.ttl',
        'ip.id',
        'ip.checksum.status',
        'udp.srcport',
        'udp.dstport',
        'tcp.srcport',
        'tcp.seq_raw',
        'tcp.window_size_value',
        'icmp.type',
        'vxlan.vni',
        'udp.checksum.status',
        'tcp.checksum.status',
        'icmp.checksum.status',
      ]
      const rows = fields('recorded.pcapng', names)
      const status = (ok: boolean | null): string => (ok === null ? '2' : ok ? '1' : '0')
      const ours = recorded.map(({ bytes, link }) => {
        const layers = dissectFrame(bytes, link)
        const v = (read: (l: Layer) => string | number | null): string =>
          valuesOf(layers, (l) => {
            const value = read(l)
            return value === null ? null : String(value)
          })
        return [
          v((l) => (l.layer === 'ethernet' ? l.src : null)),
          v((l) => (l.layer === 'arp' ? l.spa : null)),
          v((l) => (l.layer === 'ipv4' ? l.src : null)),
          v((l) => (l.layer === 'ipv4' ? l.dst : null)),
          v((l) => (l.layer === 'ipv4' ? l.ttl : null)),
          v((l) => (l.layer === 'ipv4' ? `0x${l.id.toString(16).padStart(4, '0')}` : null)),
          v((l) => (l.layer === 'ipv4' ? status(l.checksumOk) : null)),
          v((l) => (l.layer === 'udp' ? l.sport : null)),
          v((l) => (l.layer === 'udp' ? l.dport : null)),
          v((l) => (l.layer === 'tcp' || (l.layer === 'broken' && l.expected === 'tcp') ? (l.sport ?? null) : null)),
          v((l) => (l.layer === 'tcp' ? l.seq : null)),
          v((l) => (l.layer === 'tcp' ? l.window : null)),
          v((l) => (l.layer === 'icmp' ? l.type : null)),
          v((l) => (l.layer === 'vxlan' ? l.vni : null)),
          v((l) => (l.layer === 'udp' ? status(l.checksumOk) : null)),
          v((l) => (l.layer === 'tcp' ? status(l.checksumOk) : null)),
          v((l) => (l.layer === 'icmp' ? status(l.checksumOk) : null)),
        ]
      })
      /** tshark judges quoted packets (1, 0) and names a checksum that is absent (3): we say nothing (2) on both. */
      const agree = (name: string, theirs: string, mine: string): boolean => {
        if (name === 'tcp.seq_raw' && theirs === '') return true
        if (!name.endsWith('.status')) return theirs === mine
        const [a, b] = [theirs.split(','), mine.split(',')]
        return a.length === b.length && a.every((value, k) => value === b[k] || b[k] === '2')
      }
      const differences = rows.flatMap((row, i) =>
        names.flatMap((name, k) =>
          agree(name, row[k]!, ours[i]![k]!) ? [] : [`${i + 1} ${name}: tshark ${row[k]}, ours ${ours[i]![k]}`],
        ),
      )
      expect(differences).toEqual([])
    })
  })
})
