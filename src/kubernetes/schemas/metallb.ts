/**
 * The shapes of MetalLB's IPAddressPool, L2Advertisement, BGPPeer and BGPAdvertisement.
 *
 * Sources: go.universe.tf/metallb api/v1beta1/{ipaddresspool,l2advertisement,bgpadvertisement}_types.go and
 * api/v1beta2/bgppeer_types.go (0.14).
 */
import { parseCidr } from '../../addr/cidr.ts'
import { parseIpv4 } from '../../addr/ipv4.ts'
import { parseIpv6 } from '../../addr/ipv6.ts'
import { durationSeconds } from '../duration.ts'
import type { ObjectSchema, Schema } from '../schema.ts'
import { bool, checked, int, list, object, portNumber, string } from '../schema.ts'
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

const address = checked((t) => (parseIpv4(t) === null && parseIpv6(t) === null ? 'an IP address' : null))
const duration = checked((t) => (durationSeconds(t) === null ? 'a time such as 90s' : null))
const asn: Schema = { t: 'int', min: 0, max: 0xffffffff }

/** metallb.io/v1beta2 BGPPeer. */
export const bgpPeer: ObjectSchema = kind({
  'spec!': object(
    {
      'myASN!': asn,
      peerASN: asn,
      peerAddress: address,
      peerPort: portNumber,
      sourceAddress: address,
      routerID: address,
      holdTime: duration,
      keepaliveTime: duration,
      password: string,
      ebgpMultiHop: bool,
      nodeSelectors: list(labelSelector),
    },
    'dynamicASN connectTime passwordSecret bfdProfile enableGracefulRestart vrf interface disableMP dualStackAddressFamily',
  ),
})

/** metallb.io/v1beta1 BGPAdvertisement. */
export const bgpAdvertisement: ObjectSchema = kind({
  spec: object(
    {
      aggregationLength: { t: 'int', min: 1, max: 32 },
      localPref: { t: 'int', min: 0, max: 0xffffffff },
      communities: list(string),
      ipAddressPools: list(string),
      nodeSelectors: list(labelSelector),
      peers: list(string),
    },
    'aggregationLengthV6 ipAddressPoolSelectors',
  ),
})
