/**
 * ingress-nginx: Ingress to servers and locations of nginx, and the location that nginx chooses.
 *
 * A host is a server: exact name, else a wildcard of one label, else the default server. Exact is `location = /p`; Prefix
 * is `= /p` and `/p/`; ImplementationSpecific is nginx's own prefix `/p`, which also takes /pq. With use-regex or
 * rewrite-target on any Ingress of a host all its paths are `~* "^/p"`, longest first, without regard to case. TLS brings
 * 308 to https; no rule is the default backend's 404; a Service without endpoints is 503. Upstreams are endpoints, or the
 * ClusterIP with service-upstream; passthrough is by SNI when --enable-ssl-passthrough is given.
 * Not modelled, and said so: canary, authentication, snippets, mirrors, affinity; certificates.
 * Sources: kubernetes/ingress-nginx internal/ingress/controller/{controller,location}.go, template/template.go (1.12).
 */
import { cidrContainsIpv4, parseIpv4, parseIpv4Cidr } from '../addr/index.ts'
import type { ClusterModel, LoadedObject, PodModel } from '../kubernetes/types.ts'
import { HTTP_REASONS, type HttpHeader, type HttpRequest, headerOf } from '../wire/http.ts'
import { type Backend, findBackend, problemText } from './backend.ts'
import {
  hostMatches,
  type IngressBackend,
  type IngressPath,
  type IngressSpec,
  ingressesOf,
  originOf,
  pathOfTarget,
  pathsOf,
  tlsHosts,
} from './objects.ts'
import type { Asked, Controller, Decision, Draw, ErrorPage, RouteOrigin, TlsDecision } from './types.ts'

const PREFIX = 'nginx.ingress.kubernetes.io/'
const CONNECT_TIMEOUT_S = 5
const TRIES = 3
const ACME = '/.well-known/acme-challenge'
/** Annotations that change what becomes of a request in ways that are not followed. */
const UNMODELLED =
  /^(?:canary|auth-(?:url|type|tls-secret)|.*snippet|mirror-target|affinity|enable-modsecurity|upstream-hash-by|custom-http-errors|default-backend)$/

interface Location {
  readonly modifier: '=' | '' | '~*'
  readonly path: string
  readonly from: IngressPath
}

/** The controller in a pod. */
export function ingressNginx(model: ClusterModel, pod: PodModel, draw: Draw): Controller {
  const args = pod.spec.containers.flatMap((c) => [...((c.args as string[]) ?? []), ...((c.command as string[]) ?? [])])
  const option = (name: string): string | undefined => args.find((a) => a.startsWith(`--${name}=`))?.split('=')[1]
  const ids = [option('controller-class') ?? 'k8s.io/ingress-nginx']
  const has = (name: string): boolean => args.some((a) => a === `--${name}` || a === `--${name}=true`)
  const takesUnclassed = has('watch-ingress-without-class')
  const ingresses = ingressesOf(model, ids, option('ingress-class') ?? 'nginx', takesUnclassed)
  const nginx = new IngressNginx(model, ingresses, draw)
  const isPassing = has('enable-ssl-passthrough')
  return {
    name: 'ingress-nginx',
    ports: new Map([
      [Number(option('http-port') ?? 80), false],
      [Number(option('https-port') ?? 443), true],
    ]),
    connectTimeoutS: CONNECT_TIMEOUT_S,
    tries: TRIES,
    decide: (asked) => nginx.decide(asked),
    decideTls: (name) => (isPassing ? nginx.passthrough(name) : { action: 'terminate' }),
    errorPage: nginxPage,
  }
}

class IngressNginx {
  private readonly model: ClusterModel
  private readonly ingresses: readonly LoadedObject[]
  private readonly paths: readonly IngressPath[]
  private readonly draw: Draw
  private readonly turns = new Map<string, number>()

  constructor(model: ClusterModel, ingresses: readonly LoadedObject[], draw: Draw) {
    this.model = model
    this.ingresses = ingresses
    this.paths = pathsOf(ingresses)
    this.draw = draw
  }

  decide(asked: Asked): Decision {
    const server = this.serverOf(asked.host)
    const own = this.paths.filter((p) => p.host === server)
    const uri = pathOfTarget(asked.request.target)
    const location = chooseLocation(own, uri)
    if (location === null) return this.defaultBackend(asked, server)
    const { from } = location
    const annotation = (name: string): string | undefined => from.annotations[`${PREFIX}${name}`]
    const odd = Object.keys(from.annotations).find(
      (k) => k.startsWith(PREFIX) && UNMODELLED.test(k.slice(PREFIX.length)),
    )
    if (odd !== undefined) return { action: 'unmodelled', what: `annotation ${odd}`, origin: from.origin }
    if (own.some((p) => p.annotations[`${PREFIX}canary`] === 'true'))
      return { action: 'unmodelled', what: `a canary Ingress for host ${server}`, origin: from.origin }
    const allowed = annotation('whitelist-source-range') ?? annotation('allowlist-source-range')
    if (allowed !== undefined && !isInRanges(asked.client, allowed))
      return page(403, from.origin, `${asked.client} is not in ${PREFIX}whitelist-source-range`)
    const redirect = this.redirectOf(asked, from, server, uri)
    if (redirect !== null) return redirect
    const isRegex = location.modifier === '~*'
    const target = annotation('rewrite-target')
    const request = target === undefined ? asked.request : rewritten(asked.request, location.path, target, isRegex)
    return this.forward(asked, request, from.namespace, from.backend, from.origin, annotation)
  }

