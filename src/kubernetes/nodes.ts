/**
 * The cluster's settings and its nodes.
 *
 * Settings: defaults (kubeadm's and kind's), then what was inferred, then the Cluster object, then the command line.
 * Nodes: the Cluster object's list or count, else Node objects, else kind's nodes, else two workers n1 and n2. What a
 * node does not say is given as the real components do: labels by the kubelet, InternalIP by kind's docker network (from
 * the second address), podCIDR by kube-controller-manager's NodeIPAM in node order, taints by the node controller.
 *
 * Not modelled: several pod CIDRs per node (the first IPv4 one is used), per-node MTU.
 * Sources: k8s.io/kubernetes/pkg/controller/nodeipam/ipam/{range_allocator,cidrset}, pkg/kubelet/kubelet_node_status.go,
 * pkg/controller/nodelifecycle, kubeadm apis/kubeadm/v1beta4 defaults.
 */
import type { Ipv4Cidr } from '../addr/cidr.ts'
import {
  cidrContains,
  cidrContainsIpv4,
  cidrsOverlap,
  formatCidr,
  isNetwork,
  networkOf,
  nthIpv4,
  nthSubnet,
  parseCidr,
  parseIpv4Cidr,
} from '../addr/cidr.ts'
import { formatIpv4, isIpv4Host, parseIpv4 } from '../addr/ipv4.ts'
import type { Diagnostics, SourcePosition } from '../diagnostics/diagnostic.ts'
import { NO_POSITION } from '../diagnostics/diagnostic.ts'
import type { ClusterSpec, ResolvedSpec } from './cluster-spec.ts'
import type { Inferred } from './infer.ts'
import { parseQuantity } from './names.ts'
import type { FieldPath, KubernetesObject, LoadedObject, NodeModel, RackModel, StringMap, Taint } from './types.ts'

const CONTROL_PLANE_LABEL = 'node-role.kubernetes.io/control-plane'
const ZONE_LABEL = 'topology.kubernetes.io/zone'

/** A node before it has addresses. */
interface NodeDraft {
  name: string
  internalIp?: string
  rack?: string
  podCidrs?: readonly string[]
  labels: Record<string, string>
  annotations: StringMap
  taints: Taint[]
  unschedulable: boolean
  ready: boolean
  allocatable: Record<string, string | number>
  source: SourcePosition
  at(field: 'internalIP' | 'podCIDR'): SourcePosition
}

interface NodeObject extends KubernetesObject {
  spec?: { podCIDR?: string; podCIDRs?: string[]; unschedulable?: boolean; taints?: Taint[] }
  status?: {
    allocatable?: Record<string, string | number>
    addresses?: { type: string; address: string }[]
    conditions?: { type: string; status: string }[]
  }
}

/** Nodes as drafts, from whichever source there is. */
export function draftNodes(spec: ResolvedSpec, nodeObjects: readonly LoadedObject[], inferred: Inferred): NodeDraft[] {
  const { nodes } = spec
  if (Array.isArray(nodes)) return nodes.map((node, i) => draftOfClusterNode(node, spec, ['spec', 'nodes', i]))
  if (typeof nodes === 'number') {
    return Array.from({ length: nodes }, (_, i) => draftOfName(`n${i + 1}`, spec.positionOf(['spec', 'nodes'])))
  }
  if (nodeObjects.length > 0)
    return nodeObjects.map((loaded) => draftOfNode(loaded as unknown as LoadedObject<NodeObject>))
  if (inferred.kindNodes !== undefined) {
    // kind takes the taint off a control plane that is alone.
    const isAlone = inferred.kindNodes.length === 1
    return inferred.kindNodes.map((node) => {
      const draft = draftOfName(node.name, node.source)
      Object.assign(draft.labels, node.labels)
      if (node.isControlPlane) makeControlPlane(draft, !isAlone)
      return draft
    })
  }
  inferred.facts.push({ subject: 'nodes', text: 'no nodes in the input: two workers n1 and n2', source: NO_POSITION })
  return [draftOfName('n1', NO_POSITION), draftOfName('n2', NO_POSITION)]
}

function draftOfName(name: string, source: SourcePosition): NodeDraft {
  return {
    name,
    labels: {},
    annotations: {},
    taints: [],
    unschedulable: false,
    ready: true,
    allocatable: {},
    source,
    at: () => source,
  }
}

