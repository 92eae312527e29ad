/**
 * BGP messages as values: what the codec reads and writes and a speaker thinks in.
 *
 * Prefixes and addresses are text (`10.244.1.0/26`, `2001:db8::1`): a route's key in every RIB. Attribute sets are
 * immutable and shared by all routes of an UPDATE. Attributes that no code here understands keep their bytes, since a
 * transitive one has to be passed on (RFC 4271 5).
 * Sources: RFC 4271, 1997, 4360, 4456, 4724, 4760, 5492, 6793, 7313, 7606, 7911, 8092, 8538, 8950, 9494.
 */

/** Families that are understood; any other AFI/SAFI is carried as numbers in capabilities only. */
export type BgpAddressFamily = 'ipv4' | 'ipv6'

/** AFI and SAFI as numbers. */
export interface AfiSafi {
  readonly afi: number
  readonly safi: number
}

/** One capability of an OPEN. */
export type BgpCapability =
  | ({ readonly kind: 'multiprotocol' } & AfiSafi)
  | { readonly kind: 'route-refresh' }
  /** Code 128, from before RFC 2918. */
  | { readonly kind: 'route-refresh-old' }
  | { readonly kind: 'enhanced-refresh' }
  | { readonly kind: 'extended-message' }
  | { readonly kind: 'as4'; readonly asn: number }
  /** `mode`: 1 receive, 2 send, 3 both. */
  | { readonly kind: 'add-path'; readonly families: readonly (AfiSafi & { readonly mode: number })[] }
  | {
      readonly kind: 'graceful-restart'
      /** R: has restarted. */
      readonly restarting: boolean
      /** N (RFC 8538): NOTIFICATION keeps routes as well. */
      readonly notification: boolean
      /** Seconds. */
      readonly time: number
      readonly families: readonly (AfiSafi & { readonly forwarding: boolean })[]
    }
  | {
      readonly kind: 'long-lived-graceful-restart'
      readonly families: readonly (AfiSafi & { readonly forwarding: boolean; readonly staleTime: number })[]
    }
  | { readonly kind: 'fqdn'; readonly host: string; readonly domain: string }
  | { readonly kind: 'extended-next-hop'; readonly families: readonly (AfiSafi & { readonly nextHopAfi: number })[] }
  | { readonly kind: 'unknown'; readonly code: number; readonly data: Uint8Array }

/** OPEN. */
export interface BgpOpen {
  readonly type: 'OPEN'
  readonly version: number
  /** The two-byte field: AS_TRANS (23456) when the AS needs four. */
  readonly asn: number
  /** Seconds. */
  readonly holdTime: number
  readonly routerId: string
  readonly capabilities: readonly BgpCapability[]
  /** Whether each capability has an optional parameter of its own (FRR) or all share one. Default: one. */
  readonly parameterEach?: boolean
}

/** A destination; `pathId` when ADD-PATH is on. */
export interface Nlri {
  readonly prefix: string
  readonly pathId?: number
}

/** AS_PATH segment types. */
export const AS_SET = 1
/** An ordered run of ASes. */
export const AS_SEQUENCE = 2
/** RFC 5065. */
export const AS_CONFED_SEQUENCE = 3
/** RFC 5065. */
export const AS_CONFED_SET = 4

/** One segment of an AS_PATH. */
export interface AsSegment {
  readonly type: number
  readonly asns: readonly number[]
}

/** An attribute kept as it came. */
export interface RawAttribute {
  readonly flags: number
  readonly type: number
  readonly data: Uint8Array
}

/** The attributes of routes. */
export interface PathAttributes {
  /** 0 IGP, 1 EGP, 2 INCOMPLETE. */
  readonly origin: number
  readonly asPath: readonly AsSegment[]
  /** Of either family; absent only while a withdrawal is decoded. */
  readonly nextHop?: string
  /** The second address of an IPv6 next hop. */
  readonly linkLocal?: string
  readonly med?: number
  readonly localPref?: number
  readonly atomicAggregate?: boolean
  readonly aggregator?: { readonly asn: number; readonly address: string }
  /** 32-bit values. */
  readonly communities?: readonly number[]
  readonly originatorId?: string
  readonly clusterList?: readonly string[]
  /** 16 hex digits each. */
  readonly extendedCommunities?: readonly string[]
  readonly largeCommunities?: readonly (readonly [number, number, number])[]
  readonly others?: readonly RawAttribute[]
  /** AS_PATH came with the extended-length flag: a speaker that passes attributes on unchanged keeps it (GoBGP). */
  readonly asPathExtended?: boolean
}

