/**
 * The built cluster as tables: what `podwalk get` prints. One document kind per table, rows in the cluster's own order.
 *
 * Nodes, pods and Services come from the model; links, routes and rules from the running world, as `ip -j` of each
 * namespace tells them.
 */
import type { Cluster } from '../cluster/build.ts'
import type { ClusterModel } from '../kubernetes/types.ts'
import type { Netns } from '../linux/netns.ts'
import { execTool } from '../linux/tools/exec.ts'
import { API_VERSION } from './trace-types.ts'

/** A value in a row. */
export type Cell = string | number | boolean | readonly string[] | null

/** A table document. */
export interface TableDocument {
  readonly apiVersion: typeof API_VERSION
  readonly kind: 'Nodes' | 'Pods' | 'Services' | 'Links' | 'Routes' | 'Rules'
  readonly items: readonly { readonly [column: string]: Cell }[]
}

/** Nodes. */
export function nodesTable(model: ClusterModel): TableDocument {
  const items = model.nodes.map((n) => ({
    name: n.name,
    internalIP: n.internalIp,
    podCIDR: n.podCidr,
    role: n.isControlPlane ? 'control-plane' : 'worker',
    zone: n.zone ?? null,
    ready: n.ready,
    pods: model.pods.filter((p) => p.node === n.name).length,
    source: place(n.source),
  }))
  return { apiVersion: API_VERSION, kind: 'Nodes', items }
}

/** Pods, the pending ones at the end. */
export function podsTable(model: ClusterModel): TableDocument {
  const running = model.pods.map((p) => ({
    namespace: p.namespace,
    name: p.name,
    ready: p.ready,
    status: p.terminating ? 'Terminating' : 'Running',
    ip: p.ip,
    node: p.node,
    hostNetwork: p.hostNetwork,
    owner: p.owner === undefined ? null : `${p.owner.workloadKind}/${p.owner.workloadName}`,
    ports: p.ports.map((q) => `${q.port}/${q.protocol}`),
    source: place(p.source),
  }))
  const pending = model.pendingPods.map((p) => ({
    namespace: p.namespace,
    name: p.name,
    ready: false,
    status: 'Pending',
    ip: null,
    node: p.node ?? null,
    hostNetwork: false,
    owner: p.owner === undefined ? null : `${p.owner.workloadKind}/${p.owner.workloadName}`,
    ports: [],
    source: place(p.source),
  }))
  return { apiVersion: API_VERSION, kind: 'Pods', items: [...running, ...pending] }
}

/** Services with their endpoints, the ready ones first. */
export function servicesTable(model: ClusterModel): TableDocument {
  const items = model.services.map(({ object: s, source }) => {
    const key = `${s.metadata.namespace}/${s.metadata.name}`
    const endpoints = model.endpointSlices.filter((e) => e.service === key).flatMap((e) => e.object.endpoints)
    const ready = endpoints.filter((e) => e.conditions?.ready !== false)
    return {
      namespace: s.metadata.namespace,
      name: s.metadata.name,
      type: s.spec.type,
      clusterIP: s.spec.clusterIP ?? null,
      ports: (s.spec.ports ?? []).map((p) => `${p.port}${p.nodePort === undefined ? '' : `:${p.nodePort}`}/${p.protocol}`),
      endpoints: ready.flatMap((e) => e.addresses),
      notReady: endpoints.filter((e) => e.conditions?.ready === false).flatMap((e) => e.addresses),
      source: place(source),
    }
  })
  return { apiVersion: API_VERSION, kind: 'Services', items }
}

interface IpLink {
  readonly ifname: string
  readonly link?: string
  readonly link_type?: string
  readonly address?: string
  readonly mtu: number
  readonly master?: string
  readonly operstate: string
  readonly linkinfo?: { readonly info_kind?: string }
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
    return ask<IpLink>(ns, ['-d', 'link']).map((l) => ({
      node,
      netns,
      device: l.ifname,
      type: l.linkinfo?.info_kind ?? (l.ifname === 'lo' ? 'loopback' : 'ether'),
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
    ask<{ priority: number; src?: string; dst?: string; table?: string; fwmark?: string; action?: string }>(ns, ['rule']).map((r) => ({
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

function place(source: { readonly file: string; readonly line: number }): string | null {
  return source.file === '' ? null : `${source.file}:${source.line}`
}
