/**
 * The Lint document: what is likely not what was meant.
 */
import type { API_VERSION } from '../trace-types.ts'

/** One finding. */
export interface LintFinding {
  /** Stable, documented in docs/policy-lint.md. */
  readonly code: string
  readonly severity: 'error' | 'warning' | 'info'
  readonly message: string
  /** `NetworkPolicy shop/db`, empty when it is about something else. */
  readonly object: string
  /** `spec.ingress[0]` */
  readonly field: string
  readonly file: string
  readonly line: number
  readonly col: number
  readonly hint: string
}

/** The document. */
export interface Lint {
  readonly apiVersion: typeof API_VERSION
  readonly kind: 'Lint'
  readonly findings: readonly LintFinding[]
  readonly summary: { readonly error: number; readonly warning: number; readonly info: number }
  readonly notes: readonly string[]
}
