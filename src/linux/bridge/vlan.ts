/**
 * VLAN filtering of a bridge: which VLANs a port carries, and what happens to tags on the way in and out.
 *
 * Linux: net/bridge/br_vlan.c (__allowed_ingress, br_allowed_egress, br_handle_vlan, nbp_vlan_init), IEEE 802.1Q-2011.
 * Not modelled: VLAN states (STP per VLAN), statistics, tunnel mapping, per-VLAN multicast, bridge_binding.
 */
import { ETH_P_8021AD, VLAN_FILTERED, VLAN_TAG_8021AD, VLAN_TAG_PRESENT, VLAN_VID_MASK } from '../../packet/layout.ts'
import { freeSkb } from '../core/skb.ts'
import { vlanInsertTag } from '../device/vlan.ts'
import { R_BRIDGE_VLAN } from '../reasons.ts'
import type { World } from '../world.ts'

/** The VLANs of a port or of the bridge itself: struct net_bridge_vlan_group. */
export class VlanGroup {
  /** VLAN id to BRIDGE_VLAN_INFO_UNTAGGED, ascending as `bridge vlan` lists them. */
  vlans = new Map<number, boolean>()
  /** VLAN of frames without a tag, 0: they are dropped. */
  pvid = 0

  /** __vlan_add, and __vlan_add_flags when it is there. @returns whether the VLAN is new */
  add(vid: number, pvid: boolean, untagged: boolean): boolean {
    const isNew = !this.vlans.has(vid)
    this.vlans.set(vid, untagged)
    if (isNew) this.vlans = new Map([...this.vlans].sort((a, b) => a[0] - b[0]))
    if (pvid) this.pvid = vid
    else if (this.pvid === vid) this.pvid = 0
    return isNew
  }

  /** __vlan_del. @returns whether it was there */
  delete(vid: number): boolean {
    if (this.pvid === vid) this.pvid = 0
    return this.vlans.delete(vid)
  }
}

/**
 * br_allowed_ingress of a bridge that filters, M_DATA behind the Ethernet header: the frame belongs to the VLAN of its tag,
 * or to the port's PVID and carries that tag from now on.
 * @returns the VLAN id, or -1 when the frame was dropped
 */
export function brAllowedIngress(w: World, slot: number, vg: VlanGroup, proto: number): number {
  const a = w.arena
  const service = proto === ETH_P_8021AD ? VLAN_TAG_8021AD : 0
  let tag = a.vlan[slot]!
  let tagged = (tag & VLAN_TAG_PRESENT) !== 0
  let vid = tagged ? tag & VLAN_VID_MASK : 0
  if (tagged && (tag & VLAN_TAG_8021AD) !== service) {
    // a tag of the other protocol is payload
    a.push(slot, 14)
    vlanInsertTag(w, slot, tag)
    a.pull(slot, 14)
    tag = 0
    vid = 0
    tagged = false
  }
  if (vid === 0) {
    vid = vg.pvid
    if (vid === 0) return refuse(w, slot)
    tag = tagged ? tag | vid : VLAN_TAG_PRESENT | service | vid
  }
  if (!vg.vlans.has(vid)) return refuse(w, slot)
  a.vlan[slot] = tag | VLAN_FILTERED
  return vid
}

function refuse(w: World, slot: number): number {
  freeSkb(w, slot, R_BRIDGE_VLAN)
  return -1
}

/** br_allowed_egress: whether the port carries the frame's VLAN; a frame that was not filtered at input passes. */
export function brAllowedEgress(w: World, slot: number, vg: VlanGroup | null): boolean {
  const tag = w.arena.vlan[slot]!
  if ((tag & VLAN_FILTERED) === 0) return true
  return vg?.vlans.has(tag & VLAN_VID_MASK) === true
}

/** br_handle_vlan: takes the tag off where the VLAN leaves untagged. @returns false when the VLAN is unknown here */
export function brHandleVlan(w: World, slot: number, vg: VlanGroup | null): boolean {
  const tag = w.arena.vlan[slot]!
  if ((tag & VLAN_FILTERED) === 0) return true
  const untagged = vg?.vlans.get(tag & VLAN_VID_MASK)
  if (untagged === undefined) return false
  w.arena.vlan[slot] = untagged ? 0 : tag & ~VLAN_FILTERED
  return true
}
