/**
 * What a full sync writes before the Services: table, base chains, the chains they jump to, sets and maps.
 *
 * Base chains are deleted and made again by the first sync, so that a priority of an older kube-proxy does not make the
 * transaction fail. Service filtering is done behind the translation (forward, input, output at priority 0), except for
 * loadBalancerSourceRanges, which must see the load balancer's address: ten before dstnat.
 *
 * Not modelled: the chain layout of kube-proxy before 1.32 (all filter chains at -110).
 *
 * Source: pkg/proxy/nftables/proxier.go (setupNFTables, nftablesBaseChains, nftablesJumpChains).
 */
import { isLoopback, parseIp } from '../addresses.ts'
import { masqueradeMark } from '../traffic.ts'
import type { NftContext } from './context.ts'
import * as N from './names.ts'
import {
  addChain,
  addContainer,
  addElement,
  addRule,
  deleteChain,
  deleteSet,
  flushChain,
  flushSet,
  type NftTransaction,
} from './transaction.ts'

/** Name, type, hook and priority. */
const BASE_CHAINS: readonly (readonly [string, string, string, number])[] = [
  ['filter-prerouting-pre-dnat', 'filter', 'prerouting', -110],
  ['filter-output-pre-dnat', 'filter', 'output', -110],
  ['filter-input', 'filter', 'input', 0],
  ['filter-forward', 'filter', 'forward', 0],
  ['filter-output', 'filter', 'output', 0],
  ['nat-prerouting', 'nat', 'prerouting', -100],
  ['nat-output', 'nat', 'output', -100],
  ['nat-postrouting', 'nat', 'postrouting', 100],
]

const NEW = 'ct state new '
/** To, from, match. */
const JUMPS: readonly (readonly [string, string, string])[] = [
  [N.NODEPORT_ENDPOINTS_CHECK, 'filter-input', NEW],
  [N.SERVICE_ENDPOINTS_CHECK, 'filter-input', NEW],
  [N.SERVICE_ENDPOINTS_CHECK, 'filter-forward', NEW],
  [N.SERVICE_ENDPOINTS_CHECK, 'filter-output', NEW],
  [N.FIREWALL_CHECK, 'filter-prerouting-pre-dnat', NEW],
  [N.FIREWALL_CHECK, 'filter-output-pre-dnat', NEW],
  [N.SERVICES, 'nat-output', ''],
  [N.SERVICES, 'nat-prerouting', ''],
  [N.MASQUERADING, 'nat-postrouting', ''],
  [N.CLUSTER_IPS_CHECK, 'filter-forward', NEW],
  [N.CLUSTER_IPS_CHECK, 'filter-output', NEW],
]
const PORT_KEY = 'meta l4proto . th dport'

/** Writes it. `recreate` deletes the base chains first, as a kube-proxy that has just started does. */
export function writeSetup(tx: NftTransaction, context: NftContext, recreate: boolean): void {
  tx.lines.push(`add table ${tx.where} { comment "rules for kube-proxy" ; }`)
  if (recreate) {
    for (const [chain] of BASE_CHAINS) {
      addChain(tx, chain)
      deleteChain(tx, chain)
    }
  }
  for (const [chain, type, hook, priority] of BASE_CHAINS) {
    addChain(tx, chain, `{ type ${type} hook ${hook} priority ${priority} ; }`)
    flushChain(tx, chain)
  }
  writeJumps(tx)
  writeMasquerade(tx, context)
  writeClusterIpsCheck(tx, context)
  writeNodePortIps(tx, context)
  writeMaps(tx, context)
}

function writeJumps(tx: NftTransaction): void {
  const made = new Set<string>()
  const ensure = (chain: string): void => {
    if (made.has(chain)) return
    made.add(chain)
    addChain(tx, chain)
    flushChain(tx, chain)
  }
  for (const [to, from, match] of JUMPS) {
    ensure(to)
    addRule(tx, from, `${match}jump ${to}`, null)
  }
  ensure(N.MARK_FOR_MASQUERADE)
}

