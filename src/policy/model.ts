/**
 * What every policy kind is compiled to: tiers of policies of rules.
 *
 * The one order in which all kinds are evaluated is Calico's: tiers by order, policies of a tier by order, the rules of a
 * policy as written; the first rule that matches decides (Allow, Deny) or leaves the tier (Pass); when none matches, the
 * tier denies if one of its policies isolates the pod and the tier's default action is Deny, else the next tier is asked;
 * after the last tier the traffic is allowed. The other kinds are special cases: NetworkPolicy v1 has only Allow rules in a
 * tier that denies (so its order does not matter), ClusterNetworkPolicy's Admin and Baseline are tiers that pass, and
 * Cilium's rules are a tier whose Deny rules come first.
 *
 * Sources: networking/v1 types.go, network-policy-api v1alpha1 and v1alpha2, projectcalico api/v3 and felix/calc,
 * cilium pkg/policy.
 */

import type { SourcePosition } from '../diagnostics/diagnostic.ts'
import type { FieldPath, StringMap } from '../kubernetes/types.ts'
import type { Expr, Labelled } from './expr.ts'
import type { PolicyProtocol, PortSet } from './port-set.ts'
import type { Address, AddressRanges, Family } from './ranges.ts'

/** Which way traffic goes, seen from the pod that a policy selects. */
export type Direction = 'ingress' | 'egress'

/** What a rule does with traffic that it matches. Log only remarks. */
export type Action = 'Allow' | 'Deny' | 'Pass' | 'Log'

/** Where implementations differ; the defaults are those of the Kubernetes conformance suite. */
export interface PolicyOptions {
  /** Whether an ipBlock matches the addresses of pods (Cilium and some verifiers: no). Default true. */
  readonly ipBlockMatchesPods: boolean
  /** A host-network pod is its node (ignored by selectors), or is treated as any pod. Default ignored. */
  readonly hostNetwork: 'ignored' | 'as-pod'
  /**
   * Traffic between a pod and the node it runs on: never policed, policed only from the pod to the node (what Calico
   * does), or policed both ways. Default exempt.
   */
  readonly nodeTraffic: 'exempt' | 'exempt-ingress' | 'subject'
}

/** The defaults. */
export const DEFAULT_OPTIONS: PolicyOptions = {
  ipBlockMatchesPods: true,
  hostNetwork: 'ignored',
  nodeTraffic: 'exempt',
}

/** A named container port. */
export interface NamedPort {
  readonly name: string
  readonly protocol: 'TCP' | 'UDP' | 'SCTP'
  readonly port: number
}

/** One end of a connection: a pod, a node, or an address that is neither. */
export interface Party extends Labelled {
  readonly kind: 'pod' | 'node' | 'external'
  /** Position among the pods of the input; -1 for what is no pod of it. */
  readonly index: number
  /** `namespace/name` of a pod, the node's name, or the address. */
  readonly name: string
  readonly namespace: string
  readonly node: string
  readonly hostNetwork: boolean
  readonly ports: readonly NamedPort[]
  readonly addresses: readonly Address[]
  /** Addresses by family, for the evaluator. */
  readonly v4: Address | null
  readonly v6: Address | null
}

/** One requirement on a party. All of an alternative's must hold. */
export type Condition =
  | {
      /** Selects pods by labels; `sets` are addresses that count as selected (Calico's network sets). */
      readonly t: 'labels'
      readonly path: FieldPath
      readonly expr: Expr
      /** Whether `hostNetwork: as-pod` makes host-network pods selectable (NetworkPolicy v1 only). */
      readonly hostNetworkAsPod: boolean
      readonly sets: AddressRanges | null
      readonly negate: boolean
    }
  | {
      readonly t: 'nets'
      readonly path: FieldPath
      readonly ranges: AddressRanges
      /** Whether pods can match: always, as the option says, or never (Cilium). */
      readonly pods: 'always' | 'option' | 'never'
      readonly negate: boolean
      readonly text: string
    }
  | { readonly t: 'nodes'; readonly path: FieldPath; readonly expr: Expr }
  | { readonly t: 'entities'; readonly path: FieldPath; readonly names: readonly string[] }
  | { readonly t: 'never'; readonly path: FieldPath; readonly why: string }

