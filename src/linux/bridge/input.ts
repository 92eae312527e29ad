/**
 * Frames that enter a bridge: from a port (br_handle_frame) or from the host (br_dev_xmit).
 *
 * Linux: net/bridge/br_input.c, br_device.c. Not modelled: multicast snooping (multicast is flooded), ARP suppression.
 */
import {
  ETH_HLEN,
  ETH_P_8021AD,
  ETH_P_8021Q,
  M_DATA,
  M_DEV,
  M_LEN,
  M_MAC,
  M_NFB_STATE,
  M_NH,
  M_PKTTYPE,
  M_PROTO,
  META_SHIFT,
  NFB_BRIDGED_DNAT,
  PACKET_HOST,
  PACKET_LOOPBACK,
  VLAN_FILTERED,
  VLAN_TAG_PRESENT,
  VLAN_VID_MASK,
} from '../../packet/layout.ts'
import { netifReceiveSkb } from '../core/dev.ts'
import { freeSkb } from '../core/skb.ts'
import type { NetDevice } from '../device/device.ts'
import { skbVlanUntag } from '../device/vlan.ts'
import { ebtDoTable } from '../netfilter/ebtables/eval.ts'
import {
  BR_AFTER_BRNF,
  BR_ALL,
  BR_BEFORE_BRNF,
  NF_BR_LOCAL_IN,
  NF_BR_PRE_ROUTING,
  nfBridge,
} from '../netfilter/nftables/link-chains.ts'
import {
  R_BRIDGE_LINK_LOCAL,
  R_BRIDGE_PORT_DISABLED,
  R_BRIDGE_VLAN,
  R_INVALID_TX,
  R_MARTIAN_SOURCE,
} from '../reasons.ts'
import type { Rtable } from '../route/rtable.ts'
import { T_BR_INPUT, T_BR_LEARN, T_BR_LOCAL } from '../trace.ts'
import type { World } from '../world.ts'
import { brNfLocalIn, brNfPreRouting, brNfPreRoutingFinishBridgeSlow } from './br-netfilter.ts'
import { BR_STATE_DISABLED, BR_STATE_FORWARDING, BR_STATE_LEARNING, type Bridge, type BridgePort } from './bridge.ts'
import { brFlood, brForward, PKT_BROADCAST, PKT_MULTICAST, PKT_UNICAST } from './forward.ts'
import { brAllowedEgress, brAllowedIngress, brHandleVlan } from './vlan.ts'

/**
 * br_handle_frame: the rx_handler of a bridge port. M_DATA stands behind the Ethernet header.
 * @returns true when the bridge took the frame, false when the port's own host stack gets it
 */
