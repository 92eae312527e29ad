/**
 * nslookup(1) of BIND 9.18, one question: `nslookup [-type=T] NAME|ADDRESS [SERVER]`.
 *
 * A first, AAAA of the name that answered after it; the search list as BIND reads it (goes on after NXDOMAIN, ends with
 * no data); an address asks for its PTR. Every reply without RA is remarked upon, as CoreDNS' are. Exit status 1 when the
 * name is not there or no server answers.
 *
 * Not modelled, and said so: the interactive mode, -debug, -port, -class, zone listings.
 * Source: bind9 bin/dig/{nslookup,dighost}.c.
 */
import { parseIpv4 } from '../addr/index.ts'
import type { Netns } from '../linux/netns.ts'
import { runTool, ToolExit, type ToolResult, unmodelled } from '../linux/tools/result.ts'
import { type DnsMessage, type DnsRecord, dnsDataText, fqdn } from '../wire/dns.ts'
import { type ProcessFiles, Resolver, UnmodelledDns } from './resolver.ts'

const TRIES = 3
const TYPES = ['A', 'AAAA', 'ANY', 'CNAME', 'MX', 'NS', 'PTR', 'SOA', 'SRV', 'TXT']

/** Runs `nslookup ARGV`. */
export function nslookup(ns: Netns, argv: readonly string[], files: ProcessFiles): ToolResult {
  const run = new Nslookup(ns, files)
  const r = runTool(() => {
    try {
      return run.main(argv)
    } catch (e) {
      if (e instanceof UnmodelledDns) unmodelled(e.message)
      throw e
    }
  })
  return r.status === 0 ? { ...r, status: run.status } : r
}

class Nslookup {
  status = 0
  private out = ''
  private readonly resolver: Resolver
  private hasHeader = false

  constructor(ns: Netns, files: ProcessFiles) {
    this.resolver = new Resolver(ns, files)
  }

  main(argv: readonly string[]): string {
    let type = ''
    const words: string[] = []
    for (const word of argv) {
      const set = /^-(?:type|querytype|query|q|ty)=(.*)$/i.exec(word)
      if (set !== null) type = set[1]!.toUpperCase()
      else if (word.startsWith('-') && word.length > 1) unmodelled(`nslookup ${word}`)
      else words.push(word)
    }
    if (type !== '' && !TYPES.includes(type)) return `unknown query type: ${type.toLowerCase()}\n${this.main(words)}`
    const [name, server] = words
    if (name === undefined) unmodelled('nslookup without a name (its interactive mode)')
    const ip = parseIpv4(name)
    const at = this.server(server)
    if (ip !== null && type === '') {
      this.lookup([`${name.split('.').reverse().join('.')}.in-addr.arpa`], 'PTR', at, name)
    } else {
      const found = this.lookup(this.names(name), type === '' ? 'A' : type, at, name)
      if (found !== null && type === '') this.lookup([found], 'AAAA', at, null)
    }
    return `${this.out}\n`
  }

  private server(text: string | undefined): string {
    if (text === undefined) return this.resolver.conf.nameservers[0] ?? ''
    if (parseIpv4(text) !== null) return text
    const info = this.resolver.addresses(text)
    if (info.error !== null) throw new ToolExit(1, `nslookup: couldn't get address for '${text}': not found`)
    return info.addresses[0]!
  }

  /** The names in the order of dighost.c: the name itself first when it has enough dots, else last. */
  private names(name: string): string[] {
    if (name.endsWith('.')) return [name.slice(0, -1)]
    const { ndots, searches } = this.resolver.conf
    const searched = searches.map((s) => `${name}.${s}`)
    return name.split('.').length - 1 >= ndots ? [name, ...searched] : [...searched, name]
  }

  /** Asks for the names until one is not NXDOMAIN. @returns the name at the end of its aliases, null when it failed */
  private lookup(names: readonly string[], type: string, server: string, asked: string | null): string | null {
    for (const [i, name] of names.entries()) {
      const message = this.ask(server, name, type)
      if (message === null) return null
      const isLast = i === names.length - 1
      if (message.rcode === 'NXDOMAIN' && !isLast) continue
      return this.print(message, name, type, server, asked)
    }
    return null
  }

  private ask(server: string, name: string, type: string): DnsMessage | null {
    const { conf } = this.resolver
    const isOwn = server === conf.nameservers[0]
    const problems: string[] = []
    for (let n = 0; n < TRIES; n++) {
      const tried =
        isOwn && this.resolver.isImplied
          ? this.resolver.ask(name, [type])
          : this.resolver.askServer(server, name, [type])
      const { message, outcome } = tried[0]!
      if (message !== null) {
        this.out += problems.join('')
        if (message.recursionDesired && !message.recursionAvailable)
          this.out += `;; Got recursion not available from ${server}\n`
        return message
      }
      const why =
        outcome === 'refused' ? 'connection refused' : outcome === 'unreachable' ? 'network unreachable' : 'timed out'
      problems.push(`;; communications error to ${server}#53: ${why}\n`)
    }
    this.out += `${problems.join('')};; no servers could be reached\n`
    this.status = 1
    return null
  }

  private print(m: DnsMessage, name: string, type: string, server: string, asked: string | null): string | null {
    const isReverse = type === 'PTR'
    if (!this.hasHeader && !(isReverse && m.rcode === 'NOERROR')) {
      this.out += `Server:\t\t${server}\nAddress:\t${server}#53\n\n`
      this.hasHeader = true
    }
    if (m.rcode !== 'NOERROR') {
      if (asked !== null) this.out += `** server can't find ${name}: ${m.rcode}\n`
      this.status = 1
      return null
    }
    if (!m.isAuthoritative && asked !== null && !isReverse) this.out += 'Non-authoritative answer:\n'
    if (m.answers.length === 0) {
      if (isReverse) this.out += '\nAuthoritative answers can be found from:\n'
      else if (type !== 'A' && asked !== null) this.out += `*** Can't find ${asked}: No answer\n`
    }
    for (const r of m.answers) this.out += recordText(r)
    const hasAddress = m.answers.some((r) => r.type === 'A' || r.type === 'AAAA')
    if (m.answers.length === 0 && type === 'A') this.pendingNoAnswer = asked
    else if (this.pendingNoAnswer !== null && type === 'AAAA' && !hasAddress)
      this.out += `*** Can't find ${this.pendingNoAnswer}: No answer\n`
    const last = m.answers.findLast((r) => r.type === 'CNAME')
    return last?.type === 'CNAME' ? last.data : name
  }

  private pendingNoAnswer: string | null = null
}

function recordText(r: DnsRecord): string {
  switch (r.type) {
    case 'A':
    case 'AAAA':
      return `Name:\t${r.name}\nAddress: ${r.data}\n`
    case 'SRV':
      return `${r.name}\tservice = ${dnsDataText(r)}\n`
    case 'CNAME':
      return `${r.name}\tcanonical name = ${fqdn(r.data)}\n`
    case 'PTR':
      return `${r.name}\tname = ${fqdn(r.data)}\n`
    case 'NS':
      return `${r.name}\tnameserver = ${fqdn(r.data)}\n`
    case 'TXT':
      return `${r.name}\ttext = ${dnsDataText(r)}\n`
    case 'SOA': {
      const d = r.data
      return (
        `${r.name}\n\torigin = ${d.mname}\n\tmail addr = ${d.rname}\n\tserial = ${d.serial}\n` +
        `\trefresh = ${d.refresh}\n\tretry = ${d.retry}\n\texpire = ${d.expire}\n\tminimum = ${d.minimum}\n`
      )
    }
  }
}
