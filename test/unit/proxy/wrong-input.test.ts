/** Wrong Services and a wrong kube-proxy configuration: an error or a finding with its line. */
import { describe, expect, it } from '@jest/globals'
import { formatDiagnostic } from '../../../src/diagnostics/diagnostic.ts'
import { buildClusterModel, loadText } from '../../../src/kubernetes/index.ts'

const POD = `apiVersion: v1
kind: Pod
metadata: { name: api, labels: { app: api } }
spec: { containers: [{ name: c, ports: [{ name: http, containerPort: 8080 }] }] }
---
`

function service(name: string, ...spec: string[]): string {
  return `apiVersion: v1\nkind: Service\nmetadata: { name: ${name} }\nspec:\n${spec.map((l) => `  ${l}\n`).join('')}---\n`
}

function findings(text: string): string[] {
  return buildClusterModel(loadText(text, 'in.yaml')).diagnostics.map(formatDiagnostic)
}

describe('wrong Services', () => {
  it.each([
    [
      'a node port of another Service',
      service('a', 'type: NodePort', 'ports: [{ port: 80, nodePort: 30080 }]') +
        service('b', 'type: NodePort', 'ports: [{ port: 81, nodePort: 30080 }]'),
      'in.yaml:13:23: error: spec.ports[0].nodePort: node port 30080: provided port is already allocated [duplicate-port]',
    ],
    [
      'a node port out of the range',
      service('a', 'type: NodePort', 'ports: [{ port: 80, nodePort: 8080 }]'),
      'in.yaml:6:23: error: spec.ports[0].nodePort: expected a port in the node port range 30000-32767, found 8080',
    ],
    [
      'a ClusterIP outside of the Service CIDR',
      service('a', 'clusterIP: 10.200.0.1', 'ports: [{ port: 80 }]'),
      'in.yaml:5:3: error: spec.clusterIP: failed to allocate IP 10.200.0.1: the provided IP (10.200.0.1) is not in the valid range',
    ],
    [
      'a ClusterIP of another Service',
      service('a', 'clusterIP: 10.96.0.9', 'ports: [{ port: 80 }]') +
        service('b', 'clusterIP: 10.96.0.9', 'ports: [{ port: 80 }]'),
      'in.yaml:12:3: error: spec.clusterIP: failed to allocate IP 10.96.0.9: provided IP is already allocated',
    ],
    [
      'a Service twice',
      service('a', 'ports: [{ port: 80 }]') + service('a', 'ports: [{ port: 81 }]'),
      'in.yaml:9:13: error: metadata.name: expected each object once, found Service default/a again [duplicate-object]',
    ],
    ['the same port twice', service('a', 'ports: [{ name: x, port: 80 }, { name: y, port: 80 }]'), 'in.yaml:5:'],
    [
      'a target port that no container names',
      POD + service('a', 'selector: { app: api }', 'ports: [{ port: 80, targetPort: htpp }]'),
      'in.yaml:11:23: warning: spec.ports[0].targetPort: expected a port name of the pods that default/a selects, found "htpp": no endpoints [unresolved-target-port]\n  hint: did you mean "http"?',
    ],
    [
      'a selector that matches nothing',
      POD + service('a', 'selector: { app: apl }', 'ports: [{ port: 80 }]'),
      'in.yaml:10:3: info: spec.selector: Service default/a selects app=apl: no pod of the namespace has these labels [selector-matches-nothing]\n  hint: did you mean app=api?',
    ],
    [
      'a traffic distribution that does not exist',
      service('a', 'trafficDistribution: PreferZone', 'ports: [{ port: 80 }]'),
      'in.yaml:5:3: error: spec.trafficDistribution',
    ],
    [
      'the topology-mode annotation, which is not modelled',
      POD +
        service('a', 'selector: { app: api }', 'ports: [{ port: 80 }]').replace(
          '{ name: a }',
          '{ name: a, annotations: { service.kubernetes.io/topology-mode: Auto } }',
        ),
      'in.yaml:8:37: warning: metadata.annotations[service.kubernetes.io/topology-mode]: topology-aware hints',
    ],
    [
      'a kube-proxy mode that does not exist',
      'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: nftable\n',
      'in.yaml:3:1: error: unknown kube-proxy mode "nftable" [kube-proxy-mode]\n  hint: did you mean nftables?',
    ],
  ])('%s', (_title, text, expected) => {
    expect(findings(text)).toEqual(expect.arrayContaining([expect.stringContaining(expected)]))
  })

  it('lets one Service use a node port for several protocols', () => {
    const both =
      'ports: [{ name: t, port: 53, nodePort: 30053 }, { name: u, port: 53, protocol: UDP, nodePort: 30053 }]'
    expect(findings(service('a', 'type: NodePort', both))).toEqual([])
  })
})
