/**
 * Where output goes: data to stdout or to -w FILE, everything else to stderr.
 *
 * A reader that goes away (`podwalk ... | head`) ends the process quietly, as with any Unix tool.
 */
import { writeFileSync, writeSync } from 'node:fs'
import { toJson } from '../report/json.ts'
import { ansi, type Paint, plain } from '../report/paint.ts'
import { CliError, EXIT_USAGE, usageError } from './exit.ts'

/** What --color takes. */
export const COLOR_CHOICES = ['auto', 'always', 'never'] as const
export type ColorChoice = (typeof COLOR_CHOICES)[number]

/** Whether a stream gets colour: --color, then NO_COLOR, then FORCE_COLOR, then whether it is a terminal. */
export function wantsColor(choice: ColorChoice, isTty: boolean, env: NodeJS.ProcessEnv): boolean {
  if (choice !== 'auto') return choice === 'always'
  if (env.NO_COLOR !== undefined && env.NO_COLOR !== '') return false
  if (env.FORCE_COLOR !== undefined && env.FORCE_COLOR !== '')
    return env.FORCE_COLOR !== '0' && env.FORCE_COLOR !== 'false'
  return isTty && env.TERM !== 'dumb'
}

/** The painter for stdout; files get no colour unless it is asked for. */
export function stdoutPaint(choice: ColorChoice, file: string | undefined): Paint {
  const isTty = file === undefined && process.stdout.isTTY === true
  return wantsColor(choice, isTty, process.env) ? ansi : plain
}

/** The painter for stderr. */
export function stderrPaint(choice: ColorChoice): Paint {
  return wantsColor(choice, process.stderr.isTTY === true, process.env) ? ansi : plain
}

/** Refuses to print bytes to a terminal. */
export function refuseBinaryToTty(isBinary: boolean, format: string, file: string | undefined): void {
  if (isBinary && file === undefined && process.stdout.isTTY === true) {
    throw usageError(`${format} is binary and stdout is a terminal`, `write it to a file: -w walk.${format}`)
  }
}

/** Writes data to stdout or to the file of -w. */
export function writeData(data: string | Uint8Array, file: string | undefined): void {
  if (file === undefined || file === '-') {
    writeAll(1, data)
    return
  }
  try {
    writeFileSync(file, data)
  } catch (e) {
    throw new CliError(EXIT_USAGE, `cannot write ${file}: ${e instanceof Error ? e.message : String(e)}`)
  }
}

/** Writes a document as JSON, or as YAML when that was asked for. */
export async function writeDocument(
  document: object,
  flags: { readonly output: string; readonly write?: string },
): Promise<void> {
  const text = flags.output === 'yaml' ? (await import('../report/yaml.ts')).toYaml(document) : toJson(document)
  writeData(text, flags.write)
}

/** Writes a line to stderr. */
export function note(text: string): void {
  writeAll(2, `${text}\n`)
}

/** Synchronous, so that nothing is lost when the process ends; a full pipe is waited for. */
function writeAll(fd: number, data: string | Uint8Array): void {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data
  let at = 0
  while (at < bytes.length) {
    try {
      at += writeSync(fd, bytes, at)
    } catch (e) {
      const code = (e as NodeJS.ErrnoException).code
      if (code === 'EPIPE') process.exit(process.exitCode ?? 0)
      if (code !== 'EAGAIN') {
        // Nobody can be told that stderr is gone.
        if (fd === 2) return
        throw new CliError(EXIT_USAGE, `cannot write to stdout: ${e instanceof Error ? e.message : String(e)}`)
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
    }
  }
}
