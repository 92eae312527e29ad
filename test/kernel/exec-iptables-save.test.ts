import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { buildCluster } from '../../src/cluster/build.ts'
import { execTool } from '../../src/linux/tools/exec.ts'
import { describeKernel, inNetns, netnsAdd, netnsDel } from '../support/kernel.ts'
import { clusterOf } from '../support/shop.ts'

const NETNS = 'pw-save'

/** Rules and chain lines, without the date lines and packet counters of built-in chains. */
function plain(save: string): string[] {
  return save
    .split('\n')
    .filter((l) => l !== '' && !l.startsWith('#'))
    .map((l) => l.replace(/ \[\d+:\d+\]$/, ''))
}

/** Tables in the order of their names: the kernel lists them by when they were first used. */
function byTable(lines: readonly string[]): { [table: string]: string[] } {
  const out: { [table: string]: string[] } = {}
  let table = ''
  for (const l of lines) {
    if (l.startsWith('*')) table = l
    ;(out[table] ??= []).push(l)
  }
  return out
}

describeKernel('iptables-save of a simulated node', ['ip', 'iptables-legacy-restore', 'iptables-legacy-save'], () => {
  beforeAll(() => netnsAdd(NETNS))
  afterAll(() => netnsDel(NETNS))

  it.each(['n1', 'n2'])('is accepted by the real iptables-restore and printed back the same (node %s)', (node) => {
    const cluster = buildCluster(clusterOf())
    const printed = execTool(cluster.nodes.get(node)!, ['iptables-save'])
    expect(printed.status).toBe(0)
    expect(printed.stdout).toContain('KUBE-SERVICES')
    expect(printed.stdout).toContain('kubenet: SNAT for outbound traffic from cluster')
    const loaded = inNetns(NETNS, ['iptables-legacy-restore'], printed.stdout)
    expect(loaded).toMatchObject({ status: 0, stderr: '' })
    const back = inNetns(NETNS, ['iptables-legacy-save'])
    expect(byTable(plain(back.stdout))).toEqual(byTable(plain(printed.stdout)))
  })
})
