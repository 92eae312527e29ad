/**
 * The shapes of Ingress, IngressClass and the Gateway API's Gateway, GatewayClass, HTTPRoute, TLSRoute, ReferenceGrant.
 *
 * Sources: k8s.io/api/networking/v1/types.go; sigs.k8s.io/gateway-api apis/v1, apis/v1alpha3, apis/v1beta1 (1.3).
 */
import type { ObjectSchema, Schema } from '../schema.ts'
import { any, checked, int, list, object, oneOf, portNumber, string } from '../schema.ts'
import { kind, labelSelector } from './common.ts'

const HOST = /^(?:\*\.)?(?=.{1,253}$)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/
const hostname: Schema = checked((text) =>
  text === '' || HOST.test(text) ? null : 'a DNS name in lower case, `*.` in front at most',
)
const path: Schema = checked((text) => (text === '' || text.startsWith('/') ? null : 'a path that begins with "/"'))

const ingressBackend = object({
  service: object({ 'name!': string, port: object({ name: string, number: portNumber }) }),
  resource: any,
})

/** networking.k8s.io/v1 Ingress. */
export const ingress: ObjectSchema = kind({
  'spec!': object({
    ingressClassName: string,
    defaultBackend: ingressBackend,
    tls: list(object({ hosts: list(hostname), secretName: string })),
    rules: list(
      object({
        host: hostname,
        http: object({
          'paths!': list(
            object({
              path,
              'pathType!': oneOf('Exact', 'Prefix', 'ImplementationSpecific'),
              'backend!': ingressBackend,
            }),
            1,
          ),
        }),
      }),
    ),
  }),
})

/** networking.k8s.io/v1 IngressClass. */
export const ingressClass: ObjectSchema = kind({ spec: object({ controller: string, parameters: any }) })

const allowedRoutes = object({
  namespaces: object({ from: oneOf('All', 'Selector', 'Same', 'None'), selector: labelSelector }),
  kinds: list(object({ group: string, 'kind!': string })),
})

/** gateway.networking.k8s.io Gateway. */
export const gateway: ObjectSchema = kind({
  'spec!': object(
    {
      'gatewayClassName!': string,
      'listeners!': list(
        object({
          'name!': string,
          hostname,
          'port!': portNumber,
          'protocol!': string,
          tls: object({ mode: oneOf('Terminate', 'Passthrough') }, 'certificateRefs frontendValidation options'),
          allowedRoutes,
        }),
        1,
      ),
    },
    'addresses infrastructure backendTLS allowedListeners defaultScope tls',
  ),
})

/** gateway.networking.k8s.io GatewayClass. */
export const gatewayClass: ObjectSchema = kind({
  'spec!': object({ 'controllerName!': string }, 'parametersRef description'),
})

const parentRef = object({
  group: string,
  kind: string,
  namespace: string,
  'name!': string,
  sectionName: string,
  port: portNumber,
})
const backendRefFields = {
  group: string,
  kind: string,
  'name!': string,
  namespace: string,
  port: portNumber,
  weight: { t: 'int', min: 0, max: 1_000_000 } as Schema,
}
const header = object({ 'name!': string, 'value!': string })
const headerModifier = object({ set: list(header), add: list(header), remove: list(string) })
const pathModifier = object({
  'type!': oneOf('ReplaceFullPath', 'ReplacePrefixMatch'),
  replaceFullPath: string,
  replacePrefixMatch: string,
})
const filter = object(
  {
    'type!': string,
    requestHeaderModifier: headerModifier,
    responseHeaderModifier: headerModifier,
    requestRedirect: object({
      scheme: oneOf('http', 'https'),
      hostname,
      path: pathModifier,
      port: portNumber,
      statusCode: int,
    }),
    urlRewrite: object({ hostname, path: pathModifier }),
  },
  'requestMirror extensionRef cors',
)
const valueMatch = object({ type: oneOf('Exact', 'RegularExpression'), 'name!': string, 'value!': string })

/** gateway.networking.k8s.io HTTPRoute. */
export const httpRoute: ObjectSchema = kind({
  'spec!': object(
    {
      parentRefs: list(parentRef),
      hostnames: list(hostname),
      rules: list(
        object(
          {
            name: string,
            matches: list(
              object({
                path: object({ type: oneOf('Exact', 'PathPrefix', 'RegularExpression'), value: path }),
                headers: list(valueMatch),
                queryParams: list(valueMatch),
                method: string,
              }),
            ),
            filters: list(filter),
            backendRefs: list(object({ ...backendRefFields, filters: list(filter) })),
          },
          'timeouts retry sessionPersistence',
        ),
      ),
    },
    'useDefaultGateways',
  ),
})

/** gateway.networking.k8s.io TLSRoute. */
export const tlsRoute: ObjectSchema = kind({
  'spec!': object(
    {
      parentRefs: list(parentRef),
      hostnames: list(hostname),
      'rules!': list(object({ name: string, backendRefs: list(object(backendRefFields)) })),
    },
    'useDefaultGateways',
  ),
})

/** gateway.networking.k8s.io ReferenceGrant. */
export const referenceGrant: ObjectSchema = kind({
  'spec!': object({
    'from!': list(object({ group: string, 'kind!': string, 'namespace!': string }), 1),
    'to!': list(object({ group: string, 'kind!': string, name: string }), 1),
  }),
})
