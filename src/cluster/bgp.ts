/**
 * The BGP speakers of a cluster: each in its namespace, over the simulated kernel's TCP.
 *
 * A CNI driver says who speaks to whom (BgpPlan); sessions run through the data plane like everything else, and what is
 * learnt goes into the FIB of the namespace. A built cluster is a converged one: virtual time runs until the sessions
 * that can come up are up and nothing changes any more, at most two minutes. Sessions that did not come up are named.
 */
import type { BgpPlacement, BgpPlan } from '../bgp/config.ts'
import { SimHost } from '../bgp/sim-host.ts'
import { type InstalledRoute, Speaker, type SpeakerEvent } from '../bgp/speaker.ts'
import { type BgpState, bgpState } from '../bgp/state.ts'
import { RouteStore } from '../bgp/store.ts'
import { type Diagnostic, NO_POSITION } from '../diagnostics/diagnostic.ts'
import type { Netns } from '../linux/netns.ts'
import type { World } from '../linux/world.ts'

const SECOND_NS = 1e9
const LONGEST_NS = 120 * SECOND_NS
/** Nothing changed for so long: converged. FRR's first UPDATE comes a second after Established. */
const QUIET_NS = 2 * SECOND_NS

/** A speaker at its place. */
export interface PlacedSpeaker {
  readonly netns: string
  readonly ns: Netns
  readonly host: SimHost
  speaker: Speaker
}

/** What a speaker would need that is not modelled, null when nothing. */
export function unmodelledBgp(plan: BgpPlan): string | null {
  for (const { speaker } of plan.placements) {
    for (const p of speaker.peers) {
      if (p.password !== undefined) return `TCP MD5 password of BGP peer ${p.address}`
      if (p.ttlSecurity !== undefined) return `TTL security of BGP peer ${p.address}`
      if (p.address.includes(':')) return `BGP session over IPv6 with ${p.address}`
    }
  }
  return null
}

/** All speakers of a cluster. */
export class BgpFabric {
  readonly speakers = new Map<string, PlacedSpeaker>()
  /** Sessions that came and went, in order. */
  readonly timeline: SpeakerEvent[] = []
  private readonly world: World
  private readonly store = new RouteStore()

  constructor(world: World, plan: BgpPlan, lookup: (netns: string) => Netns) {
    this.world = world
    for (const p of plan.placements) this.place(p, lookup(p.netns))
  }

  private place(p: BgpPlacement, ns: Netns): void {
    const host = new SimHost(ns, this.store, (e) => this.timeline.push(e))
    this.speakers.set(p.netns, { netns: p.netns, ns, host, speaker: new Speaker(p.speaker, host) })
  }

  /** From now on `listener` hears of every route that goes into a kernel or leaves it. */
  onRoute(listener: (netns: string, prefix: string, route: InstalledRoute | null) => void): void {
    for (const { netns, host } of this.speakers.values()) {
      host.routeChanged = (prefix, route) => listener(netns, prefix, route)
    }
  }

  /** Namespace of a speaker by its name. */
  netnsOf(name: string): string {
    for (const p of this.speakers.values()) if (p.speaker.spec.name === name) return p.netns
    return name
  }

  /** Starts everybody, in the order of the plan. */
  start(): void {
    for (const { speaker } of this.speakers.values()) speaker.start()
    this.world.softirq()
  }

  /** A killed or stopped daemon starts again; `restarting`: it says so (`bird -R`). */
  restart(netns: string, restarting: boolean): void {
    const placed = this.speakers.get(netns)
    if (placed === undefined) return
    placed.speaker = new Speaker({ ...placed.speaker.spec, restarting }, placed.host)
    placed.host.restarted(restarting)
    placed.speaker.start()
    this.world.softirq()
  }

  /** Routes or links of a host changed: next hops are looked at again. */
  nextHopsChanged(netns: string): void {
    this.speakers.get(netns)?.speaker.nextHopsChanged()
  }

  /** Lets time run until nothing changes any more. */
  converge(maxNs = LONGEST_NS): void {
    const end = this.world.nowNs + maxNs
    let seen = this.changes()
    let quietSince = this.world.nowNs
    while (this.world.nowNs < end) {
      this.world.runUntil(this.world.nowNs + SECOND_NS / 2)
      const now = this.changes()
      if (now !== seen) {
        seen = now
        quietSince = this.world.nowNs
      }
      const waits = !this.allUp() && this.world.nowNs < end
      if (!waits && this.world.nowNs - quietSince >= QUIET_NS) return
    }
  }

  private allUp(): boolean {
    for (const { speaker } of this.speakers.values()) {
      if (speaker.peers.some((p) => p.state !== 'Established')) return false
    }
    return true
  }

  private changes(): number {
    let n = this.timeline.length
    for (const { speaker } of this.speakers.values()) n += speaker.counters.decisions
    return n
  }

  /** A warning for every session that is not there, from the side that says more. */
  diagnostics(): Diagnostic[] {
    const out: Diagnostic[] = []
    for (const { netns, speaker, host } of this.speakers.values()) {
      for (const p of speaker.peers) {
        if (p.state === 'Established') continue
        const why = p.lastError === '' ? '' : `: ${p.lastError}`
        out.push({
          code: 'bgp-session-down',
          severity: 'warning',
          message: `BGP session of ${netns} with ${p.spec.address} (AS ${p.spec.asn}) is ${p.state}${why}`,
          hint: 'both sides must name each other with the right AS, and TCP port 179 must get through',
          ...NO_POSITION,
        })
      }
      for (const [prefix, why] of host.refused) {
        out.push({
          code: 'bgp-route-refused',
          severity: 'warning',
          message: `${netns} cannot install the BGP route to ${prefix}: ${why}`,
          hint: 'the next hop must be on link or reachable by another route',
          ...NO_POSITION,
        })
      }
    }
    return out
  }

  /** The speaker in a namespace. */
  at(ns: Netns): PlacedSpeaker | undefined {
    return [...this.speakers.values()].find((p) => p.ns === ns)
  }

  /** State of the speaker in a namespace. */
  state(netns: string): BgpState | null {
    const placed = this.speakers.get(netns)
    return placed === undefined ? null : bgpState(placed.speaker)
  }
}
