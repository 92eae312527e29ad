/** Devices: carrier, addresses, names, namespaces, deletion, MTU. Expected values were read from Linux 6.18. */
import { describe, expect, it } from '@jest/globals'
import { formatIpv4 } from '../../../src/addr/index.ts'
import { RT_SCOPE_HOST, RT_SCOPE_LINK } from '../../../src/linux/device/device.ts'
import { inetAddrAdd, inetAddrDel, inetConfirmAddr, inetSelectAddr } from '../../../src/linux/device/inet.ts'
import {
  createBridge,
  createVeth,
  deleteDevice,
  moveDevice,
  renameDevice,
  setDown,
  setMtu,
  setUp,
} from '../../../src/linux/device/ops.ts'
import { EADDRNOTAVAIL, EEXIST, EINVAL } from '../../../src/linux/errno.ts'
import { NUD_PERMANENT, neighLookupOrCreate } from '../../../src/linux/neighbour/neighbour.ts'
import { sysctlGet, sysctlSet } from '../../../src/linux/sysctl.ts'
import { ip, Lab, mac } from './world-support.ts'

describe('veth', () => {
  it('has carrier while both ends are up', () => {
    const lab = new Lab()
    const [a, b] = createVeth({ ns: lab.ns('x'), name: 'a' }, { ns: lab.ns('y'), name: 'b' })
    setUp(a)
    expect([a.carrier, b.carrier]).toEqual([false, false])
    setUp(b)
    expect([a.carrier, b.carrier]).toEqual([true, true])
    setDown(a)
    expect([a.carrier, b.carrier]).toEqual([false, false])
  })

  it('marks routes of an end without carrier and forgets its neighbours, but permanent ones', () => {
    const lab = new Lab()
    const [a, b] = lab.veth(['x', 'a', 1], ['y', 'b', 2])
    lab.addr(a, '10.7.0.1/24')
    neighLookupOrCreate(lab.ns('x'), a, ip('10.7.0.9')).state = NUD_PERMANENT
    neighLookupOrCreate(lab.ns('x'), a, ip('10.7.0.10'))
    setDown(b)
    expect(
      lab
        .ns('x')
        .neigh.list()
        .map((n) => formatIpv4(n.ip)),
    ).toEqual(['10.7.0.9'])
    expect(lab.ns('x').fib.routeOutputTo(ip('10.7.0.5'), 0)?.dev).toBe(a)
    sysctlSet(lab.ns('x'), 'net.ipv4.conf.all.ignore_routes_with_linkdown', '1')
    expect(lab.ns('x').fib.routeOutputTo(ip('10.7.0.5'), 0)).toBeNull()
    setUp(b)
    expect(lab.ns('x').fib.routeOutputTo(ip('10.7.0.5'), 0)?.dev).toBe(a)
  })

  it('drops frames larger than the peer takes and counts them at the sender', () => {
    const lab = new Lab()
    const [a, b] = lab.veth(['x', 'a', 1], ['y', 'b', 2])
    setMtu(b, 1000)
    lab.send(a, mac(2), mac(1), 1018)
    lab.send(a, mac(2), mac(1), 1019)
    expect([a.txPackets, a.txDropped, b.rxPackets, b.rxDropped]).toEqual([1, 1, 1, 0])
    expect(lab.world.arena.inUse).toBe(0)
  })

  it('refuses to inject more than its own MTU, and anything while it is down', () => {
    const lab = new Lab()
    const [a] = lab.veth(['x', 'a', 1], ['y', 'b', 2])
    expect(lab.send(a, mac(2), mac(1), 1514)).toBe(1514)
    expect(lab.send(a, mac(2), mac(1), 1515)).toBe(-90)
    expect(lab.send(a, mac(2), mac(1), 13)).toBe(EINVAL)
    setDown(a)
    expect(lab.send(a, mac(2), mac(1))).toBe(-100)
  })

  it('registers the peer first: it gets the lower ifindex', () => {
    const lab = new Lab()
    const [a, b] = createVeth({ ns: lab.ns('x'), name: 'a' }, { ns: lab.ns('x'), name: 'b' })
    expect([b.ifindex, a.ifindex]).toEqual([2, 3])
  })
})

