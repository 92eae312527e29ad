/**
 * A rule of Calico's API (projectcalico.org/v3) as Felix calculates with it.
 *
 * Real thing: libcalico-go/lib/backend/syncersv1/updateprocessors/rules.go (RuleAPIV2ToBackend, getEndpointSelector,
 * parseServiceAccounts), felix/calc/rule_scanner.go (ruleToParsedRule, extractSelectors). A namespaced policy's selectors
 * reach its own namespace unless namespaceSelector is given; service accounts are labels; a negated selector beside a
 * positive one is folded into it; a named port's set is filtered by the positive selector.
 * Not modelled: HTTP matches (they need Envoy), which are named in a warning by the reader.
 */
import { parseCalicoSelector, prefixLabels } from '../../kubernetes/calico/selector.ts'
import { ipv4Net } from './endpoints.ts'
import type { IpSetIndex } from './ip-sets.ts'
import type { EntityMatch, FelixProtocol, IcmpMatch, PolicyAction, PolicyRule, PortRange } from './policy-model.ts'

/** Any JSON object. */
export type Json = Readonly<Record<string, unknown>>

const NAMED_PROTOCOLS = ['tcp', 'udp', 'sctp']

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : []
}

/** `TCP`, `tcp`, 6 or `6`. */
export function protocolOf(value: unknown): FelixProtocol | undefined {
  if (value === undefined || value === null || value === '') return undefined
  const n = Number(value)
  return Number.isInteger(n) ? n : String(value).toLowerCase()
}

/** Ports as numbers and ranges, and the named ones. */
export function splitPorts(value: unknown): { numeric: PortRange[]; named: string[] } {
  const numeric: PortRange[] = []
  const named: string[] = []
  for (const p of Array.isArray(value) ? (value as unknown[]) : []) {
    const m = /^(\d+)(?::(\d+))?$/.exec(String(p))
    if (m === null) named.push(String(p))
    else numeric.push({ first: Number(m[1]), last: Number(m[2] ?? m[1]) })
  }
  return { numeric, named }
}

/** parseServiceAccounts: as a selector on labels. */
function serviceAccountSelector(value: unknown): string {
  if (typeof value !== 'object' || value === null) return ''
  const { names, selector } = value as Json
  const byLabel = typeof selector === 'string' && selector !== '' ? prefixLabels(selector, 'pcsa.') : ''
  const list = strings(names)
  if (list.length === 0) return byLabel
  const byName = parseCalicoSelector(`projectcalico.org/serviceaccount in { '${list.join("', '")}' }`).text
  return byLabel === '' ? byName : `(${byLabel}) && (${byName})`
}

/** Labels of namespaces in a namespaceSelector, as endpoints inherit them. */
export function namespaceSelector(text: string): string {
  return prefixLabels(text, 'pcns.')
    .replaceAll('all()', 'has(projectcalico.org/namespace)')
    .replaceAll('global()', '!has(projectcalico.org/namespace)')
}

/** getEndpointSelector: the one selector of a side of a rule. */
export function entitySelector(entity: Json, namespace: string): string {
  const ns = String(entity.namespaceSelector ?? '')
  const notSelector = String(entity.notSelector ?? '')
  const nsSelector =
    ns !== '' ? namespaceSelector(ns) : namespace === '' ? '' : `projectcalico.org/namespace == '${namespace}'`
  const parts = [serviceAccountSelector(entity.serviceAccounts), String(entity.selector ?? '')].filter((s) => s !== '')
  const selector = parts.length > 1 ? `(${parts.join(') && (')})` : (parts[0] ?? '')
  if (nsSelector === '' || (selector === '' && notSelector === '' && ns === '')) return selector
  return selector === '' ? nsSelector : `(${nsSelector}) && (${selector})`
}

