/**
 * cilium.io: what Cilium's agent refuses (the policy is then stored but marked invalid and not enforced).
 *
 * Sources: cilium pkg/policy/api/rule_validation.go (Rule.Validate, IngressCommonRule, PortRule, CIDRRule), entity.go,
 * pkg/k8s/apis/cilium.io/v2 cnp_types.go.
 */
import { cidrContains, parseCidr } from '../addr/cidr.ts'
import { parseIpv4 } from '../addr/ipv4.ts'
import { parseIpv6 } from '../addr/ipv6.ts'
import { checkSelector, type Findings } from './findings.ts'
import type { FieldPath, KubernetesObject, LabelSelector } from './types.ts'

type Fields = Record<string, unknown>

const ENTITIES = new Set(
  ['all', 'world', 'world-ipv4', 'world-ipv6', 'cluster', 'host', 'init', 'ingress', 'unmanaged'].concat([
    ...['remote-node', 'health', 'none', 'kube-apiserver'],
  ]),
)
const PROTOCOLS = /^(ANY|TCP|UDP|SCTP|ICMP|ICMPV6|VRRP|IGMP|)$/i
const SERVICE_NAME = /^(?=.{1,15}$)(?=.*[A-Za-z])[A-Za-z0-9]+(-[A-Za-z0-9]+)*$/
const MAX_PORTS = 40
const L3_FIELDS = {
  ingress: ['fromEndpoints', 'fromCIDR', 'fromCIDRSet', 'fromEntities', 'fromNodes', 'fromGroups'],
  egress: ['toCIDR', 'toCIDRSet', 'toEndpoints', 'toEntities', 'toServices', 'toFQDNs', 'toGroups', 'toNodes'],
} as const

/** Checks one policy whose shape is right. */
export function checkCiliumPolicy(object: KubernetesObject, findings: Findings): void {
  if (!object.spec && !((object.specs as unknown[] | undefined) ?? []).length) {
    findings.error(
      ['spec'],
      'expected spec or specs, found neither: Invalid CiliumNetworkPolicy spec(s): empty policy',
      undefined,
      'missing-field',
    )
    return
  }
  if (object.spec) checkSpec(object.spec as Fields, ['spec'], findings)
  for (const [i, spec] of ((object.specs ?? []) as Fields[]).entries()) checkSpec(spec, ['specs', i], findings)
}

function items(value: unknown): Fields[] {
  return Array.isArray(value) ? (value as Fields[]) : []
}

function checkSpec(spec: Fields, path: FieldPath, findings: Findings): void {
  const fields = ['ingress', 'ingressDeny', 'egress', 'egressDeny'] as const
  if (fields.every((f) => items(spec[f]).length === 0)) {
    findings.error(
      path,
      'expected a rule, found none: rule must have at least one of Ingress, IngressDeny, Egress, EgressDeny',
      'Cilium stores such a policy but does not enforce it; deny everything with ingress: [{}]',
      'missing-field',
    )
  }
  const hasEndpoints = spec.endpointSelector !== undefined && spec.endpointSelector !== null
  const hasNodes = spec.nodeSelector !== undefined && spec.nodeSelector !== null
  if (!hasEndpoints && !hasNodes) {
    findings.error(
      path,
      'expected endpointSelector or nodeSelector, found neither: rule must have one of EndpointSelector or NodeSelector',
      undefined,
      'missing-field',
    )
  }
  if (hasEndpoints && hasNodes) {
    findings.error(
      [...path, 'nodeSelector'],
      'expected one selector, found two: rule cannot have both EndpointSelector and NodeSelector',
    )
  }
  checkSelector(spec.endpointSelector as LabelSelector | undefined, [...path, 'endpointSelector'], findings)
  checkSelector(spec.nodeSelector as LabelSelector | undefined, [...path, 'nodeSelector'], findings)
  for (const field of fields) {
    const way = field.startsWith('ingress') ? 'ingress' : 'egress'
    for (const [i, rule] of items(spec[field]).entries()) {
      checkRule(rule ?? {}, [...path, field, i], way, field.endsWith('Deny'), hasNodes, findings)
    }
  }
}

function checkRule(
  rule: Fields,
  path: FieldPath,
  way: 'ingress' | 'egress',
  isDeny: boolean,
  isHost: boolean,
  findings: Findings,
): void {
  const side = way === 'ingress' ? 'from' : 'to'
  const used = L3_FIELDS[way].filter((f) => items(rule[f]).length > 0)
  if (used.length > 1) {
    const [a, b] = used.map((f) => f[0]!.toUpperCase() + f.slice(1))
    findings.error(
      path,
      `expected one kind of peer, found ${used.join(' and ')}: combining ${a} and ${b} is not supported yet`,
    )
  }
  if (way === 'egress' && used.includes('toServices') && items(rule.toPorts).length > 0) {
    findings.error(path, 'expected no toPorts beside toServices: combining ToServices and ToPorts is not supported yet')
  }
  if (items(rule.icmps).length > 0 && items(rule.toPorts).length > 0) {
    findings.error(
      path,
      'expected icmps or toPorts, found both: the ICMPs block may only be present without ToPorts. Define a separate rule to use ToPorts',
    )
  }
  for (const f of [`${side}Endpoints`, `${side}Nodes`, `${side}Requires`]) {
    for (const [i, s] of items(rule[f]).entries()) checkSelector(s as LabelSelector, [...path, f, i], findings)
  }
  for (const [i, entity] of ((rule[`${side}Entities`] ?? []) as string[]).entries()) {
    if (!ENTITIES.has(entity)) {
      findings.error(
        [...path, `${side}Entities`, i],
        `expected one of ${[...ENTITIES].join(', ')}, found "${entity}": unsupported entity: ${entity}`,
      )
    }
  }
  for (const [i, text] of ((rule[`${side}CIDR`] ?? []) as string[]).entries()) {
    if (parseCidr(text) === null && parseIpv4(text) === null && parseIpv6(text) === null) {
      findings.error(
        [...path, `${side}CIDR`, i],
        `expected a CIDR or an address, found "${text}": unable to parse CIDR`,
      )
    }
  }
  for (const [i, set] of items(rule[`${side}CIDRSet`]).entries())
    checkCidrSet(set, [...path, `${side}CIDRSet`, i], findings)
  for (const [i, ports] of items(rule.toPorts).entries())
    checkPorts(ports ?? {}, [...path, 'toPorts', i], way, isDeny, isHost, findings)
}

