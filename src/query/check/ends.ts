/**
 * The ends of an assertion as parties: pods by selectors, words as on the command line, the world outside.
 */
import type { Diagnostic } from '../../diagnostics/diagnostic.ts'
import type { ClusterModel, LabelSelector } from '../../kubernetes/types.ts'
import type { PolicyEngine } from '../../policy/engine.ts'
import { and, type Expr, eq, matches, selectorExpr } from '../../policy/expr.ts'
import { externalAtoms } from '../../policy/external.ts'
import { externalParty } from '../../policy/input.ts'
import { META_NAMESPACE, type Party } from '../../policy/model.ts'
import { firstOutsider, type Parties, partiesOfCidr, resolveParties } from '../parties.ts'
import type { EndSpec } from './assertion-file.ts'

/** The parties of an end; none when nothing is selected or, with `problem`, when it cannot be resolved. */
export interface ResolvedEnd {
  readonly parties: readonly Party[]
  /** For a Service: where the packets go, by party name. */
  readonly targets: Parties['targets']
  readonly port: number | null
  readonly problem: Diagnostic | null
}

function plain(parties: readonly Party[]): ResolvedEnd {
  return { parties, targets: null, port: null, problem: null }
}

/** Resolves an end in a cluster. */
export function resolveEnd(engine: PolicyEngine, model: ClusterModel, end: EndSpec, namespace: string): ResolvedEnd {
  if (typeof end !== 'string') return plain(bySelectors(engine, end))
  if (end === '*') return plain(engine.input.pods)
  if (end === 'internet') return plain(outside(engine))
  const { found, diagnostic } = resolveParties(engine, model, end, namespace)
  if (diagnostic !== undefined) return { ...plain([]), problem: diagnostic }
  return { parties: found.parties, targets: found.targets, port: found.port, problem: null }
}

function bySelectors(engine: PolicyEngine, end: Exclude<EndSpec, string>): Party[] {
  if (end.cidr !== undefined) return partiesOfCidr(engine, end.cidr)
  const parts: Expr[] = []
  if (end.namespace !== undefined) parts.push(eq('meta', META_NAMESPACE, end.namespace))
  const select = (selector: LabelSelector | undefined, scope: 'pod' | 'namespace'): void => {
    if (selector !== undefined) parts.push(selectorExpr(selector, scope))
  }
  select(end.namespaceSelector, 'namespace')
  select(end.podSelector, 'pod')
  const wanted = and(parts)
  return engine.input.pods.filter((p) => matches(wanted, p))
}

/** One machine for each way in which policies treat addresses of the world; those that are pods or nodes are left out. */
export function outside(engine: PolicyEngine): Party[] {
  return externalAtoms(engine).flatMap((atom) => {
    const address = firstOutsider(engine, atom.ranges)
    return address === null ? [] : [externalParty(address)]
  })
}
