/**
 * policy.networking.k8s.io: ClusterNetworkPolicy v1alpha2, AdminNetworkPolicy and BaselineAdminNetworkPolicy v1alpha1.
 *
 * Ordered rules of Accept (Allow), Deny and Pass in the Admin and Baseline tiers, by priority, then name (equal priorities
 * are undefined upstream: lint says so). No isolation: what no rule matches goes on. Host-network pods are neither subjects
 * nor peers. `networks` match every address, pods' included. `namedPort` has no protocol: any. A peer without a known field
 * fails closed: an Accept rule matches nothing, Deny and Pass deny everything.
 *
 * Not modelled: domainNames (an address is not a name: the peer matches nothing, which lint reports).
 * Sources: network-policy-api apis/v1alpha1, apis/v1alpha2.
 */
import type { FieldPath, KubernetesObject, LabelSelector, Sourced } from '../../kubernetes/types.ts'
import { selectorExpr } from '../expr.ts'
import type { Action, Alternative, Condition, Policy, PolicyDirection, PortMatch, PortName, Rule } from '../model.ts'
import { NO_PORTS, type PolicyProtocol, type PortSet, portRange, unionPorts } from '../port-set.ts'
import { cidrRanges, NO_ADDRESSES, unionRanges } from '../ranges.ts'
import { positionIn } from './source.ts'

/** Tier of the rules before NetworkPolicy, in Calico's name. */
export const ADMIN_TIER = 'kube-admin'
/** Tier of the rules after NetworkPolicy. */
export const BASELINE_TIER = 'kube-baseline'

interface Peer {
  namespaces?: LabelSelector | null
  pods?: { namespaceSelector?: LabelSelector | null; podSelector?: LabelSelector | null } | null
  nodes?: LabelSelector | null
  networks?: string[] | null
  domainNames?: string[] | null
}

interface PortV1alpha1 {
  portNumber?: { protocol?: PolicyProtocol; port: number }
  portRange?: { protocol?: PolicyProtocol; start: number; end: number }
  namedPort?: string
}

type ProtocolV1alpha2 = {
  [protocol in 'tcp' | 'udp' | 'sctp']?: {
    destinationPort?: { number?: number; range?: { start: number; end: number } }
  }
} & { destinationNamedPort?: string }

interface AdminRule {
  action: 'Accept' | 'Allow' | 'Deny' | 'Pass'
  from?: Peer[]
  to?: Peer[]
  ports?: PortV1alpha1[] | null
  protocols?: ProtocolV1alpha2[] | null
}

interface AdminSpec {
  tier?: 'Admin' | 'Baseline'
  priority?: number
  subject?: Peer
  ingress?: AdminRule[] | null
  egress?: AdminRule[] | null
}

/** The policy. */
export function compileAdminPolicy(sourced: Sourced<KubernetesObject>): Policy {
  const { object } = sourced
  const spec = (object.spec ?? {}) as AdminSpec
  const isBaseline = object.kind === 'BaselineAdminNetworkPolicy' || spec.tier === 'Baseline'
  const direction = (field: 'ingress' | 'egress'): PolicyDirection | null => {
    const rules = spec[field] ?? []
    if (rules.length === 0) return null
    return { rules: rules.map((rule, i) => compileRule(rule, field, i)), isolates: false }
  }
  return {
    kind: object.kind,
    apiVersion: object.apiVersion,
    namespace: '',
    name: object.metadata.name,
    source: sourced.source,
    positionOf: positionIn(sourced),
    tier: isBaseline ? BASELINE_TIER : ADMIN_TIER,
    order: spec.priority ?? 0,
    subject: compilePeer(spec.subject ?? {}, ['spec', 'subject']),
    subjectNamespace: null,
    ingress: direction('ingress'),
    egress: direction('egress'),
    staged: false,
    hasBlocks: true,
  }
}

