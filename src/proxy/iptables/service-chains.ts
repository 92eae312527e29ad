/**
 * The chains of one service port: EXT, FW, SVC, SVL and one SEP per endpoint.
 *
 * KUBE-EXT handles what came to an external address, KUBE-FW applies loadBalancerSourceRanges before it, KUBE-SVC
 * spreads over the cluster's endpoints, KUBE-SVL over this node's, KUBE-SEP translates to one endpoint and marks the
 * endpoint's own traffic for masquerade (hairpin). A partial sync leaves out the chains of unchanged services.
 *
 * Source: pkg/proxy/iptables/proxier.go (syncProxyRules, writeServiceToEndpointRules, computeProbability).
 */
import { prefixContains } from '../addresses.ts'
import { serviceOrigin } from '../service-port.ts'
import { matchAddress } from './capture-rules.ts'
import { comment, type PlannedEndpoint, type ServicePlan, type SyncContext } from './context.ts'
import { KUBE_MARK_MASQ } from './names.ts'
import { appendRule } from './restore-buffer.ts'

/** Writes the chains of one service port; with `isSkipped` their text is left out. */
export function writeServiceChains(context: SyncContext, plan: ServicePlan, isSkipped: boolean): void {
  writeInternalMasquerade(context, plan, isSkipped)
  if (plan.usesExt) writeExternalChain(context, plan, isSkipped)
  if (plan.usesFw) writeFirewallChain(context, plan, isSkipped)
  if (plan.usesSvc) writeDispatch(context, plan, plan.chains.svc, plan.cluster, isSkipped)
  if (plan.usesSvl) writeDispatch(context, plan, plan.chains.svl, plan.local, isSkipped)
  for (const planned of plan.reachable) writeEndpointChain(context, plan, planned, isSkipped)
}

/** Every generated chain of the service port that is in use. */
export function activeChains(plan: ServicePlan): string[] {
  const chains = plan.reachable.map((planned) => planned.chain)
  if (plan.usesSvc) chains.push(plan.chains.svc)
  if (plan.usesSvl) chains.push(plan.chains.svl)
  if (plan.usesExt) chains.push(plan.chains.ext)
  if (plan.usesFw) chains.push(plan.chains.fw)
  return chains
}

/** The fraction of the n remaining endpoints that one gets, as kube-proxy prints it. */
export function probability(n: number): string {
  return (1 / n).toFixed(10)
}

/** Clients outside the cluster are masqueraded even to a ClusterIP, or their answers would not come back here. */
function writeInternalMasquerade(context: SyncContext, plan: ServicePlan, isSkipped: boolean): void {
  const { port } = plan
  const { masqueradeAll = false } = context.input.config
  if (!plan.hasInternal || (!masqueradeAll && context.detector === null)) return
  const from = masqueradeAll || context.detector === null ? '' : ` ${context.detector.ifNotLocal}`
  const match = `${comment(`${port.name} cluster IP`)} ${matchAddress(plan, port.clusterIp)}${from}`
  const origin = serviceOrigin(port, ['spec', 'clusterIP'])
  appendRule(context.nat, plan.internalChain, `${match} -j ${KUBE_MARK_MASQ}`, origin, isSkipped)
}

function writeExternalChain(context: SyncContext, plan: ServicePlan, isSkipped: boolean): void {
  const { nat, detector } = context
  const { port, chains } = plan
  const origin = serviceOrigin(port, ['spec', 'externalTrafficPolicy'])
  const rule = (args: string): void => appendRule(nat, chains.ext, args, origin, isSkipped)
  if (!isSkipped) nat.chains.push(chains.ext)
  if (!port.externalPolicyLocal) {
    rule(`${comment(`masquerade traffic for ${port.name} external destinations`)} -j ${KUBE_MARK_MASQ}`)
  } else {
    const fromNode = '-m addrtype --src-type LOCAL'
    if (detector !== null) {
      rule(`${comment(`pod traffic for ${port.name} external destinations`)} ${detector.ifLocal} -j ${chains.svc}`)
    }
    rule(
      `${comment(`masquerade LOCAL traffic for ${port.name} external destinations`)} ${fromNode} -j ${KUBE_MARK_MASQ}`,
    )
    rule(`${comment(`route LOCAL traffic for ${port.name} external destinations`)} ${fromNode} -j ${chains.svc}`)
  }
  if (plan.hasExternal) rule(`-j ${plan.externalPolicyChain}`)
}

