/**
 * CoreDNS' hosts plugin with the entries that stand in the Corefile.
 *
 *     hosts { 10.0.0.1 db.corp.example  ttl 60  fallthrough }
 *
 * Not modelled: the file (/etc/hosts of the container) beside the inline entries, no_reverse's reload timing.
 * Sources: coredns 1.12 plugin/hosts/{hosts,hostsfile}.go.
 */
import { parseIpv4 } from '../../addr/ipv4.ts'
import { parseIpv6 } from '../../addr/ipv6.ts'
import type { DnsRecord } from '../../wire/dns.ts'
import { type CorefilePlugin, matchZone } from './corefile.ts'
import { addressOfReverse } from './records.ts'
import type { Reply } from './server.ts'

const DEFAULT_TTL = 3600

/** The plugin's answer to a name in lower case, or null when the question goes to the next one. */
export function hostsAnswer(plugin: CorefilePlugin, name: string, type: string): Reply | null {
  const zones = plugin.args.filter((a) => !a.startsWith('/')).map((z) => z.replace(/\.$/, '').toLowerCase())
  if (type !== 'PTR' && zones.length > 0 && matchZone(zones, name) === null) return null
  const entries = plugin.block.filter((l) => parseIpv4(l[0]!) !== null || parseIpv6(l[0]!) !== null)
  const ttl = Number(plugin.block.find((l) => l[0] === 'ttl')?.[1] ?? DEFAULT_TTL)
  const through = plugin.block.find((l) => l[0] === 'fallthrough')?.slice(1)
  const isReverse = plugin.block.every((l) => l[0] !== 'no_reverse')
  const owns = (l: readonly string[]): boolean => l.slice(1).some((n) => n.replace(/\.$/, '').toLowerCase() === name)
  const answers: DnsRecord[] = []
  if (type === 'PTR') {
    const ip = addressOfReverse(name)
    for (const l of entries) {
      if (isReverse && l[0] === ip && l[1] !== undefined) answers.push({ name, ttl, type: 'PTR', data: l[1] })
    }
    if (answers.length === 0) return null
  } else if (type === 'A' || type === 'AAAA') {
    for (const l of entries) {
      if (owns(l) && l[0]!.includes(':') === (type === 'AAAA')) answers.push({ name, ttl, type, data: l[0]! })
    }
  }
  const rest = { recursionAvailable: false, authorities: [], additionals: [] }
  if (answers.length > 0) return { rcode: 'NOERROR', isAuthoritative: true, answers, ...rest }
  if (entries.some(owns)) return { rcode: 'NOERROR', isAuthoritative: true, answers, ...rest }
  const zonesThrough = (through ?? []).map((z) => z.replace(/\.$/, '').toLowerCase())
  const isThrough = through !== undefined && (zonesThrough.length === 0 || matchZone(zonesThrough, name) !== null)
  if (isThrough) return null
  // Without an SOA to send there is no NXDOMAIN: the plugin answers SERVFAIL.
  return { rcode: 'SERVFAIL', isAuthoritative: false, answers, ...rest }
}
