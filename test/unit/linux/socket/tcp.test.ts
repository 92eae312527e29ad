import { describe, expect, it } from '@jest/globals'
import { EAGAIN, EINPROGRESS } from '../../../../src/linux/errno.ts'
import * as api from '../../../../src/linux/socket/api.ts'
import type { TcpSock } from '../../../../src/linux/socket/tcp-sock.ts'
import { ip, Net } from './net.ts'

const A = ip('10.9.0.1')
const B = ip('10.9.0.2')
const text = (s: string): Uint8Array => new TextEncoder().encode(s)

function connected(net: Net, sport = 4000): { c: TcpSock; s: TcpSock; l: TcpSock } {
  const l = api.tcpListen(net.b, { ip: B, port: 80 }) as TcpSock
  const r = api.tcpConnect(net.a, { ip: B, port: 80 }, { bind: { ip: A, port: sport } }) as api.Connecting
  expect(r.errno).toBe(EINPROGRESS)
  net.run(1)
  const s = api.tcpAccept(l) as TcpSock
  expect(typeof s).toBe('object')
  return { c: r.sk, s, l }
}

describe('a TCP connection, as the kernel was seen to do it', () => {
  it('shakes hands, exchanges data, closes both sides with the same segments', () => {
    const net = new Net()
    const { c, s } = connected(net)
    net.run(60)
    expect(api.tcpSend(c, text('hello'))).toBe(5)
    net.run(60)
    expect(api.tcpRecv(s)).toEqual(text('hello'))
    net.run(60)
    expect(api.tcpSend(s, text('0123456789'))).toBe(10)
    net.run(60)
    expect(api.tcpRecv(c)).toEqual(text('0123456789'))
    net.run(60)
    api.close(c)
    net.run(100)
    api.close(s)
    net.run(100)
    const f = net.tcp()
    expect(f.map((x) => `${x.dir} ${x.flags} ${x.seq}+${x.len} ack ${x.ack} win ${x.win} ${x.options}`)).toEqual([
      '> S 0+0 ack 0 win 64240 020405b40101040201030307',
      '< SA 0+0 ack 1 win 64240 020405b40101040201030307',
      '> A 1+0 ack 1 win 502 ',
      '> PA 1+5 ack 1 win 502 ',
      '< A 1+0 ack 6 win 502 ',
      '< PA 1+10 ack 6 win 502 ',
      '> A 6+0 ack 11 win 502 ',
      '> FA 6+0 ack 11 win 502 ',
      '< A 11+0 ack 7 win 502 ',
      '< FA 11+0 ack 7 win 502 ',
      '> A 7+0 ack 12 win 502 ',
    ])
    // the FIN is acknowledged late, SYN/ACK and TIME_WAIT's ACK carry ID 0
    expect(f[8]!.atMs - f[7]!.atMs).toBeCloseTo(40, 3)
    expect(f.map((x) => x.id === 0)).toEqual([
      false,
      true,
      false,
      false,
      false,
      false,
      false,
      false,
      false,
      false,
      true,
    ])
    expect(f.every((x) => x.df)).toBe(true)
  })

  it('acknowledges a request at once and the next one with the response', () => {
    const net = new Net()
    const { c, s } = connected(net)
    api.tcpSend(c, text('GET'))
    api.tcpRecv(s)
    api.tcpSend(s, text('resp'))
    api.tcpRecv(c)
    api.tcpSend(c, text('GET2'))
    api.tcpRecv(s)
    api.tcpSend(s, text('resp2'))
    api.tcpRecv(c)
    api.close(c)
    expect(api.tcpRecv(s)).toEqual(new Uint8Array(0))
    api.close(s)
    net.run(1)
    expect(net.lines().slice(3)).toEqual([
      '> PA 1+3 ack 1 win 502',
      '< A 1+0 ack 4 win 502',
      '< PA 1+4 ack 4 win 502',
      '> A 4+0 ack 5 win 502',
      '> PA 4+4 ack 5 win 502',
      '< PA 5+5 ack 8 win 502',
      '> FA 8+0 ack 10 win 502',
      '< FA 10+0 ack 9 win 502',
      '> A 9+0 ack 11 win 502',
    ])
  })

  it('announces the window that Linux announces while 3000 bytes come in', () => {
    const net = new Net({ mtu: 1400 })
    const { c, s } = connected(net)
    net.tcp()
    expect(api.tcpSend(c, new Uint8Array(3000))).toBe(3000)
    net.run(1)
    expect(net.lines()).toEqual([
      '> A 1+1360 ack 1 win 510',
      '< A 1+0 ack 1361 win 532',
      '> A 1361+1360 ack 1 win 510',
      '< A 1+0 ack 2721 win 553',
      '> PA 2721+280 ack 1 win 510',
      '< A 1+0 ack 3001 win 574',
    ])
    expect((api.tcpRecv(s) as Uint8Array).length).toBe(3000)
    expect(s.rcvSsthresh).toBe(73440)
  })

  it('resets when it closes with unread data', () => {
    const net = new Net()
    const { c, s } = connected(net)
    api.tcpSend(s, text('unread'))
    net.run(60)
    net.tcp()
    api.close(c)
    net.run(1)
    expect(net.lines()).toEqual(['> RA 1+0 ack 7 win 502'])
    expect(api.tcpSend(s, text('x'))).toBe(-104)
  })

  it('is refused where nobody listens', () => {
    const net = new Net()
    const r = api.tcpConnect(net.a, { ip: B, port: 81 }, { bind: { ip: A, port: 4000 } }) as api.Connecting
    net.run(1)
    expect(net.lines()).toEqual(['> S 0+0 ack 0 win 64240', '< RA 0+0 ack 1 win 0'])
    expect(api.tcpStatus(r.sk)).toBe(-111)
    expect(api.tcpStatus(r.sk)).toBe(0)
    // tcp_done shut the receive side: the end of the stream, not ENOTCONN
    expect(api.tcpRecv(r.sk)).toEqual(new Uint8Array(0))
  })

  it('retransmits a SYN each second five times, then at doubling intervals', () => {
    const net = new Net()
    const times: number[] = []
    net.lose = (dir) => {
      if (dir === '>') times.push(net.w.nowNs / 1e9)
      return true
    }
    const r = api.tcpConnect(net.a, { ip: B, port: 80 }, { bind: { ip: A, port: 4001 } }) as api.Connecting
    net.run(200_000)
    expect(times.map(Math.round)).toEqual([0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67])
    expect(api.tcpStatus(r.sk)).toBe(-110)
  })

  it('answers a connection that is closed by its listener with a reset', () => {
    const net = new Net()
    const l = api.tcpListen(net.b, { ip: B, port: 80 }) as TcpSock
    const r = api.tcpConnect(net.a, { ip: B, port: 80 }, { bind: { ip: A, port: 4000 } }) as api.Connecting
    net.run(1)
    net.tcp()
    api.close(l)
    net.run(1)
    expect(net.lines()).toEqual(['< RA 1+0 ack 1 win 502'])
    expect(api.tcpRecv(r.sk)).toBe(-104)
  })

  it('keeps half of a connection open after shutdown', () => {
    const net = new Net()
    const { c, s } = connected(net)
    expect(api.tcpShutdown(c)).toBe(0)
    net.run(100)
    expect(api.tcpRecv(s)).toEqual(new Uint8Array(0))
    expect(api.tcpSend(c, text('x'))).toBe(-32)
    expect(api.tcpSend(s, text('late'))).toBe(4)
    net.run(100)
    expect(api.tcpRecv(c)).toEqual(text('late'))
    expect(api.tcpRecv(c)).toBe(EAGAIN)
    api.close(s)
    net.run(100)
    expect(api.tcpRecv(c)).toEqual(new Uint8Array(0))
    api.close(c)
    expect(net.b.sockets.tcpEhash.size + net.a.sockets.tcpEhash.size).toBe(1)
    net.run(61_000)
    expect(net.a.sockets.tcpEhash.size).toBe(0)
    expect(net.a.sockets.tcpBound.size).toBe(0)
  })
})
