/**
 * What caused a verdict-map lookup or a virtual server, for the hops of a walk.
 *
 * In nftables mode one fixed rule looks every Service up in a map, in IPVS mode a virtual server takes the packet: the rule
 * says nothing about the Service. kube-proxy's program knows which object each element came from; the packet's destination
 * before any translation is the key.
 */
import type { Cluster } from '../cluster/build.ts'
import { describeOrigin } from './origin.ts'
import type { TraceHop } from './trace-types.ts'

/** The destination a client asked for. */
export interface AskedDestination {
  /** Dotted. */
  readonly ip: string
  readonly protocol: string
  readonly port: number
}

/** The ipset of a rule. */
const MATCH_SET = / --match-set (\S+) /
/** The verdict map of a rule, or the one set that rejects. */
const LOOKUP = / (?:vmap @([a-z-]+)$|daddr @([a-z-]+) reject)/

/** The walk with the origin of every element that decided. */
export function withLookupOrigins(walk: readonly TraceHop[], cluster: Cluster, to: AskedDestination): TraceHop[] {
  return walk.map((hop) => {
    const program = hop.node === null ? undefined : cluster.proxies.get(hop.node)?.program
    if (program == null || program.lookups.size === 0 || hop.detail.origin !== undefined) return hop
    for (const key of keysOf(hop, to)) {
      const origin = describeOrigin(program.lookups.get(`IPv4 ${key}`), cluster)
      if (origin !== null) return { ...hop, detail: { ...hop.detail, origin } }
    }
    return hop
  })
}

function keysOf(hop: TraceHop, to: AskedDestination): string[] {
  const protocol = to.protocol.toLowerCase()
  if (hop.point === 'ipvs') return [`ipvs ${protocol} ${to.ip}:${to.port}`]
  if (hop.point !== 'rule' || hop.detail.matched !== true || typeof hop.detail.text !== 'string') return []
  const byEntry = MATCH_SET.exec(hop.detail.text)?.[1]
  if (byEntry !== undefined) {
    return [`${byEntry} ${to.ip},${protocol}:${to.port}`, `${byEntry} ${to.port}`, `${byEntry} ${to.ip}`]
  }
  const found = LOOKUP.exec(hop.detail.text)
  const container = found?.[1] ?? found?.[2]
  if (container === undefined) return []
  const byPort = `${protocol} . ${to.port}`
  return [`${container} ${to.ip} . ${byPort}`, `${container} ${byPort}`, `${container} ${to.ip}`]
}
