/**
 * MetalLB in BGP mode: a speaker on every node tells its routers of the addresses of Services.
 *
 * The FRR mode of MetalLB (its default): each node's FRR has the sessions of the BGPPeers that select the node, listens to
 * nobody, takes no routes, puts none into the kernel. An address is announced by the nodes that may take its traffic (all
 * with a ready endpoint somewhere; with externalTrafficPolicy Local those that have one), cut to aggregationLength, once per
 * BGPAdvertisement of its pool. Where several nodes announce the same, the router's ECMP spreads connections.
 * Not modelled: BFD, Communities by alias, pool selectors, dynamic ASNs, peers by IPv6; the seconds until a change arrives.
 * Sources: go.universe.tf/metallb speaker/bgp_controller.go, internal/bgp/frr (0.14), api/v1beta2/bgppeer_types.go.
 */
import { formatCidr, parseIpv4Cidr } from '../../addr/cidr.ts'
import { networkOf } from '../../addr/index.ts'
import type { BgpLocalRoute, BgpPeerSpec, BgpPlacement, BgpPlan, BgpPolicy } from '../../bgp/config.ts'
import { durationSeconds } from '../../kubernetes/duration.ts'
import { matchesSelector } from '../../kubernetes/selector.ts'
import type { ClusterModel, LabelSelector, LoadedObject, NodeModel } from '../../kubernetes/types.ts'
import { usableNodes } from './layer2.ts'

interface PeerSpec {
  readonly myASN: number
  readonly peerASN: number
  readonly peerAddress: string
  readonly peerPort?: number
  readonly sourceAddress?: string
  readonly holdTime?: string
  readonly keepaliveTime?: string
  readonly routerID?: string
  readonly password?: string
  readonly ebgpMultiHop?: boolean
  readonly nodeSelectors?: LabelSelector[]
}

interface AdvertisementSpec {
  readonly aggregationLength?: number
  readonly localPref?: number
  readonly communities?: string[]
  readonly ipAddressPools?: string[]
  readonly nodeSelectors?: LabelSelector[]
  readonly peers?: string[]
}

/** Seconds: MetalLB writes them into frr.conf when a BGPPeer says nothing. */
const HOLD_TIME = 90
/** `neighbor X ebgp-multihop`. */
const MULTIHOP = 255

/** Speakers of MetalLB are named after their node. */
const SUFFIX = '-metallb'

/** Whether a speaker is MetalLB's, by its name. */
export function isMetalLb(name: string): boolean {
  return name.endsWith(SUFFIX)
}

function objectsOf(model: ClusterModel, kind: string): readonly LoadedObject[] {
  return model.otherObjects.filter(({ object: o }) => o.kind === kind && o.apiVersion.startsWith('metallb.io/'))
}

function selects(selectors: readonly LabelSelector[] | undefined, node: NodeModel): boolean {
  return selectors === undefined || selectors.length === 0 || selectors.some((s) => matchesSelector(s, node.labels))
}

interface Announced extends BgpLocalRoute {
  /** Names of BGPPeers; empty: all. */
  readonly peers: readonly string[]
}

/** What one node announces. */
function announcedBy(model: ClusterModel, node: NodeModel): Announced[] {
  const out: Announced[] = []
  for (const { object } of objectsOf(model, 'BGPAdvertisement')) {
    const spec = (object.spec ?? {}) as AdvertisementSpec
    if (!selects(spec.nodeSelectors, node)) continue
    for (const a of model.loadBalancer?.addresses ?? []) {
      const isOurs = a.pool !== undefined && (spec.ipAddressPools?.includes(a.pool) ?? true)
      if (!isOurs || !usableNodes(model, a.service, new Set()).includes(node.name)) continue
      const cidr = parseIpv4Cidr(`${a.ip}/${spec.aggregationLength ?? 32}`)
      if (cidr === null) continue
      const communities = (spec.communities ?? []).filter((c) => /^\d+:\d+(:\d+)?$/.test(c))
      out.push({
        prefix: formatCidr(networkOf(cidr)),
        peers: spec.peers ?? [],
        ...(communities.length === 0 ? {} : { communities }),
        ...(spec.localPref === undefined ? {} : { localPref: spec.localPref }),
      })
    }
  }
  return out
}

/** What a peer is told: the addresses of the advertisements that name it, or no peer at all. */
function exportPolicy(name: string, routes: readonly Announced[]): BgpPolicy {
  const mine = routes.filter((r) => r.peers.length === 0 || r.peers.includes(name))
  const prefixes = mine.map((r) => ({ cidr: r.prefix }))
  return { name: `${name}-out`, default: 'reject', terms: [{ match: { prefixes }, action: 'accept' }] }
}

const NOTHING: BgpPolicy = { name: 'deny-in', default: 'reject', terms: [] }

/** The speakers of all nodes that have a session to keep; null without BGPPeers. */
export function metalLbPlan(model: ClusterModel): BgpPlan | null {
  const peers = objectsOf(model, 'BGPPeer').map(({ object }) => ({
    name: object.metadata.name,
    spec: object.spec as unknown as PeerSpec,
  }))
  if (peers.length === 0) return null
  const placements: BgpPlacement[] = []
  for (const node of model.nodes) {
    const wanted = peers.filter((p) => selects(p.spec.nodeSelectors, node))
    const [first] = wanted
    if (first === undefined) continue
    const routes = announcedBy(model, node)
    const sessions: BgpPeerSpec[] = wanted.map(({ name, spec }) => ({
      ...{ name, address: spec.peerAddress, asn: spec.peerASN, import: NOTHING, export: exportPolicy(name, routes) },
      ...{ localAsn: spec.myASN, holdTime: durationSeconds(spec.holdTime ?? '') ?? HOLD_TIME },
      ...(spec.sourceAddress === undefined ? {} : { localAddress: spec.sourceAddress }),
      ...(spec.peerPort === undefined ? {} : { port: spec.peerPort }),
      ...(spec.password === undefined ? {} : { password: spec.password }),
      ...(spec.ebgpMultiHop === true ? { multihopTtl: MULTIHOP } : {}),
      ...(spec.keepaliveTime === undefined
        ? {}
        : { keepaliveTime: durationSeconds(spec.keepaliveTime) ?? HOLD_TIME / 3 }),
    }))
    placements.push({
      netns: `node:${node.name}`,
      speaker: {
        name: `${node.name}${SUFFIX}`,
        implementation: 'frr',
        asn: first.spec.myASN,
        routerId: first.spec.routerID ?? node.internalIp,
        peers: sessions,
        routes: routes.map(({ peers: _peers, ...route }) => route),
        install: null,
      },
    })
  }
  return { placements }
}

/** The CNI's speakers and MetalLB's; a string names what cannot be. */
export function mergePlans(cni: BgpPlan | undefined, metalLb: BgpPlan | null): BgpPlan | null | string {
  if (metalLb === null) return cni ?? null
  if (cni === undefined) return metalLb
  const taken = new Set(cni.placements.map((p) => p.netns))
  const clash = metalLb.placements.find((p) => taken.has(p.netns))
  if (clash !== undefined) return `MetalLB's BGP mode beside the CNI's own BGP speaker (${clash.netns})`
  return { placements: [...cni.placements, ...metalLb.placements] }
}