function compileRule(rule: AdminRule, field: 'ingress' | 'egress', index: number): Rule {
  const path: FieldPath = ['spec', field, index]
  const peersField = field === 'ingress' ? 'from' : 'to'
  const peers = (rule[peersField] ?? []).map((p, i) => compilePeer(p ?? {}, [...path, peersField, i]))
  const action: Action = rule.action === 'Accept' || rule.action === 'Allow' ? 'Allow' : rule.action
  const isUnknown = peers.some((p) => p.conditions.some((c) => c.t === 'never' && c.why === UNKNOWN_PEER))
  const isClosed = isUnknown && action !== 'Allow'
  return {
    path,
    action: isClosed ? 'Deny' : action,
    self: null,
    peers: isClosed ? null : isUnknown ? [] : peers,
    ports: isClosed ? null : compilePorts(rule, path),
    sourcePorts: null,
    family: null,
    l7: false,
  }
}

const UNKNOWN_PEER = 'the peer has no field that podwalk knows'

function pods(path: FieldPath, selector: LabelSelector, scope: 'pod' | 'namespace'): Condition {
  return { t: 'labels', path, expr: selectorExpr(selector, scope), hostNetworkAsPod: false, sets: null, negate: false }
}

function compilePeer(peer: Peer, path: FieldPath): Alternative {
  const conditions: Condition[] = []
  if (peer.namespaces) conditions.push(pods([...path, 'namespaces'], peer.namespaces, 'namespace'))
  else if (peer.pods) {
    const at = [...path, 'pods']
    conditions.push(pods([...at, 'namespaceSelector'], peer.pods.namespaceSelector ?? {}, 'namespace'))
    conditions.push(pods([...at, 'podSelector'], peer.pods.podSelector ?? {}, 'pod'))
  } else if (peer.nodes) {
    conditions.push({ t: 'nodes', path: [...path, 'nodes'], expr: selectorExpr(peer.nodes, 'node') })
  } else if (peer.networks) {
    const ranges = unionRanges(peer.networks.map((n) => cidrRanges(n) ?? NO_ADDRESSES))
    const text = peer.networks.join(', ')
    conditions.push({ t: 'nets', path: [...path, 'networks'], ranges, pods: 'always', negate: false, text })
  } else if (peer.domainNames) {
    const why = `domain names (${peer.domainNames.join(', ')}) are not addresses`
    conditions.push({ t: 'never', path: [...path, 'domainNames'], why })
  } else conditions.push({ t: 'never', path, why: UNKNOWN_PEER })
  return { path, conditions, ports: null }
}

function compilePorts(rule: AdminRule, path: FieldPath): PortMatch | null {
  const field = rule.ports ? 'ports' : 'protocols'
  if (!rule.ports && !rule.protocols) return null
  let set: PortSet = NO_PORTS
  const names: PortName[] = []
  const at = [...path, field]
  for (const [i, p] of (rule.ports ?? []).entries()) {
    if (p.portNumber) set = unionPorts(set, portRange(p.portNumber.protocol ?? 'TCP', p.portNumber.port))
    if (p.portRange) set = unionPorts(set, portRange(p.portRange.protocol ?? 'TCP', p.portRange.start, p.portRange.end))
    if (p.namedPort) names.push({ name: p.namedPort, protocol: null, path: [...at, i, 'namedPort'] })
  }
  for (const [i, p] of (rule.protocols ?? []).entries()) {
    for (const key of ['tcp', 'udp', 'sctp'] as const) {
      const of = p[key]
      if (!of) continue
      const protocol = key.toUpperCase() as 'TCP' | 'UDP' | 'SCTP'
      const port = of.destinationPort
      if (port?.number) set = unionPorts(set, portRange(protocol, port.number))
      else if (port?.range) set = unionPorts(set, portRange(protocol, port.range.start, port.range.end))
      else set = unionPorts(set, portRange(protocol, 0, 65535))
    }
    if (p.destinationNamedPort) {
      names.push({ name: p.destinationNamedPort, protocol: null, path: [...at, i, 'destinationNamedPort'] })
    }
  }
  if (rule.ports?.length === 0 || rule.protocols?.length === 0) return null
  return { path: at, set, names, except: null }
}
