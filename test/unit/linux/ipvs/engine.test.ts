/** The connection table under load, its timers, the established path's allocations, and what `drop_packet` does. */
import { describe, expect, it } from '@jest/globals'
import { injectFrame } from '../../../../src/linux/core/dev.ts'
import { ipVsGet } from '../../../../src/linux/ipvs/ipvs.ts'
import { World } from '../../../../src/linux/world.ts'
import { foldChecksum, sumWords } from '../../../../src/wire/checksum.ts'
import { directorNode, type Node } from './support.ts'

const VIP = '10.96.0.1'

/** A UDP datagram without a checksum from 172.16.(port >> 16).2 to the service. */
function datagram(sport: number, dport = 53): Uint8Array {
  const b = Buffer.from('02000000c00102000000c0020800', 'hex')
  const packet = Buffer.alloc(32)
  packet.set([0x45, 0, 0, 32, 0x12, 0x34, 0x40, 0, 64, 17, 0, 0, 172, 16, sport >> 16, 2, 10, 96, 0, 1])
  packet.writeUInt16BE(sport & 0xffff, 20)
  packet.writeUInt16BE(dport, 22)
  packet.writeUInt16BE(12, 24)
  packet.writeUInt16BE(foldChecksum(sumWords(new DataView(packet.buffer, packet.byteOffset), 0, 20)), 10)
  return Buffer.concat([b, packet])
}

function director(...commands: string[]): Node {
  const node = directorNode('one by one')
  node.run(`ip addr add ${VIP}/32 dev lo`)
  for (const c of commands) node.run(c)
  return node
}

describe('the connection table', () => {
  it('keeps 20000 connections, finds each from both sides and forgets each in its second', () => {
    const node = director(
      'sysctl -qw net.ipv4.vs.conntrack=0',
      `ipvsadm -A -u ${VIP}:53 -s rr`,
      `ipvsadm -a -u ${VIP}:53 -r 10.10.0.2:53 -m -w 1; ipvsadm -a -u ${VIP}:53 -r 10.10.0.3:53 -m -w 1`,
      'ipvsadm --set 0 0 10',
    )
    const table = ipVsGet(node.ns).conns
    const client = (172 << 24) | (16 << 16) | 2
    const vip = (10 << 24) | (96 << 16) | 1
    const t0 = node.w.nowNs
    for (let i = 0; i < 20_000; i++) {
      node.w.runUntil(t0 + i * 1e6)
      const sent = node.send('c', datagram(1000 + i))
      if (sent.length !== 1) throw new Error(`datagram ${i}: ${sent.length} frames`)
      // from here on one goes, 10 s old, for each that comes
      if (i === 9_999) expect(table.count).toBe(10_000)
    }
    expect(Math.abs(table.count - 10_000)).toBeLessThanOrEqual(1)
    for (let i = 10_050; i < 20_000; i++) {
      const id = table.inGet(17, client, 1000 + i, vip, 53)
      const server = (10 << 24) | (10 << 16) | (i % 2 === 0 ? 3 : 2)
      if (id === 0 || table.outGet(17, server, 53, client, 1000 + i) !== id) throw new Error(`connection ${i}: ${id}`)
    }
    node.w.runUntil(t0 + 25e9)
    expect(Math.abs(table.count - 5_000)).toBeLessThanOrEqual(10)
    node.w.runUntil(t0 + 31e9)
    expect(table.count).toBe(0)
    expect(node.run('ipvsadm -Ln')).toContain('10.10.0.2:53                 Masq    1      0          0')
  })

  it('is empty after the module is cleared, and no timer is left that acts on it', () => {
    const node = director(`ipvsadm -A -u ${VIP}:53 -s rr`, `ipvsadm -a -u ${VIP}:53 -r 10.10.0.2:53 -m`)
    for (let i = 0; i < 100; i++) node.send('c', datagram(i + 1))
    node.run('ipvsadm -C')
    node.w.runUntil(node.w.nowNs + 400e9)
    expect(ipVsGet(node.ns).conns.count).toBe(0)
  })
})

describe('the established path', () => {
  it('allocates nothing of its own', () => {
    const perPacket = (ipvs: boolean): number => {
      const node = director()
      if (ipvs) {
        node.run('sysctl -qw net.ipv4.vs.conntrack=0')
        node.run(`ipvsadm -A -u ${VIP}:53 -s rr; ipvsadm -a -u ${VIP}:53 -r 10.10.0.2:53 -m`)
      } else node.run(`ip addr del ${VIP}/32 dev lo; ip route add ${VIP} via 10.10.0.2`)
      node.w.tap = null
      const far = [...node.w.devices].find((d) => d?.name === 'far-c0')
      const frame = datagram(7)
      let least = Number.POSITIVE_INFINITY
      for (let round = 0; round < 12; round++) {
        const before = process.memoryUsage().heapUsed
        for (let i = 0; i < 2_000; i++) {
          injectFrame(node.w, far!, frame)
          node.w.softirq()
        }
        const used = process.memoryUsage().heapUsed - before
        if (used >= 0) least = Math.min(least, used / 2_000)
      }
      return least
    }
    expect(perPacket(true)).toBeLessThan(perPacket(false) + 64)
  })
})

describe('drop_packet', () => {
  it('in mode 3 drops the first and then each am_droprate-th new connection', () => {
    const node = director(
      `ipvsadm -A -u ${VIP}:53 -s rr`,
      `ipvsadm -a -u ${VIP}:53 -r 10.10.0.2:53 -m`,
      'sysctl -qw net.ipv4.vs.drop_packet=3',
    )
    let pattern = ''
    for (let i = 0; i < 20; i++) pattern += node.send('c', datagram(i + 1)).length
    expect(pattern).toBe('01111111110111111111')
  })
})

describe('a namespace without services', () => {
  it('has no ip_vs state that a listing would show', () => {
    const ns = new World().addNetns('n')
    expect(ipVsGet(ns).conns.count).toBe(0)
    expect(ipVsGet(ns).conns.entries()).toEqual([])
  })
})
