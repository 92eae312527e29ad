import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import {
  AS_SEQUENCE,
  type AttributeFaultKind,
  type BgpCapability,
  type BgpMessage,
  BgpStream,
  type BgpUpdate,
  type CodecContext,
  decodeMessage,
  encodeMessage,
  INITIAL_CONTEXT,
  notificationName,
  type PathAttributes,
} from '../../../src/wire/bgp.ts'
import { viewOf } from '../../../src/wire/view.ts'
import { contextOf, fromHex, type RecordedMessage, recordings, toHex, wordsOf } from '../../support/bgp-recordings.ts'

const AS4: CodecContext = { ...INITIAL_CONTEXT, as4: true, ibgp: true }

function decode(bytes: Uint8Array, ctx: CodecContext): ReturnType<typeof decodeMessage> {
  const s = new BgpStream()
  s.push(bytes)
  const m = s.next(ctx)
  if (m === null) throw new Error('incomplete')
  return m
}

describe('recorded messages of BIRD, FRR and GoBGP', () => {
  const all = recordings()

  it('are many', () => {
    expect(all.length).toBeGreaterThanOrEqual(18)
    expect(all.flatMap((r) => r.messages).filter((m) => m.hex !== undefined).length).toBeGreaterThan(200)
  })

  it.each(all.map((r) => [r.name, r.messages] as const))('%s is read and written again', (_name, messages) => {
    const opens = new Map<string, RecordedMessage>()
    for (const m of messages) {
      if (m.hex === undefined) continue
      if (m.type === 'OPEN') opens.set(`${m.from}>${m.to}`, m)
      const mine = opens.get(`${m.from}>${m.to}`) ?? m
      const ctx = m.type === 'OPEN' ? INITIAL_CONTEXT : contextOf(mine, opens.get(`${m.to}>${m.from}`))
      const bytes = fromHex(m.hex)
      const message = decode(bytes, ctx)
      expect(message.type).toBe(m.type)
      const want = Object.fromEntries(Object.keys(wordsOf(message)).map((k) => [k, m[k]]))
      expect(wordsOf(message)).toEqual(want)
      expect(message.type === 'UPDATE' ? message.faults : undefined).toBeUndefined()
      expect(toHex(encodeMessage(message as BgpMessage, ctx))).toBe(m.hex)
    }
  })
})

const u32 = fc.integer({ min: 0, max: 0xffffffff })
const ipv4 = fc.ipV4().filter((ip) => !/^(0|127|22[4-9]|2[345]\d)\./.test(ip))
const prefix4 = fc.tuple(u32, fc.integer({ min: 0, max: 32 })).map(([ip, n]) => {
  const net = n === 0 ? 0 : (ip & (-1 << (32 - n))) >>> 0
  return `${net >>> 24}.${(net >>> 16) & 255}.${(net >>> 8) & 255}.${net & 255}/${n}`
})
const attributes = fc.record(
  {
    origin: fc.integer({ min: 0, max: 2 }),
    asPath: fc.array(fc.record({ type: fc.constantFrom(1, 2), asns: fc.array(u32, { minLength: 1, maxLength: 20 }) }), {
      maxLength: 3,
    }),
    nextHop: ipv4,
    med: u32,
    localPref: u32,
    aggregator: fc.record({ asn: u32, address: ipv4 }),
    communities: fc.array(u32, { minLength: 1, maxLength: 70 }),
    originatorId: ipv4,
    clusterList: fc.array(ipv4, { minLength: 1, maxLength: 3 }),
    extendedCommunities: fc.array(
      u32.map((v) => `0002fde8${v.toString(16).padStart(8, '0')}`),
      { minLength: 1, maxLength: 3 },
    ),
    largeCommunities: fc.array(fc.tuple(u32, u32, u32), { minLength: 1, maxLength: 3 }),
    others: fc.constant([{ flags: 0xe0, type: 99, data: Uint8Array.of(1, 2, 3) }]),
  },
  { requiredKeys: ['origin', 'asPath', 'nextHop', 'localPref'] },
) as fc.Arbitrary<PathAttributes>

