/**
 * Services: defaults, ClusterIPs, node ports.
 *
 * Given addresses and ports are reserved first, in input order. The others are allocated from the upper part of their
 * range, as the real allocators do since 1.26 and 1.27 (the lower part is kept for given ones): the place is drawn from
 * the Service's own name, and a taken one moves on to the next, so that an address does not change when other Services
 * come and go. `default/kubernetes` exists always and has the first address.
 *
 * Not modelled: IPv6 and dual-stack addresses (named in a warning), ServiceCIDR objects.
 * Sources: k8s.io/kubernetes/pkg/registry/core/service/ipallocator/{ipallocator,bitmap}.go (calculateRangeOffset),
 * portallocator, pkg/registry/core/service/storage/alloc.go, pkg/controlplane/controller/kubernetesservice.
 */
import { cidrContainsIpv4, formatCidr, indexInIpv4Cidr, ipv4CidrSize, nthIpv4 } from '../addr/cidr.ts'
import { formatIpv4, parseIpv4 } from '../addr/ipv4.ts'
import type { Diagnostics } from '../diagnostics/diagnostic.ts'
import { formatPosition, NO_POSITION } from '../diagnostics/diagnostic.ts'
import type { ResolvedSpec } from './cluster-spec.ts'
import { defaultService } from './defaults.ts'
import { fnv32a } from './hash.ts'
import { pathText } from './schema.ts'
import type { FieldPath, LoadedObject, Service, Sourced } from './types.ts'

/** All Services with addresses and node ports, sorted by namespace and name. */
export function buildServices(
  loaded: readonly LoadedObject[],
  spec: ResolvedSpec,
  diagnostics: Diagnostics,
): Sourced<Service>[] {
  const services: Sourced<Service>[] = loaded.map((l) => ({
    object: defaultService(l.object),
    source: l.source,
    positionOf: (path) => l.positionOf(path),
  }))
  if (
    !services.some(({ object: { metadata } }) => metadata.namespace === 'default' && metadata.name === 'kubernetes')
  ) {
    // First, so that one who takes its address is the one in the wrong.
    services.unshift({ object: kubernetesService(spec), source: NO_POSITION })
  }
  allocateClusterIps(services, spec, diagnostics)
  allocateNodePorts(services, spec, diagnostics)
  return services.sort((a, b) => compareKeys(keyOf(a.object), keyOf(b.object)))
}

/** `namespace/name`. */
export function keyOf(service: Service): string {
  return `${service.metadata.namespace}/${service.metadata.name}`
}

function compareKeys(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function kubernetesService(spec: ResolvedSpec): Service {
  return defaultService({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: 'kubernetes',
      namespace: 'default',
      labels: { component: 'apiserver', provider: 'kubernetes' },
    },
    spec: {
      type: 'ClusterIP',
      clusterIP: formatIpv4(nthIpv4(spec.serviceCidr, 1) ?? spec.serviceCidr.ip),
      ports: [{ name: 'https', port: 443, targetPort: 6443, protocol: 'TCP' }],
    },
  })
}

/** Reports at a path of a Service. */
function report(
  diagnostics: Diagnostics,
  service: Sourced<Service>,
  path: FieldPath,
  code: string,
  message: string,
  hint?: string,
): void {
  const at = service.positionOf?.(path) ?? service.source
  diagnostics.error(code, at, message, { path: pathText(path), hint })
}

function allocateClusterIps(services: readonly Sourced<Service>[], spec: ResolvedSpec, diagnostics: Diagnostics): void {
  const taken = new Map<number, Sourced<Service>>()
  for (const service of services) reserveClusterIp(service, spec, taken, diagnostics)
  const cidr = spec.serviceCidr
  // Offsets count from the second address; the broadcast address is left out.
  const size = Math.max(0, ipv4CidrSize(cidr) - 2)
  const total = ipv4CidrSize(cidr)
  const offset = total <= 16 ? 0 : Math.min(256, Math.max(16, Math.floor(total / 16)))
  for (const service of services) {
    const { object } = service
    if (!wantsClusterIp(object) || object.spec.clusterIP) continue
    const start = drawFrom(keyOf(object), offset, size)
    const found = firstFree(start, offset, size, (n) => !taken.has((nthIpv4(cidr, n + 1) ?? 0) | 0))
    if (found === null) {
      report(
        diagnostics,
        service,
        ['spec'],
        'exhausted-cidr',
        `failed to allocate a serviceIP: range is full (${formatCidr(cidr)})`,
      )
      continue
    }
    const ip = nthIpv4(cidr, found + 1)!
    taken.set(ip, service)
    setClusterIp(object, formatIpv4(ip))
  }
}

function wantsClusterIp(service: Service): boolean {
  return service.spec.type !== 'ExternalName' && service.spec.clusterIP !== 'None'
}

function setClusterIp(service: Service, clusterIp: string): void {
  service.spec.clusterIP = clusterIp
  service.spec.clusterIPs = [clusterIp]
}

