import { describe, expect, it } from '@jest/globals'
import { injectFrame } from '../../../../src/linux/core/dev.ts'
import {
  EACCES,
  EADDRINUSE,
  EADDRNOTAVAIL,
  EAGAIN,
  ECONNREFUSED,
  EDESTADDRREQ,
  EMSGSIZE,
  ENETUNREACH,
} from '../../../../src/linux/errno.ts'
import * as api from '../../../../src/linux/socket/api.ts'
import { runSession, serveTcp, serveUdp, tcpClientSession } from '../../../../src/linux/socket/apps.ts'
import type { RawSock } from '../../../../src/linux/socket/raw.ts'
import type { TcpSock } from '../../../../src/linux/socket/tcp-sock.ts'
import type { UdpSock } from '../../../../src/linux/socket/udp-sock.ts'
import { T_SOCK, T_TCP_STATE } from '../../../../src/linux/trace.ts'
import { ip, Net } from './net.ts'

const A = ip('10.9.0.1')
const B = ip('10.9.0.2')
const text = (s: string): Uint8Array => new TextEncoder().encode(s)
const open = (net: Net, side: 'a' | 'b', o: api.UdpOptions): UdpSock => api.udpOpen(net[side], o) as UdpSock

describe('UDP sockets', () => {
  it('deliver to the most specific socket: connected, bound to the address, bound to any', () => {
    const net = new Net()
    const any = open(net, 'b', { bind: { ip: 0, port: 53 } })
    const bound = open(net, 'b', { bind: { ip: B, port: 53 } })
    const conn = open(net, 'b', { bind: { ip: B, port: 53 }, connect: { ip: A, port: 4000 } })
    const c = open(net, 'a', { bind: { ip: A, port: 4000 } })
    const other = open(net, 'a', { bind: { ip: A, port: 4001 } })
    expect(api.udpSend(c, text('one'), { ip: B, port: 53 })).toBe(3)
    expect(api.udpSend(other, text('two'), { ip: B, port: 53 })).toBe(3)
    net.run(1)
    expect(api.udpRecv(conn)).toMatchObject({ from: A, port: 4000, data: text('one') })
    expect(api.udpRecv(bound)).toMatchObject({ from: A, port: 4001, data: text('two') })
    expect(api.udpRecv(any)).toBe(EAGAIN)
  })

  it('tell a connected sender that the port is closed, and say nothing to an unconnected one', () => {
    const net = new Net()
    const conn = open(net, 'a', { connect: { ip: B, port: 9 } })
    const free = open(net, 'a', { bind: { ip: A, port: 5000 } })
    expect(api.udpSend(conn, text('x'))).toBe(1)
    expect(api.udpSend(free, text('x'), { ip: B, port: 9 })).toBe(1)
    net.run(1)
    expect(api.udpSend(conn, text('x'))).toBe(ECONNREFUSED)
    expect(api.udpSend(conn, text('x'))).toBe(1)
    expect(api.udpRecv(conn)).toBe(ECONNREFUSED)
    expect(api.udpRecv(free)).toBe(EAGAIN)
    const told = open(net, 'a', { recvErr: true })
    api.udpSend(told, text('x'), { ip: B, port: 9 })
    net.run(1)
    expect(api.udpRecv(told)).toBe(ECONNREFUSED)
  })

  it('give the errors that Linux gives', () => {
    const net = new Net()
    const s = open(net, 'a', { bind: { ip: A, port: 5000 } })
    expect(api.udpOpen(net.a, { bind: { ip: A, port: 5000 }, reuseAddr: false })).toBe(EADDRINUSE)
    expect(api.udpOpen(net.a, { bind: { ip: ip('10.1.1.1'), port: 1 } })).toBe(EADDRNOTAVAIL)
    expect(api.udpSend(s, text('x'))).toBe(EDESTADDRREQ)
    expect(api.udpSend(s, text('x'), { ip: ip('10.200.0.1'), port: 1 })).toBe(ENETUNREACH)
    // with a source address the broadcast leaves by that address's device, without one it needs a route
    expect(api.udpSend(s, text('x'), { ip: -1, port: 1 })).toBe(EACCES)
    expect(api.udpSend(open(net, 'a', {}), text('x'), { ip: -1, port: 1 })).toBe(ENETUNREACH)
    expect(api.udpSend(s, new Uint8Array(65508), { ip: B, port: 1 })).toBe(EMSGSIZE)
    const df = open(net, 'a', { pmtudisc: 2 })
    expect(api.udpSend(df, new Uint8Array(1473), { ip: B, port: 1 })).toBe(EMSGSIZE)
    s.broadcast = true
    expect(api.udpSend(s, text('x'), { ip: -1, port: 1 })).toBe(1)
  })

  it('carry large datagrams in fragments and put them together', () => {
    const net = new Net()
    const s = open(net, 'b', { bind: { ip: B, port: 53 } })
    const c = open(net, 'a', {})
    const data = new Uint8Array(20_000).map((_, i) => i * 7)
    expect(api.udpSend(c, data, { ip: B, port: 53 })).toBe(20_000)
    net.run(1)
    expect(api.udpRecv(s)).toMatchObject({ data })
    expect(c.sport).toBeGreaterThanOrEqual(32768)
  })

  it('take a datagram without checksum and drop one with a wrong one', () => {
    const net = new Net()
    const s = open(net, 'b', { bind: { ip: B, port: 53 } })
    const frame = (check: number): Uint8Array => {
      const f = Buffer.alloc(46)
      Buffer.from('0200000000020200000000010800450000200001000040110000', 'hex').copy(f)
      Buffer.from('0035003500000000', 'hex').copy(f, 34)
      f.write('abcd', 42)
      f.writeInt32BE(A, 26)
      f.writeInt32BE(B, 30)
      f.writeUInt16BE(12, 38)
      f.writeUInt16BE(check, 40)
      let sum = 0
      for (let i = 14; i < 34; i += 2) sum += f.readUInt16BE(i)
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
      f.writeUInt16BE(~sum & 0xffff, 24)
      return f
    }
    injectFrame(net.w, net.devA, frame(0))
    injectFrame(net.w, net.devA, frame(1))
    net.run(1)
    expect(s.queue.map((d) => Buffer.from(d.data).toString())).toEqual(['abcd'])
    expect(net.b.snmp.get('Udp.InCsumErrors')).toBe(1)
  })

  it('drop what does not fit in the receive buffer', () => {
    const net = new Net()
    const s = open(net, 'b', { bind: { ip: B, port: 53 } })
    const c = open(net, 'a', {})
    for (let i = 0; i < 1000; i++) api.udpSend(c, text('x'), { ip: B, port: 53 })
    net.run(1)
    expect(s.queue.length).toBeGreaterThan(100)
    expect(s.queue.length).toBeLessThan(1000)
    expect(net.w.arena.inUse).toBe(0)
  })
})

