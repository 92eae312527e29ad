/** The bridge: learning, flooding, ageing, port flags, link-local groups, what its device takes from its ports. */
import { describe, expect, it } from '@jest/globals'
import {
  createBridge,
  createVeth,
  deleteDevice,
  setDown,
  setMac,
  setMaster,
  setMtu,
  setPromisc,
  setUp,
} from '../../../src/linux/device/ops.ts'
import { EINVAL, ELOOP } from '../../../src/linux/errno.ts'
import { Lab, mac } from './world-support.ts'

const BCAST = { hi: 0xffff, lo: -1 }
const MCAST = { hi: 0x0100, lo: 0x5e000005 }

describe('bridge forwarding', () => {
  it('floods an unknown destination to all other ports, newest first, and forwards a learned one only there', () => {
    const lab = new Lab()
    const { pods } = lab.bridge(4)
    lab.send(pods[1]!, mac(4), mac(2))
    expect(lab.receivers()).toEqual(['p4', 'p3', 'p1'])
    lab.send(pods[3]!, mac(2), mac(4))
    expect(lab.receivers()).toEqual(['p2'])
    lab.send(pods[1]!, mac(4), mac(2))
    expect(lab.receivers()).toEqual(['p4'])
  })

  it('moves a MAC that appears behind another port', () => {
    const lab = new Lab()
    const { pods } = lab.bridge(3)
    lab.send(pods[0]!, BCAST, mac(77))
    lab.send(pods[2]!, BCAST, mac(77))
    lab.receivers()
    lab.send(pods[1]!, mac(77), mac(2))
    expect(lab.receivers()).toEqual(['p3'])
  })

  it('does not send a frame back out of the port it came in by, unless the port is in hairpin mode', () => {
    const lab = new Lab()
    const { pods, ports } = lab.bridge(2)
    lab.send(pods[0]!, BCAST, mac(50))
    lab.receivers()
    lab.send(pods[0]!, mac(50), mac(1))
    expect(lab.receivers()).toEqual([])
    ports[0]!.port!.hairpin = true
    lab.send(pods[0]!, mac(50), mac(1))
    expect(lab.receivers()).toEqual(['p1'])
    lab.send(pods[0]!, BCAST, mac(1))
    expect(lab.receivers()).toEqual(['p2', 'p1'])
  })

  it('keeps isolated ports from each other only', () => {
    const lab = new Lab()
    const { pods, ports } = lab.bridge(3)
    ports[0]!.port!.isolated = true
    ports[1]!.port!.isolated = true
    lab.send(pods[0]!, BCAST, mac(1))
    expect(lab.receivers()).toEqual(['p3'])
    lab.send(pods[2]!, BCAST, mac(3))
    expect(lab.receivers()).toEqual(['p2', 'p1'])
    lab.send(pods[1]!, mac(1), mac(2))
    expect(lab.receivers()).toEqual([])
  })

  it.each([
    ['flood', mac(99), ['p1']],
    ['mcastFlood', MCAST, ['p1']],
    ['bcastFlood', BCAST, ['p1']],
    ['proxyArp', BCAST, ['p1']],
  ] as const)('does not flood to a port whose %s says so', (flag, dst, expected) => {
    const lab = new Lab()
    const { pods, ports } = lab.bridge(3)
    ports[1]!.port![flag] = flag === 'proxyArp'
    lab.send(pods[2]!, dst, mac(3))
    expect(lab.receivers()).toEqual(expected)
    for (const other of [mac(98), MCAST, BCAST].filter((d) => d.hi !== dst.hi && flag !== 'proxyArp')) {
      lab.send(pods[2]!, other, mac(3))
      expect(lab.receivers()).toEqual(['p2', 'p1'])
    }
  })

  it('does not learn from a port with learning off', () => {
    const lab = new Lab()
    const { br, pods, ports } = lab.bridge(2)
    ports[0]!.port!.learning = false
    lab.send(pods[0]!, BCAST, mac(1))
    expect(br.bridge!.fdb.find(0x0200, 1)).toBeUndefined()
  })

  it('drops frames with a group or zero source address', () => {
    const lab = new Lab()
    const { br, pods } = lab.bridge(2)
    for (const src of [MCAST, { hi: 0, lo: 0 }]) lab.send(pods[0]!, BCAST, src)
    expect(lab.receivers()).toEqual([])
    expect(br.bridge!.fdb.find(0, 0)).toBeUndefined()
  })

  it.each([
    [0, 0, ['p2']],
    [1, 0xffff, []],
    [2, 0, []],
    [2, 4, ['p2']],
    [14, 0, []],
    [14, 0x4000, ['p2']],
  ])('link-local group 0x0%s with group_fwd_mask %s goes to %j', (low, mask, expected) => {
    const lab = new Lab()
    const { br, pods } = lab.bridge(2)
    br.bridge!.groupFwdMask = mask
    lab.send(pods[0]!, { hi: 0x0180, lo: 0xc2000000 | low | 0 }, mac(1))
    expect(lab.receivers()).toEqual(expected)
    // taken by the port itself, its sender is learned; 01 (pause) is dropped before
    expect(br.bridge!.fdb.find(0x0200, 1) !== undefined).toBe(low !== 1)
  })

  it('forgets a MAC that was silent for the ageing time when the garbage collector runs', () => {
    const lab = new Lab()
    const { br, pods } = lab.bridge(3)
    br.bridge!.ageingNs = 1e9
    lab.send(pods[0]!, BCAST, mac(1))
    lab.ms(600)
    lab.send(pods[0]!, mac(2), mac(1))
    lab.ms(700)
    expect(br.bridge!.fdb.find(0x0200, 1)).toBeDefined()
    lab.ms(1000)
    expect(br.bridge!.fdb.find(0x0200, 1)).toBeUndefined()
    lab.receivers()
    lab.send(pods[1]!, mac(1), mac(2))
    expect(lab.receivers()).toEqual(['p3', 'p1'])
  })

  it('looks for old entries at once when the ageing time is set, and never learns with 0', () => {
    const lab = new Lab()
    const { br, pods } = lab.bridge(2)
    lab.send(pods[0]!, BCAST, mac(1))
    lab.ms(5000)
    br.bridge!.ageingNs = 1e9
    lab.ms(1)
    expect(br.bridge!.fdb.find(0x0200, 1)).toBeUndefined()
    br.bridge!.ageingNs = 0
    lab.send(pods[0]!, BCAST, mac(1))
    expect(br.bridge!.fdb.find(0x0200, 1)).toBeUndefined()
  })

  it('hands frames for itself and broadcasts to its own host, and everything when promiscuous', () => {
    const lab = new Lab()
    const { br, pods } = lab.bridge(2)
    lab.send(pods[0]!, mac(100), mac(1))
    expect(lab.received(br)).toHaveLength(1)
    lab.send(pods[0]!, BCAST, mac(1))
    expect(lab.received(br)).toHaveLength(1)
    lab.send(pods[1]!, mac(1), mac(2))
    expect(lab.received(br)).toHaveLength(0)
    setPromisc(br, true)
    lab.send(pods[1]!, mac(1), mac(2))
    expect(lab.received(br)).toHaveLength(1)
    expect(lab.world.arena.inUse).toBe(0)
  })

  it('drops frames that are larger than the port takes, with room for one VLAN tag', () => {
    const lab = new Lab()
    const { pods, ports } = lab.bridge(2)
    setMtu(ports[1]!, 1000)
    lab.send(pods[0]!, BCAST, mac(1), 1018)
    expect(lab.receivers()).toEqual(['p2'])
    lab.send(pods[0]!, BCAST, mac(1), 1019)
    expect(lab.receivers()).toEqual([])
    expect(lab.world.arena.inUse).toBe(0)
  })
})

