/**
 * The recorded sessions, with podwalk's speaker in the place of one daemon: fed with what the other side sent, it must send
 * the same bytes in the same order. And what each daemon answers to what it must refuse.
 */
import { describe, expect, it } from '@jest/globals'
import type { BgpImplementation, BgpPeerSpec, BgpSpeakerSpec } from '../../../src/bgp/config.ts'
import { PROFILES } from '../../../src/bgp/profile.ts'
import { type BgpMessage, BgpStream, encodeMessage, INITIAL_CONTEXT } from '../../../src/wire/bgp.ts'
import { BgpLab, type MockConnection, mockOpen } from '../../support/bgp-lab.ts'
import { contextOf, fromHex, type RecordedMessage, recordings, toHex } from '../../support/bgp-recordings.ts'

const host = (end: string): string => end.slice(0, end.lastIndexOf(':'))

interface Part {
  readonly file: string
  /** Address of the daemon that podwalk replaces. */
  readonly me: string
  readonly implementation: BgpImplementation
  readonly spec?: Partial<BgpSpeakerSpec>
  readonly peer?: Partial<BgpPeerSpec>
  readonly routes: readonly string[]
  /** How many of its messages are compared; what follows comes from neighbours that the recording does not have. */
  readonly count: number
  /** Ends in order after its routes. */
  readonly stops?: boolean
}

const CALICO = { addPaths: 'on', gracefulRestart: 'on' } as const
const PARTS: readonly Part[] = [
  { file: 'bird-speaker', me: '192.168.1.21', implementation: 'bird', routes: ['10.244.1.0/26'], count: 4 },
  {
    file: 'frr-speaker',
    me: '192.168.1.22',
    implementation: 'frr',
    spec: { name: 'frr-f' },
    routes: ['10.244.2.0/26'],
    count: 3,
  },
  {
    file: 'gobgp-speaker',
    me: '192.168.1.23',
    implementation: 'gobgp',
    spec: { name: 'gobgp-g' },
    routes: ['10.244.3.0/26'],
    count: 3,
  },
  {
    file: 'bird-bird-ibgp',
    me: '192.168.1.11',
    implementation: 'bird',
    peer: CALICO,
    routes: ['10.244.1.0/26'],
    count: 4,
  },
  {
    file: 'bird-bird-ibgp',
    me: '192.168.1.12',
    implementation: 'bird',
    peer: CALICO,
    routes: ['10.244.2.0/26'],
    count: 5,
    stops: true,
  },
  {
    file: 'bird-bird-rr',
    me: '192.168.1.11',
    implementation: 'bird',
    peer: CALICO,
    routes: ['10.244.1.0/26'],
    count: 4,
  },
  {
    file: 'frr-bird-ibgp-rr',
    me: '192.168.1.11',
    implementation: 'bird',
    peer: CALICO,
    routes: ['10.244.1.0/26'],
    count: 4,
  },
  {
    file: 'gobgp-bird-ibgp-gr',
    me: '192.168.1.21',
    implementation: 'bird',
    peer: { gracefulRestart: 'on' },
    routes: ['10.244.1.0/26', '192.168.1.0/24'],
    count: 4,
  },
  {
    file: 'gobgp-bird-ibgp-gr',
    me: '192.168.1.23',
    implementation: 'gobgp',
    spec: { name: 'gobgp-g' },
    peer: { gracefulRestart: 'on' },
    routes: ['10.244.3.0/26'],
    count: 4,
  },
  {
    file: 'gobgp-frr-ebgp',
    me: '192.168.1.23',
    implementation: 'gobgp',
    spec: { name: 'gobgp-g' },
    routes: ['10.244.3.0/26'],
    count: 3,
  },
]