describe('namespaces and names', () => {
  it('keeps the ifindex of a moved device when it is free; the counter there goes on from where it was', () => {
    const lab = new Lab()
    for (const n of ['u', 'v', 'w']) createVeth({ ns: lab.ns('x'), name: n }, { ns: lab.ns('x'), name: `${n}p` })
    const w = lab.ns('x').devices.get('w')!
    expect(w.ifindex).toBe(7)
    expect(moveDevice(w, lab.ns('y'))).toBe(0)
    const made = ['a', 'b', 'c'].map((n) =>
      createVeth({ ns: lab.ns('y'), name: n }, { ns: lab.ns('y'), name: `${n}p` }),
    )
    expect(made.map(([d, p]) => [p.ifindex, d.ifindex])).toEqual([
      [2, 3],
      [4, 5],
      [6, 8],
    ])
    moveDevice(lab.ns('x').devices.get('u')!, lab.ns('y'))
    expect(lab.ns('y').devices.get('u')!.ifindex).toBe(9)
  })

  it('resets settings, addresses, routes and state of a moved device', () => {
    const lab = new Lab()
    const [a] = lab.veth(['x', 'a', 1], ['z', 'b', 2])
    lab.addr(a, '10.1.0.1/24')
    sysctlSet(lab.ns('x'), 'net.ipv4.conf.a.arp_ignore', '2')
    sysctlSet(lab.ns('y'), 'net.ipv4.conf.default.rp_filter', '1')
    moveDevice(a, lab.ns('y'))
    expect([a.up, a.addrs.length, a.macLo, a.ns.name]).toEqual([false, 0, 1, 'y'])
    expect([
      sysctlGet(lab.ns('y'), 'net.ipv4.conf.a.arp_ignore'),
      sysctlGet(lab.ns('y'), 'net.ipv4.conf.a.rp_filter'),
    ]).toEqual(['0', '1'])
    expect(lab.ns('x').fib.routeOutputTo(ip('10.1.0.9'), 0)).toBeNull()
    expect(lab.ns('x').devices.has('a')).toBe(false)
  })

  it('does not move bridges and lo', () => {
    const lab = new Lab()
    expect(moveDevice(createBridge(lab.ns('x'), 'br0'), lab.ns('y'))).toBe(EINVAL)
    expect(moveDevice(lab.ns('x').lo, lab.ns('y'))).toBe(EINVAL)
  })

  it('renames labels: the first address gets the name, others keep their alias or get a number', () => {
    const lab = new Lab()
    const [a] = lab.veth(['x', 'v2', 1], ['y', 'b', 2])
    const add = (text: string, label: string): number => inetAddrAdd(a, { ip: ip(text), prefixLength: 24, label })
    add('10.0.0.1', 'v2:x')
    add('10.0.1.1', 'v2')
    add('10.0.2.1', 'v2:y')
    renameDevice(a, 'averylongname0')
    expect(a.addrs.map((x) => x.label)).toEqual(['averylongname0', 'averylongname:2', 'averylongname:y'])
    expect([...lab.ns('x').devices.keys()]).toEqual(['lo', 'averylongname0'])
  })

  it('deletes a pair as a whole', () => {
    const lab = new Lab()
    const [a, b] = lab.veth(['x', 'a', 1], ['y', 'b', 2])
    lab.addr(b, '10.1.0.1/24')
    expect(deleteDevice(a)).toBe(0)
    expect([lab.ns('x').devices.size, lab.ns('y').devices.size]).toEqual([1, 1])
    expect(lab.ns('y').fib.routes(255).length).toBe(0)
    expect(lab.world.devices[b.id]).toBeNull()
  })

  it.each([
    ['veth', 67, EINVAL],
    ['veth', 68, 0],
    ['veth', 65535, 0],
    ['veth', 65536, EINVAL],
    ['lo', 65536, 0],
    ['lo', 100000, 0],
  ])('%s takes MTU %s: %s', (kind, mtu, expected) => {
    const lab = new Lab()
    const [a] = lab.veth(['x', 'a', 1], ['y', 'b', 2])
    expect(setMtu(kind === 'lo' ? lab.ns('x').lo : a, mtu)).toBe(expected)
  })
})

