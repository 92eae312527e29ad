/**
 * `podwalk lint`: what in policies, services and addressing is likely not what was meant.
 */
import type { Command } from 'commander'
import { LINT_FORMATS } from '../../report/lint.ts'
import { choiceOption } from '../choice.ts'
import { CliError, EXIT_NO } from '../exit.ts'
import { readBuilt } from '../input.ts'
import { addInputOptions, addOutputOptions, type InputFlags, type OutputFlags } from '../options.ts'
import { stdoutPaint, writeData } from '../output.ts'
import { addPolicyOptions, type PolicyFlags, policyEngineOf } from '../policy-options.ts'
import { version } from '../version.ts'

const EXAMPLES = `Examples:
  podwalk lint -f k8s/
  podwalk lint -f k8s/ --fail-on warning
  podwalk lint -f k8s/ -o sarif -w podwalk.sarif
`

const LEVELS = ['error', 'warning', 'info'] as const

interface LintFlags extends InputFlags, OutputFlags, PolicyFlags {
  readonly failOn: (typeof LEVELS)[number]
}

/** Adds the command. */
export function registerLint(program: Command): void {
  const command = program
    .command('lint')
    .description('findings in policies, services and addressing; exit code 1 when one is an error')
    .addHelpText('before', EXAMPLES)
    .addOption(choiceOption('--fail-on <severity>', 'exit with 1 from this severity on', LEVELS).default('error'))
  addPolicyOptions(command)
  addInputOptions(
    addOutputOptions(
      command,
      LINT_FORMATS.map((f) => f.name),
    ),
  ).action(lint)
}

async function lint(flags: LintFlags): Promise<void> {
  const { model, diagnostics } = await readBuilt(flags)
  const engine = await policyEngineOf(model, flags)
  const { lintQuery } = await import('../../query/lint/lint.ts')
  const answer = lintQuery(engine, model, diagnostics)
  const format = LINT_FORMATS.find((f) => f.name === flags.output)!
  writeData(format.render(answer, stdoutPaint(flags.color, flags.write), version()), flags.write)
  const bad = LEVELS.slice(0, LEVELS.indexOf(flags.failOn) + 1).reduce((n, level) => n + answer.summary[level], 0)
  if (bad > 0) throw new CliError(EXIT_NO, `${bad} findings of severity ${flags.failOn} or worse`)
}
