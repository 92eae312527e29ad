/**
 * Builds on the real kernel what stands in a simulated world: namespaces, wires, bridges, VXLAN devices with their fdb,
 * addresses, routes, neighbours, settings, ip sets and iptables rules are read from the world and written with iproute2 and iptables. So both sides run the same
 * path by construction. Every namespace is named with a prefix of this process and is deleted again.
 *
 * Not carried over: sockets, conntrack entries, what the world has that no walk here uses (rules of policy routing).
 */
import { spawnSync } from 'node:child_process'
import { formatIpv4, formatMac } from '../../src/addr/index.ts'
import { DEV_BRIDGE, DEV_LOOPBACK, DEV_VXLAN, IFF_PROMISC, type NetDevice } from '../../src/linux/device/device.ts'
import { vxlanPriv } from '../../src/linux/device/vxlan.ts'
import { type Neighbour, NUD_VALID } from '../../src/linux/neighbour/neighbour.ts'
import type { Netns } from '../../src/linux/netns.ts'
import { RTNH_F_ONLINK } from '../../src/linux/route/rtn.ts'
import { ipsetSave } from '../../src/linux/tools/ipset.ts'
import { iptablesSave } from '../../src/linux/tools/iptables.ts'
import type { World } from '../../src/linux/world.ts'

/** RTPROT_KERNEL: routes that come with addresses. */
const RTPROT_KERNEL = 2

/** Runs a command; throws with its stderr. */
export function sh(argv: readonly string[], input?: string): string {
  const done = spawnSync(argv[0]!, argv.slice(1), { encoding: 'utf8', ...(input === undefined ? {} : { input }) })
  if (done.status !== 0) throw new Error(`${argv.join(' ')}: ${done.stderr || (done.error?.message ?? '')}`)
  return done.stdout
}

/** Name of the real namespace for a simulated one. */
export function kernelName(ns: Netns): string {
  return `pwb${process.pid}-${ns.id}`
}

function macOf(dev: NetDevice): string {
  return formatMac({ hi: dev.macHi, lo: dev.macLo })
}

