/**
 * The packets engine: what the data plane does, and why it is not what the policies say.
 */
import { describe, expect, it } from '@jest/globals'
import { buildClusterModel, loadText } from '../../../src/kubernetes/index.ts'
import { PolicyEngine } from '../../../src/policy/engine.ts'
import { policyInputOf } from '../../../src/policy/input.ts'
import type { PolicyOptions } from '../../../src/policy/model.ts'
import { askReach } from '../../../src/query/ask-reach.ts'
import { resolveParties } from '../../../src/query/parties.ts'
import { policyManifests } from '../../support/policy.ts'

const PODS = ['x/a app=a ports=web:80', 'x/b app=b ports=web:80 node=n2', 'x/h app=h host']
const POLICY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: x}
spec: {podSelector: {matchLabels: {app: a}}, policyTypes: [Ingress, Egress]}
`

function differences(cni: string, options: Partial<PolicyOptions> = {}) {
  const { model } = buildClusterModel(loadText(policyManifests(PODS, POLICY), 'test.yaml'), { cni })
  const engine = new PolicyEngine(policyInputOf(model), options)
  const question = { by: 'pod' as const, probes: [{ protocol: 'TCP' as const, port: 80 }], exposure: false }
  return askReach(engine, model, question, 'both', 1)
}

const SERVICE = `---
apiVersion: v1
kind: Service
metadata: {name: s, namespace: x}
spec: {selector: {app: a}, ports: [{port: 8080, targetPort: web}]}
`

describe('both engines, to a Service', () => {
  it('compare what the endpoint gets with its policies', () => {
    const text = policyManifests(PODS, POLICY) + SERVICE
    const { model } = buildClusterModel(loadText(text, 'test.yaml'), { cni: 'kubenet' })
    const engine = new PolicyEngine(policyInputOf(model))
    const dst = resolveParties(engine, model, 'svc/x/s:8080').found!
    const question = { by: 'pod' as const, probes: [], exposure: false, dst }
    const { answer } = askReach(engine, model, question, 'both', 1)
    expect(answer.differences!.map((d) => `${d.src} ${d.dst} ${d.protocol}/${d.port} ${d.cause}`)).toEqual([
      'x/b x/a TCP/80 not-enforced',
    ])
  })
})

describe('both engines', () => {
  it('name a CNI that enforces nothing as the cause', () => {
    const { answer } = differences('kubenet')
    expect(answer.differences!.map((d) => `${d.src} ${d.dst} ${d.policy} ${d.cause}`).sort()).toEqual([
      'x/a x/b denied not-enforced',
      'x/b x/a denied not-enforced',
    ])
    expect(answer.enforcement).toMatchObject({ enforces: false, ignored: ['NetworkPolicy x/p'] })
  })

  it('agree where Calico enforces, but for egress to the own node, which it polices', () => {
    const { answer } = differences('calico')
    expect(answer.differences!.map((d) => `${d.src} ${d.dst} ${d.policy} ${d.cause}`)).toEqual([
      'x/a x/h allowed host-traffic',
    ])
    expect(differences('calico', { nodeTraffic: 'exempt-ingress' }).answer.differences).toEqual([])
  })

  it('say that a CNI without a driver cannot be walked, and do not call that agreement', () => {
    const { answer, unmodelled } = differences('cilium')
    expect(unmodelled).toContain('CNI "cilium"')
    expect(answer.differences).toBeUndefined()
  })
})
