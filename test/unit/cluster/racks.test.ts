import { describe, expect, it } from '@jest/globals'
import { buildCluster } from '../../../src/cluster/build.ts'
import { type BuiltCluster, buildClusterModel, loadText } from '../../../src/kubernetes/index.ts'
import { execTool } from '../../../src/linux/tools/exec.ts'

const TEXT = `
apiVersion: podwalk.dev/v1alpha1
kind: Cluster
metadata: { name: t }
spec:
  nodeCIDR: 172.20.0.0/16
  underlay: { racks: [{ name: r1, cidr: 172.20.1.0/24 }, { name: r2, cidr: 172.20.2.0/24 }] }
  nodes: [{ name: a, rack: r1 }, { name: b, rack: r1 }, { name: c, internalIP: 172.20.2.9 }]
`

function built(text = TEXT): BuiltCluster {
  return buildClusterModel(loadText(text, 't.yaml'))
}

describe('racks', () => {
  it('give nodes addresses of their subnet, by name or by the address', () => {
    expect(built().model.nodes.map((n) => [n.internalIp, n.internalPrefixLength, n.rack])).toEqual([
      ['172.20.1.2', 24, 'r1'],
      ['172.20.1.3', 24, 'r1'],
      ['172.20.2.9', 24, 'r2'],
    ])
  })

  it('route between each other and to the world through the spine', () => {
    const cluster = buildCluster(built().model)
    const trace = execTool(cluster.nodes.get('a')!, ['ping', '-c', '1', '172.20.2.9'])
    expect(trace.stdout).toContain('ttl=61')
    cluster.host('192.0.2.1')
    expect(execTool(cluster.nodes.get('c')!, ['ping', '-c', '1', '192.0.2.1']).stdout).toContain('1 received')
    // the router of a rack is a machine that has an address
    expect(cluster.host('172.20.1.1').name).toBe('router:r1')
  })

  it('that a node does not name are an error, and so are networks outside of the nodes', () => {
    const bad = TEXT.replace('name: b, rack: r1', 'name: b, rack: r9').replace('172.20.2.0/24', '172.30.2.0/24')
    const messages = built(bad).diagnostics.map((d) => d.message)
    expect(messages).toContain('node b: expected the name of a rack (r1, r2), found "r9"')
    expect(messages).toContain('rack r2: expected a network inside the node network 172.20.0.0/16, found 172.30.2.0/24')
  })

  it.each(['kubenet', 'flannel, options: { Backend: { Type: host-gw } }'])(
    '%s says which nodes it cannot reach',
    (cni) => {
      const { diagnostics } = buildCluster(built(`${TEXT}  cni: { name: ${cni} }\n`).model)
      expect(diagnostics.filter((d) => d.code === 'not-on-link')).toHaveLength(4)
    },
  )
})
