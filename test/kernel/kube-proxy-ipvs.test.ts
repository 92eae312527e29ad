/**
 * kube-proxy's IPVS mode over generated sets of Services, on a kernel that has IPVS: connections give the same frames,
 * answers and state on User-Mode Linux and in podwalk.
 *
 * The kernel boots once for all labs, but is slow: PROXY_IPVS_SETS asks for more than the few that are played by default.
 * Three recordings of it are kept for test/conformance/kube-proxy-ipvs.test.ts (PODWALK_UPDATE_GOLDEN=1 takes them again).
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import { checkLab, formatDifferences } from '../../src/lab/compare.ts'
import { runLab } from '../../src/lab/run.ts'
import type { LabResult, LabScenario } from '../../src/lab/scenario.ts'
import { findProxyMode } from '../../src/proxy/registry.ts'
import { hasTool, kernelSkipReason } from '../support/kernel.ts'
import { LIVE_TOOLS, maskOneSidedAcks } from '../support/live-cluster.ts'
import { proxyLab } from '../support/proxy-lab.ts'
import { askedConnections, proxySets } from '../support/proxy-sets.ts'
import { recordInUml } from '../support/uml.ts'

const SETS = Number(process.env.PROXY_IPVS_SETS ?? 3)
const SEED = Number(process.env.PROXY_SEED ?? 2026)
const CONNECTIONS = 20
const SLOW = 6
const ROUNDS = 3
const KEPT = fileURLToPath(new URL('../fixtures/proxy-ipvs/', import.meta.url))
const NEEDED = ['linux.uml', 'ipvsadm', 'modprobe', 'ipset', ...LIVE_TOOLS]

function labs(count: number, connections: number): LabScenario[] {
  const mode = findProxyMode('ipvs')
  if (mode === undefined) throw new Error('no mode ipvs')
  return proxySets(count, SEED).map((set, i) =>
    proxyLab(`ipvs-${i}`, mode, set, askedConnections(set, connections, SEED * 1000 + i), SLOW),
  )
}

function differences(lab: LabScenario, kernel: LabResult): string {
  const sim = runLab(lab, { strict: true })
  return formatDifferences(checkLab(maskOneSidedAcks(sim, 'cbr0'), maskOneSidedAcks(kernel, 'cbr0')))
}

const missing = NEEDED.filter((tool) => !hasTool(tool))
const reason = missing.length > 0 ? `needs ${missing.join(', ')} on PATH` : kernelSkipReason([])
// No distribution's test machine can be expected to have linux.uml: without it the recordings speak.
if (reason !== null) process.stderr.write(`SKIPPED kube-proxy IPVS mode on User-Mode Linux: ${reason}\n`)
const describeUml = reason === null ? describe : describe.skip

describeUml('kube-proxy IPVS mode on User-Mode Linux', () => {
  it(
    `${CONNECTIONS} connections to each of ${SETS} sets give the same frames, answers and state`,
    () => {
      const all = labs(SETS, CONNECTIONS)
      let odd = new Map<LabScenario, string>()
      let again = 0
      let frames = 0
      // A busy machine may let a timer fire between two steps: a lab that differs is recorded again, in a boot of its own.
      for (let round = 0; round < ROUNDS && (round === 0 || odd.size > 0); round++) {
        const asked = round === 0 ? all : [...odd.keys()]
        if (round > 0) again += asked.length
        odd = new Map()
        const results = round === 0 ? recordInUml(asked) : asked.flatMap((lab) => recordInUml([lab]))
        for (const [i, lab] of asked.entries()) {
          const result = results[i]
          if (result === undefined || typeof result === 'string') odd.set(lab, String(result))
          else {
            if (round === 0) frames += result.events.length
            const text = differences(lab, result)
            if (text !== '') odd.set(lab, text)
          }
        }
      }
      process.stderr.write(`ipvs: ${all.length} sets, ${frames} frames, ${again} played again\n`)
      expect([...odd].map(([lab, text]) => `${lab.name} of seed ${SEED}\n${text}`).join('\n\n')).toBe('')
      expect(frames).toBeGreaterThan(SETS * CONNECTIONS)
    },
    120_000 + SETS * 60_000,
  )

  if (process.env.PODWALK_UPDATE_GOLDEN === '1') {
    it('keeps recordings', () => {
      for (const [i, lab] of labs(3, 8).entries()) {
        const [kernel] = recordInUml([lab])
        if (kernel === undefined || typeof kernel === 'string') throw new Error(kernel)
        const { raw: _raw, volatile: _volatile, ...kept } = kernel
        writeFileSync(join(KEPT, `set-${i}.json`), `${JSON.stringify({ lab, kernel: kept })}\n`)
      }
    }, 300_000)
  }
})
