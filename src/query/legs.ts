/**
 * Which packet of a log was sent first, how it went, which one answered: the two ways of a connection, as hops.
 */

import type { Cluster } from '../cluster/build.ts'
import type { CapturedFrame, TraceLog } from '../engine/trace-log.ts'
import { IPPROTO_TCP } from '../linux/socket/sock.ts'
import { T_CHILD, T_RX, T_TX } from '../linux/trace.ts'
import { BGP_PORT } from '../wire/bgp-const.ts'
import { type FiveTuple, parseFiveTuple } from './five-tuple.ts'
import { type Fate, fateOf, type LoggedPacket, type PacketIndex } from './packets.ts'
import type { TraceHop } from './trace-types.ts'
import { walkOf } from './walk.ts'

/** A packet's way and that of its answer. */
export interface Leg {
  readonly story: LoggedPacket
  readonly fate: Fate
  readonly walk: readonly TraceHop[]
  readonly reply: readonly TraceHop[]
  readonly replyFate: Fate | null
}

/** The leg that begins with `forward`. */
export function legOf(
  cluster: Cluster,
  log: TraceLog,
  index: PacketIndex,
  roots: readonly LoggedPacket[],
  forward: LoggedPacket,
  verbose: boolean,
): Leg {
  const story = index.storyteller(forward)
  const replyRoot = findReply(log, index, roots, forward, story)
  const replyStory = replyRoot === undefined ? null : index.storyteller(replyRoot)
  return {
    story,
    fate: fateOf(story),
    walk: walkOf(index.story(story), cluster, log, verbose, routeStepsBefore(log, story)),
    reply: replyStory === null ? [] : walkOf(index.story(replyStory), cluster, log, verbose, null),
    replyFate: replyStory === null ? null : fateOf(replyStory),
  }
}

/** Made by the IP layer of that namespace: ARP begins at the device, what others sent begins elsewhere. */
export function isFirstIpPacketOf(p: LoggedPacket, netns: number): boolean {
  const first = p.steps[0]!
  return first.netns === netns && first.point !== T_TX && first.point !== T_RX && first.point !== T_CHILD
}

/** The first frame of the packet or of its pieces, null when none was sent. */
export function firstFrame(log: TraceLog, index: PacketIndex, root: LoggedPacket): CapturedFrame | null {
  let at = -1
  for (const p of index.family(root)) {
    const s = p.steps.find((x) => x.frame >= 0)
    if (s !== undefined && (at < 0 || s.frame < at)) at = s.frame
  }
  return at < 0 ? null : log.frames[at]!
}

/** The tuple as the place where the packet ended received it; of fragments, the first one has the ports. */
export function lastTuple(log: TraceLog, family: readonly LoggedPacket[], netns: number): FiveTuple | null {
  const ids = new Set(family.map((p) => p.id))
  const frames = log.frames.filter((f) => ids.has(f.packet) && f.netns === netns)
  const tuples = frames.flatMap((f) => parseFiveTuple(f.bytes) ?? [])
  return tuples.findLast((t) => t.sport !== 0) ?? tuples.at(-1) ?? null
}

/** The first packet that the place where the forward packet ended sent after that. */
export function findReply(
  log: TraceLog,
  index: PacketIndex,
  roots: readonly LoggedPacket[],
  forward: LoggedPacket,
  story: LoggedPacket,
): LoggedPacket | undefined {
  const end = story.steps.at(-1)!
  const family = new Set(index.family(forward).map((p) => p.id))
  const arrival = story.steps.find((s) => s.netns === end.netns)?.index ?? end.index
  return roots.find((p) => {
    const s = p.steps[0]!
    return !family.has(p.id) && isFirstIpPacketOf(p, end.netns) && s.index > arrival && !isBgp(log, p)
  })
}

/** Routers talk among themselves all the time. */
function isBgp(log: TraceLog, p: LoggedPacket): boolean {
  const at = p.steps.find((s) => s.frame >= 0)?.frame
  const t = at === undefined ? null : parseFiveTuple(log.frames[at]!.bytes)
  return t !== null && t.protocol === IPPROTO_TCP && (t.sport === BGP_PORT || t.dport === BGP_PORT)
}

/** The route lookups of the sender's socket, which have no packet yet. */
export function routeStepsBefore(log: TraceLog, p: LoggedPacket): ReturnType<TraceLog['at']>[] {
  const out = []
  const first = p.steps[0]!
  for (let i = first.index - 1; i >= 0; i--) {
    const s = log.at(i)
    if (s.packet !== 0 || s.netns !== first.netns) break
    out.unshift(s)
  }
  return out
}
