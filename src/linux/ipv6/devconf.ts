/**
 * Settings of IPv6: net.ipv6.conf.DEV.* and net.ipv6.*.
 *
 * Linux: net/ipv6/addrconf.c (ipv6_devconf, ipv6_devconf_dflt, addrconf_sysctl), net/ipv6/sysctl_net_ipv6.c,
 * net/ipv6/route.c, net/ipv6/icmp.c, net/ipv6/reassembly.c. podwalk starts a namespace with disable_ipv6=1 (Linux: 0):
 * a lab or a node that wants IPv6 says so. Names that no code reads are not here and are answered as unknown.
 */
import type { NetDevice } from '../device/device.ts'
import type { Inet6Dev } from './inet6-dev.ts'

/** What writing forwarding or disable_ipv6 sets off; set by addrconf.ts, so that settings import no code. */
export const addrconfWork: {
  current: { forwardChange(idev: Inet6Dev): void; disableChange(dev: NetDevice): void } | null
} = { current: null }

/** net.ipv6.conf.DEV.*, defaults of ipv6_devconf_dflt. */
export class Ipv6DevConf {
  forwarding = 0
  hop_limit = 64
  /** Follows the device's MTU. */
  mtu = 1280
  accept_ra = 1
  accept_redirects = 1
  autoconf = 1
  dad_transmits = 1
  router_solicitations = -1
  /** seconds */
  router_solicitation_interval = 4
  /** seconds */
  router_solicitation_delay = 1
  /** seconds */
  router_solicitation_max_interval = 3600
  force_mld_version = 0
  mldv1_unsolicited_report_interval = 10000
  mldv2_unsolicited_report_interval = 1000
  use_tempaddr = 0
  proxy_ndp = 0
  accept_source_route = 0
  optimistic_dad = 0
  use_optimistic = 0
  mc_forwarding = 0
  disable_ipv6 = 1
  accept_dad = 1
  force_tllao = 0
  ndisc_notify = 0
  suppress_frag_ndisc = 1
  use_oif_addrs_only = 0
  ignore_routes_with_linkdown = 0
  drop_unicast_in_l2_multicast = 0
  drop_unsolicited_na = 0
  accept_untracked_na = 0
  addr_gen_mode = 0
  keep_addr_on_down = 0
  enhanced_dad = 1
  ndisc_tclass = 0
  ndisc_evict_nocarrier = 1
  seg6_enabled = 0
  rpl_seg_enabled = 0
  force_forwarding = 0
}

/** ipv6_devconf: what `all` starts with. */
export function ipv6DevconfAll(): Ipv6DevConf {
  const c = new Ipv6DevConf()
  c.accept_dad = 0
  return c
}

/** net.ipv6.* of a namespace, names with their dots as underscores. */
export class Ipv6Sysctl {
  ip_nonlocal_bind = 0
  bindv6only = 0
  auto_flowlabels = 1
  flowlabel_reflect = 0
  fwmark_reflect = 0
  anycast_src_echo_reply = 0
  fib_multipath_hash_policy = 0
  icmp_ratelimit = 100
  /** Bits of the rate limited types, four words from type 0: `0-1,3-127`. */
  readonly icmpRatemask = Int32Array.of(~4, -1, -1, -1, 0, 0, 0, 0)
  icmp_echo_ignore_all = 0
  icmp_echo_ignore_multicast = 0
  icmp_echo_ignore_anycast = 0
  icmp_error_anycast_as_unicast = 0
  ip6frag_high_thresh = 4194304
  ip6frag_low_thresh = 3145728
  /** seconds */
  ip6frag_time = 60
  max_dst_opts_number = 8
  max_dst_opts_length = 2147483647
  max_hbh_opts_number = 8
  max_hbh_length = 2147483647
  route_mtu_expires = 600
  route_min_adv_mss = 1220
  readonly all = ipv6DevconfAll()
  readonly dflt = new Ipv6DevConf()
}
