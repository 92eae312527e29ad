/**
 * A CoreDNS server: from a query to the answer, by the server block of its Corefile.
 *
 * The plugins that decide an answer run in the order of plugin.cfg: cache (only its cap on the TTL: answers are made anew
 * each time), loadbalance (round_robin's random order), hosts (entries of the Corefile), kubernetes, forward. A zone that
 * no block serves is REFUSED; a chain that ends without an answer is SERVFAIL. Replies over UDP are cut and compressed
 * as miekg/dns does. forward answers with what `spec.upstreamDNS` of the Cluster object says; a single label is NXDOMAIN
 * at the root; anything else upstream, and any other plugin that would take part, is UNMODELLED and has no answer.
 *
 * Not modelled: packets between CoreDNS and its upstreams, negative and stale caching, DNSSEC, EDNS options.
 * Sources: coredns 1.12 core/dnsserver/server.go, plugin/{cache,loadbalance,hosts,forward}, plugin.cfg,
 * github.com/miekg/dns msg_truncate.go, request/request.go (Size, Scrub).
 */
import { DNS_UDP_BYTES, type DnsMessage, type DnsRecord, emitDns } from '../../wire/dns.ts'
import type { ClusterModel } from '../types.ts'
import { type Corefile, type CorefilePlugin, defaultCorefile, matchZone, parseCorefile } from './corefile.ts'
import { hostsAnswer } from './hosts.ts'
import { KubernetesPlugin, kubernetesOptions } from './records.ts'
import { rootNxdomain, upstreamRecords } from './upstream.ts'

/** Draws an integer in [0, n). */
export type Draw = (n: number) => number

/** An answer, or what stands in its way. */
export type CoreDnsReply =
  | { readonly message: DnsMessage; readonly bytes: Uint8Array; readonly service?: string; readonly unmodelled?: never }
  | { readonly unmodelled: string; readonly message?: never }

/** The part of a reply that a plugin decides. */
export interface Reply {
  readonly rcode: string
  readonly isAuthoritative: boolean
  readonly recursionAvailable: boolean
  readonly answers: readonly DnsRecord[]
  readonly authorities: readonly DnsRecord[]
  readonly additionals: readonly DnsRecord[]
  readonly service?: string
}

/** Plugins that change no answer. */
const SILENT: ReadonlySet<string> = new Set(
  'errors health ready prometheus log reload loop debug pprof trace dnstap bind metadata nsid cancel bufsize timeouts local multisocket any'.split(
    ' ',
  ),
)
const ACTIVE: ReadonlySet<string> = new Set(['cache', 'loadbalance', 'hosts', 'kubernetes', 'forward'])
const TCP_BYTES = 65535
/** Above this a UDP reply is compressed although it would fit (request.Scrub). */
const SCRUB_BYTES = 1480
const DEFAULT_CACHE_TTL = 3600
const DEFAULT_NEGATIVE_TTL = 1800

/** The server of one pod. */
export class CoreDns {
  private readonly model: ClusterModel
  private readonly corefile: Corefile
  private readonly draw: Draw
  private readonly port: number
  private readonly kubernetes = new Map<CorefilePlugin, KubernetesPlugin>()
  private readonly localIps: readonly string[]

  /** @param draw randomness of the loadbalance plugin */
  constructor(model: ClusterModel, draw: Draw, localIps: readonly string[] = [], port = 53) {
    this.model = model
    this.corefile = corefileOf(model)
    this.draw = draw
    this.localIps = localIps
    const ports = new Set(this.corefile.blocks.map((b) => b.port))
    this.port = ports.has(port) ? port : (this.corefile.blocks[0]?.port ?? port)
  }

  /** Answers one query. */
  answer(query: DnsMessage, transport: 'udp' | 'tcp'): CoreDnsReply {
    const question = query.questions[0]
    if (question === undefined) return this.pack(query, { ...failure('FORMERR') }, transport)
    const reply = this.decide(question.name, question.type)
    if (typeof reply === 'string') return { unmodelled: reply }
    return this.pack(query, reply, transport)
  }

