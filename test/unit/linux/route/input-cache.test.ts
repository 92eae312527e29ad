/**
 * The cache of input decisions against the lookup that it saves: whatever is written to routes, rules, addresses, devices
 * and settings, a cached answer is the one that the walk through the tables gives. A tracer switches the cache off.
 */
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { inetAddrAdd } from '../../../../src/linux/device/inet.ts'
import { createDummy, setUp } from '../../../../src/linux/device/ops.ts'
import type { Netns } from '../../../../src/linux/netns.ts'
import { InputCache } from '../../../../src/linux/route/input-cache.ts'
import { ipRouteInput, type Rtable } from '../../../../src/linux/route/route.ts'
import { sysctlSet } from '../../../../src/linux/sysctl.ts'
import { ip as ipTool } from '../../../../src/linux/tools/ip.ts'
import type { Tracer } from '../../../../src/linux/trace.ts'
import { World } from '../../../../src/linux/world.ts'
import { ETH_P_IP, M_DEV, M_FLAGS, M_MARK, M_NH, M_PROTO, META_SHIFT } from '../../../../src/packet/layout.ts'

const DEVICES = ['d0', 'd1', 'd2']
const ADDRESSES = ['10.0.0.1', '10.0.0.2', '10.0.1.1', '10.0.1.9', '10.1.2.3', '192.168.0.7', '127.0.0.1', '0.0.0.0']
const PREFIXES = ['10.0.0.0/24', '10.0.1.0/24', '10.0.1.9/32', '10.1.0.0/16', '192.168.0.0/16', 'default']
const OFF: Tracer = { wantMisses: false, step: () => {} }

function ipv4(text: string): number {
  return text.split('.').reduce((a, p) => (a << 8) | Number(p), 0) | 0
}

function router(): Netns {
  const ns = new World().addNetns('r')
  setUp(ns.lo)
  DEVICES.forEach((name, i) => {
    const dev = createDummy(ns, name)
    setUp(dev)
    inetAddrAdd(dev, { ip: ipv4(`10.0.${i}.1`), prefixLength: 24 })
  })
  sysctlSet(ns, 'net.ipv4.ip_forward', '1')
  return ns
}

interface Ask {
  readonly dst: string
  readonly src: string
  readonly tos: number
  readonly mark: number
  readonly dev: string
}

/** One lookup: the reason, the decision, and the flag that a decision leaves on the packet. */
function decide(ns: Netns, q: Ask, cached: boolean): { reason: number; rt: Rtable | null; flags: number } {
  const w = ns.world
  const slot = w.arena.alloc(64)
  const m = slot << META_SHIFT
  const dev = ns.devices.get(q.dev)!
  w.arena.meta[m + M_DEV] = dev.id
  w.arena.meta[m + M_PROTO] = ETH_P_IP
  w.arena.meta[m + M_MARK] = q.mark
  w.arena.bytes.fill(0, w.arena.meta[m + M_NH], w.arena.meta[m + M_NH]! + 64)
  w.tracer = cached ? null : OFF
  const reason = ipRouteInput(w, ns, slot, ipv4(q.dst), ipv4(q.src), q.tos, dev)
  w.tracer = null
  const rt = reason === 0 ? (w.arena.dst[slot] as Rtable) : null
  const flags = w.arena.meta[m + M_FLAGS]!
  w.arena.free(slot)
  return { reason, rt, flags }
}

/** What of a decision decides about a packet. */
function shown(d: { reason: number; rt: Rtable | null; flags: number }): unknown {
  const { rt } = d
  if (rt === null) return { reason: d.reason, flags: d.flags }
  const { type, input, output, error, hasGateway, gateway, usesGateway, table } = rt
  const way = { type, input, output, error, hasGateway, gateway, usesGateway, table, dev: rt.dev.name, mtu: rt.mtu() }
  return { reason: 0, flags: d.flags, ...way }
}

