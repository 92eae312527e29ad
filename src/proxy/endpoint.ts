/**
 * Endpoints: what kube-proxy makes of the EndpointSlices of one address family.
 *
 * Slices are joined per (Service, port name, protocol); of every endpoint only the first address counts; the same
 * ip:port in two slices is one endpoint (the local one wins); the list is sorted by the text of ip:port.
 *
 * Not modelled: slices without the service-name label are ignored without a trace, as in kube-proxy.
 *
 * Sources: pkg/proxy/endpointslicecache.go, pkg/proxy/endpoint.go.
 */
import { familyOf, formatIp, joinHostPort, parseIp } from './addresses.ts'
import { compareText, isForAnotherProxy, type ServicePort } from './service-port.ts'
import type { IpFamily, ProxyEndpointSlice, ProxySliceEndpoint, RuleOrigin } from './types.ts'

const LABEL_SERVICE_NAME = 'kubernetes.io/service-name'
const NO_HINTS: readonly string[] = []

/** One endpoint of one service port. */
export interface ServiceEndpoint {
  readonly ip: string
  readonly port: number
  /** `ip:port`, `[ip]:port` for IPv6. */
  readonly target: string
  /** The node it runs on, empty when nobody said. */
  readonly nodeName: string
  readonly isReady: boolean
  readonly isServing: boolean
  readonly isTerminating: boolean
  readonly zoneHints: readonly string[]
  readonly nodeHints: readonly string[]
  readonly origin: RuleOrigin
}

/** Endpoints by `endpointKey`. */
export type EndpointMap = ReadonlyMap<string, readonly ServiceEndpoint[]>

/** The key under which a service port finds its endpoints. */
export function endpointKey(port: Pick<ServicePort, 'serviceName' | 'portName' | 'protocol'>): string {
  return `${port.serviceName}:${port.portName}:${port.protocol}`
}

/** True for endpoints on that node. */
export function isLocalEndpoint(endpoint: ServiceEndpoint, nodeName: string): boolean {
  return nodeName !== '' && endpoint.nodeName === nodeName
}

/** Endpoints of one port of a slice, in the slice's order. */
interface SlicePart {
  readonly key: string
  readonly endpoints: readonly ServiceEndpoint[]
}

/** The endpoints of one key; `nodeName` is null when every node sees the same. */
interface Merged {
  readonly parts: readonly SlicePart[]
  readonly nodeName: string | null
  readonly endpoints: readonly ServiceEndpoint[]
}

/**
 * What was made of a slice, and of the slices of a key by the first of them: objects are not changed once they are in use, so
 * nodes share it and later syncs find it. Arrays that are the same object hold the same endpoints.
 */
const slicesSeen = new WeakMap<ProxyEndpointSlice, readonly SlicePart[]>()
const mergesSeen = new WeakMap<SlicePart, Merged[]>()

/** The endpoints of one family as the kube-proxy of node `nodeName` sees them. */
export function serviceEndpoints(
  slices: readonly ProxyEndpointSlice[],
  family: IpFamily,
  nodeName: string,
): EndpointMap {
  const byKey = new Map<string, SlicePart[]>()
  const ofFamily = slices.filter((slice) => slice.addressType === family && !isForAnotherProxy(slice.metadata.labels))
  for (const slice of ofFamily.sort((a, b) => compareText(a.metadata.name, b.metadata.name))) {
    for (const part of partsOf(slice, family)) {
      const parts = byKey.get(part.key)
      if (parts === undefined) byKey.set(part.key, [part])
      else parts.push(part)
    }
  }
  const sorted = new Map<string, readonly ServiceEndpoint[]>()
  for (const [key, parts] of byKey) sorted.set(key, merge(parts, nodeName))
  return sorted
}

function merge(parts: readonly SlicePart[], nodeName: string): readonly ServiceEndpoint[] {
  const [first] = parts
  if (first === undefined) return []
  const seen = mergesSeen.get(first) ?? []
  const known = seen.find(
    (merged) =>
      (merged.nodeName === null || merged.nodeName === nodeName) &&
      merged.parts.length === parts.length &&
      merged.parts.every((part, i) => part === parts[i]),
  )
  if (known !== undefined) return known.endpoints
  const byTarget = new Map<string, ServiceEndpoint>()
  let isShared = true
  for (const { endpoints } of parts) {
    for (const endpoint of endpoints) {
      const other = byTarget.get(endpoint.target)
      if (other !== undefined && other.nodeName !== endpoint.nodeName) isShared = false
      if (other === undefined || isLocalEndpoint(endpoint, nodeName)) byTarget.set(endpoint.target, endpoint)
    }
  }
  const endpoints = [...byTarget.values()].sort((a, b) => compareText(a.target, b.target))
  mergesSeen.set(first, [...seen, { parts, nodeName: isShared ? null : nodeName, endpoints }])
  return endpoints
}

function partsOf(slice: ProxyEndpointSlice, family: IpFamily): readonly SlicePart[] {
  const seen = slicesSeen.get(slice)
  if (seen !== undefined) return seen
  const parts = readSlice(slice, family)
  slicesSeen.set(slice, parts)
  return parts
}

function readSlice(slice: ProxyEndpointSlice, family: IpFamily): SlicePart[] {
  const service = slice.metadata.labels?.[LABEL_SERVICE_NAME]
  if (service === undefined || service === '') return []
  const namespace = slice.metadata.namespace ?? 'default'
  const parts: SlicePart[] = []
  for (const slicePort of slice.ports ?? []) {
    const { port, name: portName = '' } = slicePort
    if (port === undefined) continue
    const protocol = (slicePort.protocol ?? 'TCP').toLowerCase()
    const endpoints: ServiceEndpoint[] = []
    const base = { kind: 'EndpointSlice', namespace, name: slice.metadata.name } as const
    for (const [index, sliceEndpoint] of (slice.endpoints ?? []).entries()) {
      const ip = parseIp(sliceEndpoint.addresses[0] ?? '')
      if (ip === null || familyOf(ip) !== family) continue
      const path = ['endpoints', index, 'addresses', 0]
      const origin: RuleOrigin = portName === '' ? { ...base, path } : { ...base, path, port: portName }
      endpoints.push(toEndpoint(sliceEndpoint, formatIp(ip), port, origin))
    }
    parts.push({ key: endpointKey({ serviceName: `${namespace}/${service}`, portName, protocol }), endpoints })
  }
  return parts
}

function toEndpoint(
  { conditions, nodeName, hints }: ProxySliceEndpoint,
  ip: string,
  port: number,
  origin: RuleOrigin,
): ServiceEndpoint {
  return {
    ip,
    port,
    target: joinHostPort(ip, port),
    nodeName: nodeName ?? '',
    isReady: conditions?.ready ?? true,
    isServing: conditions?.serving ?? true,
    isTerminating: conditions?.terminating ?? false,
    zoneHints: hints?.forZones?.map((zone) => zone.name) ?? NO_HINTS,
    nodeHints: hints?.forNodes?.map((node) => node.name) ?? NO_HINTS,
    origin,
  }
}
