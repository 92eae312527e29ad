/**
 * The endpoints of a question: from the words of the command line to a pod, a Service port, a node or an address.
 *
 *     NS/POD  pod/NS/POD  deploy/NS/NAME  sts/NS/NAME  ds/NS/NAME  svc/NS/NAME:PORT  node/NAME  host:IP  internet  IP  DNS name
 *
 * Any of them may end in `:PORT`, a number or the name of a port. Without NS, `-n` counts. A pod may be given by a unique
 * beginning of its name, with or without `..` behind it. What cannot be resolved is a Diagnostic with the nearest names.
 */
import { isIpv4Host, parseIpv4 } from '../addr/ipv4.ts'
import { parseIpv6 } from '../addr/ipv6.ts'
import type { Diagnostic } from '../diagnostics/diagnostic.ts'
import type { DnsAnswer } from './dns.ts'
import { resolveName } from './dns.ts'
import { nearest } from './names.ts'
import { keyOf } from './services.ts'
import type { ClusterModel, NodeModel, PodModel, Protocol, Service, ServicePort } from './types.ts'

/** A resolved endpoint. */
export type Target =
  | { readonly kind: 'pod'; readonly pod: PodModel; readonly ip: string; readonly port?: number }
  | {
      readonly kind: 'service'
      readonly service: Service
      readonly servicePort: ServicePort
      readonly ip: string
      readonly port: number
    }
  | { readonly kind: 'node'; readonly node: NodeModel; readonly ip: string; readonly port?: number }
  | { readonly kind: 'host'; readonly ip: string; readonly port?: number }
  | { readonly kind: 'ip'; readonly ip: string; readonly port?: number; readonly dns?: DnsAnswer }

/** A target with what was chosen on the way, or why there is none. */
export type TargetResult =
  | {
      readonly target: Target
      readonly notes: readonly string[]
      readonly diagnostic?: never
      /** The name that was asked of the DNS on the way. */
      readonly dnsName?: string
    }
  | { readonly target?: never; readonly diagnostic: Diagnostic }

/** How the words are read. */
export interface TargetOptions {
  /** `-n`; default `default`. */
  readonly namespace?: string
  /** The pod that resolves DNS names; default is any pod of the namespace. */
  readonly from?: PodModel
  /** The source is a machine outside: a Service is reached by its load balancer's address, if it has one. */
  readonly isOutside?: boolean
  /** Tells ports of one number apart; default TCP. */
  readonly protocol?: Protocol
}

/** Who `internet` is: a machine of TEST-NET-2. */
const INTERNET = '198.51.100.7'

const KINDS: Readonly<Record<string, string>> = {
  po: 'Pod',
  pod: 'Pod',
  pods: 'Pod',
  deploy: 'Deployment',
  deployment: 'Deployment',
  deployments: 'Deployment',
  rs: 'ReplicaSet',
  replicaset: 'ReplicaSet',
  sts: 'StatefulSet',
  statefulset: 'StatefulSet',
  ds: 'DaemonSet',
  daemonset: 'DaemonSet',
  job: 'Job',
  svc: 'Service',
  service: 'Service',
  services: 'Service',
  no: 'Node',
  node: 'Node',
  nodes: 'Node',
}

/** Resolves one endpoint of a question. */
export function resolveTarget(model: ClusterModel, text: string, options: TargetOptions = {}): TargetResult {
  const reader = new TargetReader(model, text, options)
  if (text === '')
    return reader.fail('expected an endpoint, found nothing', 'for example shop/web, svc/shop/api:80, 10.244.1.2')
  if (text === 'internet') return reader.host(INTERNET)
  if (text.startsWith('host:')) return reader.host(text.slice('host:'.length))
  const { rest, portText } = splitPort(text)
  const segments = rest.split('/')
  const kind = segments.length > 1 ? KINDS[segments[0]!.toLowerCase()] : undefined
  if (segments.some((segment) => segment === ''))
    return reader.fail(`expected names between the slashes, found "${text}"`)
  if (kind === undefined && segments.length === 1) return reader.bare(rest, portText)
  if (kind === undefined && segments.length === 2) return reader.pod(segments[0]!, segments[1]!, portText)
  if (kind === undefined || segments.length > 3) {
    const known = [...new Set(Object.keys(KINDS))]
    const meant = nearest(segments[0]!, known, 1)[0]
    return reader.fail(
      `expected KIND/NS/NAME or NS/POD, found "${text}"`,
      meant === undefined ? 'kinds: pod, deploy, sts, ds, rs, job, svc, node' : `did you mean ${meant}/...?`,
    )
  }
  const name = segments[segments.length - 1]!
  if (kind === 'Node') {
    return segments.length === 2 ? reader.node(name, portText) : reader.fail(`expected node/NAME, found "${text}"`)
  }
  const namespace = segments.length === 3 ? segments[1]! : (options.namespace ?? 'default')
  if (kind === 'Service') return reader.service(namespace, name, portText)
  if (kind === 'Pod') return reader.pod(namespace, name, portText)
  return reader.workload(kind, namespace, name, portText)
}

