/**
 * The command line as a user feels it: wall-clock milliseconds of a whole `podwalk trace` process on a small cluster, built code.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { MIN_RUNS, rowOf } from '../harness.ts'
import type { Suite } from '../suites.ts'

const MAIN = 'dist/bundle/main.js'
const TOPOLOGY = 'topologies/01-shop.yaml'
const ARGV = [MAIN, 'trace', 'deploy/shop/web', 'svc/shop/api:80', '-f', TOPOLOGY]

/** cli/trace-small */
export const cliSuite: Suite = async () => {
  if (!existsSync(MAIN)) {
    process.stderr.write(`bench: cli/trace-small: no ${MAIN}: run npm run build\n`)
    return []
  }
  const samples: number[] = []
  for (let i = -2; i < MIN_RUNS; i++) {
    const start = process.hrtime.bigint()
    const done = spawnSync(process.execPath, ARGV, { encoding: 'utf8' })
    const ms = Number(process.hrtime.bigint() - start) / 1e6
    if (done.status !== 0 || !/delivered/i.test(done.stdout))
      throw new Error(`podwalk trace: ${done.status} ${done.stderr}`)
    if (i >= 0) samples.push(ms)
  }
  return [rowOf('cli/trace-small', 'ms', samples)]
}
