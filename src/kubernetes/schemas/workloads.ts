/**
 * The shapes of workloads: apps/v1 and batch/v1.
 *
 * Sources: k8s.io/api/apps/v1/types.go, k8s.io/api/batch/v1/types.go (1.34).
 */
import type { ObjectSchema, Schema } from '../schema.ts'
import { any, bool, int, list, object, oneOf, portOrName, string } from '../schema.ts'
import { kind, labelSelector, metadata } from './common.ts'
import { podTemplate } from './pod.ts'

const count: Schema = { t: 'int', min: 0, max: 2 ** 31 - 1 }
const selector: Record<string, Schema> = { 'selector!': labelSelector, 'template!': podTemplate }

const rolling = object({ maxUnavailable: any, maxSurge: any, partition: int })

/** apps/v1 Deployment. */
export const deployment: ObjectSchema = kind({
  'spec!': object(
    {
      ...selector,
      replicas: count,
      strategy: object({ type: oneOf('Recreate', 'RollingUpdate'), rollingUpdate: rolling }),
      minReadySeconds: int,
      revisionHistoryLimit: int,
      paused: bool,
    },
    'progressDeadlineSeconds',
  ),
})

/** apps/v1 ReplicaSet. */
export const replicaSet: ObjectSchema = kind({
  'spec!': object({ 'selector!': labelSelector, template: podTemplate, replicas: count, minReadySeconds: int }),
})

/** apps/v1 StatefulSet. */
export const statefulSet: ObjectSchema = kind({
  'spec!': object(
    {
      ...selector,
      replicas: count,
      serviceName: string,
      podManagementPolicy: oneOf('OrderedReady', 'Parallel'),
      updateStrategy: object({ type: oneOf('OnDelete', 'RollingUpdate'), rollingUpdate: rolling }),
      ordinals: object({ start: count }),
      minReadySeconds: int,
    },
    'volumeClaimTemplates revisionHistoryLimit persistentVolumeClaimRetentionPolicy',
  ),
})

/** apps/v1 DaemonSet. */
export const daemonSet: ObjectSchema = kind({
  'spec!': object(
    {
      ...selector,
      updateStrategy: object({ type: oneOf('OnDelete', 'RollingUpdate'), rollingUpdate: rolling }),
      minReadySeconds: int,
    },
    'revisionHistoryLimit',
  ),
})

const jobSpec = object(
  {
    'template!': podTemplate,
    selector: labelSelector,
    parallelism: count,
    completions: count,
    backoffLimit: count,
    suspend: bool,
    completionMode: oneOf('NonIndexed', 'Indexed'),
  },
  'activeDeadlineSeconds ttlSecondsAfterFinished manualSelector podFailurePolicy podReplacementPolicy ' +
    'backoffLimitPerIndex maxFailedIndexes managedBy successPolicy',
)

/** batch/v1 Job. */
export const job: ObjectSchema = kind({ 'spec!': jobSpec })

/** batch/v1 CronJob. */
export const cronJob: ObjectSchema = kind({
  'spec!': object(
    {
      'schedule!': string,
      'jobTemplate!': object({ metadata, 'spec!': jobSpec }),
      suspend: bool,
      concurrencyPolicy: oneOf('Allow', 'Forbid', 'Replace'),
      timeZone: string,
    },
    'startingDeadlineSeconds successfulJobsHistoryLimit failedJobsHistoryLimit',
  ),
})

const policyPort = object({
  port: portOrName,
  endPort: { t: 'int', min: 1, max: 65535 },
  protocol: oneOf('TCP', 'UDP', 'SCTP'),
})
const policyPeer = object({
  podSelector: labelSelector,
  namespaceSelector: labelSelector,
  ipBlock: object({ 'cidr!': string, except: list(string) }),
})

/** networking.k8s.io/v1 NetworkPolicy. */
export const networkPolicy: ObjectSchema = kind({
  'spec!': object({
    podSelector: labelSelector,
    policyTypes: list(oneOf('Ingress', 'Egress')),
    ingress: list(object({ from: list(policyPeer), ports: list(policyPort) })),
    egress: list(object({ to: list(policyPeer), ports: list(policyPort) })),
  }),
})
