/**
 * The same scenario on this machine's kernel and in the simulator, in one run: the fixtures could be old, this cannot.
 *
 * A handful that covers each layer; the recorder is the one that `podwalk lab run --backend linux` uses.
 */
import { expect, it } from '@jest/globals'
import { checkLab, formatDifferences } from '../../src/lab/compare.ts'
import { runLab } from '../../src/lab/run.ts'
import type { LabScenario } from '../../src/lab/scenario.ts'
import { describeKernel } from '../support/kernel.ts'
import { labScenario } from '../support/lab.ts'

const SCENARIOS = [
  'l2-learn-flood',
  'arp-basic',
  'fwd-ttl',
  'mtu-df',
  'nat-dnat-tcp',
  'nat-local-out',
  'kp-clusterip-tcp-first',
]
const TOOLS = ['python3', 'bridge', 'ethtool', 'iptables-legacy-restore', 'conntrack']
const TIMEOUT_MS = 60_000

describeKernel('kernel lab, live', TOOLS, () => {
  it.each(SCENARIOS)(
    '%s gives the same frames, results and state on both',
    (name) => {
      const scenario = labScenario(name)
      const kernel = runLab(scenario, { backend: 'linux' })
      expect(kernel.kernel).not.toBe('podwalk')
      expect(kernel.events.length).toBeGreaterThan(0)
      expect(formatDifferences(checkLab(runLab(scenario), kernel))).toBe('')
    },
    TIMEOUT_MS,
  )

  it(
    'reports the command of a scenario that the kernel refuses',
    () => {
      const scenario: LabScenario = {
        name: 'bad',
        netns: ['a'],
        routes: [{ ns: 'a', dst: '10.0.0.0/8', via: '10.1.1.1' }],
        steps: [],
      }
      expect(() => runLab(scenario, { backend: 'linux' })).toThrow(/Nexthop has invalid gateway/)
      expect(() => runLab(scenario)).toThrow(/Nexthop has invalid gateway/)
    },
    TIMEOUT_MS,
  )
})
