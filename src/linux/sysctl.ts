/**
 * sysctl: the settings of a namespace, by their real names.
 *
 * Linux: net/ipv4/devinet.c (conf/*), net/ipv4/sysctl_net_ipv4.c, net/core/neighbour.c (neigh/*),
 * net/bridge/br_netfilter_hooks.c, net/netfilter/nf_conntrack_standalone.c. Values are plain integers in typed fields, so
 * that the data path reads a field; the text interface maps names on them through the tables below. A name that is not
 * known is answered as by sysctl(8) (no such file), never silently taken.
 */

import type { NetDevice } from './device/device.ts'
import { Ipv6Sysctl } from './ipv6/devconf.ts'
import { findSysctl6, type Place6, sysctl6Written } from './ipv6/sysctl6.ts'
import type { Netns } from './netns.ts'

/** net.ipv4.conf.DEV.*: defaults as in net/ipv4/devinet.c (ipv4_devconf, ipv4_devconf_dflt). */
export class Ipv4Conf {
  forwarding = 0
  mc_forwarding = 0
  rp_filter = 0
  accept_redirects = 1
  secure_redirects = 1
  send_redirects = 1
  shared_media = 1
  accept_source_route = 0
  accept_local = 0
  src_valid_mark = 0
  proxy_arp = 0
  proxy_arp_pvlan = 0
  arp_filter = 0
  arp_ignore = 0
  arp_announce = 0
  arp_accept = 0
  arp_notify = 0
  drop_gratuitous_arp = 0
  drop_unicast_in_l2_multicast = 0
  route_localnet = 0
  promote_secondaries = 0
  log_martians = 0
  bootp_relay = 0
  medium_id = 0
  tag = 0
  disable_policy = 0
  disable_xfrm = 0
  ignore_routes_with_linkdown = 0
  force_igmp_version = 0
  arp_evict_nocarrier = 1
  bc_forwarding = 0
  igmpv2_unsolicited_report_interval = 10000
  igmpv3_unsolicited_report_interval = 1000
}

/** net.ipv4.neigh.DEV.*: milliseconds where the name says so; defaults as in net/ipv4/arp.c (arp_tbl). */
export class NeighParms {
  mcast_solicit = 3
  ucast_solicit = 3
  app_solicit = 0
  mcast_resolicit = 0
  retrans_time_ms = 1000
  base_reachable_time_ms = 30000
  /** seconds */
  delay_first_probe_time = 5
  interval_probe_time_ms = 5000
  /** seconds */
  gc_stale_time = 60
  unres_qlen = 101
  unres_qlen_bytes = 212992
  proxy_qlen = 64
  /** In USER_HZ (1/100 s), as sysctl shows it. */
  anycast_delay = 100
  /** In USER_HZ (1/100 s). */
  proxy_delay = 80
  /** In USER_HZ (1/100 s). */
  locktime = 100
}

