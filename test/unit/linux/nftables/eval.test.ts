/**
 * What a rule walk tells a tracer, what is not modelled, and the life of rules' state.
 */
import { describe, expect, it } from '@jest/globals'
import { injectFrame } from '../../../../src/linux/core/dev.ts'
import { NftRule } from '../../../../src/linux/netfilter/nftables/state.ts'
import type { Netns } from '../../../../src/linux/netns.ts'
import { R_NF_DROP, R_NF_POLICY, R_NF_REJECT, R_UNMODELLED } from '../../../../src/linux/reasons.ts'
import { execTool } from '../../../../src/linux/tools/exec.ts'
import { nft, nftLoad } from '../../../../src/linux/tools/nft.ts'
import { T_END, T_NF_MISS, T_NF_POLICY, T_NF_RULE, type Tracer } from '../../../../src/linux/trace.ts'
import { World } from '../../../../src/linux/world.ts'
import { labScenario } from '../../../support/lab.ts'

interface Seen {
  readonly point: number
  readonly a: number
  readonly b: number
  readonly c: number
  readonly ref: unknown
}

/** Two hosts and a router between them; a UDP datagram from the first to the second. */
function lab(text: string): { w: World; r: Netns; send: (port: number) => Seen[] } {
  const w = new World()
  const [h1, r, h2] = ['h1', 'r', 'h2'].map((n) => w.addNetns(n)) as [Netns, Netns, Netns]
  const run = (ns: Netns, line: string): void => {
    const got = execTool(ns, line.split(' '))
    if (got.status !== 0) throw new Error(`${line}: ${got.stderr}`)
  }
  run(h1, 'ip link add eth0 address 02:00:00:00:00:01 type veth peer name eth1 address 02:00:00:00:00:11 netns r')
  run(h2, 'ip link add eth0 address 02:00:00:00:00:02 type veth peer name eth2 address 02:00:00:00:00:12 netns r')
  for (const [ns, dev, addr] of [
    [h1, 'eth0', '10.1.0.1/24'],
    [r, 'eth1', '10.1.0.254/24'],
    [r, 'eth2', '10.2.0.254/24'],
    [h2, 'eth0', '10.2.0.2/24'],
  ] as const) {
    run(ns, `ip link set ${dev} up`)
    run(ns, `ip addr add ${addr} dev ${dev}`)
  }
  run(r, 'sysctl -qw net.ipv4.ip_forward=1')
  run(r, 'ip neigh replace 10.2.0.2 lladdr 02:00:00:00:00:02 dev eth2 nud permanent')
  expect(nftLoad(r, text, 'rules.nft').stderr).toBe('')
  const send = (port: number): Seen[] => {
    const seen: Seen[] = []
    const tracer: Tracer = {
      wantMisses: true,
      step(point, _slot, ns, _dev, a, b, c, ref) {
        if (ns === r) seen.push({ point, a, b, c, ref })
      },
    }
    w.tracer = tracer
    const frame = Buffer.from(
      '0200000000110200000000010800450000201234400040110000' +
        '0a010001' +
        '0a020002' +
        '0bb80000000c00006162' +
        '6364',
      'hex',
    )
    frame.writeUInt16BE(port, 36)
    let sum = 0
    for (let i = 14; i < 34; i += 2) sum += frame.readUInt16BE(i)
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
    frame.writeUInt16BE(~sum & 0xffff, 24)
    injectFrame(w, h1.devices.get('eth0')!, frame)
    w.softirq()
    w.tracer = null
    return seen
  }
  return { w, r, send }
}

/** Reasons that packets ended for in the router. */
const ends = (seen: Seen[]): number[] => seen.filter((s) => s.point === T_END).map((s) => s.a)

