/**
 * `npm run hunt`: random labs on the real kernel and in the simulator until time or count is over.
 *
 * Needs Linux and root. Prints the seed, a progress line on a terminal, every difference with its scenario, and a summary;
 * exit code 1 when something differed, 2 for wrong options, 5 when the real kernel cannot be asked.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { formatDifferences } from '../lab/compare.ts'
import { TOPICS, type Topic } from '../lab/hunt/draft.ts'
import { emptyTally, type HuntedLab, type HuntOptions, type HuntTally, hunt } from '../lab/hunt/hunter.ts'
import { linuxBackendReason } from '../lab/linux.ts'
import { EXIT_NO, EXIT_SERVICE, EXIT_USAGE } from './exit.ts'

const USAGE = `Usage: npm run hunt -- [options]

  --seed N         base seed (default: from the clock; printed)
  --count N        number of labs (default 1000 without --for)
  --for TIME       stop after 90s, 10m, 2h
  --only A,B       topics: ${TOPICS.join(',')}
  --jobs J         recorders at work at once (default 4)
  --from N         first lab of the seed (default 0)
  --resume         go on where the state file of this seed ended
  --state FILE     state file (default: in the temporary folder, by seed)
  --no-shrink      keep failing labs as they are
  --keep DIR       folder for differences (default test/fixtures/hunted)
  --no-keep        write no fixtures
`

const SAVE_EVERY_MS = 2000
const PROGRESS_EVERY_MS = 500

interface State {
  readonly seed: number
  readonly only: readonly string[]
  readonly tally: HuntTally
}

function fail(message: string): never {
  process.stderr.write(`${message}\n\n${USAGE}`)
  process.exit(EXIT_USAGE)
}

function natural(text: string | undefined, name: string, or: number): number {
  if (text === undefined) return or
  if (!/^\d{1,10}$/.test(text)) fail(`error: --${name} needs a number, got '${text}'`)
  return Number(text)
}

function duration(text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY
  const m = /^(\d+)(s|m|h)$/.exec(text)
  if (m === null) fail(`error: --for needs a time such as 90s, 10m or 2h, got '${text}'`)
  return Number(m[1]) * (m[2] === 's' ? 1000 : m[2] === 'm' ? 60_000 : 3_600_000)
}

function topics(text: string | undefined): Topic[] {
  if (text === undefined) return []
  return text.split(',').map((t) => {
    const topic = TOPICS.find((x) => x === t)
    if (topic === undefined) fail(`error: --only knows ${TOPICS.join(',')}, not '${t}'`)
    return topic
  })
}

function summary(t: HuntTally, ms: number): string {
  const minutes = ms / 60_000
  const reasons = Object.entries(t.reasons).map(([r, n]) => `${r}: ${n}`)
  return (
    `${t.labs} labs, ${t.frames} frames, ${t.equal} equal, ${t.different} different, ${t.unstable} unstable` +
    `${reasons.length > 0 ? ` (${reasons.join(', ')})` : ''}, ${t.refused} refused by both, ${t.unmodelled} unmodelled, ` +
    `${Math.round(t.labs / minutes)} labs a minute`
  )
}

function report(lab: HuntedLab): string {
  const head = `lab ${lab.index} seed ${lab.seed}: ${lab.outcome}${lab.message === undefined ? '' : `: ${lab.message}`}`
  const where = lab.file === undefined ? '' : `\nkept: ${lab.file}`
  return `${head}\n${formatDifferences(lab.differences)}${where}\n`
}

async function main(): Promise<void> {
  const { values: v } = parseArgs({
    options: {
      seed: { type: 'string' },
      count: { type: 'string' },
      for: { type: 'string' },
      only: { type: 'string' },
      jobs: { type: 'string' },
      from: { type: 'string' },
      resume: { type: 'boolean', default: false },
      state: { type: 'string' },
      'no-shrink': { type: 'boolean', default: false },
      keep: { type: 'string', default: 'test/fixtures/hunted' },
      'no-keep': { type: 'boolean', default: false },
      verbose: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (v.help) {
    process.stdout.write(USAGE)
    return
  }
  const reason = linuxBackendReason({
    name: '',
    netns: [],
    steps: [{ op: 'iptables' }],
    state: [{ ns: '', kind: 'conntrack' }],
  })
  if (reason !== null) {
    process.stderr.write(`error: the hunt ${reason}\n`)
    process.exit(EXIT_SERVICE)
  }
  const seed = natural(v.seed, 'seed', Date.now() % 0xffffffff)
  const only = topics(v.only)
  const forMs = duration(v.for)
  const stateFile = v.state ?? join(tmpdir(), `podwalk-hunt-${seed}.json`)
  const before = v.resume && existsSync(stateFile) ? (JSON.parse(readFileSync(stateFile, 'utf8')) as State) : null
  const from = before?.tally.next ?? natural(v.from, 'from', 0)
  process.stdout.write(`seed ${seed}${only.length > 0 ? ` only ${only.join(',')}` : ''} from lab ${from}\n`)
  const started = Date.now()
  let saved = 0
  let shown = 0
  const tty = process.stderr.isTTY === true
  const save = (t: HuntTally): void =>
    writeFileSync(stateFile, JSON.stringify({ seed, only, tally: added(before?.tally ?? emptyTally(0), t) }))
  const options: HuntOptions = {
    seed,
    only,
    from,
    count: natural(v.count, 'count', v.for === undefined ? 1000 : Number.MAX_SAFE_INTEGER),
    forMs,
    jobs: Math.max(1, natural(v.jobs, 'jobs', 4)),
    shrink: !v['no-shrink'],
    keep: v['no-keep'] ? null : v.keep,
    onLab(t, lab) {
      const now = Date.now()
      if (lab.outcome === 'different' || (v.verbose && lab.outcome !== 'equal')) {
        process.stdout.write(`${tty ? '\r\u001b[K' : ''}${report(lab)}`)
      }
      if (tty && now - shown > PROGRESS_EVERY_MS) {
        shown = now
        process.stderr.write(`\r\u001b[K${summary(t, now - started)}`)
      }
      if (now - saved > SAVE_EVERY_MS) {
        saved = now
        save(t)
      }
    },
  }
  const tally = await hunt(options)
  save(tally)
  if (tty) process.stderr.write('\r\u001b[K')
  process.stdout.write(`${summary(tally, Date.now() - started)}\n`)
  if (tally.different > 0) process.exitCode = EXIT_NO
}

/** The tally of a resumed hunt. */
function added(a: HuntTally, b: HuntTally): HuntTally {
  const reasons = { ...a.reasons }
  for (const [r, n] of Object.entries(b.reasons)) reasons[r] = (reasons[r] ?? 0) + n
  return {
    next: b.next,
    labs: a.labs + b.labs,
    equal: a.equal + b.equal,
    different: a.different + b.different,
    unstable: a.unstable + b.unstable,
    refused: a.refused + b.refused,
    unmodelled: a.unmodelled + b.unmodelled,
    frames: a.frames + b.frames,
    steps: a.steps + b.steps,
    reasons,
  }
}

await main()
