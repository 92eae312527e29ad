/**
 * What a NAT rule asks for: struct nf_nat_range2.
 *
 * Linux: include/uapi/linux/netfilter/nf_nat.h. Callers fill one scratch instance; it is read during the call only.
 */

/** The rule maps addresses. */
export const NF_NAT_RANGE_MAP_IPS = 1 << 0
/** The rule maps ports (or ICMP ids). */
export const NF_NAT_RANGE_PROTO_SPECIFIED = 1 << 1
/** --random */
export const NF_NAT_RANGE_PROTO_RANDOM = 1 << 2
/** --persistent */
export const NF_NAT_RANGE_PERSISTENT = 1 << 3
/** --random-fully */
export const NF_NAT_RANGE_PROTO_RANDOM_FULLY = 1 << 4
/** --to-destination a.b.c.d:port-port/base */
export const NF_NAT_RANGE_PROTO_OFFSET = 1 << 5
/** NETMAP */
export const NF_NAT_RANGE_NETMAP = 1 << 6
export const NF_NAT_RANGE_PROTO_RANDOM_ALL = NF_NAT_RANGE_PROTO_RANDOM | NF_NAT_RANGE_PROTO_RANDOM_FULLY

/** enum nf_nat_manip_type */
export const NF_NAT_MANIP_SRC = 0
export const NF_NAT_MANIP_DST = 1

/** struct nf_nat_range2; addresses of IPv6 are ids of World.in6. */
export class NatRange {
  /** NF_NAT_RANGE_* */
  flags = 0
  minIp = 0
  maxIp = 0
  /** Host order; ICMP ids for ICMP. */
  minPort = 0
  maxPort = 0
  basePort = 0
}
