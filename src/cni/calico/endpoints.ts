/**
 * What policies select: workload endpoints, host endpoints, network sets, with the labels that they have and inherit.
 *
 * Real thing: libcalico-go/lib/backend/k8s/conversion (PodToWorkloadEndpoints, NamespaceToProfile,
 * ServiceAccountToProfile), kube-controllers' automatic host endpoints, felix/dataplane/linux/endpoint_mgr.go (which
 * interface a host endpoint is). A pod's interface is cali and eleven digits of the SHA-1 of `namespace.pod`; its profiles
 * kns.<namespace> and ksa.<namespace>.<account> give it labels with pcns. and pcsa. in front.
 * Not modelled: finished pods (they have no place in a standing cluster), host endpoints of VMs (OpenStack).
 */
import { createHash } from 'node:crypto'
import { formatCidr, networkOf, parseIpv4Cidr } from '../../addr/index.ts'
import type { SourcePosition } from '../../diagnostics/diagnostic.ts'
import { calicoObjects } from '../../kubernetes/calico/pools.ts'
import type { ClusterModel, NodeModel, PodModel, StringMap } from '../../kubernetes/types.ts'

type Json = Readonly<Record<string, unknown>>
type Labels = ReadonlyMap<string, string>

/** A port with a name. */
export interface NamedPort {
  readonly name: string
  readonly protocol: string
  readonly port: number
}

/** A pod as Calico sees it. */
export interface WorkloadEndpoint {
  readonly pod: PodModel
  readonly node: string
  readonly interfaceName: string
  readonly ips: readonly string[]
  readonly labels: Labels
  readonly ports: readonly NamedPort[]
  readonly profiles: readonly string[]
}

/** An interface of a node that policy applies to. */
export interface HostEndpoint {
  readonly name: string
  readonly node: string
  /** `*` for all of them. */
  readonly interfaceName: string
  readonly expectedIps: readonly string[]
  readonly labels: Labels
  readonly ports: readonly NamedPort[]
  readonly profiles: readonly string[]
  readonly source: SourcePosition
}

/** Networks with labels. */
export interface NetworkSet {
  readonly labels: Labels
  readonly nets: readonly string[]
}

/** A Profile object; those of namespaces and accounts are not objects. */
export interface CalicoProfile {
  readonly name: string
  readonly labels: Labels
}

const DEFAULT_ALLOW = 'projectcalico-default-allow'

/** VethNameForWorkload. */
export function vethNameForWorkload(prefix: string, namespace: string, pod: string): string {
  return prefix + createHash('sha1').update(`${namespace}.${pod}`).digest('hex').slice(0, 11)
}

function prefixed(prefix: string, labels: StringMap): [string, string][] {
  return Object.entries(labels).map(([k, v]) => [prefix + k, v])
}

/** Labels that the profiles of namespaces and service accounts give. */
class Inherited {
  private readonly namespaces: ReadonlyMap<string, StringMap>
  private readonly accounts: ReadonlyMap<string, StringMap>

  constructor(model: ClusterModel) {
    this.namespaces = new Map(model.namespaces.map((n) => [n.name, n.labels]))
    this.accounts = new Map(
      model.otherObjects
        .filter(({ object }) => object.kind === 'ServiceAccount' && object.apiVersion === 'v1')
        .map(({ object: { metadata } }) => [
          `${metadata.namespace ?? 'default'}/${metadata.name}`,
          metadata.labels ?? {},
        ]),
    )
  }

  namespace(name: string): [string, string][] {
    return [...prefixed('pcns.', this.namespaces.get(name) ?? {}), ['pcns.projectcalico.org/name', name]]
  }

  account(namespace: string, name: string): [string, string][] {
    return [
      ...prefixed('pcsa.', this.accounts.get(`${namespace}/${name}`) ?? {}),
      ['pcsa.projectcalico.org/name', name],
    ]
  }
}

