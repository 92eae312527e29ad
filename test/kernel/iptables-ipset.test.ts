/**
 * ipset text against the real tool: the same restore text, then ipset save compared element by element (the kernel
 * lists hash elements in the order of a random key), then what podwalk saved goes back into the real tool.
 */
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { ipset, ipsetRestore, ipsetSave } from '../../src/linux/tools/ipset.ts'
import { describeKernel, inNetns, netnsAdd, netnsDel } from '../support/kernel.ts'
import { SET_COMMANDS, SET_COMMANDS6, SET_TEXT, SET_TEXT6 } from '../unit/linux/ipset/support.ts'
import { newNs } from '../unit/linux/iptables/support.ts'

const NS = 'podwalk-ipset'

/** Elements in order of text; the random initval and seconds that pass are levelled. */
function levelled(text: string): string[] {
  const lines = text
    .replace(/initval 0x[0-9a-f]+/g, 'initval X')
    .replace(/timeout [1-9]\d*\b/g, 'timeout T')
    .split('\n')
  return [...lines.filter((l) => l.startsWith('create')), ...lines.filter((l) => l.startsWith('add')).sort()]
}

describeKernel('ipset text equals the real tool', ['ipset'], () => {
  beforeAll(() => netnsAdd(NS))
  afterAll(() => netnsDel(NS))

  it('restores and saves the same sets', () => {
    expect(inNetns(NS, ['ipset', 'restore'], SET_TEXT).stderr).toBe('')
    const ns = newNs()
    expect(ipsetRestore(ns, SET_TEXT).errors).toEqual([])
    expect(levelled(ipsetSave(ns))).toEqual(levelled(inNetns(NS, ['ipset', 'save']).stdout))
    inNetns(NS, ['sh', '-c', 'ipset flush; ipset destroy'])
    expect(inNetns(NS, ['ipset', 'restore'], ipsetSave(ns)).stderr).toBe('')
    expect(levelled(inNetns(NS, ['ipset', 'save']).stdout)).toEqual(levelled(ipsetSave(ns)))
  })

  it('restores and saves the same sets of family inet6, and follows the same commands', () => {
    inNetns(NS, ['sh', '-c', 'ipset flush; ipset destroy'])
    expect(inNetns(NS, ['ipset', 'restore'], SET_TEXT6).stderr).toBe('')
    const ns = newNs()
    expect(ipsetRestore(ns, SET_TEXT6).errors).toEqual([])
    expect(levelled(ipsetSave(ns))).toEqual(levelled(inNetns(NS, ['ipset', 'save']).stdout))
    inNetns(NS, ['sh', '-c', 'ipset flush; ipset destroy'])
    expect(inNetns(NS, ['ipset', 'restore'], ipsetSave(ns)).stderr).toBe('')
    expect(levelled(inNetns(NS, ['ipset', 'save']).stdout)).toEqual(levelled(ipsetSave(ns)))
    const real = SET_COMMANDS6.map((line) => ({ line, ...inNetns(NS, ['ipset', ...line.split(' ')]) }))
    expect(SET_COMMANDS6.map((line) => ({ line, ...ipset(ns, line.split(' ')) }))).toEqual(real)
    expect(levelled(ipsetSave(ns))).toEqual(levelled(inNetns(NS, ['ipset', 'save']).stdout))
  })

  it('follows the same sequence of commands with the same answers', () => {
    inNetns(NS, ['sh', '-c', 'ipset flush; ipset destroy'])
    expect(inNetns(NS, ['ipset', 'restore'], SET_TEXT).stderr).toBe('')
    const ns = newNs()
    ipsetRestore(ns, SET_TEXT)
    const real = SET_COMMANDS.map((line) => ({ line, ...inNetns(NS, ['ipset', ...line.split(' ')]) }))
    expect(SET_COMMANDS.map((line) => ({ line, ...ipset(ns, line.split(' ')) }))).toEqual(real)
    expect(levelled(ipsetSave(ns))).toEqual(levelled(inNetns(NS, ['ipset', 'save']).stdout))
  })
})
