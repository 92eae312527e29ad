/**
 * The Gateway API: precedence, filters, weights, grants and attachment, by the words of the specification.
 */
import { describe, expect, it } from '@jest/globals'
import { GatewayRouter, requestMatches } from '../../../src/ingress/gateway.ts'
import { GATEWAY_GROUP } from '../../../src/ingress/gateway-objects.ts'
import { objectsOf } from '../../../src/ingress/objects.ts'
import type { Asked, Decision } from '../../../src/ingress/types.ts'
import { buildClusterModel, loadText } from '../../../src/kubernetes/index.ts'
import { type HttpHeader, headerOf } from '../../../src/wire/http.ts'

const BASE = `apiVersion: podwalk.dev/v1alpha1
kind: Cluster
metadata: {name: c}
spec: {nodes: [{name: n1}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: default}
spec:
  gatewayClassName: x
  listeners:
  - {name: any, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}
  - {name: wild, port: 80, protocol: HTTP, hostname: "*.example.com"}
---
${['a', 'b', 'c'].map((n) => endpoints(n, 'default')).join('\n---\n')}
---
${endpoints('far', 'other')}
---
apiVersion: v1
kind: Service
metadata: {name: empty}
spec: {ports: [{port: 80}]}`

function endpoints(name: string, namespace: string): string {
  const last = name.charCodeAt(0)
  return `apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: ${namespace}}
spec: {ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ${name}, namespace: ${namespace}, labels: {kubernetes.io/service-name: ${name}}}
addressType: IPv4
ports: [{port: 8080, protocol: TCP, name: ""}]
endpoints: [{addresses: [10.244.9.${last}]}]`
}

function route(name: string, spec: string, more = ''): string {
  return `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ${name}, namespace: default${more}}
spec:
  parentRefs: [{name: gw}]
${spec}`
}

function decide(
  routes: readonly string[],
  url: string,
  method = 'GET',
  headers: readonly HttpHeader[] = [],
  draw = 0,
): Decision {
  const { model } = buildClusterModel(loadText([BASE, ...routes].join('\n---\n'), 'gw.yaml'))
  const gateway = objectsOf(model, GATEWAY_GROUP, 'Gateway')[0]!
  const [, host, target] = /^([^/]+)(\/.*)$/.exec(url)!
  const request = {
    method,
    target: target!,
    headers: [['Host', host!], ...headers] as HttpHeader[],
    body: new Uint8Array(0),
  }
  const asked: Asked = { isTls: false, serverName: null, host: host!, port: 80, request, client: '192.0.2.1' }
  return new GatewayRouter(model, gateway, () => draw).decide(asked, 80)
}

function serviceOf(d: Decision): string {
  return d.action === 'forward' ? d.service.replace('default/', '') : `${d.action} ${'status' in d ? d.status : ''}`
}

const rule = (match: string, to: string, more = ''): string =>
  `  - {matches: [${match}], backendRefs: [{name: ${to}, port: 80}]${more}}`

