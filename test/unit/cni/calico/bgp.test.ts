/**
 * Calico's BGP: who speaks with whom, what is announced, what ends in the kernel.
 */
import { describe, expect, it } from '@jest/globals'
import { buildCluster, type Cluster } from '../../../../src/cluster/build.ts'
import { execCommand } from '../../../../src/cluster/exec.ts'
import { readBgpSettings } from '../../../../src/cni/calico/bgp-config.ts'
import { sessionsOf } from '../../../../src/cni/calico/bgp-sessions.ts'
import { execTool } from '../../../../src/linux/tools/exec.ts'
import { clusterOf, SHOP } from '../../../support/shop.ts'

const NODES = `nodes:
    - { name: n1, labels: { rr: 'yes' }, annotations: { projectcalico.org/RouteReflectorClusterID: 224.0.0.1 } }
    - { name: n2 }
    - { name: n3 }`

function text(
  more = '',
  options = 'encapsulation: IPIP',
  nodes = 'nodes: [{ name: n1 }, { name: n2 }, { name: n3 }]',
): string {
  return SHOP.replace('nodes: [{ name: n1 }, { name: n2 }]', nodes)
    .replace('cni: { name: kubenet }', `cni: { name: calico, options: { ${options} } }`)
    .concat(more)
}

function built(more = '', options?: string, nodes?: string): Cluster {
  const cluster = buildCluster(clusterOf(text(more, options, nodes)))
  expect(cluster.diagnostics).toEqual([])
  return cluster
}

function object(kind: string, name: string, spec: string): string {
  return `---\n{ apiVersion: projectcalico.org/v3, kind: ${kind}, metadata: { name: ${name} }, spec: ${spec} }\n`
}

const NO_MESH = object('BGPConfiguration', 'default', '{ nodeToNodeMeshEnabled: false }')

function birdRoutes(cluster: Cluster, node: string): string[] {
  return execTool(cluster.nodes.get(node)!, ['ip', 'route', 'show', 'proto', 'bird'])
    .stdout.trim()
    .split('\n')
    .map((l) => l.trim())
}

function peers(cluster: Cluster, node: string): string[] {
  return cluster.bgp!.state(`node:${node}`)!.sessions.map((s) => `${s.neighbor} ${s.state}`)
}

describe('sessions', () => {
  it('of the mesh are made by the node with the larger address, compared as text', () => {
    const model = clusterOf(
      text(
        '',
        undefined,
        `nodes: [{ name: a, internalIP: 172.18.0.9 }, { name: n1, internalIP: 172.18.0.10 }, { name: n2 }]`,
      ),
    )
    const s = readBgpSettings(model)
    const passive = (name: string): string[] =>
      sessionsOf(s.nodes.find((n) => n.node.name === name)!, s)
        .filter((x) => x.passive)
        .map((x) => x.address)
    expect(passive('n1')).toContain('172.18.0.9')
    expect(passive('a')).not.toContain('172.18.0.10')
  })

  it('of a mesh come up through Felix rules and bring the blocks into the kernel', () => {
    const cluster = built()
    expect(peers(cluster, 'n1')).toEqual(['172.18.0.3 Established', '172.18.0.4 Established'])
    expect(birdRoutes(cluster, 'n1')).toEqual([
      'blackhole 10.244.40.128/26',
      '10.244.98.0/26 via 172.18.0.4 dev tunl0 onlink',
      '10.244.217.0/26 via 172.18.0.3 dev tunl0 onlink',
    ])
  })

  it('with a route reflector are those of the reflector alone', () => {
    const peer = object('BGPPeer', 'rr', `{ nodeSelector: '!has(rr)', peerSelector: has(rr) }`)
    const pod =
      '---\n{ apiVersion: v1, kind: Pod, metadata: { name: third }, spec: { nodeName: n3, containers: [{ name: c }] } }\n'
    const cluster = built(peer + NO_MESH + pod, 'encapsulation: None', NODES)
    expect(peers(cluster, 'n1')).toEqual(['172.18.0.3 Established', '172.18.0.4 Established'])
    expect(peers(cluster, 'n2')).toEqual(['172.18.0.2 Established'])
    expect(birdRoutes(cluster, 'n2')).toContain('10.244.98.0/26 via 172.18.0.4 dev eth0')
    // next hops stay those of the nodes: the reflector is not on the way
    expect(birdRoutes(cluster, 'n3')).toContain('10.244.217.0/26 via 172.18.0.3 dev eth0')
  })

  it('of a wrong AS number stay down, and a warning says so', () => {
    const peer = object('BGPPeer', 'bad', '{ node: n1, peerIP: 172.18.0.3, asNumber: 65000 }')
    const back = object('BGPPeer', 'back', '{ node: n2, peerIP: 172.18.0.2, asNumber: 64512 }')
    const { diagnostics } = buildCluster(clusterOf(text(peer + back + NO_MESH)))
    expect(diagnostics.filter((d) => d.code === 'bgp-session-down').map((d) => d.message)[0]).toMatch(
      /node:n1 with 172\.18\.0\.3 \(AS 65000\)/,
    )
  })
})

