/**
 * The trace log: every trace point that the data path reports, as rows of integers.
 *
 * One row of ROW_WORDS int32 per step, a float64 for the time and a reference beside it; bytes of frames are copied only
 * when asked for. Formatting happens later (query, report). Source of the idea: VPP's per-node trace records.
 */

import type { NetDevice } from '../linux/device/device.ts'
import type { Netns } from '../linux/netns.ts'
import { T_RX, T_TX, type Tracer } from '../linux/trace.ts'
import type { World } from '../linux/world.ts'
import { M_CT, M_ID, M_LEN, M_PARENT, META_SHIFT } from '../packet/layout.ts'

/** int32 words of a row. */
const ROW_WORDS = 12

/** One step, read back from the log. */
export interface TraceStep {
  /** Position in the log. */
  readonly index: number
  /** T_* of linux/trace.ts */
  readonly point: number
  /** M_ID of the packet, 0 for a step without one. */
  readonly packet: number
  /** M_PARENT of the packet. */
  readonly parent: number
  /** Namespace id. */
  readonly netns: number
  /** Device id, -1 when none. */
  readonly device: number
  readonly a: number
  readonly b: number
  readonly c: number
  /** Conntrack id of the packet at that moment, 0 when none. */
  readonly ct: number
  /** Bytes from M_DATA. */
  readonly length: number
  readonly atNs: number
  readonly ref: unknown
  /** Index in `frames`, -1 when none. */
  readonly frame: number
}

/** A captured frame. */
export interface CapturedFrame {
  readonly netns: number
  readonly device: number
  readonly direction: 'rx' | 'tx'
  readonly atNs: number
  readonly bytes: Uint8Array
  readonly packet: number
}

/** Options of a log. */
export interface TraceLogOptions {
  /** Copy the bytes of every frame at every device. */
  readonly frames?: boolean
  /** Record rules that were looked at and did not match. */
  readonly misses?: boolean
  /** Rows kept; older ones are overwritten when the log is a ring. 0: grows. */
  readonly ring?: number
}

/** Records trace points of a world. */
export class TraceLog implements Tracer {
  readonly wantMisses: boolean
  readonly frames: CapturedFrame[] = []
  private readonly world: World
  private readonly keepFrames: boolean
  private readonly ring: number
  private rows: Int32Array
  private times: Float64Array
  private readonly refs: unknown[] = []
  private count = 0

  constructor(world: World, options: TraceLogOptions = {}) {
    this.world = world
    this.wantMisses = options.misses ?? false
    this.keepFrames = options.frames ?? false
    this.ring = options.ring ?? 0
    const rows = this.ring > 0 ? this.ring : 1024
    this.rows = new Int32Array(rows * ROW_WORDS)
    this.times = new Float64Array(rows)
  }

  /** Steps recorded so far (with a ring: ever). */
  get length(): number {
    return this.count
  }

  step(
    point: number,
    slot: number,
    ns: Netns,
    dev: NetDevice | null,
    a: number,
    b: number,
    c: number,
    ref: unknown,
  ): void {
    let i = this.count++
    if (this.ring > 0) i %= this.ring
    else if (i * ROW_WORDS >= this.rows.length) this.grow()
    const r = i * ROW_WORDS
    const rows = this.rows
    rows[r] = point
    rows[r + 3] = ns.id
    rows[r + 4] = dev === null ? -1 : dev.id
    rows[r + 5] = a
    rows[r + 6] = b
    rows[r + 7] = c
    rows[r + 10] = -1
    if (slot >= 0) {
      const m = slot << META_SHIFT
      const meta = this.world.arena.meta
      rows[r + 1] = meta[m + M_ID]!
      rows[r + 2] = meta[m + M_PARENT]!
      rows[r + 8] = meta[m + M_CT]!
      rows[r + 9] = meta[m + M_LEN]!
      if (this.keepFrames && dev !== null && (point === T_TX || point === T_RX)) {
        rows[r + 10] = this.frames.length
        this.frames.push({
          netns: ns.id,
          device: dev.id,
          direction: point === T_TX ? 'tx' : 'rx',
          atNs: this.world.nowNs,
          bytes: this.world.arena.frameBytes(slot),
          packet: meta[m + M_ID]!,
        })
      }
    } else {
      rows[r + 1] = 0
      rows[r + 2] = 0
      rows[r + 8] = 0
      rows[r + 9] = 0
    }
    this.times[i] = this.world.nowNs
    this.refs[i] = ref
  }

  /** The step at position `index` of a log that is no ring. */
  at(index: number): TraceStep {
    if (this.ring > 0 || index < 0 || index >= this.count) throw new Error(`no step ${index}`)
    const r = index * ROW_WORDS
    const rows = this.rows
    return {
      index,
      point: rows[r]!,
      packet: rows[r + 1]!,
      parent: rows[r + 2]!,
      netns: rows[r + 3]!,
      device: rows[r + 4]!,
      a: rows[r + 5]!,
      b: rows[r + 6]!,
      c: rows[r + 7]!,
      ct: rows[r + 8]!,
      length: rows[r + 9]!,
      frame: rows[r + 10]!,
      atNs: this.times[index]!,
      ref: this.refs[index],
    }
  }

  /** All steps in order. */
  *steps(): Generator<TraceStep> {
    for (let i = 0; i < this.count; i++) yield this.at(i)
  }

  private grow(): void {
    const rows = new Int32Array(this.rows.length * 2)
    rows.set(this.rows)
    this.rows = rows
    const times = new Float64Array(this.times.length * 2)
    times.set(this.times)
    this.times = times
  }
}
