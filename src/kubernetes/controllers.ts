/**
 * The workload controllers: from Deployments, ReplicaSets, StatefulSets, DaemonSets and Jobs to pods.
 *
 * Names look and behave like the real ones: Deployment pods are `name-<pod-template-hash>-<5>`, DaemonSet and Job pods
 * `name-<5>`, StatefulSet pods `name-<ordinal>`; they depend on the object's own name and template only. Pods and
 * ReplicaSets that the input holds (the output of `kubectl get`) are adopted through their ownerReferences: a controller
 * makes only what is missing. CronJobs are templates: they make no pods. Paused and suspended workloads make none either
 * (a paused Deployment keeps what exists).
 *
 * Not modelled: rollouts (one ReplicaSet per Deployment, unless the input has more), ReplicationController.
 * Sources: k8s.io/kubernetes/pkg/controller/{deployment,replicaset,statefulset,daemon,job},
 * pkg/controller/daemon/util/daemonset_util.go (AddOrUpdateDaemonPodTolerations).
 */
import type { SourcePosition } from '../diagnostics/diagnostic.ts'
import { defaultPodSpec } from './defaults.ts'
import { generateName, templateHash, uidFrom } from './hash.ts'
import type {
  KubernetesObject,
  LoadedObject,
  NodeModel,
  PodOwner,
  PodSpec,
  PodTemplate,
  StringMap,
  Toleration,
} from './types.ts'
import type { ValidObjects } from './validate.ts'

/** A pod that wants a node. */
export interface PodDraft {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly labels: StringMap
  readonly annotations: StringMap
  readonly spec: PodSpec
  readonly owner?: PodOwner
  readonly ready: boolean
  readonly terminating: boolean
  /** `status.podIP` as given. */
  readonly givenIp?: string
  /** `status.podIPs`, or `status.podIP` alone, as given. */
  readonly statusIps: readonly string[]
  /** A DaemonSet pod: the node it is for. */
  readonly pinnedNode?: string
  readonly source: SourcePosition
  /** Where the pod's spec is: of the pod, or of its template. */
  positionOf(path: readonly (string | number)[]): SourcePosition
}

/** Annotation on a pod or template: `"false"` makes its pods not ready. */
export const READY_ANNOTATION = 'podwalk.dev/ready'

/** No address is known. */
const NO_IPS: readonly string[] = []

interface OwnerReference {
  kind: string
  name: string
  controller?: boolean
}

interface WorkloadSpec {
  replicas?: number
  template?: PodTemplate
  ordinals?: { start?: number }
  parallelism?: number
  completions?: number
  suspend?: boolean
}

interface PodObject extends KubernetesObject {
  spec: PodSpec
  status?: {
    podIP?: string
    podIPs?: { ip?: string }[]
    phase?: string
    conditions?: { type: string; status: string }[]
  }
}

/** All pods of the input: written ones and those of controllers, in the order of the objects. */
export function makePods(
  objects: readonly LoadedObject[],
  valid: ValidObjects,
  nodes: readonly NodeModel[],
): PodDraft[] {
  const maker = new PodMaker(valid, nodes)
  const known = new Set<LoadedObject>()
  for (const kind of [
    'v1/Pod',
    'apps/v1/Deployment',
    'apps/v1/ReplicaSet',
    'apps/v1/StatefulSet',
    'apps/v1/DaemonSet',
    'batch/v1/Job',
  ]) {
    for (const loaded of valid.of(kind)) known.add(loaded)
  }
  for (const loaded of objects) if (known.has(loaded)) maker.add(loaded)
  return maker.pods
}

