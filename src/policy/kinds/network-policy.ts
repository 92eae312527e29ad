/**
 * networking.k8s.io/v1 NetworkPolicy, compiled.
 *
 * Allow rules only; a policy isolates the pods that it selects in the directions of its policyTypes. Without policyTypes a
 * policy is for ingress, and for egress only when it has egress rules (an empty list is none). A peer without
 * namespaceSelector is in the policy's namespace; a missing `from`, `to` or `ports` (or an empty one) is everything.
 *
 * Sources: networking/v1 types.go, kubernetes pkg/apis/networking/v1/defaults.go.
 */
import type { FieldPath, IntOrString, KubernetesObject, LabelSelector, Sourced } from '../../kubernetes/types.ts'
import { and, eq, selectorExpr } from '../expr.ts'
import type { Alternative, Condition, Policy, PolicyDirection, PortMatch, PortName, Rule } from '../model.ts'
import { META_NAMESPACE } from '../model.ts'
import { NO_PORTS, type PolicyProtocol, type PortSet, portRange, protocolPorts, unionPorts } from '../port-set.ts'
import { cidrRanges, NO_ADDRESSES } from '../ranges.ts'
import { positionIn } from './source.ts'

/** networking/v1 NetworkPolicyPort. */
interface NetworkPolicyPort {
  protocol?: 'TCP' | 'UDP' | 'SCTP' | null
  port?: IntOrString | null
  endPort?: number | null
}

/** networking/v1 NetworkPolicyPeer. */
interface NetworkPolicyPeer {
  podSelector?: LabelSelector | null
  namespaceSelector?: LabelSelector | null
  ipBlock?: { cidr: string; except?: string[] | null } | null
}

interface NetworkPolicyRule {
  from?: NetworkPolicyPeer[] | null
  to?: NetworkPolicyPeer[] | null
  ports?: NetworkPolicyPort[] | null
}

/** networking/v1 NetworkPolicySpec. */
interface NetworkPolicySpec {
  podSelector?: LabelSelector | null
  policyTypes?: string[] | null
  ingress?: NetworkPolicyRule[] | null
  egress?: NetworkPolicyRule[] | null
}

/** Order of a Kubernetes policy in Calico's default tier (conversion.go K8sNetworkPolicyToCalico). */
export const KUBERNETES_POLICY_ORDER = 1000

/** A condition on labels that only selects what NetworkPolicy v1 can select. */
function labels(path: FieldPath, expr: ReturnType<typeof selectorExpr>): Condition {
  return { t: 'labels', path, expr, hostNetworkAsPod: true, sets: null, negate: false }
}

/** The policy. */
export function compileNetworkPolicy(sourced: Sourced<KubernetesObject>): Policy {
  const { object } = sourced
  const spec = (object.spec ?? {}) as NetworkPolicySpec
  const namespace = object.metadata.namespace ?? 'default'
  const types = spec.policyTypes ?? []
  const isIngress = types.length === 0 || types.includes('Ingress')
  const isEgress = types.length === 0 ? (spec.egress ?? []).length > 0 : types.includes('Egress')
  const direction = (field: 'ingress' | 'egress'): PolicyDirection =>
    new LazyDirection(spec[field] ?? [], field, namespace)
  return {
    kind: 'NetworkPolicy',
    apiVersion: object.apiVersion,
    namespace,
    name: object.metadata.name,
    source: sourced.source,
    positionOf: positionIn(sourced),
    tier: 'default',
    order: KUBERNETES_POLICY_ORDER,
    subject: {
      path: ['spec', 'podSelector'],
      conditions: [
        labels(
          ['spec', 'podSelector'],
          and([eq('meta', META_NAMESPACE, namespace), selectorExpr(spec.podSelector ?? {}, 'pod')]),
        ),
      ],
      ports: null,
    },
    subjectNamespace: namespace,
    ingress: isIngress ? direction('ingress') : null,
    egress: isEgress ? direction('egress') : null,
    staged: false,
    hasBlocks: hasBlocks(spec),
  }
}

/** Rules are compiled when they are first asked for: of 75,000 policies a question looks at a few. */
class LazyDirection implements PolicyDirection {
  readonly isolates = true
  private readonly raw: readonly (NetworkPolicyRule | null)[]
  private readonly field: 'ingress' | 'egress'
  private readonly namespace: string
  private compiled: readonly Rule[] | null = null

  constructor(raw: readonly (NetworkPolicyRule | null)[], field: 'ingress' | 'egress', namespace: string) {
    this.raw = raw
    this.field = field
    this.namespace = namespace
  }

  get rules(): readonly Rule[] {
    this.compiled ??= this.raw.map((rule, i) => compileRule(rule ?? {}, this.field, i, this.namespace))
    return this.compiled
  }
}

function hasBlocks(spec: NetworkPolicySpec): boolean {
  const isBlock = (p: NetworkPolicyPeer | null): boolean => Boolean(p?.ipBlock)
  return (
    (spec.ingress ?? []).some((r) => (r?.from ?? []).some(isBlock)) ||
    (spec.egress ?? []).some((r) => (r?.to ?? []).some(isBlock))
  )
}

function compileRule(rule: NetworkPolicyRule, field: 'ingress' | 'egress', index: number, namespace: string): Rule {
  const path: FieldPath = ['spec', field, index]
  const peersField = field === 'ingress' ? 'from' : 'to'
  const peers = rule[peersField] ?? []
  return {
    path,
    action: 'Allow',
    self: null,
    peers: peers.length === 0 ? null : peers.map((p, i) => compilePeer(p ?? {}, [...path, peersField, i], namespace)),
    ports: compilePorts(rule.ports ?? [], [...path, 'ports']),
    sourcePorts: null,
    family: null,
    l7: false,
  }
}

function compilePeer(peer: NetworkPolicyPeer, path: FieldPath, namespace: string): Alternative {
  const conditions: Condition[] = []
  if (peer.ipBlock) {
    const { cidr, except } = peer.ipBlock
    const cut = except ?? []
    conditions.push({
      t: 'nets',
      path: [...path, 'ipBlock'],
      ranges: cidrRanges(cidr, cut) ?? NO_ADDRESSES,
      pods: 'option',
      negate: false,
      text: cut.length === 0 ? cidr : `${cidr} except ${cut.join(', ')}`,
    })
    return { path, conditions, ports: null }
  }
  if (peer.namespaceSelector) {
    conditions.push(labels([...path, 'namespaceSelector'], selectorExpr(peer.namespaceSelector, 'namespace')))
  } else if (peer.podSelector) {
    conditions.push(labels([...path, 'podSelector'], eq('meta', META_NAMESPACE, namespace)))
  } else {
    conditions.push({ t: 'never', path, why: 'the peer has no field that podwalk knows' })
  }
  if (peer.podSelector) conditions.push(labels([...path, 'podSelector'], selectorExpr(peer.podSelector, 'pod')))
  return { path, conditions, ports: null }
}

function compilePorts(ports: readonly NetworkPolicyPort[], path: FieldPath): PortMatch | null {
  if (ports.length === 0) return null
  let set: PortSet = NO_PORTS
  const names: PortName[] = []
  for (const [i, port] of ports.entries()) {
    const protocol: PolicyProtocol = port?.protocol ?? 'TCP'
    const value = port?.port
    if (value === undefined || value === null) set = unionPorts(set, protocolPorts(protocol))
    else if (typeof value === 'string') names.push({ name: value, protocol, path: [...path, i, 'port'] })
    else set = unionPorts(set, portRange(protocol, value, port.endPort ?? value))
  }
  return { path, set, names, except: null }
}
