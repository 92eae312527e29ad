/**
 * What Calico's objects say about BGP: BGPConfiguration, BGPPeer, BGPFilter, the nodes' AS numbers and cluster ids.
 *
 * Real thing: api/pkg/apis/projectcalico/v3/{bgpconfig,bgppeer,bgpfilter}.go, confd/pkg/backends/calico/client.go. Node
 * settings are annotations (projectcalico.org/ASNumber, RouteReflectorClusterID, IPv4Address) or a Node object of Calico.
 * `spec.cni.options.bgp` lies over BGPConfiguration.
 */
import { calicoObjects } from '../../kubernetes/calico/pools.ts'
import { parseCalicoSelector } from '../../kubernetes/calico/selector.ts'
import type { ClusterModel, LoadedObject, NodeModel } from '../../kubernetes/types.ts'

type Json = Readonly<Record<string, unknown>>

/** Default AS of a cluster. */
export const DEFAULT_ASN = 64512

/** A rule of a BGPFilter. */
export interface BgpFilterRule {
  readonly action: 'Accept' | 'Reject'
  readonly matchOperator: string
  readonly cidr: string
  readonly min: number | null
  readonly max: number | null
  readonly source: string
  readonly interface: string
  readonly asPathPrefix: readonly number[]
  readonly communities: readonly string[]
  readonly priority: number | null
  readonly addCommunities: readonly string[]
  readonly prependAsPath: readonly number[]
}

/** A BGPFilter, IPv4. */
export interface BgpFilter {
  readonly name: string
  readonly import: readonly BgpFilterRule[]
  readonly export: readonly BgpFilterRule[]
}

/** A BGPPeer. */
export interface BgpPeerObject {
  readonly name: string
  readonly node: string
  readonly nodeSelector: string
  readonly peerIp: string
  readonly port: number | null
  readonly peerSelector: string
  readonly asn: number
  readonly localAsn: number | null
  readonly nextHopMode: string
  readonly allowLocalAs: number
  readonly sourceAddress: string
  readonly password: boolean
  readonly ttlSecurity: number | null
  readonly restartTime: number | null
  readonly filters: readonly string[]
  readonly object: LoadedObject
}

/** A node as BGP sees it. */
export interface BgpNode {
  readonly node: NodeModel
  readonly asn: number
  /** Empty when it is no route reflector. */
  readonly clusterId: string
}

/** All BGP settings. */
export interface BgpSettings {
  readonly mesh: boolean
  readonly meshRestartTime: number
  readonly listenPort: number
  readonly nodes: readonly BgpNode[]
  readonly peers: readonly BgpPeerObject[]
  readonly filters: ReadonlyMap<string, BgpFilter>
  readonly serviceClusterIps: readonly string[]
  readonly serviceExternalIps: readonly string[]
  readonly serviceLoadBalancerIps: readonly string[]
  /** Communities by CIDR (prefixAdvertisements). */
  readonly advertisements: readonly { readonly cidr: string; readonly communities: readonly string[] }[]
  readonly logSeverity: string
}

function strings(v: unknown): string[] {
  return Array.isArray(v) ? v.map(String) : []
}

function cidrs(v: unknown): string[] {
  return (Array.isArray(v) ? (v as Json[]) : []).map((x) => String(x.cidr)).filter((c) => !c.includes(':'))
}

/** AS numbers may be written as 64512 or as 1.2. */
function asNumber(v: unknown): number | null {
  if (v === undefined || v === null || v === '') return null
  const m = /^(\d+)\.(\d+)$/.exec(String(v))
  return m === null ? Number(v) : Number(m[1]) * 65536 + Number(m[2])
}