describe('recorded sessions', () => {
  it.each(PARTS.map((p) => [`${p.file}: podwalk for ${p.me}`, p] as const))(
    '%s sends the same bytes',
    (_name, part) => {
      const { messages } = recordings().find((r) => r.name === `sessions/${part.file}.json`)!
      const mine = messages.filter((m) => m.hex !== undefined && host(m.from) === part.me)
      const theirs = messages.filter((m) => m.hex !== undefined && host(m.from) !== part.me)
      const [myOpen, theirOpen] = [mine, theirs].map((l) => l.find((m) => m.type === 'OPEN')!) as [
        RecordedMessage,
        RecordedMessage,
      ]
      const other = host(theirOpen.from)
      const lab = new BgpLab()
      const origin =
        part.file === 'gobgp-bird-ibgp-gr' || part.file === 'gobgp-frr-ebgp' ? { origin: 'igp' as const } : {}
      const { speaker } = lab.speaker(
        part.me,
        BgpLab.spec(
          'x',
          Number(myOpen.my_as),
          String(myOpen.id),
          [{ address: other, asn: Number(theirOpen.my_as), passive: true, ...part.peer }],
          {
            implementation: part.implementation,
            routes: part.routes.map((prefix) => ({ prefix, ...origin })),
            ...part.spec,
          },
        ),
      )
      speaker.start()
      const c = lab.mock(other).connect(part.me)
      const stream = new BgpStream()
      for (const m of theirs) {
        if (m.type === 'NOTIFICATION') continue
        stream.push(fromHex(m.hex!))
        const decoded = stream.next(m.type === 'OPEN' ? INITIAL_CONTEXT : contextOf(theirOpen, myOpen))
        c.send(decoded as BgpMessage)
        lab.run(100)
      }
      lab.run(1500)
      if (part.stops === true) speaker.stop()
      lab.run(10)
      const { asPathExtended } = PROFILES[part.implementation]
      const ctx = { ...contextOf(myOpen, theirOpen), ...(asPathExtended ? { asPathExtended } : {}) }
      const sent = c.messages.map((m) => toHex(encodeMessage(m, m.type === 'OPEN' ? INITIAL_CONTEXT : ctx)))
      // GoBGP and BIRD may send an End-of-RIB and routes in either order with others' messages: ours alone are compared
      expect(sent.slice(0, part.count)).toEqual(mine.slice(0, part.count).map((m) => m.hex))
    },
  )
})

const DAEMON = '192.168.1.20'
const PEER = '192.168.1.30'
const attributes = { origin: 0, asPath: [], nextHop: PEER, localPref: 100 }

function setup(implementation: BgpImplementation): { lab: BgpLab; c: MockConnection; kernel: Map<string, unknown> } {
  const lab = new BgpLab()
  const { speaker, kernel } = lab.speaker(
    DAEMON,
    BgpLab.spec('d', 64512, '10.0.0.20', [{ address: PEER, asn: 64512, passive: true }], { implementation }),
  )
  speaker.start()
  return { lab, c: lab.mock(PEER).connect(DAEMON), kernel }
}

/** What a neighbour in the middle of a session gets for bytes. */
function afterBytes(
  implementation: BgpImplementation,
  hex: string,
): { words: string[]; installed: boolean; data: string } {
  const { lab, c, kernel } = setup(implementation)
  c.send(mockOpen(64512, '10.0.0.30'))
  c.send({ type: 'KEEPALIVE' })
  lab.run(2000)
  const before = c.messages.length
  const stream = new BgpStream()
  stream.push(fromHex(hex))
  const m = stream.next({ ...INITIAL_CONTEXT, as4: true, ibgp: true })!
  c.send(m as BgpMessage)
  lab.run(2000)
  const last = c.messages.at(-1)
  return {
    words: c.words.slice(before).filter((w) => w !== 'KEEPALIVE'),
    installed: kernel.has('10.9.0.0/16'),
    data: last?.type === 'NOTIFICATION' ? toHex(last.data) : '',
  }
}

/** An UPDATE for 10.9.0.0/16 with these attributes. */
function update(...attrs: string[]): string {
  const list = attrs.join('')
  const n = list.length / 2
  const hex = (v: number): string => v.toString(16).padStart(4, '0')
  return `${'ff'.repeat(16)}${hex(23 + n + 3)}020000${hex(n)}${list}100a09`
}

