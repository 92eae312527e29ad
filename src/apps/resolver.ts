/**
 * The stub resolver of a process: /etc/hosts, then queries over UDP sockets, TCP when the answer was cut.
 *
 * glibc: A and AAAA leave together from one connected socket (A first), both answers are waited for; each server gets
 * 5 seconds, the list is gone through twice; the search list is used when the name has fewer dots than ndots, else after
 * the name itself, and goes on after NXDOMAIN, no data and SERVFAIL. musl: all servers are asked at once, a name with
 * ndots dots is never searched, and anything but NXDOMAIN ends the search. An answer with TC is asked for again over TCP.
 *
 * Not modelled: nscd, nsswitch beyond `files dns`, options rotate, single-request, use-vc, edns0; IPv6 servers; the
 * order of RFC 6724 (addresses stay in the answer's order), glibc's TCP pipeline of both questions.
 * Sources: glibc 2.36 resolv/res_send.c, res_query.c, nss/nss_dns; musl 1.2.4 src/network/{lookup_name,res_msend}.c.
 */
import { parseIpv4 } from '../addr/index.ts'
import { EAGAIN } from '../linux/errno.ts'
import type { Netns } from '../linux/netns.ts'
import { close, udpOpen, udpRecv, udpSend } from '../linux/socket/api.ts'
import { type DnsMessage, dnsQuery, emitDns, parseDns } from '../wire/dns.ts'
import { tcpExchange } from './tcp-exchange.ts'
import { waitFor } from './wait.ts'

/** What a process knows beside its network namespace. */
export interface ProcessFiles {
  /** Text of /etc/resolv.conf; null when it is not known (a node's). */
  readonly resolvConf: string | null
  readonly hosts: string
  /** Which C library resolves. */
  readonly libc: 'glibc' | 'musl'
  /** A DNS server that the manifests do not hold and that therefore answers without packets. */
  readonly implied?: ImpliedDns
  /** Names of things that were met and are not modelled (an upstream of CoreDNS); filled by the servers. */
  readonly unmodelled: readonly string[]
}

/** See ProcessFiles.implied. */
export interface ImpliedDns {
  readonly server: string
  answer(query: DnsMessage): DnsMessage | { readonly unmodelled: string }
}

/** A query and what became of it. */
export interface DnsExchange {
  readonly name: string
  readonly type: string
  readonly server: string
  readonly transport: 'udp' | 'tcp'
  readonly outcome: 'answer' | 'timeout' | 'refused' | 'unreachable'
  readonly message: DnsMessage | null
  /** Made without packets (ProcessFiles.implied). */
  readonly isImplied: boolean
}

/** What getaddrinfo gives back. */
export interface AddressInfo {
  /** `EAI_NONAME` ...; null when there are addresses. */
  readonly error: 'EAI_NONAME' | 'EAI_NODATA' | 'EAI_AGAIN' | null
  /** IPv4, in the answer's order. */
  readonly addresses: readonly string[]
  readonly addresses6: readonly string[]
  readonly canonicalName: string
  /** Which name answered, before aliases; the name asked when none did. */
  readonly answeredAs: string
}

/** Something that was asked for is not modelled. */
export class UnmodelledDns extends Error {}

/** gai_strerror(3) of what can happen here. */
export const GAI_STRERROR = {
  EAI_NONAME: 'Name or service not known',
  EAI_NODATA: 'No address associated with hostname',
  EAI_AGAIN: 'Temporary failure in name resolution',
} as const

const DNS_PORT = 53
const TIMEOUT_NS = 5_000_000_000
const ATTEMPTS = 2
const MAX_SERVERS = 3
const ECONNREFUSED = -111

/** resolv.conf as the resolver reads it. */
export interface ResolverConf {
  readonly nameservers: readonly string[]
  readonly searches: readonly string[]
  readonly ndots: number
}

/** Reads resolv.conf(5). */
export function parseResolvConf(text: string): ResolverConf {
  const nameservers: string[] = []
  let searches: string[] = []
  let ndots = 1
  for (const line of text.split('\n')) {
    const [key, ...words] = line.trim().split(/\s+/)
    if (key === 'nameserver' && words[0] !== undefined && nameservers.length < MAX_SERVERS) nameservers.push(words[0])
    if (key === 'search' || key === 'domain') searches = words
    for (const w of key === 'options' ? words : []) {
      const n = /^ndots:(\d+)$/.exec(w)
      if (n !== null) ndots = Math.min(15, Number(n[1]))
    }
  }
  return { nameservers, searches, ndots }
}

