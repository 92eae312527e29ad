/**
 * A BGP speaker: neighbours, routes, decisions, what goes to the kernel.
 *
 * Codec-free: messages come and go as values (src/wire/bgp-types.ts), the bytes are the transport's. What of the real
 * daemons is followed and what not stands in profile.ts, decision.ts, peer.ts and exporter.ts. NOT modelled: confederations,
 * route damping, VPN families, dynamic neighbours, aggregation, BFD.
 */
import { parseIpv4 } from '../addr/ipv4.ts'
import type { BgpUpdate, PathAttributes } from '../wire/bgp-types.ts'
import type { BgpClock, BgpConnection, BgpTimer, BgpTransport, ConnectionHandler } from './clock.ts'
import type { BgpLocalRoute, BgpSpeakerSpec } from './config.ts'
import { type DecisionContext, type DecisionPeer, type DecisionStep, decide, isMultipath } from './decision.ts'
import { Exporter } from './exporter.ts'
import { Peer } from './peer.ts'
import { type CompiledPolicy, changeCommunities, compilePolicy, flatPath } from './policy.ts'
import { PROFILES, type Profile } from './profile.ts'
import { Rib } from './rib.ts'
import { RouteStore } from './store.ts'

/** A route for the kernel. */
export interface InstalledRoute {
  readonly prefix: string
  /** Empty with `blackhole`. */
  readonly nextHops: readonly { readonly address: string; readonly tunnel?: string }[]
  readonly blackhole: boolean
  /** Priority. */
  readonly metric: number
  readonly protocol: 'bird' | 'bgp' | 'zebra'
  readonly prefSrc?: string
}

/** Something that happened to a session, for timelines. */
export interface SpeakerEvent {
  readonly atMs: number
  readonly speaker: string
  readonly neighbor: string
  readonly kind: 'established' | 'lost' | 'refused' | 'restart-over'
  readonly text: string
}

/** What a speaker runs on. */
export interface BgpHost {
  readonly clock: BgpClock
  readonly transport: BgpTransport
  /** 0 to 1, for jitter. */
  random(): number
  /** Attribute sets and prefixes, when several speakers share them. */
  readonly store?: RouteStore
  /** Puts a route into the kernel, or (null) takes it out. */
  install?(prefix: string, route: InstalledRoute | null): void
  /** A restart is over: routes that were not installed since are nobody's any more. */
  recovered?(): void
  /** IGP metric of a next hop; Infinity when there is no route to it. Default 0. */
  metric?(nextHop: string): number
  /** Whether two addresses are of one subnet of this host. */
  sameSubnet?(a: string, b: string): boolean
  event?(e: SpeakerEvent): void
}

const ORIGINS = ['igp', 'egp', 'incomplete'] as const
/** BIRD waits so long for its neighbours' End-of-RIB after a restart (graceful restart wait). */
const RESTART_WAIT_MS = 240_000
/** Path ids that a speaker gives out begin here: BIRD's first sources are its own protocols. */
const FIRST_PATH_ID = 2

/** The speaker itself, as the decision process sees it. */
const LOCAL: DecisionPeer = { isLocal: true, isInternal: false, routerId: 0, addressKey: '' }

/** A speaker. */
export class Speaker {
  readonly spec: BgpSpeakerSpec
  readonly host: BgpHost
  readonly profile: Profile
  readonly store: RouteStore
  readonly rib = new Rib()
  readonly peers: readonly Peer[]
  readonly clusterId: string
  /** After a restart: OPENs say so until all neighbours' routes are back. */
  isRestarting: boolean
  /** Own UPDATEs wait for the neighbours' End-of-RIB. */
  isDeferring: boolean
  /** What it did, for reports. */
  readonly counters = { updatesReceived: 0, decisions: 0 }
  private readonly locals = new Map<string, BgpLocalRoute>()
  private readonly exporter: Exporter
  private readonly installFilter: CompiledPolicy | null
  private readonly decisionPeers: readonly DecisionPeer[]
  private readonly context: DecisionContext
  private incumbent = -1
  /** The best path has just been taken out: neighbours may know of it. */
  private removedBest = false
  /** Neither clients nor external neighbours: nothing that is learnt is passed on. */
  private readonly isLeaf: boolean
  private readonly better = (a: number, b: number): boolean =>
    decide(this.spec.implementation, this.context, a, b, this.incumbent)[0]
  private readonly dirty: number[] = []
  private marks = new Uint8Array(16)
  private readonly flushTimer: BgpTimer
  private readonly deferTimer: BgpTimer
  private readonly pathIds = new Map<number, Map<number, number>>()
  private nextPathId = FIRST_PATH_ID
  private running = false