class PodMaker {
  readonly pods: PodDraft[] = []
  private readonly nodes: readonly NodeModel[]
  /** One pod more than all nodes take: enough to say that it is too many, however large the number was. */
  private readonly mostPods: number
  private readonly podNames = new Map<string, Set<string>>()
  /** Pods and ReplicaSets of the input by their controller, `namespace/Kind/name`. */
  private readonly owned = new Map<string, LoadedObject[]>()
  /** Deployment name by its ReplicaSet's, both of one namespace. */
  private readonly deploymentOfReplicaSet = new Map<string, string>()
  /** Pods of ReplicaSets that are not in the input, by the Deployment that the ReplicaSet's name tells. */
  private readonly orphans = new Map<string, number>()

  constructor(valid: ValidObjects, nodes: readonly NodeModel[]) {
    this.nodes = nodes
    this.mostPods = nodes.reduce((sum, node) => sum + (node.allocatable.pods ?? 0), 1)
    for (const kind of ['v1/Pod', 'apps/v1/ReplicaSet']) {
      for (const loaded of valid.of(kind)) {
        const { namespace = 'default', name } = loaded.object.metadata
        if (kind === 'v1/Pod' && name) this.names(namespace).add(name)
        const owner = controllerOf(loaded.object)
        if (owner === undefined || isFinished(loaded.object)) continue
        const key = `${namespace}/${owner.kind}/${owner.name}`
        const list = this.owned.get(key)
        if (list === undefined) this.owned.set(key, [loaded])
        else list.push(loaded)
        if (kind !== 'v1/Pod') this.deploymentOfReplicaSet.set(`${namespace}/${name}`, owner.name)
        else if (owner.kind === 'ReplicaSet') {
          const deployment = `${namespace}/${deploymentInName(owner.name) ?? ''}`
          this.orphans.set(deployment, (this.orphans.get(deployment) ?? 0) + 1)
        }
      }
    }
  }

  add(loaded: LoadedObject): void {
    const { kind, metadata, spec } = loaded.object
    const workload = spec as WorkloadSpec
    const namespace = metadata.namespace ?? 'default'
    const owner = { kind, name: metadata.name, workloadKind: kind, workloadName: metadata.name }
    switch (kind) {
      case 'Pod':
        this.addPod(loaded as unknown as LoadedObject<PodObject>)
        return
      case 'Deployment':
        this.addDeployment(loaded, workload, namespace)
        return
      case 'ReplicaSet': {
        const deployment = controllerOf(loaded.object)
        const workloadKind = deployment?.kind ?? kind
        const workloadName = deployment?.name ?? metadata.name
        this.addReplicas(loaded, workload, { ...owner, workloadKind, workloadName }, workload.replicas ?? 1, {})
        return
      }
      case 'StatefulSet':
        this.addStatefulSet(loaded, workload, owner, namespace)
        return
      case 'DaemonSet':
        this.addDaemonSet(loaded, workload, owner, namespace)
        return
      case 'Job': {
        if (workload.suspend === true || isFinished(loaded.object)) return
        const count = Math.min(workload.parallelism ?? 1, workload.completions ?? Number.MAX_SAFE_INTEGER)
        const labels = { 'batch.kubernetes.io/job-name': metadata.name, 'job-name': metadata.name }
        this.addReplicas(loaded, workload, owner, count, labels)
        return
      }
    }
  }

  private names(namespace: string): Set<string> {
    let names = this.podNames.get(namespace)
    if (names === undefined) {
      names = new Set()
      this.podNames.set(namespace, names)
    }
    return names
  }

  private ownedBy(namespace: string, kind: string, name: string): readonly LoadedObject[] {
    return this.owned.get(`${namespace}/${kind}/${name}`) ?? []
  }