/** One side of a rule, its selectors as ip sets. */
export function entityMatch(
  entity: Json,
  namespace: string,
  protocol: FelixProtocol | undefined,
  sets: IpSetIndex,
  side: 'source' | 'destination',
): EntityMatch {
  let positive = entitySelector(entity, namespace)
  let negative = String(entity.notSelector ?? '')
  if (positive !== '' && negative !== '') {
    positive = `(${positive}) && (!(${negative}))`
    negative = ''
  }
  const ports = splitPorts(entity.ports)
  const notPorts = splitPorts(entity.notPorts)
  const namedProtocol = NAMED_PROTOCOLS.includes(String(protocol)) ? String(protocol) : 'tcp'
  const named = (names: readonly string[]): string[] =>
    names.map((n) => sets.namedPort(positive === '' ? 'all()' : positive, namedProtocol, n))
  // named ports are filtered by the selector already
  const needsSelector = positive !== '' && (ports.numeric.length > 0 || ports.named.length === 0)
  const service = entity.services as Json | undefined
  const serviceNamespace = String(service?.namespace ?? namespace)
  const serviceName = service === undefined || service === null ? '' : String(service.name ?? '')
  return {
    nets: strings(entity.nets).flatMap(ipv4Net),
    notNets: strings(entity.notNets).flatMap(ipv4Net),
    ports: ports.numeric,
    notPorts: notPorts.numeric,
    ipSetIds: [
      ...(needsSelector ? [sets.selector(positive)] : []),
      ...(serviceName !== '' && side === 'source' ? [sets.service(serviceNamespace, serviceName, false)] : []),
    ],
    notIpSetIds: negative === '' ? [] : [sets.selector(negative)],
    ipPortSetIds:
      serviceName !== '' && side === 'destination' ? [sets.service(serviceNamespace, serviceName, true)] : [],
    namedPortIds: named(ports.named),
    notNamedPortIds: named(notPorts.named),
  }
}

function icmpOf(value: unknown): IcmpMatch | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { type, code } = value as Json
  if (type === undefined) return undefined
  return { type: Number(type), ...(code !== undefined && { code: Number(code) }) }
}

/** True for a rule that IPv4 packets can match: not for IPv6, and not with nets of IPv6 alone. */
function isForIpv4(rule: Json): boolean {
  if (rule.ipVersion !== undefined && Number(rule.ipVersion) !== 4) return false
  for (const side of ['source', 'destination']) {
    const entity = (rule[side] ?? {}) as Json
    for (const field of ['nets', 'notNets']) {
      const nets = strings(entity[field])
      if (nets.length > 0 && nets.flatMap(ipv4Net).length === 0) return false
      // nothing is outside of everything: Felix drops the rule
      if (field === 'notNets' && nets.includes('0.0.0.0/0')) return false
    }
  }
  return true
}

/**
 * True for a rule whose IPv4 text no iptables takes: Felix writes `-m icmp` for ICMPv6 too, and for notICMP without any
 * protocol; the match wants `-p icmp`. (felix/rules/policy.go; libcalico's validation lets both pass.)
 */
export function hasRefusedIcmp(rule: Json): boolean {
  const protocol = protocolOf(rule.protocol)
  if (protocol === 'icmp' || protocol === 1 || !isForIpv4(rule)) return false
  return icmpOf(rule.icmp) !== undefined || icmpOf(rule.notICMP) !== undefined
}

/** A rule of the API; null when it says nothing about IPv4. */
export function convertRule(
  rule: Json,
  namespace: string,
  sets: IpSetIndex,
  place: Pick<PolicyRule, 'path' | 'at'>,
): PolicyRule | null {
  if (!isForIpv4(rule)) return null
  const protocol = protocolOf(rule.protocol)
  const notProtocol = protocolOf(rule.notProtocol)
  const icmp = icmpOf(rule.icmp)
  const notIcmp = icmpOf(rule.notICMP)
  const annotations = (rule.metadata as Json | undefined)?.annotations
  return {
    action: String(rule.action ?? 'Allow').toLowerCase() as PolicyAction,
    ...(protocol !== undefined && { protocol }),
    ...(notProtocol !== undefined && { notProtocol }),
    ...(icmp !== undefined && { icmp }),
    ...(notIcmp !== undefined && { notIcmp }),
    source: entityMatch((rule.source ?? {}) as Json, namespace, protocol, sets, 'source'),
    destination: entityMatch((rule.destination ?? {}) as Json, namespace, protocol, sets, 'destination'),
    annotations: Object.entries((annotations ?? {}) as Record<string, string>),
    ...place,
  }
}