describe('what is announced', () => {
  it('is a Service CIDR from every node, a Local Service from nodes with an endpoint, nothing of a pool that says so', () => {
    const config = object(
      'BGPConfiguration',
      'default',
      '{ serviceClusterIPs: [{ cidr: 10.96.0.0/12 }], serviceExternalIPs: [{ cidr: 203.0.113.0/24 }] }',
    )
    const cluster = built(config)
    const announced = cluster.bgp!.state('node:n2')!.announced
    expect(announced).toContain('10.96.0.0/12')
    expect(announced).toContain('203.0.113.0/24')
    // and not programmed: kube-proxy's business; a packet that comes back for them is dropped
    expect(birdRoutes(cluster, 'n1').join()).not.toContain('10.96.0.0')
    const rules = execTool(cluster.nodes.get('n1')!, ['iptables-save', '-t', 'filter']).stdout
    expect(rules).toMatch(/-A cali-cidr-block -d 10\.96\.0\.0\/12 .* -j DROP/)
  })

  it('goes through the BGPFilters of the peer', () => {
    const filter = object(
      'BGPFilter',
      'no-n3',
      '{ exportV4: [{ action: Reject, matchOperator: In, cidr: 10.244.98.0/24 }] }',
    )
    const a = object('BGPPeer', 'a', '{ node: n3, peerIP: 172.18.0.2, asNumber: 64512, filters: [no-n3] }')
    const b = object('BGPPeer', 'b', '{ node: n1, peerIP: 172.18.0.4, asNumber: 64512 }')
    const cluster = built(filter + a + b + NO_MESH)
    expect(birdRoutes(cluster, 'n1').join()).not.toContain('10.244.98.0')
    expect(birdRoutes(cluster, 'n3').join()).toContain('10.244.40.128/26')
  })
})

describe('versions', () => {
  it('since v3.32 give routes a metric and LOCAL_PREF, in v3.33 IPIP routes are Felix', () => {
    expect(birdRoutes(built('', 'encapsulation: None, version: v3.32'), 'n1')).toContain(
      '10.244.217.0/26 via 172.18.0.3 dev eth0 metric 1024',
    )
    const cluster = built('', 'encapsulation: IPIP, version: v3.33')
    const all = execTool(cluster.nodes.get('n1')!, ['ip', 'route']).stdout
    expect(all).toContain('10.244.217.0/26 via 172.18.0.3 dev tunl0 proto 80 onlink mtu 1480')
    expect(all).not.toContain('proto bird')
  })

  it('without sessions, when asked, nodes have the routes of a full mesh', () => {
    const cluster = buildCluster(clusterOf(text('', 'encapsulation: IPIP, bgpSessions: false')))
    expect(cluster.diagnostics.map((d) => d.code)).toEqual(['bgp-converged'])
    expect(birdRoutes(cluster, 'n1')).toEqual(birdRoutes(built(), 'n1'))
  })
})

describe('bird.cfg', () => {
  it('is a file of the node', () => {
    const cluster = built()
    const r = execCommand(cluster, { ns: cluster.nodes.get('n2')! }, ['cat', '/etc/calico/confd/config/bird.cfg'])
    expect(r.stdout).toContain('protocol bgp Mesh_172_18_0_2 from bgp_template {\n  neighbor 172.18.0.2 as 64512;')
    const none = execCommand(cluster, { ns: cluster.nodes.get('n2')! }, ['cat', '/etc/none'])
    expect([none.status, none.stderr]).toEqual([1, 'cat: /etc/none: No such file or directory\n'])
  })
})
