/**
 * A request in the question: where its URL leads, and what became of it.
 *
 * The destination is the one that was given, else what the URL's host is for the source; a name that only an Ingress or a
 * route knows is taken to be the address of the Service in front of the controller, as the DNS outside would have it.
 */
import { parseIpv4 } from '../addr/index.ts'
import type { HttpRun } from '../apps/http-client.ts'
import { type HttpUrl, hostHeader, parseUrl } from '../apps/url.ts'
import type { Cluster } from '../cluster/build.ts'
import type { HttpDecision } from '../cluster/ingress-server.ts'
import { type Diagnostics, NO_POSITION } from '../diagnostics/diagnostic.ts'
import { gatewayHostMatches, type Listener, type RouteSpec } from '../ingress/gateway-objects.ts'
import { hostMatches, type IngressSpec } from '../ingress/objects.ts'
import { controllerPods } from '../ingress/registry.ts'
import { resolveName } from '../kubernetes/dns.ts'
import { matchesMap } from '../kubernetes/selector.ts'
import { keyOf } from '../kubernetes/services.ts'
import type { Service } from '../kubernetes/types.ts'
import type { HttpRequest } from '../wire/http.ts'
import { findTarget } from './target.ts'
import type { TraceQuestion } from './trace.ts'
import type { TraceHttp } from './trace-types.ts'

/** Fills in the destination of a question with a request. */
export function withHttpDestination(
  cluster: Cluster,
  question: TraceQuestion,
  diagnostics: Diagnostics,
): { readonly question: TraceQuestion; readonly notes: readonly string[] } {
  if (question.http === undefined) return { question, notes: [] }
  const url = parseUrl(question.http.url)
  if (url === null) {
    const message = `expected an http or https URL, found "${question.http.url}"`
    diagnostics.error('unresolvable', NO_POSITION, message, {
      hint: 'for example --http GET https://shop.example.com/api',
    })
    return { question, notes: [] }
  }
  if (question.dst !== '') return { question, notes: [] }
  const known = `${url.host}:${url.port}`
  const source = findTarget(cluster, question.src, question.namespace).target
  const client = source?.pod ?? { namespace: question.namespace }
  const isName = parseIpv4(url.host) === null
  if (!isName || (source?.pod !== undefined && resolveName(cluster.model, client, url.host).status === 'NOERROR'))
    return { question: { ...question, dst: known }, notes: [] }
  const front = frontOf(cluster, url, source?.kind === 'host')
  if (front === null) return { question: { ...question, dst: known }, notes: [] }
  return {
    question: { ...question, dst: `${front.ip}:${url.port}` },
    notes: [`${url.host} is taken to be ${front.ip}, Service ${front.service}: ${front.why}`],
  }
}

/** The Service in front of a controller that serves the host of a URL. */
function frontOf(
  cluster: Cluster,
  url: HttpUrl,
  isOutside: boolean,
): { ip: string; service: string; why: string } | null {
  const why = hostOwner(cluster, url.host.toLowerCase())
  if (why === null) return null
  const pods = controllerPods(cluster.model)
  const fronts = cluster.model.services
    .map((s) => s.object)
    .filter((s) => {
      const { selector, ports } = s.spec
      const isAhead = pods.some((p) => p.namespace === s.metadata.namespace && matchesMap(selector ?? {}, p.labels))
      return selector !== undefined && isAhead && ports?.some((p) => p.port === url.port)
    })
  const balancer = (s: Service): string | undefined => s.status?.loadBalancer?.ingress?.[0]?.ip
  const best = fronts.find((s) => balancer(s) !== undefined) ?? (isOutside ? undefined : fronts[0])
  if (best === undefined) return null
  const ip = balancer(best) ?? best.spec.clusterIP
  return ip === undefined || ip === 'None' ? null : { ip, service: keyOf(best), why }
}

/** Which object names a host, in words; null when none does. */
function hostOwner(cluster: Cluster, host: string): string | null {
  for (const { object } of cluster.model.otherObjects) {
    const name = `${object.kind} ${object.metadata.namespace}/${object.metadata.name}`
    const spec = object.spec as (IngressSpec & RouteSpec & { listeners?: Listener[] }) | undefined
    if (object.kind === 'Ingress' && spec?.rules?.some((r) => (r.host ?? '') !== '' && hostMatches(r.host!, host)))
      return `${name} has that host`
    const isRoute = object.kind === 'HTTPRoute' || object.kind === 'TLSRoute'
    if (isRoute && spec?.hostnames?.some((h) => gatewayHostMatches(h, host))) return `${name} has that hostname`
    if (
      object.kind === 'Gateway' &&
      spec?.listeners?.some((l) => (l.hostname ?? '') !== '' && gatewayHostMatches(l.hostname!, host))
    )
      return `${name} has a listener of that hostname`
  }
  return null
}

/** The request that a client sends for a URL. */
export function httpRequestOf(http: NonNullable<TraceQuestion['http']>): {
  request: HttpRequest
  serverName: string | null
} {
  const url = parseUrl(http.url)!
  const headers = [
    ['Host', hostHeader(url)],
    ['User-Agent', 'podwalk'],
    ['Accept', '*/*'],
  ] as const
  const isNamed = parseIpv4(url.host) === null
  return {
    request: { method: http.method, target: url.target, headers, body: new Uint8Array(0) },
    serverName: url.scheme === 'http' ? null : isNamed ? url.host.toLowerCase() : '',
  }
}

/** The `http` of a trace. */
export function httpResult(
  http: NonNullable<TraceQuestion['http']>,
  run: HttpRun,
  decisions: readonly HttpDecision[],
): TraceHttp {
  const { response, errno, tlsFailure, done } = run
  const failure =
    response !== null
      ? null
      : tlsFailure !== null
        ? `TLS: ${tlsFailure}`
        : errno !== 0
          ? `the connection ended with errno ${-errno}`
          : done
            ? 'the server closed the connection without an answer'
            : 'no answer came in time'
  return {
    ...{ method: http.method, url: http.url, serverName: httpRequestOf(http).serverName },
    ...{ status: response?.status ?? null, reason: response?.reason ?? null },
    body: response === null ? null : new TextDecoder().decode(response.body.subarray(0, BODY_BYTES)),
    failure,
    decisions: decisions.map((d) => ({ ...d })),
  }
}

/** As much of a body as a trace shows. */
const BODY_BYTES = 2048
