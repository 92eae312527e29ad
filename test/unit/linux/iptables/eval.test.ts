/** ipt_do_table: chains, matches and targets on packets. */
import { describe, expect, it } from '@jest/globals'
import { createLink } from '../../../../src/linux/device/ops.ts'
import { iptOptions } from '../../../../src/linux/netfilter/iptables/eval.ts'
import { IptRule } from '../../../../src/linux/netfilter/iptables/types.ts'
import { R_L4_HDR, R_NF_DROP, R_NF_POLICY, R_UNMODELLED } from '../../../../src/linux/reasons.ts'
import { ipset } from '../../../../src/linux/tools/ipset.ts'
import { iptables, iptablesSave } from '../../../../src/linux/tools/iptables.ts'
import { T_NF_MISS, T_NF_POLICY, T_NF_RULE } from '../../../../src/linux/trace.ts'
import {
  M_CT,
  M_CTINFO,
  M_MARK,
  M_NFB_IN,
  M_NFB_OUT,
  M_NFB_STATE,
  META_SHIFT,
  NFB_PRESENT,
} from '../../../../src/packet/layout.ts'
import type { TcpOption } from '../../../../src/wire/tcp-options.ts'
import { type PacketBuilder, pkt, type TcpOptions } from '../../../support/packet-builder.ts'
import { Recorder, Walker } from './support.ts'

const DROP = 0
const ACCEPT = 1
const ip = (o: object = {}): PacketBuilder => {
  return pkt()
    .eth({ src: '02:00:00:00:00:01', dst: '02:00:00:00:00:02' })
    .ip({ src: '10.0.0.1', dst: '10.0.0.2', ...o })
}
const udp = (sport: number, dport: number, o: object = {}): Uint8Array =>
  ip(o).udp(sport, dport).payload('hello').bytes()
