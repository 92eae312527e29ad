/**
 * BGP over the simulated kernel's TCP: messages are packets in the trace, and a session lives and dies with the data plane.
 *
 * The speaker is a process of a namespace: it runs in process context, after the softirq that woke it, at the same virtual
 * time. Not modelled: TCP MD5 (RFC 2385), IP_MINTTL of the generalized TTL security mechanism, IPv6 sessions.
 */
import { formatIpv4, parseIpv4 } from '../addr/ipv4.ts'
import { EAGAIN, EINPROGRESS, errnoName } from '../linux/errno.ts'
import type { Netns } from '../linux/netns.ts'
import { close, tcpAccept, tcpConnect, tcpListen, tcpRecv, tcpSend, tcpStatus } from '../linux/socket/api.ts'
import { TCP_CLOSE, TCP_SYN_SENT } from '../linux/socket/tcp-const.ts'
import type { TcpSock } from '../linux/socket/tcp-sock.ts'
import { Timer } from '../linux/timers.ts'
import type { World } from '../linux/world.ts'
import type { BgpMessage, CodecContext } from '../wire/bgp-types.ts'
import type { BgpClock, BgpConnection, BgpTransport, ConnectionHandler } from './clock.ts'
import { WireConnection } from './wire-connection.ts'

const NS_PER_MS = 1e6
/** TTL of a SYN+ACK: the listener knows no neighbour yet. */
const LISTENER_TTL = 255
const BACKLOG = 32

/** Virtual time of a world; what a timer starts runs as a process, not as softirq. */
export function worldClock(w: World): BgpClock {
  return {
    nowMs: () => w.nowNs / NS_PER_MS,
    timer(fire) {
      const t = new Timer(() => {
        w.inSoftirq = false
        fire()
        w.inSoftirq = true
      })
      return {
        get armed() {
          return t.armed
        },
        arm: (ms) => w.timers.arm(t, w.nowNs + Math.round(ms * NS_PER_MS)),
        cancel: () => w.timers.cancel(t),
      }
    },
  }
}

/** A connection of the simulated kernel. */
class SimConnection implements BgpConnection {
  readonly remoteAddress: string
  readonly wire = new WireConnection()
  private sk: TcpSock | null
  private isConnected: boolean
  private pending: Uint8Array[] = []
  private closing = false

  constructor(sk: TcpSock, remoteAddress: string, isConnected: boolean) {
    this.sk = sk
    this.remoteAddress = remoteAddress
    this.isConnected = isConnected
    sk.onReadable = () => this.run()
    sk.onWritable = () => this.run()
  }

  get localAddress(): string {
    return formatIpv4(this.sk?.saddr ?? 0)
  }

  send(m: BgpMessage): void {
    if (this.sk === null || this.closing) return
    this.pending.push(this.wire.encode(m))
    this.flush()
  }

  agree(send: CodecContext, receive: CodecContext): void {
    this.wire.agree(send, receive)
  }

  options(ttl: number, tos: number): void {
    if (this.sk === null) return
    this.sk.ttl = ttl
    this.sk.tos = tos
  }

  close(): void {
    if (this.sk === null || this.closing) return
    this.wire.handler = null
    this.closing = true
    this.flush()
    if (this.pending.length === 0) this.end()
  }

  private end(): void {
    const sk = this.sk
    this.sk = null
    if (sk !== null) close(sk)
  }

  private flush(): void {
    while (this.sk !== null && this.isConnected && this.pending.length > 0) {
      const first = this.pending[0]!
      const n = tcpSend(this.sk, first)
      if (n === EAGAIN) return
      if (n < 0) {
        this.lost(errnoName(n))
        return
      }
      if (n < first.length) this.pending[0] = first.subarray(n)
      else this.pending.shift()
    }
  }

  private lost(error: string | null): void {
    const h = this.wire.handler
    this.wire.handler = null
    this.pending = []
    this.end()
    h?.closed(error)
  }

  /** The kernel woke the process. */
  run(): void {
    const sk = this.sk
    if (sk === null) return
    if (!this.isConnected) {
      if (sk.state === TCP_SYN_SENT) return
      if (sk.state === TCP_CLOSE) {
        this.lost(errnoName(tcpStatus(sk)))
        return
      }
      this.isConnected = true
      this.wire.handler?.connected()
    }
    this.flush()
    if (this.closing && this.pending.length === 0) {
      this.end()
      return
    }
    while (this.sk !== null) {
      const d = tcpRecv(this.sk)
      if (d === EAGAIN) return
      if (typeof d === 'number') this.lost(errnoName(d))
      else if (d.length === 0) this.lost(null)
      else this.wire.push(d)
    }
  }
}

/** Connections of a namespace. */
export function simTransport(ns: Netns): BgpTransport {
  const listeners: TcpSock[] = []
  const w = ns.world
  return {
    connect(o, handler) {
      const ip = parseIpv4(o.address)
      const local = o.localAddress === undefined ? undefined : parseIpv4(o.localAddress)
      if (ip === null || local === null) return refused(w, o.address, handler, 'IPv6 sessions are not modelled')
      const c = tcpConnect(
        ns,
        { ip, port: o.port },
        {
          tos: o.tos,
          ...(o.ttl === undefined ? {} : { ttl: o.ttl }),
          ...(local === undefined ? {} : { bind: { ip: local, port: 0 } }),
        },
      )
      if (typeof c === 'number') return refused(w, o.address, handler, errnoName(c))
      if (c.errno !== EINPROGRESS) {
        close(c.sk)
        return refused(w, o.address, handler, errnoName(c.errno))
      }
      const connection = new SimConnection(c.sk, o.address, false)
      connection.wire.handler = handler
      w.softirq()
      return connection
    },
    listen(port, accept) {
      const l = tcpListen(ns, { ip: 0, port }, BACKLOG, { ttl: LISTENER_TTL })
      if (typeof l === 'number') return
      listeners.push(l)
      l.onReadable = () => {
        for (;;) {
          const c = tcpAccept(l)
          if (typeof c === 'number') return
          const connection = new SimConnection(c, formatIpv4(c.daddr), true)
          const handler = accept(connection)
          if (handler === null) {
            connection.close()
            continue
          }
          connection.wire.handler = handler
          handler.connected()
          connection.run()
        }
      }
    },
    stop() {
      for (const l of listeners.splice(0)) close(l)
    },
  }
}

/** A connection that never was: its owner hears of it a moment later, as of any other. */
function refused(w: World, address: string, handler: ConnectionHandler, error: string): BgpConnection {
  let isOpen = true
  const t = worldClock(w).timer(() => {
    if (isOpen) handler.closed(error)
  })
  t.arm(0)
  return {
    localAddress: '0.0.0.0',
    remoteAddress: address,
    send: () => {},
    agree: () => {},
    options: () => {},
    close: () => {
      isOpen = false
    },
  }
}
