/**
 * Reach and why: the documents and their texts.
 */
import { describe, expect, it } from '@jest/globals'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { buildClusterModel, loadText } from '../../../src/kubernetes/index.ts'
import { PolicyEngine } from '../../../src/policy/engine.ts'
import { policyInputOf } from '../../../src/policy/input.ts'
import { resolveParties } from '../../../src/query/parties.ts'
import { type ReachQuestion, reachQuery } from '../../../src/query/reach.ts'
import { SCHEMAS } from '../../../src/query/schema.ts'
import { applyWhatIf } from '../../../src/query/what-if.ts'
import { whyQuery } from '../../../src/query/why.ts'
import { plain } from '../../../src/report/paint.ts'
import { REACH_FORMATS } from '../../../src/report/reach/formats.ts'
import { whyText } from '../../../src/report/why.ts'
import { policyManifests } from '../../support/policy.ts'

const POLICY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - podSelector: {matchLabels: {app: api}}
    ports:
    - port: pg
  egress:
  - to:
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.244.0.0/16]}
    ports:
    - {protocol: UDP, port: 53}
`
const PODS = ['shop/api app=api', 'shop/db app=db ports=pg:5432', 'shop/web app=web']
const MANIFESTS = policyManifests(PODS, POLICY)

function cluster(text = MANIFESTS) {
  const { model } = buildClusterModel(loadText(text, 'shop.yaml'))
  return { model, engine: new PolicyEngine(policyInputOf(model)) }
}

const QUESTION: ReachQuestion = { by: 'pod', probes: [{ protocol: 'TCP', port: 5432 }], exposure: true }

/** `src dst protocol ports` of the connections that touch a name. */
function lines(question: Partial<ReachQuestion>, touching: string): string[] {
  const { model, engine } = cluster()
  return reachQuery(engine, model, { ...QUESTION, ...question })
    .connections.filter((c) => c.src.includes(touching) || c.dst.includes(touching))
    .map((c) => `${c.src} ${c.dst} ${c.protocol} ${c.ports}`)
}

describe('reach', () => {
  it('lists pods and outside addresses with their ports', () => {
    expect(lines({}, 'db')).toEqual([
      'shop/api shop/db TCP 5432',
      'shop/db ip:10.0.0.0-10.243.255.255 UDP 53',
      'shop/db ip:10.245.0.0-10.255.255.255 UDP 53',
    ])
  })

  it('answers a port for all pairs', () => {
    const { model, engine } = cluster()
    const [probe] = reachQuery(engine, model, QUESTION).probes!
    expect(probe!.allowed).toContainEqual(['shop/api', 'shop/db'])
    expect(probe!.denied).toEqual([
      ['shop/db', 'shop/api'],
      ['shop/db', 'shop/web'],
      ['shop/web', 'shop/db'],
    ])
  })

  it('to a Service asks its endpoints for the targetPort', () => {
    const service = `apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{port: 80, targetPort: pg}]}
`
    const { model, engine } = cluster(`${MANIFESTS}---\n${service}`)
    const { found } = resolveParties(engine, model, 'svc/shop/db:80')
    expect(reachQuery(engine, model, { ...QUESTION, dst: found! }).connections).toEqual([
      { src: 'shop/api', dst: 'shop/db', protocol: 'TCP', ports: '5432' },
    ])
    const src = resolveParties(engine, model, 'shop/web').found!
    const asked = { src: 'shop/web', dst: 'svc/shop/db:80' }
    const why = whyQuery(engine, model, { asked, src, dst: found!, protocol: 'TCP', port: 80 })
    expect(why.flows.map((f) => f.port)).toEqual(['TCP/5432'])
  })

  it('fits its schema and prints in every format', async () => {
    const { model, engine } = cluster()
    const reach = reachQuery(engine, model, QUESTION)
    const validate = new Ajv2020({ strict: false }).compile(SCHEMAS.get('Reach')!)
    validate(reach)
    expect(validate.errors).toBeNull()
    for (const format of REACH_FORMATS) expect(await format.render(reach, plain)).toContain('shop')
  })

  it('says what the CNI ignores', () => {
    const { model, engine } = cluster()
    expect(reachQuery(engine, model, QUESTION).enforcement).toEqual({
      cni: 'kubenet',
      enforces: false,
      ignored: ['NetworkPolicy shop/db'],
    })
  })

  it('asks of a changed set what files do not say', () => {
    const { loaded, notes } = applyWhatIf(loadText(MANIFESTS, 'shop.yaml'), null, ['shop/db'])
    expect(notes).toEqual(['without: NetworkPolicy shop/db'])
    const { model } = buildClusterModel(loaded)
    const engine = new PolicyEngine(policyInputOf(model))
    expect(reachQuery(engine, model, QUESTION).probes![0]!.denied).toEqual([])
    expect(applyWhatIf(loaded, null, ['nothing']).loaded.diagnostics.map((d) => d.message)).toEqual([
      '--without nothing: no such object',
    ])
  })
})

describe('why', () => {
  const why = (from: string, to: string, port: number) => {
    const { model, engine } = cluster()
    const [src, dst] = [from, to].map((t) => resolveParties(engine, model, t).found!)
    return whyQuery(engine, model, { asked: { src: from, dst: to }, src: src!, dst: dst!, protocol: 'TCP', port })
  }

  it('names the rule that allows, with its line', () => {
    const answer = why('shop/api', 'shop/db', 5432)
    expect(answer.allowed).toBe(true)
    const line = MANIFESTS.split('\n').findIndex((l) => l.includes('- from:')) + 1
    expect(answer.flows[0]!.ingress.decidedBy).toMatchObject({ field: 'spec.ingress[0]', file: 'shop.yaml', line })
    expect(answer.flows[0]!.egress.cause).toBe('no policy selects it')
    expect(whyText(answer, plain)).toContain('allowed only because no policy selects it')
  })

  it('names the nearest miss of an implicit deny and the field to change', () => {
    const { nearestMiss } = why('shop/web', 'shop/db', 5432).flows[0]!.ingress
    expect(nearestMiss!.misses).toMatchObject([
      { field: 'spec.ingress[0].from[0].podSelector', expected: 'app=api', found: 'app=web' },
    ])
    const both = why('shop/web', 'shop/db', 80).flows[0]!.ingress.nearestMiss!
    expect(both.misses.map((m) => m.field)).toEqual(['spec.ingress[0].from[0].podSelector', 'spec.ingress[0].ports'])
  })

  it('fits its schema', () => {
    const validate = new Ajv2020({ strict: false }).compile(SCHEMAS.get('Why')!)
    validate(why('shop/web', 'shop/db', 80))
    expect(validate.errors).toBeNull()
  })
})