describe('raw ICMP sockets', () => {
  it('send an echo request and receive the reply with its IP header', () => {
    const net = new Net()
    const p = api.rawOpen(net.a, 1, { icmpFilter: ~1 }) as RawSock
    expect(api.rawPing(p, B, { id: 7, seq: 1, body: text('abcdefgh') })).toBe(16)
    net.run(1)
    const r = api.rawRecv(p)
    if (typeof r === 'number') throw new Error(String(r))
    expect(r.from).toBe(B)
    expect(Buffer.from(r.packet.subarray(20)).toString('hex').slice(0, 4)).toBe('0000')
    expect(Buffer.from(r.packet.subarray(28)).toString()).toBe('abcdefgh')
    expect(api.rawRecv(p)).toBe(EAGAIN)
    const deaf = api.pingOpen(net.a) as RawSock
    api.rawPing(deaf, B, { id: 7, seq: 2, body: text('x') })
    net.run(1)
    expect(deaf.queue.length).toBe(0)
    expect(p.queue.length).toBe(1)
  })
})

describe('applications on sockets', () => {
  it('play handshake, request, response and close', () => {
    const net = new Net()
    const l = serveTcp(net.b, B, 80, { respond: (d) => text(`got ${d.length}`), closeAfterResponse: true }) as TcpSock
    const states: number[][] = []
    let socks = 0
    net.w.tracer = {
      wantMisses: false,
      step: (point, _slot, _ns, _dev, _a, b, c) => {
        if (point === T_TCP_STATE) states.push([b, c])
        else if (point === T_SOCK) socks++
      },
    }
    const session = tcpClientSession(net.a, { dst: B, dport: 80, request: text('GET /') })
    expect(runSession(net.w, session, 1000)).toMatchObject({ errno: 0, connected: true, response: text('got 5') })
    net.run(100)
    expect(states.slice(0, 3)).toEqual([
      [7, 2],
      [2, 1],
      [3, 1],
    ])
    expect(socks).toBeGreaterThan(5)
    expect(net.lines().map((x) => x.split(' ').slice(0, 3).join(' '))).toEqual([
      '> S 0+0',
      '< SA 0+0',
      '> A 1+0',
      '> PA 1+5',
      '< A 1+0',
      '< PA 1+5',
      '> A 6+0',
      '< FA 6+0',
      '> FA 6+0',
      '< A 7+0',
    ])
    expect(l.acceptQueue.length).toBe(0)
    expect(net.w.arena.inUse).toBe(0)
  })

  it('say that a connection was refused', () => {
    const net = new Net()
    const session = tcpClientSession(net.a, { dst: B, dport: 80, request: text('GET /') })
    expect(runSession(net.w, session, 1000)).toMatchObject({ errno: ECONNREFUSED, connected: false })
  })

  it('answer UDP', () => {
    const net = new Net()
    serveUdp(net.b, B, 53, { respond: (d) => (d.length > 2 ? d : null) })
    const c = open(net, 'a', {})
    api.udpSend(c, text('query'), { ip: B, port: 53 })
    api.udpSend(c, text('q'), { ip: B, port: 53 })
    net.run(1)
    expect(api.udpRecv(c)).toMatchObject({ data: text('query'), port: 53 })
    expect(api.udpRecv(c)).toBe(EAGAIN)
  })
})
