/**
 * `npm run bench [-- --only TEXT]`: runs the suites, prints a table, writes bench/results/latest.json.
 *
 * Each suite runs in a process of its own: a second instance of a hot function made for another shape of data halves it
 * (polymorphic call sites), and no real user runs two suites in one process. `--suite NAME FILE` is that child.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inlineTheWalk } from '../src/engine/v8-flags.ts'
import { type BenchRow, tableOf } from './harness.ts'
import { SUITES } from './suites.ts'

const RESULTS = 'bench/results'

function machine(): string {
  return `${cpus()[0]?.model ?? 'unknown'}, ${cpus().length} CPUs, ${process.platform} ${release()}`
}

/** The child: one suite, rows to a file. */
async function runSuite(name: string, only: string, file: string): Promise<void> {
  const suite = SUITES.find((s) => s.name === name)
  if (suite === undefined) throw new Error(`no suite ${name}`)
  inlineTheWalk()
  const rows = await (await suite.load())((row) => row.includes(only))
  writeFileSync(file, JSON.stringify(rows))
}

function runAll(only: string): number {
  const scratch = mkdtempSync(join(tmpdir(), 'podwalk-bench-'))
  const rows: BenchRow[] = []
  let failed = 0
  for (const suite of SUITES) {
    if (!suite.rows.some((r) => r.includes(only))) continue
    const file = join(scratch, `${suite.name}.json`)
    process.stderr.write(`bench: ${suite.name}\n`)
    const self = fileURLToPath(import.meta.url)
    const done = spawnSync(process.execPath, [self, '--suite', suite.name, '--only', only, '--file', file], {
      stdio: 'inherit',
    })
    if (done.status === 0) rows.push(...(JSON.parse(readFileSync(file, 'utf8')) as BenchRow[]))
    else failed++
  }
  rmSync(scratch, { recursive: true })
  mkdirSync(RESULTS, { recursive: true })
  const document = { kind: 'Benchmark', machine: machine(), node: process.version, rows }
  writeFileSync(join(RESULTS, 'latest.json'), `${JSON.stringify(document, null, 2)}\n`)
  process.stdout.write(`${tableOf(rows)}\n`)
  return failed === 0 ? 0 : 1
}

function option(name: string): string | undefined {
  const i = process.argv.indexOf(name)
  return i < 0 ? undefined : process.argv[i + 1]
}

const suite = option('--suite')
if (suite === undefined) process.exitCode = runAll(option('--only') ?? '')
else await runSuite(suite, option('--only') ?? '', option('--file')!)
