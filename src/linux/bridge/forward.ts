/**
 * Frames that leave a bridge by its ports.
 *
 * Linux: net/bridge/br_forward.c (should_deliver, __br_forward, br_flood, br_dev_queue_push_xmit). Flooding goes from the
 * newest port to the oldest; each but the last gets a clone.
 */
import { ETH_HLEN, M_DEV, META_SHIFT } from '../../packet/layout.ts'
import { devQueueXmit } from '../core/dev.ts'
import { cloneSkb, freeSkb } from '../core/skb.ts'
import type { NetDevice } from '../device/device.ts'
import { isSkbForwardable } from '../device/veth.ts'
import { ebtDoTable } from '../netfilter/ebtables/eval.ts'
import type { EbTables } from '../netfilter/ebtables/types.ts'
import {
  BR_AFTER_BRNF,
  BR_ALL,
  BR_BEFORE_BRNF,
  NF_BR_FORWARD,
  NF_BR_LOCAL_OUT,
  NF_BR_POST_ROUTING,
  nfBridge,
} from '../netfilter/nftables/link-chains.ts'
import { R_BRIDGE_NO_PORT, R_BRIDGE_VLAN, R_MTU } from '../reasons.ts'
import { T_BR_FLOOD, T_BR_FORWARD } from '../trace.ts'
import type { World } from '../world.ts'
import { brNfForward, brNfPostRouting } from './br-netfilter.ts'
import { BR_STATE_FORWARDING, type Bridge, type BridgePort } from './bridge.ts'
import type { FdbEntry } from './fdb.ts'
import { brAllowedEgress, brHandleVlan } from './vlan.ts'

/** enum br_pkt_type */
export const PKT_UNICAST = 0
export const PKT_MULTICAST = 1
export const PKT_BROADCAST = 2

function shouldDeliver(w: World, slot: number, p: BridgePort): boolean {
  const from = w.arena.meta[(slot << META_SHIFT) + M_DEV]!
  if (p.state !== BR_STATE_FORWARDING) return false
  if (from === p.dev.id && !p.hairpin) return false
  if (w.arena.vlan[slot] !== 0 && !brAllowedEgress(w, slot, p.vlanGroup)) return false
  if (p.isolated && w.devices[from]?.port?.isolated === true) return false
  return true
}

/**
 * br_forward: to one known port, or nowhere. M_DEV is the input port's device, or the bridge device when `localOrig`. With
 * `localRcv` the caller keeps the packet and the port gets a clone.
 */
export function brForward(
  w: World,
  slot: number,
  to: BridgePort,
  entry: FdbEntry | null,
  localOrig: boolean,
  localRcv = false,
): void {
  if (!shouldDeliver(w, slot, to)) {
    if (!localRcv) freeSkb(w, slot, R_BRIDGE_NO_PORT, 0, to.dev)
    return
  }
  if (w.tracer !== null) w.tracer.step(T_BR_FORWARD, slot, to.dev.ns, to.dev, 0, 0, 0, entry)
  if (localRcv) deliverClone(w, slot, to, localOrig)
  else deliver(w, slot, to, localOrig)
}

/**
 * br_flood: to every port that wants this kind of frame. With `localRcv` the caller keeps the packet (all ports get
 * clones); without, the last port gets it, and it is dropped when there is none.
 */
export function brFlood(w: World, slot: number, br: Bridge, kind: number, localRcv: boolean, localOrig: boolean): void {
  let prev: BridgePort | null = null
  if (w.tracer !== null) w.tracer.step(T_BR_FLOOD, slot, br.dev.ns, br.dev, br.ports.length, kind, 0, null)
  const ports = br.ports
  for (let i = 0; i < ports.length; i++) {
    const p = ports[i]!
    if (kind === PKT_UNICAST && !p.flood) continue
    // not to ports that answer ARP themselves
    if (p.proxyArp) continue
    if (kind === PKT_MULTICAST && !p.mcastFlood && !localOrig) continue
    if (kind === PKT_BROADCAST && !p.bcastFlood && !localOrig) continue
    if (!shouldDeliver(w, slot, p)) continue
    if (prev !== null) deliverClone(w, slot, prev, localOrig)
    prev = p
  }
  if (prev === null) {
    if (!localRcv) freeSkb(w, slot, R_BRIDGE_NO_PORT, 0, br.dev)
    return
  }
  if (localRcv) deliverClone(w, slot, prev, localOrig)
  else deliver(w, slot, prev, localOrig)
}

function deliverClone(w: World, slot: number, to: BridgePort, localOrig: boolean): void {
  const copy = cloneSkb(w, slot)
  if (copy >= 0) deliver(w, copy, to, localOrig)
}

/** __br_forward and br_forward_finish */
function deliver(w: World, slot: number, to: BridgePort, localOrig: boolean): void {
  const m = slot << META_SHIFT
  const from = w.devices[w.arena.meta[m + M_DEV]!]!
  if (w.arena.vlan[slot] !== 0 && !brHandleVlan(w, slot, to.vlanGroup)) {
    freeSkb(w, slot, R_BRIDGE_VLAN, 0, to.dev)
    return
  }
  w.arena.meta[m + M_DEV] = to.dev.id
  const ns = to.dev.ns
  const ebt = ns.ebt
  if (ebt !== null && !ebtDeliver(w, slot, ebt, from, to, localOrig)) return
  const hooked = ns.nft?.link != null
  if (hooked) {
    const hook = localOrig ? NF_BR_LOCAL_OUT : NF_BR_FORWARD
    if (nfBridge(w, ns, hook, slot, localOrig ? null : from, to.dev, localOrig ? BR_ALL : BR_BEFORE_BRNF)) return
  }
  if (!localOrig && brNfForward(w, slot, from, to)) return
  if (ebt !== null && !ebtDoTable(w, slot, ebt.postrouting, null, to.dev)) return
  if (hooked) {
    if (!localOrig && nfBridge(w, ns, NF_BR_FORWARD, slot, from, to.dev, BR_AFTER_BRNF)) return
    // br_netfilter's hook is the last of POST_ROUTING
    if (nfBridge(w, ns, NF_BR_POST_ROUTING, slot, null, to.dev, BR_ALL)) return
  }
  if (brNfPostRouting(w, slot, to)) return
  brDevQueuePushXmit(w, slot)
}

/** ebtables at FORWARD or OUTPUT (filter, then nat as the nf_tables variant has them). */
function ebtDeliver(
  w: World,
  slot: number,
  ebt: EbTables,
  from: NetDevice,
  to: BridgePort,
  localOrig: boolean,
): boolean {
  if (localOrig) {
    if (!ebtDoTable(w, slot, ebt.output, null, to.dev)) return false
    return ebtDoTable(w, slot, ebt.natOutput, null, to.dev)
  }
  return ebtDoTable(w, slot, ebt.forward, from, to.dev)
}

/** br_dev_queue_push_xmit */
export function brDevQueuePushXmit(w: World, slot: number): void {
  const dev = w.devices[w.arena.meta[(slot << META_SHIFT) + M_DEV]!]!
  w.arena.push(slot, ETH_HLEN)
  if (!isSkbForwardable(w, slot, dev)) {
    freeSkb(w, slot, R_MTU, dev.mtu)
    return
  }
  devQueueXmit(w, slot)
}
