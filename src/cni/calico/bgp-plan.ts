/**
 * The speakers of a Calico cluster: BIRD on every node, with the filters that confd renders.
 *
 * Real thing: bird.cfg, bird_aggr.cfg, bird_ipam.cfg. A node announces its blocks and never an address inside one, what it
 * has out of blocks of others, and the Services' networks; towards the kernel routes of IPIP pools go by tunl0 (krt_tunnel),
 * those of VXLAN pools not at all. Service addresses of externalTrafficPolicy Local are announced one by one, by the nodes
 * that have an endpoint. Not modelled: BFD, reachableBy, communities by node, localWorkloadPeeringIP.
 */
import { cidrContainsIpv4, formatCidr, formatIpv4, networkOf, parseIpv4, parseIpv4Cidr } from '../../addr/index.ts'
import type { BgpLocalRoute, BgpPeerSpec, BgpPlan, BgpPolicy, BgpSpeakerSpec, PolicyTerm } from '../../bgp/config.ts'
import type { ClusterModel, NodeModel } from '../../kubernetes/types.ts'
import type { BgpFilterRule, BgpNode, BgpSettings } from './bgp-config.ts'
import { type CalicoSession, sessionsOf } from './bgp-sessions.ts'
import type { CalicoConfig } from './config.ts'
import { vethNameForWorkload } from './endpoints.ts'
import { UPLINK } from './felix.ts'
import { IPIP_DEVICE } from './network.ts'

/** Kernel routes of BIRD since v3.32: 2^31 - 1 - LOCAL_PREF. */
const METRIC_SINCE_332 = 1024
const LOCAL_PREF_SINCE_332 = 0x7fffffff - METRIC_SINCE_332

/** Meshes larger than this are not counted end by end. */
const MANY_SESSIONS = 100_000

function inside(cidr: string): { cidr: string; ge: number; le: number } {
  return { cidr, ge: parseIpv4Cidr(cidr)?.prefixLength ?? 0, le: 32 }
}

/** Prefixes that a node announces for Services: the configured CIDRs, and addresses of Local Services. */
export function serviceRoutes(model: ClusterModel, node: NodeModel, s: BgpSettings): string[] {
  const out = new Set<string>([...s.serviceClusterIps, ...s.serviceExternalIps, ...s.serviceLoadBalancerIps])
  // one address of a Service is announced by its own /32 for all nodes when the CIDR is a /32, else for Local only
  const isIn = (ip: string, list: readonly string[]): boolean => {
    const n = parseIpv4(ip)
    return n !== null && list.some((c) => cidrContainsIpv4(parseIpv4Cidr(c)!, n))
  }
  for (const { object: service } of model.services) {
    if (service.spec.externalTrafficPolicy !== 'Local') continue
    const key = `${service.metadata.namespace}/${service.metadata.name}`
    const isHere = model.endpointSlices.some(
      (e) =>
        e.service === key && e.object.endpoints.some((p) => p.nodeName === node.name && p.conditions?.ready !== false),
    )
    if (!isHere) continue
    const add = (ip: string | undefined, list: readonly string[]): void => {
      if (ip !== undefined && isIn(ip, list)) out.add(`${ip}/32`)
    }
    add(service.spec.clusterIP, s.serviceClusterIps)
    for (const ip of service.spec.externalIPs ?? []) add(ip, s.serviceExternalIps)
    for (const i of service.status?.loadBalancer?.ingress ?? []) add(i.ip, s.serviceLoadBalancerIps)
  }
  return [...out].sort()
}

/** Networks that packets of the fabric come for: those that loop back are dropped (serviceLoopPrevention). */
export function blockedServiceCidrs(s: BgpSettings): string[] {
  return [...new Set([...s.serviceClusterIps, ...s.serviceExternalIps, ...s.serviceLoadBalancerIps])]
}

/** The speakers, one per node. */
export function bgpPlan(model: ClusterModel, s: BgpSettings, c: CalicoConfig): BgpPlan {
  return { placements: s.nodes.map((n) => ({ netns: `node:${n.node.name}`, speaker: speaker(model, n, s, c) })) }
}

/** Ends of sessions of the cluster; of a large mesh without listing them. */
export function sessionCount(s: BgpSettings): number {
  const members = s.nodes.filter((n) => n.clusterId === '').length
  const mesh = s.mesh ? members * (members - 1) : 0
  if (mesh > 0 && s.peers.length === 0) return mesh
  if (mesh > MANY_SESSIONS) return mesh
  return s.nodes.reduce((n, me) => n + sessionsOf(me, s).length, 0)
}

