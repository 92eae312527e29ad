/**
 * What routes are made of, stored once: prefixes and attribute sets by number.
 *
 * BIRD keeps one rta per attribute set and one net per prefix of a table; here one store may serve all speakers of a
 * simulation, so that 5,000 nodes that hold the same 5,000 routes hold the texts once. What the decision process asks of
 * an attribute set is worked out once, too. NOT done: sets that no route uses any more are not forgotten.
 */
import { parseIpv4 } from '../addr/ipv4.ts'
import { asPathLength } from '../wire/bgp-attribute.ts'
import { AS_SEQUENCE, type PathAttributes } from '../wire/bgp-types.ts'

/** An attribute set with what decisions compare. */
export interface StoredAttributes {
  readonly attributes: PathAttributes
  readonly localPref: number
  readonly pathLength: number
  /** The AS that sent it, 0 for an empty path: MEDs of the same are compared. */
  readonly firstAs: number
  /** Missing counts as 0. */
  readonly med: number
  readonly origin: number
  /** ORIGINATOR_ID as an unsigned number, -1 without one. */
  readonly originator: number
  readonly clusterLength: number
  readonly nextHop: string
}

/** LOCAL_PREF of a route that has none. */
export const DEFAULT_LOCAL_PREF = 100

function firstAs(a: PathAttributes): number {
  const s = a.asPath[0]
  return s !== undefined && s.type === AS_SEQUENCE ? s.asns[0]! : 0
}

function contentKey(a: PathAttributes): string {
  return JSON.stringify([
    ...[a.origin, a.asPath, a.nextHop, a.linkLocal, a.med, a.localPref, a.atomicAggregate, a.aggregator],
    ...[a.communities, a.originatorId, a.clusterList, a.extendedCommunities, a.largeCommunities, a.asPathExtended],
    a.others?.map((o) => [o.flags, o.type, [...o.data]]),
  ])
}

/** Prefixes and attribute sets by number. */
export class RouteStore {
  readonly prefixes: string[] = []
  readonly sets: StoredAttributes[] = []
  private readonly prefixIds = new Map<string, number>()
  private readonly byObject = new WeakMap<PathAttributes, number>()
  private readonly byContent = new Map<string, number>()

  /** Number of a prefix. */
  prefixId(prefix: string): number {
    const known = this.prefixIds.get(prefix)
    if (known !== undefined) return known
    const id = this.prefixes.length
    this.prefixes.push(prefix)
    this.prefixIds.set(prefix, id)
    return id
  }

  /** Number of a prefix that a route was seen for, -1 for others. */
  knownPrefix(prefix: string): number {
    return this.prefixIds.get(prefix) ?? -1
  }

  /** Number of an attribute set; equal sets have the same. */
  attributesId(a: PathAttributes): number {
    const known = this.byObject.get(a)
    if (known !== undefined) return known
    const key = contentKey(a)
    let id = this.byContent.get(key)
    if (id === undefined) {
      id = this.sets.length
      this.byContent.set(key, id)
      this.sets.push({
        attributes: a,
        localPref: a.localPref ?? DEFAULT_LOCAL_PREF,
        pathLength: asPathLength(a.asPath),
        firstAs: firstAs(a),
        med: a.med ?? 0,
        origin: a.origin,
        originator: a.originatorId === undefined ? -1 : (parseIpv4(a.originatorId) ?? 0) >>> 0,
        clusterLength: a.clusterList?.length ?? 0,
        nextHop: a.nextHop ?? '',
      })
    }
    this.byObject.set(a, id)
    return id
  }
}