/** Routes of one family in an UPDATE. */
export interface Reach {
  readonly family: BgpAddressFamily
  /** In MP_REACH_NLRI; false: the UPDATE's own fields (IPv4). */
  readonly mp: boolean
  readonly nextHop: string
  readonly linkLocal?: string
  readonly nlri: readonly Nlri[]
}

/** Withdrawn routes of one family. */
export interface Unreach {
  readonly family: BgpAddressFamily
  readonly mp: boolean
  readonly nlri: readonly Nlri[]
}

/** What was wrong with an attribute, by name: implementations answer differently. */
export type AttributeFaultKind =
  | 'attribute-flags'
  | 'attribute-length'
  | 'attribute-list'
  | 'duplicate'
  | 'invalid-origin'
  | 'malformed-as-path'
  | 'invalid-next-hop'
  | 'optional-attribute'
  | 'missing-origin'
  | 'missing-as-path'
  | 'missing-next-hop'
  | 'missing-local-pref'
  | 'unknown-well-known'

/** A fault of an UPDATE that RFC 7606 survives. */
export interface AttributeFault {
  readonly kind: AttributeFaultKind
  readonly attribute: number
  /** Subcode of UPDATE Message Error that RFC 4271 names for it. */
  readonly subcode: number
  readonly data: Uint8Array
  /** RFC 7606: the routes count as withdrawn, the attribute is left out, or the session ends. */
  readonly action: 'withdraw' | 'discard' | 'reset'
}

/** UPDATE. */
export interface BgpUpdate {
  readonly type: 'UPDATE'
  readonly unreach: readonly Unreach[]
  readonly reach: readonly Reach[]
  /** null when nothing is announced. Its next hop is that of `reach[0]`. */
  readonly attributes: PathAttributes | null
  /** End-of-RIB of a family (RFC 4724 2). */
  readonly endOfRib?: BgpAddressFamily
  readonly faults?: readonly AttributeFault[]
}

/** NOTIFICATION. */
export interface BgpNotification {
  readonly type: 'NOTIFICATION'
  readonly code: number
  readonly subcode: number
  readonly data: Uint8Array
}

/** KEEPALIVE. */
export interface BgpKeepalive {
  readonly type: 'KEEPALIVE'
}

/** ROUTE-REFRESH; `subtype` 0 a request, 1 BoRR, 2 EoRR (RFC 7313). */
export interface BgpRouteRefresh extends AfiSafi {
  readonly type: 'ROUTE-REFRESH'
  readonly subtype: number
}

/** Any message. */
export type BgpMessage = BgpOpen | BgpUpdate | BgpNotification | BgpKeepalive | BgpRouteRefresh

/** A message that ends the session: the NOTIFICATION to send for it. */
export interface BgpProtocolError {
  readonly type: 'ERROR'
  readonly code: number
  readonly subcode: number
  readonly data: Uint8Array
}

/** What both sides agreed on, as far as the bytes depend on it. */
export interface CodecContext {
  /** AS numbers of four bytes in AS_PATH and AGGREGATOR. */
  readonly as4: boolean
  /** NLRI carry path ids in this direction, by family. */
  readonly addPath: { readonly ipv4: boolean; readonly ipv6: boolean }
  /** Messages up to 65,535 bytes (RFC 8654). */
  readonly extendedMessage: boolean
  /** LOCAL_PREF is expected, and ORIGINATOR_ID and CLUSTER_LIST are taken. */
  readonly ibgp: boolean
  /** Set the extended-length flag on every AS_PATH (FRR). */
  readonly asPathExtended?: boolean
}

/** Before the OPENs: nothing is agreed on. */
export const INITIAL_CONTEXT: CodecContext = {
  as4: false,
  addPath: { ipv4: false, ipv6: false },
  extendedMessage: false,
  ibgp: false,
}
