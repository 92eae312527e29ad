/**
 * The lint query: findings about policies, Ingresses, Gateways and routes, and what loading and building the cluster remarked.
 */
import type { Diagnostic } from '../../diagnostics/diagnostic.ts'
import { lintIngress } from '../../ingress/lint.ts'
import { pathText } from '../../kubernetes/schema.ts'
import type { ClusterModel } from '../../kubernetes/types.ts'
import type { PolicyEngine } from '../../policy/engine.ts'
import { policyTitle } from '../../policy/model.ts'
import { API_VERSION } from '../trace-types.ts'
import type { Lint, LintFinding } from './lint-types.ts'
import { LINT_RULES } from './rules.ts'

/** Lints a cluster. @param diagnostics of loading and building it */
export function lintQuery(engine: PolicyEngine, model: ClusterModel, diagnostics: readonly Diagnostic[]): Lint {
  const findings: LintFinding[] = [...diagnostics, ...lintIngress(model)].map((d) => ({
    ...{ code: d.code, severity: d.severity, message: d.message, object: '', field: d.path ?? '' },
    ...{ file: d.file, line: d.line, col: d.col, hint: d.hint ?? '' },
  }))
  const notes: string[] = []
  const seen = new Set<string>()
  for (const rule of LINT_RULES) {
    rule({
      engine,
      model,
      add(code, severity, policy, path, message, hint) {
        const { file, line, col } = policy.positionOf(path)
        const key = `${code} ${file}:${line}:${col} ${message}`
        if (seen.has(key)) return
        seen.add(key)
        const object = policyTitle(policy)
        findings.push({ code, severity, message, object, field: pathText(path), file, line, col, hint })
      },
      note: (text) => notes.push(text),
    })
  }
  findings.sort((a, b) => compare(a.file, b.file) || a.line - b.line || a.col - b.col || compare(a.code, b.code))
  const count = (severity: LintFinding['severity']): number => findings.filter((f) => f.severity === severity).length
  return {
    apiVersion: API_VERSION,
    kind: 'Lint',
    findings,
    summary: { error: count('error'), warning: count('warning'), info: count('info') },
    notes,
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
