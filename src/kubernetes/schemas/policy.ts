/**
 * The shapes of the policy kinds beside networking.k8s.io: the SIG's cluster-scoped policies, Calico's and Cilium's.
 *
 * Sources: network-policy-api apis/v1alpha1 and apis/v1alpha2, projectcalico api/v3, cilium pkg/policy/api and
 * pkg/k8s/apis/cilium.io/v2.
 */
import type { ObjectSchema, Schema } from '../schema.ts'
import { any, bool, list, object, oneOf, portNumber, string } from '../schema.ts'
import { kind, labelSelector } from './common.ts'

const priority: Schema = { t: 'int', min: 0, max: 1000 }
const protocol = oneOf('TCP', 'UDP', 'SCTP')
const namespacedPod = object({ namespaceSelector: labelSelector, 'podSelector!': labelSelector })
const subject = object({ namespaces: labelSelector, pods: namespacedPod })
const egressPeer = object({
  namespaces: labelSelector,
  pods: namespacedPod,
  nodes: labelSelector,
  networks: list(string, 1),
  domainNames: list(string, 1),
})

const portV1alpha1 = object({
  portNumber: object({ protocol, 'port!': portNumber }),
  portRange: object({ protocol, 'start!': portNumber, 'end!': portNumber }),
  namedPort: string,
})

function adminRules(actions: readonly string[], ports: Record<string, Schema>): Record<string, Schema> {
  const common = { name: string, 'action!': oneOf(...actions), ...ports }
  return {
    ingress: list(object({ ...common, 'from!': list(subject, 1) })),
    egress: list(object({ ...common, 'to!': list(egressPeer, 1) })),
  }
}

/** policy.networking.k8s.io/v1alpha1 AdminNetworkPolicy. */
export const adminNetworkPolicy: ObjectSchema = kind({
  'spec!': object({
    'priority!': priority,
    'subject!': subject,
    ...adminRules(['Allow', 'Deny', 'Pass'], { ports: list(portV1alpha1) }),
  }),
})

/** policy.networking.k8s.io/v1alpha1 BaselineAdminNetworkPolicy. */
export const baselineAdminNetworkPolicy: ObjectSchema = kind({
  'spec!': object({ 'subject!': subject, ...adminRules(['Allow', 'Deny'], { ports: list(portV1alpha1) }) }),
})

const destinationPort = object({
  destinationPort: object({
    number: portNumber,
    range: object({ 'start!': portNumber, 'end!': portNumber }),
  }),
})

/** policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy. */
export const clusterNetworkPolicy: ObjectSchema = kind({
  'spec!': object({
    'tier!': oneOf('Admin', 'Baseline'),
    'priority!': priority,
    'subject!': subject,
    ...adminRules(['Accept', 'Deny', 'Pass'], {
      protocols: list(
        object({ tcp: destinationPort, udp: destinationPort, sctp: destinationPort, destinationNamedPort: string }),
        1,
      ),
    }),
  }),
})

const icmp = object({ type: { t: 'int', min: 0, max: 254 }, code: { t: 'int', min: 0, max: 255 } })
const entity = object({
  nets: list(string),
  notNets: list(string),
  selector: string,
  notSelector: string,
  namespaceSelector: string,
  services: object({ name: string, namespace: string }),
  ports: list(any),
  notPorts: list(any),
  serviceAccounts: object({ names: list(string), selector: string }),
})
const calicoRule = object(
  {
    'action!': oneOf('Allow', 'Deny', 'Log', 'Pass'),
    ipVersion: { t: 'int', min: 4, max: 6 },
    protocol: any,
    notProtocol: any,
    icmp,
    notICMP: icmp,
    source: entity,
    destination: entity,
    http: object({ methods: list(string), paths: list(object({ exact: string, prefix: string })) }),
  },
  'metadata',
)
const order: Schema = { t: 'number' }
const types = list(oneOf('Ingress', 'Egress'))
const calicoSpec: Record<string, Schema> = {
  tier: string,
  order,
  selector: string,
  serviceAccountSelector: string,
  types,
  ingress: list(calicoRule),
  egress: list(calicoRule),
}
const globalSpec: Record<string, Schema> = {
  ...calicoSpec,
  namespaceSelector: string,
  doNotTrack: bool,
  preDNAT: bool,
  applyOnForward: bool,
}
const stagedAction: Record<string, Schema> = { stagedAction: oneOf('Set', 'Delete', 'Learn', 'Ignore') }

