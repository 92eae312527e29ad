/**
 * Every topology answers as its own `spec.expect` table says.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { parseAllDocuments } from 'yaml'
import { buildCluster, buildClusterModel, loadInputs, SCHEMAS, type Trace, traceInCluster } from '../../src/index.ts'
import { durationSeconds } from '../../src/kubernetes/duration.ts'
import { filesBelow, ROOT } from '../arch/sources.ts'

/** One row of the table; what is absent is not checked. */
interface Expectation {
  readonly from: string
  readonly to?: string
  /** `METHOD URL` */
  readonly http?: string
  /** HTTP status of the answer. */
  readonly status?: number
  /** Start of `ns/pod` of the last receiver, behind controllers and balancers. */
  readonly backend?: string
  readonly proto?: string
  readonly size?: number
  /** Asked so long after convergence. */
  readonly at?: string
  readonly verdict: string
  readonly reply?: string
  readonly reason?: string
  /** Start of `ns/pod` of the receiver. */
  readonly workload?: string
  /** Start of the source address that the receiver sees. */
  readonly sees?: string
  /** `Kind ns/name`. */
  readonly decidedBy?: string
}

const validate = new Ajv2020({ strict: true, allowUnionTypes: true }).compile(SCHEMAS.get('Trace')!)

function tableOf(path: string): Expectation[] {
  const documents = parseAllDocuments(readFileSync(join(ROOT, path), 'utf8')).map(
    (d) => d.toJS() as { kind?: string; spec?: { expect?: Expectation[] } },
  )
  return documents.find((d) => d.kind === 'Cluster')?.spec?.expect ?? []
}

/** What the trace says of everything that the row asks. */
function answerOf(trace: Trace, row: Expectation): object {
  const { delivered: d, decidedBy: by } = trace
  const start = (text: string | null | undefined, asked: string): string =>
    text?.startsWith(asked) ? asked : String(text)
  return {
    verdict: trace.verdict,
    ...(row.reply !== undefined && { reply: trace.replyVerdict?.verdict ?? null }),
    ...(row.reason !== undefined && { reason: trace.reason.code }),
    ...(row.workload !== undefined && { workload: start(d?.pod, row.workload) }),
    ...(row.status !== undefined && { status: trace.http?.status ?? null }),
    ...(row.backend !== undefined && { backend: start(trace.onward?.at(-1)?.delivered?.pod ?? d?.pod, row.backend) }),
    ...(row.sees !== undefined && { sees: start(d?.src, row.sees) }),
    ...(row.decidedBy !== undefined && { decidedBy: by === null ? null : `${by.kind} ${by.namespace}/${by.name}` }),
  }
}

describe.each(filesBelow('topologies', '.yaml'))('%s', (path) => {
  const built = buildClusterModel(loadInputs([join(ROOT, path)]))
  const rows = tableOf(path)

  it('loads without an error and without a warning', () => {
    expect(built.diagnostics.filter((d) => d.severity !== 'info')).toEqual([])
    expect(rows.length).toBeGreaterThan(2)
  })

  it.each(
    rows.map(
      (row) =>
        [
          `${row.http ?? row.proto ?? 'tcp'} ${row.from} -> ${row.to ?? ''}${row.at === undefined ? '' : ` at ${row.at}`}: ${row.status ?? row.verdict}`,
          row,
        ] as const,
    ),
  )('%s', (_title, row) => {
    // A cluster of its own for each question: connections of one would be known to the next.
    const { trace, diagnostics } = traceInCluster(buildCluster(built.model), {
      src: row.from,
      dst: row.to ?? '',
      ...(row.http !== undefined && { http: { method: row.http.split(' ')[0]!, url: row.http.split(' ')[1]! } }),
      namespace: 'default',
      protocol: (row.proto ?? 'tcp').toUpperCase() as 'TCP',
      ...(row.size !== undefined && { size: row.size }),
      ...(row.at !== undefined && { atS: durationSeconds(row.at)! }),
      flow: false,
      seed: 1,
      verbose: false,
    })
    expect(diagnostics.filter((d) => d.severity === 'error')).toEqual([])
    const { from: _from, to: _to, http: _http, proto: _proto, size: _size, at: _at, ...expected } = row
    expect(answerOf(trace!, row)).toEqual(expected)
    expect([validate(trace), validate.errors]).toEqual([true, null])
  })
})