describe('precedence', () => {
  it('is Exact, longest prefix, method, headers, query', () => {
    const rules = [
      rule('{path: {type: PathPrefix, value: /x}, queryParams: [{name: q, value: "1"}]}', 'a'),
      rule('{path: {type: PathPrefix, value: /x}, headers: [{name: H, value: "1"}]}', 'b'),
      rule('{path: {type: PathPrefix, value: /x}, method: POST}', 'c'),
    ]
    const all = [route('r', `  rules:\n${rules.join('\n')}`)]
    expect(serviceOf(decide(all, 'h/x?q=1'))).toBe('a')
    expect(serviceOf(decide(all, 'h/x?q=1', 'GET', [['h', '1']]))).toBe('b')
    expect(serviceOf(decide(all, 'h/x?q=1', 'POST', [['h', '1']]))).toBe('c')
    const exact = [
      route(
        'r',
        `  rules:\n${rule('{path: {type: PathPrefix, value: /x}, method: GET}', 'a')}\n${rule('{path: {type: Exact, value: /x}}', 'b')}\n${rule('{path: {type: PathPrefix, value: /x/y}}', 'c')}`,
      ),
    ]
    expect(serviceOf(decide(exact, 'h/x'))).toBe('b')
    expect(serviceOf(decide(exact, 'h/x/'))).toBe('a')
    expect(serviceOf(decide(exact, 'h/x/y/z'))).toBe('c')
    expect(serviceOf(decide(exact, 'h/x/yy'))).toBe('a')
    expect(serviceOf(decide(exact, 'h/xy'))).toBe('respond 404')
  })

  it('is the more specific hostname before any path', () => {
    const routes = [
      route('exact', `  hostnames: [shop.example.com]\n  rules:\n${rule('{path: {type: PathPrefix, value: /}}', 'a')}`),
      route('wild', `  hostnames: ["*.example.com"]\n  rules:\n${rule('{path: {type: Exact, value: /x}}', 'b')}`),
    ]
    expect(serviceOf(decide(routes, 'shop.example.com/x'))).toBe('a')
    expect(serviceOf(decide(routes, 'blog.example.com/x'))).toBe('b')
    expect(serviceOf(decide(routes, 'a.b.example.com/x'))).toBe('b')
    expect(serviceOf(decide(routes, 'example.com/x'))).toBe('respond 404')
  })

  it('is the older route, then the name, then the first rule', () => {
    const of = (name: string, to: string, age: string): string =>
      route(name, `  rules:\n${rule('{path: {type: PathPrefix, value: /}}', to)}`, age)
    expect(serviceOf(decide([of('z', 'a', ''), of('b', 'b', '')], 'h/'))).toBe('b')
    const [old, young] = [', creationTimestamp: "2020-01-01T00:00:00Z"', ', creationTimestamp: "2024-01-01T00:00:00Z"']
    expect(serviceOf(decide([of('a', 'a', young), of('z', 'b', old)], 'h/'))).toBe('b')
    expect(serviceOf(decide([route('r', `  rules:\n${rule('{}', 'c')}\n${rule('{}', 'a')}`)], 'h/'))).toBe('c')
  })
})

describe('filters', () => {
  it.each([
    ['ReplacePrefixMatch, replacePrefixMatch: /new', '/old/x?q', '/new/x?q'],
    ['ReplacePrefixMatch, replacePrefixMatch: /new', '/old', '/new'],
    ['ReplacePrefixMatch, replacePrefixMatch: /', '/old/x', '/x'],
    ['ReplacePrefixMatch, replacePrefixMatch: ""', '/old', '/'],
    ['ReplacePrefixMatch, replacePrefixMatch: /new/', '/old/', '/new/'],
    ['ReplaceFullPath, replaceFullPath: /all', '/old/x?q', '/all?q'],
  ])('rewrite the path: %s of %s', (modifier, from, to) => {
    const filter = `, filters: [{type: URLRewrite, urlRewrite: {hostname: in.side, path: {type: ${modifier}}}}]`
    const d = decide(
      [route('r', `  rules:\n${rule('{path: {type: PathPrefix, value: /old}}', 'a', filter)}`)],
      `h${from}`,
    )
    expect(d.action === 'forward' && [d.request.target, headerOf(d.request.headers, 'host')]).toEqual([to, 'in.side'])
  })

  it('set, add and remove header fields of the request', () => {
    const filter =
      ', filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: A, value: "1"}], add: [{name: B, value: "2"}], remove: [C]}}]'
    const d = decide([route('r', `  rules:\n${rule('{}', 'a', filter)}`)], 'h/', 'GET', [
      ['a', '0'],
      ['b', '1'],
      ['c', '3'],
    ])
    const of = (n: string): string | null => (d.action === 'forward' ? headerOf(d.request.headers, n) : null)
    expect([of('a'), of('b'), of('c'), of('x-forwarded-for')]).toEqual(['1', '1,2', null, '192.0.2.1'])
  })

  it.each([
    ['{scheme: https}', 302, 'https://h/x?q'],
    ['{hostname: other.example, statusCode: 301}', 301, 'http://other.example/x?q'],
    ['{port: 8443, scheme: https}', 302, 'https://h:8443/x?q'],
    ['{path: {type: ReplaceFullPath, replaceFullPath: /y}}', 302, 'http://h/y?q'],
  ])('redirect: %s', (redirect, status, location) => {
    const filter = `, filters: [{type: RequestRedirect, requestRedirect: ${redirect}}]`
    const d = decide([route('r', `  rules:\n${rule('{}', 'a', filter)}`)], 'h/x?q')
    expect(d.action === 'respond' && [d.status, headerOf(d.headers, 'location')]).toEqual([status, location])
  })

  it('that are not modelled say so', () => {
    const filter = ', filters: [{type: RequestMirror}]'
    expect(decide([route('r', `  rules:\n${rule('{}', 'a', filter)}`)], 'h/')).toMatchObject({
      action: 'unmodelled',
      what: 'HTTPRoute filter RequestMirror',
    })
  })
})