function makeControlPlane(draft: NodeDraft, isTainted: boolean): void {
  draft.labels[CONTROL_PLANE_LABEL] = ''
  if (isTainted) draft.taints.push({ key: CONTROL_PLANE_LABEL, effect: 'NoSchedule' })
}

function draftOfClusterNode(
  node: NonNullable<Exclude<ClusterSpec['nodes'], number>>[number],
  spec: ResolvedSpec,
  path: FieldPath,
): NodeDraft {
  const draft = draftOfName(node.name, spec.positionOf(path))
  Object.assign(draft.labels, node.labels)
  if (node.zone !== undefined) draft.labels[ZONE_LABEL] = node.zone
  draft.annotations = node.annotations ?? {}
  draft.unschedulable = node.unschedulable ?? false
  draft.allocatable = { ...node.allocatable }
  if (node.role === 'control-plane') makeControlPlane(draft, node.taints === undefined)
  draft.taints.push(...(node.taints ?? []))
  if (node.internalIP !== undefined) draft.internalIp = node.internalIP
  if (node.podCIDR !== undefined) draft.podCidrs = [node.podCIDR]
  if (node.rack !== undefined) draft.rack = node.rack
  draft.at = (field) => spec.positionOf([...path, field])
  return draft
}

function draftOfNode(loaded: LoadedObject<NodeObject>): NodeDraft {
  const { metadata, spec, status } = loaded.object
  const draft = draftOfName(metadata.name, loaded.source)
  Object.assign(draft.labels, metadata.labels)
  draft.annotations = metadata.annotations ?? {}
  draft.taints.push(...(spec?.taints ?? []))
  draft.unschedulable = spec?.unschedulable ?? false
  draft.ready = (status?.conditions ?? []).every((c) => c.type !== 'Ready' || c.status === 'True')
  draft.allocatable = { ...status?.allocatable }
  const addresses = (status?.addresses ?? []).filter((a) => a.type === 'InternalIP')
  const address = addresses.find((a) => parseIpv4(a.address) !== null) ?? addresses[0]
  if (address !== undefined) draft.internalIp = address.address
  const cidrs = spec?.podCIDRs ?? (spec?.podCIDR ? [spec.podCIDR] : undefined)
  if (cidrs !== undefined && cidrs.length > 0) draft.podCidrs = cidrs
  draft.at = (field) =>
    loaded.positionOf(field === 'podCIDR' ? ['spec', spec?.podCIDR ? 'podCIDR' : 'podCIDRs'] : ['status', 'addresses'])
  return draft
}

/**
 * Widens `size` of network around addresses until it holds them all: the underlay or the pod network of a cluster whose
 * objects give addresses without saying the network.
 */
export function networkAround(addresses: readonly number[], longest: number): Ipv4Cidr | null {
  const [first, ...rest] = addresses
  if (first === undefined) return null
  for (let prefixLength = longest; prefixLength >= 8; prefixLength--) {
    const cidr = networkOf({ family: 4, ip: first, prefixLength })
    if (rest.every((ip) => cidrContainsIpv4(cidr, ip))) return cidr
  }
  return null
}

/** Settles the networks that given nodes imply, before anything is allocated. */
export function settleNetworks(spec: ResolvedSpec, drafts: readonly NodeDraft[], inferred: Inferred): void {
  const internal = drafts.map((d) => parseIpv4(d.internalIp ?? '')).filter((ip) => ip !== null)
  const around = networkAround(internal, 24)
  if (!spec.isGiven('nodeCIDR') && around !== null && !internal.every((ip) => cidrContainsIpv4(spec.nodeCidr, ip))) {
    spec.nodeCidr = around
    inferred.facts.push({
      subject: 'nodeCidr',
      text: `inferred node network ${formatCidr(around)} from the nodes' addresses`,
      source: drafts[0]!.source,
    })
  }
  const podNetworks = drafts.flatMap((d) => (d.podCidrs ?? []).map(parseIpv4Cidr)).filter((c) => c !== null)
  const aroundPods = networkAround(
    podNetworks.map((c) => c.ip),
    16,
  )
  const isOutside = podNetworks.some((c) => !cidrContains(spec.clusterCidr, c))
  if (!spec.isGiven('clusterCIDR') && inferred.clusterCidr === undefined && aroundPods !== null && isOutside) {
    spec.clusterCidr = aroundPods
    inferred.facts.push({
      subject: 'clusterCidr',
      text: `inferred pod network ${formatCidr(aroundPods)} from the nodes' podCIDRs`,
      source: drafts[0]!.source,
    })
  }
}

