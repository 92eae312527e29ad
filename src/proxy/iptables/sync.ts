/**
 * One sync of kube-proxy's iptables mode for one address family: the restore text and what the next sync must know.
 *
 * The first sync writes everything. Later ones are partial: the shared chains are rewritten, the chains of a Service
 * only when it or its endpoints changed, and chains that are no longer used are flushed and deleted. kube-proxy goes
 * back to a full sync after a failure, when its canary vanished and when the node's topology labels changed.
 *
 * Every rule on the node has its origin, also those of unchanged Services, whose text is left out.
 *
 * Not modelled: the hourly full sync (nothing observable changes), iptables-restore failing.
 *
 * Source: pkg/proxy/iptables/proxier.go (syncProxyRules).
 */
import { isUntouched, type ObjectState, surroundingsOf, unchangedServices } from '../changes.ts'
import { endpointKey, serviceEndpoints } from '../endpoint.ts'
import type { SyncOptions } from '../mode.ts'
import { originKey } from '../origin-key.ts'
import { compareText, type ServicePort, servicePorts } from '../service-port.ts'
import type { IpFamily, ProxyInput, RuleOrigin, RuleOrigins } from '../types.ts'
import { writeCaptureRules } from './capture-rules.ts'
import { planService, type ServicePlan, type SyncContext, syncContext } from './context.ts'
import { writeHead, writeTail } from './fixed-rules.ts'
import { collectOrigins, deleteChain, restoreInput } from './restore-buffer.ts'
import { activeChains, writeServiceChains } from './service-chains.ts'

/** What a sync leaves for the next one. */
export interface FamilyState extends ObjectState {
  /** The generated chains that are in the node's nat table. */
  readonly natChains: ReadonlySet<string>
  readonly plans: ReadonlyMap<ServicePort, ServicePlan>
  readonly isLargeCluster: boolean
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
  oldOrigins: RuleOrigins = new Map(),
): FamilySync {
  const ports = servicePorts(input.services, family, input.config)
  const endpoints = serviceEndpoints(input.endpointSlices, family, input.node.name)
  const surroundings = surroundingsOf(input)
  const context = syncContext(input, family, ports, endpoints)
  const isFull = previous === undefined || options.full === true || previous.surroundings !== surroundings
  const unchanged = isFull ? new Set<string>() : unchangedServices(previous, ports, endpoints)

  writeHead(context)
  const active = new Set<string>()
  const places = new Map(previous?.ports.map((port, i) => [port, i]))
  const plans = new Map<ServicePort, ServicePlan>()
  for (const port of ports) {
    const place = places.get(port) ?? -1
    const isSame = !isFull && previous.isLargeCluster === context.isLargeCluster
    const isKept = isSame && place >= 0 && isUntouched(previous, place, port, endpoints)
    const known = isKept ? previous.plans.get(port) : undefined
    const plan = known ?? planService(context, port, endpoints.get(endpointKey(port)) ?? [])
    plans.set(port, plan)
    const chains = activeChains(plan)
    for (const chain of chains) active.add(chain)
    writeCaptureRules(context, plan)
    if (known === undefined) writeServiceChains(context, plan, unchanged.has(port.serviceName))
    else keepOrigins(family, chains, oldOrigins, origins)
  }
  const kept = deleteStaleChains(context, previous?.natChains ?? new Set(), active, options)
  writeTail(context)

  const buffers = [context.filter, context.nat]
  collectOrigins(origins, family, buffers)
  for (const chain of kept) active.add(chain)
  const { isLargeCluster } = context
  const state = { ports, endpoints, surroundings, natChains: active, plans, isLargeCluster }
  return { text: restoreInput(buffers), isFull, state }
}

/** The chains of a service port that is as it was: text and origins stay. */
function keepOrigins(
  family: IpFamily,
  chains: readonly string[],
  from: RuleOrigins,
  to: Map<string, readonly (RuleOrigin | null)[]>,
): void {
  for (const chain of chains) {
    const key = originKey(family, 'nat', chain)
    const list = from.get(key)
    if (list !== undefined) to.set(key, list)
  }
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
