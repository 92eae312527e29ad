/**
 * Runs the built command line (dist) as a process, as a user does: arguments, stdin, environment in; exit code and both
 * streams out. No colour unless the test asks for it.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const MAIN = fileURLToPath(new URL('../../dist/bundle/main.js', import.meta.url))
const TIMEOUT_MS = 60_000
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024

/** What a run left behind. */
export interface CliResult {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
  /** stdout as bytes. */
  readonly bytes: Buffer
}

/** How to run. */
export interface CliOptions {
  readonly stdin?: string | Uint8Array
  /** Folder to run in instead of the project's. */
  readonly cwd?: string
  readonly env?: { readonly [name: string]: string }
}

/** Runs `podwalk ARGS` in the project's folder. */
export function podwalk(args: readonly string[], options: CliOptions = {}): CliResult {
  if (!existsSync(MAIN)) throw new Error('dist/bundle/main.js is not built: npm run build')
  const { NO_COLOR: _no, FORCE_COLOR: _force, PODWALK_DEBUG: _debug, ...env } = process.env
  const done = spawnSync(process.execPath, [MAIN, ...args], {
    cwd: options.cwd ?? ROOT,
    timeout: TIMEOUT_MS,
    maxBuffer: MAX_OUTPUT_BYTES,
    input: options.stdin ?? '',
    env: { ...env, ...options.env },
  })
  if (done.error !== undefined) throw done.error
  return {
    status: done.status ?? -1,
    stdout: done.stdout.toString('utf8'),
    stderr: done.stderr.toString('utf8'),
    bytes: done.stdout,
  }
}
