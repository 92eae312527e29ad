/**
 * Assertion files: what somebody means their policies to do, in YAML or JSON.
 *
 *     apiVersion: podwalk.dev/v1alpha1
 *     kind: PolicyAssertions
 *     spec:
 *       assertions:
 *         - { name: web asks api, allow: { from: deploy/shop/web, to: "svc/shop/api:80" } }
 *         - { deny: { from: { namespaceSelector: { matchLabels: { tenant: a } } }, to: ns/shop, ports: [TCP/5432] } }
 *         - { isolated: [ns/a, ns/b] }
 *         - { only: { from: { podSelector: { matchLabels: { app: gateway } } }, to: internet } }
 *         - { defaultDeny: { pods: "*", direction: ingress } }
 *
 * An end is a string as on the command line, `*` (all pods), `internet` (everything that is no pod and no node), or an object
 * with `namespace`, `namespaceSelector`, `podSelector`, `cidr`. netassert's form, a list of cases with `src`, `dst`,
 * `targetPort` and `exitCode`, is read too (github.com/controlplaneio/netassert, v2).
 */
import { parseCidr } from '../../addr/cidr.ts'
import { type Diagnostic, Diagnostics, type SourcePosition } from '../../diagnostics/diagnostic.ts'
import { readJson } from '../../kubernetes/json.ts'
import {
  any,
  checkSchema,
  describe,
  int,
  list,
  type ObjectSchema,
  object,
  oneOf,
  pathText,
  string,
} from '../../kubernetes/schema.ts'
import { labelSelector } from '../../kubernetes/schemas/common.ts'
import { SourceFile } from '../../kubernetes/source.ts'
import type { FieldPath, KubernetesObject, LabelSelector, LoadedObject, Protocol } from '../../kubernetes/types.ts'
import { readYaml } from '../../kubernetes/yaml.ts'

/** One end of an assertion, as it was written. */
export type EndSpec =
  | string
  | {
      readonly namespace?: string
      readonly namespaceSelector?: LabelSelector
      readonly podSelector?: LabelSelector
      readonly cidr?: string
    }

/** A protocol with a port; a null port is every port of the protocol. */
export interface PortSpec {
  readonly protocol: Protocol | 'ICMP'
  readonly port: number | null
}

/** What is asserted. */
export type Assertion = {
  readonly name: string
  readonly at: SourcePosition
} & (
  | {
      readonly kind: 'allow' | 'deny' | 'only'
      readonly from: EndSpec
      readonly to: EndSpec
      readonly ports: readonly PortSpec[]
    }
  | { readonly kind: 'isolated'; readonly ends: readonly EndSpec[] }
  | { readonly kind: 'defaultDeny'; readonly pods: EndSpec; readonly directions: readonly ('ingress' | 'egress')[] }
)

/** Assertions of some files, and what is wrong in them. */
export interface AssertionFiles {
  readonly assertions: readonly Assertion[]
  readonly diagnostics: readonly Diagnostic[]
}

const KINDS = ['allow', 'deny', 'only', 'isolated', 'defaultDeny'] as const
const PAIR = object({ 'from!': any, 'to!': any, ports: list(any) })
const FILE: ObjectSchema = object({
  'apiVersion!': oneOf('podwalk.dev/v1alpha1'),
  'kind!': oneOf('PolicyAssertions'),
  metadata: any,
  'spec!': object({
    'assertions!': list(
      object({
        name: string,
        allow: PAIR,
        deny: PAIR,
        only: PAIR,
        isolated: list(any, 2),
        defaultDeny: object({ 'pods!': any, direction: oneOf('ingress', 'egress', 'both') }),
      }),
      1,
    ),
  }),
})
const END: ObjectSchema = object({
  namespace: string,
  namespaceSelector: labelSelector,
  podSelector: labelSelector,
  cidr: string,
})
const RESOURCE = object({ 'k8sResource!': object({ 'kind!': string, 'name!': string, 'namespace!': string }) })
const NETASSERT: ObjectSchema = object(
  {
    'name!': string,
    'targetPort!': int,
    exitCode: int,
    protocol: oneOf('tcp', 'udp'),
    'src!': RESOURCE,
    'dst!': object({
      k8sResource: object({ 'kind!': string, 'name!': string, 'namespace!': string }),
      host: object({ 'name!': string }),
    }),
  },
  'type timeoutSeconds attempts',
)

