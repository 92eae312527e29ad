/**
 * All policies and tiers of a cluster, in Felix's order.
 *
 * Real thing: libcalico-go/lib/backend/syncersv1/updateprocessors/{networkpolicy,globalnetworkpolicy,tier}processor.go,
 * felix/calc/policy_sorter.go: tiers by order and name, policies within a tier by order and name, without an order last.
 * A NetworkPolicy reaches its namespace only; namespaceSelector and serviceAccountSelector of a global one, and
 * serviceAccountSelector of any, are put into its selector. Types default to Ingress, and Egress when there are only egress
 * rules or both. doNotTrack and preDNAT imply applyOnForward. Staged policies are not programmed.
 * Not modelled: performanceHints, HTTP rules (named in a warning, the rule is left out: nothing is let through by it).
 */
import type { Diagnostic } from '../../diagnostics/diagnostic.ts'
import { calicoObjects } from '../../kubernetes/calico/pools.ts'
import { parseCalicoSelector, prefixLabels, SelectorError } from '../../kubernetes/calico/selector.ts'
import type { ClusterModel, LoadedObject } from '../../kubernetes/types.ts'
import { clusterPolicies } from './cluster-policy.ts'
import type { IpSetIndex } from './ip-sets.ts'
import { convertNetworkPolicy } from './knp-convert.ts'
import type { CalicoPolicy, CalicoTier, PolicyRule } from './policy-model.ts'
import { convertRule, hasRefusedIcmp, type Json, namespaceSelector } from './rule-convert.ts'

/** Order of the tier `default`. */
const DEFAULT_TIER_ORDER = 1_000_000
const BUILT_IN_TIERS: readonly CalicoTier[] = [
  { name: 'kube-admin', order: 1000, defaultAction: 'Pass' },
  { name: 'adminnetworkpolicy', order: 1000, defaultAction: 'Pass' },
  { name: 'default', order: DEFAULT_TIER_ORDER, defaultAction: 'Deny' },
  { name: 'kube-baseline', order: 10_000_000, defaultAction: 'Pass' },
  { name: 'baselineadminnetworkpolicy', order: 10_000_000, defaultAction: 'Pass' },
]

/** Tiers with their policies, in order. */
export interface PolicySet {
  readonly tiers: readonly { readonly tier: CalicoTier; readonly policies: readonly CalicoPolicy[] }[]
  readonly diagnostics: readonly Diagnostic[]
}

/** Reads everything that says who may talk to whom. */
export function readPolicies(model: ClusterModel, sets: IpSetIndex): PolicySet {
  const diagnostics: Diagnostic[] = []
  const policies: CalicoPolicy[] = model.networkPolicies.map((p) => convertNetworkPolicy(p, sets))
  policies.push(...clusterPolicies(model, sets, diagnostics))
  for (const kind of ['NetworkPolicy', 'GlobalNetworkPolicy'] as const) {
    for (const o of calicoObjects(model.otherObjects, kind)) {
      const policy = readPolicy(o, kind, sets, diagnostics)
      if (policy !== null) policies.push(policy)
    }
  }
  for (const kind of ['StagedNetworkPolicy', 'StagedGlobalNetworkPolicy', 'StagedKubernetesNetworkPolicy']) {
    for (const o of calicoObjects(model.otherObjects, kind)) {
      const message = `${kind} ${o.object.metadata.name} is staged: it is not enforced`
      diagnostics.push({ code: 'policy-staged', severity: 'info', message, ...o.source })
    }
  }
  const tiers = new Map(BUILT_IN_TIERS.map((t) => [t.name, t]))
  for (const { object } of calicoObjects(model.otherObjects, 'Tier')) {
    const spec = (object.spec ?? {}) as Json
    const order = spec.order === undefined || spec.order === null ? Number.POSITIVE_INFINITY : Number(spec.order)
    const defaultAction = spec.defaultAction === 'Pass' ? 'Pass' : 'Deny'
    tiers.set(object.metadata.name, { name: object.metadata.name, order, defaultAction })
  }
  const byTier = new Map<string, CalicoPolicy[]>()
  for (const p of policies) {
    if (!tiers.has(p.tier)) {
      const message = `${p.kind} ${p.name}: expected the name of a Tier, found ${p.tier}`
      diagnostics.push({ code: 'unknown-tier', severity: 'error', message, ...p.source })
      continue
    }
    byTier.set(p.tier, [...(byTier.get(p.tier) ?? []), p])
  }
  const sorted = [...tiers.values()]
    .filter((t) => byTier.has(t.name))
    .sort((a, b) => (a.order === b.order ? (a.name < b.name ? -1 : 1) : a.order < b.order ? -1 : 1))
  return {
    tiers: sorted.map((tier) => ({ tier, policies: byTier.get(tier.name)!.sort(byOrderThenName) })),
    diagnostics,
  }
}

