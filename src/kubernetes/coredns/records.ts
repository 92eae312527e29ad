/**
 * CoreDNS' kubernetes plugin: names of Services, endpoints and pods to records.
 *
 * Cases as in the plugin: Service (ClusterIP, headless, ExternalName), endpoint names (hostname, else the address with
 * dashes) of headless and other Services, `_port._protocol` for SRV, pods by address (disabled, insecure, verified), the
 * zone's own SOA, NS and dns-version, reverse names of ClusterIPs and endpoints. A headless Service without a ready
 * endpoint is NXDOMAIN; a name of another type is an empty NOERROR with the SOA.
 *
 * Not modelled: multicluster zones, zone transfer (REFUSED as without the transfer plugin), labels selectors and
 * kubeconfig options of the plugin; the SOA's serial, a time of the API server's, is 1.
 * Sources: coredns 1.12 plugin/kubernetes/{kubernetes,parse,reverse,ns,handler}.go, plugin/backend_lookup.go,
 * Kubernetes DNS specification 1.1.0.
 */
import { parseIpv4 } from '../../addr/ipv4.ts'
import { formatIpv6, parseIpv6 } from '../../addr/ipv6.ts'
import type { DnsRecord } from '../../wire/dns.ts'
import { keyOf } from '../services.ts'
import type { ClusterModel, Endpoint, EndpointPort, Service } from '../types.ts'
import { type CorefilePlugin, matchZone } from './corefile.ts'

/** Options of the plugin. */
export interface KubernetesOptions {
  /** Lower case. */
  readonly zones: readonly string[]
  readonly pods: 'disabled' | 'insecure' | 'verified'
  readonly ttl: number
  /** Zones for which a missing name goes to the next plugin; null: none. */
  readonly fallthrough: readonly string[] | null
  /** Empty: all. */
  readonly namespaces: readonly string[]
  readonly endpointPodNames: boolean
  readonly ignoreEmptyService: boolean
}

/** What the plugin says about one question. */
export interface PluginAnswer {
  readonly rcode: 'NOERROR' | 'NXDOMAIN' | 'REFUSED'
  readonly answers: readonly DnsRecord[]
  readonly authorities: readonly DnsRecord[]
  readonly additionals: readonly DnsRecord[]
  /** `namespace/name` of the Service that answered. */
  readonly service?: string
}

/** Resolves a name outside of the zone (for CNAMEs); null when it is not known. */
export type UpstreamLookup = (name: string, type: string) => readonly DnsRecord[] | null

const DEFAULT_TTL = 5
const MAX_CNAMES = 10
const DNS_VERSION_TTL = 28800

/** msg.Service: one thing that a name stands for. */
interface Item {
  readonly host: string
  readonly port: number
  /** The name that its key spells: target of SRV records. */
  readonly domain: string
  readonly key: string
}

/** Reads the plugin's block. */
export function kubernetesOptions(plugin: CorefilePlugin, serverZones: readonly string[]): KubernetesOptions {
  const word = (name: string): readonly string[] | undefined => plugin.block.find((l) => l[0] === name)?.slice(1)
  const zones = (plugin.args.length > 0 ? plugin.args : serverZones).flatMap(reverseZone)
  const pods = word('pods')?.[0]
  const through = word('fallthrough')
  const empty = word('ignore')?.[0] === 'empty_service'
  return {
    zones,
    pods: pods === 'insecure' || pods === 'verified' ? pods : 'disabled',
    ttl: Number(word('ttl')?.[0] ?? DEFAULT_TTL),
    fallthrough: through === undefined ? null : through.length === 0 ? [''] : through.map(clean),
    namespaces: word('namespaces') ?? [],
    endpointPodNames: word('endpoint_pod_names') !== undefined,
    ignoreEmptyService: empty,
  }
}

function clean(zone: string): string {
  return zone.replace(/\.$/, '').toLowerCase()
}

