/**
 * Where things stand in a conntrack entry's row: struct nf_conn as int32 words, and the bits that others read.
 *
 * Linux: include/net/netfilter/nf_conntrack.h (struct nf_conn), include/uapi/linux/netfilter/nf_conntrack_common.h (status
 * bits, ctinfo), include/linux/netfilter/nf_conntrack_tcp.h (struct ip_ct_tcp). Times stand beside the rows as float64
 * nanoseconds (table.ts). Ports of a tuple are one word: source << 16 | destination; ICMP keeps id << 16 | type << 8 | code.
 * Not here: zones other than 0, labels, secmark, timestamps, sequence adjustment, helpers, offload.
 */

/** Verdicts as netfilter/hooks.ts has them; NF_REPEAT is known inside conntrack only. */
export const NF_DROP = 0
export const NF_ACCEPT = 1
export const NF_STOLEN = 2
export const NF_REPEAT = 4

/** Hook points as netfilter/hooks.ts has them (kept here too: that file imports this folder). */
export const NF_INET_PRE_ROUTING = 0
export const NF_INET_LOCAL_IN = 1
export const NF_INET_FORWARD = 2
export const NF_INET_LOCAL_OUT = 3
export const NF_INET_POST_ROUTING = 4

/** enum ip_conntrack_info: what M_CTINFO holds. */
export const IP_CT_ESTABLISHED = 0
export const IP_CT_RELATED = 1
export const IP_CT_NEW = 2
/** At or above this the packet goes in reply direction. */
export const IP_CT_IS_REPLY = 3
export const IP_CT_ESTABLISHED_REPLY = 3
export const IP_CT_RELATED_REPLY = 4
/** With M_CT = 0: the packet is not tracked on purpose. */
export const IP_CT_UNTRACKED = 7

/** enum ip_conntrack_dir */
export const IP_CT_DIR_ORIGINAL = 0
export const IP_CT_DIR_REPLY = 1

/** CTINFO2DIR */
export function ctinfo2dir(ctinfo: number): number {
  return ctinfo >= IP_CT_IS_REPLY ? IP_CT_DIR_REPLY : IP_CT_DIR_ORIGINAL
}

/** enum ip_conntrack_status, the bits that podwalk sets. */
export const IPS_EXPECTED = 1 << 0
export const IPS_SEEN_REPLY = 1 << 1
export const IPS_ASSURED = 1 << 2
export const IPS_CONFIRMED = 1 << 3
export const IPS_SRC_NAT = 1 << 4
export const IPS_DST_NAT = 1 << 5
export const IPS_NAT_MASK = IPS_SRC_NAT | IPS_DST_NAT
export const IPS_SEQ_ADJUST = 1 << 6
export const IPS_SRC_NAT_DONE = 1 << 7
export const IPS_DST_NAT_DONE = 1 << 8
export const IPS_NAT_DONE_MASK = IPS_SRC_NAT_DONE | IPS_DST_NAT_DONE
export const IPS_DYING = 1 << 9
export const IPS_FIXED_TIMEOUT = 1 << 10
export const IPS_TEMPLATE = 1 << 11
export const IPS_UNTRACKED = 1 << 12
export const IPS_NAT_CLASH = 1 << 12

/** IP protocols that the trackers know. */
export const IPPROTO_ICMP = 1
export const IPPROTO_TCP = 6
export const IPPROTO_UDP = 17
export const IPPROTO_DCCP = 33
export const IPPROTO_GRE = 47
export const IPPROTO_ICMPV6 = 58
export const IPPROTO_SCTP = 132
export const IPPROTO_UDPLITE = 136

/**
 * Bit of C_PROTO and of tuples' `proto`: an IPv6 connection, whose addresses are ids of World.in6. Being part of the
 * protocol it is part of every hash and comparison, and costs IPv4 nothing.
 */
export const CT_V6 = 0x100
/** ICMPv6 as a tuple's protocol. */
export const CT_ICMPV6 = CT_V6 | IPPROTO_ICMPV6

/** Words of a row. */
export const C_WORDS = 40
/** Original tuple: source, destination, ports. The reply tuple stands C_TUPLE_WORDS later. */
export const C_SRC = 0
export const C_DST = 1
export const C_PORTS = 2
/** Words from the original tuple to the reply tuple. */
export const C_TUPLE_WORDS = 3
export const C_REPLY_SRC = 3
export const C_REPLY_DST = 4
export const C_REPLY_PORTS = 5
/** Protocol number of both tuples. */
export const C_PROTO = 6
/** Namespace id (`ct->ct_net`). */
export const C_NET = 7
/** IPS_* bits. */
export const C_STATUS = 8
/** `ct->mark` */
export const C_MARK = 9
/** `ct->ct_general.use`: packets that hold the entry, plus one while it is in the hash table; 0 = the row is free. */
export const C_USE = 10
/** `nat->masq_index`: ifindex of the masquerading device, 0 when none. */
export const C_MASQ_INDEX = 11
/** nat_bysource list: next and previous entry id, 0 at the ends. */
export const C_BYSRC_NEXT = 12
export const C_BYSRC_PREV = 13
/** Bits: 1 = original tuple is in the hash table, 2 = reply tuple is, 4 = entry is in nat_bysource. */
export const C_LISTED = 14
/** Hash of the original tuple, then of the reply tuple. */
export const C_HASH = 15
export const C_REPLY_HASH = 16
/** struct ip_ct_tcp */
export const C_TCP_STATE = 17
export const C_TCP_LAST_DIR = 18
export const C_TCP_RETRANS = 19
export const C_TCP_LAST_INDEX = 20
export const C_TCP_LAST_SEQ = 21
export const C_TCP_LAST_ACK = 22
export const C_TCP_LAST_END = 23
export const C_TCP_LAST_WIN = 24
export const C_TCP_LAST_WSCALE = 25
export const C_TCP_LAST_FLAGS = 26
/** struct ip_ct_tcp_state seen[2]: SEEN_WORDS words each, offsets S_*. */
export const C_TCP_SEEN = 27
/** Words of struct ip_ct_tcp_state. */
export const SEEN_WORDS = 6
export const S_END = 0
export const S_MAXEND = 1
export const S_MAXWIN = 2
export const S_MAXACK = 3
export const S_SCALE = 4
export const S_FLAGS = 5

/** 1: the entry counts its packets (nf_conn_acct), in ConntrackHash.acct. */
export const C_ACCT = 39
/** Numbers per entry in ConntrackHash.acct: packets and bytes of the original, then of the reply direction. */
export const ACCT_WORDS = 4

/** C_LISTED bits. */
export const LISTED_ORIGINAL = 1
export const LISTED_REPLY = 2
export const LISTED_BYSOURCE = 4
