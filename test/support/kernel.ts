/**
 * Kernel-backed suites: what they need, and how they run a command in a network namespace of their own.
 *
 * A suite that asks the real kernel needs Linux, root and a few tools. Where one of them is missing the suite is
 * skipped and its title says why; with CI=true the same reason fails instead, so a machine that is meant to ask the
 * kernel cannot quietly stop asking.
 *
 * Not here: building links and addresses (each suite issues its own `ip` commands through `inNetns`).
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { describe, it } from '@jest/globals'

/** What a command left behind: exit status (-1 when it could not be started or was killed) and its output. */
export interface CommandResult {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** sbin is not on every user's PATH, and it is where iptables and ip live. */
const SEARCH_PATH = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']
const COMMAND_TIMEOUT_MS = 60_000
const MAX_OUTPUT_BYTES = 256 * 1024 * 1024

/** True when `tool` is an executable file somewhere on the search path. */
export function hasTool(tool: string): boolean {
  for (const directory of SEARCH_PATH) {
    if (directory === '') continue
    try {
      accessSync(join(directory, tool), constants.X_OK)
      return true
    } catch {
      // Not in this directory: look in the next one.
    }
  }
  return false
}

/** Runs one command on the host, without a shell. */
export function runCommand(argv: readonly string[], stdin?: string): CommandResult {
  const [file, ...args] = argv
  if (file === undefined) throw new Error('runCommand: empty argv')
  const done = spawnSync(file, args, {
    encoding: 'utf8',
    timeout: COMMAND_TIMEOUT_MS,
    maxBuffer: MAX_OUTPUT_BYTES,
    env: { ...process.env, PATH: SEARCH_PATH.join(delimiter) },
    ...(stdin === undefined ? {} : { input: stdin }),
  })
  const startError = done.error === undefined ? '' : `${done.error.message}\n`
  return { status: done.status ?? -1, stdout: done.stdout ?? '', stderr: startError + (done.stderr ?? '') }
}

/** Why a kernel-backed suite cannot run here, or null when it can. */
export function kernelSkipReason(tools: readonly string[]): string | null {
  if (process.platform !== 'linux') return `needs Linux, this is ${process.platform}`
  if (process.getuid?.() !== 0) return 'needs root'
  const missing = ['ip', ...tools].filter((tool) => !hasTool(tool))
  if (missing.length > 0) return `needs ${missing.join(', ')} on PATH`
  return netnsRefusal()
}

/**
 * A `describe` for tests that ask the real kernel. `tools` are executables besides `ip` that must be on PATH.
 * When something is missing: skipped with the reason in the title; with CI=true a failing test instead.
 */
export function describeKernel(name: string, tools: string[], fn: () => void): void {
  const reason = kernelSkipReason(tools)
  if (reason === null) {
    describe(name, fn)
  } else if (process.env.CI === 'true') {
    describe(name, () => {
      it('runs on the real kernel', () => {
        throw new Error(`kernel-backed suite cannot run with CI=true: ${reason}`)
      })
    })
  } else {
    // jest does not print the titles of skipped suites, and a silent skip reads as a pass.
    process.stderr.write(`SKIPPED ${name}: ${reason}\n`)
    describe.skip(`${name} (skipped: ${reason})`, () => {
      it(reason, () => {})
    })
  }
}

/** Adds a network namespace; one of the same name left by a killed run is deleted first. */
export function netnsAdd(name: string): void {
  netnsDel(name)
  const added = runCommand(['ip', 'netns', 'add', name])
  if (added.status !== 0) throw new Error(`ip netns add ${name}: ${added.stderr}`)
}

/** Deletes a network namespace; one that does not exist is not an error. */
export function netnsDel(name: string): void {
  runCommand(['ip', 'netns', 'del', name])
}

/** Runs `argv` inside the network namespace `name`, with `stdin` as its input when given. */
export function inNetns(name: string, argv: string[], stdin?: string): CommandResult {
  return runCommand(['ip', 'netns', 'exec', name, ...argv], stdin)
}

let refusal: string | null | undefined

/** Containers may be root and still lack CAP_SYS_ADMIN: try once and remember the answer. */
function netnsRefusal(): string | null {
  if (refusal !== undefined) return refusal
  const probe = `podwalk-probe-${process.pid}`
  const added = runCommand(['ip', 'netns', 'add', probe])
  refusal = added.status === 0 ? null : `needs network namespaces: ${added.stderr.trim()}`
  netnsDel(probe)
  return refusal
}
