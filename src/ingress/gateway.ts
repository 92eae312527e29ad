/**
 * The Gateway API: listener, route, rule, filters, backend, with the precedence of the specification.
 *
 * The listener with the most specific hostname on the port takes the request (the server name, under TLS); among its
 * HTTPRoutes the most specific hostname, then Exact path, longest prefix, method, headers, query parameters, then age and
 * name of the route, then the order of rules. RequestHeaderModifier, ResponseHeaderModifier, RequestRedirect, URLRewrite;
 * weights by chance; a reference that does not resolve or is not granted takes its share of 500s, no endpoint is 503, no
 * rule 404. Passthrough by TLSRoute.
 * Not modelled, and said so: RequestMirror, ExtensionRef, CORS, timeouts, retries, GRPCRoute, BackendTLSPolicy.
 * Sources: gateway-api 1.3 apis/v1/{httproute,gateway}_types.go, geps/gep-1364, conformance/tests.
 */
import type { ClusterModel, LoadedObject } from '../kubernetes/types.ts'
import { type HttpHeader, type HttpRequest, headerOf } from '../wire/http.ts'
import { findBackend, problemText } from './backend.ts'
import {
  type BackendRef,
  type Filter,
  gatewayHostMatches,
  type HeaderModifier,
  intersectHosts,
  isGranted,
  type Listener,
  type PathModifier,
  type RouteMatch,
  type RouteSpec,
  routesOf,
} from './gateway-objects.ts'
import { originOf, pathOfTarget, prefixMatches } from './objects.ts'
import type { Asked, Decision, Draw, RouteOrigin, TlsDecision } from './types.ts'

const REDIRECT_STATUS = 302
const KNOWN_FILTERS: ReadonlySet<string> = new Set([
  ...['RequestHeaderModifier', 'ResponseHeaderModifier', 'RequestRedirect', 'URLRewrite'],
])

/** A rule that matches, with what its precedence is made of. */
interface Candidate {
  readonly route: LoadedObject
  readonly rule: number
  readonly matchIndex: number
  readonly match: RouteMatch
  readonly rank: readonly number[]
}

/** Decides for one Gateway. */
export class GatewayRouter {
  readonly gateway: LoadedObject
  private readonly model: ClusterModel
  private readonly draw: Draw

  constructor(model: ClusterModel, gateway: LoadedObject, draw: Draw) {
    this.model = model
    this.gateway = gateway
    this.draw = draw
  }

  get listeners(): readonly Listener[] {
    return (this.gateway.object.spec as { listeners: Listener[] }).listeners
  }

  /** What becomes of a TLS connection on a listener port. */
  decideTls(serverName: string | null, port: number): TlsDecision {
    const listener = this.listenerFor(port, serverName ?? '', ['HTTPS', 'TLS'])
    const name = serverName ?? '(no name)'
    if (listener === null)
      return { action: 'refuse', origin: null, why: `no listener on port ${port} has the name ${name}` }
    if (listener.protocol === 'HTTPS' || listener.tls?.mode !== 'Passthrough') return { action: 'terminate' }
    for (const route of routesOf(this.model, this.gateway, listener, 'TLSRoute')) {
      const spec = route.object.spec as RouteSpec
      const hosts = spec.hostnames?.length ? spec.hostnames : [listener.hostname ?? '']
      if (!hosts.some((h) => gatewayHostMatches(h, serverName ?? ''))) continue
      const origin = originOf(route, ['spec', 'rules', 0])
      const picked = this.pick(route, spec.rules?.[0]?.backendRefs ?? [], ['spec', 'rules', 0], 'TLSRoute')
      if ('problem' in picked) return { action: 'refuse', origin, why: picked.problem }
      return { action: 'passthrough', origin: picked.origin, service: picked.service, upstreams: picked.upstreams }
    }
    return { action: 'refuse', origin: null, why: `no TLSRoute of listener ${listener.name} has the name ${name}` }
  }

  /** What becomes of a request; `port` is the listener's. */
  decide(asked: Asked, port: number): Decision {
    const name = asked.isTls ? (asked.serverName ?? asked.host) : asked.host
    const listener = this.listenerFor(port, name, asked.isTls ? ['HTTPS', 'TLS'] : ['HTTP'])
    if (listener === null) return answer(404, null, `no listener on port ${port} has the hostname ${name}`)
    const found = this.candidates(listener, asked)[0]
    if (found === undefined) {
      const uri = pathOfTarget(asked.request.target)
      return answer(
        404,
        null,
        `no rule of listener ${listener.name} matches ${asked.request.method} ${asked.host}${uri}`,
      )
    }
    return this.apply(found, asked, port)
  }

  /** Most specific hostname: exact, then the longest wildcard, then none. */
  private listenerFor(port: number, host: string, protocols: readonly string[]): Listener | null {
    const fitting = this.listeners.filter(
      (l) => l.port === port && protocols.includes(l.protocol) && gatewayHostMatches(l.hostname ?? '', host),
    )
    const rank = (l: Listener): number => specificity(l.hostname ?? '')
    return [...fitting].sort((a, b) => rank(b) - rank(a))[0] ?? null
  }

