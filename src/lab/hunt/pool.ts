/**
 * Recorders that stay: a few Python processes, each recording one lab after the other on the real kernel.
 *
 * A process that dies or falls silent is replaced and its lab fails once; the caller tries again or counts it.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { cpus } from 'node:os'
import { createInterface } from 'node:readline'
import { recorderFile, TOOL_ENV } from '../linux.ts'
import { LabError, type LabResult, type LabScenario } from '../scenario.ts'

interface Job {
  readonly scenario: LabScenario
  readonly done: (r: LabResult) => void
  readonly failed: (e: Error) => void
}

interface Answer {
  readonly result?: LabResult
  readonly refused?: string
}

const SILENT_MS = 60_000

class Recorder {
  private readonly child: ChildProcessWithoutNullStreams
  private job: Job | null = null
  private timer: NodeJS.Timeout | undefined
  private said = ''
  private readonly free: () => void

  constructor(cpu: number, free: () => void) {
    this.free = free
    this.child = spawn('python3', [recorderFile('batch.py'), String(cpu)], { env: TOOL_ENV })
    createInterface({ input: this.child.stdout }).on('line', (line) => this.answer(line))
    this.child.stderr.on('data', (b: Buffer) => {
      this.said = (this.said + b.toString()).slice(-2000)
    })
    this.child.stdin.on('error', () => undefined)
    this.child.on('close', () => this.end(new Error(`the recorder ended: ${this.said.trim()}`)))
    this.child.on('error', (e) => this.end(e))
  }

  alive = true

  get busy(): boolean {
    return this.job !== null
  }

  start(job: Job): void {
    this.job = job
    this.timer = setTimeout(() => this.child.kill(), SILENT_MS)
    this.child.stdin.write(`${JSON.stringify(job.scenario)}\n`)
  }

  close(): void {
    this.child.stdin.end()
  }

  private answer(line: string): void {
    const job = this.job
    if (job === null) return
    this.job = null
    clearTimeout(this.timer)
    const a = JSON.parse(line) as Answer
    if (a.result !== undefined) job.done(a.result)
    else job.failed(new LabError(a.refused ?? 'the recorder gave no result'))
    this.free()
  }

  private end(e: Error): void {
    this.alive = false
    clearTimeout(this.timer)
    const job = this.job
    this.job = null
    job?.failed(e)
    this.free()
  }
}

/** Records labs on the real kernel, several at a time. */
export class RecorderPool {
  private readonly recorders: Recorder[] = []
  private readonly queue: Job[] = []
  private readonly size: number
  private closed = false

  constructor(size: number) {
    this.size = size
  }

  /** Records a lab; LabError when the kernel refuses one of its commands. */
  record(scenario: LabScenario): Promise<LabResult> {
    return new Promise((done, failed) => {
      this.queue.push({ scenario, done, failed })
      this.next()
    })
  }

  /** Ends the recorders once they are idle. */
  close(): void {
    this.closed = true
    for (const r of this.recorders) if (!r.busy) r.close()
  }

  private next(): void {
    if (this.closed) return
    for (let i = 0; i < this.size && this.queue.length > 0; i++) {
      const r = this.recorders[i]
      if (r?.busy === true) continue
      const ready = r?.alive === true ? r : new Recorder(i % cpus().length, () => this.next())
      this.recorders[i] = ready
      ready.start(this.queue.shift()!)
    }
  }
}
