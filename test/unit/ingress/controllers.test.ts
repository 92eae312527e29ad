/**
 * Ingress controllers: the path that each takes, redirects, errors, rewrites, and what a reviewer finds.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { buildCluster, type Cluster } from '../../../src/cluster/build.ts'
import { execCommand } from '../../../src/cluster/exec.ts'
import { choosePath } from '../../../src/ingress/haproxy.ts'
import { lintIngress } from '../../../src/ingress/lint.ts'
import { chooseLocation } from '../../../src/ingress/nginx.ts'
import { traefikRule } from '../../../src/ingress/traefik.ts'
import { buildClusterModel, loadText } from '../../../src/kubernetes/index.ts'
import type { ClusterModel } from '../../../src/kubernetes/types.ts'
import { execTool } from '../../../src/linux/tools/exec.ts'
import { traceInCluster } from '../../../src/query/trace.ts'
import type { Trace } from '../../../src/query/trace-types.ts'
import { ROOT } from '../../arch/sources.ts'
import { PATH_SETS, pathsOfSet, URIS } from '../../support/nginx-paths.ts'

const recorded = JSON.parse(readFileSync(join(ROOT, 'test/fixtures/ingress/nginx-locations.json'), 'utf8')) as {
  [set: string]: { [uri: string]: string }
}

const BASE = `apiVersion: podwalk.dev/v1alpha1
kind: Cluster
metadata: {name: c}
spec: {nodes: [{name: n1}, {name: n2}], cni: {name: kubenet}}
---
${backend('web')}
---
${backend('api')}
---
apiVersion: v1
kind: Service
metadata: {name: empty}
spec: {ports: [{port: 80}]}`

function backend(name: string): string {
  return `apiVersion: v1
kind: Pod
metadata: {name: ${name}, labels: {app: ${name}}}
spec: {nodeName: n2, containers: [{name: c, image: x, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: ${name}}
spec: {selector: {app: ${name}}, ports: [{name: http, port: 80, targetPort: 8080}]}`
}

function controller(image: string, args: string[] = []): string {
  return `apiVersion: v1
kind: Pod
metadata: {name: ctl}
spec: {nodeName: n1, containers: [{name: c, image: "${image}", args: ${JSON.stringify(args)}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: n2, containers: [{name: c, image: x}]}`
}

function ingress(name: string, rules: string, more = '', annotations = ''): string {
  return `apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: ${name}, annotations: {${annotations}}}
spec: {${more}rules: [${rules}]}`
}

const path = (p: string, service: string, type = 'Prefix', port = 'number: 80'): string =>
  `{path: ${p}, pathType: ${type}, backend: {service: {name: ${service}, port: {${port}}}}}`
const rule = (host: string, ...paths: string[]): string =>
  `{${host === '' ? '' : `host: "${host}", `}http: {paths: [${paths.join(', ')}]}}`

function modelOf(...documents: string[]): ClusterModel {
  return buildClusterModel(loadText([BASE, ...documents].join('\n---\n'), 'in.yaml')).model
}

const NGINX = controller('registry.k8s.io/ingress-nginx/controller:v1.12.1', ['--watch-ingress-without-class=true'])
const TRAEFIK = controller('docker.io/traefik:v3.3')
const HAPROXY = controller('haproxytech/kubernetes-ingress:3.1')

/** The status and body of a request to the controller's pod. */
function curl(cluster: Cluster, port: number, host: string, target = '/', more: string[] = []): string {
  const pod = cluster.model.pods.find((p) => p.name === 'client')!
  const ip = cluster.model.pods.find((p) => p.name === 'ctl')!.ip
  const scheme = port === 443 || port === 8443 ? 'https' : 'http'
  const argv = ['curl', '-sk', '-w', '%{http_code} %{redirect_url}', '--resolve', `${host}:${port}:${ip}`, ...more]
  const r = execCommand(cluster, { ns: cluster.pods.get('default/client')!, pod }, [
    ...argv,
    `${scheme}://${host}:${port}${target}`,
  ])
  return (
    r.stdout
      .replace(/^<html>[\s\S]*<\/html>\s*/, '')
      .replaceAll('\n', ' ')
      .trim() + r.stderr
  )
}