  constructor(spec: BgpSpeakerSpec, host: BgpHost) {
    this.spec = spec
    this.host = host
    this.profile = PROFILES[spec.implementation]
    this.store = host.store ?? new RouteStore()
    this.clusterId = spec.clusterId ?? spec.routerId
    this.isRestarting = spec.restarting ?? false
    this.isDeferring = this.isRestarting
    this.peers = spec.peers.map((p, i) => new Peer(this, p, i + 1))
    this.decisionPeers = [LOCAL, ...this.peers]
    this.isLeaf = this.peers.every((p) => p.isInternal && p.spec.routeReflectorClient !== true)
    this.exporter = new Exporter(this)
    this.installFilter = compilePolicy(spec.install?.filter)
    const { rib, store, decisionPeers, peers } = this
    this.context = {
      rib,
      store,
      peers: decisionPeers,
      metric: (nextHop) => host.metric?.(nextHop) ?? 0,
      isLongLivedStale: (peer) => peer > 0 && peers[peer - 1]!.restart === 'long-lived',
    }
    this.flushTimer = host.clock.timer(() => this.flush())
    this.deferTimer = host.clock.timer(() => this.endDeferral())
    for (const r of spec.routes) this.locals.set(r.prefix, r)
  }

  /** Listens, announces its own networks, connects. */
  start(): void {
    if (this.running) return
    this.running = true
    for (const r of this.locals.values()) this.putLocal(r)
    this.host.transport.listen(this.spec.port ?? 179, (c) => this.accept(c))
    if (this.isDeferring) this.deferTimer.arm(RESTART_WAIT_MS)
    for (const p of this.peers) p.start()
  }

  /** Ends in order: Cease to everybody. Routes leave the kernel unless they persist. */
  stop(): void {
    if (!this.running) return
    this.running = false
    this.host.transport.stop()
    for (const p of this.peers) p.stop()
    if (this.spec.install?.persist !== true) this.flush()
    this.cancelTimers()
    this.leaveKernel()
  }

  /** The process is killed: connections close, nothing is said, routes stay in the kernel. */
  kill(): void {
    this.running = false
    this.host.transport.stop()
    for (const p of this.peers) p.kill()
    this.cancelTimers()
  }

  private cancelTimers(): void {
    this.flushTimer.cancel()
    this.deferTimer.cancel()
  }

  private leaveKernel(): void {
    if (this.spec.install?.persist === true || this.host.install === undefined) return
    for (const prefix of this.locals.keys()) this.host.install(prefix, null)
  }

  /** Announces a network, or changes what is said of it. */
  announce(route: BgpLocalRoute): void {
    this.locals.set(route.prefix, route)
    if (this.running) this.putLocal(route)
  }

  /** Withdraws a network of its own. */
  withdraw(prefix: string): void {
    if (!this.locals.delete(prefix) || !this.running) return
    const id = this.store.prefixId(prefix)
    this.remove(id, 0, 0)
  }

  /** The network of its own with this prefix. */
  localRoute(prefix: string): BgpLocalRoute | undefined {
    return this.locals.get(prefix)
  }

  /** Prefixes of its own networks. */
  localPrefixes(): IterableIterator<string> {
    return this.locals.keys()
  }

  /** A neighbour by address. */
  peer(address: string): Peer | undefined {
    return this.peers.find((p) => p.spec.address === address)
  }

  /** Whether two addresses are of one subnet. */
  sameSubnet(a: string, b: string): boolean {
    return this.host.sameSubnet?.(a, b) ?? false
  }

  /** A time as the implementation's timers take it. */
  jittered(ms: number): number {
    return this.profile.jitter ? ms * (0.75 + 0.25 * this.host.random()) : ms
  }