function writeMasquerade(tx: NftTransaction, { input }: NftContext): void {
  const mark = masqueradeMark(input.config)
  addRule(tx, N.MARK_FOR_MASQUERADE, `mark set mark or ${mark}`, null)
  addRule(tx, N.MASQUERADING, `mark and ${mark} == 0 return`, null)
  addRule(tx, N.MASQUERADING, `mark set mark xor ${mark}`, null)
  addRule(tx, N.MASQUERADING, 'masquerade fully-random', null)
}

function writeClusterIpsCheck(tx: NftTransaction, { serviceCidrs }: NftContext): void {
  const { ipX } = tx
  addContainer(tx, 'set', N.CLUSTER_IPS, `type ${tx.addressType} ; comment "Active ClusterIPs"`)
  const rule = (text: string, why: string): void => addRule(tx, N.CLUSTER_IPS_CHECK, text, null, false, why)
  rule(`${ipX} daddr @${N.CLUSTER_IPS} reject`, 'Reject traffic to invalid ports of ClusterIPs')
  if (serviceCidrs !== '') rule(`${ipX} daddr { ${serviceCidrs} } drop`, 'Drop traffic to unallocated ClusterIPs')
}

function writeNodePortIps(tx: NftTransaction, { nodePorts }: NftContext): void {
  addContainer(tx, 'set', N.NODEPORT_IPS, `type ${tx.addressType} ; comment "IPs that accept NodePort traffic"`)
  if (nodePorts.matchAll) {
    deleteSet(tx, N.NODEPORT_IPS)
    return
  }
  flushSet(tx, N.NODEPORT_IPS)
  for (const ip of nodePorts.ips) {
    const parsed = parseIp(ip)
    if (parsed !== null && !isLoopback(parsed)) addElement(tx, N.NODEPORT_IPS, ip, '')
  }
}

function writeMaps(tx: NftTransaction, { nodePorts }: NftContext): void {
  const { ipX } = tx
  const byIp = `type ${tx.addressType} . inet_proto . inet_service : verdict ; comment`
  const byPort = 'type inet_proto . inet_service : verdict ; comment'
  const serviceKey = `${ipX} daddr . ${PORT_KEY} vmap`
  const notLocalhost = ipX === 'ip' ? 'ip daddr != 127.0.0.0/8' : 'ip6 daddr != ::1'
  const onNodePortIps = `${ipX} daddr @${N.NODEPORT_IPS}`
  const rule = (chain: string, text: string): void => addRule(tx, chain, text, null)

  addContainer(
    tx,
    'map',
    N.NO_ENDPOINT_SERVICES,
    `${byIp} "vmap to drop or reject packets to services with no endpoints"`,
  )
  addContainer(
    tx,
    'map',
    N.NO_ENDPOINT_NODEPORTS,
    `${byPort} "vmap to drop or reject packets to service nodeports with no endpoints"`,
  )
  addChain(tx, N.REJECT_CHAIN, '{ comment "helper for @no-endpoint-services / @no-endpoint-nodeports" ; }')
  flushChain(tx, N.REJECT_CHAIN)
  rule(N.REJECT_CHAIN, 'reject')
  rule(N.SERVICE_ENDPOINTS_CHECK, `${serviceKey} @${N.NO_ENDPOINT_SERVICES}`)
  const toNodePorts = nodePorts.matchAll ? notLocalhost : onNodePortIps
  rule(N.NODEPORT_ENDPOINTS_CHECK, `${toNodePorts} ${PORT_KEY} vmap @${N.NO_ENDPOINT_NODEPORTS}`)

  addContainer(tx, 'map', N.FIREWALL_IPS, `${byIp} "destinations that are subject to LoadBalancerSourceRanges"`)
  rule(N.FIREWALL_CHECK, `${serviceKey} @${N.FIREWALL_IPS}`)

  addContainer(tx, 'map', N.SERVICE_IPS, `${byIp} "ClusterIP, ExternalIP and LoadBalancer IP traffic"`)
  addContainer(tx, 'map', N.SERVICE_NODEPORTS, `${byPort} "NodePort traffic"`)
  rule(N.SERVICES, `${serviceKey} @${N.SERVICE_IPS}`)
  const local = nodePorts.matchAll ? `fib daddr type local ${notLocalhost}` : onNodePortIps
  rule(N.SERVICES, `${local} ${PORT_KEY} vmap @${N.SERVICE_NODEPORTS}`)
}
