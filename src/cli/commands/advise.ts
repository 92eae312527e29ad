/**
 * `podwalk advise --flows FILE`: the least policies that let given flows through.
 */
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { CliError, EXIT_NO, usageError } from '../exit.ts'
import { reportDiagnostics } from '../input.ts'
import { addInputOptions, addOutputOptions, type InputFlags, type OutputFlags } from '../options.ts'
import { note, writeData, writeDocument } from '../output.ts'
import { addPolicyOptions, type PolicyFlags, readPolicies } from '../policy-options.ts'

const EXAMPLES = `Examples:
  podwalk advise --flows flows.yaml -f k8s/
  podwalk advise --flows flows.yaml -f k8s/ -o json
  podwalk advise --flows flows.yaml -f k8s/ -w suggested.yaml

A flow file is a list: - {src: deploy/shop/web, dst: svc/shop/db:5432}
`

interface AdviseFlags extends InputFlags, OutputFlags, PolicyFlags {
  readonly flows: string
}

/** Adds the command. */
export function registerAdvise(program: Command): void {
  const command = program
    .command('advise')
    .description('suggest the least policies that let given flows through')
    .addHelpText('before', EXAMPLES)
    .requiredOption('--flows <file>', 'YAML or JSON list of {src, dst, protocol, port}')
  addPolicyOptions(command)
  addInputOptions(addOutputOptions(command, ['text', 'json', 'yaml'])).action(advise)
}

async function advise(flags: AdviseFlags): Promise<void> {
  const { model, engine } = await readPolicies(flags)
  const { adviseQuery } = await import('../../query/advise.ts')
  const { advice, diagnostics } = adviseQuery(
    engine,
    model,
    { name: flags.flows, text: read(flags.flows) },
    flags.namespace,
  )
  reportDiagnostics(diagnostics, flags)
  for (const name of advice.ambiguous) note(`podwalk: ${name} has no labels of its own: its policy selects others too`)
  if (flags.output === 'text') {
    const { toYaml } = await import('../../report/yaml.ts')
    writeData(advice.policies.map(toYaml).join('---\n'), flags.write)
  } else await writeDocument(advice, flags)
  if (advice.missing.length > 0)
    throw new CliError(EXIT_NO, `other policies still deny: ${advice.missing.slice(0, 5).join(', ')}`)
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw usageError(`cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`)
  }
}
