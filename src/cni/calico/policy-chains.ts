/**
 * Chains of policies and profiles: cali-pi-, cali-po-, cali-pri-, cali-pro-, and groups of policies cali-gi-, cali-go-.
 *
 * Real thing: felix/rules/policy.go (ProtoRuleToIptablesRules, matchBlockBuilder, SplitPortList), endpoints.go
 * (PolicyGroup). One rule of a policy becomes one match and what follows from it. What a match cannot say (more than 15
 * port slots, more than one CIDR, ports or named ports) is worked out in blocks of rules before it, in two mark bits: the
 * first says whether all blocks so far agree, the second is scratch of the block at hand.
 */
import { createHash } from 'node:crypto'
import type { CalicoPolicy, Direction, EntityMatch, FelixProtocol, PolicyRule, PortRange } from './policy-model.ts'
import { clearMark, jump, markClear, markNotClear, markSet, setMark, setMaskedMark } from './static-chains.ts'
import { all, type FelixChain, type FelixRule, ipSetName, limitedId, MAX_CHAIN_NAME } from './text.ts'
import type { CalicoVersion } from './version.ts'

/** What policy rules depend on beside themselves. */
export interface PolicyContext {
  readonly version: CalicoVersion
  /** DROP or REJECT */
  readonly denyAction: string
  readonly logPrefix: string
}

type Side = 'source' | 'destination'

const MULTIPORT_SLOTS = 15
const RETURN_STRIDE = 5
const GROUP_ID_CHARACTERS = MAX_CHAIN_NAME - 'cali-gi-'.length
const SHORT_KINDS: Readonly<Record<CalicoPolicy['kind'], string>> = {
  NetworkPolicy: 'np',
  GlobalNetworkPolicy: 'gnp',
  KubernetesNetworkPolicy: 'knp',
  KubernetesClusterNetworkPolicy: 'kcnp',
  AdminNetworkPolicy: 'kanp',
  BaselineAdminNetworkPolicy: 'kbanp',
}
/** Names of the datastore before v3.32: converted policies carry their origin in their name. */
const OLD_PREFIX: Readonly<Partial<Record<CalicoPolicy['kind'], string>>> = {
  KubernetesNetworkPolicy: 'knp.default.',
  KubernetesClusterNetworkPolicy: 'kcnp.',
  AdminNetworkPolicy: 'kanp.adminnetworkpolicy.',
  BaselineAdminNetworkPolicy: 'kbanp.baselineadminnetworkpolicy.',
}

/** Name of a policy as the datastore of that version has it. */
export function policyName(p: CalicoPolicy, version: CalicoVersion): string {
  return version.namesByKind ? p.name : `${OLD_PREFIX[p.kind] ?? ''}${p.name}`
}

/** What a policy's chains are named after, prefix aside. */
export function policyId(p: CalicoPolicy, version: CalicoVersion): string {
  const name = policyName(p, version)
  const namespaced = p.namespace === '' ? name : `${p.namespace}/${name}`
  if (version.namesByKind) return `${SHORT_KINDS[p.kind]}/${namespaced}`
  return version.minor >= 30 ? `${p.tier}/${namespaced}` : namespaced
}

/** Name of a policy's chain in a direction. */
export function policyChainName(p: CalicoPolicy, direction: Direction, version: CalicoVersion): string {
  return limitedId(direction === 'ingress' ? 'cali-pi-' : 'cali-po-', policyId(p, version))
}

/** Name of a profile's chain in a direction. */
export function profileChainName(profile: string, direction: Direction): string {
  return limitedId(direction === 'ingress' ? 'cali-pri-' : 'cali-pro-', profile)
}

/** The chain of a policy in a direction. */
export function policyChain(p: CalicoPolicy, direction: Direction, c: PolicyContext): FelixChain {
  const name = policyName(p, c.version)
  const namespaced = p.namespace === '' ? name : `${p.namespace}/${name}`
  const comment = `${c.version.namesByKind ? p.kind : 'Policy'} ${namespaced} ${direction}`
  const rules = (direction === 'ingress' ? p.ingress : p.egress).flatMap((rule, i) =>
    ruleText(rule, c, {
      kind: originKind(p),
      namespace: p.namespace,
      name: p.name,
      rule: rule.path,
      at: rule.at,
      index: i,
    }),
  )
  return { name: policyChainName(p, direction, c.version), rules: finish(rules, comment, c) }
}

/** The kind that the user wrote. */
function originKind(p: CalicoPolicy): string {
  if (p.kind === 'KubernetesNetworkPolicy') return 'NetworkPolicy'
  return p.kind === 'KubernetesClusterNetworkPolicy' ? 'ClusterNetworkPolicy' : p.kind
}

