/**
 * The cluster's objects as tables: nodes, pods and Services of `podwalk get`. One document kind per table, rows in the
 * cluster's own order. Links, routes and rules are in kernel-tables.ts.
 */
import type { ClusterModel } from '../kubernetes/types.ts'
import { API_VERSION } from './trace-types.ts'

/** A value in a row. */
export type Cell = string | number | boolean | readonly string[] | null

/** A table document. */
export interface TableDocument {
  readonly apiVersion: typeof API_VERSION
  readonly kind: 'Nodes' | 'Pods' | 'Services' | 'Links' | 'Routes' | 'Rules' | 'BgpSessions' | 'Timeline'
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
      ports: (s.spec.ports ?? []).map(
        (p) => `${p.port}${p.nodePort === undefined ? '' : `:${p.nodePort}`}/${p.protocol}`,
      ),
      endpoints: ready.flatMap((e) => e.addresses),
      notReady: endpoints.filter((e) => e.conditions?.ready === false).flatMap((e) => e.addresses),
      source: place(source),
    }
  })
  return { apiVersion: API_VERSION, kind: 'Services', items }
}

function place(source: { readonly file: string; readonly line: number }): string | null {
  return source.file === '' ? null : `${source.file}:${source.line}`
}
