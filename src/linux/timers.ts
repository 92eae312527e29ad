/**
 * Virtual time: a binary heap of timers ordered by (expiry, sequence).
 *
 * Linux: add_timer, mod_timer, del_timer (kernel/time/timer.c). Expiry is exact to the nanosecond here: jiffies rounding
 * is not modelled. A timer's callback is set once at creation, not per arm.
 */

/** A timer that can be armed, moved and cancelled any number of times. */
export class Timer {
  /** Expiry in virtual nanoseconds; meaningful while armed. */
  atNs = 0
  /** Position in the heap, -1 when not armed. */
  index = -1
  seq = 0
  readonly fire: () => void

  constructor(fire: () => void) {
    this.fire = fire
  }

  /** timer_pending */
  get armed(): boolean {
    return this.index >= 0
  }
}

/** All timers of one world. */
export class TimerQueue {
  private readonly heap: Timer[] = []
  private seq = 0

  /** How often a timer was armed: tells whether something armed one in between. */
  get armed(): number {
    return this.seq
  }

  /** mod_timer: arms or moves the timer. */
  arm(t: Timer, atNs: number): void {
    t.atNs = atNs
    t.seq = ++this.seq
    if (t.index < 0) {
      t.index = this.heap.length
      this.heap.push(t)
      this.up(t.index)
    } else {
      this.up(t.index)
      this.down(t.index)
    }
  }

  /** del_timer */
  cancel(t: Timer): void {
    const i = t.index
    if (i < 0) return
    const last = this.heap.pop()!
    t.index = -1
    if (last !== t) {
      this.heap[i] = last
      last.index = i
      this.up(i)
      this.down(last.index)
    }
  }

  /** Expiry of the earliest timer, Infinity when none is armed. */
  nextNs(): number {
    return this.heap.length === 0 ? Infinity : this.heap[0]!.atNs
  }

  /** Takes the earliest timer off the heap, null when none. */
  pop(): Timer | null {
    const t = this.heap[0]
    if (t === undefined) return null
    this.cancel(t)
    return t
  }

  private less(a: Timer, b: Timer): boolean {
    return a.atNs < b.atNs || (a.atNs === b.atNs && a.seq < b.seq)
  }

  private up(i: number): void {
    const h = this.heap
    const t = h[i]!
    while (i > 0) {
      const p = (i - 1) >> 1
      if (!this.less(t, h[p]!)) break
      h[i] = h[p]!
      h[i]!.index = i
      i = p
    }
    h[i] = t
    t.index = i
  }

  private down(i: number): void {
    const h = this.heap
    const t = h[i]!
    for (;;) {
      let c = 2 * i + 1
      if (c >= h.length) break
      if (c + 1 < h.length && this.less(h[c + 1]!, h[c]!)) c++
      if (!this.less(h[c]!, t)) break
      h[i] = h[c]!
      h[i]!.index = i
      i = c
    }
    h[i] = t
    t.index = i
  }
}
