/**
 * The same scenario on this machine's kernel and in the simulator, in one run: the fixtures could be old, this cannot.
 *
 * A handful that covers each layer; the recorder is the one that `podwalk lab run --backend linux` uses.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from '@jest/globals'
import { checkLab, formatDifferences } from '../../src/lab/compare.ts'
import { recorderFile, TOOL_ENV } from '../../src/lab/linux.ts'
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

  it(
    'leaves no namespace behind when it is ended in the middle',
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'podwalk-lab-'))
      const begun = join(folder, 'begun')
      const argv = ['sh', '-c', `touch ${begun}; exec sleep 30`]
      const scenario: LabScenario = { name: 'ended', netns: ['a'], steps: [{ op: 'cmd', ns: 'a', argv }] }
      const recorder = spawn('python3', [recorderFile()], { env: TOOL_ENV, detached: true })
      const ended = once(recorder, 'exit')
      recorder.stdin.end(JSON.stringify(scenario))
      while (!existsSync(begun)) await delay(20)
      const netns = `/run/netns/kl${recorder.pid}-a`
      expect(existsSync(netns)).toBe(true)
      // the group: the command of the scenario ends too
      process.kill(-recorder.pid!, 'SIGTERM')
      await ended
      expect(existsSync(netns)).toBe(false)
      rmSync(folder, { recursive: true })
    },
    TIMEOUT_MS,
  )
})
