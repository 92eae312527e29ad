/**
 * projectcalico.org/v3 (and crd.projectcalico.org/v1) policies, compiled.
 *
 * NetworkPolicy, GlobalNetworkPolicy and their staged kinds: ordered Allow, Deny, Log and Pass rules; both ends of a rule
 * have matches, of which one describes the selected pod itself. `types` default by which rules there are (unlike
 * Kubernetes: a policy with only egress rules is for egress only). A namespaced policy's selectors are confined to its
 * namespace as soon as one of selector, notSelector or serviceAccounts is used; without any the rule matches every
 * address. (Global)NetworkSets are addresses that a selector can select by label. `services` are the endpoints of a
 * Service, with their ports where they are the destination.
 *
 * preDNAT and doNotTrack policies are for host endpoints only: they select no pod. HTTP matches are noted, not decided.
 * Not modelled: HostEndpoints, notICMP codes beside types.
 * Sources: projectcalico api/v3, libcalico-go/lib/backend/syncersv1/updateprocessors/rules.go, felix/calc/rule_scanner.go
 * (extractSelectors).
 */
import type { FieldPath, KubernetesObject, Sourced, StringMap } from '../../kubernetes/types.ts'
import { and, type Expr, eq, FALSE, matches, not, or } from '../expr.ts'
import type { PolicyInput } from '../input.ts'
import type { Action, Alternative, Condition, Policy, PolicyDirection, PortMatch, PortName, Rule } from '../model.ts'
import { META_NAMESPACE, META_SERVICE_ACCOUNT, NO_LABELS } from '../model.ts'
import {
  ALL_PORTS,
  icmpType,
  NO_PORTS,
  type PolicyProtocol,
  type PortSet,
  portRange,
  protocolPorts,
  subtractPorts,
  unionPorts,
} from '../port-set.ts'
import { type AddressRanges, cidrRanges, NO_ADDRESSES, unionRanges } from '../ranges.ts'
import { calicoExpr, namespaceLabel, serviceAccountLabel, workloadLabel } from './calico-labels.ts'
import { positionIn } from './source.ts'

/** Addresses that carry labels. */
export interface NetworkSet {
  readonly labels: Readonly<{
    pod: StringMap
    namespace: StringMap
    meta: StringMap
    serviceaccount: StringMap
    node: StringMap
  }>
  readonly ranges: AddressRanges
}

interface EntityRule {
  nets?: string[]
  notNets?: string[]
  selector?: string
  notSelector?: string
  namespaceSelector?: string
  serviceAccounts?: { names?: string[]; selector?: string }
  services?: { name?: string; namespace?: string }
  ports?: (number | string)[]
  notPorts?: (number | string)[]
}

interface CalicoRule {
  action: Action
  ipVersion?: 4 | 6
  protocol?: string | number
  notProtocol?: string | number
  icmp?: { type?: number; code?: number }
  notICMP?: { type?: number; code?: number }
  source?: EntityRule
  destination?: EntityRule
  http?: unknown
}

interface CalicoSpec {
  tier?: string
  order?: number | null
  selector?: string
  namespaceSelector?: string
  serviceAccountSelector?: string
  types?: string[]
  ingress?: CalicoRule[]
  egress?: CalicoRule[]
  preDNAT?: boolean
  doNotTrack?: boolean
  stagedAction?: string
}

const META_LABELS: StringMap = { orchestrator: 'k8s' }

/** The network sets among the objects. */
export function networkSets(input: PolicyInput): NetworkSet[] {
  const sets: NetworkSet[] = []
  for (const { object } of input.objects) {
    if (object.kind !== 'NetworkSet' && object.kind !== 'GlobalNetworkSet') continue
    const nets = (object.spec as { nets?: string[] } | undefined)?.nets ?? []
    const namespace = object.kind === 'NetworkSet' ? (object.metadata.namespace ?? 'default') : undefined
    sets.push({
      labels: {
        ...NO_LABELS,
        pod: object.metadata.labels ?? {},
        namespace: namespace === undefined ? {} : (input.namespaces.get(namespace) ?? {}),
        meta: namespace === undefined ? {} : { [META_NAMESPACE]: namespace },
      },
      ranges: unionRanges(nets.map((n) => cidrRanges(n) ?? NO_ADDRESSES)),
    })
  }
  return sets
}

