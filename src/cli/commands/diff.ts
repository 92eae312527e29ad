/**
 * `podwalk diff OLD NEW`: what a change of manifests changes in who can talk to whom, and why.
 */
import type { Command } from 'commander'
import type { DiffSide } from '../../query/diff/diff.ts'
import type { ReachBy } from '../../query/reach-types.ts'
import { DIFF_FORMATS } from '../../report/diff/formats.ts'
import { choiceOption } from '../choice.ts'
import { CliError, EXIT_NO } from '../exit.ts'
import { buildModel } from '../input.ts'
import { addModelOptions, addOutputOptions, type InputFlags, type OutputFlags } from '../options.ts'
import { stdoutPaint, writeData } from '../output.ts'
import { addOptionsOfPolicies, type PolicyFlags, policyEngineOf } from '../policy-options.ts'

const EXAMPLES = `Examples:
  podwalk diff old/ new/
  podwalk diff main:k8s/ k8s/ -o md
  podwalk diff HEAD~1:shop.yaml shop.yaml --by pod --exit-code
`

interface DiffFlags extends InputFlags, OutputFlags, PolicyFlags {
  readonly by: ReachBy
  readonly exitCode?: boolean
}

/** Adds the command. */
export function registerDiff(program: Command): void {
  const command = program
    .command('diff')
    .argument('<old>', 'file, directory, glob, or git revision REV:PATH')
    .argument('<new>', 'the same')
    .description('connections that a change of manifests adds and removes, and which policy does it')
    .addHelpText('before', EXAMPLES)
    .addOption(choiceOption('--by <what>', 'what a line is about', ['workload', 'pod']).default('workload'))
    .option('--exit-code', 'exit with 1 when a connection differs')
  addOptionsOfPolicies(command)
  addModelOptions(
    addOutputOptions(
      command,
      DIFF_FORMATS.map((f) => f.name),
    ),
  ).action(diff)
}

async function diff(old: string, now: string, flags: DiffFlags): Promise<void> {
  const { loadRevision } = await import('../revision.ts')
  const sides: DiffSide[] = []
  for (const name of [old, now]) {
    const model = await buildModel(loadRevision(name), flags)
    sides.push({ name, model, engine: await policyEngineOf(model, flags) })
  }
  const { diffQuery } = await import('../../query/diff/diff.ts')
  const answer = diffQuery(sides[0]!, sides[1]!, flags.by)
  const format = DIFF_FORMATS.find((f) => f.name === flags.output)!
  writeData(format.render(answer, stdoutPaint(flags.color, flags.write)), flags.write)
  const changes = answer.added.length + answer.removed.length
  if (flags.exitCode === true && changes > 0) throw new CliError(EXIT_NO, `${changes} connections differ`)
}
