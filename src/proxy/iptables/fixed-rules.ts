/**
 * The chains and rules kube-proxy writes whatever the services are.
 *
 * KUBE-POSTROUTING masquerades what carries the mark and clears it first (so that the packet is not masqueraded again
 * after it left a tunnel), KUBE-FORWARD accepts marked and established traffic even where FORWARD drops by default,
 * and the last rule of nat KUBE-SERVICES sends what is for a local address to the NodePorts.
 *
 * Source: pkg/proxy/iptables/proxier.go (syncProxyRules, first and last part).
 */
import { comment, NFACCT_INVALID_DROPPED, type SyncContext } from './context.ts'
import {
  KUBE_EXTERNAL_SERVICES,
  KUBE_FIREWALL,
  KUBE_FORWARD,
  KUBE_MARK_MASQ,
  KUBE_NODEPORTS,
  KUBE_POSTROUTING,
  KUBE_PROXY_FIREWALL,
  KUBE_SERVICES,
} from './names.ts'
import { appendRule } from './restore-buffer.ts'

const FILTER_CHAINS = [KUBE_SERVICES, KUBE_EXTERNAL_SERVICES, KUBE_FORWARD, KUBE_NODEPORTS, KUBE_PROXY_FIREWALL]
const NAT_CHAINS = [KUBE_SERVICES, KUBE_NODEPORTS, KUBE_POSTROUTING, KUBE_MARK_MASQ]
const NODE_PORTS_COMMENT = 'kubernetes service nodeports; NOTE: this must be the last rule in this chain'

/** Writes what comes before the services. */
export function writeHead(context: SyncContext): void {
  const { filter, nat, mark } = context
  filter.chains.push(...FILTER_CHAINS)
  nat.chains.push(...NAT_CHAINS)
  const randomFully = (context.input.config.randomFully ?? true) ? ' --random-fully' : ''
  const why = comment('kubernetes service traffic requiring SNAT')
  appendRule(nat, KUBE_POSTROUTING, `-m mark ! --mark ${mark}/${mark} -j RETURN`, null)
  appendRule(nat, KUBE_POSTROUTING, `-j MARK --xor-mark ${mark}`, null)
  appendRule(nat, KUBE_POSTROUTING, `${why} -j MASQUERADE${randomFully}`, null)
  appendRule(nat, KUBE_MARK_MASQ, `-j MARK --or-mark ${mark}`, null)
  if (!context.nodePorts.onLocalhost) return
  // route_localnet makes 127.0.0.0/8 reachable from the network: only what a NodePort translated may come in.
  const martian = '-d 127.0.0.0/8 ! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP'
  filter.chains.push(KUBE_FIREWALL)
  appendRule(filter, KUBE_FIREWALL, `${comment('block incoming localnet connections')} ${martian}`, null)
}

/** Writes what comes after the services. */
export function writeTail(context: SyncContext): void {
  writeNodePortsJump(context)
  const { filter, mark, input, counters } = context
  if (!(input.config.tcpBeLiberal ?? false)) {
    const counted = counters.has(NFACCT_INVALID_DROPPED) ? `-m nfacct --nfacct-name ${NFACCT_INVALID_DROPPED} ` : ''
    appendRule(filter, KUBE_FORWARD, `-m conntrack --ctstate INVALID ${counted}-j DROP`, null)
  }
  const marked = `-m mark --mark ${mark}/${mark} -j ACCEPT`
  appendRule(filter, KUBE_FORWARD, `${comment('kubernetes forwarding rules')} ${marked}`, null)
  const established = '-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT'
  appendRule(filter, KUBE_FORWARD, `${comment('kubernetes forwarding conntrack rule')} ${established}`, null)
}

function writeNodePortsJump({ nat, nodePorts, family }: SyncContext): void {
  const why = comment(NODE_PORTS_COMMENT)
  if (!nodePorts.matchAll) {
    for (const ip of nodePorts.ips) appendRule(nat, KUBE_SERVICES, `${why} -d ${ip} -j ${KUBE_NODEPORTS}`, null)
    return
  }
  const loopback = family === 'IPv6' ? '::1/128' : '127.0.0.0/8'
  const notLoopback = nodePorts.onLocalhost ? '' : ` ! -d ${loopback}`
  appendRule(nat, KUBE_SERVICES, `${why} -m addrtype --dst-type LOCAL${notLoopback} -j ${KUBE_NODEPORTS}`, null)
}