/** A zone may be a CIDR: 10.0.0.0/8 is 10.in-addr.arpa. */
function reverseZone(zone: string): string[] {
  const cidr = /^(\d+\.\d+\.\d+\.\d+)\/(8|16|24)$/.exec(zone)
  if (cidr === null) return [clean(zone)]
  const labels = cidr[1]!.split('.').slice(0, Number(cidr[2]) / 8)
  return [`${labels.reverse().join('.')}.in-addr.arpa`]
}

/** The address of a reverse name, or null. */
export function addressOfReverse(name: string): string | null {
  const v4 = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa$/.exec(name)
  if (v4 !== null) return `${v4[4]}.${v4[3]}.${v4[2]}.${v4[1]}`
  const v6 = /^((?:[0-9a-f]\.){32})ip6\.arpa$/.exec(name)
  if (v6 === null) return null
  const digits = v6[1]!.split('.').reverse().join('')
  const words = parseIpv6(digits.replace(/(.{4})(?!$)/g, '$1:'))
  return words === null ? null : formatIpv6(words)
}

/** The plugin with the objects that it watches. */
export class KubernetesPlugin {
  readonly options: KubernetesOptions
  private readonly model: ClusterModel
  private readonly services = new Map<string, Service>()
  private readonly namespaces: ReadonlySet<string>
  private readonly slices = new Map<string, { endpoints: Endpoint[]; ports: readonly EndpointPort[] }[]>()
  private readonly localIps: readonly string[]

  constructor(model: ClusterModel, options: KubernetesOptions, localIps: readonly string[] = []) {
    this.model = model
    this.options = options
    this.localIps = localIps
    for (const { object } of model.services) this.services.set(keyOf(object), object)
    this.namespaces = new Set(model.namespaces.map((n) => n.name))
    for (const { object, service } of model.endpointSlices) {
      if (service === undefined || object.addressType === 'FQDN') continue
      const endpoints = object.endpoints.filter((e) => e.conditions?.ready !== false)
      const ports = object.ports?.length ? object.ports : [{ port: -1 }]
      const list = this.slices.get(service) ?? []
      list.push({ endpoints, ports })
      this.slices.set(service, list)
    }
  }

  /** The zone of ours that holds the name, as the query spells it; null when none does. */
  zoneOf(name: string): string | null {
    const zone = matchZone(this.options.zones, name.toLowerCase())
    return zone === null ? null : name.slice(name.length - zone.length)
  }

  /** Answers a question in one of our zones; null: the name is not ours and falls through to the next plugin. */
  answer(name: string, type: string, upstream: UpstreamLookup): PluginAnswer | null {
    const zone = this.zoneOf(name)
    if (zone === null) return null
    const lower = name.toLowerCase()
    const soa = this.soa(zone)
    const empty = { answers: [], authorities: [soa], additionals: [] }
    if (type === 'AXFR' || type === 'IXFR') return { rcode: 'REFUSED', ...empty, authorities: [] }
    // the plugin looks nothing up for an SOA below the apex: no data, even for a name that is not there
    if (type === 'SOA')
      return { rcode: 'NOERROR', ...empty, ...(lower === zone.toLowerCase() && { authorities: [], answers: [soa] }) }
    const found = this.records(name, type, zone, upstream, [])
    if (found === null) {
      const through = this.options.fallthrough
      if (through !== null && matchZone(through, lower) !== null) return null
      return { rcode: 'NXDOMAIN', ...empty }
    }
    const service = this.serviceOf(lower, zone.toLowerCase())
    const said = service === undefined ? {} : { service }
    if (found.answers.length === 0) return { rcode: 'NOERROR', ...empty, ...said }
    return { rcode: 'NOERROR', answers: found.answers, authorities: [], additionals: found.additionals, ...said }
  }

