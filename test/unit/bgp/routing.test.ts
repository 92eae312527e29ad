/**
 * Who gets which route with which attributes: reflection, external neighbours, next hops, filters, ECMP, restarts.
 */
import { describe, expect, it } from '@jest/globals'
import type { BgpPeerSpec, BgpSpeakerSpec } from '../../../src/bgp/config.ts'
import type { Speaker } from '../../../src/bgp/speaker.ts'
import { bgpState } from '../../../src/bgp/state.ts'
import { encodeMessage, INITIAL_CONTEXT } from '../../../src/wire/bgp.ts'
import { BgpLab, mockOpen } from '../../support/bgp-lab.ts'

type Kernel = ReturnType<BgpLab['speaker']>['kernel']
interface Node {
  readonly speaker: Speaker
  readonly kernel: Kernel
}

const ip = (n: number): string => `10.0.0.${n}`

/** Speakers 1, 2 ... with their AS; `links` are pairs with what either side says of the other. */
function fabric(
  asns: readonly number[],
  links: readonly (readonly [a: number, b: number, ofB?: Partial<BgpPeerSpec>, ofA?: Partial<BgpPeerSpec>])[],
  specs: { readonly [n: number]: Partial<BgpSpeakerSpec> } = {},
): { lab: BgpLab; nodes: Node[]; at: (n: number) => Node } {
  const lab = new BgpLab()
  const peers: BgpPeerSpec[][] = asns.map(() => [])
  for (const [a, b, ofB, ofA] of links) {
    const timers = { connectDelayTime: 1, connectRetryTime: 2, errorWaitTime: [1, 2] as const }
    peers[a - 1]!.push({ ...timers, address: ip(b), asn: asns[b - 1]!, passive: true, ...ofB })
    peers[b - 1]!.push({ ...timers, address: ip(a), asn: asns[a - 1]!, ...ofA })
  }
  const nodes = asns.map((asn, i) =>
    lab.speaker(ip(i + 1), BgpLab.spec(`s${i + 1}`, asn, ip(i + 1), peers[i]!, specs[i + 1] ?? {})),
  )
  for (const n of nodes) n.speaker.start()
  lab.run(6000)
  return { lab, nodes, at: (n) => nodes[n - 1]! }
}

/** Best paths as `prefix via next hop [path]`. */
const best = (n: Node): string[] =>
  bgpState(n.speaker)
    .rib.filter((r) => r.best)
    .map((r) => `${r.prefix} via ${r.nextHop ?? 'own'} [${r.asPath.join(' ')}]`)

const route = (n: number): Partial<BgpSpeakerSpec> => ({ routes: [{ prefix: `10.${n}.0.0/16` }] })
const attributesAt = (n: Node, prefix: string): object => {
  const { rib, store } = n.speaker
  return store.sets[rib.attributes(rib.first(store.prefixId(prefix)))]!.attributes
}

describe('route reflection', () => {
  const client = { routeReflectorClient: true }
  it('passes clients routes to all, others to clients only, and says where they came from', () => {
    // 1 reflector; 2, 3 clients; 4, 5 not
    const { at } = fabric(
      [1, 1, 1, 1, 1],
      [
        [1, 2, client],
        [1, 3, client],
        [1, 4],
        [1, 5],
      ],
      { 1: { clusterId: '244.0.0.1' }, 2: route(2), 4: route(4) },
    )
    expect(best(at(3))).toEqual(['10.2.0.0/16 via 10.0.0.2 []', '10.4.0.0/16 via 10.0.0.4 []'])
    expect(best(at(5))).toEqual(['10.2.0.0/16 via 10.0.0.2 []'])
    expect(attributesAt(at(3), '10.2.0.0/16')).toMatchObject({
      originatorId: ip(2),
      clusterList: ['244.0.0.1'],
      localPref: 100,
    })
    expect(at(2).speaker.rib.count).toBe(2)
  })

  it('does not loop: reflectors of one cluster drop what the other reflected', () => {
    const { at, lab } = fabric(
      [1, 1, 1],
      [
        [1, 2],
        [1, 3, client],
        [2, 3, client],
      ],
      { 1: { clusterId: '9.9.9.9' }, 2: { clusterId: '9.9.9.9' }, 3: route(3) },
    )
    expect([best(at(1)), best(at(2))]).toEqual(Array(2).fill(['10.3.0.0/16 via 10.0.0.3 []']))
    expect(at(1).speaker.rib.count).toBe(1)
    const updates = lab.network.updates
    lab.run(60_000)
    expect(lab.network.updates).toBe(updates)
  })
})

