/**
 * The shape of podwalk's BgpSpeaker object, the configuration file of `podwalk bgp speak`.
 *
 *     apiVersion: podwalk.dev/v1alpha1
 *     kind: BgpSpeaker
 *     metadata: {name: lab}
 *     spec:
 *       local: 192.0.2.1
 *       asn: 64512
 *       neighbors: [{address: 192.0.2.2, asn: 64513}]
 *       announce: [{prefix: 10.9.0.0/16}]
 *
 * A neighbour has the fields of BgpPeerSpec (src/bgp/config.ts), a network those of BgpLocalRoute.
 */
import { parseCidr } from '../../addr/cidr.ts'
import { parseIpv4 } from '../../addr/ipv4.ts'
import { parseIpv6 } from '../../addr/ipv6.ts'
import type { ObjectSchema, Schema } from '../schema.ts'
import { bool, checked, list, object, oneOf, portNumber, string } from '../schema.ts'
import { kind } from './common.ts'

const address: Schema = checked((t) => (parseIpv4(t) === null && parseIpv6(t) === null ? 'an IP address' : null))
const ip4: Schema = checked((t) => (parseIpv4(t) === null ? 'an IPv4 address' : null))
const cidr: Schema = checked((t) => (parseCidr(t) === null ? 'a CIDR such as 10.9.0.0/16' : null))
const asn: Schema = { t: 'int', min: 1, max: 0xffffffff }
const seconds: Schema = { t: 'int', min: 0, max: 65535 }
const communities = list(checked((t) => (/^\d+:\d+(:\d+)?$/.test(t) ? null : 'a community such as 64512:1')))
const u32: Schema = { t: 'int', min: 0, max: 0xffffffff }

const prefixMatch = object({ 'cidr!': cidr, ge: { t: 'int', min: 0, max: 128 }, le: { t: 'int', min: 0, max: 128 } })
const match = object({
  prefixes: list(prefixMatch),
  notPrefixes: list(prefixMatch),
  family: { t: 'int', min: 4, max: 6 },
  sources: list(oneOf('static', 'direct', 'kernel', 'ibgp', 'ebgp')),
  nextHopIn: list(cidr),
  asPathPrefix: list(asn),
  asPathContains: asn,
  communities,
  interfaces: list(string),
})
const set = object({
  localPref: u32,
  med: u32,
  origin: oneOf('igp', 'egp', 'incomplete'),
  nextHop: string,
  prepend: list(asn),
  addCommunities: communities,
  removeCommunities: communities,
})
const policy = object({
  name: string,
  'terms!': list(object({ name: string, match, set, 'action!': oneOf('accept', 'reject', 'next') })),
  'default!': oneOf('accept', 'reject'),
})

const neighbor = object({
  'address!': address,
  'asn!': asn,
  name: string,
  localAddress: address,
  localAsn: asn,
  port: portNumber,
  passive: bool,
  multihopTtl: { t: 'int', min: 1, max: 255 },
  ttlSecurity: { t: 'int', min: 1, max: 254 },
  password: string,
  families: list(oneOf('ipv4', 'ipv6'), 1),
  addPaths: oneOf('off', 'rx', 'tx', 'on'),
  gracefulRestart: oneOf('off', 'aware', 'on'),
  restartTime: { t: 'int', min: 0, max: 4095 },
  routeReflectorClient: bool,
  clusterId: ip4,
  nextHopSelf: oneOf('off', 'on', 'ebgp'),
  nextHopKeep: bool,
  allowAsIn: { t: 'int', min: 0, max: 10 },
  holdTime: seconds,
  keepaliveTime: seconds,
  connectRetryTime: seconds,
  connectDelayTime: seconds,
  errorWaitTime: list(seconds, 2),
  defaultMed: u32,
  defaultLocalPref: u32,
  import: policy,
  export: policy,
})

/** podwalk.dev/v1alpha1 BgpSpeaker. */
export const bgpSpeaker: ObjectSchema = kind({
  spec: object({
    'local!': address,
    'asn!': asn,
    routerId: ip4,
    clusterId: ip4,
    implementation: oneOf('bird', 'frr', 'gobgp'),
    port: portNumber,
    restarting: bool,
    neighbors: list(neighbor),
    announce: list(
      object({
        'prefix!': cidr,
        nextHop: address,
        communities,
        localPref: u32,
        med: u32,
        origin: oneOf('igp', 'egp', 'incomplete'),
      }),
    ),
  }),
})
