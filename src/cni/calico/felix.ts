/**
 * Felix on one node: which policies are active there, the chains and ip sets that come of it.
 *
 * Real thing: felix/calc/{active_rules_calculator,policy_resolver}.go, felix/dataplane/linux/{endpoint_mgr,policy_mgr,
 * masq_mgr,hostip_mgr,ipip_mgr}.go. Only policies that select a local endpoint are programmed, only sets that their rules
 * name. What is the same for every node (policy chains, sets) is worked out once.
 */

import { formatCidr } from '../../addr/index.ts'
import { parseCalicoSelector } from '../../kubernetes/calico/selector.ts'
import type { ClusterModel, NodeModel } from '../../kubernetes/types.ts'
import { dispatchChains } from './dispatch.ts'
import { type EndpointChainType, type EndpointTier, endpointChain } from './endpoint-chains.ts'
import { endpointMarkChains } from './endpoint-marks.ts'
import { type HostEndpoint, hostEndpoints, networkSets, type WorkloadEndpoint, workloadEndpoints } from './endpoints.ts'
import { type FelixConfig, felixConfig } from './felix-config.ts'
import { type CalicoIpSet, IpSetIndex } from './ip-sets.ts'
import { policiesDenied, unselected } from './origins.ts'
import { type PolicySet, readPolicies } from './policies.ts'
import { groupChain, groupPolicies, type PolicyContext, policyChain, profileChain } from './policy-chains.ts'
import type { CalicoPolicy, Direction, PolicyRule } from './policy-model.ts'
import { goTo, staticTables } from './static-chains.ts'
import { type FelixChain, type FelixRule, type FelixTable, ipSetName, limitedId } from './text.ts'
import type { CalicoVersion } from './version.ts'

const WILDCARD = 'any-interface-at-all'
const DEFAULT_ALLOW = 'projectcalico-default-allow'
/** The nodes' device on the underlay. */
export const UPLINK = 'eth0'

/** Policies and endpoints of a cluster: shared by the nodes. */
export class FelixCluster {
  readonly model: ClusterModel
  readonly version: CalicoVersion
  readonly policies: PolicySet
  readonly workloads: readonly WorkloadEndpoint[]
  readonly hosts: readonly HostEndpoint[]
  readonly sets: IpSetIndex
  private readonly workloadsByNode = new Map<string, WorkloadEndpoint[]>()
  private readonly tiersOf = new Map<string, readonly EndpointTier[]>()
  private readonly chains = new Map<string, FelixChain>()

  constructor(model: ClusterModel, version: CalicoVersion, prefix: string) {
    this.model = model
    this.version = version
    this.workloads = workloadEndpoints(model, prefix)
    this.hosts = hostEndpoints(model)
    this.sets = new IpSetIndex(model, this.workloads, this.hosts, networkSets(model))
    this.policies = readPolicies(model, this.sets)
    for (const w of this.workloads) {
      const list = this.workloadsByNode.get(w.node)
      if (list === undefined) this.workloadsByNode.set(w.node, [w])
      else list.push(w)
    }
  }

  /** Workload endpoints of a node. */
  workloadsOf(node: string): readonly WorkloadEndpoint[] {
    return this.workloadsByNode.get(node) ?? []
  }

  /** Policies that select an endpoint, tier by tier; endpoints with equal labels share the answer. */
  tiers(labels: ReadonlyMap<string, string>): readonly EndpointTier[] {
    const key = [...labels]
      .map(([k, v]) => `${k}=${v}`)
      .sort()
      .join('\n')
    let tiers = this.tiersOf.get(key)
    if (tiers === undefined) {
      tiers = this.policies.tiers
        .map(({ tier, policies }) => ({
          tier,
          policies: policies.filter((p) => parseCalicoSelector(p.selector).matches(labels)),
        }))
        .filter((t) => t.policies.length > 0)
      this.tiersOf.set(key, tiers)
    }
    return tiers
  }

  /** A chain that is the same on every node. */
  chain(key: string, make: () => FelixChain): FelixChain {
    let chain = this.chains.get(key)
    if (chain === undefined) {
      chain = make()
      this.chains.set(key, chain)
    }
    return chain
  }
}

