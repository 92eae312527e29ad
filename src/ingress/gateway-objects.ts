/**
 * Gateways, routes and grants as an implementation reads them: who is attached to which listener.
 *
 * A route is attached when a parentRef names the Gateway (and section or port), the listener allows the route's namespace
 * and kind, and hostnames meet. Sources: gateway-api 1.3 apis/v1, GEP-709 (ReferenceGrant), GEP-1651.
 */
import { matchesSelector } from '../kubernetes/selector.ts'
import type { ClusterModel, LabelSelector, LoadedObject } from '../kubernetes/types.ts'
import { byAge, objectsOf } from './objects.ts'

/** Group of the Gateway API. */
export const GATEWAY_GROUP = 'gateway.networking.k8s.io'

/** A listener of a Gateway. */
export interface Listener {
  name: string
  hostname?: string
  port: number
  protocol: string
  tls?: { mode?: 'Terminate' | 'Passthrough' }
  allowedRoutes?: {
    namespaces?: { from?: 'All' | 'Selector' | 'Same' | 'None'; selector?: LabelSelector }
    kinds?: { group?: string; kind: string }[]
  }
}

/** A reference to a parent. */
export interface ParentRef {
  group?: string
  kind?: string
  namespace?: string
  name: string
  sectionName?: string
  port?: number
}

/** A reference to a backend. */
export interface BackendRef {
  group?: string
  kind?: string
  name: string
  namespace?: string
  port?: number
  weight?: number
  filters?: Filter[]
}

/** A filter of a rule. */
export interface Filter {
  type: string
  requestHeaderModifier?: HeaderModifier
  responseHeaderModifier?: HeaderModifier
  requestRedirect?: { scheme?: string; hostname?: string; path?: PathModifier; port?: number; statusCode?: number }
  urlRewrite?: { hostname?: string; path?: PathModifier }
}

/** Changes of header fields. */
export interface HeaderModifier {
  set?: { name: string; value: string }[]
  add?: { name: string; value: string }[]
  remove?: string[]
}

/** A change of the path. */
export interface PathModifier {
  type: 'ReplaceFullPath' | 'ReplacePrefixMatch'
  replaceFullPath?: string
  replacePrefixMatch?: string
}

/** A match of a rule. */
export interface RouteMatch {
  path?: { type?: 'Exact' | 'PathPrefix' | 'RegularExpression'; value?: string }
  headers?: { type?: 'Exact' | 'RegularExpression'; name: string; value: string }[]
  queryParams?: { type?: 'Exact' | 'RegularExpression'; name: string; value: string }[]
  method?: string
}

/** spec of an HTTPRoute or TLSRoute. */
export interface RouteSpec {
  parentRefs?: ParentRef[]
  hostnames?: string[]
  rules?: { matches?: RouteMatch[]; filters?: Filter[]; backendRefs?: BackendRef[] }[]
}

/** Whether two hostnames of listener and route have names in common; the more specific one, or null. */
export function intersectHosts(listener: string | undefined, route: string): string | null {
  if (listener === undefined || listener === '' || listener === route) return route
  const covers = (wide: string, narrow: string): boolean => wide.startsWith('*.') && narrow.endsWith(wide.slice(1))
  if (covers(listener, route)) return route
  return covers(route, listener) ? listener : null
}

/** Whether a hostname (`*.` stands for one label or more) takes a host. */
export function gatewayHostMatches(pattern: string, host: string): boolean {
  return (
    pattern === '' ||
    pattern === host ||
    (pattern.startsWith('*.') && host.endsWith(pattern.slice(1)) && host.length > pattern.length - 1)
  )
}

/** Whether the namespace of a route may attach to a listener. */
export function allowsNamespace(
  model: ClusterModel,
  gateway: LoadedObject,
  listener: Listener,
  namespace: string,
): boolean {
  const { from, selector } = listener.allowedRoutes?.namespaces ?? {}
  if (from === 'All') return true
  if (from === 'None') return false
  if (from !== 'Selector') return namespace === gateway.object.metadata.namespace
  const labels = model.namespaces.find((n) => n.name === namespace)?.labels ?? {}
  return selector !== undefined && matchesSelector(selector, labels)
}

/** Why a parentRef attaches nowhere, or the listeners that it attaches to. */
export function attach(
  model: ClusterModel,
  gateway: LoadedObject,
  route: LoadedObject,
  ref: ParentRef,
): { readonly listeners: readonly Listener[]; readonly problem: string } {
  const { kind, metadata } = route.object
  const { hostnames } = (route.object.spec ?? {}) as RouteSpec
  const all = (gateway.object.spec as { listeners: Listener[] }).listeners
  const named = all.filter(
    (l) =>
      (ref.sectionName === undefined || l.name === ref.sectionName) && (ref.port === undefined || l.port === ref.port),
  )
  if (named.length === 0) return { listeners: [], problem: 'NoMatchingParent: no listener of that name or port' }
  const allowed = named.filter(
    (l) => allowsNamespace(model, gateway, l, metadata.namespace ?? 'default') && allowsKind(l, kind),
  )
  if (allowed.length === 0) return { listeners: [], problem: 'NotAllowedByListeners: allowedRoutes leaves it out' }
  const meeting = allowed.filter(
    (l) => !hostnames?.length || hostnames.some((h) => intersectHosts(l.hostname, h) !== null),
  )
  if (meeting.length === 0)
    return { listeners: [], problem: 'NoMatchingListenerHostname: no hostname in common with a listener' }
  return { listeners: meeting, problem: '' }
}

function allowsKind(listener: Listener, kind: string): boolean {
  const kinds = listener.allowedRoutes?.kinds
  if (kinds !== undefined && kinds.length > 0) return kinds.some((k) => k.kind === kind)
  if (kind === 'TLSRoute') return listener.protocol === 'TLS'
  return listener.protocol === 'HTTP' || listener.protocol === 'HTTPS'
}

/** Whether a parentRef of a route names this Gateway. */
export function namesGateway(ref: ParentRef, route: LoadedObject, gateway: LoadedObject): boolean {
  const { name, namespace } = gateway.object.metadata
  const isGateway = (ref.kind ?? 'Gateway') === 'Gateway' && (ref.group ?? GATEWAY_GROUP) === GATEWAY_GROUP
  return isGateway && ref.name === name && (ref.namespace ?? route.object.metadata.namespace) === namespace
}

/** Routes of a kind that are attached to one listener, oldest first. */
export function routesOf(model: ClusterModel, gateway: LoadedObject, listener: Listener, kind: string): LoadedObject[] {
  return objectsOf(model, GATEWAY_GROUP, kind)
    .filter((route) =>
      ((route.object.spec as RouteSpec).parentRefs ?? []).some(
        (ref) => namesGateway(ref, route, gateway) && attach(model, gateway, route, ref).listeners.includes(listener),
      ),
    )
    .sort(byAge)
}

/** Whether a ReferenceGrant lets a route refer to a Service of another namespace. */
export function isGranted(model: ClusterModel, kind: string, from: string, to: string, service: string): boolean {
  if (from === to) return true
  return objectsOf(model, GATEWAY_GROUP, 'ReferenceGrant').some(({ object }) => {
    if (object.metadata.namespace !== to) return false
    const spec = object.spec as {
      from: { kind: string; namespace: string }[]
      to: { group?: string; kind: string; name?: string }[]
    }
    return (
      spec.from.some((f) => f.kind === kind && f.namespace === from) &&
      spec.to.some((t) => t.kind === 'Service' && (t.name === undefined || t.name === service))
    )
  })
}
