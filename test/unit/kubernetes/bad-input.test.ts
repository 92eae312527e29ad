import { describe, expect, it } from '@jest/globals'
import { build, cluster, deployment, errorsOf, findingsOf, service } from './support.ts'

const pod = (spec: string, meta = 'name: p') => `apiVersion: v1\nkind: Pod\nmetadata: {${meta}}\nspec:\n${spec}\n`
const ok = '  containers: [{name: c, image: i}]'
const node = (name: string, spec: string, status = '') =>
  `apiVersion: v1\nkind: Node\nmetadata: {name: ${name}}\nspec: {${spec}}\nstatus: {${status}}\n---\n`

/** [what, manifest, line:col and beginning of the finding] */
const cases: [string, string, string][] = [
  ['no objects at all', '# nothing\n', 'error: expected Kubernetes objects, found nothing'],
  [
    'a list where an object should be',
    '- a\n- b: c\n',
    '1:1: error: expected an object with apiVersion and kind, found a list',
  ],
  ['a list of words', '- a\n- b\n', '1:1: error: expected an object with apiVersion and kind, found a list'],
  ['plain text', 'hello world\n', '1:1: error: expected an object with apiVersion and kind, found plain text'],
  ['a number', '{"apiVersion":"v1"} 42', '1:21: error:'],
  ['no kind', 'apiVersion: v1\nmetadata: {name: a}\n', '1:1: error: kind: expected a string, found nothing'],
  ['no apiVersion', 'kind: Pod\nmetadata: {name: a}\n', '1:1: error: apiVersion: expected a string, found nothing'],
  ['a kind that is a number', 'apiVersion: v1\nkind: 7\n', '2:1: error: kind: expected a string, found 7'],
  ['metadata that is a list', 'apiVersion: v1\nkind: Pod\nmetadata: [1]\n', '3:1: error: metadata: expected an object'],
  ['a tab', 'apiVersion: v1\nkind: Pod\nmetadata:\n\tname: a\n', '4:1: error: Tabs are not allowed as indentation'],
  ['a key twice', 'apiVersion: v1\nkind: Pod\nkind: Pod\n', '3:1: error: expected each key once, found "kind" again'],
  [
    'a JSON key twice',
    '{"apiVersion":"v1",\n"kind":"Pod","kind":"Pod"}',
    '2:14: error: expected each key once, found "kind" again',
  ],
  ['broken flow', 'apiVersion: v1\nkind: Pod\nmetadata: {name: a\n', '4:1: error: Flow map in block collection'],
  ['broken JSON', '{"apiVersion": "v1",\n "kind": ]}', '2:10: error:'],
  [
    'a template',
    'apiVersion: v1\nkind: {{ .Values.kind }}\n  a: b\n',
    '3:1: error: All mapping items must start at the same column [yaml-syntax]\n  hint: this looks like a template',
  ],
  [
    'an unknown alias',
    'apiVersion: v1\nkind: *nope\n',
    '2:7: error: expected an anchor before its alias, found no anchor "&nope"',
  ],
  [
    'deep JSON',
    '{"apiVersion":"v1","kind":"List","items":['.repeat(5000) + ']}'.repeat(5000),
    '1:4201: error: expected at most 200 levels of nesting',
  ],
  [
    'a control character in a key',
    pod(ok, 'name: p, annotations: {"a\\nb": c}'),
    '3:35: error: metadata.annotations.a\\u000ab:',
  ],
  ['deep nesting', `a: ${'['.repeat(500)}`, '1:204: error: expected at most 200 levels of nesting'],
  [
    'an alias bomb',
    `a: &a [x,x,x,x,x,x,x,x,x,x]\n${[...'bcdefgh'].map((c, i) => `${c}: &${c} [${Array(10).fill(`*${'abcdefg'[i]}`).join()}]`).join('\n')}`,
    '1:1: error: expected aliases in reasonable number',
  ],
  ['no containers', pod('  {}'), '4:1: error: spec.containers: expected a list, found nothing'],
  ['empty containers', pod('  containers: []'), '5:3: error: spec.containers: expected at least 1 item, found none'],
  [
    'containers of the wrong type',
    pod('  containers: {name: c}'),
    '5:3: error: spec.containers: expected a list, found an object',
  ],
  [
    'a container without name',
    pod('  containers: [{image: i}]'),
    '5:16: error: spec.containers[0].name: expected a string, found nothing',
  ],
  [
    'a container name twice',
    pod('  containers: [{name: c}, {name: c}]'),
    '5:28: error: spec.containers[1].name: expected each name once',
  ],
  [
    'a container port out of range',
    pod('  containers: [{name: c, ports: [{containerPort: 70000}]}]'),
    '5:35: error: spec.containers[0].ports[0].containerPort: expected 1-65535, found 70000',
  ],
  [
    'a container port in quotes',
    pod('  containers: [{name: c, ports: [{containerPort: "80"}]}]'),
    '5:35: error: spec.containers[0].ports[0].containerPort: expected an integer 1-65535, found string "80" [wrong-type]\n  hint: remove the quotes',
  ],
  [
    'a bad port name',
    pod('  containers: [{name: c, ports: [{containerPort: 80, name: this-is-far-too-long}]}]'),
    '5:54: error: spec.containers[0].ports[0].name: expected a port name',
  ],
  [
    'a bad protocol',
    pod('  containers: [{name: c, ports: [{containerPort: 80, protocol: tcp}]}]'),
    '5:54: error: spec.containers[0].ports[0].protocol: expected one of TCP, UDP, SCTP, found string "tcp" [invalid-value]\n  hint: did you mean "TCP"?',
  ],
  [
    'an env value that is a number',
    pod('  containers: [{name: c, env: [{name: A, value: 8080}]}]'),
    '5:42: error: spec.containers[0].env[0].value: expected a string, found 8080 [wrong-type]\n  hint: quote it: "8080"',
  ],
  [
    'a label that is a boolean',
    pod(ok, 'name: p, labels: {on: yes}'),
    '3:30: error: metadata.labels.true: expected a string, found boolean true [wrong-type]\n  hint: quote it: YAML reads yes, no, on and off as booleans',
  ],
  [
    'a bad label value',
    pod(ok, 'name: p, labels: {a: "b c"}'),
    '3:30: error: metadata.labels.a: expected a label value',
  ],
  ['a bad label key', pod(ok, 'name: p, labels: {"-a": b}'), '3:30: error: metadata.labels.-a: expected a label key'],
  [
    'upper case in a name',
    pod(ok, 'name: Web_App'),
    '3:12: error: metadata.name: expected an RFC 1123 subdomain: lower case letters, digits, "-" and ".", a letter or digit at the ends, found string "Web_App" [bad-name]\n  hint: for example "web-app"',
  ],
  ['no name', pod(ok, 'labels: {a: b}'), '3:1: error: metadata.name: expected a name or generateName, found neither'],
  [
    'a bad namespace',
    pod(ok, 'name: p, namespace: a.b'),
    '3:21: error: metadata.namespace: expected an RFC 1123 label',
  ],
  [
    'a Service name with a digit first',
    service('1api', 'ports: [{port: 80}]'),
    '4:12: error: metadata.name: expected an RFC 1035 label',
  ],
  [
    'a quantity that is none',
    pod('  containers: [{name: c, resources: {requests: {cpu: lots}}}]'),
    '5:49: error: spec.containers[0].resources.requests.cpu: expected a quantity',
  ],
  [
    'a bad dnsPolicy',
    pod(`${ok}\n  dnsPolicy: ClusterFist`),
    '6:3: error: spec.dnsPolicy: expected one of ClusterFirst, ClusterFirstWithHostNet, Default, None, found string "ClusterFist" [invalid-value]\n  hint: did you mean "ClusterFirst"?',
  ],
  [
    'dnsPolicy None without nameserver',
    pod(`${ok}\n  dnsPolicy: None`),
    '4:1: error: spec.dnsConfig.nameservers: expected a nameserver',
  ],
  [
    'a bad host alias',
    pod(`${ok}\n  hostAliases: [{ip: 10.0.0.256}]`),
    '6:18: error: spec.hostAliases[0].ip: expected an IP address, found string "10.0.0.256"',
  ],
  [
    'an unknown node',
    pod(`${ok}\n  nodeName: n3`),
    '6:3: error: spec.nodeName: expected a node of the cluster, found "n3" [unknown-node]\n  hint: nodes of the cluster: n1',
  ],
  [
    'a host port that differs on the host network',
    pod('  hostNetwork: true\n  containers: [{name: c, ports: [{containerPort: 80, hostPort: 81}]}]'),
    '6:54: error: spec.containers[0].ports[0].hostPort: expected 80',
  ],
  [
    'an object twice',
    `${pod(ok)}---\n${pod(ok)}`,
    '9:12: error: metadata.name: expected each object once, found Pod default/p again [duplicate-object]\n  hint: the first one is at m.yaml:1:1',
  ],
  [
    'a selector that misses its template',
    deployment('web', 1).replace('labels: {app: web', 'labels: {app: wep'),
    '9:16: error: spec.template.metadata.labels: expected labels that spec.selector matches, found {"app":"wep"}: selector does not match template labels',
  ],
  [
    'an empty selector',
    deployment('web', 1).replace('{matchLabels: {app: web}}', '{}'),
    '7:3: error: spec.selector: expected a selector that is not empty',
  ],
  [
    'no template',
    'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec: {selector: {matchLabels: {a: b}}}\n',
    '4:1: error: spec.template: expected an object, found nothing',
  ],
  ['negative replicas', deployment('web', -1), '6:3: error: spec.replicas: expected 0-2147483647, found -1'],
  [
    'a Deployment that restarts never',
    deployment('web', 1, 'restartPolicy: Never'),
    '12:7: error: spec.template.spec.restartPolicy: expected "Always", found "Never"',
  ],
  [
    'a Job that restarts always',
    'apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec:\n  template:\n    spec: {containers: [{name: c}]}\n',
    '6:5: error: spec.template.spec.restartPolicy: expected "OnFailure" or "Never", found nothing (the default is Always)',
  ],
  [
    'an In without values',
    deployment('web', 1).replace('{matchLabels: {app: web}}', '{matchExpressions: [{key: app, operator: In}]}'),
    '7:33: error: spec.selector.matchExpressions[0].values: expected values for operator In, found none',
  ],
  [
    'a Service without ports',
    service('a', 'type: ClusterIP'),
    '5:1: error: spec.ports: expected at least 1 port, found none',
  ],
  [
    'a Service port 0',
    service('a', 'ports: [{port: 0}]'),
    '5:17: error: spec.ports[0].port: expected 1-65535, found 0',
  ],
  [
    'ports without names',
    service('a', 'ports: [{port: 80}, {port: 81}]'),
    '5:16: error: spec.ports[0].name: expected a name because there is more than one port',
  ],
  [
    'a port twice',
    service('a', 'ports: [{name: a, port: 80}, {name: b, port: 80}]'),
    '5:47: error: spec.ports[1].port: expected each port and protocol once, found 80/TCP again',
  ],
  [
    'a nodePort on a ClusterIP',
    service('a', 'ports: [{port: 80, nodePort: 30080}]'),
    '5:27: error: spec.ports[0].nodePort: expected none for type ClusterIP, found 30080',
  ],
  [
    'a nodePort out of range',
    service('a', 'type: NodePort, ports: [{port: 80, nodePort: 8080}]'),
    '5:43: error: spec.ports[0].nodePort: expected a port in the node port range 30000-32767, found 8080',
  ],
  [
    'a nodePort twice',
    service('a', 'type: NodePort, ports: [{port: 80, nodePort: 30080}]') +
      service('b', 'type: NodePort, ports: [{port: 80, nodePort: 30080}]'),
    '10:43: error: spec.ports[0].nodePort: node port 30080: provided port is already allocated [duplicate-port]\n  hint: Service default/a has it',
  ],
  [
    'a bad targetPort',
    service('a', 'ports: [{port: 80, targetPort: "80"}]'),
    '5:27: error: spec.ports[0].targetPort: expected a port 1-65535 or a port name, found string "80" [invalid-value]\n  hint: remove the quotes',
  ],
  [
    'a clusterIP that is none',
    service('a', 'clusterIP: 10.96.0.300, ports: [{port: 80}]'),
    '5:8: error: spec.clusterIP: expected an IP address, "None" or nothing, found string "10.96.0.300"',
  ],
  [
    'a clusterIP outside',
    service('a', 'clusterIP: 192.168.0.5, ports: [{port: 80}]'),
    '5:8: error: spec.clusterIP: failed to allocate IP 192.168.0.5: the provided IP (192.168.0.5) is not in the valid range. The range of valid IPs is 10.96.0.0/12',
  ],
  [
    'a clusterIP twice',
    service('a', 'clusterIP: 10.96.0.9, ports: [{port: 80}]') +
      service('b', 'clusterIP: 10.96.0.9, ports: [{port: 80}]'),
    '10:8: error: spec.clusterIP: failed to allocate IP 10.96.0.9: provided IP is already allocated',
  ],
  [
    'ExternalName without a name',
    service('a', 'type: ExternalName'),
    '5:1: error: spec.externalName: expected a DNS name',
  ],
  [
    'a headless NodePort',
    service('a', 'type: NodePort, clusterIP: None, ports: [{port: 80}]'),
    '5:24: error: spec.clusterIP: expected an address for type NodePort, found "None"',
  ],
  [
    'a bad affinity timeout',
    service(
      'a',
      'sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}, ports: [{port: 80}]',
    ),
    '5:70: error: spec.sessionAffinityConfig.clientIP.timeoutSeconds: expected 1-86400, found 0',
  ],
  [
    'a slice of the wrong family',
    'apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s}\naddressType: IPv6\nendpoints: [{addresses: [10.0.0.1]}]\n',
    '5:26: error: endpoints[0].addresses[0]: expected an IPv6 address, found "10.0.0.1"',
  ],
  [
    'Endpoints with a bad address',
    'apiVersion: v1\nkind: Endpoints\nmetadata: {name: s}\nsubsets: [{addresses: [{ip: nope}]}]\n',
    '4:25: error: subsets[0].addresses[0].ip: expected an IP address',
  ],
  [
    'a policy with a bad block',
    'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np}\nspec:\n  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/33}}]}]\n',
    '5:32: error: spec.ingress[0].from[0].ipBlock.cidr: expected a CIDR, found "10.0.0.0/33"',
  ],
  [
    'a policy exception outside',
    'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np}\nspec:\n  egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}]\n',
    '5:56: error: spec.egress[0].to[0].ipBlock.except[0]: expected a strict subset of 10.0.0.0/8, found 11.0.0.0/16',
  ],
  [
    'an endPort below the port',
    'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np}\nspec:\n  ingress: [{ports: [{port: 90, endPort: 80}]}]\n',
    '5:33: error: spec.ingress[0].ports[0].endPort: expected at least 90, found 80',
  ],
  [
    'overlapping networks',
    cluster('podCIDR: 10.96.0.0/16'),
    '5:8: error: expected networks that do not overlap, found the pod network 10.96.0.0/16 and the service network 10.96.0.0/12',
  ],
  [
    'host bits in a network',
    cluster('podCIDR: 10.244.1.0/16'),
    '5:8: error: spec.clusterCIDR: expected a network, found host bits set in 10.244.1.0/16',
  ],
  [
    'overlapping node CIDRs',
    node('a', 'podCIDR: 10.244.0.0/24') + node('b', 'podCIDR: 10.244.0.128/25'),
    '10:8: error: node b: expected a podCIDR of its own, found 10.244.0.128/25, which overlaps 10.244.0.0/24 of node a',
  ],
  [
    'a bad node CIDR',
    node('a', 'podCIDR: 10.244.0.0'),
    '4:8: error: spec.podCIDR: node a: expected a CIDR, found "10.244.0.0"',
  ],
  [
    'a node address twice',
    node('a', '', 'addresses: [{type: InternalIP, address: 172.18.0.9}]') +
      node('b', '', 'addresses: [{type: InternalIP, address: 172.18.0.9}]'),
    '11:10: error: node b: expected an InternalIP of its own, found 172.18.0.9 of node a',
  ],
  [
    'no CIDR left for a node',
    cluster('nodes: 3, podCIDR: 10.244.0.0/23'),
    '5:8: error: node n3: CIDR allocation failed; there are no remaining CIDRs left to allocate in the accepted range',
  ],
  ['zero nodes', cluster('nodes: 0'), '5:8: error: spec.nodes: expected 1-100000, found 0'],
  [
    'a bad mode',
    cluster('kubeProxy: {mode: iptable}'),
    '5:20: error: spec.kubeProxy.mode: expected one of iptables, nftables, ipvs, none, found string "iptable" [invalid-value]\n  hint: did you mean "iptables"?',
  ],
  [
    'two clusters',
    cluster('nodes: 1') + cluster('nodes: 1').replace('lab', 'two'),
    '7:1: error: expected at most one Cluster object, found another',
  ],
  [
    'an exhausted pod CIDR',
    cluster('nodes: 1, podCIDR: 10.244.0.0/29, nodeCIDRMaskSize: 29') + deployment('web', 6),
    '7:1: error: pod default/web-',
  ],
  [
    'a pod for no node',
    deployment('web', 1, 'nodeSelector: {disk: ssd}'),
    "10:5: error: Deployment default/web: cannot be scheduled: 0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.",
  ],
  [
    'a pod too large',
    cluster('nodes: [{name: a, allocatable: {cpu: "1"}}]') +
      '\n' +
      pod('  containers: [{name: c, resources: {requests: {cpu: 1500m}}}]'),
    '10:1: error: pod default/p: cannot be scheduled: 0/1 nodes are available: 1 Insufficient cpu.',
  ],
  [
    'a pod address twice',
    `${pod(`${ok}\n  nodeName: n1\nstatus: {podIP: 10.244.0.5}`)}---\n${pod(`${ok}\n  nodeName: n1\nstatus: {podIP: 10.244.0.5}`, 'name: q')}`,
    '15:10: error: status.podIP: expected an address of its own, found 10.244.0.5 of pod default/p',
  ],
  [
    'a pod address that is none',
    pod(`${ok}\nstatus: {podIP: 10.244.0}`),
    '6:10: error: status.podIP: expected an IPv4 address, found "10.244.0"',
  ],
]

