/**
 * Netfilter hooks of IPv4 and IPv6: who is called where, in which order.
 *
 * Linux: net/netfilter/core.c (nf_hook_slow), include/uapi/linux/netfilter_ipv4.h (priorities),
 * net/bridge/br_netfilter_hooks.c (ip_sabotage_in). Hooks are integers in a sorted list per hook point, called by an
 * integer switch: no function table, so that the path stays monomorphic. NF_QUEUE is not modelled.
 */
import {
  M_DATA,
  M_LEN,
  M_NFB_STATE,
  M_NH,
  META_SHIFT,
  NFB_IN_PREROUTING,
  NFB_PRESENT,
  NFB_SABOTAGE_IN_DONE,
} from '../../packet/layout.ts'
import { freeSkb } from '../core/skb.ts'
import type { NetDevice } from '../device/device.ts'
import { ipVsForwardIcmp, ipVsIn, ipVsOut } from '../ipvs/core.ts'
import type { Netns } from '../netns.ts'
import { R_NF_DROP, R_NONE, R_UNMODELLED } from '../reasons.ts'
import type { World } from '../world.ts'
import { ipv4ConntrackDefrag, nfConntrackConfirm, nfConntrackIn } from './conntrack/core.ts'
import { ipv6ConntrackDefrag, nfConntrackIn6 } from './conntrack/core6.ts'
import { iptDoTable } from './iptables/eval.ts'
import { ip6tMangleHook, iptFilterHook, iptMangleHook, iptRawHook, iptSecurityHook } from './iptables/hook-functions.ts'
import { IptTables } from './iptables/tables.ts'
import { nfNatInet } from './nat/core.ts'
import { nfNatInet6 } from './nat/core6.ts'
import { nftHook } from './nftables/hook-functions.ts'

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

/** An nftables base chain: NFH_NFT plus the chain's number in the namespace. */
export const NFH_NFT = 64

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

/** Bit of `NfState.kinds` for every kind above NFH_CONFIRM: IPVS and nftables chains. */
const NFM_OTHER = 1 << 10

/** Netfilter state of a namespace. */
export class NfState {
  /** Kinds per hook point, in priority order. */
  readonly hooks: number[][] = [[], [], [], [], []]
  private readonly priorities: number[][] = [[], [], [], [], []]
  /** nf_nat_net: who is asked for a connection's first packet, per hook point, in priority order. */
  readonly nat: number[][] = [[], [], [], [], []]
  private readonly natPriorities: number[][] = [[], [], [], [], []]
  /** The same as bits `1 << kind` per hook point; NFM_OTHER stands for every kind above NFH_CONFIRM. */
  readonly kinds = new Int32Array(5)
  /**
   * Bit per hook point where mangle has no rules and accepts by policy: all that is left of it is to count, here
   * (packets and bytes per hook point). Kept by the compiled table. bench: walk.
   */
  idleMangle = 0
  readonly idleMangleCounters = new Float64Array(10)
  /** Legacy iptables tables. */
  readonly tables: IptTables

  private readonly ns: Netns

  constructor(ns: Netns, family: 4 | 6) {
    this.ns = ns
    this.tables = new IptTables(ns, family)
  }

  /** nf_register_net_hook: registering a kind twice at a hook point has no effect. */
  register(hook: number, kind: number): void {
    this.insert(this.hooks[hook]!, this.priorities[hook]!, kind, NF_PRIORITY[kind]!)
    this.count(hook)
  }

  /** nf_unregister_net_hook */
  unregister(hook: number, kind: number): void {
    remove(this.hooks[hook]!, this.priorities[hook]!, kind)
    this.count(hook)
  }

  /** nf_tables_register_hook: a base chain; one of type nat hangs on the NAT hook (nf_nat_register_fn). */
  registerNft(hook: number, chain: number, priority: number, isNat: boolean): void {
    const kind = NFH_NFT + chain
    if (isNat) this.insert(this.nat[hook]!, this.natPriorities[hook]!, kind, priority)
    else this.insert(this.hooks[hook]!, this.priorities[hook]!, kind, priority)
    this.count(hook)
  }

  /** ipt_nat_register_lookups: the legacy nat table asks for its place among the nat chains. */
  registerLegacyNat(): void {
    for (const hook of [NF_INET_PRE_ROUTING, NF_INET_LOCAL_OUT]) {
      this.insert(this.nat[hook]!, this.natPriorities[hook]!, NFH_NAT_DST, NF_PRIORITY[NFH_NAT_DST]!)
    }
    for (const hook of [NF_INET_POST_ROUTING, NF_INET_LOCAL_IN]) {
      this.insert(this.nat[hook]!, this.natPriorities[hook]!, NFH_NAT_SRC, NF_PRIORITY[NFH_NAT_SRC]!)
    }
  }