/** Reads everything about BGP. */
export function readBgpSettings(model: ClusterModel): BgpSettings {
  const configs = calicoObjects(model.otherObjects, 'BGPConfiguration')
  const base = (configs.find((o) => o.object.metadata.name === 'default')?.object.spec ?? {}) as Json
  const spec: Json = { ...base, ...(model.config.cni.options.bgp as Json | undefined) }
  const asn = asNumber(spec.asNumber) ?? DEFAULT_ASN
  const calicoNodes = new Map(
    calicoObjects(model.otherObjects, 'Node').map((o) => [
      o.object.metadata.name,
      (o.object.spec as Json | undefined)?.bgp as Json | undefined,
    ]),
  )
  const nodes = model.nodes.map((node) => {
    const own = calicoNodes.get(node.name)
    return {
      node,
      asn: asNumber(own?.asNumber ?? node.annotations['projectcalico.org/ASNumber']) ?? asn,
      clusterId: String(
        own?.routeReflectorClusterID ?? node.annotations['projectcalico.org/RouteReflectorClusterID'] ?? '',
      ),
    }
  })
  const named = new Map(
    (Array.isArray(spec.communities) ? (spec.communities as Json[]) : []).map((c) => [String(c.name), String(c.value)]),
  )
  const advertisements = (Array.isArray(spec.prefixAdvertisements) ? (spec.prefixAdvertisements as Json[]) : []).map(
    (p) => ({
      cidr: String(p.cidr),
      communities: strings(p.communities).map((c) => named.get(c) ?? c),
    }),
  )
  return {
    mesh: spec.nodeToNodeMeshEnabled !== false,
    meshRestartTime: Number.parseInt(String(spec.nodeMeshMaxRestartTime ?? '120'), 10),
    listenPort: Number(spec.listenPort ?? 179),
    nodes,
    peers: calicoObjects(model.otherObjects, 'BGPPeer').map(readPeer),
    filters: new Map(
      calicoObjects(model.otherObjects, 'BGPFilter').map((o) => [o.object.metadata.name, readFilter(o)]),
    ),
    serviceClusterIps: cidrs(spec.serviceClusterIPs),
    serviceExternalIps: cidrs(spec.serviceExternalIPs),
    serviceLoadBalancerIps: cidrs(spec.serviceLoadBalancerIPs),
    advertisements,
    logSeverity: String(spec.logSeverityScreen ?? 'Info'),
  }
}

function readPeer(o: LoadedObject): BgpPeerObject {
  const spec = (o.object.spec ?? {}) as Json
  const [ip, port] = String(spec.peerIP ?? '').split(':')
  const isKept = spec.keepOriginalNextHop === true
  const ttl = Number(spec.ttlSecurity ?? 0)
  return {
    name: o.object.metadata.name,
    node: String(spec.node ?? ''),
    nodeSelector: String(spec.nodeSelector ?? ''),
    peerIp: ip ?? '',
    port: port === undefined ? null : Number(port),
    peerSelector: String(spec.peerSelector ?? ''),
    asn: asNumber(spec.asNumber) ?? DEFAULT_ASN,
    localAsn: asNumber(spec.localASNumber),
    nextHopMode: String(spec.nextHopMode ?? (isKept ? 'Keep' : 'Auto')),
    allowLocalAs: Number(spec.numAllowedLocalASNumbers ?? 0),
    sourceAddress: String(spec.sourceAddress ?? 'UseNodeIP'),
    password: spec.password !== undefined,
    ttlSecurity: ttl > 0 ? ttl : null,
    restartTime: spec.maxRestartTime === undefined ? null : Number.parseInt(String(spec.maxRestartTime), 10),
    filters: strings(spec.filters),
    object: o,
  }
}

function readFilter(o: LoadedObject): BgpFilter {
  const spec = (o.object.spec ?? {}) as Json
  const rules = (v: unknown): BgpFilterRule[] =>
    (Array.isArray(v) ? (v as Json[]) : []).map((r) => {
      const length = (r.prefixLength ?? {}) as Json
      const operations = (Array.isArray(r.operations) ? (r.operations as Json[]) : []).flatMap((op) =>
        Object.entries(op),
      )
      const values = (name: string, field: string): string[] =>
        operations.filter(([k]) => k === name).flatMap(([, v2]) => strings((v2 as Json)[field] ?? [(v2 as Json).value]))
      return {
        action: r.action === 'Reject' ? 'Reject' : 'Accept',
        matchOperator: String(r.matchOperator ?? ''),
        cidr: String(r.cidr ?? ''),
        min: length.min === undefined ? null : Number(length.min),
        max: length.max === undefined ? null : Number(length.max),
        source: String(r.source ?? ''),
        interface: String(r.interface ?? ''),
        asPathPrefix: strings(r.asPathPrefix).map(Number),
        communities: strings((r.communities as Json | undefined)?.values ?? r.communities),
        priority: r.priority === undefined ? null : Number(r.priority),
        addCommunities: values('addCommunity', 'values'),
        prependAsPath: values('prependASPath', 'prefix').map(Number),
      }
    })
  return { name: o.object.metadata.name, import: rules(spec.importV4), export: rules(spec.exportV4) }
}

/** Does a BGPPeer speak for this node? */
export function peerAppliesTo(p: BgpPeerObject, n: NodeModel): boolean {
  if (p.node !== '') return p.node === n.name
  return p.nodeSelector === '' || parseCalicoSelector(p.nodeSelector).matches(new Map(Object.entries(n.labels)))
}

/** Does a BGPPeer's peerSelector select this node? */
export function peerSelects(p: BgpPeerObject, n: NodeModel): boolean {
  return p.peerSelector !== '' && parseCalicoSelector(p.peerSelector).matches(new Map(Object.entries(n.labels)))
}

/** Is the BGPPeer for every node? Its sessions are called Global then. */
export function isGlobalPeer(p: BgpPeerObject): boolean {
  return p.node === '' && p.nodeSelector === ''
}
