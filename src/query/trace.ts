/**
 * The trace query: sends a real packet through the built cluster and tells its whole way and that of the reply.
 *
 * The client opens a socket in its namespace as a process would; what happens is up to the simulated kernel. Without
 * `flow` the walk of the first packet and of its reply is told; with it the whole conversation is played.
 */
import { formatIpv4 } from '../addr/index.ts'
import { isMetalLb } from '../cluster/balancer/metallb-bgp.ts'
import { buildCluster, type Cluster } from '../cluster/build.ts'
import type { HttpDecision } from '../cluster/ingress-server.ts'
import { processFiles } from '../cluster/processes.ts'
import { type Diagnostic, Diagnostics, NO_POSITION } from '../diagnostics/diagnostic.ts'
import { type CapturedFrame, TraceLog, type TraceStep } from '../engine/trace-log.ts'
import type { ClusterModel } from '../kubernetes/types.ts'
import { R_UNMODELLED, reasonOf } from '../linux/reasons.ts'
import { captureOf } from './capture.ts'
import { parseFiveTuple } from './five-tuple.ts'
import { httpResult, withHttpDestination } from './http.ts'
import { findReply, firstFrame, isFirstIpPacketOf, routeStepsBefore } from './legs.ts'
import { dnsLeg, type NameWalk, resolutionOf, resolveByPackets, unresolvedFate } from './name-walk.ts'
import { nearestMiss } from './nearest-miss.ts'
import { deliveredOf, onwardLegs } from './onward.ts'
import { type Fate, fateOf, type LoggedPacket, PacketIndex } from './packets.ts'
import { policyMiss } from './policy-miss.ts'
import { withLookupOrigins } from './proxy-lookups.ts'
import { type ResolvedEnds, resolveEnds } from './resolve.ts'
import { API_VERSION, type DecidedBy, type Trace, type TraceHop, type TraceResolution } from './trace-types.ts'
import { startTraffic, type Traffic } from './traffic.ts'
import { walkOf } from './walk.ts'

/** What is asked. */
export interface TraceQuestion {
  readonly src: string
  readonly dst: string
  /** Namespace of names without one. */
  readonly namespace: string
  readonly protocol: 'TCP' | 'UDP' | 'SCTP' | 'ICMP'
  readonly sport?: number
  /** Payload bytes of a UDP or ICMP packet, request bytes of a TCP flow. */
  readonly size?: number
  readonly flow: boolean
  readonly seed: number
  /** A request instead of bare packets; `dst` may then be empty: the URL says where to. */
  readonly http?: { readonly method: string; readonly url: string }
  /** Also rules that were looked at and did not match. */
  readonly verbose: boolean
  /** Ask so many seconds after the cluster converged: events of the Cluster object that are due by then have happened. */
  readonly atS?: number
}

/** The answer, or what is wrong with the question. */
export interface TraceAnswer {
  readonly trace: Trace | null
  readonly diagnostics: readonly Diagnostic[]
}

/** Asks one question of one cluster. */
export function traceQuery(model: ClusterModel, question: TraceQuestion): TraceAnswer {
  const cluster = buildCluster(model, { seed: question.seed })
  if (cluster.diagnostics.some((d) => d.severity === 'error')) return { trace: null, diagnostics: cluster.diagnostics }
  return traceInCluster(cluster, question)
}

/** Asks one question of a cluster that runs already. */
export function traceInCluster(cluster: Cluster, given: TraceQuestion): TraceAnswer {
  const diagnostics = new Diagnostics()
  if (given.protocol === 'SCTP') {
    diagnostics.error('unmodelled', NO_POSITION, 'SCTP sockets are UNMODELLED: no packet can be sent')
    return { trace: null, diagnostics: diagnostics.sorted() }
  }
  const { question, notes } = withHttpDestination(cluster, given, diagnostics)
  const asked = resolveEnds(cluster, question, diagnostics)
  if (asked === null) return { trace: null, diagnostics: [...cluster.diagnostics, ...diagnostics.sorted()] }
  const timeline = question.atS === undefined ? [] : timelineNotes(cluster, question.atS)
  const log = new TraceLog(cluster.world, { frames: true, misses: question.verbose })
  const startNs = cluster.world.nowNs
  cluster.world.tracer = log
  const resolved = resolveByPackets(cluster, { ...asked, notes: [...asked.notes, ...notes] }, log)
  const { ends } = resolved
  if (resolved.failure !== null) {
    cluster.world.tracer = null
    const trace = unresolvedTrace(cluster, question, log, startNs, resolved)
    return {
      trace: { ...trace, notes: [...timeline, ...trace.notes] },
      diagnostics: [...cluster.diagnostics, ...diagnostics.sorted()],
    }
  }
  const decided = cluster.httpLog.length
  const lost = cluster.unmodelled.length
  const traffic = startTraffic(cluster, ends, question)
  traffic.run(log)
  cluster.world.tracer = null
  const trace = report(cluster, question, ends, log, traffic, startNs, resolved, { decided, lost })
  return {
    trace: { ...trace, notes: [...timeline, ...trace.notes] },
    diagnostics: [...cluster.diagnostics, ...diagnostics.sorted()],
  }
}

