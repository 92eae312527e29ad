import { describe, expect, it } from '@jest/globals'
import { mergePlans, metalLbPlan } from '../../../src/cluster/balancer/metallb-bgp.ts'
import { buildClusterModel, type ClusterModel, loadText } from '../../../src/kubernetes/index.ts'

const BASE = `
apiVersion: podwalk.dev/v1alpha1
kind: Cluster
metadata: { name: t }
spec:
  nodes: [{ name: n1, labels: { edge: "yes" } }, { name: n2 }, { name: n3 }]
---
{ apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: { name: a, namespace: m }, spec: { addresses: [203.0.113.0/28] } }
---
{ apiVersion: v1, kind: Pod, metadata: { name: web, labels: { app: web } }, spec: { nodeName: n2, containers: [{ name: c, ports: [{ containerPort: 80 }] }] } }
---
{ apiVersion: v1, kind: Service, metadata: { name: web }, spec: { type: LoadBalancer, selector: { app: web }, ports: [{ port: 80 }] } }
---
{ apiVersion: v1, kind: Service, metadata: { name: local }, spec: { type: LoadBalancer, externalTrafficPolicy: Local, selector: { app: web }, ports: [{ port: 81, targetPort: 80 }] } }
`

const peer = (name: string, spec: string): string =>
  `---\n{ apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: { name: ${name}, namespace: m }, spec: { myASN: 64512, peerASN: 64500, ${spec} } }\n`
const advertisement = (name: string, spec: string): string =>
  `---\n{ apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: { name: ${name}, namespace: m }, spec: { ${spec} } }\n`

function modelOf(...objects: string[]): ClusterModel {
  const { model, diagnostics } = buildClusterModel(loadText(BASE + objects.join('')))
  expect(diagnostics.filter((d) => d.severity !== 'info')).toEqual([])
  return model
}

describe('MetalLB in BGP mode', () => {
  it('announces from every node, and what is Local from those with an endpoint', () => {
    const plan = metalLbPlan(
      modelOf(peer('tor', 'peerAddress: 172.18.0.250, holdTime: 30s'), advertisement('all', '')),
    )!
    expect(plan.placements.map((p) => [p.netns, p.speaker.routes.map((r) => r.prefix)])).toEqual([
      ['node:n1', ['203.0.113.1/32']],
      ['node:n2', ['203.0.113.0/32', '203.0.113.1/32']],
      ['node:n3', ['203.0.113.1/32']],
    ])
    const [session] = plan.placements[0]!.speaker.peers
    expect(session).toMatchObject({ address: '172.18.0.250', asn: 64500, localAsn: 64512, holdTime: 30 })
    expect(plan.placements[0]!.speaker.install).toBeNull()
  })

  it('goes by node selectors, peers, aggregation and communities', () => {
    const edge = 'nodeSelectors: [{ matchLabels: { edge: "yes" } }]'
    const plan = metalLbPlan(
      modelOf(
        peer('one', `peerAddress: 172.18.0.250, ebgpMultiHop: true, ${edge}`),
        peer('two', `peerAddress: 172.18.0.251, ${edge}`),
        advertisement('net', 'aggregationLength: 28, communities: ["64512:1"], peers: [one]'),
        advertisement('host', 'localPref: 50, peers: [two]'),
      ),
    )!
    expect(plan.placements.map((p) => p.netns)).toEqual(['node:n1'])
    const { peers, routes } = plan.placements[0]!.speaker
    expect(routes).toEqual([
      { prefix: '203.0.113.0/28', communities: ['64512:1'] },
      { prefix: '203.0.113.1/32', localPref: 50 },
    ])
    expect(peers.map((p) => [p.name, p.multihopTtl, p.export!.terms[0]!.match!.prefixes])).toEqual([
      ['one', 255, [{ cidr: '203.0.113.0/28' }]],
      ['two', undefined, [{ cidr: '203.0.113.1/32' }]],
    ])
  })

  it('says nothing without peers, and cannot share a node with a speaker of the CNI', () => {
    expect(metalLbPlan(modelOf(advertisement('all', '')))).toBeNull()
    const plan = metalLbPlan(modelOf(peer('tor', 'peerAddress: 172.18.0.250'), advertisement('all', '')))
    expect(mergePlans(undefined, plan)).toBe(plan)
    expect(mergePlans(plan!, null)).toBe(plan)
    expect(mergePlans(plan!, plan)).toMatch(/MetalLB's BGP mode beside the CNI's own BGP speaker \(node:n1\)/)
  })
})
