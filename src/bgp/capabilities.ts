/**
 * What an OPEN offers, and what two OPENs agree on.
 *
 * The order and the grouping of capabilities are those of BIRD 2.0.12, FRR 8.4.4 and GoBGP 3.10 as captured.
 * Sources: RFC 5492, 2918, 4724, 4760, 6793, 7313, 7911, 8538, 8654, 9494.
 */
import {
  AFI_IPV4,
  AFI_IPV6,
  AS_TRANS,
  type BgpCapability,
  type BgpOpen,
  type CodecContext,
  SAFI_UNICAST,
} from '../wire/bgp.ts'
import type { BgpFamily, BgpImplementation, BgpPeerSpec } from './config.ts'

/** Seconds that a restart may take when nobody says otherwise. */
export const DEFAULT_RESTART_TIME = 120

/** What of a speaker goes into an OPEN. */
export interface OpenInput {
  readonly implementation: BgpImplementation
  readonly name: string
  readonly asn: number
  readonly routerId: string
  readonly holdTime: number
  readonly restarting: boolean
  readonly peer: BgpPeerSpec
}

const AFI = { ipv4: AFI_IPV4, ipv6: AFI_IPV6 } as const
const ADD_PATH_MODE = { off: 0, rx: 1, tx: 2, on: 3 } as const

/** The families of a session: those configured, else that of the neighbour's address. */
export function familiesOf(peer: BgpPeerSpec): readonly BgpFamily[] {
  return peer.families ?? [peer.address.includes(':') ? 'ipv6' : 'ipv4']
}

/** The OPEN that a speaker sends. */
export function openMessage(i: OpenInput): BgpOpen {
  const { peer } = i
  const families = familiesOf(peer).map((f) => ({ afi: AFI[f], safi: SAFI_UNICAST }))
  const mp: BgpCapability[] = families.map((f) => ({ kind: 'multiprotocol', ...f }))
  const as4: BgpCapability = { kind: 'as4', asn: i.asn }
  const mode = ADD_PATH_MODE[peer.addPaths ?? 'off']
  const addPath: BgpCapability[] =
    mode === 0 ? [] : [{ kind: 'add-path', families: families.map((f) => ({ ...f, mode })) }]
  const gr = peer.gracefulRestart ?? (i.implementation === 'gobgp' ? 'off' : 'aware')
  const time = peer.restartTime ?? DEFAULT_RESTART_TIME
  const graceful = (restarting: boolean, notification: boolean): BgpCapability => ({
    kind: 'graceful-restart',
    restarting,
    notification,
    time,
    families:
      gr === 'on' ? families.map((f) => ({ ...f, forwarding: i.restarting || i.implementation === 'frr' })) : [],
  })
  let capabilities: BgpCapability[]
  if (i.implementation === 'bird') {
    capabilities = [...mp, { kind: 'route-refresh' }]
    if (gr !== 'off') capabilities.push(graceful(i.restarting, false))
    capabilities.push(as4, ...addPath, { kind: 'enhanced-refresh' })
    if (gr !== 'off') capabilities.push({ kind: 'long-lived-graceful-restart', families: [] })
  } else if (i.implementation === 'frr') {
    const stale = families.map((f) => ({ ...f, forwarding: true, staleTime: 0 }))
    const receive: BgpCapability = { kind: 'add-path', families: families.map((f) => ({ ...f, mode: mode | 1 })) }
    capabilities = [...mp, { kind: 'route-refresh-old' }, { kind: 'route-refresh' }, { kind: 'enhanced-refresh' }, as4]
    capabilities.push({ kind: 'extended-message' }, receive, { kind: 'fqdn', host: i.name, domain: '' })
    if (gr !== 'off') capabilities.push(graceful(true, true), { kind: 'long-lived-graceful-restart', families: stale })
  } else {
    capabilities = [{ kind: 'route-refresh' }, { kind: 'fqdn', host: i.name, domain: '' }, ...mp, as4]
    if (gr === 'on') capabilities.push(graceful(i.restarting, false))
    const hops = families.filter((f) => f.afi === AFI_IPV4).map((f) => ({ ...f, nextHopAfi: AFI_IPV6 }))
    if (hops.length > 0) capabilities.push({ kind: 'extended-next-hop', families: hops })
    capabilities.push(...addPath)
  }
  return {
    type: 'OPEN',
    version: 4,
    asn: i.asn > 0xffff ? AS_TRANS : i.asn,
    holdTime: i.holdTime,
    routerId: i.routerId,
    capabilities,
    ...(i.implementation === 'frr' ? { parameterEach: true } : {}),
  }
}

