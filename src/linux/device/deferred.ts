/**
 * Frames that wait for a work queue: macvlan and ipvlan hand out broadcasts and multicasts later, in process context.
 *
 * Linux: drivers/net/macvlan.c (bc_work), drivers/net/ipvlan (ipvlan_work_func). The work runs when the packet that queued
 * it has been handled to its end; no virtual time passes.
 */

import { Timer } from '../timers.ts'
import type { World } from '../world.ts'

/** A queue of packets and the work that empties it. */
export class DeferredFrames {
  private slots: number[] = []
  private readonly w: World
  private readonly timer: Timer

  constructor(w: World, handle: (slot: number) => void) {
    this.w = w
    this.timer = new Timer(() => {
      // process context: what a frame sets off is handled before the next one (local_bh_enable)
      this.w.inSoftirq = false
      while (this.slots.length > 0) {
        handle(this.slots.shift()!)
        this.w.softirq()
      }
    })
  }

  /** Puts a packet at the end; the queue owns it. */
  push(slot: number): void {
    this.slots.push(slot)
    if (!this.timer.armed) this.w.timers.arm(this.timer, this.w.nowNs)
  }

  /** Gives the packets that still wait to `drop`. */
  clear(drop: (slot: number) => void): void {
    this.w.timers.cancel(this.timer)
    for (const slot of this.slots) drop(slot)
    this.slots = []
  }
}
