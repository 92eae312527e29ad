/**
 * Builds a scenario's world: namespaces, devices, addresses, routes, rules, in the recorder's order.
 *
 * Everything goes through the text front ends that a user has (`ip`, `bridge`, `sysctl`, `ipset`, `iptables-restore`), so
 * a scenario means here what it means on the real kernel. What is not modelled ends the build with UnmodelledError.
 */

import { loadIpip } from '../linux/device/ipip.ts'
import type { Netns } from '../linux/netns.ts'
import { execTool } from '../linux/tools/exec.ts'
import { UNMODELLED_STATUS } from '../linux/tools/result.ts'
import { World } from '../linux/world.ts'
import { BASE_NEIGH, BASE_SYSCTL, BASE_SYSCTL6, IPV6_SETTLE_MS } from './base.ts'
import { type LabDevice, LabError, type LabRoute, type LabScenario, UnmodelledError } from './scenario.ts'

/** Runs a tool in a namespace; a failure ends the lab with the command and its message. */
export function labTool(ns: Netns, argv: readonly string[], stdin?: string): string {
  const r = execTool(ns, argv, stdin)
  if (r.status === 0) return r.stdout
  const said = (r.stderr || r.stdout).trim()
  if (r.status === UNMODELLED_STATUS || r.status === 127) {
    throw new UnmodelledError(
      said.replace(/^podwalk: (exec: )?(UNMODELLED: )?/, ''),
      `netns ${ns.name}: ${argv.join(' ')}`,
    )
  }
  throw new LabError(`netns ${ns.name}: ${argv.join(' ')}: status ${r.status}: ${said}`)
}

/** A scenario's world after set-up, frames of the set-up not yet recorded. */
export function buildLab(scenario: LabScenario, seed = 1): World {
  refuseUnmodelled(scenario)
  const w = new World({ seed })
  if ((scenario.requires ?? []).includes('ipip')) loadIpip(w)
  for (const name of scenario.netns) {
    const ns = w.addNetns(name)
    const base = scenario.ipv6 === true ? { ...BASE_SYSCTL, ...BASE_SYSCTL6 } : BASE_SYSCTL
    for (const [key, value] of Object.entries(base)) labTool(ns, ['sysctl', '-qw', `${key}=${value}`])
  }
  addDevices(w, scenario)
  for (const ns of w.namespaces) bringUp(w, ns, scenario)
  for (const ns of w.namespaces) {
    for (const dev of ['default', ...ns.devices.keys()]) {
      for (const [key, value] of Object.entries(BASE_NEIGH)) {
        setSysctl(ns, `net/ipv4/neigh/${dev}/${key}`, value)
        if (scenario.ipv6 === true && (dev === 'default' || ns.devices.get(dev)?.in6 != null)) {
          setSysctl(ns, `net/ipv6/neigh/${dev}/${key}`, value)
        }
      }
    }
  }
  for (const [name, settings] of Object.entries(scenario.sysctl ?? {})) {
    for (const [key, value] of Object.entries(settings)) setSysctl(netnsOf(w, name), key, value)
  }
  for (const ns of w.namespaces) configure(ns, scenario)
  for (const [name, text] of Object.entries(scenario.ipset ?? {})) labTool(netnsOf(w, name), ['ipset', 'restore'], text)
  for (const [name, text] of Object.entries(scenario.iptables ?? {})) {
    labTool(netnsOf(w, name), [`iptables-${scenario.backend ?? 'legacy'}-restore`], text)
  }
  for (const [name, text] of Object.entries(scenario.ip6tables ?? {})) {
    labTool(netnsOf(w, name), [`ip6tables-${scenario.backend ?? 'legacy'}-restore`], text)
  }
  for (const [name, text] of Object.entries(scenario.nft ?? {})) labTool(netnsOf(w, name), ['nft', '-f', '-'], text)
  for (const [name, text] of Object.entries(scenario.ipvs ?? {})) labTool(netnsOf(w, name), ['ipvsadm', '-R'], text)
  if (scenario.ipv6 === true) w.runUntil(w.nowNs + IPV6_SETTLE_MS * 1e6)
  return w
}

/** The namespace of a name that validation has seen. */
export function netnsOf(w: World, name: string): Netns {
  const ns = w.netnsByName.get(name)
  if (ns === undefined) throw new LabError(`no netns ${name}`)
  return ns
}

function setSysctl(ns: Netns, key: string, value: string | number): void {
  labTool(ns, ['sysctl', '-qw', `${key}=${value}`])
}

function refuseUnmodelled(scenario: LabScenario): void {
  if (scenario.backend === 'nft') throw new UnmodelledError('nft', 'iptables over nf_tables')
}

function addDevices(w: World, scenario: LabScenario): void {
  for (const l of scenario.links ?? []) {
    const mtu = String(l.mtu ?? 1500)
    const [nsA, devA, macA] = l.a
    const [nsB, devB, macB] = l.b
    const argv = ['ip', 'link', 'add', devA, 'address', macA, 'mtu', mtu, 'type', 'veth', 'peer', 'name', devB]
    labTool(netnsOf(w, nsA), [...argv, 'address', macB, 'mtu', mtu, 'netns', nsB])
  }
  for (const d of scenario.devices ?? []) labTool(netnsOf(w, d.ns), deviceCommand(d))
}

