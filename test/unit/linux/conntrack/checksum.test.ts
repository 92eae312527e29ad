/** nf_ip_checksum: the sum itself, and which packets are taken as right: those this stack made, across devices too. */
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { nfIpChecksumOk, swappedSum } from '../../../../src/linux/netfilter/conntrack/checksum.ts'
import { conntrackLine } from '../../../../src/linux/netfilter/conntrack/print.ts'
import { nfConntrackGet } from '../../../../src/linux/netfilter/conntrack/table.ts'
import * as api from '../../../../src/linux/socket/api.ts'
import type { RawSock } from '../../../../src/linux/socket/raw.ts'
import type { TcpSock } from '../../../../src/linux/socket/tcp-sock.ts'
import type { UdpSock } from '../../../../src/linux/socket/udp-sock.ts'
import { M_DATA, M_FLAGS, META_SHIFT, SKB_CSUM_OK } from '../../../../src/packet/layout.ts'
import { foldChecksum, sumWords } from '../../../../src/wire/checksum.ts'
import { Net } from '../socket/net.ts'
import { ip, Router, tcp, udp } from './support.ts'

const A = ip('10.9.0.1')
const B = ip('10.9.0.2')

describe('the sum', () => {
  it('is that of big-endian words, wherever it starts and however long it is', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 0, max: 9 }), (bytes, skip) => {
        const view = new DataView(bytes.buffer)
        const off = Math.min(skip, bytes.length)
        const len = bytes.length - off
        expect(foldChecksum(swappedSum(view, off, len))).toBe(foldChecksum(sumWords(view, off, len)))
      }),
    )
  })

  it('does not overflow over the longest packet', () => {
    const view = new DataView(new Uint8Array(65_535).fill(0xff).buffer)
    expect(foldChecksum(swappedSum(view, 0, 65_535))).toBe(foldChecksum(sumWords(view, 0, 65_535)))
  })
})

describe('nf_ip_checksum', () => {
  function judge(packet: Uint8Array, proto: number, flags: number): boolean {
    const r = new Router()
    const slot = r.slot(packet)
    const m = slot << META_SHIFT
    r.w.arena.meta[m + M_FLAGS] = flags
    const nh = r.w.arena.meta[m + M_DATA]!
    return nfIpChecksumOk(r.w.arena, slot, nh + ((packet[0]! & 15) << 2), proto)
  }

  it('verifies a packet of unknown origin, payload included', () => {
    const good = tcp('10.1.0.2', 1, '10.2.0.2', 2, { flags: 'PA', len: 33 })
    expect(judge(good, 6, 0)).toBe(true)
    for (const at of [12, 20, 24, good.length - 1]) {
      const bad = good.slice()
      bad[at] = bad[at]! ^ 0x40
      expect(judge(bad, 6, 0)).toBe(false)
    }
    expect(judge(udp('10.1.0.2', 1, '10.2.0.2', 2), 17, 0)).toBe(true)
  })

  it('takes what this stack made as right, but not when IP options may have changed the destination', () => {
    const bad = tcp('10.1.0.2', 1, '10.2.0.2', 2, { flags: 'A' })
    bad[36] = bad[36]! ^ 1
    expect(judge(bad, 6, SKB_CSUM_OK)).toBe(true)
    const options = new Uint8Array(bad.length + 4).fill(1)
    options.set(bad.subarray(0, 20))
    options.set(bad.subarray(20), 24)
    options[0] = 0x46
    expect(judge(options, 6, SKB_CSUM_OK)).toBe(false)
  })
})

describe('packets that cross a veth', () => {
  /** M_FLAGS of every IPv4 frame that the far end receives. */
  function received(net: Net): number[] {
    const flags: number[] = []
    net.w.tap = {
      frame(direction, slot, dev) {
        if (direction !== 0 || dev.ns !== net.b) return
        const frame = net.w.arena.frameBytes(slot)
        if (frame[12] === 8 && frame[13] === 0) flags.push(net.w.arena.meta[(slot << META_SHIFT) + M_FLAGS]!)
      },
    }
    return flags
  }

  it('keep that this stack made them: UDP and TCP, but no fragment', () => {
    const net = new Net()
    api.udpOpen(net.b, { bind: { ip: B, port: 53 } })
    const c = api.udpOpen(net.a, { bind: { ip: A, port: 4000 } }) as UdpSock
    api.udpSend(c, new Uint8Array(8), { ip: B, port: 53 })
    net.run(1)
    const flags = received(net)
    api.udpSend(c, new Uint8Array(8), { ip: B, port: 53 })
    net.run(1)
    expect(flags).toEqual([SKB_CSUM_OK])
    flags.length = 0
    api.udpSend(c, new Uint8Array(3000), { ip: B, port: 53 })
    net.run(1)
    expect(flags).toEqual([0, 0, 0])
    flags.length = 0
    api.tcpListen(net.b, { ip: B, port: 80 }) as TcpSock
    api.tcpConnect(net.a, { ip: B, port: 80 })
    net.run(1)
    expect(flags).toEqual([SKB_CSUM_OK, SKB_CSUM_OK])
  })

  it('are tracked after reassembly as whole datagrams', () => {
    const net = new Net()
    const ct = nfConntrackGet(net.b)
    const server = api.udpOpen(net.b, { bind: { ip: B, port: 53 } }) as UdpSock
    const c = api.udpOpen(net.a, { bind: { ip: A, port: 4000 } }) as UdpSock
    api.udpSend(c, new Uint8Array(3000), { ip: B, port: 53 })
    net.run(1)
    expect(api.udpRecv(server)).toMatchObject({ port: 4000 })
    expect(ct.entries().length).toBe(1)
    expect(ct.stat.invalid).toBe(0)
  })

  it('are INVALID when a raw socket sent a wrong checksum', () => {
    const net = new Net()
    const ct = nfConntrackGet(net.b)
    const raw = api.rawOpen(net.a, 6) as RawSock
    const good = tcp('10.9.0.1', 7, '10.9.0.2', 80, { flags: 'S' }).subarray(20)
    const bad = good.slice()
    bad[16] = bad[16]! ^ 1
    expect(api.rawSend(raw, bad, B)).toBe(bad.length)
    net.run(1)
    expect([ct.stat.invalid, ct.entries().length]).toEqual([1, 0])
    expect(api.rawSend(raw, good, B)).toBe(good.length)
    net.run(1)
    // the closed port's RST ends the entry again
    expect([ct.stat.invalid, ct.stat.insert, ct.entries().length]).toEqual([1, 1, 0])
  })
})

describe('a packet that reached a socket', () => {
  it('has let go of its connection while it waits in the backlog', () => {
    const net = new Net()
    const ct = nfConntrackGet(net.b)
    const listener = api.tcpListen(net.b, { ip: B, port: 80 }) as TcpSock
    const c = api.tcpConnect(net.a, { ip: B, port: 80 }) as api.Connecting
    net.run(1)
    const server = api.tcpAccept(listener) as TcpSock
    server.owned = true
    api.tcpSend(c.sk, new Uint8Array(10))
    net.run(0.001)
    expect(server.backlog.length).toBe(1)
    expect(ct.entries().map((id) => conntrackLine(ct, id))).toEqual([expect.stringMatching(/ use=1$/)])
  })
})