  /** What the plugins say, or what is not modelled. */
  decide(name: string, type: string): Reply | string {
    if (this.corefile.unmodelled.length > 0) return this.corefile.unmodelled[0]!
    const lower = name.toLowerCase().replace(/\.$/, '')
    const blocks = this.corefile.blocks.filter((b) => b.port === this.port)
    const zone = matchZone(
      blocks.flatMap((b) => b.zones),
      lower,
    )
    const block = blocks.find((b) => zone !== null && b.zones.includes(zone))
    if (block === undefined) return failure('REFUSED')
    for (const p of block.plugins) {
      if (!SILENT.has(p.name) && !ACTIVE.has(p.name)) return `CoreDNS plugin ${p.name} (line ${p.line} of the Corefile)`
    }
    const plugin = (word: string): CorefilePlugin | undefined => block.plugins.find((p) => p.name === word)
    const reply = this.chain(block.plugins, block.zones, lower, name, type)
    if (typeof reply === 'string') return reply
    const balanced = plugin('loadbalance') === undefined ? reply : this.shuffled(reply)
    const cache = plugin('cache')
    return cache === undefined ? balanced : capped(balanced, cache)
  }

  private chain(
    plugins: readonly CorefilePlugin[],
    serverZones: readonly string[],
    lower: string,
    name: string,
    type: string,
  ): Reply | string {
    const hosts = plugins.find((p) => p.name === 'hosts')
    const fromHosts = hosts === undefined ? null : hostsAnswer(hosts, lower, type)
    if (fromHosts !== null) return fromHosts
    let lost: string | null = null
    for (const p of plugins.filter((q) => q.name === 'kubernetes')) {
      const answer = this.kubernetesOf(p, serverZones).answer(name, type, (target, t) => {
        const found = this.decide(target, t)
        if (typeof found === 'string') lost = found
        return typeof found === 'string' ? null : found.answers
      })
      if (lost !== null) return lost
      if (answer !== null) return { ...answer, isAuthoritative: answer.rcode !== 'REFUSED', recursionAvailable: false }
    }
    const forward = plugins.find((p) => p.name === 'forward' && matchZone([zoneText(p.args[0])], lower) !== null)
    if (forward === undefined) return failure('SERVFAIL')
    return this.upstream(forward, lower, name, type)
  }

  private upstream(forward: CorefilePlugin, lower: string, name: string, type: string): Reply | string {
    const known = upstreamRecords(this.model.config.upstreamDns ?? {}, lower, name, type)
    if (known !== null) return known
    // A single label has no address at the root of the DNS, and reverse names of the cluster's networks have no owner.
    if (!lower.includes('.') || lower === '') return rootNxdomain()
    return `the answer of ${forward.args.slice(1).join(', ')}, the upstream of CoreDNS, for ${name} ${type}`
  }

  private kubernetesOf(p: CorefilePlugin, zones: readonly string[]): KubernetesPlugin {
    let made = this.kubernetes.get(p)
    if (made === undefined) {
      made = new KubernetesPlugin(this.model, kubernetesOptions(p, zones), this.localIps)
      this.kubernetes.set(p, made)
    }
    return made
  }

  /** roundRobin of the loadbalance plugin: aliases, then the rest, then addresses in random order. */
  private shuffled(r: Reply): Reply {
    if (r.rcode !== 'NOERROR') return r
    const mix = (list: readonly DnsRecord[]): DnsRecord[] => {
      const isAddress = (x: DnsRecord): boolean => x.type === 'A' || x.type === 'AAAA'
      const addresses = list.filter(isAddress)
      const n = addresses.length
      for (let j = 0; n > 1 && j < n; j++) {
        const p = j + this.draw(n - j)
        const other = addresses[p]!
        addresses[p] = addresses[j]!
        addresses[j] = other
      }
      const aliases = list.filter((x) => x.type === 'CNAME')
      return [...aliases, ...list.filter((x) => x.type !== 'CNAME' && !isAddress(x)), ...addresses]
    }
    return { ...r, answers: mix(r.answers), authorities: mix(r.authorities), additionals: mix(r.additionals) }
  }

