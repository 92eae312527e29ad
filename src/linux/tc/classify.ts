/**
 * Filters and actions on the packet path: the clsact hooks.
 *
 * Linux: net/core/dev.c (sch_handle_ingress after the taps, sch_handle_egress before the queue), net/sched/cls_api.c
 * (tcf_classify), net/sched/act_api.c (tcf_action_exec), net/sched/cls_u32.c (u32_classify), net/sched/act_mirred.c
 * (tcf_mirred_act), act_vlan.c, act_skbedit.c, net/core/skbuff.c (skb_vlan_push, skb_vlan_pop).
 */
import {
  ETH_HLEN,
  ETH_P_8021AD,
  ETH_P_8021Q,
  M_DATA,
  M_DEV,
  M_IIF,
  M_LEN,
  M_MAC,
  M_MARK,
  M_NH,
  M_PKTTYPE,
  M_PRIORITY,
  M_PROTO,
  META_SHIFT,
  VLAN_HLEN,
  VLAN_TAG_8021AD,
  VLAN_TAG_PRESENT,
  VLAN_VID_MASK,
} from '../../packet/layout.ts'
import { devQueueXmit, netifRx, receiveCore } from '../core/dev.ts'
import { cloneSkb, consumeSkb, freeSkb } from '../core/skb.ts'
import type { NetDevice } from '../device/device.ts'
import { vlanInsertTag } from '../device/vlan.ts'
import { NET_XMIT_DROP } from '../errno.ts'
import { R_TC_DROP } from '../reasons.ts'
import { T_TC } from '../trace.ts'
import type { World } from '../world.ts'
import {
  ACT_GACT,
  ACT_MIRRED,
  ACT_SKBEDIT,
  type DevTc,
  TC_ACT_OK,
  TC_ACT_PIPE,
  TC_ACT_RECLASSIFY,
  TC_ACT_SHOT,
  TC_ACT_STOLEN,
  TC_ACT_UNSPEC,
  type TcAction,
  type TcNode,
  type TcProto,
  VLAN_POP,
  VLAN_PUSH,
} from './types.ts'

const ETH_P_ALL = 3
/** max_reclassify_loop */
const MAX_RECLASSIFY = 16
/** MIRRED_NEST_LIMIT */
const MIRRED_NEST_LIMIT = 4

let nested = 0

/** sch_handle_ingress. @returns true when the packet was taken */
export function tcIngress(w: World, slot: number, dev: NetDevice, tc: DevTc): boolean {
  w.impure = true
  return tc.ingress.length > 0 && run(w, slot, dev, tc, tc.ingress, true) !== TC_ACT_OK
}

/** sch_handle_egress, and the counters of a root qdisc. @returns -1 when the packet goes on, else what the sender is told */
export function tcEgress(w: World, slot: number, dev: NetDevice, tc: DevTc): number {
  w.impure = true
  if (tc.egress.length > 0) {
    const verdict = run(w, slot, dev, tc, tc.egress, false)
    if (verdict !== TC_ACT_OK) return verdict === TC_ACT_SHOT ? NET_XMIT_DROP : 0
  }
  if (tc.root !== null) {
    tc.root.packets++
    tc.root.bytes += w.arena.meta[(slot << META_SHIFT) + M_LEN]!
  }
  return -1
}

/** One hook: classifies and carries the verdict out. @returns TC_ACT_OK when the packet goes on */
function run(w: World, slot: number, dev: NetDevice, tc: DevTc, chain: readonly TcProto[], ingress: boolean): number {
  tc.packets++
  tc.bytes += w.arena.meta[(slot << META_SHIFT) + M_LEN]!
  const verdict = classify(w, slot, dev, chain, ingress)
  if (verdict === TC_ACT_SHOT) {
    tc.drops++
    freeSkb(w, slot, R_TC_DROP, 0, dev)
    return verdict
  }
  if (verdict === TC_ACT_STOLEN) {
    consumeSkb(w, slot)
    return verdict
  }
  return verdict === CONSUMED ? verdict : TC_ACT_OK
}

/** TC_ACT_CONSUMED: an action has the packet. */
const CONSUMED = 8