/** Reports networks of the cluster that share addresses. */
export function checkNetworks(spec: ResolvedSpec, diagnostics: Diagnostics): void {
  const networks: [string, string, Ipv4Cidr][] = [
    ['the pod network', 'clusterCIDR', spec.clusterCidr],
    ['the service network', 'serviceCIDR', spec.serviceCidr],
    ['the node network', 'nodeCIDR', spec.nodeCidr],
  ]
  for (const [i, [name, field, cidr]] of networks.entries()) {
    if (!isNetwork(cidr)) {
      diagnostics.error(
        'bad-cidr',
        spec.positionOfSetting(field),
        `expected a network, found host bits set in ${formatCidr(cidr)}`,
        {
          path: `spec.${field}`,
          hint: `the network is ${formatCidr(networkOf(cidr))}`,
        },
      )
    }
    for (const [otherName, otherField, other] of networks.slice(i + 1)) {
      if (!cidrsOverlap(cidr, other)) continue
      const at = spec.positionOfSetting(spec.isGiven(otherField) ? otherField : field)
      const text = `expected networks that do not overlap, found ${name} ${formatCidr(cidr)} and ${otherName} ${formatCidr(other)}`
      diagnostics.error('overlapping-cidrs', at, text)
    }
  }
  if (spec.nodeCidrMaskSize < spec.clusterCidr.prefixLength) {
    const text = `expected a node mask of at least ${spec.clusterCidr.prefixLength}, that of ${formatCidr(spec.clusterCidr)}, found ${spec.nodeCidrMaskSize}`
    diagnostics.error('bad-cidr', spec.positionOfSetting('nodeCIDRMaskSize'), text, { path: 'spec.nodeCIDRMaskSize' })
  }
}

/** Turns drafts into nodes: addresses, pod CIDRs, labels, taints. */
export function buildNodes(drafts: readonly NodeDraft[], spec: ResolvedSpec, diagnostics: Diagnostics): NodeModel[] {
  const racks = racksOf(drafts, spec, diagnostics)
  const internalIps = assignInternalIps(drafts, spec, racks, diagnostics)
  const podCidrs = assignPodCidrs(drafts, spec, diagnostics)
  const names = new Set<string>()
  return drafts.map((draft, index): NodeModel => {
    if (names.has(draft.name)) {
      diagnostics.error('duplicate-object', draft.source, `expected each node once, found ${draft.name} again`)
    }
    names.add(draft.name)
    const labels: Record<string, string> = {
      'beta.kubernetes.io/arch': 'amd64',
      'beta.kubernetes.io/os': 'linux',
      'kubernetes.io/arch': 'amd64',
      'kubernetes.io/hostname': draft.name,
      'kubernetes.io/os': 'linux',
      ...draft.labels,
    }
    const zone = labels[ZONE_LABEL]
    return {
      name: draft.name,
      index,
      internalIp: internalIps[index]!,
      internalPrefixLength: (racks[index]?.cidr ?? spec.nodeCidr).prefixLength,
      ...(racks[index] != null && { rack: racks[index].name }),
      podCidr: podCidrs[index]!,
      podCidrs: draft.podCidrs ?? [podCidrs[index]!],
      labels,
      annotations: draft.annotations,
      taints: taintsOf(draft),
      ...(zone !== undefined && { zone }),
      unschedulable: draft.unschedulable,
      ready: draft.ready,
      isControlPlane: CONTROL_PLANE_LABEL in labels || 'node-role.kubernetes.io/master' in labels,
      allocatable: allocatableOf(draft.allocatable),
      source: draft.source,
    }
  })
}

/** The taints that the node controller keeps in step with `unschedulable` and the Ready condition. */
function taintsOf(draft: NodeDraft): Taint[] {
  const taints = [...draft.taints]
  const add = (key: string, effect: Taint['effect']): void => {
    if (!taints.some((t) => t.key === key && t.effect === effect)) taints.push({ key, effect })
  }
  if (draft.unschedulable) add('node.kubernetes.io/unschedulable', 'NoSchedule')
  if (!draft.ready) {
    add('node.kubernetes.io/not-ready', 'NoSchedule')
    add('node.kubernetes.io/not-ready', 'NoExecute')
  }
  return taints
}

