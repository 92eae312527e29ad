/**
 * The elements by which traffic finds a service port: ClusterIP, external IPs, load-balancer IPs, NodePort.
 *
 * An address leads to the port's chain through `service-ips`; without endpoints for that kind of traffic it stands in
 * `no-endpoint-services` with reject or drop as well. External addresses stand in both when only this node's endpoints
 * are missing: pods and the node itself are still served.
 *
 * Source: pkg/proxy/nftables/proxier.go (syncProxyRules).
 */
import { type ServicePort, serviceOrigin } from '../service-port.ts'
import type { RuleOrigin } from '../types.ts'
import type { NftPlan } from './context.ts'
import { type Container, type ElementStore, ensureElement } from './elements.ts'
import {
  CLUSTER_IPS,
  FIREWALL_IPS,
  NO_ENDPOINT_NODEPORTS,
  NO_ENDPOINT_SERVICES,
  REJECT_CHAIN,
  SERVICE_IPS,
  SERVICE_NODEPORTS,
} from './names.ts'
import type { NftTransaction } from './transaction.ts'

/** Makes sure of the elements of ClusterIP and external IPs. */
export function captureServiceIps(tx: NftTransaction, store: ElementStore, plan: NftPlan): void {
  const { port, hasAny, hasInternal, hasExternal } = plan.traffic
  const origin = serviceOrigin(port, ['spec', 'clusterIP'])
  const key = addressKey(port, port.clusterIp)
  ensureElement(tx, store, CLUSTER_IPS, port.clusterIp, '', origin)
  if (hasInternal) ensureElement(tx, store, SERVICE_IPS, key, `goto ${plan.internalChain}`, origin)
  else refuse(tx, store, plan, NO_ENDPOINT_SERVICES, key, 'internalTrafficPolicy')
  for (const { text, index } of port.externalIps) {
    const externalKey = addressKey(port, text)
    const from = serviceOrigin(port, ['spec', 'externalIPs', index])
    if (hasAny) ensureElement(tx, store, SERVICE_IPS, externalKey, `goto ${plan.chains.external}`, from)
    if (!hasExternal) refuse(tx, store, plan, NO_ENDPOINT_SERVICES, externalKey, 'externalTrafficPolicy')
  }
}

/** Makes sure of the elements of load-balancer IPs and of the NodePort. */
export function captureBalancerAndNodePort(tx: NftTransaction, store: ElementStore, plan: NftPlan): void {
  const { port, hasAny, hasExternal } = plan.traffic
  for (const { text, index } of port.loadBalancerVips) {
    const key = addressKey(port, text)
    const origin = serviceOrigin(port, ['status', 'loadBalancer', 'ingress', index, 'ip'])
    if (hasAny) ensureElement(tx, store, SERVICE_IPS, key, `goto ${plan.chains.external}`, origin)
    if (plan.usesFirewall) {
      const ranges = serviceOrigin(port, ['spec', 'loadBalancerSourceRanges'])
      ensureElement(tx, store, FIREWALL_IPS, key, `goto ${plan.chains.firewall}`, ranges)
    }
  }
  if (!hasExternal) {
    for (const { text } of port.loadBalancerVips) {
      refuse(tx, store, plan, NO_ENDPOINT_SERVICES, addressKey(port, text), 'externalTrafficPolicy')
    }
  }
  if (port.nodePort === 0) return
  const key = `${port.protocol} . ${port.nodePort}`
  const origin = serviceOrigin(port, ['spec', 'ports', port.portIndex, 'nodePort'])
  if (hasAny) ensureElement(tx, store, SERVICE_NODEPORTS, key, `goto ${plan.chains.external}`, origin)
  if (!hasExternal) refuse(tx, store, plan, NO_ENDPOINT_NODEPORTS, key, 'externalTrafficPolicy')
}

function addressKey(port: ServicePort, ip: string): string {
  return `${ip} . ${port.protocol} . ${port.port}`
}

function refuse(
  tx: NftTransaction,
  store: ElementStore,
  { traffic: { port, hasAny } }: NftPlan,
  container: Container,
  key: string,
  policy: 'internalTrafficPolicy' | 'externalTrafficPolicy',
): void {
  const origin: RuleOrigin = serviceOrigin(port, ['spec', hasAny ? policy : 'selector'])
  ensureElement(tx, store, container, key, hasAny ? 'drop' : `goto ${REJECT_CHAIN}`, origin, port.name)
}
