/**
 * cilium.io/v2 CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy, compiled.
 *
 * Identities instead of addresses: a selector sees a pod's labels, its namespace (`io.kubernetes.pod.namespace`) and its
 * namespace's labels (`io.cilium.k8s.namespace.labels.*`); CIDR rules match only what is outside the cluster. A deny rule
 * wins over every allow rule, so each object becomes a deny part and an allow part, and the deny parts come first. A rule
 * section that is not empty isolates its direction, unless enableDefaultDeny says no. `ingress: [{}]` selects no peer and so
 * allows nothing; `fromEndpoints: [{}]` is the policy's own namespace; a missing peer list with toPorts is every peer, an
 * empty one is none.
 *
 * Not modelled, each matching nothing: toFQDNs, toGroups, CIDR groups. L7 rules are noted: a proxy decides.
 * Sources: cilium pkg/policy/api, pkg/k8s/apis/cilium.io/utils/utils.go, pkg/policy (deny precedence).
 */
import type {
  FieldPath,
  KubernetesObject,
  LabelSelector,
  SelectorRequirement,
  Sourced,
} from '../../kubernetes/types.ts'
import { and, type Expr, eq, FALSE, keysOf, selectorExpr, TRUE } from '../expr.ts'
import type { PolicyInput } from '../input.ts'
import type { Alternative, Condition, Policy, PolicyDirection, PortMatch, PortName, Rule } from '../model.ts'
import { META_NAMESPACE, META_SERVICE_ACCOUNT } from '../model.ts'
import {
  ALL_PORTS,
  icmpType,
  NO_PORTS,
  type PolicyProtocol,
  type PortSet,
  portRange,
  protocolPorts,
  unionPorts,
} from '../port-set.ts'
import { type AddressRanges, cidrRanges, NO_ADDRESSES, unionRanges } from '../ranges.ts'
import { positionIn } from './source.ts'

interface CiliumPortRule {
  ports?: { port?: string | number; endPort?: number; protocol?: string }[]
  rules?: object
}

interface CiliumRule {
  fromEndpoints?: (LabelSelector | null)[] | null
  toEndpoints?: (LabelSelector | null)[] | null
  fromEntities?: string[] | null
  toEntities?: string[] | null
  fromCIDR?: string[] | null
  toCIDR?: string[] | null
  fromCIDRSet?: { cidr?: string; except?: string[] }[] | null
  toCIDRSet?: { cidr?: string; except?: string[] }[] | null
  fromNodes?: LabelSelector[] | null
  toNodes?: LabelSelector[] | null
  toServices?: {
    k8sService?: { serviceName?: string; namespace?: string }
    k8sServiceSelector?: { selector?: LabelSelector; namespace?: string }
  }[]
  toFQDNs?: object[] | null
  fromGroups?: object[] | null
  toGroups?: object[] | null
  toPorts?: CiliumPortRule[] | null
  icmps?: { fields?: { family?: string; type: number | string }[] }[] | null
}

interface CiliumSpec {
  endpointSelector?: LabelSelector | null
  nodeSelector?: LabelSelector | null
  ingress?: CiliumRule[] | null
  ingressDeny?: CiliumRule[] | null
  egress?: CiliumRule[] | null
  egressDeny?: CiliumRule[] | null
  enableDefaultDeny?: { ingress?: boolean; egress?: boolean }
}

/** Order of deny parts in the tier: before everything else. */
const DENY_ORDER = Number.NEGATIVE_INFINITY
const ALLOW_ORDER = 1000
const NAMESPACE_KEY = 'io.kubernetes.pod.namespace'
const NAMESPACE_LABELS = 'io.cilium.k8s.namespace.labels.'
const SERVICE_ACCOUNT_KEY = 'io.cilium.k8s.policy.serviceaccount'
const CLUSTER_KEY = 'io.cilium.k8s.policy.cluster'

