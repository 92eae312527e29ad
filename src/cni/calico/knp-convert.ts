/**
 * Kubernetes NetworkPolicy as a Calico policy.
 *
 * Real thing: libcalico-go/lib/backend/k8s/conversion/conversion.go (K8sNetworkPolicyToCalico, k8sRuleToCalico,
 * SimplifyPorts). Each rule becomes one allow rule per protocol and peer, protocols in order of their names; the ports of
 * a protocol are merged into ranges. Selectors ask for projectcalico.org/orchestrator == 'k8s': nothing but pods.
 */
import type { KubernetesObject, LabelSelector, Sourced } from '../../kubernetes/types.ts'
import type { IpSetIndex } from './ip-sets.ts'
import type { CalicoPolicy, PolicyRule } from './policy-model.ts'
import { convertRule, type Json } from './rule-convert.ts'

const ORDER = 1000
const ORCHESTRATOR = "projectcalico.org/orchestrator == 'k8s'"

/** k8sSelectorToCalico for pods. */
export function podSelector(s: LabelSelector | undefined): string {
  return [ORCHESTRATOR, ...terms(s ?? {})].join(' && ')
}

/** k8sSelectorToCalico for namespaces: `all()` for one without terms, nothing for none. */
export function nsSelector(s: LabelSelector | undefined | null): string {
  if (s === undefined || s === null) return ''
  const t = terms(s)
  return t.length === 0 ? 'all()' : t.join(' && ')
}

function terms(s: LabelSelector): string[] {
  const out = Object.keys(s.matchLabels ?? {})
    .sort()
    .map((k) => `${k} == '${s.matchLabels![k]}'`)
  for (const e of s.matchExpressions ?? []) {
    const values = (e.values ?? []).join("', '")
    if (e.operator === 'In') out.push(`${e.key} in { '${values}' }`)
    else if (e.operator === 'NotIn') out.push(`${e.key} not in { '${values}' }`)
    else if (e.operator === 'Exists') out.push(`has(${e.key})`)
    else if (e.operator === 'DoesNotExist') out.push(`! has(${e.key})`)
  }
  return out
}

/** SimplifyPorts: numbers as the fewest ranges, in order; names in front. */
export function simplifyPorts(ports: readonly string[]): string[] {
  if (ports.length <= 1) return [...ports]
  const named = ports.filter((p) => !/^\d/.test(p))
  const ranges = ports
    .filter((p) => /^\d/.test(p))
    .map((p) => p.split(':').map(Number))
    .map(([first, last]) => [first!, last ?? first!] as [number, number])
  if (ranges.length === 0 || (ranges.length === 1 && ranges[0]![0] === ranges[0]![1])) return [...ports]
  ranges.sort((a, b) => a[0] - b[0])
  const merged: [number, number][] = []
  for (const r of ranges) {
    const last = merged.at(-1)
    if (last !== undefined && r[0] <= last[1] + 1) last[1] = Math.max(last[1], r[1])
    else merged.push([...r])
  }
  return [...named, ...merged.map(([a, b]) => (a === b ? String(a) : `${a}:${b}`))]
}

interface PolicyPort {
  protocol?: string
  port?: number | string
  endPort?: number
}

/** Ports by protocol; the key '' stands for any protocol, a null list for any port. */
function portsByProtocol(ports: readonly PolicyPort[]): Map<string, string[] | null> {
  const out = new Map<string, string[] | null>()
  if (ports.length === 0) return new Map([['', null]])
  for (const p of ports) {
    const protocol = p.protocol ?? 'TCP'
    if (p.port === undefined || p.port === null) out.set(protocol, null)
    else if (out.get(protocol) !== null) {
      const text = p.endPort === undefined || p.endPort === null ? String(p.port) : `${p.port}:${p.endPort}`
      out.set(protocol, [...(out.get(protocol) ?? []), text])
    }
  }
  return new Map([...out].sort(([a], [b]) => (a < b ? -1 : 1)))
}

interface Peer {
  podSelector?: LabelSelector | null
  namespaceSelector?: LabelSelector | null
  ipBlock?: { cidr: string; except?: string[] | null } | null
}

function peerEntity(peer: Peer | null): Json {
  if (peer === null) return {}
  if (peer.ipBlock != null) return { nets: [peer.ipBlock.cidr], notNets: peer.ipBlock.except ?? [] }
  const ns = nsSelector(peer.namespaceSelector)
  return { selector: podSelector(peer.podSelector ?? undefined), ...(ns !== '' && { namespaceSelector: ns }) }
}

/** K8sNetworkPolicyToCalico. */
export function convertNetworkPolicy(policy: Sourced<KubernetesObject>, sets: IpSetIndex): CalicoPolicy {
  const { metadata } = policy.object
  const namespace = metadata.namespace ?? 'default'
  const spec = (policy.object.spec ?? {}) as {
    podSelector?: LabelSelector
    policyTypes?: string[]
    ingress?: { from?: Peer[] | null; ports?: PolicyPort[] | null }[] | null
    egress?: { to?: Peer[] | null; ports?: PolicyPort[] | null }[] | null
  }
  const rules = (direction: 'ingress' | 'egress'): PolicyRule[] =>
    (spec[direction] ?? []).flatMap((rule, i) => {
      const peers = (direction === 'ingress' ? (rule as { from?: Peer[] }).from : (rule as { to?: Peer[] }).to) ?? []
      const path = ['spec', direction, i] as const
      const place = {
        path: `spec.${direction}[${i}]`,
        at: () => policy.positionOf?.(path) ?? policy.source,
      }
      return [...portsByProtocol(rule.ports ?? [])].flatMap(([protocol, ports]) =>
        (peers.length === 0 ? [null] : peers).flatMap((peer) => {
          const entity = peerEntity(peer)
          const withPorts = ports === null ? {} : { ports: simplifyPorts(ports) }
          const v3 = {
            action: 'Allow',
            ...(protocol !== '' && { protocol }),
            source: direction === 'ingress' ? entity : {},
            destination: direction === 'ingress' ? withPorts : { ...entity, ...withPorts },
          }
          const converted = convertRule(v3, namespace, sets, place)
          return converted === null ? [] : [converted]
        }),
      )
    })
  const types =
    spec.policyTypes ?? (spec.egress != null && spec.egress.length > 0 ? ['Ingress', 'Egress'] : ['Ingress'])
  return {
    ...{ kind: 'KubernetesNetworkPolicy', namespace, name: metadata.name, tier: 'default', order: ORDER },
    selector: `(${podSelector(spec.podSelector)}) && projectcalico.org/namespace == '${namespace}'`,
    hasIngress: types.includes('Ingress') || types.length === 0,
    hasEgress: types.includes('Egress'),
    ...{ ingress: rules('ingress'), egress: rules('egress') },
    ...{ doNotTrack: false, preDnat: false, applyOnForward: false, source: policy.source },
  }
}
