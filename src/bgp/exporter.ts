/**
 * From Loc-RIB to the neighbours: who gets which route, with which attributes (RFC 4271 9.1.3 and 9.2, RFC 4456).
 *
 * Neighbours that get the same are one group, and an UPDATE is made once for all of them, as FRR's update groups. A
 * neighbour of its own: the one that a route came from. Third-party next hops (RFC 4271 5.1.3) are kept by BIRD and FRR
 * where the speaker knows its subnets. NOT modelled: outbound route filters, aggregation.
 */

import {
  type BgpUpdate,
  COMMUNITY_NO_ADVERTISE,
  COMMUNITY_NO_EXPORT,
  COMMUNITY_NO_EXPORT_SUBCONFED,
  type Nlri,
  type PathAttributes,
} from '../wire/bgp.ts'
import { familyOf } from '../wire/bgp-prefix.ts'
import { nlriPerUpdate } from '../wire/bgp-update.ts'
import type { BgpFamily, RouteSource } from './config.ts'
import type { Peer } from './peer.ts'
import { prependPath } from './policy.ts'
import type { Speaker } from './speaker.ts'
import { DEFAULT_LOCAL_PREF } from './store.ts'

type Draft = { -readonly [K in keyof PathAttributes]: PathAttributes[K] }

/** One change to tell: a path with its attributes for the group, or (-1) none any more. */
interface Change {
  readonly prefix: number
  /** Number of the attribute set, -1 to withdraw. */
  readonly attributes: number
  /** Neighbour that it came from: not told, unless the implementation does. */
  readonly source: number
}

/** Neighbours that get the same. */
interface Group {
  readonly members: Set<Peer>
  /** By attribute set and source: what is sent; -1 nothing. */
  readonly cache: Map<number, number>
  readonly allPaths: boolean
}

/** Cache keys: attribute set times this plus the source. */
const MAX_PEERS = 65_536

function groupKey(p: Peer): string {
  const s = p.spec
  const { send, families } = p.established!.agreement!
  return JSON.stringify([
    ...[p.isInternal, s.routeReflectorClient ?? false, s.clusterId, s.nextHopSelf, s.nextHopKeep, p.localAddress],
    ...[p.localAsn, s.export, send, families],
    // a next hop may be in the neighbour's subnet, or not
    ...(p.isInternal ? [] : [s.address]),
  ])
}

function takesAllPaths(p: Peer): boolean {
  const tx = p.established?.agreement?.send.addPath
  return tx !== undefined && (tx.ipv4 || tx.ipv6)
}

/** Whether a neighbour gets exactly what its group gets: nothing came from it, and it was told what is withdrawn. */
function takesWhole(p: Peer, changes: readonly Change[], sendsBack: boolean): boolean {
  for (const c of changes) {
    if (c.attributes < 0 ? !p.exported.has(c.prefix) : c.source === p.index && !sendsBack) return false
  }
  return true
}

/** Tells the neighbours of one speaker. */
export class Exporter {
  private readonly speaker: Speaker
  private readonly groups = new Map<string, Group>()
  private readonly groupOf = new Map<Peer, Group>()
  /** Neighbours that are told every path (ADD-PATH). */
  allPathPeers = 0
  /** UPDATEs made (each may go to many). */
  built = 0

  constructor(speaker: Speaker) {
    this.speaker = speaker
  }

  /** A neighbour takes UPDATEs from now on. */
  join(peer: Peer): void {
    const key = groupKey(peer)
    let g = this.groups.get(key)
    if (g === undefined) {
      g = { members: new Set(), cache: new Map(), allPaths: takesAllPaths(peer) }
      this.groups.set(key, g)
    }
    if (this.groupOf.has(peer)) return
    g.members.add(peer)
    this.groupOf.set(peer, g)
    if (g.allPaths) this.allPathPeers++
  }

  /** A neighbour's session is over. */
  leave(peer: Peer): void {
    const g = this.groupOf.get(peer)
    if (g === undefined) return
    g.members.delete(peer)
    this.groupOf.delete(peer)
    if (g.allPaths) this.allPathPeers--
  }

  /** Tells everybody about these prefixes. */
  send(prefixes: readonly number[]): void {
    for (const g of this.groups.values()) if (g.members.size > 0) this.sendGroup(g, [...g.members], prefixes)
  }

  /** Tells one neighbour everything. */
  sendAll(peer: Peer): void {
    const g = this.groupOf.get(peer)
    if (g === undefined) return
    const { rib } = this.speaker
    const all: number[] = []
    for (let p = 0; p < rib.prefixEnd; p++) if (rib.first(p) >= 0) all.push(p)
    this.sendGroup(g, [peer], all)
  }

