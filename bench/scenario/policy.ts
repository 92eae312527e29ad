/**
 * Policies at scale: loading and indexing, point queries, all pairs, an edit.
 *
 * Inputs are generated (policy-cluster.ts) and read from a file as `podwalk reach -f` reads them: JSON text to objects,
 * validation, the cluster model with its addresses, the index. Loading a large cluster takes seconds: it is measured a few
 * times, not MIN_RUNS. Memory is the largest resident set of the process.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildClusterModel, loadInputs } from '../../src/kubernetes/index.ts'
import { editPolicies } from '../../src/policy/edit.ts'
import { PolicyEngine } from '../../src/policy/engine.ts'
import { policyInputOf } from '../../src/policy/input.ts'
import { compileNetworkPolicy } from '../../src/policy/kinds/network-policy.ts'
import { ReachMatrix } from '../../src/policy/matrix.ts'
import { type BenchRow, cpuNs, measure, rowOf } from '../harness.ts'
import type { Suite } from '../suites.ts'
import { LARGE, large, SMALL_NAMESPACES, smallNamespaces, writeList } from './policy-cluster.ts'

const LOADS = 3
const QUERIES = 10_000

/** Runs with a generated list in a file. */
function withList<T>(items: Iterable<Record<string, unknown>>, run: (file: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'podwalk-policy-'))
  try {
    const file = join(folder, 'cluster.json')
    writeList(items, file)
    return run(file)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function engineOf(file: string): PolicyEngine {
  const { model, diagnostics } = buildClusterModel(loadInputs([file]))
  const error = diagnostics.find((d) => d.severity === 'error')
  if (error !== undefined) throw new Error(error.message)
  return new PolicyEngine(policyInputOf(model))
}

/** CPU milliseconds of loading and indexing, some times, and the largest resident set after the first (MiB). */
function load(file: string, times: number): { readonly samples: number[]; readonly rss: number; engine: PolicyEngine } {
  const samples: number[] = []
  let engine: PolicyEngine | null = null
  let rss = 0
  for (let i = 0; i < times; i++) {
    engine = null
    const start = cpuNs()
    engine = engineOf(file)
    samples.push((cpuNs() - start) / 1e6)
    if (i === 0) rss = process.resourceUsage().maxRSS / 1024
  }
  return { samples, rss, engine: engine! }
}

/** Loading of one size of the small-namespace shape, with its memory. */
export function policyLoadSuite(namespaces: number, name: string): Suite {
  return async () =>
    withList(smallNamespaces(namespaces), (file) => {
      const { samples, rss, engine } = load(file, LOADS)
      if (engine.policies.length !== namespaces * 3) throw new Error(`${engine.policies.length} policies`)
      const rows = [rowOf(name, 'ms', samples)]
      if (namespaces === SMALL_NAMESPACES) rows.push(rowOf(`${name}-rss`, 'MiB', [rss]))
      return rows
    })
}

/** Questions to the large shape. */
export const policySuite: Suite = async (wanted) => {
  const engine = withList(large(1), (file) => load(file, 1).engine)
  if (engine.classes.count !== LARGE.classes) throw new Error(`${engine.classes.count} classes`)
  const rows: BenchRow[] = []
  const { pods } = engine.input
  if (wanted('reach/point-query')) {
    let allowed = 0
    rows.push(
      await measure({
        name: 'reach/point-query',
        unit: 'ops/s',
        operations: QUERIES,
        run: () => {
          allowed = 0
          for (let i = 0; i < QUERIES; i++) {
            const src = pods[(i * 7919) % pods.length]!
            const dst = pods[(i * 104_729 + 500) % pods.length]!
            if (engine.isAllowed(engine.flow(src, dst, 'TCP', 8080))) allowed++
          }
        },
        verify: () => {
          if (allowed === 0 || allowed === QUERIES) throw new Error(`${allowed} of ${QUERIES} allowed`)
        },
      }),
    )
  }
  if (wanted('reach/150k-pods-all-pairs')) {
    let pairs = 0
    rows.push(
      await measure({
        name: 'reach/150k-pods-all-pairs',
        unit: 'ms',
        operations: 1,
        warmUp: 2,
        run: () => {
          pairs = 0
          const matrix = new ReachMatrix(engine)
          matrix.rows(({ cells }) => {
            for (const cell of cells) pairs += matrix.sets.count(cell.peers)
          })
        },
        verify: () => {
          if (pairs < LARGE.classes) throw new Error(`${pairs} pairs of classes`)
        },
      }),
    )
  }
  if (wanted('reach/edit')) rows.push(await edit(engine))
  return rows
}

/** One policy replaced by another, and back: both verified. */
async function edit(engine: PolicyEngine): Promise<BenchRow> {
  const matrix = new ReachMatrix(engine)
  matrix.rows(() => {})
  const old = engine.policies[7]!
  const spec = {
    podSelector: {},
    ingress: [{ from: [{ namespaceSelector: {} }], ports: [{ port: 1000, endPort: 1500 }] }],
  }
  const object = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: old.name, namespace: old.namespace },
    spec,
  }
  const now = compileNetworkPolicy({ object, source: old.source })
  const state = { engine, matrix }
  let changed = 0
  return measure({
    name: 'reach/edit',
    unit: 'ms',
    operations: 1,
    run: () => {
      changed = editPolicies(state, { remove: [old], add: [now] }).changed.length
    },
    verify: () => {
      if (changed === 0) throw new Error('the edit changed nothing')
    },
  })
}
