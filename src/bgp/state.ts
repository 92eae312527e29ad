/**
 * A speaker's sessions and routes as a document: what `podwalk bgp speak` prints at its end and `podwalk get bgp` shows.
 */
import type { PathAttributes } from '../wire/bgp-types.ts'
import type { PeerState } from './peer.ts'
import { flatPath } from './policy.ts'
import type { Speaker } from './speaker.ts'
import { DEFAULT_LOCAL_PREF } from './store.ts'

/** One session. */
export interface SessionState {
  readonly neighbor: string
  readonly asn: number
  readonly state: PeerState
  /** Seconds in Established, 0 in any other state. */
  readonly uptimeS: number
  readonly holdTimeS: number
  /** What the neighbour offered. */
  readonly capabilities: readonly string[]
  /** Its address family and routes: accepted from it. */
  readonly prefixes: number
  /** How its last session ended, empty without one. */
  readonly lastError: string
}

/** One path. */
export interface RibEntry {
  readonly prefix: string
  /** null for an own network. */
  readonly nextHop: string | null
  readonly asPath: readonly number[]
  readonly localPref: number
  readonly med: number | null
  readonly origin: 'igp' | 'egp' | 'incomplete'
  readonly communities: readonly string[]
  /** The neighbour; null for an own network. */
  readonly from: string | null
  readonly best: boolean
  /** Kept over a restart of the neighbour. */
  readonly stale: boolean
}

/** Sessions, routes, own networks. */
export interface BgpState {
  readonly name: string
  readonly asn: number
  readonly routerId: string
  readonly sessions: readonly SessionState[]
  readonly rib: readonly RibEntry[]
  readonly announced: readonly string[]
}

const ORIGINS = ['igp', 'egp', 'incomplete'] as const

/** Communities of all sizes as text. */
export function communityTexts(a: PathAttributes): string[] {
  return [
    ...(a.communities ?? []).map((c) => `${c >>> 16}:${c & 0xffff}`),
    ...(a.largeCommunities ?? []).map((c) => c.join(':')),
    ...(a.extendedCommunities ?? []).map((c) => `0x${c}`),
  ]
}

/** The state of a speaker now; routes by prefix, the best first. */
export function bgpState(speaker: Speaker): BgpState {
  const { rib, store, peers } = speaker
  const now = speaker.host.clock.nowMs()
  const counts = new Map<number, number>()
  const entries: RibEntry[] = []
  for (let p = 0; p < rib.prefixEnd; p++) {
    const best = rib.first(p)
    for (let r = best; r >= 0; r = rib.next(r)) {
      const peer = rib.peer(r)
      counts.set(peer, (counts.get(peer) ?? 0) + 1)
      const a = store.sets[rib.attributes(r)]!.attributes
      entries.push({
        prefix: store.prefixes[p]!,
        nextHop: peer === 0 ? null : (a.nextHop ?? null),
        asPath: flatPath(a.asPath),
        localPref: a.localPref ?? DEFAULT_LOCAL_PREF,
        med: a.med ?? null,
        origin: ORIGINS[a.origin]!,
        communities: communityTexts(a),
        from: peer === 0 ? null : peers[peer - 1]!.spec.address,
        best: r === best,
        stale: rib.isStale(r),
      })
    }
  }
  entries.sort((a, b) => compare(a.prefix, b.prefix))
  return {
    name: speaker.spec.name,
    asn: speaker.spec.asn,
    routerId: speaker.spec.routerId,
    sessions: peers.map((p) => ({
      neighbor: p.spec.address,
      asn: p.spec.asn,
      state: p.state,
      uptimeS: p.state === 'Established' ? Math.floor((now - p.establishedAtMs) / 1000) : 0,
      holdTimeS: p.established?.agreement?.holdTime ?? 0,
      capabilities: p.established?.agreement?.capabilities ?? [],
      prefixes: counts.get(p.index) ?? 0,
      lastError: p.lastError,
    })),
    rib: entries,
    announced: [...speaker.localPrefixes()].sort(compare),
  }
}

/** Prefixes in the order of their addresses; IPv4 first. */
export function compare(a: string, b: string): number {
  const [x, y] = [sortable(a), sortable(b)]
  return x < y ? -1 : x > y ? 1 : 0
}

function sortable(prefix: string): string {
  const slash = prefix.indexOf('/')
  const [address, length] = [prefix.slice(0, slash), prefix.slice(slash + 1).padStart(3, '0')]
  if (address.includes(':')) return `6${address}/${length}`
  const octets = address.split('.').map((o) => o.padStart(3, '0'))
  return `4${octets.join('.')}/${length}`
}