export function brHandleFrame(w: World, slot: number, port: BridgePort): boolean {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  if (meta[m + M_PKTTYPE] === PACKET_LOOPBACK) return false
  const mac = meta[m + M_MAC]!
  const v = a.view
  const srcHi = v.getUint16(mac + 6)
  const srcLo = v.getInt32(mac + 8)
  if ((srcHi & 0x0100) !== 0 || (srcHi === 0 && srcLo === 0)) {
    freeSkb(w, slot, R_MARTIAN_SOURCE, 0, 'invalid source MAC')
    return true
  }
  const dstHi = v.getUint16(mac)
  const dstLo = v.getInt32(mac + 2)
  if (dstHi === 0x0180 && (dstLo & 0xfffffff0) === (0xc2000000 | 0)) {
    const low = dstLo & 0xf
    const bit = 1 << low
    const mask = port.bridge.groupFwdMask | port.groupFwdMask
    if (low === 1) {
      freeSkb(w, slot, R_BRIDGE_LINK_LOCAL, low)
      return true
    }
    const forwards = low === 0 ? !port.bridge.stp || (mask & bit) !== 0 : (mask & bit) !== 0
    if (!forwards) {
      // __br_handle_local_finish: learn, then the port device's own stack gets it
      const learns = port.state === BR_STATE_LEARNING || port.state === BR_STATE_FORWARDING
      // the frame's own tag, or 0 (__br_handle_local_finish, br_vlan_get_tag)
      const tag = w.arena.vlan[slot]!
      const vid = port.bridge.vlanFiltering && (tag & VLAN_TAG_PRESENT) !== 0 ? tag & VLAN_VID_MASK : 0
      const ns = port.dev.ns
      // STP and LLDP frames pass without the hook
      if (
        low !== 0 &&
        low !== 14 &&
        ns.nft?.link != null &&
        nfBridge(w, ns, NF_BR_LOCAL_IN, slot, port.dev, null, BR_ALL)
      )
        return true
      if (port.learning && learns) learn(w, slot, port, srcHi, srcLo, vid)
      return false
    }
  }
  if (port.state !== BR_STATE_FORWARDING && port.state !== BR_STATE_LEARNING) {
    freeSkb(w, slot, R_BRIDGE_PORT_DISABLED, port.state)
    return true
  }
  const br = port.bridge
  if (dstHi === br.dev.macHi && dstLo === br.dev.macLo) meta[m + M_PKTTYPE] = PACKET_HOST
  if (w.tracer !== null) w.tracer.step(T_BR_INPUT, slot, port.dev.ns, port.dev, 0, 0, 0, br.dev)
  const ebt = port.dev.ns.ebt
  if (ebt !== null && !ebtDoTable(w, slot, ebt.prerouting, port.dev, null)) return true
  const hooked = port.dev.ns.nft?.link != null
  if (hooked && nfBridge(w, port.dev.ns, NF_BR_PRE_ROUTING, slot, port.dev, null, BR_BEFORE_BRNF)) return true
  if (brNfPreRouting(w, slot, port)) return true
  if (hooked) brPreRoutingRest(w, slot, port)
  else brHandleFrameFinish(w, slot)
  return true
}

/** br_nf_hook_thresh(NF_BR_PRE_ROUTING): the chains that stand behind br_netfilter, then br_handle_frame_finish. */
export function brPreRoutingRest(w: World, slot: number, port: BridgePort): void {
  if (!nfBridge(w, port.dev.ns, NF_BR_PRE_ROUTING, slot, port.dev, null, BR_AFTER_BRNF)) brHandleFrameFinish(w, slot)
}

function learn(w: World, slot: number, port: BridgePort, hi: number, lo: number, vid: number): void {
  const e = port.bridge.fdbUpdate(port, hi, lo, vid)
  const what = port.bridge.learned
  if (what !== 0 && w.tracer !== null) w.tracer.step(T_BR_LEARN, slot, port.dev.ns, port.dev, what, 0, 0, e)
}

/** br_handle_frame_finish: learn, then forward, flood or hand up. M_DEV is the port's device. */
export function brHandleFrameFinish(w: World, slot: number): void {
  const a = w.arena
  const m = slot << META_SHIFT
  // null: the port's device was deleted while the packet waited for a neighbour
  const dev = w.devices[a.meta[m + M_DEV]!] as NetDevice | null
  const port = dev === null ? null : dev.port
  if (port === null || port.state === BR_STATE_DISABLED) {
    freeSkb(w, slot, R_BRIDGE_PORT_DISABLED)
    return
  }
  const br = port.bridge
  let mac = a.meta[m + M_MAC]!
  const v = a.view
  let vid = 0
  if (br.vlanFiltering) {
    vid = brAllowedIngress(w, slot, port.vlanGroup!, br.vlanProto)
    if (vid < 0) return
    mac = a.meta[m + M_MAC]!
  }
  if (port.learning) learn(w, slot, port, v.getUint16(mac + 6), v.getInt32(mac + 8), vid)
  if (port.state === BR_STATE_LEARNING) {
    freeSkb(w, slot, R_BRIDGE_PORT_DISABLED, port.state)
    return
  }
  const hi = v.getUint16(mac)
  const lo = v.getInt32(mac + 2)
  // local_rcv: a promiscuous bridge device also receives what is bridged
  const promisc = br.dev.promiscuity > 0
  if ((hi & 0x0100) !== 0) {
    const kind = hi === 0xffff && lo === -1 ? PKT_BROADCAST : PKT_MULTICAST
    brFlood(w, slot, br, kind, true, false)
    brPassFrameUp(w, slot, br, promisc)
    return
  }
  const dst = br.fdb.find(hi, lo, vid)
  if (dst?.isLocal === true) {
    brPassFrameUp(w, slot, br, false)
    return
  }
  if (dst === undefined) brFlood(w, slot, br, PKT_UNICAST, promisc, false)
  else {
    dst.usedNs = w.nowNs
    brForward(w, slot, dst.port!, dst, false, promisc)
  }
  if (promisc) brPassFrameUp(w, slot, br, true)
}

