/** VXLAN devices as a whole: ports, learning and ageing in virtual time, loops, names of what is not modelled. */
import { describe, expect, it } from '@jest/globals'
import { injectFrame } from '../../../../src/linux/core/dev.ts'
import {
  R_LOOP,
  R_NO_TX_TARGET,
  R_TUNNEL_NO_ROUTE,
  R_VXLAN_ENTRY_EXISTS,
  R_VXLAN_VNI,
} from '../../../../src/linux/reasons.ts'
import { udpOpen } from '../../../../src/linux/socket/api.ts'
import { execTool } from '../../../../src/linux/tools/exec.ts'
import { frame, ip, sh, udpPacket, Wire } from './support.ts'

const SECOND = 1_000_000_000

/** vx0 on both hosts, VNI 5, MACs 02:..:11 and 02:..:12. */
function tunnel(options = '', learning = 'learning'): Wire {
  const t = new Wire()
  for (const [ns, n] of [
    [t.a, 1],
    [t.b, 2],
  ] as const) {
    sh(
      ns,
      `ip link add vx0 address 02:00:00:00:00:1${n} type vxlan id 5 dstport 4789 local 10.0.0.${n} ${learning}${options}`,
    )
    sh(ns, 'ip link set vx0 up')
  }
  return t
}

const payload = udpPacket('10.1.0.1', '10.1.0.2', 1000, 53)

