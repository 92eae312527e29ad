/**
 * The why query: every policy and rule that had a say in one connection.
 *
 * A workload stands for its pods; pods with the same explanation are told once. To a Service each endpoint is a flow of its
 * own, with the targetPort that policies see.
 */
import type { ClusterModel, Protocol } from '../kubernetes/types.ts'
import type { PolicyEngine } from '../policy/engine.ts'
import { type Explanation, explainFlow } from '../policy/explain.ts'
import type { Party, PolicyOptions } from '../policy/model.ts'
import type { PolicyProtocol } from '../policy/port-set.ts'
import { enforcementOf } from './enforcement.ts'
import type { Parties } from './parties.ts'
import type { Reach } from './reach-types.ts'
import { API_VERSION } from './trace-types.ts'

/** The document. */
export interface Why {
  readonly apiVersion: typeof API_VERSION
  readonly kind: 'Why'
  readonly question: {
    readonly src: string
    readonly dst: string
    readonly protocol: Protocol | 'ICMP'
    readonly port: number
  }
  /** Whether all of the flows are allowed. */
  readonly allowed: boolean
  readonly options: PolicyOptions
  /** One for each pair of ends whose policies or answer differ. */
  readonly flows: readonly Explanation[]
  readonly enforcement: Reach['enforcement']
  readonly notes: readonly string[]
}

/** What is asked. */
export interface WhyQuestion {
  readonly asked: { readonly src: string; readonly dst: string }
  readonly src: Parties
  readonly dst: Parties
  readonly protocol: Protocol | 'ICMP'
  readonly port: number
}

/** Explains the connection. */
export function whyQuery(engine: PolicyEngine, model: ClusterModel, question: WhyQuestion): Why {
  const { protocol, port } = question
  const flows = new Map<string, Explanation>()
  const notes = [...question.src.notes, ...question.dst.notes]
  for (const src of question.src.parties) {
    for (const dst of question.dst.parties) {
      const family = engine.familyOf(src, dst)
      if (family === null) {
        notes.push(`${src.name} and ${dst.name} have no address of one family`)
        continue
      }
      const targets = question.dst.targets?.get(dst.name) ?? [{ protocol, port }]
      for (const target of targets) {
        if (target.protocol !== protocol) continue
        const asked: PolicyProtocol = protocol === 'ICMP' && family === 6 ? 'ICMPv6' : protocol
        const explained = explainFlow(engine, engine.flow(src, dst, asked, target.port, { family }))
        const key = sameness(engine, src, dst, explained)
        if (!flows.has(key)) flows.set(key, explained)
      }
    }
  }
  const all = [...flows.values()]
  return {
    apiVersion: API_VERSION,
    kind: 'Why',
    question: { ...question.asked, protocol, port },
    allowed: all.length > 0 && all.every((f) => f.allowed),
    options: engine.options,
    flows: all,
    enforcement: enforcementOf(engine, model),
    notes: [...new Set(notes)],
  }
}

/** Pods of one class give one explanation: only the names in it differ. */
function sameness(engine: PolicyEngine, src: Party, dst: Party, explained: Explanation): string {
  const of = (party: Party): string => {
    const number = engine.classOf(party)
    return number < 0 || party.hostNetwork ? party.name : `class ${number}`
  }
  return `${of(src)} ${of(dst)} ${explained.port} ${explained.exemption ?? ''}`
}
