/**
 * Netfilter hooks of IPv4: who is called where, in which order.
 *
 * Linux: net/netfilter/core.c (nf_hook_slow), include/uapi/linux/netfilter_ipv4.h (priorities),
 * net/bridge/br_netfilter_hooks.c (ip_sabotage_in). Hooks are integers in a sorted list per hook point, called by an
 * integer switch: no function table, so that the path stays monomorphic. NF_QUEUE is not modelled.
 */
import { M_NFB_STATE, META_SHIFT, NFB_IN_PREROUTING, NFB_PRESENT, NFB_SABOTAGE_IN_DONE } from '../../packet/layout.ts'
import { freeSkb } from '../core/skb.ts'
import type { NetDevice } from '../device/device.ts'
import { ipVsForwardIcmp, ipVsIn, ipVsOut } from '../ipvs/core.ts'
import type { Netns } from '../netns.ts'
import { R_NF_DROP, R_NONE } from '../reasons.ts'
import type { World } from '../world.ts'
import { ipv4ConntrackDefrag, nfConntrackConfirm, nfConntrackIn } from './conntrack/core.ts'
import { iptFilterHook, iptMangleHook, iptRawHook, iptSecurityHook } from './iptables/hook-functions.ts'
import { IptTables } from './iptables/tables.ts'
import { nfNatInet } from './nat/core.ts'

/** Hook points, include/uapi/linux/netfilter.h. */
export const NF_INET_PRE_ROUTING = 0
export const NF_INET_LOCAL_IN = 1
export const NF_INET_FORWARD = 2
export const NF_INET_LOCAL_OUT = 3
export const NF_INET_POST_ROUTING = 4

/** Verdicts. */
export const NF_DROP = 0
export const NF_ACCEPT = 1
export const NF_STOLEN = 2

/** Kinds of hook functions. */
export const NFH_DEFRAG = 1
export const NFH_RAW = 2
export const NFH_CONNTRACK = 3
export const NFH_MANGLE = 4
export const NFH_NAT_DST = 5
export const NFH_FILTER = 6
export const NFH_SECURITY = 7
export const NFH_NAT_SRC = 8
export const NFH_CONFIRM = 9
/** IPVS, net/netfilter/ipvs/ip_vs_core.c: replies and requests per hook point. */
export const NFH_IPVS_LOCAL_IN_REPLY = 30
export const NFH_IPVS_LOCAL_IN_REQUEST = 31
export const NFH_IPVS_LOCAL_OUT_REPLY = 32
export const NFH_IPVS_LOCAL_OUT_REQUEST = 33
export const NFH_IPVS_FORWARD_ICMP = 34
export const NFH_IPVS_FORWARD_REPLY = 35

/** Priorities, include/uapi/linux/netfilter_ipv4.h; NF_IP_PRI_CONNTRACK_CONFIRM is INT_MAX. */
export const NF_PRIORITY: Readonly<Record<number, number>> = {
  [NFH_DEFRAG]: -400,
  [NFH_RAW]: -300,
  [NFH_CONNTRACK]: -200,
  [NFH_MANGLE]: -150,
  [NFH_NAT_DST]: -100,
  [NFH_FILTER]: 0,
  [NFH_SECURITY]: 50,
  [NFH_NAT_SRC]: 100,
  [NFH_CONFIRM]: 0x7fffffff,
  [NFH_IPVS_LOCAL_IN_REPLY]: 98,
  [NFH_IPVS_LOCAL_IN_REQUEST]: 99,
  [NFH_IPVS_LOCAL_OUT_REPLY]: -99,
  [NFH_IPVS_LOCAL_OUT_REQUEST]: -98,
  [NFH_IPVS_FORWARD_ICMP]: 99,
  [NFH_IPVS_FORWARD_REPLY]: 100,
}

/** Netfilter state of a namespace. */
export class NfState {
  /** Kinds per hook point, in priority order. */
  readonly hooks: number[][] = [[], [], [], [], []]
  /** Legacy iptables tables. */
  readonly tables: IptTables

