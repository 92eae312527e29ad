/**
 * projectcalico.org: what Calico's validation refuses beyond types and required fields.
 *
 * Sources: projectcalico libcalico-go/lib/validator/v3/validator.go (validateRule, validateEntityRule,
 * validateGlobalNetworkPolicySpec, validateTier), api/v3 policy_common.go (the CRDs' CEL rules),
 * api/pkg/lib/numorstring.
 */
import { parseCidr } from '../addr/cidr.ts'
import { parseIpv4 } from '../addr/ipv4.ts'
import { parseIpv6 } from '../addr/ipv6.ts'
import type { Diagnostics } from '../diagnostics/diagnostic.ts'
import { parseCalicoSelector } from './calico-selector.ts'
import type { Findings } from './findings.ts'
import type { FieldPath, KubernetesObject, LoadedObject } from './types.ts'

type Fields = Record<string, unknown>

const PROTOCOL = /^(tcp|udp|icmp|icmpv6|sctp|udplite)$/i
const PORTED = /^(tcp|udp|sctp|6|17|132)$/i
const TIER_ORDERS: Readonly<Record<string, number>> = {
  default: 1_000_000,
  'kube-admin': 1_000,
  'kube-baseline': 10_000_000,
}
const NAME = /^([a-z0-9]([-a-z0-9]*[a-z0-9])?\.)*[a-z0-9]([-a-z0-9]*[a-z0-9])?$/
const TIER_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/
const GLOBAL_ONLY = 'global() can only be used in an EntityRule namespaceSelector'
const PORTS_MESSAGE = 'rules that specify ports must set protocol to TCP or UDP or SCTP'

/** Policies in a tier that no Tier declares: the API server refuses them, Felix would order the tier last. */
export function checkTiers(objects: readonly LoadedObject[], diagnostics: Diagnostics): void {
  const isCalico = (o: LoadedObject): boolean => /(^|\.)projectcalico\.org\//.test(o.object.apiVersion)
  const tiers = new Set(['default', 'kube-admin', 'kube-baseline', 'adminnetworkpolicy', 'baselineadminnetworkpolicy'])
  for (const o of objects) if (o.object.kind === 'Tier' && isCalico(o)) tiers.add(o.object.metadata.name)
  for (const o of objects) {
    const tier = (o.object.spec as Fields | undefined)?.tier
    if (typeof tier !== 'string' || tier === '' || tiers.has(tier) || !isCalico(o)) continue
    diagnostics.warning(
      'unknown-tier',
      o.positionOf(['spec', 'tier']),
      `expected the name of a Tier, found "${tier}": tier does not exist`,
      {
        path: 'spec.tier',
        hint: 'without a Tier object it is taken to be the last one, with defaultAction Deny',
      },
    )
  }
}

/** Checks one object whose shape is right. */
export function checkCalicoPolicy(object: KubernetesObject, findings: Findings): void {
  const spec = (object.spec ?? {}) as Fields
  switch (object.kind) {
    case 'Tier':
      checkTier(object, spec, findings)
      return
    case 'NetworkSet':
    case 'GlobalNetworkSet':
      if (Object.hasOwn(object.metadata.labels ?? {}, 'projectcalico.org/namespace')) {
        const path = ['metadata', 'labels', 'projectcalico.org/namespace']
        findings.error(path, 'expected another label: projectcalico.org/namespace is not a valid label name')
      }
      checkNets(spec.nets, ['spec', 'nets'], findings)
      return
  }
  if (!NAME.test(object.metadata.name)) {
    findings.error(
      ['metadata', 'name'],
      `expected a name, found "${object.metadata.name}": name must consist of lower case alphanumeric characters or '-'`,
    )
  }
  if (spec.stagedAction === 'Delete') {
    const others = Object.keys(spec).filter((key) => key !== 'stagedAction' && key !== 'tier')
    if (others.length > 0) {
      findings.error(
        ['spec'],
        `expected only tier beside stagedAction Delete, found ${others.join(', ')}: Spec fields, except Tier, should all be zero-value if stagedAction is Delete`,
      )
    }
    return
  }
  checkSpec(spec, object.kind.includes('Global'), findings)
}