function linkLines(world: World, made: Set<NetDevice>): string[] {
  const lines: string[] = []
  for (const dev of world.devices) {
    if (dev === null || dev.kind === DEV_LOOPBACK || made.has(dev)) continue
    made.add(dev)
    const at = `netns ${kernelName(dev.ns)}`
    if (dev.kind === DEV_BRIDGE) {
      lines.push(
        `link add ${dev.name} ${at} address ${macOf(dev)} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
      )
    } else if (dev.peer !== null) {
      made.add(dev.peer)
      const peer = `name ${dev.peer.name} address ${macOf(dev.peer)} netns ${kernelName(dev.peer.ns)}`
      lines.push(`link add ${dev.name} address ${macOf(dev)} mtu ${dev.mtu} ${at} type veth peer ${peer}`)
    }
  }
  return lines
}

/** `ip link add` of a VXLAN device as it stands in the world. */
function vxlanLine(dev: NetDevice): string {
  const { vni, dstport, local, lowerdev, learning } = vxlanPriv(dev).cfg
  const lower = lowerdev === null ? '' : ` dev ${lowerdev.name}`
  const learn = learning ? 'learning' : 'nolearning'
  const type = `vxlan id ${vni} dstport ${dstport} local ${formatIpv4(local)}${lower} ${learn}`
  return `link add ${dev.name} address ${macOf(dev)} mtu ${dev.mtu} type ${type}`
}

/** Commands of bridge(8) for the entries of VXLAN devices. */
function fdbCommands(ns: Netns): string[][] {
  return [...ns.devices.values()]
    .filter((dev) => dev.kind === DEV_VXLAN)
    .flatMap((dev) =>
      vxlanPriv(dev)
        .fdb.entries()
        .flatMap((e) =>
          e.remotes.map((r) => {
            const mac = formatMac({ hi: e.macHi, lo: e.macLo })
            return ['bridge', 'fdb', 'append', mac, 'dev', dev.name, 'dst', formatIpv4(r.remote), 'self', 'permanent']
          }),
        ),
    )
}

function namespaceLines(ns: Netns): string[] {
  const lines: string[] = ['link set lo up']
  for (const dev of ns.devices.values()) if (dev.kind === DEV_VXLAN) lines.push(vxlanLine(dev))
  for (const dev of ns.devices.values()) {
    for (const port of [...(dev.bridge?.ports ?? [])].reverse()) {
      lines.push(`link set ${port.dev.name} master ${dev.name}`)
      if (port.hairpin) lines.push(`link set ${port.dev.name} type bridge_slave hairpin on`)
    }
    if ((dev.flags & IFF_PROMISC) !== 0) lines.push(`link set ${dev.name} promisc on`)
    if (dev.kind === DEV_LOOPBACK) continue
    for (const a of dev.addrs) lines.push(`addr add ${formatIpv4(a.ip)}/${a.prefixLength} dev ${dev.name}`)
    if (dev.up) lines.push(`link set ${dev.name} up`)
  }
  return lines
}

function routeLines(ns: Netns): string[] {
  const lines: string[] = []
  // a gateway must be reachable when its route is added: on-link routes first
  const routes = [...ns.fib.routes(254)]
  routes.sort((a, b) => Number(a.nexthops[0]?.hasGateway ?? false) - Number(b.nexthops[0]?.hasGateway ?? false))
  for (const r of routes) {
    const nh = r.nexthops[0]
    if (r.protocol === RTPROT_KERNEL || nh === undefined || nh.dev === null) continue
    const via = nh.hasGateway ? ` via ${formatIpv4(nh.gateway)}` : ''
    const onlink = (nh.flags & RTNH_F_ONLINK) !== 0 ? ' onlink' : ''
    lines.push(`route replace ${formatIpv4(r.dst)}/${r.prefixLength}${via} dev ${nh.dev.name}${onlink}`)
  }
  for (const n of ns.neigh.list()) {
    if ((n.state & NUD_VALID) === 0 || !n.dev.up || n.dev.kind === DEV_LOOPBACK || n.ip === 0) continue
    lines.push(neighLine(n))
  }
  return lines
}

function neighLine(n: Neighbour): string {
  return `neigh replace ${formatIpv4(n.ip)} lladdr ${formatMac({ hi: n.macHi, lo: n.macLo })} nud permanent dev ${n.dev.name}`
}

function settings(ns: Netns): string[] {
  const s = ns.sysctl
  const out = [
    'net.ipv6.conf.all.disable_ipv6=1',
    'net.ipv6.conf.default.disable_ipv6=1',
    `net.ipv4.ip_forward=${s.all.forwarding}`,
    `net.ipv4.conf.all.rp_filter=${s.all.rp_filter}`,
    `net.bridge.bridge-nf-call-iptables=${s.bridge_nf_call_iptables}`,
    'net.bridge.bridge-nf-call-ip6tables=0',
  ]
  return out
}

/** Builds everything. @returns what to call to take it away again */
export function cloneToKernel(world: World, iptablesRestore: string): () => void {
  const names = world.namespaces.map(kernelName)
  const remove = (): void => {
    for (const n of names) spawnSync('ip', ['netns', 'del', n])
  }
  try {
    for (const ns of world.namespaces) {
      sh(['ip', 'netns', 'add', kernelName(ns)])
      sh(['ip', 'netns', 'exec', kernelName(ns), 'sysctl', '-qw', ...settings(ns)])
    }
    sh(['ip', '-batch', '-'], linkLines(world, new Set()).join('\n'))
    for (const ns of world.namespaces) sh(['ip', '-n', kernelName(ns), '-batch', '-'], namespaceLines(ns).join('\n'))
    for (const ns of world.namespaces) {
      const lines = routeLines(ns)
      if (lines.length > 0) sh(['ip', '-n', kernelName(ns), '-batch', '-'], lines.join('\n'))
      for (const argv of fdbCommands(ns)) sh(['ip', 'netns', 'exec', kernelName(ns), ...argv])
      const sets = ipsetSave(ns)
      if (sets !== '') sh(['ip', 'netns', 'exec', kernelName(ns), 'ipset', 'restore'], sets)
      const rules = iptablesSave(ns)
      if (rules !== '') sh(['ip', 'netns', 'exec', kernelName(ns), iptablesRestore], rules)
    }
  } catch (e) {
    remove()
    throw e
  }
  return remove
}