function deviceCommand(d: LabDevice): string[] {
  const c = ['ip', 'link', 'add', ...(d.link === undefined ? [] : ['link', d.link]), 'name', d.name]
  if (d.netns !== undefined) c.push('netns', d.netns)
  if (d.mac !== undefined) c.push('address', d.mac)
  if (d.mtu !== undefined && d.mtu !== 0) c.push('mtu', String(d.mtu))
  c.push('type', d.type)
  if (d.type === 'vxlan') vxlanWords(d, c)
  else if (d.type === 'ipip') ipipWords(d, c)
  else if (d.type === 'bridge')
    c.push('stp_state', '0', 'forward_delay', '0', 'mcast_snooping', '0', 'ageing_time', String(d.ageing_cs ?? 30000))
  if (d.opts !== undefined) c.push(...d.opts.split(/\s+/).filter((x) => x !== ''))
  return c
}

/** What stands after `type ipip`. */
function ipipWords(d: LabDevice, c: string[]): void {
  for (const key of ['local', 'remote', 'dev', 'ttl', 'tos'] as const) {
    const value = d[key]
    if (value !== undefined && value !== null) c.push(key, String(value))
  }
  if (d.nopmtudisc === true) c.push('nopmtudisc')
}

/** What stands after `type vxlan`. */
function vxlanWords(d: LabDevice, c: string[]): void {
  c.push('id', String(d.vni ?? 0), 'dstport', String(d.dstport ?? 8472))
  for (const key of ['local', 'remote', 'dev', 'ttl', 'tos', 'df'] as const) {
    const value = d[key]
    if (value !== undefined && value !== null) c.push(key, String(value))
  }
  if (d.srcport !== undefined) c.push('srcport', String(d.srcport[0]), String(d.srcport[1]))
  c.push(d.learning === true ? 'learning' : 'nolearning', d.udpcsum === true ? 'udpcsum' : 'noudpcsum')
}

function batch(ns: Netns, tool: string, lines: readonly string[]): void {
  if (lines.length > 0) labTool(ns, [tool, '-batch', '-'], `${lines.join('\n')}\n`)
}

function bringUp(w: World, ns: Netns, scenario: LabScenario): void {
  const lines: string[] = []
  for (const p of scenario.ports ?? []) if (p.ns === ns.name) lines.push(`link set ${p.dev} master ${p.bridge}`)
  for (const dev of ns.byIndex) {
    // the recorder leaves tunl0 alone, which is there wherever the module is, unless the scenario names it
    if (dev === undefined || (dev.name === 'tunl0' && !(scenario.tunl0 ?? []).includes(ns.name))) continue
    if (!(scenario.down ?? []).includes(`${ns.name}/${dev.name}`)) lines.push(`link set ${dev.name} up`)
  }
  for (const a of scenario.addrs ?? [])
    if (a.ns === ns.name) lines.push(`addr add ${a.addr} dev ${a.dev} ${a.opts ?? ''}`)
  batch(ns, 'ip', lines)
  w.softirq()
}

function configure(ns: Netns, scenario: LabScenario): void {
  const lines: string[] = []
  for (const r of scenario.routes ?? []) if (r.ns === ns.name) lines.push(`route add ${routeWords(r)}`)
  for (const r of scenario.rules ?? []) if (r.ns === ns.name) lines.push(`rule add ${r.rule}`)
  for (const n of scenario.neigh ?? []) {
    if (n.ns === ns.name) lines.push(`neigh replace ${n.ip} lladdr ${n.mac} dev ${n.dev} nud ${n.nud ?? 'permanent'}`)
  }
  batch(ns, 'ip', lines)
  const bridgeLines: string[] = []
  for (const p of scenario.ports ?? []) {
    if (p.ns === ns.name && p.flags !== undefined && p.flags !== '')
      bridgeLines.push(`link set dev ${p.dev} ${p.flags}`)
  }
  for (const f of scenario.fdb ?? [])
    if (f.ns === ns.name) bridgeLines.push(`fdb append ${f.mac} dev ${f.dev} ${f.opts ?? ''}`)
  batch(ns, 'bridge', bridgeLines)
}

/** What stands after `ip route add`. */
export function routeWords(r: LabRoute): string {
  const c: (string | number)[] = []
  if ((r.type ?? 'unicast') !== 'unicast') c.push(r.type ?? '')
  c.push(r.dst)
  if (r.tos !== undefined && r.tos !== 0) c.push('tos', r.tos)
  if (r.via !== undefined) c.push('via', r.via)
  if (r.dev !== undefined) c.push('dev', r.dev)
  if (r.src !== undefined) c.push('src', r.src)
  if (r.table !== undefined) c.push('table', r.table)
  if (r.metric !== undefined) c.push('metric', r.metric)
  if (r.scope !== undefined) c.push('scope', r.scope)
  if (r.onlink === true) c.push('onlink')
  if (r.mtu !== undefined) c.push('mtu', r.mtu)
  for (const n of r.nexthops ?? []) {
    c.push('nexthop')
    if (n.via !== undefined) c.push('via', n.via)
    c.push('dev', n.dev, 'weight', n.weight ?? 1)
  }
  return c.join(' ')
}
