/**
 * Exposure: what is open to pods that are not in the manifests.
 *
 * Two strangers are asked about every workload: a pod in a namespace that no policy names, without labels, and one in each
 * namespace of the manifests, without labels. What they reach, any new workload reaches.
 */
import type { Protocol } from '../kubernetes/types.ts'
import type { PolicyEngine } from '../policy/engine.ts'
import type { PolicyPod } from '../policy/input.ts'
import { META_NAMESPACE, META_SERVICE_ACCOUNT, NO_LABELS } from '../policy/model.ts'
import { portsText } from '../policy/port-set.ts'
import type { ReachExposure } from './reach-types.ts'

const STRANGE_NAMESPACE = 'podwalk-any-namespace'
const PROTOCOLS: readonly Protocol[] = ['TCP', 'UDP', 'SCTP']

/** A pod that no manifest has. */
function stranger(engine: PolicyEngine, namespace: string): PolicyPod {
  return {
    kind: 'pod',
    index: -1,
    name: `${namespace}/podwalk-any-pod`,
    namespace,
    podName: 'podwalk-any-pod',
    workload: 'Pod/podwalk-any-pod',
    node: '',
    hostNetwork: false,
    ports: [],
    addresses: [],
    v4: { family: 4, value: 0 },
    v6: null,
    labels: {
      ...NO_LABELS,
      namespace: engine.input.namespaces.get(namespace) ?? { 'kubernetes.io/metadata.name': namespace },
      meta: { [META_NAMESPACE]: namespace, [META_SERVICE_ACCOUNT]: 'default' },
    },
  }
}

/** One line per workload, direction and kind of stranger that gets through. */
export function exposureOf(engine: PolicyEngine): ReachExposure[] {
  const strangers = [
    { peer: 'a pod of any other namespace', pod: stranger(engine, STRANGE_NAMESPACE) },
    ...[...new Set(engine.input.pods.map((p) => p.namespace))].sort().map((namespace) => ({
      peer: `any pod of namespace ${namespace}`,
      pod: stranger(engine, namespace),
    })),
  ]
  const found = new Map<string, ReachExposure>()
  for (const pod of engine.input.pods) {
    if (pod.hostNetwork) continue
    const workload = `${pod.namespace}/${pod.workload}`
    for (const direction of ['ingress', 'egress'] as const) {
      for (const { peer, pod: who } of strangers) {
        const [src, dst] = direction === 'ingress' ? [who, pod] : [pod, who]
        const ports = engine.sidePorts(src, dst, direction, 4)
        for (const protocol of PROTOCOLS) {
          const text = portsText(ports, protocol)
          if (text === '') continue
          const key = [workload, direction, peer, protocol, text].join(' ')
          found.set(key, { workload, direction, peer, protocol, ports: text })
        }
      }
    }
  }
  return dropCovered([...found.values()])
}

/** What any namespace may do is not said again for each. */
function dropCovered(lines: readonly ReachExposure[]): ReachExposure[] {
  const wide = new Set(lines.filter((l) => l.peer.startsWith('a pod of any')).map((l) => key(l)))
  return lines
    .filter((l) => l.peer.startsWith('a pod of any') || !wide.has(key(l)))
    .sort((a, b) => (text(a) < text(b) ? -1 : text(a) > text(b) ? 1 : 0))
}

function key(l: ReachExposure): string {
  return `${l.workload} ${l.direction} ${l.protocol} ${l.ports}`
}

function text(l: ReachExposure): string {
  return `${l.workload} ${l.direction} ${l.peer} ${l.protocol}`
}