function reserveClusterIp(
  service: Sourced<Service>,
  spec: ResolvedSpec,
  taken: Map<number, Sourced<Service>>,
  diagnostics: Diagnostics,
): void {
  const { object } = service
  const { spec: fields } = object
  if (fields.type === 'ExternalName') return
  const given = [...new Set([fields.clusterIP, ...(fields.clusterIPs ?? [])])].filter(
    (ip) => ip !== undefined && ip !== '',
  )
  if (given.includes('None')) {
    setClusterIp(object, 'None')
    return
  }
  const familiesAsked = fields.ipFamilies?.includes('IPv6') || fields.ipFamilyPolicy === 'RequireDualStack'
  if (familiesAsked || given.some((ip) => ip?.includes(':'))) {
    const at = service.positionOf?.(['spec', 'ipFamilies']) ?? service.source
    diagnostics.warning('ipv6-not-modelled', at, 'IPv6 addresses of Services are not modelled: IPv4 only', {
      path: 'spec.ipFamilies',
    })
    fields.ipFamilies = ['IPv4']
    fields.ipFamilyPolicy = 'SingleStack'
  }
  const text = given.find((ip) => ip !== undefined && parseIpv4(ip) !== null)
  delete fields.clusterIP
  delete fields.clusterIPs
  if (text === undefined) return
  const ip = parseIpv4(text)!
  const path = ['spec', 'clusterIP']
  const index = indexInIpv4Cidr(spec.serviceCidr, ip)
  if (!cidrContainsIpv4(spec.serviceCidr, ip) || index === 0 || index === ipv4CidrSize(spec.serviceCidr) - 1) {
    const range = formatCidr(spec.serviceCidr)
    const message = `failed to allocate IP ${text}: the provided IP (${text}) is not in the valid range. The range of valid IPs is ${range}`
    report(diagnostics, service, path, 'outside-service-cidr', message, 'set spec.serviceCIDR in a Cluster object')
    return
  }
  const owner = taken.get(ip)
  if (owner !== undefined) {
    const where = formatPosition(owner.source)
    const hint = `Service ${keyOf(owner.object)} has it${where === '' ? '' : ` (${where})`}`
    report(
      diagnostics,
      service,
      path,
      'duplicate-address',
      `failed to allocate IP ${text}: provided IP is already allocated`,
      hint,
    )
    return
  }
  taken.set(ip, service)
  setClusterIp(object, text)
}

/** A place in `[offset, size)` drawn from a name, or in `[0, size)` when there is no upper part. */
function drawFrom(name: string, offset: number, size: number): number {
  const span = size - offset
  return span > 0 ? offset + (fnv32a(name) % span) : 0
}

/** The first free place from `start`, around the upper part, then through the lower one. */
function firstFree(start: number, offset: number, size: number, isFree: (n: number) => boolean): number | null {
  for (let n = start; n < size; n++) if (isFree(n)) return n
  for (let n = offset; n < start; n++) if (isFree(n)) return n
  for (let n = 0; n < Math.min(offset, size); n++) if (isFree(n)) return n
  return null
}

function allocateNodePorts(services: readonly Sourced<Service>[], spec: ResolvedSpec, diagnostics: Diagnostics): void {
  const [low, high] = spec.nodePortRange
  const taken = new Map<number, Sourced<Service>>()
  for (const service of services) reserveNodePorts(service, low, high, taken, diagnostics)
  const size = high - low + 1
  const offset = size <= 32 ? 0 : Math.min(128, Math.max(16, Math.floor(size / 32)))
  const allocate = (service: Sourced<Service>, name: string, path: FieldPath): number | undefined => {
    const found = firstFree(drawFrom(name, offset, size), offset, size, (n) => !taken.has(low + n))
    if (found === null) {
      report(
        diagnostics,
        service,
        path,
        'exhausted-ports',
        `failed to allocate a nodePort: range is full (${low}-${high})`,
      )
      return undefined
    }
    taken.set(low + found, service)
    return low + found
  }
  for (const service of services) {
    const { object } = service
    if (!usesNodePorts(object)) continue
    for (const [i, port] of (object.spec.ports ?? []).entries()) {
      if (port.nodePort) continue
      const nodePort = allocate(service, `${keyOf(object)}/${port.protocol}/${port.port}`, ['spec', 'ports', i])
      if (nodePort !== undefined) port.nodePort = nodePort
    }
    const needsHealthCheck = object.spec.type === 'LoadBalancer' && object.spec.externalTrafficPolicy === 'Local'
    if (!needsHealthCheck || object.spec.healthCheckNodePort) continue
    const health = allocate(service, `${keyOf(object)}/healthCheck`, ['spec', 'externalTrafficPolicy'])
    if (health !== undefined) object.spec.healthCheckNodePort = health
  }
}

function usesNodePorts({ spec }: Service): boolean {
  return spec.type === 'NodePort' || (spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false)
}

function reserveNodePorts(
  service: Sourced<Service>,
  low: number,
  high: number,
  taken: Map<number, Sourced<Service>>,
  diagnostics: Diagnostics,
): void {
  const { spec } = service.object
  const own = new Map<number, string[]>()
  const claim = (port: number, protocol: string, path: FieldPath): boolean => {
    if (port < low || port > high) {
      const message = `expected a port in the node port range ${low}-${high}, found ${port}: provided port is not in the valid range`
      report(diagnostics, service, path, 'outside-port-range', message)
      return false
    }
    const owner = taken.get(port)
    const protocols = own.get(port) ?? []
    // One Service may use a node port for several protocols.
    if (owner !== undefined && (owner !== service || protocols.includes(protocol))) {
      report(
        diagnostics,
        service,
        path,
        'duplicate-port',
        `node port ${port}: provided port is already allocated`,
        `Service ${keyOf(owner.object)} has it`,
      )
      return false
    }
    taken.set(port, service)
    own.set(port, [...protocols, protocol])
    return true
  }
  for (const [i, port] of (spec.ports ?? []).entries()) {
    if (port.nodePort && !claim(port.nodePort, port.protocol, ['spec', 'ports', i, 'nodePort'])) delete port.nodePort
    else if (port.nodePort === 0) delete port.nodePort
  }
  if (!spec.healthCheckNodePort) delete spec.healthCheckNodePort
  else if (!claim(spec.healthCheckNodePort, 'health', ['spec', 'healthCheckNodePort'])) delete spec.healthCheckNodePort
}
