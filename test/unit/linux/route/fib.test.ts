/**
 * Routing tables: longest prefix, the merged local and main tables, rules, hash-threshold nexthops, the address hash
 * table against a Map.
 */
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { inetAddrAdd } from '../../../../src/linux/device/inet.ts'
import { createDummy, setUp } from '../../../../src/linux/device/ops.ts'
import { ENETUNREACH } from '../../../../src/linux/errno.ts'
import type { Netns } from '../../../../src/linux/netns.ts'
import { FibResult, prefixMask } from '../../../../src/linux/route/fib-table.ts'
import { Flowi4 } from '../../../../src/linux/route/flow.ts'
import { IntTable } from '../../../../src/linux/route/int-table.ts'
import { fibSelectMultipath } from '../../../../src/linux/route/multipath.ts'
import { HZ, InetPeer, inetPeerXrlimAllow } from '../../../../src/linux/route/peer.ts'
import { ipRouteOutput, routeErrno } from '../../../../src/linux/route/route.ts'
import { RTN_BLACKHOLE, RTN_LOCAL, RTN_UNICAST } from '../../../../src/linux/route/rtn.ts'
import { World } from '../../../../src/linux/world.ts'

function ip(text: string): number {
  return text.split('.').reduce((a, p) => (a << 8) | Number(p), 0) | 0
}

function host(): Netns {
  const ns = new World().addNetns('h')
  setUp(ns.lo)
  const dev = createDummy(ns, 'd0')
  setUp(dev)
  inetAddrAdd(dev, { ip: ip('10.0.0.1'), prefixLength: 24 })
  return ns
}

function lookup(ns: Netns, dst: string): FibResult | number {
  const fl = new Flowi4()
  fl.daddr = ip(dst)
  const res = new FibResult()
  const err = ns.fib.lookup(fl, res, 0)
  return err === 0 ? res : err
}

describe('IntTable', () => {
  it('holds what a Map holds under random inserts and deletes', () => {
    const op = fc.tuple(fc.boolean(), fc.oneof(fc.integer({ min: -40, max: 40 }), fc.integer()))
    fc.assert(
      fc.property(fc.array(op, { maxLength: 200 }), (ops) => {
        const table = new IntTable<number>()
        const twin = new Map<number, number>()
        ops.forEach(([add, key], i) => {
          if (add) {
            table.set(key, i + 1)
            twin.set(key, i + 1)
          } else {
            table.delete(key)
            twin.delete(key)
          }
        })
        expect(table.size).toBe(twin.size)
        for (const [, key] of ops) expect(table.get(key)).toBe(twin.get(key))
      }),
    )
  })
})

describe('fib lookup', () => {
  it('takes the longest prefix, as a scan over all routes would', () => {
    const prefix = fc.tuple(fc.integer(), fc.integer({ min: 1, max: 32 }))
    fc.assert(
      fc.property(fc.array(prefix, { maxLength: 30 }), fc.array(fc.integer(), { maxLength: 20 }), (prefixes, dsts) => {
        const ns = new World().addNetns('h')
        const dev = createDummy(ns, 'd0')
        setUp(dev)
        for (const [dst, prefixLength] of prefixes) {
          ns.fib.addRoute({ dst: dst & prefixMask(prefixLength), prefixLength, nexthops: [{ dev }] }, 'append')
        }
        for (const dst of [...dsts, ...prefixes.map(([d]) => d ^ 1)]) {
          const fl = new Flowi4()
          fl.daddr = dst
          const res = new FibResult()
          const err = ns.fib.lookup(fl, res, 0)
          const longest = Math.max(
            -1,
            ...prefixes.filter(([d, l]) => ((d ^ dst) & prefixMask(l)) === 0).map(([, l]) => l),
          )
          expect(err === 0 ? res.prefixLength : -1).toBe(longest)
          if (longest < 0) expect(err).toBe(ENETUNREACH)
        }
      }),
      { numRuns: 60 },
    )
  })

  it('prefers a longer prefix of main over a shorter one of local until a custom rule parts the tables', () => {
    const ns = host()
    const dev = ns.devices.get('d0')!
    ns.fib.addRoute({ dst: ip('10.9.0.0'), prefixLength: 16, type: RTN_LOCAL, table: 255, nexthops: [{ dev }] })
    ns.fib.addRoute({ dst: ip('10.9.1.0'), prefixLength: 24, nexthops: [{ dev }] })
    expect((lookup(ns, '10.9.1.1') as FibResult).type).toBe(RTN_UNICAST)
    ns.fib.addRule({ pref: 100, table: 7 })
    expect((lookup(ns, '10.9.1.1') as FibResult).type).toBe(RTN_LOCAL)
  })

  it('answers a blackhole route and a missing route with their errnos', () => {
    const ns = host()
    ns.fib.addRoute({ dst: ip('10.5.0.0'), prefixLength: 16, type: RTN_BLACKHOLE })
    expect(lookup(ns, '10.5.1.1')).toBe(-22)
    const fl = new Flowi4()
    fl.daddr = ip('10.6.0.1')
    expect(ipRouteOutput(ns, fl)).toBeNull()
    expect(routeErrno()).toBe(ENETUNREACH)
  })

  it('keeps one decision per nexthop until something changes', () => {
    const ns = host()
    const route = (): object | null => {
      const fl = new Flowi4()
      fl.daddr = ip('10.0.0.9')
      return ipRouteOutput(ns, fl)
    }
    const first = route()
    expect(route()).toBe(first)
    ns.fib.flushCache()
    expect(route()).not.toBe(first)
  })
})

describe('multipath', () => {
  it('spreads the hash space over nexthops by weight', () => {
    const ns = host()
    const dev = ns.devices.get('d0')!
    const nexthops = [
      { dev, via: ip('10.0.0.2'), weight: 1 },
      { dev, via: ip('10.0.0.3'), weight: 3 },
    ]
    expect(ns.fib.addRoute({ dst: ip('10.8.0.0'), prefixLength: 16, nexthops })).toBe(0)
    const res = lookup(ns, '10.8.1.1') as FibResult
    const bounds = res.route!.nexthops.map((nh) => nh.upperBound)
    expect(bounds).toEqual([2 ** 29 - 1, 2 ** 31 - 1])
    const at = (hash: number): number => {
      fibSelectMultipath(res, hash, 0)
      return res.nh!.gateway
    }
    expect(at(0)).toBe(ip('10.0.0.2'))
    expect(at(2 ** 29 - 1)).toBe(ip('10.0.0.2'))
    expect(at(2 ** 29)).toBe(ip('10.0.0.3'))
    expect(at(2 ** 31 - 1)).toBe(ip('10.0.0.3'))
  })
})

describe('inet_peer_xrlim_allow', () => {
  it('lets six through at once, then one per timeout', () => {
    const peer = new InetPeer(1000 * HZ)
    const allowed = (now: number): number => {
      let n = 0
      while (inetPeerXrlimAllow(peer, now, HZ)) n++
      return n
    }
    expect(allowed(1000 * HZ)).toBe(6)
    expect(allowed(1000 * HZ + HZ - 1)).toBe(0)
    expect(allowed(1000 * HZ + HZ)).toBe(1)
    expect(allowed(1100 * HZ)).toBe(6)
  })
})