/** Every node holds 110 pods: how many more there are changes nothing. */
const endless = (kind: string) => deployment('d', 2147483647).replace('kind: Deployment', `kind: ${kind}`)

describe('bad input is an error at its place', () => {
  it.each(['Deployment', 'StatefulSet'])('more replicas in a %s than fit on any node, however many', (kind) => {
    expect(errorsOf(build(endless(kind))).join('\n')).toMatch(
      /^m.yaml:\d+:\d+: error: \w+ default\/d: cannot be scheduled: 0\/2 nodes are available: 2 Too many pods/,
    )
  })
  it.each(['127.0.0.1', '0.0.0.0', '224.0.0.1', '255.255.255.255'])('a node with the address %s', (ip) => {
    const text = node('n1', '', `addresses: [{type: InternalIP, address: ${ip}}]`) + pod(ok)
    expect(errorsOf(build(text)).join('\n')).toMatch(`expected an address that a machine can have, found ${ip}`)
  })
  it('the ClusterIP of the API server: the Service that takes it is in the wrong', () => {
    const [error] = errorsOf(build(service('s', 'clusterIP: 10.96.0.1, ports: [{port: 80}]')))
    expect(error).toMatch(/^m.yaml:\d+:\d+: error: spec.clusterIP: failed to allocate IP 10.96.0.1/)
    expect(error).toMatch('Service default/kubernetes has it')
  })

  it.each(cases)('%s', (_what, text, expected) => {
    const errors = errorsOf(build(text)).map((e) => e.replace(/^m\.yaml:/, ''))
    expect(errors.find((e) => e.startsWith(expected)) ?? errors.join('\n')).toMatch(
      new RegExp(`^${escapeText(expected)}`),
    )
  })
})

