/**
 * How iproute2 shows devices: `ip link show`, the head lines of `ip addr show`, `bridge link`.
 *
 * Source: iproute2 ip/ipaddress.c (print_linkinfo, print_link_flags, print_operstate), net/core/link_watch.c
 * (default_operstate). A peer in another namespace is shown with `link-netnsid`: the target of an `ip` has no names for
 * other namespaces. The numbers of netns ids count up per namespace in order of first use.
 */
import { formatIpv4 } from '../../addr/ipv4.ts'
import { formatMac } from '../../addr/mac.ts'
import { ETH_P_8021AD } from '../../packet/layout.ts'
import type { Bridge, BridgePort } from '../bridge/bridge.ts'
import {
  DEV_BRIDGE,
  DEV_DUMMY,
  DEV_GENEVE,
  DEV_GRE,
  DEV_GRETAP,
  DEV_IPIP,
  DEV_IPVLAN,
  DEV_LOOPBACK,
  DEV_MACVLAN,
  DEV_NIC,
  DEV_VETH,
  DEV_VLAN,
  DEV_VXLAN,
  IFF_BROADCAST,
  IFF_LOOPBACK,
  IFF_MULTICAST,
  IFF_NOARP,
  IFF_POINTOPOINT,
  IFF_PROMISC,
  type NetDevice,
} from '../device/device.ts'
import { geneveMaxMtu } from '../device/geneve.ts'
import { greTunnel } from '../device/gre.ts'
import { ipTunnelPriv } from '../device/ipip.ts'
import { vxlanPriv } from '../device/vxlan.ts'
import type { Netns } from '../netns.ts'
import type { IpOptions } from './ip-args.ts'
import type { JsonValue } from './ip-json.ts'
import { geneveDetails, greDetails } from './ip-link-gre.ts'
import { ipipDetails } from './ip-link-ipip.ts'
import { ipvlanDetails, macvlanDetails } from './ip-link-macvlan.ts'
import { vlanDetails } from './ip-link-vlan.ts'
import { vxlanDetails, vxlanJson } from './ip-link-vxlan.ts'
import { unmodelled } from './result.ts'

const FLAG_NAMES: readonly (readonly [number, string])[] = [
  [IFF_LOOPBACK, 'LOOPBACK'],
  [IFF_BROADCAST, 'BROADCAST'],
  [IFF_POINTOPOINT, 'POINTOPOINT'],
  [IFF_MULTICAST, 'MULTICAST'],
  [IFF_NOARP, 'NOARP'],
  [IFF_PROMISC, 'PROMISC'],
]

/** `type` names by device kind, as `ip link show type` takes them; '' for devices without one. */
export const KIND_NAMES: { readonly [kind: number]: string } = {
  [DEV_VETH]: 'veth',
  [DEV_BRIDGE]: 'bridge',
  [DEV_DUMMY]: 'dummy',
  [DEV_VXLAN]: 'vxlan',
  [DEV_IPIP]: 'ipip',
  [DEV_VLAN]: 'vlan',
  [DEV_GRE]: 'gre',
  [DEV_GRETAP]: 'gretap',
  [DEV_GENEVE]: 'geneve',
  [DEV_MACVLAN]: 'macvlan',
  [DEV_IPVLAN]: 'ipvlan',
}

const STATE_NAMES = ['disabled', 'listening', 'learning', 'forwarding', 'blocking']

/** Name of a bridge port's state. */
export function portStateName(port: BridgePort): string {
  return STATE_NAMES[port.state] ?? 'disabled'
}

const everUp = new WeakSet<NetDevice>()

/** Remembers that the device was up once: only then it has a queueing discipline. */
export function noteUp(dev: NetDevice): void {
  if (dev.up) everUp.add(dev)
}

const nsids = new WeakMap<Netns, Map<Netns, number>>()

/** peernet2id_alloc: the id of `other` in `ns`. */
function netnsId(ns: Netns, other: Netns): number {
  let ids = nsids.get(ns)
  if (ids === undefined) {
    ids = new Map()
    nsids.set(ns, ids)
  }
  let id = ids.get(other)
  if (id === undefined) {
    id = ids.size
    ids.set(other, id)
  }
  return id
}

/** The device that IFLA_LINK names: the other end of a veth pair, the device below. */
function linkOf(dev: NetDevice): NetDevice | null {
  if (dev.lower !== null) return dev.lower
  if (isGre(dev)) return greTunnel(dev).cfg.link
  return dev.kind === DEV_VETH ? dev.peer : dev.kind === DEV_IPIP ? ipTunnelPriv(dev).cfg.link : null
}