function checkTier(object: KubernetesObject, spec: Fields, findings: Findings): void {
  const { name } = object.metadata
  if (!TIER_NAME.test(name) || name.length > 63) {
    findings.error(
      ['metadata', 'name'],
      `expected a name without dots, found "${name}": name must consist of lower case alphanumeric characters or '-'`,
    )
  }
  const order = TIER_ORDERS[name]
  if (order !== undefined && spec.order !== order) {
    findings.error(
      ['spec', 'order'],
      `expected ${order}, found ${String(spec.order ?? 'nothing')}: ${name} tier order must be ${order}`,
    )
  }
}

function checkSpec(spec: Fields, isGlobal: boolean, findings: Findings): void {
  const types = (spec.types ?? []) as string[]
  for (const [i, type] of types.entries()) {
    if (types.indexOf(type) < i) {
      findings.error(
        ['spec', 'types', i],
        `expected each type once, found ${type} again: '${type}' type specified more than once`,
      )
    }
  }
  for (const field of ['selector', 'namespaceSelector', 'serviceAccountSelector']) {
    checkSelectorText(spec[field], ['spec', field], false, findings)
  }
  if (isGlobal) checkGlobal(spec, types, findings)
  for (const way of ['ingress', 'egress'] as const) {
    for (const [i, rule] of ((spec[way] ?? []) as Fields[]).entries()) {
      checkRule(rule, ['spec', way, i], way, isGlobal, findings)
    }
  }
}

function checkGlobal(spec: Fields, types: readonly string[], findings: Findings): void {
  if (spec.preDNAT && spec.doNotTrack) {
    findings.error(
      ['spec', 'preDNAT'],
      'expected one of preDNAT and doNotTrack, found both: PreDNAT and DoNotTrack cannot both be true, for a given PolicySpec',
    )
  }
  if (spec.preDNAT && ((spec.egress ?? []) as unknown[]).length > 0) {
    findings.error(
      ['spec', 'egress'],
      'expected no egress rules with preDNAT: PreDNAT PolicySpec cannot have any Egress rules',
    )
  }
  if (spec.preDNAT && types.includes('Egress')) {
    findings.error(
      ['spec', 'types'],
      "expected Ingress only with preDNAT: PreDNAT PolicySpec cannot have 'egress' Type",
    )
  }
  if (!spec.applyOnForward && (spec.preDNAT || spec.doNotTrack)) {
    findings.error(
      ['spec', 'applyOnForward'],
      'expected true, found nothing: ApplyOnForward must be true if either PreDNAT or DoNotTrack is true, for a given PolicySpec',
    )
  }
}

