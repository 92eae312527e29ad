/**
 * EndpointSlices: from selectors, from given slices, from given Endpoints.
 *
 * A Service with a selector gets slices of at most 100 endpoints, grouped by the ports that target ports resolve to in
 * each pod, with the labels, conditions and references of the real controller. Slices that the input holds count beside
 * them (kube-proxy merges all slices of a Service); those that the controller itself once wrote are recomputed when
 * their pods are in the input. Endpoints of a Service without selector are mirrored. `default/kubernetes` points at the
 * API server: port 6443 of the control-plane nodes, else of the first node.
 *
 * Hints come from spec.trafficDistribution. Not modelled: those of the annotation topology-mode (given ones are kept), IPv6 slices made from selectors.
 * Sources: k8s.io/endpointslice/{reconciler,utils,endpointset}.go, trafficdist, pkg/controller/endpointslicemirroring.
 */
import type { Diagnostics } from '../diagnostics/diagnostic.ts'
import { NO_POSITION } from '../diagnostics/diagnostic.ts'
import { generateName, uidFrom } from './hash.ts'
import { nearest } from './names.ts'
import { matchesMap } from './selector.ts'
import { keyOf } from './services.ts'
import type {
  Endpoint,
  EndpointPort,
  EndpointSlice,
  EndpointSliceModel,
  KubernetesObject,
  LoadedObject,
  NodeModel,
  PodModel,
  Protocol,
  Service,
  ServicePort,
  Sourced,
} from './types.ts'

/** --max-endpoints-per-slice. */
const MAX_ENDPOINTS_PER_SLICE = 100
const SERVICE_NAME = 'kubernetes.io/service-name'
const MANAGED_BY = 'endpointslice.kubernetes.io/managed-by'
const CONTROLLER = 'endpointslice-controller.k8s.io'
const MIRRORING = 'endpointslicemirroring-controller.k8s.io'

interface EndpointAddress {
  ip: string
  hostname?: string
  nodeName?: string
  targetRef?: { kind?: string; namespace?: string; name?: string; uid?: string }
}

interface EndpointsObject extends KubernetesObject {
  subsets?: {
    addresses?: EndpointAddress[]
    notReadyAddresses?: EndpointAddress[]
    ports?: { name?: string; port: number; protocol?: Protocol; appProtocol?: string }[]
  }[]
}

/** What slices are made of. */
export interface SliceInput {
  readonly services: readonly Sourced<Service>[]
  readonly pods: readonly PodModel[]
  readonly nodes: readonly NodeModel[]
  readonly slices: readonly LoadedObject[]
  readonly endpoints: readonly LoadedObject[]
}

/** All slices, sorted by namespace and name. */
export function buildEndpointSlices(input: SliceInput, diagnostics: Diagnostics): EndpointSliceModel[] {
  const builder = new SliceBuilder(input, diagnostics)
  const given = groupByService(input.slices)
  const endpoints = new Map(
    input.endpoints.map((loaded) => [`${loaded.object.metadata.namespace}/${loaded.object.metadata.name}`, loaded]),
  )
  for (const service of input.services) {
    const key = keyOf(service.object)
    const own = given.get(key) ?? []
    given.delete(key)
    builder.addService(service, own, endpoints.get(key))
  }
  // Slices of Services that the input does not have: kept, since a driver may still read them.
  for (const list of given.values()) for (const loaded of list) builder.addGiven(loaded, undefined)
  return builder.slices.sort((a, b) => compare(a.object, b.object))
}

function compare(a: EndpointSlice, b: EndpointSlice): number {
  const [x, y] = [`${a.metadata.namespace}/${a.metadata.name}`, `${b.metadata.namespace}/${b.metadata.name}`]
  return x < y ? -1 : x > y ? 1 : 0
}

function groupByService(slices: readonly LoadedObject[]): Map<string, LoadedObject[]> {
  const groups = new Map<string, LoadedObject[]>()
  for (const loaded of slices) {
    const { namespace, labels } = loaded.object.metadata
    const key = `${namespace}/${labels?.[SERVICE_NAME] ?? ''}`
    const list = groups.get(key)
    if (list === undefined) groups.set(key, [loaded])
    else list.push(loaded)
  }
  return groups
}

