/**
 * DNS as a pod sees it: its resolv.conf, the resolver's search, and the answers of CoreDNS' kubernetes plugin.
 *
 * The resolver is glibc's: names with fewer than `ndots` dots go through the search list first, others as they are
 * first; a trailing dot ends the search. The zone holds Services (ClusterIP, endpoints of headless ones, CNAME of
 * ExternalName), endpoint names of Services (hostname, or the address with dashes) and pod addresses with dashes
 * (`pods insecure`, kubeadm's Corefile). A headless Service without ready endpoints is NXDOMAIN, as CoreDNS has it.
 *
 * Not modelled: SRV and PTR records, AAAA, names outside of the cluster (status EXTERNAL), the node's own resolv.conf
 * beyond "it is not the cluster's", DNS packets (this is the answer, not the walk).
 * Sources: k8s.io/kubernetes/pkg/kubelet/network/dns/dns.go, coredns plugin/kubernetes/{kubernetes,parse}.go,
 * Kubernetes DNS specification 1.1.0, resolv.conf(5).
 */
import { nthIpv4, parseIpv4Cidr } from '../addr/cidr.ts'
import { formatIpv4, parseIpv4 } from '../addr/ipv4.ts'
import { keyOf } from './services.ts'
import type { ClusterModel, Endpoint, PodModel, PodSpec, Service } from './types.ts'

/** What a pod's /etc/resolv.conf says. */
export interface ResolvConf {
  readonly nameservers: readonly string[]
  readonly searches: readonly string[]
  readonly ndots: number
  /** True when the nameserver is the cluster's. */
  readonly isClusterDns: boolean
}

/** One name that was asked for on the way. */
export interface DnsQuery {
  readonly name: string
  readonly status: DnsStatus
}

/** EXTERNAL: the name is outside of the cluster, so podwalk cannot know the answer. */
export type DnsStatus = 'NOERROR' | 'NXDOMAIN' | 'EXTERNAL'

/** What a name resolves to. */
export interface DnsAnswer {
  readonly status: DnsStatus
  readonly addresses: readonly string[]
  /** The name that answered, after CNAMEs. */
  readonly canonicalName: string
  readonly cnames: readonly string[]
  /** Every query in order. */
  readonly queries: readonly DnsQuery[]
  /** In words: `Service shop/api`, `/etc/hosts`, `headless Service shop/db`. */
  readonly how: string
  /** `namespace/name` of the Service that answered. */
  readonly service?: string
}

/** glibc gives up following aliases after this many. */
const MAX_CNAMES = 8
const DEFAULT_NDOTS = 1

/** Where a name is resolved from: a pod, or only a namespace. */
export type DnsClient = PodModel | { readonly namespace: string; readonly spec?: undefined }

/** The resolv.conf of a pod; of a plain namespace, that of a pod with default settings there. */
export function resolvConfOf(model: ClusterModel, client: DnsClient): ResolvConf {
  const spec: Partial<PodSpec> = client.spec ?? {}
  const domain = model.config.dnsDomain
  const isHost = spec.hostNetwork === true
  const policy = spec.dnsPolicy ?? 'ClusterFirst'
  const isClusterDns = policy === 'ClusterFirstWithHostNet' || (policy === 'ClusterFirst' && !isHost)
  const nameservers = isClusterDns ? [clusterDnsAddress(model)] : []
  const searches = isClusterDns ? [`${client.namespace}.svc.${domain}`, `svc.${domain}`, domain] : []
  let ndots = isClusterDns ? 5 : DEFAULT_NDOTS
  const extra = spec.dnsConfig
  for (const option of extra?.options ?? []) {
    if (option.name === 'ndots' && /^\d+$/.test(option.value ?? '')) ndots = Math.min(15, Number(option.value))
  }
  return {
    nameservers: [...new Set([...nameservers, ...(extra?.nameservers ?? [])])],
    searches: [...new Set([...searches, ...(extra?.searches ?? [])])],
    ndots,
    isClusterDns: isClusterDns || (extra?.nameservers ?? []).includes(clusterDnsAddress(model)),
  }
}

/** The address that kubelets give to pods: of the kube-dns Service, else the tenth of the service network. */
export function clusterDnsAddress(model: ClusterModel): string {
  const kubeDns = model.services.find(
    ({ object }) => keyOf(object) === 'kube-system/kube-dns' || keyOf(object) === 'kube-system/coredns',
  )
  if (kubeDns?.object.spec.clusterIP && kubeDns.object.spec.clusterIP !== 'None') return kubeDns.object.spec.clusterIP
  const cidr = parseIpv4Cidr(model.config.serviceCidr)
  return cidr === null ? '' : formatIpv4(nthIpv4(cidr, 10) ?? cidr.ip)
}

/** Resolves a name as the client would: /etc/hosts, then the search list, following aliases. */
export function resolveName(model: ClusterModel, client: DnsClient, name: string): DnsAnswer {
  const asked = name.toLowerCase()
  const fromHosts = lookupHosts(client, asked)
  if (fromHosts !== null) return { ...empty(asked), status: 'NOERROR', addresses: [fromHosts], how: '/etc/hosts' }
  const conf = resolvConfOf(model, client)
  const queries: DnsQuery[] = []
  let external: string | null = null
  for (const candidate of candidates(asked, conf)) {
    const answer = conf.isClusterDns
      ? lookup(model, candidate)
      : { ...empty(candidate), status: 'EXTERNAL' as const, how: "the node's resolver" }
    queries.push({ name: candidate, status: answer.status })
    if (answer.status === 'NOERROR') return { ...answer, queries }
    // An alias that leaves the cluster is an answer; a searched name outside of it is only unknown.
    if (answer.cnames.length > 0) return { ...answer, queries }
    if (answer.status === 'EXTERNAL') external ??= candidate
  }
  if (external !== null) {
    return { ...empty(external), status: 'EXTERNAL', queries, how: 'a name outside of the cluster' }
  }
  return { ...empty(asked), status: 'NXDOMAIN', queries, how: 'no such name' }
}

