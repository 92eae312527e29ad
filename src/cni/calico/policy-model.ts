/**
 * Policies as Felix's calculation graph has them: one shape for every kind, selectors already combined.
 *
 * Real thing: libcalico-go/lib/backend/model/{policy,rule}.go, felix/calc/rule_scanner.go (ParsedRule).
 */
import type { SourcePosition } from '../../diagnostics/diagnostic.ts'

/** Kinds of policies; staged ones are never programmed. */
export type PolicyKind =
  | 'NetworkPolicy'
  | 'GlobalNetworkPolicy'
  | 'KubernetesNetworkPolicy'
  | 'KubernetesClusterNetworkPolicy'
  | 'AdminNetworkPolicy'
  | 'BaselineAdminNetworkPolicy'

/** A port or a range of ports. */
export interface PortRange {
  readonly first: number
  readonly last: number
}

/** A protocol by name (`tcp`) or number. */
export type FelixProtocol = string | number

/** ICMP type, and code when it is given. */
export interface IcmpMatch {
  readonly type: number
  readonly code?: number
}

/** One side of a rule. */
export interface EntityMatch {
  readonly nets: readonly string[]
  readonly notNets: readonly string[]
  readonly ports: readonly PortRange[]
  readonly notPorts: readonly PortRange[]
  /** Ids of ip sets that all must hold the address. */
  readonly ipSetIds: readonly string[]
  readonly notIpSetIds: readonly string[]
  /** Ids of sets of (address, port) that must hold it: Services. */
  readonly ipPortSetIds: readonly string[]
  /** Ids of sets of (address, port), one of which must hold it, or `ports`. */
  readonly namedPortIds: readonly string[]
  readonly notNamedPortIds: readonly string[]
}

/** What a rule does. */
export type PolicyAction = 'allow' | 'deny' | 'pass' | 'log'

/** A rule. */
export interface PolicyRule {
  readonly action: PolicyAction
  readonly protocol?: FelixProtocol
  readonly notProtocol?: FelixProtocol
  readonly icmp?: IcmpMatch
  readonly notIcmp?: IcmpMatch
  readonly source: EntityMatch
  readonly destination: EntityMatch
  readonly annotations: readonly (readonly [string, string])[]
  /** `spec.ingress[0]` */
  readonly path: string
  readonly at: () => SourcePosition
}

/** A policy. */
export interface CalicoPolicy {
  readonly kind: PolicyKind
  /** Empty for a global one. */
  readonly namespace: string
  readonly name: string
  readonly tier: string
  /** Infinity when none was given: last in its tier. */
  readonly order: number
  /** As the datastore has it, namespace included. */
  readonly selector: string
  readonly hasIngress: boolean
  readonly hasEgress: boolean
  readonly ingress: readonly PolicyRule[]
  readonly egress: readonly PolicyRule[]
  readonly doNotTrack: boolean
  readonly preDnat: boolean
  readonly applyOnForward: boolean
  readonly source: SourcePosition
}

/** A tier. */
export interface CalicoTier {
  readonly name: string
  readonly order: number
  readonly defaultAction: 'Deny' | 'Pass'
}

/** Which way a chain looks, seen from the endpoint. */
export type Direction = 'ingress' | 'egress'

/** An entity that matches everything. */
export const ANY_ENTITY: EntityMatch = {
  nets: [],
  notNets: [],
  ports: [],
  notPorts: [],
  ipSetIds: [],
  notIpSetIds: [],
  ipPortSetIds: [],
  namedPortIds: [],
  notNamedPortIds: [],
}