  private addPod(loaded: LoadedObject<PodObject>): void {
    const { object } = loaded
    if (isFinished(object)) return
    const { metadata, status } = object
    const namespace = metadata.namespace ?? 'default'
    const base = metadata.generateName as string | undefined
    const name =
      metadata.name || generateName(base ?? '', `${namespace}/${base}${this.pods.length}`, this.names(namespace))
    const owner = controllerOf(object)
    const deployment = owner?.kind === 'ReplicaSet' ? this.deploymentOf(namespace, owner.name) : undefined
    this.pods.push({
      namespace,
      name,
      uid: metadata.uid ?? uidFrom(`${namespace}/Pod/${name}`),
      labels: metadata.labels ?? {},
      annotations: metadata.annotations ?? {},
      spec: defaultPodSpec(object.spec),
      ...(owner !== undefined && {
        owner: {
          kind: owner.kind,
          name: owner.name,
          workloadKind: deployment?.kind ?? owner.kind,
          workloadName: deployment?.name ?? owner.name,
        },
      }),
      ready: isReady(object),
      terminating: metadata.deletionTimestamp !== undefined && metadata.deletionTimestamp !== null,
      ...(status?.podIP !== undefined && { givenIp: status.podIP }),
      statusIps: statusIps(status),
      source: loaded.source,
      positionOf: (path) => loaded.positionOf(path),
    })
  }

  /** The Deployment of a ReplicaSet of the input; without the ReplicaSet, what its name says. */
  private deploymentOf(namespace: string, replicaSet: string): { kind: string; name: string } | undefined {
    const name = this.deploymentOfReplicaSet.get(`${namespace}/${replicaSet}`) ?? deploymentInName(replicaSet)
    return name === undefined ? undefined : { kind: 'Deployment', name }
  }

  private addDeployment(loaded: LoadedObject, spec: WorkloadSpec, namespace: string): void {
    const { name } = loaded.object.metadata
    // ReplicaSets of the input run the pods of a Deployment of the input.
    if (this.ownedBy(namespace, 'Deployment', name).some((o) => o.object.kind === 'ReplicaSet')) return
    const hash = templateHash(spec.template)
    const replicaSet = `${name}-${hash}`
    const owner = { kind: 'ReplicaSet', name: replicaSet, workloadKind: 'Deployment', workloadName: name }
    const count = (spec.replicas ?? 1) - (this.orphans.get(`${namespace}/${name}`) ?? 0)
    this.addReplicas(loaded, spec, owner, count, { 'pod-template-hash': hash })
  }

  private addReplicas(
    loaded: LoadedObject,
    spec: WorkloadSpec,
    owner: PodOwner,
    count: number,
    extraLabels: StringMap,
  ): void {
    if (spec.template === undefined) return
    const namespace = loaded.object.metadata.namespace ?? 'default'
    const missing = count - this.ownedBy(namespace, owner.kind, owner.name).length
    const template = instantiate(loaded, spec.template, extraLabels)
    const names = this.names(namespace)
    for (let i = 0; i < Math.min(missing, this.mostPods); i++) {
      const name = generateName(`${owner.name}-`, `${namespace}/${owner.kind}/${owner.name}/${i}`, names)
      this.pods.push({ ...template, namespace, name, uid: uidFrom(`${namespace}/Pod/${name}`), owner })
    }
  }

  private addStatefulSet(loaded: LoadedObject, spec: WorkloadSpec, owner: PodOwner, namespace: string): void {
    const existing = new Set(this.ownedBy(namespace, 'StatefulSet', owner.name).map((o) => o.object.metadata.name))
    const template = instantiate(loaded, spec.template!, {})
    const serviceName = (spec as { serviceName?: string }).serviceName
    const start = spec.ordinals?.start ?? 0
    const end = start + Math.min(spec.replicas ?? 1, this.mostPods)
    for (let ordinal = start; ordinal < end; ordinal++) {
      const name = `${owner.name}-${ordinal}`
      if (existing.has(name)) continue
      this.names(namespace).add(name)
      const identity = {
        'apps.kubernetes.io/pod-index': String(ordinal),
        'statefulset.kubernetes.io/pod-name': name,
      }
      this.pods.push({
        ...template,
        labels: { ...template.labels, ...identity },
        spec: { ...template.spec, hostname: name, ...(serviceName && { subdomain: serviceName }) },
        namespace,
        name,
        uid: uidFrom(`${namespace}/Pod/${name}`),
        owner,
      })
    }
  }