  private pack(query: DnsMessage, r: Reply, transport: 'udp' | 'tcp'): CoreDnsReply {
    const limit = transport === 'tcp' ? TCP_BYTES : Math.max(DNS_UDP_BYTES, query.ednsBytes ?? 0)
    let message: DnsMessage = {
      ...{ id: query.id, isResponse: true, opcode: query.opcode, isTruncated: false, rcode: r.rcode },
      ...{ isAuthoritative: r.isAuthoritative, recursionDesired: query.recursionDesired },
      ...{ recursionAvailable: r.recursionAvailable, questions: query.questions.slice(0, 1) },
      ...{ answers: r.answers, authorities: r.authorities, additionals: r.additionals },
      ...(query.ednsBytes !== undefined && { ednsBytes: query.ednsBytes }),
    }
    let bytes = emitDns(message)
    if (bytes.length > limit || (transport === 'udp' && bytes.length > SCRUB_BYTES)) bytes = emitDns(message, true)
    while (bytes.length > limit) {
      const shorter = withoutLast(message)
      if (shorter === null) break
      message = shorter
      bytes = emitDns(message, true)
    }
    return { message, bytes, ...(r.service !== undefined && { service: r.service }) }
  }
}

/** The Corefile that CoreDNS runs with: that of its ConfigMap, else kubeadm's. */
export function corefileOf(model: ClusterModel): Corefile {
  const map = model.otherObjects.find(
    ({ object: { kind, metadata } }) =>
      kind === 'ConfigMap' && metadata.namespace === 'kube-system' && metadata.name === 'coredns',
  )
  const text = (map?.object.data as { Corefile?: unknown } | undefined)?.Corefile
  return parseCorefile(typeof text === 'string' ? text : defaultCorefile(model.config.dnsDomain))
}

function failure(rcode: string): Reply {
  return {
    ...{ rcode, isAuthoritative: false, recursionAvailable: false },
    ...{ answers: [], authorities: [], additionals: [] },
  }
}

function zoneText(text: string | undefined): string {
  return (text ?? '.').replace(/\.$/, '').toLowerCase()
}

/** The TTL caps of `cache [TTL] { success CAPACITY [TTL] ... denial CAPACITY [TTL] ... }`. */
function capped(r: Reply, cache: CorefilePlugin): Reply {
  const isNegative = r.rcode === 'NXDOMAIN' || r.answers.length === 0
  const arg = Number(cache.args.find((a) => /^\d+$/.test(a)) ?? Number.NaN)
  const own = cache.block.find((l) => l[0] === (isNegative ? 'denial' : 'success'))?.[2]
  const fallback = isNegative ? DEFAULT_NEGATIVE_TTL : DEFAULT_CACHE_TTL
  const most = Number(own ?? (Number.isNaN(arg) ? fallback : arg))
  const all = [...r.answers, ...r.authorities, ...r.additionals]
  if (all.length === 0) return r
  const ttl = Math.min(most, ...all.map((x) => x.ttl))
  const cap = (list: readonly DnsRecord[]): DnsRecord[] => list.map((x) => ({ ...x, ttl: Math.min(x.ttl, ttl) }))
  return { ...r, answers: cap(r.answers), authorities: cap(r.authorities), additionals: cap(r.additionals) }
}

function withoutLast(m: DnsMessage): DnsMessage | null {
  for (const part of ['additionals', 'authorities', 'answers'] as const) {
    if (m[part].length > 0) return { ...m, isTruncated: true, [part]: m[part].slice(0, -1) }
  }
  return null
}