function isGre(dev: NetDevice): boolean {
  return dev.kind === DEV_GRE || dev.kind === DEV_GRETAP
}

/** IFF_LOWER_UP: running with carrier. */
function lowerUp(dev: NetDevice): boolean {
  return dev.up && dev.carrier
}

/** rtnl_fill_ifinfo and default_operstate. */
export function operstate(dev: NetDevice): string {
  if (!dev.up) return 'DOWN'
  if (isGre(dev) || dev.kind === DEV_GENEVE) return 'UNKNOWN'
  if (dev.kind === DEV_LOOPBACK || dev.kind === DEV_DUMMY || dev.kind === DEV_IPIP || dev.kind === DEV_VXLAN)
    return 'UNKNOWN'
  if (dev.carrier) return 'UP'
  const link = linkOf(dev)
  const seen = link === null ? undefined : dev.ns.byIndex[link.ifindex]
  return seen === undefined || (seen.carrier && seen.up) ? 'DOWN' : 'LOWERLAYERDOWN'
}

/** Flag words in iproute2's order. */
export function flagNames(dev: NetDevice): string[] {
  const out: string[] = []
  if (dev.up && !lowerUp(dev)) out.push('NO-CARRIER')
  for (const [bit, name] of FLAG_NAMES) if ((dev.flags & bit) !== 0) out.push(name)
  if (dev.up) out.push('UP')
  if (lowerUp(dev)) out.push('LOWER_UP')
  const link = linkOf(dev)
  if (link !== null && link.ns === dev.ns && !link.up) out.push('M-DOWN')
  return out
}

/** `eth0@if5`, `v0@v1`, `lo`. */
export function linkName(dev: NetDevice): string {
  const link = linkOf(dev)
  if (link === null) return dev.kind === DEV_IPIP || isGre(dev) ? `${dev.name}@NONE` : dev.name
  return `${dev.name}@${link.ns === dev.ns ? link.name : `if${link.ifindex}`}`
}

/** The master's name, null when there is none. */
export function masterName(dev: NetDevice): string | null {
  return dev.port === null ? null : dev.port.bridge.dev.name
}

/** Whether the device has a queueing discipline: once it was up. */
export function hasQdisc(dev: NetDevice): boolean {
  noteUp(dev)
  return everUp.has(dev)
}

function qdisc(dev: NetDevice): string {
  const root = dev.tc?.root ?? null
  if (root !== null) return root.kind
  if (!hasQdisc(dev)) return 'noop'
  if (dev.kind === DEV_GRETAP) return 'pfifo_fast'
  return dev.kind === DEV_NIC ? 'fq_codel' : 'noqueue'
}

function linkType(dev: NetDevice): string {
  return dev.kind === DEV_LOOPBACK
    ? 'loopback'
    : dev.kind === DEV_IPIP
      ? 'ipip'
      : dev.kind === DEV_GRE
        ? 'gre'
        : 'ether'
}

/** The hardware address: of a tunnel, its local end. */
function hardwareAddress(dev: NetDevice): string {
  if (dev.kind === DEV_GRE) return formatIpv4(greTunnel(dev).cfg.local)
  if (dev.kind === DEV_IPIP) return formatIpv4(ipTunnelPriv(dev).cfg.local)
  return formatMac({ hi: dev.macHi, lo: dev.macLo })
}

function broadcastMac(dev: NetDevice): string {
  if (dev.kind === DEV_GRE) return formatIpv4(greTunnel(dev).cfg.remote)
  if (dev.kind === DEV_IPIP) return formatIpv4(ipTunnelPriv(dev).cfg.remote)
  return dev.kind === DEV_LOOPBACK ? '00:00:00:00:00:00' : 'ff:ff:ff:ff:ff:ff'
}

/** `12: eth0@if5: <...> mtu 1500 qdisc noqueue master cni0 state UP mode DEFAULT group default qlen 1000` */
export function headLine(dev: NetDevice, withMode: boolean): string {
  const master = masterName(dev)
  return [
    `${dev.ifindex}: ${linkName(dev)}: <${flagNames(dev).join(',')}> mtu ${dev.mtu} qdisc ${qdisc(dev)}`,
    ...(master === null ? [] : [`master ${master}`]),
    `state ${operstate(dev)}${withMode ? ' mode DEFAULT' : ''} group ${groupName(dev)} qlen ${dev.txqueuelen}`,
  ].join(' ')
}

