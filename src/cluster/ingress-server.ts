/**
 * Ingress controllers and gateways at work: processes in pods that accept, decide, and open the second connection.
 *
 * Under TLS the ClientHello comes first: terminate, pass through by its name, or close. Every request is decided by its
 * controller (src/ingress); the connection upstream goes to one endpoint, and to the next one when that refuses or does not
 * answer in time, as often as the controller tries. What was decided is kept for traces. A decision that is not modelled
 * gets no answer and is named in `unmodelled`.
 * Not modelled: keep-alive to upstreams, HTTP/2 and gRPC, buffering limits, time-outs of a response.
 */
import { formatIpv4, parseIpv4 } from '../addr/index.ts'
import { openStream, relay } from '../apps/relay.ts'
import { join, listenStreams, type Stream, TlsSession } from '../apps/stream.ts'
import { controllerPods, controllersOf } from '../ingress/registry.ts'
import type { Asked, Controller, Decision, ErrorPage, RouteOrigin, TlsDecision, Upstream } from '../ingress/types.ts'
import type { ClusterModel, PodModel } from '../kubernetes/types.ts'
import type { Netns } from '../linux/netns.ts'
import { Timer } from '../linux/timers.ts'
import {
  bodyOf,
  emitHttpRequest,
  emitHttpResponse,
  HTTP_REASONS,
  type HttpHeader,
  type HttpRequest,
  headerOf,
  parseHttpRequest,
  parseHttpResponse,
} from '../wire/http.ts'
import { parseClientHello } from '../wire/tls.ts'
import { servedKey } from './servers.ts'

/** What a controller decided about one request or connection. */
export interface HttpDecision {
  /** `namespace/name` of the pod. */
  readonly pod: string
  readonly controller: string
  /** `GET shop.example.com/api`, or the server name of a connection that is passed through or refused. */
  readonly what: string
  readonly action: 'forward' | 'respond' | 'passthrough' | 'refuse' | 'unmodelled'
  readonly origin: RouteOrigin | null
  readonly service: string | null
  /** The endpoint that answered, or the last one tried: `10.244.1.2:8080`. */
  upstream: string | null
  /** Of the answer to the client; null before it is there. */
  status: number | null
  readonly why: string
}

const NS_PER_S = 1_000_000_000

/** Opens the controllers' ports. @returns the ports that they hold */
export function startIngress(
  model: ClusterModel,
  pods: ReadonlyMap<string, Netns>,
  log: HttpDecision[],
  unmodelled: string[],
): Set<string> {
  const held = new Set<string>()
  for (const pod of controllerPods(model)) {
    const ns = pods.get(`${pod.namespace}/${pod.name}`)
    if (ns === undefined) continue
    const controllers = controllersOf(model, pod, (n) => ns.world.random.below(n))
    const ports = new Map(controllers.flatMap((c) => [...c.ports]))
    for (const [port, isTls] of ports) {
      const own = controllers.filter((c) => c.ports.has(port))
      const server = new IngressPort(ns, pod, port, isTls, own, log, unmodelled)
      if (typeof listenStreams(ns, port, (s) => server.accept(s)) !== 'number') held.add(servedKey(ns, 'TCP', port))
    }
  }
  return held
}

/** What a connection writes to: the stream, or TLS on it. */
interface Sink {
  write(bytes: Uint8Array): void
  end(): void
}

class IngressPort {
  private readonly ns: Netns
  private readonly pod: PodModel
  private readonly port: number
  private readonly isTls: boolean
  private readonly controllers: readonly Controller[]
  private readonly log: HttpDecision[]
  private readonly unmodelled: string[]

  constructor(
    ns: Netns,
    pod: PodModel,
    port: number,
    isTls: boolean,
    controllers: readonly Controller[],
    log: HttpDecision[],
    unmodelled: string[],
  ) {
    this.ns = ns
    this.pod = pod
    this.port = port
    this.isTls = isTls
    this.controllers = controllers
    this.log = log
    this.unmodelled = unmodelled
  }

