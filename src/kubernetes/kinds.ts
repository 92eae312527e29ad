/**
 * The kinds that podwalk knows: which it builds the cluster from, which have no effect on packets, which have one that
 * is not modelled. What is in no table is named in a warning.
 *
 * Sources: the API reference of Kubernetes 1.34; the deprecated API migration guide for `REMOVED`.
 */
import { POLICY_KINDS } from './policy-kinds.ts'
import type { ObjectSchema } from './schema.ts'
import { cluster, configMap, namespace, node } from './schemas/cluster.ts'
import { gateway, gatewayClass, httpRoute, ingress, ingressClass, referenceGrant, tlsRoute } from './schemas/gateway.ts'
import { bgpAdvertisement, bgpPeer, ipAddressPool, l2Advertisement } from './schemas/metallb.ts'
import { pod } from './schemas/pod.ts'
import { endpointSlice, endpoints, service } from './schemas/service.ts'
import { cronJob, daemonSet, deployment, job, networkPolicy, replicaSet, statefulSet } from './schemas/workloads.ts'

/** A kind that is checked and used. */
export interface KnownKind {
  readonly schema: ObjectSchema
  readonly isNamespaced: boolean
  /** How its name is judged. */
  readonly name: 'subdomain' | 'label' | 'label1035'
}

/** A kind of the Gateway API in the versions that have the same shape. */
function gatewayKind(
  name: string,
  schema: ObjectSchema,
  versions: readonly string[],
  isNamespaced = true,
): Record<string, KnownKind> {
  const known: KnownKind = { schema, isNamespaced, name: 'subdomain' }
  return Object.fromEntries(versions.map((v) => [`gateway.networking.k8s.io/${v}/${name}`, known]))
}

const kinds: Record<string, KnownKind> = {
  'v1/Namespace': { schema: namespace, isNamespaced: false, name: 'label' },
  'v1/Pod': { schema: pod, isNamespaced: true, name: 'subdomain' },
  'v1/Service': { schema: service, isNamespaced: true, name: 'label1035' },
  'v1/Endpoints': { schema: endpoints, isNamespaced: true, name: 'subdomain' },
  'v1/Node': { schema: node, isNamespaced: false, name: 'subdomain' },
  'v1/ConfigMap': { schema: configMap, isNamespaced: true, name: 'subdomain' },
  'apps/v1/Deployment': { schema: deployment, isNamespaced: true, name: 'subdomain' },
  'apps/v1/ReplicaSet': { schema: replicaSet, isNamespaced: true, name: 'subdomain' },
  'apps/v1/StatefulSet': { schema: statefulSet, isNamespaced: true, name: 'subdomain' },
  'apps/v1/DaemonSet': { schema: daemonSet, isNamespaced: true, name: 'subdomain' },
  'batch/v1/Job': { schema: job, isNamespaced: true, name: 'subdomain' },
  'batch/v1/CronJob': { schema: cronJob, isNamespaced: true, name: 'subdomain' },
  'discovery.k8s.io/v1/EndpointSlice': { schema: endpointSlice, isNamespaced: true, name: 'subdomain' },
  'networking.k8s.io/v1/NetworkPolicy': { schema: networkPolicy, isNamespaced: true, name: 'subdomain' },
  'metallb.io/v1beta1/IPAddressPool': { schema: ipAddressPool, isNamespaced: true, name: 'subdomain' },
  'metallb.io/v1beta1/L2Advertisement': { schema: l2Advertisement, isNamespaced: true, name: 'subdomain' },
  'metallb.io/v1beta1/BGPAdvertisement': { schema: bgpAdvertisement, isNamespaced: true, name: 'subdomain' },
  'metallb.io/v1beta2/BGPPeer': { schema: bgpPeer, isNamespaced: true, name: 'subdomain' },
  'networking.k8s.io/v1/Ingress': { schema: ingress, isNamespaced: true, name: 'subdomain' },
  'networking.k8s.io/v1/IngressClass': { schema: ingressClass, isNamespaced: false, name: 'subdomain' },
  ...gatewayKind('Gateway', gateway, ['v1', 'v1beta1']),
  ...gatewayKind('GatewayClass', gatewayClass, ['v1', 'v1beta1'], false),
  ...gatewayKind('HTTPRoute', httpRoute, ['v1', 'v1beta1']),
  ...gatewayKind('TLSRoute', tlsRoute, ['v1', 'v1alpha3', 'v1alpha2']),
  ...gatewayKind('ReferenceGrant', referenceGrant, ['v1', 'v1beta1']),
  'podwalk.dev/v1alpha1/Cluster': { schema: cluster, isNamespaced: false, name: 'subdomain' },
}

/** Kinds that podwalk builds the cluster from, by `apiVersion/kind`. */
export const KNOWN_KINDS: ReadonlyMap<string, KnownKind> = new Map([...Object.entries(kinds), ...POLICY_KINDS])

