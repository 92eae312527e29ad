/**
 * Changing what tc has configured on a device.
 *
 * Linux: net/sched/sch_api.c (qdisc_graft, qdisc_alloc_handle), sch_ingress.c, cls_api.c (tcf_auto_prio), cls_u32.c
 * (gen_new_htid), act_api.c (tcf_idr_check_alloc).
 */
import { type NetDevice, RX_TC, TX_TC } from '../device/device.ts'
import type { Netns } from '../netns.ts'
import type { World } from '../world.ts'
import { DevTc, type TcProto } from './types.ts'

/** First handle that the kernel gives out by itself. */
const AUTO_HANDLE = 0x8000
/** Preference of the first filter without one. */
const AUTO_PREF = 0xc000
const handles = new WeakMap<World, number>()

/** The device's traffic control, made when there is none. */
export function devTc(dev: NetDevice): DevTc {
  dev.tc ??= new DevTc()
  return dev.tc
}

/** Puts the hook bits where there is something to run; paths that were recorded are looked at again. */
export function tcChanged(dev: NetDevice): void {
  const tc = dev.tc
  dev.hooks &= ~(RX_TC | TX_TC)
  if (tc !== null && tc.ingress.length > 0) dev.hooks |= RX_TC
  if (tc !== null && (tc.egress.length > 0 || tc.root !== null)) dev.hooks |= TX_TC
  dev.ns.gen++
}

/** qdisc_alloc_handle: counts up over all devices. */
export function allocHandle(w: World): number {
  const next = (handles.get(w) ?? AUTO_HANDLE) + 1
  handles.set(w, next)
  return next
}

/** tcf_auto_prio: one less than the first classifier of the chain has. */
export function autoPref(chain: readonly TcProto[]): number {
  return chain.length === 0 ? AUTO_PREF : chain[0]!.pref - 1
}

/** Puts a classifier into the chain by preference. */
export function insertProto(chain: TcProto[], tp: TcProto): void {
  const at = chain.findIndex((x) => x.pref >= tp.pref)
  chain.splice(at < 0 ? chain.length : at, 0, tp)
}

/** The lowest index that no action of the kind has in the namespace. */
export function freeActionIndex(ns: Netns, kind: number, alsoTaken: readonly number[]): number {
  const taken = new Set(alsoTaken)
  for (const dev of ns.devices.values()) {
    if (dev.tc === null) continue
    for (const tp of [...dev.tc.ingress, ...dev.tc.egress]) {
      for (const node of tp.nodes) for (const a of node.actions) if (a.kind === kind) taken.add(a.index)
    }
  }
  let i = 1
  while (taken.has(i)) i++
  return i
}

/** Actions that send to a device which goes away send nowhere (mirred_device_event). */
export function forgetTcDevice(ns: Netns, gone: NetDevice): void {
  for (const dev of ns.devices.values()) {
    if (dev.tc === null) continue
    for (const tp of [...dev.tc.ingress, ...dev.tc.egress]) {
      for (const node of tp.nodes) {
        for (const a of node.actions) if (a.dev === gone) a.dev = null
      }
    }
  }
}