function groupName(dev: NetDevice): string {
  return dev.group === 0 ? 'default' : String(dev.group)
}

/** ` link-netnsid 0` when the other end is in another namespace. */
export function netnsidText(dev: NetDevice): string {
  const link = linkOf(dev)
  return link !== null && link.ns !== dev.ns ? ` link-netnsid ${netnsId(dev.ns, link.ns)}` : ''
}

/** `    link/ether 0a:.. brd ff:..` with the far namespace and, under -d, everything about the kind. */
export function addressLine(dev: NetDevice, o: IpOptions): string {
  const mac = hardwareAddress(dev)
  const nsid = netnsidText(dev)
  return `    link/${linkType(dev)} ${mac} ${(dev.flags & IFF_POINTOPOINT) !== 0 ? 'peer' : 'brd'} ${broadcastMac(dev)}${nsid}${permAddress(dev)}${o.details ? details(dev) : ''}`
}

/** Where the address is not the one that the device was born with. */
function permAddress(dev: NetDevice): string {
  const p = dev.permMac
  return p === null || (p.hi === dev.macHi && p.lo === dev.macLo) ? '' : ` permaddr ${formatMac(p)}`
}

/** One device of `ip link show`, all its lines. */
export function linkText(dev: NetDevice, o: IpOptions): string {
  if (o.brief) {
    const flags = `<${flagNames(dev).join(',')}>`
    return `${linkName(dev).padEnd(16)} ${operstate(dev).padEnd(14)} ${hardwareAddress(dev)} ${flags} \n`
  }
  const lines = [headLine(dev, true), addressLine(dev, o)]
  if (o.stats > 0) lines.push(...statLines(dev))
  // _SL_ of iproute2: what begins a line stands behind a backslash
  return o.oneline ? `${lines.join('\\').replaceAll('\n', '\\')}\n` : `${lines.join('\n')}\n`
}

/** One device as `ip -j link show` has it; `withMode` is false in `ip -j addr`. */
export function linkJson(dev: NetDevice, withMode: boolean): { [name: string]: JsonValue } {
  const link = linkOf(dev)
  const far = link !== null && link.ns !== dev.ns
  const master = masterName(dev)
  return {
    ifindex: dev.ifindex,
    ...(link === null ? {} : far ? { link_index: link.ifindex } : { link: link.name }),
    ifname: dev.name,
    flags: flagNames(dev),
    mtu: dev.mtu,
    qdisc: qdisc(dev),
    ...(master === null ? {} : { master }),
    operstate: operstate(dev),
    ...(withMode ? { linkmode: 'DEFAULT' } : {}),
    group: groupName(dev),
    txqlen: dev.txqueuelen,
    link_type: linkType(dev),
    address: hardwareAddress(dev),
    ...((dev.flags & IFF_POINTOPOINT) !== 0 ? { link_pointtopoint: true } : {}),
    broadcast: broadcastMac(dev),
    ...(far ? { link_netnsid: netnsId(dev.ns, link.ns) } : {}),
  }
}

/** The counters of -s. */
export function statLines(dev: NetDevice): string[] {
  const cols = (...v: readonly number[]): string =>
    `    ${v.map((n, i) => String(n).padStart(i === 0 ? 10 : i === 1 ? 7 : i === 2 ? 6 : 7)).join(' ')} `
  return [
    '    RX:  bytes packets errors dropped  missed   mcast           ',
    cols(dev.rxBytes, dev.rxPackets, dev.rxErrors, dev.rxDropped, 0, 0),
    '    TX:  bytes packets errors dropped carrier collsns           ',
    cols(dev.txBytes, dev.txPackets, dev.txErrors, dev.txDropped, 0, 0),
  ]
}

/** Kinds whose `info_data` is written as JSON, or that have none. */
const JSON_DETAILS: ReadonlySet<number> = new Set([DEV_LOOPBACK, DEV_NIC, DEV_VETH, DEV_DUMMY, DEV_VXLAN])