describe('round trips', () => {
  it.each([true, false])('an UPDATE with any attributes comes back (four-byte AS numbers: %s)', (as4) => {
    fc.assert(
      fc.property(attributes, fc.array(prefix4, { minLength: 1, maxLength: 30 }), fc.boolean(), (a, list, addPath) => {
        const ctx = { ...AS4, as4, addPath: { ipv4: addPath, ipv6: false } }
        const nlri = list.map((prefix, i) => (addPath ? { prefix, pathId: i * 77 } : { prefix }))
        // RFC 6793 cannot tell where an AS_SET of a two-byte speaker ends: sequences only
        const path = as4 ? a.asPath : a.asPath.flatMap((s) => s.asns)
        const asPath = as4
          ? a.asPath
          : path.length === 0
            ? []
            : [{ type: AS_SEQUENCE, asns: (path as number[]).filter((n) => n !== 23456) }]
        const sent = { ...a, asPath: asPath.filter((s) => s.asns.length > 0) }
        const m: BgpUpdate = {
          type: 'UPDATE',
          unreach: [{ family: 'ipv4', mp: false, nlri }],
          reach: [{ family: 'ipv4', mp: false, nextHop: a.nextHop!, nlri }],
          attributes: sent,
        }
        expect(decode(encodeMessage(m, ctx), ctx)).toEqual(m)
      }),
      { seed: 5, numRuns: 300 },
    )
  })

  it('IPv6 routes travel in MP_REACH_NLRI with both next hops, and IPv4 ones with an IPv6 next hop', () => {
    const ctx = { ...AS4, addPath: { ipv4: false, ipv6: true } }
    for (const [family, nlri] of [
      [
        'ipv6',
        [
          { prefix: '2001:db8:5::/48', pathId: 7 },
          { prefix: '::/0', pathId: 1 },
        ],
      ],
      ['ipv4', [{ prefix: '10.9.0.0/16' }]],
    ] as const) {
      const m: BgpUpdate = {
        type: 'UPDATE',
        unreach: [{ family, mp: true, nlri }],
        reach: [{ family, mp: true, nextHop: '2001:db8::1', linkLocal: 'fe80::1', nlri }],
        attributes: { origin: 0, asPath: [], localPref: 100, nextHop: '2001:db8::1', linkLocal: 'fe80::1' },
      }
      expect(decode(encodeMessage(m, ctx), ctx)).toEqual(m)
    }
    const end: BgpUpdate = { type: 'UPDATE', unreach: [], reach: [], attributes: null, endOfRib: 'ipv6' }
    expect(decode(encodeMessage(end, ctx), ctx)).toEqual(end)
  })

  it('capabilities in one parameter, in many, and longer than 255 bytes (RFC 9072)', () => {
    const caps: BgpCapability[] = [
      { kind: 'multiprotocol', afi: 2, safi: 1 },
      { kind: 'long-lived-graceful-restart', families: [{ afi: 1, safi: 1, forwarding: true, staleTime: 0x12345 }] },
      { kind: 'extended-next-hop', families: [{ afi: 1, safi: 1, nextHopAfi: 2 }] },
      { kind: 'unknown', code: 200, data: Uint8Array.of(9) },
    ]
    const long: BgpCapability = { kind: 'unknown', code: 201, data: new Uint8Array(200) }
    for (const capabilities of [[], caps, [...caps, long, long]]) {
      for (const parameterEach of capabilities.length === 0 ? [undefined] : [undefined, true as const]) {
        const m: BgpMessage = {
          type: 'OPEN',
          version: 4,
          asn: 23456,
          holdTime: 90,
          routerId: '10.0.0.1',
          capabilities,
          ...(parameterEach === undefined ? {} : { parameterEach }),
        }
        expect(decode(encodeMessage(m, INITIAL_CONTEXT), INITIAL_CONTEXT)).toEqual(m)
      }
    }
  })
})

/** An UPDATE of raw attribute bytes for 10.9.0.0/16. */
function update(...attrs: string[]): Uint8Array {
  const list = fromHex(attrs.join(''))
  const length = 23 + list.length + 3
  return Uint8Array.of(
    ...new Uint8Array(16).fill(255),
    ...[length >> 8, length & 255, 2, 0, 0, list.length >> 8, list.length & 255],
    ...list,
    ...[16, 10, 9],
  )
}

const ORIGIN = '40010100'
const PATH = '400200'
const NEXT_HOP = '400304c0a80101'
const PREF = '40050400000064'

