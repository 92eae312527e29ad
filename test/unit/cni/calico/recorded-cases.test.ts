/**
 * Truth tables of other projects' suites, answered by packets that walk through Felix's rules.
 *
 * SCTP is left out: its conntrack is UNMODELLED, so no packet of it gets anywhere. Cilium's own policies are not Calico's
 * business.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { buildCluster } from '../../../../src/cluster/build.ts'
import { buildClusterModel, loadInputs } from '../../../../src/kubernetes/index.ts'
import { PolicyProbe, type ProbeProtocol } from '../../../support/policy-probe.ts'

const ROOT = 'test/fixtures/recorded/network-policy'
const OPTIONS = [
  { path: 'cni.options.encapsulation', value: 'VXLAN' },
  { path: 'cni.options.version', value: 'v3.31' },
]

interface Probe {
  readonly port: number
  readonly protocol: ProbeProtocol
  readonly allowed: readonly (readonly [string, string])[]
  readonly denied: readonly (readonly [string, string])[]
}

function wrongAnswers(folder: string): string[] {
  const loaded = loadInputs([join(folder, 'input')])
  const built = buildClusterModel(loaded, { cni: 'calico', nodes: 2, set: OPTIONS })
  const errors = built.diagnostics.filter((d) => d.severity === 'error')
  if (errors.length > 0) return errors.map((e) => e.message)
  const probe = new PolicyProbe(buildCluster(built.model))
  const expected = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')) as { probes: readonly Probe[] }
  const wrong: string[] = []
  for (const { port, protocol, allowed, denied } of expected.probes.filter((p) => p.protocol !== 'SCTP')) {
    const pairs = [...allowed.map((p) => [...p, true] as const), ...denied.map((p) => [...p, false] as const)]
    for (const [from, to, verdict] of pairs) {
      if (from === to) continue
      if (probe.reaches(from, to, protocol, port) !== verdict) wrong.push(`${from} -> ${to} ${protocol}/${port}`)
    }
  }
  return wrong
}

for (const suite of readdirSync(ROOT).filter((s) => !s.startsWith('cilium'))) {
  describe(`Calico's data plane, recorded cases of ${suite}`, () => {
    it.each(readdirSync(join(ROOT, suite)))('answers as %s expects', (name) => {
      expect(wrongAnswers(join(ROOT, suite, name))).toEqual([])
    })
  })
}
