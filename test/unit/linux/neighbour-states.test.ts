/** The neighbour's state machine in virtual time: each transition of net/core/neighbour.c. */
import { beforeEach, describe, expect, it } from '@jest/globals'
import type { NetDevice } from '../../../src/linux/device/device.ts'
import { setMac } from '../../../src/linux/device/ops.ts'
import { EINVAL, EPERM } from '../../../src/linux/errno.ts'
import {
  NEIGH_UPDATE_F_ADMIN,
  NEIGH_UPDATE_F_OVERRIDE,
  NEIGH_UPDATE_F_WEAK_OVERRIDE,
  type Neighbour,
  NUD_DELAY,
  NUD_FAILED,
  NUD_INCOMPLETE,
  NUD_NOARP,
  NUD_PERMANENT,
  NUD_PROBE,
  NUD_REACHABLE,
  NUD_STALE,
  neighEventSend,
  neighLookupOrCreate,
  neighUpdate,
} from '../../../src/linux/neighbour/neighbour.ts'
import { ip, Lab, mac } from './world-support.ts'

let lab: Lab
let dev: NetDevice
let far: NetDevice
let n: Neighbour

/** Uses the entry as a packet would. @returns whether the packet may go */
const use = (): boolean => neighEventSend(lab.world, n, -1)
const update = (state: number, m: number | null, flags = 0): number =>
  neighUpdate(lab.world, n, m === null ? null : mac(m), state, flags)

beforeEach(() => {
  lab = new Lab()
  ;[dev, far] = lab.veth(['x', 'eth0', 1], ['y', 'eth0', 2])
  lab.addr(dev, '10.0.0.1/24')
  n = neighLookupOrCreate(lab.ns('x'), dev, ip('10.0.0.2'))
  lab.sent(dev)
})

describe('resolution', () => {
  it('asks at once, three times a second apart, then fails', () => {
    expect(use()).toBe(false)
    expect(n.state).toBe(NUD_INCOMPLETE)
    lab.ms(2999)
    expect(n.state).toBe(NUD_INCOMPLETE)
    lab.ms(2)
    expect(n.state).toBe(NUD_FAILED)
    const ask = 'm1>bcast who 10.0.0.2 tell 10.0.0.1'
    expect(lab.sent(dev)).toEqual([`0 ${ask}`, `1000 ${ask}`, `2000 ${ask}`])
  })

  it('starts again when a failed entry is used', () => {
    use()
    lab.ms(3001)
    use()
    expect([n.state, lab.sent(dev).length]).toEqual([NUD_INCOMPLETE, 4])
  })

  it('becomes reachable by an answer', () => {
    lab.addr(far, '10.0.0.2/24')
    use()
    expect([n.state, n.macLo]).toEqual([NUD_REACHABLE, 2])
  })

  it('fails at once when it may not ask', () => {
    dev.neighParms.mcast_solicit = 0
    expect(use()).toBe(false)
    expect([n.state, lab.sent(dev)]).toEqual([NUD_FAILED, []])
  })
})

describe('ageing', () => {
  it('goes reachable to stale after its reachable time, between half and one and a half of the base', () => {
    update(NUD_REACHABLE, 2)
    lab.ms(14_999)
    expect(n.state).toBe(NUD_REACHABLE)
    lab.ms(30_100)
    expect(n.state).toBe(NUD_STALE)
    expect(lab.sent(dev)).toEqual([])
  })

  it('goes reachable to delay when it was used shortly before', () => {
    update(NUD_REACHABLE, 2)
    for (let i = 0; i < 46 && n.state === NUD_REACHABLE; i++) {
      n.usedNs = lab.world.nowNs
      lab.ms(1000)
    }
    expect(n.state).toBe(NUD_DELAY)
  })

  it('goes stale to delay by a packet, which passes, then probes the known MAC three times and fails', () => {
    update(NUD_STALE, 2)
    expect(use()).toBe(true)
    expect(n.state).toBe(NUD_DELAY)
    lab.ms(4999)
    expect([n.state, lab.sent(dev)]).toEqual([NUD_DELAY, []])
    lab.ms(2)
    expect(n.state).toBe(NUD_PROBE)
    lab.ms(3000)
    expect(n.state).toBe(NUD_FAILED)
    const ask = 'm1>m2 who 10.0.0.2 tell 10.0.0.1'
    expect(lab.sent(dev)).toEqual([`5000 ${ask}`, `6000 ${ask}`, `7000 ${ask}`])
  })

  it('goes delay to reachable when it was confirmed in the meantime', () => {
    update(NUD_STALE, 2)
    use()
    lab.ms(3000)
    n.confirmedNs = lab.world.nowNs
    lab.ms(2001)
    expect([n.state, lab.sent(dev)]).toEqual([NUD_REACHABLE, []])
  })

  it('goes probe to reachable by an answer', () => {
    update(NUD_STALE, 2)
    use()
    lab.ms(5500)
    expect(n.state).toBe(NUD_PROBE)
    lab.arp(far, 2, mac(2), '10.0.0.2', '10.0.0.1', mac(1), mac(1))
    expect(n.state).toBe(NUD_REACHABLE)
  })

  it('keeps permanent entries for ever', () => {
    update(NUD_PERMANENT, 2, NEIGH_UPDATE_F_ADMIN)
    use()
    lab.ms(1_000_000)
    expect([n.state, lab.sent(dev)]).toEqual([NUD_PERMANENT, []])
  })
})