describe('external neighbours', () => {
  it('get the own AS in front, the own next hop, no LOCAL_PREF and no MED of others', () => {
    const { at } = fabric(
      [1, 2, 3],
      [
        [1, 2],
        [2, 3],
      ],
      { 1: { routes: [{ prefix: '10.1.0.0/16', med: 5, communities: ['1:7'] }] } },
    )
    expect(best(at(3))).toEqual(['10.1.0.0/16 via 10.0.0.2 [2 1]'])
    expect(attributesAt(at(2), '10.1.0.0/16')).toMatchObject({ med: 5, nextHop: ip(1) })
    expect(attributesAt(at(3), '10.1.0.0/16')).not.toHaveProperty('med')
    expect(attributesAt(at(3), '10.1.0.0/16')).not.toHaveProperty('localPref')
    expect(bgpState(at(3).speaker).rib[0]!.communities).toEqual(['1:7'])
  })

  it('of racks with one AS drop each others routes, unless the own AS may stand in the path', () => {
    const tors = [1, 2] as const
    for (const [allowAsIn, want] of [
      [0, []],
      [1, ['10.3.0.0/16 via 10.0.0.2 [100 64512]']],
    ] as const) {
      const { at } = fabric(
        [64512, 100, 64512],
        [
          [tors[0], tors[1], { allowAsIn }],
          [2, 3],
        ],
        { 3: route(3) },
      )
      expect(best(at(1))).toEqual(want)
    }
  })

  it('keep a next hop that is told to stay, and a local AS may differ', () => {
    const keep = fabric(
      [1, 2, 3],
      [
        [1, 2],
        [2, 3, { nextHopKeep: true }],
      ],
      { 1: route(1) },
    )
    expect(best(keep.at(3))).toEqual(['10.1.0.0/16 via 10.0.0.1 [2 1]'])
    const local = fabric([1, 2], [[1, 2, { localAsn: 77 }, { asn: 77 }]], { 1: route(1) })
    expect(best(local.at(2))).toEqual(['10.1.0.0/16 via 10.0.0.1 [77]'])
  })

  it('learn nothing that says no-export or no-advertise', () => {
    const { at } = fabric(
      [1, 1, 2],
      [
        [1, 2],
        [2, 3],
      ],
      {
        1: { routes: [{ prefix: '10.1.0.0/16', communities: ['65535:65281'] }, { prefix: '10.2.0.0/16' }] },
        2: { routes: [{ prefix: '10.9.0.0/16', communities: ['65535:65282'] }] },
      },
    )
    expect(best(at(2))).toHaveLength(3)
    expect(best(at(3))).toEqual(['10.2.0.0/16 via 10.0.0.2 [1]'])
    expect(best(at(1)).some((l) => l.startsWith('10.9'))).toBe(false)
  })
})

describe('next hops inside an AS', () => {
  it.each([
    [undefined, ip(3)],
    ['on', ip(2)],
    ['ebgp', ip(2)],
  ] as const)('next-hop-self %s', (nextHopSelf, hop) => {
    // 1 internal of 2, 3 external of 2
    const { at } = fabric(
      [1, 1, 3],
      [
        [1, 2, {}, nextHopSelf === undefined ? {} : { nextHopSelf }],
        [2, 3],
      ],
      { 3: route(3) },
    )
    expect(best(at(1))).toEqual([`10.3.0.0/16 via ${hop} [3]`])
  })
})

