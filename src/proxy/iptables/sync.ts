/**
 * One sync of kube-proxy's iptables mode for one address family: the restore text and what the next sync must know.
 *
 * The first sync writes everything. Later ones are partial: the shared chains are rewritten, the chains of a Service
 * only when it or its endpoints changed, and chains that are no longer used are flushed and deleted. kube-proxy goes
 * back to a full sync after a failure, when its canary vanished and when the node's topology labels changed.
 *
 * Rules are computed for unchanged services as well, so that every rule on the node has its origin.
 *
 * Not modelled: the hourly full sync (nothing observable changes), iptables-restore failing.
 *
 * Source: pkg/proxy/iptables/proxier.go (syncProxyRules).
 */
import { type EndpointMap, endpointKey, type ServiceEndpoint, serviceEndpoints } from '../endpoint.ts'
import type { SyncOptions } from '../mode.ts'
import { compareText, type ServicePort, servicePorts } from '../service-port.ts'
import type { IpFamily, ProxyInput, RuleOrigin } from '../types.ts'
import { writeCaptureRules } from './capture-rules.ts'
import { planService, type SyncContext, syncContext } from './context.ts'
import { writeHead, writeTail } from './fixed-rules.ts'
import { collectOrigins, deleteChain, restoreInput } from './restore-buffer.ts'
import { activeChains, writeServiceChains } from './service-chains.ts'

/** What a sync leaves for the next one. */
export interface FamilyState {
  readonly ports: readonly ServicePort[]
  readonly endpoints: EndpointMap
  /** Configuration and node, as text: a change of either restarts kube-proxy or forces a full sync. */
  readonly surroundings: string
  /** The generated chains that are in the node's nat table. */
  readonly natChains: ReadonlySet<string>
}

/** One sync of one family. */
export interface FamilySync {
  readonly text: string
  readonly isFull: boolean
  readonly state: FamilyState
}

/** Runs one sync and adds the origin of every rule to `origins`. */
export function syncFamily(
  input: ProxyInput,
  family: IpFamily,
  previous: FamilyState | undefined,
  options: SyncOptions,
  origins: Map<string, readonly (RuleOrigin | null)[]>,
): FamilySync {
  const ports = servicePorts(input.services, family, input.config)
  const endpoints = serviceEndpoints(input.endpointSlices, family, input.node.name)
  const surroundings = JSON.stringify([input.config, input.node])
  const context = syncContext(input, family, ports, endpoints)
  const isFull = previous === undefined || options.full === true || previous.surroundings !== surroundings
  const unchanged = isFull ? new Set<string>() : unchangedServices(previous, ports, endpoints)

  writeHead(context)
  const active = new Set<string>()
  for (const port of ports) {
    const plan = planService(context, port, endpoints.get(endpointKey(port)) ?? [])
    for (const chain of activeChains(plan)) active.add(chain)
    writeCaptureRules(context, plan)
    writeServiceChains(context, plan, unchanged.has(port.serviceName))
  }
  const kept = deleteStaleChains(context, previous?.natChains ?? new Set(), active, options)
  writeTail(context)

  const buffers = [context.filter, context.nat]
  collectOrigins(origins, family, buffers)
  for (const chain of kept) active.add(chain)
  return { text: restoreInput(buffers), isFull, state: { ports, endpoints, surroundings, natChains: active } }
}

/** Deletes what is not active and returns what stays although it is stale. */
function deleteStaleChains(
  context: SyncContext,
  existing: ReadonlySet<string>,
  active: ReadonlySet<string>,
  options: SyncOptions,
): string[] {
  const stale = [...existing].filter((chain) => !active.has(chain)).sort(compareText)
  if (context.isLargeCluster && options.skipCleanup === true) return stale
  for (const chain of stale) deleteChain(context.nat, chain)
  return []
}

/** The `namespace/name` of every Service whose ports and endpoints are what they were. */
function unchangedServices(previous: FamilyState, ports: readonly ServicePort[], endpoints: EndpointMap): Set<string> {
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
  previous: FamilyState,
  endpoints: EndpointMap,
): boolean {
  if (old === undefined || JSON.stringify(port, dropPositions) !== JSON.stringify(old, dropPositions)) return false
  const key = endpointKey(port)
  const now = endpoints.get(key) ?? []
  const then = previous.endpoints.get(key) ?? []
  return now.length === then.length && now.every((endpoint, i) => isSameEndpoint(endpoint, then[i]))
}

function isSameEndpoint(a: ServiceEndpoint, b: ServiceEndpoint | undefined): boolean {
  return (
    b !== undefined &&
    a.target === b.target &&
    a.isLocal === b.isLocal &&
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
