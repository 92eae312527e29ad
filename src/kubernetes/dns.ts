/**
 * What a name is, asked of the cluster as data: the search of glibc's resolver over CoreDNS' answers, without packets.
 *
 * Names with fewer than `ndots` dots go through the search list first, others as they are first; a trailing dot ends the
 * search. The answers are those of the CoreDNS that runs in the cluster (coredns/server.ts); the same question with its
 * packets is asked by apps/resolver.ts.
 *
 * Not modelled: names outside of the cluster that nobody configured (status EXTERNAL), the node's own resolv.conf beyond
 * "it is not the cluster's".
 * Sources: glibc resolv/res_query.c (__res_context_search), resolv.conf(5).
 */
import { CoreDns, type Reply } from './coredns/server.ts'
import { type DnsClient, hostsText, lookupHosts, type ResolvConf, resolvConfOf } from './pod-files.ts'
import { keyOf } from './services.ts'
import type { ClusterModel } from './types.ts'

export { clusterDnsAddress, type DnsClient, type ResolvConf, resolvConfOf } from './pod-files.ts'

/** One name that was asked for on the way. */
export interface DnsQuery {
  readonly name: string
  readonly status: DnsStatus
}

/** EXTERNAL: the name is outside of the cluster, so podwalk cannot know the answer. */
export type DnsStatus = 'NOERROR' | 'NXDOMAIN' | 'SERVFAIL' | 'EXTERNAL'

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

const servers = new WeakMap<ClusterModel, CoreDns>()

/** The cluster's DNS as data; addresses come in the order of the endpoints. */
export function dnsOf(model: ClusterModel): CoreDns {
  let server = servers.get(model)
  if (server === undefined) {
    server = new CoreDns(model, () => 0)
    servers.set(model, server)
  }
  return server
}

/** Resolves a name as the client would: /etc/hosts, then the search list, following aliases. */
export function resolveName(model: ClusterModel, client: DnsClient, name: string): DnsAnswer {
  const asked = name.toLowerCase()
  const fromHosts = lookupHosts(hostsText(model, client), asked)
  if (fromHosts !== null) return { ...empty(asked), status: 'NOERROR', addresses: [fromHosts], how: '/etc/hosts' }
  const conf = resolvConfOf(model, client)
  const queries: DnsQuery[] = []
  let external: DnsAnswer | null = null
  for (const candidate of candidates(asked, conf)) {
    const answer = conf.isClusterDns
      ? lookup(model, candidate)
      : { ...empty(candidate), status: 'EXTERNAL' as const, how: "the node's resolver" }
    queries.push({ name: candidate, status: answer.status })
    if (answer.status === 'NOERROR' && answer.addresses.length > 0) return { ...answer, queries }
    // An alias that leads nowhere known is an answer; a searched name outside of the cluster is only unknown.
    if (answer.cnames.length > 0) return { ...answer, queries }
    if (answer.status === 'EXTERNAL') external ??= answer
  }
  if (external !== null) return { ...external, queries }
  return { ...empty(asked), status: 'NXDOMAIN', queries, how: 'no such name' }
}

/** The names that the resolver asks for, in order, without their trailing dot. */
export function candidates(name: string, conf: Pick<ResolvConf, 'searches' | 'ndots'>): string[] {
  if (name.endsWith('.')) return [name.slice(0, -1)]
  const dots = name.split('.').length - 1
  const searched = conf.searches.map((suffix) => `${name}.${suffix}`)
  return dots >= conf.ndots ? [name, ...searched] : [...searched, name]
}

function empty(name: string): DnsAnswer {
  return { status: 'NXDOMAIN', addresses: [], canonicalName: name, cnames: [], queries: [], how: 'no such name' }
}

function lookup(model: ClusterModel, name: string): DnsAnswer {
  const server = dnsOf(model)
  const reply = server.decide(name, 'A')
  if (typeof reply === 'string') {
    const alias = server.decide(name, 'CNAME')
    const target = typeof alias === 'string' ? undefined : alias.answers.find((a) => a.type === 'CNAME')
    const cnames = target?.type === 'CNAME' ? [target.data] : []
    const canonicalName = cnames[0] ?? name
    return { ...empty(name), status: 'EXTERNAL', canonicalName, cnames, how: 'a name outside of the cluster' }
  }
  const cnames = reply.answers.flatMap((a) => (a.type === 'CNAME' ? [a.data] : []))
  const addresses = reply.answers.flatMap((a) => (a.type === 'A' ? [a.data] : []))
  const status = reply.rcode === 'NOERROR' || reply.rcode === 'NXDOMAIN' ? reply.rcode : 'SERVFAIL'
  const said = { cnames, addresses, canonicalName: cnames.at(-1) ?? name, how: howOf(model, name, reply) }
  // no data is no address: the resolver goes on searching
  const shown = status === 'NOERROR' && addresses.length === 0 ? 'NXDOMAIN' : status
  return { ...empty(name), status: shown, ...said, ...(reply.service !== undefined && { service: reply.service }) }
}

function howOf(model: ClusterModel, name: string, reply: Reply): string {
  const key = reply.service
  if (key === undefined) {
    if (name.includes('.pod.') && reply.answers.length > 0) return 'a pod address with dashes'
    return reply.answers.length > 0 ? 'spec.upstreamDNS' : 'no such name'
  }
  const service = model.services.find(({ object }) => keyOf(object) === key)?.object
  if (service?.spec.type === 'ExternalName') return `ExternalName Service ${key}`
  const labels = name.split('.')
  const isEndpoint = labels[0] !== service?.metadata.name || labels[1] !== service.metadata.namespace
  if (isEndpoint) return `endpoint ${labels[0]} of Service ${key}`
  return service.spec.clusterIP === 'None' ? `headless Service ${key}` : `Service ${key}`
}
