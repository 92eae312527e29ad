/**
 * The connections that go on from where the first one ended: a proxy that accepted it opened another, and so may the next.
 *
 * Found in the log: the first SYN that the namespace where a connection ended sends after that. A pod that answers by
 * itself sends none.
 */
import { formatIpv4 } from '../addr/index.ts'
import type { Cluster } from '../cluster/build.ts'
import type { TraceLog } from '../engine/trace-log.ts'
import { ETH_HLEN } from '../packet/layout.ts'
import { isFirstIpPacketOf, lastTuple, legOf } from './legs.ts'
import type { LoggedPacket, PacketIndex } from './packets.ts'
import type { Delivered, TraceOnward } from './trace-types.ts'

const IPPROTO_TCP = 6
const TCP_FLAGS = 13
const SYN = 2
const SYN_ACK = 18
/** Proxies in a row that are followed. */
const MAX_LEGS = 8

/** The connections behind the one whose packet is `story`. */
export function onwardLegs(
  cluster: Cluster,
  log: TraceLog,
  index: PacketIndex,
  story: LoggedPacket,
  verbose: boolean,
): TraceOnward[] {
  const roots = index.roots()
  const out: TraceOnward[] = []
  let end = story.steps.at(-1)!
  while (out.length < MAX_LEGS) {
    const forward = roots.find((p) => p.steps[0]!.index > end.index && isFirstIpPacketOf(p, end.netns) && isSyn(p, log))
    if (forward === undefined) break
    const leg = legOf(cluster, log, index, roots, forward, verbose)
    const { verdict, code, text } = leg.fate
    const reply = leg.replyFate
    const place = cluster.places.get(end.netns)
    out.push({
      from: place?.netns ?? cluster.world.namespaces[end.netns]!.name,
      verdict,
      reason: { code, text },
      delivered: verdict === 'DELIVERED' ? deliveredOf(cluster, log, index.family(forward), leg.story) : null,
      walk: leg.walk,
      reply: leg.reply,
      replyVerdict: reply && { verdict: reply.verdict, code: reply.code, text: reply.text },
    })
    end = leg.story.steps.at(-1)!
  }
  return out
}

/** What the place where a packet ended saw of it. */
export function deliveredOf(
  cluster: Cluster,
  log: TraceLog,
  family: readonly LoggedPacket[],
  story: LoggedPacket,
): Delivered | null {
  const end = story.steps.at(-1)!
  const t = lastTuple(log, family, end.netns)
  if (t === null) return null
  const place = cluster.places.get(end.netns)
  return {
    pod: place?.pod === undefined ? null : `${place.pod.namespace}/${place.pod.name}`,
    node: place?.node ?? null,
    src: formatIpv4(t.src),
    sport: t.sport,
    dst: formatIpv4(t.dst),
    dport: t.dport,
  }
}

function isSyn(p: LoggedPacket, log: TraceLog): boolean {
  const at = p.steps.find((s) => s.frame >= 0)?.frame
  if (at === undefined) return false
  const { bytes } = log.frames[at]!
  const l4 = ETH_HLEN + (bytes[ETH_HLEN]! & 15) * 4
  return bytes[ETH_HLEN + 9] === IPPROTO_TCP && (bytes[l4 + TCP_FLAGS]! & SYN_ACK) === SYN
}
