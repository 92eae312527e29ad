/** NAT's choice of ports: kept when free, else searched; reuse of a source's mapping; random; exhaustion; take-over. */
import { describe, expect, it } from '@jest/globals'
import {
  NatRange,
  NF_NAT_RANGE_MAP_IPS,
  NF_NAT_RANGE_PROTO_RANDOM,
  NF_NAT_RANGE_PROTO_RANDOM_FULLY,
  NF_NAT_RANGE_PROTO_SPECIFIED,
} from '../../../../src/linux/netfilter/nat/range.ts'
import { ACCEPT, DROP, icmp, ip, type Outcome, Router, tcp, udp } from '../conntrack/support.ts'

const B = '10.2.0.2'
const NAT_IP = '10.2.0.1'

function snat(flags = 0, minPort = 0, maxPort = minPort): NatRange {
  const r = new NatRange()
  r.flags = NF_NAT_RANGE_MAP_IPS | flags | (minPort !== 0 ? NF_NAT_RANGE_PROTO_SPECIFIED : 0)
  r.minIp = ip(NAT_IP)
  r.maxIp = r.minIp
  r.minPort = minPort
  r.maxPort = maxPort
  return r
}

/** Source port (or ICMP id) of what left. */
function port(o: Outcome): number {
  const v = new DataView(o.bytes.buffer)
  return o.bytes[9] === 1 ? v.getUint16(24) : v.getUint16(20)
}