const ask = fc.record({
  dst: fc.constantFrom(...ADDRESSES),
  src: fc.constantFrom(...ADDRESSES),
  tos: fc.constantFrom(0, 0x10, 0xb8),
  mark: fc.constantFrom(0, 1),
  dev: fc.constantFrom(...DEVICES),
})
const dev = fc.constantFrom(...DEVICES)
const prefix = fc.constantFrom(...PREFIXES)
const route = fc.tuple(
  fc.constantFrom('add', 'del', 'replace', 'append'),
  prefix,
  dev,
  fc.constantFrom('', ' metric 7'),
)
const write = fc.oneof(
  route.map(([verb, p, d, m]) => `ip route ${verb} ${p} dev ${d}${m}`),
  fc
    .tuple(fc.constantFrom('add', 'replace'), prefix, fc.constantFrom('10.0.0.9', '10.0.1.8', '10.0.2.2'))
    .map(([verb, p, via]) => `ip route ${verb} ${p} via ${via}`),
  fc
    .tuple(fc.constantFrom('add', 'del'), fc.constantFrom('blackhole', 'unreachable', 'prohibit'), prefix)
    .map(([verb, type, p]) => `ip route ${verb} ${type} ${p} metric 3`),
  prefix.map((p) => `ip route replace ${p} nexthop via 10.0.0.9 nexthop via 10.0.1.8`),
  fc
    .tuple(fc.constantFrom('add', 'del'), fc.constantFrom('10.0.1.9/24', '10.1.2.3/16', '192.168.0.7/32'), dev)
    .map(([verb, a, d]) => `ip addr ${verb} ${a} dev ${d}`),
  fc.tuple(dev, fc.constantFrom('up', 'down', 'mtu 1400', 'mtu 1500')).map(([d, s]) => `ip link set ${d} ${s}`),
  fc
    .tuple(
      fc.constantFrom('add', 'del'),
      fc.constantFrom('fwmark 1 lookup 100', 'from 10.1.2.3 lookup 100', 'tos 0x10 lookup 100'),
    )
    .map(([verb, rule]) => `ip rule ${verb} ${rule}`),
  fc.tuple(prefix, dev).map(([p, d]) => `ip route replace ${p} dev ${d} table 100`),
  fc
    .tuple(
      fc.constantFrom('all', 'default', ...DEVICES),
      fc.constantFrom(
        'rp_filter',
        'forwarding',
        'accept_local',
        'send_redirects',
        'route_localnet',
        'shared_media',
        'src_valid_mark',
      ),
      fc.constantFrom(0, 1, 2),
    )
    .map(([d, name, v]) => `sysctl net.ipv4.conf.${d}.${name} ${v}`),
  fc.constantFrom(0, 1).map((v) => `sysctl net.ipv4.ip_forward ${v}`),
)

function apply(ns: Netns, text: string): void {
  const [tool, ...rest] = text.split(' ')
  if (tool === 'ip') ipTool(ns, rest)
  else sysctlSet(ns, rest[0]!, rest[1]!)
}

describe('InputCache', () => {
  it('answers what the tables answer, after any writes', () => {
    let hits = 0
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.array(write, { maxLength: 2 }), ask), { minLength: 4, maxLength: 30 }),
        (steps) => {
          const ns = router()
          const asked: Ask[] = []
          for (const [writes, q] of steps) {
            asked.push(q)
            for (const text of writes) apply(ns, text)
            for (const old of asked) {
              const key = [ipv4(old.dst), ipv4(old.src), old.tos & 0xfc, ns.devices.get(old.dev)!.id, old.mark] as const
              if (ns.fib.inputCache.find(ns.fib.genid, ...key) !== null) hits++
              expect([old, shown(decide(ns, old, true))]).toEqual([old, shown(decide(ns, old, false))])
            }
          }
        },
      ),
      { numRuns: 150 },
    )
    // else nothing was compared with a cached answer
    expect(hits).toBeGreaterThan(300)
  })

  it('knows a decision by every part of its key', () => {
    const ns = router()
    const q: Ask = { dst: '10.0.1.9', src: '10.0.0.2', tos: 0, mark: 0, dev: 'd0' }
    const { rt } = decide(ns, q, true)
    const cache = new InputCache()
    const key = [5, ipv4(q.dst), ipv4(q.src), 0, 3, 0] as const
    cache.store(...key, rt!)
    expect(cache.find(...key)).toBe(rt)
    for (let i = 0; i < key.length; i++) {
      const other = key.map((v, k) => (k === i ? v + 1 : v)) as [number, number, number, number, number, number]
      expect(cache.find(...other)).toBeNull()
    }
  })
})