  /** The Service that a name in the zone speaks of, if there is one. */
  private serviceOf(name: string, zone: string): string | undefined {
    const labels = name.slice(0, -zone.length - 1).split('.')
    if (labels.pop() !== 'svc') return undefined
    const key = `${labels.pop()}/${labels.pop()}`
    return this.services.has(key) ? key : undefined
  }

  private soa(zone: string): DnsRecord {
    const { ttl } = this.options
    const data = { serial: 1, refresh: 7200, retry: 1800, expire: 86400, minimum: ttl }
    const names = { mname: `ns.dns.${zone}`, rname: `hostmaster.${zone}` }
    return { name: zone, ttl: Math.min(ttl, 300), type: 'SOA', data: { ...names, ...data } }
  }

  /** plugin.A, AAAA, CNAME, SRV, PTR, TXT, NS and the fake A for other types; null is a name error. */
  private records(
    name: string,
    type: string,
    zone: string,
    upstream: UpstreamLookup,
    before: readonly string[],
  ): { answers: DnsRecord[]; additionals: DnsRecord[] } | null {
    const { ttl } = this.options
    const answers: DnsRecord[] = []
    const additionals: DnsRecord[] = []
    const lower = name.toLowerCase()
    if (type === 'PTR') {
      const hosts = this.reverse(lower, zone)
      if (hosts === null) return null
      for (const data of new Set(hosts)) answers.push({ name, ttl, type: 'PTR', data })
      return { answers, additionals }
    }
    if (type === 'TXT') {
      if (lower === `dns-version.${zone}`.toLowerCase()) {
        answers.push({ name, ttl: DNS_VERSION_TTL, type: 'TXT', data: ['1.1.0'] })
        return { answers, additionals }
      }
      const items = this.items(lower, zone)
      return items === null || items.length === 0 ? null : { answers, additionals }
    }
    if (type === 'NS' && lower === zone.toLowerCase()) {
      for (const { host, domain } of this.nameServers(zone)) {
        if (!answers.some((a) => a.data === domain)) answers.push({ name, ttl, type: 'NS', data: domain })
        additionals.push({ name: domain, ttl, type: isV6(host) ? 'AAAA' : 'A', data: host })
      }
      return { answers, additionals }
    }
    const isNs = lower === `ns.dns.${zone}`.toLowerCase()
    const items = isNs ? this.nameServers(zone) : this.items(lower, zone)
    if (items === null) return null
    if (type === 'SRV') {
      srvRecords(name, ttl, items.filter(hasAddress), answers, additionals)
      return { answers, additionals }
    }
    if (type === 'CNAME') {
      for (const i of items) if (!hasAddress(i)) answers.push({ name, ttl, type: 'CNAME', data: i.host })
      return { answers, additionals }
    }
    if (type !== 'A' && type !== 'AAAA') return { answers, additionals }
    const seen = new Set<string>()
    for (const i of items) {
      if (!hasAddress(i)) answers.push(...this.followAlias(name, type, zone, i.host, upstream, before))
      else if (isV6(i.host) === (type === 'AAAA') && !seen.has(i.host)) {
        seen.add(i.host)
        answers.push({ name, ttl, type, data: i.host })
      }
    }
    return { answers, additionals }
  }

  /** An ExternalName Service: the alias, and what it leads to. */
  private followAlias(
    name: string,
    type: 'A' | 'AAAA',
    zone: string,
    host: string,
    upstream: UpstreamLookup,
    before: readonly string[],
  ): DnsRecord[] {
    const target = host.replace(/\.$/, '')
    // x CNAME y.x is a loop for the plugin
    if (`.${target}`.toLowerCase().endsWith(`.${name}`.toLowerCase())) return []
    if (before.length > MAX_CNAMES || before.includes(target)) return []
    const alias: DnsRecord = { name, ttl: this.options.ttl, type: 'CNAME', data: target }
    if (target.toLowerCase().endsWith(`.${zone.toLowerCase()}`)) {
      const next = this.records(target, type, zone, upstream, [...before, target])
      return next === null || next.answers.length === 0 ? [] : [alias, ...next.answers]
    }
    const rest = upstream(target, type)
    return rest === null ? [] : [alias, ...rest]
  }

