/**
 * From the words of a question to a place in the running cluster.
 */
import { parseIpv4 } from '../addr/index.ts'
import type { Cluster } from '../cluster/build.ts'
import type { Diagnostic } from '../diagnostics/diagnostic.ts'
import { resolveTarget, type Target, type TargetOptions } from '../kubernetes/target.ts'
import type { PodModel } from '../kubernetes/types.ts'
import type { Netns } from '../linux/netns.ts'

/** A place that can send, or run a tool. */
export interface FoundTarget {
  readonly ns: Netns
  /** `ns/pod`, node name, or address of a host. */
  readonly name: string
  readonly kind: 'pod' | 'node' | 'host'
  readonly ip: number
  readonly ipText: string
  readonly pod?: PodModel
  /** What was chosen on the way, empty when nothing was. */
  readonly how: string
}

/** Finds the namespace that `text` names. */
export function findTarget(
  cluster: Cluster,
  text: string,
  namespace = 'default',
): { readonly target: FoundTarget | null; readonly diagnostics: readonly Diagnostic[] } {
  const r = resolveTarget(cluster.model, text, { namespace })
  if (r.target === undefined) return { target: null, diagnostics: [r.diagnostic] }
  const target = placeOf(cluster, r.target, r.notes.join('; '))
  if (target !== null) return { target, diagnostics: [] }
  return {
    target: null,
    diagnostics: [
      {
        code: 'unresolvable',
        severity: 'error',
        message: `"${text}" is a ${r.target.kind}, not a place that can send`,
        hint: 'a source is a pod, a node, or host:IP for a machine outside the cluster',
        file: '',
        line: 0,
        col: 0,
      },
    ],
  }
}

/** Resolves a destination; the caller reports what is missing. */
export function resolveDestination(
  cluster: Cluster,
  text: string,
  options: TargetOptions,
): ReturnType<typeof resolveTarget> {
  return resolveTarget(cluster.model, text, options)
}

function placeOf(cluster: Cluster, target: Target, how: string): FoundTarget | null {
  const ip = parseIpv4(target.ip)
  if (ip === null) return null
  switch (target.kind) {
    case 'pod': {
      const name = `${target.pod.namespace}/${target.pod.name}`
      return { ns: cluster.pods.get(name)!, name, kind: 'pod', ip, ipText: target.ip, pod: target.pod, how }
    }
    case 'node':
      return {
        ns: cluster.nodes.get(target.node.name)!,
        name: target.node.name,
        kind: 'node',
        ip,
        ipText: target.ip,
        how,
      }
    case 'host':
      return { ns: cluster.host(target.ip), name: target.ip, kind: 'host', ip, ipText: target.ip, how }
    case 'ip':
      return ownerOf(cluster, ip, target.ip, how)
    case 'service':
      return null
  }
}

/** A bare address as a source: the pod or node that has it. */
function ownerOf(cluster: Cluster, ip: number, ipText: string, how: string): FoundTarget | null {
  for (const pod of cluster.model.pods) {
    if (pod.hostNetwork || pod.ip !== ipText) continue
    const name = `${pod.namespace}/${pod.name}`
    return { ns: cluster.pods.get(name)!, name, kind: 'pod', ip, ipText, pod, how }
  }
  const node = cluster.model.nodes.find((n) => n.internalIp === ipText)
  if (node === undefined) return null
  return { ns: cluster.nodes.get(node.name)!, name: node.name, kind: 'node', ip, ipText, how }
}