/** cpu in millicores, the rest in their units; a node that does not say how many pods takes kubelet's 110. */
function allocatableOf(given: Readonly<Record<string, string | number>>): Record<string, number> {
  const allocatable: Record<string, number> = { pods: 110 }
  for (const [resource, amount] of Object.entries(given)) {
    const value = parseQuantity(amount)
    if (value !== null) allocatable[resource] = resource === 'cpu' ? Math.round(value * 1000) : value
  }
  return allocatable
}

/** The rack of each node: by name, else the one that holds its address; null without racks. */
function racksOf(drafts: readonly NodeDraft[], spec: ResolvedSpec, diagnostics: Diagnostics): (RackModel | null)[] {
  const { racks } = spec.underlay
  for (const [i, r] of racks.entries()) {
    if (isNetwork(r.cidr) && cidrContains(spec.nodeCidr, r.cidr)) continue
    const text = `rack ${r.name}: expected a network inside the node network ${formatCidr(spec.nodeCidr)}, found ${formatCidr(r.cidr)}`
    diagnostics.error('bad-cidr', spec.positionOf(['spec', 'underlay', 'racks', i, 'cidr']), text)
  }
  if (racks.length === 0) return drafts.map(() => null)
  return drafts.map((draft) => {
    const ip = parseIpv4(draft.internalIp ?? '')
    const rack =
      draft.rack === undefined
        ? racks.find((r) => ip !== null && cidrContainsIpv4(r.cidr, ip))
        : racks.find((r) => r.name === draft.rack)
    if (rack !== undefined) return rack
    const found = draft.rack === undefined ? 'none' : `"${draft.rack}"`
    const text = `node ${draft.name}: expected the name of a rack (${racks.map((r) => r.name).join(', ')}), found ${found}`
    diagnostics.error('unknown-rack', draft.source, text)
    return null
  })
}

function assignInternalIps(
  drafts: readonly NodeDraft[],
  spec: ResolvedSpec,
  racks: readonly (RackModel | null)[],
  diagnostics: Diagnostics,
): string[] {
  const taken = new Map<number, string>()
  const given = drafts.map((draft) => {
    if (draft.internalIp === undefined) return null
    const ip = parseIpv4(draft.internalIp)
    if (ip === null) {
      diagnostics.error(
        'bad-address',
        draft.at('internalIP'),
        `node ${draft.name}: expected an IPv4 InternalIP, found "${draft.internalIp}"`,
      )
      return null
    }
    const owner = taken.get(ip)
    if (!isIpv4Host(ip)) {
      const text = `node ${draft.name}: expected an address that a machine can have, found ${draft.internalIp}`
      diagnostics.error('bad-address', draft.at('internalIP'), text)
    } else if (owner !== undefined) {
      const text = `node ${draft.name}: expected an InternalIP of its own, found ${draft.internalIp} of node ${owner}`
      diagnostics.error('duplicate-address', draft.at('internalIP'), text)
    } else if (!cidrContainsIpv4(spec.nodeCidr, ip)) {
      const text = `node ${draft.name}: expected an InternalIP in the node network ${formatCidr(spec.nodeCidr)}, found ${draft.internalIp}`
      diagnostics.error('bad-address', draft.at('internalIP'), text)
    }
    taken.set(ip, draft.name)
    return ip
  })
  // .1 is the gateway of the underlay, or the rack's router.
  const next = new Map<string, number>()
  return drafts.map((draft, i) => {
    let ip = given[i] ?? null
    const cidr = racks[i]?.cidr ?? spec.nodeCidr
    const key = formatCidr(cidr)
    while (ip === null) {
      const n = next.get(key) ?? 2
      next.set(key, n + 1)
      const candidate = nthIpv4(cidr, n)
      if (candidate === null) {
        const text = `node ${draft.name}: no address left in the node network ${key}`
        diagnostics.error('exhausted-cidr', spec.positionOfSetting('nodeCIDR'), text)
        return formatIpv4(cidr.ip)
      }
      if (!taken.has(candidate)) ip = candidate
    }
    taken.set(ip, draft.name)
    return formatIpv4(ip)
  })
}