function writeFirewallChain(context: SyncContext, plan: ServicePlan, isSkipped: boolean): void {
  const { nat, nodeIp } = context
  const { port, chains } = plan
  const why = comment(`${port.name} loadbalancer IP`)
  const jump = `-j ${chains.ext}`
  if (!isSkipped) nat.chains.push(chains.fw)
  for (const { text, index } of port.sourceRanges) {
    const origin = serviceOrigin(port, ['spec', 'loadBalancerSourceRanges', index])
    appendRule(nat, chains.fw, `${why} -s ${text} ${jump}`, origin, isSkipped)
  }
  const allowing = nodeIp === null ? undefined : port.sourceRanges.find(({ prefix }) => prefixContains(prefix, nodeIp))
  if (allowing !== undefined) {
    // A node that is allowed by its address may use the VIP itself as source once the VIP is bound on it.
    const origin = serviceOrigin(port, ['spec', 'loadBalancerSourceRanges', allowing.index])
    for (const { text } of port.loadBalancerVips) {
      appendRule(nat, chains.fw, `${why} -s ${text} ${jump}`, origin, isSkipped)
    }
  }
  const rest = comment(`other traffic to ${port.name} will be dropped by KUBE-PROXY-FIREWALL`)
  appendRule(nat, chains.fw, rest, serviceOrigin(port, ['spec', 'loadBalancerSourceRanges']), isSkipped)
}

function writeDispatch(
  context: SyncContext,
  plan: ServicePlan,
  chain: string,
  endpoints: readonly PlannedEndpoint[],
  isSkipped: boolean,
): void {
  const { nat } = context
  const { port } = plan
  if (!isSkipped) nat.chains.push(chain)
  if (port.affinitySeconds !== null) {
    for (const { endpoint, chain: sep } of endpoints) {
      const why = endpointComment(context, `${port.name} -> ${endpoint.target}`)
      const recent = `-m recent --name ${sep} --rcheck --seconds ${port.affinitySeconds} --reap`
      appendRule(nat, chain, `${why}${recent} -j ${sep}`, endpoint.origin, isSkipped)
    }
  }
  for (const [i, { endpoint, chain: sep }] of endpoints.entries()) {
    const why = endpointComment(context, `${port.name} -> ${endpoint.target}`)
    const left = endpoints.length - i
    const share = left > 1 ? `-m statistic --mode random --probability ${probability(left)} ` : ''
    appendRule(nat, chain, `${why}${share}-j ${sep}`, endpoint.origin, isSkipped)
  }
}

function writeEndpointChain(
  context: SyncContext,
  plan: ServicePlan,
  { endpoint, chain }: PlannedEndpoint,
  isSkipped: boolean,
): void {
  const { nat } = context
  const { port } = plan
  const why = endpointComment(context, port.name)
  const recent = port.affinitySeconds === null ? '' : `-m recent --name ${chain} --set `
  const translate = `-m ${port.protocol} -p ${port.protocol} -j DNAT --to-destination ${endpoint.target}`
  if (!isSkipped) nat.chains.push(chain)
  appendRule(nat, chain, `${why}-s ${endpoint.ip} -j ${KUBE_MARK_MASQ}`, endpoint.origin, isSkipped)
  appendRule(nat, chain, `${why}${recent}${translate}`, endpoint.origin, isSkipped)
}

/** Large clusters go without these comments: they are most of the restore input. */
function endpointComment(context: SyncContext, text: string): string {
  return context.isLargeCluster ? '' : `${comment(text)} `
}