const PREFERS_CLOSE: ReadonlySet<string> = new Set(['PreferClose', 'PreferSameZone', 'PreferSameNode'])
const TOPOLOGY_MODES = ['service.kubernetes.io/topology-mode', 'service.kubernetes.io/topology-aware-hints']

/** The hints of a ready endpoint for spec.trafficDistribution (trafficdist.ReconcileHints). */
function hintsOf({ spec }: Service, zone: string | undefined, node: string): Endpoint['hints'] {
  if (!PREFERS_CLOSE.has(spec.trafficDistribution ?? '')) return undefined
  const forNodes = spec.trafficDistribution === 'PreferSameNode' ? [{ name: node }] : undefined
  if (zone === undefined && forNodes === undefined) return undefined
  return { ...(zone !== undefined && { forZones: [{ name: zone }] }), ...(forNodes && { forNodes }) }
}

class SliceBuilder {
  readonly slices: EndpointSliceModel[] = []
  private readonly input: SliceInput
  private readonly diagnostics: Diagnostics
  private readonly names = new Set<string>()
  /** Pods by `namespace key=value`, in creation order. */
  private readonly podsByLabel = new Map<string, PodModel[]>()
  private readonly zones = new Map<string, string>()

  constructor(input: SliceInput, diagnostics: Diagnostics) {
    this.input = input
    this.diagnostics = diagnostics
    for (const pod of input.pods) {
      for (const key in pod.labels) {
        const index = `${pod.namespace} ${key}=${pod.labels[key]}`
        const list = this.podsByLabel.get(index)
        if (list === undefined) this.podsByLabel.set(index, [pod])
        else list.push(pod)
      }
    }
    for (const node of input.nodes) if (node.zone !== undefined) this.zones.set(node.name, node.zone)
    for (const loaded of input.slices) this.names.add(loaded.object.metadata.name)
  }

  addService(service: Sourced<Service>, given: readonly LoadedObject[], endpoints: LoadedObject | undefined): void {
    const { object } = service
    if (object.spec.type === 'ExternalName') return
    const selector = object.spec.selector ?? {}
    const hasSelector = Object.keys(selector).length > 0
    const pods = hasSelector ? this.select(object.metadata.namespace, selector) : []
    const isRecomputed = pods.length > 0
    const kept = given.filter((loaded) => !(isRecomputed && loaded.object.metadata.labels?.[MANAGED_BY] === CONTROLLER))
    for (const loaded of kept) this.addGiven(loaded, keyOf(object))
    if (hasSelector) {
      const stillControlled = kept.some((loaded) => loaded.object.metadata.labels?.[MANAGED_BY] === CONTROLLER)
      if (!stillControlled) this.addSelected(service, pods)
    } else if (kept.length === 0 && endpoints !== undefined)
      this.mirror(service, endpoints as unknown as LoadedObject<EndpointsObject>)
    else if (kept.length === 0 && keyOf(object) === 'default/kubernetes') this.addApiServer(service)
  }

  addGiven(loaded: LoadedObject, service: string | undefined): void {
    const given = loaded.object as unknown as EndpointSlice
    const object: EndpointSlice = {
      ...given,
      endpoints: given.endpoints ?? [],
      ...(given.ports && {
        ports: given.ports.map((p) => ({ ...p, name: p.name ?? '', protocol: p.protocol ?? 'TCP' })),
      }),
    }
    const positionOf: EndpointSliceModel['positionOf'] = (path) => loaded.positionOf(path)
    this.slices.push({
      object,
      source: loaded.source,
      positionOf: positionOf!,
      ...(service !== undefined && { service }),
    })
  }

  private select(namespace: string, selector: Readonly<Record<string, string>>): PodModel[] {
    let smallest: readonly PodModel[] | undefined
    for (const key in selector) {
      const list = this.podsByLabel.get(`${namespace} ${key}=${selector[key]}`)
      if (list === undefined) return []
      if (smallest === undefined || list.length < smallest.length) smallest = list
    }
    return (smallest ?? []).filter((pod) => matchesMap(selector, pod.labels))
  }

