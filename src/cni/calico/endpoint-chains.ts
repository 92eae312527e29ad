/**
 * Chains of endpoints: cali-tw-, cali-fw- of a pod, cali-th-, cali-fh-, cali-thfw-, cali-fhfw- of a host endpoint.
 *
 * Real thing: felix/rules/endpoints.go (endpointIptablesChain). Tier by tier the endpoint's policies are asked; one that
 * accepts ends the chain, a tier that had policies and no verdict drops, unless its default is to pass; behind the tiers
 * the profiles are asked. doNotTrack policy stands in the raw table (an accept is NOTRACK), preDNAT in mangle; neither ends
 * its tiers with a drop. Not modelled: QoS rules, flow logs.
 */
import type { FelixConfig } from './felix-config.ts'
import { groupPolicies, profileChainName } from './policy-chains.ts'
import type { CalicoPolicy, CalicoTier, Direction } from './policy-model.ts'
import { clearMark, denyWord, jump, markClear, markSet, setMark } from './static-chains.ts'
import { all, type FelixChain, type FelixRule, limitedId } from './text.ts'
import type { CalicoVersion } from './version.ts'

/** Policies of one tier that apply to an endpoint. */
export interface EndpointTier {
  readonly tier: CalicoTier
  readonly policies: readonly CalicoPolicy[]
}

/** What kind of chain it is. */
export type EndpointChainType = 'normal' | 'untracked' | 'preDnat' | 'forward'

/** How to render a chain of an endpoint. */
export interface EndpointChainInput {
  readonly version: CalicoVersion
  readonly config: FelixConfig
  /** `cali-tw-` ... */
  readonly prefix: string
  readonly interfaceName: string
  readonly direction: Direction
  readonly type: EndpointChainType
  /** Already limited to the policies of this chain type. */
  readonly tiers: readonly EndpointTier[]
  readonly profiles: readonly string[]
  /** Empty for none. */
  readonly failsafeChain: string
  /** ACCEPT or RETURN */
  readonly allowAction: string
  readonly dropsEncapsulated: boolean
  /** What the drop at the end of a tier's policies is told to come from. */
  readonly tierOrigin?: (tier: EndpointTier) => unknown
  readonly noProfileOrigin?: unknown
}

/** endpointIptablesChain. */
export function endpointChain(e: EndpointChainInput): FelixChain {
  const { version, config } = e
  const { accept, pass } = version.marks
  const deny = jump(config.filterDenyAction)
  const word = denyWord(config)
  const rules: FelixRule[] = []
  if (e.type !== 'untracked') rules.push(...conntrackRules(e, deny))
  if (e.failsafeChain !== '') rules.push({ action: jump(e.failsafeChain) })
  rules.push({ action: clearMark(version.minor <= 28 ? accept : accept | pass) })
  if (e.dropsEncapsulated) rules.push(...encapsulatedRules(config, deny, word))
  for (const t of e.tiers) rules.push(...tierRules(e, t, deny, word))
  if (e.type === 'forward' && e.tiers.length === 0) {
    rules.push(
      { action: setMark(accept), comments: ['Allow forwarded traffic by default'] },
      { action: jump('RETURN'), comments: ['Return for accepted forward traffic'] },
    )
  }
  if (e.type === 'normal') {
    for (const profile of e.profiles) {
      rules.push(
        { action: jump(profileChainName(profile, e.direction)) },
        { match: markSet(accept), action: jump('RETURN'), comments: ['Return if profile accepted'] },
      )
    }
    rules.push({ action: deny, comments: [`${word} if no profiles matched`], origin: e.noProfileOrigin })
  }
  return { name: limitedId(e.prefix, e.interfaceName), rules }
}

function conntrackRules(e: EndpointChainInput, deny: string): FelixRule[] {
  const established = '-m conntrack --ctstate RELATED,ESTABLISHED'
  const rules: FelixRule[] = []
  if (e.allowAction !== 'ACCEPT') rules.push({ match: established, action: setMark(e.version.marks.accept) })
  rules.push({ match: established, action: jump(e.allowAction) })
  if (!e.config.disableConntrackInvalidCheck) rules.push({ match: '-m conntrack --ctstate INVALID', action: deny })
  return rules
}

/** What would hide from egress policy in a tunnel of its own. */
function encapsulatedRules(config: FelixConfig, deny: string, word: string): FelixRule[] {
  const rules: FelixRule[] = []
  if (!config.allowVxlanFromWorkloads) {
    rules.push({
      match: all('-p 17', `-m multiport --destination-ports ${config.vxlanPort}`),
      action: deny,
      comments: [`${word} VXLAN encapped packets originating in workloads`],
    })
  }
  if (!config.allowIpipFromWorkloads) {
    rules.push({
      match: '-p 4',
      action: deny,
      comments: [`${word} IPinIP encapped packets originating in workloads`],
    })
  }
  return rules
}

function tierRules(e: EndpointChainInput, t: EndpointTier, deny: string, word: string): FelixRule[] {
  const { minor, marks } = e.version
  const policies = t.policies.filter((p) => (e.direction === 'ingress' ? p.hasIngress : p.hasEgress))
  if (policies.length === 0) return []
  const start = minor <= 27 ? ['Start of policies'] : minor === 28 ? [] : [`Start of tier ${t.tier.name}`]
  const rules: FelixRule[] = [{ action: clearMark(marks.pass), ...(start.length > 0 && { comments: start }) }]
  for (const group of groupPolicies(policies, e.direction, e.version)) {
    rules.push({ match: markClear(marks.pass), action: jump(group.chain) })
    if (e.type === 'untracked') rules.push({ match: markSet(marks.accept), action: '--jump NOTRACK' })
    rules.push({ match: markSet(marks.accept), action: jump('RETURN'), comments: ['Return if policy accepted'] })
  }
  const endsHere = e.type === 'normal' || e.type === 'forward'
  if (!endsHere || t.tier.defaultAction === 'Pass') return rules
  const end = `${word} if no policies passed packet`
  rules.push({
    match: markClear(marks.pass),
    action: deny,
    comments: [minor >= 30 ? `End of tier ${t.tier.name}. ${end}` : end],
    origin: e.tierOrigin?.(t),
  })
  return rules
}
