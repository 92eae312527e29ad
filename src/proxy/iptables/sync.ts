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
import { type ObjectState, surroundingsOf, unchangedServices } from '../changes.ts'
import { endpointKey, serviceEndpoints } from '../endpoint.ts'
import type { SyncOptions } from '../mode.ts'
import { compareText, servicePorts } from '../service-port.ts'
import type { IpFamily, ProxyInput, RuleOrigin } from '../types.ts'
import { writeCaptureRules } from './capture-rules.ts'
import { planService, type SyncContext, syncContext } from './context.ts'
import { writeHead, writeTail } from './fixed-rules.ts'
import { collectOrigins, deleteChain, restoreInput } from './restore-buffer.ts'
import { activeChains, writeServiceChains } from './service-chains.ts'

/** What a sync leaves for the next one. */
export interface FamilyState extends ObjectState {
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
  const surroundings = surroundingsOf(input)
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
