/**
 * Assertions: what they say, that none is green by accident, and that a wrong file names every problem with its place.
 */
import { describe, expect, it } from '@jest/globals'
import { buildClusterModel, loadText } from '../../../src/kubernetes/index.ts'
import { PolicyEngine } from '../../../src/policy/engine.ts'
import { policyInputOf } from '../../../src/policy/input.ts'
import { readAssertions } from '../../../src/query/check/assertion-file.ts'
import { checkAssertions } from '../../../src/query/check/check.ts'
import { CHECK_FORMATS } from '../../../src/report/check/formats.ts'
import { plain } from '../../../src/report/paint.ts'
import { policyManifests } from '../../support/policy.ts'

const PODS = [
  'shop/web app=web ports=http:8080',
  'shop/db app=db ports=pg:5432',
  'other/spy app=spy',
  'shop/agent app=agent host',
]
const SERVICE = `---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{port: 5000, targetPort: 5432}]}
`
const POLICY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: 5432}]
  - from: [{podSelector: {matchLabels: {app: nobody}}}]
`

function assertions(lines: readonly string[]): string {
  return `apiVersion: podwalk.dev/v1alpha1
kind: PolicyAssertions
spec:
  assertions:
${lines.map((l) => `  - ${l}`).join('\n')}
`
}

function check(lines: readonly string[], cni = 'calico', policy = POLICY) {
  const built = buildClusterModel(loadText(policyManifests(PODS, policy) + SERVICE, 'k.yaml'), { cni })
  const engine = new PolicyEngine(policyInputOf(built.model))
  const read = readAssertions([{ name: 'a.yaml', text: assertions(lines) }])
  expect(read.diagnostics).toEqual([])
  return checkAssertions(engine, built.model, read.assertions, 'default')
}

function statuses(lines: readonly string[], cni = 'calico', policy = POLICY): string[] {
  return check(lines, cni, policy).assertions.map((a) => a.status)
}

describe('check', () => {
  it('asks a Service by its targetPort', () => {
    expect(
      statuses([
        '{allow: {from: shop/web, to: "svc/shop/db:5000"}}',
        '{deny: {from: shop/web, to: "svc/shop/db:5000"}}',
      ]),
    ).toEqual(['pass', 'fail'])
  })

  it('fails on a port that the Service does not have, named behind it or under ports', () => {
    const { assertions: all } = check([
      '{deny: {from: other/spy, to: "svc/shop/db:9999"}}',
      '{deny: {from: other/spy, to: "svc/shop/db:5000", ports: [TCP/9999]}}',
      '{deny: {from: other/spy, to: "svc/shop/db:5000", ports: [UDP/5000]}}',
      '{deny: {from: other/spy, to: "svc/shop/db:5000", ports: [TCP/5432]}}',
    ])
    expect(all.map((a) => a.status)).toEqual(['empty', 'empty', 'empty', 'pass'])
    expect(all[0]!.text).toContain('Service shop/db has no port 9999')
  })

  it('means the pods of a block too, written as words or as an object', () => {
    const pod = '{allow: {from: 10.244.0.0/16, to: shop/db, ports: [TCP/5432]}}'
    const object = '{allow: {from: {cidr: 10.244.0.0/16}, to: shop/db, ports: [TCP/5432]}}'
    const [words, fields] = check([pod, object]).assertions
    expect(words!.failures).toEqual(fields!.failures)
    expect(words!.failures.map((f) => f.src)).toContain('other/spy')
    expect(check(['{deny: {from: 10.0.0.0/33, to: shop/db}}']).assertions[0]!.text).toContain('expected a CIDR')
  })

  it('asks every pair: one pod with the other answer fails the assertion and is named', () => {
    const [a] = check(['{deny: {from: "*", to: shop/db, ports: [TCP/5432]}}']).assertions
    expect(a!.status).toBe('fail')
    expect(a!.failures.map((f) => [f.src, f.dst, f.port, f.allowed])).toContainEqual([
      'shop/web',
      'shop/db',
      'TCP/5432',
      true,
    ])
    expect(a!.failures[0]!.decidedBy).toMatchObject({ name: 'db', field: 'spec.ingress[0]', file: 'k.yaml' })
  })

  it('says which rule came nearest when a wanted connection is denied', () => {
    const [a] = check(['{allow: {from: other/spy, to: shop/db, ports: [5432]}}']).assertions
    expect(a).toMatchObject({
      status: 'fail',
      failures: [{ allowed: false, because: 'isolated', nearestMiss: { name: 'db' } }],
    })
  })

  it('without ports: allow asks what the pod declares, deny every port', () => {
    expect(statuses(['{allow: {from: shop/web, to: shop/db}}', '{deny: {from: shop/web, to: shop/db}}'])).toEqual([
      'pass',
      'fail',
    ])
    const [, deny] = check([
      '{allow: {from: shop/web, to: shop/db}}',
      '{deny: {from: shop/web, to: shop/db}}',
    ]).assertions
    expect(deny!.failures.map((f) => f.port)).toEqual(['TCP 5432'])
  })

  it('fails what selects nothing, by selector, by name and by namespace', () => {
    expect(
      statuses([
        '{deny: {from: {podSelector: {matchLabels: {app: typo}}}, to: shop/db}}',
        '{deny: {from: shop/wbe, to: shop/db}}',
        '{deny: {from: ns/shpo, to: shop/db}}',
        '{defaultDeny: {pods: {namespace: nowhere}, direction: ingress}}',
      ]),
    ).toEqual(['empty', 'empty', 'empty', 'empty'])
  })

  it('fails what would hold whatever the policies say', () => {
    expect(statuses(['{deny: {from: shop/db, to: shop/db}}', '{defaultDeny: {pods: shop/agent}}'])).toEqual([
      'vacuous',
      'vacuous',
    ])
  })

  it('fails what only holds on paper: the CNI enforces nothing', () => {
    const lines = [
      '{deny: {from: other/spy, to: shop/db}}',
      '{defaultDeny: {pods: shop/db, direction: ingress}}',
      '{allow: {from: shop/web, to: shop/db}}',
    ]
    expect(statuses(lines, 'kubenet')).toEqual(['unenforced', 'unenforced', 'pass'])
    expect(statuses(lines)).toEqual(['pass', 'pass', 'pass'])
  })

  it('isolated asks both ways, only asks everybody else and the world', () => {
    expect(statuses(['{isolated: [ns/shop, ns/other]}', '{only: {from: shop/web, to: shop/db}}'])).toEqual([
      'fail',
      'pass',
    ])
    const open = POLICY.replace(
      '- from: [{podSelector: {matchLabels: {app: nobody}}}]',
      '- from: [{ipBlock: {cidr: 203.0.113.0/24}}]',
    )
    const [only] = check(['{only: {from: shop/web, to: shop/db}}'], 'calico', open).assertions
    expect(only).toMatchObject({ status: 'fail', failures: [{ src: 'ip:203.0.113.0', allowed: true }, {}, {}] })
  })

  it('lists the rules that no assertion has touched', () => {
    const { coverage } = check(['{allow: {from: shop/web, to: shop/db}}'])
    expect(coverage).toMatchObject({ rules: 2, covered: 1 })
    expect(coverage.uncovered.map((p) => p.field)).toEqual(['spec.ingress[1]'])
  })

  it('reads the form of netassert', () => {
    const text = `- {name: t, type: k8s, protocol: tcp, targetPort: 5432, exitCode: 0, timeoutSeconds: 9, attempts: 1,
   src: {k8sResource: {kind: pod, name: web, namespace: shop}}, dst: {k8sResource: {kind: pod, name: db, namespace: shop}}}
