/**
 * What was captured along a trace: packets, frames, interfaces and the names of addresses, as the document lists them.
 */
import { formatIpv4 } from '../addr/index.ts'
import type { Cluster } from '../cluster/build.ts'
import type { TraceLog } from '../engine/trace-log.ts'
import { describeFrame } from '../wire/describe.ts'
import { parseFiveTuple } from './five-tuple.ts'
import { firstFrame } from './legs.ts'
import { fateOf, type LoggedPacket, type PacketIndex } from './packets.ts'
import type { Trace, TraceFrame, TracePacket } from './trace-types.ts'

/** The part of a trace document that a capture is. */
export function captureOf(
  cluster: Cluster,
  log: TraceLog,
  index: PacketIndex,
  startNs: number,
): Pick<Trace, 'packets' | 'frames' | 'interfaces' | 'names'> {
  const roots = index.roots()
  return {
    packets: packetList(cluster, log, index, roots),
    frames: framesOf(cluster, log, index, roots, startNs),
    interfaces: interfacesOf(cluster, log),
    names: namesOf(cluster, log),
  }
}

function place(cluster: Cluster, netns: number): { node: string | null; netns: string } {
  const p = cluster.places.get(netns)
  return { node: p?.node ?? null, netns: p?.netns ?? cluster.world.namespaces[netns]!.name }
}

function packetList(
  cluster: Cluster,
  log: TraceLog,
  index: PacketIndex,
  roots: readonly LoggedPacket[],
): TracePacket[] {
  const out: TracePacket[] = []
  for (const p of roots) {
    const first = firstFrame(log, index, p)
    if (first === null) continue
    const story = index.storyteller(p)
    const fate = fateOf(story)
    const end = story.steps.at(-1)!
    out.push({
      n: out.length + 1,
      from: place(cluster, first.netns).netns,
      summary: describeFrame(first.bytes, 'ether'),
      verdict: fate.verdict,
      reason: fate.code,
      to: place(cluster, end.netns).netns,
    })
  }
  return out
}

function framesOf(
  cluster: Cluster,
  log: TraceLog,
  index: PacketIndex,
  roots: readonly LoggedPacket[],
  startNs: number,
): TraceFrame[] {
  const numbers = new Map<number, number>()
  let n = 0
  for (const p of roots) {
    if (firstFrame(log, index, p) === null) continue
    n++
    for (const member of index.family(p)) numbers.set(member.id, n)
  }
  return log.frames.map((f) => ({
    ...place(cluster, f.netns),
    device: cluster.world.devices[f.device]!.name,
    direction: f.direction,
    atNs: f.atNs - startNs,
    hex: Buffer.from(f.bytes).toString('hex'),
    packet: numbers.get(f.packet) ?? 0,
  }))
}

function interfacesOf(cluster: Cluster, log: TraceLog): Trace['interfaces'] {
  const seen = new Set<number>()
  const out: Trace['interfaces'][number][] = []
  for (const f of log.frames) {
    if (seen.has(f.device)) continue
    seen.add(f.device)
    const dev = cluster.world.devices[f.device]!
    out.push({ ...place(cluster, f.netns), device: dev.name, linkType: dev.ether ? 'ether' : 'ip' })
  }
  return out
}

function namesOf(cluster: Cluster, log: TraceLog): Trace['names'] {
  const ips = new Set<number>()
  for (const f of log.frames) {
    const t = parseFiveTuple(f.bytes)
    if (t !== null) ips.add(t.src).add(t.dst)
  }
  const out: { [ip: string]: string } = {}
  for (const ip of [...ips].sort((a, b) => (a >>> 0) - (b >>> 0))) {
    const name = cluster.names.get(ip)
    if (name !== undefined) out[formatIpv4(ip)] = name
  }
  return out
}
