/**
 * A built cluster as a kernel-lab scenario: the same devices, addresses, routes and rules, for the real kernel.
 *
 * What podwalk programmed is read back from the simulated namespaces, so that the scenario is the configuration itself and
 * not a second opinion of it. Namespaces get short names (the kernel's limit on the recorder's prefix): `u` underlay, `n1`
 * ... nodes in order, `p1` ... pods in order. Permanent neighbours and
 * the fdb of VXLAN devices are carried over; what was learned is not, nor the exact bridge timers.
 */
import { formatIpv4, formatMac } from '../addr/index.ts'
import type {
  LabAddr,
  LabDevice,
  LabFdb,
  LabLink,
  LabNeigh,
  LabPort,
  LabRoute,
  LabScenario,
  LabStep,
} from '../lab/scenario.ts'
import {
  DEV_BRIDGE,
  DEV_DUMMY,
  DEV_IPIP,
  DEV_LOOPBACK,
  DEV_VXLAN,
  IFF_UP,
  type NetDevice,
  RT_SCOPE_LINK,
} from '../linux/device/device.ts'
import { ipTunnelPriv } from '../linux/device/ipip.ts'
import { vxlanPriv } from '../linux/device/vxlan.ts'
import { NUD_PERMANENT } from '../linux/neighbour/neighbour.ts'
import type { Netns } from '../linux/netns.ts'
import { RTN_BLACKHOLE, RTNH_F_ONLINK, RTPROT_KERNEL } from '../linux/route/rtn.ts'
import { sysctlGet } from '../linux/sysctl.ts'
import { execTool } from '../linux/tools/exec.ts'
import type { Cluster } from './build.ts'

const MAIN = 254
/** Settings that drivers and kube-proxy write; carried over where they differ from the lab's base. */
const SYSCTLS: readonly (readonly [string, string])[] = [
  ['net.ipv4.ip_forward', '0'],
  ['net.bridge.bridge-nf-call-iptables', '0'],
  ['net.ipv4.conf.all.route_localnet', '0'],
  ['net.ipv4.vs.conntrack', '0'],
  ['net.ipv4.vs.expire_nodest_conn', '0'],
  ['net.ipv4.vs.expire_quiescent_template', '0'],
]

/** Short names by namespace id. */
export function scenarioNames(cluster: Cluster): Map<number, string> {
  const names = new Map<number, string>([[cluster.underlay.ns.id, 'u']])
  let n = 0
  for (const ns of cluster.nodes.values()) names.set(ns.id, `n${++n}`)
  let p = 0
  for (const ns of cluster.pods.values()) if (!names.has(ns.id)) names.set(ns.id, `p${++p}`)
  let h = 0
  for (const ns of cluster.world.namespaces) if (!names.has(ns.id)) names.set(ns.id, `h${++h}`)
  return names
}

function mac(d: NetDevice): string {
  return formatMac({ hi: d.macHi, lo: d.macLo })
}

function addresses(ns: string, dev: NetDevice): LabAddr[] {
  return dev.addrs.map((a) => ({
    ns,
    dev: dev.name,
    addr: `${formatIpv4(a.ip)}/${a.prefixLength}`,
    ...(a.broadcast === 0 ? {} : { opts: `brd ${formatIpv4(a.broadcast)}` }),
  }))
}

function routes(name: string, ns: Netns): LabRoute[] {
  return (
    ns.fib
      .routes(MAIN)
      .filter((r) => r.protocol !== RTPROT_KERNEL)
      // a gateway must be reachable when its route is added: on-link routes first
      .sort((a, b) => Number(a.nexthops[0]?.hasGateway ?? false) - Number(b.nexthops[0]?.hasGateway ?? false))
      .map((r) => {
        const nh = r.nexthops[0]!
        const dst = r.prefixLength === 0 ? 'default' : `${formatIpv4(r.dst)}/${r.prefixLength}`
        if (r.type === RTN_BLACKHOLE) return { ns: name, dst, type: 'blackhole' }
        return {
          ns: name,
          dst,
          ...(nh.hasGateway ? { via: formatIpv4(nh.gateway) } : {}),
          dev: nh.dev!.name,
          ...((nh.flags & RTNH_F_ONLINK) !== 0 ? { onlink: true } : {}),
          ...(r.scope === RT_SCOPE_LINK && !nh.hasGateway ? { scope: 'link' } : {}),
          ...(r.mtu !== 0 ? { mtu: r.mtu } : {}),
          ...(r.metric !== 0 ? { metric: r.metric } : {}),
        }
      })
  )
}

