/**
 * Keys of meta, ct, rt and socket with their types.
 *
 * nft: src/meta.c, src/ct.c, src/rt.c, src/socket.c (1.0.6).
 */
import * as D from './datatypes.ts'

const t = (type: D.DataType): D.DataType => type
const u = (bits: number): D.DataType => D.integerType(bits, true)

/** meta keys, in the order that an error lists them. */
export const META_KEYS: Readonly<Record<string, D.DataType>> = {
  length: u(32),
  protocol: t(D.T_ETHERTYPE),
  priority: t(D.T_CLASSID),
  mark: t(D.T_MARK),
  iif: t(D.T_IFINDEX),
  oif: t(D.T_IFINDEX),
  iifname: t(D.T_IFNAME),
  oifname: t(D.T_IFNAME),
  iiftype: t(D.T_ARPHRD),
  oiftype: t(D.T_ARPHRD),
  skuid: t(D.T_UID),
  skgid: t(D.T_GID),
  nftrace: u(1),
  rtclassid: t(D.T_REALM),
  secmark: u(32),
  nfproto: t(D.T_NFPROTO),
  l4proto: t(D.T_INET_PROTO),
  ibrname: t(D.T_IFNAME),
  obrname: t(D.T_IFNAME),
  pkttype: t(D.T_PKTTYPE),
  cpu: u(32),
  iifgroup: t(D.T_DEVGROUP),
  oifgroup: t(D.T_DEVGROUP),
  cgroup: u(32),
  random: u(32),
  ipsec: t(D.T_BOOLEAN),
  iifkind: t(D.T_IFNAME),
  oifkind: t(D.T_IFNAME),
  ibrpvid: u(16),
  ibrvproto: t(D.T_ETHERTYPE),
  time: t(D.T_DATE),
  day: t(D.T_DAY),
  hour: t(D.T_HOUR),
  sdif: t(D.T_IFINDEX),
  sdifname: t(D.T_IFNAME),
}

/** What the error about an unknown key lists. */
export const META_KEY_LIST = Object.keys(META_KEYS).join(', ')

/** Meta keys that are printed without `meta`. */
export const META_BARE = new Set(['iif', 'oif', 'iifname', 'oifname', 'iifgroup', 'oifgroup'])

/** ct keys. */
export const CT_KEYS: Readonly<Record<string, D.DataType>> = {
  state: D.T_CT_STATE,
  direction: D.T_CT_DIR,
  status: D.T_CT_STATUS,
  mark: D.T_MARK,
  expiration: { ...D.T_TIME, size: 32 },
  helper: { ...D.T_STRING, size: 128 },
  l3proto: D.T_NFPROTO,
  saddr: D.T_INVALID,
  daddr: D.T_INVALID,
  protocol: D.T_INET_PROTO,
  'proto-src': D.T_INVALID,
  'proto-dst': D.T_INVALID,
  label: D.T_CT_LABEL,
  bytes: u(64),
  packets: u(64),
  avgpkt: u(64),
  zone: u(16),
  event: D.T_CT_EVENT,
  'ip saddr': D.T_IPV4,
  'ip daddr': D.T_IPV4,
  'ip6 saddr': D.T_IPV6,
  'ip6 daddr': D.T_IPV6,
  id: D.integerType(32),
  secmark: u(32),
}

/** rt keys. */
export const RT_KEYS: Readonly<Record<string, D.DataType>> = {
  classid: D.T_REALM,
  nexthop: D.T_INVALID,
  'ip nexthop': D.T_IPV4,
  'ip6 nexthop': D.T_IPV6,
  mtu: u(16),
  ipsec: D.T_BOOLEAN,
}

/** socket keys. */
export const SOCKET_KEYS: Readonly<Record<string, D.DataType>> = {
  transparent: u(8),
  mark: D.T_MARK,
  wildcard: u(8),
}
