/**
 * What changed since the sync before: the question by which a partial sync leaves Services out.
 *
 * kube-proxy's change trackers collect the Services and EndpointSlices that events named; here the two states are
 * compared, with the same answer: a Service counts as changed when one of its ports or one of their endpoints did.
 *
 * Sources: pkg/proxy/servicechangetracker.go, pkg/proxy/endpointschangetracker.go.
 */
import { type EndpointMap, endpointKey, type ServiceEndpoint } from './endpoint.ts'
import type { ServicePort } from './service-port.ts'
import type { ProxyInput } from './types.ts'

/** The objects a sync worked from. */
export interface ObjectState {
  readonly ports: readonly ServicePort[]
  readonly endpoints: EndpointMap
  /** Configuration and node, as text: a change of either restarts kube-proxy or forces a full sync. */
  readonly surroundings: string
}

/**
 * True for a service port that is the same object as before with the same endpoints: its chains are right on the node, and
 * their origins are those of the sync before.
 */
export function isUntouched(previous: ObjectState, index: number, port: ServicePort, endpoints: EndpointMap): boolean {
  const key = endpointKey(port)
  return previous.ports[index] === port && previous.endpoints.get(key) === endpoints.get(key)
}

/** Configuration and node as text. */
export function surroundingsOf({ config, node }: ProxyInput): string {
  return JSON.stringify([config, node])
}

/** The `namespace/name` of every Service whose ports and endpoints are what they were. */
export function unchangedServices(
  previous: ObjectState,
  ports: readonly ServicePort[],
  endpoints: EndpointMap,
): Set<string> {
  const before = byService(previous.ports)
  const unchanged = new Set<string>()
  for (const [service, current] of byService(ports)) {
    const old = before.get(service) ?? []
    const isSame =
      current.length === old.length && current.every((port, i) => isSamePort(port, old[i], previous, endpoints))
    if (isSame) unchanged.add(service)
  }
  return unchanged
}

function byService(ports: readonly ServicePort[]): Map<string, ServicePort[]> {
  const services = new Map<string, ServicePort[]>()
  for (const port of ports) {
    const list = services.get(port.serviceName)
    if (list === undefined) services.set(port.serviceName, [port])
    else list.push(port)
  }
  return services
}

function isSamePort(
  port: ServicePort,
  old: ServicePort | undefined,
  previous: ObjectState,
  endpoints: EndpointMap,
): boolean {
  if (old === undefined) return false
  if (old !== port && JSON.stringify(port, dropPositions) !== JSON.stringify(old, dropPositions)) return false
  const key = endpointKey(port)
  const now = endpoints.get(key) ?? []
  const then = previous.endpoints.get(key) ?? []
  return now === then || (now.length === then.length && now.every((endpoint, i) => isSameEndpoint(endpoint, then[i])))
}

function isSameEndpoint(a: ServiceEndpoint, b: ServiceEndpoint | undefined): boolean {
  if (a === b) return true
  return (
    b !== undefined &&
    a.target === b.target &&
    a.nodeName === b.nodeName &&
    a.isReady === b.isReady &&
    a.isServing === b.isServing &&
    a.isTerminating === b.isTerminating &&
    a.zoneHints.join() === b.zoneHints.join() &&
    a.nodeHints.join() === b.nodeHints.join()
  )
}

/** Where a value stands in its object is for traces: moving it changes no rule. */
function dropPositions(key: string, value: unknown): unknown {
  return key === 'index' || key === 'portIndex' ? undefined : value
}
