/**
 * nft's text: every recorded rule and command is listed, in text and in JSON, or refused, in the words of the real tool.
 */
import { describe, expect, it } from '@jest/globals'
import type { Netns } from '../../../../src/linux/netns.ts'
import { nft } from '../../../../src/linux/tools/nft.ts'
import { World } from '../../../../src/linux/world.ts'
import {
  commandContext,
  recordedCommands,
  recordedRules,
  ruleContext,
  rulesets,
  settled,
} from '../../../support/nft-fixtures.ts'

function load(text: string): Netns {
  const ns = new World().addNetns('a')
  expect(nft(ns, ['-f', '-'], text).stderr).toBe('')
  return ns
}

describe('nft rules', () => {
  it.each(recordedRules().map((r) => [`${r.family} ${r.chain}: ${r.rule}`, r] as const))('%s', (_title, r) => {
    const ns = load(ruleContext(r))
    const added = nft(ns, ['-f', '-'], `add rule ${r.family} t c ${r.rule}\n`)
    expect(added.stderr).toBe(r.error ?? '')
    if (r.error !== undefined) return
    expect(nft(ns, ['list', 'chain', r.family, 't', 'c']).stdout.split('\n')[3]!.trim()).toBe(r.text)
    const listed = JSON.parse(nft(ns, ['-j', 'list', 'chain', r.family, 't', 'c']).stdout) as {
      nftables: { rule?: { expr: unknown; comment?: string } }[]
    }
    const rule = listed.nftables.find((x) => x.rule !== undefined)!.rule!
    // the order of keys is nft's too
    expect(JSON.stringify(rule.expr)).toBe(JSON.stringify(r.expr))
    expect(rule.comment).toBe(r.comment)
  })
})

describe('nft commands', () => {
  it.each(recordedCommands().map((c) => [c.command, c] as const))('%s', (_title, c) => {
    const ns = load(commandContext())
    const got = nft(ns, ['-f', '-'], `${c.command}\n`)
    expect({ status: got.status, stdout: got.stdout, stderr: got.stderr }).toEqual({
      status: c.status,
      stdout: c.stdout,
      stderr: c.stderr,
    })
    expect(settled(nft(ns, ['-a', 'list', 'ruleset']).stdout)).toBe(c.ruleset)
  })
})

describe('nft rulesets', () => {
  it.each(rulesets())('%s: the listing, read again, gives the same listing', (_name, text) => {
    const first = nft(load(text), ['list', 'ruleset']).stdout
    expect(first).not.toBe('')
    expect(nft(load(first), ['list', 'ruleset']).stdout).toBe(first)
  })

  it('changes nothing when one command of many is refused', () => {
    const ns = load(commandContext())
    const before = nft(ns, ['-a', 'list', 'ruleset']).stdout
    const text = `
add table ip x
add chain ip x y
add rule ip t c drop
add element ip t s { 9.9.9.9, 8.8.8.8 }
delete element ip t vm { 1.1.1.1 }
add element ip t si { 11.0.0.0/8 }
flush chain ip t c
delete rule ip t c handle 14
rename chain ip t other nother
delete table inet t2
delete set ip t sused
create set ip t s { type ipv4_addr; }
`
    const r = nft(ns, ['-f', '-'], text)
    expect(r.status).toBe(1)
    expect(nft(ns, ['-a', 'list', 'ruleset']).stdout).toBe(before)
  })

  it('-c checks and changes nothing; destroy is silent about what is not there', () => {
    const ns = load(commandContext())
    const before = nft(ns, ['list', 'ruleset']).stdout
    expect(nft(ns, ['-c', '-f', '-'], 'flush ruleset\n').status).toBe(0)
    expect(nft(ns, ['list', 'ruleset']).stdout).toBe(before)
    for (const what of [
      'table ip nope',
      'chain ip t nope',
      'set ip t nope',
      'element ip t s { 9.9.9.9 }',
      'rule ip t c handle 99',
    ]) {
      expect(nft(ns, ['-f', '-'], `destroy ${what}\n`)).toEqual({ status: 0, stdout: '', stderr: '' })
    }
    expect(nft(ns, ['list', 'ruleset']).stdout).toBe(before)
  })

  it('-s leaves counters and expiry out, -t elements', () => {
    const ns = load(rulesets().find(([name]) => name === 'objects')![1])
    const s = nft(ns, ['-s', 'list', 'ruleset']).stdout
    expect(s).not.toMatch(/packets|expires/)
    expect(nft(ns, ['-t', 'list', 'ruleset']).stdout).not.toMatch(/elements/)
  })

  it('names a file that it cannot read as UNMODELLED', () => {
    expect(nft(new World().addNetns('a'), ['-f', '/etc/nftables.conf']).stderr).toMatch(/UNMODELLED/)
  })
})