/** The chain of a profile that allows everything (namespaces) or says nothing (service accounts). */
export function profileChain(profile: string, direction: Direction, allows: boolean, c: PolicyContext): FelixChain {
  const { accept } = c.version.marks
  const rules: FelixRule[] = allows
    ? [{ action: setMark(accept) }, { match: markSet(accept), action: jump('RETURN') }]
    : []
  return { name: profileChainName(profile, direction), rules: finish(rules, `Profile ${profile} ${direction}`, c) }
}

/** Drops RETURNs at the end, puts the chain's comment on its first rule. */
function finish(rules: FelixRule[], comment: string, c: PolicyContext): FelixRule[] {
  const out = [...rules]
  if (c.version.stripsReturns) while (out.at(-1)?.action === '--jump RETURN') out.pop()
  if (out.length === 0) out.push({ action: '' })
  out[0] = { ...out[0]!, comments: [...(out[0]!.comments ?? []), comment] }
  return out
}

/** A group of policies that follow each other and select the same endpoints. */
export interface PolicyGroup {
  readonly policies: readonly CalicoPolicy[]
  /** The chain to jump to: the policy's own for a group of one. */
  readonly chain: string
}

/** Policies of a tier that apply to an endpoint, in groups. */
export function groupPolicies(
  policies: readonly CalicoPolicy[],
  direction: Direction,
  version: CalicoVersion,
): PolicyGroup[] {
  const groups: CalicoPolicy[][] = []
  for (const p of policies) {
    const last = groups.at(-1)
    if (version.hasPolicyGroups && last !== undefined && last[0]!.selector === p.selector) last.push(p)
    else groups.push([p])
  }
  return groups.map((g) => ({
    policies: g,
    chain: g.length === 1 ? policyChainName(g[0]!, direction, version) : groupChainName(g, direction, version),
  }))
}

function groupChainName(g: readonly CalicoPolicy[], direction: Direction, version: CalicoVersion): string {
  const hash = createHash('sha3-224')
  const write = (s: string): void => void hash.update(`${s}\n`)
  if (!version.namesByKind) write(g[0]!.tier)
  write(g[0]!.selector)
  write(direction === 'ingress' ? 'inbound' : 'outbound')
  write(String(g.length))
  for (const p of g) {
    if (version.namesByKind) write(`{Name: ${p.name}, Namespace: ${p.namespace}, Kind: ${p.kind}}`)
    else write(p.namespace === '' ? policyName(p, version) : `${p.namespace}/${policyName(p, version)}`)
  }
  const id = hash.digest('base64url').slice(0, GROUP_ID_CHARACTERS)
  return `${direction === 'ingress' ? 'cali-gi-' : 'cali-go-'}${id}`
}

/** The chain of a group: its policies in turn, until one makes a verdict. */
export function groupChain(group: PolicyGroup, direction: Direction, version: CalicoVersion): FelixChain {
  const verdict = version.marks.pass | version.marks.accept
  const rules = group.policies.flatMap((p, i): FelixRule[] => {
    const action = jump(policyChainName(p, direction, version))
    if (i % RETURN_STRIDE !== 0) return [{ match: markClear(verdict), action }]
    if (i === 0) return [{ action }]
    return [{ match: markNotClear(verdict), action: jump('RETURN'), comments: ['Return on verdict'] }, { action }]
  })
  return { name: group.chain, rules }
}

/** SplitPortList: groups of at most 15 slots; a range takes two. */
export function splitPortList(ports: readonly PortRange[]): PortRange[][] {
  const out: PortRange[][] = []
  let free = 0
  for (const p of ports) {
    const slots = p.first === p.last ? 1 : 2
    if (free < slots) {
      out.push([])
      free = MULTIPORT_SLOTS
    }
    out.at(-1)!.push(p)
    free -= slots
  }
  return out
}

function portText(ports: readonly PortRange[]): string {
  return ports.map((p) => (p.first === p.last ? String(p.first) : `${p.first}:${p.last}`)).join(',')
}

function portMatch(side: Side, ports: readonly PortRange[], not = ''): string {
  return `-m multiport ${not}--${side}-ports ${portText(ports)}`
}

function setMatch(side: Side, id: string, not = ''): string {
  return `-m set ${not}--match-set ${ipSetName(id)} ${side === 'source' ? 'src' : 'dst'}`
}

function portSetMatch(side: Side, id: string, not = ''): string {
  const flag = side === 'source' ? 'src' : 'dst'
  return `${setMatch(side, id, not)},${flag}`
}

function protocolMatch(protocol: FelixProtocol | undefined, not = ''): string {
  return protocol === undefined ? '' : `${not}-p ${protocol}`
}

/** The blocks of a rule (matchBlockBuilder). */
class Blocks {
  readonly rules: FelixRule[] = []
  private hasPositive = false
  private readonly allPass: number
  private readonly thisPass: number

  constructor(version: CalicoVersion) {
    this.allPass = version.marks.scratch0
    this.thisPass = version.marks.scratch1
  }

  get match(): string {
    return this.rules.length === 0 ? '' : markSet(this.allPass)
  }

