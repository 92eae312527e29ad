/**
 * iptables text against the real tool: the same restore text goes into the kernel and into podwalk, and what
 * iptables-legacy-save and iptables-legacy -L print must be equal. Errors must be the same words.
 */
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { ipsetRestore } from '../../src/linux/tools/ipset.ts'
import { iptables, iptablesRestore, iptablesSave } from '../../src/linux/tools/iptables.ts'
import { describeKernel, inNetns, netnsAdd, netnsDel } from '../support/kernel.ts'
import { labNames, labScenario } from '../support/lab.ts'
import { errorCases, newNs, ruleCases, SETS } from '../unit/linux/iptables/support.ts'

const NS = 'podwalk-ipt-text'
const TABLES = ['filter', 'nat', 'raw', 'mangle']

/** iptables-legacy-save without the comment lines that carry version and date. */
function realSave(table: string): string {
  const out = inNetns(NS, ['iptables-legacy-save', '-t', table]).stdout
  return out.replace(/^#.*\n/gm, '')
}

describeKernel(
  'iptables text equals the real tool',
  ['iptables-legacy-restore', 'iptables-legacy-save', 'ipset'],
  () => {
    beforeAll(() => {
      netnsAdd(NS)
      expect(inNetns(NS, ['ipset', 'restore'], SETS).status).toBe(0)
    })
    afterAll(() => netnsDel(NS))

    it.each(TABLES)('loads all recorded rules of %s at once and prints them equally', (table) => {
      const lines = ruleCases().filter((c) => c.table === table && c.save !== undefined && !c.rule.startsWith('-I'))
      const text = `*${table}\n:U1 - [0:0]\n${lines.map((c) => c.rule).join('\n')}\nCOMMIT\n`
      const real = inNetns(NS, ['iptables-legacy-restore'], text)
      expect(real.status).toBe(0)
      const ns = newNs()
      ipsetRestore(ns, SETS)
      expect(iptablesRestore(ns, text).errors).toEqual([])
      expect(iptablesSave(ns, { table })).toBe(realSave(table))
      for (const flags of [['-n'], ['-n', '-v', '--line-numbers'], ['-n', '-v', '-x']]) {
        const argv = ['-t', table, '-L', ...flags]
        const want = inNetns(NS, ['iptables-legacy', ...argv]).stdout
        const noBpf = (s: string): string[] => s.split('\n').filter((l) => !l.includes('match bpf'))
        expect(noBpf(iptables(ns, argv).stdout)).toEqual(noBpf(want))
      }
      for (const argv of [
        ['-t', table, '-S'],
        ['-t', table, '-S', '-v'],
      ]) {
        expect(iptables(ns, argv).stdout).toBe(inNetns(NS, ['iptables-legacy', ...argv]).stdout)
      }
    })

    it('prints what it saved the same after the real tool loaded it', () => {
      const ns = newNs()
      ipsetRestore(ns, SETS)
      const rules = ruleCases().filter((c) => c.save !== undefined && !c.rule.startsWith('-I'))
      for (const table of TABLES) {
        const lines = rules.filter((c) => c.table === table).map((c) => c.rule)
        iptablesRestore(ns, `*${table}\n:U1 - [0:0]\n${lines.join('\n')}\nCOMMIT\n`)
        const text = iptablesSave(ns, { table })
        expect(inNetns(NS, ['iptables-legacy-restore'], text).status).toBe(0)
        expect(realSave(table)).toBe(text)
      }
    })

    it.each(
      // ip_vs is not in every kernel: its scenarios were recorded on another one
      labNames()
        .filter((name) => labScenario(name).ipvs === undefined)
        .flatMap((name) =>
          Object.entries(labScenario(name).iptables ?? {}).map(([ns, t]) => [`${name} ${ns}`, t, name, ns] as const),
        ),
    )('loads the rules of lab scenario %s equally', (_title, text, name, nsName) => {
      const sets = labScenario(name).ipset?.[nsName] ?? ''
      inNetns(NS, [
        'sh',
        '-c',
        'for t in filter nat raw mangle; do iptables-legacy -t $t -F; iptables-legacy -t $t -X; done; ipset destroy',
      ])
      if (sets !== '') expect(inNetns(NS, ['ipset', 'restore'], sets).stderr).toBe('')
      expect(inNetns(NS, ['iptables-legacy-restore'], text).stderr).toBe('')
      const ns = newNs()
      if (sets !== '') expect(ipsetRestore(ns, sets).errors).toEqual([])
      expect(iptablesRestore(ns, text).errors).toEqual([])
      for (const table of ns.nf.tables.list) expect(iptablesSave(ns, { table: table.name })).toBe(realSave(table.name))
    })

    it('words every recorded error as the installed tool does now', () => {
      for (const c of errorCases()) {
        const real = inNetns(NS, ['iptables-legacy-restore'], c.text)
        expect({ text: c.text, status: real.status, stderr: real.stderr }).toEqual(c)
      }
    })

    it('follows the same sequence of iptables commands', () => {
      inNetns(NS, ['sh', '-c', 'iptables-legacy -F; iptables-legacy -X'])
      const ns = newNs()
      const lines = [
        '-N KUBE-X',
        '-A FORWARD -j KUBE-X',
        '-A KUBE-X -s 10.0.0.1 -j DROP',
        '-I KUBE-X -p tcp --dport 80 -j ACCEPT',
        '-X KUBE-X',
        '-I KUBE-X 2 -m mark --mark 1 -j RETURN',
        '-D KUBE-X 1',
        '-E KUBE-X KUBE-Y',
        '-P FORWARD DROP',
        '-D KUBE-Y -s 10.0.0.1/32 -j DROP',
        '-D KUBE-Y -s 10.0.0.1/32 -j DROP',
        '-C FORWARD -j KUBE-Y',
        '-C FORWARD -j ACCEPT',
        '-N KUBE-Y',
        '-N LOG',
        '-F NOPE',
        '-A FORWARD -j NOPE',
        '-D FORWARD 7',
        '-R FORWARD 1 -j ACCEPT',
        '-X',
        '-S',
        '-L FORWARD',
        '-L -n',
        '-F',
        '-X',
        '-P FORWARD ACCEPT',
        '-S',
        '-S NOPE',
        '-A FORWARD -x',
      ]
      const real = lines.map((line) => ({ line, ...inNetns(NS, ['iptables-legacy', ...line.split(' ')]) }))
      expect(lines.map((line) => ({ line, ...iptables(ns, line.split(' ')) }))).toEqual(real)
    })
  },
)
