/**
 * The lab's capture: a packet socket on every interface of every namespace.
 *
 * `lo` is left out unless the scenario asks for it (`capture_lo`), but its frames count as activity, as in the recorder.
 */

import type { NetDevice } from '../linux/device/device.ts'
import { DEV_LOOPBACK } from '../linux/device/device.ts'
import type { PacketTap } from '../linux/trace.ts'
import type { PacketArena } from '../packet/arena.ts'
import type { LabDirection } from './scenario.ts'

/** One frame as it was seen. */
export interface CapturedFrame {
  readonly step: number
  /** `ns/dev` */
  readonly iface: string
  readonly direction: LabDirection
  readonly ether: boolean
  readonly bytes: Uint8Array
}

/** Collects frames; `step` is set by the runner. */
export class Capture implements PacketTap {
  readonly frames: CapturedFrame[] = []
  step = -1
  private readonly arena: PacketArena
  private readonly withLoopback: boolean

  constructor(arena: PacketArena, withLoopback: boolean) {
    this.arena = arena
    this.withLoopback = withLoopback
  }

  frame(direction: 0 | 1, slot: number, dev: NetDevice): void {
    if (dev.kind === DEV_LOOPBACK && !this.withLoopback) return
    this.frames.push({
      step: this.step,
      iface: `${dev.ns.name}/${dev.name}`,
      direction: direction === 1 ? 'tx' : 'rx',
      ether: dev.ether,
      bytes: this.arena.frameBytes(slot),
    })
  }
}
