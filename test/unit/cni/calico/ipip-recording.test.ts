/**
 * The recordings calico-ipip-* of the kernel lab were made of what podwalk programs: this says when that has changed.
 *
 * IPIP is not in every kernel, so the same comparison that calico-live makes for VXLAN is made with a recording (Linux 6.1,
 * User-Mode Linux), by test/conformance/kernel-lab.
 */
import { describe, expect, it } from '@jest/globals'
import type { LabScenario } from '../../../../src/lab/scenario.ts'
import { calicoCluster, calicoScenario } from '../../../support/calico-live.ts'
import { labScenario } from '../../../support/lab.ts'

/** Without what kube-proxy programs, which has tests of its own. */
function calicoPart(scenario: LabScenario): unknown {
  const iptables = Object.entries(scenario.iptables ?? {}).map(([ns, text]) => [
    ns,
    text.split('\n').filter((l) => l.includes('cali')),
  ])
  const { netns, links, devices, addrs, routes, neigh, tunl0, ipset, steps } = scenario
  // the seed of a set's hash is the kernel's own business
  const sets = JSON.stringify(ipset).replace(/ (bucketsize|initval) \w+/g, '')
  return JSON.parse(JSON.stringify({ netns, links, devices, addrs, routes, neigh, tunl0, sets, steps, iptables }))
}

describe('the recorded IPIP clusters', () => {
  it.each([
    ['calico-ipip-v331', 'v3.31'],
    ['calico-ipip-v333', 'v3.33'],
  ])('%s is what podwalk programs', (name, version) => {
    expect(calicoPart(calicoScenario(calicoCluster('IPIP', version, false), name, 1480))).toEqual(
      calicoPart(labScenario(name)),
    )
  })
})
