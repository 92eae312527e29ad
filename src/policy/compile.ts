/**
 * All policy objects of a cluster to tiers in the order in which they are evaluated.
 *
 * Tiers by order: Admin (kube-admin, 1,000, passes), default (1,000,000, denies) with NetworkPolicy v1, Calico's and
 * Cilium's policies, Baseline (kube-baseline, 10,000,000, passes), and Calico's own Tiers between. Within a tier by order,
 * then by name, then by namespace.
 *
 * Two systems in one cluster enforce one after the other: when Calico policies are there too, Cilium's get a tier of their
 * own in which Allow is Pass, so that both must agree.
 *
 * Sources: projectcalico api/v3 tier.go and constants.go, felix/calc/policy_sorter.go.
 */
import type { KubernetesObject, Sourced } from '../kubernetes/types.ts'
import type { PolicyInput } from './input.ts'
import { ADMIN_TIER, BASELINE_TIER, compileAdminPolicy } from './kinds/admin.ts'
import { compileCalicoPolicy, networkSets } from './kinds/calico.ts'
import { compileCiliumPolicy } from './kinds/cilium.ts'
import { compileNetworkPolicy } from './kinds/network-policy.ts'
import type { Policy, PolicyDirection, Tier } from './model.ts'

/** Order of the Admin tier (adminnetworkpolicy and kube-admin in Calico). */
export const ADMIN_TIER_ORDER = 1_000
/** Order of the default tier. */
export const DEFAULT_TIER_ORDER = 1_000_000
/** Order of the Baseline tier. */
export const BASELINE_TIER_ORDER = 10_000_000
/** The tier of Cilium's policies in a cluster that has Calico's as well. */
const CILIUM_TIER = 'cilium'

/** Group of an object's apiVersion. */
function groupOf(object: KubernetesObject): string {
  return object.apiVersion.split('/')[0]!
}

/** True for the kinds that select pods and say what they may do. */
export function isPolicyObject(object: KubernetesObject): boolean {
  return object.kind.endsWith('NetworkPolicy')
}

/** The policies of one object: none for NetworkSets and Tiers. */
export function compileObject(
  sourced: Sourced<KubernetesObject>,
  input: PolicyInput,
  sets: ReturnType<typeof networkSets>,
): Policy[] {
  const { object } = sourced
  if (!isPolicyObject(object)) return []
  switch (groupOf(object)) {
    case 'networking.k8s.io':
      return [compileNetworkPolicy(sourced)]
    case 'policy.networking.k8s.io':
      return [compileAdminPolicy(sourced)]
    case 'cilium.io':
      return compileCiliumPolicy(sourced, input)
    case 'projectcalico.org':
    case 'crd.projectcalico.org': {
      if (object.kind === 'StagedKubernetesNetworkPolicy') return [{ ...compileNetworkPolicy(sourced), staged: true }]
      const policy = compileCalicoPolicy(sourced, input, sets)
      return policy === null ? [] : [policy]
    }
    default:
      return []
  }
}

/** What Calico compares policies of equal order by. */
function sortName(policy: Policy): string {
  return policy.kind === 'NetworkPolicy' && policy.apiVersion.startsWith('networking.k8s.io')
    ? `knp.default.${policy.name}`
    : policy.name
}

/** Order of evaluation inside a tier. */
export function comparePolicies(a: Policy, b: Policy): number {
  if (a.order !== b.order) return a.order < b.order ? -1 : 1
  const [x, y] = [sortName(a), sortName(b)]
  if (x !== y) return x < y ? -1 : 1
  return a.namespace < b.namespace ? -1 : a.namespace > b.namespace ? 1 : 0
}

/** The tiers that the objects describe beside the built-in ones. */
function declaredTiers(input: PolicyInput): Map<string, Omit<Tier, 'policies'>> {
  const tiers = new Map<string, Omit<Tier, 'policies'>>([
    [ADMIN_TIER, { name: ADMIN_TIER, order: ADMIN_TIER_ORDER, defaultAction: 'Pass' }],
    ['default', { name: 'default', order: DEFAULT_TIER_ORDER, defaultAction: 'Deny' }],
    [BASELINE_TIER, { name: BASELINE_TIER, order: BASELINE_TIER_ORDER, defaultAction: 'Pass' }],
  ])
  for (const { object } of input.objects) {
    if (object.kind !== 'Tier') continue
    const spec = (object.spec ?? {}) as { order?: number | null; defaultAction?: 'Deny' | 'Pass' }
    const { name } = object.metadata
    const known = tiers.get(name)
    tiers.set(name, {
      name,
      order: known?.order ?? spec.order ?? Number.POSITIVE_INFINITY,
      defaultAction: spec.defaultAction ?? known?.defaultAction ?? 'Deny',
    })
  }
  return tiers
}

/** The compiled cluster: tiers in order, and the policies that are looked at but not enforced. */
export interface CompiledPolicies {
  readonly tiers: readonly Tier[]
  readonly staged: readonly Policy[]
}

/** Compiles every object. */
export function compilePolicies(input: PolicyInput): CompiledPolicies {
  const sets = networkSets(input)
  return arrangeTiers(
    input.objects.flatMap((o) => compileObject(o, input, sets)),
    input,
  )
}

/** Puts compiled policies into their tiers. */
export function arrangeTiers(policies: readonly Policy[], input: PolicyInput): CompiledPolicies {
  const tiers = declaredTiers(input)
  const isCalico = policies.some((p) => p.apiVersion.includes('projectcalico.org') && !p.staged)
  const byTier = new Map<string, Policy[]>()
  const add = (tier: string, policy: Policy): void => {
    const list = byTier.get(tier)
    if (list === undefined) byTier.set(tier, [policy])
    else list.push(policy)
  }
  for (const policy of policies) {
    if (policy.staged) continue
    if (isCalico && policy.apiVersion.startsWith('cilium.io/')) add(CILIUM_TIER, allowIsPass(policy))
    else add(policy.tier, policy)
  }
  if (byTier.has(CILIUM_TIER)) {
    tiers.set(CILIUM_TIER, { name: CILIUM_TIER, order: Number.NEGATIVE_INFINITY, defaultAction: 'Deny' })
  }
  for (const name of byTier.keys()) {
    // a tier that nobody declared: Calico orders it last
    if (!tiers.has(name)) tiers.set(name, { name, order: Number.POSITIVE_INFINITY, defaultAction: 'Deny' })
  }
  const ordered = [...tiers.values()].sort((a, b) =>
    a.order < b.order ? -1 : a.order > b.order ? 1 : a.name < b.name ? -1 : 1,
  )
  return {
    tiers: ordered
      .filter((t) => byTier.has(t.name))
      .map((t) => ({ ...t, policies: byTier.get(t.name)!.sort(comparePolicies) })),
    staged: policies.filter((p) => p.staged),
  }
}

function allowIsPass(policy: Policy): Policy {
  const direction = (d: PolicyDirection | null): PolicyDirection | null =>
    d && {
      isolates: d.isolates,
      rules: d.rules.map((r) => (r.action === 'Allow' ? { ...r, action: 'Pass' as const } : r)),
    }
  return { ...policy, ingress: direction(policy.ingress), egress: direction(policy.egress) }
}
