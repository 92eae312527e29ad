/**
 * Local-traffic detectors: how kube-proxy tells traffic of this node's pods (or the cluster's) from the rest.
 *
 * `--detect-local-mode` chooses; a mode whose data is missing falls back to none, and then nothing is treated as pod
 * traffic: no masquerade of off-cluster clients, no short-circuit for pods.
 *
 * Source: pkg/proxy/util/iptables/traffic.go, cmd/kube-proxy/app/server_linux.go (getLocalDetector).
 */
import { familyOf, formatPrefix, parsePrefix } from './addresses.ts'
import type { IpFamily, ProxyConfig, ProxyNode } from './types.ts'

/** iptables arguments that match local traffic, and those that match everything else. */
export interface LocalDetector {
  readonly ifLocal: string
  readonly ifNotLocal: string
}

/** The detector of one family, or null when local traffic cannot be told. */
export function localDetector(config: ProxyConfig, node: ProxyNode, family: IpFamily): LocalDetector | null {
  const match = matchOf(config, node, family)
  return match === null ? null : { ifLocal: match, ifNotLocal: `! ${match}` }
}

function matchOf(config: ProxyConfig, node: ProxyNode, family: IpFamily): string | null {
  switch (config.localDetector ?? 'ClusterCIDR') {
    case 'ClusterCIDR':
      return sourceMatch((config.clusterCidr ?? '').split(','), family)
    case 'NodeCIDR':
      return sourceMatch(node.podCidrs ?? [], family)
    case 'BridgeInterface':
      return config.bridgeInterface ? `-i ${config.bridgeInterface}` : null
    case 'InterfaceNamePrefix':
      return config.interfaceNamePrefix ? `-i ${config.interfaceNamePrefix}+` : null
    case 'None':
      return null
  }
}

function sourceMatch(cidrs: readonly string[], family: IpFamily): string | null {
  for (const cidr of cidrs) {
    const prefix = parsePrefix(cidr)
    if (prefix !== null && familyOf(prefix) === family) return `-s ${formatPrefix(prefix)}`
  }
  return null
}
