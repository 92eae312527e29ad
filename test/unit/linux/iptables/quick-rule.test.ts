/**
 * The short walk over rules that only ask for the connection's state or the mark, and mangle hooks that are only counted:
 * verdicts and counters are those of the whole walk, which a tracer forces.
 */
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import {
  IP_CT_ESTABLISHED,
  IP_CT_ESTABLISHED_REPLY,
  IP_CT_NEW,
  IP_CT_RELATED,
  IP_CT_RELATED_REPLY,
  IP_CT_UNTRACKED,
} from '../../../../src/linux/netfilter/conntrack/layout.ts'
import { NF_DROP, NF_INET_FORWARD, nfHook } from '../../../../src/linux/netfilter/hooks.ts'
import { iptDoTable } from '../../../../src/linux/netfilter/iptables/eval.ts'
import { ctStateBit } from '../../../../src/linux/netfilter/iptables/quick-rule.ts'
import type { Netns } from '../../../../src/linux/netns.ts'
import { iptablesRestore, iptablesSave } from '../../../../src/linux/tools/iptables.ts'
import type { Tracer } from '../../../../src/linux/trace.ts'
import { World } from '../../../../src/linux/world.ts'
import { M_CT, M_CTINFO, M_MARK, META_SHIFT } from '../../../../src/packet/layout.ts'

const WHOLE: Tracer = { wantMisses: false, step: () => {} }
const CTINFOS = [IP_CT_ESTABLISHED, IP_CT_RELATED, IP_CT_NEW, IP_CT_ESTABLISHED_REPLY, IP_CT_RELATED_REPLY]

const match = fc.oneof(
  fc.constant(''),
  fc
    .tuple(fc.boolean(), fc.constantFrom('NEW', 'INVALID', 'RELATED,ESTABLISHED', 'UNTRACKED', 'NEW,UNTRACKED'))
    .map(([not, states]) => `-m conntrack ${not ? '! ' : ''}--ctstate ${states} `),
  fc
    .tuple(fc.boolean(), fc.constantFrom('0x4000/0x4000', '0x1', '0x0/0x1'))
    .map(([not, mark]) => `-m mark ${not ? '! ' : ''}--mark ${mark} `),
  // rules that need the whole walk
  fc.constantFrom('-s 10.0.0.0/8 ', '-p udp ', '! -d 10.0.0.2/32 ', '-m mark --mark 0x1 -m conntrack --ctstate NEW '),
)
/** Chains A, B, C: jumps go on to later chains only. */
const target = (chain: number): fc.Arbitrary<string> =>
  fc.constantFrom(
    '',
    '-j ACCEPT',
    '-j DROP',
    '-j RETURN',
    ...['A', 'B', 'C'].slice(chain).flatMap((c) => [`-j ${c}`, `-g ${c}`]),
  )
const rules = (chain: number): fc.Arbitrary<string[]> =>
  fc.array(
    fc.tuple(match, target(chain)).map(([m, t]) => `-A ${['FORWARD', 'A', 'B', 'C'][chain]} ${m}${t}`),
    { maxLength: 4 },
  )
const ruleset = fc
  .tuple(fc.constantFrom('ACCEPT', 'DROP'), rules(0), rules(1), rules(2), rules(3))
  .map(([policy, ...lists]) =>
    [`*filter`, `:FORWARD ${policy}`, ':A -', ':B -', ':C -', ...lists.flat(), 'COMMIT', ''].join('\n'),
  )
const packet = fc.record({
  tracked: fc.boolean(),
  ctinfo: fc.constantFrom(...CTINFOS, IP_CT_UNTRACKED),
  mark: fc.constantFrom(0, 1, 0x4000, 0x4001),
})
type Packet = typeof packet extends fc.Arbitrary<infer T> ? T : never

