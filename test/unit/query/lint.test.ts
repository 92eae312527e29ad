/**
 * Lint: one small cluster per finding, and none where there is nothing to find.
 */
import { describe, expect, it } from '@jest/globals'
import { buildClusterModel, loadText } from '../../../src/kubernetes/index.ts'
import { PolicyEngine } from '../../../src/policy/engine.ts'
import { policyInputOf } from '../../../src/policy/input.ts'
import { lintQuery } from '../../../src/query/lint/lint.ts'
import { LINT_FORMATS } from '../../../src/report/lint.ts'
import { plain } from '../../../src/report/paint.ts'
import { policyManifests } from '../../support/policy.ts'

const PODS = [
  'shop/web app=web ports=http:8080',
  'shop/db app=db ports=pg:5432',
  'shop/log app=log ports=syslog:514/UDP',
  'other/spy app=spy',
]

function policy(name: string, spec: string, namespace = 'shop'): string {
  return `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec: ${spec}\n`
}

const GOOD = policy(
  'db',
  '{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: pg}]}]}',
)

function lint(policies: readonly string[], cni = 'calico', pods: readonly string[] = PODS) {
  const built = buildClusterModel(loadText(policyManifests(pods, policies.join('---\n')), 'k.yaml'), { cni })
  expect(built.diagnostics.filter((d) => d.severity === 'error')).toEqual([])
  return lintQuery(new PolicyEngine(policyInputOf(built.model)), built.model, built.diagnostics)
}

function codes(policies: readonly string[], cni?: string, pods?: readonly string[]): string[] {
  return lint(policies, cni, pods).findings.map((f) => f.code)
}

describe('lint', () => {
  it('finds nothing in a policy that says what it means', () => {
    expect(codes([GOOD])).toEqual([])
  })

  it('looks at Ingresses too: a backend that is not there, with its line', () => {
    const ingress = `apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop}
spec: {rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: nobody, port: {number: 80}}}}]}}]}
`
    const found = lint([ingress]).findings.filter((f) => f.field.startsWith('spec.rules[0]'))
    expect(found.map((f) => [f.severity, f.file])).toEqual([['warning', 'k.yaml']])
    expect(found[0]!.message).toContain('nobody')
  })

  it.each<[string, string[], string]>([
    [
      'a policy that selects no pod',
      [policy('a', '{podSelector: {matchLabels: {app: wbe}}}')],
      'policy-selects-nothing',
    ],
    ['a peer that selects no pod', [GOOD.replace('app: web', 'app: wbe')], 'peer-selects-nothing'],
    ['a podSelector that means another namespace', [GOOD.replace('app: web', 'app: spy')], 'peer-selects-nothing'],
    ['a named port that no pod has', [GOOD.replace('port: pg', 'port: postgres')], 'unknown-port-name'],
    [
      'a named port of another protocol',
      [GOOD.replace('app: db', 'app: log').replace('{port: pg}', '{port: syslog}')],
      'unknown-port-name',
    ],
    [
      'ports open to every address',
      [policy('a', '{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}')],
      'open-to-world',
    ],
    [
      'a rule without from',
      [policy('a', '{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 5432}]}]}')],
      'open-to-world',
    ],
    [
      'egress isolated without DNS',
      [
        policy(
          'a',
          '{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: 5432}]}]}',
        ),
      ],
      'no-dns',
    ],
    [
      'egress: [] that isolates nothing',
      [
        policy(
          'a',
          '{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: db}}}]}], egress: []}',
        ),
      ],
      'egress-not-isolated',
    ],
    [
      'rules that policyTypes ignores',
      [policy('a', '{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], egress: [{}]}')],
      'rules-ignored',
    ],
    [
      'a block with addresses of pods',
      [policy('a', '{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}')],
      'block-of-pods',
    ],
    ['the same said twice', [GOOD, GOOD.replace('name: db,', 'name: again,')], 'rule-redundant'],
    [
      'a Cilium rule that matches nothing',
      [
        'apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: a, namespace: shop}\nspec: {endpointSelector: {matchLabels: {app: db}}, ingress: [{}]}\n',
      ],
      'rule-matches-nothing',
    ],
  ])('%s', (_name, policies, code) => {
    expect(codes(policies)).toContain(code)
  })

  it('two cluster policies of one priority over the same pods', () => {
    const cluster = (name: string, priority: number, app: string): string =>
      `apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: ${name}}\nspec: {priority: ${priority}, subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: ${app}}}}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]}\n`
    expect(codes([cluster('a', 5, 'db'), cluster('b', 5, 'db')])).toContain('equal-priority')
    expect(codes([cluster('a', 5, 'db'), cluster('b', 6, 'db')])).not.toContain('equal-priority')
    expect(codes([cluster('a', 5, 'db'), cluster('b', 5, 'web')])).not.toContain('equal-priority')
  })

  it('DNS that is allowed is not missed', () => {
    const egress = (to: string): string =>
      policy(
        'a',
        `{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [${to}], ports: [{port: 53, protocol: UDP}]}]}`,
      )
    const dns = [...PODS, 'kube-system/dns k8s-app=kube-dns ports=dns:53/UDP']
    expect(codes([egress('{namespaceSelector: {}}')], 'calico', dns)).not.toContain('no-dns')
    expect(codes([egress('{podSelector: {}}')], 'calico', dns)).toContain('no-dns')
  })

  it('policies that the CNI ignores are errors', () => {
    const found = lint([GOOD], 'kubenet')
    expect(found.findings).toContainEqual(
      expect.objectContaining({ code: 'not-enforced', severity: 'error', object: 'NetworkPolicy shop/db' }),
    )
    expect(found.summary.error).toBe(1)
  })

  it('has the line of each finding, and prints it for people and for code scanning', () => {
    const found = lint([GOOD.replace('app: web', 'app: wbe')])
    const [finding] = found.findings.filter((f) => f.code === 'peer-selects-nothing')
    expect(finding).toMatchObject({ file: 'k.yaml', field: 'spec.ingress[0].from[0]' })
    const render = (name: string): string => LINT_FORMATS.find((f) => f.name === name)!.render(found, plain, '1')
    expect(render('text')).toContain(
      `k.yaml:${finding!.line}:${finding!.col}: warning: NetworkPolicy shop/db spec.ingress[0].from[0]: the peer selects no pod`,
    )
    expect(JSON.parse(render('sarif')).runs[0].results.map((r: { ruleId: string }) => r.ruleId)).toContain(
      'peer-selects-nothing',
    )
    expect(render('github')).toContain(`::warning file=k.yaml,line=${finding!.line},`)
  })
})
