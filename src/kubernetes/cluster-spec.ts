/**
 * The cluster's settings, settled: defaults, then what was inferred, then the Cluster object, then the command line.
 *
 * Defaults are kubeadm's (service CIDR 10.96.0.0/12, DNS domain cluster.local), flannel's and kind's (pod network
 * 10.244.0.0/16, /24 per node; nodes in docker's 172.18.0.0/16), Ethernet's MTU, kube-proxy in iptables mode, kubenet.
 *
 * Sources: kubeadm apis/kubeadm/v1beta4/defaults.go, kube-controller-manager --node-cidr-mask-size.
 */
import type { Ipv4Cidr } from '../addr/cidr.ts'
import { parseIpv4Cidr } from '../addr/cidr.ts'
import type { SourcePosition } from '../diagnostics/diagnostic.ts'
import { Diagnostics, NO_POSITION } from '../diagnostics/diagnostic.ts'
import { durationSeconds } from './duration.ts'
import type { Inferred } from './infer.ts'
import type { CloudSpec } from './load-balancer/build.ts'
import type { ObjectSchema } from './schema.ts'
import { checkSchema, object } from './schema.ts'
import { cluster, nodeCount, nodeList } from './schemas/cluster.ts'
import type {
  ClusterEvent,
  ClusterOverrides,
  FieldPath,
  KubernetesObject,
  LoadedObject,
  StringMap,
  Taint,
  UnderlayModel,
} from './types.ts'

/** `spec` of a Cluster object. */
export interface ClusterSpec {
  nodes?:
    | number
    | {
        name: string
        role?: 'control-plane' | 'worker'
        internalIP?: string
        podCIDR?: string
        rack?: string
        zone?: string
        labels?: StringMap
        annotations?: StringMap
        taints?: Taint[]
        unschedulable?: boolean
        allocatable?: Record<string, string | number>
      }[]
  nodeCIDR?: string
  podCIDR?: string
  clusterCIDR?: string
  nodeCIDRMaskSize?: number
  serviceCIDR?: string
  nodePortRange?: string
  mtu?: number
  dnsDomain?: string
  upstreamDNS?: StringMap
  loadBalancer?: CloudSpec
  seed?: number
  events?: { at: string; action: ClusterEvent['action']; node: string }[]
  cni?: { name: string; options?: Record<string, unknown> }
  kubeProxy?: { mode?: string; options?: Record<string, unknown> }
  underlay?: UnderlaySpec
}

/** `spec.underlay`. */
export interface UnderlaySpec {
  mtu?: number
  racks?: { name: string; cidr: string; asn?: number; bgp?: 'bird' | 'frr' | 'gobgp' }[]
  spine?: { asn?: number }
}

/** The settings with words for addresses, and where each came from. */
export interface ResolvedSpec {
  readonly name: string
  readonly nodes: ClusterSpec['nodes']
  nodeCidr: Ipv4Cidr
  clusterCidr: Ipv4Cidr
  serviceCidr: Ipv4Cidr
  readonly nodeCidrMaskSize: number
  readonly nodePortRange: readonly [number, number]
  readonly mtu: number
  readonly dnsDomain: string
  readonly upstreamDns: StringMap
  readonly loadBalancer: CloudSpec | undefined
  readonly seed: number
  readonly events: readonly ClusterEvent[]
  readonly cni: { readonly name: string; readonly options: Readonly<Record<string, unknown>> }
  readonly proxy: { readonly mode: string; readonly options: Readonly<Record<string, unknown>> }
  readonly underlay: UnderlayModel
  /** True when the user set the field: in the Cluster object or on the command line. */
  isGiven(field: string): boolean
  /** Where a path of the Cluster object is. */
  positionOf(path: FieldPath): SourcePosition
  /** Where a setting came from: the Cluster object, or the line it was inferred from. */
  positionOfSetting(field: string): SourcePosition
}

