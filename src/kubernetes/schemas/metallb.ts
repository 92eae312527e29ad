/**
 * The shapes of MetalLB's IPAddressPool and L2Advertisement.
 *
 * Sources: go.universe.tf/metallb api/v1beta1/{ipaddresspool,l2advertisement}_types.go (0.14).
 */
import { parseCidr } from '../../addr/cidr.ts'
import { parseIpv4 } from '../../addr/ipv4.ts'
import { parseIpv6 } from '../../addr/ipv6.ts'
import type { ObjectSchema } from '../schema.ts'
import { bool, checked, int, list, object, string } from '../schema.ts'
import { kind, labelSelector } from './common.ts'

function badRange(text: string): string | null {
  if (parseCidr(text) !== null) return null
  const [low, high, more] = text.split('-').map((t) => t.trim())
  const isAddress = (t: string | undefined): boolean =>
    t !== undefined && (parseIpv4(t) !== null || parseIpv6(t) !== null)
  return more === undefined && isAddress(low) && isAddress(high)
    ? null
    : 'a CIDR or a range such as 10.0.0.10-10.0.0.20'
}

/** metallb.io/v1beta1 IPAddressPool. */
export const ipAddressPool: ObjectSchema = kind({
  'spec!': object({
    'addresses!': list(checked(badRange), 1),
    autoAssign: bool,
    avoidBuggyIPs: bool,
    serviceAllocation: object({
      priority: int,
      namespaces: list(string),
      namespaceSelectors: list(labelSelector),
      serviceSelectors: list(labelSelector),
    }),
  }),
})

/** metallb.io/v1beta1 L2Advertisement. */
export const l2Advertisement: ObjectSchema = kind({
  spec: object({
    ipAddressPools: list(string),
    ipAddressPoolSelectors: list(labelSelector),
    nodeSelectors: list(labelSelector),
    interfaces: list(string),
  }),
})
