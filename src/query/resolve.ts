/**
 * The two ends of a trace question.
 */
import { parseIpv4 } from '../addr/index.ts'
import type { Cluster } from '../cluster/build.ts'
import type { Diagnostics } from '../diagnostics/diagnostic.ts'
import type { PodModel } from '../kubernetes/types.ts'
import type { Netns } from '../linux/netns.ts'
import { type FoundTarget, findTarget, resolveDestination } from './target.ts'
import type { TraceQuestion } from './trace.ts'
import type { TraceEndpoint } from './trace-types.ts'

/** Both ends, resolved. */
export interface ResolvedEnds {
  readonly src: TraceEndpoint
  readonly dst: TraceEndpoint
  readonly srcNs: Netns
  readonly srcIp: number
  readonly dstIp: number
  /** 0 for ICMP. */
  readonly dport: number
  /** The namespace that has the destination address itself, null for a Service or an unknown address. */
  readonly dstNs: Netns | null
  readonly notes: readonly string[]
  /** The destination was given by a name that the source's resolver looks up. */
  readonly dnsName?: string
  /** The source, when it is a pod. */
  readonly srcPod?: PodModel
}

/** Port asked when the question names none and nothing else tells. */
const DEFAULT_PORT = 80

/** Resolves both ends; what is wrong goes to `diagnostics` and null comes back. */
export function resolveEnds(cluster: Cluster, question: TraceQuestion, diagnostics: Diagnostics): ResolvedEnds | null {
  const namespace = question.namespace
  const from = findTarget(cluster, question.src, namespace)
  for (const d of from.diagnostics) diagnostics.add(d.severity, d.code, d, `source: ${d.message}`, d)
  const source = from.target
  const to = resolveDestination(cluster, question.dst, {
    namespace,
    ...(source?.pod === undefined ? {} : { from: source.pod }),
    ...(source?.kind === 'host' && { isOutside: true }),
    ...(question.protocol === 'ICMP' ? {} : { protocol: question.protocol }),
  })
  if (to.target === undefined) {
    diagnostics.add(
      to.diagnostic.severity,
      to.diagnostic.code,
      to.diagnostic,
      `destination: ${to.diagnostic.message}`,
      to.diagnostic,
    )
    return null
  }
  if (source === null) return null
  const target = to.target
  const ip = parseIpv4(target.ip)
  if (ip === null) {
    diagnostics.add(
      'error',
      'unmodelled',
      { file: '', line: 0, col: 0 },
      `destination: expected an IPv4 address, found ${target.ip}`,
      {
        hint: 'IPv6 is UNMODELLED so far',
      },
    )
    return null
  }
  const notes = [...to.notes]
  const place =
    target.kind === 'service'
      ? null
      : findTarget(cluster, target.kind === 'host' ? `host:${target.ip}` : target.ip).target
  const dport = question.protocol === 'ICMP' ? 0 : portOf(target, notes)
  if (place?.pod !== undefined && dport !== 0 && !isNamed(cluster, place.pod, dport)) {
    notes.push(`no manifest says that something listens on port ${dport} of ${place.name}; assumed`)
  }
  return {
    src: endpoint(question.src, source),
    dst: {
      asked: question.dst,
      kind: target.kind === 'ip' && place !== null ? place.kind : target.kind,
      name: nameOf(target, place),
      ...(place !== null && place.kind === 'pod' ? { node: place.pod!.node } : {}),
      ip: target.ip,
      ...(notes.length === 0 ? {} : { how: notes.join('; ') }),
    },
    srcNs: source.ns,
    srcIp: source.ip,
    dstIp: ip,
    dport,
    dstNs: place?.ns ?? null,
    notes,
    ...(to.dnsName !== undefined && { dnsName: to.dnsName }),
    ...(source.pod !== undefined && { srcPod: source.pod }),
  }
}

/** The same question with the address that the resolver found. */
export function withAddress(cluster: Cluster, ends: ResolvedEnds, ipText: string): ResolvedEnds {
  const ip = parseIpv4(ipText)
  if (ip === null || ip === ends.dstIp) return ends
  const place = findTarget(cluster, ipText).target
  const { node: _node, ...dst } = ends.dst
  const at = place?.pod === undefined ? {} : { node: place.pod.node }
  return {
    ...ends,
    dst: { ...dst, kind: place?.kind ?? 'ip', name: place?.name ?? ipText, ...at, ip: ipText },
    dstIp: ip,
    dstNs: place?.ns ?? null,
  }
}

/** Whether a container or an EndpointSlice names the port. */
function isNamed(cluster: Cluster, pod: PodModel, port: number): boolean {
  if (pod.ports.some((p) => p.port === port)) return true
  return cluster.model.endpointSlices.some(
    ({ object }) =>
      (object.ports ?? []).some((p) => p.port === port) && object.endpoints.some((e) => e.addresses.includes(pod.ip)),
  )
}

function portOf(target: NonNullable<ReturnType<typeof resolveDestination>['target']>, notes: string[]): number {
  if (target.port !== undefined) return target.port
  if (target.kind === 'pod') {
    const first = target.pod.ports[0]?.port
    if (first !== undefined) {
      notes.push(`port ${first}: the first that the pod declares`)
      return first
    }
  }
  notes.push(`port ${DEFAULT_PORT}: none was given`)
  return DEFAULT_PORT
}

function nameOf(
  target: NonNullable<ReturnType<typeof resolveDestination>['target']>,
  place: FoundTarget | null,
): string {
  if (target.kind === 'service') return `${target.service.metadata.namespace}/${target.service.metadata.name}`
  return place?.name ?? target.ip
}

function endpoint(asked: string, t: FoundTarget): TraceEndpoint {
  return {
    asked,
    kind: t.kind,
    name: t.name,
    ...(t.pod === undefined ? (t.kind === 'node' ? { node: t.name } : {}) : { node: t.pod.node }),
    ip: t.ipText,
    ...(t.how === '' ? {} : { how: t.how }),
  }
}