/** Settings of the whole namespace. */
export class NetSysctl {
  ip_default_ttl = 64
  ip_no_pmtu_disc = 0
  ip_forward_use_pmtu = 0
  ip_forward_update_priority = 1
  ip_nonlocal_bind = 0
  ip_early_demux = 1
  ip_dynaddr = 0
  icmp_echo_ignore_all = 0
  icmp_echo_ignore_broadcasts = 1
  icmp_ignore_bogus_error_responses = 1
  icmp_errors_use_inbound_ifaddr = 0
  icmp_ratelimit = 1000
  icmp_ratemask = 0x1818
  icmp_msgs_per_sec = 1000
  icmp_msgs_burst = 50
  fib_multipath_hash_policy = 0
  fib_multipath_use_neigh = 0
  fwmark_reflect = 0
  min_pmtu = 552
  mtu_expires = 600
  min_adv_mss = 256
  redirect_load_ms = 20
  redirect_number = 9
  error_cost_ms = 1000
  error_burst_ms = 5000
  ipfrag_high_thresh = 4194304
  ipfrag_low_thresh = 3145728
  /** seconds */
  ipfrag_time = 30
  ipfrag_max_dist = 64
  ip_local_port_range_min = 32768
  ip_local_port_range_max = 60999
  tcp_timestamps = 1
  tcp_sack = 1
  tcp_window_scaling = 1
  tcp_syn_retries = 6
  tcp_synack_retries = 5
  tcp_retries1 = 3
  tcp_retries2 = 15
  tcp_fin_timeout = 60
  tcp_mtu_probing = 0
  tcp_base_mss = 1024
  tcp_min_snd_mss = 48
  tcp_ecn = 2
  tcp_no_metrics_save = 0
  tcp_rmem_min = 4096
  tcp_rmem_default = 131072
  tcp_rmem_max = 33554432
  tcp_wmem_min = 4096
  tcp_wmem_default = 16384
  tcp_wmem_max = 4194304
  tcp_abort_on_overflow = 0
  tcp_syncookies = 1
  tcp_autocorking = 1
  bridge_nf_call_iptables = 1
  bridge_nf_call_ip6tables = 1
  bridge_nf_call_arptables = 1
  bridge_nf_filter_vlan_tagged = 0
  bridge_nf_filter_pppoe_tagged = 0
  bridge_nf_pass_vlan_input_dev = 0
  nf_conntrack_max = 262144
  nf_conntrack_buckets = 262144
  nf_conntrack_checksum = 1
  nf_conntrack_tcp_be_liberal = 0
  nf_conntrack_tcp_loose = 1
  nf_conntrack_tcp_max_retrans = 3
  nf_conntrack_tcp_no_window_check = 0
  nf_conntrack_tcp_ignore_invalid_rst = 0
  nf_conntrack_tcp_timeout_syn_sent = 120
  nf_conntrack_tcp_timeout_syn_recv = 60
  nf_conntrack_tcp_timeout_established = 432000
  nf_conntrack_tcp_timeout_fin_wait = 120
  nf_conntrack_tcp_timeout_close_wait = 60
  nf_conntrack_tcp_timeout_last_ack = 30
  nf_conntrack_tcp_timeout_time_wait = 120
  nf_conntrack_tcp_timeout_close = 10
  nf_conntrack_tcp_timeout_max_retrans = 300
  nf_conntrack_tcp_timeout_unacknowledged = 300
  nf_conntrack_udp_timeout = 30
  nf_conntrack_udp_timeout_stream = 120
  nf_conntrack_icmp_timeout = 30
  nf_conntrack_icmpv6_timeout = 30
  nf_conntrack_generic_timeout = 600
  nf_conntrack_acct = 0
  nf_conntrack_timestamp = 0
  /** net.ipv4.vs.* (IPVS). */
  vs_am_droprate = 10
  vs_amemthresh = 1024
  vs_backup_only = 0
  vs_cache_bypass = 0
  vs_conn_reuse_mode = 1
  vs_conntrack = 0
  vs_debug_level = 0
  vs_drop_entry = 0
  vs_drop_packet = 0
  vs_expire_nodest_conn = 0
  vs_expire_quiescent_template = 0
  vs_ignore_tunneled = 0
  vs_lblc_expiration = 86400
  vs_lblcr_expiration = 86400
  vs_nat_icmp_send = 0
  vs_pmtu_disc = 1
  vs_run_estimation = 1
  vs_schedule_icmp = 0
  vs_secure_tcp = 0
  vs_sloppy_sctp = 0
  vs_sloppy_tcp = 0
  vs_snat_reroute = 1
  vs_sync_persist_mode = 0
  vs_sync_ports = 1
  vs_sync_qlen_max = 3807
  vs_sync_refresh_period = 0
  vs_sync_retries = 0
  vs_sync_sock_size = 0
  vs_sync_version = 1
  vs_sync_threshold_min = 3
  vs_sync_threshold_period = 50
  /** net.ipv4.conf.all and .default, net.ipv4.neigh.default. */
  readonly all = new Ipv4Conf()
  /** ipv4_devconf_dflt differs from ipv4_devconf in one value. */
  readonly dflt: Ipv4Conf = Object.assign(new Ipv4Conf(), { accept_source_route: 1 })
  readonly neighDefault = new NeighParms()
  /** net.ipv6.* and net.ipv6.neigh.default. */
  readonly ipv6 = new Ipv6Sysctl()
  readonly nd6Default = Object.assign(new NeighParms(), { locktime: 0 })
}

type IntFields = { [name: string]: number }

