/** IPIP tunnels: which one takes a packet, tunl0 in every namespace, and errors that come back. */
import { describe, expect, it } from '@jest/globals'
import { injectFrame } from '../../../../src/linux/core/dev.ts'
import { ipTunnelLookup, loadIpip } from '../../../../src/linux/device/ipip.ts'
import { R_INVALID_TX, R_NO_PROTO, R_TUNNEL_NO_ROUTE, R_TUNNEL_UNKNOWN } from '../../../../src/linux/reasons.ts'
import { frame, ip, sh, udpPacket, Wire } from './support.ts'

/** An IPIP packet from b to a in an Ethernet frame. */
function ipip(inner: Uint8Array): Uint8Array {
  const outer = new Uint8Array(20 + inner.length)
  const v = new DataView(outer.buffer)
  v.setUint16(0, 0x4500)
  v.setUint16(2, outer.length)
  v.setUint16(8, 0x4004)
  v.setInt32(12, ip('10.0.0.2'))
  v.setInt32(16, ip('10.0.0.1'))
  let sum = 0
  for (let i = 0; i < 20; i += 2) sum += v.getUint16(i)
  v.setUint16(10, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff)
  outer.set(inner, 20)
  return frame(1, 2, 0x800, outer)
}

const inner = udpPacket('10.1.0.1', '10.1.0.2', 1000, 53)

describe('ip_tunnel_lookup', () => {
  it('prefers both ends, then the remote, then the local end, then any, then tunl0', () => {
    const t = new Wire()
    loadIpip(t.w)
    const who = (): string | undefined =>
      ipTunnelLookup(t.a, t.dev(t.a, 'eth0').id, ip('10.0.0.2'), ip('10.0.0.1'))?.dev.name
    expect(who()).toBeUndefined()
    const seen: (string | undefined)[] = []
    sh(t.a, 'ip link set tunl0 up')
    seen.push(who())
    for (const [name, ends] of [
      ['local', 'local 10.0.0.1'],
      ['remote', 'remote 10.0.0.2'],
      ['both', 'local 10.0.0.1 remote 10.0.0.2'],
      ['bydev', 'local 10.0.0.1 remote 10.0.0.2 dev eth0'],
      ['other', 'remote 10.0.0.3'],
    ] as const) {
      sh(t.a, `ip link add ${name} type ipip ${ends}`)
      seen.push(who())
      sh(t.a, `ip link set ${name} up`)
      seen.push(who())
    }
    expect(seen).toEqual([
      'tunl0',
      'tunl0',
      'local',
      'local',
      'remote',
      'remote',
      'both',
      'both',
      'bydev',
      'bydev',
      'bydev',
    ])
  })
})

describe('the ipip module', () => {
  it('gives every namespace tunl0, those that come later too, and answers protocol 4', () => {
    const t = new Wire()
    injectFrame(t.w, t.dev(t.b, 'eth0'), ipip(inner))
    expect(t.ends).toContain(R_NO_PROTO)
    loadIpip(t.w)
    const c = t.w.addNetns('c')
    expect([t.a, t.b, c].map((ns) => ns.devices.has('tunl0'))).toEqual([true, true, true])
    injectFrame(t.w, t.dev(t.b, 'eth0'), ipip(inner))
    expect(t.ends).toContain(R_TUNNEL_UNKNOWN)
    const answers = t.take('b/eth0 rx').map((f) => [f[34], f[35]])
    expect(answers).toEqual([
      [3, 2],
      [3, 3],
    ])
  })
})

describe('an IPIP device', () => {
  it('receives the inner packet as it was, without a link header', () => {
    const t = new Wire()
    sh(t.a, 'ip link add t1 type ipip remote 10.0.0.2')
    sh(t.a, 'ip link set t1 up')
    injectFrame(t.w, t.dev(t.b, 'eth0'), ipip(inner))
    expect(t.take('a/t1 rx')).toEqual([inner])
    expect(t.dev(t.a, 't1')).toMatchObject({ rxPackets: 1, rxBytes: inner.length, ether: false })
  })

  it('sends what is injected on it to its remote; without one it needs the inner route', () => {
    const t = new Wire()
    sh(t.a, 'ip link add t1 type ipip remote 10.0.0.2 local 10.0.0.1')
    sh(t.a, 'ip link add t2 type ipip local 10.0.0.1')
    for (const name of ['t1', 't2']) sh(t.a, `ip link set ${name} up`)
    expect(injectFrame(t.w, t.dev(t.a, 't1'), inner)).toBe(inner.length)
    const outer = t.take('a/eth0 tx')[0]!
    expect([outer[23], outer.length, outer[22]]).toEqual([4, 14 + 20 + inner.length, inner[8]])
    injectFrame(t.w, t.dev(t.a, 't2'), inner)
    expect(t.ends).toContain(R_TUNNEL_NO_ROUTE)
    injectFrame(t.w, t.dev(t.a, 't1'), new Uint8Array([0x60, 0, 0, 0]))
    expect(t.ends.at(-1)).toBe(R_INVALID_TX)
    expect(t.dev(t.a, 't1')).toMatchObject({ txPackets: 1, txBytes: inner.length, txErrors: 1 })
    expect(t.w.arena.inUse).toBe(0)
  })

  it('cannot be a port of a bridge, and tunl0 cannot be deleted', () => {
    const t = new Wire()
    sh(t.a, 'ip link add t1 type ipip remote 10.0.0.2')
    sh(t.a, 'ip link add br0 type bridge')
    expect(() => sh(t.a, 'ip link set t1 master br0')).toThrow('Invalid argument')
    sh(t.a, 'ip link del tunl0')
    sh(t.a, 'ip link del t1')
    expect([...t.a.devices.keys()]).toEqual(['lo', 'eth0', 'tunl0', 'br0'])
    expect(t.a.ipTunnels.length).toBe(1)
  })
})
