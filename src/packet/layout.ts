/**
 * Where things stand in a packet's metadata row: the `sk_buff` of podwalk, one row of int32 per slot.
 *
 * Offsets named M_x are columns of `PacketArena.meta` (`meta[slot * META_WORDS + M_x]`). Byte positions (M_DATA, M_MAC,
 * M_NH, M_TH) are absolute offsets into `PacketArena.bytes`, so a header field is one DataView access away.
 *
 *        M_BASE                M_MAC     M_NH       M_TH                     M_BASE + M_CAP
 *          |---- headroom -------|---------|----------|---- payload ----|------|
 *                                M_DATA (moves: push, pull) ... M_LEN bytes
 *
 * Source: include/linux/skbuff.h (struct sk_buff), include/net/ip.h (struct inet_skb_parm),
 * include/linux/skbuff.h (struct nf_bridge_info).
 */

/** int32 words in a metadata row; a power of two, so that `slot << META_SHIFT` is the row. */
export const META_WORDS = 32
/** log2 of META_WORDS. */
export const META_SHIFT = 5

/** Byte offset of the slot's memory. */
export const M_BASE = 0
/** Bytes of the slot's memory. */
export const M_CAP = 1
/** `skb->data`: absolute offset of the current start. */
export const M_DATA = 2
/** `skb->len`: bytes from M_DATA. */
export const M_LEN = 3
/** `skb->mac_header`: absolute offset, -1 when there is none. */
export const M_MAC = 4
/** `skb->network_header`: absolute offset. */
export const M_NH = 5
/** `skb->transport_header`: absolute offset. */
export const M_TH = 6
/** `skb->protocol`: ethertype in host order. */
export const M_PROTO = 7
/** `skb->dev`: device id (World.devices), -1 when none. */
export const M_DEV = 8
/** `skb->skb_iif`: device id the packet came in by in this namespace, -1 when locally made. */
export const M_IIF = 9
/** `skb->mark`. */
export const M_MARK = 10
/** Conntrack entry id in the namespace's table, 0 when none. */
export const M_CT = 11
/** `enum ip_conntrack_info` of M_CT (IP_CT_*), or IP_CT_UNTRACKED. */
export const M_CTINFO = 12
/** PACKET_HOST, PACKET_BROADCAST ... */
export const M_PKTTYPE = 13
/** SKB_* bits below. */
export const M_FLAGS = 14
/** `IPCB(skb)->frag_max_size`: largest fragment that this datagram was put together from, 0 when none. */
export const M_FRAG_MAX = 15
/** `nf_bridge->physindev` device id, -1 when the packet did not come through br_netfilter. */
export const M_NFB_IN = 16
/** `nf_bridge->physoutdev` device id, -1 when none. */
export const M_NFB_OUT = 17
/** NFB_* bits: state of br_netfilter for this packet. */
export const M_NFB_STATE = 18
/** `nf_bridge->ipv4_daddr`: destination before NF_INET_PRE_ROUTING, to see whether DNAT changed it. */
export const M_NFB_DADDR = 19
/** Identity of the packet for traces: kept over the whole path, a clone gets its own. */
export const M_ID = 20
/** M_ID of the packet that this one was cloned or made from (a fragment, a flood copy, an ICMP error), 0 when none. */
export const M_PARENT = 21
/** Socket id (SocketTable) that sent the packet, 0 when none. */
export const M_SK = 22
/** Link to the next slot in a queue (backlog, neighbour, fragment queue), -1 at the end. */
export const M_NEXT = 23
/** `skb->hash` (flow hash), 0 when not computed. */
export const M_HASH = 24
/** `IPCB(skb)->opt.optlen`: bytes of IPv4 options. */
export const M_OPTLEN = 25
/** Incoming device id that br_netfilter put aside while the bridge device stands in for it, -1 when none. */
export const M_REALDEV = 26
/** Upper 16 bits, then lower 32, of the source MAC that br_netfilter keeps on its DNAT path (`nf_bridge->neigh_header`). */
export const M_NFB_SMAC_HI = 27
export const M_NFB_SMAC_LO = 28
/** `skb->priority` and TOS handed by a socket; 0 by default. */
export const M_PRIORITY = 29
/** Virtual arrival time in microseconds, modulo 2^31 (SO_TIMESTAMP, fragment queues). */
export const M_TSTAMP_US = 30
/** `skb->truesize` that the sending TCP accounts, 0 when not computed (receive windows depend on it). */
export const M_TRUESIZE = 31

