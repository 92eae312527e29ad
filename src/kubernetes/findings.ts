/**
 * Findings about the fields of one object, and the check that every label selector gets.
 *
 * Sources: k8s.io/apimachinery/pkg/apis/meta/v1/validation (ValidateLabelSelectorRequirement).
 */
import type { Diagnostics } from '../diagnostics/diagnostic.ts'
import { pathText } from './schema.ts'
import type { FieldPath, LabelSelector, LoadedObject } from './types.ts'

/** Reports a finding at a path of one object and remembers that there was one. */
export class Findings {
  isGood = true
  private readonly loaded: LoadedObject
  private readonly diagnostics: Diagnostics

  constructor(loaded: LoadedObject, diagnostics: Diagnostics) {
    this.loaded = loaded
    this.diagnostics = diagnostics
  }

  error(path: FieldPath, message: string, hint?: string, code = 'invalid-value'): void {
    this.isGood = false
    this.diagnostics.error(code, this.loaded.positionOf(path), message, { path: pathText(path), hint })
  }

  warning(path: FieldPath, message: string, hint?: string, code = 'invalid-value'): void {
    this.diagnostics.warning(code, this.loaded.positionOf(path), message, { path: pathText(path), hint })
  }
}

/** Operators and values of a selector fit. */
export function checkSelector(selector: LabelSelector | undefined | null, path: FieldPath, findings: Findings): void {
  for (const [i, requirement] of (selector?.matchExpressions ?? []).entries()) {
    const needsValues = requirement.operator === 'In' || requirement.operator === 'NotIn'
    const count = requirement.values?.length ?? 0
    const at = [...path, 'matchExpressions', i, 'values']
    if (needsValues && count === 0) {
      findings.error(at, `expected values for operator ${requirement.operator}, found none`, undefined, 'missing-field')
    } else if (!needsValues && count > 0) findings.error(at, `expected no values for operator ${requirement.operator}`)
  }
}
