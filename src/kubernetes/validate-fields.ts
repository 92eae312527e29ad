/**
 * The rules between the fields of one object that a table of types cannot say.
 *
 * Sources: k8s.io/kubernetes/pkg/apis/core/validation/validation.go (ValidateService, validateContainerPorts),
 * pkg/apis/apps/validation, pkg/apis/batch/validation, pkg/apis/networking/validation, pkg/apis/discovery/validation.
 */
import { cidrContains, isNetwork, parseCidr } from '../addr/cidr.ts'
import { parseIpv4 } from '../addr/ipv4.ts'
import { parseIpv6 } from '../addr/ipv6.ts'
import type { Diagnostics } from '../diagnostics/diagnostic.ts'
import { pathText } from './schema.ts'
import { matchesSelector } from './selector.ts'
import type {
  Container,
  EndpointSlice,
  FieldPath,
  IntOrString,
  LabelSelector,
  LoadedObject,
  PodSpec,
  PodTemplate,
  ServicePort,
} from './types.ts'

/** Reports a finding at a path of one object and remembers that there was one. */
class Findings {
  isGood = true
  private readonly loaded: LoadedObject
  private readonly diagnostics: Diagnostics

  constructor(loaded: LoadedObject, diagnostics: Diagnostics) {
    this.loaded = loaded
    this.diagnostics = diagnostics
  }

  error(path: FieldPath, message: string, hint?: string, code = 'invalid-value'): void {
    this.isGood = false
    this.diagnostics.error(code, this.loaded.positionOf(path), message, { path: pathText(path), hint })
  }

  warning(path: FieldPath, message: string, hint?: string, code = 'invalid-value'): void {
    this.diagnostics.warning(code, this.loaded.positionOf(path), message, { path: pathText(path), hint })
  }
}

type Spec = Record<string, unknown>

/** Checks one object whose shape is right; true when it has no error. */
export function checkFields(loaded: LoadedObject, diagnostics: Diagnostics): boolean {
  const findings = new Findings(loaded, diagnostics)
  const spec = (loaded.object.spec ?? {}) as Spec
  switch (loaded.object.kind) {
    case 'Pod':
      checkPodSpec(spec as unknown as PodSpec, ['spec'], findings)
      break
    case 'Deployment':
    case 'ReplicaSet':
    case 'StatefulSet':
    case 'DaemonSet':
      checkWorkload(spec, findings)
      break
    case 'Job':
      checkJobTemplate(spec, ['spec'], findings)
      break
    case 'CronJob': {
      const jobSpec = (spec.jobTemplate as { spec: Spec }).spec
      checkJobTemplate(jobSpec, ['spec', 'jobTemplate', 'spec'], findings)
      break
    }
    case 'Service':
      checkService(spec, findings)
      break
    case 'EndpointSlice':
      checkEndpointSlice(loaded.object as unknown as EndpointSlice, findings)
      break
    case 'NetworkPolicy':
      checkNetworkPolicy(spec, findings)
      break
  }
  return findings.isGood
}

function checkSelector(selector: LabelSelector | undefined, path: FieldPath, findings: Findings): void {
  for (const [i, requirement] of (selector?.matchExpressions ?? []).entries()) {
    const needsValues = requirement.operator === 'In' || requirement.operator === 'NotIn'
    const count = requirement.values?.length ?? 0
    const at = [...path, 'matchExpressions', i, 'values']
    if (needsValues && count === 0) {
      findings.error(at, `expected values for operator ${requirement.operator}, found none`, undefined, 'missing-field')
    } else if (!needsValues && count > 0) findings.error(at, `expected no values for operator ${requirement.operator}`)
  }
}

function checkWorkload(spec: Spec, findings: Findings): void {
  const selector = spec.selector as LabelSelector
  const template = spec.template as PodTemplate | undefined
  checkSelector(selector, ['spec', 'selector'], findings)
  const size = Object.keys(selector.matchLabels ?? {}).length + (selector.matchExpressions ?? []).length
  if (size === 0) {
    findings.error(['spec', 'selector'], 'expected a selector that is not empty, found {}', undefined, 'missing-field')
  }
  if (template === undefined || template === null) return
  const labels = template.metadata?.labels ?? {}
  if (size > 0 && !matchesSelector(selector, labels)) {
    findings.error(
      ['spec', 'template', 'metadata', 'labels'],
      `expected labels that spec.selector matches, found ${JSON.stringify(labels)}: selector does not match template labels`,
      undefined,
      'selector-mismatch',
    )
  }
  const restartPolicy = template.spec.restartPolicy
  if (restartPolicy !== undefined && restartPolicy !== 'Always') {
    findings.error(['spec', 'template', 'spec', 'restartPolicy'], `expected "Always", found "${restartPolicy}"`)
  }
  checkPodSpec(template.spec, ['spec', 'template', 'spec'], findings)
}

