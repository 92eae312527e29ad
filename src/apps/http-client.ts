/**
 * One HTTP exchange over a new connection, plain or under TLS; virtual time runs until it is over.
 */
import { EINPROGRESS } from '../linux/errno.ts'
import type { Netns } from '../linux/netns.ts'
import { tcpConnect } from '../linux/socket/api.ts'
import { emitHttpRequest, type HttpRequest, type HttpResponse, parseHttpResponse } from '../wire/http.ts'
import { join, Stream, TlsSession } from './stream.ts'
import { waitFor } from './wait.ts'

/** Where to connect and how. */
export interface HttpAsk {
  readonly ip: number
  readonly port: number
  /** Server name of TLS, null for plain HTTP, '' for TLS without a name. */
  readonly serverName: string | null
  readonly request: HttpRequest
  readonly connectNs: number
  readonly totalNs: number
  readonly sport?: number
}

/** How it went. */
export interface HttpAnswer {
  readonly connected: boolean
  /** The TLS handshake was done, or there was none to do. */
  readonly secured: boolean
  /** Errno that ended it, negative; 0 for none. */
  readonly errno: number
  readonly isTimeout: boolean
  /** What TLS said when it failed. */
  readonly tlsFailure: string | null
  readonly response: HttpResponse | null
  /** Bytes that came and are no HTTP response. */
  readonly raw: Uint8Array
  readonly sport: number
  readonly connectedNs: number
}

/** Plays the exchange. */
export function httpExchange(ns: Netns, ask: HttpAsk): HttpAnswer {
  const run = startHttp(ns, ask)
  const w = ns.world
  const start = w.nowNs
  waitFor(
    w,
    start + Math.min(ask.connectNs, ask.totalNs),
    () => run.stream === null || run.stream.isConnected || run.done,
  )
  if (run.stream?.isConnected) waitFor(w, start + ask.totalNs, () => run.done)
  return run.finish()
}

/** An exchange under way. */
export class HttpRun {
  stream: Stream | null = null
  done = false
  errno = 0
  response: HttpResponse | null = null
  secured = false
  tlsFailure: string | null = null
  connectedNs = 0
  private got: Uint8Array = new Uint8Array(0)
  private sport = 0
  private readonly startNs: number
  private readonly ns: Netns
  private readonly isHead: boolean

  constructor(ns: Netns, ask: HttpAsk) {
    this.ns = ns
    this.startNs = ns.world.nowNs
    this.isHead = ask.request.method === 'HEAD'
    const bind = ask.sport === undefined ? {} : { bind: { ip: 0, port: ask.sport } }
    const c = tcpConnect(ns, { ip: ask.ip, port: ask.port }, bind)
    if (typeof c === 'number') {
      this.fail(c)
      return
    }
    this.sport = c.sk.sport
    const stream = new Stream(c.sk)
    this.stream = stream
    if (c.errno !== 0 && c.errno !== EINPROGRESS) {
      this.fail(c.errno)
      return
    }
    const bytes = emitHttpRequest(ask.request)
    const tls = ask.serverName === null ? null : new TlsSession(stream, false)
    stream.events = {
      onConnect: () => {
        this.connectedNs = ns.world.nowNs - this.startNs
        if (tls === null) {
          this.secured = true
          stream.write(bytes)
        } else tls.hello({ serverName: ask.serverName || null, alpn: ['h2', 'http/1.1'] })
      },
      onData: (d) => (tls === null ? this.take(d) : tls.receive(d)),
      onEnd: (errno) => this.ended(errno),
    }
    if (tls !== null) {
      tls.onReady = () => {
        this.secured = true
        tls.write(bytes)
      }
      tls.onData = (d) => this.take(d)
      tls.onFailure = (why) => {
        this.tlsFailure = why
        this.stop()
      }
    }
    stream.run()
  }

  /** The result so far; an exchange that is not done has run out of time. */
  finish(): HttpAnswer {
    const isTimeout = !this.done
    if (isTimeout) this.stream?.end()
    this.ns.world.softirq()
    return {
      ...{ connected: this.stream?.isConnected === true, secured: this.secured, errno: this.errno, isTimeout },
      ...{ tlsFailure: this.tlsFailure, response: this.response, raw: this.got, sport: this.sport },
      connectedNs: this.connectedNs,
    }
  }

  private take(d: Uint8Array): void {
    this.got = join(this.got, d)
    this.read(false)
  }

  private read(isEnd: boolean): void {
    const r = parseHttpResponse(this.got, isEnd, !this.isHead)
    if (typeof r === 'string') {
      if (r === 'bad') this.stop()
      return
    }
    this.response = r.message
    this.stop()
  }

  private ended(errno: number): void {
    if (errno === 0) this.read(true)
    else this.errno = errno
    this.done = true
  }

  private fail(errno: number): void {
    this.errno = errno
    this.done = true
  }

  private stop(): void {
    this.done = true
    this.stream?.end()
  }
}

/** Starts an exchange without waiting for it: whoever lets time run sees it happen. */
export function startHttp(ns: Netns, ask: HttpAsk): HttpRun {
  return new HttpRun(ns, ask)
}