  positive(matches: readonly string[]): void {
    this.start(0)
    const mark = this.hasPositive ? this.thisPass : this.allPass
    for (const match of matches) this.rules.push({ match, action: setMark(mark) })
    if (this.hasPositive) this.rules.push({ match: markClear(this.thisPass), action: clearMark(this.allPass) })
    this.hasPositive = true
  }

  negative(matches: readonly string[]): void {
    this.start(this.allPass)
    for (const match of matches) this.rules.push({ match, action: clearMark(this.allPass) })
  }

  private start(mark: number): void {
    if (this.rules.length > 0) return
    this.rules.push({ action: setMaskedMark(mark, this.allPass | this.thisPass) })
  }
}

/** What a side keeps for the final match once its blocks are made. */
function blocksOf(
  rule: PolicyRule,
  side: Side,
  blocks: Blocks,
  part: 'ports' | 'nets' | 'notNets',
): Partial<EntityMatch> {
  const e = rule[side]
  if (part === 'ports') {
    const splits = splitPortList(e.ports)
    if (splits.length + e.namedPortIds.length <= 1) return {}
    blocks.positive([
      ...splits.map((s) => all(protocolMatch(rule.protocol), portMatch(side, s))),
      ...e.namedPortIds.map((id) => portSetMatch(side, id)),
    ])
    return { ports: [], namedPortIds: [] }
  }
  if (part === 'nets') {
    if (e.nets.length <= 1) return {}
    blocks.positive(e.nets.map((net) => `--${side} ${net}`))
    return { nets: [] }
  }
  if (e.notNets.length === 0 || (e.nets.length > 1 ? 0 : e.nets.length) + e.notNets.length <= 1) return {}
  blocks.negative(e.notNets.map((net) => `--${side} ${net}`))
  return { notNets: [] }
}

function positiveMatch(e: EntityMatch, side: Side): string {
  return all(
    ...e.nets.map((net) => `--${side} ${net}`),
    ...e.ipSetIds.map((id) => setMatch(side, id)),
    ...e.ipPortSetIds.map((id) => portSetMatch(side, id)),
    e.ports.length === 0 ? '' : portMatch(side, e.ports),
    ...e.namedPortIds.map((id) => portSetMatch(side, id)),
  )
}

function negativeMatch(e: EntityMatch, side: Side): string {
  return all(
    ...e.notNets.map((net) => `! --${side} ${net}`),
    ...e.notIpSetIds.map((id) => setMatch(side, id, '! ')),
    ...splitPortList(e.notPorts).map((s) => portMatch(side, s, '! ')),
    ...e.notNamedPortIds.map((id) => portSetMatch(side, id, '! ')),
  )
}

function icmpMatch(m: PolicyRule['icmp'], not = ''): string {
  if (m === undefined) return ''
  return `-m icmp ${not}--icmp-type ${m.type}${m.code === undefined ? '' : `/${m.code}`}`
}

/** ProtoRuleToIptablesRules. */
function ruleText(rule: PolicyRule, c: PolicyContext, origin: unknown): FelixRule[] {
  const blocks = new Blocks(c.version)
  let source = rule.source
  let destination = rule.destination
  for (const part of ['ports', 'nets', 'notNets'] as const) {
    source = { ...source, ...blocksOf({ ...rule, source, destination }, 'source', blocks, part) }
    destination = { ...destination, ...blocksOf({ ...rule, source, destination }, 'destination', blocks, part) }
  }
  const match = all(
    protocolMatch(rule.protocol),
    positiveMatch(source, 'source'),
    positiveMatch(destination, 'destination'),
    icmpMatch(rule.icmp),
    protocolMatch(rule.notProtocol, '! '),
    negativeMatch(source, 'source'),
    negativeMatch(destination, 'destination'),
    icmpMatch(rule.notIcmp, '! '),
    blocks.match,
  )
  const comments = rule.annotations.map(([k, v]) => `${k}=${v}`)
  return [...blocks.rules, ...actions(rule, match, c)].map((r) => ({
    ...r,
    origin,
    ...(comments.length > 0 && { comments }),
  }))
}

/** CombineMatchAndActionsForProtoRule. */
function actions(rule: PolicyRule, match: string, c: PolicyContext): FelixRule[] {
  const { accept, pass, drop } = c.version.marks
  switch (rule.action) {
    case 'allow':
      return [
        { match, action: setMark(accept) },
        { match: markSet(accept), action: jump('RETURN') },
      ]
    case 'pass':
      return [
        { match, action: setMark(pass) },
        { match: markSet(pass), action: jump('RETURN') },
      ]
    case 'deny':
      if (!c.version.marksDrops) return [{ match, action: jump(c.denyAction) }]
      return [
        { match, action: setMark(drop) },
        { match: markSet(drop), action: jump(c.denyAction) },
      ]
    case 'log':
      return [{ match, action: `--jump LOG --log-prefix "${c.logPrefix}: " --log-level 5` }]
  }
}
