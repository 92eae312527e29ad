/**
 * Flags and numbers of IPVS with their real names.
 *
 * Linux: include/uapi/linux/ip_vs.h, include/net/ip_vs.h. NOT here: flags of the sync daemon and of application helpers,
 * which are not modelled.
 */

/** `IP_VS_CONN_F_*`: the forwarding method in the low three bits, then what the connection is. */
export const IP_VS_CONN_F_FWD_MASK = 0x0007
export const IP_VS_CONN_F_MASQ = 0
export const IP_VS_CONN_F_LOCALNODE = 1
export const IP_VS_CONN_F_TUNNEL = 2
export const IP_VS_CONN_F_DROUTE = 3
export const IP_VS_CONN_F_BYPASS = 4
export const IP_VS_CONN_F_HASHED = 0x0040
export const IP_VS_CONN_F_NOOUTPUT = 0x0080
export const IP_VS_CONN_F_INACTIVE = 0x0100
export const IP_VS_CONN_F_TEMPLATE = 0x1000
export const IP_VS_CONN_F_ONE_PACKET = 0x2000
export const IP_VS_CONN_F_NFCT = 1 << 16

/** `IP_VS_SVC_F_*` */
export const IP_VS_SVC_F_PERSISTENT = 0x0001
export const IP_VS_SVC_F_ONEPACKET = 0x0004
export const IP_VS_SVC_F_SCHED1 = 0x0008
export const IP_VS_SVC_F_SCHED2 = 0x0010
export const IP_VS_SVC_F_SCHED3 = 0x0020
/** sh and mh share their flags' bits: fallback is SCHED1, port is SCHED2. */
export const IP_VS_SVC_F_SCHED_FALLBACK = IP_VS_SVC_F_SCHED1
export const IP_VS_SVC_F_SCHED_PORT = IP_VS_SVC_F_SCHED2

/** `IP_VS_DEST_F_*` */
export const IP_VS_DEST_F_AVAILABLE = 1
export const IP_VS_DEST_F_OVERLOAD = 2

/** `IP_VS_CONN_F_TUNNEL_TYPE_*` */
export const IP_VS_CONN_F_TUNNEL_TYPE_IPIP = 0
export const IP_VS_CONN_F_TUNNEL_TYPE_GUE = 1
export const IP_VS_CONN_F_TUNNEL_TYPE_GRE = 2
/** `IP_VS_TUNNEL_ENCAP_FLAG_*` */
export const IP_VS_TUNNEL_ENCAP_FLAG_CSUM = 1
export const IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM = 2

/** `IP_VS_DIR_*` */
export const IP_VS_DIR_INPUT = 0
export const IP_VS_DIR_OUTPUT = 1
export const IP_VS_DIR_INPUT_ONLY = 2

/** `IP_VS_CTPL_S_ASSURED`: state bit of a template that led to an established connection. */
export const IP_VS_CTPL_S_ASSURED = 1

/** `ip_vs_conn_tab_size` with the default of 12 bits. */
export const IP_VS_CONN_TAB_SIZE = 4096
/** `IP_VS_VERSION_CODE` as text. */
export const IP_VS_VERSION = '1.2.1'

export const IPPROTO_IP = 0
export const IPPROTO_ICMP = 1
export const IPPROTO_IPIP = 4
export const IPPROTO_TCP = 6
export const IPPROTO_UDP = 17
export const IPPROTO_GRE = 47
export const IPPROTO_SCTP = 132

/** `FTPPORT`, `FTPDATA`: treated apart even without the helper. */
export const FTPPORT = 21
export const FTPDATA = 20
/** Nanoseconds of a second. */
export const SECOND_NS = 1e9