/** What `-d` adds to `ip -j link` and `ip -j addr`. */
export function detailsJson(dev: NetDevice): { [name: string]: JsonValue } {
  const kind = KIND_NAMES[dev.kind]
  if (!JSON_DETAILS.has(dev.kind)) unmodelled(`ip -d -j link of type ${kind ?? dev.kind}`)
  if (dev.port !== null) unmodelled('ip -d -j link of a bridge port')
  const { min, max } = mtuLimits(dev)
  const queues = dev.kind === DEV_VETH ? 2 : 1
  const info = dev.kind === DEV_VXLAN ? { info_data: vxlanJson(dev) } : {}
  return {
    ...{ promiscuity: dev.promiscuity, allmulti: 0, min_mtu: min, max_mtu: max },
    ...(kind === undefined ? {} : { linkinfo: { info_kind: kind, ...info } }),
    ...(hasInet6(dev) ? { inet6_addr_gen_mode: 'eui64' } : {}),
    ...{ num_tx_queues: queues, num_rx_queues: queues, gso_max_size: 65536, gso_max_segs: 65535 },
    ...{ tso_max_size: tsoMaxSize(dev), tso_max_segs: 65535, gro_max_size: 65536 },
  }
}

/** dev->min_mtu and max_mtu. */
function mtuLimits(dev: NetDevice): { min: number; max: number } {
  const unlimited = dev.kind === DEV_LOOPBACK || dev.kind === DEV_IPIP || dev.kind === DEV_DUMMY || dev.kind === DEV_GRE
  const max = unlimited || dev.kind === DEV_GRETAP ? 0 : dev.kind === DEV_GENEVE ? geneveMaxMtu(dev) : 65535
  return { min: unlimited || dev.kind === DEV_VLAN ? 0 : 68, max }
}

/** A device that is too small for IPv6 has no inet6_dev (IPV6_MIN_MTU). */
function hasInet6(dev: NetDevice): boolean {
  return dev.mtu >= 1280 && !(dev.kind === DEV_IPIP && ipTunnelPriv(dev).fallback)
}

function details(dev: NetDevice): string {
  const port = dev.port
  const { min, max } = mtuLimits(dev)
  let out = ` promiscuity ${dev.promiscuity + (port === null ? 0 : 1)}  allmulti ${port === null ? 0 : 1} minmtu ${min} maxmtu ${max} `
  const kind = KIND_NAMES[dev.kind]
  if (kind !== undefined) out += `\n    ${kind} `
  if (dev.bridge !== null) out += bridgeDetails(dev.bridge)
  if (dev.kind === DEV_VXLAN) out += vxlanDetails(dev)
  if (isGre(dev)) out += greDetails(dev)
  if (dev.kind === DEV_GENEVE) out += geneveDetails(dev)
  if (dev.kind === DEV_VLAN) out += vlanDetails(dev)
  if (dev.kind === DEV_MACVLAN) out += macvlanDetails(dev)
  if (dev.kind === DEV_IPVLAN) out += ipvlanDetails(dev)
  if (dev.kind === DEV_IPIP) out += ipipDetails(dev)
  if (port !== null) out += `\n    bridge_slave ${slaveDetails(port)}`
  const queues = dev.kind === DEV_VETH ? 2 : 1
  const eui64 = hasInet6(dev) ? 'addrgenmode eui64 ' : ''
  return (
    `${out}${eui64}numtxqueues ${queues} numrxqueues ${queues} gso_max_size 65536 gso_max_segs 65535 ` +
    `tso_max_size ${tsoMaxSize(dev)} tso_max_segs 65535 gro_max_size 65536 `
  )
}

/** dev->tso_max_size: a stacked device takes over that of the one below, a bridge the least of its ports'. */
function tsoMaxSize(dev: NetDevice): number {
  const lower = dev.kind === DEV_VXLAN ? vxlanPriv(dev).cfg.lowerdev : dev.lower
  if (lower !== null) return tsoMaxSize(lower)
  if (dev.bridge !== null) return Math.min(TSO_MAX_SIZE, ...dev.bridge.ports.map((p) => tsoMaxSize(p.dev)))
  return dev.kind === DEV_VETH || dev.kind === DEV_LOOPBACK ? TSO_MAX_SIZE : GSO_LEGACY_MAX_SIZE
}

const TSO_MAX_SIZE = 524280
const GSO_LEGACY_MAX_SIZE = 65536
const USER_HZ_NS = 10_000_000

