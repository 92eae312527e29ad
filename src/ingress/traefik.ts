/**
 * Traefik v3 with the Kubernetes Ingress provider: routers by rule, the longest rule first.
 *
 * Host(`h`) && PathPrefix(`/p`) for Prefix and ImplementationSpecific (by characters: /pq matches too, unless
 * strictPrefixMatching), Path(`/p`) for Exact; the priority is the length of the rule's text. A Service that does not
 * exist, or that has no endpoint without allowEmptyServices, takes its router away: 404. Upstreams are endpoints, or the
 * ClusterIP with nativeLB.
 * Not modelled, and said so: middlewares, other entry points than web and websecure, IngressRoute objects.
 * Sources: traefik pkg/provider/kubernetes/ingress/kubernetes.go, pkg/muxer/http (v3.3).
 */
import type { ClusterModel, PodModel } from '../kubernetes/types.ts'
import type { HttpHeader } from '../wire/http.ts'
import { headerOf } from '../wire/http.ts'
import { findBackend, problemText } from './backend.ts'
import {
  hostMatches,
  type IngressPath,
  type IngressSpec,
  ingressesOf,
  originOf,
  pathOfTarget,
  pathsOf,
} from './objects.ts'
import type { Asked, Controller, Decision, Draw, RouteOrigin } from './types.ts'

const PREFIX = 'traefik.ingress.kubernetes.io/'
const DIAL_TIMEOUT_S = 30

/** Text of the router's rule; its length is the priority. */
export function traefikRule(p: Pick<IngressPath, 'host' | 'path' | 'pathType'>): string {
  const host = p.host.startsWith('*.')
    ? `HostRegexp(\`^[a-zA-Z0-9-]+\\.${p.host.slice(2).replaceAll('.', '\\.')}$\`)`
    : `Host(\`${p.host}\`)`
  const path = p.pathType === 'Exact' ? `Path(\`${p.path}\`)` : `PathPrefix(\`${p.path}\`)`
  return [...(p.host === '' ? [] : [host]), path].join(' && ')
}