/** tcf_classify */
function classify(w: World, slot: number, dev: NetDevice, chain: readonly TcProto[], ingress: boolean): number {
  let rounds = 0
  for (let i = 0; i < chain.length; i++) {
    const tp = chain[i]!
    if (tp.protocol !== ETH_P_ALL && tp.protocol !== skbProtocol(w, slot)) continue
    const verdict = classifyProto(w, slot, dev, tp, ingress)
    if (verdict === TC_ACT_RECLASSIFY) {
      if (rounds++ >= MAX_RECLASSIFY) return TC_ACT_SHOT
      i = -1
    } else if (verdict >= 0) return verdict
  }
  return TC_ACT_UNSPEC
}

/** skb_protocol(skb, false): the tag's when one stands beside the frame. */
function skbProtocol(w: World, slot: number): number {
  const tag = w.arena.vlan[slot]!
  if ((tag & VLAN_TAG_PRESENT) === 0) return w.arena.meta[(slot << META_SHIFT) + M_PROTO]!
  return (tag & VLAN_TAG_8021AD) !== 0 ? ETH_P_8021AD : ETH_P_8021Q
}

function classifyProto(w: World, slot: number, dev: NetDevice, tp: TcProto, ingress: boolean): number {
  for (let k = 0; k < tp.nodes.length; k++) {
    const node = tp.nodes[k]!
    const fits = matches(w, slot, node)
    if (fits < 0) return TC_ACT_UNSPEC
    if (fits === 0) continue
    node.hits++
    const verdict = execActions(w, slot, dev, tp, node, ingress)
    if (verdict >= 0) return verdict
  }
  return TC_ACT_UNSPEC
}

/** u32_classify: 1 every key matches, 0 not, -1 the packet is too short for a key (the classifier gives up). */
function matches(w: World, slot: number, node: TcNode): number {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  const nh = meta[m + M_NH]!
  const end = meta[m + M_DATA]! + meta[m + M_LEN]!
  for (let i = 0; i < node.keys.length; i++) {
    const key = node.keys[i]!
    const at = nh + key.off
    if (at + 4 > end) return -1
    if (((w.arena.view.getInt32(at) ^ key.val) & key.mask) !== 0) return 0
  }
  return 1
}

/** tcf_action_exec */
function execActions(w: World, slot: number, dev: NetDevice, tp: TcProto, node: TcNode, ingress: boolean): number {
  let verdict = TC_ACT_OK
  for (let i = 0; i < node.actions.length; i++) {
    const a = node.actions[i]!
    if (a.packets === 0) a.firstNs = w.nowNs
    a.usedNs = w.nowNs
    a.packets++
    a.bytes += w.arena.meta[(slot << META_SHIFT) + M_LEN]!
    verdict = act(w, slot, dev, a, ingress)
    if (w.tracer !== null && verdict !== CONSUMED)
      w.tracer.step(T_TC, slot, dev.ns, dev, tp.pref, verdict, ingress ? 1 : 0, a)
    if (verdict !== TC_ACT_PIPE) return verdict
  }
  return verdict
}

function act(w: World, slot: number, dev: NetDevice, a: TcAction, ingress: boolean): number {
  if (a.kind === ACT_GACT) {
    if (a.control === TC_ACT_SHOT) a.drops++
    return a.control
  }
  if (a.kind === ACT_MIRRED) return mirred(w, slot, dev, a, ingress)
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  if (a.kind === ACT_SKBEDIT) {
    if (a.mark !== null) meta[m + M_MARK] = a.mark
    if (a.priority !== null) meta[m + M_PRIORITY] = a.priority
    if (a.ptype !== null) meta[m + M_PKTTYPE] = a.ptype
    return a.control
  }
  vlanAct(w, slot, a)
  return a.control
}

