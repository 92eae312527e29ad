/**
 * Policies that the API server, a CRD's rules or a controller refuse: the same reason, with the field and its line.
 */
import { describe, expect, it } from '@jest/globals'
import { buildClusterModel, loadText } from '../../../src/kubernetes/index.ts'

/** Errors of one object as `path: message`. */
function errors(apiVersion: string, kind: string, spec: string, metadata = '{name: p, namespace: x}'): string[] {
  const text = `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: ${metadata}\nspec: ${spec}\n`
  return buildClusterModel(loadText(text, 'p.yaml'))
    .diagnostics.filter((d) => d.severity === 'error')
    .map((d) => {
      expect([d.file, d.line > 0, d.col > 0]).toEqual(['p.yaml', true, true])
      return `${d.path}: ${d.message}`
    })
}

type Case = readonly [spec: string, path: string, words: string]

function table(apiVersion: string, kind: string, cases: readonly Case[], metadata?: string): void {
  it.each(cases)('%s', (spec, path, words) => {
    const found = errors(apiVersion, kind, spec, metadata)
    expect(found.filter((e) => e.startsWith(`${path}: `) && e.includes(words))).toHaveLength(1)
  })
}

const SELECT = 'podSelector: {}'

describe('networking.k8s.io/v1 NetworkPolicy refuses', () => {
  table('networking.k8s.io/v1', 'NetworkPolicy', [
    [`{${SELECT}, ingress: [{from: [{}]}]}`, 'spec.ingress[0].from[0]', 'must specify a peer'],
    [`{${SELECT}, ingress: [{from: [{podSelector: null}]}]}`, 'spec.ingress[0].from[0]', 'must specify a peer'],
    [
      `{${SELECT}, egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]}`,
      'spec.egress[0].to[0]',
      'may not specify both ipBlock and another peer',
    ],
    [
      `{${SELECT}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0}}]}]}`,
      'spec.ingress[0].from[0].ipBlock.cidr',
      'must be a valid CIDR value',
    ],
    [
      `{${SELECT}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/24, except: [10.0.0.0/24]}}]}]}`,
      'spec.ingress[0].from[0].ipBlock.except[0]',
      'must be a strict subset of `cidr`',
    ],
    [
      `{${SELECT}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/24, except: [10.1.0.0/25]}}]}]}`,
      'spec.ingress[0].from[0].ipBlock.except[0]',
      'must be a strict subset of `cidr`',
    ],
    [
      `{${SELECT}, ingress: [{from: [{ipBlock: {cidr: "10.0.0.0/24", except: ["fd00::/64"]}}]}]}`,
      'spec.ingress[0].from[0].ipBlock.except[0]',
      'must be a strict subset of `cidr`',
    ],
    [
      `{${SELECT}, ingress: [{ports: [{endPort: 80}]}]}`,
      'spec.ingress[0].ports[0].endPort',
      'may not be specified when `port` is not specified',
    ],
    [
      `{${SELECT}, ingress: [{ports: [{port: web, endPort: 80}]}]}`,
      'spec.ingress[0].ports[0].endPort',
      'may not be specified when `port` is non-numeric',
    ],
    [
      `{${SELECT}, ingress: [{ports: [{port: 90, endPort: 80}]}]}`,
      'spec.ingress[0].ports[0].endPort',
      'must be greater than or equal to `port`',
    ],
    [`{${SELECT}, ingress: [{ports: [{port: 70000}]}]}`, 'spec.ingress[0].ports[0].port', '1-65535'],
    [`{${SELECT}, ingress: [{ports: [{port: "-web-"}]}]}`, 'spec.ingress[0].ports[0].port', 'port name'],
    [`{${SELECT}, ingress: [{ports: [{protocol: ICMP}]}]}`, 'spec.ingress[0].ports[0].protocol', 'TCP, UDP, SCTP'],
    [`{${SELECT}, policyTypes: [Ingres]}`, 'spec.policyTypes[0]', 'one of Ingress, Egress'],
    [
      `{${SELECT}, policyTypes: [Ingress, Egress, Ingress]}`,
      'spec.policyTypes',
      'may not specify more than two policyTypes',
    ],
    [
      '{podSelector: {matchExpressions: [{key: a, operator: In}]}}',
      'spec.podSelector.matchExpressions[0].values',
      'values for operator In',
    ],
    [
      '{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}',
      'spec.podSelector.matchExpressions[0].values',
      'no values for operator Exists',
    ],
    [
      '{podSelector: {matchExpressions: [{key: a, operator: Is}]}}',
      'spec.podSelector.matchExpressions[0].operator',
      'one of In',
    ],
    ['{podSelector: {matchLabels: {"a b": c}}}', 'spec.podSelector.matchLabels.a b', 'label key'],
    ['{podSelector: {matchLabels: {a: "b c"}}}', 'spec.podSelector.matchLabels.a', 'label value'],
  ])

  it('the same name twice in a namespace', () => {
    const one = 'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {podSelector: {}}\n'
    const { diagnostics } = buildClusterModel(loadText(`${one}---\n${one}`, 'p.yaml'))
    expect(diagnostics.filter((d) => d.severity === 'error').map((d) => [d.code, d.line])).toEqual([
      ['duplicate-object', 8],
    ])
  })
})