describe('bridge and its ports', () => {
  it('forgets what it learned behind a port that goes down and disables it', () => {
    const lab = new Lab()
    const { br, pods, ports } = lab.bridge(2)
    lab.send(pods[0]!, BCAST, mac(1))
    setDown(pods[0]!)
    expect(br.bridge!.fdb.find(0x0200, 1)).toBeUndefined()
    expect(ports[0]!.port!.state).toBe(0)
    setUp(pods[0]!)
    expect(ports[0]!.port!.state).toBe(3)
  })

  it('takes the lowest MAC and the smallest MTU of its ports until they are set, zero and 1500 without ports', () => {
    const lab = new Lab()
    const br = createBridge(lab.ns('n'), 'br0')
    const [, a] = lab.veth(['x', 'a', 5], ['n', 'va', 9], 1400)
    const [, b] = lab.veth(['x', 'b', 6], ['n', 'vb', 8], 9000)
    setMaster(a, br)
    expect([br.macLo, br.mtu]).toEqual([9, 1400])
    setMaster(b, br)
    expect([br.macLo, br.mtu]).toEqual([8, 1400])
    setMaster(a, null)
    expect([br.macLo, br.mtu]).toEqual([8, 9000])
    setMaster(b, null)
    expect([br.macHi, br.macLo, br.mtu]).toEqual([0, 0, 1500])
    setMac(br, mac(55))
    setMtu(br, 1300)
    setMaster(a, br)
    expect([br.macLo, br.mtu]).toEqual([55, 1300])
  })

  it('keeps the local entry when a port leaves whose MAC is the bridge’s too', () => {
    const lab = new Lab()
    const { br, ports } = lab.bridge(1)
    setMac(br, mac(1001))
    setMaster(ports[0]!, null)
    const e = br.bridge!.fdb.find(0x0200, 1001)
    expect([e?.isLocal, e?.port]).toEqual([true, null])
    expect(br.bridge!.fdb.find(0x0200, 100)).toBeUndefined()
  })

  it('is born with carrier and loses it with its last forwarding port', () => {
    const lab = new Lab()
    const br = createBridge(lab.ns('n'), 'br0')
    setUp(br)
    expect(br.carrier).toBe(true)
    const [, v] = lab.veth(['x', 'a', 5], ['n', 'va', 9])
    setMaster(v, br)
    expect(br.carrier).toBe(true)
    setMaster(v, null)
    expect(br.carrier).toBe(false)
  })

  it('reuses the lowest free port number', () => {
    const lab = new Lab()
    const { br, ports } = lab.bridge(3)
    setMaster(ports[1]!, null)
    setMaster(ports[1]!, br)
    expect(ports.map((p) => p.port!.number)).toEqual([1, 2, 3])
  })

  it('refuses a bridge in a bridge, lo, and a device of another namespace', () => {
    const lab = new Lab()
    const { br } = lab.bridge(1)
    expect(setMaster(createBridge(lab.ns('n'), 'br1'), br)).toBe(ELOOP)
    expect(setMaster(lab.ns('n').lo, br)).toBe(EINVAL)
    const [x] = createVeth({ ns: lab.ns('q'), name: 'x' }, { ns: lab.ns('q'), name: 'y' })
    expect(setMaster(x, br)).toBe(EINVAL)
  })

  it('lets its ports go when it is deleted', () => {
    const lab = new Lab()
    const { br, ports } = lab.bridge(2)
    deleteDevice(br)
    expect(ports.map((p) => p.port)).toEqual([null, null])
    expect(lab.ns('n').devices.has('br0')).toBe(false)
  })
})
