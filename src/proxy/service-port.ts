/**
 * Service ports: what kube-proxy makes of the Services of one address family.
 *
 * One entry per `spec.ports[]` of every Service that kube-proxy handles: not headless, not ExternalName, not claimed by
 * another proxy (label service.kubernetes.io/service-proxy-name). Only addresses of the family are kept, canonical.
 *
 * Not modelled: kube-proxy's events and logs about addresses of the wrong family.
 *
 * Sources: pkg/proxy/servicechangetracker.go, pkg/proxy/serviceport.go (newBaseServiceInfo), pkg/proxy/util/utils.go
 * (ShouldSkipService, GetClusterIPByFamily), pkg/api/v1/service/util.go (ExternalPolicyLocal, NeedsHealthCheck).
 */
import { familyOf, formatPrefix, ipsOfFamily, type Prefix, parseIp, parsePrefix } from './addresses.ts'
import type { IpFamily, ProxyConfig, ProxyService, RuleOrigin } from './types.ts'

const LABEL_SERVICE_PROXY_NAME = 'service.kubernetes.io/service-proxy-name'
const LABEL_HEADLESS = 'service.kubernetes.io/headless'
const DEFAULT_AFFINITY_SECONDS = 10800

/** An address of a Service and the index it has in its list in the object. */
export interface IndexedText {
  readonly text: string
  readonly index: number
}

/** One port of one Service, for one address family. */
export interface ServicePort {
  /** `namespace/name:portName`, without the colon when the port has no name. */
  readonly name: string
  /** `namespace/name`. */
  readonly serviceName: string
  readonly namespace: string
  readonly objectName: string
  readonly portName: string
  readonly portIndex: number
  /** Lower case. */
  readonly protocol: string
  readonly clusterIp: string
  readonly port: number
  readonly nodePort: number
  readonly externalIps: readonly IndexedText[]
  readonly loadBalancerVips: readonly IndexedText[]
  readonly sourceRanges: readonly (IndexedText & { readonly prefix: Prefix })[]
  /** 0 when the Service has none. */
  readonly healthCheckNodePort: number
  readonly externalPolicyLocal: boolean
  readonly internalPolicyLocal: boolean
  /** Null when sessionAffinity is None. */
  readonly affinitySeconds: number | null
}

/** True when the port can be reached by NodePort, load balancer or external IP. */
export function isExternallyAccessible(port: ServicePort): boolean {
  return port.nodePort !== 0 || port.loadBalancerVips.length > 0 || port.externalIps.length > 0
}

/** True when some traffic to the port may go to every endpoint of the cluster. */
export function usesClusterEndpoints(port: ServicePort): boolean {
  return !port.internalPolicyLocal || isExternallyAccessible(port)
}

/** True when some traffic to the port may go to this node's endpoints only. */
export function usesLocalEndpoints(port: ServicePort): boolean {
  return port.internalPolicyLocal || (port.externalPolicyLocal && isExternallyAccessible(port))
}

/** True for objects that carry a label by which they are not this kube-proxy's. */
export function isForAnotherProxy(labels: Readonly<Record<string, string>> | undefined): boolean {
  return labels?.[LABEL_SERVICE_PROXY_NAME] !== undefined || labels?.[LABEL_HEADLESS] !== undefined
}

/** What was made of a Service, by family and gate: objects are not changed once in use, so nodes and later syncs share it. */
const servicesSeen = new WeakMap<ProxyService, Map<string, readonly ServicePort[]>>()

/** The service ports of one family, sorted by name, then protocol (kube-proxy's own order is Go's random map order). */
export function servicePorts(services: readonly ProxyService[], family: IpFamily, config: ProxyConfig): ServicePort[] {
  const ports: ServicePort[] = []
  const variant = `${family} ${config.loadBalancerIpMode ?? true}`
  for (const service of services) {
    const seen = servicesSeen.get(service) ?? new Map<string, readonly ServicePort[]>()
    const own = seen.get(variant) ?? portsOf(service, family, config)
    servicesSeen.set(service, seen.set(variant, own))
    ports.push(...own)
  }
  return ports.sort((a, b) => compareText(a.name, b.name) || compareText(a.protocol, b.protocol))
}

