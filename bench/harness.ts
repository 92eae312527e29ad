/**
 * The benchmark harness: the only importer of benny, so that it can be swapped.
 *
 * benny (Benchmark.js) decides how often a case runs; what a run costs is taken by us as CPU time of the process
 * (getrusage, microseconds), because wall clocks lie by a factor of two on a shared machine. CPU time takes out
 * descheduling, not the contention for caches; compiler and collector threads count. A case's run does a whole batch
 * (at least 1,000 operations), is warmed up before anything is kept, and is checked: `verify` throws when the work did
 * not happen. The value is the median of at least MIN_RUNS runs, min and max are the worst and best of them.
 */
import benny from 'benny'

/** Runs that a row is the median of, at least. */
export const MIN_RUNS = 20
/** Seconds that benny spends on a case at most, when MIN_RUNS are done. */
const MAX_SECONDS = 2

/** One row of `bench/results/latest.json`. */
export interface BenchRow {
  readonly name: string
  /** `packets/s`, `ops/s`: more is better. `ms`: less is better. */
  readonly unit: string
  readonly value: number
  readonly min: number
  readonly max: number
  readonly runs: number
  kernelValue?: number
  ratioToKernel?: number
}

/** A case: a batch of work that can be done again and again. */
export interface BenchCase {
  readonly name: string
  /** A rate (`packets/s`, `ops/s`), or `ms` per run. */
  readonly unit: 'packets/s' | 'ops/s' | 'ms'
  /** Operations that one run does. */
  readonly operations: number
  /** One run. Inputs come from fixed seeds. */
  run(): void
  /** Called after every run, outside the measured time: throws when the output is wrong. */
  verify?(): void
  /** Runs before the first one that counts. Default 5. */
  readonly warmUp?: number
}

/** CPU nanoseconds of this process so far. */
export function cpuNs(): number {
  const u = process.cpuUsage()
  return (u.user + u.system) * 1000
}

/** The middle of a list. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2
}

/** A row of samples, each already in the row's unit. */
export function rowOf(name: string, unit: string, samples: readonly number[]): BenchRow {
  if (samples.length === 0) throw new Error(`${name}: no samples`)
  return {
    name,
    unit,
    value: round(median(samples)),
    min: round(Math.min(...samples)),
    max: round(Math.max(...samples)),
    runs: samples.length,
  }
}

function round(x: number): number {
  return x >= 1000 ? Math.round(x) : Number(x.toPrecision(4))
}

/** Measures one case. */
export async function measure(bench: BenchCase): Promise<BenchRow> {
  const samples: number[] = []
  const once = (): void => {
    const start = cpuNs()
    bench.run()
    const spent = Math.max(1, cpuNs() - start)
    bench.verify?.()
    samples.push(bench.unit === 'ms' ? spent / 1e6 : (bench.operations * 1e9) / spent)
  }
  for (let i = 0; i < (bench.warmUp ?? 5); i++) once()
  samples.length = 0
  const quiet = console.log
  console.log = () => {}
  try {
    await benny.suite(
      bench.name,
      benny.add(bench.name, () => once, {
        initCount: 1,
        minSamples: MIN_RUNS,
        minTime: 0.001,
        maxTime: MAX_SECONDS,
        delay: 0,
      }),
    )
  } finally {
    console.log = quiet
  }
  while (samples.length < MIN_RUNS) once()
  return rowOf(bench.name, bench.unit, samples)
}

/** Lines of a table for people. */
export function tableOf(rows: readonly BenchRow[]): string {
  const head = ['name', 'value', 'unit', 'ns each', 'min', 'max', 'runs', 'kernel', 'ratio']
  const lines = rows.map((r) => [
    r.name,
    number(r.value),
    r.unit,
    r.unit.endsWith('/s') ? number(1e9 / r.value) : '',
    number(r.min),
    number(r.max),
    String(r.runs),
    r.kernelValue === undefined ? '' : number(r.kernelValue),
    r.ratioToKernel === undefined ? '' : `${r.ratioToKernel.toFixed(1)}x`,
  ])
  const widths = head.map((h, i) => Math.max(h.length, ...lines.map((l) => l[i]!.length)))
  return [head, ...lines]
    .map((l) => l.map((c, i) => (i === 0 ? c.padEnd(widths[i]!) : c.padStart(widths[i]!))).join('  '))
    .join('\n')
}

function number(x: number): string {
  return x >= 1000 ? Math.round(x).toLocaleString('en-US') : String(Number(x.toPrecision(3)))
}
