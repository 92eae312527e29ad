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
  /** NFPROTO_* of a hook below IP (nftables), 0 at the hooks of IPv4 and IPv6. */
  pf = 0
  inDev: NetDevice | null = null
  outDev: NetDevice | null = null
  /** 4 or 6: of the packet at `nh`; 0 below IP for a frame without a sound IP header. */
  family = 4
  /** Absolute offset of the IP header. */
  nh = 0
  /** Absolute offset of the transport header. */
  th = 0
  /** Absolute offset of the packet's end. */
  end = 0
  /** Bytes that count as the packet's: skb->len. nftables only. */
  len = 0
  /** Fragment offset: in 8-byte units for IPv4, in bytes for IPv6. */
  fragOff = 0
  /** Transport protocol; -1 when the headers of an IPv6 packet lead to none. */
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