/** All workload endpoints, in the order of the pods. */
export function workloadEndpoints(model: ClusterModel, prefix: string): WorkloadEndpoint[] {
  const inherited = new Inherited(model)
  return model.pods
    .filter((pod) => !pod.hostNetwork)
    .map((pod) => {
      const account = String(pod.spec.serviceAccountName ?? pod.spec.serviceAccount ?? 'default')
      const labels = new Map([
        ...inherited.namespace(pod.namespace),
        ...inherited.account(pod.namespace, account),
        ...Object.entries(pod.labels),
        ['projectcalico.org/namespace', pod.namespace] as [string, string],
        ['projectcalico.org/orchestrator', 'k8s'] as [string, string],
      ])
      if (account.length < 63) labels.set('projectcalico.org/serviceaccount', account)
      const ports = pod.ports
        .filter((p) => p.name !== undefined || p.hostPort !== undefined)
        .map((p) => ({ name: p.name ?? '', protocol: p.protocol.toLowerCase(), port: p.port }))
      return {
        ...{ pod, node: pod.node, ips: [pod.ip], labels, ports },
        interfaceName: vethNameForWorkload(prefix, pod.namespace, pod.name),
        profiles: [`kns.${pod.namespace}`, `ksa.${pod.namespace}.${account}`],
      }
    })
}

/** Host endpoints: objects, and those that kube-controllers makes when it is told to. */
export function hostEndpoints(model: ClusterModel): HostEndpoint[] {
  const out: HostEndpoint[] = calicoObjects(model.otherObjects, 'HostEndpoint').map(({ object, source }) => {
    const spec = (object.spec ?? {}) as Json
    const list = (v: unknown): string[] => (Array.isArray(v) ? v.map(String) : [])
    const ports = Array.isArray(spec.ports) ? (spec.ports as Json[]) : []
    return {
      name: object.metadata.name,
      node: String(spec.node ?? ''),
      interfaceName: String(spec.interfaceName ?? ''),
      expectedIps: list(spec.expectedIPs).filter((ip) => !ip.includes(':')),
      labels: new Map(Object.entries(object.metadata.labels ?? {})),
      profiles: list(spec.profiles),
      ports: ports.map((p) => ({
        name: String(p.name),
        protocol: String(p.protocol).toLowerCase(),
        port: Number(p.port),
      })),
      source,
    }
  })
  if (hasAutoHostEndpoints(model)) out.push(...model.nodes.map(autoHostEndpoint))
  return out
}

function hasAutoHostEndpoints(model: ClusterModel): boolean {
  const config = calicoObjects(model.otherObjects, 'KubeControllersConfiguration')[0]?.object.spec as Json | undefined
  const node = (config?.controllers as Json | undefined)?.node as Json | undefined
  return (
    (node?.hostEndpoint as Json | undefined)?.autoCreate === 'Enabled' ||
    model.config.cni.options.autoHostEndpoints === true
  )
}

function autoHostEndpoint(node: NodeModel): HostEndpoint {
  const labels = new Map(Object.entries(node.labels))
  labels.set('projectcalico.org/created-by', 'calico-kube-controllers')
  return {
    ...{ name: `${node.name}-auto-hep`, node: node.name, interfaceName: '*', expectedIps: [node.internalIp] },
    ...{ labels, ports: [], profiles: [DEFAULT_ALLOW], source: node.source },
  }
}

/** NetworkSets and GlobalNetworkSets. */
export function networkSets(model: ClusterModel): NetworkSet[] {
  const inherited = new Inherited(model)
  return [
    ...calicoObjects(model.otherObjects, 'NetworkSet'),
    ...calicoObjects(model.otherObjects, 'GlobalNetworkSet'),
  ].map(({ object }) => {
    const nets = (object.spec as Json | undefined)?.nets
    const namespace = object.kind === 'NetworkSet' ? (object.metadata.namespace ?? 'default') : null
    const labels = new Map([
      ...(namespace === null ? [] : inherited.namespace(namespace)),
      ...Object.entries(object.metadata.labels ?? {}),
      ...(namespace === null ? [] : [['projectcalico.org/namespace', namespace] as [string, string]]),
    ])
    return { labels, nets: (Array.isArray(nets) ? nets.map(String) : []).flatMap(ipv4Net) }
  })
}

/** A CIDR or an address as a masked IPv4 CIDR; nothing for IPv6. */
export function ipv4Net(text: string): string[] {
  const cidr = parseIpv4Cidr(text.includes('/') ? text : `${text}/32`)
  return cidr === null ? [] : [formatCidr(networkOf(cidr))]
}