  /** The path id that neighbours with ADD-PATH get for a path. */
  pathIdOf(peer: number, pathId: number): number {
    let ids = this.pathIds.get(peer)
    if (ids === undefined) {
      ids = new Map()
      this.pathIds.set(peer, ids)
    }
    let id = ids.get(pathId)
    if (id === undefined) {
      id = this.nextPathId++
      ids.set(pathId, id)
    }
    return id
  }

  /** Tells one neighbour everything. */
  sendAll(peer: Peer): void {
    this.flush()
    this.exporter.join(peer)
    this.exporter.sendAll(peer)
  }

  /** A session is over: nothing goes to this neighbour any more. */
  leave(peer: Peer): void {
    this.exporter.leave(peer)
  }

  /** Reports to the host. */
  event(peer: Peer, kind: SpeakerEvent['kind'], text: string): void {
    const atMs = this.host.clock.nowMs()
    this.host.event?.({ atMs, speaker: this.spec.name, neighbor: peer.spec.address, kind, text })
  }

  /** An UPDATE of a neighbour. */
  onUpdate(peer: Peer, m: BgpUpdate, withdraw: boolean): void {
    this.counters.updatesReceived++
    for (const u of m.unreach) for (const n of u.nlri) this.removePath(peer, n.prefix, n.pathId ?? 0)
    if (m.reach.length === 0) return
    for (const r of m.reach) {
      const isWanted = peer.established?.agreement?.families.includes(r.family) === true
      const a = m.attributes!
      const attributes = a.nextHop === r.nextHop ? a : { ...a, nextHop: r.nextHop }
      const isUsable = isWanted && !withdraw && this.isAcceptable(peer, attributes)
      for (const n of r.nlri) {
        if (!isUsable) this.removePath(peer, n.prefix, n.pathId ?? 0)
        else this.learn(peer, n.prefix, n.pathId ?? 0, attributes)
      }
    }
  }

  /** Loops (RFC 4271 9.1.2, RFC 4456 8) and next hops that cannot be. */
  private isAcceptable(peer: Peer, a: PathAttributes): boolean {
    if (a.originatorId === this.spec.routerId) return false
    if (a.clusterList?.includes(peer.spec.clusterId ?? this.clusterId) === true) return false
    if (a.nextHop === peer.localAddress) return false
    if (a.asPath.length === 0) return true
    let own = 0
    for (const asn of flatPath(a.asPath)) if (asn === peer.localAsn || asn === this.spec.asn) own++
    return own <= (peer.spec.allowAsIn ?? 0)
  }

  private learn(peer: Peer, prefix: string, pathId: number, a: PathAttributes): void {
    let attributes = a
    const { defaultLocalPref, defaultMed } = peer.spec
    if (attributes.localPref === undefined && defaultLocalPref !== undefined) {
      attributes = { ...attributes, localPref: defaultLocalPref }
    }
    if (attributes.med === undefined && defaultMed !== undefined) attributes = { ...attributes, med: defaultMed }
    if (peer.importPolicy !== null) {
      const source = peer.isInternal ? 'ibgp' : 'ebgp'
      const r = peer.importPolicy({ prefix, attributes, source })
      if (r === null) {
        this.removePath(peer, prefix, pathId)
        return
      }
      attributes = r.attributes
    }
    const id = this.store.prefixId(prefix)
    const set = this.store.attributesId(attributes)
    this.put(id, peer.index, pathId, set)
  }

  private removePath(peer: Peer, prefix: string, pathId: number): void {
    const id = this.store.knownPrefix(prefix)
    if (id >= 0) this.remove(id, peer.index, pathId)
  }

  private putLocal(r: BgpLocalRoute): void {
    const d: { -readonly [K in keyof PathAttributes]: PathAttributes[K] } = {
      origin: ORIGINS.indexOf(r.origin ?? (this.spec.implementation === 'gobgp' ? 'incomplete' : 'igp')),
      asPath: [],
      nextHop: r.nextHop ?? '',
    }
    if (r.localPref !== undefined) d.localPref = r.localPref
    if (r.med !== undefined) d.med = r.med
    else if (this.profile.networkMed) d.med = 0
    if (r.communities !== undefined) changeCommunities(d, r.communities, [])
    const id = this.store.prefixId(r.prefix)
    const set = this.store.attributesId(d)
    this.put(id, 0, 0, set)
  }

