/**
 * ClusterNetworkPolicy, AdminNetworkPolicy and BaselineAdminNetworkPolicy as policies of Calico's own tiers.
 *
 * Real thing: libcalico-go/lib/backend/k8s/conversion (K8sClusterNetworkPolicyToCalico; before v3.32
 * K8sAdminNetworkPolicyToCalico, K8sBaselineAdminNetworkPolicyToCalico): tier kube-admin or kube-baseline
 * (adminnetworkpolicy, baselineadminnetworkpolicy), order is the priority, Accept, Deny and Pass are rules of their own, one
 * per protocol and peer. Not modelled: peers by node and by domain name, which are named in a warning (the rule is left out).
 */
import type { Diagnostic } from '../../diagnostics/diagnostic.ts'
import type { ClusterModel, LabelSelector, LoadedObject } from '../../kubernetes/types.ts'
import type { IpSetIndex } from './ip-sets.ts'
import { nsSelector, podSelector, simplifyPorts } from './knp-convert.ts'
import type { CalicoPolicy, PolicyKind, PolicyRule } from './policy-model.ts'
import { convertRule, type Json, namespaceSelector } from './rule-convert.ts'

const GROUP = 'policy.networking.k8s.io/'

interface Peer {
  namespaces?: LabelSelector
  pods?: { namespaceSelector?: LabelSelector; podSelector?: LabelSelector }
  networks?: string[]
  [kind: string]: unknown
}

/** Reads the cluster-wide policies of Kubernetes. */
export function clusterPolicies(model: ClusterModel, sets: IpSetIndex, diagnostics: Diagnostic[]): CalicoPolicy[] {
  return model.otherObjects.flatMap((o) => {
    if (!o.object.apiVersion.startsWith(GROUP)) return []
    const spec = (o.object.spec ?? {}) as Json
    switch (o.object.kind) {
      case 'ClusterNetworkPolicy': {
        const tier = spec.tier === 'Baseline' ? 'kube-baseline' : 'kube-admin'
        return [read(o, 'KubernetesClusterNetworkPolicy', tier, Number(spec.priority ?? 0), sets, diagnostics)]
      }
      case 'AdminNetworkPolicy':
        return [read(o, 'AdminNetworkPolicy', 'adminnetworkpolicy', Number(spec.priority ?? 0), sets, diagnostics)]
      case 'BaselineAdminNetworkPolicy':
        return [read(o, 'BaselineAdminNetworkPolicy', 'baselineadminnetworkpolicy', 1000, sets, diagnostics)]
      default:
        return []
    }
  })
}

/** The selector of subjects and peers, or null for what is not modelled. */
function selectorOf(p: Peer): { selector: string; ns: string } | null {
  if (p.namespaces !== undefined) return { selector: podSelector(undefined), ns: nsSelector(p.namespaces) }
  if (p.pods !== undefined)
    return { selector: podSelector(p.pods.podSelector), ns: nsSelector(p.pods.namespaceSelector ?? {}) }
  return null
}

function portLists(ports: unknown): readonly { protocol: string; ports: string[] }[] {
  if (!Array.isArray(ports) || ports.length === 0) return [{ protocol: '', ports: [] }]
  const out = new Map<string, string[]>()
  const add = (protocol: string, port: string): void => void out.set(protocol, [...(out.get(protocol) ?? []), port])
  for (const p of ports as Json[]) {
    const number = p.portNumber as Json | undefined
    const range = p.portRange as Json | undefined
    if (number !== undefined) add(String(number.protocol ?? 'TCP'), String(number.port))
    else if (range !== undefined) add(String(range.protocol ?? 'TCP'), `${range.start}:${range.end}`)
    else if (p.namedPort !== undefined)
      for (const protocol of ['SCTP', 'TCP', 'UDP']) add(protocol, String(p.namedPort))
  }
  return [...out]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([protocol, list]) => ({ protocol, ports: simplifyPorts(list) }))
}

/** `protocols` of a ClusterNetworkPolicy of v1alpha2: [{tcp: {destinationPort: {number, range}}}]. */
function protocolLists(protocols: unknown): readonly { protocol: string; ports: string[] }[] {
  if (!Array.isArray(protocols) || protocols.length === 0) return [{ protocol: '', ports: [] }]
  const out = new Map<string, string[]>()
  for (const p of protocols as Json[]) {
    if (p.destinationNamedPort !== undefined) {
      for (const name of ['SCTP', 'TCP', 'UDP'])
        out.set(name, [...(out.get(name) ?? []), String(p.destinationNamedPort)])
    }
    for (const name of ['tcp', 'udp', 'sctp']) {
      if (p[name] === undefined) continue
      const port = (p[name] as Json | null)?.destinationPort as Json | undefined
      const range = port?.range as Json | undefined
      const text =
        port?.number !== undefined ? [String(port.number)] : range !== undefined ? [`${range.start}:${range.end}`] : []
      out.set(name.toUpperCase(), [...(out.get(name.toUpperCase()) ?? []), ...text])
    }
  }
  return [...out]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([protocol, list]) => ({ protocol, ports: simplifyPorts(list) }))
}

function read(
  o: LoadedObject,
  kind: PolicyKind,
  tier: string,
  order: number,
  sets: IpSetIndex,
  diagnostics: Diagnostic[],
): CalicoPolicy {
  const spec = (o.object.spec ?? {}) as Json
  const rules = (direction: 'ingress' | 'egress'): PolicyRule[] =>
    ((spec[direction] ?? []) as Json[]).flatMap((rule, i) => {
      const place = { path: `spec.${direction}[${i}]`, at: () => o.positionOf(['spec', direction, i]) }
      const peers = ((direction === 'ingress' ? rule.from : rule.to) ?? []) as Peer[]
      const action = rule.action === 'Accept' ? 'Allow' : String(rule.action)
      const lists = rule.protocols !== undefined ? protocolLists(rule.protocols) : portLists(rule.ports)
      return lists.flatMap(({ protocol, ports }) =>
        peers.flatMap((peer) => {
          const selected = selectorOf(peer)
          if (selected === null && peer.networks === undefined) {
            const message = `${kind} ${o.object.metadata.name}: ${place.path}: peers by ${Object.keys(peer).join(', ')} are UNMODELLED: left out`
            diagnostics.push({ code: 'unmodelled', severity: 'warning', message, ...place.at() })
            return []
          }
          const entity =
            selected === null
              ? { nets: peer.networks }
              : { selector: selected.selector, namespaceSelector: selected.ns }
          const withPorts = ports.length === 0 ? {} : { ports }
          const v3 = {
            action,
            ...(protocol !== '' && { protocol }),
            source: direction === 'ingress' ? entity : {},
            destination: direction === 'ingress' ? withPorts : { ...entity, ...withPorts },
          }
          const converted = convertRule(v3, '', sets, place)
          return converted === null ? [] : [converted]
        }),
      )
    })
  const subject = selectorOf((spec.subject ?? {}) as Peer) ?? { selector: podSelector(undefined), ns: 'all()' }
  const ingress = rules('ingress')
  const egress = rules('egress')
  return {
    ...{ kind, namespace: '', name: o.object.metadata.name, tier, order },
    selector: `(${subject.selector}) && (${namespaceSelector(subject.ns)})`,
    ...{ hasIngress: ingress.length > 0, hasEgress: egress.length > 0, ingress, egress },
    ...{ doNotTrack: false, preDnat: false, applyOnForward: false, source: o.source },
  }
}
