import { describe, expect, it } from '@jest/globals'
import { createVeth, setUp } from '../../../../src/linux/device/ops.ts'
import { inet6AddrAdd } from '../../../../src/linux/ipv6/addrconf.ts'
import { IFA_F_DEPRECATED, IFA_F_TENTATIVE } from '../../../../src/linux/ipv6/inet6-dev.ts'
import { Flowi6, ip6RouteOutput } from '../../../../src/linux/ipv6/route.ts'
import { ipv6DevGetSaddr } from '../../../../src/linux/ipv6/saddr.ts'
import type { Netns } from '../../../../src/linux/netns.ts'
import { sysctlSet } from '../../../../src/linux/sysctl.ts'
import { execTool } from '../../../../src/linux/tools/exec.ts'
import { World } from '../../../../src/linux/world.ts'

/** Two hosts on a wire, IPv6 on; `dad` leaves detection as Linux has it. */
function pair(dad = false): { w: World; a: Netns; b: Netns } {
  const w = new World({ seed: 3 })
  const [a, b] = [w.addNetns('a'), w.addNetns('b')]
  for (const ns of [a, b]) {
    sysctlSet(ns, 'net.ipv6.conf.all.disable_ipv6', '0')
    if (!dad) sysctlSet(ns, 'net.ipv6.conf.default.accept_dad', '0')
    setUp(ns.lo)
  }
  const [x, y] = createVeth(
    { ns: a, name: 'eth0', mac: { hi: 0x0200, lo: 1 } },
    { ns: b, name: 'eth0', mac: { hi: 0x0200, lo: 2 } },
  )
  setUp(x)
  setUp(y)
  return { w, a, b }
}

function add(ns: Netns, text: string, flags = 0): number {
  const [addr, length] = text.split('/')
  const dev = ns.devices.get('eth0')!
  return inet6AddrAdd(dev, { addr: ns.world.in6.parse(addr!), prefixLength: Number(length), flags })
}

function gateway(ns: Netns, dst: string): string {
  const fl = new Flowi6()
  fl.daddr = ns.world.in6.parse(dst)
  const rt = ip6RouteOutput(ns, fl)
  return rt.error !== 0 ? String(rt.error) : ns.world.in6.text(rt.gateway)
}

describe('IPv6 routes', () => {
  it('take the longest prefix, then the smallest metric, and forget nothing of the others', () => {
    const { a } = pair()
    add(a, '2001:db8:1::1/64')
    for (const r of [
      'default via fe80::d dev eth0',
      '2001:db8::/32 via fe80::32 dev eth0',
      '2001:db8:5::/48 via fe80::48 dev eth0 metric 20',
      '2001:db8:5::/48 via fe80::49 dev eth0 metric 10',
      'unreachable 2001:db8:6::/48',
    ]) {
      expect(execTool(a, ['ip', '-6', 'route', 'add', ...r.split(' ')]).stderr).toBe('')
    }
    expect(gateway(a, '2001:db8:5::1')).toBe('fe80::49')
    expect(gateway(a, '2001:db8:7::1')).toBe('fe80::32')
    expect(gateway(a, '2002::1')).toBe('fe80::d')
    expect(gateway(a, '2001:db8:6::1')).toBe('-113')
    expect(gateway(a, '2001:db8:1::9')).toBe('::')
    execTool(a, ['ip', '-6', 'route', 'del', '2001:db8:5::/48', 'metric', '10'])
    expect(gateway(a, '2001:db8:5::1')).toBe('fe80::48')
  })

  it('go with their device', () => {
    const { a } = pair()
    add(a, '2001:db8:1::1/64')
    execTool(a, ['ip', '-6', 'route', 'add', 'default', 'via', 'fe80::d', 'dev', 'eth0'])
    execTool(a, ['ip', 'link', 'set', 'eth0', 'down'])
    expect(gateway(a, '2002::1')).toBe('-101')
    expect(execTool(a, ['ip', '-6', 'addr', 'show', 'dev', 'eth0']).stdout).not.toContain('inet6')
  })
})

describe('IPv6 addresses', () => {
  it('are tentative until nobody has answered for a second', () => {
    const { w, a } = pair(true)
    w.runUntil(w.nowNs + 3e9)
    add(a, '2001:db8:1::1/64')
    const ifp = a.devices.get('eth0')!.in6!.addrs.find((x) => x.scope === 0)!
    expect(ifp.flags & IFA_F_TENTATIVE).toBe(IFA_F_TENTATIVE)
    w.runUntil(w.nowNs + 2.1e9)
    expect(ifp.flags & IFA_F_TENTATIVE).toBe(0)
  })

  it('are chosen by scope, preference, label and prefix', () => {
    const { w, a } = pair()
    for (const t of ['2001:db8:1::1/64', '2001:db8:2::1/64', 'fd00::1/64']) expect(add(a, t)).toBe(0)
    add(a, '2001:db8:3::1/64', IFA_F_DEPRECATED)
    const from = (dst: string): string => w.in6.text(ipv6DevGetSaddr(a, a.devices.get('eth0')!, w.in6.parse(dst), 0))
    expect(from('2001:db8:2::9')).toBe('2001:db8:2::1')
    expect(from('2001:db8:3::9')).not.toBe('2001:db8:3::1')
    expect(from('fd00:5::1')).toBe('fd00::1')
    expect(from('fe80::9')).toBe('fe80::ff:fe00:1')
    expect(from('ff02::1')).toBe('fe80::ff:fe00:1')
  })
})