  private candidates(listener: Listener, asked: Asked): Candidate[] {
    const out: Candidate[] = []
    for (const [age, route] of routesOf(this.model, this.gateway, listener, 'HTTPRoute').entries()) {
      const spec = route.object.spec as RouteSpec
      const hosts = (spec.hostnames?.length ? spec.hostnames : [listener.hostname ?? '']).flatMap(
        (h) => intersectHosts(listener.hostname, h) ?? [],
      )
      const matching = hosts.filter((h) => gatewayHostMatches(h, asked.host)).map(specificity)
      if (matching.length === 0) continue
      for (const [rule, { matches }] of (spec.rules ?? [{}]).entries()) {
        for (const [matchIndex, match] of (matches?.length ? matches : [{}]).entries()) {
          if (!requestMatches(match, asked.request)) continue
          const type = match.path?.type ?? 'PathPrefix'
          const length = (match.path?.value ?? '/').length
          const rank = [
            ...[Math.max(...matching), type === 'Exact' ? 1 : 0, length, match.method === undefined ? 0 : 1],
            ...[match.headers?.length ?? 0, match.queryParams?.length ?? 0, -age, -rule, -matchIndex],
          ]
          out.push({ route, rule, matchIndex, match, rank })
        }
      }
    }
    return out.sort((a, b) => {
      const at = a.rank.findIndex((r, i) => r !== b.rank[i])
      return at < 0 ? 0 : b.rank[at]! - a.rank[at]!
    })
  }

  private apply(c: Candidate, asked: Asked, port: number): Decision {
    const spec = c.route.object.spec as RouteSpec
    const rule = spec.rules?.[c.rule] ?? {}
    const hasMatches = (rule.matches?.length ?? 0) > 0
    const origin = originOf(c.route, ['spec', 'rules', c.rule, ...(hasMatches ? ['matches', c.matchIndex] : [])])
    const filters = rule.filters ?? []
    const odd = filters.find((f) => !KNOWN_FILTERS.has(f.type))
    if (odd !== undefined) return { action: 'unmodelled', what: `HTTPRoute filter ${odd.type}`, origin }
    const redirect = filters.find((f) => f.type === 'RequestRedirect')
    if (redirect !== undefined) return redirectTo(redirect, c.match, asked, port, origin)
    const picked = this.pick(c.route, rule.backendRefs ?? [], ['spec', 'rules', c.rule], 'HTTPRoute')
    if ('problem' in picked) return answer(picked.status, picked.origin ?? origin, picked.problem)
    const all = [...filters, ...(picked.ref.filters ?? [])]
    const forwarded: HttpHeader[] = [
      ...asked.request.headers.filter(([n]) => !/^(?:connection|x-forwarded-(?:for|proto))$/i.test(n)),
      ['X-Forwarded-For', asked.client],
      ['X-Forwarded-Proto', asked.isTls ? 'https' : 'http'],
    ]
    let request: HttpRequest = { ...asked.request, headers: forwarded }
    for (const f of all) request = filtered(request, f, c.match)
    const modifiers = all.flatMap((f) => (f.type === 'ResponseHeaderModifier' ? (f.responseHeaderModifier ?? []) : []))
    return {
      ...{ action: 'forward', origin, service: picked.service, upstreams: picked.upstreams, request },
      isTlsUpstream: false,
      responseHeaders: (headers) => modifiers.reduce(modified, headers),
    }
  }

  /** A backend by weight, and its endpoints in a random order. */
  private pick(
    route: LoadedObject,
    refs: readonly BackendRef[],
    path: readonly (string | number)[],
    kind: string,
  ):
    | { ref: BackendRef; service: string; upstreams: readonly { ip: string; port: number }[]; origin: RouteOrigin }
    | { problem: string; status: number; origin: RouteOrigin | null } {
    const weight = (r: BackendRef): number => r.weight ?? 1
    const total = refs.reduce((n, r) => n + weight(r), 0)
    if (total === 0) return { problem: 'the rule has no backend of a weight above 0', status: 500, origin: null }
    let at = refs.length === 1 ? 0 : this.draw(total)
    const index = refs.findIndex((r) => {
      at -= weight(r)
      return at < 0
    })
    const ref = refs[index]!
    const origin = originOf(route, [...path, 'backendRefs', index])
    const from = route.object.metadata.namespace ?? 'default'
    const namespace = ref.namespace ?? from
    if ((ref.kind ?? 'Service') !== 'Service')
      return { problem: `InvalidKind: a backend of kind ${ref.kind}`, status: 500, origin }
    if (!isGranted(this.model, kind, from, namespace, ref.name)) {
      const problem = `RefNotPermitted: no ReferenceGrant in ${namespace} lets ${kind}s of ${from} refer to Service ${ref.name}`
      return { problem, status: 500, origin }
    }
    const backend = findBackend(this.model, namespace, ref.name, ref.port)
    if (backend.problem !== null)
      return { problem: problemText(backend), status: backend.problem === 'no-endpoints' ? 503 : 500, origin }
    const n = backend.upstreams.length
    const start = this.draw(n)
    const upstreams = backend.upstreams.map((_, i) => backend.upstreams[(start + i) % n]!)
    return { ref, service: backend.service, upstreams, origin }
  }
}

