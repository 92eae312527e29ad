/**
 * Sets of Ingress paths of one host and the URIs that are asked of them: real nginx when it is recorded, ours when compared.
 */
import { locationsOf } from '../../src/ingress/nginx.ts'
import type { IngressPath } from '../../src/ingress/objects.ts'

type PathRow = readonly [path: string, pathType: IngressPath['pathType']]

/** Sets by name; a name that begins with `regex` has use-regex. */
export const PATH_SETS: { readonly [name: string]: readonly PathRow[] } = {
  usual: [
    ['/', 'Prefix'],
    ['/api', 'Prefix'],
    ['/api/v1', 'Prefix'],
    ['/cart', 'Exact'],
    ['/img/', 'Prefix'],
  ],
  implementation: [
    ['/impl', 'ImplementationSpecific'],
    ['/impl/deep', 'ImplementationSpecific'],
    ['/impl', 'Exact'],
  ],
  overlapping: [
    ['/a', 'Exact'],
    ['/a', 'Prefix'],
    ['/a/', 'Exact'],
    ['/a/b', 'Prefix'],
    ['/A', 'Prefix'],
  ],
  odd: [
    ['/a.b', 'Prefix'],
    ['/a(b)', 'ImplementationSpecific'],
    ['/x/', 'Exact'],
    ['/y', 'Prefix'],
  ],
  regex: [
    ['/api/v[0-9]+', 'ImplementationSpecific'],
    ['/api', 'ImplementationSpecific'],
    ['/api/v1/users', 'ImplementationSpecific'],
  ],
  'regex with prefixes': [
    ['/shop', 'Prefix'],
    ['/shop/(.*)', 'ImplementationSpecific'],
    ['/shop', 'Exact'],
    ['/', 'Prefix'],
  ],
}

/** Asked of every set. */
export const URIS: readonly string[] = [
  ...[
    '/',
    '/api',
    '/api/',
    '/apis',
    '/api/v1',
    '/api/v1/',
    '/api/v12',
    '/api/v1/users',
    '/API/v2',
    '/cart',
    '/cart/',
    '/cart/1',
  ],
  ...[
    '/img',
    '/img/',
    '/img/a.png',
    '/impl',
    '/impl/',
    '/implx',
    '/impl/deep',
    '/impl/deeper',
    '/a',
    '/a/',
    '/a/b',
    '/a/bc',
    '/a/b/c',
  ],
  ...[
    '/A',
    '/A/x',
    '/aa',
    '/a.b',
    '/axb',
    '/a(b)',
    '/x',
    '/x/',
    '/x/y',
    '/y',
    '/y/z',
    '/yz',
    '/shop',
    '/shop/',
    '/shop/x',
    '/shopping',
  ],
]

/** The paths of a set as the controller flattens them. */
export function pathsOfSet(name: string): IngressPath[] {
  const annotations = name.startsWith('regex') ? { 'nginx.ingress.kubernetes.io/use-regex': 'true' } : {}
  return PATH_SETS[name]!.map(([path, pathType]) => {
    return { host: 'h', path, pathType, annotations, namespace: 'n', backend: {} } as unknown as IngressPath
  })
}

/** The locations of a set in nginx' words, each answering with its own text. */
export function nginxLocations(name: string): string {
  return locationsOf(pathsOfSet(name))
    .map((l) => {
      const text = `${l.modifier} ${l.path}`.trim()
      const head = l.modifier === '~*' ? `~* "^${l.path}"` : `${l.modifier} "${l.path}"`
      return `location ${head} { return 200 '${text}'; }`
    })
    .join('\n')
}
