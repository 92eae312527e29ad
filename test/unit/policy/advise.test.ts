/**
 * Suggested policies let the given flows through, and nothing else into or out of the workloads that they touch.
 */
import { describe, expect, it } from '@jest/globals'
import { advise } from '../../../src/policy/advise.ts'
import { compileNetworkPolicy } from '../../../src/policy/kinds/network-policy.ts'
import { ask, party, policyEngine } from '../../support/policy.ts'

const PODS = ['x/web app=web', 'x/db app=db', 'y/job app=job', 'x/other app=other']

function suggest(policies = '') {
  const engine = policyEngine(PODS, policies)
  const flow = (src: string, dst: string, port: number) => ({
    src: party(engine, src),
    dst: party(engine, dst),
    protocol: 'TCP' as const,
    port,
  })
  const flows = [flow('x/web', 'x/db', 5432), flow('y/job', 'x/db', 5432), flow('x/web', '192.0.2.7', 443)]
  return { engine, advice: advise(engine, flows) }
}

describe('advise', () => {
  it('allows the flows, and nothing else of their workloads', () => {
    const { engine, advice } = suggest()
    expect([advice.missing, advice.ambiguous]).toEqual([[], []])
    expect(advice.policies.map((p) => `${p.metadata.namespace}/${p.metadata.name}`)).toEqual([
      'x/allow-db',
      'x/allow-web',
      'y/allow-job',
    ])
    const source = { file: '', line: 0, col: 0 }
    const after = engine.withPolicies(advice.policies.map((object) => compileNetworkPolicy({ object, source })))
    const questions = [
      ['x/web', 'x/db', 'TCP/5432'],
      ['y/job', 'x/db', 'TCP/5432'],
      ['x/web', '192.0.2.7', 'TCP/443'],
      ['x/web', 'x/db', 'TCP/80'],
      ['x/other', 'x/db', 'TCP/5432'],
      ['x/web', '192.0.2.8', 'TCP/443'],
      ['y/job', 'x/other', 'TCP/80'],
    ] as const
    expect(questions.map(([from, to, port]) => ask(after, from, to, port))).toEqual([
      true,
      true,
      true,
      false,
      false,
      false,
      false,
    ])
  })

  it('names flows that other policies deny even so', () => {
    const deny = `apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: no-jobs}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {}}
  ingress: [{action: Deny, from: [{pods: {podSelector: {matchLabels: {app: job}}}}]}]
`
    expect(suggest(deny).advice.missing.map((f) => f.src.name)).toEqual(['y/job'])
  })
})
