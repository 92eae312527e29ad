/**
 * Names outside of the cluster: what the user says about them.
 *
 *     kind: Cluster
 *     spec:
 *       upstreamDNS: {example.com: 203.0.113.80, "old.example": NXDOMAIN, "*": NXDOMAIN}
 *
 * A value is a list of addresses separated by commas, another name (an alias), `NXDOMAIN`, `SERVFAIL` or nothing (a name
 * without addresses); `*` stands for every name that is not listed. Without an entry the answer is UNMODELLED: podwalk does not ask the real DNS.
 */
import { parseIpv4 } from '../../addr/ipv4.ts'
import { parseIpv6 } from '../../addr/ipv6.ts'
import type { DnsRecord } from '../../wire/dns.ts'
import type { Reply } from './server.ts'

/** TTL of what the user says. */
const UPSTREAM_TTL = 300
const ROOT_TTL = 86400
const MAX_ALIASES = 8

/** The configured answer, or null when nothing was said about the name. */
export function upstreamRecords(
  table: Readonly<Record<string, string>>,
  lower: string,
  name: string,
  type: string,
): Reply | null {
  const answers: DnsRecord[] = []
  let owner = name
  let key = lower
  for (let n = 0; n <= MAX_ALIASES; n++) {
    const said = table[key] ?? table['*']
    if (said === undefined) return null
    if (said === 'SERVFAIL') return { ...relayed('SERVFAIL'), answers: [] }
    if (said === 'NXDOMAIN') return answers.length > 0 ? { ...rootNxdomain(), answers } : rootNxdomain()
    const values = said.split(',').map((v) => v.trim())
    const addresses = values.filter((v) => parseIpv4(v) !== null || parseIpv6(v) !== null)
    if (addresses.length > 0 || said === '') {
      for (const data of addresses) {
        if ((type === 'A' || type === 'AAAA') && data.includes(':') === (type === 'AAAA'))
          answers.push({ name: owner, ttl: UPSTREAM_TTL, type, data })
      }
      return { ...relayed('NOERROR'), answers }
    }
    const target = values[0]!
    answers.push({ name: owner, ttl: UPSTREAM_TTL, type: 'CNAME', data: target })
    owner = target
    key = target.toLowerCase()
  }
  return { ...relayed('SERVFAIL'), answers: [] }
}

/** What the root servers say about a name that nobody has. */
export function rootNxdomain(): Reply {
  const soa = {
    ...{ mname: 'a.root-servers.net', rname: 'nstld.verisign-grs.com', serial: 1 },
    ...{ refresh: 1800, retry: 900, expire: 604800, minimum: ROOT_TTL },
  }
  return { ...relayed('NXDOMAIN'), answers: [], authorities: [{ name: '.', ttl: ROOT_TTL, type: 'SOA', data: soa }] }
}

function relayed(rcode: string): Omit<Reply, 'answers'> {
  return { rcode, isAuthoritative: false, recursionAvailable: true, authorities: [], additionals: [] }
}
