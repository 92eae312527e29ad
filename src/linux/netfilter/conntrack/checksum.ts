/**
 * nf_ip_checksum: whether a packet's transport checksum is right, as conntrack and ICMP translation ask it.
 *
 * Linux: net/netfilter/utils.c (nf_ip_checksum). Over the bytes that the packet really has (skb->len), so a UDP length
 * that differs from the IP payload counts as wrong. Packets that this stack made itself (SKB_CSUM_OK) are taken as right
 * (CHECKSUM_UNNECESSARY).
 */
import type { PacketArena } from '../../../packet/arena.ts'
import { M_DATA, M_FLAGS, M_LEN, META_SHIFT, SKB_CSUM_OK } from '../../../packet/layout.ts'
import { internetChecksum, pseudoSumV4 } from '../../../wire/checksum.ts'
import { IPPROTO_TCP, IPPROTO_UDP } from './layout.ts'

/** True when the checksum of the transport part at absolute offset `l4` is right. */
export function nfIpChecksumOk(arena: PacketArena, slot: number, l4: number, proto: number): boolean {
  const m = slot << META_SHIFT
  const meta = arena.meta
  if ((meta[m + M_FLAGS]! & SKB_CSUM_OK) !== 0) return true
  const nh = meta[m + M_DATA]!
  const len = nh + meta[m + M_LEN]! - l4
  const view = arena.view
  const seed =
    proto === IPPROTO_TCP || proto === IPPROTO_UDP
      ? pseudoSumV4(view.getInt32(nh + 12), view.getInt32(nh + 16), proto, len)
      : 0
  return internetChecksum(view, l4, len, seed) === 0
}
