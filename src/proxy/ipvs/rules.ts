/**
 * The iptables rules of IPVS mode: which packets to masquerade, which to accept, which to refuse, all by ipset.
 *
 * nat decides about masquerading before IPVS sees the packet in INPUT; filter keeps clients off ports of the host that
 * listen on every address, since Service addresses are local here (KUBE-IPVS-FILTER), and applies
 * loadBalancerSourceRanges. A rule whose set is empty is not written, but for those at the end.
 *
 * Source: pkg/proxy/ipvs/proxier.go (iptablesChains, iptablesJumpChain, ipsetWithIptablesChain, writeIptablesRules).
 */
import type { LocalDetector } from '../detector.ts'
import type { IpFamily, ProxyVerb } from '../types.ts'
import type { IpvsCollection } from './collect.ts'
import { SETS, type SetName, setNameOf } from './sets.ts'

const NAT_CHAINS = ['KUBE-SERVICES', 'KUBE-POSTROUTING', 'KUBE-NODE-PORT', 'KUBE-LOAD-BALANCER', 'KUBE-MARK-MASQ']
const FILTER_CHAINS = [
  ...['KUBE-FORWARD', 'KUBE-NODE-PORT', 'KUBE-PROXY-FIREWALL', 'KUBE-SOURCE-RANGES-FIREWALL', 'KUBE-IPVS-FILTER'],
  'KUBE-IPVS-OUT-FILTER',
]

/** Table, built-in chain, chain, comment; in the order in which they are prepended. */
const JUMPS: readonly (readonly ['nat' | 'filter', string, string, string])[] = [
  ['nat', 'OUTPUT', 'KUBE-SERVICES', 'kubernetes service portals'],
  ['nat', 'PREROUTING', 'KUBE-SERVICES', 'kubernetes service portals'],
  ['nat', 'POSTROUTING', 'KUBE-POSTROUTING', 'kubernetes postrouting rules'],
  ['filter', 'FORWARD', 'KUBE-FORWARD', 'kubernetes forwarding rules'],
  ['filter', 'INPUT', 'KUBE-NODE-PORT', 'kubernetes health check rules'],
  ['filter', 'INPUT', 'KUBE-PROXY-FIREWALL', 'kube-proxy firewall rules'],
  ['filter', 'FORWARD', 'KUBE-PROXY-FIREWALL', 'kube-proxy firewall rules'],
  ['filter', 'INPUT', 'KUBE-IPVS-FILTER', 'kubernetes ipvs access filter'],
  ['filter', 'OUTPUT', 'KUBE-IPVS-OUT-FILTER', 'kubernetes ipvs access filter'],
]

/** Set, chain, target, direction, protocol. The set of local NodePorts comes before that of all. */
const BY_SET: readonly (readonly [SetName, string, string, string, string])[] = [
  ['KUBE-LOOP-BACK', 'KUBE-POSTROUTING', 'MASQUERADE', 'dst,dst,src', ''],
  ['KUBE-LOAD-BALANCER', 'KUBE-SERVICES', 'KUBE-LOAD-BALANCER', 'dst,dst', ''],
  ['KUBE-LOAD-BALANCER-LOCAL', 'KUBE-LOAD-BALANCER', 'RETURN', 'dst,dst', ''],
  ['KUBE-NODE-PORT-LOCAL-TCP', 'KUBE-NODE-PORT', 'RETURN', 'dst', 'tcp'],
  ['KUBE-NODE-PORT-TCP', 'KUBE-NODE-PORT', 'KUBE-MARK-MASQ', 'dst', 'tcp'],
  ['KUBE-NODE-PORT-LOCAL-UDP', 'KUBE-NODE-PORT', 'RETURN', 'dst', 'udp'],
  ['KUBE-NODE-PORT-UDP', 'KUBE-NODE-PORT', 'KUBE-MARK-MASQ', 'dst', 'udp'],
  ['KUBE-NODE-PORT-LOCAL-SCTP-HASH', 'KUBE-NODE-PORT', 'RETURN', 'dst,dst', 'sctp'],
  ['KUBE-NODE-PORT-SCTP-HASH', 'KUBE-NODE-PORT', 'KUBE-MARK-MASQ', 'dst,dst', 'sctp'],
  ['KUBE-LOAD-BALANCER-FW', 'KUBE-PROXY-FIREWALL', 'KUBE-SOURCE-RANGES-FIREWALL', 'dst,dst', ''],
  ['KUBE-LOAD-BALANCER-SOURCE-CIDR', 'KUBE-SOURCE-RANGES-FIREWALL', 'RETURN', 'dst,dst,src', ''],
  ['KUBE-LOAD-BALANCER-SOURCE-IP', 'KUBE-SOURCE-RANGES-FIREWALL', 'RETURN', 'dst,dst,src', ''],
]
const FIREWALL_CHAINS: ReadonlySet<string> = new Set(['KUBE-PROXY-FIREWALL', 'KUBE-SOURCE-RANGES-FIREWALL'])

