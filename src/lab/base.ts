/**
 * The settings that every namespace of a lab starts with, before any device exists.
 *
 * They make a run reproducible: no IPv6 chatter, no ICMP rate limits, no TCP timestamps, no neighbour probes during a
 * run. Same values as in the recorder (linux/recorder.py).
 */

/** sysctls written in every namespace. */
export const BASE_SYSCTL: { readonly [name: string]: string | number } = {
  'net.ipv6.conf.all.disable_ipv6': 1,
  'net.ipv6.conf.default.disable_ipv6': 1,
  'net.ipv4.ip_forward': 0,
  'net.ipv4.conf.all.rp_filter': 0,
  'net.ipv4.conf.default.rp_filter': 0,
  'net.ipv4.icmp_ratelimit': 0,
  'net.ipv4.icmp_msgs_per_sec': 1000000,
  'net.ipv4.icmp_msgs_burst': 10000,
  'net.ipv4.tcp_timestamps': 0,
  'net.ipv4.tcp_rmem': '4096 131072 6291456',
  'net.ipv4.tcp_wmem': '4096 16384 4194304',
  'net.ipv4.tcp_no_metrics_save': 1,
  'net.bridge.bridge-nf-call-iptables': 0,
  'net.bridge.bridge-nf-call-ip6tables': 0,
  'net.bridge.bridge-nf-call-arptables': 0,
}

/** Neighbour parameters of every device. */
export const BASE_NEIGH: { readonly [name: string]: number } = {
  delay_first_probe_time: 120,
  proxy_delay: 0,
  locktime: 0,
}

/** Instead of the first two, when the scenario says `"ipv6": true`: no DAD, no router solicitations, no random labels. */
export const BASE_SYSCTL6: { readonly [name: string]: string | number } = {
  'net.ipv6.conf.all.disable_ipv6': 0,
  'net.ipv6.conf.default.disable_ipv6': 0,
  'net.ipv6.conf.default.accept_dad': 0,
  'net.ipv6.conf.all.enhanced_dad': 0,
  'net.ipv6.conf.default.enhanced_dad': 0,
  'net.ipv6.conf.default.accept_ra': 0,
  'net.ipv6.conf.default.router_solicitations': 0,
  'net.ipv6.auto_flowlabels': 0,
  'net.ipv6.icmp.ratelimit': 0,
}

/** Time that the set-up of an IPv6 lab is given: its MLD reports are over by then. */
export const IPV6_SETTLE_MS = 2600