function checkRule(
  rule: Fields,
  path: FieldPath,
  way: 'ingress' | 'egress',
  isGlobal: boolean,
  findings: Findings,
): void {
  checkProtocol(rule.protocol, [...path, 'protocol'], findings)
  checkProtocol(rule.notProtocol, [...path, 'notProtocol'], findings)
  const protocol = String(rule.protocol ?? '').toLowerCase()
  const isPorted = PORTED.test(protocol)
  const isIcmp = ['icmp', '1'].includes(protocol)
  const isIcmp6 = ['icmpv6', '58'].includes(protocol)
  const ends = { source: (rule.source ?? {}) as Fields, destination: (rule.destination ?? {}) as Fields }
  for (const [name, end] of Object.entries(ends)) {
    const at = [...path, name]
    for (const field of ['ports', 'notPorts']) {
      const ports = (end[field] ?? []) as unknown[]
      if (ports.length > 0 && !isPorted) {
        const found = rule.protocol === undefined ? 'no protocol' : `protocol ${String(rule.protocol)}`
        findings.error(
          [...at, field],
          `expected protocol TCP, UDP or SCTP beside ports, found ${found}: ${PORTS_MESSAGE}`,
        )
      }
      for (const [i, port] of ports.entries()) checkPort(port, [...at, field, i], findings)
    }
    checkEntity(end, at, findings)
  }
  if (rule.http && rule.protocol !== undefined && protocol !== 'tcp' && protocol !== '6') {
    findings.error(
      [...path, 'protocol'],
      `expected TCP or nothing beside http, found ${String(rule.protocol)}: rules that specify HTTP fields must set protocol to TCP or empty`,
    )
  }
  if (rule.http && rule.action !== 'Allow') {
    findings.error(
      [...path, 'http'],
      `expected action Allow beside http, found ${String(rule.action)}: only valid for Allow rules`,
    )
  }
  if (rule.http && way === 'egress')
    findings.error([...path, 'http'], 'expected no http in an egress rule: not allowed in egress rule')
  if (rule.icmp && !isIcmp && !isIcmp6) {
    findings.error(
      [...path, 'icmp'],
      'expected protocol ICMP or ICMPv6 beside icmp: rules that specify ICMP fields must set protocol to ICMP',
    )
  }
  for (const field of ['icmp', 'notICMP']) {
    const icmp = rule[field] as Fields | undefined
    if (icmp?.code !== undefined && icmp.type === undefined) {
      findings.error([...path, field, 'code'], 'expected a type beside code: ICMP code specified without an ICMP type')
    }
  }
  if (rule.ipVersion === 5) findings.error([...path, 'ipVersion'], 'expected 4 or 6, found 5')
  if (isIcmp && rule.ipVersion === 6)
    findings.error(
      [...path, 'ipVersion'],
      "expected 4 with ICMP, found 6: must set ipversion to '4' with protocol icmp",
    )
  if (isIcmp6 && rule.ipVersion === 4)
    findings.error(
      [...path, 'ipVersion'],
      "expected 6 with ICMPv6, found 4: must set ipversion to '6' with protocol icmpv6",
    )
  checkFamilies(rule, ends, path, findings)
  checkServices(ends, path, way, isGlobal, findings)
}

function checkFamilies(
  rule: Fields,
  ends: Readonly<Record<string, Fields>>,
  path: FieldPath,
  findings: Findings,
): void {
  let seen: 4 | 6 | null = null
  for (const [name, end] of Object.entries(ends)) {
    for (const field of ['nets', 'notNets']) {
      for (const text of (end[field] ?? []) as string[]) {
        const family = text.includes(':') ? 6 : 4
        const at = [...path, name, field]
        if (rule.ipVersion !== undefined && rule.ipVersion !== family) {
          findings.error(
            at,
            `expected IPv${String(rule.ipVersion)} addresses, found ${text}: rule IP version doesn't match CIDR version`,
          )
        }
        if (seen !== null && seen !== family) {
          findings.error(at, `expected addresses of one family, found ${text}: rule contains both IPv4 and IPv6 CIDRs`)
          return
        }
        seen = family
      }
    }
  }
}

function checkServices(
  ends: Readonly<Record<string, Fields>>,
  path: FieldPath,
  way: 'ingress' | 'egress',
  isGlobal: boolean,
  findings: Findings,
): void {
  const wrong = way === 'ingress' ? 'destination' : 'source'
  if (ends[wrong]!.services) {
    findings.error([...path, wrong, 'services'], `expected no services here: not allowed in ${way} rule ${wrong}`)
  }
  const destination = ends.destination!
  for (const field of ['ports', 'notPorts']) {
    if (destination.services && ((destination[field] ?? []) as unknown[]).length > 0) {
      findings.error(
        [...path, 'destination', field],
        `expected no ports beside services: cannot specify ${field.toLowerCase()} with a service selector`,
      )
    }
  }
  const right = ends[way === 'ingress' ? 'source' : 'destination']!
  const services = right.services as Fields | undefined
  if (isGlobal && services && !services.namespace) {
    findings.error(
      [...path, way === 'ingress' ? 'source' : 'destination', 'services', 'namespace'],
      'expected a namespace, found nothing: must specify a namespace',
      undefined,
      'missing-field',
    )
  }
}