/** The origin of a rule that a field of the Service caused. */
export function serviceOrigin(port: ServicePort, path: readonly (string | number)[]): RuleOrigin {
  const origin = { kind: 'Service', namespace: port.namespace, name: port.objectName, path } as const
  return port.portName === '' ? origin : { ...origin, port: port.portName }
}

/** Byte order, as Go compares strings; every name here is ASCII. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

function portsOf(service: ProxyService, family: IpFamily, config: ProxyConfig): ServicePort[] {
  const { spec, metadata } = service
  const clusterIp = clusterIpOf(service, family)
  if (clusterIp === null || spec.type === 'ExternalName' || isForAnotherProxy(metadata.labels)) return []
  const namespace = metadata.namespace ?? 'default'
  const serviceName = `${namespace}/${metadata.name}`
  const needsHealthCheck = spec.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local'
  const shared = {
    serviceName,
    namespace,
    objectName: metadata.name,
    clusterIp,
    externalIps: indexedIps(spec.externalIPs ?? [], family),
    loadBalancerVips: indexedIps(loadBalancerIps(service, config.loadBalancerIpMode ?? true), family),
    sourceRanges: indexedRanges(spec.loadBalancerSourceRanges ?? [], family),
    healthCheckNodePort: needsHealthCheck ? (spec.healthCheckNodePort ?? 0) : 0,
    externalPolicyLocal: isExternalPolicyLocal(service),
    internalPolicyLocal: spec.internalTrafficPolicy === 'Local',
    affinitySeconds: affinitySecondsOf(service),
  }
  return (spec.ports ?? []).map((port, portIndex) => {
    const portName = port.name ?? ''
    return {
      ...shared,
      name: portName === '' ? serviceName : `${serviceName}:${portName}`,
      portName,
      portIndex,
      protocol: (port.protocol ?? 'TCP').toLowerCase(),
      port: port.port,
      nodePort: port.nodePort ?? 0,
    }
  })
}

function clusterIpOf(service: ProxyService, family: IpFamily): string | null {
  const { clusterIP = '', clusterIPs = [] } = service.spec
  if (clusterIP === '' || clusterIP === 'None') return null
  return ipsOfFamily(clusterIPs.length > 0 ? clusterIPs : [clusterIP], family)[0] ?? null
}

/** Entries the gate hides become unparsable, so that the others keep their index. */
function loadBalancerIps(service: ProxyService, ipModeGate: boolean): string[] {
  const ingress = service.status?.loadBalancer?.ingress ?? []
  return ingress.map(({ ip, ipMode }) => (ipModeGate && ipMode === 'Proxy' ? '' : (ip ?? '')))
}

function indexedIps(texts: readonly string[], family: IpFamily): IndexedText[] {
  return texts.flatMap((raw, index) => {
    const [text] = parseIp(raw) === null ? [] : ipsOfFamily([raw], family)
    return text === undefined ? [] : [{ text, index }]
  })
}

function indexedRanges(texts: readonly string[], family: IpFamily): (IndexedText & { prefix: Prefix })[] {
  return texts.flatMap((raw, index) => {
    const prefix = parsePrefix(raw)
    if (prefix === null || familyOf(prefix) !== family) return []
    return [{ text: formatPrefix(prefix), index, prefix }]
  })
}

function isExternalPolicyLocal({ spec }: ProxyService): boolean {
  if (spec.externalTrafficPolicy !== 'Local') return false
  return spec.type === 'NodePort' || spec.type === 'LoadBalancer' || (spec.externalIPs ?? []).length > 0
}

function affinitySecondsOf({ spec }: ProxyService): number | null {
  if (spec.sessionAffinity !== 'ClientIP') return null
  return spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? DEFAULT_AFFINITY_SECONDS
}
