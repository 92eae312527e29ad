/**
 * What kube-proxy does once on a node before its first iptables-restore: sysctls, the canary chains, its chains and
 * the jumps to them from the built-in chains.
 *
 * A jump is `iptables -C || iptables -I`: absent ones are prepended, so on a bare node the last listed is the first
 * rule of its chain, and on a node with rules of others kube-proxy's come before them.
 *
 * Of the kubelet's chains only KUBE-FIREWALL, which kube-proxy ensures too, is made. Not modelled: the kubelet's own
 * KUBE-KUBELET-CANARY and KUBE-MARK-DROP, the size of the conntrack hash table (a module parameter, not a sysctl).
 *
 * Sources: pkg/proxy/iptables/proxier.go (iptablesJumpChains, iptablesKubeletJumpChains, NewProxier),
 * pkg/util/iptables (EnsureChain, EnsureRule, Monitor), cmd/kube-proxy/app/conntrack.go.
 */

import { nodePortAddresses } from '../node-port-addresses.ts'
import { conntrackSysctls } from '../start.ts'
import type { IpFamily, IptablesTable, ProxyInput, ProxyVerb } from '../types.ts'
import {
  KUBE_EXTERNAL_SERVICES,
  KUBE_FIREWALL,
  KUBE_FORWARD,
  KUBE_NODEPORTS,
  KUBE_POSTROUTING,
  KUBE_PROXY_CANARY,
  KUBE_PROXY_FIREWALL,
  KUBE_SERVICES,
} from './names.ts'

interface JumpChain {
  readonly table: IptablesTable
  readonly from: string
  readonly to: string
  readonly comment: string
  readonly isForNew: boolean
}

const EXTERNAL = 'kubernetes externally-visible service portals'
const PORTALS = 'kubernetes service portals'
const FIREWALL = 'kubernetes load balancer firewall'

/** In the order kube-proxy ensures them. */
const JUMP_CHAINS: readonly JumpChain[] = [
  jump('filter', 'INPUT', KUBE_EXTERNAL_SERVICES, EXTERNAL, true),
  jump('filter', 'FORWARD', KUBE_EXTERNAL_SERVICES, EXTERNAL, true),
  jump('filter', 'INPUT', KUBE_NODEPORTS, 'kubernetes health check service ports', false),
  jump('filter', 'FORWARD', KUBE_SERVICES, PORTALS, true),
  jump('filter', 'OUTPUT', KUBE_SERVICES, PORTALS, true),
  jump('filter', 'FORWARD', KUBE_FORWARD, 'kubernetes forwarding rules', false),
  jump('filter', 'INPUT', KUBE_PROXY_FIREWALL, FIREWALL, true),
  jump('filter', 'OUTPUT', KUBE_PROXY_FIREWALL, FIREWALL, true),
  jump('filter', 'FORWARD', KUBE_PROXY_FIREWALL, FIREWALL, true),
  jump('nat', 'OUTPUT', KUBE_SERVICES, PORTALS, false),
  jump('nat', 'PREROUTING', KUBE_SERVICES, PORTALS, false),
  jump('nat', 'POSTROUTING', KUBE_POSTROUTING, 'kubernetes postrouting rules', false),
  jump('filter', 'INPUT', KUBE_FIREWALL, '', false),
  jump('filter', 'OUTPUT', KUBE_FIREWALL, '', false),
]

const CANARY_TABLES: readonly IptablesTable[] = ['mangle', 'nat', 'filter']

/** The jumps and chains of one family, as every full sync ensures them. */
export function ensureJumps(family: IpFamily): ProxyVerb[] {
  return JUMP_CHAINS.flatMap(({ table, from, to, comment, isForNew }): ProxyVerb[] => {
    const args = [
      ...(isForNew ? ['-m', 'conntrack', '--ctstate', 'NEW'] : []),
      ...(comment === '' ? [] : ['-m', 'comment', '--comment', comment]),
      '-j',
      to,
    ]
    return [
      { verb: 'ensure-chain', family, table, chain: to },
      { verb: 'ensure-rule', family, table, chain: from, args },
    ]
  })
}

/** What is done once per node and family when kube-proxy starts, before its first sync. */
export function startCommands(input: ProxyInput, families: readonly IpFamily[]): ProxyVerb[] {
  const verbs: ProxyVerb[] = conntrackSysctls(input)
  for (const family of families) {
    if (nodePortAddresses(input.config, input.node, family).onLocalhost) {
      verbs.push({ verb: 'sysctl', key: 'net.ipv4.conf.all.route_localnet', value: '1' })
    }
  }
  for (const name of input.config.nfacctCounters ?? []) verbs.push({ verb: 'nfacct-add', name })
  for (const family of families) {
    for (const table of CANARY_TABLES) verbs.push({ verb: 'ensure-chain', family, table, chain: KUBE_PROXY_CANARY })
  }
  return verbs
}

function jump(table: IptablesTable, from: string, to: string, comment: string, isForNew: boolean): JumpChain {
  return { table, from, to, comment, isForNew }
}