/** The policy; null for a staged deletion, which is no policy. */
export function compileCalicoPolicy(
  sourced: Sourced<KubernetesObject>,
  input: PolicyInput,
  sets: readonly NetworkSet[],
): Policy | null {
  const { object } = sourced
  const spec = (object.spec ?? {}) as CalicoSpec
  const isStaged = object.kind.startsWith('Staged')
  if (isStaged && spec.stagedAction === 'Delete') return null
  const isGlobal = object.kind.includes('Global')
  const namespace = isGlobal ? '' : (object.metadata.namespace ?? 'default')
  const types = spec.types ?? defaultTypes(spec)
  const compiler = new RuleCompiler(namespace, input, sets)
  const direction = (field: 'ingress' | 'egress'): PolicyDirection => ({
    rules: (spec[field] ?? []).map((rule, i) => compiler.rule(rule, field, i)),
    isolates: true,
  })
  const isForHosts = spec.preDNAT === true || spec.doNotTrack === true
  return {
    kind: object.kind,
    apiVersion: object.apiVersion,
    namespace,
    name: object.metadata.name,
    source: sourced.source,
    positionOf: positionIn(sourced),
    tier: spec.tier === undefined || spec.tier === '' ? 'default' : spec.tier,
    order: spec.order ?? Number.POSITIVE_INFINITY,
    subject: subject(spec, namespace, isForHosts),
    subjectNamespace: namespace === '' ? null : namespace,
    ingress: types.includes('Ingress') ? direction('ingress') : null,
    egress: types.includes('Egress') ? direction('egress') : null,
    staged: isStaged,
    hasBlocks: true,
  }
}

function defaultTypes(spec: CalicoSpec): string[] {
  const isEgress = (spec.egress ?? []).length > 0
  const isIngress = (spec.ingress ?? []).length > 0
  return isEgress ? (isIngress ? ['Ingress', 'Egress'] : ['Egress']) : ['Ingress']
}

function podLabels(path: FieldPath, expr: Expr): Condition {
  return { t: 'labels', path, expr, hostNetworkAsPod: false, sets: null, negate: false }
}

function subject(spec: CalicoSpec, namespace: string, isForHosts: boolean): Alternative {
  const path: FieldPath = ['spec', 'selector']
  if (isForHosts) {
    const why = 'preDNAT and doNotTrack policies are for host endpoints'
    return { path, conditions: [{ t: 'never', path: ['spec'], why }], ports: null }
  }
  const conditions = [podLabels(path, withOrchestrator(calicoExpr(spec.selector, workloadLabel)))]
  if (namespace !== '') conditions.unshift(podLabels(['metadata', 'namespace'], eq('meta', META_NAMESPACE, namespace)))
  if (spec.namespaceSelector) {
    conditions.push(podLabels(['spec', 'namespaceSelector'], calicoExpr(spec.namespaceSelector, namespaceLabel)))
  }
  if (spec.serviceAccountSelector) {
    const expr = calicoExpr(spec.serviceAccountSelector, serviceAccountLabel)
    conditions.push(podLabels(['spec', 'serviceAccountSelector'], expr))
  }
  return { path, conditions, ports: null }
}

/** `projectcalico.org/orchestrator` is the same on every workload endpoint: decided here. */
function withOrchestrator(expr: Expr): Expr {
  switch (expr.op) {
    case 'in':
    case 'has':
    case 'text':
      if (expr.scope !== 'meta' || expr.key !== 'orchestrator') return expr
      return matches(expr, { labels: { ...NO_LABELS, meta: META_LABELS } }) ? { op: 'true' } : FALSE
    case 'not':
      return not(withOrchestrator(expr.of))
    case 'and':
      return and(expr.of.map(withOrchestrator))
    case 'or':
      return or(expr.of.map(withOrchestrator))
    default:
      return expr
  }
}

class RuleCompiler {
  private readonly namespace: string
  private readonly input: PolicyInput
  private readonly sets: readonly NetworkSet[]

  constructor(namespace: string, input: PolicyInput, sets: readonly NetworkSet[]) {
    this.namespace = namespace
    this.input = input
    this.sets = sets
  }

  rule(rule: CalicoRule, field: 'ingress' | 'egress', index: number): Rule {
    const path: FieldPath = ['spec', field, index]
    const source = this.entity(rule.source ?? {}, [...path, 'source'], false)
    const destination = this.entity(rule.destination ?? {}, [...path, 'destination'], true)
    const [own, peer] = field === 'ingress' ? [destination, source] : [source, destination]
    const protocols = protocolsOf(rule)
    const families = familiesOf(rule)
    return {
      path,
      action: rule.action,
      self: own.length === 0 ? null : (own[0] ?? null),
      peers: families.length === 0 ? [] : peer.length === 0 ? null : peer,
      ports: portMatch(rule, rule.destination ?? {}, protocols, [...path, 'destination']),
      sourcePorts: hasPorts(rule.source) ? portMatch(rule, rule.source!, protocols, [...path, 'source']) : null,
      family: families.length === 1 ? families[0]! : null,
      l7: rule.http !== undefined && rule.http !== null,
    }
  }