function checkJobTemplate(spec: Spec, path: FieldPath, findings: Findings): void {
  const template = spec.template as PodTemplate
  const at = [...path, 'template', 'spec']
  const restartPolicy = template.spec.restartPolicy
  if (restartPolicy !== 'OnFailure' && restartPolicy !== 'Never') {
    const found = restartPolicy === undefined ? 'nothing (the default is Always)' : `"${restartPolicy}"`
    findings.error([...at, 'restartPolicy'], `expected "OnFailure" or "Never", found ${found}`)
  }
  checkPodSpec(template.spec, at, findings)
}

function checkPodSpec(spec: PodSpec, path: FieldPath, findings: Findings): void {
  const names = new Set<string>()
  const hostPorts = new Set<string>()
  const lists: [string, Container[] | undefined][] = [
    ['initContainers', spec.initContainers],
    ['containers', spec.containers],
  ]
  for (const [field, containers] of lists) {
    for (const [i, container] of (containers ?? []).entries()) {
      const at = [...path, field, i]
      if (names.has(container.name))
        findings.error([...at, 'name'], `expected each name once, found "${container.name}" again`)
      names.add(container.name)
      checkContainerPorts(container, at, spec.hostNetwork === true, hostPorts, findings)
    }
  }
  const affinity = spec.affinity
  for (const [field, value] of [
    ['podAffinity', affinity?.podAffinity],
    ['podAntiAffinity', affinity?.podAntiAffinity],
  ] as const) {
    for (const [i, term] of (value?.requiredDuringSchedulingIgnoredDuringExecution ?? []).entries()) {
      const at = [...path, 'affinity', field, 'requiredDuringSchedulingIgnoredDuringExecution', i, 'labelSelector']
      checkSelector(term.labelSelector, at, findings)
    }
  }
  if (spec.dnsPolicy === 'None' && (spec.dnsConfig?.nameservers ?? []).length === 0) {
    findings.error(
      [...path, 'dnsConfig', 'nameservers'],
      'expected a nameserver when dnsPolicy is None, found none',
      undefined,
      'missing-field',
    )
  }
}

function checkContainerPorts(
  container: Container,
  path: FieldPath,
  isHostNetwork: boolean,
  hostPorts: Set<string>,
  findings: Findings,
): void {
  const portNames = new Set<string>()
  for (const [i, port] of (container.ports ?? []).entries()) {
    const at = [...path, 'ports', i]
    if (port.name) {
      if (portNames.has(port.name))
        findings.error([...at, 'name'], `expected each port name once, found "${port.name}" again`)
      portNames.add(port.name)
    }
    if (!port.hostPort) continue
    if (isHostNetwork && port.hostPort !== port.containerPort) {
      findings.error(
        [...at, 'hostPort'],
        `expected ${port.containerPort}, the containerPort, because hostNetwork is true, found ${port.hostPort}`,
      )
    }
    const key = `${port.hostIP ?? ''}:${port.hostPort}/${port.protocol ?? 'TCP'}`
    if (hostPorts.has(key))
      findings.error([...at, 'hostPort'], `expected each host port once, found ${port.hostPort} again`)
    hostPorts.add(key)
  }
}

