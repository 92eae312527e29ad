/**
 * What a BGP speaker is told: neighbours, networks, policies. Plain data, so that a CNI driver, a topology file and the
 * command line can write it and a report can print it.
 *
 * Real thing: bird.conf (protocol bgp, static, kernel), frr's `router bgp`, gobgpd.conf. Names follow RFC 4271, 4456, 4724
 * and 7911 where they have one, else BIRD's. Not modelled: confederations, BFD, dynamic neighbours.
 */

/** The daemon whose timers, message order, answers and decision process a speaker follows. */
export type BgpImplementation = 'bird' | 'frr' | 'gobgp'

/** A match on prefixes: `cidr`, or those inside it with a length from `ge` to `le`. */
export interface PrefixMatch {
  readonly cidr: string
  /** Shortest length; default: the CIDR's own. */
  readonly ge?: number
  /** Longest length; default: the CIDR's own, or `ge` when that is set. */
  readonly le?: number
}

/** Where a route came from. */
export type RouteSource = 'static' | 'direct' | 'kernel' | 'ibgp' | 'ebgp'

/** Conditions of a term; all that are given must hold. */
export interface PolicyMatch {
  /** Any of these. */
  readonly prefixes?: readonly PrefixMatch[]
  /** None of these. */
  readonly notPrefixes?: readonly PrefixMatch[]
  readonly family?: 4 | 6
  readonly sources?: readonly RouteSource[]
  /** The route's next hop is inside one of these CIDRs. */
  readonly nextHopIn?: readonly string[]
  /** The AS path begins with these (BGPFilter asPathPrefix). */
  readonly asPathPrefix?: readonly number[]
  /** The AS path holds this AS. */
  readonly asPathContains?: number
  /** The route has one of these: `65000:1`, or `65000:1:2` for a large one. */
  readonly communities?: readonly string[]
  /** Device that a local route points out of; `cali*` matches by prefix (BGPFilter interface). */
  readonly interfaces?: readonly string[]
}

/** What a term changes in a route that it matches. */
export interface PolicySet {
  readonly localPref?: number
  /** null takes it off. */
  readonly med?: number | null
  readonly origin?: 'igp' | 'egp' | 'incomplete'
  readonly nextHop?: 'self' | string
  /** AS numbers to put in front, in this order. */
  readonly prepend?: readonly number[]
  readonly addCommunities?: readonly string[]
  readonly removeCommunities?: readonly string[]
  /** Install filter only: device that the kernel route goes out of, onlink (Calico's krt_tunnel). */
  readonly tunnel?: string
  /** Install filter only: priority of the kernel route (krt_metric). */
  readonly metric?: number
}

/** One term of a policy. */
export interface PolicyTerm {
  readonly name?: string
  readonly match?: PolicyMatch
  readonly set?: PolicySet
  /** `next` goes on with the following term, keeping what was set. */
  readonly action: 'accept' | 'reject' | 'next'
}

/** Terms in order; the first accept or reject ends it. */
export interface BgpPolicy {
  readonly name: string
  readonly terms: readonly PolicyTerm[]
  readonly default: 'accept' | 'reject'
}

/** Families that a session carries. */
export type BgpFamily = 'ipv4' | 'ipv6'

/** ADD-PATH for every family of the session. */
export type AddPaths = 'off' | 'rx' | 'tx' | 'on'

/** GRACEFUL RESTART: nothing offered, help a restarting peer only, or keep own forwarding over a restart as well. */
export type GracefulRestart = 'off' | 'aware' | 'on'

