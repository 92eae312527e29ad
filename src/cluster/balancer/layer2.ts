/**
 * MetalLB in layer 2 mode: which node answers for an address, and what happens when it dies.
 *
 * The speakers are the pods of a DaemonSet named speaker (metallb-speaker), or one per node when the manifests hold none.
 * Candidates are nodes that an L2Advertisement of the pool selects, that are ready, not excluded from load balancers, and
 * with externalTrafficPolicy Local have a ready endpoint; without any ready endpoint nobody announces. The winner is first
 * in the order of SHA-256 of "NODE#ADDRESS".
 * Not modelled: memberlist's messages (only the time until it notices a dead node, in events.ts), ignoreExcludeLB, NDP.
 * Sources: go.universe.tf/metallb speaker/layer2_controller.go (ShouldAnnounce), internal/k8s/nodes (0.14).
 */
import { createHash } from 'node:crypto'
import { parseIpv4 } from '../../addr/index.ts'
import type { LoadBalancerAddress } from '../../kubernetes/load-balancer/types.ts'
import { keyOf } from '../../kubernetes/services.ts'
import type { ClusterModel } from '../../kubernetes/types.ts'
import type { NetDevice } from '../../linux/device/device.ts'
import type { Netns } from '../../linux/netns.ts'
import { ArpResponder } from './arp-responder.ts'

const EXCLUDE_LABEL = 'node.kubernetes.io/exclude-from-external-load-balancers'

/** Who announces an address. */
export interface Announcement {
  readonly address: LoadBalancerAddress
  /** Candidates, the winner first. */
  readonly candidates: readonly string[]
}

/** The order of candidates for an address. */
export function electionOrder(nodes: readonly string[], ip: string): string[] {
  const hash = (node: string): string => createHash('sha256').update(`${node}#${ip}`).digest('hex')
  return [...nodes].sort((a, b) => (hash(a) < hash(b) ? -1 : 1))
}

/** Nodes that can take traffic of a Service from outside: all good ones, or with policy Local those with endpoints. */
export function usableNodes(model: ClusterModel, service: string, dead: ReadonlySet<string>): string[] {
  const object = model.services.find((s) => keyOf(s.object) === service)?.object
  const ready = model.endpointSlices
    .filter((s) => s.service === service)
    .flatMap((s) => s.object.endpoints.filter((e) => e.conditions?.ready !== false))
  if (object === undefined || ready.length === 0) return []
  const good = model.nodes.filter((n) => n.ready && !dead.has(n.name) && !(EXCLUDE_LABEL in n.labels))
  if (object.spec.externalTrafficPolicy !== 'Local') return good.map((n) => n.name)
  return good.filter((n) => ready.some((e) => e.nodeName === n.name)).map((n) => n.name)
}

/** The speakers of a cluster. */
export class Layer2Speakers {
  private readonly model: ClusterModel
  private readonly nodes: ReadonlyMap<string, Netns>
  private readonly dead = new Set<string>()
  private readonly responders = new Map<NetDevice, ArpResponder>()
  private readonly owners = new Map<string, string>()
  /** Told of every new owner. */
  onElection: ((ip: string, node: string) => void) | null = null

  constructor(model: ClusterModel, nodes: ReadonlyMap<string, Netns>) {
    this.model = model
    this.nodes = nodes
    this.elect()
  }

  /** The node that answers for an address, or null. */
  ownerOf(ip: string): string | null {
    return this.owners.get(ip) ?? null
  }

  /** Who announces what, for tables and explanations. */
  announcements(): Announcement[] {
    const addresses = (this.model.loadBalancer?.addresses ?? []).filter((a) => a.by === 'layer2')
    return addresses.map((address) => ({ address, candidates: this.candidatesFor(address) }))
  }

  /** A node is gone for the other speakers: they elect again. */
  nodeDown(name: string): void {
    this.dead.add(name)
    this.elect()
  }

  /** A node is back among the speakers. */
  nodeUp(name: string): void {
    this.dead.delete(name)
    this.elect()
  }

  private elect(): void {
    for (const { address, candidates } of this.announcements()) {
      const before = this.owners.get(address.ip)
      const now = candidates[0]
      if (before === now) continue
      if (before !== undefined) this.withdraw(before, address.ip)
      if (now === undefined) this.owners.delete(address.ip)
      else {
        this.owners.set(address.ip, now)
        this.onElection?.(address.ip, now)
        for (const dev of this.devicesOf(now, address)) this.responder(dev).announce(parseIpv4(address.ip)!)
      }
    }
  }

  private withdraw(node: string, ip: string): void {
    for (const [dev, responder] of this.responders) {
      if (dev.ns === this.nodes.get(node)) responder.withdraw(parseIpv4(ip)!)
    }
  }

  private candidatesFor(address: LoadBalancerAddress): string[] {
    const l2 = this.model.loadBalancer?.layer2 ?? []
    const advertised = new Set(l2.filter((a) => a.pools.includes(address.pool ?? '')).flatMap((a) => a.nodes))
    const speakers = this.speakerNodes()
    const usable = usableNodes(this.model, address.service, this.dead)
    return electionOrder(
      usable.filter((n) => advertised.has(n) && speakers.has(n)),
      address.ip,
    )
  }

  private speakerNodes(): ReadonlySet<string> {
    const pods = this.model.pods.filter(
      (p) => p.owner?.kind === 'DaemonSet' && /^(?:metallb-)?speaker$/.test(p.owner.workloadName),
    )
    return new Set(pods.length > 0 ? pods.map((p) => p.node) : this.model.nodes.map((n) => n.name))
  }

  /** The interfaces on which a node announces: those that the advertisements name, else those that are Ethernet and up. */
  private devicesOf(node: string, address: LoadBalancerAddress): NetDevice[] {
    const l2 = (this.model.loadBalancer?.layer2 ?? []).filter(
      (a) => a.pools.includes(address.pool ?? '') && a.nodes.includes(node),
    )
    const isAll = l2.some((a) => a.interfaces.length === 0)
    const named = new Set(l2.flatMap((a) => a.interfaces))
    // an interface of a bridge or of a pod has no address of its own and is not announced on
    return [...this.nodes.get(node)!.devices.values()].filter(
      (d) => d.ether && d.up && d.addrs.length > 0 && (isAll || named.has(d.name)),
    )
  }

  private responder(dev: NetDevice): ArpResponder {
    let made = this.responders.get(dev)
    if (made === undefined) {
      made = new ArpResponder(dev)
      this.responders.set(dev, made)
    }
    return made
  }
}