function checkEntity(end: Fields, path: FieldPath, findings: Findings): void {
  checkSelectorText(end.selector, [...path, 'selector'], false, findings)
  checkSelectorText(end.notSelector, [...path, 'notSelector'], false, findings)
  checkSelectorText(end.namespaceSelector, [...path, 'namespaceSelector'], true, findings)
  const accounts = end.serviceAccounts as Fields | undefined
  checkSelectorText(accounts?.selector, [...path, 'serviceAccounts', 'selector'], false, findings)
  checkNets(end.nets, [...path, 'nets'], findings)
  checkNets(end.notNets, [...path, 'notNets'], findings)
  const services = end.services as Fields | undefined
  if (!services) return
  const at = [...path, 'services']
  if (!services.name)
    findings.error(at, 'expected a name, found nothing: must specify a service name', undefined, 'missing-field')
  const conflicts: readonly (readonly [boolean, string])[] = [
    [Boolean(end.namespaceSelector), 'NamespaceSelector'],
    [Boolean(end.selector || end.notSelector), 'Selector/NotSelector'],
    [Boolean(accounts), 'ServiceAccounts'],
    [[...((end.nets ?? []) as string[]), ...((end.notNets ?? []) as string[])].length > 0, 'Nets/NotNets'],
  ]
  for (const [isSet, name] of conflicts) {
    if (isSet)
      findings.error(at, `expected services alone, found ${name}: cannot specify ${name} and Services on the same rule`)
  }
}

function checkSelectorText(text: unknown, path: FieldPath, isGlobalAllowed: boolean, findings: Findings): void {
  if (typeof text !== 'string') return
  if (text.includes('global(') && !(isGlobalAllowed && /^\s*global\(\s*\)\s*$/.test(text))) {
    const words = isGlobalAllowed ? 'global() cannot be combined with other selectors' : GLOBAL_ONLY
    findings.error(path, `expected a selector without global(), found "${text}": ${words}`)
    return
  }
  const parsed = parseCalicoSelector(text)
  if (parsed.error !== undefined)
    findings.error(path, `expected a selector: at character ${parsed.offset + 1} ${parsed.error}`)
}

function checkNets(value: unknown, path: FieldPath, findings: Findings): void {
  for (const [i, text] of ((value ?? []) as string[]).entries()) {
    if (parseCidr(text) !== null || parseIpv4(text) !== null || parseIpv6(text) !== null) continue
    findings.error([...path, i], `expected a CIDR or an address, found "${text}": invalid CIDR`)
  }
}

function checkProtocol(protocol: unknown, path: FieldPath, findings: Findings): void {
  if (protocol === undefined || protocol === null) return
  const isNumber = typeof protocol === 'number' || /^\d+$/.test(String(protocol))
  const isGood = isNumber
    ? Number(protocol) >= 1 && Number(protocol) <= 255 && Number.isInteger(Number(protocol))
    : PROTOCOL.test(String(protocol))
  if (!isGood)
    findings.error(path, `expected TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or 1-255, found ${JSON.stringify(protocol)}`)
}

function checkPort(port: unknown, path: FieldPath, findings: Findings): void {
  if (typeof port === 'number') {
    if (!Number.isInteger(port) || port < 0 || port > 65535) {
      findings.error(path, `expected a port 0-65535, found ${port}: port numbers must be between 0 and 65535`)
    }
    return
  }
  const range = /^(\d+)(?::(\d+))?$/.exec(String(port))
  if (range !== null) {
    const first = Number(range[1])
    const last = Number(range[2] ?? range[1])
    if (first > last)
      findings.error(path, `expected first:last, found ${port}: minimum port is greater than maximum port`)
    else if (last > 65535)
      findings.error(path, `expected ports 0-65535, found ${port}: port numbers must be between 0 and 65535`)
    return
  }
  if (typeof port !== 'string' || !/^[a-zA-Z0-9_.-]{1,128}$/.test(port)) {
    findings.error(path, `expected a port, a range first:last or a port name, found ${JSON.stringify(port)}`)
  }
}