function speaker(model: ClusterModel, me: BgpNode, s: BgpSettings, c: CalicoConfig): BgpSpeakerSpec {
  return {
    ...{ name: me.node.name, implementation: 'bird', asn: me.asn, routerId: me.node.internalIp },
    ...(me.clusterId !== '' && { clusterId: me.clusterId }),
    ...(s.listenPort !== 179 && { port: s.listenPort }),
    peers: sessionsOf(me, s).map((session) => peer(model, me, session, s)),
    routes: localRoutes(model, me.node, s, c),
    install: {
      filter: kernelFilter(model, me.node, s, c),
      metric: c.version.minor >= 32 ? METRIC_SINCE_332 : 0,
      maxPaths: 16,
      persist: true,
    },
  }
}

function peer(model: ClusterModel, me: BgpNode, session: CalicoSession, s: BgpSettings): BgpPeerSpec {
  const { filters } = s
  const terms = (side: 'import' | 'export'): PolicyTerm[] =>
    session.filters.flatMap((name) => filterTerms(name, filters.get(name)?.[side] ?? []))
  const importTerms = terms('import')
  const nextHopSelf = session.nextHopMode === 'Self' ? ({ nextHopSelf: 'on' } as const) : {}
  return {
    ...{ address: session.address, asn: session.asn, name: `${session.kind}_${session.address.replaceAll('.', '_')}` },
    ...(session.usesNodeIp && { localAddress: me.node.internalIp }),
    ...(session.localAsn !== null && { localAsn: session.localAsn }),
    ...(session.port !== null && { port: session.port }),
    ...{ passive: session.passive, addPaths: 'on', gracefulRestart: 'on', multihopTtl: 64 },
    ...{ restartTime: session.restartTime ?? 120, connectDelayTime: 2, connectRetryTime: 5, errorWaitTime: [5, 30] },
    ...(session.isClient && { routeReflectorClient: true, clusterId: me.clusterId }),
    ...nextHopSelf,
    ...(session.nextHopMode === 'Keep' && { nextHopKeep: true }),
    ...(session.allowLocalAs > 0 && { allowAsIn: session.allowLocalAs }),
    ...(session.password && { password: '(secret)' }),
    ...(session.ttlSecurity !== null && { ttlSecurity: session.ttlSecurity }),
    ...(importTerms.length > 0 && { import: { name: 'import', terms: importTerms, default: 'accept' } }),
    export: exportPolicy(model, me.node, session, s, terms('export')),
  }
}

/** calico_export_to_bgp_peers. */
function exportPolicy(
  model: ClusterModel,
  node: NodeModel,
  session: CalicoSession,
  s: BgpSettings,
  filters: readonly PolicyTerm[],
): BgpPolicy {
  const { pools, blocks } = model.calico!
  const own = blocks.filter((b) => b.node === node.name).map((b) => formatCidr(b.cidr))
  const disabled = pools.filter((p) => p.disableBgpExport).map((p) => inside(formatCidr(p.cidr)))
  const services = serviceRoutes(model, node, s)
  const enabled = pools.filter((p) => !p.disableBgpExport).map((p) => inside(formatCidr(p.cidr)))
  const terms: PolicyTerm[] = [...filters]
  if (disabled.length > 0) terms.push({ match: { prefixes: disabled }, action: 'reject' })
  if (session.isInternal) terms.push({ match: { interfaces: ['*.cali', '*.calico'] }, action: 'reject' })
  for (const a of s.advertisements) {
    terms.push({ match: { prefixes: [inside(a.cidr)] }, set: { addCommunities: a.communities }, action: 'next' })
  }
  if (own.length > 0) {
    terms.push({ match: { prefixes: own.map((cidr) => ({ cidr })) }, action: 'accept' })
    terms.push({ match: { prefixes: own.map(inside) }, action: 'reject' })
  }
  if (services.length > 0) terms.push({ match: { prefixes: services.map(inside) }, action: 'accept' })
  if (enabled.length > 0) terms.push({ match: { prefixes: enabled }, action: 'accept' })
  return { name: 'calico_export_to_bgp_peers', terms, default: 'reject' }
}

