/**
 * A hunt of 200 labs with a fixed seed: the real kernel and the simulator do the same in all of them.
 *
 * Labs in which the kernel does not agree with itself are counted, not hidden: there may be only a few. HUNT_SEED asks for
 * another hunt.
 */
import { expect, it } from '@jest/globals'
import { formatDifferences } from '../../src/lab/compare.ts'
import { type HuntedLab, hunt } from '../../src/lab/hunt/hunter.ts'
import { describeKernel } from '../support/kernel.ts'

const TOOLS = ['python3', 'bridge', 'iptables-legacy-restore', 'iptables-legacy-save', 'ipset', 'conntrack']
const LABS = 200
const MAX_UNSTABLE = 12
const TIMEOUT_MS = 180_000

describeKernel('hunt', TOOLS, () => {
  it(
    `finds no difference in ${LABS} labs`,
    async () => {
      const odd: HuntedLab[] = []
      const tally = await hunt({
        seed: Number(process.env.HUNT_SEED ?? 2026),
        only: [],
        from: 0,
        count: LABS,
        forMs: TIMEOUT_MS,
        jobs: 4,
        shrink: false,
        keep: null,
        onLab: (_t, lab) => void (lab.outcome === 'different' && odd.push(lab)),
      })
      expect(odd.map((l) => `lab ${l.index} seed ${l.seed}\n${formatDifferences(l.differences)}`).join('\n')).toBe('')
      expect(tally.labs).toBe(LABS)
      expect(tally.frames).toBeGreaterThan(10 * LABS)
      expect(tally.equal).toBeGreaterThanOrEqual(LABS - MAX_UNSTABLE)
      expect(tally.unstable).toBeLessThanOrEqual(MAX_UNSTABLE)
    },
    TIMEOUT_MS + 30_000,
  )

  it(
    'records in a batch what the recorder records alone, also after a lab that was refused',
    async () => {
      const { runLab } = await import('../../src/lab/run.ts')
      const { generateLab } = await import('../../src/lab/hunt/generate.ts')
      const { RecorderPool } = await import('../../src/lab/hunt/pool.ts')
      const { checkLab } = await import('../../src/lab/compare.ts')
      const pool = new RecorderPool(1)
      const lab = generateLab(4242)
      const batch = await pool.record(lab)
      await expect(
        pool.record({
          name: 'bad',
          netns: ['a'],
          routes: [{ ns: 'a', dst: '10.0.0.0/8', via: '10.1.1.1' }],
          steps: [],
        }),
      ).rejects.toThrow(/Nexthop has invalid gateway/)
      expect((await pool.record(lab)).events.length).toBe(batch.events.length)
      pool.close()
      expect(formatDifferences(checkLab(batch, runLab(lab, { backend: 'linux' })))).toBe('')
    },
    TIMEOUT_MS,
  )
})