  /** The alternatives of one end; none when it matches everything. */
  private entity(e: EntityRule, path: FieldPath, isDestination: boolean): Alternative[] {
    if (e.services?.name) return this.services(e.services, path, isDestination)
    const conditions: Condition[] = []
    const accounts = serviceAccountsExpr(e.serviceAccounts ?? {})
    const hasAccounts = accounts.op !== 'true'
    const hasSelector = Boolean(e.selector || e.notSelector || hasAccounts || e.namespaceSelector)
    if (hasSelector) {
      const parts: Expr[] = []
      let at: FieldPath = [...path, 'selector']
      if (e.namespaceSelector) {
        at = e.selector ? at : [...path, 'namespaceSelector']
        parts.push(namespaceSelectorExpr(e.namespaceSelector))
      } else if (this.namespace !== '') parts.push(eq('meta', META_NAMESPACE, this.namespace))
      if (e.selector) parts.push(withOrchestrator(calicoExpr(e.selector, workloadLabel)))
      parts.push(accounts)
      const isRestricted = e.namespaceSelector || e.selector || hasAccounts || this.namespace !== ''
      const excluded = e.notSelector ? withOrchestrator(calicoExpr(e.notSelector, workloadLabel)) : FALSE
      // beside a positive match Felix folds notSelector into it: whatever at the address satisfies both will do
      if (isRestricted) conditions.push(this.selected(at, and([...parts, not(excluded)]), false))
      else conditions.push(this.selected([...path, 'notSelector'], excluded, true))
    }
    if (e.nets && e.nets.length > 0) conditions.push(nets([...path, 'nets'], e.nets, false))
    if (e.notNets && e.notNets.length > 0) conditions.push(nets([...path, 'notNets'], e.notNets, true))
    return conditions.length === 0 ? [] : [{ path, conditions, ports: null }]
  }

  private selected(path: FieldPath, expr: Expr, negate: boolean): Condition {
    const chosen = this.sets.filter((s) => matches(expr, s)).map((s) => s.ranges)
    const sets = chosen.length === 0 ? null : unionRanges(chosen)
    return { t: 'labels', path, expr, hostNetworkAsPod: false, sets, negate }
  }

  private services(s: { name?: string; namespace?: string }, path: FieldPath, isDestination: boolean): Alternative[] {
    const namespace = s.namespace || this.namespace
    const service = this.input.services.find((x) => x.name === s.name && x.namespace === namespace)
    const at = [...path, 'services']
    const text = `endpoints of service ${namespace}/${s.name}`
    if (service === undefined || service.endpoints.length === 0) {
      return [{ path: at, conditions: [{ t: 'never', path: at, why: `${text}: there are none` }], ports: null }]
    }
    const byPort = new Map<string, { ports: PortSet | null; ips: AddressRanges[] }>()
    for (const e of service.endpoints) {
      const key = isDestination ? `${e.protocol}/${e.port}` : ''
      const entry = byPort.get(key) ?? { ports: isDestination ? portRange(e.protocol, e.port) : null, ips: [] }
      entry.ips.push(cidrRanges(e.ip) ?? NO_ADDRESSES)
      byPort.set(key, entry)
    }
    return [...byPort.values()].map(({ ports, ips }) => ({
      path: at,
      conditions: [{ t: 'nets', path: at, ranges: unionRanges(ips), pods: 'always', negate: false, text }],
      ports,
    }))
  }
}

function namespaceSelectorExpr(text: string): Expr {
  const inNamespace: Expr = { op: 'has', scope: 'meta', key: META_NAMESPACE }
  // all() is "any workload that is in a namespace", not any endpoint
  return calicoExpr(text, namespaceLabel, not(inNamespace), inNamespace)
}

function serviceAccountsExpr(accounts: { names?: string[]; selector?: string }): Expr {
  const parts: Expr[] = []
  if (accounts.selector) parts.push(calicoExpr(accounts.selector, serviceAccountLabel))
  if (accounts.names && accounts.names.length > 0) {
    parts.push({ op: 'in', scope: 'meta', key: META_SERVICE_ACCOUNT, values: accounts.names })
  }
  return and(parts)
}