/** Resolves for one process. */
export class Resolver {
  /** Everything that was asked, in order. */
  readonly exchanges: DnsExchange[] = []
  readonly conf: ResolverConf
  private readonly ns: Netns
  private readonly files: ProcessFiles
  private readonly seen: number

  constructor(ns: Netns, files: ProcessFiles) {
    this.ns = ns
    this.files = files
    this.seen = files.unmodelled.length
    this.conf = parseResolvConf(files.resolvConf ?? '')
  }

  /** The first server answers without packets. */
  get isImplied(): boolean {
    return this.files.implied !== undefined && this.conf.nameservers[0] === this.files.implied.server
  }

  /** getaddrinfo(3) with AF_UNSPEC, or one family alone. */
  addresses(name: string, types: readonly ('A' | 'AAAA')[] = ['A', 'AAAA']): AddressInfo {
    const found = (addresses: string[], canonicalName: string): AddressInfo => {
      return { error: null, addresses, addresses6: [], canonicalName, answeredAs: canonicalName }
    }
    if (parseIpv4(name) !== null) return found([name], name)
    const known = this.fromHosts(name)
    if (known !== null) return found([known], name)
    let error: NonNullable<AddressInfo['error']> = 'EAI_NONAME'
    for (const candidate of this.candidates(name)) {
      const answers = this.ask(candidate, types)
      const messages = answers.flatMap((a) => (a.message === null ? [] : [a.message]))
      const data = (type: 'A' | 'AAAA'): string[] =>
        messages.flatMap((m) => m.answers.flatMap((r) => (r.type === type ? [r.data] : [])))
      const [v4, v6] = [data('A'), data('AAAA')]
      if (v4.length + v6.length > 0) {
        const aliases = messages.flatMap((m) => m.answers.flatMap((r) => (r.type === 'CNAME' ? [r.data] : [])))
        const canonicalName = aliases.at(-1) ?? candidate
        return { error: null, addresses: v4, addresses6: v6, canonicalName, answeredAs: candidate }
      }
      const rcodes = messages.map((m) => m.rcode)
      if (messages.length === 0) return { ...nothing(name), error: 'EAI_AGAIN' }
      const isFailing = rcodes.some((r) => r !== 'NOERROR' && r !== 'NXDOMAIN')
      if (isFailing) error = 'EAI_AGAIN'
      else if (rcodes.includes('NOERROR') && error === 'EAI_NONAME') error = 'EAI_NODATA'
      if (this.files.libc === 'musl' && !rcodes.includes('NXDOMAIN')) break
    }
    return { ...nothing(name), error }
  }

  /** getnameinfo(3): the name of an address, or null. */
  nameOf(ipText: string): string | null {
    for (const line of this.files.hosts.split('\n')) {
      const [ip, name] = line.trim().split(/\s+/)
      if (ip === ipText && name !== undefined) return name
    }
    if (this.files.resolvConf === null) return null
    const reverse = `${ipText.split('.').reverse().join('.')}.in-addr.arpa`
    const message = this.ask(reverse, ['PTR'])[0]?.message
    const ptr = message?.answers.find((r) => r.type === 'PTR')
    return ptr?.type === 'PTR' ? ptr.data : null
  }

  /** The names that are tried, in order. */
  candidates(name: string): string[] {
    if (name.endsWith('.')) return [name.slice(0, -1)]
    const dots = name.split('.').length - 1
    const searched = this.conf.searches.map((suffix) => `${name}.${suffix}`)
    if (dots < this.conf.ndots) return [...searched, name]
    return this.files.libc === 'musl' ? [name] : [name, ...searched]
  }

