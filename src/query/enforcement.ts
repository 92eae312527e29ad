/**
 * Which of the cluster's policies the chosen CNI enforces.
 */
import { findCniDriver } from '../cni/registry.ts'
import type { ClusterModel } from '../kubernetes/types.ts'
import type { PolicyEngine } from '../policy/engine.ts'
import { type Policy, policyTitle } from '../policy/model.ts'
import type { Reach } from './reach-types.ts'

/** Groups of policies that each system reads; `*` is a CNI that podwalk does not know. */
const READ_BY: Readonly<Record<string, readonly string[]>> = {
  calico: ['networking.k8s.io', 'policy.networking.k8s.io', 'projectcalico.org', 'crd.projectcalico.org'],
  cilium: ['networking.k8s.io', 'policy.networking.k8s.io', 'cilium.io'],
}

/** Whether a CNI enforces a policy, as far as is known of it. */
export function isEnforced(policy: Policy, cni: string): boolean {
  if (policy.staged) return false
  const driver = findCniDriver(cni)
  if (driver !== undefined && !driver.enforcesNetworkPolicy) return false
  const groups = READ_BY[cni]
  return groups === undefined || groups.includes(policy.apiVersion.split('/')[0]!)
}

/** How the cluster's CNI treats its policies. */
export function enforcementOf(engine: PolicyEngine, model: ClusterModel): Reach['enforcement'] {
  const cni = model.config.cni.name
  const ignored = engine.policies.filter((p) => !isEnforced(p, cni)).map(policyTitle)
  const driver = findCniDriver(cni)
  return {
    cni,
    enforces: driver?.enforcesNetworkPolicy ?? READ_BY[cni] !== undefined,
    ignored: [...new Set(ignored)].sort(),
  }
}
