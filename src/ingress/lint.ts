/**
 * What a careful reviewer says about Ingresses, Gateways and routes: each with its line.
 *
 * A backend that is not there, a port that the Service does not have, two Ingresses with the same host and path, a class
 * that nobody has; a route without parent, or that its parent does not take; a reference that is not granted; a Gateway of
 * an unknown class, listeners that clash.
 */
import type { Diagnostic, SourcePosition } from '../diagnostics/diagnostic.ts'
import { Diagnostics, formatPosition } from '../diagnostics/diagnostic.ts'
import { nearest } from '../kubernetes/names.ts'
import { pathText } from '../kubernetes/schema.ts'
import type { ClusterModel, FieldPath, LoadedObject } from '../kubernetes/types.ts'
import { findBackend, problemText } from './backend.ts'
import {
  attach,
  type BackendRef,
  GATEWAY_GROUP,
  isGranted,
  type Listener,
  namesGateway,
  type RouteSpec,
} from './gateway-objects.ts'
import { type IngressBackend, type IngressPath, type IngressSpec, objectsOf, pathsOf } from './objects.ts'

/** All findings, by place. */
export function lintIngress(model: ClusterModel): Diagnostic[] {
  const linter = new Linter(model)
  for (const ingress of objectsOf(model, 'networking.k8s.io', 'Ingress')) linter.ingress(ingress)
  linter.clashes()
  for (const gateway of objectsOf(model, GATEWAY_GROUP, 'Gateway')) linter.gateway(gateway)
  for (const kind of ['HTTPRoute', 'TLSRoute'])
    for (const route of objectsOf(model, GATEWAY_GROUP, kind)) linter.route(route)
  return linter.diagnostics.sorted()
}

class Linter {
  readonly diagnostics = new Diagnostics()
  private readonly model: ClusterModel

  constructor(model: ClusterModel) {
    this.model = model
  }

  private warn(loaded: LoadedObject, path: FieldPath, code: string, message: string, hint?: string): void {
    const { kind, metadata } = loaded.object
    const who = `${kind} ${metadata.namespace === undefined ? '' : `${metadata.namespace}/`}${metadata.name}`
    this.diagnostics.warning(code, loaded.positionOf(path), `${who}: ${message}`, { path: pathText(path), hint })
  }

  ingress(loaded: LoadedObject): void {
    const spec = loaded.object.spec as IngressSpec
    const classes = objectsOf(this.model, 'networking.k8s.io', 'IngressClass').map((c) => c.object.metadata.name)
    const named = spec.ingressClassName
    if (named !== undefined && classes.length > 0 && !classes.includes(named))
      this.warn(
        loaded,
        ['spec', 'ingressClassName'],
        'unknown-class',
        `expected an IngressClass, found "${named}"`,
        `there is: ${classes.join(', ')}`,
      )
    this.backend(loaded, spec.defaultBackend, ['spec', 'defaultBackend'])
    for (const [r, rule] of (spec.rules ?? []).entries()) {
      for (const [p, path] of (rule.http?.paths ?? []).entries())
        this.backend(loaded, path.backend, ['spec', 'rules', r, 'http', 'paths', p, 'backend'])
    }
  }

  private backend(loaded: LoadedObject, backend: IngressBackend | undefined, path: FieldPath): void {
    const service = backend?.service
    if (service === undefined) return
    const port = service.port?.number ?? service.port?.name
    const at: FieldPath = [...path, 'service']
    this.service(loaded, at, loaded.object.metadata.namespace ?? 'default', service.name, port)
  }

  private service(
    loaded: LoadedObject,
    path: FieldPath,
    namespace: string,
    name: string,
    port: number | string | undefined,
  ): void {
    const found = findBackend(this.model, namespace, name, port)
    if (found.problem === 'no-service') {
      const names = this.model.services.flatMap(({ object: { metadata: m } }) =>
        m.namespace === namespace ? [m.name] : [],
      )
      const near = nearest(name, names, 1)[0]
      this.warn(
        loaded,
        path,
        'unknown-service',
        problemText(found),
        near === undefined ? undefined : `did you mean "${near}"?`,
      )
    } else if (found.problem === 'no-port') {
      const service = this.model.services.find(
        ({ object: { metadata: m } }) => m.namespace === namespace && m.name === name,
      )!
      const ports = (service.object.spec.ports ?? []).map(
        (p) => `${p.port}${p.name === undefined ? '' : ` (${p.name})`}`,
      )
      this.warn(
        loaded,
        path,
        'unknown-port',
        `${problemText(found)}: ${port ?? 'none is named'}`,
        `it has ${ports.join(', ')}`,
      )
    } else if (found.problem === 'no-endpoints')
      this.warn(loaded, path, 'no-endpoints', `${problemText(found)}: answers will be 503`)
  }