describe('filters', () => {
  it('import and export see prefixes, paths, communities, sources; terms go on until one decides', () => {
    const exportPolicy = {
      name: 'out',
      default: 'accept' as const,
      terms: [
        { match: { prefixes: [{ cidr: '10.1.0.0/16', ge: 25, le: 32 }] }, action: 'reject' as const },
        {
          match: { sources: ['static' as const] },
          set: { addCommunities: ['1:1', '1:2:3'], prepend: [1, 1] },
          action: 'next' as const,
        },
        { match: { notPrefixes: [{ cidr: '10.1.0.0/16', le: 32 }] }, set: { med: 9 }, action: 'accept' as const },
      ],
    }
    const importPolicy = {
      name: 'in',
      default: 'accept' as const,
      terms: [
        {
          match: { asPathPrefix: [1, 1, 1], communities: ['1:2:3'], prefixes: [{ cidr: '10.8.0.0/16' }] },
          action: 'reject' as const,
        },
        { match: { family: 4 as const }, set: { localPref: 300 }, action: 'accept' as const },
      ],
    }
    const routes = ['10.1.0.0/16', '10.1.7.0/26', '10.7.0.0/16', '10.8.0.0/16'].map((prefix) => ({ prefix }))
    const { at } = fabric([1, 2], [[1, 2, { export: exportPolicy }, { import: importPolicy }]], { 1: { routes } })
    expect(best(at(2))).toEqual(['10.1.0.0/16 via 10.0.0.1 [1 1 1]', '10.7.0.0/16 via 10.0.0.1 [1 1 1]'])
    expect(attributesAt(at(2), '10.1.0.0/16')).toMatchObject({ localPref: 300 })
    expect(attributesAt(at(2), '10.7.0.0/16')).toMatchObject({ med: 9, largeCommunities: [[1, 2, 3]] })
  })

  it('install puts routes on a tunnel or leaves them out', () => {
    const filter = {
      name: 'kernel',
      default: 'accept' as const,
      terms: [
        {
          match: { prefixes: [{ cidr: '10.1.0.0/16' }] },
          set: { tunnel: 'tunl0', metric: 7 },
          action: 'accept' as const,
        },
        { match: { nextHopIn: ['10.0.0.0/24'] }, action: 'reject' as const },
      ],
    }
    const routes = [{ prefix: '10.1.0.0/16' }, { prefix: '10.2.0.0/16' }]
    const { at } = fabric([1, 1], [[1, 2]], { 1: { routes }, 2: { install: { filter, metric: 0 } } })
    expect([...at(2).kernel.values()]).toEqual([
      {
        prefix: '10.1.0.0/16',
        protocol: 'bird',
        nextHops: [{ address: ip(1), tunnel: 'tunl0' }],
        blackhole: false,
        metric: 7,
      },
    ])
  })
})

describe('several paths', () => {
  const three = [
    [1, 4],
    [2, 4],
    [3, 4],
  ] as const
  const anycast = { routes: [{ prefix: '203.0.113.10/32' }] }
  it.each([
    [1, [ip(1)]],
    // which of the others is BIRD's list order: not promised
    [2, [ip(1), expect.any(String)]],
    [16, [ip(1), ip(2), ip(3)]],
  ])('merge paths with at most %s', (maxPaths, hops) => {
    const { at, lab } = fabric([1, 1, 1, 9], three, {
      1: anycast,
      2: anycast,
      3: anycast,
      4: { install: { maxPaths } },
    })
    expect(
      at(4)
        .kernel.get('203.0.113.10/32')!
        .nextHops.map((n) => n.address),
    ).toEqual(hops)
    at(1).speaker.stop()
    lab.run(100)
    expect(
      at(4)
        .kernel.get('203.0.113.10/32')!
        .nextHops.map((n) => n.address),
    ).not.toContain(ip(1))
  })

  it('ADD-PATH tells all of them, and takes back each', () => {
    const on = { addPaths: 'on' as const, routeReflectorClient: true }
    const { at, lab } = fabric(
      [1, 1, 1, 1],
      [
        [3, 1, on, on],
        [3, 2, on, on],
        [3, 4, on, on],
      ],
      { 1: anycast, 2: anycast },
    )
    expect(
      bgpState(at(4).speaker)
        .rib.map((r) => r.nextHop)
        .sort(),
    ).toEqual([ip(1), ip(2)])
    at(1).speaker.withdraw('203.0.113.10/32')
    lab.run(100)
    expect(bgpState(at(4).speaker).rib.map((r) => r.nextHop)).toEqual([ip(2)])
  })

  it('three thousand routes fit into messages of 4,096 bytes', () => {
    const routes = Array.from({ length: 3000 }, (_, i) => ({ prefix: `10.${i >> 8}.${i & 255}.0/24` }))
    const { at, lab } = fabric([1, 2], [[1, 2]], { 1: { routes } })
    expect(at(2).speaker.rib.count).toBe(3000)
    const c = lab.mock(ip(2))
    at(2).speaker.kill()
    lab.run(2000)
    const mock = c.establish(ip(1), 2, ip(2))
    lab.run(2000)
    const updates = mock.messages.filter((m) => m.type === 'UPDATE')
    expect(mock.routes.size).toBe(3000)
    expect(updates.length).toBeLessThan(8)
    for (const u of updates)
      expect(encodeMessage(u, { ...INITIAL_CONTEXT, as4: true }).length).toBeLessThanOrEqual(4096)
  })
})