describe('a VXLAN device', () => {
  it('puts 50 bytes in front of the frame and nothing else changes', () => {
    const t = tunnel(' noudpcsum srcport 50000 50001')
    sh(t.a, 'bridge fdb append 00:00:00:00:00:00 dev vx0 dst 10.0.0.2')
    const inner = frame(0x12, 0x11, 0x800, payload)
    injectFrame(t.w, t.dev(t.a, 'vx0'), inner)
    const outer = t.take('a/eth0 tx')[0]!
    expect(Buffer.from(outer.subarray(50)).toString('hex')).toBe(Buffer.from(inner).toString('hex'))
    const v = new DataView(outer.buffer, outer.byteOffset)
    expect([v.getUint16(16), v.getUint8(22), v.getUint8(23), v.getUint16(20)]).toEqual([outer.length - 14, 64, 17, 0])
    expect([v.getInt32(26), v.getInt32(30)]).toEqual([ip('10.0.0.1'), ip('10.0.0.2')])
    expect([v.getUint16(34), v.getUint16(36), v.getUint16(38), v.getUint16(40)]).toEqual([
      50000,
      4789,
      outer.length - 34,
      0,
    ])
    expect([v.getUint32(42), v.getUint32(46)]).toEqual([0x08000000, 5 << 8])
    expect(t.take('b/vx0 rx')).toEqual([inner])
  })

  it('makes room when the frame has no headroom left for the outer headers', () => {
    const t = tunnel()
    sh(t.a, 'bridge fdb append 00:00:00:00:00:00 dev vx0 dst 10.0.0.2')
    // two tunnels more on top of the first: 150 bytes of headers
    for (const [ns, n] of [
      [t.a, 1],
      [t.b, 2],
    ] as const) {
      sh(ns, `ip addr add 10.5.0.${n}/24 dev vx0`)
      sh(ns, `ip neigh replace 10.5.0.${3 - n} lladdr 02:00:00:00:00:1${3 - n} dev vx0 nud permanent`)
      sh(
        ns,
        `ip link add vx1 address 02:00:00:00:00:2${n} type vxlan id 6 dstport 4790 local 10.5.0.${n} remote 10.5.0.${3 - n}`,
      )
      sh(ns, 'ip link set vx1 up')
      sh(ns, `ip addr add 10.6.0.${n}/24 dev vx1`)
      sh(ns, `ip neigh replace 10.6.0.${3 - n} lladdr 02:00:00:00:00:2${3 - n} dev vx1 nud permanent`)
      sh(
        ns,
        `ip link add vx2 address 02:00:00:00:00:3${n} type vxlan id 7 dstport 4791 local 10.6.0.${n} remote 10.6.0.${3 - n}`,
      )
      sh(ns, 'ip link set vx2 up')
    }
    const inner = frame(0x32, 0x31, 0x88b5, payload)
    injectFrame(t.w, t.dev(t.a, 'vx2'), inner)
    expect(t.take('b/vx2 rx')).toEqual([inner])
    expect(t.w.arena.inUse).toBe(0)
  })

  it('learns the VTEP of a MAC and forgets it after the ageing time, when the 10-second round finds it', () => {
    const t = tunnel(' ageing 4')
    sh(t.a, 'bridge fdb append 00:00:00:00:00:00 dev vx0 dst 10.0.0.2')
    t.w.runUntil(t.w.nowNs + 3 * SECOND)
    injectFrame(t.w, t.dev(t.a, 'vx0'), frame(255, 0x71, 0x88b5, payload))
    const learned = '02:00:00:00:00:71 dst 10.0.0.1 self \n'
    expect(sh(t.b, 'bridge fdb show dev vx0')).toBe(learned)
    t.w.runUntil(9.9 * SECOND)
    expect(sh(t.b, 'bridge fdb show dev vx0')).toBe(learned)
    t.w.runUntil(10.1 * SECOND)
    expect(sh(t.b, 'bridge fdb show dev vx0')).toBe('')
  })

  it('forgets what it learned when it goes down, and keeps what a person wrote', () => {
    const t = tunnel()
    sh(t.a, 'bridge fdb append 00:00:00:00:00:00 dev vx0 dst 10.0.0.2')
    injectFrame(t.w, t.dev(t.a, 'vx0'), frame(255, 0x71, 0x88b5, payload))
    sh(t.b, 'bridge fdb append 02:00:00:00:00:72 dev vx0 dst 10.0.0.1')
    sh(t.b, 'ip link set vx0 down')
    expect(sh(t.b, 'bridge fdb show dev vx0')).toBe('02:00:00:00:00:72 dst 10.0.0.1 self permanent\n')
  })

  it('drops frames of a MAC that a static entry has elsewhere, only when it learns', () => {
    for (const mode of ['learning', 'nolearning']) {
      const t = tunnel('', mode)
      sh(t.a, 'bridge fdb append 00:00:00:00:00:00 dev vx0 dst 10.0.0.2')
      sh(t.b, 'bridge fdb append 02:00:00:00:00:71 dev vx0 dst 10.0.0.9')
      injectFrame(t.w, t.dev(t.a, 'vx0'), frame(255, 0x71, 0x88b5, payload))
      expect(t.ends.includes(R_VXLAN_ENTRY_EXISTS)).toBe(mode === 'learning')
      expect(t.take('b/vx0 rx').length).toBe(mode === 'learning' ? 0 : 1)
    }
  })

  it('names why a frame went nowhere', () => {
    const t = tunnel()
    const send = (dst: number): void => {
      injectFrame(t.w, t.dev(t.a, 'vx0'), frame(dst, 0x11, 0x88b5, payload))
    }
    send(0x12)
    sh(t.a, 'bridge fdb append 02:00:00:00:00:13 dev vx0 dst 172.16.0.1')
    send(0x13)
    sh(t.a, 'bridge fdb append 02:00:00:00:00:14 dev vx0 dst 10.0.0.2 vni 99')
    send(0x14)
    sh(t.a, 'ip route add 172.16.0.0/16 dev vx0')
    send(0x13)
    expect(t.ends).toEqual([R_NO_TX_TARGET, R_TUNNEL_NO_ROUTE, R_VXLAN_VNI, R_LOOP])
    expect(t.dev(t.a, 'vx0')).toMatchObject({ txErrors: 2, txDropped: 1, txPackets: 1 })
    expect(t.w.arena.inUse).toBe(0)
  })

  it('ends a loop of two tunnels through each other instead of growing the frame for ever', () => {
    const t = new Wire()
    for (const [n, o] of [
      [1, 2],
      [2, 1],
    ] as const) {
      sh(
        t.a,
        `ip link add vx${n} address 02:00:00:00:00:1${n} type vxlan id ${n} dstport 478${n} remote 172.16.${n}.1 local 10.0.0.1`,
      )
      sh(t.a, `ip link set vx${n} up`)
      sh(t.a, `ip route add 172.16.${o}.0/24 dev vx${n}`)
      sh(t.a, `ip neigh replace 172.16.${o}.1 lladdr 02:00:00:00:00:77 dev vx${n} nud permanent`)
    }
    injectFrame(t.w, t.dev(t.a, 'vx1'), frame(0x12, 0x11, 0x88b5, payload))
    expect(t.ends).toEqual([R_LOOP])
    expect(t.w.xmitRecursion).toBe(0)
    expect(t.w.arena.inUse).toBe(0)
  })

  it('holds its UDP port against sockets, and a socket holds it against the device', () => {
    const t = tunnel()
    const errno = (r: unknown): unknown => (typeof r === 'number' ? r : 'open')
    expect(errno(udpOpen(t.a, { bind: { ip: 0, port: 4789 } }))).toBe(-98)
    sh(t.a, 'ip link set vx0 down')
    expect(errno(udpOpen(t.a, { bind: { ip: 0, port: 4789 } }))).toBe('open')
    const r = execTool(t.a, ['ip', 'link', 'set', 'vx0', 'up'])
    expect([r.status, r.stderr]).toEqual([2, 'RTNETLINK answers: Address already in use\n'])
    expect(t.dev(t.a, 'vx0').up).toBe(false)
  })

  it('shares one port between VNIs and closes it with the last device', () => {
    const t = tunnel()
    sh(t.b, 'ip link add vx9 type vxlan id 9 dstport 4789')
    sh(t.b, 'ip link set vx9 up')
    sh(t.b, 'ip link del vx0')
    expect([...t.b.vxlanSocks.keys()]).toEqual([4789])
    sh(t.b, 'ip link del vx9')
    expect(t.b.vxlanSocks.size).toBe(0)
  })

  it('goes with the device that it was built on', () => {
    const t = tunnel()
    sh(t.a, 'ip link add vx7 type vxlan id 7 dstport 4789 dev eth0')
    sh(t.a, 'ip link del eth0')
    expect([...t.a.devices.keys()]).toEqual(['lo', 'vx0'])
  })

  it.each(['group 239.1.1.1', 'gbp', 'gpe', 'proxy', 'rsc', 'l2miss', 'l3miss', 'udp6zerocsumrx', 'flowlabel 3'])(
    'says UNMODELLED for %s',
    (option) => {
      const r = execTool(new Wire().a, `ip link add vx type vxlan id 1 dstport 4789 ${option}`.split(' '))
      expect([r.status, r.stderr.startsWith('podwalk: UNMODELLED: vxlan ')]).toEqual([126, true])
    },
  )
})
