/**
 * The ip sets that policies need: which exist, and which addresses are in them.
 *
 * Real thing: felix/calc/rule_scanner.go (ids), felix/labelindex (members), felix/ipsets. A selector's set holds the
 * addresses of every workload endpoint, host endpoint and NetworkSet of the whole cluster that it selects; a named port's
 * set holds address and port; a Service's the endpoints of its EndpointSlices. Ids are hashes of the canonical text.
 */
import { createHash } from 'node:crypto'
import { parseCalicoSelector } from '../../kubernetes/calico/selector.ts'
import type { ClusterModel } from '../../kubernetes/types.ts'
import type { HostEndpoint, NamedPort, NetworkSet, WorkloadEndpoint } from './endpoints.ts'
import { ipSetName } from './text.ts'

/** An ip set with its members, sorted. */
export interface CalicoIpSet {
  readonly name: string
  readonly type: 'hash:net' | 'hash:ip' | 'hash:ip,port'
  readonly members: readonly string[]
}

interface Wanted {
  readonly type: CalicoIpSet['type']
  readonly members: () => Set<string>
}

/** MakeUniqueID. */
export function uniqueId(prefix: string, content: string): string {
  return `${prefix}:${createHash('sha224').update(`${prefix}:${content}`).digest('base64url')}`
}

/** All ip sets of policies, by id; members are worked out once for the whole cluster. */
export class IpSetIndex {
  private readonly wanted = new Map<string, Wanted>()
  private readonly made = new Map<string, CalicoIpSet>()
  private readonly model: ClusterModel
  private readonly workloads: readonly WorkloadEndpoint[]
  private readonly hosts: readonly HostEndpoint[]
  private readonly networkSets: readonly NetworkSet[]

  constructor(
    model: ClusterModel,
    workloads: readonly WorkloadEndpoint[],
    hosts: readonly HostEndpoint[],
    networkSets: readonly NetworkSet[],
  ) {
    this.model = model
    this.workloads = workloads
    this.hosts = hosts
    this.networkSets = networkSets
  }

  /** Id of a selector's set. */
  selector(text: string): string {
    const selector = parseCalicoSelector(text)
    const id = uniqueId('s', selector.text)
    if (!this.wanted.has(id)) this.wanted.set(id, { type: 'hash:net', members: () => this.selected(text) })
    return id
  }

  /** Id of a named port's set among the endpoints that `selector` selects (all() for any). */
  namedPort(selector: string, protocol: string, port: string): string {
    const parsed = parseCalicoSelector(selector)
    const id = uniqueId('n', `${uniqueId('s', parsed.text)},${protocol},${port}`)
    const members = (): Set<string> => {
      const out = new Set<string>()
      const add = (ips: readonly string[], ports: readonly NamedPort[]): void => {
        for (const p of ports) {
          if (p.name !== port || p.protocol !== protocol) continue
          for (const ip of ips) out.add(`${ip},${protocol}:${p.port}`)
        }
      }
      for (const w of this.workloads) if (parsed.matches(w.labels)) add(w.ips, w.ports)
      for (const h of this.hosts) if (parsed.matches(h.labels)) add(h.expectedIps, h.ports)
      return out
    }
    if (!this.wanted.has(id)) this.wanted.set(id, { type: 'hash:ip,port', members })
    return id
  }

  /** Id of the set of a Service's endpoints, with their ports or without. */
  service(namespace: string, name: string, hasPorts: boolean): string {
    const key = `${namespace}/${name}`
    const id = uniqueId(hasPorts ? 'svc' : 'svcnoport', key)
    const members = (): Set<string> => {
      const out = new Set<string>()
      for (const slice of this.model.endpointSlices) {
        if (slice.service !== key) continue
        for (const { addresses } of slice.object.endpoints) {
          for (const ip of addresses) {
            if (!hasPorts) out.add(ip)
            for (const p of hasPorts ? (slice.object.ports ?? []) : []) {
              out.add(`${ip},${(p.protocol ?? 'TCP').toLowerCase()}:${p.port ?? 0}`)
            }
          }
        }
      }
      return out
    }
    if (!this.wanted.has(id)) this.wanted.set(id, { type: hasPorts ? 'hash:ip,port' : 'hash:net', members })
    return id
  }

  /** The set of an id. */
  get(id: string): CalicoIpSet {
    let set = this.made.get(id)
    if (set === undefined) {
      const wanted = this.wanted.get(id)!
      set = { name: ipSetName(id), type: wanted.type, members: [...wanted.members()].sort() }
      this.made.set(id, set)
    }
    return set
  }

  private selected(text: string): Set<string> {
    const selector = parseCalicoSelector(text)
    const out = new Set<string>()
    for (const w of this.workloads) if (selector.matches(w.labels)) for (const ip of w.ips) out.add(ip)
    for (const h of this.hosts) if (selector.matches(h.labels)) for (const ip of h.expectedIps) out.add(ip)
    for (const n of this.networkSets) if (selector.matches(n.labels)) for (const net of n.nets) addNet(out, net)
    return out
  }
}

/** hash:net cannot hold 0.0.0.0/0: its halves stand for it. A /32 is written as an address. */
function addNet(out: Set<string>, net: string): void {
  if (net === '0.0.0.0/0') out.add('0.0.0.0/1').add('128.0.0.0/1')
  else out.add(net.endsWith('/32') ? net.slice(0, -3) : net)
}

/** Text for `ipset restore`. */
export function ipSetText(sets: readonly CalicoIpSet[]): string {
  const lines = sets.flatMap((s) => [
    `create ${s.name} ${s.type} family inet maxelem 1048576`,
    ...s.members.map((m) => `add ${s.name} ${m}`),
  ])
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`
}
