/**
 * Scheduling decisions: 95 sessions recorded on Linux 6.1 with every scheduler, weights, flags, changes midway, mixes of
 * active and inactive connections. Each SYN, opened connection and datagram must reach the real server that it reached
 * there, or get the ICMP error that it got.
 */
import { describe, expect, it } from '@jest/globals'
import { pkt } from '../../../support/packet-builder.ts'
import { directorNode, ipvsFixture, type Node } from './support.ts'

type Event =
  | readonly ['cmd', string]
  | readonly ['syn' | 'open' | 'udp', string, number, string, string]
  | readonly ['close', string, number, string]

interface Session {
  readonly name: string
  readonly events: readonly Event[]
}

const CLIENT = { src: '02:00:00:00:c0:02', dst: '02:00:00:00:c0:01' }
const SERVER = { src: '02:00:00:00:d0:0b', dst: '02:00:00:00:d0:01' }
const UNREACHABLE = 'icmp3/3'

function tcp(node: Node, port: string, from: string, sport: number, to: string, dport: number, flags: string): string {
  const eth = port === 'c' ? CLIENT : SERVER
  const out = node.send(
    port,
    pkt().eth(eth).ip({ src: from, dst: to, id: 7, df: true }).tcp(sport, dport, { flags }).bytes(),
  )
  return whereTo(out.map(([, hex]) => Buffer.from(hex, 'hex')))
}

/** Where the one frame that came out went. */
function whereTo(frames: readonly Buffer[]): string {
  if (frames.length !== 1) return `${frames.length} frames`
  const f = frames[0]!
  if (f[23] === 1) return `icmp${f[34]}/${f[35]}`
  return `${[...f.subarray(30, 34)].join('.')}:${f.readUInt16BE(36)}`
}

/** The connection's real server, for frames that come from there. */
function realServer(node: Node, client: string): readonly [string, number] {
  const row = node.connections().findLast(([, c]) => c === client)
  const [addr, port] = row![3]!.split(':')
  return [addr!, Number(port)]
}

/** Plays one event; what it must give, and what it gave. */
function play(node: Node, event: Event): readonly [string, string] {
  if (event[0] === 'cmd') {
    node.run(event[1])
    return ['', '']
  }
  const [what, src, sport, vip] = event
  const client = `${src}:${sport}`
  if (what === 'close') {
    const [addr, port] = realServer(node, client)
    tcp(node, 'c', src, sport, vip, 80, 'FA')
    tcp(node, 'r', addr, port, src, sport, 'FA')
    tcp(node, 'c', src, sport, vip, 80, 'A')
    return ['', '']
  }
  const to = event[4]!
  if (what === 'udp') {
    const bytes = pkt().eth(CLIENT).ip({ src, dst: vip, id: 7, df: true }).udp(sport, 80).payload('x').bytes()
    return [to, whereTo(node.send('c', bytes).map(([, hex]) => Buffer.from(hex, 'hex')))]
  }
  const got = tcp(node, 'c', src, sport, vip, 80, 'S')
  if (what === 'open' && got !== UNREACHABLE) {
    const [addr, port] = realServer(node, client)
    tcp(node, 'r', addr, port, src, sport, 'SA')
    tcp(node, 'c', src, sport, vip, 80, 'A')
  }
  return [to, got]
}

const sessions = ipvsFixture<Session[]>('schedulers')

describe('IPVS schedulers decide as Linux', () => {
  it.each(sessions.map((s) => [s.name, s] as const))('%s', (_name, session) => {
    const node = directorNode('a local range')
    const wanted: string[] = []
    const got: string[] = []
    session.events.forEach((event, i) => {
      const [want, have] = play(node, event)
      wanted.push(`${i} ${want}`)
      got.push(`${i} ${have}`)
    })
    expect(got).toEqual(wanted)
  })

  it('the recordings cover every scheduler but twos, which draws at random', () => {
    const used = new Set(
      sessions.flatMap((s) => s.events.flatMap((e) => (e[0] === 'cmd' ? (/ -s (\w+)/.exec(e[1])?.[1] ?? []) : []))),
    )
    expect([...used].sort()).toEqual([
      'dh',
      'fo',
      'lblc',
      'lblcr',
      'lc',
      'mh',
      'nq',
      'ovf',
      'rr',
      'sed',
      'sh',
      'wlc',
      'wrr',
    ])
  })
})

describe('twos', () => {
  it('takes real servers by their weights while they are equally loaded, and the less loaded of two', () => {
    const node = directorNode('a local range')
    node.run('ipvsadm -A -u 10.96.1.10:80 -s twos -o')
    node.run(
      'ipvsadm -a -u 10.96.1.10:80 -r 10.10.0.11:80 -m -w 1; ipvsadm -a -u 10.96.1.10:80 -r 10.10.0.12:80 -m -w 3',
    )
    node.run('ipvsadm -a -u 10.96.1.10:80 -r 10.10.0.13:80 -m -w 0')
    const counts = new Map<string, number>()
    for (let i = 0; i < 2000; i++) {
      const [, to] = play(node, ['udp', '172.16.0.5', 1000 + i, '10.96.1.10', ''])
      counts.set(to, (counts.get(to) ?? 0) + 1)
    }
    expect([...counts.keys()].sort()).toEqual(['10.10.0.11:80', '10.10.0.12:80'])
    // the draw is over 0..total, and the second choice only wins when it is less loaded: none is, nothing is counted;
    // the list is 12, 11: a draw of 0..3 of 5 values gives the first
    const share = counts.get('10.10.0.12:80')! / 2000
    expect(Math.abs(share - 4 / 5)).toBeLessThan(5 * Math.sqrt((0.8 * 0.2) / 2000))
  })
})