/** What happened up to then, one line each. */
function timelineNotes(cluster: Cluster, atS: number): string[] {
  const entries = cluster.events.playUntil(atS)
  return [...entries.map((e) => `${e.atS.toFixed(3)} s ${e.netns}: ${e.text}`), `asked at ${atS} s`]
}

function report(
  cluster: Cluster,
  question: TraceQuestion,
  ends: ResolvedEnds,
  log: TraceLog,
  traffic: Traffic,
  startNs: number,
  resolved: NameWalk,
  since: { readonly decided: number; readonly lost: number },
): Trace {
  const index = new PacketIndex(log)
  const roots = index.roots()
  const forward = roots.find((p) => p.steps[0]!.index >= resolved.endStep && isFirstIpPacketOf(p, ends.srcNs.id))
  const story = forward === undefined ? null : index.storyteller(forward)
  const fate: Fate =
    story !== null
      ? (unansweredBalancer(cluster, ends, story) ?? notModelled(cluster, since.lost) ?? fateOf(story))
      : {
          verdict: 'UNREACHABLE',
          code: 'SEND_FAILED',
          text: `The sender's own stack refused: ${traffic.sendError()}.`,
          hint: 'ip route get on the sender shows the same.',
          step: null,
        }
  const steps =
    story === null
      ? [...log.steps()].filter((s) => s.netns === ends.srcNs.id && s.index >= resolved.endStep)
      : index.story(story)
  const replyRoot = story === null ? undefined : findReply(log, index, roots, forward!, story)
  const replyStory = replyRoot === undefined ? null : index.storyteller(replyRoot)
  const replyFate = replyStory === null ? null : fateOf(replyStory)
  const asked = { ip: formatIpv4(ends.dstIp), protocol: question.protocol, port: ends.dport }
  const before = story === null ? null : routeStepsBefore(log, story)
  const walk = withLookupOrigins(walkOf(steps, cluster, log, question.verbose, before), cluster, asked)
  const reply = replyStory === null ? [] : walkOf(index.story(replyStory), cluster, log, question.verbose, null)
  const delivered =
    story === null || fate.verdict !== 'DELIVERED' ? null : deliveredOf(cluster, log, index.family(forward!), story)
  const protocol = question.protocol
  const decisions = cluster.httpLog.slice(since.decided)
  const onward = story === null ? [] : onwardLegs(cluster, log, index, story, question.verbose)
  const first = forward === undefined ? null : firstFrame(log, index, forward)
  const resolution = resolved.resolver === null ? {} : { resolution: namePart(cluster, question, resolved, log, index) }
  return {
    apiVersion: API_VERSION,
    kind: 'Trace',
    question: questionOf(cluster, question, ends, traffic.sport, traffic.size),
    verdict: fate.verdict,
    reason: { code: fate.code, text: fate.text, hint: fate.hint },
    nearestMiss:
      fate.verdict === 'DELIVERED'
        ? null
        : (policyMissOf(steps, fate, first, traffic, ends, protocol) ??
          nearestMiss(cluster, {
            ip: ends.dstIp,
            port: ends.dport,
            protocol,
            code: fate.code,
            netns: walk.at(-1)?.netns,
          })),
    decidedBy: chosenRule(decisions) ?? decidedBy(walk, fate),
    delivered,
    walk,
    reply,
    replyVerdict:
      replyFate === null ? null : { verdict: replyFate.verdict, code: replyFate.code, text: replyFate.text },
    flow: question.flow ? traffic.flowResult() : null,
    ...captureOf(cluster, log, index, startNs),
    ...resolution,
    ...(onward.length > 0 && { onward }),
    ...(question.http !== undefined &&
      traffic.http !== null && { http: httpResult(question.http, traffic.http, decisions) }),
    notes: ends.notes,
  }
}

/** What a policy that dropped the packet has to say. */
function policyMissOf(
  steps: readonly TraceStep[],
  fate: Fate,
  first: CapturedFrame | null,
  traffic: Traffic,
  ends: ResolvedEnds,
  protocol: TraceQuestion['protocol'],
): string | null {
  if (!FILTERED.has(fate.code)) return null
  const src = (first === null ? null : parseFiveTuple(first.bytes)?.src) ?? 0
  return policyMiss(steps, { src, sport: traffic.sport, dst: ends.dstIp, dport: ends.dport, protocol })
}

/** Somebody on the way met what is not modelled. */
function notModelled(cluster: Cluster, since: number): Fate | null {
  const what = cluster.unmodelled.slice(since).join('; ')
  if (what === '') return null
  const { symbol, verdict, hint } = reasonOf(R_UNMODELLED)
  return { verdict, code: symbol, text: `Not modelled: ${what}.`, hint, step: null }
}

/** The rule of the last controller that chose one. */
function chosenRule(decisions: readonly HttpDecision[]): DecidedBy | null {
  return decisions.findLast((d) => d.origin !== null)?.origin ?? null
}