function checkService(spec: Spec, findings: Findings): void {
  const type = (spec.type as string | undefined) ?? 'ClusterIP'
  const ports = (spec.ports as ServicePort[] | undefined) ?? []
  const isHeadless = spec.clusterIP === 'None'
  if (type === 'ExternalName') {
    if (!spec.externalName) {
      findings.error(
        ['spec', 'externalName'],
        'expected a DNS name for type ExternalName, found nothing',
        undefined,
        'missing-field',
      )
    }
    if (spec.clusterIP && !isHeadless) findings.error(['spec', 'clusterIP'], 'expected nothing for type ExternalName')
  } else if (ports.length === 0 && !isHeadless) {
    findings.error(['spec', 'ports'], 'expected at least 1 port, found none', undefined, 'missing-field')
  }
  if (isHeadless && (type === 'NodePort' || type === 'LoadBalancer')) {
    findings.error(['spec', 'clusterIP'], `expected an address for type ${type}, found "None"`)
  }
  const clusterIps = spec.clusterIPs as string[] | undefined
  if (clusterIps && clusterIps.length > 0 && spec.clusterIP && clusterIps[0] !== spec.clusterIP) {
    findings.error(['spec', 'clusterIPs', 0], `expected ${spec.clusterIP}, the clusterIP, found ${clusterIps[0]}`)
  }
  const usesNodePorts = type === 'NodePort' || type === 'LoadBalancer'
  if (
    spec.externalTrafficPolicy &&
    !usesNodePorts &&
    (spec.externalIPs as unknown[] | undefined)?.length === undefined
  ) {
    findings.error(
      ['spec', 'externalTrafficPolicy'],
      `expected none for type ${type}: it needs NodePort, LoadBalancer or externalIPs`,
    )
  }
  const names = new Set<string>()
  const numbers = new Set<string>()
  for (const [i, port] of ports.entries()) {
    const at: FieldPath = ['spec', 'ports', i]
    if (ports.length > 1 && !port.name) {
      findings.error(
        [...at, 'name'],
        'expected a name because there is more than one port, found nothing',
        undefined,
        'missing-field',
      )
    } else if (port.name && names.has(port.name)) {
      findings.error([...at, 'name'], `expected each port name once, found "${port.name}" again`)
    }
    if (port.name) names.add(port.name)
    const key = `${port.port}/${port.protocol ?? 'TCP'}`
    if (numbers.has(key)) findings.error([...at, 'port'], `expected each port and protocol once, found ${key} again`)
    numbers.add(key)
    if (port.nodePort && !usesNodePorts) {
      findings.error(
        [...at, 'nodePort'],
        `expected none for type ${type}, found ${port.nodePort}`,
        'set type: NodePort',
      )
    }
  }
}

function checkEndpointSlice(slice: EndpointSlice, findings: Findings): void {
  const parse = slice.addressType === 'IPv4' ? parseIpv4 : slice.addressType === 'IPv6' ? parseIpv6 : null
  if (parse === null) return
  for (const [i, endpoint] of (slice.endpoints ?? []).entries()) {
    for (const [j, address] of endpoint.addresses.entries()) {
      if (parse(address) !== null) continue
      findings.error(['endpoints', i, 'addresses', j], `expected an ${slice.addressType} address, found "${address}"`)
    }
  }
}

interface PolicyRule {
  from?: { ipBlock?: { cidr: string; except?: string[] } }[]
  to?: { ipBlock?: { cidr: string; except?: string[] } }[]
  ports?: { port?: IntOrString; endPort?: number }[]
}

function checkNetworkPolicy(spec: Spec, findings: Findings): void {
  checkSelector(spec.podSelector as LabelSelector | undefined, ['spec', 'podSelector'], findings)
  for (const [direction, peersField] of [
    ['ingress', 'from'],
    ['egress', 'to'],
  ] as const) {
    for (const [i, rule] of ((spec[direction] as PolicyRule[] | undefined) ?? []).entries()) {
      const at: FieldPath = ['spec', direction, i]
      for (const [j, peer] of (rule?.[peersField] ?? []).entries()) {
        if (peer?.ipBlock) checkIpBlock(peer.ipBlock, [...at, peersField, j, 'ipBlock'], findings)
      }
      for (const [j, port] of (rule?.ports ?? []).entries()) {
        if (port?.endPort === undefined) continue
        const path = [...at, 'ports', j, 'endPort']
        if (typeof port.port !== 'number') findings.error(path, 'expected a numeric port beside endPort')
        else if (port.endPort < port.port) findings.error(path, `expected at least ${port.port}, found ${port.endPort}`)
      }
    }
  }
}

function checkIpBlock(block: { cidr: string; except?: string[] }, path: FieldPath, findings: Findings): void {
  const cidr = parseCidr(block.cidr)
  if (cidr === null) {
    findings.error([...path, 'cidr'], `expected a CIDR, found "${block.cidr}"`)
    return
  }
  if (!isNetwork(cidr)) findings.warning([...path, 'cidr'], `host bits are set in ${block.cidr}`)
  for (const [i, text] of (block.except ?? []).entries()) {
    const except = parseCidr(text)
    if (except === null) findings.error([...path, 'except', i], `expected a CIDR, found "${text}"`)
    else if (!cidrContains(cidr, except) || except.prefixLength === cidr.prefixLength) {
      findings.error([...path, 'except', i], `expected a strict subset of ${block.cidr}, found ${text}`)
    }
  }
}
