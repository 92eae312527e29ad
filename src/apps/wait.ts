/**
 * A process that waits: virtual time runs, timer by timer, until what it waits for is there.
 *
 * Linux: poll(2) with a timeout. No scheduling delay is modelled.
 */
import type { World } from '../linux/world.ts'

/** Lets time pass until `isDone` or `untilNs`. @returns whether it was done */
export function waitFor(w: World, untilNs: number, isDone: () => boolean): boolean {
  w.softirq()
  for (;;) {
    if (isDone()) return true
    if (w.nowNs >= untilNs) return false
    w.runUntil(Math.min(Math.max(w.timers.nextNs(), w.nowNs), untilNs))
  }
}
