/**
 * policy.networking.k8s.io: what the CRDs of v1alpha1 and v1alpha2 refuse beyond types and required fields.
 *
 * Sources: network-policy-api apis/v1alpha1, apis/v1alpha2 (kubebuilder markers and their CEL rules).
 */
import { parseCidr } from '../addr/cidr.ts'
import { checkSelector, type Findings } from './findings.ts'
import type { FieldPath, KubernetesObject, LabelSelector } from './types.ts'

type Fields = Record<string, unknown>

/** Most items of a list: v1alpha1 has 100 rules, peers and ports, v1alpha2 25 of each. */
const MAX_ITEMS: Readonly<Record<string, number>> = { v1alpha1: 100, v1alpha2: 25 }
const MAX_NETWORKS = 25
const MAX_NAME_LENGTH = 100
const DOMAIN_NAME = /^(\*\.)?([a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.)+[a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.?$/
const NAMED_PORT_MESSAGE =
  'networks/nodes/domainNames peer cannot be set with namedPorts since there are no namedPorts for networks/nodes/domainNames'

/** Checks one policy whose shape is right. */
export function checkAdminPolicy(object: KubernetesObject, findings: Findings): void {
  const spec = (object.spec ?? {}) as Fields
  const version = object.apiVersion.split('/')[1] ?? 'v1alpha2'
  if (object.kind === 'BaselineAdminNetworkPolicy' && object.metadata.name !== 'default') {
    findings.error(
      ['metadata', 'name'],
      `expected "default", found "${object.metadata.name}": Only one baseline admin network policy with metadata.name="default" can be created in the cluster`,
    )
  }
  oneField(spec.subject as Fields, ['spec', 'subject'], findings)
  selectors(spec.subject as Fields, ['spec', 'subject'], findings)
  const most = MAX_ITEMS[version] ?? 25
  for (const [field, peers] of [
    ['ingress', 'from'],
    ['egress', 'to'],
  ] as const) {
    const rules = (spec[field] ?? []) as Fields[]
    atMost(rules, most, ['spec', field], findings)
    for (const [i, rule] of rules.entries()) checkRule(rule, ['spec', field, i], peers, most, findings)
  }
}

function checkRule(rule: Fields, path: FieldPath, peersField: 'from' | 'to', most: number, findings: Findings): void {
  if (typeof rule.name === 'string' && rule.name.length > MAX_NAME_LENGTH) {
    findings.error(
      [...path, 'name'],
      `expected at most ${MAX_NAME_LENGTH} characters, found ${rule.name.length}: Too long: may not be more than ${MAX_NAME_LENGTH} bytes`,
    )
  }
  const peers = (rule[peersField] ?? []) as Fields[]
  atMost(peers, most, [...path, peersField], findings)
  for (const [i, peer] of peers.entries()) checkPeer(peer ?? {}, [...path, peersField, i], findings)
  const ports = (rule.ports ?? rule.protocols ?? []) as Fields[]
  const field = rule.ports ? 'ports' : 'protocols'
  atMost(ports, most, [...path, field], findings)
  for (const [i, port] of ports.entries()) checkPort(port ?? {}, [...path, field, i], findings)
  const hasNames = ports.some((p) => p?.namedPort !== undefined || p?.destinationNamedPort !== undefined)
  if (hasNames && peers.some((p) => p?.networks ?? p?.nodes ?? p?.domainNames)) {
    findings.error(
      path,
      `expected numbered ports with networks, nodes or domainNames, found a named port: ${NAMED_PORT_MESSAGE}`,
    )
  }
  if (rule.action !== 'Accept' && rule.action !== 'Allow' && peers.some((p) => p?.domainNames)) {
    findings.warning(path, `domainNames are for Accept rules only, found them in a ${rule.action} rule`)
  }
}

function checkPeer(peer: Fields, path: FieldPath, findings: Findings): void {
  oneField(peer, path, findings)
  selectors(peer, path, findings)
  const networks = (peer.networks ?? []) as string[]
  atMost(networks, MAX_NETWORKS, [...path, 'networks'], findings)
  for (const [i, text] of networks.entries()) {
    const at = [...path, 'networks', i]
    if (parseCidr(text) === null) findings.error(at, `expected a CIDR, found "${text}": Invalid CIDR format provided`)
    if (networks.indexOf(text) < i)
      findings.error(at, `expected each network once, found ${text} again: Duplicate value`)
  }
  const names = (peer.domainNames ?? []) as string[]
  atMost(names, MAX_NETWORKS, [...path, 'domainNames'], findings)
  for (const [i, name] of names.entries()) {
    if (DOMAIN_NAME.test(name)) continue
    findings.error(
      [...path, 'domainNames', i],
      `expected a domain name or *. and a domain name, found "${name}": should match '${DOMAIN_NAME.source}'`,
    )
  }
}

function checkPort(port: Fields, path: FieldPath, findings: Findings): void {
  oneField(port, path, findings)
  checkRange(port.portRange as Fields | undefined, [...path, 'portRange'], findings)
  for (const key of ['tcp', 'udp', 'sctp']) {
    const of = port[key] as Fields | undefined
    if (!of) continue
    const at = [...path, key]
    if (!of.destinationPort) {
      findings.error(
        at,
        'expected destinationPort, found nothing: should have at least 1 properties',
        undefined,
        'missing-field',
      )
      continue
    }
    const destination = of.destinationPort as Fields
    oneField(destination, [...at, 'destinationPort'], findings)
    checkRange(destination.range as Fields | undefined, [...at, 'destinationPort', 'range'], findings)
  }
}

function checkRange(range: Fields | undefined | null, path: FieldPath, findings: Findings): void {
  if (!range || (range.start as number) < (range.end as number)) return
  findings.error(
    path,
    `expected start below end, found ${range.start}-${range.end}: Start port must be less than End port`,
  )
}

/** Exactly one field: the CRDs' minProperties and maxProperties. */
function oneField(value: Fields, path: FieldPath, findings: Findings): void {
  const set = Object.keys(value).filter((key) => value[key] !== null && value[key] !== undefined)
  if (set.length === 0) {
    findings.error(
      path,
      'expected exactly one field, found none: should have at least 1 properties',
      undefined,
      'missing-field',
    )
  } else if (set.length > 1) {
    findings.error(path, `expected exactly one field, found ${set.join(' and ')}: must have at most 1 items`)
  }
}

function selectors(value: Fields, path: FieldPath, findings: Findings): void {
  for (const field of ['namespaces', 'nodes']) {
    checkSelector(value[field] as LabelSelector | undefined, [...path, field], findings)
  }
  const pods = value.pods as Fields | undefined
  for (const field of ['namespaceSelector', 'podSelector']) {
    checkSelector(pods?.[field] as LabelSelector | undefined, [...path, 'pods', field], findings)
  }
}

function atMost(items: readonly unknown[], most: number, path: FieldPath, findings: Findings): void {
  if (items.length <= most) return
  findings.error(
    path,
    `expected at most ${most} items, found ${items.length}: Too many: must have at most ${most} items`,
  )
}