/** The module's own tunnel is there before the lab and down: commands bring it up, and its routes after it. */
function tunl0Steps(name: string, dev: NetDevice, all: readonly LabRoute[]): LabStep[] {
  const command = (text: string): LabStep => ({ op: 'cmd', ns: name, argv: text.split(' ') })
  return [
    command(`ip link set tunl0 mtu ${dev.mtu} up`),
    ...dev.addrs.map((a) => command(`ip addr add ${formatIpv4(a.ip)}/${a.prefixLength} dev tunl0`)),
    ...all
      .filter((r) => r.ns === name && r.dev === 'tunl0')
      .map((r) => {
        const mtu = r.mtu === undefined ? '' : ` mtu ${r.mtu}`
        return command(`ip route add ${r.dst} via ${r.via} dev tunl0${r.onlink === true ? ' onlink' : ''}${mtu}`)
      }),
  ]
}

/** A tunnel as a device of the lab. */
function tunnel(ns: string, dev: NetDevice): LabDevice {
  if (dev.kind === DEV_VXLAN) {
    const { vni, dstport, local, lowerdev, learning, udpcsum } = vxlanPriv(dev).cfg
    return {
      ...{ ns, name: dev.name, type: 'vxlan', mac: mac(dev), mtu: dev.mtu, vni, dstport, learning, udpcsum },
      ...{ local: formatIpv4(local), dev: lowerdev?.name ?? null },
    }
  }
  const { local, remote, pmtudisc } = ipTunnelPriv(dev).cfg
  return {
    ...{ ns, name: dev.name, type: 'ipip', mtu: dev.mtu, local: formatIpv4(local), nopmtudisc: !pmtudisc },
    ...(remote === 0 ? {} : { remote: formatIpv4(remote) }),
  }
}

function fdbEntries(ns: string, dev: NetDevice): LabFdb[] {
  return vxlanPriv(dev)
    .fdb.entries()
    .flatMap((e) =>
      e.remotes.map((r) => ({
        ...{ ns, dev: dev.name, mac: formatMac({ hi: e.macHi, lo: e.macLo }) },
        opts: `dst ${formatIpv4(r.remote)} self permanent`,
      })),
    )
}

/** Keeps what a tool prints, when it prints something. */
function save(ns: Netns, short: string, argv: readonly string[], into: { [ns: string]: string }): void {
  const { status, stdout } = execTool(ns, argv)
  if (status === 0 && stdout !== '') into[short] = stdout
}