/** `a:80` into its parts; IPv6 addresses need brackets for a port. */
function splitPort(text: string): { rest: string; portText: string | undefined } {
  if (parseIpv6(text) !== null) return { rest: text, portText: undefined }
  const bracket = /^\[(.+)\](?::(.+))?$/.exec(text)
  if (bracket !== null) return { rest: bracket[1]!, portText: bracket[2] }
  const colon = text.lastIndexOf(':')
  return colon < 0
    ? { rest: text, portText: undefined }
    : { rest: text.slice(0, colon), portText: text.slice(colon + 1) }
}

function portNumber(text: string): number | null {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  return port >= 1 && port <= 65535 ? port : null
}

class TargetReader {
  private readonly model: ClusterModel
  private readonly text: string
  private readonly options: TargetOptions

  constructor(model: ClusterModel, text: string, options: TargetOptions) {
    this.model = model
    this.text = text
    this.options = options
  }

  fail(message: string, hint?: string): TargetResult {
    const diagnostic: Diagnostic = {
      code: 'unresolvable',
      severity: 'error',
      message,
      file: '',
      line: 0,
      col: 0,
      path: this.text,
      ...(hint !== undefined && { hint }),
    }
    return { diagnostic }
  }

  private missing(what: string, name: string, names: Iterable<string>): TargetResult {
    const all = [...names]
    const near = nearest(name, all)
    const hint =
      near.length > 0
        ? `did you mean ${near.join(', ')}?`
        : all.length === 0
          ? undefined
          : `there are: ${all.slice(0, 5).join(', ')}${all.length > 5 ? ` and ${all.length - 5} more` : ''}`
    return this.fail(`no ${what}`, hint)
  }

  host(text: string): TargetResult {
    const { rest, portText } = splitPort(text)
    const ip = parseIpv4(rest)
    if (ip === null) return this.fail(`expected host:IP with an IPv4 address, found "${rest}"`)
    if (!isIpv4Host(ip)) return this.fail(`no machine can have the address ${rest}`)
    const node = this.model.nodes.find((n) => n.internalIp === rest)
    if (node !== undefined) return this.fail(`${rest} is no machine outside the cluster`, `it is node/${node.name}`)
    const pod = this.model.pods.find((p) => p.ip === rest && !p.hostNetwork)
    if (pod !== undefined) return this.fail(`${rest} is no machine outside the cluster`, `it is pod ${label(pod)}`)
    const port = this.number(portText)
    return port === null ? this.badPort(portText) : { target: { kind: 'host', ip: rest, ...port }, notes: [] }
  }

  node(name: string, portText: string | undefined): TargetResult {
    const node = this.model.nodes.find((n) => n.name === name)
    if (node === undefined)
      return this.missing(
        `node ${name}`,
        name,
        this.model.nodes.map((n) => n.name),
      )
    const port = this.number(portText)
    return port === null
      ? this.badPort(portText)
      : { target: { kind: 'node', node, ip: node.internalIp, ...port }, notes: [] }
  }

  pod(namespace: string, name: string, portText: string | undefined): TargetResult {
    const pods = this.model.pods.filter((p) => p.namespace === namespace)
    const exact = pods.find((p) => p.name === name)
    if (exact !== undefined) return this.podPort(exact, portText, [])
    const prefix = name.replace(/\.{2,}$|…$|\*$/, '')
    const matching = pods.filter((p) => p.name.startsWith(prefix))
    if (matching.length === 1)
      return this.podPort(matching[0]!, portText, [`${this.text} is pod ${label(matching[0]!)}`])
    if (matching.length > 1) {
      const names = matching.slice(0, 5).map((p) => p.name)
      const more = matching.length > 5 ? ` and ${matching.length - 5} more` : ''
      return this.fail(
        `"${name}" begins the names of ${matching.length} pods in ${namespace}`,
        `give more of: ${names.join(', ')}${more}`,
      )
    }
    const pending = this.model.pendingPods.find((p) => p.namespace === namespace && p.name.startsWith(prefix))
    if (pending !== undefined) return this.fail(`pod ${namespace}/${pending.name} has no address: ${pending.message}`)
    if (pods.length === 0) return this.missingNamespace(namespace)
    return this.missing(
      `pod ${namespace}/${name}`,
      name,
      pods.map((p) => p.name),
    )
  }

