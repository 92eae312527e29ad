/**
 * MetalLB's controller: pools, and which address a Service gets.
 *
 * Asked for (annotation metallb.io/loadBalancerIPs or spec.loadBalancerIP), from a named pool (metallb.io/address-pool),
 * else from the pools pinned to it by serviceAllocation in order of priority, else from any pool with autoAssign; in a
 * pool the first free address in order. Services are served by namespace and name, those that ask for an address
 * first, pools by name: MetalLB itself takes both in the order in which its watch delivers them. A Service that shares an address (metallb.io/allow-shared-ip) with
 * the same key, other ports and externalTrafficPolicy Cluster gets it too.
 *
 * Not modelled: IPv6 and dual-stack addresses, the configuration by ConfigMap of before 0.13, BFD profiles, Communities.
 * Sources: go.universe.tf/metallb internal/allocator/allocator.go, controller/service.go, internal/config/config.go (0.14).
 */
import { lastIpv4, parseIpv4Cidr } from '../../addr/cidr.ts'
import { formatIpv4, parseIpv4 } from '../../addr/ipv4.ts'
import type { Diagnostics } from '../../diagnostics/diagnostic.ts'
import { nearest } from '../names.ts'
import { matchesSelector } from '../selector.ts'
import { keyOf } from '../services.ts'
import type { KubernetesObject, LabelSelector, LoadedObject, NodeModel, Service, Sourced, StringMap } from '../types.ts'
import type { Layer2Advertisement, LoadBalancerAddress } from './types.ts'

interface PoolSpec {
  addresses: string[]
  autoAssign?: boolean
  avoidBuggyIPs?: boolean
  serviceAllocation?: {
    priority?: number
    namespaces?: string[]
    namespaceSelectors?: LabelSelector[]
    serviceSelectors?: LabelSelector[]
  }
}

interface Pool {
  readonly name: string
  readonly labels: StringMap
  readonly spec: PoolSpec
  /** First and last address, unsigned. */
  readonly ranges: readonly (readonly [number, number])[]
  readonly loaded: LoadedObject
}

interface L2Spec {
  ipAddressPools?: string[]
  ipAddressPoolSelectors?: LabelSelector[]
  nodeSelectors?: LabelSelector[]
  interfaces?: string[]
}

/** What MetalLB reads. */
export interface MetalLbInput {
  readonly pools: readonly LoadedObject[]
  readonly l2: readonly LoadedObject[]
  /** BGPAdvertisement objects, which are not evaluated. */
  readonly bgp: readonly LoadedObject[]
  readonly nodes: readonly NodeModel[]
  readonly namespaces: readonly { readonly name: string; readonly labels: StringMap }[]
}

const ANNOTATION_PREFIXES = ['metallb.io/', 'metallb.universe.tf/']
/** The class that a Service may name to be MetalLB's (--lb-class). */
const LB_CLASS = 'metallb.io/metallb'

/** Allocates addresses, writes them into the Services' status, and says who announces them. */
export function runMetalLb(
  services: readonly Sourced<Service>[],
  input: MetalLbInput,
  diagnostics: Diagnostics,
): { addresses: LoadBalancerAddress[]; layer2: Layer2Advertisement[] } {
  const pools = readPools(input.pools, diagnostics)
  const layer2 = readLayer2(input, pools, diagnostics)
  const allocator = new Allocator(pools, input.namespaces)
  const wanted = services.filter(({ object: { spec } }) => {
    return spec.type === 'LoadBalancer' && (!spec.loadBalancerClass || spec.loadBalancerClass === LB_CLASS)
  })
  for (const { object } of wanted) allocator.keep(object)
  // whoever asks for an address comes before those that take any: not to depend on names
  for (const { object } of wanted) if (askedAddress(object) !== undefined) allocator.allocate(object)
  const isBgp = input.bgp.length > 0
  const addresses: LoadBalancerAddress[] = []
  for (const sourced of wanted) {
    const { object } = sourced
    const got = allocator.allocate(object)
    if ('error' in got) {
      const message = `MetalLB gives it no address: Failed to allocate IP for "${keyOf(object)}": ${got.error}`
      diagnostics.warning('no-load-balancer-address', sourced.positionOf?.(['spec']) ?? sourced.source, message)
      continue
    }
    object.status = { ...object.status, loadBalancer: { ingress: [{ ip: got.ip, ipMode: 'VIP' }] } }
    const isL2 = layer2.some((a) => a.pools.includes(got.pool))
    addresses.push({ ip: got.ip, service: keyOf(object), pool: got.pool, by: isL2 ? 'layer2' : isBgp ? 'bgp' : 'none' })
  }
  return { addresses, layer2 }
}