  constructor(ns: Netns) {
    this.tables = new IptTables(ns)
  }

  /** nf_register_net_hook: registering a kind twice at a hook point has no effect. */
  register(hook: number, kind: number): void {
    const list = this.hooks[hook]!
    if (list.includes(kind)) return
    list.push(kind)
    list.sort((a, b) => NF_PRIORITY[a]! - NF_PRIORITY[b]!)
  }

  /** nf_unregister_net_hook */
  unregister(hook: number, kind: number): void {
    const list = this.hooks[hook]!
    const i = list.indexOf(kind)
    if (i >= 0) list.splice(i, 1)
  }
}

/**
 * NF_HOOK: runs the hooks of a hook point.
 * @returns NF_ACCEPT: the caller goes on with the packet. NF_DROP or NF_STOLEN: the packet is gone, do not touch it.
 */
export function nfHook(
  w: World,
  ns: Netns,
  hook: number,
  slot: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
): number {
  const list = ns.nf.hooks[hook]!
  if (list.length === 0) return NF_ACCEPT
  if (hook === NF_INET_PRE_ROUTING) {
    const m = (slot << META_SHIFT) + M_NFB_STATE
    const nfb = w.arena.meta[m]!
    if ((nfb & (NFB_PRESENT | NFB_IN_PREROUTING | NFB_SABOTAGE_IN_DONE)) === NFB_PRESENT) {
      w.arena.meta[m] = nfb | NFB_SABOTAGE_IN_DONE
      return NF_ACCEPT
    }
  }
  for (let i = 0; i < list.length; i++) {
    const v = callHook(w, ns, list[i]!, hook, slot, inDev, outDev)
    if (v === NF_ACCEPT) continue
    if (v === NF_DROP) {
      const reason = w.dropReason
      w.dropReason = R_NONE
      freeSkb(w, slot, reason === R_NONE ? R_NF_DROP : reason)
    }
    return v
  }
  return NF_ACCEPT
}

function callHook(
  w: World,
  ns: Netns,
  kind: number,
  hook: number,
  slot: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
): number {
  // an if chain in order of frequency: a switch becomes an indirect jump that the CPU cannot foresee
  if (kind === NFH_CONNTRACK) return nfConntrackIn(w, ns, hook, slot)
  if (kind === NFH_NAT_DST || kind === NFH_NAT_SRC) return nfNatInet(w, ns, hook, slot, inDev, outDev)
  if (kind === NFH_FILTER) return iptFilterHook(w, ns, hook, slot, inDev, outDev)
  if (kind === NFH_CONFIRM) return nfConntrackConfirm(w, ns, slot)
  if (kind === NFH_DEFRAG) return ipv4ConntrackDefrag(w, ns, hook, slot)
  if (kind === NFH_MANGLE) return iptMangleHook(w, ns, hook, slot, inDev, outDev)
  if (kind === NFH_RAW) return iptRawHook(w, ns, hook, slot, inDev, outDev)
  if (kind === NFH_SECURITY) return iptSecurityHook(w, ns, hook, slot, inDev, outDev)
  if (kind >= NFH_IPVS_LOCAL_IN_REPLY && kind <= NFH_IPVS_FORWARD_REPLY) return ipVsHook(w, ns, kind, hook, slot)
  throw new Error(`unknown netfilter hook kind ${kind}`)
}

function ipVsHook(w: World, ns: Netns, kind: number, hook: number, slot: number): number {
  if (kind === NFH_IPVS_LOCAL_IN_REQUEST || kind === NFH_IPVS_LOCAL_OUT_REQUEST) return ipVsIn(w, ns, hook, slot)
  return kind === NFH_IPVS_FORWARD_ICMP ? ipVsForwardIcmp(w, ns, hook, slot) : ipVsOut(w, ns, hook, slot)
}
