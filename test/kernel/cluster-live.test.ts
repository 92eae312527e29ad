/**
 * What podwalk programs for a kubenet cluster, on the real kernel: same devices, routes and rules, the same connections,
 * and every frame on every interface the same.
 */
import { expect, it } from '@jest/globals'
import { buildCluster } from '../../src/cluster/build.ts'
import { clusterScenario, scenarioNames } from '../../src/cluster/scenario.ts'
import { checkLab, formatDifferences } from '../../src/lab/compare.ts'
import { runLab } from '../../src/lab/run.ts'
import type { LabStep } from '../../src/lab/scenario.ts'
import { describeKernel } from '../support/kernel.ts'
import { LIVE_TOOLS, maskOneSidedAcks, tcpSteps as tcp, withoutRandomPorts } from '../support/live-cluster.ts'
import { clusterOf } from '../support/shop.ts'

const TIMEOUT_MS = 120_000

describeKernel('a kubenet cluster as podwalk programs it', LIVE_TOOLS, () => {
  it(
    'gives the same frames, conntrack entries and rule counters on the real kernel',
    () => {
      const cluster = buildCluster(clusterOf())
      const host = cluster.host('192.0.2.7')
      const names = scenarioNames(cluster)
      const name = (key: string): string => names.get(cluster.pods.get(key)!.id)!
      const client = name('default/client')
      const far = name('default/far')
      const near = name('default/near')
      const steps: LabStep[] = [
        // cross-node ClusterIP, TCP
        { op: 'tcp_listen', id: 'L', ns: far, bind: ['0.0.0.0', 8080] },
        ...tcp('a', client, '10.244.0.2', 40001, '10.96.0.21', 80),
        // NodePort from outside, by the node without the endpoint and by the one with it
        ...tcp('b', names.get(host.id)!, '192.0.2.7', 40002, '172.18.0.2', 30080),
        ...tcp('c', names.get(host.id)!, '192.0.2.7', 40003, '172.18.0.3', 30080),
        // from a node to a ClusterIP
        ...tcp('d', names.get(cluster.nodes.get('n1')!.id)!, '172.18.0.2', 40004, '10.96.0.21', 80),
        { op: 'close', id: 'L' },
        // same-node ClusterIP and UDP
        { op: 'tcp_listen', id: 'L', ns: near, bind: ['0.0.0.0', 8080] },
        ...tcp('e', client, '10.244.0.2', 40005, '10.96.0.20', 80),
        { op: 'close', id: 'L' },
        { op: 'udp_open', id: 'U', ns: near, bind: ['10.244.0.3', 53] },
        { op: 'udp_open', id: 'u', ns: client, bind: ['10.244.0.2', 40006] },
        { op: 'udp_send', id: 'u', to: ['10.96.0.20', 53], data: '6e616d65' },
        { op: 'udp_recv', id: 'U', reply: true },
        { op: 'udp_recv', id: 'u' },
        // hairpin
        { op: 'tcp_listen', id: 'L', ns: client, bind: ['0.0.0.0', 8080] },
        ...tcp('f', client, '10.244.0.2', 40007, '10.96.0.22', 80),
        { op: 'close', id: 'L' },
        // no endpoints, a closed port behind a Service, ping across nodes
        { op: 'tcp_connect', id: 'g', ns: client, bind: ['10.244.0.2', 40008], to: ['10.96.0.23', 80] },
        { op: 'tcp_status', id: 'g' },
        { op: 'tcp_connect', id: 'h', ns: client, bind: ['10.244.0.2', 40009], to: ['10.96.0.21', 80] },
        { op: 'tcp_status', id: 'h' },
        { op: 'ping', ns: client, dst: '10.244.1.2', icmp_id: 77, seq: 1 },
      ]
      const scenario = withoutRandomPorts(clusterScenario(cluster, 'kubenet-live', steps))
      const kernel = runLab(scenario, { backend: 'linux' })
      expect(kernel.events.length).toBeGreaterThan(200)
      const sim = runLab(scenario)
      expect(formatDifferences(checkLab(maskOneSidedAcks(sim, 'cbr0'), maskOneSidedAcks(kernel, 'cbr0')))).toBe('')
      expect(sim.ops.filter((o) => o.op === 'tcp_status').map((o) => o.error)).toEqual([
        0,
        0,
        0,
        0,
        0,
        0,
        'ECONNREFUSED',
        'ECONNREFUSED',
      ])
    },
    TIMEOUT_MS,
  )
})
