/**
 * VLAN devices: 802.1Q and 802.1ad sub-interfaces.
 *
 * Linux: net/8021q/vlan_dev.c (vlan_dev_hard_start_xmit, vlan_dev_hard_header, vlan_dev_open), vlan_core.c
 * (vlan_do_receive), vlan_netlink.c (vlan_newlink), net/core/skbuff.c (skb_vlan_untag, skb_reorder_vlan_header),
 * include/linux/if_vlan.h (__vlan_hwaccel_push_inside, vlan_insert_inner_tag). IEEE 802.1Q.
 * A VLAN device adds its tag beside the frame; a device below without tag offload gets it pushed into the bytes.
 * Not modelled, refused by name: gvrp, mvrp, bridge_binding, QoS maps (the tag's priority is 0).
 */
import {
  ETH_HLEN,
  ETH_P_8021AD,
  ETH_P_8021Q,
  M_DATA,
  M_DEV,
  M_LEN,
  M_MAC,
  M_NH,
  M_PKTTYPE,
  M_PRIORITY,
  M_PROTO,
  M_TH,
  META_SHIFT,
  PACKET_HOST,
  PACKET_OTHERHOST,
  PACKET_OUTGOING,
  VLAN_HLEN,
  VLAN_TAG_8021AD,
  VLAN_TAG_PRESENT,
  VLAN_VID_MASK,
} from '../../packet/layout.ts'
import { devQueueXmit, receiveCore } from '../core/dev.ts'
import { freeSkb } from '../core/skb.ts'
import { EEXIST, EINVAL } from '../errno.ts'
import type { Netns } from '../netns.ts'
import { R_DEV_DOWN } from '../reasons.ts'
import type { World } from '../world.ts'
import {
  DEV_BRIDGE,
  DEV_NIC,
  DEV_VETH,
  DEV_VLAN,
  IFF_PROMISC,
  IFF_UP,
  type NetDevice,
  RX_MACVLAN,
  RX_VLAN,
} from './device.ts'
import { registerNetdevice } from './register.ts'

/** What `ip link add ... type vlan` sets: struct vlan_dev_priv. */
export interface VlanConfig {
  id: number
  /** ETH_P_8021Q or ETH_P_8021AD */
  proto: number
  /** VLAN_FLAG_REORDER_HDR: the tag is taken out of received frames */
  reorderHdr: boolean
  /** VLAN_FLAG_LOOSE_BINDING: the device's state does not follow the one below */
  looseBinding: boolean
}

/** The configuration of a device of kind DEV_VLAN. */
export function vlanPriv(dev: NetDevice): VlanConfig {
  return dev.priv as VlanConfig
}

function groupKey(cfg: VlanConfig): number {
  return cfg.id | (cfg.proto === ETH_P_8021AD ? VLAN_TAG_8021AD : 0)
}

/** ip link add link LOWER name NAME type vlan. @returns the device, -EEXIST for an id in use, -EINVAL for a large MTU */
export function createVlan(
  ns: Netns,
  name: string,
  lower: NetDevice,
  cfg: VlanConfig,
  mac: { hi: number; lo: number } | null = null,
  mtu: number | null = null,
): NetDevice | number {
  const key = groupKey(cfg)
  if (lower.vlanGroup?.has(key) === true) return EEXIST
  if (mtu !== null && mtu > lower.mtu) return EINVAL
  const dev = registerNetdevice(ns, name, DEV_VLAN, mac ?? { hi: lower.macHi, lo: lower.macLo }, mtu ?? lower.mtu)
  dev.macSet = mac !== null
  dev.flags = lower.flags & ~(IFF_UP | IFF_PROMISC)
  dev.priv = cfg
  dev.lower = lower
  dev.carrier = lower.carrier
  lower.uppers.push(dev)
  lower.vlanGroup ??= new Map()
  lower.vlanGroup.set(key, dev)
  lower.hooks |= RX_VLAN
  return dev
}

/** unregister_vlan_dev */
export function vlanUninit(dev: NetDevice): void {
  const lower = dev.lower
  if (lower === null || lower.vlanGroup === null) return
  lower.vlanGroup.delete(groupKey(vlanPriv(dev)))
  if (lower.vlanGroup.size === 0) lower.hooks &= ~RX_VLAN
}

/** skb_vlan_untag: takes the tag at M_DATA out of the frame and puts it beside. @returns false when it is cut short */
export function skbVlanUntag(w: World, slot: number): boolean {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  if ((a.vlan[slot]! & VLAN_TAG_PRESENT) !== 0) return true
  if (meta[m + M_LEN]! < VLAN_HLEN + 2) return false
  const data = meta[m + M_DATA]!
  const ad = meta[m + M_PROTO] === ETH_P_8021AD ? VLAN_TAG_8021AD : 0
  a.vlan[slot] = a.vlan[slot]! | VLAN_TAG_PRESENT | ad | a.view.getUint16(data)
  const proto = a.view.getUint16(data + 2)
  meta[m + M_PROTO] = proto >= 0x600 ? proto : 0x0004
  const mac = meta[m + M_MAC]!
  // skb_reorder_vlan_header
  a.bytes.copyWithin(mac + VLAN_HLEN, mac, data - 2)
  meta[m + M_MAC] = mac + VLAN_HLEN
  a.pull(slot, VLAN_HLEN)
  meta[m + M_NH] = meta[m + M_DATA]!
  meta[m + M_TH] = meta[m + M_DATA]!
  return true
}

