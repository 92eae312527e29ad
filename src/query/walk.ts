/**
 * A packet's steps as numbered hops.
 */

import { formatIpv4 } from '../addr/index.ts'
import type { Cluster } from '../cluster/build.ts'
import type { TraceLog, TraceStep } from '../engine/trace-log.ts'
import { parseFiveTuple } from './five-tuple.ts'
import { describeStep } from './hops.ts'
import type { TraceHop } from './trace-types.ts'

/**
 * Hops of a walk.
 * @param before steps without a packet that belong in front (the sender's route lookup)
 */
export function walkOf(
  steps: readonly TraceStep[],
  cluster: Cluster,
  log: TraceLog,
  verbose: boolean,
  before: readonly TraceStep[] | null,
): TraceHop[] {
  const hops: TraceHop[] = []
  for (const step of [...(before ?? []), ...steps]) {
    const text = describeStep(step, cluster)
    if (text === null || (!verbose && text.detail.matched === false)) continue
    const place = cluster.places.get(step.netns)
    const dev = step.device < 0 ? null : cluster.world.devices[step.device]
    const frame = step.frame < 0 ? null : step.frame
    hops.push({
      n: hops.length + 1,
      node: place?.node ?? null,
      netns: place?.netns ?? cluster.world.namespaces[step.netns]!.name,
      device: dev?.name ?? null,
      point: text.point,
      action: text.action,
      frame,
      detail: frame === null ? text.detail : { ...text.detail, ...tupleDetail(log, frame) },
    })
  }
  return hops
}

function tupleDetail(log: TraceLog, frame: number): { readonly [key: string]: unknown } {
  const bytes = log.frames[frame]!.bytes
  const t = parseFiveTuple(bytes)
  if (t === null) return {}
  return { src: formatIpv4(t.src), sport: t.sport, dst: formatIpv4(t.dst), dport: t.dport, ttl: bytes[22] }
}
