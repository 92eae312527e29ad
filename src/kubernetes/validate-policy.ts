/**
 * The rules between the fields of policies: what the API server, the CRDs' validation rules and the controllers refuse.
 *
 * Messages say what was expected and found, and end with the words of the API server or of the project.
 * Sources: kubernetes pkg/apis/networking/validation/validation.go; see validate-admin-policy.ts,
 * validate-calico-policy.ts and validate-cilium-policy.ts for the others.
 */
import { cidrContains, isNetwork, parseCidr } from '../addr/cidr.ts'
import { checkSelector, type Findings } from './findings.ts'
import { badPortName } from './names.ts'
import type { FieldPath, IntOrString, KubernetesObject, LabelSelector } from './types.ts'
import { checkAdminPolicy } from './validate-admin-policy.ts'
import { checkCalicoPolicy } from './validate-calico-policy.ts'
import { checkCiliumPolicy } from './validate-cilium-policy.ts'

interface Peer {
  podSelector?: LabelSelector | null
  namespaceSelector?: LabelSelector | null
  ipBlock?: { cidr: string; except?: string[] | null } | null
}

interface Port {
  port?: IntOrString | null
  endPort?: number | null
}

interface Spec {
  podSelector?: LabelSelector | null
  policyTypes?: string[] | null
  ingress?: { from?: Peer[]; ports?: Port[] }[] | null
  egress?: { to?: Peer[]; ports?: Port[] }[] | null
}

/** Checks a policy of any kind; other kinds have nothing to check here. */
export function checkPolicy(object: KubernetesObject, findings: Findings): void {
  switch (object.apiVersion.split('/')[0]) {
    case 'networking.k8s.io':
      if (object.kind === 'NetworkPolicy') checkNetworkPolicy((object.spec ?? {}) as Spec, findings)
      return
    case 'policy.networking.k8s.io':
      checkAdminPolicy(object, findings)
      return
    case 'projectcalico.org':
    case 'crd.projectcalico.org':
      if (object.kind === 'StagedKubernetesNetworkPolicy') checkNetworkPolicy((object.spec ?? {}) as Spec, findings)
      else checkCalicoPolicy(object, findings)
      return
    case 'cilium.io':
      checkCiliumPolicy(object, findings)
      return
  }
}

/** ValidateNetworkPolicySpec. */
function checkNetworkPolicy(spec: Spec, findings: Findings): void {
  checkSelector(spec.podSelector, ['spec', 'podSelector'], findings)
  if ((spec.policyTypes ?? []).length > 2) {
    const found = `${spec.policyTypes!.length} of them`
    findings.error(
      ['spec', 'policyTypes'],
      `expected Ingress, Egress or both, found ${found}: may not specify more than two policyTypes`,
    )
  }
  for (const [direction, peersField] of [
    ['ingress', 'from'],
    ['egress', 'to'],
  ] as const) {
    for (const [i, rule] of (spec[direction] ?? []).entries()) {
      const at: FieldPath = ['spec', direction, i]
      const peers = (rule as { from?: Peer[]; to?: Peer[] } | null)?.[peersField] ?? []
      for (const [j, peer] of peers.entries()) checkPeer(peer ?? {}, [...at, peersField, j], findings)
      for (const [j, port] of (rule?.ports ?? []).entries()) checkPort(port ?? {}, [...at, 'ports', j], findings)
    }
  }
}

/** ValidateNetworkPolicyPeer. */
function checkPeer(peer: Peer, path: FieldPath, findings: Findings): void {
  if (peer.podSelector) checkSelector(peer.podSelector, [...path, 'podSelector'], findings)
  if (peer.namespaceSelector) checkSelector(peer.namespaceSelector, [...path, 'namespaceSelector'], findings)
  if (peer.ipBlock) checkIpBlock(peer.ipBlock, [...path, 'ipBlock'], findings)
  if (!peer.podSelector && !peer.namespaceSelector && !peer.ipBlock) {
    const hint = 'an empty selector {} selects everything, null and nothing are not set'
    findings.error(
      path,
      'expected podSelector, namespaceSelector or ipBlock, found none: must specify a peer',
      hint,
      'missing-field',
    )
  } else if (peer.ipBlock && (peer.podSelector || peer.namespaceSelector)) {
    findings.error(
      path,
      'expected ipBlock alone, found a selector beside it: may not specify both ipBlock and another peer',
    )
  }
}

/** ValidateNetworkPolicyPort. */
function checkPort({ port, endPort }: Port, path: FieldPath, findings: Findings): void {
  const at = [...path, 'endPort']
  if (typeof port === 'string' && badPortName(port) !== null) {
    findings.error([...path, 'port'], `expected ${badPortName(port)}, found "${port}"`)
  }
  if (endPort === undefined || endPort === null) return
  if (port === undefined || port === null) {
    findings.error(at, 'expected a port beside endPort, found none: may not be specified when `port` is not specified')
  } else if (typeof port === 'string') {
    findings.error(
      at,
      `expected a numeric port beside endPort, found "${port}": may not be specified when \`port\` is non-numeric`,
    )
  } else if (endPort < port) {
    findings.error(at, `expected at least ${port}, found ${endPort}: must be greater than or equal to \`port\``)
  }
}

/** ValidateIPBlock. */
function checkIpBlock(block: { cidr: string; except?: string[] | null }, path: FieldPath, findings: Findings): void {
  const cidr = parseCidr(block.cidr)
  if (cidr === null) {
    findings.error(
      [...path, 'cidr'],
      `expected a CIDR, found "${block.cidr}": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)`,
    )
    return
  }
  if (!isNetwork(cidr)) findings.warning([...path, 'cidr'], `host bits are set in ${block.cidr}`)
  for (const [i, text] of (block.except ?? []).entries()) {
    const except = parseCidr(text)
    const at = [...path, 'except', i]
    if (except === null) {
      findings.error(
        at,
        `expected a CIDR, found "${text}": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)`,
      )
    } else if (!cidrContains(cidr, except) || except.prefixLength === cidr.prefixLength) {
      findings.error(
        at,
        `expected a strict subset of ${block.cidr}, found ${text}: must be a strict subset of \`cidr\``,
      )
    }
  }
}
