/**
 * `podwalk lab run|check|show FILE`: kernel-lab scenarios, in the simulator or on the real kernel.
 *
 * Thin: reads files, asks src/lab, prints, sets the exit code (1 a comparison failed, 3 bad input, 4 UNMODELLED,
 * 5 the real kernel cannot be asked).
 */
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { Option } from 'commander'
import { formatDiagnostics } from '../diagnostics/diagnostic.ts'
import { checkLab, formatDifferences } from '../lab/compare.ts'
import { LinuxBackendError } from '../lab/linux.ts'
import { type LabBackend, runLab } from '../lab/run.ts'
import { LabError, type LabResult, type LabScenario, UnmodelledError } from '../lab/scenario.ts'
import { showLab } from '../lab/show.ts'
import { parseResult, parseScenario } from '../lab/validate.ts'
import { CliError, EXIT_INPUT, EXIT_NO, EXIT_SERVICE, EXIT_UNMODELLED, usageError } from './exit.ts'
import { note, writeData } from './output.ts'

const API_VERSION = 'podwalk.dev/v1alpha1'

interface LabCliOptions {
  readonly backend: LabBackend
  readonly output: 'text' | 'json'
  readonly write?: string
  readonly golden?: string
  readonly seed: string
}

/** Adds `lab` with its three commands. */
export function registerLab(program: Command): void {
  const lab = program.command('lab').description('run low-level scenarios in the simulator or on the real kernel')
  const output = (): Option =>
    new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text')
  const backend = (): Option =>
    new Option('--backend <backend>', 'sim: the simulator; linux: this machine (root)')
      .choices(['sim', 'linux'])
      .default('sim')
  const examples = (lines: readonly string[]): string => `\nExamples:\n${lines.map((l) => `  $ ${l}`).join('\n')}`
  lab
    .command('run')
    .argument('<file>', 'scenario, or - for stdin')
    .description('run a scenario and print its recording')
    .addOption(backend())
    .addOption(output())
    .option('-w, --write <file>', 'write there instead of stdout')
    .option('--seed <n>', 'seed of the random draws', '1')
    .addHelpText(
      'after',
      examples([
        'podwalk lab run l2-learn-flood.json',
        'podwalk lab run l2-learn-flood.json -o json -w out.json',
        'sudo podwalk lab run l2-learn-flood.json --backend linux',
      ]),
    )
    .action((file: string, o: LabCliOptions) => print(o, text(run(file, o), o)))
  lab
    .command('check')
    .argument('<file>', 'scenario, or - for stdin')
    .requiredOption('--golden <file>', 'recording to compare with')
    .description('run a scenario and compare it with a recording')
    .addOption(backend())
    .addOption(output())
    .option('-w, --write <file>', 'write there instead of stdout')
    .option('--seed <n>', 'seed of the random draws', '1')
    .addHelpText(
      'after',
      examples([
        'podwalk lab check l2-ageing.json --golden golden/l2-ageing.json',
        'podwalk lab check l2-ageing.json --golden golden/l2-ageing.json -o json',
        'sudo podwalk lab check l2-ageing.json --golden golden/l2-ageing.json --backend linux',
      ]),
    )
    .action((file: string, o: LabCliOptions) => check(file, o))
  lab
    .command('show')
    .argument('<file>', 'recording, or - for stdin')
    .description('print a recording, decoded, one event a line')
    .addOption(output())
    .option('-w, --write <file>', 'write there instead of stdout')
    .addHelpText(
      'after',
      examples([
        'podwalk lab show golden/l2-ageing.json',
        'podwalk lab run l2-ageing.json -o json | podwalk lab show -',
        'podwalk lab show golden/l2-ageing.json -w l2-ageing.txt',
      ]),
    )
    .action((file: string, o: LabCliOptions) => print(o, text(readResult(file), o)))
}

function read(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8')
  } catch (e) {
    // "ENOENT: no such file or directory, open 'x'": the middle is what a reader needs.
    const reason = (e instanceof Error ? e.message : String(e)).replace(/^[A-Z]+: |, (?:open|read)\b.*$/g, '')
    throw new CliError(EXIT_INPUT, `${file}: error: ${reason}`)
  }
}

function readScenario(file: string): LabScenario {
  const { scenario, diagnostics } = parseScenario(read(file), file)
  if (diagnostics.length > 0) note(formatDiagnostics(diagnostics))
  if (scenario === null) throw new CliError(EXIT_INPUT, '')
  return scenario
}

function readResult(file: string): LabResult {
  const { result, diagnostics } = parseResult(read(file), file)
  if (diagnostics.length > 0) note(formatDiagnostics(diagnostics))
  if (result === null) throw new CliError(EXIT_INPUT, '')
  return result
}

function run(file: string, o: LabCliOptions): LabResult {
  const scenario = readScenario(file)
  if (!/^\d{1,10}$/.test(o.seed)) throw usageError(`option '--seed <n>' argument '${o.seed}' is not a number`)
  try {
    return runLab(scenario, { backend: o.backend, seed: Number(o.seed) })
  } catch (e) {
    if (e instanceof UnmodelledError) throw new CliError(EXIT_UNMODELLED, `${file}: ${e.message}`)
    if (e instanceof LabError) throw new CliError(EXIT_INPUT, `${file}: error: ${e.message}`)
    if (e instanceof LinuxBackendError) throw new CliError(EXIT_SERVICE, `${file}: error: ${e.message}`)
    throw e
  }
}

function text(r: LabResult, o: LabCliOptions): string {
  return o.output === 'json'
    ? `${JSON.stringify({ apiVersion: API_VERSION, kind: 'LabResult', ...r }, null, 1)}\n`
    : showLab(r)
}

function print(o: LabCliOptions, data: string): void {
  writeData(data, o.write)
}

function check(file: string, o: LabCliOptions): void {
  const golden = readResult(o.golden ?? '')
  const differences = checkLab(run(file, o), golden)
  const summary = differences.length === 0 ? `${golden.scenario}: equal\n` : `${formatDifferences(differences)}\n`
  print(
    o,
    o.output === 'json'
      ? `${JSON.stringify({ apiVersion: API_VERSION, kind: 'LabCheck', scenario: golden.scenario, equal: differences.length === 0, differences }, null, 1)}\n`
      : summary,
  )
  if (differences.length > 0) process.exitCode = EXIT_NO
}
