/**
 * Base chains below the IP hooks: families arp and bridge, netdev, and the ingress hook of inet.
 *
 * Linux: net/netfilter/nft_chain_filter.c (nft_do_chain_arp, nft_do_chain_bridge, nft_do_chain_netdev,
 * nft_do_chain_inet_ingress), include/linux/netfilter_netdev.h (nf_hook_egress). What tells a bridge chain from
 * br_netfilter's hook of the same point is its priority (enum nf_br_hook_priorities: br_netfilter stands at 0).
 */
import {
  ETH_HLEN,
  ETH_P_IP,
  ETH_P_IPV6,
  M_DATA,
  M_LEN,
  M_MAC,
  M_NH,
  M_PROTO,
  META_SHIFT,
} from '../../../packet/layout.ts'
import { freeSkb } from '../../core/skb.ts'
import { type NetDevice, RX_NFT, TX_NFT } from '../../device/device.ts'
import type { Netns } from '../../netns.ts'
import { R_IP_HDR, R_NF_DROP, R_NONE, R_UNMODELLED } from '../../reasons.ts'
import type { World } from '../../world.ts'
import { NF_ACCEPT } from '../conntrack/layout.ts'
import { nftDoLinkChain } from './eval.ts'
import type { NftChain, NftTables } from './state.ts'

export const NFPROTO_INET = 1
export const NFPROTO_ARP = 3
export const NFPROTO_NETDEV = 5
export const NFPROTO_BRIDGE = 7

export const NF_BR_PRE_ROUTING = 0
export const NF_BR_LOCAL_IN = 1
export const NF_BR_FORWARD = 2
export const NF_BR_LOCAL_OUT = 3
export const NF_BR_POST_ROUTING = 4

export const NF_ARP_IN = 0
export const NF_ARP_OUT = 1

/** Bridge chains before br_netfilter's hook, after it, or all of a point where it does not stand between. */
export const BR_BEFORE_BRNF = 1
export const BR_AFTER_BRNF = 2
export const BR_ALL = 3

/** The chains of a namespace, each list in the order of calling. */
export class LinkChains {
  readonly arp: NftChain[][] = [[], []]
  readonly bridge: NftChain[][] = [[], [], [], [], []]
  readonly ingress: NftChain[] = []
  readonly egress: NftChain[] = []
  /** Name of what bridge chains use that is not modelled, '' when nothing. */
  bridgeUnmodelled = ''

  /** nf_hook_entries_grow: before the first hook whose priority is not smaller. */
  static insert(list: NftChain[], chain: NftChain): void {
    let i = 0
    while (i < list.length && chain.priority > list[i]!.priority) i++
    list.splice(i, 0, chain)
  }

  get empty(): boolean {
    const lists = [...this.arp, ...this.bridge, this.ingress, this.egress]
    return lists.every((l) => l.length === 0)
  }
}

/** Marks the devices that ingress and egress chains look at. */
export function markDevices(tables: NftTables): void {
  const link = tables.link
  for (const dev of tables.ns.devices.values()) {
    dev.hooks &= ~(RX_NFT | TX_NFT)
    if (link?.ingress.some((c) => seesDevice(c, dev)) === true) dev.hooks |= RX_NFT
    if (link?.egress.some((c) => seesDevice(c, dev)) === true) dev.hooks |= TX_NFT
  }
}

function seesDevice(chain: NftChain, dev: NetDevice): boolean {
  return chain.spec.base!.devices.includes(dev.name)
}

/**
 * NF_HOOK(NFPROTO_ARP): M_NH stands at the ARP header; of a packet that leaves, the link header counts and cannot be read.
 * @returns true when the packet is gone
 */
export function nfArp(w: World, ns: Netns, hook: number, slot: number, dev: NetDevice): boolean {
  const link = ns.nft?.link
  if (link == null || link.arp[hook]!.length === 0) return false
  w.impure = true
  const isOut = hook === NF_ARP_OUT
  const extra = isOut ? ETH_HLEN : 0
  if (isOut) {
    w.arena.pull(slot, ETH_HLEN)
    w.arena.meta[(slot << META_SHIFT) + M_MAC] = -1
  }
  const inDev = isOut ? null : dev
  const outDev = isOut ? dev : null
  for (const chain of link.arp[hook]!) {
    const v = nftDoLinkChain(w, ns, chain, NFPROTO_ARP, hook, slot, inDev, outDev, 0, extra)
    if (v !== NF_ACCEPT) return dropped(w, slot)
  }
  if (isOut) w.arena.push(slot, ETH_HLEN)
  return false
}