const [ORIGIN, PATH, HOP, PREF] = ['40010100', '400200', '400304c0a8011e', '40050400000064']
const MARKER = 'ff'.repeat(16)

describe('what a daemon must refuse or survive', () => {
  it.each<
    [string, string, { readonly [kind in BgpImplementation]: readonly [notification: string, installed: boolean] }]
  >([
    ['a good route', update(ORIGIN, PATH, HOP, PREF), { bird: ['', true], frr: ['', true], gobgp: ['', true] }],
    ['no ORIGIN', update(PATH, HOP, PREF), { bird: ['', false], frr: ['', false], gobgp: ['', false] }],
    ['no NEXT_HOP', update(ORIGIN, PATH, PREF), { bird: ['', false], frr: ['', false], gobgp: ['', false] }],
    ['no LOCAL_PREF', update(ORIGIN, PATH, HOP), { bird: ['', true], frr: ['', false], gobgp: ['', true] }],
    ['ORIGIN 7', update('40010107', PATH, HOP, PREF), { bird: ['', false], frr: ['3/6', false], gobgp: ['', false] }],
    [
      'an unknown well-known attribute',
      update(ORIGIN, PATH, HOP, PREF, '406300'),
      { bird: ['', false], frr: ['3/2', false], gobgp: ['3/2', false] },
    ],
    [
      'ORIGIN twice',
      update(ORIGIN, ORIGIN, PATH, HOP, PREF),
      { bird: ['', true], frr: ['3/1', false], gobgp: ['', true] },
    ],
    [
      'an unknown transitive attribute',
      update(ORIGIN, PATH, HOP, PREF, 'c06301aa'),
      { bird: ['', true], frr: ['', true], gobgp: ['', true] },
    ],
    ['a bad type', `${MARKER}001309`, { bird: ['1/3', false], frr: ['1/3', false], gobgp: ['', false] }],
    ['a header of 18 bytes', `${MARKER}001204`, { bird: ['1/2', false], frr: ['1/2', false], gobgp: ['', false] }],
  ])('%s', (_what, hex, want) => {
    for (const kind of ['bird', 'frr', 'gobgp'] as const) {
      const got = afterBytes(kind, hex)
      const [code, installed] = want[kind]
      expect([kind, got.words, got.installed]).toEqual([kind, code === '' ? [] : [`NOTIFICATION ${code}`], installed])
    }
  })

  it.each<[string, Parameters<typeof mockOpen>[2] & object, number, { readonly [kind in BgpImplementation]: string }]>([
    ['a wrong AS', {}, 64999, { bird: '2/2 0000fde7', frr: '2/2 fde7', gobgp: '2/2 ' }],
    ['version 3', { version: 3 }, 64512, { bird: '2/1 0400', frr: '2/1 0004', gobgp: '2/1 ' }],
    ['router id 0', { routerId: '0.0.0.0' }, 64512, { bird: '2/3 ', frr: '2/3 00000000', gobgp: '2/3 ' }],
    ['its own router id', { routerId: '10.0.0.20' }, 64512, { bird: '2/3 ', frr: '2/3 0a000014', gobgp: '2/3 ' }],
    ['hold time 2', { holdTime: 2 }, 64512, { bird: '2/6 0002', frr: '2/6 0002', gobgp: '2/6 ' }],
    [
      'IPv6 only',
      { capabilities: [{ kind: 'multiprotocol', afi: 2, safi: 1 }] },
      64512,
      { bird: '2/7 ', frr: '2/7 ', gobgp: '' },
    ],
  ])('an OPEN with %s', (_what, over, asn, want) => {
    for (const kind of ['bird', 'frr', 'gobgp'] as const) {
      const { c } = setup(kind)
      c.send(mockOpen(asn, over.routerId ?? '10.0.0.30', over))
      const n = c.messages.find((m) => m.type === 'NOTIFICATION')
      expect([kind, n === undefined ? '' : `${n.code}/${n.subcode} ${toHex(n.data)}`]).toEqual([kind, want[kind]])
    }
  })

  it('no capability at all is enough for a session of IPv4 with two-byte AS numbers', () => {
    for (const kind of ['bird', 'frr', 'gobgp'] as const) {
      const { c, kernel, lab } = setup(kind)
      c.send(mockOpen(64512, '10.0.0.30', { capabilities: [] }))
      c.send({ type: 'KEEPALIVE' })
      c.send({
        type: 'UPDATE',
        unreach: [],
        reach: [{ family: 'ipv4', mp: false, nextHop: PEER, nlri: [{ prefix: '10.9.0.0/16' }] }],
        attributes,
      })
      lab.run(100)
      expect([kind, kernel.has('10.9.0.0/16')]).toEqual([kind, true])
    }
  })

  it('messages out of turn end it with Finite State Machine Error', () => {
    const a = setup('bird')
    a.c.send({ type: 'KEEPALIVE' })
    const b = setup('bird')
    b.c.send(mockOpen(64512, '10.0.0.30'))
    b.c.send({ type: 'UPDATE', unreach: [], reach: [], attributes: null, endOfRib: 'ipv4' })
    expect([a.c.words.at(-1), b.c.words.at(-1)]).toEqual(['NOTIFICATION 5/1', 'NOTIFICATION 5/2'])
  })
})

