/** Rule text: what iptables-restore takes, what iptables-save and -L print; fixtures were recorded from the real tool. */
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { ipsetRestore } from '../../../../src/linux/tools/ipset.ts'
import { iptables, iptablesRestore, iptablesSave } from '../../../../src/linux/tools/iptables.ts'
import { errorCases, newNs, ruleCases, SETS } from './support.ts'

const rules = ruleCases()

describe('rules as the real iptables-save prints them', () => {
  it.each(rules.filter((c) => c.save !== undefined).map((c) => [c.rule, c] as const))('%s', (_rule, c) => {
    const ns = newNs()
    ipsetRestore(ns, SETS)
    const before = c.rule.startsWith('-I') ? '-A FORWARD -j ACCEPT\n' : ''
    const text = `*${c.table}\n:U1 - [0:0]\n${before}${c.rule}\nCOMMIT\n`
    expect(iptablesRestore(ns, text)).toEqual({ ok: true, errors: [] })
    const saved = iptablesSave(ns).split('\n')
    expect(saved.filter((l) => l.startsWith('-A'))).toEqual(c.save)
    if (c.list === null) return
    const listed = iptables(ns, ['-t', c.table, '-L', '-n', '-v', '--line-numbers']).stdout.split('\n')
    expect(listed.filter((l) => /^\d/.test(l))).toEqual(c.list)
  })
})

describe('errors in the words and at the line of the real iptables-restore', () => {
  it.each(errorCases().map((c) => [JSON.stringify(c.text), c] as const))('%s', (_text, c) => {
    const ns = newNs()
    const { ok, errors } = iptablesRestore(ns, c.text)
    expect(ok).toBe(c.status === 0)
    if (c.status === 0) return
    const line = /Error occurred at line: (\d+)/.exec(c.stderr)?.[1] ?? /line (\d+)/.exec(c.stderr)?.[1]
    const message = c.stderr.replace(/\n*Error occurred[\s\S]*/, '').replace(/\n+$/, '')
    expect(String(errors[0]!.line)).toBe(line)
    if (/line \d+ failed$/.test(message)) expect(errors[0]!.message.startsWith(message)).toBe(true)
    else expect(errors[0]!.message.replace(/\n+$/, '')).toBe(message)
  })

  it('collects the errors of all lines and changes nothing', () => {
    const ns = newNs()
    const r = iptablesRestore(
      ns,
      '*filter\n-A FORWARD -j FOO\n-A FORWARD -j ACCEPT\n-A NOPE -j DROP\n-A FORWARD --x\nCOMMIT\n',
    )
    expect(r.errors.map((e) => e.line)).toEqual([2, 4, 5])
    expect(iptablesSave(ns, { table: 'filter' })).not.toContain('-A')
  })

  it('says of an extension that the real tool has that it is not modelled', () => {
    const r = iptablesRestore(newNs(), '*filter\n-A FORWARD -m string --string x --algo bm -j DROP\nCOMMIT\n')
    expect(r.errors[0]!.message).toContain("match `string' is not modelled")
    const q = iptablesRestore(newNs(), '*filter\n-A FORWARD -j NFQUEUE --queue-num 1\nCOMMIT\n')
    expect(q.errors[0]!.message).toContain("target `NFQUEUE' is not modelled")
  })
})

describe('printing', () => {
  const matchTexts = rules
    .filter((c) => c.save?.length === 1 && c.table === 'filter' && !/-p |-f|-[sdio] /.test(c.save[0]!))
    .map((c) => / -m .*?(?= -[jg] |$)/.exec(c.save![0]!)?.[0] ?? '')
    .filter((t) => t !== '' && !t.includes('owner') && !t.includes('cgroup') && !t.includes('-m icmp'))
  const address = fc.tuple(fc.boolean(), fc.nat(0xffffff), fc.integer({ min: 1, max: 32 })).map(([inv, n, len]) => {
    const ip = (n << 8) & (-1 << (32 - len))
    return { inv, text: `${ip >>> 24}.${(ip >>> 16) & 255}.${(ip >>> 8) & 255}.${ip & 255}/${len}` }
  })
  const rule = fc
    .record({
      src: fc.option(address),
      dst: fc.option(address),
      input: fc.option(fc.constantFrom('eth0', 'cali+', 'br-1')),
      proto: fc.option(fc.constantFrom('tcp', 'udp', 'icmp', 'sctp', 'ipencap')),
      matches: fc.array(fc.constantFrom(...matchTexts), { maxLength: 4 }),
      target: fc.constantFrom(
        '',
        ' -j ACCEPT',
        ' -j DROP',
        ' -j U1',
        ' -g U1',
        ' -j RETURN',
        ' -j MARK --set-xmark 0x1/0xff',
      ),
    })
    .map((r) => {
      const net = (flag: string, a: { inv: boolean; text: string } | null): string => {
        return a === null ? '' : `${a.inv ? ' !' : ''} ${flag} ${a.text}`
      }
      const input = r.input === null ? '' : ` -i ${r.input}`
      const proto = r.proto === null ? '' : ` -p ${r.proto}`
      return `-A FORWARD${net('-s', r.src)}${net('-d', r.dst)}${input}${proto}${r.matches.join('')}${r.target}`
    })

  it('gives back every rule that is in its own form (parse after print is the identity)', () => {
    fc.assert(
      fc.property(fc.array(rule, { minLength: 1, maxLength: 5 }), (lines) => {
        const ns = newNs()
        ipsetRestore(ns, SETS)
        const text = `*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:U1 - [0:0]\n${lines.join('\n')}\nCOMMIT\n`
        expect(iptablesRestore(ns, text).errors).toEqual([])
        expect(iptablesSave(ns)).toBe(text)
      }),
      { numRuns: 150 },
    )
  })
})
