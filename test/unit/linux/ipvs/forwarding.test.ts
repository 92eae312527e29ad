/**
 * Frames through IPVS: 18 sessions recorded on Linux 6.1 with vs.conntrack=0: masquerading, direct routing, IPIP, GUE, GRE,
 * firewall marks, one-packet scheduling, ICMP errors, fragments, removed real servers. Every frame that came out there must
 * come out here, byte for byte but for what the kernel draws at random; so must the connections and the counters.
 */
import { describe, expect, it } from '@jest/globals'
import { directorNode, ipvsFixture, type Node } from './support.ts'

/** More than a tick of any clock: what is to expire now has expired. */
const TICK_NS = 20e6

interface Step {
  readonly cmd?: string
  readonly out?: string
  readonly tx?: readonly [string, string]
  readonly what?: string
  readonly rx?: readonly (readonly [string, string, string])[]
  readonly conns?: readonly (readonly [string, string, string, string, string, number])[]
  readonly services?: readonly (readonly [string, readonly (readonly [string, string, number, number, number])[]])[]
}

interface Session {
  readonly name: string
  readonly note: string
  readonly steps: readonly Step[]
}

function inOrder(frames: readonly (readonly [string, string])[]): string[] {
  return ['c', 'r'].flatMap((port) => frames.filter(([p]) => p === port).map(([p, hex]) => `${p} ${hex}`))
}

/** Services as `/proc/net/ip_vs` tells them, real servers in the kernel's order. */
function services(node: Node): unknown[] {
  const out: [string, unknown[]][] = []
  for (const line of node.run('ipvsadm -Ln --nosort').split('\n').slice(3)) {
    const words = line.trim().split(/\s+/)
    if (line.startsWith('  ->')) {
      out.at(-1)![1].push([words[1], words[2], Number(words[3]), Number(words[4]), Number(words[5])])
    } else if (line !== '') out.push([words.join(' '), []])
  }
  return out
}

function check(node: Node, vip: string, step: Step): void {
  if (step.cmd !== undefined) {
    const out = node.run(step.cmd)
    if (step.out !== undefined) expect(out).toBe(step.out)
  } else if (step.tx !== undefined) {
    const got = inOrder(node.send(...step.tx))
    const wanted = inOrder(step.rx!.map(([port, hex]) => [port, node.comparable(hex)] as const))
    expect({ sent: step.what, got }).toEqual({ sent: step.what, got: wanted })
  } else if (step.conns !== undefined) {
    // what has 0 seconds left is gone at the next tick: whether it was still there is a matter of milliseconds
    node.w.runUntil(node.w.nowNs + TICK_NS)
    const old = new Set(step.conns.filter((c) => c[5] === 0).map((c) => c.slice(0, 5).join(' ')))
    const lines = (rows: readonly (readonly unknown[])[]): string[] =>
      rows
        .map((c) => c.slice(0, 5).join(' '))
        .filter((c) => c.includes(`${vip}:`) && !old.has(c))
        .sort()
    expect(lines(node.connections())).toEqual(lines(step.conns))
  } else expect(services(node)).toEqual(step.services)
}

describe('IPVS forwards as Linux', () => {
  it.each(ipvsFixture<Session[]>('forwarding').map((s) => [s.name, s] as const))('%s', (_name, session) => {
    const node = directorNode('one by one')
    const first = session.steps.find((s) => s.cmd?.startsWith('ipvsadm -A'))!.cmd!
    const vip = /10\.96\.1\.\d+(?=:)/.exec(first)?.[0] ?? '10.96.1.15'
    for (const step of session.steps) check(node, vip, step)
  })
})
