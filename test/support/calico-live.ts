/**
 * A two-node Calico cluster and what is played in it, for the real kernel and for recordings of it.
 */
import { buildCluster, type Cluster } from '../../src/cluster/build.ts'
import { clusterScenario, scenarioNames } from '../../src/cluster/scenario.ts'
import type { LabScenario, LabStep } from '../../src/lab/scenario.ts'
import { tcpSteps, withoutRandomPorts } from './live-cluster.ts'
import { clusterOf, SHOP } from './shop.ts'

/** `far` lets in `client` on 8080 and DNS, and nobody else; `client` may go where it likes but to UDP 9. */
const POLICIES = `---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: far }
spec:
  podSelector: { matchLabels: { app: far } }
  ingress:
    - from: [{ podSelector: { matchLabels: { app: client } } }, { ipBlock: { cidr: 192.0.2.0/24, except: [192.0.2.128/25] } }]
      ports: [{ port: 8080 }, { port: 53, protocol: UDP }]
---
apiVersion: crd.projectcalico.org/v1
kind: GlobalNetworkPolicy
metadata: { name: no-discard }
spec:
  order: 10
  selector: has(app)
  types: [Egress]
  egress:
    - { action: Deny, protocol: UDP, destination: { ports: [9] } }
    - { action: Allow }
`

/** The cluster of an encapsulation; the recordings were made without playing BGP, which draws random numbers. */
export function calicoCluster(encapsulation: string, version = 'v3.31', bgpSessions = true): Cluster {
  const options = `{ encapsulation: ${encapsulation}, version: ${version}, bgpSessions: ${bgpSessions} }`
  const text = SHOP.replace('cni: { name: kubenet }', `cni: { name: calico, options: ${options} }`) + POLICIES
  return buildCluster(clusterOf(text))
}

/** Everything that is played: what passes, what policies drop, what the kernel answers. */
export function calicoScenario(cluster: Cluster, name: string, mtu: number): LabScenario {
  const host = cluster.host('192.0.2.7')
  const names = scenarioNames(cluster)
  const pod = (key: string): string => names.get(cluster.pods.get(key)!.id)!
  const ip = (key: string): string => cluster.model.pods.find((p) => `${p.namespace}/${p.name}` === key)!.ip
  const outside = names.get(host.id)!
  const node1 = names.get(cluster.nodes.get('n1')!.id)!
  const [client, near, far] = ['default/client', 'default/near', 'default/far']
  const [clientIp, nearIp, farIp] = [ip(client), ip(near), ip(far)]
  const udp = (id: string, ns: string, bind: [string, number], more: object = {}): LabStep => ({
    op: 'udp_open',
    id,
    ns,
    bind,
    ...more,
  })
  const steps: LabStep[] = [
    { op: 'tcp_listen', id: 'L', ns: pod(far), bind: ['0.0.0.0', 8080] },
    // cross-node ClusterIP that the policy lets in, NodePort from outside by either node
    ...tcpSteps('a', pod(client), clientIp, 40001, '10.96.0.21', 80),
    ...tcpSteps('b', outside, '192.0.2.7', 40002, '172.18.0.3', 30080),
    { op: 'close', id: 'L' },
    // a node to a pod of its own and of the other
    { op: 'tcp_listen', id: 'L', ns: pod(near), bind: ['0.0.0.0', 8080] },
    ...tcpSteps('d', pod(client), clientIp, 40004, '10.96.0.20', 80),
    { op: 'close', id: 'L' },
    { op: 'ping', ns: node1, dst: nearIp, icmp_id: 70, seq: 1 },
    { op: 'ping', ns: node1, dst: farIp, icmp_id: 71, seq: 1 },
    // datagrams: as large as fits, too large with DF, in fragments, denied on the way out
    udp('U', pod(far), [farIp, 53]),
    udp('u', pod(client), [clientIp, 40010], { pmtudisc: 2 }),
    udp('v', pod(client), [clientIp, 40011], { pmtudisc: 0, tos: 0x28 }),
    { op: 'udp_send', id: 'u', to: [farIp, 53], len: mtu - 28 },
    { op: 'udp_recv', id: 'U', reply: true },
    { op: 'udp_recv', id: 'u' },
    { op: 'udp_send', id: 'u', to: [farIp, 53], len: mtu - 27 },
    { op: 'udp_send', id: 'v', to: [farIp, 53], len: 3000 },
    { op: 'udp_recv', id: 'U', reply: true },
    { op: 'udp_recv', id: 'v' },
    { op: 'udp_send', id: 'v', to: [farIp, 9], data: '00' },
    { op: 'udp_send', id: 'v', to: [farIp, 99], data: '00' },
    // to the world as the node, to an address that nobody has, to a node
    udp('W', outside, ['192.0.2.7', 99]),
    { op: 'udp_send', id: 'v', to: ['192.0.2.7', 99], data: '6f7574' },
    { op: 'udp_recv', id: 'W', reply: true },
    { op: 'ping', ns: pod(client), dst: farIp, icmp_id: 77, seq: 1 },
    { op: 'ping', ns: pod(client), dst: nearIp, icmp_id: 78, seq: 1 },
    { op: 'ping', ns: pod(near), dst: clientIp.replace(/\d+$/, '190'), icmp_id: 79, seq: 1 },
    { op: 'ping', ns: pod(client), dst: '172.18.0.3', icmp_id: 80, seq: 1 },
    { op: 'ping', ns: pod(client), dst: '172.18.0.2', icmp_id: 81, seq: 1, ttl: 1 },
    // the policy does not let `near` in (a datagram: a SYN would be sent again)
    udp('n', pod(near), [nearIp, 40012]),
    { op: 'udp_send', id: 'n', to: [farIp, 53], data: '6e6f' },
    { op: 'udp_recv', id: 'U' },
  ]
  return withoutRandomPorts(clusterScenario(cluster, name, steps))
}