describe('addresses', () => {
  const list = (d: { addrs: { ip: number; secondary: boolean }[] }): string[] =>
    d.addrs.map((a) => `${formatIpv4(a.ip)}${a.secondary ? ' secondary' : ''}`)

  it('adds 127.0.0.1/8 when lo comes up, in front of what is there', () => {
    const lab = new Lab()
    const lo = lab.ns('x').lo
    lab.addr(lo, '1.2.3.4/32')
    setUp(lo)
    expect(list(lo)).toEqual(['127.0.0.1', '1.2.3.4'])
    setDown(lo)
    setUp(lo)
    expect(list(lo)).toEqual(['127.0.0.1', '1.2.3.4'])
  })

  it('orders primaries before secondaries, refuses doubles and another scope in one subnet, takes 0.0.0.0 as nothing', () => {
    const lab = new Lab()
    const [a] = lab.veth(['x', 'a', 1], ['y', 'b', 2])
    for (const t of ['10.0.0.1/24', '10.0.0.2/24', '10.0.1.1/24']) lab.addr(a, t)
    expect(list(a)).toEqual(['10.0.0.1', '10.0.1.1', '10.0.0.2 secondary'])
    expect(inetAddrAdd(a, { ip: ip('10.0.0.2'), prefixLength: 24 })).toBe(EEXIST)
    expect(inetAddrAdd(a, { ip: ip('10.0.0.3'), prefixLength: 24, scope: RT_SCOPE_LINK })).toBe(EINVAL)
    expect(inetAddrAdd(a, { ip: 0, prefixLength: 0 })).toBe(0)
    expect(a.addrs).toHaveLength(3)
  })

  it('takes secondaries with their primary, or promotes the first of them behind the last primary', () => {
    for (const promote of ['0', '1']) {
      const lab = new Lab()
      const [a] = lab.veth(['x', 'a', 1], ['y', 'b', 2])
      sysctlSet(lab.ns('x'), 'net.ipv4.conf.a.promote_secondaries', promote)
      for (const t of ['10.9.0.1/24', '10.9.1.1/24', '10.9.1.3/24', '10.9.1.4/24', '10.8.1.4/24']) lab.addr(a, t)
      expect(inetAddrDel(a, ip('10.9.1.1'), 24)).toBe(0)
      const rest = ['10.9.0.1', '10.8.1.4']
      expect(list(a)).toEqual(promote === '1' ? [...rest, '10.9.1.3', '10.9.1.4 secondary'] : rest)
      const local = lab
        .ns('x')
        .fib.routes(255)
        .filter((r) => r.prefixLength === 32 && r.type === 2)
      const sources = new Map(local.map((r) => [formatIpv4(r.dst), formatIpv4(r.prefsrc)]))
      expect(sources.get('10.9.1.4')).toBe(promote === '1' ? '10.9.1.3' : undefined)
      expect(inetAddrDel(a, ip('10.9.1.1'), 24)).toBe(EADDRNOTAVAIL)
    }
  })

  it('selects a source: same subnet first, then the first of the device, then another device’s', () => {
    const lab = new Lab()
    const [a] = lab.veth(['x', 'a', 1], ['y', 'b', 2])
    const [c] = lab.veth(['x', 'c', 3], ['y', 'd', 4])
    setUp(lab.ns('x').lo)
    lab.addr(a, '10.0.0.1/24')
    lab.addr(a, '10.0.1.1/24')
    const select = (dev: typeof a | null, dst: string, scope: number): string =>
      formatIpv4(inetSelectAddr(lab.ns('x'), dev, ip(dst), scope))
    expect(select(a, '10.0.1.7', 0)).toBe('10.0.1.1')
    expect(select(a, '9.9.9.9', 0)).toBe('10.0.0.1')
    expect(select(c, '9.9.9.9', 0)).toBe('10.0.0.1')
    expect(select(lab.ns('x').lo, '9.9.9.9', 0)).toBe('10.0.0.1')
    expect(select(lab.ns('x').lo, '9.9.9.9', RT_SCOPE_HOST)).toBe('127.0.0.1')
    sysctlSet(lab.ns('x'), 'net.ipv4.conf.lo.route_localnet', '1')
    expect(select(lab.ns('x').lo, '9.9.9.9', RT_SCOPE_LINK)).toBe('127.0.0.1')
  })

  it('confirms an address only where one subnet holds it and the asker', () => {
    const lab = new Lab()
    const [a] = lab.veth(['x', 'a', 1], ['y', 'b', 2])
    lab.addr(a, '10.0.0.1/24')
    lab.addr(a, '10.0.1.1/24')
    const confirm = (dst: string): boolean => inetConfirmAddr(lab.ns('x'), a, ip(dst), ip('10.0.0.1'), RT_SCOPE_HOST)
    expect([confirm('10.0.0.9'), confirm('10.0.1.9'), confirm('0.0.0.0')]).toEqual([true, false, true])
  })
})
