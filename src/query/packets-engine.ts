/**
 * The packets engine: the same pairs asked of the data plane that the chosen CNI programmed, by sending packets.
 *
 * One connection attempt per pair and port through the built cluster, from a port of its own so that no conntrack entry of
 * an earlier one lets it pass. Pods that neither policies nor the network tell apart (class and node) are asked once. With
 * `both` every disagreement gets a cause: the CNI enforces nothing or does not read the kind, a translation hid the source,
 * the pod talks to itself through a Service, traffic of the pod's own node, routing; what has none of these is unexplained
 * and somebody's bug.
 */
import { buildCluster, type Cluster, UnmodelledClusterError } from '../cluster/build.ts'
import { findCniDriver } from '../cni/registry.ts'
import type { Diagnostic } from '../diagnostics/diagnostic.ts'
import type { ClusterModel, Protocol } from '../kubernetes/types.ts'
import type { PolicyEngine } from '../policy/engine.ts'
import { explainFlow, type SideExplanation } from '../policy/explain.ts'
import type { Party } from '../policy/model.ts'
import { formatAddress } from '../policy/ranges.ts'
import { isEnforced } from './enforcement.ts'
import type { Parties } from './parties.ts'
import { partyName, type ReachQuestion } from './reach.ts'
import type { ReachDifference, ReachProbe } from './reach-types.ts'
import { traceInCluster } from './trace.ts'
import type { Trace } from './trace-types.ts'

/** One question that was walked. */
export interface WalkedPair {
  readonly src: Party
  readonly dst: Party
  readonly protocol: Protocol | 'ICMP'
  readonly port: number
  readonly allowed: boolean
  readonly trace: Trace
}

/** What the walks gave. */
export interface PacketsAnswer {
  readonly pairs: readonly WalkedPair[]
  readonly diagnostics: readonly Diagnostic[]
  /** Set when the cluster cannot be built here. */
  readonly unmodelled: string | null
  readonly notes: readonly string[]
}

const FIRST_PORT = 33_000
const PORTS = 25_000
/** Walks that are done at most: the rest is said to be left out. */
export const MAX_WALKS = 20_000

/** Walks every pair of the question for its probes, or for the ports that destinations declare. */
export function walkPairs(
  model: ClusterModel,
  engine: PolicyEngine,
  question: ReachQuestion,
  seed: number,
): PacketsAnswer {
  let cluster: Cluster
  try {
    cluster = buildCluster(model, { seed })
  } catch (error) {
    if (!(error instanceof UnmodelledClusterError)) throw error
    return { pairs: [], diagnostics: [], unmodelled: error.message, notes: [] }
  }
  const srcs = question.src?.parties ?? engine.input.pods
  const dsts = question.dst?.parties ?? engine.input.pods
  const pairs: WalkedPair[] = []
  const notes = new Set<string>()
  const answers = new Map<string, { allowed: boolean; trace: Trace }>()
  let walks = 0
  if (question.dst?.service) walkService(cluster, engine, srcs, question.dst, seed, pairs)
  for (const src of srcs) {
    for (const dst of question.dst?.service ? [] : dsts) {
      if (src === dst || src.v4 === null || dst.v4 === null) continue
      for (const { protocol, port } of portsFor(question, dst)) {
        if (protocol === 'SCTP') {
          notes.add('packets: SCTP sockets are UNMODELLED: not walked')
          continue
        }
        const key = `${standIn(engine, src, dst)} ${standIn(engine, dst, src)} ${protocol}/${port}`
        let answer = answers.get(key)
        if (answer === undefined) {
          if (walks >= MAX_WALKS) {
            notes.add(`packets: only the first ${MAX_WALKS} pairs were walked`)
            continue
          }
          const trace = walk(cluster, src, dst, protocol, port, FIRST_PORT + (walks++ % PORTS), seed)
          if (trace === null) continue
          answer = { allowed: trace.verdict === 'DELIVERED', trace }
          answers.set(key, answer)
        }
        pairs.push({ src, dst, protocol, port, ...answer })
      }
    }
  }
  // what the CNI ignores is told by the document itself
  const diagnostics = cluster.diagnostics.filter((d) => d.code !== 'policy-not-enforced')
  return { pairs, diagnostics, unmodelled: null, notes: [...notes] }
}

