/**
 * The shapes of nodes, namespaces, configuration, and of podwalk's own Cluster object.
 *
 *     apiVersion: podwalk.dev/v1alpha1
 *     kind: Cluster
 *     metadata: {name: lab}
 *     spec:
 *       nodes: 3                      # or a list: [{name: n1, role: control-plane, labels: {}, taints: []}]
 *       nodeCIDR: 172.18.0.0/16
 *       podCIDR: 10.244.0.0/16        # and nodeCIDRMaskSize: 24
 *       serviceCIDR: 10.96.0.0/12
 *       mtu: 1500
 *       loadBalancer: {addresses: 203.0.113.128/28, mode: passthrough}   # or proxy: a cloud's
 *       underlay: {racks: [{name: r1, cidr: 172.18.1.0/24, asn: 65101}], spine: {asn: 65000}}   # nodes say rack: r1
 *       upstreamDNS: {example.com: 203.0.113.80}   # what names outside of the cluster are
 *       cni: {name: kubenet, options: {}}
 *       kubeProxy: {mode: iptables, options: {}}
 *       events: [{at: 2s, action: link-down, node: n2}]
 *
 * Sources: k8s.io/api/core/v1/types.go (Node, Namespace, ConfigMap); the Cluster object is podwalk's.
 */
import { parseIpv4Cidr } from '../../addr/cidr.ts'
import { parseIpv4 } from '../../addr/ipv4.ts'
import { durationSeconds } from '../duration.ts'
import { badLabelKey, badSubdomain } from '../names.ts'
import type { ObjectSchema, Schema } from '../schema.ts'
import { any, bool, checked, int, list, map, object, oneOf, quantity, string } from '../schema.ts'
import { kind, labels } from './common.ts'

const cidr4: Schema = checked((text) => (parseIpv4Cidr(text) === null ? 'an IPv4 CIDR such as 10.244.0.0/16' : null))
const ip4: Schema = checked((text) => (parseIpv4(text) === null ? 'an IPv4 address' : null))

/** A CIDR or `LOW-HIGH`. */
const addressRange: Schema = checked((text) =>
  parseIpv4Cidr(text) !== null || text.split('-').every((t) => parseIpv4(t.trim()) !== null)
    ? null
    : 'an IPv4 CIDR or a range such as 203.0.113.10-203.0.113.20',
)

const duration: Schema = checked((t) => (durationSeconds(t) === null ? 'a time such as 2s or 500ms' : null))

const taint = object(
  { 'key!': checked(badLabelKey), value: string, 'effect!': oneOf('NoSchedule', 'PreferNoSchedule', 'NoExecute') },
  'timeAdded',
)

/** core/v1 Node. */
export const node: ObjectSchema = kind({
  spec: object(
    { podCIDR: string, podCIDRs: list(string), unschedulable: bool, taints: list(taint), providerID: string },
    'configSource externalID',
  ),
  status: object(
    {
      capacity: map(quantity),
      allocatable: map(quantity),
      addresses: list(object({ 'type!': string, 'address!': string })),
      conditions: list(
        object({ 'type!': string, 'status!': string }, 'reason message lastHeartbeatTime lastTransitionTime'),
      ),
    },
    'phase daemonEndpoints nodeInfo images volumesInUse volumesAttached config runtimeHandlers features declaredFeatures',
  ),
})

/** core/v1 Namespace. */
export const namespace: ObjectSchema = kind({ spec: any })

/** core/v1 ConfigMap. */
export const configMap: ObjectSchema = kind({ data: map(string), binaryData: map(string), immutable: bool })

/** An entry of Cluster `spec.nodes`. */
export const clusterNode: ObjectSchema = object({
  'name!': checked(badSubdomain),
  role: oneOf('control-plane', 'worker'),
  internalIP: ip4,
  podCIDR: cidr4,
  rack: string,
  zone: string,
  labels,
  annotations: map(string),
  taints: list(taint),
  unschedulable: bool,
  allocatable: map(quantity),
})

const asn: Schema = { t: 'int', min: 1, max: 4_294_967_295 }

/** The network under the nodes: racks with a router each, a spine between them. */
const underlay = object({
  mtu: { t: 'int', min: 576, max: 65535 },
  racks: list(
    object({
      'name!': checked(badSubdomain),
      'cidr!': cidr4,
      asn,
      bgp: oneOf('bird', 'frr', 'gobgp'),
    }),
  ),
  spine: object({ asn }),
})

const named: Record<string, Schema> = { options: any }

/** An entry of Cluster `spec.expect`: a question and its answer, checked by whoever keeps the file. */
const expectation = object({
  'from!': string,
  to: string,
  http: checked((t) => (/^[A-Z]+ https?:\/\/\S+$/.test(t) ? null : 'METHOD URL')),
  status: int,
  backend: string,
  proto: oneOf('tcp', 'udp', 'sctp', 'icmp'),
  size: int,
  at: duration,
  'verdict!': oneOf(
    ...['DELIVERED', 'DROPPED', 'REJECTED', 'UNREACHABLE', 'TTL_EXCEEDED', 'FRAG_NEEDED', 'LOOP', 'UNMODELLED'],
  ),
  reply: string,
  reason: string,
  workload: string,
  sees: string,
  decidedBy: string,
})

/** An entry of Cluster `spec.events`: what happens so long after the cluster has converged. */
const event = object({
  'at!': duration,
  'action!': oneOf(
    ...['link-down', 'link-up', 'node-down', 'node-up', 'bgp-kill', 'bgp-stop', 'bgp-start', 'bgp-restart'],
  ),
  'node!': string,
})

/** podwalk.dev/v1alpha1 Cluster; `spec.nodes` is a count or a list of clusterNode. */
export const cluster: ObjectSchema = kind({
  spec: object(
    {
      nodes: any,
      nodeCIDR: cidr4,
      podCIDR: cidr4,
      clusterCIDR: cidr4,
      nodeCIDRMaskSize: { t: 'int', min: 8, max: 30 },
      serviceCIDR: cidr4,
      nodePortRange: checked((t) => (/^\d{1,5}-\d{1,5}$/.test(t) ? null : 'a port range such as 30000-32767')),
      mtu: { t: 'int', min: 576, max: 65535 },
      dnsDomain: checked(badSubdomain),
      upstreamDNS: map(string),
      loadBalancer: object({ addresses: addressRange, mode: oneOf('passthrough', 'proxy') }),
      seed: int,
      events: list(event),
      cni: object({ 'name!': string, ...named }),
      kubeProxy: object({ mode: oneOf('iptables', 'nftables', 'ipvs', 'none'), ...named }),
      expect: list(expectation),
      underlay,
    },
    'features',
  ),
})

/** A count for `spec.nodes`. */
export const nodeCount: Schema = { t: 'int', min: 1, max: 100_000 }
/** A list for `spec.nodes`. */
export const nodeList: Schema = list(clusterNode, 1)
