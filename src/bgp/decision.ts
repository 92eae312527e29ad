/**
 * The decision process, as BIRD, FRR and GoBGP have it (RFC 4271 9.1.2 leaves room).
 *
 * BIRD: bgp_rte_better (proto/bgp/attrs.c) behind rte_better (nest/rt-table.c: protocol preference); FRR: bgp_path_info_cmp
 * (bgpd/bgp_route.c); GoBGP: Less of Path (internal/pkg/table/destination.go, path.go). Measured with 26 tests each. FRR
 * and GoBGP keep the older of equal external paths, BIRD goes by router id always. NOT modelled: deterministic-med,
 * always-compare-med, weight other than that of own routes, confederations.
 */
import type { BgpImplementation } from './config.ts'
import type { Rib } from './rib.ts'
import type { RouteStore, StoredAttributes } from './store.ts'

/** What decisions ask of a neighbour. */
export interface DecisionPeer {
  readonly isLocal: boolean
  readonly isInternal: boolean
  /** BGP identifier as an unsigned number. */
  readonly routerId: number
  /** Address as a key that sorts like the address. */
  readonly addressKey: string
}

/** What decides. */
export interface DecisionContext {
  readonly rib: Rib
  readonly store: RouteStore
  readonly peers: readonly DecisionPeer[]
  /** IGP metric of a next hop; Infinity when it cannot be reached. */
  metric(nextHop: string): number
  /** LLGR-stale paths come last. */
  isLongLivedStale(peer: number): boolean
}

/** Steps by name, in the words that FRR uses for its reasons. */
export type DecisionStep =
  | 'Reachability'
  | 'Stale'
  | 'Local Route'
  | 'Local Pref'
  | 'AS Path'
  | 'Origin'
  | 'MED'
  | 'Peer Type'
  | 'IGP Metric'
  | 'Older Path'
  | 'Router ID'
  | 'Cluster length'
  | 'Neighbor IP'

type Verdict = readonly [better: boolean, step: DecisionStep]

function peerKeyLess(a: DecisionPeer, b: DecisionPeer): boolean {
  return a.addressKey < b.addressKey
}

/** Address text as a string that sorts as the number does. */
export function addressKey(address: string): string {
  if (address.includes(':')) return `6${address}`
  return `4${address
    .split('.')
    .map((o) => o.padStart(3, '0'))
    .join('.')}`
}

/** How an implementation compares two rows; `incumbent` is the current best or -1. */
export function decide(kind: BgpImplementation, c: DecisionContext, a: number, b: number, incumbent: number): Verdict {
  const { rib, store, peers } = c
  const pa = peers[rib.peer(a)]!
  const pb = peers[rib.peer(b)]!
  const x = store.sets[rib.attributes(a)]!
  const y = store.sets[rib.attributes(b)]!
  const ma = pa.isLocal ? 0 : c.metric(x.nextHop)
  const mb = pb.isLocal ? 0 : c.metric(y.nextHop)
  if ((ma === Infinity) !== (mb === Infinity)) return [mb === Infinity, 'Reachability']
  // BIRD's static preference (200 over 100) and FRR's weight (32768)
  if (kind !== 'gobgp' && pa.isLocal !== pb.isLocal) return [pa.isLocal, 'Local Route']
  const sa = c.isLongLivedStale(rib.peer(a)) && rib.isStale(a)
  const sb = c.isLongLivedStale(rib.peer(b)) && rib.isStale(b)
  if (sa !== sb) return [sb, 'Stale']
  if (x.localPref !== y.localPref) return [x.localPref > y.localPref, 'Local Pref']
  if (pa.isLocal !== pb.isLocal) return [pa.isLocal, 'Local Route']
  if (x.pathLength !== y.pathLength) return [x.pathLength < y.pathLength, 'AS Path']
  if (x.origin !== y.origin) return [x.origin < y.origin, 'Origin']
  if (x.firstAs === y.firstAs && x.med !== y.med) return [x.med < y.med, 'MED']
  if (pa.isInternal !== pb.isInternal) return [pb.isInternal, 'Peer Type']
  if (kind !== 'gobgp' && ma !== mb) return [ma < mb, 'IGP Metric']
  if (kind !== 'bird' && !pa.isInternal && !pa.isLocal && !pb.isLocal) {
    if (kind === 'gobgp') return [rib.arrival(a) < rib.arrival(b), 'Older Path']
    if (b === incumbent) return [false, 'Older Path']
    if (a === incumbent) return [true, 'Older Path']
  }
  const ida = identifier(kind, x, pa)
  const idb = identifier(kind, y, pb)
  if (ida !== idb) return [ida < idb, 'Router ID']
  if (kind !== 'gobgp' && x.clusterLength !== y.clusterLength) {
    return [x.clusterLength < y.clusterLength, 'Cluster length']
  }
  if (pa.addressKey !== pb.addressKey) return [peerKeyLess(pa, pb), 'Neighbor IP']
  return [rib.pathId(a) < rib.pathId(b), 'Neighbor IP']
}

function identifier(kind: BgpImplementation, s: StoredAttributes, p: DecisionPeer): number {
  return kind === 'gobgp' || s.originator < 0 ? p.routerId : s.originator
}

/** Whether two paths may share the traffic: equal up to the IGP metric, as BIRD's merge paths and maximum-paths have it. */
export function isMultipath(kind: BgpImplementation, c: DecisionContext, best: number, other: number): boolean {
  const { rib, store, peers } = c
  const x = store.sets[rib.attributes(best)]!
  const y = store.sets[rib.attributes(other)]!
  const pa = peers[rib.peer(best)]!
  const pb = peers[rib.peer(other)]!
  return (
    pa.isLocal === pb.isLocal &&
    pa.isInternal === pb.isInternal &&
    x.localPref === y.localPref &&
    x.pathLength === y.pathLength &&
    x.origin === y.origin &&
    (x.firstAs !== y.firstAs || x.med === y.med) &&
    (kind === 'gobgp' || c.metric(x.nextHop) === c.metric(y.nextHop)) &&
    c.metric(y.nextHop) !== Infinity &&
    // FRR joins paths of one neighbouring AS only (no bestpath as-path multipath-relax)
    (kind !== 'frr' || JSON.stringify(x.attributes.asPath) === JSON.stringify(y.attributes.asPath))
  )
}