/** Settles the settings; findings about the Cluster object and the overrides go to `diagnostics`. */
export function resolveSpec(
  clusters: readonly LoadedObject[],
  inferred: Inferred,
  overrides: ClusterOverrides,
  diagnostics: Diagnostics,
): ResolvedSpec {
  const loaded = clusters[0]
  for (const more of clusters.slice(1)) {
    diagnostics.error('several-clusters', more.source, 'expected at most one Cluster object, found another')
  }
  const given: ClusterSpec = { ...(loaded?.object.spec as ClusterSpec | undefined) }
  if (loaded !== undefined && !checkNodes(loaded, diagnostics)) delete given.nodes
  applyOverrides(given, overrides, diagnostics)
  if (given.podCIDR !== undefined) given.clusterCIDR ??= given.podCIDR
  const cidr = (text: string): Ipv4Cidr => {
    const parsed = parseIpv4Cidr(text)
    if (parsed === null) throw new Error(`${text} passed the schema but is not an IPv4 CIDR`)
    return parsed
  }
  const [low, high] = (given.nodePortRange ?? '30000-32767').split('-').map(Number)
  const isSetInferred = inferred as unknown as Record<string, unknown>
  const isGiven = (field: string): boolean => given[field as keyof ClusterSpec] !== undefined
  const positionOf = (path: FieldPath): SourcePosition => loaded?.positionOf(path) ?? NO_POSITION
  const inferredKey: Record<string, string> = {
    clusterCIDR: 'clusterCidr',
    serviceCIDR: 'serviceCidr',
    nodeCIDRMaskSize: 'nodeCidrMaskSize',
  }
  const clusterCidr = cidr(given.clusterCIDR ?? inferred.clusterCidr ?? '10.244.0.0/16')
  return {
    name: loaded?.object.metadata.name ?? 'cluster',
    nodes: given.nodes,
    nodeCidr: cidr(given.nodeCIDR ?? '172.18.0.0/16'),
    clusterCidr,
    serviceCidr: cidr(given.serviceCIDR ?? inferred.serviceCidr ?? '10.96.0.0/12'),
    nodeCidrMaskSize:
      given.nodeCIDRMaskSize ?? inferred.nodeCidrMaskSize ?? Math.max(24, Math.min(30, clusterCidr.prefixLength)),
    nodePortRange: [low ?? 30000, high ?? 32767],
    mtu: given.mtu ?? given.underlay?.mtu ?? inferred.mtu ?? 1500,
    dnsDomain: given.dnsDomain ?? inferred.dnsDomain ?? 'cluster.local',
    upstreamDns: given.upstreamDNS ?? {},
    loadBalancer: given.loadBalancer,
    seed: overrides.seed ?? given.seed ?? 1,
    events: (given.events ?? []).map((e) => ({ atS: durationSeconds(e.at) ?? 0, action: e.action, node: e.node })),
    cni: chooseCni(given, inferred),
    proxy: {
      mode: given.kubeProxy?.mode ?? inferred.proxyMode ?? 'iptables',
      options: { ...inferred.proxyOptions, ...given.kubeProxy?.options },
    },
    underlay: {
      racks: (given.underlay?.racks ?? []).map((r) => ({
        ...{ name: r.name, cidr: cidr(r.cidr), implementation: r.bgp ?? 'frr' },
        ...(r.asn !== undefined && { asn: r.asn }),
      })),
      ...(given.underlay?.spine?.asn !== undefined && { spineAsn: given.underlay.spine.asn }),
    },
    isGiven,
    positionOf,
    positionOfSetting(field) {
      if (isGiven(field))
        return positionOf(['spec', field === 'clusterCIDR' && given.podCIDR !== undefined ? 'podCIDR' : field])
      const key = inferredKey[field]
      if (key !== undefined && isSetInferred[key] !== undefined) {
        return inferred.facts.find((fact) => fact.subject === key)?.source ?? NO_POSITION
      }
      return NO_POSITION
    },
  }
}

function chooseCni(given: ClusterSpec, inferred: Inferred): ResolvedSpec['cni'] {
  const name = given.cni?.name ?? inferred.cni?.name ?? 'kubenet'
  // Settings found for another CNI say nothing about the one that was chosen.
  const found = inferred.cni?.name === name ? inferred.cni.options : {}
  return { name, options: { ...found, ...given.cni?.options } }
}

function checkNodes(loaded: LoadedObject, diagnostics: Diagnostics): boolean {
  const nodes = (loaded.object.spec as ClusterSpec | undefined)?.nodes
  if (nodes === undefined || nodes === null) return true
  // The other fields were checked when the object was validated.
  const wrapper: ObjectSchema = object({ spec: object({ nodes: typeof nodes === 'number' ? nodeCount : nodeList }) })
  const only = { ...loaded.object, spec: { nodes } }
  const view: LoadedObject = {
    object: { spec: only.spec } as unknown as KubernetesObject,
    source: loaded.source,
    positionOf: (path) => loaded.positionOf(path),
  }
  return checkSchema(view, wrapper, diagnostics)
}

function applyOverrides(given: ClusterSpec, overrides: ClusterOverrides, diagnostics: Diagnostics): void {
  for (const { path, value } of overrides.set ?? []) setPath(given as Record<string, unknown>, path, value, diagnostics)
  if (overrides.nodes !== undefined) given.nodes = overrides.nodes
  if (overrides.cni !== undefined) {
    const isSame = given.cni?.name === overrides.cni
    given.cni = { ...(isSame && given.cni), name: overrides.cni }
  }
  if (overrides.proxyMode !== undefined) given.kubeProxy = { ...given.kubeProxy, mode: overrides.proxyMode }
}

/** One `--set path=value`, judged by the schema of the Cluster object; a bad one is reported and not applied. */
function setPath(spec: Record<string, unknown>, path: string, value: unknown, diagnostics: Diagnostics): void {
  const steps = path.replace(/^spec\./, '').split('.')
  const at: SourcePosition = { file: `--set ${path}`, line: 0, col: 0 }
  const trial: Record<string, unknown> = {}
  let inner = trial
  for (const step of steps.slice(0, -1)) {
    const next: Record<string, unknown> = {}
    inner[step] = next
    inner = next
  }
  inner[steps[steps.length - 1]!] = value
  const cni = trial.cni as { name?: string } | undefined
  if (typeof cni === 'object' && cni !== null)
    cni.name ??= (spec.cni as { name?: string } | undefined)?.name ?? 'kubenet'
  const view: LoadedObject = {
    object: { metadata: {}, spec: trial } as unknown as KubernetesObject,
    source: at,
    positionOf: () => at,
  }
  const findings = new Diagnostics()
  checkSchema(view, cluster, findings)
  const found = findings.sorted()
  // A field that is only unknown in a manifest is a typing mistake on the command line.
  for (const { code, message, hint } of found) diagnostics.error(code, at, message, { hint })
  if (found.length > 0) return
  let target = spec
  for (const step of steps.slice(0, -1)) {
    const current = target[step]
    const next: Record<string, unknown> = typeof current === 'object' && current !== null ? { ...current } : {}
    target[step] = next
    target = next
  }
  target[steps[steps.length - 1]!] = value
}
