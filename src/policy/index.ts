/**
 * Policies: every kind of network policy, evaluated over a cluster.
 *
 *     const engine = new PolicyEngine(policyInputOf(model))
 *     engine.isAllowed(engine.flow(engine.pod('shop/web')!, engine.pod('shop/db')!, 'TCP', 5432))
 */
export { compilePolicies } from './compile.ts'
export { type FlowVerdict, PolicyEngine } from './engine.ts'
export { externalParty, type PolicyInput, type PolicyPod, policyInputOf } from './input.ts'
export type { Flow } from './match.ts'
export { DEFAULT_OPTIONS, type Party, type Policy, type PolicyOptions, type Rule, type Tier } from './model.ts'
export { type PolicyProtocol, type PortSet, portsText } from './port-set.ts'