function frame(ns: Netns, p: Packet): number {
  const w = ns.world
  const bytes = new Uint8Array(42)
  bytes.set([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2, 0, 8, 0, 0], 14)
  const slot = w.arena.fromFrame(bytes)
  w.arena.pull(slot, 14)
  const m = slot << META_SHIFT
  w.arena.meta[m + M_CT] = p.tracked && p.ctinfo !== IP_CT_UNTRACKED ? 1 : 0
  w.arena.meta[m + M_CTINFO] = p.ctinfo
  w.arena.meta[m + M_MARK] = p.mark
  return slot
}

function filterRun(text: string, packets: readonly Packet[], tracer: Tracer | null): unknown {
  const ns = new World().addNetns('n')
  const loaded = iptablesRestore(ns, text)
  if (!loaded.ok) return loaded.errors
  const w = ns.world
  w.tracer = tracer
  const verdicts = packets.map((p) => {
    const slot = frame(ns, p)
    const verdict = iptDoTable(w, ns, ns.nf.tables.filter!, NF_INET_FORWARD, slot, ns.lo, ns.lo)
    w.arena.free(slot)
    return `${verdict} ${verdict === NF_DROP ? w.dropReason : ''}`
  })
  return { verdicts, saved: iptablesSave(ns, { counters: true }).replace(/^#.*\n/gm, '') }
}

describe('the walk of quick rules', () => {
  it('gives the verdicts and the counters of the whole walk', () => {
    let counted = 0
    fc.assert(
      fc.property(ruleset, fc.array(packet, { minLength: 1, maxLength: 12 }), (text, packets) => {
        const quick = filterRun(text, packets, null)
        expect(quick).toEqual(filterRun(text, packets, WHOLE))
        if (/^\[[1-9]/m.test(JSON.stringify(quick).replaceAll('\\n', '\n'))) counted++
      }),
      { numRuns: 300 },
    )
    // else no rule was ever met
    expect(counted).toBeGreaterThan(100)
  })

  it('takes the state bit that xt_conntrack takes', () => {
    expect(CTINFOS.map((c) => ctStateBit(1, c))).toEqual([2, 4, 8, 2, 4])
    expect(ctStateBit(0, IP_CT_UNTRACKED)).toBe(256)
    expect(ctStateBit(0, 0)).toBe(1)
  })
})

describe('a mangle hook without rules', () => {
  it('counts every packet, also over listings, zeroing and new rules', () => {
    const ns = new World().addNetns('n')
    const w = ns.world
    const load = (rule: string): void => {
      expect(iptablesRestore(ns, `*mangle\n${rule}COMMIT\n`, { noflush: true }).ok).toBe(true)
    }
    const send = (n: number): void => {
      for (let i = 0; i < n; i++) {
        const slot = frame(ns, { tracked: false, ctinfo: 0, mark: 0 })
        nfHook(w, ns, NF_INET_FORWARD, slot, ns.lo, ns.lo)
        w.arena.free(slot)
      }
    }
    const policy = (): string | undefined => /:FORWARD .*/.exec(iptablesSave(ns, { counters: true }))?.[0]
    load('')
    send(3)
    expect(policy()).toBe(':FORWARD ACCEPT [3:84]')
    expect(ns.nf.idleMangle & (1 << NF_INET_FORWARD)).not.toBe(0)
    send(2)
    expect(policy()).toBe(':FORWARD ACCEPT [5:140]')
    load('-A FORWARD -j MARK --set-mark 7\n')
    send(1)
    const slot = frame(ns, { tracked: false, ctinfo: 0, mark: 0 })
    nfHook(w, ns, NF_INET_FORWARD, slot, ns.lo, ns.lo)
    expect(w.arena.meta[(slot << META_SHIFT) + M_MARK]).toBe(7)
    expect(policy()).toBe(':FORWARD ACCEPT [7:196]')
    expect(iptablesSave(ns, { counters: true })).toContain('[2:56] -A FORWARD -j MARK')
  })
})
