/**
 * The shapes of Services and their endpoints.
 *
 * Sources: k8s.io/api/core/v1/types.go, k8s.io/api/discovery/v1/types.go (1.34).
 */
import { parseCidr } from '../../addr/cidr.ts'
import { badPortName, badSubdomain } from '../names.ts'
import type { ObjectSchema, Schema } from '../schema.ts'
import { bool, checked, list, map, object, oneOf, portNumber, portOrName, string } from '../schema.ts'
import { kind } from './common.ts'
import { ipAddress, protocol } from './pod.ts'

const anyPort: Schema = { t: 'int', min: 0, max: 65535 }
/** The name of a Service port is an RFC 1123 label, longer than a container's may be. */
const servicePortName: Schema = checked((text) =>
  text === '' || badSubdomain(text) === null ? null : 'an RFC 1123 label',
)

const clusterIp: Schema = checked((text) =>
  text === '' || text === 'None' || ipAddress.t !== 'string' || ipAddress.check?.(text) === null
    ? null
    : 'an IP address, "None" or nothing',
)

const trafficPolicy: Schema = oneOf('Cluster', 'Local')

/** core/v1 Service. */
export const service: ObjectSchema = kind({
  'spec!': object(
    {
      type: oneOf('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'),
      clusterIP: clusterIp,
      clusterIPs: list(clusterIp),
      ipFamilies: list(oneOf('IPv4', 'IPv6')),
      ipFamilyPolicy: oneOf('SingleStack', 'PreferDualStack', 'RequireDualStack'),
      ports: list(
        object({
          'port!': portNumber,
          name: servicePortName,
          protocol,
          targetPort: portOrName,
          nodePort: anyPort,
          appProtocol: string,
        }),
      ),
      selector: map(string),
      externalIPs: list(ipAddress),
      externalName: string,
      externalTrafficPolicy: trafficPolicy,
      internalTrafficPolicy: trafficPolicy,
      trafficDistribution: oneOf('PreferClose', 'PreferSameZone', 'PreferSameNode'),
      healthCheckNodePort: anyPort,
      publishNotReadyAddresses: bool,
      sessionAffinity: oneOf('None', 'ClientIP'),
      sessionAffinityConfig: object({ clientIP: object({ timeoutSeconds: { t: 'int', min: 1, max: 86400 } }) }),
      allocateLoadBalancerNodePorts: bool,
      loadBalancerIP: string,
      loadBalancerClass: string,
      loadBalancerSourceRanges: list(
        checked((text) => (parseCidr(text.trim()) === null ? 'a CIDR such as 10.0.0.0/8' : null)),
      ),
    },
    'topologyKeys',
  ),
})

const endpointPort = object({ name: string, protocol, port: anyPort, appProtocol: string })

/** discovery.k8s.io/v1 EndpointSlice. */
export const endpointSlice: ObjectSchema = kind({
  'addressType!': oneOf('IPv4', 'IPv6', 'FQDN'),
  endpoints: list(
    object(
      {
        'addresses!': list(string, 1),
        conditions: object({ ready: bool, serving: bool, terminating: bool }),
        hostname: string,
        nodeName: string,
        zone: string,
      },
      'targetRef hints deprecatedTopology',
    ),
  ),
  ports: list(endpointPort),
})

const endpointAddress = object({ 'ip!': ipAddress, hostname: string, nodeName: string }, 'targetRef')

/** core/v1 Endpoints. */
export const endpoints: ObjectSchema = kind({
  subsets: list(
    object({
      addresses: list(endpointAddress),
      notReadyAddresses: list(endpointAddress),
      ports: list(
        object({
          name: checked((t) => (t === '' ? null : badPortName(t) && badSubdomain(t))),
          'port!': portNumber,
          protocol,
          appProtocol: string,
        }),
      ),
    }),
  ),
})
