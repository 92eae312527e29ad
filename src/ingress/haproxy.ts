/**
 * HAProxy Kubernetes Ingress Controller (haproxytech): maps of hosts and paths.
 *
 * Exact paths first, then a Prefix path itself, then prefixes by length; Prefix by path elements, ImplementationSpecific by
 * characters. A host without a matching path tries the rules without host. TLS brings 302 to https; no match is the default
 * local service's 404, no endpoint 503. Upstreams are endpoints.
 * Not modelled, and said so: annotations that change routing, TCP services, passthrough.
 * Sources: haproxytech/kubernetes-ingress pkg/route/route.go, pkg/annotations (1.11).
 */
import type { ClusterModel, PodModel } from '../kubernetes/types.ts'
import type { HttpHeader } from '../wire/http.ts'
import { findBackend, problemText } from './backend.ts'
import {
  hostMatches,
  type IngressPath,
  type IngressSpec,
  ingressesOf,
  originOf,
  pathOfTarget,
  pathsOf,
  tlsHosts,
} from './objects.ts'
import type { Asked, Controller, Decision, Draw, RouteOrigin } from './types.ts'

const CONNECT_TIMEOUT_S = 5
const TRIES = 3
const UNMODELLED =
  /^haproxy\.org\/(?:auth-|path-rewrite|request-redirect|route-acl|server-snippet|backend-config-snippet|ssl-passthrough|deny-list|allow-list)/

/** The controller in a pod. */
export function haproxyIngress(model: ClusterModel, pod: PodModel, draw: Draw): Controller {
  const args = pod.spec.containers.flatMap((c) => (c.args as string[]) ?? [])
  const option = (name: string): string | undefined => args.find((a) => a.startsWith(`--${name}=`))?.split('=')[1]
  const ingresses = ingressesOf(
    model,
    ['haproxy.org/ingress-controller/haproxy', 'haproxy.org/ingress-controller'],
    option('ingress.class') ?? 'haproxy',
    option('ingress.class') === undefined || args.includes('--empty-ingress-class'),
  )
  const paths = pathsOf(ingresses)
  const secure = tlsHosts(ingresses)
  let turn = 0
  const forward = (asked: Asked, namespace: string, ref: IngressPath['backend'], origin: RouteOrigin): Decision => {
    const { name, port } = ref.service ?? { name: '' }
    const backend = findBackend(model, namespace, name, port?.number ?? port?.name)
    if (backend.problem === 'external-name')
      return { action: 'unmodelled', what: `HAProxy to an ExternalName Service (${backend.service})`, origin }
    if (backend.problem !== null) return haproxyAnswer(503, origin, problemText(backend))
    const n = backend.upstreams.length
    const start = turn++ + draw(n)
    const upstreams = backend.upstreams.map((_, i) => backend.upstreams[(start + i) % n]!)
    const headers: HttpHeader[] = [
      ...asked.request.headers.filter(([h]) => !/^(?:connection|x-forwarded-)/i.test(h)),
      ['X-Forwarded-For', asked.client],
      ['X-Forwarded-Proto', asked.isTls ? 'https' : 'http'],
    ]
    return {
      action: 'forward',
      origin,
      service: backend.service,
      upstreams,
      request: { ...asked.request, headers },
      isTlsUpstream: false,
    }
  }
  return {
    name: 'haproxy',
    ports: new Map([
      [Number(option('http-bind-port') ?? 8080), false],
      [Number(option('https-bind-port') ?? 8443), true],
    ]),
    connectTimeoutS: CONNECT_TIMEOUT_S,
    tries: TRIES,
    decideTls: () => ({ action: 'terminate' }),
    decide(asked) {
      const uri = pathOfTarget(asked.request.target)
      const chosen = choosePath(paths, asked.host, uri)
      if (chosen === null) {
        const ingress = ingresses.find((i) => (i.object.spec as IngressSpec).defaultBackend !== undefined)
        if (ingress === undefined)
          return haproxyAnswer(404, null, `no path matches ${asked.host}${uri}: the default local service answers`)
        const ref = (ingress.object.spec as IngressSpec).defaultBackend!
        return forward(
          asked,
          ingress.object.metadata.namespace ?? 'default',
          ref,
          originOf(ingress, ['spec', 'defaultBackend']),
        )
      }
      const odd = Object.keys(chosen.annotations).find((k) => UNMODELLED.test(k))
      if (odd !== undefined) return { action: 'unmodelled', what: `annotation ${odd}`, origin: chosen.origin }
      const isSecure = [...secure].some((h) => hostMatches(h, asked.host))
      if (!asked.isTls && isSecure && chosen.annotations['haproxy.org/ssl-redirect'] !== 'false') {
        const to: HttpHeader = ['Location', `https://${asked.host}${asked.request.target}`]
        return {
          ...haproxyAnswer(302, chosen.origin, `host ${asked.host} has TLS: ssl-redirect`),
          headers: [to],
          body: '',
        }
      }
      return forward(asked, chosen.namespace, chosen.backend, chosen.origin)
    },
    errorPage: (status) => pageOf(status),
  }
}

/** The path that the maps lead to. */
export function choosePath(paths: readonly IngressPath[], host: string, uri: string): IngressPath | null {
  const hosts = [
    host,
    ...new Set(paths.map((p) => p.host).filter((h) => h.startsWith('*.') && hostMatches(h, host))),
    '',
  ]
  for (const h of hosts) {
    const own = paths.filter((p) => p.host === h)
    const bare = (p: IngressPath): string => p.path.replace(/\/$/, '')
    const exact =
      own.find((p) => p.pathType === 'Exact' && p.path === uri) ??
      own.find((p) => p.pathType === 'Prefix' && bare(p) === uri)
    if (exact !== undefined) return exact
    const prefix = (p: IngressPath): string => (p.pathType === 'Prefix' ? `${bare(p)}/` : p.path)
    const matching = own.filter((p) => p.pathType !== 'Exact' && uri.startsWith(prefix(p)))
    const longest = matching.sort((a, b) => prefix(b).length - prefix(a).length)[0]
    if (longest !== undefined) return longest
  }
  return null
}

function pageOf(status: number): { headers: readonly HttpHeader[]; body: string } {
  const text: { readonly [status: number]: string } = {
    404: '<html><body><h1>404 Not Found</h1>\nThe requested URL was not found.\n</body></html>\n',
    502: '<html><body><h1>502 Bad Gateway</h1>\nThe server returned an invalid or incomplete response.\n</body></html>\n',
    503: '<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n',
    504: "<html><body><h1>504 Gateway Time-out</h1>\nThe server didn't respond in time.\n</body></html>\n",
  }
  return {
    headers: [
      ['Content-Type', 'text/html'],
      ['Cache-Control', 'no-cache'],
    ],
    body: text[status] ?? '',
  }
}

function haproxyAnswer(
  status: number,
  origin: RouteOrigin | null,
  why: string,
): Extract<Decision, { action: 'respond' }> {
  return { action: 'respond', status, ...pageOf(status), origin, why }
}