/** tcf_mirred_act */
function mirred(w: World, slot: number, dev: NetDevice, a: TcAction, ingress: boolean): number {
  const to = a.dev
  if (to === null || !to.up || !to.carrier || nested >= MIRRED_NEST_LIMIT) {
    a.overlimits++
    return a.redirect ? TC_ACT_SHOT : a.control
  }
  const reinsert = ingress && a.redirect
  const copy = reinsert ? slot : cloneSkb(w, slot)
  if (copy < 0) return a.redirect ? TC_ACT_SHOT : a.control
  const meta = w.arena.meta
  const m = copy << META_SHIFT
  if (w.tracer !== null) w.tracer.step(T_TC, slot, dev.ns, dev, 0, a.redirect ? TC_ACT_STOLEN : TC_ACT_PIPE, 2, a)
  // the target expects the packet at its network header (ingress) or at its link header
  const atNh = meta[m + M_DATA] === meta[m + M_NH]
  const wantsNh = a.ingress || !to.ether
  if (atNh && !wantsNh) w.arena.push(copy, ETH_HLEN)
  else if (!atNh && wantsNh) w.arena.pull(copy, meta[m + M_NH]! - meta[m + M_DATA]!)
  meta[m + M_IIF] = dev.id
  meta[m + M_DEV] = to.id
  nested++
  if (!a.ingress) devQueueXmit(w, copy)
  else if (ingress) receiveCore(w, copy, to)
  else {
    // the backlog; the driver's counters do not see such a packet
    to.rxPackets--
    to.rxBytes -= meta[m + M_LEN]! + ETH_HLEN
    netifRx(w, copy)
  }
  nested--
  return reinsert ? CONSUMED : a.control
}

/** tcf_vlan_act with skb_vlan_pop, skb_vlan_push. */
function vlanAct(w: World, slot: number, a: TcAction): void {
  const arena = w.arena
  const m = slot << META_SHIFT
  const atNh = arena.meta[m + M_DATA] === arena.meta[m + M_NH]
  if (a.op === VLAN_POP) popTag(w, slot, atNh)
  else if (a.op === VLAN_PUSH) {
    const old = arena.vlan[slot]!
    if ((old & VLAN_TAG_PRESENT) !== 0) {
      if (atNh) arena.push(slot, ETH_HLEN)
      vlanInsertTag(w, slot, old)
      if (atNh) arena.pull(slot, ETH_HLEN)
      // at ingress the inner tag is payload from now on; data stays behind the link header
      if (atNh) arena.meta[m + M_NH] = arena.meta[m + M_DATA]!
    }
    const service = a.vlanProto === ETH_P_8021AD ? VLAN_TAG_8021AD : 0
    arena.vlan[slot] = VLAN_TAG_PRESENT | service | (a.vlanId ?? 0) | ((a.vlanPriority ?? 0) << 13)
  } else modifyTag(w, slot, a)
}

function popTag(w: World, slot: number, atNh: boolean): void {
  const arena = w.arena
  const meta = arena.meta
  const m = slot << META_SHIFT
  if ((arena.vlan[slot]! & VLAN_TAG_PRESENT) !== 0) arena.vlan[slot] = 0
  else {
    const proto = meta[m + M_PROTO]!
    if (proto !== ETH_P_8021Q && proto !== ETH_P_8021AD) return
    removeTag(w, slot, atNh)
  }
  // the next tag goes beside the frame
  const next = meta[m + M_PROTO]!
  if (next !== ETH_P_8021Q && next !== ETH_P_8021AD) return
  const tci = arena.view.getUint16(meta[m + M_MAC]! + ETH_HLEN)
  removeTag(w, slot, atNh)
  arena.vlan[slot] = VLAN_TAG_PRESENT | (next === ETH_P_8021AD ? VLAN_TAG_8021AD : 0) | tci
}

/** __skb_vlan_pop: takes the outermost tag out of the bytes. */
function removeTag(w: World, slot: number, atNh: boolean): void {
  const arena = w.arena
  const meta = arena.meta
  const m = slot << META_SHIFT
  const mac = atNh ? meta[m + M_DATA]! - ETH_HLEN : meta[m + M_DATA]!
  meta[m + M_PROTO] = arena.view.getUint16(mac + 16)
  arena.bytes.copyWithin(mac + VLAN_HLEN, mac, mac + 12)
  arena.pull(slot, VLAN_HLEN)
  meta[m + M_MAC] = mac + VLAN_HLEN
  meta[m + M_NH] = mac + VLAN_HLEN + ETH_HLEN
}

function modifyTag(w: World, slot: number, a: TcAction): void {
  const tag = w.arena.vlan[slot]!
  if ((tag & VLAN_TAG_PRESENT) === 0) return
  let tci = tag & 0xffff
  if (a.vlanId !== null) tci = (tci & ~VLAN_VID_MASK) | a.vlanId
  if (a.vlanPriority !== null) tci = (tci & 0x1fff) | (a.vlanPriority << 13)
  w.arena.vlan[slot] = VLAN_TAG_PRESENT | (a.vlanProto === ETH_P_8021AD ? VLAN_TAG_8021AD : 0) | tci
}
