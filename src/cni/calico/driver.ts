/**
 * Calico: routed pods, policy in iptables, blocks of addresses, tunnels or BGP between the nodes.
 *
 * Real thing: the CNI plugin calico (pods), Felix (devices, routes of VXLAN, iptables, ip sets), BIRD (routes of IPIP and
 * of no encapsulation). Addresses come from calico-ipam (kubernetes/calico). What is not modelled stands in features.ts.
 * BIRD's sessions are played by the cluster builder; in a cluster of more than MAX_SESSIONS ends their result stands instead.
 */
import type { Diagnostic } from '../../diagnostics/diagnostic.ts'
import type { ClusterModel, PodModel } from '../../kubernetes/types.ts'
import type { CniDriver, CniProgram } from '../driver.ts'
import { hostPorts, portmapNodeVerbs, portmapPodVerbs } from '../portmap.ts'
import type { CniVerb } from '../verb.ts'
import { type BgpSettings, readBgpSettings } from './bgp-config.ts'
import { bgpPlan, blockedServiceCidrs, sessionCount } from './bgp-plan.ts'
import { birdFiles } from './bird-config.ts'
import { type CalicoConfig, readCalicoConfig } from './config.ts'
import { CALICO_FEATURES } from './features.ts'
import { FelixCluster, felixNode } from './felix.ts'
import { felixConfig } from './felix-config.ts'
import { ipSetText } from './ip-sets.ts'
import { birdRoutes, deviceVerbs, felixRoutes, IPIP_DEVICE, podVerbs, VXLAN_DEVICE } from './network.ts'
import { restoreTables } from './text.ts'

/** IPIP's overhead: of the manifest's default pool. */
const IPIP_OVERHEAD = 20

/** Name of the network in the manifest's conflist. */
const NETWORK_NAME = 'k8s-pod-network'

/** More ends of sessions than this are not played: their result is programmed instead. */
const MAX_SESSIONS = 2000

function converged(model: ClusterModel): Diagnostic {
  const why = model.config.cni.options.bgpSessions === false ? 'as asked' : `more than ${MAX_SESSIONS} ends`
  const message = `calico: BGP sessions are not played (${why}): nodes have the routes that a full mesh converges to`
  return { code: 'bgp-converged', severity: 'info', message, file: '', line: 0, col: 0 }
}

/** hostPorts that portmap does not publish here. */
function portWarnings(pod: PodModel): Diagnostic[] {
  return hostPorts(pod)
    .filter((p) => p.protocol === 'SCTP')
    .map((p) => ({
      code: 'unmodelled',
      severity: 'warning',
      message: `pod ${pod.namespace}/${pod.name}: hostPort ${p.hostPort}/SCTP is UNMODELLED`,
      ...pod.source,
    }))
}

function program(model: ClusterModel): CniProgram {
  const { config, unmodelled, diagnostics: said } = readCalicoConfig(model)
  const hostDevices = new Map<string, string>()
  const diagnostics: Diagnostic[] = [...said]
  if (unmodelled !== undefined) return { verbs: [], diagnostics, hostDevices, unmodelled }
  const cluster = new FelixCluster(model, config.version, felixConfig(model, '').interfacePrefix)
  diagnostics.push(...cluster.policies.diagnostics)
  const settings = readBgpSettings(model)
  const isPlayed =
    config.bird && sessionCount(settings) <= MAX_SESSIONS && model.config.cni.options.bgpSessions !== false
  if (config.bird && !isPlayed) diagnostics.push(converged(model))
  for (const w of cluster.workloads) {
    hostDevices.set(`${w.pod.namespace}/${w.pod.name}`, w.interfaceName)
    diagnostics.push(...portWarnings(w.pod))
  }
  const bgp = isPlayed ? { bgp: bgpPlan(model, settings, config) } : {}
  return {
    verbs: nodeAndPodVerbs(cluster, config, settings, isPlayed),
    resync: felixVerbs(cluster, config, config.bird ? blockedServiceCidrs(settings) : []),
    ...{ diagnostics, hostDevices, ...bgp },
  }
}

/** Devices, routes and files of the nodes, then the pods. */
function* nodeAndPodVerbs(
  cluster: FelixCluster,
  config: CalicoConfig,
  settings: BgpSettings,
  isPlayed: boolean,
): Generator<CniVerb> {
  const { model } = cluster
  const nodes = new Map(model.nodes.map((n) => [n.name, n]))
  for (const node of model.nodes) yield* deviceVerbs(node, model.calico!, config, felixConfig(model, node.name))
  for (const node of model.nodes) {
    yield* felixRoutes(model, node, config, nodes)
    if (config.bird && !isPlayed) yield* birdRoutes(model, node, config, nodes)
  }
  if (config.bird) {
    for (const me of settings.nodes) {
      const at = { verb: 'file', netns: `node:${me.node.name}`, origin: me.node.source } as const
      for (const file of birdFiles(model, me, settings, config)) yield { ...at, ...file }
    }
  }
  const published = new Set<string>()
  for (const w of cluster.workloads) {
    yield* podVerbs(w, config)
    if (hostPorts(w.pod).length === 0) continue
    const node = nodes.get(w.node)!
    if (!published.has(w.node)) yield* portmapNodeVerbs(node, w.interfaceName)
    published.add(w.node)
    yield* portmapPodVerbs(node, w.pod, NETWORK_NAME, `${w.pod.ip}/32`)
  }
}

/** What Felix writes on each node: one node's text at a time. */
function* felixVerbs(cluster: FelixCluster, config: CalicoConfig, blockedCidrs: readonly string[]): Generator<CniVerb> {
  const { tunnels } = cluster.model.calico!
  const { ipip, vxlan } = config
  for (const node of cluster.model.nodes) {
    const netns = `node:${node.name}` as const
    const tunnelDevices = [
      ...(ipip && tunnels.ipip.has(node.name) ? [IPIP_DEVICE] : []),
      ...(vxlan && tunnels.vxlan.has(node.name) ? [VXLAN_DEVICE] : []),
    ]
    const { tables, ipSets } = felixNode(cluster, node, { ipip, vxlan, tunnelDevices, blockedCidrs })
    yield { verb: 'ipset-restore', netns, text: ipSetText(ipSets) }
    yield { verb: 'iptables-restore', netns, ...restoreTables(tables) }
  }
}

/** The driver. */
export const calico = {
  name: 'calico',
  features: CALICO_FEATURES,
  enforcesNetworkPolicy: true,
  podMtu: (underlayMtuBytes: number) => underlayMtuBytes - IPIP_OVERHEAD,
  program,
} satisfies CniDriver
