import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { EAGAIN } from '../../../../src/linux/errno.ts'
import { Random } from '../../../../src/linux/random.ts'
import * as api from '../../../../src/linux/socket/api.ts'
import type { TcpSock } from '../../../../src/linux/socket/tcp-sock.ts'
import { ip, Net } from './net.ts'

const A = ip('10.9.0.1')
const B = ip('10.9.0.2')

function pattern(n: number, seed: number): Uint8Array {
  const out = new Uint8Array(n)
  let x = seed | 1
  for (let i = 0; i < n; i++) {
    x = Math.imul(x, 1103515245) + 12345
    out[i] = x >>> 16
  }
  return out
}

/** Sends `data` in pieces, reads on the other side as it comes; gives what arrived and how the two sides ended. */
function transfer(net: Net, data: Uint8Array, pieces: number[], readEvery: number): { got: Uint8Array; end: boolean } {
  const l = api.tcpListen(net.b, { ip: B, port: 80 }) as TcpSock
  const c = (api.tcpConnect(net.a, { ip: B, port: 80 }, { bind: { ip: A, port: 4000 } }) as api.Connecting).sk
  const parts: Uint8Array[] = []
  let s: TcpSock | null = null
  let sent = 0
  let piece = 0
  let closed = false
  let end = false
  for (let round = 0; round < 100_000 && !end; round++) {
    if (sent < data.length) {
      const n = pieces[piece % pieces.length]!
      const r = api.tcpSend(c, data.subarray(sent, sent + n))
      if (r > 0) {
        sent += r
        piece++
      } else if (r !== EAGAIN) throw new Error(`send gave ${r}`)
    } else if (!closed) {
      api.close(c)
      closed = true
    }
    if (round % readEvery === readEvery - 1) {
      if (s === null) {
        const x = api.tcpAccept(l)
        if (typeof x !== 'number') s = x
      }
      if (s !== null) {
        const d = api.tcpRecv(s)
        if (typeof d !== 'number') {
          if (d.length === 0) end = true
          else parts.push(d)
        } else if (d !== EAGAIN) throw new Error(`recv gave ${d}`)
      }
    }
    net.run(sent < data.length ? 5 : 500)
  }
  if (s !== null) api.close(s)
  net.lose = null
  net.run(200_000)
  const got = new Uint8Array(parts.reduce((n, p) => n + p.length, 0))
  let at = 0
  for (const p of parts) {
    got.set(p, at)
    at += p.length
  }
  return { got, end }
}

describe('the byte stream arrives exactly, whatever is lost', () => {
  it('with random sizes, losses in both directions, MTUs and timestamps', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60_000 }),
        fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1, maxLength: 8 }),
        fc.record({ seed: fc.integer(), percent: fc.integer({ min: 0, max: 30 }) }),
        fc.constantFrom(576, 1400, 1500, 9000),
        fc.boolean(),
        fc.integer({ min: 1, max: 7 }),
        (size, pieces, losses, mtu, timestamps, readEvery) => {
          const net = new Net({ mtu, timestamps: timestamps ? 1 : 0 })
          const random = new Random(losses.seed)
          let i = 0
          net.lose = () => ++i < 500 && random.u32() % 100 < losses.percent
          const data = pattern(size, size)
          const { got, end } = transfer(net, data, pieces, readEvery)
          expect(end).toBe(true)
          expect(got.length).toBe(data.length)
          expect(Buffer.compare(Buffer.from(got), Buffer.from(data))).toBe(0)
          // all sockets are gone, and so is every packet
          expect(net.a.sockets.tcpEhash.size).toBe(0)
          expect(net.b.sockets.tcpEhash.size).toBe(0)
          expect(net.w.arena.inUse).toBe(0)
        },
      ),
      { numRuns: 60, seed: 7 },
    )
  })

  it('closes the window when nobody reads, probes it, and goes on when it opens', () => {
    const net = new Net()
    const l = api.tcpListen(net.b, { ip: B, port: 80 }) as TcpSock
    const c = (api.tcpConnect(net.a, { ip: B, port: 80 }, { bind: { ip: A, port: 4000 } }) as api.Connecting).sk
    net.run(1)
    const s = api.tcpAccept(l) as TcpSock
    const data = pattern(400_000, 3)
    let sent = 0
    for (let i = 0; i < 200; i++) {
      const r = api.tcpSend(c, data.subarray(sent, sent + 20_000))
      if (r > 0) sent += r
      net.run(50)
    }
    expect(sent).toBeLessThan(300_000)
    const frames = net.tcp()
    expect(frames.some((f) => f.dir === '<' && f.win === 0)).toBe(true)
    // window probes: an old sequence number, no data
    net.run(30_000)
    const probes = net.tcp().filter((f) => f.dir === '>')
    expect(probes.length).toBeGreaterThan(1)
    expect(probes.every((f) => f.len === 0)).toBe(true)
    const parts: Uint8Array[] = []
    for (let i = 0; i < 3000 && parts.reduce((n, p) => n + p.length, 0) < data.length; i++) {
      const d = api.tcpRecv(s)
      if (typeof d !== 'number') parts.push(d)
      const r = sent < data.length ? api.tcpSend(c, data.subarray(sent, sent + 20_000)) : 0
      if (r > 0) sent += r
      net.run(50)
    }
    expect(Buffer.compare(Buffer.concat(parts), Buffer.from(data))).toBe(0)
  })

  it('sends a lost last segment again after a tail loss probe of 200 ms', () => {
    const net = new Net()
    const l = api.tcpListen(net.b, { ip: B, port: 80 }) as TcpSock
    const c = (api.tcpConnect(net.a, { ip: B, port: 80 }, { bind: { ip: A, port: 4000 } }) as api.Connecting).sk
    net.run(1)
    const s = api.tcpAccept(l) as TcpSock
    net.tcp()
    const times: number[] = []
    net.lose = (dir) => {
      if (dir === '>') times.push(net.w.nowNs / 1e6 - 1)
      return dir === '>' && times.length < 4
    }
    api.tcpSend(c, pattern(10, 1))
    net.run(3000)
    expect(times.map(Math.round)).toEqual([0, 200, 400, 800])
    expect(api.tcpRecv(s)).toEqual(pattern(10, 1))
  })

  it('retransmits the hole after three SACKed segments, without a timeout', () => {
    const net = new Net()
    const l = api.tcpListen(net.b, { ip: B, port: 80 }) as TcpSock
    const c = (api.tcpConnect(net.a, { ip: B, port: 80 }, { bind: { ip: A, port: 4000 } }) as api.Connecting).sk
    net.run(1)
    const s = api.tcpAccept(l) as TcpSock
    net.tcp()
    let n = 0
    net.lose = (dir) => dir === '>' && ++n === 2
    api.tcpSend(c, pattern(1460 * 5, 1))
    net.run(1)
    const f = net.tcp()
    const sacks = f.filter((x) => x.dir === '<' && x.options !== '')
    expect(sacks.map((x) => x.options.slice(0, 8))).toEqual(['0101050a', '0101050a', '0101050a'])
    expect(f.filter((x) => x.dir === '>').map((x) => x.seq)).toEqual([1, 2921, 4381, 5841, 1461])
    expect((api.tcpRecv(s) as Uint8Array).length).toBe(7300)
  })
})
