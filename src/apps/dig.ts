/**
 * dig(1) of BIND 9.18 with +short: `dig +short [+search] [-x] NAME [TYPE] [@SERVER]`.
 *
 * dig takes a name as it is; +search goes through the search list. The long form, with its header and statistics, is not
 * modelled, nor are the other + options, -p, -f and -b. Exit status 9 when no server answers.
 * Source: bind9 bin/dig/dig.c (short_answer).
 */
import { parseIpv4 } from '../addr/index.ts'
import type { Netns } from '../linux/netns.ts'
import { runTool, type ToolResult, unmodelled } from '../linux/tools/result.ts'
import { dnsDataText } from '../wire/dns.ts'
import { type DnsExchange, type ProcessFiles, Resolver, UnmodelledDns } from './resolver.ts'

const NO_REPLY_STATUS = 9
const TRIES = 3
const TYPES: ReadonlySet<string> = new Set(['A', 'AAAA', 'CNAME', 'MX', 'NS', 'PTR', 'SOA', 'SRV', 'TXT'])

interface Question {
  readonly names: readonly string[]
  readonly type: string
  readonly server: string
}

/** Runs `dig ARGV`. */
export function dig(ns: Netns, argv: readonly string[], files: ProcessFiles): ToolResult {
  const resolver = new Resolver(ns, files)
  let status = 0
  const r = runTool(() => {
    try {
      const { names, type, server } = readQuestion(argv, resolver)
      for (const [i, name] of names.entries()) {
        const { message, outcome } = askUntilAnswered(resolver, server, name, type)
        if (message === null) {
          status = NO_REPLY_STATUS
          const why = outcome === 'refused' ? 'connection refused' : 'timed out'
          const line = `;; communications error to ${server}#53: ${why}\n`
          return `${line.repeat(TRIES)};; no servers could be reached\n`
        }
        if (message.rcode === 'NXDOMAIN' && i < names.length - 1) continue
        return message.answers.map((a) => `${dnsDataText(a)}\n`).join('')
      }
      return ''
    } catch (e) {
      if (e instanceof UnmodelledDns) unmodelled(e.message)
      throw e
    }
  })
  return r.status === 0 ? { ...r, status } : r
}

function readQuestion(argv: readonly string[], resolver: Resolver): Question {
  let server = resolver.conf.nameservers[0] ?? ''
  let name = ''
  let type = 'A'
  let isShort = false
  let isSearched = false
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!
    if (word === '+short') isShort = true
    else if (word === '+search') isSearched = true
    else if (word === '-x') {
      const ip = argv[++i] ?? ''
      if (parseIpv4(ip) === null) unmodelled(`dig -x ${ip}`)
      name = `${ip.split('.').reverse().join('.')}.in-addr.arpa.`
      type = 'PTR'
    } else if (word === '-t') type = (argv[++i] ?? 'A').toUpperCase()
    else if (word.startsWith('+') || word.startsWith('-')) unmodelled(`dig ${word}`)
    else if (word.startsWith('@')) server = word.slice(1)
    else if (TYPES.has(word.toUpperCase())) type = word.toUpperCase()
    else name = word
  }
  if (!isShort) unmodelled('dig without +short')
  if (name === '') unmodelled('dig without a name')
  if (parseIpv4(server) === null && server !== '') unmodelled(`dig @${server}: give the address`)
  const plain = name.replace(/\.$/, '')
  const { ndots, searches } = resolver.conf
  const searched = searches.map((s) => `${plain}.${s}`)
  const isAbsolute = name.endsWith('.') || !isSearched
  const hasDots = plain.split('.').length - 1 >= ndots
  const names = isAbsolute ? [plain] : hasDots ? [plain, ...searched] : [...searched, plain]
  return { names, type, server }
}

function askUntilAnswered(resolver: Resolver, server: string, name: string, type: string): DnsExchange {
  if (resolver.isImplied && server === resolver.conf.nameservers[0]) return resolver.ask(name, [type])[0]!
  if (server === '') throw new UnmodelledDns("the node's own resolver (its resolv.conf is not known)")
  let last: DnsExchange | null = null
  for (let n = 0; n < TRIES && (last === null || last.message === null); n++)
    last = resolver.askServer(server, name, [type])[0]!
  return last!
}
