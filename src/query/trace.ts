/**
 * The trace query: sends a real packet through the built cluster and tells its whole way and that of the reply.
 *
 * The client opens a socket in its namespace as a process would; what happens is up to the simulated kernel. Without
 * `flow` the walk of the first packet and of its reply is told; with it the whole conversation is played.
 */
import { formatIpv4 } from '../addr/index.ts'
import { buildCluster, type Cluster } from '../cluster/build.ts'
import { type Diagnostic, Diagnostics, NO_POSITION } from '../diagnostics/diagnostic.ts'
import { type CapturedFrame, TraceLog, type TraceStep } from '../engine/trace-log.ts'
import type { ClusterModel } from '../kubernetes/types.ts'
import { T_CHILD, T_RX, T_TX } from '../linux/trace.ts'
import { describeFrame } from '../wire/describe.ts'
import { type FiveTuple, parseFiveTuple } from './five-tuple.ts'
import { nearestMiss } from './nearest-miss.ts'
import { type Fate, fateOf, type LoggedPacket, PacketIndex } from './packets.ts'
import { policyMiss } from './policy-miss.ts'
import { withLookupOrigins } from './proxy-lookups.ts'
import { type ResolvedEnds, resolveEnds } from './resolve.ts'
import {
  API_VERSION,
  type DecidedBy,
  type Delivered,
  type Trace,
  type TraceFrame,
  type TraceHop,
  type TracePacket,
} from './trace-types.ts'
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
  /** Also rules that were looked at and did not match. */
  readonly verbose: boolean
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
export function traceInCluster(cluster: Cluster, question: TraceQuestion): TraceAnswer {
  const diagnostics = new Diagnostics()
  if (question.protocol === 'SCTP') {
    diagnostics.error('unmodelled', NO_POSITION, 'SCTP sockets are UNMODELLED: no packet can be sent')
    return { trace: null, diagnostics: diagnostics.sorted() }
  }
  const ends = resolveEnds(cluster, question, diagnostics)
  if (ends === null) return { trace: null, diagnostics: [...cluster.diagnostics, ...diagnostics.sorted()] }
  const log = new TraceLog(cluster.world, { frames: true, misses: question.verbose })
  const startNs = cluster.world.nowNs
  cluster.world.tracer = log
  const traffic = startTraffic(cluster, ends, question)
  traffic.run(log)
  cluster.world.tracer = null
  const trace = report(cluster, question, ends, log, traffic, startNs)
  return { trace, diagnostics: [...cluster.diagnostics, ...diagnostics.sorted()] }
}