/** A conjunction of conditions: one item of a `from` or `to` list. */
export interface Alternative {
  readonly path: FieldPath
  readonly conditions: readonly Condition[]
  /** Ports that hold for this alternative only (Calico's `services`). */
  readonly ports: PortSet | null
}

/** A port that is looked up by name at the destination pod; a null protocol is any. */
export interface PortName {
  readonly name: string
  readonly protocol: PolicyProtocol | null
  readonly path: FieldPath
}

/** Destination or source ports of a rule. */
export interface PortMatch {
  readonly path: FieldPath
  readonly set: PortSet
  readonly names: readonly PortName[]
  /** Ports that are taken away (Calico's notPorts). */
  readonly except: { readonly set: PortSet; readonly names: readonly PortName[] } | null
}

/** A compiled rule. */
export interface Rule {
  /** `['spec', 'ingress', 0]`. */
  readonly path: FieldPath
  readonly action: Action
  /** What the selected pod itself must satisfy beside the policy's selector (Calico). */
  readonly self: Alternative | null
  /** One of them must match the other end; null is anyone, an empty list no one. */
  readonly peers: readonly Alternative[] | null
  /** Destination ports; null is all of every protocol. */
  readonly ports: PortMatch | null
  /** Source ports; null is all. */
  readonly sourcePorts: PortMatch | null
  readonly family: Family | null
  /** The rule also looks at layer 7: what it allows, a proxy may still refuse. */
  readonly l7: boolean
}

/** One direction of a policy. */
export interface PolicyDirection {
  readonly rules: readonly Rule[]
  /** Whether traffic of a selected pod that no rule matches is denied (when the tier's default is Deny). */
  readonly isolates: boolean
}

/** A compiled policy. One manifest may give several (Cilium's specs, its deny and allow parts). */
export interface Policy {
  readonly kind: string
  readonly apiVersion: string
  /** Empty for cluster-scoped kinds. */
  readonly namespace: string
  readonly name: string
  /** Where the object begins. */
  readonly source: SourcePosition
  positionOf(path: FieldPath): SourcePosition
  readonly tier: string
  readonly order: number
  /** Which pods it selects. */
  readonly subject: Alternative
  /** The only namespace whose pods it can select, or null. */
  readonly subjectNamespace: string | null
  readonly ingress: PolicyDirection | null
  readonly egress: PolicyDirection | null
  /** Looked at but not enforced (Calico's staged kinds). */
  readonly staged: boolean
  /** False when no rule names an address; its rules need not be looked at to index addresses. */
  readonly hasBlocks: boolean
}

/** Policies that are evaluated together. */
export interface Tier {
  readonly name: string
  readonly order: number
  readonly defaultAction: 'Deny' | 'Pass'
  readonly policies: readonly Policy[]
}

/** Labels of a party that has none. */
export const NO_LABELS: Labelled['labels'] = {
  pod: {} as StringMap,
  namespace: {} as StringMap,
  serviceaccount: {} as StringMap,
  node: {} as StringMap,
  meta: {} as StringMap,
}

/** Key of a namespace's name among the `meta` labels. */
export const META_NAMESPACE = 'namespace'
/** Key of a ServiceAccount's name among the `meta` labels. */
export const META_SERVICE_ACCOUNT = 'serviceaccount'

/** `NetworkPolicy shop/web`. */
export function policyTitle(policy: {
  readonly kind: string
  readonly namespace: string
  readonly name: string
}): string {
  return policy.namespace === '' ? `${policy.kind} ${policy.name}` : `${policy.kind} ${policy.namespace}/${policy.name}`
}