  private missingNamespace(namespace: string): TargetResult {
    const used = new Set(this.model.pods.map((p) => p.namespace))
    return this.missing(`pod in namespace ${namespace}`, namespace, used)
  }

  workload(kind: string, namespace: string, name: string, portText: string | undefined): TargetResult {
    const isOwned = (p: { namespace: string; owner?: PodModel['owner'] }): boolean =>
      p.namespace === namespace &&
      p.owner !== undefined &&
      ((p.owner.workloadKind === kind && p.owner.workloadName === name) ||
        (p.owner.kind === kind && p.owner.name === name))
    const pods = this.model.pods.filter(isOwned)
    const ready = pods.filter((p) => p.ready && !p.terminating)
    const chosen = ready[0] ?? pods[0]
    if (chosen !== undefined) {
      const state = ready.length > 0 ? `${ready.length} ready` : `${pods.length} that are not ready`
      return this.podPort(chosen, portText, [`chose pod ${label(chosen)} of ${state} of ${kind} ${namespace}/${name}`])
    }
    const pending = this.model.pendingPods.find(isOwned)
    if (pending !== undefined) return this.fail(`${kind} ${namespace}/${name} has no running pod: ${pending.message}`)
    const names = new Set<string>()
    for (const { owner, namespace: ns } of this.model.pods) {
      if (owner?.workloadKind === kind) names.add(ns === namespace ? owner.workloadName : `${ns}/${owner.workloadName}`)
    }
    return this.missing(`${kind} ${namespace}/${name} with pods`, name, names)
  }

  service(namespace: string, name: string, portText: string | undefined): TargetResult {
    const key = `${namespace}/${name}`
    const service = this.model.services.find(({ object }) => keyOf(object) === key)?.object
    if (service === undefined) {
      const names = this.model.services.map(({ object }) =>
        object.metadata.namespace === namespace ? object.metadata.name : keyOf(object),
      )
      return this.missing(`Service ${key}`, name, names)
    }
    const { spec } = service
    if (spec.type === 'ExternalName')
      return this.dns(`${name}.${namespace}.svc.${this.model.config.dnsDomain}`, portText)
    const ports = spec.ports ?? []
    if (ports.length === 0 && spec.clusterIP === 'None') return this.headless(key, undefined, portText)
    const listed = ports.map((p) => `${p.port}${p.name ? ` (${p.name})` : ''}/${p.protocol}`).join(', ')
    const protocol = this.options.protocol
    const isAsked = (p: ServicePort): boolean =>
      portText === undefined || String(p.port) === portText || p.name === portText
    const asked = ports.filter((p) => isAsked(p) && (protocol === undefined || p.protocol === protocol))
    const distinct = portText === undefined ? asked : asked.slice(0, 1)
    const servicePort = distinct[0]
    if (servicePort === undefined) {
      // A port the Service does not have is still a fair question about its address.
      const number = portText === undefined ? null : portNumber(portText)
      if (number !== null && spec.clusterIP && spec.clusterIP !== 'None') {
        const notes = [`Service ${key} has no port ${portText}; it has ${listed}`]
        return { target: { kind: 'ip', ip: spec.clusterIP, port: number }, notes }
      }
      return this.fail(
        `Service ${key} has no port ${portText ?? `for ${protocol}`}`,
        ports.length > 0 ? `it has ${listed}` : undefined,
      )
    }
    if (distinct.length > 1) return this.fail(`expected svc/${key}:PORT, found no port`, `the Service has ${listed}`)
    if (spec.clusterIP === 'None') return this.headless(key, servicePort, undefined)
    const balancer = service.status?.loadBalancer?.ingress?.find((i) => i.ip !== undefined)?.ip
    if (this.options.isOutside === true && balancer !== undefined) {
      const notes = [`from outside, Service ${key} is its load balancer's address ${balancer}`]
      return { target: { kind: 'ip', ip: balancer, port: servicePort.port }, notes }
    }
    const ip = spec.clusterIP
    if (ip === undefined) return this.fail(`Service ${key} has no ClusterIP`)
    return { target: { kind: 'service', service, servicePort, ip, port: servicePort.port }, notes: [] }
  }