describe('nftables rule walk', () => {
  it('names table, chain, handle, text and origin of the rules that decide, and of those that do not match', () => {
    const { send } = lab(`table inet t {
  chain sub { udp dport 7 drop comment "seven"; }
  chain f { type filter hook forward priority 0; policy drop;
    udp dport 9 accept
    ip saddr 10.1.0.0/24 counter jump sub
  }
}
`)
    const rules = send(7).filter((s) => s.point === T_NF_RULE)
    expect(rules.map((s) => (s.ref as NftRule).text)).toEqual([
      'ip saddr 10.1.0.0/24 counter jump sub',
      'udp dport 7 drop comment "seven"',
    ])
    const last = rules.at(-1)!
    expect(last.ref).toBeInstanceOf(NftRule)
    const ref = last.ref as NftRule
    expect([ref.table, ref.chain, ref.handle, ref.origin, last.a, last.b, last.c]).toEqual([
      'inet t',
      'sub',
      3,
      'rules.nft:2',
      2,
      1,
      0,
    ])
    expect(
      send(7)
        .filter((s) => s.point === T_NF_MISS)
        .map((s) => (s.ref as NftRule).text),
    ).toEqual(['udp dport 9 accept'])
    expect(ends(send(7))).toEqual([R_NF_DROP])
    expect(send(8).some((s) => s.point === T_NF_POLICY && s.c === 0)).toBe(true)
    expect(ends(send(8))).toEqual([R_NF_POLICY])
  })

  it('keeps counters and numgen over changes of the chain, and reset shows what it clears', () => {
    const { r, send } = lab(`table ip t {
  counter all { }
  chain a { counter; }
  chain b { counter; }
  chain f { type filter hook forward priority 0; counter name all; numgen inc mod 2 vmap { 0 : jump a, 1 : jump b }; }
}
`)
    send(1)
    nft(r, ['add', 'rule', 'ip', 't', 'f', 'udp', 'dport', '99', 'drop'])
    send(1)
    send(1)
    const text = nft(r, ['list', 'ruleset']).stdout
    expect(text).toContain('packets 3 bytes 96')
    expect(nft(r, ['list', 'chain', 'ip', 't', 'a']).stdout).toContain('counter packets 2 bytes 64')
    expect(nft(r, ['list', 'chain', 'ip', 't', 'b']).stdout).toContain('counter packets 1 bytes 32')
    expect(nft(r, ['reset', 'counters']).stdout).toContain('packets 3 bytes 96')
    expect(nft(r, ['list', 'counters']).stdout).toContain('packets 0 bytes 0')
  })

  it.each([
    ['queue', 'chain f { type filter hook forward priority 0; udp dport 5 queue num 1; }'],
    ['socket', 'chain f { type filter hook forward priority 0; socket transparent 1 drop; }'],
    ['ct helper', 'chain f { type filter hook forward priority 0; ct helper "ftp" accept; }'],
    ['meta day', 'chain f { type filter hook forward priority 0; meta day "Monday" accept; }'],
  ])('a packet that meets %s ends as UNMODELLED', (_name, chain) => {
    const { send } = lab(`table inet t {\n${chain}\n}\n`)
    expect(ends(send(5))).toEqual([R_UNMODELLED])
  })

  it('a chain at the ingress of a device sees what comes in there and nothing else', () => {
    const at = (dev: string) =>
      lab(`table netdev t {\nchain f { type filter hook ingress device "${dev}" priority 0; udp dport 5 drop; }\n}\n`)
    expect(ends(at('eth1').send(5))).toEqual([R_NF_DROP])
    expect(ends(at('eth1').send(6))).not.toEqual([R_NF_DROP])
    expect(ends(at('eth2').send(5))).not.toEqual([R_NF_DROP])
    const { r, send } = at('eth1')
    nft(r, ['delete', 'table', 'netdev', 't'])
    expect(ends(send(5))).not.toEqual([R_NF_DROP])
  })

  it('REJECT at the ingress of a device ends as UNMODELLED', () => {
    const { send } = lab(
      'table netdev t {\nchain f { type filter hook ingress device "eth1" priority 0; reject; }\n}\n',
    )
    expect(ends(send(5))).toEqual([R_UNMODELLED])
  })

  it('takes chains off their hooks when they go, and when the table sleeps', () => {
    const { r, send } = lab('table ip t { chain f { type filter hook forward priority 0; policy drop; }\n}\n')
    expect(ends(send(5))).toEqual([R_NF_POLICY])
    nft(r, ['-f', '-'], 'table ip t { flags dormant; }\n')
    expect(ends(send(5))).toEqual([])
    nft(r, ['-f', '-'], 'table ip t { }\n')
    expect(ends(send(5))).toEqual([R_NF_POLICY])
    nft(r, ['flush', 'ruleset'])
    expect(ends(send(5))).toEqual([])
  })

  it('rejects through a verdict map and runs the counters of elements', () => {
    const { r, send } = lab(`table ip t {
  set s { type inet_service; counter; elements = { 5, 6 }; }
  map m { type inet_service : verdict; elements = { 6 : goto rej, * : accept }; }
  chain rej { reject; }
  chain f { type filter hook forward priority 0; udp dport @s; udp dport vmap @m; }
}
`)
    expect(ends(send(6))).toContain(R_NF_REJECT)
    send(5)
    send(5)
    expect(nft(r, ['list', 'set', 'ip', 't', 's']).stdout).toContain(
      '5 counter packets 2 bytes 64, 6 counter packets 1 bytes 32',
    )
  })

  it('reads the rules of every nft lab', () => {
    for (const name of ['nft-kp-clusterip', 'nft-marks'])
      expect(Object.keys(labScenario(name).nft ?? {})).toEqual(['n1'])
  })
})
