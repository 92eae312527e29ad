/** Who answers ARP, and what is learned from it: net/ipv4/arp.c. */
import { beforeEach, describe, expect, it } from '@jest/globals'
import type { NetDevice } from '../../../src/linux/device/device.ts'
import { inetAddrAdd } from '../../../src/linux/device/inet.ts'
import { setDown, setUp } from '../../../src/linux/device/ops.ts'
import { NUD_REACHABLE, NUD_STALE, neighLookupOrCreate, neighUpdate } from '../../../src/linux/neighbour/neighbour.ts'
import { sysctlSet } from '../../../src/linux/sysctl.ts'
import { ip, Lab, mac } from './world-support.ts'

let lab: Lab
/** The host's two cards, and what hangs on them. */
let e0: NetDevice
let e1: NetDevice
let ask0: NetDevice

beforeEach(() => {
  lab = new Lab()
  ;[e0, ask0] = lab.veth(['h', 'e0', 10], ['a', 'x0', 1])
  ;[e1] = lab.veth(['h', 'e1', 11], ['b', 'x1', 2])
  lab.addr(e0, '10.0.0.1/24')
  lab.addr(e1, '10.1.0.1/24')
  setUp(lab.ns('h').lo)
  lab.received(ask0)
})

const set = (name: string, value: number): void => {
  if (!sysctlSet(lab.ns('h'), `net.ipv4.${name}`, String(value))) throw new Error(name)
}
/** Asks by x0 as `sip` who `tip` is. @returns what comes back */
const who = (tip: string, sip = '10.0.0.5'): string[] => {
  lab.arp(ask0, 1, mac(1), sip, tip)
  return lab.received(ask0)
}

describe('arp_ignore', () => {
  it.each([
    // mode, own address of this card, of the other card, from another subnet, on lo with scope host
    [0, true, true, true, true],
    [1, true, false, true, false],
    [2, true, false, false, false],
    [3, true, true, true, false],
    [4, true, true, true, true],
    [8, false, false, false, false],
  ])('%s', (mode, own, other, foreign, host) => {
    set('conf.all.arp_ignore', mode)
    inetAddrAdd(lab.ns('h').lo, { ip: ip('10.9.9.9'), prefixLength: 32, scope: 254 })
    expect([
      who('10.0.0.1').length === 1,
      who('10.1.0.1').length === 1,
      who('10.0.0.1', '172.16.0.1').length === 1,
      who('10.9.9.9').length === 1,
    ]).toEqual([own, other, foreign, host])
  })

  it('takes the larger of all and the device', () => {
    set('conf.e0.arp_ignore', 1)
    expect(who('10.1.0.1')).toEqual([])
    expect(who('10.0.0.1')).toEqual(['m10>m1 10.0.0.1 is m10 to 10.0.0.5'])
  })
})

describe('answers', () => {
  it('learns the asker as stale and answers to it alone', () => {
    expect(who('10.0.0.1')).toEqual(['m10>m1 10.0.0.1 is m10 to 10.0.0.5'])
    const n = lab.ns('h').neigh.lookup(e0, ip('10.0.0.5'))
    expect([n?.state, n?.macLo]).toEqual([NUD_STALE, 1])
  })

  it('keeps silent about addresses that are not here, and learns nothing', () => {
    expect(who('10.0.0.77')).toEqual([])
    expect(lab.ns('h').neigh.list()).toEqual([])
  })

  it('answers a probe of duplicate address detection (RFC 5227) without learning', () => {
    expect(who('10.0.0.1', '0.0.0.0')).toEqual(['m10>m1 10.0.0.1 is m10 to 0.0.0.0'])
    expect(who('10.0.0.2', '0.0.0.0')).toEqual([])
    set('conf.all.arp_ignore', 8)
    expect(who('10.0.0.1', '0.0.0.0')).toEqual([])
    expect(lab.ns('h').neigh.list()).toEqual([])
  })

  it('answers only by the card that leads back to the asker with arp_filter', () => {
    set('conf.e0.arp_filter', 1)
    expect(who('10.0.0.1', '10.1.0.7')).toEqual([])
    expect(who('10.0.0.1', '10.0.0.5')).toHaveLength(1)
  })

  it('drops requests whose sender fails rp_filter', () => {
    set('conf.e0.rp_filter', 1)
    expect(who('10.0.0.1', '10.1.0.7')).toEqual([])
    expect(who('10.0.0.1')).toHaveLength(1)
  })

  it('drops frames for another MAC, multicast targets and loopback targets', () => {
    lab.arp(ask0, 1, mac(1), '10.0.0.5', '10.0.0.1', mac(99))
    expect(lab.received(ask0)).toEqual([])
    expect(who('224.0.0.1')).toEqual([])
    expect(who('127.0.0.1')).toEqual([])
  })
})

