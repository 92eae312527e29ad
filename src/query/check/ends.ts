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
import { type Address, type AddressRanges, cidrRanges, rangesContain } from '../../policy/ranges.ts'
import { type Parties, partiesOfCidr, resolveParties } from '../parties.ts'
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
  if (end.cidr !== undefined) {
    const inside = engine.input.pods.filter((p) => p.addresses.length > 0 && partyIsIn(p, end.cidr!))
    return [...inside, ...partiesOfCidr(engine, end.cidr)]
  }
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

/** Pods whose address lies in the block: a CIDR means them too. */
function partyIsIn(party: Party, cidr: string): boolean {
  const ranges = cidrRanges(cidr)
  return ranges !== null && party.addresses.some((a) => rangesContain(ranges, a))
}

/** One machine for each way in which policies treat addresses of the world; those that are pods or nodes are left out. */
export function outside(engine: PolicyEngine): Party[] {
  return externalAtoms(engine).flatMap((atom) => {
    const address = anOutsider(engine, atom.ranges)
    return address === null ? [] : [externalParty(address)]
  })
}

/** How many addresses are tried: more than a cluster has in a row is a block of its own. */
const TRIES = 100_000

/** The first address of the ranges that is no pod and no node, null when there is none. */
function anOutsider(engine: PolicyEngine, ranges: AddressRanges): Address | null {
  let tries = 0
  const isOut = (a: Address): boolean => engine.partyOf(a).kind === 'external'
  for (let i = 0; i < ranges.v4.length; i += 2) {
    for (let value = ranges.v4[i]!; value <= ranges.v4[i + 1]! && tries < TRIES; value++, tries++) {
      if (isOut({ family: 4, value })) return { family: 4, value }
    }
  }
  for (let i = 0; i < ranges.v6.length; i += 2) {
    for (let value = ranges.v6[i]!; value <= ranges.v6[i + 1]! && tries < TRIES; value++, tries++) {
      if (isOut({ family: 6, value })) return { family: 6, value }
    }
  }
  return null
}