function readPools(objects: readonly LoadedObject[], diagnostics: Diagnostics): Pool[] {
  const pools: Pool[] = []
  for (const loaded of objects) {
    const spec = loaded.object.spec as PoolSpec
    const ranges: [number, number][] = []
    for (const [i, text] of spec.addresses.entries()) {
      const range = rangeOf(text)
      const at = loaded.positionOf(['spec', 'addresses', i])
      const path = { path: `spec.addresses[${i}]` }
      if (range === null) {
        diagnostics.warning('ipv6-not-modelled', at, `${text}: IPv6 addresses of MetalLB are not modelled`, path)
        continue
      }
      if (range[0] > range[1]) {
        diagnostics.error('bad-range', at, `expected a range from low to high, found ${text}`, path)
        continue
      }
      const other = [...pools.flatMap((p) => p.ranges.map((r) => [p.name, r] as const))].find(
        ([, r]) => r[0] <= range[1] && range[0] <= r[1],
      )
      if (other !== undefined) {
        const message = `CIDR "${text}" in pool "${loaded.object.metadata.name}" overlaps with already defined CIDR of pool "${other[0]}"`
        diagnostics.error('overlapping-pools', at, message, path)
        continue
      }
      ranges.push(range)
    }
    const { name, labels } = loaded.object.metadata
    pools.push({ name, labels: labels ?? {}, spec, ranges, loaded })
  }
  return pools.sort((a, b) => (a.name < b.name ? -1 : 1))
}

function rangeOf(text: string): [number, number] | null {
  const cidr = parseIpv4Cidr(text)
  if (cidr !== null) return [cidr.ip >>> 0, lastIpv4(cidr) >>> 0]
  const [low, high] = text.split('-').map((t) => parseIpv4(t.trim()))
  return low == null || high == null ? null : [low >>> 0, high >>> 0]
}

function readLayer2(input: MetalLbInput, pools: readonly Pool[], diagnostics: Diagnostics): Layer2Advertisement[] {
  return input.l2.map((loaded) => {
    const spec = (loaded.object.spec ?? {}) as L2Spec
    for (const [i, name] of (spec.ipAddressPools ?? []).entries()) {
      if (pools.some((p) => p.name === name)) continue
      const near = nearest(
        name,
        pools.map((p) => p.name),
        1,
      )[0]
      diagnostics.warning(
        'unknown-pool',
        loaded.positionOf(['spec', 'ipAddressPools', i]),
        `expected an IPAddressPool, found "${name}": the advertisement does nothing for it`,
        { path: `spec.ipAddressPools[${i}]`, hint: near === undefined ? undefined : `did you mean "${near}"?` },
      )
    }
    const all = spec.ipAddressPools === undefined && spec.ipAddressPoolSelectors === undefined
    const chosen = pools.filter(
      (p) =>
        all ||
        spec.ipAddressPools?.includes(p.name) ||
        spec.ipAddressPoolSelectors?.some((s) => matchesSelector(s, p.labels)),
    )
    const selectors = spec.nodeSelectors ?? []
    const nodes = input.nodes.filter(
      (n) => selectors.length === 0 || selectors.some((s) => matchesSelector(s, n.labels)),
    )
    if (nodes.length === 0) {
      const at = loaded.positionOf(['spec', 'nodeSelectors'])
      diagnostics.warning('selects-nothing', at, 'expected node selectors that match a node, found none that does', {
        path: 'spec.nodeSelectors',
      })
    }
    return {
      name: loaded.object.metadata.name,
      pools: chosen.map((p) => p.name),
      nodes: nodes.map((n) => n.name),
      interfaces: spec.interfaces ?? [],
    }
  })
}

function annotation(object: KubernetesObject, names: readonly string[]): string | undefined {
  for (const prefix of ANNOTATION_PREFIXES) {
    for (const name of names) {
      const value = object.metadata.annotations?.[`${prefix}${name}`]
      if (value !== undefined) return value
    }
  }
  return undefined
}

function askedAddress(service: Service): string | undefined {
  return (annotation(service, ['loadBalancerIPs']) ?? service.spec.loadBalancerIP) || undefined
}

type Allocation = { readonly ip: string; readonly pool: string } | { readonly error: string }

class Allocator {
  private readonly pools: readonly Pool[]
  private readonly namespaces: ReadonlyMap<string, StringMap>
  /** Services by the address that they have. */
  private readonly users = new Map<number, Service[]>()

