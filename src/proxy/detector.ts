/**
 * Local-traffic detectors: how kube-proxy tells traffic of this node's pods (or the cluster's) from the rest.
 *
 * `--detect-local-mode` chooses; a mode whose data is missing falls back to none, and then nothing is treated as pod
 * traffic: no masquerade of off-cluster clients, no short-circuit for pods.
 *
 * Source: pkg/proxy/util/localdetector.go, cmd/kube-proxy/app/server_linux.go (getLocalDetector).
 */
import { familyOf, formatPrefix, parsePrefix } from './addresses.ts'
import type { IpFamily, ProxyConfig, ProxyNode } from './types.ts'

/** iptables arguments and nftables expressions that match local traffic, and those that match everything else. */
export interface LocalDetector {
  readonly ifLocal: string
  readonly ifNotLocal: string
  readonly ifLocalNft: string
  readonly ifNotLocalNft: string
}

/** The detector of one family, or null when local traffic cannot be told. */
export function localDetector(config: ProxyConfig, node: ProxyNode, family: IpFamily): LocalDetector | null {
  switch (config.localDetector ?? 'ClusterCIDR') {
    case 'ClusterCIDR':
      return bySource((config.clusterCidr ?? '').split(','), family)
    case 'NodeCIDR':
      return bySource(node.podCidrs ?? [], family)
    case 'BridgeInterface':
      return config.bridgeInterface ? byInterface(config.bridgeInterface, config.bridgeInterface) : null
    case 'InterfaceNamePrefix':
      return config.interfaceNamePrefix
        ? byInterface(`${config.interfaceNamePrefix}+`, `${config.interfaceNamePrefix}*`)
        : null
    case 'None':
      return null
  }
}

function bySource(cidrs: readonly string[], family: IpFamily): LocalDetector | null {
  const field = family === 'IPv4' ? 'ip saddr' : 'ip6 saddr'
  for (const cidr of cidrs) {
    const prefix = parsePrefix(cidr)
    if (prefix === null || familyOf(prefix) !== family) continue
    const text = formatPrefix(prefix)
    return {
      ifLocal: `-s ${text}`,
      ifNotLocal: `! -s ${text}`,
      ifLocalNft: `${field} ${text}`,
      ifNotLocalNft: `${field} != ${text}`,
    }
  }
  return null
}

/** `iifname` since kube-proxy 1.31; before, `iif`, which needs the interface to be there. */
function byInterface(iptables: string, nft: string): LocalDetector {
  return {
    ifLocal: `-i ${iptables}`,
    ifNotLocal: `! -i ${iptables}`,
    ifLocalNft: `iifname ${nft}`,
    ifNotLocalNft: `iifname != ${nft}`,
  }
}