const ICMP_TYPES: Readonly<Record<string, readonly [number, number]>> = {
  EchoReply: [0, 129],
  DestinationUnreachable: [3, 1],
  Redirect: [5, 137],
  Echo: [8, 128],
  EchoRequest: [8, 128],
  RouterAdvertisement: [9, 134],
  RouterSelection: [10, 133],
  RouterSolicitation: [10, 133],
  TimeExceeded: [11, 3],
  ParameterProblem: [12, 4],
  Timestamp: [13, -1],
  TimestampReply: [14, -1],
  PacketTooBig: [-1, 2],
  NeighborSolicitation: [-1, 135],
  NeighborAdvertisement: [-1, 136],
}

/** The policies of an object: a deny and an allow part of `spec` and of each of `specs`. */
export function compileCiliumPolicy(sourced: Sourced<KubernetesObject>, input: PolicyInput): Policy[] {
  const { object } = sourced
  const specs: [CiliumSpec, FieldPath][] = []
  if (object.spec) specs.push([object.spec as CiliumSpec, ['spec']])
  for (const [i, spec] of ((object.specs as CiliumSpec[] | undefined) ?? []).entries()) specs.push([spec, ['specs', i]])
  return specs.flatMap(([spec, at]) => compileSpec(sourced, spec, at, input))
}

function compileSpec(
  sourced: Sourced<KubernetesObject>,
  spec: CiliumSpec,
  at: FieldPath,
  input: PolicyInput,
): Policy[] {
  const { object } = sourced
  const isClusterwide = object.kind === 'CiliumClusterwideNetworkPolicy'
  const namespace = isClusterwide ? '' : (object.metadata.namespace ?? 'default')
  const compiler = new RuleCompiler(namespace, input)
  const isolates = {
    ingress: spec.enableDefaultDeny?.ingress ?? (spec.ingress ?? []).length + (spec.ingressDeny ?? []).length > 0,
    egress: spec.enableDefaultDeny?.egress ?? (spec.egress ?? []).length + (spec.egressDeny ?? []).length > 0,
  }
  const direction = (way: 'ingress' | 'egress', isDeny: boolean): PolicyDirection | null => {
    const field = isDeny ? (`${way}Deny` as const) : way
    const rules = spec[field] ?? []
    // an isolating direction without rules is kept once
    if (rules.length === 0 && (isDeny || !isolates[way] || (spec[`${way}Deny`] ?? []).length > 0)) return null
    const compiled = rules.map((rule, i) => compiler.rule(rule ?? {}, way, isDeny, [...at, field, i]))
    return { rules: compiled, isolates: isolates[way] }
  }
  const part = (isDeny: boolean): Policy => ({
    kind: object.kind,
    apiVersion: object.apiVersion,
    namespace,
    name: object.metadata.name,
    source: sourced.source,
    positionOf: positionIn(sourced),
    tier: 'default',
    order: isDeny ? DENY_ORDER : ALLOW_ORDER,
    subject: subject(spec, at, namespace),
    subjectNamespace: namespace === '' ? null : namespace,
    ingress: direction('ingress', isDeny),
    egress: direction('egress', isDeny),
    staged: false,
    hasBlocks: true,
  })
  return [part(true), part(false)].filter((p) => p.ingress !== null || p.egress !== null)
}

function subject(spec: CiliumSpec, at: FieldPath, namespace: string): Alternative {
  if (!spec.endpointSelector) {
    const why = 'a nodeSelector policy is for the host firewall, not for pods'
    return { path: at, conditions: [{ t: 'never', path: [...at, 'nodeSelector'], why }], ports: null }
  }
  const path = [...at, 'endpointSelector']
  let expr = ciliumExpr(spec.endpointSelector)
  // an endpointSelector always applies in the policy's namespace, whatever it says about namespaces
  if (namespace !== '') {
    expr = and([eq('meta', META_NAMESPACE, namespace), ciliumExpr(withoutNamespace(spec.endpointSelector))])
  }
  return { path, conditions: [endpoints(path, expr)], ports: null }
}

function withoutNamespace(selector: LabelSelector): LabelSelector {
  const isNamespace = (key: string): boolean => bareKey(key) === NAMESPACE_KEY
  return {
    matchLabels: Object.fromEntries(Object.entries(selector.matchLabels ?? {}).filter(([k]) => !isNamespace(k))),
    matchExpressions: (selector.matchExpressions ?? []).filter((r) => !isNamespace(r.key)),
  }
}