/** br_pass_frame_up: the bridge device receives the frame. */
function brPassFrameUp(w: World, slot: number, br: Bridge, promisc: boolean): void {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  if (w.arena.vlan[slot] !== 0) {
    // a promiscuous bridge device sees every VLAN
    const all = br.dev.promiscuity > 0
    if ((!all && !brAllowedEgress(w, slot, br.vlanGroup)) || (!brHandleVlan(w, slot, br.vlanGroup) && !all)) {
      freeSkb(w, slot, R_BRIDGE_VLAN)
      return
    }
    w.arena.vlan[slot] = w.arena.vlan[slot]! & ~VLAN_FILTERED
  }
  const from = w.devices[meta[m + M_DEV]!]!
  const ebt = br.dev.ns.ebt
  if (ebt !== null && !ebtDoTable(w, slot, ebt.input, from, br.dev)) return
  meta[m + M_DEV] = br.dev.id
  const ns = br.dev.ns
  const hooked = ns.nft?.link != null
  if (hooked && nfBridge(w, ns, NF_BR_LOCAL_IN, slot, from, null, BR_BEFORE_BRNF)) return
  if (brNfLocalIn(w, ns, slot, promisc)) return
  if (hooked && nfBridge(w, ns, NF_BR_LOCAL_IN, slot, from, null, BR_AFTER_BRNF)) return
  // br_drop_fake_rtable: a decision that DNAT on the bridge made stays
  const rt = w.arena.dst[slot] as Rtable | null
  if (rt !== null && !rt.isInput) w.arena.dst[slot] = null
  if (w.tracer !== null) w.tracer.step(T_BR_LOCAL, slot, br.dev.ns, br.dev, 0, 0, 0, null)
  netifReceiveSkb(w, slot)
}

/** br_dev_xmit: the host sends through the bridge device. M_DATA stands at the Ethernet header. */
export function brDevXmit(w: World, slot: number, dev: NetDevice): void {
  const a = w.arena
  const meta = a.meta
  const m = slot << META_SHIFT
  const br = dev.bridge!
  if (meta[m + M_LEN]! < ETH_HLEN) {
    freeSkb(w, slot, R_INVALID_TX)
    return
  }
  if ((meta[m + M_NFB_STATE]! & NFB_BRIDGED_DNAT) !== 0) {
    brNfPreRoutingFinishBridgeSlow(w, slot)
    return
  }
  const mac = meta[m + M_DATA]!
  meta[m + M_MAC] = mac
  a.pull(slot, ETH_HLEN)
  meta[m + M_NH] = mac + ETH_HLEN
  const hi = a.view.getUint16(mac)
  const lo = a.view.getInt32(mac + 2)
  let vid = 0
  if (br.vlanFiltering) {
    const proto = meta[m + M_PROTO]!
    if ((proto === ETH_P_8021Q || proto === ETH_P_8021AD) && !skbVlanUntag(w, slot)) {
      freeSkb(w, slot, R_INVALID_TX)
      return
    }
    vid = brAllowedIngress(w, slot, br.vlanGroup!, br.vlanProto)
    if (vid < 0) return
  }
  if ((hi & 0x0100) !== 0) {
    brFlood(w, slot, br, hi === 0xffff && lo === -1 ? PKT_BROADCAST : PKT_MULTICAST, false, true)
    return
  }
  const dst = br.fdb.find(hi, lo, vid)
  if (dst !== undefined && dst.port !== null) {
    dst.usedNs = w.nowNs
    brForward(w, slot, dst.port, dst, true)
  } else if (dst !== undefined)
    freeSkb(w, slot, R_INVALID_TX) // the bridge's own address: br_forward to nobody
  else brFlood(w, slot, br, PKT_UNICAST, false, true)
}
