/**
 * What a rule walk knows about its packet: struct xt_action_param.
 *
 * One instance for the whole process: a walk ends with the first packet that its rule makes (REJECT), so an inner walk
 * never comes back to an outer one that still needs it.
 */
import type { NetDevice } from '../../device/device.ts'

/** struct xt_action_param and what the matches read of the packet. */
export class EvalState {
  hook = 0
  inDev: NetDevice | null = null
  outDev: NetDevice | null = null
  /** Absolute offset of the IPv4 header. */
  nh = 0
  /** Absolute offset of the transport header. */
  th = 0
  /** Absolute offset of the packet's end. */
  end = 0
  /** Fragment offset in 8-byte units. */
  fragOff = 0
  proto = 0
  /** A match found the packet bad: it is dropped. */
  hotdrop = false
  /** Name of the unmodelled match or target that was met, with hotdrop. */
  unmodelled = ''
}

/** The instance. */
export const evalState = new EvalState()

/** Jiffies of 1 ms. */
export function jiffies(nowNs: number): number {
  return Math.floor(nowNs / 1_000_000)
}