  /** Adds or replaces a path and decides again; what follows from it is put on the list. */
  private put(prefix: number, peer: number, pathId: number, set: number): void {
    const { rib } = this
    this.incumbent = rib.first(prefix)
    const before = this.incumbent < 0 ? -1 : rib.attributes(this.incumbent)
    if (rib.put(prefix, peer, pathId, set)) this.settle(prefix, before)
  }

  private remove(prefix: number, peer: number, pathId: number): void {
    const { rib } = this
    const head = rib.first(prefix)
    const before = head < 0 ? -1 : rib.attributes(head)
    if (!rib.remove(prefix, peer, pathId)) return
    // when the best path itself went, whatever stands first now is news
    const stays = rib.first(prefix) === head
    this.removedBest = !stays
    this.incumbent = stays ? head : -1
    this.settle(prefix, stays ? before : -1)
    this.removedBest = false
  }

  private settle(prefix: number, attributesBefore: number): void {
    const { rib } = this
    const head = this.incumbent
    this.counters.decisions++
    const fromInternal = head >= 0 && this.isFromInternal(head)
    const best = rib.settle(prefix, this.better)
    const isSame = best === head && best >= 0 && rib.attributes(best) === attributesBefore
    if (isSame && !this.needsAllPaths) return
    // what internal neighbours told is nobody's business without clients and external neighbours
    const wasTold = head < 0 ? this.removedBest : !fromInternal
    if (this.isLeaf && this.host.install === undefined && !wasTold && best >= 0 && this.isFromInternal(best)) return
    this.touch(prefix)
  }

  private isFromInternal(row: number): boolean {
    const peer = this.rib.peer(row)
    return peer > 0 && this.peers[peer - 1]!.isInternal
  }

  /** Somebody is told, or the kernel holds, more than the best path. */
  private get needsAllPaths(): boolean {
    if ((this.spec.install?.maxPaths ?? 1) > 1 && this.host.install !== undefined) return true
    return this.exporter.allPathPeers > 0
  }

  private touch(prefix: number): void {
    if (prefix >= this.marks.length) {
      const bigger = new Uint8Array(Math.max(prefix + 1, this.marks.length * 2))
      bigger.set(this.marks)
      this.marks = bigger
    }
    if (this.marks[prefix] !== 0) return
    this.marks[prefix] = 1
    this.dirty.push(prefix)
    if (!this.flushTimer.armed) this.flushTimer.arm(this.profile.updateMs)
  }

  private flush(): void {
    if (this.dirty.length === 0) return
    const list = this.dirty.splice(0)
    for (const p of list) this.marks[p] = 0
    if (this.host.install !== undefined && this.spec.install !== null) for (const p of list) this.program(p)
    this.exporter.send(list)
  }

  /** Forgets what a neighbour told: all, or what stands stale, of the prefixes that are `wanted`. */
  forgetRoutes(peer: Peer, staleOnly: boolean, wanted?: (prefix: string) => boolean): void {
    const { prefixes } = this.store
    const changed = (p: number): void => {
      this.incumbent = -1
      this.settle(p, -1)
      this.touch(p)
    }
    this.rib.removePeer(peer.index, staleOnly, changed, wanted === undefined ? undefined : (p) => wanted(prefixes[p]!))
  }

  /** Forgets what a neighbour did not tell again. */
  forgetStale(peer: Peer, wanted: (prefix: string) => boolean): void {
    this.forgetRoutes(peer, true, wanted)
  }

  /** Everything that a neighbour told waits to be told again. */
  markStale(peer: Peer, wanted: (prefix: string) => boolean): void {
    const { prefixes } = this.store
    this.rib.markStale(
      peer.index,
      (p) => wanted(prefixes[p]!),
      () => {},
    )
  }

  /** Decides again about everything that a neighbour told. */
  redecide(peer: Peer): void {
    const { rib } = this
    for (let p = 0; p < rib.prefixEnd; p++) {
      for (let r = rib.first(p); r >= 0; r = rib.next(r)) {
        if (rib.peer(r) !== peer.index) continue
        this.incumbent = rib.first(p)
        this.settle(p, -1)
        break
      }
    }
  }

