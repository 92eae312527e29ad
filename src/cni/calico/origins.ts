/**
 * What a dropping rule is told to come from: the policies that governed the endpoint and did not let the packet through.
 *
 * A rule of a policy names its own line. The drop behind a tier's policies has no line of its own: it names the first of
 * them, and on request the rule that was nearest to letting the packet through, and what kept it from doing so.
 */
import { cidrContainsIpv4, formatIpv4, parseIpv4, parseIpv4Cidr } from '../../addr/index.ts'
import type { PolicyOrigin } from '../verb.ts'
import type { EndpointTier } from './endpoint-chains.ts'
import type { HostEndpoint } from './endpoints.ts'
import type { IpSetIndex } from './ip-sets.ts'
import type { CalicoPolicy, Direction, EntityMatch, PolicyRule } from './policy-model.ts'

/** A packet's five-tuple, for the search of the nearest rule. */
type Asked = Parameters<NonNullable<PolicyOrigin['nearest']>>[0]

function kindOf(p: CalicoPolicy): string {
  if (p.kind === 'KubernetesNetworkPolicy') return 'NetworkPolicy'
  return p.kind === 'KubernetesClusterNetworkPolicy' ? 'ClusterNetworkPolicy' : p.kind
}

function label(p: CalicoPolicy): string {
  return `${kindOf(p)} ${p.namespace === '' ? '' : `${p.namespace}/`}${p.name}`
}

/** The drop at the end of a tier. */
export function policiesDenied(
  cluster: { readonly sets: IpSetIndex },
  tier: EndpointTier,
  direction: Direction,
  who: string,
): PolicyOrigin {
  const policies = tier.policies.filter((p) => (direction === 'ingress' ? p.hasIngress : p.hasEgress))
  const first = policies[0]!
  const others = policies.length === 1 ? '' : `, nor of ${policies.length - 1} more policies`
  return {
    ...{ kind: kindOf(first), namespace: first.namespace, name: first.name },
    rule: `no ${direction} rule${others}`,
    at: () => first.source,
    nearest: (asked) => nearestRule(policies, direction, cluster.sets, asked, who),
  }
}

/** The drop of a host endpoint that no policy and no profile speaks for. */
export function unselected(h: HostEndpoint): PolicyOrigin {
  return { kind: 'HostEndpoint', namespace: '', name: h.name, rule: 'no policy, no profile', at: () => h.source }
}

function nearestRule(
  policies: readonly CalicoPolicy[],
  direction: Direction,
  sets: IpSetIndex,
  asked: Asked,
  who: string,
): string {
  let best: { text: string; missing: number } | null = null
  for (const p of policies) {
    for (const rule of direction === 'ingress' ? p.ingress : p.egress) {
      if (rule.action !== 'allow') continue
      const missing = misses(rule, sets, asked)
      if (missing.length === 0 || (best !== null && missing.length >= best.missing)) continue
      const at = rule.at()
      const place = at.file === '' ? '' : ` (${at.file}:${at.line})`
      best = { missing: missing.length, text: `${label(p)} ${rule.path}${place}: ${missing.join('; ')}` }
    }
  }
  const names = policies.map(label).slice(0, 3).join(', ')
  const more = policies.length > 3 ? ` and ${policies.length - 3} more` : ''
  if (best === null) return `${who} is isolated for ${direction} by ${names}${more}, which allow nothing.`
  return `The nearest rule is ${best.text}.`
}

function misses(rule: PolicyRule, sets: IpSetIndex, asked: Asked): string[] {
  const out: string[] = []
  const protocol = asked.protocol.toLowerCase()
  if (rule.protocol !== undefined && rule.protocol !== protocol) {
    out.push(`protocol ${String(rule.protocol).toUpperCase()} is not ${asked.protocol}`)
  }
  for (const [side, ip, port] of [
    ['source', asked.src, asked.sport],
    ['destination', asked.dst, asked.dport],
  ] as const) {
    const e = rule[side]
    if (!hasAddress(e, sets, ip)) out.push(`its ${side} does not include ${formatIpv4(ip)}`)
    const isPort = e.ports.length === 0 && e.namedPortIds.length === 0
    if (isPort || e.ports.some((r) => port >= r.first && port <= r.last)) continue
    const key = `${formatIpv4(ip)},${protocol}:${port}`
    if (e.namedPortIds.some((id) => sets.get(id).members.includes(key))) continue
    const have = e.ports.map((r) => (r.first === r.last ? String(r.first) : `${r.first}-${r.last}`))
    const text = [...have, ...(e.namedPortIds.length > 0 ? ['a named port'] : [])].join(', ')
    out.push(`its ${side} port is ${text}, not ${port}`)
  }
  return out
}

function hasAddress(e: EntityMatch, sets: IpSetIndex, ip: number): boolean {
  const text = formatIpv4(ip)
  const holds = (members: readonly string[]): boolean =>
    members.some((m) => (m.includes('/') ? inNet(m, ip) : m === text))
  if (e.nets.length > 0 && !e.nets.some((net) => inNet(net, ip))) return false
  if (e.notNets.some((net) => inNet(net, ip))) return false
  return (
    e.ipSetIds.every((id) => holds(sets.get(id).members)) && !e.notIpSetIds.some((id) => holds(sets.get(id).members))
  )
}

function inNet(net: string, ip: number): boolean {
  const cidr = parseIpv4Cidr(net)
  return cidr !== null ? cidrContainsIpv4(cidr, ip) : parseIpv4(net) === ip
}