function endpoints(path: FieldPath, expr: Expr): Condition {
  return { t: 'labels', path, expr, hostNetworkAsPod: false, sets: null, negate: false }
}

function bareKey(key: string): string {
  return key.replace(/^(?:k8s|any)[:.]/, '')
}

/** One requirement in terms of scopes. Reserved labels are no labels of pods. */
function requirement(r: SelectorRequirement): Expr {
  const key = bareKey(r.key)
  if (/^[a-z0-9-]+:/.test(key)) return r.operator === 'NotIn' || r.operator === 'DoesNotExist' ? TRUE : FALSE
  const scoped = (scope: 'pod' | 'namespace' | 'meta', name: string): Expr =>
    selectorExpr({ matchExpressions: [{ ...r, key: name }] }, scope)
  if (key === NAMESPACE_KEY) return scoped('meta', META_NAMESPACE)
  if (key.startsWith(NAMESPACE_LABELS)) return scoped('namespace', key.slice(NAMESPACE_LABELS.length))
  if (key === SERVICE_ACCOUNT_KEY) return scoped('meta', META_SERVICE_ACCOUNT)
  if (key === CLUSTER_KEY) {
    const values = r.values ?? []
    const isIt = r.operator === 'Exists' || (r.operator === 'In' && values.includes('default'))
    return isIt || (r.operator === 'NotIn' && !values.includes('default')) ? TRUE : FALSE
  }
  return scoped('pod', key)
}

function ciliumExpr(selector: LabelSelector): Expr {
  const labels = Object.entries(selector.matchLabels ?? {}).map(([key, value]) =>
    requirement({ key, operator: 'In', values: [value ?? ''] }),
  )
  return and([...labels, ...(selector.matchExpressions ?? []).map(requirement)])
}

class RuleCompiler {
  private readonly namespace: string
  private readonly input: PolicyInput

  constructor(namespace: string, input: PolicyInput) {
    this.namespace = namespace
    this.input = input
  }

  rule(rule: CiliumRule, way: 'ingress' | 'egress', isDeny: boolean, path: FieldPath): Rule {
    const side = way === 'ingress' ? 'from' : 'to'
    const ports = portsOf(rule, path)
    return {
      path,
      action: isDeny ? 'Deny' : 'Allow',
      self: null,
      peers: this.peers(rule, side, path, ports !== null),
      ports,
      sourcePorts: null,
      family: null,
      l7: (rule.toPorts ?? []).some((p) => p?.rules !== undefined && p.rules !== null),
    }
  }

  private peers(rule: CiliumRule, side: 'from' | 'to', path: FieldPath, hasPorts: boolean): Alternative[] | null {
    const found: Alternative[] = []
    let isListed = false
    const list = <T>(field: keyof CiliumRule, compile: (item: T, at: FieldPath) => Condition): void => {
      const items = rule[field] as readonly T[] | null | undefined
      if (items === undefined || items === null) return
      isListed = true
      for (const [i, item] of items.entries()) {
        const at = [...path, field, i]
        found.push({ path: at, conditions: [compile(item, at)], ports: null })
      }
    }
    list<LabelSelector | null>(`${side}Endpoints`, (s, at) => endpoints(at, this.endpointExpr(s ?? {})))
    list<string>(`${side}Entities`, (name, at) => ({ t: 'entities', path: at, names: [name] }))
    list<string>(`${side}CIDR`, (cidr, at) => outside(at, cidrRanges(cidr), cidr))
    list<{ cidr?: string; except?: string[] }>(`${side}CIDRSet`, (set, at) => {
      if (set.cidr === undefined) return { t: 'never', path: at, why: 'CIDR groups are not modelled' }
      return outside(at, cidrRanges(set.cidr, set.except ?? []), set.cidr)
    })
    list<LabelSelector>(`${side}Nodes`, (s, at) => ({ t: 'nodes', path: at, expr: selectorExpr(s, 'node') }))
    if (side === 'to') {
      list<object>('toFQDNs', (_f, at) => ({ t: 'never', path: at, why: 'toFQDNs are names, not addresses' }))
      list<NonNullable<CiliumRule['toServices']>[number]>('toServices', (s, at) => this.service(s, at))
    }
    list<object>(`${side}Groups`, (_g, at) => ({ t: 'never', path: at, why: 'cloud provider groups are not modelled' }))
    if (isListed) return found
    // nothing is said about the peer: with ports it is anyone, without it is nobody
    return hasPorts ? null : []
  }