  /** An interface or a route of the host changed: next hops may be reachable now, or not any more. */
  nextHopsChanged(): void {
    const { rib } = this
    for (let p = 0; p < rib.prefixEnd; p++) {
      if (rib.first(p) < 0) continue
      this.incumbent = rib.first(p)
      this.settle(p, -1)
      this.touch(p)
    }
  }

  /** End-of-RIB of a neighbour: a restart of ours may be over. */
  endOfRibCame(): void {
    if (!this.isDeferring) return
    if (this.peers.every((p) => p.families.every((f) => p.endOfRib.has(f)))) this.endDeferral()
  }

  private endDeferral(): void {
    this.isDeferring = false
    this.isRestarting = false
    this.deferTimer.cancel()
    this.flush()
    this.host.recovered?.()
    for (const p of this.peers) p.openForUpdates()
  }

  private accept(c: BgpConnection): ConnectionHandler | null {
    const peer = this.peers.find((p) => p.spec.address === c.remoteAddress)
    return peer?.accept(c) ?? null
  }

  /** Rows of the paths in use for a prefix: the best, and those equal to it as far as the kernel takes them. */
  pathsInUse(prefix: number): number[] {
    const { rib } = this
    const best = rib.first(prefix)
    if (best < 0 || !this.isReachable(best)) return []
    const max = this.spec.install?.maxPaths ?? 1
    const rows = [best]
    for (let r = rib.next(best); r >= 0 && rows.length < max; r = rib.next(r)) {
      if (rib.peer(best) !== 0 && isMultipath(this.spec.implementation, this.context, best, r)) rows.push(r)
    }
    return rows
  }

  /** Whether a path's next hop has a route. */
  isReachable(row: number): boolean {
    const { nextHop } = this.store.sets[this.rib.attributes(row)]!
    return this.rib.peer(row) === 0 || this.context.metric(nextHop) !== Infinity
  }

  /** Why the best path of a prefix beat another neighbour's, in FRR's words. */
  reasonOverSecond(prefix: string): DecisionStep | null {
    const id = this.store.knownPrefix(prefix)
    const best = id < 0 ? -1 : this.rib.first(id)
    const second = best < 0 ? -1 : this.rib.next(best)
    if (second < 0) return null
    return decide(this.spec.implementation, this.context, best, second, best)[1]
  }

  private program(prefix: number): void {
    const text = this.store.prefixes[prefix]!
    this.host.install!(text, this.kernelRoute(prefix, text))
  }

  private kernelRoute(prefix: number, text: string): InstalledRoute | null {
    const install = this.spec.install!
    const rows = this.pathsInUse(prefix)
    if (rows.length === 0) return null
    const protocol = install.protocol ?? this.profile.kernel.protocol
    const base = {
      prefix: text,
      protocol,
      ...(install.prefSrc === undefined ? {} : { prefSrc: install.prefSrc }),
    }
    let metric = install.metric ?? this.profile.kernel.metric
    if (this.rib.peer(rows[0]!) === 0) {
      if (this.locals.get(text)?.blackhole !== true) return null
      return { ...base, nextHops: [], blackhole: true, metric }
    }
    const nextHops: { address: string; tunnel?: string }[] = []
    for (const row of rows) {
      const a = this.store.sets[this.rib.attributes(row)]!.attributes
      const source = this.peers[this.rib.peer(row) - 1]!.isInternal ? 'ibgp' : 'ebgp'
      const r = this.installFilter === null ? null : this.installFilter({ prefix: text, attributes: a, source })
      if (this.installFilter !== null && r === null) continue
      metric = r?.metric ?? metric
      const address = r?.attributes.nextHop ?? a.nextHop!
      if (nextHops.some((n) => n.address === address)) continue
      nextHops.push({ address, ...(r?.tunnel === undefined ? {} : { tunnel: r.tunnel }) })
    }
    if (nextHops.length === 0) return null
    // the kernel keeps next hops in the order given; BIRD sorts them
    nextHops.sort((x, y) => sortKey(x.address) - sortKey(y.address))
    return { ...base, nextHops, blackhole: false, metric }
  }
}

function sortKey(address: string): number {
  return (parseIpv4(address) ?? 0) >>> 0
}
