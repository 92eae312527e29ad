/**
 * From the cluster as data to a running world.
 *
 * Order as in a real cluster: nodes on the underlay, the CNI's node set-up, pods in the order in which they were created
 * (sandbox, then ADD), then kube-proxy's first sync on every node. Each rule that kube-proxy wrote keeps the object that
 * caused it (IptRule.origin), so that a trace can name the manifest line.
 */
import { parseIpv4 } from '../addr/index.ts'
import { CNI_DRIVERS, findCniDriver } from '../cni/registry.ts'
import { type Diagnostic, NO_POSITION } from '../diagnostics/diagnostic.ts'
import { lintIngress } from '../ingress/lint.ts'
import type { LoadBalancerAddress } from '../kubernetes/load-balancer/types.ts'
import type { ClusterModel, PodModel } from '../kubernetes/types.ts'
import { setUp } from '../linux/device/ops.ts'
import type { Netns } from '../linux/netns.ts'
import { World } from '../linux/world.ts'
import { findProxyMode, PROXY_MODES } from '../proxy/registry.ts'
import { applyCniVerb } from './apply.ts'
import { startCloudBalancers } from './balancer/cloud.ts'
import { Layer2Speakers } from './balancer/layer2.ts'
import { mergePlans, metalLbPlan } from './balancer/metallb-bgp.ts'
import { BgpFabric, unmodelledBgp } from './bgp.ts'
import { startDnsServers } from './dns-server.ts'
import { EventPlayer } from './events.ts'
import { type HttpDecision, startIngress } from './ingress-server.ts'
import { NodeProxy } from './node-proxy.ts'
import { proxyInput } from './proxy-input.ts'
import { attachToRack, buildRacks, routerOf, withRouters } from './racks.ts'
import { serveDeclaredPorts } from './servers.ts'
import { Underlay } from './underlay.ts'

/** Where a namespace belongs. */
export interface Place {
  /** Node name; null for the underlay and machines outside. */
  readonly node: string | null
  /** `node:n1`, `pod:ns/name`, `host:IP`, `underlay`. */
  readonly netns: string
  readonly pod?: PodModel
}

/** A running cluster. */
export interface Cluster {
  readonly model: ClusterModel
  readonly world: World
  readonly underlay: Underlay
  readonly nodes: ReadonlyMap<string, Netns>
  /** By `namespace/name`. Host-network pods map to their node's namespace. */
  readonly pods: ReadonlyMap<string, Netns>
  /** By namespace id. */
  readonly places: ReadonlyMap<number, Place>
  /** Names for addresses: pods, nodes, Services. */
  readonly names: ReadonlyMap<number, string>
  /** The kube-proxy of every node; empty without one. */
  readonly proxies: ReadonlyMap<string, NodeProxy>
  /** MetalLB in layer 2 mode. */
  readonly speakers: Layer2Speakers
  readonly diagnostics: readonly Diagnostic[]
  /** What servers in the cluster were asked and cannot answer, because it is not modelled. */
  readonly unmodelled: readonly string[]
  /** What ingress controllers and gateways decided, in order. */
  readonly httpLog: readonly HttpDecision[]
  /** Files that daemons wrote, by namespace and path: `node:n1 /etc/calico/confd/config/bird.cfg`. */
  readonly files: ReadonlyMap<string, () => string>
  /** The BGP speakers, null when nobody speaks BGP. */
  readonly bgp: BgpFabric | null
  /** Lets time pass, with the events of the Cluster object. */
  readonly events: EventPlayer
  /** A machine outside the cluster, made on first use. */
  host(ipText: string): Netns
}

/** Options of the builder. */
export interface BuildOptions {
  /** Seed of everything random. Default: the Cluster object's, else 1. */
  readonly seed?: number
  /** Packets that may exist at once. */
  readonly packets?: number
}

/** What cannot be built: the CNI or the proxy mode is not there. */
export class UnmodelledClusterError extends Error {
  readonly what: string
  readonly modelled: readonly string[]

