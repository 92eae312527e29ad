/**
 * ip6tables text against the real tool: the same restore text goes into the kernel and into podwalk, and what
 * ip6tables-legacy-save and ip6tables-legacy -L print must be equal; then what podwalk saved goes through the kernel.
 */
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { ipsetRestore } from '../../src/linux/tools/ipset.ts'
import { iptables, iptablesRestore, iptablesSave } from '../../src/linux/tools/iptables.ts'
import { describeKernel, inNetns, netnsAdd, netnsDel } from '../support/kernel.ts'
import { errorCases6, newNs, ruleCases6, SETS6 } from '../unit/linux/iptables/support.ts'

const NS = 'podwalk-ip6t-text'
const TABLES = ['filter', 'nat', 'raw', 'mangle']

function realSave(table: string): string {
  const out = inNetns(NS, ['ip6tables-legacy-save', '-t', table]).stdout
  return out.replace(/^#.*\n/gm, '')
}

describeKernel(
  'ip6tables text equals the real tool',
  ['ip6tables-legacy-restore', 'ip6tables-legacy-save', 'ipset'],
  () => {
    beforeAll(() => {
      netnsAdd(NS)
      expect(inNetns(NS, ['ipset', 'restore'], SETS6).status).toBe(0)
    })
    afterAll(() => netnsDel(NS))

    it.each(TABLES)('loads all recorded rules of %s at once and prints them equally', (table) => {
      const lines = ruleCases6().filter((c) => c.table === table && !c.rule.startsWith('-I'))
      const text = `*${table}\n:U1 - [0:0]\n${lines.map((c) => c.rule).join('\n')}\nCOMMIT\n`
      const real = inNetns(NS, ['ip6tables-legacy-restore'], text)
      expect(real.status).toBe(0)
      const ns = newNs()
      ipsetRestore(ns, SETS6)
      const warnings = real.stderr.split('\n').filter((l) => l.startsWith('Warning'))
      expect((iptablesRestore(ns, text, {}, 6).warnings ?? []).map((l) => l.trim())).toEqual(warnings)
      expect(iptablesSave(ns, { table }, 6)).toBe(realSave(table))
      for (const flags of [['-n'], ['-n', '-v', '--line-numbers'], ['-n', '-v', '-x']]) {
        const argv = ['-t', table, '-L', ...flags]
        const noBpf = (s: string): string[] => s.split('\n').filter((l) => !l.includes('match bpf'))
        expect(noBpf(iptables(ns, argv, 6).stdout)).toEqual(noBpf(inNetns(NS, ['ip6tables-legacy', ...argv]).stdout))
      }
      const argv = ['-t', table, '-S', '-v']
      expect(iptables(ns, argv, 6).stdout).toBe(inNetns(NS, ['ip6tables-legacy', ...argv]).stdout)
      const saved = iptablesSave(ns, { table }, 6)
      expect(inNetns(NS, ['ip6tables-legacy-restore'], saved).status).toBe(0)
      expect(realSave(table)).toBe(saved)
    })

    it('words every recorded error as the installed tool does now', () => {
      for (const c of errorCases6()) {
        const real = inNetns(NS, ['ip6tables-legacy-restore'], c.text)
        expect({ text: c.text, status: real.status, stderr: real.stderr }).toEqual(c)
      }
    })

    it('follows the same sequence of ip6tables commands', () => {
      inNetns(NS, ['sh', '-c', 'ip6tables-legacy -F; ip6tables-legacy -X'])
      const ns = newNs()
      const lines = [
        '-N KUBE-X',
        '-A FORWARD -j KUBE-X',
        '-A KUBE-X -s fd00::1 -j DROP',
        '-I KUBE-X -p icmpv6 --icmpv6-type 128 -j ACCEPT',
        '-X KUBE-X',
        '-D KUBE-X 1',
        '-E KUBE-X KUBE-Y',
        '-P FORWARD DROP',
        '-D KUBE-Y -s fd00:0::1/128 -j DROP',
        '-D KUBE-Y -s fd00::1/128 -j DROP',
        '-C FORWARD -j KUBE-Y',
        '-C FORWARD -j ACCEPT',
        '-N REJECT',
        '-A FORWARD -j NOPE',
        '-S',
        '-L -n',
        '-F',
        '-X',
        '-P FORWARD ACCEPT',
        '-t nope -L',
      ]
      const real = lines.map((line) => ({ line, ...inNetns(NS, ['ip6tables-legacy', ...line.split(' ')]) }))
      expect(lines.map((line) => ({ line, ...iptables(ns, line.split(' '), 6) }))).toEqual(real)
    })
  },
)
