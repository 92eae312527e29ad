/**
 * The advise query: flows as people write them to suggested policies.
 *
 *     - {src: deploy/shop/web, dst: svc/shop/db:5432}
 *     - {src: shop/web, dst: 198.51.100.7, protocol: TCP, port: 443}
 */
import { type Diagnostic, Diagnostics } from '../diagnostics/diagnostic.ts'
import { SourceFile } from '../kubernetes/source.ts'
import type { ClusterModel, KubernetesObject } from '../kubernetes/types.ts'
import { readYaml } from '../kubernetes/yaml.ts'
import { type AdvisedFlow, advise } from '../policy/advise.ts'
import type { PolicyEngine } from '../policy/engine.ts'
import { resolveParties } from './parties.ts'
import { API_VERSION } from './trace-types.ts'

/** The document. */
export interface AdviceDocument {
  readonly apiVersion: typeof API_VERSION
  readonly kind: 'Advice'
  /** Flows that were given, after workloads and Services became pods. */
  readonly flows: number
  readonly policies: readonly KubernetesObject[]
  /** Flows that other policies deny even so: `src -> dst TCP/80`. */
  readonly missing: readonly string[]
  /** Workloads that labels do not tell from another one of their namespace. */
  readonly ambiguous: readonly string[]
}

interface WrittenFlow {
  readonly src?: unknown
  readonly dst?: unknown
  readonly protocol?: unknown
  readonly port?: unknown
}

const PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const

/** Reads a flow file and suggests policies; every problem of the file is a diagnostic. */
export function adviseQuery(
  engine: PolicyEngine,
  model: ClusterModel,
  file: { readonly name: string; readonly text: string },
  namespace: string,
): { readonly advice: AdviceDocument; readonly diagnostics: readonly Diagnostic[] } {
  const diagnostics = new Diagnostics()
  const flows: AdvisedFlow[] = []
  const source = new SourceFile(file.name, file.text)
  for (const document of readYaml(source, diagnostics)) {
    const at = source.positionAt(document.offsetOf([]))
    if (!Array.isArray(document.value)) {
      diagnostics.error('not-a-list', at, 'expected a list of flows {src, dst, protocol, port}')
      continue
    }
    for (const [i, written] of (document.value as WrittenFlow[]).entries()) {
      const place = source.positionAt(document.offsetOf([i]))
      const problem = readFlow(engine, model, written ?? {}, namespace, flows)
      if (problem !== null) diagnostics.error('bad-flow', place, problem, { path: `[${i}]` })
    }
  }
  const { policies, missing, ambiguous } = advise(engine, flows)
  const advice: AdviceDocument = {
    apiVersion: API_VERSION,
    kind: 'Advice',
    flows: flows.length,
    policies,
    missing: missing.map((f) => `${f.src.name} -> ${f.dst.name} ${f.protocol}/${f.port}`),
    ambiguous,
  }
  return { advice, diagnostics: diagnostics.sorted() }
}

function readFlow(
  engine: PolicyEngine,
  model: ClusterModel,
  written: WrittenFlow,
  namespace: string,
  flows: AdvisedFlow[],
): string | null {
  if (typeof written.src !== 'string' || typeof written.dst !== 'string') return 'expected src and dst'
  const protocol = PROTOCOLS.find((p) => p === String(written.protocol ?? 'TCP').toUpperCase())
  if (protocol === undefined) return `expected protocol TCP, UDP or SCTP, found ${JSON.stringify(written.protocol)}`
  const src = resolveParties(engine, model, written.src, namespace)
  const dst = resolveParties(engine, model, written.dst, namespace)
  if (src.found === undefined) return src.diagnostic.message
  if (dst.found === undefined) return dst.diagnostic.message
  const port = written.port ?? dst.found.port
  if (dst.found.targets === null && (typeof port !== 'number' || port < 1 || port > 65535)) {
    return `expected a port 1-65535, found ${JSON.stringify(port)}`
  }
  for (const from of src.found.parties) {
    for (const to of dst.found.parties) {
      const targets = dst.found.targets?.get(to.name) ?? [{ protocol, port: port as number }]
      for (const t of targets) if (from !== to) flows.push({ src: from, dst: to, protocol: t.protocol, port: t.port })
    }
  }
  return null
}