function escapeText(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}

describe('warnings', () => {
  it.each([
    [
      'an unknown field, in the words of strict decoding',
      pod(`${ok}\n  hostNetwrok: true`),
      '6:3: warning: unknown field "spec.hostNetwrok" [unknown-field]\n  hint: did you mean "hostNetwork"?',
    ],
    [
      'an unknown field in a list',
      service('a', 'ports: [{port: 80, tragetPort: 8080}]'),
      '5:27: warning: unknown field "spec.ports[0].tragetPort" [unknown-field]\n  hint: did you mean "targetPort"?',
    ],
    [
      'an unknown kind',
      'apiVersion: v1\nkind: Servcie\nmetadata: {name: a}\n',
      '1:1: warning: unknown kind "Servcie" (v1): not modelled [unknown-kind]\n  hint: did you mean "Service"?',
    ],
    [
      'a custom resource, once with its count',
      'apiVersion: x.io/v1\nkind: Thing\n---\napiVersion: x.io/v1\nkind: Thing\n',
      '1:1: warning: unknown kind "Thing" (x.io/v1), 2 objects: not modelled [unknown-kind]',
    ],
    [
      'a removed API',
      'apiVersion: extensions/v1beta1\nkind: Deployment\nmetadata: {name: a}\n',
      '1:1: warning: unknown kind "Deployment" (extensions/v1beta1): not modelled [unknown-kind]\n  hint: extensions/v1beta1 is no longer served: use apps/v1',
    ],
    [
      'a target port that no pod has',
      deployment('web', 1) + service('web', 'selector: {app: web}, ports: [{port: 80, targetPort: htpp}]'),
      '17:49: warning: spec.ports[0].targetPort: expected a port name of the pods that default/web selects, found "htpp": no endpoints [unresolved-target-port]\n  hint: did you mean "http"?',
    ],
    [
      'an address outside of the node',
      pod(`${ok}\n  nodeName: n1\nstatus: {podIP: 10.9.9.9}`),
      "7:10: warning: status.podIP: 10.9.9.9 is not an address of node n1's podCIDR 10.244.0.0/24: another is allocated",
    ],
    [
      'IPv6 Services',
      service('a', 'ipFamilies: [IPv6], ports: [{port: 80}]'),
      '5:8: warning: spec.ipFamilies: IPv6 addresses of Services are not modelled',
    ],
    [
      'broken configuration inside a ConfigMap',
      'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: f}\ndata:\n  net-conf.json: "{"\n',
      '5:3: warning: data[net-conf.json]: expected a configuration object in net-conf.json: ignored',
    ],
  ])('%s', (_what, text, expected) => {
    const built = build(text)
    expect(errorsOf(built)).toEqual([])
    const findings = findingsOf(built).map((e) => e.replace(/^m\.yaml:/, ''))
    expect(findings.find((e) => e.startsWith(expected)) ?? findings.join('\n')).toMatch(
      new RegExp(`^${escapeText(expected)}`),
    )
  })
})