- {name: u, targetPort: 80, exitCode: 1,
   src: {k8sResource: {kind: deployment, name: web, namespace: shop}}, dst: {host: {name: 1.1.1.1}}}
`
    const { assertions: read, diagnostics } = readAssertions([{ name: 'n.yaml', text }])
    expect(diagnostics).toEqual([])
    expect(read).toMatchObject([
      { name: 't', kind: 'allow', from: 'pod/shop/web', to: 'pod/shop/db', ports: [{ protocol: 'TCP', port: 5432 }] },
      { name: 'u', kind: 'deny', from: 'deployment/shop/web', to: '1.1.1.1', at: { line: 3 } },
    ])
  })

  it('names every problem of a file, with its place; a field that is not known is one', () => {
    const text = assertions([
      '{allow: {from: a/b, to: c/d, port: TCP/1}}',
      '{alow: 1}',
      '{deny: {from: {cidr: 1.2.3}, to: {}, ports: [x, 99999]}}',
      '{allow: {from: a/b}}',
      '{allow: {from: a, to: b}, deny: {from: a, to: b}}',
    ])
    const places = readAssertions([{ name: 'a.yaml', text }]).diagnostics.map(
      (d) => `${d.severity} ${d.line} ${d.code}`,
    )
    expect(places).toContain('error 5 unknown-field')
    expect(places).toContain('error 6 unknown-field')
    expect(new Set(places.map((p) => p.split(' ')[1]))).toContain('8')
    expect(readAssertions([{ name: 'a.yaml', text: '' }]).diagnostics).toMatchObject([
      { code: 'empty-input', severity: 'error' },
    ])
    expect(readAssertions([{ name: 'a.yaml', text: 'a: [' }]).diagnostics[0]).toMatchObject({ severity: 'error' })
  })

  it('prints as tests, code findings and annotations', () => {
    const document = check([
      '{name: a & <b>, allow: {from: shop/web, to: shop/db}}',
      '{name: "100%, sure", deny: {from: shop/web, to: shop/db}}',
    ])
    const render = (name: string): string => CHECK_FORMATS.find((f) => f.name === name)!.render(document, plain, '1')
    expect(render('junit')).toContain('<testcase classname="a.yaml" name="a &amp; &lt;b&gt;" file="a.yaml" line="5"/>')
    expect(render('junit')).toContain('tests="2" failures="1"')
    expect(JSON.parse(render('sarif')).runs[0].results).toMatchObject([
      {
        ruleId: 'assertion-fail',
        locations: [{ physicalLocation: { artifactLocation: { uri: 'a.yaml' }, region: { startLine: 6 } } }],
      },
    ])
    expect(render('github')).toMatch(
      /^::error file=a.yaml,line=6,col=5,title=podwalk assertion-fail::100%25, sure: 1 of 3/,
    )
    expect(render('md')).toContain('| ✗ | 100%, sure |')
    expect(render('text')).toContain('1 of 2 hold, 1 do not')
  })
})