describe('faults of attributes (RFC 7606)', () => {
  it.each<[string, string[], AttributeFaultKind, 'withdraw' | 'discard' | 'reset', number]>([
    ['no ORIGIN', [PATH, NEXT_HOP, PREF], 'missing-origin', 'withdraw', 3],
    ['no AS_PATH', [ORIGIN, NEXT_HOP, PREF], 'missing-as-path', 'withdraw', 3],
    ['no NEXT_HOP', [ORIGIN, PATH, PREF], 'missing-next-hop', 'withdraw', 3],
    ['no LOCAL_PREF from an internal peer', [ORIGIN, PATH, NEXT_HOP], 'missing-local-pref', 'withdraw', 3],
    ['ORIGIN 7', ['40010107', PATH, NEXT_HOP, PREF], 'invalid-origin', 'withdraw', 6],
    ['ORIGIN of two bytes', ['4001020000', PATH, NEXT_HOP, PREF], 'attribute-length', 'withdraw', 5],
    ['ORIGIN with the optional flag', ['c0010100', PATH, NEXT_HOP, PREF], 'attribute-flags', 'withdraw', 4],
    ['ORIGIN twice', [ORIGIN, ORIGIN, PATH, NEXT_HOP, PREF], 'duplicate', 'discard', 1],
    ['a segment that is cut off', [ORIGIN, '4002060202000000fd', NEXT_HOP, PREF], 'malformed-as-path', 'withdraw', 11],
    ['an empty segment', [ORIGIN, '4002020200', NEXT_HOP, PREF], 'malformed-as-path', 'withdraw', 11],
    ['next hop 0.0.0.0', [ORIGIN, PATH, '40030400000000', PREF], 'invalid-next-hop', 'withdraw', 8],
    ['COMMUNITIES of 5 bytes', [ORIGIN, PATH, NEXT_HOP, PREF, 'c008050102030405'], 'attribute-length', 'withdraw', 5],
    ['AGGREGATOR of 3 bytes', [ORIGIN, PATH, NEXT_HOP, PREF, 'c00703010203'], 'attribute-length', 'discard', 5],
    [
      'a well-known attribute that is not known',
      [ORIGIN, PATH, NEXT_HOP, PREF, '406300'],
      'unknown-well-known',
      'reset',
      2,
    ],
    ['a list that ends in the middle', [ORIGIN, PATH, NEXT_HOP, PREF, '8004ff00'], 'attribute-list', 'withdraw', 1],
  ])('%s', (_what, attrs, kind, action, subcode) => {
    const m = decode(update(...attrs), AS4)
    if (m.type !== 'UPDATE') throw new Error(m.type)
    expect(m.faults?.map((f) => [f.kind, f.action, f.subcode])).toContainEqual([kind, action, subcode])
    expect(m.reach.flatMap((r) => r.nlri)).toEqual([{ prefix: '10.9.0.0/16' }])
  })

  it.each([
    ['an NLRI of 48 bits', '10', () => update(ORIGIN, PATH, NEXT_HOP, PREF).with(-3, 48)],
    ['withdrawn routes longer than the message', '1', () => update(ORIGIN, PATH, NEXT_HOP, PREF).with(19, 9)],
    ['MP_REACH_NLRI twice', '1', () => update(...Array(2).fill('800e0900010104c0a8010100'))],
    ['MP_REACH_NLRI with a next hop of 5 bytes', '9', () => update('800e0a00010105c0a801010000')],
  ])('%s ends the session with 3/%s', (_what, subcode, bytes) => {
    expect(decode(bytes(), AS4)).toMatchObject({ type: 'ERROR', code: 3, subcode: Number(subcode) })
  })

  it('LOCAL_PREF, ORIGINATOR_ID and CLUSTER_LIST of an external peer are left out', () => {
    const m = decode(update(ORIGIN, PATH, NEXT_HOP, PREF, '80090401020304', '800a0401020304'), { ...AS4, ibgp: false })
    expect(m).toMatchObject({ attributes: { origin: 0, asPath: [], nextHop: '192.168.1.1' } })
    expect(m.type === 'UPDATE' && m.faults?.every((f) => f.action === 'discard')).toBe(true)
  })

  it('attributes of a family that nobody agreed on are ignored', () => {
    expect(decode(update(ORIGIN, PATH, NEXT_HOP, PREF, '800f03001904'), AS4)).not.toHaveProperty('faults')
  })
})

