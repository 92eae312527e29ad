/**
 * Runs one command line and gives its exit code.
 *
 * Wrong use is 2, wrong input 3, UNMODELLED under --strict 4; what nobody expected is 70 with a short message (the stack
 * only with PODWALK_DEBUG=1). A closed pipe ends the process quietly.
 */
import { CommanderError } from 'commander'
import { CliError, EXIT_INTERNAL, EXIT_OK, EXIT_USAGE } from './exit.ts'
import { note } from './output.ts'
import { buildProgram } from './program.ts'
import { version } from './version.ts'

/** Runs the arguments (without node and script). */
export async function run(args: readonly string[]): Promise<number> {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(EXIT_OK)
    })
  }
  try {
    const program = await buildProgram(args)
    await program.parseAsync([...args], { from: 'user' })
    return Number(process.exitCode ?? EXIT_OK)
  } catch (error) {
    return exitCodeOf(error)
  }
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CliError) {
    if (error.message !== '') note(`podwalk: ${error.message}`)
    if (error.hint !== undefined) note(`  hint: ${error.hint}`)
    return error.exitCode
  }
  // commander has printed its message; help and version end with 0.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE
  const message = error instanceof Error ? error.message : String(error)
  note(`podwalk: internal error: ${message.split('\n')[0]}`)
  note(`  This is a bug in podwalk ${version()}. Please report it with the command line and the manifests;`)
  note('  PODWALK_DEBUG=1 shows where it happened.')
  if (process.env.PODWALK_DEBUG === '1' && error instanceof Error) note(error.stack ?? '')
  return EXIT_INTERNAL
}
