/**
 * `podwalk lab run|check|show FILE`: kernel-lab scenarios, in the simulator or on the real kernel.
 *
 * Thin: reads files, asks src/lab, prints, sets the exit code (1 a comparison failed, 3 bad input or UNMODELLED under the
 * format's name, 4 UNMODELLED, 5 the real kernel cannot be asked).
 */
import { readFileSync, writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import { Option } from 'commander'
import { formatDiagnostics } from '../diagnostics/diagnostic.ts'
import { checkLab, formatDifferences } from '../lab/compare.ts'
import { LinuxBackendError } from '../lab/linux.ts'
import { runLab, type LabBackend } from '../lab/run.ts'
import { LabError, UnmodelledError, type LabResult, type LabScenario } from '../lab/scenario.ts'
import { showLab } from '../lab/show.ts'
import { parseResult, parseScenario } from '../lab/validate.ts'

const EXIT_NO = 1
const EXIT_INPUT = 3
const EXIT_UNMODELLED = 4
const EXIT_OUTSIDE = 5

interface LabCliOptions {
  readonly backend: LabBackend
  readonly output: 'text' | 'json'
  readonly write?: string
  readonly golden?: string
  readonly seed: string
}

/** Ends the command with a code and a message for stderr. */
class Exit extends Error {
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

/** Adds `lab` with its three commands. */
export function registerLab(program: Command): void {
  const lab = program.command('lab').description('run low-level scenarios in the simulator or on the real kernel')
  const output = (): Option => new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text')
  const backend = (): Option => new Option('--backend <backend>', 'sim: the simulator; linux: this machine (root)').choices(['sim', 'linux']).default('sim')
  const examples = (lines: readonly string[]): string => `\nExamples:\n${lines.map((l) => `  $ ${l}`).join('\n')}`
  lab
    .command('run')
    .argument('<file>', 'scenario, or - for stdin')
    .description('run a scenario and print its recording')
    .addOption(backend())
    .addOption(output())
    .option('-w, --write <file>', 'write there instead of stdout')
    .option('--seed <n>', 'seed of the random draws', '1')
    .addHelpText('after', examples(['podwalk lab run l2-learn-flood.json', 'podwalk lab run l2-learn-flood.json -o json -w out.json', 'sudo podwalk lab run l2-learn-flood.json --backend linux']))
    .action((file: string, o: LabCliOptions) => finish(() => print(o, text(run(file, o), o))))
  lab
    .command('check')
    .argument('<file>', 'scenario, or - for stdin')
    .requiredOption('--golden <file>', 'recording to compare with')
    .description('run a scenario and compare it with a recording')
    .addOption(backend())
    .addOption(output())
    .option('-w, --write <file>', 'write there instead of stdout')
    .option('--seed <n>', 'seed of the random draws', '1')
    .addHelpText('after', examples(['podwalk lab check l2-ageing.json --golden golden/l2-ageing.json', 'podwalk lab check l2-ageing.json --golden golden/l2-ageing.json -o json', 'sudo podwalk lab check l2-ageing.json --golden golden/l2-ageing.json --backend linux']))
    .action((file: string, o: LabCliOptions) => finish(() => check(file, o)))
  lab
    .command('show')
    .argument('<file>', 'recording, or - for stdin')
    .description('print a recording, decoded, one event a line')
    .addOption(output())
    .option('-w, --write <file>', 'write there instead of stdout')
    .addHelpText('after', examples(['podwalk lab show golden/l2-ageing.json', 'podwalk lab run l2-ageing.json -o json | podwalk lab show -', 'podwalk lab show golden/l2-ageing.json -w l2-ageing.txt']))
    .action((file: string, o: LabCliOptions) => finish(() => print(o, text(readResult(file), o))))
}

function finish(body: () => void): void {
  try {
    body()
  } catch (e) {
    if (!(e instanceof Exit)) throw e
    process.stderr.write(`${e.message}\n`)
    process.exitCode = e.code
  }
}

function read(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8')
  } catch (e) {
    throw new Exit(EXIT_INPUT, `${file}: error: ${e instanceof Error ? e.message : String(e)}`)
  }
}

function readScenario(file: string): LabScenario {
  const { scenario, diagnostics } = parseScenario(read(file), file)
  if (scenario === null) throw new Exit(EXIT_INPUT, formatDiagnostics(diagnostics))
  if (diagnostics.length > 0) process.stderr.write(`${formatDiagnostics(diagnostics)}\n`)
  return scenario
}

function readResult(file: string): LabResult {
  const { result, diagnostics } = parseResult(read(file), file)
  if (result === null) throw new Exit(EXIT_INPUT, formatDiagnostics(diagnostics))
  return result
}

function run(file: string, o: LabCliOptions): LabResult {
  const scenario = readScenario(file)
  if (!/^\d{1,10}$/.test(o.seed)) throw new Exit(2, `error: option '--seed <n>' argument '${o.seed}' is not a number`)
  try {
    return runLab(scenario, { backend: o.backend, seed: Number(o.seed) })
  } catch (e) {
    if (e instanceof UnmodelledError) throw new Exit(EXIT_UNMODELLED, `${file}: ${e.message}`)
    if (e instanceof LabError) throw new Exit(EXIT_INPUT, `${file}: error: ${e.message}`)
    if (e instanceof LinuxBackendError) throw new Exit(EXIT_OUTSIDE, `${file}: error: ${e.message}`)
    throw e
  }
}

function text(r: LabResult, o: LabCliOptions): string {
  return o.output === 'json' ? `${JSON.stringify(r, null, 1)}\n` : showLab(r)
}

function print(o: LabCliOptions, data: string): void {
  if (o.write === undefined) process.stdout.write(data)
  else writeFileSync(o.write, data)
}

function check(file: string, o: LabCliOptions): void {
  const golden = readResult(o.golden ?? '')
  const differences = checkLab(run(file, o), golden)
  const summary = differences.length === 0 ? `${golden.scenario}: equal\n` : `${formatDifferences(differences)}\n`
  print(o, o.output === 'json' ? `${JSON.stringify({ scenario: golden.scenario, equal: differences.length === 0, differences }, null, 1)}\n` : summary)
  if (differences.length > 0) process.exitCode = EXIT_NO
}
