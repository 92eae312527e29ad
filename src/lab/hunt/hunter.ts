/**
 * The hunt: labs out of seeds, each on the real kernel and in the simulator, compared; what differs is shrunk and kept.
 *
 * A lab that differs is recorded again. When the kernel does not agree with itself the lab is counted as unstable, under
 * what changed between its two recordings; it is no difference of the simulator's and is never hidden as equal.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkLab, type LabDifference } from '../compare.ts'
import { runLab } from '../run.ts'
import { LabError, type LabResult, type LabScenario, UnmodelledError } from '../scenario.ts'
import { labSeed } from './dice.ts'
import type { Topic } from './draft.ts'
import { generateLab } from './generate.ts'
import { RecorderPool } from './pool.ts'
import { kindOf, shrink } from './shrink.ts'

const OTHER_SEED = 2
const SHRINK_MS = 60_000

/** What a hunt is asked to do. */
export interface HuntOptions {
  readonly seed: number
  readonly only: readonly Topic[]
  /** First lab. */
  readonly from: number
  /** Labs to run; Infinity with `forMs`. */
  readonly count: number
  /** Stop starting labs after this time. */
  readonly forMs: number
  /** Recorders at work at once. */
  readonly jobs: number
  readonly shrink: boolean
  /** Folder for fixtures of differences, null keeps none. */
  readonly keep: string | null
  readonly onLab?: (tally: HuntTally, lab: HuntedLab) => void
}

/** Counts of a hunt. */
export interface HuntTally {
  /** Next lab: all before it are done, apart from the ones at work. */
  next: number
  labs: number
  equal: number
  different: number
  unstable: number
  /** Refused by both sides: the generator made an impossible lab. */
  refused: number
  unmodelled: number
  frames: number
  steps: number
  /** Unstable labs by what changed between two recordings. */
  readonly reasons: { [reason: string]: number }
}

/** What came of one lab. */
export interface HuntedLab {
  readonly index: number
  readonly seed: number
  readonly outcome: 'equal' | 'different' | 'unstable' | 'refused' | 'unmodelled'
  readonly differences: readonly LabDifference[]
  /** The (shrunk) scenario of a difference. */
  readonly scenario?: LabScenario
  /** What was not modelled, or said by the tools that refused. */
  readonly message?: string
  /** File of the kept scenario. */
  readonly file?: string
}

/** A tally with nothing in it. */
export function emptyTally(next: number): HuntTally {
  const zero = { labs: 0, equal: 0, different: 0, unstable: 0, refused: 0, unmodelled: 0, frames: 0, steps: 0 }
  return { next, ...zero, reasons: {} }
}

/** Hunts; resolves when all labs are done. */
export async function hunt(o: HuntOptions): Promise<HuntTally> {
  const tally = emptyTally(o.from)
  const end = Date.now() + o.forMs
  const pool = new RecorderPool(o.jobs)
  const worker = async (): Promise<void> => {
    while (tally.next < o.from + o.count && Date.now() < end) {
      const index = tally.next++
      const lab = await huntOne(pool, o, index, tally)
      tally.labs++
      tally[lab.outcome]++
      o.onLab?.(tally, lab)
    }
  }
  try {
    await Promise.all(Array.from({ length: o.jobs }, worker))
  } finally {
    pool.close()
  }
  return tally
}

interface Sides {
  readonly kernel: LabResult | null
  readonly sim: LabResult | null
  readonly refusal: string
  readonly unmodelled: string
}

async function bothSides(pool: RecorderPool, s: LabScenario): Promise<Sides> {
  let kernel: LabResult | null = null
  let sim: LabResult | null = null
  let refusal = ''
  let unmodelled = ''
  try {
    kernel = await pool.record(s)
  } catch (e) {
    if (!(e instanceof LabError)) throw e
    refusal = `kernel: ${e.message}`
  }
  try {
    sim = runLab(s, { strict: true })
    // what the simulator drew (an IP ID, say) may be a number that the lab's own frames use: such a difference is gone
    // with other draws
    if (kernel !== null && withoutTiming(checkLab(sim, kernel), sim, kernel).length > 0)
      sim = runLab(s, { strict: true, seed: OTHER_SEED })
  } catch (e) {
    if (e instanceof UnmodelledError) unmodelled = e.message
    else
      refusal += ` podwalk: ${e instanceof LabError ? e.message : e instanceof Error ? (e.stack ?? e.message) : String(e)}`
  }
  return { kernel, sim, refusal, unmodelled }
}

