/**
 * The end of a packet, and its copies: kfree_skb, consume_skb, skb_clone.
 *
 * Linux: net/core/skbuff.c. A drop carries a reason (enum skb_drop_reason) to the tracer; the conntrack entry that the
 * packet holds is put back (nf_conntrack_put), which frees an entry that was never confirmed.
 */
import { M_CT, M_DEV, M_ID, META_SHIFT } from '../../packet/layout.ts'
import { nfConntrackHold, nfConntrackPut } from '../netfilter/conntrack/core.ts'
import { R_CONSUMED, R_UNMODELLED } from '../reasons.ts'
import { T_CHILD, T_END } from '../trace.ts'
import type { World } from '../world.ts'

/**
 * kfree_skb_reason: ends the packet.
 * @param reason a code of reasons.ts
 * @param detail an integer for the trace (errno, address ...)
 * @param ref an object or constant text for the trace
 */
export function freeSkb(w: World, slot: number, reason: number, detail = 0, ref: unknown = null): void {
  if (w.tracer !== null) traceEnd(w, slot, reason, detail, ref)
  if (reason === R_UNMODELLED) {
    w.unmodelled++
    w.unmodelledRef = ref
  }
  if (w.arena.meta[(slot << META_SHIFT) + M_CT] !== 0) nfConntrackPut(w, slot)
  w.arena.free(slot)
}

/** consume_skb: the packet ended as it should. */
export function consumeSkb(w: World, slot: number): void {
  freeSkb(w, slot, R_CONSUMED)
}

/** skb_clone + skb_copy: a second packet with the same bytes, -1 when the arena is full. */
export function cloneSkb(w: World, slot: number): number {
  const copy = w.arena.clone(slot)
  if (copy < 0) return -1
  if (w.arena.meta[(slot << META_SHIFT) + M_CT] !== 0) nfConntrackHold(w, copy)
  if (w.tracer !== null) {
    const dev = w.devices[w.arena.meta[(slot << META_SHIFT) + M_DEV]!]
    if (dev != null) w.tracer.step(T_CHILD, slot, dev.ns, dev, w.arena.meta[(copy << META_SHIFT) + M_ID]!, 1, 0, null)
  }
  return copy
}

function traceEnd(w: World, slot: number, reason: number, detail: number, ref: unknown): void {
  const dev = w.devices[w.arena.meta[(slot << META_SHIFT) + M_DEV]!]
  const ns = dev?.ns ?? w.namespaces[0]
  if (ns !== undefined) w.tracer!.step(T_END, slot, ns, dev ?? null, reason, detail, 0, ref)
}
