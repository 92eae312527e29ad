/**
 * Reach by the engine that was asked for: policies, packets, or both and where they differ.
 */
import type { Diagnostic } from '../diagnostics/diagnostic.ts'
import type { ClusterModel, Protocol } from '../kubernetes/types.ts'
import { PolicyEngine } from '../policy/engine.ts'
import { policyInputOf } from '../policy/input.ts'
import { differencesOf, probesOf, walkPairs } from './packets-engine.ts'
import { type ReachQuestion, reachQuery } from './reach.ts'
import type { Reach, ReachConnection, ReachEngine, ReachProbe } from './reach-types.ts'

/** The answer, and what could not be walked. */
export interface ReachAnswer {
  readonly answer: Reach
  readonly diagnostics: readonly Diagnostic[]
  /** Set when the packets engine has no model of this cluster. */
  readonly unmodelled: string | null
}

/** Answers with one engine or both. */
export function askReach(
  engine: PolicyEngine,
  model: ClusterModel,
  question: ReachQuestion,
  which: ReachEngine,
  seed: number,
): ReachAnswer {
  const policy = reachQuery(engine, model, question)
  if (which === 'policy') return { answer: policy, diagnostics: [], unmodelled: null }
  // compared with the running world, policies see the addresses that pods have there
  const built = new PolicyEngine(policyInputOf(model, 'built'), engine.options)
  const asked = inBuilt(question, built)
  const walked = walkPairs(model, built, asked, seed)
  const notes = [...policy.notes, ...walked.notes]
  if (walked.unmodelled !== null) notes.push(`packets: UNMODELLED: ${walked.unmodelled}`)
  const probes = probesOf(walked, asked)
  const differences = differencesOf(walked, built, model.config.cni.name)
  const answer: Reach =
    which === 'packets'
      ? { ...policy, engine: which, connections: connectionsOf(probes), probes, notes: [...notes, walkedNote(probes)] }
      : { ...policy, engine: which, notes, ...(walked.unmodelled === null && { differences }) }
  return { answer, diagnostics: walked.diagnostics, unmodelled: walked.unmodelled }
}

/** The same ends among the parties of another engine. */
function inBuilt(question: ReachQuestion, engine: PolicyEngine): ReachQuestion {
  const move = (ends: ReachQuestion['src']): ReachQuestion['src'] =>
    ends && { ...ends, parties: ends.parties.map((p) => (p.kind === 'pod' ? engine.pod(p.name)! : p)) }
  const { src, dst, focus, ...rest } = question
  return {
    ...rest,
    ...(src !== undefined && { src: move(src)! }),
    ...(dst !== undefined && { dst: move(dst)! }),
    ...(focus !== undefined && { focus: move(focus)! }),
  }
}

function walkedNote(probes: readonly ReachProbe[]): string {
  const ports = probes.map((p) => `${p.protocol}/${p.port}`).join(', ')
  return `packets: walked ${ports === '' ? 'nothing' : ports}; other ports were not asked`
}

function connectionsOf(probes: readonly ReachProbe[]): ReachConnection[] {
  const ports = new Map<string, { src: string; dst: string; protocol: Protocol; ports: number[] }>()
  for (const p of probes) {
    if (p.protocol === 'ICMP') continue
    for (const [src, dst] of p.allowed) {
      const key = `${src} ${dst} ${p.protocol}`
      const entry = ports.get(key) ?? { src, dst, protocol: p.protocol, ports: [] }
      entry.ports.push(p.port)
      ports.set(key, entry)
    }
  }
  return [...ports.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, e]) => ({ ...e, ports: e.ports.sort((a, b) => a - b).join(',') }))
}
