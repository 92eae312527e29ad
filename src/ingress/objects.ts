/**
 * Ingress objects and classes as controllers read them, with the place of every path.
 *
 * Older Ingresses win where two say something about the same host and path: by creationTimestamp, then namespace/name.
 * Sources: networking.k8s.io/v1, ingress-nginx internal/ingress/controller/store (class selection).
 */
import { groupOf } from '../kubernetes/kinds.ts'
import { pathText } from '../kubernetes/schema.ts'
import type { ClusterModel, FieldPath, KubernetesObject, LoadedObject, StringMap } from '../kubernetes/types.ts'
import type { RouteOrigin } from './types.ts'

/** A backend of an Ingress. */
export interface IngressBackend {
  service?: { name: string; port?: { name?: string; number?: number } }
  resource?: unknown
}

/** spec of an Ingress. */
export interface IngressSpec {
  ingressClassName?: string
  defaultBackend?: IngressBackend
  tls?: { hosts?: string[]; secretName?: string }[]
  rules?: { host?: string; http?: { paths: { path?: string; pathType: string; backend: IngressBackend }[] } }[]
}

/** One path of one rule, flattened. */
export interface IngressPath {
  readonly host: string
  readonly path: string
  readonly pathType: 'Exact' | 'Prefix' | 'ImplementationSpecific'
  readonly backend: IngressBackend
  readonly namespace: string
  readonly annotations: StringMap
  readonly ingress: LoadedObject
  readonly origin: RouteOrigin
}

/** Objects of a kind in a group. */
export function objectsOf(model: ClusterModel, group: string, kind: string): LoadedObject[] {
  return model.otherObjects.filter(({ object: o }) => o.kind === kind && groupOf(o.apiVersion) === group)
}

/** Oldest first, then by namespace and name. */
export function byAge(a: LoadedObject, b: LoadedObject): number {
  const key = ({ object: { metadata: m } }: LoadedObject): string =>
    `${String((m as KubernetesObject['metadata'] & { creationTimestamp?: string }).creationTimestamp ?? '')} ${m.namespace}/${m.name}`
  return key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0
}

/** Where a field of an object is. */
export function originOf(loaded: LoadedObject, path: FieldPath): RouteOrigin {
  const { file, line } = loaded.positionOf(path)
  const { kind, metadata } = loaded.object
  return { kind, namespace: metadata.namespace ?? '', name: metadata.name, rule: pathText(path), file, line }
}

/**
 * The Ingresses of a controller, oldest first.
 * @param controllers values of IngressClass `spec.controller` that are its own
 * @param className the class that it takes without an IngressClass object
 * @param takesUnclassed whether it takes an Ingress that names no class where no class is the default
 */
export function ingressesOf(
  model: ClusterModel,
  controllers: readonly string[],
  className: string,
  takesUnclassed: boolean,
): LoadedObject[] {
  const classes = objectsOf(model, 'networking.k8s.io', 'IngressClass')
  const own = classes.filter((c) =>
    controllers.includes(String((c.object.spec as { controller?: string } | undefined)?.controller)),
  )
  const names = new Set([...own.map((c) => c.object.metadata.name), ...(classes.length === 0 ? [className] : [])])
  const isDefault = own.some(
    (c) => c.object.metadata.annotations?.['ingressclass.kubernetes.io/is-default-class'] === 'true',
  )
  return objectsOf(model, 'networking.k8s.io', 'Ingress')
    .filter((i) => {
      const spec = i.object.spec as IngressSpec
      const annotated = i.object.metadata.annotations?.['kubernetes.io/ingress.class']
      const named = annotated ?? spec.ingressClassName
      if (named === undefined) return isDefault || takesUnclassed
      return names.has(named) || annotated === className
    })
    .sort(byAge)
}

/** All paths of Ingresses; a rule without http, and a backend of an Ingress without rules, count as host and path of any. */
export function pathsOf(ingresses: readonly LoadedObject[]): IngressPath[] {
  return ingresses.flatMap((ingress) => {
    const spec = ingress.object.spec as IngressSpec
    const { namespace, annotations } = ingress.object.metadata
    return (spec.rules ?? []).flatMap((rule, r) =>
      (rule.http?.paths ?? []).map((p, i) => ({
        host: (rule.host ?? '').toLowerCase(),
        path: p.path || '/',
        pathType: p.pathType as IngressPath['pathType'],
        backend: p.backend,
        namespace: namespace ?? 'default',
        annotations: annotations ?? {},
        ingress,
        // positions are parsed on demand: only what decides or is reported asks
        get origin() {
          return originOf(ingress, ['spec', 'rules', r, 'http', 'paths', i])
        },
      })),
    )
  })
}

/** Whether a host is the rule's: equal, one label for `*`, or any for the empty host. */
export function hostMatches(pattern: string, host: string): boolean {
  if (pattern === '' || pattern === host) return true
  return pattern.startsWith('*.') && host.slice(host.indexOf('.')) === pattern.slice(1) && host.includes('.')
}

/** Prefix of the Ingress specification: by path elements, a trailing slash does not count. */
export function prefixMatches(prefix: string, path: string): boolean {
  const bare = prefix.replace(/\/$/, '')
  return bare === '' || path === bare || path.startsWith(`${bare}/`)
}

/** The hosts for which an Ingress asks for TLS. */
export function tlsHosts(ingresses: readonly LoadedObject[]): ReadonlySet<string> {
  return new Set(ingresses.flatMap((i) => ((i.object.spec as IngressSpec).tls ?? []).flatMap((t) => t.hosts ?? [])))
}

/** The path of a request without its query. */
export function pathOfTarget(target: string): string {
  const q = target.indexOf('?')
  return q < 0 ? target : target.slice(0, q)
}