  /** nf_tables_unregister_hook */
  unregisterNft(chain: number): void {
    for (let hook = 0; hook < 5; hook++) {
      remove(this.hooks[hook]!, this.priorities[hook]!, NFH_NFT + chain)
      remove(this.nat[hook]!, this.natPriorities[hook]!, NFH_NFT + chain)
      this.count(hook)
    }
  }

  /** Brings `kinds` in step with the list. */
  private count(hook: number): void {
    this.ns.gen++
    let bits = 0
    for (const kind of this.hooks[hook]!) bits |= kind <= NFH_CONFIRM ? 1 << kind : NFM_OTHER
    this.kinds[hook] = bits
  }

  /** Numbers of the base chains that are registered. */
  nftChains(): number[] {
    const kinds = [...this.hooks.flat(), ...this.nat.flat()]
    return kinds.filter((k) => k >= NFH_NFT).map((k) => k - NFH_NFT)
  }

  /** nf_hook_entries_grow: before the first hook whose priority is not smaller. */
  private insert(list: number[], priorities: number[], kind: number, priority: number): void {
    if (list.includes(kind)) return
    let i = 0
    while (i < list.length && priority > priorities[i]!) i++
    list.splice(i, 0, kind)
    priorities.splice(i, 0, priority)
  }
}

function remove(list: number[], priorities: number[], kind: number): void {
  const i = list.indexOf(kind)
  if (i < 0) return
  list.splice(i, 1)
  priorities.splice(i, 1)
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
  const kinds = ns.nf.kinds[hook]!
  if (kinds === 0) return NF_ACCEPT
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  if (hook === NF_INET_PRE_ROUTING) {
    const nfb = meta[m + M_NFB_STATE]!
    if ((nfb & (NFB_PRESENT | NFB_IN_PREROUTING | NFB_SABOTAGE_IN_DONE)) === NFB_PRESENT) {
      meta[m + M_NFB_STATE] = nfb | NFB_SABOTAGE_IN_DONE
      return NF_ACCEPT
    }
  }
  let v: number
  if ((kinds & NFM_OTHER) === 0) v = runHooks(w, ns, kinds, hook, slot, inDev, outDev)
  else {
    v = NF_ACCEPT
    const list = ns.nf.hooks[hook]!
    for (let i = 0; i < list.length && v === NF_ACCEPT; i++) v = callHook(w, ns, list[i]!, hook, slot, inDev, outDev)
  }
  if (v === NF_DROP) {
    const reason = w.dropReason
    w.dropReason = R_NONE
    freeSkb(w, slot, reason === R_NONE ? R_NF_DROP : reason, 0, reason === R_UNMODELLED ? w.dropWhat : null)
  }
  return v
}

/**
 * NF_HOOK with NFPROTO_IPV6: the hooks of ns.nf6, as nfHook runs those of IPv4.
 * @returns NF_ACCEPT: the caller goes on with the packet. NF_DROP or NF_STOLEN: the packet is gone, do not touch it.
 */
export function nfHook6(
  w: World,
  ns: Netns,
  hook: number,
  slot: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
): number {
  const nf = ns.nf6
  if (nf.kinds[hook] === 0) return NF_ACCEPT
  if (hook === NF_INET_PRE_ROUTING) {
    const at = (slot << META_SHIFT) + M_NFB_STATE
    const nfb = w.arena.meta[at]!
    if ((nfb & (NFB_PRESENT | NFB_IN_PREROUTING | NFB_SABOTAGE_IN_DONE)) === NFB_PRESENT) {
      w.arena.meta[at] = nfb | NFB_SABOTAGE_IN_DONE
      return NF_ACCEPT
    }
  }
  const list = nf.hooks[hook]!
  let v = NF_ACCEPT
  for (let i = 0; i < list.length && v === NF_ACCEPT; i++) v = callHook6(w, ns, list[i]!, hook, slot, inDev, outDev)
  if (v === NF_DROP) {
    const reason = w.dropReason
    w.dropReason = R_NONE
    freeSkb(w, slot, reason === R_NONE ? R_NF_DROP : reason, 0, reason === R_UNMODELLED ? w.dropWhat : null)
  }
  return v
}

function callHook6(
  w: World,
  ns: Netns,
  kind: number,
  hook: number,
  slot: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
): number {
  const tables = ns.nf6.tables
  if (kind === NFH_CONNTRACK) return nfConntrackIn6(w, ns, hook, slot)
  if (kind === NFH_NAT_DST || kind === NFH_NAT_SRC) return nfNatInet6(w, ns, hook, slot, inDev, outDev)
  if (kind === NFH_CONFIRM) return nfConntrackConfirm(w, ns, slot)
  if (kind === NFH_DEFRAG) return ipv6ConntrackDefrag(w, ns, hook, slot)
  if (kind === NFH_MANGLE) return ip6tMangleHook(w, ns, hook, slot, inDev, outDev)
  if (kind >= NFH_NFT) return nftHook(w, ns, kind - NFH_NFT, hook, slot, inDev, outDev)
  const table = kind === NFH_FILTER ? tables.filter : kind === NFH_RAW ? tables.raw : tables.security
  return table === null ? NF_ACCEPT : iptDoTable(w, ns, table, hook, slot, inDev, outDev)
}