/** M_FLAGS: `IPSKB_FORWARDED`. */
export const SKB_FORWARDED = 1 << 0
/** M_FLAGS: `IPSKB_REROUTED`: the address was rewritten in LOCAL_OUT, POST_ROUTING must not run twice. */
export const SKB_REROUTED = 1 << 1
/** M_FLAGS: `IPSKB_DOREDIRECT`. */
export const SKB_DOREDIRECT = 1 << 2
/** M_FLAGS: `skb->ignore_df`. */
export const SKB_IGNORE_DF = 1 << 3
/** M_FLAGS: `IPSKB_FRAG_PMTU`: the largest fragment carried DF. */
export const SKB_FRAG_PMTU = 1 << 4
/** M_FLAGS: `IPSKB_NOPOLICY`-like: neighbour output must not be cached; set on packets made by the stack itself. */
export const SKB_NODST = 1 << 5
/**
 * M_FLAGS: the transport checksum is known to be right (made by this stack: CHECKSUM_UNNECESSARY). Kept across devices;
 * a fragment, a decapsulated packet and what a raw socket sent do not have it. Whoever damages bytes must clear it.
 */
export const SKB_CSUM_OK = 1 << 6
/**
 * M_FLAGS: `skb->csum_valid`: conntrack has summed the packet and found it right, before anything was written into it.
 */
export const SKB_CSUM_VALID = 1 << 21
/** M_FLAGS: the sender is in process context; transmit runs the backlog as local_bh_enable does. */
export const SKB_REDIRECTED = 1 << 7
/** M_FLAGS: `skb->ipvs_property`: IPVS has handled the packet; kept when it comes back over the loopback device. */
export const SKB_IPVS_PROPERTY = 1 << 20

/** M_NFB_STATE: this packet is in br_netfilter's hands (nf_bridge allocated). */
export const NFB_PRESENT = 1 << 0
/** M_NFB_STATE: `nf_bridge->sabotage_in_done`: IPv4 PRE_ROUTING already ran on the bridge. */
export const NFB_SABOTAGE_IN_DONE = 1 << 1
/** M_NFB_STATE: `nf_bridge->bridged_dnat`: the frame is re-bridged after DNAT. */
export const NFB_BRIDGED_DNAT = 1 << 2
/** M_NFB_STATE: `nf_bridge->in_prerouting`: the IPv4 PRE_ROUTING hooks run for the bridge right now. */
export const NFB_IN_PREROUTING = 1 << 3
/** M_NFB_STATE: `nf_bridge->pkt_otherhost`: pkt_type was PACKET_OTHERHOST before the IPv4 hooks. */
export const NFB_OTHERHOST = 1 << 4

/** `skb->pkt_type`, include/uapi/linux/if_packet.h. */
export const PACKET_HOST = 0
export const PACKET_BROADCAST = 1
export const PACKET_MULTICAST = 2
export const PACKET_OTHERHOST = 3
export const PACKET_OUTGOING = 4
export const PACKET_LOOPBACK = 5

/** Ethertypes, include/uapi/linux/if_ether.h. */
export const ETH_P_IP = 0x0800
export const ETH_P_ARP = 0x0806
export const ETH_P_8021Q = 0x8100
export const ETH_P_8021AD = 0x88a8
export const ETH_P_IPV6 = 0x86dd
/** Bytes of an Ethernet header. */
export const ETH_HLEN = 14

/** `PacketArena.vlan`: a VLAN tag stands beside the frame (skb_vlan_tag_present); bits 0-15 are its TCI. */
export const VLAN_TAG_PRESENT = 1 << 16
/** `PacketArena.vlan`: the tag is a service tag (802.1ad), without this bit a customer tag (802.1Q). */
export const VLAN_TAG_8021AD = 1 << 17
/** `PacketArena.vlan`: `BR_INPUT_SKB_CB(skb)->vlan_filtered`: a bridge that filters VLANs let the frame in. */
export const VLAN_FILTERED = 1 << 18
/** VLAN_VID_MASK of a TCI. */
export const VLAN_VID_MASK = 0xfff
/** Bytes of a VLAN tag. */
export const VLAN_HLEN = 4
