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
  readonly isLocal: boolean
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

/** The endpoints of one family as the kube-proxy of node `nodeName` sees them. */
export function serviceEndpoints(
  slices: readonly ProxyEndpointSlice[],
  family: IpFamily,
  nodeName: string,
): EndpointMap {
  const byKey = new Map<string, Map<string, ServiceEndpoint>>()
  const ofFamily = slices.filter((slice) => slice.addressType === family && !isForAnotherProxy(slice.metadata.labels))
  for (const slice of ofFamily.sort((a, b) => compareText(a.metadata.name, b.metadata.name))) {
    appendSlice(byKey, slice, family, nodeName)
  }
  const sorted = new Map<string, ServiceEndpoint[]>()
  for (const [key, endpoints] of byKey) {
    sorted.set(
      key,
      [...endpoints.values()].sort((a, b) => compareText(a.target, b.target)),
    )
  }
  return sorted
}

function appendSlice(
  byKey: Map<string, Map<string, ServiceEndpoint>>,
  slice: ProxyEndpointSlice,
  family: IpFamily,
  nodeName: string,
): void {
  const service = slice.metadata.labels?.[LABEL_SERVICE_NAME]
  if (service === undefined || service === '') return
  const namespace = slice.metadata.namespace ?? 'default'
  for (const slicePort of slice.ports ?? []) {
    const { port, name: portName = '' } = slicePort
    if (port === undefined) continue
    const protocol = (slicePort.protocol ?? 'TCP').toLowerCase()
    const key = endpointKey({ serviceName: `${namespace}/${service}`, portName, protocol })
    const endpoints = byKey.get(key) ?? new Map<string, ServiceEndpoint>()
    byKey.set(key, endpoints)
    const base = { kind: 'EndpointSlice', namespace, name: slice.metadata.name } as const
    for (const [index, sliceEndpoint] of (slice.endpoints ?? []).entries()) {
      const ip = parseIp(sliceEndpoint.addresses[0] ?? '')
      if (ip === null || familyOf(ip) !== family) continue
      const path = ['endpoints', index, 'addresses', 0]
      const origin: RuleOrigin = portName === '' ? { ...base, path } : { ...base, path, port: portName }
      const endpoint = toEndpoint(sliceEndpoint, formatIp(ip), port, nodeName, origin)
      if (endpoint.isLocal || !endpoints.has(endpoint.target)) endpoints.set(endpoint.target, endpoint)
    }
  }
}

function toEndpoint(
  { conditions, nodeName, hints }: ProxySliceEndpoint,
  ip: string,
  port: number,
  thisNode: string,
  origin: RuleOrigin,
): ServiceEndpoint {
  return {
    ip,
    port,
    target: joinHostPort(ip, port),
    isLocal: nodeName !== undefined && nodeName === thisNode,
    isReady: conditions?.ready ?? true,
    isServing: conditions?.serving ?? true,
    isTerminating: conditions?.terminating ?? false,
    zoneHints: hints?.forZones?.map((zone) => zone.name) ?? NO_HINTS,
    nodeHints: hints?.forNodes?.map((node) => node.name) ?? NO_HINTS,
    origin,
  }
}
