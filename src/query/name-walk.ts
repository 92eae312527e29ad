/**
 * A destination by name: the source's resolver runs first, with real queries in the log, then the address takes its place.
 *
 * The order of glibc or musl, the search list and every query are apps/resolver.ts; here they become the `resolution` of a
 * trace. A name that cannot be resolved ends the trace: the walk is then that of the DNS query.
 */
import { type DnsExchange, Resolver, UnmodelledDns } from '../apps/resolver.ts'
import type { Cluster } from '../cluster/build.ts'
import { processFiles } from '../cluster/processes.ts'
import type { TraceLog } from '../engine/trace-log.ts'
import { R_UNMODELLED, reasonOf } from '../linux/reasons.ts'
import { dnsDataText, fqdn } from '../wire/dns.ts'
import { parseFiveTuple } from './five-tuple.ts'
import { isFirstIpPacketOf, type Leg, legOf } from './legs.ts'
import type { Fate, LoggedPacket, PacketIndex } from './packets.ts'
import { type ResolvedEnds, withAddress } from './resolve.ts'
import type { TraceResolution } from './trace-types.ts'

/** What the resolver did. */
export interface NameWalk {
  /** With the address that was found. */
  readonly ends: ResolvedEnds
  /** Null when there was no name, or nobody who looks it up. */
  readonly resolver: Resolver | null
  readonly addresses: readonly string[]
  /** First step of the log that is not the resolver's. */
  readonly endStep: number
  /** Why there is no address, null when there is one. */
  readonly failure: string | null
  readonly isUnmodelled: boolean
}

const IPPROTO_UDP = 17
const DNS_PORT = 53

/** Runs the resolver of the source, if a name was asked for and the source is a pod. */
export function resolveByPackets(cluster: Cluster, ends: ResolvedEnds, log: TraceLog): NameWalk {
  const none = { ends, resolver: null, addresses: [], endStep: 0, failure: null, isUnmodelled: false }
  if (ends.dnsName === undefined || ends.srcPod === undefined) return none
  const files = processFiles(cluster, ends.srcPod)
  if (files.resolvConf === null) return none
  const resolver = new Resolver(ends.srcNs, files)
  try {
    const info = resolver.addresses(ends.dnsName)
    const { addresses } = info
    if (resolver.exchanges.length === 0) return { ...none, addresses }
    const found = addresses[0] === undefined ? ends : withAddress(cluster, ends, addresses[0])
    const failure = addresses[0] === undefined ? failureText(ends.dnsName, resolver.exchanges) : null
    return { ...none, ends: found, resolver, addresses, endStep: log.length, failure }
  } catch (error) {
    if (!(error instanceof UnmodelledDns)) throw error
    const failure = `Not modelled: ${error.message}.`
    return { ...none, resolver, endStep: log.length, failure, isUnmodelled: true }
  }
}

function failureText(name: string, exchanges: readonly DnsExchange[]): string {
  const last = exchanges.at(-1)!
  if (last.message === null) return `${name} was not resolved: no answer from ${last.server} (${last.outcome}).`
  return `${name} was not resolved: ${last.message.rcode}.`
}

/** The leg of the query that brought the address; of the first one when none did. */
export function dnsLeg(
  cluster: Cluster,
  walk: NameWalk,
  log: TraceLog,
  index: PacketIndex,
  verbose: boolean,
): Leg | null {
  const roots = index.roots()
  const queries = roots.filter(
    (p) => p.steps[0]!.index < walk.endStep && isFirstIpPacketOf(p, walk.ends.srcNs.id) && isDnsQuery(p, log),
  )
  const sent = (walk.resolver?.exchanges ?? []).filter((e) => e.transport === 'udp' && !e.isImplied)
  const at = sent.findIndex((e) => e.message?.answers.some((r) => r.type === 'A') === true)
  const forward = queries[Math.max(0, at)]
  return forward === undefined ? null : legOf(cluster, log, index, roots, forward, verbose)
}

function isDnsQuery(p: LoggedPacket, log: TraceLog): boolean {
  const frame = p.steps.find((s) => s.frame >= 0)?.frame
  // a query that no device saw still left the socket: it is one of the resolver's
  if (frame === undefined) return true
  const t = parseFiveTuple(log.frames[frame]!.bytes)
  return t !== null && t.protocol === IPPROTO_UDP && t.dport === DNS_PORT
}

/** The `resolution` of a trace; `leg` is left out where the trace's own walk is the query's. */
export function resolutionOf(walk: NameWalk, leg: Leg | null, libc: 'glibc' | 'musl'): TraceResolution {
  const { resolver, addresses, ends } = walk
  const exchanges = resolver?.exchanges ?? []
  return {
    name: ends.dnsName ?? '',
    libc,
    searches: resolver?.conf.searches ?? [],
    ndots: resolver?.conf.ndots ?? 1,
    queries: exchanges.map((e) => ({
      ...{ name: e.name, type: e.type, server: e.server, transport: e.transport, outcome: e.outcome },
      rcode: e.message?.rcode ?? null,
      answers: (e.message?.answers ?? []).map((r) => `${fqdn(r.name)} ${r.ttl} ${r.type} ${dnsDataText(r)}`),
    })),
    addresses,
    hasPackets: exchanges.some((e) => !e.isImplied),
    walk: leg?.walk ?? [],
    reply: leg?.reply ?? [],
  }
}

/** What becomes of a question whose name has no address: the fate of the query, if that explains it. */
export function unresolvedFate(walk: NameWalk, leg: Leg | null): Fate {
  if (walk.isUnmodelled) {
    const { symbol, verdict, hint } = reasonOf(R_UNMODELLED)
    const upstream = 'say what the name is in spec.upstreamDNS of a Cluster object'
    const isUpstream = walk.failure?.includes('upstream') === true
    return { verdict, code: symbol, text: walk.failure!, hint: isUpstream ? upstream : hint, step: null }
  }
  if (leg !== null && leg.fate.verdict !== 'DELIVERED') return leg.fate
  const lost = leg?.replyFate
  if (lost != null && lost.verdict !== 'DELIVERED') return { ...lost, text: `The DNS reply: ${lost.text}` }
  return {
    verdict: 'UNREACHABLE',
    code: 'NAME_NOT_RESOLVED',
    text: walk.failure ?? 'The name has no address.',
    hint: 'podwalk exec POD -- nslookup NAME shows the same.',
    step: null,
  }
}
