/** Virtual time and randomness: the timer heap against a sorted array, the random stream against recorded values. */
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { Random } from '../../../src/linux/random.ts'
import { Timer, TimerQueue } from '../../../src/linux/timers.ts'
import { World } from '../../../src/linux/world.ts'

describe('TimerQueue', () => {
  it('fires in order of expiry, and of arming where expiry is the same, under any arm, move, cancel and pop', () => {
    const op = fc.record({
      kind: fc.constantFrom('arm', 'arm', 'arm', 'cancel', 'pop'),
      timer: fc.nat({ max: 19 }),
      at: fc.nat({ max: 30 }),
    })
    fc.assert(
      fc.property(fc.array(op, { maxLength: 200 }), (ops) => {
        const q = new TimerQueue()
        const timers = Array.from({ length: 20 }, () => new Timer(() => {}))
        let twin: { t: Timer; at: number; seq: number }[] = []
        let seq = 0
        for (const o of ops) {
          const t = timers[o.timer]!
          if (o.kind === 'arm') {
            q.arm(t, o.at)
            twin = twin.filter((x) => x.t !== t)
            twin.push({ t, at: o.at, seq: seq++ })
          } else if (o.kind === 'cancel') {
            q.cancel(t)
            twin = twin.filter((x) => x.t !== t)
          } else {
            twin.sort((x, y) => x.at - y.at || x.seq - y.seq)
            expect(q.pop()).toBe(twin.shift()?.t ?? null)
          }
          expect(q.nextNs()).toBe(Math.min(...twin.map((x) => x.at)))
          for (const x of timers) expect(x.armed).toBe(twin.some((y) => y.t === x))
        }
      }),
    )
  })
})

describe('World time', () => {
  it('runs timers at their own time, also those that timers arm, and stops at the end', () => {
    const w = new World()
    const seen: [string, number][] = []
    const late = new Timer(() => seen.push(['late', w.nowNs]))
    const first = new Timer(() => {
      seen.push(['first', w.nowNs])
      w.timers.arm(second, w.nowNs + 5)
    })
    const second = new Timer(() => seen.push(['second', w.nowNs]))
    w.timers.arm(late, 101)
    w.timers.arm(first, 10)
    w.runUntil(100)
    expect(seen).toEqual([
      ['first', 10],
      ['second', 15],
    ])
    expect(w.nowNs).toBe(100)
    w.runUntil(101)
    expect(seen.at(-1)).toEqual(['late', 101])
  })

  it('does not go back when a timer was armed in the past', () => {
    const w = new World()
    w.runUntil(50)
    let at = -1
    w.timers.arm(new Timer(() => (at = w.nowNs)), 20)
    w.runUntil(60)
    expect(at).toBe(50)
  })

  it('waits for quiet: stands still when no frame was seen for that long, at most the limit', () => {
    const w = new World()
    let left = 3
    const t = new Timer(() => {
      w.frameCount++
      if (--left > 0) w.timers.arm(t, w.nowNs + 20)
    })
    w.timers.arm(t, 20)
    w.runUntilQuiet(25, 1000)
    expect(left).toBe(0)
    expect(w.nowNs).toBe(60 + 25)
    w.runUntilQuiet(500, 100)
    expect(w.nowNs).toBe(85 + 100)
  })
})

describe('Random', () => {
  it('gives the same stream for the same seed, for ever', () => {
    const r = new Random(1)
    expect([r.u32(), r.u32(), r.u32(), r.u32()]).toEqual(RECORDED)
    const other = new Random(2)
    expect(other.u32()).not.toBe(RECORDED[0])
  })

  it('stays below the bound and reaches all of it', () => {
    const r = new Random(7)
    const seen = new Set<number>()
    for (let i = 0; i < 500; i++) {
      const n = r.below(10)
      expect(Number.isInteger(n) && n >= 0 && n < 10).toBe(true)
      seen.add(n)
    }
    expect(seen.size).toBe(10)
  })
})

// the stream is part of the interface: "same input and seed, same bytes"
const RECORDED = [2166720167, 3801348702, 348472735, 2235534797]