/** calico_kernel_programming. */
function kernelFilter(model: ClusterModel, node: NodeModel, s: BgpSettings, c: CalicoConfig): BgpPolicy {
  const terms: PolicyTerm[] = []
  const services = serviceRoutes(model, node, s)
  if (services.length > 0) terms.push({ match: { prefixes: services.map(inside) }, action: 'reject' })
  const subnet = parseIpv4Cidr(`${node.internalIp}/${node.internalPrefixLength}`)!
  for (const p of model.calico!.pools) {
    const prefixes = [inside(formatCidr(p.cidr))]
    if (p.vxlan !== 'Never' || (p.ipip !== 'Never' && c.version.felixProgramsIpip)) {
      terms.push({ match: { prefixes }, action: 'reject' })
    } else if (p.ipip !== 'Never') {
      if (p.ipip === 'CrossSubnet') {
        terms.push({ match: { prefixes, nextHopIn: [formatCidr(networkOf(subnet))] }, action: 'accept' })
      }
      terms.push({ match: { prefixes }, set: { tunnel: IPIP_DEVICE }, action: 'accept' })
    }
  }
  return { name: 'calico_kernel_programming', terms, default: 'accept' }
}

/** Static routes of bird_aggr.cfg, and what the kernel protocol learns that leaves the node. */
function localRoutes(model: ClusterModel, node: NodeModel, s: BgpSettings, c: CalicoConfig): BgpLocalRoute[] {
  const { blocks, borrowed } = model.calico!
  // protocol direct: never announced, but better than what a peer says about the node's own subnet
  const subnet = formatCidr(networkOf(parseIpv4Cidr(`${node.internalIp}/${node.internalPrefixLength}`)!))
  const out: BgpLocalRoute[] = [{ prefix: subnet, source: 'direct', interface: UPLINK }]
  for (const b of blocks) {
    if (b.node !== node.name || b.cidr.prefixLength === 32) continue
    // a block that Felix routes has Felix's blackhole
    const isFelixs = b.pool.vxlan !== 'Never' || (b.pool.ipip !== 'Never' && c.version.felixProgramsIpip)
    out.push({ prefix: formatCidr(b.cidr), source: 'static', blackhole: !isFelixs })
  }
  for (const prefix of serviceRoutes(model, node, s)) out.push({ prefix, source: 'static' })
  const pods = new Map(model.pods.filter((p) => p.node === node.name).map((p) => [p.ip, p]))
  for (const a of borrowed) {
    if (a.node !== node.name) continue
    const ip = formatIpv4(a.ip)
    const pod = pods.get(ip)
    const dev = pod === undefined ? undefined : vethNameForWorkload('cali', pod.namespace, pod.name)
    out.push({ prefix: `${ip}/32`, source: 'kernel', ...(dev !== undefined && { interface: dev }) })
  }
  if (c.version.minor < 32) return out
  return out.map((r) => ({ ...r, localPref: LOCAL_PREF_SINCE_332 }))
}

/** A BGPFilter's rules as terms. */
function filterTerms(name: string, rules: readonly BgpFilterRule[]): PolicyTerm[] {
  const ordered = rules
    .map((r, i) => ({ r, i }))
    .sort((a, b) => (a.r.priority ?? 1e9) - (b.r.priority ?? 1e9) || a.i - b.i)
  return ordered.map(({ r }) => {
    const length = r.cidr === '' ? 0 : (parseIpv4Cidr(r.cidr)?.prefixLength ?? 0)
    const isRange = r.matchOperator === 'In' || r.matchOperator === 'NotIn'
    const prefix = isRange ? { cidr: r.cidr, ge: r.min ?? length, le: r.max ?? 32 } : { cidr: r.cidr }
    const isNot = r.matchOperator.startsWith('Not')
    return {
      name,
      match: {
        ...(r.cidr !== '' && (isNot ? { notPrefixes: [prefix] } : { prefixes: [prefix] })),
        ...(r.source === 'RemotePeers' && { sources: ['ibgp', 'ebgp'] as const }),
        ...(r.interface !== '' && { interfaces: [r.interface] }),
        ...(r.asPathPrefix.length > 0 && { asPathPrefix: r.asPathPrefix }),
        ...(r.communities.length > 0 && { communities: r.communities }),
      },
      set: {
        ...(r.addCommunities.length > 0 && { addCommunities: r.addCommunities }),
        ...(r.prependAsPath.length > 0 && { prepend: r.prependAsPath }),
      },
      action: r.action === 'Accept' ? 'accept' : 'reject',
    }
  })
}