const IPV4_NAMES = new Set([
  'ip_default_ttl',
  'ip_no_pmtu_disc',
  'ip_forward_use_pmtu',
  'ip_forward_update_priority',
  'ip_nonlocal_bind',
  'ip_early_demux',
  'ip_dynaddr',
  'icmp_echo_ignore_all',
  'icmp_echo_ignore_broadcasts',
  'icmp_ignore_bogus_error_responses',
  'icmp_errors_use_inbound_ifaddr',
  'icmp_ratelimit',
  'icmp_ratemask',
  'icmp_msgs_per_sec',
  'icmp_msgs_burst',
  'fib_multipath_hash_policy',
  'fib_multipath_use_neigh',
  'fwmark_reflect',
  'ipfrag_high_thresh',
  'ipfrag_low_thresh',
  'ipfrag_time',
  'ipfrag_max_dist',
  'tcp_timestamps',
  'tcp_sack',
  'tcp_window_scaling',
  'tcp_syn_retries',
  'tcp_synack_retries',
  'tcp_retries1',
  'tcp_retries2',
  'tcp_fin_timeout',
  'tcp_mtu_probing',
  'tcp_base_mss',
  'tcp_min_snd_mss',
  'tcp_ecn',
  'tcp_no_metrics_save',
  'tcp_abort_on_overflow',
  'tcp_syncookies',
  'tcp_autocorking',
])
const ROUTE_NAMES: { [name: string]: keyof NetSysctl } = {
  min_pmtu: 'min_pmtu',
  mtu_expires: 'mtu_expires',
  min_adv_mss: 'min_adv_mss',
}
const RANGES: { [name: string]: readonly (keyof NetSysctl)[] } = {
  'net.ipv4.ip_local_port_range': ['ip_local_port_range_min', 'ip_local_port_range_max'],
  'net.ipv4.vs.sync_threshold': ['vs_sync_threshold_min', 'vs_sync_threshold_period'],
  'net.ipv4.tcp_rmem': ['tcp_rmem_min', 'tcp_rmem_default', 'tcp_rmem_max'],
  'net.ipv4.tcp_wmem': ['tcp_wmem_min', 'tcp_wmem_default', 'tcp_wmem_max'],
}

/** Where a name leads: the fields of one object, in order. */
interface Place {
  readonly obj: IntFields
  readonly fields: readonly string[]
  readonly dev?: NetDevice | undefined
  readonly conf?: 'all' | 'default' | 'dev'
  /** A neighbour setting: of `dev`, or the default when there is none. */
  readonly neigh?: true
  /** A setting of net.ipv6. */
  readonly six?: Place6
}

function devByName(ns: Netns, name: string): NetDevice | undefined {
  return ns.devices.get(name) ?? ns.devices.get(name.replaceAll('/', '.'))
}

function find(ns: Netns, name: string): Place | null {
  const s = ns.sysctl as unknown as IntFields
  const range = Object.hasOwn(RANGES, name) ? RANGES[name] : undefined
  if (range !== undefined) return { obj: s, fields: range }
  let m = /^net\.ipv4\.conf\.(.+)\.([a-z0-9_]+)$/.exec(name)
  if (m !== null) {
    const which = m[1]!
    const dev = which === 'all' || which === 'default' ? undefined : devByName(ns, which)
    const conf = which === 'all' ? ns.sysctl.all : which === 'default' ? ns.sysctl.dflt : dev?.conf
    if (conf === undefined || !Object.hasOwn(conf, m[2]!)) return null
    return {
      obj: conf as unknown as IntFields,
      fields: [m[2]!],
      dev,
      conf: which === 'all' ? 'all' : which === 'default' ? 'default' : 'dev',
    }
  }
  m = /^net\.ipv4\.neigh\.(.+)\.([a-z0-9_]+)$/.exec(name)
  if (m !== null) {
    const dev = m[1] === 'default' ? undefined : devByName(ns, m[1]!)
    const p = m[1] === 'default' ? ns.sysctl.neighDefault : dev?.neighParms
    if (p === undefined || !Object.hasOwn(p, m[2]!)) return null
    return { obj: p as unknown as IntFields, fields: [m[2]!], dev, neigh: true }
  }
  if (name === 'net.ipv4.ip_forward')
    return { obj: ns.sysctl.all as unknown as IntFields, fields: ['forwarding'], conf: 'all' }
  m = /^net\.ipv4\.route\.([a-z_]+)$/.exec(name)
  if (m !== null) return !Object.hasOwn(ROUTE_NAMES, m[1]!) ? null : { obj: s, fields: [ROUTE_NAMES[m[1]!]!] }
  m = /^net\.ipv4\.vs\.([a-z_]+)$/.exec(name)
  if (m !== null) return `vs_${m[1]!}` in s ? { obj: s, fields: [`vs_${m[1]!}`] } : null
  m = /^net\.ipv4\.([a-z0-9_]+)$/.exec(name)
  if (m !== null) return IPV4_NAMES.has(m[1]!) ? { obj: s, fields: [m[1]!] } : null
  m = /^net\.bridge\.(bridge-nf-[a-z0-9-]+)$/.exec(name)
  if (m !== null) {
    const f = m[1]!.replaceAll('-', '_')
    return Object.hasOwn(s, f) ? { obj: s, fields: [f] } : null
  }
  m = /^net\.netfilter\.(nf_conntrack_[a-z0-9_]+)$/.exec(name)
  if (m !== null) return Object.hasOwn(s, m[1]!) ? { obj: s, fields: [m[1]!] } : null
  const six = findSysctl6(ns, name, (dev) => devByName(ns, dev))
  return six === null ? null : { obj: six.obj, fields: [six.field], six }
}

