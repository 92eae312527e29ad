/**
 * What happens to a cluster after it has converged: links and nodes that fail, daemons that are killed, stopped, restarted.
 *
 * Time 0 is the built, converged cluster. A link that fails is a cable pulled out: the node's own device loses its carrier,
 * the others hear nothing but silence. A node that fails loses its link and its speaker. What follows is up to protocols
 * and their timers; the timeline tells it. Not modelled: what Kubernetes does of a lost node (taints and evictions come
 * after minutes), bare kubelet or kube-proxy restarts.
 */
import type { InstalledRoute } from '../bgp/speaker.ts'
import type { ClusterEvent } from '../kubernetes/types.ts'
import type { NetDevice } from '../linux/device/device.ts'
import { setDown, setUp } from '../linux/device/ops.ts'
import type { Netns } from '../linux/netns.ts'
import { Timer } from '../linux/timers.ts'
import type { World } from '../linux/world.ts'
import type { Layer2Speakers } from './balancer/layer2.ts'
import type { BgpFabric } from './bgp.ts'

const SECOND_NS = 1e9
const UPLINK = 'eth0'
/**
 * When the other MetalLB speakers give a silent node up: memberlist probes once a second and suspects it for
 * SuspicionMult (4) times that before it is dead (hashicorp/memberlist DefaultLANConfig).
 */
const MEMBERLIST_NS = 5 * SECOND_NS
/** A speaker that is back joins with its next attempt. */
const REJOIN_NS = SECOND_NS

/** One line of what happened. */
export interface TimelineEntry {
  /** Seconds since the cluster had converged. */
  readonly atS: number
  /** `node:n1` */
  readonly netns: string
  readonly what: 'event' | 'session' | 'route'
  readonly text: string
}

const WORDS: { readonly [action in ClusterEvent['action']]: string } = {
  'link-down': 'its link is cut',
  'link-up': 'its link is back',
  'node-down': 'the node fails',
  'node-up': 'the node is back',
  'bgp-kill': 'its BGP daemon is killed',
  'bgp-stop': 'its BGP daemon is stopped in order',
  'bgp-start': 'its BGP daemon starts',
  'bgp-restart': 'its BGP daemon starts again in graceful restart',
}

/** Lets time pass in a cluster. */
export class EventPlayer {
  private readonly world: World
  private readonly nodes: ReadonlyMap<string, Netns>
  private readonly bgp: BgpFabric | null
  private readonly speakers: Layer2Speakers
  private readonly waiting: ClusterEvent[]
  private readonly entries: TimelineEntry[] = []
  private readonly startNs: number
  private seenSessions: number

  constructor(
    world: World,
    nodes: ReadonlyMap<string, Netns>,
    bgp: BgpFabric | null,
    speakers: Layer2Speakers,
    events: readonly ClusterEvent[],
  ) {
    this.world = world
    this.nodes = nodes
    this.bgp = bgp
    this.speakers = speakers
    speakers.onElection = (ip, node) => this.add(`node:${node}`, 'event', `announces ${ip} from now on`)
    this.startNs = world.nowNs
    this.waiting = [...events].sort((a, b) => a.atS - b.atS)
    this.seenSessions = bgp?.timeline.length ?? 0
    bgp?.onRoute((netns, prefix, route) => this.route(netns, prefix, route))
  }

  /** Seconds since the cluster had converged. */
  get nowS(): number {
    return (this.world.nowNs - this.startNs) / SECOND_NS
  }

  /** Lets time pass up to `seconds`, with the events that are due. @returns everything that happened so far */
  playUntil(seconds: number): readonly TimelineEntry[] {
    while (this.waiting.length > 0 && this.waiting[0]!.atS <= seconds) {
      const e = this.waiting.shift()!
      this.world.runUntil(this.startNs + e.atS * SECOND_NS)
      this.collect()
      this.add(`node:${e.node}`, 'event', WORDS[e.action])
      this.apply(e)
      this.world.softirq()
    }
    this.world.runUntil(Math.max(this.world.nowNs, this.startNs + seconds * SECOND_NS))
    this.collect()
    this.entries.sort((a, b) => a.atS - b.atS)
    return this.entries
  }

  private add(netns: string, what: TimelineEntry['what'], text: string, atS = this.nowS): void {
    this.entries.push({ atS: Math.round(atS * 1000) / 1000, netns, what, text })
  }

  private collect(): void {
    const timeline = this.bgp?.timeline ?? []
    for (const e of timeline.slice(this.seenSessions)) {
      const words = {
        established: 'is Established',
        lost: 'is lost',
        refused: 'is refused',
        'restart-over': 'has not come back',
      }[e.kind]
      const why = e.text === '' ? '' : `: ${e.text}`
      const at = e.atMs / 1000 - this.startNs / SECOND_NS
      this.add(this.bgp!.netnsOf(e.speaker), 'session', `session with ${e.neighbor} ${words}${why}`, at)
    }
    this.seenSessions = timeline.length
  }

  private route(netns: string, prefix: string, route: InstalledRoute | null): void {
    if (route === null) this.add(netns, 'route', `${prefix} removed`)
    else if (route.blackhole) this.add(netns, 'route', `${prefix} blackhole`)
    else {
      const hops = route.nextHops.map((n) => `via ${n.address}${n.tunnel === undefined ? '' : ` dev ${n.tunnel}`}`)
      this.add(netns, 'route', `${prefix} ${hops.join(', ')}`)
    }
  }

  private apply(e: ClusterEvent): void {
    const netns = `node:${e.node}`
    const speaker = this.bgp?.speakers.get(netns)?.speaker
    const uplink = this.nodes.get(e.node)?.devices.get(UPLINK)
    switch (e.action) {
      case 'link-down':
        this.cable(uplink, false)
        this.later(MEMBERLIST_NS, () => this.speakers.nodeDown(e.node))
        break
      case 'link-up':
        this.cable(uplink, true)
        this.later(REJOIN_NS, () => this.speakers.nodeUp(e.node))
        break
      case 'node-down':
        this.cable(uplink, false)
        speaker?.kill()
        this.later(MEMBERLIST_NS, () => this.speakers.nodeDown(e.node))
        break
      case 'node-up':
        this.cable(uplink, true)
        this.later(REJOIN_NS, () => this.speakers.nodeUp(e.node))
        this.bgp?.restart(netns, false)
        break
      case 'bgp-kill':
        speaker?.kill()
        break
      case 'bgp-stop':
        speaker?.stop()
        break
      case 'bgp-start':
        this.bgp?.restart(netns, false)
        break
      case 'bgp-restart':
        this.bgp?.restart(netns, true)
        break
    }
  }

  private later(ns: number, what: () => void): void {
    this.world.timers.arm(new Timer(what), this.world.nowNs + ns)
  }

  /** The far end of the wire, a port of the switch, goes down or up: the node's device keeps its configuration. */
  private cable(uplink: NetDevice | undefined, isUp: boolean): void {
    const port = uplink?.peer
    if (port === undefined || port === null) return
    if (isUp) setUp(port)
    else setDown(port)
  }
}