describe('headers', () => {
  const keepalive = encodeMessage({ type: 'KEEPALIVE' }, INITIAL_CONTEXT)
  it.each([
    ['a marker that is not all ones', keepalive.with(3, 0), 1, 1, ''],
    ['type 9', keepalive.with(18, 9), 1, 3, '09'],
    ['type 0', keepalive.with(18, 0), 1, 3, '00'],
    ['length 18', keepalive.with(17, 18), 1, 2, '0012'],
    ['a KEEPALIVE of 20 bytes', keepalive.with(17, 20), 1, 2, '0014'],
    ['4,097 bytes', keepalive.with(16, 16).with(17, 1).with(18, 2), 1, 2, '1001'],
  ])('%s', (_what, bytes, code, subcode, data) => {
    const m = decode(bytes, INITIAL_CONTEXT)
    expect(m).toMatchObject({ type: 'ERROR', code, subcode })
    expect(m.type === 'ERROR' && toHex(m.data)).toBe(data)
  })

  it('messages are cut out of a stream however it comes', () => {
    const s = new BgpStream()
    const bytes = Uint8Array.of(...keepalive, ...update(ORIGIN, PATH, NEXT_HOP, PREF), ...keepalive)
    const types: string[] = []
    for (const b of bytes) {
      s.push(Uint8Array.of(b))
      for (let m = s.next(AS4); m !== null; m = s.next(AS4)) types.push(m.type)
    }
    expect(types).toEqual(['KEEPALIVE', 'UPDATE', 'KEEPALIVE'])
  })

  it('errors have names', () => {
    expect([notificationName(6, 7), notificationName(4, 0), notificationName(77, 1)]).toEqual([
      'Cease, Connection Collision Resolution',
      'Hold Timer Expired',
      'Unknown error 77/1',
    ])
  })
})

describe('mutated messages', () => {
  const COUNT = Number(process.env.MESSAGES ?? 20_000)

  it(`decode to a message or an error, never an exception, and what decodes is written again (${COUNT})`, () => {
    const corpus = recordings().flatMap((r) => r.messages.flatMap((m) => (m.hex === undefined ? [] : [fromHex(m.hex)])))
    corpus.push(encodeMessage({ type: 'ROUTE-REFRESH', afi: 1, safi: 1, subtype: 0 }, INITIAL_CONTEXT))
    corpus.push(
      update(ORIGIN, PATH, NEXT_HOP, PREF, 'c00804fde80001', 'c010080002fde800000001', '800e0900010104c0a8010100'),
    )
    let seed = 12345
    const random = (n: number): number => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
      return Math.floor((seed / 2 ** 32) * n)
    }
    const kinds = new Map<string, number>()
    for (let i = 0; i < COUNT; i++) {
      const bytes = corpus[random(corpus.length)]!.slice()
      for (let k = random(4); k >= 0; k--)
        bytes[16 + random(bytes.length - 16)] = random(2) === 0 ? random(256) : [0, 1, 255, 4][random(4)]!
      const addPath = random(4) === 0
      const ctx: CodecContext = {
        as4: random(3) > 0,
        addPath: { ipv4: addPath, ipv6: addPath },
        extendedMessage: random(3) === 0,
        ibgp: random(2) === 0,
      }
      const s = new BgpStream()
      s.push(bytes)
      const m = s.next(ctx)
      kinds.set(m?.type ?? 'more', (kinds.get(m?.type ?? 'more') ?? 0) + 1)
      if (m === null || m.type === 'ERROR') continue
      if (m.type === 'UPDATE') {
        if (m.faults !== undefined || !ctx.as4) continue
        // nothing but attributes that nobody keeps: written, it would be an End-of-RIB
        if (m.reach.length + m.unreach.length === 0 && m.endOfRib === undefined) continue
      }
      expect(decodeMessage(viewOf(encodeMessage(m, ctx)), 0, encodeMessage(m, ctx).length, ctx)).toEqual(m)
    }
    const all = ['ERROR', 'KEEPALIVE', 'NOTIFICATION', 'OPEN', 'ROUTE-REFRESH', 'UPDATE', 'more']
    expect([...kinds.keys()].sort()).toEqual(all)
  })
})
