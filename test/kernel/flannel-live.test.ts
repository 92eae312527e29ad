/**
 * What podwalk programs for a flannel cluster, on the real kernel, per backend: same devices, neighbours, fdb entries,
 * routes and rules, the same connections, and every frame on every interface the same, the outer ones too.
 */
import { expect, it } from '@jest/globals'
import { buildCluster } from '../../src/cluster/build.ts'
import { clusterScenario, scenarioNames } from '../../src/cluster/scenario.ts'
import { checkLab, formatDifferences } from '../../src/lab/compare.ts'
import { runLab } from '../../src/lab/run.ts'
import type { LabStep } from '../../src/lab/scenario.ts'
import { describeKernel } from '../support/kernel.ts'
import { LIVE_TOOLS, maskOneSidedAcks, maskTunnelPorts, tcpSteps, withoutRandomPorts } from '../support/live-cluster.ts'
import { clusterOf, SHOP } from '../support/shop.ts'

const TIMEOUT_MS = 180_000
const MTU = { vxlan: 1450, 'host-gw': 1500, 'vxlan, DirectRouting: true': 1450 }
/** `near` publishes a port of its node: portmap's chains. */
const PUBLISHED = SHOP.replace(
  '[{ containerPort: 8080 }, { containerPort: 53',
  '[{ containerPort: 8080, hostPort: 8088 }, { containerPort: 53',
)

describeKernel('a flannel cluster as podwalk programs it', LIVE_TOOLS, () => {
  it.each(Object.entries(MTU))(
    '%s: gives the same frames, conntrack entries and rule counters on the real kernel',
    (backend, mtu) => {
      const text = PUBLISHED.replace(
        'cni: { name: kubenet }',
        `cni: { name: flannel, options: { Backend: { Type: ${backend} } } }`,
      )
      const cluster = buildCluster(clusterOf(text))
      const host = cluster.host('192.0.2.7')
      const names = scenarioNames(cluster)
      const name = (key: string): string => names.get(cluster.pods.get(key)!.id)!
      const node = (key: string): string => names.get(cluster.nodes.get(key)!.id)!
      const outside = names.get(host.id)!
      const client = name('default/client')
      const far = name('default/far')
      const near = name('default/near')
      // what a node sends to a pod of another node has the tunnel's address
      const nodeToPod = backend === 'vxlan' ? '10.244.0.0' : '172.18.0.2'
      const steps: LabStep[] = [
        // cross-node ClusterIP
        { op: 'tcp_listen', id: 'L', ns: far, bind: ['0.0.0.0', 8080] },
        ...tcpSteps('a', client, '10.244.0.2', 40001, '10.96.0.21', 80),
        // NodePort from outside, by the node without the endpoint and by the one with it
        ...tcpSteps('b', outside, '192.0.2.7', 40002, '172.18.0.2', 30080),
        ...tcpSteps('c', outside, '192.0.2.7', 40003, '172.18.0.3', 30080),
        // from a node to the pod of another, by its address and by the Service
        ...tcpSteps('d', node('n1'), nodeToPod, 40004, '10.244.1.2', 8080),
        ...tcpSteps('e', node('n1'), '172.18.0.2', 40005, '10.96.0.21', 80),
        { op: 'close', id: 'L' },
        // same node, hostPort from outside, from the other node's pod and from the pod itself, hairpin
        { op: 'tcp_listen', id: 'L', ns: near, bind: ['0.0.0.0', 8080] },
        ...tcpSteps('f', client, '10.244.0.2', 40006, '10.96.0.20', 80),
        ...tcpSteps('g', outside, '192.0.2.7', 40007, '172.18.0.2', 8088),
        ...tcpSteps('h', far, '10.244.1.2', 40008, '172.18.0.2', 8088),
        ...tcpSteps('i', near, '10.244.0.3', 40009, '172.18.0.2', 8088),
        { op: 'close', id: 'L' },
        // a datagram as large as the MTU, one that leaves in fragments, one with DF that is too large
        { op: 'udp_open', id: 'U', ns: far, bind: ['10.244.1.2', 53] },
        { op: 'udp_open', id: 'u', ns: client, bind: ['10.244.0.2', 40010], pmtudisc: 2 },
        { op: 'udp_open', id: 'v', ns: client, bind: ['10.244.0.2', 40011], pmtudisc: 0, tos: 0x28 },
        { op: 'udp_send', id: 'u', to: ['10.244.1.2', 53], len: mtu - 28 },
        { op: 'udp_recv', id: 'U', reply: true },
        { op: 'udp_recv', id: 'u' },
        { op: 'udp_send', id: 'u', to: ['10.244.1.2', 53], len: mtu - 27 },
        { op: 'udp_send', id: 'v', to: ['10.244.1.2', 53], len: 3000 },
        { op: 'udp_recv', id: 'U', reply: true },
        { op: 'udp_recv', id: 'v' },
        // masqueraded towards the world, an address of the other subnet that nobody has, a closed port, ping
        { op: 'udp_open', id: 'W', ns: outside, bind: ['192.0.2.7', 99] },
        { op: 'udp_send', id: 'v', to: ['192.0.2.7', 99], data: '6f7574' },
        { op: 'udp_recv', id: 'W', reply: true },
        { op: 'tcp_connect', id: 'j', ns: client, bind: ['10.244.0.2', 40012], to: ['10.96.0.21', 80] },
        { op: 'tcp_status', id: 'j' },
        { op: 'ping', ns: client, dst: '10.244.1.2', icmp_id: 77, seq: 1 },
        { op: 'ping', ns: client, dst: '10.244.1.77', icmp_id: 78, seq: 1 },
      ]
      const scenario = withoutRandomPorts(clusterScenario(cluster, 'flannel-live', steps))
      const kernel = runLab(scenario, { backend: 'linux' })
      expect(kernel.events.length).toBeGreaterThan(300)
      const sim = runLab(scenario)
      const masked = [sim, kernel].map((r) => maskTunnelPorts(maskOneSidedAcks(r, 'cni0'))) as [typeof sim, typeof sim]
      expect(formatDifferences(checkLab(...masked))).toBe('')
      expect(sim.ops.filter((o) => o.op === 'tcp_status').map((o) => o.error)).toEqual([
        ...new Array(9).fill(0),
        'ECONNREFUSED',
      ])
    },
    TIMEOUT_MS,
  )
})
