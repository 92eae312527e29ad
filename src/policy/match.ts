/**
 * Whether a rule matches: conditions on the two ends, ports, family.
 *
 * A host-network pod is its node here (it has the node's address and no policy of its own), unless `hostNetwork: as-pod`
 * says otherwise for NetworkPolicy v1. Named ports are looked up at the destination pod, in both directions, by name and
 * protocol; a destination that is no pod has none, so the port matches nothing (kubernetes e2e "one named port").
 */
import { matches } from './expr.ts'
import type { Alternative, Condition, Direction, Party, PolicyOptions, PortMatch, PortName, Rule } from './model.ts'
import {
  NO_PORTS,
  type PortSet,
  portNumberOf,
  portRange,
  portsContain,
  protocolPorts,
  subtractPorts,
  unionPorts,
} from './port-set.ts'
import { type Address, type Family, rangesContain } from './ranges.ts'

/** One packet of a connection, as policies see it. */
export interface Flow {
  readonly src: Party
  readonly dst: Party
  readonly family: Family
  /** Destination protocol and port as one number (port-set.ts). */
  readonly port: number
  /** Source protocol and port as one number. */
  readonly sourcePort: number
}

/** The party's address of a family. */
export function addressOf(party: Party, family: Family): Address | null {
  return family === 4 ? party.v4 : party.v6
}

/** True for a pod that selectors see. */
export function isEndpoint(party: Party, hostNetworkAsPod: boolean, options: PolicyOptions): boolean {
  if (party.kind !== 'pod') return false
  return !party.hostNetwork || (hostNetworkAsPod && options.hostNetwork === 'as-pod')
}

/** True when the party satisfies the condition of a policy that selects `subject`. */
export function conditionHolds(
  c: Condition,
  who: Party,
  subject: Party | null,
  family: Family,
  options: PolicyOptions,
): boolean {
  switch (c.t) {
    case 'labels': {
      let holds = isEndpoint(who, c.hostNetworkAsPod, options) && matches(c.expr, who)
      if (!holds && c.sets !== null) {
        const address = addressOf(who, family)
        holds = address !== null && rangesContain(c.sets, address)
      }
      return holds !== c.negate
    }
    case 'nets': {
      const address = addressOf(who, family)
      if (address === null) return c.negate
      if (c.pods !== 'always') {
        if (c.pods === 'never' && who.kind !== 'external') return c.negate
        if (c.pods === 'option' && !options.ipBlockMatchesPods && isEndpoint(who, true, options)) return c.negate
      }
      return rangesContain(c.ranges, address) !== c.negate
    }
    case 'nodes':
      return isNode(who) && matches(c.expr, who)
    case 'entities':
      return c.names.some((name) => isEntity(name, who, subject, family))
    case 'never':
      return false
  }
}

function isNode(who: Party): boolean {
  return who.kind === 'node' || (who.kind === 'pod' && who.hostNetwork)
}

/** Cilium's entities (pkg/policy/api/entity.go), for the identities that manifests can tell. */
function isEntity(name: string, who: Party, subject: Party | null, family: Family): boolean {
  switch (name) {
    case 'all':
      return true
    case 'world':
      return who.kind === 'external'
    case 'world-ipv4':
      return who.kind === 'external' && family === 4
    case 'world-ipv6':
      return who.kind === 'external' && family === 6
    case 'cluster':
      return who.kind !== 'external'
    case 'host':
      return isNode(who) && who.node === subject?.node
    case 'remote-node':
      return isNode(who) && who.node !== subject?.node
    case 'kube-apiserver':
      return isNode(who) && Object.hasOwn(who.labels.node, 'node-role.kubernetes.io/control-plane')
    default:
      // init, health, unmanaged, ingress, none: no party of the model has that identity
      return false
  }
}

/** True when all conditions hold. */
export function alternativeHolds(
  alternative: Alternative,
  who: Party,
  subject: Party | null,
  family: Family,
  options: PolicyOptions,
): boolean {
  for (const c of alternative.conditions) if (!conditionHolds(c, who, subject, family, options)) return false
  return true
}

function portOfName(name: PortName, at: Party, isPod: boolean): PortSet {
  if (!isPod) return NO_PORTS
  let set = NO_PORTS
  for (const p of at.ports) {
    if (p.name === name.name && (name.protocol === null || name.protocol === p.protocol)) {
      set = unionPorts(set, portRange(p.protocol, p.port))
    }
  }
  return set
}

/** The ports that a rule means at a party: names looked up there. */
export function resolvePorts(match: PortMatch, at: Party, options: PolicyOptions): PortSet {
  if (match.names.length === 0 && match.except === null) return match.set
  const isPod = isEndpoint(at, true, options)
  let set = match.set
  for (const name of match.names) set = unionPorts(set, portOfName(name, at, isPod))
  if (match.except !== null) {
    set = subtractPorts(set, match.except.set)
    for (const name of match.except.names) set = subtractPorts(set, portOfName(name, at, isPod))
  }
  return set
}

/** Everything of the protocols in which a source port satisfies a rule's source ports. */
export function sourceProtocols(match: PortMatch, at: Party, sourcePort: number, options: PolicyOptions): PortSet {
  const set = resolvePorts(match, at, options)
  let protocols = NO_PORTS
  for (const protocol of ['TCP', 'UDP', 'SCTP'] as const) {
    if (portsContain(set, portNumberOf(protocol, sourcePort)))
      protocols = unionPorts(protocols, protocolPorts(protocol))
  }
  return protocols
}

/** True when the rule of a policy that selects the flow's end in this direction matches the flow. */
export function ruleMatches(rule: Rule, direction: Direction, flow: Flow, options: PolicyOptions): boolean {
  if (rule.family !== null && rule.family !== flow.family) return false
  if (rule.ports !== null && !portsContain(resolvePorts(rule.ports, flow.dst, options), flow.port)) return false
  if (rule.sourcePorts !== null) {
    if (!portsContain(resolvePorts(rule.sourcePorts, flow.src, options), flow.sourcePort)) return false
  }
  const subject = direction === 'ingress' ? flow.dst : flow.src
  if (rule.self !== null && !alternativeHolds(rule.self, subject, subject, flow.family, options)) return false
  if (rule.peers === null) return true
  const peer = direction === 'ingress' ? flow.src : flow.dst
  for (const a of rule.peers) {
    if (a.ports !== null && !portsContain(a.ports, flow.port)) continue
    if (alternativeHolds(a, peer, subject, flow.family, options)) return true
  }
  return false
}
