/**
 * Two speakers over real TCP on the loopback device: what `podwalk bgp speak` runs on, without root.
 */
import { expect, it } from '@jest/globals'
import type { BgpPeerSpec } from '../../../src/bgp/config.ts'
import { Speaker } from '../../../src/bgp/speaker.ts'
import { bgpState } from '../../../src/bgp/state.ts'
import { realClock, TcpTransport } from '../../../src/bgp/tcp-transport.ts'
import { parseAnnounce, parseNeighbor, speakInput } from '../../../src/cli/bgp/arguments.ts'
import { until } from '../../support/bgp-daemons.ts'

function speaker(
  n: number,
  asn: number,
  port: number,
  peer: BgpPeerSpec,
  announce: string[],
  events: string[],
): Speaker {
  const address = `127.0.0.${n}`
  const spec = { name: `s${n}`, implementation: 'gobgp' as const, asn, routerId: `10.0.0.${n}`, port }
  const transport = new TcpTransport(address, (e) => events.push(`listen ${e}`))
  return new Speaker(
    { ...spec, peers: [peer], routes: announce.map(parseAnnounce), install: null },
    {
      clock: realClock(),
      transport,
      random: () => 0.5,
      event: (e) => events.push(`${e.speaker} ${e.kind} ${e.text}`.trim()),
    },
  )
}

/** A next hop on the loopback device would be refused: RFC 4271 6.3. */
async function exchange(a: Speaker, b: Speaker): Promise<void> {
  await until('both have both routes', () => [a, b].every((s) => bgpState(s).rib.length === 2), 8000)
  const learnt = bgpState(b).rib.find((r) => r.from !== null)
  expect(learnt).toMatchObject({
    prefix: '10.1.0.0/16',
    asPath: [64512],
    nextHop: '192.0.2.71',
    communities: ['64512:7'],
  })
  b.stop()
  await until('a forgot', () => bgpState(a).rib.length === 1, 2000)
}

it('two speakers exchange routes and end in order', async () => {
  const events: string[] = []
  const [p1, p2] = [20_000 + (process.pid % 20_000), 20_001 + (process.pid % 20_000)]
  const a = speaker(
    71,
    64512,
    p1,
    { address: '127.0.0.72', asn: 64513, port: p2, passive: true },
    ['10.1.0.0/16,community=64512:7,nexthop=192.0.2.71'],
    events,
  )
  const b = speaker(
    72,
    64513,
    p2,
    { address: '127.0.0.71', asn: 64512, port: p1, connectDelayTime: 1 },
    ['10.2.0.0/16,nexthop=192.0.2.72'],
    events,
  )
  a.start()
  b.start()
  try {
    await exchange(a, b)
  } finally {
    a.stop()
    b.stop()
  }
  expect(events).toEqual(
    expect.arrayContaining(['s71 established', 's72 established', 's71 lost received Cease, Administrative Shutdown']),
  )
})

it('flags are read, and what cannot be read is named', async () => {
  expect(parseNeighbor('192.0.2.2,asn=65000,passive,add-paths', 1)).toEqual({
    address: '192.0.2.2',
    asn: 65000,
    passive: true,
    addPaths: 'on',
  })
  expect(parseAnnounce('10.9.0.0/16,nexthop=192.0.2.9,med=5')).toEqual({
    prefix: '10.9.0.0/16',
    nextHop: '192.0.2.9',
    med: 5,
  })
  expect(() => parseNeighbor('nowhere', 1)).toThrow(/"nowhere" is no IP address/)
  expect(() => parseNeighbor('192.0.2.2,asn=0', 1)).toThrow(/asn takes a number from 1/)
  expect(() => parseAnnounce('10.9.0.1/16')).toThrow(/host bits/)
  const flags = { local: '192.0.2.1', asn: 1, output: 'text', color: 'never' as const }
  await expect(speakInput({ ...flags, neighbor: ['192.0.2.2,password=x'] })).rejects.toThrow(
    /UNMODELLED: a TCP MD5 password/,
  )
  await expect(speakInput({ ...flags })).rejects.toThrow(/at least one --neighbor/)
})

it('a configuration file is checked with the place of every problem', async () => {
  const flags = { output: 'text', color: 'never' as const }
  const good = await speakInput({ ...flags, config: 'test/fixtures/bgp/speaker.yaml' })
  expect(good.local).toBe('192.0.2.1')
  expect(good.spec).toMatchObject({ asn: 64512, routerId: '192.0.2.1', peers: [{ address: '192.0.2.2', asn: 65000 }] })
  await expect(speakInput({ ...flags, config: 'test/fixtures/bgp/speaker-bad.yaml' })).rejects.toThrow(
    /3 errors in the input/,
  )
})