  private sendGroup(g: Group, members: readonly Peer[], prefixes: readonly number[]): void {
    const { store } = this.speaker
    const agreement = members[0]!.established!.agreement!
    for (const family of agreement.families) {
      const mine = prefixes.filter((p) => familyOf(store.prefixes[p]!) === family)
      if (mine.length === 0) continue
      if (agreement.send.addPath[family]) for (const p of members) this.sendPaths(g, p, mine, family)
      else this.sendBest(g, members, mine, family)
    }
  }

  private sendBest(g: Group, members: readonly Peer[], prefixes: readonly number[], family: BgpFamily): void {
    const { rib, profile } = this.speaker
    const changes: Change[] = prefixes.map((prefix) => {
      const row = rib.first(prefix)
      if (row < 0) return { prefix, attributes: -1, source: -1 }
      return { prefix, attributes: this.outgoing(g, members[0]!, row, prefix), source: rib.peer(row) }
    })
    const told = changes.filter((c) => c.attributes >= 0)
    const withdrawn = changes.filter((c) => c.attributes < 0)
    let shared: readonly BgpUpdate[] | null = null
    for (const peer of members) {
      let messages: readonly BgpUpdate[]
      if (members.length > 1 && takesWhole(peer, changes, profile.sendsBack)) {
        shared ??= this.messages(peer, told, withdrawn, family)
        messages = shared
        for (const c of changes) peer.exported.set(c.prefix, c.attributes >= 0)
      } else {
        const announce: Change[] = []
        const withdraw: Change[] = []
        for (const c of changes) {
          const isTold = c.attributes >= 0 && (c.source !== peer.index || profile.sendsBack)
          if (isTold) announce.push(c)
          else if (peer.exported.has(c.prefix)) withdraw.push(c)
          peer.exported.set(c.prefix, isTold)
        }
        messages = this.messages(peer, announce, withdraw, family)
      }
      for (const m of messages) peer.established!.send(m)
    }
  }

  /** With ADD-PATH: every path that may be told, by its id. */
  private sendPaths(g: Group, peer: Peer, prefixes: readonly number[], family: BgpFamily): void {
    const { rib, profile, store } = this.speaker
    const withdrawn: Nlri[] = []
    const announced = new Map<number, Nlri[]>()
    for (const prefix of prefixes) {
      const told = peer.exported.pathsOf(prefix)
      const wanted = new Map<number, number>()
      for (let r = rib.first(prefix); r >= 0; r = rib.next(r)) {
        if (rib.peer(r) === peer.index && !profile.sendsBack) continue
        const a = this.outgoing(g, peer, r, prefix)
        if (a >= 0) wanted.set(this.speaker.pathIdOf(rib.peer(r), rib.pathId(r)), a)
      }
      const text = store.prefixes[prefix]!
      for (const id of told.keys()) {
        if (wanted.has(id)) continue
        withdrawn.push({ prefix: text, pathId: id })
        told.delete(id)
      }
      for (const [id, a] of wanted) {
        if (told.get(id) === a) continue
        told.set(id, a)
        const list = announced.get(a)
        if (list === undefined) announced.set(a, [{ prefix: text, pathId: id }])
        else list.push({ prefix: text, pathId: id })
      }
    }
    for (const m of this.updates(peer, withdrawn, announced, family)) peer.established!.send(m)
  }

  private messages(
    peer: Peer,
    announce: readonly Change[],
    withdraw: readonly Change[],
    family: BgpFamily,
  ): BgpUpdate[] {
    const { prefixes } = this.speaker.store
    const bySet = new Map<number, Nlri[]>()
    for (const c of announce) {
      const n = { prefix: prefixes[c.prefix]! }
      const list = bySet.get(c.attributes)
      if (list === undefined) bySet.set(c.attributes, [n])
      else list.push(n)
    }
    const gone = withdraw.map((c) => ({ prefix: prefixes[c.prefix]! }))
    return this.updates(peer, gone, bySet, family)
  }

  private updates(
    peer: Peer,
    withdrawn: readonly Nlri[],
    announced: ReadonlyMap<number, readonly Nlri[]>,
    family: BgpFamily,
  ): BgpUpdate[] {
    const ctx = peer.established!.agreement!.send
    const out: BgpUpdate[] = []
    for (const nlri of chunks(withdrawn, withdrawn.length === 0 ? 1 : nlriPerUpdate(family, null, ctx))) {
      const unreach = [{ family, mp: family === 'ipv6', nlri }]
      out.push({ type: 'UPDATE', unreach, reach: [], attributes: null })
    }
    for (const [set, list] of announced) {
      const attributes = this.speaker.store.sets[set]!.attributes
      const nextHop = attributes.nextHop!
      const mp = family === 'ipv6' || nextHop.includes(':')
      for (const nlri of list.length === 1 ? [list] : chunks(list, nlriPerUpdate(family, attributes, ctx))) {
        const { linkLocal } = attributes
        const reach = [{ family, mp, nextHop, ...(linkLocal === undefined ? {} : { linkLocal }), nlri }]
        out.push({ type: 'UPDATE', unreach: [], reach, attributes })
      }
    }
    this.built += out.length
    return out
  }