  private addSelected(service: Sourced<Service>, pods: readonly PodModel[]): void {
    const { object } = service
    const groups = new Map<string, { ports: EndpointPort[]; endpoints: Endpoint[] }>()
    const resolved = new Set<string>()
    for (const pod of pods) {
      const ports = resolvePorts(object.spec.ports ?? [], pod)
      for (const port of ports) resolved.add(port.name ?? '')
      const key = ports.map((p) => `${p.name}/${p.port}/${p.protocol}`).join(' ')
      let group = groups.get(key)
      if (group === undefined) {
        group = { ports, endpoints: [] }
        groups.set(key, group)
      }
      group.endpoints.push(this.endpointOf(object, pod))
    }
    if (groups.size === 0) groups.set('', { ports: [], endpoints: [] })
    this.reportTopologyMode(service)
    if (pods.length > 0) this.reportUnresolved(service, pods, resolved)
    else this.reportUnmatched(service)
    for (const { ports, endpoints } of groups.values()) {
      for (let from = 0; from === 0 || from < endpoints.length; from += MAX_ENDPOINTS_PER_SLICE) {
        this.push(service, CONTROLLER, ports, endpoints.slice(from, from + MAX_ENDPOINTS_PER_SLICE))
      }
    }
  }

  private reportUnresolved(service: Sourced<Service>, pods: readonly PodModel[], resolved: ReadonlySet<string>): void {
    for (const [i, port] of (service.object.spec.ports ?? []).entries()) {
      if (typeof port.targetPort !== 'string' || resolved.has(port.name ?? '')) continue
      const path = ['spec', 'ports', i, 'targetPort']
      const named = pods.flatMap((pod) => pod.ports.flatMap((p) => p.name ?? []))
      const meant = nearest(port.targetPort, new Set(named), 1)[0]
      this.diagnostics.warning(
        'unresolved-target-port',
        service.positionOf?.(path) ?? service.source,
        `expected a port name of the pods that ${keyOf(service.object)} selects, found "${port.targetPort}": no endpoints`,
        { path: `spec.ports[${i}].targetPort`, hint: meant === undefined ? undefined : `did you mean "${meant}"?` },
      )
    }
  }

  /** Legal, and the usual reason for a refused connection: one label is spelt differently. */
  private reportUnmatched(service: Sourced<Service>): void {
    const { metadata, spec } = service.object
    const selector = spec.selector ?? {}
    const near = Object.entries(selector).flatMap(([key, value]) => {
      const own = this.input.pods.filter((pod) => pod.namespace === metadata.namespace).map((pod) => pod.labels[key])
      const values = new Set(own.filter((v) => v !== undefined))
      if (values.has(value)) return []
      return nearest(value, values, 1).map((v) => `${key}=${v}`)
    })
    const wanted = Object.entries(selector).map(([key, value]) => `${key}=${value}`)
    this.diagnostics.info(
      'selector-matches-nothing',
      service.positionOf?.(['spec', 'selector']) ?? service.source,
      `Service ${keyOf(service.object)} selects ${wanted.join(',')}: no pod of the namespace has these labels`,
      { path: 'spec.selector', hint: near.length === 0 ? undefined : `did you mean ${near.join(',')}?` },
    )
  }

  private reportTopologyMode(service: Sourced<Service>): void {
    const { metadata, spec } = service.object
    const key = TOPOLOGY_MODES.find((name) => metadata.annotations?.[name]?.toLowerCase() === 'auto')
    if (key === undefined || PREFERS_CLOSE.has(spec.trafficDistribution ?? '')) return
    this.diagnostics.warning(
      'topology-mode-not-modelled',
      service.positionOf?.(['metadata', 'annotations', key]) ?? service.source,
      'topology-aware hints by the share of CPUs are not modelled: every zone uses all endpoints',
      { path: `metadata.annotations[${key}]`, hint: 'spec.trafficDistribution: PreferSameZone is modelled' },
    )
  }

  private endpointOf(service: Service, pod: PodModel): Endpoint {
    const zone = this.zones.get(pod.node)
    const serving = pod.ready
    const ready = (serving && !pod.terminating) || service.spec.publishNotReadyAddresses === true
    const { hostname, subdomain } = pod.spec
    const hints = ready ? hintsOf(service, zone, pod.node) : undefined
    return {
      addresses: [pod.ip],
      conditions: { ready, serving, terminating: pod.terminating },
      ...(hostname && subdomain === service.metadata.name && { hostname }),
      targetRef: { kind: 'Pod', namespace: pod.namespace, name: pod.name, uid: pod.uid },
      nodeName: pod.node,
      ...(zone !== undefined && { zone }),
      ...(hints !== undefined && { hints }),
    }
  }