/** The scenario that holds the cluster's configuration and plays `steps`. */
export function clusterScenario(cluster: Cluster, name: string, steps: readonly LabStep[]): LabScenario {
  const names = scenarioNames(cluster)
  const links: LabLink[] = []
  const devices: LabDevice[] = []
  const ports: LabPort[] = []
  const down: string[] = []
  const addrs: LabAddr[] = []
  const allRoutes: LabRoute[] = []
  const neigh: LabNeigh[] = []
  const fdb: LabFdb[] = []
  const sysctl: { [ns: string]: { [key: string]: string } } = {}
  const iptables: { [ns: string]: string } = {}
  const nft: { [ns: string]: string } = {}
  const ipset: { [ns: string]: string } = {}
  const ipvs: { [ns: string]: string } = {}
  const ownTunnels: [string, NetDevice][] = []
  for (const ns of cluster.world.namespaces) {
    const short = names.get(ns.id)!
    const settings: { [key: string]: string } = {}
    for (const [key, base] of SYSCTLS) {
      const value = sysctlGet(ns, key)
      if (value !== null && value !== base) settings[key] = value
    }
    for (const dev of ns.devices.values()) {
      if (dev.kind === DEV_LOOPBACK) continue
      if (dev.name === 'tunl0') {
        if ((dev.flags & IFF_UP) !== 0) ownTunnels.push([short, dev])
        continue
      }
      if (dev.conf.rp_filter !== 0) settings[`net.ipv4.conf.${dev.name}.rp_filter`] = String(dev.conf.rp_filter)
      if (dev.conf.proxy_arp !== 0) {
        settings[`net.ipv4.conf.${dev.name}.proxy_arp`] = '1'
        settings[`net.ipv4.neigh.${dev.name}.proxy_delay`] = String(dev.neighParms.proxy_delay)
      }
      if (dev.conf.route_localnet !== 0) settings[`net.ipv4.conf.${dev.name}.route_localnet`] = '1'
      addrs.push(...addresses(short, dev))
      if (dev.kind === DEV_BRIDGE) {
        devices.push({ ns: short, name: dev.name, type: 'bridge', mac: mac(dev), mtu: dev.mtu })
        for (const p of [...dev.bridge!.ports].reverse()) {
          ports.push({ ns: short, bridge: dev.name, dev: p.dev.name, ...(p.hairpin ? { flags: 'hairpin on' } : {}) })
        }
      } else if (dev.kind === DEV_VXLAN || dev.kind === DEV_IPIP) {
        devices.push(tunnel(short, dev))
        if (dev.kind === DEV_VXLAN) fdb.push(...fdbEntries(short, dev))
      } else if (dev.kind === DEV_DUMMY) {
        devices.push({ ns: short, name: dev.name, type: 'dummy', mac: mac(dev), mtu: dev.mtu })
        if ((dev.flags & IFF_UP) === 0) down.push(`${short}/${dev.name}`)
      } else if (dev.peer !== null && dev.id < dev.peer.id) {
        const other = names.get(dev.peer.ns.id)!
        links.push({
          type: 'veth',
          a: [short, dev.name, mac(dev)],
          b: [other, dev.peer.name, mac(dev.peer)],
          mtu: dev.mtu,
        })
      }
    }
    for (const n of ns.neigh.list()) {
      if (n.state !== NUD_PERMANENT) continue
      const lladdr = formatMac({ hi: n.macHi, lo: n.macLo })
      neigh.push({ ns: short, dev: n.dev.name, ip: formatIpv4(n.ip), mac: lladdr })
    }
    allRoutes.push(...routes(short, ns))
    if (Object.keys(settings).length > 0) sysctl[short] = settings
    const rules = execTool(ns, ['iptables-save']).stdout
    if (rules !== '') iptables[short] = rules
    save(ns, short, ['nft', 'list', 'ruleset'], nft)
    save(ns, short, ['ipset', 'save'], ipset)
    save(ns, short, ['ipvsadm', '-Sn'], ipvs)
  }
  return {
    name,
    netns: [...names.values()],
    links,
    devices,
    ports,
    addrs,
    routes: allRoutes.filter((r) => r.dev !== 'tunl0'),
    ...(ownTunnels.length > 0 && { tunl0: ownTunnels.map(([ns]) => ns), requires: ['ipip'] }),
    ...(down.length > 0 && { down }),
    ...(neigh.length > 0 && { neigh }),
    ...(fdb.length > 0 && { fdb }),
    sysctl,
    ...(Object.keys(ipset).length > 0 && { ipset }),
    iptables,
    ...(Object.keys(ipvs).length > 0 && { ipvs }),
    ...(Object.keys(nft).length > 0 && { nft }),
    norm: { tcp: true, ...(devices.some((d) => d.type === 'vxlan') && { vxsport: true }) },
    quiet_ms: 60,
    state: [...cluster.nodes.values()].flatMap((ns) => [
      { ns: names.get(ns.id)!, kind: 'conntrack' as const },
      { ns: names.get(ns.id)!, kind: 'iptables' as const },
    ]),
    steps: [...ownTunnels.flatMap(([ns, dev]) => tunl0Steps(ns, dev, allRoutes)), ...steps],
  }
}