/** projectcalico.org/v3 NetworkPolicy. */
export const calicoNetworkPolicy: ObjectSchema = kind({ 'spec!': object(calicoSpec, 'performanceHints') })
/** projectcalico.org/v3 GlobalNetworkPolicy. */
export const globalNetworkPolicy: ObjectSchema = kind({ 'spec!': object(globalSpec, 'performanceHints') })
/** projectcalico.org/v3 StagedNetworkPolicy. */
export const stagedNetworkPolicy: ObjectSchema = kind({
  'spec!': object({ ...calicoSpec, ...stagedAction }, 'performanceHints'),
})
/** projectcalico.org/v3 StagedGlobalNetworkPolicy. */
export const stagedGlobalNetworkPolicy: ObjectSchema = kind({
  'spec!': object({ ...globalSpec, ...stagedAction }, 'performanceHints'),
})

/** projectcalico.org/v3 NetworkSet and GlobalNetworkSet. */
export const networkSet: ObjectSchema = kind({ spec: object({ nets: list(string) }) })

/** projectcalico.org/v3 Tier. */
export const tier: ObjectSchema = kind({ spec: object({ order, defaultAction: oneOf('Deny', 'Pass') }) })

/** Cilium's selectors have keys with a source before them: `k8s:app`, `reserved:host`. */
const endpointSelector: ObjectSchema = object({
  matchLabels: { t: 'map', value: string },
  matchExpressions: list(
    object({ 'key!': string, 'operator!': oneOf('In', 'NotIn', 'Exists', 'DoesNotExist'), values: list(string) }),
  ),
})
const portRules = list(
  object(
    { ports: list(object({ port: any, endPort: { t: 'int', min: 0, max: 65535 }, protocol: string })), rules: any },
    'terminatingTLS originatingTLS serverNames listener',
  ),
)
const cidrSet = list(object({ cidr: string, except: list(string), cidrGroupRef: string, cidrGroupSelector: any }))
const icmps = list(object({ fields: list(object({ family: oneOf('IPv4', 'IPv6'), 'type!': any })) }))

function ciliumRules(side: 'from' | 'to', others: Record<string, Schema> = {}): Schema {
  return list(
    object(
      {
        [`${side}Endpoints`]: list(endpointSelector),
        [`${side}Requires`]: list(endpointSelector),
        [`${side}Entities`]: list(string),
        [`${side}CIDR`]: list(string),
        [`${side}CIDRSet`]: cidrSet,
        [`${side}Nodes`]: list(endpointSelector),
        [`${side}Groups`]: list(any),
        toPorts: portRules,
        icmps,
        ...others,
      },
      'authentication',
    ),
  )
}

const toServices = list(
  object({
    k8sService: object({ serviceName: string, namespace: string }),
    k8sServiceSelector: object({ selector: endpointSelector, namespace: string }),
  }),
)
const ciliumSpec = object(
  {
    endpointSelector,
    nodeSelector: endpointSelector,
    ingress: ciliumRules('from'),
    ingressDeny: ciliumRules('from'),
    egress: ciliumRules('to', {
      toServices,
      toFQDNs: list(object({ matchName: string, matchPattern: string })),
    }),
    egressDeny: ciliumRules('to', { toServices }),
    enableDefaultDeny: object({ ingress: bool, egress: bool }),
    description: string,
  },
  'labels log',
)

/** cilium.io/v2 CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy. */
export const ciliumNetworkPolicy: ObjectSchema = kind({ spec: ciliumSpec, specs: list(ciliumSpec) })
