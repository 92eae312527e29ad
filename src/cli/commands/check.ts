/**
 * `podwalk check FILE...`: assertions about policies, for CI.
 */
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { CHECK_FORMATS } from '../../report/check/formats.ts'
import { CliError, EXIT_NO, usageError } from '../exit.ts'
import { reportDiagnostics } from '../input.ts'
import { addInputOptions, addOutputOptions, type InputFlags, type OutputFlags } from '../options.ts'
import { stdoutPaint, writeData } from '../output.ts'
import { addPolicyOptions, type PolicyFlags, readPolicies } from '../policy-options.ts'
import { version } from '../version.ts'

const EXAMPLES = `Examples:
  podwalk check assertions.yaml -f k8s/
  podwalk check assertions.yaml -f k8s/ -o junit -w report.xml
  podwalk check assertions.yaml -f k8s/ -o github
  podwalk check netassert.yaml -f k8s/ --without allow-all
`

/** Adds the command. */
export function registerCheck(program: Command): void {
  const command = program
    .command('check')
    .argument('<file...>', 'assertion files, also in the form of netassert; - is stdin')
    .description('check assertions about who can talk to whom; exit code 1 when one does not hold')
    .addHelpText('before', EXAMPLES)
  addPolicyOptions(command)
  addInputOptions(
    addOutputOptions(
      command,
      CHECK_FORMATS.map((f) => f.name),
    ),
  ).action(check)
}

async function check(names: string[], flags: InputFlags & OutputFlags & PolicyFlags): Promise<void> {
  const { readAssertions } = await import('../../query/check/assertion-file.ts')
  const { assertions, diagnostics } = readAssertions(names.map((name) => ({ name, text: textOf(name) })))
  reportDiagnostics(diagnostics, flags)
  const { model, engine } = await readPolicies(flags)
  const { checkAssertions } = await import('../../query/check/check.ts')
  const answer = checkAssertions(engine, model, assertions, flags.namespace ?? 'default')
  const format = CHECK_FORMATS.find((f) => f.name === flags.output)!
  writeData(format.render(answer, stdoutPaint(flags.color, flags.write), version()), flags.write)
  const { failed } = answer.summary
  if (failed > 0) throw new CliError(EXIT_NO, `${failed} of ${answer.summary.assertions} assertions do not hold`)
}

function textOf(name: string): string {
  try {
    return readFileSync(name === '-' ? 0 : name, 'utf8')
  } catch (e) {
    throw usageError(`cannot read ${name}: ${e instanceof Error ? e.message : String(e)}`)
  }
}