/**
 * One attempt per source to the Service's own address: what the packets meet after the translation is compared with what the
 * policies say of the endpoint that got them. A drop is compared when the policies say the same of every endpoint.
 */
function walkService(
  cluster: Cluster,
  engine: PolicyEngine,
  srcs: readonly Party[],
  to: Parties,
  seed: number,
  pairs: WalkedPair[],
): void {
  for (const [i, src] of srcs.entries()) {
    const first = to.targets!.get(to.parties[0]!.name)![0]!
    if (first.protocol === 'SCTP' || src.v4 === null) continue
    const { trace } = traceInCluster(cluster, {
      src: endText(src),
      dst: to.service!,
      namespace: 'default',
      protocol: first.protocol,
      sport: FIRST_PORT + (i % PORTS),
      flow: false,
      seed,
      verbose: false,
    })
    if (trace === null) continue
    const allowed = trace.verdict === 'DELIVERED'
    const reached = to.parties.find((p) => p.name === trace.delivered?.pod)
    const verdicts = to.parties.map((p) =>
      to.targets!.get(p.name)!.every((t) => engine.isAllowed(engine.flow(src, p, t.protocol, t.port))),
    )
    const dst = reached ?? to.parties[0]!
    if (reached === undefined && new Set(verdicts).size > 1) continue
    const { protocol, port } = to.targets!.get(dst.name)![0]!
    pairs.push({ src, dst, protocol, port, allowed, trace })
  }
}

/** Pods of one class on one node are walked once; the two of a pair stay themselves when they are of one class. */
function standIn(engine: PolicyEngine, party: Party, other: Party): string {
  const number = engine.classOf(party)
  if (number < 0 || party.hostNetwork || number === engine.classOf(other)) return party.name
  return `${number}@${party.node}`
}

function portsFor(question: ReachQuestion, dst: Party): readonly { protocol: Protocol | 'ICMP'; port: number }[] {
  const targets = question.dst?.targets?.get(dst.name)
  if (targets !== undefined) return targets
  if (question.probes.length > 0) return question.probes
  if (dst.ports.length > 0) return dst.ports
  return [{ protocol: 'TCP', port: 80 }]
}

function endText(party: Party): string {
  if (party.kind === 'pod') return `pod/${party.name}`
  return party.kind === 'node' ? `node/${party.name}` : `host:${party.name}`
}

function walk(
  cluster: Cluster,
  src: Party,
  dst: Party,
  protocol: 'TCP' | 'UDP' | 'ICMP',
  port: number,
  sport: number,
  seed: number,
): Trace | null {
  const { trace } = traceInCluster(cluster, {
    src: endText(src),
    dst: protocol === 'ICMP' ? endText(dst) : `${endText(dst)}:${port}`,
    namespace: 'default',
    protocol,
    ...(protocol !== 'ICMP' && { sport }),
    flow: false,
    seed,
    verbose: false,
  })
  return trace
}

/** The walks as probes, by port. */
export function probesOf(answer: PacketsAnswer, question: ReachQuestion): ReachProbe[] {
  const byPort = new Map<string, { protocol: Protocol | 'ICMP'; port: number; all: Map<string, boolean> }>()
  for (const p of answer.pairs) {
    const key = `${p.protocol}/${p.port}`
    const entry = byPort.get(key) ?? { protocol: p.protocol, port: p.port, all: new Map<string, boolean>() }
    const pair = `${partyName(p.src, question.by)} ${partyName(p.dst, question.by)}`
    entry.all.set(pair, (entry.all.get(pair) ?? true) && p.allowed)
    byPort.set(key, entry)
  }
  return [...byPort.values()].map(({ protocol, port, all }) => {
    const pairs = [...all].map(([names, yes]) => ({ pair: names.split(' ') as [string, string], yes }))
    pairs.sort((a, b) => (a.pair.join(' ') < b.pair.join(' ') ? -1 : 1))
    return {
      protocol,
      port,
      allowed: pairs.filter((p) => p.yes).map((p) => p.pair),
      denied: pairs.filter((p) => !p.yes).map((p) => p.pair),
    }
  })
}