/** Policies of a chain type: workloads know only normal ones. */
function limitTo(tiers: readonly EndpointTier[], type: EndpointChainType): EndpointTier[] {
  const fits = (p: CalicoPolicy): boolean => {
    if (type === 'untracked') return p.doNotTrack
    if (type === 'preDnat') return p.preDnat
    return !p.doNotTrack && !p.preDnat && (type === 'normal' || p.applyOnForward)
  }
  return tiers.map((t) => ({ ...t, policies: t.policies.filter(fits) })).filter((t) => t.policies.length > 0)
}

/** What Felix of a node wants. */
export interface FelixNode {
  readonly tables: readonly FelixTable[]
  readonly ipSets: readonly CalicoIpSet[]
}

/** Facts about the node's networking that Felix's chains depend on. */
export interface NodeFacts {
  readonly ipip: boolean
  readonly vxlan: boolean
  readonly tunnelDevices: readonly string[]
  readonly blockedCidrs: readonly string[]
}

/** Everything Felix programs in iptables and ipset on a node. */
export function felixNode(cluster: FelixCluster, node: NodeModel, facts: NodeFacts): FelixNode {
  const config = felixConfig(cluster.model, node.name)
  const builder = new NodeBuilder(cluster, node, config)
  const addressing = cluster.model.calico!
  const natPools = addressing.pools.filter((p) => p.natOutgoing && !p.disabled)
  const tables = staticTables({
    version: cluster.version,
    config,
    ...facts,
    kubeIpvs: cluster.model.config.proxy.mode === 'ipvs',
    nodePortRange: cluster.model.config.nodePortRange,
    natOutgoing: natPools.length > 0,
  }).map((t) => ({ ...t, chains: [...t.chains, ...builder.chains(t.name)] }))
  const nodeIps = cluster.model.nodes.map((n) => n.internalIp)
  const tunnel = addressing.tunnels
  const own = [node.internalIp, tunnel.ipip.get(node.name), tunnel.vxlan.get(node.name)].filter((x) => x !== undefined)
  const hosts = [...new Set([...nodeIps, ...config.externalNodes])].sort()
  const fixed: CalicoIpSet[] = [
    { name: ipSetName(cluster.version.allPoolsSet), type: 'hash:net', members: cidrs(addressing.pools) },
    { name: ipSetName('masq-ipam-pools'), type: 'hash:net', members: cidrs(natPools) },
    { name: ipSetName('this-host'), type: 'hash:ip', members: ['127.0.0.1', ...own].sort() },
    ...(facts.ipip ? [{ name: ipSetName('all-hosts-net'), type: 'hash:net' as const, members: hosts }] : []),
    ...(facts.vxlan
      ? [
          {
            name: ipSetName('all-vxlan-net'),
            type: 'hash:net' as const,
            members: hosts.filter((ip) => ip !== node.internalIp),
          },
        ]
      : []),
  ]
  return { tables, ipSets: [...fixed, ...builder.ipSets()] }
}

function cidrs(pools: readonly { readonly cidr: Parameters<typeof formatCidr>[0] }[]): string[] {
  return pools.map((p) => formatCidr(p.cidr)).sort()
}

class NodeBuilder {
  private readonly cluster: FelixCluster
  private readonly node: NodeModel
  private readonly config: FelixConfig
  private readonly context: PolicyContext
  private readonly workloads: readonly WorkloadEndpoint[]
  private readonly hosts: ReadonlyMap<string, HostEndpoint>
  private readonly wildcard: HostEndpoint | null
  private readonly setIds = new Set<string>()

  constructor(cluster: FelixCluster, node: NodeModel, config: FelixConfig) {
    this.cluster = cluster
    this.node = node
    this.config = config
    this.context = { version: cluster.version, denyAction: config.filterDenyAction, logPrefix: config.logPrefix }
    this.workloads = cluster.workloadsOf(node.name)
    const hosts = cluster.hosts.filter((h) => h.node === node.name)
    this.hosts = new Map(
      [...hosts]
        .sort((a, b) => (a.name < b.name ? 1 : -1))
        .flatMap((h) => {
          const dev = this.interfaceOf(h)
          return dev === null ? [] : [[dev, h]]
        }),
    )
    this.wildcard = hosts.find((h) => h.interfaceName === '*') ?? null
  }

