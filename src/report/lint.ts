/**
 * The formats of Lint.
 */
import type { Lint, LintFinding } from '../query/lint/lint-types.ts'
import { type Finding, githubAnnotations, sarif } from './finding.ts'
import { toJson } from './json.ts'
import type { Paint } from './paint.ts'
import { toYaml } from './yaml.ts'

/** One format. */
export interface LintFormat {
  readonly name: string
  readonly render: (lint: Lint, paint: Paint, version: string) => string
}

function lintText(lint: Lint, paint: Paint): string {
  const lines: string[] = []
  for (const f of lint.findings) {
    const role = f.severity === 'error' ? 'bad' : f.severity === 'warning' ? 'warn' : 'dim'
    const place = f.file === '' ? '' : `${f.file}:${f.line}:${f.col}: `
    lines.push(`${place}${paint(role, f.severity)}: ${messageOf(f)} [${f.code}]`)
    if (f.hint !== '') lines.push(`  hint: ${f.hint}`)
  }
  const { error, warning, info } = lint.summary
  lines.push(`${error} errors, ${warning} warnings, ${info} remarks`)
  for (const n of lint.notes) lines.push(`note: ${n}`)
  return `${lines.join('\n')}\n`
}

function messageOf(f: LintFinding): string {
  const what = [f.object, f.field].filter((t) => t !== '').join(' ')
  return what === '' || f.object === '' ? f.message : `${what}: ${f.message}`
}

function findings(lint: Lint): Finding[] {
  return lint.findings.map((f) => ({
    rule: f.code,
    level: f.severity === 'info' ? 'note' : f.severity,
    message: f.hint === '' ? messageOf(f) : `${messageOf(f)}\n${f.hint}`,
    ...{ file: f.file, line: f.line, col: f.col },
  }))
}

/** All formats. */
export const LINT_FORMATS: readonly LintFormat[] = [
  { name: 'text', render: lintText },
  { name: 'json', render: (lint) => toJson(lint) },
  { name: 'yaml', render: (lint) => toYaml(lint) },
  { name: 'sarif', render: (lint, _paint, version) => sarif(findings(lint), new Map(), version) },
  { name: 'github', render: (lint) => githubAnnotations(findings(lint)) },
]
