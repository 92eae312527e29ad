/**
 * The formats of Check: one entry each.
 */
import type { Check } from '../../query/check/check-types.ts'
import { type Finding, githubAnnotations, junit, sarif } from '../finding.ts'
import { toJson } from '../json.ts'
import type { Paint } from '../paint.ts'
import { toYaml } from '../yaml.ts'
import { checkMarkdown, checkText, failureText } from './text.ts'

/** One format. */
export interface CheckFormat {
  readonly name: string
  readonly render: (check: Check, paint: Paint, version: string) => string
}

const RULES: ReadonlyMap<string, string> = new Map([
  ['assertion-fail', 'An assertion about the network policies does not hold'],
  ['assertion-empty', 'An assertion selects nothing'],
  ['assertion-vacuous', 'An assertion has nothing to ask about'],
  ['assertion-unenforced', 'An assertion holds in the policies, but the CNI does not enforce them'],
])

/** Failed assertions as findings at their own place. */
function findings(check: Check): Finding[] {
  return check.assertions
    .filter((a) => a.status !== 'pass')
    .map((a) => ({
      rule: `assertion-${a.status}`,
      level: 'error',
      message: [`${a.name}: ${a.text}`, ...a.failures.map(failureText)].join('\n'),
      ...{ file: a.file, line: a.line, col: a.col },
    }))
}

/** All formats. */
export const CHECK_FORMATS: readonly CheckFormat[] = [
  { name: 'text', render: checkText },
  { name: 'json', render: (check) => toJson(check) },
  { name: 'yaml', render: (check) => toYaml(check) },
  { name: 'md', render: checkMarkdown },
  {
    name: 'junit',
    render: (check) =>
      junit(
        'podwalk check',
        check.assertions.map((a) => ({
          suite: a.file,
          name: a.name,
          file: a.file,
          line: a.line,
          failure:
            a.status === 'pass'
              ? null
              : { type: a.status, message: a.text, text: a.failures.map(failureText).join('\n') },
        })),
      ),
  },
  { name: 'sarif', render: (check, _paint, version) => sarif(findings(check), RULES, version) },
  { name: 'github', render: (check) => githubAnnotations(findings(check)) },
]
