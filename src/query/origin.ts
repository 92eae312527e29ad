/**
 * From a rule to the manifest line that caused it.
 *
 * kube-proxy's rules carry a RuleOrigin (object and field); a CNI driver's rules carry the source position of their cause,
 * those of a policy a PolicyOrigin (object, rule and place).
 * An EndpointSlice that podwalk derived leads to its Service.
 */
import type { Cluster } from '../cluster/build.ts'
import type { SourcePosition } from '../diagnostics/diagnostic.ts'
import type { FieldPath, Sourced } from '../kubernetes/types.ts'
import type { RuleOrigin } from '../proxy/types.ts'
import { policyOrigin } from './policy-miss.ts'
import type { DecidedBy } from './trace-types.ts'

/** `spec.ports[0].nodePort` */
export function pathText(path: FieldPath): string {
  let out = ''
  for (const p of path) out += typeof p === 'number' ? `[${p}]` : out === '' ? p : `.${p}`
  return out
}

function isRuleOrigin(o: unknown): o is RuleOrigin {
  return typeof o === 'object' && o !== null && 'kind' in o && 'name' in o && 'path' in o
}

function isPosition(o: unknown): o is SourcePosition {
  return typeof o === 'object' && o !== null && 'file' in o && 'line' in o
}

function place(s: Sourced<unknown> | undefined, path: FieldPath): SourcePosition {
  if (s === undefined) return { file: '', line: 0, col: 0 }
  return s.positionOf?.(path) ?? s.source
}

const serviceIndex = new WeakMap<Cluster, Map<string, Sourced<unknown>>>()

/** The Service `ns/name` with its place. */
export function findService(cluster: Cluster, key: string): Sourced<unknown> | undefined {
  let index = serviceIndex.get(cluster)
  if (index === undefined) {
    index = new Map(cluster.model.services.map((s) => [`${s.object.metadata.namespace}/${s.object.metadata.name}`, s]))
    serviceIndex.set(cluster, index)
  }
  return index.get(key)
}

/** The manifest line behind a rule's origin, null when the rule belongs to no object. */
export function describeOrigin(origin: unknown, cluster: Cluster): DecidedBy | null {
  if (isRuleOrigin(origin)) {
    const key = `${origin.namespace}/${origin.name}`
    let at: SourcePosition
    let kind: string = origin.kind
    let name = origin.name
    if (origin.kind === 'EndpointSlice') {
      const slice = cluster.model.endpointSlices.find(
        (s) => s.object.metadata.name === origin.name && s.object.metadata.namespace === origin.namespace,
      )
      if (slice?.positionOf !== undefined) at = place(slice, origin.path)
      else {
        kind = 'Service'
        name = slice?.service?.split('/')[1] ?? origin.name
        at = place(findService(cluster, slice?.service ?? key), ['spec', 'selector'])
        return { kind, namespace: origin.namespace, name, rule: 'spec.selector', file: at.file, line: at.line }
      }
    } else at = place(findService(cluster, key), origin.path)
    return { kind, namespace: origin.namespace, name, rule: pathText(origin.path), file: at.file, line: at.line }
  }
  const policy = policyOrigin(origin)
  if (policy !== null) {
    const { kind, namespace, name, rule } = policy
    const { file, line } = policy.at()
    return { kind, namespace, name, rule, file, line }
  }
  if (!isPosition(origin)) return null
  const isHere = (o: { readonly source: SourcePosition }): boolean =>
    o.source.file === origin.file && o.source.line === origin.line && o.source.col === origin.col
  const { file, line } = origin
  const pod = cluster.model.pods.find(isHere)
  if (pod === undefined) {
    const name = cluster.model.nodes.find(isHere)?.name ?? ''
    return { kind: 'Node', namespace: '', name, rule: '', file, line }
  }
  const { workloadKind = 'Pod', workloadName = pod.name } = pod.owner ?? {}
  return { kind: workloadKind, namespace: pod.namespace, name: workloadName, rule: '', file, line }
}