  /** The same host and path twice: the older Ingress has it. */
  clashes(): void {
    const seen = new Map<string, IngressPath>()
    for (const p of pathsOf(objectsOf(this.model, 'networking.k8s.io', 'Ingress'))) {
      const spec = p.ingress.object.spec as IngressSpec
      const key = `${spec.ingressClassName ?? ''} ${p.host} ${p.pathType} ${p.path}`
      const first = seen.get(key)
      if (first === undefined) {
        seen.set(key, p)
        continue
      }
      if (p.annotations['nginx.ingress.kubernetes.io/canary'] === 'true') continue
      const { namespace, name } = p.ingress.object.metadata
      const at = (path: IngressPath): SourcePosition => ({ file: path.origin.file, line: path.origin.line, col: 1 })
      const message = `host ${p.host || '(any)'} path ${p.path} is taken already: the older Ingress has it`
      this.diagnostics.warning('duplicate-path', at(p), `Ingress ${namespace}/${name}: ${message}`, {
        path: p.origin.rule,
        hint: `the other is at ${formatPosition(at(first))}`,
      })
    }
  }

  gateway(loaded: LoadedObject): void {
    const spec = loaded.object.spec as { gatewayClassName: string; listeners: Listener[] }
    const classes = objectsOf(this.model, GATEWAY_GROUP, 'GatewayClass').map((c) => c.object.metadata.name)
    if (!classes.includes(spec.gatewayClassName)) {
      const hint = classes.length === 0 ? 'the manifests hold none' : `there is: ${classes.join(', ')}`
      this.warn(
        loaded,
        ['spec', 'gatewayClassName'],
        'unknown-class',
        `expected a GatewayClass, found "${spec.gatewayClassName}"`,
        hint,
      )
    }
    for (const [i, l] of spec.listeners.entries()) {
      const first = spec.listeners.findIndex(
        (o) => o.port === l.port && o.protocol === l.protocol && (o.hostname ?? '') === (l.hostname ?? ''),
      )
      if (first < i)
        this.warn(
          loaded,
          ['spec', 'listeners', i],
          'listener-conflict',
          `listener ${l.name} has the port, protocol and hostname of listener ${spec.listeners[first]!.name}`,
        )
    }
  }

  route(loaded: LoadedObject): void {
    const spec = (loaded.object.spec ?? {}) as RouteSpec
    const gateways = objectsOf(this.model, GATEWAY_GROUP, 'Gateway')
    if (!spec.parentRefs?.length)
      this.warn(loaded, ['spec'], 'no-parent', 'expected parentRefs, found none: no Gateway serves it')
    for (const [i, ref] of (spec.parentRefs ?? []).entries()) {
      if ((ref.kind ?? 'Gateway') !== 'Gateway') continue
      const gateway = gateways.find((g) => namesGateway(ref, loaded, g))
      const path: FieldPath = ['spec', 'parentRefs', i]
      const name = `${ref.namespace ?? loaded.object.metadata.namespace}/${ref.name}`
      if (gateway === undefined) {
        const names = gateways.map((g) => `${g.object.metadata.namespace}/${g.object.metadata.name}`)
        this.warn(
          loaded,
          path,
          'no-parent',
          `expected a Gateway, found "${name}"`,
          names.length === 0 ? undefined : `there is: ${names.join(', ')}`,
        )
        continue
      }
      const { problem } = attach(this.model, gateway, loaded, ref)
      if (problem !== '') this.warn(loaded, path, 'not-attached', `Gateway ${name} does not take it: ${problem}`)
    }
    for (const [r, rule] of (spec.rules ?? []).entries()) {
      for (const [b, ref] of (rule.backendRefs ?? []).entries())
        this.backendRef(loaded, ref, ['spec', 'rules', r, 'backendRefs', b])
    }
  }

  private backendRef(loaded: LoadedObject, ref: BackendRef, path: FieldPath): void {
    const from = loaded.object.metadata.namespace ?? 'default'
    const namespace = ref.namespace ?? from
    if ((ref.kind ?? 'Service') !== 'Service') return
    if (!isGranted(this.model, loaded.object.kind, from, namespace, ref.name)) {
      const message = `Service ${namespace}/${ref.name} is in another namespace and no ReferenceGrant there allows it: answers will be 500`
      this.warn(loaded, path, 'ref-not-permitted', message)
      return
    }
    this.service(loaded, path, namespace, ref.name, ref.port)
  }
}
