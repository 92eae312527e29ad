/**
 * Which packets a log speaks of: identities, copies, beginnings and ends.
 *
 * A packet keeps its id over its whole way; a flood copy or a fragment has its own and names its parent. What a packet
 * caused (an ICMP error, an answer) is another packet.
 */
import type { TraceLog, TraceStep } from '../engine/trace-log.ts'
import { R_BRIDGE_NO_PORT, R_OTHERHOST, reasonOf, type Verdict } from '../linux/reasons.ts'
import { T_CHILD, T_END, T_IP_LOCAL, T_NEIGH_QUEUE, T_SOCK } from '../linux/trace.ts'

/** One id in the log. */
export interface LoggedPacket {
  readonly id: number
  /** Id that this is a copy or piece of, 0 when it is a packet of its own. */
  readonly copyOf: number
  readonly steps: TraceStep[]
}

/** How a packet ended. */
export interface Fate {
  readonly verdict: Verdict
  /** Reason symbol of linux/reasons.ts. */
  readonly code: string
  readonly text: string
  readonly hint: string
  /** The step that decided, null when the packet is still on its way. */
  readonly step: TraceStep | null
}

/** All packets of a log, in order of first appearance. */
export class PacketIndex {
  readonly packets = new Map<number, LoggedPacket>()
  private readonly children = new Map<number, number[]>()

  constructor(log: TraceLog) {
    const copies = new Map<number, number>()
    for (const s of log.steps()) {
      if (s.packet === 0) continue
      if (s.point === T_CHILD && s.b === 1) copies.set(s.a, s.packet)
      let p = this.packets.get(s.packet)
      if (p === undefined) {
        p = { id: s.packet, copyOf: copies.get(s.packet) ?? 0, steps: [] }
        this.packets.set(s.packet, p)
        if (p.copyOf !== 0) {
          const list = this.children.get(p.copyOf)
          if (list === undefined) this.children.set(p.copyOf, [p.id])
          else list.push(p.id)
        }
      }
      p.steps.push(s)
    }
  }

  /** Packets that are nobody's copy, in order of first appearance. */
  roots(): LoggedPacket[] {
    return [...this.packets.values()].filter((p) => p.copyOf === 0)
  }

  /** The packet and all its copies and pieces. */
  family(root: LoggedPacket): LoggedPacket[] {
    const out = [root]
    for (let i = 0; i < out.length; i++) {
      for (const id of this.children.get(out[i]!.id) ?? []) out.push(this.packets.get(id)!)
    }
    return out
  }

  /** The member of the family that tells the story: delivered, else rejected or dropped for a reason that matters. */
  storyteller(root: LoggedPacket): LoggedPacket {
    let best = root
    let score = -1
    for (const p of this.family(root)) {
      const s = rank(p)
      if (s > score) {
        best = p
        score = s
      }
    }
    return best
  }

  /** Steps from the beginning to the end of `p`: those of its ancestors up to the copy, then its own. */
  story(p: LoggedPacket): TraceStep[] {
    if (p.copyOf === 0) return p.steps
    const first = p.steps[0]!.index
    const parent = this.packets.get(p.copyOf)
    const before = parent === undefined ? [] : this.story(parent).filter((s) => s.index < first)
    return [...before, ...p.steps]
  }
}

function rank(p: LoggedPacket): number {
  if (p.steps.some((s) => s.point === T_SOCK)) return 5
  const end = p.steps.at(-1)!
  if (end.point !== T_END) return p.steps.some((s) => s.point === T_NEIGH_QUEUE) ? 2 : 1
  if (end.a === R_OTHERHOST || end.a === R_BRIDGE_NO_PORT) return 0
  if (p.steps.some((s) => s.point === T_IP_LOCAL)) return 4
  // Of the copies of a flooded ARP request the one that somebody took counts.
  return reasonOf(end.a).verdict === 'DELIVERED' ? 3.5 : 3
}

/** How the packet that tells the story ended. */
export function fateOf(p: LoggedPacket): Fate {
  const end = p.steps.findLast((s) => s.point === T_END) ?? null
  const sock = p.steps.find((s) => s.point === T_SOCK) ?? null
  if (end !== null) {
    const r = reasonOf(end.a)
    if (r.verdict !== 'DELIVERED') return { verdict: r.verdict, code: r.symbol, text: r.text, hint: r.hint, step: end }
  }
  if (sock !== null) {
    return {
      verdict: 'DELIVERED',
      code: 'CONSUMED',
      text: 'A socket took the packet.',
      hint: 'It arrived.',
      step: sock,
    }
  }
  const local = p.steps.findLast((s) => s.point === T_IP_LOCAL) ?? null
  if (end !== null && local !== null) {
    return {
      verdict: 'DELIVERED',
      code: 'CONSUMED',
      text: 'The host took the packet.',
      hint: 'It arrived.',
      step: local,
    }
  }
  if (end !== null)
    return { verdict: 'DELIVERED', code: 'CONSUMED', text: 'The packet was taken.', hint: 'It arrived.', step: end }
  return {
    verdict: 'DROPPED',
    code: 'PENDING',
    text: 'The packet still waits.',
    hint: 'It is queued for a neighbour or a fragment that did not come in time.',
    step: null,
  }
}
