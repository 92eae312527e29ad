/**
 * The shape of Pods and pod templates: every field of core/v1 PodSpec and Container by name, with types for those that
 * touch the network, names, placement and readiness; the others are taken as they are.
 *
 * Sources: k8s.io/api/core/v1/types.go (1.34).
 */
import { parseIpv4 } from '../../addr/ipv4.ts'
import { parseIpv6 } from '../../addr/ipv6.ts'
import { badLabel, badLabelKey, badPortName, badSubdomain } from '../names.ts'
import type { ObjectSchema, Schema } from '../schema.ts'
import {
  any,
  bool,
  checked,
  int,
  list,
  map,
  object,
  oneOf,
  portNumber,
  portOrName,
  quantity,
  string,
} from '../schema.ts'
import { kind, labelSelector, labels, metadata } from './common.ts'

/** An IP address of either family. */
export const ipAddress: Schema = checked((text) =>
  parseIpv4(text) !== null || parseIpv6(text) !== null ? null : 'an IP address',
)

/** TCP, UDP or SCTP. */
export const protocol: Schema = oneOf('TCP', 'UDP', 'SCTP')

const probe: ObjectSchema = object(
  {
    httpGet: object({ 'port!': portOrName, path: string, host: string, scheme: oneOf('HTTP', 'HTTPS') }, 'httpHeaders'),
    tcpSocket: object({ 'port!': portOrName, host: string }),
    grpc: object({ 'port!': portNumber, service: string }),
    exec: object({ command: list(string) }),
    initialDelaySeconds: int,
    periodSeconds: int,
    timeoutSeconds: int,
    successThreshold: int,
    failureThreshold: int,
  },
  'terminationGracePeriodSeconds',
)

const containerFields: Record<string, Schema> = {
  'name!': checked(badLabel),
  image: string,
  command: list(string),
  args: list(string),
  ports: list(
    object({
      'containerPort!': portNumber,
      name: checked(badPortName),
      protocol,
      hostPort: { t: 'int', min: 0, max: 65535 },
      hostIP: string,
    }),
  ),
  env: list(object({ 'name!': string, value: string, valueFrom: any })),
  resources: object({ requests: map(quantity), limits: map(quantity), claims: any }),
  livenessProbe: probe,
  readinessProbe: probe,
  startupProbe: probe,
  restartPolicy: string,
  imagePullPolicy: oneOf('Always', 'IfNotPresent', 'Never'),
}

const CONTAINER_OTHERS =
  'workingDir envFrom resizePolicy restartPolicyRules volumeMounts volumeDevices lifecycle terminationMessagePath ' +
  'terminationMessagePolicy securityContext stdin stdinOnce tty'

const container = object(containerFields, CONTAINER_OTHERS)
const ephemeralContainer = object(containerFields, `${CONTAINER_OTHERS} targetContainerName`)

const nodeRequirement = object({
  'key!': string,
  'operator!': oneOf('In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt'),
  values: list(string),
})
const nodeTerm = object({ matchExpressions: list(nodeRequirement), matchFields: list(nodeRequirement) })
const podTerm = object({
  labelSelector,
  namespaces: list(string),
  namespaceSelector: labelSelector,
  'topologyKey!': checked(badLabelKey),
  matchLabelKeys: list(string),
  mismatchLabelKeys: list(string),
})
const weight: Schema = { t: 'int', min: 1, max: 100 }
const podAffinity = object({
  requiredDuringSchedulingIgnoredDuringExecution: list(podTerm),
  preferredDuringSchedulingIgnoredDuringExecution: list(object({ 'weight!': weight, 'podAffinityTerm!': podTerm })),
})

const affinity = object({
  nodeAffinity: object({
    requiredDuringSchedulingIgnoredDuringExecution: object({ 'nodeSelectorTerms!': list(nodeTerm, 1) }),
    preferredDuringSchedulingIgnoredDuringExecution: list(object({ 'weight!': weight, 'preference!': nodeTerm })),
  }),
  podAffinity,
  podAntiAffinity: podAffinity,
})

/** core/v1 PodSpec. */
export const podSpec: ObjectSchema = object(
  {
    'containers!': list(container, 1),
    initContainers: list(container),
    ephemeralContainers: list(ephemeralContainer),
    restartPolicy: oneOf('Always', 'OnFailure', 'Never'),
    dnsPolicy: oneOf('ClusterFirst', 'ClusterFirstWithHostNet', 'Default', 'None'),
    dnsConfig: object({
      nameservers: list(ipAddress),
      searches: list(string),
      options: list(object({ name: string, value: string })),
    }),
    nodeName: string,
    nodeSelector: labels,
    affinity,
    tolerations: list(
      object({
        key: string,
        operator: oneOf('Exists', 'Equal', 'Lt', 'Gt'),
        value: string,
        effect: oneOf('NoSchedule', 'PreferNoSchedule', 'NoExecute', ''),
        tolerationSeconds: int,
      }),
    ),
    topologySpreadConstraints: list(
      object({
        'maxSkew!': { t: 'int', min: 1, max: 2 ** 31 - 1 },
        'topologyKey!': checked(badLabelKey),
        'whenUnsatisfiable!': oneOf('DoNotSchedule', 'ScheduleAnyway'),
        labelSelector,
        minDomains: int,
        matchLabelKeys: list(string),
        nodeAffinityPolicy: oneOf('Honor', 'Ignore'),
        nodeTaintsPolicy: oneOf('Honor', 'Ignore'),
      }),
    ),
    hostNetwork: bool,
    hostPID: bool,
    hostIPC: bool,
    hostname: checked(badLabel),
    subdomain: checked(badLabel),
    hostAliases: list(object({ 'ip!': ipAddress, hostnames: list(string) })),
    schedulerName: string,
    serviceAccountName: checked(badSubdomain),
    terminationGracePeriodSeconds: int,
    priority: int,
    overhead: map(quantity),
  },
  'volumes activeDeadlineSeconds serviceAccount automountServiceAccountToken shareProcessNamespace securityContext ' +
    'imagePullSecrets priorityClassName readinessGates runtimeClassName enableServiceLinks preemptionPolicy ' +
    'setHostnameAsFQDN os hostUsers schedulingGates resourceClaims resources hostnameOverride workloadRef',
)

/** core/v1 PodTemplateSpec. */
export const podTemplate: ObjectSchema = object({ metadata, 'spec!': podSpec })

/** core/v1 Pod. */
export const pod: ObjectSchema = kind({ 'spec!': podSpec })