  /** SNI of the first ClientHello, before nginx: to the backend of the host's root. */
  passthrough(name: string | null): TlsDecision {
    const from = this.paths.find(
      (p) =>
        p.host !== '' &&
        name !== null &&
        hostMatches(p.host, name) &&
        p.annotations[`${PREFIX}ssl-passthrough`] === 'true',
    )
    if (from === undefined) return { action: 'terminate' }
    const backend = this.backendOf(from.namespace, from.backend, false)
    return { action: 'passthrough', origin: from.origin, service: backend.service, upstreams: this.rotated(backend) }
  }

  /** server_name: exact, wildcard, default. */
  private serverOf(host: string): string {
    const hosts = new Set(this.paths.map((p) => p.host))
    if (hosts.has(host)) return host
    const aliases = this.paths.find((p) =>
      (p.annotations[`${PREFIX}server-alias`] ?? '').split(/\s*,\s*/).includes(host),
    )
    if (aliases !== undefined && host !== '') return aliases.host
    return [...hosts].find((h) => h.startsWith('*.') && hostMatches(h, host)) ?? ''
  }

  private redirectOf(asked: Asked, from: IngressPath, server: string, uri: string): Decision | null {
    const annotation = (name: string): string | undefined => from.annotations[`${PREFIX}${name}`]
    const root = annotation('app-root')
    if (root !== undefined && uri === '/') return page(302, from.origin, `${PREFIX}app-root`, [['Location', root]])
    for (const [name, status] of [
      ['permanent-redirect', 301],
      ['temporal-redirect', 302],
    ] as const) {
      const to = annotation(name)
      if (to !== undefined) return page(status, from.origin, `${PREFIX}${name}`, [['Location', to]])
    }
    if (asked.isTls || uri.startsWith(ACME)) return null
    const hasTls = [...tlsHosts(this.ingresses)].some((h) => hostMatches(h, server) && h !== '')
    const isForced = annotation('force-ssl-redirect') === 'true'
    if (!isForced && (!hasTls || annotation('ssl-redirect') === 'false')) return null
    const why = isForced ? `${PREFIX}force-ssl-redirect` : `host ${server} has TLS: ssl-redirect`
    return page(308, from.origin, why, [['Location', `https://${asked.host}${asked.request.target}`]])
  }

  private defaultBackend(asked: Asked, server: string): Decision {
    for (const ingress of this.ingresses) {
      const spec = ingress.object.spec as IngressSpec
      const backend = spec.defaultBackend
      const isOwn = (spec.rules ?? []).length === 0 || (spec.rules ?? []).some((r) => (r.host ?? '') === server)
      if (backend?.service === undefined || !isOwn) continue
      const origin = originOf(ingress, ['spec', 'defaultBackend'])
      return this.forward(
        asked,
        asked.request,
        ingress.object.metadata.namespace ?? 'default',
        backend,
        origin,
        () => undefined,
      )
    }
    const what = server === '' ? `no Ingress has host ${asked.host || '(none)'}` : `no path of host ${server}`
    return page(404, null, `${what} matches ${pathOfTarget(asked.request.target)}: the default backend answers`)
  }

  private backendOf(namespace: string, backend: IngressBackend, isByService: boolean): Backend {
    const { name, port } = backend.service ?? { name: '' }
    return findBackend(this.model, namespace, name, port?.number ?? port?.name, isByService)
  }

  private forward(
    asked: Asked,
    request: HttpRequest,
    namespace: string,
    ref: IngressBackend,
    origin: RouteOrigin,
    annotation: (name: string) => string | undefined,
  ): Decision {
    const backend = this.backendOf(namespace, ref, annotation('service-upstream') === 'true')
    if (backend.problem === 'external-name')
      return { action: 'unmodelled', what: `ingress-nginx to an ExternalName Service (${backend.service})`, origin }
    if (backend.problem !== null) return page(503, origin, problemText(backend))
    const host = annotation('upstream-vhost') ?? headerOf(request.headers, 'Host') ?? asked.host
    const scheme = asked.isTls ? 'https' : 'http'
    const skip = /^(?:host|connection|x-request-id|x-real-ip|x-forwarded-(?:for|host|port|proto|scheme)|x-scheme)$/i
    const headers: HttpHeader[] = [
      ['Host', host],
      ['X-Request-ID', Array.from({ length: 32 }, () => this.draw(16).toString(16)).join('')],
      ['X-Real-IP', asked.client],
      ['X-Forwarded-For', asked.client],
      ['X-Forwarded-Host', headerOf(asked.request.headers, 'Host') ?? asked.host],
      ['X-Forwarded-Port', asked.isTls ? '443' : '80'],
      ['X-Forwarded-Proto', scheme],
      ['X-Forwarded-Scheme', scheme],
      ['X-Scheme', scheme],
      ...request.headers.filter(([n]) => !skip.test(n)),
    ]
    const isTlsUpstream = /^(?:HTTPS|GRPCS)$/i.test(annotation('backend-protocol') ?? '')
    const upstreams = this.rotated(backend)
    return {
      action: 'forward',
      origin,
      service: backend.service,
      upstreams,
      request: { ...request, headers },
      isTlsUpstream,
    }
  }

