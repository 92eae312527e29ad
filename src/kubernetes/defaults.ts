/**
 * The defaults that the API server fills in, for the fields that the network reads.
 *
 * Inputs are never changed: what a default touches is copied.
 * Not modelled: IPv6 and dual-stack families.
 *
 * Sources: k8s.io/kubernetes/pkg/apis/core/v1/defaults.go (SetDefaults_Service, SetDefaults_PodSpec, SetDefaults_Pod),
 * pkg/registry/core/service/storage/alloc.go (families).
 */
import type { Container, KubernetesObject, PodSpec, Service, ServicePort, ServiceSpec, Toleration } from './types.ts'

/** A pod's spec with its defaults. */
export function defaultPodSpec(spec: PodSpec): PodSpec {
  const isHostNetwork = spec.hostNetwork === true
  const fill = (container: Container): Container => ({
    ...container,
    ports: (container.ports ?? []).map((port) => ({
      ...port,
      protocol: port.protocol ?? 'TCP',
      ...(isHostNetwork && !port.hostPort && { hostPort: port.containerPort }),
    })),
    resources: defaultRequests(container.resources),
  })
  return {
    ...spec,
    restartPolicy: spec.restartPolicy ?? 'Always',
    dnsPolicy: spec.dnsPolicy ?? 'ClusterFirst',
    schedulerName: spec.schedulerName ?? 'default-scheduler',
    enableServiceLinks: spec.enableServiceLinks ?? true,
    containers: spec.containers.map(fill),
    ...(spec.initContainers && { initContainers: spec.initContainers.map(fill) }),
    tolerations: withDefaultTolerations(spec.tolerations ?? []),
  }
}

/** A limit without a request is also the request. */
function defaultRequests(resources: Container['resources']): NonNullable<Container['resources']> {
  if (!resources?.limits) return resources ?? {}
  return { ...resources, requests: { ...resources.limits, ...resources.requests } }
}

/** The DefaultTolerationSeconds admission plugin: 300 seconds on a node that is not ready or unreachable. */
function withDefaultTolerations(tolerations: readonly Toleration[]): Toleration[] {
  const all = [...tolerations]
  for (const key of ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable']) {
    const isCovered = tolerations.some((t) => (!t.key || t.key === key) && (!t.effect || t.effect === 'NoExecute'))
    if (!isCovered) all.push({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 })
  }
  return all
}

/** A Service with its defaults; addresses and node ports are still as given. */
export function defaultService(object: KubernetesObject): Service {
  const given = object.spec as Partial<ServiceSpec>
  const type = given.type ?? 'ClusterIP'
  const spec: ServiceSpec = { ...given, type, sessionAffinity: given.sessionAffinity ?? 'None' }
  if (given.ports) spec.ports = given.ports.map(defaultServicePort)
  if (spec.sessionAffinity === 'ClientIP') {
    const timeoutSeconds = given.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 10800
    spec.sessionAffinityConfig = { clientIP: { timeoutSeconds } }
  }
  if (type !== 'ExternalName') {
    spec.internalTrafficPolicy = given.internalTrafficPolicy ?? 'Cluster'
    spec.ipFamilies = given.ipFamilies ?? ['IPv4']
    spec.ipFamilyPolicy = given.ipFamilyPolicy ?? 'SingleStack'
  }
  if (isExternallyAccessible(spec)) spec.externalTrafficPolicy = given.externalTrafficPolicy ?? 'Cluster'
  if (type === 'LoadBalancer') spec.allocateLoadBalancerNodePorts = given.allocateLoadBalancerNodePorts ?? true
  const namespace = object.metadata.namespace ?? 'default'
  return { ...object, metadata: { ...object.metadata, namespace }, spec } as Service
}

/** service.ExternallyAccessible: node ports, load balancers, and external IPs. */
export function isExternallyAccessible(spec: ServiceSpec): boolean {
  return spec.type === 'NodePort' || spec.type === 'LoadBalancer' || (spec.externalIPs ?? []).length > 0
}

function defaultServicePort(port: ServicePort): ServicePort {
  const targetPort = port.targetPort === undefined || port.targetPort === '' ? port.port : port.targetPort
  return { ...port, protocol: port.protocol ?? 'TCP', targetPort }
}