type Kind = BgpCapability['kind']

function find<K extends Kind>(o: BgpOpen, kind: K): Extract<BgpCapability, { kind: K }> | undefined {
  return o.capabilities.find((c): c is Extract<BgpCapability, { kind: K }> => c.kind === kind)
}

/** A neighbour's AS: of its capability, else of the header. */
export function asnOf(o: BgpOpen): number {
  return find(o, 'as4')?.asn ?? o.asn
}

/** What a session agreed on. */
export interface Agreement {
  readonly families: readonly BgpFamily[]
  readonly send: CodecContext
  readonly receive: CodecContext
  readonly refresh: boolean
  readonly enhancedRefresh: boolean
  /** What the neighbour says of its restarts; null when it said nothing. */
  readonly graceful: {
    readonly restarting: boolean
    readonly notification: boolean
    /** Seconds. */
    readonly time: number
    readonly families: readonly { readonly family: BgpFamily; readonly forwarding: boolean }[]
  } | null
  /** Families that it wants kept for long, with seconds (RFC 9494); null without the capability on either side. */
  readonly longLived: readonly { readonly family: BgpFamily; readonly staleTime: number }[] | null
  /** Seconds; 0 is never. */
  readonly holdTime: number
  /** Names of the neighbour's capabilities. */
  readonly capabilities: readonly string[]
}

function familyOfAfi(f: { afi: number; safi: number }): BgpFamily | null {
  if (f.safi !== SAFI_UNICAST) return null
  return f.afi === AFI_IPV4 ? 'ipv4' : f.afi === AFI_IPV6 ? 'ipv6' : null
}

/** RFC 4760 8: without the capability a neighbour speaks IPv4 unicast. */
function familiesIn(o: BgpOpen): BgpFamily[] {
  const mp = o.capabilities.filter((c) => c.kind === 'multiprotocol')
  if (mp.length === 0) return ['ipv4']
  return mp.flatMap((c) => familyOfAfi(c) ?? [])
}

/** What our OPEN and the neighbour's agree on. */
export function agree(mine: BgpOpen, theirs: BgpOpen, ibgp: boolean, asPathExtended: boolean): Agreement {
  const common = familiesIn(mine).filter((f) => familiesIn(theirs).includes(f))
  const as4 = find(mine, 'as4') !== undefined && find(theirs, 'as4') !== undefined
  const extendedMessage = find(mine, 'extended-message') !== undefined && find(theirs, 'extended-message') !== undefined
  const paths = (o: BgpOpen, bit: number, family: BgpFamily): boolean =>
    find(o, 'add-path')?.families.some((f) => familyOfAfi(f) === family && (f.mode & bit) !== 0) ?? false
  const direction = (sender: BgpOpen, receiver: BgpOpen): CodecContext['addPath'] => ({
    ipv4: paths(sender, 2, 'ipv4') && paths(receiver, 1, 'ipv4'),
    ipv6: paths(sender, 2, 'ipv6') && paths(receiver, 1, 'ipv6'),
  })
  const base = { as4, extendedMessage, ibgp, ...(asPathExtended ? { asPathExtended } : {}) }
  const gr = find(theirs, 'graceful-restart')
  const ownGr = find(mine, 'graceful-restart')
  const llgr = find(theirs, 'long-lived-graceful-restart')
  return {
    families: common,
    send: { ...base, addPath: direction(mine, theirs) },
    receive: { ...base, addPath: direction(theirs, mine) },
    refresh: find(mine, 'route-refresh') !== undefined && find(theirs, 'route-refresh') !== undefined,
    enhancedRefresh: find(mine, 'enhanced-refresh') !== undefined && find(theirs, 'enhanced-refresh') !== undefined,
    graceful:
      gr === undefined || ownGr === undefined
        ? null
        : {
            restarting: gr.restarting,
            notification: gr.notification && ownGr.notification,
            time: gr.time,
            families: gr.families.flatMap((f) => {
              const family = familyOfAfi(f)
              return family === null ? [] : [{ family, forwarding: f.forwarding }]
            }),
          },
    longLived:
      llgr === undefined || find(mine, 'long-lived-graceful-restart') === undefined
        ? null
        : llgr.families.flatMap((f) => {
            const family = familyOfAfi(f)
            return family === null ? [] : [{ family, staleTime: f.staleTime }]
          }),
    holdTime: Math.min(mine.holdTime, theirs.holdTime),
    capabilities: theirs.capabilities.map((c) => (c.kind === 'unknown' ? `unknown-${c.code}` : c.kind)),
  }
}