describe('neigh_update', () => {
  it.each([
    // old state, old mac, new state, new mac, flags -> result, state, mac
    ['another MAC without override is ignored', NUD_REACHABLE, 2, NUD_STALE, 3, 0, 0, NUD_REACHABLE, 2],
    ['another MAC with override is taken', NUD_REACHABLE, 2, NUD_STALE, 3, NEIGH_UPDATE_F_OVERRIDE, 0, NUD_STALE, 3],
    [
      'weak override makes a connected entry stale',
      NUD_REACHABLE,
      2,
      NUD_STALE,
      3,
      NEIGH_UPDATE_F_WEAK_OVERRIDE,
      0,
      NUD_STALE,
      2,
    ],
    [
      'weak override does nothing to a stale entry',
      NUD_STALE,
      2,
      NUD_REACHABLE,
      3,
      NEIGH_UPDATE_F_WEAK_OVERRIDE,
      0,
      NUD_STALE,
      2,
    ],
    ['stale does not lower a reachable entry of the same MAC', NUD_REACHABLE, 2, NUD_STALE, 2, 0, 0, NUD_REACHABLE, 2],
    ['an administrator may lower it', NUD_REACHABLE, 2, NUD_STALE, 2, NEIGH_UPDATE_F_ADMIN, 0, NUD_STALE, 2],
    ['no MAC keeps the known one', NUD_STALE, 2, NUD_REACHABLE, null, 0, 0, NUD_REACHABLE, 2],
    [
      'permanent is not changed by traffic',
      NUD_PERMANENT,
      2,
      NUD_REACHABLE,
      3,
      NEIGH_UPDATE_F_OVERRIDE,
      EPERM,
      NUD_PERMANENT,
      2,
    ],
    [
      'an administrator may replace permanent',
      NUD_PERMANENT,
      2,
      NUD_PERMANENT,
      3,
      NEIGH_UPDATE_F_ADMIN | NEIGH_UPDATE_F_OVERRIDE,
      0,
      NUD_PERMANENT,
      3,
    ],
    ['an administrator may fail it', NUD_REACHABLE, 2, NUD_FAILED, null, NEIGH_UPDATE_F_ADMIN, 0, NUD_FAILED, 2],
  ])('%s', (_text, old, oldMac, state, m, flags, result, after, macAfter) => {
    update(old, oldMac, NEIGH_UPDATE_F_ADMIN | NEIGH_UPDATE_F_OVERRIDE)
    expect([update(state, m, flags), n.state, n.macLo]).toEqual([result, after, macAfter])
  })

  it('refuses a valid state without any MAC, and an entry that was removed', () => {
    expect(update(NUD_REACHABLE, null)).toBe(EINVAL)
    lab.ns('x').neigh.remove(n)
    expect(update(NUD_REACHABLE, 2)).toBe(EPERM)
  })
})

describe('arp_constructor', () => {
  it.each([
    ['10.0.0.255', NUD_NOARP, 0xffff, -1],
    ['255.255.255.255', NUD_NOARP, 0xffff, -1],
    ['224.0.0.5', NUD_NOARP, 0x0100, 0x5e000005],
    ['239.255.1.2', NUD_NOARP, 0x0100, 0x5e7f0102],
    ['10.0.0.7', 0, 0, 0],
  ])('%s needs state %s', (text, state, hi, lo) => {
    const e = neighLookupOrCreate(lab.ns('x'), dev, ip(text))
    expect([e.state, e.macHi, e.macLo]).toEqual([state, hi, lo])
  })

  it('forgets every entry when the own MAC changes', () => {
    update(NUD_PERMANENT, 2, NEIGH_UPDATE_F_ADMIN)
    setMac(dev, mac(9))
    expect(lab.ns('x').neigh.list()).toEqual([])
  })
})