  private addDaemonSet(loaded: LoadedObject, spec: WorkloadSpec, owner: PodOwner, namespace: string): void {
    const taken = new Set(
      this.ownedBy(namespace, 'DaemonSet', owner.name).map((o) => (o.object.spec as PodSpec).nodeName),
    )
    const template = instantiate(loaded, spec.template!, {})
    const tolerant = { ...template.spec, tolerations: daemonTolerations(template.spec) }
    const names = this.names(namespace)
    for (const node of this.nodes) {
      if (taken.has(node.name)) continue
      const name = generateName(`${owner.name}-`, `${namespace}/DaemonSet/${owner.name}/${node.name}`, names)
      const uid = uidFrom(`${namespace}/Pod/${name}`)
      this.pods.push({ ...template, spec: tolerant, namespace, name, uid, owner, pinnedNode: node.name })
    }
  }
}

type TemplatePart = Omit<PodDraft, 'namespace' | 'name' | 'uid' | 'owner'>

/** What the pods of one template share; spec and labels are one object for all of them. */
function instantiate(loaded: LoadedObject, template: PodTemplate, extraLabels: StringMap): TemplatePart {
  const annotations = template.metadata?.annotations ?? {}
  return {
    labels: { ...template.metadata?.labels, ...extraLabels },
    annotations,
    spec: defaultPodSpec(template.spec),
    statusIps: NO_IPS,
    ready: annotations[READY_ANNOTATION] !== 'false',
    terminating: false,
    source: loaded.source,
    positionOf: (path) => loaded.positionOf(['spec', 'template', ...path]),
  }
}

function daemonTolerations(spec: PodSpec): Toleration[] {
  const noSchedule = ['disk-pressure', 'memory-pressure', 'pid-pressure', 'unschedulable']
  if (spec.hostNetwork === true) noSchedule.push('network-unavailable')
  return [
    // The admission plugin's 300 seconds give way to the controller's unlimited tolerations.
    ...(spec.tolerations ?? []).filter((t) => t.tolerationSeconds !== 300 || t.effect !== 'NoExecute'),
    ...['not-ready', 'unreachable'].map((key) => toleration(key, 'NoExecute')),
    ...noSchedule.map((key) => toleration(key, 'NoSchedule')),
  ]
}

function toleration(key: string, effect: string): Toleration {
  return { key: `node.kubernetes.io/${key}`, operator: 'Exists', effect }
}

function controllerOf(object: KubernetesObject): OwnerReference | undefined {
  const references = object.metadata.ownerReferences as OwnerReference[] | undefined
  return references?.find((reference) => reference.controller === true)
}

/** Pods and Jobs that ran to their end hold no address and are not replaced one for one. */
function isFinished(object: KubernetesObject): boolean {
  const status = object.status as PodObject['status']
  if (object.kind === 'Pod') return status?.phase === 'Succeeded' || status?.phase === 'Failed'
  if (object.kind !== 'Job') return false
  return (status?.conditions ?? []).some((c) => (c.type === 'Complete' || c.type === 'Failed') && c.status === 'True')
}

function isReady(object: PodObject): boolean {
  if (object.metadata.annotations?.[READY_ANNOTATION] === 'false') return false
  const condition = object.status?.conditions?.find((c) => c.type === 'Ready')
  if (condition !== undefined) return condition.status === 'True'
  return object.status?.phase === undefined || object.status.phase === 'Running'
}

/** `web` of `web-7d4b8c5f9`: the name of a ReplicaSet ends in an encoded hash. */
function deploymentInName(replicaSet: string): string | undefined {
  return /^(.+)-[bcdf4-9]{4,10}$/.exec(replicaSet)?.[1]
}

function statusIps(status: PodObject['status']): readonly string[] {
  const listed = (status?.podIPs ?? []).flatMap((p) => (p?.ip ? [p.ip] : []))
  return listed.length > 0 ? listed : status?.podIP ? [status.podIP] : NO_IPS
}