describe('ingress-nginx', () => {
  it.each(Object.keys(PATH_SETS))('takes the location that real nginx takes: %s', (set) => {
    const paths = pathsOfSet(set)
    const ours = Object.fromEntries(
      URIS.map((uri) => {
        const l = chooseLocation(paths, uri)
        return [uri, l === null ? '404' : `${l.modifier} ${l.path}`.trim()]
      }),
    )
    expect(ours).toEqual(recorded[set])
  })

  it('answers 200, 404, 503, 308 and passes plain HTTP on when there is no TLS', () => {
    const of = (...i: string[]): Cluster => buildCluster(modelOf(NGINX, ...i))
    const plain = of(ingress('i', rule('h.example', path('/', 'web'), path('/e', 'empty'), path('/gone', 'gone'))))
    expect(curl(plain, 80, 'h.example')).toBe('default/web 200')
    expect(curl(plain, 80, 'h.example', '/e')).toBe('503')
    expect(curl(plain, 80, 'h.example', '/gone')).toBe('503')
    expect(curl(plain, 80, 'other.example')).toBe('404')
    const secure = of(ingress('i', rule('h.example', path('/', 'web')), 'tls: [{hosts: [h.example], secretName: s}], '))
    expect(curl(secure, 80, 'h.example', '/a?b')).toBe('308 https://h.example/a?b')
    expect(curl(secure, 443, 'h.example')).toBe('default/web 200')
    expect(curl(secure, 80, 'h.example', '/.well-known/acme-challenge/x')).toBe('default/web 200')
  })

  it('takes Ingresses of its own class, and those without one only when told', () => {
    const classes = ['nginx', 'other'].map(
      (n) =>
        `apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: ${n}}\nspec: {controller: ${n === 'nginx' ? 'k8s.io/ingress-nginx' : 'x/y'}}`,
    )
    const strict = controller('registry.k8s.io/ingress-nginx/controller:v1.12.1')
    const all = ['nginx', 'other', ''].map((n) =>
      ingress(`i${n}`, rule(`${n || 'none'}.example`, path('/', 'web')), n === '' ? '' : `ingressClassName: ${n}, `),
    )
    const cluster = buildCluster(modelOf(strict, ...classes, ...all))
    const answers = ['nginx', 'other', 'none'].map((h) => curl(cluster, 80, `${h}.example`))
    expect(answers).toEqual(['default/web 200', '404', '404'])
    const byDefault = classes.map((c) =>
      c.replace('{name: nginx}', '{name: nginx, annotations: {ingressclass.kubernetes.io/is-default-class: "true"}}'),
    )
    expect(curl(buildCluster(modelOf(strict, ...byDefault, ...all)), 80, 'none.example')).toBe('default/web 200')
  })

  it('chooses the server by exact name, wildcard of one label, default', () => {
    const cluster = buildCluster(
      modelOf(
        NGINX,
        ingress('a', `${rule('*.h.example', path('/', 'web'))}, ${rule('x.h.example', path('/', 'api'))}`),
      ),
    )
    expect(curl(cluster, 80, 'x.h.example')).toBe('default/api 200')
    expect(curl(cluster, 80, 'y.h.example')).toBe('default/web 200')
    expect(curl(cluster, 80, 'a.b.h.example')).toBe('404')
    expect(curl(cluster, 80, 'h.example')).toBe('404')
  })

  it.each([
    ['rewrite-target: /new/$2', '/old(/|$)(.*)', 'ImplementationSpecific', '/old/x?q', 'default/web 200'],
    ['permanent-redirect: http://x.example/', '/', 'Prefix', '/a', '301 http://x.example/'],
    ['app-root: /app', '/', 'Prefix', '/', '302 http://h.example/app'],
    ['force-ssl-redirect: "true"', '/', 'Prefix', '/a', '308 https://h.example/a'],
    ['whitelist-source-range: 10.9.0.0/16', '/', 'Prefix', '/', '403'],
    ['service-upstream: "true"', '/', 'Prefix', '/', 'default/web 200'],
  ])('follows %s', (annotation, p, type, target, answer) => {
    const [name, ...value] = annotation.split(': ')
    const text = ingress(
      'i',
      rule('h.example', path(`"${p}"`, 'web', type)),
      '',
      `nginx.ingress.kubernetes.io/${name}: ${value.join(': ')}`,
    )
    expect(curl(buildCluster(modelOf(NGINX, text)), 80, 'h.example', target)).toBe(answer)
  })

  it('says that a canary or an authentication is not modelled', () => {
    for (const annotation of ['auth-url: http://x', 'canary: "true"']) {
      const text = ingress('i', rule('h.example', path('/', 'web')), '', `nginx.ingress.kubernetes.io/${annotation}`)
      expect(curl(buildCluster(modelOf(NGINX, text)), 80, 'h.example')).toMatch(/^podwalk: UNMODELLED: ingress-nginx: /)
    }
  })

  it('answers 504 when no endpoint lets it in, and the trace shows where the packet died', () => {
    const cluster = buildCluster(modelOf(NGINX, ingress('i', rule('h.example', path('/', 'web')))))
    execTool(cluster.pods.get('default/web')!, 'iptables -A INPUT -p tcp --dport 8080 -j DROP'.split(' '))
    const t = http(cluster, 'http://h.example/', 'default/ctl:80')
    expect([t.verdict, t.http!.status]).toEqual(['DELIVERED', 504])
    expect(t.onward![0]).toMatchObject({ from: 'pod:default/ctl', verdict: 'DROPPED', delivered: null })
    expect(t.decidedBy).toMatchObject({
      kind: 'Ingress',
      name: 'i',
      rule: 'spec.rules[0].http.paths[0]',
      file: 'in.yaml',
    })
  })

  it('answers 502 when the endpoint refuses', () => {
    const cluster = buildCluster(modelOf(NGINX, ingress('i', rule('h.example', path('/', 'web')))))
    execTool(
      cluster.pods.get('default/web')!,
      'iptables -A INPUT -p tcp --dport 8080 -j REJECT --reject-with tcp-reset'.split(' '),
    )
    expect(http(cluster, 'http://h.example/', 'default/ctl:80').http!.status).toBe(502)
  })
})