  /** The interface of a host endpoint: by name, or by an address that it has. */
  private interfaceOf(h: HostEndpoint): string | null {
    if (h.interfaceName === '*') return null
    if (h.interfaceName !== '') return h.interfaceName
    return h.expectedIps.includes(this.node.internalIp) ? UPLINK : null
  }

  /** The chains of endpoints and policies of a table. */
  chains(table: FelixTable['name']): FelixChain[] {
    switch (table) {
      case 'filter':
        return [...this.workloadChains(), ...this.hostChains('filter'), ...this.endpointMarks()]
      case 'raw':
      case 'mangle':
        return this.hostChains(table)
      case 'nat':
        return []
    }
  }

  /** The sets that the rules of this node's policies name. */
  ipSets(): CalicoIpSet[] {
    return [...this.setIds].map((id) => this.cluster.sets.get(id)).sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  private workloadChains(): FelixChain[] {
    const end: FelixRule[] = [{ action: `--jump ${this.config.filterDenyAction}`, comments: ['Unknown interface'] }]
    const names = this.workloads.map((w) => w.interfaceName)
    const out = [
      ...dispatchChains('cali-from-wl-dispatch', names, '--in-interface', 'cali-fw-', end),
      ...dispatchChains('cali-to-wl-dispatch', names, '--out-interface', 'cali-tw-', end),
    ]
    const needed = new Map<string, FelixChain>()
    for (const w of this.workloads) {
      const tiers = limitTo(this.cluster.tiers(w.labels), 'normal')
      for (const direction of ['ingress', 'egress'] as const) {
        const input = {
          ...{ version: this.cluster.version, config: this.config, direction, tiers, interfaceName: w.interfaceName },
          ...{ prefix: direction === 'ingress' ? 'cali-tw-' : 'cali-fw-', type: 'normal' as const },
          ...{ profiles: w.profiles, failsafeChain: '', allowAction: this.config.filterAllowAction },
          dropsEncapsulated: direction === 'egress',
          tierOrigin: (t: EndpointTier) =>
            policiesDenied(this.cluster, t, direction, `pod ${w.pod.namespace}/${w.pod.name}`),
        }
        out.push(endpointChain(input))
        this.addPolicies(needed, tiers, direction)
        for (const profile of w.profiles) this.addProfile(needed, profile, direction, profile.startsWith('kns.'))
      }
    }
    return [...out, ...needed.values()]
  }

  private addPolicies(out: Map<string, FelixChain>, tiers: readonly EndpointTier[], direction: Direction): void {
    for (const { policies } of tiers) {
      const active = policies.filter((p) => (direction === 'ingress' ? p.hasIngress : p.hasEgress))
      for (const group of groupPolicies(active, direction, this.cluster.version)) {
        if (group.policies.length > 1 && !out.has(group.chain)) {
          out.set(group.chain, groupChain(group, direction, this.cluster.version))
        }
      }
      for (const p of active) {
        const key = `${direction} ${p.kind} ${p.namespace}/${p.name} ${this.context.denyAction} ${this.context.logPrefix}`
        const chain = this.cluster.chain(key, () => policyChain(p, direction, this.context))
        if (out.has(chain.name)) continue
        out.set(chain.name, chain)
        for (const rule of direction === 'ingress' ? p.ingress : p.egress) this.addSets(rule)
      }
    }
  }

  private addSets(rule: PolicyRule): void {
    for (const e of [rule.source, rule.destination]) {
      for (const ids of [e.ipSetIds, e.notIpSetIds, e.ipPortSetIds, e.namedPortIds, e.notNamedPortIds]) {
        for (const id of ids) this.setIds.add(id)
      }
    }
  }

  private addProfile(out: Map<string, FelixChain>, profile: string, direction: Direction, allows: boolean): void {
    const chain = this.cluster.chain(`${direction} profile ${profile}`, () =>
      profileChain(profile, direction, allows, this.context),
    )
    out.set(chain.name, chain)
  }

  /** Dispatch and endpoint chains of host endpoints; without any the dispatch chains are empty. */
  private hostChains(table: 'filter' | 'raw' | 'mangle'): FelixChain[] {
    const names = [...this.hosts.keys()]
    const goWildcard = (prefix: string): FelixRule[] =>
      this.wildcard === null ? [] : [{ action: goTo(limitedId(prefix, WILDCARD)) }]
    const skip: FelixRule[] =
      this.wildcard === null
        ? []
        : [
            {
              match: `--out-interface ${this.config.interfacePrefix}+`,
              action: '--jump RETURN',
              comments: ['Skip egress WHEP policy for traffic to local workload'],
            },
          ]
    const from = dispatchChains('cali-from-host-endpoint', names, '--in-interface', 'cali-fh-', goWildcard('cali-fh-'))
    const toEnd = [...skip, ...goWildcard('cali-th-')]
    const to = dispatchChains('cali-to-host-endpoint', names, '--out-interface', 'cali-th-', toEnd)
    const out = [...from, ...to]
    if (table === 'filter') {
      out.push(
        ...dispatchChains('cali-from-hep-forward', names, '--in-interface', 'cali-fhfw-', goWildcard('cali-fhfw-')),
        ...dispatchChains('cali-to-hep-forward', names, '--out-interface', 'cali-thfw-', goWildcard('cali-thfw-')),
      )
    }
    const needed = new Map<string, FelixChain>()
    for (const [name, h] of this.allHosts()) out.push(...this.hostEndpointChains(table, name, h, needed))
    return [...out, ...needed.values()]
  }

  private allHosts(): [string, HostEndpoint][] {
    return [...this.hosts, ...(this.wildcard === null ? [] : [[WILDCARD, this.wildcard] as [string, HostEndpoint]])]
  }

  private hostEndpointChains(
    table: 'filter' | 'raw' | 'mangle',
    name: string,
    h: HostEndpoint,
    needed: Map<string, FelixChain>,
  ): FelixChain[] {
    const tiers = this.cluster.tiers(h.labels)
    const make = (direction: Direction, type: EndpointChainType, prefix: string, allowAction: string): FelixChain => {
      const own = limitTo(tiers, type)
      const profiles = table === 'filter' || type === 'normal' ? h.profiles : []
      this.addPolicies(needed, own, direction)
      if (type === 'normal') {
        for (const p of profiles) this.addProfile(needed, p, direction, p === DEFAULT_ALLOW || p.startsWith('kns.'))
      }
      return endpointChain({
        ...{ version: this.cluster.version, config: this.config, direction, tiers: own, interfaceName: name },
        ...{ prefix, type, profiles, allowAction, dropsEncapsulated: false },
        failsafeChain: type === 'forward' ? '' : direction === 'ingress' ? 'cali-failsafe-in' : 'cali-failsafe-out',
        tierOrigin: (t) => policiesDenied(this.cluster, t, direction, `host endpoint ${h.name}`),
        noProfileOrigin: unselected(h),
      })
    }
    const { filterAllowAction: allow, mangleAllowAction } = this.config
    switch (table) {
      case 'filter':
        return [
          make('egress', 'normal', 'cali-th-', allow),
          make('ingress', 'normal', 'cali-fh-', allow),
          make('egress', 'forward', 'cali-thfw-', allow),
          make('ingress', 'forward', 'cali-fhfw-', allow),
        ]
      case 'raw':
        return [make('egress', 'untracked', 'cali-th-', 'ACCEPT'), make('ingress', 'untracked', 'cali-fh-', 'ACCEPT')]
      case 'mangle':
        return [
          make('egress', 'normal', 'cali-th-', 'RETURN'),
          make('ingress', 'preDnat', 'cali-fh-', mangleAllowAction),
        ]
    }
  }

  /** With kube-proxy in IPVS mode packets are known by a mark, not by an interface. */
  private endpointMarks(): FelixChain[] {
    if (this.cluster.model.config.proxy.mode !== 'ipvs') return []
    const workloads = this.workloads.map((w) => w.interfaceName)
    return endpointMarkChains(this.cluster.version.marks, this.config, workloads, [...this.hosts.keys()])
  }
}