/** One neighbour. */
export interface BgpPeerSpec {
  /** Address of the neighbour. */
  readonly address: string
  /** Its AS. */
  readonly asn: number
  readonly name?: string
  /** Own address of the session; default: the route's. */
  readonly localAddress?: string
  /** Own AS on this session, when it is not the speaker's (BGPPeer localASNumber). */
  readonly localAsn?: number
  /** TCP port of the neighbour, default 179. */
  readonly port?: number
  /** Never connects. */
  readonly passive?: boolean
  /** The neighbour may be hops away: TTL. Default: 1 for eBGP, 64 for iBGP (BIRD), 255 (FRR). */
  readonly multihopTtl?: number
  /** RFC 5082: accept packets with TTL 256 - hops or more only. */
  readonly ttlSecurity?: number
  /** TCP MD5 (RFC 2385): UNMODELLED on both transports. */
  readonly password?: string
  readonly families?: readonly BgpFamily[]
  readonly addPaths?: AddPaths
  readonly gracefulRestart?: GracefulRestart
  /** Seconds. Default 120. */
  readonly restartTime?: number
  /** RFC 4456: the neighbour is a client of this speaker. */
  readonly routeReflectorClient?: boolean
  /** Cluster id of reflected routes; default: the speaker's. */
  readonly clusterId?: string
  /** Own address as next hop of what is sent: never (the default of iBGP), always, or for eBGP routes only. */
  readonly nextHopSelf?: 'off' | 'on' | 'ebgp'
  /** Leave the next hop alone on eBGP sessions as well (Calico's nextHopMode Keep). */
  readonly nextHopKeep?: boolean
  /** How often the own AS may stand in a path (allow local as). Default 0. */
  readonly allowAsIn?: number
  /** Seconds. Defaults: the implementation's. */
  readonly holdTime?: number
  readonly keepaliveTime?: number
  readonly connectRetryTime?: number
  readonly connectDelayTime?: number
  /** Idle hold after an error: shortest and longest, seconds. */
  readonly errorWaitTime?: readonly [number, number]
  /** MED, LOCAL_PREF of what is learnt when it has none. */
  readonly defaultMed?: number
  readonly defaultLocalPref?: number
  readonly import?: BgpPolicy
  readonly export?: BgpPolicy
}

/** A network that the speaker itself announces. */
export interface BgpLocalRoute {
  readonly prefix: string
  /** `static` for blocks and Service addresses, `direct` for a device's subnet, `kernel` for a route of another origin. */
  readonly source?: 'static' | 'direct' | 'kernel'
  /** Put a blackhole route for it into the kernel (`blackhole 10.244.1.0/26 proto bird`). */
  readonly blackhole?: boolean
  /** Next hop to announce; default: the session's own address. */
  readonly nextHop?: string
  /** Device of a direct or kernel route, for filters. */
  readonly interface?: string
  readonly communities?: readonly string[]
  readonly localPref?: number
  readonly med?: number
  /** Default igp. */
  readonly origin?: 'igp' | 'egp' | 'incomplete'
}

/** How Loc-RIB routes reach the kernel. */
export interface BgpInstall {
  /** Which routes and over which device; default: all as they are. */
  readonly filter?: BgpPolicy
  /** RTPROT by name: `bird` (12), `bgp` (186), `zebra` (11). Default: the implementation's. */
  readonly protocol?: 'bird' | 'bgp' | 'zebra'
  /** Priority of the routes. Default: 32 for BIRD 2, 20 for FRR, 0 for Calico's BIRD (set it). */
  readonly metric?: number
  /** Most next hops of one route: `merge paths on` (16), maximum-paths. Default 1. */
  readonly maxPaths?: number
  /** Prefer this source address (krt_prefsrc). */
  readonly prefSrc?: string
  /** Routes stay in the kernel when the daemon ends (`persist`). */
  readonly persist?: boolean
}

/** A speaker. */
export interface BgpSpeakerSpec {
  readonly name: string
  readonly implementation: BgpImplementation
  readonly asn: number
  /** Default: the lowest session address. */
  readonly routerId: string
  readonly clusterId?: string
  /** TCP port to listen on, default 179. */
  readonly port?: number
  readonly peers: readonly BgpPeerSpec[]
  readonly routes: readonly BgpLocalRoute[]
  /** null: nothing goes to the kernel. */
  readonly install: BgpInstall | null
  /** RFC 4724: the daemon comes up after a restart (`bird -R`). */
  readonly restarting?: boolean
}

/** A speaker and the namespace that it runs in. */
export interface BgpPlacement {
  /** `node:n1`, `pod:ns/name`, or `host:172.18.0.250` for a router outside the cluster (made when it is not there). */
  readonly netns: string
  readonly speaker: BgpSpeakerSpec
}

/** All speakers of a cluster, in the order in which they start. */
export interface BgpPlan {
  readonly placements: readonly BgpPlacement[]
}