/**
 * NF_HOOK(NFPROTO_BRIDGE): M_DATA stands behind the link header.
 * @param part BR_BEFORE_BRNF, BR_AFTER_BRNF or BR_ALL
 * @returns true when the packet is gone
 */
export function nfBridge(
  w: World,
  ns: Netns,
  hook: number,
  slot: number,
  inDev: NetDevice | null,
  outDev: NetDevice | null,
  part: number,
): boolean {
  const link = ns.nft?.link
  if (link == null || link.bridge[hook]!.length === 0) return false
  w.impure = true
  const unmodelled = ns.ebt === null ? link.bridgeUnmodelled : 'ebtables beside nft family bridge'
  if (unmodelled !== '') {
    freeSkb(w, slot, R_UNMODELLED, 0, unmodelled)
    return true
  }
  for (const chain of link.bridge[hook]!) {
    if ((part & (chain.priority <= 0 ? BR_BEFORE_BRNF : BR_AFTER_BRNF)) === 0) continue
    const v = nftDoLinkChain(w, ns, chain, NFPROTO_BRIDGE, hook, slot, inDev, outDev, ipFamily(w, slot), 0)
    if (v !== NF_ACCEPT) return dropped(w, slot)
  }
  return false
}

/** nf_ingress: M_DATA stands behind the link header. @returns true when the packet is gone */
export function nfIngress(w: World, slot: number, dev: NetDevice): boolean {
  const link = dev.ns.nft?.link
  if (link == null) return false
  w.impure = true
  for (const chain of link.ingress) {
    if (!seesDevice(chain, dev)) continue
    const family = ipFamily(w, slot)
    const inet = chain.table.family === 'inet'
    if (inet && family === 0) {
      const proto = w.arena.meta[(slot << META_SHIFT) + M_PROTO]
      if (proto !== ETH_P_IP && proto !== ETH_P_IPV6) continue
      freeSkb(w, slot, R_IP_HDR)
      return true
    }
    const pf = inet ? NFPROTO_INET : NFPROTO_NETDEV
    if (nftDoLinkChain(w, dev.ns, chain, pf, 0, slot, dev, null, family, 0) !== NF_ACCEPT) return dropped(w, slot)
  }
  return false
}

/** nf_hook_egress: M_DATA and M_MAC stand at the link header. @returns true when the packet is gone */
export function nfEgress(w: World, slot: number, dev: NetDevice): boolean {
  const link = dev.ns.nft?.link
  if (link == null) return false
  w.impure = true
  const head = dev.ether ? ETH_HLEN : 0
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  w.arena.pull(slot, head)
  meta[m + M_NH] = meta[m + M_DATA]!
  for (const chain of link.egress) {
    if (!seesDevice(chain, dev)) continue
    const v = nftDoLinkChain(w, dev.ns, chain, NFPROTO_NETDEV, 0, slot, null, dev, ipFamily(w, slot), head)
    if (v !== NF_ACCEPT) return dropped(w, slot)
  }
  w.arena.push(slot, head)
  return false
}

function dropped(w: World, slot: number): true {
  const reason = w.dropReason
  w.dropReason = R_NONE
  freeSkb(w, slot, reason === R_NONE ? R_NF_DROP : reason, 0, reason === R_UNMODELLED ? w.dropWhat : null)
  return true
}

/** nft_set_pktinfo_ipv4_validate, nft_set_pktinfo_ipv6_validate: 4 or 6 when the IP header holds, 0 else. */
function ipFamily(w: World, slot: number): 0 | 4 | 6 {
  const { meta, view } = w.arena
  const m = slot << META_SHIFT
  const proto = meta[m + M_PROTO]!
  const nh = meta[m + M_NH]!
  const left = meta[m + M_DATA]! + meta[m + M_LEN]! - nh
  if (proto === ETH_P_IP) {
    if (left < 20 || view.getUint8(nh) >>> 4 !== 4) return 0
    const head = (view.getUint8(nh) & 15) * 4
    const total = view.getUint16(nh + 2)
    return head >= 20 && total <= left && total >= head ? 4 : 0
  }
  if (proto !== ETH_P_IPV6 || left < 40 || view.getUint8(nh) >>> 4 !== 6) return 0
  return view.getUint16(nh + 4) + 40 <= left ? 6 : 0
}
