/**
 * Check as text and as Markdown: one line per assertion, the pairs that fail below it, then the rules that nothing touched.
 */

import type { PolicyPlace } from '../../policy/explain.ts'
import { policyTitle } from '../../policy/model.ts'
import type { AssertionFailure, AssertionResult, Check } from '../../query/check/check-types.ts'
import type { Paint } from '../paint.ts'

/** Rules listed without -v. */
const MAX_UNCOVERED = 10

/** The document as text. */
export function checkText(check: Check, paint: Paint): string {
  const lines: string[] = []
  for (const a of check.assertions) lines.push(...assertionLines(a, paint))
  const { passed, failed, assertions } = check.summary
  const { rules, covered, uncovered } = check.coverage
  lines.push('', `${passed} of ${assertions} hold${failed > 0 ? `, ${paint('bad', `${failed} do not`)}` : ''}`)
  lines.push(`rules that an assertion touches: ${covered} of ${rules}`)
  for (const place of uncovered.slice(0, MAX_UNCOVERED)) lines.push(paint('dim', `  not touched: ${placeText(place)}`))
  if (uncovered.length > MAX_UNCOVERED)
    lines.push(paint('dim', `  and ${uncovered.length - MAX_UNCOVERED} more (-o json lists them)`))
  if (!check.enforcement.enforces) {
    lines.push(`${paint('warn', '!')} ${check.enforcement.cni} enforces no policy: on the wire everything is allowed`)
  }
  return `${lines.join('\n')}\n`
}

function assertionLines(a: AssertionResult, paint: Paint): string[] {
  const mark = a.status === 'pass' ? paint('good', '✓') : paint('bad', '✗')
  const lines = [`${mark} ${a.name} (${a.file}:${a.line})`]
  if (a.status === 'pass') return lines
  lines.push(`    ${a.status}: ${a.text}`)
  for (const f of a.failures) lines.push(`    ${failureText(f)}`)
  if (a.moreFailures > 0) lines.push(`    and ${a.moreFailures} more`)
  return lines
}

/** A pair with the other answer, in one line. */
export function failureText(f: AssertionFailure): string {
  const head = `${f.src} -> ${f.dst} ${f.port} is ${f.allowed ? 'allowed' : 'denied'}: ${f.because}`
  if (f.decidedBy !== null) return `${head}, ${placeText(f.decidedBy)}`
  return f.nearestMiss === null ? head : `${head}; nearest: ${placeText(f.nearestMiss)}`
}

function placeText(p: PolicyPlace): string {
  const field = p.field === '' ? '' : ` ${p.field}`
  return `${policyTitle(p)}${field}${p.file === '' ? '' : ` (${p.file}:${p.line})`}`
}

/** The document as Markdown, for a pull request. */
export function checkMarkdown(check: Check): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ')
  const lines = [
    `**${check.summary.passed} of ${check.summary.assertions}** assertions hold; rules touched: ${check.coverage.covered} of ${check.coverage.rules}.`,
    '',
    '| | assertion | what |',
    '|---|---|---|',
  ]
  for (const a of check.assertions) {
    const what =
      a.status === 'pass'
        ? a.text
        : `${a.status}: ${a.text}${a.failures[0] === undefined ? '' : `; ${failureText(a.failures[0])}`}`
    lines.push(`| ${a.status === 'pass' ? '✓' : '✗'} | ${cell(a.name)} | ${cell(what)} |`)
  }
  return `${lines.join('\n')}\n`
}
