/**
 * The Check document: what became of each assertion, and which rules no assertion has touched.
 */
import type { PolicyPlace } from '../../policy/explain.ts'
import type { PolicyOptions } from '../../policy/model.ts'
import type { Reach } from '../reach-types.ts'
import type { API_VERSION } from '../trace-types.ts'

/**
 * pass; fail: some pair has the other answer; empty: an end selects nothing; vacuous: there is nothing to ask; unenforced:
 * the policies say so, the CNI does not do it. All but pass count as failed.
 */
export type AssertionStatus = 'pass' | 'fail' | 'empty' | 'vacuous' | 'unenforced'

/** A pair with the other answer. */
export interface AssertionFailure {
  readonly src: string
  readonly dst: string
  readonly port: string
  readonly allowed: boolean
  readonly because: string
  readonly decidedBy: PolicyPlace | null
  /** Of a denied pair: the rule that came nearest to allowing it. */
  readonly nearestMiss: PolicyPlace | null
}

/** One assertion. */
export interface AssertionResult {
  readonly name: string
  readonly kind: string
  readonly file: string
  readonly line: number
  readonly col: number
  readonly status: AssertionStatus
  readonly text: string
  /** Questions that were asked: pairs of pods that no policy tells apart count once. */
  readonly pairs: number
  readonly failures: readonly AssertionFailure[]
  readonly moreFailures: number
}

/** The document. */
export interface Check {
  readonly apiVersion: typeof API_VERSION
  readonly kind: 'Check'
  readonly options: PolicyOptions
  readonly assertions: readonly AssertionResult[]
  readonly coverage: { readonly rules: number; readonly covered: number; readonly uncovered: readonly PolicyPlace[] }
  readonly enforcement: Reach['enforcement']
  readonly summary: { readonly assertions: number; readonly passed: number; readonly failed: number }
}