/**
 * nf_hook_slow for the kinds NFH_DEFRAG ... NFH_CONFIRM: their priorities rise with their numbers, so a straight line of
 * tests on the bits replaces the list. bench: walk.
 */
function runHooks(
  w: World,
  ns: Netns,
  kinds: number,
  hook: number,
  slot: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
): number {
  let v: number
  if ((kinds & (1 << NFH_DEFRAG)) !== 0 && isFragment(w, slot)) {
    v = ipv4ConntrackDefrag(w, ns, hook, slot)
    if (v !== NF_ACCEPT) return v
  }
  if ((kinds & (1 << NFH_RAW)) !== 0) {
    v = iptRawHook(w, ns, hook, slot, inDev, outDev)
    if (v !== NF_ACCEPT) return v
  }
  if ((kinds & (1 << NFH_CONNTRACK)) !== 0) {
    v = nfConntrackIn(w, ns, hook, slot)
    if (v !== NF_ACCEPT) return v
  }
  if ((kinds & (1 << NFH_MANGLE)) !== 0) {
    if ((ns.nf.idleMangle & (1 << hook)) !== 0 && w.tracer === null) countIdle(w, ns.nf.idleMangleCounters, hook, slot)
    else {
      v = iptMangleHook(w, ns, hook, slot, inDev, outDev)
      if (v !== NF_ACCEPT) return v
    }
  }
  if ((kinds & (1 << NFH_NAT_DST)) !== 0) {
    v = nfNatInet(w, ns, hook, slot, inDev, outDev)
    if (v !== NF_ACCEPT) return v
  }
  if ((kinds & (1 << NFH_FILTER)) !== 0) {
    v = iptFilterHook(w, ns, hook, slot, inDev, outDev)
    if (v !== NF_ACCEPT) return v
  }
  if ((kinds & (1 << NFH_SECURITY)) !== 0) {
    v = iptSecurityHook(w, ns, hook, slot, inDev, outDev)
    if (v !== NF_ACCEPT) return v
  }
  if ((kinds & (1 << NFH_NAT_SRC)) !== 0) {
    v = nfNatInet(w, ns, hook, slot, inDev, outDev)
    if (v !== NF_ACCEPT) return v
  }
  return (kinds & (1 << NFH_CONFIRM)) !== 0 ? nfConntrackConfirm(w, ns, slot) : NF_ACCEPT
}

function countIdle(w: World, counters: Float64Array, hook: number, slot: number): void {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  counters[2 * hook]! += 1
  counters[2 * hook + 1]! += meta[m + M_DATA]! + meta[m + M_LEN]! - meta[m + M_NH]!
}

/** What ipv4_conntrack_defrag asks first: most packets are whole. */
function isFragment(w: World, slot: number): boolean {
  return (w.arena.view.getUint16(w.arena.meta[(slot << META_SHIFT) + M_DATA]! + 6) & 0x3fff) !== 0
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
  if (kind === NFH_CONNTRACK) return nfConntrackIn(w, ns, hook, slot)
  if (kind === NFH_NAT_DST || kind === NFH_NAT_SRC) return nfNatInet(w, ns, hook, slot, inDev, outDev)
  if (kind === NFH_FILTER) return iptFilterHook(w, ns, hook, slot, inDev, outDev)
  if (kind === NFH_CONFIRM) return nfConntrackConfirm(w, ns, slot)
  if (kind === NFH_DEFRAG) return ipv4ConntrackDefrag(w, ns, hook, slot)
  if (kind === NFH_MANGLE) return iptMangleHook(w, ns, hook, slot, inDev, outDev)
  if (kind === NFH_RAW) return iptRawHook(w, ns, hook, slot, inDev, outDev)
  if (kind === NFH_SECURITY) return iptSecurityHook(w, ns, hook, slot, inDev, outDev)
  if (kind >= NFH_IPVS_LOCAL_IN_REPLY && kind <= NFH_IPVS_FORWARD_REPLY) return ipVsHook(w, ns, kind, hook, slot)
  if (kind >= NFH_NFT) return nftHook(w, ns, kind - NFH_NFT, hook, slot, inDev, outDev)
  throw new Error(`unknown netfilter hook kind ${kind}`)
}

function ipVsHook(w: World, ns: Netns, kind: number, hook: number, slot: number): number {
  w.impure = true
  if (kind === NFH_IPVS_LOCAL_IN_REQUEST || kind === NFH_IPVS_LOCAL_OUT_REQUEST) return ipVsIn(w, ns, hook, slot)
  return kind === NFH_IPVS_FORWARD_ICMP ? ipVsForwardIcmp(w, ns, hook, slot) : ipVsOut(w, ns, hook, slot)
}