/** `a/b.c` or `a.b.c`: sysctl(8) takes both; with slashes, dots belong to names. */
function canonical(name: string): string {
  // the first separator says which one it is
  if (name.search(/[./]/) < 0 || name[name.search(/[./]/)] === '.') return name
  return name
    .split('/')
    .map((part) => part.replaceAll('.', '/'))
    .join('.')
}

/** The value as sysctl prints it, null when there is no such setting. */
export function sysctlGet(ns: Netns, name: string): string | null {
  const p = find(ns, canonical(name))
  return p === null ? null : p.fields.map((f) => String(p.obj[f])).join('\t')
}

/**
 * Writes a setting with the side effects that Linux has (ip_forward and conf.all.forwarding set `forwarding` everywhere;
 * a default reaches the devices that have no value or address of their own).
 * @returns false when the setting does not exist or the text is not an integer list of the right length
 */
export function sysctlSet(ns: Netns, name: string, value: string): boolean {
  const p = find(ns, canonical(name))
  if (p === null) return false
  const parts = value.trim().split(/\s+/)
  if (parts.length > p.fields.length || parts.some((t) => !/^-?\d+$/.test(t))) return false
  const field = p.fields[0]!
  const before = p.obj[field]
  ns.gen++
  for (let i = 0; i < parts.length; i++) p.obj[p.fields[i]!] = Number(parts[i])
  if (p.neigh !== undefined) {
    if (p.dev !== undefined) p.dev.neighSet.add(field)
    else neighCopyDflt(ns, field, Number(parts[0]))
  }
  if (p.six !== undefined) sysctl6Written(ns, p.six, before!)
  if (p.conf === undefined) return true
  if (p.dev !== undefined) p.dev.confSet.add(field)
  if (field === 'forwarding' && p.conf === 'all') {
    if (before !== p.obj[field]) inetForwardChange(ns)
  } else if (p.conf === 'default') devinetCopyDflt(ns, field, Number(parts[0]))
  ns.fib.flushCache()
  return true
}

/** inet_forward_change: all devices and the default follow. */
function inetForwardChange(ns: Netns): void {
  const on = ns.sysctl.all.forwarding
  ns.sysctl.all.accept_redirects = on !== 0 ? 0 : 1
  ns.sysctl.dflt.forwarding = on
  for (const d of ns.devices.values()) {
    d.conf.forwarding = on
    d.confSet.add('forwarding')
  }
}

/** devinet_copy_dflt_conf */
function devinetCopyDflt(ns: Netns, field: string, value: number): void {
  for (const d of ns.devices.values()) {
    if (!d.confSetAll && !d.confSet.has(field)) (d.conf as unknown as IntFields)[field] = value
  }
}

/** neigh_copy_dflt_parms */
function neighCopyDflt(ns: Netns, field: string, value: number): void {
  for (const d of ns.devices.values()) {
    if (!d.confSetAll && !d.neighSet.has(field)) (d.neighParms as unknown as IntFields)[field] = value
  }
}