/** __vlan_hwaccel_push_inside: the tag beside the frame goes into it, M_DATA at the Ethernet header. */
export function vlanPushInside(w: World, slot: number): void {
  const a = w.arena
  const tag = a.vlan[slot]!
  a.vlan[slot] = 0
  if ((tag & VLAN_TAG_PRESENT) !== 0) vlanInsertTag(w, slot, tag)
}

/** vlan_insert_tag_set_proto at M_DATA. */
export function vlanInsertTag(w: World, slot: number, tag: number): void {
  const a = w.arena
  const m = slot << META_SHIFT
  if (a.headroom(slot) < VLAN_HLEN && !a.resize(slot, a.meta[m + M_LEN]!)) return
  const from = a.meta[m + M_DATA]!
  const data = a.push(slot, VLAN_HLEN)
  a.bytes.copyWithin(data, from, from + 12)
  const proto = (tag & VLAN_TAG_8021AD) !== 0 ? ETH_P_8021AD : ETH_P_8021Q
  a.view.setUint16(data + 12, proto)
  a.view.setUint16(data + 14, tag & 0xffff)
  a.meta[m + M_PROTO] = proto
  a.meta[m + M_MAC] = data
}

/** vlan_do_receive: the VLAN device of the tag gets the frame. @returns true when it was taken */
export function vlanDoReceive(w: World, slot: number, lower: NetDevice): boolean {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const tag = a.vlan[slot]!
  const dev = lower.vlanGroup?.get(tag & (VLAN_VID_MASK | VLAN_TAG_8021AD))
  if (dev === undefined) return false
  if (!dev.up) {
    freeSkb(w, slot, R_DEV_DOWN, 0, dev)
    return true
  }
  meta[m + M_DEV] = dev.id
  const mac = meta[m + M_MAC]!
  if (meta[m + M_PKTTYPE] === PACKET_OTHERHOST) {
    // the layer below thinks this is not local: the VLAN device may have an address of its own
    if (a.view.getUint16(mac) === dev.macHi && a.view.getInt32(mac + 2) === dev.macLo) {
      meta[m + M_PKTTYPE] = PACKET_HOST
    }
  }
  if (!vlanPriv(dev).reorderHdr && (dev.hooks & RX_MACVLAN) === 0 && dev.port === null) {
    // vlan_insert_inner_tag: the tag stands behind the Ethernet header, which is moved in front of it
    a.bytes.copyWithin(mac - VLAN_HLEN, mac, mac + 12)
    a.view.setUint16(mac - VLAN_HLEN + 12, vlanPriv(dev).proto)
    a.view.setUint16(mac - VLAN_HLEN + 14, tag & 0xffff)
    meta[m + M_MAC] = mac - VLAN_HLEN
  }
  meta[m + M_PRIORITY] = 0
  a.vlan[slot] = 0
  dev.rxPackets++
  dev.rxBytes += meta[m + M_LEN]!
  receiveCore(w, slot, dev)
  return true
}

/** NETIF_F_HW_VLAN_*_TX of the device below: then its own header functions are used (vlan_passthru_header_ops). */
function offloads(lower: NetDevice): boolean {
  return lower.kind === DEV_VETH || lower.kind === DEV_NIC || lower.kind === DEV_BRIDGE
}

/** vlan_dev_hard_header: without reorder_hdr the stack's frames carry the tag already when the device gets them. */
export function vlanHardHeader(w: World, slot: number, dev: NetDevice): void {
  const cfg = vlanPriv(dev)
  if (cfg.reorderHdr || dev.lower === null || offloads(dev.lower)) return
  const m = slot << META_SHIFT
  // what a packet socket sent has its own header
  if (w.arena.meta[m + M_PKTTYPE] === PACKET_OUTGOING) return
  vlanInsertTag(w, slot, groupKey(cfg))
}

/** vlan_dev_hard_start_xmit: the tag beside the frame, then the device below. Takes the slot. @returns what it answers */
export function vlanXmit(w: World, slot: number, dev: NetDevice): number {
  const a = w.arena
  const m = slot << META_SHIFT
  const cfg = vlanPriv(dev)
  const eth = a.meta[m + M_DATA]!
  if (cfg.reorderHdr || a.meta[m + M_LEN]! < ETH_HLEN || a.view.getUint16(eth + 12) !== cfg.proto) {
    a.vlan[slot] = VLAN_TAG_PRESENT | groupKey(cfg)
  }
  a.meta[m + M_DEV] = dev.lower!.id
  const len = a.meta[m + M_LEN]!
  const rc = devQueueXmit(w, slot)
  if (rc === 0) {
    dev.txPackets++
    dev.txBytes += len
  } else dev.txDropped++
  return rc
}