describe('backends', () => {
  const weighted = route(
    'r',
    '  rules:\n  - backendRefs: [{name: a, port: 80, weight: 1}, {name: b, port: 80, weight: 3}, {name: c, port: 80, weight: 0}]',
  )

  it.each([
    [0, 'a'],
    [1, 'b'],
    [3, 'b'],
  ])('are chosen by weight: draw %i of 4 is %s', (draw, service) => {
    expect(serviceOf(decide([weighted], 'h/', 'GET', [], draw))).toBe(service)
  })

  it.each([
    ['{name: gone, port: 80}', 500],
    ['{name: a, port: 81}', 500],
    ['{name: empty, port: 80}', 503],
    ['{name: far, namespace: other, port: 80}', 500],
    ['{name: a, port: 80, weight: 0}', 500],
  ])('that do not resolve answer: %s is %i', (ref, status) => {
    const d = decide([route('r', `  rules:\n  - backendRefs: [${ref}]`)], 'h/')
    expect(d.action === 'respond' && d.status).toBe(status)
  })

  it('of another namespace need a ReferenceGrant there', () => {
    const grant =
      'apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {name: g, namespace: other}\nspec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}], to: [{group: "", kind: Service}]}'
    const far = route('r', '  rules:\n  - backendRefs: [{name: far, namespace: other, port: 80}]')
    expect(serviceOf(decide([far, grant], 'h/'))).toBe('other/far')
    expect(decide([far, grant.replace('kind: HTTPRoute', 'kind: TLSRoute')], 'h/')).toMatchObject({ status: 500 })
  })

  it('carry the place of the rule that chose them', () => {
    const d = decide(
      [route('r', `  rules:\n${rule('{path: {value: /a}}', 'a')}\n${rule('{path: {value: /b}}', 'b')}`)],
      'h/b',
    )
    expect(d.action === 'forward' && d.origin).toMatchObject({
      kind: 'HTTPRoute',
      name: 'r',
      rule: 'spec.rules[1].matches[0]',
      file: 'gw.yaml',
    })
  })
})

describe('a match', () => {
  const request = {
    method: 'GET',
    target: '/a/b?x=1&y=',
    headers: [['H', 'v1']] as HttpHeader[],
    body: new Uint8Array(0),
  }
  it.each([
    ['{}', true],
    ['{"path":{"type":"RegularExpression","value":"/a/."}}', true],
    ['{"path":{"type":"RegularExpression","value":"/a"}}', false],
    ['{"headers":[{"name":"h","value":"v1"}]}', true],
    ['{"headers":[{"name":"h","type":"RegularExpression","value":"v[0-9]"}]}', true],
    ['{"headers":[{"name":"other","value":""}]}', false],
    ['{"queryParams":[{"name":"x","value":"1"},{"name":"y","value":""}]}', true],
    ['{"queryParams":[{"name":"X","value":"1"}]}', false],
    ['{"method":"POST"}', false],
  ])('%s: %s', (match, fits) => {
    expect(requestMatches(JSON.parse(match), request)).toBe(fits)
  })
})