const SUBJECT = 'subject: {namespaces: {}}'
const FROM = 'from: [{namespaces: {}}]'

describe('policy.networking.k8s.io refuses', () => {
  table(
    'policy.networking.k8s.io/v1alpha2',
    'ClusterNetworkPolicy',
    [
      [`{tier: Admin, priority: 1001, ${SUBJECT}}`, 'spec.priority', '0-1000'],
      [`{tier: Middle, priority: 1, ${SUBJECT}}`, 'spec.tier', 'one of Admin, Baseline'],
      ['{tier: Admin, priority: 1, subject: {}}', 'spec.subject', 'should have at least 1 properties'],
      [
        '{tier: Admin, priority: 1, subject: {namespaces: {}, pods: {podSelector: {}}}}',
        'spec.subject',
        'must have at most 1 items',
      ],
      [
        `{tier: Admin, priority: 1, ${SUBJECT}, ingress: [{action: Allow, ${FROM}}]}`,
        'spec.ingress[0].action',
        'one of Accept, Deny, Pass',
      ],
      [
        `{tier: Admin, priority: 1, ${SUBJECT}, ingress: [{action: Deny, from: []}]}`,
        'spec.ingress[0].from',
        'at least 1 item',
      ],
      [
        `{tier: Admin, priority: 1, ${SUBJECT}, ingress: [{action: Deny, ${FROM}, protocols: [{tcp: {}}]}]}`,
        'spec.ingress[0].protocols[0].tcp',
        'should have at least 1 properties',
      ],
      [
        `{tier: Admin, priority: 1, ${SUBJECT}, ingress: [{action: Deny, ${FROM}, protocols: [{tcp: {destinationPort: {range: {start: 9, end: 9}}}}]}]}`,
        'spec.ingress[0].protocols[0].tcp.destinationPort.range',
        'Start port must be less than End port',
      ],
      [
        `{tier: Admin, priority: 1, ${SUBJECT}, egress: [{action: Deny, to: [{networks: [10.0.0.0]}]}]}`,
        'spec.egress[0].to[0].networks[0]',
        'Invalid CIDR format provided',
      ],
      [
        `{tier: Admin, priority: 1, ${SUBJECT}, egress: [{action: Deny, to: [{networks: [10.0.0.0/8]}], protocols: [{destinationNamedPort: web}]}]}`,
        'spec.egress[0]',
        'cannot be set with namedPorts',
      ],
    ],
    '{name: p}',
  )
  table(
    'policy.networking.k8s.io/v1alpha1',
    'AdminNetworkPolicy',
    [
      [`{${SUBJECT}}`, 'spec.priority', 'an integer'],
      [
        `{priority: 1, ${SUBJECT}, ingress: [{action: Accept, ${FROM}}]}`,
        'spec.ingress[0].action',
        'one of Allow, Deny, Pass',
      ],
    ],
    '{name: p}',
  )
  table(
    'policy.networking.k8s.io/v1alpha1',
    'BaselineAdminNetworkPolicy',
    [
      [`{${SUBJECT}}`, 'metadata.name', 'Only one baseline admin network policy with metadata.name="default"'],
      [`{${SUBJECT}, ingress: [{action: Pass, ${FROM}}]}`, 'spec.ingress[0].action', 'one of Allow, Deny'],
    ],
    '{name: other}',
  )
})

