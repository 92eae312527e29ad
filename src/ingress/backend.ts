/**
 * From the name of a Service and a port to the addresses that a controller connects to.
 *
 * Controllers watch EndpointSlices and connect to ready endpoints, past kube-proxy; told to use the Service, they connect
 * to its ClusterIP. ExternalName Services are resolved by the controller: UNMODELLED here.
 */
import { parseIpv4 } from '../addr/index.ts'
import { keyOf } from '../kubernetes/services.ts'
import type { ClusterModel, EndpointSlice, Service, ServicePort } from '../kubernetes/types.ts'
import type { Upstream } from './types.ts'

/** What stands behind a backend reference. */
export interface Backend {
  readonly service: string
  /** Null when all is well; else why nothing can be reached. */
  readonly problem: 'no-service' | 'no-port' | 'no-endpoints' | 'external-name' | null
  readonly upstreams: readonly Upstream[]
}

/** Looks a backend up. @param isByService connect to the ClusterIP instead of endpoints */
export function findBackend(
  model: ClusterModel,
  namespace: string,
  name: string,
  port: number | string | undefined,
  isByService = false,
): Backend {
  const service = `${namespace}/${name}`
  const { services, slices } = indexOf(model)
  const object = services.get(service)
  if (object === undefined) return { service, problem: 'no-service', upstreams: [] }
  if (object.spec.type === 'ExternalName') return { service, problem: 'external-name', upstreams: [] }
  const servicePort = portOf(object, port)
  if (servicePort === undefined) return { service, problem: 'no-port', upstreams: [] }
  const clusterIp = object.spec.clusterIP
  if (isByService && clusterIp !== undefined && clusterIp !== 'None')
    return { service, problem: null, upstreams: [{ ip: clusterIp, port: servicePort.port }] }
  const upstreams: Upstream[] = []
  for (const slice of slices.get(service) ?? []) {
    if (slice.addressType !== 'IPv4') continue
    const target = slice.ports?.find((p) => (p.name ?? '') === (servicePort.name ?? ''))?.port
    if (target === undefined) continue
    for (const e of slice.endpoints) {
      if (e.conditions?.ready === false) continue
      for (const ip of e.addresses) if (parseIpv4(ip) !== null) upstreams.push({ ip, port: target })
    }
  }
  return { service, problem: upstreams.length === 0 ? 'no-endpoints' : null, upstreams }
}

interface Index {
  readonly services: ReadonlyMap<string, Service>
  readonly slices: ReadonlyMap<string, readonly EndpointSlice[]>
}

const indexes = new WeakMap<ClusterModel, Index>()

/** Services and slices by `namespace/name` of the Service, made once per cluster. */
function indexOf(model: ClusterModel): Index {
  const known = indexes.get(model)
  if (known !== undefined) return known
  const slices = new Map<string, EndpointSlice[]>()
  for (const { object, service } of model.endpointSlices) {
    if (service === undefined) continue
    const list = slices.get(service)
    if (list === undefined) slices.set(service, [object])
    else list.push(object)
  }
  const made = { services: new Map(model.services.map(({ object }) => [keyOf(object), object])), slices }
  indexes.set(model, made)
  return made
}

function portOf(service: Service, port: number | string | undefined): ServicePort | undefined {
  const ports = service.spec.ports ?? []
  if (port === undefined) return ports.length === 1 ? ports[0] : undefined
  return ports.find((p) => p.port === port || p.name === port)
}

/** In words, for reports. */
export function problemText(b: Backend): string {
  switch (b.problem) {
    case 'no-service':
      return `there is no Service ${b.service}`
    case 'no-port':
      return `Service ${b.service} has no such port`
    case 'no-endpoints':
      return `Service ${b.service} has no ready endpoint`
    case 'external-name':
      return `Service ${b.service} is of type ExternalName`
    default:
      return ''
  }
}
