/**
 * What podwalk programs for a Calico cluster, on the real kernel: the same frames on every interface, the outer ones too,
 * the same conntrack entries and the same counters of every rule, what policies drop included.
 */
import { expect, it } from '@jest/globals'
import { checkLab, formatDifferences } from '../../src/lab/compare.ts'
import { runLab } from '../../src/lab/run.ts'
import { calicoCluster, calicoScenario } from '../support/calico-live.ts'
import { describeKernel } from '../support/kernel.ts'
import { LIVE_TOOLS, maskTunnelPorts } from '../support/live-cluster.ts'

const TIMEOUT_MS = 180_000

describeKernel('a Calico cluster as podwalk programs it', [...LIVE_TOOLS, 'ipset'], () => {
  it.each([
    ['VXLAN', 1450, 'v3.31'],
    ['VXLAN', 1450, 'v3.27'],
    ['VXLANCrossSubnet', 1450, 'v3.33'],
    ['None', 1500, 'v3.32'],
  ])(
    '%s, MTU %i, %s: gives the same frames, conntrack entries and rule counters on the real kernel',
    (encapsulation, mtu, version) => {
      const scenario = calicoScenario(calicoCluster(encapsulation, version), 'calico-live', mtu)
      const kernel = runLab(scenario, { backend: 'linux' })
      expect(kernel.events.length).toBeGreaterThan(200)
      const sim = runLab(scenario)
      const masked = [sim, kernel].map((r) => maskTunnelPorts(r, 4789)) as [typeof sim, typeof sim]
      expect(formatDifferences(checkLab(...masked))).toBe('')
      // the policies had something to do, both ways
      const rules = Object.values(sim.state).flat().map(String)
      const dropped = rules.filter((l) =>
        /^\[[1-9]\d*:\d+\].*(policies passed packet|0x40000\/0x40000|--dports 9 ).*-j DROP/.test(l),
      )
      expect(dropped.length).toBeGreaterThanOrEqual(2)
    },
    TIMEOUT_MS,
  )
})
