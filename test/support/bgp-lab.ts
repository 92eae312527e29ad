/**
 * Speakers in a network of nothing but them, with virtual time; and a neighbour that is played by the test.
 */

import type { BgpConnection, ConnectionHandler } from '../../src/bgp/clock.ts'
import { VirtualClock } from '../../src/bgp/clock.ts'
import type { BgpPeerSpec, BgpSpeakerSpec } from '../../src/bgp/config.ts'
import { MemoryNetwork } from '../../src/bgp/memory-network.ts'
import { type InstalledRoute, Speaker, type SpeakerEvent } from '../../src/bgp/speaker.ts'
import type { RouteStore } from '../../src/bgp/store.ts'
import { type BgpMessage, type BgpOpen, notificationName, type PathAttributes } from '../../src/wire/bgp.ts'

/** A network under test. */
export class BgpLab {
  readonly clock = new VirtualClock()
  readonly network: MemoryNetwork
  readonly events: SpeakerEvent[] = []
  private seed = 7

  constructor(latencyMs = 1) {
    this.network = new MemoryNetwork(this.clock, latencyMs)
  }

  /** A speaker at `address`; `kernel` holds what it installed. */
  speaker(
    address: string,
    spec: BgpSpeakerSpec,
    store?: RouteStore,
  ): { speaker: Speaker; kernel: Map<string, InstalledRoute> } {
    const kernel = new Map<string, InstalledRoute>()
    const speaker = new Speaker(spec, {
      clock: this.clock,
      transport: this.network.transport(address),
      random: () => {
        this.seed = (Math.imul(this.seed, 1664525) + 1013904223) >>> 0
        return this.seed / 2 ** 32
      },
      install: (prefix, route) => (route === null ? kernel.delete(prefix) : kernel.set(prefix, route)),
      event: (e) => this.events.push(e),
      ...(store === undefined ? {} : { store }),
    })
    return { speaker, kernel }
  }

  /** A speaker's spec with the usual rest. */
  static spec(
    name: string,
    asn: number,
    routerId: string,
    peers: readonly BgpPeerSpec[],
    over: Partial<BgpSpeakerSpec> = {},
  ): BgpSpeakerSpec {
    return { name, implementation: 'bird', asn, routerId, peers, routes: [], install: {}, ...over }
  }

  /** Lets `ms` pass. */
  run(ms: number): void {
    this.clock.runUntil(this.clock.nowMs() + ms)
  }

  /** A neighbour whose messages the test writes. */
  mock(address: string): MockPeer {
    return new MockPeer(this, address)
  }
}

/** One connection of a mock. */
export class MockConnection implements ConnectionHandler {
  readonly messages: BgpMessage[] = []
  connection: BgpConnection | null = null
  isClosed = false
  isConnected = false
  private readonly lab: BgpLab

  constructor(lab: BgpLab) {
    this.lab = lab
  }

  connected(): void {
    this.isConnected = true
  }

  received(m: Parameters<ConnectionHandler['received']>[0]): void {
    if (m.type !== 'ERROR') this.messages.push(m)
  }

  closed(): void {
    this.isClosed = true
  }

  send(m: BgpMessage): void {
    this.connection?.send(m)
    this.lab.run(10)
  }

  /** Types of what came, NOTIFICATIONs with their codes. */
  get words(): string[] {
    return this.messages.map((m) => (m.type === 'NOTIFICATION' ? `NOTIFICATION ${m.code}/${m.subcode}` : m.type))
  }

  /** Prefixes that stand announced. */
  get routes(): Map<string, PathAttributes> {
    const routes = new Map<string, PathAttributes>()
    for (const m of this.messages) {
      if (m.type !== 'UPDATE') continue
      for (const u of m.unreach) for (const n of u.nlri) routes.delete(n.prefix)
      for (const r of m.reach) for (const n of r.nlri) routes.set(n.prefix, m.attributes!)
    }
    return routes
  }

  /** Name of the NOTIFICATION that ended it. */
  get error(): string | null {
    const m = this.messages.find((x) => x.type === 'NOTIFICATION')
    return m === undefined ? null : notificationName(m.code, m.subcode)
  }
}

/** A neighbour played by the test. */
export class MockPeer {
  readonly accepted: MockConnection[] = []
  private readonly lab: BgpLab
  private readonly address: string

  constructor(lab: BgpLab, address: string) {
    this.lab = lab
    this.address = address
    lab.network.transport(address).listen(179, (c) => {
      const m = new MockConnection(lab)
      m.connection = c
      this.accepted.push(m)
      return m
    })
  }

  /** Connects to a speaker. */
  connect(to: string): MockConnection {
    const m = new MockConnection(this.lab)
    m.connection = this.lab.network
      .transport(this.address)
      .connect({ address: to, port: 179, localAddress: this.address, ttl: undefined, tos: 0 }, m)
    this.lab.run(10)
    return m
  }

  /** Connects and goes to Established. */
  establish(to: string, asn: number, routerId: string, over: Partial<BgpOpen> = {}): MockConnection {
    const c = this.connect(to)
    c.send(mockOpen(asn, routerId, over))
    c.send({ type: 'KEEPALIVE' })
    return c
  }
}

/** The OPEN of the minimal speaker of the recordings. */
export function mockOpen(asn: number, routerId: string, over: Partial<BgpOpen> = {}): BgpOpen {
  return {
    type: 'OPEN',
    version: 4,
    asn,
    holdTime: 90,
    routerId,
    capabilities: [{ kind: 'multiprotocol', afi: 1, safi: 1 }, { kind: 'as4', asn }, { kind: 'route-refresh' }],
    ...over,
  }
}

/** An UPDATE that announces one prefix. */
export function announce(prefix: string, attributes: PathAttributes): BgpMessage {
  const reach = [{ family: 'ipv4' as const, mp: false, nextHop: attributes.nextHop!, nlri: [{ prefix }] }]
  return { type: 'UPDATE', unreach: [], reach, attributes }
}
