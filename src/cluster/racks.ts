/**
 * Racks under the nodes: a top-of-rack router each (`router:NAME`), and the underlay's own namespace as the spine.
 *
 * Real thing: a leaf-spine fabric. A rack is a subnet of the node network; its router has the first address and the nodes'
 * default route, and a wire to the spine, which knows the way to every rack. Routers with an AS speak BGP: with the nodes
 * that name them as a peer (they only listen, as a neighbour range does), with the spine when it has an AS. In the nodes' own
 * AS the router reflects, and makes itself the next hop of what comes from outside.
 * Not modelled: two routers per rack, a choice of spines.
 */
import { formatCidr, formatIpv4, lastIpv4, nthIpv4, parseIpv4 } from '../addr/index.ts'
import type { BgpPeerSpec, BgpPlacement, BgpPlan, BgpSpeakerSpec } from '../bgp/config.ts'
import type { ClusterModel, RackModel, UnderlayModel } from '../kubernetes/types.ts'
import type { NetDevice } from '../linux/device/device.ts'
import { inetAddrAdd } from '../linux/device/inet.ts'
import { createBridge, createLink, setMaster, setUp } from '../linux/device/ops.ts'
import type { Netns } from '../linux/netns.ts'
import { sysctlSet } from '../linux/sysctl.ts'
import type { World } from '../linux/world.ts'

/** Wires between the spine and the racks: 100.64.N.1 and .2 for rack N (shared address space, RFC 6598). */
const WIRES = 0x64400000
const WIRE_PREFIX = 30
const MULTIHOP = 64
/** Most next hops of a route: Debian's FRR is built for 256, no route of ours has as many. */
const FRR_PATHS = 64

/** A rack's router at work. */
export interface RackRouter {
  readonly rack: RackModel
  readonly ns: Netns
  readonly bridge: NetDevice
  /** Its address in the rack. */
  readonly ip: number
  /** Its address and the spine's on the wire between them. */
  readonly wire: { readonly own: number; readonly spine: number }
}

/** Builds the routers and wires them to the spine. */
export function buildRacks(
  world: World,
  spine: Netns,
  underlay: UnderlayModel,
  mtuBytes: number,
): Map<string, RackRouter> {
  const out = new Map<string, RackRouter>()
  for (const [i, rack] of underlay.racks.entries()) {
    const ns = world.addNetns(`router:${rack.name}`)
    sysctlSet(ns, 'net.bridge.bridge-nf-call-iptables', '0')
    sysctlSet(ns, 'net.ipv4.ip_forward', '1')
    setUp(ns.lo)
    const bridge = createBridge(ns, 'br0')
    bridge.bridge!.forwardDelayNs = 0
    setUp(bridge)
    const ip = nthIpv4(rack.cidr, 1)!
    inetAddrAdd(bridge, { ip, prefixLength: rack.cidr.prefixLength, broadcast: lastIpv4(rack.cidr) })
    const wire = { spine: WIRES + i * 256 + 1, own: WIRES + i * 256 + 2 }
    const [up, down] = createLink({ ns, name: 'uplink' }, { ns: spine, name: `rack${i}` }, mtuBytes)
    setUp(up)
    setUp(down)
    inetAddrAdd(up, { ip: wire.own, prefixLength: WIRE_PREFIX })
    inetAddrAdd(down, { ip: wire.spine, prefixLength: WIRE_PREFIX })
    must(ns.fib.addRoute({ dst: 0, prefixLength: 0, nexthops: [{ dev: up, via: wire.spine }] }))
    const { ip: dst, prefixLength } = rack.cidr
    must(spine.fib.addRoute({ dst, prefixLength, nexthops: [{ dev: down, via: wire.own }] }))
    out.set(rack.name, { rack, ns, bridge, ip, wire })
  }
  return out
}

function must(errno: number): void {
  if (errno !== 0) throw new Error(`route of the underlay refused: ${errno}`)
}