describe('source ports', () => {
  it('keeps the port while it is free for that destination, per protocol and destination', () => {
    const r = new Router()
    expect(port(r.forward(udp('10.1.0.2', 4000, B, 53), { snat: snat() }))).toBe(4000)
    expect(port(r.forward(tcp('10.1.0.3', 4000, B, 53, { flags: 'S' }), { snat: snat() }))).toBe(4000)
    expect(port(r.forward(udp('10.1.0.3', 4000, '10.2.0.3', 53), { snat: snat() }))).toBe(4000)
    expect(port(r.forward(udp('10.1.0.4', 4000, B, 54), { snat: snat() }))).toBe(4000)
  })

  const classes: readonly (readonly [number, number, number])[] = [
    [40, 1, 511],
    [600, 600, 1023],
    [4000, 1024, 65535],
  ]
  for (const [own, lo, hi] of classes) {
    it(`moves a clashing port ${own} to a free one within ${lo}-${hi}`, () => {
      const r = new Router()
      r.forward(udp('10.1.0.2', own, B, 53), { snat: snat() })
      const seen = new Set([own])
      for (let i = 3; i < 40; i++) {
        const got = port(r.forward(udp(`10.1.0.${i}`, own, B, 53), { snat: snat() }))
        expect(got).toBeGreaterThanOrEqual(lo)
        expect(got).toBeLessThanOrEqual(hi)
        expect(seen.has(got)).toBe(false)
        seen.add(got)
      }
    })
  }

  it('moves a clashing echo id, and translates the reply back', () => {
    const r = new Router()
    expect(port(r.forward(icmp('10.1.0.2', B, 8, 77), { snat: snat() }))).toBe(77)
    const o = r.forward(icmp('10.1.0.3', B, 8, 77), { snat: snat() })
    expect(port(o)).not.toBe(77)
    const back = r.forward(icmp(B, NAT_IP, 0, port(o)))
    expect(new DataView(back.bytes.buffer).getInt32(16)).toBe(ip('10.1.0.3'))
    expect(port(back)).toBe(77)
  })

  it('gives a source that was moved the same port towards another destination', () => {
    const r = new Router()
    r.forward(udp('10.1.0.2', 4000, B, 53), { snat: snat() })
    const moved = port(r.forward(udp('10.1.0.3', 4000, B, 53), { snat: snat() }))
    expect(moved).not.toBe(4000)
    expect(port(r.forward(udp('10.1.0.3', 4000, '10.2.0.22', 53), { snat: snat() }))).toBe(moved)
  })

  it('also moves the port of a connection that no rule translates', () => {
    const r = new Router()
    r.forward(udp('10.1.0.2', 4000, B, 53), { snat: snat() })
    const own = r.send(udp(NAT_IP, 4000, B, 53))
    expect(own.verdict).toBe(ACCEPT)
    expect(port(own)).not.toBe(4000)
  })

  for (const flag of [NF_NAT_RANGE_PROTO_RANDOM, NF_NAT_RANGE_PROTO_RANDOM_FULLY]) {
    it(`draws ports at random with flag ${flag}, though the own one is free`, () => {
      const r = new Router()
      const got = new Set<number>()
      for (let i = 0; i < 20; i++) got.add(port(r.forward(udp('10.1.0.2', 4000 + i, B, 53), { snat: snat(flag) })))
      expect(got.size).toBe(20)
      expect([...got].filter((p) => p >= 4000 && p < 4020).length).toBeLessThan(3)
    })
  }

  it('stays within a given range and drops what clashes when all of it is used', () => {
    const r = new Router()
    const got: number[] = []
    for (let i = 0; i < 4; i++) {
      got.push(port(r.forward(tcp('10.1.0.2', 4000 + i, B, 80, { flags: 'S' }), { snat: snat(0, 7000, 7003) })))
    }
    expect(got.sort()).toEqual([7000, 7001, 7002, 7003])
    expect(r.forward(tcp('10.1.0.2', 4009, B, 80, { flags: 'S' }), { snat: snat(0, 7000, 7003) }).verdict).toBe(DROP)
    expect(r.ct.count).toBe(4)
  })

  it('takes over a mapping in TIME_WAIT for a newer SYN when the range is used up', () => {
    const r = new Router()
    const rule = { snat: snat(0, 7000) }
    const c = (flags: string, seq: number, ack: number): Outcome =>
      r.forward(tcp('10.1.0.2', 4000, B, 80, { flags, seq, ack }), rule)
    const s = (flags: string, seq: number, ack: number): Outcome =>
      r.forward(tcp(B, 80, NAT_IP, 7000, { flags, seq, ack }))
    c('S', 1000, 0)
    s('SA', 9000, 1001)
    c('A', 1001, 9001)
    const two = { snat: snat(0, 7000, 7001) }
    r.forward(tcp('10.1.0.2', 4001, B, 80, { flags: 'S', seq: 5 }), { snat: snat(0, 7001) })
    expect(r.forward(tcp('10.1.0.3', 4000, B, 80, { flags: 'S', seq: 2000 }), two).verdict).toBe(DROP)
    c('FA', 1001, 9001)
    s('FA', 9001, 1002)
    c('A', 1002, 9002)
    expect(r.forward(tcp('10.1.0.3', 4000, B, 80, { flags: 'S', seq: 500 }), two).verdict).toBe(DROP)
    const o = r.forward(tcp('10.1.0.3', 4000, B, 80, { flags: 'S', seq: 2000 }), two)
    expect([o.verdict, port(o)]).toEqual([ACCEPT, 7000])
  })
})

describe('destination ports', () => {
  it('keeps the destination port when only the address is mapped, even if answers clash: the source moves', () => {
    const r = new Router()
    const dnat = new NatRange()
    dnat.flags = NF_NAT_RANGE_MAP_IPS
    dnat.minIp = ip(B)
    dnat.maxIp = dnat.minIp
    r.forward(udp('10.1.0.2', 4000, '10.96.0.1', 53), { dnat })
    const o = r.forward(udp('10.1.0.2', 4000, '10.96.0.2', 53), { dnat })
    const v = new DataView(o.bytes.buffer)
    expect(v.getInt32(16)).toBe(ip(B))
    expect(v.getUint16(22)).toBe(53)
    expect(port(o)).not.toBe(4000)
  })
})
