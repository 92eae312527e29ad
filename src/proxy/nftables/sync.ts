/**
 * One sync of kube-proxy's nftables mode for one address family: its transactions and what the next sync must know.
 *
 * A full sync (start, failure, changed node labels) writes the table; others write the chains of changed Services and
 * the difference of the elements. A chain nobody needs is flushed now and deleted, in a transaction of its own, by the
 * first sync more than a second later: kernels before 6.2 notice late that a deleted map element no longer refers to it.
 * Affinity sets are deleted at once. A kube-proxy that starts on a programmed node leaves endpoint chains as they are.
 *
 * Not modelled: the hourly full sync, transactions that fail.
 *
 * Source: pkg/proxy/nftables/proxier.go (syncProxyRules, epChainSkipUpdate).
 */
import { isUntouched, type ObjectState, surroundingsOf, unchangedServices } from '../changes.ts'
import { endpointKey, serviceEndpoints } from '../endpoint.ts'
import type { SyncOptions } from '../mode.ts'
import { originKey } from '../origin-key.ts'
import { compareText, type ServicePort, servicePorts } from '../service-port.ts'
import type { IpFamily, ProxyInput, RuleOrigin } from '../types.ts'
import { captureBalancerAndNodePort, captureServiceIps } from './capture.ts'
import { type NamedEndpoint, type NftPlan, nftContext, nftPlan } from './context.ts'
import { deleteLeftovers, type Elements, elementStore } from './elements.ts'
import { TABLE } from './names.ts'
import { writeServiceRules } from './service-rules.ts'
import { writeSetup } from './setup.ts'
import {
  addChain,
  deleteChain,
  deleteSet,
  flushChain,
  type NftTransaction,
  nftTransaction,
  transactionText,
} from './transaction.ts'

/** Seconds between syncs whose time nobody said. */
const DEFAULT_PAUSE = 2
/** A chain is deleted when it has been stale for longer than this many seconds. */
const STALE_SECONDS = 1

/** What a sync leaves for the next one. */
export interface NftFamilyState extends ObjectState {
  readonly plans: ReadonlyMap<ServicePort, NftPlan>
  readonly elements: Elements
  /** Chains of Services and endpoints on the node. */
  readonly chains: ReadonlySet<string>
  readonly affinitySets: ReadonlySet<string>
  /** Flushed chains and when they were. */
  readonly staleChains: ReadonlyMap<string, number>
  readonly atSeconds: number
}

/** Runs one sync; origins of rules and elements are added to the maps. @returns the transactions that are not empty */
export function syncNftFamily(
  input: ProxyInput,
  family: IpFamily,
  previous: NftFamilyState | undefined,
  options: SyncOptions,
  origins: Map<string, readonly (RuleOrigin | null)[]>,
  lookups: Map<string, RuleOrigin>,
): { readonly texts: readonly string[]; readonly state: NftFamilyState } {
  const ports = servicePorts(input.services, family, input.config)
  const endpoints = serviceEndpoints(input.endpointSlices, family, input.node.name)
  const surroundings = surroundingsOf(input)
  const atSeconds = options.atSeconds ?? (previous === undefined ? 0 : previous.atSeconds + DEFAULT_PAUSE)
  const isStart = previous === undefined || options.restart === true || previous.surroundings !== surroundings
  const isFull = isStart || options.full === true
  const unchanged = isFull ? new Set<string>() : unchangedServices(previous, ports, endpoints)

  const chains = new Set(previous?.chains)
  // A kube-proxy that has just started has no list of stale chains.
  const stale = new Map(isStart ? [] : previous?.staleChains)
  const cleanup = deleteStaleChains(family, stale, chains, atSeconds, origins)

  const tx = nftTransaction(family, origins)
  const context = nftContext(input, family)
  const store = elementStore(previous?.elements, lookups)
  if (isFull) writeSetup(tx, context, isStart)
  const active = new Set<string>()
  const activeSets = new Set<string>()
  const places = new Map(previous?.ports.map((port, i) => [port, i]))
  const plans = new Map<ServicePort, NftPlan>()
  for (const port of ports) {
    const isUntouchedPort = !isFull && isUntouched(previous, places.get(port) ?? -1, port, endpoints)
    const known = isUntouchedPort ? previous.plans.get(port) : undefined
    const plan = known ?? nftPlan(context, port, endpoints.get(endpointKey(port)) ?? [])
    plans.set(port, plan)
    const isSkipped = unchanged.has(port.serviceName)
    const hasAffinity = port.affinitySeconds !== null
    const isKept = ({ chain, affinity }: NamedEndpoint): boolean =>
      isStart && chains.has(chain) && hasAffinity === (previous?.affinitySets.has(affinity) ?? false)
    ensureChains(tx, plan, active, activeSets, isSkipped, isKept)
    captureServiceIps(tx, store, plan)
    if (plan.usesFirewall) ensureChain(tx, plan.chains.firewall, active, isSkipped)
    captureBalancerAndNodePort(tx, store, plan)
    if (known === undefined) writeServiceRules(tx, context, plan, isSkipped, isKept)
  }
  for (const chain of stale.keys()) if (active.has(chain)) stale.delete(chain)
  for (const chain of [...chains].filter((name) => !active.has(name)).sort(compareText)) {
    flushChain(tx, chain)
    stale.set(chain, atSeconds)
  }
  for (const set of [...(previous?.affinitySets ?? [])].filter((name) => !activeSets.has(name)).sort(compareText)) {
    deleteSet(tx, set)
  }
  deleteLeftovers(tx, store)
  for (const chain of chains) active.add(chain)
  return {
    texts: [cleanup, transactionText(tx)].filter((text) => text !== ''),
    state: {
      ports,
      endpoints,
      surroundings,
      plans,
      elements: store.elements,
      chains: active,
      affinitySets: activeSets,
      staleChains: stale,
      atSeconds,
    },
  }
}

/** The transaction that deletes chains which are stale for long enough. */
function deleteStaleChains(
  family: IpFamily,
  stale: Map<string, number>,
  chains: Set<string>,
  atSeconds: number,
  origins: Map<string, readonly (RuleOrigin | null)[]>,
): string {
  const tx = nftTransaction(family, new Map())
  for (const [chain, since] of [...stale].sort(([a], [b]) => compareText(a, b))) {
    if (atSeconds - since <= STALE_SECONDS) continue
    deleteChain(tx, chain)
    stale.delete(chain)
    chains.delete(chain)
    origins.delete(originKey(family, TABLE, chain))
  }
  return transactionText(tx)
}

function ensureChains(
  tx: NftTransaction,
  plan: NftPlan,
  active: Set<string>,
  activeSets: Set<string>,
  isSkipped: boolean,
  isKept: (named: NamedEndpoint) => boolean,
): void {
  const { port, usesCluster, usesLocal, usesExternal } = plan.traffic
  for (const named of plan.reachable) {
    ensureChain(tx, named.chain, active, isSkipped || isKept(named))
    if (port.affinitySeconds !== null) activeSets.add(named.affinity)
  }
  if (usesCluster) ensureChain(tx, plan.chains.cluster, active, isSkipped)
  if (usesLocal) ensureChain(tx, plan.chains.local, active, isSkipped)
  if (usesExternal) ensureChain(tx, plan.chains.external, active, isSkipped)
}

function ensureChain(tx: NftTransaction, chain: string, active: Set<string>, isSkipped: boolean): void {
  if (active.has(chain)) return
  active.add(chain)
  if (isSkipped) return
  addChain(tx, chain)
  flushChain(tx, chain)
}
