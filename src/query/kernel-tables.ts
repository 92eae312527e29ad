/**
 * The running cluster's network as tables: links, routes and rules of `podwalk get`, as `ip -j` of each namespace tells
 * them.
 *
 * Not here: the underlay's and outside machines' namespaces, tables other than main.
 */
import { bgpState } from '../bgp/state.ts'
import type { Cluster } from '../cluster/build.ts'
import type { Netns } from '../linux/netns.ts'
import { execTool } from '../linux/tools/exec.ts'
import { KIND_NAMES } from '../linux/tools/ip-link-show.ts'
import type { TableDocument } from './tables.ts'
import { API_VERSION } from './trace-types.ts'

interface IpLink {
  readonly ifname: string
  readonly link?: string
  readonly link_type?: string
  readonly address?: string
  readonly mtu: number
  readonly master?: string
  readonly operstate: string
}

/** Devices of every namespace. */
export function linksTable(cluster: Cluster): TableDocument {
  const items = places(cluster).flatMap(({ node, netns, ns }) => {
    const addresses = new Map(
      ask<{ ifname: string; addr_info?: { local?: string; prefixlen?: number }[] }>(ns, ['addr']).map((a) => [
        a.ifname,
        (a.addr_info ?? []).map((i) => `${i.local}/${i.prefixlen}`),
      ]),
    )
    return ask<IpLink>(ns, ['link']).map((l) => ({
      node,
      netns,
      device: l.ifname,
      type: KIND_NAMES[ns.devices.get(l.ifname)?.kind ?? 0] ?? (l.link_type === 'loopback' ? 'loopback' : 'ether'),
      mac: l.address ?? null,
      mtu: l.mtu,
      master: l.master ?? null,
      state: l.operstate,
      addresses: addresses.get(l.ifname) ?? [],
    }))
  })
  return { apiVersion: API_VERSION, kind: 'Links', items }
}

interface IpRoute {
  readonly type?: string
  readonly dst: string
  readonly gateway?: string
  readonly dev?: string
  readonly protocol?: string
  readonly prefsrc?: string
  readonly metric?: number
}

/** BGP sessions of every speaker; empty when nobody speaks BGP. */
export function bgpTable(cluster: Cluster): TableDocument {
  const items = [...(cluster.bgp?.speakers.values() ?? [])].flatMap((placed) => {
    const state = bgpState(placed.speaker)
    return state.sessions.map((s) => ({
      node: cluster.places.get(placed.ns.id)?.node ?? null,
      netns: placed.netns,
      asn: state.asn,
      neighbor: s.neighbor,
      neighborASN: s.asn,
      state: s.state,
      upS: s.uptimeS,
      prefixes: s.prefixes,
      lastError: s.lastError === '' ? null : s.lastError,
      holdS: s.holdTimeS,
      capabilities: s.capabilities,
    }))
  })
  return { apiVersion: API_VERSION, kind: 'BgpSessions', items }
}

/** What happened since the cluster had converged, as far as it was played. */
export function timelineTable(cluster: Cluster): TableDocument {
  const items = cluster.events.playUntil(cluster.events.nowS).map(({ atS, netns, what, text }) => ({
    ...{ atS, netns, what, text },
  }))
  return { apiVersion: API_VERSION, kind: 'Timeline', items }
}

/** Routes of every namespace's main table. */
export function routesTable(cluster: Cluster): TableDocument {
  const items = places(cluster).flatMap(({ node, netns, ns }) =>
    ask<IpRoute>(ns, ['route']).map((r) => ({
      node,
      netns,
      dst: r.dst,
      type: r.type ?? 'unicast',
      via: r.gateway ?? null,
      device: r.dev ?? null,
      src: r.prefsrc ?? null,
      protocol: r.protocol ?? null,
      metric: r.metric ?? 0,
    })),
  )
  return { apiVersion: API_VERSION, kind: 'Routes', items }
}

/** Policy routing rules of every namespace. */
export function rulesTable(cluster: Cluster): TableDocument {
  const items = places(cluster).flatMap(({ node, netns, ns }) =>
    ask<{ priority: number; src?: string; dst?: string; table?: string; fwmark?: string; action?: string }>(ns, [
      'rule',
    ]).map((r) => ({
      node,
      netns,
      priority: r.priority,
      from: r.src ?? 'all',
      to: r.dst ?? 'all',
      fwmark: r.fwmark ?? null,
      table: r.table ?? null,
    })),
  )
  return { apiVersion: API_VERSION, kind: 'Rules', items }
}

function places(cluster: Cluster): { node: string | null; netns: string; ns: Netns }[] {
  const out: { node: string | null; netns: string; ns: Netns }[] = []
  for (const [name, ns] of cluster.nodes) out.push({ node: name, netns: `node:${name}`, ns })
  for (const pod of cluster.model.pods) {
    if (pod.hostNetwork) continue
    const key = `${pod.namespace}/${pod.name}`
    out.push({ node: pod.node, netns: `pod:${key}`, ns: cluster.pods.get(key)! })
  }
  return out
}

function ask<T>(ns: Netns, words: readonly string[]): T[] {
  const { status, stdout, stderr } = execTool(ns, ['ip', '-j', ...words])
  if (status !== 0) throw new Error(`ip -j ${words.join(' ')}: ${stderr}`)
  return stdout.trim() === '' ? [] : (JSON.parse(stdout) as T[])
}
