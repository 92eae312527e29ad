/**
 * Connections inside one process: messages pass as values, in order, after a fixed latency of virtual time.
 *
 * For what is too large for simulated TCP (thousands of speakers) and for tests of the state machine. NOT here: windows,
 * retransmission, the routes that carry a session: src/cluster plays those with the simulated kernel.
 */
import type { BgpMessage, BgpProtocolError } from '../wire/bgp-types.ts'
import type { BgpClock, BgpConnection, BgpTimer, BgpTransport, ConnectionHandler } from './clock.ts'

type Item = BgpMessage | BgpProtocolError | 'connected' | 'closed' | 'refused'

/** One end of a connection. */
class End implements BgpConnection {
  readonly localAddress: string
  readonly remoteAddress: string
  handler: ConnectionHandler | null = null
  other: End | null = null
  isOpen = true
  private readonly network: MemoryNetwork
  private readonly items: Item[] = []
  private readonly times: number[] = []
  private head = 0
  private readonly timer: BgpTimer

  constructor(network: MemoryNetwork, localAddress: string, remoteAddress: string) {
    this.network = network
    this.localAddress = localAddress
    this.remoteAddress = remoteAddress
    this.timer = network.clock.timer(() => this.deliver())
  }

  send(m: BgpMessage): void {
    this.network.messages++
    if (m.type === 'UPDATE') this.network.updates++
    this.pass(m)
  }

  agree(): void {
    // values need no agreement
  }

  options(): void {
    // there are no packets
  }

  close(): void {
    if (!this.isOpen) return
    this.pass('closed')
    this.isOpen = false
    this.handler = null
  }

  /** Hands something to the other end, unless the link between them is cut. */
  pass(item: Item): void {
    if (this.isOpen && this.other !== null && !this.network.isCut(this.localAddress, this.remoteAddress)) {
      this.other.arrive(item)
    }
  }

  arrive(item: Item): void {
    const { clock, latencyMs } = this.network
    this.items.push(item)
    this.times.push(clock.nowMs() + latencyMs)
    if (!this.timer.armed) this.timer.arm(latencyMs)
  }

  private deliver(): void {
    const now = this.network.clock.nowMs()
    while (this.head < this.items.length && this.times[this.head]! <= now) this.take(this.items[this.head++]!)
    if (this.head < this.items.length) {
      this.timer.arm(this.times[this.head]! - now)
      return
    }
    this.items.length = 0
    this.times.length = 0
    this.head = 0
  }

  private take(item: Item): void {
    const h = this.handler
    if (h === null) return
    if (item === 'connected') h.connected()
    else if (item === 'closed' || item === 'refused') {
      this.isOpen = false
      this.handler = null
      h.closed(item === 'refused' ? 'connection refused' : null)
    } else h.received(item)
  }
}

/** A network without anything in it but speakers. */
export class MemoryNetwork {
  readonly clock: BgpClock
  readonly latencyMs: number
  /** Messages sent. */
  messages = 0
  /** UPDATEs of them. */
  updates = 0
  private readonly listeners = new Map<string, (c: BgpConnection) => ConnectionHandler | null>()
  private readonly cuts = new Set<string>()

  constructor(clock: BgpClock, latencyMs = 1) {
    this.clock = clock
    this.latencyMs = latencyMs
  }

  /** What is sent between two addresses is lost from now on, or arrives again. */
  cut(a: string, b: string, isCut: boolean): void {
    for (const key of [`${a} ${b}`, `${b} ${a}`]) {
      if (isCut) this.cuts.add(key)
      else this.cuts.delete(key)
    }
  }

  /** Whether a link is cut. */
  isCut(a: string, b: string): boolean {
    return this.cuts.size > 0 && this.cuts.has(`${a} ${b}`)
  }

  /** The connections of one host. */
  transport(address: string): BgpTransport {
    const key = (port: number): string => `${address} ${port}`
    const ports = new Set<number>()
    return {
      connect: (o, handler) => {
        const near = new End(this, o.localAddress ?? address, o.address)
        near.handler = handler
        if (this.isCut(near.localAddress, near.remoteAddress)) return near
        const accept = this.listeners.get(`${o.address} ${o.port}`)
        const far = new End(this, o.address, near.localAddress)
        far.handler = accept?.(far) ?? null
        if (far.handler === null) {
          near.arrive('refused')
          return near
        }
        near.other = far
        far.other = near
        near.arrive('connected')
        far.arrive('connected')
        return near
      },
      listen: (port, accept) => {
        ports.add(port)
        this.listeners.set(key(port), accept)
      },
      stop: () => {
        for (const port of ports) this.listeners.delete(key(port))
      },
    }
  }
}
