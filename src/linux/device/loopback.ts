/**
 * The loopback device.
 *
 * Linux: drivers/net/loopback.c (loopback_xmit). The packet keeps its route and conntrack entry on the way round.
 */
import { M_NFB_STATE, META_SHIFT } from '../../packet/layout.ts'
import { ethTypeTrans, netifRx } from '../core/dev.ts'
import type { Netns } from '../netns.ts'
import type { World } from '../world.ts'
import { DEV_LOOPBACK, type NetDevice } from './device.ts'
import { registerNetdevice } from './register.ts'

/** Largest frame that lo takes. */
const LOOPBACK_MTU = 65536

/** Creates `lo` (down) in a new namespace. */
export function createLoopback(ns: Netns): NetDevice {
  const lo = registerNetdevice(ns, 'lo', DEV_LOOPBACK, { hi: 0, lo: 0 }, LOOPBACK_MTU)
  ns.lo = lo
  return lo
}

/** loopback_xmit */
export function loopbackXmit(w: World, slot: number, dev: NetDevice): void {
  w.arena.meta[(slot << META_SHIFT) + M_NFB_STATE] = 0
  ethTypeTrans(w, slot, dev)
  netifRx(w, slot)
}