const tcp = (dport: number, o: TcpOptions = {}): Uint8Array => ip().tcp(4000, dport, o).bytes()
const counts = (w: Walker): string[] =>
  iptablesSave(w.ns, { table: w.table, counters: true })
    .split('\n')
    .filter((l) => /^(\[|:[A-Z]+ (ACCEPT|DROP))/.test(l))

describe('chains', () => {
  it('comes back after RETURN, does not after goto, and ends at the policy', () => {
    const w = new Walker(
      'filter',
      `:FORWARD DROP [0:0]
:A - [0:0]
:B - [0:0]
:G - [0:0]
-A FORWARD -p udp -j A
-A FORWARD -p udp --dport 5 -j ACCEPT
-A A -p udp --dport 1 -j RETURN
-A A -p udp --dport 2 -j B
-A A -p udp --dport 3 -g G
-A A -p udp --dport 2 -j ACCEPT
-A G -p udp --sport 60 -j ACCEPT
-A B -j RETURN`,
    )
    expect(w.walk(udp(9, 1))).toBe(DROP)
    expect(w.world.dropReason).toBe(R_NF_POLICY)
    expect(w.walk(udp(9, 2))).toBe(ACCEPT)
    expect(w.walk(udp(60, 3))).toBe(ACCEPT)
    expect(w.walk(udp(9, 3))).toBe(DROP)
    expect(w.walk(udp(9, 5))).toBe(ACCEPT)
    expect(counts(w)).toEqual([
      ':INPUT ACCEPT [0:0]',
      ':FORWARD DROP [2:66]',
      ':OUTPUT ACCEPT [0:0]',
      '[5:165] -A FORWARD -p udp -j A',
      '[1:33] -A FORWARD -p udp -m udp --dport 5 -j ACCEPT',
      '[1:33] -A A -p udp -m udp --dport 1 -j RETURN',
      '[1:33] -A A -p udp -m udp --dport 2 -j B',
      '[2:66] -A A -p udp -m udp --dport 3 -g G',
      '[1:33] -A A -p udp -m udp --dport 2 -j ACCEPT',
      '[1:33] -A B -j RETURN',
      '[1:33] -A G -p udp -m udp --sport 60 -j ACCEPT',
    ])
  })

  it('sends a goto from a base chain to the policy when the other chain returns', () => {
    const w = new Walker(
      'filter',
      ':FORWARD DROP [0:0]\n:G - [0:0]\n-A FORWARD -g G\n-A FORWARD -j ACCEPT\n-A G -p tcp -j ACCEPT',
    )
    expect(w.walk(udp(1, 2))).toBe(DROP)
    expect(w.walk(tcp(80))).toBe(ACCEPT)
  })

  it('tells the tracer which rule, its index and its verdict, and the misses only when asked', () => {
    const rules = '-A FORWARD -p tcp -j DROP\n-A FORWARD -j MARK --set-mark 1\n-A FORWARD -p udp -j DROP'
    const w = new Walker('filter', rules)
    const brief = (w.world.tracer = new Recorder())
    expect(w.walk(udp(1, 2))).toBe(DROP)
    expect(w.world.dropReason).toBe(R_NF_DROP)
    expect(brief.steps.map((s) => [s.point, s.a, s.b, s.c])).toEqual([
      [T_NF_RULE, 2, 2, -1],
      [T_NF_RULE, 2, 3, DROP],
    ])
    expect((brief.steps[1]!.ref as IptRule).text).toBe('-A FORWARD -p udp -j DROP')
    const verbose = (w.world.tracer = new Recorder(true))
    w.walk(udp(1, 2))
    expect(verbose.steps.map((s) => s.point)).toEqual([T_NF_MISS, T_NF_RULE, T_NF_RULE])
    iptables(w.ns, ['-D', 'FORWARD', '3'])
    const policy = (w.world.tracer = new Recorder())
    w.walk(udp(1, 2))
    expect(policy.steps.map((s) => [s.point, s.b, s.c])).toEqual([
      [T_NF_RULE, 2, -1],
      [T_NF_POLICY, 0, ACCEPT],
    ])
  })
})

describe('headers', () => {
  it('matches addresses, masks and their inversion', () => {
    const w = new Walker('filter', ':FORWARD DROP [0:0]\n-A FORWARD -s 10.0.0.0/24 ! -d 10.0.0.3 -j ACCEPT')
    expect(w.walk(udp(1, 2))).toBe(ACCEPT)
    expect(w.walk(udp(1, 2, { dst: '10.0.0.3' }))).toBe(DROP)
    expect(w.walk(udp(1, 2, { src: '10.0.1.1' }))).toBe(DROP)
  })

  it('matches interfaces by name and prefix, follows a rename, and treats no interface as an empty name', () => {
    const w = new Walker('filter', ':FORWARD DROP [0:0]\n-A FORWARD -i cali+ -j ACCEPT\n-A FORWARD ! -o eth0 -j ACCEPT')
    const mac = { hi: 0x0200, lo: 1 }
    const [a, b] = createLink({ ns: w.ns, name: 'cali1', mac }, { ns: w.ns, name: 'eth0', mac })
    expect(w.walk(udp(1, 2), 2, a, b)).toBe(ACCEPT)
    expect(w.walk(udp(1, 2), 2, b, b)).toBe(DROP)
    expect(w.walk(udp(1, 2), 2, b, null)).toBe(ACCEPT)
    a.name = 'veth1'
    expect(w.walk(udp(1, 2), 2, a, b)).toBe(DROP)
  })

  it('-f matches later fragments; port matches do not, and a TCP fragment at offset 8 is dropped', () => {
    const w = new Walker(
      'filter',
      '-A FORWARD -f -j DROP\n-A FORWARD -p udp --dport 0:65535 -m udp ! --sport 1 -j DROP',
    )
    expect(w.walk(udp(7, 2, { fragmentOffsetBytes: 1480 }))).toBe(DROP)
    iptables(w.ns, ['-D', 'FORWARD', '1'])
    expect(w.walk(udp(7, 2, { fragmentOffsetBytes: 1480 }))).toBe(ACCEPT)
    expect(w.walk(udp(7, 2, { mf: true }))).toBe(DROP)
    const t = new Walker('filter', '-A FORWARD -p tcp --dport 1 -j ACCEPT\n-A FORWARD -j ACCEPT')
    expect(t.walk(ip({ fragmentOffsetBytes: 8 }).tcp(1, 2).bytes())).toBe(DROP)
    expect(t.world.dropReason).toBe(R_L4_HDR)
    expect(t.walk(ip({ fragmentOffsetBytes: 16 }).tcp(1, 2).bytes())).toBe(ACCEPT)
  })

  it('drops a packet whose transport header is cut off when a port match looks at it', () => {
    const w = new Walker('filter', '-A FORWARD -p udp --dport 5 -j ACCEPT\n-A FORWARD -j ACCEPT')
    expect(w.walk(ip({ protocol: 17 }).payload('abcd').bytes())).toBe(DROP)
    expect(w.world.dropReason).toBe(R_L4_HDR)
  })
})

describe('matches', () => {
  it('statistic nth takes every n-th packet from the one that --packet says', () => {
    const w = new Walker(
      'filter',
      ':FORWARD DROP [0:0]\n-A FORWARD -m statistic --mode nth --every 3 --packet 1 -j ACCEPT',
    )
    expect([1, 2, 3, 4, 5, 6, 7].map(() => w.walk(udp(1, 2)))).toEqual([DROP, ACCEPT, DROP, DROP, ACCEPT, DROP, DROP])
  })

  it('statistic nth starts anew when the table is replaced', () => {
    const w = new Walker(
      'filter',
      ':FORWARD DROP [0:0]\n-A FORWARD -m statistic --mode nth --every 2 --packet 0 -j ACCEPT',
    )
    expect(w.walk(udp(1, 2))).toBe(ACCEPT)
    iptables(w.ns, ['-A', 'INPUT', '-j', 'ACCEPT'])
    expect(w.walk(udp(1, 2))).toBe(ACCEPT)
  })

  it('statistic random hits about as often as it says, always for 1 and never for 0', () => {
    const w = new Walker('filter', '-A FORWARD -m statistic --mode random --probability 0.3 -j DROP')
    let drops = 0
    for (let i = 0; i < 2000; i++) if (w.walk(udp(1, 2)) === DROP) drops++
    expect(drops).toBeGreaterThan(520)
    expect(drops).toBeLessThan(680)
    w.load(
      '-A FORWARD -m statistic --mode random --probability 0 -j DROP\n-A FORWARD -m statistic --mode random --probability 1 -j ACCEPT\n-A FORWARD -j DROP',
    )
    for (let i = 0; i < 50; i++) expect(w.walk(udp(1, 2))).toBe(ACCEPT)
  })

  it('recent remembers a source for --seconds and counts hits', () => {
    const w = new Walker(
      'filter',
      ':FORWARD DROP [0:0]\n-A FORWARD -p udp --dport 1 -m recent --set --name L -j ACCEPT\n-A FORWARD -p udp --dport 2 -m recent --rcheck --seconds 10 --reap --name L -j ACCEPT\n-A FORWARD -p udp --dport 3 -m recent --update --seconds 60 --hitcount 3 --name L -j ACCEPT\n-A FORWARD -p udp --dport 4 -m recent --remove --name L -j ACCEPT',
    )
    expect(w.walk(udp(9, 2))).toBe(DROP)
    w.walk(udp(9, 1))
    expect(w.walk(udp(9, 2))).toBe(ACCEPT)
    expect(w.walk(udp(9, 2, { src: '10.0.0.9' }))).toBe(DROP)
    w.world.nowNs = 10e9
    expect(w.walk(udp(9, 2))).toBe(ACCEPT)
    w.world.nowNs = 10.002e9
    expect(w.walk(udp(9, 2))).toBe(DROP)
    w.walk(udp(9, 1))
    expect(w.walk(udp(9, 3))).toBe(DROP)
    w.walk(udp(9, 1))
    w.walk(udp(9, 1))
    expect(w.walk(udp(9, 3))).toBe(ACCEPT)
    expect(w.walk(udp(9, 4))).toBe(ACCEPT)
    expect(w.walk(udp(9, 4))).toBe(DROP)
  })

  it('limit lets the burst pass, then the rate', () => {
    const w = new Walker('filter', ':FORWARD DROP [0:0]\n-A FORWARD -m limit --limit 2/sec --limit-burst 3 -j ACCEPT')
    expect([1, 2, 3, 4].map(() => w.walk(udp(1, 2)))).toEqual([ACCEPT, ACCEPT, ACCEPT, DROP])
    w.world.nowNs += 499e6
    expect(w.walk(udp(1, 2))).toBe(DROP)
    w.world.nowNs += 2e6
    expect(w.walk(udp(1, 2))).toBe(ACCEPT)
    expect(w.walk(udp(1, 2))).toBe(DROP)
  })

  it.each([
    ['-m length --length 33', udp(1, 2), ACCEPT],
    ['-m length ! --length 0:33', udp(1, 2), DROP],
    ['-m ttl --ttl-lt 64', udp(1, 2), DROP],
    ['-m ttl --ttl-gt 63', udp(1, 2), ACCEPT],
    ['-m tos --tos 0x10/0x3f', udp(1, 2, { tos: 0x50 }), ACCEPT],
    ['-m dscp --dscp 0x14', udp(1, 2, { tos: 0x53 }), ACCEPT],
    ['-m iprange --src-range 10.0.0.0-10.0.0.1 ! --dst-range 10.0.0.3-10.0.0.9', udp(1, 2), ACCEPT],
    ['-m mac --mac-source 02:00:00:00:00:01', udp(1, 2), DROP],
    ['-p udp -m multiport --dports 1,5:9', udp(1, 7), ACCEPT],
    ['-p udp -m multiport ! --ports 1,5:9', udp(1, 70), DROP],
    ['-p tcp --syn', tcp(80, { flags: 'S' }), ACCEPT],
    ['-p tcp --syn', tcp(80, { flags: 'SA' }), DROP],
    ['-p tcp ! --syn', tcp(80, { flags: 'A' }), ACCEPT],
    ['-p tcp --tcp-option 2', tcp(80, { flags: 'S', options: [{ kind: 'mss', mssBytes: 1460 }] }), ACCEPT],
    ['-p tcp -m tcpmss --mss 1400:1500', tcp(80, { flags: 'S', options: [{ kind: 'mss', mssBytes: 1460 }] }), ACCEPT],
    ['-p tcp -m tcpmss --mss 1400:1500', tcp(80, { flags: 'S' }), DROP],
    ['-m ecn --ecn-ip-ect 1', udp(1, 2, { tos: 1 }), ACCEPT],
    ['-p icmp --icmp-type 8', ip().icmpEcho().bytes(), ACCEPT],
    ['-p icmp --icmp-type 8/1', ip().icmpEcho().bytes(), DROP],
    ['-m conntrack --ctstate INVALID', udp(1, 2), ACCEPT],
    ['-m conntrack ! --ctstate NEW,ESTABLISHED', udp(1, 2), ACCEPT],
    ['-m conntrack --ctproto udp', udp(1, 2), DROP],
    ['-m physdev ! --physdev-is-bridged', udp(1, 2), ACCEPT],
    ['-m physdev --physdev-in x', udp(1, 2), DROP],
  ] as const)('%s', (match, frame, verdict) => {
    expect(new Walker('filter', `:FORWARD DROP [0:0]\n-A FORWARD ${match} -j ACCEPT`).walk(frame)).toBe(verdict)
  })

  it('mark and physdev read what the stack put beside the packet', () => {
    const w = new Walker(
      'filter',
      ':FORWARD DROP [0:0]\n-A FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT\n-A FORWARD -m physdev --physdev-in cali+ --physdev-out eth0 --physdev-is-bridged -j ACCEPT',
    )
    const mac = { hi: 0x0200, lo: 1 }
    const [a, b] = createLink({ ns: w.ns, name: 'cali1', mac }, { ns: w.ns, name: 'eth0', mac })
    const slot = w.slot(udp(1, 2))
    const m = slot << META_SHIFT
    const { meta } = w.world.arena
    expect(w.walkSlot(slot)).toBe(DROP)
    meta[m + M_MARK] = 0x4001
    expect(w.walkSlot(slot)).toBe(ACCEPT)
    meta[m + M_MARK] = 0
    meta[m + M_NFB_STATE] = NFB_PRESENT
    meta[m + M_NFB_IN] = a.id
    expect(w.walkSlot(slot)).toBe(DROP)
    meta[m + M_NFB_OUT] = b.id
    expect(w.walkSlot(slot)).toBe(ACCEPT)
  })

  it('ends a packet that meets an unmodelled match or target as UNMODELLED, never lets it through', () => {
    for (const rule of [
      '-m u32 --u32 "6&0xFF=17" -j ACCEPT',
      '-p udp -m hashlimit --hashlimit-upto 1/s --hashlimit-name h -j ACCEPT',
    ]) {
      const w = new Walker('filter', `-A FORWARD -p tcp -j ACCEPT\n-A FORWARD ${rule}\n-A FORWARD -j ACCEPT`)
      expect(w.walk(tcp(80))).toBe(ACCEPT)
      expect(w.walk(udp(1, 2))).toBe(DROP)
      expect(w.world.dropReason).toBe(R_UNMODELLED)
    }
  })
})

describe('targets', () => {
  const rewritten = (table: string, rule: string, frame: Uint8Array, hook = 2): Uint8Array => {
    const w = new Walker(table, rule)
    const slot = w.slot(frame)
    expect(w.walkSlot(slot, hook)).toBe(ACCEPT)
    return w.world.arena.frameBytes(slot)
  }

  it('change marks by all five forms', () => {
    const w = new Walker('filter', '')
    const run = (rule: string, mark: number): number => {
      w.load(`-A FORWARD -j MARK ${rule}`)
      const slot = w.slot(udp(1, 2))
      w.world.arena.meta[(slot << META_SHIFT) + M_MARK] = mark
      w.walkSlot(slot)
      const out = w.world.arena.meta[(slot << META_SHIFT) + M_MARK]!
      w.world.arena.free(slot)
      return out >>> 0
    }
    expect(run('--set-mark 0x1234', 0xffff)).toBe(0x1234)
    expect(run('--set-xmark 0x1/0xff', 0xff80)).toBe(0xff01)
    expect(run('--or-mark 0x4000', 0x1)).toBe(0x4001)
    expect(run('--and-mark 0xff', 0x1ff)).toBe(0xff)
    expect(run('--xor-mark 0x4000', 0x4001)).toBe(1)
    expect(run('--set-mark 0x80000000', 0)).toBe(0x80000000)
  })

  it.each([
    ['TOS --set-tos 0x10/0xff', { tos: 0x03 }, { tos: 0x10 }],
    ['TOS --xor-tos 0xff', { tos: 0xf0 }, { tos: 0x0f }],
    ['DSCP --set-dscp 0x2e', { tos: 0x03 }, { tos: 0xbb }],
    ['TTL --ttl-set 7', { ttl: 64 }, { ttl: 7 }],
    ['TTL --ttl-dec 70', { ttl: 64 }, { ttl: 0 }],
    ['TTL --ttl-inc 200', { ttl: 64 }, { ttl: 255 }],
  ])('%s keeps the header checksum right', (target, before, want) => {
    expect(rewritten('mangle', `-A FORWARD -j ${target}`, udp(1, 2, before))).toEqual(udp(1, 2, want))
  })

  it('TCPMSS lowers the option, never raises it, and adds 536 at most where there is none', () => {
    const mss = (v: number): TcpOption => ({ kind: 'mss', mssBytes: v })
    const rule = '-A FORWARD -p tcp --syn -j TCPMSS --set-mss 1000'
    const syn = (v: number): Uint8Array => tcp(80, { flags: 'S', options: [mss(v)] })
    expect(rewritten('mangle', rule, syn(1460))).toEqual(syn(1000))
    expect(rewritten('mangle', rule, syn(900))).toEqual(syn(900))
    expect(rewritten('mangle', rule, tcp(80, { flags: 'S' }))).toEqual(syn(536))
  })

  it('NOTRACK marks a packet that has no connection as untracked', () => {
    const w = new Walker('raw', '-A PREROUTING -j NOTRACK')
    const slot = w.slot(udp(1, 2))
    w.walkSlot(slot, 0)
    expect(w.world.arena.meta[(slot << META_SHIFT) + M_CT]).toBe(0)
    expect(w.world.arena.meta[(slot << META_SHIFT) + M_CTINFO]).toBe(7)
  })

  it('SET adds and deletes what a set match then sees', () => {
    const w = new Walker('filter', '')
    ipset(w.ns, ['create', 'seen', 'hash:ip,port', 'timeout', '5'])
    w.load(
      ':FORWARD DROP [0:0]\n-A FORWARD -m set --match-set seen src,dst -j ACCEPT\n-A FORWARD -p udp --dport 9 -j SET --add-set seen src,dst\n-A FORWARD -p udp --dport 8 -j SET --del-set seen src,src',
    )
    expect(w.walk(udp(1, 9))).toBe(DROP)
    expect(w.walk(udp(1, 9))).toBe(ACCEPT)
    expect(ipset(w.ns, ['test', 'seen', '10.0.0.1,udp:9']).status).toBe(0)
    expect(w.walk(udp(9, 8))).toBe(DROP)
    expect(w.walk(udp(1, 9))).toBe(DROP)
    expect(w.walk(udp(1, 9))).toBe(ACCEPT)
    w.world.nowNs += 5.1e9
    expect(w.walk(udp(1, 9))).toBe(DROP)
  })
})

describe('the index of exact runs', () => {
  /** Small numbers, so that packets hit. */
  const random = (seed: number): ((n: number) => number) => {
    let s = seed
    return (n) => ((s = (Math.imul(s, 1103515245) + 12345) & 0x7fffffff) >>> 16) % n
  }

  it.each(Array.from({ length: 30 }, (_, i) => i + 1))(
    'gives the verdict, counters and trace of the linear walk (seed %i)',
    (seed) => {
      const r = random(seed)
      const lines = [
        ':FORWARD DROP [0:0]',
        ':S - [0:0]',
        ':X - [0:0]',
        ':Y - [0:0]',
        '-A FORWARD -j S',
        '-A X -p udp --sport 3 -j ACCEPT',
        '-A Y -j RETURN',
      ]
      const verdicts = ['-j X', '-j Y', '-j ACCEPT', '-j DROP', '-j MARK --set-mark 1', '', '-g X', '-j RETURN']
      for (let i = 0; i < 80; i++) {
        const kind = r(20)
        const proto = r(2) === 0 ? 'tcp' : 'udp'
        if (kind === 0) lines.push(`-A S -s 10.0.0.${r(4)} ${verdicts[r(6)]}`)
        else if (kind === 1) lines.push(`-A S -p ${proto} -m ${proto} --dport ${r(4)} ${verdicts[r(6)]}`)
        else
          lines.push(
            `-A S -d 10.0.0.${r(6)}/32 -p ${proto} -m comment --comment c -m ${proto} --dport ${r(6)} ${verdicts[r(8)]}`,
          )
      }
      const run = (useIndex: boolean): unknown => {
        iptOptions.useIndex = useIndex
        const w = new Walker('filter', lines.join('\n'))
        const tracer = (w.world.tracer = new Recorder())
        const p = random(seed + 1000)
        const verdict: number[] = []
        for (let i = 0; i < 60; i++) {
          const o = { src: `10.0.0.${p(4)}`, dst: `10.0.0.${p(6)}`, fragmentOffsetBytes: p(10) === 0 ? 24 : 0 }
          const frame = p(2) === 0 ? udp(p(5), p(6), o) : ip(o).tcp(p(5), p(6)).bytes()
          verdict.push(w.walk(frame))
        }
        iptOptions.useIndex = true
        const steps = tracer.steps.map((s) => [
          s.point,
          s.a,
          s.b,
          s.c,
          s.ref instanceof IptRule ? s.ref.text : 'policy',
        ])
        return { verdict, steps, counters: counts(w) }
      }
      const judged = run(false) as { steps: unknown[] }
      expect(run(true)).toEqual(judged)
      expect(judged.steps.length).toBeGreaterThan(100)
    },
  )

  it('takes a packet past 10,000 rules in one look', () => {
    const rules: string[] = [':FORWARD DROP [0:0]']
    for (let i = 0; i < 10_000; i++)
      rules.push(`-A FORWARD -d 10.96.${i >> 8}.${i & 255}/32 -p udp -m udp --dport 80 -j ACCEPT`)
    const w = new Walker('filter', rules.join('\n'))
    const frame = udp(1, 80, { dst: '10.96.39.15' })
    const tracer = (w.world.tracer = new Recorder())
    expect(w.walk(frame)).toBe(ACCEPT)
    expect(tracer.steps).toHaveLength(1)
    expect(tracer.steps[0]!.b).toBe(39 * 256 + 15 + 1)
    const program = w.ns.nf.tables.filter!.program
    expect(program.packets.reduce((a, b) => a + b)).toBe(1)
  })
})