  /** k.Records: null is a name error, an empty list no data. */
  private items(name: string, zoneText: string): Item[] | null {
    const zone = zoneText.toLowerCase()
    const base = name === zone ? '' : name.slice(0, -zone.length - 1)
    if (base === '' || base === 'svc' || base === 'pod') return []
    const labels = base.split('.')
    const kind = labels.pop()
    if (kind !== 'pod' && kind !== 'svc') return null
    const namespace = labels.pop() ?? ''
    const service = labels.pop() ?? ''
    if (labels.length > 2) return null
    const endpoint = labels.length === 1 ? labels[0]! : ''
    const [port, protocol] = labels.length === 2 ? labels.map((l) => l.replace(/^_/, '')) : ['', '']
    if (zone.endsWith('in-addr.arpa') || zone.endsWith('ip6.arpa')) return null
    if (!this.isExposed(namespace)) return null
    if (service === '') return kind === 'pod' && this.options.pods === 'disabled' ? null : []
    if (kind === 'pod') return this.pods(service, namespace, zoneText)
    return this.serviceItems({ namespace, service, endpoint, port: port!, protocol: protocol! }, zoneText)
  }

  private isExposed(namespace: string): boolean {
    const only = this.options.namespaces
    return this.namespaces.has(namespace) && (only.length === 0 || only.includes(namespace))
  }

  private pods(dashed: string, namespace: string, zone: string): Item[] | null {
    if (this.options.pods === 'disabled') return null
    const isV4 = dashed.split('-').length === 4 && !dashed.includes('--')
    const ip = isV4 ? dashed.replaceAll('-', '.') : dashed.replaceAll('-', ':')
    const item = { host: ip, port: 0, domain: `${dashed}.${namespace}.pod.${zone}`, key: dashed }
    if (this.options.pods === 'insecure') return parseIpv4(ip) === null && parseIpv6(ip) === null ? null : [item]
    const found = this.model.pods.filter((p) => p.ip === ip && p.namespace === namespace)
    return found.length === 0 ? null : found.map(() => item)
  }

  private serviceItems(
    r: { namespace: string; service: string; endpoint: string; port: string; protocol: string },
    zone: string,
  ): Item[] | null {
    const key = `${r.namespace}/${r.service}`
    const object = this.services.get(key)
    if (object === undefined) return null
    const { spec } = object
    const isHeadless = spec.clusterIP === 'None'
    const base = `${r.service}.${r.namespace}.svc.${zone}`
    const slices = this.slices.get(key) ?? []
    if (spec.type === 'ExternalName') {
      if (r.endpoint !== '' || r.port !== '' || r.protocol !== '') return null
      const host = spec.externalName ?? ''
      return parseIpv4(host) !== null || host === '' ? null : [{ host, port: 0, domain: base, key: base }]
    }
    if (this.options.ignoreEmptyService && !isHeadless && !slices.some((s) => s.endpoints.length > 0)) return null
    const out: Item[] = []
    let isFound = false
    const wants = (name: string | undefined, protocol: string | undefined): boolean =>
      (r.port === '' || same(r.port, name ?? '')) && (r.protocol === '' || same(r.protocol, protocol ?? ''))
    if (isHeadless || r.endpoint !== '') {
      for (const { endpoints, ports } of slices) {
        for (const e of endpoints) {
          for (const host of e.addresses) {
            const name = this.endpointName(e, host)
            if (r.endpoint !== '' && !same(r.endpoint, name)) continue
            for (const p of ports) {
              if (!wants(p.name, p.protocol ?? (p.port === -1 ? '' : 'TCP'))) continue
              isFound = true
              out.push({ host, port: p.port ?? 0, domain: `${name}.${base}`, key: host })
            }
          }
        }
      }
      return isFound ? out : null
    }
    const ports: readonly { name?: string; protocol?: string; port: number }[] = spec.ports?.length
      ? spec.ports
      : [{ port: -1 }]
    for (const p of ports) {
      if (!wants(p.name, p.protocol)) continue
      isFound = true
      for (const host of spec.clusterIPs ?? []) out.push({ host, port: p.port, domain: base, key: base })
    }
    return isFound ? out : null
  }

