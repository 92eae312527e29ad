import { expect, it } from '@jest/globals'
import { readFileSync } from 'node:fs'
import { World } from '../../../../src/linux/world.ts'
import { iptables, iptablesRestore, iptablesSave } from '../../../../src/linux/tools/iptables.ts'
it('corpus', () => {
  const rows = JSON.parse(readFileSync('/tmp/ipt/corpus.json', 'utf8')) as any[]
  let bad = 0
  const cmp = (what: string, rule: string, a: string[], b: string[]) => {
    if (a.join('\n') === b.join('\n')) return
    bad++
    console.log(`${what}: ${rule}\n ours ${a.join('\n      ')}\n real ${b.join('\n      ')}`)
  }
  for (const row of rows) {
    const ns = new World().addNetns('a')
    ;(ns.nf.tables.ipsets as any).dimensions = (n: string) => (({ ips: 1, ipp: 2, nets: 1, dyn: 1 }) as any)[n] ?? 0
    const pre = row.rule.startsWith('-I') ? '-A FORWARD -j ACCEPT\n' : ''
    const r = iptablesRestore(ns, `*${row.table}\n:U1 - [0:0]\n${pre}${row.rule}\nCOMMIT\n`)
    if (row.error) { console.log('ERR', row.rule, JSON.stringify(r.errors), row.error.split('\n')[0]); continue }
    if (!r.ok) { bad++; console.log('FAIL', row.rule, JSON.stringify(r.errors)); continue }
    cmp('save', row.rule, iptablesSave(ns).split('\n').filter((l) => l.startsWith('-A')), row.save)
    cmp('list', row.rule, iptables(ns, ['-t', row.table, '-L', '-n', '-v', '--line-numbers']).stdout.split('\n').filter((l) => /^\d/.test(l)), row.list)
  }
  expect(bad).toBe(0)
})