  private mirror(service: Sourced<Service>, loaded: LoadedObject<EndpointsObject>): void {
    for (const subset of loaded.object.subsets ?? []) {
      const ports = (subset.ports ?? []).map(
        (p) => ({ ...p, name: p.name ?? '', protocol: p.protocol ?? 'TCP' }) as EndpointPort,
      )
      const toEndpoint = (address: EndpointAddress, ready: boolean): Endpoint => ({
        addresses: [address.ip],
        conditions: { ready, serving: ready, terminating: false },
        ...(address.hostname && { hostname: address.hostname }),
        ...(address.nodeName && { nodeName: address.nodeName }),
        ...(address.targetRef && { targetRef: address.targetRef }),
      })
      const all = [
        ...(subset.addresses ?? []).map((a) => toEndpoint(a, true)),
        ...(subset.notReadyAddresses ?? []).map((a) => toEndpoint(a, false)),
      ]
      for (const [addressType, isFamily] of [
        ['IPv4', (e: Endpoint) => !e.addresses[0]!.includes(':')],
        ['IPv6', (e: Endpoint) => e.addresses[0]!.includes(':')],
      ] as const) {
        const endpoints = all.filter(isFamily)
        for (let from = 0; from < endpoints.length; from += MAX_ENDPOINTS_PER_SLICE) {
          const part = endpoints.slice(from, from + MAX_ENDPOINTS_PER_SLICE)
          this.push({ ...service, source: loaded.source }, MIRRORING, ports, part, addressType)
        }
      }
    }
  }

  private addApiServer(service: Sourced<Service>): void {
    const { nodes } = this.input
    const controlPlanes = nodes.filter((node) => node.isControlPlane)
    const servers = controlPlanes.length > 0 ? controlPlanes : nodes.slice(0, 1)
    const endpoints = servers.map((node) => ({ addresses: [node.internalIp], conditions: { ready: true } }))
    const object: EndpointSlice = {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'kubernetes', namespace: 'default', labels: { [SERVICE_NAME]: 'kubernetes' } },
      addressType: 'IPv4',
      endpoints,
      ports: [{ name: 'https', port: 6443, protocol: 'TCP' }],
    }
    this.slices.push({ object, source: NO_POSITION, service: keyOf(service.object) })
  }

  private push(
    service: Sourced<Service>,
    managedBy: string,
    ports: EndpointPort[],
    endpoints: Endpoint[],
    addressType: 'IPv4' | 'IPv6' = 'IPv4',
  ): void {
    const { metadata, spec } = service.object
    const { namespace } = metadata
    const name = generateName(
      `${metadata.name}-`,
      `${namespace}/${metadata.name}/${managedBy}/${addressType}`,
      this.names,
    )
    const object: EndpointSlice = {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: {
        name,
        namespace,
        uid: uidFrom(`${namespace}/EndpointSlice/${name}`),
        labels: {
          ...metadata.labels,
          [MANAGED_BY]: managedBy,
          [SERVICE_NAME]: metadata.name,
          ...(spec.clusterIP === 'None' && { 'service.kubernetes.io/headless': '' }),
        },
      },
      addressType,
      endpoints,
      ports,
    }
    const { positionOf } = service
    this.slices.push({
      object,
      source: service.source,
      ...(positionOf && { positionOf }),
      service: keyOf(service.object),
    })
  }
}

/** FindPort: a number stands for itself, a name for the container port of that name and protocol. */
function resolvePorts(ports: readonly ServicePort[], pod: PodModel): EndpointPort[] {
  const resolved: EndpointPort[] = []
  for (const { name, protocol, targetPort, appProtocol } of ports) {
    const port =
      typeof targetPort === 'number'
        ? targetPort
        : pod.ports.find((p) => p.name === targetPort && p.protocol === protocol)?.port
    if (port === undefined) continue
    resolved.push({ name: name ?? '', port, protocol, ...(appProtocol !== undefined && { appProtocol }) })
  }
  return resolved
}
