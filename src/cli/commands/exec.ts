/**
 * `podwalk exec TARGET -- TOOL ARGS`: a tool inside a simulated node or pod, with the tool's own output and exit code.
 */
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import type { Cluster } from '../../cluster/build.ts'
import type { FoundTarget } from '../../query/target.ts'
import { CliError, EXIT_UNMODELLED, usageError } from '../exit.ts'
import { readCluster, reportDiagnostics } from '../input.ts'
import { addInputOptions, addTimeOption, type InputFlags } from '../options.ts'
import { note, writeData } from '../output.ts'
import { startCluster } from '../start.ts'

const EXAMPLES = `Examples:
  podwalk exec node/n1 -f shop.yaml -- iptables-save -t nat
  podwalk exec deploy/shop/web -f shop.yaml -- ping -c 1 10.244.2.5
  podwalk exec pod/shop/db-0 -f shop.yaml -- ip route get 10.96.0.10
`

const TARGETS = `
Targets: node/NAME, pod/NS/NAME, NS/POD, deploy/NS/NAME, host:IP. The exit code is
the tool's own; 126: what was asked of it is not modelled, 127: the tool is not.
`

/** Exit status of a tool that was asked for something UNMODELLED. */
const TOOL_UNMODELLED = 126

/** Adds the command. */
export function registerExec(program: Command): void {
  const command = program
    .command('exec')
    .argument('<target>', 'where to run it')
    .argument('<tool...>', 'the tool and its arguments, behind --')
    .description('run ip, iptables-save, ping, nslookup ... inside a simulated node or pod')
    .addHelpText('before', EXAMPLES)
    .addHelpText('after', TARGETS)
  addInputOptions(addTimeOption(command)).action(exec)
}

async function exec(target: string, argv: string[], flags: InputFlags): Promise<void> {
  const model = await readCluster(flags)
  const cluster = await startCluster(model, flags)
  const place = await find(cluster, target, flags)
  const { execCommand } = await import('../../cluster/exec.ts')
  const result = execCommand(cluster, place, argv, needsStdin(argv, flags) ? readFileSync(0, 'utf8') : '')
  writeData(result.stdout, undefined)
  if (result.stderr !== '') process.stderr.write(result.stderr)
  if (flags.strict === true && result.status === TOOL_UNMODELLED) throw new CliError(EXIT_UNMODELLED, '')
  process.exitCode = result.status
}

/** Tools that read; for the others a forgotten pipe must not make podwalk wait. */
function needsStdin(argv: readonly string[], flags: InputFlags): boolean {
  if (process.stdin.isTTY === true || flags.filename?.includes('-') === true) return false
  if (/(?:^|\/)nc$/.test(argv[0] ?? '')) return !argv.some((w) => /^-\w*z/.test(w))
  return (
    /(?:^|\/)(?:ip6?tables(?:-\w+)?-restore)$/.test(argv[0] ?? '') || argv.includes('restore') || argv.includes('-')
  )
}

async function find(cluster: Cluster, target: string, flags: InputFlags): Promise<FoundTarget> {
  const { findTarget } = await import('../../query/target.ts')
  const { target: found, diagnostics } = findTarget(cluster, target, flags.namespace)
  if (found === null) {
    reportDiagnostics(diagnostics, flags)
    throw usageError(`cannot run a tool in ${target}`, 'TARGET is node/NAME, pod/NS/NAME, NS/POD or deploy/NS/NAME')
  }
  if (found.how !== '') note(`podwalk: ${target}: ${found.how}`)
  return found
}