  constructor(pools: readonly Pool[], namespaces: readonly { readonly name: string; readonly labels: StringMap }[]) {
    this.pools = pools
    this.namespaces = new Map(namespaces.map((n) => [n.name, n.labels]))
  }

  /** A Service that has an address of a pool keeps it. */
  keep(service: Service): void {
    const ip = parseIpv4(service.status?.loadBalancer?.ingress?.[0]?.ip ?? '')
    if (ip !== null && this.poolOf(ip >>> 0) !== undefined) this.take(ip >>> 0, service)
  }

  allocate(service: Service): Allocation {
    for (const [ip, users] of this.users) {
      if (users.includes(service)) return { ip: formatIpv4(ip | 0), pool: this.poolOf(ip)!.name }
    }
    const asked = askedAddress(service)
    if (asked !== undefined) return this.assign(service, asked)
    const named = annotation(service, ['address-pool', 'ip-address-pool'])
    if (named !== undefined) {
      const pool = this.pools.find((p) => p.name === named)
      if (pool === undefined) return { error: `unknown pool "${named}"` }
      const ip = this.firstFree(pool, service)
      return ip === null ? { error: `no available IPs in pool "${named}" for ipv4 IPFamily` } : this.take(ip, service)
    }
    const pinned = this.pools.filter((p) => this.isPinned(p, service))
    const rank = (p: Pool): number => p.spec.serviceAllocation?.priority || Number.MAX_SAFE_INTEGER
    const open = this.pools.filter((p) => p.spec.autoAssign !== false && p.spec.serviceAllocation === undefined)
    for (const pool of [...pinned.sort((a, b) => rank(a) - rank(b)), ...open]) {
      const ip = this.firstFree(pool, service)
      if (ip !== null) return this.take(ip, service)
    }
    return { error: 'no available IPs' }
  }

  private assign(service: Service, asked: string): Allocation {
    const ip = parseIpv4(asked.split(',')[0]!.trim())
    const pool = ip === null ? undefined : this.poolOf(ip >>> 0)
    if (ip === null || pool === undefined) return { error: `["${asked}"] is not allowed in config` }
    if (this.isFree(ip >>> 0, service)) return this.take(ip >>> 0, service)
    const others = this.users.get(ip >>> 0)!.map(keyOf)
    return { error: `can't change sharing key for "${keyOf(service)}", address also in use by ${others.join(',')}` }
  }

  private take(ip: number, service: Service): Allocation {
    this.users.set(ip, [...(this.users.get(ip) ?? []), service])
    return { ip: formatIpv4(ip | 0), pool: this.poolOf(ip)!.name }
  }

  private poolOf(ip: number): Pool | undefined {
    return this.pools.find((p) => p.ranges.some(([low, high]) => low <= ip && ip <= high))
  }

  private firstFree(pool: Pool, service: Service): number | null {
    for (const [low, high] of pool.ranges) {
      for (let ip = low; ip <= high; ip++) {
        const isBuggy = pool.spec.avoidBuggyIPs === true && ((ip & 255) === 0 || (ip & 255) === 255)
        if (!isBuggy && this.isFree(ip, service)) return ip
      }
    }
    return null
  }

  /** Free, or shared with Services of the same key that leave room. */
  private isFree(ip: number, service: Service): boolean {
    const users = this.users.get(ip) ?? []
    const key = annotation(service, ['allow-shared-ip'])
    const ports = (s: Service): string[] => (s.spec.ports ?? []).map((p) => `${p.protocol}/${p.port}`)
    return users.every(
      (u) =>
        key !== undefined &&
        key === annotation(u, ['allow-shared-ip']) &&
        u.spec.externalTrafficPolicy !== 'Local' &&
        service.spec.externalTrafficPolicy !== 'Local' &&
        !ports(u).some((p) => ports(service).includes(p)),
    )
  }

  private isPinned(pool: Pool, service: Service): boolean {
    const a = pool.spec.serviceAllocation
    if (a === undefined || pool.spec.autoAssign === false) return false
    const { namespace, labels } = service.metadata
    const hasNamespaces = a.namespaces !== undefined || a.namespaceSelectors !== undefined
    const inNamespace =
      !hasNamespaces ||
      a.namespaces?.includes(namespace) ||
      a.namespaceSelectors?.some((s) => matchesSelector(s, this.namespaces.get(namespace) ?? {}))
    const isSelected =
      a.serviceSelectors === undefined || a.serviceSelectors.some((s) => matchesSelector(s, labels ?? {}))
    return inNamespace === true && isSelected
  }
}