/** Plugs a node into its rack's switch. @returns the router's address: the node's gateway */
export function attachToRack(router: RackRouter, ns: Netns, ip: number, port: number, mtuBytes: number): number {
  const [eth0, plug] = createLink({ ns, name: 'eth0' }, { ns: router.ns, name: `p${port}` }, mtuBytes)
  setMaster(plug, router.bridge)
  setUp(plug)
  setUp(ns.lo)
  setUp(eth0)
  const { prefixLength } = router.rack.cidr
  inetAddrAdd(eth0, { ip, prefixLength, broadcast: lastIpv4(router.rack.cidr) })
  must(ns.fib.addRoute({ dst: 0, prefixLength: 0, nexthops: [{ dev: eth0, via: router.ip }] }))
  return router.ip
}

/** The nodes' plan with the speakers of racks and spine, which start first. */
export function withRouters(model: ClusterModel, plan: BgpPlan, routers: ReadonlyMap<string, RackRouter>): BgpPlan {
  const { spineAsn } = model.config.underlay
  const speaking = [...routers.values()].filter((r) => r.rack.asn !== undefined)
  const placements: BgpPlacement[] = speaking.map((r) => ({
    netns: r.ns.name,
    speaker: routerSpeaker(r, plan, spineAsn),
  }))
  if (spineAsn !== undefined && speaking.length > 0) {
    placements.push({ netns: 'underlay', speaker: spineSpeaker(speaking, spineAsn) })
  }
  return { placements: [...placements, ...plan.placements] }
}

function routerSpeaker(r: RackRouter, plan: BgpPlan, spineAsn: number | undefined): BgpSpeakerSpec {
  const own = formatIpv4(r.ip)
  const asn = r.rack.asn!
  const peers: BgpPeerSpec[] = []
  if (spineAsn !== undefined) {
    const isInternal = spineAsn === asn
    peers.push({
      ...{ address: formatIpv4(r.wire.spine), asn: spineAsn, localAddress: formatIpv4(r.wire.own), passive: true },
      ...(isInternal && { nextHopSelf: 'on' as const }),
    })
  }
  for (const { netns, speaker } of plan.placements) {
    const session = speaker.peers.find((p) => p.address === own)
    if (!netns.startsWith('node:') || session === undefined) continue
    const theirs = session.localAsn ?? speaker.asn
    peers.push({
      ...{ address: session.localAddress ?? speaker.routerId, asn: theirs, passive: true, multihopTtl: MULTIHOP },
      ...{ localAddress: own, addPaths: 'on', gracefulRestart: 'aware' },
      ...(theirs === asn && { routeReflectorClient: true, clusterId: own, nextHopSelf: 'ebgp' as const }),
    })
  }
  return {
    ...{ name: r.rack.name, implementation: r.rack.implementation, asn, routerId: own, clusterId: own, peers },
    routes: [{ prefix: formatCidr(r.rack.cidr), source: 'direct', interface: 'br0' }],
    // FRR takes equal external paths without being told (maximum-paths of its build)
    install: { maxPaths: r.rack.implementation === 'frr' ? FRR_PATHS : 1 },
  }
}

function spineSpeaker(routers: readonly RackRouter[], asn: number): BgpSpeakerSpec {
  const first = formatIpv4(routers[0]!.wire.spine)
  return {
    ...{ name: 'spine', implementation: 'frr', asn, routerId: first, clusterId: first, routes: [], install: {} },
    peers: routers.map((r) => ({
      ...{ address: formatIpv4(r.wire.own), asn: r.rack.asn!, localAddress: formatIpv4(r.wire.spine) },
      ...(r.rack.asn === asn && { routeReflectorClient: true }),
    })),
  }
}

/** The router that has an address, in its rack or on its wire. */
export function routerOf(routers: ReadonlyMap<string, RackRouter>, ipText: string): RackRouter | null {
  const ip = parseIpv4(ipText)
  for (const r of routers.values()) if (r.ip === ip || r.wire.own === ip) return r
  return null
}