function checkCidrSet(set: Fields, path: FieldPath, findings: Findings): void {
  const count = [set.cidr, set.cidrGroupRef, set.cidrGroupSelector].filter((v) => v !== undefined && v !== '').length
  if (count !== 1) {
    const words =
      count === 0
        ? 'one of cidr, cidrGroupRef, or cidrGroupSelector is required'
        : 'more than one of cidr, cidrGroupRef, or cidrGroupSelector may not be set'
    findings.error(path, `expected exactly one of cidr, cidrGroupRef and cidrGroupSelector, found ${count}: ${words}`)
  }
  if (typeof set.cidr !== 'string') return
  const cidr = parseCidr(set.cidr)
  if (cidr === null) {
    findings.error([...path, 'cidr'], `expected a CIDR, found "${set.cidr}": unable to parse CIDRRule "${set.cidr}"`)
    return
  }
  for (const [i, text] of ((set.except ?? []) as string[]).entries()) {
    const except = parseCidr(text)
    const at = [...path, 'except', i]
    if (except === null) findings.error(at, `expected a CIDR, found "${text}"`)
    else if (!cidrContains(cidr, except) && !cidrContains(except, cidr)) {
      findings.error(
        at,
        `expected a part of ${set.cidr}, found ${text}: allow CIDR prefix ${set.cidr} does not contain exclude CIDR prefix ${text}`,
      )
    }
  }
}

function checkPorts(
  entry: Fields,
  path: FieldPath,
  way: 'ingress' | 'egress',
  isDeny: boolean,
  isHost: boolean,
  findings: Findings,
): void {
  const ports = items(entry.ports)
  if (ports.length > MAX_PORTS) {
    findings.error(
      [...path, 'ports'],
      `expected at most ${MAX_PORTS} ports, found ${ports.length}: too many ports, the max is ${MAX_PORTS}`,
    )
  }
  const rules = entry.rules as Fields | undefined | null
  const dns = items(rules?.dns)
  const isL7 = rules !== undefined && rules !== null && Object.keys(rules).length > 0
  if (isL7 && isDeny) findings.warning([...path, 'rules'], 'L7 rules are ignored in a deny rule')
  if (dns.length > 0 && way === 'ingress')
    findings.error([...path, 'rules', 'dns'], 'expected no dns rules on ingress: DNS rules are not allowed on ingress')
  if (dns.length > 0 && ports.length === 0)
    findings.error([...path, 'rules', 'dns'], 'expected port 53: port 53 must be specified for DNS rules')
  if (isL7 && isHost)
    findings.error(
      [...path, 'rules'],
      `expected no L7 rules beside nodeSelector: L7 policy is not supported on host ${way} yet`,
    )
  const kinds = ['http', 'kafka', 'dns', 'l7proto'].filter((k) => rules?.[k] !== undefined && rules[k] !== null)
  if (kinds.length > 1)
    findings.error(
      [...path, 'rules'],
      `expected rules of one protocol, found ${kinds.join(' and ')}: multiple L7 protocol rule types specified in single rule`,
    )
  for (const [i, p] of ports.entries()) {
    const at = [...path, 'ports', i]
    const text = p.port === undefined ? '' : String(p.port)
    const protocol = String(p.protocol ?? '')
    const number = /^(?:0[xX][0-9a-fA-F]+|\d+)$/.test(text) ? Number(text) : null
    if (p.port !== undefined && typeof p.port !== 'string') {
      findings.error([...at, 'port'], `expected a string, found ${JSON.stringify(p.port)}`, 'quote it', 'wrong-type')
    } else if (text === '')
      findings.error(
        [...at, 'port'],
        'expected a port, found nothing: port must be specified',
        undefined,
        'missing-field',
      )
    else if (number === null ? !SERVICE_NAME.test(text) : number > 65535) {
      findings.error([...at, 'port'], `expected 0-65535 or a port name, found "${text}": unable to parse port`)
    }
    if (!PROTOCOLS.test(protocol)) {
      findings.error([...at, 'protocol'], `expected TCP, UDP, SCTP or ANY, found "${protocol}": invalid protocol`)
    } else if (isL7 && dns.length === 0 && protocol.toUpperCase() !== 'TCP') {
      findings.error(
        [...at, 'protocol'],
        `expected TCP beside L7 rules, found ${protocol === '' ? 'ANY' : protocol}: L7 rules can only apply to TCP (not ${protocol === '' ? 'ANY' : protocol}) except for DNS rules`,
      )
    }
    if (isL7 && number === 0)
      findings.error(
        [...at, 'port'],
        'expected a port above 0 beside L7 rules: L7 rules can not be used when a port is 0',
      )
  }
}
