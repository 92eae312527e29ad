/**
 * Numbers of routing: route types, tables, scopes' companions, protocols and flags, with their real names.
 *
 * Source: include/uapi/linux/rtnetlink.h, include/uapi/linux/in_route.h, include/net/flow.h, include/net/ip_fib.h.
 */

/** `enum` rtm_type. */
export const RTN_UNSPEC = 0
export const RTN_UNICAST = 1
export const RTN_LOCAL = 2
export const RTN_BROADCAST = 3
export const RTN_ANYCAST = 4
export const RTN_MULTICAST = 5
export const RTN_BLACKHOLE = 6
export const RTN_UNREACHABLE = 7
export const RTN_PROHIBIT = 8
export const RTN_THROW = 9

/** Names as ip(8) prints them, by type. */
export const RTN_NAMES: readonly string[] = [
  'none',
  'unicast',
  'local',
  'broadcast',
  'anycast',
  'multicast',
  'blackhole',
  'unreachable',
  'prohibit',
  'throw',
]

/** Reserved routing tables. */
export const RT_TABLE_UNSPEC = 0
export const RT_TABLE_DEFAULT = 253
export const RT_TABLE_MAIN = 254
export const RT_TABLE_LOCAL = 255

/** rtm_protocol: who made the route. */
export const RTPROT_UNSPEC = 0
export const RTPROT_REDIRECT = 1
export const RTPROT_KERNEL = 2
export const RTPROT_BOOT = 3
export const RTPROT_STATIC = 4
export const RTPROT_BIRD = 12
export const RTPROT_BGP = 186

/** Nexthop flags. */
export const RTNH_F_DEAD = 1
export const RTNH_F_PERVASIVE = 2
export const RTNH_F_ONLINK = 4
export const RTNH_F_LINKDOWN = 16

/** Rtable.flags: RTCF_*. */
export const RTCF_NOTIFY = 0x00010000
export const RTCF_DOREDIRECT = 0x01000000
export const RTCF_BROADCAST = 0x10000000
export const RTCF_MULTICAST = 0x20000000
export const RTCF_LOCAL = -0x80000000

/** Flowi4.flags: FLOWI_FLAG_*. */
export const FLOWI_FLAG_ANYSRC = 1
export const FLOWI_FLAG_KNOWN_NH = 2
export const FLOWI_FLAG_L3MDEV_OIF = 4

/** `IPTOS_RT_MASK`/INET_DSCP_MASK: the TOS bits that routes and rules compare (the full DSCP since Linux 6.13). */
export const INET_DSCP_MASK = 0xfc

/** Rtable.input: which function takes a received packet on. */
export const DST_IN_NONE = 0
export const DST_IN_FORWARD = 1
export const DST_IN_LOCAL_DELIVER = 2
export const DST_IN_ERROR = 3
/** Rtable.output: which function sends the packet. */
export const DST_OUT_NONE = 0
export const DST_OUT_IP_OUTPUT = 1
export const DST_OUT_IP_MC_OUTPUT = 2
