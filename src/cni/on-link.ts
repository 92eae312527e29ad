/**
 * Are two nodes in one subnet of the underlay? A route by the other node needs it: the kernel refuses a gateway that is not
 * on link.
 */
import { cidrContainsIpv4, parseIpv4, parseIpv4Cidr } from '../addr/index.ts'
import type { Diagnostic } from '../diagnostics/diagnostic.ts'
import type { NodeModel } from '../kubernetes/types.ts'

/** True when `ip` is in the node's own subnet. */
export function isOnLink(node: NodeModel, ip: string): boolean {
  const own = parseIpv4Cidr(`${node.internalIp}/${node.internalPrefixLength}`)
  const other = parseIpv4(ip)
  return own !== null && other !== null && cidrContainsIpv4(own, other)
}

/** What is said about nodes whose pods a CNI with plain routes cannot reach. */
export function offLinkWarning(cni: string, node: NodeModel, other: NodeModel): Diagnostic {
  return {
    code: 'not-on-link',
    severity: 'warning',
    message: `${cni}: node ${node.name} has no route to the pods of ${other.name}: ${other.internalIp} is not in its subnet`,
    hint: 'plain routes need nodes in one subnet; choose a tunnel, or routers that know the pods',
    ...other.source,
  }
}