  /** round_robin of the Lua balancer: a random start, then in turn. */
  private rotated(backend: Backend): Backend['upstreams'] {
    const n = backend.upstreams.length
    if (n === 0) return []
    const turn = this.turns.get(backend.service) ?? this.draw(n)
    this.turns.set(backend.service, turn + 1)
    return backend.upstreams.map((_, i) => backend.upstreams[(turn + i) % n]!)
  }
}

/** The locations of one server in the order of the configuration: long paths first. */
export function locationsOf(paths: readonly IngressPath[]): Location[] {
  const isRegex = paths.some(
    (p) => p.annotations[`${PREFIX}use-regex`] === 'true' || p.annotations[`${PREFIX}rewrite-target`] !== undefined,
  )
  const seen = new Set<string>()
  const out: Location[] = []
  const add = (modifier: Location['modifier'], path: string, from: IngressPath): void => {
    const key = `${modifier} ${path}`
    if (seen.has(key)) return
    seen.add(key)
    out.push({ modifier: isRegex ? '~*' : modifier, path, from })
  }
  for (const from of paths) {
    const bare = from.path.replace(/\/+$/, '')
    if (from.pathType === 'Exact') add('=', from.path, from)
    else if (from.pathType === 'ImplementationSpecific' || bare === '') add('', from.path, from)
    else {
      add('', `${bare}/`, from)
      add('=', bare, from)
    }
  }
  return out.sort((a, b) => b.path.length - a.path.length || (a.path > b.path ? -1 : a.path < b.path ? 1 : 0))
}

/** The location that nginx takes for a URI: exact, longest prefix; of regular expressions the first that matches. */
export function chooseLocation(paths: readonly IngressPath[], uri: string): Location | null {
  const all = locationsOf(paths)
  const exact = all.find((l) => l.modifier === '=' && l.path === uri)
  if (exact !== undefined) return exact
  const expression = all.find((l) => l.modifier === '~*' && safeRegex(`^${l.path}`)?.test(uri))
  if (expression !== undefined) return expression
  return all.find((l) => l.modifier === '' && uri.startsWith(l.path)) ?? null
}

function safeRegex(source: string): RegExp | null {
  try {
    return new RegExp(source, 'i')
  } catch {
    // PCRE that JavaScript does not read: nginx would refuse much of it too; the path then matches nothing.
    return null
  }
}

/** rewrite "(?i)PATH" TARGET break; the query stays. */
function rewritten(request: HttpRequest, path: string, target: string, isRegex: boolean): HttpRequest {
  const uri = pathOfTarget(request.target)
  const match = isRegex ? safeRegex(path)?.exec(uri) : null
  if (match == null) return request
  const filled = target.replaceAll(/\$(\d)/g, (_, n: string) => match[Number(n)] ?? '')
  return { ...request, target: `${filled.startsWith('/') ? '' : '/'}${filled}${request.target.slice(uri.length)}` }
}

function isInRanges(client: string, ranges: string): boolean {
  const ip = parseIpv4(client)
  return ranges.split(',').some((r) => {
    const cidr = parseIpv4Cidr(r.trim())
    return ip !== null && cidr !== null && cidrContainsIpv4(cidr, ip)
  })
}

function page(status: number, origin: RouteOrigin | null, why: string, more: readonly HttpHeader[] = []): Decision {
  const { headers, body, reason } = nginxPage(status)
  return { action: 'respond', status, reason: reason!, headers: [...headers, ...more], body, origin, why }
}

/** Reason phrases in which nginx differs. */
const NGINX_REASONS: { readonly [status: number]: string } = {
  302: 'Moved Temporarily',
  503: 'Service Temporarily Unavailable',
  504: 'Gateway Time-out',
}

/** nginx' own page for a status; the server's name and version are hidden. */
export function nginxPage(status: number): ErrorPage {
  const reason = NGINX_REASONS[status] ?? HTTP_REASONS[status] ?? ''
  const title = status === 302 ? '302 Found' : `${status} ${reason}`
  const body = `<html>\r\n<head><title>${title}</title></head>\r\n<body>\r\n<center><h1>${title}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n`
  return { headers: [['Content-Type', 'text/html']], body, reason }
}
