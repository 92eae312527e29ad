/**
 * Time and connections as a speaker sees them: the same speaker runs in the simulated network, in a plain event queue and
 * on real sockets.
 */
import { Timer, TimerQueue } from '../linux/timers.ts'
import type { BgpMessage, BgpProtocolError, CodecContext } from '../wire/bgp-types.ts'

/** A timer that can be armed, moved and cancelled any number of times. */
export interface BgpTimer {
  readonly armed: boolean
  /** Runs the callback in `ms` milliseconds, at another time than before when it was armed. */
  arm(ms: number): void
  cancel(): void
}

/** A clock. */
export interface BgpClock {
  /** Milliseconds since some point. */
  nowMs(): number
  timer(fire: () => void): BgpTimer
}

/** What a connection tells its owner. */
export interface ConnectionHandler {
  connected(): void
  received(m: BgpMessage | BgpProtocolError): void
  /** The neighbour closed, or the network did; with the cause when it is an error. */
  closed(error: string | null): void
}

/** A connection that carries messages. */
export interface BgpConnection {
  readonly localAddress: string
  readonly remoteAddress: string
  send(m: BgpMessage): void
  /** After the OPENs: how messages are written and read from now on. */
  agree(send: CodecContext, receive: CodecContext): void
  /** IP_TTL and IP_TOS, where the transport has them. */
  options(ttl: number, tos: number): void
  /** Sends what is queued and closes. `closed` is not called. */
  close(): void
}

/** How to reach a neighbour. */
export interface ConnectOptions {
  readonly address: string
  readonly port: number
  readonly localAddress: string | undefined
  readonly ttl: number | undefined
  readonly tos: number
}

/** Where connections come from. */
export interface BgpTransport {
  connect(o: ConnectOptions, handler: ConnectionHandler): BgpConnection
  /** Takes connections; `accept` gives the handler, or null to refuse. */
  listen(port: number, accept: (c: BgpConnection) => ConnectionHandler | null): void
  /** Stops listening. */
  stop(): void
}

/** A clock that runs as fast as it is asked to. */
export class VirtualClock implements BgpClock {
  private readonly queue = new TimerQueue()
  private now = 0
  /** Timers that fired. */
  fired = 0

  nowMs(): number {
    return this.now
  }

  timer(fire: () => void): BgpTimer {
    const t = new Timer(fire)
    const { queue } = this
    return {
      get armed() {
        return t.armed
      },
      arm: (ms) => queue.arm(t, this.now + ms),
      cancel: () => queue.cancel(t),
    }
  }

  /** When something happens next, Infinity for never. */
  nextMs(): number {
    return this.queue.nextNs()
  }

  /** Lets time pass up to `untilMs`. */
  runUntil(untilMs: number): void {
    while (this.queue.nextNs() <= untilMs) {
      const t = this.queue.pop()!
      this.now = Math.max(this.now, t.atNs)
      this.fired++
      t.fire()
    }
    this.now = Math.max(this.now, untilMs)
  }
}
