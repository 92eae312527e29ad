/**
 * The rules that capture traffic to a service port: by ClusterIP, external IP, load-balancer IP, NodePort and health
 * check NodePort. They live in chains that all services share, so every sync writes all of them.
 *
 * Without any endpoint the traffic is rejected in filter; when only this node's are missing and the policy is Local it
 * is dropped, so that a client tries another node instead of giving up. External addresses keep their nat rule even
 * then: pods and the node itself are short-circuited to endpoints elsewhere.
 *
 * Source: pkg/proxy/iptables/proxier.go (syncProxyRules).
 */
import { serviceOrigin } from '../service-port.ts'
import type { RuleOrigin } from '../types.ts'
import { comment, NFACCT_LOCALHOST_NODE_PORTS, type ServicePlan, type SyncContext } from './context.ts'
import { KUBE_EXTERNAL_SERVICES, KUBE_NODEPORTS, KUBE_PROXY_FIREWALL, KUBE_SERVICES } from './names.ts'
import { appendRule } from './restore-buffer.ts'

/** Writes the capturing rules of one service port. */
export function writeCaptureRules(context: SyncContext, plan: ServicePlan): void {
  captureClusterIp(context, plan)
  captureExternalIps(context, plan)
  captureLoadBalancerIps(context, plan)
  captureNodePort(context, plan)
  captureHealthCheckNodePort(context, plan)
}

function captureClusterIp({ nat, filter }: SyncContext, plan: ServicePlan): void {
  const { port } = plan
  const origin = serviceOrigin(port, ['spec', 'clusterIP'])
  const match = matchAddress(plan, port.clusterIp)
  if (plan.hasInternal) {
    appendRule(nat, KUBE_SERVICES, `${comment(`${port.name} cluster IP`)} ${match} -j ${plan.internalChain}`, origin)
  } else {
    appendRule(
      filter,
      KUBE_SERVICES,
      `${refusalComment(plan)} ${match} ${refusalTarget(plan)}`,
      refusalOrigin(plan, 'internalTrafficPolicy'),
    )
  }
}

function captureExternalIps({ nat, filter }: SyncContext, plan: ServicePlan): void {
  const { port } = plan
  for (const { text, index } of port.externalIps) {
    const origin = serviceOrigin(port, ['spec', 'externalIPs', index])
    const match = matchAddress(plan, text)
    if (plan.hasAny) {
      appendRule(nat, KUBE_SERVICES, `${comment(`${port.name} external IP`)} ${match} -j ${plan.chains.ext}`, origin)
    }
    if (!plan.hasExternal) {
      appendRule(
        filter,
        KUBE_EXTERNAL_SERVICES,
        `${refusalComment(plan)} ${match} ${refusalTarget(plan)}`,
        refusalOrigin(plan, 'externalTrafficPolicy'),
      )
    }
  }
}

function captureLoadBalancerIps({ nat, filter }: SyncContext, plan: ServicePlan): void {
  const { port, chains } = plan
  const originOf = (index: number): RuleOrigin =>
    serviceOrigin(port, ['status', 'loadBalancer', 'ingress', index, 'ip'])
  for (const { text, index } of port.loadBalancerVips) {
    const match = matchAddress(plan, text)
    if (plan.hasAny) {
      const target = plan.usesFw ? chains.fw : chains.ext
      appendRule(
        nat,
        KUBE_SERVICES,
        `${comment(`${port.name} loadbalancer IP`)} ${match} -j ${target}`,
        originOf(index),
      )
    }
    if (plan.usesFw) {
      const why = comment(`${port.name} traffic not accepted by ${chains.fw}`)
      const origin = serviceOrigin(port, ['spec', 'loadBalancerSourceRanges'])
      appendRule(filter, KUBE_PROXY_FIREWALL, `${why} ${match} -j DROP`, origin)
    }
  }
  if (plan.hasExternal) return
  for (const { text } of port.loadBalancerVips) {
    const args = `${refusalComment(plan)} ${matchAddress(plan, text)} ${refusalTarget(plan)}`
    appendRule(filter, KUBE_EXTERNAL_SERVICES, args, refusalOrigin(plan, 'externalTrafficPolicy'))
  }
}

function captureNodePort(context: SyncContext, plan: ServicePlan): void {
  const { nat, filter } = context
  const { port } = plan
  if (port.nodePort === 0) return
  const origin = serviceOrigin(port, ['spec', 'ports', port.portIndex, 'nodePort'])
  const protocol = `-m ${port.protocol} -p ${port.protocol}`
  if (plan.hasAny) {
    const head = `${comment(port.name)} ${protocol}`
    const tail = `-j ${plan.chains.ext}`
    if (context.nodePorts.onLocalhost && context.counters.has(NFACCT_LOCALHOST_NODE_PORTS)) {
      const counted = `-m nfacct --nfacct-name ${NFACCT_LOCALHOST_NODE_PORTS}`
      appendRule(nat, KUBE_NODEPORTS, `${head} -d 127.0.0.0/8 --dport ${port.nodePort} ${counted} ${tail}`, origin)
    }
    appendRule(nat, KUBE_NODEPORTS, `${head} --dport ${port.nodePort} ${tail}`, origin)
  }
  if (!plan.hasExternal) {
    const match = `-m addrtype --dst-type LOCAL ${protocol} --dport ${port.nodePort}`
    appendRule(
      filter,
      KUBE_EXTERNAL_SERVICES,
      `${refusalComment(plan)} ${match} ${refusalTarget(plan)}`,
      refusalOrigin(plan, 'externalTrafficPolicy'),
    )
  }
}

function captureHealthCheckNodePort({ filter }: SyncContext, { port }: ServicePlan): void {
  if (port.healthCheckNodePort === 0) return
  const match = `-m tcp -p tcp --dport ${port.healthCheckNodePort}`
  const why = comment(`${port.name} health check node port`)
  appendRule(filter, KUBE_NODEPORTS, `${why} ${match} -j ACCEPT`, serviceOrigin(port, ['spec', 'healthCheckNodePort']))
}

/** The match for one address of the Service, in kube-proxy's order of arguments. */
export function matchAddress({ port }: ServicePlan, ip: string): string {
  return `-m ${port.protocol} -p ${port.protocol} -d ${ip} --dport ${port.port}`
}

/** What made a Service without endpoints: its selector, or the policy that leaves the other nodes' endpoints out. */
function refusalOrigin(
  { port, hasAny }: ServicePlan,
  policy: 'internalTrafficPolicy' | 'externalTrafficPolicy',
): RuleOrigin {
  return serviceOrigin(port, ['spec', hasAny ? policy : 'selector'])
}

function refusalComment({ port, hasAny }: ServicePlan): string {
  return comment(`${port.name} has no ${hasAny ? 'local ' : ''}endpoints`)
}

function refusalTarget({ hasAny }: ServicePlan): string {
  return `-j ${hasAny ? 'DROP' : 'REJECT'}`
}