function report(
  cluster: Cluster,
  question: TraceQuestion,
  ends: ResolvedEnds,
  log: TraceLog,
  traffic: Traffic,
  startNs: number,
): Trace {
  const index = new PacketIndex(log)
  const roots = index.roots()
  const forward = roots.find((p) => isFirstIpPacketOf(p, ends.srcNs.id))
  const story = forward === undefined ? null : index.storyteller(forward)
  const fate: Fate =
    story !== null
      ? (unansweredBalancer(cluster, ends, story) ?? fateOf(story))
      : {
          verdict: 'UNREACHABLE',
          code: 'SEND_FAILED',
          text: `The sender's own stack refused: ${traffic.sendError()}.`,
          hint: 'ip route get on the sender shows the same.',
          step: null,
        }
  const steps = story === null ? [...log.steps()].filter((s) => s.netns === ends.srcNs.id) : index.story(story)
  const replyRoot = story === null ? undefined : findReply(index, roots, forward!, story)
  const replyStory = replyRoot === undefined ? null : index.storyteller(replyRoot)
  const replyFate = replyStory === null ? null : fateOf(replyStory)
  const asked = { ip: formatIpv4(ends.dstIp), protocol: question.protocol, port: ends.dport }
  const before = story === null ? null : routeStepsBefore(log, story)
  const walk = withLookupOrigins(walkOf(steps, cluster, log, question.verbose, before), cluster, asked)
  const reply = replyStory === null ? [] : walkOf(index.story(replyStory), cluster, log, question.verbose, null)
  const interfaces = interfacesOf(cluster, log)
  const delivered =
    story === null || fate.verdict !== 'DELIVERED' ? null : deliveredOf(cluster, log, index.family(forward!), story)
  const protocol = question.protocol
  const first = forward === undefined ? null : firstFrame(log, index, forward)
  return {
    apiVersion: API_VERSION,
    kind: 'Trace',
    question: {
      src: ends.src,
      dst: ends.dst,
      protocol,
      sport: traffic.sport,
      dport: ends.dport,
      size: traffic.size,
      flow: question.flow,
      cni: cluster.model.config.cni.name,
      proxyMode: cluster.model.config.proxy.mode,
      seed: question.seed,
    },
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
    decidedBy: decidedBy(walk, fate),
    delivered,
    walk,
    reply,
    replyVerdict:
      replyFate === null ? null : { verdict: replyFate.verdict, code: replyFate.code, text: replyFate.text },
    flow: question.flow ? traffic.flowResult() : null,
    packets: packetList(cluster, log, index, roots),
    frames: framesOf(cluster, log, index, roots, startNs),
    interfaces,
    names: namesOf(cluster, log),
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

/** Made by the IP layer of that namespace: ARP begins at the device, what others sent begins elsewhere. */
function isFirstIpPacketOf(p: LoggedPacket, netns: number): boolean {
  const first = p.steps[0]!
  return first.netns === netns && first.point !== T_TX && first.point !== T_RX && first.point !== T_CHILD
}

/**
 * A load balancer address that no node answers for is the business of a cloud balancer or MetalLB, which podwalk does not
 * model: what the underlay does with it says nothing.
 */
function unansweredBalancer(cluster: Cluster, ends: ResolvedEnds, story: LoggedPacket): Fate | null {
  const end = story.steps.at(-1)!
  if (end.netns !== cluster.underlay.ns.id || fateOf(story).verdict === 'DELIVERED') return null
  const ip = formatIpv4(ends.dstIp)
  const isVip = cluster.model.services.some(
    ({ object: s }) => s.spec.externalIPs?.includes(ip) || s.status?.loadBalancer?.ingress?.some((i) => i.ip === ip),
  )
  if (!isVip) return null
  return {
    verdict: 'UNMODELLED',
    code: 'UNMODELLED',
    text: `Who answers for the load balancer address ${ip} outside the nodes is not modelled.`,
    hint: 'A cloud balancer or MetalLB would bring the packet to a node: ask for node/NAME and the NodePort, or from a node.',
    step: end,
  }
}

/** The first frame of the packet or of its pieces, null when none was sent. */
function firstFrame(log: TraceLog, index: PacketIndex, root: LoggedPacket): CapturedFrame | null {
  let at = -1
  for (const p of index.family(root)) {
    const s = p.steps.find((x) => x.frame >= 0)
    if (s !== undefined && (at < 0 || s.frame < at)) at = s.frame
  }
  return at < 0 ? null : log.frames[at]!
}

/** The tuple as the place where the packet ended received it; of fragments, the first one has the ports. */
function lastTuple(log: TraceLog, family: readonly LoggedPacket[], netns: number): FiveTuple | null {
  const ids = new Set(family.map((p) => p.id))
  const frames = log.frames.filter((f) => ids.has(f.packet) && f.netns === netns)
  const tuples = frames.flatMap((f) => parseFiveTuple(f.bytes) ?? [])
  return tuples.findLast((t) => t.sport !== 0) ?? tuples.at(-1) ?? null
}

/** The first packet that the place where the forward packet ended sent after that. */
function findReply(
  index: PacketIndex,
  roots: readonly LoggedPacket[],
  forward: LoggedPacket,
  story: LoggedPacket,
): LoggedPacket | undefined {
  const end = story.steps.at(-1)!
  const family = new Set(index.family(forward).map((p) => p.id))
  const arrival = story.steps.find((s) => s.netns === end.netns)?.index ?? end.index
  return roots.find((p) => {
    const s = p.steps[0]!
    return !family.has(p.id) && isFirstIpPacketOf(p, end.netns) && s.index > arrival
  })
}

/** The route lookups of the sender's socket, which have no packet yet. */
function routeStepsBefore(log: TraceLog, p: LoggedPacket): ReturnType<TraceLog['at']>[] {
  const out = []
  const first = p.steps[0]!
  for (let i = first.index - 1; i >= 0; i--) {
    const s = log.at(i)
    if (s.packet !== 0 || s.netns !== first.netns) break
    out.unshift(s)
  }
  return out
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

function deliveredOf(
  cluster: Cluster,
  log: TraceLog,
  family: readonly LoggedPacket[],
  story: LoggedPacket,
): Delivered | null {
  const end = story.steps.at(-1)!
  const t = lastTuple(log, family, end.netns)
  if (t === null) return null
  const place = cluster.places.get(end.netns)
  return {
    pod: place?.pod === undefined ? null : `${place.pod.namespace}/${place.pod.name}`,
    node: place?.node ?? null,
    src: formatIpv4(t.src),
    sport: t.sport,
    dst: formatIpv4(t.dst),
    dport: t.dport,
  }
}

function place(cluster: Cluster, netns: number): { node: string | null; netns: string } {
  const p = cluster.places.get(netns)
  return { node: p?.node ?? null, netns: p?.netns ?? cluster.world.namespaces[netns]!.name }
}

function packetList(
  cluster: Cluster,
  log: TraceLog,
  index: PacketIndex,
  roots: readonly LoggedPacket[],
): TracePacket[] {
  const out: TracePacket[] = []
  for (const p of roots) {
    const first = firstFrame(log, index, p)
    if (first === null) continue
    const story = index.storyteller(p)
    const fate = fateOf(story)
    const end = story.steps.at(-1)!
    out.push({
      n: out.length + 1,
      from: place(cluster, first.netns).netns,
      summary: describeFrame(first.bytes, 'ether'),
      verdict: fate.verdict,
      reason: fate.code,
      to: place(cluster, end.netns).netns,
    })
  }
  return out
}

function framesOf(
  cluster: Cluster,
  log: TraceLog,
  index: PacketIndex,
  roots: readonly LoggedPacket[],
  startNs: number,
): TraceFrame[] {
  const numbers = new Map<number, number>()
  let n = 0
  for (const p of roots) {
    if (firstFrame(log, index, p) === null) continue
    n++
    for (const member of index.family(p)) numbers.set(member.id, n)
  }
  return log.frames.map((f) => ({
    ...place(cluster, f.netns),
    device: cluster.world.devices[f.device]!.name,
    direction: f.direction,
    atNs: f.atNs - startNs,
    hex: Buffer.from(f.bytes).toString('hex'),
    packet: numbers.get(f.packet) ?? 0,
  }))
}

function interfacesOf(cluster: Cluster, log: TraceLog): Trace['interfaces'] {
  const seen = new Set<number>()
  const out: Trace['interfaces'][number][] = []
  for (const f of log.frames) {
    if (seen.has(f.device)) continue
    seen.add(f.device)
    const dev = cluster.world.devices[f.device]!
    out.push({ ...place(cluster, f.netns), device: dev.name, linkType: dev.ether ? 'ether' : 'ip' })
  }
  return out
}

function namesOf(cluster: Cluster, log: TraceLog): Trace['names'] {
  const ips = new Set<number>()
  for (const f of log.frames) {
    const t = parseFiveTuple(f.bytes)
    if (t !== null) ips.add(t.src).add(t.dst)
  }
  const out: { [ip: string]: string } = {}
  for (const ip of [...ips].sort((a, b) => (a >>> 0) - (b >>> 0))) {
    const name = cluster.names.get(ip)
    if (name !== undefined) out[formatIpv4(ip)] = name
  }
  return out
}
