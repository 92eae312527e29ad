/**
 * BGP over real TCP, with Node's sockets, and real time: what `podwalk bgp speak` runs on.
 *
 * Not possible with Node's sockets, hence refused by name elsewhere: TCP MD5 (RFC 2385), IP_TTL and IP_MINTTL. Packets leave
 * with the kernel's TTL of 64, which BIRD, FRR and GoBGP accept from external neighbours on the same link, too.
 */
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { BgpMessage, CodecContext } from '../wire/bgp-types.ts'
import type { BgpClock, BgpConnection, BgpTransport, ConnectionHandler } from './clock.ts'
import { WireConnection } from './wire-connection.ts'

/** Time of this machine. */
export function realClock(): BgpClock {
  const start = process.hrtime.bigint()
  return {
    nowMs: () => Number(process.hrtime.bigint() - start) / 1e6,
    timer(fire) {
      let handle: NodeJS.Timeout | null = null
      return {
        get armed() {
          return handle !== null
        },
        arm(ms) {
          if (handle !== null) clearTimeout(handle)
          handle = setTimeout(() => {
            handle = null
            fire()
          }, ms)
        },
        cancel() {
          if (handle !== null) clearTimeout(handle)
          handle = null
        },
      }
    },
  }
}

/** `::ffff:192.0.2.1` is 192.0.2.1. */
function plainAddress(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:(?=\d+\.)/, '').replace(/%.*$/, '')
}

/** How long a closed connection may take to send what is queued. */
const LINGER_MS = 2000

class TcpConnection implements BgpConnection {
  readonly wire = new WireConnection()
  readonly remoteAddress: string
  private readonly socket: Socket
  private readonly asked: string
  private error: string | null = null
  private isClosing = false

  constructor(socket: Socket, remoteAddress: string, localAddress: string) {
    this.socket = socket
    this.remoteAddress = remoteAddress
    this.asked = localAddress
    socket.setNoDelay(true)
    socket.on('data', (d: Buffer) => this.wire.push(new Uint8Array(d)))
    socket.on('error', (e: NodeJS.ErrnoException) => {
      this.error = e.code ?? e.message
    })
    // the neighbour's FIN: nothing more can come
    socket.on('end', () => this.lost())
    socket.on('close', () => this.lost())
  }

  get localAddress(): string {
    return plainAddress(this.socket.localAddress) || this.asked
  }

  send(m: BgpMessage): void {
    if (!this.isClosing && this.socket.writable) this.socket.write(this.wire.encode(m))
  }

  agree(send: CodecContext, receive: CodecContext): void {
    this.wire.agree(send, receive)
  }

  options(): void {
    // Node has no IP_TTL and IP_TOS for TCP
  }

  close(): void {
    if (this.isClosing) return
    this.isClosing = true
    this.wire.handler = null
    this.socket.end()
    const timer = setTimeout(() => this.socket.destroy(), LINGER_MS)
    timer.unref()
    this.socket.on('close', () => clearTimeout(timer))
  }

  private lost(): void {
    const h = this.wire.handler
    this.wire.handler = null
    if (!this.isClosing) this.socket.end()
    this.isClosing = true
    h?.closed(this.error)
  }
}

/** Connections of this machine, listening on one address. */
export class TcpTransport implements BgpTransport {
  private readonly address: string
  private readonly failed: (error: string) => void
  private server: Server | null = null

  /** `failed` hears why listening is not possible. */
  constructor(address: string, failed: (error: string) => void) {
    this.address = address
    this.failed = failed
  }

  connect(o: Parameters<BgpTransport['connect']>[0], handler: ConnectionHandler): BgpConnection {
    const localAddress = o.localAddress ?? this.address
    const socket = connect({ host: o.address, port: o.port, localAddress })
    const c = new TcpConnection(socket, o.address, localAddress)
    c.wire.handler = handler
    socket.on('connect', () => c.wire.handler?.connected())
    return c
  }

  listen(port: number, accept: (c: BgpConnection) => ConnectionHandler | null): void {
    this.server = createServer((socket) => {
      const c = new TcpConnection(socket, plainAddress(socket.remoteAddress), this.address)
      const handler = accept(c)
      if (handler === null) {
        c.close()
        return
      }
      c.wire.handler = handler
      handler.connected()
    })
    this.server.on('error', (e: NodeJS.ErrnoException) => this.failed(e.code ?? e.message))
    this.server.listen(port, this.address)
  }

  stop(): void {
    this.server?.close()
    this.server = null
  }
}
