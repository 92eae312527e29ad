/**
 * The elements of kube-proxy's sets and maps: what is on the node, and the smallest change to what it should be.
 *
 * Elements are not flushed and written again; a sync adds what is new, replaces what leads elsewhere (delete and add) and
 * deletes, at its end, what no Service asked for.
 *
 * Source: pkg/proxy/nftables/proxier.go (nftElementStorage).
 */
import { compareText } from '../service-port.ts'
import type { RuleOrigin } from '../types.ts'
import {
  CLUSTER_IPS,
  FIREWALL_IPS,
  NO_ENDPOINT_NODEPORTS,
  NO_ENDPOINT_SERVICES,
  SERVICE_IPS,
  SERVICE_NODEPORTS,
} from './names.ts'
import { addElement, deleteElement, type NftTransaction } from './transaction.ts'

/** The containers whose elements are kept up to date, in the order of the clean-up. */
export const CONTAINERS = [
  CLUSTER_IPS,
  SERVICE_IPS,
  FIREWALL_IPS,
  NO_ENDPOINT_SERVICES,
  NO_ENDPOINT_NODEPORTS,
  SERVICE_NODEPORTS,
] as const
/** One of them. */
export type Container = (typeof CONTAINERS)[number]

/** Elements by container and key; the value is empty for a set. */
export type Elements = ReadonlyMap<Container, ReadonlyMap<string, string>>

/** The containers during one sync. */
export interface ElementStore {
  readonly elements: Map<Container, Map<string, string>>
  readonly leftover: Map<Container, Set<string>>
  /** By `family container key`. */
  readonly lookups: Map<string, RuleOrigin>
}

/** The store at the start of a sync that finds `existing` on the node. */
export function elementStore(existing: Elements | undefined, lookups: Map<string, RuleOrigin>): ElementStore {
  const elements = new Map<Container, Map<string, string>>()
  const leftover = new Map<Container, Set<string>>()
  for (const container of CONTAINERS) {
    const found = new Map(existing?.get(container))
    elements.set(container, found)
    leftover.set(container, new Set(found.keys()))
  }
  return { elements, leftover, lookups }
}

/** The key under which an element's origin is kept. */
export function lookupKey(family: string, container: string, key: string): string {
  return `${family} ${container} ${key}`
}

/** Makes sure that the element is there with that value. */
export function ensureElement(
  tx: NftTransaction,
  store: ElementStore,
  container: Container,
  key: string,
  value: string,
  origin: RuleOrigin,
  comment = '',
): void {
  const elements = store.elements.get(container) ?? new Map<string, string>()
  const existing = elements.get(key)
  const name = lookupKey(tx.family, container, key)
  if (!store.lookups.has(name)) store.lookups.set(name, origin)
  if (existing !== value) {
    if (existing !== undefined) deleteElement(tx, container, key)
    addElement(tx, container, key, value, comment)
    elements.set(key, value)
  }
  store.leftover.get(container)?.delete(key)
}

/** Deletes the elements that nothing asked for. */
export function deleteLeftovers(tx: NftTransaction, store: ElementStore): void {
  for (const [container, keys] of store.leftover) {
    for (const key of [...keys].sort(compareText)) {
      deleteElement(tx, container, key)
      store.elements.get(container)?.delete(key)
    }
  }
}