/** One side refuses what the other takes. */
function setupDifference(s: Sides): LabDifference {
  return {
    kind: 'ops',
    place: 'set-up',
    message: s.refusal,
    expected: s.kernel === null ? 'refused' : 'accepted',
    got: s.sim === null ? 'refused' : 'accepted',
  }
}

function differencesOf(s: Sides): readonly LabDifference[] | null {
  if (s.unmodelled !== '' || (s.kernel === null && s.sim === null)) return null
  if (s.kernel === null || s.sim === null) return [setupDifference(s)]
  return withoutTiming(checkLab(s.sim, s.kernel), s.sim, s.kernel)
}

/**
 * Real steps take longer than virtual ones: a timer's frame (a TCP retransmission) may come a step earlier on the kernel.
 * The order of frames counts, the number of the step does not.
 */
function withoutTiming(differences: readonly LabDifference[], a: LabResult, b: LabResult): readonly LabDifference[] {
  const sequence = (r: LabResult): string => r.events.map((e) => `${e[1]} ${e[2]} ${e[3]}`).join('|')
  if (!differences.some((d) => d.kind === 'order') || sequence(a) !== sequence(b)) return differences
  return differences.filter((d) => d.kind !== 'order')
}

async function huntOne(pool: RecorderPool, o: HuntOptions, index: number, tally: HuntTally): Promise<HuntedLab> {
  const seed = labSeed(o.seed, index)
  const lab = { index, seed }
  const scenario = generateLab(seed, o.only)
  const sides = await bothSides(pool, scenario)
  tally.frames += sides.kernel?.events.length ?? 0
  tally.steps += scenario.steps.length
  const differences = differencesOf(sides)
  if (differences === null) {
    if (sides.unmodelled !== '')
      return { ...lab, outcome: 'unmodelled', differences: [], message: sides.unmodelled, scenario }
    return { ...lab, outcome: 'refused', differences: [], message: sides.refusal, scenario }
  }
  if (differences.length === 0) return { ...lab, outcome: 'equal', differences: [] }
  if (sides.kernel !== null) {
    const again = await bothSides(pool, scenario)
    const moved = again.kernel === null ? [setupDifference(again)] : checkLab(again.kernel, sides.kernel)
    if (moved.length > 0) {
      const reason = kindOf(moved)
      tally.reasons[reason] = (tally.reasons[reason] ?? 0) + 1
      return { ...lab, outcome: 'unstable', differences: moved, scenario }
    }
  }
  // a lab with retransmissions takes seconds for each try
  const until = Date.now() + SHRINK_MS
  const differ = async (s: LabScenario): Promise<readonly LabDifference[] | null> =>
    Date.now() > until ? null : differencesOf(await bothSides(pool, s))
  const smallest = o.shrink ? await shrink(scenario, kindOf(differences), differ) : scenario
  const last = await bothSides(pool, smallest)
  const found = differencesOf(last) ?? differences
  if (found.length === 0) return notRepeated(pool, scenario, lab, tally)
  const file = o.keep === null || last.kernel === null ? undefined : keep(o.keep, smallest, last.kernel)
  return {
    ...lab,
    outcome: 'different',
    differences: found,
    scenario: smallest,
    ...(file === undefined ? {} : { file }),
  }
}

/** Shrinking ended at a lab that is equal: the kernel changed its mind on the way, or the whole lab is the fixture. */
async function notRepeated(
  pool: RecorderPool,
  scenario: LabScenario,
  lab: { readonly index: number; readonly seed: number },
  tally: HuntTally,
): Promise<HuntedLab> {
  const whole = differencesOf(await bothSides(pool, scenario)) ?? []
  if (whole.length > 0) return { ...lab, outcome: 'different', differences: whole, scenario, message: 'not shrunk' }
  tally.reasons['not repeated'] = (tally.reasons['not repeated'] ?? 0) + 1
  return { ...lab, outcome: 'unstable', differences: [], scenario }
}

/** Writes scenario and recording as the conformance suite reads them. */
function keep(folder: string, s: LabScenario, kernel: LabResult): string {
  mkdirSync(join(folder, 'scenarios'), { recursive: true })
  mkdirSync(join(folder, 'golden'), { recursive: true })
  const { raw: _raw, volatile: _volatile, ...golden } = kernel
  const file = join(folder, 'scenarios', `${s.name}.json`)
  writeFileSync(file, `${JSON.stringify(s, null, 1)}\n`)
  writeFileSync(join(folder, 'golden', `${s.name}.json`), `${JSON.stringify(golden)}\n`)
  return file
}