/** The names that the resolver asks for, in order, without their trailing dot. */
export function candidates(name: string, conf: ResolvConf): string[] {
  if (name.endsWith('.')) return [name.slice(0, -1)]
  const dots = name.split('.').length - 1
  const searched = conf.searches.map((suffix) => `${name}.${suffix}`)
  return dots >= conf.ndots ? [name, ...searched] : [...searched, name]
}

function empty(name: string): DnsAnswer {
  return { status: 'NXDOMAIN', addresses: [], canonicalName: name, cnames: [], queries: [], how: 'no such name' }
}

function lookupHosts(client: DnsClient, name: string): string | null {
  if (name === 'localhost') return '127.0.0.1'
  if (client.spec === undefined) return null
  if (name === (client.spec.hostname ?? client.name) && !client.hostNetwork) return client.ip
  return client.spec.hostAliases?.find((alias) => alias.hostnames?.includes(name))?.ip ?? null
}

function lookup(model: ClusterModel, name: string): DnsAnswer {
  const cnames: string[] = []
  let current = name
  for (;;) {
    const answer = lookupZone(model, current)
    if (answer.cnames.length === 0) return { ...answer, canonicalName: current, cnames }
    current = answer.cnames[0]!
    cnames.push(current)
    if (cnames.length > MAX_CNAMES) {
      return { ...empty(current), cnames, how: `an alias of aliases: given up after ${MAX_CNAMES}` }
    }
  }
}

/** One name in the cluster's zone. */
function lookupZone(model: ClusterModel, name: string): DnsAnswer {
  const domain = model.config.dnsDomain
  if (!name.endsWith(`.${domain}`)) {
    // The root of the DNS holds no address for a single label, so forwarding it brings NXDOMAIN.
    const isKnownAbsent = name === domain || !name.includes('.')
    return isKnownAbsent ? empty(name) : { ...empty(name), status: 'EXTERNAL', how: 'a name outside of the cluster' }
  }
  const labels = name.slice(0, -domain.length - 1).split('.')
  const type = labels.pop()
  const namespace = labels.pop()
  const service = labels.pop()
  if (namespace === undefined || service === undefined) return empty(name)
  if (type === 'pod') return lookupPodAddress(model, name, namespace, service, labels)
  if (type !== 'svc' || labels.length > 1) return empty(name)
  return lookupService(model, name, `${namespace}/${service}`, labels[0])
}

function lookupPodAddress(
  model: ClusterModel,
  name: string,
  namespace: string,
  dashed: string,
  rest: readonly string[],
): DnsAnswer {
  const address = dashed.replaceAll('-', '.')
  const isKnown = model.namespaces.some((n) => n.name === namespace)
  if (rest.length > 0 || !isKnown || parseIpv4(address) === null) return empty(name)
  return { ...empty(name), status: 'NOERROR', addresses: [address], how: 'a pod address with dashes' }
}

function lookupService(model: ClusterModel, name: string, key: string, hostname: string | undefined): DnsAnswer {
  const service = findService(model, key)
  if (service === undefined) return empty(name)
  const { spec } = service
  if (spec.type === 'ExternalName') {
    if (hostname !== undefined) return empty(name)
    const target = (spec.externalName ?? '').replace(/\.$/, '').toLowerCase()
    return { ...empty(name), cnames: [target], how: `ExternalName Service ${key}`, service: key }
  }
  if (hostname === undefined && spec.clusterIP !== 'None') {
    const addresses = spec.clusterIP === undefined ? [] : [spec.clusterIP]
    return { ...empty(name), status: 'NOERROR', addresses, how: `Service ${key}`, service: key }
  }
  const addresses = readyEndpoints(model, key)
    .filter((endpoint) => hostname === undefined || endpointName(endpoint) === hostname)
    .flatMap((endpoint) => endpoint.addresses)
  if (addresses.length === 0)
    return { ...empty(name), how: `Service ${key} has no ready endpoint of this name`, service: key }
  const how = hostname === undefined ? `headless Service ${key}` : `endpoint ${hostname} of Service ${key}`
  return { ...empty(name), status: 'NOERROR', addresses: [...new Set(addresses)], how, service: key }
}

function findService(model: ClusterModel, key: string): Service | undefined {
  return model.services.find(({ object }) => keyOf(object) === key)?.object
}

function readyEndpoints(model: ClusterModel, key: string): Endpoint[] {
  return model.endpointSlices
    .filter((slice) => slice.service === key && slice.object.addressType === 'IPv4')
    .flatMap((slice) => slice.object.endpoints)
    .filter((endpoint) => endpoint.conditions?.ready !== false)
}

function endpointName(endpoint: Endpoint): string {
  return endpoint.hostname ?? (endpoint.addresses[0] ?? '').replaceAll('.', '-')
}
