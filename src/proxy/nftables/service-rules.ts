/**
 * The chains of one service port: service- or local- (which endpoint), external-, firewall-, endpoint- (translation).
 *
 * A chain spreads connections with one `numgen random` verdict map; session affinity is a timed set per endpoint, looked
 * up before and refreshed by every new connection. An endpoint's own traffic is masqueraded (hairpin).
 *
 * Source: pkg/proxy/nftables/proxier.go (syncProxyRules, writeServiceToEndpointRules).
 */
import { prefixContains } from '../addresses.ts'
import { serviceOrigin } from '../service-port.ts'
import type { NamedEndpoint, NftContext, NftPlan } from './context.ts'
import { MARK_FOR_MASQUERADE } from './names.ts'
import { addContainer, addRule, type NftTransaction } from './transaction.ts'

/** Writes the rules of one service port. `isKept` tells endpoint chains that are right on the node already. */
export function writeServiceRules(
  tx: NftTransaction,
  context: NftContext,
  plan: NftPlan,
  isSkipped: boolean,
  isKept: (named: NamedEndpoint) => boolean,
): void {
  const { port, usesCluster, usesLocal, usesExternal } = plan.traffic
  writeInternalMasquerade(tx, context, plan, isSkipped)
  if (usesExternal) writeExternalChain(tx, context, plan, isSkipped)
  if (plan.usesFirewall) writeFirewallChain(tx, context, plan, isSkipped)
  if (port.affinitySeconds !== null && !isSkipped) {
    for (const { affinity } of plan.reachable) {
      const properties = `type ${tx.addressType} ; flags dynamic,timeout ; timeout ${port.affinitySeconds}s`
      addContainer(tx, 'set', affinity, properties)
    }
  }
  if (usesCluster) writeDispatch(tx, plan, plan.chains.cluster, plan.cluster, isSkipped)
  if (usesLocal) writeDispatch(tx, plan, plan.chains.local, plan.local, isSkipped)
  for (const named of plan.reachable) writeEndpointChain(tx, plan, named, isSkipped || isKept(named))
}

function writeInternalMasquerade(tx: NftTransaction, context: NftContext, plan: NftPlan, isSkipped: boolean): void {
  const { port, hasInternal } = plan.traffic
  const { masqueradeAll = false } = context.input.config
  if (!hasInternal || (!masqueradeAll && context.detector === null)) return
  const from = masqueradeAll || context.detector === null ? '' : ` ${context.detector.ifNotLocalNft}`
  const rule = `${tx.ipX} daddr ${port.clusterIp}${from} jump ${MARK_FOR_MASQUERADE}`
  addRule(tx, plan.internalChain, rule, serviceOrigin(port, ['spec', 'clusterIP']), isSkipped)
}

function writeExternalChain(tx: NftTransaction, { detector }: NftContext, plan: NftPlan, isSkipped: boolean): void {
  const { port, hasExternal } = plan.traffic
  const { external, cluster } = plan.chains
  const origin = serviceOrigin(port, ['spec', 'externalTrafficPolicy'])
  const rule = (text: string, comment = ''): void => addRule(tx, external, text, origin, isSkipped, comment)
  if (!port.externalPolicyLocal) {
    rule(`jump ${MARK_FOR_MASQUERADE}`)
  } else {
    if (detector !== null) rule(`${detector.ifLocalNft} goto ${cluster}`, 'short-circuit pod traffic')
    rule(`fib saddr type local jump ${MARK_FOR_MASQUERADE}`, 'masquerade local traffic')
    rule(`fib saddr type local goto ${cluster}`, 'short-circuit local traffic')
  }
  if (hasExternal) rule(`goto ${plan.externalPolicyChain}`)
}

function writeFirewallChain(tx: NftTransaction, { nodeIp }: NftContext, plan: NftPlan, isSkipped: boolean): void {
  const { port } = plan.traffic
  const sources = port.sourceRanges.map(({ text }) => text)
  // A node that is allowed by its address may use the VIP itself as source once the VIP is bound on it.
  if (nodeIp !== null && port.sourceRanges.some(({ prefix }) => prefixContains(prefix, nodeIp))) {
    sources.push(...port.loadBalancerVips.map(({ text }) => text))
  }
  const origin = serviceOrigin(port, ['spec', 'loadBalancerSourceRanges'])
  addRule(tx, plan.chains.firewall, `${tx.ipX} saddr != { ${sources.join(' , ')} } drop`, origin, isSkipped)
}

function writeDispatch(
  tx: NftTransaction,
  plan: NftPlan,
  chain: string,
  endpoints: readonly NamedEndpoint[],
  isSkipped: boolean,
): void {
  const { port } = plan.traffic
  if (port.affinitySeconds !== null) {
    for (const { endpoint, affinity, chain: to } of endpoints) {
      addRule(tx, chain, `${tx.ipX} saddr @${affinity} goto ${to}`, endpoint.origin, isSkipped)
    }
  }
  const choices = isSkipped ? '' : endpoints.map(({ chain: to }, i) => `${i} : goto ${to}`).join(' , ')
  const origin = serviceOrigin(port, ['spec', 'ports', port.portIndex])
  addRule(tx, chain, `numgen random mod ${endpoints.length} vmap { ${choices} }`, origin, isSkipped)
}

function writeEndpointChain(tx: NftTransaction, plan: NftPlan, named: NamedEndpoint, isSkipped: boolean): void {
  const { endpoint, chain, affinity } = named
  const { port } = plan.traffic
  const rule = (text: string): void => addRule(tx, chain, text, endpoint.origin, isSkipped)
  rule(`${tx.ipX} saddr ${endpoint.ip} jump ${MARK_FOR_MASQUERADE}`)
  if (port.affinitySeconds !== null) rule(`update @${affinity} { ${tx.ipX} saddr }`)
  rule(`meta l4proto ${port.protocol} dnat to ${endpoint.target}`)
}