/** The chains and jumps kube-proxy ensures. */
export function ensureIpvsJumps(family: IpFamily): ProxyVerb[] {
  const verbs: ProxyVerb[] = []
  for (const chain of NAT_CHAINS) verbs.push({ verb: 'ensure-chain', family, table: 'nat', chain })
  for (const chain of FILTER_CHAINS) verbs.push({ verb: 'ensure-chain', family, table: 'filter', chain })
  for (const [table, chain, to, comment] of JUMPS) {
    const args = ['-m', 'comment', '--comment', comment, '-j', to]
    verbs.push({ verb: 'ensure-rule', family, table, chain, args })
  }
  return verbs
}

/** The restore text: nat first, then filter. */
export function ipvsRestoreText(
  { family: name, sets, refusedToNode, input }: IpvsCollection,
  detector: LocalDetector | null,
  mark: string,
): string {
  const family = name as IpFamily
  const nat: string[] = []
  const filter: string[] = []
  const isEmpty = (set: SetName): boolean => (sets.get(set)?.size ?? 0) === 0
  const match = (set: SetName): string =>
    `-m comment --comment "${SETS[set][1]}" -m set --match-set ${setNameOf(set, family)}`
  const plain = (set: SetName): string => `-m set --match-set ${setNameOf(set, family)}`

  nat.push(`-A KUBE-SERVICES -s ${family === 'IPv4' ? '127.0.0.0/8' : '::1/128'} -j RETURN`)
  for (const [set, chain, target, direction, protocol] of BY_SET) {
    if (isEmpty(set)) continue
    const of = protocol === '' ? '' : ` -p ${protocol}`
    const rules = FIREWALL_CHAINS.has(chain) ? filter : nat
    rules.push(`-A ${chain}${of} ${match(set)} ${direction} -j ${target}`)
  }
  if (!isEmpty('KUBE-CLUSTER-IP')) {
    const isAll = input.config.masqueradeAll ?? false
    const which = isAll ? 'dst,dst' : detector === null ? 'src,dst' : `dst,dst ${detector.ifNotLocal}`
    nat.push(`-A KUBE-SERVICES ${match('KUBE-CLUSTER-IP')} ${which} -j KUBE-MARK-MASQ`)
  }
  for (const set of ['KUBE-EXTERNAL-IP', 'KUBE-EXTERNAL-IP-LOCAL'] as const) {
    if (isEmpty(set)) continue
    const head = `-A KUBE-SERVICES ${match(set)} dst,dst`
    if (set === 'KUBE-EXTERNAL-IP') nat.push(`${head} -j KUBE-MARK-MASQ`)
    nat.push(`${head} -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT`)
    nat.push(`${head} -m addrtype --dst-type LOCAL -j ACCEPT`)
  }
  nat.push('-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT', '-A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ')
  filter.push('-A KUBE-SOURCE-RANGES-FIREWALL -j DROP')
  for (const { ip, protocol, port } of refusedToNode) {
    const server = `-m ipvs --vaddr ${ip} --vproto ${protocol} --vport ${port}`
    filter.push(`-A KUBE-IPVS-OUT-FILTER -s ${ip} ${server} -j DROP`)
  }
  for (const set of ['KUBE-CLUSTER-IP', 'KUBE-LOAD-BALANCER'] as const) {
    if (!isEmpty(set)) nat.push(`-A KUBE-SERVICES ${plain(set)} dst,dst -j ACCEPT`)
  }
  filter.push(
    `-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark ${mark}/${mark} -j ACCEPT`,
    '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    `-A KUBE-NODE-PORT ${match('KUBE-HEALTH-CHECK-NODE-PORT')} dst -j ACCEPT`,
  )
  for (const set of ['LOAD-BALANCER', 'CLUSTER-IP', 'EXTERNAL-IP', 'EXTERNAL-IP-LOCAL'] as const) {
    filter.push(`-A KUBE-IPVS-FILTER ${plain(`KUBE-${set}`)} dst,dst -j RETURN`)
  }
  filter.push(
    `-A KUBE-IPVS-FILTER ${plain('KUBE-HEALTH-CHECK-NODE-PORT')} dst -j RETURN`,
    `-A KUBE-IPVS-FILTER -m conntrack --ctstate NEW ${plain('KUBE-IPVS-IPS')} dst -j REJECT`,
  )
  const randomFully = (input.config.randomFully ?? true) ? ' --random-fully' : ''
  nat.push(
    `-A KUBE-POSTROUTING -m mark ! --mark ${mark}/${mark} -j RETURN`,
    `-A KUBE-POSTROUTING -j MARK --xor-mark ${mark}`,
    `-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE${randomFully}`,
    `-A KUBE-MARK-MASQ -j MARK --or-mark ${mark}`,
  )
  const block = (table: string, chains: readonly string[], rules: readonly string[]): string =>
    [`*${table}`, ...chains.map((chain) => `:${chain} - [0:0]`), ...rules, 'COMMIT\n'].join('\n')
  return block('nat', NAT_CHAINS, nat) + block('filter', FILTER_CHAINS, filter)
}
