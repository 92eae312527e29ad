import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import type { BgpImplementation } from '../../../src/bgp/config.ts'
import { BgpLab, mockOpen } from '../../support/bgp-lab.ts'

interface Recorded {
  readonly survivor: readonly string[]
  readonly events: readonly (readonly [number, string, string, string])[]
}
const CASES = JSON.parse(readFileSync('test/fixtures/bgp/collision.json', 'utf8')) as { [name: string]: Recorded }
const DAEMON = '192.168.1.20'
const SPEAKER = '192.168.1.30'

describe('two connections at the same time', () => {
  it.each(Object.entries(CASES))('%s', (name, recorded) => {
    const [implementation, id, order] = name.split(' ') as [BgpImplementation, string, string]
    const lab = new BgpLab()
    const mock = lab.mock(SPEAKER)
    const peer = { address: SPEAKER, asn: 64512, connectDelayTime: 1 }
    const { speaker } = lab.speaker(
      DAEMON,
      BgpLab.spec(implementation, 64512, '10.0.0.20', [peer], {
        implementation,
        routes: [{ prefix: '10.244.1.0/26' }],
      }),
    )
    speaker.start()
    // the daemon's SYN and the speaker's cross on the wire
    while (mock.accepted.length === 0) lab.run(1)
    const outgoing = mock.connect(DAEMON)
    const [incoming] = mock.accepted
    const routerId = id === 'speaker-id-lower' ? '10.0.0.1' : '10.0.0.99'
    const both = order === 'in-first' ? [incoming!, outgoing] : [outgoing, incoming!]
    for (const c of both) {
      if (!c.isClosed) c.send(mockOpen(64512, routerId))
      lab.run(190)
    }
    for (const c of both) if (!c.isClosed) c.send({ type: 'KEEPALIVE' })
    lab.run(5000)
    const alive = [
      ...(outgoing.isClosed ? [] : ['outgoing(speaker active)']),
      ...(incoming!.isClosed ? [] : ['incoming(daemon active)']),
    ]
    expect(alive).toEqual(recorded.survivor)
    const told = (c: string): boolean =>
      recorded.events.some((e) => e[1] === '<' && e[2].startsWith(c) && e[3] === 'NOTIFICATION 6/7')
    expect([outgoing.words.includes('NOTIFICATION 6/7'), incoming!.words.includes('NOTIFICATION 6/7')]).toEqual([
      told('out'),
      told('inc'),
    ])
    expect(speaker.peers[0]!.state).toBe('Established')
  })
})