describe('restarts and silence', () => {
  const on = { gracefulRestart: 'on' as const, restartTime: 12, holdTime: 9 }
  const has = (n: Node): boolean => n.kernel.has('10.2.0.0/16')
  const pair = (
    mine: Partial<BgpPeerSpec>,
    theirs: Partial<BgpPeerSpec>,
    implementation: 'bird' | 'frr' | 'gobgp' = 'bird',
  ): ReturnType<typeof fabric> => fabric([1, 1], [[1, 2, mine, theirs]], { 2: { ...route(2), implementation } })

  it('killed without graceful restart: gone at once', () => {
    const { at, lab } = pair({ gracefulRestart: 'off' }, { gracefulRestart: 'off' })
    at(2).speaker.kill()
    lab.run(50)
    expect(has(at(1))).toBe(false)
  })

  it('killed with it: stale until the restart time is over', () => {
    const { at, lab } = pair(on, on)
    at(2).speaker.kill()
    lab.run(11_000)
    expect([has(at(1)), bgpState(at(1).speaker).rib[0]!.stale]).toEqual([true, true])
    lab.run(2000)
    expect(has(at(1))).toBe(false)
  })

  it('a cut link: the hold timer, and at once behind it', () => {
    const { at, lab } = pair(on, on)
    lab.network.cut(ip(1), ip(2), true)
    lab.run(6000)
    expect(has(at(1))).toBe(true)
    lab.run(4000)
    expect(has(at(1))).toBe(false)
  })

  it('a cut link to FRR, which knows long-lived graceful restart: hold timer and restart time', () => {
    const { at, lab } = pair({ ...on, gracefulRestart: 'aware' }, { ...on, gracefulRestart: 'aware' }, 'frr')
    lab.network.cut(ip(1), ip(2), true)
    lab.run(9500)
    expect(has(at(1))).toBe(true)
    lab.run(13_000)
    expect(has(at(1))).toBe(false)
  })

  it('a refresh of BIRD is framed, and what is not told again goes', () => {
    const { at, lab } = pair({}, {})
    const mock = lab.mock(ip(2))
    at(2).speaker.kill()
    lab.run(3000)
    const c = mock.establish(ip(1), 1, ip(2), {
      capabilities: [...mockOpen(1, ip(2)).capabilities, { kind: 'enhanced-refresh' }],
    })
    lab.run(1000)
    const before = c.messages.length
    c.send({ type: 'ROUTE-REFRESH', afi: 1, safi: 1, subtype: 0 })
    lab.run(100)
    expect(
      c.messages
        .slice(before)
        .map((m) => (m.type === 'ROUTE-REFRESH' ? m.subtype : m.type))
        .filter((w) => w !== 'KEEPALIVE'),
    ).toEqual([1, 2])
  })
})