  /** Asks the configured servers for types of one name; the last exchange of each type. */
  ask(name: string, types: readonly string[]): DnsExchange[] {
    if (this.isImplied) return types.map((type) => this.askImplied(name, type, this.files.implied!))
    if (this.conf.nameservers.length === 0)
      throw new UnmodelledDns("the node's own resolver (its resolv.conf is not known)")
    let last: DnsExchange[] = []
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      for (const server of this.conf.nameservers) {
        last = this.askServer(server, name, types)
        if (last.every((e) => e.outcome === 'answer')) return last
      }
    }
    return last
  }

  /** One server, one try: all types from one socket. */
  askServer(server: string, name: string, types: readonly string[]): DnsExchange[] {
    const ip = parseIpv4(server)
    if (ip === null) throw new UnmodelledDns(`a DNS server at ${server}`)
    const w = this.ns.world
    const queries = types.map((type) => ({ type, query: dnsQuery(w.random.below(0x10000), name, type) }))
    const sk = udpOpen(this.ns, { connect: { ip, port: DNS_PORT } })
    const fail = (outcome: DnsExchange['outcome']): DnsExchange[] =>
      this.note(queries.map(({ type }) => exchange(name, type, server, outcome, null)))
    if (typeof sk === 'number') return fail('unreachable')
    const answers = new Map<string, DnsMessage>()
    let errno = 0
    for (const { query } of queries) errno ||= Math.min(0, udpSend(sk, emitDns(query)))
    const isDone = (): boolean => errno < 0 || answers.size === queries.length || this.isLost()
    waitFor(w, w.nowNs + TIMEOUT_NS, () => {
      for (let d = udpRecv(sk); ; d = udpRecv(sk)) {
        if (typeof d === 'number') {
          if (d !== EAGAIN) errno = d
          return isDone()
        }
        const m = parseDns(d.data)
        const asked = queries.find((q) => m?.isResponse && q.query.id === m.id)
        if (m !== null && asked !== undefined) answers.set(asked.type, m)
        if (isDone()) return true
      }
    })
    close(sk)
    this.checkUnmodelled()
    return queries.map(({ type, query }) => {
      const message = answers.get(type)
      if (message?.isTruncated) return this.askTcp(server, ip, type, name, query)
      const outcome = message !== undefined ? 'answer' : errno === ECONNREFUSED ? 'refused' : 'timeout'
      return this.note([
        exchange(name, type, server, errno < 0 && outcome === 'timeout' ? 'unreachable' : outcome, message ?? null),
      ])[0]!
    })
  }

  private askTcp(server: string, ip: number, type: string, name: string, query: DnsMessage): DnsExchange {
    this.note([exchange(name, type, server, 'answer', null)])
    const body = emitDns(query)
    const framed = new Uint8Array(body.length + 2)
    framed.set([body.length >> 8, body.length & 255])
    framed.set(body, 2)
    const r = tcpExchange(this.ns, ip, DNS_PORT, framed, TIMEOUT_NS, (data) => {
      return data.length >= 2 && data.length >= ((data[0]! << 8) | data[1]!) + 2
    })
    this.checkUnmodelled()
    const message = r.data.length > 2 ? parseDns(r.data.subarray(2)) : null
    const outcome = message !== null ? 'answer' : r.errno === ECONNREFUSED ? 'refused' : 'timeout'
    return this.note([{ ...exchange(name, type, server, outcome, message), transport: 'tcp' }])[0]!
  }

  private askImplied(name: string, type: string, implied: ImpliedDns): DnsExchange {
    const m = implied.answer(dnsQuery(this.ns.world.random.below(0x10000), name, type))
    if ('unmodelled' in m) throw new UnmodelledDns(m.unmodelled)
    return this.note([{ ...exchange(name, type, implied.server, 'answer', m), isImplied: true }])[0]!
  }

  private note(list: DnsExchange[]): DnsExchange[] {
    this.exchanges.push(...list)
    return list
  }

  private fromHosts(name: string): string | null {
    const wanted = name.replace(/\.$/, '').toLowerCase()
    for (const line of this.files.hosts.split('\n')) {
      const [ip, ...names] = line.replace(/#.*/, '').trim().split(/\s+/)
      if (ip !== undefined && !ip.includes(':') && names.some((n) => n.toLowerCase() === wanted)) return ip
    }
    return null
  }

  private isLost(): boolean {
    return this.files.unmodelled.length > this.seen
  }

  private checkUnmodelled(): void {
    if (this.isLost()) throw new UnmodelledDns(this.files.unmodelled.at(-1))
  }
}

function nothing(name: string): Omit<AddressInfo, 'error'> {
  return { addresses: [], addresses6: [], canonicalName: name, answeredAs: name }
}

function exchange(
  name: string,
  type: string,
  server: string,
  outcome: DnsExchange['outcome'],
  message: DnsMessage | null,
): DnsExchange {
  return { name, type, server, transport: 'udp', outcome, message, isImplied: false }
}
