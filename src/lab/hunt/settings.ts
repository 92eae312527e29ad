/**
 * sysctls, extra routes, policy rules, static neighbours and FDB entries, and what is asked about the state at the end.
 *
 * send_redirects is 0 unless the lab is about ICMP (the kernel paces redirects by a clock); rate limits are off by the
 * lab's base. Multipath routes are not generated: their hash has a secret.
 */
import { formatIpv4 } from '../../addr/ipv4.ts'
import type { Draft } from './draft.ts'

interface Knob {
  readonly key: string
  readonly values: readonly (string | number)[]
  /** Percent of the lab's namespaces. */
  readonly often: number
}

const KNOBS: readonly Knob[] = [
  { key: 'net.ipv4.conf.all.rp_filter', values: [0, 1, 2], often: 8 },
  { key: 'net.ipv4.conf.all.arp_ignore', values: [1, 2, 3, 8], often: 6 },
  { key: 'net.ipv4.conf.all.arp_announce', values: [1, 2], often: 6 },
  { key: 'net.ipv4.conf.all.arp_filter', values: [1], often: 4 },
  { key: 'net.ipv4.conf.all.arp_accept', values: [1], often: 4 },
  { key: 'net.ipv4.conf.all.drop_gratuitous_arp', values: [1], often: 3 },
  { key: 'net.ipv4.conf.all.proxy_arp', values: [1], often: 5 },
  { key: 'net.ipv4.conf.all.route_localnet', values: [1], often: 5 },
  { key: 'net.ipv4.conf.all.accept_local', values: [1], often: 4 },
  { key: 'net.ipv4.conf.all.src_valid_mark', values: [1], often: 3 },
  { key: 'net.ipv4.conf.all.accept_redirects', values: [0, 1], often: 5 },
  { key: 'net.ipv4.conf.all.secure_redirects', values: [0], often: 3 },
  { key: 'net.ipv4.conf.all.accept_source_route', values: [1], often: 3 },
  { key: 'net.ipv4.conf.all.drop_unicast_in_l2_multicast', values: [1], often: 3 },
  { key: 'net.ipv4.conf.all.bc_forwarding', values: [1], often: 3 },
  { key: 'net.ipv4.ip_default_ttl', values: [32, 255], often: 4 },
  { key: 'net.ipv4.ip_no_pmtu_disc', values: [1, 2, 3], often: 4 },
  { key: 'net.ipv4.ip_forward_use_pmtu', values: [1], often: 4 },
  { key: 'net.ipv4.ip_nonlocal_bind', values: [1], often: 3 },
  { key: 'net.ipv4.ip_early_demux', values: [0], often: 4 },
  { key: 'net.ipv4.icmp_echo_ignore_all', values: [1], often: 3 },
  { key: 'net.ipv4.icmp_echo_ignore_broadcasts', values: [0], often: 5 },
  { key: 'net.ipv4.icmp_ignore_bogus_error_responses', values: [0], often: 2 },
  { key: 'net.ipv4.icmp_errors_use_inbound_ifaddr', values: [1], often: 5 },
  { key: 'net.ipv4.fwmark_reflect', values: [1], often: 4 },
  { key: 'net.ipv4.ipfrag_max_dist', values: [0, 1, 2], often: 3 },
  { key: 'net.ipv4.tcp_sack', values: [0], often: 3 },
  { key: 'net.ipv4.tcp_window_scaling', values: [0], often: 3 },
  { key: 'net.ipv4.tcp_abort_on_overflow', values: [1], often: 2 },
  { key: 'net.ipv4.tcp_ecn', values: [0], often: 3 },
]

const CONNTRACK_KNOBS: readonly Knob[] = [
  { key: 'net.netfilter.nf_conntrack_tcp_be_liberal', values: [1], often: 8 },
  { key: 'net.netfilter.nf_conntrack_tcp_loose', values: [0], often: 8 },
  { key: 'net.netfilter.nf_conntrack_checksum', values: [0], often: 6 },
  { key: 'net.netfilter.nf_conntrack_tcp_ignore_invalid_rst', values: [1], often: 4 },
]

/** sysctls of every namespace. */
export function buildSettings(d: Draft): void {
  for (const ns of d.netns) {
    d.set(ns, 'net.ipv4.conf.all.send_redirects', 0)
    for (const i of d.of(ns)) d.set(ns, `net.ipv4.conf.${i.dev}.send_redirects`, 0)
    // a second question would come after a second: some labs take that long, and none is about it
    for (const i of d.of(ns)) d.set(ns, `net.ipv4.neigh.${i.dev}.retrans_time_ms`, 30000)
    const focus = d.about('arp', 'icmp', 'frag', 'tcp') ? 2 : 1
    for (const k of KNOBS) if (d.dice.chance(k.often * focus)) d.set(ns, k.key, d.dice.pick(k.values))
    if (d.iptables[ns] !== undefined) {
      for (const k of CONNTRACK_KNOBS) if (d.dice.chance(k.often)) d.set(ns, k.key, d.dice.pick(k.values))
    }
    for (const i of d.of(ns)) {
      if (d.dice.chance(5)) d.set(ns, `net.ipv4.conf.${i.dev}.rp_filter`, d.dice.pick([1, 2]))
      if (d.dice.chance(3)) d.set(ns, `net.ipv4.conf.${i.dev}.forwarding`, d.dice.below(2))
      if (d.dice.chance(3)) d.set(ns, `net.ipv4.conf.${i.dev}.route_localnet`, 1)
      if (d.about('arp') && d.dice.chance(10)) d.set(ns, `net.ipv4.conf.${i.dev}.proxy_arp`, 1)
      if (d.about('arp') && d.dice.chance(5)) d.set(ns, `net.ipv4.conf.${i.dev}.proxy_arp_pvlan`, 1)
    }
    if (!d.bridges.has(ns)) continue
    if (d.about('bnf') ? d.dice.chance(85) : d.dice.chance(25)) {
      d.set(ns, 'net.bridge.bridge-nf-call-iptables', 1)
    }
  }
}

