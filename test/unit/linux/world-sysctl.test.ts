/** Settings: names, defaults against a fresh namespace of the real kernel, and what writing one changes elsewhere. */
import { describe, expect, it } from '@jest/globals'
import { sysctlGet, sysctlSet } from '../../../src/linux/sysctl.ts'
import { World } from '../../../src/linux/world.ts'
import { describeKernel, inNetns, netnsAdd, netnsDel } from '../../support/kernel.ts'
import { Lab } from './world-support.ts'

describe('sysctlSet', () => {
  it('ip_forward sets forwarding of all devices and the default, and turns accept_redirects over', () => {
    const lab = new Lab()
    lab.veth(['x', 'a', 1], ['y', 'b', 2])
    const ns = lab.ns('x')
    expect(sysctlSet(ns, 'net.ipv4.ip_forward', '1')).toBe(true)
    const names = [
      'all.forwarding',
      'default.forwarding',
      'a.forwarding',
      'lo.forwarding',
      'all.accept_redirects',
      'a.accept_redirects',
    ]
    expect(names.map((n) => sysctlGet(ns, `net.ipv4.conf.${n}`))).toEqual(['1', '1', '1', '1', '0', '1'])
  })

  it('writing the value that is there changes nothing elsewhere', () => {
    const lab = new Lab()
    lab.veth(['x', 'a', 1], ['y', 'b', 2])
    sysctlSet(lab.ns('x'), 'net.ipv4.conf.a.forwarding', '1')
    sysctlSet(lab.ns('x'), 'net.ipv4.ip_forward', '0')
    expect(sysctlGet(lab.ns('x'), 'net.ipv4.conf.a.forwarding')).toBe('1')
  })

  it('a default reaches devices that have neither a value nor ever had an address', () => {
    const lab = new Lab()
    const [a] = lab.veth(['x', 'a', 1], ['y', 'b', 2])
    lab.veth(['x', 'c', 3], ['y', 'd', 4])
    lab.veth(['x', 'e', 5], ['y', 'f', 6])
    const ns = lab.ns('x')
    lab.addr(a, '10.0.0.1/24')
    sysctlSet(ns, 'net.ipv4.conf.c.rp_filter', '0')
    sysctlSet(ns, 'net.ipv4.conf.default.rp_filter', '2')
    sysctlSet(ns, 'net.ipv4.neigh.default.locktime', '7')
    const [later] = lab.veth(['x', 'g', 7], ['y', 'h', 8])
    expect(['a', 'c', 'e', 'g'].map((d) => sysctlGet(ns, `net.ipv4.conf.${d}.rp_filter`))).toEqual(['0', '0', '2', '2'])
    expect(['a', 'c', 'e'].map((d) => sysctlGet(ns, `net.ipv4.neigh.${d}.locktime`))).toEqual(['100', '7', '7'])
    expect(later.rpFilter()).toBe(2)
  })

  it('takes slashes, and dots in device names between them', () => {
    const lab = new Lab()
    lab.veth(['x', 'eth0.5', 1], ['y', 'b', 2])
    expect(sysctlSet(lab.ns('x'), 'net/ipv4/conf/eth0.5/arp_ignore', '3')).toBe(true)
    expect(sysctlGet(lab.ns('x'), 'net.ipv4.conf.eth0/5.arp_ignore')).toBe('3')
  })

  it('refuses unknown names and words', () => {
    const ns = new World().addNetns('x')
    expect(sysctlSet(ns, 'net.ipv4.no_such_thing', '1')).toBe(false)
    expect(sysctlSet(ns, 'net.ipv4.ip_forward', 'yes')).toBe(false)
    expect(sysctlGet(ns, 'net.ipv4.conf.nodev.forwarding')).toBeNull()
  })

  it('sets one, two or three values of a range', () => {
    const ns = new World().addNetns('x')
    expect(sysctlSet(ns, 'net.ipv4.ip_local_port_range', '1000 2000')).toBe(true)
    expect(sysctlGet(ns, 'net.ipv4.ip_local_port_range')).toBe('1000\t2000')
  })
})

/** Where podwalk's default is not the kernel's, and why. */
const DIFFERENT: { readonly [name: string]: string } = {
  'net.ipv6.conf.all.disable_ipv6': 'IPv6 is not modelled yet',
  'net.ipv6.conf.default.disable_ipv6': 'IPv6 is not modelled yet',
  'net.ipv6.conf.lo.disable_ipv6': 'IPv6 is not modelled yet',
  'net.netfilter.nf_conntrack_max': 'depends on memory',
  'net.netfilter.nf_conntrack_buckets': 'depends on memory',
  'net.ipv4.tcp_rmem': 'depends on memory',
  'net.ipv4.tcp_wmem': 'depends on memory',
}

describe('a name that every JavaScript object has', () => {
  it.each([
    '__proto__',
    'constructor',
    'net.ipv4.conf.all.constructor',
    'net.ipv4.route.constructor',
    'net.ipv4.neigh.default.constructor',
  ])('%s is no setting', (name) => {
    expect(sysctlGet(new World().addNetns('x'), name)).toBeNull()
  })
})

describeKernel('defaults', ['sysctl'], () => {
  it('every setting that podwalk knows has the default of a fresh namespace', () => {
    const name = `pw-sysctl-${process.pid}`
    netnsAdd(name)
    const text = inNetns(name, ['sysctl', '-a']).stdout
    netnsDel(name)
    const ns = new World().addNetns('x')
    const wrong: string[] = []
    let known = 0
    for (const line of text.split('\n')) {
      const m = /^(\S+) = (.*)$/.exec(line)
      const ours = m === null ? null : sysctlGet(ns, m[1]!)
      if (ours === null) continue
      known++
      if (ours !== m![2] && DIFFERENT[m![1]!] === undefined) wrong.push(`${m![1]}: kernel ${m![2]}, podwalk ${ours}`)
    }
    expect(wrong).toEqual([])
    expect(known).toBeGreaterThan(150)
  })
})
