/**
 * Findings for machines that read code reviews: SARIF for code scanning, workflow commands for GitHub, JUnit for test reports.
 *
 * Sources: SARIF 2.1.0 (OASIS), GitHub "Workflow commands" (::error file=,line=::), JUnit XML as Jenkins and GitLab read it.
 */
import { toJson } from './json.ts'

/** One finding with its place. */
export interface Finding {
  /** Stable code: `assertion-failed`, `selector-matches-nothing` ... */
  readonly rule: string
  readonly level: 'error' | 'warning' | 'note'
  readonly message: string
  readonly file: string
  readonly line: number
  readonly col: number
}

/** A SARIF log of one run. @param rules what each code means */
export function sarif(findings: readonly Finding[], rules: ReadonlyMap<string, string>, version: string): string {
  const used = [...new Set(findings.map((f) => f.rule))].sort()
  return toJson({
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'podwalk',
            version,
            rules: used.map((id) => ({ id, shortDescription: { text: rules.get(id) ?? id } })),
          },
        },
        results: findings.map((f) => ({
          ruleId: f.rule,
          level: f.level,
          message: { text: f.message },
          locations:
            f.file === ''
              ? []
              : [
                  {
                    physicalLocation: {
                      artifactLocation: { uri: f.file },
                      region: { startLine: Math.max(1, f.line), startColumn: Math.max(1, f.col) },
                    },
                  },
                ],
        })),
      },
    ],
  })
}

/** Lines that a GitHub workflow turns into annotations. */
export function githubAnnotations(findings: readonly Finding[]): string {
  return findings
    .map((f) => {
      const kind = f.level === 'note' ? 'notice' : f.level
      const place =
        f.file === '' ? '' : ` file=${property(f.file)},line=${Math.max(1, f.line)},col=${Math.max(1, f.col)}`
      return `::${kind}${place === '' ? ' ' : `${place},`}title=podwalk ${property(f.rule)}::${data(f.message)}\n`
    })
    .join('')
}

function data(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
}

function property(text: string): string {
  return data(text).replaceAll(':', '%3A').replaceAll(',', '%2C')
}

/** A test case of a JUnit report. */
export interface JunitCase {
  readonly suite: string
  readonly name: string
  readonly file: string
  readonly line: number
  /** Null when it passed. */
  readonly failure: { readonly type: string; readonly message: string; readonly text: string } | null
}

/** A JUnit report; no times, which would make it differ from run to run. */
export function junit(name: string, cases: readonly JunitCase[]): string {
  const suites = new Map<string, JunitCase[]>()
  for (const c of cases) suites.set(c.suite, [...(suites.get(c.suite) ?? []), c])
  const failed = (list: readonly JunitCase[]): number => list.filter((c) => c.failure !== null).length
  const lines = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="${xml(name)}" tests="${cases.length}" failures="${failed(cases)}">`,
  ]
  for (const [suite, list] of suites) {
    lines.push(
      `  <testsuite name="${xml(suite)}" tests="${list.length}" failures="${failed(list)}" errors="0" skipped="0">`,
    )
    for (const c of list) {
      const head = `    <testcase classname="${xml(suite)}" name="${xml(c.name)}" file="${xml(c.file)}" line="${c.line}"`
      if (c.failure === null) lines.push(`${head}/>`)
      else {
        lines.push(`${head}>`)
        lines.push(
          `      <failure type="${xml(c.failure.type)}" message="${xml(c.failure.message)}">${xml(c.failure.text)}</failure>`,
        )
        lines.push('    </testcase>')
      }
    }
    lines.push('  </testsuite>')
  }
  lines.push('</testsuites>')
  return `${lines.join('\n')}\n`
}

/** Text in XML; characters that XML 1.0 cannot hold become U+FFFD. */
function xml(text: string): string {
  return text
    .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll('\n', '&#10;')
}