  private endpointName(e: Endpoint, ip: string): string {
    if (e.hostname) return e.hostname
    if (this.options.endpointPodNames && e.targetRef?.name) return e.targetRef.name
    const dashed = ip.replaceAll(/[.:]/g, '-')
    return ip.includes(':') && dashed.endsWith('-') ? `${dashed}0` : dashed
  }

  /** k.Reverse: names of an address; null is a name error. */
  private reverse(name: string, zone: string): string[] | null {
    const ip = addressOfReverse(name)
    if (ip === null) return this.items(name, zone) === null ? null : []
    const primary = this.options.zones.find((z) => !/(?:^|\.)(?:in-addr|ip6)\.arpa$/.test(z)) ?? ''
    const only = this.options.namespaces
    const isHidden = (namespace: string): boolean => only.length > 0 && !this.isExposed(namespace)
    for (const s of this.services.values()) {
      if (!s.spec.clusterIPs?.includes(ip) || isHidden(s.metadata.namespace)) continue
      return [`${s.metadata.name}.${s.metadata.namespace}.svc.${primary}`]
    }
    const names: string[] = []
    for (const [key, slices] of this.slices) {
      const [namespace, service] = key.split('/') as [string, string]
      if (isHidden(namespace)) continue
      for (const { endpoints } of slices) {
        for (const e of endpoints) {
          if (e.addresses.includes(ip)) names.push(`${this.endpointName(e, ip)}.${service}.${namespace}.svc.${primary}`)
        }
      }
    }
    return names.length === 0 ? null : names
  }

  /** k.nsAddrs: the Services in front of this very server, else its own address. */
  private nameServers(zone: string): Item[] {
    const out: Item[] = []
    for (const [key, slices] of this.slices) {
      const isOurs = slices.some((s) => s.endpoints.some((e) => e.addresses.some((a) => this.localIps.includes(a))))
      const service = this.services.get(key)
      if (!isOurs || service === undefined) continue
      const base = `${service.metadata.name}.${service.metadata.namespace}.svc.${zone}`
      for (const host of service.spec.clusterIPs ?? []) {
        if (host !== 'None') out.push({ host, port: 0, domain: base, key: base })
      }
    }
    if (out.length > 0) return out
    return this.localIps.map((host) => ({ host, port: 0, domain: `ns.dns.${zone}`, key: host }))
  }
}

function isV6(host: string): boolean {
  return host.includes(':')
}

function hasAddress(i: Item): boolean {
  return parseIpv4(i.host) !== null || (isV6(i.host) && parseIpv6(i.host) !== null)
}

function same(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase()
}

/** plugin.SRV: one record per target and port, the addresses of the targets beside them. */
function srvRecords(
  name: string,
  ttl: number,
  items: readonly Item[],
  answers: DnsRecord[],
  additionals: DnsRecord[],
): void {
  const weight = Math.max(1, Math.floor(100 / items.length))
  const targets = new Set<string>()
  const addresses = new Set<string>()
  for (const { host, port, domain: target } of items) {
    if (port === -1) continue
    if (!targets.has(`${target} ${port}`))
      answers.push({ name, ttl, type: 'SRV', data: { priority: 0, weight, port, target } })
    targets.add(`${target} ${port}`)
    if (!addresses.has(`${target} ${host}`))
      additionals.push({ name: target, ttl, type: isV6(host) ? 'AAAA' : 'A', data: host })
    addresses.add(`${target} ${host}`)
  }
}