/** Where the packets do not do what the policies say, with the cause. */
export function differencesOf(answer: PacketsAnswer, engine: PolicyEngine, cni: string): ReachDifference[] {
  const found: ReachDifference[] = []
  for (const pair of answer.pairs) {
    const { src, dst, protocol, port, trace, allowed } = pair
    if (src === dst && allowed) continue
    const flow = engine.flow(src, dst, protocol, protocol === 'ICMP' ? 8 : port)
    if (engine.isAllowed(flow) === allowed) continue
    const { cause, text } = causeOf(pair, engine, cni)
    const packets = `${trace.verdict} ${trace.reason.code}`
    const policy = allowed ? ('denied' as const) : ('allowed' as const)
    found.push({ src: src.name, dst: dst.name, protocol, port, policy, packets, cause, text })
  }
  return found
}

interface Cause {
  readonly cause: string
  readonly text: string
}

function causeOf(pair: WalkedPair, engine: PolicyEngine, cni: string): Cause {
  const { src, dst, trace, allowed } = pair
  if (trace.verdict === 'UNMODELLED') return { cause: 'unmodelled', text: trace.reason.text }
  const explained = explainFlow(engine, engine.flow(src, dst, pair.protocol, pair.protocol === 'ICMP' ? 8 : pair.port))
  const denying = [explained.egress, explained.ingress].filter((s) => !s.allowed)
  if (allowed) {
    const ignored = denying.find((side) => isIgnored(side, engine, cni))
    if (ignored !== undefined) return notEnforced(ignored, cni)
    const ownNode =
      src.node !== '' && src.node === dst.node && (src.hostNetwork || dst.hostNetwork || src.kind === 'node')
    if (ownNode) return { cause: 'host-traffic', text: `${cni} exempts traffic between a pod and its own node` }
  }
  if (src === dst)
    return { cause: 'hairpin', text: `the pod talks to itself through the Service: ${trace.reason.text}` }
  const seen = trace.delivered?.src ?? lastSource(trace)
  const own = src.v4 === null ? null : formatAddress(src.v4)
  if (seen !== null && own !== null && seen !== own) {
    return { cause: 'snat', text: `the source is hidden: the receiver sees ${seen} instead of ${own}` }
  }
  if (!allowed) {
    const by = trace.decidedBy
    if (by?.kind.endsWith('Policy')) {
      if (dst.kind === 'node' || dst.hostNetwork || src.kind === 'node') {
        return {
          cause: 'host-traffic',
          text: `${cni} polices traffic of a pod with its own node (${by.kind} ${by.name} ${by.rule}): ask with --node-traffic`,
        }
      }
      return { cause: 'unexplained', text: `dropped by ${by.kind} ${by.namespace}/${by.name} ${by.rule}` }
    }
    return { cause: 'routing', text: trace.reason.text }
  }
  return { cause: 'unexplained', text: 'the packet was delivered although policies deny it' }
}

/** Whether the CNI does not enforce what denies on this side. */
function isIgnored(side: SideExplanation, engine: PolicyEngine, cni: string): boolean {
  const driver = findCniDriver(cni)
  if (driver !== undefined && !driver.enforcesNetworkPolicy) return true
  const by = side.decidedBy
  const policy = engine.policies.find(
    (p) => by !== null && p.kind === by.kind && p.name === by.name && p.namespace === by.namespace,
  )
  return policy !== undefined && !isEnforced(policy, cni)
}

function notEnforced(side: SideExplanation, cni: string): Cause {
  const by = side.decidedBy
  const title = by === null ? 'policies' : `${by.kind} ${by.namespace === '' ? '' : `${by.namespace}/`}${by.name}`
  const driver = findCniDriver(cni)
  const text =
    driver?.enforcesNetworkPolicy === false
      ? `${cni} enforces no NetworkPolicy: ${title} has no effect`
      : `${cni} does not read ${title}`
  return { cause: 'not-enforced', text }
}

/**
 * The source address of the last frame that goes to the destination, or null: a translation or a tunnel device gives a packet
 * another one than its sender has.
 */
function lastSource(trace: Trace): string | null {
  for (const { hex } of [...trace.frames].reverse()) {
    const bytes = Buffer.from(hex, 'hex')
    const at = bytes.length > 34 && bytes.readUInt16BE(12) === 0x0800 ? 14 : 0
    if (bytes.length < at + 20 || bytes[at]! >> 4 !== 4) continue
    const address = (offset: number): string => bytes.subarray(at + offset, at + offset + 4).join('.')
    if (address(16) === trace.question.dst.ip) return address(12)
  }
  return null
}