describe('projectcalico.org refuses', () => {
  table(
    'projectcalico.org/v3',
    'GlobalNetworkPolicy',
    [
      ['{selector: "app = a"}', 'spec.selector', 'at character 5'],
      ['{selector: "global()"}', 'spec.selector', 'global() can only be used in an EntityRule namespaceSelector'],
      ['{types: [Ingress, Ingress]}', 'spec.types[1]', "'Ingress' type specified more than once"],
      ['{ingress: [{action: Accept}]}', 'spec.ingress[0].action', 'one of Allow, Deny, Log, Pass'],
      [
        '{ingress: [{action: Allow, destination: {ports: [80]}}]}',
        'spec.ingress[0].destination.ports',
        'rules that specify ports must set protocol',
      ],
      [
        '{ingress: [{action: Allow, protocol: TCP, destination: {ports: ["90:80"]}}]}',
        'spec.ingress[0].destination.ports[0]',
        'minimum port is greater than maximum port',
      ],
      ['{ingress: [{action: Allow, protocol: GRE}]}', 'spec.ingress[0].protocol', '1-255'],
      [
        '{ingress: [{action: Allow, icmp: {type: 8}}]}',
        'spec.ingress[0].icmp',
        'rules that specify ICMP fields must set protocol to ICMP',
      ],
      [
        '{ingress: [{action: Allow, protocol: ICMP, icmp: {code: 0}}]}',
        'spec.ingress[0].icmp.code',
        'ICMP code specified without an ICMP type',
      ],
      [
        '{ingress: [{action: Allow, source: {nets: [10.0.0.0/8, "fd00::/64"]}}]}',
        'spec.ingress[0].source.nets',
        'both IPv4 and IPv6 CIDRs',
      ],
      ['{ingress: [{action: Deny, http: {methods: [GET]}}]}', 'spec.ingress[0].http', 'only valid for Allow rules'],
      [
        '{ingress: [{action: Allow, destination: {services: {name: s, namespace: x}}}]}',
        'spec.ingress[0].destination.services',
        'not allowed in ingress rule destination',
      ],
      [
        '{egress: [{action: Allow, destination: {services: {name: s}}}]}',
        'spec.egress[0].destination.services.namespace',
        'must specify a namespace',
      ],
      ['{preDNAT: true}', 'spec.applyOnForward', 'ApplyOnForward must be true'],
      [
        '{preDNAT: true, applyOnForward: true, egress: [{action: Allow}]}',
        'spec.egress',
        'PreDNAT PolicySpec cannot have any Egress rules',
      ],
    ],
    '{name: p}',
  )
  table(
    'projectcalico.org/v3',
    'Tier',
    [['{order: 5}', 'spec.order', 'default tier order must be 1000000']],
    '{name: default}',
  )
})

const ES = 'endpointSelector: {}'

describe('cilium.io refuses', () => {
  table('cilium.io/v2', 'CiliumNetworkPolicy', [
    [`{${ES}, ingress: []}`, 'spec', 'rule must have at least one of Ingress, IngressDeny, Egress, EgressDeny'],
    ['{ingress: [{}]}', 'spec', 'rule must have one of EndpointSelector or NodeSelector'],
    [
      `{${ES}, nodeSelector: {}, ingress: [{}]}`,
      'spec.nodeSelector',
      'rule cannot have both EndpointSelector and NodeSelector',
    ],
    [
      `{${ES}, ingress: [{fromEndpoints: [{}], fromEntities: [world]}]}`,
      'spec.ingress[0]',
      'combining FromEndpoints and FromEntities is not supported yet',
    ],
    [
      `{${ES}, ingress: [{fromEntities: [internet]}]}`,
      'spec.ingress[0].fromEntities[0]',
      'unsupported entity: internet',
    ],
    [`{${ES}, egress: [{toCIDR: [10.0.0.0/33]}]}`, 'spec.egress[0].toCIDR[0]', 'unable to parse CIDR'],
    [
      `{${ES}, egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, except: [192.0.2.0/24]}]}]}`,
      'spec.egress[0].toCIDRSet[0].except[0]',
      'does not contain exclude CIDR prefix',
    ],
    [
      `{${ES}, ingress: [{toPorts: [{ports: [{port: "80"}]}], icmps: [{fields: [{type: 8}]}]}]}`,
      'spec.ingress[0]',
      'the ICMPs block may only be present without ToPorts',
    ],
    [
      `{${ES}, ingress: [{toPorts: [{ports: [{protocol: TCP}]}]}]}`,
      'spec.ingress[0].toPorts[0].ports[0].port',
      'port must be specified',
    ],
    [
      `{${ES}, ingress: [{toPorts: [{ports: [{port: "80", protocol: GRE}]}]}]}`,
      'spec.ingress[0].toPorts[0].ports[0].protocol',
      'TCP, UDP, SCTP or ANY',
    ],
    [
      `{${ES}, ingress: [{toPorts: [{ports: [{port: "53", protocol: UDP}], rules: {http: [{}]}}]}]}`,
      'spec.ingress[0].toPorts[0].ports[0].protocol',
      'L7 rules can only apply to TCP',
    ],
  ])
})