  private headless(key: string, servicePort: ServicePort | undefined, portText: string | undefined): TargetResult {
    const number = this.number(portText)
    if (number === null) return this.badPort(portText)
    for (const slice of this.model.endpointSlices) {
      if (slice.service !== key) continue
      const found = slice.object.ports?.find((p) => (p.name ?? '') === (servicePort?.name ?? ''))?.port
      const port = servicePort === undefined ? number : { port: found ?? servicePort.port }
      const endpoint = slice.object.endpoints.find((e) => e.conditions?.ready !== false)
      if (endpoint === undefined) continue
      const ip = endpoint.addresses[0]!
      const pod = this.model.pods.find((p) => p.ip === ip && !p.hostNetwork)
      const notes = [`headless Service ${key}: chose endpoint ${ip}`]
      if (pod !== undefined) return { target: { kind: 'pod', pod, ip, ...port }, notes }
      return { target: { kind: 'ip', ip, ...port }, notes }
    }
    return this.fail(`headless Service ${key} has no ready endpoint`)
  }

  bare(word: string, portText: string | undefined): TargetResult {
    const namespace = this.options.namespace ?? 'default'
    if (parseIpv4(word) !== null) {
      const port = this.number(portText)
      return port === null ? this.badPort(portText) : { target: { kind: 'ip', ip: word, ...port }, notes: [] }
    }
    if (parseIpv6(word) !== null) return this.fail('IPv6 is not modelled yet')
    if (/^[\d.]+$/.test(word)) return this.fail(`expected an IPv4 address, found "${word}"`)
    const name = word.replace(/\.{2,}$|…$|\*$/, '')
    const isPod = this.model.pods.some((p) => p.namespace === namespace && p.name.startsWith(name))
    const answer = this.resolve(word)
    if (answer.status !== 'NOERROR' && isPod) return this.pod(namespace, word, portText)
    return this.dns(word, portText)
  }

  private resolve(name: string): DnsAnswer {
    const namespace = this.options.namespace ?? 'default'
    return resolveName(this.model, this.options.from ?? { namespace }, name)
  }

  private dns(name: string, portText: string | undefined): TargetResult {
    const answer = this.resolve(name)
    const ip = answer.addresses[0]
    if (ip === undefined) {
      if (answer.status === 'EXTERNAL') {
        const alias = answer.cnames.length > 0 ? ` (an alias of ${answer.canonicalName})` : ''
        return this.fail(`${name}${alias} is a name outside of the cluster`, 'give its address: host:IP or IP')
      }
      const names = this.model.services.map(({ object: { metadata } }) => `${metadata.name}.${metadata.namespace}`)
      if (!name.includes('.')) {
        const namespace = this.options.namespace ?? 'default'
        const pods = this.model.pods.filter((p) => p.namespace === namespace).map((p) => p.name)
        return this.missing(`pod ${namespace}/${name} and no such name: NXDOMAIN`, name, [...pods, ...names])
      }
      return this.missing(`such name: ${name} is NXDOMAIN (${answer.how})`, name, names)
    }
    const notes = [`${name} is ${answer.addresses.join(', ')} (${answer.how})`]
    const service = this.model.services.find(({ object }) => keyOf(object) === answer.service)?.object
    if (service !== undefined && service.spec.clusterIP === ip && portText !== undefined) {
      const found = this.service(service.metadata.namespace, service.metadata.name, portText)
      return found.target === undefined ? found : { ...found, notes: [...notes, ...found.notes], dnsName: name }
    }
    const port = this.number(portText)
    if (port === null) return this.badPort(portText)
    return { target: { kind: 'ip', ip, ...port, dns: answer }, notes, dnsName: name }
  }

  private podPort(pod: PodModel, portText: string | undefined, notes: readonly string[]): TargetResult {
    const named = pod.ports.find((p) => p.name === portText && (this.options.protocol ?? p.protocol) === p.protocol)
    const port = named === undefined ? this.number(portText) : { port: named.port }
    if (port === null) {
      const names = pod.ports.flatMap((p) => p.name ?? [])
      return this.missing(`port ${portText} of pod ${label(pod)}`, portText ?? '', names)
    }
    return { target: { kind: 'pod', pod, ip: pod.ip, ...port }, notes }
  }

  /** The port as a field; nothing without one, null for what is no number 1-65535. */
  private number(portText: string | undefined): { port?: number } | null {
    if (portText === undefined) return {}
    const port = portNumber(portText)
    return port === null ? null : { port }
  }

  private badPort(portText: string | undefined): TargetResult {
    return this.fail(`expected a port 1-65535, found "${portText}"`)
  }
}

function label(pod: PodModel): string {
  return `${pod.namespace}/${pod.name}`
}