  accept(client: Stream): void {
    client.events.onEnd = () => client.end()
    if (!this.isTls) {
      const handle = this.requests(client, client, null)
      client.events.onData = handle
      return
    }
    let got: Uint8Array = new Uint8Array(0)
    client.events.onData = (d) => {
      got = join(got, d)
      const hello = parseClientHello(got)
      if (hello === 'incomplete') return
      if (hello === 'bad') {
        this.respondPlain(client)
        return
      }
      this.secure(client, got, hello.serverName)
    }
  }

  /** Plain HTTP to a TLS port. */
  private respondPlain(client: Stream): void {
    const page = this.controllers[0]!.errorPage(400)
    client.write(responseBytes(400, page, false))
    client.end()
  }

  private secure(client: Stream, hello: Uint8Array, serverName: string | null): void {
    const decisions = this.controllers.map((c) => [c, c.decideTls(serverName, this.port)] as const)
    const [controller, decision] = decisions.find(([, d]) => d.action !== 'refuse') ?? decisions[0]!
    if (decision.action === 'terminate') {
      const tls = new TlsSession(client, true)
      const handle = this.requests(client, { write: (b) => tls.write(b), end: () => client.end() }, serverName)
      tls.onData = handle
      client.events.onData = (d) => tls.receive(d)
      tls.receive(hello)
      return
    }
    const entry = this.note(controller, `TLS ${serverName ?? '(no server name)'}`, decision)
    if (decision.action === 'refuse') {
      client.end()
      return
    }
    const to = decision.upstreams[0]
    if (to === undefined || !relay(this.ns, client, parseIpv4(to.ip)!, to.port, hello)) client.end()
    entry.upstream = to === undefined ? null : `${to.ip}:${to.port}`
  }

  /** Takes the plain bytes of a connection; answers its requests one after the other. */
  private requests(client: Stream, sink: Sink, serverName: string | null): (d: Uint8Array) => void {
    let got: Uint8Array = new Uint8Array(0)
    let isBusy = false
    const next = (): void => {
      if (isBusy) return
      const read = parseHttpRequest(got)
      if (read === 'incomplete') return
      if (read === 'bad') {
        const page = this.controllers[0]!.errorPage(400)
        sink.write(responseBytes(400, page, false))
        sink.end()
        return
      }
      got = got.slice(read.bytes)
      isBusy = true
      this.handle(client, sink, serverName, read.message, () => {
        isBusy = false
        if (/^close$/i.test(headerOf(read.message.headers, 'Connection') ?? '')) sink.end()
        else next()
      })
    }
    return (d) => {
      got = join(got, d)
      next()
    }
  }

  private handle(client: Stream, sink: Sink, serverName: string | null, request: HttpRequest, done: () => void): void {
    const host = (headerOf(request.headers, 'Host') ?? '').replace(/:\d+$/, '').toLowerCase()
    const asked: Asked = {
      ...{ isTls: this.isTls, serverName, host, port: this.port, request },
      client: formatIpv4(client.sk.daddr),
    }
    const decisions = this.controllers.map((c) => [c, c.decide(asked)] as const)
    const isMiss = (d: Decision): boolean => d.action === 'respond' && d.origin === null
    const [controller, decision] = decisions.find(([, d]) => !isMiss(d)) ?? decisions[0]!
    const entry = this.note(controller, `${request.method} ${host}${request.target}`, decision)
    if (decision.action === 'unmodelled') {
      this.unmodelled.push(`${controller.name}: ${decision.what}`)
      return
    }
    const isHead = request.method === 'HEAD'
    if (decision.action === 'respond') {
      sink.write(responseBytes(decision.status, decision, isHead))
      done()
      return
    }
    new Forwarding(this.ns, controller, decision, entry, isHead, (bytes) => {
      sink.write(bytes)
      done()
    }).start()
  }

  private note(controller: Controller, what: string, d: Decision | TlsDecision): HttpDecision {
    const entry: HttpDecision = {
      ...{ pod: `${this.pod.namespace}/${this.pod.name}`, controller: controller.name, what },
      action: d.action === 'terminate' ? 'respond' : d.action,
      origin: 'origin' in d ? d.origin : null,
      service: 'service' in d ? d.service : null,
      ...{ upstream: null, status: d.action === 'respond' ? d.status : null },
      why: 'why' in d ? d.why : d.action === 'unmodelled' ? `not modelled: ${d.what}` : '',
    }
    this.log.push(entry)
    return entry
  }
}