describe('mutated messages in a session', () => {
  const COUNT = Number(process.env.MESSAGES ?? 6000)

  it(`leave a speaker that works, whatever they are (${COUNT})`, () => {
    const corpus = recordings().flatMap((r) => r.messages.flatMap((m) => (m.hex === undefined ? [] : [fromHex(m.hex)])))
    corpus.push(fromHex(update(ORIGIN, PATH, HOP, PREF)), fromHex(`${MARKER}00170500010001`))
    let seed = 4711
    const random = (n: number): number => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
      return Math.floor((seed / 2 ** 32) * n)
    }
    const kinds = ['bird', 'frr', 'gobgp'] as const
    const labs = kinds.map((implementation) => {
      const lab = new BgpLab()
      const peer = {
        address: PEER,
        asn: 64512,
        passive: true,
        errorWaitTime: [0, 0] as const,
        addPaths: 'on' as const,
        gracefulRestart: 'on' as const,
      }
      const { speaker } = lab.speaker(
        DAEMON,
        BgpLab.spec('d', 64512, '10.0.0.20', [peer], { implementation, routes: [{ prefix: '10.244.1.0/26' }] }),
      )
      speaker.start()
      return { lab, speaker, mock: lab.mock(PEER), c: null as MockConnection | null }
    })
    let sessions = 0
    for (let i = 0; i < COUNT; i++) {
      const at = labs[i % labs.length]!
      if (at.c === null || at.c.isClosed) {
        at.lab.run(100)
        at.c = at.mock.establish(DAEMON, 64512, '10.0.0.30')
        sessions++
      }
      const bytes = corpus[random(corpus.length)]!.slice()
      for (let k = random(4); k > 0; k--) bytes[16 + random(bytes.length - 16)] = random(256)
      const stream = new BgpStream()
      stream.push(bytes)
      const m = stream.next({ ...INITIAL_CONTEXT, as4: true, ibgp: true })
      if (m === null) continue
      at.speaker.peers[0]!.established?.received(m)
      at.lab.run(2)
    }
    expect(sessions).toBeGreaterThan(COUNT / 200)
    for (const { lab, mock, speaker } of labs) {
      speaker.peers[0]!.reset()
      lab.run(1000)
      const c = mock.establish(DAEMON, 64512, '10.0.0.30')
      c.send({
        type: 'UPDATE',
        unreach: [],
        reach: [{ family: 'ipv4', mp: false, nextHop: PEER, nlri: [{ prefix: '10.9.0.0/16' }] }],
        attributes,
      })
      lab.run(3000)
      expect(speaker.peers[0]!.state).toBe('Established')
      expect(speaker.rib.find(speaker.store.prefixId('10.9.0.0/16'), 1, 0)).toBeGreaterThanOrEqual(0)
      expect([...c.routes.keys()]).toEqual(['10.244.1.0/26'])
    }
  })
})
