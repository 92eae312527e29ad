/**
 * The table of reasons for people and for programs: `podwalk explain` and docs/reasons.md are made of it.
 */
import { REASONS, type Reason } from '../linux/reasons.ts'
import { API_VERSION } from '../query/trace-types.ts'
import { type Paint, plain, roleOf } from './paint.ts'
import { textTable } from './table.ts'

/** One reason in full, several as a table. */
export function explainText(reasons: readonly Reason[], paint: Paint = plain): string {
  const [reason] = reasons
  if (reasons.length !== 1 || reason === undefined) {
    return textTable(
      ['REASON', 'VERDICT', 'WHAT HAPPENED'],
      reasons.map((r) => [r.symbol, r.verdict, r.text]),
      paint,
    )
  }
  const lines = [
    paint('strong', reason.symbol),
    `  ${reason.text}`,
    `  verdict  ${paint(roleOf(reason.verdict), reason.verdict)}`,
    `  hint     ${reason.hint}`,
  ]
  return `${lines.join('\n')}\n`
}

/** The Reasons document. */
export function reasonDocument(reasons: readonly Reason[]): object {
  return {
    apiVersion: API_VERSION,
    kind: 'Reasons',
    items: reasons.map(({ code, symbol, verdict, text, hint }) => ({ code, symbol, verdict, text, hint })),
  }
}

/** docs/reasons.md. */
export function reasonsMarkdown(): string {
  const lines = [
    '# Reasons',
    '',
    'Every packet ends for one of these reasons. A trace shows the name (`reason.code`); `podwalk explain NAME` prints the',
    'same as this page. Codes are stable and never reused. This page is generated from `src/linux/reasons.ts`.',
    '',
    '| reason | verdict | what happened | what to look at |',
    '|---|---|---|---|',
  ]
  for (const r of REASONS) {
    if (r === undefined) continue
    lines.push(
      `| <a id="${r.symbol.toLowerCase()}"></a>\`${r.symbol}\` | ${r.verdict} | ${cell(r.text)} | ${cell(r.hint)} |`,
    )
  }
  return `${lines.join('\n')}\n`
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('*', '\\*').replaceAll('<', '&lt;')
}