  private endpointExpr(selector: LabelSelector): Expr {
    const raw = Object.keys(selector.matchLabels ?? {}).concat((selector.matchExpressions ?? []).map((r) => r.key))
    const expr = ciliumExpr(selector)
    if (raw.some((key) => key.startsWith('reserved:') || key.startsWith('reserved.'))) return expr
    if (raw.some((key) => bareKey(key) === NAMESPACE_KEY)) return expr
    if (this.namespace === '') return expr
    if (keysOf(expr, 'namespace').length > 0) return expr
    return and([eq('meta', META_NAMESPACE, this.namespace), expr])
  }

  private service(s: NonNullable<CiliumRule['toServices']>[number], at: FieldPath): Condition {
    const name = s.k8sService?.serviceName
    const namespace = s.k8sService?.namespace ?? this.namespace
    const service = this.input.services.find((x) => x.name === name && x.namespace === namespace)
    if (name === undefined) return { t: 'never', path: at, why: 'k8sServiceSelector is not modelled' }
    const ranges = unionRanges((service?.endpoints ?? []).map((e) => cidrRanges(e.ip) ?? NO_ADDRESSES))
    return { t: 'nets', path: at, ranges, pods: 'always', negate: false, text: `service ${namespace}/${name}` }
  }
}

function outside(path: FieldPath, ranges: AddressRanges | null, text: string): Condition {
  return { t: 'nets', path, ranges: ranges ?? NO_ADDRESSES, pods: 'never', negate: false, text }
}

function portsOf(rule: CiliumRule, path: FieldPath): PortMatch | null {
  if ((rule.icmps ?? []).length > 0) return { path: [...path, 'icmps'], set: icmpSet(rule), names: [], except: null }
  const rules = rule.toPorts ?? []
  if (rules.length === 0) return null
  let set: PortSet = NO_PORTS
  const names: PortName[] = []
  for (const [i, entry] of rules.entries()) {
    const ports = entry?.ports ?? []
    // serverNames or rules without ports are for every port
    if (ports.length === 0) set = ALL_PORTS
    for (const [j, p] of ports.entries()) {
      for (const protocol of protocolsOf(p.protocol)) {
        const text = String(p.port ?? '0')
        const isNumber = /^(?:0[xX][0-9a-fA-F]+|\d+)$/.test(text)
        const port = Number(text)
        if (!isNumber)
          names.push({ name: text.toLowerCase(), protocol, path: [...path, 'toPorts', i, 'ports', j, 'port'] })
        else if (port === 0) set = unionPorts(set, protocolPorts(protocol))
        else set = unionPorts(set, portRange(protocol, port, Math.max(port, p.endPort ?? 0)))
      }
    }
  }
  return { path: [...path, 'toPorts'], set, names, except: null }
}

/** A missing protocol and ANY are TCP, UDP and SCTP. */
function protocolsOf(protocol: string | undefined): PolicyProtocol[] {
  const upper = (protocol ?? 'ANY').toUpperCase()
  if (upper === 'ANY' || upper === '') return ['TCP', 'UDP', 'SCTP']
  return [upper === 'ICMPV6' ? 'ICMPv6' : (upper as PolicyProtocol)]
}

function icmpSet(rule: CiliumRule): PortSet {
  let set: PortSet = NO_PORTS
  for (const { fields } of rule.icmps ?? []) {
    for (const f of fields ?? []) {
      const isV6 = f.family === 'IPv6'
      const named = ICMP_TYPES[String(f.type)]
      const type = named === undefined ? Number(f.type) : named[isV6 ? 1 : 0]
      if (type >= 0 && type <= 255) set = unionPorts(set, icmpType(isV6 ? 'ICMPv6' : 'ICMP', type))
    }
  }
  return set
}