describe('many problems at once', () => {
  it('reports every one of every document, in order, and builds the rest', () => {
    const text = `${pod('  containers: 5')}---\n a: b\n\tc: d\n---\n${deployment('good', 2)}\n${service('bad', 'ports: [{port: 0}]')}`
    const built = build(text)
    const lines = built.diagnostics.map((d) => d.line)
    expect(built.diagnostics.map((d) => d.code)).toEqual(
      expect.arrayContaining(['wrong-type', 'yaml-syntax', 'invalid-value']),
    )
    expect(lines).toEqual([...lines].sort((a, b) => a - b))
    expect(built.model.pods).toHaveLength(2)
  })
  it('counts a flood instead of printing it', () => {
    const built = build('---\nhello\n'.repeat(5000))
    expect(built.diagnostics.length).toBeLessThan(110)
    expect(findingsOf(built)).toContain('m.yaml: error: 4900 more of this kind in this file [not-an-object]')
  })
})

describe('junk of 10 MB', () => {
  it.each([
    ['brackets', '['.repeat(10_000_000)],
    ['dashes', '- '.repeat(5_000_000)],
    ['colons', 'a: '.repeat(3_300_000)],
    ['quotes', '"'.repeat(10_000_000)],
    ['keys', 'a: 1\n'.repeat(2_000_000)],
    ['documents', '---\na\n'.repeat(1_600_000)],
    ['aliases', 'a: *b\n'.repeat(1_600_000)],
  ])(
    '%s: errors with a place within seconds',
    (_what, text) => {
      const started = performance.now()
      const built = build(text)
      expect(errorsOf(built).length).toBeGreaterThan(0)
      expect(built.diagnostics.every((d) => !/\n\s+at /.test(d.message))).toBe(true)
      expect(performance.now() - started).toBeLessThan(20_000)
    },
    60_000,
  )
})
