/**
 * veth, and the physical link between two hosts: what one end transmits, the other receives.
 *
 * Linux: drivers/net/veth.c (veth_xmit), net/core/dev.c (__dev_forward_skb2, is_skb_forwardable), net/core/skbuff.c
 * (skb_scrub_packet). A NIC pair joined by a wire behaves the same: the receiving host sees only bytes. Not modelled: XDP,
 * GRO, link speed and delay (left to the timed simulation).
 */
import {
  ETH_HLEN,
  M_CT,
  M_CTINFO,
  M_DEV,
  M_FLAGS,
  M_FRAG_MAX,
  M_IIF,
  M_LEN,
  M_MARK,
  M_NFB_IN,
  M_NFB_OUT,
  M_NFB_STATE,
  M_OPTLEN,
  M_PRIORITY,
  M_REALDEV,
  M_SK,
  META_SHIFT,
  SKB_CSUM_OK,
} from '../../packet/layout.ts'
import { ethTypeTrans, netifRx } from '../core/dev.ts'
import { freeSkb } from '../core/skb.ts'
import { NET_XMIT_DROP } from '../errno.ts'
import { nfConntrackPut } from '../netfilter/conntrack/core.ts'
import { R_MTU, R_NO_CARRIER } from '../reasons.ts'
import type { World } from '../world.ts'
import type { NetDevice } from './device.ts'

/** is_skb_forwardable: the receiver is up and the frame is not larger than it takes (one VLAN tag on top). */
export function isSkbForwardable(w: World, slot: number, dev: NetDevice): boolean {
  return dev.up && w.arena.meta[(slot << META_SHIFT) + M_LEN]! <= dev.mtu + ETH_HLEN + 4
}

/**
 * skb_scrub_packet: what does not cross into another device's receive path. With `xnet` (another namespace) the mark
 * goes too.
 */
export function skbScrubPacket(w: World, slot: number, xnet: boolean): void {
  const meta = w.arena.meta
  const m = slot << META_SHIFT
  if (meta[m + M_CT] !== 0) {
    nfConntrackPut(w, slot)
    meta[m + M_CT] = 0
  }
  meta[m + M_CTINFO] = 0
  meta[m + M_IIF] = -1
  // the bytes stay as they are: what is known of their checksum too
  meta[m + M_FLAGS] = meta[m + M_FLAGS]! & SKB_CSUM_OK
  meta[m + M_NFB_IN] = -1
  meta[m + M_NFB_OUT] = -1
  meta[m + M_NFB_STATE] = 0
  meta[m + M_REALDEV] = -1
  meta[m + M_FRAG_MAX] = 0
  meta[m + M_OPTLEN] = 0
  // ____dev_forward_skb clears the priority, ip_rcv_core the socket: nobody looks in between
  meta[m + M_PRIORITY] = 0
  meta[m + M_SK] = 0
  w.arena.dst[slot] = null
  if (xnet) {
    meta[m + M_MARK] = 0
  }
}

/** dev_forward_skb: `dev` receives the frame, link header at M_DATA. Takes the slot. @returns false when it was dropped */
export function devForwardSkb(w: World, slot: number, dev: NetDevice): boolean {
  if (!isSkbForwardable(w, slot, dev)) {
    dev.rxDropped++
    freeSkb(w, slot, dev.up ? R_MTU : R_NO_CARRIER, dev.mtu)
    return false
  }
  const from = w.devices[w.arena.meta[(slot << META_SHIFT) + M_DEV]!]
  skbScrubPacket(w, slot, from?.ns !== dev.ns)
  ethTypeTrans(w, slot, dev)
  netifRx(w, slot)
  return true
}

/** veth_xmit. Takes the slot. @returns 0 or NET_XMIT_DROP */
export function vethXmit(w: World, slot: number, dev: NetDevice): number {
  const peer = dev.peer
  if (peer === null) {
    dev.txDropped++
    freeSkb(w, slot, R_NO_CARRIER)
    return NET_XMIT_DROP
  }
  if (!isSkbForwardable(w, slot, peer)) {
    dev.txDropped++
    freeSkb(w, slot, peer.up ? R_MTU : R_NO_CARRIER, peer.mtu)
    return NET_XMIT_DROP
  }
  // the statistics count what arrived
  dev.txPackets++
  dev.txBytes += w.arena.meta[(slot << META_SHIFT) + M_LEN]!
  skbScrubPacket(w, slot, w.arena.meta[(slot << META_SHIFT) + M_MARK] !== 0 && peer.ns !== dev.ns)
  ethTypeTrans(w, slot, peer)
  netifRx(w, slot)
  return 0
}