/** An exact name is above any wildcard, a longer one above a shorter. */
function specificity(hostname: string): number {
  if (hostname === '') return 0
  return hostname.startsWith('*.') ? hostname.length : 1000 + hostname.length
}

/** Whether a request fits a match: all of it. */
export function requestMatches(match: RouteMatch, request: HttpRequest): boolean {
  const uri = pathOfTarget(request.target)
  const { type = 'PathPrefix', value = '/' } = match.path ?? {}
  const fits = (t: string | undefined, wanted: string, actual: string | null): boolean => {
    if (actual === null) return false
    return t === 'RegularExpression' ? new RegExp(`^(?:${wanted})$`).test(actual) : wanted === actual
  }
  if (type === 'Exact' && uri !== value) return false
  if (type === 'PathPrefix' && !prefixMatches(value, uri)) return false
  if (type === 'RegularExpression' && !new RegExp(`^(?:${value})$`).test(uri)) return false
  if (match.method !== undefined && match.method !== request.method) return false
  const query = new URLSearchParams(request.target.slice(uri.length))
  return (
    (match.headers ?? []).every((h) => fits(h.type, h.value, headerOf(request.headers, h.name))) &&
    (match.queryParams ?? []).every((q) => fits(q.type, q.value, query.get(q.name)))
  )
}

function modified(headers: readonly HttpHeader[], m: HeaderModifier): readonly HttpHeader[] {
  const is =
    (name: string) =>
    ([n]: HttpHeader) =>
      n.toLowerCase() === name.toLowerCase()
  let out = headers
  for (const { name, value } of m.set ?? []) out = [...out.filter((h) => !is(name)(h)), [name, value]]
  for (const { name, value } of m.add ?? []) {
    const old = headerOf(out, name)
    out = [...out.filter((h) => !is(name)(h)), [name, old === null ? value : `${old},${value}`]]
  }
  for (const name of m.remove ?? []) out = out.filter((h) => !is(name)(h))
  return out
}

function filtered(request: HttpRequest, f: Filter, match: RouteMatch): HttpRequest {
  if (f.type === 'RequestHeaderModifier' && f.requestHeaderModifier !== undefined)
    return { ...request, headers: modified(request.headers, f.requestHeaderModifier) }
  if (f.type !== 'URLRewrite' || f.urlRewrite === undefined) return request
  const { hostname, path } = f.urlRewrite
  const headers =
    hostname === undefined ? request.headers : modified(request.headers, { set: [{ name: 'Host', value: hostname }] })
  return { ...request, headers, target: path === undefined ? request.target : newTarget(request.target, path, match) }
}

function newTarget(target: string, m: PathModifier, match: RouteMatch): string {
  const uri = pathOfTarget(target)
  const query = target.slice(uri.length)
  if (m.type === 'ReplaceFullPath') return `${m.replaceFullPath || '/'}${query}`
  const prefix = (match.path?.value ?? '/').replace(/\/$/, '')
  const rest = uri.slice(prefix.length)
  const head = (m.replacePrefixMatch ?? '').replace(/\/$/, '')
  const joined = `${head}${rest.startsWith('/') || rest === '' ? rest : `/${rest}`}`
  return `${joined === '' ? '/' : joined}${query}`
}

function redirectTo(f: Filter, match: RouteMatch, asked: Asked, port: number, origin: RouteOrigin): Decision {
  const r = f.requestRedirect ?? {}
  const scheme = r.scheme ?? (asked.isTls ? 'https' : 'http')
  // without a port of its own: that of the scheme if the scheme changes, else the listener's
  const wanted = r.port ?? (r.scheme === undefined ? port : r.scheme === 'https' ? 443 : 80)
  const shown = wanted === (scheme === 'https' ? 443 : 80) ? '' : `:${wanted}`
  const target = r.path === undefined ? asked.request.target : newTarget(asked.request.target, r.path, match)
  const location: HttpHeader = ['Location', `${scheme}://${r.hostname ?? asked.host}${shown}${target}`]
  return { ...answer(r.statusCode ?? REDIRECT_STATUS, origin, 'RequestRedirect'), headers: [location] }
}

function answer(status: number, origin: RouteOrigin | null, why: string): Extract<Decision, { action: 'respond' }> {
  return { action: 'respond', status, headers: [], body: '', origin, why }
}