function namePart(
  cluster: Cluster,
  question: TraceQuestion,
  resolved: NameWalk,
  log: TraceLog,
  index: PacketIndex,
): TraceResolution {
  const leg = dnsLeg(cluster, resolved, log, index, question.verbose)
  return resolutionOf(
    resolved,
    resolved.failure === null ? leg : null,
    processFiles(cluster, resolved.ends.srcPod).libc,
  )
}

/** The trace of a question whose name has no address: its walk is that of the DNS query. */
function unresolvedTrace(
  cluster: Cluster,
  question: TraceQuestion,
  log: TraceLog,
  startNs: number,
  resolved: NameWalk,
): Trace {
  const { ends } = resolved
  const index = new PacketIndex(log)
  const leg = dnsLeg(cluster, resolved, log, index, question.verbose)
  const fate = unresolvedFate(resolved, leg)
  const replyFate = leg?.replyFate ?? null
  return {
    ...{ apiVersion: API_VERSION, kind: 'Trace' },
    question: questionOf(cluster, question, ends, 0, 0),
    verdict: fate.verdict,
    reason: { code: fate.code, text: fate.text, hint: fate.hint },
    nearestMiss: null,
    decidedBy: leg === null ? null : decidedBy(leg.walk, fate),
    delivered: null,
    walk: leg?.walk ?? [],
    reply: leg?.reply ?? [],
    replyVerdict: replyFate && { verdict: replyFate.verdict, code: replyFate.code, text: replyFate.text },
    flow: null,
    ...captureOf(cluster, log, index, startNs),
    resolution: namePart(cluster, question, resolved, log, index),
    notes: ends.notes,
  }
}

function questionOf(
  cluster: Cluster,
  question: TraceQuestion,
  ends: ResolvedEnds,
  sport: number,
  size: number,
): Trace['question'] {
  return {
    ...{ src: ends.src, dst: ends.dst, protocol: question.protocol, sport, dport: ends.dport, size },
    ...{ flow: question.flow, cni: cluster.model.config.cni.name, proxyMode: cluster.model.config.proxy.mode },
    seed: question.seed,
  }
}

/** MetalLB's speakers have a router to talk to: what it does with a packet is its routes' business. */
function hasRouter(cluster: Cluster): boolean {
  const speakers = [...(cluster.bgp?.speakers.values() ?? [])].map((p) => p.speaker)
  return speakers.some((s) => isMetalLb(s.spec.name) && s.peers.some((p) => p.routerId !== 0))
}

/**
 * An address of a Service that nothing in the cluster answers for outside of the nodes: externalIPs are somebody else's
 * routes, MetalLB's BGP needs a router. What the underlay does with the packet says nothing.
 */
function unansweredBalancer(cluster: Cluster, ends: ResolvedEnds, story: LoggedPacket): Fate | null {
  const end = story.steps.at(-1)!
  if (end.netns !== cluster.underlay.ns.id || fateOf(story).verdict === 'DELIVERED') return null
  const ip = formatIpv4(ends.dstIp)
  const { services, loadBalancer } = cluster.model
  const by = loadBalancer?.addresses.find((a) => a.ip === ip)?.by
  const isExternal = services.some(({ object: s }) => s.spec.externalIPs?.includes(ip))
  const isBgp = by === 'bgp' && !hasRouter(cluster)
  if (!isBgp && !isExternal) return null
  return {
    verdict: 'UNMODELLED',
    code: 'UNMODELLED',
    text: isBgp
      ? `The router that MetalLB's BGP mode would tell of ${ip} is not part of the underlay.`
      : `Who answers for the external address ${ip} outside the nodes is not modelled.`,
    hint: 'A router would bring the packet to a node: ask for node/NAME and the NodePort, or from a node.',
    step: end,
  }
}

/** Ends that a rule brought about; whatever else ends a packet has no rule to show. */
const FILTERED: ReadonlySet<string> = new Set(['NETFILTER_DROP', 'NETFILTER_REJECT'])

function decidedBy(walk: readonly TraceHop[], fate: Fate): DecidedBy | null {
  const rules = walk.filter((h) => (h.point === 'rule' && h.detail.matched === true) || h.point === 'ipvs')
  const origin = (h: TraceHop | undefined): DecidedBy | null => (h?.detail.origin as DecidedBy | undefined) ?? null
  // a translation decides where the packet is delivered; a drop is decided by the last rule alone
  if (fate.verdict === 'DELIVERED') {
    const service = rules.find((h) => origin(h)?.kind === 'Service')
    return origin(service ?? rules.find((h) => String(h.detail.target).startsWith('DNAT')))
  }
  if (fate.code === 'IPVS_NO_DESTINATION') return origin(rules.findLast((h) => origin(h) !== null))
  if (!FILTERED.has(fate.code)) return null
  // a verdict map's element or an ipset may send the packet to a common chain that refuses
  const before = rules.at(-2)
  const isSent = before !== undefined && / (?:vmap|--match-set) /.test(String(before.detail.text))
  return origin(rules.at(-1)) ?? (isSent ? origin(before) : null)
}