/** Reads the files; every problem of every file is in the diagnostics. */
export function readAssertions(files: readonly { readonly name: string; readonly text: string }[]): AssertionFiles {
  const diagnostics = new Diagnostics()
  const assertions: Assertion[] = []
  for (const { name, text } of files) {
    const file = new SourceFile(name, text)
    const documents = (/^\s*[[{]/.test(text) ? readJson(file, diagnostics) : null) ?? readYaml(file, diagnostics)
    let found = 0
    for (const document of documents) {
      if (document.value === null || document.value === undefined) continue
      found++
      const loaded = (value: unknown, prefix: FieldPath): LoadedObject => ({
        object: value as KubernetesObject,
        source: file.positionAt(document.offsetOf(prefix)),
        positionOf: (path) => file.positionAt(document.offsetOf([...prefix, ...path])),
      })
      if (Array.isArray(document.value)) {
        for (const [i, item] of document.value.entries()) readNetassert(loaded(item, [i]), assertions, diagnostics)
      } else readDocument(loaded(document.value, []), assertions, diagnostics)
    }
    if (found === 0 && !diagnostics.hasErrors)
      diagnostics.error('empty-input', { file: name, line: 0, col: 0 }, 'expected assertions, found nothing')
  }
  // a field that is not known would make an assertion say less than was meant
  const strict = diagnostics.sorted().map((d) => (d.severity === 'warning' ? { ...d, severity: 'error' as const } : d))
  return { assertions, diagnostics: strict }
}

type Fields = { readonly [field: string]: unknown }

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function readDocument(loaded: LoadedObject, out: Assertion[], diagnostics: Diagnostics): void {
  if (!isFields(loaded.object)) {
    diagnostics.error('not-an-object', loaded.source, `expected PolicyAssertions, found ${describe(loaded.object)}`)
    return
  }
  if (!checkSchema(loaded, FILE, diagnostics)) return
  const items = (loaded.object as unknown as { spec: { assertions: Fields[] } }).spec.assertions
  for (const [i, item] of items.entries()) readAssertion(loaded, item, ['spec', 'assertions', i], out, diagnostics)
}

function readAssertion(
  loaded: LoadedObject,
  item: Fields,
  path: FieldPath,
  out: Assertion[],
  diagnostics: Diagnostics,
): void {
  const at = loaded.positionOf(path)
  const kinds = KINDS.filter((k) => item[k] !== undefined && item[k] !== null)
  if (kinds.length !== 1) {
    const found = kinds.length === 0 ? 'none' : kinds.join(' and ')
    diagnostics.error('wrong-assertion', at, `expected one of ${KINDS.join(', ')}, found ${found}`, {
      path: pathText(path),
    })
    return
  }
  const kind = kinds[0]!
  const value = item[kind]
  const reader = new FieldReader(loaded, diagnostics)
  const named = (text: string): { name: string; at: SourcePosition } => ({
    name: (item.name as string | undefined) ?? text,
    at,
  })
  if (kind === 'isolated') {
    const ends = (value as unknown[]).map((e, i) => reader.end(e, [...path, kind, i]))
    out.push({ ...named(`isolated: ${ends.map(endText).join(', ')}`), kind, ends })
  } else if (kind === 'defaultDeny') {
    const v = value as Fields
    const direction = (v.direction as string | undefined) ?? 'both'
    const directions = direction === 'both' ? (['ingress', 'egress'] as const) : [direction as 'ingress' | 'egress']
    const pods = reader.end(v.pods, [...path, kind, 'pods'])
    out.push({ ...named(`default deny ${direction}: ${endText(pods)}`), kind, pods, directions })
  } else {
    const v = value as Fields
    const from = reader.end(v.from, [...path, kind, 'from'])
    const to = reader.end(v.to, [...path, kind, 'to'])
    const ports = ((v.ports as unknown[] | undefined) ?? []).map((p, i) => reader.port(p, [...path, kind, 'ports', i]))
    const list = ports.length === 0 ? '' : ` on ${ports.map(portSpecText).join(', ')}`
    out.push({ ...named(`${kind} ${endText(from)} -> ${endText(to)}${list}`), kind, from, to, ports })
  }
}

/** Reads ends and ports; what is wrong becomes a diagnostic with its place. */
class FieldReader {
  private readonly loaded: LoadedObject
  private readonly diagnostics: Diagnostics

  constructor(loaded: LoadedObject, diagnostics: Diagnostics) {
    this.loaded = loaded
    this.diagnostics = diagnostics
  }

  end(value: unknown, path: FieldPath): EndSpec {
    if (typeof value === 'string') return value
    if (!isFields(value) || Object.keys(value).length === 0) {
      this.fail(
        path,
        `expected an end (a string, or an object with namespace, namespaceSelector, podSelector or cidr), found ${describe(value)}`,
      )
      return ''
    }
    const at = this.loaded
    const inner: LoadedObject = {
      object: value as unknown as KubernetesObject,
      source: at.positionOf(path),
      positionOf: (p) => at.positionOf([...path, ...p]),
    }
    checkSchema(inner, END, this.diagnostics)
    const end = value as Exclude<EndSpec, string>
    if (end.cidr !== undefined && typeof end.cidr === 'string') {
      if (parseCidr(end.cidr) === null)
        this.fail([...path, 'cidr'], `expected a CIDR such as 10.0.0.0/8, found "${end.cidr}"`)
      if (Object.keys(value).length > 1) this.fail(path, 'expected cidr alone, found selectors beside it')
    }
    if (end.namespace !== undefined && end.namespaceSelector !== undefined)
      this.fail(path, 'expected namespace or namespaceSelector, found both')
    return end
  }

  port(value: unknown, path: FieldPath): PortSpec {
    const match = typeof value === 'number' || typeof value === 'string' ? PORT.exec(String(value)) : null
    const port = match?.[2] === undefined ? null : Number(match[2])
    if (match === null || (port === null && match[1] === undefined) || (port !== null && port > 65535)) {
      this.fail(path, `expected a port such as 80, TCP/80, UDP/53 or SCTP, found ${describe(value)}`)
      return { protocol: 'TCP', port: 0 }
    }
    return { protocol: (match[1] ?? 'TCP').toUpperCase() as PortSpec['protocol'], port }
  }

  private fail(path: FieldPath, message: string): void {
    this.diagnostics.error('wrong-assertion', this.loaded.positionOf(path), message, { path: pathText(path) })
  }
}

const PORT = /^(?:(tcp|udp|sctp|icmp)(?:\/|$))?(\d{1,5})?$/i

/** A case of netassert: exit code 0 means that the connection succeeds. */
function readNetassert(loaded: LoadedObject, out: Assertion[], diagnostics: Diagnostics): void {
  if (!isFields(loaded.object)) {
    diagnostics.error('not-an-object', loaded.source, `expected a netassert case, found ${describe(loaded.object)}`)
    return
  }
  if (!checkSchema(loaded, NETASSERT, diagnostics)) return
  const item = loaded.object as unknown as {
    name: string
    targetPort: number
    exitCode?: number
    protocol?: string
    src: { k8sResource: NetassertResource }
    dst: { k8sResource?: NetassertResource; host?: { name: string } }
  }
  const to = item.dst.k8sResource === undefined ? item.dst.host?.name : resourceEnd(item.dst.k8sResource)
  if (to === undefined) {
    diagnostics.error('wrong-assertion', loaded.positionOf(['dst']), 'expected k8sResource or host, found neither', {
      path: 'dst',
    })
    return
  }
  out.push({
    name: item.name,
    at: loaded.source,
    kind: (item.exitCode ?? 0) === 0 ? 'allow' : 'deny',
    from: resourceEnd(item.src.k8sResource),
    to,
    ports: [{ protocol: (item.protocol ?? 'tcp').toUpperCase() as Protocol, port: item.targetPort }],
  })
}

interface NetassertResource {
  readonly kind: string
  readonly name: string
  readonly namespace: string
}

function resourceEnd(r: NetassertResource): string {
  return `${r.kind.toLowerCase()}/${r.namespace}/${r.name}`
}

/** `TCP/80`, or `TCP` for all of its ports. */
export function portSpecText(p: PortSpec): string {
  return p.port === null ? p.protocol : `${p.protocol}/${p.port}`
}

/** An end in a few words. */
export function endText(end: EndSpec): string {
  if (typeof end === 'string') return end === '*' ? 'all pods' : end
  if (end.cidr !== undefined) return end.cidr
  const of =
    end.namespace ??
    (end.namespaceSelector === undefined ? 'all namespaces' : `namespaces ${selectorText(end.namespaceSelector)}`)
  return end.podSelector === undefined ? of : `pods ${selectorText(end.podSelector)} of ${of}`
}

function selectorText(s: LabelSelector): string {
  const parts = Object.entries(s.matchLabels ?? {}).map(([k, v]) => `${k}=${v}`)
  for (const r of s.matchExpressions ?? []) parts.push(`${r.key} ${r.operator} ${(r.values ?? []).join('|')}`.trim())
  return parts.length === 0 ? '{}' : parts.join(',')
}