/** The controller in a pod. */
export function traefik(model: ClusterModel, pod: PodModel, draw: Draw): Controller {
  const args = pod.spec.containers.flatMap((c) => (c.args as string[]) ?? []).map((a) => a.toLowerCase())
  const entry = (name: string): number =>
    Number(
      args
        .find((a) => a.startsWith(`--entrypoints.${name}.address=`))
        ?.replace(/^.*:/, '')
        .replace(/\/.*/, '') ?? 0,
    )
  const has = (option: string): boolean => args.some((a) => a === `--${option}` || a === `--${option}=true`)
  const redirectsTo = args.some((a) => /^--entrypoints\.web\.http\.redirections\.entrypoint\.to=/.test(a))
  const ingresses = ingressesOf(model, ['traefik.io/ingress-controller'], 'traefik', true)
  const isStrict = has('providers.kubernetesingress.strictprefixmatching')
  const keepsEmpty = has('providers.kubernetesingress.allowemptyservices')
  const routers = pathsOf(ingresses).sort((a, b) => traefikRule(b).length - traefikRule(a).length)
  let turn = 0
  const forward = (
    asked: Asked,
    namespace: string,
    ref: IngressPath['backend'],
    origin: RouteOrigin,
    isNative: boolean,
  ): Decision | null => {
    const { name, port } = ref.service ?? { name: '' }
    const backend = findBackend(model, namespace, name, port?.number ?? port?.name, isNative)
    if (backend.problem === 'external-name')
      return { action: 'unmodelled', what: `Traefik to an ExternalName Service (${backend.service})`, origin }
    if (backend.problem === 'no-endpoints' && keepsEmpty)
      return plain(503, 'no available server', origin, problemText(backend))
    if (backend.problem !== null) return null
    const n = backend.upstreams.length
    const start = turn++ + draw(n)
    const upstreams = backend.upstreams.map((_, i) => backend.upstreams[(start + i) % n]!)
    const headers: HttpHeader[] = [
      ...asked.request.headers.filter(([h]) => !/^(?:connection|x-forwarded-|x-real-ip)/i.test(h)),
      ['X-Forwarded-For', asked.client],
      ['X-Forwarded-Host', headerOf(asked.request.headers, 'Host') ?? ''],
      ['X-Forwarded-Port', asked.isTls ? '443' : '80'],
      ['X-Forwarded-Proto', asked.isTls ? 'https' : 'http'],
      ['X-Forwarded-Server', pod.name],
      ['X-Real-Ip', asked.client],
    ]
    const isTlsUpstream = port?.number === 443 || port?.name?.startsWith('https') === true
    return {
      action: 'forward',
      origin,
      service: backend.service,
      upstreams,
      request: { ...asked.request, headers },
      isTlsUpstream,
    }
  }
  return {
    name: 'traefik',
    ports: new Map([
      [entry('web') || 8000, false],
      [entry('websecure') || 8443, true],
    ]),
    connectTimeoutS: DIAL_TIMEOUT_S,
    tries: 1,
    decideTls: () => ({ action: 'terminate' }),
    decide(asked) {
      if (redirectsTo && !asked.isTls) {
        const to = `https://${asked.host}${asked.request.target}`
        return plain(301, 'Moved Permanently', null, 'the entry point web redirects', [['Location', to]])
      }
      const uri = pathOfTarget(asked.request.target)
      let skipped = ''
      for (const r of routers) {
        if (!hostMatches(r.host, asked.host) || !pathMatches(r, uri, isStrict)) continue
        const entries = r.annotations[`${PREFIX}router.entrypoints`]
        if (entries !== undefined && !entries.split(',').includes(asked.isTls ? 'websecure' : 'web')) continue
        const middlewares = r.annotations[`${PREFIX}router.middlewares`]
        if (middlewares !== undefined)
          return { action: 'unmodelled', what: `Traefik middlewares (${middlewares})`, origin: r.origin }
        const service = model.services.find(
          (s) => s.object.metadata.namespace === r.namespace && s.object.metadata.name === r.backend.service?.name,
        )?.object
        const isNative = service?.metadata.annotations?.['traefik.ingress.kubernetes.io/service.nativelb'] === 'true'
        const decision = forward(asked, r.namespace, r.backend, r.origin, isNative)
        if (decision !== null) return decision
        skipped = `; the router of ${r.origin.namespace}/${r.origin.name} ${r.origin.rule} is left out: its Service cannot be used`
      }
      for (const i of ingresses) {
        const spec = i.object.spec as IngressSpec
        if (spec.defaultBackend === undefined) continue
        const decision = forward(
          asked,
          i.object.metadata.namespace ?? 'default',
          spec.defaultBackend,
          originOf(i, ['spec', 'defaultBackend']),
          false,
        )
        if (decision !== null) return decision
      }
      return plain(404, '404 page not found', null, `no router matches ${asked.host}${uri}${skipped}`)
    },
    errorPage: (status) => ({ headers: TEXT, body: status === 502 ? 'Bad Gateway' : 'Gateway Timeout' }),
  }
}

const TEXT: readonly HttpHeader[] = [['Content-Type', 'text/plain; charset=utf-8']]

function plain(
  status: number,
  text: string,
  origin: RouteOrigin | null,
  why: string,
  more: readonly HttpHeader[] = [],
): Decision {
  return { action: 'respond', status, headers: [...TEXT, ...more], body: `${text}\n`, origin, why }
}

function pathMatches(r: IngressPath, uri: string, isStrict: boolean): boolean {
  if (r.pathType === 'Exact') return uri === r.path
  if (!isStrict || r.pathType !== 'Prefix') return uri.startsWith(r.path)
  const bare = r.path.replace(/\/$/, '')
  return uri === bare || uri.startsWith(`${bare}/`)
}