const CALICO_KINDS =
  'IPPool IPReservation IPAMConfig IPAMConfiguration IPAMBlock BlockAffinity IPAMHandle BGPConfiguration BGPPeer BGPFilter ' +
  'FelixConfiguration KubeControllersConfiguration ClusterInformation CalicoNodeStatus HostEndpoint NetworkSet ' +
  'GlobalNetworkSet NetworkPolicy GlobalNetworkPolicy StagedNetworkPolicy StagedGlobalNetworkPolicy ' +
  'StagedKubernetesNetworkPolicy Tier Profile Node WorkloadEndpoint'

/** Kinds that ingress controllers and gateways read; they stay among the objects for drivers. */
export const ROUTING_KINDS: readonly string[] = Object.keys(kinds).filter((key) =>
  /^(?:networking\.k8s\.io\/v1\/Ingress|gateway\.networking\.k8s\.io\/)/.test(key),
)

/** Kinds of any version that change nothing about packets, by `group/kind`. */
const WITHOUT_EFFECT = new Set(
  [
    ' ServiceAccount Secret PersistentVolume PersistentVolumeClaim LimitRange ResourceQuota Event PodTemplate ' +
      'ComponentStatus Binding',
    'rbac.authorization.k8s.io Role RoleBinding ClusterRole ClusterRoleBinding',
    'apps ControllerRevision',
    'policy PodDisruptionBudget PodSecurityPolicy',
    'autoscaling HorizontalPodAutoscaler',
    'autoscaling.k8s.io VerticalPodAutoscaler',
    'apiextensions.k8s.io CustomResourceDefinition',
    'apiregistration.k8s.io APIService',
    'admissionregistration.k8s.io ValidatingWebhookConfiguration MutatingWebhookConfiguration ' +
      'ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding MutatingAdmissionPolicy MutatingAdmissionPolicyBinding',
    'storage.k8s.io StorageClass CSIDriver CSINode VolumeAttachment CSIStorageCapacity VolumeAttributesClass',
    'scheduling.k8s.io PriorityClass',
    'coordination.k8s.io Lease LeaseCandidate',
    'node.k8s.io RuntimeClass',
    'certificates.k8s.io CertificateSigningRequest',
    'events.k8s.io Event',
    'metrics.k8s.io NodeMetrics PodMetrics',
    'flowcontrol.apiserver.k8s.io FlowSchema PriorityLevelConfiguration',
    'kustomize.config.k8s.io Kustomization Component',
    'monitoring.coreos.com ServiceMonitor PodMonitor PrometheusRule Probe',
    'cert-manager.io Certificate Issuer ClusterIssuer CertificateRequest',
    // Configuration files, not objects of the API: read by infer.ts.
    'kubeadm.k8s.io ClusterConfiguration InitConfiguration JoinConfiguration ResetConfiguration UpgradeConfiguration',
    'kubeproxy.config.k8s.io KubeProxyConfiguration',
    'kubelet.config.k8s.io KubeletConfiguration',
    'kind.x-k8s.io Cluster',
    'operator.tigera.io Installation APIServer',
    // Configuration and policy of Calico: read by its IPAM (calico/) and its driver.
    `crd.projectcalico.org ${CALICO_KINDS}`,
    `projectcalico.org ${CALICO_KINDS}`,
  ].flatMap((line) => {
    const [group, ...names] = line.split(' ')
    return names.map((name) => `${group}/${name}`)
  }),
)

const REMOVED: Readonly<Record<string, string>> = {
  'extensions/v1beta1': 'apps/v1 (Deployment, DaemonSet, ReplicaSet) or networking.k8s.io/v1',
  'apps/v1beta1': 'apps/v1',
  'apps/v1beta2': 'apps/v1',
  'batch/v1beta1': 'batch/v1',
  'discovery.k8s.io/v1beta1': 'discovery.k8s.io/v1',
  'policy/v1beta1': 'policy/v1',
}

/** The group of an apiVersion: empty for `v1`. */
export function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf('/')
  return slash < 0 ? '' : apiVersion.slice(0, slash)
}

/** The known kind of an object, or undefined. */
export function knownKind(apiVersion: string, kind: string): KnownKind | undefined {
  return KNOWN_KINDS.get(`${apiVersion}/${kind}`)
}

/** True for kinds that need no warning: they change nothing about packets, or they configure what infer.ts reads. */
export function hasNoEffect(apiVersion: string, kind: string): boolean {
  return WITHOUT_EFFECT.has(`${groupOf(apiVersion)}/${kind}`)
}

/** What serves a removed API version now, or undefined. */
export function replacementOf(apiVersion: string): string | undefined {
  return REMOVED[apiVersion]
}

/** All kinds by name, for hints. */
export function allKindNames(): string[] {
  return [...KNOWN_KINDS.keys()].map((key) => key.slice(key.lastIndexOf('/') + 1))
}