/** One request on its way to an upstream, with the attempts that it takes. */
class Forwarding {
  private readonly ns: Netns
  private readonly controller: Controller
  private readonly decision: Extract<Decision, { action: 'forward' }>
  private readonly entry: HttpDecision
  private readonly isHead: boolean
  private readonly finish: (response: Uint8Array) => void
  private attempt = 0
  private isTimeout = false

  constructor(
    ns: Netns,
    controller: Controller,
    decision: Extract<Decision, { action: 'forward' }>,
    entry: HttpDecision,
    isHead: boolean,
    finish: (response: Uint8Array) => void,
  ) {
    this.ns = ns
    this.controller = controller
    this.decision = decision
    this.entry = entry
    this.isHead = isHead
    this.finish = finish
  }

  start(): void {
    const { upstreams } = this.decision
    if (this.attempt >= Math.min(this.controller.tries, upstreams.length)) {
      this.fail()
      return
    }
    const to = upstreams[this.attempt++]!
    this.entry.upstream = `${to.ip}:${to.port}`
    this.connect(to)
  }

  private connect(to: Upstream): void {
    const w = this.ns.world
    const s = openStream(this.ns, parseIpv4(to.ip)!, to.port)
    if (typeof s === 'number') {
      this.start()
      return
    }
    let isOver = false
    const timer = new Timer(() => {
      this.isTimeout = true
      over(() => this.start())
    })
    const over = (then: () => void): void => {
      if (isOver) return
      isOver = true
      if (timer.armed) w.timers.cancel(timer)
      s.end()
      then()
    }
    w.timers.arm(timer, w.nowNs + this.controller.connectTimeoutS * NS_PER_S)
    const tls = this.decision.isTlsUpstream ? new TlsSession(s, false) : null
    let got: Uint8Array = new Uint8Array(0)
    const read = (isEnd: boolean): void => {
      const r = parseHttpResponse(got, isEnd, !this.isHead)
      if (r === 'incomplete' && !isEnd) return
      over(() => (typeof r === 'string' ? this.start() : this.answer(r.message)))
    }
    const take = (d: Uint8Array): void => {
      got = join(got, d)
      read(false)
    }
    s.events = {
      onConnect: () => {
        if (timer.armed) w.timers.cancel(timer)
        if (tls === null) s.write(emitHttpRequest(this.decision.request))
        else tls.hello({ serverName: null, alpn: [] })
      },
      onData: (d) => (tls === null ? take(d) : tls.receive(d)),
      onEnd: (errno) => (errno === 0 ? read(true) : over(() => this.start())),
    }
    if (tls !== null) {
      tls.onReady = () => tls.write(emitHttpRequest(this.decision.request))
      tls.onData = take
      tls.onFailure = () => over(() => this.start())
    }
    s.run()
  }

  private answer(r: { status: number; reason: string; headers: readonly HttpHeader[]; body: Uint8Array }): void {
    this.entry.status = r.status
    const plain = r.headers.filter(([n]) => !/^(?:connection|transfer-encoding|content-length)$/i.test(n))
    const headers = this.decision.responseHeaders?.(plain) ?? plain
    const length: HttpHeader = ['Content-Length', String(r.body.length)]
    this.finish(emitHttpResponse({ ...r, headers: [...headers, ...(this.isHead ? [] : [length])] }))
  }

  private fail(): void {
    const status = this.isTimeout ? 504 : 502
    this.entry.status = status
    const page = this.controller.errorPage(status)
    this.finish(responseBytes(status, page, this.isHead))
  }
}

function responseBytes(status: number, page: ErrorPage, isHead: boolean): Uint8Array {
  const bytes = bodyOf(page.body)
  return emitHttpResponse({
    status,
    reason: page.reason ?? HTTP_REASONS[status] ?? '',
    headers: [...page.headers, ['Content-Length', String(bytes.length)]],
    body: isHead ? new Uint8Array(0) : bytes,
  })
}