function http(cluster: Cluster, url: string, dst: string): Trace {
  const { trace } = traceInCluster(cluster, {
    ...{ src: 'default/client', dst, namespace: 'default', protocol: 'TCP', flow: false, seed: 1, verbose: false },
    http: { method: 'GET', url },
  })
  return trace!
}

describe('Traefik', () => {
  it('takes the longest rule, by characters', () => {
    expect(traefikRule({ host: 'h', path: '/a', pathType: 'Exact' })).toBe('Host(`h`) && Path(`/a`)')
    expect(traefikRule({ host: '*.h.io', path: '/', pathType: 'Prefix' })).toBe(
      'HostRegexp(`^[a-zA-Z0-9-]+\\.h\\.io$`) && PathPrefix(`/`)',
    )
    const cluster = buildCluster(
      modelOf(TRAEFIK, ingress('i', rule('h.example', path('/', 'web'), path('/api', 'api'), path('/e', 'empty')))),
    )
    expect(curl(cluster, 8000, 'h.example', '/apix')).toBe('default/api 200')
    expect(curl(cluster, 8443, 'h.example', '/')).toBe('default/web 200')
    // a Service without endpoints takes its router away: the next one answers
    expect(curl(cluster, 8000, 'h.example', '/e')).toBe('default/web 200')
    expect(curl(cluster, 8000, 'other.example')).toBe('404 page not found 404')
  })

  it('reads entry points and options from its arguments', () => {
    const args = [
      '--entrypoints.web.address=:80',
      '--entrypoints.web.http.redirections.entryPoint.to=websecure',
      '--entrypoints.websecure.address=:443',
      '--providers.kubernetesingress.strictPrefixMatching=true',
    ]
    const cluster = buildCluster(
      modelOf(controller('traefik', args), ingress('i', rule('h.example', path('/api', 'api')))),
    )
    expect(curl(cluster, 80, 'h.example', '/api')).toBe('Moved Permanently 301 https://h.example/api')
    expect(curl(cluster, 443, 'h.example', '/apix')).toBe('404 page not found 404')
  })
})

describe('the HAProxy controller', () => {
  it('takes exact paths, then prefixes by length, then rules without host', () => {
    const cluster = buildCluster(
      modelOf(
        HAPROXY,
        ingress(
          'i',
          `${rule('h.example', path('/', 'web'), path('/api', 'api'), path('/e', 'empty'))}, ${rule('', path('/any', 'web'))}`,
        ),
      ),
    )
    expect(curl(cluster, 8080, 'h.example', '/api/x')).toBe('default/api 200')
    expect(curl(cluster, 8080, 'h.example', '/apix')).toBe('default/web 200')
    expect(curl(cluster, 8080, 'h.example', '/e')).toBe('503')
    expect(curl(cluster, 8080, 'other.example', '/any')).toBe('default/web 200')
    expect(curl(cluster, 8080, 'other.example', '/x')).toBe('404')
    expect(choosePath([], 'h', '/')).toBeNull()
  })
})

describe('a reviewer', () => {
  it('finds what will not work, each with its line', () => {
    const model = modelOf(
      'apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: nginx}\nspec: {controller: k8s.io/ingress-nginx}',
      ingress(
        'a',
        rule('h', path('/', 'web'), path('/b', 'wbe'), path('/c', 'web', 'Prefix', 'number: 81'), path('/d', 'empty')),
      ),
      ingress('b', rule('h', path('/', 'api')), 'ingressClassName: nginx, '),
      ingress('c', rule('h', path('/', 'api')), 'ingressClassName: ngnix, '),
      ingress('d', rule('h', path('/', 'api'))),
      'apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec: {gatewayClassName: x, listeners: [{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: HTTP}]}',
      'apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {parentRefs: [{name: gg}, {name: g, sectionName: z}], rules: [{backendRefs: [{name: nope, port: 80}, {name: web, namespace: kube-system, port: 80}]}]}',
      'apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: s}\nspec: {}',
    )
    const found = lintIngress(model)
    expect(found.every((d) => d.file === 'in.yaml' && d.line > 0)).toBe(true)
    expect(found.map((d) => [d.code, d.path])).toEqual([
      ['unknown-service', 'spec.rules[0].http.paths[1].backend.service'],
      ['unknown-port', 'spec.rules[0].http.paths[2].backend.service'],
      ['no-endpoints', 'spec.rules[0].http.paths[3].backend.service'],
      ['unknown-class', 'spec.ingressClassName'],
      ['duplicate-path', 'spec.rules[0].http.paths[0]'],
      ['unknown-class', 'spec.gatewayClassName'],
      ['listener-conflict', 'spec.listeners[1]'],
      ['no-parent', 'spec.parentRefs[0]'],
      ['not-attached', 'spec.parentRefs[1]'],
      ['unknown-service', 'spec.rules[0].backendRefs[0]'],
      ['ref-not-permitted', 'spec.rules[0].backendRefs[1]'],
      ['no-parent', 'spec'],
    ])
  })
})