function nets(path: FieldPath, texts: readonly string[], negate: boolean): Condition {
  const ranges = unionRanges(texts.map((n) => cidrRanges(n) ?? NO_ADDRESSES))
  return { t: 'nets', path, ranges, pods: 'always', negate, text: texts.join(', ') }
}

function hasPorts(e: EntityRule | undefined): boolean {
  return (e?.ports ?? []).length > 0 || (e?.notPorts ?? []).length > 0
}

function protocolNumbers(protocol: string | number): PortSet {
  if (typeof protocol === 'number' || /^\d+$/.test(protocol)) return protocolPorts(Number(protocol))
  return protocol.toLowerCase() === 'udplite' ? protocolPorts(136) : protocolPorts(canonical(protocol))
}

function canonical(protocol: string): PolicyProtocol {
  const upper = protocol.toUpperCase()
  return upper === 'ICMPV6' ? 'ICMPv6' : (upper as PolicyProtocol)
}

/** What protocol, notProtocol, icmp and notICMP leave; null when the rule names none of them. */
function protocolsOf(rule: CalicoRule): PortSet | null {
  let set: PortSet = ALL_PORTS
  if (rule.protocol !== undefined) set = protocolNumbers(rule.protocol)
  if (rule.notProtocol !== undefined) set = subtractPorts(set, protocolNumbers(rule.notProtocol))
  const icmp = rule.protocol !== undefined && String(rule.protocol).toLowerCase().includes('v6') ? 'ICMPv6' : 'ICMP'
  if (rule.icmp?.type !== undefined) set = icmpType(icmp, rule.icmp.type, rule.icmp.code)
  if (rule.notICMP?.type !== undefined) set = subtractPorts(set, icmpType(icmp, rule.notICMP.type, rule.notICMP.code))
  return set === ALL_PORTS ? null : set
}

/**
 * The families whose tables Felix writes the rule to: a list of blocks without one of a family takes the rule out of that
 * family's, also a list of notNets (felix/rules/policy.go, filterNets).
 */
function familiesOf(rule: CalicoRule): (4 | 6)[] {
  const said = rule.ipVersion ?? icmpFamily(rule)
  const lists = [rule.source, rule.destination].flatMap((e) => [e?.nets ?? [], e?.notNets ?? []])
  return ([4, 6] as const).filter(
    (family) =>
      (said === null || said === family) &&
      lists.every((list) => list.length === 0 || list.some((net) => net.includes(':') === (family === 6))),
  )
}

function icmpFamily(rule: CalicoRule): 4 | 6 | null {
  const protocol = String(rule.protocol ?? '').toLowerCase()
  return protocol === 'icmpv6' || protocol === '58' ? 6 : protocol === 'icmp' || protocol === '1' ? 4 : null
}

function portMatch(rule: CalicoRule, e: EntityRule, protocols: PortSet | null, path: FieldPath): PortMatch | null {
  const isPorted = hasPorts(e)
  if (!isPorted)
    return protocols === null
      ? null
      : { path: [...path.slice(0, -1), 'protocol'], set: protocols, names: [], except: null }
  const protocol = canonical(
    typeof rule.protocol === 'number'
      ? rule.protocol === 17
        ? 'UDP'
        : rule.protocol === 132
          ? 'SCTP'
          : 'TCP'
      : String(rule.protocol ?? 'TCP'),
  )
  const list = (items: readonly (number | string)[], field: string): { set: PortSet; names: PortName[] } => {
    let set: PortSet = NO_PORTS
    const names: PortName[] = []
    for (const [i, item] of items.entries()) {
      const range = typeof item === 'number' ? [item, item] : /^(\d+)(?::(\d+))?$/.exec(item)?.slice(1).map(Number)
      if (range === undefined) names.push({ name: String(item), protocol, path: [...path, field, i] })
      else set = unionPorts(set, portRange(protocol, range[0]!, Number.isNaN(range[1]!) ? range[0]! : range[1]!))
    }
    return { set, names }
  }
  const positive = (e.ports ?? []).length > 0 ? list(e.ports!, 'ports') : { set: protocols ?? ALL_PORTS, names: [] }
  const except = (e.notPorts ?? []).length > 0 ? list(e.notPorts!, 'notPorts') : null
  return { path: [...path, (e.ports ?? []).length > 0 ? 'ports' : 'notPorts'], ...positive, except }
}