/** `8000.2:0:0:0:99:1`, without leading zeros as iproute2 prints it. */
function bridgeId(dev: NetDevice): string {
  const octets = [
    dev.macHi >> 8,
    dev.macHi & 255,
    dev.macLo >>> 24,
    (dev.macLo >>> 16) & 255,
    (dev.macLo >>> 8) & 255,
    dev.macLo & 255,
  ]
  return `8000.${octets.map((n) => n.toString(16)).join(':')}`
}

function bridgeDetails(b: Bridge): string {
  const cs = (ns: number): number => Math.round(ns / USER_HZ_NS)
  const id = bridgeId(b.dev)
  return (
    `forward_delay ${cs(b.forwardDelayNs)} hello_time ${cs(b.helloTimeNs)} max_age ${cs(b.maxAgeNs)} ` +
    `ageing_time ${cs(b.ageingNs)} stp_state ${b.stp ? 1 : 0} priority 32768 vlan_filtering ${b.vlanFiltering ? 1 : 0} ${vlanProtocol(b)}` +
    `bridge_id ${id} designated_root ${id} root_port 0 root_path_cost 0 topology_change 0 topology_change_detected 0 ` +
    'hello_timer    0.00 tcn_timer    0.00 topology_change_timer    0.00 gc_timer    0.00 ' +
    (b.vlanGroup === null ? '' : `vlan_default_pvid ${b.vlanDefaultPvid} vlan_stats_enabled 0 vlan_stats_per_port 0 `) +
    `group_fwd_mask ${hexOr0(b.groupFwdMask)} group_address 01:80:c2:00:00:0${b.vlanProto === ETH_P_8021AD ? 8 : 0} mcast_snooping ${b.mcastSnooping ? 1 : 0} ` +
    'no_linklocal_learn 0 mcast_vlan_snooping 0 mcast_router 1 mcast_query_use_ifaddr 0 mcast_querier 0 ' +
    'mcast_hash_elasticity 16 mcast_hash_max 4096 mcast_last_member_count 2 mcast_startup_query_count 2 ' +
    'mcast_last_member_interval 100 mcast_membership_interval 26000 mcast_querier_interval 25500 ' +
    'mcast_query_interval 12500 mcast_query_response_interval 1000 mcast_startup_query_interval 3124 ' +
    'mcast_stats_enabled 0 mcast_igmp_version 2 mcast_mld_version 1 ' +
    `nf_call_iptables ${b.nfCallIptables ? 1 : 0} nf_call_ip6tables ${b.nfCallIp6tables ? 1 : 0} nf_call_arptables 0 `
  )
}

/** Shown by a kernel that can filter VLANs: here, once the bridge was asked to. */
function vlanProtocol(b: Bridge): string {
  if (b.vlanGroup === null) return ''
  return `vlan_protocol ${b.vlanProto === ETH_P_8021AD ? '802.1ad' : '802.1Q'} `
}

function hexOr0(n: number): string {
  return n === 0 ? '0' : `0x${n.toString(16)}`
}

function slaveDetails(p: BridgePort): string {
  const on = (v: boolean): string => (v ? 'on' : 'off')
  const id = bridgeId(p.bridge.dev)
  const portId = 0x8000 | p.number
  return (
    `state ${portStateName(p)} priority ${p.priority} cost ${p.cost} hairpin ${on(p.hairpin)} guard ${on(p.guard)} ` +
    `root_block ${on(p.rootBlock)} fastleave ${on(p.fastleave)} learning ${on(p.learning)} flood ${on(p.flood)} ` +
    `port_id 0x${portId.toString(16)} port_no 0x${p.number.toString(16)} designated_port ${portId} designated_cost 0 ` +
    `designated_bridge ${id} designated_root ${id} hold_timer    0.00 message_age_timer    0.00 ` +
    `forward_delay_timer    0.00 topology_change_ack 0 config_pending 0 ` +
    `proxy_arp ${on(p.proxyArp)} proxy_arp_wifi ${on(p.proxyArpWifi)} mcast_router 1 mcast_fast_leave ${on(p.fastleave)} ` +
    `mcast_flood ${on(p.mcastFlood)} bcast_flood ${on(p.bcastFlood)} mcast_to_unicast ${on(p.mcastToUnicast)} ` +
    `neigh_suppress ${on(p.neighSuppress)} group_fwd_mask ${hexOr0(p.groupFwdMask)} ` +
    `group_fwd_mask_str 0x${p.groupFwdMask.toString(16)} vlan_tunnel ${on(p.vlanTunnel)} isolated ${on(p.isolated)} ` +
    `locked ${on(p.locked)} `
  )
}