  constructor(what: string, modelled: readonly string[]) {
    super(`${what} is not modelled; modelled: ${modelled.join(', ')}`)
    this.what = what
    this.modelled = modelled
  }
}

function addressNames(model: ClusterModel): Map<number, string> {
  const names = new Map<number, string>()
  const add = (ipText: string | undefined, name: string): void => {
    const ip = ipText === undefined ? null : parseIpv4(ipText)
    if (ip !== null && !names.has(ip)) names.set(ip, name)
  }
  for (const n of model.nodes) add(n.internalIp, `node/${n.name}`)
  for (const p of model.pods) if (!p.hostNetwork) add(p.ip, `pod/${p.namespace}/${p.name}`)
  for (const s of model.services) {
    const name = `svc/${s.object.metadata.namespace}/${s.object.metadata.name}`
    for (const ip of s.object.spec.clusterIPs ?? [s.object.spec.clusterIP ?? '']) add(ip, name)
    for (const ip of s.object.spec.externalIPs ?? []) add(ip, name)
    for (const i of s.object.status?.loadBalancer?.ingress ?? []) add(i.ip, name)
  }
  return names
}

/**
 * Builds the world of a cluster.
 * @throws UnmodelledClusterError when the CNI or proxy mode has no driver here, or the driver no model of its settings
 */