function assignPodCidrs(drafts: readonly NodeDraft[], spec: ResolvedSpec, diagnostics: Diagnostics): string[] {
  const taken = new CidrIndex()
  const given = drafts.map((draft) => givenPodCidr(draft, spec, taken, diagnostics))
  let next = 0
  return drafts.map((draft, i) => {
    const fixed = given[i]
    if (fixed) return formatCidr(fixed)
    for (;;) {
      const candidate = nthSubnet(spec.clusterCidr, spec.nodeCidrMaskSize, next++)
      if (candidate === null) {
        diagnostics.error(
          'exhausted-cidr',
          draft.source === NO_POSITION ? spec.positionOfSetting('clusterCIDR') : draft.source,
          `node ${draft.name}: CIDR allocation failed; there are no remaining CIDRs left to allocate in the accepted range (/${spec.nodeCidrMaskSize} of ${formatCidr(spec.clusterCidr)})`,
          { hint: 'a larger clusterCIDR or nodeCIDRMaskSize in the Cluster object' },
        )
        return formatCidr({ family: 4, ip: spec.clusterCidr.ip, prefixLength: spec.nodeCidrMaskSize })
      }
      if (taken.overlapping(candidate) === undefined) return formatCidr(candidate)
    }
  })
}

function givenPodCidr(
  draft: NodeDraft,
  spec: ResolvedSpec,
  taken: CidrIndex,
  diagnostics: Diagnostics,
): Ipv4Cidr | null {
  if (draft.podCidrs === undefined) return null
  const bad = draft.podCidrs.find((text) => parseCidr(text) === null)
  if (bad !== undefined) {
    diagnostics.error('bad-cidr', draft.at('podCIDR'), `node ${draft.name}: expected a CIDR, found "${bad}"`, {
      path: 'spec.podCIDR',
    })
    return null
  }
  const cidr = draft.podCidrs.map(parseIpv4Cidr).find((c) => c !== null)
  if (cidr === undefined) {
    diagnostics.warning(
      'ipv6-not-modelled',
      draft.at('podCIDR'),
      `node ${draft.name}: no IPv4 podCIDR: one is allocated`,
    )
    return null
  }
  const at = draft.at('podCIDR')
  if (!isNetwork(cidr)) {
    diagnostics.error(
      'bad-cidr',
      at,
      `node ${draft.name}: expected a network, found host bits set in ${formatCidr(cidr)}`,
    )
  }
  const other = taken.overlapping(cidr)
  if (other !== undefined) {
    const text = `node ${draft.name}: expected a podCIDR of its own, found ${formatCidr(cidr)}, which overlaps ${formatCidr(other.cidr)} of node ${other.node}`
    diagnostics.error('overlapping-cidrs', at, text)
  }
  for (const [name, network] of [
    ['service', spec.serviceCidr],
    ['node', spec.nodeCidr],
  ] as const) {
    if (!cidrsOverlap(network, cidr)) continue
    const text = `node ${draft.name}: expected a podCIDR apart from the ${name} network ${formatCidr(network)}, found ${formatCidr(cidr)}`
    diagnostics.error('overlapping-cidrs', at, text)
  }
  if (!cidrContains(spec.clusterCidr, cidr)) {
    diagnostics.warning(
      'pod-cidr-outside',
      at,
      `node ${draft.name}: podCIDR ${formatCidr(cidr)} is outside of the pod network ${formatCidr(spec.clusterCidr)}`,
    )
  }
  taken.add(cidr, draft.name)
  return cidr
}

/** Networks by prefix length and address: finding one that overlaps costs the number of lengths, not of networks. */
class CidrIndex {
  private readonly byLength = new Map<number, Map<number, { cidr: Ipv4Cidr; node: string }>>()

  add(cidr: Ipv4Cidr, node: string): void {
    let networks = this.byLength.get(cidr.prefixLength)
    if (networks === undefined) {
      networks = new Map()
      this.byLength.set(cidr.prefixLength, networks)
    }
    networks.set(networkOf(cidr).ip, { cidr, node })
  }

  overlapping(cidr: Ipv4Cidr): { cidr: Ipv4Cidr; node: string } | undefined {
    for (const [prefixLength, networks] of this.byLength) {
      if (prefixLength <= cidr.prefixLength) {
        const found = networks.get(networkOf({ ...cidr, prefixLength }).ip)
        if (found !== undefined) return found
      } else {
        // Smaller networks inside of this one: only clusters with node CIDRs of several sizes get here.
        for (const found of networks.values()) if (cidrsOverlap(found.cidr, cidr)) return found
      }
    }
    return undefined
  }
}
