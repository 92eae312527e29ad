/**
 * The rules between the fields of one object that a table of types cannot say.
 *
 * Sources: k8s.io/kubernetes/pkg/apis/core/validation/validation.go (ValidateService, validateContainerPorts),
 * pkg/apis/apps/validation, pkg/apis/batch/validation, pkg/apis/networking/validation, pkg/apis/discovery/validation.
 */
import { parseIpv4 } from '../addr/ipv4.ts'
import { parseIpv6 } from '../addr/ipv6.ts'
import type { Diagnostics } from '../diagnostics/diagnostic.ts'
import { checkSelector, Findings } from './findings.ts'
import { matchesSelector } from './selector.ts'
import type {
  Container,
  EndpointSlice,
  FieldPath,
  LabelSelector,
  LoadedObject,
  PodSpec,
  PodTemplate,
  ServicePort,
} from './types.ts'
import { checkPolicy } from './validate-policy.ts'

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
    default:
      checkPolicy(loaded.object, findings)
  }
  return findings.isGood
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
