/** The timer queue by the hold model: 10,000 pending, the earliest fires and is armed again. */
import { Random } from '../../src/linux/random.ts'
import { Timer, TimerQueue } from '../../src/linux/timers.ts'
import { measure } from '../harness.ts'
import type { Suite } from '../suites.ts'

const PENDING = 10_000
const BATCH = 100_000

/** micro/timers-hold */
export const timersSuite: Suite = async () => {
  const random = new Random(1)
  const queue = new TimerQueue()
  for (let i = 0; i < PENDING; i++) queue.arm(new Timer(() => {}), random.below(1_000_000))
  let last = 0
  const row = await measure({
    name: 'micro/timers-hold',
    unit: 'ops/s',
    operations: BATCH,
    run() {
      for (let i = 0; i < BATCH; i++) {
        const t = queue.pop()!
        if (t.atNs < last) throw new Error('time ran backwards')
        last = t.atNs
        queue.arm(t, last + random.below(1_000_000))
      }
    },
  })
  return [row]
}