function byOrderThenName(a: CalicoPolicy, b: CalicoPolicy): number {
  if (a.order !== b.order) return a.order < b.order ? -1 : 1
  const left = sortName(a)
  const right = sortName(b)
  return left < right ? -1 : left > right ? 1 : 0
}

/** The name that policies of equal order are sorted by: as the datastore has it. */
function sortName(p: CalicoPolicy): string {
  const name = p.kind === 'KubernetesNetworkPolicy' ? `knp.default.${p.name}` : p.name
  return p.namespace === '' ? name : `${p.namespace}/${name}`
}

function readPolicy(
  o: LoadedObject,
  kind: 'NetworkPolicy' | 'GlobalNetworkPolicy',
  sets: IpSetIndex,
  diagnostics: Diagnostic[],
): CalicoPolicy | null {
  const spec = (o.object.spec ?? {}) as Json
  const tier = String(spec.tier ?? 'default')
  const namespace = kind === 'NetworkPolicy' ? (o.object.metadata.namespace ?? 'default') : ''
  const who = `${kind} ${namespace === '' ? '' : `${namespace}/`}${o.object.metadata.name}`
  try {
    const rules = (direction: 'ingress' | 'egress'): PolicyRule[] =>
      ((spec[direction] ?? []) as Json[]).flatMap((rule, i) => {
        const at = () => o.positionOf(['spec', direction, i])
        if (rule.http !== undefined) {
          const message = `${who}: spec.${direction}[${i}]: HTTP matches are UNMODELLED: the rule is left out`
          diagnostics.push({ code: 'unmodelled', severity: 'warning', message, ...at() })
          return []
        }
        if (hasRefusedIcmp(rule)) {
          const message = `${who}: spec.${direction}[${i}]: an ICMP type without protocol ICMP: iptables refuses what Felix makes of it for IPv4; the rule is left out`
          diagnostics.push({ code: 'refused-by-iptables', severity: 'warning', message, ...at() })
          return []
        }
        const converted = convertRule(rule, namespace, sets, { path: `spec.${direction}[${i}]`, at })
        return converted === null ? [] : [converted]
      })
    const ingress = rules('ingress')
    const egress = rules('egress')
    const types = typesOf(spec)
    const doNotTrack = spec.doNotTrack === true
    const preDnat = spec.preDNAT === true
    const selector = policySelector(spec, namespace)
    parseCalicoSelector(selector)
    return {
      ...{ kind, namespace, name: tieredName(o.object.metadata.name, tier), tier },
      order: spec.order === undefined || spec.order === null ? Number.POSITIVE_INFINITY : Number(spec.order),
      selector,
      hasIngress: types.includes('Ingress'),
      hasEgress: types.includes('Egress'),
      ...{ ingress, egress, doNotTrack, preDnat },
      applyOnForward: spec.applyOnForward === true || doNotTrack || preDnat,
      source: o.source,
    }
  } catch (e) {
    if (!(e instanceof SelectorError)) throw e
    diagnostics.push({ code: 'bad-selector', severity: 'error', message: `${who}: ${e.message}`, ...o.source })
    return null
  }
}

/** Names carry their tier in front: `default.web` for what the user calls web. */
function tieredName(name: string, tier: string): string {
  return name.startsWith(`${tier}.`) ? name : `${tier}.${name}`
}

function typesOf(spec: Json): string[] {
  if (Array.isArray(spec.types) && spec.types.length > 0) return spec.types.map(String)
  const has = (v: unknown): boolean => Array.isArray(v) && v.length > 0
  if (has(spec.egress)) return has(spec.ingress) ? ['Ingress', 'Egress'] : ['Egress']
  return ['Ingress']
}

/** Which endpoints a policy governs. */
function policySelector(spec: Json, namespace: string): string {
  let selector = String(spec.selector ?? '')
  const add = (more: string): void => {
    selector = selector === '' ? more : `(${selector}) && ${more}`
  }
  if (namespace !== '') add(`projectcalico.org/namespace == '${namespace}'`)
  const account = String(spec.serviceAccountSelector ?? '')
  if (account !== '') add(`(${prefixLabels(account, 'pcsa.')})`)
  const ns = String(spec.namespaceSelector ?? '')
  if (ns !== '' && namespace === '') add(`(${namespaceSelector(ns)})`)
  return selector
}
