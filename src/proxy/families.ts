/**
 * The address families kube-proxy programs on a node: one proxier per family.
 *
 * Not modelled: kube-proxy also programs a family the node has no address of when its tools work there.
 *
 * Source: cmd/kube-proxy/app/server_linux.go (createProxier), pkg/proxy/metaproxier.
 */
import { familyOf, parseIp } from './addresses.ts'
import type { IpFamily, ProxyInput } from './types.ts'

/** The families kube-proxy programs on this node. */
export function ipFamilies({ config, node }: ProxyInput): IpFamily[] {
  if (config.ipFamilies !== undefined) return [...config.ipFamilies]
  const present = new Set(
    node.ips
      .map(parseIp)
      .filter((ip) => ip !== null)
      .map(familyOf),
  )
  return (['IPv4', 'IPv6'] as const).filter((family) => present.has(family))
}
