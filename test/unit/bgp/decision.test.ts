import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import type { BgpImplementation } from '../../../src/bgp/config.ts'
import { AS_SEQUENCE } from '../../../src/wire/bgp.ts'
import { announce, BgpLab, type MockConnection } from '../../support/bgp-lab.ts'

interface Attributes {
  readonly lp?: number
  readonly path?: readonly number[]
  readonly origin?: number
  readonly med?: number
  readonly orig?: string
  readonly cl?: readonly string[]
  readonly pfx?: string
}

const CASES = JSON.parse(readFileSync('test/fixtures/bgp/decision.json', 'utf8')) as {
  readonly tests: readonly (readonly [string, readonly (readonly [string, Attributes])[]])[]
  readonly winner: { readonly [name: string]: { readonly [kind in BgpImplementation]: string | null } }
}
const PEERS = [
  ['A', 64512, 30],
  ['B', 64512, 31],
  ['C', 64700, 40],
  ['D', 64700, 41],
  ['E', 64701, 42],
] as const
const DAEMON = '192.168.1.20'

describe.each(['bird', 'frr', 'gobgp'] as const)('the decision process of %s', (implementation) => {
  const lab = new BgpLab()
  const { speaker } = lab.speaker(
    DAEMON,
    BgpLab.spec(
      implementation,
      64512,
      '10.0.0.20',
      PEERS.map(([, asn, n]) => ({ address: `192.168.1.${n}`, asn, passive: true })),
      { implementation, routes: [{ prefix: '10.244.1.0/26' }] },
    ),
  )
  speaker.start()
  const connections = new Map<string, MockConnection>()
  for (const [name, asn, n] of PEERS) {
    connections.set(name, lab.mock(`192.168.1.${n}`).establish(DAEMON, asn, `10.0.0.${n}`))
  }
  lab.run(3000)

  it('has sessions with all five neighbours', () => {
    expect(speaker.peers.map((p) => p.state)).toEqual(Array(5).fill('Established'))
  })

  it.each(CASES.tests.map(([name, routes], i) => [name, routes, i] as const))('%s', (name, routes, i) => {
    let prefix = `10.77.${i}.0/24`
    for (const [who, a] of routes) {
      const [, asn, n] = PEERS.find(([p]) => p === who)!
      const isInternal = asn === 64512
      const path = [...(isInternal ? [] : [asn]), ...(a.path ?? [])]
      prefix = a.pfx ?? prefix
      connections.get(who)!.send(
        announce(prefix, {
          origin: a.origin ?? 0,
          asPath: path.length === 0 ? [] : [{ type: AS_SEQUENCE, asns: path }],
          nextHop: `192.168.1.${n}`,
          ...(isInternal ? { localPref: a.lp ?? 100 } : {}),
          ...(a.med === undefined ? {} : { med: a.med }),
          ...(a.orig === undefined ? {} : { originatorId: a.orig }),
          ...(a.cl === undefined ? {} : { clusterList: a.cl }),
        }),
      )
      lab.run(1200)
    }
    const id = speaker.store.prefixId(prefix)
    const best = speaker.rib.first(id)
    const index = best < 0 ? -1 : speaker.rib.peer(best)
    const winner = index < 0 ? null : index === 0 ? 'own' : PEERS[index - 1]![0]
    const recorded = CASES.winner[name]![implementation]
    expect(winner).toBe(recorded === null ? null : recorded.replace(/[ (].*/, ''))
    // FRR says which step decided
    const step = /\((.*)\)/.exec(recorded ?? '')?.[1]
    if (implementation === 'frr' && step !== undefined) {
      expect(speaker.reasonOverSecond(prefix)).toBe(step === 'Weight' ? 'Local Route' : step)
    }
  })
})
