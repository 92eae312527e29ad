/**
 * The policy kinds beside networking.k8s.io/v1 NetworkPolicy, by `apiVersion/kind`.
 *
 * Calico's objects come as `projectcalico.org/v3` (its API server, calicoctl) and as `crd.projectcalico.org/v1` (the CRDs
 * that hold the same): both are read.
 */
import type { KnownKind } from './kinds.ts'
import type { ObjectSchema } from './schema.ts'
import {
  adminNetworkPolicy,
  baselineAdminNetworkPolicy,
  calicoNetworkPolicy,
  ciliumNetworkPolicy,
  clusterNetworkPolicy,
  globalNetworkPolicy,
  networkSet,
  stagedGlobalNetworkPolicy,
  stagedNetworkPolicy,
  tier,
} from './schemas/policy.ts'
import { networkPolicy } from './schemas/workloads.ts'

const calico: readonly (readonly [string, ObjectSchema, boolean])[] = [
  ['NetworkPolicy', calicoNetworkPolicy, true],
  ['GlobalNetworkPolicy', globalNetworkPolicy, false],
  ['StagedNetworkPolicy', stagedNetworkPolicy, true],
  ['StagedGlobalNetworkPolicy', stagedGlobalNetworkPolicy, false],
  ['StagedKubernetesNetworkPolicy', networkPolicy, true],
  ['NetworkSet', networkSet, true],
  ['GlobalNetworkSet', networkSet, false],
  ['Tier', tier, false],
]

const others: readonly (readonly [string, ObjectSchema, boolean])[] = [
  ['policy.networking.k8s.io/v1alpha1/AdminNetworkPolicy', adminNetworkPolicy, false],
  ['policy.networking.k8s.io/v1alpha1/BaselineAdminNetworkPolicy', baselineAdminNetworkPolicy, false],
  ['policy.networking.k8s.io/v1alpha2/ClusterNetworkPolicy', clusterNetworkPolicy, false],
  ['cilium.io/v2/CiliumNetworkPolicy', ciliumNetworkPolicy, true],
  ['cilium.io/v2/CiliumClusterwideNetworkPolicy', ciliumNetworkPolicy, false],
]

/** The kinds, with their shapes. */
export const POLICY_KINDS: ReadonlyMap<string, KnownKind> = new Map(
  [
    ...others,
    ...['projectcalico.org/v3', 'crd.projectcalico.org/v1'].flatMap((version) =>
      calico.map(([name, schema, isNamespaced]) => [`${version}/${name}`, schema, isNamespaced] as const),
    ),
  ].map(([key, schema, isNamespaced]) => [key, { schema, isNamespaced, name: 'subdomain' }]),
)