export function buildCluster(model: ClusterModel, options: BuildOptions = {}): Cluster {
  const driver = findCniDriver(model.config.cni.name)
  if (driver === undefined) {
    throw new UnmodelledClusterError(
      `CNI "${model.config.cni.name}"`,
      CNI_DRIVERS.map((d) => d.name),
    )
  }
  const mode = model.config.proxy.mode === 'none' ? null : findProxyMode(model.config.proxy.mode)
  if (mode === undefined) {
    throw new UnmodelledClusterError(
      `kube-proxy mode "${model.config.proxy.mode}"`,
      PROXY_MODES.map((m) => m.name),
    )
  }
  const world = new World({ seed: options.seed ?? model.config.seed, packets: options.packets ?? 2048 })
  const underlay = new Underlay(world, model.config.nodeCidr, model.config.mtu)
  const places = new Map<number, Place>([[underlay.ns.id, { node: null, netns: 'underlay' }]])
  const routers = buildRacks(world, underlay.ns, model.config.underlay, model.config.mtu)
  for (const { ns } of routers.values()) places.set(ns.id, { node: null, netns: ns.name })
  const nodes = new Map<string, Netns>()
  for (const node of model.nodes) {
    const ns = world.addNetns(`node:${node.name}`)
    places.set(ns.id, { node: node.name, netns: ns.name })
    nodes.set(node.name, ns)
    const router = routers.get(node.rack ?? '')
    const ip = parseIpv4(node.internalIp)!
    if (router === undefined) underlay.attach(ns, ip)
    else attachToRack(router, ns, ip, node.index, model.config.mtu)
  }
  const pods = new Map<string, Netns>()
  for (const pod of model.pods) {
    const key = `${pod.namespace}/${pod.name}`
    if (pod.hostNetwork) {
      pods.set(key, nodes.get(pod.node)!)
      continue
    }
    const ns = world.addNetns(`pod:${key}`)
    setUp(ns.lo)
    places.set(ns.id, { node: pod.node, netns: ns.name, pod })
    pods.set(key, ns)
  }
  const lookup = (name: string): Netns => {
    const ns = world.netnsByName.get(name)
    if (ns === undefined) throw new Error(`no namespace ${name}`)
    return ns
  }
  const plan = driver.program(model)
  if (plan.unmodelled !== undefined) throw new UnmodelledClusterError(plan.unmodelled.what, plan.unmodelled.modelled)
  const bgpPlan = mergePlans(plan.bgp, metalLbPlan(model))
  const noBgp = typeof bgpPlan === 'string' ? bgpPlan : bgpPlan === null ? null : unmodelledBgp(bgpPlan)
  if (noBgp !== null) throw new UnmodelledClusterError(noBgp, ['BGP over IPv4 TCP without MD5'])
  const diagnostics = [...plan.diagnostics]
  const files = new Map<string, () => string>()
  if (!diagnostics.some((d) => d.severity === 'error')) {
    for (const verb of plan.verbs) {
      if (verb.verb === 'file') files.set(`${verb.netns} ${verb.path}`, verb.text)
      else applyCniVerb(verb, lookup)
    }
  }
  if (!driver.enforcesNetworkPolicy) diagnostics.push(...unenforced(model, driver.name))
  const proxies = new Map<string, NodeProxy>()
  if (mode !== null) {
    for (const node of model.nodes) {
      const ns = nodes.get(node.name)!
      const proxy = new NodeProxy(ns, mode)
      proxy.sync(proxyInput(model, node, ns))
      proxies.set(node.name, proxy)
    }
  }
  if (!diagnostics.some((d) => d.severity === 'error')) for (const verb of plan.resync ?? []) applyCniVerb(verb, lookup)
  world.softirq()
  const unmodelled: string[] = [...proxies.values()].flatMap((proxy) => [...proxy.unmodelled])
  const httpLog: HttpDecision[] = []
  const held = startDnsServers(model, pods, unmodelled)
  for (const key of startIngress(model, pods, httpLog, unmodelled)) held.add(key)
  serveDeclaredPorts(model, pods, nodes, held)
  diagnostics.push(...lintIngress(model))
  const speakers = new Layer2Speakers(model, nodes)
  const onMachine = (ns: Netns, address: LoadBalancerAddress): void => {
    places.set(ns.id, { node: null, netns: `balancer:${address.ip}` })
  }
  startCloudBalancers({ model, underlay, proxies, onMachine })
  const names = addressNames(model)
  const host = (ipText: string): Netns => {
    const known = world.netnsByName.get(`host:${ipText}`)
    if (known !== undefined) return known
    const router = routerOf(routers, ipText)
    if (router !== null) return router.ns
    const ns = underlay.addHost(ipText)
    places.set(ns.id, { node: null, netns: ns.name })
    names.set(parseIpv4(ipText)!, `host/${ipText}`)
    return ns
  }
  let bgp: BgpFabric | null = null
  if (bgpPlan !== null && typeof bgpPlan !== 'string' && !diagnostics.some((d) => d.severity === 'error')) {
    const whole = withRouters(model, bgpPlan, routers)
    bgp = new BgpFabric(world, whole, (netns) => (netns.startsWith('host:') ? host(netns.slice(5)) : lookup(netns)))
    bgp.start()
    bgp.converge()
    diagnostics.push(...bgp.diagnostics())
  }
  const events = new EventPlayer(world, nodes, bgp, speakers, model.config.events ?? [])
  diagnostics.push(...unknownNodes(model))
  return {
    ...{
      files,
      model,
      world,
      underlay,
      nodes,
      pods,
      places,
      names,
      proxies,
      speakers,
      diagnostics,
      unmodelled,
      httpLog,
      bgp,
    },
    ...{ events, host },
  }
}

/** Events of nodes that are not there. */
function unknownNodes(model: ClusterModel): Diagnostic[] {
  return (model.config.events ?? [])
    .filter((e) => !model.nodes.some((n) => n.name === e.node))
    .map((e) => ({
      code: 'event-node',
      severity: 'error' as const,
      message: `spec.events: ${e.action} at ${e.atS} s: expected the name of a node, found "${e.node}"`,
      hint: `nodes: ${model.nodes.map((n) => n.name).join(', ')}`,
      ...NO_POSITION,
    }))
}

/** One warning per policy that is there but that this CNI does not enforce. */
function unenforced(model: ClusterModel, cni: string): Diagnostic[] {
  return model.networkPolicies.map((p) => ({
    code: 'policy-not-enforced',
    severity: 'warning' as const,
    message: `NetworkPolicy ${p.object.metadata.namespace ?? 'default'}/${p.object.metadata.name} has no effect: ${cni} enforces no NetworkPolicy`,
    hint: 'choose a CNI that enforces policies, or remove the policy',
    ...p.source,
  }))
}
