/**
 * Truth tables of other projects' suites: cyclonus' recipes, the Kubernetes e2e tests, Cilium's connectivity tests.
 *
 * Every pair of every probe is one question; all ports of the pair are asked as well.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { buildClusterModel, loadInputs } from '../../../src/kubernetes/index.ts'
import { PolicyEngine } from '../../../src/policy/engine.ts'
import { policyInputOf } from '../../../src/policy/input.ts'
import { type PolicyProtocol, portNumberOf, portsContain } from '../../../src/policy/port-set.ts'

const ROOT = 'test/fixtures/recorded/network-policy'

interface Probe {
  readonly port: number
  readonly protocol: PolicyProtocol
  readonly allowed: readonly (readonly [string, string])[]
  readonly denied: readonly (readonly [string, string])[]
}

function wrongAnswers(folder: string): string[] {
  const built = buildClusterModel(loadInputs([join(folder, 'input')]))
  const errors = built.diagnostics.filter((d) => d.severity === 'error')
  if (errors.length > 0) return errors.map((e) => e.message)
  const engine = new PolicyEngine(policyInputOf(built.model))
  const expected = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')) as { probes: readonly Probe[] }
  const wrong: string[] = []
  let asked = 0
  for (const probe of expected.probes) {
    for (const [pairs, verdict] of [
      [probe.allowed, true],
      [probe.denied, false],
    ] as const) {
      for (const [from, to] of pairs) {
        const [src, dst] = [engine.pod(from), engine.pod(to)]
        if (src === undefined || dst === undefined) throw new Error(`${folder}: no pod ${from} or ${to}`)
        asked++
        const question = `${from} -> ${to} ${probe.protocol}/${probe.port}`
        if (engine.isAllowed(engine.flow(src, dst, probe.protocol, probe.port)) !== verdict) wrong.push(question)
        const all = engine.connectionPorts(src, dst)
        if (portsContain(all, portNumberOf(probe.protocol, probe.port)) !== verdict)
          wrong.push(`${question} (all ports)`)
      }
    }
  }
  if (asked === 0) wrong.push('no question was asked')
  return wrong
}

for (const suite of readdirSync(ROOT)) {
  describe(`recorded cases of ${suite}`, () => {
    it.each(readdirSync(join(ROOT, suite)))('answers as %s expects', (name) => {
      expect(wrongAnswers(join(ROOT, suite, name))).toEqual([])
    })
  })
}