describe('proxy_arp', () => {
  beforeEach(() => {
    set('ip_forward', 1)
    set('neigh.e0.proxy_delay', 0)
  })

  it('answers for what is routed by another card, not for the same one', () => {
    expect(who('10.1.0.9')).toEqual([])
    set('conf.e0.proxy_arp', 1)
    expect(who('10.1.0.9')).toEqual(['m10>m1 10.1.0.9 is m10 to 10.0.0.5'])
    expect(who('10.0.0.9')).toEqual([])
    expect(who('172.16.0.1')).toEqual([])
  })

  it('answers only while it forwards', () => {
    set('conf.e0.proxy_arp', 1)
    set('conf.e0.forwarding', 0)
    expect(who('10.1.0.9')).toEqual([])
  })

  it('answers a broadcast after up to proxy_delay, a unicast request at once', () => {
    set('conf.e0.proxy_arp', 1)
    set('neigh.e0.proxy_delay', 80)
    expect(who('10.1.0.9')).toEqual([])
    lab.ms(800)
    expect(lab.received(ask0)).toHaveLength(1)
    lab.arp(ask0, 1, mac(1), '10.0.0.5', '10.1.0.9', mac(10))
    expect(lab.received(ask0)).toHaveLength(1)
  })

  it('answers for neighbours on the same card with proxy_arp_pvlan, not for the asker itself', () => {
    set('conf.e0.proxy_arp_pvlan', 1)
    expect(who('10.0.0.9')).toEqual(['m10>m1 10.0.0.9 is m10 to 10.0.0.5'])
    expect(who('10.0.0.5')).toEqual([])
    expect(who('10.1.0.9')).toEqual([])
  })

  it('answers for single addresses of ip neigh add proxy', () => {
    lab.ns('h').neigh.proxies.push({ ip: ip('10.1.0.9'), dev: e0 })
    expect(who('10.1.0.9')).toHaveLength(1)
    expect(who('10.1.0.8')).toEqual([])
  })
})

describe('learning', () => {
  const entry = (text: string) => lab.ns('h').neigh.lookup(e0, ip(text))
  const know = (text: string, m: number): void => {
    neighUpdate(lab.world, neighLookupOrCreate(lab.ns('h'), e0, ip(text)), mac(m), NUD_REACHABLE, 0)
    lab.ms(2000)
  }

  it.each([
    // arp_accept, sender, what, learned
    [0, '10.0.0.7', 'request', false],
    [1, '10.0.0.7', 'request', true],
    [1, '10.0.0.7', 'reply', true],
    [2, '10.0.0.7', 'request', true],
    [2, '172.16.0.7', 'request', false],
    [1, '172.16.0.7', 'request', true],
    [1, '10.0.0.1', 'request', false],
  ])('arp_accept %s, gratuitous of %s as %s: new entry %s', (mode, sip, kind, learned) => {
    set('conf.e0.arp_accept', mode)
    lab.arp(
      ask0,
      kind === 'request' ? 1 : 2,
      mac(1),
      sip,
      sip,
      { hi: 0xffff, lo: -1 },
      kind === 'reply' ? mac(1) : undefined,
    )
    expect(entry(sip) !== undefined).toBe(learned)
  })

  it('takes a new MAC from a gratuitous ARP at once, from others only after locktime', () => {
    neighUpdate(lab.world, neighLookupOrCreate(lab.ns('h'), e0, ip('10.0.0.7')), mac(5), NUD_REACHABLE, 0)
    lab.arp(ask0, 2, mac(6), '10.0.0.7', '10.0.0.1', mac(10), mac(10))
    expect(entry('10.0.0.7')?.macLo).toBe(5)
    lab.ms(1001)
    lab.arp(ask0, 2, mac(6), '10.0.0.7', '10.0.0.1', mac(10), mac(10))
    expect([entry('10.0.0.7')?.macLo, entry('10.0.0.7')?.state]).toEqual([6, NUD_REACHABLE])
    lab.arp(ask0, 1, mac(7), '10.0.0.7', '10.0.0.7')
    expect([entry('10.0.0.7')?.macLo, entry('10.0.0.7')?.state]).toEqual([7, NUD_STALE])
  })

  it('takes a gratuitous reply as one only when both hardware addresses are the sender’s', () => {
    know('10.0.0.7', 5)
    neighUpdate(lab.world, entry('10.0.0.7')!, mac(6), NUD_STALE, 1)
    lab.arp(ask0, 2, mac(8), '10.0.0.7', '10.0.0.7', { hi: 0xffff, lo: -1 }, mac(3))
    expect(entry('10.0.0.7')?.macLo).toBe(6)
    lab.arp(ask0, 2, mac(8), '10.0.0.7', '10.0.0.7', { hi: 0xffff, lo: -1 }, mac(8))
    expect(entry('10.0.0.7')?.macLo).toBe(8)
  })

  it('drops gratuitous ARP with drop_gratuitous_arp', () => {
    know('10.0.0.7', 5)
    set('conf.e0.drop_gratuitous_arp', 1)
    lab.arp(ask0, 1, mac(7), '10.0.0.7', '10.0.0.7')
    expect(entry('10.0.0.7')?.macLo).toBe(5)
  })

  it('a broadcast reply does not make an entry reachable', () => {
    know('10.0.0.7', 5)
    entry('10.0.0.7')!.state = NUD_STALE
    lab.arp(ask0, 2, mac(5), '10.0.0.7', '10.0.0.1')
    expect(entry('10.0.0.7')?.state).toBe(NUD_STALE)
  })
})

describe('arp_notify', () => {
  it('announces every address when the device comes up', () => {
    set('conf.e0.arp_notify', 1)
    lab.addr(e0, '10.5.0.1/24')
    setDown(e0)
    lab.sent(e0)
    setUp(e0)
    expect(lab.sent(e0)).toEqual(['0 m10>bcast who 10.0.0.1 tell 10.0.0.1', '0 m10>bcast who 10.5.0.1 tell 10.5.0.1'])
  })
})