/** Routes and rules beside the ones that connect everything. */
export function buildPolicy(d: Draft): void {
  const focus = d.about('policy') ? 3 : 1
  for (const ns of d.netns) {
    const mine = d.of(ns).filter((i) => i.ips.length > 0)
    if (mine.length === 0) continue
    for (let n = d.dice.below(1 + focus); n > 0; n--) extraRoute(d, ns)
    if (!d.dice.chance(10 * focus * focus)) continue
    const table = 100 + d.dice.below(3)
    for (let n = d.dice.between(1, 2); n > 0; n--) extraRoute(d, ns, table)
    for (let n = d.dice.between(1, 2); n > 0; n--) d.rules.push({ ns, rule: ruleText(d, ns, table, n) })
  }
}

function extraRoute(d: Draft, ns: string, table?: number): void {
  const i = d.dice.pick(d.of(ns).filter((x) => x.ips.length > 0))
  const neighbours = i.segment.ifaces.filter((x) => x !== i && x.ips.length > 0)
  const dst = d.dice.chance(table === undefined ? 5 : 40) ? 'default' : d.anyPrefix()
  const base = { ns, dst, ...(table === undefined ? {} : { table }) }
  // one metric for each route: two routes of the same key are refused
  const metric = { metric: 10 + d.routes.length }
  const mtu = d.dice.chance(d.about('mtu', 'frag') ? 40 : 8)
    ? { mtu: d.dice.pick([1400, 1280, 600, 'lock 1300', 'lock 700']) }
    : {}
  const kind = d.dice.below(6)
  if (kind === 0) {
    const types =
      table === undefined ? ['unreachable', 'blackhole', 'prohibit'] : ['unreachable', 'blackhole', 'prohibit', 'throw']
    d.routes.push({ ...base, ...metric, type: d.dice.pick(types) })
  } else if (kind === 1 || neighbours.length === 0) {
    d.routes.push({ ...base, ...metric, ...mtu, dev: i.dev, scope: 'link' })
  } else if (kind === 2) {
    d.routes.push({ ...base, ...metric, ...mtu, via: formatIpv4(d.foreignIp()), dev: i.dev, onlink: true })
  } else {
    const src = d.dice.chance(20) ? { src: formatIpv4(d.dice.pick(i.ips)) } : {}
    const tos = d.dice.chance(8) ? { tos: d.dice.pick(['0x10', '0x08']) } : {}
    const via = d.dice.pick(neighbours)
    d.routes.push({
      ...base,
      ...metric,
      ...mtu,
      ...src,
      ...tos,
      via: formatIpv4(via.ips[0]!),
      dev: i.dev,
      onlink: true,
    })
  }
}

function ruleText(d: Draft, ns: string, table: number, n: number): string {
  const i = d.dice.pick(d.of(ns))
  const selector = d.dice.pick([
    `from ${d.anyPrefix()}`,
    `to ${d.anyPrefix()}`,
    `fwmark ${d.dice.pick(['0x1', '0x2/0x2', '0x4000/0x4000', '0x10'])}`,
    `iif ${d.dice.chance(80) ? i.dev : 'lo'}`,
    `oif ${i.dev}`,
    `tos 0x10`,
    `ipproto ${d.dice.pick(['udp', 'tcp', 'icmp'])}`,
    `ipproto udp dport ${d.dice.pick([80, 53, 443])}`,
    `not from ${d.anyPrefix()}`,
  ])
  const action = d.dice.weighted([
    [10, `lookup ${table}`],
    [1, 'unreachable'],
    [1, 'blackhole'],
    [1, 'prohibit'],
    [1, `lookup main suppress_prefixlength 0`],
  ])
  return `${selector} priority ${100 + d.rules.length * 10 + n} ${action}`
}

/** Static neighbours and FDB entries. */
export function buildStatic(d: Draft): void {
  for (const i of d.ifaces) {
    if (!d.dice.chance(d.about('arp') ? 20 : 8)) continue
    const others = i.segment.ifaces.filter((x) => x !== i)
    if (others.length === 0) continue
    const other = d.dice.pick(others)
    const ip = other.ips[0] ?? d.anyHostIp()
    const nud = d.dice.pick(['permanent', 'reachable', 'stale', 'noarp'])
    d.neigh.push({
      ns: i.ns,
      dev: i.dev,
      ip: formatIpv4(ip),
      mac: d.dice.chance(80) ? other.mac : '02:00:00:00:cc:01',
      nud,
    })
  }
  for (const p of d.ports) {
    if (!d.dice.chance(d.about('l2') ? 20 : 4)) continue
    d.fdb.push({
      ns: p.ns,
      dev: p.dev,
      mac: d.dice.pick(['02:00:00:00:ee:01', '02:00:00:00:ee:02']),
      opts: d.dice.pick(['master static', 'master', 'master dynamic']),
    })
  }
}

/** What is asked at the end. */
export function buildState(d: Draft): void {
  for (const ns of d.netns) {
    d.state.push({ ns, kind: 'neigh' }, { ns, kind: 'snmp' })
    if (d.bridges.has(ns)) d.state.push({ ns, kind: 'fdb' })
    if (d.iptables[ns] !== undefined) d.state.push({ ns, kind: 'conntrack' }, { ns, kind: 'iptables' })
  }
}