  /** The attribute set that a group gets for a path, -1 for none. */
  private outgoing(g: Group, peer: Peer, row: number, prefix: number): number {
    const { rib, store } = this.speaker
    const set = rib.attributes(row)
    const source = rib.peer(row)
    const key = set * MAX_PEERS + source
    // a filter may look at the prefix
    if (peer.exportPolicy === null) {
      const known = g.cache.get(key)
      if (known !== undefined) return known
    }
    const made = this.transform(peer, source, store.sets[set]!.attributes, store.prefixes[prefix]!)
    const id = made === null ? -1 : store.attributesId(made)
    if (peer.exportPolicy === null) g.cache.set(key, id)
    return id
  }

  private transform(peer: Peer, source: number, a: PathAttributes, prefix: string): PathAttributes | null {
    const from = source === 0 ? null : this.speaker.peers[source - 1]!
    if (a.communities?.includes(COMMUNITY_NO_ADVERTISE) === true) return null
    if (!peer.isInternal && a.communities?.some(isNoExport) === true) return null
    const reflects = from?.isInternal === true && peer.isInternal
    if (reflects && from.spec.routeReflectorClient !== true && peer.spec.routeReflectorClient !== true) return null
    let filtered = a
    let policySelf = false
    let policyNextHop = false
    if (peer.exportPolicy !== null) {
      const local = from === null ? this.speaker.localRoute(prefix) : undefined
      const kind: RouteSource = from === null ? (local?.source ?? 'static') : from.isInternal ? 'ibgp' : 'ebgp'
      const r = peer.exportPolicy({ prefix, attributes: a, source: kind, interface: local?.interface })
      if (r === null) return null
      filtered = r.attributes
      policySelf = r.nextHopSelf
      policyNextHop = filtered.nextHop !== a.nextHop
    }
    const d: Draft = { ...filtered }
    const isOwnHop = policySelf || (!policyNextHop && this.setsNextHop(peer, from, a))
    if (isOwnHop) {
      d.nextHop = peer.localAddress
      delete d.linkLocal
    }
    if (this.speaker.spec.implementation !== 'gobgp') delete d.asPathExtended
    if (peer.isInternal) {
      d.localPref ??= DEFAULT_LOCAL_PREF
      if (reflects) {
        d.originatorId ??= dotted(from.routerId)
        d.clusterList = [peer.spec.clusterId ?? this.speaker.clusterId, ...(a.clusterList ?? [])]
      }
      return d
    }
    d.asPath = prependPath(d.asPath, [peer.localAsn])
    delete d.localPref
    delete d.originatorId
    delete d.clusterList
    if (from !== null && filtered.med === a.med) delete d.med
    return d
  }

  /** Whether the own address becomes the next hop. */
  private setsNextHop(peer: Peer, from: Peer | null, a: PathAttributes): boolean {
    const { nextHopSelf, nextHopKeep } = peer.spec
    // the next hop of an own network is the session's address, or what was configured for it
    if (from === null) return a.nextHop === undefined || a.nextHop === '' || nextHopSelf === 'on'
    if (nextHopKeep === true) return false
    if (nextHopSelf === 'on') {
      // FRR leaves reflected routes alone
      const isReflected = from.isInternal && peer.isInternal
      return !(isReflected && this.speaker.spec.implementation === 'frr')
    }
    if (nextHopSelf === 'ebgp') return !peer.isInternal || !from.isInternal
    if (peer.isInternal) return false
    if (this.speaker.spec.implementation === 'gobgp' || peer.spec.multihopTtl !== undefined) return true
    return a.nextHop === peer.spec.address || !this.speaker.sameSubnet(a.nextHop ?? '', peer.spec.address)
  }
}

function isNoExport(c: number): boolean {
  return c === COMMUNITY_NO_EXPORT || c === COMMUNITY_NO_EXPORT_SUBCONFED
}

function dotted(id: number): string {
  return [id >>> 24, (id >>> 16) & 255, (id >>> 8) & 255, id & 255].join('.')
}

function* chunks<T>(list: readonly T[], size: number): Generator<readonly T[]> {
  for (let i = 0; i < list.length; i += size) yield list.slice(i, i + size)
}
