/** ip6tables: what it takes, saves, lists and refuses; fixtures were recorded from the real tool. */
import { describe, expect, it } from '@jest/globals'
import { ipsetRestore } from '../../../../src/linux/tools/ipset.ts'
import { iptables, iptablesRestore, iptablesSave } from '../../../../src/linux/tools/iptables.ts'
import { ip6tablesRestoreCommand } from '../../../../src/linux/tools/iptables-commands.ts'
import { errorCases6, newNs, ruleCases6, SETS6 } from './support.ts'

describe('rules as the real ip6tables-save prints them', () => {
  it.each(ruleCases6().map((c) => [c.rule, c] as const))('%s', (_rule, c) => {
    const ns = newNs()
    expect(ipsetRestore(ns, SETS6).errors).toEqual([])
    const before = c.rule.startsWith('-I') ? '-A FORWARD -j ACCEPT\n' : ''
    const text = `*${c.table}\n:U1 - [0:0]\n${before}${c.rule}\nCOMMIT\n`
    expect(iptablesRestore(ns, text, {}, 6).errors).toEqual([])
    const saved = iptablesSave(ns, {}, 6).split('\n')
    expect(saved.filter((l) => l.startsWith('-A'))).toEqual(c.save)
    const listed = iptables(ns, ['-t', c.table, '-L', '-n', '-v', '--line-numbers'], 6).stdout.split('\n')
    // the real tool ends the line of a bpf match without a newline
    if (!c.rule.includes('bpf')) expect(listed.filter((l) => /^\d/.test(l))).toEqual(c.list)
    expect(iptablesSave(ns)).toBe('')
  })
})

describe('errors in the words of the real ip6tables-restore', () => {
  it.each(errorCases6().map((c) => [JSON.stringify(c.text), c] as const))('%s', (_text, c) => {
    const ns = newNs()
    ipsetRestore(ns, SETS6)
    const got = ip6tablesRestoreCommand(ns, [], c.text)
    expect(got.status).toBe(c.status)
    const strip = (s: string): string => s.replace(/(line \d+ failed): .*/g, '$1').replace(/\n+/g, '\n')
    expect(strip(got.stderr)).toBe(strip(c.stderr))
  })
})
